// One name, one thing: no two exported symbols of the library share a name.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { files, root } from "./tools.mjs";

/** The command and the dashboard's page are programs of their own, whose names applications never see. */
const APART = /^src\/(cli\/|dashboard\/page\/)/;
/** Each door of the library makes its own client. */
const DOORS = /^src\/(core|edge|main)\.ts$/;
const EXPORTED = /^export (?:declare |abstract |async )*(?:function\*?|class|const|interface|type|enum|let) (\w+)/gm;

/** Returns the problems of the names of exported symbols, one per line. */
export function checkNames() {
  const places = new Map();
  for (const file of ["mod.ts", ...files("src", /\.ts$/), ...files("drivers", /\.ts$/)]) {
    if (APART.test(file) || DOORS.test(file)) continue;
    const names = new Set([...readFileSync(join(root, file), "utf8").matchAll(EXPORTED)].map(([, name]) => name));
    for (const name of names) places.set(name, [...(places.get(name) ?? []), file]);
  }
  return [...places]
    .filter(([, where]) => where.length > 1)
    .map(([name, where]) => `${name} is exported by ${where.join(" and ")}: one name, one thing`);
}
