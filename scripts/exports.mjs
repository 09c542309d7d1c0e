// Checks that package.json, deno.json, package-lock.json and the files agree.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_FOLDER } from "./package.mjs";
import { files, root } from "./tools.mjs";

const json = (file) => JSON.parse(readFileSync(join(root, file), "utf8"));

/** Matches a file that must be an entry of the package: a driver's factory, or a service. */
const SERVICE = /^export const \w+(: ServiceDefinition\b[^=]*| = (\/\* @__PURE__ \*\/ )?defineService\()/m;
const FACTORY = /^export function \w+\([^)]*\): Driver\b/m;

/** Returns the differences, a line each. */
export function checkExports() {
  const problems = [];
  const npm = json("package.json");
  const deno = json("deno.json");
  const same = (what, a, b) => {
    if (a !== b) problems.push(`${what}: package.json has ${JSON.stringify(a)}, deno.json has ${JSON.stringify(b)}`);
  };
  for (const field of ["name", "version", "license"]) same(field, npm[field], deno[field]);

  const { "./package.json": _, ...entries } = npm.exports;
  same("exports", Object.keys(entries).join(" "), Object.keys(deno.exports).join(" "));
  for (const [subpath, conditions] of Object.entries(entries)) {
    const { workerd, "edge-light": edge, node, ...main } = conditions;
    const bundle = `./${PACKAGE_FOLDER}/${subpath === "." ? "mod" : subpath.slice(2).replaceAll("/", "-")}.js`;
    if (node !== bundle) problems.push(`${subpath}: the condition node gives ${node}, expected ${bundle}`);
    for (const [name, { types, default: file }] of Object.entries({ main, workerd, edge })
      .filter(([, target]) => target !== undefined)
      .map(([name, target]) => [name, target])) {
      const source = file.replace("./dist/", "./").replace(/\.js$/, ".ts");
      if (types !== file.replace(/\.js$/, ".d.ts"))
        problems.push(`${subpath}: types ${types} are not those of ${file}`);
      if (name === "main") same(subpath, source, deno.exports[subpath]);
      if (!existsSync(join(root, source))) problems.push(`${subpath}: ${source} does not exist`);
    }
  }
  const exported = new Set(Object.values(deno.exports));
  for (const file of [...files("drivers", /\.ts$/), ...files("src/services", /\.ts$/)]) {
    const source = readFileSync(join(root, file), "utf8");
    if (!exported.has(`./${file}`) && (SERVICE.test(source) || FACTORY.test(source))) {
      problems.push(`${file} is not exported`);
    }
  }

  const used = { ...npm.dependencies, ...npm.peerDependencies };
  for (const [name, range] of Object.entries(used)) same(name, `npm:${name}@${range}`, deno.imports[name]);
  for (const name of Object.keys(deno.imports)) {
    if (used[name] === undefined) problems.push(`deno.json imports ${name}, which is not a dependency`);
  }

  const { packages } = json("package-lock.json");
  same("version in package-lock.json", packages[""].version, deno.version);
  for (const [path, { resolved, dependencies, optionalDependencies }] of Object.entries(packages)) {
    if (resolved !== undefined) problems.push(`package-lock.json: ${path} names a registry: run \`npm run lock\``);
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const places = Object.keys(packages).filter((place) => place.endsWith(`node_modules/${name}`));
      if (places.length === 0) problems.push(`package-lock.json lacks ${name}: run \`npm run lock\``);
    }
  }
  return problems;
}
