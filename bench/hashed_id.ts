// What does a get by a hashed id cost over one by a plain id, on the embedded store? How long does a hash take?
//
// `searches` and `auth.sessions` hash their ids, and the entries of both have tags. The values are the same product.
// The time of a hash is processor time: it includes the canonical text of the id.
import assert from "node:assert/strict";
import process from "node:process";
import { createCacheClient } from "../mod.ts";
import { hashId } from "../src/entry/keyspace.ts";
import { hashInScript } from "../src/runtime/sha256.ts";
import { product } from "../test/fixtures/product.ts";
import { compare, information, quantile, ratioHeading, verdict } from "./helpers/compare.ts";

/** The most processor time of one hash, in microseconds. */
const BAR = 3;
const IDS = 500;
ratioHeading("get of a 1.5 KB product from the embedded store, by a hashed id, against products.get by a number");

const searches = Array.from({ length: IDS }, (_, i) => ({
  text: `pho number ${i}`,
  page: i % 7,
  sort: "price",
  filters: { cuisine: ["vietnamese", "thai"], open: true },
}));
const tokens = searches.map((_, i) => `${i}`.padStart(8, "0").repeat(8));

await using client = createCacheClient({ env: {}, driver: "memory" });
const { products, searches: found } = client.service("product");
const { sessions } = client.service("auth");
for (let i = 0; i < IDS; i++) {
  const value = product(i);
  await products.set(i, value);
  await found.set(searches[i] as object, value);
  await found.set(tokens[i] as string, value);
  await sessions.set(tokens[i] as string, { ...value, userId: i });
}
const all = (get: (i: number) => Promise<unknown>) => async (times: number) => {
  for (let time = 0; time < times; time++) await get(time % IDS);
};
assert.deepEqual(await found.get(tokens[7] as string), product(7));
assert.deepEqual(await found.get({ ...searches[7] }), product(7));
const plain = { unit: "get", theirs: all((i) => products.get(i)), peer: "products.get" };
await compare({
  ...plain,
  title: "searches.get by an object",
  ours: all((i) => found.get(searches[i] as object)),
  bar: 0.6,
});
await compare({
  ...plain,
  title: "searches.get by a string",
  ours: all((i) => found.get(tokens[i] as string)),
  bar: 0.6,
});
await compare({
  ...plain,
  title: "sessions.get, sliding, by a token",
  ours: all((i) => sessions.get(tokens[i] as string)),
});

const cases = { "an object": searches, "a token of 64 characters": tokens };
for (const [name, ids] of Object.entries(cases)) {
  const took = processorTime((i) => hashId(ids[i]));
  verdict(`the hash of ${name}`, `${BAR} us or less`, `${took.toFixed(2)} us`, took <= BAR);
}
const script = processorTime((i) => hashInScript("sha256", tokens[i] as string));
information("SHA-256 of the token in script, for a runtime without one of its own", `${script.toFixed(2)} us`);

/** Returns the median processor time of a call, in microseconds. */
function processorTime(call: (i: number) => unknown): number {
  const times: number[] = [];
  for (let round = 0; round < 15; round++) {
    const before = process.cpuUsage();
    for (let time = 0; time < 40_000; time++) call(time % IDS);
    const { user, system } = process.cpuUsage(before);
    times.push((user + system) / 40_000);
  }
  return quantile(times, 0.5);
}
