import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, beforeEach, describe, it } from "node:test";
import { type Algorithm, MultiRegionRatelimit, Ratelimit } from "@upstash/ratelimit";
import { Redis } from "upstash-latest";
import type { Driver } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type Bridge, bridge } from "../src/bridge/bridge.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { eventually } from "./helpers/eventually.ts";
import { type RedisServer, rawClient, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const TOKEN = "full-token";
const READS = "reading-token";

let server: RedisServer;
let driver: Driver;
let handler: Bridge;

before(async () => {
  server = await startRedis({ args: ["--busy-reply-threshold", "10"] });
  driver = nodeRedis({ url: server.url });
  handler = bridge({ driver, token: TOKEN, readOnlyToken: READS, database: 3 });
});
after(async () => {
  await handler.close();
  await driver.close();
  await server.stop();
});
beforeEach(async () => {
  await rawCommand(server.port, ["FLUSHALL"]);
  await rawCommand(server.port, ["SCRIPT", "FLUSH"]);
});

interface Reply {
  result?: unknown;
  error?: string;
}

async function ask<T = Reply>(path: string, body?: unknown, headers = {}, by = handler, token = TOKEN): Promise<T> {
  const text = typeof body === "string" || body === undefined ? body : JSON.stringify(body);
  const response = await by(
    new Request(`http://bridge${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, ...headers },
      ...(text !== undefined && { body: text }),
    }),
  );
  return (await response.json()) as T;
}

const run = (...command: unknown[]) => ask("/", command);
const sha1 = (text: string): string => createHash("sha1").update(text).digest("hex");

const FLAGGED = "#!lua flags=allow-key-locking\nreturn {KEYS[1], ARGV[1]}";

describe("bridge with scripts for Upstash", () => {
  it("bridge runs a script when its first line has Upstash's flag, alone or among others", async () => {
    for (const line of [
      "#!lua flags=allow-key-locking",
      "#!lua flags=allow-key-locking\r",
      "#!lua flags=no-writes,allow-key-locking",
      "#!lua flags=allow-key-locking,no-writes",
      "#!lua flags=allow-oom,allow-key-locking,no-writes",
      "#!lua  flags=allow-key-locking ",
    ]) {
      assert.deepEqual(await run("EVAL", `${line}\nreturn 7`, 0), { result: 7 }, line);
      assert.deepEqual(await run("eval_ro", `${line}\nreturn 7`, 0), { result: 7 }, line);
    }
    assert.deepEqual(await run("EVAL", "#!lua flags=allow-key-locking", 0), { result: null });
  });

  it("bridge keeps the other flags of a script when it removes Upstash's", async () => {
    const writing = (flags: string) => `#!lua flags=${flags}\nreturn redis.call('SET', KEYS[1], '1')`;
    assert.deepEqual(await run("EVAL", writing("allow-key-locking"), 1, "k"), { result: "OK" });
    const { error } = await run("EVAL", writing("no-writes,allow-key-locking"), 1, "k");
    assert.match(String(error), /Write commands are not allowed/);
    for (const line of ["flags=nosuch", "flags=allow-key-locking,nosuch", "flags=Allow-Key-Locking", "name=x"]) {
      assert.match(String((await run("EVAL", `#!lua ${line}\nreturn 1`, 0)).error), /^ERR Un(expected|known)/, line);
    }
    assert.match(String((await run("EVAL", "#!js flags=allow-key-locking\nreturn 1", 0)).error), /^ERR/);
  });

  it("bridge keeps the numbers of a script's lines when it removes the flag", async () => {
    const { error } = await run("EVAL", "#!lua flags=allow-key-locking\nlocal a\nreturn a.b", 0);
    assert.match(String(error), /user_script:3: /);
  });

  it("bridge ignores a flag line when it is not the first line", async () => {
    const script = "\n  #!lua flags=allow-key-locking\n  local a = 5\n  return a";
    assert.deepEqual(await run("EVAL", script, 0), { result: 5 });
    assert.deepEqual(await run("EVALSHA", sha1(script), 0), { result: 5 });
    // What is not at its beginning is the script's own.
    const text = "return [[\n#!lua flags=allow-key-locking]]";
    assert.deepEqual(await run("EVAL", text, 0), { result: "#!lua flags=allow-key-locking" });
    assert.equal((await run("SCRIPT", "LOAD", text)).result, sha1(text));
  });

  it("bridge knows a script by the SHA-1 of its own text when it had Upstash's flag", async () => {
    const hash = sha1(FLAGGED);
    assert.match(String((await run("EVALSHA", hash, 1, "k", "a")).error), /^NOSCRIPT/);
    assert.deepEqual(await run("SCRIPT", "EXISTS", hash, sha1("return 1")), { result: [0, 0] });
    assert.deepEqual(await run("script", "load", FLAGGED), { result: hash });
    assert.deepEqual(await run("SCRIPT", "LOAD", "return 1"), { result: sha1("return 1") });
    assert.deepEqual(await run("SCRIPT", "EXISTS", hash, sha1("return 1"), sha1("")), { result: [1, 1, 0] });
    assert.deepEqual(await run("EVALSHA", hash, 1, "k", "a"), { result: ["k", "a"] });
    assert.deepEqual(await run("evalsha_ro", hash.toUpperCase(), 1, "k", "a"), { result: ["k", "a"] });
    const other = `${FLAGGED} -- phở`;
    assert.deepEqual(await run("EVAL", other, 1, "k", "a"), { result: ["k", "a"] });
    assert.deepEqual(await run("EVALSHA", sha1(other), 1, "k", "a"), { result: ["k", "a"] });
  });

  it("bridge answers NOSCRIPT when the store or the bridge has forgotten a script", async () => {
    const hash = sha1(FLAGGED);
    await run("SCRIPT", "LOAD", FLAGGED);
    const restarted = bridge({ driver, token: TOKEN });
    try {
      const call = (...command: unknown[]) => ask("/", command, {}, restarted);
      assert.match(String((await call("EVALSHA", hash, 1, "k", "a")).error), /^NOSCRIPT/);
      assert.deepEqual(await call("EVAL", FLAGGED, 1, "k", "a"), { result: ["k", "a"] });
      assert.deepEqual(await call("EVALSHA", hash, 1, "k", "a"), { result: ["k", "a"] });
    } finally {
      await restarted.close();
    }
    await rawCommand(server.port, ["SCRIPT", "FLUSH"]);
    assert.match(String((await run("EVALSHA", hash, 1, "k", "a")).error), /^NOSCRIPT/);
  });

  it("bridge serves such scripts in pipelines, transactions, paths and base64", async () => {
    const hash = sha1(FLAGGED);
    const commands = [
      ["SET", "s", "1"],
      ["SCRIPT", "LOAD", FLAGGED],
      ["EVALSHA", hash, 1, "k", "a"],
      ["EVAL", FLAGGED, 1, "k", "b"],
      ["SCRIPT", "EXISTS", hash],
      ["GET", "s"],
    ];
    const results = ["OK", hash, ["k", "a"], ["k", "b"], [1], "1"].map((result) => ({ result }));
    for (const path of ["/pipeline", "/multi-exec"]) assert.deepEqual(await ask(path, commands), results, path);
    const encoded = await ask("/", ["SCRIPT", "LOAD", FLAGGED], { "upstash-encoding": "base64" });
    assert.equal(atob(String(encoded.result)), hash);
    assert.deepEqual(await ask(`/eval/${encodeURIComponent(FLAGGED)}/1/k/p`), { result: ["k", "p"] });
    assert.deepEqual(await ask("/script/load", FLAGGED), { result: hash });
    assert.deepEqual(await ask(`/evalsha/${hash}/1/k/p`), { result: ["k", "p"] });
    const discarded = await ask("/multi-exec", [["EVAL", FLAGGED, 1, "k", "a"], ["NOSUCH"]]);
    assert.match(String(discarded.error), /^ERR unknown command/);
  });

  it("bridge leaves a scripting command alone when its arguments are missing", async () => {
    for (const command of [
      ["EVAL"],
      ["EVALSHA"],
      ["SCRIPT"],
      ["SCRIPT", "LOAD"],
      ["FUNCTION", "LOAD"],
      ["EVAL_RO", FLAGGED],
    ]) {
      assert.match(String((await run(...command)).error), /^ERR wrong number of arguments/, command.join(" "));
    }
  });

  it("bridge loads a library of functions when they have Upstash's flag", async () => {
    const code = `#!lua name=locks
      redis.register_function{ function_name='one', callback=function(keys) return redis.call('INCR', keys[1]) end,
        flags={'allow-key-locking'} }
      redis.register_function{ function_name="two", callback=function() return 'allow-key-locking' end,
        flags = { "no-writes", "allow-key-locking" } }`;
    assert.deepEqual(await run("FUNCTION", "LOAD", "REPLACE", code), { result: "locks" });
    assert.deepEqual(await run("FCALL", "one", 1, "k"), { result: 1 });
    assert.deepEqual(await run("FCALL_RO", "two", 0), { result: "allow-key-locking" });
    await run("FUNCTION", "FLUSH");
  });

  it("bridge remembers no more than a bounded number of scripts", async () => {
    const first = "#!lua flags=allow-key-locking\nreturn 'first'";
    const used = "#!lua flags=allow-key-locking\nreturn 'used'";
    const own = bridge({ driver, token: TOKEN });
    try {
      const call = (path: string, body: unknown) => ask<Reply & Reply[]>(path, body, {}, own);
      await call("/pipeline", [
        ["SCRIPT", "LOAD", first],
        ["SCRIPT", "LOAD", used],
      ]);
      for (let from = 0; from < 10_000; from += 2000) {
        const many = Array.from({ length: 2000 }, (_, i) => [
          "EVAL",
          `#!lua flags=allow-key-locking\nreturn ${from + i}`,
          0,
        ]);
        await call("/pipeline", [["EVALSHA", sha1(used), 0], ...many]);
      }
      assert.deepEqual(await call("/", ["EVALSHA", sha1(used), 0]), { result: "used" });
      assert.match(String((await call("/", ["EVALSHA", sha1(first), 0])).error), /^NOSCRIPT/);
    } finally {
      await own.close();
    }
  });

  it("bridge says what to do when a script comes to the memory store", async () => {
    const own = bridge({ driver: memory(), token: TOKEN });
    const { error } = await ask("/", ["EVAL", FLAGGED, 1, "k", "a"], {}, own);
    assert.match(String(error), /^ERR the memory store has no Lua.*redis:\/\//);
    await own.close();
  });
});

describe("bridge with scripts that do not end", () => {
  const ENDLESS = "while true do end";

  /** Waits until the server is busy with a script, and refuses all else. */
  async function busy(): Promise<void> {
    const client = await rawClient(server.port);
    try {
      await eventually(async () => /^BUSY/.test(String(((await client.command("PING")) as Error)?.message)));
    } finally {
      client.close();
    }
  }

  it("SCRIPT KILL ends a script when it is sent alone, in a pipeline or as a path", async () => {
    await run("SET", "k", "1");
    for (const kill of [
      () => run("SCRIPT", "KILL"),
      () => ask<Reply[]>("/pipeline", [["script", "kill"]]).then(([reply]) => reply as Reply),
      () =>
        ask<Reply[]>("/pipeline", [
          ["GET", "k"],
          ["SCRIPT", "KILL"],
        ]).then((replies) => replies[1] as Reply),
      () => ask("/script/kill"),
    ]) {
      const running = run("EVAL", ENDLESS, 0);
      await busy();
      assert.deepEqual(await kill(), { result: "OK" });
      assert.match(String((await running).error), /Script killed by user/);
      assert.deepEqual(await run("GET", "k"), { result: "1" });
    }
    assert.match(String((await run("SCRIPT", "KILL")).error), /^NOTBUSY/);
  });

  it("FUNCTION KILL ends a function", async () => {
    const code = `#!lua name=loops\nredis.register_function('loop', function() ${ENDLESS} end)`;
    assert.deepEqual(await run("FUNCTION", "LOAD", code), { result: "loops" });
    const running = run("FCALL", "loop", 0);
    await busy();
    assert.deepEqual(await run("FUNCTION", "KILL"), { result: "OK" });
    assert.match(String((await running).error), /Script killed by user/);
    assert.match(String((await run("FUNCTION", "KILL")).error), /^NOTBUSY/);
    await run("FUNCTION", "FLUSH");
  });

  it("a read-only token neither starts a script nor ends one", async () => {
    for (const command of [
      ["EVAL_RO", "return redis.call('KEYS', '*')", 0],
      ["evalsha_ro", sha1("return 1"), 0],
      ["FCALL_RO", "f", 0],
      ["SCRIPT", "KILL"],
      ["FUNCTION", "KILL"],
      ["SCRIPT", "LOAD", "return 1"],
    ]) {
      const { error } = await ask("/", command, {}, handler, READS);
      assert.match(String(error), /^NOPERM /, command.join(" "));
    }
  });
});

describe("the published @upstash/ratelimit", () => {
  let bridges: Bridge[];
  let listeners: Listener[];
  let regions: Redis[];

  before(async () => {
    bridges = [3, 4, 5].map((database) => bridge({ driver, token: TOKEN, database }));
    listeners = await Promise.all(bridges.map((one) => serve(one)));
    regions = listeners.map(({ url }) => new Redis({ url, token: TOKEN }));
  });
  after(async () => {
    for (const one of [...bridges, ...listeners]) await one.close();
  });

  // Long enough that no window ends within the test; and never open because an answer came late.
  const WINDOW = "365 d";
  const common = { ephemeralCache: false, timeout: 0 } as const;
  const single: Record<string, Algorithm<never>> = {
    fixedWindow: Ratelimit.fixedWindow(3, WINDOW),
    slidingWindow: Ratelimit.slidingWindow(3, WINDOW),
    tokenBucket: Ratelimit.tokenBucket(1, WINDOW, 3),
  };
  for (const [name, limiter] of Object.entries(single)) {
    it(`Ratelimit lets through as many as it may when it counts by ${name}`, async () => {
      const [redis] = regions as [Redis];
      const limit = new Ratelimit({ ...common, redis: redis as never, limiter: limiter as never, analytics: true });
      for (const [success, remaining] of [
        [true, 2],
        [true, 1],
        [true, 0],
        [false, 0],
      ]) {
        const answer = await limit.limit("a");
        assert.deepEqual([answer.success, Math.max(0, answer.remaining)], [success, remaining]);
        await answer.pending;
      }
      assert.equal((await limit.getRemaining("a")).remaining, 0);
      assert.equal((await limit.limit("b", { rate: 2 })).remaining, 1);
      await limit.resetUsedTokens("a");
      assert.equal((await limit.getRemaining("a")).remaining, 3);
      assert.equal((await limit.limit("a")).success, true);
    });
  }

  it("Ratelimit counts with a cache of its own when it counts by cachedFixedWindow", async () => {
    const [redis] = regions as [Redis];
    const limiter = Ratelimit.cachedFixedWindow(2, WINDOW);
    const limit = new Ratelimit({ redis: redis as never, limiter, ephemeralCache: new Map(), timeout: 0 });
    const answers: boolean[] = [];
    for (let index = 0; index < 3; index++) {
      const { success, pending } = await limit.limit("a");
      await pending;
      answers.push(success);
    }
    assert.deepEqual(answers, [true, true, false]);
  });

  it("Ratelimit obeys a limit that was set in the store, and the list of who is denied", async () => {
    const [redis] = regions as [Redis];
    const limiter = Ratelimit.slidingWindow(1, WINDOW);
    const options = { ...common, redis: redis as never, limiter, prefix: "p" };
    const limit = new Ratelimit({ ...options, dynamicLimits: true, enableProtection: true });
    // It would download a list of addresses otherwise.
    await redis.set("p:ipDenyListStatus", "disabled");
    await redis.sadd("p:denyList:all", "villain");
    await limit.setDynamicLimit({ limit: 2 });
    assert.deepEqual(await limit.getDynamicLimit(), { dynamicLimit: 2 });
    const answers: boolean[] = [];
    for (let index = 0; index < 3; index++) answers.push((await limit.limit("a")).success);
    assert.deepEqual(answers, [true, true, false]);
    const denied = await limit.limit("villain");
    assert.deepEqual([denied.success, denied.reason], [false, "denyList"]);
  });

  for (const [name, limiter] of Object.entries({
    fixedWindow: MultiRegionRatelimit.fixedWindow(2, WINDOW),
    slidingWindow: MultiRegionRatelimit.slidingWindow(2, WINDOW),
  })) {
    it(`MultiRegionRatelimit counts in three regions when it counts by ${name}`, async () => {
      const limit = new MultiRegionRatelimit({ ...common, redis: regions as never, limiter });
      const answers: boolean[] = [];
      for (let index = 0; index < 3; index++) {
        const { success, pending } = await limit.limit("a");
        await pending;
        answers.push(success);
      }
      assert.deepEqual(answers, [true, true, false]);
      assert.equal((await limit.getRemaining("a")).remaining, 0);
      await limit.resetUsedTokens("a");
      // It does not wait for its regions.
      await eventually(async () => (await limit.getRemaining("a")).remaining === 2);
    });
  }
});
