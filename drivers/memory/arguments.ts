/** The arguments of commands, read as Redis reads them. */

import { errorReply, type StoreError } from "../driver.ts";
import type { MemoryStore } from "./store.ts";

/**
 * The name and the arguments of a command. The table of commands checks their number, so a command can rely on the
 * first ones.
 */
export type Args = readonly string[] & {
  readonly 0: string;
  readonly 1: string;
  readonly 2: string;
  readonly 3: string;
};

/** Makes the error of arguments that no option accepts. */
export function syntaxError(): StoreError {
  return errorReply("ERR syntax error");
}

/** Makes the error of a wrong number of arguments. */
export function arityError(name: string): StoreError {
  return errorReply(`ERR wrong number of arguments for '${name.toLowerCase()}' command`);
}

/** Reads a 64-bit integer in the form in which Redis writes it. @throws {StoreError} For other text. */
export function integer(text: string, message: string = "ERR value is not an integer or out of range"): bigint {
  if (/^(0|-?[1-9]\d{0,18})$/.test(text)) {
    const value = BigInt(text);
    if (isInt64(value)) return value;
  }
  throw errorReply(message);
}

/** Returns whether a number fits into 64 bits. */
export function isInt64(value: bigint): boolean {
  return BigInt.asIntN(64, value) === value;
}

/** Adds 64-bit integers. @throws {StoreError} If the sum does not fit. */
export function sum(a: bigint, b: bigint): bigint {
  if (isInt64(a + b)) return a + b;
  throw errorReply("ERR increment or decrement would overflow");
}

/**
 * Returns when an entry expires, by the store's own time. The word, such as `PX` or `EXPIREAT`, says the unit of the
 * amount, and if it counts from now or from 1970.
 */
export function expiry(store: MemoryStore, command: string, word: string, amount: string, least: bigint): number {
  const count = integer(amount);
  const time = count * (word.startsWith("P") ? 1n : 1000n);
  const at = time + (word.endsWith("AT") ? 0n : BigInt(store.wall));
  if (count >= least && isInt64(time) && isInt64(at)) return Number(at) + store.now - store.wall;
  throw errorReply(`ERR invalid expire time in '${command.toLowerCase()}' command`);
}

/** The options of SET and GETEX. */
export interface ExpiryOptions {
  /** The flags among them, such as `NX`. */
  readonly flags: ReadonlySet<string>;
  /** `EX`, `PX`, `EXAT` or `PXAT`; empty without any of them. */
  readonly word: string;
  readonly amount: string;
}

/**
 * Reads the options of SET and GETEX from an index on. @throws {StoreError} For unknown options, and those that exclude
 * each other.
 */
export function parseOptions(args: Args, from: number, known: readonly string[]): ExpiryOptions {
  const flags = new Set<string>();
  let word = "";
  let amount = "";
  for (let i = from; i < args.length; i++) {
    const option = args[i]?.toUpperCase() ?? "";
    if (known.includes(option)) {
      flags.add(option);
    } else {
      const next = args[++i];
      if (!/^[EP]X(AT)?$/.test(option) || next === undefined || (word && word !== option)) throw syntaxError();
      word = option;
      amount = next;
    }
  }
  if ((flags.has("NX") && flags.has("XX")) || (word && (flags.has("KEEPTTL") || flags.has("PERSIST")))) {
    throw syntaxError();
  }
  return { flags, word, amount };
}
