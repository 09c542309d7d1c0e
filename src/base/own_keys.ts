/**
 * The library's own keys, which stand among the entries of every keyspace, and the tolerance by which all readers of
 * entries judge. In `base`, because scripts, their twins and the memory driver need them too.
 *
 * @module
 */

/** The start of every key of the library's own, below the keyspace's prefix. */
export const OWN = "#larder:";

/** The key of a keyspace's epoch. Its name in the store is older than the word. */
export const EPOCH_KEY = "#larder:clock";

/** The start of the keys of tag marks: each holds the epoch of the tag's last invalidation. */
export const MARKS = "#larder:tag:";

/** The tolerated difference between the clocks of processes, in milliseconds. Entries from beyond it are not fresh. */
export const CLOCK_SKEW_MS = 1000;

/** Returns whether a logical key is one of the library's own: no entry. */
export function isOwnKey(logical: string): boolean {
  return logical.startsWith(OWN);
}
