// `npm run bench [runtime...] [name...]`: runs the files of bench/ one after the other, each on every runtime.
import { build } from "./build.mjs";
import { setupPackages, setupRedis } from "./setup.mjs";
import { bin, files, run } from "./tools.mjs";

const RUNTIMES = {
  bun: (file) => [bin("bun"), [file]],
  deno: (file) => [bin("deno"), ["run", "-A", "--no-check", file]],
  node: (file) => [process.execPath, ["--expose-gc", `dist/${file.replace(/\.ts$/, ".js")}`]],
};
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
for (const file of benches) {
  for (const runtime of runtimes.length > 0 ? runtimes : Object.keys(RUNTIMES)) {
    console.log(`\n=== ${file} on ${runtime}`);
    const [command, args] = RUNTIMES[runtime](file);
    if ((await run(command, args, { stream: true })).code !== 0) process.exitCode = 1;
  }
}
