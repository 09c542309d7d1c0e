import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Marks } from "../src/cache/marks.ts";

/** The reads of a fresh client, of entries of 20 tags that are spread over shards. */
function readFresh(shards: number, reads: number, invalidateEvery = Number.POSITIVE_INFINITY) {
  const debt = { reads: 0 };
  const marks = Array.from({ length: shards }, () => new Marks(debt));
  let seed = 7;
  const next = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  let plain = false;
  const count = { scripts: 0, again: 0 };
  for (let read = 0; read < reads; read++) {
    const epoch = `${Math.floor(read / invalidateEvery)}`;
    const mark = marks[next(shards)] as Marks;
    const tags = [`tag ${next(20)}`];
    if (plain && !mark.covers(tags, 1, epoch)) {
      count.again++;
      plain = false;
    }
    if (plain) continue;
    count.scripts++;
    plain = mark.learn(tags, 1, epoch);
  }
  return count;
}

describe("Marks", () => {
  it("learn the marks of 64 shards in few reads by script when a client is fresh", () => {
    const { scripts } = readFresh(64, 30_000);
    // There are 1,280 marks to learn.
    assert.ok(scripts < 5000, `${scripts} reads went by script`);
  });

  it("cost at most one read in twenty a second round trip, however often the epoch moves", () => {
    for (const shards of [1, 4, 64]) {
      for (const every of [5, 30, 100, 1000, 10_000, Number.POSITIVE_INFINITY]) {
        const { again } = readFresh(shards, 30_000, every);
        assert.ok(again <= 1 + 30_000 / 20, `${shards} shards, invalidated every ${every}: ${again} of 30,000`);
      }
    }
  });
});
