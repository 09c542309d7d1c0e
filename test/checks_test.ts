import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";

const ROOT = resolve(
  import.meta.dirname as string,
  import.meta.filename?.includes(`${join("dist", "test")}`) ? "../.." : "..",
);

describe("the checks of the house", () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "larder-checks-"));
    const manifests = ["package.json", "package-lock.json", "deno.json"];
    const pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "findings", "monitoring"];
    const code = ["mod.ts", "src", "drivers", "scripts", "test", "bench", "examples"];
    const parts = [...manifests, ...pages, ...code];
    await Promise.all(parts.map((part) => cp(join(ROOT, part), join(folder, part), { recursive: true })));
    await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  });

  after(() => rm(folder, { recursive: true }));

  /** Runs a check on the copy of the tree. */
  async function check(name: string): Promise<{ code: number | null; output: string }> {
    const child = spawn("node", ["scripts/check.mjs", name], { cwd: folder });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
    const code = await new Promise<number | null>((done) => child.once("close", done));
    return { code, output };
  }

  /** Runs a check while a file has another text. */
  async function checkWith(name: string, file: string, change: (text: string) => string): Promise<string> {
    const path = join(folder, file);
    const text = await readFile(path, "utf8").catch(() => undefined);
    await mkdir(join(path, ".."), { recursive: true });
    await writeFile(path, change(text ?? ""));
    try {
      const { code, output } = await check(name);
      assert.equal(code, 1, output);
      return output;
    } finally {
      if (text === undefined) await rm(path);
      else await writeFile(path, text);
    }
  }

  it("pass for the tree as it is", async () => {
    for (const name of ["imports", "exports", "names", "prose"]) assert.deepEqual((await check(name)).code, 0, name);
  });

  it("imports fails for a file in no room", async () => {
    const lost = "export const lost = 1;\n";
    assert.match(await checkWith("imports", "src/lost.ts", () => lost), /src\/lost\.ts is in no room/);
    assert.match(await checkWith("imports", "src/attic/lost.ts", () => lost), /src\/attic\/lost\.ts is in no room/);
    assert.match(await checkWith("imports", "drivers/lost.ts", () => lost), /drivers\/lost\.ts is in no room/);
  });

  it("imports fails for an import upwards, of types too", async () => {
    const output = await checkWith("imports", "src/base/check.ts", (text) => {
      return `${text}\nexport type { Keyspace } from "../entry/keyspace.ts";\n`;
    });
    assert.match(output, /src\/base\/check\.ts \(base\) imports src\/entry\/keyspace\.ts \(entry\), which is above it/);
  });

  it("imports fails for a driver that imports more than its contract and src/base/", async () => {
    const output = await checkWith("imports", "drivers/upstash.ts", (text) => {
      return `${text}\nexport type { Keyspace } from "../src/entry/keyspace.ts";\n`;
    });
    assert.match(output, /drivers\/upstash\.ts imports src\/entry\/keyspace\.ts: a driver imports its contract/);
  });

  it("imports fails for a cycle within a room", async () => {
    const output = await checkWith("imports", "src/base/check.ts", (text) => {
      return `${text}\nexport type { Ttl } from "./ttl.ts";\n`;
    });
    assert.match(output, /import cycle: src\/base\/.* -> src\/base\/check\.ts/);
  });

  it("imports fails for a runtime's own globals outside src/runtime/", async () => {
    const output = await checkWith("imports", "src/base/check.ts", (text) => {
      const deno = "export const pid: unknown = (globalThis as any).Deno.pid;";
      return `${text}\n${deno}\nexport const own: unknown = process.pid;\n`;
    });
    assert.match(output, /src\/base\/check\.ts uses .*: only src\/runtime\/ may/);
    const edge = 'export const edge: boolean = "EdgeRuntime" in globalThis;\n';
    assert.match(await checkWith("imports", "src/base/edge.ts", () => edge), /base\/edge\.ts uses EdgeRuntime/);
  });

  it("exports fails for a service and for a driver that package.json leaves out", async () => {
    const service = `export const extra: ServiceDefinition<{}> = { name: "extra", database: 9, collections: {} };\n`;
    const output = await checkWith("exports", "src/services/extra.ts", () => service);
    assert.match(output, /src\/services\/extra\.ts is not exported/);
    const declared = `export const extra = /* @__PURE__ */ defineService({ name: "extra", collections: {} });\n`;
    assert.match(await checkWith("exports", "src/services/extra.ts", () => declared), /extra\.ts is not exported/);
    const driver = "export function extra(options: object): Driver {\n  return options as Driver;\n}\n";
    assert.match(await checkWith("exports", "drivers/extra.ts", () => driver), /drivers\/extra\.ts is not exported/);
  });

  it("names fails for two exported symbols of one name", async () => {
    const output = await checkWith("names", "src/base/more.ts", () => "export class Keyspace {}\n");
    assert.match(output, /Keyspace is exported by src\/base\/more\.ts and src\/entry\/keyspace\.ts/);
  });

  it("prose fails for a phrase to avoid, also over the end of a comment's line, in code and in Markdown", async () => {
    // Put together, so that this file does not hold them.
    const [again, instead] = ["an" + "ew", ["in the", "place of"]];
    const comment = `/** Loads it ${again}. */\nexport const one = 1;\n// A ${instead[0]}\n// ${instead[1]} B.\n`;
    const output = await checkWith("prose", "src/base/more.ts", () => comment);
    assert.ok(output.includes(`src/base/more.ts:1 says "${again}": again`), output);
    assert.ok(output.includes(`src/base/more.ts:3 says "${instead.join(" ")}": instead of`), output);
    const page = await checkWith("prose", "docs/more.md", () => `# More\n\nIt is loaded ${again}.\n`);
    assert.ok(page.includes(`docs/more.md:3 says "${again}"`), page);
  });

  it("prose fails for a doc comment that opens like a question, and for wide lines and cells", async () => {
    const question = await checkWith(
      "prose",
      "src/base/more.ts",
      () => `/**${" What"} it is. */\nexport const one = 1;\n`,
    );
    assert.match(question, /src\/base\/more\.ts:1 opens a doc comment with "What"/);
    const wide = await checkWith(
      "prose",
      "src/base/more.ts",
      () => `// ${"words ".repeat(20)}\nexport const one = 1;\n`,
    );
    assert.match(wide, /src\/base\/more\.ts:1 has 123 columns, more than 120/);
    const cell = await checkWith("prose", "docs/more.md", () => `| a |\n| --- |\n| ${"words ".repeat(17)}|\n`);
    assert.match(cell, /docs\/more\.md:3 has a cell of 101 columns, more than 100/);
  });

  it("prose fails for a README and files of the library that are too long", async () => {
    const readme = await checkWith("prose", "README.md", (text) => `${text}${"\nA line.\n".repeat(80)}`);
    assert.match(readme, /README\.md has \d+ lines, more than 150/);
    const file = await checkWith("prose", "src/base/more.ts", () => "export const one = 1;\n".repeat(451));
    assert.match(file, /src\/base\/more\.ts has 451 lines, more than 450/);
  });

  it("exports fails where package.json and deno.json differ", async () => {
    const output = await checkWith("exports", "deno.json", (text) => text.replace('"./bridge"', '"./other"'));
    assert.match(output, /exports: package\.json has/);
  });
});
