import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import {
  type Capabilities,
  type Command,
  type Driver,
  errorReply,
  type Reply,
  StoreError,
  type StoreErrorKind,
} from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { increment, invalidate, read } from "../src/lua/entries.ts";
import { unlinkEach } from "../src/lua/small.ts";
import { Batch, type ReadScript } from "../src/wire/batch.ts";
import { Breaker } from "../src/wire/breaker.ts";

/** A memory driver that keeps what is sent, and does what `fate` says before it. */
class Recorder implements Driver {
  readonly name = "recorder";
  readonly capabilities: Capabilities;
  readonly sends: (readonly Command[])[] = [];
  readonly store: Driver = memory();
  /** Called with each send; what it answers takes the place of the replies. */
  fate: ((send: number, commands: readonly Command[]) => Promise<Reply[] | undefined> | undefined) | undefined;

  constructor(capabilities: Partial<Capabilities> = {}) {
    this.capabilities = { numbered: true, scripts: true, ordered: true, ...capabilities };
  }

  async send(database: number, commands: readonly Command[]): Promise<Reply[]> {
    this.sends.push(commands);
    return (await this.fate?.(this.sends.length, commands)) ?? this.store.send(database, commands);
  }

  close(): Promise<void> {
    return this.store.close();
  }

  /** The names of the commands of each send. */
  get names(): string[][] {
    return this.sends.map((commands) => commands.map(([name]) => name));
  }
}

function make(capabilities: Partial<Capabilities> = {}, retries = 2) {
  const driver = new Recorder(capabilities);
  const wire = { commands: 0, roundTrips: 0, retries: 0 };
  const retried: [number, number, string][] = [];
  const onRetry = (attempt: number, commands: number, error: StoreError) =>
    void retried.push([attempt, commands, error.kind]);
  const batch = new Batch({ database: 0, driver: () => driver, retries, wire, onRetry });
  const set = (key: string, value: string, timeout = 1000) => batch.send(["SET", key, value], [key], timeout, true);
  const get = (key: string, timeout = 1000) => readFrom(batch, key, timeout);
  const count = (key: string, timeout = 1000) => batch.run(increment, [key], [1, 0], timeout, false);
  return { driver, batch, wire, retried, set, get, count };
}

/** Reads a key, and the epoch of its keyspace with it. */
async function readFrom(batch: Batch, key: string, timeout: number): Promise<Reply> {
  return (await replyOf(batch, key, { timeout }))[0] as Reply;
}

/** Returns all parts of a read: the text, the epoch and, if a script reads, the PTTL. */
function replyOf(
  batch: Batch,
  key: string,
  { by, epochKey = "clock", timeout = 1000 }: { by?: ReadScript; epochKey?: string; timeout?: number } = {},
): Promise<Reply[]> {
  return new Promise((resolve, reject) => {
    const done = (...reply: (Reply | undefined)[]) => resolve(reply.map((part) => part ?? null));
    batch.read({ physical: key, space: { epochKey, marksPrefix: "tag:" }, timeout, resolve: done, reject }, by);
  });
}

const lost = (repeat: "all" | "idempotent" | "none" = "idempotent") => new StoreError("connection", "lost", { repeat });

async function kindOf(call: Promise<unknown>): Promise<StoreErrorKind | undefined> {
  return call.then(
    () => undefined,
    (error: StoreError) => error.kind,
  );
}

describe("Batch, one tick", () => {
  it("get joins one MGET and asks a key once when reads are issued in one tick", async () => {
    const { driver, get, set, wire } = make();
    await set("a", "1");
    assert.deepEqual(await Promise.all([get("a"), get("b"), get("a"), get("c"), get("a")]), [
      "1",
      null,
      "1",
      null,
      "1",
    ]);
    assert.deepEqual(driver.sends[1], [["MGET", "a", "b", "c", "clock"]]);
    assert.equal(driver.sends.length, 2);
    assert.deepEqual(wire, { commands: 2, roundTrips: 2, retries: 0 });
  });

  it("get asks once for one key and its epoch when several callers read it", async () => {
    const { driver, get } = make();
    await Promise.all([get("a"), get("a")]);
    assert.deepEqual(driver.sends, [[["MGET", "a", "clock"]]]);
  });

  it("get gives each caller its own keyspace's epoch when keyspaces share a tick", async () => {
    const { driver, batch, set } = make();
    await Promise.all([set("a", "1"), set("x", "2"), set("clock", "7 0"), set("other", "9 9")]);
    const pair = async (key: string, epochKey: string) => (await replyOf(batch, key, { epochKey })).slice(0, 2);
    const reads = [
      pair("a", "clock"),
      pair("x", "other"),
      pair("b", "clock"),
      pair("a", "clock"),
      pair("y", "none"),
      pair("x", "other"),
    ];
    assert.deepEqual(await Promise.all(reads), [
      ["1", "7 0"],
      ["2", "9 9"],
      [null, "7 0"],
      ["1", "7 0"],
      [null, null],
      ["2", "9 9"],
    ]);
    assert.deepEqual(driver.sends[1], [["MGET", "a", "x", "b", "y", "clock", "other", "none"]]);
  });

  it("read joins reads by one script, with their PTTL, but not across a write of their key", async () => {
    const { driver, batch, set } = make();
    await Promise.all([batch.send(["SET", "a", "{}", "PX", 9000], ["a"], 1000, true), set("b", "[]")]);
    const one: ReadScript = { script: read, slide: 0, what: 1 };
    const two = { ...one };
    const look = (key: string, by = one) => replyOf(batch, key, { by });
    const [a, b, again, c, other, , later] = await Promise.all([
      look("a"),
      look("b"),
      look("a"),
      look("c"),
      look("a", two),
      set("b", "{}"),
      look("b"),
    ]);
    assert.deepEqual(
      [b, c, later],
      [
        ["[]", null, -1],
        [null, null, -2],
        ["{}", null, -1],
      ],
    );
    for (const [text, epoch, left] of [a, again, other] as Reply[][]) {
      assert.deepEqual([text, epoch], ["{}", null]);
      assert.ok((left as number) > 0 && (left as number) <= 9000, `${left}`);
    }
    assert.deepEqual(
      driver.sends[1]?.map(([name, , ...rest]) => [name, ...rest]),
      [
        ["EVAL", 4, "clock", "a", "b", "c", "tag:", 0, 1],
        ["EVALSHA", 2, "clock", "a", "tag:", 0, 1],
        ["SET", "{}"],
        ["EVALSHA", 2, "clock", "b", "tag:", 0, 1],
      ],
    );
  });

  it("Batch sends once when calls come from continuations of the same tick", async () => {
    const { driver, get } = make();
    const chained = async (key: string) => {
      await null;
      await null;
      return get(key);
    };
    await Promise.all([get("a"), chained("b"), Promise.resolve().then(() => get("c"))]);
    assert.deepEqual(
      driver.sends.map((commands) => commands.map((command) => [...command].sort())),
      [[["MGET", "a", "b", "c", "clock"]]],
    );
  });

  it("get joins reads across writes of other keys, and not across one of its own", async () => {
    const { driver, get, set } = make();
    const replies = await Promise.all([get("a"), set("b", "1"), get("c"), set("a", "2"), get("a"), get("c"), get("d")]);
    assert.deepEqual(replies, [null, "OK", null, "OK", "2", null, null]);
    assert.deepEqual(driver.sends, [
      [
        ["MGET", "a", "c", "clock"],
        ["SET", "b", "1"],
        ["SET", "a", "2"],
        ["MGET", "a", "c", "d", "clock"],
      ],
    ]);
  });

  it("get starts another MGET when a thousand keys are full or the deadline differs", async () => {
    const { driver, get } = make();
    await Promise.all([...Array.from({ length: 1001 }, (_, i) => get(`k${i}`)), get("x", 50)]);
    assert.deepEqual(
      driver.sends[0]?.map((command) => command.length),
      [1002, 3, 3],
    );
  });

  it("get asks again when its keyspace's epoch was moved on in the same tick", async () => {
    const { driver, batch, get } = make();
    const args = ["tag:", "t"];
    const [, moved, seen] = await Promise.all([
      get("a"),
      batch.run(invalidate, ["clock"], args, 1000, true),
      replyOf(batch, "a").then(([, epoch]) => epoch),
    ]);
    assert.equal(typeof moved, "string");
    assert.equal(seen, moved);
    assert.deepEqual(driver.names, [["MGET", "EVAL", "MGET"]]);
  });

  it("unlink sends one command for one caller, and one script that counts for each of several", async () => {
    const { driver, batch, set } = make();
    await Promise.all(["a", "b", "c", "d"].map((key) => set(key, "1")));
    assert.equal(await batch.unlink(["a", "x"], 1000), 1);
    assert.deepEqual(driver.sends[1], [["UNLINK", "a", "x"]]);
    const counts = await Promise.all([["b", "c"], ["x"], ["d", "b"]].map((keys) => batch.unlink(keys, 1000)));
    assert.deepEqual(counts, [2, 0, 1]);
    assert.deepEqual(driver.sends[2], [["EVAL", unlinkEach.lua, 5, "b", "c", "x", "d", "b"]]);
  });

  it("unlink sends no script when the driver cannot run scripts, or is not open yet", async () => {
    const { driver, batch } = make({ scripts: false });
    for (let tick = 0; tick < 2; tick++) await Promise.all([batch.unlink(["a"], 1000), batch.unlink(["b"], 1000)]);
    assert.deepEqual(driver.names, [
      ["UNLINK", "UNLINK"],
      ["UNLINK", "UNLINK"],
    ]);
  });

  it("unlink sends a thousand keys a command when there are more", async () => {
    const { driver, batch, set } = make();
    const keys = Array.from({ length: 2500 }, (_, i) => `k${i}`);
    await Promise.all(keys.map((key) => set(key, "1")));
    assert.equal(await batch.unlink(keys, 1000), 2500);
    assert.deepEqual(
      driver.sends[1]?.map(([name, ...rest]) => [name, rest.length]),
      [
        ["UNLINK", 1000],
        ["UNLINK", 1000],
        ["UNLINK", 500],
      ],
    );
  });

  it("Batch ends the tick when it never falls silent", async () => {
    const { driver, get } = make();
    let stop = false;
    const endless = async () => {
      for (let i = 0; !stop && i < 20_000; i++) {
        get(`k${i % 10}`).catch(() => {});
        await null;
      }
    };
    const running = endless();
    await get("a");
    stop = true;
    await running;
    assert.ok(driver.sends.length >= 1);
  });
});

describe("Batch, limits", () => {
  it("Batch cuts sends to maxCommands when a tick holds more, and keeps their order", async () => {
    for (const ordered of [true, false]) {
      const { driver, set, get } = make({ maxCommands: 3, ordered });
      const calls = Array.from({ length: 8 }, (_, i) => set(i < 4 ? "same" : `k${i}`, `${i}`));
      await Promise.all(calls);
      assert.deepEqual(
        driver.sends.map((commands) => commands.length),
        [3, 3, 2],
      );
      assert.equal(await get("same"), "3");
    }
  });

  it("Batch cuts sends to maxBytes as JSON when a tick holds more", async () => {
    const maxBytes = 2000;
    const { driver, set } = make({ maxBytes });
    const values = ["x".repeat(900), "é".repeat(400), '"'.repeat(400), "\u0001".repeat(150), "🍜".repeat(200)];
    await Promise.all(values.map((value, i) => set(`k${i}`, value)));
    assert.ok(driver.sends.length >= 2);
    for (const commands of driver.sends) {
      const bytes = new TextEncoder().encode(JSON.stringify(commands)).length;
      assert.ok(bytes <= maxBytes, `${bytes}`);
    }
  });

  it("Batch never exceeds maxBytes when texts are of any kind", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(fc.string({ unit: "binary", maxLength: 130 }), fc.string({ unit: "binary", maxLength: 300 })),
          {
            minLength: 1,
            maxLength: 12,
          },
        ),
        async (pairs) => {
          const { driver, set, count } = make({ maxBytes: 3000 });
          await Promise.allSettled(pairs.flatMap(([key, value]) => [set(key, value), count(`${key}n`)]));
          for (const commands of driver.sends) {
            const bytes = new TextEncoder().encode(JSON.stringify(commands.map((c) => c.map(String)))).length;
            assert.ok(bytes <= 3000, `${bytes}`);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it("Batch fails only the command with kind limit when one is larger than maxBytes", async () => {
    const { driver, set, get } = make({ maxBytes: 1000 });
    const [first, large, last] = await Promise.allSettled([
      set("a", "1"),
      set("secret", "s".repeat(2000)),
      set("b", "2"),
    ]);
    assert.equal(first?.status, "fulfilled");
    assert.equal(last?.status, "fulfilled");
    assert.ok(large?.status === "rejected" && large.reason instanceof StoreError);
    assert.equal(large.reason.kind, "limit");
    assert.match(large.reason.message, /^Cannot send a command: received \d+ bytes, expected at most 1000$/);
    assert.doesNotMatch(large.reason.message, /secret|sss/);
    assert.deepEqual(driver.names, [["SET", "SET"]]);
    assert.equal(await get("secret"), null);
  });
});

describe("Batch, scripts", () => {
  it("run sends EVAL first, and EVALSHA when a script is sent again, also in the same send", async () => {
    const { driver, count } = make();
    await Promise.all([count("a"), count("a"), count("b")]);
    await count("a");
    assert.deepEqual(driver.names, [["EVAL", "EVALSHA", "EVALSHA"], ["EVALSHA"]]);
  });

  it("run sends EVAL once more when the store has forgotten the script, and counts once", async () => {
    const { driver, batch, count, get, set } = make({}, 0);
    await count("a");
    await driver.store.send(0, [["SCRIPT", "FLUSH"]]);
    driver.fate = (send, commands) => {
      if (send !== 2) return undefined;
      const noscript = errorReply("NOSCRIPT No matching script. Please use EVAL.");
      return driver.store
        .send(
          0,
          commands.filter(([name]) => name !== "EVALSHA"),
        )
        .then((replies) => commands.map(([name]) => (name === "EVALSHA" ? noscript : (replies.shift() as Reply))));
    };
    const [first, value, second] = await Promise.all([count("a"), set("b", "1"), count("a")]);
    assert.deepEqual([(first as string[])[0], value, (second as string[])[0]], ["2", "OK", "3"]);
    assert.deepEqual(driver.names, [["EVAL"], ["EVALSHA", "SET", "EVALSHA"], ["EVAL", "EVALSHA"]]);
    assert.equal(await get("a"), "3");
    await batch.idle(1000);
  });

  for (const ordered of [true, false]) {
    const wire = `the wire keeps ${ordered ? "" : "no "}order`;
    it(`read sees the write of a script of its tick when the store had forgotten it and ${wire}`, async () => {
      const { driver, batch, count, get, set, wire } = make({ ordered });
      await count("a");
      const by: ReadScript = { script: read, slide: 0, what: 1 };
      const look = async (key: string) => (await replyOf(batch, key, { by }))[0];
      await look("a");
      await driver.store.send(0, [["SCRIPT", "FLUSH"]]);
      driver.sends.length = 0;
      const [before, counted, value, text, other] = await Promise.all([
        get("a"),
        count("a"),
        get("a"),
        look("a"),
        set("b", "1"),
      ]);
      assert.deepEqual([before, (counted as string[])[0], value, text, other], ["1", "2", "2", "2", "OK"]);
      // What does not follow from the script is not sent again.
      assert.deepEqual(driver.names, [
        ["MGET", "EVALSHA", "MGET", "EVALSHA", "SET"],
        ["EVAL", "MGET", "EVAL"],
      ]);
      assert.equal(wire.retries, 3);
      assert.equal(await get("a"), "2");
    });
  }

  it("unlink deletes what a script of its tick wrote when the store had forgotten the script", async () => {
    const { driver, batch, count, get } = make();
    await count("a");
    await driver.store.send(0, [["SCRIPT", "FLUSH"]]);
    const [, deleted] = await Promise.all([count("a"), batch.unlink(["a"], 1000)]);
    assert.equal(deleted, 1);
    assert.equal(await get("a"), null);
  });

  it("run fails with NOSCRIPT when the store forgets the script twice", async () => {
    const { driver, count } = make();
    await count("a");
    driver.fate = async (_, commands) => commands.map(() => errorReply("NOSCRIPT No matching script."));
    await assert.rejects(count("a"), { kind: "command", code: "NOSCRIPT" });
    assert.equal(driver.sends.length, 3);
  });
});

describe("Batch, repetition", () => {
  const cases = [
    { repeat: "none", idempotent: 1, other: 1 },
    { repeat: "idempotent", idempotent: 3, other: 1 },
    { repeat: "all", idempotent: 3, other: 3 },
  ] as const;
  for (const { repeat, idempotent, other } of cases) {
    const title = `sends a set ${idempotent} times and a counter ${other} times`;
    it(`Batch ${title} when errors say repeat ${repeat}`, async () => {
      for (const [call, times] of [
        ["set", idempotent],
        ["count", other],
      ] as const) {
        const { driver, set, count, wire, retried } = make();
        driver.fate = () => Promise.reject(lost(repeat));
        assert.equal(await kindOf(call === "set" ? set("k", "1") : count("k")), "connection");
        assert.equal(driver.sends.length, times);
        assert.deepEqual(wire, { commands: times, roundTrips: times, retries: times - 1 });
        assert.deepEqual(
          retried,
          Array.from({ length: times - 1 }, (_, i) => [i + 1, 1, "connection"]),
        );
      }
    });
  }

  it("Batch repeats only what may be repeated when a send is lost, and answers the rest", async () => {
    const { driver, set, get, count } = make();
    driver.fate = (send) => (send === 1 ? Promise.reject(lost()) : undefined);
    const [a, b, c] = await Promise.all([kindOf(set("a", "1")), kindOf(count("b")), kindOf(get("c"))]);
    assert.deepEqual([a, b, c], [undefined, "connection", undefined]);
    assert.deepEqual(driver.names, [
      ["SET", "EVAL", "MGET"],
      ["SET", "MGET"],
    ]);
  });

  it("Batch repeats nothing when retries is 0", async () => {
    const { driver, set } = make({}, 0);
    driver.fate = () => Promise.reject(lost("all"));
    assert.equal(await kindOf(set("a", "1")), "connection");
    assert.equal(driver.sends.length, 1);
  });

  it("Batch stops repeating when the deadline would pass", async () => {
    const { driver, set } = make({}, 10);
    driver.fate = () => Promise.reject(lost("all"));
    const start = performance.now();
    assert.match((await kindOf(set("a", "1", 400))) ?? "", /^(connection|timeout)$/);
    // All ten repetitions would take 15 s and more.
    assert.ok(performance.now() - start < 4000, `${performance.now() - start}`);
    assert.ok(driver.sends.length >= 2 && driver.sends.length < 11);
  });

  it("Batch answers a command's own error at once when it is not to be repeated", async () => {
    const { driver, set, get } = make();
    driver.fate = async (send) => (send === 1 ? [errorReply("OOM command not allowed"), ["v", null]] : undefined);
    const [refused, value] = await Promise.allSettled([set("a", "1"), get("b")]);
    assert.ok(refused?.status === "rejected" && refused.reason.code === "OOM");
    assert.deepEqual(value, { status: "fulfilled", value: "v" });
    assert.equal(driver.sends.length, 1);
  });

  it("Batch fails every call with a StoreError when the driver throws anything else", async () => {
    for (const thrown of [new Error("secret"), undefined, "secret"]) {
      const { driver, get, set } = make();
      driver.fate = () => Promise.reject(thrown);
      for (const outcome of await Promise.allSettled([get("a"), set("b", "1")])) {
        assert.ok(outcome.status === "rejected" && outcome.reason instanceof StoreError);
        assert.equal(outcome.reason.kind, "connection");
        assert.doesNotMatch(outcome.reason.message, /secret/);
      }
    }
  });

  it("Batch fails the calls and goes on when a reply is not a list, or the driver cannot be opened", async () => {
    const { driver, get } = make({ ordered: false });
    driver.fate = async (send) => (send === 1 ? [null] : undefined);
    assert.equal(await kindOf(Promise.all([get("a"), get("b")])), "protocol");
    assert.equal(await get("a"), null);
    let opens = 0;
    const batch = new Batch({
      database: 0,
      driver: () => (opens++ === 0 ? Promise.reject(new Error("no such module")) : driver),
      retries: 0,
      wire: { commands: 0, roundTrips: 0, retries: 0 },
      onRetry() {},
    });
    const [first, held] = [kindOf(readFrom(batch, "a", 500)), sleep(0).then(() => readFrom(batch, "a", 500))];
    assert.equal(await first, "connection");
    assert.equal(await held, null);
  });
});

describe("Batch, deadlines", () => {
  it("Batch ends each call at its own deadline when the driver never answers", async () => {
    const { driver, get, set } = make();
    driver.fate = () => new Promise(() => {});
    const start = performance.now();
    const ended: number[] = [];
    const ends = async (call: Promise<unknown>, least: number) => {
      assert.equal(await Promise.race([kindOf(call), sleep(10_000, "late", { ref: false })]), "timeout");
      assert.ok(performance.now() - start >= least - 2, `${performance.now() - start}`);
      ended.push(least);
    };
    await Promise.all([ends(get("c", 180), 180), ends(set("a", "1", 40), 40), ends(get("b", 110), 110)]);
    assert.deepEqual(ended, [40, 110, 180]);
  });

  it("Batch does not send a call whose deadline passed while the driver opened", async () => {
    const { driver } = make();
    let open = (_: Driver): void => {};
    const opening = new Promise<Driver>((resolve) => {
      open = resolve;
    });
    const wire = { commands: 0, roundTrips: 0, retries: 0 };
    const batch = new Batch({ database: 0, driver: () => opening, retries: 2, wire, onRetry() {} });
    assert.equal(await kindOf(batch.send(["SET", "a", "1"], ["a"], 30, true)), "timeout");
    open(driver);
    assert.equal(await readFrom(batch, "a", 1000), null);
    assert.deepEqual(driver.sends, [[["MGET", "a", "clock"]]]);
  });

  it("send ends at its deadline and sends nothing when its key is free too late", async () => {
    const { driver, set, get } = make({ ordered: false });
    let free = (): void => {};
    driver.fate = (send) =>
      send === 1
        ? new Promise((resolve) => {
            free = () => resolve(undefined);
          })
        : undefined;
    const first = set("k", "1");
    await sleep(1);
    assert.equal(await Promise.race([kindOf(set("k", "2", 40)), sleep(10_000, "late", { ref: false })]), "timeout");
    free();
    await first;
    assert.equal(await get("k"), "1");
  });

  it("send ends when its key becomes free after its deadline and before its timer", async () => {
    const { driver, set } = make({ ordered: false });
    let free = (): void => {};
    driver.fate = (send) =>
      send === 1
        ? new Promise((resolve) => {
            free = () => resolve(undefined);
          })
        : undefined;
    const first = set("k", "1");
    await sleep(1);
    const held = kindOf(set("k", "2", 20));
    // Holds the event loop, so that no timer can fire.
    const until = performance.now() + 30;
    while (performance.now() < until);
    free();
    await first;
    assert.equal(await Promise.race([held, sleep(500, "never")]), "timeout");
  });

  it("idle resolves when nothing is in flight, and at its timeout when something stays", async () => {
    const { driver, batch, get } = make();
    await batch.idle(1000);
    get("a").catch(() => {});
    await batch.idle(1000);
    assert.equal(driver.sends.length, 1);
    driver.fate = () => new Promise(() => {});
    get("b", 5000).catch(() => {});
    const start = performance.now();
    await batch.idle(50);
    assert.ok(performance.now() - start >= 45 && performance.now() - start < 4000);
  });
});

describe("Batch, breaker", () => {
  function guarded(failures: number) {
    const driver = new Recorder();
    const wire = { commands: 0, roundTrips: 0, retries: 0 };
    const breaker = new Breaker(
      { failures },
      () => performance.now(),
      () => {},
    );
    const batch = new Batch({ database: 0, driver: () => driver, retries: 0, wire, breaker, onRetry() {} });
    return { driver, breaker, batch };
  }

  it("Batch reports one failure to the breaker when all deadlines of a send have passed", async () => {
    const { driver, breaker, batch } = guarded(2);
    const rejects: ((error: StoreError) => void)[] = [];
    driver.fate = () => new Promise((_, reject) => void rejects.push(reject));
    const calls = [readFrom(batch, "a", 110), readFrom(batch, "b", 130)].map(kindOf);
    assert.deepEqual(await Promise.all(calls), ["timeout", "timeout"]);
    for (const fail of rejects) fail(lost());
    await sleep(1);
    assert.equal(breaker.state, "closed");
    assert.equal(await kindOf(readFrom(batch, "a", 110)), "timeout");
    assert.equal(breaker.state, "open");
    assert.equal(await kindOf(readFrom(batch, "a", 110)), "connection");
    assert.equal(driver.sends.length, 2);
  });

  it("Batch reports no failure to the breaker when a later deadline of the same send is met", async () => {
    const { driver, breaker, batch } = guarded(1);
    driver.fate = () => sleep(150, undefined);
    const calls = [kindOf(readFrom(batch, "a", 110)), kindOf(readFrom(batch, "b", 5000))];
    assert.deepEqual(await Promise.all(calls), ["timeout", undefined]);
    assert.equal(breaker.state, "closed");
  });
});

describe("Batch, order", () => {
  it("send waits only for an earlier call for its key when the wire keeps no order", async () => {
    const { driver, set, get } = make({ ordered: false });
    const order: string[] = [];
    let free = (): void => {};
    const gate = new Promise<undefined>((resolve) => {
      free = () => resolve(undefined);
    });
    driver.fate = (send) => (send === 1 ? gate : undefined);
    const calls = [set("k", "1").then(() => order.push("k1"))];
    await sleep(1);
    calls.push(set("k", "2").then(() => order.push("k2")));
    calls.push(get("k").then((value) => order.push(`get ${value}`)));
    calls.push(set("other", "1").then(() => order.push("other")));
    await sleep(1);
    calls.push(get("k").then((value) => order.push(`late get ${value}`)));
    await sleep(1);
    free();
    await Promise.all(calls);
    assert.deepEqual(order, ["other", "k1", "k2", "get 2", "late get 2"]);
    assert.deepEqual(driver.names, [["SET"], ["SET"], ["SET", "MGET", "MGET"]]);
    assert.equal(await get("k"), "2");
  });

  it("read does not wait for another read of its key when the wire keeps no order", async () => {
    const { driver, get } = make({ ordered: false });
    let free = (): void => {};
    const gate = new Promise<undefined>((resolve) => {
      free = () => resolve(undefined);
    });
    driver.fate = (send) => (send === 1 ? gate : undefined);
    const slow = get("k");
    await sleep(1);
    assert.equal(await get("k"), null);
    free();
    await slow;
  });

  it("send waits for an earlier call for its key when that is repeated on an ordered wire", async () => {
    const { driver, set, get } = make();
    const loading = errorReply("LOADING Redis is loading the dataset in memory");
    driver.fate = async (send) => (send <= 2 ? [loading] : undefined);
    const first = set("k", "1");
    await sleep(1);
    const second = set("k", "2");
    const order: string[] = [];
    first.then(() => order.push("first"));
    driver.fate = async (send) => (send === 2 && driver.sends[1]?.[0]?.[1] === "k" ? [loading] : undefined);
    await set("other", "1");
    assert.deepEqual(order, [], "a call for another key was held");
    await Promise.all([first, second]);
    assert.equal(await get("k"), "2");
  });

  it("send keeps the order of calls when the driver is opening and the wire keeps no order", async () => {
    const { driver } = make({ ordered: false });
    driver.fate = (send) => (send === 1 ? sleep(40, undefined) : undefined);
    const wire = { commands: 0, roundTrips: 0, retries: 0 };
    const opening = sleep(30, driver);
    const batch = new Batch({ database: 0, driver: () => opening, retries: 2, wire, onRetry() {} });
    const first = batch.send(["SET", "k", "1"], ["k"], 1000, true);
    await sleep(5);
    const second = batch.send(["SET", "k", "2"], ["k"], 1000, true);
    await Promise.all([first, second]);
    assert.equal(await readFrom(batch, "k", 1000), "2");
  });

  it("send waits for the last part when a tick is cut into several and the wire keeps no order", async () => {
    const { driver, set, get } = make({ ordered: false, maxCommands: 1 });
    driver.fate = () => sleep(15, undefined);
    const calls = [set("k", "1"), set("k", "2"), set("k", "3")];
    await sleep(2);
    calls.push(set("k", "4"));
    await Promise.all(calls);
    assert.equal(await get("k"), "4");
    assert.deepEqual(
      driver.sends.slice(0, 4).map(([command]) => command?.[2]),
      ["1", "2", "3", "4"],
    );
  });

  it("Batch does not repeat a write when a later one for its key was executed", async () => {
    const { driver, set, get } = make();
    const loading = errorReply("LOADING Redis is loading the dataset in memory");
    driver.fate = (send, commands) =>
      send === 1 ? driver.store.send(0, commands.slice(2)).then((rest) => [loading, loading, ...rest]) : undefined;
    const [overtaken, repeated, later] = await Promise.allSettled([set("k", "1"), set("other", "1"), set("k", "2")]);
    assert.ok(overtaken?.status === "rejected" && overtaken.reason.code === "LOADING");
    assert.equal(repeated?.status, "fulfilled");
    assert.equal(later?.status, "fulfilled");
    assert.deepEqual([await get("k"), await get("other")], ["2", "1"]);
  });

  it("Batch does not repeat a write when a later one for its key is already being repeated", async () => {
    const { driver, set, get } = make();
    const ends: { answer(replies: Reply[] | undefined): void; lose(error: StoreError): void }[] = [];
    driver.fate = (send) =>
      send <= 3 ? new Promise((resolve, reject) => void ends.push({ answer: resolve, lose: reject })) : undefined;
    const first = set("k", "1");
    await sleep(1);
    const second = set("k", "2");
    const settled = Promise.allSettled([first, second]);
    await sleep(1);
    ends[0]?.answer([errorReply("LOADING Redis is loading the dataset in memory")]);
    ends[1]?.lose(lost());
    // The second is repeated at once, the first after a pause of 45 ms at the most.
    while (driver.sends.length < 3) await sleep(1);
    await sleep(70);
    assert.equal(driver.sends.length, 3);
    ends[2]?.answer(undefined);
    const [overtaken, later] = await settled;
    assert.ok(overtaken?.status === "rejected" && overtaken.reason.code === "LOADING");
    assert.equal(later?.status, "fulfilled");
    assert.equal(await get("k"), "2");
  });

  it("Batch keeps the order of two sends when both are lost again and again", async () => {
    for (let round = 0; round < 5; round++) {
      const { driver, set, get } = make();
      const waiting: ((error: StoreError) => void)[] = [];
      let failures = 4;
      driver.fate = () =>
        failures-- > 0
          ? new Promise((_, reject) => {
              waiting.push(reject);
              if (waiting.length === 2) for (const fail of waiting.splice(0)) fail(lost());
            })
          : undefined;
      const first = set("k", "1");
      await sleep(1);
      const second = set("k", "2");
      await Promise.all([first, second]);
      assert.equal(await get("k"), "2");
    }
  });
});

type Op = { readonly verb: "set" | "get" | "del" | "count"; readonly key: number; readonly gap: number };
type Fate = "fine" | "slow" | "lost before" | "lost after" | "loading";

/** A store behind a wire that delays and fails. It records what was executed. */
class Rough implements Driver {
  readonly name = "rough";
  readonly capabilities: Capabilities;
  readonly values = new Map<string, string>();
  /** The number of times that each counting call was executed, by its mark. */
  readonly counted = new Map<string, number>();
  readonly #fates: Fate[];
  #line: Promise<unknown> = Promise.resolve();
  #waiting: ((error: StoreError) => void)[] = [];

  constructor(ordered: boolean, fates: readonly Fate[], maxCommands: number) {
    this.capabilities = { numbered: true, scripts: true, ordered, maxCommands };
    this.#fates = [...fates];
  }

  send(_: number, commands: readonly Command[]): Promise<Reply[]> {
    const fate = this.#fates.shift() ?? "fine";
    return new Promise((resolve, reject) => {
      const work = async () => {
        if (fate === "slow") await sleep(3);
        else await null;
        if (!this.#waiting.includes(reject)) return;
        if (fate === "lost before") return this.#lose(reject);
        const replies = commands.map((command, i) =>
          fate === "loading" && i < 2 ? errorReply("LOADING not yet") : this.#execute(command),
        );
        if (fate === "lost after") return this.#lose(reject);
        await sleep(fate === "slow" ? 2 : 0);
        if (!this.#waiting.includes(reject)) return;
        this.#waiting = this.#waiting.filter((other) => other !== reject);
        resolve(replies);
      };
      this.#waiting.push(reject);
      if (this.capabilities.ordered) this.#line = this.#line.then(work);
      else void work();
    });
  }

  /** A wire that keeps the order is one connection: what waits on it is lost with it. */
  #lose(reject: (error: StoreError) => void): void {
    const gone = this.capabilities.ordered ? this.#waiting : [reject];
    this.#waiting = this.#waiting.filter((other) => !gone.includes(other));
    for (const fail of gone) fail(lost());
  }

  #execute([name, ...args]: Command): Reply {
    const [key, value] = args as [string, string];
    if (name === "SET") {
      this.values.set(key, value);
      return "OK";
    }
    if (name === "GET") return this.values.get(key) ?? null;
    if (name === "MGET") return (args as string[]).map((each) => this.values.get(each) ?? null);
    if (name === "UNLINK") return (args as string[]).filter((each) => this.values.delete(each)).length;
    const keys = args.slice(2, 2 + Number(args[1])) as string[];
    if (args.length === 2 + keys.length) return keys.map((each) => (this.values.delete(each) ? 1 : 0));
    const counter = keys[0] as string;
    const mark = String(args.at(-1));
    this.counted.set(mark, (this.counted.get(mark) ?? 0) + 1);
    const next = Number(this.values.get(counter) ?? 0) + 1;
    this.values.set(counter, `${next}`);
    return next;
  }

  async close(): Promise<void> {}
}

interface Scenario {
  readonly ops: readonly Op[];
  readonly fates: readonly Fate[];
  readonly maxCommands: number;
  /** True if the driver is still to be opened. */
  readonly lazy: boolean;
}

/** Plays a scenario, compares what came of it with the order of the calls, and answers how many calls failed. */
async function play(ordered: boolean, { ops, fates, maxCommands, lazy }: Scenario): Promise<number> {
  const driver = new Rough(ordered, fates, maxCommands);
  let opened: Driver | Promise<Driver> = driver;
  if (lazy) {
    opened = sleep(2, driver);
    void opened.then(() => {
      opened = driver;
    });
  }
  const wire = { commands: 0, roundTrips: 0, retries: 0 };
  const batch = new Batch({ database: 0, driver: () => opened, retries: 2, wire, onRetry() {} });
  const calls: Promise<{ reply: Reply } | { error: unknown }>[] = [];
  for (const [i, { verb, key, gap }] of ops.entries()) {
    const name = `${verb === "count" ? "n" : "k"}${key}`;
    let call: Promise<Reply>;
    if (verb === "set") call = batch.send(["SET", name, `v${i}`], [name], 5000, true);
    else if (verb === "get") call = readFrom(batch, name, 5000);
    else if (verb === "del") call = batch.unlink([name], 5000);
    else call = batch.run(increment, [name], [`mark${i}`], 5000, false);
    calls.push(
      call.then(
        (reply) => ({ reply }),
        (error) => ({ error }),
      ),
    );
    if (gap > 0) await sleep(gap - 1);
  }
  const results = await Promise.all(calls);
  await batch.idle(1000);
  const shown = JSON.stringify({ ops, fates, maxCommands, lazy, results });
  for (let key = 0; key <= 2; key++) {
    // What may stand there: what the last write that succeeded left, or any later one that failed.
    let possible = new Set<Reply>([null]);
    let count = 0;
    for (const [i, { verb, key: of }] of ops.entries()) {
      const result = results[i];
      if (of !== key || !result) continue;
      const done = "reply" in result;
      if (verb === "count") {
        if (!done) continue;
        assert.ok((result.reply as number) > count, `call ${i} counted ${result.reply} after ${count}: ${shown}`);
        count = result.reply as number;
      } else if (verb !== "get") {
        const written = verb === "set" ? `v${i}` : null;
        possible = done ? new Set([written]) : possible.add(written);
      } else if (done) {
        // A read that is repeated may find a later write that was lost after its execution.
        const isLater = (op: Op, j: number) =>
          j > i && op.key === key && (op.verb === "set" ? `v${j}` : op.verb === "del" ? null : "") === result.reply;
        if (wire.retries > 0 && ops.some(isLater)) continue;
        assert.ok(possible.has(result.reply), `call ${i} read ${result.reply}, not ${[...possible]}: ${shown}`);
        possible = new Set([result.reply]);
      }
    }
    const standing = driver.values.get(`k${key}`) ?? null;
    assert.ok(possible.has(standing), `${standing} stands in k${key}, not ${[...possible]}: ${shown}`);
  }
  for (const [mark, times] of driver.counted) assert.equal(times, 1, `${mark} was counted ${times} times: ${shown}`);
  return results.filter((result) => "error" in result).length;
}

describe("Batch, any calls over any wire", () => {
  const op: fc.Arbitrary<Op> = fc.record({
    verb: fc.constantFrom("set", "set", "get", "get", "del", "count"),
    key: fc.nat(2),
    gap: fc.constantFrom(0, 0, 0, 1, 2),
  });
  const fate: fc.Arbitrary<Fate> = fc.constantFrom("fine", "fine", "slow", "lost before", "lost after", "loading");

  for (const ordered of [true, false]) {
    const wire = `the wire keeps ${ordered ? "" : "no "}order`;
    it(`Batch gives calls for a key the effects of their order when ${wire}`, async () => {
      let failures = 0;
      const scenario = fc.record({
        ops: fc.array(op, { minLength: 2, maxLength: 24 }),
        fates: fc.array(fate, { maxLength: 12 }),
        maxCommands: fc.constantFrom(2, 4, 1000),
        lazy: fc.boolean(),
      });
      await fc.assert(
        // Several at a time: most of the time is waiting.
        fc.asyncProperty(fc.array(scenario, { minLength: 8, maxLength: 8 }), async (scenarios) => {
          const failed = await Promise.all(scenarios.map((each) => play(ordered, each)));
          failures += failed.reduce((sum, count) => sum + count, 0);
        }),
        { numRuns: 12, interruptAfterTimeLimit: 20_000, endOnFailure: true, includeErrorInReport: true },
      );
      assert.ok(failures > 0, "no call ever failed: the wire was not rough");
    });
  }
});
