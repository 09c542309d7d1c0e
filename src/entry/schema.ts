import { invalidType } from "../base/check.ts";
import type { SchemaIssue } from "../base/errors.ts";

/**
 * The used part of a [Standard Schema](https://standardschema.dev): the schemas of valibot, zod and arktype have it.
 */
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

/** Throws if a value is not a schema; `whose` names its owner in the message. */
export function checkSchema(schema: unknown, whose: string): void {
  const standard = (schema as Partial<Schema> | null | undefined)?.["~standard"];
  if (typeof standard?.validate === "function") return;
  throw invalidType(`use the schema of ${whose}`, schema, "one of valibot, zod, arktype or any other Standard Schema");
}

/** The result of a schema: a value, or issues. */
export type SchemaResult<Out> =
  | { readonly value: Out; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

/** Returns the issues without the value: some validators quote it in their messages, so that part is cut. */
export function schemaIssues(result: SchemaResult<unknown>): SchemaIssue[] {
  return (result.issues ?? []).map(({ message, path = [] }) => ({
    path: path.map((part) => String(typeof part === "object" ? part.key : part)).join("."),
    message: message.replace(/,? (but )?received .*$/is, ""),
  }));
}

/** The members that show whether a schema is one of valibot's simple ones. */
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
 * Returns whether a schema would return a value unchanged. Valibot's objects that keep further fields copy all of them,
 * which takes longer than the rest of a read does. For simple schemas a look at the value is enough.
 *
 * @returns `false` also if only running the schema would show it.
 */
export function matchesSchema(schema: Schema | Simple, value: unknown): boolean {
  const { kind, type, pipe, async, check, wrapped, entries, default: otherwise } = schema as Simple;
  if (kind !== "schema" || pipe || async) return false;
  if (type === "string" || type === "boolean") return typeof value === type;
  if (type === "number") return Number.isFinite(value);
  if (type === "custom") return check?.(value) === true;
  if (type === "optional" && wrapped)
    return value === undefined ? otherwise === undefined : matchesSchema(wrapped, value);
  if (type !== "loose_object" || !entries || typeof value !== "object" || value === null) return false;
  for (const key in entries) {
    if (!matchesSchema(entries[key] as Simple, (value as Record<string, unknown>)[key])) return false;
  }
  return true;
}
