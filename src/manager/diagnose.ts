import { describe } from "../base/check.ts";
import { isStoreError } from "../base/store_error.ts";
import { type Finding, untold, warning } from "./checks/finding.ts";
import { encryption, keys } from "./checks/keys.ts";
import { countedRates, eviction, hitRate, memory, slowQueries } from "./checks/load.ts";
import { commands, nearCaches, scripts, tried } from "./checks/permissions.ts";
import { authentication, away, databases, replication, SENTINEL, skew, version } from "./checks/server.ts";
import { type ManagedConnection, openManagedConnection } from "./connection.ts";
import { type InspectedClient, parseInfo } from "./inspect.ts";
import type { StepOptions } from "./target.ts";

export type { Finding } from "./checks/finding.ts";

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

/** From how many milliseconds on an answer is slow. */
const SLOW_MS = 50;
