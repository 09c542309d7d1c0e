/** Each example serves, in its own runtime whatever runtime runs these tests, over a real store. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { nodeRedis } from "../drivers/node_redis.ts";
import { bridge } from "../src/bridge/bridge.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { type Ask, checkExample } from "./helpers/example_api.ts";
import { freePort, type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { installed, listening, start } from "./helpers/run.ts";
import { serve } from "./helpers/serve.ts";

const TOKEN = "token-of-the-test";

describe("examples", () => {
  let redis: RedisServer;
  let rest: Listener;
  const folder = mkdtempSync(join(tmpdir(), "larder-examples-"));
  const driver = () => nodeRedis({ url: redis.url });
  let behind: ReturnType<typeof driver>;
  before(async () => {
    redis = await startRedis();
    behind = driver();
    rest = await serve(bridge({ driver: behind, token: TOKEN }));
  });
  after(async () => {
    await rest?.close();
    await behind?.close();
    await redis?.stop();
    rmSync(folder, { recursive: true });
  });

  const flush = () => rawCommand(redis.port, ["FLUSHALL"]);

  /** Starts a server on a free port, and asks it what every example must answer. */
  async function check(
    launch: (port: number) => readonly [command: string, ...args: string[]],
    env: Readonly<Record<string, string>>,
    addressHeader?: string,
  ): Promise<void> {
    await flush();
    const port = await freePort();
    const [command, ...args] = launch(port);
    const server = start(command, args, { CACHE_TIMEOUT_MS: "5000", PORT: `${port}`, HOST: "127.0.0.1", ...env });
    try {
      await listening(port, server);
      const ask: Ask = (path, { method = "GET", address = "203.0.113.7" } = {}) =>
        fetch(`http://127.0.0.1:${port}${path}`, {
          method,
          headers: addressHeader === undefined ? {} : { [addressHeader]: address },
        });
      await checkExample(ask, addressHeader !== undefined);
    } finally {
      await server.stop();
    }
  }

  /** Bundles an example as its header says, and answers the bundle's path. */
  async function bundled(name: string, out: string, ...options: string[]): Promise<string> {
    const path = join(folder, out);
    const args = [`examples/${name}`, "--bundle", `--outfile=${path}`, "--log-level=warning", ...options];
    const { code, stderr } = await start(installed("esbuild"), args).ended;
    assert.equal(code, 0, stderr);
    return path;
  }

  /** Fails unless the example's product stands in the Redis. */
  async function stored(database: number, key: string): Promise<void> {
    const [reply] = await behind.send(database, [["GET", key]]);
    assert.match(String(reply), /Phở bò/);
  }

  it("bun_server serves products when run by Bun over Redis", async () => {
    await check(() => [installed("bun"), "examples/bun_server.ts"], { REDIS_URL: redis.url });
    await stored(1, "product:1");
  });

  it("deno_server serves products when run by Deno with the permissions that it names", async () => {
    const permissions = ["--allow-net", "--allow-env", "--allow-read=."];
    await check(
      (port) => [
        installed("deno"),
        "serve",
        "--no-check",
        ...permissions,
        "--host=127.0.0.1",
        `--port=${port}`,
        "examples/deno_server.ts",
      ],
      { REDIS_URL: redis.url },
    );
    await stored(1, "product:1");
  });

  it("cloudflare_worker serves products when bundled and run by workerd over REST", async () => {
    await bundled(
      "cloudflare_worker.ts",
      "worker.js",
      "--format=esm",
      "--conditions=workerd,worker,browser",
      "--main-fields=browser,module,main",
    );
    const launch = (port: number) => {
      const config = join(folder, "config.capnp");
      const env = { UPSTASH_REDIS_REST_URL: rest.url, UPSTASH_REDIS_REST_TOKEN: TOKEN, CACHE_TIMEOUT_MS: "5000" };
      writeFileSync(config, workerd(port, env));
      return [installed("workerd"), "serve", config] as const;
    };
    await check(launch, {}, "cf-connecting-ip");
    await stored(0, "db1:product:1");
  });

  it("vercel_edge serves products when bundled and run by the edge runtime over REST", async () => {
    const bundle = await bundled(
      "vercel_edge.ts",
      "edge.js",
      "--format=iife",
      "--global-name=bundled",
      "--conditions=edge-light,worker,browser",
      "--main-fields=browser,module,main",
    );
    await check(
      (port) => ["node", "dist/test/helpers/edge_server.js", bundle, `${port}`],
      { KV_REST_API_URL: rest.url, KV_REST_API_TOKEN: TOKEN },
      "x-real-ip",
    );
    await stored(0, "db1:product:1");
  });

  it("node_lambda serves products when bundled and invoked by Node over Redis", async () => {
    const bundle = await bundled("node_lambda.ts", "index.cjs", "--platform=node");
    await check(
      (port) => ["node", "dist/test/helpers/lambda_server.js", bundle, `${port}`],
      { REDIS_URL: redis.url },
      "x-forwarded-for",
    );
    await stored(1, "product:1");
  });
});

/** Returns a configuration that serves `worker.js` of its folder, with variables, and lets it reach 127.0.0.1. */
function workerd(port: number, env: Readonly<Record<string, string>>): string {
  const bindings = Object.entries(env).map(([name, text]) => `(name = "${name}", text = "${text}")`);
  return `
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "example", worker = .example),
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "example")],
);

const example :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2025-09-01",
  bindings = [${bindings.join(", ")}],
);
`;
}
