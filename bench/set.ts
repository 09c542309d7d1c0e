// How does `product.products.set(id, value)` over TCP compare with node-redis SET PX + JSON.stringify?
import { compare, ratioHeading, version } from "./helpers/compare.ts";
import { openSets } from "./helpers/redis.ts";

const peer = version("redis");
ratioHeading(`set of a 1.1 KB product over TCP, schema included, against ${peer} SET PX + JSON.stringify`);
const { ours, theirs, close } = await openSets();
for (const { callers, bar } of [
  { callers: 500, bar: 1 },
  { callers: 50, bar: 1 },
  { callers: 1, bar: 0.9 },
]) {
  await compare({
    title: callers === 1 ? "one caller" : `${callers} callers`,
    unit: "set",
    units: callers,
    ours: (times) => ours(times, callers),
    theirs: (times) => theirs(times, callers),
    peer,
    bar,
  });
}
await close();
