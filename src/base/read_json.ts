/** A key of an escaped backslash and a dot. */
const DOT = '{"a":1,"\\\\.":1}';
JSON.parse(DOT.replace(".", "\\\\"));
/**
 * `true` if `JSON.parse` takes a key of an earlier text for that of another. V8 15.0, as in Deno 2.9, expects at each
 * place the key that stood there before, and compares it with the escaped text: two backslashes look like the start of
 * `\\.` then.
 */
const CONFUSED: boolean = JSON.stringify(JSON.parse(DOT)) !== DOT;

/** Parses JSON, with the keys of the text on every runtime. @throws {SyntaxError} If the text is something else. */
export function readJson(text: string): unknown {
  // Escaped in another way, a backslash looks like no key.
  return JSON.parse(CONFUSED && text.includes("\\\\") ? text.replace(/\\\\/g, "\\u005c") : text);
}
