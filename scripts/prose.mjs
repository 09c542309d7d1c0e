// The English of the project: words that hide who does what, doc comments that open like questions, and lines that are
// too wide to read. CONTRIBUTING.md says the rules.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { files, root } from "./tools.mjs";

/** Phrases to avoid, and plain words to use. */
const PHRASES = [
  [/\banew\b/i, "again"],
  [/\bwhoever\b/i, "a caller, process or reader that"],
  [/\bnobody\b/i, "no caller, no process"],
  [/\bmeanwhile\b/i, "in between, since then, at the same time"],
  [/\bbeside\b/i, "next to, besides, with"],
  [/\bin the place of\b/i, "instead of"],
  [/\b(?:is|are|be|was|were|been) told\b/i, "receives, is notified, sees"],
  [/\btold of\b/i, "notified of"],
  [/\btells\b/i, "reports, says, returns"],
  [/\b(?:is|are) none\b/i, "does not exist, is not a"],
  [/\bis no\b/i, "is not a, does not exist"],
  [/\bwhere it\b/i, "if it"],
  [/\bunder way\b/i, "in-flight, running"],
];

/** Doc comments open with a verb or a noun. */
const OPENING = /\/\*\*[\s*]*(?:What|How|Whether|Who|Whose)\b/g;

/** The maximum width of a line, and of a table's cell. */
const COLUMNS = 120;
const CELL = 100;
const README_LINES = 150;
/** The maximum length of a file of the library. */
const FILE_LINES = 450;

/** Files that a script writes, and tables. */
const GENERATED = ["src/dashboard/assets.ts"];
/** The words stand here because this file forbids them. */
const OWN = "scripts/prose.mjs";

/** The files that people read, as paths. */
function texts() {
  const own = (path) => !/(^|\/)(node_modules|dist|\.next)\//.test(path) && !GENERATED.includes(path) && path !== OWN;
  const folders = ["src", "drivers", "test", "bench", "examples", "scripts", "docs", "findings", "monitoring"];
  const pattern = /\.(ts|tsx|mjs|js|md|sh|css|html|yml)$/;
  return [
    "mod.ts",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    ...folders.flatMap((folder) => files(folder, pattern)),
  ].filter(own);
}

/** The text with the signs that begin a comment's lines blanked, so that a phrase may go over the end of a line. */
function flat(text) {
  return text.replace(/\n[ \t]*(?:\*(?!\/)|\/\/|#|>)?[ \t]*/g, (sign) => " ".repeat(sign.length));
}

const lineAt = (text, at) => text.slice(0, at).split("\n").length;

function phrases(file, text) {
  const problems = [];
  const running = flat(text);
  for (const [phrase, plain] of PHRASES) {
    for (const { 0: found, index } of running.matchAll(new RegExp(phrase.source.replaceAll(" ", "\\s+"), "gi"))) {
      problems.push(`${file}:${lineAt(text, index)} says "${found.replace(/\s+/g, " ")}": ${plain}`);
    }
  }
  if (/\.(ts|tsx|mjs)$/.test(file)) {
    for (const { 0: found, index } of text.matchAll(OPENING)) {
      const word = /\w+$/.exec(found)[0];
      problems.push(`${file}:${lineAt(text, index)} opens a doc comment with "${word}": begin with a verb or a noun`);
    }
  }
  return problems;
}

/** Lines that are too wide. Code is the formatter's part: here a line counts if words stand beyond the margin. */
function columns(file, text) {
  const problems = [];
  let fenced = false;
  text.split("\n").forEach((line, i) => {
    if (file.endsWith(".md")) {
      if (/^\s*```/.test(line)) fenced = !fenced;
      if (fenced) return;
      if (/^\s*\|/.test(line)) {
        const cell = line.split(/(?<!\\)\|/).find((cell) => cell.trim().length > CELL);
        if (cell) problems.push(`${file}:${i + 1} has a cell of ${cell.trim().length} columns, more than ${CELL}`);
        return;
      }
    }
    if (file.endsWith(".sh") && !line.startsWith("#")) return;
    // One word, such as an address, cannot be broken.
    if (line.length > COLUMNS && /\s/.test(line.slice(COLUMNS - 40).trim())) {
      problems.push(`${file}:${i + 1} has ${line.length} columns, more than ${COLUMNS}`);
    }
  });
  return problems;
}

/** Returns the problems of the project's English, one per line. */
export function checkProse() {
  const problems = [];
  for (const file of texts()) {
    const text = readFileSync(join(root, file), "utf8");
    problems.push(...phrases(file, text), ...columns(file, text));
    const lines = text.split("\n").length - 1;
    if (file === "README.md" && lines > README_LINES)
      problems.push(`${file} has ${lines} lines, more than ${README_LINES}`);
    if (/^(mod\.ts$|src\/|drivers\/)/.test(file) && lines > FILE_LINES) {
      problems.push(`${file} has ${lines} lines, more than ${FILE_LINES}`);
    }
  }
  return problems;
}

if (process.argv[1]?.endsWith("prose.mjs")) {
  const only = process.argv.slice(2);
  const problems = checkProse().filter((line) => only.length === 0 || only.some((path) => line.startsWith(path)));
  console.log(problems.join("\n"));
  const by = new Map();
  for (const line of problems) {
    const kind = /opens|columns|lines/.exec(line)?.[0] ?? /says "([^"]+)"/.exec(line)?.[1].toLowerCase();
    by.set(kind, (by.get(kind) ?? 0) + 1);
  }
  console.log(`${problems.length} problems`, Object.fromEntries(by));
}
