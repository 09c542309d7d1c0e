import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createDecipheriv, randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import fc from "fast-check";
import { decode } from "../src/entry/codec.ts";
import { type EncryptionOptions, keyRing, open, type SealOptions, seal } from "../src/entry/seal.ts";

const KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";
const OTHER = new Uint8Array(16).fill(0xfb);
const PLACE = "shop:product:1";
const ring = keyRing({ keys: { k1: KEY } });
const packing: SealOptions = { compressAbove: 1 };
const large = JSON.stringify({ json: Array.from({ length: 400 }, (_, id) => ({ id, name: `Phở bò ${id} 🍜` })) });

/** Returns the document that the store would hold. */
async function stored(document: string, options: SealOptions, place = PLACE) {
  const fragment = seal(document, options, place);
  assert.ok(fragment);
  return JSON.parse(`{"v":1,${await fragment}}`) as { sealed?: string; packed?: string; json?: unknown };
}

/** Returns the message of a failure, which must be a plain Error without text of keys or documents. */
async function failure(run: Promise<unknown>): Promise<string> {
  try {
    await run;
  } catch (error) {
    assert.ok(error instanceof Error);
    assert.equal(error.name, "Error");
    assert.equal(Object.getPrototypeOf(error), Error.prototype);
    assertSecret(`${error.stack} ${JSON.stringify(error)} ${(error as Error).cause}`);
    return error.message;
  }
  return assert.fail("nothing was rejected");
}

function assertSecret(text: string): void {
  for (const secret of [KEY.slice(0, 12), "ABCDEFGH", Buffer.from(KEY, "base64").toString("hex").slice(0, 12), "Phở"]) {
    assert.ok(!text.includes(secret), text);
  }
}

/** Runs with base64 as runtimes do it that have nothing for it but `btoa` and `atob`. */
async function withoutNativeBase64(run: () => Promise<void>): Promise<void> {
  const places: [object, string][] = [
    [Uint8Array, "fromBase64"],
    [Uint8Array.prototype, "toBase64"],
    [globalThis, "Buffer"],
  ];
  const kept = places.map(([owner, name]) => Object.getOwnPropertyDescriptor(owner, name));
  for (const [owner, name] of places) Reflect.deleteProperty(owner, name);
  try {
    await run();
  } finally {
    for (const [i, [owner, name]] of places.entries()) if (kept[i]) Object.defineProperty(owner, name, kept[i]);
  }
}

async function without(name: "CompressionStream" | "DecompressionStream", run: () => Promise<void>): Promise<void> {
  const kept = Object.getOwnPropertyDescriptor(globalThis, name) as PropertyDescriptor;
  Reflect.deleteProperty(globalThis, name);
  try {
    await run();
  } finally {
    Object.defineProperty(globalThis, name, kept);
  }
}

describe("seal and open", () => {
  it("bring any document back, sealed, packed or both", async () => {
    const unit = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.constantFrom("\ud800", "\udfff", "\ufeff", "🍜"),
    );
    const value = fc.oneof(
      fc.array(unit).map((parts) => parts.join("")),
      fc.jsonValue(),
    );
    const options = fc.record({
      ring: fc.constantFrom(undefined, ring, keyRing({ keys: { k2: OTHER } })),
      compressAbove: fc.constantFrom(undefined, 1, 100),
    });
    await fc.assert(
      fc.asyncProperty(value, fc.nat(60), options, fc.string(), async (value, times, options, place) => {
        const document = JSON.stringify({ json: Array(times + 1).fill(value), meta: { values: [] } });
        const fragment = await seal(document, options, place);
        const { ring, compressAbove = Number.POSITIVE_INFINITY } = options;
        assert.equal(fragment === undefined, !ring && document.length < compressAbove);
        if (fragment === undefined) return;
        const { v, ...text } = JSON.parse(`{"v":1,${fragment}}`);
        assert.equal(v, 1);
        if (ring) assert.deepEqual(Object.keys(text), ["sealed"]);
        if ("json" in text) assert.deepEqual(text, JSON.parse(document));
        else assert.equal(await open(text, options, place), document);
      }),
      { numRuns: 150 },
    );
  });

  it("seal returns undefined at once when there is nothing to do", () => {
    assert.equal(seal(large, {}, PLACE), undefined);
    assert.equal(seal(large, { compressAbove: large.length + 1 }, PLACE), undefined);
    assert.ok(seal(large, { compressAbove: large.length }, PLACE));
  });

  it("seal writes AES-GCM that others can read: key id, point, base64 of iv, ciphertext and tag", async () => {
    const { sealed = "" } = await stored('{"json":"phở"}', { ring });
    const [, text = ""] = /^k1\.([A-Za-z0-9+/]+=*)$/.exec(sealed) ?? [];
    const bytes = Buffer.from(text, "base64");
    const decipher = createDecipheriv("aes-256-gcm", Buffer.from(KEY, "base64"), bytes.subarray(0, 12));
    decipher.setAAD(Buffer.from(`k1.${PLACE}`)).setAuthTag(bytes.subarray(-16));
    assert.equal(decipher.update(bytes.subarray(12, -16)).toString() + decipher.final(), '{"json":"phở"}');
  });

  it("seal never writes the same text twice", async () => {
    const texts = await Promise.all(Array.from({ length: 50 }, () => seal('{"json":1}', { ring }, PLACE)));
    assert.equal(new Set(texts.map((text) => text?.slice(0, 28))).size, 50);
  });

  it("seal compresses from compressAbove, and marks it with ~ inside what is sealed", async () => {
    const { packed = "" } = await stored(large, packing);
    assert.ok(packed.length < large.length / 2);
    assert.equal(inflateRawSync(Buffer.from(packed, "base64")).toString(), large);
    const { sealed = "" } = await stored(large, { ring, ...packing });
    assert.match(sealed, /^k1~/);
    assert.ok(sealed.length < large.length / 2);
    assert.match((await stored(large, { ring, compressAbove: large.length + 1 })).sealed ?? "", /^k1\./);
  });

  it("open refuses a compressed text that was cut short at any byte, with every way to inflate it", async () => {
    const text = await stored(large, packing);
    const bytes = Buffer.from(text.packed ?? "", "base64");
    assert.equal(await open(text, {}, PLACE), large);
    for (let length = 0; length < bytes.length; length++) {
      const cut = { ...text, packed: bytes.subarray(0, length).toString("base64") };
      assert.match(await failure(open(cut, {}, PLACE)), /^Cannot open a value: it was cut short$/);
    }
    const both = await stored(large, { ring, ...packing });
    const sealed = Buffer.from((both.sealed ?? "").slice(3), "base64");
    for (let length = 0; length < sealed.length; length++) {
      const cut = { sealed: `k1~${sealed.subarray(0, length).toString("base64")}` };
      assert.match(await failure(open(cut, { ring }, PLACE)), /changed or moved/);
    }
  });

  it("open reads a compressed text of a version that stored no length, and never returns a part of one", async () => {
    const bytes = deflateRawSync(large);
    assert.equal(await open({ packed: bytes.toString("base64") }, {}, PLACE), large);
    for (let length = 0; length < bytes.length; length++) {
      const packed = bytes.subarray(0, length).toString("base64");
      const opened = await open({ packed }, {}, PLACE).catch(() => large);
      // The result is not a document, so a read counts it as corrupt.
      if (opened !== large) assert.throws(() => decode(opened), SyntaxError);
    }
  });

  it("seal keeps the document as it is when compressing does not make it smaller", async () => {
    for (const value of ["", "a", randomBytes(3000).toString("base64"), randomBytes(3000).toString("hex")]) {
      const document = JSON.stringify({ json: value });
      const fragment = await seal(document, packing, PLACE);
      assert.ok((fragment?.length ?? 0) < document.length);
      if (!fragment?.startsWith('"packed"')) assert.equal(`{${fragment}}`, document);
    }
  });

  it("open reads values from before a rotation with the old key", async () => {
    const old = await stored(large, { ring });
    const rotated = { ring: keyRing({ keys: { k1: KEY, k2: OTHER }, current: "k2" }) };
    assert.equal(await open(old, rotated, PLACE), large);
    const young = await stored(large, rotated);
    assert.match(young.sealed ?? "", /^k2\./);
    assert.equal(await open(young, rotated, PLACE), large);
    const ended = { ring: keyRing({ keys: { k2: OTHER } }) };
    assert.equal(await open(young, ended, PLACE), large);
    assert.match(await failure(open(old, ended, PLACE)), /sealed with the key k1: the key is unknown/);
  });

  it("open refuses a text that another key of the same id sealed, and every text when there are no keys", async () => {
    const text = await stored(large, { ring });
    const changed = /sealed with the key k1: the key is different, or the value was changed or moved/;
    assert.match(await failure(open(text, { ring: keyRing({ keys: { k1: OTHER } }) }, PLACE)), changed);
    assert.match(await failure(open(text, {}, PLACE)), /sealed with the key k1: the key is unknown/);
  });

  it("open refuses a text that was moved to another key", async () => {
    for (const compressAbove of [undefined, 1]) {
      const text = await stored(large, { ring, compressAbove });
      for (const place of ["", "shop:product:2", "shop:product:", `${PLACE} `, `.${PLACE}`, `k1.${PLACE}`]) {
        assert.match(await failure(open(text, { ring }, place)), /changed or moved/);
      }
    }
  });

  it("open refuses a sealed text of which any byte was changed", async () => {
    const both = { ring: keyRing({ keys: { k1: KEY, k2: OTHER, k3: KEY } }) };
    const { sealed = "" } = await stored('{"json":"secret"}', both);
    const bytes = Buffer.from(sealed.slice(3), "base64");
    // All of the vector, the ciphertext and the tag.
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] as number) ^ (1 << (at % 8));
      assert.match(
        await failure(open({ sealed: `k1.${changed.toString("base64")}` }, both, PLACE)),
        /changed or moved/,
      );
    }
    for (let length = 0; length < bytes.length; length++) {
      await failure(open({ sealed: `k1.${bytes.subarray(0, length).toString("base64")}` }, both, PLACE));
    }
    const text = bytes.toString("base64");
    // The id: another key, the same key by another id, none; and the mark.
    for (const head of ["k2.", "k3.", "k4.", "k1~", "k1", "", ".", "k1..", `${"k".repeat(50)}.`, "__proto__."]) {
      await failure(open({ sealed: head + text }, both, PLACE));
    }
    for (const end of [".", "~", "!", "AAAA", text]) await failure(open({ sealed: sealed + end }, both, PLACE));
  });

  it("open refuses a text of an unknown form", async () => {
    for (const text of [
      {},
      { sealed: null },
      { sealed: 5 },
      { packed: null },
      { packed: 5 },
      { packed: {} },
      { packed: "!" },
    ]) {
      assert.match(await failure(open(text, { ring }, PLACE)), /^Cannot open a value: ./);
    }
    const junk = Buffer.alloc(100, 0xff).toString("base64");
    assert.match(await failure(open({ packed: junk }, {}, PLACE)), /^Cannot open a value: ./);
  });

  it("open refuses a text that inflates beyond 64 MiB, and inflates one of exactly 64 MiB", async () => {
    const inflate = (size: number) =>
      open({ packed: deflateRawSync(Buffer.alloc(size, 0x20)).toString("base64") }, {}, PLACE);
    assert.match(await failure(inflate(2 ** 26 + 1)), /too large/);
    assert.match(await failure(inflate(2 ** 28)), /too large/);
    assert.equal((await inflate(2 ** 26)).length, 2 ** 26);
  });

  it("seal does not compress when the runtime cannot, and open reports it", async () => {
    const { packed } = await stored(large, packing);
    await without("CompressionStream", async () => {
      assert.deepEqual(await stored(large, packing), { v: 1, ...JSON.parse(large) });
      const text = await stored(large, { ring, ...packing });
      assert.match(text.sealed ?? "", /^k1\./);
      assert.equal(await open(text, { ring }, PLACE), large);
    });
    await without("DecompressionStream", async () => {
      assert.match(await failure(open({ packed }, {}, PLACE)), /DecompressionStream/);
    });
  });

  it("base64 is the same with and without the runtime's own, up to megabytes", async () => {
    const document = JSON.stringify({ json: randomBytes(1_500_000).toString("latin1") });
    const before = await stored(document, { ring });
    await withoutNativeBase64(async () => {
      assert.equal(await open(before, { ring }, PLACE), document);
      assert.equal(await open(await stored(large, packing), {}, PLACE), large);
      const after = await stored(document, { ring });
      assert.equal(after.sealed?.length, before.sealed?.length);
      assert.equal(await open(after, { ring }, PLACE), document);
      assert.match(await failure(open({ packed: "é" }, {}, PLACE)), /^Cannot open a value: ./);
    });
    const after = await stored(document, { ring });
    assert.equal(await open(after, { ring }, PLACE), document);
  });
});

describe("keyRing", () => {
  it("takes 16 or 32 bytes as Uint8Array, Buffer or base64 of either alphabet, padded or not", async () => {
    const bytes = new Uint8Array(32).map((_, i) => 0xf8 + (i % 8));
    const forms = [
      bytes,
      Buffer.from(bytes),
      Buffer.from(bytes).toString("base64"),
      `${Buffer.from(bytes).toString("base64")}\n`,
    ];
    forms.push(Buffer.from(bytes).toString("base64url"), Buffer.from(bytes).toString("base64").replace(/=+$/, ""));
    const text = await stored(large, { ring: keyRing({ keys: { k: bytes } }) });
    for (const key of forms) assert.equal(await open(text, { ring: keyRing({ keys: { k: key } }) }, PLACE), large);
    await withoutNativeBase64(async () => {
      for (const key of forms) assert.equal(await open(text, { ring: keyRing({ keys: { k: key } }) }, PLACE), large);
    });
    assert.ok(seal(large, { ring: keyRing({ keys: { k: bytes.slice(16) } }) }, PLACE));
  });

  it("holds a copy of the keys", async () => {
    const key = new Uint8Array(16).fill(7);
    const ring = keyRing({ keys: { k: key } });
    key.fill(0);
    const text = await stored(large, { ring });
    assert.equal(await open(text, { ring: keyRing({ keys: { k: new Uint8Array(16).fill(7) } }) }, PLACE), large);
  });

  it("writes with the first key unless current names another", () => {
    assert.equal(keyRing({ keys: { b: KEY, a: KEY } }).current, "b");
    assert.equal(keyRing({ keys: { b: KEY, a: KEY }, current: "a" }).current, "a");
  });

  it("imports a key once, not before it is used, and no key that is not", async () => {
    const { importKey } = crypto.subtle;
    let imports = 0;
    crypto.subtle.importKey = function (this: SubtleCrypto, ...args: Parameters<typeof importKey>) {
      imports++;
      return importKey.apply(this, args);
    } as typeof importKey;
    try {
      const ring = keyRing({ keys: { a: KEY, b: OTHER } });
      assert.equal(imports, 0);
      for (let i = 0; i < 5; i++) await seal(large, { ring }, PLACE);
      assert.equal(imports, 1);
    } finally {
      Reflect.deleteProperty(crypto.subtle, "importKey");
    }
    assert.equal(crypto.subtle.importKey, importKey);
  });

  it("refuses keys, ids and a current key of another form, and shows nothing of keys", () => {
    const refused = (options: unknown, message: RegExp) => {
      assert.throws(
        () => keyRing(options as EncryptionOptions),
        (error: Error) => {
          assert.equal(error.name, "TypeError");
          assert.match(error.message, message);
          assertSecret(error.message);
          return true;
        },
      );
    };
    const form = /^Cannot use the encryption key k1: received a value of type .*, expected 16 or 32 bytes/;
    const bad = [KEY.slice(0, 40), KEY + KEY, `${KEY}!`, "", "not base64", undefined, null, 5, {}, [], "é".repeat(32)];
    for (const key of bad) refused({ keys: { k0: OTHER, k1: key } }, form);
    for (const size of [0, 15, 17, 24, 31, 33, 64]) refused({ keys: { k1: new Uint8Array(size) } }, form);
    for (const id of ["", "a.b", "a~b", "a b", "ở", KEY, `${KEY.slice(0, 42)}x`]) {
      refused(
        { keys: { [id]: OTHER } },
        /^Cannot use the encryption key of this id: received .*, expected .* letters, digits, _ and -/,
      );
    }
    const current = /^Cannot choose the current encryption key: received .*, expected the id of one of the keys$/;
    refused({ keys: {} }, current);
    refused({}, current);
    for (const id of ["k2", "", KEY, "constructor"]) refused({ keys: { k1: KEY }, current: id }, current);
  });

  it("shows no key when it is printed", () => {
    const ring = keyRing({ keys: { k1: KEY } });
    assertSecret(`${JSON.stringify(ring)} ${Object.values(ring).join()}`);
  });
});
