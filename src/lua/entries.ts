/**
 * The atomic operations in Lua; what the memory driver runs in their place stands in `twins.ts`. Clocks are the store's own.
 *
 * What invalidation rests on: each keyspace has a clock, a number that every invalidation moves on. An entry carries the clock's
 * value from before it was loaded (`born`), a tag the value at its last invalidation (its mark); an entry holds while none of
 * its tags has a later mark. So no two processes need to agree on the time. The clock's key holds two numbers: its value, and the value at the
 * last invalidation of everything; and a third one until the first invalidation, by which it is known that what was loaded before there was a
 * clock is as good as new. A tag without a mark invalidates: marks are made with the entries, outlive them, and are gone only
 * when the store evicted them.
 */
import type { Script } from "../../drivers/driver.ts";
import { CLOCK_SKEW_MS } from "../base/own_keys.ts";

/** Sets `now`, the store's clock in milliseconds. */
export const LUA_NOW: string = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`;

/**
 * Defines `find`: the text of an entry, and its tags, where no invalidation is later than it; and `outlive`: keeps the marks of tags longer
 * than an entry, and makes those that are missing where `born` is given. Marks last twice as long as they must, so that not every write of an
 * entry is a write of its marks too: near caches hear of those. One script asks for each mark once.
 */
export const LUA_FIND: string = `local marks = {}
local function find(key, clock, prefix)
  local v = redis.pcall('GET', key)
  if type(v) ~= 'string' then return false end
  local born, tags = v:match('^{"born":(%d+),"tags":%[([^%]]*)')
  born = tonumber(born or v:match('^{"born":(%d+)') or 0)
  if clock and v:find('^{') and born < tonumber(clock:match(' (%d+)')) then return false end
  for tag in (tags or ''):gmatch('"([^"]*)"') do
    marks[tag] = marks[tag] or tonumber(redis.call('GET', prefix .. tag)) or 1 / 0
    if marks[tag] > born then return false end
  end
  return v, tags
end
local function outlive(tags, ms, prefix, born)
  for tag in (tags or ''):gmatch('"([^"]*)"') do
    local mark = prefix .. tag
    local left = redis.call('PTTL', mark)
    if left == -2 and born then redis.call('SET', mark, born) end
    if ms == 0 then
      redis.call('PERSIST', mark)
    elseif left ~= -1 and left < ms then
      redis.call('PEXPIRE', mark, ms * 2)
    end
  end
end
`;

/** Defines `fresh`: whether the TTL in a text, if there is one, is not over; `now` is the reader's time. Reads in TypeScript judge alike. */
export const LUA_FRESH: string = `local function fresh(v, now)
  local at, ttl = v:match('^{[^{}]-"at":(%d+),"ttl":(%d+)')
  return not at or (now - at < tonumber(ttl) and now - at > -${CLOCK_SKEW_MS})
end
`;

/**
 * KEYS: clock, entries. ARGV: start of marks' keys; ms to slide to or 0; 1 for heads only. Answers the clock, then for each entry its text (nil
 * for one that does not hold, or is no text; with heads only, "0" for what is there and no text) and its PTTL.
 */
export const read: Script = {
  name: "read",
  sha1: "8935094b8e9ddff29656d402d24f317524bfa157",
  lua: `${LUA_FIND}local clock = redis.call('GET', KEYS[1])
local r = {clock}
for i = 2, #KEYS do
  local v, tags = find(KEYS[i], clock, ARGV[1])
  if v and ARGV[2] ~= '0' and not v:find('^{[^{}]-"none":') then
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
    outlive(tags, tonumber(ARGV[2]), ARGV[1])
  end
  if ARGV[3] == '1' then
    local head = v and v:match('^({.-)"[jsp][sea][oac][nlk]e?d?":')
    if head then v = head .. '"json":null}' end
    if not v and not ('string none'):find(redis.call('TYPE', KEYS[i]).ok) then v = '0' end
  end
  r[2 * i - 2] = v
  r[2 * i - 1] = redis.call('PTTL', KEYS[i])
end
return r`,
};

/**
 * KEYS: entry, clock, lock if there is one. ARGV: the text; ms to live or 0; the clock's value that it is born at, or "" for now's;
 * the token of the lock that must be held and is given up, "*" to break a lock, or ""; start of marks' keys; the tags as in the
 * document; "1" and the text that must stand there, or "0" for no entry, or nothing. Answers 1, or 0 when the lock was lost or
 * something else stands there.
 */
export const storeEntry: Script = {
  name: "store",
  sha1: "a42a74dca4d8246dee641eec980a0a8d458fa278",
  lua: `${LUA_FIND}local lock, born, tags = KEYS[3], ARGV[3], ARGV[6]
if lock and ARGV[4] ~= '*' and redis.call('GET', lock) ~= ARGV[4] then return 0 end
local clock = redis.call('GET', KEYS[2])
if ARGV[7] and find(KEYS[1], clock, ARGV[5]) ~= (ARGV[7] == '1' and ARGV[8]) then return 0 end
if tags ~= '' and not clock then
  ${LUA_NOW}clock = ('%.0f 0 0'):format(now * 1000)
  redis.call('SET', KEYS[2], clock)
end
local seq = clock and clock:match('^%d+') or '0'
if born == '' or (born == '0' and clock and clock:find(' 0 ')) then born = seq end
local head = ''
if tags ~= '' then
  head = '"born":' .. born .. ',"tags":[' .. tags .. '],'
  outlive(tags, tonumber(ARGV[2]), ARGV[5], born)
elseif born ~= '0' then
  head = '"born":' .. born .. ','
end
local text = '{' .. head .. ARGV[1]:sub(2)
if ARGV[2] == '0' then
  redis.call('SET', KEYS[1], text)
else
  redis.call('SET', KEYS[1], text, 'PX', ARGV[2])
end
if lock then redis.call('DEL', lock) end
return 1`,
};

/** The mark that is set when everything is invalidated: no tag is encoded like that. It tells those who listen to changes of keys. */
export const EVERYTHING = "*";

/**
 * KEYS: clock. ARGV: start of marks' keys; the tags, or {@linkcode EVERYTHING}. Moves the clock on, marks the tags, and
 * answers the clock. A full store refuses a script's writes, but not those that follow a deletion: so the clock is
 * deleted before it is written. Nobody sees it gone.
 */
export const invalidate: Script = {
  name: "invalidate",
  sha1: "dd6265ae6fa56303c1af294479472facf35b22b2",
  lua: `${LUA_NOW}local seq, all = (redis.call('GET', KEYS[1]) or '0 0'):match('^(%d+) (%d+)')
seq = ('%.0f'):format(math.max(tonumber(seq) + 1, now * 1000))
if ARGV[2] == '*' then all = seq end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], seq .. ' ' .. all)
for i = 2, #ARGV do
  local mark = ARGV[1] .. ARGV[i]
  local left = redis.call('PTTL', mark)
  if left == -1 then
    redis.call('SET', mark, seq)
  else
    redis.call('SET', mark, seq, 'PX', math.max(left, 86400000))
  end
end
return seq .. ' ' .. all`,
};

/** Defines `own`: takes a lock, or finds that it was taken with this token: a script may be repeated. */
const LUA_OWN = `local function own()
  return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') or redis.call('GET', KEYS[1]) == ARGV[1]
end
`;

/**
 * KEYS: lock, entry, clock. ARGV: token; ms that the lock lasts; start of marks' keys; the caller's time in ms; a text that is of no use to it, if
 * it knows one. Takes the lock unless it is taken or the entry is there and fresh. Answers {whether it was taken, the clock, the entry's text or
 * nil, its PTTL}.
 */
export const acquire: Script = {
  name: "acquire",
  sha1: "cc07e09489c6001ac3f072d92d72203cc6739820",
  lua: `${LUA_FIND}${LUA_FRESH}${LUA_OWN}local clock = redis.call('GET', KEYS[3])
local v = find(KEYS[2], clock, ARGV[3])
local good = v and v ~= ARGV[5] and fresh(v, ARGV[4])
return {not good and own() and 1 or 0, clock, v, redis.call('PTTL', KEYS[2])}`,
};

/** KEYS: lock, counter. ARGV: token; ms. Takes a lock: answers 0, or the fencing token, which the counter counts. */
export const take: Script = {
  name: "take",
  sha1: "7105a7ac2ff1248f85d19d2a14a8a99474ffccdc",
  lua: `${LUA_OWN}return own() and redis.call('INCR', KEYS[2]) or 0`,
};

/** KEYS: lock. ARGV: token; ms to hold it from now, or 0 to give it up. Answers whether it was held. */
export const hold: Script = {
  name: "hold",
  sha1: "ac3769cd746b809816021f4235a22de3e744acaf",
  lua: `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`,
};

/**
 * KEYS: entry, clock. ARGV: start of marks' keys; ms to live or 0 for ever; how long it is kept beyond that; the caller's time in ms. Answers 1, 0 when there
 * is no such entry or its TTL is over, or 2 when it had no expiry already and is to have none.
 */
export const touch: Script = {
  name: "touch",
  sha1: "f7ece156a02afad7f19face26ab3a0018b4134fe",
  lua: `${LUA_FIND}${LUA_FRESH}local key, ms, now = KEYS[1], tonumber(ARGV[2]), ARGV[4]
local v, tags = find(key, redis.call('GET', KEYS[2]), ARGV[1])
local keep, head, rest = ms
if v then
  if not fresh(v, now) or v:find('^{[^{}]-"none":') then return 0 end
  head, rest = v:match('^({[^{}]-)"at":%d+,"ttl":%d+,(.*)$')
elseif type(redis.pcall('GET', key)) ~= 'table' then
  return 0
end
if head then
  if ms > 0 then
    head = head .. '"at":' .. now .. ',"ttl":' .. ARGV[2] .. ','
    keep = ms + ARGV[3]
  end
  redis.call('PERSIST', key)
  redis.call('SET', key, head .. rest)
end
outlive(tags, keep, ARGV[1])
if ms > 0 then return redis.call('PEXPIRE', key, keep) end
if redis.call('PERSIST', key) == 1 or head then return 1 end
return 2`,
};

/** KEYS: hash. ARGV: fields and how much to add to each. */
export const addCounts: Script = {
  name: "addCounts",
  sha1: "fbb9bb42006f6bef37fda9d09d878f9a1ebb09d4",
  lua: `for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1`,
};

/**
 * KEYS: counter, clock where a value that was set may stand there. ARGV: by; TTL in ms or 0; start of marks' keys; the
 * caller's time in ms. Answers the count as text, for not every client reads integers near 2^53 right, the remaining ms
 * (-1: none) and the store's clock. A lost TTL is set again. What was set counts on where it would be read, else the
 * counter begins anew. Answers nil for a count beyond 2^53 - 1, and changes nothing.
 */
export const increment: Script = {
  name: "increment",
  sha1: "43578ee5a61d8babc61378949a05c912d1759458",
  lua: `${LUA_NOW}${LUA_FIND}${LUA_FRESH}local v = redis.call('GET', KEYS[1]) or ''
if KEYS[2] and v:find('^{') and (v:find('^{[^{}]-"none":') or not fresh(v, ARGV[4]) or not find(KEYS[1], redis.call('GET', KEYS[2]), ARGV[3])) then
  redis.call('DEL', KEYS[1])
  v = ''
end
local set = v:match('^{[^{}]-"json":(%-?%d+)}$')
if set then redis.call('SET', KEYS[1], set, 'KEEPTTL') end
local n = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(n) == 'number' then
  n = redis.call('GET', KEYS[1])
elseif not (n.err:find('overflow') or n.err:find('not an integer') and (set or v):find('^%-?[1-9]%d+$')) then
  return n
end
local size = type(n) == 'string' and n:match('%d+')
if not size or #size > 16 or #size == 16 and size > '9007199254740991' then
  redis.call('SET', KEYS[1], v, 'KEEPTTL')
  n = false
end
local left = redis.call('PTTL', KEYS[1])
local ttl = tonumber(ARGV[2])
if n and left < 0 and ttl > 0 then
  left = ttl
  redis.call('PEXPIRE', KEYS[1], ttl)
end
return {n, left, now}`,
};

/**
 * KEYS: a key that nothing stands at. Answers 0 where scripts may write: in a full store, and on a replica, they may
 * not.
 */
export const probe: Script = {
  name: "probe",
  sha1: "dafe727bad5a87eeb17e71f509df03ab02dafd0a",
  lua: "return redis.call('SET', KEYS[1], '', 'XX') and 1 or 0",
};

/** KEYS: keys. Unlinks each and answers, for each, whether it was there: one command for the deletions of several callers. */
export const unlinkEach: Script = {
  name: "unlinkEach",
  sha1: "f4f8d0fa8dd764b801682b07ced66ad3f23afbb6",
  lua: `local r = {}
for i, key in ipairs(KEYS) do r[i] = redis.call('UNLINK', key) end
return r`,
};
