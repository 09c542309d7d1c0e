// Compiles a small application against the packed package, with compilers from TypeScript 5.4 to 7: every export, and
// the types that applications use most. Declarations are checked too (`skipLibCheck: false`), with and without the
// types of Node and of the DOM.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { files, root, run } from "./tools.mjs";

const APPLICATION = "scripts/consumer";
/** Milliseconds that one compiler may take. */
const TIMEOUT = 180_000;
/** From the oldest one that understands the declarations to the one that builds the project. */
const COMPILERS = ["typescript54", "typescript59", "typescript60", "typescript"];
/** The kinds of applications. Workers have no types of the DOM. */
const PROJECTS = {
  node16: { module: "node16", lib: ["es2022"], types: [] },
  nodenext: { module: "nodenext", lib: ["es2022"], types: ["node"], typeRoots: [join(root, "node_modules/@types")] },
  bundler: { module: "esnext", moduleResolution: "bundler", lib: ["es2022", "dom"], types: [] },
  worker: { module: "esnext", moduleResolution: "bundler", customConditions: ["workerd"], lib: ["es2022"], types: [] },
};
/** The part of the application that needs types of the web platform, from the DOM or from Node. */
const WEB = "web.ts";
const projectFile = (name) => `tsconfig.${name}.json`;

/**
 * Compiles the application.
 *
 * @param tarball The package as it would be published.
 * @param folder An empty folder, to work in.
 * @returns A line for each error.
 */
export async function checkDeclarations(tarball, folder) {
  await prepare(tarball, folder);
  // Two at a time: each keeps a core busy.
  const waiting = [...COMPILERS];
  const problems = [];
  const work = async () => {
    for (let compiler = waiting.shift(); compiler; compiler = waiting.shift()) {
      problems.push(...(await compile(compiler, folder)));
    }
  };
  await Promise.all([work(), work()]);
  return problems;
}

async function prepare(tarball, folder) {
  const { name, exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const home = join(folder, "node_modules", name);
  mkdirSync(home, { recursive: true });
  const { code, output } = await run("tar", ["-xzf", tarball, "-C", home, "--strip-components=1"]);
  if (code !== 0) throw new Error(output);
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
  const application = files(APPLICATION, /\.c?ts$/).map((path) => path.slice(APPLICATION.length + 1));
  for (const file of application) copyFileSync(join(root, APPLICATION, file), join(folder, file));
  const entries = Object.keys(exports).filter((entry) => !entry.endsWith(".json"));
  const imports = entries.map((entry, index) => {
    const specifier = `${name}${entry.slice(1)}`;
    return `import * as entry${index} from "${specifier}";\nexport type Entry${index} = typeof entry${index};\n`;
  });
  writeFileSync(join(folder, "entries.ts"), imports.join(""));
  for (const [project, options] of Object.entries(PROJECTS)) {
    const compilerOptions = { ...options, target: "es2022", strict: true, noEmit: true, skipLibCheck: false };
    const web = options.lib.includes("dom") || options.types.includes("node");
    const config = { compilerOptions, files: ["entries.ts", ...application.filter((file) => web || file !== WEB)] };
    writeFileSync(join(folder, projectFile(project)), JSON.stringify(config));
  }
}

async function compile(compiler, folder) {
  const { version } = JSON.parse(readFileSync(join(root, "node_modules", compiler, "package.json"), "utf8"));
  const problems = [];
  const tell = ({ code, output }, project = "") => {
    if (code === 0) return;
    const where = ["TypeScript", version, project].filter(Boolean).join(" ");
    for (const line of output.trim().split("\n")) problems.push(`${where}: ${line}`);
  };
  if (Number.parseInt(version, 10) < 7) {
    tell(await run(process.execPath, [import.meta.filename, compiler, folder], { timeout: TIMEOUT }));
    return problems;
  }
  for (const project of Object.keys(PROJECTS)) {
    const args = [
      join(root, "node_modules", compiler, "bin/tsc"),
      "--pretty",
      "false",
      "-p",
      join(folder, projectFile(project)),
    ];
    tell(await run(process.execPath, args, { timeout: TIMEOUT }), project);
  }
  return problems;
}

/** All projects in one process, which reads each file once: half the time of a command for each. */
function compileAll(compiler, folder) {
  const ts = createRequire(import.meta.url)(compiler);
  const read = new Map();
  let failed = false;
  for (const project of Object.keys(PROJECTS)) {
    const { options, fileNames, errors } = ts.getParsedCommandLineOfConfigFile(
      join(folder, projectFile(project)),
      {},
      ts.sys,
    );
    const host = ts.createCompilerHost(options);
    const { getSourceFile } = host;
    host.getCurrentDirectory = () => folder;
    host.getSourceFile = (name, how, ...more) => {
      const key = `${name} ${how.impliedNodeFormat}`;
      if (!read.has(key)) read.set(key, getSourceFile.call(host, name, how, ...more));
      return read.get(key);
    };
    const found = [...errors, ...ts.getPreEmitDiagnostics(ts.createProgram(fileNames, options, host))];
    failed ||= found.length > 0;
    for (const line of ts.formatDiagnostics(found, host).trim().split("\n"))
      if (line) console.log(`${project}: ${line}`);
  }
  process.exitCode = failed ? 1 : 0;
}

if (process.argv[1] === import.meta.filename) compileAll(...process.argv.slice(2));
