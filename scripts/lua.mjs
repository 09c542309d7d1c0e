// Shortens the Lua of dist/src/lua/, which Workers carry and send: local names get a letter, and spaces go.
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

/** The letters, those first that minifiers prefer too: texts of the same letters compress better. */
const LETTERS = [..."etnrsiouclafphymdbgkwvxjzqABCDEFGHIJKLMNOPQRSTUVWXYZ"];

/** Shortens the scripts of compiled modules. */
export async function shortenScripts() {
  const texts = FILES.map((file) => readFileSync(file, "utf8"));
  const sources = texts.flatMap((text) => [...text.matchAll(LUA)].map(([, start, lua]) => [start, lua]));
  const parts = new Map(sources.map(([start, lua]) => [/LUA_\w+/.exec(start)?.[0], lua]));
  const names = shortNames(sources.map(([, lua]) => lua.replace(/\$\{(\w+)\}/g, (_, part) => parts.get(part) ?? "0")));
  for (const [at, file] of FILES.entries()) {
    writeFileSync(
      file,
      texts[at].replace(LUA, (_, start, lua) => `${start}\`${shorten(lua, names)}\``),
    );
    await hashScripts(file);
  }
}

/**
 * Returns a short name for each local of scripts. A local has the same name in all of them, because scripts share
 * parts; two locals share a name if no script has both.
 */
function shortNames(scripts) {
  const locals = scripts.flatMap((lua) =>
    [...lua.matchAll(DECLARATION)].flatMap(([, ...lists]) => lists.flatMap((list) => list?.match(/\w+/g) ?? [])),
  );
  const wrong = locals.find((name) => RESERVED.has(name));
  if (wrong) throw new Error(`Cannot shorten a script: a local may not be called ${wrong}`);
  const words = scripts.map((lua) => new Set(tokensOf(lua).filter((token) => /^[A-Za-z_]/.test(token))));
  const names = new Map();
  const count = (name) => scripts.join(" ").split(name).length;
  for (const name of [...new Set(locals)].filter((name) => name.length > 1).sort((a, b) => count(b) - count(a))) {
    const near = words.filter((own) => own.has(name)).flatMap((own) => [...own]);
    const taken = new Set([...near, ...near.map((other) => names.get(other))]);
    names.set(
      name,
      LETTERS.find((letter) => !taken.has(letter)),
    );
  }
  return names;
}

/** Returns the tokens of a script. */
function tokensOf(lua) {
  const tokens = lua.match(TOKEN) ?? [];
  if (tokens.join("") !== lua || /--|\[\[|\\/.test(lua)) throw new Error(`Cannot shorten a script: ${lua}`);
  return tokens;
}

/** Returns a script with short names and without spaces that Lua does not need. */
function shorten(lua, names) {
  const tokens = tokensOf(lua);
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
