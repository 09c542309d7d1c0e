// `npm run docs`: the API reference of all entries, made of the docstrings, as HTML in reference/ (git-ignored).
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setupPackages } from "./setup.mjs";
import { bin, root, run } from "./tools.mjs";

/** The folder that is written, from the repository's root. */
export const DOCS_FOLDER = "reference";

/**
 * Writes the API reference.
 *
 * @param folder The folder to write.
 * @returns `{ code, output }` of `deno doc`.
 */
export function writeDocs(folder = join(root, DOCS_FOLDER)) {
  const { name, exports: entries } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  mkdirSync(folder, { recursive: true });
  const args = ["doc", "--quiet", "--html", `--name=${name}`, `--output=${folder}`];
  return run(bin("deno"), [...args, ...Object.values(entries)], { timeout: 180_000 });
}

if (process.argv[1] === import.meta.filename) {
  setupPackages();
  const { code, output } = await writeDocs();
  process.stdout.write(code === 0 ? `${DOCS_FOLDER}/index.html\n` : output);
  process.exitCode = code;
}
