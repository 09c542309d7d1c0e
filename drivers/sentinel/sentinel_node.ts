import { type NodeAddress, nodeName } from "../../src/base/hosts.ts";
import { unref } from "../../src/base/timers.ts";
import { errorReply, type Reply, StoreError } from "../driver.ts";
import { ignore, isErrorReply } from "../node_redis/errors.ts";
import type { NodeRedisTls } from "../node_redis/options.ts";
import { disconnect, type OwnClient } from "../node_redis/own_client.ts";
import { atAddress, dial, type RedisAddress } from "../node_redis/redis_address.ts";
import { withoutArguments } from "../node_redis/resp.ts";

/** The channel on which sentinels announce a new master. */
const CHANNEL = "+switch-master";
/** The shortest and the longest pause between two attempts to listen, in milliseconds. */
const SHORTEST_PAUSE = 200;
const LONGEST_PAUSE = 2000;
/** The interval in milliseconds between PINGs to a sentinel that is listened to, and how long it may take to answer. */
const PINGS = 2000;

/** The answer of a sentinel. */
export interface Answer {
  readonly address: NodeAddress;
  /** The number of the failover that made it the master: a higher one is newer. */
  readonly epoch: number;
}

/** The settings that all sentinels of a driver share. */
export interface SharedSettings {
  /** The name of the master. */
  readonly name: string;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly tls?: boolean | NodeRedisTls | undefined;
  /** The most milliseconds for a connection, with its first answers. */
  readonly patience: number;
  /** Called when a sentinel announces that another server is the master. */
  onSwitch(to: NodeAddress): void;
  /** Called when a sentinel can be heard again: what it announced before was not heard. */
  onHeard(): void;
}

/** One sentinel: it is asked for the master on connections of their own, and listened to on another one. */
export class SentinelNode {
  readonly endpoint: string;
  readonly #settings: SharedSettings;
  readonly #address: RedisAddress;
  #attempt: AbortController | undefined;
  #client: OwnClient | undefined;
  #failures = 0;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #pings: ReturnType<typeof setInterval> | undefined;
  #closed = false;

  constructor(address: NodeAddress, settings: SharedSettings) {
    const { username, password, tls, patience: connectTimeout } = settings;
    const login = { ...(username !== undefined && { username }), ...(password !== undefined && { password }) };
    const options = { ...address, ...login, ...(tls !== undefined && { tls }) };
    this.endpoint = nodeName(address);
    this.#settings = settings;
    this.#address = { size: 1, connectTimeout, pingInterval: undefined, ...atAddress(options, connectTimeout) };
  }

  /** True while its announcements are heard. */
  get heard(): boolean {
    return this.#client !== undefined;
  }

  /** Asks for the master. @throws {StoreError} If it does not answer, or names none. */
  async ask(abort: AbortController): Promise<Answer> {
    const { name } = this.#settings;
    let answer: Answer | undefined;
    const client = await dial(this.#address, 0, abort, ignore, async (client) => {
      const say = (...command: string[]) => client.sendCommand(command) as Promise<Reply>;
      const failed = (error: unknown) => {
        throw this.#explain(error);
      };
      const [where, facts] = await Promise.all([
        say("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name).catch(failed),
        say("SENTINEL", "MASTER", name).catch(() => null),
      ]);
      if (!Array.isArray(where)) throw await this.#unknown(say);
      const address = { host: String(where[0]), port: Number(where[1]) };
      answer = { address, epoch: Number(fact(facts, "config-epoch")) || 0 };
    }).catch((error) => {
      throw this.#explain(error);
    });
    disconnect(client);
    return answer as unknown as Answer;
  }

  /** Starts to listen, and goes on by itself until it is closed. */
  listen(): void {
    if (this.#client || this.#attempt || this.#pause || this.#closed) return;
    this.#open();
  }

  close(): void {
    this.#closed = true;
    this.#leave();
  }

  async #open(): Promise<void> {
    const attempt = new AbortController();
    this.#attempt = attempt;
    const { name, onSwitch, onHeard } = this.#settings;
    let client: OwnClient | undefined;
    const lose = () => this.#lose(client);
    try {
      client = await dial(this.#address, 0, attempt, lose, (client) =>
        client.subscribe(
          CHANNEL,
          (message) => {
            const [named, , , host, port] = String(message).split(" ");
            if (named === name && host) onSwitch({ host, port: Number(port) });
          },
          true,
        ),
      );
    } catch {
      // Those who ask it for the master get the reason.
    }
    if (this.#attempt !== attempt) {
      if (client) disconnect(client);
      return;
    }
    this.#attempt = undefined;
    if (!client?.isReady) {
      this.#retry();
      return;
    }
    this.#client = client;
    this.#failures = 0;
    this.#keepAlive(client);
    onHeard();
  }

  /** Sends PINGs, because a dead connection looks like one without messages. */
  #keepAlive(client: OwnClient): void {
    const lose = () => this.#lose(client);
    this.#pings = setInterval(() => {
      const late = setTimeout(lose, PINGS);
      unref(late);
      const answered = () => clearTimeout(late);
      client.sendCommand(["PING"]).then(answered, (error) => (isErrorReply(error) ? answered() : lose()));
    }, PINGS);
    unref(this.#pings);
  }

  #lose(client: OwnClient | undefined): void {
    if (!client || client !== this.#client) return;
    this.#leave();
    this.#retry();
  }

  #retry(): void {
    if (this.#closed) return;
    this.#pause = setTimeout(
      () => {
        this.#pause = undefined;
        this.#open();
      },
      Math.min(SHORTEST_PAUSE * 2 ** this.#failures++, LONGEST_PAUSE),
    );
    unref(this.#pause);
  }

  #leave(): void {
    const client = this.#client;
    this.#client = undefined;
    this.#attempt?.abort(new StoreError("closed", "The driver is closed"));
    this.#attempt = undefined;
    clearTimeout(this.#pause);
    this.#pause = undefined;
    clearInterval(this.#pings);
    if (client) disconnect(client);
  }

  /** Makes the error of a sentinel that does not know the master, with the names that it knows. */
  async #unknown(say: (...command: string[]) => Promise<Reply>): Promise<StoreError> {
    const masters = await say("SENTINEL", "MASTERS").catch(() => null);
    const names = (Array.isArray(masters) ? masters : []).map((facts) => fact(facts, "name"));
    const text = `the sentinel at ${this.endpoint} does not know this name, but ${names.join(", ") || "none"}`;
    return new StoreError("connection", text);
  }

  /** Makes the error of a sentinel that gave no answer. */
  #explain(error: unknown): StoreError {
    if (!isErrorReply(error)) {
      return error instanceof StoreError ? error : new StoreError("connection", `${this.endpoint}: ${error}`);
    }
    const { kind, code, message } = errorReply(withoutArguments(error.message));
    const [, word] = /unknown command [`']?(sentinel)/i.exec(message) ?? [];
    const stores = `use redis://${this.endpoint} if it is a single server, redis+cluster:// if it is of a cluster`;
    const login = code === "NOAUTH" ? ": set sentinelPassword, or REDIS_SENTINEL_PASSWORD" : "";
    const advice = word ? `, so it is not a sentinel: ${stores}` : login;
    return new StoreError(kind === "auth" ? "auth" : "connection", `${this.endpoint} says ${message}${advice}`, {
      code,
    });
  }
}

/** Returns a value of a list of names and values. */
function fact(facts: Reply, name: string): Reply | undefined {
  const list = (Array.isArray(facts) ? facts : []) as Reply[];
  return list[list.indexOf(name) + 1];
}
