import type { Problem } from "../manager/mod.ts";
import { shown } from "./format.ts";
import type { Shell } from "./shell.ts";

/** Prints a warning for each key that could not be read or written unchanged. */
export function noteProblems({ output }: Shell, problems: readonly Problem[]): void {
  for (const { key, reason } of problems) output.note(`warning: ${shown(key)}: ${reason}`);
}
