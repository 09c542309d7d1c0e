/** Services of applications' own, found by what their processes counted together. */

import { OWN } from "../base/own_keys.ts";
import { isRefusal } from "../base/store_error.ts";
import type { Location } from "../client/types.ts";
import { OWN_DATABASE } from "../services/databases.ts";
import { defineService } from "../services/service.ts";
import { displayText, type ManagedConnection, openManagedConnection } from "./connection.ts";
import type { InspectedClient } from "./inspect.ts";
import type { StepOptions } from "./target.ts";

/** The databases that services of one's own may have. */
const FIRST = 8;
const LAST = 15;
const PAGE = 1000;

/** Options of {@linkcode findServices}. */
export interface FindServicesOptions extends StepOptions {
  /** The most keys that are looked at in each database of the store. @default 100_000 */
  readonly most?: number;
}

/**
 * Makes the services of applications' own known to a client: those whose processes have `fleetStats` on, for these leave a name in the store. For
 * clients of tools only: an application that declares such a service later could not use it.
 *
 * @param client The client. Nothing is changed in the store.
 * @param options How much is looked at.
 * @throws {StoreError} When the store is away.
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
    const whole = { ...(locations[0] as Location), prefix: "" };
    let connection: ManagedConnection | undefined;
    try {
      connection = await openManagedConnection({ locate: async () => whole }, { database: whole.number, ...options });
      const [size] = await connection.send([["DBSIZE"]]);
      if (size === 0) continue;
      let left = most;
      for await (const page of connection.scan(`*${OWN}stats:*`, PAGE)) {
        for (const key of page) register(client, locations, displayText(key));
        left -= PAGE;
        if (left <= 0) break;
      }
    } catch (error) {
      // A database that the store has not, or that this user may not see.
      if (!isRefusal(error)) throw error;
    } finally {
      await connection?.close();
    }
  }
}

function register(client: InspectedClient, locations: readonly Location[], key: string): void {
  for (const { prefix, number } of locations) {
    const [segment = "", name = ""] = key.startsWith(prefix) ? key.slice(prefix.length).split(`${OWN}stats:`) : [];
    // Caches without a service count under this name.
    if (name === "cache" || (segment !== "" && (segment !== `${name}:` || number !== OWN_DATABASE))) continue;
    // A name in front of its keys: the service shares the database with others, and does not name it.
    const shared = segment !== "";
    try {
      client.service(defineService({ name, ...(!shared && { database: number }), collections: {} }) as never);
    } catch (error) {
      // The service is known already, or its database is another's, or this is no name of a service.
      if (!(error instanceof TypeError)) throw error;
    }
  }
}
