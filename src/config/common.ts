/** The options that every build of the library takes, each with what it accepts and its default. */

import { FLAG, type Rule, TEXT, whole } from "../base/check.ts";
import { LONGEST_TIMER, millisecondsOf } from "../base/ttl.ts";
import type { CommonConfig } from "./options.ts";

/** The names of these options. */
export type CommonName = Exclude<keyof CommonConfig, "ttl" | "ttls" | "defaults" | "shards">;

const isTimer = whole(1, LONGEST_TIMER)[1];

/** The rule and the default of each option. */
export const COMMON: { readonly [N in CommonName]: readonly [rule: Rule, fallback: CommonConfig[N]] } = {
  prefix: [TEXT, ""],
  databases: [oneOf("auto", "numbered", "prefixed"), "auto"],
  database: [whole(0, 15), 0],
  timeout: [
    ['milliseconds up to 2147483647, or a string such as "2s"', (value) => isTimer(millisecondsOf(value) as never)],
    500,
  ],
  onError: [oneOf("miss", "throw"), "miss"],
  retries: [whole(0, 10), 2],
  allowSharedDatabases: [FLAG, false],
};

/** Returns the rule for one of several names. */
export function oneOf(...names: string[]): Rule {
  return [`one of ${names.join(", ")}`, (value: unknown) => names.includes(value as string)];
}
