/**
 * Loaded before every test file: what clients without a logger tell the console of failures that tests make on purpose
 * stays out of the runner's output.
 *
 * @module
 */

const { warn } = console;
console.warn = (...line: unknown[]) => {
  if (!/^larder: /.test(String(line[0]))) warn(...line);
};
