// Bundles the compiled modules into the files that Node, Bun and Deno load of the npm package, dist/npm/: one for each
// entry, and `shared.js` with what all of them share. Fewer files load faster: Node needs up to half a millisecond for
// each. The client packages are in the bundles, without the parts that are not used. Nothing is minified. The bundlers
// of Workers and browsers take the modules themselves, of which they can drop more.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { basename, dirname, join, relative } from "node:path";
import { root } from "./tools.mjs";

/** The folder of the bundles. */
export const PACKAGE_FOLDER = "dist/npm";
/**
 * The modules that are shared, with all that they load at once: what the root has on every runtime, and what it has on
 * servers and entries for the core have too.
 */
const ROOTS = ["client/entry_point", "client/memory_factory", "client/public", "near/near_tracking"].map(
  (name) => `dist/src/${name}.js`,
);
/** The drivers that are loaded when they are used. What they share with the rest must not be in them a second time. */
const DRIVERS = ["upstash", "node_redis", "cluster", "sentinel"].map((name) => `dist/drivers/${name}.js`);
/** Those over TCP, which share the client package. */
const OVER_TCP = DRIVERS.slice(1);
const SHARED = "./shared.js";
/**
 * The start of a file that Bun loads as it is. It compiles others to JavaScript once more. If its cache has nothing of
 * them, as in a container that has just started, this takes longer than the rest of the load.
 */
const READY = "// @bun\n";
/** The packages that stay imports: those of the command, and the one that the application installs. */
const EXTERNAL = ["commander", "@clack/prompts", "@opentelemetry/api"];
const OPTIONS = { absWorkingDir: root, bundle: true, format: "esm", target: "es2022", platform: "node", write: false };

/** Returns the entries of package.json: each bundle with its compiled module. */
function packageEntries() {
  const { exports, bin } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const entries = Object.values(exports).flatMap(({ node, default: module }) =>
    node ? [[node, module.slice(2)]] : [],
  );
  return new Map([...entries, [bin.larder, "dist/src/cli/main.js"]].map(([file, module]) => [basename(file), module]));
}

/** Writes the bundles. */
export async function bundlePackage() {
  // Imported late, because the set-up step imports this file before the packages are installed.
  const { build } = await import("esbuild");
  const entries = packageEntries();
  const found = await Promise.all([...ROOTS, ...DRIVERS].map((entry) => modulesOf(build, entry)));
  const inRoot = new Set(found.slice(0, ROOTS.length).flat());
  const modules = [...new Set(found.flat())].filter(
    (module) => inRoot.has(module) || /^dist\/src\/base\//.test(module),
  );
  const names = await namesOf(build, modules);
  const places = new Map(modules.map((module) => [module, { file: SHARED, names: names.get(module) }]));
  const alone = ["dist/mod.js", ...OVER_TCP];
  const bundle = (inputs, plugins = [], more = {}) => {
    const options = { ...OPTIONS, ...inputs, outdir: join(root, PACKAGE_FOLDER), chunkNames: "chunk-[hash]" };
    return build({ ...options, splitting: true, metafile: true, external: EXTERNAL, plugins, ...more });
  };
  const entryPoints = (wanted) => {
    const chosen = [...entries].filter(([, module]) => wanted(module));
    return { entryPoints: Object.fromEntries(chosen.map(([file, module]) => [basename(file, ".js"), module])) };
  };
  const others = new Map(places).set("dist/src/main.js", {
    file: "./mod.js",
    names: (await namesOf(build, ["dist/src/main.js"])).get("dist/src/main.js"),
  });
  const bundles = await Promise.all([
    bundle({ stdin: { contents: exportsOf(names), resolveDir: root } }, [lazy(entries)], {
      outdir: undefined,
      outfile: join(root, PACKAGE_FOLDER, SHARED),
      splitting: false,
    }),
    bundle(
      entryPoints((module) => module === alone[0]),
      [lazy(entries), elsewhere(places)],
    ),
    bundle(
      entryPoints((module) => OVER_TCP.includes(module)),
      [elsewhere(places), builtins],
    ),
    bundle(
      entryPoints((module) => !alone.includes(module)),
      [lazy(entries), elsewhere(others)],
    ),
  ]);
  write(
    bundles.flatMap(({ outputFiles, metafile }) =>
      outputFiles.map(({ path, text }) => {
        const { inputs } = metafile.outputs[`${PACKAGE_FOLDER}/${basename(path)}`];
        const here = (module) => (others.get(module)?.file ?? basename(path)).endsWith(basename(path));
        const modules = Object.keys(inputs).filter((module) => inputs[module].bytesInOutput > 0 && here(module));
        return { path, text, modules };
      }),
    ),
  );
}

/** Writes the bundles with the licenses of what is in them, and removes others. Throws if one module is in two. */
function write(bundles) {
  mkdirSync(join(root, PACKAGE_FOLDER), { recursive: true });
  const written = new Set();
  const seen = new Set();
  for (const { path, text, modules } of bundles) {
    for (const module of modules) {
      if (seen.has(module)) throw new Error(`${module} is in two files of the package`);
      seen.add(module);
    }
    const [, command = "", code] = /^(#!.*?\n)?(.*)$/s.exec(text);
    // Comments for editors stand in the declarations. To skip them takes a runtime a tenth of the time to load.
    const bare = code.replace(/^[ \t]*\/\*\*.*?\*\/\n/gms, "");
    writeFileSync(path, command + READY + noticesOf(modules) + bare);
    written.add(basename(path));
  }
  for (const file of readdirSync(join(root, PACKAGE_FOLDER))) {
    if (!written.has(file)) rmSync(join(root, PACKAGE_FOLDER, file));
  }
}

/** Returns the modules that one loads at once, itself included, without those of packages. */
async function modulesOf(build, entry) {
  const { metafile } = await build({ ...OPTIONS, entryPoints: [entry], outdir: "unused", metafile: true });
  const found = new Set([entry]);
  const visit = (path) => {
    for (const { path: next, kind } of metafile.inputs[path].imports) {
      if (kind !== "import-statement" || !next.startsWith("dist/") || found.has(next)) continue;
      found.add(next);
      visit(next);
    }
  };
  visit(entry);
  return [...found];
}

/**
 * Returns the exports of modules, each with its name in the file of all of them. Several modules may define one name;
 * a module that does not define it hands on that of another.
 */
async function namesOf(build, modules) {
  const options = { ...OPTIONS, bundle: false, outdir: "unused", outbase: root, metafile: true };
  const { metafile } = await build({ ...options, entryPoints: modules });
  const exported = Object.values(metafile.outputs).map(({ entryPoint, exports }) => {
    const text = readFileSync(join(root, entryPoint), "utf8");
    const defines = (name) =>
      new RegExp(`^export (async )?(function|class|const|let)\\b\\*? ${name}\\b`, "m").test(text);
    return { entryPoint, exports, own: exports.filter(defines) };
  });
  const taken = new Set();
  const names = new Map();
  for (const { entryPoint, own } of exported) {
    const free = own.map((name) => {
      let unique = name;
      for (let number = 2; taken.has(unique); number++) unique = `${name}_${number}`;
      taken.add(unique);
      return [name, unique];
    });
    names.set(entryPoint, new Map(free));
  }
  for (const { entryPoint, exports } of exported) {
    for (const name of exports) if (!names.get(entryPoint).has(name)) names.get(entryPoint).set(name, name);
  }
  return names;
}

/** Returns a module that exports everything of others, by these names. */
function exportsOf(names) {
  const lines = new Map();
  for (const [module, own] of names) {
    for (const [name, free] of own) {
      if (!lines.has(free)) lines.set(free, `export { ${name} as ${free} } from "./${module}";\n`);
    }
  }
  return [...lines.values()].join("");
}

/** An esbuild plugin that leaves modules out which are loaded when they are needed: they are entries too. */
function lazy(entries) {
  const files = new Map([...entries].map(([file, module]) => [join(root, module), `./${file}`]));
  return {
    name: "lazy",
    setup({ onResolve }) {
      onResolve({ filter: /^\./ }, ({ kind, path, resolveDir }) => {
        const file = files.get(join(resolveDir, path));
        return kind === "dynamic-import" && file ? { path: file, external: true } : undefined;
      });
    },
  };
}

/**
 * An esbuild plugin that takes modules from other files of the package, by their names there. The compiler writes
 * imports in one form.
 */
function elsewhere(places) {
  const listOf = ({ names }, text) => {
    const asked = text === "*" ? [...names.keys()] : text.slice(1, -1).split(",");
    const pairs = asked.map((item) => item.trim().split(" as ")).filter(([name]) => name !== "");
    return pairs.map(([name, local = name]) => `${names.get(name)} as ${local}`).join(", ");
  };
  const files = [...new Set([...places.values()].map(({ file }) => file))];
  return {
    name: "elsewhere",
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^\.\/[\w-]+\.js$/ }, ({ path }) =>
        files.includes(path) ? { path, external: true } : undefined,
      );
      onLoad({ filter: /[\\/]dist[\\/](mod|src|drivers)\b.*\.js$/ }, ({ path }) => {
        const placeOf = (file) => places.get(relative(root, file).replaceAll("\\", "/"));
        const own = placeOf(path);
        if (own) return { contents: `export { ${listOf(own, "*")} } from "${own.file}";` };
        const contents = readFileSync(path, "utf8").replace(
          /^(import|export) (\{[^}]*\}|\*) from "(\.[^"]*)";$/gm,
          (line, keyword, list, from) => {
            const place = placeOf(join(dirname(path), from));
            return place ? `${keyword} { ${listOf(place, list)} } from "${place.file}";` : line;
          },
        );
        return { contents };
      });
    },
  };
}

/** An esbuild plugin that imports what CommonJS packages require of the runtime: ES modules have no `require`. */
const builtins = {
  name: "builtins",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /./ }, ({ kind, path }) => {
      const name = path.replace(/^node:/, "");
      return kind === "require-call" && builtinModules.includes(name)
        ? { path: name, namespace: "builtin" }
        : undefined;
    });
    onLoad({ filter: /./, namespace: "builtin" }, ({ path }) => ({
      contents: `import all from "node:${path}";\nmodule.exports = all;`,
    }));
  },
};

/** Returns a comment with the licenses of the packages that a bundle holds. */
function noticesOf(inputs) {
  const notices = new Set();
  for (const path of inputs) {
    const [folder] = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? [];
    if (folder) notices.add(noticeOf(join(root, folder)));
    // What scripts/slim.mjs took from a package begins with its notice.
    else if (path.startsWith("dist/")) notices.add(/^\/\*\n.*?\*\//s.exec(readFileSync(join(root, path), "utf8"))?.[0]);
  }
  notices.delete(undefined);
  return [...notices].map((notice) => `${notice}\n`).join("");
}

function noticeOf(folder) {
  const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  // The core of node-redis comes without the license of the whole.
  const home = name === "@redis/client" ? join(root, "node_modules/redis") : folder;
  const file = readdirSync(home).find((file) => /^licen[cs]e/i.test(file));
  if (!file) throw new Error(`Cannot find the license of ${name}`);
  return `/*\nParts of ${name} ${version}.\n\n${readFileSync(join(home, file), "utf8")}*/`;
}
