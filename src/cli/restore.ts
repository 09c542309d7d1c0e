import type { Command } from "commander";
import { formatCount, formatNumber } from "../base/format.ts";
import { type OnConflict, type RestoreProgress, restore } from "../manager/mod.ts";
import { readFile } from "../runtime/files.ts";
import { defineTarget } from "./define_target.ts";
import { UsageError } from "./errors.ts";
import {
  addConflictFlag,
  addExamples,
  addLocationFlags,
  addStoreFlags,
  addYesFlag,
  type LocationFlags,
  noMore,
  takeTarget,
} from "./flags.ts";
import { noteProblems } from "./problems.ts";
import type { Run } from "./run.ts";
import type { CommonFlags, Shell } from "./shell.ts";

interface Flags extends CommonFlags, LocationFlags {
  readonly onConflict: OnConflict;
  readonly dryRun?: boolean;
}

/** Adds `larder restore`. */
export function addRestore(program: Command, run: Run): void {
  const command = program
    .command("restore")
    .summary("write the keys of a backup to a service")
    .description(
      "Writes the keys of a backup to a service of any store, in any database mode. Keys keep their time of " +
        "expiry. A damaged file is refused before anything is written. " +
        "After an interruption, the same command continues from there.",
    )
    .argument("[service]", "the service to write to")
    .argument("[file]", "the backup, compressed or not")
    .option("-n, --dry-run", "write nothing, only count the keys");
  addYesFlag(addConflictFlag(addLocationFlags(addStoreFlags(command))));
  addExamples(
    command,
    "restore analytics analytics.jsonl",
    "restore product product.jsonl.gz --on-conflict replace --yes",
  );
  command.action((service: string | undefined, given: string | undefined, flags: Flags) =>
    run(flags, async (shell) => {
      const { signal } = shell;
      const { target, name, rest } = takeTarget([service, given], flags);
      const [path, ...more] = rest;
      noMore(more, "restore");
      if (path === undefined) throw new UsageError("Cannot restore: received no file, expected a backup");
      if (path === "-")
        throw new UsageError("Cannot restore standard input: expected a file, because it is read twice");
      const { onConflict, dryRun = false } = flags;
      // Before the question, because the command fails anyway if the file cannot be read.
      for await (const _ of readFile(path)) break;
      const store = shell.reach();
      const { client, timeout } = store;
      if (onConflict === "replace" && !dryRun) {
        await shell.confirm(`Replace keys of ${name} in ${store.name} that are in ${path}?`);
      }
      await shell.connect(store);
      await defineTarget(shell, [store], target);
      const steps = restore(client, { ...target, read: () => readFile(path), onConflict, dryRun, signal, timeout });
      return followRestore(shell, steps, { ...target, file: path }, name, dryRun);
    }),
  );
}

/** Runs a restore or a copy, prints its outcome, and returns the exit code. */
export async function followRestore(
  shell: Shell,
  steps: AsyncIterable<RestoreProgress>,
  about: object,
  name: string,
  dryRun: boolean,
): Promise<number> {
  const { output, json } = shell;
  const copied = !("file" in about);
  let resumed = false;
  // A repeated `copy` scans every key again; those already copied then count as existing.
  const again = `he same command${copied ? " with --on-conflict skip" : ""} continues where this one stopped`;
  const { last, stopped } = await shell.follow(
    steps,
    (step) => {
      const { phase, keys, total } = step;
      const what = { verify: "verified", check: "checked", write: dryRun ? "checked" : "processed" }[phase];
      return [`${formatCount(keys, "key")} ${what}`, total ? Math.min(1, keys / total) : undefined];
    },
    (step) => {
      if (step.resumed && !resumed) output.note("Continuing an interrupted run");
      resumed = step.resumed;
      noteProblems(shell, step.problems);
    },
    ({ written }) => (!dryRun && written > 0 ? `t${again}` : undefined),
  );
  const { written = 0, skipped = 0, expired = 0, invalidated = 0, unreadable = 0 } = last ?? {};
  if (json) {
    const counts = {
      keys: last?.phase === "write" ? last.keys : 0,
      written,
      skipped,
      expired,
      invalidated,
      unreadable,
    };
    await output.json({ ...about, ...counts, resumed, dryRun, done: !stopped });
  } else {
    const others = [
      skipped > 0 && `${formatNumber(skipped)} already existed`,
      expired > 0 && `${formatNumber(expired)} had expired`,
      invalidated > 0 && `${formatNumber(invalidated)} had been invalidated`,
      unreadable > 0 && `${formatNumber(unreadable)} could not be written`,
    ].filter(Boolean);
    const done = `${formatCount(written, "key")} of ${name} ${dryRun ? "would be written" : "written"}`;
    await output.line(`${stopped ? "Stopped: " : ""}${[done, ...others].join(", ")}`);
    if (stopped && !dryRun && written > 0) output.note(`T${again}`);
  }
  return shell.code(stopped, unreadable > 0);
}
