// How many bytes does a Worker carry, and whose are they? One imports the core, the product service and the upstash
// driver; the other the root, makes a client from its env, and uses the product service by its name.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { heading, verdict, version } from "./helpers/compare.ts";

/** The bars, in bytes; `npm run check` holds the bundles to a little above their present sizes. */
const BARS = { core: 34_000, root: 42_000 };

/** The part of scripts/bundle.mjs that is used here. */
interface Bundler {
  bundleWorker(kind: string): Promise<{
    readonly bytes: number;
    readonly minified: number;
    readonly imports: readonly string[];
    readonly inputs: Readonly<Record<string, number>>;
  }>;
}

heading(
  `Bundles of Workers (${version("esbuild")}, gzip -9)`,
  "The shares are of the minified bytes, because bytes that are compressed together cannot be attributed to one file.",
);
const { bundleWorker } = (await import(pathToFileURL(resolve("scripts/bundle.mjs")).href)) as Bundler;
const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB`;
for (const [kind, bar] of Object.entries(BARS)) {
  const { bytes, minified, imports, inputs } = await bundleWorker(kind);
  verdict(`${kind}, minified and gzipped`, `${bar} bytes`, `${bytes} bytes, ${kib(bytes)}`, bytes <= bar);
  verdict(`imports left in ${kind}`, "0", `${imports.length} ${imports.join(" ")}`.trim(), imports.length === 0);
  const owners = new Map<string, number>();
  for (const [path, size] of Object.entries(inputs)) {
    const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
    const owner = name ? version(name) : "ours";
    owners.set(owner, (owners.get(owner) ?? 0) + size);
  }
  print(`minified: ${minified} bytes`, minified, owners);
  const ours = Object.entries(inputs).filter(([path]) => path.startsWith("dist/"));
  print("ours by file", minified, new Map(ours));
}

function print(title: string, minified: number, sizes: ReadonlyMap<string, number>): void {
  console.log(`  ${title}`);
  for (const [name, size] of [...sizes].sort((a, b) => b[1] - a[1])) {
    if (size > 0)
      console.log(`    ${String(size).padStart(6)} ${((100 * size) / minified).toFixed(1).padStart(5)} %  ${name}`);
  }
}
