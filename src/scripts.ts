/**
 * The atomic operations: Lua for real stores, a twin for the memory driver. Clocks are the store's own.
 *
 * What invalidation rests on: each keyspace has a clock, a number that every invalidation moves on. An entry carries the clock's
 * value from before it was loaded (`born`), a tag the value at its last invalidation (its mark); an entry holds while none of
 * its tags has a later mark. So no two processes need to agree on the time. The clock's key holds two numbers: its value, and the value at the
 * last invalidation of everything. A tag without a mark invalidates: marks are made with the entries, outlive them, and are gone only
 * when the store evicted them.
 */
import { defineScript, type Reply, type Script, type TwinStore } from "../drivers/driver.ts";

/** The store's clock in milliseconds. */
export function time(store: TwinStore): number {
  const [seconds, micros] = store.call("TIME") as [string, string];
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

/** Sets `now`, the store's clock in milliseconds. */
export const LUA_NOW: string = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`;

/**
 * Defines `holds`: whether no invalidation is later than an entry, and its tags; and `outlive`: keeps the marks of tags as long as an
 * entry, and makes those that are missing where `born` is given.
 */
export const LUA_HOLDS: string = `local function holds(v, clock, prefix)
  if not v then return false end
  local born, tags = string.match(v, '^{"born":(%d+),"tags":%[([^%]]*)%]')
  born = tonumber(born or string.match(v, '^{"born":(%d+)') or 0)
  if clock and string.sub(v, 1, 1) == '{' and born < tonumber(string.match(clock, '%d+$')) then return false end
  for tag in string.gmatch(tags or '', '"([^"]*)"') do
    local mark = redis.call('GET', prefix .. tag)
    if not mark or tonumber(mark) > born then return false end
  end
  return true, tags
end
local function outlive(tags, ms, prefix, born)
  for tag in string.gmatch(tags or '', '"([^"]*)"') do
    local mark = prefix .. tag
    local left = redis.call('PTTL', mark)
    if left == -2 and born then redis.call('SET', mark, born) end
    if ms == 0 then
      redis.call('PERSIST', mark)
    elseif left == -2 or (left >= 0 and left < ms) then
      redis.call('PEXPIRE', mark, ms)
    end
  end
end
`;

const HEAD = /^\{"born":(\d+)(?:,"tags":\[([^\]]*)\])?/;

/** The names in the text of a document's tags. */
function names(tags: string | undefined): string[] {
  return (tags?.match(/"[^"]*"/g) ?? []).map((tag) => tag.slice(1, -1));
}

function holds(store: TwinStore, text: Reply, clock: Reply, prefix: string): boolean {
  if (typeof text !== "string") return false;
  const [, bornText = "0", tags] = HEAD.exec(text) ?? [];
  const born = Number(bornText);
  if (clock && text.startsWith("{") && born < Number(String(clock).split(" ")[1])) return false;
  return names(tags).every((tag) => {
    const mark = store.call("GET", prefix + tag);
    return mark !== null && Number(mark) <= born;
  });
}

function outlive(store: TwinStore, tags: string | undefined, ms: number, prefix: string, born?: string): void {
  for (const tag of names(tags)) {
    const mark = prefix + tag;
    const left = store.call("PTTL", mark) as number;
    if (left === -2 && born !== undefined) store.call("SET", mark, born);
    if (ms === 0) store.call("PERSIST", mark);
    else if (left === -2 || (left >= 0 && left < ms)) store.call("PEXPIRE", mark, ms);
  }
}

/**
 * KEYS: clock, entries. ARGV: start of marks' keys; ms to slide to or 0; 1 for heads only. Answers the clock, then for each entry its text (nil
 * for one that does not hold, or is no text) and its PTTL.
 */
export const read: Script = /* @__PURE__ */ defineScript({
  name: "read",
  sha1: "243ce271bb35273af1297f9495fd17b2caa1c62e",
  lua: `${LUA_HOLDS}local clock = redis.call('GET', KEYS[1])
local r = {clock}
for i = 2, #KEYS do
  local v = redis.pcall('GET', KEYS[i])
  if type(v) ~= 'string' then v = false end
  local ok, tags = holds(v, clock, ARGV[1])
  if not ok then v = false end
  if v and ARGV[2] ~= '0' then
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
    outlive(tags, tonumber(ARGV[2]), ARGV[1])
  end
  if v and ARGV[3] == '1' then
    local head = string.match(v, '^({.-)"json":') or string.match(v, '^({.-)"sealed":') or string.match(v, '^({.-)"packed":')
    if head then v = head .. '"json":null}' end
  end
  r[2 * i - 2] = v
  r[2 * i - 1] = redis.call('PTTL', KEYS[i])
end
return r`,
  twin(store, [clockKey = "", ...keys], [prefix = "", slide = "", headsOnly = ""]) {
    const clock = store.call("GET", clockKey);
    return [
      clock,
      ...keys.flatMap((key) => {
        let text = store.call("MGET", key) as Reply;
        text = (text as readonly Reply[])[0] ?? null;
        if (!holds(store, text, clock, prefix)) text = null;
        if (text !== null && slide !== "0") {
          store.call("PEXPIRE", key, slide);
          outlive(store, HEAD.exec(text as string)?.[2], Number(slide), prefix);
        }
        if (text !== null && headsOnly === "1") {
          const [, head] = /^(\{.*?)"(?:json|sealed|packed)":/s.exec(text as string) ?? [];
          if (head) text = `${head}"json":null}`;
        }
        return [text, store.call("PTTL", key)];
      }),
    ];
  },
});

/**
 * KEYS: entry, clock, lock if there is one. ARGV: the text; ms to live or 0; the clock's value that it is born at, or "" for now's;
 * the token of the lock that must be held and is given up, "*" to break a lock, or ""; start of marks' keys; the tags as in the
 * document; "1" and the text that must stand there, or "0" for no entry, or nothing. Answers 1, or 0 when the lock was lost or
 * something else stands there.
 */
export const store: Script = /* @__PURE__ */ defineScript({
  name: "store",
  sha1: "ed5d787c0e2b69919baaee7c21b360f7c14eb51d",
  lua: `${LUA_HOLDS}${LUA_NOW}if KEYS[3] then
  if ARGV[4] ~= '*' and redis.call('GET', KEYS[3]) ~= ARGV[4] then return 0 end
  redis.call('DEL', KEYS[3])
end
local clock = redis.call('GET', KEYS[2])
if ARGV[7] then
  local old = redis.call('GET', KEYS[1])
  if not holds(old, clock, ARGV[5]) then old = false end
  if old ~= (ARGV[7] == '1' and ARGV[8]) then return 0 end
end
local seq = clock and string.match(clock, '^%d+')
local born = ARGV[3]
if ARGV[6] ~= '' and not seq then
  seq = string.format('%.0f', now * 1000)
  redis.call('SET', KEYS[2], seq .. ' 0')
  if born == '0' then born = seq end
end
if born == '' then born = seq or '0' end
local head = ''
if ARGV[6] ~= '' then
  head = '"born":' .. born .. ',"tags":[' .. ARGV[6] .. '],'
  outlive(ARGV[6], tonumber(ARGV[2]), ARGV[5], born)
elseif born ~= '0' then
  head = '"born":' .. born .. ','
end
local text = '{' .. head .. string.sub(ARGV[1], 2)
if ARGV[2] == '0' then
  redis.call('SET', KEYS[1], text)
else
  redis.call('SET', KEYS[1], text, 'PX', ARGV[2])
end
return 1`,
  twin(store, [key = "", clockKey = "", lock], args) {
    const [text = "", ms = "", bornText = "", token = "", prefix = "", tags = "", known, expected] = args;
    if (lock) {
      if (token !== "*" && store.call("GET", lock) !== token) return 0;
      store.call("DEL", lock);
    }
    const clock = store.call("GET", clockKey);
    if (known) {
      const old = store.call("GET", key);
      if ((holds(store, old, clock, prefix) ? old : null) !== (known === "1" ? expected : null)) return 0;
    }
    let seq = typeof clock === "string" ? clock.split(" ")[0] : undefined;
    let born = bornText;
    if (tags && !seq) {
      seq = String(time(store) * 1000);
      store.call("SET", clockKey, `${seq} 0`);
      if (born === "0") born = seq;
    }
    if (born === "") born = seq ?? "0";
    let head = "";
    if (tags) {
      head = `"born":${born},"tags":[${tags}],`;
      outlive(store, tags, Number(ms), prefix, born);
    } else if (born !== "0") {
      head = `"born":${born},`;
    }
    store.call("SET", key, `{${head}${text.slice(1)}`, ...(ms === "0" ? [] : ["PX", ms]));
    return 1;
  },
});

/** A day: how long a mark lasts that no entry asked for. By then, no load from before it is under way. */
const MARK_MS = 864e5;

/** The mark that is set when everything is invalidated: no tag is encoded like that. It tells those who listen to changes of keys. */
export const EVERYTHING = "*";

/** KEYS: clock. ARGV: start of marks' keys; the tags, or {@linkcode EVERYTHING}. Moves the clock on, marks the tags, and answers the clock. */
export const invalidate: Script = /* @__PURE__ */ defineScript({
  name: "invalidate",
  sha1: "70bd1b646c10444ff0ace36c168b3d85b6884029",
  lua: `${LUA_NOW}local clock = redis.call('GET', KEYS[1]) or '0 0'
local seq, all = string.match(clock, '^(%d+) (%d+)$')
seq = string.format('%.0f', math.max(tonumber(seq) + 1, now * 1000))
if ARGV[2] == '*' then all = seq end
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
  twin(store, [clockKey = ""], [prefix = "", ...tags]) {
    const [seqText = "0", allText = "0"] = String(store.call("GET", clockKey) ?? "0 0").split(" ");
    const seq = Math.max(Number(seqText) + 1, time(store) * 1000);
    const clock = `${seq} ${tags[0] === EVERYTHING ? seq : allText}`;
    store.call("SET", clockKey, clock);
    for (const tag of tags) {
      const mark = prefix + tag;
      const left = store.call("PTTL", mark) as number;
      store.call("SET", mark, seq, ...(left === -1 ? [] : ["PX", Math.max(left, MARK_MS)]));
    }
    return clock;
  },
});

/**
 * KEYS: lock, entry, clock. ARGV: token; ms that the lock lasts; start of marks' keys; the caller's time in ms. Takes the lock unless it is
 * taken or the entry is there and fresh. Answers {whether it was taken, the clock, the entry's text or nil, its PTTL}.
 */
export const acquire: Script = /* @__PURE__ */ defineScript({
  name: "acquire",
  sha1: "ae02f1ca18b1219fe4b454f2db69df4e7ee33b77",
  lua: `${LUA_HOLDS}local clock = redis.call('GET', KEYS[3])
local v = redis.pcall('GET', KEYS[2])
if type(v) ~= 'string' or not holds(v, clock, ARGV[3]) then v = false end
local fresh = v
if v then
  local at, ttl = string.match(v, '^{[^{}]-"at":(%d+),"ttl":(%d+)')
  fresh = not at or (tonumber(at) + tonumber(ttl) > tonumber(ARGV[4]))
end
local taken = 0
if not fresh and (redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') or redis.call('GET', KEYS[1]) == ARGV[1]) then
  taken = 1
end
return {taken, clock, v, redis.call('PTTL', KEYS[2])}`,
  twin(store, [lock = "", key = "", clockKey = ""], [token = "", ms = "", prefix = "", now = ""]) {
    const clock = store.call("GET", clockKey);
    let text = (store.call("MGET", key) as readonly Reply[])[0] ?? null;
    if (!holds(store, text, clock, prefix)) text = null;
    const [, at, ttl] = /^\{[^{}]*?"at":(\d+),"ttl":(\d+)/.exec(String(text)) ?? [];
    const fresh = text !== null && (at === undefined || Number(at) + Number(ttl) > Number(now));
    return [fresh ? 0 : own(store, lock, token, ms), clock, text, store.call("PTTL", key)];
  },
});

/** KEYS: lock, and for a fenced lock its counter. ARGV: token; ms. Takes a lock: answers 0, or the fencing token (1 without a counter). */
export const take: Script = /* @__PURE__ */ defineScript({
  name: "take",
  sha1: "abc7361f459997ff7a79cd361fcc2b4ee25e277c",
  lua: `if not redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') and redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('INCR', KEYS[2])`,
  twin(store, [lock = "", fence = ""], [token = "", ms = ""]) {
    return own(store, lock, token, ms) ? store.call("INCR", fence) : 0;
  },
});

/** Takes a lock, or finds that it was taken with this token: a script may be repeated. */
function own(store: TwinStore, lock: string, token: string, ms: string): 0 | 1 {
  return store.call("SET", lock, token, "PX", ms, "NX") !== null || store.call("GET", lock) === token ? 1 : 0;
}

/** KEYS: lock. ARGV: token; ms to hold it from now, or 0 to give it up. Answers whether it was held. */
export const hold: Script = /* @__PURE__ */ defineScript({
  name: "hold",
  sha1: "ac3769cd746b809816021f4235a22de3e744acaf",
  lua: `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`,
  twin(store, [lock = ""], [token = "", ms = ""]) {
    if (store.call("GET", lock) !== token) return 0;
    return ms === "0" ? store.call("DEL", lock) : store.call("PEXPIRE", lock, ms);
  },
});

/**
 * KEYS: entry, clock. ARGV: start of marks' keys; ms to live or 0 for ever; how long it is kept beyond that; the caller's time in ms. Answers 1, 0 when there
 * is no such entry, or 2 when it had no expiry already and is to have none.
 */
export const touch: Script = /* @__PURE__ */ defineScript({
  name: "touch",
  sha1: "132458224861be705d9e8a5603b70f227bf3ac88",
  lua: `${LUA_HOLDS}local v = redis.pcall('GET', KEYS[1])
local text = type(v) == 'string'
local tags
if text then
  local ok
  ok, tags = holds(v, redis.call('GET', KEYS[2]), ARGV[1])
  if not ok then return 0 end
elseif redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local ms = tonumber(ARGV[2])
local keep = ms
if text then
  local head, rest = string.match(v, '^({[^{}]-)"at":%d+,"ttl":%d+,(.*)$')
  if head then
    if ms > 0 then
      head = head .. '"at":' .. ARGV[4] .. ',"ttl":' .. ARGV[2] .. ','
      keep = ms + tonumber(ARGV[3])
    end
    redis.call('SET', KEYS[1], head .. rest, 'KEEPTTL')
  end
end
outlive(tags, keep, ARGV[1])
if ms > 0 then return redis.call('PEXPIRE', KEYS[1], keep) end
return 2 - redis.call('PERSIST', KEYS[1])`,
  twin(store, [key = "", clockKey = ""], [prefix = "", ms = "", extra = "", now = ""]) {
    const text = (store.call("MGET", key) as readonly Reply[])[0] ?? null;
    if (text !== null ? !holds(store, text, store.call("GET", clockKey), prefix) : store.call("EXISTS", key) === 0)
      return 0;
    let keep = Number(ms);
    const timed = /^(\{[^{}]*?)"at":\d+,"ttl":\d+,(.*)$/s.exec(String(text));
    if (timed) {
      if (keep > 0) keep += Number(extra);
      const head = ms === "0" ? "" : `"at":${now},"ttl":${ms},`;
      store.call("SET", key, `${timed[1]}${head}${timed[2]}`, "KEEPTTL");
    }
    outlive(store, HEAD.exec(String(text))?.[2], keep, prefix);
    if (keep > 0) return store.call("PEXPIRE", key, keep);
    return 2 - (store.call("PERSIST", key) as number);
  },
});

/** KEYS: hash. ARGV: fields and how much to add to each. */
export const addCounts: Script = /* @__PURE__ */ defineScript({
  name: "addCounts",
  sha1: "fbb9bb42006f6bef37fda9d09d878f9a1ebb09d4",
  lua: `for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1`,
  twin(store, [key = ""], args) {
    for (let i = 0; i < args.length; i += 2) store.call("HINCRBY", key, args[i] as string, args[i + 1] as string);
    return 1;
  },
});

/** KEYS: counter. ARGV: by, TTL in ms or 0. Answers the count, the remaining ms (-1: none) and the store's clock. A lost TTL is set again. */
export const increment: Script = /* @__PURE__ */ defineScript({
  name: "increment",
  sha1: "1970b3784bdb5ca8e0ae9b568ed988edf3d0bd51",
  lua: `local set = string.match(redis.call('GET', KEYS[1]) or '', '^{[^{}]-"json":(%-?%d+)}$')
if set then redis.call('SET', KEYS[1], set, 'KEEPTTL') end
local n = redis.call('INCRBY', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 and tonumber(ARGV[2]) > 0 then
  left = tonumber(ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
${LUA_NOW}return {n, left, now}`,
  twin(store, [key = ""], [by = "", ttl = ""]) {
    const [, set] = /^\{[^{}]*?"json":(-?\d+)\}$/.exec(String(store.call("GET", key))) ?? [];
    if (set) store.call("SET", key, set, "KEEPTTL");
    const n = store.call("INCRBY", key, by);
    let left = store.call("PTTL", key) as number;
    if (left < 0 && Number(ttl) > 0) {
      left = Number(ttl);
      store.call("PEXPIRE", key, ttl);
    }
    return [n, left, time(store)];
  },
});

/** KEYS: keys. Unlinks each and answers, for each, whether it was there: one command for the deletions of several callers. */
export const unlinkEach: Script = /* @__PURE__ */ defineScript({
  name: "unlinkEach",
  sha1: "f4f8d0fa8dd764b801682b07ced66ad3f23afbb6",
  lua: `local r = {}
for i, key in ipairs(KEYS) do r[i] = redis.call('UNLINK', key) end
return r`,
  twin: (store, keys) => keys.map((key) => store.call("UNLINK", key)),
});
