/** One run of a batch loader for the loads of several keys. */
import { checkFunction, checkTags, refuse } from "./check.ts";
import type { LoadContext } from "./load.ts";

/** The loads of one `getOrSetMany`. */
export interface Group {
  /** Asks for the value of an id. */
  load(id: unknown, said: LoadContext<never>): Promise<unknown>;
  /** It is known of one more of the ids whether it is asked for. */
  decided(): void;
}

/**
 * Gathers loads until it is known of every id whether it is to be loaded, then runs the loader once. Those that come later, because they waited for
 * a lock in vain, run it anew.
 *
 * @param size How many ids there are.
 * @param loader The batch loader.
 * @returns The group.
 */
export function group(
  size: number,
  loader: (
    ids: unknown[],
    said: LoadContext<never>,
  ) => ReadonlyMap<unknown, unknown> | Promise<ReadonlyMap<unknown, unknown>>,
): Group {
  checkFunction(loader, "a loader");
  let open = size;
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
      return values;
    })();
    for (const { id, resolve } of all) resolve(loading.then((values) => values.get(id)));
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
