import type { Reply } from "../../drivers/driver.ts";
import type { Epoch, KnownMarks } from "../entry/keyspace.ts";
import type { Batch, ReadScript } from "../wire/batch.ts";
import { plainIsCheaper } from "../wire/read_heads.ts";

/** The reads that make up for one with a second round trip. But for bursts, at most one in so many has it. */
const COST = 20;
/** The most reads to make up for. */
const MOST_DEBT = 10_000;
/** The most tags that are known at a time. */
const MOST_TAGS = 1000;
/** The start of an entry with tags. */
const HEAD = /^\{"born":\d+,"tags":\[/;

/** The reads that are to make up for those with a second round trip. */
interface Debt {
  reads: number;
}

/**
 * The known marks of a shard. Each invalidation moves the epoch in the same step as the marks, so what was true at
 * an epoch is true as long as a read finds that epoch. Therefore a tagged entry that came by MGET, with the epoch, is
 * valid if its tags are known well enough. Otherwise the script reads it in a second round trip.
 *
 * Marks are known from the entries that the script found valid: no tag of theirs was invalidated after they were born.
 * So a mark may be older than is known, but never younger. A mark that was evicted since is known all the same.
 *
 * Where the epoch moves often, or most tags are read once, reads go by the script at once.
 */
export class Marks implements KnownMarks {
  #epoch: string | undefined;
  /** For each tag an epoch that is not before its mark. */
  readonly #bounds = new Map<string, number>();
  readonly #debt: Debt;

  /** @param debt The debt, which all shards of a keyspace share. */
  constructor(debt: Debt = { reads: 0 }) {
    this.#debt = debt;
  }

  /**
   * Takes a tagged entry that a read found, and decides how the next tagged entries are read.
   *
   * @param batch The batch that read it.
   * @param scripts The scripts of its cache.
   * @param tags Its tags.
   * @param born The epoch from before it was loaded.
   * @param read Its text, and what came with it: the epoch, and what is left, `undefined` from MGET.
   * @returns Whether it is known to be valid although it came by MGET, which does not check tags.
   */
  hold(
    batch: Pick<Batch, "rights" | "capabilities">,
    scripts: { readonly texts: ReadScript; values?: ReadScript | undefined },
    tags: readonly string[],
    born: number,
    { text, epoch, left }: { text: string | null; epoch: Epoch; left: Reply | undefined },
  ): boolean {
    const at = epoch.text;
    if (left === undefined) return born >= Number.parseInt(at ?? "", 10) || this.covers(tags, born, at);
    // With a near cache, the script answers a TTL too. It looks for tags at the start only, where a write has them.
    if (left === null && plainIsCheaper(batch) && HEAD.test(`${text}`) && this.learn(tags, born, at)) {
      if (scripts.values === scripts.texts) scripts.values = undefined;
    }
    return false;
  }

  /**
   * Returns whether it is known that no tag was invalidated after `born`.
   *
   * @param cost The debt that it makes if it is not known.
   */
  covers(tags: readonly string[], born: number, epoch: string | null | undefined, cost: number = COST): boolean {
    const known =
      typeof epoch === "string" &&
      epoch === this.#epoch &&
      tags.every((tag) => (this.#bounds.get(tag) ?? Number.POSITIVE_INFINITY) <= born);
    const debt = this.#debt;
    debt.reads = known ? Math.max(0, debt.reads - 1) : Math.min(MOST_DEBT, debt.reads + cost);
    return known;
  }

  /** Notes an entry that the script found valid. Returns whether the next reads may go by MGET. */
  learn(tags: readonly string[], born: number, epoch: string | null | undefined): boolean {
    // The script needed no second round trip, so by MGET more than half of the reads must be known.
    if (!this.covers(tags, born, epoch, 1)) {
      const bounds = this.#bounds;
      if (epoch !== this.#epoch) bounds.clear();
      this.#epoch = epoch ?? undefined;
      for (const tag of tags) {
        const bound = bounds.get(tag) ?? (bounds.size < MOST_TAGS ? Number.POSITIVE_INFINITY : -1);
        if (bound > born) bounds.set(tag, born);
      }
    }
    return this.#debt.reads === 0;
  }
}
