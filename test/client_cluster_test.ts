/** A client on three masters, one of which is frozen. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { cluster } from "../drivers/cluster.ts";
import { type CacheClient, type CacheEvent, collection, createCacheClient, defineService } from "../mod.ts";
import { gate } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";
import { type ClusterNode, type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";
import { startFixture } from "./helpers/run.ts";

const SHOP = defineService({
  name: "shop",
  database: 9,
  collections: {
    plain: collection<string>({ key: "plain:{id}" }),
    tagged: collection<string>({ key: "tagged:{id}", tags: ["menu"] }),
  },
});

let servers: RedisCluster;
const frozen: ClusterNode[] = [];

before(async () => {
  servers = await startCluster();
});
afterEach(async () => {
  for (const node of frozen.splice(0)) node.resume();
  await servers.settled();
  await servers.flush();
});
after(() => servers?.stop());

/** Runs with a client of the cluster, and closes both. */
async function using(run: (client: CacheClient, events: CacheEvent[]) => Promise<void>): Promise<void> {
  const driver = cluster({ nodes: [...servers.addresses] });
  const client = createCacheClient({
    driver,
    timeout: 20_000,
    breaker: { failures: 2, openFor: 60_000 },
    logger: false,
    env: {},
  });
  const events: CacheEvent[] = [];
  client.subscribe((event) => events.push(event));
  try {
    await run(client, events);
  } finally {
    await client.close();
    await driver.close();
  }
}

function freeze(node: ClusterNode): void {
  node.pause();
  frozen.push(node);
}

const KEYS = Array.from({ length: 60 }, (_, i) => `key:${i}`);

describe("a client on a cluster", () => {
  it("connect opens all masters, and health checks and names each", () =>
    using(async (client) => {
      await client.connect();
      const health = await client.health();
      assert.deepEqual([health.ok, health.reads, health.writes, health.breaker], [true, true, true, "closed"]);
      assert.deepEqual(health.parts?.map(({ address }) => address).sort(), [...servers.addresses].sort());
      for (const part of health.parts ?? []) {
        assert.equal(part.ok, true);
        assert.equal(part.breaker, "closed");
        assert.ok((part.latency as number) >= 0);
      }
    }));

  it("answers from healthy masters at once when one is frozen, whose breaker alone opens", () =>
    using(async (client, events) => {
      const cache = client.cache<string>();
      await Promise.all(KEYS.map((key) => cache.set(key, key, { tags: [`tag-${key.at(-1)}`] })));
      const { driver, prefix } = await client.locate({});
      assert.equal(prefix, "db0:");
      const sick = servers.nodes[0] as ClusterNode;
      const own = ((await sick.say("KEYS", "*")) as string[]).map((physical) => physical.replace(/^db0:\{\w+\}/, ""));
      const away = KEYS.filter((key) => own.includes(key));
      const here = KEYS.filter((key) => !own.includes(key));
      assert.ok(away.length > 0 && here.length > 0);
      assert.equal(driver.parts?.().length, 3);
      freeze(sick);
      for (let round = 0; round < 2; round++) {
        let given = 0;
        const missed = away.map((key) => cache.get(key, { timeout: 300 }).finally(() => given++));
        const found = await Promise.all(here.map((key) => cache.get(key)));
        assert.equal(given, 0, "no reader of the others waited for the frozen one");
        assert.deepEqual(found, here);
        assert.ok((await Promise.all(missed)).every((value) => value === undefined));
      }
      await eventually(() => events.some(({ type }) => type === "breaker"));
      const changes = events.flatMap((event) => (event.type === "breaker" ? [`${event.part} ${event.state}`] : []));
      assert.deepEqual(changes, [`${sick.address} open`]);
      const health = await client.health();
      assert.deepEqual([health.ok, health.breaker], [false, "open"]);
      assert.deepEqual(
        health.parts?.filter(({ ok }) => !ok).map(({ address, breaker }) => [address, breaker]),
        [[sick.address, "open"]],
      );
      assert.match(health.error as string, new RegExp(`^${sick.address}: The store failed 2 times in a row`));
      // Writes of other masters go on, and a deletion of a key of the frozen one fails.
      assert.equal(await cache.set(here[0] as string, "new"), true);
      assert.equal(await cache.delete(away[0] as string), 0);
      // Nothing is waited for that no caller waits for.
      await client.close();
    }));

  it("lets the process end once its callers are answered, although a frozen master owes replies", async () => {
    const [node] = servers.nodes as [ClusterNode];
    frozen.push(node);
    const child = startFixture("frozen", servers.addresses.join(), `${node.pid}`);
    // It would wait for ten minutes.
    const late = setTimeout(() => child.stop(), 60_000);
    const { code, stdout, stderr } = await child.ended;
    clearTimeout(late);
    assert.equal(code, 0, stderr);
    assert.ok(Number(stdout) > 10 && Number(stdout) < 60, stdout);
  });

  it("invalidateTags goes on until its deadline, beyond the repetitions and the breaker", () =>
    using(async (client, events) => {
      const cache = client.cache<string>();
      await Promise.all(KEYS.map((key) => cache.set(key, key, { tags: ["menu"] })));
      const sick = servers.nodes[0] as ClusterNode;
      freeze(sick);
      const gets = () => Promise.all(KEYS.map((key) => cache.get(key, { timeout: 200 })));
      for (let round = 0; round < 2; round++) await gets();
      await eventually(() => events.some(({ type }) => type === "breaker"));
      const invalidating = cache.invalidateTags("menu", { timeout: 20_000 });
      await eventually(() => events.some(({ type }) => type === "error"));
      sick.resume();
      assert.equal(await invalidating, true);
      assert.ok(!events.some(({ type }) => type === "invalidate-kept"));
      assert.deepEqual(new Set(await gets()), new Set([undefined]));
    }));

  it("invalidateTags keeps what a master did not confirm, and sends it before anything else when that answers", () =>
    using(async (client, events) => {
      const cache = client.cache<string>();
      await Promise.all(KEYS.map((key) => cache.set(key, key, { tags: [`tag-${key.at(-1)}`] })));
      const sick = servers.nodes[0] as ClusterNode;
      freeze(sick);
      assert.equal(await cache.invalidateTags(["tag-1", "tag-2"], { timeout: 300 }), false);
      // The first shard that fails makes it false; all 21 of the frozen master follow.
      const keptNow = () => events.filter((event) => event.type === "invalidate-kept");
      await eventually(() => keptNow().length === 21);
      const kept = keptNow();
      for (const event of kept) assert.deepEqual([event.part, event.tags], [sick.address, 2]);
      sick.resume();
      // No read of this client meets a value from before, whichever comes first.
      const values = await Promise.all(KEYS.map((key) => cache.get(key)));
      KEYS.forEach((key, i) => {
        if (/[12]$/.test(key)) assert.equal(values[i], undefined, key);
      });
      await eventually(() => events.filter(({ type }) => type === "invalidate-sent").length === kept.length);
      const again = await Promise.all(KEYS.map((key) => cache.get(key)));
      KEYS.forEach((key, i) => {
        assert.equal(again[i], /[12]$/.test(key) ? undefined : key);
      });
    }));

  it("invalidateTags sends what it kept also when the client asks for nothing else", () =>
    using(async (client, events) => {
      const cache = client.cache<string>();
      await Promise.all(KEYS.map((key) => cache.set(key, key, { tags: ["menu"] })));
      const sick = servers.nodes[0] as ClusterNode;
      freeze(sick);
      assert.equal(await cache.invalidateAll({ timeout: 300 }), false);
      const kept = events.filter((event) => event.type === "invalidate-kept");
      for (const event of kept) assert.equal(event.tags, undefined);
      sick.resume();
      await eventually(() => events.filter(({ type }) => type === "invalidate-sent").length === kept.length);
      assert.deepEqual(new Set(await Promise.all(KEYS.map((key) => cache.get(key)))), new Set([undefined]));
    }));

  it("invalidateTags answers false when masters without replicas cannot confirm it", () =>
    using(async (client, events) => {
      const cache = client.cache<string>();
      await cache.set("a", "1", { tags: ["menu"] });
      assert.equal(await cache.invalidateTags("menu", { confirm: "replicas", timeout: 1000 }), false);
      const errors = events.flatMap((event) => (event.type === "error" ? [event.error.message] : []));
      assert.match(errors.join(), /^No replica confirmed the invalidation within \d+ ms$/);
      assert.equal(await cache.get("a"), undefined);
    }));

  it("invalidateTags is right while a slot is being moved key by key", () =>
    using(async (client) => {
      const cache = client.cache<string>();
      await Promise.all(KEYS.map((key) => cache.set(key, key, { tags: ["menu"] })));
      const slot = 128;
      const source = await servers.ownerOf(slot);
      const target = servers.nodes.find((node) => node.id !== source.id) as ClusterNode;
      const move = await servers.open(slot, target);
      try {
        await move.keys("db0:{53t}#larder:clock");
        assert.equal(await cache.invalidateTags("menu", { timeout: 20_000 }), true);
      } finally {
        await move.cancel();
      }
      await servers.settled();
      assert.deepEqual(new Set(await Promise.all(KEYS.map((key) => cache.get(key)))), new Set([undefined]));
    }));

  for (const fault of ["is emptied", "starts again, empty"] as const) {
    it(`stores nothing that was loaded before an invalidation which a master lost because it ${fault}`, () =>
      using((one) =>
        using(async (two) => {
          const ids = Array.from({ length: 60 }, (_, id) => id);
          const [shop, others] = [one.service(SHOP), two.service(SHOP)];
          assert.equal(await shop.invalidateAll(), true);
          let begun = 0;
          const value = gate<string>();
          const load = () => {
            begun++;
            return value.promise;
          };
          const loading = [
            ...ids.map((id) => shop.plain.getOrSet(id, load)),
            ...ids.map((id) => shop.tagged.getOrSet(id, load)),
          ];
          await eventually(() => begun === loading.length);
          assert.equal(await others.invalidateAll(), true);
          const master = servers.nodes[0] as ClusterNode;
          if (fault === "is emptied") await master.say("FLUSHALL");
          else {
            await master.kill();
            await master.restart();
            await servers.settled();
          }
          value.open("loaded before");
          assert.deepEqual(new Set(await Promise.all(loading)), new Set(["loaded before"]));
          for (const { plain, tagged } of [others, shop]) {
            assert.deepEqual([...(await plain.getMany(ids)), ...(await tagged.getMany(ids))], []);
          }
          await eventually(async () => (await shop.plain.setMany(ids.map((id) => [id, "new"]))) === ids.length);
          assert.equal((await others.plain.getMany(ids)).size, ids.length);
        }),
      ));
  }
});
