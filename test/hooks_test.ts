import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import {
  type CacheClient,
  type CacheEvent,
  type ClientOptions,
  collection,
  createCacheClient,
  defineService,
  type Schema,
} from "../mod.ts";
import { gate, handlingAll, onWires } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";

/** As the runtime's, taken out of its object: it throws when it is called. */
class ExecutionContext {
  readonly #promises: Promise<unknown>[] = [];
  waitUntil(promise: Promise<unknown>): void {
    this.#promises.push(promise);
  }
}
const { waitUntil } = new ExecutionContext();

/** The `error` events of a client, and what it counted. */
function watch(client: CacheClient): { readonly errors: string[]; readonly hits: CacheEvent["type"][] } {
  const seen = { errors: [] as string[], hits: [] as CacheEvent["type"][] };
  client.subscribe((event) => {
    if (event.type === "error") seen.errors.push(`${event.operation} ${event.error.kind}: ${event.error.message}`);
    if (event.type === "hit" || event.type === "miss") seen.hits.push(event.type);
  });
  return seen;
}

const TOLD = /^waitUntil protocol: The application's waitUntil threw TypeError; .*\(promise\) => context\.waitUntil/;

onWires("a waitUntil that throws", (onWire) => {
  for (const onError of ["miss", "throw"] as const) {
    it(
      `costs no loaded value and is reported when onError is ${onError}`,
      onWire((t) =>
        handlingAll(async () => {
          const client = t.make({ waitUntil, onError });
          const seen = watch(client);
          assert.equal(await client.cache().getOrSet("k", () => "loaded"), "loaded");
          await eventually(async () => (await client.cache().get("k")) === "loaded");
          assert.ok(seen.errors.length > 0);
          for (const line of seen.errors) assert.match(line, TOLD);
          assert.equal(client.stats().errors, seen.errors.length);
        }),
      ),
    );

    it(
      `costs no stale or early value and renews it when onError is ${onError}`,
      onWire((t) =>
        handlingAll(async () => {
          const client = t.make({ waitUntil, onError });
          const cache = client.cache<string>();
          const options = { ttl: "1m", staleFor: "1h", earlyRefresh: 1000 } as const;
          const { random } = Math;
          try {
            // The later in its life, the surer.
            Math.random = () => 1e-300;
            for (const [name, later] of [
              ["early", 59_999],
              ["stale", 61_000],
            ] as const) {
              await cache.getOrSet(
                name,
                () => new Promise<string>((resolve) => setTimeout(resolve, 5, "old")),
                options,
              );
              await eventually(async () => (await cache.get(name)) === "old");
              t.now += later;
              const seen = watch(client);
              const before = client.stats();
              assert.equal(await cache.getOrSet(name, () => "new", options), "old", name);
              const after = client.stats();
              assert.deepEqual([after.hits - before.hits, after.misses - before.misses], [1, 0], name);
              assert.deepEqual(seen.hits, ["hit"], name);
              await eventually(async () => (await cache.get(name)) === "new");
              for (const line of seen.errors) assert.match(line, TOLD);
              assert.ok(seen.errors.length > 0, name);
            }
          } finally {
            Math.random = random;
          }
        }),
      ),
    );
  }

  it(
    "costs nothing when a load fails or exceeds its soft timeout",
    onWire((t) =>
      handlingAll(async () => {
        const client = t.make({ waitUntil });
        const cache = client.cache<string>();
        const options = { ttl: "1m", failSafeFor: "1h", softTimeout: 5 } as const;
        await cache.set("k", "old", options);
        t.now += 61_000;
        const seen = watch(client);
        const slow = gate<string>();
        assert.equal(await cache.getOrSet("k", () => slow.promise, options), "old");
        slow.open("new");
        await eventually(async () => (await cache.get("k")) === "new");
        t.now += 61_000;
        assert.equal(await cache.getOrSet("k", () => Promise.reject(new Error("down")), options), "new");
        await assert.rejects(
          cache.getOrSet("none", () => Promise.reject(new Error("down"))),
          /down/,
        );
        for (const line of seen.errors) assert.match(line, TOLD);
      }),
    ),
  );

  it(
    "costs nothing when the client is that of a request, or loads are a batch",
    onWire((t) =>
      handlingAll(async () => {
        const client = t.make();
        const seen = watch(client);
        const cache = client.forRequest({ waitUntil }).cache<string>();
        assert.equal(await cache.getOrSet("k", () => "loaded"), "loaded");
        const many = await cache.getOrSetMany(["a", "b"], (ids) => new Map(ids.map((id) => [id, `of ${id}`])));
        assert.deepEqual(
          [...many],
          [
            ["a", "of a"],
            ["b", "of b"],
          ],
        );
        await eventually(async () => (await cache.get("b")) === "of b");
        for (const line of seen.errors) assert.match(line, TOLD);
        assert.ok(seen.errors.length > 0);
      }),
    ),
  );
});

describe("a function of the application's that throws", () => {
  const make = (options: ClientOptions) => createCacheClient({ env: {}, driver: "memory", logger: false, ...options });

  it("waitUntil is reported when it rejects", () =>
    handlingAll(async () => {
      await using client = make({ waitUntil: async () => Promise.reject("a secret") });
      const seen = watch(client);
      assert.equal(await client.cache().getOrSet("k", () => 1), 1);
      await eventually(() => seen.errors.length > 0);
      for (const line of seen.errors) {
        assert.equal(line, "waitUntil protocol: The application's waitUntil threw a value of type string");
      }
    }));

  it("logger and listeners cost nothing when they throw", () =>
    handlingAll(async () => {
      const fail = (): never => {
        throw new Error("no");
      };
      await using client = make({ logger: { warn: fail, debug: fail }, waitUntil });
      client.subscribe(fail);
      client.onSend(fail);
      assert.equal(await client.cache().set("k", 1), true);
      assert.equal(await client.cache().getOrSet("k", () => 2), 1);
      assert.equal(await client.cache().getOrSet("new", () => 2), 2);
    }));

  it("clock is reported and replaced by the system's when it throws", () =>
    handlingAll(async () => {
      const clocks: Record<string, () => number> = {
        TypeError: () => {
          throw new TypeError("no");
        },
        RangeError: () => Number.NaN,
      };
      for (const [thrown, clock] of Object.entries(clocks)) {
        for (const driver of ["memory", memory(), memory({ clock })] as const) {
          await using client = make({ driver, clock, near: true });
          const seen = watch(client);
          const cache = client.cache<string>();
          const options = { ttl: "1m", staleFor: "1m", onError: "throw" } as const;
          assert.equal(await cache.set("k", "v", options), true);
          assert.equal(await cache.get("k", options), "v");
          assert.equal(await cache.getOrSet("k", () => "new", options), "v");
          assert.equal(await cache.increment("n"), 1);
          assert.equal(await cache.withLock("k", ({ signal }) => signal.aborted), false);
          assert.ok(seen.errors.length > 0);
          for (const line of seen.errors) {
            assert.equal(line, `clock protocol: The application's clock threw ${thrown}`);
          }
        }
      }
    }));

  it("createCacheClient refuses an option when it must be a function", () => {
    for (const name of ["waitUntil", "clock"]) {
      for (const bad of [5, "f", {}, null]) {
        const given = { [name]: bad } as unknown as ClientOptions;
        assert.throws(() => make(given), {
          name: "TypeError",
          message: new RegExp(`^Cannot call ${name}: received a value of type`),
        });
      }
    }
  });

  /** A service whose schema throws while `broken` returns true. */
  const shopWith = (broken: () => boolean) => {
    const schema: Schema<string, string> = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate(value) {
          if (broken()) throw new RangeError(`of ${value}`);
          return { value: value as string };
        },
      },
    };
    return defineService({
      name: "shop",
      database: 9,
      collections: { dishes: collection({ key: "dish:{id}", schema, near: { ttl: "1m" } }) },
    });
  };

  it("schema makes a read one miss, reported by its name, when it throws", () =>
    handlingAll(async () => {
      let broken = false;
      const shop = shopWith(() => broken);
      await using client = make({});
      const { dishes } = client.service(shop);
      await dishes.set(1, "pho");
      const seen = watch(client);
      broken = true;
      assert.equal(await dishes.get(1), undefined);
      assert.deepEqual(seen, {
        errors: ["get protocol: The application's schema threw RangeError"],
        hits: ["miss"],
      });
      broken = false;
      assert.equal(await dishes.get(1), "pho");
    }));

  it("getOrSet loads the value when the schema throws on the stored one", () =>
    handlingAll(async () => {
      let broken = false;
      await using client = make({});
      const { dishes } = client.service(shopWith(() => broken));
      await dishes.set(1, "pho");
      // From the second read on, the near cache may keep values.
      await dishes.get(2);
      const seen = watch(client);
      broken = true;
      const loader = () => {
        broken = false;
        return "bun cha";
      };
      assert.equal(await dishes.getOrSet(1, loader), "bun cha");
      assert.deepEqual(seen.hits, ["miss"]);
      assert.equal(await dishes.get(1), "bun cha");
    }));

  it("get keeps no value near when the schema throws on the stored one", () =>
    handlingAll(async () => {
      let broken = false;
      await using client = make({});
      const { dishes } = client.service(shopWith(() => broken));
      await dishes.set(1, "pho");
      await dishes.get(2);
      broken = true;
      assert.equal(await dishes.get(1), undefined);
      broken = false;
      assert.equal(await dishes.get(1), "pho");
      assert.equal(dishes.stats().nearHits, 0);
    }));
});
