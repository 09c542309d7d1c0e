import { type Command, Option } from "commander";
import { formatBytes, formatCount, formatDuration } from "../base/format.ts";
import { keyToJson, shownBytes } from "../manager/json.ts";
import { type KeyEntry, list } from "../manager/mod.ts";
import { isTerminal } from "../runtime/process.ts";
import { defineTarget } from "./define_target.ts";
import {
  addExamples,
  addLocationFlags,
  addStoreFlags,
  type LocationFlags,
  noMore,
  takeTarget,
  wholeNumber,
} from "./flags.ts";
import { shown } from "./format.ts";
import type { Run } from "./run.ts";
import type { CommonFlags } from "./shell.ts";

interface Flags extends CommonFlags, LocationFlags {
  readonly limit?: number;
  readonly sort?: "key" | "size" | "ttl";
}

/** Adds `larder list`. */
export function addList(program: Command, run: Run): void {
  const command = program
    .command("list")
    .summary("list keys with type, TTL and size")
    .description("Lists the keys of a service, or those that match a pattern: type, TTL, size and key.")
    .argument("[service]", "the service")
    .argument("[pattern]", "only the keys that match, such as 'product:*'")
    .option("-l, --limit <number>", "the maximum number of keys to list", wholeNumber(1))
    .addOption(
      new Option("--sort <what>", "order by name, by size from the largest, or by TTL from the shortest").choices([
        "key",
        "size",
        "ttl",
      ]),
    );
  addLocationFlags(addStoreFlags(command));
  addExamples(command, "list product 'product:*'", "list order --sort size --limit 10", "list --database 9 --json");
  command.action((service: string | undefined, given: string | undefined, flags: Flags) =>
    run(flags, async (shell) => {
      const { output, signal, json } = shell;
      const { target, rest } = takeTarget([service, given], flags);
      const [pattern, ...more] = rest;
      noMore(more, "list");
      const store = await shell.open();
      await defineTarget(shell, [store], target);
      const { client, timeout } = store;
      const { limit, sort } = flags;
      if (!json && isTerminal("stdout")) await output.line(output.paint("dim")(row("type", "TTL", "size", "key")));
      let found = 0;
      let unreadable = 0;
      for await (const entry of list(client, { ...target, pattern, limit, sort, signal, timeout })) {
        found++;
        if (entry.unreadable) unreadable++;
        await output.line(json ? JSON.stringify(toJson(entry)) : show(entry));
        if (!isTerminal("stdout")) output.progress(formatCount(found, "key"));
      }
      if (unreadable > 0) {
        output.note(`warning: ${formatCount(unreadable, "key")} cannot be read over REST: not UTF-8`);
      }
      return shell.code(false, unreadable > 0);
    }),
  );
}

function toJson({ key, bytes: data, unreadable, type, ttl, size }: KeyEntry): object {
  return { key: keyToJson(data ?? key), ...(unreadable && { unreadable }), type, ttl, size };
}

function show({ key, bytes: data, unreadable, type, ttl, size }: KeyEntry): string {
  const name = data ? shownBytes(data) : shown(key);
  if (unreadable) return row("?", "?", "?", name);
  return row(type, ttl === null ? "-" : formatDuration(ttl), size === null ? "?" : formatBytes(size), name);
}

/** Returns a line of the list. The key comes last, because it may have any length. */
function row(type: string, ttl: string, size: string, key: string): string {
  return `${type.padEnd(7)} ${ttl.padStart(8)} ${size.padStart(9)}  ${key}`;
}
