/** Runs the contract inside a real workerd, without `nodejs_compat`. For Node: `npm test workerd`. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { it } from "node:test";
import { bundle, report } from "./harness.ts";
import type { Wire } from "./suite.ts";
import type { Answered } from "./worker.ts";

const { default: binary, compatibilityDate } = createRequire(import.meta.url)("workerd") as {
  readonly default: string;
  readonly compatibilityDate: string;
};

const config = `
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "suite", worker = .suite),
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "suite")],
);

const suite :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "${compatibilityDate}",
);
`;

const folder = mkdtempSync(join(tmpdir(), "larder-workerd-"));
writeFileSync(join(folder, "worker.js"), await bundle("./worker.js", ["workerd"], "esm"));
writeFileSync(join(folder, "config.capnp"), config);

// The third pipe is where workerd writes the port that it took.
const child = spawn(binary, ["serve", "--control-fd=3", join(folder, "config.capnp")], {
  stdio: ["ignore", "inherit", "inherit", "pipe"],
});
const exited = once(child, "exit");
const port = await new Promise<number>((resolve, reject) => {
  let text = "";
  (child.stdio[3] as Readable).on("data", (data) => {
    text += data;
    const found = /"event":"listen".*"port":(\d+)/.exec(text);
    if (found) resolve(Number(found[1]));
  });
  child.once("error", reject);
  exited.then(([code]) => reject(new Error(`workerd ended with code ${code} before it listened`)), reject);
});
const url = `http://127.0.0.1:${port}/`;
const names = (await (await fetch(url)).json()) as string[];

async function put(wire: Wire, id: string, takes: number): Promise<Answered> {
  const signal = AbortSignal.timeout(20_000);
  const response = await fetch(url, { method: "PUT", body: JSON.stringify({ wire, id, takes }), signal });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()) as Answered;
}

/** The clients of requests that run at the same time wait for nothing of each other, and what one kept near serves all. */
function requests(wire: Wire): void {
  it("requests share near values and counts, and no load", { timeout: 30_000 }, async () => {
    const together = await Promise.all(Array.from({ length: 10 }, () => put(wire, "a", 500)));
    for (const { name, ran } of together) assert.deepEqual([name, ran], ["Pho a", true]);
    for (let i = 0; i < 3; i++) {
      const { name, ran, nearHits } = await put(wire, "a", 0);
      assert.deepEqual([name, ran, nearHits], ["Pho a", false, i]);
    }
    // Counts leave with what is sent later: those of the first requests, once each.
    const { loads = -1 } = await put(wire, "b", 0);
    assert.ok(loads >= 0 && loads <= 11, `${loads}`);
  });
}

/** A monitor that all requests share looks in each of them, and waits for nothing of another's. */
function monitors(wire: Wire): void {
  it("a monitor counts what requests did, and asks the store in each", { timeout: 30_000 }, async () => {
    const metrics = async (): Promise<string> => {
      const signal = AbortSignal.timeout(20_000);
      return await (await fetch(url, { method: "PATCH", body: JSON.stringify(wire), signal })).text();
    };
    const value = (text: string, line: RegExp): number => Number(line.exec(text)?.[1] ?? assert.fail(text));
    const loads = /^larder_loads_total\{service="product",collection="products"\} (\d+)$/m;
    const before = value(await metrics(), loads);
    await put(wire, "watched", 0);
    for (const text of await Promise.all([metrics(), metrics(), metrics()])) {
      assert.equal(value(text, loads), before + 1);
      assert.equal(value(text, /^larder_store_up (\d)$/m), 1);
    }
  });
}

await report(
  "workerd",
  names,
  async (index, wire) => {
    const signal = AbortSignal.timeout(30_000);
    const response = await fetch(url, { method: "POST", body: JSON.stringify({ index, wire }), signal });
    if (!response.ok) return `workerd answered ${response.status}: ${await response.text()}`;
    return ((await response.json()) as { error?: string }).error;
  },
  (wire) => {
    requests(wire);
    monitors(wire);
  },
  async () => {
    child.kill();
    await exited;
    rmSync(folder, { recursive: true });
  },
);
