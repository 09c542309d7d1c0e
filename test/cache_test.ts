import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Command, type Driver, type Reply, StoreError } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { type CacheEvent, type ClientOptions, createCacheClient } from "../mod.ts";

/** Memory, with some replies of the test's own: what `answer` gives for a command takes the place of its reply. */
function scripted(answer: (command: Command) => Reply | undefined): Driver & { readonly sent: Command[] } {
  const store = memory();
  const sent: Command[] = [];
  return {
    name: "scripted",
    capabilities: store.capabilities,
    sent,
    async send(database, commands) {
      sent.push(...commands);
      const replies: Reply[] = [];
      for (const command of commands) {
        const own = answer(command);
        replies.push(own === undefined ? ((await store.send(database, [command]))[0] as Reply) : own);
      }
      return replies;
    },
    close: () => store.close(),
  };
}

const client = (driver: Driver, more: ClientOptions = {}) => createCacheClient({ env: {}, driver, ...more });

async function all(keys: AsyncIterable<string>): Promise<string[]> {
  const list: string[] = [];
  for await (const key of keys) list.push(key);
  return list;
}

/** Returns the keys of entries that a script gets: after its text come the number of keys, the epoch and they. */
function keysOf([count, , ...rest]: readonly unknown[]): unknown[] {
  return rest.slice(0, Number(count) - 1);
}

/** Pages of SCAN as a server may give them: one is empty, one key comes twice, the cursors are no safe integers. */
function pages(): (command: Command) => Reply | undefined {
  const given: Record<string, [string, string[]]> = {
    0: ["18446744073709551614", ["a", "b"]],
    "18446744073709551614": ["7", []],
    7: ["9", ["b", "c"]],
    9: ["0", []],
  };
  return ([name, cursor]) => (name === "SCAN" ? given[`${cursor}`] : undefined);
}

describe("Cache, scans", () => {
  it("keys yields each key once when pages are empty and keys come twice", async () => {
    const driver = scripted(pages());
    const cache = client(driver).cache();
    await cache.setMany([
      ["a", 1],
      ["b", null],
      ["c", 1],
    ]);
    driver.sent.length = 0;
    assert.deepEqual(await all(cache.keys()), ["a", "b", "c"]);
    assert.deepEqual(
      driver.sent.map(([name, at, ...rest]) => (name === "SCAN" ? at : [...keysOf(rest), rest.at(-1)])),
      ["0", ["a", "b", 2], "18446744073709551614", "7", ["c", 2], "9"],
    );
  });

  it("keys yields only what get would return", async () => {
    const driver = scripted(pages());
    const cache = client(driver).cache();
    await cache.set("a", 1, { tags: ["t"] });
    await cache.set("b", 1);
    assert.deepEqual(await all(cache.keys()), ["a", "b"]);
    await cache.invalidateTags("t");
    assert.deepEqual(await all(cache.keys()), ["b"]);
    assert.deepEqual(await Promise.all([cache.has("a"), cache.ttl("a"), cache.get("a")]), [
      false,
      undefined,
      undefined,
    ]);
  });

  it("deletePattern counts the keys that existed, and sends no UNLINK without keys", async () => {
    const driver = scripted(pages());
    const cache = client(driver).cache();
    await cache.setMany([
      ["a", 1],
      ["b", 1],
      ["c", 1],
    ]);
    driver.sent.length = 0;
    assert.equal(await cache.deletePattern("*"), 3);
    assert.deepEqual(
      driver.sent.map(([name, ...rest]) => (name === "SCAN" ? name : [name, ...rest].join(" "))),
      ["SCAN", "UNLINK a b", "SCAN", "SCAN", "UNLINK b c", "SCAN"],
    );
  });

  it("keys ends early, with one event, when the store goes away between two pages", async () => {
    const events: CacheEvent[] = [];
    const paged = pages();
    const driver = scripted((command) => (command[1] === "7" ? new StoreError("connection", "gone") : paged(command)));
    const caching = client(driver);
    const cache = caching.cache();
    await cache.setMany([
      ["a", 1],
      ["b", 1],
    ]);
    caching.subscribe((event) => events.push(event));
    assert.deepEqual(await all(cache.keys()), ["a", "b"]);
    assert.deepEqual(
      events.map((event) => event.type === "error" && event.operation),
      ["keys"],
    );
    await assert.rejects(all(cache.keys("*", { onError: "throw" })), { name: "StoreError", kind: "connection" });
  });
});

describe("Cache, loads", () => {
  it("getOrSet shares a load within one client, and not with another", async () => {
    const driver = memory();
    const [one, other] = [client(driver), client(driver)];
    let loads = 0;
    const load = () => sleep(5, { id: 1, name: `Pho ${++loads}` });
    await Promise.all([
      one.service("product").products.getOrSet(1, load),
      one.service("product").products.getOrSet("1", load),
      other.service("product").products.getOrSet(1, load),
    ]);
    assert.equal(loads, 2);
  });

  it("getOrSet keeps loads of one id apart when collections, databases or prefixes differ", async () => {
    for (const databases of ["numbered", "prefixed"] as const) {
      const { service, cache } = ((made) => ({
        service: made.service.bind(made),
        cache: made.cache.bind(made),
      }))(client(memory(), { databases }));
      const load = (name: string) => () => sleep(5, { id: 1, name });
      const loaded = await Promise.all([
        service("product").products.getOrSet(1, load("product")),
        service("product").categories.getOrSet(1, load("category")),
        service("user").profiles.getOrSet(1, load("profile")),
        cache({ database: 9 }).getOrSet("product:1", load("raw")),
      ]);
      assert.deepEqual(
        loaded.map(({ name }) => name),
        ["product", "category", "profile", "raw"],
      );
    }
  });

  it("getOrSet does not undo with a late result what another view of the key did", async () => {
    for (const databases of ["numbered", "prefixed"] as const) {
      const caching = client(memory(), { databases });
      const { products, cache, clear, deletePattern } = caching.service("product");
      const undoing = [
        () => cache.delete("product:1"),
        () => caching.cache({ database: 1 }).delete("product:1"),
        () => clear(),
        () => deletePattern("product:*"),
        () => caching.service("product").invalidateProduct(1),
      ];
      for (const undo of undoing) {
        let finish = (): void => {};
        const gate = new Promise<void>((resolve) => {
          finish = resolve;
        });
        let begun = (): void => {};
        const started = new Promise<void>((resolve) => {
          begun = resolve;
        });
        const answer = products.getOrSet(1, async () => {
          begun();
          await gate;
          return { id: 1, name: "late" };
        });
        await started;
        await undo();
        finish();
        assert.equal((await answer).name, "late");
        assert.equal(await products.has(1), false, String(undo));
      }
    }
  });

  it("getOrSet hands its write to waitUntil, and resolves before that is done", async () => {
    const handed: Promise<unknown>[] = [];
    let free = (): void => {};
    const gate = new Promise<void>((resolve) => {
      free = resolve;
    });
    const store = memory();
    const driver: Driver = {
      name: "slow",
      capabilities: store.capabilities,
      async send(database, commands) {
        if (commands.some(([name]) => name === "SET")) await gate;
        return store.send(database, commands);
      },
      close: () => store.close(),
    };
    const cache = client(driver, { waitUntil: (promise) => void handed.push(promise) }).cache<string>();
    assert.equal(await cache.getOrSet("k", () => "v"), "v");
    assert.equal(handed.length, 1);
    free();
    await Promise.all(handed);
    assert.equal(await cache.get("k"), "v");
    // What is handed over never rejects.
    await assert.rejects(
      cache.getOrSet("bad", () => (() => 1) as never),
      /received function, expected/,
    );
    await Promise.all(handed);
    assert.equal(handed.length, 2);
    assert.equal(await cache.has("bad"), false);
  });

  it("getOrSet returns what one loader gives to all callers when the store is away", async () => {
    const driver = scripted(() => new StoreError("connection", "gone"));
    const cache = client(driver).cache<number>();
    let loads = 0;
    const answers = await Promise.all(Array.from({ length: 20 }, () => cache.getOrSet("k", () => sleep(5, ++loads))));
    assert.deepEqual(new Set(answers), new Set([1]));
  });
});

describe("Cache, replies", () => {
  it("get returns a miss, counts it and reports it when the stored text is not a document of ours", async () => {
    for (const text of ["", "S3CRET", "{", "[]", '{"a":1}', "null", "true"]) {
      const events: CacheEvent[] = [];
      const caching = client(scripted(([name]) => (name === "MGET" ? [text, null] : undefined)));
      caching.subscribe((event) => events.push(event));
      assert.equal(await caching.cache().get("k"), undefined);
      assert.deepEqual(
        events.map(({ type }) => type),
        ["corrupt", "miss"],
      );
      assert.equal(caching.stats().corrupt, 1);
      assert.doesNotMatch(JSON.stringify(events), /S3CRET/);
    }
  });

  it("increment throws when the arguments are bad, and counts nothing", async () => {
    const driver = scripted(() => undefined);
    const cache = client(driver).cache();
    for (const call of [
      () => cache.increment(""),
      () => cache.increment("k", { ttl: 0 }),
      () => cache.increment("k", { by: Number.MAX_VALUE }),
      () => cache.increment("k", { timeout: -1 }),
    ]) {
      await assert.rejects(call, /expected|accepted/);
    }
    assert.deepEqual(driver.sent, []);
  });
});
