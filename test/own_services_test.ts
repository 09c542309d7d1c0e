/** Services of an application's own: those that share a database, and those that name one. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { memory } from "../drivers/memory.ts";
import { collection, createCacheClient, defineService, type ServiceDefinition } from "../mod.ts";
import { inspect } from "../src/manager/mod.ts";
import { findServices } from "../src/manager/services.ts";
import { type ContractStore, memoryStore, redisStore, upstashStore } from "./helpers/contract_stores.ts";

const LIMIT = { timeout: 60_000 };

interface Dish {
  name: string;
}

/** A service of two collections that names no database. */
function own(name: string) {
  return defineService({
    name,
    collections: {
      dishes: collection<Dish>({ key: "dish:{id}", ttl: "1h" }),
      counts: collection<number>({ key: "count:{id}" }),
    },
  });
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found.sort();
}

for (const [name, start, options] of [
  ["an embedded store", async (): Promise<ContractStore> => memoryStore(), {}],
  ["an embedded store with prefixes", async (): Promise<ContractStore> => memoryStore(), { databases: "prefixed" }],
  ["numbered databases", redisStore, {}],
  ["databases that are prefixes, below a prefix", redisStore, { databases: "prefixed", prefix: "shop" }],
  ["a store over REST", () => upstashStore("redis"), { allowSharedDatabases: true }],
] as const) {
  describe(`services without a database on ${name}`, () => {
    it("work at once, apart from each other, and tools find them", LIMIT, async () => {
      const store = await start();
      const given = { env: {}, timeout: 5000, ...(await store.open()), ...options };
      const app = createCacheClient({ ...given, fleetStats: true });
      const tool = createCacheClient(given);
      try {
        const [menu, bar] = [app.service(own("menu")), app.service(own("menu-bar"))];
        assert.equal(menu.database, 8);
        await menu.dishes.set(1, { name: "Pho" }, { tags: ["soups"] });
        await menu.counts.increment("n");
        await bar.dishes.set(1, { name: "Tea" }, { tags: ["soups"] });
        assert.deepEqual(await menu.dishes.get(1), { name: "Pho" });
        assert.deepEqual(await bar.dishes.get(1), { name: "Tea" });
        assert.deepEqual(await all(menu.keys()), ["count:n", "dish:1"]);
        assert.deepEqual(await all(bar.keys()), ["dish:1"]);
        const prefixes = await Promise.all(["menu", "menu-bar"].map((service) => app.locate({ service })));
        assert.ok(prefixes.every(({ prefix, number, service }) => prefix.endsWith(`${service}:`) && number === 8));
        await app.close();
        await findServices(tool);
        const { services, fleet } = await inspect(tool);
        assert.deepEqual(
          services
            .filter(({ database }) => database === 8)
            .map(({ service, keys }) => [service, keys])
            .sort(),
          [
            ["menu", 2],
            ["menu-bar", 1],
          ],
        );
        assert.deepEqual([fleet.menu?.hits, fleet.menu?.writes, fleet["menu-bar"]?.hits], [1, 2, 1]);
      } finally {
        await app.close();
        await tool.close();
        await store.close?.();
      }
    });

    it("are invalidated and cleared without the others", LIMIT, async () => {
      const store = await start();
      const client = createCacheClient({ env: {}, timeout: 5000, ...(await store.open()), ...options, near: true });
      try {
        const [menu, bar] = [client.service(own("menu")), client.service(own("bar"))];
        for (const service of [menu, bar]) {
          await service.dishes.set(1, { name: "Pho" }, { tags: ["soups"] });
          await service.dishes.set(2, { name: "Bun" });
          await service.dishes.get(1);
        }
        assert.equal(await menu.invalidateTags(["soups"]), true);
        assert.deepEqual([await menu.dishes.has(1), await bar.dishes.has(1)], [false, true]);
        assert.equal(await menu.invalidateAll(), true);
        assert.deepEqual([await all(menu.keys()), await all(bar.keys())], [[], ["dish:1", "dish:2"]]);
        await menu.dishes.set(1, { name: "Pho" });
        await bar.clear();
        assert.deepEqual([await all(menu.keys()), await all(bar.keys())], [["dish:1"], []]);
        assert.deepEqual(await menu.dishes.get(1), { name: "Pho" });
      } finally {
        await client.close();
        await store.close?.();
      }
    });
  });
}

/** Characters that mean something in keys, globs and encodings. */
const text = fc
  .array(fc.constantFrom(..."ab:%*?[]^\\-é日🍜", "db8:", "menu:", "%3A", "#larder:"), { maxLength: 5 })
  .map((parts) => parts.join(""));
const name = fc.array(fc.constantFrom("a", "b", "-", "_", "db8"), { minLength: 1, maxLength: 3 });
const names = fc.uniqueArray(
  name.map((parts) => parts.join("")),
  { minLength: 2, maxLength: 4 },
);
const key = text.filter((each) => each !== "" && !each.startsWith("#larder:"));

describe("keys of services that share a database", () => {
  it("are never met by another service, whatever stands in names, keys, prefixes and patterns", LIMIT, async () => {
    const modes = fc.constantFrom("numbered" as const, "prefixed" as const);
    const step = fc.constantFrom("clear", "keys", "deletePattern", "delete", "invalidateAll");
    const keys = fc.array(key, { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(names, keys, text, modes, step, key, async (services, ids, prefix, databases, verb, pattern) => {
        await using client = createCacheClient({ driver: memory(), env: {}, prefix, databases, onError: "throw" });
        const made = services.map((each) => client.service(own(each) as ServiceDefinition));
        for (const each of made) {
          for (const id of ids) {
            await each.cache.set(id, each.name);
            await each.dishes?.set(id, each.name);
          }
        }
        const [first, ...others] = made as [(typeof made)[number], ...typeof made];
        const before = await Promise.all(others.map((each) => all(each.keys())));
        const mine = await all(first.keys());
        if (verb === "clear") assert.equal(await first.clear(), mine.length);
        else if (verb === "invalidateAll") assert.equal(await first.invalidateAll(), true);
        else if (verb === "delete") await first.cache.delete(ids.length > 0 ? ids : ["a"]);
        else if (verb === "deletePattern") await first.deletePattern(pattern);
        else for (const each of await all(first.keys(pattern))) assert.ok(mine.includes(each));
        if (verb === "clear" || verb === "invalidateAll") assert.deepEqual(await all(first.keys()), []);
        assert.deepEqual(await Promise.all(others.map((each) => all(each.keys()))), before);
        for (const each of others) {
          for (const id of ids) assert.equal(await each.cache.get(id), each.name);
        }
      }),
      { numRuns: 150 },
    );
  });
});

describe("a service of one's own", () => {
  it("has the database that it names alone", () => {
    const client = createCacheClient({ driver: "memory", env: {} });
    const named = (name: string, database: number) => defineService({ name, database, collections: {} });
    client.service(own("menu"));
    client.service(own("bar"));
    client.service(named("loyalty", 9));
    const refused = (database: number, owner: string) => ({
      name: "TypeError",
      message:
        `Cannot put the service games in a database: received ${database}, expected one from 8-15 without the ` +
        `service ${owner}, or CACHE_ALLOW_SHARED_DATABASES`,
    });
    assert.throws(() => client.service(named("games", 9)), refused(9, "loyalty"));
    assert.throws(() => client.service(named("games", 8)), refused(8, "menu"));
    assert.throws(() => client.service(named("games", 3)), refused(3, "user"));
    assert.throws(
      () => client.service(own("product")),
      /put the service product in a database: received 8, expected 1/,
    );
    client.service(named("games", 10));
  });

  it("keeps others out of database 8 when it names that", () => {
    const client = createCacheClient({ driver: "memory", env: {} });
    client.service(defineService({ name: "loyalty", database: 8, collections: {} }));
    assert.throws(
      () => client.service(own("menu")),
      /put the service menu in a database: received 8, expected one from 8-15 without the service loyalty/,
    );
  });
});
