/** What drivers' factories, and others at the bottom, say of options that they do not know or cannot use. */

/** What an option must be, in words and as a test. */
export type Rule = readonly [accepted: string, test: (value: never) => boolean];

/** What options must be, by their names. */
export type Rules = Readonly<Record<string, Rule>>;

/**
 * Throws for options of names that are not known, and for those of another form. No text is in a message: it may be a
 * secret in the wrong place.
 *
 * @param what Whose options they are.
 * @param options What was given; what is undefined is left out.
 * @param rules What is known.
 * @throws {TypeError} By its name.
 * @throws {RangeError} By its name, for a number that is none of those that are accepted.
 */
export function checkOptions(what: string, options: unknown, rules: Rules): void {
  const names = () => Object.entries(rules).map(([name, [accepted]]) => name + (/\{.*\}/.exec(accepted)?.[0] ?? ""));
  if (!isRecord(options)) {
    throw new TypeError(
      `Cannot use ${shown(options)} as the options of ${what}: accepted are { ${names().join(", ")} }`,
    );
  }
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (!rule) {
      throw new TypeError(`Cannot use option ${JSON.stringify(name)} of ${what}: accepted are ${names().join(", ")}`);
    }
    if (value === undefined || rule[1](value as never)) continue;
    const kind = typeof value === "number" ? RangeError : TypeError;
    throw new kind(`Cannot use ${shown(value)} as "${name}" of ${what}: accepted is ${rule[0]}`);
  }
}

/** A rule for whole numbers. */
export function whole(least: number, most: number = Number.MAX_SAFE_INTEGER): Rule {
  const bounds = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`;
  return [`a whole number ${bounds}`, (value) => Number.isSafeInteger(value) && value >= least && value <= most];
}

/** The rule for text. */
export const text: Rule = ["a string that is not empty", (value) => typeof value === "string" && value !== ""];

/** A rule for an object of known names, and for other values where they fit. */
export function fields(names: readonly string[], also = "", fits: (value: unknown) => boolean = () => false): Rule {
  return [
    `${also}{ ${names.join(", ")} }`,
    (value) => fits(value) || (isRecord(value) && Object.keys(value).every((name) => names.includes(name))),
  ];
}

/** Leaves out what is undefined. */
export function defined<T extends object>(values: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function shown(value: unknown): string {
  if (typeof value === "number" || typeof value === "boolean" || value === null) return String(value);
  return `a value of type ${typeof value}`;
}
