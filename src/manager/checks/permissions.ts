import { INVALIDATION_CHANNEL, REDICT_CHANNELS } from "../../base/channels.ts";
import { isStoreError } from "../../base/store_error.ts";
import { type ManagedConnection, openManagedConnection } from "../connection.ts";
import type { InspectedClient } from "../inspect.ts";
import { type Refusals, refusals, trackingRefusal } from "../rights.ts";
import type { StepOptions } from "../target.ts";
import { type Finding, type Info, unknown, warning } from "./finding.ts";

/**
 * What is refused of what caches send, on a connection of its own: one on which a replica refused a write is at its
 * end.
 */
export async function tried(client: InspectedClient, options: StepOptions): Promise<Refusals> {
  const connection = await openManagedConnection(client, { database: 0, ...options });
  try {
    return await refusals(connection);
  } finally {
    await connection.close();
  }
}

export function scripts({ scripts: refused }: Refusals, token: string | undefined): Finding {
  const check = "scripts";
  if (refused === undefined) return { check, level: "ok", evidence: "scripts can be run" };
  const advice =
    "allow them to this user (ACL: +eval +evalsha), and give the commands their names back where they are renamed: " +
    "without them writes, tags, counters, limits and locks fail";
  return { check, level: "error", evidence: `no script can be run: ${refused}`, advice: token ?? advice };
}

export function commands({ commands: refused, keys, scripts: untried }: Refusals, token: string | undefined): Finding {
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
export async function nearCaches(client: InspectedClient, connection: ManagedConnection, info: Info): Promise<Finding> {
  const check = "near caches";
  const { name } = connection.location.driver;
  if (name !== "node-redis")
    return unknown(check, `nothing tells of changes over ${name}: values stay for near.ttl at the most`);
  // Redict has its own, and up to 7.3.6 cuts its last letter.
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
  if (typeof refused !== "string") return { check, level: "ok", evidence: "the server tells of changed keys" };
  const evidence = `they keep nothing, for the server does not tell of changed keys: ${refused}`;
  const advice = `allow it to this user (ACL: +client|id +client|tracking +subscribe ${allowed})`;
  const { near } = await client.health();
  return near === undefined ? { check, level: "info", evidence, advice } : warning(check, evidence, advice);
}
