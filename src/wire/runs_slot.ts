import type { Reply, Script } from "../../drivers/driver.ts";
import { CommandSlot, type Slot } from "./slot.ts";

/** The most keys of one command, because each takes longer than those of other scripts. */
const MAX_RUNS = 100;

/**
 * A script that runs for each of its keys on its own, and returns a list with a reply for each. Runs of one tick that
 * share their list of arguments leave as one command.
 */
export class RunsSlot extends CommandSlot {
  declare readonly script: Script;

  override join(last: Slot): boolean {
    const { script, args, keys, callers, timeout, idempotent } = this;
    if (!(last instanceof RunsSlot) || last.args !== args || last.script !== script) return false;
    if (last.timeout !== timeout || last.idempotent !== idempotent || last.keys.length >= MAX_RUNS) return false;
    last.keys.push(...keys);
    last.callers.push(...callers);
    return true;
  }

  protected override answer(reply: Reply): void {
    for (const [i, caller] of this.callers.entries()) caller.resolve((reply as readonly Reply[])[i] ?? null);
  }
}
