import { CacheConfigError } from "../base/errors.ts";

/** A blank line, a comment, or an assignment with its comment; quoted values may span lines. */
const LINE =
  /[^\S\n]*(?:#[^\n]*|(?:export[^\S\n]+)?([A-Za-z_]\w*)[^\S\n]*=[^\S\n]*(?:(?:"((?:\\[\s\S]|[^"\\])*)"|'([^']*)'|`([^`]*)`)[^\S\n]*(?:#[^\n]*)?|(?!["'`])([^\n]*?)[^\S\n]*(?:(?<=\s)#[^\n]*)?))?(?:\n|$)/y;

const ESCAPES: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t" };

/**
 * Reads the text of a dotenv file: lines of `NAME=value`, optionally after `export`, and `#` comments. A comment after
 * an unquoted value needs a space before it. Single quotes and backticks enclose literal values, double quotes values
 * with the escapes `\n \r \t \" \\`. Nothing is expanded. The last of several values of a name counts.
 *
 * @param text The text, with or without a byte order mark, with LF or CRLF.
 * @param file The file's name, for the error message.
 * @returns The values by name.
 * @throws {CacheConfigError} For any other line. The message has the number of the line, not its text.
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
