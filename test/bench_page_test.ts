import assert from "node:assert/strict";
import { resolve } from "node:path";
import { describe, it } from "node:test";
import { pathToFileURL } from "node:url";

interface Run {
  readonly date: string;
  readonly version: string;
  readonly redis: string;
  readonly machine: string;
  readonly rows: readonly object[];
}
type Results = Readonly<Record<string, { readonly question: string; readonly runs: Readonly<Record<string, Run>> }>>;

/** The part of scripts/bench_page.mjs that is used here. */
interface BenchPage {
  withRun(results: Results, file: string, runtime: string, question: string, run: Run): Results;
  questionOf(source: string): string;
  benchPage(results: Results): string;
}

const load = async () => (await import(pathToFileURL(resolve("scripts/bench_page.mjs")).href)) as unknown as BenchPage;
const run = (version: string, ...rows: object[]): Run => {
  return { date: "2026-11-28", version, redis: "Redis 7.0.15", machine: "Linux x64 with 2 cores", rows };
};
const hit = { title: "a hit", bar: "1.0 or more", peer: "redis 4.7.1" };

describe("the page of the benchmarks", () => {
  it("withRun replaces the results of the same file and runtime only", async () => {
    const { withRun } = await load();
    let results = withRun({}, "bench/set.ts", "node", "Old?", run("Node 20.0.0"));
    results = withRun(results, "bench/get.ts", "bun", "What?", run("Bun 1.4.5"));
    results = withRun(results, "bench/set.ts", "bun", "How?", run("Bun 1.4.4"));
    results = withRun(results, "bench/set.ts", "bun", "How?", run("Bun 1.4.5", hit));
    assert.deepEqual(results, {
      "bench/get.ts": { question: "What?", runs: { bun: run("Bun 1.4.5") } },
      "bench/set.ts": { question: "How?", runs: { bun: run("Bun 1.4.5", hit), node: run("Node 20.0.0") } },
    });
    assert.deepEqual(Object.keys(results), ["bench/get.ts", "bench/set.ts"]);
  });

  it("benchPage marks a missed bar, and keeps one row for each title and peer", async () => {
    const { withRun, benchPage } = await load();
    const bun = run("Bun 1.4.5", { ...hit, ok: true, measured: "1.20" }, { title: "a|b", measured: "7" });
    const node = run(
      "Node 20.0.0",
      { ...hit, peer: "redis 4.7.2", ok: false, measured: "0.90" },
      { ...hit, peer: "ioredis 5.1.0", ok: true, measured: "1.10" },
    );
    const page = benchPage(withRun(withRun({}, "bench/get.ts", "bun", "Q?", bun), "bench/get.ts", "node", "Q?", node));
    const table = page.slice(page.indexOf("## get.ts"));
    assert.deepEqual(table.trim().split("\n"), [
      "## get.ts",
      "",
      "Q?",
      "",
      "|  | bar | against | Bun | Deno | Node |",
      "| --- | --- | --- | --- | --- | --- |",
      "| a hit | 1.0 or more | redis 4.7.1, redis 4.7.2 | 1.20 |  | **0.90** |",
      "| a\\|b |  |  | 7 |  |  |",
      "| a hit | 1.0 or more | ioredis 5.1.0 |  |  | 1.10 |",
      "",
      "2026-11-28: Bun 1.4.5, Node 20.0.0.",
    ]);
    assert.match(page, /\| reached \| 1 \| 0 \| 1 \|\n\| missed \| 0 \| 0 \| 1 \|/);
    assert.match(page, /^- \[get\.ts\]\(#getts\), Node, a hit: 0\.90, bar 1\.0 or more$/m);
  });

  it("questionOf answers the first sentences of a bench", async () => {
    const { questionOf } = await load();
    assert.equal(questionOf("// How fast\n// is it?\n//\n// A note.\nimport 1;\n"), "How fast is it?");
  });
});
