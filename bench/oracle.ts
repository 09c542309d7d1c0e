// Is the promise of invalidation kept on a cluster whose slots move and whose masters die?
//
// `node dist/bench/oracle.js [reads]`; REDIS_SERVER chooses the server.
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { createCacheClient } from "../mod.ts";
import { askOracle, type OracleReport } from "../test/helpers/oracle.ts";
import { type RedisCluster, startCluster } from "../test/helpers/redis_cluster.ts";
import { heading, verdict } from "./helpers/compare.ts";

const READS = Number(process.argv[2] ?? 200_000);
/** The slots of the 64 shards. */
const SLOTS = Array.from({ length: 64 }, (_, shard) => 128 + 256 * shard);

heading(
  `An oracle over a cluster of 3 masters and 3 replicas, 64 shards, 5 clients, ${READS} reads`,
  "A violation is a read that answered less than an invalidation had acknowledged before it began.",
);
await report("slots moved key by key", move, 10_000);
await report("masters killed by kill -9", kill, 1000);

async function report(
  what: string,
  happen: (cluster: RedisCluster) => Promise<void>,
  nodeTimeout: number,
): Promise<void> {
  const seen = await run(happen, nodeTimeout);
  for (const violation of seen.violations) console.log(`  ${violation}`);
  const { times, reads, hits, invalidations, unacknowledged, violated } = seen;
  verdict(
    `violations, ${what}`,
    "0",
    `${violated} of ${reads} reads (${hits} hits, ${invalidations} invalidations, ${unacknowledged} of them not ` +
      `acknowledged; ${times} times)`,
    violated === 0,
  );
}

/** Asks the oracle while something happens to the cluster again and again. */
async function run(
  happen: (cluster: RedisCluster) => Promise<void>,
  nodeTimeout: number,
): Promise<OracleReport & { times: number }> {
  const cluster = await startCluster({ replicas: 1, nodeTimeout });
  const clients = Array.from({ length: 5 }, () =>
    createCacheClient({ env: {}, cluster: { nodes: cluster.addresses }, timeout: 2000, logger: false }),
  );
  let times = 0;
  let over = false;
  try {
    const events = (async () => {
      for (; !over; times++) await happen(cluster);
    })();
    const seen = await askOracle({ clients, until: ({ reads }) => reads >= READS / 2 });
    over = true;
    await events;
    return { ...seen, times };
  } finally {
    await Promise.all(clients.map((client) => client.close()));
    await cluster.stop();
  }
}

/** Moves the slot of a shard to another master. */
async function move(cluster: RedisCluster): Promise<void> {
  const slot = SLOTS[Math.floor(Math.random() * SLOTS.length)] as number;
  const owner = await cluster.ownerOf(slot);
  const others = (await cluster.masters()).filter((node) => node !== owner);
  const target = others[Math.floor(Math.random() * others.length)];
  if (target) await cluster.move(slot, target);
}

/** Kills a master, and brings it back as a replica once another has its slots. */
async function kill(cluster: RedisCluster): Promise<void> {
  const slot = SLOTS[Math.floor(Math.random() * SLOTS.length)] as number;
  const owner = await cluster.ownerOf(slot);
  await owner.kill();
  await cluster.promoted(owner, slot);
  await sleep(500);
  await owner.restart();
  await cluster.settled();
}
