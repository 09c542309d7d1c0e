/** Finds out what the current user may do by trying it. None of the trials changes anything. */
import { isOfCluster, type RawCommand, type RawReply, type StoreError } from "../../drivers/driver.ts";
import { EPOCH_KEY, MARKS, OWN } from "../base/own_keys.ts";
import { isForbidden } from "../base/store_error.ts";
import { read } from "../lua/entries.ts";
import { type ManagedConnection, word } from "./connection.ts";

/** The commands and keys that the store refused. */
export interface Refusals {
  /** The store's error if scripts are refused. */
  readonly scripts: string | undefined;
  /** The store's error if scripts may be run, but not by their hashes. */
  readonly hashes: string | undefined;
  /** The store's error if scripts may use no other keys than those that they declare. */
  readonly undeclared: string | undefined;
  /** The commands that this user may not run or the server does not know, those inside scripts included. */
  readonly commands: readonly string[];
  /** The prefix of the keys that this user may not read and write; `undefined` if it may. */
  readonly keys: string | undefined;
  /** The error by which a node of a cluster is known. */
  readonly cluster: string | undefined;
}

/**
 * Runs every command that the library's scripts run, on a key that does not exist. Commands that write fail on their
 * arguments, or have nothing to change.
 */
export const TRIALS: string = `local key = KEYS[1]
local errors = {}
local function try(name, ...)
  local reply = redis.pcall(name, ...)
  if type(reply) == 'table' and reply.err then errors[#errors + 1] = name .. ' ' .. reply.err end
end
for _, name in ipairs({'MGET', 'GET', 'PTTL', 'DEL', 'UNLINK', 'PERSIST'}) do try(name, key) end
try('SET', key, '', 'XX')
try('PEXPIRE', key, 1)
try('INCRBY', key, 'none')
try('HGETALL', key)
try('HDEL', key, 'none')
try('HINCRBY', key, 'none', 'none')
try('TIME')
return errors`;

const KEYS = /^NOPERM .*access .*\bkeys?\b/i;
const FORBIDDEN_IN_SCRIPTS = /can't (run|access)|no permissions|ACL failure|unknown .*command/i;

/**
 * Tries all commands of the library.
 *
 * @param connection A connection to the service or database whose keys are tried.
 * @returns The commands and keys that the store refused.
 */
export async function refusals(connection: ManagedConnection): Promise<Refusals> {
  // All in one shard.
  const [key, epoch, marks] = [`${OWN}doctor`, EPOCH_KEY, MARKS].map((name) => connection.start(0) + name) as [
    string,
    string,
    string,
  ];
  const direct: RawCommand[] = [
    ["MGET", key, epoch],
    ["PTTL", key],
    ["SET", key, "", "XX"],
    ["UNLINK", key],
    connection.scanCommand("0", `${OWN}doctor`, 1),
  ];
  const scripts: RawCommand[] = [
    ["EVAL", read.lua, 2, epoch, key, marks, 0, 2],
    ["EVALSHA", read.sha1, 2, epoch, key, marks, 0, 2],
    ["EVAL", "return redis.call('GET', KEYS[1] .. ARGV[1])", 1, key, "2"],
    ["EVAL", TRIALS, 1, key],
  ];
  const replies = await connection.send([...direct, ...scripts]);
  const errors = replies.map((reply) => (reply instanceof Error ? reply : undefined));
  const [evalError, hashError, keysError] = errors.slice(direct.length);
  const ofKeys = errors.some((error) => error !== undefined && KEYS.test(error.message));
  const forbidden = (error: StoreError | undefined): boolean =>
    error !== undefined && isForbidden(error) && !KEYS.test(error.message);
  const commands = direct.filter((_, i) => forbidden(errors[i])).map(([name]) => String(name));
  const inner = replies.at(-1);
  for (const tried of Array.isArray(inner) ? (inner as RawReply[]) : []) {
    const [name = "", ...why] = word(tried).split(" ");
    if (FORBIDDEN_IN_SCRIPTS.test(why.join(" "))) commands.push(name);
  }
  const refused = (error: StoreError | undefined): string | undefined =>
    forbidden(error) && !forbidden(evalError) ? error?.message : undefined;
  return {
    scripts: forbidden(evalError) ? evalError?.message : undefined,
    hashes: refused(hashError),
    undeclared: refused(keysError),
    commands: [...new Set(commands)],
    keys: ofKeys ? connection.location.prefix : undefined,
    cluster: errors.find((error) => error && isOfCluster(error))?.message,
  };
}

/**
 * Tries to subscribe to changes of keys, as near caches over TCP do.
 *
 * @param connection A connection; the trial opens another one.
 * @param channel The channel on which the server announces changes.
 * @returns The server's error if it refuses; `null` if it does not; `undefined` if the driver has no tracking.
 */
export async function trackingRefusal(
  connection: ManagedConnection,
  channel: string,
): Promise<string | null | undefined> {
  const { location, timeout, part } = connection;
  const { driver, database } = location;
  const listener = await driver.connect?.(database, { timeout, ...(part !== undefined && { part }) });
  if (!listener) return undefined;
  try {
    const [id] = await listener.send([["CLIENT", "ID"]], { timeout });
    if (id instanceof Error) return id.message;
    const tracking = ["CLIENT", "TRACKING", "ON", "REDIRECT", `${id}`, "BCAST", "PREFIX", `${OWN}doctor`];
    const [on] = await listener.send([tracking], { timeout });
    if (on instanceof Error) return on.message;
    return await new Promise<string | null>((resolve, reject) => {
      const answered = (reply: RawReply): void => resolve(reply instanceof Error ? reply.message : null);
      listener.listen(["SUBSCRIBE", channel], answered).catch(reject);
    });
  } finally {
    await listener.close();
  }
}
