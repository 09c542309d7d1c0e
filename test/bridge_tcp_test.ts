import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Connection, Driver } from "../drivers/driver.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type Bridge, type BridgeOptions, bridge } from "../src/bridge/bridge.ts";
import { eventually } from "./helpers/eventually.ts";
import { type FaultProxy, startProxy } from "./helpers/proxy.ts";
import { before7, type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const TOKEN = "full-token";
const READS = "reading-token";

let redis: RedisServer;
let driver: Driver;

before(async () => {
  redis = await startRedis();
  driver = nodeRedis({ url: redis.url });
});
after(async () => {
  await driver.close();
  await redis.stop();
});
beforeEach(async () => {
  await rawCommand(redis.port, ["FLUSHALL"]);
});

interface Call {
  method?: string;
  /** Sent as it is when it is text or bytes, otherwise as JSON. */
  body?: unknown;
  token?: string;
  headers?: Record<string, string>;
}

function request(url: string, { method = "POST", body, token = TOKEN, headers = {} }: Call = {}): Request {
  const sent = typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
  return new Request(url, {
    method,
    headers: { authorization: `Bearer ${token}`, ...headers },
    ...(body === undefined ? {} : { body: sent as string }),
  });
}

/** Runs with a bridge, without a network on its side, and closes it. */
async function using(
  options: Partial<BridgeOptions>,
  run: (call: (path: string, call?: Call) => Promise<Response>, handler: Bridge) => Promise<void>,
): Promise<void> {
  const handler = bridge({ driver, token: TOKEN, readOnlyToken: READS, ...options });
  try {
    await run((path, call) => handler(request(`http://bridge${path}`, call)), handler);
  } finally {
    await handler.close();
  }
}

/** The clients of the server, but the one that asks. */
async function clients(): Promise<string[]> {
  const list = String(await rawCommand(redis.port, ["CLIENT", "LIST"]));
  return list.split("\n").filter((line) => line !== "" && !line.includes("cmd=client|list"));
}

/** A driver that counts its connections. */
function counting(): { driver: Driver; opened: Connection[] } {
  const opened: Connection[] = [];
  const connect = async (...args: Parameters<NonNullable<Driver["connect"]>>): Promise<Connection> => {
    const connection = await (driver.connect as NonNullable<Driver["connect"]>)(...args);
    opened.push(connection);
    return connection;
  };
  return { driver: { ...driver, connect }, opened };
}

const base64 = { "upstash-encoding": "base64" };
const resp2 = { "upstash-response-format": "resp2" };
const encoded = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString("base64");

describe("bridge over connections, values", () => {
  it("bridge carries bytes that are not UTF-8, as an argument of a path and as base64", async () => {
    const value = Uint8Array.from({ length: 256 }, (_, index) => index);
    await using({}, async (call) => {
      assert.deepEqual(await (await call("/set/k?EX=100", { body: value })).json(), { result: "OK" });
      assert.deepEqual(await (await call("/get/k", { headers: base64 })).json(), { result: encoded(value) });
      assert.equal(((await (await call("/get/k")).json()) as { result: string }).result, Buffer.from(value).toString());
      await call("/set/%ff%00%2F/v", { method: "GET" });
      const [key] = ((await (await call("/keys/%FF*", { headers: base64 })).json()) as { result: string[] }).result;
      assert.equal(key, encoded(Uint8Array.of(0xff, 0, 0x2f)));
      assert.deepEqual(await (await call("/get/%ff%00%2f", { method: "GET" })).json(), { result: "v" });
    });
  });

  it("bridge distinguishes a stored OK from the OK reply, and encodes every string at any depth", async () => {
    await using({}, async (call) => {
      const body = [
        ["SET", "ok", "OK"],
        ["GET", "ok"],
        ["EVAL", "return {'user', {1, {ok = 'OK'}, {false, {err = 'ERR inside'}}}}", "0"],
        ["PING"],
        ["LPUSH", "ok", "x"],
      ];
      const items = (await (await call("/pipeline", { body, headers: base64 })).json()) as Record<string, unknown>[];
      assert.deepEqual(items.slice(0, 4), [
        { result: "OK" },
        { result: encoded("OK") },
        { result: [encoded("user"), [1, encoded("OK"), [null, encoded("ERR inside")]]] },
        { result: encoded("PONG") },
      ]);
      assert.match(String(items[4]?.error), /^WRONGTYPE /);
    });
  });

  it("bridge writes integers of 64 bits digit for digit, in both directions", async () => {
    await using({}, async (call) => {
      await call("/", { body: '["SET","n",9223372036854775806]' });
      assert.equal(await (await call("/incr/n")).text(), '{"result":9223372036854775807}');
      const script = "return {9007199254740993, -9007199254740993, {1}}";
      assert.equal(
        await (await call("/", { body: ["EVAL", script, "0"] })).text(),
        '{"result":[9007199254740992,-9007199254740992,[1]]}',
      );
      assert.equal(
        await (await call("/multi-exec", { body: [["DECR", "n"]] })).text(),
        '[{"result":9223372036854775806}]',
      );
    });
  });

  it("bridge answers in RESP2 when the request asks for it", async () => {
    await using({}, async (call) => {
      const read = async (path: string, body?: unknown) => {
        const response = await call(path, { body, headers: resp2 });
        assert.equal(response.headers.get("content-type"), "application/octet-stream");
        assert.ok(response.headers.get("upstash-sync-token"));
        return [response.status, Buffer.from(await response.arrayBuffer()).toString("latin1")];
      };
      assert.deepEqual(await read("/set/a", Uint8Array.of(0xff, 13, 10)), [200, "+OK\r\n"]);
      assert.deepEqual(await read("/get/a"), [200, "$3\r\n\xff\r\n\r\n"]);
      assert.deepEqual(await read("/get/none"), [200, "$-1\r\n"]);
      const [status, text] = await read("/incr/a");
      assert.equal(status, 400);
      assert.match(`${text}`, /^-ERR value is not an integer or out of range\r\n$/);
      const body = [["EVAL", "return {1, {'x'}}", "0"], ["STRLEN", "a"], ["NOSUCH"]];
      assert.deepEqual(await read("/pipeline", body), [
        200,
        "*2\r\n:1\r\n*1\r\n$1\r\nx\r\n:3\r\n-ERR unknown command 'NOSUCH'\r\n".replaceAll(
          "'NOSUCH'",
          before7() ? "`NOSUCH`" : "'NOSUCH'",
        ),
      ]);
    });
  });

  it("bridge answers large values and many values completely", async () => {
    await using({}, async (call) => {
      const value = "phở \u{1f35c} ".repeat(100_000);
      await call("/set/large", { body: value });
      assert.deepEqual(await (await call("/get/large")).json(), { result: value });
      const body = Array.from({ length: 20_000 }, (_, index) => ["ECHO", `${index}`]);
      const items = (await (await call("/pipeline", { body })).json()) as { result: string }[];
      assert.ok(items.every(({ result }, index) => result === `${index}`));
      assert.equal(items.length, body.length);
    });
  });

  it("bridge runs in its database", async () => {
    await using({ database: 7 }, async (call) => {
      await call("/set/a/7");
      assert.deepEqual(await (await call("/multi-exec", { body: [["INCR", "a"]] })).json(), [{ result: 8 }]);
      assert.equal(await rawCommand(redis.port, ["GET", "a"]), null);
    });
  });
});

describe("bridge over connections, concurrency", () => {
  it("bridge gives each of 200 transactions and 800 commands its own replies when all run at once", async () => {
    const { driver, opened } = counting();
    const handler = bridge({ driver, token: TOKEN });
    const listener = await serve(handler);
    const ask = async (path: string, body: unknown): Promise<unknown> => {
      const response = await fetch(request(`${listener.url}${path}`, { body }));
      assert.equal(response.status, 200);
      return response.json();
    };
    try {
      const work: Promise<unknown>[] = [];
      for (let index = 0; index < 1000; index++) {
        if (index % 5 > 0) {
          work.push(
            ask("/", ["ECHO", `plain ${index}`]).then((reply) => assert.deepEqual(reply, { result: `plain ${index}` })),
          );
        } else {
          const commands = [
            ["INCR", "counter"],
            ["SET", `own:${index}`, `${index}`],
            ["GET", `own:${index}`],
            ["LPUSH", `own:${index}`, "wrong type"],
            ["INCR", "counter"],
          ];
          work.push(
            ask("/multi-exec", commands).then((reply) => {
              const [first, set, get, wrong, second] = reply as { result?: unknown; error?: string }[];
              assert.deepEqual([set, get], [{ result: "OK" }, { result: `${index}` }]);
              assert.match(String(wrong?.error), /^WRONGTYPE /);
              assert.equal(second?.result, Number(first?.result) + 1);
            }),
          );
        }
      }
      await Promise.all(work);
      assert.equal(await rawCommand(redis.port, ["GET", "counter"]), "400");
      assert.ok(opened.length <= 12, `${opened.length} connections`);
    } finally {
      await handler.close();
      await listener.close();
    }
  });

  it("transactions wait for a connection within their deadline, and use no more than the limit", async () => {
    const { driver, opened } = counting();
    await using({ driver, maxTransactions: 2 }, async (call) => {
      const replies = await Promise.all(
        Array.from({ length: 50 }, () => call("/multi-exec", { body: [["INCR", "n"]] }).then((reply) => reply.json())),
      );
      const results = replies.map((reply) => Number((reply as { result: number }[])[0]?.result));
      assert.deepEqual(
        results.sort((a, b) => a - b),
        results.map((_, index) => index + 1),
      );
      assert.ok(opened.length <= 2, `${opened.length} connections`);
    });
    await using({ maxTransactions: 1, timeout: 100 }, async (call) => {
      redis.pause();
      try {
        const replies = await Promise.all([1, 2].map(() => call("/multi-exec", { body: [["INCR", "n"]] })));
        for (const reply of replies) assert.ok(reply.status === 504 || reply.status === 503, `${reply.status}`);
      } finally {
        redis.resume();
      }
    });
  });

  it("bridge opens more shared connections when they are busy, and no more than four", async () => {
    const { driver, opened } = counting();
    await using({ driver }, async (call) => {
      const body = Array.from({ length: 600 }, () => ["PING"]);
      await eventually(async () => {
        await Promise.all(Array.from({ length: 40 }, () => call("/pipeline", { body })));
        return opened.length > 1;
      });
      for (let round = 0; round < 5; round++) {
        await Promise.all(Array.from({ length: 40 }, () => call("/pipeline", { body })));
      }
      assert.ok(opened.length <= 4, `${opened.length} connections`);
    });
  });
});

describe("bridge over connections, hostile requests", () => {
  it("bridge answers each hostile request with its status, and other requests as usual", async () => {
    const handler = bridge({ driver, token: TOKEN });
    const listener = await serve(handler);
    const ask = async (path: string, call: Call = {}) => {
      const response = await fetch(request(`${listener.url}${path}`, call));
      return { status: response.status, json: (await response.json()) as { error?: string } };
    };
    // Somebody else works all the time, and must not notice.
    let stop = false;
    let answered = 0;
    const other = (async () => {
      while (!stop) {
        const { status, json } = await ask("/pipeline", {
          body: [
            ["ECHO", `${answered}`],
            ["SELECT", "1"],
          ],
        });
        assert.equal(status, 200);
        assert.deepEqual((json as unknown[])[0], { result: `${answered}` });
        answered++;
      }
    })();
    try {
      const commands = [
        ["SUBSCRIBE", "c"],
        ["PSUBSCRIBE", "*"],
        ["SSUBSCRIBE", "c"],
        ["MONITOR"],
        ["MULTI"],
        ["EXEC"],
        ["WATCH", "k"],
        ["SELECT", "3"],
        ["BLPOP", "none", "0"],
        ["BLMOVE", "none", "none2", "LEFT", "LEFT", "0"],
        ["XREAD", "BLOCK", "0", "STREAMS", "s", "$"],
        ["CLIENT", "KILL", "TYPE", "normal"],
        ["CLIENT", "REPLY", "OFF"],
        ["CONFIG", "SET", "maxmemory", "1"],
        ["SHUTDOWN", "NOSAVE"],
        ["DEBUG", "SLEEP", "10"],
        ["QUIT"],
        ["RESET"],
        ["HELLO", "3"],
        ["AUTH", "x"],
        ["POST", "/"],
        ["host:", "x"],
        ["REPLICAOF", "127.0.0.1", "1"],
        ["SYNC"],
      ];
      for (const command of commands) {
        assert.equal((await ask("/", { body: command })).status, 400, command.join(" "));
        assert.equal((await ask("/multi-exec", { body: [["SET", "k", "1"], command] })).status, 400);
        const { status, json } = await ask("/pipeline", { body: [command, ["PING"]] });
        assert.equal(status, 200);
        assert.deepEqual((json as unknown[])[1], { result: "PONG" });
      }
      const large = `["SET","k","${"x".repeat(11_000_000)}"]`;
      for (const path of ["/", "/pipeline", "/multi-exec", "/set/k"]) {
        assert.deepEqual(await ask(path, { body: large }), {
          status: 400,
          json: { error: "ERR max request size exceeded" },
        });
      }
      const broken = ["{", '["GET"', "[".repeat(500_000), '[["GET","a"],]', "nul", '["GET","\\ud8"]', "\u0000"];
      for (const body of broken) {
        for (const path of ["/", "/pipeline", "/multi-exec"]) assert.equal((await ask(path, { body })).status, 400);
      }
      const many = `[${'["PING"],'.repeat(100_000)}["PING"]]`;
      assert.equal((await ask("/pipeline", { body: many })).status, 400);
      for (const path of ["/", "/pipeline", "/multi-exec", "/get/a", "/subscribe/c", "/psubscribe/c", "/monitor"]) {
        for (const token of ["", "wrong", READS]) {
          assert.deepEqual(await ask(path, { body: [["GET", "a"]], token }), {
            status: 401,
            json: { error: "WRONGPASS invalid or missing auth token" },
          });
        }
      }
      // As deep as Redis itself lets a script go.
      const script = "local t = {} for i = 1, 5000 do t = {t} end return t";
      await (await fetch(request(`${listener.url}/`, { body: ["EVAL", script, "0"] }))).text();
      assert.deepEqual(await ask("/", { body: ["PING"] }), { status: 200, json: { result: "PONG" } as object });
      assert.ok(answered > 0);
    } finally {
      stop = true;
      await other;
      await handler.close();
      await listener.close();
    }
    assert.equal(await rawCommand(redis.port, ["EXISTS", "k"]), 0);
  });

  it("a read-only token may neither write, scan, publish nor watch", async () => {
    await using({}, async (call) => {
      for (const path of ["/set/a/b", "/scan/0", "/keys/*", "/publish/c/m", "/monitor", "/eval/return 1/0"]) {
        const response = await call(path, { token: READS });
        assert.equal(response.status, 400, path);
        assert.match(await response.text(), /NOPERM/);
      }
      assert.equal((await call("/get/a", { token: READS })).status, 200);
    });
  });

  it("a read-only token runs reads, but not those that list keys, run scripts or are dangerous", async () => {
    const table = (await rawCommand(redis.port, ["COMMAND"])) as [string, ...unknown[]][];
    // XREAD blocks only with an option that is never served.
    const known = /^(ping|echo|time|dbsize|xread)$/;
    const allowed: string[] = [];
    await using({}, async (call) => {
      for (const [name, , flags, , , , acl, , , subcommands] of table as [string, ...string[][]][]) {
        // Without arguments: none of them runs.
        const { error } = (await (await call("/", { body: [name], token: READS })).json()) as { error?: string };
        if (/^(NOPERM|ERR command)/.test(String(error))) continue;
        allowed.push(name);
        if (known.test(name)) continue;
        const rows = [{ flags, acl }, ...(subcommands ?? []).map((row) => ({ flags: row[2], acl: row[6] }))];
        // Of a command with subcommands, these count; HELP reads nothing.
        for (const row of rows.length > 1 ? rows.slice(1).filter((each) => each.flags?.includes("readonly")) : rows) {
          assert.ok(row.flags?.includes("readonly"), `${name} ${row.flags}`);
          assert.doesNotMatch(`${row.acl}`, /@(write|dangerous|admin|scripting|pubsub|blocking|connection)/, name);
        }
      }
    });
    for (const name of ["keys", "scan", "randomkey", "eval_ro", "sort_ro", "info", "command", "pubsub", "memory"]) {
      assert.ok(!allowed.includes(name), name);
    }
    assert.ok(allowed.length > 60, `${allowed.length} commands`);
  });
});

describe("bridge over connections, faults", () => {
  /** Runs with a bridge whose store is behind a proxy. */
  async function proxied(
    options: Partial<BridgeOptions>,
    run: (call: (path: string, call?: Call) => Promise<Response>, proxy: FaultProxy, handler: Bridge) => Promise<void>,
  ): Promise<void> {
    const proxy = await startProxy(redis.port);
    const behind = nodeRedis({ host: "127.0.0.1", port: proxy.port });
    try {
      await using({ driver: behind, ...options }, (call, handler) => run(call, proxy, handler));
    } finally {
      await behind.close();
      await proxy.stop();
    }
  }

  it("bridge answers 503 while the store is away, and works again by itself", async () => {
    await proxied({}, async (call, proxy) => {
      const body = [["INCR", "n"]];
      assert.deepEqual(await (await call("/pipeline", { body })).json(), [{ result: 1 }]);
      assert.deepEqual(await (await call("/multi-exec", { body })).json(), [{ result: 2 }]);
      await proxy.set("refuse");
      for (const path of ["/pipeline", "/multi-exec", "/subscribe/c"]) {
        const response = await call(path, { body });
        assert.equal(response.status, 503);
        assert.equal(typeof ((await response.json()) as { error: string }).error, "string");
      }
      await proxy.set("pass");
      assert.deepEqual(await (await call("/pipeline", { body })).json(), [{ result: 3 }]);
      assert.deepEqual(await (await call("/multi-exec", { body })).json(), [{ result: 4 }]);
    });
  });

  it("bridge takes another connection when an idle one was lost", async () => {
    await proxied({}, async (call, proxy) => {
      const body = [["INCR", "n"]];
      await call("/pipeline", { body });
      await call("/multi-exec", { body });
      for (const [path, result] of [
        ["/pipeline", 3],
        ["/multi-exec", 4],
      ] as const) {
        proxy.cut();
        await eventually(() => proxy.open === 0);
        await sleep(20);
        assert.deepEqual(await (await call(path, { body })).json(), [{ result }]);
      }
    });
  });

  it("bridge answers 504 when the store does not answer in time", async () => {
    await proxied({ timeout: 100 }, async (call, proxy) => {
      const body = [["INCR", "n"]];
      for (const path of ["/pipeline", "/multi-exec"]) await call(path, { body });
      await proxy.set("blackhole");
      for (const path of ["/pipeline", "/multi-exec"]) {
        const response = await call(path, { body });
        assert.equal(response.status, 504);
        assert.match(await response.text(), /gave no answer within \d+ ms/);
      }
    });
  });

  it("close waits for requests in-flight, refuses later ones, and leaves no connection", async () => {
    const before = (await clients()).length;
    const handler = bridge({ driver, token: TOKEN });
    const call = (path: string, body?: unknown) => handler(request(`http://bridge${path}`, { body }));
    await Promise.all([call("/pipeline", [["PING"]]), call("/multi-exec", [["PING"]])]);
    assert.equal((await clients()).length, before + 2);
    const last = call("/", ["INCR", "closing"]);
    await new Promise((resolve) => setTimeout(resolve));
    const closing = handler.close();
    const late = call("/", ["INCR", "closing"]);
    assert.deepEqual(await (await last).json(), { result: 1 });
    await closing;
    await handler.close();
    assert.equal((await late).status, 503);
    assert.equal((await call("/multi-exec", [["PING"]])).status, 503);
    assert.equal((await call("/subscribe/c")).status, 503);
    await eventually(async () => (await clients()).length === before);
    assert.deepEqual(await driver.send(0, [["GET", "closing"]]), ["1"]);
  });

  it("a transaction is refused when the user may not run MULTI", async () => {
    const guarded = await startRedis({ args: ["--user", "larder", "on", ">secret", "~*", "+@all", "-multi"] });
    const limited = nodeRedis({ port: guarded.port, username: "larder", password: "secret" });
    try {
      await using({ driver: limited }, async (call) => {
        assert.equal((await call("/set/a/1")).status, 200);
        const response = await call("/multi-exec", { body: [["SET", "a", "2"]] });
        assert.equal(response.status, 400);
        assert.match(await response.text(), /NOPERM/);
        assert.deepEqual(await (await call("/get/a")).json(), { result: "1" });
      });
    } finally {
      await limited.close();
      await guarded.stop();
    }
  });
});
