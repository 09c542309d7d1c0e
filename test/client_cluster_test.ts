/** A client on three masters, one of which is frozen. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { cluster } from "../drivers/cluster.ts";
import { type CacheClient, type CacheEvent, createCacheClient } from "../mod.ts";
import { eventually } from "./helpers/eventually.ts";
import { type ClusterNode, type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";

let servers: RedisCluster;
const frozen: ClusterNode[] = [];

before(async () => {
  servers = await startCluster({ nodeTimeout: 60_000 });
});
afterEach(async () => {
  for (const node of frozen.splice(0)) node.resume();
  await servers.settled();
  await servers.flush();
});
after(() => servers?.stop());

/** Runs with a client of the cluster, and closes both. */
async function using(run: (client: CacheClient, events: CacheEvent[]) => Promise<void>): Promise<void> {
  const driver = cluster({ nodes: [...servers.addresses] });
  const client = createCacheClient({
    driver,
    timeout: 20_000,
    breaker: { failures: 2, openFor: 60_000 },
    logger: false,
    env: {},
  });
  const events: CacheEvent[] = [];
  client.subscribe((event) => events.push(event));
  try {
    await run(client, events);
  } finally {
    await client.close();
    await driver.close();
  }
}

function freeze(node: ClusterNode): void {
  node.pause();
  frozen.push(node);
}

const KEYS = Array.from({ length: 60 }, (_, i) => `key:${i}`);

describe("a client on a cluster", () => {
  it("connect opens all masters, and health checks and names each", () =>
    using(async (client) => {
      await client.connect();
      const health = await client.health();
      assert.deepEqual([health.ok, health.reads, health.writes, health.breaker], [true, true, true, "closed"]);
      assert.deepEqual(health.parts?.map(({ address }) => address).sort(), [...servers.addresses].sort());
      for (const part of health.parts ?? []) {
        assert.equal(part.ok, true);
        assert.equal(part.breaker, "closed");
        assert.ok((part.latency as number) >= 0);
      }
    }));

  it("answers from healthy masters at once when one is frozen, whose breaker alone opens", () =>
    using(async (client, events) => {
      const cache = client.cache<string>();
      await Promise.all(KEYS.map((key) => cache.set(key, key, { tags: [`tag-${key.at(-1)}`] })));
      const { driver, prefix } = await client.locate({});
      assert.equal(prefix, "db0:");
      const sick = servers.nodes[0] as ClusterNode;
      const own = ((await sick.say("KEYS", "*")) as string[]).map((physical) => physical.replace(/^db0:\{\w+\}/, ""));
      const away = KEYS.filter((key) => own.includes(key));
      const here = KEYS.filter((key) => !own.includes(key));
      assert.ok(away.length > 0 && here.length > 0);
      assert.equal(driver.parts?.().length, 3);
      freeze(sick);
      for (let round = 0; round < 2; round++) {
        let given = 0;
        const missed = away.map((key) => cache.get(key, { timeout: 300 }).finally(() => given++));
        const found = await Promise.all(here.map((key) => cache.get(key)));
        assert.equal(given, 0, "no reader of the others waited for the frozen one");
        assert.deepEqual(found, here);
        assert.ok((await Promise.all(missed)).every((value) => value === undefined));
      }
      await eventually(() => events.some(({ type }) => type === "breaker"));
      const changes = events.flatMap((event) => (event.type === "breaker" ? [`${event.part} ${event.state}`] : []));
      assert.deepEqual(changes, [`${sick.address} open`]);
      const health = await client.health();
      assert.deepEqual([health.ok, health.breaker], [false, "open"]);
      assert.deepEqual(
        health.parts?.filter(({ ok }) => !ok).map(({ address, breaker }) => [address, breaker]),
        [[sick.address, "open"]],
      );
      assert.match(health.error as string, new RegExp(`^${sick.address}: The store failed 2 times in a row`));
      // Writes of other masters go on, and a deletion of a key of the frozen one fails.
      assert.equal(await cache.set(here[0] as string, "new"), true);
      assert.equal(await cache.delete(away[0] as string), 0);
      // Nothing is waited for that no caller waits for.
      await client.close();
    }));
});
