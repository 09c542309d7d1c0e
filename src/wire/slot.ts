/**
 * Slots: each is one command of a batch, with the callers that wait for its reply. Each kind has its own class, because
 * reads share a command by their keys, deletions by joining theirs, and other commands not at all.
 *
 * @module
 */
import { type Command, type Reply, type Script, StoreError } from "../../drivers/driver.ts";
import { UNLINK_EACH } from "../lua/small.ts";

/** The most keys of one MGET or UNLINK: longer ones hold up a server's other clients. */
export const MAX_KEYS = 1000;

/** A pending caller. Exactly one of its methods is called, exactly once; neither may throw. */
export interface Caller {
  /**
   * Takes the reply. The epoch comes with every read. What is left comes with those by a {@linkcode ReadScript}: the
   * answer of PTTL, or `null` if it was not asked for.
   */
  resolve(reply: Reply, epoch?: Reply, left?: Reply): void;
  /** Takes the error instead. */
  reject(error: StoreError): void;
}

/** A caller that waits for the text of a key. */
export interface Reader extends Caller {
  /** The physical key. */
  readonly physical: string;
  /** Its shard. */
  readonly space: ReadSpace;
  /** Milliseconds until it is rejected. */
  readonly timeout: number;
}

/** The parts of a shard that reads need. */
export interface ReadSpace {
  /** The key of its epoch, which is read with its entries. */
  readonly epochKey: string;
  /** The start of the keys of its marks. */
  readonly marksPrefix: string;
  /** The known marks of its tags, by which tagged entries can be judged without a script. */
  readonly marks?: { covers(tags: readonly string[], born: number, epoch: string | null): boolean } | undefined;
}

/** A way to read that needs a script. Reads of one tick and shard that share the object are one command. */
export interface ReadScript {
  /** Answers the epoch, then for each key its text and, if it is asked for, its PTTL. */
  readonly script: Script;
  /** The milliseconds that a read slides to; 0 for none. */
  readonly slide: number;
  /** 0 for texts, 2 for heads, and 1 more for PTTL too. */
  readonly what: number;
}

/** The command that reads with a {@linkcode ReadScript}. With MGET, plain commands do the work of the script. */
export type ReadBy = "EVAL" | "EVAL_RO" | "MGET";

/** A command to send, and its callers. */
export abstract class Slot {
  /** The keys whose order matters. */
  readonly keys: string[];
  readonly callers: Caller[] = [];
  /** Milliseconds until its callers stop waiting. */
  timeout: number;
  /** True if it may be sent again when nothing shows whether it was executed. */
  readonly idempotent: boolean;
  /** True if it may change its keys. */
  readonly writes: boolean = true;
  /** The script that it runs, if it runs one. */
  script: Script | undefined;
  /** Its position in the order of the calls. */
  order = 0;
  /** The moment when its callers stop waiting, on the clock of `deadlines.ts`. */
  until = 0;
  /** The state of the command: `"waiting"` also before it is repeated, `"over"` once it is not sent again. */
  progress: "waiting" | "sent" | "over" = "waiting";
  /** True once its callers have their answer. A deadline gives them one while the command is still on its way. */
  settled = false;
  /** True once a later command for one of its keys was executed: to repeat it would undo that one. */
  overtaken = false;
  /** True once the store was found to have forgotten the script, or to refuse it. */
  reloaded = false;
  /** The key of the epoch that is read before the command in the same send, if it needs one. */
  epochKey: string | undefined;
  /** The place of that epoch among the replies of its send; -1 for none. */
  epochAt = -1;

  constructor(keys: string[], timeout: number, idempotent: boolean, script?: Script) {
    this.keys = keys;
    this.timeout = timeout;
    this.idempotent = idempotent;
    this.script = script;
  }

  /** Returns the command to send. If the store knows the script, only the hash of the script is sent. */
  abstract render(known: boolean): Command;

  /** Hands the reply to the callers. */
  protected answer(reply: Reply): void {
    for (const caller of this.callers) caller.resolve(reply);
  }

  /** Joins an earlier slot that the queue ends with, if both can be one command. Returns true if it did. */
  join(_last: Slot): boolean {
    return false;
  }

  /** Called before the command leaves for the first time. The store may charge for each command. */
  prepare?(billed: boolean): void;

  /**
   * Called with the reply of a command that asked for the epoch. Returns the reason to send it again at once, in
   * another form, if there is one.
   */
  revise?(reply: Reply, epoch: Reply | undefined): StoreError | undefined;

  /** Hands the reply to the callers, unless they have an answer already. The epoch comes if it was asked for. */
  settle(reply: Reply, _epoch?: Reply): void {
    if (reply instanceof Error) this.fail(reply);
    else if ((!this.writes || this.callers.length > 1) && !Array.isArray(reply)) {
      // Reads, and deletions of several callers, have one reply for each key.
      this.fail(new StoreError("protocol", "Cannot read a reply of the store: expected a list"));
    } else if (!this.settled) {
      this.settled = true;
      this.answer(reply);
      // V8 moves slots of the last ticks to its old space, and frees what they hold only by a full collection.
      this.callers.length = 0;
    }
  }

  /** Rejects the callers, unless they have an answer already. */
  fail(error: StoreError): void {
    if (this.settled) return;
    this.settled = true;
    for (const caller of this.callers) caller.reject(error);
  }

  /** Returns true if another command must be repeated after this one, which is sent again at once. */
  leads(other: Slot): boolean {
    return this.reloaded && this.precedes(other);
  }

  /** Returns true if this command was issued before the other one, and their order matters. */
  precedes(other: Slot): boolean {
    return (
      this.order < other.order && (this.writes || other.writes) && this.keys.some((key) => other.keys.includes(key))
    );
  }
}

/** Reads: one MGET, or one script. Readers of one key share it. */
export class ReadSlot extends Slot {
  declare readonly callers: Reader[];
  override readonly writes = false;
  /** The way to read, unless it is MGET. */
  readonly readScript: ReadScript | undefined;
  /** The command that runs the script. */
  readonly readBy: ReadBy;
  /** The index of each key in `keys`, once there are two readers. */
  #indexes: Map<string, number> | undefined;
  readonly #epochKeys: string[] = [];
  /** The shard that the script reads in. */
  readonly #space: ReadSpace;
  /** An older slot of the same tick that reads may join. */
  readonly older: ReadSlot | undefined;

  constructor(
    timeout: number,
    space: ReadSpace,
    readScript: ReadScript | undefined,
    readBy: ReadBy,
    older: ReadSlot | undefined,
  ) {
    super([], timeout, true, readScript?.script);
    this.#space = space;
    this.older = older;
    this.readScript = readScript;
    this.readBy = readBy;
  }

  /** Returns true if a reader of this kind can join. */
  takes(timeout: number, space: ReadSpace, readScript: ReadScript | undefined, readBy: ReadBy): boolean {
    return (
      this.timeout === timeout &&
      this.readScript === readScript &&
      (readScript === undefined || this.#space.epochKey === space.epochKey) &&
      this.readBy === readBy &&
      this.keys.length < MAX_KEYS
    );
  }

  /** Adds a reader. */
  add(reader: Reader): void {
    const { keys, callers } = this;
    const { physical } = reader;
    if (callers.push(reader) > 1) {
      this.#indexes ??= new Map([[keys[0] as string, 0]]);
      if (this.#indexes.has(physical)) return;
      this.#indexes.set(physical, keys.length);
    }
    keys.push(physical);
  }

  override render(known: boolean): Command {
    const { callers, keys, readScript } = this;
    if (!readScript) {
      const epochKeys = this.#epochKeys;
      for (const { space } of callers) if (!epochKeys.includes(space.epochKey)) epochKeys.push(space.epochKey);
      return ["MGET", ...keys, ...epochKeys];
    }
    const { script, slide, what } = readScript;
    const { epochKey, marksPrefix } = this.#space;
    const all = [epochKey, ...keys];
    if (this.readBy === "EVAL") return evaluate(script, known, all, [marksPrefix, slide, what]);
    // A command that only reads cannot slide a TTL.
    return evaluate(script, known, all, [marksPrefix, 0, what], "_RO");
  }

  protected override answer(reply: Reply): void {
    const values = reply as readonly Reply[];
    const { callers, keys, readScript } = this;
    const shared = callers.length > keys.length;
    const timed = Number(readScript?.what) % 2;
    for (let i = 0; i < callers.length; i++) {
      const reader = callers[i] as Reader;
      const at = shared ? (this.#indexes?.get(reader.physical) as number) : i;
      if (timed) reader.resolve(values[2 * at + 1] ?? null, values[0], values[2 * at + 2]);
      else if (readScript) reader.resolve(values[at + 1] ?? null, values[0], null);
      else {
        const epochAt = keys.length + this.#epochKeys.indexOf(reader.space.epochKey);
        reader.resolve(values[at] ?? null, values[epochAt] ?? null);
      }
    }
  }
}

/** Deletions: one UNLINK of one caller's keys, or one script that counts for each of several callers. */
export class DeleteSlot extends Slot {
  /** The number of keys of each caller. */
  readonly #sizes: number[];

  constructor(keys: string[], timeout: number) {
    super(keys, timeout, true);
    this.#sizes = [keys.length];
  }

  override join(last: Slot): boolean {
    const { keys, callers, timeout } = this;
    if (!(last instanceof DeleteSlot) || last.timeout !== timeout) return false;
    if (last.keys.length + keys.length > MAX_KEYS) return false;
    last.keys.push(...keys);
    last.callers.push(...callers);
    last.#sizes.push(keys.length);
    return true;
  }

  override render(_known: boolean): Command {
    const { keys, callers } = this;
    return callers.length > 1 ? ["EVAL", UNLINK_EACH, keys.length, ...keys] : ["UNLINK", ...keys];
  }

  protected override answer(reply: Reply): void {
    if (this.callers.length === 1) {
      super.answer(reply);
      return;
    }
    const counts = reply as readonly number[];
    let at = 0;
    this.callers.forEach((caller, i) => {
      let deleted = 0;
      for (const end = at + (this.#sizes[i] as number); at < end; at++) deleted += counts[at] ?? 0;
      caller.resolve(deleted);
    });
  }
}

/** Any other command, or any other script. */
export class CommandSlot extends Slot {
  protected readonly args: readonly (string | number)[];
  /** Keys of the script whose order does not matter. */
  also: readonly string[] | undefined;

  constructor(
    keys: readonly string[],
    timeout: number,
    idempotent: boolean,
    args: readonly (string | number)[],
    script?: Script,
    also?: readonly string[],
  ) {
    super(keys as string[], timeout, idempotent, script);
    this.args = args;
    this.also = also;
  }

  override render(known: boolean): Command {
    const { keys, script } = this;
    if (!script) return this.args as Command;
    return evaluate(script, known, this.also ? [...keys, ...this.also] : keys, this.args);
  }
}

/** Returns the command that runs a script: by its hash if the store knows it. */
export function evaluate(
  { sha1, lua }: Script,
  known: boolean,
  keys: readonly string[],
  args: readonly (string | number)[],
  suffix = "",
): Command {
  return [(known ? "EVALSHA" : "EVAL") + suffix, known ? sha1 : lua, keys.length, ...keys, ...args];
}
