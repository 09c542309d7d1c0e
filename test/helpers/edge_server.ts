/**
 * Serves a function in Vercel's edge runtime. For Node: `node dist/test/helpers/edge_server.js <bundle> <port>`. The
 * bundle is a script that leaves the function's exports in a global `bundled`.
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import { EdgeVM } from "@edge-runtime/vm";
import { listen } from "../../src/runtime/listen.ts";

const [bundle = "", port = ""] = process.argv.slice(2);
const vm = new EdgeVM({ extend: (context) => Object.assign(context, { process: { env: { ...process.env } } }) });
vm.evaluate(readFileSync(bundle, "utf8"));
vm.evaluate('addEventListener("fetch", (event) => event.respondWith(bundled.default(event.request, event)))');

await listen(({ url, method, headers }) => vm.dispatchFetch(url, { method, headers: Object.fromEntries(headers) }), {
  port: Number(port),
});
