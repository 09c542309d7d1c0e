/**
 * A real master with its replica, and the sentinels that watch them, for tests.
 *
 * @module
 */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Command, type Reply, StoreError } from "../../drivers/driver.ts";
import { eventually } from "./eventually.ts";
import { type RedisServer, rawClient, rawCommand, startRedis } from "./redis_server.ts";

/** Options of {@linkcode startSentinels}. */
export interface SentinelOptions {
  /** More arguments of the master and the replica. */
  readonly args?: readonly string[];
  /** More lines of the sentinels' configuration, without the name of the master: `["requirepass secret"]`. */
  readonly lines?: readonly string[];
  /** The name of the master. @default "mymaster" */
  readonly name?: string;
  /** The password of the master and the replica. @default none */
  readonly password?: string;
  /** Milliseconds of silence after which a server counts as down. @default 1000 */
  readonly downAfter?: number;
}

/** A server or a sentinel. It keeps its port when it is started again. */
export interface SentinelNode {
  readonly port: number;
  /** `127.0.0.1:{port}` */
  readonly address: string;
  readonly running: boolean;
  /** Sends one command on a connection of its own. */
  say(...command: Command): Promise<Reply>;
  /** kill -9, and waits until it is gone. */
  kill(): Promise<void>;
  /** Starts it again after {@linkcode kill}; a server is empty then, until it has found its master. */
  restart(): Promise<void>;
  /** SIGSTOP: connections are still accepted by the kernel, and nothing answers. */
  pause(): void;
  /** SIGCONT */
  resume(): void;
}

/** Servers with sentinels that a test started, and must stop. */
export interface SentinelServers {
  readonly name: string;
  /** The master of the start, then its replica. */
  readonly nodes: readonly SentinelNode[];
  readonly sentinels: readonly SentinelNode[];
  /** The addresses of the sentinels. */
  readonly addresses: readonly string[];
  /** Returns the node that a running sentinel calls the master. */
  master(): Promise<SentinelNode>;
  /** Waits until another node than the given one is the master for all running sentinels, and returns it. */
  promoted(old: SentinelNode): Promise<SentinelNode>;
  /** Waits until the node that is not the master follows it, and all sentinels know so and each other. */
  ready(): Promise<void>;
  /** Ends all processes, and resolves when they are gone. */
  stop(): Promise<void>;
}

/** Starts a master, its replica and three sentinels, and waits until they know each other. */
export async function startSentinels(options: SentinelOptions = {}): Promise<SentinelServers> {
  const { name = "mymaster", password, downAfter = 1000 } = options;
  const folder = await mkdtemp(join(tmpdir(), "larder-sentinel-"));
  const login = password === undefined ? [] : ["--requirepass", password, "--masterauth", password];
  const args = [...login, ...(options.args ?? [])];
  const nodes: Node[] = [];
  const sentinels: Node[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all([...nodes, ...sentinels].map((node) => node.kill()));
    await rm(folder, { recursive: true, force: true });
  };
  try {
    nodes.push(new Node(await startRedis({ args }), args, password));
    const [{ port }] = nodes as [Node];
    const following = [...args, "--replicaof", "127.0.0.1", `${port}`];
    nodes.push(new Node(await startRedis({ args: following }), args, password));
    const lines = [
      `sentinel monitor ${name} 127.0.0.1 ${port} 2`,
      `sentinel down-after-milliseconds ${name} ${downAfter}`,
      `sentinel failover-timeout ${name} 1000`,
      ...(password === undefined ? [] : [`sentinel auth-pass ${name} ${password}`]),
      ...(options.lines ?? []),
    ];
    const own = /requirepass (\S+)/.exec(lines.join("\n"))?.[1];
    sentinels.push(
      ...(await Promise.all(
        [0, 1, 2].map(async (index) => {
          const file = join(folder, `${index}.conf`);
          await writeFile(file, `${lines.join("\n")}\n`);
          const arguments_ = ["--sentinel"];
          return new Node(await startRedis({ file, args: arguments_ }), arguments_, own, file);
        }),
      )),
    );
    const servers: SentinelServers = {
      name,
      nodes,
      sentinels,
      addresses: sentinels.map(({ address }) => address),
      async master() {
        const [sentinel] = sentinels.filter(({ running }) => running);
        const reply = await sentinel?.say("SENTINEL", "get-master-addr-by-name", name);
        const found = nodes.find(({ port }) => Array.isArray(reply) && Number(reply[1]) === port);
        if (!found) throw new Error(`No sentinel knows the master: ${reply}`);
        return found;
      },
      async promoted(old) {
        const other = nodes.find((node) => node !== old) as Node;
        await eventually(async () => {
          for (const sentinel of sentinels.filter(({ running }) => running)) {
            const reply = await sentinel.say("SENTINEL", "get-master-addr-by-name", name);
            if (!Array.isArray(reply) || Number(reply[1]) !== other.port) return false;
          }
          return true;
        });
        return other;
      },
      ready: () =>
        eventually(async () => {
          const master = await servers.master();
          const replica = nodes.find((node) => node !== master) as Node;
          const up = String(await replica.say("INFO", "replication"));
          // The sentinels would demote it ten seconds later.
          if (/role:master/.test(up)) await replica.say("REPLICAOF", "127.0.0.1", master.port);
          if (!/role:slave[\s\S]*master_link_status:up/.test(up)) return false;
          for (const sentinel of sentinels) {
            const reply = await sentinel.say("SENTINEL", "MASTER", name);
            if (!Array.isArray(reply)) return false;
            const of = (field: string) => reply[reply.indexOf(field) + 1];
            if (Number(of("port")) !== master.port || of("flags") !== "master") return false;
            if (Number(of("num-slaves")) !== 1 || Number(of("num-other-sentinels")) !== 2) return false;
            const replicas = await sentinel.say("SENTINEL", "REPLICAS", name);
            if (!/,flags,slave,/.test(String(replicas))) return false;
          }
          return true;
        }, 60_000),
      stop,
    };
    await servers.ready();
    return servers;
  } catch (error) {
    await stop();
    throw error;
  }
}

class Node implements SentinelNode {
  running = true;
  readonly port: number;
  readonly #args: readonly string[];
  readonly #password: string | undefined;
  readonly #file: string | undefined;
  #server: RedisServer;

  constructor(server: RedisServer, args: readonly string[], password?: string, file?: string) {
    this.#server = server;
    this.port = server.port;
    this.#args = args;
    this.#password = password;
    this.#file = file;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async say(...command: Command): Promise<Reply> {
    if (this.#password === undefined) return rawCommand(this.port, command);
    const client = await rawClient(this.port);
    try {
      const [login, reply] = await client.pipeline([["AUTH", this.#password], command]);
      return login instanceof StoreError ? login : (reply as Reply);
    } finally {
      client.close();
    }
  }

  async kill(): Promise<void> {
    this.running = false;
    await this.#server.stop();
  }

  async restart(): Promise<void> {
    const file = this.#file;
    this.#server = await startRedis({ port: this.port, args: this.#args, ...(file !== undefined && { file }) });
    this.running = true;
  }

  pause(): void {
    this.#server.pause();
  }

  resume(): void {
    this.#server.resume();
  }
}
