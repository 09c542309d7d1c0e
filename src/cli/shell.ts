import { isInvalid } from "../base/check.ts";
import { CacheError } from "../base/errors.ts";
import { isStoreError, StoreError } from "../base/store_error.ts";
import { FileError } from "../runtime/file_error.ts";
import { isTerminal, questionStreams } from "../runtime/process.ts";
import { EXIT, Failure, Stopped, UsageError } from "./errors.ts";
import { checkKind } from "./kind.ts";
import { Output } from "./output.ts";
import { untilStopped } from "./stop.ts";
import { type OpenedStore, reachStore, type StoreFlags } from "./store.ts";

/** The options of every command. */
export interface CommonFlags extends StoreFlags {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly yes?: boolean;
  /** `false` for `--no-color`. */
  readonly color?: boolean;
}

/** The stores, the output and the questions of one command. */
export class Shell {
  /** Aborted by Ctrl-C, with {@linkcode Stopped} as its reason. */
  readonly signal: AbortSignal;
  /** The output of the command. */
  readonly output: Output;
  /** `true` if results are JSON. */
  readonly json: boolean;
  readonly #flags: CommonFlags;
  readonly #stop: AbortController;
  readonly #opened: OpenedStore[] = [];

  /**
   * Makes a shell for one command.
   *
   * @param flags Its flags.
   * @param stop The controller that Ctrl-C aborts.
   */
  constructor(flags: CommonFlags, stop: AbortController) {
    this.#flags = flags;
    this.#stop = stop;
    this.signal = stop.signal;
    this.json = flags.json ?? false;
    this.output = new Output({ plain: flags.color === false, quiet: flags.quiet ?? false });
  }

  /** Returns the store that the command's flags, or the given ones, name. It is not connected yet. */
  reach(flags: StoreFlags = this.#flags): OpenedStore {
    const opened = reachStore(flags);
    this.#opened.push(opened);
    return opened;
  }

  /**
   * Waits until the stores answer.
   *
   * @throws {StoreError} If one does not.
   * @throws {UsageError} If one is a Sentinel.
   */
  async connect(...stores: readonly OpenedStore[]): Promise<void> {
    this.output.progress("connecting");
    const { signal } = this;
    const connecting = stores.map(async (store) => {
      const { client, name, timeout } = store;
      try {
        await client.connect({ timeout });
        const warning = await checkKind(store);
        if (warning !== undefined) this.output.note(warning);
      } catch (error) {
        // Over REST, and if no store answers, the message does not name the store.
        if (!isStoreError(error) || error.message.includes(name.replace(/^\w+:(\/\/)?/, ""))) throw error;
        throw new StoreError(error.kind, `${error.message} (${name})`, { cause: error });
      }
    });
    await untilStopped(Promise.all(connecting), signal);
  }

  /** Returns the store that the command's flags, or the given ones, name, and connects it. */
  async open(flags?: StoreFlags): Promise<OpenedStore> {
    const opened = this.reach(flags);
    await this.connect(opened);
    return opened;
  }

  /**
   * Asks before data is destroyed.
   *
   * @param question The question.
   * @throws {UsageError} Without a terminal and without `--yes`.
   * @throws {Failure} If the user declines.
   * @throws {Stopped} After Ctrl-C.
   */
  async confirm(question: string): Promise<void> {
    if (this.#flags.yes) return;
    if (!isTerminal("stdin") || !isTerminal("stderr")) {
      throw new UsageError(`Cannot ask "${question}" without a terminal: expected --yes`);
    }
    this.output.hide();
    const { confirm, isCancel } = await import("@clack/prompts");
    const { signal } = this;
    const answer = await confirm({
      ...questionStreams(this.#flags.color === false),
      message: question,
      initialValue: false,
      withGuide: false,
      signal,
    });
    // The question reads the keyboard itself, so Ctrl-C arrives as a key.
    if (isCancel(answer)) this.#stop.abort(this.signal.aborted ? this.signal.reason : new Stopped("SIGINT"));
    this.signal.throwIfAborted();
    if (!answer) throw new Failure("Nothing was changed");
  }

  /**
   * Runs an operation and shows its progress.
   *
   * @typeParam P The progress that the operation yields.
   * @param steps The operation.
   * @param show Returns the text of a step, and the share that is done, 0-1.
   * @param each Called with each step.
   * @param then Returns what an error after a step means for the work; `undefined` if nothing needs saying.
   * @returns The last step, and whether Ctrl-C stopped the operation before its end.
   */
  async follow<P>(
    steps: AsyncIterable<P>,
    show: (step: P) => readonly [text: string, share?: number | undefined],
    each: (step: P) => Promise<void> | void = () => {},
    then: (step: P) => string | undefined = () => undefined,
  ): Promise<{ readonly last: P | undefined; readonly stopped: boolean }> {
    let last: P | undefined;
    try {
      for await (const step of steps) {
        last = step;
        this.output.progress(...show(step));
        await each(step);
      }
      return { last, stopped: false };
    } catch (error) {
      if (this.signal.aborted && error === this.signal.reason) return { last, stopped: true };
      // Report what was done before the error. These errors come before anything is written.
      const nothing =
        (error instanceof CacheError && !isStoreError(error)) || error instanceof FileError || isInvalid(error);
      if (last !== undefined && !nothing) {
        this.output.note([`before the error: ${show(last)[0]}`, then(last)].filter(Boolean).join("; "));
      }
      throw error;
    } finally {
      this.output.hide();
    }
  }

  /** Returns the exit code by whether the command found something. @throws {Stopped} If it was stopped. */
  code(stopped: boolean, found = false): number {
    if (stopped) this.signal.throwIfAborted();
    return found ? EXIT.failed : 0;
  }

  /** Closes the stores that the command opened. */
  async close(): Promise<void> {
    await Promise.all(this.#opened.map(({ client }) => client.close()));
  }
}
