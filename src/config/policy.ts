/** The options that keep values fresh, and the policy in milliseconds that they make. */

import { checkNames, checkTags, checkWhole, invalid } from "../base/check.ts";
import { parseTimeout, parseTtl, type Timeout, TTL_CLASSES, type Ttl, type TtlClasses } from "../base/ttl.ts";
import type { EncryptionOptions } from "../entry/seal.ts";
import type { BreakerOptions } from "../wire/breaker.ts";

/** Options of a near cache, which keeps decoded values in this process. */
export interface NearOptions {
  /** The maximum number of entries. @default 10_000 */
  readonly maxEntries?: number;
  /** The maximum number of bytes, by the length of the stored texts. @default 16 MiB */
  readonly maxBytes?: number;
  /**
   * The longest that a value is served without asking the store. The clock is read once per event-loop turn, so a
   * value may outlive this TTL by one turn.
   * @default "30s" if the store reports changes, otherwise "5s"
   */
  readonly ttl?: Ttl;
  /**
   * Gives each reader a copy of its own. Otherwise all readers share one deeply frozen value. Values that cannot be
   * frozen, because they hold a Date, Map, Set, URL, error, bytes or a class instance, are copied for each reader all
   * the same. Output of a schema that cannot be stored is not kept. @default false
   */
  readonly clone?: boolean;
}

/**
 * Tags of an entry: a list, or a function of the value and its id, which may return `undefined` for none. A tag has 1
 * to 256 characters once encoded. Each costs the store a key that outlives its entries.
 *
 * @typeParam V The values, as they are written.
 * @typeParam I Their ids.
 */
// biome-ignore lint/suspicious/noExplicitAny: stands for values and ids of every type
export type TagSource<V = any, I = any> = readonly string[] | ((value: V, id: I) => readonly string[] | undefined);

/** The lifetime of an entry. `false` turns off what a client, service or collection has turned on. */
export interface EntryOptions {
  /**
   * The time to live: seconds, a string with a unit, `"default"`, `"short"`, `"long"`, or `"forever"`.
   * @default the collection's, or CACHE_TTL_DEFAULT
   */
  readonly ttl?: Ttl | undefined;
  /**
   * The time after its TTL in which `getOrSet` still serves it, while one load in the background renews it. For `get`
   * and `has` it is a miss by then. The clocks of processes should agree within a second. Sliding collections have
   * none. @default false
   */
  readonly staleFor?: Ttl | false | undefined;
  /** The time after its TTL in which `getOrSet` serves it if the loader fails or takes too long. @default false */
  readonly failSafeFor?: Ttl | false | undefined;
  /**
   * The share of the TTL, 0-1, by which it is shortened at random, so that entries that were written together do not
   * expire together. @default 0
   */
  readonly jitter?: number | undefined;
  /** The tags by which `invalidateTags` finds it, besides those that a loader adds. @default the collection's */
  readonly tags?: TagSource | undefined;
}

/** Options of the lock of `getOrSet`. */
export interface LoadLockOptions {
  /** The time after which a holder that died is replaced. While its loader runs, the lock is renewed. @default "5s" */
  readonly ttl?: Ttl;
  /**
   * The time that others wait for the holder's value, before one takes the lock over and loads. The value of the first
   * holder is not stored then. @default "30s"
   */
  readonly wait?: Ttl;
}

/** Options of the loads of `getOrSet`. */
export interface LoadOptions extends EntryOptions {
  /**
   * The time after which a caller gets the old value, if `failSafeFor` kept one, while the load goes on: milliseconds,
   * or `"2s"`.
   * @default false
   */
  readonly softTimeout?: Timeout | false | undefined;
  /**
   * The time after which a load is given up: its signal is aborted and its result dropped. Milliseconds, or `"2s"`.
   * @default false
   */
  readonly hardTimeout?: Timeout | false | undefined;
  /**
   * Renews an entry in the background, at a random time before it expires, which is sooner the longer its load took
   * (XFetch). A number above 1 makes it earlier. @default false
   */
  readonly earlyRefresh?: number | boolean | undefined;
  /** The time for which it is remembered that the loader returned `undefined`. @default false */
  readonly negativeTtl?: Ttl | false | undefined;
  /**
   * Lets only one process load a key at a time. The others wait for its value; if the store is away, each loads. The
   * load does not undo what another process sets or deletes in between, if that process has `lock` on for the
   * collection too. @default false
   */
  readonly lock?: boolean | LoadLockOptions | undefined;
}

/** The defaults of the entries of a client, a service or a collection. The nearest one wins. */
export interface CacheDefaults extends Omit<LoadOptions, "ttl"> {
  /**
   * Keeps decoded values in this process, frozen unless readers get copies. Over TCP the store reports changes;
   * elsewhere a value that another process changed is served until its `ttl` is over. Sliding collections have none.
   * @default false
   */
  readonly near?: boolean | NearOptions | undefined;
  /** The number of characters from which stored documents are compressed. @default false */
  readonly compressAbove?: number | false | undefined;
}

/**
 * The defaults of all entries of a client, and of its store. Variables: `CACHE_STALE_FOR CACHE_FAIL_SAFE_FOR
 * CACHE_NEGATIVE_TTL CACHE_SOFT_TIMEOUT_MS CACHE_HARD_TIMEOUT_MS CACHE_JITTER CACHE_EARLY_REFRESH CACHE_LOCK CACHE_NEAR
 * CACHE_COMPRESS_ABOVE CACHE_ENCRYPTION_KEYS CACHE_BREAKER CACHE_FLEET_STATS`.
 */
export interface ClientDefaults extends CacheDefaults {
  /**
   * The keys that encrypt the values of services with `encrypted: true`, payment and auth among them; ids and tags stay
   * readable. Values that such a service stored without keys, or by a key that is gone, are misses. As a variable:
   * `id:base64,id:base64`, of which the first encrypts.
   * @default none: nothing is encrypted
   */
  readonly encryption?: EncryptionOptions | undefined;
  /**
   * The circuit breaker, which leaves a failing store alone for a while; `false` for none.
   * @default { failures: 5, openFor: 1000 }
   */
  readonly breaker?: BreakerOptions | false | undefined;
  /** Adds counts to those of all processes, for `fleetStats()`: one more command every 10 seconds. @default false */
  readonly fleetStats?: boolean | undefined;
}

/** {@linkcode LoadOptions}, checked. Times are in milliseconds; `Infinity` means no expiry, or no limit. */
export interface Policy {
  readonly ttl: number;
  readonly staleFor: number;
  readonly failSafeFor: number;
  readonly jitter: number;
  readonly tags: TagSource;
  readonly softTimeout: number;
  readonly hardTimeout: number;
  readonly earlyRefresh: number;
  readonly negativeTtl: number;
  readonly lock: { readonly ttl: number; readonly wait: number } | undefined;
  /** The TTLs `"default"`, `"short"` and `"long"` of the options that are laid over it. */
  readonly classes: TtlClasses;
}

type Parsed = Omit<Policy, "classes">;

/** The default of each option, and the function that reads it. */
const POLICY: {
  readonly [N in keyof Parsed]: readonly [Parsed[N], (value: never, name: string, classes: TtlClasses) => Parsed[N]];
} = {
  ttl: [TTL_CLASSES.default ?? Number.POSITIVE_INFINITY, lasting],
  staleFor: [0, span],
  failSafeFor: [0, span],
  negativeTtl: [0, span],
  softTimeout: [Number.POSITIVE_INFINITY, limit],
  hardTimeout: [Number.POSITIVE_INFINITY, limit],
  jitter: [0, (value: number, name) => between(value, name, 1)],
  earlyRefresh: [
    0,
    (value: number | boolean, name) => between(typeof value === "boolean" ? Number(value) : value, name, 1000),
  ],
  tags: [
    [],
    (value: TagSource) => {
      if (typeof value !== "function") checkTags(value);
      return value;
    },
  ],
  lock: [
    undefined,
    (value: boolean | LoadLockOptions, name, classes) => {
      if (value === false) return undefined;
      const options = value === true ? {} : value;
      checkNames(options, ["ttl", "wait"], name, "true, false or ");
      const { ttl = "5s", wait = "30s" } = options;
      return { ttl: lasting(ttl, "lock.ttl", classes), wait: lasting(wait, "lock.wait", classes) };
    },
  ],
};

const POLICY_NAMES = Object.keys(POLICY) as (keyof Parsed)[];

/** The policy without any options. */
export const DEFAULT_POLICY: Policy = {
  ...(Object.fromEntries(POLICY_NAMES.map((name) => [name, POLICY[name][0]])) as unknown as Parsed),
  classes: TTL_CLASSES,
};

/** The options of entries, which a collection, a service or a client may set. */
export const DEFAULT_NAMES: readonly string[] = [...POLICY_NAMES, "near", "compressAbove"];

/** {@linkcode ClientDefaults} by name, the TTL aside. */
export const CLIENT_DEFAULTS: readonly string[] = [...DEFAULT_NAMES.slice(1), "encryption", "breaker", "fleetStats"];

/** The options of calls besides those of a policy. */
const OF_CALLS = ["timeout", "onError", "near", "attempts"];

/**
 * Lays options over a policy.
 *
 * @param base The policy that the options change.
 * @param options The options; names that are not a policy's are ignored.
 * @param ofCall `true` to refuse names that no call takes. @default false
 * @returns The policy.
 * @throws {TypeError | RangeError} For a bad option, by its name.
 */
export function policyOf(base: Policy, options: LoadOptions | undefined, ofCall = false): Policy {
  if (options === undefined) return base;
  let policy: Record<string, unknown> | undefined;
  for (const name in options) {
    const value = options[name as keyof LoadOptions];
    if (!Object.hasOwn(POLICY, name)) {
      if (ofCall && !OF_CALLS.includes(name)) checkNames(options, [...POLICY_NAMES, ...OF_CALLS], "a call");
    } else if (value !== undefined) {
      policy ??= { ...base };
      policy[name] = POLICY[name as keyof Parsed][1](value as never, name, base.classes);
    }
  }
  return (policy as Policy | undefined) ?? base;
}

/**
 * Checks the values of the options of entries. The caller checks their names.
 *
 * @param options The options.
 * @throws {TypeError | RangeError} For a bad option, by its name.
 */
export function checkDefaults(options: CacheDefaults): void {
  const { near, compressAbove = false } = options;
  policyOf(DEFAULT_POLICY, options);
  if (near !== undefined) checkNear(near);
  if (compressAbove !== false && !(typeof compressAbove === "number" && compressAbove >= 0)) {
    throw invalid("set compressAbove", compressAbove, "a number of characters, or false");
  }
}

function span(value: Ttl | false, name: string, classes: TtlClasses): number {
  return value === false ? 0 : lasting(value, name, classes);
}

function lasting(value: Ttl, name: string, classes: TtlClasses): number {
  return parseTtl(value, name, classes) ?? Number.POSITIVE_INFINITY;
}

function limit(value: Timeout | false, name: string): number {
  return value === false ? Number.POSITIVE_INFINITY : parseTimeout(value, name);
}

function between(value: number, name: string, most: number): number {
  if (typeof value === "number" && value >= 0 && value <= most) return value;
  throw invalid(`set ${name}`, value, `a number from 0 to ${most}`);
}

/** Throws for bad options of a near cache. */
function checkNear(options: unknown): void {
  if (typeof options === "boolean") return;
  checkNames(options, ["maxEntries", "maxBytes", "ttl", "clone"], "near", "true, false or ");
  const { ttl, clone = false } = options as NearOptions;
  if (ttl !== undefined) parseTtl(ttl, "near.ttl");
  for (const name of ["maxEntries", "maxBytes"] as const) {
    checkWhole((options as NearOptions)[name] ?? 1, `near.${name}`, 1);
  }
  if (typeof clone !== "boolean") throw invalid("set near.clone", clone, "true or false");
}
