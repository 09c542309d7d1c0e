import type { Command } from "commander";
import { formatCount } from "../base/format.ts";
import { clear } from "../manager/mod.ts";
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
import { rate } from "./output.ts";
import type { Run } from "./run.ts";
import type { CommonFlags } from "./shell.ts";

interface Flags extends CommonFlags, LocationFlags {
  readonly pattern?: string;
  readonly dryRun?: boolean;
}

/** Adds `larder clear`. */
export function addClear(program: Command, run: Run): void {
  const command = program
    .command("clear")
    .summary("delete a service's keys")
    .description("Deletes the keys of one service, or those that match a pattern. Keys of other services stay.")
    .argument("[service]", "the service")
    .option("-p, --pattern <glob>", "only the keys that match, such as 'search:*'")
    .option("-n, --dry-run", "only count the keys");
  addYesFlag(addLocationFlags(addStoreFlags(command)));
  addExamples(
    command,
    "clear product",
    "clear product --pattern 'search:*' --yes",
    "clear --database 9 --dry-run --json",
  );
  command.action((service: string | undefined, flags: Flags) =>
    run(flags, async (shell) => {
      const { pattern, dryRun = false } = flags;
      const { target, name, rest } = takeTarget([service], flags);
      noMore(rest, "clear");
      const store = shell.reach();
      const { client, timeout } = store;
      const which = pattern === undefined ? `all keys of ${name}` : `the keys of ${name} that match ${pattern}`;
      if (!dryRun) await shell.confirm(`Delete ${which} in ${store.name}?`);
      await shell.connect(store);
      await defineTarget(shell, [store], target);
      const start = performance.now();
      const { signal } = shell;
      const done = dryRun ? "found" : "deleted";
      const { last, stopped } = await shell.follow(
        clear(client, { ...target, pattern, dryRun, signal, timeout }),
        (step) => [`${formatCount(step.keys, "key")} ${done}${rate(step.keys, performance.now() - start)}`],
        undefined,
        () => (dryRun ? undefined : "the same command deletes the rest"),
      );
      const { keys = 0, unreadable = 0, refused = null } = last ?? {};
      if (shell.json) {
        await shell.output.json({
          ...target,
          ...(pattern !== undefined && { pattern }),
          keys,
          unreadable,
          refused,
          dryRun,
          done: !stopped,
        });
      } else {
        const outcome = `${formatCount(keys, "key")} of ${name} ${dryRun ? "would be deleted" : "deleted"}`;
        await shell.output.line(`${stopped ? "Stopped: " : ""}${outcome}`);
      }
      if (unreadable > 0)
        shell.output.note(
          `warning: ${formatCount(unreadable, "key")} not deleted: keys that are not UTF-8 cannot be sent over REST`,
        );
      if (refused !== null)
        shell.output.note(
          `warning: in-flight loads may store values again, because the store refused a script: ${refused}`,
        );
      return shell.code(stopped, unreadable > 0 || refused !== null);
    }),
  );
}
