import { type Command, InvalidArgumentError } from "commander";
import { defined } from "../base/defined.ts";
import { CacheConfigError } from "../base/errors.ts";
import type { DatabasesMode } from "../config/options.ts";
import { SETTINGS } from "../config/settings.ts";
import { SHARD_COUNTS } from "../entry/shards.ts";
import { copy, type OnConflict } from "../manager/mod.ts";
import { defineTarget } from "./define_target.ts";
import { UsageError } from "./errors.ts";
import {
  addConflictFlag,
  addExamples,
  addLocationFlags,
  addOutputFlags,
  addTimeoutFlag,
  addYesFlag,
  databasesOption,
  type LocationFlags,
  noMore,
  takeTarget,
} from "./flags.ts";
import { followRestore } from "./restore.ts";
import type { Run } from "./run.ts";
import type { CommonFlags } from "./shell.ts";

interface Flags extends Omit<CommonFlags, "url" | "token" | "prefix" | "databases">, LocationFlags {
  readonly from?: string;
  readonly fromToken?: string;
  readonly fromPrefix?: string;
  readonly fromDatabases?: DatabasesMode;
  readonly fromShards?: number;
  readonly to?: string;
  readonly toToken?: string;
  readonly toPrefix?: string;
  readonly toDatabases?: DatabasesMode;
  readonly toShards?: number;
  readonly all?: boolean;
  readonly onConflict: OnConflict;
  readonly dryRun?: boolean;
}

/** Adds `larder copy`. */
export function addCopy(program: Command, run: Run): void {
  const command = program
    .command("copy")
    .summary("copy keys from one store to another")
    .description(
      "Copies the keys of a service, or of all databases, from one store to another. The stores may keep databases " +
        "apart in different ways, such as a numbered Redis and a prefixed Upstash. " +
        "Settings of a store that are not given come from the environment.",
    )
    .argument("[service]", "the service")
    .option("-a, --all", "the keys of all databases")
    .option("-n, --dry-run", "write nothing, only count the keys");
  for (const [side, words] of [
    ["from", "to read"],
    ["to", "to write"],
  ] as const) {
    command
      .option(`--${side} <url>`, `the store ${words} (default: from the environment)`)
      .option(`--${side}-token <token>`, "its token, for a REST store")
      .option(`--${side}-prefix <prefix>`, `the prefix of its keys (default: ${SETTINGS.prefix.variable})`)
      .addOption(databasesOption(`--${side}-databases <mode>`, "the way its databases are kept apart"))
      .option(
        `--${side}-shards <count>`,
        `the shards of its keys (default: ${SETTINGS["cluster.shards"].variable}, or 64 on a cluster)`,
        shards,
      );
  }
  addYesFlag(addConflictFlag(addLocationFlags(addOutputFlags(command))));
  addTimeoutFlag(command);
  addExamples(
    command,
    "copy product --from redis://localhost:6379 --to https://name.upstash.io --to-token $TOKEN",
    "copy --all --from redis://old:6379 --to redis://new:6379 --on-conflict replace --yes",
  );
  command.action((service: string | undefined, flags: Flags) =>
    run(flags, async (shell) => {
      const { signal } = shell;
      const { all = false, onConflict, dryRun = false } = flags;
      if (all && (service ?? flags.service ?? flags.database) !== undefined) {
        throw new UsageError("Cannot choose keys: received both --all and a service or database, expected one of them");
      }
      const { target, name, rest } = all
        ? { target: { all: true as const }, name: "all databases", rest: [] }
        : takeTarget([service], flags);
      noMore(rest, "copy");
      if ((flags.from ?? flags.to) === undefined) {
        throw new UsageError("Cannot choose the stores: received neither --from nor --to, expected one or both");
      }
      const source = named("--from", () =>
        shell.reach({
          ...defined({
            timeout: flags.timeout,
            url: flags.from,
            token: flags.fromToken,
            prefix: flags.fromPrefix,
            databases: flags.fromDatabases,
            shards: flags.fromShards,
          }),
        }),
      );
      const aim = named("--to", () =>
        shell.reach({
          ...defined({
            timeout: flags.timeout,
            url: flags.to,
            token: flags.toToken,
            prefix: flags.toPrefix,
            databases: flags.toDatabases,
            shards: flags.toShards,
          }),
        }),
      );
      if (onConflict === "replace" && !dryRun) {
        await shell.confirm(`Replace keys of ${name} in ${aim.name} with those in ${source.name}?`);
      }
      await shell.connect(source, aim);
      await defineTarget(shell, [source, aim], target);
      const of = "all" in target ? { database: 0 } : target;
      const [from, to] = await Promise.all([source.client.locate(of), aim.client.locate(of)]);
      if (source.name === aim.name && from.prefix === to.prefix && from.database === to.database) {
        throw new UsageError(`Cannot copy ${aim.name} to itself: expected two stores, prefixes or database modes`);
      }
      const { timeout } = aim;
      const steps = copy(source.client, aim.client, { ...target, onConflict, dryRun, signal, timeout });
      return followRestore(shell, steps, { ...target, from: source.name, to: aim.name }, name, dryRun);
    }),
  );
}

/** Adds the flag of a store to the problems of its configuration. */
function named<T>(flag: string, reach: () => T): T {
  try {
    return reach();
  } catch (error) {
    if (!(error instanceof CacheConfigError)) throw error;
    throw new CacheConfigError(error.problems.map((problem) => `${flag}: ${problem}`));
  }
}

function shards(given: string): number {
  if (SHARD_COUNTS.includes(Number(given))) return Number(given);
  throw new InvalidArgumentError(`Expected one of ${SHARD_COUNTS.join(", ")}.`);
}
