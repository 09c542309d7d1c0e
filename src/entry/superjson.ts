/**
 * superjson, of which only the reader is used: `npm run build` replaces this file by a function that makes the reader,
 * 7 kB less of a Worker.
 */
import { SuperJSON } from "superjson";

/** superjson, as far as values are read with it. */
export type SuperjsonReader = Pick<SuperJSON, "deserialize" | "registerClass"> & {
  readonly classRegistry: Pick<SuperJSON["classRegistry"], "getValue">;
};

/** Makes a superjson with a type of values that a function reads. */
export function readerWith(type: string, read: (json: never) => unknown): SuperjsonReader {
  const superjson = new SuperJSON();
  superjson.registerCustom(
    { isApplicable: (_): _ is never => false, serialize: String as never, deserialize: read },
    type,
  );
  return superjson;
}
