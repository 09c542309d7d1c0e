// `npm run bench [runtime...] [name...]`: runs the files of bench/ one after the other, each on every runtime. Results
// replace the last ones of the same file and runtime in bench/results.json, and bench/README.md is written from them.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { arch, availableParallelism, tmpdir, type } from "node:os";
import { join } from "node:path";
import { questionOf, readBenchResults, withRun, writeBenchResults } from "./bench_page.mjs";
import { build } from "./build.mjs";
import { setupPackages, setupRedis } from "./setup.mjs";
import { bin, files, root, run } from "./tools.mjs";

const RUNTIMES = {
  bun: (file) => [bin("bun"), [file]],
  deno: (file) => [bin("deno"), ["run", "-A", "--no-check", file]],
  node: (file) => [process.execPath, ["--expose-gc", `dist/${file.replace(/\.ts$/, ".js")}`]],
};
/** Milliseconds that one file may take on one runtime. */
const TIMEOUT = 1_200_000;
const words = process.argv.slice(2);
const runtimes = Object.keys(RUNTIMES).filter((name) => words.includes(name));
const names = words.filter((word) => !(word in RUNTIMES));

setupPackages();
setupRedis();
const { code, output } = await build();
process.stdout.write(output);
if (code !== 0) process.exit(code);

const benches = files("bench", /^bench\/[^/]+\.ts$/).filter(
  (file) => names.length === 0 || names.some((name) => file.includes(name)),
);
if (benches.length === 0) {
  console.error(`Cannot bench ${names.join(" ") || "anything"}: expected one of ${files("bench", /\.ts$/).join(" ")}`);
  process.exit(1);
}
const versions = {
  bun: `Bun ${await firstLine(bin("bun"), "--version")}`,
  deno: /Deno \S+/i.exec(await firstLine(bin("deno"), "--version"))?.[0].replace("d", "D"),
  node: `Node ${process.versions.node}`,
};
const server = process.env.REDIS_SERVER || "redis-server";
const redis = (await firstLine(server, "--version")).replace(/ server v=(\S+) .*/, " $1");
const machine = `${type()} ${arch()} with ${availableParallelism()} cores`;
const folder = mkdtempSync(join(tmpdir(), "larder-bench-"));
for (const file of benches) {
  for (const runtime of runtimes.length > 0 ? runtimes : Object.keys(RUNTIMES)) {
    console.log(`\n=== ${file} on ${runtime}`);
    const [command, args] = RUNTIMES[runtime](file);
    const path = join(folder, `${runtime}.jsonl`);
    const { code } = await run(command, args, { stream: true, env: { BENCH_ROWS: path }, timeout: TIMEOUT });
    const rows = rowsOf(path);
    if (code !== 0) {
      process.exitCode = 1;
      console.log(`${file} failed on ${runtime}: the last result stays`);
    } else if (rows.length > 0) {
      const date = new Date().toISOString().slice(0, 10);
      const question = questionOf(readFileSync(join(root, file), "utf8"));
      const done = { date, version: versions[runtime], redis, machine, rows };
      // Written after each file, so that a run that is cut short loses nothing.
      writeBenchResults(withRun(readBenchResults(), file, runtime, question, done));
    }
  }
}
rmSync(folder, { recursive: true });

async function firstLine(command, ...args) {
  return (await run(command, args)).output.split("\n")[0];
}

/** Reads the rows that a run has left, and removes them. */
function rowsOf(path) {
  let text = "";
  try {
    text = readFileSync(path, "utf8");
    rmSync(path);
  } catch {}
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}
