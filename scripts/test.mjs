// `npm test [runner...] [name...]`: sets up, compiles, and runs the tests on every runtime.
// Runners: bun deno node workerd edge (default: all). Names pick the test files that contain one of them.
// The last line counts the tests of all runners.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "./build.mjs";
import { setupPackages, setupRedis } from "./setup.mjs";
import { bin, files, run } from "./tools.mjs";

const RUNNERS = ["bun", "deno", "node", "workerd", "edge"];
const words = process.argv.slice(2);
const chosen = words.filter((word) => RUNNERS.includes(word));
const names = words.filter((word) => !RUNNERS.includes(word));

setupPackages();
setupRedis();

const folder = mkdtempSync(join(tmpdir(), "larder-test-"));
const tests = files("test", /_test\.ts$/).filter((f) => names.length === 0 || names.some((name) => f.includes(name)));
const compiled = (file) => `dist/${file.replace(/\.ts$/, ".js")}`;
const nodeTest = (...paths) => ({
  command: process.execPath,
  args: (report) => [
    "--test",
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    "--test-reporter=junit",
    `--test-reporter-destination=${report}`,
    ...paths,
  ],
});
const commands = {
  bun: {
    command: bin("bun"),
    args: (report) => [
      "test",
      "--timeout=60000",
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      ...tests.map((file) => `./${file}`),
    ],
  },
  deno: {
    command: bin("deno"),
    args: (report) => ["test", "-A", "--no-check", `--junit-path=${report}`, ...tests],
  },
  node: nodeTest(...tests.map(compiled)),
  workerd: nodeTest("dist/test/runtimes/workerd.js"),
  edge: nodeTest("dist/test/runtimes/edge.js"),
};

/** Counts the tests in a JUnit report. Suites, which Deno reports as tests, are left out. */
function count(report) {
  let xml;
  try {
    xml = readFileSync(report, "utf8");
  } catch {
    return { passed: 0, failed: 0, skipped: 0 };
  }
  const cases = [...xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)].map(([, head, body = ""]) => ({
    name: / name="([^"]*)"/.exec(head)?.[1] ?? "",
    state: /<(failure|error)\b/.test(body) ? "failed" : /<skipped\b/.test(body) ? "skipped" : "passed",
  }));
  const suites = new Set();
  for (const { name } of cases) {
    const parts = name.split(" &gt; ");
    for (let length = 1; length < parts.length; length++) suites.add(parts.slice(0, length).join(" &gt; "));
  }
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const { name, state } of cases) {
    if (suites.has(name)) continue;
    // Node reports a file in which no test ran as a test of that name that passed.
    counts[/\.js$/.test(name) && state === "passed" ? "failed" : state]++;
  }
  return counts;
}

let passed = 0;
let failed = 0;
const lines = [];

const compilation = await build();
if (compilation.code !== 0) {
  process.stdout.write(compilation.output);
  failed++;
  lines.push("build: FAIL (counted as one failed test)");
}
for (const runner of chosen.length > 0 ? chosen : RUNNERS) {
  console.log(`\n=== ${runner}`);
  const report = join(folder, `${runner}.xml`);
  const { command, args } = commands[runner];
  const started = performance.now();
  const { code } = await run(command, args(report), { stream: true, timeout: 420_000 });
  const counts = count(report);
  const notes = [];
  if (counts.passed + counts.failed === 0) {
    counts.failed++;
    notes.push("no test ran");
  } else if (code !== 0 && counts.failed === 0) {
    counts.failed++;
    notes.push(code === 124 ? "timed out" : `exit code ${code}`);
  }
  passed += counts.passed;
  failed += counts.failed;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const extra = [`${counts.skipped} skipped`, `${seconds} s`, ...notes].join(", ");
  lines.push(`${runner}: ${counts.passed} passed, ${counts.failed} failed (${extra})`);
}
rmSync(folder, { recursive: true });
console.log(`\n${lines.join("\n")}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
