/** The atomic operations: Lua for real stores, a twin for the memory driver. Clocks are the store's own. */
import { defineScript, type Script, type TwinStore } from "../drivers/driver.ts";

/** The store's clock in milliseconds. */
export function time(store: TwinStore): number {
  const [seconds, micros] = store.call("TIME") as [string, string];
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

/** Sets `now`, the store's clock in milliseconds. */
export const LUA_NOW: string = "local t = redis.call('TIME')\nlocal now = t[1] * 1000 + math.floor(t[2] / 1000)\n";

/** KEYS: counter. ARGV: by, TTL in ms or 0. Answers the count, the remaining ms (-1: none) and the store's clock. A lost TTL is set again. */
export const increment: Script = /* @__PURE__ */ defineScript({
  name: "increment",
  sha1: "6c7633a570d2ead8ba28e398298c5eb45684b800",
  lua: `local set = string.match(redis.call('GET', KEYS[1]) or '', '^{"json":(%-?%d+)}$')
if set then redis.call('SET', KEYS[1], set, 'KEEPTTL') end
local n = redis.call('INCRBY', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 and tonumber(ARGV[2]) > 0 then
  left = tonumber(ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
${LUA_NOW}return {n, left, now}`,
  twin(store, [key = ""], [by = "", ttl = ""]) {
    const [, set] = /^\{"json":(-?\d+)\}$/.exec(String(store.call("GET", key))) ?? [];
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

/** KEYS: key. ARGV: "1" and the text expected, or "0" and "" for no key; the new text; TTL in ms or 0. Answers 1, or 0 when another text stands there. */
export const compareAndSet: Script = /* @__PURE__ */ defineScript({
  name: "compareAndSet",
  sha1: "827690d17fa199378e349bd0378294f83d092f61",
  lua: `local old = redis.call('GET', KEYS[1])
if ARGV[1] == '1' then
  if old ~= ARGV[2] then return 0 end
elseif old then
  return 0
end
if ARGV[4] == '0' then
  redis.call('SET', KEYS[1], ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
end
return 1`,
  twin(store, [key = ""], [known = "", expected = "", text = "", ttl = ""]) {
    const old = store.call("GET", key);
    if (known === "1" ? old !== expected : old !== null) return 0;
    store.call("SET", key, text, ...(ttl === "0" ? [] : ["PX", ttl]));
    return 1;
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
