import type { SchemaIssue } from "./errors.ts";

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
