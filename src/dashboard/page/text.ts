/// <reference lib="dom" />
/** Text from the store. Characters that are invisible or change its direction are shown as escapes. */
import { h } from "./dom.ts";

/**
 * Controls, format and default-ignorable characters, separators, lone surrogates, private use, spaces that look like
 * another, a blank pattern.
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{DI}\p{Zl}\p{Zp}\u2800]|(?! )\p{Zs}/gu;
/** Characters that values may hold: line breaks, tabs, and joiners of emoji. */
const PLAIN_IN_VALUES = /\n|\t|\u200d|\ufe0f/;
/** The characters of a key that a row shows: its beginning, and its end, in which keys differ. */
const WHOLE = 28;
const HEAD = 160;
const TAIL = 12;

/** Returns text as one line with escapes, for attributes and messages. */
export function line(text: string): string {
  return text.replace(HIDDEN, escaped);
}

/** Returns a key for a message, at most as long as in a row. */
export function short(key: string): string {
  const { head, cut, tail } = ends(key);
  return line(`${head}${cut ? "…" : ""}${tail}`);
}

/** Returns text as nodes of one line, with marked escapes. */
export function marked(text: string): Node[] {
  return pieces(text, () => false);
}

/** Returns a value as nodes, with its line breaks. */
export function markedValue(text: string): Node[] {
  return pieces(text, (sign) => PLAIN_IN_VALUES.test(sign));
}

/** Returns a key as nodes for a narrow cell. Its end stays visible if its middle does not fit. */
export function keyNodes(key: string): Node[] {
  const { head, cut, tail } = ends(key);
  return [
    h("span", { class: "head" }, ...marked(head)),
    cut && h("span", { class: "escape cut" }, "…"),
    tail !== "" && h("span", { class: "tail" }, ...marked(tail)),
  ].filter((node) => node !== false);
}

/** Splits a key into beginning and end, but never a pair of surrogates. A short key has only a beginning. */
function ends(key: string): { readonly head: string; readonly cut: boolean; readonly tail: string } {
  if (key.length < WHOLE) return { head: key, cut: false, tail: "" };
  const cut = key.length > 2 * HEAD;
  const end = key.length - (cut ? 4 * TAIL : TAIL);
  const at = (index: number) => (/^[\ud800-\udbff][\udc00-\udfff]/.test(key.slice(index - 1)) ? index + 1 : index);
  return { head: key.slice(0, at(cut ? HEAD : end)), cut, tail: key.slice(at(end)) };
}

function pieces(text: string, plain: (sign: string) => boolean): Node[] {
  const found: Node[] = [];
  let from = 0;
  for (const { 0: sign, index } of text.matchAll(HIDDEN)) {
    if (plain(sign)) continue;
    if (index > from) found.push(document.createTextNode(text.slice(from, index)));
    found.push(h("span", { class: "escape" }, escaped(sign)));
    from = index + sign.length;
  }
  if (from < text.length) found.push(document.createTextNode(text.slice(from)));
  return found;
}

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function escaped(sign: string): string {
  const code = sign.codePointAt(0) as number;
  const hex = code.toString(16);
  return NAMED[sign] ?? (code > 0xffff ? `\\u{${hex}}` : `\\u${hex.padStart(4, "0")}`);
}
