/**
 * A real cluster of redis-servers for tests, with the faults and changes that clusters have.
 *
 * @module
 */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Command, type Reply, StoreError } from "../../drivers/driver.ts";
import { eventually } from "./eventually.ts";
import { freePort, type RedisServer, rawClient, startRedis } from "./redis_server.ts";

const SLOTS = 16_384;
/** The bus of a node listens so far above its port. */
const BUS = 10_000;
/** The node timeout of the start. A longer one would make a new cluster wait for seconds more. */
const START_TIMEOUT = 1000;

/** Options of {@linkcode startCluster}. */
export interface RedisClusterOptions {
  /** @default 3 */
  readonly masters?: number;
  /** The replicas of each master. @default 0 */
  readonly replicas?: number;
  /** More arguments of redis-server, for all nodes or by the port of one. They win over the defaults. */
  readonly args?: readonly string[] | ((port: number, index: number) => readonly string[]);
  /** The password that the arguments set. */
  readonly password?: string;
  /**
   * Milliseconds of silence after which the others call a node failed. A busy machine may be silent for a second, so
   * it is long where nothing could take over. @default 1000 with replicas, 60000 without
   */
  readonly nodeTimeout?: number;
  /** True if the whole cluster stops when some slots have no master, which is the server's default. @default false */
  readonly fullCoverage?: boolean;
}

/** One node. It keeps its port and its folder when it is started again. */
export interface ClusterNode {
  readonly port: number;
  /** `127.0.0.1:{port}` */
  readonly address: string;
  /** The name of 40 digits by which the nodes call it. */
  readonly id: string;
  readonly running: boolean;
  readonly pid: number;
  /** Sends one command on a connection of its own. */
  say(...command: Command): Promise<Reply>;
  /** kill -9, and waits until it is gone. */
  kill(): Promise<void>;
  /** Starts it again after {@linkcode kill}, empty, as the node that it was; resumes it after {@linkcode pause}. */
  restart(): Promise<void>;
  /** SIGSTOP: connections are still accepted by the kernel, and nothing answers. */
  pause(): void;
  /** SIGCONT */
  resume(): void;
}

/** A slot whose keys are on their way to another node, key by key: both nodes hold some of them. */
export interface SlotMove {
  readonly slot: number;
  readonly source: ClusterNode;
  readonly target: ClusterNode;
  /** Moves some keys, or all that are there. Keys that are not there are left out. */
  keys(...keys: readonly string[]): Promise<void>;
  /** Moves the keys that are left, and gives the slot to the target. */
  end(): Promise<void>;
  /** Moves all keys back, and leaves the slot to the source. */
  cancel(): Promise<void>;
}

/** A cluster that a test started, and must stop. */
export interface RedisCluster {
  /** The masters of the start, then their replicas: one of each master, then the next of each. */
  readonly nodes: readonly ClusterNode[];
  /** The addresses of all nodes, in that order. */
  readonly addresses: readonly string[];
  /** Returns the slot of a key, as a server says it. */
  slotOf(key: string): Promise<number>;
  /** Returns the slots that a node calls its own. */
  slotsOf(node: ClusterNode): Promise<number[]>;
  /** Returns the running node that calls itself the owner of a slot, or of the slot of a key. */
  ownerOf(slot: number | string): Promise<ClusterNode>;
  /** Returns the running nodes that call themselves masters and own slots. */
  masters(): Promise<ClusterNode[]>;
  /** Returns the running replicas of a node. */
  replicasOf(node: ClusterNode): Promise<ClusterNode[]>;
  /** FLUSHALL on all masters. */
  flush(): Promise<void>;
  /** Starts the nodes again that were killed, waits until all are settled, and empties them. */
  renew(): Promise<void>;
  /** Waits until all running nodes know all slots and each other, and all replicas have their master's data. */
  settled(patience?: number): Promise<void>;
  /** Waits until a node that is not this one owns the slots of this one, and returns it. */
  promoted(old: ClusterNode, slot: number | string, patience?: number): Promise<ClusterNode>;
  /** CLUSTER FAILOVER on a replica; resolves when it is the master. */
  failover(replica: ClusterNode, how?: "FORCE" | "TAKEOVER"): Promise<void>;
  /** Begins to move a slot, and holds the state in which both nodes have a part of its keys. */
  open(slot: number, target: ClusterNode): Promise<SlotMove>;
  /** Moves a slot key by key. */
  move(slot: number, target: ClusterNode): Promise<void>;
  /** Moves slots by one command, as Valkey 9 can. @throws For a server that cannot. */
  moveAtomically(first: number, last: number, target: ClusterNode): Promise<void>;
  /** Puts each slot back to the master that had it at the start: by failovers, and key by key. */
  restore(): Promise<void>;
  /** Ends all nodes. */
  stop(): Promise<void>;
}

/**
 * Starts a cluster of servers from `REDIS_SERVER`, or on `PATH`, and waits until it is ready: some 2 s, which the
 * servers wait before they take writes.
 */
export async function startCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const { masters = 3, replicas = 0, nodeTimeout = replicas > 0 ? START_TIMEOUT : 60_000 } = options;
  const folder = await mkdtemp(join(tmpdir(), "larder-cluster-"));
  const nodes: Node[] = [];
  try {
    for (let index = 0; index < masters * (1 + replicas); index++) nodes.push(await startNode(folder, index, options));
    const cluster = new Cluster(nodes, masters, folder);
    await cluster.join();
    await Promise.all(nodes.map((node) => node.setTimeout(nodeTimeout)));
    return cluster;
  } catch (error) {
    await stopAll(nodes, folder);
    throw error;
  }
}

async function stopAll(nodes: readonly Node[], folder: string): Promise<void> {
  await Promise.all(nodes.map((node) => node.kill()));
  await rm(folder, { recursive: true, force: true });
}

async function startNode(folder: string, index: number, options: RedisClusterOptions): Promise<Node> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    if (port + BUS > 65_535) continue;
    const node = new Node(port, argumentsOf(folder, port, index, options), options.password);
    try {
      await node.restart();
      return node;
    } catch (error) {
      // Somebody took the port, or that of its bus.
      if (attempt >= 5) throw error;
    }
  }
}

function argumentsOf(folder: string, port: number, index: number, options: RedisClusterOptions): string[] {
  const { args = [], fullCoverage = false } = options;
  return [
    ["--dir", folder, "--cluster-enabled", "yes", "--cluster-config-file", `nodes-${port}.conf`],
    ["--cluster-node-timeout", `${START_TIMEOUT}`, "--cluster-require-full-coverage", fullCoverage ? "yes" : "no"],
    typeof args === "function" ? args(port, index) : args,
  ].flat();
}

/** Returns the slots that a master has at the start. */
function slotsOf(index: number, masters: number): number[] {
  const first = Math.round((index * SLOTS) / masters);
  const end = Math.round(((index + 1) * SLOTS) / masters);
  return Array.from({ length: end - first }, (_, offset) => first + offset);
}

class Node implements ClusterNode {
  readonly port: number;
  readonly address: string;
  id = "";
  running = false;
  readonly #args: readonly string[];
  #server: RedisServer | undefined;
  #paused = false;
  #timeout = START_TIMEOUT;
  readonly #password: string | undefined;

  constructor(port: number, args: readonly string[], password: string | undefined) {
    this.#password = password;
    this.port = port;
    this.address = `127.0.0.1:${port}`;
    this.#args = args;
  }

  get pid(): number {
    return this.#server?.pid ?? -1;
  }

  async say(...command: Command): Promise<Reply> {
    const [reply = null] = await this.sayAll([command]);
    return reply;
  }

  /** Sends commands in one write, on a connection of its own. */
  async sayAll(commands: readonly Command[]): Promise<Reply[]> {
    const client = await rawClient(this.port);
    try {
      if (this.#password !== undefined) await client.command("AUTH", this.#password);
      return await client.pipeline(commands);
    } finally {
      client.close();
    }
  }

  async kill(): Promise<void> {
    this.running = false;
    this.#paused = false;
    await this.#server?.stop();
  }

  async restart(): Promise<void> {
    if (this.#paused) return this.resume();
    this.#server = await startRedis({ port: this.port, args: this.#args });
    this.running = true;
    this.id = `${await this.say("CLUSTER", "MYID")}`;
    await this.setTimeout(this.#timeout);
  }

  /** Sets the node timeout, also for later starts. */
  async setTimeout(timeout: number): Promise<void> {
    if (timeout !== START_TIMEOUT) {
      expectDone(await this.say("CONFIG", "SET", "cluster-node-timeout", timeout));
    }
    this.#timeout = timeout;
  }

  pause(): void {
    this.running = false;
    this.#paused = true;
    this.#server?.pause();
  }

  resume(): void {
    this.running = true;
    this.#paused = false;
    this.#server?.resume();
  }
}

/** Throws an error reply. */
function expectDone(reply: Reply): void {
  if (reply instanceof StoreError) throw reply;
}

class Cluster implements RedisCluster {
  readonly nodes: readonly Node[];
  readonly #masters: number;
  readonly #folder: string;

  constructor(nodes: readonly Node[], masters: number, folder: string) {
    this.nodes = nodes;
    this.#masters = masters;
    this.#folder = folder;
  }

  get addresses(): string[] {
    return this.nodes.map(({ address }) => address);
  }

  async join(): Promise<void> {
    const masters = this.nodes.slice(0, this.#masters);
    for (const [index, node] of this.nodes.entries()) {
      expectDone(await node.say("CLUSTER", "SET-CONFIG-EPOCH", index + 1));
    }
    for (const [index, node] of masters.entries()) {
      expectDone(await node.say("CLUSTER", "ADDSLOTS", ...slotsOf(index, masters.length)));
    }
    // Each pair, because gossip would take seconds.
    for (const [index, node] of this.nodes.entries()) {
      for (const { port } of this.nodes.slice(0, index)) {
        expectDone(await node.say("CLUSTER", "MEET", "127.0.0.1", port));
      }
    }
    for (const [index, node] of this.nodes.slice(this.#masters).entries()) {
      const { id } = masters[index % this.#masters] as Node;
      await eventually(async () => !((await node.say("CLUSTER", "REPLICATE", id)) instanceof StoreError));
    }
    await this.settled();
  }

  async slotOf(key: string): Promise<number> {
    return Number(await this.#any().say("CLUSTER", "KEYSLOT", key));
  }

  slotsOf(node: ClusterNode): Promise<number[]> {
    return ownSlots(node);
  }

  async ownerOf(slot: number | string): Promise<ClusterNode> {
    const wanted = typeof slot === "string" ? await this.slotOf(slot) : slot;
    for (const node of this.#running()) if ((await ownSlots(node)).includes(wanted)) return node;
    throw new Error(`No running node owns slot ${wanted}`);
  }

  async masters(): Promise<ClusterNode[]> {
    const running = this.#running();
    const slots = await Promise.all(running.map(ownSlots));
    return running.filter((_, index) => slots[index]?.length !== 0);
  }

  async replicasOf(node: ClusterNode): Promise<ClusterNode[]> {
    const running = this.#running();
    const masters = await Promise.all(running.map(async (each) => (await ownLine(each))[3]));
    return running.filter((_, index) => masters[index] === node.id);
  }

  async flush(): Promise<void> {
    for (const node of await this.masters()) expectDone(await node.say("FLUSHALL"));
  }

  async renew(): Promise<void> {
    for (const node of this.nodes) if (!node.running) await node.restart();
    await this.settled();
    await this.flush();
  }

  async settled(patience = 30_000): Promise<void> {
    const running = this.#running();
    await eventually(async () => {
      const views = await Promise.all(running.map(viewOf));
      return new Set(views).size === 1 && views[0] !== undefined;
    }, patience);
  }

  async promoted(old: ClusterNode, slot: number | string, patience = 30_000): Promise<ClusterNode> {
    let owner: ClusterNode | undefined;
    await eventually(async () => {
      owner = await this.ownerOf(slot).catch(() => undefined);
      return owner !== undefined && owner !== old;
    }, patience);
    return owner as ClusterNode;
  }

  async failover(replica: ClusterNode, how?: "FORCE" | "TAKEOVER"): Promise<void> {
    const done = async (): Promise<boolean> => (await ownSlots(replica)).length > 0;
    // The servers give up one that has not ended within five seconds, as on a machine with much to do.
    for (let time = 1; ; time++) {
      expectDone(await replica.say("CLUSTER", "FAILOVER", ...(how ? [how] : [])));
      try {
        return await eventually(done, 7000);
      } catch (error) {
        if (time === 4) throw error;
      }
    }
  }

  async open(slot: number, target: ClusterNode): Promise<SlotMove> {
    const source = await this.ownerOf(slot);
    if (source === target) throw new Error(`Slot ${slot} is there already`);
    expectDone(await target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id));
    expectDone(await source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id));
    const assign = async (owner: ClusterNode) => {
      const others = (await this.masters()).filter((node) => node !== owner);
      for (const node of [owner, ...others]) {
        // A replica hears of it from its master.
        if ((await ownLine(node))[3] !== "-") continue;
        expectDone(await node.say("CLUSTER", "SETSLOT", slot, "NODE", owner.id));
      }
      // A message from before the move, about the old owner, could take the slot from a node that has not heard of its
      // epoch, if the next move began before.
      await eventually(async () => {
        const epochs = await Promise.all(this.#running().map((node) => epochOf(node, owner.id)));
        return new Set(epochs).size === 1;
      });
    };
    return {
      slot,
      source,
      target,
      keys: (...keys) => moveKeys(slot, source, target, keys),
      async end() {
        await moveKeys(slot, source, target, []);
        await assign(target);
      },
      async cancel() {
        expectDone(await source.say("CLUSTER", "SETSLOT", slot, "STABLE"));
        await moveKeys(slot, target, source, []);
        await assign(source);
      },
    };
  }

  async move(slot: number, target: ClusterNode): Promise<void> {
    await (await this.open(slot, target)).end();
  }

  async moveAtomically(first: number, last: number, target: ClusterNode): Promise<void> {
    const source = await this.ownerOf(first);
    expectDone(await source.say("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", target.id));
    await eventually(async () => (await ownSlots(target)).includes(last));
  }

  async restore(): Promise<void> {
    for (const [index, node] of this.nodes.slice(0, this.#masters).entries()) {
      const wanted = new Set(slotsOf(index, this.#masters));
      if (/role:slave/.test(`${await node.say("INFO", "replication")}`)) {
        await this.failover(node);
        await this.settled();
      }
      for (const other of await this.masters()) {
        if (other === node) continue;
        for (const slot of await ownSlots(other)) if (wanted.has(slot)) await this.move(slot, node);
      }
    }
  }

  stop(): Promise<void> {
    return stopAll(this.nodes, this.#folder);
  }

  #running(): Node[] {
    return this.nodes.filter(({ running }) => running);
  }

  #any(): Node {
    const [node] = this.#running();
    if (!node) throw new Error("No node of the cluster is running");
    return node;
  }
}

/** Returns the fields of the line about itself in a node's CLUSTER NODES. */
async function ownLine(node: ClusterNode): Promise<string[]> {
  const lines = `${await node.say("CLUSTER", "NODES")}`.split("\n");
  return (lines.find((line) => line.includes("myself")) ?? "").split(" ");
}

/** Returns the epoch of a node as another one knows it. */
async function epochOf(node: ClusterNode, id: string): Promise<string | undefined> {
  const lines = `${await node.say("CLUSTER", "NODES")}`.split("\n");
  return lines.find((line) => line.startsWith(id))?.split(" ")[6];
}

async function ownSlots(node: ClusterNode): Promise<number[]> {
  const ranges = (await ownLine(node)).slice(8).filter((text) => /^\d+(-\d+)?$/.test(text));
  return ranges.flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
  });
}

/** Returns what a node knows about all slots and nodes, or `undefined` while something is missing. */
async function viewOf(node: Node): Promise<string | undefined> {
  const [info, text, replication] = await node.sayAll([
    ["CLUSTER", "INFO"],
    ["CLUSTER", "NODES"],
    ["INFO", "replication"],
  ]);
  if (!/cluster_state:ok[\s\S]*cluster_slots_assigned:16384/.test(`${info}`)) return undefined;
  if (/role:slave/.test(`${replication}`) && !/master_link_status:up/.test(`${replication}`)) return undefined;
  const lines = `${text}`.trim().split("\n");
  if (lines.some((line) => /handshake|fail\?|:0@/.test(line))) return undefined;
  const known = lines.map((line) => {
    const [id, , flags, master, , , epoch, , ...slots] = line.split(" ");
    const role = /fail/.test(flags ?? "") ? "failed" : /master/.test(flags ?? "") ? "master" : "replica";
    return [id, role, master, epoch, ...slots.filter((range) => !range.startsWith("["))].join(" ");
  });
  return known.sort().join("\n");
}

/** Moves keys of a slot, or all of them. */
async function moveKeys(
  slot: number,
  source: ClusterNode,
  target: ClusterNode,
  keys: readonly string[],
): Promise<void> {
  const migrate = async (some: readonly string[]) =>
    expectDone(await source.say("MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, "KEYS", ...some));
  if (keys.length > 0) return migrate(keys);
  while (true) {
    const page = (await source.say("CLUSTER", "GETKEYSINSLOT", slot, 100)) as string[];
    if (page.length === 0) return;
    await migrate(page);
  }
}
