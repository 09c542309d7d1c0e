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
import { bundle, report, saysUntold } from "./harness.ts";
import type { Wire } from "./suite.ts";
import type { Answered } from "./worker.ts";

const { default: binary, compatibilityDate } = createRequire(import.meta.url)("workerd") as {
  readonly default: string;
  readonly compatibilityDate: string;
};

/** A date from before `fetch` took the field `cache` in Workers: from then on it throws for it. */
const OLDER_DATE = "2023-03-01";

const config = `
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "suite", worker = .suite),
    (name = "older", worker = .older),
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [
    (name = "suite", address = "127.0.0.1:0", http = (), service = "suite"),
    (name = "older", address = "127.0.0.1:0", http = (), service = "older"),
  ],
);

const suite :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "${compatibilityDate}",
);

const older :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "${OLDER_DATE}",
);
`;

const folder = mkdtempSync(join(tmpdir(), "larder-workerd-"));
writeFileSync(join(folder, "worker.js"), await bundle("./worker.js", ["workerd"], "esm"));
writeFileSync(join(folder, "config.capnp"), config);

// The third pipe is where workerd writes the ports that it took.
const child = spawn(binary, ["serve", "--control-fd=3", join(folder, "config.capnp")], {
  stdio: ["ignore", "inherit", "inherit", "pipe"],
});
const exited = once(child, "exit");
const ports = await new Promise<Record<string, string>>((resolve, reject) => {
  let text = "";
  (child.stdio[3] as Readable).on("data", (data) => {
    text += data;
    const found = [...text.matchAll(/"event":"listen","socket":"(\w+)","port":(\d+)/g)];
    if (found.length === 2) resolve(Object.fromEntries(found.map(([, name, port]) => [name, port])));
  });
  child.once("error", reject);
  exited.then(([code]) => reject(new Error(`workerd ended with code ${code} before it listened`)), reject);
});
const url = `http://127.0.0.1:${ports.suite}/`;
const names = (await (await fetch(url)).json()) as string[];

async function put(wire: Wire, id: string, takes: number, to = url): Promise<Answered> {
  const signal = AbortSignal.timeout(20_000);
  const response = await fetch(to, { method: "PUT", body: JSON.stringify({ wire, id, takes }), signal });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()) as Answered;
}

/** Declares that clients of concurrent requests do not wait for each other, and that near values of one serve all. */
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

/** A monitor that was made while the code was loaded, in 1970, begins with the first request. */
function earlyMonitors(): void {
  it("a monitor at module level counts from the first request on, in windows of the stated length", async () => {
    for (const misses of [1, 2]) {
      const last = (await (await fetch(url, { method: "OPTIONS" })).json()) as Record<string, number>;
      assert.ok((last.seconds as number) >= 0 && (last.seconds as number) <= 60, `${last.seconds}`);
      assert.deepEqual([last.misses, last.commands], [misses, misses]);
    }
  });
}

/** Where the runtime refuses a field of requests, they are sent without it. */
function olderDates(wire: Wire): void {
  it(`a Worker of ${OLDER_DATE} shares what it stores with one of today`, { timeout: 30_000 }, async () => {
    const older = `http://127.0.0.1:${ports.older}/`;
    const [first, second] = [await put(wire, "older", 0, older), await put(wire, "older", 0)];
    assert.deepEqual([first.name, first.ran], ["Pho older", true]);
    assert.deepEqual([second.name, second.ran], ["Pho older", wire.driver === "memory"]);
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
    olderDates(wire);
    if (wire.driver === "memory") earlyMonitors();
    if (wire.driver === "memory") saysUntold(async () => (await fetch(url, { method: "DELETE" })).json());
  },
  async () => {
    child.kill();
    await exited;
    rmSync(folder, { recursive: true });
  },
);
