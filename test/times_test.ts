/** Every option, variable and flag that takes a time takes a string with a unit. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { Command } from "commander";
import { cluster } from "../drivers/cluster.ts";
import { memory } from "../drivers/memory.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { sentinel } from "../drivers/sentinel.ts";
import { type ClientOptions, collection, createCacheClient, defineService, withOptions } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { addTimeoutFlag, seconds } from "../src/cli/flags.ts";
import { parseConfig } from "../src/config/parse_config.ts";
import { SETTINGS, TTL_SETTINGS } from "../src/config/settings.ts";
import { createCacheClient as createCoreClient } from "../src/core.ts";
import { dashboard } from "../src/dashboard/dashboard.ts";
import { finish, inspect, warm } from "../src/manager/mod.ts";
import { type AlertRule, type MonitorOptions, monitor } from "../src/monitor/mod.ts";
import { SERVICE_VARIABLES } from "../src/services/all.ts";
import { product } from "../src/services/product.ts";
import { Breaker } from "../src/wire/breaker.ts";

/** A time as a string; the types of the options differ in the names that they take besides. */
// biome-ignore lint/suspicious/noExplicitAny: bad times have other types
type Time = any;
type Take = (time: Time) => unknown;

const open = (options: ClientOptions = {}) => createCacheClient({ env: {}, driver: "memory", ...options });
const watch = (options: MonitorOptions) => monitor(open(), { clock: () => 0, ...options }).close();
const rule: AlertRule = { name: "slow", metric: "latency_p99", above: 50 };
const nodes = ["127.0.0.1:1"];
const token = "a-long-enough-token-1234";

/** The options whose types are times, by the file and the name of their declaration. */
const OPTIONS: Readonly<Record<string, Readonly<Record<string, Take>>>> = {
  "src/config/options.ts timeout": { client: (timeout) => open({ timeout }) },
  "src/config/options.ts ttl": { client: (ttl) => open({ ttl }) },
  "src/core.ts timeout": { client: (timeout) => createCoreClient({ driver: memory(), timeout }) },
  "src/core.ts ttl": { client: (ttl) => createCoreClient({ driver: memory(), ttl }) },
  "src/config/policy.ts ttl": {
    near: (ttl) => open({ near: { ttl } }),
    call: (ttl) => open().cache().set("k", 1, { ttl }),
    lock: (ttl) => open({ lock: { ttl } }),
  },
  "src/config/policy.ts wait": { lock: (wait) => open({ lock: { wait } }) },
  "src/config/policy.ts staleFor": { client: (staleFor) => open({ staleFor }) },
  "src/config/policy.ts failSafeFor": { client: (failSafeFor) => open({ failSafeFor }) },
  "src/config/policy.ts negativeTtl": { client: (negativeTtl) => open({ negativeTtl }) },
  "src/config/policy.ts softTimeout": { client: (softTimeout) => open({ softTimeout }) },
  "src/config/policy.ts hardTimeout": { client: (hardTimeout) => open({ hardTimeout }) },
  "src/wire/breaker.ts openFor": {
    breaker: (openFor) => new Breaker({ openFor }, Date.now, () => {}),
    client: (openFor) => open({ breaker: { openFor } }),
  },
  "src/wire/breaker.ts maxOpenFor": {
    breaker: (maxOpenFor) => new Breaker({ openFor: "1ms", maxOpenFor }, Date.now, () => {}),
    client: (maxOpenFor) => open({ breaker: { openFor: "1ms", maxOpenFor } }),
  },
  "src/services/service.ts ttl": {
    collection: (ttl) => collection({ key: "a:{id}", ttl }),
    service: (ttl) => defineService({ name: "menu", collections: { dishes: { key: "a:{id}", ttl } } }),
    withOptions: (ttl) => withOptions(product, { collections: { products: { ttl } } }),
  },
  "src/cache/call.ts timeout": {
    get: (timeout) => open().cache().get("k", { timeout }),
    invalidateTags: (timeout) => open().cache().invalidateTags("t", { timeout }),
    fleetStats: (timeout) => open().cache().fleetStats({ timeout }),
  },
  "src/cache/with_lock.ts ttl": {
    withLock: (ttl) =>
      open()
        .cache()
        .withLock("k", () => 1, { ttl }),
  },
  "src/cache/with_lock.ts wait": {
    withLock: (wait) =>
      open()
        .cache()
        .withLock("k", () => 1, { wait }),
  },
  "src/cache/increment_counter.ts ttl": { increment: (ttl) => open().cache().increment("n", { ttl }) },
  "src/cache/rate_limit_types.ts timeout": {
    checkRateLimit: (timeout) => open().service("auth").checkRateLimit("a", { limit: 1, window: "1m", timeout }),
  },
  "src/cache/rate_limit_types.ts rememberFor": {
    checkRateLimit: (rememberFor) =>
      open().service("auth").checkRateLimit("a", { limit: 1, window: "1m", rememberFor }),
  },
  "src/cache/rate_limit_types.ts window": {
    checkRateLimit: (window) => open().service("auth").checkRateLimit("a", { limit: 1, window }),
    incrementRateLimit: (window) => open().service("auth").incrementRateLimit("a", { window }),
  },
  "src/client/client.ts timeout": {
    connect: (timeout) => open().connect({ timeout }),
    ping: (timeout) => open().ping({ timeout }),
    health: (timeout) => open().health({ timeout }),
  },
  "src/manager/warm.ts ttl": {
    item: async (ttl) => {
      for await (const { rejects } of warm(open().cache(), [{ id: "k", value: 1, ttl }])) {
        for (const { error } of rejects) throw error;
      }
    },
  },
  "src/manager/warm.ts timeout": {
    warm: (timeout) => finish(warm(open().cache(), [{ id: "k", value: 1 }], { timeout })),
  },
  "src/manager/target.ts timeout": { inspect: (timeout) => inspect(open(), { timeout }) },
  "src/monitor/monitor.ts interval": { monitor: (interval) => watch({ interval }) },
  "src/monitor/monitor.ts windows": { monitor: (window) => watch({ windows: [window] }) },
  "src/monitor/monitor.ts storeInterval": { monitor: (storeInterval) => watch({ storeInterval }) },
  "src/monitor/monitor.ts timeout": { monitor: (timeout) => watch({ timeout }) },
  "src/monitor/webhook.ts timeout": { webhook: (timeout) => watch({ webhook: { url: "http://h", timeout } }) },
  "src/monitor/rules.ts over": { rule: (over) => watch({ rules: [{ ...rule, over }] }) },
  "src/monitor/rules.ts for": { rule: (hold) => watch({ rules: [{ ...rule, for: hold }] }) },
  "src/bridge/bridge.ts timeout": { bridge: (timeout) => bridge({ driver: memory(), token, timeout }) },
  "src/bridge/bridge.ts heartbeat": { bridge: (heartbeat) => bridge({ driver: memory(), token, heartbeat }) },
  "src/dashboard/dashboard.ts interval": { dashboard: (interval) => dashboard(open(), { token, interval }).close() },
  "src/dashboard/dashboard.ts timeout": { dashboard: (timeout) => dashboard(open(), { token, timeout }).close() },
  "drivers/node_redis/options.ts connectTimeout": { nodeRedis: (connectTimeout) => nodeRedis({ connectTimeout }) },
  "drivers/node_redis/options.ts pingInterval": { nodeRedis: (pingInterval) => nodeRedis({ pingInterval }) },
  "drivers/cluster/options.ts connectTimeout": { cluster: (connectTimeout) => cluster({ nodes, connectTimeout }) },
  "drivers/cluster/options.ts pingInterval": { cluster: (pingInterval) => cluster({ nodes, pingInterval }) },
  "drivers/sentinel/options.ts connectTimeout": {
    sentinel: (connectTimeout) => sentinel({ sentinels: nodes, name: "mymaster", connectTimeout }),
  },
  "drivers/sentinel/options.ts pingInterval": {
    sentinel: (pingInterval) => sentinel({ sentinels: nodes, name: "mymaster", pingInterval }),
  },
};

/** Declarations that hold what another option above gives. */
const SAME = [
  "src/cache/rate_limit_types.ts window of RateLimit",
  "src/dashboard/watcher.ts interval",
  "src/manager/inspect.ts timeout",
];

/** The variables of times. */
const VARIABLES = [
  ...Object.values(SETTINGS).map(({ variable }) => variable),
  ...Object.keys(TTL_SETTINGS),
  ...SERVICE_VARIABLES,
  "CACHE_TTL_MENU",
].filter((name) => /_TTL|_MS$|_FOR$/.test(name));

const GOOD = ["500ms", "30s", "1.5m", "2h", "20d"];
const BAD = ["soon", "-5s", "0s", "5 s", "5w", "", -1, Number.NaN, {}, true];

/** Returns the TypeScript files below a folder. */
function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : sources(path);
    return path.endsWith(".ts") ? [path] : [];
  });
}

describe("a time", () => {
  it("is in the table when an option has its type", () => {
    const declared = [...sources("src"), ...sources("drivers")].flatMap((file) => {
      const options = readFileSync(file, "utf8").matchAll(
        /readonly (\w+)\?: (?:readonly )?(?:Ttl|Timeout|Duration)(?:\[\])?(?: \| (?:false|undefined))*(?:;| })/g,
      );
      return [...options].map(([, name]) => `${file} ${name}`);
    });
    assert.deepEqual([...new Set(declared)].filter((name) => !SAME.includes(name)).sort(), Object.keys(OPTIONS).sort());
  });

  for (const [option, places] of Object.entries(OPTIONS)) {
    const [, name = ""] = option.split(" ");
    for (const [place, take] of Object.entries(places)) {
      it(`${name} of ${place} (${option.split(" ")[0]}) takes strings with a unit, and refuses others`, async () => {
        for (const good of GOOD) await assert.doesNotReject(async () => take(good), `${good}`);
        for (const bad of BAD) {
          await assert.rejects(
            async () => take(bad),
            (error: Error) => /^(Range|Type|CacheConfig)Error$/.test(error.name),
            `${JSON.stringify(bad)}`,
          );
        }
      });
    }
  }

  for (const variable of VARIABLES) {
    it(`${variable} takes strings with a unit, and refuses others`, () => {
      for (const good of GOOD) parseConfig({ [variable]: good });
      for (const bad of BAD) {
        if (typeof bad !== "string" || bad === "") continue;
        assert.throws(() => parseConfig({ [variable]: bad }), new RegExp(`${variable} is "${bad}", expected`), bad);
      }
    });
  }

  it("of --timeout is milliseconds or a string with a unit when a command takes it", () => {
    const parse = (text: string): unknown => {
      const command = addTimeoutFlag(new Command().exitOverride().configureOutput({ writeErr() {} }));
      return command.parse(["--timeout", text], { from: "user" }).opts().timeout;
    };
    assert.deepEqual(["250", "250ms", "2s", "1.5m"].map(parse), [250, 250, 2000, 90_000]);
    for (const bad of ["0", "soon", "-5s", "25d"]) assert.throws(() => parse(bad), /Expected milliseconds/);
  });

  it("of --watch and --interval is seconds or a string with a unit when a command takes it", () => {
    assert.deepEqual(["2", "0.5", "500ms", "2s", "1m"].map(seconds), [2, 0.5, 0.5, 2, 60]);
    for (const bad of ["0", "soon", "-5s", "50ms", "2d"]) assert.throws(() => seconds(bad), /Expected seconds/);
  });
});
