import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as v from "valibot";
import { memory } from "../drivers/memory.ts";
import {
  collection,
  createCacheClient,
  type Driver,
  defineService,
  getCacheClient,
  getCacheService,
  withSchemas,
} from "../mod.ts";
import { parseTtl } from "../src/base/ttl.ts";
import { createCacheClient as createEdgeClient } from "../src/edge.ts";
import { collectionKeys } from "../src/entry/keyspace.ts";
import { read, storeEntry } from "../src/lua/entries.ts";
import { services } from "../src/services/all.ts";
import { auth } from "../src/services/auth.ts";
import { SERVICE_NAMES } from "../src/services/databases.ts";

/** The design's table: service, database, then collection, key, TTL, variable. */
const TABLE = `
gateway 0 sessions session:{id} 30m CACHE_TTL_SESSIONS,
  routes route:{id} 5m CACHE_TTL_ROUTES
product 1 products product:{id} 1h CACHE_TTL_PRODUCTS,
  searches search:{hash} 30m CACHE_TTL_SEARCH,
  categories category:{id} 2h CACHE_TTL_CATEGORIES
auth 2 sessions session:{tokenHash} 30m CACHE_TTL_SESSIONS,
  permissions permissions:{userId} 1h CACHE_TTL_PERMISSIONS,
  tokens token:{id} 1h CACHE_TTL_TOKENS
user 3 profiles user_profile:{id} 1h CACHE_TTL_PROFILES,
  preferences user_preferences:{id} 2h CACHE_TTL_PREFERENCES,
  addresses user_addresses:{id} 1h CACHE_TTL_ADDRESSES
order 4 carts cart:{userId} 30m CACHE_TTL_CARTS,
  statuses order_status:{id} 5m CACHE_TTL_ORDER_STATUS,
  orders order:{id} 1h CACHE_TTL_ORDERS,
  histories order_history:{userId} 1h CACHE_TTL_ORDER_HISTORY
analytics 5 dashboards dashboard:{id} 5m CACHE_TTL_DASHBOARDS,
  reports report:{id} 1h CACHE_TTL_REPORTS
payment 6 methods payment_methods:{userId} 30m CACHE_TTL_PAYMENT_METHODS,
  transactions transaction:{id} 1h CACHE_TTL_TRANSACTIONS
notification 7 templates template:{id} 2h CACHE_TTL_TEMPLATES,
  preferences notification_preferences:{userId} 2h CACHE_TTL_NOTIFICATION_PREFERENCES
`;

const NOW = 1_700_000_000_000;

/** A driver that records what it was sent; of scripts, the names. */
function recorded(driver: Driver): Driver & { readonly sent: string[] } {
  const sent: string[] = [];
  return {
    name: driver.name,
    capabilities: driver.capabilities,
    sent,
    send(database, commands, options) {
      for (const [name, ...args] of commands) {
        const [text, ...rest] = args;
        const script = [read, storeEntry].find(({ lua, sha1 }) => lua === text || sha1 === text);
        sent.push(`${database}: ${(script ? [script.name, ...rest] : [name, ...args]).join(" ")}`);
      }
      return driver.send(database, commands, options);
    },
    close: () => driver.close(),
  };
}

describe("services", () => {
  it("are declared as the table of services says", () => {
    const lines: string[] = [];
    for (const [name, definition] of Object.entries(services)) {
      assert.equal(definition.name, name);
      assert.equal(defineService(definition as never), definition);
      assert.equal(SERVICE_NAMES.indexOf(name), definition.database);
      const collections = Object.entries(definition.collections)
        .filter(([collection]) => collection !== "rateLimits")
        .map(([collection, declared]) => {
          const { key, ttl, variable } = declared as { key: string; ttl: string; variable: string };
          collectionKeys(key);
          parseTtl(ttl as "1s");
          return `${collection} ${key} ${ttl} ${variable}`;
        });
      lines.push(`${name} ${definition.database} ${collections.join(", ")}`);
    }
    assert.deepEqual(lines, TABLE.trim().replaceAll(",\n ", ",").split("\n"));
  });

  it("put their keys into their database if the store has databases, and otherwise behind db{n}:", async () => {
    for (const databases of ["numbered", "prefixed"] as const) {
      const driver = recorded(memory());
      const client = createCacheClient({ driver, databases, prefix: "shop", env: {} });
      await client.service("product").products.get("a:b");
      const key =
        databases === "numbered"
          ? "1: MGET shop:product:a%3Ab shop:#larder:clock"
          : "0: MGET shop:db1:product:a%3Ab shop:db1:#larder:clock";
      assert.deepEqual(driver.sent, [key]);
    }
  });

  it("take a TTL from the call, then the variable, then the declaration, then the default", async () => {
    const custom = defineService({
      name: "custom",
      database: 8,
      collections: {
        declared: collection<number>({ key: "a:{id}", ttl: "2m", variable: "CACHE_TTL_CUSTOM" }),
        bare: collection<number>({ key: "b:{id}" }),
      },
    });
    const env = { CACHE_TTL_DEFAULT: "7s" };
    for (const [more, options, expected] of [
      [{ CACHE_TTL_CUSTOM: "90" }, { ttl: "3s" }, [3000, 3000]],
      [{ CACHE_TTL_CUSTOM: "90" }, {}, [90_000, 7000]],
      [{}, {}, [120_000, 7000]],
    ] as const) {
      const driver = memory({ clock: () => NOW });
      const client = createCacheClient({ driver, env: { ...env, ...more } });
      const { declared, bare } = client.service(custom);
      await Promise.all([declared.set(1, 1, options), bare.set(1, 1, options)]);
      const left = [
        ["PTTL", "a:1"],
        ["PTTL", "b:1"],
      ] as const;
      assert.deepEqual(await driver.send(8, left), expected);
    }
    const driver = recorded(memory());
    const client = createCacheClient({ driver, env: { CACHE_TTL_CUSTOM: "forever" } });
    await client.service(custom).declared.set(1, 1);
    assert.deepEqual(driver.sent, [
      "8: GET #larder:clock",
      '8: store 2 a:1 #larder:clock {"json":1} 0  * #larder:tag: ',
    ]);
    assert.deepEqual(await driver.send(8, [["PTTL", "a:1"]]), [-1]);
  });

  it("slide the TTL in the read's own round trip", async () => {
    let now = NOW;
    const driver = recorded(memory({ clock: () => now }));
    const { sessions } = createCacheClient({ driver, env: {} }).service("auth");
    await sessions.set("token", { userId: 1 });
    driver.sent.length = 0;
    now += 1_799_000;
    assert.deepEqual(await sessions.get("token"), { userId: 1 });
    assert.match(driver.sent[0] ?? "", /^2: read 2 #larder:clock session:[0-9a-f]{40} #larder:tag: 1800000 0$/);
    assert.equal(driver.sent.length, 1);
    assert.equal(await sessions.ttl("token"), 1800);
    // Its mark lives as long, or the session would be one of a user that was revoked.
    now += 1_799_000;
    assert.deepEqual(await sessions.get("token"), { userId: 1 });
    now += 1_800_001;
    assert.equal(await sessions.get("token"), undefined);
  });

  it("store sessions of an application's own form, which revokeUser knows nothing of", async () => {
    const own = withSchemas(auth, { sessions: v.object({ user: v.object({ id: v.number() }) }) });
    const { sessions, revokeUser } = createCacheClient({ driver: memory(), env: {} }).service(own);
    assert.equal(await sessions.set("token", { user: { id: 1 } }), true);
    assert.equal(await revokeUser(1), true);
    assert.deepEqual(await sessions.get("token"), { user: { id: 1 } });
  });

  it("cannot be declared with bad names, databases, keys or TTLs", () => {
    const define = (more: object) => () => defineService({ name: "x", database: 8, collections: {}, ...more });
    assert.throws(define({ name: "" }), /expected/);
    assert.throws(define({ name: "a b" }), /expected/);
    for (const database of [-1, 16, 1.5, Number.NaN]) assert.throws(define({ database }), /0 to 15/);
    assert.throws(
      define({ collections: { cache: collection({ key: "a:{id}" }) } }),
      /a name that no verb of services has/,
    );
    const twins = { a: collection({ key: "k:{id}" }), b: collection({ key: "k:{name}" }) };
    assert.throws(define({ collections: twins }), /a pattern that does not start with k:, as that of a does/);
    for (const key of ["", "k", "k:", "{id}", "k:{id}:{id}", "k:{id}{x}", "k*:{id}", "a:b:{id}"]) {
      assert.throws(() => collection({ key }), /product:\{id\}/, key);
    }
    assert.throws(() => collection({ key: "k:{id}", ttl: 0 }), /expected/);
  });
});

describe("the shared client", () => {
  let client: ReturnType<typeof getCacheClient>;
  before(() => {
    client = getCacheClient();
  });
  after(() => client.close());

  it("is one, serves services by name, and is made again after it was closed", async () => {
    assert.equal(getCacheClient(), client);
    assert.equal(getCacheService("product"), client.service("product"));
    await client.close();
    const next = getCacheClient();
    assert.notEqual(next, client);
    client = next;
  });
});

describe("the edge build", () => {
  it("keeps one embedded store for the clients of all requests", async () => {
    for (const value of [1, 2, 3]) {
      const client = createEdgeClient({ env: {} });
      assert.equal(await client.cache<number>().increment("requests"), value);
      await client.close();
    }
  });

  it("names the drivers that it has when asked for another", () => {
    assert.throws(() => createEdgeClient({ env: { CACHE_DRIVER: "node-redis" } }), /node-redis.*memory, upstash/);
  });
});
