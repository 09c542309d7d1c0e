// How long does it take to turn a plain 1.5 KB product into its superjson document and back, against superjson itself?
import assert from "node:assert/strict";
import superjson from "superjson";
import { decode, encode } from "../src/entry/codec.ts";
import { product } from "../test/fixtures/product.ts";
import { compare, ratioHeading, version } from "./helpers/compare.ts";

const products = Array.from({ length: 64 }, (_, i) => product(i + 1));
const texts = products.map((one) => superjson.stringify(one));
const peer = version("superjson");
ratioHeading(
  `Encode and decode a plain product of ${Math.round((texts[0] as string).length / 100) / 10} KB against ${peer}`,
);
assert.deepEqual(
  products.map((one) => encode(one)),
  texts,
);
assert.deepEqual(
  texts.map((text) => decode(text)),
  products,
);

let kept: unknown;
/** Goes through different values, so that no result can be kept from the time before. */
function each<T>(values: readonly T[], work: (value: T) => unknown): (times: number) => void {
  return (times) => {
    for (let time = 0; time < times; time++) kept = work(values[time & 63] as T);
  };
}
const unit = "product";
const ours = each(products, encode);
await compare({ title: "encode", unit, ours, theirs: each(products, (v) => superjson.stringify(v)), peer, bar: 5 });
const bare = each(products, (value) => JSON.stringify(value));
await compare({ title: "encode, against JSON.stringify", unit, ours, theirs: bare, peer: "JSON.stringify" });
const reading = each(texts, decode);
await compare({ title: "decode", unit, ours: reading, theirs: each(texts, (text) => superjson.parse(text)), peer });
const parsing = each(texts, (text) => JSON.parse(text));
await compare({ title: "decode, against JSON.parse", unit, ours: reading, theirs: parsing, peer: "JSON.parse" });
assert.ok(kept);
