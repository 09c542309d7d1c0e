// Compiles everything into dist/, with the folders as they are, and removes what no longer has a source.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { slimPackages } from "./slim.mjs";
import { files, root, run } from "./tools.mjs";

const DISPOSAL = '/// <reference lib="esnext.disposable" />\n';
const TSC = join(root, "node_modules/typescript/bin/tsc");

/** Compiles; answers `{ code, output }` of the compiler. */
export async function build() {
  // By its path: older compilers, for the check of the published types, have a command of the same name.
  const { code, output } = await run(process.execPath, [TSC, "--listEmittedFiles"]);
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
  if (code === 0) {
    nameDisposal();
    await slimPackages();
  }
  return { code, output: lines.filter((line) => !line.startsWith("TSFILE: ")).join("\n") };
}

/**
 * Lets declarations with `Symbol.asyncDispose` name the library of TypeScript that has it, as those of @types/node do:
 * applications need not. It is not in the sources, because JSR takes no such line.
 */
function nameDisposal() {
  for (const file of files("dist/src", /\.d\.ts$/)) {
    const text = readFileSync(join(root, file), "utf8");
    if (!text.includes("[Symbol.asyncDispose]") || text.startsWith(DISPOSAL)) continue;
    writeFileSync(join(root, file), DISPOSAL + text);
  }
}

if (process.argv[1] === import.meta.filename) {
  const { code, output } = await build();
  process.stdout.write(output);
  process.exit(code);
}
