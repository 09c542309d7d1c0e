/// <reference lib="dom" />
/** JSON as nodes with coloured tokens. */
import { h } from "./dom.ts";
import { markedValue } from "./text.ts";

/** The longest text that is coloured. */
const MOST = 200_000;
/** A string, with the colon of a name; a number; a word. */
const TOKEN = /("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|-?\b\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b|\b(?:true|false|null)\b/gs;

/** Returns JSON as nodes. The text may be cut off; its characters are never changed. */
export function jsonNodes(text: string): Node[] {
  if (text.length > MOST) return markedValue(text);
  const found: Node[] = [];
  let from = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [token, string, colon] = match;
    if (match.index > from) found.push(...markedValue(text.slice(from, match.index)));
    const kind =
      string === undefined ? (/^[-\d]/.test(token) ? "number" : "word") : colon === undefined ? "string" : "name";
    found.push(h("span", { class: `json-${kind}` }, ...markedValue(string ?? token)), ...markedValue(colon ?? ""));
    from = match.index + token.length;
  }
  found.push(...markedValue(text.slice(from)));
  return found;
}
