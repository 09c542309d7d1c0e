import type { Command } from "commander";
import { formatCount } from "../base/format.ts";
import { BIG_KEY, SAMPLE } from "../manager/diagnose.ts";
import { diagnose, type Finding } from "../manager/mod.ts";
import { findServices } from "../manager/services.ts";
import { EXIT } from "./errors.ts";
import { addExamples, addStoreFlags, wholeNumber } from "./flags.ts";
import { harmless } from "./format.ts";
import type { Run } from "./run.ts";
import type { CommonFlags } from "./shell.ts";

interface Flags extends CommonFlags {
  readonly sample?: number;
  readonly bigKey?: number;
}

const SIGNS = { ok: ["✓", "green"], info: ["·", "dim"], warning: ["!", "yellow"], error: ["✗", "red"] } as const;

/** Adds `larder doctor`. */
export function addDoctor(program: Command, run: Run): void {
  const command = program
    .command("doctor")
    .summary("find problems of a store")
    .description(
      "Finds problems of a store and of its use: connection, authentication, version, replication, databases, " +
        "permissions, near caches, encryption, eviction, memory, hit rate, expiry, big keys, slow queries and clock. " +
        "It changes nothing. The exit code is 1 if it finds a problem, and 3 if the store is away.",
    )
    .option(
      "--sample <number>",
      `the maximum number of keys of each database that are read (default: ${SAMPLE})`,
      wholeNumber(1),
    )
    .option("--big-key <bytes>", `the size in bytes from which a key is big (default: ${BIG_KEY})`, wholeNumber(1));
  addStoreFlags(command);
  addExamples(command, "doctor", "doctor --url rediss://cache.example:6379 --json");
  command.action((flags: Flags) =>
    run(flags, async (shell) => {
      const { output, json, signal } = shell;
      const { sample, bigKey } = flags;
      const { client, name, timeout, odd } = shell.reach();
      if (!json) await output.line(output.paint("bold")(name));
      let wrong = 0;
      let away = false;
      output.progress("checking");
      // If the store is away, diagnose reports it.
      await findServices(client, { signal, timeout }).catch(() => signal.throwIfAborted());
      for await (const found of diagnose(client, { signal, timeout, sample, bigKey })) {
        const { check, level } = found;
        // An odd password may be intended, unless the store refuses it.
        const hint = check === "authentication" && level === "error" ? odd : [];
        const finding = hint.length > 0 ? { ...found, advice: `${found.advice}: ${hint.join(", ")}` } : found;
        if (level === "warning" || level === "error") wrong++;
        if (level === "error" && (check === "connection" || check === "authentication")) away = true;
        if (json) await output.json(finding);
        else for (const line of show(finding)) await output.line(line);
        await output.flush();
        output.progress("checking");
      }
      if (!json) await output.line(wrong === 0 ? "No problems found" : `${formatCount(wrong, "problem")} found`);
      return away ? EXIT.away : shell.code(false, wrong > 0);

      function show({ check, level, evidence, advice }: Finding): string[] {
        const [sign, colour] = SIGNS[level];
        const lines = [`${output.paint(colour)(sign)} ${check.padEnd(14)} ${harmless(evidence)}`];
        return advice === undefined
          ? lines
          : [...lines, `  ${" ".repeat(14)} ${output.paint("bold")(harmless(advice))}`];
      }
    }),
  );
}
