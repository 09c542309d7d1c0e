/** A key of an escaped backslash and a dot. */
const DOT = '{"a":1,"\\\\.":1}';
JSON.parse(DOT.replace(".", "\\\\"));
/**
 * `true` if `JSON.parse` takes a key of an earlier text for that of another. V8 15.0, as in Deno 2.9, expects at each
 * place the key that stood there before, and compares it with the escaped text of a key that has escapes. So a key of
 * one backslash is found in every key of one character that is escaped.
 */
const CONFUSED: boolean = JSON.stringify(JSON.parse(DOT)) !== DOT;

/** Parses JSON, with the keys of the text on every runtime. @throws {SyntaxError} If the text is something else. */
export function readJson(text: string): unknown {
  // Only what has an escape in a key is read in another way, which is slow.
  if (!CONFUSED || !/\\.[^"\\]*"\s*:/s.test(text)) return JSON.parse(text);
  const keys: string[] = [];
  const numbered = text.replace(/("(?:[^"\\]|\\.)*")(\s*:)?/gs, (whole, key: string, colon?: string) =>
    colon ? `"${keys.push(JSON.parse(key)) - 1}":` : whole,
  );
  return JSON.parse(numbered, (_, value) =>
    Object(value) !== value || Array.isArray(value)
      ? value
      : Object.fromEntries(Object.entries(value).map(([key, of]) => [keys[Number(key)], of])),
  );
}
