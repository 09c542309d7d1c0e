import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { memory } from "../drivers/memory.ts";
import {
  type Cache,
  type CacheClient,
  type CacheEvent,
  collection,
  createCacheClient,
  defineService,
  type NearOptions,
  type PlainId,
  type ServiceOf,
} from "../mod.ts";
import type { Id } from "../src/entry/keyspace.ts";
import { AND_SHARDS, type Case, gate, onWires } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";
import { type FaultProxy, startProxy } from "./helpers/proxy.ts";
import { before7, type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";

interface Dish {
  readonly n: number;
}
type Dishes = Cache<PlainId, Dish>;

/** Services of the same two collections, dishes among them near. */
function shop(near: boolean | NearOptions = true, name = "shop", database = 9) {
  return defineService({
    name,
    database,
    collections: {
      dishes: collection<Dish>({ key: "dish:{id}", near }),
      searches: collection<Dish, Dish, true>({ key: "search:{hash}", hashed: true, near }),
      plain: collection<Dish>({ key: "plain:{id}" }),
    },
  });
}

const SHOP = shop();
const BAR = shop(true, "bar", 10);
const MENU = { tags: ["menu"] };

/** Reads until the near cache answers; fails when it never does. */
async function keptNear<K extends Id>(
  client: CacheClient,
  dishes: { get(id: K): Promise<unknown> },
  id: K = "a" as never,
): Promise<void> {
  await eventually(async () => {
    const { nearHits } = client.stats();
    await dishes.get(id);
    return client.stats().nearHits > nearHits;
  });
}

/** The source of a value: the near cache, or the store. */
async function from<T>(client: CacheClient, read: () => Promise<T>): Promise<["near" | "store", T]> {
  const { nearHits } = client.stats();
  const value = await read();
  return [client.stats().nearHits > nearHits ? "near" : "store", value];
}

/** Two processes on one store, of which the first has a value near. */
async function two({ make }: Pick<Case, "make">, service = SHOP, options = {}) {
  const [one, other] = [make(), make()];
  const events: CacheEvent[] = [];
  one.subscribe((event) => events.push(event));
  const [dishes, others] = [one.service(service).dishes as Dishes, other.service(service).dishes as Dishes];
  assert.equal(await others.set("a", { n: 1 }, options), true);
  await keptNear(one, dishes);
  return { one, other, dishes, others, shops: [one.service(service), other.service(service)] as const, events };
}

/** Changes by another process, and the value to be read after each. */
const CHANGES: Readonly<
  Record<string, (others: Dishes, shop: ReturnType<typeof two> extends Promise<infer T> ? T : never) => unknown>
> = {
  set: (others) => others.set("a", { n: 2 }),
  setMany: (others) => others.setMany([["a", { n: 2 }]]),
  update: (others) => others.update("a", () => ({ n: 2 })),
  delete: (others) => others.delete("a"),
  deletePattern: (others) => others.deletePattern("a*"),
  clear: (others) => others.clear(),
  "invalidateTags of its service": (_, { shops }) => shops[1].invalidateTags(["other", "menu"]),
  invalidateAll: (others) => others.invalidateAll(),
  "getOrSet that finds it gone": async (others) => {
    await others.delete("a");
    await others.getOrSet("a", () => ({ n: 2 }));
  },
};

onWires(
  "a near cache with invalidation messages",
  (onWire) => {
    for (const [verb, change] of Object.entries(CHANGES)) {
      it(
        `drops a value when another process changes it by ${verb}`,
        onWire(async (t) => {
          const all = await two(t, SHOP, MENU);
          const { one, other, dishes, others, events } = all;
          await change(others, all);
          const now = await others.get("a", { near: false });
          await eventually(async () => (await dishes.get("a"))?.n === now?.n);
          assert.deepEqual(await dishes.get("a"), now);
          assert.deepEqual(
            events.flatMap((event) => (event.type === "near-invalidate" ? [[event.reason, event.collection]] : [])),
            [["change", "dishes"]],
          );
          // It is coherent from then on as well.
          await others.set("a", { n: 7 });
          await eventually(async () => (await dishes.get("a"))?.n === 7);
          await keptNear(one, dishes);
          assert.equal(other.stats().errors + one.stats().errors, 0);
        }),
      );

      it(
        `drops a value at once when its own process changes it by ${verb}`,
        onWire(async (t) => {
          const all = await two(t, SHOP, MENU);
          const { one, dishes } = all;
          await change(dishes, { ...all, shops: [all.shops[1], all.shops[0]] });
          const now = await dishes.get("a", { near: false });
          assert.ok(now === undefined || now.n === 2);
          assert.deepEqual(await dishes.get("a"), now);
          assert.ok(one.stats().nearHits > 0);
        }),
      );
    }

    it(
      "drops everything when the store is flushed",
      onWire(async (t) => {
        const { dishes, events } = await two(t);
        await t.raw(9, "FLUSHALL", "ASYNC");
        await eventually(async () => (await dishes.get("a")) === undefined);
        const told = events.filter((event) => event.type === "near-invalidate");
        assert.deepEqual(told, [
          { type: "near-invalidate", entries: 1, reason: "change", service: "shop", collection: "dishes" },
        ]);
      }),
    );

    it(
      "drops a value when the store evicts it or it gets another TTL",
      onWire(async (t) => {
        const { dishes, others, one } = await two(t);
        assert.equal(await others.expire("a", "50ms"), true);
        await eventually(async () => {
          // The embedded store does not tell of what is over before somebody looks.
          t.now += 5;
          return (await dishes.get("a")) === undefined;
        });
        await others.set("b", { n: 1 });
        await keptNear(one, dishes, "b");
        await others.set("b", { n: 2 }, { ttl: "1s" });
        await eventually(async () => (await dishes.get("b"))?.n === 2);
      }),
    );

    it(
      "serves each value when ids are of equal text or objects",
      onWire(async (t) => {
        const { one, other, dishes, others } = await two(t);
        for (const [i, id] of [7, "phở:1", "*", 8n].entries()) {
          await others.set(id, { n: i });
          await keptNear(one, dishes, id);
          assert.deepEqual(await from(one, () => dishes.get(id)), ["near", { n: i }]);
        }
        assert.deepEqual(await from(one, () => dishes.get("7")), ["near", { n: 0 }]);
        await other.service(SHOP).dishes.delete(7);
        await eventually(async () => (await dishes.get("7")) === undefined);
        assert.deepEqual(await from(one, () => dishes.get("phở:1")), ["near", { n: 1 }]);
        const searches = one.service(SHOP).searches;
        await searches.set({ q: "pho", page: 2 }, { n: 5 });
        await keptNear(one, searches, { q: "pho", page: 2 });
        assert.deepEqual(await from(one, () => searches.get({ page: 2, q: "pho" })), ["near", { n: 5 }]);
        await other.service(SHOP).searches.delete({ page: 2, q: "pho" });
        await eventually(async () => (await searches.get({ q: "pho", page: 2 })) === undefined);
      }),
    );
  },
  ["memory", "TCP"],
);

onWires(
  "a near cache",
  (onWire, wire) => {
    it(
      "is off when no option turns it on",
      onWire(async ({ make }) => {
        const client = make();
        const caches = [client.service("product").products, client.cache()] as unknown as Dishes[];
        for (const cache of caches) {
          await cache.set("1", { id: "1", name: "Pho", n: 1 } as Dish);
          const { roundTrips } = client.stats().wire;
          for (let i = 0; i < 3; i++) assert.equal((await cache.get("1"))?.n, 1);
          assert.equal(client.stats().wire.roundTrips, roundTrips + 3);
        }
        assert.equal(client.stats().nearHits, 0);
      }),
    );

    it(
      "serves get, getMany, getOrSet and getOrSetMany frozen values when they are kept",
      onWire(async (t) => {
        const { one, dishes, events } = await two(t);
        const { roundTrips } = one.stats().wire;
        const value = await dishes.get("a");
        assert.ok(Object.isFrozen(value));
        assert.equal((await dishes.getMany(["a"])).get("a"), value);
        assert.equal(await dishes.getOrSet("a", () => assert.fail("it is near")), value);
        assert.equal((await dishes.getOrSetMany(["a"], () => assert.fail("it is near"))).get("a"), value);
        assert.equal(one.stats().wire.roundTrips, roundTrips);
        const last = { type: "hit", key: "dish:a", near: true, service: "shop", collection: "dishes" };
        assert.deepEqual(events.slice(-4), [last, last, last, last]);
        const { hits, nearHits } = one.service(SHOP).dishes.stats();
        assert.ok(nearHits >= 5 && hits >= nearHits);
      }),
    );

    it(
      "is passed by when a call has near: false, and keeps nothing that is missing or too old",
      onWire(async (t) => {
        const { one, dishes } = await two(t);
        const there = { near: false };
        assert.deepEqual(await from(one, () => dishes.get("a", there)), ["store", { n: 1 }]);
        assert.deepEqual(await from(one, () => dishes.getMany(["a"], there)), ["store", new Map([["a", { n: 1 }]])]);
        assert.deepEqual(await from(one, () => dishes.getOrSet("a", () => ({ n: 9 }), there)), ["store", { n: 1 }]);
        assert.deepEqual(await from(one, () => dishes.getOrSetMany(["a"], () => new Map(), there)), [
          "store",
          new Map([["a", { n: 1 }]]),
        ]);
        for (let i = 0; i < 3; i++) assert.deepEqual(await from(one, () => dishes.get("none")), ["store", undefined]);
      }),
    );

    it(
      "gives every reader a copy when clone is set",
      onWire(async (t) => {
        const { one, dishes, others } = await two(t, shop({ clone: true }));
        const value = (await dishes.get("a")) as { n: number };
        value.n = 5;
        assert.deepEqual(await from(one, () => dishes.get("a")), ["near", { n: 1 }]);
        assert.deepEqual(await others.get("a"), { n: 1 });
      }),
    );

    it(
      "keeps no more than its bounds when more entries are read",
      onWire(async (t) => {
        const bounds = [
          [shop({ maxEntries: 3 }), 3],
          [shop({ maxBytes: 100 }), 8],
        ] as const;
        for (const [service, most] of bounds) {
          const { one, dishes, others } = await two(t, service);
          const ids = Array.from({ length: 40 }, (_, i) => `k${i}`);
          await others.setMany(ids.map((id) => [id, { n: 1 }]));
          await dishes.getMany(ids);
          // An own drop of a key that is not there, told late, must not spoil the count.
          await sleep(20);
          await dishes.getMany(ids);
          const before = one.stats().nearHits;
          await dishes.getMany(ids);
          const near = one.stats().nearHits - before;
          assert.ok(near <= most, `${near} of ${most}`);
          await keptNear(one, dishes, "k1");
        }
      }),
    );

    it(
      "drops a value when its own ttl or the entry's is over",
      onWire(async (t) => {
        const { one, dishes, others } = await two(t, shop({ ttl: "2s" }));
        t.now += 1900;
        assert.deepEqual(await from(one, () => dishes.get("a")), ["near", { n: 1 }]);
        t.now += 100;
        assert.deepEqual(await from(one, () => dishes.get("a")), ["store", { n: 1 }]);
        await others.set("b", { n: 1 }, { ttl: "1s", staleFor: "1h" });
        await keptNear(one, dishes, "b");
        t.now += 1000;
        assert.deepEqual(await from(one, () => dishes.get("b")), ["store", undefined]);
      }),
    );

    it(
      "keeps no value when its key was written, deleted or invalidated during the read",
      onWire(async (t) => {
        const { one, dishes } = await two(t, SHOP, MENU);
        const changes = [
          () => dishes.set("a", { n: 2 }, MENU),
          () => dishes.update("a", () => ({ n: 3 }), MENU),
          () => dishes.delete("a"),
          () => dishes.set("a", { n: 4 }, MENU),
          () => one.service(SHOP).invalidateTags("menu"),
        ];
        for (const change of changes) {
          const reads = [dishes.get("a", { near: false }), change(), dishes.get("a", { near: false })];
          await Promise.all(reads);
          assert.deepEqual(await dishes.get("a"), await dishes.get("a", { near: false }));
        }
      }),
    );

    it(
      "shows the current count when its process counts",
      onWire(async (t) => {
        const { one, dishes } = await two(t);
        for (let n = 1; n <= 5; n++) {
          const early = dishes.get("count");
          const counting = dishes.increment("count");
          // It may be read before the count, and must not be kept then.
          await Promise.all([early, counting, dishes.get("count")]);
          assert.equal(await counting, n);
          for (let i = 0; i < 3; i++) assert.equal(await dishes.get("count"), n);
        }
        await eventually(async () => (await from(one, () => dishes.get("count")))[0] === "near");
      }),
    );

    it(
      "does not keep a loaded value when the load precedes an invalidation",
      onWire(async (t) => {
        const { one, dishes } = await two(t);
        const source = gate<Dish>();
        const load = dishes.getOrSet("slow", () => source.promise, MENU);
        await one.service(SHOP).invalidateTags("menu");
        source.open({ n: 1 });
        assert.deepEqual(await load, { n: 1 });
        assert.equal(await dishes.get("slow"), undefined);
        assert.equal(await dishes.get("slow"), undefined);
      }),
    );

    it(
      "takes its default from the client, except when the collection turns it off",
      onWire(async ({ make }) => {
        const client = make({ near: true });
        const off = client.service(shop(false));
        const cache = client.cache<Dish>({ database: 10 }) as Dishes;
        await cache.set("a", { n: 1 });
        await keptNear(client, cache);
        await off.dishes.set("a", { n: 1 });
        await off.plain.set("a", { n: 1 });
        await keptNear(client, off.plain as Dishes);
        for (let i = 0; i < 3; i++)
          assert.deepEqual(await from(client, () => off.dishes.get("a")), ["store", { n: 1 }]);
      }),
    );

    it(
      "serves nothing when its client is closed",
      onWire(async (t) => {
        const { one, dishes } = await two(t);
        await one.close();
        assert.deepEqual(await from(one, () => dishes.get("a")), ["store", undefined]);
      }),
    );

    if (wire !== "REST") return;

    it(
      "serves a value for 5 s at most when another process has changed it",
      onWire(async (t) => {
        const { one, dishes, others } = await two(t);
        await others.set("a", { n: 2 });
        t.now += 4999;
        assert.deepEqual(await from(one, () => dishes.get("a")), ["near", { n: 1 }]);
        t.now += 1;
        assert.deepEqual(await from(one, () => dishes.get("a")), ["store", { n: 2 }]);
      }),
    );

    it(
      "drops invalidated values when the next read brings a later epoch",
      onWire(async (t) => {
        const { one, dishes, others, shops } = await two(t, SHOP, MENU);
        await others.set("plain", { n: 1 });
        await keptNear(one, dishes, "plain");
        await shops[1].invalidateTags("menu");
        assert.deepEqual(await from(one, () => dishes.get("a")), ["near", { n: 1 }]);
        await shops[0].plain.get("any");
        assert.deepEqual(await from(one, () => dishes.get("a")), ["store", undefined]);
        assert.deepEqual(await from(one, () => dishes.get("plain")), ["near", { n: 1 }]);
        await shops[1].invalidateAll();
        await shops[0].plain.get("any");
        assert.deepEqual(await from(one, () => dishes.get("plain")), ["store", undefined]);
      }),
    );

    it(
      "keeps its values when another service invalidates",
      onWire(async (t) => {
        const { one, other, dishes } = await two(t, SHOP, MENU);
        const [bar, others] = [one, other].map((client) => client.service(BAR)) as [
          ServiceOf<typeof BAR>,
          ServiceOf<typeof BAR>,
        ];
        for (let i = 0; i < 3; i++) {
          await others.invalidateAll();
          await others.invalidateTags("menu");
          await bar.dishes.get("any");
        }
        assert.deepEqual(await from(one, () => dishes.get("a")), ["near", { n: 1 }]);
      }),
    );
  },
  AND_SHARDS,
);

describe("a near cache whose tracking is cut off", () => {
  let redis: RedisServer;
  let proxy: FaultProxy;
  before(async () => {
    redis = await startRedis();
    proxy = await startProxy(redis.port);
  });
  after(async () => {
    await proxy.stop();
    await redis.stop();
  });

  async function cutting(run: (all: Awaited<ReturnType<typeof two>>) => Promise<void>): Promise<void> {
    await rawCommand(redis.port, ["FLUSHALL"]);
    const clients: CacheClient[] = [];
    // The first process goes through the proxy, the other does not.
    const make = () => {
      const url = clients.length === 0 ? `redis://127.0.0.1:${proxy.port}` : redis.url;
      const client = createCacheClient({ env: {}, url, timeout: 5000, retries: 10, breaker: false });
      clients.push(client);
      return client;
    };
    try {
      await run(await two({ make }, SHOP, MENU));
    } finally {
      await Promise.all(clients.map((client) => client.close()));
    }
  }

  /** The ids of the connections that track. */
  async function tracking(): Promise<string[]> {
    const list = String(await rawCommand(redis.port, ["CLIENT", "LIST"]))
      .trim()
      .split("\n");
    return list.flatMap((line) => (/ flags=\w*t/.test(line) ? (/^id=(\d+)/.exec(line)?.[1] ?? []) : []));
  }

  /** The reason to skip what takes the right to track away, and needs others to CLIENT. */
  const ONE_RIGHT = "before Redis 7 the right to track is the right to all of CLIENT";

  const lost = (events: readonly CacheEvent[]) =>
    events.filter((event) => event.type === "near-invalidate" && event.reason === "lost").length;

  it("keeps nothing when the server refuses to track, and works again after that", {
    timeout: 60_000,
  }, async (context) => {
    if (before7()) return context.skip(ONE_RIGHT);
    await cutting(async ({ one, dishes, others, events }) => {
      await rawCommand(redis.port, ["ACL", "SETUSER", "default", "-client|tracking"]);
      try {
        for (const id of await tracking()) await rawCommand(redis.port, ["CLIENT", "KILL", "ID", id]);
        await eventually(() => lost(events) === 1);
        for (let n = 10; n < 30; n++) {
          await others.set("a", { n });
          assert.deepEqual(await from(one, () => dishes.get("a")), ["store", { n }]);
        }
        assert.deepEqual(
          events.findLast((event) => event.type === "near-invalidate"),
          {
            type: "near-invalidate",
            entries: 1,
            reason: "lost",
            service: "shop",
            collection: "dishes",
          },
        );
      } finally {
        await rawCommand(redis.port, ["ACL", "SETUSER", "default", "+@all"]);
      }
      await others.set("a", { n: 99 });
      await keptNear(one, dishes);
      assert.deepEqual(await from(one, () => dishes.get("a")), ["near", { n: 99 }]);
      await others.set("a", { n: 100 });
      await eventually(async () => (await dishes.get("a"))?.n === 100);
    });
  });

  it("reports once that it is off when the server refuses to track, and that it works again", {
    timeout: 60_000,
  }, async (context) => {
    if (before7()) return context.skip(ONE_RIGHT);
    const told: string[] = [];
    const lines: string[] = [];
    const logger = { warn: (...line: unknown[]) => void lines.push(JSON.stringify(line)) };
    const client = createCacheClient({ env: {}, url: redis.url, near: true, logger, timeout: 5000 });
    client.subscribe((event) => {
      if (event.type === "near-unavailable") told.push(`${event.driver}: ${event.error.message}`);
      if (event.type === "near-available") told.push(`${event.driver} works`);
    });
    const [first, second] = [client.cache({ database: 0 }), client.cache({ database: 9 })];
    const refused = /^node-redis: Redis at 127.0.0.1:\d+ does not report changes.*'client.*' command/;
    try {
      await rawCommand(redis.port, ["ACL", "SETUSER", "default", "-client|tracking"]);
      await first.set("a", 1);
      await Promise.all([first.get("a"), second.get("a")]);
      await eventually(() => told.length > 0);
      assert.match(told[0] ?? "", refused);
      const health = await client.health();
      assert.equal(health.ok, true);
      assert.match(health.near ?? "", /'client(\|tracking)?' command/);

      await rawCommand(redis.port, ["ACL", "SETUSER", "default", "+@all"]);
      await keptNear(client, first, "a");
      assert.deepEqual([told.slice(1), (await client.health()).near], [["node-redis works"], undefined]);

      await rawCommand(redis.port, ["ACL", "SETUSER", "default", "-client|tracking"]);
      for (const id of await tracking()) await rawCommand(redis.port, ["CLIENT", "KILL", "ID", id]);
      await eventually(() => told.length > 2);
      assert.match(told[2] ?? "", refused);
      assert.equal(told.length, 3);
      assert.deepEqual(
        lines.map((line) => /cache near-\w+/.exec(line)?.[0]),
        ["cache near-unavailable", "cache near-available", "cache near-unavailable"],
      );
    } finally {
      await rawCommand(redis.port, ["ACL", "SETUSER", "default", "+@all"]);
      await client.close();
    }
  });

  it("serves nothing from before the cut when all connections break and keys change", {
    timeout: 60_000,
  }, async () => {
    await cutting(async ({ one, dishes, others, events }) => {
      for (let round = 1; round <= 3; round++) {
        await proxy.set("refuse");
        await eventually(() => lost(events) === round);
        await others.set("a", { n: round * 10 }, MENU);
        await proxy.set("pass");
        // A miss while the connection is down, never the old value.
        await eventually(async () => {
          const value = await dishes.get("a");
          assert.ok(value === undefined || value.n === round * 10, `${value?.n}`);
          return value !== undefined;
        });
        await keptNear(one, dishes);
        assert.deepEqual(await from(one, () => dishes.get("a")), ["near", { n: round * 10 }]);
      }
    });
  });

  it("never goes back to an older value when connections break at any time", {
    timeout: 60_000,
  }, async () => {
    await cutting(async ({ dishes, others }) => {
      let n = 100;
      for (let round = 0; round < 25; round++) {
        if (round % 3 === 0) proxy.cut();
        for (const id of round % 3 === 1 ? await tracking() : []) {
          await rawCommand(redis.port, ["CLIENT", "KILL", "ID", id]);
        }
        n++;
        assert.equal(await others.set("a", { n }), true);
        // Soon it is what was written, whatever was lost, and then it stays that.
        await eventually(async () => (await dishes.get("a"))?.n === n);
        for (let i = 0; i < 20; i++) assert.equal((await dishes.get("a"))?.n ?? n, n);
      }
    });
  });

  it("serves nothing from before when the server restarts", { timeout: 60_000 }, async () => {
    let server = await startRedis();
    const client = createCacheClient({ env: {}, url: server.url, timeout: 5000, breaker: false });
    try {
      const { dishes } = client.service(SHOP);
      await dishes.set("a", { n: 1 });
      await keptNear(client, dishes as Dishes);
      await server.stop();
      const { nearHits } = client.stats();
      await eventually(async () => (await dishes.get("a", { timeout: 50 })) === undefined);
      server = await startRedis({ port: server.port });
      const seen = client.stats().nearHits;
      for (let i = 0; i < 5; i++) assert.equal(await dishes.get("a"), undefined);
      assert.equal(client.stats().nearHits, seen);
      assert.ok(seen >= nearHits);
    } finally {
      await client.close();
      await server.stop();
    }
  });
});

it("a near cache keeps values for their TTL when SWAPDB moves them, because no message says so", {
  timeout: 60_000,
}, async () => {
  const redis = await startRedis();
  let now = 1_700_000_000_000;
  const options = { env: {}, url: redis.url, timeout: 5000, clock: () => now };
  await using client = createCacheClient({ ...options, near: true });
  const cache = client.cache({ database: 1 });
  await cache.set("a", "old");
  await eventually(async () => (await cache.get("a")) === "old" && cache.stats().nearHits > 0);
  assert.equal(await rawCommand(redis.port, ["SWAPDB", 1, 2]), "OK");
  assert.equal(await cache.get("a", { near: false }), undefined);
  now += 29_999;
  assert.equal(await cache.get("a"), "old");
  now += 2;
  assert.equal(await cache.get("a"), undefined);
  await redis.stop();
});

describe("a near cache over the embedded store", () => {
  it("emits an event when the store evicts", async () => {
    const client = createCacheClient({ env: {}, driver: memory({ maxEntries: 10 }) });
    const { dishes } = client.service(SHOP);
    await dishes.set("a", { n: 1 });
    await keptNear(client, dishes as Dishes);
    for (let i = 0; i < 10; i++) await dishes.set(i, { n: i });
    assert.equal(await dishes.get("a"), undefined);
    await client.close();
  });
});
