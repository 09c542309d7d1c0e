// Shortens the Lua of dist/src/lua/, which Workers carry and send: local names get a letter or two, and spaces go.
// Lines stay, because errors name them. Strings, fields and globals stay too. Writes the SHA-1s of the new texts.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hashScripts } from "./hash_scripts.mjs";
import { root } from "./tools.mjs";

const FILES = ["entries", "rate_limit"].map((name) => join(root, `dist/src/lua/${name}.js`));
/** The words that no local may have: keywords, and the globals that the scripts use. */
const RESERVED = new Set(
  (
    "and break do else elseif end false for function if in local nil not or repeat return then true until while " +
    "redis KEYS ARGV math string table type tonumber tostring unpack ipairs pairs next select error pcall"
  ).split(" "),
);
/** A part of the text that TypeScript inserts, a string, a number, a word, the end of a line, spaces, an operator. */
const TOKEN = /\$\{\w+\}|'[^'\n]*'|"[^"\n]*"|\d+|[A-Za-z_]\w*|\n\s*| +|\.\.|[=~<>]=|[-+*/%#<>=(){}[\],.:]/g;
/** The Lua of a module: a script, or a part that scripts share. */
const LUA = /((?:lua:|const LUA_\w+ =) )`([^`]*)`/g;
/** The declarations of locals: a statement, the parameters of a function, and a loop. */
const DECLARATION =
  /\blocal function (\w+)\(([^)]*)\)|\blocal (?!function)(\w+(?:, \w+)*)|\bfor (\w+(?:, \w+)*) (?:=|in)/g;

/** Shortens the scripts of compiled modules. */
export async function shortenScripts() {
  const texts = FILES.map((file) => readFileSync(file, "utf8"));
  const names = shortNames(texts.flatMap((text) => [...text.matchAll(LUA)].map(([, , lua]) => lua)));
  for (const [at, file] of FILES.entries()) {
    writeFileSync(
      file,
      texts[at].replace(LUA, (_, start, lua) => `${start}\`${shorten(lua, names)}\``),
    );
    await hashScripts(file);
  }
}

/** Returns a short name for each local of scripts: one local has the same one in all, because scripts share parts. */
export function shortNames(scripts) {
  const words = scripts.flatMap((lua) => lua.match(/[A-Za-z_]\w*/g));
  const counts = new Map();
  for (const lua of scripts) {
    for (const [, ...lists] of lua.matchAll(DECLARATION)) {
      for (const name of lists.flatMap((list) => list?.match(/\w+/g) ?? [])) {
        if (RESERVED.has(name)) throw new Error(`Cannot shorten a script: a local may not be called ${name}`);
        if (name.length > 2) counts.set(name, words.filter((word) => word === name).length);
      }
    }
  }
  const letters = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"];
  const taken = new Set([...words, ...RESERVED]);
  const free = [...letters, ...letters.map((letter) => `${letter}${letter}`)].filter((name) => !taken.has(name));
  return new Map([...counts].sort((a, b) => b[1] - a[1]).map(([name], at) => [name, free[at]]));
}

/** Returns a script with short names and without spaces that Lua does not need. */
export function shorten(lua, names) {
  const tokens = lua.match(TOKEN) ?? [];
  if (tokens.join("") !== lua || /--|\[\[|\\/.test(lua)) throw new Error(`Cannot shorten a script: ${lua}`);
  const open = [];
  let text = "";
  for (const [at, token] of tokens.entries()) {
    const next = tokens.slice(at + 1).find((other) => !/^\s/.test(other));
    if (/^[({[]$/.test(token)) open.push(token);
    else if (/^[)}\]]$/.test(token)) open.pop();
    if (token.startsWith("\n")) {
      text += "\n";
    } else if (token.startsWith(" ")) {
      // Two words, a number before dots, and two minuses, which begin a comment, would be one token.
      if (/[\w}] [\w$]|\d \.\.|- -/.test(`${text.slice(-1)} ${next}`)) text += " ";
    } else {
      const field = /(^|[^.])[.:]$/.test(text) || (next === "=" && open.at(-1) === "{");
      text += field ? token : (names.get(token) ?? token);
    }
  }
  return text;
}
