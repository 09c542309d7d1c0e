// Writes the numbers of bench/capacity.ts into docs/scaling.md, and into src/manager/costs.ts for `larder capacity`.
// `node scripts/bench_page.mjs` and `npm run bench` run it.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./tools.mjs";

const BENCH = "bench/capacity.ts";
const PAGE_FILE = "docs/scaling.md";
const COSTS_FILE = "src/manager/costs.ts";
const [BEGIN, END] = ["<!-- Written by scripts/scaling.mjs. -->", "<!-- The end of what is written. -->"];

/** Returns the texts of the files that show the numbers, by their paths. */
export function scalingFiles(results) {
  const { runs = {} } = results[BENCH] ?? {};
  const all = Object.values(runs);
  if (all.length === 0 || !existsSync(join(root, PAGE_FILE))) return {};
  // Each row is the median of the runtimes: what a server does hardly depends on its client.
  const of = (title, pick = ({ measured }) => Number(measured)) => {
    const values = all.flatMap(({ rows }) => rows.filter((row) => row.title === title).map(pick));
    if (values.length === 0) throw new Error(`${BENCH} has no result of "${title}"`);
    return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  };
  const text = readFileSync(join(root, PAGE_FILE), "utf8");
  const [before, rest] = text.split(BEGIN);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Error(`${PAGE_FILE} lacks ${BEGIN} or ${END}`);
  const page = `${before}${BEGIN}\n\n${tables(of, all)}\n${END}${after}`;
  return { [PAGE_FILE]: page, [COSTS_FILE]: source(of, all) };
}

/** Writes the files. */
export function writeScaling(results) {
  for (const [file, text] of Object.entries(scalingFiles(results))) writeFileSync(join(root, file), text);
}

/** The verbs: their names in the code and on the page, what their rows are multiples of, and their rows. */
const VERBS = [
  ["read", "`get` without tags", "get", "read, together", "read, alone"],
  ["knownRead", "`get` with two tags, marks known", "get", "tagged read by known marks, together", "read, alone"],
  ["scriptRead", "`get` with two tags, by script", "script", "tagged read by script, together", "sliding read, alone"],
  ["slidingRead", "`get`, sliding, two tags", "script", "sliding read, together", "sliding read, alone"],
  ["write", "`set` without tags", "set", "write, together", "write, alone"],
  ["taggedWrite", "`set` with two tags", "script", "tagged write, together", "tagged write, alone"],
  ["invalidation", "`invalidateTags` of one tag", "script", "invalidation, together", "invalidation, alone"],
  ["rateLimit", "`checkRateLimit`", "script", "rate limit check, together"],
];

/** The things in a server's memory: their names in the code and on the page, and their rows. */
const MEMORY = [
  ["entry", "an entry without tags, beyond its value as text", "bytes of an entry beyond its value"],
  ["taggedEntry", "an entry with two tags, beyond its value as text", "bytes of a tagged entry beyond its value"],
  ["mark", "the mark of a tag, in each shard", "bytes of a mark"],
  ["client", "a process: its connection", "bytes of a client"],
  ["nearClient", "a process with near caches: two connections", "bytes of a client with near caches"],
];

/** Returns what the bases cost, in GETs among many. */
const bases = (of) => ({ get: 1, set: of("SET"), script: of("script") });
const time = ({ detail }) => Number(/([\d.]+) us$/.exec(detail)?.[1]);
const machineOf = ([{ redis, machine }]) => `${redis}, ${machine}`;

function tables(of, all) {
  const get = of("GET, alone", time) / of("GET, alone");
  const line = (cells) => `| ${cells.join(" | ")} |\n`;
  const rows = VERBS.map(([, name, base, together, alone]) => {
    const gets = bases(of)[base];
    return [name, of(together) * gets, ...(alone ? [of(alone) * gets] : [])];
  });
  const cost = (gets) => [gets.toFixed(1), (gets * get).toFixed(1)];
  const near = ["together", "alone"].map((how) => of(`a write to a near client, ${how}`));
  const unit = `${get.toFixed(2)} us`;
  return `Server CPU, in GETs: a GET among 500 in one write is 1, here ${unit}. "Together" is each of 500 calls
of one tick. "Alone" is the only call of its tick. Values of 1.1 KB.

${line(["", "together", "us", "alone", "us"])}${line(["---", "---", "---", "---", "---"])}${[
  ["`GET`", 1, of("GET, alone")],
  ["`SET ... PX`", bases(of).set],
  ["a script of one GET", bases(of).script],
  ...rows,
  ["report of a write to one near client", ...near],
]
  .map(([name, together, alone]) => line([name, ...cost(together), ...(alone === undefined ? ["", ""] : cost(alone))]))
  .join("")}
Server memory, in bytes; the server's allocator rounds sizes up by as much as a fifth.

${line(["", "bytes"])}${line(["---", "---"])}${MEMORY.map(([, name, row]) => line([name, of(row)])).join("")}
Measured by \`bench/capacity.ts\` on ${machineOf(all)}.
`;
}

function source(of, all) {
  const number = (value) => `${Number(value.toFixed(2))}`;
  const trip = of("GET, alone") - 1;
  const get = of("GET, alone", time) / of("GET, alone");
  const verbs = VERBS.slice(0, 7).map(([name, , base, together, alone]) => {
    const each = of(together);
    // What is left of a call alone without its trip.
    const own = Math.max(each, of(alone) - trip / bases(of)[base]);
    return `  ${name}: { base: "${base}", together: ${number(each)}, own: ${number(own)} },`;
  });
  const { set, script } = bases(of);
  const names = VERBS.slice(0, 7).map(([name]) => JSON.stringify(name));
  const memory = MEMORY.map(([name, , row]) => [name, of(row)]);
  const reference = { trip: trip * get, get, set: set * get, script: script * get };
  const fields = (entries) => entries.map(([name, value]) => `  ${name}: ${number(value)},\n`).join("");
  return `// Written by scripts/scaling.mjs from the results of bench/capacity.ts.

/** The costs of a verb for a server, in multiples of what the base costs the same server. */
export interface Cost {
  readonly base: "get" | "set" | "script";
  /** Each call among many of one command. */
  readonly together: number;
  /** A call that is a command of its own. */
  readonly own: number;
}

/** The verbs of {@linkcode COSTS}. */
export type Verb = ${names.join(" | ")};

/** The costs of each verb. */
export const COSTS: Readonly<Record<Verb, Cost>> = {
${verbs.join("\n")}
};

/** The costs of reporting a write to one near client, in GETs: one write of many at a time, and one alone. */
export const NEAR: { readonly together: number; readonly alone: number } = {
${fields(["together", "alone"].map((how) => [how, near(of, how)]))}};

/** Bytes of a server's memory: for a process, for an entry beyond its value, and for a mark in each shard. */
export const KEPT_BYTES: Readonly<Record<${memory.map(([name]) => JSON.stringify(name)).join(" | ")}, number>> = {
${fields(memory)}};

/** The costs of the server that was measured, in microseconds. */
export const REFERENCE: Readonly<Record<${Object.keys(reference)
    .map((name) => JSON.stringify(name))
    .join(" | ")}, number>> = {
${fields(Object.entries(reference))}};

/** The server that was measured, and its machine. */
export const REFERENCE_NAME = ${JSON.stringify(machineOf(all))};
`;
}

const near = (of, how) => of(`a write to a near client, ${how}`);
