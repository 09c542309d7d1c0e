/** A cluster of redis-servers on this machine: 3 masters with a replica each, which keep nothing on disk. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";

const MASTERS = 3;
const SLOTS = 16_384;
/** The milliseconds of silence after which the others call a node failed. Servers wait 15 s unless told otherwise. */
const NODE_TIMEOUT = 1000;
/** The time that the cluster may take to start, in milliseconds. */
const PATIENCE = 20_000;

/** The cluster. */
export interface Servers {
  /** The addresses of all nodes: the masters first, then their replicas. */
  readonly addresses: readonly string[];
  /** Sends a command to one node. */
  ask(address: string, ...command: string[]): Promise<unknown>;
  /** Ends a node at once, as `kill -9` does. */
  kill(address: string): void;
  /** Ends all nodes, and removes their folder. */
  stop(): Promise<void>;
}

/** Starts the cluster, and waits until it takes writes. */
export async function startServers(): Promise<Servers> {
  const folder = mkdtempSync(join(tmpdir(), "larder-example-"));
  const ports: number[] = [];
  while (ports.length < 2 * MASTERS) ports.push(await freePort());
  const children = ports.map((port) => launch(port, folder));
  const killAll = () => children.forEach((child) => void child.kill("SIGKILL"));
  process.on("exit", killAll);
  const servers: Servers = {
    addresses: ports.map((port) => `127.0.0.1:${port}`),
    ask,
    kill: (address) => void children[ports.indexOf(portOf(address))]?.kill("SIGKILL"),
    async stop() {
      const ended = children.filter(({ exitCode, signalCode }) => (exitCode ?? signalCode) === null);
      const gone = ended.map((child) => once(child, "exit"));
      killAll();
      await Promise.all(gone);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await meet(servers);
  } catch (error) {
    await servers.stop();
    throw error;
  }
  return servers;
}

const portOf = (address: string): number => Number(address.split(":")[1]);

function launch(port: number, folder: string): ChildProcess {
  const network = ["--port", `${port}`, "--bind", "127.0.0.1"];
  const files = ["--dir", folder, "--save", "", "--cluster-config-file", `nodes-${port}.conf`];
  const cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", `${NODE_TIMEOUT}`];
  // One lost master shall not stop the others.
  const others = ["--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0"];
  const args = [...network, ...files, ...cluster, ...others];
  return spawn(process.env.REDIS_SERVER || "redis-server", args, { stdio: "ignore" });
}

/** Gives the masters their slots and their replicas, and waits until all nodes agree. */
async function meet({ addresses }: Servers): Promise<void> {
  await until(async () => (await Promise.all(addresses.map((address) => ask(address, "PING")))).length > 0);
  const [masters, replicas] = [addresses.slice(0, MASTERS), addresses.slice(MASTERS)];
  for (const [i, address] of addresses.entries()) {
    await ask(address, "CLUSTER", "SET-CONFIG-EPOCH", `${i + 1}`);
    // Each pair, because the nodes take seconds to tell each other.
    for (const other of addresses.slice(0, i)) await ask(address, "CLUSTER", "MEET", ...other.split(":"));
  }
  for (const [i, address] of masters.entries()) {
    const [from, to] = [i, i + 1].map((n) => Math.round((n * SLOTS) / MASTERS)) as [number, number];
    const slots = Array.from({ length: to - from }, (_, n) => `${from + n}`);
    await ask(address, "CLUSTER", "ADDSLOTS", ...slots);
  }
  for (const [i, address] of replicas.entries()) {
    const id = String(await ask(masters[i] as string, "CLUSTER", "MYID"));
    await until(() => ask(address, "CLUSTER", "REPLICATE", id));
  }
  await until(async () => {
    for (const address of addresses) {
      const text = `${await ask(address, "CLUSTER", "INFO")}${await ask(address, "INFO", "replication")}`;
      if (!text.includes("cluster_state:ok") || text.includes("master_link_status:down")) throw new Error(text);
    }
  });
}

/** Does something again until it succeeds. */
async function until(work: () => Promise<unknown>): Promise<void> {
  for (const end = Date.now() + PATIENCE; ; await sleep(50)) {
    try {
      await work();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
}

async function ask(address: string, ...command: string[]): Promise<unknown> {
  const client = createClient({ url: `redis://${address}`, socket: { reconnectStrategy: false } });
  client.on("error", () => {});
  await client.connect();
  try {
    return await client.sendCommand(command);
  } finally {
    await client.disconnect();
  }
}

/** Returns a free port. The nodes talk to each other on a second one, 10,000 higher. */
async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    await new Promise((done) => server.close(done));
    if (typeof address === "object" && address && address.port < 55_536) return address.port;
  }
}
