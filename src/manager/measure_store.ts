/**
 * Measures what a GET, a SET and a script cost a store's processor. From these and from `costs.ts` a capacity is
 * computed.
 */
import { type Connection, type RawCommand, type RawReply, StoreError } from "../../drivers/driver.ts";
import { OWN } from "../base/own_keys.ts";
import { infoNumber, parseInfo } from "./nodes.ts";
import type { ManagedClient, StepOptions } from "./target.ts";

/** The costs of commands for a store's processor, in microseconds. */
export interface StoreCosts {
  /** One send to the store and its reply, beyond its commands. */
  readonly trip: number;
  /** A GET among many in one send. */
  readonly get: number;
  /** A SET with an expiry among many in one send. */
  readonly set: number;
  /** A script of one GET among many in one send. */
  readonly script: number;
}

/** The result of a measurement. */
export interface MeasuredStore extends StoreCosts {
  /** The part of a core that the store was busy with before, 0-1 or more. */
  readonly busy: number;
}

/** Options of {@linkcode measureStore}. */
export interface MeasureOptions extends StepOptions {
  /** The bytes of a value. */
  readonly size: number;
}

/** The most keys that are written. They expire, in case the process is killed. */
const KEYS = 50;
const EXPIRY_MS = 60_000;
/** The most commands and the most bytes of one send. */
const TOGETHER = 500;
const BYTES = 2 ** 21;
/** The connections that send one command at a time: few, as a server takes less for each of many. */
const CONNECTIONS = 2;
/** The commands that each of them sends, one after the other. */
const TURNS = 20;
const ROUNDS = 3;
/** The milliseconds of one measurement. */
const SLICE_MS = 120;

const SCRIPT = "return redis.call('GET', KEYS[1])";
/** The SHA-1 of the script. */
const SHA1 = "d3c21d0c2b9ca22f82737626a27bcaf5d288f99f";

/**
 * Measures a store for about two seconds, in which it is busy. Of a store with several parts, one is measured. Writes
 * some 50 keys of the library's own, and removes them.
 *
 * @param client The client.
 * @param options The bytes of a value, and the options of the steps.
 * @returns The costs; the reason as a text if the store cannot be measured.
 * @throws {StoreError} If the store does not answer.
 */
export async function measureStore(client: ManagedClient, options: MeasureOptions): Promise<MeasuredStore | string> {
  const { size, signal, timeout } = options;
  const { driver, database, prefix } = await client.locate({ database: 0 });
  if (!driver.connect) return `${driver.name} does not tell what its processor does`;
  // Keys with one hash tag, so that a cluster has them in one part.
  const start = `${prefix}${OWN}capacity:{${Math.random().toString(36).slice(2, 10)}}:`;
  const together = Math.max(1, Math.min(TOGETHER, Math.floor(BYTES / size)));
  const keys = Array.from({ length: Math.min(KEYS, together) }, (_, i) => `${start}${i}`);
  const keyOf = (i: number): string => keys[i % keys.length] as string;
  const part = driver.partOf?.(keyOf(0));
  const step = { ...(typeof timeout === "number" && { timeout }), ...(part !== undefined && { part }) };
  const connections: Connection[] = [];
  try {
    for (let i = 0; i < CONNECTIONS; i++) connections.push(await driver.connect(database, step));
    const [first] = connections as [Connection];
    const must = async (commands: readonly RawCommand[]): Promise<RawReply[]> => {
      signal?.throwIfAborted();
      const replies = await first.send(commands, step);
      const refused = replies.find((reply) => reply instanceof StoreError);
      if (refused) throw refused;
      return replies;
    };
    const cpu = async (): Promise<number | undefined> => {
      const [reply] = await first.send([["INFO", "cpu"]], step);
      const info = parseInfo(reply);
      const user = infoNumber(info, "used_cpu_user");
      return user === null ? undefined : (user + (infoNumber(info, "used_cpu_sys") ?? 0)) * 1e6;
    };
    if ((await cpu()) === undefined) return "the server does not tell what its processor does (INFO cpu)";
    const value = "x".repeat(size);
    await must(keys.map((key): RawCommand => ["SET", key, value, "PX", EXPIRY_MS]));
    await must([["EVAL", SCRIPT, 1, keyOf(0)]]);
    const many = (of: (key: string) => RawCommand): (() => Promise<number>) => {
      const commands = Array.from({ length: together }, (_, i) => of(keyOf(i)));
      return async () => (await must(commands)).length;
    };
    const works = {
      alone: async () => {
        const ask = async (one: Connection, key: string): Promise<void> => {
          for (let time = 0; time < TURNS; time++) {
            signal?.throwIfAborted();
            await one.send([["GET", key]], step);
          }
        };
        await Promise.all(connections.map((one, i) => ask(one, keyOf(i))));
        return connections.length * TURNS;
      },
      get: many((key) => ["GET", key]),
      set: many((key) => ["SET", key, value, "PX", EXPIRY_MS]),
      script: many((key) => ["EVALSHA", SHA1, 1, key]),
    };
    const busy = await spend(cpu, () => new Promise((done) => setTimeout(() => done(0), SLICE_MS)));
    const rounds: Record<keyof typeof works, number>[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const costs = { alone: 0, get: 0, set: 0, script: 0 };
      for (const name of Object.keys(works) as (keyof typeof works)[]) {
        const { used, units, elapsed } = await spend(cpu, works[name]);
        // Other clients of the store are taken to go on as before.
        costs[name] = Math.max(0, used - (busy.used / busy.elapsed) * elapsed) / units;
      }
      rounds.push(costs);
    }
    const median = (name: keyof typeof works): number =>
      rounds.map((costs) => costs[name]).sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] as number;
    const [alone, get, set, script] = [median("alone"), median("get"), median("set"), median("script")];
    return { trip: Math.max(0, alone - get), get, set, script, busy: busy.used / busy.elapsed / 1000 };
  } finally {
    await connections[0]?.send([["DEL", ...keys]], step).catch(() => {});
    await Promise.all(connections.map((one) => one.close()));
  }
}

/** Works for a slice of time. Returns the used microseconds, the units of work, and the milliseconds. */
async function spend(
  cpu: () => Promise<number | undefined>,
  work: () => Promise<number>,
): Promise<{ used: number; units: number; elapsed: number }> {
  const before = (await cpu()) as number;
  const start = performance.now();
  let units = 0;
  do units += await work();
  while (performance.now() - start < SLICE_MS);
  const elapsed = performance.now() - start;
  return { used: ((await cpu()) as number) - before, units, elapsed };
}
