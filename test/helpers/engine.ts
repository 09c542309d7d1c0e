/** The ground of the tests of the read-through engine: every wire, a clock to turn, loads to hold. */
import assert from "node:assert/strict";
import process from "node:process";
import { after, before, describe } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command, Reply } from "../../drivers/driver.ts";
import { nodeRedis } from "../../drivers/node_redis.ts";
import { upstash } from "../../drivers/upstash.ts";
import { type CacheClient, type ClientOptions, createCacheClient, type Driver } from "../../mod.ts";
import { EPOCH_KEY } from "../../src/base/own_keys.ts";
import { type Keyspace, Shard } from "../../src/entry/keyspace.ts";
import { shards } from "../../src/entry/shards.ts";
import { type ContractStore, memoryStore, redisStore, sharded, upstashStore } from "./contract_stores.ts";

/** The world of a case. Its clients share one store, as processes do, and one clock for the age of entries. */
export interface Case {
  /** The time in milliseconds since 1970, for what is fresh. The store expires keys by its own, real time. */
  now: number;
  /** The options of the clients, without their clock. */
  readonly options: ClientOptions;
  /** Makes a client; it is closed with the case. */
  make(options?: ClientOptions): CacheClient;
  /** Sends a command to a database, past every client. The first argument is a key. */
  raw(database: number, name: string, key: string, ...args: (string | number)[]): Promise<Reply>;
}

/** Makes the function of a test from that of a case. */
export type OnWire = (run: (t: Case) => Promise<void>) => () => Promise<void>;

/** A promise that a test settles. */
export interface Gate<T> {
  readonly promise: Promise<T>;
  open(value: T): void;
  fail(error: unknown): void;
}

type WireName = "memory" | "TCP" | "REST" | "shards";

const WIRES: Readonly<Record<WireName, () => Promise<ContractStore>>> = {
  memory: async () => memoryStore(),
  TCP: redisStore,
  REST: () => upstashStore("redis"),
  shards: () => sharded(redisStore),
};

/** All wires, and TCP with keys that are spread over four shards. */
export const AND_SHARDS: readonly WireName[] = ["memory", "TCP", "REST", "shards"];

/**
 * Describes a subject on every wire.
 *
 * @param title The subject.
 * @param declare Declares the tests: `it("does X", onWire(async (t) => { ... }))`.
 * @param wires The wires.
 */
export function onWires(
  title: string,
  declare: (onWire: OnWire, wire: WireName) => void,
  wires: readonly WireName[] = ["memory", "TCP", "REST"],
): void {
  for (const wire of wires) {
    describe(`${title} over ${wire}`, () => {
      let store: ContractStore;
      before(async () => {
        store = await WIRES[wire]();
      });
      after(() => store?.close?.());
      declare((run) => async () => runCase(await store.open(), run), wire);
    });
  }
}

/** Runs one case on a store of its own. */
async function runCase(given: ClientOptions, run: (t: Case) => Promise<void>): Promise<void> {
  const options: ClientOptions = { env: {}, timeout: 5000, ...given };
  const clients: CacheClient[] = [];
  let driver: Driver | undefined;
  const t: Case = {
    now: 1_700_000_000_000,
    options,
    make(more) {
      const client = createCacheClient({ ...options, clock: () => t.now, ...more });
      clients.push(client);
      return client;
    },
    async raw(database, name, key, ...args) {
      driver ??= rawDriver(options);
      const numbered = driver.capabilities.numbered;
      const at = numbered ? database : 0;
      const prefix = numbered ? "" : `db${database}:`;
      const { shards: count } = options.cluster ?? {};
      const space = count === undefined ? new Shard(at, prefix) : (shards(count)(at, prefix) as Keyspace);
      // Locks lie with their key, and every shard has an epoch.
      const [, locked = key] = /^#larder:(?:held|lock):(.+)/.exec(key) ?? [];
      const places = name === "UNLINK" && key === EPOCH_KEY ? space.shards : [space.of(locked)];
      const replies = await driver.send(
        at,
        places.map((shard): Command => [name, shard.key(key), ...args]),
      );
      return replies[0] as Reply;
    },
  };
  try {
    await run(t);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
    if (driver !== options.driver) await driver?.close();
  }
}

function rawDriver({ driver, url = "", token = "" }: ClientOptions): Driver {
  if (typeof driver === "object") return driver;
  return driver === "upstash" ? upstash({ url, token }) : nodeRedis({ url });
}

/** A promise to settle later. What it rejects with is handled. */
export function gate<T = void>(): Gate<T> {
  let open: (value: T) => void = () => {};
  let fail: (error: unknown) => void = () => {};
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  promise.catch(() => {});
  return { promise, open, fail };
}

/** Takes what a client leaves for later. */
export class Background {
  /** The number of promises that it took. */
  taken = 0;
  readonly waitUntil = (promise: Promise<unknown>): void => {
    this.taken++;
    this.#all.push(promise);
  };
  #all: Promise<unknown>[] = [];

  /** Resolves when all work is done, including work that is added while it waits. */
  async done(): Promise<void> {
    while (this.#all.length > 0) await Promise.all(this.#all.splice(0));
  }
}

/** Runs a function, and fails if a rejection was left unhandled in that time. */
export async function handlingAll(run: () => Promise<void>): Promise<void> {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  try {
    await run();
    // Runtimes report them after the microtasks.
    await sleep(5);
  } finally {
    process.off("unhandledRejection", note);
  }
  assert.deepEqual(unhandled, []);
}
