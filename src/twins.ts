/**
 * The scripts' twins: what the memory driver runs in the place of Lua, reply for reply. Only that driver imports them, so that
 * a bundle without it carries none.
 */
import type { Reply, TwinnedScript, TwinStore } from "../drivers/driver.ts";
import { fixedWindow, slidingWindow, tokenBucket } from "./rate_limits.ts";
import {
  acquire,
  addCounts,
  EVERYTHING,
  hold,
  increment,
  invalidate,
  probe,
  read,
  store,
  take,
  touch,
  unlinkEach,
} from "./scripts.ts";

const HEAD = /^\{"born":(\d+)(?:,"tags":\[([^\]]*))?/;

/** The names in the text of a document's tags. */
function names(tags: string | undefined): string[] {
  return (tags?.match(/"[^"]*"/g) ?? []).map((tag) => tag.slice(1, -1));
}

/** The text at a key, if it is one. */
function textAt(store: TwinStore, key: string): string | null {
  return (store.call("MGET", key) as readonly (string | null)[])[0] ?? null;
}

function find(store: TwinStore, key: string, clock: Reply, prefix: string): string | null {
  const text = textAt(store, key);
  if (text === null) return null;
  const [, bornText = "0", tags] = HEAD.exec(text) ?? [];
  const born = Number(bornText);
  if (clock && text.startsWith("{") && born < Number(String(clock).split(" ")[1])) return null;
  const holds = names(tags).every((tag) => {
    const mark = store.call("GET", prefix + tag);
    return mark !== null && Number(mark) <= born;
  });
  return holds ? text : null;
}

function outlive(store: TwinStore, tags: string | undefined, ms: number, prefix: string, born?: string): void {
  for (const tag of names(tags)) {
    const mark = prefix + tag;
    const left = store.call("PTTL", mark) as number;
    if (left === -2 && born !== undefined) store.call("SET", mark, born);
    if (ms === 0) store.call("PERSIST", mark);
    else if (left !== -1 && left < ms) store.call("PEXPIRE", mark, ms * 2);
  }
}

function fresh(text: string, now: string): boolean {
  const [, at, ttl] = /^\{[^{}]*?"at":(\d+),"ttl":(\d+)/.exec(text) ?? [];
  const age = Number(now) - Number(at);
  return at === undefined || (age < Number(ttl) && age > -1000);
}

/** What is known not to be there does not begin anew, nor does it get another TTL. */
const NONE = /^\{[^{}]*?"none":/;

/** A day: how long a mark lasts that no entry asked for. By then, no load from before it is under way. */
const MARK_MS = 864e5;

/** Every script of the library, with its twin. */
export const twins: readonly TwinnedScript[] = [
  {
    ...read,
    twin(store, [clockKey = "", ...keys], [prefix = "", slide = "", headsOnly = ""]) {
      const clock = store.call("GET", clockKey);
      return [
        clock,
        ...keys.flatMap((key) => {
          let text = find(store, key, clock, prefix);
          if (text !== null && slide !== "0" && !NONE.test(text)) {
            store.call("PEXPIRE", key, slide);
            outlive(store, HEAD.exec(text)?.[2], Number(slide), prefix);
          }
          if (headsOnly === "1") {
            const [, head] = /^(\{.*?)"(?:json|sealed|packed)":/s.exec(text ?? "") ?? [];
            if (head) text = `${head}"json":null}`;
            if (text === null && !/string|none/.test(String(store.call("TYPE", key)))) text = "0";
          }
          return [text, store.call("PTTL", key)];
        }),
      ];
    },
  },
  {
    ...store,
    twin(store, [key = "", clockKey = "", lock], args) {
      const [text = "", ms = "", bornText = "", token = "", prefix = "", tags = "", known, expected] = args;
      if (lock && token !== "*" && store.call("GET", lock) !== token) return 0;
      let clock = store.call("GET", clockKey) as string | null;
      if (known && find(store, key, clock, prefix) !== (known === "1" ? expected : null)) return 0;
      if (tags && !clock) {
        clock = `${store.now * 1000} 0 0`;
        store.call("SET", clockKey, clock);
      }
      const seq = clock?.split(" ")[0] ?? "0";
      const born = bornText === "" || (bornText === "0" && clock?.includes(" 0 ")) ? seq : bornText;
      let head = "";
      if (tags) {
        head = `"born":${born},"tags":[${tags}],`;
        outlive(store, tags, Number(ms), prefix, born);
      } else if (born !== "0") {
        head = `"born":${born},`;
      }
      store.call("SET", key, `{${head}${text.slice(1)}`, ...(ms === "0" ? [] : ["PX", ms]));
      if (lock) store.call("DEL", lock);
      return 1;
    },
  },
  {
    ...invalidate,
    twin(store, [clockKey = ""], [prefix = "", ...tags]) {
      const [seqText = "0", allText = "0"] = String(store.call("GET", clockKey) ?? "0 0").split(" ");
      const seq = Math.max(Number(seqText) + 1, store.now * 1000);
      const clock = `${seq} ${tags[0] === EVERYTHING ? seq : allText}`;
      store.call("SET", clockKey, clock);
      for (const tag of tags) {
        const mark = prefix + tag;
        const left = store.call("PTTL", mark) as number;
        store.call("SET", mark, seq, ...(left === -1 ? [] : ["PX", Math.max(left, MARK_MS)]));
      }
      return clock;
    },
  },
  {
    ...acquire,
    twin(store, [lock = "", key = "", clockKey = ""], [token = "", ms = "", prefix = "", now = "", useless]) {
      const clock = store.call("GET", clockKey);
      const text = find(store, key, clock, prefix);
      const good = text !== null && text !== useless && fresh(text, now);
      return [good ? 0 : own(store, lock, token, ms), clock, text, store.call("PTTL", key)];
    },
  },
  {
    ...take,
    twin(store, [lock = "", fence = ""], [token = "", ms = ""]) {
      return own(store, lock, token, ms) ? store.call("INCR", fence) : 0;
    },
  },
  {
    ...hold,
    twin(store, [lock = ""], [token = "", ms = ""]) {
      if (store.call("GET", lock) !== token) return 0;
      return ms === "0" ? store.call("DEL", lock) : store.call("PEXPIRE", lock, ms);
    },
  },
  {
    ...touch,
    twin(store, [key = "", clockKey = ""], [prefix = "", ms = "", extra = "", now = ""]) {
      const text = find(store, key, store.call("GET", clockKey), prefix);
      if (
        text === null ? textAt(store, key) !== null || !store.call("EXISTS", key) : !fresh(text, now) || NONE.test(text)
      )
        return 0;
      let keep = Number(ms);
      const [timed, head, rest] = /^(\{[^{}]*?)"at":\d+,"ttl":\d+,(.*)$/s.exec(String(text)) ?? [];
      if (timed !== undefined) {
        if (keep > 0) keep += Number(extra);
        store.call("SET", key, `${head}${ms === "0" ? "" : `"at":${now},"ttl":${ms},`}${rest}`);
      }
      outlive(store, HEAD.exec(String(text))?.[2], keep, prefix);
      if (keep > 0) return store.call("PEXPIRE", key, keep);
      return store.call("PERSIST", key) === 1 || timed !== undefined ? 1 : 2;
    },
  },
  {
    ...addCounts,
    twin(store, [key = ""], args) {
      for (let i = 0; i < args.length; i += 2) store.call("HINCRBY", key, args[i] as string, args[i + 1] as string);
      return 1;
    },
  },
  {
    ...increment,
    twin(store, [key = "", clockKey], [by = "", ttl = "", prefix = "", now = ""]) {
      let text = String(store.call("GET", key) ?? "");
      const holds = (clock: string): boolean =>
        !NONE.test(text) && fresh(text, now) && find(store, key, store.call("GET", clock), prefix) !== null;
      if (clockKey !== undefined && text.startsWith("{") && !holds(clockKey)) {
        store.call("DEL", key);
        text = "";
      }
      const [, set] = /^\{[^{}]*?"json":(-?\d+)\}$/.exec(text) ?? [];
      if (set) store.call("SET", key, set, "KEEPTTL");
      const n = store.call("INCRBY", key, by);
      let left = store.call("PTTL", key) as number;
      if (left < 0 && Number(ttl) > 0) {
        left = Number(ttl);
        store.call("PEXPIRE", key, ttl);
      }
      return [n, left, time(store)];
    },
  },
  {
    ...probe,
    twin: (store, [key = ""]) => (store.call("SET", key, "", "XX") ? 1 : 0),
  },
  {
    ...unlinkEach,
    twin: (store, keys) => keys.map((key) => store.call("UNLINK", key)),
  },
  {
    ...fixedWindow,
    twin(store, [key = ""], [limitText = "", windowText = "", costText = ""]) {
      const now = time(store);
      const [limit, window, cost] = [Number(limitText), Number(windowText), Number(costText)];
      let count = Number(store.call("GET", key) ?? "0");
      let left = store.call("PTTL", key) as number;
      if (left < 0) {
        left = window;
        if (count > 0) store.call("PEXPIRE", key, windowText);
      }
      const allowed = count + cost <= limit ? 1 : 0;
      if (allowed) {
        if (count === 0) store.call("SET", key, costText, "PX", left);
        else store.call("INCRBY", key, costText);
        count += cost;
      }
      return [allowed, Math.max(0, limit - count), left, cost > limit ? -1 : allowed ? 0 : left, now];
    },
  },
  {
    ...slidingWindow,
    twin(store, [key = ""], args) {
      const { now } = store;
      const [limit = 0, window = 0, cost = 0] = args.map(Number);
      const index = Math.floor(now / window);
      const rest = window - (now - index * window);
      const [i, c, p] = store.call("HMGET", key, "i", "c", "p") as (string | null)[];
      let count = 0;
      let before = 0;
      if (i != null && Number(i) === index) [count, before] = [Number(c), Number(p)];
      else if (i != null && Number(i) === index - 1) before = Number(c);
      const allowed = before * rest + (count + cost) * window <= limit * window ? 1 : 0;
      if (allowed) {
        count += cost;
        store.call("HSET", key, "i", index, "c", count, "p", before);
        store.call("PEXPIRE", key, window * 2);
      }
      const free = Math.max(0, Math.floor((limit * window - before * rest - count * window) / window));
      const reset = count > 0 ? rest + window : before > 0 ? rest : 0;
      let wait = 0;
      if (cost > limit) {
        wait = -1;
      } else if (!allowed) {
        const room = (limit - count - cost) * window;
        if (before > 0 && room >= 0) wait = rest - Math.floor(room / before);
        else if (count > 0) wait = rest + window - Math.min(window, Math.floor(((limit - cost) * window) / count));
        else wait = rest;
      }
      return [allowed, free, reset, wait, time(store)];
    },
  },
  {
    ...tokenBucket,
    twin(store, [key = ""], args) {
      const { now } = store;
      const [limit = 0, window = 0, cost = 0] = args.map(Number);
      const full = limit * window;
      const [l, t] = store.call("HMGET", key, "l", "t") as (string | null)[];
      let level = l == null ? full : Math.min(full, Number(l) + Math.max(0, now - Number(t)) * limit);
      const allowed = level >= cost * window ? 1 : 0;
      if (allowed) level -= cost * window;
      if (level < full) {
        store.call("HSET", key, "l", level, "t", now);
        store.call("PEXPIRE", key, Math.ceil((full - level) / limit) + 1);
      }
      const wait = cost > limit ? -1 : allowed ? 0 : Math.ceil((cost * window - level) / limit);
      return [allowed, Math.floor(level / window), Math.ceil((full - level) / limit), wait, time(store)];
    },
  },
];

/** The store's clock in milliseconds. */
function time(store: TwinStore): number {
  const [seconds, micros] = store.call("TIME") as [string, string];
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
}

/** Takes a lock, or finds that it was taken with this token: a script may be repeated. */
function own(store: TwinStore, lock: string, token: string, ms: string): 0 | 1 {
  return store.call("SET", lock, token, "PX", ms, "NX") !== null || store.call("GET", lock) === token ? 1 : 0;
}
