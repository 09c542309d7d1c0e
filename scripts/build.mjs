// Compiles everything into dist/, with the folders as they are, and removes what no longer has a source.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
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
    await slimUpstash();
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

/**
 * In Next.js, whose `fetch` looks at what a page sends: leaves requests that no cache may answer to the runtime's own,
 * as Next.js does with its requests. Otherwise `no-store` makes an error of a page that Next.js keeps, and over TCP it
 * would be kept. Elsewhere the field means nothing.
 */
const FETCH = `
const fetchAsIs = (url, init) => fetch(url, init.cache === "no-store" ? { ...init, next: { internal: true } } : init);`;

/**
 * Replaces dist/drivers/upstash/client.js by a class that holds the requester alone, without the commands, of which a
 * Worker's bundler can drop none: what sends requests is the package's, word for word but for the `fetch` that is
 * called.
 */
async function slimUpstash() {
  const folder = join(root, "node_modules/@upstash/redis");
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const notice = readFileSync(join(folder, "LICENSE"), "utf8");
  const [, chunk] = /from "(\.\/chunk-\w+\.mjs)"/.exec(readFileSync(join(folder, "cloudflare.mjs"), "utf8")) ?? [];
  if (!chunk) throw new Error(`cannot find what sends requests in @upstash/redis ${version}`);
  // Imported late, because the set-up step imports this file before the packages are installed.
  const esbuild = await import("esbuild");
  await esbuild.build({
    stdin: {
      contents: `
        import { HttpClient } from ${JSON.stringify(chunk)};
        export class Redis {
          constructor({ url, token, ...options }) {
            this.client = new HttpClient({ ...options, baseUrl: url, headers: { authorization: "Bearer " + token } });
          }
        }`,
      resolveDir: folder,
    },
    outfile: join(root, "dist/drivers/upstash/client.js"),
    allowOverwrite: true,
    bundle: true,
    format: "esm",
    target: "es2022",
    define: { fetch: "fetchAsIs" },
    banner: {
      js: `/*\nWhat sends requests of @upstash/redis ${version}, without its commands.\n\n${notice}*/${FETCH}`,
    },
    logLevel: "error",
  });
}

if (process.argv[1] === import.meta.filename) {
  const { code, output } = await build();
  process.stdout.write(output);
  process.exit(code);
}
