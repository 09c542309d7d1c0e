/** A near cache over a store of several parts, whose trackings begin and end apart. */
import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import type { Driver, Tracker } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { TTL_CLASSES } from "../src/base/ttl.ts";
import { Shard } from "../src/entry/keyspace.ts";
import type { NearCache } from "../src/near/near_cache.ts";
import { trackedNearCache } from "../src/near/near_tracking.ts";
import type { Events } from "../src/telemetry/events.ts";

/** The part of each key. */
let owners: Record<string, string>;
let tracker: Tracker;
let near: NearCache;
let lost: number;

beforeEach(async () => {
  owners = { "p:a1": "A", "p:a2": "A", "p:b1": "B" };
  lost = 0;
  const driver: Driver = {
    ...memory(),
    capabilities: { numbered: false, scripts: true, ordered: true, parts: true },
    partOf: (key) => owners[key] as string,
    parts: () => ["A", "B"],
    track(_database, _prefix, given) {
      tracker = given;
      return { close: async () => {} };
    },
  };
  near = trackedNearCache({
    options: {},
    space: new Shard(0, "p:"),
    database: 0,
    prefix: "p:",
    target: { service: "s" } as never,
    events: {
      emit: (event: { reason: string; entries: number }) => {
        if (event.reason === "lost") lost += event.entries;
      },
    } as unknown as Events,
    store: { name: "parts", untold: undefined, driver: () => driver },
    classes: TTL_CLASSES,
  });
  near.begin();
  await new Promise((done) => setTimeout(done));
});

const keep = (mark: number, ...ids: string[]): void => {
  for (const id of ids) {
    const read = { state: "fresh", id, physical: `p:${id}`, text: "1", document: undefined, left: 1e6, value: 1 };
    near.keep(mark, { ...read, epoch: { text: null, seq: 0, all: 0 } }, Date.now);
  }
};
const kept = (): string[] => Object.keys(owners).flatMap((key) => (near.store.hitKey(key) ? [key.slice(2)] : []));

describe("a near cache of several parts", () => {
  it("keeps values of the parts that report changes, and of no other", () => {
    keep(near.begin(), "a1");
    assert.deepEqual(kept(), []);
    tracker.up("A");
    keep(near.begin(), "a1", "b1");
    assert.deepEqual(kept(), ["a1"]);
    tracker.up("B");
    keep(near.begin(), "b1");
    assert.deepEqual(kept(), ["a1", "b1"]);
  });

  it("loses the values of a part alone when that reports no more, and keeps none until it does", () => {
    tracker.up("A");
    tracker.up("B");
    keep(near.begin(), "a1", "a2", "b1");
    tracker.down("A");
    assert.deepEqual([kept(), lost], [["b1"], 2]);
    keep(near.begin(), "a1");
    assert.deepEqual(kept(), ["b1"]);
    tracker.up("A");
    assert.deepEqual(kept(), ["b1"]);
    keep(near.begin(), "a1");
    assert.deepEqual(kept(), ["a1", "b1"]);
    tracker.down("B");
    tracker.down("A");
    assert.deepEqual([kept(), near.store.live], [[], false]);
    tracker.up("B");
    tracker.up("A");
    keep(near.begin(), "a1");
    tracker.down();
    assert.deepEqual([kept(), near.store.live], [[], false]);
  });

  it("keeps no value of a read that was in flight when a part came or went, or when keys changed their part", () => {
    tracker.up("A");
    for (const change of [() => tracker.up("B"), () => tracker.down("B"), () => tracker.moved?.()]) {
      const mark = near.begin();
      change();
      keep(mark, "a1");
      assert.deepEqual(kept(), []);
    }
  });

  it("loses values whose keys have another part now", () => {
    tracker.up("A");
    tracker.up("B");
    keep(near.begin(), "a1", "a2", "b1");
    owners["p:a2"] = "B";
    tracker.moved?.();
    assert.deepEqual([kept(), lost], [["a1", "b1"], 1]);
    owners["p:a2"] = "C";
    keep(near.begin(), "a2");
    assert.deepEqual(kept(), ["a1", "b1"]);
  });

  it("loses everything when one part is emptied", () => {
    tracker.up("A");
    tracker.up("B");
    keep(near.begin(), "a1", "b1");
    tracker.invalidate(null);
    assert.deepEqual(kept(), []);
  });
});
