import { Marks } from "../cache/marks.ts";
import { headReader, type ReadHeads } from "../wire/read_heads.ts";

/** The parts of a client that read by plain commands. */
export interface PlainReads {
  /** Makes the function that reads heads, for `has` and `ttl`. */
  heads(): ReadHeads;
  /** Makes what is known of the marks of a keyspace, for tagged entries. */
  marks(): Marks;
}

/**
 * Reads by plain commands what else a script reads. On a connection they cost the store less. Over REST, where each
 * command is billed, the script is cheaper, so builds for the edge leave this file out.
 */
export const plainReads: PlainReads = { heads: headReader, marks: () => new Marks() };
