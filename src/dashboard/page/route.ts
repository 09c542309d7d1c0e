/// <reference lib="dom" />
/** Where in the page one is: kept in the location's hash, so that a reload and the back button work. */

/** Whose keys: a service's or a database's, as the server wants to be asked. */
export type Whose = { readonly service: string } | { readonly database: string };

/** A key, as the server wants to be asked for it. */
export type KeyOf = { readonly key: string } | { readonly key64: string };

/** A place in the page. */
export interface Route {
  /** The view. */
  readonly view: "overview" | "keys";
  /** Whose keys are listed; `undefined` before one was picked. */
  readonly whose?: Whose;
  /** What is searched for. */
  readonly match: string;
  /** The key that is open. */
  readonly open?: KeyOf;
}

/** Reads a hash. */
export function parseRoute(hash: string): Route {
  const [view, search] = hash.replace(/^#/, "").split(/\?(.*)/s, 2);
  if (view !== "keys") return { view: "overview", match: "" };
  const query = new URLSearchParams(search);
  const [service, database] = [query.get("service"), query.get("database")];
  const [key, key64] = [query.get("key"), query.get("key64")];
  return {
    view: "keys",
    match: query.get("match") ?? "",
    ...(service ? { whose: { service } } : database ? { whose: { database } } : {}),
    ...(key64 ? { open: { key64 } } : key ? { open: { key } } : {}),
  };
}

/** Writes a hash. */
export function hashOf({ view, whose, match, open }: Route): string {
  const query = new URLSearchParams({ ...whose, ...(match && { match }), ...open }).toString();
  return `#${view}${view === "keys" && query ? `?${query}` : ""}`;
}

/** Goes to a place, at once: a step back leads here again, unless it replaces where one is. */
export function go(place: Route, replace = false): void {
  const hash = hashOf(place);
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
