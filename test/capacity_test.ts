/** The capacity of a store: the sum, the measurement of a real one, and the command. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { nodeRedis } from "../drivers/node_redis.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { createCacheClient } from "../src/main.ts";
import { BUSIEST, commandsFor, FULLEST, planFor, planOf, type Traffic } from "../src/manager/capacity.ts";
import { KEPT_BYTES, REFERENCE } from "../src/manager/costs.ts";
import { measureStore } from "../src/manager/measure_store.ts";
import { larder } from "./helpers/larder.ts";
import { startCluster } from "./helpers/redis_cluster.ts";
import { type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const LIMIT = { timeout: 120_000 };
const NONE: Traffic = {
  reads: 0,
  tagged: 0,
  writes: 0,
  invalidations: 0,
  clients: 10,
  near: 0,
  together: 1,
  size: 1000,
  entries: 0,
  tags: 100,
};

describe("the capacity of a store", () => {
  const count = fc.integer({ min: 0, max: 1_000_000 });
  const traffic: fc.Arbitrary<Traffic> = fc.record({
    reads: count,
    tagged: count,
    writes: count,
    invalidations: fc.integer({ min: 0, max: 1000 }),
    clients: fc.integer({ min: 1, max: 1000 }),
    near: fc.integer({ min: 0, max: 100 }),
    together: fc.integer({ min: 1, max: 500 }),
    size: fc.integer({ min: 1, max: 100_000 }),
    entries: count,
    tags: fc.integer({ min: 0, max: 10_000 }),
  });

  it("planFor takes the fewest masters that are neither too busy nor too full", () => {
    fc.assert(
      fc.property(traffic, fc.constantFrom(0, 2 ** 30, 2 ** 33), (given, limit) => {
        const fits = (masters: number): boolean => {
          const { busy, memory } = planOf(given, REFERENCE, masters);
          return busy <= BUSIEST && (limit === 0 || memory / masters <= limit * FULLEST);
        };
        const plan = planFor(given, REFERENCE, limit);
        if (plan === undefined) return !fits(1) && !fits(500);
        const fewer = plan.masters === 3 ? 1 : plan.masters - 1;
        return fits(plan.masters) && plan.masters !== 2 && (fewer === 0 || !fits(fewer));
      }),
    );
  });

  it("planOf counts more for more of anything, and less for calls that share a round trip", () => {
    const names = ["reads", "tagged", "writes", "invalidations", "near"] as const;
    fc.assert(
      fc.property(traffic, fc.constantFrom(...names), fc.constantFrom(1, 3, 6, 30), (given, name, masters) => {
        const { busy } = planOf(given, REFERENCE, masters);
        // A read without tags may make a write one without tags, which is cheaper.
        const fixed = name === "reads" || name === "tagged" ? { ...given, writes: 0 } : given;
        const base = planOf(fixed, REFERENCE, masters).busy;
        assert.ok(planOf({ ...fixed, [name]: fixed[name] + 1000 }, REFERENCE, masters).busy >= base);
        const together = { ...given, invalidations: 0, together: given.together * 2 };
        assert.ok(planOf(together, REFERENCE, masters).busy <= busy + 1e-9);
      }),
    );
  });

  it("planOf adds up what each kind of work costs", () => {
    const { works, busy, network } = planOf({ ...NONE, reads: 1000, writes: 100 }, REFERENCE, 1);
    assert.deepEqual(
      works.map(({ name, times }) => [name, times]),
      [
        ["reads", 1000],
        ["writes", 100],
      ],
    );
    const [reads, writes] = works as [(typeof works)[0], (typeof works)[0]];
    assert.equal(busy, (1000 * reads.cost + 100 * writes.cost) / 1e6);
    assert.ok(reads.cost > REFERENCE.trip + REFERENCE.get / 2);
    assert.equal(network, 1_000_000);
  });

  it("planOf takes tagged reads for reads by the script as often as invalidations make them so", () => {
    const shareOf = (invalidations: number): number => {
      const { works } = planOf({ ...NONE, tagged: 10_000, invalidations }, REFERENCE, 1);
      const { times = 0 } = works.find(({ name }) => name === "tagged reads by script") ?? {};
      return times / 10_000;
    };
    assert.equal(shareOf(0), 0);
    assert.ok(shareOf(0.1) > 0 && shareOf(0.1) < 1);
    assert.equal(shareOf(100), 1);
  });

  it("planOf counts a mark in each shard, and each process at each master", () => {
    const memory = (masters: number): number => planOf({ ...NONE, tags: 1000, clients: 7 }, REFERENCE, masters).memory;
    assert.equal(memory(1), 1000 * KEPT_BYTES.mark + 7 * KEPT_BYTES.client);
    assert.equal(memory(3), 64 * 1000 * KEPT_BYTES.mark + 3 * 7 * KEPT_BYTES.client);
    assert.equal(memory(17), 256 * 1000 * KEPT_BYTES.mark + 17 * 7 * KEPT_BYTES.client);
  });

  it("commandsFor counts the reads of a tick as one command", () => {
    const given = { ...NONE, reads: 900, tagged: 100, writes: 50, invalidations: 2, together: 10 };
    assert.deepEqual(commandsFor(given), { commands: 152, requests: 107 });
  });
});

describe("larder capacity", () => {
  let redis: RedisServer;
  let env: Record<string, string>;
  before(async () => {
    redis = await startRedis();
    env = { CACHE_URL: redis.url };
  });
  after(() => redis?.stop());

  it("measureStore measures a GET, a SET, a script and a round trip, and leaves no key behind", LIMIT, async () => {
    await using client = createCacheClient({ env: {}, url: redis.url, timeout: 10_000 });
    const costs = await measureStore(client, { size: 1000 });
    assert.ok(typeof costs === "object", `${costs}`);
    const { trip, get, set, script, busy } = costs;
    for (const cost of [trip, get, set, script]) assert.ok(cost > 0 && cost < 10_000, JSON.stringify(costs));
    assert.ok(busy >= 0, JSON.stringify(costs));
    assert.equal(await rawCommand(redis.port, ["DBSIZE"]), 0);
    const clients = String(await rawCommand(redis.port, ["INFO", "clients"]));
    assert.ok(Number(/connected_clients:(\d+)/.exec(clients)?.[1]) < 10, clients);
  });

  it("measureStore says why a store cannot be measured", LIMIT, async () => {
    const client = createCacheClient({ env: {}, driver: "memory" });
    assert.equal(await measureStore(client, { size: 10 }), "memory does not tell what its processor does");
    const commands = ["ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-info"];
    await rawCommand(redis.port, commands as [string, ...string[]]);
    await using other = createCacheClient({ env: {}, url: redis.url.replace("//", "//app:secret@") });
    assert.match(`${await measureStore(other, { size: 10 })}`, /^the server does not tell .* \(INFO cpu\)$/);
    assert.equal(await rawCommand(redis.port, ["DBSIZE"]), 0);
  });

  it("measureStore stops at a signal, and removes its keys", LIMIT, async () => {
    await using client = createCacheClient({ env: {}, url: redis.url, timeout: 10_000 });
    const stop = new AbortController();
    const measuring = measureStore(client, { size: 100, signal: stop.signal });
    const reason = new Error("enough");
    setTimeout(() => stop.abort(reason), 300);
    await assert.rejects(measuring, reason);
    assert.equal(await rawCommand(redis.port, ["DBSIZE"]), 0);
  });

  it("capacity prints the sum with the store's own numbers, and with --json the same as one value", LIMIT, async () => {
    const args = ["--reads", "50000", "--writes", "2000", "--entries", "1000", "--together", "10"];
    const shown = await larder(["capacity", ...args], { env });
    assert.deepEqual([shown.code, shown.stderr], [0, ""]);
    assert.match(shown.stdout, /^redis:\/\/127\.0\.0\.1:\d+ {2}\S+ \d+\.\d+\.\d+\n/);
    assert.match(shown.stdout, /\nmeasured +[\d.]+ us a GET, [\d.]+ us a SET, .* with 1000 B a value\n/);
    assert.match(
      shown.stdout,
      /\nreads +50,000 +[\d.]+ us +[\d.]+ %\nwrites +2,000 +[\d.]+ us +[\d.]+ %\nsum +[\d.]+ %\n/,
    );
    assert.match(
      shown.stdout,
      /\n(One server|A cluster of \d+ masters) is enough.*: [\d.]+ % of a core, and at most 60 %/,
    );
    const { stdout } = await larder(["capacity", "--json", ...args], { env });
    const { measured, traffic, plan } = JSON.parse(stdout);
    assert.ok(measured.get > 0);
    assert.deepEqual([traffic.reads, traffic.size, plan.works.length], [50_000, 1000, 2]);
    assert.equal(await rawCommand(redis.port, ["DBSIZE"]), 0);
  });

  it("capacity counts commands and requests over REST, and only memory over the embedded store", LIMIT, async () => {
    const driver = nodeRedis({ url: redis.url });
    const server = await serve(bridge({ driver, token: "secret" }));
    try {
      const rest = { UPSTASH_REDIS_REST_URL: server.url, UPSTASH_REDIS_REST_TOKEN: "secret" };
      const args = ["capacity", "--reads", "100", "--together", "10", "--writes", "5"];
      const { code, stdout, stderr } = await larder(args, { env: rest });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /\nOver REST, the store's processor cannot be measured\. .*\n/);
      assert.match(stdout, /\ncommands +15 commands a second, 38,880,000 in 30 days\nrequests +11 requests a second, /);
    } finally {
      await server.close();
      await driver.close();
    }
    const { code, stdout } = await larder(["capacity", "--reads", "5", "--url", "memory:"]);
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^memory:\nThe embedded store is a part of each process: without a server, nothing is measured\n/,
    );
  });

  it("capacity measures a master of a cluster", LIMIT, async () => {
    const cluster = await startCluster();
    try {
      const url = `redis+cluster://${cluster.addresses.join(",")}`;
      const args = ["capacity", "--reads", "5000000", "--invalidations", "1", "--together", "20", "--url", url];
      const { code, stdout, stderr } = await larder(args);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /\nmeasured +[\d.]+ us a GET, /);
      assert.match(stdout, /\nA cluster of \d+ masters is enough, with \d+ shards: /);
      for (const node of cluster.nodes) assert.equal(await node.say("DBSIZE"), 0);
    } finally {
      await cluster.stop();
    }
  });

  it("capacity says what it expects when the traffic is missing or contradicts itself", LIMIT, async () => {
    const [none, near, size] = await Promise.all([
      larder(["capacity"], { env }),
      larder(["capacity", "--reads", "1", "--near", "20"], { env }),
      larder(["capacity", "--reads", "1", "--size", "0"], { env }),
    ]);
    assert.deepEqual([none.code, near.code, size.code], [2, 2, 2]);
    assert.match(none.stderr, /received no traffic, expected --reads, --tagged, --writes or --invalidations/);
    assert.match(near.stderr, /received 20 processes with near caches, expected at most --clients 10/);
    assert.match(size.stderr, /'--size <number>' argument '0' is invalid\. Expected a whole number from 1 to 1048576/);
  });
});
