/** The command over a cluster and over Sentinel: by URLs and variables, by wrong ones, and while a master is away. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Redis } from "@upstash/redis";
import { startDashboard } from "./helpers/dashboard.ts";
import { larder, startLarder } from "./helpers/larder.ts";
import { type ClusterNode, type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";
import { type SentinelServers, startSentinels } from "./helpers/redis_sentinel.ts";
import { freePort, type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";
import type { Ended } from "./helpers/run.ts";

const SECRET = "s3cret";
/** Enough keys for a command to be busy with while a master dies. */
const MANY = 30_000;

let servers: RedisCluster;
let watched: SentinelServers;
let single: RedisServer;
let folder: string;
let dead: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "larder-cluster-cli-"));
  dead = `127.0.0.1:${await freePort()}`;
  [servers, watched, single] = await Promise.all([
    startCluster({ masters: 3, replicas: 1 }),
    startSentinels(),
    startRedis(),
  ]);
});
after(async () => {
  await Promise.all([servers?.stop(), watched?.stop(), single?.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

/** Writes a file of products, and returns its path. */
function dishes(count: number): string {
  const path = join(folder, `${count}.jsonl`);
  const value = (i: number) => ({ id: `d${i}`, name: "Phở bò", price: 65_000 });
  const lines = Array.from({ length: count }, (_, i) => JSON.stringify({ id: `d${i}`, value: value(i) }));
  writeFileSync(path, lines.join("\n"));
  return path;
}

/** Runs a command to its end, and checks its exit code and that it shows no secret. */
async function ends(code: number, args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  const ended = await larder(args, { env });
  assert.equal(ended.code, code, `${args.join(" ")}: ${ended.stdout}${ended.stderr}`);
  assert.ok(!`${ended.stdout}${ended.stderr}`.includes(SECRET), ended.stderr);
  return ended;
}

/** Runs each command that ends by itself. */
async function runAll(url: string, nodes: number): Promise<void> {
  const run = (...args: string[]): Promise<Ended> => ends(0, [...args, "--url", url]);
  const parsed = async (...args: string[]) => JSON.parse((await run(...args, "--json")).stdout);
  const file = join(folder, `${nodes}.jsonl`);
  await run("warm", "product", "--from", dishes(5));
  assert.equal((await run("list", "product")).stdout.split("\n").length, 6);
  assert.equal((await parsed("get", "product", "product:d3")).value.id, "d3");
  await run("backup", "product", "-o", file);
  assert.match((await run("clear", "product", "--yes")).stdout, /^5 keys of product deleted\n$/);
  assert.match((await run("restore", "product", file)).stdout, /^5 keys of product written\n$/);
  await flush(single);
  const there = await ends(0, ["copy", "product", "--from", url, "--to", single.url]);
  assert.match(there.stdout, /^5 keys of product written\n$/);
  await run("clear", "product", "--yes");
  await ends(0, ["copy", "product", "--from", single.url, "--to", url]);
  const stats = await parsed("stats");
  assert.equal(stats.nodes.length, nodes);
  assert.equal(stats.services.find(({ service }: { service: string }) => service === "product").keys, 5);
  const doctor = await ends(1, ["doctor", "--json", "--url", url]);
  const findings: { check: string; level: string }[] = doctor.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  const wrong = findings.filter(({ level }) => /warning|error/.test(level)).map(({ check }) => check);
  // The servers have no limit of memory. What takes long on a busy machine is not judged.
  assert.deepEqual(
    wrong.filter((check) => !/^(connection|slow queries|clock)$/.test(check)),
    ["eviction"],
    doctor.stdout,
  );
  assert.equal((await parsed("capacity", "--reads", "1000")).enough, true);
}

async function flush(server: RedisServer): Promise<void> {
  const client = await rawClient(server.port);
  await client.command("FLUSHALL");
  client.close();
}

async function keysOf(port: number): Promise<number> {
  const client = await rawClient(port);
  const found = (await client.pipeline([["SELECT", 1], ["DBSIZE"]]))[1];
  client.close();
  return Number(found);
}

describe("larder on several servers", () => {
  it("each command runs by the URL of a cluster, a dead node first, and by its variable", async () => {
    await runAll(`redis+cluster://${dead},${servers.addresses.join()}`, 3);
    const env = { REDIS_CLUSTER_NODES: `${servers.addresses[1]},${dead}` };
    assert.equal((await ends(0, ["list", "product"], env)).stdout.split("\n").length, 6);
    await servers.flush();
  });

  it("each command runs by the URL of Sentinels, a dead one first, and by their variables", async () => {
    await runAll(`redis+sentinel://${dead},${watched.addresses.join()}/mymaster`, 0);
    const env = { REDIS_SENTINELS: `${dead},${watched.addresses[1]}`, REDIS_SENTINEL_NAME: "mymaster" };
    assert.equal((await ends(0, ["list", "product"], env)).stdout.split("\n").length, 6);
  });

  it("the error of a wrong URL names the right one and no password, and has its exit code", async () => {
    const [node = "", sentinel = ""] = [servers.addresses[0], watched.addresses[0]];
    const one = single.url.slice("redis://".length);
    const list = ["list", "product", "--url"];
    const login = `user:${SECRET}@`;
    const cases: [number, string, RegExp][] = [
      [3, `redis+cluster://:${SECRET}@${dead}`, /Cannot reach the cluster at .*ECONNREFUSED/],
      [3, `redis+cluster://${login}${dead},${node}`, /WRONGPASS/],
      [3, `redis+cluster://${one}`, new RegExp(`use redis://${one} `)],
      [3, `redis+cluster://${sentinel}`, new RegExp(`use redis\\+sentinel://${sentinel}/mymaster`)],
      [3, `redis+sentinel://${one}/mymaster`, new RegExp(`use redis://${one} if`)],
      [3, `redis+sentinel://${node}/mymaster`, /redis\+cluster:\/\/ if it is of a cluster/],
      [3, `redis+sentinel://${sentinel}/wrong`, /does not know this name, but mymaster/],
      [3, `redis+sentinel://${sentinel}/mymaster?sentinel_password=${SECRET}`, /Cannot log in/],
      [3, `redis+sentinel://${dead}/mymaster`, /Cannot find the master mymaster by its sentinels/],
      [2, `redis://${sentinel}`, new RegExp(`expected redis\\+sentinel://${sentinel}/mymaster\n`)],
      [1, `redis://${node}`, new RegExp(`use redis\\+cluster://${node}[ \n]`)],
      [2, `redis+cluser://:${SECRET}@${node}`, /expected memory: .*redis\+cluster:/],
      [2, `redis+cluster://:${SECRET}@${node},no way`, /expected a host name or an IP address/],
      [2, `redis+cluster://us:a/${SECRET}@${node},${dead}`, /expected \/ \? # % and \\ in its user/],
      [2, `redis+sentinel://:${SECRET}@${sentinel}`, /REDIS_SENTINEL_NAME .* is not set/],
      [2, `redis+sentinel://${sentinel}/mymaster?sentinel_pasword=${SECRET}`, /expected no sentinel_pasword/],
    ];
    for (const [code, url, words] of cases) assert.match((await ends(code, [...list, url])).stderr, words, url);
    const variables: [Record<string, string>, RegExp][] = [
      [{ REDIS_CLUSTER_NODES: "127.0.0.1:port" }, /REDIS_CLUSTER_NODES is .*, expected a port/],
      [{ REDIS_CLUSTER_NODES: node, CACHE_SHARDS: "5" }, /CACHE_SHARDS is "5", expected 1, 4, 16, 64 or 256/],
      [{ REDIS_CLUSTER_NODES: node, REDIS_SENTINELS: sentinel }, /names another store/],
      [{ REDIS_SENTINELS: sentinel, REDIS_SENTINEL_PASSWORD: SECRET }, /REDIS_SENTINEL_NAME .* is not set/],
    ];
    for (const [env, words] of variables) assert.match((await ends(2, ["list", "product"], env)).stderr, words);
  });

  it("commands that need no database say what answers: a Sentinel, or a node of a cluster", async () => {
    const [node = "", sentinel = ""] = [servers.addresses[0], watched.addresses[0]];
    for (const args of [["stats"], ["capacity", "--reads", "1"], ["serve", "--port", "0"]]) {
      const { stderr } = await ends(2, [...args, "--url", `redis://${sentinel}`]);
      assert.match(stderr, new RegExp(`a Sentinel answers there, expected redis\\+sentinel://${sentinel}/mymaster\n$`));
    }
    const seen = await ends(0, ["list", "product", "--databases", "prefixed", "--url", `redis://${node}`]);
    const warning = `warning: redis://${node} is a node of a cluster, and the keys of other nodes are not seen: `;
    assert.equal(seen.stderr, `${warning}use redis+cluster://${node}\n`);
    const refused = await ends(2, ["serve", "--port", "0", "--database", "3", "--url", `redis+cluster://${node}`]);
    assert.match(refused.stderr, /^error: Cannot serve database 3 of redis\+cluster:.*: it has no numbered databases/);
  });

  it("doctor says what to change in the URL, and which login was refused", async () => {
    const finding = async (url: string) =>
      JSON.parse((await ends(3, ["doctor", "--json", "--url", url])).stdout.trim().split("\n").at(-1) as string);
    const [node, sentinel] = [servers.addresses[0], watched.addresses[0]];
    const correct = "correct the URL, or the variables that name the store";
    for (const url of [single.url.replace("redis:", "redis+cluster:"), `redis+sentinel://${sentinel}/wrong`]) {
      const { check, advice } = await finding(url);
      assert.deepEqual([check, advice], ["connection", correct]);
    }
    for (const url of [
      `redis+cluster://:${SECRET}@${node}`,
      `redis+sentinel://${sentinel}/mymaster?sentinel_password=${SECRET}`,
    ]) {
      assert.equal((await finding(url)).check, "authentication");
    }
    assert.match((await finding(`redis+cluster://${dead}`)).advice, /^check that the store is running/);
  });

  it("serve lets @upstash/redis use a cluster, and dashboard opens over it", async () => {
    const url = `redis+cluster://${servers.addresses.join()}`;
    const serving = startLarder(["serve", "--port", "0", "--token", "t", "--url", url]);
    const [, rest = ""] = await serving.said(/UPSTASH_REDIS_REST_URL=(.+)\n/);
    const redis = new Redis({ url: rest, token: "t", retry: { retries: 0 }, enableTelemetry: false });
    await redis.set("a", { x: 1 }, { ex: 60 });
    const pipeline = redis.pipeline().get("a");
    for (let i = 0; i < 20; i++) pipeline.set(`k${i}`, i);
    assert.deepEqual((await pipeline.exec()).slice(0, 2), [{ x: 1 }, "OK"]);
    assert.deepEqual(await redis.multi().set("{m}1", 1).incr("{m}1").exec(), ["OK", 2]);
    await assert.rejects(redis.mget("k0", "k1", "k2"), /CROSSSLOT/);
    await assert.rejects(redis.multi().set("k0", 1).set("k1", 1).exec(), /CROSSSLOT.*give them one hash tag/);
    assert.equal(await redis.dbsize(), 22);
    serving.signal("SIGINT");
    assert.equal((await serving.ended).code, 0);

    const dashboard = await startDashboard(url);
    assert.equal((await fetch(dashboard.url, { redirect: "manual" })).status, 303);
    const { code, stderr } = await dashboard.stop();
    assert.equal(code, 0);
    assert.ok(stderr.startsWith(`Watching ${url}, read-only`), stderr);
    await servers.flush();
  });

  it("a master dies during backup, copy and clear: each fails with 3 and its progress, and works again", async () => {
    const url = `redis+cluster://${servers.addresses.join()}`;
    await ends(0, ["warm", "product", "--from", dishes(MANY), "--url", url]);
    await flush(single);
    const file = join(folder, "many.jsonl");

    const backup = await killed(["backup", "product", "-o", file, "--url", url]);
    assert.match(backup.stderr, /^(before the error: [\d,]+ keys?, .*; no file was written\n)?error: .+\n$/);
    assert.equal(existsSync(file), false);
    assert.match((await ends(0, ["backup", "product", "-o", file, "--url", url])).stdout, /^30,000 keys of product/);

    const copy = ["copy", "product", "--from", url, "--to", single.url];
    const copied = await killed(copy, async () => (await keysOf(single.port)) > 1000);
    assert.match(
      copied.stderr,
      /^before the error: .*; the same command with --on-conflict skip continues where this one stopped\nerror: .+\n$/,
    );
    await ends(0, [...copy, "--on-conflict", "skip"]);
    assert.equal(await keysOf(single.port), MANY);

    const cleared = await killed(["clear", "product", "--yes", "--url", url]);
    assert.match(cleared.stderr, /^(before the error: .*; the same command deletes the rest\n)?error: .+\n$/);
    await ends(0, ["clear", "product", "--yes", "--url", url]);
    assert.equal((await ends(0, ["list", "product", "--url", url])).stdout, "");
  });

  it("stats and doctor name a shard that is away, and list fails", async () => {
    const url = `redis+cluster://${servers.addresses.join()}`;
    const [master] = (await servers.masters()) as [ClusterNode];
    for (const replica of await servers.replicasOf(master)) await replica.kill();
    await master.kill();
    await ends(3, ["list", "product", "--url", url, "--timeout", "2s"]);
    const stats = await larder(["stats", "--url", url, "--timeout", "2s"]);
    assert.ok(`${stats.stdout}${stats.stderr}`.includes(master.address), stats.stdout + stats.stderr);
    const doctor = await larder(["doctor", "--url", url, "--timeout", "2s"]);
    assert.ok(`${doctor.stdout}${doctor.stderr}`.includes(master.address), doctor.stdout + doctor.stderr);
    assert.ok(doctor.code === 1 || doctor.code === 3, `${doctor.code}`);
  });
});

/** Kills a master as soon as a command is busy with it, and waits until another one has its slots. */
async function killed(args: readonly string[], isBusy?: (master: ClusterNode) => Promise<boolean>): Promise<Ended> {
  await servers.settled(60_000);
  const [master] = (await servers.masters()) as [ClusterNode];
  const [slot] = await slotOf(master);
  const scans = async (): Promise<number> =>
    Number(/cmdstat_scan:calls=(\d+)/.exec(`${await master.say("INFO", "commandstats")}`)?.[1] ?? 0);
  const start = await scans();
  const command = startLarder(args);
  let gone = false;
  command.ended.then(() => {
    gone = true;
  });
  while (!gone && !(isBusy ? await isBusy(master) : (await scans()) > start + 2));
  assert.ok(!gone, "it ended before the master did");
  await master.kill();
  const ended = await command.ended;
  assert.equal(ended.code, 3, `${args[0]}: ${ended.stdout}${ended.stderr}`);
  await servers.promoted(master, slot, 60_000);
  await master.restart();
  return ended;
}

/** Returns the first slot of a master. */
async function slotOf(master: ClusterNode): Promise<[number]> {
  const own = `${await master.say("CLUSTER", "NODES")}`.split("\n").find((line) => line.includes("myself"));
  return [Number(/(\d+)-/.exec(own?.split(" ").slice(8).join(" ") ?? "")?.[1])];
}
