/** Services that applications defined, as targets of a command. */
import type { Target } from "../manager/mod.ts";
import { findServices } from "../manager/services.ts";
import { OWN_DATABASE } from "../services/databases.ts";
import { defineService } from "../services/service.ts";
import { SERVICES } from "./flags.ts";
import type { Shell } from "./shell.ts";
import type { OpenedStore } from "./store.ts";

/**
 * Makes the service of a target known to clients, if an application defined it. Its database comes from the shared
 * statistics in the stores. Without any, the command assumes that the service names no database, and says so.
 *
 * @param shell The command's shell.
 * @param stores The stores, connected.
 * @param target The service or database, or all of them.
 * @throws {StoreError} When a store does not answer.
 */
export async function defineTarget(
  { output, signal }: Shell,
  stores: readonly OpenedStore[],
  target: Target | { readonly all: true },
): Promise<void> {
  const service = "service" in target ? target.service : undefined;
  if (typeof service !== "string" || SERVICES.includes(service)) return;
  for (const { client, timeout } of stores) await findServices(client, { signal, timeout });
  const known = stores.find(({ client }) => service in client.stats().services);
  const database = known && (await ownDatabase(known, service));
  if (!known) output.note(`No statistics of ${service} found: using its keys in database ${OWN_DATABASE}`);
  const definition = defineService({ name: service, ...(database !== undefined && { database }), collections: {} });
  for (const { client } of stores) if (!(service in client.stats().services)) client.service(definition);
}

/** Returns the database that a service has alone; `undefined` if it shares one. */
async function ownDatabase({ client }: OpenedStore, service: string): Promise<number | undefined> {
  const { number, prefix } = await client.locate({ service });
  const whole = await client.locate({ database: number });
  return prefix === whole.prefix ? number : undefined;
}
