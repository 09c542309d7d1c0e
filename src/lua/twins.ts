/**
 * The twins of the scripts: the memory driver runs them instead of Lua, reply for reply. Only that driver imports them,
 * so that a bundle without it does not carry them.
 */
import type { Reply, TwinnedScript, TwinStore } from "../../drivers/driver.ts";
import { CLOCK_SKEW_MS } from "../base/own_keys.ts";
import { addCounts, increment, invalidate, MARK_MS, read, storeEntry, touch } from "./entries.ts";
import { type Limit, type LimitState, roomOf, stateAt } from "./limit_state.ts";
import { acquire, hold, take } from "./locks.ts";
import { mark } from "./mark.ts";
import { rateLimit } from "./rate_limit.ts";
import { probe, unlinkEach } from "./small.ts";

const HEAD = /^\{"born":(\d+)(?:,"tags":\[([^\]]*))?/;

/** Returns the names in the text of a document's tags. */
function names(tags: string | undefined): string[] {
  // Every second part stands between quotes, but for one after a quote that is left open.
  return tags?.split('"').filter((_, i, parts) => i % 2 === 1 && i < parts.length - 1) ?? [];
}

/** Returns the text at a key; `null` if the key holds none. */
function textAt(store: TwinStore, key: string): string | null {
  return (store.call("MGET", key) as readonly (string | null)[])[0] ?? null;
}

/** Returns the text of an entry; `null` if an invalidation is later than the entry. */
function find(store: TwinStore, key: string, epoch: Reply, prefix: string): string | null {
  const text = textAt(store, key);
  return text === null || !valid(store, text, epoch, prefix) ? null : text;
}

/** Returns whether no invalidation is later than the entry of a text. */
function valid(store: TwinStore, text: string, epoch: Reply, prefix: string): boolean {
  const [, bornText = "0", tags] = HEAD.exec(text) ?? [];
  const born = Number(bornText);
  if (epoch && text.startsWith("{") && born < Number(String(epoch).split(" ")[1])) return false;
  const marks = names(tags).map((tag) => store.call("GET", prefix + tag));
  return marks.every((mark) => mark !== null && Number(mark) <= born);
}

/** Keeps the marks of tags longer than an entry and, if `born` is given, makes those that are missing. */
function outlive(store: TwinStore, tags: string | undefined, ms: number, prefix: string, born?: string): void {
  for (const tag of names(tags)) {
    const mark = prefix + tag;
    const left = store.call("PTTL", mark) as number;
    if (left === -2 && born !== undefined) store.call("SET", mark, born);
    if (ms === 0) store.call("PERSIST", mark);
    else if (left !== -1 && left < ms) store.call("PEXPIRE", mark, ms * 2);
  }
}

/** Marks a tag. */
function setMark(store: TwinStore, key: string, seq: number | string): void {
  const left = store.call("PTTL", key) as number;
  store.call("SET", key, seq, ...(left === -1 ? [] : ["PX", Math.max(left, MARK_MS)]));
}

/** Returns whether a text has no TTL of its own or is within it. */
function fresh(text: string, now: string): boolean {
  const [, at, ttl] = /^\{[^{}]*?"at":(\d+),"ttl":(\d+)/.exec(text) ?? [];
  const age = Number(now) - Number(at);
  return at === undefined || (age < Number(ttl) && age > -CLOCK_SKEW_MS);
}

/** An entry of a value that is known not to exist. Its TTL is neither started again nor changed. */
const NONE = /^\{[^{}]*?"none":/;

/** A whole number that INCRBY would take if it were not too large. */
const WHOLE = /^-?[1-9]\d+$/;

/** Every script of the library, with its twin. */
export const twins: readonly TwinnedScript[] = [
  {
    ...read,
    twin(store, [epochKey = "", ...all], [prefix = "", slide = "", what = "", last]) {
      const keys = last === undefined ? all : all.slice(0, Number(last) - 1);
      const [epoch = null, ...texts] = store.call("MGET", epochKey, ...keys) as readonly (string | null)[];
      return [
        epoch,
        ...keys.flatMap((key, i) => {
          let text = texts[i] ?? null;
          if (what > "1") {
            const [, head] = /^(\{.*?)"(?:json|sealed|packed)":/s.exec(text ?? "") ?? [];
            if (head) text = `${head}"json":null}`;
            if (text === null && store.call("TYPE", key) !== "none") text = "0";
          }
          if (text !== null && !valid(store, text, epoch, prefix)) text = null;
          if (text !== null && slide !== "0" && !NONE.test(text)) {
            store.call("PEXPIRE", key, slide);
            outlive(store, HEAD.exec(text)?.[2], Number(slide), prefix);
          }
          return Number(what) % 2 === 0 ? [text] : [text, store.call("PTTL", key)];
        }),
      ];
    },
  },
  {
    ...storeEntry,
    twin(store, [key = "", epochKey = "", third], args) {
      const lock = third === key ? undefined : third;
      const [text = "", ms = "", bornText = "", token = "", prefix = "", tags = "", known, expected] = args;
      if (lock && token !== "*" && store.call("GET", lock) !== token) return 0;
      let epoch = store.call("GET", epochKey) as string | null;
      let untouched = epoch?.includes(" 0 ");
      const from = Number(bornText);
      let seq = epoch?.split(" ")[0] ?? "0";
      if (from > 0 && (untouched || from > Number(seq) || (Number(seq) - from) % 1000 > 0)) {
        if (lock) store.call("DEL", lock);
        return 0;
      }
      if (
        known &&
        known !== "3" &&
        find(store, key, known === "2" ? null : epoch, prefix) !== (known === "0" ? null : expected)
      ) {
        return 0;
      }
      if (tags && !epoch) {
        seq = String(micros(store));
        epoch = `${seq} 0 0`;
        store.call("SET", epochKey, epoch);
        untouched = true;
      }
      const born = bornText === "" || (bornText === "0" && untouched) ? seq : bornText;
      let head = "";
      if (tags) {
        head = `"born":${born},"tags":[${tags}],`;
        outlive(store, tags, Number(ms), prefix, known === "3" ? seq : born);
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
    twin(store, [epochKey = "", ...marks], [everything]) {
      const now = micros(store);
      const [last, allText = "0"] = (store.call("GET", epochKey) as string | null)?.split(" ") ?? [];
      const next = Number(last) + 1000;
      const seq = last === undefined ? now : Math.max(next, now - (now % 1000) + (next % 1000));
      const epoch = `${seq} ${everything === undefined ? allText : seq}`;
      store.call("SET", epochKey, epoch);
      for (const key of marks) setMark(store, key, seq);
      return epoch;
    },
  },
  {
    ...mark,
    twin(store, [key = ""], [seq = ""]) {
      if (Number(store.call("GET", key) ?? 0) >= Number(seq)) return 0;
      setMark(store, key, seq);
      return 1;
    },
  },
  {
    ...acquire,
    twin(store, [lock = "", key = "", epochKey = ""], [token = "", ms = "", prefix = "", now = "", useless]) {
      const epoch = store.call("GET", epochKey);
      const text = find(store, key, epoch, prefix);
      const good = text !== null && text !== useless && fresh(text, now);
      return [good ? 0 : own(store, lock, token, ms), epoch, text, store.call("PTTL", key)];
    },
  },
  {
    ...take,
    twin(store, [lock = "", fence = ""], [token = "", ms = ""]) {
      if (!own(store, lock, token, ms)) return "0";
      const least = Number(store.call("GET", fence) ?? 0) + 1;
      const next = String(Math.max(least, micros(store)));
      store.call("SET", fence, next);
      return next;
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
    twin(store, [key = "", epochKey = ""], [prefix = "", ms = "", extra = "", now = ""]) {
      const text = find(store, key, store.call("GET", epochKey), prefix);
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
    twin(store, [key = "", epochKey], [by = "", ttl = "", prefix = "", now = ""]) {
      let text = String(store.call("GET", key) ?? "");
      const holds = (at: string): boolean =>
        !NONE.test(text) && fresh(text, now) && find(store, key, store.call("GET", at), prefix) !== null;
      if (epochKey !== undefined && text.startsWith("{") && !holds(epochKey)) {
        store.call("DEL", key);
        text = "";
      }
      const [, set] = /^\{[^{}]*?"json":(-?\d+)\}$/.exec(text) ?? [];
      if (set) store.call("SET", key, set, "KEEPTTL");
      let n: string | null = null;
      try {
        store.call("INCRBY", key, by);
        n = String(store.call("GET", key));
      } catch (error) {
        if (!/overflow/.test(String(error)) && !(/not an integer/.test(String(error)) && WHOLE.test(set ?? text)))
          throw error;
      }
      if (n === null || !Number.isSafeInteger(Number(n))) {
        n = null;
        store.call("SET", key, text, "KEEPTTL");
      }
      let left = store.call("PTTL", key) as number;
      if (n !== null && left < 0 && Number(ttl) > 0) {
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
    ...rateLimit,
    twin: (store, keys, [cost, ...asked]) => keys.map((key) => countInLimits(store, key, Number(cost), asked)),
  },
];

/** Returns the store's time in milliseconds. */
function time(store: TwinStore): number {
  return Math.floor(micros(store) / 1000);
}

/** Returns the store's time in microseconds. */
function micros(store: TwinStore): number {
  const [seconds, micros] = store.call("TIME") as [string, string];
  return Number(seconds) * 1e6 + Number(micros);
}

/** Takes a lock, or finds that it was taken with this token: a script may be repeated. */
function own(store: TwinStore, lock: string, token: string, ms: string): 0 | 1 {
  return store.call("SET", lock, token, "PX", ms, "NX") !== null || store.call("GET", lock) === token ? 1 : 0;
}

/** The state of a limit at a moment, by its name. */
interface NamedState {
  name: string;
  readonly own: string;
  readonly base: string;
  readonly limit: Limit;
  at: number;
  n: number;
  p: number;
  /** The moment until which the stored state is needed. */
  ends: number | undefined;
  write: boolean;
}

/** Runs {@linkcode rateLimit} for one key. */
function countInLimits(store: TwinStore, key: string, cost: number, asked: readonly string[]): string {
  const need = Math.max(1, cost);
  const { now } = store;
  const texts = new Map<string, string>();
  const copies = new Map<string, string>();
  const fields = fieldsAt(store, key, cost > 0);
  for (const [name, text] of fields) {
    const [, own, base, from] = /^(([a-z]\d+:)\d+)<(\d+)$/.exec(name) ?? [];
    if (own && cost !== 0 && asked.includes(`${base}${from}`)) {
      store.call("HDEL", key, name);
    } else {
      texts.set(name, text);
      if (own) copies.set(own, name);
    }
  }
  const limits = asked.map((name) => {
    const own = limitAt(texts, name, now) as NamedState;
    let best: NamedState | undefined;
    if (texts.has(name)) {
      best = limitAt(texts, copies.get(name) ?? "", now);
      if (best && best.n + best.p <= own.n + own.p) {
        if (cost !== 0) store.call("HDEL", key, best.name);
        best = undefined;
      }
    } else {
      for (const other of texts.keys()) {
        const state = limitAt(texts, other, now);
        if (state?.base !== own.base || asked.includes(state.own)) continue;
        if (state.n + state.p > (best ? best.n + best.p : 0)) best = state;
      }
      if (best) {
        const { kind, limit, window } = own.limit;
        const most = kind === "t" ? limit * window : limit;
        own.write = true;
        best = {
          ...best,
          name: `${name}<${best.limit.limit}`,
          limit: own.limit,
          n: Math.min(best.n, most),
          p: Math.min(best.p, limit),
          ends: undefined,
          write: true,
        };
      }
    }
    return best ? [own, best] : [own];
  });
  const pass = limits.flat().every((state) => roomOf(state.limit, state, need, now).free >= need);
  let keep = 0;
  const written: string[] = [];
  const replies = limits.map((states) =>
    states.map((state) => {
      const { kind, window } = state.limit;
      if (cost < 0 || (cost > 0 && pass)) {
        state.n += kind === "t" ? cost * window : cost;
        if (state.n < 0) [state.n, state.p] = [0, Math.max(0, state.p + state.n)];
        state.write ||= cost > 0 || texts.has(state.name);
      }
      const text = `${state.at} ${state.n} ${state.p}`;
      if (!state.write || cost === 0) return text;
      written.push(state.name, text);
      const ends = endOf(state.limit, state);
      if (ends !== state.ends) keep = Math.max(keep, ends - now);
      return text;
    }),
  );
  if (written.length > 0) store.call("HSET", key, ...written);
  if (keep > 0) {
    for (const name of fields.length > 32 ? texts.keys() : []) {
      const state = limitAt(texts, name, now);
      if (state && !asked.includes(state.own) && state.n + state.p === 0) store.call("HDEL", key, name);
    }
    if ((store.call("PTTL", key) as number) < keep) store.call("PEXPIRE", key, keep);
  }
  const seen = time(store);
  const head = `${now} ${pass ? 1 : 0}${seen === now ? "" : ` ${seen}`}`;
  return [head, ...replies.map((texts) => texts.join(" "))].join();
}

/** Returns the fields of a hash with their texts. With `write`, a value of another type is deleted. */
function fieldsAt(store: TwinStore, key: string, write: boolean): [name: string, text: string][] {
  let flat: readonly string[];
  try {
    flat = store.call("HGETALL", key) as readonly string[];
  } catch {
    if (write) store.call("DEL", key);
    flat = [];
  }
  return flat.flatMap((name, i) => (i % 2 ? [] : [[name, flat[i + 1] as string]]));
}

function limitAt(texts: ReadonlyMap<string, string>, name: string, now: number): NamedState | undefined {
  const [, own = "", base = "", kind = "", ...sizes] = /^((([a-z])(\d+):)(\d+))/.exec(name) ?? [];
  if (own === "") return undefined;
  const [window = 0, most = 0] = sizes.map(Number);
  const limit = { kind, window, limit: most };
  const text = texts.get(name);
  const [was = 0, count = 0, before = 0] =
    /^(\d+) (\d+) (\d+)$/
      .exec(text ?? "")
      ?.slice(1)
      .map(Number) ?? [];
  const stored = { at: was, n: count, p: before };
  const { at, n, p } = stateAt(limit, stored, now);
  const ends = text === undefined ? undefined : endOf(limit, stored);
  return { name, own, base, limit, at, n, p, ends, write: n > 0 && was > at };
}

/** Returns the moment until which a state is needed, or a little more. */
function endOf({ kind, window }: Limit, { at }: LimitState): number {
  if (kind === "s") return (at + 2) * window;
  return kind === "t" ? (Math.floor(at / window) + 2) * window : at;
}
