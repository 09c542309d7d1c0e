/** Looks for keys that processes with another number of shards have written. */
import { type InspectedClient, locationsOf } from "../inspect.ts";
import { otherShards, sharded } from "../other_shards.ts";
import type { StepOptions } from "../target.ts";
import { type Finding, usable, warning } from "./finding.ts";

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
      for (const count of await otherShards(connection)) {
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
