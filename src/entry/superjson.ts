/**
 * superjson, which reads values. `npm run build` replaces this file by the modules of the package that read.
 */
export { SuperJSON } from "superjson";
