// `npm run check [name...]`: every check but the tests, each named with ok or FAIL. `npm run format` mends the first.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "./build.mjs";
import { checkDeclarations } from "./declarations.mjs";
import { setupPackages } from "./setup.mjs";
import { bin, files, root, run } from "./tools.mjs";

setupPackages();
// Needs what was just installed.
const { checkExports } = await import("./exports.mjs");
const { checkGraph } = await import("./graph.mjs");
const { publint } = await import("publint");
const { formatMessage } = await import("publint/utils");
const { bundleWorker, WORKERS } = await import("./bundle.mjs");
const { writeDocs } = await import("./docs.mjs");
const { checkNames } = await import("./names.mjs");
const { checkProse } = await import("./prose.mjs");
const { checkLinks } = await import("./links.mjs");
const { benchPage, PAGE_FILE, readBenchResults } = await import("./bench_page.mjs");
const { scalingFiles } = await import("./scaling.mjs");
const { ASSETS_FILE, dashboardAssets } = await import("./dashboard.mjs");

/** Milliseconds that one command may take. */
const TIMEOUT = 180_000;
const folder = mkdtempSync(join(tmpdir(), "larder-check-"));
const sources = ["mod.ts", ...files("src", /\.ts$/), ...files("drivers", /\.ts$/)];
/** The files with an example: to load the others too takes as long again. */
const examples = () =>
  [...sources, "README.md", ...files("docs", /\.md$/)].filter((file) =>
    readFileSync(join(root, file), "utf8").includes("```ts"),
  );
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const entries = Object.values(JSON.parse(readFileSync(join(root, "deno.json"), "utf8")).exports);
const command =
  (name, ...args) =>
  () =>
    run(bin(name), args, { timeout: TIMEOUT });
const problems = (lines) => ({ code: lines.length > 0 ? 1 : 0, output: lines.map((line) => `${line}\n`).join("") });

function once(make) {
  let made;
  return () => {
    made ??= make();
    return made;
  };
}
const compiled = once(build);
/** The package as it would be published. */
const packed = once(async () => {
  await compiled();
  const { code, output } = await run("npm", ["pack", "--ignore-scripts", "--pack-destination", folder]);
  if (code !== 0) throw new Error(output);
  return join(folder, `${manifest.name.replace("@", "").replace("/", "-")}-${manifest.version}.tgz`);
});

/** The links of the Markdown files, in the repository and in the package. */
async function links() {
  const { code, output } = await run("tar", ["-tzf", await packed()]);
  if (code !== 0) throw new Error(output);
  return problems(
    checkLinks(
      output
        .trim()
        .split("\n")
        .map((path) => path.replace(/^package\//, "")),
    ),
  );
}

async function bundle() {
  await compiled();
  const lines = [];
  const notes = [];
  for (const [kind, { bytes: most }] of Object.entries(WORKERS)) {
    const { bytes, imports, inputs } = await bundleWorker(kind);
    const what = `the Worker of the ${kind}`;
    for (const path of imports) lines.push(`${what} imports ${path}`);
    for (const path of Object.keys(inputs)) {
      if (/node_modules\/@?redis\//.test(path)) lines.push(`${what} holds ${path}`);
    }
    if (bytes > most) lines.push(`${what} has ${bytes} bytes gzipped, more than ${most}`);
    notes.push(`${kind} ${bytes} bytes`);
  }
  return { ...problems(lines), note: notes.join(", ") };
}

async function imports() {
  const { problems: lines, levels } = await checkGraph();
  return { ...problems(lines), note: `rooms on ${levels} levels` };
}

async function page() {
  const same = readFileSync(join(root, ASSETS_FILE), "utf8") === (await dashboardAssets());
  return problems(same ? [] : [`${ASSETS_FILE} is not of src/dashboard/page/: run \`node scripts/dashboard.mjs\``]);
}

/** The files that are made of the results of the benchmarks. */
function results() {
  const last = readBenchResults();
  const made = Object.entries({ [PAGE_FILE]: benchPage(last), ...scalingFiles(last) });
  const old = made.filter(([file, text]) => readFileSync(join(root, file), "utf8") !== text);
  return problems(old.map(([file]) => `${file} is not of bench/results.json: run \`node scripts/bench_page.mjs\``));
}

/** Two queues of about the same length, one for each core: checks of the sources, and checks that need a build. */
const queues = [
  [
    ["format and lint", command("biome", "ci", "--colors=off", "--error-on-warnings", ".")],
    ["imports", imports],
    ["names", () => problems(checkNames())],
    ["prose", () => problems(checkProse())],
    ["bench page", results],
    ["docs", command("deno", "doc", "--quiet", "--lint", ...entries)],
    ["doc examples", () => command("deno", "test", "--quiet", "--doc", "-A", ...examples())()],
    ["reference", () => writeDocs(join(folder, "reference"))],
  ],
  [
    ["types", compiled],
    ["exports", () => problems(checkExports())],
    [
      "npm package",
      async () => {
        const { messages } = await publint({ pack: { tarball: readFileSync(await packed()).buffer }, strict: true });
        return problems(messages.map((message) => formatMessage(message, manifest, { color: false })));
      },
    ],
    ["links", links],
    ["npm types", async () => run(bin("attw"), [await packed(), "--profile", "esm-only", "--no-color", "--no-emoji"])],
    ["declarations", async () => problems(await checkDeclarations(await packed(), join(folder, "consumer")))],
    ["worker bundle", bundle],
    ["dashboard page", page],
    ["jsr package", command("deno", "publish", "--dry-run", "--allow-dirty")],
  ],
];

const words = process.argv.slice(2);
const started = performance.now();
let failed = 0;
let ran = 0;
async function check(name, step) {
  const start = performance.now();
  let result;
  try {
    result = await step();
  } catch (error) {
    result = { code: 1, output: `${error.message}\n` };
  }
  const detail = [result.note, `${((performance.now() - start) / 1000).toFixed(1)} s`].filter(Boolean).join(", ");
  ran++;
  if (result.code === 0) {
    console.log(`ok    ${name} (${detail})`);
  } else {
    failed++;
    console.log(`FAIL  ${name} (${detail})\n${result.output.trim().replace(/^/gm, "      ")}`);
  }
}
await Promise.all(
  queues.map(async (queue) => {
    for (const [name, step] of queue) {
      if (words.length === 0 || words.some((word) => name.includes(word))) await check(name, step);
    }
  }),
);
rmSync(folder, { recursive: true });
const seconds = ((performance.now() - started) / 1000).toFixed(1);
console.log(`${ran - failed} checks ok, ${failed} failed (${seconds} s)`);
process.exitCode = failed > 0 || ran === 0 ? 1 : 0;
