import { Marks } from "../cache/marks.ts";
import { PlainWrite } from "../cache/plain_write.ts";
import type { PlainWriter } from "../cache/write.ts";
import type { Shard } from "../entry/keyspace.ts";
import { type DeclaredMarks, declaredMarks } from "../wire/declared_marks.ts";
import { headReader, type ReadHeads } from "../wire/read_heads.ts";

/** The parts of a client that read and write by plain commands. */
export interface PlainCommands {
  /** Makes the function that reads heads, for `has` and `ttl`. */
  heads(): ReadHeads;
  /** Gives the shards of a keyspace what is known of their marks, for tagged entries. */
  mark(shards: readonly Shard[]): void;
  /** Makes the part that declares marks where a store wants that. */
  declared(): DeclaredMarks;
  /** Makes a write of an entry without tags. */
  readonly write: PlainWriter;
}

/**
 * Reads and writes by plain commands what else a script does. On a connection they cost the store less. Over REST,
 * where each command is billed, the script is cheaper, so builds for the edge leave this file out.
 */
export const plainCommands: PlainCommands = {
  heads: headReader,
  mark(shards) {
    const debt = { reads: 0 };
    for (const shard of shards) shard.marks = new Marks(debt);
  },
  declared: declaredMarks,
  write: (...args) => new PlainWrite(...args),
};
