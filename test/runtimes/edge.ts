/** Runs the contract inside Vercel's edge runtime. For Node: `npm test edge`. */
import { EdgeVM } from "@edge-runtime/vm";
import { bundle, report, saysUntold } from "./harness.ts";
import type * as suite from "./suite.ts";

const vm = new EdgeVM();
vm.evaluate(await bundle("./suite.js", ["edge-light"], "iife"));
const { names, run, untold } = vm.evaluate<typeof suite>("suite");

await report(
  "edge-light",
  names,
  run,
  ({ driver }) => {
    if (driver === "memory") saysUntold(() => Promise.resolve(untold()));
  },
  () => {},
);
