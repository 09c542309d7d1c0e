/** A batch over a store of several parts. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  type Command,
  type Driver,
  errorReply,
  type Reply,
  type Script,
  type SendOptions,
  StoreError,
} from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { hashSlot } from "../src/base/crc16.ts";
import { increment, read } from "../src/lua/entries.ts";
import { unlinkEach } from "../src/lua/small.ts";
import { Batch, type ReadScript } from "../src/wire/batch.ts";
import { Breaker } from "../src/wire/breaker.ts";
import { RunsSlot } from "../src/wire/runs_slot.ts";
import { CommandSlot } from "../src/wire/slot.ts";
import { StoreParts } from "../src/wire/store_parts.ts";
import { eventually } from "./helpers/eventually.ts";

/** A store of two parts, with the keys of each hash tag `{a...}` and `{b...}` in one of them. */
class TwoParts implements Driver {
  readonly name = "parts";
  readonly capabilities = { numbered: false, scripts: true, ordered: true, parts: true };
  readonly stores: Record<string, Driver> = { a: memory(), b: memory() };
  /** The sends to each part. */
  readonly sends: Record<string, (readonly Command[])[]> = { a: [], b: [] };
  /** The scripts that each part knows. */
  readonly loaded: Record<string, Set<string>> = { a: new Set(), b: new Set() };
  /** The behaviour of a part before it answers. */
  readonly fate: Record<
    string,
    ((commands: readonly Command[]) => Promise<Reply[] | undefined> | undefined) | undefined
  > = {};

  partOf(key: string): string {
    return key.slice(key.indexOf("{") + 1)[0] as string;
  }

  parts(): string[] {
    return ["a", "b"];
  }

  async send(database: number, commands: readonly Command[], _options?: SendOptions): Promise<Reply[]> {
    const parts = new Set(commands.flatMap((command) => keysOf(command).map((key) => this.partOf(key))));
    assert.ok(parts.size < 2, "a send has one part");
    const [part = "a"] = parts;
    this.sends[part]?.push(commands);
    const fated = await this.fate[part]?.(commands);
    if (fated) return fated;
    const replies: Reply[] = [];
    for (const command of commands) {
      const [name, script] = command as [string, string];
      if (new Set(keysOf(command).map(hashSlot)).size > 1) {
        replies.push(errorReply("CROSSSLOT Keys in request don't hash to the same slot"));
      } else if (/^EVALSHA/.test(name) && !this.loaded[part]?.has(script)) {
        replies.push(errorReply("NOSCRIPT No matching script"));
      } else {
        const [reply = null] = (await this.stores[part]?.send(database, [command])) ?? [];
        if (/^EVAL(_RO)?$/.test(name)) this.loaded[part]?.add(await sha1(script));
        replies.push(reply);
      }
    }
    return replies;
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.stores).map((store) => store.close()));
  }

  /** The names of the commands of each send to a part. */
  names(part: string): string[][] {
    return (this.sends[part] ?? []).map((commands) => commands.map(([name]) => name));
  }
}

function keysOf([name, ...args]: Command): string[] {
  if (/^EVAL/.test(name)) return args.slice(2, 2 + Number(args[1])).map(String);
  if (name === "SET" || name === "GET") return [String(args[0])];
  return args.map(String);
}

async function sha1(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function make({ retries = 2, failures = 2 } = {}) {
  const driver = new TwoParts();
  const wire = { commands: 0, roundTrips: 0, retries: 0 };
  const states: string[] = [];
  const parts = new StoreParts(
    (part) =>
      new Breaker(
        { failures },
        () => performance.now(),
        (state) => void states.push(`${part} ${state}`),
      ),
  );
  const batch = new Batch({ database: 0, driver: () => driver, retries, wire, onRetry: () => {}, parts });
  const set = (key: string, value: string, timeout = 2000) => batch.send(["SET", key, value], [key], timeout, true);
  const get = (key: string, timeout = 2000, by?: ReadScript) => readOf(batch, key, timeout, by);
  const count = (key: string) => batch.run(increment, [key], [1, 0], 2000, false);
  return { driver, batch, wire, states, parts, set, get, count };
}

function readOf(batch: Batch, key: string, timeout: number, by?: ReadScript): Promise<Reply> {
  const tag = key.slice(0, key.indexOf("}") + 1);
  const space = { epochKey: `${tag}epoch`, marksPrefix: `${tag}tag:` };
  return new Promise((resolve, reject) => {
    batch.read({ physical: key, space, timeout, resolve, reject }, by);
  });
}

const silence = () => new Promise<Reply[]>(() => {});
const kindOf = (call: Promise<unknown>) => call.then(String, (error: StoreError) => error.kind);

describe("Batch, a store of several parts", () => {
  it("read joins one MGET for each shard and one send for each part when reads are issued in one tick", async () => {
    const { driver, set, get, wire } = make();
    await Promise.all([set("{a1}x", "1"), set("{a2}x", "2"), set("{b1}x", "3")]);
    const keys = ["{a1}x", "{b1}x", "{a1}y", "{a2}x", "{a1}x"];
    assert.deepEqual(await Promise.all(keys.map((key) => get(key))), ["1", "3", null, "2", "1"]);
    assert.deepEqual(driver.sends.a?.slice(1), [
      [
        ["MGET", "{a1}x", "{a1}y", "{a1}epoch"],
        ["MGET", "{a2}x", "{a2}epoch"],
      ],
    ]);
    assert.deepEqual(driver.sends.b?.slice(1), [[["MGET", "{b1}x", "{b1}epoch"]]]);
    assert.deepEqual(wire, { commands: 6, roundTrips: 4, retries: 0 });
  });

  it("unlink deletes by hash slot, adds up, and joins the deletions of several callers", async () => {
    const { driver, batch, set } = make();
    await Promise.all(["{a1}x", "{a1}y", "{a2}x", "{b1}x", "{b1}y"].map((key) => set(key, "1")));
    const calls = [
      batch.unlink(["{a1}x", "{b1}x", "{b1}z", "{a2}x"], 2000),
      batch.unlink(["{b1}y", "{b1}x"], 2000),
      batch.unlink(["{a1}y"], 2000),
    ];
    assert.deepEqual(await Promise.all(calls), [3, 1, 1]);
    assert.deepEqual(driver.names("a").at(-1), ["EVAL", "UNLINK"]);
    assert.deepEqual(driver.names("b").at(-1), ["EVAL"]);
    assert.equal(driver.sends.b?.at(-1)?.[0]?.[1], unlinkEach.lua);
  });

  it("add joins the runs of one script that have one hash slot, and no others", async () => {
    const { driver, batch } = make();
    const each: Script = { name: "each", lua: "return {}", sha1: "0" };
    const args = [7];
    driver.fate.a = async () => [["1", "2"]];
    driver.fate.b = async () => [["3"]];
    const runs = ["{a1}m", "{b1}m", "{a1}n"].map((key) => batch.add(new RunsSlot([key], 2000, true, args, each)));
    assert.deepEqual(await Promise.all(runs), ["1", "3", "2"]);
    assert.deepEqual(driver.sends.a, [[["EVAL", each.lua, 2, "{a1}m", "{a1}n", 7]]]);
  });

  it("callers of a healthy part are answered at once when another is silent, and only its breaker opens", async () => {
    const { driver, states, set, get, parts } = make({ retries: 0 });
    await Promise.all([set("{a}x", "1"), set("{b}x", "2")]);
    driver.fate.b = silence;
    for (let round = 0; round < 2; round++) {
      let late = false;
      const sick = kindOf(get("{b}x", 300)).finally(() => {
        late = true;
      });
      assert.deepEqual(await Promise.all([get("{a}x", 60_000), set("{a}y", "3", 60_000)]), ["1", "OK"]);
      assert.equal(late, false, "it did not wait for the silent part");
      assert.equal(await sick, "timeout");
    }
    await eventually(() => states.includes("b open"));
    const before = driver.sends.b?.length;
    assert.deepEqual(await Promise.all([get("{a}x"), kindOf(get("{b}x"))]), ["1", "connection"]);
    assert.equal(driver.sends.b?.length, before, "nothing leaves for it");
    assert.deepEqual(
      parts.breakers.map(([name, { state }]) => `${name} ${state}`),
      ["a closed", "b open"],
    );
  });

  it("a write of a healthy part does not wait when an earlier one of a silent part is being repeated", async () => {
    const { driver, set, get } = make({ retries: 2, failures: 50 });
    driver.fate.b = () => Promise.reject(new StoreError("connection", "lost", { repeat: "all" }));
    const sick = kindOf(set("{b}x", "1", 5000));
    assert.deepEqual(await Promise.all([set("{a}x", "2"), get("{a}y")]), ["OK", null]);
    assert.equal(await get("{a}x"), "2");
    assert.equal(await sick, "connection");
  });

  it("idle waits for no part beyond the deadlines of its own callers", async () => {
    const { driver, batch, get } = make();
    const waited: number[] = [];
    const send = driver.send.bind(driver);
    driver.send = (database, commands, options) => {
      waited.push(options?.timeout ?? 0);
      return send(database, commands, options);
    };
    await Promise.all([get("{a}x", 60_000), get("{b}x", 300)]);
    assert.ok((waited[0] as number) > 300 && (waited[1] as number) <= 300, `${waited}`);
    driver.fate.b = silence;
    assert.equal(await kindOf(get("{b}x", 50)), "timeout");
    await batch.idle(60_000);
  });

  it("idle waits for the parts that have not answered when others have", async () => {
    const { driver, batch, get } = make();
    let answer = (): void => {};
    driver.fate.b = () =>
      new Promise((resolve) => {
        answer = () => resolve([[null, null]]);
      });
    const both = [get("{a}x"), get("{b}x")];
    await both[0];
    let idle = false;
    const waiting = batch.idle(60_000).then(() => {
      idle = true;
    });
    await get("{a}x");
    assert.equal(idle, false);
    answer();
    await Promise.all([...both, waiting]);
  });

  it("run sends EVAL to a part that has not seen the script, and after NOSCRIPT whatever others learnt", async () => {
    const { driver, count, wire } = make();
    await count("{a}n");
    assert.equal(((await count("{b}n")) as Reply[])[0], "1");
    assert.deepEqual(driver.names("b"), [["EVAL"]]);
    await Promise.all([count("{a}n"), count("{b}n")]);
    assert.deepEqual([driver.names("a").at(-1), driver.names("b").at(-1)], [["EVALSHA"], ["EVALSHA"]]);
    assert.equal(wire.retries, 0);
    // A key has moved to a server that never saw the script; while it is asked, another run teaches the part.
    driver.fate.b = async (commands) => {
      driver.fate.b = undefined;
      await count("{b}other");
      return commands.map(() => errorReply("NOSCRIPT No matching script"));
    };
    assert.equal(((await count("{b}n")) as Reply[])[0], "3");
    assert.deepEqual(driver.names("b").slice(-3), [["EVALSHA"], ["EVALSHA"], ["EVAL"]]);
  });

  it("nothing is repeated and the part's breaker opens when the cluster is down", async () => {
    const { driver, states, get, wire } = make();
    driver.fate.b = async (commands) => commands.map(() => errorReply("CLUSTERDOWN The cluster is down"));
    for (let round = 0; round < 2; round++) assert.equal(await kindOf(get("{b}x")), "connection");
    assert.equal(wire.retries, 0);
    assert.equal(driver.sends.b?.length, 2);
    assert.deepEqual(states, ["b open"]);
    assert.equal(await kindOf(get("{b}x")), "connection");
    assert.equal(driver.sends.b?.length, 2);
    assert.equal(await get("{a}x"), null);
  });

  it("putFirst puts a command in front of each send to its hash slot until it is cancelled", async () => {
    const { driver, parts, get } = make();
    let done = 0;
    const cancel = parts.putFirst("{b1}epoch", 0, (timeout) => {
      const slot = new CommandSlot(["{b1}epoch"], timeout, true, ["SET", "{b1}epoch", "7 7"]);
      slot.callers.push({ resolve: () => done++, reject: () => {} });
      return slot;
    });
    await Promise.all([get("{b2}x"), get("{b1}x"), get("{a1}x"), get("{b1}y")]);
    assert.deepEqual(driver.names("a"), [["MGET"]]);
    assert.deepEqual(driver.names("b"), [["MGET", "SET", "MGET"]]);
    cancel();
    await get("{b1}x");
    assert.deepEqual(driver.names("b").at(-1), ["MGET"]);
    assert.equal(done, 1);
  });

  it("a command is repeated when its slot is being moved", async () => {
    const { driver, get, count } = make();
    let refused = 0;
    driver.fate.a = async (commands) =>
      refused++ < 2
        ? commands.map(() => errorReply("TRYAGAIN Multiple keys request during rehashing of slot"))
        : undefined;
    assert.equal(await get("{a}x"), null);
    refused = 0;
    assert.equal(((await count("{a}n")) as Reply[])[0], "1");
  });

  it("a part that has left is forgotten, and its breaker closes, when another appears", async () => {
    const { driver, states, get, parts } = make({ retries: 0 });
    driver.fate.b = () => Promise.reject(new StoreError("connection", "lost"));
    for (let round = 0; round < 2; round++) {
      assert.equal(await kindOf(get("{b}x")), "connection");
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    assert.deepEqual(states, ["b open"]);
    driver.parts = () => ["a", "c"];
    driver.partOf = (key) => (key.startsWith("{b") ? "c" : "a");
    driver.sends.c = [];
    driver.stores.c = memory();
    driver.loaded.c = new Set();
    assert.equal(await get("{b}x"), null);
    assert.deepEqual(states, ["b open", "b closed"]);
    assert.deepEqual(
      parts.breakers.map(([name]) => name),
      ["c"],
    );
  });

  it("each caller has its own reply, and a key has the order of its calls, whatever is sent in one tick", async () => {
    const key = fc.constantFrom("{a1}x", "{a1}y", "{a2}x", "{b1}x", "{b1}y", "{b2}x");
    const call = fc.oneof(
      fc.record({ verb: fc.constant("set" as const), key, value: fc.nat(99).map(String) }),
      fc.record({ verb: fc.constantFrom("get" as const, "look" as const), key }),
      fc.record({ verb: fc.constant("unlink" as const), keys: fc.array(key, { minLength: 1, maxLength: 4 }) }),
      fc.record({ verb: fc.constant("count" as const), key: fc.constantFrom("{a1}n", "{b1}n") }),
    );
    const by: ReadScript = { script: read, slide: 0, what: 0 };
    const ticks = fc.array(fc.array(call, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(ticks, async (all) => {
        const { driver, batch, set, get, count } = make();
        const model = new Map<string, string>();
        for (const tick of all) {
          const expected: unknown[] = [];
          const replies = tick.map((each) => {
            if (each.verb === "set") {
              model.set(each.key, each.value);
              expected.push("OK");
              return set(each.key, each.value);
            }
            if (each.verb === "unlink") {
              expected.push(each.keys.filter((key) => model.delete(key)).length);
              return batch.unlink(each.keys, 2000);
            }
            if (each.verb === "count") {
              const value = `${Number(model.get(each.key) ?? 0) + 1}`;
              model.set(each.key, value);
              expected.push(value);
              return count(each.key).then((reply) => (reply as Reply[])[0]);
            }
            expected.push(model.get(each.key) ?? null);
            return get(each.key, 2000, each.verb === "look" ? by : undefined);
          });
          assert.deepEqual(await Promise.all(replies), expected);
        }
        await driver.close();
      }),
      { numRuns: 150 },
    );
  });
});
