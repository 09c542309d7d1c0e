// Takes from the compiled modules what says nothing there, for the sake of Workers: the declarations of fields that
// the constructor sets anyway, and the long names of numbers.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { files, root } from "./tools.mjs";

/** The body of a constructor, as the compiler writes it. */
const CONSTRUCTOR = /^ {4}constructor\(.*?^ {4}\}$/ms;

/** Shortens the compiled modules. */
export function compactModules() {
  for (const file of [...files("dist/src", /\.js$/), ...files("dist/drivers", /\.js$/)]) {
    const path = join(root, file);
    const text = readFileSync(path, "utf8");
    const short = compact(text);
    if (short !== text) writeFileSync(path, short);
  }
}

function compact(text) {
  const classes = text.split(/^(?=(?:export )?(?:const \w+ = )?class )/m).map((part) => {
    const [body = ""] = CONSTRUCTOR.exec(part) ?? [];
    // With its comment, which the declarations have.
    return part.replace(/^( {4}\/\*\*(?:(?!\*\/).)*\*\/\n)? {4}([a-z]\w*);\n/gims, (line, _, name) =>
      body.includes(`        this.${name} = `) ? "" : line,
    );
  });
  return classes
    .join("")
    .replace(/\bNumber\.(?:POSITIVE_(INFINITY)|(NEGATIVE)_INFINITY)\b/g, (_, positive) =>
      positive ? "Infinity" : "-Infinity",
    );
}
