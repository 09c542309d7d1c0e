/**
 * The names of the library's own keys, which are stored next to the entries of every keyspace, and the clock skew that
 * every reader of entries tolerates. In `base`, because scripts, their twins and the memory driver need them too.
 *
 * @module
 */

/** The start of every key of the library's own, below the keyspace's prefix. */
export const OWN = "#larder:";

/** The key of a keyspace's epoch. It was named before the term was chosen, and stored data keeps the name. */
export const EPOCH_KEY = "#larder:clock";

/** The start of the names of the keys that hold the counts of all processes, a service's name after it. */
export const STATS = "stats:";

/** The start of the keys of tag marks: each holds the epoch of the tag's last invalidation. */
export const MARKS = "#larder:tag:";

/**
 * The tolerated difference between the clocks of processes, in milliseconds. An entry from further ahead is not fresh.
 */
export const CLOCK_SKEW_MS = 1000;

/** Returns whether a logical key is one of the library's own, so not an entry. */
export function isOwnKey(logical: string): boolean {
  return logical.startsWith(OWN);
}
