/**
 * The process of a command: arguments, terminal, signals and exit code, on Bun, Deno and Node. Bundles for the edge do
 * not contain this file.
 *
 * @module
 */

import process from "node:process";
import { FileError } from "./file_error.ts";

/** Returns the arguments of the command, without the runtime and the file. */
export function commandArguments(): string[] {
  return process.argv.slice(2);
}

/** Returns a variable of the environment. An empty one counts as unset. */
export function variable(name: string): string | undefined {
  try {
    return process.env[name] || undefined;
  } catch {
    // Deno denies the permission for it.
    return undefined;
  }
}

/** The name of a standard stream. */
export type StreamName = "stdin" | "stdout" | "stderr";

/** Returns true if a stream is a terminal. */
export function isTerminal(stream: StreamName): boolean {
  return process[stream].isTTY === true;
}

/**
 * Returns the streams for questions: answers are read from the one, questions are written to the other.
 *
 * @param plain True if questions are asked without colours.
 * @returns The streams.
 */
export function questionStreams(plain: boolean): { input: typeof process.stdin; output: typeof process.stderr } {
  // The package that asks questions takes its colours from the environment.
  if (plain) process.env.NO_COLOR = "1";
  // Some terminals do not know their size. With zero columns, a question would have one letter a line.
  process.stderr.columns ||= 80;
  return { input: process.stdin, output: process.stderr };
}

/** Returns the columns of the terminal. */
export function columns(): number {
  return process.stderr.columns || process.stdout.columns || 80;
}

/** Returns the rows of the terminal. */
export function rows(): number {
  return process.stderr.rows || process.stdout.rows || 24;
}

/**
 * Writes to a stream of the command.
 *
 * @param stream The stream.
 * @param data Text, or bytes.
 * @returns Resolves when the system has taken it.
 * @throws {FileError} If it cannot be written, for example because its reader is gone (`EPIPE`) or the disk is full.
 */
export async function writeTo(stream: "stdout" | "stderr", data: string | Uint8Array): Promise<void> {
  const target = process[stream];
  // Without a listener, an error of the stream would end the process.
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

/** The exit codes by which a shell reports that a signal stopped a command. */
export const SIGNAL_CODES: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };

/**
 * Handles the signals that ask a command to stop, instead of the system.
 *
 * @param listener Called with each signal.
 * @returns A function that stops listening.
 */
export function onStop(listener: (signal: StopSignal) => void): () => void {
  const stops: (() => void)[] = [];
  for (const signal of Object.keys(SIGNAL_CODES) as StopSignal[]) {
    const heard = () => listener(signal);
    try {
      process.on(signal, heard);
      stops.push(() => process.off(signal, heard));
    } catch {
      // This system does not have the signal.
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

/** Sends this process a signal, as the keyboard would. */
export function raise(signal: StopSignal): void {
  process.kill(process.pid, signal);
}
