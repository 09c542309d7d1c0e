import type { Command } from "../../drivers/driver.ts";
import type { AskEpoch } from "./ask_epochs.ts";
import type { Part } from "./batch_options.ts";
import type { Slot } from "./slot.ts";

/**
 * Returns the commands of a send: one for each slot, and those that ask for epochs.
 *
 * @param slots The slots.
 * @param part The part of the store that they go to.
 * @param whole True if the store takes no hashes of scripts.
 * @param ask Asks for the epochs that slots need.
 */
export function render(
  slots: readonly Slot[],
  { known, name }: Part,
  whole: boolean | undefined,
  ask: AskEpoch | undefined,
): Command[] {
  const commands: Command[] = [];
  let fresh: Set<string> | undefined;
  let asked: Map<string, number> | undefined;
  for (const slot of slots) {
    const { script } = slot;
    slot.progress = "sent";
    asked = ask?.(slot, commands, asked);
    // A key may have moved to a part that never had the script: what was forgotten once is sent whole.
    const never = whole || (name !== undefined && slot.reloaded);
    const hash = script?.sha1 ?? "";
    commands.push(slot.render(!never && (known.has(hash) || fresh?.has(hash) === true)));
    if (script) {
      fresh ??= new Set();
      fresh.add(hash);
    }
  }
  return commands;
}
