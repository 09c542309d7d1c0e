/** `"default"`, `"short"` and `"long"`: wherever a TTL is taken, they are what the configuration says. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { type ClientOptions, collection, createCacheClient, defineService, type Ttl, withOptions } from "../mod.ts";
import { parseTtl } from "../src/base/ttl.ts";
import { parseConfig } from "../src/config/parse_config.ts";
import { createCacheClient as createCoreClient } from "../src/core.ts";
import { finish, warm } from "../src/manager/mod.ts";
import { product } from "../src/services/product.ts";
import { eventually } from "./helpers/eventually.ts";

const NOW = Date.parse("2026-11-28T12:00:00Z");
const [SECOND, MINUTE, HOUR] = [1000, 60_000, 3_600_000];
const ENV = { CACHE_TTL_DEFAULT: "7m", CACHE_TTL_SHORT: "3s", CACHE_TTL_LONG: "9h" };
const CLASSES = { default: 7 * MINUTE, short: 3 * SECOND, long: 9 * HOUR };

const menu = defineService({
  name: "menu",
  database: 9,
  collections: {
    dishes: collection<number>({ key: "dish:{id}", ttl: "long" }),
    drinks: collection<number>({ key: "drink:{id}", ttl: "1d" }),
    named: collection<number>({ key: "named:{id}", ttl: "1d", variable: "CACHE_TTL_NAMED" }),
    slides: collection<number>({ key: "slide:{id}", ttl: "short", sliding: true }),
  },
});

function open(options: ClientOptions = {}, env: Record<string, string> = ENV) {
  let now = NOW;
  const clock = (): number => now;
  const driver = memory({ clock });
  const client = createCacheClient({ env, driver, clock, ...options });
  const left = async (key: string, database = 9): Promise<unknown> => (await driver.send(database, [["PTTL", key]]))[0];
  const pass = (ms: number): void => {
    now += ms;
  };
  return { client, driver, left, pass };
}

describe("TTLs that have a name", () => {
  it("are 1 hour, 5 minutes and 2 hours unless variables say otherwise", () => {
    assert.deepEqual(parseConfig({}).ttl, { default: HOUR, short: 5 * MINUTE, long: 2 * HOUR });
    assert.deepEqual(parseConfig(ENV).ttl, CLASSES);
    assert.deepEqual(
      (["default", "short", "long"] as const).map((name) => parseTtl(name)),
      [HOUR, 5 * MINUTE, 2 * HOUR],
    );
    assert.equal(parseTtl("long", "ttl", { ...CLASSES, long: undefined }), undefined);
  });

  for (const ttl of ["default", "short", "long"] as const) {
    const verbs: Readonly<Record<string, (client: ReturnType<typeof open>["client"]) => Promise<unknown>>> = {
      set: (client) => client.service(menu).drinks.set(1, 1, { ttl }),
      setMany: (client) => client.service(menu).drinks.setMany([[1, 1]], { ttl }),
      getOrSet: (client) => client.service(menu).drinks.getOrSet(1, () => 1, { ttl }),
      "the loader of getOrSet": (client) =>
        client.service(menu).drinks.getOrSet(1, (context) => {
          context.ttl = ttl;
          return 1;
        }),
      getOrSetMany: (client) => client.service(menu).drinks.getOrSetMany([1], () => new Map([[1, 1]]), { ttl }),
      update: (client) => client.service(menu).drinks.update(1, () => 1, { ttl }),
      increment: (client) => client.service(menu).drinks.increment(1, { ttl }),
      async expire(client) {
        await client.service(menu).drinks.set(1, 1);
        await client.service(menu).drinks.expire(1, ttl);
      },
      withOptions: (client) => {
        const own = withOptions(menu, { collections: { drinks: { ttl } } });
        return client.service(own).drinks.set(1, 1);
      },
      warm: (client) => finish(warm(client.service(menu).drinks, [{ id: 1, value: 1, ttl }])),
    };
    for (const [verb, run] of Object.entries(verbs)) {
      it(`are taken by ${verb}: "${ttl}"`, async () => {
        const { client, left } = open();
        await run(client);
        assert.equal(await left("drink:1"), CLASSES[ttl]);
      });
    }
  }

  it("are taken in declarations of collections, and by variables of TTLs", async () => {
    const { client, left, pass } = open({}, { ...ENV, CACHE_TTL_NAMED: "short" });
    const { dishes, named, slides } = client.service(menu);
    await Promise.all([dishes.set(1, 1), named.set(1, 1), slides.set(1, 1)]);
    assert.deepEqual([await left("dish:1"), await left("named:1"), await left("slide:1")], [9 * HOUR, 3000, 3000]);
    pass(2000);
    assert.equal(await slides.get(1), 1);
    assert.equal(await left("slide:1"), 3000);
  });

  it("are taken as the client's own TTL, by option and by variable", async () => {
    for (const [options, env] of [
      [{ ttl: "long" }, ENV],
      [{}, { ...ENV, CACHE_TTL_DEFAULT: "long" }],
    ] as const) {
      const { client, left } = open(options, env);
      await client.cache({ database: 9 }).set("k", 1);
      await client.cache({ database: 9 }).set("d", 1, { ttl: "default" });
      assert.deepEqual([await left("k"), await left("d")], [9 * HOUR, 9 * HOUR]);
    }
  });

  it("last forever if their variable says so", async () => {
    const { client, left } = open({}, { CACHE_TTL_LONG: "forever" });
    await client.cache({ database: 9 }).set("k", 1, { ttl: "long" });
    assert.equal(await left("k"), -1);
    await client.cache({ database: 9 }).expire("k", "short");
    assert.equal(await left("k"), 5 * MINUTE);
    await client.cache({ database: 9 }).expire("k", "long");
    assert.equal(await left("k"), -1);
  });

  it("are taken for how long entries are stale, kept and missing, of calls, services and clients", async () => {
    const stale = withOptions(menu, { staleFor: "short" });
    for (const set of [
      ({ client }: ReturnType<typeof open>) =>
        client.cache({ database: 9 }).set("k", 1, { ttl: "1s", staleFor: "short" }),
      ({ client }: ReturnType<typeof open>) => client.service(stale).cache.set("k", 1, { ttl: "1s" }),
    ]) {
      const opened = open();
      await set(opened);
      assert.equal(await opened.left("k"), 4000);
    }
    const variables = open({}, { ...ENV, CACHE_STALE_FOR: "long" });
    await variables.client.cache({ database: 9 }).set("k", 1, { ttl: "1h" });
    assert.equal(await variables.left("k"), 10 * HOUR);
    const options = open({ failSafeFor: "long", negativeTtl: "short" });
    await options.client.cache({ database: 9 }).set("k", 1, { ttl: "1h" });
    await options.client.cache({ database: 9 }).getOrSet("none", () => undefined);
    assert.deepEqual([await options.left("k"), await options.left("none")], [10 * HOUR, 3000]);
  });

  it("are taken by locks and near caches", async () => {
    const { client, left } = open();
    const cache = client.cache({ database: 9 });
    const held = await cache.withLock("job", () => left("#larder:held:job"), { ttl: "short", wait: "long" });
    assert.equal(held, 3000);
    const load = await cache.getOrSet("l", () => left("#larder:lock:l"), { lock: { ttl: "short", wait: "short" } });
    assert.equal(load, 3000);
    const near = open({ near: { ttl: "short" } }, { ...ENV, CACHE_TTL_SHORT: "1h" });
    const kept = near.client.cache({ database: 9 });
    await kept.set("n", 1, { ttl: "1d" });
    await eventually(async () => (await kept.get("n")) === 1 && kept.stats().nearHits > 0);
    for (const [ms, more] of [
      [HOUR - 1000, 1],
      [2000, 0],
    ] as const) {
      const before = kept.stats().nearHits;
      near.pass(ms);
      assert.equal(await kept.get("n"), 1);
      assert.equal(kept.stats().nearHits - before, more);
    }
  });

  it("are what each service's own configuration says, and that of the smallest build", async () => {
    const driver = memory({ clock: () => NOW });
    const client = createCoreClient({
      driver,
      ttl: "short",
      ttls: { CACHE_TTL_SHORT: "4s", CACHE_TTL_PRODUCTS: "long" },
    });
    await client.service(product).products.set(1, { id: 1, name: "Pho" });
    await client.cache({ database: 1 }).set("k", 1);
    const keys = [
      ["PTTL", "product:1"],
      ["PTTL", "k"],
    ] as const;
    assert.deepEqual(await driver.send(1, keys), [2 * HOUR, 4000]);
  });

  it("are no windows of limits, which belong to the limit alone", async () => {
    const { client } = open();
    const cache = client.cache({ database: 9 });
    const refused = { name: "TypeError", message: /^Cannot set window: received "short", expected seconds / };
    // @ts-expect-error no window
    await assert.rejects(cache.checkRateLimit("k", { limit: 5, window: "short" }), refused);
    // @ts-expect-error no window
    await assert.rejects(cache.incrementRateLimit("k", { window: "short" }), refused);
  });

  it("are refused if they would be named after themselves, and other names everywhere", () => {
    for (const [record, message] of [
      [
        { CACHE_TTL_DEFAULT: "default" },
        /^CACHE_TTL_DEFAULT is "default", expected seconds .*, "short", "long", or "forever"$/,
      ],
      [{ CACHE_TTL_SHORT: "long" }, /^CACHE_TTL_SHORT is "long", expected seconds .*, or "forever"$/],
      [{ CACHE_TTL_LONG: "short" }, /^CACHE_TTL_LONG is "short", expected /],
      [
        { CACHE_TTL_PRODUCTS: "medium" },
        /^CACHE_TTL_PRODUCTS is "medium", expected .*"default", "short", "long", or "forever"$/,
      ],
    ] as const) {
      assert.throws(
        () => parseConfig(record),
        (error: Error & { problems: string[] }) => {
          assert.match(error.problems.join("\n"), message);
          return true;
        },
      );
    }
    for (const ttl of ["Short", "medium", "toString", "constructor", ""]) {
      assert.throws(() => parseTtl(ttl as Ttl), {
        name: "TypeError",
        message: /expected seconds .*"default", "short", "long"/,
      });
    }
  });
});

/** Calls that must not compile. Never called. */
export function types(): Ttl[] {
  // @ts-expect-error no such name
  return ["default", "short", "long", "5m", 5, "medium"];
}
