/** The number of keys of services, and the memory that they take. */
import type { Location } from "../client/types.ts";
import { displayText, ManagedConnection } from "../manager/connection.ts";
import { isOwnAt } from "../manager/layout.ts";
import type { Bulk } from "../manager/target.ts";

/** The number and memory of a service's keys. */
export interface Size {
  /**
   * The number of keys, the library's own included. It is estimated if services share a database of more keys than are
   * scanned.
   */
  readonly keys: number;
  /** Their bytes, estimated from some of them; `null` if none was measured, or the store does not report it. */
  readonly memory: number | null;
}

/** Options of {@linkcode sizesOf}. */
export interface SizesOptions {
  /**
   * The maximum number of keys that are scanned in a database that services share; the rest is estimated. @default
   * 100_000
   */
  readonly most?: number;
  /** The number of keys of each service whose memory is measured. @default 0 */
  readonly sample?: number;
  /** The deadline of each step, in milliseconds. */
  readonly timeout: number;
}

const PAGE = 1000;

/**
 * Measures locations. The store reports the number of keys of a location that has a database of its own. Locations that
 * share a database are counted in one scan, which meets keys in random order.
 *
 * @param locations The locations.
 * @param options The limits of the scan.
 * @returns The sizes, in the order of the locations.
 * @throws {StoreError} When the store goes away.
 */
export async function sizesOf(locations: readonly Location[], options: SizesOptions): Promise<Size[]> {
  const { most = 100_000, sample = 0, timeout } = options;
  const sizes = new Map<Location, Size>();
  for (const group of groupsOf(locations)) {
    const [first] = group as [Location];
    const alone = group.length === 1 && first.prefix === "";
    const connection = new ManagedConnection({ ...first, prefix: "", tags: [""] }, undefined, undefined, timeout);
    const total = await connection.size();
    const found = new Map(group.map((location) => [location, { keys: 0, some: [] as Bulk[] }]));
    // The longest prefix comes first, because the empty one matches every key.
    const byLength = [...group].sort((a, b) => b.prefix.length - a.prefix.length);
    const limit = alone ? sample : most;
    let looked = 0;
    if (limit > 0) {
      for await (const page of connection.scan("*", Math.min(limit, PAGE))) {
        looked += page.length;
        for (const key of page) {
          const text = displayText(key);
          const location = byLength.find(({ prefix }) => text.startsWith(prefix));
          const contents = location && found.get(location);
          if (!contents) continue;
          contents.keys++;
          // The library's own keys are few, and of other sizes.
          if (contents.some.length < sample && !isOwnAt(location, text)) contents.some.push(key);
        }
        if (looked >= limit) break;
      }
    }
    const share = looked < limit ? 1 : Math.max(1, total / looked);
    for (const [location, { keys, some }] of found) {
      const all = alone ? total : Math.round(keys * share);
      sizes.set(location, {
        keys: all,
        memory: sample > 0 && some.length === 0 ? 0 : await memoryOf(connection, some, all),
      });
    }
  }
  return locations.map((location) => sizes.get(location) as Size);
}

/** Groups locations that share a database of a store. */
function groupsOf(locations: readonly Location[]): Location[][] {
  const groups = new Map<Location["driver"], Map<number, Location[]>>();
  for (const location of locations) {
    const databases = groups.get(location.driver) ?? new Map<number, Location[]>();
    databases.set(location.database, [...(databases.get(location.database) ?? []), location]);
    groups.set(location.driver, databases);
  }
  return [...groups.values()].flatMap((databases) => [...databases.values()]);
}

async function memoryOf(connection: ManagedConnection, some: readonly Bulk[], keys: number): Promise<number | null> {
  if (keys === 0) return 0;
  const ask = async (...command: string[]): Promise<number[]> => {
    const replies = await connection.send(some.map((key) => [...command, key]));
    return replies.filter((reply) => typeof reply === "number");
  };
  let known = await ask("MEMORY", "USAGE");
  // For stores without MEMORY.
  if (known.length === 0) known = await ask("STRLEN");
  if (known.length === 0) return null;
  return Math.round((known.reduce((sum, size) => sum + size, 0) / known.length) * keys);
}
