/** The cluster driver on three masters with a replica each, of which nodes die, freeze, change places and come back. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type ClusterOptions, cluster } from "../drivers/cluster.ts";
import type { Command, Driver, Reply, StoreError, Tracker } from "../drivers/driver.ts";
import { eventually } from "./helpers/eventually.ts";
import { type ClusterNode, type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";
import { freePort } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 60_000 };
/** The milliseconds after which a caller gives up. */
const DEADLINE = 500;
/** Keys of three masters. */
const KEYS = ["a", "b", "c"];
let servers: RedisCluster;

before(async () => {
  servers = await startCluster({ replicas: 1 });
});
beforeEach(() => servers.renew());
after(() => servers?.stop());

async function using(run: (driver: Driver) => Promise<void>, options: Partial<ClusterOptions> = {}): Promise<void> {
  const driver = cluster({ nodes: servers.addresses, ...options });
  try {
    await run(driver);
  } finally {
    await driver.close();
  }
}

/** Sends one command, and gives up as a caller does. An error is an answer. */
async function ask(driver: Driver, ...command: Command): Promise<Reply> {
  let waiting = true;
  const answer = driver.send(0, [command], { timeout: DEADLINE, waiting: () => waiting }).then(
    ([reply = null]) => reply,
    (error: StoreError) => error,
  );
  const reply = await Promise.race([answer, sleep(DEADLINE + 100, "late")]);
  waiting = false;
  return reply;
}

/** Reads each key again and again, one call after another, and counts by key. */
class Load {
  readonly hits: Map<string, number> = new Map();
  readonly misses: Map<string, number> = new Map();
  readonly errors: Set<string> = new Set();
  #going = true;
  readonly #readers: Promise<void>[];

  constructor(driver: Driver, keys: readonly string[]) {
    this.#readers = keys.map(async (key) => {
      while (this.#going) {
        const reply = await ask(driver, "GET", key);
        const counts = reply === `v${key}` ? this.hits : this.misses;
        counts.set(key, (counts.get(key) ?? 0) + 1);
        if (counts === this.misses) this.errors.add(String(reply));
        await sleep(5);
      }
    });
  }

  hitsOf(key: string): number {
    return this.hits.get(key) ?? 0;
  }

  missesOf(keys: readonly string[]): number {
    return keys.reduce((sum, key) => sum + (this.misses.get(key) ?? 0), 0);
  }

  /** Waits for some more hits of a key. */
  async more(key: string, count = 5): Promise<void> {
    const before = this.hitsOf(key);
    await eventually(() => this.hitsOf(key) >= before + count, 30_000);
  }

  async stop(): Promise<void> {
    this.#going = false;
    await Promise.all(this.#readers);
  }
}

/** Runs under load. The values of the keys are on the replicas, too. */
async function underLoad(driver: Driver, run: (load: Load) => Promise<void>): Promise<Load> {
  for (const key of KEYS) assert.equal(await ask(driver, "SET", key, `v${key}`), "OK");
  await replicated();
  const load = new Load(driver, KEYS);
  try {
    for (const key of KEYS) await load.more(key);
    await run(load);
  } finally {
    await load.stop();
  }
  return load;
}

/** Waits until all replicas have what their masters have. */
async function replicated(): Promise<void> {
  for (const master of await servers.masters()) {
    if ((await servers.replicasOf(master)).length > 0) await master.say("WAIT", 1, 10_000);
  }
}

async function replicaOf(master: ClusterNode): Promise<ClusterNode> {
  const [replica] = await servers.replicasOf(master);
  assert.ok(replica);
  return replica;
}

describe("cluster when a master fails", () => {
  it("other keys have no miss and the dead master's come back when it is killed, and its replacement too", LIMIT, () =>
    using(async (driver) => {
      const others = ["b", "c"];
      const load = await underLoad(driver, async (load) => {
        const first = await servers.ownerOf("a");
        await first.kill();
        const second = await servers.promoted(first, "a");
        await load.more("a");
        assert.equal(driver.partOf?.("a"), second.address);
        await first.restart();
        await servers.settled();
        await replicated();
        await second.kill();
        assert.equal(await servers.promoted(second, "a"), first);
        await load.more("a");
      });
      assert.equal(load.missesOf(others), 0, [...load.errors].join());
      assert.ok(load.missesOf(["a"]) > 0);
    }),
  );

  it("other keys have no miss and no old value is read when a master freezes and wakes", LIMIT, () =>
    using(async (driver) => {
      const load = await underLoad(driver, async (load) => {
        const old = await servers.ownerOf("a");
        old.pause();
        await servers.promoted(old, "a");
        await load.more("a");
        assert.equal(await ask(driver, "SET", "{a}new", 1), "OK");
        old.resume();
        const replies = new Set<Reply>();
        await eventually(async () => {
          replies.add(await ask(driver, "GET", "{a}new"));
          return /role:slave/.test(String(await old.say("INFO", "replication")));
        });
        assert.deepEqual([...replies], ["1"]);
      });
      assert.equal(load.missesOf(["b", "c"]), 0, [...load.errors].join());
    }),
  );

  it("the first use hits when the master was replaced while the driver was idle", LIMIT, () =>
    using(async (driver) => {
      await underLoad(driver, async () => {});
      const old = await servers.ownerOf("a");
      await old.kill();
      await servers.promoted(old, "a");
      // What of it was not sent goes to the new master.
      assert.equal(await ask(driver, "INCR", "{a}count"), 1);
      assert.equal(await ask(driver, "GET", "a"), "va");
    }),
  );

  it("only keys of the dead master fail when it has no replica, and all is well when it is back", LIMIT, () =>
    using(async (driver) => {
      const master = await servers.ownerOf("a");
      const load = await underLoad(driver, async (load) => {
        await (await replicaOf(master)).kill();
        await master.kill();
        await eventually(() => load.missesOf(["a"]) > 5);
        await load.more("b");
        await master.restart();
        await eventually(async () => (await ask(driver, "SET", "a", "va")) === "OK");
        await load.more("a");
      });
      assert.equal(load.missesOf(["b", "c"]), 0, [...load.errors].join());
    }),
  );

  it("every call is answered in time when most masters are away, and recovers when they are back", LIMIT, () =>
    using(async (driver) => {
      const [first, second] = [await servers.ownerOf("a"), await servers.ownerOf("b")];
      await underLoad(driver, async (load) => {
        await Promise.all([first.kill(), second.kill()]);
        await eventually(async () => /CLUSTERDOWN/.test(String(await ask(driver, "GET", "c"))));
        await Promise.all([first.restart(), second.restart()]);
        for (const key of ["a", "b"]) {
          await eventually(async () => (await ask(driver, "SET", key, `v${key}`)) === "OK");
        }
        for (const key of KEYS) await load.more(key);
      });
    }),
  );
});

describe("cluster when a node was frozen before the first use", () => {
  it("its replacement is found before the attempt to connect ends", LIMIT, async () => {
    const frozen = await servers.ownerOf("a");
    frozen.pause();
    const options = {
      nodes: servers.addresses.filter((address) => address !== frozen.address),
      connectTimeout: 60_000,
    };
    await using(async (driver) => {
      assert.match(String(await ask(driver, "GET", "a")), /late/);
      assert.equal(await ask(driver, "GET", "b"), null);
      await servers.promoted(frozen, "a");
      await eventually(async () => (await ask(driver, "SET", "a", 1)) === "OK");
    }, options);
    frozen.resume();
  });
});

describe("cluster when masters change places", () => {
  it("no call fails when a replica takes over by CLUSTER FAILOVER and the old master leaves", LIMIT, () =>
    using(async (driver) => {
      const old = await servers.ownerOf("a");
      const replica = await replicaOf(old);
      let counted = 0;
      let counting = true;
      const load = await underLoad(driver, async (load) => {
        const counter = (async () => {
          while (counting) {
            const reply = await ask(driver, "INCR", "{a}count");
            assert.equal(reply, ++counted);
          }
        })();
        await servers.failover(replica);
        // Until it has heard of it, the old master answers reads.
        await eventually(async () => /role:slave/.test(String(await old.say("INFO", "replication"))));
        await load.more("a");
        await eventually(() => driver.partOf?.("a") === replica.address);
        await old.kill();
        await load.more("a");
        counting = false;
        await counter;
      });
      assert.equal(load.missesOf(KEYS), 0, [...load.errors].join());
      assert.equal(driver.partOf?.("a"), replica.address);
    }),
  );

  it("parts has the new masters, and connections follow", LIMIT, () =>
    using(async (driver) => {
      const old = await servers.ownerOf("a");
      const connection = await driver.connect?.(0);
      assert.ok(connection && driver.parts);
      assert.deepEqual(await connection.send([["SET", "a", "va"]]), ["OK"]);
      await replicated();
      await servers.failover(await replicaOf(old));
      assert.deepEqual(await connection.send([["GET", "a"]]), [new TextEncoder().encode("va")]);
      await old.kill();
      await eventually(async () => {
        await ask(driver, "GET", "a");
        return !driver.parts?.().includes(old.address);
      });
      assert.deepEqual([...driver.parts()].sort(), (await servers.masters()).map(({ address }) => address).sort());
    }),
  );
});

describe("cluster.track", () => {
  it("a part goes down when its master dies, and its replacement comes up", LIMIT, () =>
    using(async (driver) => {
      const up = new Set<string>();
      const changed: string[] = [];
      const tracker: Tracker = {
        invalidate: (keys) => void changed.push(...(keys ?? ["all"])),
        up: (part = "?") => void up.add(part),
        down: (part = "?") => void up.delete(part),
      };
      // Without a send, nothing but the tracking notices.
      const tracking = driver.track?.(0, "t:", tracker);
      await eventually(() => up.size === 3);
      const old = await servers.ownerOf("t:{a}");
      assert.ok(up.has(old.address));
      await old.say("SET", "t:{a}", 1);
      await old.say("SET", "other{a}", 1);
      await eventually(() => changed.length > 0);
      await old.kill();
      await eventually(() => !up.has(old.address));
      const promoted = await servers.promoted(old, "a");
      await eventually(() => up.has(promoted.address) && up.size === 3);
      await promoted.say("SET", "t:{a}", 2);
      await eventually(() => changed.length > 1);
      assert.deepEqual(changed, ["t:{a}", "t:{a}"]);
      await tracking?.close();
    }),
  );

  it("a part goes down when its master freezes, before it is replaced", LIMIT, () =>
    using(async (driver) => {
      const events: string[] = [];
      const tracker: Tracker = {
        invalidate: () => {},
        up: (part) => void events.push(`up ${part}`),
        down: (part) => void events.push(`down ${part}`),
      };
      driver.track?.(0, "", tracker);
      await eventually(() => events.length === 3);
      const old = await servers.ownerOf("a");
      old.pause();
      await eventually(() => events.includes(`down ${old.address}`));
      old.resume();
      await eventually(() => events.length === 5);
    }),
  );
});

describe("cluster when seeds fail", () => {
  it("the first use is in time when all seeds but one are refused or silent", LIMIT, async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as { port: number };
    const refused = await freePort();
    const seeds = [`127.0.0.1:${refused}`, `localhost:${port}`, `127.0.0.1:${port}`, `127.0.0.1:${refused}`];
    const known = (await servers.ownerOf("a")).address;
    await using(async (driver) => assert.equal(await ask(driver, "SET", "a", 1), "OK"), { nodes: [...seeds, known] });
    await using(
      async (driver) => {
        const reply = await ask(driver, "SET", "a", 1);
        assert.match(String(reply), /Cannot reach the cluster at 127\.0\.0\.1:\d+, localhost:\d+/);
      },
      { nodes: seeds },
    );
    silent.close();
  });

  it("other keys are served when the map names a node that cannot be reached", LIMIT, async () => {
    const away = await servers.ownerOf("a");
    const refused = await freePort();
    await using(
      async (driver) => {
        assert.match(String(await ask(driver, "GET", "a")), /Cannot connect/);
        assert.equal(await ask(driver, "GET", "b"), null);
        assert.deepEqual(driver.parts?.().includes(`127.0.0.1:${refused}`), true);
      },
      { mapAddress: (address) => (address.port === away.port ? { ...address, port: refused } : address) },
    );
  });
});

describe("cluster.close", () => {
  it("close resolves at once when a node is frozen", LIMIT, async () => {
    const driver = cluster({ nodes: servers.addresses });
    await underLoad(driver, async () => {});
    const frozen = await servers.ownerOf("a");
    frozen.pause();
    assert.match(String(await ask(driver, "GET", "a")), /gave no answer|late/);
    driver.send(0, [["GET", "a"]], { timeout: 60_000 }).catch(() => {});
    await driver.close();
    frozen.resume();
  });
});
