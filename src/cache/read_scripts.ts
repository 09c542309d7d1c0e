import type { Keyspace } from "../entry/keyspace.ts";
import { read } from "../lua/entries.ts";
import type { ReadScript } from "../wire/batch.ts";

/**
 * Makes a script that reads entries and checks their tags in the store.
 *
 * @param space The keyspace.
 * @param slide The TTL that each read starts again, in milliseconds; 0 for none.
 * @param headsOnly `true` to leave out the values.
 * @returns The script and its arguments, for the batch.
 */
export function readScriptOf(space: Keyspace, slide = 0, headsOnly = false): ReadScript {
  return { script: read, epochKey: space.epochKey, args: [space.marksPrefix, slide, headsOnly ? 1 : 0] };
}

/** The scripts by which a cache reads. Reads of one tick that share a script are one command. */
export interface ReadScripts {
  /** Reads whole entries. */
  readonly texts: ReadScript;
  /** Reads entries without their values. */
  readonly heads: ReadScript;
  /** The script of `get` and `getOrSet`. Absent for MGET, which does not check tags: see {@linkcode tagged}. */
  values?: ReadScript | undefined;
}

/**
 * Makes the scripts of a keyspace. Each cache has a copy, because one may switch to another script while the others do
 * not.
 */
export function readScriptsOf(space: Keyspace): ReadScripts {
  return { texts: readScriptOf(space), heads: readScriptOf(space, 0, true) };
}

/** Switches a cache to the script for good, because a tagged entry was read. */
export function tagged(scripts: ReadScripts): ReadScript {
  scripts.values ??= scripts.texts;
  return scripts.values;
}
