// Who imports whom: one way, without cycles, as CONTRIBUTING.md says. Type imports count as imports.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { transformSync } from "esbuild";
import { bin, files, root, run } from "./tools.mjs";

/** The rooms from the bottom up: a file imports its own room and those that stand above it in this list. */
const ROOMS = [
  ["the driver contract", /^drivers\/(driver|glob)\.ts$/],
  ["base", /^src\/base\//],
  ["lua", /^src\/lua\//],
  ["entry", /^src\/entry\//],
  ["telemetry", /^src\/telemetry\//],
  ["runtime", /^src\/runtime\//],
  ["wire", /^src\/wire\//],
  ["config", /^src\/config\//],
  ["near", /^src\/near\//],
  ["cache", /^src\/cache\//],
  ["services", /^src\/services\//],
  ["drivers", /^drivers\//],
  ["client", /^src\/client\//],
  ["doors", /^src\/(core|edge|main)\.ts$/],
  ["manager", /^src\/manager\//],
  ["bridge", /^src\/bridge\//],
  ["monitor", /^src\/monitor\//],
  ["dashboard", /^src\/dashboard\//],
  ["cli", /^src\/cli\//],
  ["mod.ts", /^mod\.ts$/],
];

/** Drivers know their contract, `src/base/` and each other's folders by this rule alone, and their client package. */
const OF_DRIVERS = /^(drivers\/|src\/base\/)/;
/** The memory driver runs twins instead of Lua: a bundle without it must not carry them. The one import upwards. */
const OF_MEMORY = "src/lua/twins.ts";

const place = (file) => {
  const rank = ROOMS.findIndex(([, pattern]) => pattern.test(file));
  if (rank < 0) throw new Error(`${file} is in no room: move it into one of ROOMS in scripts/graph.mjs`);
  return { name: ROOMS[rank][0], rank };
};

/** The library's files and what each imports, as `[{ to, types, dynamic }]`; packages keep their specifier. */
async function read() {
  const sources = ["mod.ts", ...files("src", /\.ts$/), ...files("drivers", /\.ts$/)];
  const folder = mkdtempSync(join(tmpdir(), "larder-graph-"));
  const entry = join(folder, "all.ts");
  writeFileSync(entry, sources.map((file) => `import ${JSON.stringify(pathToFileURL(join(root, file)))};\n`).join(""));
  const { code, output } = await run(bin("deno"), ["info", "--quiet", "--json", "--config", "deno.json", entry]);
  rmSync(folder, { recursive: true });
  if (code !== 0) throw new Error(output);
  const base = `${pathToFileURL(root)}/`;
  const local = (specifier) => (specifier.startsWith(base) ? decodeURI(specifier.slice(base.length)) : specifier);
  const graph = new Map(sources.map((file) => [file, []]));
  for (const { specifier, error, dependencies = [] } of JSON.parse(output).modules) {
    if (error !== undefined) throw new Error(error);
    for (const { specifier: written, code, type, isDynamic = false } of dependencies) {
      const target = code ?? type;
      if (target.error !== undefined) throw new Error(`${local(specifier)}: ${target.error}`);
      const to = /^[./]/.test(written) ? local(target.specifier) : written;
      graph.get(local(specifier))?.push({ to, types: code === undefined, dynamic: isDynamic });
    }
  }
  return graph;
}

function cycles(graph) {
  const problems = [];
  const state = new Map();
  const visit = (file, path) => {
    if (state.get(file) === "done") return;
    if (state.get(file) === "open") {
      problems.push(`import cycle: ${[...path.slice(path.indexOf(file)), file].join(" -> ")}`);
      return;
    }
    state.set(file, "open");
    for (const { to } of graph.get(file) ?? []) visit(to, [...path, file]);
    state.set(file, "done");
  };
  for (const file of graph.keys()) visit(file, []);
  return problems;
}

function directions(graph) {
  const problems = [];
  for (const [file, imports] of graph) {
    const from = place(file);
    for (const { to } of imports) {
      if (!graph.has(to)) {
        if (/^\./.test(to)) problems.push(`${file} imports ${to}, which does not exist`);
      } else if (from.name === "drivers") {
        if (!OF_DRIVERS.test(to) && !(file.startsWith("drivers/memory") && to === OF_MEMORY))
          problems.push(`${file} imports ${to}: a driver imports its contract, src/base/ and its client package alone`);
      } else if (place(to).rank > from.rank) {
        problems.push(`${file} (${from.name}) imports ${to} (${place(to).name}), which is above it`);
      }
    }
  }
  return problems;
}

/** What is loaded by importing a file; with `dynamic`, also what it may load later. */
function closure(graph, file, dynamic, seen = new Set()) {
  for (const { to, types, dynamic: later } of graph.get(file) ?? []) {
    if (types || (later && !dynamic) || seen.has(to)) continue;
    seen.add(to);
    closure(graph, to, dynamic, seen);
  }
  return seen;
}

function tcpClients(graph) {
  const problems = [];
  if (closure(graph, "mod.ts", false).has("redis")) problems.push("importing mod.ts loads the TCP client");
  for (const file of ["src/core.ts", "src/edge.ts"]) {
    if (!graph.has(file)) problems.push(`${file} is missing`);
    else if (closure(graph, file, true).has("redis")) problems.push(`${file} can load the TCP client`);
  }
  for (const file of ["mod.ts", "src/core.ts", "src/edge.ts"]) {
    for (const name of ["src/runtime/process.ts", "commander", "@clack/prompts", "@opentelemetry/api"]) {
      if (closure(graph, file, true).has(name)) problems.push(`${file} can load ${name}`);
    }
  }
  return problems;
}

/** Only these touch a runtime's own globals and modules. */
const RUNTIME = files("src/runtime", /\.ts$/);
/** The TCP driver's own protocol, loaded with its client package only. */
const OF_TCP = /^drivers\/node_redis\/resp(_connection)?\.ts$/;

function runtimeGlobals(graph) {
  const problems = [];
  const use = /["'`]node:[a-z]|\b(?:Deno|Bun|process)\s*(?:\?\.|[.[])|typeof\s+(?:Deno|Bun|process)\b/;
  for (const file of graph.keys()) {
    if (RUNTIME.includes(file) || OF_TCP.test(file)) continue;
    const source = readFileSync(join(root, file), "utf8");
    // Compiled, so that comments and types do not count.
    const { code } = transformSync(source, { loader: "ts", target: "es2022", legalComments: "none" });
    const found = use.exec(code.replace(/from "\..*";$/gm, ""));
    if (found) problems.push(`${file} uses ${found[0]}: only src/runtime/ may`);
  }
  return problems;
}

/** Answers what is wrong with the imports, a line each. */
export async function checkGraph() {
  const graph = await read();
  return [...cycles(graph), ...directions(graph), ...tcpClients(graph), ...runtimeGlobals(graph)];
}
