import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import fc from "fast-check";
import { type Command, type Driver, type Reply, StoreError } from "../drivers/driver.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type Cache, type CacheClient, type ClientOptions, createCacheClient } from "../mod.ts";
import { AND_SHARDS, onWires } from "./helpers/engine.ts";
import { type RawClient, type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";

const EPOCH = "#larder:clock";
const KEY = "k";

/** A moment of a plain write: before its epoch is read, before it is written, before its replies and its repair. */
type Moment = "asked" | "read" | "written" | "repaired";

/** A deed of another process at a moment, or a later call of this one. */
type Deed = "invalidateAll" | "invalidateTags" | "set" | "delete" | "flush" | "later";

describe("a plain write", () => {
  let redis: RedisServer;
  let raw: RawClient;
  let inner: Driver;
  let clients: CacheClient[] = [];
  before(async () => {
    redis = await startRedis();
    raw = await rawClient(redis.port);
    await raw.command("SELECT", 9);
    inner = nodeRedis({ url: redis.url });
  });
  beforeEach(async () => {
    await Promise.all(clients.map((client) => client.close()));
    clients = [];
    await raw.command("FLUSHALL");
  });
  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await inner.close();
    raw.close();
    await redis.stop();
  });

  const make = (options: ClientOptions = {}): Cache<string | number> => {
    const client = createCacheClient({ env: {}, driver: inner, timeout: 5000, ...options });
    clients.push(client);
    return client.cache({ database: 9 });
  };

  /** A driver that stops at the moments of the next plain write, and what it sent. */
  function stops(at: (moment: Moment) => Promise<unknown>) {
    const sent: (readonly Command[])[] = [];
    let next = false;
    const part = async (commands: readonly Command[]) => (commands.length > 0 ? inner.send(9, commands) : []);
    const driver: Driver = {
      name: "stopping",
      capabilities: inner.capabilities,
      async send(_, commands) {
        sent.push(commands);
        if (!next) return inner.send(9, commands);
        if (commands[0]?.[0] === "GET") {
          await at("asked");
          const epoch = await part(commands.slice(0, 1));
          await at("read");
          const replies = await part(commands.slice(1));
          next = false;
          await at("written");
          next = true;
          return [...epoch, ...replies];
        }
        next = false;
        await at("repaired");
        return inner.send(9, commands);
      },
      close: async () => {},
    };
    const arm = (on: boolean): void => {
      sent.length = 0;
      next = on;
    };
    return { driver, sent, arm };
  }

  it("is one command, and one question for the epoch of all writes of a tick", async () => {
    const { driver, sent } = stops(async () => {});
    const cache = make({ driver });
    await cache.get("a");
    sent.length = 0;
    assert.equal(await cache.set("a", 1, { ttl: "1m" }), true);
    assert.equal(await cache.setMany(Array.from({ length: 1000 }, (_, i) => [`m${i}`, i])), 1000);
    assert.deepEqual(sent[0], [
      ["GET", EPOCH],
      ["SET", "a", '{"json":1}', "PX", 60_000],
    ]);
    assert.deepEqual([sent.length, sent[1]?.length, sent[1]?.[0]], [2, 1001, ["GET", EPOCH]]);
    assert.equal(await cache.get("m999"), 999);
  });

  it("is one round trip by a script while the epoch is not known", async () => {
    await make().invalidateAll();
    const { driver, sent } = stops(async () => {});
    const cache = make({ driver });
    const answers = await Promise.all([cache.set("a", 1), cache.set("b", 2), cache.get("a"), cache.delete("b")]);
    assert.deepEqual(answers, [true, true, 1, 1]);
    assert.deepEqual(
      sent[0]?.map(([name]) => name),
      ["GET", "EVAL", "EVALSHA", "MGET", "UNLINK"],
    );
    assert.equal(await cache.set("a", 3), true);
    assert.deepEqual(
      sent[1]?.map(([name]) => name),
      ["GET", "SET"],
    );
    assert.equal(sent.length, 2);
    assert.equal(await make().get("a"), 3);
  });

  it("is seen when another process invalidated everything before, and costs a second trip once", async () => {
    const { driver, sent } = stops(async () => {});
    const cache = make({ driver });
    const other = make();
    await cache.get("a");
    assert.ok(await other.invalidateAll());
    sent.length = 0;
    assert.equal(await cache.set("a", 1, { ttl: "1m" }), true);
    assert.equal(sent.length, 2);
    for (const one of [cache, other]) assert.equal(await one.get("a"), 1);
    const left = Number(await raw.command("PTTL", "a"));
    assert.ok(left > 50_000 && left <= 60_000);
    sent.length = 0;
    assert.equal(await cache.set("b", 2), true);
    assert.equal(sent.length, 1);
    for (const one of [cache, other]) assert.equal(await one.get("b"), 2);
    await other.invalidateAll();
    for (const one of [cache, other]) assert.equal(await one.get("b"), undefined);
  });

  it("is as the order of the calls says when a tick has several for its key", async () => {
    for (const known of [true, false]) {
      const cache = make();
      const other = make();
      if (!known) await other.invalidateAll();
      assert.deepEqual(await Promise.all([cache.set("a", 1), cache.get("a")]), [true, 1]);
      assert.deepEqual(await Promise.all([cache.invalidateAll(), cache.set("a", 2), cache.get("a")]), [true, true, 2]);
      const [before, , then] = await Promise.all([cache.get("b"), cache.set("b", 1), cache.get("b")]);
      assert.deepEqual([before, then], [undefined, 1]);
      await Promise.all([cache.set("c", 1), cache.set("c", 2)]);
      await Promise.all([cache.set("d", 1), cache.delete("d")]);
      await Promise.all([cache.delete("e"), cache.set("e", 1)]);
      await Promise.all([cache.set("f", 1), cache.invalidateAll(), cache.set("g", 1), cache.set("h", 1)]);
      for (const each of [cache, other]) {
        const got = await each.getMany(["c", "d", "e", "f", "g", "h"]);
        assert.deepEqual([...got], Object.entries({ g: 1, h: 1 }));
      }
      await Promise.all([cache.set("c", 1), cache.set("c", 2)]);
      await Promise.all([cache.set("d", 1), cache.delete("d")]);
      await Promise.all([cache.delete("e"), cache.set("e", 1)]);
      for (const each of [cache, other]) {
        assert.deepEqual([...(await each.getMany(["c", "d", "e"]))], Object.entries({ c: 2, e: 1 }));
      }
    }
  });

  it("is seen by what a tick has after it when another process invalidated everything before", async () => {
    const cache = make();
    const other = make();
    await cache.get("a");
    /** Each call after a `set`, and what it answers. */
    const calls: [call: () => Promise<unknown>, answer: unknown][] = [
      [() => cache.get("a"), 1],
      [() => cache.getOrSet("a", () => 2), 1],
      [() => cache.has("a"), true],
      [async () => Math.round(Number(await cache.ttl("a"))), 60],
      [() => cache.expire("a", "1h"), true],
      [() => cache.update("a", (value) => Number(value) + 1), 2],
      [() => cache.set("a", 3), true],
      [() => cache.set("a", 4, { tags: ["t"] }), true],
      [() => cache.delete("a"), 1],
      [() => cache.getMany(["a"]), new Map([["a", 1]])],
    ];
    const after = [1, 1, 1, 1, 1, 2, 3, 4, undefined, 1];
    for (const [i, [call, answer]] of calls.entries()) {
      await other.invalidateAll();
      assert.deepEqual(await Promise.all([cache.set("a", 1, { ttl: "1m" }), call()]), [true, answer], `${call}`);
      for (const each of [cache, other]) assert.equal(await each.get("a"), after[i], `after ${call}`);
    }
    await other.invalidateAll();
    const last = Promise.all([1, 2, 3].map((value) => cache.set("a", value)));
    await new Promise(setImmediate);
    await cache.set("a", 4);
    assert.deepEqual(await last, [true, true, true]);
    for (const each of [cache, other]) assert.equal(await each.get("a"), 4);
  });

  it("is right as it is when nothing was invalidated, though the epoch exists", async () => {
    const { driver, sent } = stops(async () => {});
    const cache = make({ driver });
    await cache.get("a");
    await make().set("tagged", 1, { tags: ["t"] });
    sent.length = 0;
    assert.match(String(await raw.command("GET", EPOCH)), /^\d+ 0 0$/);
    assert.equal(await cache.set("a", 1), true);
    assert.equal(sent.length, 1);
    await make().invalidateTags("t");
    sent.length = 0;
    assert.equal(await cache.set("a", 1), true);
    assert.equal(sent.length, 1);
    assert.equal(await cache.get("a"), 1);
  });

  it("forgets an epoch that the store has lost, so that no later invalidation is overlooked", async () => {
    const { driver, sent } = stops(async () => {});
    const cache = make({ driver });
    await cache.invalidateAll();
    await cache.set("a", 1);
    // A server that was behind has taken over, and its clock is behind too.
    await raw.command("SET", EPOCH, "5 5");
    for (const id of ["b", "c"]) {
      sent.length = 0;
      assert.equal(await cache.set(id, 1), true);
      assert.equal(sent.length, id === "b" ? 2 : 1);
      assert.match(String(await raw.command("GET", id)), /^{"born":5,/);
    }
    await raw.command("SET", EPOCH, "6 6");
    for (const id of ["b", "c"]) assert.equal(await cache.get(id), undefined);
    await raw.command("FLUSHALL");
    for (const id of ["b", "c"]) {
      assert.equal(await cache.set(id, 1), true);
      assert.equal(await cache.get(id), 1);
      assert.equal(await raw.command("GET", id), '{"json":1}');
    }
  });

  it("keeps its promises when something happens at each of its moments", { timeout: 60_000 }, async () => {
    const deed = fc.constantFrom<Deed>("invalidateAll", "invalidateTags", "set", "delete", "flush");
    const late = fc.oneof(deed, fc.constant<Deed>("later"));
    const plan = fc.record({
      known: fc.boolean(),
      stale: fc.boolean(),
      asked: fc.array(deed, { maxLength: 1 }),
      // An epoch that is lost and made again within a millisecond could be the same.
      read: fc.array(
        deed.filter((one) => one !== "flush"),
        { maxLength: 1 },
      ),
      written: fc.array(late, { maxLength: 2 }),
      repaired: fc.array(late, { maxLength: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(plan, async (plan) => {
        await raw.command("FLUSHALL");
        const other = make();
        if (plan.known) await other.invalidateAll();
        let count = 0;
        let stored: number | undefined;
        /** `true` while nothing that was done since the value came may have made it a miss. */
        let sure = true;
        const deeds = async (all: readonly Deed[], ours: Cache<string | number>) => {
          for (const deed of all) {
            if (deed === "set" || deed === "later") {
              stored = ++count + 10;
              sure = true;
              assert.equal(await (deed === "set" ? other : ours).set(KEY, stored), true);
            } else if (deed === "invalidateTags") await other.invalidateTags("t");
            else if (deed === "invalidateAll") {
              assert.equal(await other.invalidateAll(), true);
              stored = undefined;
              sure = true;
            } else {
              if (deed === "flush") await raw.command("FLUSHALL");
              else await other.delete(KEY);
              stored = undefined;
              sure = true;
            }
          }
        };
        const { driver, arm } = stops(async (moment) => {
          if (moment === "read" && plan.read.includes("invalidateAll")) racing = true;
          if (moment === "repaired") {
            await deeds(
              plan.repaired.filter((deed) => deed !== "later"),
              cache,
            );
            // Later calls wait for the repair.
            held = plan.repaired.filter((deed) => deed === "later").map(() => cache.set(KEY, ++count + 10));
            if (held.length > 0) [stored, sure] = [count + 10, true];
            return;
          }
          await deeds(plan[moment], cache);
          if (moment !== "read") return;
          // The write follows. What was invalidated in between counts as later, or as earlier.
          stored = 1;
          sure = !racing;
        });
        let racing = false;
        let held: readonly Promise<boolean>[] = [];
        const cache: Cache<string | number> = make({ driver });
        await cache.get(KEY);
        if (plan.stale) await other.invalidateAll();
        arm(true);
        assert.equal(await cache.set(KEY, 1), true);
        arm(false);
        assert.ok((await Promise.all(held)).every(Boolean));
        for (const one of [cache, other, make()]) {
          const got = await one.get(KEY);
          if (got !== undefined || sure) assert.equal(got, stored, JSON.stringify(plan));
        }
        await Promise.all(clients.splice(0).map((client) => client.close()));
      }),
      { numRuns: 300 },
    );
  });

  it("is seen after it was sent again, because its reply was lost", async () => {
    for (const between of [0, 1]) {
      let fail = false;
      const other = make();
      const driver: Driver = {
        ...stops(async () => {}).driver,
        async send(_, commands): Promise<Reply[]> {
          const replies = await inner.send(9, commands);
          if (!fail) return replies;
          fail = false;
          if (between) await other.invalidateAll();
          throw new StoreError("connection", "lost", { repeat: "idempotent" });
        },
      };
      const cache = make({ driver });
      await cache.get(KEY);
      fail = true;
      assert.equal(await cache.set(KEY, between), true);
      for (const one of [cache, other]) assert.equal(await one.get(KEY), between);
    }
  });

  it("drops from near caches what an invalidation that it learns of has made invalid", async () => {
    const { track: _, ...silent } = { ...stops(async () => {}).driver, track: undefined };
    const cache = make({ driver: silent as Driver, near: { ttl: "1h" } });
    const other = make();
    await other.set("old", 1);
    await cache.get("old");
    assert.equal(await cache.get("old"), 1);
    await other.invalidateAll();
    assert.equal(await cache.get("old"), 1);
    await cache.set("new", 2);
    assert.equal(await cache.get("old"), undefined);
    assert.equal(await cache.get("new"), 2);
  });

  it("needs no right to run scripts, and fails for a user that may not read the epoch", async () => {
    await raw.pipeline([
      ["ACL", "SETUSER", "plain", "on", ">p", "~*", "&*", "-@all", "+select", "+set", "+get", "+mget", "+hello"],
      ["ACL", "SETUSER", "blind", "on", ">p", "~b*", "&*", "-@all", "+select", "+set", "+get", "+mget", "+hello"],
      ["ACL", "SETUSER", "scripts", "on", ">p", "~*", "&*", "-@all", "+select", "+eval", "+evalsha", "+set", "+get"],
    ]);
    const as = (user: string): Cache<string | number> =>
      make({ driver: "node-redis", url: redis.url.replace("//", `//${user}:p@`) });
    for (const invalidated of [false, true]) {
      if (invalidated) await make().invalidateAll();
      const plain = as("plain");
      assert.deepEqual(await Promise.all([plain.set("a", 1), plain.set("b", 1)]), [true, true]);
      assert.deepEqual(await Promise.all([plain.set("a", 2), plain.get("a")]), [true, 2]);
      assert.deepEqual([...(await make().getMany(["a", "b"])).values()], [2, 1]);
    }
    const plain = as("plain");
    assert.equal(await plain.set("a", 1), true);
    assert.equal(await plain.get("a"), 1);
    assert.equal(await make().get("a"), 1);
    await assert.rejects(as("blind").set("b", 1, { onError: "throw" }), /NOPERM/);
    assert.equal(await as("scripts").set("c", 1), true);
    assert.equal(await make().get("c"), 1);
  });

  it("keeps the order of one key on a pool of two connections", async () => {
    const driver = nodeRedis({ url: redis.url, pool: { size: 2 } });
    const cache = make({ driver });
    const other = make();
    for (let round = 0; round < 20; round++) {
      if (round % 5 === 0) await other.invalidateAll();
      const writes = Array.from({ length: 6 }, async (_, i) => {
        for (let tick = i % 3; tick > 0; tick--) await new Promise((resolve) => setImmediate(resolve));
        return i;
      });
      const last: Record<string, number> = {};
      await Promise.all(
        writes.map(async (ready) => {
          const i = await ready;
          last[`p${i % 2}`] = i;
          await cache.set(`p${i % 2}`, i);
        }),
      );
      for (const one of [cache, other]) {
        assert.deepEqual(Object.fromEntries(await one.getMany(["p0", "p1"])), last);
      }
    }
    await driver.close();
  });
});

onWires(
  "a plain write",
  (onWire, wire) => {
    it(
      "is one command where commands are billed, and is seen after an invalidation that its client does not know",
      onWire(async (t) => {
        const [one, other] = [t.make(), t.make()];
        const cache = one.cache({ database: 9 });
        await cache.get("a");
        await other.cache({ database: 9 }).invalidateAll();
        let commands = 0;
        one.onSend((sending) => {
          commands += sending.commands.length;
        });
        assert.equal(await cache.set("a", 1), true);
        assert.equal(commands, wire === "REST" ? 1 : 3);
        assert.equal(await other.cache({ database: 9 }).get("a"), 1);
      }),
    );
  },
  AND_SHARDS,
);
