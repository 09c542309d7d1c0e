/** One connection of a process carries the commands of all databases: none of them runs in another one. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { type Command, type Driver, type Reply, StoreError } from "../drivers/driver.ts";
import { type NodeRedisOptions, nodeRedis } from "../drivers/node_redis.ts";
import { createCacheClient } from "../mod.ts";
import { eventually } from "./helpers/eventually.ts";
import { type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { behindProxy, using } from "./helpers/tcp.ts";

const LIMIT = { timeout: 60_000 };
const MANY = 100;

let redis: RedisServer;
before(async () => {
  redis = await startRedis({
    args: [
      ...["--databases", `${MANY}`],
      ...["--user", "writer", "on", ">secret", "~*", "&*", "+@all"],
      ...["--user", "unmoved", "on", ">secret", "~*", "&*", "+@all", "-select"],
    ],
  });
});
after(() => redis?.stop());

/** Returns the lines of CLIENT LIST, without the one of the question. */
async function connections(): Promise<string[]> {
  const list = await rawCommand(redis.port, ["CLIENT", "LIST"]);
  return String(list)
    .split("\n")
    .filter((line) => line !== "" && !line.includes("cmd=client"));
}

/** Runs with the lines that MONITOR reports, as `database command...`. */
async function monitored(run: (lines: () => Promise<string[]>) => Promise<void>): Promise<void> {
  await using({ port: redis.port }, async (driver) => {
    const monitor = await (driver.connect as NonNullable<Driver["connect"]>)(0);
    let lines: string[] = [];
    let started = false;
    const over = monitor.listen(["MONITOR"], (reply) => {
      started = true;
      const [, database, command] = /\[(\d+) \S+\] (.*)/.exec(String(reply)) ?? [];
      if (command) lines.push(`${database} ${command.replaceAll('"', "")}`);
    });
    await eventually(() => started);
    let turn = 0;
    await run(async () => {
      const end = `end${turn++}`;
      await rawCommand(redis.port, ["ECHO", end]);
      await eventually(() => lines.some((line) => line.endsWith(end)));
      const seen = lines.filter((line) => !/ (ECHO|PING|AUTH|ROLE)/.test(line));
      lines = [];
      return seen;
    });
    await monitor.close();
    await over;
  });
}

async function failure(send: Promise<unknown>): Promise<StoreError> {
  const error = await send.then(
    (replies) => assert.fail(`answered ${JSON.stringify(replies)}`),
    (error) => error,
  );
  assert.ok(error instanceof StoreError, String(error));
  return error;
}

describe("connections of a process", () => {
  it("are two when it uses the eight services with near caches", LIMIT, async () => {
    const before = (await connections()).length;
    const client = createCacheClient({ env: {}, url: redis.url, near: true });
    const use = () =>
      Promise.all([
        client.service("gateway").sessions.get("a"),
        client.service("product").categories.get("a"),
        client.service("auth").permissions.get("a"),
        client.service("user").addresses.get("a"),
        client.service("order").statuses.get("a"),
        client.service("analytics").reports.get("a"),
        client.service("payment").transactions.get("a"),
        client.service("notification").templates.get("a"),
      ]);
    await use();
    // The one for reports of changed keys is opened in the background.
    await eventually(async () => (await connections()).length - before === 2);
    await use();
    assert.equal((await connections()).length - before, 2);
    await client.close();
  });
});

/** A command on one of few keys, and what it does to a database. */
interface Step {
  readonly database: number;
  readonly command: Command;
  readonly apply: (keys: Map<string, string>) => Reply;
}

const step: fc.Arbitrary<Step> = fc
  .record({
    database: fc.constantFrom(0, 1, 2, 7, 99),
    key: fc.constantFrom("a", "b", "c"),
    verb: fc.constantFrom("SET", "GET", "INCR", "DEL", "GETSET"),
    value: fc.nat({ max: 99 }).map(String),
  })
  .map(({ database, key, verb, value }) => ({
    database,
    command: verb === "SET" || verb === "GETSET" ? [verb, key, value] : [verb, key],
    apply: (keys) => {
      const old = keys.get(key);
      if (verb === "GET") return old ?? null;
      if (verb === "DEL") return keys.delete(key) ? 1 : 0;
      const now = verb === "INCR" ? `${Number(old ?? 0) + 1}` : value;
      keys.set(key, now);
      return verb === "SET" ? "OK" : verb === "INCR" ? Number(now) : (old ?? null);
    },
  }));

describe("values are in the database that they were sent to", () => {
  for (const size of [1, 3]) {
    it(`with ${size} in the pool, whatever is sent at once`, LIMIT, async () => {
      await using({ port: redis.port, pool: { size } }, async (driver) => {
        const ticks = fc.array(fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 6 }));
        const property = fc.asyncProperty(ticks, async (ticks) => {
          await rawCommand(redis.port, ["FLUSHALL"]);
          const model = new Map<number, Map<string, string>>();
          for (const tick of ticks) {
            // Over several connections only the sends of different databases may overlap.
            const seen = new Set<number>();
            const sends = tick.filter((steps) => {
              const [{ database }] = steps as [Step];
              return size === 1 || (!seen.has(database) && seen.add(database));
            });
            const answers = sends.map((steps) => {
              const [{ database }] = steps as [Step];
              const keys = model.get(database) ?? new Map<string, string>();
              model.set(database, keys);
              const expected = steps.map(({ apply }) => apply(keys));
              const sent = driver.send(
                database,
                steps.map(({ command }) => command),
              );
              return sent.then((replies) => assert.deepEqual(replies, expected));
            });
            await Promise.all(answers);
          }
        });
        await fc.assert(property, { numRuns: 60 });
      });
    });
  }

  it("when the connection is lost in the middle of a write for several", LIMIT, async () => {
    await rawCommand(redis.port, ["FLUSHALL"]);
    const numbers = [0, 1, 2, 3, 4, 5, 6, 7];
    await behindProxy(redis.port, {}, async (driver, proxy) => {
      const increment = () =>
        Promise.all(
          numbers.map((database) =>
            driver
              .send(database, [
                ["INCR", "n"],
                ["SET", `in ${database}`, "x".repeat(20_000)],
                ["INCR", "n"],
              ])
              .then(
                (replies) => replies.filter((reply) => !(reply instanceof StoreError)).length,
                () => 0,
              ),
          ),
        );
      const least = numbers.map(() => 0);
      const most = numbers.map(() => 0);
      const count = async () => {
        for (const [database, answered] of (await increment()).entries()) {
          least[database] = (least[database] as number) + (answered + 1 > 3 ? 2 : answered > 0 ? 1 : 0);
          most[database] = (most[database] as number) + 2;
        }
      };
      for (let round = 0; round < 40; round++) {
        await proxy.set(round % 2 === 0 ? { resetAfter: 3 * round } : "pass");
        await count();
        await proxy.set("pass");
        await eventually(() =>
          driver.send(0, [["PING"]]).then(
            () => true,
            () => false,
          ),
        );
      }
      for (const database of numbers) {
        const [n, size, other] = await driver.send(database, [
          ["GET", "n"],
          ["DBSIZE"],
          ["EXISTS", ...numbers.filter((other) => other !== database).map((other) => `in ${other}`)],
        ]);
        assert.ok(Number(n) >= (least[database] as number) && Number(n) <= (most[database] as number), `${n}`);
        assert.deepEqual([size, other], [2, 0]);
      }
    });
  });

  it("a transaction is not interrupted by what others send in the same tick", LIMIT, async () => {
    await using({ port: redis.port }, async (driver) => {
      await Promise.all([1, 2].map((database) => driver.send(database, [["PING"]])));
      await monitored(async (lines) => {
        const [, , done] = await Promise.all([
          driver.send(1, [["SET", "a", 1]]),
          driver.send(2, [["SET", "a", 2]]),
          driver.send(1, [["MULTI"], ["INCR", "a"], ["GET", "a"], ["EXEC"]]),
          driver.send(2, [["SET", "b", 2]]),
        ]);
        assert.deepEqual(done?.at(-1), [2, "2"]);
        const seen = (await lines()).map((line) => line.slice(line.indexOf(" ") + 1));
        const multi = seen.indexOf("MULTI");
        assert.deepEqual(seen.slice(multi, multi + 4), ["MULTI", "INCR a", "GET a", "EXEC"]);
      });
    });
  });
});

describe("a tick", () => {
  it("leaves in one write, whatever the number of databases", LIMIT, async () => {
    const reads = async (driver: Driver) => {
      const [info] = await driver.send(0, [["INFO", "stats"]]);
      return Number(/total_reads_processed:(\d+)/.exec(String(info))?.[1] ?? Number.NaN);
    };
    await using({ port: redis.port }, (observer) =>
      using({ port: redis.port }, async (driver) => {
        const numbers = [0, 1, 2, 3, 4, 5, 6, 7];
        const tick = () =>
          Promise.all(
            numbers.map(async (database) => {
              // Some are a few turns of the microtask queue late.
              for (let turn = 0; turn < database % 3; turn++) await undefined;
              return driver.send(database, [["SET", "tick", database]]);
            }),
          );
        await tick();
        const before = await reads(observer);
        await tick();
        // The other one is the question itself.
        assert.equal((await reads(observer)) - before, 2);
      }),
    );
  });
});

describe("SELECT", () => {
  it("is sent once for all that a tick has for a database, and not if the connection is there", LIMIT, async () => {
    await using({ port: redis.port }, async (driver) => {
      const all = Array.from({ length: MANY }, (_, database) => database);
      const selects = (lines: string[]) => lines.filter((line) => / SELECT /.test(line)).length;
      await monitored(async (lines) => {
        await driver.send(0, [["PING"]]);
        // Each is asked for alone, before the first commands go there.
        await Promise.all(all.map((database) => driver.send(database, [["SET", "a", database]])));
        const first = await lines();
        assert.ok(selects(first) <= 2 * MANY, `${selects(first)}`);
        const writes = first.filter((line) => / SET a /.test(line));
        assert.deepEqual(
          writes.map((line) => line.replace(" SET a ", " ")).sort(),
          all.map((database) => `${database} ${database}`).sort(),
        );
        await Promise.all(all.map((database) => driver.send(database, [["GET", "a"]])));
        assert.ok(selects(await lines()) <= MANY);
        await Promise.all(all.map(() => driver.send(7, [["GET", "a"]])));
        for (let i = 0; i < 20; i++) await driver.send(7, [["GET", "a"]]);
        assert.ok(selects(await lines()) <= 1);
        await driver.send(7, [["GET", "a"]]);
        assert.equal(selects(await lines()), 0);
      });
    });
  });

  /** Users of a server with few databases, and of one that lets them use no other than 0. */
  const refusals: Record<string, { options: () => NodeRedisOptions; database: number; message: RegExp; kind: string }> =
    {
      "the database is out of range": {
        options: () => ({ port: redis.port }),
        database: MANY,
        message: /^Cannot use database 100 of Redis at .*out of range; set CACHE_DATABASES=prefixed/,
        kind: "command",
      },
      "the user may not select": {
        options: () => ({ port: redis.port, username: "unmoved", password: "secret" }),
        database: 5,
        message: /^Cannot use database 5 of Redis at .*NOPERM.*'select'/,
        kind: "auth",
      },
    };
  for (const [name, { options, database, message, kind }] of Object.entries(refusals)) {
    it(`fails its part and no other when ${name}, and its commands run nowhere`, LIMIT, async () => {
      await rawCommand(redis.port, ["FLUSHALL"]);
      await using(options(), async (driver) => {
        for (let round = 0; round < 3; round++) {
          const refused = Array.from({ length: 3 }, (_, i) => failure(driver.send(database, [["SET", `lost${i}`, 1]])));
          const [, written] = await Promise.all([Promise.all(refused), driver.send(0, [["SET", "kept", round]])]);
          assert.deepEqual(written, ["OK"]);
          for (const error of await Promise.all(refused)) {
            assert.match(error.message, message);
            assert.deepEqual([error.kind, error.repeat], [kind, "none"]);
          }
        }
        assert.deepEqual(await driver.send(0, [["GET", "kept"], ["DBSIZE"]]), ["2", 1]);
      });
    });
  }

  it("is asked for again a while after it was refused", LIMIT, async () => {
    await using({ port: redis.port, username: "unmoved", password: "secret" }, async (driver) => {
      await driver.send(0, [["PING"]]);
      await failure(driver.send(6, [["PING"]]));
      await rawCommand(redis.port, ["ACL", "SETUSER", "unmoved", "+select"]);
      await eventually(() =>
        driver.send(6, [["PING"]]).then(
          () => true,
          () => false,
        ),
      );
      await rawCommand(redis.port, ["ACL", "SETUSER", "unmoved", "-select"]);
    });
  });

  it("fails its part and drops the connection when it is refused after it was allowed", LIMIT, async () => {
    const options = { port: redis.port, username: "writer", password: "secret" };
    await using(options, async (driver) => {
      const use = (database: number) => driver.send(database, [["SET", "here", database]]);
      await Promise.all([0, 1, 2].map(use));
      await rawCommand(redis.port, ["ACL", "SETUSER", "writer", "-select"]);
      const outcomes = await Promise.allSettled([0, 1, 2].map(use));
      const errors = outcomes.map((outcome) => (outcome.status === "rejected" ? String(outcome.reason) : "ok"));
      assert.ok(errors.filter((error) => error.includes("Cannot use database")).length <= 1, errors.join("\n"));
      assert.ok(errors.filter((error) => error === "ok").length <= 1, errors.join("\n"));
      await eventually(() =>
        use(0).then(
          () => true,
          () => false,
        ),
      );
      assert.match((await failure(use(2))).message, /Cannot use database 2/);
      assert.deepEqual(await use(0), ["OK"]);
      assert.deepEqual(await driver.send(0, [["GET", "here"]]), ["0"]);
      await rawCommand(redis.port, ["ACL", "SETUSER", "writer", "+select"]);
    });
  });

  it("times out like any command when the server does not answer it", LIMIT, async () => {
    await behindProxy(redis.port, {}, async (driver, proxy) => {
      await driver.send(0, [["PING"]]);
      await proxy.set("blackhole");
      assert.equal((await failure(driver.send(4, [["GET", "a"]], { timeout: 50 }))).kind, "timeout");
      await eventually(() => proxy.open === 0);
      await proxy.set("pass");
      assert.deepEqual(await driver.send(4, [["ECHO", "back"]], { timeout: 5000 }), ["back"]);
    });
  });
});

describe("an error that passes, in place of the reply to SELECT", () => {
  const BUSY = "-BUSY Redis is busy running a script.\r\n";

  it("is the error of its part, and the database is asked for again at once", LIMIT, async () => {
    await behindProxy(redis.port, {}, async (driver, proxy) => {
      await driver.send(0, [["PING"]]);
      await proxy.set({ replace: BUSY });
      const error = await failure(driver.send(4, [["GET", "a"]]));
      assert.deepEqual([error.code, error.repeat], ["BUSY", "all"]);
      await proxy.set("pass");
      assert.deepEqual(await driver.send(4, [["ECHO", "back"]]), ["back"]);
    });
  });

  it("costs the connection of a database that was selected before, and lets its part be repeated", LIMIT, async () => {
    await behindProxy(redis.port, {}, async (driver, proxy) => {
      await driver.send(4, [["PING"]]);
      await driver.send(0, [["PING"]]);
      await proxy.set({ replace: BUSY });
      const error = await failure(driver.send(4, [["GET", "a"]]));
      assert.deepEqual([error.kind, error.repeat], ["connection", "idempotent"]);
      await proxy.set("pass");
      assert.deepEqual(await driver.send(4, [["ECHO", "back"]]), ["back"]);
    });
  });
});

describe("a connection that is never at rest", () => {
  it("is dropped in time although a send had much more time before", LIMIT, async () => {
    await behindProxy(redis.port, { connectTimeout: 500 }, async (driver, proxy) => {
      const echo = (timeout: number) => driver.send(0, [["ECHO", "a"]], { timeout });
      await echo(5000);
      await proxy.set({ delay: 30 });
      let pending: Promise<unknown>[] = [echo(600_000)];
      for (let i = 0; i < 20; i++) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        pending.push(echo(200));
      }
      // This one is lost. Others are still pending when it is sent.
      const quiet = proxy.set("blackhole");
      pending.push(echo(200));
      await quiet;
      let lost = 0;
      pending = pending.map((one) => one.catch(() => lost++));
      while (lost === 0) {
        echo(200).catch(() => lost++);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await proxy.set("pass");
      await eventually(() =>
        echo(5000).then(
          () => true,
          () => false,
        ),
      );
      await Promise.all(pending);
    });
  });
});

describe("a send without commands", () => {
  it("takes no reply of another one", LIMIT, async () => {
    await using({ port: redis.port }, async (driver) => {
      const sends = [["a"], [], ["b"], [], ["c"]].map((texts) =>
        driver.send(
          7,
          texts.map((text) => ["ECHO", text]),
        ),
      );
      assert.deepEqual(await Promise.all(sends), [["a"], [], ["b"], [], ["c"]]);
    });
  });
});

describe("close", () => {
  it("lets what waits for its database be answered", LIMIT, async () => {
    await rawCommand(redis.port, ["FLUSHALL"]);
    const driver = nodeRedis({ port: redis.port });
    await driver.send(0, [["PING"]]);
    const last = [3, 0, 9].map((database) => driver.send(database, [["INCR", "closing"]]));
    await driver.close();
    assert.deepEqual(await Promise.all(last), [[1], [1], [1]]);
  });
});
