import type { RawReply, StoreError } from "../../../drivers/driver.ts";
import { formatLatency } from "../../base/format.ts";
import { CLOCK_SKEW_MS } from "../../base/own_keys.ts";
import { isForbidden, isStoreError } from "../../base/store_error.ts";
import { type ManagedConnection, openManagedConnection, word } from "../connection.ts";
import type { InspectedClient } from "../inspect.ts";
import type { Info } from "../nodes.ts";
import type { Refusals } from "../rights.ts";
import { serverMode, serverName } from "../server.ts";
import type { StepOptions } from "../target.ts";
import { type Finding, unavailable, unknown, warning } from "./finding.ts";

/** Reports a store that does not answer or refuses the login. */
export function unreachable(error: StoreError): Finding {
  // A server without passwords calls a login with one a mistake.
  if (error.kind === "auth" || /: ERR AUTH\b/.test(error.message)) {
    const advice = "check the user, and the password or token, in the configuration";
    return { check: "authentication", level: "error", evidence: error.message, advice };
  }
  const advice = /max number of clients/.test(error.message)
    ? "raise maxclients on the server, or open fewer: REDIS_POOL_SIZE in each process, and one for near caches"
    : /\buse redis|does not know this name/.test(error.message)
      ? "correct the URL, or the variables that name the store"
      : "check that the store is running, its address and port, TLS (rediss://) or none, and the network in between";
  return { check: "connection", level: "error", evidence: error.message, advice };
}

/** Checks the login, and if the server requires a password. */
export async function authentication(connection: ManagedConnection): Promise<Finding> {
  const check = "authentication";
  if (connection.location.driver.name === "memory")
    return { check, level: "ok", evidence: "the store is in this process" };
  const [user, password] = await connection.send([
    ["ACL", "WHOAMI"],
    ["CONFIG", "GET", "requirepass"],
  ]);
  const name = user instanceof Error ? undefined : word(user);
  const required = Array.isArray(password) && password.length === 2 ? word(password[1]) : undefined;
  if (required === "" && name === "default") {
    const advice = "set a password if other machines can reach the server (requirepass, or ACL users)";
    return { check, level: "info", evidence: "the server does not require a password", advice };
  }
  if (name === undefined) return { check, level: "ok", evidence: "the server accepts commands" };
  // Without a login, the user is default too.
  const login = name === "default" && required === undefined ? "the user is default" : `logged in as ${name}`;
  return { check, level: "ok", evidence: login };
}

/** Checks that the server is Redis 6.2 or newer, or compatible with it. */
export function version(info: Info, why: string): Finding {
  const text = info.get("redis_version");
  if (text === undefined) return unknown("version", why);
  const [major = 0, minor = 0] = text.split(".").map(Number);
  const named = serverName(info);
  const like = named.version === text ? "" : `, which is compatible with Redis ${text}`;
  const evidence = `${named.server} ${named.version}`;
  const advice = `update it${like}: Redis 6.2 is the oldest version that has all commands of the library`;
  return major > 6 || (major === 6 && minor >= 2)
    ? { check: "version", level: "ok", evidence }
    : { check: "version", level: "error", evidence, advice };
}

/** The evidence for a Sentinel, which ends the checks. */
export const SENTINEL = "this is a Sentinel, not a store";

/** Checks that the server is a primary, not a replica or a Sentinel. */
export async function replication(connection: ManagedConnection, info: Info): Promise<Finding> {
  const check = "replication";
  const { name } = connection.location.driver;
  let role = info.get("role");
  let watched = "";
  let of = `${info.get("master_host")}:${info.get("master_port")}`;
  if (role === undefined) {
    const [reply] = await connection.send([["ROLE"]]);
    if (!Array.isArray(reply)) return unknown(check, unavailable(name, "ROLE", reply));
    role = word(reply[0]);
    if (Array.isArray(reply[1])) watched = ` (it watches ${reply[1].map(word).join(", ")})`;
    else of = `${word(reply[1])}:${word(reply[2])}`;
  }
  if (role === "slave") {
    const advice =
      "use the address of the primary, or a name that resolves to it: every write to a replica fails or is lost";
    return { check, level: "error", evidence: `this is a replica of ${of}`, advice };
  }
  if (role === "sentinel") {
    const advice = `use redis+sentinel://host:26379/mymaster with the name of the master${watched}, or REDIS_SENTINELS`;
    return { check, level: "error", evidence: SENTINEL, advice };
  }
  return { check, level: "ok", evidence: "this is a primary" };
}

/** Checks that databases can be kept apart as configured. */
export async function databases(
  client: InspectedClient,
  info: Info,
  { cluster }: Refusals,
  options: StepOptions,
): Promise<Finding> {
  const check = "databases";
  if (client.driver !== "cluster" && (serverMode(info) === "cluster" || cluster !== undefined)) {
    const evidence = "this is a node of a cluster, and the address is that of a single server";
    const advice = "use redis+cluster:// (rediss+cluster:// with TLS) instead of redis://, or REDIS_CLUSTER_NODES";
    return { check, level: "error", evidence, advice };
  }
  if (client.databases === "prefixed") {
    return { check, level: "ok", evidence: "prefixed: keys of database 0 start with db0: to db15:" };
  }
  let connection: ManagedConnection | undefined;
  try {
    connection = await openManagedConnection(client, { database: 15, ...options });
    await connection.must([["DBSIZE"]]);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    const evidence = `numbered, but database 15 cannot be used: ${error.message.split("; ")[0]}`;
    const other =
      isForbidden(error) || /unknown command/.test(error.message)
        ? "allow this user SELECT (ACL: +select)"
        : "give the server 16 databases";
    return { check, level: "error", evidence, advice: `set CACHE_DATABASES to prefixed, or ${other}` };
  } finally {
    await connection?.close();
  }
  return { check, level: "ok", evidence: "numbered: 0 to 15 can be used" };
}

/** Compares the clocks of the store and of this machine. */
export async function clockSkew(connection: ManagedConnection, clock: () => number): Promise<Finding> {
  const check = "clock";
  const before = clock();
  const [reply] = await connection.send([["TIME"]]);
  const after = clock();
  if (!Array.isArray(reply)) return unknown(check, unavailable(connection.location.driver.name, "TIME", reply));
  const [seconds, micros] = (reply as RawReply[]).map(word);
  const theirs = Number(seconds) * 1000 + Number(micros) / 1000;
  const off = theirs - (before + after) / 2;
  const evidence = `the store's clock is ${formatLatency(Math.round(Math.abs(off)))} ${off < 0 ? "behind" : "ahead"}`;
  return Math.abs(off) > CLOCK_SKEW_MS
    ? warning(check, evidence, "synchronise both clocks (NTP): entry ages are computed from them")
    : { check, level: "ok", evidence };
}
