import type { Command } from "commander";
import { formatBytes, formatCount, formatNumber, formatPercent } from "../base/format.ts";
import { BUSIEST, commandsFor, FULLEST, type Plan, planFor, planOf, type Traffic } from "../manager/capacity.ts";
import { openManagedConnection } from "../manager/connection.ts";
import { REFERENCE, REFERENCE_NAME } from "../manager/costs.ts";
import { readInfo } from "../manager/inspect.ts";
import { type MeasuredStore, measureStore } from "../manager/measure_store.ts";
import { type ServerNumbers, serverOf } from "../manager/nodes.ts";
import { UsageError } from "./errors.ts";
import { addExamples, addStoreFlags, wholeNumber } from "./flags.ts";
import { harmless, table } from "./format.ts";
import type { Run } from "./run.ts";
import type { CommonFlags } from "./shell.ts";

type Flags = CommonFlags & Traffic;

/** The largest value that is written to measure, in bytes. */
const LARGEST = 2 ** 20;
const MONTH_SECONDS = 30 * 86_400;

/** Adds `larder capacity`. */
export function addCapacity(program: Command, run: Run): void {
  const command = program
    .command("capacity")
    .summary("compute how many servers a traffic needs")
    .description(
      "Computes how many servers a traffic needs, by the costs of commands on the store. To measure them, " +
        "it keeps the store busy for about two seconds, with at most 50 keys of its own that it removes. Over REST " +
        "it measures nothing, and counts what is billed.",
    );
  const add = (name: keyof Traffic, words: string, fallback: number, least = 0, most?: number): void => {
    command.option(`--${name} <number>`, words, wholeNumber(least, most), fallback);
  };
  add("reads", "reads of entries without tags that reach the store, a second", 0);
  add("tagged", "reads of entries with tags that reach the store, a second", 0);
  add("writes", "writes a second, those of loads included", 0);
  add("invalidations", "invalidations of a tag, a second", 0);
  add("clients", "the processes that use the store", 10);
  add("near", "the processes among them that have near caches", 0);
  add("together", "the reads or writes of a process in one tick, which share a round trip", 1, 1);
  add("size", "the bytes of a value", 1000, 1, LARGEST);
  add("entries", "the entries that are stored", 0);
  add("tags", "the different tags in use", 100);
  addStoreFlags(command);
  addExamples(
    command,
    "capacity --reads 50000 --writes 2000",
    "capacity --tagged 20000 --writes 500 --invalidations 5 --clients 200 --near 200 --entries 1000000",
  );
  command.action((flags: Flags) =>
    run(flags, async (shell) => {
      const { output, json, signal } = shell;
      const traffic = trafficOf(flags);
      const { client, name, timeout } = await shell.open();
      output.progress("measuring");
      const measured = await measureStore(client, { size: traffic.size, signal, timeout });
      const connection = await openManagedConnection(client, { database: 0, signal, timeout });
      const server = await readInfo(connection)
        .then(({ info, nodes: [first] }) => serverOf(first?.info ?? info))
        .finally(() => connection.close());
      const costs = typeof measured === "string" ? REFERENCE : measured;
      const plan = planFor(traffic, costs, server.memoryLimit ?? 0);
      const sum = plan ?? planOf(traffic, costs, 1);
      // The servers of other stores cannot be counted.
      const served = client.driver !== "memory" && client.driver !== "upstash";
      if (json) {
        const [known, reason] = typeof measured === "string" ? [null, measured] : [measured, null];
        const planned = served ? { enough: plan !== undefined, plan: sum } : {};
        const at = new Date().toISOString();
        await output.json({ at, measured: known, reason, traffic, ...commandsFor(traffic), ...planned });
        return 0;
      }
      const bold = output.paint("bold");
      const version = server.version === null ? "" : `  ${server.server} ${harmless(server.version)}`;
      await output.line(`${bold(name)}${version}`);
      const lines = served
        ? [...measuredLines(measured, traffic), ...sumLines(sum, server), "", bold(verdict(plan))]
        : unservedLines(client.driver, traffic, sum);
      for (const line of lines) await output.line(line);
      return 0;
    }),
  );
}

/** Returns the traffic of the options. @throws {UsageError} If it is empty, or contradicts itself. */
function trafficOf(flags: Flags): Traffic {
  const { reads, tagged, writes, invalidations, clients, near, together, size, entries, tags } = flags;
  if (reads + tagged + writes + invalidations === 0) {
    throw new UsageError(
      "Cannot compute a capacity: received no traffic, expected --reads, --tagged, --writes or --invalidations",
    );
  }
  if (near > clients) {
    throw new UsageError(
      `Cannot compute a capacity: received ${near} processes with near caches, expected at most --clients ${clients}`,
    );
  }
  return { reads, tagged, writes, invalidations, clients, near, together, size, entries, tags };
}

const titled = (title: string, text: string): string => `${title.padEnd(10)} ${text}`;
const microseconds = (cost: number): string => `${cost.toFixed(cost < 99.95 ? 1 : 0)} us`;

function measuredLines(measured: MeasuredStore | string, { size }: Traffic): string[] {
  const { trip, get, set, script } = typeof measured === "string" ? REFERENCE : measured;
  const costs =
    `${microseconds(get)} a GET, ${microseconds(set)} a SET, ${microseconds(script)} a script, ` +
    `${microseconds(trip)} more a round trip`;
  if (typeof measured === "string") {
    return [titled("not known", `${measured}: the numbers are those of ${REFERENCE_NAME}`), titled("", costs)];
  }
  const busy = `before, it was busy for ${formatPercent(measured.busy)} of a core`;
  return [titled("measured", `${costs}, with ${formatBytes(size)} a value`), titled("", busy), ""];
}

function sumLines({ works, busy, masters, memory, network }: Plan, { memoryLimit }: ServerNumbers): string[] {
  const rows = works.map(({ name, times, cost }) => [
    name,
    formatNumber(Math.round(times)),
    microseconds(cost),
    formatPercent((times * cost) / 1e6),
  ]);
  const sum = ["sum", "", "", formatPercent(busy * masters)];
  const limit = memoryLimit
    ? `, of which a server keeps ${formatPercent(FULLEST, 0)} of ${formatBytes(memoryLimit)}`
    : "";
  return [
    ...table(["", "a second", "each", "of a core"], [...rows, sum], [1, 2, 3]),
    "",
    titled("memory", `${formatBytes(Math.ceil(memory))}${limit}`),
    titled("network", `${formatBytes(Math.ceil(network))} a second for reads`),
  ];
}

function verdict(plan: Plan | undefined): string {
  const most = `at most ${formatPercent(BUSIEST, 0)} is planned for`;
  if (plan === undefined) {
    return `Not even a large cluster is enough, if ${most}: see docs/scaling.md for what costs less`;
  }
  const { masters, shards, busy } = plan;
  const used = `${formatPercent(busy)} of a core, and ${most}`;
  return masters === 1
    ? `One server is enough: ${used}. With a replica and Sentinels, it may fail`
    : `A cluster of ${masters} masters is enough, with ${shards} shards: ${used}. With a replica each, they may fail`;
}

/** Returns the lines about a store whose servers cannot be counted. */
function unservedLines(driver: string, traffic: Traffic, { memory }: Plan): string[] {
  if (driver === "memory") {
    return [
      "The embedded store is a part of each process: without a server, nothing is measured",
      titled("memory", `${formatBytes(Math.ceil(memory))} in each process, if each keeps all`),
    ];
  }
  const { requests, commands } = commandsFor(traffic);
  const line = (count: number, one: string): string =>
    `${formatCount(Math.ceil(count), one)} a second, ${formatNumber(Math.ceil(count * MONTH_SECONDS))} in 30 days`;
  return [
    "Over REST, the store's processor cannot be measured. Its provider limits and bills these",
    titled("commands", line(commands, "command")),
    titled("requests", line(requests, "request")),
    titled("memory", formatBytes(Math.ceil(memory))),
  ];
}
