/**
 * superjson, of which only the reader is used: `npm run build` replaces this file by a class that holds the reader,
 * 5 kB less of a Worker.
 */
export { SuperJSON } from "superjson";
