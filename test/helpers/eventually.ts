import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** Waits until a condition holds. */
export async function eventually(condition: () => boolean | Promise<boolean>, patience = 20_000): Promise<void> {
  const end = performance.now() + patience;
  while (!(await condition())) {
    assert.ok(performance.now() < end, `still not: ${condition}`);
    await sleep(5);
  }
}
