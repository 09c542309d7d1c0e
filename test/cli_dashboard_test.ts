/** dashboard, as a user runs it; its page has a test in a browser, test/runtimes/browser.ts. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { larder, startLarder } from "./helpers/larder.ts";
import { freePort, type RedisServer, startRedis } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 60_000 };

describe("larder dashboard", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis({ args: ["--requirepass", "S3CRET"] });
  });
  after(() => redis?.stop());
  const store = (): string[] => ["--url", `redis://:S3CRET@127.0.0.1:${redis.port}`];

  it("prints the URL with a token of its own, serves the page there, and ends with Ctrl-C", LIMIT, async () => {
    const command = startLarder(["dashboard", "--port", "0", ...store()]);
    const [, url = "", origin = "", token = ""] = await command.said(
      /^((http:\/\/127\.0\.0\.1:\d+)\/\?token=([\w-]{43}))\n/,
    );
    assert.equal((await fetch(origin)).status, 401);
    const opened = await fetch(url, { redirect: "manual" });
    assert.equal(opened.status, 303);
    await opened.body?.cancel();
    const headers = { authorization: `Bearer ${token}` };
    assert.match(await (await fetch(origin, { headers })).text(), /^<!doctype html>/);
    const key = `${origin}/api/key?service=product&key=product:1`;
    assert.equal((await fetch(key, { method: "DELETE", headers })).status, 403);
    // A page that is open does not hold up the end.
    const stream = await fetch(`${origin}/api/events`, { headers });
    const reader = stream.body?.getReader() ?? assert.fail();
    const hello = new TextDecoder().decode((await reader.read()).value);
    assert.match(hello, /^event: hello\ndata: \{"name":"redis:\/\/127\.0\.0\.1:\d+","driver":"node-redis"/);
    command.signal("SIGINT");
    const { code, stdout, stderr } = await command.ended;
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `${url}\n`);
    assert.match(
      stderr,
      /Watching redis:\/\/127\.0\.0\.1:\d+, read-only: --write lets keys be deleted; Ctrl-C ends it\n/,
    );
    assert.ok(!`${stderr}${hello}`.includes("S3CRET") && !stderr.includes(token));
    await reader.cancel().catch(() => {});
  });

  it("deletes with --write, and takes a token and JSON", LIMIT, async () => {
    const command = startLarder(["dashboard", "--port", "0", "--page-token", "a+b", "--write", "--json", ...store()]);
    const [, line = ""] = await command.said(/^(\{.*\})\n/);
    const { url } = JSON.parse(line) as { url: string };
    assert.match(url, /\/\?token=a%2Bb$/);
    const headers = { authorization: "Bearer a+b" };
    const key = new URL("/api/key?service=product&key=product:1", url);
    const deleted = await fetch(key, { method: "DELETE", headers });
    assert.deepEqual([deleted.status, await deleted.json()], [200, { deleted: false }]);
    command.signal("SIGTERM");
    const { code, stderr } = await command.ended;
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stderr, /read-only/);
  });

  it("shows an embedded store, and warns where others may reach it", LIMIT, async () => {
    const command = startLarder(["dashboard", "--port", "0", "--host", "0.0.0.0", "--url", "memory:"]);
    await command.said(/warning: 0\.0\.0\.0 is no loopback address: others may reach this server/);
    command.signal("SIGINT");
    assert.equal((await command.ended).code, 0);
  });

  it("says why it cannot begin", LIMIT, async () => {
    const away = await larder(["dashboard", "--port", "0", "--url", `redis://127.0.0.1:${await freePort()}`]);
    assert.equal(away.code, 3, away.stderr);
    assert.equal(away.stdout, "");
    const taken = await larder(["dashboard", "--port", `${redis.port}`, ...store()]);
    assert.equal(taken.code, 1);
    assert.match(
      taken.stderr,
      /cannot listen on 127\.0\.0\.1:\d+: the port is taken; accepted is another one, or 0 for any/,
    );
    const token = await larder(["dashboard", "--port", "0", "--page-token", "in two", ...store()]);
    assert.equal(token.code, 2, token.stderr);
    assert.match(token.stderr, /cannot use this token: accepted are visible ASCII characters/);
    const interval = await larder(["dashboard", "--interval", "0", ...store()]);
    assert.equal(interval.code, 2);
    assert.match(interval.stderr, /Accepted are seconds from 0\.1 to 86400/);
    assert.ok(![away, taken, token, interval].some(({ stderr }) => stderr.includes("S3CRET")));
  });
});
