/** Rate limits as scripts, with twins in `twins.ts`. */
import type { Reply, Script } from "../drivers/driver.ts";
import { LUA_NOW } from "./scripts.ts";

/*
 * Rate limits. KEYS: state. ARGV: limit, window in ms, cost. Each answers {allowed, remaining, reset, retry after, now}: reset is
 * the ms until the limit is whole again, retry after the ms until this cost would pass (-1: never), now the store's clock.
 * A refused request costs nothing. All arithmetic is on integers, so that Lua and its twin agree to the last digit.
 */

/** Counts in windows that begin with their first request. */
export const fixedWindow: Script = {
  name: "fixedWindow",
  sha1: "827be008eee1a746fdbae27ac7a0d96cad600813",
  lua: `${LUA_NOW}local limit, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  left = window
  if count > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
end
local allowed = 0
if count + cost <= limit then
  allowed = 1
  if count == 0 then
    redis.call('SET', KEYS[1], ARGV[3], 'PX', left)
  else
    redis.call('INCRBY', KEYS[1], ARGV[3])
  end
  count = count + cost
end
local wait = 0
if allowed == 0 then wait = left end
if cost > limit then wait = -1 end
return {allowed, math.max(0, limit - count), left, wait, now}`,
};

/** Counts in aligned windows; the window before weighs in for the part of it that still lies within one window's length. */
export const slidingWindow: Script = {
  name: "slidingWindow",
  sha1: "18c742bc15898cb0951e06ebe26afdb561121e09",
  lua: `${LUA_NOW}local limit, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local index = math.floor(now / window)
local rest = window - (now - index * window)
local s = redis.call('HMGET', KEYS[1], 'i', 'c', 'p')
local count, before = 0, 0
if s[1] then
  local i = tonumber(s[1])
  if i == index then
    count, before = tonumber(s[2]), tonumber(s[3])
  elseif i == index - 1 then
    before = tonumber(s[2])
  end
end
local allowed = 0
if before * rest + (count + cost) * window <= limit * window then
  allowed = 1
  count = count + cost
  redis.call('HSET', KEYS[1], 'i', index, 'c', count, 'p', before)
  redis.call('PEXPIRE', KEYS[1], window * 2)
end
local free = math.max(0, math.floor((limit * window - before * rest - count * window) / window))
local reset = 0
if count > 0 then reset = rest + window elseif before > 0 then reset = rest end
local wait = 0
if cost > limit then
  wait = -1
elseif allowed == 0 then
  local room = (limit - count - cost) * window
  if before > 0 and room >= 0 then
    wait = rest - math.floor(room / before)
  else
    wait = rest
    if count > 0 then wait = rest + window - math.min(window, math.floor((limit - cost) * window / count)) end
  end
end
return {allowed, free, reset, wait, now}`,
};

/** A bucket of `limit` tokens that fills evenly, whole in one window. Levels are kept in tokens times window, hence in integers. */
export const tokenBucket: Script = {
  name: "tokenBucket",
  sha1: "cbe8772ddcf76bc6009fdc1eae4272b1f442638c",
  lua: `${LUA_NOW}local limit, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = limit * window
local s = redis.call('HMGET', KEYS[1], 'l', 't')
local level = full
if s[1] then level = math.min(full, tonumber(s[1]) + math.max(0, now - tonumber(s[2])) * limit) end
local allowed = 0
if level >= cost * window then
  allowed = 1
  level = level - cost * window
end
if level < full then
  redis.call('HSET', KEYS[1], 'l', level, 't', now)
  redis.call('PEXPIRE', KEYS[1], math.ceil((full - level) / limit) + 1)
end
local wait = 0
if allowed == 0 then wait = math.ceil((cost * window - level) / limit) end
if cost > limit then wait = -1 end
return {allowed, math.floor(level / window), math.ceil((full - level) / limit), wait, now}`,
};

/** What a rate-limit script answers. */
export type LimitReply = [allowed: number, remaining: number, reset: number, wait: number, now: number] & Reply;
