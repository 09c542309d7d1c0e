import type { Command } from "commander";
import { formatBytes, formatCount } from "../base/format.ts";
import { backup } from "../manager/mod.ts";
import { createFile, fileExists, type NewFile } from "../runtime/files.ts";
import { defineTarget } from "./define_target.ts";
import {
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
import type { CommonFlags } from "./shell.ts";

interface Flags extends CommonFlags, LocationFlags {
  readonly output: string;
  readonly gzip?: boolean;
}

/** Adds `larder backup`. */
export function addBackup(program: Command, run: Run): void {
  const command = program
    .command("backup")
    .summary("write a service's keys to a file")
    .description(
      "Writes every key of a service with its value, type and expiry to a file of JSON Lines (mode 0600). " +
        "The file appears only when it is complete.",
    )
    .argument("[service]", "the service")
    .requiredOption("-o, --output <file>", "the file; - for standard output")
    .option("-z, --gzip", "compress the file (default: if its name ends in .gz)");
  addYesFlag(addLocationFlags(addStoreFlags(command)));
  addExamples(command, "backup analytics -o analytics.jsonl", "backup product -o product.jsonl.gz --yes");
  command.action((service: string | undefined, flags: Flags) =>
    run(flags, async (shell) => {
      const { output, signal, json } = shell;
      const { target, name, rest } = takeTarget([service], flags);
      noMore(rest, "backup");
      const { output: path, gzip = path.endsWith(".gz") } = flags;
      if (await fileExists(path)) await shell.confirm(`Replace the file ${path}?`);
      const store = await shell.open();
      await defineTarget(shell, [store], target);
      const { client, timeout } = store;
      const file = await createFile(path);
      const { last, stopped } = await writing(file, () =>
        shell.follow(
          backup(client, { ...target, gzip, write: (chunk) => file.write(chunk), signal, timeout }),
          (step) => [`${formatCount(step.keys, "key")}, ${formatBytes(step.bytes)}`],
          ({ problems }) => noteProblems(shell, problems),
          () => (path === "-" ? "what was written is not complete" : "no file was written"),
        ),
      );
      const { keys = 0, bytes: size = 0, unreadable = 0 } = last ?? {};
      const summary = stopped
        ? `Stopped after ${formatCount(keys, "key")}: no file was written`
        : `${formatCount(keys, "key")} of ${name} (${formatBytes(size)}${gzip ? " uncompressed" : ""}) in ${path}`;
      if (path === "-") output.note(summary);
      else if (json) await output.json({ ...target, file: path, keys, bytes: size, unreadable, gzip, done: !stopped });
      else await output.line(summary);
      return shell.code(stopped, unreadable > 0);
    }),
  );
}

/** Commits the file if the work completes, and discards it otherwise. */
async function writing<T extends { readonly stopped: boolean }>(file: NewFile, work: () => Promise<T>): Promise<T> {
  try {
    const result = await work();
    if (!result.stopped) await file.commit();
    return result;
  } finally {
    // After a commit, this does nothing.
    await file.discard();
  }
}
