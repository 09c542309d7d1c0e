/** The scripts of locks, which bundles without locks leave out. */
import type { Script } from "../../drivers/driver.ts";
import { LUA_FIND, LUA_FRESH, LUA_MICROS } from "./entries.ts";

/** Defines `own`, which takes a lock, or finds that it was taken with this token: a script may be repeated. */
const LUA_OWN: string = `local function own(lock, token, ms)
  return redis.call('SET', lock, token, 'PX', ms, 'NX') or redis.call('GET', lock) == token
end
`;

/**
 * Takes a load's lock, unless another process holds it or the entry is fresh.
 *
 * - KEYS: the lock, the entry, the epoch
 * - ARGV: the token; the milliseconds that the lock lasts; the prefix of marks; the caller's time in milliseconds; a
 *   text that the caller cannot use, if it knows one
 * - Returns whether the lock was taken, the epoch, the entry's text or nil, its PTTL
 */
export const acquire: Script = {
  name: "acquire",
  sha1: "33f56413788b1ab1332b5bbad3ea8059dcee029f",
  lua: `${LUA_FIND}${LUA_FRESH}${LUA_OWN}local lock, key, epochKey = unpack(KEYS)
local token, ms, prefix, now, useless = unpack(ARGV)
local epoch = redis.call('GET', epochKey)
local text = find(key, epoch, prefix)
local good = text and text ~= useless and fresh(text, now)
return {not good and own(lock, token, ms) and 1 or 0, epoch, text, redis.call('PTTL', key)}`,
};

/**
 * Takes a lock with a fencing token. The token is the store's time in microseconds if that is more than the next one: a
 * store that has lost the counter gives no token twice.
 *
 * - KEYS: the lock, the counter of fencing tokens
 * - ARGV: the token; the milliseconds that the lock lasts
 * - Returns the fencing token as text; "0" if another caller holds the lock
 */
export const take: Script = {
  name: "take",
  sha1: "d491eec9dabf480332238b75fe4adf2b1478533a",
  lua: `${LUA_OWN}local lock, counter = unpack(KEYS)
if not own(lock, unpack(ARGV)) then return '0' end
${LUA_MICROS}local least = (tonumber(redis.call('GET', counter)) or 0) + 1
local fence = ('%.0f'):format(math.max(least, micros))
redis.call('SET', counter, fence)
return fence`,
};

/**
 * Renews a lock, or gives it up.
 *
 * - KEYS: the lock
 * - ARGV: the token; the milliseconds that it lasts from now on, or 0 to give it up
 * - Returns whether the token held it
 */
export const hold: Script = {
  name: "hold",
  sha1: "a35c7f348443b986ff70b665eb2149629959bbfd",
  lua: `local lock, token, ms = KEYS[1], unpack(ARGV)
if redis.call('GET', lock) ~= token then return 0 end
if ms == '0' then return redis.call('DEL', lock) end
return redis.call('PEXPIRE', lock, ms)`,
};
