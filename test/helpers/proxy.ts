/**
 * A TCP proxy on 127.0.0.1 that fails on demand.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { connect, createServer, type Server, type Socket } from "node:net";

/**
 * The behaviour of the proxy from now on, on open connections too:
 *
 * - `"pass"`: forwards everything
 * - `"refuse"`: cuts its connections and stops listening
 * - `"blackhole"`: accepts, never forwards or answers
 * - `"drop"`: forwards requests, and cuts the connection in place of the reply: executed, not answered
 * - `resetAfter`: cuts a connection after so many more bytes of its replies
 * - `delay`: forwards replies so many milliseconds late
 * - `rewrite`: forwards the function's result for each chunk of a reply
 * - `replace`: forwards nothing, and answers each command (or chunk, if it is not RESP) with this text
 */
export type ProxyMode =
  | "pass"
  | "refuse"
  | "blackhole"
  | "drop"
  | { readonly resetAfter: number }
  | { readonly delay: number }
  | { readonly rewrite: (text: string) => string }
  | { readonly replace: string };

/** A proxy that a test started, and must stop. */
export interface FaultProxy {
  readonly port: number;
  /** Connections accepted since the start. */
  readonly accepted: number;
  /** Connections that are open now. */
  readonly open: number;
  /** Changes what the proxy does. */
  set(mode: ProxyMode): Promise<void>;
  /**
   * Leads later connections to another port of 127.0.0.1, as a name does after a failover; those that are open stay.
   */
  lead(port: number): void;
  /** Cuts every open connection. */
  cut(): void;
  /** Cuts everything and stops listening. Stopping twice is stopping once. */
  stop(): Promise<void>;
}

/** Starts a proxy in front of a port of 127.0.0.1. */
export async function startProxy(targetPort: number): Promise<FaultProxy> {
  const clients = new Set<Socket>();
  let mode: ProxyMode = "pass";
  let allowance = 0;
  let accepted = 0;
  let server: Server | undefined;
  let leadsTo = targetPort;

  const accept = (client: Socket) => {
    accepted++;
    clients.add(client);
    const target = connect(leadsTo, "127.0.0.1");
    const countCommands = commandCounter();
    const end = () => {
      clients.delete(client);
      client.destroy();
      target.destroy();
    };
    for (const socket of [client, target]) {
      socket.setNoDelay(true);
      socket.on("error", end);
      socket.on("close", end);
    }
    client.on("data", (chunk: Buffer) => {
      const commands = countCommands(chunk);
      if (mode === "blackhole") return;
      if (typeof mode === "object" && "replace" in mode) client.write(mode.replace.repeat(commands));
      else target.write(chunk);
    });
    target.on("data", (chunk: Buffer) => {
      if (mode === "blackhole") return;
      if (mode === "drop") return end();
      if (mode === "pass" || mode === "refuse" || "replace" in mode) return void client.write(chunk);
      if ("rewrite" in mode) return void client.write(mode.rewrite(chunk.toString("latin1")), "latin1");
      if ("delay" in mode) return void setTimeout(() => client.writable && client.write(chunk), mode.delay);
      if (allowance > chunk.length) client.write(chunk);
      else client.write(chunk.subarray(0, allowance), end);
      allowance -= Math.min(allowance, chunk.length);
    });
  };
  const listen = async (port: number) => {
    const listening = createServer(accept);
    await new Promise<void>((done, fail) => listening.once("error", fail).listen(port, "127.0.0.1", done));
    server = listening;
    const address = listening.address();
    return typeof address === "object" && address ? address.port : port;
  };
  const cut = () => {
    for (const client of clients) client.destroy();
  };
  const stop = async () => {
    const closing = server;
    server = undefined;
    cut();
    if (closing) await new Promise((done) => closing.close(done));
  };

  const port = await listen(0);
  return {
    port,
    get accepted() {
      return accepted;
    },
    get open() {
      return clients.size;
    },
    async set(next) {
      mode = next;
      if (typeof next === "object" && "resetAfter" in next) allowance = next.resetAfter;
      if (next === "refuse") await stop();
      else if (!server) await listen(port);
    },
    lead(next) {
      leadsTo = next;
    },
    cut,
    stop,
  };
}

/** Counts the RESP commands that start in each chunk of a stream; a chunk that is not RESP counts as one. */
function commandCounter(): (chunk: Buffer) => number {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    let commands = 0;
    while (rest.length > 0) {
      if (rest[0] !== 42) {
        rest = Buffer.alloc(0);
        return commands + 1;
      }
      let at = rest.indexOf("\r\n") + 2;
      if (at < 2) break;
      let left = Number(rest.toString("latin1", 1, at - 2));
      for (; left > 0; left--) {
        const end = rest.indexOf("\r\n", at);
        if (end < 0) break;
        at = end + 2 + Number(rest.toString("latin1", at + 1, end)) + 2;
      }
      if (left > 0 || at > rest.length) break;
      rest = rest.subarray(at);
      commands++;
    }
    return commands;
  };
}
