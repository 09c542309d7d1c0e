/**
 * docs/permissions.md names the rights that users of a Redis need: here each row's are given, and each is taken away.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { type CacheClient, type ClientOptions, createCacheClient } from "../mod.ts";
import { backup, clear, diagnose, finish, get, inspect, list, restore, warm } from "../src/manager/mod.ts";
import { product } from "./fixtures/product.ts";
import { BackupFile } from "./helpers/backup_file.ts";
import { eventually } from "./helpers/eventually.ts";
import { before7, type RawClient, type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 120_000 };
const PAGE = readFileSync("docs/permissions.md", "utf8");

/** The rows of the page's tables: what is done, by which rights. A row without a name continues the one before it. */
const ROWS: (readonly [name: string, rights: string[]])[] = [];
/** The commands of rows that Redis 6.2 does not know. */
const SINCE_7 = ["+eval_ro", "+pexpiretime"];
for (const [, name, rights = ""] of PAGE.matchAll(/^\| (?:`([^`]+)` )?\| `([^`]+)` \|$/gm)) {
  const list = rights.replaceAll("\\|", "|").split(" ");
  if (name === undefined) ROWS.at(-1)?.[1].push(...list);
  else ROWS.push([name, list]);
}

/** The promise of each row, as a function that throws if it does not hold. */
const PROMISES: Readonly<Record<string, (url: string, owner: string) => Promise<void>>> = {
  async reads(url) {
    await using client = strict(url);
    const { products, searches } = client.service("product");
    assert.deepEqual(await products.get(1), product(1));
    assert.deepEqual(await searches.get("pho"), [1]);
    assert.equal((await products.getMany([1, 2, 3])).size, 2);
    assert.deepEqual(await products.getOrSet(2, () => assert.fail("it is there")), product(2));
    assert.ok(await products.has(1));
    assert.ok(Number(await products.ttl(1)) > 0);
  },
  async "reads by a script"(url) {
    await using client = strict(url);
    const { products, searches } = client.service("product");
    assert.deepEqual(await searches.get("pho"), [1]);
    assert.equal(await products.has(3), false);
    assert.ok(Number(await products.ttl(1)) > 0);
    const sent: string[] = [];
    client.onSend(({ commands }) => void sent.push(...commands.map(([name]) => name)));
    assert.deepEqual(await searches.get("pho"), [1]);
    assert.ok(await products.has(1));
    assert.deepEqual(await products.get(2), product(2));
    assert.deepEqual(sent, ["EVALSHA_RO", "EVALSHA_RO", "MGET"]);
  },
  async keys(url) {
    await using client = strict(url);
    const found: string[] = [];
    for await (const id of client.service("product").products.keys()) found.push(id);
    assert.deepEqual(found.sort(), ["1", "2"]);
  },
  async "all verbs"(url) {
    await using client = strict(url);
    const cache = client.cache({ database: 9 });
    assert.ok(await cache.set("a", 1, { tags: ["t"] }));
    assert.equal(await cache.getOrSet("b", () => 2, { lock: true, tags: ["t"], staleFor: "1m" }), 2);
    assert.equal(await cache.get("b"), 2);
    assert.equal(await cache.update("a", () => 3), 3);
    assert.ok(await cache.set("n", 5));
    assert.equal(await cache.increment("n"), 6);
    assert.ok(await cache.expire("b", "1m"));
    assert.ok(await cache.persist("b"));
    assert.equal(await cache.has("none"), false);
    assert.equal(await cache.withLock("l", () => "done"), "done");
    assert.deepEqual(await Promise.all([cache.delete("a"), cache.delete(["b"])]), [1, 1]);
    for await (const key of cache.keys()) assert.equal(key, "n");
    assert.ok(await cache.invalidateTags("t"));
    assert.ok(await cache.invalidateAll());
    assert.equal(await cache.clear(), 1);
    const auth = client.service("auth");
    assert.ok(await auth.sessions.set("s", { userId: 1 }));
    assert.ok(await auth.sessions.get("s"));
    assert.ok(await auth.revokeUser(1));
    for (const algorithm of ["fixed", "sliding", "token-bucket"] as const) {
      const limit = { limit: 2, window: "1m", algorithm, onUnavailable: "throw" } as const;
      const passed = [];
      for (let i = 0; i < 3; i++) passed.push((await auth.checkRateLimit("k", limit)).allowed);
      assert.deepEqual(passed, [true, true, false]);
    }
    await auth.incrementRateLimit("k", { onUnavailable: "throw" });
    // A limit that is changed, and changed back.
    for (const limit of [20, 5, 20]) await auth.checkRateLimit("m", { limit, window: "1m", onUnavailable: "throw" });
    assert.equal((await auth.decrementRateLimit("k", { onUnavailable: "throw" })).count, 0);
    assert.ok(await auth.resetRateLimit("k"));
  },
  async fleetStats(url) {
    const hits = async (client: CacheClient): Promise<number> =>
      Number((await client.service("product").fleetStats())?.hits);
    await using client = strict(url, { fleetStats: true });
    // Two services' counts leave together: the first by EVAL, the second by EVALSHA.
    await client.cache({ database: 1 }).get("product:2");
    const before = await hits(client);
    await client.service("product").products.get(2);
    await client.close();
    await using other = strict(url);
    assert.ok((await hits(other)) > before);
  },
  async "near caches"(url) {
    await using client = strict(url, { near: true });
    const { products } = client.service("product");
    let refused: string | undefined;
    await eventually(async () => {
      await products.get(1);
      refused = (await client.health()).near;
      return products.stats().nearHits > 0 || refused !== undefined;
    });
    assert.equal(refused, undefined);
  },
  async "larder list"(url) {
    await using client = await connected(url);
    const keys: string[] = [];
    for await (const { key, ttl } of list(client, PRODUCT)) if (ttl !== null) keys.push(key);
    assert.equal(keys.length, 4);
  },
  async "larder get"(url) {
    await using client = await connected(url);
    assert.equal((await get(client, { ...PRODUCT, key: "product:1" }))?.type, "string");
  },
  async "larder clear --pattern"(url) {
    await using client = await connected(url);
    assert.equal((await finish(clear(client, { ...PRODUCT, pattern: "product:1" }))).keys, 1);
  },
  async "larder clear"(url) {
    await using client = await connected(url);
    const { keys, refused } = await finish(clear(client, PRODUCT));
    assert.deepEqual([keys, refused], [4, null]);
  },
  async "larder backup"(url) {
    await using client = await connected(url);
    const { write } = new BackupFile();
    assert.equal((await finish(backup(client, { ...PRODUCT, write }))).keys, 4);
  },
  async "larder restore"(url, owner) {
    const { write, read } = new BackupFile();
    {
      await using client = strict(owner);
      await finish(backup(client, { ...PRODUCT, write }));
      await finish(clear(client, PRODUCT));
    }
    await using client = await connected(url);
    assert.equal((await finish(restore(client, { ...PRODUCT, read }))).written, 4);
  },
  async "larder warm"(url) {
    await using client = await connected(url);
    const items = [5, 6].map((id) => ({ id, value: product(id), tags: ["menu"], ttl: "30d" as const }));
    assert.equal((await finish(warm(client.service("product").products, items, { concurrency: 1 }))).written, 2);
  },
  async "larder stats"(url) {
    await using client = await connected(url);
    const { server, services, fleet } = await inspect(client);
    const keys = services.find(({ service }) => service === "product")?.keys;
    assert.deepEqual([server !== null, keys, fleet.product?.hits], [true, 4, 1]);
  },
};

/** The channel of invalidations, and the rights that replace it on Redict. */
const CHANNEL = "&__redis__:invalidate";
const REDICT_CHANNEL = (/On\s+Redict,\s+use\s+`([^`]+)`/.exec(PAGE)?.[1] ?? "").split(" ");

const PRODUCT = { service: "product" } as const;

/** A client as the command has it. */
async function connected(url: string): Promise<CacheClient> {
  const client = strict(url);
  await client.connect();
  return client;
}

/** A client that throws what the store refuses. */
function strict(url: string, options: ClientOptions = {}): CacheClient {
  return createCacheClient({ env: {}, url, timeout: 5000, onError: "throw", logger: false, ...options });
}

describe("the page of permissions", () => {
  let redis: RedisServer;
  let raw: RawClient;
  let channel: readonly string[] = [CHANNEL];
  before(async () => {
    redis = await startRedis();
    raw = await rawClient(redis.port);
    if (String(await raw.command("INFO", "server")).includes("redict_version")) channel = REDICT_CHANNEL;
  });
  after(async () => {
    raw?.close();
    await redis?.stop();
  });

  /** Returns whether a promise holds for a user with these rights. */
  const holds = async (name: string, rights: readonly string[]): Promise<unknown> => {
    await fill(redis, raw);
    assert.equal(
      await raw.command(
        "ACL",
        "SETUSER",
        "user",
        "reset",
        "on",
        ">pw",
        "resetchannels",
        ...rights.flatMap((right) => (right === CHANNEL ? channel : before7() ? right.replace("%R~", "~") : right)),
      ),
      "OK",
    );
    return (PROMISES[name] as (typeof PROMISES)[string])(redis.url.replace("//", "//user:pw@"), redis.url).then(
      () => true,
      (error: unknown) => error,
    );
  };

  it("names a user with all the rights of an application", LIMIT, async () => {
    const [, words = ""] = /ACL SETUSER \w+ on '>password' ([^`]*)```/.exec(PAGE) ?? [];
    const rights = words
      .replace(/['\\\n]/g, " ")
      .trim()
      .split(/ +/);
    for (const name of ["reads", "keys", "all verbs", "fleetStats", "near caches"]) {
      assert.equal(await holds(name, rights), true, name);
    }
  });

  it("names the rights by which doctor sees everything", LIMIT, async () => {
    const [, more = ""] = /say what is hidden from them: `([^`]*)`/.exec(PAGE.replaceAll(/\s+/g, " ")) ?? [];
    const rights = ["all verbs", "larder list", "fleetStats"].flatMap(
      (name) => ROWS.find(([row]) => row === name)?.[1] ?? [],
    );
    const untold = async (given: readonly string[]): Promise<string[]> => {
      await fill(redis, raw);
      assert.equal(await raw.command("ACL", "SETUSER", "user", "reset", "on", ">pw", ...given), "OK");
      await using client = strict(redis.url.replace("//", "//user:pw@"));
      const found: string[] = [];
      for await (const { check, evidence } of diagnose(client))
        if (/user may not run|does not announce/.test(evidence)) found.push(check);
      return found;
    };
    const told = more.trim().split(/ +/);
    assert.deepEqual(await untold([...rights, ...told]), ["near caches"]);
    assert.ok((await untold([...rights, ...told.filter((right) => right !== "+info")])).includes("memory"));
  });

  it("leaves counters unchanged when the missing right is TIME", LIMIT, async () => {
    await raw.command("ACL", "SETUSER", "user", "reset", "on", ">pw", "~*", "&*", "+@all", "-time");
    await using client = strict(redis.url.replace("//", "//user:pw@"));
    await assert.rejects(
      client.cache({ database: 9 }).increment("untold"),
      /can't run this command|no permissions to run|NOPERM/,
    );
    await using owner = strict(redis.url);
    assert.equal(await owner.cache({ database: 9 }).get("untold"), undefined);
  });

  it("has a row for each promise", () => {
    assert.deepEqual(ROWS.map(([name]) => name).sort(), Object.keys(PROMISES).sort());
  });

  for (const [name, rights] of ROWS) {
    if (before7() && rights.some((right) => SINCE_7.includes(right))) continue;
    it(`names the rights for ${name}: all are enough, and one fewer is not`, LIMIT, async () => {
      assert.equal(await holds(name, rights), true);
      for (const right of rights) {
        const fewer = rights.filter((other) => other !== right);
        assert.notEqual(await holds(name, fewer), true, `without ${right}`);
      }
    });
  }
});

/**
 * Puts two products, a category's and a search's entries in place, and invalidates something, so that marks are looked
 * at.
 */
async function fill(redis: RedisServer, raw: RawClient): Promise<void> {
  await raw.command("FLUSHALL");
  await using client = createCacheClient({ env: {}, url: redis.url, timeout: 5000, fleetStats: true });
  const service = client.service("product");
  await service.products.set(1, product(1), { tags: ["menu"] });
  await service.products.set(2, product(2));
  await service.searches.set("pho", [1]);
  await service.categories.set(7, { id: 7, name: "Soups" });
  await service.invalidateTags("none");
  await service.products.get(1);
}
