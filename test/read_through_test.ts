import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { memory } from "../drivers/memory.ts";
import {
  type CacheDefaults,
  type CacheEvent,
  CacheTimeoutError,
  type ClientOptions,
  collection,
  createCacheClient,
  type Driver,
  defineService,
  type GetOrSetOptions,
  type LoadContext,
  StoreError,
  withOptions,
} from "../mod.ts";
import { AND_SHARDS, Background, gate, handlingAll, onWires } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const CALLERS = 500;

/** Calls many times in one tick. */
function crowd<T>(call: (index: number) => Promise<T>, size = CALLERS): Promise<T[]> {
  return Promise.all(Array.from({ length: size }, (_, index) => call(index)));
}

function fails(error: unknown = new Error("source is down")): () => Promise<never> {
  return async () => {
    throw error;
  };
}

onWires(
  "getOrSet",
  (onWire) => {
    it(
      "runs one loader for 500 callers and gives all of them its value",
      onWire(async ({ make }) => {
        const cache = make().cache<{ n: number }>();
        const source = gate<{ n: number }>();
        let loads = 0;
        const calls = crowd(() =>
          cache.getOrSet("k", () => {
            loads++;
            return source.promise;
          }),
        );
        await eventually(() => loads > 0);
        const late = cache.getOrSet("k", () => assert.fail("a second load"));
        source.open({ n: 1 });
        for (const value of await calls) assert.deepEqual(value, { n: 1 });
        assert.deepEqual(await late, { n: 1 });
        assert.equal(loads, 1);
        assert.deepEqual(await cache.get("k"), { n: 1 });
      }),
    );

    it(
      "shares one rejection with 500 callers, whatever was thrown, and leaves none unhandled",
      onWire(async ({ make }) => {
        const cache = make().cache<number>();
        await handlingAll(async () => {
          for (const thrown of [new Error("down"), undefined, null, 0, "", false, Number.NaN]) {
            let loads = 0;
            const load = () => {
              loads++;
              throw thrown;
            };
            const outcomes = await Promise.allSettled(
              Array.from({ length: CALLERS }, (_, i) => cache.getOrSet("k", i % 2 ? load : async () => load())),
            );
            assert.equal(loads, 1, String(thrown));
            for (const outcome of outcomes) {
              assert.ok(outcome.status === "rejected" && Object.is(outcome.reason, thrown), String(thrown));
            }
            assert.equal(await cache.has("k"), false);
          }
        });
        assert.equal(await cache.getOrSet("k", () => 7), 7);
      }),
    );

    it(
      "returns undefined and stores nothing when the loader gives it",
      onWire(async ({ make }) => {
        const client = make();
        const cache = client.cache<number>();
        let loads = 0;
        const load = () => {
          loads++;
          return undefined;
        };
        assert.deepEqual(await crowd(() => cache.getOrSet("k", load), 20), Array(20).fill(undefined));
        assert.equal(loads, 1);
        assert.equal(await cache.getOrSet("k", load), undefined);
        assert.equal(loads, 2);
        assert.equal(client.stats().writes, 0);
      }),
    );

    it(
      "serves a stale value at once while one load in the background renews it",
      onWire(async (t) => {
        const background = new Background();
        const client = t.make({ waitUntil: background.waitUntil });
        const events: CacheEvent[] = [];
        client.subscribe((event) => events.push(event));
        const cache = client.cache<string>();
        const options = { ttl: "1m", staleFor: "1h" } as const;
        await cache.getOrSet("k", () => "old", options);
        await background.done();
        t.now += MINUTE - 1;
        assert.equal(await cache.get("k"), "old");
        t.now += 1;
        assert.equal(await cache.get("k"), undefined);
        assert.equal(await cache.has("k"), false);
        assert.equal(await cache.ttl("k"), undefined);
        assert.deepEqual([...(await cache.getMany(["k"]))], []);
        const source = gate<string>();
        let loads = 0;
        const load = ({ old }: LoadContext<string>) => {
          loads++;
          assert.equal(old, "old");
          return source.promise;
        };
        const { taken } = background;
        assert.deepEqual(new Set(await crowd(() => cache.getOrSet("k", load, options))), new Set(["old"]));
        assert.equal(loads, 1);
        assert.ok(background.taken > taken, "waitUntil did not get the load");
        assert.deepEqual([client.stats().staleHits, client.stats().loads], [CALLERS, 2]);
        source.open("new");
        await background.done();
        assert.equal(await cache.get("k"), "new");
        assert.equal(await cache.getOrSet("k", () => assert.fail("it is fresh"), options), "new");
        assert.deepEqual(
          events.flatMap((event) => (event.type === "load-start" ? event.reason : [])),
          ["miss", "stale"],
        );
        t.now += MINUTE + HOUR;
        assert.equal(await cache.getOrSet("k", () => "newest", options), "newest");
      }),
    );

    it(
      "renews a stale value without waitUntil too, and survives a loader that fails then",
      onWire(async (t) => {
        const cache = t.make().cache<string>();
        const options = { ttl: "1m", staleFor: "1h" } as const;
        await cache.getOrSet("k", () => "old", options);
        t.now += MINUTE;
        await handlingAll(async () => {
          for (const thrown of [new Error("down"), undefined]) {
            assert.equal(await cache.getOrSet("k", fails(thrown), options), "old");
          }
        });
        assert.equal(await cache.getOrSet("k", () => "new", options), "old");
        await eventually(async () => (await cache.get("k")) === "new");
      }),
    );

    it(
      "gives 500 callers the old value of one failed load while failSafeFor lasts",
      onWire(async (t) => {
        const client = t.make();
        const events: CacheEvent[] = [];
        client.subscribe((event) => events.push(event));
        const cache = client.cache<string>();
        const options = { ttl: "1m", failSafeFor: "1h" } as const;
        await cache.getOrSet("k", () => "old", options);
        t.now += HOUR;
        let loads = 0;
        const load = async () => {
          loads++;
          throw new Error("down");
        };
        await handlingAll(async () => {
          assert.deepEqual(new Set(await crowd(() => cache.getOrSet("k", load, options))), new Set(["old"]));
        });
        assert.equal(loads, 1);
        assert.equal(await cache.get("k"), undefined);
        const error = events.find((event) => event.type === "load-error");
        assert.ok(error?.type === "load-error" && error.kept && (error.error as Error).message === "down");
        await assert.rejects(cache.getOrSet("k", load, { ...options, failSafeFor: false }), /down/);
        assert.equal(await cache.getOrSet("k", () => "new", options), "new");
        t.now += HOUR + MINUTE;
        await assert.rejects(cache.getOrSet("k", load, options), /down/);
      }),
    );

    it(
      "gives the old value after softTimeout, and stores what the load brings later",
      onWire(async (t) => {
        const background = new Background();
        const cache = t.make({ waitUntil: background.waitUntil }).cache<string>();
        const options = { ttl: "1m", failSafeFor: "1h", softTimeout: 10 } as const;
        const slow = gate<string>();
        const first = cache.getOrSet("k", () => slow.promise, options);
        assert.equal(await Promise.race([first, sleep(60, "waits")]), "waits");
        slow.open("old");
        assert.equal(await first, "old");
        await background.done();
        t.now += MINUTE;
        const source = gate<string>();
        let loads = 0;
        const load = () => {
          loads++;
          return source.promise;
        };
        assert.deepEqual(new Set(await crowd(() => cache.getOrSet("k", load, options))), new Set(["old"]));
        assert.equal(loads, 1);
        source.open("new");
        await background.done();
        assert.equal(await cache.get("k"), "new");
        t.now += MINUTE;
        const answer = cache.getOrSet("k", () => "fast", { ...options, softTimeout: 2 ** 31 - 1 });
        assert.equal(await answer, "fast");
      }),
    );

    it(
      "gives a load up at hardTimeout, blocks no caller, and drops its late result",
      onWire(async (t) => {
        const cache = t.make().cache<string>();
        const late = gate<string>();
        let signal: AbortSignal | undefined;
        await handlingAll(async () => {
          const calls = Array.from({ length: CALLERS }, () =>
            cache.getOrSet(
              "k",
              (context) => {
                signal = context.signal;
                assert.equal(context.old, undefined);
                return late.promise;
              },
              { hardTimeout: 20 },
            ),
          );
          const errors = (await Promise.allSettled(calls)).map(
            (outcome) => outcome.status === "rejected" && outcome.reason,
          );
          assert.ok(errors[0] instanceof CacheTimeoutError && /20 ms/.test(errors[0].message), String(errors[0]));
          assert.deepEqual(new Set(errors).size, 1);
          assert.equal(signal?.aborted, true);
          assert.equal(signal?.reason, errors[0]);
          assert.equal(await cache.getOrSet("k", () => "other", { hardTimeout: 60_000 }), "other");
          late.open("late");
          await sleep(5);
          assert.equal(await cache.get("k"), "other");
          const failing = gate<string>();
          await assert.rejects(
            cache.getOrSet("hung", () => failing.promise, { hardTimeout: 5 }),
            CacheTimeoutError,
          );
          failing.fail(new Error("no caller listens any more"));
        });
        const options = { ttl: "1m", failSafeFor: "1h", hardTimeout: 5 } as const;
        await cache.set("kept", "old", options);
        t.now += MINUTE;
        assert.equal(await cache.getOrSet("kept", () => new Promise<string>(() => {}), options), "old");
      }),
    );

    it(
      "remembers for negativeTtl that a value does not exist, and does not list it",
      onWire(async ({ make }) => {
        const [one, two] = [make().cache<number>(), make().cache<number>()];
        let loads = 0;
        const load = () => {
          loads++;
          return undefined;
        };
        const options = { negativeTtl: "10m" } as const;
        assert.equal(await one.getOrSet("k", load, options), undefined);
        assert.equal(await one.getOrSet("k", load), undefined);
        assert.equal(await two.getOrSet("k", load), undefined);
        assert.equal(loads, 1);
        assert.deepEqual(
          [await two.get("k"), await two.has("k"), await two.ttl("k"), (await two.getMany(["k"])).size],
          [undefined, false, undefined, 0],
        );
        for await (const key of two.keys()) assert.fail(`a key ${key}`);
        await two.set("k", 5);
        assert.equal(await one.getOrSet("k", load, options), 5);
        await one.delete("k");
        assert.equal(await one.getOrSet("k", load, options), undefined);
        assert.equal(loads, 2);
        assert.equal(await one.getOrSet("short", load, { negativeTtl: "20ms" }), undefined);
        await eventually(async () => (await one.getOrSet("short", () => 9)) === 9);
        assert.equal(await one.getOrSet("off", load, { negativeTtl: false }), undefined);
        assert.equal(await one.getOrSet("off", () => 1), 1);
      }),
    );

    it(
      "renews an entry early, once and in the background, when its TTL nears its end",
      onWire(async (t) => {
        const background = new Background();
        const client = t.make({ waitUntil: background.waitUntil });
        const events: CacheEvent[] = [];
        client.subscribe((event) => events.push(event));
        const cache = client.cache<string>();
        // The store expires it in real time, so that is kept out of the way.
        const options = { ttl: "1m", failSafeFor: "1h", earlyRefresh: true } as const;
        const { random } = Math;
        Math.random = () => 0.5;
        try {
          const load = async () => {
            await sleep(30);
            return "old";
          };
          await cache.getOrSet("k", load, options);
          await background.done();
          const no = () => assert.fail("it is far from its end");
          t.now += MINUTE - 5000;
          assert.equal(await cache.getOrSet("k", no, options), "old");
          t.now += 4999;
          assert.equal(await cache.getOrSet("k", no, { ...options, earlyRefresh: false }), "old");
          assert.equal(await cache.get("k"), "old");
          let loads = 0;
          const renew = () => {
            loads++;
            return "new";
          };
          assert.deepEqual(new Set(await crowd(() => cache.getOrSet("k", renew, options))), new Set(["old"]));
          await background.done();
          assert.equal(loads, 1);
          assert.equal(await cache.get("k"), "new");
          // A larger factor begins earlier: 1 ms of load, by 1000 and by the logarithm of a half.
          await cache.getOrSet("far", () => sleep(2, "old"), options);
          await background.done();
          t.now += MINUTE - 500;
          assert.equal(await cache.getOrSet("far", no, options), "old");
          assert.equal(await cache.getOrSet("far", renew, { ...options, earlyRefresh: 1000 }), "old");
          await background.done();
          assert.equal(loads, 2);
        } finally {
          Math.random = random;
        }
        const reasons = events.flatMap((event) => (event.type === "load-start" ? event.reason : []));
        assert.deepEqual(reasons, ["miss", "early", "miss", "early"]);
      }),
    );

    it(
      "shortens TTLs by jitter at random, never by more than its share",
      onWire(async ({ make }) => {
        const cache = make().cache<number>();
        const keys = Array.from({ length: 100 }, (_, i) => `k${i}`);
        await Promise.all(keys.map((key) => cache.set(key, 1, { ttl: "10h", jitter: 0.5 })));
        const left = (await Promise.all(keys.map((key) => cache.ttl(key)))) as number[];
        for (const seconds of left) assert.ok(seconds > 5 * 3600 - 60 && seconds <= 10 * 3600, String(seconds));
        const [least, most] = [Math.min(...left), Math.max(...left)];
        assert.ok(least < 7 * 3600 && most > 8 * 3600, `${least} to ${most}`);
        await cache.getOrSet("loaded", () => 1, { ttl: "10h", jitter: 1 });
        assert.ok(((await cache.ttl("loaded")) as number) <= 10 * 3600);
        await cache.set("exact", 1, { ttl: "10h", jitter: 0 });
        assert.ok(((await cache.ttl("exact")) as number) > 10 * 3600 - 60);
        await assert.rejects(cache.set("k", 1, { jitter: 1.5 }), /jitter: received 1.5, expected a number from 0 to 1/);
      }),
    );

    it(
      "takes the value's TTL, its tags and whether to store it from the loader",
      onWire(async (t) => {
        const cache = t.make().cache<string>();
        await cache.getOrSet("short", (context) => {
          context.ttl = "5m";
          return "s";
        });
        const left = (await cache.ttl("short")) as number;
        assert.ok(left > 240 && left <= 300, String(left));
        await cache.getOrSet("ever", async (context) => {
          await sleep(1);
          context.ttl = "forever";
          return "e";
        });
        assert.equal(await cache.ttl("ever"), "forever");
        await cache.getOrSet(
          "tagged",
          (context) => {
            context.tags.push("from-loader", "both");
            return "t";
          },
          { tags: ["from-call", "both"] },
        );
        assert.equal(await cache.get("tagged"), "t");
        await cache.invalidateTags("from-loader");
        assert.equal(await cache.get("tagged"), undefined);
        let loads = 0;
        const fleeting = (context: LoadContext<string>) => {
          loads++;
          context.store = false;
          return "f";
        };
        assert.deepEqual(new Set(await crowd(() => cache.getOrSet("fleeting", fleeting), 20)), new Set(["f"]));
        assert.equal(loads, 1);
        assert.equal(await cache.has("fleeting"), false);
        const bad = cache.getOrSet("bad", (context) => {
          context.ttl = -1;
          return "b";
        });
        await assert.rejects(bad, RangeError);
        assert.equal(await cache.getOrSet("bad", () => "good"), "good");
      }),
    );

    it(
      "stores nothing when the value must not be stored, and does not block the key",
      onWire(async ({ make }) => {
        const cache = make().cache<unknown>();
        await assert.rejects(
          cache.getOrSet("k", () => () => 1),
          TypeError,
        );
        assert.equal(await cache.getOrSet("k", () => 2), 2);
      }),
    );

    it(
      "does not return an entry from the future as fresh, nor as stale if that is off",
      onWire(async (t) => {
        const cache = t.make().cache<string>();
        // Early refresh alone gives the entry its times.
        const options = { ttl: "10m", earlyRefresh: true } as const;
        await cache.getOrSet("k", () => "old", options);
        t.now -= 900;
        assert.equal(await cache.get("k"), "old");
        t.now -= 2 * HOUR;
        assert.equal(await cache.get("k"), undefined);
        assert.equal(await cache.has("k"), false);
        await assert.rejects(cache.getOrSet("k", fails(), options), /source is down/);
        assert.equal(await cache.getOrSet("k", () => "new", options), "new");
        assert.equal(await cache.get("k"), "new");
        t.now -= 2 * HOUR;
        const safe = { ...options, failSafeFor: "1h" } as const;
        assert.equal(await cache.getOrSet("k", fails(), safe), "new");
        assert.equal(await cache.getOrSet("k", () => "newer", { ...options, staleFor: "1h" }), "new");
        await eventually(async () => (await cache.get("k")) === "newer");
        t.now += 10 * HOUR;
        assert.equal(await cache.getOrSet("k", () => "last", options), "last");
      }),
    );

    it(
      "does not revive an entry by expire and persist when its TTL is over",
      onWire(async (t) => {
        const cache = t.make().cache<string>();
        const options = { ttl: "1m", staleFor: "1h" } as const;
        await cache.set("k", "old", options);
        assert.equal(await cache.expire("k", "2m"), true);
        t.now += MINUTE;
        assert.equal(await cache.get("k"), "old");
        t.now += MINUTE;
        assert.equal(await cache.expire("k", "1m"), false);
        assert.equal(await cache.get("k"), undefined);
        assert.equal(await cache.persist("k"), false);
        assert.equal(await cache.get("k"), undefined);
        await cache.getOrSet("none", () => undefined, { negativeTtl: "1h" });
        assert.equal(await cache.expire("none", "1m"), false);
        assert.equal(await cache.persist("none"), false);
      }),
    );
  },
  AND_SHARDS,
);

onWires(
  "getOrSet of two processes",
  (onWire) => {
    it(
      "does not join a load from before another's invalidation, by options or loader",
      onWire(async ({ make }) => {
        const [one, two] = [make().cache<string>(), make().cache<string>()];
        const ways: { key: string; options?: GetOrSetOptions; tags?: string[] }[] = [
          { key: "by-call", options: { tags: ["t"] } },
          { key: "by-function", options: { tags: () => ["t"] } },
          { key: "by-loader", tags: ["t"] },
        ];
        for (const { key, options, tags = [] } of ways) {
          const source = gate<string>();
          const started = gate();
          const first = one.getOrSet(
            key,
            (context) => {
              context.tags.push(...tags);
              started.open();
              return source.promise;
            },
            options,
          );
          await started.promise;
          await two.invalidateTags("t");
          const second = one.getOrSet(key, () => "new", options);
          assert.equal(await Promise.race([second, sleep(2000, "joined")]), "new", key);
          source.open("old");
          assert.equal(await first, "old");
          assert.equal(await one.get(key), "new", key);
          assert.equal(await two.get(key), "new", key);
        }
      }),
    );

    it(
      "does not join a load from before another's invalidateAll",
      onWire(async ({ make }) => {
        const [one, two] = [make().cache<string>(), make().cache<string>()];
        const source = gate<string>();
        const started = gate();
        const first = one.getOrSet("k", () => {
          started.open();
          return source.promise;
        });
        await started.promise;
        await two.invalidateAll();
        assert.equal(await one.getOrSet("k", () => "new"), "new");
        source.open("old");
        assert.equal(await first, "old");
        assert.equal(await one.get("k"), "new");
      }),
    );
  },
  AND_SHARDS,
);

onWires(
  "getOrSetMany",
  (onWire) => {
    it(
      "finds and stores what a loader gives under other ids of the same key",
      onWire(async (t) => {
        const { products } = t.make({ negativeTtl: "1h" }).service("product");
        const rows = [
          { id: "1", name: "Pho" },
          { id: "2", name: "Bun" },
        ];
        const byText = async () => new Map(rows.map((row) => [row.id, row])) as never;
        assert.deepEqual([...(await products.getOrSetMany([1, 2], byText)).keys()], [1, 2]);
        assert.deepEqual([...(await products.getMany(["1", 2n])).values()], rows);
        const byNumber = (_: unknown[]) => new Map([[3, { id: 3, name: "Banh" }]]) as never;
        assert.deepEqual((await products.getOrSetMany(["3", 4n], byNumber)).get("3"), { id: 3, name: "Banh" });
        const byBigint = () => new Map([[4n, { id: 4, name: "Com" }]]) as never;
        // It is remembered as missing, because no other id was given.
        assert.equal((await products.getOrSetMany(["4"], byBigint)).size, 0);
        assert.equal(
          (await products.getOrSetMany(["5", 4], () => new Map([[5n, { id: 5, name: "Che" }]]) as never)).size,
          1,
        );
        const { searches } = t.make().service("product");
        const lists = await searches.getOrSetMany(
          [{ q: "pho", page: 2 }],
          () => new Map([[{ page: 2, q: "pho" }, [7]]]) as never,
        );
        assert.deepEqual([...lists.values()], [[7]]);
        assert.deepEqual(await searches.get({ page: 2, q: "pho" }), [7]);
      }),
    );

    it(
      "throws when a loader gives only values of other ids, and remembers nothing as missing",
      onWire(async (t) => {
        const events: string[] = [];
        const client = t.make({ negativeTtl: "1h" });
        client.subscribe((event) => void (/error|unasked/.test(event.type) && events.push(event.type)));
        const cache = client.cache<string>();
        const other = () =>
          new Map([
            ["A", "upper"],
            ["B", "case"],
            ["", "no id"],
          ]);
        await assert.rejects(cache.getOrSetMany(["a", "b"], other), {
          name: "TypeError",
          message: /received 3 values of other ids, expected a Map by 2 ids asked for/,
        });
        assert.deepEqual(events, ["load-error", "load-error"]);
        const right = (ids: string[]) => new Map(ids.map((id) => [id, `${id}!`]));
        assert.deepEqual([...(await cache.getOrSetMany(["a", "b"], right)).values()], ["a!", "b!"]);
        // A Map that is empty, or says of each id that it has none, is an answer.
        assert.equal((await cache.getOrSetMany(["c"], () => new Map())).size, 0);
        assert.equal((await cache.getOrSetMany(["c"], () => assert.fail("it is known"))).size, 0);
        assert.equal(
          (
            await cache.getOrSetMany(
              ["d"],
              () =>
                new Map([
                  ["d", undefined],
                  ["D", "x"],
                ]),
            )
          ).size,
          0,
        );
        assert.equal((await cache.getOrSetMany(["d"], () => assert.fail("it is known"))).size, 0);
      }),
    );

    it(
      "reports values of other ids when ids got none, and does not remember those as missing",
      onWire(async (t) => {
        const told: unknown[] = [];
        const client = t.make({ negativeTtl: "1h" });
        client.subscribe((event) => {
          if (event.type === "load-unasked") told.push(event);
        });
        const cache = client.cache<string>();
        const some = () =>
          new Map([
            ["a", "1"],
            ["B", "2"],
            ["C", "3"],
          ]);
        assert.deepEqual([...(await cache.getOrSetMany(["a", "b"], some))], [["a", "1"]]);
        assert.deepEqual(told, [{ type: "load-unasked", missing: 1, unasked: 2, service: "cache", collection: "" }]);
        assert.deepEqual([...(await cache.getOrSetMany(["a", "b"], () => new Map([["b", "2"]])))].flat(), [
          "a",
          "1",
          "b",
          "2",
        ]);
        // What gives more than was asked for, and all of that, is fine; so is what gives what is there already.
        const all = () =>
          new Map([
            ["a", "1"],
            ["b", "2"],
            ["e", "5"],
            ["f", "6"],
          ]);
        assert.equal((await cache.getOrSetMany(["a", "e"], all)).size, 2);
        assert.equal((await cache.getOrSetMany(["a", "b", "e", "f", "none"], () => new Map([...all()]))).size, 4);
        assert.equal((await cache.getOrSetMany(["none"], () => assert.fail("it is known"))).size, 0);
        assert.equal(told.length, 1);
        // An object with `get` alone cannot be searched.
        assert.equal((await cache.getOrSetMany(["g"], () => ({ get: () => undefined }))).size, 0);
      }),
    );

    it(
      "runs the loader once for all missing ids, and returns values in the order of the ids",
      onWire(async ({ make }) => {
        const client = make();
        const cache = client.cache<string>();
        await cache.set(2, "two");
        const asked: unknown[] = [];
        const load = (ids: (string | number)[]) => {
          asked.push(ids);
          return new Map(ids.filter((id) => id !== "none").map((id) => [id, `loaded ${id}`]));
        };
        const before = client.stats().wire.roundTrips;
        const values = await cache.getOrSetMany([3, 2, "none", 1, 3], load, { ttl: "5m" });
        assert.deepEqual(asked, [[3, "none", 1]]);
        assert.deepEqual(
          [...values],
          [
            [3, "loaded 3"],
            [2, "two"],
            [1, "loaded 1"],
          ],
        );
        assert.equal(client.stats().wire.roundTrips - before, 2);
        assert.equal(client.stats().loads, 3);
        assert.ok(((await cache.ttl(3)) as number) <= 300);
        assert.deepEqual([...(await cache.getOrSetMany([1, 2, 3], () => assert.fail("all are there")))].length, 3);
        assert.deepEqual([...(await cache.getOrSetMany([], () => assert.fail("nothing is asked for")))], []);
      }),
    );

    it(
      "joins loads in flight, and lets two that overlap wait for each other without a deadlock",
      onWire(async ({ make }) => {
        const cache = make().cache<string>();
        const source = gate<string>();
        const started = gate();
        const single = cache.getOrSet("b", () => {
          started.open();
          return source.promise;
        });
        await started.promise;
        const asked: unknown[] = [];
        const load = async (ids: (string | number)[]) => {
          asked.push(ids);
          await sleep(1);
          return new Map(ids.map((id) => [id, `many ${id}`]));
        };
        const one = cache.getOrSetMany(["a", "b", "c"], load);
        const two = cache.getOrSetMany(["d", "c", "b", "a"], load);
        await eventually(() => asked.length === 2);
        assert.deepEqual(asked, [["a", "c"], ["d"]]);
        source.open("single b");
        assert.equal(await single, "single b");
        assert.deepEqual(Object.fromEntries(await one), { a: "many a", b: "single b", c: "many c" });
        assert.deepEqual(Object.fromEntries(await two), { d: "many d", c: "many c", b: "single b", a: "many a" });
        assert.deepEqual(await cache.getOrSet("c", () => assert.fail("it is there")), "many c");
      }),
    );

    it(
      "rejects once when the loader fails, and stores nothing",
      onWire(async ({ make }) => {
        const cache = make().cache<string>();
        await handlingAll(async () => {
          for (const thrown of [new Error("down"), undefined]) {
            let loads = 0;
            const load = () => {
              loads++;
              throw thrown;
            };
            const outcome = await cache.getOrSetMany(["a", "b", "c"], load).then(
              () => assert.fail("it answered"),
              (error) => error,
            );
            assert.equal(outcome, thrown);
            assert.equal(loads, 1);
          }
        });
        assert.deepEqual((await cache.getMany(["a", "b", "c"])).size, 0);
      }),
    );

    it(
      "renews stale values by the same run, keeps old ones when it fails, and remembers missing ones",
      onWire(async (t) => {
        const background = new Background();
        const cache = t.make({ waitUntil: background.waitUntil }).cache<string>();
        const options = { ttl: "1m", staleFor: "1h", failSafeFor: "2h", negativeTtl: "3h", tags: ["all"] } as const;
        const asked: unknown[] = [];
        const load = (ids: (string | number)[], context: LoadContext<string>) => {
          asked.push(ids);
          context.tags.push("by-loader");
          return new Map(ids.filter((id) => id !== "gone").map((id) => [id, `${id} ${asked.length}`]));
        };
        await cache.getOrSetMany(["a", "gone"], load, options);
        await background.done();
        t.now += MINUTE;
        assert.deepEqual(Object.fromEntries(await cache.getOrSetMany(["a", "b", "gone"], load, options)), {
          a: "a 1",
          b: "b 2",
        });
        await background.done();
        assert.deepEqual(asked, [
          ["a", "gone"],
          ["a", "b"],
        ]);
        assert.equal(await cache.get("a"), "a 2");
        t.now += MINUTE + HOUR;
        const down = () => {
          throw new Error("down");
        };
        assert.deepEqual(Object.fromEntries(await cache.getOrSetMany(["a", "b"], down, options)), {
          a: "a 2",
          b: "b 2",
        });
        await background.done();
        await cache.invalidateTags("by-loader");
        await assert.rejects(cache.getOrSetMany(["a", "b"], down, options), /down/);
      }),
    );

    it(
      "loads with lock: true, even when another process has stored one of the values since",
      onWire(async ({ make }) => {
        const [one, two] = [make().cache<string>(), make().cache<string>()];
        let runs = 0;
        const load = async (ids: (string | number)[]) => {
          runs++;
          await sleep(20);
          return new Map(ids.map((id) => [id, `${id}`]));
        };
        const ids = ["a", "b", "c", "d"];
        const [left, right] = await Promise.all([
          one.getOrSetMany(ids, load, { lock: true }),
          two.getOrSetMany(ids.toReversed(), load, { lock: true }),
        ]);
        const expected = { a: "a", b: "b", c: "c", d: "d" };
        assert.deepEqual(Object.fromEntries(left), expected);
        assert.deepEqual(Object.fromEntries(right), expected);
        assert.ok(runs <= 2, `${runs} runs`);
      }),
    );
  },
  AND_SHARDS,
);

describe("getOrSetMany", () => {
  it("runs its loader when another process stores one of the ids between the read and the lock", async () => {
    const driver = memory();
    const between = gate();
    let sends = 0;
    // The first send is the read; the second takes the locks.
    const slow: Driver = {
      ...driver,
      async send(...args) {
        if (++sends === 2) await between.promise;
        return driver.send(...args);
      },
    };
    await using one = createCacheClient({ env: {}, driver: slow, timeout: 5000 });
    await using two = createCacheClient({ env: {}, driver });
    const answer = one
      .cache<string>()
      .getOrSetMany(["a", "b"], (ids) => new Map(ids.map((id) => [id, `loaded ${id}`])), { lock: true });
    await eventually(() => sends === 2);
    await two.cache().set("a", "theirs");
    between.open();
    const values = await Promise.race([answer, sleep(5000, new Map())]);
    assert.deepEqual(Object.fromEntries(values), { a: "theirs", b: "loaded b" });
  });
});

describe("getOrSet when the store fails", () => {
  it("stores nothing that an invalidation during its load hit, even when its own read failed", async () => {
    const driver = memory();
    let away = false;
    const flaky: Driver = {
      ...driver,
      async send(...args) {
        if (away) throw new StoreError("connection", "away");
        return driver.send(...args);
      },
    };
    await using one = createCacheClient({ env: {}, driver: flaky, timeout: 5000, retries: 0 });
    await using two = createCacheClient({ env: {}, driver, timeout: 5000 });
    for (const known of [false, true]) {
      if (known) await one.cache().get("k");
      away = true;
      const source = gate<string>();
      const started = gate();
      const answer = one.cache<string>().getOrSet(
        "k",
        () => {
          started.open();
          return source.promise;
        },
        { tags: ["t"] },
      );
      await started.promise;
      away = false;
      await two.cache().invalidateTags("t");
      source.open("old");
      assert.equal(await answer, "old");
      assert.equal(await two.cache().get("k"), undefined);
      assert.equal(await one.cache().get("k"), undefined);
    }
  });
});

describe("options", () => {
  const LEVELS = ["1h", false, undefined] as const;

  /** Returns whether an entry is served when its TTL is over. */
  async function servesStale(
    levels: readonly (typeof LEVELS)[number][],
    make: (levels: readonly (typeof LEVELS)[number][]) => ClientOptions & { service: ReturnType<typeof declare> },
  ): Promise<boolean> {
    let now = 1_700_000_000_000;
    const { service, ...options } = make(levels);
    const background = new Background();
    await using client = createCacheClient({
      env: {},
      driver: memory(),
      clock: () => now,
      waitUntil: background.waitUntil,
      ...options,
    });
    const { things } = client.service(service);
    // A fail-safe time keeps it, whatever staleFor is.
    const call: GetOrSetOptions = { failSafeFor: "2h", ...(levels[3] !== undefined && { staleFor: levels[3] }) };
    await things.getOrSet("a", () => "old", call);
    await background.done();
    now += MINUTE;
    const value = await things.getOrSet("a", () => "new", call);
    await background.done();
    return value === "old";
  }

  function declare(service: object, own: object) {
    return defineService({
      name: "levels",
      database: 9,
      ...service,
      collections: { things: collection<string>({ key: "thing:{id}", ttl: "1m", ...own }) },
    });
  }

  const level = (staleFor: (typeof LEVELS)[number]) => (staleFor === undefined ? {} : { staleFor });
  const all = LEVELS.flatMap((a) => LEVELS.flatMap((b) => LEVELS.flatMap((c) => LEVELS.map((d) => [a, b, c, d]))));

  it("of the call beat those of the collection, service and client, and false is one of them", async () => {
    for (const levels of all) {
      const expected = levels.findLast((one) => one !== undefined) === "1h";
      const declared = await servesStale(levels, ([client, service, own]) => ({
        ...level(client),
        service: declare(level(service), level(own)),
      }));
      assert.equal(declared, expected, `declared ${JSON.stringify(levels)}`);
      const laid = await servesStale(levels, ([client, service, own]) => ({
        ...level(client),
        service: withOptions(declare({ staleFor: "3h" }, {}), {
          staleFor: service ?? client ?? false,
          collections: { things: level(own) },
        }),
      }));
      assert.equal(laid, expected, `withOptions ${JSON.stringify(levels)}`);
    }
  });

  it("are refused by name when they are bad, wherever they are given", async () => {
    const driver = memory();
    await using client = createCacheClient({ env: {}, driver });
    const cache = client.cache<number>();
    const bad: [GetOrSetOptions, RegExp][] = [
      [{ staleFor: -1 }, /staleFor: received -1/],
      [{ failSafeFor: "soon" as "1s" }, /failSafeFor: received "?soon/],
      [{ softTimeout: 0 }, /softTimeout: received 0/],
      [{ hardTimeout: Number.NaN }, /hardTimeout: received NaN/],
      [{ earlyRefresh: -1 }, /earlyRefresh: received -1/],
      [{ negativeTtl: 0 }, /negativeTtl: received 0/],
      [{ lock: { ttl: "0s" } }, /lock\.ttl/],
      [{ lock: { wait: -5 } }, /lock\.wait/],
      [{ tags: "t" as never }, /tags/],
      [{ jitter: 2 }, /jitter: received 2/],
    ];
    for (const [options, message] of bad) {
      const load = () => assert.fail("it ran");
      await assert.rejects(cache.getOrSet("k", load, options), message);
      await assert.rejects(cache.getOrSetMany(["k"], load, options), message);
      assert.throws(() => declare({}, options), message);
      assert.throws(() => withOptions(declare({}, {}), options as CacheDefaults), message);
    }
    await assert.rejects(
      cache.getOrSet("k", () => 1, { tags: [""] }),
      /Cannot use a tag/,
    );
    assert.equal(await cache.getOrSet("k", () => 2), 2);
  });
});
