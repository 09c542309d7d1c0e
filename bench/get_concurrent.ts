// How do 500 concurrent `product.products.get(id)` over TCP compare with node-redis GET + JSON.parse on one connection?
import { compare, ratioHeading, version } from "./helpers/compare.ts";
import { openProducts } from "./helpers/redis.ts";

const CALLERS = 500;
const peer = version("redis");
ratioHeading(
  `${CALLERS} concurrent get of a 1.5 KB product over TCP, schema included, against ${peer} GET + JSON.parse`,
);
const { ours, theirs, close } = await openProducts(CALLERS);
const all = (get: (id: number) => Promise<unknown>, distinct: number) => async (times: number) => {
  for (let time = 0; time < times; time++) {
    await Promise.all(Array.from({ length: CALLERS }, (_, i) => get((i % distinct) + 1)));
  }
};
for (const { distinct, bar } of [
  { distinct: CALLERS, bar: 1.2 },
  { distinct: CALLERS / 10, bar: 1.7 },
]) {
  await compare({
    title: distinct === CALLERS ? "every caller an id of its own" : "ten callers an id",
    unit: "get",
    units: CALLERS,
    ours: all((id) => ours.get(id), distinct),
    theirs: all(theirs, distinct),
    peer,
    bar,
  });
}
await close();
