/** `larder stats`, once and again and again, as a user runs it. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import fc from "fast-check";
import { createCacheClient } from "../mod.ts";
import { picture } from "../src/cli/picture.ts";
import { Screen } from "../src/cli/screen.ts";
import type { ServiceView, View } from "../src/dashboard/messages.ts";
import type { Alert } from "../src/monitor/mod.ts";
import { inTerminal, larder, startLarder } from "./helpers/larder.ts";
import { freePort, type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { screenOf } from "./helpers/terminal.ts";

const LIMIT = { timeout: 120_000 };

describe("larder stats", () => {
  let redis: RedisServer;
  let env: Record<string, string>;
  before(async () => {
    redis = await startRedis();
    env = { CACHE_URL: redis.url };
  });
  after(() => redis?.stop());
  afterEach(() => rawCommand(redis.port, ["FLUSHALL"]));

  /** Reads values of product in a process, which shares its statistics if asked to. */
  const read = async (hits: number, misses: number, fleetStats: boolean): Promise<void> => {
    const client = createCacheClient({ env: {}, url: redis.url, timeout: 5000, fleetStats });
    const { products } = client.service("product");
    await products.set(1, { id: 1, name: "Phở" });
    for (let i = 0; i < hits; i++) await products.get(1);
    for (let i = 0; i < misses; i++) await products.get(2);
    await client.close();
  };

  it("stats shows the store and the keys of each service, and with --json the same as one value", LIMIT, async () => {
    await rawCommand(redis.port, ["CONFIG", "RESETSTAT"]);
    await read(10, 0, false);
    const [shown, json] = await Promise.all([larder(["stats"], { env }), larder(["stats", "--json"], { env })]);
    assert.deepEqual([shown.code, shown.stderr], [0, ""]);
    assert.match(
      shown.stdout,
      /^redis:\/\/127\.0\.0\.1:\d+ {2}Redis \d+\.\d+\.\d+, numbered databases\nlatency +[\d.]+ ms\n/,
    );
    // Reads that hit, and as many look-ups of the clock that is not there.
    assert.match(
      shown.stdout,
      new RegExp(
        "\\nhit rate +unknown: no application counts \\(CACHE_FLEET_STATS=true\\)\\n" +
          " +4\\d\\.\\d % of 2\\d reads by the server's count, ",
      ),
    );
    assert.match(shown.stdout, /\nmemory +[\d.]+ [KM]iB, no limit, noeviction\n/);
    assert.match(shown.stdout, /\nservice +keys\n[\s\S]*\nproduct +1\n/);
    const { services, databases } = JSON.parse(json.stdout);
    assert.equal(databases, "numbered");
    assert.deepEqual(services.find(({ service }: { service: string }) => service === "product").keys, 1);
  });

  it("stats shows the statistics of applications first", LIMIT, async () => {
    await read(3, 1, true);
    const { stdout } = await larder(["stats"], { env });
    assert.match(
      stdout,
      /\nhit rate +75\.0 % of 4 reads, by the counts of the applications\n +\d+\.\d % of \d+ reads by /,
    );
    assert.match(
      stdout,
      /\nservice +keys +hit rate +hits +misses +writes +errors\n[\s\S]*\nproduct +1 +75\.0 % +3 +1 +1 +0\n/,
    );
  });

  it("stats --watch prints a line a sample in a pipe, and with --json a view, until Ctrl-C", LIMIT, async () => {
    await read(1, 0, true);
    const piped = startLarder(["stats", "--watch", "0.1"], { env });
    const json = startLarder(["stats", "--watch", "0.1", "--json"], { env });
    await piped.said(/^(\d{4}-.*Z {2}store answers in .* ms, .* {2}keys \d+ {2}memory .* {2}alerts .*\n){2}/);
    await json.said(/\n/);
    await read(3, 1, true);
    await piped.said(/ {2}hit rate 75\.0 % of 4 reads in the last minute {2}p95 [\d.]+ ms {2}alerts /);
    await json.said(/"hitRate":0\.75/);
    for (const command of [piped, json]) command.signal("SIGINT");
    const [lines, views] = await Promise.all([piped.ended, json.ended]);
    assert.deepEqual([lines.code, views.code], [130, 130]);
    const all = views.stdout
      .trimEnd()
      .split("\n")
      .map((line): View => JSON.parse(line));
    const { counted, services, store } = all.at(-1) as View;
    const { hits, misses, writes } = services.find(({ service }) => service === "product") as ServiceView;
    assert.deepEqual([counted, hits, misses, writes], ["fleet", 3, 1, 1]);
    assert.deepEqual([store?.up, store?.policy], [true, "noeviction"]);
  });

  it("stats --watch says when the store is away, and continues when it is back", LIMIT, async () => {
    const port = await freePort();
    const watching = startLarder(["stats", "--watch", "0.1", "--url", `redis://127.0.0.1:${port}`]);
    await watching.said(/^\S+Z {2}store does not answer: Cannot connect to Redis at .*\n/);
    const first = await startRedis({ port });
    await watching.said(/store answers in/);
    await first.stop();
    await watching.said(/store answers in[\s\S]*store does not answer.* alerts .*connection failures\n/);
    const second = await startRedis({ port });
    await watching.said(/store answers in[\s\S]*store does not answer[\s\S]*store answers in .*\n/);
    watching.signal("SIGINT");
    assert.equal((await watching.ended).code, 130);
    await second.stop();
  });

  it("stats --watch redraws its frame on a terminal of any width", LIMIT, async () => {
    await read(1, 0, true);
    await Promise.all(
      [100, 30, 0].map(async (columns) => {
        const watching = inTerminal(["stats", "-w", "0.1"], { env, columns });
        await watching.said(/(.\[\d+A\r.\[J[\s\S]*?){4}/);
        watching.type("\x03");
        const { code, stdout } = await watching.ended;
        assert.equal(code, 130);
        const lines = screenOf(stdout, columns || 80, 30);
        const of = (title: RegExp): string[] => lines.filter((line) => title.test(line));
        assert.equal(of(/^redis:/).length, 1, lines.join("\n"));
        for (const title of [
          /^store +answers/,
          /^memory/,
          /^hit rate/,
          /^latency/,
          /^breaker +closed/,
          /^notification/,
        ]) {
          assert.equal(of(title).length, 1, `${title} in\n${lines.join("\n")}`);
        }
        if (columns === 100) {
          assert.deepEqual(of(/^service /), [
            "service       keys  memory ≈  hit rate  hits  misses  writes  errors  p95",
          ]);
        }
      }),
    );
  });
});

describe("the picture of stats --watch", () => {
  const counts = { hits: 60, misses: 40, writes: 3, loads: 2, errors: 1, hitRate: 0.6, p95: 2.5 };
  const alert: Alert = {
    rule: "memory",
    state: "firing",
    severity: "critical",
    metric: "memory",
    value: 0.9,
    threshold: 0.8,
    since: 0,
    at: 0,
    message: "memory: 90.0 %, above 80.0 %",
  };
  const view: View = {
    at: 3_600_000,
    counted: "fleet",
    all: { ...counts, keys: 1204, memory: 2 ** 21, p50: 0.25, p99: 1500 },
    services: [
      { service: "product", database: 1, keys: 1200, memory: 2 ** 21, ...counts },
      { ...counts, service: "database 9", database: 9, unnamed: true, keys: 4, memory: null, hitRate: null, p95: null },
    ],
    store: {
      up: true,
      error: null,
      latency: 0.3,
      server: "Redis",
      version: "7.0.15",
      memoryUsed: 9 * 2 ** 20,
      memoryLimit: 10 * 2 ** 20,
      policy: "allkeys-lru",
      evictions: 12,
      expired: 3400,
      clients: 1,
      slowQueries: 0,
      operations: 1234.5,
    },
    nodes: [],
    breaker: "closed",
    alerts: [alert],
  };
  const painted = { paint: () => (text: string) => text };
  const name = "redis://127.0.0.1:6379";

  it("picture has the store, the rates, the alerts and a row a service", () => {
    const resolved: Alert = { ...alert, state: "resolved", message: "it is well", at: 1_800_000 };
    assert.deepEqual(picture({ view, name, resolved }, painted), [
      "redis://127.0.0.1:6379  Redis 7.0.15  01:00:00Z",
      "store      answers in 0.3 ms, 1,235 commands/s, 1 client",
      "memory     ██████████████████░░ 9.0 MiB of 10.0 MiB (90.0 %), allkeys-lru",
      "evictions  12, 3,400 expired",
      "hit rate   ████████████░░░░░░░░ 60.0 % of 100 reads in the last minute, the target is 70 %",
      "latency    p50 0.25 ms, p95 2.5 ms, p99 1.5 s",
      "breaker    closed, of this command",
      "! memory: memory: 90.0 %, above 80.0 %, since 00:00:00Z",
      "resolved at 00:30:00Z: it is well",
      "",
      "service      keys  memory ≈  hit rate  hits  misses  writes  errors     p95",
      "product     1,200   2.0 MiB    60.0 %    60      40       3       1  2.5 ms",
      "database 9      4         -         -     -       -       -       -       -",
    ]);
  });

  it("picture says what is not known and why the store does not answer, without control characters", () => {
    const store = {
      ...(view.store as NonNullable<View["store"]>),
      up: false,
      error: "gone\x1b[2J",
      memoryUsed: null,
      evictions: null,
    };
    const none = { ...view.all, hitRate: null, hits: 0, misses: 0, p50: null, p95: null, p99: null };
    const away: View = { ...view, counted: null, all: none, store, breaker: "open", alerts: [] };
    assert.deepEqual(picture({ view: away, name }, painted).slice(1, 8), [
      "store      does not answer: gone\\x1b[2J",
      "memory     unknown",
      "evictions  unknown, 3,400 expired",
      "hit rate   unknown: no application counts (CACHE_FLEET_STATS=true)",
      "latency    unknown",
      "breaker    open, of this command",
      "alerts     none",
    ]);
    assert.equal(picture({ view: { ...away, store: null }, name }, painted)[1], "store      unknown");
  });
});

describe("Screen", () => {
  it("draw replaces the previous frame, cut to the terminal", () => {
    const line = fc.tuple(fc.string({ unit: "grapheme-ascii", maxLength: 30 }), fc.boolean());
    const pictures = fc.array(fc.array(line, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 6 });
    const size = fc.tuple(fc.integer({ min: 4, max: 25 }), fc.integer({ min: 2, max: 15 }));
    fc.assert(
      fc.property(pictures, size, (all, [width, height]) => {
        const screen = new Screen();
        let text = "$ larder stats\n";
        for (const lines of all) {
          const painted = lines.map(([line, colour]) => (colour ? `\x1b[1m${line}\x1b[0m` : line));
          text += screen.draw(painted, width, height);
          const cut = lines.slice(0, height - 1).map(([line]) => line.slice(0, width - 1).trimEnd());
          while (cut.at(-1) === "") cut.pop();
          assert.deepEqual(screenOf(text, width, height), [...screenOf("$ larder stats", width, height), ...cut]);
        }
      }),
    );
  });

  it("draw removes wrapped lines when the terminal became narrower", () => {
    const screen = new Screen();
    assert.equal(screen.draw(["x".repeat(18), "", "yy"], 20, 10), `${"x".repeat(18)}\n\nyy\n`);
    assert.equal(screen.draw(["z"], 10, 10), "\x1b[4A\r\x1b[Jz\n");
  });
});
