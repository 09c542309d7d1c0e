/** The layout of keys below a prefix: in one place, or spread over shards by their hash tags. */
import { crc16, crc16OfBytes } from "../base/crc16.ts";
import { OWN } from "../base/own_keys.ts";
import type { Location } from "../client/types.ts";
import { SHARD_COUNTS, tagOf } from "../entry/shards.ts";
import type { Bulk } from "./target.ts";

const encoder = new TextEncoder();
const OWN_BYTES = encoder.encode(OWN);

/** Returns whether a logical key, as text or bytes, is one of the library's own. */
export function isOwnBulk(logical: Bulk): boolean {
  return typeof logical === "string" ? logical.startsWith(OWN) : OWN_BYTES.every((byte, i) => logical[i] === byte);
}

/** A layout of keys. Its shards are known by their numbers, from 0. */
export class Layout {
  /** The hash tag of each shard with its braces, all of one length; one empty text without shards. */
  readonly tags: readonly string[];
  readonly #shards: ReadonlyMap<string, number>;

  /** @param tags The hash tag of each shard; one empty text without shards. */
  constructor(tags: readonly string[]) {
    this.tags = tags;
    this.#shards = new Map(tags.map((tag, shard) => [tag, shard]));
  }

  /**
   * Returns the layout of a number of shards, or of keys in one place.
   *
   * @param count The number; `undefined` without shards.
   * @returns The layout; `undefined` for a number that does not exist.
   */
  static of(count: number | undefined): Layout | undefined {
    if (count === undefined) return new Layout([""]);
    if (!SHARD_COUNTS.includes(count)) return undefined;
    return new Layout(Array.from({ length: count }, (_, shard) => `{${tagOf(shard, count)}}`));
  }

  /** The number of shards; `undefined` without shards. */
  get count(): number | undefined {
    return this.tags[0] === "" ? undefined : this.tags.length;
  }

  /** The length of what stands between the prefix and a logical key. */
  get length(): number {
    return (this.tags[0] as string).length;
  }

  /** The glob of what stands between the prefix and a logical key. */
  get glob(): string {
    return this.count === undefined ? "" : `{${"?".repeat(this.length - 2)}}`;
  }

  /** Returns the shard of a logical key. */
  shardOf(logical: Bulk): number {
    if (this.tags.length === 1) return 0;
    return (typeof logical === "string" ? crc16(logical) : crc16OfBytes(logical)) % this.tags.length;
  }

  /** Returns the shard whose tag a text starts with; `undefined` if it starts with none. */
  tagged(text: string): number | undefined {
    return this.#shards.get(text.slice(0, this.length));
  }

  /**
   * Reads the name of a key in a file: one of the library's own has the tag of its shard in front, an entry has none.
   *
   * @param key The key.
   * @returns The shard and the name of one of the library's own; `undefined` for an entry.
   */
  ownOf(key: Bulk): { readonly shard: number; readonly name: string } | undefined {
    if (typeof key !== "string") return undefined;
    const shard = this.tagged(key);
    if (shard === undefined || !key.startsWith(OWN, this.length)) return undefined;
    return { shard, name: key.slice(this.length) };
  }

  /** Returns whether two layouts put every key in the same place. */
  equals(other: Layout): boolean {
    return this.count === other.count;
  }
}

/** Returns the physical key of one of the library's own that belongs to no shard, by its name. */
export function ownKey({ prefix, tags }: Pick<Location, "prefix" | "tags">, name: string): string {
  const layout = new Layout(tags);
  return prefix + layout.tags[layout.shardOf(OWN + name)] + OWN + name;
}

/** Returns whether a physical key of a location is one of the library's own. */
export function isOwnAt({ prefix, tags }: Pick<Location, "prefix" | "tags">, physical: string): boolean {
  return physical.startsWith(OWN, prefix.length + (tags[0] as string).length);
}
