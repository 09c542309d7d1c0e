/** The driver of Sentinel over real processes: a master, its replica, and three sentinels. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Driver, RawReply, StoreError, Tracker } from "../drivers/driver.ts";
import { type NodeAddress, type SentinelOptions, sentinel } from "../drivers/sentinel.ts";
import { type CacheClient, type ClientOptions, createCacheClient } from "../mod.ts";
import { makeCertificate } from "./helpers/certificate.ts";
import { eventually } from "./helpers/eventually.ts";
import { type SentinelServers, startSentinels } from "./helpers/redis_sentinel.ts";
import { freePort, rawCommand, startRedis } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 90_000 };
let servers: SentinelServers;
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "larder-sentinel-test-"));
  servers = await startSentinels();
});
after(async () => {
  await servers?.stop();
  await rm(folder, { recursive: true, force: true });
});

const options = (more: Partial<SentinelOptions> = {}): SentinelOptions => ({
  sentinels: servers.addresses,
  name: servers.name,
  ...more,
});

/** Runs a function with a driver, and closes it. */
async function using<T>(more: Partial<SentinelOptions>, run: (driver: Driver) => Promise<T>): Promise<T> {
  const driver = sentinel(options(more));
  try {
    return await run(driver);
  } finally {
    await driver.close();
  }
}

/** Runs a function with a client. */
async function withClient(
  run: (client: CacheClient, driver: Driver) => Promise<void>,
  more: Partial<SentinelOptions> = {},
  rest: ClientOptions = {},
): Promise<void> {
  await using(more, async (driver) => {
    const client = createCacheClient({ env: {}, driver, timeout: 1000, logger: false, ...rest });
    try {
      await run(client, driver);
    } finally {
      await client.close();
    }
  });
}

/** The error that a promise ends with. */
async function failure(promise: Promise<unknown>): Promise<StoreError> {
  try {
    await promise;
  } catch (error) {
    return error as StoreError;
  }
  return assert.fail("it succeeded");
}

/** Starts a sentinel of its own, which watches a port under the name of the master. */
async function loneSentinel(port: number, lines: readonly string[] = [], args: readonly string[] = []) {
  const file = join(folder, `${await freePort()}.conf`);
  await writeFile(file, [`sentinel monitor ${servers.name} 127.0.0.1 ${port} 2`, ...lines, ""].join("\n"));
  return startRedis({ file, args: ["--sentinel", ...args] });
}

const text = (reply: RawReply | undefined): unknown =>
  reply instanceof Uint8Array ? new TextDecoder().decode(reply) : reply;

describe("sentinel, options", () => {
  const right = { sentinels: ["127.0.0.1:26379"], name: "mymaster" };
  const wrong: [options: object, message: RegExp][] = [
    [
      { ...right, sentinels: undefined },
      /^Cannot set sentinels of sentinel: .* type undefined, expected a list of "host/,
    ],
    [{ ...right, sentinels: [] }, /^Cannot set sentinels of sentinel: expected servers as host:26379,/],
    [
      { ...right, sentinels: "h:1" },
      /^Cannot set sentinels of sentinel: received a value of type string, expected a list/,
    ],
    [{ ...right, sentinels: ["h:0"] }, /^Cannot set sentinels of sentinel: expected a port from 1 to 65535$/],
    [
      { ...right, sentinels: ["redis://u:S3CRET@h:1"] },
      /^Cannot set sentinels of sentinel: expected servers as host:po/,
    ],
    [
      { ...right, sentinels: [{ port: 1 }] },
      /^Cannot set sentinels of sentinel: expected a host name or an IP address$/,
    ],
    [{ ...right, name: undefined }, /^Cannot set name of sentinel: received undefined, expected the name of a master/],
    [
      { ...right, name: "my master" },
      /^Cannot set name of sentinel: received a value of type string, expected the name/,
    ],
    [
      { ...right, url: "redis://h" },
      /^Cannot set the options of sentinel: received "url", expected \{ sentinels, name,/,
    ],
    [{ ...right, password: 1 }, /^Cannot set password of sentinel: received 1, expected a string$/],
    [{ ...right, tls: "yes" }, /^Cannot set the options of sentinel\.tls: .*expected true, false or \{ ca,/],
    [{ ...right, sentinelTls: { cq: 1 } }, /^Cannot set the options of sentinel\.sentinelTls: received "cq"/],
    [{ ...right, pool: { size: 0 } }, /^Cannot set size of sentinel\.pool: received 0/],
    [
      { ...right, database: 16 },
      /^Cannot set database of sentinel: received 16, expected a whole number from 0 to 15$/,
    ],
    [{ ...right, connectTimeout: 0 }, /connectTimeout/],
    [{ ...right, mapAddress: {} }, /^Cannot set mapAddress of sentinel: received object, expected a function$/],
  ];
  for (const [index, [given, message]] of wrong.entries()) {
    it(`sentinel throws when an option is wrong, ${index + 1}: ${message.source.slice(0, 50)}`, () => {
      assert.throws(
        () => sentinel(given as SentinelOptions),
        (error: Error) => message.test(error.message) && !error.message.includes("S3CRET"),
      );
    });
  }

  it("sentinel opens nothing and has the abilities of a single server", async () => {
    const driver = sentinel({ sentinels: ["[::1]", { host: "h" }, "h:7"], name: "m", database: 3 });
    assert.deepEqual(
      [driver.name, driver.database, driver.parts?.(), driver.partOf?.("k")],
      ["sentinel", 3, ["m"], "m"],
    );
    assert.deepEqual(driver.capabilities, { numbered: true, scripts: true, ordered: true, transactions: "multi" });
    await driver.close();
    assert.equal((await failure(driver.send(0, [["PING"]]))).kind, "closed");
    assert.equal((await failure(driver.connect?.(0) as Promise<unknown>)).kind, "closed");
  });
});

describe("sentinel", () => {
  beforeEach(() => servers.ready());

  it("send reaches the master in numbered databases, and keeps the order from the first send on", LIMIT, async () => {
    const master = await servers.master();
    await using({}, async (driver) => {
      const sends = Array.from({ length: 20 }, (_, index) => driver.send(2, [["RPUSH", "order", index]]));
      assert.deepEqual(
        (await Promise.all(sends)).flat(),
        Array.from({ length: 20 }, (_, index) => index + 1),
      );
      assert.deepEqual(await driver.send(0, [["EXISTS", "order"]]), [0]);
      assert.deepEqual([driver.parts?.(), driver.partOf?.("k")], [[master.address], master.address]);
      const connection = (await driver.connect?.(2)) ?? assert.fail();
      assert.deepEqual((await connection.send([["LINDEX", "order", "1"]])).map(text), ["1"]);
      await driver.send(2, [["DEL", "order"]]);
    });
  });

  it("send works when some sentinels are away, and one names a server that is dead", LIMIT, async () => {
    const [silent, liar] = await Promise.all([startRedis(), freePort().then(loneSentinel)]);
    silent.pause();
    try {
      const gone = `127.0.0.1:${await freePort()}`;
      const sentinels = [gone, `127.0.0.1:${silent.port}`, `127.0.0.1:${liar.port}`, servers.addresses[0] as string];
      await using({ sentinels }, async (driver) => {
        const began = performance.now();
        assert.deepEqual(await driver.send(0, [["PING"]]), ["PONG"]);
        assert.ok(performance.now() - began < 1500, `${performance.now() - began}`);
      });
    } finally {
      await Promise.all([silent.stop(), liar.stop()]);
    }
  });

  it("send says what is wrong when no sentinel names a master", LIMIT, async () => {
    const plain = await startRedis();
    const dead = await freePort();
    const liar = await loneSentinel(dead);
    try {
      const cases: [Partial<SentinelOptions>, RegExp][] = [
        [
          { name: "other" },
          /^Cannot find the master other by its sentinels: the sentinel at .* does not know this name, but mymaster/,
        ],
        [
          { sentinels: [`127.0.0.1:${plain.port}`] },
          /says ERR unknown command .*, so it is not a sentinel: use redis:.* of a cluster$/,
        ],
        [{ sentinels: [`127.0.0.1:${dead}`] }, new RegExp(`127\\.0\\.0\\.1:${dead}: .*(refused|REFUSED)`)],
        [{ sentinels: [`127.0.0.1:${liar.port}`] }, new RegExp(`Cannot connect to Redis at 127.0.0.1:${dead}`)],
        [
          { mapAddress: () => ({}) as never },
          /^Cannot find the master .*: Cannot map the address 127.0.0.1:\d+: expected a host name/,
        ],
      ];
      for (const [more, message] of cases) {
        await using(more, async (driver) => {
          const { kind, message: words } = await failure(driver.send(0, [["PING"]], { timeout: 5000 }));
          assert.deepEqual([kind, message.test(words)], ["connection", true], words);
          // Until the next search, it fails at once.
          assert.equal((await failure(driver.send(0, [["PING"]]))).message, words);
        });
      }
    } finally {
      await Promise.all([plain.stop(), liar.stop()]);
    }
  });

  it("the master is left when another is announced whose address the application cannot map", LIMIT, async () => {
    // A server publishes what a sentinel would announce.
    const announcer = await startRedis();
    const sentinels = [...servers.addresses, `127.0.0.1:${announcer.port}`];
    const mapAddress = (address: NodeAddress): NodeAddress => {
      if (address.port === 1) throw new Error("no way to it");
      return address;
    };
    try {
      await using({ sentinels, mapAddress }, async (driver) => {
        const states: string[] = [];
        const tell = (state: string) => () => void states.push(state);
        driver.track?.(0, "", { invalidate() {}, up: tell("up"), down: tell("down") });
        await eventually(() => states.length === 1);
        const message = `${servers.name} 127.0.0.1 2 127.0.0.1 1`;
        // It is heard from some time on.
        await eventually(async () => (await rawCommand(announcer.port, ["PUBLISH", "+switch-master", message])) === 1);
        // What was the master may be one no more. The sentinels still name it, so it is found again.
        await eventually(() => states.length === 3);
        assert.deepEqual(states, ["up", "down", "up"]);
        assert.deepEqual(await driver.send(0, [["PING"]], { timeout: 10_000 }), ["PONG"]);
      });
    } finally {
      await announcer.stop();
    }
  });

  it("connect ends at its deadline when no sentinel answers", LIMIT, async () => {
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as { port: number };
    const sockets = new Set<Socket>();
    silent.on("connection", (socket) => sockets.add(socket.on("error", () => {})));
    try {
      await using({ sentinels: [`127.0.0.1:${port}`] }, async (driver) => {
        const connecting = driver.connect?.(0, { timeout: 50 }) ?? assert.fail();
        const { kind, message } = await failure(connecting);
        assert.deepEqual([kind, message], ["timeout", `The master ${servers.name} was not found in time`]);
      });
    } finally {
      for (const socket of sockets) socket.destroy();
      silent.close();
    }
  });

  it("send logs in to sentinels and servers apart", LIMIT, async () => {
    const redis = await startRedis({ args: ["--requirepass", "S3CRET-data"] });
    const lone = await loneSentinel(redis.port, [
      `sentinel auth-pass ${servers.name} S3CRET-data`,
      "requirepass S3CRET-sentinel",
    ]);
    const sentinels = [`127.0.0.1:${lone.port}`];
    const both = { password: "S3CRET-data", sentinelPassword: "S3CRET-sentinel" };
    try {
      await using({ sentinels, ...both }, async (driver) => {
        assert.deepEqual(await driver.send(0, [["PING"]]), ["PONG"]);
      });
      for (const [more, words] of [
        [{ ...both, password: "S3CRET-wrong" }, new RegExp(`Cannot log in to Redis at 127.0.0.1:${redis.port}`)],
        [{ ...both, sentinelPassword: "S3CRET-wrong" }, new RegExp(`Cannot log in to Redis at ${sentinels[0]}`)],
        [{ password: both.password }, /NOAUTH/],
      ] as const) {
        await using({ sentinels, ...more }, async (driver) => {
          const { kind, message } = await failure(driver.send(0, [["PING"]]));
          assert.deepEqual([kind, words.test(message), message.includes("S3CRET")], ["auth", true, false], message);
        });
      }
    } finally {
      await Promise.all([redis.stop(), lone.stop()]);
    }
  });

  it("send works over TLS to sentinels and servers, at the addresses that mapAddress gives", LIMIT, async () => {
    const { ca, args } = makeCertificate(folder);
    const [ofData, ofSentinel] = [await freePort(), await freePort()];
    const redis = await startRedis({ args: ["--tls-port", `${ofData}`, ...args] });
    const lone = await loneSentinel(redis.port, [], ["--tls-port", `${ofSentinel}`, ...args]);
    const tls = { ca };
    const named: object[] = [];
    try {
      const more = { sentinels: [`127.0.0.1:${ofSentinel}`], tls, sentinelTls: tls };
      const mapAddress = (address: { host: string; port: number }) => {
        named.push(address);
        return { host: "localhost", port: ofData };
      };
      await using({ ...more, mapAddress }, async (driver) => {
        assert.deepEqual(await driver.send(0, [["PING"]]), ["PONG"]);
        assert.deepEqual(driver.parts?.(), [`localhost:${ofData}`]);
      });
      assert.deepEqual(named[0], { host: "127.0.0.1", port: redis.port });
    } finally {
      await Promise.all([redis.stop(), lone.stop()]);
    }
  });

  it("calls go on when all sentinels are down, also over a new connection to the same master", LIMIT, async () => {
    const redis = await startRedis();
    const lone = await loneSentinel(redis.port);
    try {
      await using({ sentinels: [`127.0.0.1:${lone.port}`] }, async (driver) => {
        await driver.send(0, [["SET", "k", "1"]]);
        await lone.stop();
        assert.deepEqual(await driver.send(0, [["GET", "k"]]), ["1"]);
        await driver.send(0, [["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]]).catch(() => {});
        await eventually(async () => {
          const [reply] = await driver.send(0, [["GET", "k"]]).catch(() => []);
          return reply === "1";
        });
        await redis.stop();
        const { kind, message } = await failure(driver.send(0, [["GET", "k"]]));
        assert.equal(kind, "connection", message);
      });
    } finally {
      await Promise.all([redis.stop(), lone.stop()]);
    }
  });
});

describe("sentinel, failover", () => {
  beforeEach(() => servers.ready());

  /** A client that reads a key every few milliseconds until it is stopped. */
  function reading(client: CacheClient) {
    const seen: { value: unknown; from: number; to: number }[] = [];
    const stop = new AbortController();
    const ended = (async () => {
      while (!stop.signal.aborted) {
        const from = performance.now();
        const value = await client.cache().get("k");
        seen.push({ value, from, to: performance.now() });
        await sleep(5);
      }
    })();
    return {
      seen,
      hits: (value: unknown) => seen.at(-1)?.value === value,
      async stop() {
        stop.abort();
        await ended;
        return seen;
      },
    };
  }

  const notes = () => {
    const told: string[] = [];
    const tracker: Tracker = {
      invalidate: (keys) => void told.push(...(keys ?? ["*"])),
      up: (part) => void told.push(`up${part ?? ""}`),
      down: (part) => void told.push(`down${part ?? ""}`),
    };
    return { told, tracker };
  };

  it(
    "calls and trackings move to the master that the sentinels announce, and what it had is not served",
    LIMIT,
    async () => {
      const old = await servers.master();
      await withClient(async (client, driver) => {
        const cache = client.cache();
        assert.equal(await cache.set("k", 1), true);
        const { told, tracker } = notes();
        const tracking = driver.track?.(0, "", tracker);
        const connection = (await driver.connect?.(0)) ?? assert.fail();
        await eventually(() => told.join() === "up");
        assert.equal(await servers.sentinels[0]?.say("SENTINEL", "FAILOVER", servers.name), "OK");
        const reads = reading(client);
        const master = await servers.promoted(old);
        await eventually(() => driver.parts?.()[0] === master.address && told.join() === "up,down,up");
        assert.equal((await failure(connection.send([["PING"]]))).repeat, "all");
        assert.equal(await cache.set("k", 2), true);
        await eventually(() => reads.hits(2));
        assert.deepEqual(
          (await reads.stop()).filter(({ value }) => value !== 1 && value !== 2 && value !== undefined),
          [],
        );
        await eventually(() => told.length === 4);
        await tracking?.close();
      });
    },
  );

  it("reads miss until another master is announced, and hit then, when the master is killed", LIMIT, async () => {
    const old = await servers.master();
    await withClient(
      async (client, driver) => {
        assert.equal(await client.cache().set("k", 1), true);
        await inStep();
        const reads = reading(client);
        await eventually(() => reads.hits(1));
        await old.kill();
        const master = await servers.promoted(old);
        await eventually(() => driver.parts?.()[0] === master.address && reads.hits(1));
        const seen = await reads.stop();
        assert.deepEqual(
          seen.filter(({ value }) => value !== 1 && value !== undefined),
          [],
        );
        assert.equal(await client.cache().set("k", 2), true);
        await old.restart();
      },
      {},
      { breaker: { openFor: 100, maxOpenFor: 200 } },
    );
  });

  it("a client that was idle finds the new master with its first call", LIMIT, async () => {
    const old = await servers.master();
    await withClient(async (client) => {
      assert.equal(await client.cache().set("k", 1), true);
      await old.kill();
      await servers.promoted(old);
      assert.equal(await client.cache().set("k", 2), true);
      assert.equal(await client.cache().get("k"), 2);
      await old.restart();
    });
  });

  it(
    "no answer is of a master that was frozen and wakes up, for clients that read, idle, and cannot listen",
    LIMIT,
    async () => {
      for (const each of servers.sentinels) {
        assert.equal(await each.say("ACL", "SETUSER", "deaf", "on", ">pw", "allkeys", "+@all", "-subscribe"), "OK");
      }
      const old = await servers.master();
      const deaf = { sentinelUsername: "deaf", sentinelPassword: "pw" };
      const breaker = { openFor: 100, maxOpenFor: 200 };
      await withClient(
        async (busy) => {
          await withClient(async (idle) => {
            await withClient(
              async (cannotListen) => {
                assert.equal(await busy.cache().set("k", 1), true);
                for (const client of [idle, cannotListen]) assert.equal(await client.cache().get("k"), 1);
                const reads = reading(busy);
                old.pause();
                await servers.promoted(old);
                const announced = performance.now();
                await eventually(() => busy.cache().set("k", 2));
                await eventually(() => reads.hits(2));
                const written = performance.now();
                // It asks every two seconds.
                await sleep(Math.max(0, announced + 3000 - performance.now()));
                old.resume();
                assert.equal(((await old.say("ROLE")) as unknown[])[0], "master");
                for (let tries = 0; tries < 100; tries++) {
                  const values = await Promise.all([idle, cannotListen].map((client) => client.cache().get("k")));
                  assert.deepEqual(values, [2, 2]);
                  await sleep(2);
                }
                assert.match(String(await old.say("GET", "k")), /1/);
                const seen = await reads.stop();
                assert.deepEqual(
                  seen.filter(({ from, value }) => from > written && value !== 2),
                  [],
                );
              },
              deaf,
              { breaker },
            );
          });
        },
        {},
        { breaker },
      );
    },
  );

  /** Waits until the replica has what the master has. */
  async function inStep(): Promise<void> {
    await eventually(async () => {
      const [one, two] = await Promise.all(servers.nodes.map((node) => node.say("GET", "k")));
      return one === two;
    });
  }
});

describe("sentinel, the process", () => {
  const EXIT = 3000;

  /** Runs a module in a process of its own. Returns what it prints. */
  async function run(given: SentinelOptions, code: string): Promise<string> {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const module = new URL(`../drivers/sentinel.${extension}`, import.meta.url).href;
    const script = `
      import process from "node:process";
      import { sentinel } from ${JSON.stringify(module)};
      const driver = sentinel(${JSON.stringify(given)});
      ${code}`;
    const flags = process.versions.bun ? ["-e"] : "Deno" in globalThis ? ["eval"] : ["--input-type=module", "-e"];
    const child = spawn(process.execPath, [...flags, script], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
    await once(child, "close");
    clearTimeout(timer);
    return output;
  }

  it("goes on while a connection of its own is opened, and nothing else is awaited", LIMIT, async () => {
    await servers.ready();
    const output = await run(
      options(),
      `const connection = await driver.connect(0, { timeout: 20_000 });
       const [reply] = await connection.send([["ECHO", "here"]]);
       console.log(new TextDecoder().decode(reply));
       await driver.close();`,
    );
    assert.equal(output.trim(), "here");
  });

  it("exits by itself when the driver was not closed, and close is done at once", LIMIT, async () => {
    await servers.ready();
    const silent = await startRedis();
    silent.pause();
    try {
      const output = await run(
        options({ sentinels: [...servers.addresses, `127.0.0.1:${silent.port}`] }),
        `process.on("exit", (code) => console.log("exit", code, Math.round(performance.now() - answered)));
         driver.track(0, "", { invalidate() {}, up() {}, down() {} });
         const wait = setTimeout(() => {}, 20_000);
         console.log((await driver.send(0, [["ECHO", "here"]]))[0]);
         clearTimeout(wait);
         const answered = performance.now();`,
      );
      const [, took] = /here\s+exit 0 (\d+)/.exec(output) ?? assert.fail(`did not exit by itself: ${output}`);
      assert.ok(Number(took) < EXIT, output);
      const driver = sentinel(options({ sentinels: [`127.0.0.1:${silent.port}`] }));
      const pending = failure(driver.send(0, [["PING"]]));
      await driver.close();
      assert.equal((await pending).kind, "closed");
    } finally {
      await silent.stop();
    }
  });
});
