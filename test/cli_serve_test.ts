/** serve, as a user runs it. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Redis } from "@upstash/redis";
import { type Command, larder, startLarder } from "./helpers/larder.ts";
import { freePort, type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";

describe("larder serve", () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis?.stop());

  /** Starts it on a free port, and reads the two lines that it prints. */
  async function serving(...args: string[]): Promise<{ served: Command; url: string; token: string }> {
    const served = startLarder(["serve", "--port", "0", ...args]);
    const [, url = "", token = ""] = await served.said(
      /^UPSTASH_REDIS_REST_URL=(http:\S+)\nUPSTASH_REDIS_REST_TOKEN=(\S+)\n/,
    );
    return { served, url, token };
  }

  const stop = async ({ served }: { served: Command }): Promise<void> => {
    served.signal("SIGINT");
    const { code, stderr } = await served.ended;
    assert.equal(code, 0, stderr);
  };

  it("serve serves @upstash/redis over an embedded store with a random token by default", async () => {
    const server = await serving();
    const { url, token, served } = server;
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/);
    assert.match(token, /^[\w-]{40,}$/);
    const client = new Redis({ url, token, enableTelemetry: false });
    assert.equal(await client.set("dish", { name: "Phở" }), "OK");
    assert.deepEqual(await client.get("dish"), { name: "Phở" });
    assert.equal((await fetch(`${url}/get/dish`)).status, 401);

    const env = { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token };
    await client.set("db1:product:1", "v");
    const listed = await larder(["list", "product"], { env });
    assert.equal(listed.code, 0, listed.stderr);
    assert.match(listed.stdout, / product:1\n$/);
    await stop(server);
    const { stdout, stderr } = await served.ended;
    assert.equal(stdout.split("\n").length, 3);
    assert.match(stderr, /Serving memory:; Ctrl-C ends it\n/);
    assert.ok(!stderr.includes(token));
  });

  it("serve serves a database of Redis with the given tokens", async () => {
    const server = await serving(
      "--url",
      redis.url,
      "--database",
      "3",
      "--token",
      "full",
      "--read-only-token",
      "reads",
    );
    const { url, token } = server;
    assert.equal(token, "full");
    const ask = async (bearer: string, ...command: string[]) => {
      const headers = { authorization: `Bearer ${bearer}` };
      const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(command) });
      return [response.status, ((await response.json()) as { result?: unknown }).result];
    };
    assert.deepEqual(await ask("full", "SET", "k", "v"), [200, "OK"]);
    assert.deepEqual(await ask("reads", "GET", "k"), [200, "v"]);
    assert.equal((await ask("reads", "SET", "k", "w"))[0], 400);
    assert.equal((await ask("wrong", "GET", "k"))[0], 401);
    const raw = await rawClient(redis.port);
    await raw.command("SELECT", 3);
    assert.equal(await raw.command("GET", "k"), "v");
    raw.close();
    await stop(server);
  });

  it("serve prints JSON with --json, and warns when other machines can reach it", async () => {
    const served = startLarder(["serve", "--port", "0", "--host", "0.0.0.0", "--json", "--read-only-token"]);
    const [line] = await served.said(/^\{.*\}\n/);
    const { url, token, readOnlyToken } = JSON.parse(line);
    assert.match(url, /^http:\/\/0\.0\.0\.0:\d+$/);
    assert.ok(token !== readOnlyToken && readOnlyToken.length >= 40);
    await served.said(/warning: 0\.0\.0\.0 is not a loopback address/);
    served.signal("SIGTERM");
    assert.equal((await served.ended).code, 0);
  });

  it("serve answers requests in-flight before it ends", async () => {
    const server = await serving("--url", redis.url, "--token", "full");
    const { url, served } = server;
    const headers = { authorization: "Bearer full" };
    assert.equal((await fetch(`${url}/set/slow/1`, { headers })).status, 200);
    redis.pause();
    const asked = fetch(`${url}/get/slow`, { headers });
    // It is on its way when this one, which does not ask Redis, was answered.
    assert.equal((await fetch(`${url}/get/slow`)).status, 401);
    await new Promise((resolve) => setTimeout(resolve, 100));
    served.signal("SIGINT");
    await served.said(/Stopping; press Ctrl-C again to end at once/);
    redis.resume();
    const response = await asked;
    assert.deepEqual([response.status, await response.json()], [200, { result: "1" }]);
    assert.equal((await served.ended).code, 0);
    await assert.rejects(fetch(url));
  });

  it("serve ends with an error when the port is taken, a token is bad or the store is away", async () => {
    const port = await freePort();
    const [taken, token, away, wrong] = await Promise.all([
      larder(["serve", "--port", `${redis.port}`]),
      larder(["serve", "--port", "0", "--token", "not one"]),
      larder(["serve", "--port", "0", "--url", `redis://:s3cret@127.0.0.1:${port}`]),
      larder(["serve", "--port", "65536"]),
    ]);
    assert.deepEqual([taken.code, token.code, away.code, wrong.code], [1, 2, 3, 2], taken.stderr + token.stderr);
    assert.match(taken.stderr, new RegExp(`^error: Cannot listen on 127\\.0\\.0\\.1:${redis.port}: the port is taken`));
    assert.match(
      token.stderr,
      /^error: Cannot set token: received a value of type string, expected visible ASCII characters/,
    );
    assert.doesNotMatch(away.stderr, /s3cret/);
    for (const { stdout, stderr } of [taken, token, away, wrong]) {
      assert.equal(stdout, "");
      assert.doesNotMatch(stderr, /\n +at /);
    }
  });
});
