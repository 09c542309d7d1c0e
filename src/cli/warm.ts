import type { Command } from "commander";
import { formatCount } from "../base/format.ts";
import type { Cache } from "../cache/cache.ts";
import type { Id } from "../entry/keyspace.ts";
import { type WarmReject, warm } from "../manager/mod.ts";
import { services } from "../services/all.ts";
import { suggestion, UsageError } from "./errors.ts";
import { addExamples, addStoreFlags, noMore, takeTarget, wholeNumber } from "./flags.ts";
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
    .summary("write values through a service's collection")
    .description(
      "Writes values through a typed collection, so that its schema, TTL and tags apply. " +
        'A file has a line each: {"id": 1, "value": {...}, "ttl": "1h", "tags": ["menu"]}; with --id, the value alone. ' +
        "A module exports the same as an iterable, by default or as items. What is rejected is told with its line.",
    )
    .argument("[service]", "whose collection")
    .option("-s, --service <name>", "the service, in the place of the argument")
    .option("-c, --collection <name>", "the collection (default: the service's first)")
    .option("-f, --from <file>", "a file of JSON Lines; - is standard input")
    .option("-m, --module <file>", "a module; it runs in the runtime that runs this command")
    .option("-i, --id <field>", "each line or item is a value, and this field its id")
    .option("--concurrency <number>", "how many are written at a time (default: 64)", wholeNumber(1, 10_000))
    .option("-n, --dry-run", "write nothing: check against the schema, in an embedded store");
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
        throw new UsageError("cannot tell where the values come from: accepted are --from <file> or --module <file>");
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
      const tell = async (line: number, error: string): Promise<void> => {
        rejected++;
        if (json) await output.json({ line, error });
        else output.note(`line ${line}: ${error}`);
      };
      const tellAll = async (rejects: readonly WarmReject[] = []) => {
        const all = [...skipped.splice(0), ...rejects.map(({ line, error }) => ({ line, reason: error.message }))];
        for (const { line, reason } of all.sort((a, b) => a.line - b.line)) await tell(line, reason);
      };
      const steps = warm(target, stoppable(items, signal), { concurrency, signal, timeout });
      const { last, stopped } = await shell.follow(
        steps,
        ({ written }) => [`${formatCount(written, "value")} written${rate(written, performance.now() - start)}`],
        ({ rejects }) => tellAll(rejects),
      );
      await tellAll();
      const written = last?.written ?? 0;
      if (json) await output.json({ service: name, collection, written, rejected, dryRun, done: !stopped });
      else {
        const done = `${formatCount(written, "value")} ${dryRun ? "would be written" : "written"} to ${name}.${collection}`;
        await output.line(
          `${stopped ? "Stopped: " : ""}${done}${rejected > 0 ? `, ${formatCount(rejected, "reject")}` : ""}`,
        );
      }
      return shell.code(stopped, rejected > 0);
    }),
  );
}

/** The name of a service's collection, checked. */
function collectionOf(service: string, given: string | undefined): string {
  const names = Object.keys(services[service as "product"].collections);
  const name = given ?? (names[0] as string);
  if (names.includes(name)) return name;
  throw new UsageError(
    `cannot find the collection ${JSON.stringify(name)} of ${service}${suggestion(name, names)}: accepted are ${names.join(", ")}`,
  );
}
