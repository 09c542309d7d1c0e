import { Marks } from "../cache/marks.ts";
import { plainWrite } from "../cache/plain_write.ts";
import { TCP_ADDRESSES } from "../config/parse_config.ts";
import type { AddressReaders } from "../config/settings.ts";
import { trackedNearCache } from "../near/near_tracking.ts";
import { ask } from "../wire/ask_epochs.ts";
import { declaredMarks } from "../wire/declared_marks.ts";
import { LoadClock } from "../wire/load_clock.ts";
import { headReader } from "../wire/read_heads.ts";
import { ClientParts } from "./client_parts.ts";
import { Invalidator } from "./invalidator.ts";
import type { Setup } from "./types.ts";

/**
 * The parts of a client that only builds for servers have: those for TCP, for stores of several servers, and for
 * drivers that are loaded late. They read and write by plain commands what else a script does. On a connection those
 * cost the store less. Over REST, where each command is billed, the script is cheaper.
 */
export interface ServerParts
  extends Required<Pick<Setup<object>, "parts" | "ofBatch" | "invalidator" | "ofContext" | "nearCache">> {
  /** The readers of addresses. */
  readonly addresses: AddressReaders;
}

/** Builds for the edge leave this file out. */
export const serverParts: ServerParts = {
  addresses: TCP_ADDRESSES,
  parts: (...args) => new ClientParts(...args),
  nearCache: trackedNearCache,
  ofBatch: (batch) => ({ clock: new LoadClock(), readHeads: headReader(), declared: declaredMarks(batch), ask }),
  invalidator: (...args) => new Invalidator(...args),
  ofContext(space) {
    const debt = { reads: 0 };
    for (const shard of space.shards) shard.marks = new Marks(debt);
    return { plainWrite };
  },
};
