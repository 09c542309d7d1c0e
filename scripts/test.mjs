// `npm test [runner...] [name...]`: sets up, compiles, and runs the tests on every runtime.
// Runners: bun deno node workerd edge browser next (default: all). Names pick the test files that contain one of them.
// What failed is listed again at the end; the last line counts the tests of all runners.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "./build.mjs";
import { readResults, shorten } from "./results.mjs";
import { setupChromium, setupPackages, setupRedis } from "./setup.mjs";
import { bin, files, run } from "./tools.mjs";

/** Milliseconds that a runner may take in all. */
const TIMEOUT = 900_000;
const RUNNERS = ["bun", "deno", "node", "workerd", "edge", "browser", "next"];
const words = process.argv.slice(2);
const chosen = words.filter((word) => RUNNERS.includes(word));
const runners = chosen.length > 0 ? chosen : RUNNERS;
const names = words.filter((word) => !RUNNERS.includes(word));

setupPackages();
setupRedis();
if (runners.includes("browser")) setupChromium();

const folder = mkdtempSync(join(tmpdir(), "larder-test-"));
const tests = files("test", /_test\.ts$/).filter((f) => names.length === 0 || names.some((name) => f.includes(name)));
const compiled = (file) => `dist/${file.replace(/\.ts$/, ".js")}`;
const nodeTest = (paths, timeout = 240_000) => ({
  command: process.execPath,
  args: (report) => [
    "--test",
    "--import=./dist/test/helpers/quiet.js",
    // A file that does not end fails by its name, and the others are counted.
    `--test-timeout=${timeout}`,
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
    args: (report) => [
      "test",
      "-A",
      "--no-check",
      "--preload=test/helpers/quiet.ts",
      `--junit-path=${report}`,
      ...tests,
    ],
  },
  node: nodeTest(tests.map(compiled)),
  workerd: nodeTest(["dist/test/runtimes/workerd.js"]),
  edge: nodeTest(["dist/test/runtimes/edge.js"]),
  browser: nodeTest(["dist/test/runtimes/browser.js"]),
  // Installs and builds an application first.
  next: nodeTest(["dist/test/runtimes/next.js"], 600_000),
};

let passed = 0;
const failed = [];
const lines = [];

const compilation = await build();
if (compilation.code !== 0) {
  process.stdout.write(compilation.output);
  failed.push({ runner: "build", name: "tsc", file: "", text: compilation.output });
  lines.push("build: FAIL (counted as one failed test)");
}
for (const runner of runners) {
  console.log(`\n=== ${runner}`);
  const report = join(folder, `${runner}.xml`);
  const { command, args } = commands[runner];
  const started = performance.now();
  const ended = await run(command, args(report), { stream: true, timeout: TIMEOUT });
  const { skipped, failures, notes, ...counts } = readResults(report, ended);
  passed += counts.passed;
  failed.push(...failures.map((failure) => ({ runner, ...failure })));
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const extra = [`${skipped} skipped`, `${seconds} s`, ...notes].join(", ");
  lines.push(`${runner}: ${counts.passed} passed, ${failures.length} failed (${extra})`);
}
rmSync(folder, { recursive: true });

// Continuous integration keeps the end of the output only, so failures are listed again, in few lines.
if (failed.length > 0) {
  console.log("\n=== failed");
  const most = Math.max(1, Math.min(10, Math.floor(40 / failed.length)));
  for (const { runner, name, file, text } of failed.slice(0, 30)) {
    console.log(`${runner}: ${name}${file && ` (${file})`}`);
    for (const line of shorten(text, most)) console.log(`    ${line}`);
  }
  if (failed.length > 30) console.log(`and ${failed.length - 30} more`);
}
console.log(`\n${lines.join("\n")}`);
console.log(`${passed} passed, ${failed.length} failed`);
process.exitCode = failed.length > 0 ? 1 : 0;
