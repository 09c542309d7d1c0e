import type { Command } from "commander";
import { formatBytes, formatCount } from "../base/format.ts";
import { backup } from "../manager/mod.ts";
import { createFile, fileExists, type NewFile } from "../runtime/files.ts";
import {
  addExamples,
  addLocationFlags,
  addStoreFlags,
  addYesFlag,
  type LocationFlags,
  noMore,
  takeTarget,
} from "./flags.ts";
import { tellProblems } from "./problems.ts";
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
      "Writes every key of a service with its value, type and expiry to a file of JSON Lines (mode 0600). It comes to be as a whole or not at all.",
    )
    .argument("[service]", "whose keys")
    .requiredOption("-o, --output <file>", "the file; - is standard output")
    .option("-z, --gzip", "compress (default: when the file's name ends in .gz)");
  addYesFlag(addLocationFlags(addStoreFlags(command)));
  addExamples(command, "backup analytics -o analytics.jsonl", "backup product -o product.jsonl.gz --yes");
  command.action((service: string | undefined, flags: Flags) =>
    run(flags, async (shell) => {
      const { output, signal, json } = shell;
      const { target, name, rest } = takeTarget([service], flags);
      noMore(rest, "backup");
      const { output: path, gzip = path.endsWith(".gz") } = flags;
      if (await fileExists(path)) await shell.confirm(`Replace the file ${path}?`);
      const { client, timeout } = await shell.open();
      const file = await createFile(path);
      const { last, stopped } = await writing(file, () =>
        shell.follow(
          backup(client, { ...target, gzip, write: (chunk) => file.write(chunk), signal, timeout }),
          (step) => [`${formatCount(step.keys, "key")}, ${formatBytes(step.bytes)}`],
          ({ problems }) => tellProblems(shell, problems),
        ),
      );
      const { keys = 0, bytes: size = 0, unreadable = 0 } = last ?? {};
      const said = stopped
        ? `Stopped after ${formatCount(keys, "key")}: no file was written`
        : `${formatCount(keys, "key")} of ${name} (${formatBytes(size)}${gzip ? " before compression" : ""}) in ${path}`;
      if (path === "-") output.note(said);
      else if (json) await output.json({ ...target, file: path, keys, bytes: size, unreadable, gzip, done: !stopped });
      else await output.line(said);
      return shell.code(stopped, unreadable > 0);
    }),
  );
}

/** Puts the file in its place when what writes it came to its end. */
async function writing<T extends { readonly stopped: boolean }>(file: NewFile, work: () => Promise<T>): Promise<T> {
  try {
    const result = await work();
    if (!result.stopped) await file.commit();
    return result;
  } finally {
    // After a commit there is nothing left to discard.
    await file.discard();
  }
}
