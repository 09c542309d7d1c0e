import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { type CacheClient, type ClientOptions, createCacheClient } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import * as scripts from "../src/lua/entries.ts";
import { rateLimit } from "../src/lua/rate_limit.ts";
import {
  type DiagnoseOptions,
  diagnose,
  type Finding,
  finish,
  inspect,
  type WarmReject,
  warm,
} from "../src/manager/mod.ts";
import { TRIALS } from "../src/manager/rights.ts";
import { product } from "./fixtures/product.ts";
import { dump, withConnection } from "./helpers/dump.ts";
import { onWires } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";
import { before7, freePort, type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

type Findings = Partial<Record<Finding["check"], Finding>>;

async function findings(client: CacheClient, options?: DiagnoseOptions): Promise<Findings> {
  const found: Findings = {};
  for await (const finding of diagnose(client, options)) found[finding.check] = finding;
  return found;
}

onWires("manager", (onWire, wire) => {
  it(
    "warm writes through the collection, and reports the line of each reject",
    onWire(async ({ make }) => {
      const client = make();
      const { products } = client.service("product");
      const rejects: WarmReject[] = [];
      async function* items() {
        for (let i = 1; i <= 300; i++) {
          if (i === 7) yield { id: i, value: { name: 5 }, line: 70 };
          else if (i === 200) yield { id: "", value: product(i) };
          else yield { id: i, value: product(i), tags: ["all"], ...(i === 1 && { ttl: "5s" as const }) };
        }
      }
      let last: { written: number; rejected: number } | undefined;
      for await (const progress of warm(products, items(), { concurrency: 50 })) {
        rejects.push(...progress.rejects);
        last = progress;
      }
      assert.deepEqual({ written: last?.written, rejected: last?.rejected }, { written: 298, rejected: 2 });
      assert.deepEqual(
        rejects.map(({ line }) => line),
        [70, 200],
      );
      assert.equal(rejects[0]?.error.name, "CacheSchemaError");
      assert.deepEqual(await products.get(300), product(300));
      assert.ok(Number(await products.ttl(1)) <= 5);
      assert.ok(Number(await products.ttl(2)) > 3000);
      await client.service("product").invalidateTags("all");
      assert.equal(await products.get(300), undefined);
    }),
  );

  it(
    "warm writes the items before the error when its source fails, and stops at a signal",
    onWire(async ({ make }) => {
      const { products } = make().service("product");
      async function* failing() {
        for (let i = 1; i <= 10; i++) yield { id: i, value: product(i) };
        throw new Error("torn");
      }
      await assert.rejects(finish(warm(products, failing())), /torn/);
      assert.equal((await products.getMany([1, 10, 11])).size, 2);
      const stop = new AbortController();
      async function* endless() {
        for (let i = 100; ; i++) {
          if (i === 150) stop.abort(new Error("stopped"));
          yield { id: i, value: product(i) };
        }
      }
      await assert.rejects(finish(warm(products, endless(), { concurrency: 10, signal: stop.signal })), /stopped/);
      assert.ok(await products.has(149));
      assert.ok(!(await products.has(151)));
      await assert.rejects(
        finish(warm(products, [], { concurrency: 0 })),
        /received 0, expected a whole number from 1 to 10000/,
      );
    }),
  );

  it(
    "inspect counts the keys of each service, and returns the statistics of all processes",
    onWire(async ({ make }) => {
      for (const databases of wire === "REST" ? (["prefixed"] as const) : (["numbered", "prefixed"] as const)) {
        const client = make({ databases, fleetStats: true, prefix: "shop" });
        await client.service("product").products.setMany(
          [1, 2, 3].map((id) => [id, product(id)]),
          { tags: ["x"] },
        );
        await client.service("user").cache.set("a", 1);
        await client.service("product").products.get(1);
        await client.close();
        const other = make({ databases, prefix: "shop" });
        const { services, fleet, latency, version, driver } = await inspect(other);
        const keys = Object.fromEntries(services.map(({ service, keys }) => [service, keys]));
        assert.deepEqual([keys.product, keys.user, keys.order], [3, 1, 0]);
        assert.equal(services.length, 8);
        assert.ok(latency !== null && latency >= 0);
        assert.equal(driver, other.driver);
        assert.equal(version === null, wire !== "TCP" && version === null);
        assert.equal(fleet.product?.hits, 1);
        const bounded = (await inspect(other, { maxKeys: 2 })).services.find(({ service }) => service === "product");
        assert.deepEqual([bounded?.keys, bounded?.more], [2, true]);
      }
    }),
  );

  it(
    "diagnose finds no problem of a new store",
    onWire(async ({ make }) => {
      const client = make();
      await client.cache().set("a", 1, { ttl: "1h" });
      const found = await findings(client);
      assert.deepEqual(Object.keys(found), [
        "connection",
        "authentication",
        "version",
        "replication",
        "databases",
        "scripts",
        "commands",
        "near caches",
        "encryption",
        "eviction",
        "memory",
        "hit rate",
        "expiry",
        "big keys",
        "slow queries",
        "clock",
      ]);
      for (const check of ["connection", "databases", "expiry", "big keys", "clock"] as const) {
        assert.equal(found[check]?.level, "ok", found[check]?.evidence);
      }
      if (wire === "memory") assert.match(found.memory?.evidence ?? "", /not available over memory/);
      assert.ok(Object.values(found).every(({ level }) => level !== "error"));
    }),
  );
});

describe("diagnose on a real Redis", () => {
  let redis: RedisServer;
  const clients: CacheClient[] = [];
  const make = (options: ClientOptions): CacheClient => {
    const client = createCacheClient({ env: {}, timeout: 3000, ...options });
    clients.push(client);
    return client;
  };
  before(async () => {
    redis = await startRedis({ args: ["--requirepass", "s3cret", "--enable-debug-command", "yes"] });
  });
  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await redis.stop();
  });
  const url = (): string => redis.url.replace("//", "//:s3cret@");

  it("diagnose distinguishes a wrong password from a refused port, and does not show the password", {
    timeout: 60_000,
  }, async () => {
    const wrong = await findings(make({ url: redis.url.replace("//", "//:wr0ng@") }));
    assert.deepEqual(Object.keys(wrong), ["authentication"]);
    assert.equal(wrong.authentication?.level, "error");
    assert.doesNotMatch(JSON.stringify(wrong), /wr0ng|s3cret/);
    const refused = await findings(make({ url: `redis://127.0.0.1:${await freePort()}` }));
    assert.deepEqual(Object.keys(refused), ["connection"]);
    assert.equal(refused.connection?.level, "error");
    assert.ok(refused.connection?.advice);
  });

  it("diagnose finds a full store, keys without TTL, big keys, slow queries and a wrong clock", {
    timeout: 60_000,
  }, async () => {
    const client = make({ url: url() });
    await withConnection(url(), 3, async (connection) => {
      await connection.send([
        ["CONFIG", "SET", "maxmemory-policy", "noeviction"],
        ["CONFIG", "SET", "maxmemory", 0],
        ["CONFIG", "RESETSTAT"],
        ...Array.from({ length: 200 }, (_, i) => ["SET", `k${i}`, "v"]),
        ["SET", "huge", "x".repeat(2 ** 21)],
        ["DEBUG", "SLEEP", "0.0304"],
      ]);
      const none = await findings(client);
      assert.match(none.eviction?.evidence ?? "", /noeviction, maxmemory is not set/);
      assert.equal(none.eviction?.level, "warning");
    });
    // By another connection: what the first one had in its buffers is in use until it is gone.
    await withConnection(url(), 3, async (connection) => {
      const [info] = await connection.send([["INFO", "memory"]]);
      const used = Number(/used_memory:(\d+)/.exec(new TextDecoder().decode(info as Uint8Array))?.[1]);
      await connection.send([["CONFIG", "SET", "maxmemory", Math.round(used / 0.9)]]);
    });
    const found = await findings(client, { clock: () => Date.now() - 5000 });
    const is = (check: Finding["check"], level: Finding["level"], evidence: RegExp): void => {
      assert.equal(found[check]?.level, level, JSON.stringify(found[check]));
      assert.match(found[check]?.evidence ?? "", evidence);
      if (level !== "ok") assert.ok(found[check]?.advice);
    };
    is("eviction", "error", /noeviction/);
    is("memory", "warning", /(8[1-9]|9\d)\.\d %/);
    is("expiry", "warning", /201 of 201 keys have no TTL, such as .* of database 3/);
    is("big keys", "warning", /"huge" of database 3 \(2\.\d MiB\)/);
    is("slow queries", "warning", /DEBUG/);
    is("clock", "warning", /[45](\.\d)? s ahead/);
    is("authentication", "ok", /default/);
    is("version", "ok", /^\w+ \d/);
    assert.doesNotMatch(JSON.stringify(found), /s3cret|0\.0304/);
  });

  it("diagnose finds too few databases, and continues when the user has few permissions", {
    timeout: 60_000,
  }, async () => {
    const args = ["--databases", "4", "--user", "reader", "on", ">pw", "~*", "+@read", "+ping", "+select"];
    const small = await startRedis({ args });
    await withConnection(small.url, 3, (connection) => connection.send([["SET", "k", "v"]]));
    for (const user of ["", "reader:pw@"]) {
      const found = await findings(make({ url: small.url.replace("//", `//${user}`) }));
      assert.equal(found.databases?.level, "error");
      assert.match(found.databases?.advice ?? "", /prefixed/);
      assert.match(found.expiry?.evidence ?? "", /^1 of 1 keys have no TTL/);
      assert.ok(found.clock);
      if (user) assert.equal(found.version?.evidence, "this user may not run INFO");
    }
    await small.stop();
  });

  it("diagnose shows sizes in fitting units", { timeout: 60_000 }, async () => {
    const client = make({ url: url() });
    await client.cache({ database: 7 }).set("a", "x".repeat(2000));
    const found = await findings(client, { bigKey: 1500 });
    assert.match(found["big keys"]?.evidence ?? "", / keys? ha(s|ve) 1\.5 KiB or more: /);
  });

  it("diagnose shows the server's hit rate, but does not judge it, when no process counts", {
    timeout: 60_000,
  }, async () => {
    const server = await startRedis();
    const client = make({ url: server.url });
    const { products } = client.service("product");
    /** Makes a hundred reads that hit, and returns the hits and misses that the server counted. */
    const read = async (): Promise<unknown> => {
      await products.set(1, product(1));
      await withConnection(server.url, 1, (connection) => connection.send([["CONFIG", "RESETSTAT"]]));
      for (let i = 0; i < 100; i++) assert.ok(await products.get(1));
      const { hits, misses } = await inspect(client);
      return [hits, misses];
    };
    assert.deepEqual(await read(), [100, 100]);
    const { "hit rate": found } = await findings(client);
    assert.equal(found?.level, "info");
    assert.match(found?.evidence ?? "", /^\d+\.\d % of \d+ reads by the server's count, which is misleading/);
    assert.match(found?.advice ?? "", /CACHE_FLEET_STATS=true/);
    // With an epoch each read has a second hit, so that even reads that all miss have half of them as hits.
    await client.service("product").invalidateAll();
    assert.deepEqual(await read(), [200, 0]);
    await server.stop();
  });

  it("diagnose judges the hit rate of each service by the statistics of processes, the worst first", {
    timeout: 60_000,
  }, async () => {
    for (const options of [{}, { databases: "prefixed", prefix: "shop" }] as const) {
      const server = await startRedis();
      const more: ClientOptions = { url: server.url, ...options };
      const counts = async (service: "product" | "user" | "order", hits: number, misses: number): Promise<void> => {
        const client = make({ ...more, fleetStats: true });
        const { cache } = client.service(service);
        await cache.set("a", 1);
        for (let i = 0; i < hits; i++) await cache.get("a");
        for (let i = 0; i < misses; i++) await cache.get("none");
        await client.close();
      };
      const rate = async (): Promise<Finding | undefined> => (await findings(make(more)))["hit rate"];
      await counts("user", 60, 39);
      assert.deepEqual(await rate(), {
        check: "hit rate",
        level: "info",
        evidence: "too few reads to judge, 100 of a service are needed: user 99",
      });
      await counts("product", 140, 60);
      const good = await rate();
      assert.deepEqual(
        [good?.level, good?.evidence],
        ["ok", "product 70.0 % of 200 reads, by the statistics of the applications"],
      );
      await counts("user", 0, 1);
      await counts("order", 5, 95);
      const low = await rate();
      assert.equal(low?.level, "warning");
      const three = "order 5.0 % of 100 reads, user 60.0 % of 100 reads, product 70.0 % of 200 reads";
      assert.equal(low?.evidence, `${three}, by the statistics of the applications`);
      assert.ok(low?.advice);
      await server.stop();
    }
  });

  it("inspect does not change the hit rate that it reports", { timeout: 60_000 }, async () => {
    const client = make({ url: url(), fleetStats: true });
    const reads = async (): Promise<unknown> => {
      const { hits, misses } = await inspect(client);
      return [hits, misses];
    };
    const first = await reads();
    await inspect(client);
    assert.deepEqual(await reads(), first);
  });

  it("diagnose says which checks the embedded store does not support", { timeout: 60_000 }, async () => {
    const found = await findings(make({ driver: memory() }));
    assert.equal(found.eviction?.level, "ok");
    assert.match(found["slow queries"]?.evidence ?? "", /not available over memory/);
  });
});

describe("diagnose tries the commands of caches", () => {
  const servers: RedisServer[] = [];
  const start = async (...args: string[]): Promise<RedisServer> => {
    const server = await startRedis({ args });
    servers.push(server);
    return server;
  };
  after(() => Promise.all(servers.map((server) => server.stop())));
  let redis: RedisServer;
  before(async () => {
    redis = await start();
  });

  /** Returns the findings for a user with these rights that are not ok, as `"check level"`: evidence and advice. */
  const wrong = async (url: string, options: ClientOptions = {}): Promise<Record<string, string>> => {
    await using client = createCacheClient({ env: {}, url, timeout: 5000, ...options });
    const found: Record<string, string> = {};
    for (const { check, level, evidence, advice } of Object.values(await findings(client))) {
      if (/^(replication|databases|scripts|commands|near caches|encryption|version)$/.test(check) && level !== "ok")
        found[`${check} ${level}`] = `${evidence} -> ${advice}`;
    }
    return found;
  };
  const user = async (name: string, ...rights: string[]): Promise<string> => {
    await rawCommand(redis.port, ["ACL", "SETUSER", name, "on", ">pw", "resetchannels", ...rights]);
    return redis.url.replace("//", `//${name}:pw@`);
  };
  const none = { "encryption info": "auth and payment have no values yet -> undefined" };

  it("diagnose finds no problem when all is allowed, and does not change the store", { timeout: 60_000 }, async () => {
    await using client = createCacheClient({ env: {}, url: redis.url, timeout: 5000 });
    await client.service("product").products.set(1, product(1), { tags: ["t"] });
    await client.service("product").invalidateTags("t");
    const changes = async (): Promise<unknown> =>
      /rdb_changes_since_last_save:\d+/.exec(String(await rawCommand(redis.port, ["INFO", "persistence"])))?.[0];
    const [before, stored] = [await changes(), await dump(redis.url, 1)];
    assert.deepEqual(await wrong(redis.url), none);
    assert.deepEqual([await changes(), await dump(redis.url, 1)], [before, stored]);
  });

  it("diagnose finds scripts, commands, keys, SELECT and channels that are not allowed, and says what to allow", {
    timeout: 60_000,
  }, async () => {
    const all = ["~*", "&*", "+@all"];
    const scripts = await wrong(await user("a", ...all, "-@scripting"));
    assert.deepEqual(Object.keys(scripts), ["scripts error", "encryption info"]);
    assert.match(
      scripts["scripts error"] ?? "",
      /NOPERM .*'eval' command( or its subcommand)? -> allow this user to run scripts \(ACL: \+eval \+evalsha\)/,
    );

    const time = await wrong(await user("b", ...all, "-time"));
    assert.deepEqual(Object.keys(time), ["commands error", "encryption info"]);
    assert.match(time["commands error"] ?? "", /may not run TIME, .*\+time\)/);

    const few = await wrong(await user("c", ...all, "-scan", "-unlink", "-hincrby", "-set"));
    assert.match(
      few["commands error"] ?? "",
      /may not run SET, UNLINK, SCAN, HINCRBY, .*\+set \+unlink \+scan \+hincrby\)/,
    );

    const keys = await wrong(await user("d", "~shop:product:*", "&*", "+@all"), { prefix: "shop" });
    assert.match(keys["commands error"] ?? "", /keys that start with "shop:".* -> allow these keys \(ACL: ~shop:\*\)/);
    assert.equal(keys["scripts error"], undefined);

    const select = await wrong(await user("e", ...all, "-select"));
    assert.match(select["databases error"] ?? "", /NOPERM .*prefixed, or allow this user SELECT \(ACL: \+select\)/);
    assert.match(select["databases error"] ?? "", /cannot be used: Cannot use database 15 of Redis at .*: NOPERM/);

    // Rights to read keys alone exist since version 7.
    if (!before7()) {
      const reader = await wrong(await user("h", "%R~*", "&*", "+@all"));
      assert.match(
        reader["commands error"] ?? "",
        /user may not read and write all keys -> allow these keys \(ACL: ~\*\)/,
      );
    }

    for (const rights of [["-client"], ["-client|tracking"], ["-subscribe"], ["resetchannels"]]) {
      const near = await wrong(await user("f", "reset", "on", ">pw", ...all, ...rights));
      assert.deepEqual(Object.keys(near), ["near caches info", "encryption info"], rights.join());
      assert.match(
        near["near caches info"] ?? "",
        /NOPERM .* -> .*\+client\|tracking \+subscribe .*&__redi(s|ct)__:invalidat/,
      );
    }
  });

  it("TRIALS has every command of the scripts that can be tried without a change", () => {
    // HSET always writes. Users that may run HINCRBY usually may run it too. Without GETRANGE, GET does its work.
    const used = Object.values({ ...scripts, rateLimit }).flatMap((script) =>
      typeof script === "object"
        ? [...script.lua.matchAll(/redis\.p?call\('(\w+)'/g)].map(([, name]) => name as string)
        : [],
    );
    const tried = new Set(TRIALS.match(/[A-Z]{3,}/g));
    assert.deepEqual([...new Set(used)].filter((name) => !tried.has(name)).sort(), ["GETRANGE", "HSET"]);
  });

  it("diagnose warns of refused near caches when one is on", { timeout: 60_000 }, async () => {
    const url = await user("g", "~*", "&*", "+@all", "-client");
    await using client = createCacheClient({ env: {}, url, timeout: 5000, near: true, logger: false });
    await client.cache().get("a");
    await eventually(async () => (await client.health()).near !== undefined);
    assert.equal((await findings(client))["near caches"]?.level, "warning");
  });

  it("diagnose continues when the user may not run PING", { timeout: 60_000 }, async () => {
    assert.deepEqual(await wrong(await user("h", "~*", "&*", "+@all", "-ping")), none);
  });

  it("diagnose finds a replica", { timeout: 60_000 }, async () => {
    const replica = await start("--replicaof", `127.0.0.1 ${redis.port}`);
    const found = await wrong(replica.url);
    assert.match(
      found["replication error"] ?? "",
      new RegExp(`^this is a replica of 127.0.0.1:${redis.port} -> .*primary`),
    );
    // If INFO is not known, ROLE is used.
    const args = ["--replicaof", `127.0.0.1 ${redis.port}`, "--rename-command", "INFO", ""];
    const silent = await wrong((await start(...args)).url);
    assert.ok(silent["replication error"]);
    assert.match(silent["version info"] ?? "", /does not know INFO: it is renamed or disabled/);
  });

  it("diagnose reports a cluster in the same way in every mode of databases", { timeout: 60_000 }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "larder-"));
    const cluster = await start("--cluster-enabled", "yes", "--dir", folder);
    await rawCommand(cluster.port, ["CLUSTER", "ADDSLOTSRANGE", 0, 16383]);
    for (const databases of ["auto", "prefixed"] as const) {
      const found = await wrong(cluster.url, { databases });
      assert.match(found["databases error"] ?? "", /^this is a node of a cluster, .* -> use redis\+cluster:\/\/ /);
    }
    await rm(folder, { recursive: true });
  });

  it("diagnose names the user default when it cannot know that a login took place", { timeout: 60_000 }, async () => {
    const renamed = await start("--rename-command", "INFO", "", "--rename-command", "CONFIG", "");
    await using client = createCacheClient({ env: {}, url: renamed.url, timeout: 5000 });
    assert.equal((await findings(client)).authentication?.evidence, "the user is default");
  });

  it("diagnose says that the store has no keys and no reads when it is empty", { timeout: 60_000 }, async () => {
    const { url } = await start();
    await using client = createCacheClient({ env: {}, url, timeout: 5000, logger: false });
    const found = await findings(client);
    for (const check of ["expiry", "big keys"] as const) {
      assert.deepEqual([found[check]?.level, found[check]?.evidence], ["info", "the store has no keys"]);
    }
    assert.deepEqual([found["hit rate"]?.level, found["hit rate"]?.evidence], ["info", "the store had no reads yet"]);
  });

  it("diagnose finds values of auth and payment in plain text", { timeout: 60_000 }, async () => {
    const { url } = await start();
    const keys = { keys: { k1: new Uint8Array(32).fill(1) } };
    const store = async (options: ClientOptions): Promise<void> => {
      await using client = createCacheClient({ env: {}, url, timeout: 5000, logger: false, ...options });
      await client.service("auth").sessions.set("t", { userId: "u1" });
      await client.service("auth").checkRateLimit("a", { limit: 1, window: "1h" });
      await client.service("payment").methods.set("u1", [{ token: "tok", last4: "4242" }]);
    };
    await store({ encryption: keys });
    assert.equal((await wrong(url))["encryption info"], undefined);
    await store({});
    const { "encryption info": told = "" } = await wrong(url);
    assert.match(
      told,
      /^stored in plain text: auth \(session:\*\), payment \(payment_methods:\*\) -> .*CACHE_ENCRYPTION_KEYS/,
    );
  });

  it("diagnose asks for another token when the token is read-only, and says that it cannot read keys", {
    timeout: 60_000,
  }, async () => {
    const rest = await serve(bridge({ driver: memory(), token: "t", readOnlyToken: "r" }));
    await using client = createCacheClient({ env: {}, url: rest.url, token: "r", timeout: 5000, logger: false });
    const found = await findings(client);
    for (const check of ["scripts", "commands"] as const) {
      assert.equal(found[check]?.level, "error");
      assert.match(found[check]?.advice ?? "", /^use the token that may write/);
    }
    for (const check of ["encryption", "expiry", "big keys"] as const) {
      assert.equal(found[check]?.level, "info");
      assert.equal(found[check]?.evidence, "this user may not read the keys");
    }
    await rest.close();
  });
});
