/** The command `dashboard`. Its page is tested in a browser by test/runtimes/browser.ts. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { collection, createCacheClient, defineService } from "../mod.ts";
import type { SampleMessage, View } from "../src/dashboard/messages.ts";
import { larder, startLarder } from "./helpers/larder.ts";
import { freePort, type RedisServer, startRedis } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 60_000 };
const LOYALTY = defineService({
  name: "loyalty",
  database: 8,
  collections: { points: collection<number>({ key: "points:{id}" }) },
});

describe("larder dashboard", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis({ args: ["--requirepass", "S3CRET"] });
  });
  after(() => redis?.stop());
  const store = (): string[] => ["--url", `redis://:S3CRET@127.0.0.1:${redis.port}`];

  it("dashboard prints a URL with a token, serves the page there, and ends with Ctrl-C", LIMIT, async () => {
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
    // An open page does not delay the end.
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
      /Watching redis:\/\/127\.0\.0\.1:\d+, read-only: --write allows deleting keys; Ctrl-C ends it\n/,
    );
    assert.ok(!`${stderr}${hello}`.includes("S3CRET") && !stderr.includes(token));
    await reader.cancel().catch(() => {});
  });

  it("dashboard deletes keys with --write, and takes --token and --json", LIMIT, async () => {
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

  it("dashboard shows an embedded store, and warns if other machines can reach it", LIMIT, async () => {
    const command = startLarder(["dashboard", "--port", "0", "--host", "0.0.0.0", "--url", "memory:"]);
    await command.said(/warning: 0\.0\.0\.0 is not a loopback address: other machines can reach this server/);
    command.signal("SIGINT");
    assert.equal((await command.ended).code, 0);
  });

  it(
    "dashboard starts while the store is away, says why, and shows the store and its services when it is back",
    LIMIT,
    async () => {
      const port = await freePort();
      const command = startLarder([
        ...["dashboard", "--port", "0", "--page-token", "t", "--interval", "0.2", "--prefix", "shop"],
        ...["--url", `redis://127.0.0.1:${port}`],
      ]);
      const [, origin = ""] = await command.said(/^(http:\/\/\S+)\/\?token=t\n/);
      await command.said(
        /warning: Cannot connect to Redis at 127\.0\.0\.1:\d+: .*ECONNREFUSED.*; the dashboard tries again\n/,
      );
      const next = async (wanted: (view: View) => boolean): Promise<View> => {
        const stream = await fetch(`${origin}/api/events`, { headers: { authorization: "Bearer t" } });
        const decoder = new TextDecoder();
        let text = "";
        for await (const chunk of stream.body as unknown as AsyncIterable<Uint8Array>) {
          text += decoder.decode(chunk, { stream: true });
          for (const [, data = ""] of text.matchAll(/event: sample\ndata: (.*)\n\n/g)) {
            const { view } = JSON.parse(data) as SampleMessage;
            if (wanted(view)) return view;
          }
        }
        return assert.fail("the stream ended");
      };
      const away = await next(({ store }) => store?.up === false);
      assert.match(away.store?.error ?? "", /^Cannot connect to Redis at 127\.0\.0\.1/);
      const back = await startRedis({ port });
      try {
        await next(({ store }) => store?.up === true);
        const use = async (): Promise<void> => {
          const app = createCacheClient({ env: {}, url: back.url, prefix: "shop", fleetStats: true });
          const { points } = app.service(LOYALTY);
          await points.set("u1", 5);
          for (let i = 0; i < 4; i++) await points.get(i < 3 ? "u1" : "none");
          await app.close();
        };
        await use();
        // Services of an application are searched for once a minute. A command that starts now finds them at once.
        const stats = startLarder(["stats", "--watch", "0.2", "--json", "--prefix", "shop", "--url", back.url]);
        // Its counts are known from the next sample on.
        await stats.said(/(.*"service":"loyalty".*\n){3}/);
        await use();
        const [line = ""] = await stats.said(/^.*"service":"loyalty"[^}]*"hits":3,"misses":1,.*$/m);
        const { services } = JSON.parse(line) as View;
        assert.equal(services.find(({ service }) => service === "loyalty")?.database, 8);
        stats.signal("SIGINT");
        assert.equal((await stats.ended).code, 130);
        const counted = await larder(["stats", "--prefix", "shop", "--url", back.url]);
        assert.match(counted.stdout, /^loyalty +1 +75\.0 % +6 +2 /m);
      } finally {
        command.signal("SIGINT");
        assert.equal((await command.ended).code, 0);
        await back.stop();
      }
    },
  );

  it("dashboard says why it cannot start", LIMIT, async () => {
    const taken = await larder(["dashboard", "--port", `${redis.port}`, ...store()]);
    assert.equal(taken.code, 1);
    assert.match(
      taken.stderr,
      /Cannot listen on 127\.0\.0\.1:\d+: the port is taken, expected another one, or 0 for any/,
    );
    const token = await larder(["dashboard", "--port", "0", "--page-token", "in two", ...store()]);
    assert.equal(token.code, 2, token.stderr);
    assert.match(token.stderr, /Cannot set a token: .*, expected visible ASCII characters/);
    const interval = await larder(["dashboard", "--interval", "0", ...store()]);
    assert.equal(interval.code, 2);
    assert.match(interval.stderr, /Expected seconds from 0\.1 to 86400/);
    assert.ok(![taken, token, interval].some(({ stderr }) => stderr.includes("S3CRET")));
  });
});
