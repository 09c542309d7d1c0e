/** Two servers and a name that leads to the primary: after a failover the connections to the other one stay open. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { createClient } from "redis";
import { type Driver, errorReply, isDenial, type StoreError } from "../drivers/driver.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type CacheClient, type CacheEvent, type ClientOptions, createCacheClient } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { metricsHandler, monitor } from "../src/monitor/mod.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { eventually } from "./helpers/eventually.ts";
import { type FaultProxy, startProxy } from "./helpers/proxy.ts";
import { before7, type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const LIMIT = { timeout: 60_000 };
let servers: [RedisServer, RedisServer];
let proxy: FaultProxy;
/** Which of the two is the primary. */
let primary = 0;

const portOf = (index: number): number => servers[index]?.port as number;
const say = (index: number, name: string, ...args: (string | number)[]) => rawCommand(portOf(index), [name, ...args]);

/** Makes the other one the primary, to which the name leads from then on. */
async function failover(): Promise<void> {
  const old = primary;
  primary = 1 - old;
  await say(primary, "REPLICAOF", "NO", "ONE");
  await say(old, "REPLICAOF", "127.0.0.1", portOf(primary));
  proxy.lead(portOf(primary));
  await inStep();
}

/** Waits until the replica has what the primary has. */
async function inStep(): Promise<void> {
  await eventually(async () => {
    const [of, at] = await Promise.all([primary, 1 - primary].map((index) => say(index, "INFO", "replication")));
    const [, offset] = /master_repl_offset:(\d+)/.exec(String(of)) ?? [];
    return new RegExp(`master_link_status:up[^]*slave_repl_offset:${offset}\\b`).test(String(at));
  });
}

before(async () => {
  servers = await Promise.all([startRedis(), startRedis()]);
  proxy = await startProxy(portOf(0));
  await say(1, "REPLICAOF", "127.0.0.1", portOf(0));
  await inStep();
});
beforeEach(async () => {
  await say(primary, "FLUSHALL");
  await inStep();
});
after(async () => {
  await proxy?.stop();
  await Promise.all((servers ?? []).map((server) => server.stop()));
});

/** Runs a function with a client of the name, after a write. Its events are recorded. */
async function using(
  options: ClientOptions,
  run: (client: CacheClient, events: CacheEvent[]) => Promise<void>,
): Promise<void> {
  const url = `redis://127.0.0.1:${proxy.port}`;
  const client = createCacheClient({
    env: {},
    ...(options.driver === undefined && { url }),
    timeout: 10_000,
    logger: false,
    ...options,
  });
  const events: CacheEvent[] = [];
  client.subscribe((event) => events.push(event));
  try {
    await run(client, events);
  } finally {
    await client.close();
  }
}

const errorsOf = (events: readonly CacheEvent[]): string[] =>
  events.flatMap((event) => (event.type === "error" ? [event.error.message] : []));

describe("errorReply of a server that is not the primary", () => {
  const inScript = "ERR Error running script (call to f_1028a5dba704e1d8a01fd96efeba25bb78f62df2): @user_script:4: ";
  const denials = {
    "READONLY You can't write against a read only replica.": "READONLY",
    "READONLY You can't write against a read only replica. script: beef354d, on @user_script:1.": "READONLY",
    [`${inScript}@user_script: 4: -READONLY You can't write against a read only replica.`]: "READONLY",
    "@user_script: 37: -READONLY You can't write against a read only replica.": "READONLY",
    "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.": "READONLY",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "MASTERDOWN",
    "LOADING Redis is loading the dataset in memory": "LOADING",
  };
  for (const [text, code] of Object.entries(denials)) {
    it(`errorReply allows to repeat all commands when the text is ${text.slice(0, 40)}, and keeps the text`, () => {
      const error = errorReply(text);
      assert.deepEqual([error.code, error.repeat, error.message, isDenial(error)], [code, "all", text, true]);
    });
  }

  it("errorReply allows no repetition when the error of a script is another one", () => {
    for (const text of [
      `${inScript}@user_script: 4: -WRONGTYPE no`,
      "ERR the key is 'x -READONLY y'",
      "EXECABORT Transaction discarded because of previous errors.",
    ]) {
      assert.deepEqual([errorReply(text).repeat, isDenial(errorReply(text))], ["none", false], text);
    }
  });
});

describe("a client after a failover", () => {
  type Verb = (client: CacheClient) => Promise<unknown>;
  const verbs: Readonly<Record<string, [run: Verb, right: unknown]>> = {
    set: [(client) => client.cache().set("k", 1), true],
    setMany: [
      (client) =>
        client.cache().setMany([
          ["a", 1],
          ["b", 2],
        ]),
      2,
    ],
    delete: [(client) => client.cache().delete("kept"), 1],
    "delete by several callers": [
      (client) => Promise.all([client.cache().delete("kept"), client.cache().delete("none")]),
      [1, 0],
    ],
    expire: [(client) => client.cache().expire("kept", "1m"), true],
    increment: [(client) => client.cache().increment("n"), 2],
    "increment of several in one tick": [
      async (client) => (await Promise.all([1, 2, 3].map(() => client.cache().increment("n")))).sort(),
      [2, 3, 4],
    ],
    invalidateTags: [(client) => client.cache().invalidateTags("t"), true],
    update: [(client) => client.cache<number>().update("kept", (old = 0) => old + 1), 8],
    getOrSet: [
      (client) =>
        client
          .cache()
          .getOrSet("loaded", () => "v")
          .then(() => say(primary, "EXISTS", "loaded")),
      1,
    ],
    withLock: [(client) => client.cache().withLock("job", () => "done"), "done"],
    clear: [(client) => client.cache().clear(), 2],
    incrementRateLimit: [async (client) => (await client.service("auth").incrementRateLimit("u")).count, 1],
    "a read of what was written in the same tick": [
      async (client) => {
        const cache = client.cache();
        return (await Promise.all([cache.set("kept", "new"), cache.get("kept")]))[1];
      },
      "new",
    ],
  };
  for (const [verb, [run, right]] of Object.entries(verbs)) {
    it(`${verb} works at the first call after a failover`, LIMIT, async () => {
      await using({}, async (client, events) => {
        const cache = client.cache();
        await cache.set("kept", 7);
        await cache.increment("n");
        await client.service("auth").clear();
        await inStep();
        await failover();
        assert.deepEqual(await run(client), right);
        assert.deepEqual(errorsOf(events), []);
        assert.equal((await client.health()).ok, true);
      });
    });
  }

  it("a client also replaces the connections of other databases, and all of a pool", LIMIT, async () => {
    await using({ pool: { size: 3 } }, async (client) => {
      const caches = [0, 1, 2].map((database) => client.cache({ database }));
      await Promise.all(caches.map((cache) => Promise.all(Array.from({ length: 20 }, (_, i) => cache.set(i, i)))));
      await failover();
      assert.equal(await caches[0]?.set("k", 1), true);
      // The old one keeps none of the client's connections, so nothing is read from it any more.
      await eventually(async () => {
        const list = String(await say(1 - primary, "CLIENT", "LIST", "TYPE", "normal"));
        return list.trim().split("\n").length === 1;
      });
      for (const cache of caches) assert.equal(await cache.get(1), 1);
    });
  });

  it("a client counts each increment once during a failover", LIMIT, async () => {
    await using({ retries: 10 }, async (client) => {
      const cache = client.cache();
      let answered = 0;
      let stop = false;
      const worker = async () => {
        while (!stop) if ((await cache.increment("n")) > 0) answered++;
      };
      const workers = [worker(), worker(), worker()];
      await eventually(() => answered > 50);
      // The old server must have no command in flight that the new one has not received.
      await say(primary, "CLIENT", "PAUSE", 60_000, "WRITE");
      const old = primary;
      await eventually(async () => {
        const [theirs, ours] = await Promise.all([say(0, "GET", "n"), say(1, "GET", "n")]);
        return theirs === ours;
      });
      await failover();
      await say(old, "CLIENT", "UNPAUSE");
      const before = answered;
      await eventually(() => answered > before + 50);
      stop = true;
      await Promise.all(workers);
      assert.equal(Number(await say(primary, "GET", "n")), answered);
    });
  });

  it("a client replaces the connection for invalidation messages", LIMIT, async () => {
    await using({ near: true }, async (client, events) => {
      const cache = client.cache<number>();
      await cache.set("k", 1);
      const near = async () => {
        const { nearHits } = client.stats();
        await cache.get("k");
        return client.stats().nearHits > nearHits;
      };
      await eventually(near);
      await inStep();
      await failover();
      await cache.set("other", 1);
      await eventually(() => events.some((event) => event.type === "near-invalidate" && event.reason === "lost"));
      await eventually(near);
      assert.match(String(await say(primary, "INFO", "clients")), /tracking_clients:1/);
      await using({}, (other) =>
        other
          .cache()
          .set("k", 2)
          .then(() => {}),
      );
      await eventually(async () => (await cache.get("k")) === 2);
    });
  });

  it("a client notices a failover without a write, because it asks a server in use for its role", LIMIT, async () => {
    await using({}, async (client) => {
      const cache = client.cache();
      await cache.set("k", 1);
      const { now } = performance;
      let ahead = 0;
      performance.now = () => now.call(performance) + ahead;
      try {
        ahead += 11_000;
        await cache.get("k");
        await failover();
        ahead += 11_000;
        await cache.get("k");
        await eventually(async () => (await connections(1 - primary)) === 0);
      } finally {
        performance.now = now;
      }
      assert.equal(await cache.get("k"), 1);
      assert.equal(await connections(primary), 1);
    });
  });
});

/** Returns the number of connections of a server, except the one that asks. */
async function connections(index: number): Promise<number> {
  return (
    String(await say(index, "CLIENT", "LIST", "TYPE", "normal"))
      .trim()
      .split("\n").length - 1
  );
}

describe("a client that is pointed at a replica", () => {
  /** Runs with a client of the replica, and a proxy in front of it. */
  async function ofReplica(
    options: ClientOptions,
    run: (client: CacheClient, front: FaultProxy, events: CacheEvent[]) => Promise<void>,
  ): Promise<void> {
    const front = await startProxy(portOf(1 - primary));
    try {
      await using({ url: `redis://127.0.0.1:${front.port}`, ...options }, (client, events) =>
        run(client, front, events),
      );
    } finally {
      await front.stop();
    }
  }

  it("a client of a replica continues to read, and opens few connections however often it writes", LIMIT, async () => {
    await say(primary, "SET", "k", "1");
    await inStep();
    await ofReplica({ retries: 0 }, async (client, front) => {
      const cache = client.cache();
      const start = performance.now();
      let round = 0;
      for (; round < 300 || performance.now() - start < 1500; round++) {
        const answers = await Promise.all([cache.get("k"), cache.set("k", 2), cache.increment("n"), cache.get("k")]);
        assert.deepEqual(answers, [1, false, 0, 1]);
      }
      // 50, 100, 200, 400, 800 ms, then a second each.
      const most = 6 + (performance.now() - start) / 1000;
      assert.ok(front.accepted >= 2 && front.accepted <= most, `${front.accepted} connections, ${round} rounds`);
    });
  });

  it("a client of a replica continues to read when no other connection can be opened", LIMIT, async () => {
    await say(primary, "SET", "k", "1");
    await inStep();
    await ofReplica({}, async (client, front) => {
      const cache = client.cache();
      assert.equal(await cache.get("k"), 1);
      front.lead(1); // without a listener
      for (let i = 0; i < 3; i++) assert.deepEqual([await cache.set("k", 2), await cache.get("k")], [false, 1]);
    });
  });

  it("health and ready report that reads work and writes do not, and ping succeeds", LIMIT, async () => {
    await ofReplica({}, async (client) => {
      const health = await client.health();
      assert.deepEqual([health.ok, health.reads, health.writes], [false, true, false]);
      assert.match(health.error ?? "", /READONLY/);
      assert.ok((health.latency as number) > 0);
      assert.equal(await client.ping(), true);
      await client.connect();
    });
  });

  it("a client leaves a replica that has lost its primary and refuses reads", LIMIT, async () => {
    const alone = await startRedis({ args: ["--replica-serve-stale-data", "no", "--replicaof", "127.0.0.1 1"] });
    const front = await startProxy(alone.port);
    try {
      await using({ url: `redis://127.0.0.1:${front.port}` }, async (client) => {
        const health = await client.health();
        assert.deepEqual([health.ok, health.reads, health.writes], [false, false, false]);
        assert.match(health.error ?? "", /^MASTERDOWN/);
        // Redis 6.2 answers PING all the same.
        assert.equal(await client.ping(), before7() !== false);
        front.lead(portOf(primary));
        await eventually(() => client.cache().set("k", 1));
        assert.equal((await client.health()).ok, true);
      });
    } finally {
      await front.stop();
      await alone.stop();
    }
  });

  it("a client leaves a server that loads for long, and not one that has soon loaded", LIMIT, async () => {
    const front = await startProxy(portOf(primary));
    try {
      await using({ url: `redis://127.0.0.1:${front.port}`, retries: 0 }, async (client) => {
        const cache = client.cache();
        assert.equal(await cache.set("k", 1), true);
        await front.set({ replace: "-LOADING Redis is loading the dataset in memory\r\n" });
        assert.equal(await cache.get("k"), undefined);
        assert.equal(front.accepted, 1);
        await eventually(async () => {
          await cache.get("k");
          return front.accepted > 1;
        });
        await front.set("pass");
        await eventually(async () => (await cache.get("k")) === 1);
      });
    } finally {
      await front.stop();
    }
  });
});

describe("a ready client after a failover", () => {
  it(
    "is its owner's to reconnect, as the error says, while the driver's own connections are replaced",
    LIMIT,
    async () => {
      const ready = createClient({ url: `redis://127.0.0.1:${proxy.port}` });
      ready.on("error", () => {});
      await ready.connect();
      const driver = nodeRedis({ client: ready as never });
      try {
        await using({ driver, retries: 0 }, async (client, events) => {
          const [lent, own] = [client.cache({ database: 0 }), client.cache({ database: 1 })];
          assert.deepEqual([await lent.set("k", 1), await own.set("k", 1)], [true, true]);
          await inStep();
          await failover();
          assert.deepEqual([await lent.set("k", 2), await lent.get("k")], [false, 1]);
          assert.match(errorsOf(events)[0] ?? "", /READONLY .*: reconnect the ready client/);
          assert.equal(await own.set("k", 2), true);
          const health = await client.health();
          assert.deepEqual([health.reads, health.writes], [true, false]);
          assert.match(health.error ?? "", /reconnect the ready client/);
          await ready.disconnect();
          await ready.connect();
          assert.equal(await lent.set("k", 2), true);
        });
      } finally {
        await driver.close();
        await ready.disconnect();
      }
    },
  );
});

describe("a connection of one's own after a failover", () => {
  it("a connection ends after its pending replies, and the next one leads to the primary", LIMIT, async () => {
    const driver = nodeRedis({ host: "127.0.0.1", port: proxy.port });
    try {
      const connection = (await driver.connect?.(0)) ?? assert.fail();
      await connection.send([["SET", "k", "1"]]);
      await inStep();
      await failover();
      const sends = [
        [
          ["GET", "k"],
          ["SET", "k", "2"],
          ["GET", "k"],
        ],
        [["GET", "k"]],
      ] as const;
      const [first, second] = await Promise.all(sends.map((commands) => connection.send(commands)));
      const text = (reply: unknown) => (reply instanceof Uint8Array ? new TextDecoder().decode(reply) : reply);
      assert.deepEqual([first?.length, text(first?.[0]), text(first?.[2]), text(second?.[0])], [3, "1", "1", "1"]);
      assert.equal((first?.[1] as StoreError | undefined)?.code, "READONLY");
      await assert.rejects(connection.send([["GET", "k"]]), { kind: "connection", repeat: "all" });
      const next = (await driver.connect?.(0)) ?? assert.fail();
      assert.deepEqual(await next.send([["SET", "k", "2"]]), ["OK"]);
    } finally {
      await driver.close();
    }
  });
});

describe("the bridge after a failover", () => {
  let driver: Driver;
  let rest: Listener;
  before(async () => {
    driver = nodeRedis({ host: "127.0.0.1", port: proxy.port });
    rest = await serve(bridge({ driver, token: "t" }));
  });
  after(async () => {
    await rest?.close();
    await driver?.close();
  });

  const post = async (path: string, body: unknown): Promise<unknown> => {
    const init = { method: "POST", headers: { authorization: "Bearer t" }, body: JSON.stringify(body) };
    return (await fetch(`${rest.url}${path}`, init)).json();
  };
  const script = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
  const cases: Readonly<Record<string, [path: string, body: unknown, right: unknown]>> = {
    "a command": ["/", ["INCR", "n"], { result: 2 }],
    "a script": ["/", ["EVAL", script, 1, "n", 5], { result: 6 }],
    "a pipeline": [
      "/pipeline",
      [
        ["GET", "n"],
        ["INCR", "n"],
        ["INCR", "m"],
      ],
      [{ result: "1" }, { result: 2 }, { result: 1 }],
    ],
    "a transaction": [
      "/multi-exec",
      [
        ["INCR", "n"],
        ["EVAL", script, 1, "n", 5],
      ],
      [{ result: 2 }, { result: 7 }],
    ],
  };
  for (const [name, [path, body, right]] of Object.entries(cases)) {
    it(`${name} is executed once, at the first request`, LIMIT, async () => {
      assert.deepEqual(await post("/multi-exec", [["INCR", "n"]]), [{ result: 1 }]);
      await inStep();
      await failover();
      assert.deepEqual(await post(path, body), right);
    });
  }
});

describe("a user without PING", () => {
  it("is answered: connect, ping, health and ready find the store there", LIMIT, async () => {
    const rules = ["reset", "on", ">pw", "~*", "&*", "+@read", "+@write", "+@scripting", "+select"];
    await say(primary, "ACL", "SETUSER", "app", ...rules);
    await using({ url: `redis://app:pw@127.0.0.1:${portOf(primary)}` }, async (client) => {
      const cache = client.cache();
      await client.connect();
      const { ok, reads, writes } = await client.health();
      assert.deepEqual([await cache.set("k", 1), await cache.get("k"), ok, reads, writes], [true, 1, true, true, true]);
      assert.equal(await client.ping(), true);
      await using({ url: `redis://app:pw@127.0.0.1:${portOf(primary)}` }, async () => {
        const watch = monitor(client, { logger: false, clock: () => 0 });
        const ready = await metricsHandler(watch)(new Request("http://localhost/ready"));
        await watch.tick();
        assert.deepEqual([ready.status, watch.snapshot().store?.up], [200, true]);
        await watch.close();
      });
    });
  });

  for (const [what, rules, reads, writes, words] of [
    ["write", ["+@all", "-@scripting"], true, false, /^NOPERM .*'eval/],
    ["read", ["+@all", "-mget"], false, true, /^NOPERM .*'mget'/],
  ] as const) {
    it(`health reports that a user may not ${what}`, LIMIT, async () => {
      await say(primary, "ACL", "SETUSER", "less", "reset", "on", ">pw", "~*", "&*", ...rules);
      await using({ url: `redis://less:pw@127.0.0.1:${portOf(primary)}` }, async (client) => {
        const health = await client.health();
        assert.deepEqual([health.ok, health.reads, health.writes], [false, reads, writes]);
        assert.match(health.error ?? "", words);
      });
    });
  }
});
