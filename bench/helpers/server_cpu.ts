/**
 * Measures the processor time that a redis-server takes for each operation: user and system time of INFO cpu, over a
 * run. A server that is asked less at a time by a slower client looks dearer, so both sides of a comparison should send
 * as many commands at a time.
 *
 * @module
 */
import type { RawClient } from "../../test/helpers/redis_server.ts";
import { type Comparison, quantile, verdict, type Work } from "./compare.ts";

/** The two sides of {@linkcode compareServerCpu}, and how to measure them. */
export interface CpuComparison extends Omit<Comparison, "bar" | "milliseconds" | "rounds"> {
  /** The greatest ratio; none when it is measured for information. */
  readonly bar?: number | undefined;
  /** The microseconds that are few enough, whatever the ratio. */
  readonly enough?: number | undefined;
  /** The times that each side of a round does its work: as many as take the server some 20 ms or more. */
  readonly times: number;
  /** The number of measured rounds. @default 15 */
  readonly rounds?: number;
}

/**
 * Answers the microseconds that the server, or the masters of a cluster together, took for one unit. Nothing else may
 * use them in between.
 */
export async function serverCpu(
  server: RawClient | readonly RawClient[],
  work: Work,
  times: number,
  units = 1,
): Promise<number> {
  const start = await usedCpu(server);
  await work(times);
  return ((await usedCpu(server)) - start) / (times * units);
}

/** Measures, prints and answers the median ratio of our microseconds to the peer's, in alternating rounds. */
export async function compareServerCpu(server: RawClient, comparison: CpuComparison): Promise<number> {
  const { title, unit, units = 1, ours, theirs, peer, bar, enough = 0, times, rounds = 15 } = comparison;
  const ratios: number[] = [];
  const spent: [number[], number[]] = [[], []];
  // In the first round, compilers warm up.
  for (let round = 0; round <= rounds; round++) {
    const pair = [0, 0];
    for (const side of round % 2 === 0 ? [0, 1] : [1, 0]) {
      pair[side] = await serverCpu(server, side === 0 ? ours : theirs, times, units);
      if (round > 0) spent[side]?.push(pair[side]);
    }
    if (round > 0) ratios.push((pair[0] as number) / (pair[1] as number));
  }
  const ratio = quantile(ratios, 0.5);
  const cost = (side: 0 | 1): string => `${quantile(spent[side], 0.5).toFixed(2)} us/${unit}`;
  const spread = `quartiles ${quantile(ratios, 0.25).toFixed(2)}-${quantile(ratios, 0.75).toFixed(2)}`;
  const measured = `${ratio.toFixed(2)} (${spread} of ${rounds} rounds; ours ${cost(0)}, ${peer} ${cost(1)})`;
  if (bar === undefined) console.log(`  ${title}\n    for information: ${measured}`);
  else {
    const or = enough > 0 ? `, or ${enough.toFixed(1)} us` : "";
    verdict(title, `${bar.toFixed(1)} or less${or}`, measured, ratio <= bar || quantile(spent[0], 0.5) <= enough);
  }
  return ratio;
}

/** Answers the microseconds of the processor that servers have used since they started. */
async function usedCpu(servers: RawClient | readonly RawClient[]): Promise<number> {
  const texts = await Promise.all([servers].flat().map((server) => server.command("INFO", "cpu")));
  const seconds = (text: string, name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(text)?.[1]);
  return texts.reduce<number>((sum, reply) => {
    const text = String(reply);
    return sum + (seconds(text, "used_cpu_user") + seconds(text, "used_cpu_sys")) * 1e6;
  }, 0);
}
