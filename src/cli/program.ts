import { Command, CommanderError } from "commander";
import { SETTINGS } from "../config/settings.ts";
import { exit, writeTo } from "../runtime/process.ts";
import { addBackup } from "./backup.ts";
import { addCapacity } from "./capacity.ts";
import { addClear } from "./clear.ts";
import { addCopy } from "./copy.ts";
import { addDashboard } from "./dashboard.ts";
import { addDoctor } from "./doctor.ts";
import { EXIT, explain, redact } from "./errors.ts";
import { addExamples } from "./flags.ts";
import { addGet } from "./get.ts";
import { addList } from "./list.ts";
import { addRestore } from "./restore.ts";
import { type Run, runWork } from "./run.ts";
import { addServe } from "./serve.ts";
import { addStats } from "./stats.ts";
import { VERSION } from "./version.ts";
import { addWarm } from "./warm.ts";

/** The variables that name a store. */
const STORES = [
  SETTINGS.url.variable,
  "REDIS_URL",
  SETTINGS["cluster.nodes"].variable,
  SETTINGS["sentinel.sentinels"].variable,
  "UPSTASH_REDIS_REST_URL",
];

/**
 * Runs the command `larder`.
 *
 * @param args Its arguments.
 * @returns The exit code: 0 for success, 1 for a failure or a problem found, 2 for wrong usage, 3 if the store is away,
 * 130 after Ctrl-C.
 */
export async function larder(args: readonly string[]): Promise<number> {
  let code = 0;
  const texts: ["stdout" | "stderr", string][] = [];
  const program = new Command("larder")
    .description("Manages caches in Redis, in Upstash, or in compatible stores.")
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .exitOverride()
    .showHelpAfterError("See --help.")
    .configureOutput({
      writeOut: (text) => texts.push(["stdout", text]),
      writeErr: (text) => texts.push(["stderr", redact(text)]),
    });
  program.addHelpText(
    "after",
    `\nWithout --url, the store comes from the environment (${STORES.join(", ")})\n` +
      "or from .env.cache.\n" +
      "Exit codes: 0 success, 1 a failure or a problem found, 2 wrong usage, 3 the store is away, 130 after Ctrl-C.",
  );
  addExamples(program, "list product 'product:*'", "clear product", "serve");
  const run: Run = async (flags, work) => {
    code = await runWork(flags, work);
  };
  for (const add of [
    addClear,
    addList,
    addGet,
    addBackup,
    addRestore,
    addCopy,
    addWarm,
    addStats,
    addDoctor,
    addCapacity,
    addServe,
    addDashboard,
  ]) {
    add(program, run);
  }
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) code = error.exitCode === 0 ? 0 : EXIT.usage;
    else {
      const explained = explain(error);
      code = explained.code;
      texts.push(...explained.lines.map((line): ["stderr", string] => ["stderr", `${line}\n`]));
    }
  }
  try {
    for (const [stream, text] of texts) await writeTo(stream, text);
  } catch (error) {
    code ||= explain(error).code;
  }
  return code;
}

/** Runs the command, and ends the process with its exit code. */
export async function main(args: readonly string[]): Promise<never> {
  // Not everything that a command waits for keeps the process alive: a lone send of a driver does not.
  setInterval(() => {}, 2 ** 30);
  // Explicit, because of this, and because a user's module may keep the event loop alive.
  exit(await larder(args));
}
