/** Builds, starts and develops the example for Next.js, over Redis by TCP and by REST. For Node: `npm test next`. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { nodeRedis } from "../../drivers/node_redis.ts";
import { createCacheClient } from "../../mod.ts";
import { bridge } from "../../src/bridge/bridge.ts";
import type { Listener } from "../../src/runtime/listen.ts";
import { eventually } from "../helpers/eventually.ts";
import { freePort, type RawClient, type RedisServer, rawClient, startRedis } from "../helpers/redis_server.ts";
import { type Ended, listening, type Running, start } from "../helpers/run.ts";
import { serve } from "../helpers/serve.ts";

const SKIP = process.env.CI_FAST ? "CI_FAST is set" : false;
const LIMIT = { timeout: 240_000, skip: SKIP };
const TOKEN = "token-of-the-test";
const QUIET = { NEXT_TELEMETRY_DISABLED: "1", npm_config_update_notifier: "false" };

/** A dish in the example's responses. */
interface Dish {
  readonly id: string;
  readonly name: string;
  readonly loadedBy: string;
  readonly loadedAt: string;
}

const folder = mkdtempSync(join(tmpdir(), "next-example-"));
const next = (command: string, ...args: string[]) => [
  join(folder, "node_modules/next/dist/bin/next"),
  command,
  folder,
  ...args,
];

async function succeed(running: Running): Promise<Ended> {
  const ended = await running.ended;
  assert.equal(ended.code, 0, ended.stdout + ended.stderr);
  return ended;
}

/** Installs the package, as it would be published, into a copy of the example; answers what the build printed. */
async function install(): Promise<Ended> {
  cpSync("examples/next", folder, { recursive: true, filter: (path) => !/node_modules|\.next\b/.test(path) });
  const { stdout } = await succeed(
    start("npm", ["pack", "--json", "--ignore-scripts", `--pack-destination=${folder}`]),
  );
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  manifest.dependencies["@foodfast/larder"] = `file:${join(folder, filename)}`;
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  await succeed(start("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", `--prefix=${folder}`], QUIET));
  return succeed(start(process.execPath, next("build"), QUIET));
}

describe("the example for Next.js", () => {
  let redis: RedisServer;
  let admin: RawClient;
  let rest: Listener;
  let behind: ReturnType<typeof nodeRedis>;
  let requests = 0;
  let built: Ended;
  before(async () => {
    if (SKIP) return;
    redis = await startRedis();
    admin = await rawClient(redis.port);
    behind = nodeRedis({ url: redis.url });
    const handler = bridge({ driver: behind, token: TOKEN });
    rest = await serve((request) => {
      requests++;
      return handler(request);
    });
    // The bridge opens all the connections that it keeps before any are counted.
    await using client = createCacheClient({ env: {}, url: rest.url, token: TOKEN, timeout: 20_000 });
    assert.equal(await client.cache().set("k", 1), true);
    built = await install();
  }, LIMIT);
  after(async () => {
    await rest?.close();
    await behind?.close();
    admin?.close();
    await redis?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const overRest = () => ({ UPSTASH_REDIS_REST_URL: rest.url, UPSTASH_REDIS_REST_TOKEN: TOKEN });
  const overBoth = () => ({ ...overRest(), REDIS_URL: redis.url, CACHE_DATABASES: "prefixed" });

  /** Starts the application over an empty store; answers what it printed. */
  async function run(command: string, env: Record<string, string>, body: (app: App) => Promise<void>): Promise<string> {
    await admin.command("FLUSHALL");
    const port = await freePort();
    const args = next(command, "--port", `${port}`, "--hostname", "127.0.0.1");
    const server = start(process.execPath, args, { ...QUIET, CACHE_TIMEOUT_MS: "20000", ...env });
    try {
      await listening(port, server);
      await body(new App(`http://127.0.0.1:${port}`));
    } finally {
      await server.stop();
    }
    const { stdout, stderr } = await server.ended;
    return stdout + stderr;
  }

  /** Counts the connections of the server, except those of this test. Connections of the bridge stay open. */
  async function connections(): Promise<number> {
    const list = String(await admin.command("CLIENT", "LIST"))
      .trim()
      .split("\n");
    return list.length;
  }

  it("is built without a warning of this package's", LIMIT, () => {
    assert.doesNotMatch(built.stdout + built.stderr, /larder|redis|@upstash|Critical dependency|Module not found/i);
  });

  it(
    "shares values and invalidations between pages, route handlers and the edge, over one connection",
    LIMIT,
    async () => {
      const before = await connections();
      const printed = await run("start", overBoth(), async (app) => {
        const loaded = await app.dish("/api/dishes/1");
        assert.deepEqual([loaded.name, loaded.loadedBy], ["Dish 1", "route"]);
        assert.deepEqual(await app.dish("/dishes/1"), loaded);
        assert.deepEqual(await app.dish("/api/edge/1"), loaded);
        const atTheEdge = await app.dish("/api/edge/2");
        assert.equal(atTheEdge.loadedBy, "edge");
        assert.deepEqual(await app.dish("/api/dishes/2"), atTheEdge);
        const inThePage = await app.dish("/dishes/3");
        assert.equal(inThePage.loadedBy, "page");
        assert.deepEqual(await app.dish("/api/dishes/3"), inThePage);

        await app.invalidate();
        const again = await app.dish("/api/edge/1");
        assert.equal(again.loadedBy, "edge");
        assert.notEqual(again.loadedAt, loaded.loadedAt);
        assert.deepEqual(await app.dish("/api/dishes/1"), again);
        // The page is kept by Next.js for a second, and then shows the last one once more while it is rendered again.
        await app.shows("/dishes/1", again);

        // What its page of instructions sets and asks for.
        const [, block = ""] = /```sh\n(.*?)```/s.exec(readFileSync("examples/next/README.md", "utf8")) ?? [];
        const set = [...block.matchAll(/\b([A-Z_]+)=/g)].map(([, name]) => name);
        assert.deepEqual(set.sort(), Object.keys(overBoth()).sort());
        const asked = block.split("\n").filter((line) => line.startsWith("curl "));
        assert.equal(asked.length, 2);
        for (const line of asked) {
          const method = /-X (\w+)/.exec(line)?.[1] ?? "GET";
          for (const [, path = ""] of line.matchAll(/http:\/\/localhost:3000(\S*)/g)) await app.ask(path, method);
        }

        const { ok, driver } = JSON.parse(await app.text("/")) as { ok: boolean; driver: string };
        assert.deepEqual([ok, driver], [true, "node-redis"]);
        assert.equal((await connections()) - before, 1);
      });
      assert.doesNotMatch(printed, /larder|error/i);
    },
  );

  it("shows what is in the store in pages that Next.js keeps when every command goes over REST", LIMIT, async () => {
    const printed = await run("start", overRest(), async (app) => {
      // Pages that were never made before, then the same ones, kept.
      const ids = ["11", "12", "13"];
      const first = await Promise.all(ids.map((id) => app.dish(`/api/dishes/${id}`)));
      await app.invalidate();
      const second = await Promise.all(ids.map((id) => app.dish(`/api/edge/${id}`)));
      const sent = requests;
      const pages = await Promise.all(ids.map((id) => app.dish(`/dishes/${id}`)));
      assert.deepEqual(pages, second);
      assert.notDeepEqual(pages, first);
      assert.ok(requests > sent);
      assert.match(await app.kept("/dishes/11"), /HIT|STALE/);
      await app.invalidate();
      const third = await app.dish("/api/dishes/11");
      await app.shows("/dishes/11", third);
      assert.match(await app.kept("/dishes/11"), /HIT|STALE/);
    });
    assert.doesNotMatch(printed, /larder|error/i);
  });

  it("opens no connection when a module changes while it is developed", LIMIT, async () => {
    const before = await connections();
    const file = join(folder, "lib/menu.ts");
    const source = readFileSync(file, "utf8");
    assert.match(source, /`Dish /);
    const printed = await run("dev", overBoth(), async (app) => {
      const paths = ["/api/dishes/1", "/dishes/1", "/api/edge/1"];
      for (let change = 0; change <= 5; change++) {
        if (change > 0) writeFileSync(file, source.replace("`Dish ", `\`Dish of change ${change}, `));
        const name = change > 0 ? `Dish of change ${change}, 1` : "Dish 1";
        // Until it is compiled, the module of before answers.
        await eventually(async () => {
          await app.invalidate();
          return (await app.dish("/api/dishes/1")).name === name;
        }, 60_000);
        for (const path of paths) assert.equal((await app.dish(path)).name, name, path);
        assert.equal(JSON.parse(await app.text("/")).ok, true);
        assert.equal((await connections()) - before, 1, `after ${change} changes`);
      }
    });
    // Next.js may complain of itself when a module changes while it looks for static paths.
    assert.doesNotMatch(printed, /larder/i);
  });
});

/** The running application. */
class App {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /** Asks for a path; any answer but 200 fails. */
  async ask(path: string, method = "GET"): Promise<Response> {
    const response = await fetch(this.#url + path, { method, signal: AbortSignal.timeout(60_000) });
    assert.equal(response.status, 200, `${path}: ${(await response.clone().text()).slice(0, 2000)}`);
    return response;
  }

  /** Returns the text of a page or of a route handler's response. */
  async text(path: string): Promise<string> {
    const text = await (await this.ask(path)).text();
    return /<pre>(.*?)<\/pre>/s.exec(text)?.[1]?.replaceAll("&quot;", '"') ?? text;
  }

  async dish(path: string): Promise<Dish> {
    return JSON.parse(await this.text(path)) as Dish;
  }

  /** Returns whether Next.js answered with a page from its own cache. */
  async kept(path: string): Promise<string> {
    return (await this.ask(path)).headers.get("x-nextjs-cache") ?? "";
  }

  /** Waits until a page that is kept shows a dish. */
  async shows(path: string, dish: Dish): Promise<void> {
    await eventually(async () => (await this.dish(path)).loadedAt === dish.loadedAt, 30_000);
    assert.deepEqual(await this.dish(path), dish);
  }

  async invalidate(): Promise<void> {
    assert.equal(await (await this.ask("/api/dishes/1", "DELETE")).text(), "true");
  }
}
