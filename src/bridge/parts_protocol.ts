/**
 * Serves a store of several parts, such as a cluster. The driver's connections send each command to the part of its
 * first key, and the servers refuse a command whose keys lie in several slots with CROSSSLOT. What is added here:
 * commands about the whole store go to every part, a transaction to the part of its keys, and MONITOR listens to all
 * parts.
 *
 * @module
 */

import { type Connection, type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";
import { hashSlot } from "../base/crc16.ts";
import { routingKey } from "../base/routing_key.ts";
import type { Connections, Protocol, ProtocolOptions } from "./protocol.ts";

/** Joins the replies of all parts to one. */
type Join = (replies: readonly RawReply[]) => RawReply;

const first: Join = (replies) => replies[0] ?? null;
const sum: Join = (replies) => replies.reduce((all: number, reply) => all + Number(reply), 0);

/** The commands that are sent to every part, and how their replies are joined. */
const EVERYWHERE: Readonly<Record<string, Join>> = {
  DBSIZE: sum,
  KEYS: (replies) => replies.flatMap((reply) => reply as readonly RawReply[]),
  FLUSHALL: first,
  FLUSHDB: first,
  "SCRIPT LOAD": first,
  "SCRIPT FLUSH": first,
  // A script exists if every part has it.
  "SCRIPT EXISTS": (replies) =>
    (replies[0] as readonly RawReply[]).map((_, i) =>
      Math.min(...replies.map((reply) => Number((reply as readonly RawReply[])[i]))),
    ),
  "FUNCTION LOAD": first,
  "FUNCTION DELETE": first,
  "FUNCTION FLUSH": first,
  "FUNCTION RESTORE": first,
};

function joinOf([name, subcommand]: RawCommand): Join | undefined {
  const command = String(name).toUpperCase();
  return EVERYWHERE[/^(SCRIPT|FUNCTION)$/.test(command) ? `${command} ${String(subcommand).toUpperCase()}` : command];
}

/** The times that a transaction is sent again whose slot has moved. */
const REPEATS = 3;
/** The milliseconds before that: a slot that is being moved needs a while. */
const PAUSE = 50;

/** A protocol over the parts of a store. */
export class PartsProtocol implements Protocol {
  readonly binary = true;
  readonly #options: ProtocolOptions;
  readonly #connections: Connections;

  constructor(options: ProtocolOptions, connections: Connections) {
    this.#options = options;
    this.#connections = connections;
  }

  async send(commands: readonly RawCommand[]): Promise<readonly RawReply[]> {
    if (!commands.some(joinOf)) return await this.#connections.send(commands);
    const replies: RawReply[] = [];
    let plain: RawCommand[] = [];
    const flush = async (): Promise<void> => {
      if (plain.length > 0) replies.push(...(await this.#connections.send(plain)));
      plain = [];
    };
    // In order: a pipeline may load a script and then call it.
    for (const command of commands) {
      const join = joinOf(command);
      if (!join) {
        plain.push(command);
        continue;
      }
      await flush();
      replies.push(await this.#everywhere(command, join));
    }
    await flush();
    return replies;
  }

  async transaction(commands: readonly RawCommand[]): Promise<readonly RawReply[] | StoreError> {
    const keys = commands.map(routingKey).filter((key) => key !== undefined);
    if (new Set(keys.map(hashSlot)).size > 1) {
      const text =
        "CROSSSLOT Keys of a transaction don't hash to the same slot: give them one hash tag, such as {user:1}";
      return new StoreError("command", text, { code: "CROSSSLOT" });
    }
    const [key] = keys;
    const [any = ""] = await this.#parts();
    for (let attempt = 0; ; attempt++) {
      const part = key === undefined ? any : (this.#options.driver.partOf?.(key) ?? any);
      const result = await this.#connections.transaction(commands, part);
      const moved = result instanceof Error && /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)$/.test(result.code);
      if (!moved || key === undefined || attempt === REPEATS) return result;
      // By the answer to a command of its own, the driver learns where the slot is now.
      await Promise.all([
        this.#connections.send([["EXISTS", key]]),
        new Promise((resolve) => setTimeout(resolve, attempt * PAUSE)),
      ]);
    }
  }

  /** Opens a connection that sends by keys, and that listens to every part. */
  async connect(): Promise<Connection> {
    const connection = await this.#connections.connect();
    const others: Connection[] = [];
    return {
      send: (commands, limits) => connection.send(commands, limits),
      listen: async (command, onReply) => {
        if (!/^monitor$/i.test(String(command[0]))) return await connection.listen(command, onReply);
        const parts = await this.#parts();
        others.push(...(await Promise.all(parts.map((part) => this.#connections.connect(part)))));
        let answered = false;
        const hear = (reply: RawReply): void => {
          // Each part begins with OK.
          if (reply === "OK" && answered) return;
          answered = true;
          onReply(reply);
        };
        await Promise.race(others.map((other) => other.listen(command, hear)));
      },
      close: async () => {
        await Promise.all([connection, ...others].map((each) => each.close()));
      },
    };
  }

  /** Sends a command to every part ahead of what waits there: to end a script, wherever it runs. */
  async sendAside(command: RawCommand): Promise<RawReply> {
    const parts = await this.#parts();
    const replies = await Promise.all(parts.map((part) => this.#connections.sendAside(command, part)));
    return replies.find((reply) => !(reply instanceof Error)) ?? replies[0] ?? null;
  }

  close(): Promise<void> {
    return this.#connections.close();
  }

  async #everywhere(command: RawCommand, join: Join): Promise<RawReply> {
    const parts = await this.#parts();
    const replies = await Promise.all(parts.map((part) => this.#connections.sendAside(command, part)));
    return replies.find((reply) => reply instanceof Error) ?? join(replies);
  }

  /** Returns the parts. The driver knows them once it has sent something. */
  async #parts(): Promise<readonly string[]> {
    const { driver } = this.#options;
    if (driver.parts?.().length === 0) await this.#connections.send([["PING"]]);
    return driver.parts?.() ?? [];
  }
}
