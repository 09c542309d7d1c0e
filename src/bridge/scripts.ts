/**
 * Runs the scripts of Upstash on Redis.
 *
 * Scripts for Upstash may have a flag of its own in their first line, `#!lua flags=allow-key-locking`, by which only
 * the keys that they name are locked. Redis locks no keys and refuses the flag, so the bridge removes it. Clients call
 * a script by the SHA-1 of its original text, so the bridge returns that SHA-1, and translates it in later calls. A
 * flag line that is not the first one is ignored by Upstash, but an error in Redis, so the bridge blanks it.
 *
 * While a script runs too long, its connection waits, and Redis refuses all commands except SCRIPT KILL and FUNCTION
 * KILL. These two are sent over a connection of their own.
 *
 * @module
 */

import type { RawCommand, RawReply } from "../../drivers/driver.ts";
import type { Protocol } from "./protocol.ts";

const FLAG = "allow-key-locking";
/**
 * The maximum number of scripts whose two SHA-1s are remembered. Others are answered with NOSCRIPT, and clients send
 * their text.
 */
const MOST = 10_000;

const encoder = new TextEncoder();

type Argument = RawCommand[number];

/** Adds Upstash's scripts to a protocol that has those of Redis. */
export function serveScripts(protocol: Protocol): Protocol {
  const scripts = new Scripts();
  const { connect, sendAside } = protocol;
  const send = async (commands: readonly RawCommand[]) => {
    const sent = await scripts.translate(commands);
    return withOriginalHashes(await protocol.send(sent.map(({ command }) => command)), sent);
  };
  return {
    binary: protocol.binary,
    ...(connect && { connect: () => connect.call(protocol) }),
    async send(commands) {
      if (!commands.some(isScripting)) return protocol.send(commands);
      if (!sendAside || !commands.some(isKill)) return send(commands);
      // Sent at the same time as the others, which may wait for the script that is killed.
      const others = commands.filter((command) => !isKill(command));
      const [replies, kills] = await Promise.all([
        others.length > 0 ? send(others) : [],
        Promise.all(commands.filter(isKill).map((command) => sendAside.call(protocol, command))),
      ]);
      const next = { kills: 0, replies: 0 };
      return commands.map((each) => (isKill(each) ? kills[next.kills++] : replies[next.replies++]) ?? null);
    },
    async transaction(commands) {
      if (!commands.some(isScripting)) return protocol.transaction(commands);
      const sent = await scripts.translate(commands);
      const replies = await protocol.transaction(sent.map(({ command }) => command));
      return Array.isArray(replies) ? withOriginalHashes(replies, sent) : replies;
    },
    close: () => protocol.close(),
  };
}

/** A command for Redis. */
interface Sent {
  readonly command: RawCommand;
  /** The SHA-1 for the client, if the reply is one. */
  readonly sha1?: string | undefined;
}

/** Replaces the SHA-1s of stored texts by those of the clients' texts. */
function withOriginalHashes(replies: readonly RawReply[], sent: readonly Sent[]): readonly RawReply[] {
  return replies.map((reply, index) => {
    const { sha1 } = sent[index] as Sent;
    return sha1 !== undefined && reply instanceof Uint8Array ? encoder.encode(sha1) : reply;
  });
}

/**
 * Returns the verb of a command that uses scripts: `EVAL` or `EVALSHA`, also for their read-only forms, or SCRIPT or
 * FUNCTION with the subcommand. Returns an empty text for all other commands.
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

/** Translates between the scripts of clients and those of the store. */
class Scripts {
  /** The SHA-1s of the store's texts by those of the clients' texts, the least recently used first. */
  readonly #stored = new Map<string, string>();

  async translate(commands: readonly RawCommand[]): Promise<readonly Sent[]> {
    const sent: Sent[] = [];
    // One after the other, because the first may load a script that the next one calls.
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

/** Removes Upstash's flag from a script. The lines keep their numbers, which appear in errors. */
function withoutFlag(script: string): string {
  const [line] = /^\s*#!lua[^\n]*/.exec(script) ?? [];
  if (line === undefined) return script;
  return (line.startsWith("#") ? withoutWord(line) : line.replace(/[^\n]/g, "")) + script.slice(line.length);
}

/** Removes the flag from `#!lua flags=a,b`. The result is empty if it was the only one. */
function withoutWord(line: string): string {
  const words = line.trim().split(/ +/);
  const flags = words.filter((word) => word.startsWith("flags=")).flatMap((word) => word.slice(6).split(","));
  const kept = flags.filter((flag) => flag !== FLAG);
  if (kept.length === flags.length) return line;
  const others = words.filter((word) => !word.startsWith("flags="));
  if (kept.length > 0) others.push(`flags=${kept.join(",")}`);
  return others.length > 1 ? others.join(" ") : "";
}

/** Removes Upstash's flag from a library of functions, each of which names its flags. */
function withoutFunctionFlag(code: Argument): Argument {
  if (typeof code !== "string" || !code.includes(FLAG)) return code;
  return code.replace(/\bflags\s*=\s*\{[^{}]*\}/g, (flags) => flags.replace(/(["'])allow-key-locking\1\s*,?/g, ""));
}
