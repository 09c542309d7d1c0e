/** The contract as a bundle inside an edge runtime runs it: one case a call, by its index in the list. */
import { memory } from "../../drivers/memory.ts";
import { createCacheClient } from "../../mod.ts";
import { contract } from "../contract_cases.ts";

/** Where the clients of a run store: the options that choose the wire. */
export type Wire =
  | { readonly driver: "memory" }
  | { readonly driver: "upstash"; readonly url: string; readonly token: string };

/** The names of the cases, in their order. */
export const names: readonly string[] = contract.map((item) => item.name);

/**
 * Runs one case.
 *
 * @param index The case's place in {@linkcode names}.
 * @param wire Where its clients store.
 * @returns What went wrong, with the stack; `undefined` when nothing did.
 */
export async function run(index: number, wire: Wire): Promise<string | undefined> {
  try {
    const item = contract[index];
    if (item === undefined) throw new RangeError(`Cannot run case ${index}: there are ${contract.length}`);
    const driver = wire.driver === "memory" ? memory() : undefined;
    const store = driver ? { driver } : { ...wire, prefix: `case-${index}` };
    await item.run({
      make: (options) => createCacheClient({ env: {}, timeout: 5000, logger: false, ...store, ...options }),
    });
    return undefined;
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}\n${error.stack}` : String(error);
  }
}

/** Returns the console's lines for a client without a store, on a runtime without variables. */
export function untold(): readonly string[] {
  const said: string[] = [];
  const { warn } = console;
  console.warn = (line: string) => void said.push(line);
  try {
    for (const options of [{}, {}, { driver: "memory" as const }, { env: {} }, { logger: false as const }]) {
      said.push(createCacheClient(options).driver);
    }
  } finally {
    console.warn = warn;
  }
  return said;
}
