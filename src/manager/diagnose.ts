import { checkWhole } from "../base/check.ts";
import { formatLatency } from "../base/format.ts";
import { isStoreError } from "../base/store_error.ts";
import { clusterChecks, worstOf } from "./checks/cluster.ts";
import { type Finding, unavailable, warning } from "./checks/finding.ts";
import { encryption, keys } from "./checks/keys.ts";
import { layout } from "./checks/layout.ts";
import { countedRates, eviction, hitRate, memoryUse, slowQueries } from "./checks/load.ts";
import { commands, nearCaches, scripts, tryCommands } from "./checks/permissions.ts";
import { sentinelChecks } from "./checks/sentinels.ts";
import { authentication, clockSkew, databases, replication, SENTINEL, unreachable, version } from "./checks/server.ts";
import { type ManagedConnection, openManagedConnection } from "./connection.ts";
import type { InspectedClient } from "./inspect.ts";
import { askNodes, type Info, type NodeInfo, parseInfo, sumOfInfos } from "./nodes.ts";
import type { StepOptions } from "./target.ts";

export type { Finding } from "./checks/finding.ts";

/** The default of {@linkcode DiagnoseOptions.sample}. */
export const SAMPLE = 10_000;
/** The default of {@linkcode DiagnoseOptions.bigKey}, in bytes. */
export const BIG_KEY: number = 2 ** 20;

/** Options of {@linkcode diagnose}. */
export interface DiagnoseOptions extends StepOptions {
  /**
   * The maximum number of keys of each database that are checked for a missing TTL and for their size. @default 10_000
   */
  readonly sample?: number | undefined;
  /** The size in bytes from which a key is big. @default 1 MiB */
  readonly bigKey?: number | undefined;
  /** Returns the time in milliseconds since 1970. @default Date.now */
  readonly clock?: (() => number) | undefined;
}

/**
 * Finds problems of a store and of its use. It changes nothing.
 *
 * @param client The client.
 * @param options The limits of the checks, and the options of their steps.
 * @returns A finding for each check. If the store does not answer, or is not a store, that is the last one. While a
 *   master of a cluster is away, the checks are those of the cluster.
 */
export async function* diagnose(
  client: InspectedClient,
  options: DiagnoseOptions = {},
): AsyncGenerator<Finding, void, void> {
  const { sample = SAMPLE, bigKey = BIG_KEY, clock = Date.now } = options;
  checkWhole(sample, "sample", 1);
  checkWhole(bigKey, "bigKey", 1);
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
      // Masters of a cluster that answer tell of the one that does not.
      const nodes = await askNodes(connection).catch(() => []);
      if (!nodes.some(isUp)) {
        await connection.close();
        throw error;
      }
    }
  } catch (error) {
    if (!isStoreError(error)) throw error;
    yield unreachable(error);
    return;
  }
  try {
    const nodes = await askNodes(connection);
    const there = nodes.filter(isUp);
    if (there.length < nodes.length) {
      yield partly(nodes);
      yield* clusterChecks(nodes, connection.location.tags);
      return;
    }
    const took = `${client.driver} answered in ${formatLatency(latency)}`;
    yield latency > SLOW_MS
      ? warning("connection", took, "move the store closer to the application, or find out why it is busy")
      : { check: "connection", level: "ok", evidence: took };
    yield await authentication(connection);
    const [reply] = await connection.send([["INFO"]]);
    const info = nodes.length > 0 ? sumOfInfos(there.map((node) => node.info)) : parseInfo(reply);
    const why = unavailable(client.driver, "INFO", reply);
    /** Asks each node of a cluster, or the one server. */
    const each = async (check: (one: ManagedConnection, info: Info) => Finding | Promise<Finding>): Promise<Finding> =>
      there.length === 0
        ? await check(connection, info)
        : worstOf(
            await Promise.all(there.map(async (one) => [one.node, await check(one.connection, one.info)] as const)),
          );
    yield await each((_, info) => version(info, why));
    const role = await each(replication);
    yield role;
    if (role.evidence === SENTINEL) return;
    const refused = await tryCommands(client, options);
    yield await databases(client, info, refused, options);
    const token = client.driver === "upstash" ? WRITE_TOKEN : undefined;
    yield scripts(refused, token);
    yield commands(refused, token);
    yield await each((one, info) => nearCaches(client, one, info));
    yield await encryption(client, { ...options, sample });
    yield await each((_, info) => eviction(info, client.driver, why));
    yield await each((_, info) => memoryUse(info, why));
    yield hitRate(await countedRates(client, options), info, why);
    yield* keys(client, info, { ...options, sample, bigKey });
    yield await slowQueries(connection, clock);
    yield await each((one) => clockSkew(one, clock));
    const spread = await layout(client, options);
    if (spread) yield spread;
    const latest = {
      node: connection.location.driver.parts?.()[0] ?? "the primary",
      connection,
      info,
      latency,
      error: null,
    };
    if (client.driver !== "cluster") yield* sentinelChecks(connection, latest);
    else if (nodes.length > 0) yield* clusterChecks(nodes, connection.location.tags);
  } finally {
    await connection.close();
  }
}

const isUp = ({ error }: NodeInfo): boolean => error === null;

/** Says which nodes do not answer. Most other checks need all of them. */
function partly(nodes: readonly NodeInfo[]): Finding {
  const away = nodes.filter((node) => !isUp(node)).map(({ node }) => node);
  const evidence = `${nodes.length - away.length} of ${nodes.length} masters answer, but not ${away.join(", ")}`;
  const advice = "bring it back, or wait for its replica to take over: checks that need all masters are left out";
  return { check: "connection", level: "error", evidence, advice };
}

/** The remedy for a read-only token. */
const WRITE_TOKEN = "use the token that may write, unless only reads are intended";

/** The latency in milliseconds from which a store is slow. */
const SLOW_MS = 50;
