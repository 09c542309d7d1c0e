// Reads the results of a test runner: its JUnit report, in which Bun, Deno and Node nest, name and escape differently,
// and its output, if the report is missing or leaves something out.
import { readFileSync } from "node:fs";

// Node does not escape `>` in attributes, so a tag ends only outside quotes.
const TAG = /<!--[\s\S]*?-->|<(\/?)(testsuite|testcase|failure|error|skipped)((?:\s+[\w:.-]+="[^"]*")*)\s*(\/?)>/g;
const TEST_FILE = /\b(?:dist\/)?test\/[\w/-]*\.[jt]s(?::\d+)?/;
/** Lines of a failure that say nothing: places outside the repository, what assertion errors carry, code frames. */
const NOISE = /^(at |[{}]+,?$|\^$|(generatedMessage|code|failureType|operator|diff|actual|expected): |\d+ \| )/;
/** Node wraps what a test threw in an error of its own. */
const NODE_WRAPPING =
  /^\s*\[?Error \[ERR_TEST_FAILURE\]: [\s\S]*?\n\s*cause: (?!')|^\s*\[Error(?: \[ERR_TEST_FAILURE\])?: /;

function decode(text) {
  const signs = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text
    .replace(/&(amp);/g, "&")
    .replace(/&(?:#(\d+)|(\w+));/g, (all, code, name) => (code ? String.fromCodePoint(code) : (signs[name] ?? all)));
}

const attribute = (attributes, name) => decode(new RegExp(`\\s${name}="([^"]*)"`).exec(attributes)?.[1] ?? "");

/**
 * Returns the test cases of a report as `{ name, file, state, text }`. `state` is passed, failed or skipped; `text` is
 * the failure's.
 */
function cases(xml) {
  const found = [];
  const path = [];
  let current;
  let textFrom = 0;
  for (const { 0: tag, 1: closing, 2: kind, 3: attributes = "", 4: empty, index } of xml.matchAll(TAG)) {
    if (kind === undefined) continue;
    if (kind === "testsuite") {
      if (closing) path.pop();
      else path.push(attribute(attributes, "name"));
    } else if (kind === "testcase") {
      if (closing) continue;
      const name = [...path.filter((suite) => !/\.[jt]s$/.test(suite)), attribute(attributes, "name")].join(" > ");
      const file = attribute(attributes, "file") || attribute(attributes, "classname");
      current = { name, file: TEST_FILE.exec(file)?.[0] ?? "", state: "passed", text: "" };
      found.push(current);
    } else if (kind === "skipped") {
      if (current?.state === "passed") current.state = "skipped";
    } else if (closing) {
      current.text += decode(xml.slice(textFrom, index));
    } else {
      current.state = "failed";
      textFrom = index + tag.length;
      if (empty) current.text += attribute(attributes, "message");
    }
  }
  return found;
}

/**
 * Reads a report as `{ passed, skipped, failures }`, or `undefined` if it is missing.
 * A failure is `{ name, file, text }`.
 *
 * Suites, which Deno reports as tests, are left out unless they failed by themselves.
 */
function readReport(path) {
  let xml;
  try {
    xml = readFileSync(path, "utf8");
  } catch {}
  if (!xml?.includes("</testsuites>")) return undefined;
  const all = cases(xml);
  const suites = new Set();
  for (const { name } of xml.includes('<testsuites name="deno test"') ? all : []) {
    for (let at = name.indexOf(" > "); at >= 0; at = name.indexOf(" > ", at + 1)) suites.add(name.slice(0, at));
  }
  const report = { passed: 0, skipped: 0, failures: [] };
  for (const { name, file, state, text } of all) {
    if (suites.has(name) && (state !== "failed" || /^\d+ test steps? failed/.test(text))) continue;
    if (state === "skipped") report.skipped++;
    else if (state === "failed") report.failures.push({ name, file: TEST_FILE.exec(text)?.[0] ?? file, text });
    // Node reports a file in which no test ran as a test of that name that passed.
    else if (/\.js$/.test(name)) report.failures.push({ name, file: "", text: "no test ran in this file" });
    else report.passed++;
  }
  return report;
}

/** The lines ahead of a place in the output, where a runner prints what its report leaves out. */
const ahead = (output, index) =>
  output
    .slice(Math.max(0, index - 2000), index)
    .trimEnd()
    .split("\n")
    .slice(-10)
    .join("\n");

/** Adds failures outside tests, and the texts that a report leaves out, from a runner's output. */
function addFromOutput(failures, output) {
  for (const failure of failures) {
    const at = failure.text.includes("test failed") ? output.indexOf(`\u2716 ${failure.name} (`) : -1;
    if (at < 0) continue;
    const text = ahead(output, at);
    failure.text = text.slice(Math.max(0, text.search(/\w*Error\b.*: /)));
  }
  for (const { 1: text, index } of output.matchAll(/^# Unhandled error between tests\n-+\n([\s\S]*?)\n-+$/gm)) {
    const file =
      output
        .slice(0, index)
        .match(/^test\/\S+(?=:$)/gm)
        ?.at(-1) ?? "";
    failures.push({ name: "outside a test", file, text });
  }
}

/** Returns `{ passed, skipped, failures, notes }` from a runner's report and its `{ code, output }`. */
export function readResults(report, { code, output }) {
  const { passed, skipped, failures } = readReport(report) ?? {
    // A runner that was killed leaves no report.
    passed: output.match(/^ *(?:\(pass\)|\u2714|\S.* \.\.\. ok\b)/gm)?.length ?? 0,
    skipped: 0,
    failures: [...output.matchAll(/^ *(\(fail\)|\u2716) (.*)\n/gm)].map(({ 0: line, 1: sign, 2: name, index }) => {
      const after = index + line.length;
      return { name, file: "", text: sign === "(fail)" ? ahead(output, index) : output.slice(after, after + 1000) };
    }),
  };
  addFromOutput(failures, output);
  const notes = [];
  if (passed + skipped + failures.length === 0) notes.push("no test ran");
  else if (code === 124) notes.push("timed out");
  else if (code !== 0 && failures.length === 0) notes.push(`exit code ${code}`);
  for (const name of notes) failures.push({ name, file: "", text: ahead(output, output.length) });
  return { passed, skipped, failures, notes };
}

/** The first lines of a failure's text that say what went wrong and where in the repository. */
export function shorten(text, most) {
  const lines = text
    .replace(NODE_WRAPPING, "")
    .replace(/\] \{ [^\n]*\}\s*$/, "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && (!NOISE.test(line) || /^at .*(_test\.|\/(src|drivers)\/)/.test(line)));
  return [...new Set(lines)].slice(0, most).map((line) => (line.length > 200 ? `${line.slice(0, 200)}...` : line));
}
