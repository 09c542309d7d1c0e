/**
 * One SCAN over all masters.
 *
 * A cursor names a master by its lowest slot and a checksum of its name, then that master's own cursor:
 * `"5461:60113:8"`. It needs no memory here, so it also works in another process. Masters are walked in the order of
 * their slots, in which the replacement of one that was not reached yet stands in its place. If the master of a cursor
 * has been replaced, its replacement is walked from the beginning, because the cursor means nothing to it: keys may
 * come twice.
 */

import { crc16 } from "../../src/base/crc16.ts";
import { nameOf, wordText } from "../../src/base/routing_key.ts";
import { type RawCommand, type RawReply, StoreError } from "../driver.ts";
import type { Topology } from "./topology.ts";

/** A step of a walk: the command for one master, and how to continue. */
export interface Step {
  readonly node: string;
  readonly command: RawCommand;
  /** Returns the reply with a cursor for the whole walk. */
  leave(reply: RawReply): RawReply;
}

/** Returns whether a command is a SCAN of all keys. */
export function isScan(command: RawCommand): boolean {
  return nameOf(command) === "SCAN";
}

/** Returns the step that a SCAN asks for; `undefined` if its cursor is not one of a walk. */
export function stepOf([name = "SCAN", given, ...more]: RawCommand, topology: Topology): Step | undefined {
  const starts = topology.starts();
  const cursor = wordText(given);
  const [, slot = "", sum, own] = /^(\d+):(\d+):(\d+)$/.exec(cursor === "0" ? `${starts[0]?.[0]}:0:0` : cursor) ?? [];
  const start = Number(slot);
  const node = slot === "" ? undefined : topology.ownerOf(start);
  if (node === undefined) return undefined;
  const same = crc16(node) === Number(sum);
  return {
    node,
    command: [name, same ? (own as string) : "0", ...more],
    leave(reply) {
      if (reply instanceof StoreError || !Array.isArray(reply)) return reply;
      const [next, keys] = reply as [RawReply, RawReply];
      const left = wordText(next as string | Uint8Array);
      if (left !== "0") return [`${start}:${crc16(node)}:${left}`, keys];
      const after = topology.starts().find(([first]) => first > start);
      return [after ? `${after[0]}:${crc16(after[1])}:0` : "0", keys];
    },
  };
}
