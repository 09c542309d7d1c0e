import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { type Command, type Driver, StoreError } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
// Loaded ahead of the first call, whose deadline loading would take up.
import "../drivers/node_redis.ts";
import "../drivers/upstash.ts";
import type { StoreErrorKind } from "../drivers/driver.ts";
import {
  type Cache,
  type CacheClient,
  type CacheEvent,
  type CallOptions,
  type ClientOptions,
  createCacheClient,
} from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { storeEntry } from "../src/lua/entries.ts";
import { type Listener, listen } from "../src/runtime/listen.ts";
import { type FaultProxy, type ProxyMode, startProxy } from "./helpers/proxy.ts";
import { freePort, type RedisServer, rawClient, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

/** Milliseconds of every operation where the store does not answer. */
const DEADLINE = 200;
/** Milliseconds of every operation elsewhere: what fails by itself does so long before, on a busy machine too. */
const PATIENCE = 3000;
const SECRETS = { password: "S3CRET-password", token: "S3CRET-token", value: "S3CRET-value" };

/** Beyond the deadline: 50 ms, and what this process itself was kept from running by other processes. */
class Watch {
  readonly #start = performance.now();
  #lag = 0;
  #due = this.#start + 5;
  readonly #ticks = setInterval(() => this.#tick(), 5);

  #tick(): void {
    const now = performance.now();
    this.#lag += Math.max(0, now - this.#due);
    this.#due = now + 5;
  }

  /** Fails when more than the deadline and 50 ms passed since the start. */
  check(what: string, deadline = DEADLINE): void {
    clearInterval(this.#ticks);
    this.#tick();
    const took = performance.now() - this.#start;
    assert.ok(took <= deadline + 50 + this.#lag, `${what} took ${took} ms, the event loop was late by ${this.#lag} ms`);
  }
}

/** A client that is listened to, with secrets in everything that goes in. */
class Subject {
  readonly client: CacheClient;
  readonly cache: Cache<string | number, string>;
  readonly events: CacheEvent[] = [];
  readonly lines: unknown[] = [];
  /** Milliseconds of every operation. */
  readonly deadline: number;

  constructor(options: ClientOptions) {
    this.deadline = Number(options.timeout ?? PATIENCE);
    const logger = {
      warn: (...line: unknown[]) => void this.lines.push(["warn", ...line]),
      debug: (...line: unknown[]) => void this.lines.push(["debug", ...line]),
    };
    this.client = createCacheClient({ env: {}, timeout: this.deadline, logger, ...options });
    this.cache = this.client.cache<string>({ database: 9 });
    this.client.subscribe((event) => this.events.push(event));
  }

  get errors(): StoreError[] {
    return this.events.flatMap((event) => (event.type === "error" ? [event.error] : []));
  }

  get retries(): number {
    return this.events.filter(({ type }) => type === "retry").length;
  }

  /** Every operation once, as `[what it is, its promise, its fallback, how many errors it reports]`. */
  operations(onError: "miss" | "throw" = "miss"): [string, Promise<unknown>, unknown, number][] {
    const { cache } = this;
    const options = { onError };
    const value = SECRETS.value;
    const all = async (keys: AsyncIterable<string>) => {
      const list: string[] = [];
      for await (const key of keys) list.push(key);
      return list;
    };
    return [
      ["get", cache.get("a", options), undefined, 1],
      ["getMany", cache.getMany(["b", "c"], options), new Map(), 2],
      ["has", cache.has("d", options), false, 1],
      ["ttl", cache.ttl("e", options), undefined, 1],
      ["set", cache.set("f", value, options), false, 1],
      [
        "setMany",
        cache.setMany(
          [
            ["g", value],
            ["h", value],
          ],
          options,
        ),
        0,
        2,
      ],
      ["delete", cache.delete(["i", "j"], options), 0, 1],
      ["expire", cache.expire("k", "1m", options), false, 1],
      ["expire for ever", cache.expire("l", "forever", options), false, 1],
      ["persist", cache.persist("m", options), false, 1],
      ["increment", cache.increment("n", options), 0, 1],
      ["deletePattern", cache.deletePattern("o*", options), 0, 1],
      ["clear", cache.clear(options), 0, 1],
      ["keys", all(cache.keys("p*", options)), [], 1],
    ];
  }

  /** No secret of any kind in anything that a person may read. */
  assertDiscreet(...more: unknown[]): void {
    for (const shown of [this.events, this.lines, this.errors.map((error) => `${error.stack}`), more]) {
      const text = inspect(shown, { depth: 20, showHidden: true, maxStringLength: null });
      assert.doesNotMatch(text, /S3CRET/);
    }
  }
}

/** Runs with a subject, and closes it. */
async function using(options: ClientOptions, run: (subject: Subject) => Promise<void>): Promise<void> {
  const subject = new Subject(options);
  try {
    await run(subject);
    subject.assertDiscreet();
  } finally {
    await subject.client.close();
  }
}

/** Asserts the behaviour while the store fails, in any one way. */
async function assertAway(subject: Subject, kind: StoreErrorKind, code = ""): Promise<void> {
  const { client, cache, events, deadline } = subject;
  const seen = (from: number) => events.slice(from).filter(({ type }) => type === "error").length;
  const before = client.stats();
  let from = events.length;
  let watch = new Watch();
  const operations = subject.operations();
  const answers = await Promise.all(operations.map(([, promise]) => promise));
  watch.check("every operation", deadline);
  operations.forEach(([name, , fallback], i) => {
    assert.deepEqual(answers[i], fallback, name);
  });
  // Where the store answers, `clear` goes on to delete what it could not invalidate.
  const reports = operations.reduce((sum, [, , , count]) => sum + count, kind === "command" ? 1 : 0);
  assert.equal(seen(from), reports, subject.errors.map(({ message }) => message).join("\n"));
  for (const error of subject.errors) {
    assert.equal(error.kind, kind, error.message);
    assert.equal(error.code, code, error.message);
  }
  const stats = client.stats();
  assert.equal(stats.errors - before.errors, reports);
  assert.equal(stats.misses - before.misses, 3);
  assert.deepEqual([stats.hits, stats.writes, stats.deletes], [before.hits, before.writes, before.deletes]);

  from = events.length;
  watch = new Watch();
  const loaded = await cache.getOrSet("q", () => SECRETS.value);
  watch.check("getOrSet", deadline);
  assert.equal(loaded, SECRETS.value);
  assert.ok(seen(from) >= 1 && seen(from) <= 2);

  watch = new Watch();
  const thrown = await Promise.allSettled(subject.operations("throw").map(([, promise]) => promise));
  watch.check("every operation that throws", deadline);
  thrown.forEach((outcome, i) => {
    assert.ok(outcome.status === "rejected", operations[i]?.[0]);
    const { name, kind: given, message } = outcome.reason as StoreError;
    assert.deepEqual([name, given], ["StoreError", kind], `${operations[i]?.[0]}: ${message}`);
  });
  subject.assertDiscreet(thrown);

  watch = new Watch();
  const health = await client.health();
  watch.check("health", deadline);
  assert.equal(health.ok, false);
  assert.ok(health.error);
  subject.assertDiscreet(health, inspect(client, { depth: 5 }));
  assert.ok(subject.lines.length >= 1);
}

const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown) => void unhandled.push(reason);
before(() => void process.on("unhandledRejection", onUnhandled));
after(() => {
  process.off("unhandledRejection", onUnhandled);
  assert.deepEqual(unhandled, []);
});

let redis: RedisServer;
before(async () => {
  redis = await startRedis();
});
after(() => redis.stop());

/** Runs with a proxy in front of a port. */
async function proxied(port: number, run: (proxy: FaultProxy) => Promise<void>): Promise<void> {
  const proxy = await startProxy(port);
  try {
    await run(proxy);
  } finally {
    await proxy.stop();
  }
}

/**
 * Returns the options for operations that fail in one way: a deadline, and no circuit breaker, so that every failure is
 * the store's own.
 */
const patience = (kind: StoreErrorKind): ClientOptions => ({
  timeout: kind === "timeout" ? DEADLINE : PATIENCE,
  breaker: false,
});

/** Asserts the behaviour after the breaker opened: operations end at once, and nothing is sent. */
async function assertLeftAlone(options: ClientOptions): Promise<void> {
  // It stays open for longer than this takes.
  const breaker = { failures: 3, openFor: 60_000 };
  await using({ ...options, breaker }, async (subject) => {
    const { client, cache, events } = subject;
    for (let i = 0; i < 30 && (await client.health()).breaker !== "open"; i++) await cache.get("a");
    assert.equal((await client.health()).breaker, "open");
    assert.equal(events.filter((event) => event.type === "breaker" && event.state === "open").length, 1);
    const { wire } = client.stats();
    const from = events.length;
    const watch = new Watch();
    const operations = subject.operations();
    const answers = await Promise.all(operations.map(([, promise]) => promise));
    assert.equal(await cache.getOrSet("q", () => SECRETS.value), SECRETS.value);
    const thrown = await Promise.allSettled(subject.operations("throw").map(([, promise]) => promise));
    watch.check("every operation", 0);
    operations.forEach(([name, , fallback], i) => {
      assert.deepEqual(answers[i], fallback, name);
      const outcome = thrown[i];
      assert.ok(outcome?.status === "rejected" && outcome.reason.kind === "connection", name);
      assert.match(outcome.reason.message, /failed 3 times in a row/);
    });
    assert.deepEqual(client.stats().wire, wire);
    const told = events.slice(from).filter(({ type }) => type !== "error" && type !== "miss");
    assert.deepEqual(
      told.map(({ type }) => type),
      ["load-start", "load-end"],
    );
    subject.assertDiscreet(thrown, await client.health());
  });
}

/** Asserts that a store that refuses is asked each time. `fail` makes it refuse. */
async function assertAsked(options: ClientOptions, fail?: () => Promise<void>): Promise<void> {
  await using({ ...options, breaker: { failures: 3, openFor: 60_000 } }, async ({ client, cache, events }) => {
    if (fail) assert.equal(await cache.set("warm", SECRETS.value), true);
    await fail?.();
    for (let i = 0; i < 5; i++) await cache.get("a");
    const before = client.stats().wire.roundTrips;
    await cache.get("a");
    assert.ok(client.stats().wire.roundTrips > before, "nothing was sent");
    assert.equal((await client.health()).breaker, "closed");
    assert.ok(events.every(({ type }) => type !== "breaker"));
  });
}

const tcp = (port: number, more: ClientOptions = {}): ClientOptions => ({
  driver: "node-redis",
  host: "127.0.0.1",
  port,
  ...more,
});

describe("a client over TCP", () => {
  it("answers misses in time when the port is refused", async () => {
    const options = tcp(await freePort(), { password: SECRETS.password });
    await using({ ...options, ...patience("connection") }, (subject) => assertAway(subject, "connection"));
    await assertLeftAlone(options);
  });

  const faults: { name: string; mode: ProxyMode; kind: StoreErrorKind; code?: string; retried?: boolean }[] = [
    { name: "the server accepts and never answers", mode: "blackhole", kind: "timeout" },
    { name: "the reply is too slow", mode: { delay: DEADLINE + 400 }, kind: "timeout" },
    { name: "the connection is reset in mid-reply", mode: { resetAfter: 2 }, kind: "connection", retried: true },
    { name: "the connection drops in place of every reply", mode: "drop", kind: "connection", retried: true },
    {
      name: "the server is loading",
      mode: { replace: "-LOADING Redis is loading the dataset in memory\r\n" },
      kind: "command",
      code: "LOADING",
      retried: true,
    },
    {
      name: "the server is out of memory",
      mode: { replace: "-OOM command not allowed when used memory > 'maxmemory'.\r\n" },
      kind: "command",
      code: "OOM",
    },
    {
      name: "the server is a replica",
      mode: { replace: "-READONLY You can't write against a read only replica.\r\n" },
      kind: "command",
      code: "READONLY",
      retried: true,
    },
    {
      name: "something that is not Redis answers",
      mode: { replace: "HTTP/1.1 400 Bad Request\r\n\r\n" },
      kind: "connection",
      retried: true,
    },
  ];
  for (const { name, mode, kind, code, retried } of faults) {
    it(`answers misses in time when ${name}`, async () => {
      await proxied(redis.port, (proxy) =>
        using(tcp(proxy.port, patience(kind)), async (subject) => {
          assert.equal(await subject.cache.set("warm", SECRETS.value, { timeout: PATIENCE }), true);
          await proxy.set(mode);
          await assertAway(subject, kind, code);
          assert.equal(subject.retries > 0, retried ?? false);
          const options = tcp(proxy.port, { timeout: subject.deadline });
          if (kind !== "command") return assertLeftAlone(options);
          await proxy.set("pass");
          await assertAsked(options, () => proxy.set(mode));
        }),
      );
    });
  }

  it("answers misses in time when the server accepts and never answers from the first call on", async () => {
    await proxied(redis.port, async (proxy) => {
      await proxy.set("blackhole");
      const options = tcp(proxy.port, { password: SECRETS.password, ...patience("timeout") });
      await using(options, (subject) => assertAway(subject, "timeout"));
    });
  });

  it("answers misses in time when the password is wrong or missing", async () => {
    const locked = await startRedis({ args: ["--requirepass", "another"] });
    try {
      for (const more of [{ password: SECRETS.password }, {}]) {
        await using(tcp(locked.port, more), async (subject) => {
          await subject.cache.get("a");
          assert.equal(subject.errors[0]?.kind, "auth", subject.errors[0]?.message);
          await assertAway(subject, "auth", more.password ? "WRONGPASS" : "NOAUTH");
        });
        await assertAsked(tcp(locked.port, more));
      }
    } finally {
      await locked.stop();
    }
  });

  it("answers misses in time when the database is out of range, and names the way out", async () => {
    const small = await startRedis({ args: ["--databases", "4"] });
    try {
      await using(tcp(small.port), async (subject) => {
        assert.equal(await subject.cache.get("a"), undefined);
        assert.match(subject.errors[0]?.message ?? "", /database 9.*CACHE_DATABASES=prefixed/);
        assert.equal(await subject.client.service("product").products.set(1, { id: 1, name: "Pho" }), true);
        assert.equal(subject.errors[0]?.kind, "command");
        assert.equal(await subject.cache.set("a", SECRETS.value), false);
        await assert.rejects(subject.cache.get("a", { onError: "throw" }), { name: "StoreError", kind: "command" });
      });
      await using(tcp(small.port, { databases: "prefixed" }), async ({ cache }) => {
        assert.equal(await cache.set("a", "1"), true);
      });
    } finally {
      await small.stop();
    }
  });

  it("reads while the server refuses writes for want of memory", async () => {
    const full = await startRedis();
    try {
      await using(tcp(full.port), async ({ cache, errors, client, events }) => {
        await cache.set("a", "1");
        await rawCommand(full.port, ["CONFIG", "SET", "maxmemory", "1"]);
        assert.deepEqual(await Promise.all([cache.get("a"), cache.set("b", SECRETS.value), cache.increment("n")]), [
          "1",
          false,
          0,
        ]);
        assert.equal(client.stats().errors, 2);
        const codes = events.flatMap((event) => (event.type === "error" ? [event.error.code] : []));
        assert.deepEqual([codes, errors.length], [["OOM", "OOM"], 0]);
        await rawCommand(full.port, ["CONFIG", "SET", "maxmemory", "0"]);
        assert.deepEqual([await cache.set("b", "2"), await cache.increment("n")], [true, 1]);
      });
    } finally {
      await full.stop();
    }
  });

  it("reads while the server is a replica, and writes when it is a master again", async () => {
    const replica = await startRedis();
    try {
      await using(tcp(replica.port), async (subject) => {
        const { cache } = subject;
        await cache.set("a", "1");
        await rawCommand(replica.port, ["REPLICAOF", "127.0.0.1", await freePort()]);
        assert.deepEqual(await Promise.all([cache.get("a"), cache.set("b", "1"), cache.delete("a")]), ["1", false, 0]);
        assert.deepEqual(
          subject.errors.map(({ kind, code }) => [kind, code]),
          [
            ["command", "READONLY"],
            ["command", "READONLY"],
          ],
        );
        await rawCommand(replica.port, ["REPLICAOF", "NO", "ONE"]);
        assert.equal(await cache.set("b", "1"), true);
      });
    } finally {
      await replica.stop();
    }
  });

  it("repeats within the deadline when the server has loaded soon", async () => {
    await proxied(redis.port, (proxy) =>
      using(tcp(proxy.port), async (subject) => {
        const { cache, client } = subject;
        await cache.set("soon", "1");
        await proxy.set({ replace: "-LOADING Redis is loading the dataset in memory\r\n" });
        client.subscribe((event) => void (event.type === "retry" && proxy.set("pass")));
        const answers = await Promise.all([cache.get("soon"), cache.set("later", "2"), cache.increment("soonest")]);
        assert.deepEqual(answers, ["1", true, 1]);
        assert.deepEqual([subject.retries, subject.errors.length, client.stats().errors], [1, 0, 0]);
        assert.equal(client.stats().wire.retries, 3);
        assert.match(inspect(subject.lines), /debug.*cache retry/s);
      }),
    );
  });

  it("answers when replies are slow but in time", async () => {
    await proxied(redis.port, (proxy) =>
      using(tcp(proxy.port), async ({ cache, errors }) => {
        await cache.set("slow", "1");
        await proxy.set({ delay: 100 });
        assert.equal(await cache.get("slow"), "1");
        assert.equal(errors.length, 0);
      }),
    );
  });

  it("works again by itself when the server has restarted", async () => {
    const first = await startRedis();
    let second: RedisServer | undefined;
    try {
      await using(tcp(first.port), async ({ cache, client }) => {
        assert.equal(await cache.set("a", "1"), true);
        assert.equal(await cache.increment("n"), 1);
        await first.stop();
        const watch = new Watch();
        assert.equal(await cache.get("a"), undefined);
        watch.check("get", PATIENCE);
        second = await startRedis({ port: first.port });
        const end = performance.now() + 20_000;
        while (!(await cache.set("a", "2"))) {
          assert.ok(performance.now() < end, "it did not come back");
          await sleep(5);
        }
        assert.deepEqual([await cache.get("a"), await cache.increment("n"), await client.ping()], ["2", 1, true]);
      });
    } finally {
      await first.stop();
      await second?.stop();
    }
  });

  it("counts once and repeats a set when the connection drops after execution", async () => {
    await proxied(redis.port, (proxy) =>
      using(tcp(proxy.port), async (subject) => {
        const { cache, client } = subject;
        const raw = await rawClient(redis.port);
        try {
          await raw.command("SELECT", 9);
          await cache.get("warm");
          await proxy.set("drop");
          assert.equal(await cache.increment("once"), 0);
          assert.equal(await raw.command("GET", "once"), "1");
          const { incrementRateLimit } = client.service("auth");
          await proxy.set("pass");
          await incrementRateLimit("ip");
          await proxy.set("drop");
          const limit = await incrementRateLimit("ip");
          assert.deepEqual([limit.available, limit.count], [false, Number.POSITIVE_INFINITY]);
          await proxy.set("pass");
          assert.equal((await incrementRateLimit("ip")).count, 3);
          assert.deepEqual(
            subject.errors.map(({ kind }) => kind),
            ["connection", "connection"],
          );
          assert.equal(subject.retries, 0);

          await cache.get("warm");
          await proxy.set("drop");
          client.subscribe((event) => void (event.type === "retry" && proxy.set("pass")));
          assert.equal(await cache.set("twice", SECRETS.value), true);
          assert.equal(subject.retries, 1);
          assert.equal(await cache.get("twice"), SECRETS.value);
        } finally {
          raw.close();
        }
      }),
    );
  });

  it("keeps the order of one key's calls over a pool of connections", async () => {
    await proxied(redis.port, async (proxy) => {
      await proxy.set({ delay: 2 });
      await using(tcp(proxy.port, { pool: { size: 4 }, timeout: 5000 }), async ({ cache }) => {
        const calls: Promise<unknown>[] = [];
        for (let i = 0; i < 60; i++) {
          const key = `pool${i % 3}`;
          calls.push(cache.set(key, `${i}`));
          calls.push(cache.get(key).then((seen) => assert.equal(seen, `${i}`)));
          if (i % 4 === 0) await sleep(1);
        }
        await Promise.all(calls);
        assert.ok(proxy.accepted > 1, "one connection did it all");
        assert.deepEqual([...(await cache.getMany(["pool0", "pool1", "pool2"])).values()], ["57", "58", "59"]);
      });
    });
  });

  it("ends each call at its own deadline when the server never answers", async () => {
    await proxied(redis.port, async (proxy) => {
      await proxy.set("blackhole");
      await using(tcp(proxy.port, { timeout: DEADLINE }), async ({ cache }) => {
        const start = performance.now();
        const took = (call: Promise<unknown>) => call.then(() => performance.now() - start);
        const watch = new Watch();
        const short = took(cache.get("a", { timeout: 60 }));
        const all = Promise.all([short, took(cache.set("b", "1")), took(cache.get("c", { timeout: 120 }))]);
        await short;
        watch.check("the shortest", 60);
        const [first, second, third] = await all;
        assert.ok(first >= 58 && second >= DEADLINE - 2 && third >= 118, `${[first, second, third]}`);
        assert.ok(third < second, "one call's deadline became another's");
      });
    });
  });
});

/** Runs with an HTTP server that answers each request to Upstash's REST API as it likes. */
async function served(
  handler: (request: Request) => Response | Promise<Response>,
  run: (server: Listener) => Promise<void>,
): Promise<void> {
  const server = await serve(handler);
  try {
    await run(server);
  } finally {
    await server.close();
  }
}

/** Answers every command of a pipeline with an error. */
async function refuseEach(request: Request, error: string): Promise<Response> {
  const commands = (await request.json()) as unknown[];
  return Response.json(commands.map(() => ({ error })));
}

const rest = (url: string, more: ClientOptions = {}): ClientOptions => ({
  driver: "upstash",
  url,
  token: SECRETS.token,
  ...more,
});

describe("a client over REST", () => {
  it("answers misses in time when the port is refused", async () => {
    const options = rest(`http://127.0.0.1:${await freePort()}`);
    await using({ ...options, ...patience("connection") }, (subject) => assertAway(subject, "connection"));
    await assertLeftAlone(options);
  });

  const json = (status: number, body: unknown) => async () => Response.json(body, { status });
  const text =
    (status: number, body: string, type = "application/json") =>
    async () =>
      new Response(body, { status, headers: { "content-type": type } });
  const html = `<html><body>502 Bad Gateway for ${SECRETS.token} ${SECRETS.value}</body></html>`;
  const faults: {
    name: string;
    answer: (request: Request) => Promise<Response>;
    kind: StoreErrorKind;
    code?: string;
    retried?: boolean;
  }[] = [
    { name: "the answer is too slow", answer: () => sleep(DEADLINE + 300, Response.json([])), kind: "timeout" },
    {
      name: "the token is wrong",
      answer: json(401, { error: "WRONGPASS invalid or missing auth token" }),
      kind: "auth",
      code: "WRONGPASS",
    },
    {
      name: "there are too many requests",
      answer: json(429, { error: "Too Many Requests" }),
      kind: "limit",
      retried: true,
    },
    { name: "the server fails", answer: json(500, { error: "internal error" }), kind: "connection", retried: true },
    { name: "the JSON is cut", answer: text(200, '[{"result":"S3CRET'), kind: "protocol", retried: true },
    { name: "HTML comes instead of JSON", answer: text(200, html, "text/html"), kind: "protocol", retried: true },
    { name: "HTML comes with a failure", answer: text(502, html, "text/html"), kind: "protocol", retried: true },
    {
      name: "the JSON is not a list of replies",
      answer: text(200, '{"result":"S3CRET"}'),
      kind: "protocol",
      retried: true,
    },
    { name: "replies are missing", answer: text(200, "[]"), kind: "protocol", retried: true },
    {
      name: "the store is loading",
      answer: (request) => refuseEach(request, "LOADING Redis is loading the dataset in memory"),
      kind: "command",
      code: "LOADING",
      retried: true,
    },
    {
      name: "the store is out of memory",
      answer: (request) => refuseEach(request, "OOM command not allowed when used memory > 'maxmemory'"),
      kind: "command",
      code: "OOM",
    },
    {
      name: "the store is read-only",
      answer: (request) => refuseEach(request, "READONLY You can't write against a read only replica"),
      kind: "command",
      code: "READONLY",
      retried: true,
    },
  ];
  for (const { name, answer, kind, code, retried } of faults) {
    it(`answers misses in time when ${name}`, async () => {
      await served(answer, ({ url }) =>
        using(rest(url, patience(kind)), async (subject) => {
          await assertAway(subject, kind, code);
          assert.equal(subject.retries > 0, retried ?? false, `${subject.retries} retries`);
          const options = rest(url, { timeout: subject.deadline });
          await (kind === "command" || kind === "auth" ? assertAsked(options) : assertLeftAlone(options));
        }),
      );
    });
  }

  const cuts: { name: string; mode: ProxyMode; kind: StoreErrorKind }[] = [
    { name: "the server accepts and never answers", mode: "blackhole", kind: "timeout" },
    { name: "the connection is reset in mid-reply", mode: { resetAfter: 20 }, kind: "connection" },
    { name: "the connection drops in place of every reply", mode: "drop", kind: "connection" },
  ];
  for (const { name, mode, kind } of cuts) {
    it(`answers misses in time when ${name}`, async () => {
      await served(bridge({ driver: memory(), token: SECRETS.token }), ({ port }) =>
        proxied(port, (proxy) =>
          using(rest(`http://127.0.0.1:${proxy.port}`, patience(kind)), async (subject) => {
            assert.equal(await subject.cache.set("warm", SECRETS.value, { timeout: PATIENCE }), true);
            await proxy.set(mode);
            await assertAway(subject, kind);
            await assertLeftAlone(rest(`http://127.0.0.1:${proxy.port}`, { timeout: subject.deadline }));
          }),
        ),
      );
    });
  }

  it("repeats within the deadline when the limit of requests has passed soon", async () => {
    const behind = bridge({ driver: memory(), token: SECRETS.token });
    let requests = 0;
    const answer = (request: Request) =>
      ++requests === 1 ? Response.json({ error: "Too Many Requests" }, { status: 429 }) : behind(request);
    await served(answer, ({ url }) =>
      using(rest(url), async (subject) => {
        assert.deepEqual(await Promise.all([subject.cache.set("a", "1"), subject.cache.increment("n")]), [true, 1]);
        assert.deepEqual([subject.errors.length, subject.retries, requests], [0, 1, 2]);
      }),
    );
  });

  it("works again by itself when the server has restarted", async () => {
    const driver = memory();
    const handler = bridge({ driver, token: SECRETS.token });
    let server = await serve(handler);
    try {
      await using(rest(server.url), async ({ cache }) => {
        assert.equal(await cache.set("a", "1"), true);
        await server.close();
        assert.equal(await cache.get("a"), undefined);
        server = await listen(handler, { port: server.port });
        assert.equal(await cache.get("a"), "1");
      });
    } finally {
      await server.close();
      await driver.close();
    }
  });

  it("counts once and repeats a set when the connection drops after execution", async () => {
    const driver = memory();
    const seen: Command[] = [];
    const watched = {
      ...driver,
      name: driver.name,
      capabilities: driver.capabilities,
      close: () => driver.close(),
      send(database: number, commands: readonly Command[]) {
        seen.push(...commands);
        return driver.send(database, commands);
      },
    };
    await served(bridge({ driver: watched, token: SECRETS.token }), ({ port }) =>
      proxied(port, (proxy) =>
        using(rest(`http://127.0.0.1:${proxy.port}`), async (subject) => {
          const { cache, client } = subject;
          const { incrementRateLimit } = client.service("auth");
          await cache.increment("once");
          assert.equal((await incrementRateLimit("ip")).count, 1);
          await proxy.set("drop");
          assert.equal(await cache.increment("once"), 0);
          assert.equal((await incrementRateLimit("ip", { onUnavailable: "allow" })).count, 0);
          await proxy.set("pass");
          assert.equal(await cache.get("once"), 2);
          assert.equal((await incrementRateLimit("ip")).count, 3);
          assert.deepEqual(
            subject.errors.map(({ kind }) => kind),
            ["connection", "connection"],
          );
          assert.equal(subject.retries, 0);

          await proxy.set("drop");
          client.subscribe((event) => void (event.type === "retry" && proxy.set("pass")));
          seen.length = 0;
          assert.equal(await cache.set("twice", SECRETS.value), true);
          assert.equal(subject.retries, 1);
          const text = `{"json":"${SECRETS.value}"}`;
          const script = ["EVAL", storeEntry.lua, 2, "db9:twice", "db9:#larder:clock", text, 3_600_000];
          const sent = seen.map((command) => command.slice(0, script.length).map(String));
          assert.deepEqual(sent, [script.map(String), script.map(String)]);
          assert.equal(await cache.get("twice"), SECRETS.value);
        }),
      ),
    );
  });

  it("keeps the order of one key's calls when the first request is delayed, and delays no other key", async () => {
    const behind = bridge({ driver: memory(), token: SECRETS.token });
    let arrive = () => {};
    let release = () => {};
    const arrived = new Promise<void>((done) => {
      arrive = done;
    });
    const released = new Promise<void>((done) => {
      release = done;
    });
    let requests = 0;
    const answer = async (request: Request) => {
      if (++requests === 1) {
        arrive();
        await released;
      }
      return behind(request);
    };
    await served(answer, ({ url }) =>
      using(rest(url), async ({ cache }) => {
        const order: string[] = [];
        const first = cache.set("k", "1").then(() => order.push("first"));
        await arrived;
        const second = cache.set("k", "2").then(() => order.push("second"));
        const read = cache.get("k").then((value) => order.push(`read ${value}`));
        const other = cache.set("other", "1").then(() => order.push("other"));
        await other;
        release();
        await Promise.all([first, second, read, other]);
        assert.deepEqual(order.slice(0, 2), ["other", "first"]);
        assert.deepEqual(order.slice(2).sort(), ["read 2", "second"]);
        assert.equal(await cache.get("k"), "2");
      }),
    );
  });

  it("keeps the order of one key's calls when the first is repeated", async () => {
    const behind = bridge({ driver: memory(), token: SECRETS.token });
    let requests = 0;
    const answer = (request: Request) =>
      ++requests <= 2 ? Response.json({ error: "Too Many Requests" }, { status: 429 }) : behind(request);
    await served(answer, ({ url }) =>
      using(rest(url), async ({ cache, errors }) => {
        const first = cache.set("k", "1");
        await sleep(5);
        assert.deepEqual(await Promise.all([first, cache.set("k", "2"), cache.get("k")]), [true, true, "2"]);
        assert.equal(errors.length, 0);
      }),
    );
  });
});

describe("rate limits while the store is away", () => {
  const stores: {
    name: string;
    open(run: (options: ClientOptions) => Promise<void>): Promise<void>;
    kind: StoreErrorKind;
  }[] = [
    {
      name: "TCP is refused",
      kind: "connection",
      open: async (run) => run(tcp(await freePort())),
    },
    {
      name: "TCP is a black hole",
      kind: "timeout",
      open: (run) =>
        proxied(redis.port, async (proxy) => {
          await proxy.set("blackhole");
          await run(tcp(proxy.port));
        }),
    },
    {
      name: "REST is a black hole",
      kind: "timeout",
      open: (run) =>
        proxied(redis.port, async (proxy) => {
          await proxy.set("blackhole");
          await run(rest(`http://127.0.0.1:${proxy.port}`));
        }),
    },
  ];
  for (const { name, kind, open } of stores) {
    it(`answer what onUnavailable says, and deny by default, when ${name}`, async () => {
      await open((options) =>
        using({ ...options, ...patience(kind) }, async (subject) => {
          const { checkRateLimit, incrementRateLimit } = subject.client.service("auth");
          const limit = { limit: 5, window: "1m" } as const;
          const watch = new Watch();
          const [byDefault, deny, allow, thrown, counted, allowed, countThrown] = await Promise.allSettled([
            checkRateLimit("a", limit),
            checkRateLimit("b", { ...limit, onUnavailable: "deny", algorithm: "sliding" }),
            checkRateLimit("c", { ...limit, onUnavailable: "allow", algorithm: "token-bucket" }),
            checkRateLimit("d", { ...limit, onUnavailable: "throw" }),
            incrementRateLimit("e"),
            incrementRateLimit("f", { onUnavailable: "allow" }),
            incrementRateLimit("g", { onUnavailable: "throw" }),
          ]);
          watch.check("every limit", subject.deadline);
          for (const outcome of [byDefault, deny]) {
            assert.ok(outcome?.status === "fulfilled" && !outcome.value.allowed && !outcome.value.available);
            assert.ok("retryAfter" in outcome.value && outcome.value.retryAfter > 0);
          }
          assert.ok(allow?.status === "fulfilled" && allow.value.allowed && !allow.value.available);
          assert.ok(thrown?.status === "rejected" && (thrown.reason as StoreError).kind === kind);
          assert.ok(counted?.status === "fulfilled" && counted.value.count === Number.POSITIVE_INFINITY);
          assert.ok(allowed?.status === "fulfilled" && allowed.value.count === 0 && !allowed.value.available);
          assert.ok(countThrown?.status === "rejected" && (countThrown.reason as StoreError).kind === kind);
          assert.deepEqual(
            subject.errors.map((error) => error.kind),
            Array.from({ length: 7 }, () => kind),
          );
          assert.equal(subject.client.stats().services.auth?.errors, 7);
        }),
      );
    });
  }
});

describe("verbs of services while the store is away", () => {
  it("answer nothing, and throw when they are to", async () => {
    await using(tcp(await freePort()), async (subject) => {
      const { client } = subject;
      const { updateCart, invalidateOrder } = client.service("order");
      const cart = { items: [{ productId: 1, quantity: 1, note: SECRETS.value }] };
      const watch = new Watch();
      const answers = await Promise.all([
        updateCart("u", () => cart),
        invalidateOrder("o"),
        client.service("product").invalidateProduct(1),
        client.service("auth").revokeUser("u"),
        client.service("auth").sessions.get(SECRETS.token),
      ]);
      watch.check("every verb", subject.deadline);
      assert.deepEqual(answers, [undefined, false, false, false, undefined]);
      await assert.rejects(
        updateCart("u", () => cart, { onError: "throw" }),
        { name: "StoreError", kind: "connection" },
      );
      await assert.rejects(client.service("auth").revokeUser("u", { onError: "throw" }), { name: "StoreError" });
    });
  });

  it("invalidate verbs answer false, or throw, when the store takes only a part of them", async () => {
    const store = memory();
    const driver: Driver = {
      ...store,
      async send(database, commands, options) {
        const replies = await store.send(database, commands, options);
        return replies.map((reply, i) =>
          commands[i]?.[0] === "UNLINK" ? new StoreError("command", "NOPERM no permissions to run UNLINK") : reply,
        );
      },
    };
    const verbs: ((client: CacheClient, options?: CallOptions) => Promise<boolean>)[] = [
      (client, options) => client.service("product").invalidateProduct(1, options),
      (client, options) => client.service("product").invalidateCategory(1, options),
      (client, options) => client.service("order").invalidateOrder(1, { ...options, userId: "u" }),
      (client, options) => client.service("user").invalidateUser(1, options),
    ];
    for (const verb of verbs) {
      const call = (onError: "miss" | "throw" | undefined, options?: CallOptions): Promise<boolean> =>
        verb(createCacheClient({ env: {}, driver, logger: false, ...(onError && { onError }) }), options);
      assert.equal(await call(undefined), false);
      assert.equal(await call("throw", { onError: "miss" }), false);
      await assert.rejects(call("throw"), { name: "StoreError" });
      // An option that is undefined is left out.
      await assert.rejects(call("throw", { onError: undefined } as never), { name: "StoreError" });
    }
  });

  it("a client that throws by default does so, and a call can want misses", async () => {
    await using(tcp(await freePort(), { onError: "throw" }), async ({ cache, client }) => {
      await assert.rejects(cache.get("a"), { name: "StoreError", kind: "connection" });
      await assert.rejects(
        cache.getOrSet("a", () => assert.fail("loaded")),
        { name: "StoreError" },
      );
      assert.equal(await cache.get("a", { onError: "miss" }), undefined);
      await assert.rejects(client.connect(), { name: "StoreError" });
    });
  });

  it("bad arguments throw while the store is away as they do else", async () => {
    await using(tcp(await freePort()), async ({ cache, errors, client }) => {
      const bad = 0 as number;
      await assert.rejects(cache.increment(""), TypeError);
      await assert.rejects(cache.increment("a", { ttl: -1 }), RangeError);
      await assert.rejects(cache.increment("a", { timeout: bad }), RangeError);
      await assert.rejects(cache.clear({ timeout: bad }), RangeError);
      await assert.rejects(cache.get("a", { timeout: bad }), RangeError);
      await assert.rejects(cache.keys("*", { timeout: bad }).next(), RangeError);
      await assert.rejects(
        client.service("order").updateCart("u", () => undefined, { timeout: bad }),
        RangeError,
      );
      await assert.rejects(
        client.service("auth").checkRateLimit("u", { limit: 1, window: "1m", timeout: bad }),
        RangeError,
      );
      assert.equal(errors.length, 0);
      assert.equal(client.stats().wire.commands, 0);
    });
  });
});

describe("the process", () => {
  /** Milliseconds from the answer to the end of a process: less than node-redis waits for a connection. */
  const EXIT = 3000;

  /** Runs code that can use `createCacheClient` in a process of its own, which must end by itself. */
  async function run(code: string): Promise<{ output: string; took: number }> {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const mod = new URL(`../mod.${extension}`, import.meta.url).href;
    const script = `
      import process from "node:process";
      import { createCacheClient } from ${JSON.stringify(mod)};
      process.on("exit", (code) => console.log("exit", code, Math.round(performance.now() - answered)));
      ${code}
      const answered = performance.now();`;
    const flags = process.versions.bun ? ["-e"] : "Deno" in globalThis ? ["eval"] : ["--input-type=module", "-e"];
    const child = spawn(process.execPath, [...flags, script], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += chunk;
      });
    }
    const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
    await once(child, "close");
    clearTimeout(timer);
    assert.doesNotMatch(output, /S3CRET|[Uu]nhandled|Uncaught/);
    const [, took] = /exit 0 (\d+)/.exec(output) ?? assert.fail(`did not exit by itself: ${output}`);
    return { output, took: Number(took) };
  }

  /** Returns code with a client that is not closed; it awaits only one of the calls. */
  const script = (options: ClientOptions) => `
    const client = createCacheClient({ env: {}, timeout: 400, logger: console, ...${JSON.stringify(options)} });
    const cache = client.cache();
    void cache.set("a", ${JSON.stringify(SECRETS.value)});
    void cache.increment("n");
    void client.service("product").products.get(1);
    console.log("answer", typeof (await cache.get("a")));`;

  const stores: { name: string; open(run: (options: ClientOptions) => Promise<void>): Promise<void> }[] = [
    { name: "memory", open: (run) => run({ driver: "memory" }) },
    { name: "TCP is refused", open: async (run) => run(tcp(await freePort(), { password: SECRETS.password })) },
    {
      name: "TCP is a black hole",
      open: (run) =>
        proxied(redis.port, async (proxy) => {
          await proxy.set("blackhole");
          await run(tcp(proxy.port, { password: SECRETS.password }));
        }),
    },
    { name: "REST is refused", open: async (run) => run(rest(`http://127.0.0.1:${await freePort()}`)) },
    {
      name: "REST is a black hole",
      open: (run) =>
        proxied(redis.port, async (proxy) => {
          await proxy.set("blackhole");
          await run(rest(`http://127.0.0.1:${proxy.port}`));
        }),
    },
  ];
  for (const { name, open } of stores) {
    it(`ends by itself, without a word of secrets, when the store is ${name}`, async () => {
      await open(async (options) => {
        const { output, took } = await run(script(options));
        if (name === "memory") assert.doesNotMatch(output, /answer undefined/);
        else assert.match(output, /answer undefined/);
        assert.ok(took < EXIT, output);
      });
    });
  }

  it("ends by itself when TCP answered and the client was not closed", async () => {
    const { output, took } = await run(`
      const client = createCacheClient({ env: {}, timeout: 5000, ...${JSON.stringify(tcp(redis.port))} });
      await client.cache().set("mine", 1);
      console.log("answer", await client.cache().get("mine"));`);
    assert.match(output, /answer 1/);
    assert.ok(took < EXIT, output);
  });

  it("ends by itself when REST answered and the client was not closed", async () => {
    await served(bridge({ driver: memory(), token: SECRETS.token }), async ({ url }) => {
      const { output } = await run(`
        const client = createCacheClient({ env: {}, timeout: 5000, ...${JSON.stringify(rest(url))} });
        await client.cache().set("mine", 1);
        console.log("answer", await client.cache().get("mine"));`);
      assert.match(output, /answer 1/);
    });
  });
});
