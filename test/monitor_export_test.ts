import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { describe, it } from "node:test";
import { parser } from "@prometheus-io/lezer-promql";
import { parse as parseYaml } from "yaml";
import { nodeRedis } from "../drivers/node_redis.ts";
import { createCacheClient } from "../mod.ts";
import { METRICS } from "../src/monitor/metrics.ts";
import {
  type AlertRule,
  alertingRules,
  grafanaDashboard,
  type MetricName,
  metricsHandler,
  monitor,
  prometheus,
} from "../src/monitor/mod.ts";
import { RULE_METRICS } from "../src/monitor/rule_metrics.ts";
import { Puppet } from "./helpers/puppet.ts";
import { freePort, startRedis } from "./helpers/redis_server.ts";

/** An independent parser of the text format; it has no types. */
const parseFamilies = createRequire(import.meta.url)("parse-prometheus-text-format") as (text: string) => {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly metrics: readonly { readonly labels?: Readonly<Record<string, string>>; readonly value?: string }[];
}[];

/** One line of the text. */
interface Line {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Parses all lines. The parser drops the labels of histograms, so they are passed as untyped. */
function parse(text: string): Line[] {
  const flat = text.replace(/^(# TYPE \w+) histogram$/gm, "$1 untyped");
  return parseFamilies(flat).flatMap(({ name, metrics }) =>
    metrics.map(({ labels = {}, value }) => ({ name, labels, value: Number(value) })),
  );
}

/** Returns the values of a metric with some labels, in their order. */
function values(text: string, name: string, labels: Readonly<Record<string, string>> = {}): number[] {
  const wanted = Object.entries(labels);
  const fits = (line: Line): boolean => line.name === name && wanted.every(([label, is]) => line.labels[label] === is);
  return parse(text).flatMap((line) => (fits(line) ? line.value : []));
}

const place = { service: "product", collection: "products" };

describe("prometheus", () => {
  it("prometheus writes the counts, as an independent parser reads them", async () => {
    const redis = await startRedis();
    const client = createCacheClient({ env: {}, url: redis.url, fleetStats: true });
    const watch = monitor(client, { clock: () => 10_000 });
    try {
      const { products } = client.service("product");
      await products.set("S3CRET-1", { id: 1, name: "Pho" });
      for (let i = 0; i < 3; i++) await products.get("S3CRET-1");
      await products.get("S3CRET-2");
      await products.getOrSet("S3CRET-3", () => ({ id: 3, name: "Bun" }));
      await watch.tick();
      const text = prometheus(watch);
      const value = (name: string, labels?: Readonly<Record<string, string>>): number => {
        const found = values(text, name, labels);
        assert.equal(found.length, 1, `${name} ${JSON.stringify(labels)}`);
        return found[0] as number;
      };
      assert.equal(value("larder_hits_total", place), 3);
      assert.equal(value("larder_misses_total", place), 2);
      assert.equal(value("larder_loads_total", place), 1);
      assert.equal(value("larder_failures_total", { ...place, kind: "timeout" }), 0);
      assert.equal(value("larder_store_up"), 1);
      assert.ok(value("larder_store_memory_used_bytes") > 100_000);
      assert.ok(value("larder_store_keys", { service: "product" }) >= 2);
      assert.equal(value("larder_commands_total"), client.stats().wire.commands);
      assert.ok(value("larder_fleet_hits_total", { service: "product" }) >= 0);
      const buckets = values(text, "larder_operation_duration_seconds_bucket", place);
      assert.ok(buckets.every((below, i) => i === 0 || below >= (buckets[i - 1] as number)));
      assert.equal(buckets.at(-1), value("larder_operation_duration_seconds_count", place));
      assert.equal(buckets.at(-1), client.stats().latency.count);
      const sum = value("larder_operation_duration_seconds_sum", place);
      assert.ok(sum > 0 && sum < 60);
      assert.equal(value("larder_load_duration_seconds_count", place), 1);
      assert.doesNotMatch(text, /S3CRET/);
    } finally {
      await watch.close();
      await client.close();
      await redis.stop();
    }
  });

  it("prometheus writes each metric as it is declared, with exactly its labels", async () => {
    const client = new Puppet();
    let now = 0;
    const watch = monitor(client, { clock: () => now, rules: [{ name: "r", metric: "errors", above: 0 }] });
    client.products.errors++;
    client.emit({ type: "breaker", driver: "memory", state: "open" });
    now += 10_000;
    await watch.tick();
    const text = prometheus(watch);
    const families = new Map(parseFamilies(text).map((family) => [family.name, family]));
    for (const { name, type, help, labels } of METRICS) {
      const family = families.get(name);
      // An embedded store does not report these, and has no nodes.
      if (/^larder_(store_(?!up|un|lat|keys)|node_|billed)/.test(name)) continue;
      assert.deepEqual([family?.type, family?.help], [type.toUpperCase(), help], name);
      const lines = parse(text).filter(
        (line) => line.name.replace(/_(bucket|sum|count)$/, "") === name || line.name === name,
      );
      assert.ok(lines.length > 0, name);
      for (const line of lines) {
        const { le, ...own } = line.labels;
        assert.deepEqual(Object.keys(own), [...labels], name);
        assert.equal(le !== undefined, line.name.endsWith("_bucket"));
      }
      families.delete(name);
    }
    assert.deepEqual([...families.keys()], []);
    await watch.close();
  });

  it("prometheus escapes the names of rules, and marks OpenMetrics", async () => {
    const client = new Puppet();
    let now = 0;
    const name = 'a "rule"\\\n# HELP evil';
    const watch = monitor(client, { clock: () => now, rules: [{ name, metric: "errors", above: 0 }] });
    client.products.errors++;
    now += 10_000;
    await watch.tick();
    const text = prometheus(watch);
    assert.match(
      text,
      /^larder_alert_firing\{rule="a \\"rule\\"\\\\\\n# HELP evil",severity="warning",service=""\} 1$/m,
    );
    const open = prometheus(watch, "openmetrics");
    assert.match(open, /^# TYPE larder_hits counter$/m);
    assert.match(open, /^larder_hits_total\{/m);
    assert.ok(open.endsWith("# EOF\n"));
    const lines = (all: string): string[] => all.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    assert.deepEqual(lines(open), lines(text));
  });

  it("prometheus writes times in buckets that end where the counters' buckets end", () => {
    const client = new Puppet();
    const watch = monitor(client, { clock: () => 0 });
    for (const ms of [0.0001, 0.05, 0.1, 1, 30, 300, 1e6]) client.products.time(ms);
    const below = (le: string): number[] =>
      values(prometheus(watch), "larder_operation_duration_seconds_bucket", { ...place, le });
    assert.deepEqual(
      ["0.000064", "0.000128", "0.001024", "0.032768", "0.524288", "16.777216", "+Inf"].flatMap(below),
      [2, 3, 4, 5, 6, 6, 7],
    );
  });
});

describe("metricsHandler", () => {
  const ask = (path: string, init?: RequestInit): Request => new Request(`http://localhost${path}`, init);
  const bearer = (token: string): RequestInit => ({ headers: { authorization: `Bearer ${token}` } });

  it("metricsHandler serves metrics with the token, and health and readiness without", async () => {
    const client = createCacheClient({ env: {}, driver: "memory" });
    const watch = monitor(client);
    const handler = metricsHandler(watch, { token: "right" });
    for (const init of [undefined, bearer("wrong"), bearer("right-"), bearer("")]) {
      const response = await handler(ask("/metrics", init));
      assert.equal(response.status, 401);
      assert.equal(response.headers.get("www-authenticate"), "Bearer");
    }
    const metrics = await handler(ask("/metrics", bearer("right")));
    assert.equal(metrics.headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert.deepEqual(values(await metrics.text(), "larder_store_up"), [1]);
    const headers = {
      authorization: "bearer right",
      accept: "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    };
    const open = await handler(ask("/metrics", { headers }));
    assert.match(open.headers.get("content-type") ?? "", /^application\/openmetrics-text; version=1\.0\.0/);
    assert.match(await open.text(), /# EOF\n$/);
    assert.equal((await handler(ask("/health"))).status, 200);
    assert.equal(await (await handler(ask("/ready"))).text(), "ready\n");
    const head = await handler(ask("/metrics", { method: "HEAD", ...bearer("right") }));
    assert.deepEqual([head.status, await head.text()], [200, ""]);
    assert.equal((await handler(ask("/"))).status, 404);
    assert.equal((await handler(ask("/metrics/x"))).status, 404);
    assert.equal((await handler(ask("/metrics", { method: "POST" }))).headers.get("allow"), "GET, HEAD");
    assert.throws(
      () => metricsHandler(client as never),
      /Cannot serve metrics: received a value of type object, expected /,
    );
    for (const token of ["", "a b", "\n", 1]) {
      assert.throws(() => metricsHandler(watch, { token: token as string }), /Cannot set a token/);
    }
    await watch.close();
    await client.close();
  });

  it("metricsHandler is not ready while the store is away, and asks it at most once a second", async () => {
    const wire = nodeRedis({ url: `redis://127.0.0.1:${await freePort()}` });
    let asked = 0;
    const send: typeof wire.send = (...args) => {
      asked++;
      return wire.send(...args);
    };
    const { name, capabilities } = wire;
    const driver = { name, capabilities, send, close: () => wire.close() };
    const client = createCacheClient({ env: {}, driver });
    const watch = monitor(client, { clock: () => 0, timeout: 300 });
    const handler = metricsHandler(watch);
    const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await handler(ask("/ready"))).status));
    assert.deepEqual(new Set(statuses), new Set([503]));
    assert.equal(asked, 1);
    assert.equal((await handler(ask("/health"))).status, 200);
    assert.match(await (await handler(ask("/metrics"))).text(), /^larder_store_up 0$/m);
    await watch.close();
    await client.close();
    await wire.close();
  });
});

type SyntaxNode = ReturnType<typeof parser.parse>["topNode"];

/** Returns the problems of a query: syntax errors, metrics that are not exported, labels that they do not have. */
function problems(expr: string): string[] {
  const text = expr.replaceAll("$__rate_interval", "5m");
  const names = new Map<string, readonly string[]>();
  for (const { name, type, labels } of METRICS) {
    const all = [...labels, "instance", "job"];
    if (type !== "histogram") names.set(name, all);
    else
      for (const end of ["bucket", "count", "sum"])
        names.set(`${name}_${end}`, end === "bucket" ? [...all, "le"] : all);
  }
  const found: string[] = [];
  /** Returns the metrics within a part of the query. */
  const within = (part: SyntaxNode): string[] => {
    const used: string[] = [];
    part.cursor().iterate(({ name, from, to }) => {
      if (name === "Identifier") used.push(text.slice(from, to));
    });
    return used;
  };
  parser.parse(text).iterate({
    enter({ name, type, from, to, node }) {
      if (type.isError) found.push(`does not parse at ${from}: ${text}`);
      const word = text.slice(from, to);
      if (name === "Identifier" && !names.has(word)) found.push(`${word} is not exported`);
      if (name !== "LabelName") return;
      let part = node;
      while (part.parent && !/^(VectorSelector|AggregateExpr)$/.test(part.name)) part = part.parent;
      for (const metric of within(part)) {
        if (!names.get(metric)?.includes(word)) found.push(`${metric} has no label ${word}`);
      }
    },
  });
  return found;
}

describe("alertingRules", () => {
  it("alertingRules writes valid queries of exported metrics and labels for every metric", () => {
    const rules = (Object.keys(RULE_METRICS) as MetricName[]).flatMap((metric): AlertRule[] => {
      const rule: AlertRule = { name: metric, metric, above: 5, minSamples: 10, over: "90s", for: "2m" };
      if (!RULE_METRICS[metric].ofServices) return [rule];
      const one = { ...rule, name: `${metric} one`, service: "product" };
      const part =
        RULE_METRICS[metric].ofCollections === false
          ? []
          : [{ ...one, name: `${metric} part`, collection: "products" }];
      return [rule, { ...rule, name: `${metric} each`, service: "*" }, one, ...part];
    });
    const [group] = alertingRules(rules).groups;
    assert.equal(group?.rules.length, rules.length);
    for (const { alert, expr, for: held } of group?.rules ?? []) {
      assert.match(alert, /^[A-Za-z]\w*$/);
      assert.deepEqual(problems(expr), [], expr);
      assert.equal(held, "2m");
    }
    assert.match(group?.rules[0]?.expr ?? "", /\[90s\]/);
  });
});

describe("monitoring/", () => {
  const read = (file: string): Promise<string> => readFile(`monitoring/${file}`, "utf8");
  const hint = "run `node scripts/monitoring.mjs`";

  it("prometheus_rules.yaml holds the default rules, with queries of exported metrics", async () => {
    assert.deepEqual(parseYaml(await read("prometheus_rules.yaml")), alertingRules(), hint);
    for (const { expr } of alertingRules().groups.flatMap(({ rules }) => rules)) assert.deepEqual(problems(expr), []);
  });

  it("grafana.json holds the Grafana dashboard, with queries of exported metrics", async () => {
    const file = JSON.parse(await read("grafana.json"));
    assert.deepEqual(file, JSON.parse(JSON.stringify(grafanaDashboard())), hint);
    const { panels } = grafanaDashboard();
    const targets = panels.flatMap((panel) => panel.targets);
    assert.ok(targets.length > 30);
    for (const { expr } of targets) assert.deepEqual(problems(expr), []);
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    // No two panels overlap.
    const taken = new Set<string>();
    for (const { gridPos, title } of panels) {
      const { x, y, w, h } = gridPos as Record<"x" | "y" | "w" | "h", number>;
      for (let column = x; column < x + w; column++) {
        for (let row = y; row < y + h; row++) {
          assert.ok(!taken.has(`${column} ${row}`), title);
          taken.add(`${column} ${row}`);
        }
      }
    }
  });

  it("problems finds what is wrong with a query", () => {
    assert.match(problems("sum(rate(larder_hits_total[5m])")[0] ?? "", /does not parse/);
    assert.deepEqual(problems("larder_heat > 1"), ["larder_heat is not exported"]);
    assert.match(problems('larder_hits_total{kind="x"}')[0] ?? "", /has no label kind/);
  });
});
