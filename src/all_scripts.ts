import type { Script } from "../drivers/driver.ts";
import { fixedWindow, slidingWindow, tokenBucket } from "./rate_limits.ts";
import { acquire, addCounts, hold, increment, invalidate, read, store, take, touch, unlinkEach } from "./scripts.ts";

/** Every script: a server over the memory driver that imports this one runs them all. */
export const allScripts: readonly Script[] = [
  read,
  store,
  invalidate,
  acquire,
  take,
  hold,
  touch,
  addCounts,
  increment,
  unlinkEach,
  fixedWindow,
  slidingWindow,
  tokenBucket,
];
