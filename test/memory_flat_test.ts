import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { start } from "./helpers/run.ts";

/** The tolerated growth. A leak of one pointer for each key would grow by four times as much. */
const MARGIN = 1_600_000;

describe("a client", () => {
  it("a client takes no more memory for a million distinct keys", { timeout: 200_000 }, async () => {
    // Runs in its own process, because Node's test runner tracks every promise in the process of the tests.
    const file = fileURLToPath(new URL(`./fixtures/million${import.meta.url.slice(-3)}`, import.meta.url));
    const how = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
    const { code, stdout, stderr } = await start(process.execPath, [...how, file]).ended;
    assert.equal(code, 0, stderr);
    const { grown, loads, errors } = JSON.parse(stdout) as Record<string, number>;
    assert.ok((loads as number) > 900_000 && errors === 0, stdout);
    assert.ok((grown as number) < MARGIN, stdout);
  });
});
