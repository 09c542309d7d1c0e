// How many bytes does a Worker carry for the core, the product service and the upstash driver, and whose are they?
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { heading, verdict, version } from "./helpers/compare.ts";

/** The bar, in bytes; what `npm run check` holds the bundle to is a little above its present size. */
const BAR = 38_000;

/** The part of the result of scripts/bundle.mjs that is used here. */
interface Bundler {
  bundleWorker(): Promise<{
    readonly bytes: number;
    readonly minified: number;
    readonly imports: readonly string[];
    readonly inputs: Readonly<Record<string, number>>;
  }>;
}

heading(
  `Workers bundle of the core, the product service and the upstash driver (${version("esbuild")}, gzip -9)`,
  "The shares are of the minified bytes, because bytes that are compressed together cannot be attributed to one file.",
);
const { bundleWorker } = (await import(pathToFileURL(resolve("scripts/bundle.mjs")).href)) as Bundler;
const { bytes, minified, imports, inputs } = await bundleWorker();
const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB`;
verdict("minified and gzipped", `${BAR} bytes`, `${bytes} bytes, ${kib(bytes)}`, bytes <= BAR);
verdict("imports left in it", "0", `${imports.length} ${imports.join(" ")}`.trim(), imports.length === 0);

const owners = new Map<string, number>();
for (const [path, size] of Object.entries(inputs)) {
  const name = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
  const owner = name ? version(name) : "ours";
  owners.set(owner, (owners.get(owner) ?? 0) + size);
}
print(`minified: ${minified} bytes`, owners);
print("ours by file", new Map(Object.entries(inputs).filter(([path]) => path.startsWith("dist/"))));

function print(title: string, sizes: ReadonlyMap<string, number>): void {
  console.log(`  ${title}`);
  for (const [name, size] of [...sizes].sort((a, b) => b[1] - a[1])) {
    if (size > 0)
      console.log(`    ${String(size).padStart(6)} ${((100 * size) / minified).toFixed(1).padStart(5)} %  ${name}`);
  }
}
