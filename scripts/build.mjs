// Compiles everything into dist/, with the folders as they are, and removes what no longer has a source.
import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { bin, files, root, run } from "./tools.mjs";

/** Compiles; answers `{ code, output }` of the compiler. */
export async function build() {
  const { code, output } = await run(bin("tsc"), ["--listEmittedFiles"]);
  const lines = output.split("\n");
  const emitted = new Set(
    lines.filter((line) => line.startsWith("TSFILE: ")).map((line) => resolve(line.slice(8).trim())),
  );
  if (emitted.size > 0) {
    for (const file of files("dist", /./)) {
      const path = join(root, file);
      if (!emitted.has(resolve(path))) rmSync(path);
    }
  }
  return { code, output: lines.filter((line) => !line.startsWith("TSFILE: ")).join("\n") };
}

if (process.argv[1] === import.meta.filename) {
  const { code, output } = await build();
  process.stdout.write(output);
  process.exit(code);
}
