import { CacheConfigError } from "../base/errors.ts";

/** A blank line, a comment, or an assignment with its comment; quoted values may span lines. */
const LINE =
  /[^\S\n]*(?:#[^\n]*|(?:export[^\S\n]+)?([A-Za-z_]\w*)[^\S\n]*=[^\S\n]*(?:(?:"((?:\\[\s\S]|[^"\\])*)"|'([^']*)'|`([^`]*)`)[^\S\n]*(?:#[^\n]*)?|(?!["'`])([^\n]*?)[^\S\n]*(?:(?<=\s)#[^\n]*)?))?(?:\n|$)/y;

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

/**
 * Reads the text of a dotenv file: `NAME=value` lines, an optional `export` before them, `#` comments (after a space behind
 * unquoted values), single quotes and backticks for values as they are, double quotes for values with `\n \r \t \" \\`.
 * Nothing is expanded. The last of several values of a name counts.
 *
 * @param text The text; a byte order mark and CRLF are fine.
 * @param file The file's name, for the error message.
 * @returns The values by name.
 * @throws {CacheConfigError} When a line is none of these; it names the line, not what stands in it.
 */
export function parseDotenv(text: string, file: string): Map<string, string> {
  const lines = text.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n");
  const values = new Map<string, string>();
  for (let at = 0; at < lines.length; at = LINE.lastIndex) {
    LINE.lastIndex = at;
    const match = LINE.exec(lines);
    if (!match) {
      const line = lines.slice(0, at).split("\n").length;
      throw new CacheConfigError([`${file} line ${line} cannot be read, expected NAME=value with closed quotes`]);
    }
    const [, name, double, single, backtick, bare] = match;
    if (!name) continue;
    values.set(
      name,
      double?.replace(/\\([\s\S])/g, (_, c: string) => ESCAPES[c] ?? c) ?? single ?? backtick ?? bare ?? "",
    );
  }
  return values;
}
