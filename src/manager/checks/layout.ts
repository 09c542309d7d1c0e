/** Looks for keys that processes with another number of shards have written. */
import type { RawCommand } from "../../../drivers/driver.ts";
import { EPOCH_KEY } from "../../base/own_keys.ts";
import type { Location } from "../../client/types.ts";
import { SHARD_COUNTS } from "../../entry/shards.ts";
import { type ManagedConnection, word } from "../connection.ts";
import { type InspectedClient, locationsOf } from "../inspect.ts";
import { Layout } from "../layout.ts";
import type { StepOptions } from "../target.ts";
import { type Finding, usable, warning } from "./finding.ts";

const sharded = (count: number | undefined): string => (count === undefined ? "no shards" : `${count} shards`);

/**
 * Looks for epochs of other numbers of shards, which share nothing with those of this client.
 *
 * @param client The client.
 * @param options The options of the steps.
 * @returns The finding; `undefined` if keys are not spread, and never were.
 */
export async function layout(client: InspectedClient, options: StepOptions): Promise<Finding | undefined> {
  const check = "layout";
  const strange: string[] = [];
  let own: number | undefined;
  for (const location of await locationsOf(client)) {
    const connection = await usable(client, { service: location.service ?? "", ...options });
    if (!connection) continue;
    try {
      own = connection.layout.count;
      const others = [undefined, ...SHARD_COUNTS].filter((count) => count !== own);
      for (const count of await found(connection, location, others)) {
        strange.push(`${location.service} has keys of ${sharded(count)}`);
      }
    } finally {
      await connection.close();
    }
  }
  if (strange.length > 0) {
    const evidence = `this client has ${sharded(own)}, but ${strange.join(", ")}`;
    const advice =
      "give all processes one CACHE_SHARDS (cluster.shards): those with another number see neither these keys nor " +
      "invalidations. Keys of an earlier number expire by their TTLs";
    return warning(check, evidence, advice);
  }
  return own === undefined ? undefined : { check, level: "ok", evidence: `all keys are of ${own} shards` };
}

/** Returns which of the numbers of shards have an epoch. */
async function found(
  connection: ManagedConnection,
  { driver, prefix }: Location,
  counts: readonly (number | undefined)[],
): Promise<(number | undefined)[]> {
  const keys = counts.map((count) => ((Layout.of(count) as Layout).tags ?? []).map((tag) => prefix + tag + EPOCH_KEY));
  // Keys of one command must share a slot on a cluster; elsewhere they may go together.
  const commands = keys.map((some): RawCommand[] =>
    driver.capabilities.parts ? some.map((key) => ["EXISTS", key]) : [["EXISTS", ...some]],
  );
  const replies = await connection.send(commands.flat());
  return counts.filter((_, i) => {
    const those = replies.splice(0, (commands[i] as RawCommand[]).length);
    return those.some((reply) => Number(word(reply)) > 0);
  });
}
