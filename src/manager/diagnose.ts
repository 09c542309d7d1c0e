import { type RawReply, StoreError } from "../../drivers/driver.ts";
import { describe } from "../base/check.ts";
import { CLOCK_SKEW_MS, OWN } from "../base/own_keys.ts";
import { isForbidden, isRefusal, isStoreError } from "../base/store_error.ts";
import type { LocationOf } from "../client/client.ts";
import { displayText, type ManagedConnection, openManagedConnection, word } from "./connection.ts";
import { fleetCounts, type InspectedClient, locationsOf, parseInfo } from "./inspect.ts";
import { looker } from "./list.ts";
import { type Refusals, refusals, trackingRefusal } from "./rights.ts";
import { serverMode, serverName } from "./server.ts";
import { slowLog } from "./slow_log.ts";
import type { Bulk, ManagedClient, StepOptions } from "./target.ts";

/** What was found of one question. */
export interface Finding {
  /** The question, such as `"eviction"`. */
  readonly check:
    | "connection"
    | "authentication"
    | "version"
    | "replication"
    | "databases"
    | "scripts"
    | "commands"
    | "near caches"
    | "encryption"
    | "eviction"
    | "memory"
    | "hit rate"
    | "expiry"
    | "big keys"
    | "slow queries"
    | "clock";
  /** How it is. `"info"` where the store cannot answer, or there is too little to judge. */
  readonly level: "ok" | "info" | "warning" | "error";
  /** What was seen, with its numbers; no values and no secrets. */
  readonly evidence: string;
  /** What to do. */
  readonly advice?: string;
}

/** Options of {@linkcode diagnose}. */
export interface DiagnoseOptions extends StepOptions {
  /** How many keys are looked at in each database, for those without TTL and big ones. @default 10_000 */
  readonly sample?: number | undefined;
  /** From how many bytes on a key is big. @default 1 MiB */
  readonly bigKey?: number | undefined;
  /** The time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined;
}

/**
 * Looks for what is wrong with a store and with how it is used.
 *
 * @param client The client.
 * @param options How much is looked at.
 * @returns A finding a question. When the store is away, or is none, that is the last one.
 */
export async function* diagnose(
  client: InspectedClient,
  options: DiagnoseOptions = {},
): AsyncGenerator<Finding, void, void> {
  const { sample = 10_000, bigKey = 2 ** 20, clock = Date.now } = options;
  for (const [name, value] of Object.entries({ sample, bigKey })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new RangeError(`cannot use ${name} ${describe(value)}: accepted are whole numbers from 1 on`);
  }
  let connection: ManagedConnection;
  let latency = 0;
  try {
    connection = await openManagedConnection(client, { database: 0, ...options });
    try {
      await connection.ping();
      const start = performance.now();
      await connection.ping();
      latency = performance.now() - start;
    } catch (error) {
      await connection.close();
      throw error;
    }
  } catch (error) {
    if (!isStoreError(error)) throw error;
    yield away(error);
    return;
  }
  try {
    const took = `${client.driver} answered in ${latency.toFixed(1)} ms`;
    yield latency > SLOW_MS
      ? warning("connection", took, "put the store nearer to the application, or look for what keeps it busy")
      : { check: "connection", level: "ok", evidence: took };
    yield await authentication(connection);
    const [told] = await connection.send([["INFO"]]);
    const info = parseInfo(told);
    const why = untold(client.driver, "INFO", told);
    yield version(info, why);
    const role = await replication(connection, info);
    yield role;
    if (role.evidence === SENTINEL) return;
    const refused = await tried(client, options);
    yield await databases(client, info, refused, options);
    const token = client.driver === "upstash" ? "use the token that may write, unless only reads are meant" : undefined;
    yield scripts(refused, token);
    yield commands(refused, token);
    yield await nearCaches(client, connection, info);
    yield await encryption(client, { ...options, sample });
    yield eviction(info, client.driver, why);
    yield memory(info, why);
    yield hitRate(await countedRates(client, options), info, why);
    yield* keys(client, info, { ...options, sample, bigKey });
    yield await slowQueries(connection, clock);
    yield await skew(connection, clock);
  } finally {
    await connection.close();
  }
}

type Info = ReadonlyMap<string, string>;

/** From how many milliseconds on an answer is slow. */
const SLOW_MS = 50;
/** From how many milliseconds on a query is slow. */
const SLOW_QUERY_MS = 10;
/** For how many milliseconds a slow query is of interest. */
const RECENT_MS = 86_400_000;
/** From how many reads on a service's hit rate says something, and below what it is low. */
const READS = 100;
const LOW_RATE = 0.7;
/** Matches the library's own keys of any service or database. */
const OWN_ANYWHERE = new RegExp(`(^|:)${OWN}`);
/** How many keys a step looks at. */
const PAGE = 500;

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

function amount(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), 3);
  return `${(bytes / 1024 ** power).toFixed(1)} ${["", "KiB", "MiB", "GiB"][power]}`;
}

const warning = (check: Finding["check"], evidence: string, advice: string): Finding => ({
  check,
  level: "warning",
  evidence,
  advice,
});
const unknown = (check: Finding["check"], evidence: string): Finding => ({ check, level: "info", evidence });

/**
 * Why a question has no answer. Every Redis knows what is asked over TCP, but may not tell everyone, or under another
 * name.
 */
function untold(driver: string, command: string, reply: RawReply | undefined): string {
  if (driver !== "node-redis") return `not available over ${driver}`;
  return reply instanceof StoreError && /unknown command/i.test(reply.message)
    ? `the server does not know ${command}: it is renamed or switched off`
    : "the store does not tell this user";
}

function away(error: StoreError): Finding {
  if (error.kind === "auth") {
    const advice = "check the user and the password or token of the configuration";
    return { check: "authentication", level: "error", evidence: error.message, advice };
  }
  const advice = /max number of clients/.test(error.message)
    ? "raise maxclients of the server, or open fewer connections: REDIS_POOL_SIZE a database and process"
    : "check that the store runs, its address and port, and what stands between it and this machine";
  return { check: "connection", level: "error", evidence: error.message, advice };
}

async function authentication(connection: ManagedConnection): Promise<Finding> {
  const check = "authentication";
  if (connection.location.driver.name === "memory")
    return { check, level: "ok", evidence: "the store is in this process" };
  const [user, password] = await connection.send([
    ["ACL", "WHOAMI"],
    ["CONFIG", "GET", "requirepass"],
  ]);
  const name = user instanceof StoreError ? undefined : word(user);
  const required = Array.isArray(password) && password.length === 2 ? word(password[1]) : undefined;
  if (required === "" && name === "default") {
    const advice = "where others can reach it, give it a password (requirepass, or ACL users)";
    return { check, level: "info", evidence: "the server asks for no password", advice };
  }
  if (name === undefined) return { check, level: "ok", evidence: "the server takes commands" };
  // Who did not log in is the user default, too.
  const who = name === "default" && required === undefined ? "the user is default" : `logged in as ${name}`;
  return { check, level: "ok", evidence: who };
}

function version(info: Info, why: string): Finding {
  const text = info.get("redis_version");
  if (text === undefined) return unknown("version", why);
  const [major = 0, minor = 0] = text.split(".").map(Number);
  const named = serverName(info);
  const like = named.version === text ? "" : `, which says that it is like Redis ${text}`;
  const evidence = `${named.server} ${named.version}`;
  const advice = `update it${like}: Redis 6.2 is the oldest that has every command used here`;
  return major > 6 || (major === 6 && minor >= 2)
    ? { check: "version", level: "ok", evidence }
    : { check: "version", level: "error", evidence, advice };
}

const SENTINEL = "this is a Sentinel, not a store";

/** Whether this server takes writes, or copies those of another one. */
async function replication(connection: ManagedConnection, info: Info): Promise<Finding> {
  const check = "replication";
  const { name } = connection.location.driver;
  let role = info.get("role");
  let of = `${info.get("master_host")}:${info.get("master_port")}`;
  if (role === undefined) {
    const [reply] = await connection.send([["ROLE"]]);
    if (!Array.isArray(reply)) return unknown(check, untold(name, "ROLE", reply));
    role = word(reply[0]);
    of = `${word(reply[1])}:${word(reply[2])}`;
  }
  if (role === "slave") {
    const advice =
      "give the address of the primary, or a name that leads to it: every write to a replica fails or is lost";
    return { check, level: "error", evidence: `this is a replica of ${of}`, advice };
  }
  if (role === "sentinel") {
    const advice = "give the address of the primary that it watches: a Sentinel holds no keys";
    return { check, level: "error", evidence: SENTINEL, advice };
  }
  return { check, level: "ok", evidence: "this is a primary" };
}

async function databases(
  client: InspectedClient,
  info: Info,
  { cluster }: Refusals,
  options: StepOptions,
): Promise<Finding> {
  const check = "databases";
  if (serverMode(info) === "cluster" || cluster !== undefined) {
    const evidence = "this is a node of a cluster, where neither numbered nor prefixed databases work";
    return { check, level: "error", evidence, advice: "give the address of a single server: clusters are not served" };
  }
  if (client.databases === "prefixed") {
    return { check, level: "ok", evidence: "prefixed: db0: to db15: in the keys of database 0 keep them apart" };
  }
  let connection: ManagedConnection | undefined;
  try {
    connection = await openManagedConnection(client, { database: 15, ...options });
    await connection.must([["DBSIZE"]]);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    const evidence = `numbered, and database 15 cannot be used: ${error.message.split("; ")[0]}`;
    const other = isForbidden(error) ? "allow SELECT to this user (ACL: +select)" : "give the server 16 databases";
    return { check, level: "error", evidence, advice: `set CACHE_DATABASES to prefixed, or ${other}` };
  } finally {
    await connection?.close();
  }
  return { check, level: "ok", evidence: "numbered: 0 to 15 can be used" };
}

/**
 * What is refused of what caches send, on a connection of its own: one on which a replica refused a write is at its
 * end.
 */
async function tried(client: InspectedClient, options: StepOptions): Promise<Refusals> {
  const connection = await openManagedConnection(client, { database: 0, ...options });
  try {
    return await refusals(connection);
  } finally {
    await connection.close();
  }
}

function scripts({ scripts: refused }: Refusals, token: string | undefined): Finding {
  const check = "scripts";
  if (refused === undefined) return { check, level: "ok", evidence: "scripts can be run" };
  const advice =
    "allow them to this user (ACL: +eval +evalsha), and give the commands their names back where they are renamed: " +
    "without them writes, tags, counters, limits and locks fail";
  return { check, level: "error", evidence: `no script can be run: ${refused}`, advice: token ?? advice };
}

function commands({ commands: refused, keys, scripts: untried }: Refusals, token: string | undefined): Finding {
  const check = "commands";
  if (keys !== undefined) {
    const start = keys === "" ? "" : ` that start with ${JSON.stringify(keys)}`;
    const evidence = `this user may not read and write all keys${start}, those of caches and the library's own`;
    return { check, level: "error", evidence, advice: `allow them (ACL: ~${keys}*)` };
  }
  if (refused.length === 0) {
    const beside = untried === undefined ? "" : " beside scripts";
    return { check, level: "ok", evidence: `what caches send${beside} is allowed` };
  }
  const allow = refused.map((name) => `+${name.toLowerCase()}`).join(" ");
  const evidence = `this user may not run ${refused.join(", ")}, or the server does not know it by this name`;
  const advice = `allow it (ACL: ${allow}): docs/permissions.md tells what each is for`;
  return { check, level: "error", evidence, advice: token ?? advice };
}

/** Whether the server tells of changed keys. Of interest where near caches are on only, so it is no error. */
async function nearCaches(client: InspectedClient, connection: ManagedConnection, info: Info): Promise<Finding> {
  const check = "near caches";
  const { name } = connection.location.driver;
  if (name !== "node-redis")
    return unknown(check, `nothing tells of changes over ${name}: values stay for near.ttl at the most`);
  // Redict has its own, and up to 7.3.6 cuts its last letter.
  const redict = info.has("redict_version");
  const channel = redict ? "__redict__:invalidate" : "__redis__:invalidate";
  const allowed = redict ? "+hello &__redict__:invalidat*" : `&${channel}`;
  let refused: string | null | undefined;
  try {
    refused = await trackingRefusal(connection, channel);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    refused = error.message;
  }
  if (typeof refused !== "string") return { check, level: "ok", evidence: "the server tells of changed keys" };
  const evidence = `they keep nothing, for the server does not tell of changed keys: ${refused}`;
  const advice = `allow it to this user (ACL: +client|id +client|tracking +subscribe ${allowed})`;
  const { near } = await client.health();
  return near === undefined ? { check, level: "info", evidence, advice } : warning(check, evidence, advice);
}

const HIDDEN = "the store does not let this user look at its keys";
/** Which keys of which services hold what should be encrypted. */
const SECRETS = { auth: ["session:*", "token:*"], payment: ["payment_methods:*", "transaction:*"] } as const;
/** How many of them are looked at. */
const LOOKED_AT = 20;

/**
 * Whether what is stored of the services that can be encrypted is: by what stands there, for the keys are the
 * applications'.
 */
async function encryption(
  client: InspectedClient,
  { sample, ...options }: StepOptions & { readonly sample: number },
): Promise<Finding> {
  const check = "encryption";
  const plain: string[] = [];
  let seen = 0;
  let hidden = false;
  for (const [service, patterns] of Object.entries(SECRETS)) {
    let connection: ManagedConnection | undefined;
    try {
      connection = await usable(client, { service, ...options });
    } catch (error) {
      // A build without this service.
      if (!(error instanceof TypeError)) throw error;
      continue;
    }
    hidden ||= connection === undefined;
    if (!connection) continue;
    try {
      for (const pattern of patterns) {
        const keys: Bulk[] = [];
        let left = sample;
        for await (const page of connection.scan(pattern, PAGE)) {
          keys.push(...page);
          left -= PAGE;
          if (keys.length >= LOOKED_AT || left <= 0) break;
        }
        const heads = await connection.send(keys.slice(0, LOOKED_AT).map((key) => ["GETRANGE", key, 0, 1023]));
        hidden ||= heads.some((head) => head instanceof StoreError);
        const texts = heads.map(word).filter((text) => text.startsWith("{"));
        seen += texts.length;
        if (texts.some((text) => !/^\{[^{}]*?"sealed":/.test(text))) plain.push(`${service} (${pattern})`);
      }
    } finally {
      await connection.close();
    }
  }
  if (seen === 0) return unknown(check, hidden ? HIDDEN : "auth and payment hold no values yet");
  if (plain.length === 0) return { check, level: "ok", evidence: "what was seen of auth and payment is encrypted" };
  const advice = "set CACHE_ENCRYPTION_KEYS in the applications, or let nobody else read this store and its backups";
  return { check, level: "info", evidence: `stored in plain text: ${plain.join(", ")}`, advice };
}

function eviction(info: Info, driver: string, why: string): Finding {
  const check = "eviction";
  const policy = info.get("maxmemory_policy");
  if (policy === undefined) {
    if (driver !== "memory") return unknown(check, why);
    return { check, level: "ok", evidence: "the entry that was used least recently goes first" };
  }
  const limit = Number(info.get("maxmemory") ?? 0);
  const set = "CONFIG SET maxmemory-policy allkeys-lru";
  const evidence = `maxmemory-policy is ${policy}, maxmemory is ${limit > 0 ? amount(limit) : "not set"}`;
  if (limit === 0) {
    const advice = `set maxmemory below what the machine has, and ${set}: else the store grows until it is killed`;
    return warning(check, evidence, advice);
  }
  if (policy === "noeviction") {
    return { check, level: "error", evidence, advice: `${set}: when it is full, every write fails` };
  }
  if (policy === "allkeys-lru") return { check, level: "ok", evidence };
  if (/-(random|ttl)$/.test(policy)) return warning(check, evidence, `${set}: what is in use is evicted as well`);
  return { check, level: "info", evidence, advice: `${set} is what is recommended for caches` };
}

function memory(info: Info, why: string): Finding {
  const check = "memory";
  const used = Number(info.get("used_memory") ?? Number.NaN);
  if (Number.isNaN(used)) return unknown(check, why);
  const limit = Number(info.get("maxmemory") ?? 0);
  const total = limit || Number(info.get("total_system_memory") ?? 0);
  if (total === 0) return { check, level: "info", evidence: `${amount(used)} in use, no limit known` };
  const evidence = `${amount(used)} of ${amount(total)} (${limit ? "maxmemory" : "the machine's"}) in use, ${percent(used / total)}`;
  return used / total > 0.8
    ? warning(check, evidence, "raise maxmemory, shorten TTLs, or find the largest keys (list --sort size)")
    : { check, level: "ok", evidence };
}

/** What the processes that count together read of a service. */
interface Rate {
  readonly service: string;
  readonly reads: number;
  readonly rate: number;
}

/** What processes counted together, the lowest hit rate first; without the services that have no such counts. */
async function countedRates(client: InspectedClient, options: StepOptions): Promise<Rate[]> {
  const rates: Rate[] = [];
  for (const { service = "" } of await locationsOf(client)) {
    const connection = await usable(client, { service, ...options });
    if (!connection) continue;
    try {
      const [reply] = await connection.send([["HGETALL", connection.own(`stats:${service}`)]]);
      let [hits, misses] = [0, 0];
      for (const [name, number] of fleetCounts(Array.isArray(reply) ? reply : [])) {
        if (name === "hits") hits += number;
        if (name === "misses") misses += number;
      }
      const reads = hits + misses;
      if (reads > 0) rates.push({ service, reads, rate: hits / reads });
    } finally {
      await connection.close();
    }
  }
  return rates.sort((a, b) => a.rate - b.rate);
}

/**
 * Judged by what processes counted. The server's own rate is told, but never judged: with each of the library's reads it counts the look-up of the
 * clock, a miss where nothing was ever invalidated, so that half is the most it can be, and a hit where something was.
 */
function hitRate(rates: readonly Rate[], info: Info, why: string): Finding {
  const check = "hit rate";
  const judged = rates.filter(({ reads }) => reads >= READS);
  const told = judged.map(({ service, reads, rate }) => `${service} ${percent(rate)} of ${reads} reads`).join(", ");
  const [lowest] = judged;
  if (lowest) {
    const evidence = `${told}, by the counts of the applications`;
    const advice = "lengthen TTLs, warm what is read most, and look whether keys are evicted";
    return lowest.rate < LOW_RATE ? warning(check, evidence, advice) : { check, level: "ok", evidence };
  }
  if (rates.length > 0) {
    const reads = rates.map((one) => `${one.service} ${one.reads}`).join(", ");
    return { check, level: "info", evidence: `too few reads to judge, ${READS} of a service are enough: ${reads}` };
  }
  const advice = "set CACHE_FLEET_STATS=true in the applications: then the rate of each service is known";
  const hits = Number(info.get("keyspace_hits") ?? Number.NaN);
  const reads = hits + Number(info.get("keyspace_misses"));
  if (Number.isNaN(reads)) return { ...unknown(check, why), advice };
  const share = reads > 0 ? `${percent(hits / reads)} of ${reads} reads` : "no reads";
  const evidence = `${share} by the server's count, which says little: it counts the library's own look-ups too`;
  return { check, level: "info", evidence, advice };
}

/** Opens a database; `undefined` where the store has no such one, which is a finding of its own, or lets this user not look. */
async function usable(
  client: ManagedClient,
  options: LocationOf & StepOptions,
): Promise<ManagedConnection | undefined> {
  let connection: ManagedConnection | undefined;
  try {
    connection = await openManagedConnection(client, options);
    await connection.must([connection.scanCommand("0", "*", 1)]);
    return connection;
  } catch (error) {
    await connection?.close();
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

/** Which databases of the store have keys. */
async function used(client: InspectedClient, info: Info): Promise<number[]> {
  if (client.databases === "prefixed") return [0];
  const named = [...info.keys()].flatMap((name) => /^db(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  return info.size > 0 ? named.filter((number) => number < 16) : Array.from({ length: 16 }, (_, number) => number);
}

async function* keys(
  client: InspectedClient,
  info: Info,
  { sample, bigKey, ...options }: StepOptions & { readonly sample: number; readonly bigKey: number },
): AsyncGenerator<Finding, void, void> {
  let looked = 0;
  let lasting = 0;
  let opened = 0;
  let hidden = false;
  const examples: string[] = [];
  const big: { name: string; size: number }[] = [];
  for (const database of await used(client, info)) {
    // All that is there, the keys of others too: they share the memory.
    const location = { ...(await client.locate({ database })), prefix: "" };
    const connection = await usable({ locate: async () => location }, { database, ...options });
    if (!connection) continue;
    opened++;
    const look = looker(connection);
    try {
      let left = sample;
      for await (const page of connection.scan("*", PAGE)) {
        const part = page.filter((key) => !OWN_ANYWHERE.test(displayText(key))).slice(0, left);
        for (const { key, ttl, size, unreadable } of await look(part)) {
          if (unreadable) continue;
          looked++;
          const name = `${JSON.stringify(key)} of database ${database}`;
          if (ttl === null) {
            lasting++;
            if (examples.length < 3) examples.push(name);
          }
          if (size !== null && size >= bigKey) big.push({ name, size });
        }
        left -= part.length;
        if (left <= 0) break;
      }
    } catch (error) {
      // Keys that this user may not look at.
      if (!isRefusal(error)) throw error;
      hidden = true;
    } finally {
      await connection.close();
    }
  }
  if (looked === 0 && (hidden || opened === 0)) {
    yield unknown("expiry", HIDDEN);
    yield unknown("big keys", HIDDEN);
    return;
  }
  const share = lasting / Math.max(looked, 1);
  const evidence = `${lasting} of ${looked} keys have no TTL${lasting > 0 ? `, such as ${examples.join(", ")}` : ""}`;
  yield lasting === 0
    ? { check: "expiry", level: "ok", evidence }
    : share < 0.1
      ? { check: "expiry", level: "info", evidence }
      : warning("expiry", evidence, "give them a TTL: what is forgotten stays until it is evicted");
  big.sort((a, b) => b.size - a.size);
  const largest = big.slice(0, 3).map(({ name, size }) => `${name} (${amount(size)})`);
  yield big.length === 0
    ? { check: "big keys", level: "ok", evidence: `none of ${looked} keys has ${amount(bigKey)} or more` }
    : warning(
        "big keys",
        `${big.length} of ${looked} keys have ${amount(bigKey)} or more: ${largest.join(", ")}`,
        "split or compress them (compressAbove): each read of one holds up all others",
      );
}

async function slowQueries(connection: ManagedConnection, clock: () => number): Promise<Finding> {
  const check = "slow queries";
  const all = (await slowLog(connection, 128))?.filter(({ ofTools }) => !ofTools);
  if (!all) return unknown(check, untold(connection.location.driver.name, "SLOWLOG", undefined));
  const slow = all
    .filter(({ at, took }) => took >= SLOW_QUERY_MS && clock() - at < RECENT_MS)
    .sort((a, b) => b.took - a.took);
  const names = [...new Set(slow.map(({ name }) => name))].slice(0, 5).join(", ");
  return slow.length === 0
    ? { check, level: "ok", evidence: `none of 10 ms or more among the last day's ${all.length}` }
    : warning(
        check,
        `${slow.length} of 10 ms or more in a day, the slowest ${(slow[0]?.took ?? 0).toFixed(0)} ms (${names})`,
        "read and delete in smaller parts; look at SLOWLOG GET for the keys",
      );
}

async function skew(connection: ManagedConnection, clock: () => number): Promise<Finding> {
  const check = "clock";
  const before = clock();
  const [reply] = await connection.send([["TIME"]]);
  const after = clock();
  if (!Array.isArray(reply)) return unknown(check, untold(connection.location.driver.name, "TIME", reply));
  const [seconds, micros] = (reply as RawReply[]).map(word);
  const theirs = Number(seconds) * 1000 + Number(micros) / 1000;
  const off = theirs - (before + after) / 2;
  const evidence = `the store's clock is ${Math.abs(off).toFixed(0)} ms ${off < 0 ? "behind" : "ahead"}`;
  return Math.abs(off) > CLOCK_SKEW_MS
    ? warning(check, evidence, "set both clocks by NTP: the age of entries is told by them")
    : { check, level: "ok", evidence };
}
