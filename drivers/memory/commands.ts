/** The commands of the embedded store: one table, and a function for each that needs more than a line. */

import { type Command, errorReply, type Reply, type TwinnedScript } from "../driver.ts";
import { globMatcher } from "../glob.ts";
import { type Args, arityError, expiry, integer, isInt64, parseOptions, sum, syntaxError } from "./arguments.ts";
import {
  byteLength,
  type Database,
  FIELD_BYTES,
  type Fields,
  type MemoryStore,
  type StoredValue,
  textOf,
  typeOf,
} from "./store.ts";

type Run = (store: MemoryStore, args: Args) => Reply;

function set(store: MemoryStore, args: Args): Reply {
  const [, key, value] = args;
  if (args.length === 3) {
    store.write(key, value);
    return "OK";
  }
  const { flags, word, amount } = parseOptions(args, 3, ["NX", "XX", "GET", "KEEPTTL"]);
  let expires = word ? expiry(store, args[0], word, amount, 1n) : Infinity;
  const old = flags.has("GET") ? store.text(key) : "OK";
  const entry = store.find(key);
  if (entry ? flags.has("NX") : flags.has("XX")) return flags.has("GET") ? old : null;
  if (entry && flags.has("KEEPTTL")) expires = entry.expires;
  store.write(key, value, expires);
  return old;
}

function getEx(store: MemoryStore, args: Args): Reply {
  const { flags, word, amount } = parseOptions(args, 2, ["PERSIST"]);
  const entry = store.use(args[1], "string");
  if (!entry) return null;
  const text = textOf(entry) as string;
  if (flags.has("PERSIST")) store.expire(entry, Infinity);
  if (word) store.expire(entry, expiry(store, args[0], word, amount, 1n));
  return text;
}

function setWithTtl(store: MemoryStore, args: Args): Reply {
  const [name, key, amount, value] = args;
  store.write(key, value, expiry(store, name, name.toUpperCase(), amount, 1n));
  return "OK";
}

function multiSet(store: MemoryStore, args: Args): Reply {
  if (args.length % 2 === 0) throw arityError(args[0]);
  // Measures all before it writes the first: if one is refused, nothing is written.
  const bytes: number[] = [];
  for (let i = 1; i < args.length; i += 2) bytes.push(store.measure(args[i] as string, args[i + 1] as string));
  bytes.forEach((size, i) => {
    store.write(args[2 * i + 1] as string, args[2 * i + 2] as string, Infinity, size);
  });
  return "OK";
}

function multiGet(store: MemoryStore, args: Args): Reply {
  const values: (string | null)[] = [];
  for (let i = 1; i < args.length; i++) {
    const entry = store.find(args[i] as string);
    if (entry) store.touch(entry);
    values.push((entry && textOf(entry)) ?? null);
  }
  return values;
}

function add(store: MemoryStore, key: string, by: bigint): Reply {
  const entry = store.use(key, "string");
  const value = sum(integer((entry && textOf(entry)) ?? "0"), by);
  store.write(key, `${value}`, entry?.expires);
  return Number(value);
}

function subtract(store: MemoryStore, args: Args): Reply {
  const by = integer(args[2]);
  if (!isInt64(-by)) throw errorReply("ERR decrement would overflow");
  return add(store, args[1], -by);
}

/** Removes the entry at a key. Returns whether one existed. */
function removeKey(store: MemoryStore, key: string): boolean {
  const entry = store.find(key);
  if (entry) store.remove(entry);
  return entry !== undefined;
}

/** Counts the arguments after the name for which a condition holds. */
function count(args: Args, holds: (arg: string) => boolean): number {
  let total = 0;
  for (let i = 1; i < args.length; i++) if (holds(args[i] as string)) total++;
  return total;
}

function unlink(store: MemoryStore, args: Args): Reply {
  return count(args, (key) => removeKey(store, key));
}

function expire(store: MemoryStore, args: Args): Reply {
  const flags = new Set<string>();
  for (const flag of args.slice(3)) {
    if (!/^(NX|XX|GT|LT)$/i.test(flag)) throw errorReply(`ERR Unsupported option ${flag}`);
    flags.add(flag.toUpperCase());
  }
  const [nx, xx, gt, lt] = ["NX", "XX", "GT", "LT"].map((flag) => flags.has(flag));
  if (nx && (xx || gt || lt)) {
    throw errorReply("ERR NX and XX, GT or LT options at the same time are not compatible");
  }
  if (gt && lt) throw errorReply("ERR GT and LT options at the same time are not compatible");
  const [name, key, amount] = args;
  const at = expiry(store, name, name.toUpperCase(), amount, -(2n ** 63n));
  const entry = store.find(key);
  if (!entry) return 0;
  const old = entry.expires;
  if ((nx && old < Infinity) || (xx && old === Infinity) || (gt && at <= old) || (lt && at >= old)) return 0;
  store.expire(entry, at);
  return 1;
}

/** Makes TTL and its relatives: in seconds or milliseconds, as the time left or as the moment of expiry. */
function remaining(unit: 1 | 1000, absolute: boolean): Run {
  return (store, args) => {
    const entry = store.find(args[1]);
    if (!entry) return -2;
    if (entry.expires === Infinity) return -1;
    const time = entry.expires - store.now + (absolute ? store.wall : 0);
    return unit === 1 ? time : Math.floor((time + 500) / 1000);
  };
}

function persist(store: MemoryStore, args: Args): Reply {
  const entry = store.find(args[1]);
  if (!entry || entry.expires === Infinity) return 0;
  store.expire(entry, Infinity);
  return 1;
}

function keys(store: MemoryStore, args: Args): Reply {
  const matches = globMatcher(args[1]);
  const found: string[] = [];
  for (const entry of store.current.entries.values()) {
    if (entry.expires >= store.now && matches(entry.key)) found.push(entry.key);
  }
  return found;
}

function scan(store: MemoryStore, args: Args): Reply {
  if (!/^\d+$/.test(args[1])) throw errorReply("ERR invalid cursor");
  let left = 10;
  let matches = globMatcher("*");
  let type = "";
  for (let i = 2; i < args.length; i += 2) {
    const option = args[i]?.toUpperCase();
    const value = args[i + 1];
    if (value === undefined) throw syntaxError();
    if (option === "COUNT") left = Number(integer(value));
    else if (option === "MATCH") matches = globMatcher(value);
    else if (option === "TYPE") type = value.toLowerCase();
    else throw syntaxError();
    if (left < 1) throw syntaxError();
  }
  const { births } = store.current;
  const cursor = Number(args[1]) || Infinity;
  // Finds the first entry born at the cursor or later: the entries before it are still to be seen.
  let [low, high] = [0, births.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((births[middle] as StoredValue).birth < cursor) low = middle + 1;
    else high = middle;
  }
  const found: string[] = [];
  let last: StoredValue | undefined;
  while (low && left > 0) {
    last = births[--low] as StoredValue;
    if (!last.alive) continue;
    left--;
    if (last.expires >= store.now && (!type || type === typeOf(last)) && matches(last.key)) found.push(last.key);
  }
  return [low && last ? `${last.birth}` : "0", found];
}

function flush(databases: (store: MemoryStore) => readonly Database[]): Run {
  return (store, args) => {
    if (args.length > 2 || (args.length === 2 && !/^(A?SYNC)$/i.test(args[1]))) throw syntaxError();
    for (const database of databases(store)) store.flush(database);
    return "OK";
  };
}

function evaluate(store: MemoryStore, args: Args): Reply {
  const bySha = args[0].toUpperCase() === "EVALSHA";
  // Each read of tagged entries comes here.
  const total = /^[0-9]$/.test(args[2]) ? +args[2] : Number(integer(args[2]));
  if (total > args.length - 3) throw errorReply("ERR Number of keys can't be greater than number of args");
  if (total < 0) throw errorReply("ERR Number of keys can't be negative");
  const script = bySha ? store.scripts.get(args[1].toLowerCase()) : scriptOf(store, args[1]);
  if (!script || (bySha && !store.loaded.has(script.sha1))) {
    throw errorReply("NOSCRIPT No matching script. Please use EVAL.");
  }
  store.loaded.add(script.sha1);
  const twin = { now: store.now, call: (...command: Command): Reply => run(store, command) };
  return script.twin(twin, args.slice(3, 3 + total), args.slice(3 + total));
}

/** Finds the script of a Lua source. @throws {StoreError} If the store has no twin of it. */
function scriptOf(store: MemoryStore, source: string): TwinnedScript {
  const script = store.scripts.get(source);
  if (script?.lua === source) return script;
  throw errorReply(
    "ERR the memory store has no Lua: it runs the library's scripts and those of its option `scripts`; " +
      "for others use a Redis (redis://...)",
  );
}

function script(store: MemoryStore, args: Args): Reply {
  const [, name, source] = args;
  const verb = name.toUpperCase();
  if (verb === "LOAD" && args.length === 3) {
    const { sha1 } = scriptOf(store, source);
    store.loaded.add(sha1);
    return sha1;
  }
  if (verb === "EXISTS" && args.length > 2) {
    return args.slice(2).map((sha) => (store.loaded.has(sha.toLowerCase()) ? 1 : 0));
  }
  if (verb === "FLUSH") {
    if (args.length > 3 || (args.length === 3 && !/^(A?SYNC)$/i.test(source))) {
      throw errorReply("ERR SCRIPT FLUSH only support SYNC|ASYNC option");
    }
    store.loaded.clear();
    return "OK";
  }
  if (verb === "LOAD" || verb === "EXISTS") throw arityError(`script|${name}`);
  throw errorReply(`ERR unknown subcommand '${name}'. Try SCRIPT HELP.`);
}

function hashSet(store: MemoryStore, args: Args): Reply {
  if (args.length % 2) throw arityError(args[0]);
  const key = args[1];
  const old = store.use(key, "hash");
  // Measures as if every field were new, because nothing may be written if there is too little room.
  let grown = old?.bytes ?? store.measure(key, "");
  for (let i = 2; i < args.length; i += 2) {
    grown = store.measure(args[i] as string, args[i + 1] as string, grown + FIELD_BYTES);
  }
  const entry = old ?? store.write(key, new Map(), Infinity, store.measure(key, ""));
  const hash = entry.value as Fields;
  const before = hash.size;
  let { bytes } = entry;
  for (let i = 2; i < args.length; i += 2) {
    const [field, value] = [args[i] as string, args[i + 1] as string];
    const replaced = hash.get(field);
    bytes += byteLength(value) - (replaced === undefined ? -byteLength(field) - FIELD_BYTES : byteLength(replaced));
    hash.set(field, value);
  }
  store.resize(entry, bytes);
  return hash.size - before;
}

function hashDelete(store: MemoryStore, args: Args): Reply {
  const entry = store.use(args[1], "hash");
  return entry ? store.deleteFields(entry, args.slice(2)) : 0;
}

function hashAdd(store: MemoryStore, args: Args): Reply {
  const [, key, field, amount] = args;
  const by = integer(amount);
  const value = sum(integer(store.use(key, "hash")?.value.get(field) ?? "0", "ERR hash value is not an integer"), by);
  run(store, ["HSET", key, field, `${value}`]);
  return Number(value);
}

/**
 * The commands by name, with the number of their words as Redis counts them: with the name; negative means "at least".
 */
const COMMANDS: ReadonlyMap<string, readonly [arity: number, run: Run]> = new Map(
  Object.entries<readonly [arity: number, run: Run]>({
    GET: [2, (store, args) => store.text(args[1])],
    MGET: [-2, multiGet],
    SET: [-3, set],
    MSET: [-3, multiSet],
    SETNX: [3, (store, args) => (set(store, [...args, "NX"] as readonly string[] as Args) ? 1 : 0)],
    SETEX: [4, setWithTtl],
    PSETEX: [4, setWithTtl],
    GETEX: [-2, getEx],
    GETDEL: [
      2,
      (store, args) => {
        const value = store.text(args[1]);
        removeKey(store, args[1]);
        return value;
      },
    ],
    STRLEN: [2, (store, args) => byteLength(store.text(args[1]) ?? "")],
    INCR: [2, (store, args) => add(store, args[1], 1n)],
    INCRBY: [3, (store, args) => add(store, args[1], integer(args[2]))],
    DECR: [2, (store, args) => add(store, args[1], -1n)],
    DECRBY: [3, subtract],
    DEL: [-2, unlink],
    UNLINK: [-2, unlink],
    EXISTS: [-2, (store, args) => count(args, (key) => store.find(key) !== undefined)],
    TYPE: [
      2,
      (store, args) => {
        const entry = store.find(args[1]);
        return entry ? typeOf(entry) : "none";
      },
    ],
    EXPIRE: [-3, expire],
    PEXPIRE: [-3, expire],
    EXPIREAT: [-3, expire],
    PEXPIREAT: [-3, expire],
    TTL: [2, remaining(1000, false)],
    PTTL: [2, remaining(1, false)],
    EXPIRETIME: [2, remaining(1000, true)],
    PEXPIRETIME: [2, remaining(1, true)],
    PERSIST: [2, persist],
    KEYS: [2, keys],
    SCAN: [-2, scan],
    DBSIZE: [1, (store) => store.size()],
    FLUSHDB: [-1, flush((store) => [store.current])],
    FLUSHALL: [-1, flush((store) => store.databases)],
    EVAL: [-3, evaluate],
    EVALSHA: [-3, evaluate],
    SCRIPT: [-2, script],
    HGET: [3, (store, args) => store.use(args[1], "hash")?.value.get(args[2]) ?? null],
    HMGET: [
      -3,
      (store, args) => {
        const hash = store.use(args[1], "hash")?.value;
        return args.slice(2).map((field) => hash?.get(field) ?? null);
      },
    ],
    HGETALL: [2, (store, args) => [...(store.use(args[1], "hash")?.value ?? [])].flat()],
    HSET: [-4, hashSet],
    HDEL: [-3, hashDelete],
    HLEN: [2, (store, args) => store.use(args[1], "hash")?.value.size ?? 0],
    HEXISTS: [3, (store, args) => (store.use(args[1], "hash")?.value.has(args[2]) ? 1 : 0)],
    HINCRBY: [4, hashAdd],
    PING: [
      -1,
      (_store, args) => {
        if (args.length > 2) throw arityError(args[0]);
        return args.length > 1 ? args[1] : "PONG";
      },
    ],
    ECHO: [2, (_store, args) => args[1]],
    TIME: [1, (store) => [`${Math.floor(store.wall / 1000)}`, `${(store.wall % 1000) * 1000}`]],
    SELECT: [
      2,
      () => {
        throw errorReply("ERR SELECT is not allowed: each send names its database");
      },
    ],
  }),
);

/**
 * Finds the function of a command. @throws {StoreError} If the command is unknown, or has the wrong number of words.
 */
function lookUp(command: readonly (string | number)[]): Run {
  const name = `${command[0]}`;
  const found = COMMANDS.get(name) ?? COMMANDS.get(name.toUpperCase());
  if (!found) {
    let given = "";
    for (let i = 1; i < command.length && given.length < 128; i++) {
      given += `'${`${command[i]}`.slice(0, 128 - given.length)}' `;
    }
    const text = `ERR unknown command '${name.slice(0, 128)}', with args beginning with: ${given}`;
    throw errorReply(text.replace(/[\r\n]/g, " "));
  }
  const [arity, run] = found;
  if (arity < 0 ? command.length < -arity : command.length !== arity) throw arityError(name);
  return run;
}

/** Queues a command of a transaction. @throws {StoreError} If it cannot run, regardless of the stored data. */
export function enqueue(store: MemoryStore, command: readonly (string | number)[]): Reply {
  const found = lookUp(command);
  const [name, first, second] = command.map((word) => `${word}`);
  if (found === evaluate && /^eval$/i.test(name as string)) scriptOf(store, first as string);
  if (found === script && /^load$/i.test(first as string)) scriptOf(store, second as string);
  return "QUEUED";
}

function isText(arg: string | number): boolean {
  return typeof arg === "string";
}

/** Runs one command. @throws {StoreError} If the command fails. */
export function run(store: MemoryStore, command: readonly (string | number)[]): Reply {
  const found = lookUp(command);
  const texts = command.every(isText) ? command : command.map(String);
  return found(store, texts as readonly string[] as Args);
}
