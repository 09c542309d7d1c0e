import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { createClient as createClient5 } from "redis5";
import { createClient as createClient6 } from "redis6";
import { type Driver, type Reply, StoreError, type StoreErrorKind } from "../drivers/driver.ts";
import { type NodeRedisOptions, nodeRedis } from "../drivers/node_redis.ts";
import { makeCertificate } from "./helpers/certificate.ts";
import { eventually } from "./helpers/eventually.ts";
import { startProxy } from "./helpers/proxy.ts";
import { freePort, type RedisServer, rawClient, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { behindProxy, using } from "./helpers/tcp.ts";

let redis: RedisServer;
let folder: string;
let port: number;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "larder-"));
  redis = await startRedis({ args: ["--unixsocket", join(folder, "redis.sock")] });
  port = redis.port;
});
after(async () => {
  await redis.stop();
  rmSync(folder, { recursive: true });
});

/** The error that a send ends with. */
async function failure(send: Promise<unknown>, kind: StoreErrorKind): Promise<StoreError> {
  const error = await send.then(
    (replies) => assert.fail(`answered ${JSON.stringify(replies)}`),
    (error) => error,
  );
  assert.ok(error instanceof StoreError, String(error));
  assert.equal(error.kind, kind, error.message);
  return error;
}

/** The error in a command's place. */
function errorIn(reply: Reply | undefined, kind: StoreErrorKind): StoreError {
  assert.ok(reply instanceof StoreError, `${reply}`);
  assert.equal(reply.kind, kind, reply.message);
  return reply;
}

/** Returns the number of connections from clients with this name. */
async function connectionsTo(database: number): Promise<number> {
  const list = await rawCommand(port, ["CLIENT", "LIST"]);
  return String(list)
    .split("\n")
    .filter((line) => line.includes(` db=${database} `)).length;
}

describe("nodeRedis", () => {
  it("send answers each command in its place when one of them fails", async () => {
    await using({ port }, async (driver) => {
      const replies = await driver.send(0, [
        ["SET", "answers", "phở"],
        ["GET", "answers"],
        ["HGET", "answers", "field"],
        ["GET", "answers:none"],
        ["INCRBY", "answers:n", 5],
        ["MGET", "answers", "answers:n"],
      ]);
      assert.equal(errorIn(replies[2], "command").code, "WRONGTYPE");
      assert.deepEqual(replies.with(2, null), ["OK", "phở", null, null, 5, ["phở", "5"]]);
    });
  });

  it("send resolves with the error when its only command fails", async () => {
    await using({ port }, async (driver) => {
      const [reply] = await driver.send(0, [["GET"]]);
      assert.match(errorIn(reply, "command").message, /^ERR wrong number of arguments/);
    });
  });

  it("send leaves the arguments out when the server repeats them in its error", async () => {
    await using({ port }, async (driver) => {
      const [reply] = await driver.send(0, [["NOSUCH", "secret"]]);
      assert.match(errorIn(reply, "command").message, /^ERR unknown command [`']NOSUCH[`']$/);
    });
  });

  it("send keeps databases apart when the key is the same", async () => {
    await using({ url: redis.url }, async (driver) => {
      await Promise.all([0, 1, 15].map((database) => driver.send(database, [["SET", "apart", `in ${database}`]])));
      for (const database of [0, 1, 15]) {
        assert.deepEqual(await driver.send(database, [["GET", "apart"]]), [`in ${database}`]);
      }
      assert.deepEqual(await driver.send(2, [["GET", "apart"]]), [null]);
    });
  });

  it("send names the database and the way out when the server has not so many", async () => {
    await using({ port }, async (driver) => {
      const error = await failure(driver.send(16, [["GET", "a"]]), "command");
      assert.match(error.message, /^Cannot use database 16 of Redis at localhost:\d+: .*CACHE_DATABASES=prefixed/);
      assert.deepEqual(await driver.send(0, [["PING"]]), ["PONG"]);
    });
  });

  it("send uses the Unix socket when a path is given", async () => {
    await using({ path: join(folder, "redis.sock") }, async (driver) => {
      await driver.send(3, [["SET", "unix", 1]]);
      assert.deepEqual(await driver.send(3, [["GET", "unix"]]), ["1"]);
    });
  });

  it("send shares one connection when many are issued at once, and keeps their order", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      const sends = Array.from({ length: 50 }, (_, index) => driver.send(4, [["RPUSH", "order", index]]));
      assert.deepEqual(
        (await Promise.all(sends)).flat(),
        Array.from({ length: 50 }, (_, index) => index + 1),
      );
      const [list] = await driver.send(4, [["LRANGE", "order", 0, -1]]);
      assert.deepEqual(
        list,
        Array.from({ length: 50 }, (_, index) => `${index}`),
      );
      assert.equal(proxy.accepted, 1);
    });
  });

  it("nodeRedis opens nothing when nothing is sent", async () => {
    await behindProxy(port, {}, async (_, proxy) => {
      await sleep(20);
      assert.equal(proxy.accepted, 0);
    });
  });

  it("send uses as many connections as the pool has when all are busy", async () => {
    await behindProxy(port, { pool: { size: 3 } }, async (driver, proxy) => {
      assert.equal(driver.capabilities.ordered, false);
      await driver.send(0, [["PING"]]);
      await driver.send(0, [["PING"]]);
      assert.equal(proxy.accepted, 1);
      await eventually(async () => {
        const blocked = [1, 2, 3].map(() => driver.send(0, [["BLPOP", "pool:none", "0.05"]]));
        const info = await rawCommand(port, ["INFO", "clients"]);
        assert.deepEqual(await Promise.all(blocked), [[null], [null], [null]]);
        return `${info}`.includes("blocked_clients:3");
      });
      assert.equal(proxy.accepted, 3);
    });
  });

  it("send drops the connection a pool lost, and goes on over the others", async () => {
    await behindProxy(port, { pool: { size: 2 } }, async (driver, proxy) => {
      await eventually(async () => {
        await Promise.all([driver.send(0, [["PING"]]), driver.send(0, [["PING"]])]);
        return proxy.accepted === 2;
      });
      proxy.cut();
      await eventually(() => proxy.open === 0);
      await eventually(() =>
        driver.send(0, [["PING"]]).then(
          () => true,
          () => false,
        ),
      );
    });
  });

  for (const [name, options] of [
    ["a URL of another protocol", { url: "http://user:hunter2@host" }],
    ["a malformed URL", { url: "redis://user:hunter2@:0:0" }],
    ["a ready client with a URL", { url: "redis://user:hunter2@host", client: createClient() }],
  ] as const) {
    it(`nodeRedis throws without the password when given ${name}`, () => {
      assert.throws(
        () => nodeRedis(options),
        (error) => {
          assert.ok(error instanceof TypeError);
          assert.doesNotMatch(`${error.message} ${error.stack} ${JSON.stringify(error)}`, /hunter2/);
          return true;
        },
      );
    });
  }

  it("nodeRedis throws when a number is out of range", () => {
    for (const options of [
      { port: 0 },
      { port: 70000 },
      { pool: { size: 0 } },
      { connectTimeout: 1.5 },
      { pingInterval: -1 },
    ]) {
      assert.throws(() => nodeRedis(options), RangeError, JSON.stringify(options));
    }
  });

  it("nodeRedis pings when pingInterval passes in silence", async () => {
    const calls = async () =>
      Number(/cmdstat_ping:calls=(\d+)/.exec(String(await rawCommand(port, ["INFO", "commandstats"])))?.[1] ?? 0);
    await using({ port, pingInterval: 10 }, async (driver) => {
      await driver.send(0, [["GET", "ping"]]);
      const before = await calls();
      await eventually(async () => (await calls()) >= before + 2);
    });
  });
});

describe("nodeRedis, logging in", () => {
  let guarded: RedisServer;
  before(async () => {
    guarded = await startRedis({
      args: ["--requirepass", "p@ss/word", "--user", "larder", "on", ">s:cr%t", "~larder:*", "+@all", "-ping"],
    });
  });
  after(() => guarded.stop());

  it("send answers when password or ACL user are right, in options or in the URL", async () => {
    const { port } = guarded;
    const user = { username: "larder", password: "s:cr%t" };
    for (const options of [
      { port, password: "p@ss/word" },
      { port, ...user },
      { url: `redis://:${encodeURIComponent("p@ss/word")}@127.0.0.1:${port}` },
      { url: `redis://larder:${encodeURIComponent("s:cr%t")}@127.0.0.1:${port}/7` },
      { url: `redis://larder:wrong@127.0.0.1:${port}`, ...user },
    ]) {
      await using(options, async (driver) => {
        assert.deepEqual(await driver.send(1, [["SET", "larder:a", "1"]]), ["OK"]);
      });
    }
  });

  it("send gives NOPERM in the command's place when the ACL user may not", async () => {
    await using({ port: guarded.port, username: "larder", password: "s:cr%t" }, async (driver) => {
      const replies = await driver.send(0, [
        ["GET", "other"],
        ["GET", "larder:none"],
      ]);
      assert.equal(errorIn(replies[0], "auth").code, "NOPERM");
      assert.equal(replies[1], null);
    });
  });

  it("send rejects with kind auth, without the password, when it is wrong or missing", async () => {
    for (const [options, code] of [
      [{ password: "hunter2" }, "WRONGPASS"],
      [{ username: "larder", password: "hunter2" }, "WRONGPASS"],
      [{}, "NOAUTH"],
    ] as const) {
      for (const database of [0, 1]) {
        await using({ port: guarded.port, ...options }, async (driver) => {
          const error = await failure(driver.send(database, [["GET", "a"]]), "auth");
          assert.equal(error.code, code);
          assert.doesNotMatch(`${error.message} ${error.cause}`, /hunter2/);
        });
      }
    }
  });

  it("send rejects with kind connection when the server has no place for another client", async () => {
    const full = await startRedis({ args: ["--maxclients", "1"] });
    try {
      const other = await rawClient(full.port);
      await other.command("PING");
      // The server closes right after its reply, and a reset that overtakes the reply takes it away.
      const refused = /max number of clients reached|closed|ECONNRESET|EPIPE/;
      const refuse = async (driver: Driver) => {
        assert.match((await failure(driver.send(0, [["GET", "a"]]), "connection")).message, refused);
      };
      // The reply may come before the login leaves.
      for (let i = 0; i < 20; i++) await using({ port: full.port }, refuse);
      await using({ port: full.port }, async (driver) => {
        await refuse(driver);
        other.close();
        await eventually(() =>
          driver.send(0, [["PING"]]).then(
            () => true,
            () => false,
          ),
        );
      });
    } finally {
      await full.stop();
    }
  });
});

describe("nodeRedis, TLS", () => {
  let secure: RedisServer;
  let tlsPort: number;
  let ca: string;
  before(async () => {
    const certificate = makeCertificate(folder);
    ca = certificate.ca;
    tlsPort = await freePort();
    secure = await startRedis({ args: ["--tls-port", `${tlsPort}`, ...certificate.args] });
  });
  after(() => secure.stop());

  it("send answers over TLS when the certificate is trusted, or need not be", async () => {
    for (const options of [
      { port: tlsPort, tls: { ca } },
      { url: `rediss://localhost:${tlsPort}`, tls: { ca } },
      { url: `rediss://127.0.0.1:${tlsPort}`, tls: { rejectUnauthorized: false } },
    ]) {
      await using(options, async (driver) => {
        assert.deepEqual(
          await driver.send(2, [
            ["SET", "tls", 1],
            ["GET", "tls"],
          ]),
          ["OK", "1"],
        );
      });
    }
  });

  it("send rejects with kind connection when the certificate is not trusted", async () => {
    for (const options of [{ url: `rediss://localhost:${tlsPort}` }, { port: tlsPort, tls: true }]) {
      await using(options, async (driver) => {
        const error = await failure(driver.send(0, [["GET", "a"]]), "connection");
        assert.match(error.message, /^Cannot connect to Redis at localhost:\d+: .*certificate/i);
      });
    }
  });

  it("send rejects with kind connection when only one side speaks TLS", async () => {
    for (const options of [{ port: secure.port, tls: true }, { port: tlsPort }]) {
      await using({ ...options, connectTimeout: 200 }, async (driver) => {
        await failure(driver.send(0, [["GET", "a"]]), "connection");
      });
    }
  });
});

describe("nodeRedis, faults", () => {
  it("send rejects at once during the pause when an attempt has failed, and reconnects after it", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await proxy.set("refuse");
      const error = await failure(driver.send(0, [["GET", "a"]]), "connection");
      assert.match(error.message, /^Cannot connect to Redis at 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
      assert.equal(error.repeat, "none");
      await proxy.set("pass");
      assert.equal(await failure(driver.send(0, [["GET", "a"]]), "connection"), error);
      assert.equal(proxy.accepted, 0);
      await eventually(() =>
        driver.send(0, [["PING"]]).then(
          () => true,
          () => false,
        ),
      );
      assert.equal(proxy.accepted, 1);
    });
  });

  it("send pauses longer after each failed attempt", async () => {
    await behindProxy(port, { connectTimeout: 1 }, async (driver, proxy) => {
      await proxy.set("blackhole");
      const start = performance.now();
      const attempts: number[] = [];
      while (attempts.length < 4) {
        await driver.send(0, [["GET", "a"]]).catch(() => {});
        await sleep(2);
        if (proxy.accepted > attempts.length) attempts.push(performance.now() - start);
      }
      // At 0, 50, 150 and 350 ms, later by what the attempts take.
      for (const [i, least] of [0, 50, 150, 350].entries()) {
        assert.ok((attempts[i] as number) >= least - 1, `${attempts}`);
      }
    });
  });

  it("send rejects when the server accepts and never answers, after connectTimeout", async () => {
    await behindProxy(port, { connectTimeout: 100 }, async (driver, proxy) => {
      await proxy.set("blackhole");
      for (const database of [0, 1]) {
        const started = performance.now();
        const error = await failure(driver.send(database, [["GET", "a"]], { timeout: 50 }), "connection");
        assert.match(error.message, /no answer within 100 ms/);
        assert.ok(performance.now() - started < 4000);
      }
      await eventually(() => proxy.open === 0);
    });
  });

  it("send is dropped when connecting takes longer than its timeout, and the next send is executed", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await rawCommand(port, ["DEL", "late"]);
      await proxy.set({ delay: 60 });
      const error = await failure(driver.send(0, [["INCR", "late"]], { timeout: 30 }), "timeout");
      assert.equal(error.repeat, "none");
      await proxy.set("pass");
      assert.deepEqual(await driver.send(0, [["INCR", "late"]], { timeout: 3000 }), [1]);
      assert.equal(proxy.accepted, 1);
    });
  });

  it("send fails and drops the connection when no answer comes in time, and the next one opens another", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await driver.send(0, [["SET", "silent", "1"]]);
      await proxy.set("blackhole");
      const started = performance.now();
      const sends = [
        driver.send(0, [["GET", "silent"]], { timeout: 80 }),
        driver.send(
          0,
          [
            ["GET", "silent"],
            ["GET", "silent"],
          ],
          { timeout: 40 },
        ),
      ];
      for (const send of sends) assert.equal((await failure(send, "timeout")).repeat, "idempotent");
      const took = performance.now() - started;
      assert.ok(took >= 79 && took < 4000, `after ${took} ms`);
      await eventually(() => proxy.open === 0);
      await proxy.set("pass");
      assert.deepEqual(await driver.send(0, [["GET", "silent"]], { timeout: 3000 }), ["1"]);
      assert.equal(proxy.accepted, 2);
    });
  });

  it("send keeps the connection when answers are slow but in time", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await driver.send(0, [["SET", "slow", "1"]]);
      await proxy.set({ delay: 30 });
      for (let index = 0; index < 5; index++) {
        assert.deepEqual(await driver.send(0, [["GET", "slow"]], { timeout: 5000 }), ["1"]);
      }
      assert.equal(proxy.accepted, 1);
    });
  });

  it("send says which commands were answered when the connection is cut in mid-reply", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await driver.send(0, [["SET", "cut", "value"]]);
      await proxy.set({ resetAfter: "$5\r\nvalue\r\n".length + 4 });
      const replies = await driver.send(0, [
        ["GET", "cut"],
        ["GET", "cut"],
        ["GET", "cut"],
      ]);
      assert.equal(replies[0], "value");
      for (const reply of replies.slice(1)) assert.equal(errorIn(reply, "connection").repeat, "idempotent");
      await proxy.set({ resetAfter: 4 });
      await eventually(() => proxy.open === 0);
      await proxy.set("pass");
      assert.deepEqual(await driver.send(0, [["GET", "cut"]]), ["value"]);
      await proxy.set({ resetAfter: 4 });
      const error = await failure(
        driver.send(0, [
          ["GET", "cut"],
          ["GET", "cut"],
        ]),
        "connection",
      );
      assert.equal(error.repeat, "idempotent");
      assert.match(error.message, /^The connection to Redis at 127\.0\.0\.1:\d+ was lost: /);
    });
  });

  it("send executes a counter once when the connection drops before its reply", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await driver.send(0, [["DEL", "once"]]);
      await proxy.set("drop");
      assert.equal((await failure(driver.send(0, [["INCR", "once"]]), "connection")).repeat, "idempotent");
      await proxy.set("pass");
      assert.deepEqual(await driver.send(0, [["GET", "once"]]), ["1"]);
    });
  });

  for (const [text, repeat] of [
    ["LOADING Redis is loading the dataset in memory", "all"],
    ["OOM command not allowed when used memory > 'maxmemory'.", "none"],
    ["READONLY You can't write against a read only replica.", "all"],
  ] as const) {
    const [code = ""] = text.split(" ");
    it(`send gives ${code} in its place when the server answers it`, async () => {
      await behindProxy(port, {}, async (driver, proxy) => {
        await driver.send(0, [["PING"]]);
        await proxy.set({ replace: `-${text}\r\n` });
        for (const reply of await driver.send(0, [
          ["SET", "a", "1"],
          ["SET", "b", "two\r\n"],
        ])) {
          const error = errorIn(reply, "command");
          assert.deepEqual([error.code, error.message, error.repeat], [code, text, repeat]);
        }
        await proxy.set("pass");
        assert.deepEqual(await driver.send(0, [["PING"]]), ["PONG"]);
      });
    });
  }

  it("send fails in time when something answers that is not Redis", async () => {
    await behindProxy(port, { connectTimeout: 100 }, async (driver, proxy) => {
      await proxy.set({ replace: "HTTP/1.1 400 Bad Request\r\n\r\n" });
      const error = await failure(driver.send(0, [["GET", "a"]]), "connection");
      assert.match(error.message, /^Cannot connect to Redis at \S+: The reply is not RESP2: expected a Redis server$/);
      await failure(driver.send(1, [["GET", "a"]]), "connection");
    });
  });

  it("send works again when the login was answered by more than it asked for", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await proxy.set({ rewrite: (text) => `${text}+more\r\n` });
      await failure(driver.send(0, [["GET", "a"]]), "connection");
      await proxy.set("pass");
      await eventually(() =>
        driver.send(0, [["PING"]]).then(
          () => true,
          () => false,
        ),
      );
    });
  });

  it("send says why when the connection is cut at the login", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await proxy.set({ resetAfter: 3 });
      const { message } = await failure(driver.send(0, [["GET", "a"]]), "connection");
      assert.match(message, /^Cannot connect to Redis at \S+: (Socket closed unexpectedly|.*ECONNRESET.*)$/);
    });
  });

  it("send works again by itself when the server has restarted, and nothing crashes in between", async () => {
    const first = await startRedis();
    const driver = nodeRedis({ port: first.port });
    try {
      assert.deepEqual(await driver.send(1, [["PING"]]), ["PONG"]);
      await first.stop();
      for (let index = 0; index < 5; index++) {
        await failure(driver.send(1, [["PING"]], { timeout: 5000 }), "connection");
        await sleep(10);
      }
      const second = await startRedis({ port: first.port });
      try {
        await eventually(() =>
          driver.send(1, [["SET", "back", "1"]]).then(
            () => true,
            () => false,
          ),
        );
        assert.deepEqual(await driver.send(1, [["GET", "back"]]), ["1"]);
      } finally {
        await second.stop();
      }
    } finally {
      await driver.close();
      await first.stop();
    }
  });

  it("send answers again when a stopped server goes on", async () => {
    const server = await startRedis();
    try {
      await using({ port: server.port }, async (driver) => {
        await driver.send(0, [["SET", "a", "1"]]);
        server.pause();
        await failure(driver.send(0, [["GET", "a"]], { timeout: 50 }), "timeout");
        // The kernel still accepts: the next send waits for an answer while connecting.
        const waiting = driver.send(0, [["GET", "a"]], { timeout: 10_000 });
        await sleep(20);
        server.resume();
        assert.deepEqual(await waiting, ["1"]);
      });
    } finally {
      server.resume();
      await server.stop();
    }
  });
});

describe("nodeRedis, close", () => {
  it("close lets what was sent be answered, and rejects what is sent later", async () => {
    const driver = nodeRedis({ port });
    await driver.send(5, [["DEL", "closing"]]);
    const last = driver.send(5, [["INCR", "closing"]]);
    const closing = driver.close();
    await failure(driver.send(5, [["GET", "closing"]]), "closed");
    assert.deepEqual(await last, [1]);
    await closing;
    await driver.close();
    await failure(driver.send(6, [["GET", "closing"]]), "closed");
    await eventually(async () => (await connectionsTo(5)) === 0);
  });

  it("close does not hang when the server answers nothing", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await driver.send(0, [["PING"]]);
      await proxy.set("blackhole");
      const established = failure(driver.send(0, [["GET", "a"]]), "closed");
      const connecting = failure(driver.send(1, [["GET", "a"]]), "closed");
      const started = performance.now();
      await driver.close();
      assert.ok(performance.now() - started < 10_000);
      await Promise.all([established, connecting]);
      await eventually(() => proxy.open === 0);
    });
  });
});

const clients = {
  "node-redis 4": () => createClient({ url: `${redis.url}/3` }),
  "node-redis 5": () => createClient5({ url: `${redis.url}/3` }),
  "node-redis 5 with RESP3": () => createClient5({ url: `${redis.url}/3`, RESP: 3 }),
  "node-redis 6": () => createClient6({ url: `${redis.url}/3` }),
  "node-redis 6 with RESP2": () => createClient6({ url: `${redis.url}/3`, RESP: 2 }),
};

for (const [name, create] of Object.entries(clients)) {
  describe(`nodeRedis, a ready client of ${name}`, () => {
    // Their types differ too much for one variable; that each of them fits is checked where nodeRedis takes it.
    type Ready = NonNullable<NodeRedisOptions["client"]> & {
      connect(): Promise<unknown>;
      disconnect(): Promise<unknown>;
    };
    let client: Ready;
    let driver: Driver;
    before(async () => {
      client = create();
      await client.connect();
      driver = nodeRedis({ client });
    });
    after(async () => {
      await driver.close();
      await client.disconnect();
    });

    it("send goes over the client for its own database, over a duplicate for others", async () => {
      const before = [await connectionsTo(3), await connectionsTo(9)];
      await driver.send(3, [["SET", name, "in 3"]]);
      await driver.send(9, [["SET", name, "in 9"]]);
      assert.equal(await client.sendCommand(["GET", name]), "in 3");
      assert.deepEqual(await driver.send(3, [["GET", name]]), ["in 3"]);
      assert.deepEqual(await driver.send(9, [["GET", name]]), ["in 9"]);
      assert.deepEqual([await connectionsTo(3), await connectionsTo(9)], [before[0], (before[1] ?? 0) + 1]);
    });

    it("send gives RESP2 shapes and errors in their place", async () => {
      for (const database of [3, 9]) {
        const replies = await driver.send(database, [
          ["DEL", "hash", "zset", "set", "text"],
          ["HSET", "hash", "a", 1, "b", 2],
          ["HGETALL", "hash"],
          ["HRANDFIELD", "hash", "-3", "WITHVALUES"],
          ["ZADD", "zset", 1.5, "x", 2, "y"],
          ["ZSCORE", "zset", "x"],
          ["ZRANGE", "zset", 0, -1, "WITHSCORES"],
          ["ZPOPMAX", "zset"],
          ["SADD", "set", "m"],
          ["SMEMBERS", "set"],
          ["CONFIG", "GET", "databases"],
          ["EVAL", "return {1, 'a', false, {2}}", 0],
          ["EVAL", "redis.setresp(3) return {true, {double=2.5}}", 0],
          ["SET", "text", "1"],
          ["LPUSH", "text", "1"],
          ["GET", "none"],
          ["MGET", "text", "none"],
          ["SCAN", 0, "MATCH", "none*", "COUNT", 10000],
          ["PTTL", "text"],
        ]);
        assert.equal(errorIn(replies[14], "command").code, "WRONGTYPE");
        assert.equal((replies[3] as Reply[]).length, 6);
        assert.ok((replies[3] as Reply[]).every((item) => typeof item === "string"));
        assert.deepEqual(replies.toSpliced(14, 1).toSpliced(3, 1).slice(1), [
          2,
          ["a", "1", "b", "2"],
          2,
          "1.5",
          ["x", "1.5", "y", "2"],
          ["y", "2"],
          1,
          ["m"],
          ["databases", "16"],
          [1, "a", null, [2]],
          [1, "2.5"],
          "OK",
          null,
          ["1", null],
          ["0", []],
          -1,
        ]);
        assert.deepEqual(
          (await driver.send(database, [["LPUSH", "text", "1"]])).map((reply) => errorIn(reply, "command").code),
          ["WRONGTYPE"],
        );
      }
    });

    it("close leaves the client open and closes the duplicates", async () => {
      const other = nodeRedis({ client });
      await other.send(3, [["PING"]]);
      await other.send(11, [["PING"]]);
      assert.equal(await connectionsTo(11), 1);
      await other.close();
      await failure(other.send(3, [["PING"]]), "closed");
      await eventually(async () => (await connectionsTo(11)) === 0);
      assert.equal(await client.sendCommand(["PING"]), "PONG");
    });

    it("send serves the database that is named when the client has selected another", async () => {
      const other = create() as unknown as Ready;
      await other.connect();
      await other.sendCommand(["SELECT", "10"]);
      await using({ client: other, database: 10 }, async (driver) => {
        await driver.send(10, [["SET", "selected", name]]);
        assert.equal(await other.sendCommand(["GET", "selected"]), name);
      });
      await other.disconnect();
    });

    it("send rejects when the client is not connected", async () => {
      const other = create();
      await using({ client: other }, async (driver) => {
        const error = await failure(driver.send(3, [["GET", "a"]]), "connection");
        assert.match(error.message, /^The client of Redis at 127\.0\.0\.1:\d+ is not connected$/);
      });
    });
  });
}

describe("nodeRedis, a ready client that loses its connection", () => {
  type Options = { socket: { host: string; port: number; reconnectStrategy: number } };
  const versions = {
    "4": (options: Options) => createClient(options),
    "5": (options: Options) => createClient5(options),
    "6": (options: Options) => createClient6(options),
  };
  for (const [version, create] of Object.entries(versions)) {
    it(`send rejects, and works again when node-redis ${version} has reconnected`, async () => {
      const proxy = await startProxy(port);
      const client = create({ socket: { host: "127.0.0.1", port: proxy.port, reconnectStrategy: 20 } });
      const driver = nodeRedis({ client });
      try {
        await client.connect();
        await driver.send(0, [["SET", "lent", "1"]]);
        await proxy.set("drop");
        const error = await failure(driver.send(0, [["GET", "lent"]], { timeout: 5000 }), "connection");
        assert.equal(error.repeat, "idempotent");
        await failure(
          driver.send(
            0,
            [
              ["GET", "lent"],
              ["GET", "lent"],
            ],
            { timeout: 5000 },
          ),
          "connection",
        );
        await proxy.set("pass");
        await eventually(() =>
          driver.send(0, [["GET", "lent"]]).then(
            () => true,
            () => false,
          ),
        );
        await proxy.set("blackhole");
        driver.send(0, [["GET", "lent"]], { timeout: 30 }).catch(() => {});
        await sleep(40);
        await failure(driver.send(0, [["GET", "lent"]], { timeout: 30 }), "timeout");
      } finally {
        await driver.close();
        await client.disconnect();
        await proxy.stop();
      }
    });
  }
});

describe("nodeRedis, the process", () => {
  /** Milliseconds from the answer to the end of a process: less than node-redis waits for a connection. */
  const EXIT = 3000;

  // A process of its own, in which nothing but the driver could keep the loop alive once there is an answer.
  async function run(code: string, onOutput: () => void = () => {}): Promise<{ output: string; took: number }> {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const driver = new URL(`../drivers/node_redis.${extension}`, import.meta.url).href;
    const script = `
      import process from "node:process";
      import { nodeRedis } from ${JSON.stringify(driver)};
      process.on("exit", (code) => console.log("exit", code, Math.round(performance.now() - answered)));
      async function within(ms, answer) {
        let timer;
        const late = new Promise((done) => { timer = setTimeout(done, ms, "deadline"); });
        console.log(await Promise.race([answer.catch(({ message }) => message), late]));
        clearTimeout(timer);
      }
      ${code}
      const answered = performance.now();`;
    const flags = process.versions.bun ? ["-e"] : "Deno" in globalThis ? ["eval"] : ["--input-type=module", "-e"];
    const child = spawn(process.execPath, [...flags, script], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
      onOutput();
    });
    child.stderr.on("data", (chunk) => {
      output += chunk;
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
    await once(child, "close");
    clearTimeout(timer);
    const [, took] = /exit 0 (\d+)/.exec(output) ?? assert.fail(`did not exit by itself: ${output}`);
    return { output, took: Number(took) };
  }

  it("the process exits by itself when the server answered and the driver was not closed", async () => {
    const { output, took } = await run(`
      const driver = nodeRedis({ port: ${port}, pool: { size: 2 }, pingInterval: 5000 });
      await within(20_000, driver.send(0, [["ECHO", "here"]]));`);
    assert.match(output, /here/);
    assert.ok(took < EXIT, output);
  });

  it("the process exits by itself when the port is refused", async () => {
    const { output, took } = await run(`
      const driver = nodeRedis({ port: ${await freePort()} });
      await within(20_000, driver.send(0, [["GET", "a"]]));`);
    assert.match(output, /Cannot connect to Redis at localhost/);
    assert.ok(took < EXIT, output);
  });

  it("the process exits by itself when the server never answers", async () => {
    const proxy = await startProxy(port);
    try {
      await proxy.set("blackhole");
      for (const tls of [false, true]) {
        const { output, took } = await run(`
          const driver = nodeRedis({ host: "127.0.0.1", port: ${proxy.port}, tls: ${tls} });
          await within(200, driver.send(1, [["GET", "a"]]));`);
        assert.match(output, /deadline/);
        assert.ok(took < EXIT, output);
      }
    } finally {
      await proxy.stop();
    }
  });

  it("the process goes on when the connection is lost and no caller waits", async () => {
    const server = await startRedis();
    const { output } = await run(
      `
      const driver = nodeRedis({ port: ${server.port} });
      await within(20_000, driver.send(0, [["PING"]]));
      await new Promise((done) => setTimeout(done, 500));
      console.log("goes on");`,
      () => void server.stop(),
    );
    await server.stop();
    assert.match(output, /PONG/);
    assert.match(output, /goes on/);
  });
});
