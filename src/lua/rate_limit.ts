/** The script of all rate limits. Its twin is in `twins.ts`. */
import type { Script } from "../../drivers/driver.ts";
import { LUA_NOW } from "./entries.ts";

/**
 * Counts a request in all limits of a key if all of them have room for it, else in none, in one step. Several keys are
 * several requests, one after the other.
 *
 * - KEYS: for each request, a hash with the state of every limit of its key
 * - ARGV: the cost of each request (0 only reads, below 0 gives back); the limits, each as its algorithm, its window in
 *   milliseconds and its limit, such as `f60000:5`
 * - Returns a text for each request: `now pass`, the store's time and 1 if all limits had room (for 1 if the cost is
 *   not above 0), and for each limit `,` and its state, followed by that of its copy. `limit_state.ts` says what they
 *   mean.
 *
 * The state of a limit is a field of its name, `at n p`. All arithmetic is on integers, so that Lua and its twin agree
 * to the last digit. After a clock was set back, a state may be from the future: it is moved to now. The TTL of a key
 * is set when the time moves until which a state is needed, so about once in a window.
 *
 * A limit without a state may have replaced another one: the state of the same algorithm and window that counts most,
 * and is not asked for now. It continues from a copy of that state, such as `f60000:5<20`, which counts along and must
 * have room too. The copy goes when the other limit is asked for again, because then both are in use, or when it says
 * no more than the limit's own state.
 */
export const rateLimit: Script = {
  name: "rateLimit",
  sha1: "b65664828552b700adb1c3a434d26035fb22e70f",
  lua: `${LUA_NOW}local cost, floor, max, min = tonumber(ARGV[1]), math.floor, math.max, math.min
local need, specs, mine, replies, yes, no = max(1, cost), {}, {}, {}, now .. ' 1', now .. ' 0'
local function parse(name)
  local own, base, kind, window, limit = name:match('^(((%l)(%d+):)(%d+))')
  return own and {name = name, own = own, base = base, kind = kind, window = tonumber(window), limit = tonumber(limit)}
end
local function ends(s, at)
  local kind, window = s.kind, s.window
  if kind == 's' then return (at + 2) * window end
  return kind == 't' and (floor(at / window) + 2) * window or at
end
local function load(s, text)
  local kind, window, at, n, p, to = s.kind, s.window, 0, 0, 0, now
  if text then
    local a, b, c = text:match('^(%d+) (%d+) (%d+)$')
    if a then at, n, p = a + 0, b + 0, c + 0 end
  end
  s.was = text and at
  if kind == 's' then
    to = floor(now / window)
    if at < to then n, p = 0, at == to - 1 and n or 0 end
  elseif kind == 't' then
    n = max(0, n - max(0, now - at) * s.limit)
  else
    if at <= now then n = 0 end
    to = n > 0 and min(at, now + window) or now + window
  end
  s.at, s.n, s.p, s.write = to, n, p, n > 0 and at > to
  return s
end
local function full(s)
  local kind, left, window = s.kind, s.limit - s.n, s.window
  if kind == 's' then return (left - need) * window < s.p * ((s.at + 1) * window - now) end
  if kind == 't' then return s.limit * window - s.n < need * window end
  return left < need
end
local function copy(s, key, all, texts, name)
  local best
  if texts[s.name] then
    best = name and load(parse(name), texts[name])
    if best and best.n + best.p <= s.n + s.p then
      if cost ~= 0 then redis.call('HDEL', key, name) end
      best = nil
    end
    return best
  end
  for i = 1, #all, 2 do
    local c = texts[all[i]] and parse(all[i])
    if c and c.base == s.base and not mine[c.own] then
      load(c, texts[all[i]])
      if c.n + c.p > (best and best.n + best.p or 0) then best = c end
    end
  end
  if best then
    best.name, best.limit, best.was, best.write, s.write = s.name .. '<' .. best.limit, s.limit, nil, true, true
    best.n = min(best.n, s.kind == 't' and s.limit * s.window or s.limit)
    best.p = min(best.p, s.limit)
  end
  return best
end
for i = 2, #ARGV do
  specs[i - 1] = parse(ARGV[i])
  mine[ARGV[i]] = true
end
local texts, copies = {}, nil
for k = 1, #KEYS do
  local key, pass, keep, sets = KEYS[k], true, 0, nil
  local all = redis.pcall('HGETALL', key)
  if copies then texts, copies = {}, nil end
  for i = 1, #specs do texts[specs[i].name] = nil end
  if all.err then
    if not all.err:find('WRONGTYPE') then return all end
    if cost > 0 then redis.call('DEL', key) end
    all = {}
  end
  for i = 1, #all, 2 do
    local name = all[i]
    texts[name] = all[i + 1]
    if not mine[name] then
      copies = copies or {}
      local own, base, from = name:match('^((%l%d+:)%d+)<(%d+)$')
      if own and cost ~= 0 and mine[base .. from] then
        redis.call('HDEL', key, name)
        texts[name] = nil
      elseif own then
        copies[own] = name
      end
    end
  end
  for i = 1, #specs do
    local s = specs[i]
    load(s, texts[s.name])
    s.copy = copies and copy(s, key, all, texts, copies[s.name])
    pass = pass and not full(s) and not (s.copy and full(s.copy))
  end
  local reply = pass and yes or no
  for i = 1, #specs do
    local s, mark = specs[i], ','
    while s do
      if cost < 0 or cost > 0 and pass then
        local n = s.n + (s.kind == 't' and cost * s.window or cost)
        if n < 0 then n, s.p = 0, max(0, s.p + n) end
        s.n, s.write = n, s.write or cost > 0 or texts[s.name]
      end
      local at, n = s.at, s.n
      local text = ('%d %d %d'):format(at, n, s.p)
      reply = reply .. mark .. text
      if s.write and cost ~= 0 then
        if sets then
          sets[#sets + 1] = s.name
          sets[#sets + 1] = text
        else
          sets = {key, s.name, text}
        end
        local was = s.was
        if was ~= at then
          local to = ends(s, at)
          if not was or ends(s, was) ~= to then keep = max(keep, to - now) end
        end
      end
      s, mark = mark == ',' and s.copy, ' '
    end
  end
  if sets then redis.call('HSET', unpack(sets)) end
  if keep > 0 then
    for i = 1, #all > 64 and #all or 0, 2 do
      local s = texts[all[i]] and parse(all[i])
      if s and not mine[s.own] and load(s, texts[all[i]]).n + s.p == 0 then redis.call('HDEL', key, all[i]) end
    end
    if redis.call('PTTL', key) < keep then redis.call('PEXPIRE', key, keep) end
  end
  replies[k] = reply
end
return replies`,
};
