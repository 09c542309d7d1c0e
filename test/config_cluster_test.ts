/** The settings of clusters, of Sentinel and of shards. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cluster } from "../drivers/cluster.ts";
import type { Driver } from "../drivers/driver.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { CacheConfigError } from "../src/base/errors.ts";
import { describeStore } from "../src/cli/store.ts";
import { oddSecrets } from "../src/config/odd_secrets.ts";
import type { Config, ConfigOptions } from "../src/config/options.ts";
import { parseConfig } from "../src/config/parse_config.ts";
import { redactUrl } from "../src/config/redact_url.ts";
import { createCacheClient as createCoreClient } from "../src/core.ts";
import { createCacheClient as createEdgeClient } from "../src/edge.ts";
import { shards } from "../src/entry/shards.ts";

type Variables = Record<string, string>;

/** Returns the store of a configuration: its driver, the login of the data nodes, and its servers. */
function storeOf(config: Config): unknown {
  if (config.driver === "cluster") return ["cluster", config.redis, config.cluster];
  if (config.driver === "sentinel") return ["sentinel", config.redis, config.sentinel];
  return [config.driver];
}

/** Returns the problems of a configuration. */
function problems(record: Variables, options: ConfigOptions = {}, tcp = true): readonly string[] {
  try {
    parseConfig(record, { options, tcp });
  } catch (error) {
    assert.ok(error instanceof CacheConfigError, String(error));
    return error.problems;
  }
  return [];
}

const plain = { tls: false, poolSize: 1 };
const node = (host: string, port: number) => ({ host, port });
const A = node("a", 6379);
const S = node("s", 26379);
const login = { REDIS_USERNAME: "u", REDIS_PASSWORD: " p ", REDIS_TLS: "1", REDIS_POOL_SIZE: "2" };
const loggedIn = { username: "u", password: " p ", tls: true, poolSize: 2 };
const mapAddress = (address: { host: string; port: number }) => address;

/** Configurations: what they are, variables, options, and the store. */
const CHOICES: readonly (readonly [string, Variables, ConfigOptions, unknown])[] = [
  ["a URL of a cluster", { CACHE_URL: "redis+cluster://a,b:1" }, {}, ["cluster", plain, { nodes: [A, node("b", 1)] }]],
  ["REDIS_URL of a cluster", { REDIS_URL: "redis+cluster://a" }, {}, ["cluster", plain, { nodes: [A] }]],
  [
    "nodes, with the login of the root",
    { REDIS_CLUSTER_NODES: "a:6379, [::1]:7", ...login },
    {},
    ["cluster", loggedIn, { nodes: [A, node("::1", 7)] }],
  ],
  ["the driver alone", { CACHE_DRIVER: "cluster" }, {}, ["cluster", plain, { nodes: [node("localhost", 6379)] }]],
  [
    "the driver and a host",
    { CACHE_DRIVER: "cluster", REDIS_HOST: "a", REDIS_PORT: "7" },
    {},
    ["cluster", plain, { nodes: [node("a", 7)] }],
  ],
  [
    "the option nodes",
    { REDIS_HOST: "h", REDIS_URL: "redis://h" },
    { cluster: { nodes: ["a"] } },
    ["cluster", plain, { nodes: [A] }],
  ],
  [
    "the option mapAddress next to a URL that says the login",
    { CACHE_URL: "rediss+cluster://u:%20p%20@a", REDIS_POOL_SIZE: "2", REDIS_PASSWORD: "other" },
    { cluster: { mapAddress, shards: 4 } },
    ["cluster", loggedIn, { nodes: [A], mapAddress }],
  ],
  [
    "a URL of Sentinel",
    { CACHE_URL: "redis+sentinel://u:p@s,t:1/m/3?sentinel_username=v&sentinel_password=q&sentinel_tls=1" },
    {},
    [
      "sentinel",
      { ...plain, username: "u", password: "p" },
      { sentinels: [S, node("t", 1)], name: "m", username: "v", password: "q", tls: true },
    ],
  ],
  [
    "variables of Sentinel",
    {
      REDIS_SENTINELS: "s",
      REDIS_SENTINEL_NAME: "m",
      REDIS_SENTINEL_USERNAME: "v",
      REDIS_SENTINEL_PASSWORD: "q ",
      REDIS_SENTINEL_TLS: "0",
      ...login,
    },
    {},
    ["sentinel", loggedIn, { sentinels: [S], name: "m", username: "v", password: "q ", tls: false }],
  ],
  [
    "TLS of the sentinels as of the data nodes",
    { CACHE_URL: "rediss+sentinel://s/m" },
    {},
    ["sentinel", { ...plain, tls: true }, { sentinels: [S], name: "m", tls: true }],
  ],
  [
    "a URL of Sentinel that leaves out what variables say",
    { REDIS_URL: "redis+sentinel://s", REDIS_SENTINEL_NAME: "m", REDIS_SENTINEL_PASSWORD: "q" },
    {},
    ["sentinel", plain, { sentinels: [S], name: "m", password: "q", tls: false }],
  ],
  [
    "options of Sentinel",
    { CACHE_DRIVER: "memory", REDIS_SENTINELS: "other", REDIS_SENTINEL_NAME: "m" },
    { sentinel: { sentinels: [{ host: "s" }, { host: "t", port: 1 }], tls: true, mapAddress } },
    ["sentinel", plain, { sentinels: [S, node("t", 1)], name: "m", tls: true, mapAddress }],
  ],
  [
    "CACHE_URL over nodes",
    { CACHE_URL: "redis://h", REDIS_CLUSTER_NODES: "a", REDIS_SENTINELS: "s" },
    {},
    ["node-redis"],
  ],
  [
    "CACHE_DRIVER over nodes",
    { CACHE_DRIVER: "node-redis", REDIS_CLUSTER_NODES: "a", REDIS_HOST: "h" },
    {},
    ["node-redis"],
  ],
  ["memory over nodes", { REDIS_CLUSTER_NODES: "a" }, { driver: "memory", cluster: { nodes: "a" } }, ["memory"]],
  [
    "a host among the options over nodes",
    { REDIS_CLUSTER_NODES: "a", REDIS_SENTINELS: "s" },
    { host: "h" },
    ["node-redis"],
  ],
  [
    "options of a cluster that another store does not need",
    { REDIS_HOST: "h" },
    { cluster: { mapAddress } },
    ["node-redis"],
  ],
  ["empty variables", { REDIS_CLUSTER_NODES: "", REDIS_SENTINELS: " " }, {}, ["memory"]],
  [
    "nodes next to Upstash",
    { REDIS_CLUSTER_NODES: "a", KV_REST_API_URL: "https://h", KV_REST_API_TOKEN: "t" },
    {},
    ["cluster", plain, { nodes: [A] }],
  ],
];

/** Configurations with one problem. */
const WRONG: readonly (readonly [Variables, RegExp, ConfigOptions?])[] = [
  [{ REDIS_CLUSTER_NODES: "a:0" }, /^REDIS_CLUSTER_NODES is "a:0", expected a port from 1 to 65535$/],
  [{ REDIS_CLUSTER_NODES: "redis://u:S3cret@a" }, /^REDIS_CLUSTER_NODES is "redis:\/\/\*\*\*@a", expected servers as/],
  [{ REDIS_SENTINELS: "s,,t", REDIS_SENTINEL_NAME: "m" }, /^REDIS_SENTINELS is "s,,t", expected a server before and/],
  [
    { REDIS_SENTINELS: "s" },
    /^REDIS_SENTINEL_NAME \(option "sentinel.name"\) is not set, expected the name .* mymaster$/,
  ],
  [{ CACHE_URL: "redis+sentinel://s" }, /^REDIS_SENTINEL_NAME \(option/],
  [
    { CACHE_DRIVER: "sentinel", REDIS_SENTINEL_NAME: "m" },
    /^REDIS_SENTINELS \(option "sentinel.sentinels"\) is not set, expected host:26379,host:26379$/,
  ],
  [{ CACHE_DRIVER: "cluster", CACHE_URL: "redis://h" }, /^CACHE_URL is "redis:\/\/h", but the driver is cluster$/],
  [{ CACHE_DRIVER: "cluster", REDIS_URL: "redis://h" }, /^REDIS_URL is "redis:\/\/h", but the driver is cluster$/],
  [{ CACHE_DRIVER: "node-redis", CACHE_URL: "redis+cluster://h" }, /, but the driver is node-redis$/],
  [
    { REDIS_URL: "redis://h", REDIS_CLUSTER_NODES: "a" },
    /^REDIS_CLUSTER_NODES is set, but REDIS_URL names another store$/,
  ],
  [{ REDIS_URL: "redis+cluster://h", REDIS_HOST: "a" }, /^REDIS_HOST is set, but REDIS_URL names another store$/],
  [{ REDIS_HOST: "h", REDIS_CLUSTER_NODES: "a" }, /^REDIS_HOST is set, but REDIS_CLUSTER_NODES names another store$/],
  [
    { REDIS_SENTINELS: "s", REDIS_SENTINEL_NAME: "m", REDIS_CLUSTER_NODES: "a" },
    /^REDIS_SENTINELS is set, but REDIS_CLUSTER_NODES names another store$/,
  ],
  [
    { REDIS_URL: "redis+cluster://a", REDIS_CLUSTER_NODES: "b" },
    /^REDIS_CLUSTER_NODES is "b", but REDIS_URL says otherwise$/,
  ],
  [
    { REDIS_URL: "redis+sentinel://s/m?sentinel_password=S3cret", REDIS_SENTINEL_PASSWORD: "S3cret2" },
    /^REDIS_SENTINEL_PASSWORD is \*\*\*, but REDIS_URL says otherwise$/,
  ],
  [{ CACHE_SHARDS: "0" }, /^CACHE_SHARDS is "0", expected 1, 4, 16, 64 or 256$/],
  [{ CACHE_SHARDS: "32", REDIS_CLUSTER_NODES: "a" }, /^CACHE_SHARDS is "32", expected 1, 4, 16, 64 or 256$/],
  [
    { REDIS_SENTINEL_TLS: "yes", CACHE_URL: "redis+sentinel://s/m" },
    /^REDIS_SENTINEL_TLS is "yes", expected true, false/,
  ],
  [
    {},
    /^option "cluster" is "redis:\/\/\*\*\*@h", expected \{ nodes, shards, mapAddress \}$/,
    { cluster: "redis://u:S3cret@h" as never },
  ],
  [
    {},
    /^option "cluster" is \{ node \}, expected \{ nodes, shards, mapAddress \}$/,
    { cluster: { node: "a" } as never },
  ],
  [{}, /^option "cluster" is array, expected \{ nodes,/, { cluster: ["a"] as never }],
  [{}, /^option "cluster.mapAddress" is "a", expected a function$/, { cluster: { mapAddress: "a" as never } }],
  [{}, /^option "cluster.nodes" is array, expected a port/, { cluster: { nodes: ["a:99999"] } }],
  [{}, /^option "cluster.shards" is 2, expected 1, 4, 16, 64 or 256$/, { cluster: { shards: 2 } }],
  [{}, /^option "sentinel.name" is "", expected a name without spaces$/, { sentinel: { sentinels: "s", name: "" } }],
  [
    {},
    /^option "sentinel" is \{ masterName \}, expected \{ sentinels, name, /,
    { sentinel: { masterName: "m" } as never },
  ],
  [{}, /^option "url" is "redis\+cluster:\/\/a", but /, { url: "redis+cluster://a", driver: "sentinel" }],
  [
    {},
    /^option "cluster.nodes" is array, but option "url" says otherwise$/,
    { url: "redis+cluster://a", cluster: { nodes: ["b"] } },
  ],
];

describe("parseConfig of several servers", () => {
  for (const [what, record, options, expected] of CHOICES) {
    it(`parseConfig honours ${what}`, () => assert.deepEqual(storeOf(parseConfig(record, { options })), expected));
  }

  for (const [record, message, options] of WRONG) {
    it(`parseConfig names the problem of ${JSON.stringify(record)} with ${JSON.stringify(options ?? {})}`, () => {
      const found = problems(record, options);
      assert.match(`${found[0]}`, message);
      assert.doesNotMatch(found.join(), /S3cret/);
      assert.equal(found.filter((problem) => !/is not set/.test(problem)).length <= 1, true, found.join("\n"));
    });
  }

  it("parseConfig lists every problem at once", () => {
    const record = { REDIS_CLUSTER_NODES: "a:0", CACHE_SHARDS: "3", REDIS_SENTINEL_TLS: "on", CACHE_SHRDS: "4" };
    assert.deepEqual(
      problems(record)
        .map((problem) => problem.split(" ")[0])
        .sort(),
      ["CACHE_SHARDS", "CACHE_SHRDS", "REDIS_CLUSTER_NODES", "REDIS_SENTINEL_TLS"],
    );
  });

  it("parseConfig knows the names in files, and what was meant by those that are nearly one", () => {
    for (const [name, meant] of [
      ["CACHE_SHARD", "CACHE_SHARDS"],
      ["REDIS_CLUSTER_NODE", "REDIS_CLUSTER_NODES"],
      ["REDIS_SENTINEL", "REDIS_SENTINELS"],
      ["REDIS_SENTINELS_NAME", "REDIS_SENTINEL_NAME"],
    ] as const) {
      const inFiles = new Set([name]);
      assert.throws(() => parseConfig({ [name]: "x" }, { inFiles }), new RegExp(`the nearest is ${meant}`));
    }
    const record = { REDIS_CLUSTER_NODES: "a", CACHE_SHARDS: "16" };
    assert.equal(parseConfig(record, { inFiles: new Set(Object.keys(record)) }).shards, 16);
  });

  it("parseConfig spreads the keys of a cluster over 64 shards, and over others where that is set", () => {
    const ready = { name: "mine", capabilities: { parts: true }, send: () => [] } as unknown as Driver;
    for (const [record, options, shards] of [
      [{ REDIS_CLUSTER_NODES: "a" }, {}, 64],
      [{ REDIS_CLUSTER_NODES: "a", CACHE_SHARDS: "256" }, {}, 256],
      [{ REDIS_CLUSTER_NODES: "a", CACHE_SHARDS: "256" }, { cluster: { shards: 1 } }, 1],
      [{}, { driver: ready }, 64],
      [{ CACHE_SHARDS: "4" }, { driver: ready }, 4],
      [{}, { url: "redis://h" }, undefined],
      [{ CACHE_SHARDS: "64" }, { url: "redis://h" }, 64],
      [{}, { cluster: { shards: 16 }, driver: "memory" }, 16],
      [{ CACHE_URL: "redis+sentinel://s/m" }, {}, undefined],
    ] as [Variables, ConfigOptions, number | undefined][]) {
      const config = parseConfig(record, { options });
      assert.equal(config.shards, shards);
      assert.equal("shards" in config, shards !== undefined);
    }
  });

  it("parseConfig takes the database of the unnamed cache from the URL", () => {
    assert.equal(parseConfig({ CACHE_URL: "redis+cluster://a,b/3" }).database, 3);
    assert.equal(parseConfig({ CACHE_URL: "redis+sentinel://s/m/4" }).database, 4);
    assert.equal(parseConfig({ REDIS_CLUSTER_NODES: "a", REDIS_DB: "5" }).database, 5);
  });

  it("a client at the edge refuses clusters and Sentinel, however they are named", () => {
    for (const [driver, env] of [
      ["cluster", { CACHE_URL: "redis+cluster://a,b" }],
      ["cluster", { REDIS_CLUSTER_NODES: "a,b" }],
      ["cluster", { CACHE_DRIVER: "cluster" }],
      ["sentinel", { REDIS_URL: "rediss-sentinel://:p@s/m", REDIS_SENTINEL_NAME: "m" }],
      ["sentinel", { REDIS_SENTINELS: "s", REDIS_SENTINEL_NAME: "m" }],
    ] as const) {
      const expected = new RegExp(
        `^TypeError: Cannot open a driver: received "${driver}", expected one .*: memory, upstash$`,
      );
      assert.throws(() => createEdgeClient({ env }), expected);
    }
  });

  it("a client of the core asks for shards when its driver has several parts", async () => {
    const driver = cluster({ nodes: ["127.0.0.1:1"] });
    assert.throws(
      () => createCoreClient({ driver }),
      /driver of several parts: received undefined, expected .* shards\(64\)/,
    );
    await createCoreClient({ driver, shards: shards(4) }).close();
    await driver.close();
  });

  it("nodeRedis says which driver a URL of several servers is for", () => {
    assert.throws(
      () => nodeRedis({ url: "redis+cluster://a,b" }),
      /nodeRedis: expected redis:.*; this URL is for the driver cluster$/,
    );
  });

  it("oddSecrets names what is odd about the login of the sentinels, and describeStore shows none of it", () => {
    const config = parseConfig({ CACHE_URL: "redis+sentinel://u:%22p%22@s,[::1]:7/m%C3%BC?sentinel_password=q%0A" });
    assert.deepEqual(oddSecrets(config), [
      "the password stands in quotes",
      "the password of the sentinels ends in a line break",
    ]);
    assert.equal(describeStore(config), "redis+sentinel://s:26379,[::1]:7/m%C3%BC");
    assert.equal(
      describeStore(parseConfig({ CACHE_URL: "rediss+cluster://u:p@a,b:1/3" })),
      "rediss+cluster://a:6379,b:1",
    );
  });

  it("redactUrl shows the servers of a list, and nothing else", () => {
    for (const [url, shown] of [
      ["redis+cluster://u:p@a:1,[::1]:2,c/3", "redis+cluster://***@a:1,[::1]:2,c/3"],
      ["redis+sentinel://a,b/mymaster?sentinel_password=p", "redis+sentinel://a,b/mymaster?***"],
      ["redis+cluster://a,b:p", "redis+cluster://***"],
    ] as const) {
      assert.equal(redactUrl(url), shown);
    }
  });
});
