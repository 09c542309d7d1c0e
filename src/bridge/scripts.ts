/**
 * What Upstash does with scripts and Redis does not.
 *
 * Scripts written for Upstash carry a flag of its own in their first line, `#!lua flags=allow-key-locking`: only the
 * keys that they name are locked. Redis locks nothing, and refuses the flag, so it is taken out of what is sent.
 * Clients call a script by the SHA-1 of the text as they have it: that is what they are told, and it is looked up when
 * they do. A flag line that is not the first is ignored by Upstash and an error in Redis: it is left blank.
 *
 * While a script does not end, its connection waits, and Redis refuses what all others ask but SCRIPT KILL and FUNCTION
 * KILL. These two go over a connection of their own.
 *
 * @module
 */

import type { RawCommand, RawReply } from "../../drivers/driver.ts";
import type { Protocol } from "./protocol.ts";

const FLAG = "allow-key-locking";
/** How many scripts are known by two SHA-1s. One that is forgotten is NOSCRIPT, after which clients send its text. */
const MOST = 10_000;

const encoder = new TextEncoder();

type Argument = RawCommand[number];

/** Serves Upstash's scripts over a wire that knows those of Redis. */
export function serveScripts(wire: Protocol): Protocol {
  const scripts = new Scripts();
  const { connect, sendAside } = wire;
  const send = async (commands: readonly RawCommand[]) => {
    const sent = await scripts.translate(commands);
    return tell(await wire.send(sent.map(({ command }) => command)), sent);
  };
  return {
    binary: wire.binary,
    ...(connect && { connect: () => connect.call(wire) }),
    async send(commands) {
      if (!commands.some(isScripting)) return wire.send(commands);
      if (!sendAside || !commands.some(isKill)) return send(commands);
      // Together with the others, which may wait for the script that it ends.
      const others = commands.filter((command) => !isKill(command));
      const [replies, kills] = await Promise.all([
        others.length > 0 ? send(others) : [],
        Promise.all(commands.filter(isKill).map((command) => sendAside.call(wire, command))),
      ]);
      const next = { kills: 0, replies: 0 };
      return commands.map((each) => (isKill(each) ? kills[next.kills++] : replies[next.replies++]) ?? null);
    },
    async transaction(commands) {
      if (!commands.some(isScripting)) return wire.transaction(commands);
      const sent = await scripts.translate(commands);
      const replies = await wire.transaction(sent.map(({ command }) => command));
      return Array.isArray(replies) ? tell(replies, sent) : replies;
    },
    close: () => wire.close(),
  };
}

/** A command as Redis takes it. */
interface Sent {
  readonly command: RawCommand;
  /** What a SHA-1 that it answers is to its client. */
  readonly sha1?: string | undefined;
}

function tell(replies: readonly RawReply[], sent: readonly Sent[]): readonly RawReply[] {
  return replies.map((reply, index) => {
    const { sha1 } = sent[index] as Sent;
    return sha1 !== undefined && reply instanceof Uint8Array ? encoder.encode(sha1) : reply;
  });
}

/**
 * What a command does with scripts: `EVAL` or `EVALSHA`, those that only read too, or SCRIPT or FUNCTION with its
 * subcommand. Empty for all other commands.
 */
function verbOf([name, subcommand]: RawCommand): string {
  if (typeof name !== "string" || !/^(EVAL(SHA)?(_RO)?|SCRIPT|FUNCTION)$/i.test(name)) return "";
  const verb = name.toUpperCase().replace("_RO", "");
  if (verb.startsWith("EVAL")) return verb;
  return typeof subcommand === "string" ? `${verb} ${subcommand.toUpperCase()}` : verb;
}

function isScripting(command: RawCommand): boolean {
  return verbOf(command) !== "";
}

function isKill(command: RawCommand): boolean {
  return /^(SCRIPT|FUNCTION) KILL$/.test(verbOf(command));
}

/** Scripts as clients have them and as the store has them. */
class Scripts {
  /** The SHA-1 of the store's text by that of the client's; first the one that was not asked for the longest. */
  readonly #stored = new Map<string, string>();

  async translate(commands: readonly RawCommand[]): Promise<readonly Sent[]> {
    const sent: Sent[] = [];
    // One after the other: the first may load what the next one calls.
    for (const command of commands) sent.push(isScripting(command) ? await this.#translate(command) : { command });
    return sent;
  }

  async #translate(command: RawCommand): Promise<Sent> {
    switch (verbOf(command)) {
      case "EVAL":
        return { command: (await this.#withoutFlag(command, 1)).command };
      case "SCRIPT LOAD":
        return this.#withoutFlag(command, 2);
      case "EVALSHA":
        return { command: command.map((each, index) => (index === 1 ? this.#find(each) : each)) };
      case "SCRIPT EXISTS":
        return { command: command.map((each, index) => (index > 1 ? this.#find(each) : each)) };
      case "FUNCTION LOAD":
        return { command: command.map((each, index) => (index > 1 ? withoutFunctionFlag(each) : each)) };
      default:
        return { command };
    }
  }

  async #withoutFlag(command: RawCommand, at: number): Promise<Sent> {
    const script = command[at];
    if (typeof script !== "string") return { command };
    const stored = withoutFlag(script);
    if (stored === script) return { command };
    const sha1 = await hash(script);
    this.#remember(sha1, await hash(stored));
    return { command: command.with(at, stored), sha1 };
  }

  #remember(sha1: string, stored: string): void {
    this.#stored.delete(sha1);
    this.#stored.set(sha1, stored);
    const [oldest] = this.#stored.keys();
    if (this.#stored.size > MOST && oldest !== undefined) this.#stored.delete(oldest);
  }

  #find(sha1: Argument): Argument {
    if (typeof sha1 !== "string") return sha1;
    const known = sha1.toLowerCase();
    const stored = this.#stored.get(known);
    if (stored === undefined) return sha1;
    this.#remember(known, stored);
    return stored;
  }
}

async function hash(text: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-1", encoder.encode(text)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A script without Upstash's flag. Its lines keep their numbers, which errors tell. */
function withoutFlag(script: string): string {
  const [line] = /^\s*#!lua[^\n]*/.exec(script) ?? [];
  if (line === undefined) return script;
  return (line.startsWith("#") ? withoutWord(line) : line.replace(/[^\n]/g, "")) + script.slice(line.length);
}

/** `#!lua flags=a,b` without the flag; nothing where it was the only one. */
function withoutWord(line: string): string {
  const words = line.trim().split(/ +/);
  const flags = words.filter((word) => word.startsWith("flags=")).flatMap((word) => word.slice(6).split(","));
  const kept = flags.filter((flag) => flag !== FLAG);
  if (kept.length === flags.length) return line;
  const others = words.filter((word) => !word.startsWith("flags="));
  if (kept.length > 0) others.push(`flags=${kept.join(",")}`);
  return others.length > 1 ? others.join(" ") : "";
}

/** A library of functions, which each name their flags, without Upstash's. */
function withoutFunctionFlag(code: Argument): Argument {
  if (typeof code !== "string" || !code.includes(FLAG)) return code;
  return code.replace(/\bflags\s*=\s*\{[^{}]*\}/g, (flags) => flags.replace(/(["'])allow-key-locking\1\s*,?/g, ""));
}
