// Checks that imports go one way, without cycles, as CONTRIBUTING.md says. Type imports count as imports.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { transformSync } from "esbuild";
import { bin, files, root, run } from "./tools.mjs";

/**
 * The rooms from the bottom up: a file imports its own room and those that stand above it in this list. The first
 * pattern that matches a file decides its room. A file in no room is an error.
 */
const ROOMS = [
  room("base"),
  room("runtime"),
  ["the driver contract", /^drivers\/(driver|glob)\.ts$/],
  ...["lua", "entry", "telemetry", "wire", "config", "near", "cache", "services"].map(room),
  ["drivers", /^drivers\/(memory|node_redis|cluster|sentinel|upstash)(\/|\.ts$)/],
  room("client"),
  ["doors", /^src\/(core|edge|main)\.ts$/],
  ...["manager", "bridge", "monitor", "dashboard", "cli"].map(room),
  ["mod.ts", /^mod\.ts$/],
];

function room(name) {
  return [name, new RegExp(`^src/${name}/`)];
}

/** Drivers know their contract, `src/base/` and their own client package. */
const OF_DRIVERS = /^(drivers\/|src\/base\/)/;
/** The one import upwards: the memory driver runs twins instead of Lua, and a bundle without it must not carry them. */
const UPWARDS = { from: /^drivers\/memory[/.]/, to: "src/lua/twins.ts" };

/** The maximum number of levels of rooms, counted along the longest chain of imports. */
const LEVELS = 13;

function place(file) {
  const rank = ROOMS.findIndex(([, pattern]) => pattern.test(file));
  return rank < 0 ? undefined : { name: ROOMS[rank][0], rank };
}

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
    if (!from) {
      problems.push(`${file} is in no room: move it into one of ROOMS in scripts/graph.mjs`);
      continue;
    }
    for (const { to } of imports) {
      const target = graph.has(to) ? place(to) : undefined;
      if (!graph.has(to)) {
        if (/^\./.test(to)) problems.push(`${file} imports ${to}, which does not exist`);
      } else if (from.name === "drivers") {
        if (!OF_DRIVERS.test(to) && !(UPWARDS.from.test(file) && to === UPWARDS.to)) {
          problems.push(`${file} imports ${to}: a driver imports its contract, src/base/ and its client package alone`);
        }
      } else if (target && target.rank > from.rank) {
        problems.push(`${file} (${from.name}) imports ${to} (${target.name}), which is above it`);
      }
    }
  }
  return problems;
}

/** The rooms that each room imports, without the one import upwards. */
function roomsOf(graph) {
  const rooms = new Map();
  for (const [file, imports] of graph) {
    const from = place(file)?.name;
    const known = rooms.get(from) ?? new Set();
    rooms.set(from, known);
    for (const { to } of imports) {
      const name = graph.has(to) ? place(to)?.name : undefined;
      if (name && name !== from && !(UPWARDS.from.test(file) && to === UPWARDS.to)) known.add(name);
    }
  }
  return rooms;
}

function levels(graph) {
  const rooms = roomsOf(graph);
  const depths = new Map();
  const depthOf = (name) => {
    if (!depths.has(name)) {
      depths.set(name, 1);
      depths.set(name, 1 + Math.max(0, ...[...(rooms.get(name) ?? [])].map(depthOf)));
    }
    return depths.get(name);
  };
  const most = Math.max(...[...rooms.keys()].map(depthOf));
  return { most, problems: most > LEVELS ? [`rooms stand on ${most} levels, more than ${LEVELS}`] : [] };
}

/** Returns all that is loaded with a file; with `dynamic`, also what it may load later. */
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
  const loadsClient = (file, dynamic) => [...closure(graph, file, dynamic)].some((to) => /^@?redis\b/.test(to));
  if (loadsClient("mod.ts", false)) problems.push("importing mod.ts loads the TCP client");
  if (!loadsClient("mod.ts", true)) problems.push("mod.ts cannot load the TCP client");
  for (const file of ["src/core.ts", "src/edge.ts"]) {
    if (!graph.has(file)) problems.push(`${file} is missing`);
    else if (loadsClient(file, true)) problems.push(`${file} can load the TCP client`);
  }
  for (const file of ["mod.ts", "src/core.ts", "src/edge.ts"]) {
    for (const name of [
      "src/runtime/process.ts",
      "src/runtime/files.ts",
      "src/runtime/listen.ts",
      "commander",
      "@clack/prompts",
      "@opentelemetry/api",
    ]) {
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
  const use = new RegExp(
    [
      /["'`]node:[a-z]/,
      /\b(?:Deno|Bun|process)\s*(?:\?\.|[.[])/,
      /\btypeof\s+(?:Deno|Bun|process)\b/,
      /\b(?:WebSocketPair|EdgeRuntime)\b/,
      /\bglobalThis\s*(?:\?\.|\.|\[["'`])\s*(?:Deno|Bun|process)\b/,
      /\{[^{}]*\b(?:Deno|Bun|process)\b[^{}]*\}\s*=\s*globalThis/,
    ]
      .map(({ source }) => source)
      .join("|"),
  );
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

/** Returns the problems of the imports, one per line, and the number of levels of rooms. */
export async function checkGraph() {
  const graph = await read();
  const { most, problems } = levels(graph);
  return {
    problems: [...cycles(graph), ...directions(graph), ...problems, ...tcpClients(graph), ...runtimeGlobals(graph)],
    levels: most,
  };
}
