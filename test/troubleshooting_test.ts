/** Compares the output that docs/troubleshooting.md shows with that of doctor, on stores in the same states. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { createCacheClient } from "../mod.ts";
import { larder } from "./helpers/larder.ts";
import { freePort, type RedisServer, rawClient, rawCommand, startRedis } from "./helpers/redis_server.ts";

const LIMIT = { timeout: 120_000 };
const GUIDE = readFileSync("docs/troubleshooting.md", "utf8");

/** Returns the blocks that a section of the guide shows. */
function shownIn(section: string): string[] {
  const [, text] = new RegExp(`\n## ${section}\n([\\s\\S]*?)(?=\n## |$)`).exec(GUIDE) ?? [];
  assert.ok(text, section);
  const blocks = [...text.matchAll(/```console\n\$ larder doctor.*\n([\s\S]*?)```/g)].map(
    ([, block]) => block as string,
  );
  assert.ok(blocks.length > 0, section);
  return blocks;
}

/** Text in which all numbers are alike. */
function alike(text: string): string {
  return text.replace(/\d+([.,]\d+)*/g, "0");
}

describe("the troubleshooting guide", () => {
  const servers: RedisServer[] = [];
  const start = async (...args: string[]): Promise<RedisServer> => {
    const server = await startRedis({ args });
    servers.push(server);
    return server;
  };
  after(() => Promise.all(servers.map((server) => server.stop())));

  /** Returns the output and the exit code of doctor. */
  const doctor = async (url: string): Promise<readonly [printed: string, code: number | null]> => {
    const { code, stdout, stderr } = await larder(["doctor", "--url", url]);
    assert.equal(stderr, "");
    return [alike(stdout), code];
  };

  it("shows what doctor prints when nothing listens, and when the password is wrong", LIMIT, async () => {
    const [refused, wrong, ...more] = shownIn("Connection failed").map(alike);
    assert.equal(more.length, 0);
    assert.deepEqual(await doctor(`redis://127.0.0.1:${await freePort()}`), [refused, 3]);
    const server = await start("--requirepass", "s3cret");
    assert.deepEqual(await doctor(server.url.replace("//", "//:wrong@")), [wrong, 3]);
  });

  it("shows what doctor prints when the store refuses a part of it", LIMIT, async () => {
    const [scripts, commands, replication, databases, ...more] = shownIn("Refused").map(alike);
    assert.equal(more.length, 0);
    const server = await start();
    await using client = createCacheClient({ env: {}, url: server.url, timeout: 5000, logger: false });
    await client.service("auth").sessions.set("token", { userId: "u1" });
    const user = server.url.replace("//", "//shop:pw@");
    const allow = async (...rights: string[]): Promise<void> => {
      const command = ["ACL", "SETUSER", "shop", "reset", "on", ">pw", "~*", "resetchannels", ...rights] as const;
      assert.equal(await rawCommand(server.port, command), "OK");
    };
    const folder = await mkdtemp(join(tmpdir(), "larder-"));
    const cluster = await start("--cluster-enabled", "yes", "--dir", folder);
    const states = [
      [scripts, user, () => allow("+@read", "+@write", "+select", "+info", "+time")],
      [commands, user, () => allow("+@all", "-scan", "-time")],
      [replication, (await start("--replicaof", `127.0.0.1 ${server.port}`)).url, () => {}],
      [databases, cluster.url, () => {}],
    ] as const;
    for (const [block, url, prepare] of states) {
      await prepare();
      const [printed, code] = await doctor(url);
      assert.ok(printed.includes(block as string), printed);
      assert.equal(code, 1);
    }
    await rm(folder, { recursive: true });
  });

  it("shows what doctor prints when a hit rate is low, and when no process counts", LIMIT, async () => {
    const [low, unknown, ...more] = shownIn("Low hit rate").map(alike);
    assert.equal(more.length, 0);
    const { url } = await start();
    for (const fleetStats of [false, true]) {
      const client = createCacheClient({ env: {}, url, timeout: 5000, fleetStats });
      const { products } = client.service("product");
      const { profiles } = client.service("user");
      await products.set(0, { id: 0, name: "Phở" });
      await profiles.set("u", { id: "u", name: "Linh" });
      for (let i = 0; i < 400; i++) await products.get(i % 4);
      for (let i = 0; i < 150; i++) await profiles.get("u");
      await client.close();
      const [printed, code] = await doctor(url);
      assert.ok(printed.includes((fleetStats ? low : unknown) as string), printed);
      assert.equal(code, 1);
    }
  });

  it("shows what doctor prints when memory is nearly full and nothing is evicted", LIMIT, async () => {
    const [full, what, ...more] = shownIn("Memory").map(alike);
    assert.equal(more.length, 0);
    const server = await start();
    const filling = await rawClient(server.port);
    await filling.command("SELECT", 9);
    for (let i = 0; i < 100; i++) await filling.command("SET", `job:${i}`, "x");
    await filling.command("SELECT", 5);
    for (const i of [1, 2]) await filling.command("SET", `report:${i}`, "x".repeat(i * 2 ** 20), "EX", 3600);
    filling.close();
    // By another connection: what the first one had in its buffers is in use until it is gone.
    const raw = await rawClient(server.port);
    const [, used] = /used_memory:(\d+)/.exec(`${await raw.command("INFO", "memory")}`) ?? [];
    await raw.command("CONFIG", "SET", "maxmemory", Math.round(Number(used) / 0.92));
    raw.close();
    const [printed, code] = await doctor(server.url);
    for (const block of [full, what] as string[]) assert.ok(printed.includes(block), printed);
    assert.equal(code, 1);
    // The words that writes fail with.
    const client = createCacheClient({ env: {}, url: server.url, timeout: 5000 });
    const errors: string[] = [];
    client.subscribe((event) => event.type === "error" && errors.push(event.error.message));
    assert.equal(await client.service("product").products.set(1, { id: 1, name: "x".repeat(2 ** 20) }), false);
    await client.close();
    const [, words = ""] = /`(OOM [^`]*)`/.exec(GUIDE) ?? [];
    assert.ok(words && errors.some((error) => error.includes(words)), errors.join("\n"));
  });

  it("shows what doctor prints when commands are slow", LIMIT, async () => {
    const [slow, ...more] = shownIn("Slow").map(alike);
    assert.equal(more.length, 0);
    const server = await start("--enable-debug-command", "yes");
    const raw = await rawClient(server.port);
    await raw.command("DEBUG", "POPULATE", 500_000);
    await raw.command("SLOWLOG", "RESET");
    await raw.command("KEYS", "*none");
    // On a busy machine what doctor sends may be slow too.
    await raw.command("CONFIG", "SET", "slowlog-log-slower-than", -1);
    raw.close();
    const [printed, code] = await doctor(server.url);
    assert.ok(printed.includes(slow as string), printed);
    assert.equal(code, 1);
  });
});
