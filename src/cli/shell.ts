import { CacheError } from "../base/errors.ts";
import { isStoreError, StoreError } from "../base/store_error.ts";
import { FileError } from "../runtime/file_error.ts";
import { isTerminal, questionStreams } from "../runtime/process.ts";
import { EXIT, Failure, isBadArgument, Stopped, UsageError } from "./errors.ts";
import { Output } from "./output.ts";
import { untilStopped } from "./stop.ts";
import { type OpenedStore, reachStore, type StoreFlags } from "./store.ts";

/** What every command takes. */
export interface CommonFlags extends StoreFlags {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly yes?: boolean;
  /** `false` for `--no-color`. */
  readonly color?: boolean;
}

/** What a command does its work with. */
export class Shell {
  /** Aborted by Ctrl-C, with {@linkcode Stopped} as its reason. */
  readonly signal: AbortSignal;
  /** What it prints. */
  readonly output: Output;
  /** Whether results are JSON. */
  readonly json: boolean;
  readonly #flags: CommonFlags;
  readonly #stop: AbortController;
  readonly #opened: OpenedStore[] = [];

  /**
   * Makes a shell for one command.
   *
   * @param flags Its flags.
   * @param stop What Ctrl-C aborts.
   */
  constructor(flags: CommonFlags, stop: AbortController) {
    this.#flags = flags;
    this.#stop = stop;
    this.signal = stop.signal;
    this.json = flags.json ?? false;
    this.output = new Output({ plain: flags.color === false, quiet: flags.quiet ?? false });
  }

  /** The store that the command's flags name, or others in their place; not connected yet. */
  reach(flags: StoreFlags = this.#flags): OpenedStore {
    const opened = reachStore(flags);
    this.#opened.push(opened);
    return opened;
  }

  /** Waits until the stores answer. @throws {StoreError} When one does not. */
  async connect(...stores: readonly OpenedStore[]): Promise<void> {
    this.output.progress("connecting");
    const { signal } = this;
    const connecting = stores.map(async ({ client, name, timeout }) => {
      try {
        await client.connect({ timeout });
      } catch (error) {
        // Over REST, and where nothing answers, the message does not name the store.
        if (!isStoreError(error) || error.message.includes(name.replace(/^\w+:(\/\/)?/, ""))) throw error;
        throw new StoreError(error.kind, `${error.message} (${name})`, { cause: error });
      }
    });
    await untilStopped(Promise.all(connecting), signal);
  }

  /** The store that the command's flags name, or others in their place, connected. */
  async open(flags?: StoreFlags): Promise<OpenedStore> {
    const opened = this.reach(flags);
    await this.connect(opened);
    return opened;
  }

  /**
   * Asks before something is destroyed.
   *
   * @param question What would be done.
   * @throws {UsageError} Where there is nobody to ask, and no `--yes`.
   * @throws {Failure} When the answer is no.
   * @throws {Stopped} After Ctrl-C.
   */
  async confirm(question: string): Promise<void> {
    if (this.#flags.yes) return;
    if (!isTerminal("stdin") || !isTerminal("stderr")) {
      throw new UsageError(`cannot ask "${question}" without a terminal: accepted is --yes`);
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
    // The question reads the keyboard itself: there Ctrl-C is a key.
    if (isCancel(answer)) this.#stop.abort(this.signal.aborted ? this.signal.reason : new Stopped("SIGINT"));
    this.signal.throwIfAborted();
    if (!answer) throw new Failure("nothing was changed");
  }

  /**
   * Follows an operation, and shows how far it is.
   *
   * @typeParam P What it tells on its way.
   * @param steps The operation.
   * @param show What to show of a step, and how much of all that is, 0-1.
   * @param each Called with each step.
   * @returns The last step, and whether the operation came to its end: Ctrl-C stops it.
   */
  async follow<P>(
    steps: AsyncIterable<P>,
    show: (step: P) => readonly [text: string, share?: number | undefined],
    each: (step: P) => Promise<void> | void = () => {},
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
      // What was done until then is worth to be known, unless it is nothing: of a damaged file, or one that cannot be written.
      const nothing =
        (error instanceof CacheError && !isStoreError(error)) || error instanceof FileError || isBadArgument(error);
      if (last !== undefined && !nothing) this.output.note(`until then: ${show(last)[0]}`);
      throw error;
    } finally {
      this.output.hide();
    }
  }

  /** The exit code of what was stopped, or else whether something was found. */
  code(stopped: boolean, found = false): number {
    if (stopped) this.signal.throwIfAborted();
    return found ? EXIT.failed : 0;
  }

  /** Closes what it opened. */
  async close(): Promise<void> {
    await Promise.all(this.#opened.map(({ client }) => client.close()));
  }
}
