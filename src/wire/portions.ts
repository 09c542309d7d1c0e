/**
 * The portions of a flush: one that is too large for one send leaves in several.
 *
 * @module
 */
import { type Capabilities, StoreError } from "../../drivers/driver.ts";
import type { Flight } from "./batch_options.ts";
import type { Slot } from "./slot.ts";

/** Cuts the slots into portions that fit into one send each. */
export function split(slots: readonly Slot[], capabilities: Capabilities): (readonly Slot[])[] {
  const { maxCommands = Number.POSITIVE_INFINITY, maxBytes = Number.POSITIVE_INFINITY } = capabilities;
  // At worst, each write asks for an epoch.
  if (slots.length * 2 <= maxCommands && maxBytes === Number.POSITIVE_INFINITY) return [slots];
  const portions: Slot[][] = [];
  let size = 0;
  let count = 0;
  for (const slot of slots) {
    const bytes = bytesOf(slot) + 2;
    if (bytes > maxBytes) {
      slot.fail(
        new StoreError("limit", `Cannot send a command: received ${bytes} bytes, expected at most ${maxBytes}`),
      );
      continue;
    }
    const portion = portions.at(-1);
    const commands = slot.epochKey ? 2 : 1;
    if (portion && count + commands <= maxCommands && size + bytes <= maxBytes) {
      portion.push(slot);
      size += bytes;
      count += commands;
    } else {
      portions.push([slot]);
      size = bytes + 2;
      count = commands;
    }
  }
  return portions;
}

/** Sends the portions together; one after the other if the wire keeps no order and they share a key. */
export async function sendPortions(
  portions: readonly Flight[],
  ordered: boolean,
  send: (portion: Flight) => void,
): Promise<void> {
  const keys = ordered ? [] : portions.flatMap(({ slots }) => slots.flatMap((slot) => slot.keys));
  const apart = new Set(keys).size === keys.length;
  const sent: Promise<void>[] = [];
  for (const portion of portions) {
    const done = new Promise<void>((done) => {
      portion.done = done;
      send(portion);
    });
    sent.push(done);
    if (!apart) await done;
  }
  await Promise.all(sent);
}

/** Returns the size of a command as JSON, with the script and the epoch that may go with it: never less than it has. */
function bytesOf(slot: Slot): number {
  const text = JSON.stringify([slot.render(true), slot.epochKey]);
  return 22 + 2 * (slot.script?.lua.length ?? 0) + new TextEncoder().encode(text).length;
}
