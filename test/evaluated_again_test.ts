/** Modules that are evaluated more than once: their declarations, and the client that the process shares. */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import * as v from "valibot";
import {
  collection,
  createCacheClient,
  defineService,
  getCacheClient,
  type ServiceDefinition,
  withOptions,
  withSchemas,
} from "../mod.ts";
import { getCacheClient as getEdgeClient } from "../src/edge.ts";
import { product } from "../src/services/product.ts";
import { type RedisServer, startRedis } from "./helpers/redis_server.ts";
import { start } from "./helpers/run.ts";

const dish = () =>
  collection({
    key: "dish:{id}",
    ttl: "1h",
    schema: v.looseObject({ n: v.number() }),
    version: 2,
    migrate: { 1: (old) => old },
    tags: ["menu"],
    near: { ttl: "1m", maxEntries: 10 },
  });
const soup = () => collection({ key: "soup:{id}", schema: v.looseObject({}) });

/** Declares what a module declares each time that it is evaluated. */
const menu = (own: object = {}, ofDishes: object = {}) =>
  defineService({
    name: "menu",
    database: 8,
    staleFor: "1m",
    collections: { dishes: { ...dish(), ...ofDishes } },
    verbs: () => ({}),
    ...own,
  });

describe("service with two declarations of one name", () => {
  it("throws and says what differs when they do not say the same", () => {
    const dishes = "collections.dishes";
    const cases: [ServiceDefinition, string][] = [
      [menu({ database: 9 }), "database is 8 in the first, 9 in the second"],
      [menu({ encrypted: true }), "encrypted is undefined in the first, true in the second"],
      [menu({ staleFor: "2m" }), 'staleFor is "1m" in the first, "2m" in the second'],
      [menu({ verbs: undefined }), "verbs is function in the first, undefined in the second"],
      [menu({ refuse: () => {} }), "refuse is undefined in the first, function in the second"],
      [
        menu({ collections: { dishes: dish(), soups: soup() } }),
        "collections.soups is undefined in the first, object in the second",
      ],
      [menu({ collections: {} }), `${dishes} is object in the first, undefined in the second`],
      [menu({}, { key: "d:{id}" }), `${dishes}.key is "dish:{id}" in the first, "d:{id}" in the second`],
      [menu({}, { ttl: "2h" }), `${dishes}.ttl is "1h" in the first, "2h" in the second`],
      [
        menu({}, { variable: "CACHE_TTL_A" }),
        `${dishes}.variable is undefined in the first, "CACHE_TTL_A" in the second`,
      ],
      [menu({}, { hashed: true }), `${dishes}.hashed is undefined in the first, true in the second`],
      [menu({}, { sliding: true }), `${dishes}.sliding is undefined in the first, true in the second`],
      [menu({}, { version: 3 }), `${dishes}.version is 2 in the first, 3 in the second`],
      [menu({}, { migrate: {} }), `${dishes}.migrate.1 is function in the first, undefined in the second`],
      [menu({}, { schema: undefined }), `${dishes}.schema is object in the first, undefined in the second`],
      [menu({}, { tags: ["a"] }), `${dishes}.tags.0 is "menu" in the first, "a" in the second`],
      [menu({}, { tags: () => ["menu"] }), `${dishes}.tags is array in the first, function in the second`],
      [menu({}, { near: { ttl: "1m" } }), `${dishes}.near.maxEntries is 10 in the first, undefined in the second`],
      [menu({}, { near: true }), `${dishes}.near is object in the first, true in the second`],
      [withOptions(menu(), { jitter: 0.1 }), "jitter is undefined in the first, 0.1 in the second"],
    ];
    for (const [second, differs] of cases) {
      const client = createCacheClient({ driver: "memory", env: {}, allowSharedDatabases: true });
      const first = client.service(menu());
      const message =
        "Cannot use the service menu: received another declaration, " +
        `expected that of the client (${differs}); restart after a change`;
      assert.throws(() => client.service(second), { name: "TypeError", message });
      assert.equal(client.service("menu" as never), first);
    }
  });

  it("counts both in the same counters when they say the same in another order", async () => {
    await using client = createCacheClient({ driver: "memory", env: {} });
    const first = client.service(menu({ collections: { dishes: dish(), soups: soup() } }) as ServiceDefinition);
    const second = client.service(menu({ collections: { soups: soup(), dishes: dish() } }) as ServiceDefinition);
    await first.soups?.set(1, { hot: true });
    assert.deepEqual(await second.soups?.get(1), { hot: true });
    const counters = client.counters().find(([name]) => name === "menu")?.[1] ?? [];
    assert.deepEqual(
      counters.map(({ collection, hits, writes }) => [collection, hits, writes]),
      [
        ["", 0, 0],
        ["dishes", 0, 0],
        ["soups", 1, 1],
      ],
    );
  });

  it("checks values by the schemas of the declaration that was passed", async () => {
    await using client = createCacheClient({ driver: "memory", env: {} });
    const [numbers, strings] = [v.number(), v.string()].map((schema) => {
      const values = collection<unknown>({ key: "a:{id}", schema });
      return client.service(defineService({ name: "menu", database: 8, collections: { values } })).values;
    });
    assert.ok(numbers && strings);
    await assert.rejects(numbers.set(1, "one"), { name: "CacheSchemaError" });
    assert.equal(await strings.set(1, "one"), true);
    assert.deepEqual([await numbers.get(1), await strings.get(1)], [undefined, "one"]);
    const shop = withSchemas(product, { products: v.object({ id: v.number(), spicy: v.boolean() }) });
    await client.service(product).products.set(1, { id: 1, name: "Pho" });
    assert.equal(await client.service(shop).products.get(1), undefined);
    assert.equal((await client.service(product).products.get(1))?.name, "Pho");
  });
});

describe("getCacheClient in a module that is evaluated again and again", () => {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const path = (file: string) => new URL(`../src/${file}.${extension}`, import.meta.url).href;
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  it("returns one client with its connections and one for tracking, and a new client once it was closed", async () => {
    const code = `
      import { collection, defineService } from "${path("core")}";
      const main = "${path("main")}";
      /** Evaluates a copy of the package's entry, and what an application's module says. */
      const evaluate = async (copy) => {
        const { getCacheClient } = await import(main + "?copy=" + copy);
        const client = getCacheClient();
        const dishes = collection({ key: "dish:{id}", ttl: "1h", tags: (value) => [value], near: true });
        const menu = client.service(defineService({ name: "menu", database: 8, collections: { dishes } }));
        return { client, getCacheClient, value: await menu.dishes.getOrSet("a", () => "of copy " + copy) };
      };
      const found = [];
      for (let copy = 0; copy < 50; copy++) found.push(await evaluate(copy));
      const [{ client, getCacheClient }] = found;
      const alive = setInterval(() => {}, 1000); // a driver alone holds no process
      const { driver } = await client.locate({ database: 8 });
      const [info] = await driver.send(8, [["INFO", "clients"]]);
      clearInterval(alive);
      await client.close();
      const later = await evaluate("later");
      console.log(JSON.stringify({
        clients: new Set(found.map(({ client }) => client)).size,
        values: [...new Set(found.map(({ value }) => value))],
        connections: Number(/connected_clients:(\\d+)/.exec(info)[1]),
        renewed: later.client !== client && later.client === getCacheClient(),
      }));
      await later.client.close();`;
    const flags = process.versions.bun ? ["-e"] : "Deno" in globalThis ? ["eval"] : ["--input-type=module", "-e"];
    const env = { CACHE_URL: redis.url, CACHE_TIMEOUT_MS: "20000" };
    const { stdout, stderr } = await start(process.execPath, [...flags, code], env).ended;
    assert.equal(stderr, "");
    assert.deepEqual(JSON.parse(stdout), { clients: 1, values: ["of copy 0"], connections: 2, renewed: true });
  });

  it("returns another client in the build for the edge, which has other drivers", async () => {
    await using main = getCacheClient();
    await using edge = getEdgeClient();
    assert.notEqual(main, edge);
    assert.equal(getEdgeClient(), edge);
  });
});
