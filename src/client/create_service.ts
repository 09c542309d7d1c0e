import { invalid } from "../base/check.ts";
import { Cache } from "../cache/cache.ts";
import type { CallOptions } from "../cache/call.ts";
import type { CacheContext, EntryRules, SharedContext } from "../cache/context.ts";
import type { Fleet } from "../cache/fleet.ts";
import { readFleet } from "../cache/read_fleet.ts";
import { readScriptOf } from "../cache/read_scripts.ts";
import type { CommonConfig } from "../config/options.ts";
import { type NearOptions, policyOf } from "../config/policy.ts";
import { sealOptions } from "../entry/codec.ts";
import { collectionKeys, type Id, type KeyShape, rawKeys } from "../entry/keyspace.ts";
import type { KeyRing } from "../entry/seal.ts";
import type { NearCache } from "../near/near_cache.ts";
import { type Collections, OF_CACHES, type ServiceCore, type ServiceDefinition } from "../services/service.ts";
import type { CacheTarget } from "../telemetry/events.ts";
import { Counters } from "../telemetry/stats.ts";

/** The parts that a client gives the caches of a service. */
export interface ServiceSetup {
  /** The context of the caches, without the parts that a collection declares. */
  readonly context: SharedContext;
  /** The service's database. */
  readonly database: number;
  /** The service's configuration: TTLs by variable, and defaults. */
  readonly config: Pick<CommonConfig, "ttls" | "defaults">;
  /** Takes the counters of the service and of each collection. */
  readonly counters: Counters[];
  /** Sends counts to the store, if all processes count together. */
  readonly fleet: Fleet | undefined;
  /** The encryption keys, if the service is encrypted. */
  readonly ring?: KeyRing | undefined;
  /** Makes the near cache of a collection; `prefix` is what its logical keys start with. */
  near(target: CacheTarget, prefix: string, options: NearOptions): NearCache;
}

/**
 * Makes a service from its declaration.
 *
 * @param definition The declaration.
 * @param setup What the client gives.
 * @returns The service.
 */
export function createService<C extends Collections, V extends object>(
  definition: ServiceDefinition<C, V>,
  setup: ServiceSetup,
): ServiceCore<C> & V {
  const { name, collections, refuse } = definition;
  const { context, database, counters, ring } = setup;
  const { ttls, defaults } = setup.config;
  // Each client for a request makes the service again, as does each evaluation of its module. All of them count
  // together.
  const counter = (collection = ""): Counters => {
    const known = counters.find((one) => one.collection === collection);
    if (known) return known;
    const made = new Counters(collection);
    counters.push(made);
    return made;
  };
  const sealing = (compressAbove?: number | false): EntryRules["sealing"] =>
    sealOptions(context.known, ring, compressAbove);
  const { near: nearHere = defaults.near, compressAbove: compressHere = defaults.compressAbove } = definition;
  const policy = policyOf(context.policy, definition);
  const contexts: CacheContext[] = [];
  const { scripts } = context;
  const make = (own: Pick<CacheContext, "target" | "shape" | "counters"> & Partial<CacheContext>): Cache<Id> => {
    const made: CacheContext = { ...context, refuse, policy, scripts: { ...scripts }, ...own };
    contexts.push(made);
    setup.fleet?.add(made);
    return new Cache(made);
  };
  const cache = make({
    target: { service: name, collection: "" },
    shape: rawKeys,
    counters: counter(),
    sealing: sealing(compressHere),
  }) as unknown as Cache;
  const core: Record<string, unknown> = {
    name,
    database,
    cache,
    stats: () => Counters.total(counters),
    fleetStats: (options?: CallOptions) => readFleet(contexts, options),
  };
  for (const verb of OF_CACHES) core[verb] = (cache[verb] as () => unknown).bind(cache);
  for (const [collection, declared] of Object.entries(collections)) {
    const { key, variable = "", schema, sliding = false, hashed, version, migrate } = declared;
    const { near = nearHere, compressAbove = compressHere } = declared;
    const target = { service: name, collection };
    let lives = policyOf(policy, declared);
    if (ttls.has(variable)) lives = { ...lives, ttl: ttls.get(variable) ?? Number.POSITIVE_INFINITY };
    const nearby =
      near && !sliding ? setup.near(target, key.slice(0, key.indexOf(":") + 1), near === true ? {} : near) : undefined;
    const slide = sliding && lives.ttl < Number.POSITIVE_INFINITY ? lives.ttl : 0;
    // Tagged and near entries need the read script instead of MGET. The first read need not find that out.
    const tagged = typeof lives.tags === "function" || lives.tags.length > 0;
    const texts = nearby ? scripts.near : tagged ? scripts.texts : undefined;
    const values = slide > 0 ? readScriptOf(slide) : texts;
    core[collection] = make({
      schema,
      sliding,
      version,
      migrate,
      target,
      shape: (declared.keys as KeyShape | undefined) ?? collectionKeys(key, hashed),
      counters: counter(collection),
      policy: lives,
      near: nearby,
      sealing: sealing(compressAbove),
      scripts: { ...scripts, values },
    });
  }
  const service = core as unknown as ServiceCore<C>;
  const verbs = definition.verbs?.(service, { timeout: context.timeout, onError: context.onError });
  for (const verb in verbs) {
    if (Object.hasOwn(collections, verb))
      throw invalid(`name a verb of ${name}`, verb, "a name that no collection has");
  }
  return Object.assign(service, verbs);
}
