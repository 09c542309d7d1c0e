// Two Workers, as their own bundlers make them of the package: the smallest one, of the core, one service and the REST
// driver; and one that takes everything from the root, with its store from the environment and a service by its name.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";
import { root } from "./tools.mjs";

/** The Workers: the source of each, and the most bytes that it may have, minified and gzipped. */
export const WORKERS = {
  core: {
    bytes: 35_470,
    source: (name) => `
      import { createCacheClient } from "${name}/core";
      import { upstash } from "${name}/drivers/upstash";
      import { product } from "${name}/services/product";
      export default {
        async fetch(request, { url, token }) {
          const client = createCacheClient({ driver: upstash({ url, token }) });
          return Response.json(await client.service(product).products.get(new URL(request.url).pathname));
        },
      };`,
  },
  root: {
    bytes: 62_500,
    source: (name) => `
      import { createCacheClient } from "${name}";
      export default {
        async fetch(request, env) {
          const client = createCacheClient({ env });
          return Response.json(await client.service("product").products.get(new URL(request.url).pathname));
        },
      };`,
  },
};

/**
 * Bundles a Worker over the output of `npm run build`. Returns `{ bytes, minified, imports, inputs }`, with the
 * minified bytes of each input by its path.
 */
export async function bundleWorker(kind = "core") {
  const { name } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const { outputFiles, metafile } = await esbuild.build({
    stdin: { contents: WORKERS[kind].source(name), resolveDir: root },
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
