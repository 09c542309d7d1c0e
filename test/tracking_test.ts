import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import { createClient as createClient5 } from "redis5";
import { createClient as createClient6 } from "redis6";
import type { Driver, StoreError, Tracker, Tracking } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { type NodeRedisOptions, nodeRedis } from "../drivers/node_redis.ts";
import { eventually } from "./helpers/eventually.ts";
import { startProxy } from "./helpers/proxy.ts";
import { before7, type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { behindProxy, using } from "./helpers/tcp.ts";

let redis: RedisServer;
let port: number;

before(async () => {
  redis = await startRedis();
  port = redis.port;
});
after(() => redis.stop());

/** A tracker that records its calls. */
class Notes implements Tracker {
  readonly told: ("up" | "down" | readonly string[] | null)[] = [];
  invalidate(keys: readonly string[] | null): void {
    this.told.push(keys);
  }
  up(): void {
    this.told.push("up");
  }
  down(): void {
    this.told.push("down");
  }
  /** The reported keys. */
  get keys(): (string | null)[] {
    return this.told.flatMap<string | null>((told) => (typeof told === "string" ? [] : (told ?? [null])));
  }
  count(what: "up" | "down"): number {
    return this.told.filter((told) => told === what).length;
  }
}

function track(driver: Driver, prefix: string, tracker: Tracker, database = 0): Tracking {
  return driver.track?.(database, prefix, tracker) ?? assert.fail("cannot track");
}

/** Starts tracking, and waits until it is in force. */
async function tracked(driver: Driver, prefix: string, database = 0): Promise<Notes & { tracking: Tracking }> {
  const notes = Object.assign(new Notes(), { tracking: undefined as unknown as Tracking });
  notes.tracking = track(driver, prefix, notes, database);
  await eventually(() => notes.told.at(-1) === "up");
  return notes;
}

/** Returns the number of clients of the server that track keys. */
async function trackers(at: number = port): Promise<number> {
  const info = await rawCommand(at, ["INFO", "clients"]);
  return Number(/tracking_clients:(\d+)/.exec(String(info))?.[1] ?? assert.fail(`${info}`));
}

const drivers: Record<string, () => Driver> = {
  memory: () => memory(),
  "node-redis": () => nodeRedis({ port }),
};

for (const [name, create] of Object.entries(drivers)) {
  describe(`track, ${name}`, () => {
    let driver: Driver;
    before(() => {
      driver = create();
    });
    after(() => driver.close());

    it("track reports keys that are written, deleted, given a TTL and flushed", async () => {
      const notes = await tracked(driver, "all:");
      const changes: [readonly [string, ...(string | number)[]], string[]][] = [
        [["SET", "all:a", "1"], ["all:a"]],
        [["SET", "all:a", "2", "PX", 100_000], ["all:a"]],
        [["PERSIST", "all:a"], ["all:a"]],
        [["PEXPIRE", "all:a", 100_000], ["all:a"]],
        [["GETEX", "all:a", "PERSIST"], ["all:a"]],
        [
          ["MSET", "all:b", "1", "all:c", "1"],
          ["all:b", "all:c"],
        ],
        [["INCR", "all:b"], ["all:b"]],
        [["HSET", "all:h", "x", 1, "y", 2], ["all:h"]],
        [["HDEL", "all:h", "x"], ["all:h"]],
        [["HINCRBY", "all:h", "y", 1], ["all:h"]],
        [["DEL", "all:a", "all:none"], ["all:a"]],
        [
          ["UNLINK", "all:b", "all:c"],
          ["all:b", "all:c"],
        ],
        [["PEXPIRE", "all:h", 0], ["all:h"]],
        [["SET", "all:phở", "1"], ["all:phở"]],
      ];
      for (const [command, keys] of changes) {
        notes.told.length = 0;
        await driver.send(0, [command]);
        await eventually(() => notes.keys.length >= keys.length);
        assert.deepEqual(notes.keys.toSorted(), keys, `${command}`);
      }
      notes.told.length = 0;
      await driver.send(0, [
        ["GET", "all:phở"],
        ["GET", "all:none"],
        ["DEL", "all:none"],
        ["HGETALL", "all:none"],
        ["SET", "all:phở", "1", "NX"],
        ["SET", "all:last", "1"],
      ]);
      await eventually(() => notes.keys.length > 0);
      assert.deepEqual(notes.keys, ["all:last"]);
      for (const flush of ["FLUSHDB", "FLUSHALL"]) {
        notes.told.length = 0;
        await driver.send(0, [["SET", "all:flushed", "1"], [flush]]);
        await eventually(() => notes.keys.includes(null));
      }
      await notes.tracking.close();
    });

    it("track reports to each tracker its own keys", async () => {
      const wide = await tracked(driver, "p:");
      const narrow = await tracked(driver, "p:q:");
      const other = await tracked(driver, "other[*]:");
      await eventually(() => wide.told.at(-1) === "up" && narrow.told.at(-1) === "up");
      await driver.send(0, [["MSET", "p:1", "1", "p:q:1", "1", "other[*]:1", "1", "other*:1", "1", "else", "1"]]);
      await eventually(() => wide.keys.length === 2 && narrow.keys.length === 1 && other.keys.length === 1);
      assert.deepEqual(wide.keys.toSorted(), ["p:1", "p:q:1"]);
      assert.deepEqual(narrow.keys, ["p:q:1"]);
      assert.deepEqual(other.keys, ["other[*]:1"]);

      await wide.tracking.close();
      await wide.tracking.close();
      await driver.send(0, [["MSET", "p:2", "1", "p:q:2", "1"]]);
      await eventually(() => narrow.keys.length === 2);
      assert.equal(wide.keys.length, 2);
      assert.ok(narrow.keys.includes("p:q:2"));
      for (const { tracking } of [narrow, other]) await tracking.close();
    });

    it("track reports every key when the prefix is empty", async () => {
      const notes = await tracked(driver, "", 2);
      await driver.send(2, [["SET", "anything", "1"]]);
      await eventually(() => notes.keys.length > 0);
      assert.deepEqual(notes.keys, ["anything"]);
      await notes.tracking.close();
    });

    it("track reports the keys of a numbered database", async () => {
      const notes = await tracked(driver, "db:", 5);
      await driver.send(5, [["SET", "db:5", "1"]]);
      await eventually(() => notes.keys.includes("db:5"));
      await notes.tracking.close();
    });

    it("track calls down when the driver is closed, and nothing after it", async () => {
      const driver = create();
      const notes = await tracked(driver, "c:");
      await driver.close();
      assert.deepEqual(notes.told, ["up", "down"]);
      await notes.tracking.close();
      const late = new Notes();
      const tracking = track(driver, "c:", late);
      await sleep(20);
      await tracking.close();
      assert.deepEqual([late.told, notes.told], [[], ["up", "down"]]);
    });
  });
}

describe("track, memory", () => {
  it("track calls up at once, and reports each key once before the replies are there", async () => {
    const driver = memory();
    const notes = new Notes();
    track(driver, "a", notes);
    assert.deepEqual(notes.told, ["up"]);
    const sent = driver.send(0, [
      ["SET", "a1", "1"],
      ["SET", "a1", "2"],
      ["SET", "b", "1"],
      ["DEL", "a2"],
      ["SET", "a3", "1"],
    ]);
    assert.deepEqual(notes.told, ["up", ["a1", "a3"]]);
    await sent;
    await driver.send(0, [["GET", "a1"]]);
    assert.equal(notes.told.length, 2);
  });

  it("track reports evicted keys, and expired ones when the store notices them", async () => {
    let now = 1000;
    const driver = memory({ maxEntries: 2, clock: () => now });
    const notes = new Notes();
    track(driver, "", notes);
    await driver.send(0, [["MSET", "a", "1", "b", "1"]]);
    await driver.send(0, [["SET", "c", "1", "PX", 10]]);
    assert.deepEqual(notes.told.at(-1), ["c", "a"]);
    now += 11;
    await driver.send(0, [["GET", "c"]]);
    assert.deepEqual(notes.told.at(-1), ["c"]);
  });

  it("a tracker may send commands", async () => {
    const driver = memory();
    const seen: string[] = [];
    let again: Promise<unknown> | undefined;
    track(driver, "", {
      invalidate(keys) {
        seen.push(...(keys ?? []));
        if (seen.length === 1) again = driver.send(7, [["SET", "again", "1"]]);
      },
      up() {},
      down() {},
    });
    const replies = await driver.send(1, [
      ["SET", "first", "1"],
      ["GET", "first"],
    ]);
    await again;
    assert.deepEqual(replies, ["OK", "1"]);
    assert.deepEqual(seen, ["first", "again"]);
    assert.deepEqual(await driver.send(1, [["GET", "again"]]), [null]);
  });
});

describe("track, node-redis", () => {
  it("track opens one connection for all trackers of all databases, and closes it with the last one", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      const first = Array.from({ length: 20 }, (_, i) => {
        const notes = new Notes();
        return { notes, tracking: track(driver, `n:${i % 10}:`, notes, i % 4) };
      });
      await eventually(() => first.every(({ notes }) => notes.told.at(-1) === "up"));
      assert.equal(await trackers(), 1);
      assert.equal(proxy.accepted, 1);
      const covered = new Notes();
      const tracking = track(driver, "n:1:more", covered, 9);
      assert.deepEqual(covered.told, ["up"]);
      for (const { tracking } of first) await tracking.close();
      assert.equal(await trackers(), 1);
      await tracking.close();
      await eventually(async () => proxy.open === 0 && (await trackers()) === 0);
      assert.deepEqual(covered.told, ["up"]);
      const again = await tracked(driver, "n:");
      assert.equal(await trackers(), 1);
      await again.tracking.close();
    });
  });

  it("track calls down and up on all trackers when a prefix is added that is not covered", async () => {
    await using({ port }, async (driver) => {
      const first = await tracked(driver, "add:a");
      const second = await tracked(driver, "add:");
      assert.deepEqual(first.told, ["up", "down", "up"]);
      assert.deepEqual(second.told, ["up"]);
      await eventually(async () => (await trackers()) === 1);
      await rawCommand(port, ["SET", "add:a", "1"]);
      await eventually(() => first.keys.length === 1 && second.keys.length === 1);
    });
  });

  it("track reports keys that expire", async () => {
    await using({ port }, async (driver) => {
      const notes = await tracked(driver, "ttl:");
      await driver.send(3, [["SET", "ttl:a", "1", "PX", 30]]);
      await eventually(() => notes.keys.length === 2);
      assert.deepEqual(notes.keys, ["ttl:a", "ttl:a"]);
    });
  });

  it("track calls down when the connection is lost, and up when it is back", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      const notes = await tracked(driver, "lost:");
      for (let round = 1; round <= 3; round++) {
        await proxy.set("refuse");
        await eventually(() => notes.count("down") === round);
        await rawCommand(port, ["SET", "lost:key", "1"]);
        await sleep(20);
        assert.equal(notes.told.at(-1), "down");
        await proxy.set("pass");
        await eventually(() => notes.count("up") === round + 1);
        await rawCommand(port, ["SET", `lost:${round}`, "1"]);
        await eventually(() => notes.keys.includes(`lost:${round}`));
      }
      assert.ok(!notes.keys.includes("lost:key"));
    });
  });

  it("track calls down when the server answers no PING, and up when it does again", async () => {
    await behindProxy(port, { pingInterval: 30, connectTimeout: 500 }, async (driver, proxy) => {
      const notes = await tracked(driver, "silent:");
      await proxy.set("blackhole");
      await eventually(() => notes.told.includes("down"));
      await proxy.set("pass");
      await eventually(() => notes.told.at(-1) === "up");
    });
  });

  it("a tracker stays up when nothing changes and PINGs are answered", async () => {
    await behindProxy(port, { pingInterval: 5, connectTimeout: 10_000 }, async (driver, proxy) => {
      const notes = await tracked(driver, "quiet:");
      await sleep(100);
      assert.deepEqual(notes.told, ["up"]);
      assert.equal(proxy.accepted, 1);
    });
  });

  it("a tracker comes up when the server starts later, and again after a restart", async () => {
    let server = await startRedis();
    const { port } = server;
    await server.stop();
    const driver = nodeRedis({ port });
    const notes = new Notes();
    try {
      track(driver, "", notes);
      await sleep(100);
      assert.deepEqual(notes.told, []);
      for (let round = 1; round <= 2; round++) {
        server = await startRedis({ port });
        await eventually(() => notes.count("up") === round);
        await server.stop();
        await eventually(() => notes.count("down") === round);
      }
    } finally {
      await driver.close();
      await server.stop();
    }
  });

  it("a tracker stays down with no open connection when the server refuses, and comes up when it agrees", async () => {
    const server = await startRedis();
    try {
      await rawCommand(server.port, ["ACL", "SETUSER", "default", before7() ? "-client" : "-client|tracking"]);
      await using({ port: server.port }, async (driver) => {
        const notes = new Notes();
        track(driver, "a:", notes);
        const stats = async () => String(await rawCommand(server.port, ["INFO", "commandstats"]));
        await eventually(async () => /client(\|tracking)?:.*rejected_calls=[1-9]/.test(await stats()));
        await eventually(async () => {
          const list = String(await rawCommand(server.port, ["CLIENT", "LIST"]));
          return list.trim().split("\n").length === 1;
        });
        assert.deepEqual(await driver.send(0, [["SET", "a:1", "1"]]), ["OK"]);
        assert.deepEqual(notes.told, []);
        await rawCommand(server.port, ["ACL", "SETUSER", "default", "+@all"]);
        await eventually(() => notes.told.length > 0);
        assert.deepEqual(notes.told, ["up"]);
        assert.equal(await trackers(server.port), 1);
      });
    } finally {
      await server.stop();
    }
  });

  it("refused receives the words of the server and the missing permissions", { timeout: 30_000 }, async () => {
    const refusing: [rule: string[], words: RegExp][] = [
      [["-client"], /no permissions to run the 'client.*' command.*; the user needs \+client, \+subscribe/],
      [["resetchannels"], /^(?!.*NOPERM.*NOPERM).*NOPERM.*channel.*&__(redis__:invalidate|redict__:invalidat\*)$/],
    ];
    for (const [rule, words] of refusing) {
      await rawCommand(port, ["ACL", "SETUSER", "app", "reset", "on", ">S3CRET", "~*", "&*", "+@all", ...rule]);
      await using({ port, username: "app", password: "S3CRET" }, async (driver) => {
        const refused: StoreError[] = [];
        const notes = Object.assign(new Notes(), { refused: (error: StoreError) => void refused.push(error) });
        track(driver, "r:", notes);
        await eventually(() => refused.length > 0);
        const [{ kind, code, message }] = refused as [StoreError];
        assert.deepEqual([kind, code, notes.told], ["auth", "NOPERM", []]);
        assert.match(message, /^Redis at localhost:\d+ does not report changes, so near caches keep nothing: /);
        assert.match(message, words);
        await rawCommand(port, ["ACL", "SETUSER", "app", "+client", "allchannels"]);
        await eventually(() => notes.told.at(-1) === "up");
      });
    }
    await rawCommand(port, ["ACL", "DELUSER", "app"]);
  });

  it("refused names the command that the server does not know", async () => {
    const renamed = await startRedis({ args: ["--rename-command", "CLIENT", ""] });
    try {
      await using({ port: renamed.port }, async (driver) => {
        const refused: string[] = [];
        track(driver, "r:", Object.assign(new Notes(), { refused: (e: StoreError) => void refused.push(e.message) }));
        await eventually(() => refused.length > 0);
        assert.match(refused[0] ?? "", /unknown command .CLIENT.$/i);
      });
    } finally {
      await renamed.stop();
    }
  });

  it("track receives the messages of Redict, whose channel has another name", async () => {
    // Redict 7.3 cuts the name of its channel to the length of Redis's.
    const rewrite = (text: string): string =>
      text
        .replace(/server\r\n\$\d+\r\n\w+/, "server\r\n$6\r\nredict")
        .replaceAll("$20\r\n__redis__:invalidate", "$20\r\n__redict__:invalidat");
    await behindProxy(port, {}, async (driver, proxy) => {
      await proxy.set({ rewrite });
      const notes = await tracked(driver, "redict:");
      await rawCommand(port, ["MSET", "redict:a", "1", "redict:b,c", "2"]);
      await eventually(() => notes.keys.length >= 2);
      assert.deepEqual([...notes.keys].sort(), ["redict:a", "redict:b,c"]);
      await rawCommand(port, ["FLUSHALL"]);
      await eventually(() => notes.told.at(-1) === null);
      const refused: string[] = [];
      await rawCommand(port, ["ACL", "SETUSER", "default", "resetchannels"]);
      track(driver, "other:", Object.assign(new Notes(), { refused: (e: StoreError) => void refused.push(e.message) }));
      await eventually(() => refused.length > 0);
      await rawCommand(port, ["ACL", "SETUSER", "default", "allchannels"]);
      assert.match(refused[0] ?? "", /the user needs .* and the channel &__redict__:invalidat\*$/);
    });
  });

  it("close ends an attempt to connect, and calls nothing", async () => {
    await behindProxy(port, {}, async (driver, proxy) => {
      await proxy.set("blackhole");
      const notes = new Notes();
      const tracking = track(driver, "", notes);
      await eventually(() => proxy.open === 1);
      await tracking.close();
      await eventually(() => proxy.open === 0);
      await proxy.set("pass");
      const again = await tracked(driver, "");
      await again.tracking.close();
      assert.deepEqual(notes.told, []);
    });
  });

  it("track reports the keys of a long message", async () => {
    await using({ port }, async (driver) => {
      const notes = await tracked(driver, "long:");
      const keys = Array.from({ length: 20_000 }, (_, i) => `long:${i}`);
      await driver.send(0, [["MSET", ...keys.flatMap((key) => [key, "1"])]]);
      await eventually(() => notes.keys.length === keys.length);
      assert.deepEqual(notes.keys.toSorted(), keys.toSorted());
    });
  });
});

const clients = {
  "node-redis 4": (url: string) => createClient({ url }),
  "node-redis 5 with RESP3": (url: string) => createClient5({ url, RESP: 3 }),
  "node-redis 6": (url: string) => createClient6({ url }),
};

for (const [name, create] of Object.entries(clients)) {
  it(`track uses a duplicate of a ready client of ${name}`, async () => {
    const client = create(`${redis.url}/3`);
    await client.connect();
    try {
      const before = await trackers();
      await using({ client: client as NonNullable<NodeRedisOptions["client"]> }, async (driver) => {
        const notes = await tracked(driver, "ready:", 3);
        await driver.send(3, [["SET", "ready:1", "1"]]);
        await eventually(() => notes.keys.length === 1);
        await driver.send(3, [["FLUSHDB"]]);
        await eventually(() => notes.keys.length === 2);
        assert.deepEqual(notes.keys, ["ready:1", null]);
        assert.equal(await trackers(), before + 1);
      });
      await eventually(async () => (await trackers()) === before);
      assert.equal(await client.sendCommand(["PING"]), "PONG");
    } finally {
      await client.disconnect();
    }
  });
}

describe("track, the process", () => {
  for (const state of ["up", "refused", "never answered"]) {
    it(`track does not keep the process alive when the connection is ${state}`, async () => {
      const proxy = await startProxy(port);
      if (state === "refused") await proxy.set("refuse");
      if (state === "never answered") await proxy.set("blackhole");
      const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
      const { href } = new URL(`../drivers/node_redis.${extension}`, import.meta.url);
      const script = `
        import process from "node:process";
        import { nodeRedis } from ${JSON.stringify(href)};
        process.on("exit", (code) => console.log("exit", code, Math.round(performance.now() - done)));
        const driver = nodeRedis({ host: "127.0.0.1", port: ${proxy.port}, connectTimeout: 1000 });
        // Whatever becomes of this process's parent: Bun spins in a top-level await that nothing is left to settle.
        const timer = setTimeout(() => process.exit(1), 20_000);
        await new Promise((resolve) => {
          driver.track(0, "", { invalidate() {}, down() {}, up() { console.log("is up"); resolve(); } });
          if (${state !== "up"}) setTimeout(resolve, 300);
        });
        clearTimeout(timer);
        const done = performance.now();`;
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
      await proxy.stop();
      const [, took] = /exit 0 (\d+)/.exec(output) ?? assert.fail(`did not exit by itself: ${output}`);
      assert.equal(/is up/.test(output), state === "up", output);
      assert.ok(Number(took) < 4000, output);
    });
  }
});
