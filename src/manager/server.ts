/** Who a server says it is. */

/** A server's own name and version; `null` where it tells neither. */
export interface ServerName {
  /** What it is, such as `"Redis"`, `"Valkey"` or `"Dragonfly"`. */
  readonly server: string | null;
  /** Its own version: what it calls `redis_version` is, of servers that are not Redis, the Redis that they are like. */
  readonly version: string | null;
}

/** Servers that tell a version of their own. */
const NAMES = ["Valkey", "Redict", "Dragonfly", "Garnet", "Kvrocks", "Upstash"];

/**
 * The name and version of a server.
 *
 * @param info What INFO says, by name.
 * @returns Its own name and version.
 */
export function serverName(info: ReadonlyMap<string, string>): ServerName {
  for (const server of NAMES) {
    const own = info.get(`${server.toLowerCase()}_version`);
    // Dragonfly's begin with "df-v".
    if (own !== undefined) return { server, version: own.replace(/^[a-z-]*(?=\d)/, "") };
  }
  const version = info.get("redis_version") ?? null;
  // KeyDB's version stands in the place of Redis's; a section of INFO that no other has tells it.
  const keydb = info.has("mvcc_depth") || /keydb/i.test(info.get("executable") ?? "");
  return { server: version === null ? null : keydb ? "KeyDB" : "Redis", version };
}

/**
 * How a server runs.
 *
 * @param info What INFO says, by name.
 * @returns `"cluster"`, `"sentinel"` or `"standalone"`; `undefined` where it does not tell.
 */
export function serverMode(info: ReadonlyMap<string, string>): string | undefined {
  if (info.get("cluster_enabled") === "1") return "cluster";
  return info.get("redis_mode") ?? info.get("server_mode") ?? info.get("redict_mode");
}
