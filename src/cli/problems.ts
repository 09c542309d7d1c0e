import type { Problem } from "../manager/mod.ts";
import { shown } from "./format.ts";
import type { Shell } from "./shell.ts";

/** Tells of keys that could not be read or written as they are. */
export function tellProblems({ output }: Shell, problems: readonly Problem[]): void {
  for (const { key, reason } of problems) output.note(`warning: ${shown(key)}: ${reason}`);
}
