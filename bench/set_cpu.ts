// How much processor time does a `set` cost the server, next to a plain SET ... PX?
import { rawClient } from "../test/helpers/redis_server.ts";
import { heading, version } from "./helpers/compare.ts";
import { openSets } from "./helpers/redis.ts";
import { compareServerCpu } from "./helpers/server_cpu.ts";

const CALLERS = 500;
const peer = version("redis");
heading(
  `Server CPU of ${CALLERS} concurrent sets of a 1.1 KB product, against ${peer} SET PX + JSON.stringify`,
  "A ratio is the server's time for our set over its time for the peer's: below 1 ours is cheaper. Read the median.",
);
const { redis, ours, theirs, close } = await openSets();
const server = await rawClient(redis.port);
await compareServerCpu(server, {
  title: "set",
  unit: "set",
  units: CALLERS,
  ours: (times) => ours(times, CALLERS),
  theirs: (times) => theirs(times, CALLERS),
  peer,
  bar: 1.3,
  times: 40,
});
server.close();
await close();
