import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { type Driver, StoreError } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { type CacheEvent, createCacheClient, type Logger } from "../mod.ts";
import { createCacheClient as createCoreClient } from "../src/core.ts";
import { createCacheClient as createEdgeClient } from "../src/edge.ts";
import { Events } from "../src/telemetry/events.ts";
import { logTo, warnOnce } from "../src/telemetry/logger.ts";

const target = { service: "product", collection: "products" };
const failure = new StoreError("timeout", "no answer within 500 ms", { cause: new Error("S3CRET cause") });
const error: CacheEvent = { type: "error", operation: "get", error: failure, ...target };
const corrupt: CacheEvent = {
  type: "corrupt",
  key: "product:1",
  reason: "schema",
  issues: [{ path: "name", message: "Invalid type" }],
  ...target,
};
const retry: CacheEvent = { type: "retry", attempt: 1, commands: 3, error: failure };

describe("logTo", () => {
  it("logs details and a message when something fails, retries for debugging, and nothing else", () => {
    const lines: unknown[][] = [];
    const log = logTo({
      warn: (...line: unknown[]) => void lines.push(["warn", ...line]),
      debug: (...line: unknown[]) => void lines.push(["debug", ...line]),
    });
    log({ type: "hit", key: "k", ...target });
    log({ type: "miss", key: "k", ...target });
    log({ type: "load-end", key: "k", stored: true, duration: 1, ...target });
    log({
      type: "load-error",
      key: "k",
      error: new Error("thrown to its caller"),
      kept: false,
      duration: 1,
      ...target,
    });
    for (const event of [error, corrupt, retry]) log(event);
    assert.deepEqual(lines, [
      ["warn", { operation: "get", error: "no answer within 500 ms", kind: "timeout", ...target }, "cache error"],
      [
        "warn",
        { key: "product:1", reason: "schema", issues: [{ path: "name", message: "Invalid type" }], ...target },
        "cache corrupt",
      ],
      ["debug", { attempt: 1, commands: 3, error: "no answer within 500 ms", kind: "timeout" }, "cache retry"],
    ]);
    assert.doesNotMatch(inspect(lines, { depth: 10 }), /S3CRET/);
  });

  it("logs one line a second for each type, and says how many it held back", async () => {
    const lines: string[] = [];
    const log = logTo({ warn: (_, message) => void lines.push(message) });
    for (let i = 0; i < 5; i++) log(error);
    log(corrupt);
    log(corrupt);
    log(retry);
    assert.deepEqual(lines, ["cache error", "cache corrupt"]);
    await sleep(1050);
    log(error);
    log(error);
    assert.deepEqual(lines.slice(2), ["cache error (and 4 more)"]);
    await sleep(1050);
    log(error);
    assert.deepEqual(lines.slice(3), ["cache error (and 1 more)"]);
  });

  it("logs every change when the breaker or near caches change often", () => {
    const lines: object[] = [];
    const log = logTo({ warn: (details) => void lines.push(details) });
    const states = ["open", "half-open", "open", "half-open", "closed"] as const;
    for (const state of states) log({ type: "breaker", driver: "node-redis", state });
    log({ type: "near-unavailable", driver: "node-redis", error: failure });
    log({ type: "near-available", driver: "node-redis" });
    assert.deepEqual(lines, [
      ...states.map((state) => ({ driver: "node-redis", state })),
      { driver: "node-redis", error: "no answer within 500 ms", kind: "timeout" },
      { driver: "node-redis" },
    ]);
  });

  it("logs failures of another kind when it holds some back", () => {
    const kinds: unknown[] = [];
    const log = logTo({ warn: (details) => void kinds.push((details as { kind?: unknown }).kind) });
    const refused = new StoreError("auth", "NOPERM no");
    for (const each of [failure, failure, refused, refused])
      log({ type: "error", operation: "get", error: each, ...target });
    assert.deepEqual(kinds, ["timeout", "auth"]);
  });

  it("calls methods on their object when a logger needs that, as pino and console do", () => {
    class Pino implements Logger {
      readonly #lines: string[] = [];
      warn(details: object, message: string): void {
        this.#lines.push(`${message} ${JSON.stringify(details)}`);
      }
      debug(_: object, message: string): void {
        this.#lines.push(message);
      }
      get lines(): readonly string[] {
        return this.#lines;
      }
    }
    const pino = new Pino();
    const log = logTo(pino);
    for (const event of [error, retry]) log(event);
    assert.equal(pino.lines.length, 2);
    assert.match(pino.lines[0] ?? "", /^cache error \{.*"kind":"timeout"/);
    const logger: Logger = console;
    assert.equal(logger, console);
  });
});

describe("a client's warnings", () => {
  /** Returns the lines on the console while something runs. */
  async function onConsole(run: () => Promise<void> | void): Promise<unknown[][]> {
    const { warn } = console;
    const lines: unknown[][] = [];
    console.warn = (...line) => void lines.push(line);
    try {
      await run();
    } finally {
      console.warn = warn;
    }
    return lines;
  }
  const broken: Driver = { ...memory(), send: () => Promise.reject(failure) };
  const builds = {
    main: createCacheClient,
    edge: createEdgeClient,
    core: ({ driver, logger }: { driver: Driver; logger?: Logger | false }) =>
      createCoreClient({ driver, ...(logger !== undefined && { logger }), breaker: { failures: 3 } }),
  };
  for (const [build, create] of Object.entries(builds)) {
    const make = (logger?: Logger | false) =>
      create({ env: {}, driver: broken, breaker: { failures: 3 }, ...(logger !== undefined && { logger }) } as never);

    it(`go to the console, a line a kind, when no logger is given to ${build}`, async () => {
      const lines = await onConsole(async () => {
        const client = make();
        for (let i = 0; i < 3; i++) await client.cache().get("k");
        await client.close();
      });
      assert.deepEqual(lines, [
        [
          'larder: cache error {"operation":"get","error":"no answer within 500 ms","service":"cache","collection":"","kind":"timeout"}',
        ],
        ['larder: cache breaker {"driver":"memory","state":"open","error":"no answer within 500 ms","kind":"timeout"}'],
      ]);
    });

    it(`go nowhere when the logger of ${build} is false, and not to the console when there is one`, async () => {
      const told: string[] = [];
      const lines = await onConsole(async () => {
        for (const logger of [false, { warn: (_: object, message: string) => void told.push(message) }] as const) {
          const client = make(logger);
          await client.cache().get("k");
          await client.close();
        }
      });
      assert.deepEqual([lines, told], [[], ["cache error"]]);
    });

    it(`of ${build} need a logger with warn, or false`, () => {
      for (const bad of [true, null, {}, { info() {} }]) assert.throws(() => make(bad as never), /logger/, String(bad));
    });
  }

  it("warnOnce warns each logger once when a message is repeated, and is silent for false", async () => {
    const told: unknown[] = [];
    const logger: Logger = { warn: (...line) => void told.push(line) };
    const throwing: Logger = {
      warn() {
        throw new Error("disk full");
      },
    };
    const lines = await onConsole(() => {
      for (const to of [logger, undefined, false, throwing] as const) {
        for (const message of ["no store is named", "no store is named", "another"]) warnOnce(to, message, { a: 1 });
      }
      warnOnce(undefined, "without details");
    });
    assert.deepEqual(told, [
      [{ a: 1 }, "no store is named"],
      [{ a: 1 }, "another"],
    ]);
    assert.deepEqual(lines.flat(), [
      'larder: no store is named {"a":1}',
      'larder: another {"a":1}',
      "larder: without details",
    ]);
  });
});

describe("Events", () => {
  it("emit calls the next listener when one throws, and skips those that have left", () => {
    const events = new Events();
    const seen: string[] = [];
    const leave = events.subscribe((event) => void seen.push(`first ${event.type}`));
    events.subscribe(() => {
      throw new Error("the listener's own");
    });
    events.subscribe((event) => void seen.push(`last ${event.type}`));
    events.emit(error);
    leave();
    events.emit(retry);
    assert.deepEqual(seen, ["first error", "last error", "last retry"]);
  });

  it("a client works as without a logger when the logger throws", async () => {
    const logger: Logger = {
      warn() {
        throw new Error("disk full");
      },
    };
    const client = createCacheClient({ env: {}, driver: memory(), logger });
    const { products, cache } = client.service("product");
    await cache.set("product:1", { id: 1 });
    assert.equal(await products.get(1), undefined);
    await client.close();
  });

  it("a client logs paths and messages of what a schema rejects, and no value", async () => {
    const lines: unknown[] = [];
    const events: CacheEvent[] = [];
    const logger: Logger = { warn: (...line) => void lines.push(line) };
    const client = createCacheClient({ env: {}, driver: memory(), logger });
    client.subscribe((event) => events.push(event));
    const { products, cache } = client.service("product");
    const secrets = { id: 1, name: { nested: "S3CRET" }, price: "S3CRET", categoryId: ["S3CRET"] };
    await cache.set("product:1", secrets);
    assert.equal(await products.get(1), undefined);
    await assert.rejects(products.set(2, secrets as never), (error) => !/S3CRET/.test(inspect(error, { depth: 10 })));
    assert.equal(lines.length, 1);
    assert.match(inspect(lines, { depth: 10 }), /corrupt/);
    assert.doesNotMatch(inspect([lines, events], { depth: 10 }), /S3CRET/);
    await client.close();
  });
});
