/** The npm package, installed as an application has it. */
import assert from "node:assert/strict";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { start } from "./run.ts";

/** The packages that the installed one loads: the others are in its bundles. */
const LOADED = ["commander", "@clack/prompts"];

/**
 * Packs what `npm run build` made, and installs it in a folder, without asking a registry.
 *
 * @param folder The folder of the application.
 * @param others Further packages of the repository, for the application itself.
 */
export async function installPackage(folder: string, others: readonly string[] = []): Promise<void> {
  const home = join(folder, "node_modules/@foodfast/larder");
  mkdirSync(home, { recursive: true });
  const packed = await start("npm", ["pack", "--json", "--ignore-scripts", `--pack-destination=${folder}`]).ended;
  assert.equal(packed.code, 0, packed.stderr);
  const [{ filename }] = JSON.parse(packed.stdout);
  const unpacked = await start("tar", ["-xzf", join(folder, filename), "-C", home, "--strip-components=1"]).ended;
  assert.equal(unpacked.code, 0, unpacked.stderr);
  for (const name of [...LOADED, ...others]) {
    mkdirSync(join(folder, "node_modules", name, ".."), { recursive: true });
    symlinkSync(resolve("node_modules", name), join(folder, "node_modules", name));
  }
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
}
