/**
 * The commands that the bridge serves.
 *
 * @module
 */

/** An argument: text, or bytes if it is not UTF-8. */
export type Argument = string | Uint8Array;

/**
 * Commands that block a connection or change its state, that leave the database, or that administer the server. POST
 * and HOST: are among them, because Redis treats them as an attack by a browser, and closes the connection.
 */
const BLOCKED = words(
  `SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUNSUBSCRIBE MONITOR SYNC PSYNC REPLCONF
  MULTI EXEC DISCARD WATCH UNWATCH SELECT AUTH HELLO CLIENT RESET QUIT READONLY READWRITE ASKING
  BLPOP BRPOP BRPOPLPUSH BLMOVE BLMPOP BZPOPMIN BZPOPMAX BZMPOP WAIT WAITAOF
  MOVE SWAPDB MIGRATE
  ACL BGREWRITEAOF BGSAVE CLUSTER CONFIG DEBUG FAILOVER LATENCY MODULE REPLICAOF SAVE SENTINEL SHUTDOWN SLAVEOF SLOWLOG
  POST HOST:`,
);

/**
 * Commands that only read the values of their keys. The read-only token may be public, so commands that list keys are
 * left out (SCAN, KEYS, RANDOMKEY), and so are those that read keys they do not name (SORT_RO), and scripts, which can
 * do both and can block the store for all others.
 */
const READS = words(
  `PING ECHO TIME DBSIZE EXISTS TTL PTTL EXPIRETIME PEXPIRETIME TYPE TOUCH DUMP OBJECT
  GET MGET STRLEN GETRANGE SUBSTR LCS GETBIT BITCOUNT BITPOS BITFIELD_RO
  HGET HMGET HGETALL HKEYS HVALS HLEN HEXISTS HSTRLEN HSCAN HRANDFIELD HTTL HPTTL HEXPIRETIME HPEXPIRETIME
  LINDEX LLEN LRANGE LPOS
  SCARD SISMEMBER SMISMEMBER SMEMBERS SRANDMEMBER SSCAN SINTER SINTERCARD SUNION SDIFF
  ZCARD ZCOUNT ZLEXCOUNT ZSCORE ZMSCORE ZRANK ZREVRANK ZRANGE ZREVRANGE ZRANGEBYSCORE ZREVRANGEBYSCORE ZRANGEBYLEX
  ZREVRANGEBYLEX ZRANDMEMBER ZSCAN ZINTER ZINTERCARD ZUNION ZDIFF
  GEODIST GEOHASH GEOPOS GEOSEARCH GEORADIUS_RO GEORADIUSBYMEMBER_RO PFCOUNT
  XLEN XRANGE XREVRANGE XREAD XINFO XPENDING
  JSON.GET JSON.MGET JSON.TYPE JSON.ARRLEN JSON.ARRINDEX JSON.OBJKEYS JSON.OBJLEN JSON.STRLEN JSON.RESP`,
);

/**
 * Returns the part of a command that no token may use.
 *
 * @param name The command's name, in any case.
 * @param args The name and its arguments.
 * @returns The option that is not served; empty for the whole command; `undefined` if all of it is served.
 */
export function blocked(name: string, args: readonly Argument[]): string | undefined {
  const command = name.toUpperCase();
  if (BLOCKED.has(command)) return "";
  // The first arguments of XREADGROUP are GROUP, the group and the consumer, which may have any name.
  if (command === "XREAD" || command === "XREADGROUP")
    return blocks(args, command === "XREAD" ? 1 : 4) ? "BLOCK" : undefined;
  if (command === "COPY") return args.slice(3).some((arg) => upper(arg) === "DB") ? "DB" : undefined;
  if (command === "SCRIPT") return upper(args[1]) === "DEBUG" ? "DEBUG" : undefined;
  return undefined;
}

/**
 * Returns whether a command only reads.
 *
 * @param name The command's name, in any case.
 * @returns `true` if a read-only token may run it.
 */
export function isRead(name: string): boolean {
  return READS.has(name.toUpperCase());
}

/**
 * Returns whether a read-only token may listen. It may listen to channels by their names, but not to patterns, which
 * reveal channels, nor to the server's own channels, which reveal changed keys.
 *
 * @param name SUBSCRIBE, PSUBSCRIBE or MONITOR, in any case.
 * @param channel The channel or pattern.
 * @returns `true` if it may.
 */
export function mayListen(name: string, channel: string): boolean {
  return /^subscribe$/i.test(name) && !channel.startsWith("__");
}

/** Returns whether the option BLOCK comes before STREAMS. The arguments after STREAMS are keys. */
function blocks(args: readonly Argument[], from: number): boolean {
  const options = args.slice(from).map(upper);
  const end = options.indexOf("STREAMS");
  return options.slice(0, end < 0 ? undefined : end).includes("BLOCK");
}

/** Returns a word in upper case; empty for bytes that are not UTF-8. */
function upper(arg: Argument | undefined): string {
  return typeof arg === "string" ? arg.toUpperCase() : "";
}

function words(text: string): Set<string> {
  return new Set(text.split(/\s+/));
}
