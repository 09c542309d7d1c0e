import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { type Command, type Driver, type Reply, type Script, StoreError } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { allScripts } from "../src/all_scripts.ts";
import { type RawClient, type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";

/** How long a run is compared, in ms: Redis's expiry goes on while memory's clock stands still. */
const RUN_LENGTH = 400;
/** How many steps of each script are compared at least: fewer would mean that the runs were given up. */
const ENOUGH = 500;

interface Call {
  readonly keys: readonly string[];
  readonly args: readonly string[];
}

/** A call of the script, another command, or time that passes. */
type Step = Call | { readonly command: Command } | { readonly advance: number };

const key = fc.constantFrom("k", "k", "k", "é:2");
const text = fc.constantFrom("", "1", "5", "phở 🍜", "null");
const int = (min: number, max: number): fc.Arbitrary<string> => fc.integer({ min, max }).map(String);
/** Long enough that no part of it ends while a run lasts. */
const window = fc.constantFrom(77_777, 77_777, 77_777, 60_000, 3_600_000).map(String);
const limitCall = fc.record({
  keys: fc.tuple(key),
  // Mostly the same from call to call, so that limits are reached.
  args: fc.tuple(
    fc.constantFrom("1", "3", "3", "3", "20"),
    window,
    fc.constantFrom("1", "1", "1", "2", "0", "4", "21"),
  ),
});

/** The calls of each script, by its name. */
const calls: Readonly<Record<string, fc.Arbitrary<Call>>> = {
  increment: fc.record({
    keys: fc.tuple(key),
    args: fc.tuple(int(-5, 5), fc.oneof(fc.constant("0"), window)),
  }),
  compareAndSet: fc.record({
    keys: fc.tuple(key),
    args: fc
      .tuple(fc.boolean(), text, text, fc.oneof(fc.constant("0"), window))
      .map(([known, expected, ...rest]) => (known ? ["1", expected, ...rest] : ["0", "", ...rest])),
  }),
  unlinkEach: fc.record({ keys: fc.array(key, { maxLength: 4 }), args: fc.constant([]) }),
  fixedWindow: limitCall,
  slidingWindow: limitCall,
  tokenBucket: limitCall,
};

/** Places of a reply that come from PTTL, which Redis measures with its own clock. */
const measured: Readonly<Record<string, readonly number[]>> = { increment: [1], fixedWindow: [2, 3] };

/** States that a script may find: another's, one that has lost its TTL, one of the wrong type. */
const command = fc
  .oneof(
    fc.tuple(fc.constant("DEL"), key),
    fc.tuple(fc.constant("PERSIST"), key),
    fc.tuple(fc.constant("SET"), key, int(0, 4)),
    fc.tuple(fc.constant("SET"), key, int(0, 4), fc.constant("PX"), window),
    fc.tuple(fc.constant("HSET"), key, fc.constant("other"), fc.constant("1")),
  )
  .map((parts) => ({ command: parts as unknown as Command }));
/** Anywhere in a window. */
const origin = fc.integer({ min: 1_700_000_000_000, max: 1_700_000_077_777 });
const advance = fc
  .oneof(fc.integer({ min: 1, max: 5_000 }), fc.constantFrom(20_000, 40_000, 60_000, 77_777, 160_000, 3_600_000))
  .map((by) => ({ advance: by }));

/** The same script with its clock in its last two arguments. */
function withClock({ lua }: Script): { lua: string; timed: boolean } {
  const timed = lua.includes("redis.call('TIME')");
  return { lua: lua.replaceAll("redis.call('TIME')", "{ARGV[#ARGV - 1], ARGV[#ARGV]}"), timed };
}

describe("scripts", () => {
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

  /** What stands at a key, the remaining time last. */
  async function state(send: (...command: Command) => Promise<Reply>, key: string): Promise<[...Reply[], number]> {
    const type = await send("TYPE", key);
    const value = type === "string" ? await send("GET", key) : type === "hash" ? await send("HGETALL", key) : null;
    return [type, value, (await send("PTTL", key)) as number];
  }

  async function compare(script: Script, origin: number, steps: readonly Step[]): Promise<number> {
    await client.command("FLUSHALL");
    const start = Date.now();
    let now = origin;
    const driver: Driver = memory({ clock: () => now });
    const send = async (...command: Command): Promise<Reply> => (await driver.send(0, [command]))[0] ?? null;
    const { lua, timed } = withClock(script);
    let compared = 0;
    for (const step of steps) {
      const keys = "keys" in step ? step.keys : ["k", "é:2"];
      if ("advance" in step) {
        now += step.advance;
        for (const key of keys) {
          const left = (await send("PTTL", key)) as number;
          // What is about to expire goes on both sides, lest it does on one of them while the run lasts.
          if (left > RUN_LENGTH) await client.command("PEXPIRE", key, left);
          else if (left !== -1) await Promise.all([send("DEL", key), client.command("DEL", key)]);
        }
        continue;
      }
      const clock = timed ? [Math.floor(now / 1000), (now % 1000) * 1000] : [];
      const [ours, real] =
        "command" in step
          ? [await send(...step.command), await client.command(...step.command)]
          : [
              await send("EVAL", script.lua, keys.length, ...keys, ...step.args),
              await client.command("EVAL", lua, keys.length, ...keys, ...step.args, ...clock),
            ];
      const said = JSON.stringify(step);
      const passed = () => Date.now() - start + 5;
      if (passed() > RUN_LENGTH) return compared;
      assertSame(ours, real, "command" in step ? [] : (measured[script.name] ?? []), passed, said);
      for (const key of keys) {
        const [a, b] = [await state(send, key), await state((...all) => client.command(...all), key)];
        if (passed() > RUN_LENGTH) return compared;
        assertSame(a, b, [2], passed, `${key} after ${said}`);
      }
      compared++;
    }
    return compared;
  }

  for (const script of allScripts) {
    it(`${script.name} has the SHA-1 of its source`, async () => {
      assert.equal(script.sha1, createHash("sha1").update(script.lua).digest("hex"));
      assert.equal(await client.command("SCRIPT", "LOAD", script.lua), script.sha1);
    });

    it(`${script.name} answers and leaves the same in memory as in Redis when calls are random`, {
      timeout: 60_000,
    }, async () => {
      const call = calls[script.name];
      assert.ok(call, `no arguments for the script "${script.name}": add some to the table in this test`);
      const step = fc.oneof(
        { weight: 12, arbitrary: call as fc.Arbitrary<Step> },
        { weight: 1, arbitrary: command },
        { weight: 3, arbitrary: advance },
      );
      let compared = 0;
      await fc.assert(
        fc.asyncProperty(origin, fc.array(step, { minLength: 1, maxLength: 25, size: "max" }), async (from, steps) => {
          compared += await compare(script, from, steps);
        }),
        { numRuns: 200 },
      );
      assert.ok(compared > ENOUGH, `only ${compared} steps were compared`);
    });
  }

  it("a script answers with Redis's own clock when it reads the time", async () => {
    const timed = allScripts.filter((script) => withClock(script).timed);
    assert.ok(timed.length > 0);
    for (const script of timed) {
      await client.command("FLUSHALL");
      const before = Date.now();
      const reply = (await client.command("EVAL", script.lua, 1, "k", "3", "60000", "1")) as number[];
      const now = reply.at(-1) ?? 0;
      // The clock is the last number of every reply that has one.
      assert.ok(now >= before - 1 && now <= Date.now() + 1, `${script.name} answered ${reply}`);
    }
  });
});

/** Compares two replies; at `places` numbers may be apart by what Redis's clock has gone on. */
function assertSame(ours: Reply, real: Reply, places: readonly number[], passed: () => number, said: string): void {
  if (real instanceof StoreError) {
    // Redis adds the script and the line.
    assert.ok(ours instanceof StoreError && real.message.startsWith(ours.message), `${said}: ${ours} ${real.message}`);
    return;
  }
  const exact = (reply: Reply): unknown =>
    Array.isArray(reply) ? reply.map((item, i) => (places.includes(i) ? 0 : item)) : reply;
  assert.deepEqual(exact(ours), exact(real), said);
  for (const i of places) {
    const [a, b] = [ours, real].map((reply) => (reply as readonly number[])[i] ?? Number.NaN) as [number, number];
    // Redis's is the one that has less time left; below zero it is a word, and no time.
    if (a < 0 || b < 0 || a === 0) assert.equal(a, b, said);
    else assert.ok(b <= a && a - b <= passed(), `${said}: ${a} ms in memory, ${b} ms in Redis`);
  }
}
