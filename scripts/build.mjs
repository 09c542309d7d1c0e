// Compiles everything into the same folders below dist/, removes files that no longer have a source, and bundles the
// npm package.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { compactModules } from "./compact.mjs";
import { bundlePackage, PACKAGE_FOLDER } from "./package.mjs";
import { slimPackages } from "./slim.mjs";
import { files, root, run } from "./tools.mjs";

const DISPOSAL = '/// <reference lib="esnext.disposable" />\n';
const TSC = join(root, "node_modules/typescript/bin/tsc");

/** Compiles. Returns `{ code, output }` of the compiler. */
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
      if (!emitted.has(resolve(path)) && !file.startsWith(PACKAGE_FOLDER)) rmSync(path);
    }
  }
  if (code === 0) {
    nameDisposal();
    await slimPackages();
    compactModules();
    await bundlePackage();
  }
  return { code, output: lines.filter((line) => !line.startsWith("TSFILE: ")).join("\n") };
}

/**
 * Adds a reference to TypeScript's library of `Symbol.asyncDispose` to the declarations that use it, as @types/node
 * does, so that applications need not configure it. The sources do not have it, because JSR refuses such lines.
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
