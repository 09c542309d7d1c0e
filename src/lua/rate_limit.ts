/** The script of all rate limits. Its twin is in `twins.ts`. */
import type { Script } from "../../drivers/driver.ts";
import { LUA_NOW } from "./entries.ts";

/**
 * Counts a request in all limits of a key if all of them have room for it, else in none, in one step.
 *
 * - KEYS: a hash with the state of every limit of the key
 * - ARGV: the cost of the request (0 only reads, below 0 gives back); the limits, each as its algorithm, its window in
 *   milliseconds and its limit, such as `f60000:5`
 * - Returns for each limit `ok room reset wait` as text: whether it has room (for 1 if the cost is not above 0), how
 *   much is left, the milliseconds until it is whole, and until it would have room (-1 for never). The store's time
 *   comes last.
 *
 * Algorithm `f` counts in windows that begin with their first request, and `c` is `f` without a limit to speak of. `s`
 * counts in aligned windows and weighs the window before. `t` is a bucket that fills evenly.
 *
 * The state of a limit is a field of its name, `at n p`. For `f` these are the window's end and the count; for `s` the
 * window's number, its count, and the count of the window before; for `t` the time, and how much is missing, in tokens
 * times window. All arithmetic is on integers, so that Lua and its twin agree to the last digit. After a clock was set
 * back, a state may be from the future: it is moved to now.
 *
 * A limit without a state may have replaced another one: the state of the same algorithm and window that counts most,
 * and is not asked for now. It continues from a copy of that state, such as `f60000:5<20`, which counts along and must
 * have room too. The copy goes when the other limit is asked for again, because then both are in use, or when it says
 * no more than the limit's own state.
 */
export const rateLimit: Script = {
  name: "rateLimit",
  sha1: "23f0f09574a815009ed42a5d75c06c410b478be4",
  lua: `${LUA_NOW}local key, cost = KEYS[1], tonumber(ARGV[1])
local all = redis.pcall('HGETALL', key)
local need, mine, texts, copies, limits, pass, keep, reply = math.max(1, cost), {}, {}, {}, {}, true, 0, {}
if all.err then
  if not all.err:find('WRONGTYPE') then return all end
  if cost > 0 then redis.call('DEL', key) end
  all = {}
end
local function load(name)
  local own, base, kind, window, limit = name:match('^(((%l)(%d+):)(%d+))')
  if not own then return end
  local at, n, p = (texts[name] or ''):match('^(%d+) (%d+) (%d+)$')
  window, limit, at, n, p = tonumber(window), tonumber(limit), tonumber(at or 0), tonumber(n or 0), tonumber(p or 0)
  local s = {name = name, own = own, base = base, kind = kind, window = window, limit = limit}
  if kind == 's' then
    s.at = math.floor(now / window)
    if at < s.at then n, p = 0, at == s.at - 1 and n or 0 end
  elseif kind == 't' then
    s.at = now
    n = math.max(0, n - math.max(0, now - at) * limit)
  else
    if at <= now then n = 0 end
    s.at = n > 0 and math.min(at, now + window) or now + window
  end
  s.n, s.p, s.write = n, p, n > 0 and at > s.at
  return s
end
local function look(s)
  local n, p, window, limit = s.n, s.p, s.window, s.limit
  if s.kind == 't' then
    local level = limit * window - n
    return math.floor(level / window), math.ceil(n / limit), math.ceil((need * window - level) / limit)
  elseif s.kind == 's' then
    local rest, free = (s.at + 1) * window - now, (limit - n - need) * window
    local wait = rest
    if p > 0 and free >= 0 then
      wait = rest - math.floor(free / p)
    elseif n > 0 then
      wait = rest + window - math.min(window, math.floor((limit - need) * window / n))
    end
    return math.floor(((limit - n) * window - p * rest) / window), n > 0 and rest + window or p > 0 and rest or 0, wait
  end
  return limit - n, n > 0 and s.at - now or 0, s.at - now
end
local function room(states)
  local free, reset, wait = 1 / 0, 0, 0
  for _, s in ipairs(states) do
    local f, r, w = look(s)
    free, reset = math.min(free, f), math.max(reset, r)
    if f < need then wait = math.max(wait, w) end
  end
  return free, reset, wait
end
for i = 2, #ARGV do mine[ARGV[i]] = true end
for i = 1, #all, 2 do
  local name = all[i]
  local own, base, from = name:match('^((%l%d+:)%d+)<(%d+)$')
  if own and cost ~= 0 and mine[base .. from] then
    redis.call('HDEL', key, name)
  else
    texts[name] = all[i + 1]
    if own then copies[own] = name end
  end
end
for i = 2, #ARGV do
  local name = ARGV[i]
  local own, best = load(name)
  if texts[name] then
    best = copies[name] and load(copies[name])
    if best and best.n + best.p <= own.n + own.p then
      if cost ~= 0 then redis.call('HDEL', key, best.name) end
      best = nil
    end
  else
    for j = 1, #all, 2 do
      local s = texts[all[j]] and load(all[j])
      if s and s.base == own.base and not mine[s.own] and s.n + s.p > (best and best.n + best.p or 0) then best = s end
    end
    if best then
      best.name, best.limit, best.write, own.write = name .. '<' .. best.limit, own.limit, true, true
      best.n = math.min(best.n, own.kind == 't' and own.limit * own.window or own.limit)
      best.p = math.min(best.p, own.limit)
    end
  end
  limits[i - 1] = {own, best}
  pass = pass and room(limits[i - 1]) >= need
end
local counts = cost < 0 or cost > 0 and pass
for i, states in ipairs(limits) do
  for _, s in ipairs(states) do
    if counts then
      s.n = s.n + (s.kind == 't' and cost * s.window or cost)
      if s.n < 0 then s.n, s.p = 0, math.max(0, s.p + s.n) end
      s.write = s.write or cost > 0 or texts[s.name]
    end
    if s.write and cost ~= 0 then
      redis.call('HSET', key, s.name, ('%.0f %.0f %.0f'):format(s.at, s.n, s.p))
      local lives = s.kind == 't' and math.ceil(s.n / s.limit) + 1
      keep = math.max(keep, lives or s.kind == 's' and (s.at + 2) * s.window - now or s.at - now)
    end
  end
  local free, reset, wait = room(states)
  local ok = cost > 0 and pass or free >= need
  if ok then wait = 0 elseif need > states[1].limit then wait = -1 end
  reply[i] = ('%d %.0f %.0f %.0f'):format(ok and 1 or 0, math.max(0, free), reset, wait)
end
if keep > 0 then
  for i = 1, #all > 64 and #all or 0, 2 do
    local s = texts[all[i]] and load(all[i])
    if s and not mine[s.own] and s.n + s.p == 0 then redis.call('HDEL', key, all[i]) end
  end
  if redis.call('PTTL', key) < keep then redis.call('PEXPIRE', key, keep) end
end
reply[#reply + 1] = now
return reply`,
};
