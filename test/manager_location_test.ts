import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { createCacheClient, defineService } from "../mod.ts";
import { clear, finish } from "../src/manager/mod.ts";

describe("client.locate", () => {
  const driver = memory();

  it("client.locate returns the database and prefix of a service when databases are numbered", async () => {
    await using client = createCacheClient({ env: {}, driver, prefix: "a:b" });
    const place = await client.locate({ service: "auth" });
    assert.deepEqual(
      { ...place, driver: place.driver === driver },
      { driver: true, database: 2, prefix: "a%3Ab:", tags: [""], service: "auth", number: 2, numbered: true },
    );
    assert.deepEqual(
      { ...(await client.locate({ database: 9 })), driver: 0 },
      {
        driver: 0,
        database: 9,
        prefix: "a%3Ab:",
        tags: [""],
        service: undefined,
        number: 9,
        numbered: true,
      },
    );
    assert.equal((await client.locate({})).number, 0);
  });

  it("client.locate returns the prefix of a database when databases are prefixed", async () => {
    await using client = createCacheClient({ env: {}, driver, databases: "prefixed" });
    const { database, prefix, number, numbered } = await client.locate({ service: "order" });
    assert.deepEqual(
      { database, prefix, number, numbered },
      { database: 0, prefix: "db4:", number: 4, numbered: false },
    );
  });

  it("client.locate returns the prefix of a service when it shares a database", async () => {
    const loyalty = defineService({ name: "loyalty", database: 1, collections: {} });
    await using client = createCacheClient({ env: {}, driver, allowSharedDatabases: true });
    assert.equal((await client.locate({ service: loyalty })).prefix, "loyalty:");
    assert.equal((await client.locate({ service: "loyalty" })).prefix, "loyalty:");
    assert.equal((await client.locate({ database: 1 })).prefix, "");
  });

  it("client.locate throws when the service or database does not exist", async () => {
    await using client = createCacheClient({ env: {}, driver });
    await assert.rejects(client.locate({ service: "nope" }), /Cannot use a service: received "nope", expected gateway/);
    await assert.rejects(
      client.locate({ database: 16 }),
      /Cannot use a database: received 16, expected a whole number from 0 to 15/,
    );
    await client.close();
    await assert.rejects(client.locate({ database: 1 }), { name: "StoreError", kind: "closed" });
  });
});

describe("clear", () => {
  it("clear of a database keeps the library's own keys of the services that share it", async () => {
    const store = memory();
    await using client = createCacheClient({ env: {}, driver: store, allowSharedDatabases: true });
    const menu = client.service(
      defineService({ name: "menu", database: 9, collections: { dishes: { key: "dish:{id}" } } }),
    );
    await menu.dishes.set(1, "Pho", { ttl: "1h" });
    await menu.invalidateAll();
    await menu.dishes.set(2, "Bun", { ttl: "1h" });
    const { keys } = await finish(clear(client, { database: 9 }));
    assert.equal(keys, 2);
    assert.deepEqual(await store.send(9, [["EXISTS", "menu:#larder:clock"]]), [1]);
  });
});
