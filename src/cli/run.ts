import { exit, onStop, SIGNAL_CODES } from "../runtime/process.ts";
import { explain, Stopped } from "./errors.ts";
import { type CommonFlags, Shell } from "./shell.ts";

/** Runs a command's work with its flags. The work returns the exit code. */
export type Run = (flags: CommonFlags, work: (shell: Shell) => Promise<number>) => Promise<void>;

/** The longest time that stores may take to close, in milliseconds. */
const CLOSING_MS = 2000;

/**
 * Runs a command's work: the first Ctrl-C stops it, a second one ends the process.
 *
 * @param flags The command's flags.
 * @param work The work.
 * @returns The exit code.
 */
export async function runWork(flags: CommonFlags, work: (shell: Shell) => Promise<number>): Promise<number> {
  const stop = new AbortController();
  const shell = new Shell(flags, stop);
  const { output } = shell;
  const listening = onStop((signal) => {
    if (stop.signal.aborted) exit(SIGNAL_CODES[signal]);
    output.note("Stopping; press Ctrl-C again to end at once");
    stop.abort(new Stopped(signal));
  });
  let code: number;
  try {
    code = await work(shell);
    await output.flush();
  } catch (error) {
    // Work that is stopped may fail with another error than the stop.
    const explained = explain(stop.signal.aborted ? stop.signal.reason : error);
    code = explained.code;
    for (const line of explained.lines) output.note(line);
  }
  await Promise.race([shell.close(), new Promise((resolve) => setTimeout(resolve, CLOSING_MS))]);
  try {
    await output.end();
  } catch (error) {
    const explained = explain(error);
    code ||= explained.code;
  }
  listening();
  return code;
}
