/** Bad input is refused when it is given, with its name and the accepted values in the message. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as v from "valibot";
import { memory } from "../drivers/memory.ts";
import {
  type CacheClient,
  type CacheEvent,
  CacheSchemaError,
  type ClientOptions,
  type CollectionOptions,
  collection,
  createCacheClient,
  type Driver,
  defineService,
  type LoadContext,
  withOptions,
  withSchemas,
} from "../mod.ts";
import { createCacheClient as createCoreClient } from "../src/core.ts";
import { product } from "../src/services/product.ts";
import { onWires } from "./helpers/engine.ts";

// biome-ignore lint/suspicious/noExplicitAny: stands for what the compiler would refuse
type Bad = any;

const MINUTE = 60_000;

/** Memory, and how many commands it was sent. */
function counted(): Driver & { sent: number } {
  const driver = memory();
  return {
    ...driver,
    sent: 0,
    name: driver.name,
    capabilities: driver.capabilities,
    send(database, commands, options) {
      this.sent += commands.length;
      return driver.send(database, commands, options);
    },
    close: () => driver.close(),
  };
}

const make = (driver: Driver = memory(), more: ClientOptions = {}): CacheClient =>
  createCacheClient({ env: {}, driver, ...more });

/** A service with one collection, its options as given. */
const menu = (options: Partial<CollectionOptions<Bad>>) =>
  defineService({
    name: "menu",
    database: 9,
    collections: {
      dishes: collection<string>({ key: "dish:{id}", ...options } as CollectionOptions<string, string, false>),
    },
  });

/** Asserts that a message says what was given and what is accepted, and nothing of `secret`. */
function says(...parts: RegExp[]): (error: Error) => true {
  return (error) => {
    for (const part of [/^Cannot /, /: received .*, expected /s, ...parts]) assert.match(error.message, part);
    assert.doesNotMatch(error.message, /S3CRET/);
    return true;
  };
}

describe("schemas", () => {
  it("collection refuses a schema that does not follow Standard Schema", () => {
    const bad = [
      { type: "string" },
      { "~standard": {} },
      { "~standard": { validate: "S3CRET" } },
      null,
      "S3CRET",
      5,
      () => true,
    ];
    for (const schema of bad as Bad[]) {
      const refused = says(/the schema of dish:\{id\}: received a value of type \w+, expected .*Standard Schema/);
      assert.throws(() => menu({ schema }), refused);
      const collections = { dishes: { key: "dish:{id}", schema } };
      assert.throws(() => defineService({ name: "menu", database: 9, collections }), refused);
      assert.throws(
        () => withSchemas(product, { products: schema }),
        says(/schema of product\.products: received a value of type/),
      );
    }
    menu({ schema: Object.assign(() => true, v.string()) });
  });
});

describe("entries of setMany", () => {
  it("setMany names a bad entry, and writes nothing", async () => {
    const driver = counted();
    const cache = make(driver).cache();
    const { dishes } = make(driver).service(menu({ schema: v.string() }));
    const good = Array.from({ length: 500 }, (_, i) => [`k${i}`, i] as [string, unknown]);
    const cases: [Bad, RegExp][] = [
      [[...good, ["bad", { a: () => 1 }]], /the value at "a": received function, .*\(entry 500 of setMany, bad\)$/],
      [[...good, ["bad", undefined]], /undefined is a miss.*\(entry 500 of setMany, bad\)$/],
      [
        [
          ["k", 1],
          ["", 1],
        ],
        /Cannot use a key: .*\(entry 1 of setMany\)$/,
      ],
      [
        [
          ["k", 1],
          [Number.NaN, 1],
        ],
        /Cannot use a key: received NaN, expected a finite number.*\(entry 1 of setMany\)$/,
      ],
      [["ab"], /an entry: received a value of type string, expected a pair .*\(entry 0 of setMany\)$/],
      [[["k", 1], { k: 1 }], /an entry: received a value of type object, .*\(entry 1 of setMany\)$/],
      [[null], /an entry: received a value of type null, .*\(entry 0 of setMany\)$/],
      [{ S3CRET: 1 }, /entries: received a value of type object, expected a Map, or a list of \[id, value\]$/],
      [undefined, /entries: received a value of type undefined, /],
      [null, /entries: received a value of type null, /],
      [5, /entries: received a value of type number, /],
    ];
    for (const [entries, message] of cases) await assert.rejects(cache.setMany(entries), says(message));
    await assert.rejects(
      dishes.setMany([
        [1, "a"],
        [2, 5],
      ] as Bad),
      (error: Error) =>
        error instanceof CacheSchemaError && /value: .*\(entry 1 of setMany, dish:2\)$/.test(error.message),
    );
    assert.equal(driver.sent, 0);
  });
});

describe("keys", () => {
  it("a cache refuses keys that are NaN or infinite", async () => {
    const cache = make().cache();
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const refused = says(/Cannot use a key: received .*, expected a finite number or a well-formed string/);
      await assert.rejects(cache.set(bad, 1), refused);
      await assert.rejects(cache.get(bad), refused);
      await assert.rejects(cache.delete(bad), refused);
    }
    assert.equal(await cache.set(1.5, 1), true);
  });
});

describe("tags", () => {
  const lists = says(
    /Cannot set tags: received a value of type \w+, expected a list of strings, or a function that returns one/,
  );

  it("a write refuses tags when the function of the collection returns no list", async () => {
    for (const bad of ["S3CRET", 5, true, new Set(["a"]), { a: 1 }, Promise.resolve(["a"])]) {
      const driver = counted();
      const { dishes } = make(driver).service(menu({ tags: (() => bad) as Bad }));
      await assert.rejects(dishes.set(1, "pho"), lists);
      await assert.rejects(dishes.setMany([[1, "pho"]]), lists);
      assert.equal(driver.sent, 0);
      await assert.rejects(
        dishes.getOrSet(1, () => "pho"),
        lists,
      );
      assert.equal(await dishes.get(1), undefined);
    }
  });

  it("an entry has no tags when the function of the collection returns undefined or null", async () => {
    for (const none of [undefined, null]) {
      const { dishes, invalidateTags } = make().service(menu({ tags: () => none as undefined }));
      assert.equal(await dishes.set(1, "pho"), true);
      assert.equal(await dishes.getOrSet(2, () => "bun"), "bun");
      await invalidateTags(["undefined", "null"]);
      assert.deepEqual([...(await dishes.getMany([1, 2])).values()], ["pho", "bun"]);
    }
  });

  it("declarations and calls refuse tags that are neither a list nor a function, and bad tags in a list", async () => {
    const cache = make().cache();
    for (const bad of ["menu", 5, null, {}]) {
      await assert.rejects(cache.set("k", 1, { tags: bad as Bad }), lists);
      assert.throws(() => menu({ tags: bad as Bad }), lists);
      assert.throws(() => defineService({ ...menu({}), tags: bad as Bad }), lists);
      assert.throws(() => withOptions(product, { tags: bad as Bad }), lists);
    }
    for (const bad of ["", 5, null]) {
      assert.throws(() => menu({ tags: ["good", bad as Bad] }), says(/Cannot use a tag/));
      assert.throws(
        () => withOptions(product, { collections: { products: { tags: [bad as Bad] } } }),
        says(/Cannot use a tag/),
      );
    }
  });

  it("getOrSet and getOrSetMany refuse tags that a loader sets to something else than a list", async () => {
    const cache = make().cache<string>();
    const load = (context: LoadContext<string>) => {
      (context as Bad).tags = "S3CRET";
      return "pho";
    };
    await assert.rejects(cache.getOrSet("k", load), lists);
    const many = (ids: readonly unknown[], context: LoadContext<string>) => {
      (context as Bad).tags = "S3CRET";
      return new Map(ids.map((id) => [id as string, "pho"]));
    };
    await assert.rejects(cache.getOrSetMany(["a", "b"], many), lists);
    assert.deepEqual((await cache.getMany(["k", "a", "b"])).size, 0);
    const own = (context: LoadContext<string>) => {
      (context as Bad).tags = ["soups"];
      return "pho";
    };
    assert.equal(await cache.getOrSet("k", own), "pho");
    await cache.invalidateTags("soups");
    assert.equal(await cache.get("k"), undefined);
  });

  it("getOrSet rejects and emits the error when the function for tags throws, sealed or not", async () => {
    const keys = { k1: new Uint8Array(32).fill(1) };
    const fail = () => {
      throw new Error("no tags today");
    };
    for (const encrypted of [false, true]) {
      for (const waitUntil of [undefined, () => {}]) {
        for (const [options, message] of [
          [{ tags: fail }, /no tags today/],
          [{ schema: v.number() }, /Cannot write to menu.dishes/],
        ] as const) {
          const events: CacheEvent[] = [];
          const client = make(memory(), { ...(waitUntil && { waitUntil }), encryption: { keys } });
          client.subscribe((event) => events.push(event));
          const { dishes } = client.service(defineService({ ...menu(options), encrypted }));
          await assert.rejects(
            dishes.getOrSet(1, () => "pho"),
            message,
          );
          assert.deepEqual(
            events.map(({ type }) => type),
            ["miss", "load-start", "load-error"],
          );
        }
      }
    }
  });

  it("getOrSet keeps the stale value when tags throw in the background, and emits the error", async () => {
    let now = 1_700_000_000_000;
    let broken = false;
    const tags = () => {
      if (broken) throw new Error("no tags today");
      return ["a"];
    };
    const background: Promise<unknown>[] = [];
    const events: CacheEvent[] = [];
    const client = make(memory({ clock: () => now }), {
      clock: () => now,
      waitUntil: (promise) => background.push(promise),
    });
    client.subscribe((event) => events.push(event));
    const { dishes } = client.service(menu({ tags, ttl: "1m", staleFor: "10m", failSafeFor: "1h" }));
    await dishes.getOrSet(1, () => "pho");
    await Promise.all(background.splice(0));
    broken = true;
    for (const later of [2 * MINUTE, 20 * MINUTE]) {
      now += later;
      events.length = 0;
      assert.equal(await dishes.getOrSet(1, () => "bun"), "pho");
      await Promise.all(background.splice(0));
      const told = events.find((event) => event.type === "load-error");
      assert.ok(told?.kept && /no tags today/.test((told.error as Error).message), JSON.stringify(events));
    }
  });
});

describe("declarations", () => {
  const wrong: readonly [name: string, value: unknown, message: RegExp][] = [
    ["near", "yes", /options of near: .* type string, expected true, false or \{ maxEntries, maxBytes, ttl, clone \}/],
    ["near", 5, /options of near: .* type number/],
    ["near", null, /options of near: .* type null/],
    ["near", { maxEntry: 5 }, /options of near: received "maxEntry", expected true, false or \{ maxEntries, /],
    ["near", { maxEntries: 0 }, /near\.maxEntries: received 0, expected a whole number of 1 or more/],
    ["near", { maxBytes: "1" }, /near\.maxBytes: .* type string, /],
    ["near", { clone: "no" }, /near\.clone: received "no", expected true or false/],
    ["near", { ttl: 0 }, /near\.ttl: received 0/],
    ["compressAbove", "yes", /compressAbove: received "yes", expected a number of characters, or false/],
    ["compressAbove", true, /compressAbove: received true, /],
    ["compressAbove", -1, /compressAbove: received -1, /],
    ["compressAbove", Number.NaN, /compressAbove: received NaN, /],
    ["lock", "yes", /options of lock: .* type string, expected true, false or \{ ttl, wait \}/],
    ["lock", 0, /options of lock: .* type number/],
    ["lock", null, /options of lock: .* type null/],
    ["lock", { tll: "5s" }, /options of lock: received "tll", expected true, false or \{ ttl, wait \}/],
    ["lock", { wait: false }, /lock\.wait: received false/],
    ["lock", { ttl: false }, /lock\.ttl: received false/],
    ["jitter", "0.5", /jitter: received "0\.5", expected a number from 0 to 1/],
    ["jitter", Number.NaN, /jitter: received NaN, /],
    ["earlyRefresh", Number.NaN, /earlyRefresh: received NaN, expected a number from 0 to 1000/],
    ["earlyRefresh", "1", /earlyRefresh: received "1", /],
    ["earlyRefresh", null, /earlyRefresh: received null, /],
    ["staleFor", true, /staleFor: received true/],
    ["softTimeout", "100", /softTimeout: received "100"/],
    ["stalefor", "5m", /options of .*: received "stalefor", expected \{ .*staleFor, /],
    ["constructor", 5, /options of .*: received "constructor"/],
  ];
  for (const [name, value, message] of wrong) {
    const given = { [name]: value } as Bad;
    it(`declarations refuse ${name}: ${typeof value === "object" ? JSON.stringify(value) : String(value)}`, () => {
      assert.throws(() => collection({ key: "a:{id}", ...given }), message);
      assert.throws(() => defineService({ name: "a", database: 8, collections: {}, ...given }), message);
      const bare = { dishes: { key: "a:{id}", ...given } };
      assert.throws(() => defineService({ name: "a", database: 8, collections: bare }), message);
      assert.throws(() => withOptions(product, given), message);
      assert.throws(() => withOptions(product, { collections: { products: given } }), message);
      // What could be a variable's text is taken for one.
      if (typeof value !== "string" || !/^[\d.]+$/.test(value))
        assert.throws(() => make(memory(), given), { name: "CacheConfigError", message: new RegExp(`"${name}" is `) });
      if (name === "constructor" || name === "stalefor") return;
      assert.throws(() => createCoreClient({ driver: memory(), ...given }), message);
    });
  }

  it("createCacheClient of the core refuses ttls that are not an object, by its name", () => {
    for (const ttls of [null, "1h", 5] as Bad[]) {
      assert.throws(() => createCoreClient({ driver: memory(), ttls }), {
        name: "CacheConfigError",
        message: /option ttls is .*, expected an object/,
      });
    }
  });

  it("createCacheClient of the core names an unknown option, and shows nothing of what it holds", () => {
    for (const name of ["url", "token", "password"]) {
      assert.throws(
        () => createCoreClient({ driver: memory(), [name]: "redis://u:secret@h" } as Bad),
        (error: Error) =>
          error.message.includes(`option ${name} is unknown, expected one of driver, ttls, `) &&
          !error.message.includes("secret"),
      );
    }
  });

  it("createCacheClient refuses what is not an object of options, such as a URL, and shows nothing of it", () => {
    for (const options of ["redis://u:secret@h", null, 5] as Bad[]) {
      assert.throws(
        () => createCacheClient(options),
        (error: Error) =>
          /^Cannot set the options of a client: received a value of type \w+, expected an object such as \{ url: /.test(
            error.message,
          ),
      );
    }
  });

  it("withLock refuses unknown options by their names", async () => {
    await using client = make();
    await assert.rejects(
      client.cache().withLock("a", () => 1, { tll: "1s" } as Bad),
      {
        name: "TypeError",
        message: 'Cannot set the options of withLock: received "tll", expected { wait, ttl, timeout, onError }',
      },
    );
  });

  it("defineService refuses a declaration without a name, and what is not a declaration", () => {
    const expected = /^Cannot name a service: received undefined, expected letters, digits, _ and -$/;
    assert.throws(() => defineService({ collections: {} } as Bad), { name: "TypeError", message: expected });
    for (const bad of [undefined, null, "menu"] as Bad[]) {
      assert.throws(() => defineService(bad), { name: "TypeError", message: /^Cannot name a service: / });
      assert.throws(() => collection(bad), { name: "TypeError", message: /^Cannot declare a collection: / });
    }
    assert.throws(() => withOptions("product" as Bad, {}), {
      message: /^Cannot give a service options: received "product", expected a declared service$/,
    });
  });

  it("a service refuses verbs that are no function, and a verb with the name of a collection", () => {
    const collections = { dishes: collection<string>({ key: "dish:{id}" }) };
    assert.throws(() => defineService({ name: "menu", collections, verbs: {} as Bad }), {
      name: "TypeError",
      message: "Cannot call verbs of menu: received a value of type object, expected a function",
    });
    const verbs = () => ({ dishes: () => 1 });
    assert.throws(() => make().service(defineService({ name: "menu", collections, verbs })), {
      name: "TypeError",
      message: 'Cannot name a verb of menu: received "dishes", expected a name that no collection has',
    });
  });

  it("getMany and getOrSetMany refuse a string, which is not a list of ids", async () => {
    await using client = make();
    const message = 'Cannot use ids: received "dish", expected a list';
    await assert.rejects(client.cache().getMany("dish" as Bad), { name: "TypeError", message });
    await assert.rejects(
      client.cache().getOrSetMany("dish" as Bad, () => new Map()),
      { name: "TypeError", message },
    );
  });

  it("checkRateLimit refuses what is not an object of options, such as a window alone", async () => {
    await using client = make();
    await assert.rejects(client.cache().checkRateLimit("a", 5 as Bad, "1 m" as Bad), {
      message: /received a value of type/,
    });
  });

  it("declarations refuse options that belong elsewhere, and list their own", () => {
    const key = "a:{id}";
    assert.throws(
      () => collection({ key, colections: {} } as Bad),
      says(/options of a:.*: received "colections"/, /key, variable, schema/),
    );
    const service = { name: "loyalty", database: 8, collections: {} };
    assert.throws(
      () => defineService({ ...service, verb: {} } as Bad),
      says(/options of loyalty: received "verb"/, /verbs, refuse/),
    );
    // A service has no TTL of its own, nor have all collections of one together.
    assert.throws(() => defineService({ ...service, ttl: "5m" } as Bad), says(/options of loyalty: received "ttl"/));
    assert.throws(() => withOptions(product, { ttl: "5m" } as Bad), says(/options of product: received "ttl"/));
    assert.throws(
      () => withOptions(product, { collections: { products: { key: "b:{id}" } } } as Bad),
      says(/options of product\.products: received "key"/),
    );
    assert.ok(withOptions(product, { collections: { products: { ttl: "5m", near: { ttl: "1s" } } } }));
  });

  it("collection refuses steps of a migration that are not functions", () => {
    const migrations = says(/Cannot set migrate of a:\{id\}: received .*, expected functions by version/);
    for (const migrate of [{ 1: 5 }, { 1: null }, { 1: (x: unknown) => x, 2: "x" }, 5, (x: unknown) => x]) {
      assert.throws(() => collection({ key: "a:{id}", version: 3, migrate: migrate as Bad }), migrations);
    }
    assert.ok(collection({ key: "a:{id}", version: 2, migrate: { 1: (x: unknown) => x } }));
  });

  it("createCacheClient names an unknown option of the breaker, and lists the others", () => {
    assert.throws(
      () => make(memory(), { breaker: { failuers: 3 } as Bad }),
      /option "breaker" is \{ failuers \}, expected false or \{ failures, openFor, maxOpenFor \}/,
    );
    assert.throws(
      () => createCoreClient({ driver: memory(), breaker: { failuers: 3 } as Bad }),
      says(/options of breaker: received "failuers", expected false or \{ failures, openFor, maxOpenFor \}/),
    );
    assert.throws(
      () => createCoreClient({ driver: memory(), breaker: true as Bad }),
      says(/options of breaker: .* type boolean/),
    );
    assert.throws(
      () => make(memory(), { lock: { tll: "5s" } as Bad }),
      /option "lock" is \{ tll \}, expected true, false or \{ ttl, wait \}/,
    );
  });

  it("defineService accepts good options, and undefined for those that are not set", () => {
    const good = {
      ttl: undefined,
      near: undefined,
      compressAbove: 0,
      lock: { ttl: "1s", wait: "2s" },
      earlyRefresh: false,
      jitter: 0,
      tags: [],
      migrate: undefined,
      version: undefined,
      id: undefined,
    } as const;
    assert.ok(
      defineService({ name: "a", database: 8, collections: { b: collection({ key: "b:{id}", ...good } as Bad) } }),
    );
  });
});

describe("calls", () => {
  it("calls refuse unknown options before anything is sent", async () => {
    const driver = counted();
    const cache = make(driver).cache<number>();
    const bad = { ttI: "5m" } as Bad;
    const unknown = says(/options of a call: received "ttI", expected \{ ttl, .*, timeout, onError, near, attempts \}/);
    const fail = () => assert.fail("it ran");
    await assert.rejects(cache.set("k", 1, bad), unknown);
    await assert.rejects(cache.setMany([["k", 1]], bad), unknown);
    await assert.rejects(cache.getOrSet("k", fail, bad), unknown);
    await assert.rejects(cache.getOrSetMany(["k"], fail, bad), unknown);
    await assert.rejects(cache.update("k", fail, bad), unknown);
    await assert.rejects(
      cache.increment("k", bad),
      says(/options of increment: received "ttI", expected \{ by, ttl, timeout, /),
    );
    assert.equal(driver.sent, 0);
    const all = { ttl: "1m", timeout: 100, onError: "miss", near: false } as const;
    assert.equal(await cache.getOrSet("k", () => 1, all), 1);
    assert.equal(await cache.update("k", () => 2, { attempts: 1, timeout: 100 }), 2);
  });

  it("calls refuse options that are not an object, such as a TTL or a second id", async () => {
    const driver = counted();
    const cache = make(driver).cache<number>();
    for (const bad of ["5m", 60, true] as Bad[]) {
      const object = says(
        new RegExp(`received "?${bad}"?, expected (an object|a tag or a list of tags, then options)$`),
      );
      await assert.rejects(cache.set("k", 1, bad), object);
      await assert.rejects(cache.setMany([["k", 1]], bad), object);
      await assert.rejects(
        cache.getOrSet("k", () => 1, bad),
        object,
      );
      await assert.rejects(
        cache.update("k", () => 1, bad),
        object,
      );
      await assert.rejects(cache.get("k", bad), object);
      await assert.rejects(cache.has("k", bad), object);
      await assert.rejects(cache.delete("k", bad), object);
      await assert.rejects(cache.invalidateTags(["k"], bad), object);
    }
    assert.equal(driver.sent, 0);
  });

  it("getOrSet refuses options of another type before anything is sent", async () => {
    const driver = counted();
    const cache = make(driver).cache<number>();
    const load = () => assert.fail("it ran");
    for (const [options, message] of [
      [{ lock: "yes" }, /options of lock: /],
      [{ lock: 5 }, /options of lock: /],
      [{ lock: { tll: "5s" } }, /options of lock: received "tll"/],
      [{ jitter: "0.5" }, /jitter: received "0.5"/],
      [{ earlyRefresh: Number.NaN }, /earlyRefresh: received NaN/],
      [{ near: "yes" }, /near: received "yes"/],
      [{ onError: "ignore" }, /onError: received "ignore"/],
      [{ timeout: "100" }, /timeout: received "100"/],
    ] as [Bad, RegExp][]) {
      await assert.rejects(cache.getOrSet("k", load, options), says(message));
      await assert.rejects(cache.getOrSetMany(["k"], load, options), says(message));
      if (options.near ?? options.onError ?? options.timeout)
        await assert.rejects(cache.get("k", options), says(message));
    }
    assert.equal(driver.sent, 0);
  });

  it("get refuses a bad option near when the near cache has the value", async () => {
    const { dishes } = make(counted()).service(menu({ near: true }));
    await dishes.set(1, "pho");
    for (let i = 0; i < 3; i++) assert.equal(await dishes.get(1), "pho");
    await assert.rejects(dishes.get(1, { near: "yes" as Bad }), says(/near: received "yes"/));
    assert.equal(await dishes.get(1, { near: true }), "pho");
    assert.equal(await dishes.get(1, { near: false }), "pho");
  });

  it("calls refuse a loader that is not a function before the read or the lock, and show no value", async () => {
    const driver = counted();
    const cache = make(driver).cache<string>();
    for (const bad of [undefined, null, "S3CRET", 5, { S3CRET: 1 }, Promise.resolve("S3CRET")] as Bad[]) {
      const type = new RegExp(`received a value of type ${bad === null ? bad : typeof bad}, expected a function`);
      await assert.rejects(cache.getOrSet("k", bad), says(/a loader/, type));
      await assert.rejects(cache.getOrSetMany(["k"], bad), says(/a loader/, type));
      await assert.rejects(cache.update("k", bad), says(/a change/, type));
      await assert.rejects(cache.withLock("k", bad), says(/the function of withLock/, type));
    }
    assert.equal(driver.sent, 0);
  });

  it("getOrSetMany refuses a result of the loader that is not a Map, and shows no value", async () => {
    const cache = make().cache<string>();
    for (const bad of [undefined, null, "S3CRET", [["k", "S3CRET"]], { k: "S3CRET" }] as Bad[]) {
      const map = says(/^Cannot use what a loader returned: received .*, expected a Map by id$/);
      await assert.rejects(
        cache.getOrSetMany(["k", "l"], () => bad),
        map,
      );
      await assert.rejects(
        cache.getOrSetMany(["k", "l"], async () => bad),
        map,
      );
    }
    assert.equal(await cache.get("k"), undefined);
  });

  it("getOrSetMany takes a Map of the loader by ids of a wider type", async () => {
    const rows = new Map<string | number, string>([
      [1, "pho"],
      ["1", "bun"],
    ]);
    assert.deepEqual(
      await make()
        .cache<string>()
        .getOrSetMany([1, 2], () => rows),
      new Map([[1, "pho"]]),
    );
  });

  it("update refuses attempts below one", async () => {
    const driver = counted();
    const cache = make(driver).cache<number>();
    for (const attempts of [0, -1, Number.NaN, "3", null] as Bad[]) {
      await assert.rejects(
        cache.update("k", () => 1, { attempts }),
        says(/expected attempts from 1 on$/),
      );
    }
    assert.equal(driver.sent, 0);
    assert.equal(await cache.update("k", () => 1, { attempts: Number.POSITIVE_INFINITY }), 1);
  });

  it("forRequest refuses hooks without waitUntil", () => {
    const client = make();
    for (const bad of [undefined, {}, { waitUntil: 5 }] as Bad[]) {
      assert.throws(
        () => client.forRequest(bad),
        says(/Cannot call waitUntil: .* type (undefined|number), expected a function/),
      );
    }
  });

  it("cache refuses unknown options, such as a database by another name", () => {
    const client = make();
    assert.throws(
      () => client.cache({ db: 9 } as Bad),
      says(/options of a cache: received "db", expected { database }/),
    );
    for (const bad of [9, "9", null] as Bad[]) {
      assert.throws(
        () => client.cache(bad),
        says(/options of a cache: .* type (number|string|null), expected { database }/),
      );
    }
  });

  it("service refuses a value that is not a service", () => {
    const client = make();
    for (const bad of [undefined, null, 5] as Bad[]) {
      assert.throws(
        () => client.service(bad),
        says(/Cannot use a service: received (undefined|null|5), expected gateway, product, /),
      );
    }
  });

  it("defineService refuses a service without collections", () => {
    assert.throws(
      () => defineService({ name: "menu", database: 8 } as Bad),
      says(
        /Cannot set collections of the service menu: received a value of type undefined, expected { name: collection/,
      ),
    );
  });

  it("subscribe refuses a listener that is not a function", () => {
    assert.throws(
      () => make().subscribe("hit" as Bad),
      says(/Cannot call a listener: .* type string, expected a function/),
    );
  });

  it("getOrSet names a plain cache by one word when its loader takes too long", async () => {
    const never = () => new Promise<number>(() => {});
    await assert.rejects(make().cache<number>().getOrSet("k", never, { hardTimeout: 1 }), {
      message: "The loader of cache took longer than 1 ms",
    });
  });

  it("fleetStats rejects unknown options", async () => {
    const client = make();
    const service = client.service("product");
    for (const one of [client, service, service.products, client.cache()] as Bad[]) {
      await assert.rejects(one.fleetStats("fleet"), says(/options: received "fleet"/));
    }
  });

  it("fleetStats answers zeros when no client has the option fleetStats on", async () => {
    const client = make();
    const { products, fleetStats } = client.service("product");
    await products.get(1);
    const counts = await fleetStats();
    assert.deepEqual(Object.values(counts ?? {}), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(await client.fleetStats(), { product: counts });
  });

  it("invalidateTags refuses several tags that are not a list", async () => {
    const driver = counted();
    const cache = make(driver).cache();
    const variadic = (...given: unknown[]) => cache.invalidateTags(...(given as [Bad, Bad]));
    const several = says(/^Cannot invalidate tags: received .+, expected a tag or a list of tags, then options$/);
    await assert.rejects(variadic("a", "b"), several);
    await assert.rejects(variadic("a", "b", { timeout: 5 }), several);
    await assert.rejects(variadic("a", ["b"]), several);
    await assert.rejects(variadic(["a"], "b"), several);
    await assert.rejects(variadic(), says(/Cannot use a tag: received undefined/));
    assert.equal(driver.sent, 0);
    assert.equal(await cache.invalidateTags(["a"], { timeout: 500 }), true);
    assert.equal(await cache.invalidateTags("a", { timeout: 500 }), true);
    assert.equal(await cache.invalidateTags("a"), true);
  });
});

onWires("increment", (onWire) => {
  it(
    "increment starts again when get would miss: after an invalidation, and after the TTL",
    onWire(async (t) => {
      const client = t.make();
      const cache = client.cache<number>();
      await cache.set("k", 5, { ttl: "1h" });
      assert.equal(await cache.increment("k"), 6);
      await cache.set("all", 5, { ttl: "1h" });
      await cache.set("tagged", 5, { tags: ["t"] });
      assert.equal(await cache.invalidateTags("t"), true);
      assert.equal(await cache.increment("tagged", { by: 2, ttl: "1m" }), 2);
      assert.ok(((await cache.ttl("tagged")) as number) <= 60);
      await cache.set("old", 5, { ttl: "1m", staleFor: "1h" });
      t.now += 2 * MINUTE;
      assert.deepEqual([await cache.get("old"), await cache.increment("old", { ttl: "1m" })], [undefined, 1]);
      assert.ok(((await cache.ttl("old")) as number) <= 60);
      assert.equal(await cache.invalidateAll(), true);
      assert.deepEqual(
        [await cache.get("all"), await cache.increment("all"), await cache.get("all")],
        [undefined, 1, 1],
      );
      // What counts already goes on, as limits must.
      assert.equal(await cache.increment("k"), 7);
    }),
  );

  it(
    "increment starts again when a negative entry is remembered",
    onWire(async ({ make }) => {
      const cache = make().cache<number>();
      assert.equal(await cache.getOrSet("k", () => undefined, { negativeTtl: "1h" }), undefined);
      assert.equal(await cache.increment("k", { ttl: "1m", onError: "throw" }), 1);
      assert.equal(await cache.get("k"), 1);
      assert.ok(((await cache.ttl("k")) as number) <= 60);
    }),
  );

  it(
    "increment counts on from a valid value, tagged or kept stale",
    onWire(async ({ make }) => {
      const cache = make().cache<number>();
      await cache.set("k", 5, { ttl: "1h", staleFor: "1h", tags: ["t"] });
      assert.equal(await cache.increment("k"), 6);
    }),
  );
});
