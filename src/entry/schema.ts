import { refuse } from "../base/check.ts";
import type { SchemaIssue } from "../base/errors.ts";

/** The part of a [Standard Schema](https://standardschema.dev) that is used: valibot's, zod's and arktype's schemas have it. */
export interface Schema<In = unknown, Out = In> {
  /** The standard's property. */
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    /** Checks a value. */
    readonly validate: (value: unknown) => SchemaResult<Out> | Promise<SchemaResult<Out>>;
    /** Types only. */
    readonly types?: { readonly input: In; readonly output: Out } | undefined;
  };
}

/** Throws for what is no schema, by the name of whose it is. */
export function checkSchema(schema: unknown, whose: string): void {
  const standard = (schema as Partial<Schema> | null | undefined)?.["~standard"];
  if (typeof standard?.validate === "function") return;
  refuse(
    `schema of ${whose}, of type ${typeof schema}`,
    "valibot's, zod's, arktype's and all that follow Standard Schema",
  );
}

/** What a schema answers: a value, or issues. */
export type SchemaResult<Out> =
  | { readonly value: Out; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

/** What went wrong, without the value: messages of some validators quote what they received, so that part is cut. */
export function schemaIssues(result: SchemaResult<unknown>): SchemaIssue[] {
  return (result.issues ?? []).map(({ message, path = [] }) => ({
    path: path.map((part) => String(typeof part === "object" ? part.key : part)).join("."),
    message: message.replace(/,? (but )?received .*$/is, ""),
  }));
}

/** What is read of a schema to find out whether it is one of valibot's simple ones. */
interface Simple {
  readonly kind?: unknown;
  readonly type?: unknown;
  readonly pipe?: unknown;
  readonly async?: unknown;
  readonly check?: (value: unknown) => boolean;
  readonly default?: unknown;
  readonly wrapped?: Simple;
  readonly entries?: Readonly<Record<string, Simple>>;
}

/**
 * Whether a schema would answer a value as it is. Valibot's objects that keep further fields copy all of them, which takes
 * longer than everything else that a read does with its value; for what they are made of here, looking is enough.
 *
 * @returns `false` also where only running the schema can tell.
 */
export function fits(schema: Schema | Simple, value: unknown): boolean {
  const { kind, type, pipe, async, check, wrapped, entries, default: otherwise } = schema as Simple;
  if (kind !== "schema" || pipe || async) return false;
  if (type === "string" || type === "boolean") return typeof value === type;
  if (type === "number") return Number.isFinite(value);
  if (type === "custom") return check?.(value) === true;
  if (type === "optional" && wrapped) return value === undefined ? otherwise === undefined : fits(wrapped, value);
  if (type !== "loose_object" || !entries || typeof value !== "object" || value === null) return false;
  for (const key in entries) {
    if (!fits(entries[key] as Simple, (value as Record<string, unknown>)[key])) return false;
  }
  return true;
}
