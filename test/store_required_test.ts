/** A configuration without a store or keys that were probably meant is logged, or refused. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { type ClientOptions, createCacheClient, type Driver, defineService, withOptions } from "../mod.ts";
import { CacheConfigError } from "../src/base/errors.ts";
import { parseConfig } from "../src/config/parse_config.ts";
import { createCacheClient as createCoreClient } from "../src/core.ts";
import { sealing } from "../src/entry/seal.ts";
import { auth } from "../src/services/auth.ts";

const KEY = btoa("0123456789abcdef");
const vault = defineService({ name: "vault", database: 9, encrypted: true, collections: {} });

/** The embedded store under the name of another. */
const remote = (): Driver => ({ ...memory(), name: "remote" });

function logged() {
  const lines: string[] = [];
  return { lines, logger: { warn: (_: object, message: string) => void lines.push(message) } };
}

describe("requireStore", () => {
  const missing = (error: unknown): true => {
    assert.ok(error instanceof CacheConfigError);
    assert.match(error.problems.join(), /but no store is named, expected CACHE_URL, REDIS_URL, .* or CACHE_DRIVER$/);
    return true;
  };

  it("makes a missing store an error, by option and by variable, besides every other problem", () => {
    assert.throws(() => createCacheClient({ env: {}, requireStore: true }), missing);
    assert.throws(() => createCacheClient({ env: { CACHE_REQUIRE_STORE: "1" } }), missing);
    assert.throws(
      () => parseConfig({ CACHE_REQUIRE_STORE: "true", CACHE_RETRIES: "many" }),
      (error: CacheConfigError) => error.problems.length === 2,
    );
    assert.throws(
      () => parseConfig({ CACHE_REQUIRE_STORE: "always" }),
      /CACHE_REQUIRE_STORE is "always", expected true/,
    );
  });

  it("lets pass every store that is named, the memory too", () => {
    const named: [ClientOptions, Record<string, string>][] = [
      [{ driver: memory() }, {}],
      [{ driver: "memory" }, {}],
      [{ url: "memory:" }, {}],
      [{ host: "h" }, {}],
      [{}, { CACHE_DRIVER: "memory" }],
      [{}, { CACHE_URL: "redis://h" }],
      [{}, { REDIS_URL: "redis://h" }],
      [{}, { REDIS_HOST: "h" }],
      [{}, { KV_REST_API_URL: "https://h", KV_REST_API_TOKEN: "t" }],
    ];
    for (const [options, env] of named) {
      createCacheClient({ ...options, env: { ...env, CACHE_REQUIRE_STORE: "true" } });
    }
    assert.equal(parseConfig({ REDIS_PORT: "6379" }).named, false);
    assert.equal(parseConfig({ CACHE_DRIVER: "memory" }).named, true);
  });
});

describe("createCacheClient over memory", () => {
  const told = (env: Record<string, string>, options: ClientOptions = {}): string[] => {
    const { lines, logger } = logged();
    createCacheClient({ env, logger, ...options }).service("product");
    return lines;
  };

  it("says once that no store is named when variables of a store are set or empty", () => {
    assert.deepEqual(told({ UPSTASH_REDIS_REST_TOKEN: "S3cret" }), [
      "no store is named (UPSTASH_REDIS_REST_TOKEN is set, but no address): each process caches in its own memory. " +
        "If this is intended, set CACHE_DRIVER=memory",
    ]);
    assert.match(told({ CACHE_URL: "" }).join(), /^no store is named \(CACHE_URL is empty\): /);
    assert.match(told({ REDIS_HOST: " " }).join(), /^no store is named \(REDIS_HOST is empty\): /);
    assert.match(told({ REDIS_PASSWORD: "S3cret" }).join(), /\(REDIS_PASSWORD is set, but no address\)/);
  });

  it("says nothing when the memory is meant, and of variables that other programs set", () => {
    assert.deepEqual(told({}), []);
    assert.deepEqual(told({ CACHE_DRIVER: "memory", CACHE_URL: "" }), []);
    assert.deepEqual(told({ REDIS_PASSWORD: "S3cret" }, { driver: "memory" }), []);
    assert.deepEqual(told({ REDIS_PASSWORD: "S3cret", CACHE_URL: "memory:" }), []);
    assert.deepEqual(told({ REDIS_PORT: "tcp://10.0.0.1:6379", REDIS_PORT_6379_TCP: "tcp://10.0.0.1:6379" }), []);
  });
});

describe("encrypted services without keys", () => {
  const refusal = {
    name: "CacheConfigError",
    message: /CACHE_ENCRYPTION_KEYS \(option "encryption"\) is not set, but the service vault is encrypted/,
  };

  it("of the application's own are refused when they are asked for", () => {
    assert.throws(() => createCacheClient({ env: {}, driver: memory() }).service(vault), refusal);
    assert.throws(() => createCacheClient({ env: {}, driver: remote() }).service(vault), refusal);
    assert.throws(() => createCoreClient({ driver: memory() }).service(vault), refusal);
    createCacheClient({ env: { CACHE_ENCRYPTION_KEYS: `k1:${KEY}` }, driver: memory() }).service(vault);
    createCoreClient({ driver: memory(), sealing, encryption: { keys: { k1: KEY } } }).service(vault);
  });

  it("take the keys of their own file, and refuse an unknown name in a file", () => {
    const folder = mkdtempSync(join(tmpdir(), "larder-keys-"));
    const before = process.cwd();
    try {
      process.chdir(folder);
      writeFileSync(".env.cache.vault", `CACHE_ENCRYPTION_KEYS=k1:${KEY}\n`);
      createCacheClient({ driver: memory() }).service(vault);
      const other = defineService({ ...vault, name: "other" });
      assert.throws(() => createCacheClient({ driver: memory() }).service(other), { name: "CacheConfigError" });
      writeFileSync(".env.cache", "CACHE_DIR=/tmp\n");
      assert.throws(
        () => createCacheClient({ driver: memory() }),
        /CACHE_DIR is not a known variable, the nearest is CACHE_/,
      );
    } finally {
      process.chdir(before);
      rmSync(folder, { recursive: true });
    }
  });

  it("of Food Fast say once a client's logger that values are stored in plain text", () => {
    const { lines, logger } = logged();
    const client = createCacheClient({ env: {}, driver: remote(), logger });
    client.service("product");
    assert.deepEqual(lines, []);
    client.service("auth");
    client.service("payment");
    client.forRequest({ waitUntil() {} }).service("auth");
    assert.deepEqual(lines, [
      'values of auth and payment are stored in plain text: CACHE_ENCRYPTION_KEYS (option "encryption") is not set',
    ]);
    const core = logged();
    createCoreClient({ driver: remote(), logger: core.logger }).service(withOptions(auth, { jitter: 0.1 }));
    assert.equal(core.lines.length, 1);
  });

  it("of Food Fast say nothing with keys, and if values never leave the process", () => {
    const { lines, logger } = logged();
    createCacheClient({ env: {}, driver: remote(), logger, encryption: { keys: { k1: KEY } } }).service("auth");
    createCacheClient({ env: {}, driver: memory(), logger }).service("auth");
    createCacheClient({ env: {}, logger }).service("payment");
    assert.deepEqual(lines, []);
  });
});
