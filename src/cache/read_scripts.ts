import { read } from "../lua/entries.ts";
import type { ReadScript } from "../wire/batch.ts";

/**
 * Makes a script that reads entries and checks their tags in the store.
 *
 * @param slide The TTL that each read starts again, in milliseconds; 0 for none.
 * @param what 0 for texts, 2 for their heads, which lack the values, and 1 more for the remaining TTLs too.
 * @returns The script and its arguments, for the batch.
 */
export function readScriptOf(slide = 0, what = 0): ReadScript {
  return { script: read, slide, what };
}

/** The scripts by which a cache reads. Reads of one tick that share a script are one command. */
export interface ReadScripts {
  /** Reads whole entries. */
  readonly texts: ReadScript;
  /** Reads whole entries and their remaining TTLs, for near caches. */
  readonly near: ReadScript;
  /** Reads entries without their values. */
  readonly heads: ReadScript;
  /** Reads entries without their values, and their remaining TTLs. */
  readonly ttls: ReadScript;
  /** The script of `get` and `getOrSet`. Absent for MGET, which does not check tags: see {@linkcode tagged}. */
  values?: ReadScript | undefined;
}

/** The scripts of every cache. Each has a copy, because one may switch to another script while the others do not. */
export const READ_SCRIPTS: Readonly<ReadScripts> = {
  texts: readScriptOf(),
  near: readScriptOf(0, 1),
  heads: readScriptOf(0, 2),
  ttls: readScriptOf(0, 3),
};

/** Switches a cache to the script, because a tagged entry was read. */
export function tagged(scripts: ReadScripts): ReadScript {
  scripts.values ??= scripts.texts;
  return scripts.values;
}
