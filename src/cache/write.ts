/** A write, from an entry to the store: the one path of `set`, `setMany`, `update` and loads. */
import type { Command, Reply } from "../../drivers/driver.ts";
import { isForbidden } from "../base/store_error.ts";
import type { Policy } from "../config/policy.ts";
import type { Shard } from "../entry/keyspace.ts";
import { storeEntry } from "../lua/entries.ts";
import { type CallOptions, reportFailure } from "./call.ts";
import type { CacheContext } from "./context.ts";
import type { Entry, Origin } from "./make_entry.ts";

/** A requested write. */
export interface Write {
  /** The logical key. */
  readonly key: string;
  readonly entry: Entry | Promise<Entry>;
  readonly policy: Policy;
  /** Facts about the value, if it is not a caller's `set`. */
  readonly origin?: Origin;
  /** The operation, for events. */
  readonly operation: string;
  /** Milliseconds until the write fails. */
  readonly timeout: number;
  readonly options: CallOptions | undefined;
  /**
   * Called when the entry is ready; with `false` it is not written. @default drops the key's load in flight, so that
   * its result does not overwrite this value
   */
  begin?(): boolean;
}

/** The last entry of each cache that is made asynchronously, as sealed ones are. Later ones are written after it. */
const preparing = new WeakMap<CacheContext, Promise<unknown>>();

/**
 * Writes an entry at once. An entry that is made asynchronously is written when it and all earlier ones of the cache
 * are ready. Near caches forget the key.
 *
 * @param context The parts of the cache.
 * @param request The entry, and how to write it.
 * @returns Whether it was written: `false` if its lock was lost or another text is stored than was expected;
 * `undefined` if the store is away, or if `begin` returned `false`.
 * @throws {StoreError} If the store is away and the caller wants that thrown.
 */
export function write(context: CacheContext, request: Write): Promise<boolean | undefined> {
  return new Promise((resolve, reject) => start(context, request, resolve, reject));
}

/** Does what {@linkcode write} does, and settles a promise of the caller's. */
export function start(
  context: CacheContext,
  request: Write,
  resolve: (written: boolean | undefined) => void,
  reject: (error: unknown) => void,
): void {
  const { entry } = request;
  if (!(entry instanceof Promise)) {
    save(context, entry, request, resolve, reject);
    return;
  }
  const ready = Promise.resolve(preparing.get(context)).then(() => entry);
  preparing.set(
    context,
    ready.catch(() => {}),
  );
  ready.then((made) => save(context, made, request, resolve, reject)).catch(reject);
}

function save(
  context: CacheContext,
  entry: Entry,
  request: Write,
  resolve: (written: boolean | undefined) => void,
  reject: (error: unknown) => void,
): void {
  const { loads, space } = context;
  const { key, begin } = request;
  const shard = space.of(key);
  const physical = shard.key(key);
  if (!begin) loads.supersede(physical);
  else if (!begin()) {
    resolve(undefined);
    return;
  }
  const plain = context.plainWrite as PlainWriter | undefined;
  if (plain?.(context, shard, physical, entry, request, resolve, reject)) return;
  store(context, shard, physical, entry, request).then(resolve, reject);
}

/** Makes a plain write, if it can be one: see `plain_write.ts`. Returns whether it did. */
export type PlainWriter = (
  context: CacheContext,
  shard: Shard,
  physical: string,
  entry: Entry,
  request: Write,
  resolve: (written: boolean | undefined) => void,
  reject: (error: unknown) => void,
) => boolean;

async function store(
  context: CacheContext,
  shard: Shard,
  physical: string,
  { text, keep, tags }: Entry,
  request: Write,
): Promise<boolean | undefined> {
  const { batch, nears, counters } = context;
  const { key, policy, origin, timeout } = request;
  const { born, long, token, expected } = origin ?? {};
  const { epochKey, marksPrefix } = shard;
  const start = performance.now();
  const plain = born !== undefined && tags === "" && token === undefined;
  const bySet = (): Promise<Reply> => {
    const left = Math.max(1, timeout - (performance.now() - start));
    return batch.send(setCommand(physical, text, born ?? 0, keep), [physical], left, true);
  };
  let sent: Promise<Reply>;
  // Before the first invalidation, nothing can be lost that a load must not undo.
  if (plain && born === 0) sent = bySet();
  else {
    // If loads take locks, a write breaks them, so that no load of another process overwrites this value.
    const locks = !plain && (token !== undefined || policy.lock !== undefined);
    const also = [epochKey, locks ? shard.lock(key) : physical];
    if (tags) for (const tag of tags.split(",")) also.push(marksPrefix + tag.slice(1, -1));
    const args: (string | number)[] = [text, keep, born ?? "", token ?? "*", marksPrefix, tags];
    if (expected !== undefined) args.push(expected === null ? "0" : "1", expected ?? "");
    else if (long) args.push("3");
    sent = batch.run(storeEntry, [physical], args, timeout, expected === undefined && token === undefined, also);
    // A user who may not run scripts can write all the same.
    if (plain) sent = sent.catch((error) => (isForbidden(error) ? bySet() : Promise.reject(error)));
  }
  try {
    const written = (await sent) !== 0;
    // The latency of an update or a load is more than that of its write.
    if (!origin) counters.time(performance.now() - start);
    if (written) counters.writes++;
    return written;
  } catch (error) {
    return reportFailure(context, request.operation, error, request.options);
  } finally {
    // A near cache may have read the old value in between.
    nears.forget(physical);
  }
}

/** Returns the command that stores an entry which is born at an epoch. */
export function setCommand(key: string, text: string, born: number, keep: number): Command {
  const whole = born > 0 ? `{"born":${born},${text.slice(1)}` : text;
  return keep > 0 ? ["SET", key, whole, "PX", keep] : ["SET", key, whole];
}
