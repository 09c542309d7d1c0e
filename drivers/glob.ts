/**
 * Glob patterns as Redis matches them in KEYS and SCAN.
 *
 * @module
 */

const encoder = new TextEncoder();

/** Returns the bytes of a text. They are signed, as the `char` of C by which Redis compares the ends of a range. */
function bytes(text: string): Int8Array {
  const ascii = new Int8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 127) return new Int8Array(encoder.encode(text));
    ascii[i] = unit;
  }
  return ascii;
}

/**
 * Returns whether a text matches a glob pattern, as Redis does: byte by byte over UTF-8, so `?` is one byte and not one
 * character. `*` matches any bytes, `?` one byte, `[abc]` `[a-c]` `[^x]` one byte of a class, `\x` the character
 * itself. The time is at most proportional to the product of both lengths.
 *
 * @param pattern The pattern.
 * @param text The text, all of which must match.
 * @returns True if it matches.
 *
 * @example
 * ```ts
 * import { globMatch } from "./glob.ts";
 *
 * console.log(globMatch("product:*", "product:42")); // true
 * ```
 */
export function globMatch(pattern: string, text: string): boolean {
  return globMatcher(pattern)(text);
}

/**
 * Prepares a pattern to match many texts. See {@linkcode globMatch}.
 *
 * @param pattern The pattern.
 * @returns A function that returns whether a text matches.
 */
export function globMatcher(pattern: string): (text: string) => boolean {
  if (pattern === "*") return () => true;
  const p = bytes(pattern);
  return (text) => {
    const t = bytes(text);
    // An empty text matches only an empty pattern, because Redis stops before it reads a star.
    if (!t.length) return !p.length;
    let i = 0;
    let j = 0;
    // Each element takes one byte, so only the last star may have to take more: this needs no recursion.
    let afterStar = -1;
    let starEnd = 0;
    while (j < t.length) {
      if (p[i] === 42) {
        afterStar = ++i;
        starEnd = j;
        if (i === p.length) return true;
        continue;
      }
      const next = i < p.length ? matchOne(p, i, t[j]) : -1;
      if (next >= 0) {
        i = next;
        j++;
      } else if (afterStar >= 0) {
        i = afterStar;
        j = ++starEnd;
      } else {
        return false;
      }
    }
    while (p[i] === 42) i++;
    return i >= p.length;
  };
}

/** Matches one byte with the element at `i`. Returns the start of the next element, or -1. */
function matchOne(p: Int8Array, i: number, byte = 0): number {
  if (p[i] === 63) return i + 1;
  if (p[i] !== 91) {
    if (p[i] === 92 && i + 1 < p.length) i++;
    return p[i] === byte ? i + 1 : -1;
  }
  const not = p[++i] === 94;
  if (not) i++;
  let found = false;
  // An unclosed class ends with the pattern.
  for (; i < p.length && p[i] !== 93; i++) {
    const [a = 0, b = 0] = [p[i], p[i + 2]];
    if (a === 92 && i + 1 < p.length) {
      i++;
      found ||= p[i] === byte;
    } else if (p[i + 1] === 45 && i + 2 < p.length) {
      found ||= byte >= Math.min(a, b) && byte <= Math.max(a, b);
      i += 2;
    } else {
      found ||= a === byte;
    }
  }
  return found === not ? -1 : i + 1;
}

/**
 * Escapes the glob characters of a text, so that a pattern matches it literally.
 *
 * @param text Any text.
 * @returns The text with a backslash before each of `* ? [ ] \`.
 */
export function escapeGlob(text: string): string {
  return text.replace(/[*?[\]\\]/g, "\\$&");
}
