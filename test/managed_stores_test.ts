/**
 * Stores as providers give them: without some commands, for users without some rights, and with checks of scripts. Each
 * operation works, or fails with the one sentence that is named here, and doctor says so.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type CacheClient, type ClientOptions, createCacheClient } from "../mod.ts";
import { diagnose } from "../src/manager/mod.ts";
import { eventually } from "./helpers/eventually.ts";
import { type ManagedStore, startManagedStore } from "./helpers/managed_store.ts";
import { type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 120_000 };

/** A store, and what does not work there. */
interface Profile {
  readonly args?: readonly string[];
  /** The rights of the user. */
  readonly acl?: readonly string[];
  /** The check of scripts. */
  readonly check?: "declared" | "literal";
  readonly options?: ClientOptions;
  /** The operations that fail, and the sentence of each. */
  readonly fails?: { readonly [operation: string]: RegExp };
  /** The findings of doctor, by their checks: level, evidence and advice. */
  readonly doctor?: { readonly [check: string]: RegExp };
}

const without = (...commands: string[]): string[] => commands.flatMap((name) => ["--rename-command", name, ""]);

/** The reason why there is nothing to read, where scripts are refused. */
const NOT_SET = "it was not set";

/** Every operation, in an order in which each finds what it needs. It throws if it does not do what it promises. */
const OPERATIONS: { readonly [name: string]: (client: CacheClient) => Promise<void> } = {
  async set(client) {
    assert.ok(await client.cache().set("plain", 1));
  },
  async get(client) {
    assert.equal(await client.cache().get("plain"), 1);
  },
  async getMany(client) {
    assert.deepEqual([...(await client.cache().getMany(["plain", "none"]))], [["plain", 1]]);
  },
  async has(client) {
    assert.deepEqual(await Promise.all([client.cache().has("plain"), client.cache().has("none")]), [true, false]);
  },
  async ttl(client) {
    assert.ok(Number(await client.cache().ttl("plain")) > 3500);
  },
  async "set with tags"(client) {
    assert.ok(await client.cache().set("tagged", 1, { tags: ["a", "b"] }));
    assert.ok(await client.cache().set("counted", 5, { tags: ["a"] }));
    assert.ok(await client.cache().set("short", 5, { tags: ["a"] }));
  },
  async invalidateTags(client) {
    assert.ok(await client.cache().set("over", 1, { tags: ["z"] }));
    assert.ok(await client.cache().invalidateTags("z"));
    assert.equal(await client.cache().get("over"), undefined);
  },
  async "get with tags"(client) {
    for (let i = 0; i < 2; i++) assert.equal(await client.cache().get("tagged"), 1, NOT_SET);
    assert.deepEqual([...(await client.cache().getMany(["tagged", "counted", "none"])).values()], [1, 5]);
  },
  async "has and ttl with tags"(client) {
    assert.ok(await client.cache().has("tagged"), NOT_SET);
    assert.ok(Number(await client.cache().ttl("tagged")) > 3500);
  },
  async update(client) {
    assert.equal(await client.cache().update("tagged", (n) => Number(n) + 1, { tags: ["c"] }), 2);
    assert.equal(await client.cache().update("tagged", (n) => Number(n) + 1, { tags: ["a"] }), 3);
  },
  async "expire and persist"(client) {
    assert.ok(await client.cache().expire("tagged", "5s"));
    assert.ok(Number(await client.cache().ttl("tagged")) <= 5);
    assert.ok(await client.cache().persist("tagged"));
    assert.equal(await client.cache().ttl("tagged"), "forever");
    assert.equal(await client.cache().get("tagged"), 3);
  },
  async increment(client) {
    assert.equal(await client.cache().increment("count"), 1);
    assert.equal(await client.cache().increment("count", { by: 4 }), 5);
  },
  async "increment of what was set with tags"(client) {
    assert.equal(await client.cache().increment("counted"), 6);
  },
  async "getOrSet with a lock"(client) {
    const load = { lock: true, tags: ["a"] };
    assert.equal(await client.cache().getOrSet("loaded", () => 1, load), 1);
    assert.equal(await client.cache().getOrSet("loaded", () => 2, load), 1);
    // The next turn looks at an entry with tags that is old.
    assert.ok(await client.cache().set("old", 1, { tags: ["a"], ttl: "1ms", failSafeFor: "1h" }));
    await eventually(async () => (await client.cache().get("old")) === undefined);
    assert.equal(await client.cache().getOrSet("old", () => 2, { ...load, failSafeFor: "1h" }), 2);
  },
  async withLock(client) {
    assert.equal(await client.cache().withLock("job", () => "done"), "done");
  },
  async "get of a sliding entry"(client) {
    const { sessions, cache } = client.service("auth");
    await sessions.set("s", { userId: "u1" });
    await cache.invalidateTags("none");
    assert.ok(await sessions.expire("s", "5s"));
    assert.deepEqual(await sessions.get("s"), { userId: "u1" });
    assert.ok(Number(await sessions.ttl("s")) > 100);
  },
  async "rate limits"(client) {
    const limit = { limit: 1, window: "1m", onUnavailable: "throw" } as const;
    const auth = client.service("auth");
    assert.equal((await auth.checkRateLimit("k", limit)).allowed, true);
    assert.equal((await auth.checkRateLimit("k", limit)).allowed, false);
  },
  async keys(client) {
    const found: string[] = [];
    for await (const key of client.cache().keys("pl*")) found.push(key);
    assert.deepEqual(found, ["plain"]);
  },
  async delete(client) {
    assert.equal(await client.cache().delete("plain"), 1);
  },
  async "delete by several callers"(client) {
    await Promise.all(["x", "y"].map((key) => client.cache().set(key, 1)));
    assert.deepEqual(await Promise.all(["x", "y"].map((key) => client.cache().delete(key))), [1, 1]);
  },
  async invalidateAll(client) {
    await client.cache().set("gone", 1);
    assert.ok(await client.cache().invalidateAll());
    assert.equal(await client.cache().get("gone"), undefined);
  },
  async deletePattern(client) {
    await client.cache().set("p1", 1);
    assert.equal(await client.cache().deletePattern("p*"), 1);
  },
  async clear(client) {
    await client.cache().set("p1", 1);
    assert.ok((await client.cache().clear()) >= 1);
  },
};

const everything = (sentence: RegExp): { [operation: string]: RegExp } =>
  Object.fromEntries(Object.keys(OPERATIONS).map((name) => [name, sentence]));
const these = (names: readonly string[], sentence: RegExp): { [operation: string]: RegExp } =>
  Object.fromEntries(names.map((name) => [name, sentence]));

/** The operations that need scripts, with the sentence of each. */
const WITHOUT_SCRIPTS = (sentence: RegExp): { [operation: string]: RegExp } => ({
  ...these(
    [
      ...["set with tags", "invalidateTags", "update", "expire and persist", "getOrSet with a lock", "withLock"],
      ...["increment", "increment of what was set with tags", "get of a sliding entry", "rate limits"],
      ...["delete by several callers", "invalidateAll", "clear"],
    ],
    sentence,
  ),
  ...these(["get with tags", "has and ttl with tags"], new RegExp(NOT_SET)),
});
const BY_SCAN = ["keys", "deletePattern", "clear"];

const PROFILES: { readonly [name: string]: Profile } = {
  "without CONFIG": { args: without("CONFIG", "DEBUG", "SHUTDOWN", "SLOWLOG") },
  "without SELECT": {
    args: without("SELECT"),
    options: { database: 3 },
    fails: everything(/^Cannot use database \d of Redis at 127.*SELECT.*set CACHE_DATABASES=prefixed/),
    doctor: { databases: /^error .*SELECT.* set CACHE_DATABASES to prefixed, or allow this user SELECT/ },
  },
  "without SELECT, with prefixes": { args: without("SELECT"), options: { database: 3, databases: "prefixed" } },
  "with one database": {
    args: ["--databases", "1"],
    options: { database: 3 },
    fails: everything(/^Cannot use database \d of Redis at 127.*out of range; set CACHE_DATABASES=prefixed/),
    doctor: { databases: /^error .*out of range .*set CACHE_DATABASES to prefixed/ },
  },
  "with one database, with prefixes": {
    args: ["--databases", "1"],
    options: { database: 3, databases: "prefixed" },
  },
  "without CLIENT": {
    args: without("CLIENT"),
    doctor: { "near caches": /^info they are disabled, .*unknown command.*CLIENT/ },
  },
  "without EVALSHA and SCRIPT": {
    args: without("EVALSHA", "SCRIPT"),
    doctor: { scripts: /^info scripts run by EVAL alone, .*EVALSHA/ },
  },
  "without scripts": {
    args: without("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"),
    fails: WITHOUT_SCRIPTS(/^ERR unknown command [`']EVAL['`]: the cache needs this command/),
    doctor: { scripts: /^error scripts cannot be run: ERR unknown command/ },
  },
  "without INFO and ROLE": {
    args: without("INFO", "ROLE"),
    doctor: { version: /^info the server does not know INFO/, replication: /^info the server does not know ROLE/ },
  },
  "without SCAN": {
    args: without("SCAN"),
    fails: these(BY_SCAN, /^ERR unknown command [`']SCAN['`]/),
    doctor: { commands: /^error this user may not run SCAN/ },
  },
  "for a user without @admin and @dangerous": {
    acl: ["~*", "&*", "+@all", "-@admin", "-@dangerous"],
    doctor: { version: /^info this user may not run INFO/, memory: /^info this user may not run INFO/ },
  },
  "that lets scripts use declared keys alone": {
    check: "declared",
    doctor: { scripts: /^info scripts use declared keys alone, .*script tried accessing undeclared key/ },
  },
  "that wants the keys of scripts literally": {
    check: "literal",
    fails: WITHOUT_SCRIPTS(/using the KEYS array: .*set script_check_enable to 0/),
    doctor: { scripts: /^error scripts cannot be run: ERR bad lua script .* set script_check_enable to 0/ },
  },
};

for (const [name, { args = [], acl, check, options, fails = {}, doctor = {} }] of Object.entries(PROFILES)) {
  describe(`a store ${name}`, () => {
    it("does each operation, or says in one sentence why not; and doctor says so", LIMIT, async () => {
      const redis = await startRedis({ args });
      const proxy = check && (await startManagedStore(redis.port, check));
      let { url } = proxy ?? redis;
      if (acl) {
        await rawCommand(redis.port, ["ACL", "SETUSER", "shop", "on", ">pw", ...acl]);
        url = url.replace("//", "//shop:pw@");
      }
      const client = createCacheClient({ env: {}, url, timeout: 5000, onError: "throw", logger: false, ...options });
      try {
        const said: { [operation: string]: string } = {};
        for (const [operation, run] of Object.entries(OPERATIONS)) {
          await run(client).catch((error: Error) => {
            said[operation] = error.message;
          });
        }
        assert.deepEqual(Object.keys(said).sort(), Object.keys(fails).sort(), JSON.stringify(said, undefined, 1));
        for (const [operation, sentence] of Object.entries(fails)) assert.match(said[operation] ?? "", sentence);
        const found: { [check: string]: string } = {};
        for await (const { check, level, evidence, advice = "" } of diagnose(client)) {
          found[check] = `${level} ${evidence} ${advice}`;
        }
        for (const [check, sentence] of Object.entries(doctor)) assert.match(found[check] ?? "", sentence);
        // Nothing else is called an error.
        const errors = Object.keys(found).filter((check) => found[check]?.startsWith("error"));
        assert.deepEqual(
          errors,
          Object.keys(doctor).filter((check) => `${doctor[check]}`.startsWith("/^error")),
        );
      } finally {
        await client.close();
        await proxy?.stop();
        await redis.stop();
      }
    });
  });
}

describe("a store that lets scripts use declared keys alone", () => {
  let redis: RedisServer;
  let proxy: ManagedStore;
  let client: CacheClient;
  const sent: string[][] = [];
  const names = async (run: () => Promise<unknown>): Promise<string[]> => {
    sent.length = 0;
    await run();
    return sent.map((commands) => commands.join("+"));
  };
  before(async () => {
    redis = await startRedis();
    proxy = await startManagedStore(redis.port, "declared");
    client = createCacheClient({ env: {}, url: proxy.url, timeout: 5000, onError: "throw", logger: false });
    client.onSend(({ commands }) => void sent.push(commands.map(([name]) => name)));
    const cache = client.cache();
    for (const key of ["a", "b", "c"]) await cache.set(key, key, { tags: [key], ttl: "1h" });
    await cache.invalidateTags("other");
  });
  after(async () => {
    await client?.close();
    await proxy?.stop();
    await redis?.stop();
  });

  it("reads tagged entries by two MGETs once a script was refused, and asks no script again", LIMIT, async () => {
    const cache = client.cache();
    const first = await names(() => cache.get("a"));
    assert.ok(first.some((commands) => commands.startsWith("EVAL")));
    assert.deepEqual(await names(() => cache.get("a")), ["MGET+PTTL", "MGET"]);
    assert.equal(await cache.get("b"), "b");
    assert.ok(await cache.invalidateTags("b"));
    assert.equal(await cache.get("b"), undefined);
    assert.equal(await cache.get("c"), "c");
  });

  it("slides the TTL of a tagged entry, and of its marks, by a script that declares them", LIMIT, async () => {
    const auth = client.service("auth");
    await auth.sessions.set("s", { userId: "u1" });
    await auth.cache.invalidateTags("other");
    await auth.sessions.get("s");
    assert.deepEqual(await names(() => auth.sessions.get("s")), ["MGET", "EVALSHA"]);
    assert.ok(await auth.revokeUser("u1"));
    assert.equal(await auth.sessions.get("s"), undefined);
  });

  it(
    "sends a script again with the marks of what stands there, and what came behind it after that",
    LIMIT,
    async () => {
      const cache = client.cache();
      assert.ok(await cache.expire("c", "6m"));
      assert.deepEqual(await names(() => cache.expire("c", "5m")), ["EVALSHA", "MGET", "EVALSHA"]);
      // In one tick: the second write must not be undone by the first, which is refused at first.
      const [touched, written] = await Promise.all([cache.expire("c", "5s"), cache.set("c", "new", { ttl: "1h" })]);
      assert.deepEqual([touched, written, await cache.get("c")], [true, true, "new"]);
      assert.ok(Number(await cache.ttl("c")) > 3000);
    },
  );

  it("sends a script again when the entry has other tags by then", LIMIT, async () => {
    const cache = client.cache();
    const other = createCacheClient({ env: {}, url: redis.url, timeout: 5000 });
    await cache.set("d", 1, { tags: ["first"] });
    let changes = 2;
    const stop = client.subscribe((event) => {
      // The marks are about to be read, or were read for tags that the entry has no more.
      if (event.type === "retry" && changes-- > 0) void other.cache().set("d", 2, { tags: [`other${changes}`] });
    });
    assert.ok(await cache.expire("d", "5m"));
    stop();
    assert.ok(changes < 2);
    await other.close();
  });
});
