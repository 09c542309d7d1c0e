import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { VERSION } from "../src/cli/version.ts";
import { CONFIG_VARIABLES } from "../src/config/variables.ts";
import { inTerminal, larder, plain } from "./helpers/larder.ts";
import { freePort, type RedisServer, startRedis } from "./helpers/redis_server.ts";

const COMMANDS = [
  "clear",
  "list",
  "get",
  "backup",
  "restore",
  "copy",
  "warm",
  "stats",
  "doctor",
  "capacity",
  "serve",
  "dashboard",
];

describe("larder", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis({ args: ["--requirepass", "s3cret"] });
  });
  after(() => redis?.stop());

  it("larder prints the version of the package", async () => {
    assert.equal(VERSION, JSON.parse(readFileSync("package.json", "utf8")).version);
    assert.deepEqual(await larder(["--version"]), { code: 0, stdout: `${VERSION}\n`, stderr: "" });
  });

  it("larder prints help with an example and --json for every command", async () => {
    const all = await larder(["--help"]);
    assert.equal(all.code, 0);
    assert.match(all.stdout, /Exit codes: 0 success/);
    const helps = await Promise.all(COMMANDS.map((command) => larder([command, "--help"])));
    for (const [at, command] of COMMANDS.entries()) {
      assert.match(all.stdout, new RegExp(`^ {2}${command} `, "m"));
      const { code, stdout, stderr } = helps[at] as (typeof helps)[0];
      assert.deepEqual([code, stderr], [0, ""], command);
      assert.match(stdout, new RegExp(`Examples?:\n {2}\\$ larder ${command}`));
      assert.match(stdout, /--json/);
    }
  });

  it("larder names only variables in its help that configure it", async () => {
    const names = ["", ...COMMANDS];
    const shown = await Promise.all(names.map((name) => larder([name, "--help"].filter(Boolean))));
    const variables = new Set(shown.flatMap(({ stdout }) => stdout.match(/\b[A-Z]+(_[A-Z]+)+\b/g) ?? []));
    assert.ok(variables.has("CACHE_PREFIX") && variables.has("CACHE_DATABASES"), [...variables].join());
    assert.deepEqual(
      [...variables].filter((name) => !CONFIG_VARIABLES.includes(name)),
      ["NO_COLOR"],
    );
  });

  it("larder ends with 2 and suggests a name when it is used wrongly", async () => {
    const cases: [string[], RegExp][] = [
      [[], /Usage: larder/],
      [["clera"], /unknown command 'clera'\n\(Did you mean clear\?\)/],
      [["list", "product", "--lmit", "3"], /unknown option '--lmit'\n\(Did you mean --limit\?\)/],
      [["list", "prodcut"], /Cannot find the service "prodcut" \(did you mean product\?\): expected gateway, product,/],
      [["list", "x/y"], /Cannot find the service "x\/y": expected/],
      [["list"], /Cannot choose keys: received no service, expected gateway/],
      [["list", "product", "--limit", "0"], /argument '0' is invalid. Expected a whole number of 1 or more/],
      [["list", "--database", "16"], /a whole number from 0 to 15/],
      [["list", "product", "--sort", "age"], /Allowed choices are key, size, ttl/],
      [["clear", "product", "search:*"], /too many arguments for 'clear'/],
      [["clear", "--service", "product", "--database", "1"], /received both --service and --database/],
      [["get", "product"], /Cannot read a key: received none/],
      [["backup", "product"], /required option '-o, --output <file>'/],
      [["restore", "product"], /Cannot restore: received no file/],
      [["copy", "product"], /Cannot choose the stores/],
      [["copy", "product", "--all", "--to", "memory:"], /received both --all/],
      [["warm", "product"], /Cannot find the values/],
      [["warm", "xyzzy", "--from", "x"], /Cannot warm the service "xyzzy": expected gateway/],
      [
        ["warm", "product", "--from", "x", "--collection", "product"],
        /of product \(did you mean products\?\): expected products,/,
      ],
      [["stats", "--watch", "0"], /seconds from 0.1 to 86400/],
    ];
    const ended = await Promise.all(cases.map(([args]) => larder(args)));
    for (const [at, [args, pattern]] of cases.entries()) {
      const { code, stdout, stderr } = ended[at] as (typeof ended)[0];
      assert.match(stderr, pattern, args.join(" "));
      assert.deepEqual([code, stdout], [2, ""], args.join(" "));
      assert.doesNotMatch(stderr, /^ +at /m);
    }
  });

  it("larder ends with 2 when no store is named, or the configuration is wrong", async () => {
    const [none, wrong, url] = await Promise.all([
      larder(["list", "product"]),
      larder(["list", "product"], { env: { CACHE_DRIVER: "memcached", CACHE_TTL_DEFAULT: "soon" } }),
      larder(["list", "product", "--url", "redis://:s3cret@:port"]),
    ]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /^error: Cannot find a store: expected a URL such as --url redis/);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /^error: CACHE_DRIVER.*\nerror: CACHE_TTL_DEFAULT/);
    assert.equal(url.code, 2);
    assert.doesNotMatch(url.stderr, /s3cret/);
  });

  it("larder ends with 3, without a stack or a secret, when the store is away or refuses the login", async () => {
    const port = await freePort();
    const ended = await Promise.all([
      larder(["list", "product"], { env: { REDIS_URL: `redis://:s3cret@127.0.0.1:${port}` } }),
      larder(["stats", "--json", "--url", `https://:s3cret@127.0.0.1:${port}`]),
      larder(["clear", "product", "--yes", "--url", `redis://:t0psecret@127.0.0.1:${redis.port}`]),
      larder(["copy", "product", "--from", redis.url.replace("//", "//:s3cret@"), "--to", `redis://127.0.0.1:${port}`]),
    ]);
    for (const { code, stdout, stderr } of ended) {
      assert.deepEqual([code, stdout], [3, ""], stderr);
      assert.match(stderr, /^error: .*\n$/);
      assert.doesNotMatch(stderr, /s3cret|t0psecret|\n +at /);
    }
  });

  it("larder takes the store from .env.cache, unless --url names one", async () => {
    const url = redis.url.replace("//", "//:s3cret@");
    const [named, beaten] = await Promise.all([
      larder(["clear", "product", "--dry-run"], { env: { CACHE_URL: url } }),
      larder(["clear", "product", "--dry-run", "--url", url], { env: { CACHE_URL: "redis://127.0.0.1:1" } }),
    ]);
    assert.deepEqual([named.code, named.stdout], [0, "0 keys of product would be deleted\n"], named.stderr);
    assert.deepEqual([beaten.code, beaten.stdout], [0, "0 keys of product would be deleted\n"], beaten.stderr);
  });

  it("larder ends with 1 and says so when its output goes to a full disk", async () => {
    const env = { CACHE_URL: redis.url.replace("//", "//:s3cret@") };
    const { code, stderr } = await larder(["clear", "product", "--dry-run"], { env, redirect: "> /dev/full" });
    assert.match(stderr, /^error: Cannot write to standard output: no space is left on the device\n$/);
    assert.equal(code, 1);
  });

  it("larder uses colours on a terminal, unless NO_COLOR is set", async () => {
    const env = { CACHE_URL: redis.url.replace("//", "//:s3cret@") };
    const [painted, bare] = await Promise.all([
      inTerminal(["list", "product"], { env }).ended,
      inTerminal(["list", "product"], { env: { ...env, NO_COLOR: "1" } }).ended,
    ]);
    assert.ok(painted.stdout.includes("\x1b[2mtype"), painted.stdout);
    assert.ok(!bare.stdout.includes("\x1b[2m"), bare.stdout);
    for (const { stdout } of [painted, bare]) assert.match(plain(stdout), /^type +TTL +size +key\n$/);
    assert.deepEqual([painted.code, bare.code], [0, 0]);
  });
});
