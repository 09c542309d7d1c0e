/**
 * What only commands use of a machine: arguments, the terminal, files, signals and the exit code, on Bun, Deno and Node. No
 * bundle for the edge has it.
 *
 * @module
 */

import process from "node:process";
import { FileError } from "./file_error.ts";

/** The arguments of the command, without the runtime and the file. */
export function commandArguments(): string[] {
  return process.argv.slice(2);
}

/** A variable of the environment; empty is unset. */
export function variable(name: string): string | undefined {
  try {
    return process.env[name] || undefined;
  } catch {
    // Deno without the permission for it.
    return undefined;
  }
}

/** A stream of the command. */
export type StreamName = "stdin" | "stdout" | "stderr";

/** Whether a stream is a terminal. */
export function isTerminal(stream: StreamName): boolean {
  return process[stream].isTTY === true;
}

/**
 * The streams that questions are asked on: answers come from the one, the other shows.
 *
 * @param plain Whether they are asked without colours.
 * @returns The streams.
 */
export function questionStreams(plain: boolean): { input: typeof process.stdin; output: typeof process.stderr } {
  // What paints them asks the environment.
  if (plain) process.env.NO_COLOR = "1";
  // Some terminals do not know their size, and in no columns at all a question stands a letter a line.
  process.stderr.columns ||= 80;
  return { input: process.stdin, output: process.stderr };
}

/** The columns of the terminal. */
export function columns(): number {
  return process.stderr.columns || process.stdout.columns || 80;
}

/** The rows of the terminal. */
export function rows(): number {
  return process.stderr.rows || process.stdout.rows || 24;
}

/**
 * Writes to a stream of the command.
 *
 * @param stream Which one.
 * @param data Text, or bytes.
 * @returns Resolves when the system has taken it.
 * @throws {FileError} When it cannot be written: its reader is gone (`EPIPE`), or the disk that it goes to is full.
 */
export async function writeTo(stream: "stdout" | "stderr", data: string | Uint8Array): Promise<void> {
  const target = process[stream];
  // Without a listener, the stream's error would end the process.
  if (target.listenerCount("error") === 0) target.on("error", () => {});
  await new Promise<void>((resolve, reject) => {
    const failed = (error: unknown) =>
      reject(new FileError(`write to standard ${stream === "stdout" ? "output" : "error"}`, error));
    try {
      target.write(data, (error) => (error ? failed(error) : resolve()));
    } catch (error) {
      failed(error);
    }
  });
}

/** A signal that asks a command to stop. */
export type StopSignal = "SIGINT" | "SIGTERM" | "SIGHUP";

/** The codes with which a shell tells of a command that a signal stopped. */
export const SIGNAL_CODES: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };

/**
 * Listens to the signals that ask a command to stop, in the place of what the system does then.
 *
 * @param listener Called with each.
 * @returns Stops listening.
 */
export function onStop(listener: (signal: StopSignal) => void): () => void {
  const stops: (() => void)[] = [];
  for (const signal of Object.keys(SIGNAL_CODES) as StopSignal[]) {
    const heard = () => listener(signal);
    try {
      process.on(signal, heard);
      stops.push(() => process.off(signal, heard));
    } catch {
      // A system without this signal.
    }
  }
  return () => {
    for (const stop of stops) stop();
  };
}

/** Ends the process at once. */
export function exit(code: number): never {
  process.exit(code);
}

/** Sends this process a signal that its keyboard did not turn into one. */
export function raise(signal: StopSignal): void {
  process.kill(process.pid, signal);
}
