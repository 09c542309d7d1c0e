/** Drivers over TCP that live for a test. */
import type { Driver } from "../../drivers/driver.ts";
import { type NodeRedisOptions, nodeRedis } from "../../drivers/node_redis.ts";
import { type FaultProxy, startProxy } from "./proxy.ts";

/** Runs with a driver, and closes it. */
export async function using(options: NodeRedisOptions, run: (driver: Driver) => Promise<void>): Promise<void> {
  const driver = nodeRedis(options);
  try {
    await run(driver);
  } finally {
    await driver.close();
  }
}

/** Runs with a driver behind a proxy in front of the server at a port. */
export async function behindProxy(
  port: number,
  options: NodeRedisOptions,
  run: (driver: Driver, proxy: FaultProxy) => Promise<void>,
): Promise<void> {
  const proxy = await startProxy(port);
  try {
    await using({ host: "127.0.0.1", port: proxy.port, ...options }, (driver) => run(driver, proxy));
  } finally {
    await proxy.stop();
  }
}
