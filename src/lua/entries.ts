/**
 * The atomic operations in Lua. The memory driver runs their twins of `twins.ts` instead. The time is the store's own.
 *
 * How invalidation works: each keyspace has an epoch, a number that every invalidation moves on. An entry carries the
 * epoch from before it was loaded (`born`). A tag has the epoch of its last invalidation (its mark). An entry is valid
 * while none of its tags has a later mark, so no two processes need to agree on the time.
 *
 * The first epoch is the store's time in microseconds. Later ones are the time in milliseconds, with the last three
 * digits of the first, so that a load can tell that the store has lost its epoch and has made another since.
 *
 * The epoch's key holds two numbers: the epoch, and the epoch of the last invalidation of everything. Until the first
 * invalidation it holds a third number, which marks values from before the epoch existed as valid. A
 * tag without a mark invalidates, because marks are made with the entries and outlive them: a mark is only gone if the
 * store evicted it.
 */
import type { Script } from "../../drivers/driver.ts";
import { CLOCK_SKEW_MS } from "../base/own_keys.ts";

/**
 * The least time that a tag is marked after its invalidation, in milliseconds. The mark is needed against loads that
 * are in flight; an entry whose tag has no mark is invalid anyway. A load that takes {@linkcode LONG_LOAD_MS} or longer
 * has no right to make a missing mark.
 */
export const MARK_MS = 120_000;

/** The milliseconds from which on the marks that a load has not found may be gone again. */
export const LONG_LOAD_MS: number = MARK_MS / 2;

/** Sets `now`, the store's time in milliseconds. */
export const LUA_NOW: string = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`;

/** Sets `micros`, the store's time in microseconds. */
export const LUA_MICROS: string = `local t = redis.call('TIME')
local micros = t[1] * 1000000 + t[2]
`;

/**
 * Defines three functions. `valid` returns whether no invalidation is later than the entry of a text, its tags, and
 * where they end. `find` returns the text of a key and its tags if it is valid. `outlive` keeps the marks of tags
 * longer than an entry and, if `born` is given, makes those that are missing. Marks last twice as long as they must.
 * Otherwise every write of an entry would write its marks too, and near caches would get a message for each. A script
 * looks at each mark once.
 */
export const LUA_FIND: string = `local marks, kept, all = {}, {}
local function valid(text, epoch, prefix)
  local born, tags, rest = text:match('^{"born":(%d+),"tags":%[([^%]]*)()')
  born = tonumber(born or text:match('^{"born":(%d+)') or 0)
  all = all or tonumber(epoch and epoch:match(' (%d+)') or 0)
  if born < all and text:find('^{') then return false end
  local latest = marks[tags or ''] or 0
  if tags and latest == 0 then
    for tag in tags:gmatch('"([^"]*)"') do
      marks[tag] = marks[tag] or tonumber(redis.call('GET', prefix .. tag)) or 1 / 0
      latest = math.max(latest, marks[tag])
    end
    marks[tags] = latest
  end
  return latest <= born, tags, rest
end
local function find(key, epoch, prefix)
  local text = redis.pcall('GET', key)
  if type(text) ~= 'string' then return false end
  local ok, tags = valid(text, epoch, prefix)
  return ok and text, tags
end
local function outlive(tags, ms, prefix, born)
  for tag in (tags or ''):gmatch('"([^"]*)"') do
    local mark = prefix .. tag
    local left = kept[tag] or redis.call('PTTL', mark)
    kept[tag] = -1
    if left == -2 and born then redis.call('SET', mark, born) end
    if ms == 0 then
      redis.call('PERSIST', mark)
    elseif left ~= -1 and left < ms then
      redis.call('PEXPIRE', mark, ms * 2)
    end
  end
end
`;

/**
 * Defines `fresh`, which returns whether a text has no TTL of its own or is within it. `now` is the caller's time.
 * Reads in TypeScript decide in the same way.
 */
export const LUA_FRESH: string = `local function fresh(text, now)
  local at, ttl = text:match('^{[^{}]-"at":(%d+),"ttl":(%d+)')
  return not at or (now - at < tonumber(ttl) and now - at > -${CLOCK_SKEW_MS})
end
`;

/**
 * Reads entries: whole ones by one MGET, because each call costs more than the rest.
 *
 * - KEYS: the epoch, the entries, and after them the marks of their tags where the store wants them declared
 * - ARGV: the prefix of marks; the milliseconds that each read starts again, or 0; 0 for texts, 2 for heads, and 1
 *   more for PTTL too; the place of the last entry among KEYS, if marks follow it
 * - Returns the epoch, then for each entry its text and, if asked for, its PTTL. The text is nil if the entry is not
 *   valid, or not a text. A head is "0" for a value of another type.
 */
export const read: Script = {
  name: "read",
  sha1: "429308bad8bc1f4d8499fad92539fd7e5f8fd889",
  lua: `${LUA_FIND}local prefix, slide, what, last = unpack(ARGV)
last = tonumber(last or #KEYS)
local texts = redis.call('MGET', unpack(KEYS, 1, what > '1' and 1 or last))
local epoch = texts[1]
local reply = {epoch}
for i = 2, last do
  local key, text = KEYS[i], texts[i]
  if what > '1' then
    text = redis.pcall('GETRANGE', key, 0, 999)
    text = type(text) == 'string' and text:match('^({.-)"[jsp][sea][oac][nlk]e?d?":')
    text = text and text .. '"json":null}' or redis.pcall('GET', key)
    if type(text) == 'table' then text = text.err:find('WRONGTYPE') and '0' or false end
  end
  local ok, tags, rest = valid(text or '', epoch, prefix)
  text = ok and text
  if text and slide ~= '0' and not text:find('^%]?[%l%d":,]-"none":', rest or 2) then
    redis.call('PEXPIRE', key, slide)
    if tags and not kept[tags] then outlive(tags, tonumber(slide), prefix) end
    kept[tags or ''] = 1
  end
  reply[#reply + 1] = text
  if what % 2 == 1 then reply[#reply + 1] = redis.call('PTTL', key) end
end
return reply`,
};

/**
 * Stores an entry. What was loaded before the store lost its epoch, as in a restart, is not stored: what was
 * invalidated since is not known. Keys that it writes are declared, so that a cluster does not run it where some of
 * them are missing, because their slot is being moved.
 *
 * - KEYS: the entry, the epoch, the lock if the collection has one or else the entry again, the marks of the tags
 * - ARGV: the text; the milliseconds to live, or 0; the epoch that it is born at, or "" for the present one; the token
 *   of the lock that must be held and is given up, "*" to break a lock, or ""; the prefix of marks; the tags as the
 *   document has them; "1" and the text that must still be stored and valid, "2" and one that must still be stored,
 *   "0" for no valid entry, "3" after a long load, or nothing
 * - Returns 1; 0 if the lock or the epoch was lost or another text is stored
 */
export const storeEntry: Script = {
  name: "store",
  sha1: "822507f58c2fe025d24f4edbbac4f3cbe01a8e29",
  lua: `${LUA_FIND}local key, epochKey, lock = unpack(KEYS)
local body, ms, born, token, prefix, tags, known, expected = unpack(ARGV)
if lock == key then lock = nil end
if lock and token ~= '*' and redis.call('GET', lock) ~= token then return 0 end
local epoch = redis.call('GET', epochKey)
local untouched = epoch and epoch:find(' 0 ')
local from, seq = tonumber(born) or 0, epoch and epoch:match('^%d+') or '0'
if from > 0 and (untouched or from > tonumber(seq) or (seq - from) % 1000 > 0) then
  if lock then redis.call('DEL', lock) end
  return 0
end
if known and known ~= '3' and find(key, known ~= '2' and epoch, prefix) ~= (known ~= '0' and expected) then return 0 end
if tags ~= '' and not epoch then
  ${LUA_MICROS}seq = ('%.0f'):format(micros)
  epoch = seq .. ' 0 0'
  redis.call('SET', epochKey, epoch)
  untouched = true
end
if born == '' or (born == '0' and untouched) then born = seq end
local head = ''
if tags ~= '' then
  head = '"born":' .. born .. ',"tags":[' .. tags .. '],'
  outlive(tags, tonumber(ms), prefix, known == '3' and seq or born)
elseif born ~= '0' then
  head = '"born":' .. born .. ','
end
local text = '{' .. head .. body:sub(2)
if ms == '0' then
  redis.call('SET', key, text)
else
  redis.call('SET', key, text, 'PX', ms)
end
if lock then redis.call('DEL', lock) end
return 1`,
};

/**
 * The mark that is set when everything is invalidated, so that near caches get a message. No encoded tag looks like it.
 */
export const EVERYTHING = "*";

/**
 * Moves the epoch on and marks tags. A full store refuses a script's writes, but not those that follow a deletion.
 * Therefore the epoch is deleted before it is written, which no other command can notice.
 *
 * - KEYS: the epoch, the marks
 * - ARGV: {@linkcode EVERYTHING}, or nothing
 * - Returns the epoch
 */
export const invalidate: Script = {
  name: "invalidate",
  sha1: "ec62108b55b346f57d6aef4564468b0234039cb3",
  lua: `${LUA_MICROS}local epochKey = KEYS[1]
local seq, all = (redis.call('GET', epochKey) or ''):match('^(%d+) (%d+)')
seq = ('%.0f'):format(seq and math.max(seq + 1000, micros - micros % 1000 + seq % 1000) or micros)
all = all or '0'
if ARGV[1] then all = seq end
local epoch = seq .. ' ' .. all
redis.call('DEL', epochKey)
redis.call('SET', epochKey, epoch)
for i = 2, #KEYS do
  local mark = KEYS[i]
  local left = redis.call('PTTL', mark)
  if left == -1 then
    redis.call('SET', mark, seq)
  else
    redis.call('SET', mark, seq, 'PX', math.max(left, ${MARK_MS}))
  end
end
return epoch`,
};

/**
 * Gives an entry another TTL, or none.
 *
 * - KEYS: the entry, the epoch
 * - ARGV: the prefix of marks; the milliseconds to live, or 0 for ever; how much longer the entry is kept; the caller's
 *   time in milliseconds
 * - Returns 1; 0 if no such entry exists or its TTL is over; 2 if it had no expiry and shall have none
 */
export const touch: Script = {
  name: "touch",
  sha1: "4f0ab30a36e93ad14caacd4b30fdf0da37455528",
  lua: `${LUA_FIND}${LUA_FRESH}local key, epochKey = unpack(KEYS)
local prefix, ttl, extra, now = unpack(ARGV)
local ms = tonumber(ttl)
local text, tags = find(key, redis.call('GET', epochKey), prefix)
local keep, head, rest = ms
if text then
  if not fresh(text, now) or text:find('^{[^{}]-"none":') then return 0 end
  head, rest = text:match('^({[^{}]-)"at":%d+,"ttl":%d+,(.*)$')
elseif type(redis.pcall('GET', key)) ~= 'table' then
  return 0
end
if head then
  if ms > 0 then
    head = head .. '"at":' .. now .. ',"ttl":' .. ttl .. ','
    keep = ms + extra
  end
  redis.call('PERSIST', key)
  redis.call('SET', key, head .. rest)
end
outlive(tags, keep, prefix)
if ms > 0 then return redis.call('PEXPIRE', key, keep) end
if redis.call('PERSIST', key) == 1 or head then return 1 end
return 2`,
};

/**
 * Adds to counts.
 *
 * - KEYS: a hash
 * - ARGV: fields, and how much to add to each
 * - Returns 1
 */
export const addCounts: Script = {
  name: "addCounts",
  sha1: "fbb9bb42006f6bef37fda9d09d878f9a1ebb09d4",
  lua: `for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1`,
};

/**
 * Adds to a counter. A TTL that was lost is set again. A whole number that was set continues to count while it could be
 * read; otherwise the counter starts again.
 *
 * - KEYS: the counter; the epoch, if a value that was set may be stored there
 * - ARGV: how much to add; the TTL in milliseconds, or 0; the prefix of marks; the caller's time in milliseconds
 * - Returns the count as text, because not every client reads integers near 2^53 right, the remaining milliseconds (-1
 *   for none) and the store's time. The count is nil if it would be beyond 2^53 - 1; then nothing changed.
 */
export const increment: Script = {
  name: "increment",
  sha1: "0a6a5f470a3c6baf8408a63b1ed1c15a46648374",
  lua: `${LUA_NOW}${LUA_FIND}${LUA_FRESH}local key, epochKey = unpack(KEYS)
local by, ttl, prefix, time = unpack(ARGV)
local text = redis.call('GET', key) or ''
if epochKey and text:find('^{') and (text:find('^{[^{}]-"none":') or not fresh(text, time)
    or not find(key, redis.call('GET', epochKey), prefix)) then
  redis.call('DEL', key)
  text = ''
end
local set = text:match('^{[^{}]-"json":(%-?%d+)}$')
if set then redis.call('SET', key, set, 'KEEPTTL') end
local count = redis.pcall('INCRBY', key, by)
if type(count) == 'number' then
  count = redis.call('GET', key)
elseif not (count.err:find('overflow') or count.err:find('not an integer') and (set or text):find('^%-?[1-9]%d+$')) then
  return count
end
local size = type(count) == 'string' and count:match('%d+')
if not size or #size > 16 or #size == 16 and size > '9007199254740991' then
  redis.call('SET', key, text, 'KEEPTTL')
  count = false
end
local left = redis.call('PTTL', key)
if count and left < 0 and tonumber(ttl) > 0 then
  left = tonumber(ttl)
  redis.call('PEXPIRE', key, ttl)
end
return {count, left, now}`,
};
