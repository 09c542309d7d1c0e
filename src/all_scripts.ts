import type { Script } from "../drivers/driver.ts";
import { fixedWindow, slidingWindow, tokenBucket } from "./rate_limits.ts";
import { compareAndSet, increment, unlinkEach } from "./scripts.ts";

/** Every script: a server over the memory driver that imports this one runs them all. */
export const allScripts: readonly Script[] = [
  increment,
  compareAndSet,
  unlinkEach,
  fixedWindow,
  slidingWindow,
  tokenBucket,
];
