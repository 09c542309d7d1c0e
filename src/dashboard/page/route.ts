/// <reference lib="dom" />
/** The routes of the page. They are kept in the location's hash, so that a reload and the back button work. */

/** The owner of keys, a service or a database, as parameters of a request. */
export type Owner = { readonly service: string } | { readonly database: string };

/** A key, as parameters of a request. */
export type KeyOf = { readonly key: string } | { readonly key64: string };

/** A route. */
export interface Route {
  /** The view. */
  readonly view: "overview" | "keys";
  /** The owner of the listed keys; `undefined` before one was chosen. */
  readonly owner?: Owner;
  /** The search. */
  readonly match: string;
  /** The open key. */
  readonly open?: KeyOf;
}

/** Parses a hash. */
export function parseRoute(hash: string): Route {
  const [view, search] = hash.replace(/^#/, "").split(/\?(.*)/s, 2);
  if (view !== "keys") return { view: "overview", match: "" };
  const query = new URLSearchParams(search);
  const [service, database] = [query.get("service"), query.get("database")];
  const [key, key64] = [query.get("key"), query.get("key64")];
  return {
    view: "keys",
    match: query.get("match") ?? "",
    ...(service ? { owner: { service } } : database ? { owner: { database } } : {}),
    ...(key64 ? { open: { key64 } } : key ? { open: { key } } : {}),
  };
}

/** Returns the hash of a route. */
export function hashOf({ view, owner, match, open }: Route): string {
  const query = new URLSearchParams({ ...owner, ...(match && { match }), ...open }).toString();
  return `#${view}${view === "keys" && query ? `?${query}` : ""}`;
}

/** Goes to a route. The back button returns to the current one, unless it is replaced. */
export function go(route: Route, replace = false): void {
  const hash = hashOf(route);
  if (hash === location.hash) return;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
