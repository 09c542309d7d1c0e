/** Discovers the services that applications defined, by the statistics that their processes share in the store. */

import { OWN, STATS } from "../base/own_keys.ts";
import { isRefusal } from "../base/store_error.ts";
import type { Location } from "../client/types.ts";
import { OWN_DATABASE } from "../services/databases.ts";
import { defineService } from "../services/service.ts";
import { displayText, type ManagedConnection, openManagedConnection, wholeOf } from "./connection.ts";
import type { InspectedClient } from "./inspect.ts";
import type { StepOptions } from "./target.ts";

/** The databases that services of applications may have. */
const FIRST = 8;
const LAST = 15;
const PAGE = 1000;

/** Options of {@linkcode findServices}. */
export interface FindServicesOptions extends StepOptions {
  /** The maximum number of keys that are scanned in each database of the store. @default 100_000 */
  readonly most?: number;
}

/**
 * Registers the services that applications defined with a client, so that tools show them. It finds those whose
 * processes have `fleetStats` on, because their names stand in the keys of shared statistics. Only for the clients of
 * tools: an application could not define such a service on the same client later.
 *
 * @param client The client. The store is only read.
 * @param options The limit of the search, and the options of its steps.
 * @throws {StoreError} When the store does not answer.
 */
export async function findServices(
  client: InspectedClient,
  { most = 100_000, ...options }: FindServicesOptions = {},
): Promise<void> {
  const groups = new Map<number, Location[]>();
  for (let database = FIRST; database <= LAST; database++) {
    const location = await client.locate({ database });
    groups.set(location.database, [...(groups.get(location.database) ?? []), location]);
  }
  for (const locations of groups.values()) {
    const [first] = locations as [Location];
    let connection: ManagedConnection | undefined;
    try {
      connection = await openManagedConnection(wholeOf(first), { database: first.number, ...options });
      if ((await connection.size()) === 0) continue;
      let left = most;
      for await (const page of connection.scan(`*${OWN}${STATS}*`, PAGE)) {
        for (const key of page) register(client, locations, displayText(key));
        left -= PAGE;
        if (left <= 0) break;
      }
    } catch (error) {
      // A database that the store does not have, or that this user may not read.
      if (!isRefusal(error)) throw error;
    } finally {
      await connection?.close();
    }
  }
}

function register(client: InspectedClient, locations: readonly Location[], key: string): void {
  for (const { prefix, tags, number } of locations) {
    const [start = "", name = ""] = key.startsWith(prefix) ? key.slice(prefix.length).split(OWN + STATS) : [];
    const segment = start.slice(0, start.length - (tags[0] as string).length);
    // Caches without a service count under this name.
    if (name === "cache" || (segment !== "" && (segment !== `${name}:` || number !== OWN_DATABASE))) continue;
    // The keys of a service that shares its database start with its name.
    const shared = segment !== "";
    try {
      client.service(defineService({ name, ...(!shared && { database: number }), collections: {} }) as never);
    } catch (error) {
      // The service is known already, its database is taken, or the name is not valid.
      if (!(error instanceof TypeError)) throw error;
    }
  }
}
