import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as v from "valibot";
import { memory } from "../drivers/memory.ts";
import {
  type CacheEvent,
  CacheLockError,
  type ClientOptions,
  collection,
  createCacheClient,
  type Driver,
  defineService,
  StoreError,
} from "../mod.ts";
import type { LoadLockOptions } from "../src/config/policy.ts";
import { AND_SHARDS, gate, handlingAll, onWires } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";
import { type Running, startFixture } from "./helpers/run.ts";

const LIMIT = { timeout: 60_000 };

const kitchen = defineService({
  name: "kitchen",
  database: 9,
  lock: { ttl: "1m", wait: "50s" },
  collections: {
    dishes: collection<string>({ key: "dish:{id}", tags: ["dishes"] }),
    strict: collection({ key: "strict:{id}", schema: v.object({ name: v.string() }) }),
    versions: collection<string>({ key: "version:{id}", version: 2 }),
    timed: collection<string>({ key: "timed:{id}", ttl: "1h", failSafeFor: "2h" }),
  },
});

/** Runs a file of test/fixtures with an object. */
function fixture(name: string, about: object): Running {
  return startFixture(name, JSON.stringify(about));
}

/** Runs test/fixtures/locker.ts. */
function locker(about: {
  options: ClientOptions;
  processes: number;
  callers: number;
  takes: number;
  lock: LoadLockOptions;
}): Running {
  return fixture("locker", about);
}

/** A store that answers nothing until it is thawed. */
function freezer(): { readonly driver: Driver; freeze(): void; thaw(): void } {
  const store = memory();
  let ice: ReturnType<typeof gate<void>> | undefined;
  return {
    driver: {
      ...store,
      async send(...args) {
        await ice?.promise;
        return store.send(...args);
      },
    },
    freeze() {
      ice = gate();
    },
    thaw() {
      ice?.open();
      ice = undefined;
    },
  };
}

/** Returns whether a promise is still pending after a while. */
async function waits(promise: Promise<unknown>, ms = 50): Promise<boolean> {
  const pending = Symbol();
  return (await Promise.race([promise, sleep(ms, pending)])) === pending;
}

onWires(
  "getOrSet with a lock",
  (onWire) => {
    it(
      "runs one loader for the callers of two processes",
      onWire(async ({ make }) => {
        const clients = [make(), make()];
        const events: CacheEvent["type"][] = [];
        for (const client of clients) client.subscribe(({ type }) => events.push(type));
        let loads = 0;
        const load = async () => {
          loads++;
          await sleep(50);
          return `load ${loads}`;
        };
        const calls = clients.flatMap((client) =>
          Array.from({ length: 100 }, () => client.cache<string>().getOrSet("k", load, { lock: true })),
        );
        assert.deepEqual(new Set(await Promise.all(calls)), new Set(["load 1"]));
        assert.equal(loads, 1);
        assert.equal(events.filter((type) => type === "lock-wait").length, 1);
        assert.equal(events.filter((type) => type === "lock-lost").length, 0);
      }),
    );

    it(
      "renews its lock while the loader runs longer than it lasts, and gives it up at the end",
      onWire(async (t) => {
        const [one, two] = [t.make(), t.make()];
        const events: CacheEvent["type"][] = [];
        one.subscribe(({ type }) => events.push(type));
        const lock = { ttl: "800ms", wait: "50s" } as const;
        const source = gate<string>();
        const started = gate();
        const load = () => {
          started.open();
          return source.promise;
        };
        const first = one.cache<string>().getOrSet("k", load, { lock });
        await started.promise;
        const second = two.cache<string>().getOrSet("k", () => "second", { lock });
        assert.equal(await waits(second, 1200), true);
        source.open("first");
        assert.deepEqual([await first, await second], ["first", "first"]);
        await sleep(150);
        assert.equal(events.includes("lock-lost"), false);
        assert.equal(await t.raw(0, "EXISTS", "#larder:lock:k"), 0);
      }),
    );

    it(
      "takes the lock over when the wait was too long, and returns the late value without storing it",
      onWire(async ({ make }) => {
        const [one, two] = [make().cache<string>(), make().cache<string>()];
        const source = gate<string>();
        const started = gate();
        const first = one.getOrSet(
          "k",
          () => {
            started.open();
            return source.promise;
          },
          { lock: true },
        );
        await started.promise;
        assert.equal(await two.getOrSet("k", () => "second", { lock: { wait: "30ms" } }), "second");
        source.open("first");
        assert.equal(await first, "first");
        assert.equal(await one.get("k"), "second");
      }),
    );

    it(
      "does not undo another's deletion by a load that waited in vain, nor by an early one",
      onWire(async (t) => {
        const [one, two] = [t.make().service(kitchen), t.make().service(kitchen)];
        const [first, second] = [gate<string>(), gate<string>()];
        const started = gate();
        const holding = one.dishes.getOrSet("d", () => {
          started.open();
          return first.promise;
        });
        await started.promise;
        const begun = gate();
        const load = () => {
          begun.open();
          return second.promise;
        };
        const loading = two.dishes.getOrSet("d", load, { lock: { wait: "1ms" } });
        await begun.promise;
        await one.dishes.delete("d");
        second.open("late");
        first.open("later");
        assert.deepEqual([await loading, await holding], ["late", "later"]);
        assert.equal(await one.dishes.get("d"), undefined);

        const { random } = Math;
        Math.random = () => 0.5;
        try {
          const options = { ttl: "1h", failSafeFor: "1h", earlyRefresh: true } as const;
          await one.dishes.getOrSet("early", () => sleep(30, "old"), options);
          t.now += 3_599_999;
          const renewing = gate();
          const source = gate<string>();
          assert.equal(
            await one.dishes.getOrSet(
              "early",
              () => {
                renewing.open();
                return source.promise;
              },
              options,
            ),
            "old",
          );
          await renewing.promise;
          assert.equal(await two.dishes.delete("early"), 1);
          source.open("late");
          await eventually(async () => (await t.raw(9, "EXISTS", "#larder:lock:early")) === 0);
          await sleep(20);
          assert.equal(await two.dishes.get("early"), undefined);
        } finally {
          Math.random = random;
        }
      }),
    );

    it(
      "gives the lock up when it has nothing to store, so that the next caller loads at once",
      onWire(async (t) => {
        const [one, two] = [t.make().cache<string>(), t.make().cache<string>()];
        const lock = { ttl: "50s", wait: "50s" } as const;
        let nth = 0;
        const ends: [string, (context: { store: boolean }) => unknown][] = [
          ["throws", () => Promise.reject(new Error("down"))],
          ["throws a falsy value", () => Promise.reject()],
          ["gives undefined", () => undefined],
          ["stores not", (context) => (context.store = false)],
          ["gives what cannot be stored", () => () => 1],
          ["hangs", () => new Promise(() => {})],
        ];
        for (const [name, end] of ends) {
          const key = `k${nth++}`;
          const started = gate();
          const finish = gate();
          const first = one.getOrSet(
            key,
            async (context) => {
              started.open();
              await finish.promise;
              return (await end(context)) as string;
            },
            { lock, hardTimeout: name === "hangs" ? 100 : false },
          );
          first.catch(() => {});
          await started.promise;
          const second = two.getOrSet(key, () => "second", { lock });
          finish.open();
          assert.equal(await waits(second, 10_000), false, name);
          assert.equal(await second, "second", name);
          assert.equal(await one.get(key), "second", name);
          await first.catch(() => {});
          assert.equal(await t.raw(0, "EXISTS", `#larder:lock:${key}`), 0, name);
        }
      }),
    );

    it(
      "does not undo what another process wrote, deleted or invalidated since",
      onWire(async (t) => {
        const [one, two] = [t.make().service(kitchen), t.make().service(kitchen)];
        const changes: [string, () => Promise<unknown>, string | undefined][] = [
          ["delete", () => two.dishes.delete("d"), undefined],
          ["delete of several", () => two.dishes.delete(["c", "d"]), undefined],
          ["set", () => two.dishes.set("d", "theirs"), "theirs"],
          ["setMany", () => two.dishes.setMany([["d", "theirs"]]), "theirs"],
          ["update", () => two.dishes.update("d", () => "theirs"), "theirs"],
          ["invalidateTags", () => two.invalidateTags("dishes"), undefined],
          ["invalidateAll", () => two.invalidateAll(), undefined],
          ["set, then delete", () => two.dishes.set("d", "theirs").then(() => two.dishes.delete("d")), undefined],
        ];
        for (const [name, change, expected] of changes) {
          await one.dishes.delete("d");
          const source = gate<string>();
          const started = gate();
          const answer = one.dishes.getOrSet("d", () => {
            started.open();
            return source.promise;
          });
          await started.promise;
          await change();
          source.open("late");
          assert.equal(await answer, "late", name);
          assert.deepEqual([await one.dishes.get("d"), await two.dishes.get("d")], [expected, expected], name);
          assert.equal(await two.dishes.getOrSet("d", () => "again"), expected ?? "again", name);
        }
      }),
    );

    it(
      "does not wait for a value when the stored entry is of no use",
      onWire(async (t) => {
        const service = t.make().service(kitchen);
        const soon = async <T>(call: Promise<T>): Promise<T> => {
          assert.equal(await waits(call, 20_000), false, "it waits for a lock that is free");
          return call;
        };
        await service.cache.set("strict:1", { title: "of another schema" });
        assert.deepEqual(await soon(service.strict.getOrSet(1, () => ({ name: "Pho" }))), { name: "Pho" });
        assert.deepEqual(await service.strict.get(1), { name: "Pho" });
        await service.cache.set("version:1", "of version 1");
        assert.equal(await soon(service.versions.getOrSet(1, () => "of version 2")), "of version 2");
        await t.raw(9, "SET", "version:2", "garbage");
        assert.equal(await soon(service.versions.getOrSet(2, () => "good")), "good");
        await service.timed.set(1, "of the future");
        t.now -= 3_600_000;
        assert.equal(await soon(service.timed.getOrSet(1, () => "of now")), "of now");
        assert.equal(await service.timed.get(1), "of now");
      }),
    );

    it(
      "returns a value that another process stored while the old one was found useless",
      onWire(async (t) => {
        const [one, two] = [t.make().service(kitchen), t.make().service(kitchen)];
        await one.cache.set("strict:1", { title: "of another schema" });
        const source = gate<{ name: string }>();
        const started = gate();
        const first = one.strict.getOrSet(1, () => {
          started.open();
          return source.promise;
        });
        await started.promise;
        const second = two.strict.getOrSet(1, () => assert.fail("it loads"));
        assert.equal(await waits(second), true);
        source.open({ name: "Pho" });
        assert.deepEqual([await first, await second], [{ name: "Pho" }, { name: "Pho" }]);
      }),
    );
  },
  AND_SHARDS,
);

describe("getOrSet with a lock", () => {
  it("does not undo a deletion whose commands its write comes between", LIMIT, async () => {
    const driver = memory();
    const source = gate<string>();
    let between: (() => Promise<unknown>) | undefined;
    // A server runs the commands of a pipeline in their order, and others' in between.
    const server: Driver = {
      ...driver,
      async send(database, commands) {
        const replies = [];
        for (const command of commands) {
          replies.push(...(await driver.send(database, [command])));
          if (command[0] === "UNLINK" && between) await between();
          between = command[0] === "UNLINK" ? undefined : between;
        }
        return replies;
      },
    };
    await using one = createCacheClient({ env: {}, driver });
    await using two = createCacheClient({ env: {}, driver: server });
    const started = gate();
    const answer = one.service(kitchen).dishes.getOrSet("d", () => {
      started.open();
      return source.promise;
    });
    await started.promise;
    between = () => {
      source.open("late");
      return answer;
    };
    await two.service(kitchen).dishes.delete("d");
    assert.equal(await answer, "late");
    assert.equal(await two.service(kitchen).dishes.get("d"), undefined);
  });

  it("loads all the same when the store is away", async () => {
    const driver = memory();
    await driver.close();
    await using client = createCacheClient({ env: {}, driver });
    const events: CacheEvent["type"][] = [];
    client.subscribe(({ type }) => events.push(type));
    assert.equal(await client.cache<number>().getOrSet("k", () => 1, { lock: true }), 1);
    assert.ok(events.includes("error"));
  });
});

onWires(
  "getOrSet of several processes",
  (onWire) => {
    it(
      "runs one loader for all of their callers",
      onWire(async ({ make, options }) => {
        const about = { options, processes: 3, callers: 100, takes: 200, lock: { wait: "50s" } } as const;
        const children = Array.from({ length: about.processes }, () => locker(about));
        const ended = await Promise.all(children.map((child) => child.ended));
        for (const { code, stderr } of ended) assert.equal(code, 0, stderr);
        const found = ended.map(({ stdout }) => JSON.parse(stdout) as { pid: number; loads: number; values: number[] });
        const loader = found.filter(({ loads }) => loads > 0);
        assert.deepEqual(
          loader.map(({ loads }) => loads),
          [1],
        );
        for (const { values } of found) assert.deepEqual(values, [loader[0]?.pid]);
        assert.equal(await make().cache().get("loading"), 1);
      }),
    );

    it(
      "replaces a holder that was killed when its lock is over, not before",
      onWire(async ({ make, options }) => {
        const lock = { ttl: "1s", wait: "50s" } as const;
        const child = locker({ options, processes: 1, callers: 1, takes: 1e9, lock });
        try {
          const cache = make().cache<number>();
          await eventually(async () => (await cache.get("loading")) === 1);
          let loads = 0;
          const load = () => {
            loads++;
            return -1;
          };
          const calls = Array.from({ length: 50 }, () => cache.getOrSet("k", load, { lock }));
          assert.equal(await waits(Promise.race(calls), 2500), true);
          assert.equal(loads, 0);
          await child.stop();
          assert.deepEqual(new Set(await Promise.all(calls)), new Set([-1]));
          assert.equal(loads, 1);
          assert.equal(await cache.get("k"), -1);
        } finally {
          await child.stop();
        }
      }),
    );
  },
  ["TCP", "REST"],
);

onWires(
  "withLock",
  (onWire) => {
    it(
      "lets in one at a time, with fencing tokens that grow",
      onWire(async ({ make }) => {
        const caches = [make().cache<number>(), make().cache<number>()];
        const tokens: number[] = [];
        let inside = 0;
        const tasks = Array.from({ length: 16 }, (_, i) =>
          (caches[i % 2] as (typeof caches)[0]).withLock(
            "k",
            async ({ token, signal }) => {
              assert.equal(++inside, 1);
              tokens.push(token);
              await sleep(2);
              assert.equal(signal.aborted, false);
              inside--;
              return i;
            },
            { wait: "50s" },
          ),
        );
        assert.deepEqual(await Promise.all(tasks), [...Array(16).keys()]);
        assert.equal(tokens.length, 16);
        for (let i = 1; i < tokens.length; i++)
          assert.ok((tokens[i] as number) > (tokens[i - 1] as number), `${tokens}`);
        const other = await caches[0]?.withLock("other", ({ token }) => token);
        assert.ok((other as number) > Math.max(...tokens));
        assert.equal(await caches[1]?.get("k"), undefined);
      }),
    );

    it(
      "holds the lock beyond its ttl while the function runs, and gives it up however that ends",
      onWire(async (t) => {
        const [one, two] = [t.make().cache(), t.make().cache()];
        const done = gate();
        const held = gate();
        const holding = one.withLock(
          "k",
          async ({ signal }) => {
            held.open();
            await done.promise;
            return signal.aborted;
          },
          { ttl: "800ms" },
        );
        await held.promise;
        await sleep(1200);
        await assert.rejects(
          two.withLock("k", () => assert.fail("it ran"), { wait: false }),
          (error) => error instanceof CacheLockError && /Cannot lock "?k"?/.test(error.message),
        );
        done.open();
        assert.equal(await holding, false);
        assert.equal(await two.withLock("k", () => "mine", { wait: false }), "mine");
        for (const thrown of [new Error("own"), undefined, 0]) {
          const failing = two.withLock("k", () => {
            throw thrown;
          });
          assert.equal(
            await failing.then(
              () => assert.fail("it answered"),
              (error) => error,
            ),
            thrown,
          );
        }
        assert.equal(await one.withLock("k", async () => "again", { wait: false }), "again");
        assert.equal(await t.raw(0, "EXISTS", "#larder:held:k"), 0);
      }),
    );

    it(
      "throws a CacheLockError when the wait is over, and takes the lock when it is free before that",
      onWire(async (t) => {
        const [one, two] = [t.make().cache(), t.make()];
        const events: CacheEvent["type"][] = [];
        two.subscribe(({ type }) => events.push(type));
        const done = gate();
        const held = gate();
        const holding = one.withLock("k", () => {
          held.open();
          return done.promise;
        });
        await held.promise;
        const start = performance.now();
        await assert.rejects(
          two.cache().withLock("k", () => 1, { wait: "200ms" }),
          CacheLockError,
        );
        assert.ok(performance.now() - start >= 190);
        assert.deepEqual(events, ["lock-wait"]);
        const waiting = two.cache().withLock("k", () => "mine", { wait: "50s" });
        assert.equal(await waits(waiting), true);
        done.open();
        await holding;
        assert.equal(await waiting, "mine");
      }),
    );

    it(
      "aborts its signal when the lock is lost, and does not take another's away",
      onWire(async (t) => {
        const client = t.make();
        const events: CacheEvent["type"][] = [];
        client.subscribe(({ type }) => events.push(type));
        const reason = await client.cache().withLock(
          "k",
          async ({ signal }) => {
            await t.raw(0, "SET", "#larder:held:k", "another's");
            await eventually(() => signal.aborted);
            return signal.reason;
          },
          { ttl: "60ms" },
        );
        assert.ok(reason instanceof CacheLockError && /^Lost the lock of /.test(reason.message), String(reason));
        assert.deepEqual(events, ["lock-lost"]);
        assert.equal(await t.raw(0, "GET", "#larder:held:k"), "another's");
      }),
    );

    it(
      "aborts its signal before the function continues when the process was paused for too long",
      onWire(async (t) => {
        let told = false;
        const aborted = await t
          .make()
          .cache()
          .withLock(
            "k",
            async ({ signal }) => {
              signal.addEventListener("abort", () => {
                told = true;
              });
              setTimeout(() => {
                for (const end = performance.now() + 700; performance.now() < end; );
              }, 10);
              await sleep(400);
              return [told, signal.aborted];
            },
            { ttl: "500ms" },
          );
        assert.deepEqual(aborted, [true, true]);
      }),
    );

    it(
      "locks the ids of collections apart from their values, and refuses bad options",
      onWire(async ({ make }) => {
        const { dishes } = make().service(kitchen);
        await dishes.withLock("a:b", async () => {
          await dishes.set("a:b", "soup");
          assert.equal(await dishes.withLock("a", () => "other id", { wait: false }), "other id");
          assert.equal(await dishes.getOrSet("a", () => "loaded"), "loaded");
          assert.equal(await dishes.delete("a:b"), 1);
          await assert.rejects(
            dishes.withLock("a:b", () => 1, { wait: false }),
            CacheLockError,
          );
        });
        const run = () => assert.fail("it ran");
        await assert.rejects(dishes.withLock("a", run, { ttl: 0 }), /lock ttl: received 0/);
        await assert.rejects(dishes.withLock("a", run, { wait: "never" as "1s" }), /wait: received "?never/);
        await assert.rejects(dishes.withLock("", run), /expected/);
      }),
    );
  },
  AND_SHARDS,
);

onWires(
  "withLock of a process that was stopped",
  (onWire) => {
    it(
      "aborts its signal before the function continues",
      onWire(async ({ options }) => {
        const { code, stdout, stderr } = await fixture("stopped", options).ended;
        assert.equal(code, 0, stderr);
        assert.deepEqual(JSON.parse(stdout), { aborted: true });
      }),
    );
  },
  existsSync("/proc/self/status") ? ["TCP"] : [],
);

describe("a lock by the clocks of its holder", () => {
  it(
    "is lost at once to who looks when the system's clock says that its TTL is over, and to who listens soon",
    LIMIT,
    async () => {
      const store = freezer();
      let now = 1_700_000_000_000;
      await using client = createCacheClient({ env: {}, driver: store.driver, clock: () => now, breaker: false });
      const cache = client.cache();
      await cache.withLock(
        "k",
        async ({ signal }) => {
          store.freeze();
          assert.equal(signal.aborted, false);
          signal.throwIfAborted();
          // Set back, it says nothing.
          now -= 3_600_000;
          assert.equal(signal.aborted, false);
          now += 3_600_000 + 10_000;
          assert.equal(signal.aborted, true);
          assert.throws(() => signal.throwIfAborted(), CacheLockError);
          store.thaw();
        },
        { ttl: "10s" },
      );
      await cache.withLock(
        "k",
        async ({ signal }) => {
          let told: unknown;
          signal.addEventListener("abort", () => {
            told = signal.reason;
          });
          store.freeze();
          now += 300;
          await eventually(() => told !== undefined);
          assert.ok(told instanceof CacheLockError);
          store.thaw();
        },
        { ttl: "300ms" },
      );
      let kept: AbortSignal | undefined;
      await cache.withLock("k", ({ signal }) => {
        kept = signal;
      });
      now += 60_000;
      assert.equal(kept?.aborted, false, "it was given up, not lost");
    },
  );

  it(
    "is lost when its TTL is over, not at the deadline of a renewal, while the store answers nothing",
    LIMIT,
    async () => {
      const store = freezer();
      await using client = createCacheClient({ env: {}, driver: store.driver, timeout: 50_000, breaker: false });
      const lost: string[] = [];
      client.subscribe((event) => event.type === "lock-lost" && lost.push(event.key));
      const start = performance.now();
      const aborted = await client.cache().withLock(
        "held",
        async ({ signal }) => {
          store.freeze();
          await eventually(() => lost.includes("held"));
          store.thaw();
          return signal.aborted;
        },
        { ttl: "100ms" },
      );
      assert.equal(aborted, true);
      const load = async () => {
        store.freeze();
        await eventually(() => lost.includes("loaded"));
        store.thaw();
        return "value";
      };
      assert.equal(await client.cache().getOrSet("loaded", load, { lock: { ttl: "100ms" } }), "value");
      assert.ok(performance.now() - start < 40_000);
    },
  );
});

describe("withLock", () => {
  it("throws a StoreError when the store is away, whatever onError says, and does not run", async () => {
    const driver = memory();
    await driver.close();
    await using client = createCacheClient({ env: {}, driver, onError: "miss" });
    await assert.rejects(
      client.cache().withLock("k", () => assert.fail("it ran")),
      StoreError,
    );
  });

  it("aborts its signal when the store is away for as long as the lock lasts", LIMIT, async () => {
    const driver = memory();
    let away = false;
    const flaky: Driver = {
      ...driver,
      async send(...args) {
        if (away) throw new StoreError("connection", "away");
        return driver.send(...args);
      },
    };
    await using client = createCacheClient({ env: {}, driver: flaky, breaker: false });
    await handlingAll(async () => {
      const aborted = await client.cache().withLock(
        "k",
        async ({ signal }) => {
          away = true;
          await eventually(() => signal.aborted);
          return signal.aborted;
        },
        { ttl: "90ms" },
      );
      assert.equal(aborted, true);
    });
    away = false;
    assert.equal(await client.cache().withLock("k", () => 1), 1);
  });
});
