/** The owner of a variable by its name: this library, nearly this library, or another program. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createCacheClient } from "../mod.ts";
import { CacheConfigError } from "../src/base/errors.ts";
import { slips } from "../src/base/slips.ts";
import type { Config, ParseConfigOptions } from "../src/config/options.ts";
import { parseConfig as parse } from "../src/config/parse_config.ts";
import { CONFIG_VARIABLES } from "../src/config/variables.ts";
import { SERVICE_VARIABLES } from "../src/services/all.ts";

/** Parses as a client does that knows the services of Food Fast. */
function parseConfig(record: Record<string, string | undefined>, settings: ParseConfigOptions = {}): Config {
  return parse(record, { ...settings, ttlVariables: [...SERVICE_VARIABLES, ...(settings.ttlVariables ?? [])] });
}

/** The problems of a configuration. */
function problems(record: Record<string, string>, settings: ParseConfigOptions = {}): readonly string[] {
  try {
    parseConfig(record, settings);
  } catch (error) {
    assert.ok(error instanceof CacheConfigError, String(error));
    return error.problems;
  }
  return [];
}

/** The names of variables of other programs, by program. */
const OTHERS: Readonly<Record<string, string>> = {
  "Kubernetes, of a service cache":
    "CACHE_SERVICE_HOST CACHE_SERVICE_PORT CACHE_SERVICE_PORT_REDIS CACHE_PORT CACHE_PORT_6379_TCP " +
    "CACHE_PORT_6379_TCP_PROTO CACHE_PORT_6379_TCP_PORT CACHE_PORT_6379_TCP_ADDR",
  "Kubernetes, of services cache-redis-master, cache-url, cache-ttl and cache-ttl-short":
    "CACHE_REDIS_MASTER_SERVICE_HOST CACHE_REDIS_MASTER_PORT_6379_TCP CACHE_URL_SERVICE_HOST CACHE_URL_PORT " +
    "CACHE_TTL_SERVICE_HOST CACHE_TTL_SERVICE_PORT_HTTP CACHE_TTL_PORT CACHE_TTL_PORT_80_TCP_ADDR " +
    "CACHE_TTL_SHORT_PORT CACHE_TTL_SHORT_SERVICE_PORT",
  "Docker's links": "CACHE_NAME CACHE_ENV_REDIS_VERSION CACHE_PORT_53_UDP_ADDR",
  "GitLab's runner": "CACHE_FALLBACK_KEY CACHE_COMPRESSION_LEVEL CACHE_COMPRESSION_FORMAT CACHE_REQUEST_TIMEOUT",
  "other CI and builds":
    "CACHE_KEY CACHE_HIT CACHE_FROM CACHE_TO CACHE_IMAGE CACHE_REPO CACHE_BUCKET CACHE_TAG CACHE_FOLDER",
  Directus:
    "CACHE_ENABLED CACHE_STORE CACHE_TTL CACHE_NAMESPACE CACHE_AUTO_PURGE CACHE_CONTROL_S_MAXAGE CACHE_SYSTEM_TTL " +
    "CACHE_STATUS_HEADER CACHE_VALUE_MAX_SIZE CACHE_SKIP_ALLOWED CACHE_SCHEMA",
  "Flask-Caching":
    "CACHE_TYPE CACHE_DEFAULT_TIMEOUT CACHE_KEY_PREFIX CACHE_THRESHOLD CACHE_DIR CACHE_OPTIONS CACHE_ARGS " +
    "CACHE_NO_NULL_WARNING CACHE_REDIS_URL CACHE_REDIS_HOST CACHE_REDIS_DB CACHE_REDIS_PASSWORD",
  various:
    "CACHE_VERSION CACHE_MAX_AGE CACHE_MAX_SIZE CACHE_SIZE CACHE_PATH CACHE_HOST CACHE_HOME CACHE_ROOT CACHE_MODE " +
    "CACHE_DEBUG CACHE_LIFETIME CACHE_EXPIRATION CACHE_DURATION CACHE_TIME CACHE_CONTROL CACHE_BUSTER " +
    "CACHE_SECRET CACHE_BACKEND CACHE_USER CACHE_PASSWORD CACHE_DB CACHE_TLS CACHE_LOG CACHE_LEVEL " +
    "CACHE_DEFAULT_TTL CACHE_ENDPOINT CACHE_DISABLED CACHE_PROVIDER CACHE_STRATEGY CACHE_REFRESH CACHE_CLEAR",
};

const SLIPS: readonly (readonly [string, string])[] = [
  ["CACHE_DRVER", "CACHE_DRIVER"],
  ["CACHE_DIRVER", "CACHE_DRIVER"],
  ["CACHE_DRIVERS", "CACHE_DRIVER"],
  ["CACHE_URI", "CACHE_URL"],
  ["CACHE_PREFX", "CACHE_PREFIX"],
  ["CACHE_TIMEOUT", "CACHE_TIMEOUT_MS"],
  ["CACHE_TIMOUT_MS", "CACHE_TIMEOUT_MS"],
  ["CACHE_STALEFOR", "CACHE_STALE_FOR"],
  ["CACHE_FAILSAFE_FOR", "CACHE_FAIL_SAFE_FOR"],
  ["CACHE_MAXENTRIES", "CACHE_MAX_ENTRIES"],
  ["CACHE_MAX_ENTIRES", "CACHE_MAX_ENTRIES"],
  ["CACHE_DATABASE", "CACHE_DATABASES"],
  ["CACHE_ONERROR", "CACHE_ON_ERROR"],
  ["CACHE_HARD_TIMEOUT", "CACHE_HARD_TIMEOUT_MS"],
  ["CACHE_ENCRYPTION_KEY", "CACHE_ENCRYPTION_KEYS"],
  ["CACHE_TTL_DEFUALT", "CACHE_TTL_DEFAULT"],
  ["CACHE_TTL_PRODUCT", "CACHE_TTL_PRODUCTS"],
];

describe("names of variables", () => {
  for (const [whose, names] of Object.entries(OTHERS)) {
    it(`parseConfig passes over those of ${whose} in the environment, and no other in its own files`, () => {
      const record = Object.fromEntries(names.split(" ").map((name) => [name, "tcp://10.0.0.1:6379"]));
      assert.deepEqual(problems(record), []);
      const config = createCacheClient({ env: { ...record, REDIS_URL: "redis://10.0.0.1:6379" } });
      assert.equal(config.driver, "node-redis");
      for (const name of names.split(" ")) {
        const [problem = "", ...more] = problems({ [name]: "x" }, { inFiles: new Set([name]) });
        assert.deepEqual(more, []);
        const ttl = name.startsWith("CACHE_TTL_") ? problem === "" || /expected seconds/.test(problem) : false;
        assert.ok(ttl || problem.startsWith(`${name} is not a known variable, the nearest is `), `${name}: ${problem}`);
      }
    });
  }

  it("parseConfig names the intended variable when a name is nearly one, in the environment and in files", () => {
    for (const [name, meant] of SLIPS) {
      const said = [`${name} is not a known variable, the nearest is ${meant}`];
      assert.deepEqual(problems({ [name]: "S3cret" }), said);
      assert.deepEqual(problems({ [name]: "S3cret" }, { inFiles: new Set([name]) }), said);
      assert.deepEqual(problems({ [name]: "" }), []);
    }
  });

  it("parseConfig passes over slips of a service's own variable when it is declared", () => {
    assert.deepEqual(problems({ CACHE_DRIVERS: "5m" }, { ttlVariables: ["CACHE_DRIVERS"] }), []);
  });

  it("parseConfig knows slips of names that others share in its own files alone", () => {
    for (const [name, meant] of [
      ["REDIS_PASWORD", "REDIS_PASSWORD"],
      ["REDIS_HOSTS", "REDIS_HOST"],
      ["UPSTASH_REDIS_REST_TOKN", "UPSTASH_REDIS_REST_TOKEN"],
    ] as const) {
      assert.deepEqual(problems({ [name]: "S3cret" }), []);
      assert.deepEqual(problems({ [name]: "S3cret" }, { inFiles: new Set([name]) }), [
        `${name} is not a known variable, the nearest is ${meant}`,
      ]);
    }
    assert.deepEqual(problems({ LOYALTY_TTL: "5m", PORT: "80" }, { inFiles: new Set(["LOYALTY_TTL", "PORT"]) }), []);
  });

  it("parseConfig takes the port of what Kubernetes sets for a service redis", () => {
    const config = parseConfig({
      REDIS_HOST: "redis",
      REDIS_PORT: "tcp://10.0.0.1:6390",
      REDIS_SERVICE_HOST: "10.0.0.1",
      REDIS_PORT_6390_TCP: "tcp://10.0.0.1:6390",
    });
    assert.equal(config.driver === "node-redis" && config.redis.port, 6390);
  });

  it("parseConfig lists slips with every other problem at once", () => {
    const found = problems({ CACHE_DRVER: "x", CACHE_RETRIES: "many", CACHE_DIR: "/tmp", CACHE_URL: "nonsense" });
    assert.deepEqual(found.map((problem) => problem.split(" ")[0]).sort(), [
      "CACHE_DRVER",
      "CACHE_RETRIES",
      "CACHE_URL",
    ]);
  });

  it("parseConfig refuses a known name with a letter left out, and no known name", () => {
    const name = fc.constantFrom(...CONFIG_VARIABLES.filter((each) => /^CACHE_(?!TTL_)/.test(each)));
    fc.assert(
      fc.property(name, fc.nat(30), (known, at) => {
        const own = known.slice("CACHE_".length);
        const slip = `CACHE_${own.slice(0, at % own.length)}${own.slice((at % own.length) + 1)}`;
        assert.ok(!problems({ [known]: "x" }).some((problem) => problem.includes("not a known")));
        if (!CONFIG_VARIABLES.includes(slip))
          assert.match(problems({ [slip]: "x" })[0] ?? "", /is not a known variable/);
      }),
      { numRuns: 300 },
    );
  });
});

describe("slips", () => {
  it("slips counts letters put in, left out, changed and swapped", () => {
    for (const [a, b, far] of [
      ["abc", "abc", 0],
      ["abc", "abcd", 1],
      ["abc", "ac", 1],
      ["abc", "axc", 1],
      ["abc", "acb", 1],
      ["abc", "cab", 2],
      ["", "abc", 3],
    ] as const) {
      assert.equal(slips(a, b), far, `${a} ${b}`);
      assert.equal(slips(b, a), far, `${b} ${a}`);
    }
  });
});
