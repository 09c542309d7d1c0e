/** The known variables, and typos of their names. */

import { slips } from "../base/slips.ts";
import { SETTINGS, TTL_SETTINGS } from "./settings.ts";

/** The prefixes of Upstash's variables: its own, and those of its integration in Vercel. */
export const REST = ["UPSTASH_REDIS_REST", "KV_REST_API"] as const;

/** The variables that `parseConfig` knows, without those of services. */
export const CONFIG_VARIABLES: readonly string[] = [
  ...Object.values(SETTINGS).map(({ variable }) => variable),
  "REDIS_URL",
  ...REST.flatMap((api) => [`${api}_URL`, `${api}_TOKEN`]),
  ...Object.keys(TTL_SETTINGS),
];

/** Matches names that must be known if they stand in the library's own files. */
export const OURS: RegExp = /^(CACHE|REDIS|UPSTASH_REDIS_REST|KV_REST_API)_/;

/** Matches names that Kubernetes and Docker set for a service and its ports. */
export const LINK: RegExp = /_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_[A-Z]+(_(PROTO|PORT|ADDR))?)?)$/;

/** Returns a name without the ending that is forgotten most often. */
const stem = (name: string): string => name.replace(/_(MS|FOR)$/, "");
const farOf = (name: string, other: string): number => Math.min(slips(name, other), slips(stem(name), stem(other)));

/** Returns the nearest known name. */
export function nearest(name: string, known: readonly string[]): string {
  const far = new Map(known.map((other) => [other, farOf(name, other)]));
  return known.reduce((best, other) => ((far.get(other) as number) < (far.get(best) as number) ? other : best));
}

/**
 * Returns whether a name is so similar to another that it is probably a typo of it. Names of TTLs must be more similar,
 * because applications choose them.
 */
export function isSlip(name: string, other: string): boolean {
  const far = farOf(name, other);
  if (!name.startsWith("CACHE_TTL_")) return far <= (stem(other).length > 13 ? 2 : 1);
  const [letters, others] = [name, other].map((each) => [...each].sort().join());
  return letters === others || (far < 2 && name.length !== other.length);
}
