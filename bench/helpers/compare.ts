/**
 * Measures two ways of doing the same thing side by side, and says how to read the result.
 *
 * A round runs both, in alternating order, and gives one ratio. Machines change their speed from second to second, for
 * both sides alike, so the median of the ratios is steady although the rates are not.
 *
 * @module
 */
import { appendFileSync, readFileSync } from "node:fs";
import process from "node:process";

/** Does the thing `times` times. */
export type Work = (times: number) => Promise<unknown> | unknown;

/** The two sides of {@linkcode compare}, and how to measure them. */
export interface Comparison {
  /** The question, such as `"500 concurrent gets, distinct ids"`. */
  readonly title: string;
  /** The unit that a time counts, such as `"get"`. */
  readonly unit: string;
  /** The units of one time. @default 1 */
  readonly units?: number;
  readonly ours: Work;
  readonly theirs: Work;
  /** The peer, with its version. */
  readonly peer: string;
  /** The least ratio; none when it is measured for information. */
  readonly bar?: number;
  /** The number of measured rounds. @default 61 */
  readonly rounds?: number;
  /** The time that each side of a round takes, in milliseconds. @default 20 */
  readonly milliseconds?: number;
}

/** The runtime and its version. */
export const runtime: string = process.versions.bun
  ? `Bun ${process.versions.bun}`
  : process.versions.deno
    ? `Deno ${process.versions.deno}`
    : `Node ${process.versions.node}`;

/** An installed package's name and version. */
export function version(name: string): string {
  return `${name} ${JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version}`;
}

/** The parts of a row of results that not every row has. */
interface RowParts {
  /** The bar in words; none when it is measured for information. */
  readonly bar?: string;
  /** True if the bar is reached. */
  readonly ok?: boolean;
  /** The peer, with its version. */
  readonly peer?: string | undefined;
}

/** Adds a row to the file of results that `npm run bench` names. What stands in brackets is a detail of it. */
function keep(title: string, result: string, parts: RowParts): void {
  const file = process.env.BENCH_ROWS;
  if (!file) return;
  const [, measured = result, detail] = /^([^(]+?) \((.*)\)$/s.exec(result) ?? [];
  appendFileSync(file, `${JSON.stringify({ title, ...parts, measured, detail })}\n`);
}

/** Prints what is measured, on what, and how to read it. */
export function heading(question: string, reading: string): void {
  console.log(`${question}\n${runtime}. ${reading}`);
}

/** Prints what the ratios of {@linkcode compare} mean. */
export function ratioHeading(question: string): void {
  heading(question, "A ratio is our rate over the peer's in the same round: above 1 we are faster. Read the median.");
}

/**
 * Prints one line of the verdict, and keeps it.
 *
 * @param title The part of the question that it answers.
 * @param bar The bar in words, such as `"1.3 or less"`.
 * @param measured The result. What stands in brackets at its end is left out of the table of results.
 * @param ok True if the bar is reached.
 * @param peer The peer, with its version.
 */
export function verdict(title: string, bar: string, measured: string, ok: boolean, peer?: string): void {
  console.log(`  ${title}\n    bar: ${bar}, measured: ${measured}, ${ok ? "ok" : "MISSED"}`);
  keep(title, measured, { bar, ok, peer });
}

/** Prints and keeps what is measured for information. */
export function information(title: string, measured: string, peer?: string): void {
  console.log(`  ${title}\n    for information: ${measured}`);
  keep(title, measured, { peer });
}

/** Prints and keeps the verdict on what we need over what the peer needs: time, bytes or processor time. */
export function atMost(title: string, most: number, ratio: number, detail: string, peer: string): void {
  verdict(title, `${most} or less`, `${ratio.toFixed(2)} (${detail})`, ratio <= most, peer);
}

/** Measures, prints and answers the median ratio. */
export async function compare(comparison: Comparison): Promise<number> {
  const { title, unit, units = 1, ours, theirs, peer, bar, rounds = 61, milliseconds = 20 } = comparison;
  const pace = await warmUp([ours, theirs], milliseconds);
  const ratios: number[] = [];
  const times: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const spent = [0, 0];
    for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const count = pace[side] as number;
      spent[side] = (await time(side === 0 ? ours : theirs, count)) / (count * units);
      times[side]?.push(spent[side] as number);
    }
    ratios.push((spent[1] as number) / (spent[0] as number));
  }
  const ratio = quantile(ratios, 0.5);
  const rate = (side: 0 | 1): string => `${(quantile(times[side], 0.5) * 1000).toFixed(2)} us/${unit}`;
  const spread = `quartiles ${quantile(ratios, 0.25).toFixed(2)}-${quantile(ratios, 0.75).toFixed(2)}`;
  const measured = `${ratio.toFixed(2)} (${spread} of ${rounds} rounds; ours ${rate(0)}, ${peer} ${rate(1)})`;
  if (bar === undefined) information(title, measured, peer);
  else verdict(title, `${Number.isInteger(bar) ? bar.toFixed(1) : bar} or more`, measured, ratio >= bar, peer);
  return ratio;
}

/** Runs both until compilers have settled; answers how many times each side runs in a round. */
async function warmUp(works: readonly [Work, Work], milliseconds: number): Promise<number[]> {
  const pace = [1, 1];
  for (let round = 0; round < 25; round++) {
    for (const [side, work] of works.entries()) {
      const count = pace[side] as number;
      const spent = await time(work, count);
      pace[side] = Math.max(1, Math.min(count * 2, Math.round((count * milliseconds) / Math.max(spent, 0.01))));
    }
  }
  return pace;
}

async function time(work: Work, times: number): Promise<number> {
  const start = performance.now();
  await work(times);
  return performance.now() - start;
}

/** The value below which a share of the values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
