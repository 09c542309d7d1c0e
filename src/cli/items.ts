/** The items of `larder warm`, from a file or a module. */

import type { Ttl } from "../base/ttl.ts";
import type { WarmItem } from "../manager/mod.ts";
import { importModule, readFile } from "../runtime/files.ts";
import { Failure } from "./errors.ts";

/** A line that is not an item. */
export interface Skipped {
  /** Its number, from 1. */
  readonly line: number;
  /** The reason. */
  readonly reason: string;
}

/** The longest line of a file in characters. Stores do not take larger values. */
const LONGEST = 64 << 20;

/**
 * Reads the items of a file of JSON Lines.
 *
 * @param path The file.
 * @param id The field that holds the id, if lines are values.
 * @param skip Receives the lines that are not items.
 * @returns The items.
 * @throws {FileError} If the file cannot be read.
 */
export async function* fromFile(
  path: string,
  id: string | undefined,
  skip: (skipped: Skipped) => void,
): AsyncGenerator<WarmItem, void, void> {
  let line = 0;
  for await (const text of lines(path)) {
    line++;
    if (text.trim() === "") continue;
    let parsed: unknown;
    try {
      parsed = JSON.parse(line === 1 ? text.replace(/^\ufeff/, "") : text);
    } catch {
      skip({ line, reason: "it is not JSON" });
      continue;
    }
    const item = toItem(parsed, id, line);
    if (typeof item === "string") skip({ line, reason: item });
    else yield item;
  }
}

/**
 * Reads the items that a module exports as the default export or as `items`: an iterable, or a function that makes it.
 *
 * @param path The module.
 * @param id The field that holds the id, if items are values.
 * @param skip Receives what is not an item, by its position in the sequence.
 * @returns The items.
 * @throws {Failure} If it exports no items.
 */
export async function fromModule(
  path: string,
  id: string | undefined,
  skip: (skipped: Skipped) => void,
): Promise<AsyncIterable<WarmItem>> {
  const exported = await importModule(path);
  let items = exported.items ?? exported.default;
  if (typeof items === "function") items = await items();
  if (!isIterable(items)) {
    throw new Failure(
      `Cannot warm from ${path}: expected as the default export or as items an iterable, or a function that returns it`,
    );
  }
  return (async function* () {
    let line = 0;
    for await (const each of items) {
      line++;
      const item = toItem(each, id, line);
      if (typeof item === "string") skip({ line, reason: item });
      else yield item;
    }
  })();
}

function isIterable(value: unknown): value is AsyncIterable<unknown> | Iterable<unknown> {
  return Object(value) === value && (Symbol.asyncIterator in (value as object) || Symbol.iterator in (value as object));
}

/** Returns an item, or the reason why the value is not one. */
function toItem(given: unknown, id: string | undefined, line: number): WarmItem | string {
  if (Object(given) !== given || Array.isArray(given)) return "it is not an object";
  const fields = given as Record<string, unknown>;
  if (id !== undefined) {
    return fields[id] === undefined || fields[id] === null
      ? `it has no ${JSON.stringify(id)}`
      : { id: fields[id], value: given, line };
  }
  for (const name of ["id", "value"]) {
    if (!Object.hasOwn(fields, name))
      return `it has no "${name}": expected {"id", "value", "ttl"?, "tags"?}, or --id <field>`;
  }
  const unknown = Object.keys(fields).find((name) => !["id", "value", "ttl", "tags"].includes(name));
  if (unknown !== undefined) {
    return `it has ${JSON.stringify(unknown)}: expected {"id", "value", "ttl"?, "tags"?}, or --id <field>`;
  }
  const { ttl, tags } = fields;
  return {
    id: fields.id,
    value: fields.value,
    line,
    ...(ttl !== undefined && { ttl: ttl as Ttl }),
    ...(tags !== undefined && { tags: tags as string[] }),
  };
}

async function* lines(path: string): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const decode = (chunk?: Uint8Array): string => {
    try {
      return chunk ? decoder.decode(chunk, { stream: true }) : decoder.decode();
    } catch {
      throw new Failure(`Cannot read ${path}: it is not UTF-8`);
    }
  };
  let rest = "";
  for await (const chunk of readFile(path)) {
    const parts = (rest + decode(chunk)).split("\n");
    rest = parts.pop() as string;
    if (rest.length > LONGEST)
      throw new Failure(`Cannot read ${path}: it has a line of more than ${LONGEST} characters`);
    yield* parts;
  }
  rest += decode();
  if (rest !== "") yield rest;
}
