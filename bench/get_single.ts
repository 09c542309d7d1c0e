// What does one caller pay for `product.products.get(id)` over TCP, against node-redis GET + JSON.parse?
import { compare, ratioHeading, version } from "./helpers/compare.ts";
import { openProducts } from "./helpers/redis.ts";

// What remains between a get and GET + JSON.parse, by profiles of all three runtimes:
//
// - One caller waits for the socket: half of the time or more is the write, and most of the rest the parse of JSON,
//   which both sides need. Ours alone are the object of a read, the slot and its deadline, two turns of the microtask
//   queue (the end of the batch's tick, and that of the connection's), and the key of the epoch.
// - With 500 callers, two thirds of the processor time is JSON.parse and the decoding of UTF-8, and a tenth the
//   collection of garbage. One MGET instead of 500 GETs makes us faster, and can save a part of the last third only.
//   What ours has besides is small on each line: the promise and the object of each read, the schema, two looks at the
//   clock for the times of stats, which cost most on Deno.
// - Callers of one id share the text but not the value: each parses its own, because it may change it.
const IDS = 500;
const peer = version("redis");
ratioHeading(`get of a 1.5 KB product over TCP by one caller, schema included, against ${peer} GET + JSON.parse`);
const { ours, theirs, close } = await openProducts(IDS);
const one = (get: (id: number) => Promise<unknown>) => async (times: number) => {
  for (let time = 0; time < times; time++) await get((time % IDS) + 1);
};
await compare({
  title: "one get after the other",
  unit: "get",
  ours: one((id) => ours.get(id)),
  theirs: one(theirs),
  peer,
  bar: 0.95,
  rounds: 301,
  milliseconds: 6,
});
await close();
