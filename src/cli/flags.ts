import { type Command, InvalidArgumentError, Option } from "commander";
import { LONGEST_TIMER, millisecondsOf } from "../base/ttl.ts";
import { SETTINGS } from "../config/settings.ts";
import { TIMEOUT_MS } from "../manager/connection.ts";
import type { Target } from "../manager/mod.ts";
import { services } from "../services/all.ts";
import { suggestion, UsageError } from "./errors.ts";

/** The names of the services. */
export const SERVICES: readonly string[] = Object.keys(services);

/** The options that name a service or a database. */
export interface LocationFlags {
  readonly service?: string;
  readonly database?: number;
}

/** Returns a parser of whole numbers for an option. */
export function wholeNumber(min: number, max: number = Number.MAX_SAFE_INTEGER): (given: string) => number {
  return (given) => {
    const number = Number(given);
    if (/^\d+$/.test(given) && number >= min && number <= max) return number;
    const bounds = max === Number.MAX_SAFE_INTEGER ? `of ${min} or more` : `from ${min} to ${max}`;
    throw new InvalidArgumentError(`Expected a whole number ${bounds}.`);
  };
}

/** Adds the deadline of a step: milliseconds, or a time with a unit. */
export function addTimeoutFlag(command: Command): Command {
  const parse = (given: string): number => {
    const milliseconds = /^\d+$/.test(given) ? Number(given) : millisecondsOf(given);
    if (milliseconds >= 1 && milliseconds <= LONGEST_TIMER) return milliseconds;
    throw new InvalidArgumentError(`Expected milliseconds from 1 to ${LONGEST_TIMER}, or a time such as 30s.`);
  };
  return command.option(
    "--timeout <time>",
    `the deadline of a step: milliseconds, or a time such as 30s (default: ${TIMEOUT_MS})`,
    parse,
  );
}

/** Parses a time of an option, seconds or a time with a unit, and returns it in seconds. */
export function seconds(given: string): number {
  const time = /^\d+(\.\d+)?$/.test(given) ? Number(given) : millisecondsOf(given) / 1000;
  if (time >= 0.1 && time <= 86_400) return time;
  throw new InvalidArgumentError("Expected seconds from 0.1 to 86400, or a time such as 30s or 5m.");
}

/** The heading of a command's own options. */
const OPTIONS = "Options:";

/** Adds the options of the output. */
export function addOutputFlags(command: Command): Command {
  return command
    .optionsGroup("Output:")
    .option("--json", "print JSON: one value, or one per line")
    .option("-q, --quiet", "do not show progress")
    .option("--no-color", "do not use colours, as with NO_COLOR in the environment");
}

/** Adds the options that name a store. */
export function addStoreFlags(command: Command): Command {
  const { variable, fallback } = SETTINGS.databases;
  const store = addOutputFlags(command)
    .optionsGroup("Store:")
    .option(
      "--url <url>",
      "the store: redis://, rediss://, redis+cluster://, redis+sentinel://, unix: or https:// " +
        "(default: from the environment or .env.cache)",
    )
    .option(
      "--token <token>",
      "the token of a REST store (safer in UPSTASH_REDIS_REST_TOKEN: other users see arguments)",
    )
    .option(
      "--prefix <prefix>",
      `the prefix of every key, without the : after it (default: ${SETTINGS.prefix.variable})`,
    )
    .addOption(
      databasesOption("--databases <mode>", `the way databases are kept apart (default: ${variable}, or ${fallback})`),
    );
  return addTimeoutFlag(store);
}

/** Returns an option that takes a mode of databases. */
export function databasesOption(flags: string, words: string): Option {
  return new Option(flags, words).choices(["auto", "numbered", "prefixed"]);
}

/** Adds the options that name a service or a database instead of the argument. */
export function addLocationFlags(command: Command): Command {
  return command
    .optionsGroup(OPTIONS)
    .option("-s, --service <name>", "the service, instead of the argument")
    .option("-d, --database <number>", "a database instead of a service, 0-15", wholeNumber(0, 15));
}

/** Adds `--yes`. */
export function addYesFlag(command: Command): Command {
  return command.optionsGroup(OPTIONS).option("-y, --yes", "do not ask for confirmation");
}

/** Adds the option for keys that already exist. */
export function addConflictFlag(command: Command): Command {
  const words = "keep or replace keys that already exist, or write nothing if there are any";
  return command
    .optionsGroup(OPTIONS)
    .addOption(new Option("--on-conflict <what>", words).choices(["skip", "replace", "fail"]).default("fail"));
}

/** Adds examples below the help. */
export function addExamples(command: Command, ...lines: string[]): Command {
  return command.addHelpText(
    "after",
    `\nExample${lines.length > 1 ? "s" : ""}:\n${lines.map((line) => `  $ larder ${line}\n`).join("")}`,
  );
}

/**
 * Returns the service or database that a command is for, and the other arguments.
 *
 * @param args The arguments. The first is a service unless an option names one or a database.
 * @param flags The options.
 * @returns The target, its name for messages, and the other arguments.
 * @throws {UsageError} For a name that is not that of a service, and for none.
 */
export function takeTarget(
  args: readonly (string | undefined)[],
  { service, database }: LocationFlags,
): { target: Target; name: string; rest: (string | undefined)[] } {
  if (service !== undefined && database !== undefined) {
    throw new UsageError("Cannot choose keys: received both --service and --database, expected one of them");
  }
  const given = args.filter((arg) => arg !== undefined);
  if (database !== undefined) return { target: { database }, name: `database ${database}`, rest: given };
  const name = service ?? given.shift();
  const expected = `expected ${SERVICES.join(", ")}, a service of your own, or --database <number>`;
  if (name === undefined) throw new UsageError(`Cannot choose keys: received no service, ${expected}`);
  // A name that is not similar to any of these may be that of a service that an application defined.
  const meant = SERVICES.includes(name) ? "" : suggestion(name, SERVICES);
  if (meant || !/^[\w-]+$/.test(name)) {
    throw new UsageError(`Cannot find the service ${JSON.stringify(name)}${meant}: ${expected}`);
  }
  return { target: { service: name }, name, rest: given };
}

/** Checks that no arguments are left. @throws {UsageError} With the first one that the command does not take. */
export function noMore(rest: readonly (string | undefined)[], command: string): void {
  if (rest.length === 0) return;
  throw new UsageError(`Cannot use the argument ${JSON.stringify(rest[0])}: see larder ${command} --help`);
}
