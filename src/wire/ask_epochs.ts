import type { Command } from "../../drivers/driver.ts";
import type { Slot } from "./slot.ts";

/**
 * Asks for the epoch before the first write of each keyspace that needs it, by a GET. That epoch serves all later
 * writes of the keyspace, unless a command in between may change it.
 *
 * @param slot The next slot of a send.
 * @param commands The commands of the slots before it, to which the GET is added.
 * @param asked What it returned for those slots.
 * @returns The place of each epoch that was asked for, by its key; `undefined` for none.
 */
export type AskEpoch = (
  slot: Slot,
  commands: Command[],
  asked: Map<string, number> | undefined,
) => Map<string, number> | undefined;

/** The {@linkcode AskEpoch} of clients that write by plain commands. */
export const ask: AskEpoch = (slot, commands, asked) => {
  const { epochKey } = slot;
  if (epochKey === undefined) {
    if (asked && slot.writes) for (const key of slot.keys) asked.delete(key);
    return asked;
  }
  const places = asked ?? new Map<string, number>();
  let at = places.get(epochKey);
  if (at === undefined) {
    at = commands.push(["GET", epochKey]) - 1;
    places.set(epochKey, at);
  }
  slot.epochAt = at;
  return places;
};
