/**
 * Shards, an option of clients of the core. The other clients include them, and take their number from CACHE_SHARDS.
 *
 * A cluster spreads keys over its servers by their hash tag, the text in the first braces. With shards a key is
 *
 *     [CACHE_PREFIX:] [db{n}:] [service:] {tag} logical key
 *
 * and each shard has an epoch and marks of its own, so that whatever one command needs is on one server. The number of
 * shards is a part of the keys, as the prefix is: it comes from the configuration, never from the server, and works
 * over every driver. Clients with different numbers share nothing, invalidations included.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder/core";
 * import { memory } from "@foodfast/larder/drivers/memory";
 * import { shards } from "@foodfast/larder/shards";
 *
 * await using client = createCacheClient({ driver: memory(), shards: shards(64) });
 * await client.cache().set("product:123", "pho"); // under {c9q}product:123
 * ```
 *
 * @module
 */
import type { Reply, Script } from "../../drivers/driver.ts";
import { escapeGlob } from "../../drivers/glob.ts";
import { invalid } from "../base/check.ts";
import { crc16 } from "../base/crc16.ts";
import { OWN } from "../base/own_keys.ts";
import { isStoreError } from "../base/store_error.ts";
import { EVERYTHING, invalidate } from "../lua/entries.ts";
import { mark } from "../lua/mark.ts";
import { type Keyspace, percent, type Runner, Shard } from "./keyspace.ts";

/** Makes the keyspace of a database and a prefix: a `Keyspace`. */
export type MakeKeyspace = (database: number, prefix: string) => object;

/**
 * The tags of 64 shards. The slot of tag i is 128 + 256 i, the middle of its part of a cluster's 16384 slots, so each
 * server has its share of the shards; only `blk` is a slot off. `node scripts/shard_tags.mjs` writes them.
 */
const TAGS =
  "53tj3jif5kec57474bakm6bk96afrw0ipoind1i38o0m02nfhe6box40wc9qhav7ah44767a1jsfcu0xrgqt1n33mee2jgu4" +
  "71252dcmk4dm75rh5lblkice3y71za2k68axwu79312ov8e87d85gn62141gjc0qkn66qi6o3h51kc2z40yb3ludeso94802";

/**
 * The letters in front of the tags of other numbers. A letter moves all slots by one exclusive or, which leaves them as
 * even; four letters make 256 tags of 64. So no two numbers share a tag.
 */
const LETTERS: ReadonlyMap<number, string> = new Map([
  [1, "a"],
  [4, "c"],
  [16, "g"],
  [64, ""],
  [256, "9lr1"],
]);

/** The numbers of shards that there can be. */
export const SHARD_COUNTS: readonly number[] = [...LETTERS.keys()];

/** Returns the tag of a shard. */
export function tagOf(shard: number, count: number): string {
  const at = count > 64 ? shard % 64 : Math.floor(((shard + 0.5) * 64) / count);
  return (LETTERS.get(count)?.charAt(shard >> 6) ?? "") + TAGS.slice(3 * at, 3 * at + 3);
}

/** A shard whose slot may be moved to another server. */
class MovableShard extends Shard {
  /**
   * While a slot is being moved key by key, no server runs a script some of whose keys it lacks, but each key is found
   * by itself. So the epoch is moved on first and the marks are made after it. That is right because a load that begins
   * in between has seen the new epoch.
   */
  override async invalidate(runner: Runner, tags: readonly string[] | undefined, timeout: number): Promise<Reply> {
    const start = performance.now();
    try {
      return await super.invalidate(runner, tags, timeout);
    } catch (error) {
      if (!isStoreError(error) || error.code !== "TRYAGAIN") throw error;
      const run = (script: Script, key: string, args: readonly string[]): Promise<Reply> =>
        runner.run(script, [key], args, Math.max(1, timeout - (performance.now() - start)), true);
      const epoch = await run(invalidate, this.epochKey, tags ? [] : [EVERYTHING]);
      const [seq = ""] = String(epoch).split(" ");
      await Promise.all(this.marksOf(tags).map((key) => run(mark, key, [seq])));
      return epoch;
    }
  }
}

/** A keyspace of several shards. */
class Shards implements Keyspace {
  readonly database: number;
  readonly prefix: string;
  readonly shards: readonly Shard[];
  readonly #glob: string;
  /** The length of what stands before a logical key. */
  readonly #start: number;

  constructor(database: number, prefix: string, count: number) {
    this.database = database;
    // The first braces of a key must be those of the tag.
    this.prefix = prefix.replace(/[{}]/g, percent);
    const shardOf = (_: unknown, i: number): Shard => new MovableShard(database, `${this.prefix}{${tagOf(i, count)}}`);
    this.shards = Array.from({ length: count }, shardOf);
    this.#start = (this.shards[0] as Shard).prefix.length;
    this.#glob = `${escapeGlob(this.prefix)}{${"?".repeat(this.#start - this.prefix.length - 2)}}`;
  }

  of(logical: string): Shard {
    return this.shards[crc16(logical) % this.shards.length] as Shard;
  }

  key(logical: string): string {
    return this.of(logical).key(logical);
  }

  own(name: string): string {
    return this.key(OWN + name);
  }

  strip(physical: string): string {
    return physical.slice(this.#start);
  }

  match(glob: string): string {
    return this.#glob + glob;
  }
}

/**
 * Spreads keys over shards: the option `shards` of clients of the core.
 *
 * @param count The number of shards: 1, 4, 16, 64 or 256. 64 suits clusters of up to 16 masters, 256 larger ones.
 * @returns The part that makes keyspaces.
 * @throws {RangeError} For another number.
 */
export function shards(count: number): MakeKeyspace {
  if (!LETTERS.has(count)) {
    throw invalid("spread keys over shards", count, `one of ${[...LETTERS.keys()].join(", ")}`, RangeError);
  }
  return (database, prefix) => new Shards(database, prefix, count);
}
