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

/** Commands that only read. SCAN, KEYS and RANDOMKEY, which tell what keys there are, are not among them. */
const READS = words(
  `PING ECHO TIME DBSIZE EXISTS TTL PTTL EXPIRETIME PEXPIRETIME TYPE TOUCH DUMP OBJECT
  GET MGET STRLEN GETRANGE SUBSTR LCS GETBIT BITCOUNT BITPOS BITFIELD_RO
  HGET HMGET HGETALL HKEYS HVALS HLEN HEXISTS HSTRLEN HSCAN HRANDFIELD HTTL HPTTL HEXPIRETIME HPEXPIRETIME
  LINDEX LLEN LRANGE LPOS
  SCARD SISMEMBER SMISMEMBER SMEMBERS SRANDMEMBER SSCAN SINTER SINTERCARD SUNION SDIFF
  ZCARD ZCOUNT ZLEXCOUNT ZSCORE ZMSCORE ZRANK ZREVRANK ZRANGE ZREVRANGE ZRANGEBYSCORE ZREVRANGEBYSCORE ZRANGEBYLEX
  ZREVRANGEBYLEX ZRANDMEMBER ZSCAN ZINTER ZINTERCARD ZUNION ZDIFF
  GEODIST GEOHASH GEOPOS GEOSEARCH GEORADIUS_RO GEORADIUSBYMEMBER_RO PFCOUNT SORT_RO
  XLEN XRANGE XREVRANGE XREAD XINFO XPENDING EVAL_RO EVALSHA_RO FCALL_RO
  JSON.GET JSON.MGET JSON.TYPE JSON.ARRLEN JSON.ARRINDEX JSON.OBJKEYS JSON.OBJLEN JSON.STRLEN JSON.RESP`,
);

/**
 * Whether a command is never served.
 *
 * @param name The command's name, in any case.
 * @param args The name and its arguments.
 * @returns Whether it is refused, whoever asks.
 */
export function blocked(name: string, args: readonly Argument[]): boolean {
  const command = name.toUpperCase();
  if (command === "XREAD") return blocks(args, 1);
  // Its first arguments are GROUP, the group and the consumer, which may have any name.
  if (command === "XREADGROUP") return blocks(args, 4);
  if (command === "COPY") return args.slice(3).some((arg) => upper(arg) === "DB");
  if (command === "SCRIPT" || command === "FUNCTION") return /^(DEBUG|KILL)$/.test(upper(args[1]));
  return BLOCKED.has(command);
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
