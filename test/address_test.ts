import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type NodeRedisOptions, nodeRedis } from "../drivers/node_redis.ts";
import { type UpstashOptions, upstash } from "../drivers/upstash.ts";
import { createCacheClient } from "../mod.ts";
import { type Address, readAddress, readAddressAtEdge } from "../src/base/address.ts";
import { CacheConfigError } from "../src/base/errors.ts";
import { readHost, readNodes } from "../src/base/hosts.ts";
import { oddSecret, oddSecrets } from "../src/config/odd_secrets.ts";
import type { Config, ConfigOptions } from "../src/config/options.ts";
import { parseConfig } from "../src/config/parse_config.ts";
import { createCacheClient as createCoreClient } from "../src/core.ts";
import { createCacheClient as createEdgeClient } from "../src/edge.ts";

const redis = (more: Partial<Address>): Address => ({ driver: "node-redis", host: "h", port: 6379, ...more });

const SENTINELS = [{ host: "h", port: 26379 }];
const sentinel = (more: Partial<Address>): Address => ({
  driver: "sentinel",
  "sentinel.sentinels": SENTINELS,
  "sentinel.name": "mymaster",
  ...more,
});
const cluster = (nodes: [string, number][], more: Partial<Address> = {}): Address => ({
  driver: "cluster",
  "cluster.nodes": nodes.map(([host, port]) => ({ host, port })),
  ...more,
});

const HONOURED: readonly (readonly [string, Address])[] = [
  ["redis://h", redis({})],
  ["redis://h/", redis({})],
  ["REDIS://h:7/15", redis({ port: 7, database: 15 })],
  ["redis://h?db=3", redis({ database: 3 })],
  ["redis://h/3?db=3", redis({ database: 3 })],
  ["redis://h/?ssl=true", redis({ tls: true })],
  ["redis://h/2?ssl=1&db=2", redis({ tls: true, database: 2 })],
  ["redis://h?ssl=False", redis({ tls: false })],
  ["rediss://h?ssl=true", redis({ tls: true })],
  ["valkey://h/1", redis({ database: 1 })],
  ["valkeys://u:p@h:6380", redis({ port: 6380, tls: true, username: "u", password: "p" })],
  ["redis://u:p%2F%3F%23%25%40@h", redis({ username: "u", password: "p/?#%@" })],
  ["redis://:p@ss:w,rd@h", redis({ password: "p@ss:w,rd" })],
  ["redis://:m\u1eadt kh\u1ea9u@h", redis({ password: "m\u1eadt kh\u1ea9u" })],
  ["redis://[::1]:7000/2", redis({ host: "::1", port: 7000, database: 2 })],
  ["redis://b\u1ebfp.example:1", redis({ host: "xn--bp-z7s.example", port: 1 })],
  ["rediss://MÜNCHEN.example", redis({ host: "xn--mnchen-3ya.example", tls: true })],
  ["redis://xn--bp-z7s.example", redis({ host: "xn--bp-z7s.example" })],
  ["unix:/run/r.sock?db=4", { driver: "node-redis", path: "/run/r.sock", database: 4 }],
  ["unix:///run/a@b%20c.sock", { driver: "node-redis", path: "/run/a@b c.sock" }],
  ["redis+unix:/run/r.sock", { driver: "node-redis", path: "/run/r.sock" }],
  ["redis+cluster://h", cluster([["h", 6379]])],
  [
    "redis-cluster://a:7000,b:7001,c",
    cluster([
      ["a", 7000],
      ["b", 7001],
      ["c", 6379],
    ]),
  ],
  [
    "REDISS+Cluster://u:p%40%2C@A:1,b",
    cluster(
      [
        ["A", 1],
        ["b", 6379],
      ],
      { username: "u", password: "p@,", tls: true },
    ),
  ],
  [
    "valkey+cluster://:p@[::1]:7000,[fe80::2],10.0.0.7:1/3",
    cluster(
      [
        ["::1", 7000],
        ["fe80::2", 6379],
        ["10.0.0.7", 1],
      ],
      { password: "p", database: 3 },
    ),
  ],
  ["valkeys-cluster://h,h:6379,h/?db=0", cluster([["h", 6379]], { tls: true, database: 0 })],
  [
    "redis+cluster://b\u1ebfp.example,h?ssl=1",
    cluster(
      [
        ["xn--bp-z7s.example", 6379],
        ["h", 6379],
      ],
      { tls: true },
    ),
  ],
  ["redis+sentinel://h/mymaster", sentinel({})],
  ["redis-sentinel://h:26379/mymaster/", sentinel({})],
  ["rediss-sentinel://u:p@h/mymaster/5", sentinel({ username: "u", password: "p", tls: true, database: 5 })],
  ["valkey+sentinel://h/3", sentinel({ "sentinel.name": "3" })],
  ["valkeys+sentinel://h", { driver: "sentinel", "sentinel.sentinels": SENTINELS, tls: true }],
  [
    "redis+sentinel://h,[::1]:7/ch%E1%BB%A7?db=2&sentinel_username=s&sentinel_password=a+b%40%26&sentinel_tls=1",
    sentinel({
      "sentinel.sentinels": [...SENTINELS, { host: "::1", port: 7 }],
      "sentinel.name": "ch\u1ee7",
      "sentinel.username": "s",
      "sentinel.password": "a+b@&",
      "sentinel.tls": true,
      database: 2,
    }),
  ],
  ["rediss+sentinel://h/mymaster?sentinel_tls=false", sentinel({ tls: true, "sentinel.tls": false })],
  ["memory:", { driver: "memory" }],
  ["memory://", { driver: "memory" }],
  ["https://default:t@h/x/", { driver: "upstash", base: "https://h/x", token: "t" }],
  ["https://:t@h", { driver: "upstash", base: "https://h", token: "t" }],
  ["http://b\u1ebfp.example:80", { driver: "upstash", base: "http://xn--bp-z7s.example" }],
];

/** Rejected addresses, with the reason. `S3cret` stands for their secrets. */
const REFUSED: readonly (readonly [string, RegExp])[] = [
  [
    "redis://default:a/S3cret@cache.internal:6379/0",
    /^expected \/ \? # % and \\ in its user and password as %2F %3F %23 %25/,
  ],
  ["redis://default:12/S3cret@cache.internal:6379/0", /^expected \/ \? # % and/],
  ["redis://default:a%S3cret@cache.internal:6379/0", /^expected \/ \? # % and/],
  ["redis://default:a#S3cret@cache.internal:6379/0", /^expected \/ \? # % and/],
  ["redis://default:a?S3cret@cache.internal:6379/0", /^expected \/ \? # % and/],
  ["redis://%ff:S3cret@h", /^expected \/ \? # % and/],
  ["https://default:12\\S3cret@h", /^expected \/ \? # % and/],
  ['"https://S3cret.upstash.io"', /^expected no quotes around it$/],
  ["'redis://:S3cret@h'", /^expected no quotes/],
  ['redis://:S3cret@h"', /^expected no quotes/],
  ["redis://u:S3\tcret@h", /^expected no tabs and line breaks$/],
  ["cache.internal:6379", /its scheme is missing$/],
  ["name.upstash.io", /its scheme is missing$/],
  ["default:S3cret@h:6379", /its scheme is missing$/],
  ["redis:h", /its scheme is missing$/],
  ["redis+cluster:h", /its scheme is missing$/],
  ["redis+cluster://", /its host is missing$/],
  ["redis+cluster://u:S3cret@", /its host is missing$/],
  ["redis+cluster://a,,b", /^expected a server before and after each comma$/],
  ["redis+cluster://a,", /^expected a server before and after each comma$/],
  ["redis+cluster://a:1,b:0", /^expected a port from 1 to 65535$/],
  ["redis+cluster://a:1,b:S3cret", /^expected a port from 1 to 65535$/],
  ["redis+cluster://a:1,[::1", /^expected a host name/],
  ["redis+cluster://a b,c", /^expected a host name/],
  ["redis+cluster://u:S3cret@a,u:S3cret@b", /^expected user and password once, before the first server/],
  ["redis+cluster://u:S3,cret@a", /^expected user and password once, .* @ and , in them as %40 %2C$/],
  ["redis+cluster://u:S3/cret@a,b", /^expected \/ \? # % and \\ in its user and password as %2F/],
  ["redis+cluster://u:%S3cret@a,b", /^expected \/ \? # % and/],
  ["redis+cluster://a,b/16", /^expected a database from 0 to 15, as in redis\+cluster:\/\/host:6379\/0$/],
  ["redis+cluster://a,b/mymaster", /^expected a database from 0 to 15/],
  ["redis+cluster://a/1?db=2", /^expected one database/],
  ["rediss+cluster://a?ssl=0", /^expected ssl=true in its query, because rediss\+cluster:\/\/ is with TLS$/],
  ["redis+cluster://a,b?readOnly=true", /^expected no readOnly in its query, which takes db and ssl; .* of cluster$/],
  ["redis+cluster://a,b#S3cret", /^expected no fragment/],
  [
    "redis-sentinel://h?sentinelMasterId=mymaster",
    /^expected no sentinelMasterId in .*, which takes db, ssl, .* and sentinel_tls; more are options of sentinel$/,
  ],
  ["redis+sentinel://h/mymaster/shop", /database from 0 to 15, as in redis\+sentinel:\/\/host:26379\/mymaster\/0$/],
  ["redis+sentinel://h/mymaster?sentinel_tls=yes", /^expected true or false as sentinel_tls in its query$/],
  ["redis+sentinel://h/mymaster?sentinel_password=S3@cret", /^expected \/ \? .*; in its query @ too, as %40$/],
  ["redis+sentinel://h/mymaster?sentinel_password=%S3cret", /^expected % in its query as %25$/],
  ["redis://a:1,b:2/0", /^expected one host; several are for redis\+cluster:\/\/, redis\+sentinel:\/\/, REDIS_CLUSTER/],
  ["redis://:S3cret@a,b", /^expected one host; several/],
  ["h.redis.cache.windows.net:6380,password=S3cret=,ssl=True,abortConnect=False", /another client's .* rediss:\/\//],
  ["redis://h:0", /^expected a port from 1 to 65535$/],
  ["redis://h:65536", /^expected a port from 1 to 65535$/],
  ["redis://h:S3cret", /^expected a port from 1 to 65535$/],
  ["redis://[::1]:S3cret/0", /^expected a port from 1 to 65535$/],
  ["redis://", /its host is missing$/],
  ["redis://:S3cret@", /its host is missing$/],
  ["redis:///3", /its host is missing$/],
  ["redis://h/16", /^expected a database from 0 to 15, as in redis:\/\/host:6379\/0$/],
  ["redis://h/0/0", /^expected a database from 0 to 15/],
  ["redis://h/shop", /^expected a database from 0 to 15/],
  ["redis://h?db=16", /^expected a database from 0 to 15 as db in its query$/],
  ["redis://h?db=1&db=2", /^expected a database from 0 to 15 as db in its query$/],
  ["redis://h/1?db=2", /^expected one database, but its path and its query name two$/],
  ["redis://h?ssl=yes", /^expected true or false as ssl in its query$/],
  ["rediss://h?ssl=false", /^expected ssl=true in its query, because rediss:\/\/ is with TLS$/],
  ["rediss://h?rejectUnauthorized=false", /^expected no rejectUnauthorized in its query, which takes db and ssl/],
  ["redis://h?password=S3cret&timeout=5&db=1", /^expected no password, timeout in its query/],
  ["redis://h?S3cret", /^expected no such parameter in its query/],
  ["redis://h?S3cret==", /^expected no such parameter in its query/],
  ["redis://h#S3cret", /^expected no fragment/],
  ["redis://h/0#", /^expected no fragment/],
  ["unix:/run/r.sock?ssl=true", /^expected no ssl in its query, which takes db;/],
  ["unix:/run/r.sock#1", /^expected no fragment/],
  ["unix://host/path", /^expected unix:\/path; user and password are settings of their own$/],
  ["unix://u:S3cret@/path", /^expected unix:\/path/],
  ["unix:", /^expected unix:\/path/],
  ["memory://h", /^expected nothing after memory:$/],
  ["memory:?maxEntries=5", /^expected nothing after memory:$/],
  [
    "https://h?_token=S3cret",
    /^expected no _token in its query; the token is a setting of its own, UPSTASH_REDIS_REST_TOKEN$/,
  ],
  ["https://h/#S3cret", /^expected no fragment/],
  ["https://S3cret@h", /^a REST store has no users, expected https:\/\/default:token@host$/],
  ["https://app:S3cret@h", /^a REST store has no users/],
  ["postgres://u:S3cret@h", /^expected memory: redis:\/\/host:6379\/0/],
  ["redis://u:S3cret@[::1", /^expected memory:/],
  ["redis://a b", /^expected /],
  ["", /^expected memory:/],
];

describe("readAddress", () => {
  for (const [url, expected] of HONOURED) {
    it(`readAddress honours what ${url} says`, () => assert.deepEqual(readAddress(url), expected));
  }

  for (const [url, reason] of REFUSED) {
    it(`readAddress says what to do when given ${JSON.stringify(url)}`, () => {
      assert.throws(() => readAddress(url), { name: "TypeError", message: reason });
      assert.throws(
        () => readAddress(url),
        (error: Error) => !/S3cret/.test(`${error.message} ${error.stack}`),
      );
    });
  }

  for (const [url] of [...HONOURED, ...REFUSED]) {
    it(`readAddressAtEdge reads ${JSON.stringify(url)} as readAddress does, or names the driver`, () => {
      const outcome = (read: () => Address) => {
        try {
          return read();
        } catch (error) {
          return (error as Error).message;
        }
      };
      const [atEdge, everywhere] = [outcome(() => readAddressAtEdge(url)), outcome(() => readAddress(url))];
      const tcp = /^(redis|valkey|unix)/i.test(url) && typeof atEdge !== "string";
      const [, driver = "node-redis"] =
        /[+-](cluster|sentinel)/.exec((/^\w+[+-]\w+/.exec(url)?.[0] ?? "").toLowerCase()) ?? [];
      assert.deepEqual(atEdge, tcp ? { driver } : everywhere);
    });
  }

  it("a client at the edge says which drivers there are when it is given a TCP store", () => {
    const expected = /Cannot open a driver: received "node-redis", expected one .* has: memory, upstash/;
    const stores = [{ CACHE_URL: "redis://h/99" }, { REDIS_URL: "rediss://:p@h" }, { REDIS_HOST: "a,b" }];
    for (const env of stores) assert.throws(() => createEdgeClient({ env }), expected);
  });

  it("readAddress returns an address or throws for any text, and returns no host that DNS cannot know", () => {
    const part = fc.constantFrom(
      ...'redis:|rediss:|valkey:|unix:|memory:|https:|//|/|?|#|@|:|%|[|]|,|=|db=3|ssl=true|h|bếp|1|16|\\|"| '.split(
        "|",
      ),
      ..."redis+cluster:|redis-sentinel:|sentinel_password=|,".split("|"),
    );
    const text = fc.oneof(
      fc.array(part, { maxLength: 12 }).map((parts) => parts.join("")),
      fc.string({ unit: "binary" }),
    );
    fc.assert(
      fc.property(text, (url) => {
        let address: Address;
        try {
          address = readAddress(url);
        } catch (error) {
          assert.equal((error as Error).constructor.name, "Refusal", String(error));
          return;
        }
        const { driver, host, path, base, port = 1, database = 0 } = address;
        if (driver === "node-redis") assert.ok(path ?? /^[\w.:-]+$/.test(host as string), url);
        const nodes = address["cluster.nodes"] ?? address["sentinel.sentinels"] ?? [];
        for (const node of nodes) assert.ok(/^[\w.:-]+$/.test(node.host) && node.port >= 1 && node.port <= 65535, url);
        if (driver === "cluster" || driver === "sentinel") assert.ok(nodes.length > 0, url);
        if (driver === "upstash") assert.match(base as string, /^https?:\/\/[^@?#]+$/);
        assert.ok(port >= 1 && port <= 65535 && database >= 0 && database <= 15, url);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("readHost", () => {
  it("readHost answers the name that DNS knows", () => {
    for (const [given, expected] of [
      ["h", "h"],
      ["10.0.0.7", "10.0.0.7"],
      ["fe80::1", "fe80::1"],
      ["my_redis-1.svc.local", "my_redis-1.svc.local"],
      ["b\u1ebfp.example", "xn--bp-z7s.example"],
    ]) {
      assert.equal(readHost(given), expected);
    }
  });

  it("readHost says what to do when given something else than a host", () => {
    for (const [given, reason] of [
      ["h:6379", /^expected a host name .*the port is a setting of its own: REDIS_PORT/],
      ["redis://u:S3cret@h", /^expected a host name .*a URL is a setting of its own: REDIS_URL/],
      ["a,b", /^expected one host; several are for .* REDIS_CLUSTER_NODES or REDIS_SENTINELS$/],
      ['"h"', /^expected no quotes/],
      ["h:6380,password=S3cret,ssl=True", /another client's connection string/],
      ["", /^expected a host name/],
      ["h/0", /^expected a host name/],
      ["b\u1ebfp/x", /^expected a host name/],
      [5, /^expected a host name/],
    ] as const) {
      assert.throws(() => readHost(given), { name: "TypeError", message: reason });
      assert.throws(
        () => readHost(given),
        (error: Error) => !/S3cret/.test(error.message),
      );
    }
  });
});

describe("readNodes", () => {
  it("readNodes answers the servers of text and of lists, each once", () => {
    const [a, b] = [
      { host: "a", port: 6379 },
      { host: "::1", port: 7 },
    ];
    for (const given of [
      "a,[::1]:7",
      " a:6379 , [::1]:7 ,a",
      ["a", "[::1]:7"],
      [{ host: "a" }, { host: "::1", port: 7 }],
    ]) {
      assert.deepEqual(readNodes(given, 6379), [a, b]);
    }
    assert.deepEqual(readNodes("::1,fe80::2", 26379), [
      { host: "::1", port: 26379 },
      { host: "fe80::2", port: 26379 },
    ]);
  });

  it("readNodes says what to do when given something else", () => {
    for (const [given, reason] of [
      ["", /^expected a server before/],
      [[], /^expected servers as host:6379,host:6379$/],
      [5, /^expected servers as host/],
      [[5], /^expected a host name/],
      [[{ host: "h", prot: 1 }], /^expected each server as host:port or \{ host, port \}$/],
      [[{ host: "h", port: "1" }], /^expected a port/],
      [[{ host: "h", port: 65536 }], /^expected a port/],
      [[{ port: 1 }], /^expected a host name/],
      ["redis://u:S3cret@h", /^expected servers as host:port; user, password and TLS are settings of their own$/],
      ["u:S3cret@h", /^expected servers as host:port; user/],
      ["h:1,h:S3cret", /^expected a port/],
      ['"h"', /^expected no quotes/],
      ["::1:26379", /^expected an IPv6 address with a port as in \[::1\]:6379$/],
    ] as const) {
      const fails = { name: "TypeError", message: reason };
      assert.throws(() => readNodes(given, 6379), fails, JSON.stringify(given));
    }
  });
});

/** The problems of a configuration. */
function problems(record: Record<string, string>, options: ConfigOptions = {}): readonly string[] {
  try {
    parseConfig(record, { options });
  } catch (error) {
    assert.ok(error instanceof CacheConfigError, String(error));
    return error.problems;
  }
  return [];
}

describe("addresses in a configuration", () => {
  it("parseConfig honours or refuses all that a URL says in every setting that takes one", () => {
    const tcp = (config: Config) => config.driver === "node-redis" && [config.redis.tls, config.database];
    assert.deepEqual(tcp(parseConfig({ CACHE_URL: "redis://h?ssl=true&db=3" })), [true, 3]);
    assert.deepEqual(tcp(parseConfig({ REDIS_URL: "redis://h?ssl=true&db=3" })), [true, 3]);
    assert.deepEqual(tcp(parseConfig({}, { options: { url: "redis://h?ssl=true&db=3" } })), [true, 3]);
    for (const [name, label] of [
      ["CACHE_URL", "CACHE_URL"],
      ["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_URL"],
      ["KV_REST_API_URL", "KV_REST_API_URL"],
    ] as const) {
      const [problem] = problems({
        [name]: "https://h?_token=S3cret",
        UPSTASH_REDIS_REST_TOKEN: "t",
        KV_REST_API_TOKEN: "t",
      });
      assert.equal(
        problem,
        `${label} is "https://h?***", expected no _token in its query; ` +
          "the token is a setting of its own, UPSTASH_REDIS_REST_TOKEN",
      );
    }
    assert.deepEqual(problems({}, { url: "redis://h?x=1" }), [
      'option "url" is "redis://h?***", expected no x in its query, which takes db and ssl; ' +
        "more are options of nodeRedis",
    ]);
  });

  it("parseConfig shows the host, not the password, of an address that it refuses", () => {
    assert.deepEqual(problems({ CACHE_URL: "redis://default:a/b@cache.internal:6379/0" }), [
      'CACHE_URL is "redis://***@cache.internal:6379/0", ' +
        "expected / ? # % and \\ in its user and password as %2F %3F %23 %25 %5C",
    ]);
  });

  it("parseConfig makes a host ASCII wherever it stands", () => {
    for (const record of [{ REDIS_HOST: "b\u1ebfp.example" }, { REDIS_URL: "redis://b\u1ebfp.example" }]) {
      const config = parseConfig(record);
      assert.equal(config.driver === "node-redis" && config.redis.host, "xn--bp-z7s.example");
    }
    assert.deepEqual(problems({ REDIS_URL: "redis://b\u1ebfp.example", REDIS_HOST: "xn--bp-z7s.example" }), []);
  });

  it("parseConfig prints no secret of what another client's settings hold, in whichever variable they stand", () => {
    const names = [
      ..."CACHE_URL REDIS_URL REDIS_HOST REDIS_PORT REDIS_DB REDIS_TLS CACHE_DRIVER CACHE_RETRIES".split(" "),
      ..."CACHE_DATABASES CACHE_STALE_FOR CACHE_LOCK UPSTASH_REDIS_REST_URL UPSTASH_REDIS_REST_TOKEN".split(" "),
      "KV_REST_API_URL",
      ..."REDIS_CLUSTER_NODES REDIS_SENTINELS REDIS_SENTINEL_PASSWORD REDIS_SENTINEL_TLS CACHE_SHARDS".split(" "),
    ];
    const secret = fc.stringMatching(/^[A-Za-z0-9+/=@:?#%& .-]{0,10}Q5ecr3tQ[A-Za-z0-9+/=@:?#%& .-]{0,10}$/);
    const form = fc.constantFrom(
      (s: string) => `redis://u:${s}@h:6379/0`,
      (s: string) => `redis://u:${s}@h?db=99`,
      (s: string) => `redis://h?password=${s}`,
      (s: string) => `redis://h?${s}`,
      (s: string) => `redis://h?${s}=1`,
      (s: string) => `redis://h#${s}`,
      (s: string) => `"rediss://:${s}@h"`,
      (s: string) => `https://h?_token=${s}`,
      (s: string) => `https://${s}@h`,
      (s: string) => `h:6380,password=${s},ssl=True,abortConnect=False`,
      (s: string) => `redis+sentinel://:${s}@h:26379/mymaster`,
      (s: string) => `redis+sentinel://a,b/mymaster?sentinel_password=${s}&x=1`,
      (s: string) => `rediss+cluster://u:${s}@a:1,b:2/99`,
      (s: string) => `redis+cluster://u:${s}@a,u:${s}@b`,
      (s: string) => `h:1,u:${s}@h`,
      (s: string) => `valkey://u:${s}@a:1,b:2`,
      (s: string) => `u:${s}@h`,
    );
    const settings = fc.dictionary(
      fc.constantFrom(...names),
      fc.tuple(form, secret).map(([make, s]) => make(s)),
    );
    const option = fc.constantFrom("url", "host", "token", "port", "driver", "cluster", "sentinel");
    const options = fc.dictionary(
      option,
      fc.tuple(form, secret).map(([make, s]) => make(s)),
      { maxKeys: 2 },
    );
    let refused = 0;
    const silent = (said: string): void => {
      refused += Number(said !== "");
      assert.doesNotMatch(said, /Q5ecr3tQ/);
    };
    const shown = (make: () => unknown): string => {
      try {
        make();
        return "";
      } catch (error) {
        return `${(error as Error).message} ${(error as Error).stack} ${JSON.stringify(error)}`;
      }
    };
    const text = fc.tuple(form, secret).map(([make, s]) => make(s));
    fc.assert(
      fc.property(settings, options, text, (record, given, said) => {
        silent(problems(record, given as ConfigOptions).join("\n"));
        silent(shown(() => nodeRedis({ url: said })));
        silent(shown(() => nodeRedis({ host: said, path: said, tls: said as never })));
        silent(shown(() => upstash({ url: said, token: said })));
      }),
      { numRuns: 1000 },
    );
    assert.ok(refused > 3000, `${refused}`);
  });
});

describe("addresses and options of drivers", () => {
  it("nodeRedis names the database of its address, and a client takes it if nothing else names one", async () => {
    for (const [options, expected] of [
      [{ url: "redis://h/3" }, 3],
      [{ url: "unix:/run/r.sock?db=4" }, 4],
      [{ url: "redis://h/3", database: 5 }, 5],
      [{ host: "h", database: 6 }, 6],
      [{ url: "redis://h" }, undefined],
    ] as const) {
      const driver = nodeRedis(options);
      assert.equal(driver.database, expected);
      const client = createCacheClient({ driver, env: { REDIS_DB: "7" } });
      assert.equal((await client.locate({})).number, expected ?? 7);
      assert.equal((await createCacheClient({ driver, database: 9, env: {} }).locate({})).number, 9);
      assert.equal((await createCoreClient({ driver }).locate({})).number, expected ?? 0);
      await driver.close();
    }
  });

  const bad: readonly (readonly [unknown, string, RegExp])[] = [
    [
      { url: "rediss://h", rejectUnauthorized: false },
      "TypeError",
      /options of nodeRedis: received "rejectUnauthorized", expected \{ url, .* tls, /,
    ],
    [{ host: "h", pasword: "S3cret" }, "TypeError", /options of nodeRedis: received "pasword", expected \{ url, host,/],
    [{ constructor: 1 }, "TypeError", /received "constructor"/],
    [
      { host: "h", pool: 5 },
      "TypeError",
      /options of nodeRedis\.pool: received a value of type number, expected \{ size \}/,
    ],
    [{ host: "h", pool: { sise: 5 } }, "TypeError", /options of nodeRedis\.pool: received "sise", expected \{ size \}/],
    [{ host: "h", pool: { size: Number.NaN } }, "RangeError", /size of nodeRedis\.pool: received NaN/],
    [
      { host: "h", tls: "yes" },
      "TypeError",
      /options of nodeRedis\.tls: .* expected true, false or \{ ca, .* rejectUnauthorized \}/,
    ],
    [
      { host: "h", tls: { rejectUnauthorised: false } },
      "TypeError",
      /options of nodeRedis\.tls: received "rejectUnauthorised"/,
    ],
    [{ host: 5 }, "RangeError", /set host of nodeRedis: received 5, expected a string/],
    [{ host: "S3cret:6379" }, "TypeError", /the port is a setting of its own/],
    [
      { host: "h", database: 99 },
      "RangeError",
      /set database of nodeRedis: received 99, expected a whole number from 0 to 15/,
    ],
    [{ host: "h", connectTimeout: Number.NaN }, "RangeError", /set connectTimeout: received NaN/],
    [{ host: "h", port: "6379" }, "TypeError", /set port of nodeRedis: .* expected a whole number from 1 to 65535/],
    [{ host: "h", password: 5 }, "RangeError", /set password of nodeRedis: received 5/],
    [{ url: "redis://u:S3cret@h/99" }, "TypeError", /expected a database from 0 to 15/],
    [{ url: "redis://u:S3cret@h/0/0" }, "TypeError", /expected a database from 0 to 15/],
    [{ url: "redis://h?timeout=5" }, "TypeError", /expected no timeout in its query/],
    [{ url: "https://h" }, "TypeError", /expected redis:\/\/host:6379\/0 rediss:/],
    [{ url: "memory:" }, "TypeError", /expected redis:/],
    [{ url: 5 }, "RangeError", /set url of nodeRedis: received 5/],
    [undefined, "TypeError", /set the options of nodeRedis: .* type undefined, expected \{ url,/],
    [[], "TypeError", /set the options of nodeRedis: .* type array/],
  ];
  for (const [options, name, message] of bad) {
    it(`nodeRedis refuses ${JSON.stringify(options)} by name`, () => {
      assert.throws(() => nodeRedis(options as NodeRedisOptions), { name, message });
      assert.throws(
        () => nodeRedis(options as NodeRedisOptions),
        (error: Error) => !/S3cret/.test(error.message),
      );
    });
  }

  const place = { url: "https://h.example", token: "S3cret" };
  const badRest: readonly (readonly [unknown, RegExp])[] = [
    [{ ...place, timeout: 5 }, /^Cannot set the options of upstash: received "timeout", expected \{ url, token, /],
    [{ ...place, tokn: "x" }, /options of upstash: received "tokn"/],
    [{ ...place, readYourWrites: "S3cret" }, /^Cannot set readYourWrites of upstash: .*, expected true or false$/],
    [{ ...place, maxBytes: Number.NaN }, /set maxBytes of upstash: received NaN/],
    [{ url: "https://h?_token=S3cret", token: "t" }, /^Cannot set url of upstash: received a value of type string/],
    [{ url: "https://default:12/S3cret@h", token: "t" }, /^Cannot set url of upstash: received a value of type string/],
    [{ url: "https://./S3cret", token: "t" }, /^Cannot set url of upstash: received a value of type string/],
    [{ client: { pipeline() {} }, token: "S3cret" }, /^Cannot use a ready client with upstash: received "token"/],
    [null, /^Cannot set the options of upstash: .* type null, expected \{ url/],
  ];
  for (const [options, message] of badRest) {
    it(`upstash refuses by name what makes it say ${message.source}`, () => {
      assert.throws(() => upstash(options as UpstashOptions), {
        name: /NaN/.test(message.source) ? "RangeError" : "TypeError",
        message,
      });
      assert.throws(
        () => upstash(options as UpstashOptions),
        (error: Error) => !/S3cret/.test(error.message),
      );
    });
  }
});

describe("oddSecret", () => {
  it("oddSecret names quotes, line breaks and white space, and shows nothing of the secret", () => {
    for (const [secret, expected] of [
      ['"S3cret"', "stands in quotes"],
      ["'S3cret'", "stands in quotes"],
      ["S3cret\n", "ends in a line break"],
      ["S3cret\r\n", "ends in a line break"],
      [" S3cret", "begins or ends in white space"],
      ["S3cret\t", "begins or ends in white space"],
      ["S3cret", undefined],
      ["S3 cret", undefined],
      ["it's", undefined],
      ['"', undefined],
    ] as const) {
      assert.equal(oddSecret(secret), expected, JSON.stringify(secret));
    }
  });

  it("oddSecrets names the secrets of a configuration that are used as they are", () => {
    assert.deepEqual(oddSecrets(parseConfig({ REDIS_HOST: "h", REDIS_PASSWORD: "S3cret\n" })), [
      "the password ends in a line break",
    ]);
    assert.deepEqual(
      oddSecrets(parseConfig({ UPSTASH_REDIS_REST_URL: "https://h", UPSTASH_REDIS_REST_TOKEN: '"S3cret"' })),
      ["the token stands in quotes"],
    );
    assert.deepEqual(oddSecrets(parseConfig({ REDIS_URL: "redis://u:p@h" })), []);
    assert.deepEqual(oddSecrets(parseConfig({})), []);
  });
});
