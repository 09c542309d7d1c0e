import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Driver } from "../drivers/driver.ts";
import { CacheConfigError } from "../src/base/errors.ts";
import type { Config, ConfigOptions, ParseConfigOptions } from "../src/config/options.ts";
import { parseConfig as parse } from "../src/config/parse_config.ts";
import { redactUrl } from "../src/config/redact_url.ts";
import { SERVICE_VARIABLES } from "../src/services/all.ts";

type Record_ = Record<string, string | undefined>;

/** Parses as a client does that knows the services of Food Fast. */
function parseConfig(record: Record<string, string | undefined>, settings: ParseConfigOptions = {}): Config {
  return parse(record, { ...settings, ttlVariables: [...SERVICE_VARIABLES, ...(settings.ttlVariables ?? [])] });
}

/** Returns the problems of a configuration; fails if it has none. */
function problems(record: Record_, settings: ParseConfigOptions = {}): readonly string[] {
  try {
    parseConfig(record, settings);
  } catch (error) {
    assert(error instanceof CacheConfigError, String(error));
    for (const problem of error.problems) assert(error.message.includes(problem));
    return error.problems;
  }
  return assert.fail("no problem was found");
}

/** Returns the part of a configuration that its driver needs. */
function wire(config: Config): unknown {
  if (config.driver === "memory") return config.memory;
  return config.driver === "upstash" ? config.upstash : config.redis;
}

const local = { host: "localhost", port: 6379, tls: false, poolSize: 1 };
const rest = { UPSTASH_REDIS_REST_URL: "https://eu1.upstash.io", UPSTASH_REDIS_REST_TOKEN: "AXtoken" };
const kv = { KV_REST_API_URL: "https://kv.upstash.io", KV_REST_API_TOKEN: "KVtoken" };
const ready: Driver = {
  name: "mine",
  capabilities: { numbered: true, scripts: true, ordered: true },
  send: () => Promise.resolve([]),
  close: () => Promise.resolve(),
};

/** Keys of 32 and 16 bytes. */
const KEYS = {
  k1: "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
  k2: "-_-_AAECAwQFBgcICQoLDA",
};

describe("parseConfig", () => {
  it("parseConfig answers the memory driver and the defaults when nothing is set", () => {
    const { ttls, ...config } = parseConfig({});
    assert.equal(config.driver, "memory");
    assert.deepEqual(wire(config as Config), {});
    assert.deepEqual(config.ttl, { default: 3_600_000, short: 300_000, long: 7_200_000 });
    assert.deepEqual(Object.fromEntries(ttls), {
      CACHE_TTL_DEFAULT: 3_600_000,
      CACHE_TTL_SHORT: 300_000,
      CACHE_TTL_LONG: 7_200_000,
    });
    const { prefix, databases, database, timeout, retries, onError, allowSharedDatabases } = config;
    assert.deepEqual(
      { prefix, databases, database, timeout, retries, onError, allowSharedDatabases },
      {
        prefix: "",
        databases: "auto",
        database: 0,
        timeout: 500,
        retries: 2,
        onError: "miss",
        allowSharedDatabases: false,
      },
    );
  });

  it("parseConfig answers every variable when all are set", () => {
    const config = parseConfig({
      CACHE_DRIVER: "memory",
      CACHE_PREFIX: " shop ",
      CACHE_DATABASES: "prefixed",
      CACHE_TIMEOUT_MS: "250",
      CACHE_RETRIES: "0",
      CACHE_ON_ERROR: "throw",
      CACHE_ALLOW_SHARED_DATABASES: "TRUE",
      CACHE_MAX_ENTRIES: "1000",
      CACHE_MAX_BYTES: "67108864",
      REDIS_DB: "9",
    });
    assert.deepEqual(wire(config), { maxEntries: 1000, maxBytes: 67_108_864 });
    assert.equal(config.prefix, " shop ");
    assert.equal(config.databases, "prefixed");
    assert.equal(config.timeout, 250);
    assert.equal(config.retries, 0);
    assert.equal(config.onError, "throw");
    assert.equal(config.allowSharedDatabases, true);
    assert.equal(config.database, 9);
  });

  const choices: [string, Record_, Config["driver"], unknown, ParseConfigOptions?][] = [
    ["an empty variable", { REDIS_URL: "", CACHE_DRIVER: "  ", CACHE_NOPE: "" }, "memory", {}],
    ["memory:", { CACHE_URL: "memory:" }, "memory", {}],
    ["memory: next to Redis", { CACHE_URL: "memory://", REDIS_URL: "redis://h" }, "memory", {}],
    ["a driver alone", { CACHE_DRIVER: "node-redis" }, "node-redis", local],
    ["redis://", { CACHE_URL: "redis://cache" }, "node-redis", { ...local, host: "cache" }],
    ["REDIS_URL", { REDIS_URL: "redis://cache:6390/" }, "node-redis", { ...local, host: "cache", port: 6390 }],
    ["spaces around", { REDIS_URL: " redis://cache\n" }, "node-redis", { ...local, host: "cache" }],
    ["IPv6", { REDIS_URL: "redis://[::1]:7000" }, "node-redis", { ...local, host: "::1", port: 7000 }],
    ["an IPv6 host", { REDIS_HOST: "fe80::1" }, "node-redis", { ...local, host: "fe80::1" }],
    [
      "rediss:// with a user",
      { CACHE_URL: "rediss://app:p%40ss%2Fword@cache:6380" },
      "node-redis",
      { ...local, host: "cache", port: 6380, tls: true, username: "app", password: "p@ss/word" },
    ],
    [
      "a password alone",
      { REDIS_URL: "redis://:secret@cache" },
      "node-redis",
      { ...local, host: "cache", password: "secret" },
    ],
    [
      "parts",
      {
        REDIS_HOST: "10.0.0.7",
        REDIS_PORT: "6400",
        REDIS_USERNAME: "app",
        REDIS_PASSWORD: " spaces ",
        REDIS_TLS: "1",
        REDIS_POOL_SIZE: "4",
      },
      "node-redis",
      { host: "10.0.0.7", port: 6400, username: "app", password: " spaces ", tls: true, poolSize: 4 },
    ],
    [
      "Kubernetes' REDIS_PORT",
      { REDIS_HOST: "redis", REDIS_PORT: "tcp://10.3.0.1:6390" },
      "node-redis",
      { ...local, host: "redis", port: 6390 },
    ],
    [
      "a Unix socket",
      { CACHE_URL: "unix:/run/my%20redis.sock" },
      "node-redis",
      { ...local, path: "/run/my redis.sock" },
    ],
    ["redis+unix", { CACHE_URL: "redis+unix:///run/r.sock" }, "node-redis", { ...local, path: "/run/r.sock" }],
    [
      "a URL that leaves out what variables say",
      { REDIS_URL: "redis://cache", REDIS_PASSWORD: "pw", REDIS_TLS: "true", REDIS_USERNAME: "u" },
      "node-redis",
      { ...local, host: "cache", username: "u", password: "pw", tls: true },
    ],
    [
      "CACHE_URL over another Redis of the application",
      {
        CACHE_URL: "redis://a:b@cache:1",
        REDIS_HOST: "other",
        REDIS_PORT: "2",
        REDIS_PASSWORD: "c",
        REDIS_USERNAME: "d",
      },
      "node-redis",
      { ...local, host: "cache", port: 1, username: "a", password: "b" },
    ],
    [
      "a URL that agrees with the variables",
      { REDIS_URL: "redis://h:1", REDIS_HOST: "h", REDIS_PORT: "1" },
      "node-redis",
      { ...local, host: "h", port: 1 },
    ],
    ["Upstash", rest, "upstash", { url: "https://eu1.upstash.io", token: "AXtoken" }],
    ["Vercel KV", kv, "upstash", { url: "https://kv.upstash.io", token: "KVtoken" }],
    ["Upstash next to Vercel KV", { ...kv, ...rest }, "upstash", { url: "https://eu1.upstash.io", token: "AXtoken" }],
    [
      "https:// with a path",
      { CACHE_URL: "http://localhost:8079/redis/", UPSTASH_REDIS_REST_TOKEN: "t" },
      "upstash",
      { url: "http://localhost:8079/redis", token: "t" },
    ],
    [
      "https:// with the token",
      { CACHE_URL: "https://default:t0ken@eu1.upstash.io" },
      "upstash",
      { url: "https://eu1.upstash.io", token: "t0ken" },
    ],
    ["Redis next to Upstash", { ...rest, REDIS_URL: "redis://h" }, "node-redis", { ...local, host: "h" }],
    [
      "Redis next to Upstash without TCP",
      { ...rest, REDIS_URL: "redis://h" },
      "upstash",
      { url: "https://eu1.upstash.io", token: "AXtoken" },
      { tcp: false },
    ],
    ["Redis alone without TCP", { REDIS_URL: "redis://h" }, "node-redis", { ...local, host: "h" }, { tcp: false }],
    [
      "a driver next to everything",
      { ...rest, REDIS_URL: "redis://h", CACHE_DRIVER: "upstash" },
      "upstash",
      { url: "https://eu1.upstash.io", token: "AXtoken" },
    ],
    ["memory next to everything", { ...rest, REDIS_URL: "not a URL", CACHE_DRIVER: "memory" }, "memory", {}],
  ];
  for (const [name, record, driver, expected, settings] of choices) {
    it(`parseConfig chooses ${driver} when given ${name}`, () => {
      const config = parseConfig(record, settings);
      assert.equal(config.driver, driver);
      assert.deepEqual(wire(config), expected);
    });
  }

  it("parseConfig takes the unnamed cache's database from the URL or from REDIS_DB when one says it", () => {
    assert.equal(parseConfig({ REDIS_URL: "redis://h/7" }).database, 7);
    assert.equal(parseConfig({ REDIS_URL: "redis://h/15", REDIS_DB: "15" }).database, 15);
    assert.equal(parseConfig({ REDIS_URL: "redis://h", REDIS_DB: "3" }).database, 3);
    assert.equal(parseConfig({ REDIS_HOST: "h", REDIS_DB: "3" }).database, 3);
    assert.equal(parseConfig({ CACHE_URL: "redis://h/0", REDIS_DB: "3" }).database, 0);
  });

  const wrong: [Record_, RegExp, ParseConfigOptions?][] = [
    [
      { CACHE_DRIVER: "redis" },
      /^CACHE_DRIVER is "redis", expected one of memory, node-redis, cluster, sentinel, upstash$/,
    ],
    [{ CACHE_URL: "localhost:6379" }, /^CACHE_URL is "\*\*\*", expected memory: redis:\/\/host:6379\/0 /],
    [{ CACHE_URL: "postgres://h" }, /^CACHE_URL is "postgres:\/\/h", expected /],
    [{ REDIS_URL: "redis://" }, /^REDIS_URL is "redis:\/\/", expected /],
    [{ REDIS_URL: "redis://h:99999" }, /^REDIS_URL is /],
    [{ REDIS_URL: "redis://h:0" }, /^REDIS_URL is "redis:\/\/h:0"/],
    [{ REDIS_URL: "redis://h/16" }, /^REDIS_URL is "redis:\/\/h\/16"/],
    [{ REDIS_URL: "redis://h/shop" }, /^REDIS_URL is /],
    [{ REDIS_URL: "redis://%ff@h" }, /^REDIS_URL is "redis:\/\/\*\*\*@h"/],
    [{ REDIS_URL: "https://h" }, /^REDIS_URL is "https:\/\/h", but the driver is node-redis$/],
    [{ CACHE_URL: "unix:" }, /^CACHE_URL is /],
    [{ CACHE_URL: "unix://host/path" }, /^CACHE_URL is /],
    [{ CACHE_DRIVER: "upstash", CACHE_URL: "redis://h" }, /^CACHE_URL is "redis:\/\/h", but the driver is upstash$/],
    [{ CACHE_DRIVER: "memory", CACHE_URL: "redis://h" }, /but the driver is memory$/],
    [
      { REDIS_HOST: "h:6379" },
      /^REDIS_HOST is "h:6379", expected a host name or an IP address; the port is a setting of its own: REDIS_PORT/,
    ],
    [{ REDIS_HOST: "redis://u:p@h" }, /^REDIS_HOST is "redis:\/\/\*\*\*@h", expected/],
    ...["0", "65536", "-1", "6379.5", "1e3", "0x10", "port", "99999999999999999999"].map((port): [Record_, RegExp] => [
      { REDIS_PORT: port },
      /^REDIS_PORT is ".*", expected a whole number from 1 to 65535$/,
    ]),
    [{ REDIS_DB: "16" }, /^REDIS_DB is "16", expected a whole number from 0 to 15$/],
    [{ REDIS_TLS: "yes" }, /^REDIS_TLS is "yes", expected true, false, 1 or 0$/],
    [{ REDIS_POOL_SIZE: "0" }, /^REDIS_POOL_SIZE is "0", expected a whole number from 1 to 100$/],
    [
      { CACHE_TIMEOUT_MS: "0" },
      /^CACHE_TIMEOUT_MS is "0", expected milliseconds up to 2147483647, or a string such as "2s"$/,
    ],
    [{ CACHE_RETRIES: "11" }, /^CACHE_RETRIES is "11", expected a whole number from 0 to 10$/],
    [{ CACHE_ON_ERROR: "ignore" }, /^CACHE_ON_ERROR is "ignore", expected one of miss, throw$/],
    [{ CACHE_DATABASES: "numberd" }, /^CACHE_DATABASES is "numberd", expected one of auto, numbered, prefixed$/],
    [{ CACHE_MAX_ENTRIES: "many" }, /^CACHE_MAX_ENTRIES is "many", expected a whole number of 1 or more$/],
    [{ CACHE_TTL_DEFAULT: "0" }, /^CACHE_TTL_DEFAULT is "0", expected seconds .*"500ms".*"forever"$/],
    [{ CACHE_TTL_LOYALTY: "5 minutes" }, /^CACHE_TTL_LOYALTY is "5 minutes", expected seconds /],
    [{ LOYALTY_TTL: "soon" }, /^LOYALTY_TTL is "soon", expected seconds /, { ttlVariables: ["LOYALTY_TTL"] }],
    [{ CACHE_TTL_PRODUTCS: "1h" }, /^CACHE_TTL_PRODUTCS is not a known variable, the nearest is CACHE_TTL_PRODUCTS$/],
    [{ CACHE_TTL_PRODUCT: "1h" }, /^CACHE_TTL_PRODUCT is not a known variable, the nearest is CACHE_TTL_PRODUCTS$/],
    [{ CACHE_PREFX: "x" }, /^CACHE_PREFX is not a known variable, the nearest is CACHE_PREFIX$/],
    [{ CACHE_TIMEOUT: "5" }, /^CACHE_TIMEOUT is not a known variable, the nearest is CACHE_TIMEOUT_MS$/],
    [
      { CACHE_DRIVER: "upstash", ...rest, UPSTASH_REDIS_REST_TOKEN: "" },
      /^UPSTASH_REDIS_REST_TOKEN \(option "token"\) is not set, expected the token of Upstash's REST API$/,
    ],
    [
      { ...rest, UPSTASH_REDIS_REST_URL: "", CACHE_DRIVER: "upstash" },
      /^UPSTASH_REDIS_REST_URL \(option "url"\) is not set, expected the url of Upstash's REST API$/,
    ],
    [{ KV_REST_API_URL: "https://h" }, /^KV_REST_API_TOKEN \(option "token"\) is not set/],
    [
      { ...rest, UPSTASH_REDIS_REST_TOKEN: "two words" },
      /^UPSTASH_REDIS_REST_TOKEN is \*\*\*, expected a token without spaces$/,
    ],
    [
      { ...rest, UPSTASH_REDIS_REST_URL: "rediss://h" },
      /^UPSTASH_REDIS_REST_URL is "rediss:\/\/h", but the driver is upstash$/,
    ],
    [{ REDIS_URL: "redis://h", REDIS_HOST: "i" }, /^REDIS_HOST is "i", but REDIS_URL says otherwise$/],
    [{ REDIS_URL: "redis://h", REDIS_PORT: "6380" }, /^REDIS_PORT is "6380", but REDIS_URL says otherwise$/],
    [{ REDIS_URL: "redis://h/0", REDIS_DB: "3" }, /^REDIS_DB is "3", but REDIS_URL says otherwise$/],
    [{ REDIS_URL: "rediss://h", REDIS_TLS: "false" }, /^REDIS_TLS is "false", but REDIS_URL says otherwise$/],
    [
      { REDIS_URL: "redis://:hidden1@h", REDIS_PASSWORD: "hidden2" },
      /^REDIS_PASSWORD is \*\*\*, but REDIS_URL says otherwise$/,
    ],
  ];
  for (const [record, message, settings] of wrong) {
    it(`parseConfig names the problem when given ${JSON.stringify(record)}`, () => {
      const found = problems(record, settings);
      assert.equal(found.length, 1, found.join("\n"));
      assert.match(String(found[0]), message);
    });
  }

  it("parseConfig lists all problems at once when there are several", () => {
    const found = problems({
      CACHE_URL: "redis//nope",
      CACHE_TIMEOUT_MS: "fast",
      CACHE_TTL_CARTS: "-5m",
      CACHE_TTL_CART: "5m",
      CACHE_DRVER: "1",
      REDIS_PORT: "70000",
      REDIS_DB: "99",
    });
    for (const name of [
      "CACHE_URL",
      "CACHE_TIMEOUT_MS",
      "CACHE_TTL_CARTS",
      "CACHE_TTL_CART",
      "CACHE_DRVER",
      "REDIS_PORT",
      "REDIS_DB",
    ]) {
      assert.equal(found.filter((problem) => problem.startsWith(`${name} is `)).length, 1, found.join("\n"));
    }
    assert.equal(found.length, 7);
  });

  it("parseConfig answers TTLs by variable when they are set", () => {
    const { ttls, ttl } = parseConfig(
      {
        CACHE_TTL_DEFAULT: "forever",
        CACHE_TTL_SHORT: "90",
        CACHE_TTL_PRODUCTS: "1.5h",
        CACHE_TTL_CARDS: "1d",
        CACHE_TTL_PRODUCT: "1s",
        LOYALTY_TTL: "500ms",
        OTHER_TTL: "whatever",
      },
      { ttlVariables: ["CACHE_TTL_PRODUCT", "LOYALTY_TTL"] },
    );
    assert.deepEqual(ttl, { default: undefined, short: 90_000, long: 7_200_000 });
    assert.deepEqual(Object.fromEntries(ttls), {
      CACHE_TTL_DEFAULT: undefined,
      CACHE_TTL_SHORT: 90_000,
      CACHE_TTL_LONG: 7_200_000,
      CACHE_TTL_PRODUCTS: 5_400_000,
      CACHE_TTL_CARDS: 86_400_000,
      CACHE_TTL_PRODUCT: 1_000,
      LOYALTY_TTL: 500,
    });
    assert(ttls.has("CACHE_TTL_DEFAULT"));
    assert(!ttls.has("CACHE_TTL_CARTS"));
  });

  it("parseConfig takes the option ttl over the variable when a service reads CACHE_TTL_DEFAULT itself", () => {
    const settings = { options: { ttl: 5 }, ttlVariables: ["CACHE_TTL_DEFAULT"] };
    assert.equal(parseConfig({ CACHE_TTL_DEFAULT: "1d" }, settings).ttls.get("CACHE_TTL_DEFAULT"), 5_000);
  });

  it("parseConfig leaves the given record and options as they were", () => {
    const record = Object.freeze({ CACHE_URL: "redis://h", REDIS_DB: "2" });
    const options = Object.freeze({ url: "https://h", token: "t", ttl: 5 as const });
    parseConfig(record, { options });
  });
});

describe("parseConfig with options", () => {
  it("parseConfig takes every option when all are given", () => {
    const config = parseConfig(
      {},
      {
        options: {
          driver: "node-redis",
          host: "h",
          port: 1,
          username: "u",
          password: "p",
          tls: true,
          pool: { size: 3 },
          prefix: "shop",
          databases: "numbered",
          database: 4,
          timeout: 20,
          onError: "throw",
          ttl: "2h",
          retries: 0,
          allowSharedDatabases: true,
        },
      },
    );
    assert.deepEqual(wire(config), { host: "h", port: 1, username: "u", password: "p", tls: true, poolSize: 3 });
    assert.equal(config.prefix, "shop");
    assert.equal(config.databases, "numbered");
    assert.equal(config.database, 4);
    assert.equal(config.timeout, 20);
    assert.equal(config.onError, "throw");
    assert.equal(config.ttl.default, 7_200_000);
    assert.equal(config.retries, 0);
    assert.equal(config.allowSharedDatabases, true);
  });

  const memoryUrl = { url: "memory:", maxEntries: 5, maxBytes: 1_000 };
  const choices: [string, Record_, ConfigOptions, Config["driver"], unknown][] = [
    ["bounds of the memory", { CACHE_MAX_ENTRIES: "9" }, memoryUrl, "memory", { maxEntries: 5, maxBytes: 1_000 }],
    [
      "a URL over every address of the environment",
      { ...rest, CACHE_DRIVER: "memory", CACHE_URL: "memory:" },
      { url: "redis://o" },
      "node-redis",
      { ...local, host: "o" },
    ],
    [
      "a URL and the environment's token",
      rest,
      { url: "https://o" },
      "upstash",
      { url: "https://o", token: "AXtoken" },
    ],
    [
      "a URL over variables",
      { REDIS_HOST: "h", REDIS_PORT: "1", REDIS_PASSWORD: "x" },
      { url: "redis://:y@o:2" },
      "node-redis",
      { ...local, host: "o", port: 2, password: "y" },
    ],
    [
      "a host over the environment's URL",
      { REDIS_URL: "redis://:pw@h:1", CACHE_URL: "memory:", ...rest },
      { host: "o" },
      "node-redis",
      { ...local, host: "o" },
    ],
    [
      "a password over the environment's URL",
      { REDIS_URL: "redis://:x@h:1" },
      { password: "y", port: 2, tls: true },
      "node-redis",
      { ...local, host: "h", port: 2, password: "y", tls: true },
    ],
    [
      "a driver over the environment's URL",
      { CACHE_URL: "redis://h", ...rest },
      { driver: "upstash" },
      "upstash",
      { url: "https://eu1.upstash.io", token: "AXtoken" },
    ],
    [
      "a driver that the environment's URL is for",
      { CACHE_URL: "redis://h", CACHE_DRIVER: "memory" },
      { driver: "node-redis" },
      "node-redis",
      { ...local, host: "h" },
    ],
    ["memory over the environment's URL", { CACHE_URL: "redis://h" }, { driver: "memory" }, "memory", {}],
    ["a token over Vercel's", kv, { token: "mine" }, "upstash", { url: "https://kv.upstash.io", token: "mine" }],
    [
      "undefined options",
      { REDIS_URL: "redis://h" },
      { url: undefined, driver: undefined, pool: undefined } as unknown as ConfigOptions,
      "node-redis",
      { ...local, host: "h" },
    ],
    [
      "a ready driver over the environment",
      { CACHE_DRIVER: "upstash", REDIS_URL: "nonsense" },
      { driver: ready },
      "memory",
      {},
    ],
  ];
  for (const [name, record, options, driver, expected] of choices) {
    it(`parseConfig takes ${name} when options say so`, () => {
      const config = parseConfig(record, { options });
      assert.equal(config.driver, driver);
      assert.deepEqual(wire(config), expected);
    });
  }

  it("parseConfig takes an empty prefix over the environment's when the option is the empty string", () => {
    assert.equal(parseConfig({ CACHE_PREFIX: "shop" }, { options: { prefix: "" } }).prefix, "");
  });

  it("parseConfig ignores problems of variables that an option replaces", () => {
    assert.equal(parseConfig({ CACHE_TIMEOUT_MS: "fast" }, { options: { timeout: 5 } }).timeout, 5);
  });

  const wrong: [unknown, RegExp][] = [
    [{ timeout: -1 }, /^option "timeout" is -1, expected milliseconds up to 2147483647, or a string such as "2s"$/],
    [{ timeout: "2 s" }, /^option "timeout" is "2 s", expected milliseconds .* "2s"$/],
    [{ timeout: 1.5 }, /^option "timeout" is 1.5, /],
    [{ timeout: Number.NaN }, /^option "timeout" is NaN, /],
    [{ retries: null }, /^option "retries" is null, /],
    [{ ttl: "5 minutes" }, /^option "ttl" is "5 minutes", expected seconds /],
    [{ ttl: 0 }, /^option "ttl" is 0, expected seconds /],
    [
      { driver: "redis" },
      /^option "driver" is "redis", expected one of memory, node-redis, cluster, sentinel, upstash$/,
    ],
    [{ driver: {} }, /^option "driver" is object, expected one of /],
    [{ url: "" }, /^option "url" is "\*\*\*", expected memory: /],
    [{ url: 5 }, /^option "url" is 5, expected memory: /],
    [{ url: "https://o" }, /^UPSTASH_REDIS_REST_TOKEN \(option "token"\) is not set/],
    [{ url: "redis://a", host: "b" }, /^option "host" is "b", but option "url" says otherwise$/],
    [{ url: "redis://a", driver: "upstash", token: "t" }, /^option "url" is "redis:\/\/a", but the driver is upstash$/],
    [{ url: "redis://a", driver: ready }, /^option "url" is "redis:\/\/a", but the driver is memory$/],
    [{ password: 12345 }, /^option "password" is \*\*\*, expected a string$/],
    [{ token: Symbol("t"), url: "https://o" }, /^option "token" is \*\*\*, expected a token without spaces$/],
    [{ tls: "on" }, /^option "tls" is "on", expected true, false, 1 or 0$/],
    [{ tls: {} }, /^option "tls" is object, expected true, false, 1 or 0$/],
    [{ pool: 1000 }, /^option "pool" is 1000, expected a whole number from 1 to 100$/],
    [{ pool: { sise: 5 } }, /^option "pool" is \{ sise \}, expected \{ size \}$/],
    [{ pool: { size: 0 } }, /^option "pool" is 0, expected a whole number from 1 to 100$/],
    [{ prefix: 5 }, /^option "prefix" is 5, expected a string$/],
    [{ databases: ["auto"] }, /^option "databases" is array, expected one of auto, numbered, prefixed$/],
    [
      { timeOut: 5 },
      /^option "timeOut" is unknown, expected one of driver, url, .*, maxBytes, .*, fleetStats, logger, clock$/,
    ],
    [{ staleFor: "5 minutes" }, /^option "staleFor" is "5 minutes", expected seconds .*, or false$/],
    [{ failSafeFor: -1 }, /^option "failSafeFor" is -1, expected seconds .*, or false$/],
    [{ negativeTtl: true }, /^option "negativeTtl" is true, expected seconds .*, or false$/],
    [
      { softTimeout: 0 },
      /^option "softTimeout" is 0, expected milliseconds up to 2147483647, or a string such as "2s", or false$/,
    ],
    [
      { hardTimeout: 2 ** 31 },
      /^option "hardTimeout" is 2147483648, expected milliseconds up to 2147483647, or .* "2s", or false$/,
    ],
    [
      { hardTimeout: true },
      /^option "hardTimeout" is true, expected milliseconds up to 2147483647, or a string such as "2s", or false$/,
    ],
    [{ jitter: true }, /^option "jitter" is true, expected a share from 0 to 1$/],
    [{ jitter: 1.1 }, /^option "jitter" is 1.1, expected a share from 0 to 1$/],
    [{ earlyRefresh: -1 }, /^option "earlyRefresh" is -1, expected true, false or a number up to 1000$/],
    [{ lock: 5 }, /^option "lock" is 5, expected true, false or \{ ttl, wait \}$/],
    [{ lock: { ttl: "soon" } }, /^option "lock" is \{ ttl \}, expected true, false or \{ ttl, wait \}$/],
    [{ near: { maxEntry: 5 } }, /^option "near" is \{ maxEntry \}, expected true, false or \{ maxEntries, /],
    [{ compressAbove: true }, /^option "compressAbove" is true, expected a number of characters, or false$/],
    [{ encryption: {} }, /^option "encryption" is \*\*\*, expected keys of 16 or 32 bytes in base64, /],
    [
      { encryption: { keys: { k1: KEYS.k1 }, current: "k2" } },
      /^option "encryption" is \*\*\*, expected keys of 16 or /,
    ],
    [{ breaker: true }, /^option "breaker" is true, expected false or \{ failures, openFor, maxOpenFor \}$/],
    [{ breaker: { failures: 0 } }, /^option "breaker" is \{ failures \}, expected false or \{ failures, /],
    [{ fleetStats: "yes" }, /^option "fleetStats" is "yes", expected true or false$/],
    [{ tags: ["t"] }, /^option "tags" is unknown, expected one of driver, /],
    [{ constructor: 5 }, /^option "constructor" is unknown, expected one of driver, /],
    [{ CACHE_TTL_SHORT: 5 }, /^option "CACHE_TTL_SHORT" is unknown, expected one of driver, /],
  ];
  for (const [options, message] of wrong) {
    it(`parseConfig names the option when given ${message.source.slice(0, 40)}`, () => {
      const found = problems({}, { options: options as ConfigOptions, otherOptions: ["logger", "clock"] });
      assert.equal(found.length, 1, found.join("\n"));
      assert.match(String(found[0]), message);
    });
  }

  it("parseConfig passes over options that are not configuration when they are announced", () => {
    const options = { logger: console, timeout: 7 } as ConfigOptions;
    assert.equal(parseConfig({}, { options, otherOptions: ["logger"] }).timeout, 7);
  });
});

describe("parseConfig with defaults of entries and of the store", () => {
  const taken: [string, string, Config["defaults"]][] = [
    ["CACHE_STALE_FOR", "5m", { staleFor: "5m" }],
    ["CACHE_STALE_FOR", "90", { staleFor: 90 }],
    ["CACHE_STALE_FOR", "off", { staleFor: false }],
    ["CACHE_FAIL_SAFE_FOR", "1d", { failSafeFor: "1d" }],
    ["CACHE_FAIL_SAFE_FOR", "forever", { failSafeFor: "forever" }],
    ["CACHE_FAIL_SAFE_FOR", "0", { failSafeFor: false }],
    ["CACHE_NEGATIVE_TTL", "1.5m", { negativeTtl: "1.5m" }],
    ["CACHE_NEGATIVE_TTL", "false", { negativeTtl: false }],
    ["CACHE_SOFT_TIMEOUT_MS", "150", { softTimeout: 150 }],
    ["CACHE_SOFT_TIMEOUT_MS", "false", { softTimeout: false }],
    ["CACHE_HARD_TIMEOUT_MS", " 2000 ", { hardTimeout: 2000 }],
    ["CACHE_HARD_TIMEOUT_MS", "OFF", { hardTimeout: false }],
    ["CACHE_JITTER", "0.1", { jitter: 0.1 }],
    ["CACHE_JITTER", "0", { jitter: 0 }],
    ["CACHE_JITTER", "1", { jitter: 1 }],
    ["CACHE_EARLY_REFRESH", "true", { earlyRefresh: true }],
    ["CACHE_SOFT_TIMEOUT_MS", "150ms", { softTimeout: "150ms" }],
    ["CACHE_HARD_TIMEOUT_MS", "2s", { hardTimeout: "2s" }],
    ["CACHE_EARLY_REFRESH", "1.5", { earlyRefresh: 1.5 }],
    ["CACHE_EARLY_REFRESH", "false", { earlyRefresh: false }],
    ["CACHE_LOCK", "True", { lock: true }],
    ["CACHE_LOCK", "1", { lock: true }],
    ["CACHE_LOCK", "off", { lock: false }],
    ["CACHE_NEAR", "on", { near: true }],
    ["CACHE_NEAR", "1", { near: true }],
    ["CACHE_NEAR", "false", { near: false }],
    ["CACHE_COMPRESS_ABOVE", "4096", { compressAbove: 4096 }],
    ["CACHE_COMPRESS_ABOVE", "false", { compressAbove: false }],
    ["CACHE_ENCRYPTION_KEYS", `k1:${KEYS.k1}`, { encryption: { keys: { k1: KEYS.k1 }, current: "k1" } }],
    ["CACHE_ENCRYPTION_KEYS", `k2:${KEYS.k2},k1:${KEYS.k1}`, { encryption: { keys: KEYS, current: "k2" } }],
    // Whole numbers are sorted in objects: what is current is said.
    [
      "CACHE_ENCRYPTION_KEYS",
      ` 10:${KEYS.k1} , 9:${KEYS.k2} `,
      { encryption: { keys: { 9: KEYS.k2, 10: KEYS.k1 }, current: "10" } },
    ],
    ["CACHE_BREAKER", "off", { breaker: false }],
    ["CACHE_FLEET_STATS", "true", { fleetStats: true }],
    ["CACHE_FLEET_STATS", "1", { fleetStats: true }],
    ["CACHE_FLEET_STATS", "false", { fleetStats: false }],
  ];
  for (const [name, value, expected] of taken) {
    const shown = name === "CACHE_ENCRYPTION_KEYS" ? value.split(/:[^,]*/).join(" ") : value;
    it(`parseConfig takes ${name} when it is ${shown}`, () => {
      assert.deepEqual(parseConfig({ [name]: value }).defaults, expected);
    });
  }

  const spans = /expected seconds as a number, a string such as .*, or "forever", or false$/;
  const limits = /expected milliseconds up to 2147483647, or a string such as "2s", or false$/;
  const keys =
    /^CACHE_ENCRYPTION_KEYS is \*\*\*, expected keys of 16 or 32 bytes in base64, as id:key,.* or \{ keys, current \}$/;
  const refused: [string, readonly string[], RegExp][] = [
    ["CACHE_STALE_FOR", ["soon", "5 minutes", "-1", "1e3", "true"], spans],
    ["CACHE_FAIL_SAFE_FOR", ["-5m", "0s", "never", "101000d"], spans],
    ["CACHE_NEGATIVE_TTL", ["none", "1w", "NaN"], spans],
    ["CACHE_SOFT_TIMEOUT_MS", ["25d", "2147483648", "-1", "true", "forever"], limits],
    ["CACHE_HARD_TIMEOUT_MS", ["2 s", "Infinity"], limits],
    ["CACHE_JITTER", ["1.01", "-0.1", "10%", "much", "true"], /expected a share from 0 to 1$/],
    ["CACHE_EARLY_REFRESH", ["1001", "-1", "early"], /expected true, false or a number up to 1000$/],
    ["CACHE_LOCK", ["5s", "yes"], /expected true, false or \{ ttl, wait \}$/],
    ["CACHE_NEAR", ["10000", "yes", "{}"], /expected true, false or \{ maxEntries, maxBytes, ttl, clone \}$/],
    ["CACHE_COMPRESS_ABOVE", ["4kB", "-1", "true"], /expected a number of characters, or false$/],
    ["CACHE_BREAKER", ["true", "5", "closed"], /expected false or \{ failures, openFor, maxOpenFor \}$/],
    ["CACHE_FLEET_STATS", ["yes", "10"], /expected true or false$/],
    [
      "CACHE_ENCRYPTION_KEYS",
      [
        KEYS.k1,
        "k1:",
        "k1",
        "k1:short",
        `k1:${KEYS.k1}${KEYS.k1}`,
        `k1:${KEYS.k1},`,
        `k1:${KEYS.k1},k2:short`,
        `:${KEYS.k1}`,
        `a b:${KEYS.k1}`,
        "true",
        "false",
        "0",
      ],
      keys,
    ],
  ];
  for (const [name, values, message] of refused) {
    it(`parseConfig names ${name} and what is accepted when it is something else`, () => {
      for (const value of values) {
        const [problem = "", ...more] = problems({ [name]: value });
        assert.deepEqual(more, []);
        assert.match(problem, message);
        const shown = name === "CACHE_ENCRYPTION_KEYS" ? "***" : JSON.stringify(value);
        assert.ok(problem.startsWith(`${name} is ${shown}, `), problem);
      }
    });
  }

  it("parseConfig lists every problem of theirs at once, and takes options over variables", () => {
    const record = { CACHE_JITTER: "x", CACHE_LOCK: "x", CACHE_NEAR: "x", CACHE_STALE_FOR: "x" };
    const found = problems(record).map((problem) => problem.split(" ")[0]);
    assert.deepEqual(found.sort(), Object.keys(record).sort());
    const options: ConfigOptions = { jitter: 0.5, lock: { ttl: "1s" }, near: { clone: true }, staleFor: "1m" };
    assert.deepEqual(parseConfig(record, { options }).defaults, options);
    assert.deepEqual(parseConfig({}).defaults, {});
  });

  it("parseConfig names the nearest variable, and no value, when one of theirs is misspelt", () => {
    assert.deepEqual(problems({ CACHE_ENCRYPTION_KEY: `k1:${KEYS.k1}` }), [
      "CACHE_ENCRYPTION_KEY is not a known variable, the nearest is CACHE_ENCRYPTION_KEYS",
    ]);
    assert.deepEqual(problems({ CACHE_STALE: "5m" }), [
      "CACHE_STALE is not a known variable, the nearest is CACHE_STALE_FOR",
    ]);
  });
});

describe("secrets", () => {
  const secret = fc.stringMatching(/^[A-Za-z0-9@:/?#%&= .-]{0,12}Q5ecr3tQ[A-Za-z0-9@:/?#%&= .-]{0,12}$/);

  it("parseConfig prints no password, token or credential of a URL whatever is wrong with it", () => {
    fc.assert(
      fc.property(
        secret,
        fc.constantFrom(
          "redis://u:",
          "rediss://:",
          "https://",
          "http://u:",
          "postgres://u:",
          "redis:/u:",
          "://",
          "",
          "unix:",
          "u:",
        ),
        fc.constantFrom("@host", "@host:99999", "@host/99", "@", "@[::1", "@ho st"),
        (hidden, before, after) => {
          const url = `${before}${hidden}${after}`;
          const record = {
            CACHE_URL: url,
            CACHE_RETRIES: url,
            REDIS_HOST: url,
            REDIS_PASSWORD: hidden,
            UPSTASH_REDIS_REST_TOKEN: hidden,
            REDIS_DB: "x",
            CACHE_ENCRYPTION_KEYS: `k1:${hidden},${hidden}:${before}`,
          };
          const encryption = { keys: { k1: hidden, [hidden]: before }, current: hidden };
          for (const settings of [
            {},
            { options: { url, token: `${hidden} `, password: hidden, timeout: 0, encryption } },
          ]) {
            const found = problems(record, settings).join("\n");
            assert(!/Q5ecr3tQ/.test(found), found);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  const redacted: [string, string][] = [
    ["redis://app:secret@cache.internal:6379/0", "redis://***@cache.internal:6379/0"],
    ["redis://cache:6379", "redis://cache:6379"],
    ["rediss://:s@[::1]:6379/3", "rediss://***@[::1]:6379/3"],
    ["https://eu1.upstash.io/?_token=abc", "https://eu1.upstash.io/?***"],
    ["https://h#secret", "https://h?***"],
    ["redis://u:p@ss@host", "redis://***@host"],
    ["redis://u:p#ss@host", "redis://***"],
    ["redis://u:12#ss@host", "redis://***"],
    ["redis://:secret:host:6379", "redis://***"],
    ["secret", "***"],
    ["default:secret", "***"],
    ["", "***"],
    ["user:secret@host", "***"],
  ];
  for (const [url, expected] of redacted) {
    it(`redactUrl answers ${expected} when given ${url}`, () => assert.equal(redactUrl(url), expected));
  }
});

describe("any input", () => {
  const names = [
    "CACHE_DRIVER",
    "CACHE_URL",
    "CACHE_PREFIX",
    "CACHE_DATABASES",
    "CACHE_TIMEOUT_MS",
    "CACHE_RETRIES",
    "CACHE_ON_ERROR",
    "CACHE_ALLOW_SHARED_DATABASES",
    "CACHE_MAX_ENTRIES",
    "CACHE_MAX_BYTES",
    "CACHE_STALE_FOR",
    "CACHE_SOFT_TIMEOUT_MS",
    "CACHE_JITTER",
    "CACHE_EARLY_REFRESH",
    "CACHE_LOCK",
    "CACHE_NEAR",
    "CACHE_COMPRESS_ABOVE",
    "CACHE_ENCRYPTION_KEYS",
    "CACHE_BREAKER",
    "CACHE_FLEET_STATS",
    "CACHE_TTL_DEFAULT",
    "CACHE_TTL_X",
    "REDIS_URL",
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_USERNAME",
    "REDIS_PASSWORD",
    "REDIS_DB",
    "REDIS_TLS",
    "REDIS_POOL_SIZE",
    "UPSTASH_REDIS_REST_URL",
    "UPSTASH_REDIS_REST_TOKEN",
    "KV_REST_API_URL",
    "KV_REST_API_TOKEN",
  ];
  const value = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.webUrl(),
    fc
      .tuple(fc.constantFrom("redis://", "rediss://", "unix:", "memory:", "https://", "http://"), fc.string())
      .map((x) => x.join("")),
    fc.constantFrom("memory", "node-redis", "upstash", "1", "true", "5m", "forever", "auto", "miss"),
    fc.constant(undefined),
  );
  const record = fc.dictionary(
    fc.oneof(
      fc.constantFrom(...names),
      fc.string(),
      fc.string().map((s) => `CACHE_${s}`),
      fc.constantFrom("__proto__", "constructor"),
    ),
    value,
  );

  /** Answers a configuration that keeps its promises, or fails with a CacheConfigError. */
  function check(parse: () => Config): void {
    let config: Config;
    try {
      config = parse();
    } catch (error) {
      assert(error instanceof CacheConfigError, String(error));
      assert(error.problems.length > 0);
      return;
    }
    assert(Number.isInteger(config.database) && config.database >= 0 && config.database <= 15);
    assert(Number.isInteger(config.timeout) && config.timeout >= 1);
    for (const milliseconds of config.ttls.values()) {
      assert(milliseconds === undefined || (Number.isInteger(milliseconds) && milliseconds >= 1));
    }
    if (config.driver === "upstash") {
      assert.match(config.upstash.url, /^https?:\/\/[^@]+$/);
      assert.match(config.upstash.token, /^\S/);
    }
    if (config.driver === "node-redis") assert(config.redis.path || (config.redis.host && config.redis.port >= 1));
  }

  it("parseConfig answers a configuration or throws a CacheConfigError when given any variables", () => {
    fc.assert(
      fc.property(record, fc.boolean(), (variables, tcp) => check(() => parseConfig(variables, { tcp }))),
      { numRuns: 500 },
    );
  });

  it("parseConfig answers a configuration or throws a CacheConfigError when given any options", () => {
    const option = fc.constantFrom(
      "driver",
      "url",
      "token",
      "host",
      "port",
      "username",
      "password",
      "tls",
      "pool",
      "prefix",
      "databases",
      "database",
      "timeout",
      "onError",
      "ttl",
      "retries",
      "allowSharedDatabases",
      "maxEntries",
      "maxBytes",
      "toString",
    );
    fc.assert(
      fc.property(record, fc.dictionary(option, fc.oneof(value, fc.anything())), (variables, options) =>
        check(() => parseConfig(variables, { options: options as ConfigOptions })),
      ),
      { numRuns: 500 },
    );
  });
});

/** Calls that must not compile; never run. */
export function types(config: Config): unknown[] {
  const bad: ConfigOptions[] = [
    // @ts-expect-error no such driver
    { driver: "redis" },
    // @ts-expect-error a TTL needs a unit
    { ttl: "5 minutes" },
    // @ts-expect-error no such option
    { timeOut: 5 },
    // @ts-expect-error a pool has a size
    { pool: 5 },
  ];
  // @ts-expect-error only node-redis has redis
  return [bad, config.redis];
}
