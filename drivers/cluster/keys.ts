/** Rules about commands: which key decides the node, and which commands can be cut up. */

import type { RawCommand, RawReply } from "../driver.ts";
import { StoreError } from "../driver.ts";

/** Commands without keys. */
const KEYLESS =
  "PING ECHO TIME INFO SCAN DBSIZE KEYS RANDOMKEY CONFIG CLUSTER SCRIPT FUNCTION SLOWLOG LATENCY ACL WAIT WAITAOF " +
  "FLUSHALL FLUSHDB ROLE CLIENT COMMAND MODULE HELLO AUTH SELECT SWAPDB LASTSAVE SAVE BGSAVE BGREWRITEAOF PUBSUB " +
  "PUBLISH SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE MONITOR MULTI EXEC DISCARD UNWATCH ASKING READONLY " +
  "READWRITE RESET QUIT SHUTDOWN REPLICAOF FAILOVER LOLWUT COMMANDLOG";
/** Commands whose key stands behind a subcommand. */
const SECOND = "OBJECT XINFO XGROUP BITOP";
/** Commands that begin with the number of their keys, and those where one argument stands before it. */
const COUNTED = "LMPOP ZMPOP SINTERCARD ZUNION ZINTER ZDIFF ZINTERCARD";
const COUNTED_SECOND = "EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO BLMPOP BZMPOP";

type Place = (command: RawCommand) => RawCommand[number] | undefined;

const PLACES = new Map<RawCommand[number] | undefined, Place>();
for (const [names, place] of [
  [KEYLESS, () => undefined],
  [SECOND, (command) => command[2]],
  [COUNTED, (command) => (Number(command[1]) > 0 ? command[2] : undefined)],
  [COUNTED_SECOND, (command) => (Number(command[2]) > 0 ? command[3] : undefined)],
  // Other subcommands of these have no key.
  ["MEMORY", (command) => (/^usage$/i.test(`${command[1]}`) ? command[2] : undefined)],
  ["DEBUG", (command) => (/^object$/i.test(`${command[1]}`) ? command[2] : undefined)],
  ["XREAD XREADGROUP", (command) => command[command.findIndex((word) => /^streams$/i.test(`${word}`)) + 1]],
] satisfies [string, Place][]) {
  for (const name of names.split(" ")) PLACES.set(name, place);
}

const DECODER = new TextDecoder();

/** Returns a word of a command as text. */
export function wordText(word: RawCommand[number] | undefined): string {
  return typeof word === "object" ? DECODER.decode(word) : String(word ?? "");
}

/** Returns the name of a command in upper case. */
export function nameOf(command: RawCommand): string {
  return wordText(command[0]).toUpperCase();
}

/** Returns the key that decides where a command goes: the first one; `undefined` if the command has no keys. */
export function routingKey(command: RawCommand): string | undefined {
  const place = PLACES.get(command[0]) ?? PLACES.get(nameOf(command));
  const key = place ? place(command) : command[1];
  return key === undefined ? undefined : wordText(key);
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
