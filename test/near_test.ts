import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { decode, encode, knowClasses } from "../src/entry/codec.ts";
import { coarseClock } from "../src/near/coarse_clock.ts";
import { type Codec, type NearId, NearStore, type NearValue } from "../src/near/near_store.ts";
import { same } from "./helpers/same.ts";

/** A near cache with a clock that stands at `time`. */
function fresh(options: { maxEntries?: number; maxBytes?: number; clone?: boolean; codec?: Codec } = {}) {
  const clock = { time: 0 };
  const near = new NearStore({
    maxEntries: 100,
    maxBytes: 1000,
    clone: false,
    codec: { encode, decode },
    ...options,
    now: () => clock.time,
  });
  return { near, clock };
}

/** The value of a read of a product. */
function product(id: NearId, value: unknown = `product ${id}`, more: Partial<NearValue> = {}): NearValue {
  return { id, key: `product:${id}`, value, until: 1000, tags: [], epoch: 0, bytes: 1, from: 0, ...more };
}

function keep(near: NearStore, read: NearValue): unknown {
  return near.put(near.begin(), read);
}

/** The bytes in use when all garbage is collected. */
function used(): number {
  const { Bun } = globalThis as { Bun?: { gc(now: boolean): void } };
  if (Bun) {
    Bun.gc(true);
  } else {
    setFlagsFromString("--expose-gc");
    runInNewContext("gc")();
  }
  return process.memoryUsage().heapUsed;
}

describe("NearStore", () => {
  it("hit finds what was put until its time is over", () => {
    const { near, clock } = fresh();
    keep(near, product(1, { name: "phở" }, { until: 50, tags: ["soups"], epoch: 7, bytes: 20 }));
    const entry = near.hit(1);
    assert.deepEqual(entry?.value, { name: "phở" });
    assert.deepEqual([entry?.key, entry?.until, entry?.tags, entry?.epoch], ["product:1", 50, ["soups"], 7]);
    assert.equal(near.hitKey("product:1"), entry);
    assert.deepEqual([near.size, near.bytes], [1, 20]);
    assert.equal(near.hit(2), undefined);
    assert.equal(near.hitKey("product:2"), undefined);
    clock.time = 49;
    assert.equal(near.hit(1), entry);
    clock.time = 50;
    assert.equal(near.hit(1), undefined);
    assert.deepEqual([near.size, near.bytes], [0, 0]);
  });

  it("hit finds nothing when the clock was set back before the entry", () => {
    const { near, clock } = fresh();
    clock.time = 10;
    keep(near, product(1, "a", { from: 10 }));
    assert.ok(near.hit(1));
    clock.time = 9;
    assert.equal(near.hit(1), undefined);
    clock.time = 10;
    assert.equal(near.hit(1), undefined);
  });

  it("hit distinguishes null, false, 0 and undefined from a miss when they are kept", () => {
    const { near } = fresh();
    for (const value of [null, false, 0, "", undefined]) {
      keep(near, { ...product("x"), value });
      assert.ok(near.hit("x"));
      assert.equal(near.hit("x")?.value, value);
    }
  });

  it("hit finds one entry by every id of the same text, and no other", () => {
    const forms: NearId[] = [7, "7", 7n];
    for (const put of forms) {
      const { near } = fresh();
      keep(near, product(put));
      const entry = near.hit(put);
      assert.ok(entry);
      for (const form of [...forms, ...forms]) assert.equal(near.hit(form), entry, `${typeof put} ${typeof form}`);
      for (const other of ["07", "7.0", "7n", " 7", 7.5, 70n, "seven"]) assert.equal(near.hit(other), undefined);
      assert.equal(near.drop(["product:7"]), 1);
      for (const form of forms) assert.equal(near.hit(form), undefined);
      assert.deepEqual([near.size, near.bytes], [0, 0]);
    }
  });

  it("hit keeps big ids apart when they are one as numbers", () => {
    const { near } = fresh();
    keep(near, product(9007199254740993n, "odd"));
    keep(near, product("9007199254740992", "even"));
    assert.equal(near.hit("9007199254740993")?.value, "odd");
    assert.equal(near.hit(9007199254740992n)?.value, "even");
    assert.equal(near.hit(9007199254740992)?.value, "even");
    keep(near, product(Number.NaN, "NaN"));
    assert.equal(near.hit("NaN")?.value, "NaN");
    keep(near, product(-0, "zero"));
    assert.equal(near.hit("0")?.value, "zero");
    assert.equal(near.hit("-0"), undefined);
  });

  it("hitKey finds what was put with an object for its id", () => {
    const { near } = fresh();
    keep(near, { ...product("x"), id: undefined });
    assert.equal(near.hit("x"), undefined);
    assert.ok(near.hitKey("product:x"));
    assert.equal(near.drop(["product:x"]), 1);
  });

  it("put replaces the value when a later read brings another", () => {
    const { near } = fresh();
    keep(near, product(1, "old", { bytes: 10 }));
    keep(near, product("1", "new", { bytes: 30 }));
    assert.deepEqual([near.hit(1)?.value, near.hit("1")?.value, near.size, near.bytes], ["new", "new", 1, 30]);
  });

  it("put freezes all of the value and returns it when it has cycles", () => {
    const { near } = fresh();
    const shallow = Object.freeze({ deep: { er: [1] } });
    const value: Record<string, unknown> = {
      list: [{ name: "bò" }],
      none: null,
      nothing: Object.assign(Object.create(null), { x: [] }),
      shallow,
      big: 1n,
    };
    value.self = value;
    assert.equal(keep(near, product(1, value)), value);
    assert.equal(near.hit(1)?.value, value);
    const frozen = [value, value.list, (value.list as object[])[0], value.nothing, shallow.deep.er];
    for (const one of frozen) assert.ok(Object.isFrozen(one));
    assert.throws(() => (value.list as number[]).push(1), TypeError);
  });

  it("value gives every reader an equal value of its own when it cannot be frozen, or readers get copies", async () => {
    class Point {
      x = new Date(1);
    }
    const known = knowClasses([Point]);
    const codec: Codec = { encode: (value) => encode(value, known), decode: (text) => decode(text, known) };
    const kinds: (() => unknown)[] = [
      () => new Date(0),
      () => new Map([["a", { b: new Set([1]) }]]),
      () => new Uint8Array([1, 2]),
      () => new URL("http://a/?b=1"),
      () => Object.assign(new TypeError("t", { cause: new Error("c") }), { name: "Odd" }),
      () => /a/g,
      () => new Point(),
      () => new Float64Array([Number.NaN]).buffer,
    ];
    for (const clone of [false, true]) {
      for (const make of kinds) {
        const { near } = fresh({ clone, codec });
        const made = make();
        const value = { deep: [made], again: made, self: {} };
        value.self = value;
        const like = codec.decode(codec.encode(value));
        keep(near, product(1, value));
        const entry = near.hit(1);
        assert.ok(entry);
        const readers = [
          value,
          await near.value(entry),
          await near.value(entry),
          await near.value(entry),
        ] as (typeof value)[];
        for (const reader of readers) assert.ok(same(reader, like), String(made));
        assert.equal(new Set(readers.map(({ again }) => again)).size, 4);
        for (const reader of readers.slice(1)) reader.deep.push(5);
        assert.ok(same(await near.value(entry), like));
      }
    }
  });

  it("put freezes a value that is very deep", () => {
    const { near } = fresh();
    const innermost = {};
    let value: object = innermost;
    for (let i = 0; i < 100_000; i++) value = [value];
    keep(near, product(1, value));
    assert.ok(Object.isFrozen(innermost));
  });

  it("value gives every reader a copy when readers get copies", async () => {
    const { near } = fresh({ clone: true });
    const value = { list: [1], when: new Date(5) };
    assert.equal(keep(near, product(1, value)), value);
    value.list.push(2);
    const entry = near.hit(1);
    assert.ok(entry);
    const first = (await near.value(entry)) as typeof value;
    assert.deepEqual(first, { list: [1], when: new Date(5) });
    first.list.push(3);
    first.when.setTime(6);
    assert.deepEqual(await near.value(entry), { list: [1], when: new Date(5) });
  });

  it("value gives the same frozen value when readers share it", async () => {
    const { near } = fresh();
    const value = keep(near, product(1, { a: 1 }));
    const entry = near.hit(1);
    assert.ok(entry);
    assert.equal(await near.value(entry), value);
  });

  it("put does not keep what cannot be cloned", () => {
    const { near } = fresh({ clone: true });
    const value = { call: () => 1 };
    assert.equal(keep(near, product(1, value)), value);
    assert.equal(near.size, 0);
    const shared = fresh().near;
    keep(shared, product(1, { made: new (class Made {})() }));
    assert.equal(shared.size, 0);
  });

  it("put drops the entry and keeps no value when the value exceeds the bound", () => {
    const { near } = fresh({ maxBytes: 100 });
    keep(near, product(1, "small"));
    keep(near, product(2, "two"));
    const value = { large: true };
    assert.equal(keep(near, product(1, value, { bytes: 101 })), value);
    assert.equal(near.hit(1), undefined);
    assert.ok(near.hit(2));
    keep(near, product(3, "all", { bytes: 100 }));
    assert.deepEqual([near.size, near.bytes], [1, 100]);
  });

  it("put keeps nothing when no entry is allowed", () => {
    const { near } = fresh({ maxEntries: 0 });
    assert.equal(keep(near, product(1, "a")), "a");
    assert.equal(near.size, 0);
  });

  it("put evicts the entry that was not hit since the hand last passed when the store is full", () => {
    const { near } = fresh({ maxEntries: 3 });
    for (const id of [1, 2, 3]) keep(near, product(id));
    near.hit(1);
    near.hit(2);
    keep(near, product(4));
    assert.deepEqual(
      [1, 2, 3, 4].filter((id) => near.hitKey(`product:${id}`)),
      [1, 2, 4],
    );
    // All were hit now: the hand, which has come to 4, goes once round.
    keep(near, product(5));
    assert.deepEqual(
      [1, 2, 4, 5].filter((id) => near.hitKey(`product:${id}`)),
      [1, 2, 5],
    );
  });

  it("put keeps the popular when a scan passes", () => {
    const { near } = fresh({ maxEntries: 100 });
    for (let i = 0; i < 20_000; i++) {
      const popular = i % 50;
      if (!near.hit(popular)) keep(near, product(popular));
      keep(near, product(`scan ${i}`));
    }
    const left = Array.from({ length: 50 }, (_, id) => near.hit(id)).filter(Boolean).length;
    assert.ok(left >= 45, `${left}`);
  });

  it("dropTags drops an entry when it carries one of the tags", () => {
    const { near } = fresh();
    keep(near, product(1, "a", { tags: ["soups", "hot"] }));
    keep(near, product(2, "b", { tags: ["salads"] }));
    keep(near, product(3, "c"));
    keep(near, product(4, "d", { tags: ["hot"] }));
    assert.equal(near.dropTags(["none"]), 0);
    assert.equal(near.dropTags(["hot", "soups"]), 2);
    assert.deepEqual(
      [1, 2, 3, 4].map((id) => near.hit(id)?.value),
      [undefined, "b", "c", undefined],
    );
  });

  it("outdate drops entries when they have tags and an older epoch, or precede an invalidation of all", () => {
    const { near } = fresh();
    for (const clock of [1, 2, 3, 4]) {
      keep(near, product(`plain ${clock}`, clock, { epoch: clock }));
      keep(near, product(`tagged ${clock}`, clock, { epoch: clock, tags: ["soups"] }));
    }
    near.outdate("", 4, 2);
    const left = [1, 2, 3, 4].flatMap((clock) => [`plain ${clock}`, `tagged ${clock}`]).filter((id) => near.hit(id));
    assert.deepEqual(left, ["plain 2", "plain 3", "plain 4", "tagged 4"]);
    assert.equal(near.size, 4);
  });

  it("clear drops everything when entries are kept", () => {
    const { near } = fresh();
    for (const id of [1, 2, "a"]) keep(near, product(id));
    assert.equal(near.clear(), 3);
    assert.deepEqual([near.hit(1), near.hitKey("product:a"), near.size, near.bytes], [undefined, undefined, 0, 0]);
    keep(near, product(1));
    assert.ok(near.hit(1));
  });
});

describe("NearStore, reads in flight", () => {
  const forgetting: Record<string, (near: NearStore) => unknown> = {
    "its key is dropped": (near) => near.drop(["other", "product:1"]),
    "a tag is dropped": (near) => near.dropTags(["none"]),
    "everything is forgotten": (near) => near.clear(),
    "changes are not told for a while": (near) => {
      near.live = false;
      near.live = true;
    },
    "more keys are dropped than are remembered": (near) =>
      near.drop(["product:1", ...Array.from({ length: 10_000 }, (_, i) => `k${i}`)]),
    "more drops follow than are remembered": (near) => {
      near.drop(["product:1"]);
      for (let i = 0; i < 10_000; i++) near.drop([`k${i}`]);
    },
    "a tag is dropped, and then many keys": (near) => {
      for (let i = 0; i < 3000; i++) near.drop([`k${i}`]);
      near.dropTags(["none"]);
      for (let i = 0; i < 1500; i++) near.drop([`k${i}`]);
    },
  };
  for (const [when, forget] of Object.entries(forgetting)) {
    it(`put does not keep a read when it left before ${when}`, () => {
      const { near } = fresh();
      const [first, second] = [near.begin(), near.begin()];
      forget(near);
      const third = near.begin();
      const value = {};
      assert.equal(near.put(first, product(1, value)), value);
      assert.ok(Object.isFrozen(value));
      assert.equal(near.hit(1), undefined);
      near.put(third, product(1, "after"));
      near.put(second, product(1, "before"));
      assert.equal(near.hit(1)?.value, "after");
    });
  }

  it("put keeps a read when it left before another key was dropped", () => {
    const { near } = fresh();
    const mark = near.begin();
    for (let i = 0; i < 2000; i++) near.drop([`k${i}`]);
    near.put(mark, product(1));
    assert.ok(near.hit(1));
  });

  it("put keeps the later read when the earlier one comes back last", () => {
    const { near } = fresh();
    const [first, second] = [near.begin(), near.begin()];
    near.put(second, product(1, "later"));
    assert.equal(near.put(first, product(1, "earlier")), "earlier");
    assert.equal(near.hit(1)?.value, "later");
  });

  it("put keeps and hit serves nothing when the store is not live, also for reads that left then", () => {
    const { near } = fresh();
    keep(near, product(1));
    assert.equal(near.live, true);
    near.live = false;
    assert.equal(near.live, false);
    assert.equal(near.hit(1), undefined);
    const mark = near.begin();
    keep(near, product(1));
    assert.equal(near.size, 0);
    near.live = true;
    near.put(mark, product(1));
    assert.equal(near.size, 0);
    keep(near, product(1));
    assert.ok(near.hit(1));
  });
});

describe("NearStore, as a whole", () => {
  it("stays within its bounds and serves only what was put last when anything happens", () => {
    const ids = fc.constantFrom<NearId>(0, 1, 2, 3, "0", "1", "2", "3", 1n, 2n, "a", "b", "c", "d");
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ do: fc.constant("hit" as const), id: ids }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant("begin" as const), id: ids }) },
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant("put" as const),
          which: fc.nat(5),
          bytes: fc.integer({ min: 0, max: 12 }),
          time: fc.integer({ min: 1, max: 30 }),
          tags: fc.subarray(["x", "y"]),
        }),
      },
      fc.record({ do: fc.constant("drop" as const), ids: fc.array(ids, { maxLength: 3 }) }),
      fc.record({ do: fc.constant("tags" as const), tags: fc.subarray(["x", "y"]) }),
      fc.record({ do: fc.constantFrom("clear" as const, "down" as const, "up" as const) }),
      fc.record({ do: fc.constant("pass" as const), time: fc.nat(10) }),
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 120 }),
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 30 }),
        (steps, maxEntries, maxBytes) => {
          const { near, clock } = fresh({ maxEntries, maxBytes });
          interface Kept extends NearValue {
            readonly order: number;
          }
          /** The values that may be served, regardless of the bounds. */
          const model = new Map<string, Kept>();
          const reads: { id: NearId; mark: number; order: number; alive: boolean }[] = [];
          let order = 0;
          const kill = (dead: (key: string) => boolean) => {
            for (const read of reads) if (dead(`product:${read.id}`)) read.alive = false;
          };
          const forget = (dead: (kept: Kept) => boolean) => {
            for (const [key, kept] of model) if (dead(kept)) model.delete(key);
          };
          for (const step of steps) {
            if (step.do === "hit") {
              const key = `product:${step.id}`;
              const [byId, byKey] = [near.hit(step.id), near.hitKey(key)];
              const kept = model.get(key);
              if (byId) {
                assert.equal(byId, byKey);
                assert.equal(byId.value, kept?.value);
                assert.ok(kept && kept.until > clock.time);
              }
            } else if (step.do === "begin") {
              reads.push({ id: step.id, mark: near.begin(), order: order++, alive: near.live });
            } else if (step.do === "put") {
              const [read] = reads.splice(step.which % (reads.length || 1), 1);
              if (!read) continue;
              const more = { until: clock.time + step.time, bytes: step.bytes, tags: step.tags };
              const value = product(read.id, Symbol(), more);
              near.put(read.mark, value);
              const old = model.get(value.key);
              if (!read.alive) continue;
              // Where the entry of a later read was evicted, the earlier one may be kept.
              const before = near.hitKey(value.key);
              if (old && old.order > read.order && before?.value !== value.value) continue;
              if (step.bytes > maxBytes) model.delete(value.key);
              else model.set(value.key, { ...value, order: read.order });
              if (step.bytes <= maxBytes) assert.equal(before?.value, value.value);
            } else if (step.do === "drop") {
              const keys = step.ids.map((id) => `product:${id}`);
              near.drop(keys);
              kill((key) => keys.includes(key));
              forget((kept) => keys.includes(kept.key));
            } else if (step.do === "tags") {
              near.dropTags(step.tags);
              kill(() => true);
              forget((kept) => kept.tags.some((tag) => step.tags.includes(tag)));
            } else if (step.do === "pass") {
              clock.time += step.time;
            } else {
              if (step.do === "clear") near.clear();
              else near.live = step.do === "up";
              kill(() => true);
              model.clear();
            }
            assert.ok(near.size <= maxEntries && near.bytes <= maxBytes && near.bytes >= 0);
            if (near.size === 0) assert.equal(near.bytes, 0);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  const million = (near: NearStore, i: number) => {
    const id = i % 3 === 0 ? i : i % 3 === 1 ? `${i}` : BigInt(i);
    near.put(near.begin(), { id, key: `p:${i}`, value: i, from: 0, until: 1000, tags: [], epoch: 0, bytes: 1 });
    near.begin();
    if (i % 4 === 0) near.hit(`${i}`);
    if (i % 4 === 1) near.drop([`p:${i - 500}`, `p:${i + 1}`]);
  };
  const replaced = (near: NearStore, i: number) => {
    keep(near, { ...product(i % 900), key: `p:${i % 900}` });
  };
  for (const [name, step, times] of [
    ["a million keys, reads that brought nothing and drops", million, 1_000_000],
    ["half a million puts that evict nothing", replaced, 500_000],
  ] as const) {
    it(`put takes no more memory when it follows ${name}`, { timeout: 60_000 }, () => {
      if (process.versions.bun && !process.env.NEAR_TEST_ALONE) {
        // Bun keeps what a word on the stack happens to point to, so other tests of the process would decide.
        const args = ["test", "test/near_test.ts", "-t", `put takes no more memory when it follows ${name}`];
        const env = { ...process.env, NEAR_TEST_ALONE: "1" };
        const { status, stderr } = spawnSync(process.execPath, args, { env, encoding: "utf8" });
        assert.equal(status, 0, stderr);
        return;
      }
      const { near } = fresh({ maxEntries: 1000, maxBytes: 1e9 });
      let last = 0;
      const more = (step: (near: NearStore, i: number) => void, count: number) => {
        for (const end = last + count; last < end; last++) step(near, last);
      };
      more(million, 20_000);
      near.drop(Array.from({ length: 19_900 }, (_, i) => `p:${i}`));
      const before = used();
      more(step, times);
      assert.ok(near.size > 500 && near.size <= 1000, `${near.size}`);
      // What as many of the smallest things take is several times as much.
      const grown = used() - before;
      assert.ok(grown < 8e6, `${grown} bytes more`);
    });
  }
});

describe("coarseClock", () => {
  it("stands still within a turn of the event loop, and goes on when it ends", async () => {
    let time = 1;
    const clock = coarseClock(() => time);
    assert.equal(clock(), 1);
    time = 2;
    assert.equal(clock(), 1);
    while (clock() === 1) await sleep(1);
    assert.equal(clock(), 2);
  });

  it("goes on after 256 calls when a turn does not end", () => {
    let time = 1;
    const clock = coarseClock(() => time++);
    const times = Array.from({ length: 513 }, clock);
    assert.deepEqual(new Set(times), new Set([1, 2, 3]));
    assert.equal(times.lastIndexOf(1), 255);
  });
});
