import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { start } from "./helpers/run.ts";

/** What leaks a pointer a key grows by four times as much. */
const MARGIN = 1_600_000;

describe("a client", () => {
  it("takes no more memory for a million distinct keys", { timeout: 200_000 }, async () => {
    // In a process of its own: in that of the tests, Node's runner is told of every promise.
    const file = fileURLToPath(new URL(`./fixtures/million${import.meta.url.slice(-3)}`, import.meta.url));
    const how = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
    const { code, stdout, stderr } = await start(process.execPath, [...how, file]).ended;
    assert.equal(code, 0, stderr);
    const { grown, loads, errors } = JSON.parse(stdout) as Record<string, number>;
    assert.ok((loads as number) > 900_000 && errors === 0, stdout);
    assert.ok((grown as number) < MARGIN, stdout);
  });
});
