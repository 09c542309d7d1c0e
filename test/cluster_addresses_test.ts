/** The cluster driver where nodes are reached by other names, over TLS, by proxies, or not at all. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { type ClusterOptions, cluster } from "../drivers/cluster.ts";
import type { Command, Driver, StoreError } from "../drivers/driver.ts";
import { makeCertificate } from "./helpers/certificate.ts";
import { type FaultProxy, startProxy } from "./helpers/proxy.ts";
import { type RedisCluster, startCluster } from "./helpers/redis_cluster.ts";
import { before7, freePort, type RedisServer, startRedis } from "./helpers/redis_server.ts";

const T = { timeout: 20_000 };
const SETS = ["a", "b", "c"].map((key): Command => ["SET", key, 1]);
/** The name that nodes announce. Redis 6.2 knows their IP addresses only. */
const NAME = before7() ? "127.0.0.1" : "localhost";

async function using(options: ClusterOptions, run: (driver: Driver) => Promise<void>): Promise<void> {
  const driver = cluster(options);
  try {
    await run(driver);
  } finally {
    await driver.close();
  }
}

async function failure(promise: Promise<unknown>): Promise<StoreError> {
  return promise.then(
    () => assert.fail("it did not reject"),
    (error) => error,
  );
}

describe("cluster with addresses of other kinds", () => {
  let folder: string;
  let servers: RedisCluster;
  let ca: string;
  const secure = new Map<number, number>();

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "larder-tls-"));
    const certificate = makeCertificate(folder, "DNS:localhost");
    ca = certificate.ca;
    const free = await Promise.all(Array.from({ length: 6 }, () => freePort()));
    servers = await startCluster({
      args(port) {
        const tls = secure.get(port) ?? (free.pop() as number);
        secure.set(port, tls);
        return [
          ...["--tls-port", `${tls}`, ...certificate.args],
          ...["--requirepass", "secret", "--masterauth", "secret"],
          ...(before7() ? [] : ["--cluster-announce-hostname", NAME, "--cluster-preferred-endpoint-type", "hostname"]),
        ];
      },
      password: "secret",
    });
  });
  after(async () => {
    await servers?.stop();
    rmSync(folder, { recursive: true });
  });

  it("send reaches nodes by their announced names", () =>
    using({ nodes: servers.addresses, password: "secret" }, async (driver) => {
      assert.deepEqual(await driver.send(0, SETS, T), ["OK", "OK", "OK"]);
      const names = servers.addresses.map((address) => address.replace("127.0.0.1", NAME));
      assert.deepEqual([...(driver.parts?.() ?? [])].sort(), names.sort());
    }));

  it("send verifies each node's name over TLS, at ports that mapAddress knows", async () => {
    const [first] = [...secure.values()];
    const options: ClusterOptions = {
      nodes: [{ host: "localhost", port: first as number }],
      password: "secret",
      tls: { ca },
      // Redis 7 gives the other port, unless its nodes talk over TLS as well.
      mapAddress: ({ host, port }) => ({ host: before7() ? "localhost" : host, port: secure.get(port) ?? port }),
    };
    await using(options, async (driver) => {
      assert.deepEqual(await driver.send(0, SETS, T), ["OK", "OK", "OK"]);
      const connection = await driver.connect?.(0);
      assert.deepEqual(await connection?.send(SETS), ["OK", "OK", "OK"]);
      assert.equal(driver.parts?.().length, 3);
    });
    const byAddress = { ...options, nodes: [`127.0.0.1:${first}`] };
    await using(byAddress, async (driver) => {
      const { kind, message } = await failure(driver.send(0, SETS, T));
      assert.equal(kind, "connection");
      assert.match(message, /^Cannot reach the cluster at 127\.0\.0\.1:\d+: Cannot connect to Redis at /);
    });
  });

  it("send rejects with kind auth when the password is wrong, and shows it nowhere", () =>
    using({ nodes: servers.addresses, password: "wrong-password" }, async (driver) => {
      const { kind, message } = await failure(driver.send(0, SETS, T));
      assert.equal(kind, "auth");
      assert.match(message, /^Cannot reach the cluster at .*: Cannot log in to Redis at 127\.0\.0\.1:\d+: WRONGPASS/);
      assert.ok(!message.includes("wrong-password"));
    }));

  it("send goes through proxies that mapAddress names, and again after they cut connections", async () => {
    const proxies = new Map<number, FaultProxy>();
    for (const { port } of servers.nodes) proxies.set(port, await startProxy(port));
    const mapAddress: NonNullable<ClusterOptions["mapAddress"]> = ({ port }) => ({
      host: "127.0.0.1",
      port: proxies.get(port)?.port as number,
    });
    await using({ nodes: [servers.addresses[0] as string], password: "secret", mapAddress }, async (driver) => {
      assert.deepEqual(await driver.send(0, SETS, T), ["OK", "OK", "OK"]);
      const names = [...proxies.values()].map(({ port }) => `127.0.0.1:${port}`);
      assert.deepEqual([...(driver.parts?.() ?? [])].sort(), names.sort());
      for (const proxy of proxies.values()) proxy.cut();
      assert.deepEqual(await retried(() => driver.send(0, SETS, T)), ["OK", "OK", "OK"]);
    });
    await Promise.all([...proxies.values()].map((proxy) => proxy.stop()));
  });

  it("send says which address mapAddress could not map", async () => {
    const failing: NonNullable<ClusterOptions["mapAddress"]>[] = [
      () => {
        throw new Error("no route");
      },
      () => ({ host: "", port: 0 }),
      () => undefined as never,
    ];
    for (const mapAddress of failing) {
      await using({ nodes: servers.addresses, password: "secret", mapAddress }, async (driver) => {
        assert.match(
          (await failure(driver.send(0, SETS, T))).message,
          new RegExp(`Cannot map the address ${NAME}:\\d+: `),
        );
      });
    }
  });
});

/** Sends again while connections are lost. */
async function retried<T extends readonly unknown[]>(send: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const replies = await send().catch((error) => [error] as unknown as T);
    if (attempt === 20 || !replies.some((reply) => reply instanceof Error)) return replies;
  }
}

describe("cluster of one node that never met another", () => {
  let servers: RedisCluster;
  before(async () => {
    servers = await startCluster({ masters: 1 });
  });
  after(() => servers?.stop());

  it("send takes the asked host when the cluster gives none", () =>
    using({ nodes: [`localhost:${servers.nodes[0]?.port}`] }, async (driver) => {
      assert.deepEqual(await driver.send(0, SETS, T), ["OK", "OK", "OK"]);
      const [part = ""] = driver.parts?.() ?? [];
      assert.match(part, /^(localhost|127\.0\.0\.1):\d+$/);
    }));

  /** Runs a program with a driver in a process of its own, and returns what it printed when it has ended by itself. */
  async function run(code: string): Promise<string> {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const driver = new URL(`../drivers/cluster.${extension}`, import.meta.url).href;
    const script = `
      import { cluster } from ${JSON.stringify(driver)};
      async function give(promise) {
        const waiting = setTimeout(() => {}, 20_000);
        console.log(await promise.then((replies) => String(replies), ({ message }) => message));
        clearTimeout(waiting);
      }
      ${code}`;
    const flags = process.versions.bun ? ["-e"] : "Deno" in globalThis ? ["eval"] : ["--input-type=module", "-e"];
    const child = spawn(process.execPath, [...flags, script], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += chunk;
      });
    }
    const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
    const [status] = await once(child, "close");
    clearTimeout(timer);
    assert.equal(status, 0, `did not exit by itself: ${output}`);
    return output;
  }

  it("the process exits by itself when the driver was not closed, with a tracking and a node away", async () => {
    const refused = await freePort();
    const output = await run(`
      const driver = cluster({ nodes: ["127.0.0.1:${servers.nodes[0]?.port}", "127.0.0.1:${refused}"] });
      await give(driver.send(0, [["ECHO", "here"]], { timeout: 20_000 }));
      driver.track(0, "", { invalidate() {}, up() {}, down() {} });
      const away = cluster({ nodes: ["127.0.0.1:${refused}"] });
      await give(away.send(0, [["PING"]], { timeout: 20_000 }));
      away.track(0, "", { invalidate() {}, up() {}, down() {} });`);
    assert.match(output, /here\nCannot reach the cluster at /);
  });

  it("the process exits by itself when a node accepts and never answers", async () => {
    const proxy = await startProxy(servers.nodes[0]?.port as number);
    await proxy.set("blackhole");
    const output = await run(`
      const driver = cluster({ nodes: ["127.0.0.1:${proxy.port}"] });
      await give(driver.send(0, [["PING"]], { timeout: 300 }));`);
    assert.match(output, /Cannot reach the cluster at /);
    await proxy.stop();
  });
});

describe("cluster given a single server", () => {
  let server: RedisServer;
  before(async () => {
    server = await startRedis();
  });
  after(() => server?.stop());

  it("send says that the server is not a node of a cluster", () =>
    using({ nodes: [`127.0.0.1:${server.port}`] }, async (driver) => {
      const { message } = await failure(driver.send(0, SETS, T));
      assert.match(message, /^Cannot reach the cluster at 127\.0\.0\.1:\d+: .*cluster support disabled.*single server/);
    }));
});

describe("cluster, its options", () => {
  const bad: [options: object, message: RegExp][] = [
    [{}, /^Cannot set nodes of cluster: received a value of type undefined, expected a list of "host:port"$/],
    [{ nodes: [] }, /^Cannot set nodes of cluster: expected servers as /],
    [{ nodes: "h:1" }, /^Cannot set nodes of cluster: received a value of type string/],
    [{ nodes: ["redis://:secret@h:1"] }, /^Cannot set nodes of cluster: expected servers as host:port; user, password/],
    [{ nodes: ["h:0"] }, /^Cannot set nodes of cluster: expected a port from 1 to 65535$/],
    [{ nodes: [{ host: "h", port: "1" }] }, /^Cannot set nodes of cluster: /],
    [{ nodes: ["h"], database: 1 }, /^Cannot set the options of cluster: received "database", expected \{ nodes, /],
    [{ nodes: ["h"], pool: { size: 0 } }, /^Cannot set size of cluster\.pool: received 0/],
    [{ nodes: ["h"], tls: { cipher: "x" } }, /^Cannot set the options of cluster\.tls: received "cipher"/],
    [{ nodes: ["h"], mapAddress: "x" }, /^Cannot set mapAddress of cluster: .*expected a function$/],
    [{ nodes: ["h"], connectTimeout: "soon" }, /connectTimeout/],
    [{ nodes: ["h"], password: 1 }, /^Cannot set password of cluster: /],
  ];
  for (const [options, message] of bad) {
    it(`cluster throws when the options are ${JSON.stringify(options)}`, () => {
      assert.throws(
        () => cluster(options as ClusterOptions),
        (error) => {
          assert.match((error as Error).message, message);
          return !(error as Error).message.includes("secret");
        },
      );
    });
  }

  it("cluster takes nodes as text and as parts, with IPv6 in brackets", async () => {
    const driver = cluster({ nodes: ["h", "h:7000", "[::1]:7001", { host: "::1" }, { host: "h", port: 7000 }] });
    assert.equal(driver.partOf?.("a"), "h:6379");
    assert.deepEqual(driver.parts?.(), []);
    await driver.close();
    await assert.rejects(driver.send(0, [["PING"]]), { kind: "closed" });
  });
});
