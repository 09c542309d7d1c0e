import type { Command } from "../../drivers/driver.ts";
import type { Part } from "./batch_options.ts";
import type { Slot } from "./slot.ts";

/**
 * Returns the commands of a send: one for each slot, and before the first write of each keyspace that needs the epoch,
 * a GET of it. That epoch serves all later writes of the keyspace, unless a command in between may change it.
 *
 * @param slots The slots.
 * @param part The part of the store that they go to.
 * @param whole True if the store takes no hashes of scripts.
 */
export function render(slots: readonly Slot[], { known, name }: Part, whole?: boolean): Command[] {
  const commands: Command[] = [];
  let fresh: Set<string> | undefined;
  let epochs: Map<string, number> | undefined;
  for (const slot of slots) {
    const { script, epochKey } = slot;
    slot.progress = "sent";
    if (epochKey !== undefined) {
      epochs ??= new Map();
      let at = epochs.get(epochKey);
      if (at === undefined) {
        at = commands.push(["GET", epochKey]) - 1;
        epochs.set(epochKey, at);
      }
      slot.epochAt = at;
    } else if (epochs && slot.writes) {
      for (const key of slot.keys) epochs.delete(key);
    }
    if (script) {
      fresh ??= new Set();
      // A key may have moved to a part that never had the script: what was forgotten once is sent whole.
      const never = whole || (name !== undefined && slot.reloaded);
      commands.push(slot.render(!never && (known.has(script.sha1) || fresh.has(script.sha1))));
      fresh.add(script.sha1);
    } else commands.push(slot.render(false));
  }
  return commands;
}
