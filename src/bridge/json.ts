/**
 * Parses a request's body so that the numbers in it keep their digits. `JSON.parse` rounds integers above 2^53 and
 * rewrites floats, and its reviver receives the source text on new engines only.
 *
 * @param text The JSON text: one command, or a list of them.
 * @returns The value. If a command has a number, all numbers are strings of their digits.
 * @throws {SyntaxError} When the text is not JSON.
 */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  return holdsNumber(value) ? JSON.parse(quoteNumbers(text)) : value;
}

/** Returns whether a command, or one in a list of commands, has a number. */
function holdsNumber(value: unknown): boolean {
  if (!Array.isArray(value)) return false;
  return value.some((item) => typeof item === "number" || (Array.isArray(item) && item.some(isNumber)));
}

function isNumber(value: unknown): boolean {
  return typeof value === "number";
}

/**
 * Puts the numbers of a valid JSON text in quotes. Strings are skipped, so that the pattern never backtracks into one.
 */
function quoteNumbers(text: string): string {
  const start = /"|-?\d[\d.eE+-]*/g;
  const end = /["\\]/g;
  let quoted = "";
  let copied = 0;
  for (let token = start.exec(text); token; token = start.exec(text)) {
    if (token[0] === '"') {
      end.lastIndex = start.lastIndex;
      while (end.exec(text)?.[0] === "\\") end.lastIndex++;
      start.lastIndex = end.lastIndex;
    } else {
      quoted += `${text.slice(copied, token.index)}"${token[0]}"`;
      copied = start.lastIndex;
    }
  }
  return quoted + text.slice(copied);
}
