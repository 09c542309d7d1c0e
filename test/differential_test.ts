import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { type Command, type Reply, StoreError, type TwinnedScript } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { before7, type RawClient, type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";

/**
 * The milliseconds for which a run is compared. The clock of the memory store stands still while that of Redis goes on,
 * and all times are whole seconds. So nothing can expire on one side only in less than half a second.
 */
const RUN_LENGTH = 400;
const RUNS = 400;
const MAX_STEPS = 60;

/** A script that answers what it is given. */
const lua = "redis.call('SET', 'script', 'ran') return {KEYS, ARGV}";
const sha1 = createHash("sha1").update(lua).digest("hex");
const script: TwinnedScript = {
  name: "differential test",
  lua,
  sha1,
  twin(store, keys, args) {
    store.call("SET", "script", "ran");
    return [keys, args];
  },
};

type Step = Command | { readonly advance: number };

const anyCase = (word: string): fc.Arbitrary<string> => fc.constantFrom(word, word.toLowerCase());
const word = (...all: string[]): fc.Arbitrary<string> => fc.constantFrom(...all).chain(anyCase);

const key = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom("a", "a", "a", "a", "b", "é", "日[1]", "a*😀") },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 6 }) },
);
const MAX = "9223372036854775807";
const number = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: -20, max: 20 }).map(String) },
  fc.constantFrom(MAX, "-9223372036854775808", "9223372036854775800", "-9223372036854775800", "9223372036854775808"),
  fc.constantFrom("01", "+1", "-0", "1.5", "1e3", " 1", "1 ", "", "x", "0x10", "99999999999999999999"),
);
const value = fc.oneof(
  number,
  fc.constantFrom("", "v", "phở 🍜", "\r\n$3"),
  fc.string({ unit: "binary", maxLength: 8 }),
);
const field = fc.constantFrom("f", "g", "ö", "");

/** Times: some invalid ones, and `~n`, which {@linkcode resolve} converts to the unit of the command or option. */
const valid = fc.integer({ min: 1, max: 100 }).map((all) => `~${all}`);
const time = (...invalid: string[]): fc.Arbitrary<string> =>
  fc.oneof({ weight: 4, arbitrary: valid }, fc.constantFrom("x", "1.5", "", ...invalid));
const seconds = time("0", "-1", "-5", "9223372036854775", "9223372036854776", "-9223372036854776", MAX);
const millis = time("0", "-1", "-5", MAX, "-9223372036854775808", "9223372036854775808");
const secondsAt = time("0", "-1", "9223372036854776");
const millisAt = time("0", "-1", "9223372036854775808");
const past = fc.constantFrom("1", "1000");

const setTime = fc.oneof(
  fc.tuple(word("EX"), seconds),
  fc.tuple(word("PX"), millis),
  fc.tuple(word("EXAT"), secondsAt),
  fc.tuple(word("PXAT"), millisAt),
);
const setFlag = word("NX", "XX", "GET", "KEEPTTL", "PERSIST", "NONSENSE", "EX").map((flag) => [flag]);
const setOptions = fc.oneof(
  { weight: 3, arbitrary: setTime },
  { weight: 2, arbitrary: fc.constant([]) },
  { weight: 3, arbitrary: word("NX", "XX", "GET", "KEEPTTL").map((flag) => [flag]) },
  { weight: 2, arbitrary: fc.array(fc.oneof(setFlag, setTime), { maxLength: 4 }).map((all) => all.flat()) },
);
const getExOptions = fc.oneof(
  setTime,
  fc.constant([]),
  word("PERSIST").map((flag) => [flag]),
  fc.tuple(word("EXAT", "PXAT"), past),
  fc.array(fc.oneof(setFlag, setTime), { maxLength: 3 }).map((all) => all.flat()),
);
const expireFlags = fc.oneof(
  { weight: 2, arbitrary: fc.constant([]) },
  fc.array(word("NX", "XX", "GT", "LT", "ZZ"), { minLength: 1, maxLength: 2 }),
);
const scanOptions = fc
  .array(
    fc.oneof(
      fc.tuple(word("MATCH"), fc.constantFrom("*", "a*", "??", "[^a]*", "日\\[*")),
      fc.tuple(word("COUNT"), fc.constantFrom("1000", "5000", "0", "-1", "x")),
      fc.tuple(word("TYPE"), word("STRING", "HASH", "LIST")),
      fc.constantFrom(["MATCH"], ["COUNT"], ["NONSENSE", "1"]),
    ),
    { maxLength: 2 },
  )
  // No page may end early: what is on a page is each store's own affair.
  .map((all) => [...all.flat(), ...(all.flat().length % 2 ? [] : ["COUNT", "1000"])]);

/** Puts the command's parts together, and now and then leaves the last ones out or adds one. */
function command(name: string, ...parts: fc.Arbitrary<string | readonly string[]>[]): fc.Arbitrary<Command> {
  const whole = fc.tuple(anyCase(name), fc.tuple(...parts)).map(([n, all]): Command => [n, ...all.flat()]);
  const broken = fc.tuple(whole, fc.integer({ min: -2, max: 1 })).map(([all, by]): Command => {
    const [first, ...rest] = all;
    return by > 0 ? [...all, "extra"] : [first, ...rest.slice(0, Math.max(0, rest.length + by))];
  });
  return fc.oneof({ weight: 30, arbitrary: whole }, { weight: 1, arbitrary: broken });
}

const scriptArgs = fc.constantFrom(["0"], ["1", "k", "é"], ["2", "k", "l"], ["0", "x"], ["2", "k"], ["-1"], ["x"]);
const several = fc.array(key, { minLength: 1, maxLength: 4 });
const fields = fc.array(field, { minLength: 1, maxLength: 3 });

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: command("SET", key, value, setOptions) },
  { weight: 3, arbitrary: command("SET", key, number) },
  { weight: 3, arbitrary: command("GET", key) },
  { weight: 2, arbitrary: command("GETEX", key, getExOptions) },
  command("GETDEL", key),
  command("SETNX", key, value),
  command("SETEX", key, seconds, value),
  command("PSETEX", key, millis, value),
  { weight: 2, arbitrary: command("MGET", several) },
  {
    weight: 2,
    arbitrary: command(
      "MSET",
      fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 3 }).map((all) => all.flat()),
    ),
  },
  command("DEL", several),
  command("UNLINK", several),
  command("EXISTS", several),
  { weight: 2, arbitrary: command("TYPE", key) },
  { weight: 2, arbitrary: command("INCR", key) },
  { weight: 2, arbitrary: command("INCRBY", key, number) },
  { weight: 2, arbitrary: command("DECR", key) },
  { weight: 2, arbitrary: command("DECRBY", key, number) },
  command("STRLEN", key),
  { weight: 2, arbitrary: command("EXPIRE", key, seconds, expireFlags) },
  { weight: 2, arbitrary: command("PEXPIRE", key, millis, expireFlags) },
  { weight: 2, arbitrary: command("EXPIREAT", key, fc.oneof(secondsAt, past), expireFlags) },
  { weight: 2, arbitrary: command("PEXPIREAT", key, fc.oneof(millisAt, past), expireFlags) },
  { weight: 2, arbitrary: command("TTL", key) },
  { weight: 2, arbitrary: command("PTTL", key) },
  command("EXPIRETIME", key),
  command("PEXPIRETIME", key),
  command("PERSIST", key),
  command("SCAN", fc.constantFrom("0", "x"), scanOptions),
  command("KEYS", fc.constantFrom("*", "?", "??", "[a-c]*", "a\\*", "日\\[1]", "[^a]*")),
  command("DBSIZE"),
  command("FLUSHDB", fc.constantFrom([], ["ASYNC"], ["sync"], ["x"])),
  {
    weight: 3,
    arbitrary: command(
      "HSET",
      key,
      fc.array(fc.tuple(field, value), { minLength: 1, maxLength: 3 }).map((all) => all.flat()),
    ),
  },
  { weight: 2, arbitrary: command("HGET", key, field) },
  command("HMGET", key, fields),
  command("HGETALL", key),
  { weight: 2, arbitrary: command("HDEL", key, fields) },
  command("HLEN", key),
  command("HEXISTS", key, field),
  { weight: 3, arbitrary: command("HINCRBY", key, field, number) },
  command("PING", fc.constantFrom([], ["é"])),
  command("ECHO", value),
  {
    weight: 2,
    arbitrary: command(
      "SCRIPT",
      fc.constantFrom(["LOAD", lua], ["EXISTS", sha1, "x", sha1.toUpperCase()], ["FLUSH"], ["flush", "x"], ["ZZ"]),
    ),
  },
  { weight: 3, arbitrary: command("EVALSHA", fc.constantFrom(sha1, sha1.toUpperCase(), "0".repeat(40)), scriptArgs) },
  command("EVAL", fc.constant(lua), scriptArgs),
  command("NO-SUCH-COMMAND", fields),
  { weight: 5, arbitrary: fc.constantFrom(1001, 60_001, 600_001, 3_000_001).map((advance) => ({ advance })) },
);

describe("memory next to a real redis-server", () => {
  let redis: RedisServer;
  let client: RawClient;
  before(async () => {
    redis = await startRedis();
    client = await rawClient(redis.port);
  });
  after(async () => {
    client.close();
    await redis.stop();
  });

  /** Lets time pass in Redis without waiting for it: every key that expires is made older. */
  async function age(by: number): Promise<void> {
    for (const name of (await client.command("KEYS", "*")) as string[]) {
      const left = (await client.command("PTTL", name)) as number;
      if (left >= 0) await client.command("PEXPIRE", name, left - by > RUN_LENGTH ? left - by : 0);
    }
  }

  /** Runs the steps on both. Returns how many replies were compared, and how many of them were errors. */
  async function compare(steps: readonly Step[]): Promise<[compared: number, errors: number]> {
    await client.pipeline([["FLUSHALL"], ["SCRIPT", "FLUSH"]]);
    const start = Date.now();
    // The same part of a second on both sides, so that both round alike.
    let now = 1_700_000_000_000 + (start % 1000);
    const driver = memory({ clock: () => now, scripts: [script] });
    let compared = 0;
    let errors = 0;
    const ages = steps.some((one) => "advance" in one);
    for (const [index, one] of steps.entries()) {
      if (ages && isWholeSecond(one)) continue;
      if ("advance" in one) {
        now += one.advance;
        await age(one.advance);
        continue;
      }
      const real = await client.command(...resolve(one, index, start));
      const [ours = null] = await driver.send(0, [resolve(one, index, now)]);
      const elapsed = Date.now() - start;
      if (elapsed > RUN_LENGTH) break;
      assertSame(one, normal(one, ours, now), normal(one, real, start), elapsed + 5);
      compared++;
      if (real instanceof StoreError) errors++;
    }
    await driver.close();
    return [compared, errors];
  }

  it("memory answers as Redis does when commands are random and time passes", { timeout: 60_000 }, async (context) => {
    if (before7()) return context.skip("memory answers as Redis 7 does");
    let total = 0;
    let failed = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: MAX_STEPS, size: "max" }), async (steps) => {
        const [compared, errors] = await compare(steps);
        total += compared;
        failed += errors;
      }),
      { numRuns: RUNS },
    );
    assert.ok(total > RUNS * 10, `only ${total} replies were compared`);
    assert.ok(failed < total / 2, `${failed} of ${total} replies were errors`);
  });

  it("memory keeps databases apart when keys are the same", async () => {
    const driver = memory();
    const other = await rawClient(redis.port);
    await client.command("FLUSHALL");
    for (const [database, one] of [
      [0, ["SET", "k", "0"]],
      [15, ["SET", "k", "15"]],
      [15, ["SET", "l", "15"]],
      [0, ["GET", "k"]],
      [0, ["DBSIZE"]],
      [15, ["DBSIZE"]],
      [0, ["FLUSHDB"]],
      [0, ["EXISTS", "k"]],
      [15, ["GET", "k"]],
      [15, ["FLUSHALL"]],
      [15, ["DBSIZE"]],
    ] as [number, Command][]) {
      await other.command("SELECT", database);
      assert.deepEqual(await driver.send(database, [one]), [await other.command(...one)], `${one}`);
    }
    const { message } = (await other.command("SELECT", 16)) as Error;
    await assert.rejects(driver.send(16, [["PING"]]), { message });
    other.close();
  });
});

/** Returns whether a step sets a moment less than a second away, which could come during a run with ageing. */
function isWholeSecond(one: Step): boolean {
  return !("advance" in one) && /(^|,)(EXPIREAT|EXAT),(.*,)?~/i.test(one.join());
}

/**
 * Puts times into the command's unit. No two steps have the same time: where GT or LT compare moments that are equal, a
 * real clock answers now this, now that.
 */
function resolve(one: Command, index: number, now: number): Command {
  let unit = 1000;
  let from = 0;
  return one.map((arg) => {
    const word = /^(P?)(?:SETEX|EXPIRE|EX|X)(AT)?$/i.exec(`${arg}`);
    if (word) {
      unit = word[1] ? 1 : 1000;
      from = word[2] ? now : 0;
    }
    const amount = /^~(\d+)$/.exec(`${arg}`)?.[1];
    return amount ? `${Math.floor(from / unit) + (Number(amount) * MAX_STEPS + index) * (1000 / unit)}` : arg;
  }) as unknown as Command;
}

/** Returns a reply without what Redis does not promise: the order of keys, its clock, and the line in a Lua script. */
function normal(one: Command, reply: Reply, now: number): unknown {
  if (reply instanceof StoreError) {
    // Valkey ends after the first sentence, and Redis 6.2 has other quotes and words.
    const text = reply.message.replace(/ Please use EVAL\.$/, "").replace(/`/g, "'");
    return {
      error: text.replace(/Unknown subcommand or wrong number of arguments for/, "unknown subcommand"),
      code: reply.code,
    };
  }
  const name = one[0].toUpperCase();
  if (typeof reply === "number" && reply >= 0) {
    if (name === "PTTL") return { millis: reply, within: 0 };
    if (name === "PEXPIRETIME") return { millis: reply - now, within: 0 };
    // What is not a whole second may be rounded to neighbours.
    if (name === "TTL") return { millis: reply * 1000, within: 1000 };
    if (name === "EXPIRETIME") return { millis: reply * 1000 - now, within: 1000 };
  }
  if (name === "KEYS") return [...(reply as string[])].sort();
  if (name === "SCAN") return [(reply as Reply[])[0], [...((reply as Reply[])[1] as string[])].sort()];
  if (name === "HGETALL") {
    const flat = reply as string[];
    return flat.flatMap((field, i) => (i % 2 ? [] : [[field, flat[i + 1]]])).sort();
  }
  return reply;
}

/** Compares; `passed` is how many ms Redis's clock may have gone on. */
function assertSame(one: Command, ours: unknown, real: unknown, passed: number): void {
  const [a, b] = [ours, real] as ({ millis?: number; within?: number } | null)[];
  const apart = Math.abs((a?.millis ?? Number.NaN) - (b?.millis ?? Number.NaN));
  if (apart <= passed + (a?.within ?? 0)) return;
  // Valkey 9 judges the time of GETEX before it looks at the key; Redis answers nil or WRONGTYPE.
  const [said, meant] = [ours, real].map((each) => (each as { error?: string } | null)?.error ?? "");
  const late = ours === null || said?.startsWith("WRONGTYPE");
  if (one[0].toUpperCase() === "GETEX" && late && /not an integer|invalid expire/.test(meant ?? "")) return;
  assert.deepEqual(ours, real, JSON.stringify(one));
}
