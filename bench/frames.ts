// How many frames of the library lie between getOrSet and the driver's send, on a hit?
//
// A hit has two parts. The first runs on the caller's stack, from getOrSet to the method of the batch that takes the
// read. Its frames are read off the stack when the batch schedules the end of its tick by a `then`, which is watched
// during the call. The second part runs when the tick ends, from the microtask queue down to the driver. Its frames are
// read off the stack inside `send`. A frame is a line of a stack that names a file of src/ or drivers/. Both ends,
// getOrSet and send, are left out. So are functions that the batch calls in the first part and that return before the
// read goes on. Calls at a function's end leave no frame on Bun.
import assert from "node:assert/strict";
import type { Driver } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { createCacheClient } from "../mod.ts";
import { product } from "../test/fixtures/product.ts";
import { heading, verdict } from "./helpers/compare.ts";

const BAR = 5;
heading("Frames of a hit between getOrSet and the driver's send", "Counted on the stacks, see the head of this file.");
Error.stackTraceLimit = 100;

let sent: string[] = [];
const store = memory();
const driver: Driver = {
  name: "watching",
  capabilities: store.capabilities,
  send(...args) {
    sent = frames();
    return store.send(...args);
  },
  close: () => store.close(),
};
const client = createCacheClient({ env: {}, driver });
const { products } = client.service("product");
await products.set(1, product(1));
const load = () => assert.fail("a hit was loaded");
await products.getOrSet(1, load);

const { then } = Promise.prototype;
const setThen = (value: unknown) =>
  // biome-ignore lint/suspicious/noThenProperty: a promise's own
  Object.defineProperty(Promise.prototype, "then", { value, writable: true, configurable: true });
let queued: string[] = [];
setThen(function (this: Promise<unknown>, ...args: never[]) {
  const seen = frames();
  const batch = seen.findIndex((frame) => frame.endsWith("src/wire/batch"));
  if (batch >= 0) queued = seen.slice(0, batch + 1);
  return Reflect.apply(then, this, args);
});
const answer = products.getOrSet(1, load);
setThen(then);
assert.deepEqual(await answer, product(1));
assert.ok(queued.length > 0 && sent.length > 0, "a part was not seen");
const [first, ...rest] = queued;
assert.match(first as string, /getOrSet/);
const count = rest.length + sent.length;
verdict("frames", `${BAR} or fewer`, `${count} (${first}: ${rest.join(", ")}; ${sent.join(", ")})`, count <= BAR);
await client.close();

/** The library's frames on the stack, the caller's side first. */
function frames(): string[] {
  const lines = (new Error().stack ?? "").split("\n").filter((line) => !/\bat async\b/.test(line));
  return lines
    .flatMap((line) => {
      const file = /\/((?:src|drivers)\/[\w/]+)\.[jt]s:/.exec(line)?.[1];
      const name = /at (?:new )?([\w$.#<>[\] ]+?) \(/.exec(line)?.[1] ?? "anonymous";
      return file ? [`${name} of ${file}`] : [];
    })
    .reverse();
}
