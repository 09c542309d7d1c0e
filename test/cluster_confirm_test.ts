/** Invalidations on a cluster of which a machine dies: a master, and what is on its way to the replica. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type CacheClient, createCacheClient } from "../mod.ts";
import { eventually } from "./helpers/eventually.ts";
import { type FaultProxy, startProxy } from "./helpers/proxy.ts";
import { type ClusterNode, type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";

const LIMIT = { timeout: 120_000 };
/** The milliseconds that replication takes. */
const DELAY = 1000;
const KEYS = Array.from({ length: 30 }, (_, i) => `key:${i}`);
/** Between the first master and its replica. */
let proxy: FaultProxy;
let servers: RedisCluster;

before(async () => {
  proxy = await startProxy(1);
  servers = await startCluster({
    replicas: 1,
    args(port, index) {
      if (index > 0) return [];
      proxy.lead(port);
      return ["--cluster-announce-port", `${proxy.port}`];
    },
  });
});
after(async () => {
  await servers?.stop();
  await proxy?.stop();
});
beforeEach(async () => {
  await proxy.set("pass");
  await servers.renew();
  await servers.restore();
  await servers.settled();
});

/** Opens a client, which reaches the first master without the proxy. */
function open(): CacheClient {
  return createCacheClient({
    env: {},
    cluster: {
      nodes: servers.addresses.slice(1),
      mapAddress: ({ host, port }) => ({ host, port: port === proxy.port ? (servers.nodes[0]?.port ?? 0) : port }),
    },
    timeout: 20_000,
    logger: false,
  });
}

/**
 * Invalidates the tag of each key of the first master, one after another, until its machine dies.
 *
 * @param confirm Who must have it.
 * @param enough The number of acknowledged invalidations after which the machine dies.
 * @returns The keys whose invalidation was acknowledged, and those of them that are read all the same.
 */
async function dying(confirm: "replicas" | undefined, enough: number): Promise<{ told: string[]; lost: string[] }> {
  await using writer = open();
  await using reader = open();
  const cache = writer.cache<string>();
  for (const key of KEYS) await eventually(() => cache.set(key, "old", { tags: [`tag of ${key}`] }));
  const master = servers.nodes[0] as ClusterNode;
  const stored = (await master.say("KEYS", "*key:*")) as string[];
  const own = KEYS.filter((key) => stored.some((physical) => physical.endsWith(`}${key}`)));
  assert.ok(own.length > enough, `${own}`);
  assert.equal(await master.say("WAIT", 1, 10_000), 1);
  await proxy.set({ delay: DELAY });
  const told: string[] = [];
  let dead: Promise<unknown> | undefined;
  const die = (): void => {
    dead ??= Promise.all([proxy.set("refuse"), master.kill()]);
  };
  const sent: Promise<void>[] = [];
  for (const key of own) {
    if (dead) break;
    sent.push(
      cache.invalidateTags(`tag of ${key}`, { ...(confirm && { confirm }) }).then((acknowledged) => {
        if (acknowledged) told.push(key);
        if (told.length === enough) die();
      }),
    );
    await sleep(20);
  }
  await eventually(() => dead !== undefined);
  await dead;
  await servers.promoted(master, await servers.slotOf(stored[0] as string), 60_000);
  await Promise.all(sent);
  // Until its value comes from the new master, a key that was not invalidated is a miss, too.
  const lost: string[] = [];
  for (const key of told) {
    let value: string | undefined;
    // The new master may not be known yet.
    await eventually(async () => {
      value = await reader.cache<string>().get(key, { onError: "throw" });
      return true;
    });
    if (value !== undefined) lost.push(key);
  }
  return { told, lost };
}

describe("invalidateTags on a cluster when a machine dies", () => {
  it("loses nothing that replicas confirmed", LIMIT, async () => {
    const { told, lost } = await dying("replicas", 3);
    assert.ok(told.length >= 3);
    assert.deepEqual(lost, []);
  });

  it("may lose what the master alone acknowledged", LIMIT, async () => {
    const { told, lost } = await dying(undefined, 5);
    assert.ok(lost.length > 0, `${told}`);
  });
});
