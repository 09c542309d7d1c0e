import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { createClient } from "redis";
import { createClient as createClient5 } from "redis5";
import { createClient as createClient6 } from "redis6";
import {
  type Connection,
  type Driver,
  errorReply,
  type RawReply,
  StoreError,
  type StoreErrorKind,
} from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { encodeCommands, ReplyReader } from "../drivers/node_redis/resp.ts";
import { type NodeRedisOptions, nodeRedis } from "../drivers/node_redis.ts";
import { upstash } from "../drivers/upstash.ts";
import { makeCertificate } from "./helpers/certificate.ts";
import { eventually } from "./helpers/eventually.ts";
import { freePort, type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { start } from "./helpers/run.ts";
import { behindProxy, using } from "./helpers/tcp.ts";

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));

/** A reply as a server writes it. */
function write(reply: RawReply): Uint8Array {
  if (reply === null) return bytes("$-1\r\n");
  if (typeof reply === "string") return bytes(`+${reply}\r\n`);
  if (typeof reply === "number" || typeof reply === "bigint") return bytes(`:${reply}\r\n`);
  if (reply instanceof StoreError) return bytes(`-${reply.message}\r\n`);
  if (reply instanceof Uint8Array) return concat(bytes(`$${reply.length}\r\n`), reply, bytes("\r\n"));
  return concat(bytes(`*${reply.length}\r\n`), ...reply.map(write));
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Returns the replies that a reader finds in chunks. */
function read(...chunks: Uint8Array[]): RawReply[] {
  return readAs(false, chunks);
}

/** Returns the replies that a reader finds in chunks, strings as bytes or as text. */
function readAs(text: boolean, chunks: readonly Uint8Array[]): RawReply[] {
  const replies: RawReply[] = [];
  const reader = new ReplyReader((reply) => void replies.push(reply), text);
  for (const chunk of chunks) reader.read(chunk);
  return replies;
}

/** A reply as a reader of text has it. */
function asText(reply: RawReply): RawReply {
  if (reply instanceof Uint8Array) return Buffer.from(reply).toString();
  if (typeof reply === "bigint") return Number(reply);
  return Array.isArray(reply) ? reply.map(asText) : reply;
}

const { tree } = fc.letrec<{ tree: RawReply }>((tie) => ({
  tree: fc.oneof(
    { depthSize: "medium", withCrossShrink: true },
    fc.constant(null),
    fc.string({ unit: "grapheme" }).filter((text) => !/[\r\n]/.test(text)),
    fc.uint8Array({ maxLength: 40 }),
    fc.constant(bytes("\r\n$1\r\n\r\n")),
    // Long strings are decoded in another way than short ones.
    fc.string({ unit: "binary", minLength: 100, maxLength: 400 }).map((text) => bytes(`\ufeff${text}`)),
    fc.uint8Array({ minLength: 250, maxLength: 300 }),
    fc.maxSafeInteger(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).filter((n) => n > 2n ** 53n || n < -(2n ** 53n)),
    fc.constantFrom("WRONGTYPE Operation against a key", "ERR no").map(errorReply),
    fc.array(tie("tree"), { maxLength: 5 }),
  ),
}));

describe("ReplyReader", () => {
  it("read returns the same replies however their bytes are cut into chunks", () => {
    fc.assert(
      fc.property(fc.array(tree, { maxLength: 4 }), fc.array(fc.nat({ max: 12 })), (replies, sizes) => {
        const wire = concat(...replies.map(write));
        assert.deepEqual(read(wire), replies);
        const chunks: Uint8Array[] = [];
        for (let at = 0, turn = 0; at < wire.length; turn++) {
          const size = (sizes[turn % (sizes.length || 1)] ?? 0) + 1;
          chunks.push(wire.slice(at, at + size));
          at += size;
        }
        assert.deepEqual(read(...chunks), replies);
        for (const cut of [[wire], chunks]) assert.deepEqual(readAs(true, cut), replies.map(asText));
      }),
      { numRuns: 500 },
    );
  });

  it("read returns nil, empty and deep lists, and strings of megabytes that arrive in parts", () => {
    assert.deepEqual(read(bytes("*-1\r\n*0\r\n$0\r\n\r\n:-0\r\n+\r\n")), [null, [], new Uint8Array(), 0, ""]);
    const depth = 20_000;
    let [inner] = read(bytes(`${"*1\r\n".repeat(depth)}:7\r\n`));
    for (let level = 0; level < depth; level++) inner = (inner as RawReply[])[0];
    assert.equal(inner, 7);
    const large = new Uint8Array(5_000_000).map((_, index) => index * 31);
    const wire = write([large, "OK"]);
    const chunks = Array.from({ length: 77 }, (_, index) => wire.slice(index * 65_536, (index + 1) * 65_536));
    assert.deepEqual(read(...chunks), [[large, "OK"]]);
  });

  it("read copies short strings, so that they do not keep their chunk", () => {
    const text = "x".repeat(60_000);
    const chunk = bytes(`$3\r\nabc\r\n$3\r\ndef\r\n$60000\r\n${text}\r\n$400\r\n${text.slice(0, 400)}\r\n`);
    const replies = read(chunk) as Uint8Array[];
    assert.deepEqual(replies, [bytes("abc"), bytes("def"), bytes(text), bytes(text.slice(0, 400))]);
    // Copies share arrays that are small.
    for (const short of [0, 1, 3]) assert.ok((replies[short]?.buffer.byteLength ?? 0) <= 8192);
  });

  it("read leaves the arguments of a command out of its error", () => {
    const [reply] = read(bytes("-ERR unknown command 'NO', with args beginning with: 'secret' \r\n"));
    assert.equal((reply as StoreError).message, "ERR unknown command 'NO'");
  });

  it("read throws when the data is not RESP2", () => {
    for (const text of [
      "HTTP/1.1 400 Bad Request\r\n",
      "\r\n",
      "+OK\n",
      ":\r\n",
      ":1.5\r\n",
      ":123456789012345678901\r\n",
      "$-2\r\n",
      "$x\r\n",
      "*-2\r\n",
      "$3\r\nabcd\r\n",
      "$9007199254740991\r\n",
      "$9223372036854775807\r\n",
      "%1\r\n",
    ]) {
      const protocol = (error: unknown) => error instanceof StoreError && error.kind === "protocol";
      assert.throws(() => read(bytes(text)), protocol, JSON.stringify(text));
      assert.throws(() => read(...Array.from(bytes(text), (byte) => Uint8Array.of(byte))), protocol);
    }
  });
});

describe("encodeCommands", () => {
  it("encodeCommands writes text as UTF-8, numbers as digits and bytes as they are", () => {
    assert.equal(
      encodeCommands([["SET", "phở", 5], ["PING"]]),
      "*3\r\n$3\r\nSET\r\n$5\r\nphở\r\n$1\r\n5\r\n*1\r\n$4\r\nPING\r\n",
    );
    const written = encodeCommands([["SET", Uint8Array.of(0, 255, 13, 10), "v"], ["PING"]]);
    const expected = concat(
      bytes("*3\r\n$3\r\nSET\r\n$4\r\n"),
      Uint8Array.of(0, 255, 13, 10),
      bytes("\r\n$1\r\nv\r\n*1\r\n$4\r\nPING\r\n"),
    );
    assert.deepEqual(new Uint8Array(written as Uint8Array), expected);
  });
});

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

function connect(driver: Driver, database = 0, timeout?: number): Promise<Connection> {
  assert.ok(driver.connect);
  return driver.connect(database, timeout === undefined ? {} : { timeout });
}

/** The error that something ends with. */
async function failure(work: Promise<unknown>, kind: StoreErrorKind): Promise<StoreError> {
  const error = await work.then(
    () => assert.fail("did not fail"),
    (error) => error,
  );
  assert.ok(error instanceof StoreError, String(error));
  assert.equal(error.kind, kind, error.message);
  return error;
}

async function clients(): Promise<string[]> {
  return String(await rawCommand(port, ["CLIENT", "LIST"]))
    .trim()
    .split("\n");
}

describe("nodeRedis connect", () => {
  it("send carries keys and values of any bytes", async () => {
    await using({ port }, async (driver) => {
      const connection = await connect(driver, 4);
      const any = Uint8Array.from({ length: 256 }, (_, index) => index);
      const key = Uint8Array.of(0xff, 0, 13, 10, 0x80);
      const replies = await connection.send([
        ["SET", key, any],
        ["GET", key],
        ["RPUSH", "list", any, "phở", 5],
        ["LRANGE", "list", 0, -1],
        ["GET", "none"],
        ["HGET", key, "field"],
        ["TYPE", key],
        ["SCAN", 0],
      ]);
      assert.deepEqual(replies.slice(0, 5), ["OK", any, 3, [any, bytes("phở"), bytes("5")], null]);
      assert.equal((replies[5] as StoreError).code, "WRONGTYPE");
      assert.equal(replies[6], "string");
      assert.deepEqual(await rawCommand(port, ["EXISTS", "list"]), 0);
      assert.equal(((replies[7] as RawReply[])[1] as RawReply[]).length, 2);
      await connection.close();
    });
  });

  it("send answers integers of 64 bits exactly", async () => {
    await using({ port }, async (driver) => {
      const connection = await connect(driver);
      assert.deepEqual(
        await connection.send([
          ["SET", "big", "9007199254740990"],
          ["INCR", "big"],
          ["INCR", "big"],
          ["SET", "big", "9223372036854775806"],
          ["INCR", "big"],
          ["INCRBY", "small", "-9223372036854775808"],
        ]),
        ["OK", 9007199254740991, 9007199254740992n, "OK", 9223372036854775807n, -9223372036854775808n],
      );
    });
  });

  it("send answers pipelines of 10,000 commands, and many sends at once in their order", async () => {
    await using({ port }, async (driver) => {
      const connection = await connect(driver);
      const many = Array.from({ length: 10_000 }, (_, index) => ["ECHO", `${index}`]);
      const replies = await connection.send(many);
      assert.deepEqual(
        replies.map((reply) => Number(Buffer.from(reply as Uint8Array).toString())),
        many.map((_, index) => index),
      );
      const sends = Array.from({ length: 500 }, (_, index) =>
        connection.send([
          // Some leave as text, some as bytes.
          ["RPUSH", "order", index % 3 === 0 ? bytes(`${index}`) : index],
          ["ECHO", "x"],
        ]),
      );
      assert.deepEqual(
        (await Promise.all(sends)).map(([length]) => length),
        sends.map((_, index) => index + 1),
      );
      const large = new Uint8Array(20_000_000).fill(7);
      assert.deepEqual(
        await connection.send([
          ["SET", "large", large],
          ["STRLEN", "large"],
          ["GET", "large"],
        ]),
        ["OK", large.length, large],
      );
      assert.deepEqual(await connection.send([]), []);
    });
  });

  it("each connection has its own state: transactions and databases", async () => {
    await using({ port }, async (driver) => {
      const [one, other] = await Promise.all([connect(driver, 1), connect(driver, 2)]);
      const [replies, direct] = await Promise.all([
        one.send([["MULTI"], ["SET", "own", "1"], ["INCR", "own"], ["EXEC"]]),
        other.send([["SET", "own", "other"]]),
        driver.send(1, [["SET", "own", "7"]]),
      ]);
      assert.deepEqual(replies, ["OK", "QUEUED", "QUEUED", ["OK", 2]]);
      assert.deepEqual(direct, ["OK"]);
      assert.deepEqual(
        await one.send([
          ["SELECT", 2],
          ["GET", "own"],
        ]),
        ["OK", bytes("other")],
      );
    });
  });

  it("listen passes on messages until the connection is closed", async () => {
    await using({ port }, async (driver) => {
      const [listener, sender] = await Promise.all([connect(driver), connect(driver)]);
      await listener.send([["CLIENT", "SETNAME", "listener"]]);
      const told: RawReply[] = [];
      const listening = listener.listen(["SUBSCRIBE", "news", Uint8Array.of(0xff)], (reply) => void told.push(reply));
      await eventually(() => told.length === 2);
      await assert.rejects(listener.send([["PING"]]), TypeError);
      await assert.rejects(
        listener.listen(["PING"], () => {}),
        TypeError,
      );
      assert.deepEqual(await sender.send([["PUBLISH", "news", Uint8Array.of(1, 0xfe)]]), [1]);
      await eventually(() => told.length === 3);
      assert.deepEqual(told, [
        [bytes("subscribe"), bytes("news"), 1],
        [bytes("subscribe"), Uint8Array.of(0xff), 2],
        [bytes("message"), bytes("news"), Uint8Array.of(1, 0xfe)],
      ]);
      await listener.close();
      await listening;
      await eventually(async () => !(await clients()).some((line) => line.includes("name=listener")));
    });
  });

  it("listen passes on the lines of MONITOR, however long they are", async () => {
    await using({ port }, async (driver) => {
      const [listener, sender] = await Promise.all([connect(driver), connect(driver)]);
      const told: RawReply[] = [];
      const listening = listener.listen(["MONITOR"], (reply) => void told.push(reply));
      await eventually(() => told.length === 1);
      await sender.send([["SET", "seen", "x".repeat(1_000_000)]]);
      await eventually(() => told.some((line) => String(line).includes('"SET" "seen"')));
      assert.equal(told[0], "OK");
      assert.ok(told.some((line) => String(line).length > 1_000_000));
      await listener.close();
      await listening;
    });
  });

  it("listen rejects when the connection is lost", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      const connection = await connect(driver);
      const told: RawReply[] = [];
      const listening = failure(
        connection.listen(["SUBSCRIBE", "c"], (reply) => void told.push(reply)),
        "connection",
      );
      await eventually(() => told.length === 1);
      proxy.cut();
      await listening;
      await failure(connection.send([["PING"]]), "connection");
    });
  });

  it("connect uses the Unix socket when a path is given", async () => {
    await using({ path: join(folder, "redis.sock") }, async (driver) => {
      const connection = await connect(driver, 3);
      assert.deepEqual(
        await connection.send([
          ["SET", "unix", 1],
          ["GET", "unix"],
        ]),
        ["OK", bytes("1")],
      );
    });
  });

  it("connect names the database and the way out when the server has not so many", async () => {
    await using({ port }, async (driver) => {
      const error = await failure(connect(driver, 16), "command");
      assert.match(error.message, /^Cannot use database 16 of Redis at localhost:\d+: .*CACHE_DATABASES=prefixed/);
    });
  });

  it("connect is absent when a driver has no connections", () => {
    assert.equal(memory().connect, undefined);
    assert.equal(upstash({ url: "http://127.0.0.1:1", token: "t" }).connect, undefined);
    const stub = { isReady: true, sendCommand: async () => null, duplicate: () => ({}), on: () => {} };
    assert.equal(nodeRedis({ client: stub }).connect, undefined);
    const credentialsProvider = { type: "streaming-credentials-provider" };
    assert.equal(nodeRedis({ client: { ...stub, options: { credentialsProvider } } }).connect, undefined);
  });
});

describe("nodeRedis connect, logging in", () => {
  let guarded: RedisServer;
  before(async () => {
    guarded = await startRedis({
      args: ["--requirepass", "p@ss/word", "--user", "larder", "on", ">s:cr%t", "~larder:*", "+@all", "-ping"],
    });
  });
  after(() => guarded.stop());

  it("connect answers when password or ACL user are right, in options or in the URL", async () => {
    const { port } = guarded;
    const user = { username: "larder", password: "s:cr%t" };
    for (const options of [
      { port, password: "p@ss/word" },
      { port, ...user },
      { url: `redis://:${encodeURIComponent("p@ss/word")}@127.0.0.1:${port}` },
      { url: `redis://larder:${encodeURIComponent("s:cr%t")}@127.0.0.1:${port}/7` },
    ]) {
      await using(options, async (driver) => {
        const connection = await connect(driver, 1);
        assert.deepEqual(await connection.send([["SET", "larder:a", "1"]]), ["OK"]);
      });
    }
  });

  it("connect rejects with kind auth, without the password, when it is wrong or missing", async () => {
    for (const [options, code] of [
      [{ password: "hunter2" }, "WRONGPASS"],
      [{ username: "larder", password: "hunter2" }, "WRONGPASS"],
      [{}, "NOAUTH"],
    ] as const) {
      for (const database of [0, 1]) {
        await using({ port: guarded.port, ...options }, async (driver) => {
          const error = await failure(connect(driver, database), "auth");
          assert.equal(error.code, code);
          assert.match(error.message, /^Cannot log in to Redis at localhost:\d+: /);
          assert.doesNotMatch(`${error.message} ${error.stack} ${error.cause}`, /hunter2/);
        });
      }
    }
  });

  type Ready = NonNullable<NodeRedisOptions["client"]> & {
    connect(): Promise<unknown>;
    disconnect(): Promise<unknown>;
  };
  // Their types differ too much for one variable.
  for (const [name, create] of [
    ["4", createClient as (options: object) => unknown],
    ["5", createClient5 as (options: object) => unknown],
    ["6", createClient6 as (options: object) => unknown],
  ] as const) {
    it(`connect goes where a ready client of node-redis ${name} goes`, async () => {
      for (const options of [
        { url: `redis://larder:${encodeURIComponent("s:cr%t")}@127.0.0.1:${guarded.port}/3` },
        { username: "larder", password: "s:cr%t", socket: { host: "127.0.0.1", port: guarded.port } },
      ]) {
        const client = create(options) as Ready;
        client.on("error", () => {});
        await client.connect();
        const driver = nodeRedis({ client });
        const connection = await connect(driver, 5);
        assert.deepEqual(await connection.send([["SET", "larder:client", name]]), ["OK"]);
        await driver.close();
        await failure(connection.send([["PING"]]), "closed");
        await client.disconnect();
      }
    });
  }
});

describe("nodeRedis connect, TLS", () => {
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

  it("connect answers over TLS when the certificate is trusted, or need not be", async () => {
    for (const options of [
      { port: tlsPort, tls: { ca } },
      { url: `rediss://localhost:${tlsPort}`, tls: { ca } },
      { url: `rediss://127.0.0.1:${tlsPort}`, tls: { rejectUnauthorized: false } },
    ]) {
      await using(options, async (driver) => {
        const connection = await connect(driver, 2);
        const value = new Uint8Array(300_000).map((_, index) => index);
        assert.deepEqual(
          await connection.send([
            ["SET", "tls", value],
            ["GET", "tls"],
          ]),
          ["OK", value],
        );
      });
    }
  });

  it("connect rejects with kind connection, having sent no password, when the certificate is not trusted", async () => {
    for (const options of [{ url: `rediss://localhost:${tlsPort}` }, { port: tlsPort, tls: true }]) {
      await using({ ...options, password: "hunter2" }, async (driver) => {
        const error = await failure(connect(driver), "connection");
        assert.match(error.message, /^Cannot connect to Redis at localhost:\d+: .*certificate/i);
      });
    }
    assert.doesNotMatch(String(await rawCommand(secure.port, ["INFO", "commandstats"])), /cmdstat_auth/);
  });

  it("connect rejects with kind connection when only one side speaks TLS", async () => {
    for (const options of [{ port: secure.port, tls: true }, { port: tlsPort }]) {
      await using({ ...options, connectTimeout: 200 }, async (driver) => {
        await failure(connect(driver), "connection");
      });
    }
  });
});

describe("nodeRedis connect, faults", () => {
  it("connect rejects when the port is closed", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await proxy.set("refuse");
      const error = await failure(connect(driver), "connection");
      assert.match(error.message, /^Cannot connect to Redis at 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
    });
  });

  it("connect rejects when the server accepts and never answers, after its timeout or connectTimeout", async () => {
    await behindProxy(port, { connectTimeout: 100 }, async (driver, proxy) => {
      await proxy.set("blackhole");
      assert.match((await failure(connect(driver), "connection")).message, /no answer within 100 ms/);
      assert.match((await failure(connect(driver, 1, 50), "connection")).message, /no answer within 50 ms/);
      await eventually(() => proxy.open === 0);
    });
  });

  it("connect rejects when something answers that is not Redis", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await proxy.set({ replace: "HTTP/1.1 400 Bad Request\r\n\r\n" });
      await failure(connect(driver), "protocol");
      await eventually(() => proxy.open === 0);
    });
  });

  it("send rejects and closes the connection when no answer comes in time", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      const connection = await connect(driver);
      assert.deepEqual(await connection.send([["PING"]], { timeout: 5000 }), ["PONG"]);
      await proxy.set("blackhole");
      const patient = failure(connection.send([["PING"]], { timeout: 60_000 }), "timeout");
      const error = await failure(connection.send([["GET", "a"]], { timeout: 49.987 }), "timeout");
      assert.match(error.message, /^Redis at 127\.0\.0\.1:\d+ gave no answer within 50 ms$/);
      assert.equal(error.repeat, "idempotent");
      await patient;
      await failure(connection.send([["PING"]]), "timeout");
      await eventually(() => proxy.open === 0);
    });
  });

  it("send rejects what is pending when the connection is cut in mid-reply", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      const connection = await connect(driver);
      await connection.send([["SET", "cut", "value"]]);
      await proxy.set({ resetAfter: "$5\r\nvalue\r\n".length + 4 });
      const first = connection.send([["GET", "cut"]]);
      const second = failure(connection.send([["GET", "cut"]]), "connection");
      assert.deepEqual(await first, [bytes("value")]);
      assert.equal((await second).repeat, "idempotent");
      assert.match((await second).message, /^The connection to Redis at 127\.0\.0\.1:\d+ was lost: /);
      assert.equal((await failure(connection.send([["GET", "cut"]]), "connection")).repeat, "all");
    });
  });

  it("close ends pending sends, and the close of the driver ends every connection", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      const [one, other] = await Promise.all([connect(driver), connect(driver)]);
      await proxy.set("blackhole");
      const pending = failure(one.send([["GET", "a"]]), "closed");
      await one.close();
      await one.close();
      await pending;
      await failure(one.send([["GET", "a"]]), "closed");
      const connecting = failure(connect(driver, 1), "closed");
      await driver.close();
      await failure(other.send([["GET", "a"]]), "closed");
      await connecting;
      await failure(connect(driver), "closed");
      await eventually(() => proxy.open === 0);
    });
  });

  it("an idle connection does not keep the process alive, one that is waited for does", async () => {
    const { href } = new URL(`../drivers/node_redis${extension}`, import.meta.url);
    const code = (body: string) => `
      import { nodeRedis } from ${JSON.stringify(href)};
      const driver = nodeRedis({ host: "127.0.0.1", port: ${port} });
      const connection = await driver.connect(0);
      ${body}
    `;
    const idle = run(code(`await connection.send([["PING"]]); console.log("idle");`));
    const busy = run(
      code(`console.log((await connection.send([["BLPOP", "none:${process.pid}", "0.3"]]))[0] === null);`),
    );
    assert.deepEqual({ ...(await idle.ended), stderr: "" }, { code: 0, stdout: "idle\n", stderr: "" });
    assert.deepEqual({ ...(await busy.ended), stderr: "" }, { code: 0, stdout: "true\n", stderr: "" });
  });
});

/** Compiled tests import compiled sources. */
const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";

/** Runs a module's source on this runtime. */
function run(source: string) {
  const { versions, execPath } = process;
  if (versions.deno) return start(execPath, ["eval", source]);
  if (versions.bun) return start(execPath, ["-e", source]);
  return start(execPath, ["--input-type=module", "-e", source]);
}
