import type { Command } from "commander";
import { formatCount, formatNumber, formatPercent } from "../base/format.ts";
import { MOST_KEYS } from "../manager/inspect.ts";
import { type Inspection, inspect } from "../manager/mod.ts";
import { findServices } from "../manager/services.ts";
import { addExamples, addStoreFlags, seconds, wholeNumber } from "./flags.ts";
import { harmless, table } from "./format.ts";
import { memoryText, nodeTable, time, UNKNOWN } from "./picture.ts";
import type { Run } from "./run.ts";
import type { CommonFlags } from "./shell.ts";
import { watch } from "./watch.ts";

interface Flags extends CommonFlags {
  /** In seconds; `true` without a value. */
  readonly watch?: number | true;
  readonly maxKeys?: number;
}

/** Adds `larder stats`. */
export function addStats(program: Command, run: Run): void {
  const command = program
    .command("stats")
    .summary("show hit rate, latency, memory and the keys of each service")
    .description(
      "Shows hit rate, latency, memory, evictions, the keys of each service, and the statistics of processes that " +
        "have fleetStats on. With --watch, it keeps showing the current numbers and the alerts.",
    )
    .option(
      "-w, --watch [time]",
      "refresh this often: seconds, or a time such as 1m (default: 2, over REST 30)",
      seconds,
    )
    .option(
      "--max-keys <number>",
      `the maximum number of keys to count for each service, without --watch (default: ${MOST_KEYS})`,
      wholeNumber(1),
    );
  addStoreFlags(command);
  addExamples(command, "stats", "stats --watch 5", "stats --json");
  command.action((flags: Flags) =>
    run(flags, async (shell) => {
      const { output, json, signal } = shell;
      const { watch: every, maxKeys } = flags;
      if (every !== undefined) return watch(shell, every === true ? undefined : every);
      const { client, name, timeout } = await shell.open();
      output.progress("counting");
      await findServices(client, { signal, timeout });
      const found = await inspect(client, { signal, timeout, maxKeys });
      signal.throwIfAborted();
      if (json) await output.json({ at: new Date().toISOString(), ...found });
      else for (const line of show(name, found, output.paint("bold"))) await output.line(line);
      return 0;
    }),
  );
}

/** Returns the hit rates: that of the applications, and that of the server, which counts the library's reads too. */
function hitRates({ fleet, hitRate, hits, misses }: Inspection): string[] {
  const sum = (name: "hits" | "misses"): number => Object.values(fleet).reduce((all, one) => all + one[name], 0);
  const reads = sum("hits") + sum("misses");
  const counted =
    reads > 0
      ? `${formatPercent(sum("hits") / reads)} of ${formatCount(reads, "read")}, by the counts of the applications`
      : `${UNKNOWN}: no application counts (CACHE_FLEET_STATS=true)`;
  if (hitRate === null) return [counted];
  const server = `${formatPercent(hitRate)} of ${formatCount((hits ?? 0) + (misses ?? 0), "read")}`;
  return [counted, `${server} by the server's count, the library's own look-ups included`];
}

const known = (number: number | null): string => (number === null ? UNKNOWN : formatNumber(number));

function show(name: string, found: Inspection, bold: (text: string) => string): string[] {
  const { server, version, latency, databases, evictions, expired, clients, services, fleet, nodes } = found;
  const about = [version !== null && `${server} ${harmless(version)}`, `${databases} databases`]
    .filter(Boolean)
    .join(", ");
  const lines = [
    `${bold(name)}  ${about}`,
    `latency    ${time(latency)}`,
    ...hitRates(found).map((line, at) => `${at === 0 ? "hit rate" : "        "}   ${line}`),
    `memory     ${memoryText(found)}`,
    `evictions  ${known(evictions)}, ${known(expired)} expired`,
    `clients    ${known(clients)}`,
    "",
    ...(nodes.length > 0 ? [...nodeTable(nodes), ""] : []),
  ];
  const counted = Object.values(fleet).some(({ hits, misses, writes }) => hits + misses + writes > 0);
  const head = ["service", "keys", ...(counted ? ["hit rate", "hits", "misses", "writes", "errors"] : [])];
  const rows = services.map(({ service, keys, more }) => {
    const all = fleet[service];
    const numbers = all ? [all.hits, all.misses, all.writes, all.errors].map(formatNumber) : ["-", "-", "-", "-"];
    const rate = all && all.hits + all.misses > 0 ? formatPercent(all.hitRate) : "-";
    return [service, `${formatNumber(keys)}${more ? "+" : ""}`, ...(counted ? [rate, ...numbers] : [])];
  });
  return [...lines, ...table(head, rows, [1, 2, 3, 4, 5, 6])];
}
