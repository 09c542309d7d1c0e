/**
 * Scripts that are sent whole, because their hash is hardly shorter.
 *
 * @module
 */
import type { Script } from "../../drivers/driver.ts";

/**
 * Finds out whether scripts may write: in a full store and on a replica they may not.
 *
 * - KEYS: a key that does not exist
 * - Returns 0
 */
export const PROBE = "return redis.call('SET', KEYS[1], '', 'XX') and 1 or 0";

/**
 * Deletes keys: one command for the deletions of several callers.
 *
 * - KEYS: the keys
 * - Returns for each key whether it existed
 */
export const UNLINK_EACH = `local reply = {}
for i, key in ipairs(KEYS) do reply[i] = redis.call('UNLINK', key) end
return reply`;

/** {@linkcode PROBE} for the embedded store. */
export const probe: Script = {
  name: "probe",
  sha1: "dafe727bad5a87eeb17e71f509df03ab02dafd0a",
  lua: PROBE,
};

/** {@linkcode UNLINK_EACH} for the embedded store. */
export const unlinkEach: Script = {
  name: "unlinkEach",
  sha1: "97ca4d98015c70d8a547b17ff054996db3f74d7b",
  lua: UNLINK_EACH,
};
