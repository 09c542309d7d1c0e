/** One run of a batch loader for the loads of several keys. */
import { checkFunction, checkTags, refuse } from "../base/check.ts";
import type { LoadContext } from "./load.ts";

/** The loads of one `getOrSetMany`. */
export interface Group {
  /** Asks for the value of an id. */
  load(id: unknown, said: LoadContext<never>): Promise<unknown>;
  /** It is known of one more of the ids whether it is asked for. */
  decided(): void;
}

/** What a group asks of the cache that it loads for. */
export interface GroupOf {
  /** The keys of all ids of the call. */
  readonly keys: readonly string[];
  /** The key of an id. @throws {TypeError} For what is no id. */
  encode(id: unknown): string;
  /** Told how many ids got nothing while so many were given that nobody had asked for. */
  mismatch(missing: number, unasked: number): void;
}

/**
 * Gathers loads until it is known of every id whether it is to be loaded, then runs the loader once. Those that come later, because they waited for
 * a lock in vain, run it anew.
 *
 * @param of The cache and the call's keys.
 * @param loader The batch loader.
 * @returns The group.
 */
export function group(
  of: GroupOf,
  loader: (
    ids: unknown[],
    said: LoadContext<never>,
  ) => ReadonlyMap<unknown, unknown> | Promise<ReadonlyMap<unknown, unknown>>,
): Group {
  checkFunction(loader, "a loader");
  let open = of.keys.length;
  let asked: { id: unknown; said: LoadContext<never>; resolve: (value: unknown) => void }[] = [];
  const fire = async (): Promise<void> => {
    const [first] = asked;
    if (!first) return;
    const all = asked;
    asked = [];
    const loading = (async () => {
      const values = await loader(
        all.map(({ id }) => id),
        first.said,
      );
      if (typeof values?.get !== "function") refuse(`what a loader gave, of type ${typeof values}`, "Maps by id");
      const { ttl, tags = [], store } = first.said;
      checkTags(tags);
      for (const { said } of all) {
        said.ttl = ttl;
        said.store = store;
        if (said !== first.said) said.tags.push(...tags);
      }
      return match(of, all, values);
    })();
    all.forEach(({ resolve }, i) => {
      resolve(loading.then((values) => values[i]));
    });
  };
  return {
    load: (id, said) =>
      new Promise((resolve) => {
        asked.push({ id, said, resolve });
        if (open <= 0) fire();
      }),
    decided() {
      if (--open === 0) fire();
    },
  };
}

/**
 * The value of each id. Where the Map has none under the id itself, there may be one under another of the same key: a
 * number as text, an object that equals it. What it has for nobody beside ids that it has nothing for looks like a
 * slip: such ids are not remembered as missing.
 *
 * @throws {TypeError} For a Map that holds something, and nothing that was asked for.
 */
function match(
  { keys, encode, mismatch }: GroupOf,
  asked: readonly { readonly id: unknown; readonly said: LoadContext<never> }[],
  values: ReadonlyMap<unknown, unknown>,
): unknown[] {
  const found = asked.map(({ id }) => values.get(id));
  // The type asks for no more than `get`.
  if (!found.includes(undefined) || typeof values[Symbol.iterator] !== "function") return found;
  const given = new Map<unknown, unknown>();
  for (const [id, value] of values) {
    let key = id;
    try {
      key = encode(id);
    } catch {
      // It is no id, so nobody asked for it.
    }
    given.set(key, value);
  }
  const missing = asked.filter(({ id }, i) => {
    const key = encode(id);
    if (found[i] === undefined) found[i] = given.get(key);
    return !given.has(key);
  });
  for (const key of keys) given.delete(key);
  if (given.size === 0 || missing.length === 0) return found;
  const unasked = `${given.size} values under ids that were not asked for`;
  if (missing.length === asked.length) {
    refuse(`what a loader gave, ${unasked} and none of ${missing.length} that were`, "Maps by the ids that it takes");
  }
  for (const { said } of missing) said.store = false;
  mismatch(missing.length, given.size);
  return found;
}
