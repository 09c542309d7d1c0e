/** `getOrSetMany`: one run of a batch loader for the loads of several keys. */
import { checkFunction, checkTags, invalid, invalidType } from "../base/check.ts";
import { foundOf, type Id, idsOf } from "../entry/keyspace.ts";
import { emit } from "./call.ts";
import type { CacheContext } from "./context.ts";
import { GetOrSet, type GetOrSetOptions, type LoadContext } from "./load.ts";
import { nearHit, Read } from "./read.ts";

/** The result of a batch loader: a Map, or an object with its `get`. */
type Values = Pick<ReadonlyMap<unknown, unknown>, "get"> & Partial<Iterable<readonly [unknown, unknown]>>;

/** A batch loader of any type. */
export type AnyBatchLoader = (ids: unknown[], argument: LoadContext<never>) => Values | Promise<Values>;

/** A request to load an id. */
interface Asked {
  readonly id: unknown;
  readonly argument: LoadContext<never>;
  readonly resolve: (value: unknown) => void;
}

/**
 * Reads several values, and loads those that are missing: see {@linkcode Cache.getOrSetMany}. Loads are gathered until
 * it is known of every id whether it is to be loaded, then the loader runs once. Loads that come later, because they
 * waited for a lock in vain, run it again.
 */
export async function getOrSetMany(
  context: CacheContext,
  ids: Iterable<Id>,
  loader: AnyBatchLoader,
  options: GetOrSetOptions | undefined,
): Promise<Map<unknown, unknown>> {
  const { batch, shape, scripts } = context;
  const list = [...new Set(idsOf(ids))];
  const keys = list.map((id) => shape.encode(id));
  checkFunction(loader, "a loader");
  let open = keys.length;
  let asked: Asked[] = [];
  const run = (): void => {
    const all = asked;
    asked = [];
    const loading = loadAll(context, keys, loader, all);
    all.forEach(({ resolve }, i) => {
      resolve(loading.then((values) => values[i]));
    });
  };
  const decided = (): void => {
    if (--open === 0 && asked.length > 0) run();
  };
  const values = await Promise.all(
    list.map((id, i) => {
      const near = nearHit(context, id, options);
      if (near) decided();
      return (
        near ??
        new Promise((resolve, reject) => {
          const load = (argument: LoadContext<never>) =>
            new Promise((resolve) => {
              asked.push({ id, argument, resolve });
              if (open <= 0) run();
            });
          const call = new GetOrSet(context, options, load, decided);
          const fail = (error: unknown): void => {
            call.loadDecided();
            reject(error);
          };
          batch.read(new Read(context, id, keys[i] as string, options, call, resolve, fail), scripts.values);
        })
      );
    }),
  );
  return foundOf(list, values);
}

/** Runs a batch loader, and returns the value of each id. */
async function loadAll(
  context: CacheContext,
  keys: readonly string[],
  loader: AnyBatchLoader,
  asked: readonly Asked[],
): Promise<unknown[]> {
  const [first] = asked as [Asked];
  const values = await loader(
    asked.map(({ id }) => id),
    first.argument,
  );
  if (typeof values?.get !== "function") throw invalidType("use what a loader returned", values, "a Map by id");
  const { ttl, tags = [], store } = first.argument;
  checkTags(tags);
  for (const { argument } of asked) {
    argument.ttl = ttl;
    argument.store = store;
    if (argument !== first.argument) argument.tags.push(...tags);
  }
  return match(context, keys, asked, values);
}

/**
 * Returns the value of each id. If the Map has none under the id itself, it may have one under another id of the same
 * key, such as a number as text or an equal object. A Map that lacks ids and has values for others is probably a
 * mistake, so those that it lacks are not remembered as missing.
 */
function match(context: CacheContext, keys: readonly string[], asked: readonly Asked[], values: Values): unknown[] {
  const found = asked.map(({ id }) => values.get(id));
  if (!found.includes(undefined) || typeof values[Symbol.iterator] !== "function") return found;
  const encode = (id: unknown): string => context.shape.encode(id as Id);
  const given = new Map<unknown, unknown>();
  for (const [id, value] of values as Iterable<readonly [unknown, unknown]>) {
    let key = id;
    try {
      key = encode(id);
    } catch {
      // It cannot be an id, so no caller asked for it.
    }
    given.set(key, value);
  }
  const missing = asked.filter(({ id }, i) => {
    const key = encode(id);
    if (found[i] === undefined) found[i] = given.get(key);
    return !given.has(key);
  });
  for (const key of keys) given.delete(key);
  const [lacking, unasked] = [missing.length, given.size];
  if (unasked === 0 || lacking === 0) return found;
  if (lacking === asked.length) {
    const received = `${unasked} values of other ids`;
    throw invalid("use what a loader returned", values, `a Map by ${lacking} ids asked for`, TypeError, received);
  }
  for (const { argument } of missing) argument.store = false;
  emit(context, { type: "load-unasked", missing: lacking, unasked });
  return found;
}
