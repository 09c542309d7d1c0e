// What does one caller pay for `product.products.get(id)` over TCP, against node-redis GET + JSON.parse?
import { compare, ratioHeading, version } from "./helpers/compare.ts";
import { openProducts } from "./helpers/redis.ts";

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
