// What do reads, writes, invalidations, near caches and processes cost the store? In multiples of what a GET, a SET
// and a script of one GET cost the same server, so that the numbers hold on other machines.
//
// `scripts/scaling.mjs` makes the tables of docs/scaling.md and the numbers of `larder capacity` from these rows.
// "Together" are 500 calls of one tick, which leave in one write. "Alone" are 50 clients with a call each.
import assert from "node:assert/strict";
import type { Command } from "../drivers/driver.ts";
import { type CacheClient, collection, createCacheClient, defineService } from "../mod.ts";
import type { Product } from "../src/services/product.ts";
import { product } from "../test/fixtures/product.ts";
import { type RawClient, rawClient, startRedis } from "../test/helpers/redis_server.ts";
import { heading, information, quantile } from "./helpers/compare.ts";
import { serverCpu } from "./helpers/server_cpu.ts";

const TOGETHER = 500;
const ALONE = 50;
/** The near clients of a measurement. */
const NEAR = 100;
/** The entries and marks whose memory is measured. */
const ENTRIES = 16_000;
const ROUNDS = 11;
/** The batches of a measurement: after an invalidation, a client reads some 20 batches by the script. */
const BATCHES = 16;
const TTL_MS = 3_600_000;
/** A script that does as little as one can. */
const SCRIPT = "return redis.call('GET', KEYS[1])";

heading(
  "Server CPU of reads, writes, invalidations and near caches, in multiples of a plain GET",
  `Medians of ${ROUNDS} rounds, each against the GET, SET or script of its round.`,
);
const redis = await startRedis();
const server = await rawClient(redis.port);
const small = (id: number): Product => {
  const { images: _, ...rest } = product(id);
  return rest as Product;
};
const ids = Array.from({ length: TOGETHER }, (_, i) => i + 1);
const text = JSON.stringify(small(1));

const tags = ({ categoryId }: Product): string[] => ["menu", `category:${categoryId}`];
const menu = defineService({
  name: "menu",
  collections: {
    plain: collection<Product>({ key: "plain:{id}", ttl: "1h" }),
    tagged: collection<Product>({ key: "tagged:{id}", ttl: "1h", tags }),
    sliding: collection<Product>({ key: "sliding:{id}", ttl: "1h", tags, sliding: true }),
  },
});
const open = (near = false): CacheClient => createCacheClient({ env: {}, url: redis.url, timeout: 10_000, near });
const [client, other] = [open(), open()];
const { plain, tagged, sliding, invalidateTags } = client.service(menu);
const elsewhere = other.service(menu);
const { checkRateLimit } = client.service("auth");

/** One thing that is measured: `times` batches of it, after `ready`. */
interface Subject {
  readonly units: number;
  readonly ready?: () => Promise<unknown>;
  readonly work: (times: number) => Promise<unknown>;
}
const together = (call: (id: number) => Promise<unknown>, ready?: () => Promise<unknown>): Subject => ({
  units: TOGETHER,
  ...(ready && { ready }),
  work: (times) => repeat(times, () => Promise.all(ids.map(call))),
});
const pipeline = (of: (id: number) => Command, connection: RawClient = server): Subject => {
  const commands = ids.map(of);
  return { units: TOGETHER, work: (times) => repeat(times, () => connection.pipeline(commands)) };
};
const alone = (calls: readonly (() => Promise<unknown>)[]): Subject => ({
  units: calls.length,
  work: (times) => repeat(times * 10, () => Promise.all(calls.map((call) => call()))),
});
async function repeat(times: number, work: () => Promise<unknown>): Promise<void> {
  for (let time = 0; time < times; time++) await work();
}

/** Measures subjects in rounds, each against the base of the round. Answers the medians of their ratios. */
async function measure(base: Subject, subjects: Readonly<Record<string, Subject>>): Promise<void> {
  const all = { base, ...subjects };
  const spent: Record<string, number[]> = {};
  for (let round = 0; round <= ROUNDS; round++) {
    const times: Record<string, number> = {};
    for (const [title, { ready, work, units }] of Object.entries(all)) {
      await ready?.();
      const many = units === TOGETHER ? 1 : 10;
      times[title] = await serverCpu(server, work, BATCHES, units * many);
    }
    // In the first round, compilers warm up.
    if (round === 0) continue;
    for (const [title, time] of Object.entries(times)) spent[title] = [...(spent[title] ?? []), time];
  }
  const bases = spent.base as number[];
  for (const title of Object.keys(subjects)) {
    const ratios = (spent[title] as number[]).map((time, round) => time / (bases[round] as number));
    const quartiles = [0.25, 0.75].map((share) => quantile(ratios, share).toFixed(2)).join("-");
    const time = `${quantile(spent[title] as number[], 0.5).toFixed(2)} us`;
    information(title, `${quantile(ratios, 0.5).toFixed(2)} (quartiles ${quartiles}; ${time})`);
  }
}

/** Answers the bytes that the server takes for each of `count` things that `make` makes, buffers left out. */
async function memoryOf(count: number, make: () => Promise<unknown>): Promise<number> {
  const start = await usedMemory();
  await make();
  return ((await usedMemory()) - start) / count;
}
/** Answers the used bytes, those of clients too if asked for. */
async function usedMemory(clients = false): Promise<number> {
  const info = String(await server.command("INFO", "memory"));
  const field = (name: string): number => Number(new RegExp(`^${name}:(\\d+)`, "m").exec(info)?.[1]);
  return field("used_memory") - (clients ? 0 : field("mem_clients_normal"));
}
/** The runs of a command, to prove by which one reads went. */
async function runsOf(name: string): Promise<number> {
  const stats = String(await server.command("INFO", "commandstats"));
  return Number(new RegExp(`^cmdstat_${name}:calls=(\\d+)`, "m").exec(stats)?.[1] ?? 0);
}

for (const cache of [plain, tagged, sliding]) {
  assert.equal(await cache.setMany(ids.map((id) => [id, small(id)] as const)), TOGETHER);
}
await server.pipeline(ids.map((id): Command => ["SET", `peer:${id}`, text, "PX", TTL_MS]));
assert.ok(await elsewhere.invalidateTags("another"));
const many = await Promise.all(ids.slice(0, ALONE).map(async (id) => ({ id, raw: await rawClient(redis.port) })));
const clients = await Promise.all(
  many.map(async ({ id }) => {
    const one = open();
    await one.connect({ timeout: 10_000 });
    return { id, client: one, menu: one.service(menu) };
  }),
);

const get = pipeline((id) => ["GET", `peer:${id}`]);
const set = pipeline((id) => ["SET", `peer:${id}`, text, "PX", TTL_MS]);
const sha = String(await server.command("SCRIPT", "LOAD", SCRIPT));
const script = pipeline((id) => ["EVALSHA", sha, 1, `peer:${id}`]);
/** Makes the next batches of tagged reads go by MGET. */
const learn = () => repeat(60, () => Promise.all(ids.map((id) => tagged.get(id))));
/** Makes the next 18 batches go by the script: each of these reads is to be made up for by 20 others. */
const forget = async (): Promise<void> => {
  await learn();
  await elsewhere.invalidateTags("another");
  await Promise.all(ids.map((id) => tagged.get(id)));
};

await measure(get, {
  "GET, alone": alone(
    many.map(
      ({ id, raw }) =>
        () =>
          raw.command("GET", `peer:${id}`),
    ),
  ),
  SET: set,
  script,
  "read, together": together((id) => plain.get(id)),
  "read, alone": alone(
    clients.map(
      ({ id, menu }) =>
        () =>
          menu.plain.get(id),
    ),
  ),
});
await learn();
let before = await runsOf("evalsha");
await measure(get, { "tagged read by known marks, together": together((id) => tagged.get(id)) });
assert.ok((await runsOf("evalsha")) - before < 10, "tagged reads went by the script");
before = await runsOf("evalsha");
await measure(script, { "tagged read by script, together": together((id) => tagged.get(id), forget) });
const own = ROUNDS * BATCHES * TOGETHER;
assert.ok((await runsOf("evalsha")) - before >= own + ROUNDS * BATCHES, "tagged reads did not go by the script");
await measure(script, {
  "sliding read, together": together((id) => sliding.get(id)),
  "sliding read, alone": alone(
    clients.map(
      ({ id, menu }) =>
        () =>
          menu.sliding.get(id),
    ),
  ),
  "tagged write, together": together((id) => tagged.set(id, small(id))),
  "tagged write, alone": alone(
    clients.map(
      ({ id, menu }) =>
        () =>
          menu.tagged.set(id, small(id)),
    ),
  ),
  "invalidation, together": together((id) => invalidateTags(`category:${id}`)),
  "invalidation, alone": alone(
    clients.map(
      ({ id, menu }) =>
        () =>
          menu.invalidateTags(`category:${id}`),
    ),
  ),
  "rate limit check, together": together((id) => checkRateLimit(`user-${id}`, { limit: 1_000_000, window: "1h" })),
});
await measure(set, {
  "write, together": together((id) => plain.set(id, small(id))),
  "write, alone": alone(
    clients.map(
      ({ id, menu }) =>
        () =>
          menu.plain.set(id, small(id)),
    ),
  ),
});
await Promise.all(clients.map((one) => one.client.close()));
for (const { raw } of many) raw.close();

// Near caches: what each of them adds to a write, and the memory of its connection.
const write = (keys: string): Subject => pipeline((id) => ["SET", `${keys}${id}`, text, "PX", TTL_MS]);
const writeAlone: Subject = {
  units: ALONE,
  work: (times) => repeat(times, () => repeat(ALONE, () => server.command("SET", "near:1", text, "PX", TTL_MS))),
};
for (const [title, { work, units }] of Object.entries({ together: write("near:"), alone: writeAlone })) {
  const costs: number[] = [];
  for (let round = 0; round < 3; round++) {
    const base = await serverCpu(server, get.work, BATCHES * 4, TOGETHER);
    const without = await serverCpu(server, work, BATCHES, units);
    const trackers = await Promise.all(Array.from({ length: NEAR }, track));
    const withThem = await serverCpu(server, work, BATCHES, units);
    for (const one of trackers) one.close();
    costs.push((withThem - without) / NEAR / base);
  }
  information(
    `a write to a near client, ${title}`,
    `${quantile(costs, 0.5).toFixed(2)} (${costs.map((c) => c.toFixed(2)).join(", ")})`,
  );
}

/** Opens a connection to which the server reports changed keys, as a near cache has it. */
async function track(): Promise<RawClient> {
  const one = await rawClient(redis.port);
  const id = Number(await one.command("CLIENT", "ID"));
  await one.command("CLIENT", "TRACKING", "ON", "REDIRECT", id, "BCAST", "PREFIX", "near:");
  await one.command("SUBSCRIBE", "__redis__:invalidate");
  return one;
}

// Memory.
const bytes = (title: string, count: number): void => information(title, `${Math.round(count)}`);
const idle: CacheClient[] = [];
const bytesOfClients = async (near: boolean): Promise<number> => {
  const start = await usedMemory(true);
  const opened = Array.from({ length: NEAR }, async () => {
    const one = open(near);
    idle.push(one);
    await one.connect({ timeout: 10_000 });
    await one.service(menu).plain.get(1);
  });
  await Promise.all(opened);
  return ((await usedMemory(true)) - start) / NEAR;
};
bytes("bytes of a client", await bytesOfClients(false));
bytes("bytes of a client with near caches", await bytesOfClients(true));
await Promise.all(idle.map((one) => one.close()));
// Each in a database of its own, so that no table was large enough before.
const stored = JSON.stringify({ json: small(1) }).length;
const fill = (database: number, options: { ttl: "1h"; tags?: string[] }) => async (): Promise<void> => {
  const cache = client.cache<Product>({ database });
  for (let from = 0; from < ENTRIES; from += TOGETHER) {
    await cache.setMany(
      ids.map((id) => [`product:${from + id}`, small(1)] as const),
      options,
    );
  }
};
const mark = async (): Promise<void> => {
  const cache = client.cache({ database: 11 });
  for (let from = 0; from < ENTRIES; from += TOGETHER)
    assert.ok(await cache.invalidateTags(ids.map((id) => `user:${from + id}`)));
};
bytes("bytes of an entry beyond its value", (await memoryOf(ENTRIES, fill(9, { ttl: "1h" }))) - stored);
const two = { ttl: "1h", tags: ["menu", "category:12"] } as const;
bytes(
  "bytes of a tagged entry beyond its value",
  (await memoryOf(ENTRIES, fill(10, { ...two, tags: [...two.tags] }))) - stored,
);
bytes("bytes of a mark", await memoryOf(ENTRIES, mark));
await client.close();
await other.close();
server.close();
await redis.stop();
