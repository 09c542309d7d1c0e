// The smallest Worker: the core, one service and the REST driver, as a Worker's own bundler makes it of the package.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";
import { root } from "./tools.mjs";

/** The maximum number of bytes that it may have, minified and gzipped. */
export const WORKER_BYTES = 35_232;

/**
 * Bundles the output of `npm run build`. Returns `{ bytes, minified, imports, inputs }`, with the minified bytes of
 * each input by its path.
 */
export async function bundleWorker() {
  const { name } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const { outputFiles, metafile } = await esbuild.build({
    stdin: {
      contents: `
        import { createCacheClient } from "${name}/core";
        import { upstash } from "${name}/drivers/upstash";
        import { product } from "${name}/services/product";
        export default {
          async fetch(request, { url, token }) {
            const client = createCacheClient({ driver: upstash({ url, token }) });
            return Response.json(await client.service(product).products.get(new URL(request.url).pathname));
          },
        };`,
      resolveDir: root,
    },
    absWorkingDir: root,
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: "esm",
    target: "es2022",
    conditions: ["workerd", "worker", "browser"],
    external: ["node:*"],
    logLevel: "silent",
  });
  const [output] = Object.values(metafile.outputs);
  return {
    bytes: gzipSync(outputFiles[0].contents, { level: 9 }).length,
    minified: outputFiles[0].contents.length,
    imports: output.imports.map(({ path }) => path),
    inputs: Object.fromEntries(
      Object.keys(metafile.inputs).map((path) => [path, output.inputs[path]?.bytesInOutput ?? 0]),
    ),
  };
}
