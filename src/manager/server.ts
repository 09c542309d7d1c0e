/** The name, version and mode of a server. */

/** The name and version of a server; `null` if it reports neither. */
export interface ServerName {
  /** The product, such as `"Redis"`, `"Valkey"` or `"Dragonfly"`. */
  readonly server: string | null;
  /** Its own version. In other products, `redis_version` is the version of Redis that they are compatible with. */
  readonly version: string | null;
}

/** Products that report a version of their own. */
const NAMES = ["Valkey", "Redict", "Dragonfly", "Garnet", "Kvrocks", "Upstash"];

/**
 * Returns the name and version of a server.
 *
 * @param info The fields of INFO.
 * @returns Its own name and version.
 */
export function serverName(info: ReadonlyMap<string, string>): ServerName {
  for (const server of NAMES) {
    const own = info.get(`${server.toLowerCase()}_version`);
    // Dragonfly's version starts with "df-v".
    if (own !== undefined) return { server, version: own.replace(/^[a-z-]*(?=\d)/, "") };
  }
  const version = info.get("redis_version") ?? null;
  // KeyDB reports its version as that of Redis. A field of INFO that only KeyDB has identifies it.
  const keydb = info.has("mvcc_depth") || /keydb/i.test(info.get("executable") ?? "");
  return { server: version === null ? null : keydb ? "KeyDB" : "Redis", version };
}

/**
 * Returns the mode of a server.
 *
 * @param info The fields of INFO.
 * @returns `"cluster"`, `"sentinel"` or `"standalone"`; `undefined` if the server does not report it.
 */
export function serverMode(info: ReadonlyMap<string, string>): string | undefined {
  if (info.get("cluster_enabled") === "1") return "cluster";
  return info.get("redis_mode") ?? info.get("server_mode") ?? info.get("redict_mode");
}
