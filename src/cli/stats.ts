import type { Command } from "commander";
import { type Inspection, inspect } from "../manager/manager.ts";
import { isTerminal } from "../system.ts";
import { addExamples, addStoreFlags, seconds, whole } from "./flags.ts";
import { bytes, count, duration, grouped, percent, table } from "./format.ts";
import type { Run } from "./run.ts";
import type { CommonFlags } from "./shell.ts";
import { pause } from "./stop.ts";

interface Flags extends CommonFlags {
  /** `true` without a number. */
  readonly watch?: number | true;
  readonly maxKeys?: number;
}

const WATCH_SECONDS = 2;

/** Adds `larder stats`. */
export function addStats(program: Command, run: Run): void {
  const command = program
    .command("stats")
    .summary("hit rate, latency, memory, keys a service")
    .description(
      "Shows hit rate, latency, memory, evictions, keys a service, and what processes with fleetStats counted.",
    )
    .option(
      "-w, --watch [seconds]",
      `again and again, every ${WATCH_SECONDS} s by default: on a terminal in place, in a pipe a line each`,
      seconds,
    )
    .option("--max-keys <number>", "the most keys that are counted for each service (default: 1000000)", whole(1));
  addStoreFlags(command);
  addExamples(command, "stats", "stats --watch 5", "stats --json");
  command.action((flags: Flags) =>
    run(flags, async (shell) => {
      const { output, json, signal } = shell;
      const { watch, maxKeys } = flags;
      const { client, name, timeout } = await shell.open();
      const live = watch !== undefined && !json && isTerminal("stdout");
      let drawn = 0;
      for (;;) {
        if (drawn === 0) output.progress("counting");
        const found = await inspect(client, { signal, timeout, maxKeys });
        signal.throwIfAborted();
        if (json) await output.json({ at: new Date().toISOString(), ...found });
        else if (watch !== undefined && !live) await output.line(summary(found));
        else {
          const lines = show(name, found, output.paint("bold"));
          if (live && drawn > 0) output.text(`\x1b[${drawn}A\x1b[J`);
          for (const line of lines) await output.line(line);
          drawn = lines.length;
        }
        await output.flush();
        if (watch === undefined) return 0;
        await pause((watch === true ? WATCH_SECONDS : watch) * 1000, signal);
      }
    }),
  );
}

const UNKNOWN = "unknown";

function memory({ memoryUsed: used, memoryLimit: limit, policy }: Inspection): string {
  if (used === null) return UNKNOWN;
  const of = limit ? ` of ${bytes(limit)} (${percent(used / limit)})` : ", no limit";
  return `${bytes(used)}${of}${policy === null ? "" : `, ${policy}`}`;
}

function hitRate({ hitRate, hits, misses }: Inspection): string {
  return hitRate === null ? UNKNOWN : `${percent(hitRate)} of ${count((hits ?? 0) + (misses ?? 0), "read")}`;
}

const known = (number: number | null): string => (number === null ? UNKNOWN : grouped(number));

function show(name: string, found: Inspection, bold: (text: string) => string): string[] {
  const { version, latency, databases, evictions, expired, clients, services, fleet } = found;
  const about = [version !== null && `version ${version}`, `${databases} databases`].filter(Boolean).join(", ");
  const lines = [
    `${bold(name)}  ${about}`,
    `latency    ${latency === null ? UNKNOWN : milliseconds(latency)}`,
    `hit rate   ${hitRate(found)}`,
    `memory     ${memory(found)}`,
    `evictions  ${known(evictions)}, ${known(expired)} expired`,
    `clients    ${known(clients)}`,
    "",
  ];
  const counted = Object.values(fleet).some(({ hits, misses, writes }) => hits + misses + writes > 0);
  const head = ["service", "keys", ...(counted ? ["hit rate", "hits", "misses", "writes", "errors"] : [])];
  const rows = services.map(({ service, keys, more }) => {
    const all = fleet[service];
    const numbers = all ? [all.hits, all.misses, all.writes, all.errors].map(grouped) : ["-", "-", "-", "-"];
    const rate = all && all.hits + all.misses > 0 ? percent(all.hitRate) : "-";
    return [service, `${grouped(keys)}${more ? "+" : ""}`, ...(counted ? [rate, ...numbers] : [])];
  });
  return [...lines, ...table(head, rows, [1, 2, 3, 4, 5, 6])];
}

function summary(found: Inspection): string {
  const keys = found.services.reduce((sum, service) => sum + service.keys, 0);
  const more = found.services.some((service) => service.more) ? "+" : "";
  return [
    new Date().toISOString(),
    `keys ${keys}${more}`,
    `memory ${memory(found)}`,
    `hit rate ${hitRate(found)}`,
    `evictions ${known(found.evictions)}`,
    `clients ${known(found.clients)}`,
    `latency ${found.latency === null ? UNKNOWN : milliseconds(found.latency)}`,
  ].join("  ");
}

function milliseconds(latency: number): string {
  return latency < 1000 ? `${latency.toFixed(1)} ms` : duration(latency);
}
