/** The checks of a server that Sentinels watch. */
import { type ManagedConnection, word } from "../connection.ts";
import type { NodeInfo } from "../nodes.ts";
import { askCluster, replicaChecks } from "./cluster.ts";
import { type Finding, unavailable, unknown, warning } from "./finding.ts";

/** The channel on which Sentinels find each other: each of them subscribes to it on the primary. */
const HELLO = "__sentinel__:hello";

/**
 * Checks that enough Sentinels watch the primary, and that it has replicas.
 *
 * @param connection The connection to the primary.
 * @param node The answer of the primary.
 * @returns The findings; a driver that does not ask Sentinels gets one only if some watch its server.
 */
export async function* sentinelChecks(
  connection: ManagedConnection,
  node: NodeInfo,
): AsyncGenerator<Finding, void, void> {
  const check = "sentinels";
  const { name } = connection.location.driver;
  const [reply] = await connection.send([["PUBSUB", "NUMSUB", HELLO]]);
  if (!Array.isArray(reply)) {
    if (name === "sentinel") yield unknown(check, unavailable(name, "PUBSUB", reply));
    return;
  }
  const watching = Number(word(reply[1]));
  const evidence = `${watching} ${watching === 1 ? "Sentinel watches" : "Sentinels watch"} this primary`;
  if (name !== "sentinel") {
    if (watching === 0) return;
    const advice = "use redis+sentinel://, so that clients follow a failover and leave the old primary at once";
    yield warning(check, `${evidence}, but this client does not ask them`, advice);
    return;
  }
  yield watching < 3
    ? warning(check, evidence, "run three or more on different machines: a failover needs a majority of them")
    : { check, level: "ok", evidence };
  yield* replicaChecks(await askCluster([node]));
}
