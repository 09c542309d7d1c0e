/** How many keys services have, and how much memory they take. */
import type { Location } from "../client/client.ts";
import { displayText, isOwnBulk, ManagedConnection } from "../manager/connection.ts";
import type { Bulk } from "../manager/target.ts";

/** What a service's keys come to. */
export interface Size {
  /** How many keys, the library's own included; estimated where services share a database of more keys than are looked at. */
  readonly keys: number;
  /** How many bytes they take, estimated from some of them; `null` where none was looked at, or the store cannot tell. */
  readonly memory: number | null;
}

/** Options of {@linkcode sizesOf}. */
export interface SizesOptions {
  /** The most keys that are looked at where services share a database. The rest of it is taken to be alike. @default 100_000 */
  readonly most?: number;
  /** How many keys of each service are asked for their memory. @default 0 */
  readonly sample?: number;
  /** The deadline of each step, in milliseconds. */
  readonly timeout: number;
}

const PAGE = 1000;

/**
 * Measures what is below the prefixes of places. Where a place has a database of its own, the store tells how many keys that has; otherwise they are
 * looked at, all services of a database in one scan, which meets keys in no order.
 *
 * @param places The places.
 * @param options How much is looked at.
 * @returns The sizes, in the order of the places.
 * @throws {StoreError} When the store goes away.
 */
export async function sizesOf(places: readonly Location[], options: SizesOptions): Promise<Size[]> {
  const { most = 100_000, sample = 0, timeout } = options;
  const sizes = new Map<Location, Size>();
  for (const group of groupsOf(places)) {
    const [first] = group as [Location];
    const alone = group.length === 1 && first.prefix === "";
    const wire = new ManagedConnection({ ...first, prefix: "" }, undefined, undefined, timeout);
    const total = Number((await wire.must([["DBSIZE"]]))[0]);
    const found = new Map(group.map((place) => [place, { keys: 0, some: [] as Bulk[] }]));
    // The longest prefix first: the empty one fits all.
    const byLength = [...group].sort((a, b) => b.prefix.length - a.prefix.length);
    const limit = alone ? sample : most;
    let looked = 0;
    if (limit > 0) {
      for await (const page of wire.scan("*", Math.min(limit, PAGE))) {
        looked += page.length;
        for (const key of page) {
          const text = displayText(key);
          const place = byLength.find(({ prefix }) => text.startsWith(prefix));
          const one = place && found.get(place);
          if (!one) continue;
          one.keys++;
          // The library's own are few, and not alike.
          if (one.some.length < sample && !isOwnBulk(text.slice(place?.prefix.length))) one.some.push(key);
        }
        if (looked >= limit) break;
      }
    }
    const share = looked < limit ? 1 : Math.max(1, total / looked);
    for (const [place, { keys, some }] of found) {
      const all = alone ? total : Math.round(keys * share);
      sizes.set(place, { keys: all, memory: sample > 0 && some.length === 0 ? 0 : await memoryOf(wire, some, all) });
    }
  }
  return places.map((place) => sizes.get(place) as Size);
}

/** Those that share a database of a store. */
function groupsOf(places: readonly Location[]): Location[][] {
  const groups = new Map<Location["driver"], Map<number, Location[]>>();
  for (const place of places) {
    const databases = groups.get(place.driver) ?? new Map<number, Location[]>();
    databases.set(place.database, [...(databases.get(place.database) ?? []), place]);
    groups.set(place.driver, databases);
  }
  return [...groups.values()].flatMap((databases) => [...databases.values()]);
}

async function memoryOf(wire: ManagedConnection, some: readonly Bulk[], keys: number): Promise<number | null> {
  if (keys === 0) return 0;
  const ask = async (...command: string[]): Promise<number[]> => {
    const replies = await wire.send(some.map((key) => [...command, key]));
    return replies.filter((reply) => typeof reply === "number");
  };
  let known = await ask("MEMORY", "USAGE");
  // Stores without it.
  if (known.length === 0) known = await ask("STRLEN");
  if (known.length === 0) return null;
  return Math.round((known.reduce((sum, size) => sum + size, 0) / known.length) * keys);
}
