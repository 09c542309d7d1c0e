/** The loads in flight and the near caches of one client and database, which every write and invalidation affects. */
import type { Epoch, Keyspace, Shard } from "../entry/keyspace.ts";
import type { NearCache } from "../near/near_cache.ts";

/** A load in flight for a key. Several callers may wait for it. */
export interface Load {
  readonly promise: Promise<unknown>;
  /** The epoch that was read before it started: its value is as old as that. */
  readonly epoch: Epoch;
  /** When it began, by the clock of entries. */
  readonly began: number;
  /** `true` once the key was written or deleted, or the load took too long. Then its result is not stored. */
  superseded: boolean;
}

/** A memory that forgets what any cache of the same client and database writes: a near cache, or that of refusals. */
type Nearby = Pick<NearCache, "forget" | "outdate" | "invalidate"> & Partial<Pick<NearCache, "close">>;

/** The near caches of one client and database: each forgets what any of the caches writes. */
export class Nears extends Set<Nearby> {
  /** Forgets a physical key. */
  forget(key: string): void {
    if (this.size > 0) for (const near of this) near.forget(key);
  }

  /** Forgets what may be invalid, after a read has brought a later epoch: another process has invalidated entries. */
  outdate(shard: Shard): void {
    for (const near of this) near.outdate(shard);
  }

  /** Forgets the entries of a keyspace that carry one of the tags, or all of them. */
  invalidate(space: Keyspace, tags?: readonly string[]): void {
    for (const near of this) near.invalidate(space, tags);
  }
}

/** The loads in flight of one client and database, by physical key. */
export class Loads extends Map<string, Load> {
  readonly #nears: Nears;

  /** @param nears The near caches of the same client and database. */
  constructor(nears: Nears) {
    super();
    this.#nears = nears;
  }

  /** Drops a key's load and near values, so that neither undoes the write or deletion that follows. */
  supersede(key: string): void {
    if (this.size > 0) this.#drop(key, this.get(key));
    this.#nears.forget(key);
  }

  /** Drops all loads of a keyspace, and its near values: all of them, or only those that carry one of the tags. */
  supersedeAll(space: Keyspace, tags?: readonly string[]): void {
    for (const [key, load] of this) if (key.startsWith(space.prefix)) this.#drop(key, load);
    this.#nears.invalidate(space, tags);
  }

  #drop(key: string, load: Load | undefined): void {
    if (load) load.superseded = this.delete(key);
  }
}
