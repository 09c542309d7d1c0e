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
  if (!CONFUSED || !text.includes("\\")) return JSON.parse(text);
  const keys: string[] = [];
  let mark = "\ue000";
  while (text.includes(mark)) mark += "\ue001";
  // A name without escapes stands for each key with some, while the text is parsed.
  const plain = text.replace(/("(?:[^"\\]|\\.)*")(\s*:)/gs, (whole, key: string, colon: string) =>
    key.includes("\\") ? `"${mark}${keys.push(JSON.parse(key)) - 1}"${colon}` : whole,
  );
  if (keys.length === 0) return JSON.parse(text);
  const named = ([key, value]: [string, unknown]): [string, unknown] => [
    key.startsWith(mark) ? (keys[Number(key.slice(mark.length))] as string) : key,
    value,
  ];
  return JSON.parse(plain, (_, value) =>
    value && typeof value === "object" && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).map(named))
      : value,
  );
}
