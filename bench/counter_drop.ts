// How often is a counter incremented when the connection drops after the store executed the command?
import { nodeRedis } from "../drivers/node_redis.ts";
import { type ClientOptions, createCacheClient } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { startProxy } from "../test/helpers/proxy.ts";
import { type RedisServer, rawClient, startRedis } from "../test/helpers/redis_server.ts";
import { serve } from "../test/helpers/serve.ts";
import { heading, verdict, version } from "./helpers/compare.ts";

heading(
  `increment over ${version("redis")} and over ${version("@upstash/redis")}, its reply cut off`,
  "A proxy passes the command on, then cuts the connection before the reply. The counts are Redis's own.",
);
const redis = await startRedis();
await drop("TCP", redis.port, (port) => ({ url: `redis://127.0.0.1:${port}` }));
const token = "bench-token";
const driver = nodeRedis({ url: redis.url });
const server = await serve(bridge({ driver, token }));
await drop("REST", server.port, (port) => ({ driver: "upstash", url: `http://127.0.0.1:${port}`, token }));
await server.close();
await driver.close();
await redis.stop();

async function drop(wire: string, target: number, at: (port: number) => ClientOptions): Promise<void> {
  const proxy = await startProxy(target);
  const client = createCacheClient({ env: {}, ...at(proxy.port) });
  const cache = client.cache();
  await client.connect();
  for (const [name, before] of [
    ["the script's first run", 0],
    ["a script that the store knows", 3],
  ] as const) {
    const key = `${wire}-${before}`;
    await proxy.set("pass");
    for (let i = 0; i < before; i++) await cache.increment(key);
    await client.connect();
    await proxy.set("drop");
    const answer = await cache.increment(key);
    await proxy.set("pass");
    if (answer !== 0) throw new Error("the proxy let a reply through");
    const times = (await stored(redis, key)) - before;
    verdict(`${wire}, ${name}: increments`, "1", String(times), times === 1);
  }
  await client.close();
  await proxy.stop();
}

/** The counter in Redis, wherever the wire keeps it. */
async function stored({ port }: RedisServer, key: string): Promise<number> {
  const raw = await rawClient(port);
  const values = await raw.pipeline([
    ["GET", key],
    ["GET", `db0:${key}`],
  ]);
  raw.close();
  return Number(values[0] ?? values[1] ?? 0);
}
