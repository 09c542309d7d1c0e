/**
 * A real redis-server for tests, and a raw RESP2 client that shares no code with the drivers.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import process from "node:process";
import { type Command, errorReply, type Reply } from "../../drivers/driver.ts";

/** Options of {@linkcode startRedis}. */
export interface RedisOptions {
  /** More arguments of redis-server, such as `["--requirepass", "secret"]`. They win over the defaults. */
  readonly args?: readonly string[];
  /** The TCP port, for a server that comes back at the same address. @default a free one */
  readonly port?: number;
  /** The configuration file of a sentinel, which it also writes. @default none */
  readonly file?: string;
}

/** A redis-server that a test started, and must stop. */
export interface RedisServer {
  readonly port: number;
  /** `redis://127.0.0.1:{port}` */
  readonly url: string;
  readonly pid: number;
  /** Ends the process, and resolves when it is gone. Stopping twice is stopping once. */
  stop(): Promise<void>;
  /** SIGSTOP: connections are still accepted by the kernel, and nothing answers. */
  pause(): void;
  /** SIGCONT */
  resume(): void;
}

/** A connection that sends commands and gives the replies as they are. */
export interface RawClient {
  /** Sends one command. An error reply is a value; a lost connection rejects. */
  command(name: string, ...args: (string | number)[]): Promise<Reply>;
  /** Sends the commands in one write. */
  pipeline(commands: readonly Command[]): Promise<Reply[]>;
  close(): void;
}

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Finds a TCP port on 127.0.0.1 that is free at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  await new Promise((done) => server.close(done));
  return port;
}

/**
 * Starts a redis-server (from `REDIS_SERVER`, or on `PATH`) that keeps nothing on disk, and waits until it is ready.
 *
 * @throws When it does not start; the message holds what it printed.
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  // Between finding a free port and binding it, somebody else may take it.
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(options.port ?? (await freePort()), options.args ?? [], options.file);
    } catch (error) {
      if (options.port !== undefined || attempt === 3) throw error;
    }
  }
}

/** Makes the server send its data to replicas at once, without a file. */
const DISKLESS = ["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"];

/** Returns the name and the main version of the server that tests start. */
function serverVersion(): readonly [name: string, major: number] {
  const path = process.env.REDIS_SERVER || "redis-server";
  version ??= spawnSync(path, ["--version"], { encoding: "utf8" }).stdout ?? "";
  const [, name = "", major] = /(\w+) server v=(\d+)/.exec(version) ?? [];
  return [name, Number(major)];
}

let version: string | undefined;

/** The reason to skip a test of what Redis has since version 7; `false` if the server has it. */
export function before7(): string | false {
  const [name, major] = serverVersion();
  return name === "Redis" && major < 7 && "the server is older than Redis 7";
}

/** Returns whether the server can have several databases in cluster mode. */
export function hasClusterDatabases(): boolean {
  const [name, major] = serverVersion();
  return name === "Valkey" && major >= 9;
}

/** Returns arguments as Redis 6.2 takes them: it has no EVAL_RO, and DEBUG is always allowed. */
function asBefore7(args: readonly string[]): string[] {
  const taken: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const [name = "", value = ""] = args.slice(i, i + 2);
    if (name === "--enable-debug-command") i++;
    else if (name === "--rename-command" && value.endsWith("_RO")) i += 2;
    else if (name === "--replicaof") taken.push(name, ...(args[++i] as string).split(" "));
    else taken.push(name);
  }
  return taken;
}

async function launch(port: number, given: readonly string[], file?: string): Promise<RedisServer> {
  const path = process.env.REDIS_SERVER || "redis-server";
  const args = before7() ? asBefore7(given) : given;
  const memoryOnly = ["--save", "", "--appendonly", "no", "--repl-diskless-load", "swapdb", ...DISKLESS];
  // What another server may have left behind is not loaded.
  memoryOnly.push("--dbfilename", `test-${port}.rdb`);
  const place = ["--port", `${port}`, "--bind", "127.0.0.1"];
  const defaults = file === undefined ? [...place, ...memoryOnly] : [file, ...place];
  const child = spawn(path, [...defaults, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  const gone = new Promise<void>((done) => {
    child.once("close", () => {
      running.delete(child);
      done();
    });
  });
  let printed = "";
  await new Promise<void>((ready, fail) => {
    child.once("error", (error) => fail(new Error(`Cannot start "${path}": ${error.message}`, { cause: error })));
    child.once("close", () => fail(new Error(`"${path}" ended instead of starting: ${printed.slice(-2000)}`)));
    const listen = (chunk: unknown) => {
      if (printed.length < 100_000) printed += chunk;
      if (/Ready to accept connections|\+monitor master/.test(printed)) ready();
    };
    child.stdout?.on("data", listen);
    child.stderr?.on("data", listen);
  });
  // Not child.kill: Deno's does nothing the second time.
  const signal = (name: NodeJS.Signals) => {
    if (child.pid !== undefined && running.has(child)) process.kill(child.pid, name);
  };
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    pid: child.pid ?? -1,
    stop() {
      if (running.has(child)) child.kill("SIGKILL");
      return gone;
    },
    pause: () => signal("SIGSTOP"),
    resume: () => signal("SIGCONT"),
  };
}

/** Opens a raw connection to 127.0.0.1. */
export async function rawClient(port: number): Promise<RawClient> {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  await once(socket, "connect");
  const waiting: { resolve(reply: Reply): void; reject(error: Error): void }[] = [];
  const fail = (error: Error) => {
    for (const { reject } of waiting.splice(0)) reject(error);
  };
  readReplies(socket, (reply) => waiting.shift()?.resolve(reply));
  socket.on("error", fail);
  socket.on("close", () => fail(new Error("The raw connection was closed")));

  const pipeline = (commands: readonly Command[]): Promise<Reply[]> => {
    if (socket.destroyed) return Promise.reject(new Error("The raw connection was closed"));
    const replies = commands.map(() => new Promise<Reply>((resolve, reject) => void waiting.push({ resolve, reject })));
    socket.write(commands.map(encode).join(""));
    return Promise.all(replies);
  };
  return {
    pipeline,
    command: async (name, ...args) => (await pipeline([[name, ...args]]))[0] as Reply,
    close: () => void socket.destroy(),
  };
}

/** Sends one command on a connection of its own. */
export async function rawCommand(port: number, command: Command): Promise<Reply> {
  const client = await rawClient(port);
  try {
    return await client.command(...command);
  } finally {
    client.close();
  }
}

function encode(command: Command): string {
  return `*${command.length}\r\n${command.map((arg) => `$${Buffer.byteLength(`${arg}`)}\r\n${arg}\r\n`).join("")}`;
}

function readReplies(socket: Socket, deliver: (reply: Reply) => void): void {
  let buffer = Buffer.alloc(0);
  let at = 0;

  // `undefined`: the reply is not complete yet, read it again from its start when more has come.
  const read = (): Reply | undefined => {
    const end = buffer.indexOf("\r\n", at);
    if (end < 0) return undefined;
    const type = String.fromCharCode(buffer[at] ?? 0);
    const text = buffer.toString("utf8", at + 1, end);
    at = end + 2;
    if (type === "+") return text;
    if (type === "-") return errorReply(text);
    if (type === ":") return Number(text);
    const length = Number(text);
    if (length < 0) return null;
    if (type === "$") {
      if (buffer.length < at + length + 2) return undefined;
      at += length + 2;
      return buffer.toString("utf8", at - length - 2, at - 2);
    }
    const items: Reply[] = [];
    while (items.length < length) {
      const item = read();
      if (item === undefined) return undefined;
      items.push(item);
    }
    return items;
  };

  socket.on("data", (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk]);
    while (true) {
      at = 0;
      const reply = read();
      if (reply === undefined) return;
      buffer = buffer.subarray(at);
      deliver(reply);
    }
  });
}
