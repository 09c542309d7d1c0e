/** Rules about commands: their keys, and which of them can be cut up. */

import { nameOf, routingKey, wordText } from "../../src/base/routing_key.ts";
import type { RawCommand, RawReply } from "../driver.ts";
import { StoreError } from "../driver.ts";

/** Returns the keys of a command that reads or writes entries. */
export function keysOf(command: RawCommand): string[] {
  const name = nameOf(command);
  if (/^(MGET|UNLINK|DEL|EXISTS|TOUCH)$/.test(name)) return command.slice(1).map(wordText);
  if (/^(EVAL|EVALSHA)(_RO)?$/.test(name)) return command.slice(3, 3 + Number(command[2])).map(wordText);
  const key = routingKey(command);
  return key === undefined ? [] : [key];
}

/** A command of several keys as commands of one key, and how their replies make up its own. */
export interface Cut {
  readonly commands: readonly RawCommand[];
  readonly writes: boolean;
  join(replies: readonly RawReply[]): RawReply;
}

/**
 * Cuts a command of several keys into commands of one key, which a node can always answer or send on while their slot
 * is being moved. Returns `undefined` for a command that must run as a whole.
 */
export function cut(command: RawCommand): Cut | undefined {
  const [, ...keys] = command;
  const name = nameOf(command);
  const read = name === "MGET";
  if (keys.length < 2 || !(read || /^(UNLINK|DEL|EXISTS|TOUCH)$/.test(name))) return undefined;
  return {
    commands: keys.map((key) => [read ? "GET" : name, key]),
    writes: name === "UNLINK" || name === "DEL",
    join(replies) {
      // MGET answers nil for a key of another type.
      const values = replies.map((reply) => (read && codeOf(reply) === "WRONGTYPE" ? null : reply));
      const error = values.find((value) => value instanceof StoreError);
      if (error !== undefined) return error;
      return read ? values : values.reduce((sum: number, count) => sum + Number(count), 0);
    },
  };
}

/** Returns the code of an error reply. */
export function codeOf(reply: RawReply | undefined): string | undefined {
  return reply instanceof StoreError ? reply.code : undefined;
}
