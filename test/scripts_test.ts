import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { type Command, type Driver, type Reply, type Script, StoreError } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { increment, invalidate, read, storeEntry, touch } from "../src/lua/entries.ts";
import { acquire, hold, take } from "../src/lua/locks.ts";
import { mark as markScript } from "../src/lua/mark.ts";
import { twins } from "../src/lua/twins.ts";
import { type RawClient, type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";

/** The milliseconds that a run is compared for: Redis's expiry goes on while memory's clock stands still. */
const RUN_LENGTH = 400;
/** The least steps of each script that are compared. Fewer would mean that the runs were given up. */
const ENOUGH = 500;

interface Call {
  readonly script?: Script;
  readonly keys: readonly string[];
  readonly args: readonly string[];
}

/** A call of the script, another command, or time that passes. */
type Step = Call | { readonly command: Command } | { readonly advance: number };

/** The subject of a comparison. */
interface Subject {
  /** All keys that calls and commands touch. */
  readonly keys: readonly string[];
  readonly call: fc.Arbitrary<Call>;
  /** States that a script may find: another's, one that has lost its TTL, one of the wrong type. */
  readonly found: fc.Arbitrary<Command>;
  readonly advance: fc.Arbitrary<number>;
  /** `true` if all times are whole seconds. Then PTTL is rounded up to them, and both sides see the same. */
  readonly seconds?: true;
  /** Places of a reply that come from PTTL, which Redis measures with its own clock. */
  readonly measured?: readonly number[];
}

const some = <T>(...all: T[]): fc.Arbitrary<T> => fc.constantFrom(...all);
const commands = (...all: fc.Arbitrary<readonly string[]>[]): fc.Arbitrary<Command> =>
  fc.oneof(...all) as unknown as fc.Arbitrary<Command>;
const int = (min: number, max: number): fc.Arbitrary<string> => fc.integer({ min, max }).map(String);

/** Amounts around 2^53 - 1. */
const large = some("9007199254740991", "9007199254740990", "-9007199254740991", "4503599627370497");
/** Counters around 2^53 and 2^63, and texts that are not counters. */
const huge = fc.oneof(
  large,
  some("9007199254740992", "-9007199254740993", "9007199254740996", "9223372036854775807", "-9223372036854775808"),
  some("9223372036854775808", "99999999999999999999", "-99999999999999999999", "099999999999999999999", "1e20"),
);
const key = some("k", "k", "k", "é:2");
/** Long enough that no part of it ends while a run lasts. */
const window = some(77_777, 77_777, 77_777, 60_000, 3_600_000).map(String);
/** Few of them, so that limits are reached, and that there are some of one algorithm and window. */
const limitName = fc
  .tuple(some("f", "s", "t", "c"), some("77777", "77777", "60000"), some("1", "3", "3", "7", "20"))
  .map(([kind, ms, most]) => `${kind}${ms}:${kind === "c" ? Number.MAX_SAFE_INTEGER : most}`);
const limitCall = fc.record({
  keys: fc.array(key, { minLength: 1, maxLength: 3 }),
  args: fc
    .tuple(
      some("1", "1", "1", "1", "2", "0", "4", "21", "-1", "-5"),
      fc.oneof(
        limitName.map((name) => [name]),
        fc.uniqueArray(limitName, { minLength: 1, maxLength: 3 }),
      ),
    )
    .map(([cost, names]) => [cost, ...names]),
});
/** States that another clock left, that were cut short, of another build, or of limits that are not asked for. */
const limitState = fc.tuple(
  fc.oneof(limitName, some("f77777:3<7", "s77777:3<1", "t77777:7<20", "i", "l", "x:5")),
  some(
    "0 0 0",
    "1 5 0",
    "1700000050000 2 0",
    "1800000000000 3 1",
    "21857361 3 2",
    "21857360 2 1",
    "21857363 3 2",
    "99999999 2 2",
    "1 2",
    "",
    "5",
  ),
);
const counters = {
  keys: ["k", "é:2"],
  found: commands(
    fc.tuple(some("DEL"), key),
    fc.tuple(some("PERSIST"), key),
    fc.tuple(some("SET"), key, int(0, 4)),
    fc.tuple(some("SET"), key, int(0, 4), some("PX"), window),
    fc.tuple(some("HSET"), key, some("other"), some("1")),
  ),
  advance: fc.oneof(fc.integer({ min: 1, max: 5_000 }), some(20_000, 40_000, 60_000, 77_777, 160_000, 3_600_000)),
};

/** Stands for the text that is at the call's entry. */
const STANDING = "\0standing";
const [CLOCK, LOCK, MARKS] = ["c", "l", "t:"];
const entry = some("e", "e", "e", "é:2");
const tag = some("a", "a", "b", "ca%20phê");
const tags = fc.array(tag, { maxLength: 2 }).map((all) => all.map((one) => `"${one}"`).join());
const ttl = some("1000", "60000", "60000", "120000", "3600000", "172800000");
const ttlOrNone = fc.oneof({ weight: 1, arbitrary: some("0") }, { weight: 3, arbitrary: ttl });
const token = some("mine", "mine", "other's");
/** Around the times of {@linkcode document}. */
const now = some("0", "999", "1000", "1001", "1999", "2000", "4000", "4001", "5000", "6000", "9000");
/** Around the values of clocks and marks; some later than any clock that the time makes. */
const born = some("0", "5", "1005", "2005", "3005", "6", "8999999999999005");
const body = fc.oneof(
  some(
    '"sealed":"k1.Zm9v+/=="',
    '"packed":"Zm9v"',
    '"json":5',
    '"json":-7',
    '"json":null,"meta":{"values":["undefined"]}',
    '"json":"1970-01-01T00:00:00.000Z","meta":{"values":["Date"]}',
    // What looks like a head, and is a value.
    '"json":{"at":1,"ttl":2,"none":1,"json":3,"born":9}',
    '"json":[{"at":1,"ttl":2,"json":3}]',
    '"json":{"born":1,"tags":["b"]}',
  ),
  fc
    .oneof(
      some('"json":', '"at":1,"ttl":2,', '{"born":9,"tags":["b"],"json":1}', '"none":1,', "phở 🍜\n{}", '{"json":5}'),
      fc.string({ maxLength: 5 }),
    )
    .map((value) => `"json":${JSON.stringify(value)}`),
);
const maybe = (part: fc.Arbitrary<string>): fc.Arbitrary<string> => fc.oneof(some(""), part);
/** A document as `set` hands it over: without what the script adds. */
const document = fc
  .tuple(
    maybe(fc.tuple(some(1000, 5000), some(1, 1000, 4000)).map(([at, ms]) => `"at":${at},"ttl":${ms},`)),
    maybe(some('"load":7,')),
    maybe(some('"version":3,')),
    fc.oneof({ weight: 3, arbitrary: some("") }, { weight: 1, arbitrary: some('"none":1,') }),
    body,
  )
  .map((parts) => `{${parts.join("")}}`);
const stored = fc
  .tuple(
    maybe(fc.tuple(born, maybe(tags.map((all) => `"tags":[${all}],`))).map(([at, of]) => `"born":${at},${of}`)),
    document,
  )
  .map(([head, text]) => `{${head}${text.slice(1)}`);
const foreign = some(
  ...[
    "0",
    "17",
    "-3",
    "007",
    "",
    "null",
    "[1]",
    "text",
    "{",
    "{}",
    '{"a":1}',
    '{"price":{"json":1}}',
    '{"born":',
    '{"born":5',
  ],
  ...[
    '{"born":5,"tags":["a',
    '{"born":6,"tags":[]}',
    '{"tags":["a"],"json":1}',
    ' {"born":5,"tags":["a"],"json":1}',
    '"json":1',
  ],
  ...['{"json":1,"born":5,"tags":["b"]}', '{"at":1000,"json":1}', '{"at":"1000","ttl":1,"json":1}', '{"json":12\n}'],
);
const text = fc.oneof({ weight: 3, arbitrary: stored }, { weight: 1, arbitrary: foreign });
const mark = tag.map((name) => MARKS + name);
const anyKey = fc.oneof(entry, mark, some(CLOCK, LOCK));
const entries = {
  keys: ["e", "é:2", CLOCK, LOCK, "f", ...["a", "b", "ca%20phê", "*"].map((name) => MARKS + name)],
  seconds: true,
  found: commands(
    fc.tuple(some("SET"), entry, text),
    fc.tuple(some("SET"), entry, text, some("PX"), ttl),
    fc.tuple(some("SET"), mark, born),
    fc.tuple(some("SET"), mark, born, some("PX"), ttl),
    fc.tuple(some("SET"), some(CLOCK), some("1005 0", "2005 0 0", "2005 1005", "3005 3005", "9007199254739005 0")),
    fc.tuple(some("SET"), some(LOCK), token, some("PX"), ttl),
    fc.tuple(some("DEL"), anyKey),
    fc.tuple(some("PERSIST"), anyKey),
    fc.tuple(some("HSET"), fc.oneof(entry, entry, anyKey), some("other"), some("1")),
  ),
  advance: some(1000, 30_000, 60_000, 61_000, 3_600_000, 86_400_000),
} as const;

const entryCalls = {
  read: fc
    .record({
      keys: fc.array(entry, { maxLength: 3 }).map((all) => [CLOCK, ...all]),
      args: fc.tuple(some(MARKS), ttlOrNone, some("0", "1", "2", "3")),
      marks: fc.option(fc.array(mark, { maxLength: 2 }), { nil: undefined }),
    })
    .map(({ keys, args, marks }) => ({
      keys: [...keys, ...(marks ?? [])],
      args: [...args, ...(marks ? [`${keys.length}`] : [])],
    })),
  store: fc
    .record({
      keys: fc
        .tuple(entry, some([LOCK], [], ["same"]))
        .map(([one, [third]]) => [one, CLOCK, ...(third === undefined ? [] : [third === LOCK ? LOCK : one])]),
      args: fc.tuple(
        document,
        ttlOrNone,
        fc.oneof(some(""), born),
        some("*", "mine", "mine", "other's"),
        some(MARKS),
        tags,
      ),
      known: fc.oneof(
        some([] as string[]),
        some(["0", ""], ["1", STANDING], ["1", ""], ["2", STANDING], ["2", ""], ["3"], ["3"]),
        fc.tuple(some("1", "2"), stored),
      ),
    })
    .map(({ keys, args, known }) => {
      const named = args[5].split(",").filter(Boolean);
      const marks = keys.length > 2 ? named.map((one) => MARKS + one.slice(1, -1)) : [];
      return { keys: [...keys, ...marks], args: [...args, ...known] };
    }),
  invalidate: fc
    .oneof(some(["*"]), fc.array(tag, { maxLength: 3 }))
    .map((all) => ({ keys: [CLOCK, ...all.map((one) => MARKS + one)], args: all[0] === "*" ? ["*"] : [] })),
  mark: fc.record({ keys: fc.tuple(mark), args: fc.tuple(born) }),
  acquire: fc
    .record({
      keys: entry.map((one) => [LOCK, one, CLOCK]),
      args: fc.tuple(token, ttl, some(MARKS), now),
      useless: fc.oneof(
        some([], [STANDING]),
        stored.map((old) => [old]),
      ),
    })
    .map(({ keys, args, useless }) => ({ keys, args: [...args, ...useless] })),
  take: fc.record({ keys: some([LOCK, "f"]), args: fc.tuple(token, ttl) }),
  hold: fc.record({ keys: some([LOCK]), args: fc.tuple(token, ttlOrNone) }),
  touch: fc.record({
    keys: entry.map((one) => [one, CLOCK]),
    args: fc.tuple(some(MARKS), ttlOrNone, some("0", "3600000"), now),
  }),
  increment: fc.record({
    keys: entry.map((one) => [one, CLOCK]),
    args: fc.tuple(fc.oneof(int(-5, 5), large), ttlOrNone, some(MARKS), now),
  }),
} as const satisfies Readonly<Record<string, fc.Arbitrary<Call>>>;

/** The calls of each script, by its name. */
const subjects: Readonly<Record<string, Subject>> = {
  ...Object.fromEntries(Object.entries(entryCalls).map(([name, call]) => [name, { ...entries, call }])),
  addCounts: {
    ...counters,
    call: fc.record({
      keys: fc.tuple(key),
      args: fc
        .array(fc.tuple(some("products:hits", "c:misses", "other"), int(-2, 5)), { maxLength: 3 })
        .map((a) => a.flat()),
    }),
  },
  increment: {
    ...counters,
    call: fc.record({ keys: fc.tuple(key), args: fc.tuple(fc.oneof(int(-5, 5), large), fc.oneof(some("0"), window)) }),
    found: commands(
      counters.found as unknown as fc.Arbitrary<readonly string[]>,
      fc.tuple(some("SET"), key, text),
      fc.tuple(some("SET"), key, text, some("PX"), window),
      fc.tuple(some("SET"), key, huge),
      fc.tuple(
        some("SET"),
        key,
        huge.map((json) => `{"json":${json}}`),
        some("PX"),
        window,
      ),
    ),
    measured: [1],
  },
  probe: { ...counters, call: fc.record({ keys: fc.tuple(key), args: fc.constant([]) }) },
  unlinkEach: { ...counters, call: fc.record({ keys: fc.array(key, { maxLength: 4 }), args: fc.constant([]) }) },
  rateLimit: {
    ...counters,
    call: limitCall,
    found: commands(
      counters.found as unknown as fc.Arbitrary<readonly string[]>,
      fc.tuple(some("HSET"), key, limitState).map(([name, at, state]) => [name, at, ...state]),
      // So many that those that are over go.
      key.map((at) => [
        "HSET",
        at,
        ...Array.from({ length: 40 }, (_, i) => [`f60000:${i + 1}`, `${i % 2}800000000000 1 0`]).flat(),
      ]),
    ),
  },
};

/** Anywhere in a window. */
const origin = fc.integer({ min: 1_700_000_000_000, max: 1_700_000_077_777 });
const timed = (script: Script): boolean => script.lua.includes("redis.call('TIME')");

/** The same script at a given time. */
function at({ lua }: Script, now: number, seconds: boolean): string {
  const told = lua.replaceAll("redis.call('TIME')", `{'${Math.floor(now / 1000)}', '${(now % 1000) * 1000}'}`);
  if (!seconds) return told;
  const left = `local function left(key)
  local ms = redis.call('PTTL', key)
  return ms < 0 and ms or math.ceil(ms / 1000) * 1000
end
`;
  return left + told.replace(/redis\.call\('PTTL', ?/g, "left(");
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

  async function compare(
    subject: Subject,
    script: Script | undefined,
    origin: number,
    steps: readonly Step[],
  ): Promise<number> {
    await client.pipeline([["FLUSHALL"], ["SCRIPT", "FLUSH"]]);
    const start = Date.now();
    const passed = () => Date.now() - start + 5;
    let now = origin;
    const driver: Driver = memory({ clock: () => now });
    const { keys, seconds = false, measured = [] } = subject;
    /** The state of the keys: type, text, hash, and the remaining time last. */
    const states = async (send: (commands: readonly Command[]) => Promise<readonly Reply[]>) => {
      const replies = await send(
        keys.flatMap((key) => ["TYPE", "GET", "HGETALL", "PTTL"].map((name): Command => [name, key])),
      );
      return keys.map((_, i) =>
        replies.slice(4 * i, 4 * i + 4).map((reply) => (reply instanceof Error ? null : reply)),
      );
    };
    const ours = (commands: readonly Command[]) => driver.send(0, commands);
    const real = (commands: readonly Command[]) => client.pipeline(commands);
    let compared = 0;
    for (const step of steps) {
      if ("advance" in step) {
        now += step.advance;
        const lefts = (await ours(keys.map((key) => ["PTTL", key]))) as number[];
        for (const [i, key] of keys.entries()) {
          const left = lefts[i] as number;
          // What is about to expire goes on both sides, lest it does on one of them while the run lasts.
          if (left > RUN_LENGTH) await real([["PEXPIRE", key, left]]);
          else if (left !== -1) await Promise.all([ours([["DEL", key]]), real([["DEL", key]])]);
        }
        continue;
      }
      let [mine, theirs]: Command[] = [];
      const calls = "command" in step ? undefined : (step.script ?? script);
      if ("command" in step) mine = theirs = step.command;
      else {
        const place = step.keys.find((key) => key === "e" || key === "é:2") ?? "";
        const [standing] = await ours([["GET", place]]);
        const args = step.args.map((arg) => (arg === STANDING ? (typeof standing === "string" ? standing : "") : arg));
        const rest = [step.keys.length, ...step.keys, ...args];
        mine = ["EVAL", (calls as Script).lua, ...rest];
        theirs = ["EVAL", at(calls as Script, now, seconds), ...rest];
      }
      const [a = null] = await ours([mine as Command]);
      const [b = null] = await real([theirs as Command]);
      const said = () => `${calls?.name ?? ""} ${JSON.stringify(step)}`;
      if (passed() > RUN_LENGTH) return compared;
      assertSame(a, b, calls ? measured : [], passed, said);
      const [after, before] = [await states(ours), await states(real)];
      if (passed() > RUN_LENGTH) return compared;
      for (const [i, key] of keys.entries()) {
        const left = (after[i] as Reply[])[3] as number;
        if (left >= 0 && left <= RUN_LENGTH) {
          // A script gave it so short a time that it may be over in Redis, while memory's clock stands still.
          await Promise.all([ours([["DEL", key]]), real([["DEL", key]])]);
        } else assertSame(after[i] as Reply, before[i] as Reply, [3], passed, () => `${key} after ${said()}`);
      }
      compared++;
    }
    return compared;
  }

  /** Compares many runs. */
  async function explore(subject: Subject, script: Script | undefined): Promise<void> {
    const step = fc.oneof(
      { weight: 12, arbitrary: subject.call as fc.Arbitrary<Step> },
      { weight: subject.seconds ? 9 : 1, arbitrary: subject.found.map((command): Step => ({ command })) },
      { weight: subject.seconds ? 1 : 3, arbitrary: subject.advance.map((advance): Step => ({ advance })) },
    );
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(origin, fc.array(step, { minLength: 1, maxLength: 25, size: "max" }), async (from, steps) => {
        compared += await compare(subject, script, from, steps);
      }),
      { numRuns: 200 },
    );
    assert.ok(compared > ENOUGH, `only ${compared} steps were compared`);
  }

  for (const script of twins) {
    it(`${script.name} has the SHA-1 of its source`, async () => {
      assert.equal(script.sha1, createHash("sha1").update(script.lua).digest("hex"));
      assert.equal(await client.command("SCRIPT", "LOAD", script.lua), script.sha1);
    });

    it(`${script.name} answers and leaves the same in memory as in Redis when calls are random`, {
      timeout: 60_000,
    }, async () => {
      const subject = subjects[script.name];
      assert.ok(subject, `no arguments for the script "${script.name}": add some to the table in this test`);
      await explore(subject, script);
    });
  }

  it("scripts of entries answer and leave the same in memory as in Redis when they work on each other's keys", {
    timeout: 60_000,
  }, async () => {
    const scripts: Readonly<Record<keyof typeof entryCalls, Script>> = {
      read,
      store: storeEntry,
      invalidate,
      mark: markScript,
      acquire,
      take,
      hold,
      touch,
      increment,
    };
    const all = Object.entries(entryCalls).map(([name, call]) =>
      (call as fc.Arbitrary<Call>).map((one): Call => ({ ...one, script: scripts[name as keyof typeof scripts] })),
    );
    await explore({ ...entries, call: fc.oneof(...all) }, undefined);
  });

  it(
    "increment answers and leaves the same in memory as in Redis when values stand at its keys",
    {
      timeout: 60_000,
    },
    () => explore({ ...entries, call: entryCalls.increment }, increment),
  );

  it("a script works with Redis's own clock when it reads the time", async () => {
    for (const script of twins.filter(timed)) {
      await client.command("FLUSHALL");
      const before = Date.now();
      const isStore = script.name === storeEntry.name;
      const isTake = script.name === take.name;
      const entry = isStore || isTake || script.name === invalidate.name;
      const others = script.name === "rateLimit" ? [1, "f60000:3"] : [3, 60_000];
      const args = isStore ? ["{}", 0, "", "*", "t:", '"a"'] : entry ? ["t:", 1000] : others;
      const keys = isStore ? ["e", "c"] : isTake ? ["l", "c"] : ["c"];
      const reply = await client.command("EVAL", script.lua, keys.length, ...keys, ...args);
      // A keyspace's clock counts in microseconds; other replies end with the clock, those of each key begin with it.
      const now = entry
        ? Number(String(await client.command("GET", "c")).split(" ")[0]) / 1000
        : Number.parseInt(String((reply as Reply[]).at(script.name === "rateLimit" ? 0 : -1)), 10);
      assert.ok(now >= before - 1 && now <= Date.now() + 1, `${script.name} answered ${reply}`);
    }
  });

  for (const name of ["memory", "Redis"]) {
    describe(`in ${name}`, () => semantics(() => (name === "memory" ? inMemory() : inRedis(client))));
  }
});

/** Sends one command. */
type Send = (...command: Command) => Promise<Reply>;

function inMemory(): Send {
  const driver = memory();
  return async (...command) => (await driver.send(0, [command]))[0] ?? null;
}

function inRedis(client: RawClient): Send {
  let flushed: Promise<Reply> | undefined;
  return async (...command) => {
    flushed ??= client.command("FLUSHALL");
    await flushed;
    return client.command(...command);
  };
}

/** The promises of the scripts, by examples. */
function semantics(connect: () => Send): void {
  const HOUR = 3_600_000;
  const DAY = 24 * HOUR;
  /** A fresh store, and the scripts on it. */
  const open = () => {
    const send = connect();
    const run = async (script: Script, keys: string[], ...args: (string | number)[]): Promise<Reply> => {
      const reply = await send("EVAL", script.lua, keys.length, ...keys, ...args);
      if (reply instanceof Error) throw reply;
      return reply;
    };
    const look = async (key: string, slide = 0, heads = 0) => {
      const [clock, text, left] = (await run(read, [CLOCK, key], MARKS, slide, 2 * heads + 1)) as [
        Reply,
        Reply,
        number,
      ];
      return { clock: clock as string | null, seq: String(clock ?? "0").split(" ")[0] as string, text, left };
    };
    return {
      send,
      run,
      look,
      text: async (key: string) => (await look(key)).text,
      mark: (name: string) => send("PTTL", MARKS + name) as Promise<number>,
      /** Stores a document with tags. */
      put: (
        key: string,
        tags: readonly string[],
        { born = "", ms = HOUR, text = '{"json":1}', lock = "", token = "*" } = {},
      ) => {
        const keys = [key, CLOCK, lock || key, ...tags.map((one) => MARKS + one)];
        return run(storeEntry, keys, text, ms, born, token, MARKS, tags.map((one) => `"${one}"`).join());
      },
      invalidate: (...tags: string[]) =>
        run(invalidate, [CLOCK, ...tags.map((one) => MARKS + one)], ...(tags[0] === "*" ? ["*"] : [])),
    };
  };
  const about = (ms: number, expected: number): void =>
    assert.ok(ms <= expected && ms > expected - 60_000, `${ms} ms are left, not ${expected}`);

  it("read returns an entry until one of its tags is invalidated, and again once it is written again", async () => {
    const { put, text, invalidate } = open();
    await put("e", ["a", "b"]);
    await put("f", ["b"]);
    assert.match(String(await text("e")), /^\{"born":\d+,"tags":\["a","b"\],"json":1\}$/);
    await invalidate("a");
    assert.equal(await text("e"), null);
    assert.notEqual(await text("f"), null);
    await put("e", ["a", "b"]);
    assert.notEqual(await text("e"), null);
    await invalidate("other");
    assert.notEqual(await text("e"), null);
  });

  it("read answers nothing from before an invalidation of everything, tagged or not, but counts", async () => {
    const { send, put, text, invalidate } = open();
    await put("untagged", []);
    await put("e", ["a"]);
    await put("later", []);
    await send("SET", "count", "5");
    await invalidate("*");
    assert.deepEqual(await Promise.all(["untagged", "e", "later", "count"].map(text)), [null, null, null, "5"]);
    await put("later", []);
    await put("e", ["a"]);
    assert.notEqual(await text("later"), null);
    assert.notEqual(await text("e"), null);
  });

  it("an entry does not hold when it is written late, with the clock from before an invalidation", async () => {
    const { put, look, text, invalidate } = open();
    await put("first", ["a"]);
    const { seq } = await look("e");
    await invalidate("a");
    await put("e", ["a"], { born: seq });
    assert.equal(await text("e"), null);
    await put("e", [], { born: seq });
    assert.notEqual(await text("e"), null, "an invalidation of tags concerns what carries them");
    const { seq: later } = await look("e");
    await invalidate("*");
    await put("e", [], { born: later });
    assert.equal(await text("e"), null);
  });

  it("read returns no entry loaded before the epoch existed when its tag was invalidated since", async () => {
    const { put, text, invalidate } = open();
    await invalidate("a");
    await put("e", ["a"], { born: "0" });
    await put("untagged", [], { born: "0" });
    assert.equal(await text("e"), null);
    assert.notEqual(await text("untagged"), null);
    await put("f", ["b"], { born: "0" });
    await invalidate("*");
    assert.equal(await text("f"), null);
  });

  it("entries hold when their loads began before there was a clock, and nothing was invalidated since", async () => {
    const { put, text, invalidate, look } = open();
    for (const key of ["e", "f", "g"]) await put(key, ["a"], { born: "0" });
    for (const key of ["e", "f", "g"]) assert.notEqual(await text(key), null, key);
    assert.match(String((await look("e")).clock), /^\d{16} 0 0$/);
    await invalidate("b");
    assert.match(String((await look("e")).clock), /^\d{16} 0$/);
    await put("h", ["a"], { born: "0" });
    assert.equal(await text("h"), null, "something was");
    assert.notEqual(await text("e"), null);
  });

  it("read returns no entry when its mark was evicted, nor older ones when a new one makes the mark", async () => {
    const { send, put, text, invalidate } = open();
    await put("e", ["a"]);
    await send("DEL", `${MARKS}a`);
    assert.equal(await text("e"), null);
    await invalidate("other");
    await put("f", ["a"]);
    assert.equal(await text("e"), null);
    assert.notEqual(await text("f"), null);
  });

  it("marks outlive their entries", async () => {
    const { put, mark, look, run } = open();
    await put("e", ["a"]);
    about(await mark("a"), 2 * HOUR);
    await put("e", ["a", "b"], { ms: 3 * HOUR });
    about(await mark("a"), 6 * HOUR);
    await put("short", ["a"], { ms: 1000 });
    about(await mark("a"), 6 * HOUR);
    await look("e", 5 * HOUR);
    about(await mark("b"), 6 * HOUR);
    await look("e", 7 * HOUR);
    about((await look("e")).left, 7 * HOUR);
    about(await mark("a"), 14 * HOUR);
    about(await mark("b"), 14 * HOUR);
    assert.equal(await run(touch, ["e", CLOCK], MARKS, 2 * DAY, 0, 0), 1);
    about(await mark("a"), 4 * DAY);
    assert.equal(await run(touch, ["e", CLOCK], MARKS, 0, 0, 0), 1);
    assert.equal(await mark("a"), -1);
    assert.equal(await mark("b"), -1);
    assert.equal(await run(touch, ["e", CLOCK], MARKS, HOUR, 0, 0), 1);
    assert.equal(await mark("a"), -1, "others may need it for ever");
    await put("forever", ["c"], { ms: 0 });
    assert.equal(await mark("c"), -1);
  });

  it("invalidate keeps a mark for two minutes, or for as long as entries need it", async () => {
    const { put, mark, invalidate } = open();
    await invalidate("a");
    about(await mark("a"), 120_000);
    await put("e", ["b"], { ms: 2 * DAY });
    await put("f", ["c"], { ms: 0 });
    await invalidate("b", "c");
    about(await mark("b"), 4 * DAY);
    assert.equal(await mark("c"), -1);
  });

  it("mark marks a tag unless a later mark stands there", async () => {
    const { send, run, put, mark, text, invalidate } = open();
    await put("e", ["a"]);
    const seq = String(await invalidate()).split(" ")[0] as string;
    assert.notEqual(await text("e"), null);
    assert.equal(await run(markScript, [`${MARKS}a`], seq), 1);
    assert.equal(await text("e"), null);
    about(await mark("a"), 2 * HOUR);
    assert.equal(await run(markScript, [`${MARKS}a`], Number(seq) - 1), 0);
    assert.equal(await send("GET", `${MARKS}a`), seq);
    assert.equal(await run(markScript, [`${MARKS}b`], seq), 1);
    about(await mark("b"), 120_000);
  });

  it("store refuses what was loaded before the epoch was lost, and gives up its lock", async () => {
    const { send, put, text, invalidate, look } = open();
    const seq = String(await invalidate("a")).split(" ")[0] as string;
    const others = [`${Number(seq) - 1000} 0`, `${Number(seq) + 9} 0 0`, `${Number(seq) + 5001} 0`];
    for (const lost of [[], ...others.map((other) => ["SET", CLOCK, other])]) {
      await send("DEL", CLOCK);
      if (lost.length > 0) await send(...(lost as ["SET", string, string]));
      for (const tags of [[], ["a"]]) {
        await send("SET", LOCK, "mine");
        assert.equal(await put("e", tags, { born: seq, lock: LOCK, token: "mine" }), 0);
        assert.equal(await text("e"), null);
        assert.equal(await send("GET", LOCK), null);
        assert.equal(await put("e", tags, { born: seq }), 0);
      }
      assert.equal((await look("e")).clock, lost[2] ?? null, "nothing was written");
      assert.equal(await put("f", ["a"], { born: "0" }), 1);
    }
    await send("SET", CLOCK, `${Number(seq) + 5000} 0`);
    assert.equal(await put("e", [], { born: seq }), 1, "the same epoch, moved on");
  });

  it("store makes no mark from before a long load when its tag may have been invalidated since", async () => {
    const { send, run, put, text, invalidate } = open();
    const seq = String(await invalidate("other")).split(" ")[0] as string;
    const long = (born: string) =>
      run(storeEntry, ["e", CLOCK, "e", `${MARKS}a`], '{"json":1}', HOUR, born, "*", MARKS, '"a"', "3");
    assert.equal(await long(seq), 1);
    assert.notEqual(await text("e"), null, "nothing was invalidated since");
    await invalidate("a");
    await send("DEL", `${MARKS}a`);
    assert.equal(await long(seq), 1);
    assert.equal(await text("e"), null);
    await send("DEL", `${MARKS}a`);
    await put("e", ["a"], { born: seq });
    assert.notEqual(await text("e"), null, "a shorter load would have found the mark");
  });

  it("take gives tokens that grow when the counter was lost, and when it is ahead of the time", async () => {
    const { send, run } = open();
    const next = async (): Promise<number> => {
      await send("DEL", LOCK);
      return Number(await run(take, [LOCK, "f"], "me", 1000));
    };
    const first = await next();
    assert.ok(first > 1e15 && first < Number.MAX_SAFE_INTEGER, `${first}`);
    await send("DEL", "f");
    const second = await next();
    assert.ok(second >= first, `${second}`);
    await send("SET", "f", "9007199254740000");
    assert.equal(await next(), 9_007_199_254_740_001);
    assert.equal(await run(take, [LOCK, "f"], "other", 1000), "0");
  });

  it("invalidate moves the clock on when the time stands still or went back", async () => {
    const { send, put, text, invalidate } = open();
    await send("SET", CLOCK, "9007199254738005 5");
    await put("e", ["a"]);
    assert.equal(await invalidate("a"), "9007199254739005 5");
    assert.equal(await text("e"), null);
    assert.equal(await invalidate("*"), "9007199254740005 9007199254740005");
  });

  it("read slides what is there, and not what is known not to be there", async () => {
    const { put, look } = open();
    await put("e", []);
    await put("none", [], { text: '{"none":1,"json":null}', ms: 60_000 });
    await put("value", [], { text: '{"json":{"none":1}}', ms: 60_000 });
    about((await look("e", 2 * HOUR)).left, 2 * HOUR);
    about((await look("none", 2 * HOUR)).left, 60_000);
    about((await look("value", 2 * HOUR)).left, 2 * HOUR);
  });

  it("read answers heads without their values", async () => {
    const { send, look } = open();
    const texts = {
      '{"json":"\\"json\\":"}': '{"json":null}',
      '{"born":5,"at":1,"ttl":2,"json":{"json":1},"meta":{}}': '{"born":5,"at":1,"ttl":2,"json":null}',
      '{"version":2,"sealed":"k.AA=="}': '{"version":2,"json":null}',
      '{"packed":"AA=="}': '{"json":null}',
      "17": "17",
      '{"a":1}': '{"a":1}',
    };
    for (const [text, head] of Object.entries(texts)) {
      await send("SET", "e", text);
      assert.equal((await look("e", 0, 1)).text, head);
    }
  });

  it("read, acquire, touch and store take a key of another type for no entry", async () => {
    const { send, run, put, text } = open();
    await send("HSET", "e", "f", "1");
    assert.equal(await text("e"), null);
    assert.deepEqual(((await run(acquire, [LOCK, "e", CLOCK], "me", 1000, MARKS, 0)) as Reply[]).slice(0, 3), [
      1,
      null,
      null,
    ]);
    assert.equal(await run(touch, ["e", CLOCK], MARKS, HOUR, 0, 0), 1, "it has a TTL all the same");
    assert.equal(await run(storeEntry, ["e", CLOCK], '{"json":1}', 0, "", "*", MARKS, "", "0", ""), 1);
    assert.equal(await text("e"), '{"json":1}');
    await put("e", []);
  });

  it("store writes only over what it expects, and leaves all as it is otherwise", async () => {
    const { send, run, text } = open();
    const swap = (value: number, ...known: string[]) =>
      run(storeEntry, ["e", CLOCK, LOCK], `{"json":${value}}`, 0, "", "*", MARKS, "", ...known);
    await send("SET", LOCK, "other's");
    assert.equal(await swap(1, "1", '{"json":0}'), 0);
    assert.equal(await send("GET", LOCK), "other's", "a lock that nothing was written under");
    assert.equal(await swap(1, "0", ""), 1);
    assert.equal(await send("GET", LOCK), null);
    assert.equal(await swap(2, "0", ""), 0);
    assert.equal(await swap(2, "1", '{"json":1}'), 1);
    assert.equal(await text("e"), '{"json":2}');
    await run(invalidate, [CLOCK], "*");
    assert.equal(await swap(3, "1", '{"json":2}'), 0);
    assert.equal(await swap(3, "0", ""), 1, "an invalid entry counts as missing");
  });

  it("store writes nothing when its lock was lost, gives it up when it was not, and breaks any for *", async () => {
    const { send, put, text } = open();
    const locked = (token: string) => put("e", ["a"], { lock: LOCK, token });
    assert.equal(await locked("me"), 0);
    await send("SET", LOCK, "other's");
    assert.equal(await locked("me"), 0);
    assert.equal(await text("e"), null);
    assert.equal(await send("GET", CLOCK), null);
    assert.equal(await send("GET", LOCK), "other's");
    await send("SET", LOCK, "me");
    assert.equal(await locked("me"), 1);
    assert.equal(await send("GET", LOCK), null);
    await send("SET", LOCK, "other's");
    assert.equal(await locked("*"), 1);
    assert.equal(await send("GET", LOCK), null);
  });

  it("acquire takes the lock of entries that are missing, old, from the future or useless, also again", async () => {
    const { send, run, put } = open();
    const turn = async (token: string, now = 0, ...useless: string[]) => {
      const reply = await run(acquire, [LOCK, "e", CLOCK], token, HOUR, MARKS, now, ...useless);
      return (reply as Reply[])[0];
    };
    assert.equal(await turn("me"), 1);
    assert.equal(await turn("me"), 1);
    assert.equal(await turn("other's"), 0);
    const old = '{"at":10000,"ttl":5000,"json":1}';
    await put("e", [], { text: old });
    assert.equal(await turn("me", 14_999), 0, "it is fresh");
    assert.equal(await turn("me", 15_000), 1);
    assert.equal(await turn("me", 9_001), 0);
    assert.equal(await turn("me", 9_000), 1);
    assert.equal(await turn("me", 14_999, old), 1);
    assert.equal(await turn("me", 14_999, '{"json":2}'), 0);
    assert.equal(await turn("other's", 15_000), 0, "it is taken");
    await send("SET", "e", '{"json":"\\"at\\":1,\\"ttl\\":1,"}');
    assert.equal(await turn("me", 15_000), 0);
    await run(invalidate, [CLOCK], "*");
    assert.equal(await turn("me", 15_000), 1);
  });

  it("take counts up with each holder, and hold keeps or gives up only one's own", async () => {
    const { send, run } = open();
    const lock = async (token: string) => Number(await run(take, [LOCK, "f"], token, HOUR));
    const keep = (token: string, ms: number) => run(hold, [LOCK], token, ms);
    const first = await lock("me");
    assert.equal(await lock("other's"), 0);
    const second = await lock("me");
    assert.ok(second > first && first > 0, "a script that is repeated");
    assert.equal(await keep("other's", DAY), 0);
    assert.equal(await keep("me", DAY), 1);
    about((await send("PTTL", LOCK)) as number, DAY);
    assert.equal(await keep("other's", 0), 0);
    assert.equal(await keep("me", 0), 1);
    assert.equal(await keep("me", 0), 0);
    assert.ok((await lock("other's")) > second);
  });

  it("touch gives a fresh entry another TTL, and none to what is old, invalid or known not to be there", async () => {
    const { send, run, put, text, look, invalidate } = open();
    const give = (ms: number, now: number) => run(touch, ["e", CLOCK], MARKS, ms, DAY, now);
    assert.equal(await give(HOUR, 0), 0);
    await put("e", ["a"], { text: '{"at":10000,"ttl":5000,"load":3,"json":{"at":1,"ttl":2}}', ms: HOUR });
    assert.equal(await give(2 * HOUR, 15_000), 0);
    assert.equal(await give(0, 15_000), 0);
    about((await look("e")).left, HOUR);
    assert.equal(await give(2 * HOUR, 14_000), 1);
    assert.match(
      String(await text("e")),
      /"tags":\["a"\],"at":14000,"ttl":7200000,"load":3,"json":\{"at":1,"ttl":2\}\}$/,
    );
    about((await look("e")).left, 2 * HOUR + DAY);
    assert.equal(await give(0, 14_000), 1);
    assert.match(String(await text("e")), /"tags":\["a"\],"load":3,"json":\{"at":1,"ttl":2\}\}$/);
    assert.equal((await look("e")).left, -1);
    assert.equal(await give(0, 14_000), 2);
    await send("SET", "e", '{"at":10000,"ttl":5000,"json":1}');
    assert.equal(await give(0, 14_000), 1, "it was kept for ever, and not fresh for ever");
    await put("e", ["a"]);
    await invalidate("a");
    assert.equal(await give(HOUR, 0), 0);
    await put("e", [], { text: '{"none":1,"json":null}' });
    assert.equal(await give(0, 0), 0);
    about((await look("e")).left, HOUR);
  });
}

/** Compares two replies; at `places` numbers may be apart by what Redis's clock has gone on. */
function assertSame(
  ours: Reply,
  real: Reply,
  places: readonly number[],
  passed: () => number,
  said: () => string,
): void {
  if (real instanceof StoreError) {
    // Redis adds the script and the line, before version 7 in front.
    assert.ok(ours instanceof StoreError && real.message.includes(ours.message), `${said()}: ${ours} ${real.message}`);
    return;
  }
  const exact = (reply: Reply): unknown =>
    Array.isArray(reply) ? reply.map((item, i) => (places.includes(i) ? 0 : item)) : reply;
  assert.deepEqual(exact(ours), exact(real), said());
  for (const i of places) {
    const [a, b] = [ours, real].map((reply) => (reply as readonly number[])[i] ?? Number.NaN) as [number, number];
    // Redis's is the one that has less time left; below zero it is a word, and no time.
    if (a < 0 || b < 0 || a === 0) assert.equal(a, b, said());
    else assert.ok(b <= a && a - b <= passed(), `${said()}: ${a} ms in memory, ${b} ms in Redis`);
  }
}
