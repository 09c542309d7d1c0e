import { type Command, InvalidArgumentError, Option } from "commander";
import { LONGEST_TIMER, millisecondsOf } from "../base/ttl.ts";
import type { Target } from "../manager/mod.ts";
import { services } from "../services/all.ts";
import { suggestion, UsageError } from "./errors.ts";

/** The names of the services. */
export const SERVICES: readonly string[] = Object.keys(services);

/** Whose keys a command is for. */
export interface LocationFlags {
  readonly service?: string;
  readonly database?: number;
}

/** A parser of whole numbers, for an option. */
export function wholeNumber(min: number, max: number = Number.MAX_SAFE_INTEGER): (given: string) => number {
  return (given) => {
    const number = Number(given);
    if (/^\d+$/.test(given) && number >= min && number <= max) return number;
    const upTo = max === Number.MAX_SAFE_INTEGER ? "on" : `to ${max}`;
    throw new InvalidArgumentError(`Accepted are whole numbers from ${min} ${upTo}.`);
  };
}

/** Adds how long a step may take: milliseconds, or a time with its unit. */
export function addTimeoutFlag(command: Command): Command {
  const parse = (given: string): number => {
    const milliseconds = /^\d+$/.test(given) ? Number(given) : millisecondsOf(given);
    if (milliseconds >= 1 && milliseconds <= LONGEST_TIMER) return milliseconds;
    throw new InvalidArgumentError(`Accepted are whole numbers from 1 to ${LONGEST_TIMER}, and times such as 30s.`);
  };
  return command.option(
    "--timeout <ms>",
    "how long a step may take, in milliseconds or as 30s (default: 10000)",
    parse,
  );
}

/** A parser of seconds, for an option. */
export function seconds(given: string): number {
  const number = Number(given);
  if (/^\d+(\.\d+)?$/.test(given) && number >= 0.1 && number <= 86_400) return number;
  throw new InvalidArgumentError("Accepted are seconds from 0.1 to 86400.");
}

/** The heading of a command's own options. */
const OPTIONS = "Options:";

/** Adds how the output is. */
export function addOutputFlags(command: Command): Command {
  return command
    .optionsGroup("Output:")
    .option("--json", "answer in JSON: one value, or a line each")
    .option("-q, --quiet", "show no progress")
    .option("--no-color", "no colours, as with NO_COLOR in the environment");
}

/** Adds which store it is. */
export function addStoreFlags(command: Command): Command {
  const store = addOutputFlags(command)
    .optionsGroup("Store:")
    .option(
      "--url <url>",
      "the store: redis://, rediss://, unix:, https:// (default: the environment's, or .env.cache's)",
    )
    .option("--token <token>", "the token of a REST store (better in UPSTASH_REDIS_REST_TOKEN: others see arguments)")
    .option("--prefix <prefix>", "what every key starts with, a : after it (default: CACHE_PREFIX)")
    .addOption(databasesOption("--databases <mode>", "how databases are kept apart (default: CACHE_DATABASES, auto)"));
  return addTimeoutFlag(store);
}

/** The option for a mode of databases. */
export function databasesOption(flags: string, words: string): Option {
  return new Option(flags, words).choices(["auto", "numbered", "prefixed"]);
}

/** Adds whose keys it is for: an argument, or an option in its place. */
export function addLocationFlags(command: Command): Command {
  return command
    .optionsGroup(OPTIONS)
    .option("-s, --service <name>", "the service, in the place of the argument")
    .option("-d, --database <number>", "a database in the place of a service, 0-15", wholeNumber(0, 15));
}

/** Adds `--yes`. */
export function addYesFlag(command: Command): Command {
  return command.optionsGroup(OPTIONS).option("-y, --yes", "do not ask");
}

/** Adds what becomes of keys that are there already. */
export function addConflictFlag(command: Command): Command {
  const words = "keys that are there already: they stay, are replaced, or nothing is written";
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
 * Whose keys are meant, and what else was given.
 *
 * @param args The arguments; the first is a service where no option names one or a database.
 * @param flags The options.
 * @returns The target, how to call it, and the other arguments.
 * @throws {UsageError} For an unknown service, or none.
 */
export function takeTarget(
  args: readonly (string | undefined)[],
  { service, database }: LocationFlags,
): { target: Target; name: string; rest: (string | undefined)[] } {
  if (service !== undefined && database !== undefined) {
    throw new UsageError("cannot take both --service and --database: accepted is one of them");
  }
  const given = args.filter((arg) => arg !== undefined);
  if (database !== undefined) return { target: { database }, name: `database ${database}`, rest: given };
  const name = service ?? given.shift();
  const accepted = `accepted are ${SERVICES.join(", ")}, or --database <number>`;
  if (name === undefined) throw new UsageError(`cannot tell whose keys are meant: ${accepted}`);
  if (!SERVICES.includes(name)) {
    throw new UsageError(`cannot find the service ${JSON.stringify(name)}${suggestion(name, SERVICES)}: ${accepted}`);
  }
  return { target: { service: name }, name, rest: given };
}

/** @throws {UsageError} When arguments are left that the command does not take. */
export function noMore(rest: readonly (string | undefined)[], command: string): void {
  if (rest.length === 0) return;
  throw new UsageError(`cannot use the argument ${JSON.stringify(rest[0])}: see larder ${command} --help`);
}
