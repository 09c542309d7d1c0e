import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { describe, it } from "node:test";

describe("npm run servers", () => {
  it("runs the tests over each named server, and reports one when it does not start", () => {
    const guide = readFileSync("docs/servers.md", "utf8");
    const [, command = ""] = /```sh\n(.*)\n```/.exec(guide) ?? [];
    assert.match(command, /^REDIS_SERVER=\S+ npm run servers$/);
    const server = process.env.REDIS_SERVER || "redis-server";
    const run = (names: string) => {
      const line = `${command.replace(/=\S+/, `=${names}`)} differential_test`;
      const { status, stdout } = spawnSync("sh", ["-c", line], { encoding: "utf8", timeout: 120_000 });
      return { status, lines: stdout.trim().split("\n").slice(-3) };
    };
    const good = run(server);
    assert.match(good.lines.at(-2) ?? "", /^ok +\w+ server v=\d.*: [1-9]\d* passed, 0 failed$/);
    assert.match(good.lines.at(-1) ?? "", /^[1-9]\d* passed, 0 failed$/);
    assert.equal(good.status, 0);
    const bad = run("no-such-server");
    assert.deepEqual(bad.lines.slice(-2), ["FAIL  no-such-server does not start", "0 passed, 1 failed"]);
    assert.equal(bad.status, 1);
  });
});
