/** The key by which a cluster's commands find their node. */

type Word = string | number | Uint8Array;
type Words = readonly Word[];

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

type Place = (command: Words) => Word | undefined;

const PLACES = new Map<Word | undefined, Place>();
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
export function wordText(word: Word | undefined): string {
  return typeof word === "object" ? DECODER.decode(word) : String(word ?? "");
}

/** Returns the name of a command in upper case. */
export function nameOf(command: Words): string {
  return wordText(command[0]).toUpperCase();
}

/** Returns the key that decides where a command goes: the first one; `undefined` if the command has no keys. */
export function routingKey(command: Words): string | undefined {
  const place = PLACES.get(command[0]) ?? PLACES.get(nameOf(command));
  const key = place ? place(command) : command[1];
  return key === undefined ? undefined : wordText(key);
}
