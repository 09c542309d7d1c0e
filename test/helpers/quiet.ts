/**
 * Loaded before every test file. Keeps the warnings of clients without a logger, whose failures the tests make on
 * purpose, out of the runner's output, and gives a test 60 s on Bun, whose own limit is 5 s.
 *
 * @module
 */
import process from "node:process";

const { warn } = console;
console.warn = (...line: unknown[]) => {
  if (!/^larder: /.test(String(line[0]))) warn(...line);
};

if (process.versions.bun) {
  const runner: string = "bun:test";
  const { setDefaultTimeout } = (await import(runner)) as { setDefaultTimeout(milliseconds: number): void };
  setDefaultTimeout(60_000);
}
