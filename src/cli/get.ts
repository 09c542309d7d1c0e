import type { Command } from "commander";
import { formatBytes, formatCount, formatDuration } from "../base/format.ts";
import { bytesOf, keyToJson, shownBytes, valueToJson } from "../manager/json.ts";
import { get, type KeyDetails } from "../manager/mod.ts";
import { isTerminal } from "../runtime/process.ts";
import { defineTarget } from "./define_target.ts";
import { EXIT, UsageError } from "./errors.ts";
import { addExamples, addLocationFlags, addStoreFlags, type LocationFlags, noMore, takeTarget } from "./flags.ts";
import { shown } from "./format.ts";
import type { Run } from "./run.ts";
import type { CommonFlags } from "./shell.ts";

interface Flags extends CommonFlags, LocationFlags {
  readonly base64?: boolean;
}

/** Adds `larder get`. */
export function addGet(program: Command, run: Run): void {
  const command = program
    .command("get")
    .summary("show a key's value")
    .description(
      "Prints the value of a key to standard output, and its type, TTL and metadata to standard error. " +
        "Encrypted values stay encrypted.",
    )
    .argument("[service]", "the service")
    .argument("[key]", "the key, such as product:123")
    .option("--base64", "the key is given in base64, for keys that are not UTF-8");
  addLocationFlags(addStoreFlags(command));
  addExamples(command, "get product product:123", "get --database 9 greeting --json");
  command.action((service: string | undefined, given: string | undefined, flags: Flags) =>
    run(flags, async (shell) => {
      const { output, json, signal } = shell;
      const { target, name, rest } = takeTarget([service, given], flags);
      const [word, ...more] = rest;
      noMore(more, "get");
      if (!word) throw new UsageError("Cannot read a key: received none, expected a key such as product:123");
      const key = flags.base64 ? bytesOf(word) : word;
      if (key === undefined) throw new UsageError(`Cannot read the key ${JSON.stringify(word)}: expected base64`);
      const store = await shell.open();
      await defineTarget(shell, [store], target);
      const { client, timeout } = store;
      const found = await get(client, { ...target, key, signal, timeout });
      if (!found) {
        if (json) await output.json(null);
        else output.note(`error: ${name} has no key ${word}`);
        return EXIT.failed;
      }
      if (json) {
        const { type, ttl, size, entry, length } = found;
        const about = { type, ttl, size, ...(length !== undefined && { length }), ...(entry && { entry }) };
        await output.json({ key: keyToJson(key), ...about, ...valueToJson(found.value) });
        return 0;
      }
      output.note(describe(found));
      if (found.entry?.sealed === undefined) await output.line(valueText(found));
      return 0;
    }),
  );
}

function describe({ type, ttl, size, entry = {}, length }: KeyDetails): string {
  const { at, tags = [], version, sealed, packed, none } = entry;
  const parts = [
    type,
    ttl === null ? "no TTL" : `TTL ${formatDuration(ttl)}`,
    size !== null && formatBytes(size),
    length !== undefined && `the first 1,000 of ${formatCount(length, "element")}`,
    at !== undefined && `written ${new Date(at).toISOString()}`,
    tags.length > 0 && `tags ${tags.join(", ")}`,
    version !== undefined && `version ${version}`,
    none && "records that nothing was found",
    packed && "compressed",
    sealed !== undefined && `encrypted with the key ${sealed}`,
  ];
  return parts.filter(Boolean).join(", ");
}

/** Returns a value as text: strings unchanged unless a terminal could be controlled by them, other types as JSON. */
function valueText({ type, entry, value }: KeyDetails): string {
  const terminal = isTerminal("stdout");
  if (type === "string" && !entry) {
    if (value instanceof Uint8Array) return shownBytes(value);
    if (typeof value === "string") return terminal ? value.split("\n").map(shown).join("\n") : value;
  }
  const text = JSON.stringify(valueToJson(value).value, null, 2);
  if (!terminal) return text;
  return text.replace(/[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu, (sign) =>
    [...Array(sign.length).keys()].map((at) => `\\u${sign.charCodeAt(at).toString(16).padStart(4, "0")}`).join(""),
  );
}
