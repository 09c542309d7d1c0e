import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type Command, type Driver, type Reply, StoreError, type TwinnedScript } from "../drivers/driver.ts";
import { type MemoryOptions, memory } from "../drivers/memory.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { startRedis } from "./helpers/redis_server.ts";

const WRONG_SIZE = [0, -1, 1.5, Number.NaN, Infinity, "1"];

/** Sends one command to database 0. */
async function one(driver: Driver, ...command: Command): Promise<Reply> {
  return (await driver.send(0, [command]))[0] ?? null;
}

/** Sends one command that must answer an error, and gives its text. */
async function failure(driver: Driver, ...command: Command): Promise<string> {
  const reply = await one(driver, ...command);
  assert.ok(reply instanceof StoreError, `${command} answered ${reply}`);
  assert.equal(reply.kind, "command");
  return reply.message;
}

/** The pages of a scan, with something done after each page. */
async function scan(driver: Driver, options: readonly string[], between?: () => Promise<unknown>): Promise<string[][]> {
  const pages: string[][] = [];
  let cursor = "0";
  do {
    const [next, keys] = (await one(driver, "SCAN", cursor, ...options)) as [string, string[]];
    pages.push(keys);
    cursor = next;
    await between?.();
    assert.ok(pages.length < 1000, "the scan does not end");
  } while (cursor !== "0");
  return pages;
}

const names = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `k${from + i}`);
const fill = (driver: Driver, keys: readonly string[]): Promise<Reply[]> =>
  driver.send(0, [["MSET", ...keys.flatMap((key) => [key, "v"])]]);

describe("memory options", () => {
  it("memory throws when an option is unknown, and names it", () => {
    assert.throws(() => memory({ maxEntrys: 1 } as MemoryOptions), {
      name: "TypeError",
      message:
        'Cannot set the options of memory: received "maxEntrys", expected { clock, maxEntries, maxBytes, scripts }',
    });
  });

  it("memory throws when a bound is not a whole number above 0", () => {
    for (const name of ["maxEntries", "maxBytes"]) {
      for (const value of WRONG_SIZE) {
        const [kind, shown] = typeof value === "number" ? ["Range", value] : ["Type", "a value of type string"];
        assert.throws(() => memory({ [name]: value }), {
          name: `${kind}Error`,
          message: `Cannot set ${name} of memory: received ${shown}, expected a whole number of 1 or more`,
        });
      }
    }
  });

  it("memory throws when the clock is not a function", () => {
    assert.throws(() => memory({ clock: "now" as unknown as () => number }), {
      name: "TypeError",
      message: "Cannot set clock of memory: received a value of type string, expected a function",
    });
  });

  it("memory takes undefined for the default", async () => {
    const options = { clock: undefined, maxEntries: undefined, maxBytes: undefined } as unknown as MemoryOptions;
    assert.equal(await one(memory(options), "PING"), "PONG");
  });

  it("memory is named and says that it has databases, scripts and order", () => {
    const { name, capabilities } = memory();
    assert.deepEqual(
      { name, capabilities },
      { name: "memory", capabilities: { numbered: true, scripts: true, ordered: true, transactions: "atomic" } },
    );
  });
});

describe("memory send", () => {
  it("send answers each command when one of them fails", async () => {
    const replies = await memory().send(3, [
      ["SET", "a", "x"],
      ["INCR", "a"],
      ["GET", "a"],
    ]);
    assert.equal(replies[0], "OK");
    assert.equal((replies[1] as StoreError).code, "ERR");
    assert.equal(replies[2], "x");
  });

  it("send executes in the order of the calls when no caller waits in between", async () => {
    const driver = memory();
    const replies = [
      driver.send(0, [["APPEND", "a"]]),
      driver.send(0, [["SET", "a", 1]]),
      driver.send(0, [["INCR", "a"]]),
    ];
    assert.deepEqual((await Promise.all(replies)).slice(1), [["OK"], [2]]);
  });

  it("send takes numbers for texts", async () => {
    const driver = memory();
    await one(driver, "SET", 1, 2.5, "PX", 1000);
    assert.equal(await one(driver, "GET", "1"), "2.5");
  });

  it("send rejects when the database is out of range", async () => {
    for (const database of [-1, 16, 0.5]) {
      await assert.rejects(memory().send(database, [["PING"]]), { message: "ERR DB index is out of range" });
    }
  });

  it("send keeps databases apart, and stores too", async () => {
    const [a, b] = [memory(), memory()];
    for (let i = 0; i < 16; i++) await a.send(i, [["SET", "k", i]]);
    for (let i = 0; i < 16; i++) assert.deepEqual(await a.send(i, [["GET", "k"], ["DBSIZE"]]), [`${i}`, 1]);
    assert.deepEqual(await b.send(5, [["GET", "k"]]), [null]);
    await a.send(5, [["FLUSHDB"]]);
    assert.deepEqual(await a.send(5, [["GET", "k"]]), [null]);
    assert.deepEqual(await a.send(6, [["GET", "k"], ["FLUSHALL"]]), ["6", "OK"]);
    assert.deepEqual(await a.send(7, [["DBSIZE"]]), [0]);
  });

  it("send refuses SELECT, unknown commands and names of object members", async () => {
    const driver = memory();
    assert.match(await failure(driver, "SELECT", 1), /^ERR SELECT is not allowed/);
    assert.equal(
      await failure(driver, "COMMAND", "a", "b\r\nc"),
      "ERR unknown command 'COMMAND', with args beginning with: 'a' 'b  c' ",
    );
    for (const name of ["constructor", "__proto__", "toString", ""]) {
      assert.match(await failure(driver, name), /^ERR unknown command/);
    }
  });

  it("close drops the data, and send rejects with kind closed after it", async () => {
    const driver = memory();
    await one(driver, "SET", "a", "1");
    await driver.close();
    await driver.close();
    await assert.rejects(driver.send(0, [["GET", "a"]]), { name: "StoreError", kind: "closed" });
  });
});

describe("memory texts", () => {
  it("every command answers a text as it was written, whatever its characters and its length", async () => {
    const driver = memory();
    // Long texts beyond Latin-1 are kept in UTF-8, if that is shorter and gives them back.
    const piece = fc.constantFrom(
      "a".repeat(150),
      "é".repeat(90),
      "phở ",
      "麺".repeat(200),
      "🍜",
      "\ufeff",
      "\ud83c",
      "\0",
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
        const text = pieces.join("");
        const replies = await driver.send(0, [
          ["SET", "a", text],
          ["MSET", "b", text],
          ["HSET", "h", "f", text],
          ["GET", "a"],
          ["MGET", "a", "b", "h"],
          ["GETEX", "a", "PX", 5000],
          ["TYPE", "b"],
          ["HGET", "h", "f"],
          ["SET", "a", "short", "GET"],
          ["GETDEL", "b"],
          ["GET", "a"],
        ]);
        const both = ["OK", "OK", 1, text, [text, text, null], text, "string", text, text, text, "short"];
        assert.deepEqual(replies.with(2, 1), both);
      }),
      { numRuns: 300 },
    );
  });
});

describe("memory expiry", () => {
  function timed(): { driver: Driver; pass(by: number): void } {
    let now = 1_700_000_000_123;
    return {
      driver: memory({ clock: () => now }),
      pass(by) {
        now += by;
      },
    };
  }

  it("an entry lives until its moment has passed, to the millisecond", async () => {
    const { driver, pass } = timed();
    await one(driver, "SET", "a", "1", "PX", 100);
    pass(100);
    assert.deepEqual(
      await driver.send(0, [
        ["PTTL", "a"],
        ["GET", "a"],
      ]),
      [0, "1"],
    );
    pass(1);
    for (const command of ["GET", "EXISTS", "TYPE", "PTTL", "TTL", "EXPIRETIME", "STRLEN", "PERSIST"]) {
      await one(driver, "SET", "a", "1", "PX", 100);
      pass(101);
      const gone: Record<string, Reply> = { GET: null, TYPE: "none", PTTL: -2, TTL: -2, EXPIRETIME: -2 };
      assert.equal(await one(driver, command, "a"), command in gone ? gone[command] : 0, command);
    }
  });

  it("an expired entry is seen by no command that lists, counts or writes", async () => {
    const { driver, pass } = timed();
    const reset = async () => {
      await driver.send(0, [["FLUSHDB"], ["SET", "a", "5", "PX", 100], ["SET", "b", "1"]]);
      pass(101);
    };
    const expected: [Command, Reply][] = [
      [
        ["MGET", "a", "b"],
        [null, "1"],
      ],
      [["KEYS", "*"], ["b"]],
      [
        ["SCAN", "0"],
        ["0", ["b"]],
      ],
      [["DBSIZE"], 1],
      [["DEL", "a", "b"], 1],
      [["INCR", "a"], 1],
      [["SETNX", "a", "x"], 1],
      [["HSET", "a", "f", "v"], 1],
      [["SET", "a", "x", "XX"], null],
      [["SET", "a", "x", "GET"], null],
      [["GETDEL", "a"], null],
      [["EXPIRE", "a", 100], 0],
    ];
    for (const [command, reply] of expected) {
      await reset();
      assert.deepEqual(await one(driver, ...command), reply, `${command}`);
    }
    await reset();
    await driver.send(0, [["SET", "a", "x", "KEEPTTL"]]);
    assert.equal(await one(driver, "PTTL", "a"), -1);
  });

  it("TTL rounds half a second up", async () => {
    const { driver } = timed();
    for (const [left, seconds] of [
      [1499, 1],
      [1500, 2],
      [499, 0],
      [500, 1],
    ] as const) {
      await one(driver, "SET", "a", "1", "PX", left);
      assert.deepEqual(
        await driver.send(0, [
          ["TTL", "a"],
          ["PTTL", "a"],
        ]),
        [seconds, left],
      );
    }
  });

  it("EXPIRE with GT or LT changes nothing when the moment is the same", async () => {
    const { driver } = timed();
    await one(driver, "SET", "a", "1", "EX", 10);
    for (const flag of ["GT", "LT"]) assert.equal(await one(driver, "EXPIRE", "a", 10, flag), 0, flag);
    assert.equal(await one(driver, "PEXPIRE", "a", 10_001, "GT"), 1);
    assert.equal(await one(driver, "PEXPIRE", "a", 10_000, "LT"), 1);
  });

  it("GETEX and EXPIREAT remove the entry when the moment is now", async () => {
    const { driver } = timed();
    for (const command of [
      ["GETEX", "a", "PXAT", 1_700_000_000_123],
      ["PEXPIREAT", "a", 1_700_000_000_123],
    ] as Command[]) {
      await one(driver, "SET", "a", "1");
      await one(driver, ...command);
      assert.equal(await one(driver, "EXISTS", "a"), 0, command[0]);
    }
  });

  it("TIME answers the clock in seconds and microseconds", async () => {
    const { driver, pass } = timed();
    assert.deepEqual(await one(driver, "TIME"), ["1700000000", "123000"]);
    pass(0.75);
    assert.deepEqual(await one(driver, "TIME"), ["1700000000", "123000"]);
  });

  it("writes free the memory of expired entries that are never read", async () => {
    let now = 0;
    // Room for 100 entries of 128 bytes and a few more.
    const driver = memory({ clock: () => now, maxBytes: 100 * 140 });
    await one(driver, "SET", "keep", "1");
    for (const key of names(60)) await one(driver, "SET", key, "v", "PX", 10);
    now = 11;
    // If the expired ones were still there, the one that was used least recently would have to go.
    for (const key of names(60, 100)) await one(driver, "SET", key, "v");
    assert.equal(await one(driver, "GET", "keep"), "1");
    assert.equal(await one(driver, "DBSIZE"), 61);
  });
});

describe("memory bounds", () => {
  it("the entry that was used least recently goes when there are too many", async () => {
    const driver = memory({ maxEntries: 3 });
    await fill(driver, ["a", "b", "c"]);
    await one(driver, "GET", "a");
    await driver.send(9, [["SET", "d", "v"]]);
    assert.deepEqual(await one(driver, "MGET", "a", "b", "c"), ["v", null, "v"]);
    assert.deepEqual(await driver.send(9, [["GET", "d"]]), ["v"]);
  });

  it("GET, GETEX, MGET, SET, numbers and hashes mark an entry as used, and EXISTS does not", async () => {
    const uses: [Command, boolean][] = [
      [["GET", "a"], true],
      [["GETEX", "a"], true],
      [["MGET", "a"], true],
      [["SET", "a", "1"], true],
      [["INCR", "a"], true],
      [["HGET", "h", "f"], true],
      [["HSET", "h", "f", "w"], true],
      [["EXISTS", "a"], false],
      [["TTL", "a"], false],
      [["TYPE", "a"], false],
      [["EXPIRE", "a", 100], false],
      [["SCAN", 0], false],
      [["KEYS", "*"], false],
    ];
    for (const [use, kept] of uses) {
      const driver = memory({ maxEntries: 3 });
      const key = use[1] === "h" ? "h" : "a";
      await one(driver, ...((key === "h" ? ["HSET", "h", "f", "v"] : ["SET", "a", "1"]) as unknown as Command));
      await fill(driver, ["b", "c"]);
      await one(driver, ...use);
      await one(driver, "SET", "d", "v");
      assert.equal(await one(driver, "EXISTS", key), kept ? 1 : 0, `${use}`);
    }
  });

  it("entries go until the bytes fit", async () => {
    const driver = memory({ maxBytes: 10_000 });
    await one(driver, "SET", "big", "x".repeat(5000));
    for (const key of names(10)) await one(driver, "SET", key, "x".repeat(300));
    assert.equal(await one(driver, "EXISTS", "big", ...names(10)), 11);
    // 5000 + 10 * 300 and 128 for each: room for about 500 more. Three-byte characters count as three bytes.
    await one(driver, "SET", "new", "日".repeat(300));
    assert.equal(await one(driver, "EXISTS", "big"), 0);
    assert.equal(await one(driver, "EXISTS", "new", ...names(10)), 11);
  });

  it("bytes are given back when entries are deleted, replaced, flushed or lose fields", async () => {
    const driver = memory({ maxBytes: 10_000 });
    const big = "x".repeat(7000);
    const ends: Command[][] = [
      [["DEL", "big"]],
      [["SET", "big", ""]],
      [["FLUSHALL"]],
      [["GETDEL", "big"]],
      [["HSET", "big", "f", ""]],
      [["HDEL", "big", "f"]],
    ];
    for (let round = 0; round < 50; round++) {
      for (const end of ends) {
        const write: Command = `${end[0]?.[0]}`.startsWith("H")
          ? ["HSET", "big", "f", big, "g", "1"]
          : ["SET", "big", big];
        const replies = await driver.send(0, [["DEL", "big"], ["SET", "small", "1"], write, ...end, ["GET", "small"]]);
        if (end[0]?.[0] !== "FLUSHALL") assert.equal(replies.at(-1), "1", `${end}`);
      }
    }
    // All of the room is there: two that fill it stay both.
    await driver.send(0, [["FLUSHALL"], ["SET", "a", "x".repeat(4800)], ["SET", "b", "x".repeat(4800)]]);
    assert.equal(await one(driver, "EXISTS", "a", "b"), 2);
  });

  it("a value answers OOM and changes nothing when it is larger than all the room", async () => {
    const driver = memory({ maxBytes: 1000 });
    const big = "é".repeat(500);
    await driver.send(0, [
      ["SET", "a", "1"],
      ["HSET", "h", "f", "1"],
    ]);
    for (const command of [
      ["SET", "a", big],
      ["SET", big, ""],
      ["SETNX", "b", big],
      ["MSET", "a", "2", "b", big],
      ["HSET", "h", "g", big],
      ["HSET", "new", "f", big],
      ["SETEX", "a", 10, big],
    ] as Command[]) {
      assert.equal(await failure(driver, ...command), "OOM command not allowed when used memory > 'maxmemory'.");
    }
    assert.deepEqual(await driver.send(0, [["GET", "a"], ["HGETALL", "h"], ["DBSIZE"]]), ["1", ["f", "1"], 2]);
  });

  it("a hash that grows makes others go, and answers OOM when it is alone too large", async () => {
    const driver = memory({ maxBytes: 2000 });
    await one(driver, "SET", "a", "x".repeat(500));
    let oom = "";
    let fields = 0;
    for (; !oom && fields < 100; fields++) {
      const reply = await one(driver, "HSET", "h", `f${fields}`, "x".repeat(50));
      if (reply instanceof StoreError) oom = reply.code;
    }
    assert.equal(oom, "OOM");
    assert.deepEqual(
      await driver.send(0, [
        ["EXISTS", "a"],
        ["HLEN", "h"],
      ]),
      [0, fields - 1],
    );
    assert.ok(fields > 10);
  });

  it("the least recently used goes when commands are random", async () => {
    const key = fc.integer({ min: 0, max: 9 }).map(String);
    const command = fc.tuple(fc.constantFrom("SET", "GET", "DEL"), key);
    await fc.assert(
      fc.asyncProperty(
        fc.array(command, { maxLength: 60 }),
        fc.integer({ min: 1, max: 6 }),
        async (commands, maxEntries) => {
          const driver = memory({ maxEntries });
          let model: string[] = [];
          for (const [name, key] of commands) {
            await driver.send(Number(key) % 3, [name === "SET" ? [name, key, key] : [name, key]]);
            const known = model.includes(key);
            model = model.filter((other) => other !== key);
            if (name === "SET" || (name === "GET" && known)) model = [...model, key].slice(-maxEntries);
          }
          for (let i = 0; i < 3; i++) {
            const here = model.filter((key) => Number(key) % 3 === i).sort();
            assert.deepEqual(((await driver.send(i, [["KEYS", "*"]]))[0] as string[]).sort(), here);
          }
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe("memory SCAN", () => {
  it("SCAN answers each key once, and no page is larger than COUNT", async () => {
    const driver = memory();
    await fill(driver, names(95));
    const pages = await scan(driver, ["COUNT", "10"]);
    assert.deepEqual(pages.flat().sort(), names(95).sort());
    assert.equal(pages.length, 10);
    assert.ok(pages.every((page) => page.length <= 10));
    assert.equal((await scan(driver, [])).length, 10);
  });

  it("SCAN answers exactly once what is there all along, and ends, when keys come and go", async () => {
    const action = fc.tuple(fc.constantFrom("SET", "DEL", "SET"), fc.integer({ min: 0, max: 199 }));
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.array(action, { minLength: 20, maxLength: 40 }), { minLength: 1, maxLength: 20 }),
        async (count, actions) => {
          const driver = memory();
          // Those that stay lie between those that go.
          await fill(driver, names(200));
          await one(driver, "DEL", ...names(200).filter((_, i) => i % 7 === 0));
          const stay = names(200).filter((_, i) => i % 2 === 1 && i % 7 !== 0);
          let page = 0;
          const seen = (
            await scan(driver, ["COUNT", `${count}`], async () => {
              for (const [name, i] of actions[page++ % actions.length] ?? []) {
                // Odd ones are written again at the most, and new ones come all the time.
                if (name === "SET")
                  await driver.send(0, [
                    ["SET", `k${i}`, "w"],
                    ["SET", `new${page}:${i}`, ""],
                  ]);
                else if (i % 2 === 0) await one(driver, "DEL", `k${i}`);
              }
            })
          ).flat();
          for (const key of stay) assert.equal(seen.filter((other) => other === key).length, 1, key);
          assert.ok(!seen.some((key) => key.startsWith("new")));
        },
      ),
      { numRuns: 60 },
    );
  });

  it("SCAN answers a page again when its cursor is sent again", async () => {
    const driver = memory();
    await fill(driver, names(50));
    const [cursor] = (await one(driver, "SCAN", 0, "COUNT", 20)) as [string];
    const page = await one(driver, "SCAN", cursor, "COUNT", 20);
    await one(driver, "SCAN", "0");
    assert.deepEqual(await one(driver, "SCAN", cursor, "COUNT", 20), page);
  });

  it("SCAN goes on when every key of the page is deleted", async () => {
    const driver = memory();
    await fill(driver, names(500));
    let cursor = "0";
    let deleted = 0;
    do {
      const [next, keys] = (await one(driver, "SCAN", cursor, "MATCH", "k*", "COUNT", 30)) as [string, string[]];
      if (keys.length) deleted += (await one(driver, "UNLINK", ...keys)) as number;
      cursor = next;
    } while (cursor !== "0");
    assert.equal(deleted, 500);
    assert.equal(await one(driver, "DBSIZE"), 0);
  });

  it("SCAN filters by MATCH and TYPE", async () => {
    const driver = memory();
    await driver.send(0, [
      ["SET", "a:1", ""],
      ["HSET", "a:2", "f", ""],
      ["SET", "b:1", ""],
    ]);
    assert.deepEqual((await scan(driver, ["MATCH", "a:*"])).flat().sort(), ["a:1", "a:2"]);
    assert.deepEqual((await scan(driver, ["TYPE", "hash"])).flat(), ["a:2"]);
    assert.deepEqual((await scan(driver, ["type", "STRING", "match", "a*"])).flat(), ["a:1"]);
  });

  it("SCAN ends at once when the database is empty or the cursor is unknown", async () => {
    const driver = memory();
    assert.deepEqual(await one(driver, "SCAN", 0), ["0", []]);
    await fill(driver, names(5));
    await one(driver, "FLUSHDB");
    assert.deepEqual(await one(driver, "SCAN", 3), ["0", []]);
  });
});

describe("memory transactions", () => {
  it("send runs MULTI, commands and EXEC as Redis does, and changes nothing when a command cannot run", async () => {
    const server = await startRedis();
    const redis = nodeRedis({ url: server.url });
    const store = memory();
    try {
      const sends: Command[][] = [
        [
          ["SET", "a", "1"],
          ["INCR", "a"],
          ["GET", "a"],
        ],
        [
          ["SET", "a", "text"],
          ["INCR", "a"],
          ["HSET", "h", "f", 1],
        ],
        [["SET", "a", "lost"], ["GET"], ["DEL", "h"]],
        [
          ["NOSUCH", "x"],
          ["DEL", "a", "h"],
        ],
        [
          ["set", "b", 5, "EX", "x"],
          ["incrby", "b", 2],
        ],
        [],
      ];
      for (const commands of sends) {
        const send: Command[] = [["MULTI"], ...commands, ["EXEC"], ["GET", "a"], ["HGETALL", "h"], ["GET", "b"]];
        const text = async (driver: Driver) =>
          [...(await driver.send(0, send.slice(0, -3))), ...(await driver.send(0, send.slice(-3)))].map((reply) =>
            JSON.stringify(reply, (_, each) =>
              each instanceof Error ? each.message.replace(/, with args.*/, "") : each,
            ),
          );
        assert.deepEqual(await text(store), await text(redis), JSON.stringify(commands));
      }
    } finally {
      await store.close();
      await redis.close();
      await server.stop();
    }
  });
});

describe("memory scripts", () => {
  const echo: TwinnedScript = {
    name: "memory test",
    lua: "memory test: get or fail",
    sha1: "0123456789abcdef0123456789abcdef01234567",
    twin(store, keys, args) {
      store.call("SET", keys[0] ?? "", args[0] ?? "");
      return [store.call("INCR", keys[0] ?? ""), store.call("TIME")];
    },
  };
  const scripts = [echo];

  it("EVAL runs the twin with keys, arguments and the clock", async () => {
    const driver = memory({ clock: () => 5000, scripts });
    assert.deepEqual(await one(driver, "EVAL", echo.lua, 1, "k", "41"), [42, ["5", "0"]]);
    assert.equal(await one(driver, "GET", "k"), "42");
  });

  it("EVAL answers the error of a command that fails, and the script ends there", async () => {
    const driver = memory({ scripts });
    assert.equal(await failure(driver, "EVAL", echo.lua, 1, "k", "x"), "ERR value is not an integer or out of range");
    assert.equal(await one(driver, "GET", "k"), "x");
  });

  it("EVALSHA answers NOSCRIPT until the script was loaded or evaluated in this store", async () => {
    const driver = memory({ scripts });
    const run: Command = ["EVALSHA", echo.sha1.toUpperCase(), 1, "k", "1"];
    const missing = "NOSCRIPT No matching script. Please use EVAL.";
    assert.equal(await failure(driver, ...run), missing);
    assert.equal(await one(driver, "SCRIPT", "LOAD", echo.lua), echo.sha1);
    assert.equal(((await one(driver, ...run)) as Reply[])[0], 2);
    await one(driver, "SCRIPT", "FLUSH");
    assert.equal(await failure(driver, ...run), missing);
    await one(driver, "EVAL", echo.lua, 1, "k", "1");
    assert.deepEqual(await one(driver, "SCRIPT", "EXISTS", echo.sha1), [1]);
    assert.equal(await failure(memory({ scripts }), ...run), missing);
  });

  it("EVAL and SCRIPT LOAD say why when the store has no twin of the source", async () => {
    const said =
      "ERR the memory store has no Lua: it runs the library's scripts and those of its option `scripts`; " +
      "for others use a Redis (redis://...)";
    // The SHA-1 of a script is not its source.
    for (const source of ["return 1", echo.sha1]) {
      assert.equal(await failure(memory({ scripts }), "EVAL", source, 0), said);
      assert.equal(await failure(memory({ scripts }), "SCRIPT", "LOAD", source), said);
    }
  });
});
