import type { Command } from "commander";
import { formatCount } from "../base/format.ts";
import type { Cache } from "../cache/cache.ts";
import type { Id } from "../entry/keyspace.ts";
import { type WarmReject, warm } from "../manager/mod.ts";
import { CONCURRENCY } from "../manager/warm.ts";
import { services } from "../services/all.ts";
import { suggestion, UsageError } from "./errors.ts";
import { addExamples, addStoreFlags, noMore, SERVICES, takeTarget, wholeNumber } from "./flags.ts";
import { fromFile, fromModule, type Skipped } from "./items.ts";
import { rate } from "./output.ts";
import type { Run } from "./run.ts";
import type { CommonFlags } from "./shell.ts";
import { stoppable } from "./stop.ts";

interface Flags extends CommonFlags {
  readonly service?: string;
  readonly from?: string;
  readonly module?: string;
  readonly collection?: string;
  readonly id?: string;
  readonly concurrency?: number;
  readonly dryRun?: boolean;
}

/** Adds `larder warm`. */
export function addWarm(program: Command, run: Run): void {
  const command = program
    .command("warm")
    .summary("write values through a collection of a service")
    .description(
      "Writes values through a typed collection, so that its schema, TTL and tags apply. " +
        'Each line of a file is {"id": 1, "value": {...}, "ttl": "1h", "tags": ["menu"]}, ' +
        "or with --id the value alone. " +
        "A module exports the same as an iterable, as the default export or as items. Rejected lines are reported.",
    )
    .argument("[service]", "the service")
    .option("-s, --service <name>", "the service, instead of the argument")
    .option("-c, --collection <name>", "the collection (default: the service's first)")
    .option("-f, --from <file>", "a file of JSON Lines; - for standard input")
    .option("-m, --module <file>", "a module, which the runtime of this command loads")
    .option("-i, --id <field>", "the field that holds the id, if each line or item is a value")
    .option(
      "--concurrency <number>",
      `the number of concurrent writes (default: ${CONCURRENCY})`,
      wholeNumber(1, 10_000),
    )
    .option("-n, --dry-run", "write nothing, only check the values against the schema");
  addStoreFlags(command);
  addExamples(
    command,
    "warm product --from products.jsonl",
    "warm product --collection categories --from categories.jsonl --id id --dry-run",
    "warm order --module warm.ts",
  );
  command.action((service: string | undefined, flags: Flags) =>
    run(flags, async (shell) => {
      const { output, json, signal } = shell;
      const { name, rest } = takeTarget([service], flags.service === undefined ? {} : { service: flags.service });
      noMore(rest, "warm");
      const { from, module, id, concurrency, dryRun = false } = flags;
      if ((from === undefined) === (module === undefined)) {
        throw new UsageError("Cannot find the values: expected --from <file> or --module <file>");
      }
      const collection = collectionOf(name, flags.collection);
      const skipped: Skipped[] = [];
      const skip = (reject: Skipped) => skipped.push(reject);
      const items = from !== undefined ? fromFile(from, id, skip) : await fromModule(module as string, id, skip);
      const { client, timeout } = dryRun ? shell.reach({ url: "memory:" }) : await shell.open();
      const target = (client.service(name as "product") as unknown as Record<string, Cache<Id>>)[
        collection
      ] as Cache<Id>;
      const start = performance.now();
      let rejected = 0;
      const report = async (line: number, error: string): Promise<void> => {
        rejected++;
        if (json) await output.json({ line, error });
        else output.note(`line ${line}: ${error}`);
      };
      const reportAll = async (rejects: readonly WarmReject[] = []) => {
        const all = [...skipped.splice(0), ...rejects.map(({ line, error }) => ({ line, reason: error.message }))];
        for (const { line, reason } of all.sort((a, b) => a.line - b.line)) await report(line, reason);
      };
      const steps = warm(target, stoppable(items, signal), { concurrency, signal, timeout });
      const { last, stopped } = await shell.follow(
        steps,
        ({ written }) => [`${formatCount(written, "value")} written${rate(written, performance.now() - start)}`],
        ({ rejects }) => reportAll(rejects),
      );
      await reportAll();
      const written = last?.written ?? 0;
      if (json) await output.json({ service: name, collection, written, rejected, dryRun, done: !stopped });
      else {
        const verb = dryRun ? "would be written" : "written";
        const done = `${formatCount(written, "value")} ${verb} to ${name}.${collection}`;
        await output.line(
          `${stopped ? "Stopped: " : ""}${done}${rejected > 0 ? `, ${formatCount(rejected, "reject")}` : ""}`,
        );
      }
      return shell.code(stopped, rejected > 0);
    }),
  );
}

/** Returns the name of a service's collection. @throws {UsageError} If the service does not have it. */
function collectionOf(service: string, given: string | undefined): string {
  if (!SERVICES.includes(service)) {
    throw new UsageError(`Cannot warm the service ${JSON.stringify(service)}: expected ${SERVICES.join(", ")}`);
  }
  const names = Object.keys(services[service as "product"].collections);
  const name = given ?? (names[0] as string);
  if (names.includes(name)) return name;
  const meant = suggestion(name, names);
  throw new UsageError(
    `Cannot find the collection ${JSON.stringify(name)} of ${service}${meant}: expected ${names.join(", ")}`,
  );
}
