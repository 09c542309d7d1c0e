// The last results of the benchmarks, and the page that shows them. `node scripts/bench_page.mjs` writes the page, and
// what `scripts/scaling.mjs` makes of them.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeScaling } from "./scaling.mjs";
import { root } from "./tools.mjs";

export const PAGE_FILE = "bench/README.md";
/**
 * `{ [file]: { question, runs: { [runtime]: { date, version, redis, machine, rows } } } }`. A row is `{ title, bar, ok,
 * peer, measured, detail }`, as bench/helpers/compare.ts writes it.
 */
const RESULTS_FILE = "bench/results.json";
const RUNTIMES = { bun: "Bun", deno: "Deno", node: "Node" };
/** The maximum width of a cell. */
const CELL = 100;

/** Returns the last results, without those of files that are gone. */
export function readBenchResults() {
  const path = join(root, RESULTS_FILE);
  const results = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
  return Object.fromEntries(Object.entries(results).filter(([file]) => existsSync(join(root, file))));
}

/** Returns the results with those of one run, which replace the last ones of the same file and runtime. */
export function withRun(results, file, runtime, question, run) {
  const { runs = {} } = results[file] ?? {};
  const next = { ...results, [file]: { question, runs: sorted({ ...runs, [runtime]: run }) } };
  return sorted(next);
}

function sorted(record) {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Writes the results, the page of them, and what else is made of them. */
export function writeBenchResults(results) {
  // A row has a line of its own, so that changes can be read.
  const text = JSON.stringify(results, (_key, value) => (value?.title ? `\0${JSON.stringify(value)}\0` : value), 1);
  writeFileSync(
    join(root, RESULTS_FILE),
    `${text.replace(/"\\u0000(.*)\\u0000"/g, (_, row) => JSON.parse(`"${row}"`))}\n`,
  );
  writeFileSync(join(root, PAGE_FILE), benchPage(results));
  writeScaling(results);
}

/** Returns the question of a bench: the first sentences of its source. */
export function questionOf(source) {
  const lines = /^(?:\/\/ .*\n)+/.exec(source)?.[0] ?? "";
  return lines
    .replace(/^\/\/ /gm, "")
    .trim()
    .replaceAll("\n", " ");
}

/** Makes the page of the results. */
export function benchPage(results) {
  const all = Object.entries(results).flatMap(([file, { runs }]) =>
    Object.entries(runs).flatMap(([runtime, { rows }]) => rows.map((row) => ({ file, runtime, ...row }))),
  );
  const runs = Object.values(results).flatMap(({ runs }) => Object.values(runs));
  const each = (of) => [...new Set(runs.map(of))].sort().join("; ");
  return `<!-- Written by scripts/bench_page.mjs from results.json. -->
# Benchmarks

Where larder stands: the last results of each benchmark, on Bun, Deno and Node. \`npm run bench\` writes them.

## How to read the tables

- Each file asks one question, and measures its peers in the same run, side by side. A time alone says more about a
  machine than about a library, so a cell is a ratio if it can be one.
- A rate is compared in rounds that run both sides in alternating order. Each round gives one ratio, our rate over the
  peer's. The cell is the median, and above 1 larder is faster. For "or less" it is what larder needs over what the
  peer needs, and below 1 larder needs less.
- The bar is what the project wants to reach. A result that does not reach it is **bold**. A row without a bar is for
  information.
- [results.json](results.json) also has the details of each row: quartiles, and the times of both sides.

Measured on ${each(({ machine }) => machine) || "no machine yet"}. Server: ${each(({ redis }) => redis) || "none yet"}.

## How to run them

\`npm run bench\` runs all. \`npm run bench bun near_hit\` runs the files whose path contains the word, on one runtime,
and replaces only their results. A run that fails leaves the results as they were. Other work on the machine makes
times longer, and ratios a little less steady: leave it quiet.

## Bars

${standing(all)}
${Object.entries(results)
  .map(([file, result]) => section(file, result))
  .join("\n")}`;
}

/** The number of bars on each runtime, and those that are missed. */
function standing(all) {
  const names = Object.keys(RUNTIMES);
  const count = (ok) =>
    names.map((name) => all.filter((row) => row.runtime === name && row.bar !== undefined && row.ok === ok).length);
  const missed = all.filter(({ ok }) => ok === false);
  return [
    line(["bars", ...Object.values(RUNTIMES)]),
    line(["---", ...names.map(() => "---")]),
    line(["reached", ...count(true)]),
    line(["missed", ...count(false)]),
    ...(missed.length > 0 ? ["", "Missed:", ""] : []),
    ...missed.map(({ file, runtime, title, bar, measured }) =>
      folded(`- [${name(file)}](#${anchor(file)}), ${RUNTIMES[runtime]}, ${title}: ${measured}, bar ${bar}`),
    ),
    "",
  ].join("\n");
}

const name = (file) => file.slice("bench/".length);
const anchor = (file) => name(file).replace(".", "");
const line = (cells) => `| ${cells.map(cell).join(" | ")} |`;

/** Returns a text that fits into a cell. */
function cell(value) {
  const text = String(value).replace(/\s+/g, " ");
  const short = text.length > CELL ? `${text.slice(0, CELL - 3).trimEnd()}...` : text;
  return short.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}

/** Breaks a text into lines that are no wider than those of other pages. */
function folded(text) {
  return text.replace(/(?=.{119})(.{1,117}) /g, (_, part) => `${part}\n${text.startsWith("- ") ? "  " : ""}`);
}

/** One table: a row for each title and peer, a column for each runtime. */
function section(file, { question, runs }) {
  const lines = new Map();
  for (const [runtime, { rows }] of Object.entries(runs)) {
    for (const row of rows) {
      // The same peer in another version stays one row.
      const id = `${row.title}\n${(row.peer ?? "").replace(/ \d[\w.-]*/g, "")}`;
      const known = lines.get(id) ?? { title: row.title, bar: row.bar ?? "", peers: new Set(), cells: {} };
      if (row.peer) known.peers.add(row.peer);
      known.cells[runtime] = row.ok === false ? `**${row.measured}**` : row.measured;
      lines.set(id, known);
    }
  }
  const rows = [...lines.values()];
  const columns = [
    ["", ({ title }) => title],
    ["bar", ({ bar }) => bar],
    ["against", ({ peers }) => [...peers].join(", ")],
    ...Object.entries(RUNTIMES).map(([runtime, title]) => [title, ({ cells }) => cells[runtime] ?? ""]),
  ].filter(([title, of]) => title in runs || !/bar|against/.test(title) || rows.some(of));
  const dates = new Map();
  for (const { date, version } of Object.values(runs)) dates.set(date, [...(dates.get(date) ?? []), version]);
  return [
    `## ${name(file)}`,
    "",
    folded(question),
    "",
    line(columns.map(([title]) => title)),
    line(columns.map(() => "---")),
    ...rows.map((row) => line(columns.map(([, of]) => of(row)))),
    "",
    folded(`${[...dates].map(([date, versions]) => `${date}: ${versions.join(", ")}`).join(". ")}.`),
    "",
  ].join("\n");
}

if (process.argv[1] === import.meta.filename) writeBenchResults(readBenchResults());
