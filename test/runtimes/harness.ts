/** The shared part of the edge runtimes' runs: the bundle, the store outside, and the report through `node:test`. */
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { memory } from "../../drivers/memory.ts";
import { bridge } from "../../src/bridge/bridge.ts";
import { serve } from "../helpers/serve.ts";
import type { Wire } from "./suite.ts";

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/**
 * Bundles a compiled file of this folder as a platform's own bundler would.
 *
 * @param entry The file, such as `"./worker.js"`.
 * @param conditions The platform's export conditions.
 * @param format `"iife"` makes a script that leaves the exports in a global `suite`.
 * @returns The bundle's text. It holds no TCP client and imports nothing.
 */
export async function bundle(entry: string, conditions: string[], format: "esm" | "iife"): Promise<string> {
  const { outputFiles, metafile } = await build({
    entryPoints: [here(entry)],
    bundle: true,
    write: false,
    metafile: true,
    format,
    globalName: "suite",
    target: "es2022",
    conditions: [...conditions, "worker", "browser"],
    mainFields: ["browser", "module", "main"],
    alias: { "node:assert/strict": here("./assert.js") },
    logLevel: "silent",
    plugins: [
      {
        // The cases import mod.ts; an application imports the package and gets what its platform's condition names.
        name: "package",
        setup({ onResolve, resolve }) {
          onResolve({ filter: /^(\.\.\/)+mod\.js$/ }, ({ kind, resolveDir }) =>
            resolve("@foodfast/larder", { kind, resolveDir }),
          );
        },
      },
    ],
  });
  for (const path of Object.keys(metafile.inputs)) {
    if (/node_modules\/@?redis\/|(^|\/)dist\/mod\.js$|drivers\/node_redis/.test(path)) {
      throw new Error(`The bundle for ${conditions.join(", ")} holds ${path}`);
    }
  }
  return outputFiles[0]?.text ?? "";
}

/** Declares that a Worker without its env logs once that nothing is shared. */
export function saysUntold(ask: () => Promise<unknown>): void {
  it("a client without a store says so once when the variables cannot be read", async () => {
    const [line, ...more] = (await ask()) as string[];
    assert.match(
      line ?? "",
      /^larder: no store is named, and the environment cannot be read: .*in a Worker pass its env/,
    );
    assert.deepEqual(more, ["memory", "memory", "memory", "memory", "memory"]);
  });
}

/**
 * Reports every case over every wire as a test: the embedded store, and REST to a bridge outside the runtime.
 *
 * @param runtime The runtime's name.
 * @param names The cases' names.
 * @param execute Runs one case inside the runtime and answers what went wrong.
 * @param more Declares what else holds on a wire.
 * @param stop Ends the runtime.
 */
export async function report(
  runtime: string,
  names: readonly string[],
  execute: (index: number, wire: Wire) => Promise<string | undefined>,
  more: (wire: Wire) => void,
  stop: () => Promise<void> | void,
): Promise<void> {
  const token = "token-of-the-test";
  const store = memory();
  const handler = bridge({ driver: store, token });
  const told = new Set<string | null>();
  const server = await serve((request) => {
    told.add(request.headers.get("cache-control"));
    return handler(request);
  });
  after(async () => {
    await stop();
    await server.close();
    await store.close();
  });
  for (const wire of [{ driver: "memory" }, { driver: "upstash", url: server.url, token }] satisfies Wire[]) {
    describe(`${runtime}, ${wire.driver}`, () => {
      for (const [index, name] of names.entries()) {
        it(name, { timeout: 30_000 }, async () => {
          const error = await execute(index, wire);
          if (error !== undefined) throw new Error(error);
        });
      }
      if (wire.driver === "upstash") {
        it("every request forbids the caches on its way to answer it", () => {
          assert.deepEqual([...told], ["no-cache"]);
        });
      }
      more(wire);
    });
  }
}
