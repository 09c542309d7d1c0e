import assert from "node:assert/strict";
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { FileError } from "../src/runtime/file_error.ts";
import { createFile, fileExists, importModule, readFile } from "../src/runtime/files.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

async function read(path: string): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of readFile(path)) text += decoder.decode(chunk, { stream: true });
  return text;
}

describe("files", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "larder-system-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const at = (name: string): string => join(folder, name);

  it("createFile shows nothing at its path and is its owner's alone when it is not yet committed", async () => {
    writeFileSync(at("file"), "before", { mode: 0o644 });
    const file = await createFile(at("file"));
    await file.write(encode("af"));
    await file.write(encode("ter"));
    assert.equal(statSync(at("file.partial")).mode & 0o777, 0o600);
    assert.equal(await read(at("file")), "before");
    await file.commit();
    await file.discard();
    assert.equal(await read(at("file")), "after");
    assert.equal(statSync(at("file")).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(folder), ["file"]);
  });

  it("createFile leaves the old file when it is discarded", async () => {
    writeFileSync(at("file"), "before");
    const file = await createFile(at("file"));
    await file.write(encode("after"));
    await file.discard();
    await file.discard();
    assert.deepEqual([readdirSync(folder), await read(at("file"))], [["file"], "before"]);
  });

  it("createFile follows a link when the path is one, but not at the path of its partial file", async () => {
    writeFileSync(at("real"), "before");
    writeFileSync(at("secret"), "secret");
    symlinkSync(at("real"), at("link"));
    symlinkSync(at("secret"), at("real.partial"));
    const file = await createFile(at("link"));
    await file.write(encode("after"));
    await file.commit();
    assert.ok(lstatSync(at("link")).isSymbolicLink());
    assert.deepEqual([await read(at("real")), await read(at("secret"))], ["after", "secret"]);
    assert.deepEqual(readdirSync(folder).sort(), ["link", "real", "secret"]);
  });

  it("createFile gives up when another command took its partial file", async () => {
    const [first, second] = [await createFile(at("file")), await createFile(at("file"))];
    await first.write(encode("first"));
    await second.write(encode("second"));
    await assert.rejects(first.commit(), /Cannot write .*file: another command writes it at the same time/);
    await first.discard();
    await second.commit();
    assert.equal(readFileSync(at("file"), "utf8"), "second");
  });

  it("FileError has words for a person when a file cannot be used", async () => {
    const cases: [() => Promise<unknown>, RegExp][] = [
      [() => createFile(folder), /^Cannot write .*: it is a folder$/],
      [() => createFile(at("no/file")), /^Cannot write .*: no such file or folder$/],
      [() => read(at("none")), /^Cannot read .*: no such file or folder$/],
      [() => read(folder), /^Cannot read .*: it is a folder$/],
      [() => importModule(at("none.mjs")), /^Cannot load .*: no such file or folder$/],
    ];
    for (const [use, pattern] of cases) {
      await assert.rejects(use, (error) => error instanceof FileError && pattern.test(error.message));
    }
    assert.equal(await fileExists(at("none")), false);
    assert.equal(await fileExists(folder), false);
  });
});
