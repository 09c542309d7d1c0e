import { INVALIDATION_CHANNEL, REDICT_CHANNELS } from "../../base/channels.ts";
import { isStoreError } from "../../base/store_error.ts";
import { type ManagedConnection, openManagedConnection } from "../connection.ts";
import type { InspectedClient } from "../inspect.ts";
import type { Info } from "../nodes.ts";
import { type Refusals, refusals, trackingRefusal } from "../rights.ts";
import type { StepOptions } from "../target.ts";
import { type Finding, isOverTcp, unknown, warning } from "./finding.ts";

/**
 * Tries the commands of caches. The trial has its own connection, because a connection is closed after a replica has
 * refused a write on it.
 */
export async function tryCommands(client: InspectedClient, options: StepOptions): Promise<Refusals> {
  const connection = await openManagedConnection(client, { database: 0, ...options });
  try {
    return await refusals(connection);
  } finally {
    await connection.close();
  }
}

/** Checks that scripts can be run. */
export function scripts({ scripts: refused, hashes, undeclared }: Refusals, token: string | undefined): Finding {
  const check = "scripts";
  if (refused !== undefined) {
    const how = /KEYS array/.test(refused)
      ? "set script_check_enable to 0"
      : "allow this user to run scripts (ACL: +eval +evalsha), and undo renames of these commands";
    const advice = `${how}: without scripts, writes, tags, counters, limits and locks fail`;
    return { check, level: "error", evidence: `scripts cannot be run: ${refused}`, advice: token ?? advice };
  }
  if (hashes !== undefined) {
    const evidence = `scripts run by EVAL alone, so each is sent whole: ${hashes}`;
    return { check, level: "info", evidence, advice: "allow EVALSHA (ACL: +evalsha)" };
  }
  if (undeclared !== undefined) {
    const evidence = `scripts use declared keys alone, so tagged entries take more round trips: ${undeclared}`;
    return { check, level: "info", evidence, advice: "allow other keys (Dragonfly: allow-undeclared-keys)" };
  }
  return { check, level: "ok", evidence: "scripts can be run" };
}

/** Checks that all commands and keys of caches are allowed. */
export function commands({ commands: refused, keys, scripts: untried }: Refusals, token: string | undefined): Finding {
  const check = "commands";
  if (keys !== undefined) {
    const start = keys === "" ? "" : ` that start with ${JSON.stringify(keys)}`;
    const evidence = `this user may not read and write all keys${start}`;
    return { check, level: "error", evidence, advice: `allow these keys (ACL: ~${keys}*)` };
  }
  if (refused.length === 0) {
    const except = untried === undefined ? "" : " except scripts";
    return { check, level: "ok", evidence: `all commands of caches${except} are allowed` };
  }
  const allow = refused.map((name) => `+${name.toLowerCase()}`).join(" ");
  const them = refused.length === 1 ? "it" : "them";
  const evidence = `this user may not run ${refused.join(", ")}, or the server has renamed ${them}`;
  const advice = `allow ${them} (ACL: ${allow}): docs/permissions.md explains the use of each command`;
  return { check, level: "error", evidence, advice: token ?? advice };
}

/**
 * Checks that the server notifies clients of changed keys. This matters only with near caches, so it is never an error.
 */
export async function nearCaches(client: InspectedClient, connection: ManagedConnection, info: Info): Promise<Finding> {
  const check = "near caches";
  const { name } = connection.location.driver;
  if (!isOverTcp(name))
    return unknown(check, `${name} does not announce changes: near values live for near.ttl at most`);
  // Redict has its own channel, and up to 7.3.6 cuts the last letter of its name.
  const redict = info.has("redict_version");
  const channel = redict ? REDICT_CHANNELS[0] : INVALIDATION_CHANNEL;
  const allowed = redict ? `+hello &${REDICT_CHANNELS[1]}*` : `&${channel}`;
  let refused: string | null | undefined;
  try {
    refused = await trackingRefusal(connection, channel);
  } catch (error) {
    if (!isStoreError(error)) throw error;
    refused = error.message;
  }
  if (typeof refused !== "string") return { check, level: "ok", evidence: "the server announces changed keys" };
  const evidence = `they are disabled, because the server does not announce changed keys: ${refused}`;
  const advice = `allow this user tracking (ACL: +client|id +client|tracking +subscribe ${allowed})`;
  const { near } = await client.health();
  return near === undefined ? { check, level: "info", evidence, advice } : warning(check, evidence, advice);
}
