/** Garbage collection, however the runtime offers it. */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Collects all garbage, what finalizers and ended turns held included. */
export async function collect(): Promise<void> {
  const { Bun } = globalThis as { Bun?: { gc(now: boolean): void } };
  for (let time = 0; time < 3; time++) {
    if (Bun) {
      Bun.gc(true);
    } else {
      setFlagsFromString("--expose-gc");
      runInNewContext("gc")();
    }
    // What a turn of the event loop still holds is free after it.
    await sleep(10);
  }
}

/** The bytes of the heap that are in use when all garbage is collected. */
export async function heapUsed(): Promise<number> {
  await collect();
  return process.memoryUsage().heapUsed;
}
