/** Keys that name a series: a service and one of its collections. */

/** The maximum number of series that are kept apart. Further ones are counted together as the service `other`. */
export const MAX_SERIES = 200;
const OTHER = "other ";

/** Returns the key of a series in a map that may hold {@linkcode MAX_SERIES} of them, or that of all further ones. */
export function seriesKey(known: ReadonlyMap<string, unknown>, service: string, collection: string): string {
  const key = keyOf(service, collection);
  return known.has(key) || known.size < MAX_SERIES ? key : OTHER;
}

/** Returns the key of a series. Names of services hold no spaces. */
export function keyOf(service: string, collection: string): string {
  return `${service} ${collection}`;
}

/** Returns what a key was made from. */
export function splitKey(key: string): [service: string, collection: string] {
  const at = key.indexOf(" ");
  return [key.slice(0, at), key.slice(at + 1)];
}
