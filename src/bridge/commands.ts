/**
 * Which commands the bridge serves.
 *
 * @module
 */

/** An argument: bytes where it is not UTF-8. */
export type Argument = string | Uint8Array;

/**
 * Commands that hold a connection or change its state, that leave the database, or that run the server itself. For POST and
 * HOST: it cuts the connection, taking them for an attack from a browser.
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
 * Commands that only read what their keys hold. Whoever has the token that reads may be anybody: what tells which keys
 * there are (SCAN, KEYS, RANDOMKEY) is not among them, nor what reads keys that it does not name (SORT_RO), nor
 * scripts, which can do both and can keep the store from all others.
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
 * What of a command is never served, whoever asks.
 *
 * @param name The command's name, in any case.
 * @param args The name and its arguments.
 * @returns The option that is not served; empty for the whole command; `undefined` where all of it is served.
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
 * Whether a command only reads.
 *
 * @param name The command's name, in any case.
 * @returns Whether a read-only token may run it.
 */
export function isRead(name: string): boolean {
  return READS.has(name.toUpperCase());
}

/**
 * Whether a read-only token may listen: to channels by their names, for a pattern tells which there are; and not to the
 * server's own, which tell of changed keys.
 *
 * @param name SUBSCRIBE, PSUBSCRIBE or MONITOR, in any case.
 * @param channel What it listens to.
 * @returns Whether it may.
 */
export function mayListen(name: string, channel: string): boolean {
  return /^subscribe$/i.test(name) && !channel.startsWith("__");
}

/** Whether BLOCK stands before STREAMS; what follows that are keys. */
function blocks(args: readonly Argument[], from: number): boolean {
  const options = args.slice(from).map(upper);
  const end = options.indexOf("STREAMS");
  return options.slice(0, end < 0 ? undefined : end).includes("BLOCK");
}

/** Bytes that are not UTF-8 are no word. */
function upper(arg: Argument | undefined): string {
  return typeof arg === "string" ? arg.toUpperCase() : "";
}

function words(text: string): Set<string> {
  return new Set(text.split(/\s+/));
}
