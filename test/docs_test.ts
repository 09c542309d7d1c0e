/** README.md, CONTRIBUTING.md and docs/: blocks print what their comments say, and tables are those of the code. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { CollectionOptions } from "../mod.ts";
import { SETTINGS, TTL_SETTINGS } from "../src/config/settings.ts";
import { services } from "../src/services/all.ts";
import { installed, start } from "./helpers/run.ts";

const PAGES = ["README.md", ...readdirSync("docs").filter((name) => name.endsWith(".md"))].map((name) =>
  name === "README.md" ? name : `docs/${name}`,
);

/** The code of a page's TypeScript blocks, with the line that each begins at. */
function blocksOf(page: string): { readonly line: number; readonly code: string }[] {
  const text = readFileSync(page, "utf8");
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(({ 1: code = "", index }) => ({
    line: text.slice(0, index).split("\n").length + 1,
    code,
  }));
}

/** A line that prints, and says in a comment what it prints. */
const PRINTS = /^(.*?)console\.log\((.*)\); \/\/ (.+)$/;

/** Prints as the comments of the pages write values. */
const PRELUDE = `
globalThis.printed = (line, comment, ...values) => {
  const shown = values.map((value) => Deno.inspect(value, { depth: 9, breakLength: Infinity })).join(" ");
  const text = shown.replace(/\\b(Map|Set)\\(\\d+\\)/g, "$1").replace(/\\[ | \\]/g, (sign) => sign.trim());
  console.log(JSON.stringify({ line, comment, text }));
};
`;

describe("the documentation", () => {
  it("prints what its comments say", { timeout: 120_000 }, async () => {
    mkdirSync("dist", { recursive: true });
    const folder = mkdtempSync(join("dist", "docs-"));
    const expected = new Set<string>();
    const names: string[] = [];
    try {
      for (const page of PAGES) {
        for (const { line, code } of blocksOf(page)) {
          const lines = code.split("\n").map((text, i) => {
            const [, before, values, comment] = PRINTS.exec(text) ?? [];
            if (comment === undefined) return text;
            const at = `${page}:${line + i}`;
            expected.add(at);
            return `${before}printed(${JSON.stringify(at)}, ${JSON.stringify(comment)}, ${values});`;
          });
          const name = `${names.length}.ts`;
          names.push(name);
          writeFileSync(join(folder, name), lines.join("\n"));
        }
      }
      const entry = join(folder, "all.ts");
      writeFileSync(entry, `${PRELUDE}${names.map((name) => `await import("./${name}");\n`).join("")}`);
      const args = ["run", "--quiet", "--no-check", "-A", "--config=deno.json", entry];
      const { code, stdout, stderr } = await start(installed("deno"), args).ended;
      assert.equal(code, 0, stderr);
      const wrong: string[] = [];
      for (const line of stdout.split("\n").filter((text) => text.startsWith('{"line"'))) {
        const { line: at, comment, text } = JSON.parse(line);
        expected.delete(at);
        const right = comment.startsWith(text) && /^([:,;]|$)/.test(comment.slice(text.length));
        if (!right) wrong.push(`${at} says ${comment}, but prints ${text}`);
      }
      assert.deepEqual(wrong, []);
      assert.deepEqual([...expected], [], "lines that did not run");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("has an index that links each page, and pages that begin with a summary", () => {
    const index = readFileSync("docs/README.md", "utf8");
    for (const page of PAGES) {
      const name = page.replace("docs/", "");
      if (name === "README.md") continue;
      assert.ok(index.includes(`](${name})`), `docs/README.md does not link ${name}`);
      assert.match(readFileSync(page, "utf8"), /^# .+\n\n\*\*In short\.\*\* /, page);
    }
  });

  it("lists every option with its variable and a meaning", () => {
    const rows = readFileSync("docs/configuration.md", "utf8").split("\n");
    const missing = [...Object.entries(SETTINGS), ...Object.values(TTL_SETTINGS).map((one) => ["", one] as const)]
      .map(([name, { variable }]) => `| ${name && `\`${name}\` `}| \`${variable}\` | `)
      .filter((start) => !rows.some((row) => row.startsWith(start) && /^\w/.test(row.slice(start.length))));
    assert.deepEqual(missing, []);
  });

  it("lists the services of Food Fast as they are declared", () => {
    const rows = readFileSync("docs/food-fast.md", "utf8").split("\n");
    for (const [name, { database, collections }] of Object.entries(services)) {
      const names = Object.keys(collections).map((collection) => `\`${collection}\``);
      assert.ok(
        rows.some((row) => row.startsWith(`| \`${name}\` | ${database} | ${names.join(" ")} |`)),
        name,
      );
      for (const [collection, declared] of Object.entries(collections) as [string, CollectionOptions][]) {
        const { key, ttl, variable, sliding } = declared;
        const life = ttl === undefined ? "its window" : `${ttl}${sliding ? ", sliding" : ""}`;
        const row = `| \`${name}.${collection}\` | \`${key}\` | ${life} | ${variable ? `\`${variable}\` ` : ""}|`;
        assert.ok(rows.includes(row), row);
      }
    }
  });

  it("names code that exists in the design decisions", () => {
    const text = readFileSync("docs/design-decisions.md", "utf8").replace(/\s+/g, " ");
    const entries = text.split(" - **").slice(1);
    for (const entry of entries) {
      if (entry.startsWith("Several callers")) break;
      const [, file = "", symbol = ""] = /\(`([\w/.]+)`, `(\w+)`\)/.exec(entry) ?? [];
      assert.ok(
        file && new RegExp(`(function|class|const|interface) ${symbol}\\b`).test(readFileSync(file, "utf8")),
        entry,
      );
      assert.match(entry, / Rejected: /);
    }
    assert.ok(entries.length > 30);
  });

  it("fails the check of links for files and headings that do not exist", async () => {
    const pages = [
      [
        "README.md",
        "[a](docs/a.md) [b](docs/b.md) [c](docs/a.md#two-words) [d](docs/a.md#three) [e](https://x.example)",
      ],
      [
        "docs/a.md",
        "# A\n\n## Two `words`\n\n[up](../README.md) [here](#two-words) [lost](#lost)\n\n```sh\n[no](link)\n```\n",
      ],
    ];
    const script = `import { deadLinks } from "./scripts/links.mjs";
      const pages = new Map(${JSON.stringify(pages)});
      console.log(JSON.stringify(deadLinks(pages, (path) => pages.has(path))));`;
    const { code, stdout, stderr } = await start("node", ["--input-type=module", "-e", script]).ended;
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), [
      "README.md links to docs/b.md, which does not exist",
      "README.md links to docs/a.md#three, but docs/a.md has no such heading",
      "docs/a.md links to #lost, but docs/a.md has no such heading",
    ]);
  });

  it("has a row in CONTRIBUTING for each room, each dependency and each script", () => {
    const page = readFileSync("CONTRIBUTING.md", "utf8");
    const rooms = readdirSync("src", { withFileTypes: true }).map((entry) =>
      entry.isDirectory() ? `src/${entry.name}/` : `src/${entry.name}`,
    );
    const { dependencies, peerDependencies, devDependencies, scripts } = JSON.parse(
      readFileSync("package.json", "utf8"),
    );
    const packages = Object.keys({ ...dependencies, ...peerDependencies, ...devDependencies });
    const rows = page.split("\n").filter((line) => line.startsWith("|"));
    const missing = [...rooms, ...packages].filter((name) => !rows.some((row) => row.includes(`\`${name}\``)));
    const commands = Object.keys(scripts).filter((name) => !["start", "build", "prepack"].includes(name));
    missing.push(...commands.filter((name) => !/^test$/.test(name) && !page.includes(`\`npm run ${name}`)));
    assert.deepEqual(missing, []);
  });

  it("lists each subpath of the package in the index", () => {
    const index = readFileSync("docs/README.md", "utf8");
    const { exports } = JSON.parse(readFileSync("package.json", "utf8"));
    const paths = Object.keys(exports).filter((path) => path !== "./package.json" && !path.startsWith("./services/"));
    const missing = paths.filter((path) => !index.includes(`${path.slice(1)}\``));
    assert.deepEqual(missing, []);
  });
});
