// Writes the used parts of two packages into dist/, because a Worker's bundler cannot drop the rest. The code is that
// of the installed packages, without the parts that are cut below.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./tools.mjs";

/** Replaces the files of dist/ that only hand on a package. */
export async function slimPackages() {
  await slimUpstash();
  await slimSuperjson();
}

/**
 * In Next.js, sends requests with `no-store` by the runtime's own `fetch`. The `fetch` of Next.js fails a page that it
 * renders ahead if the page sends such a request, which a page over TCP may do. Other platforms ignore the field.
 */
const FETCH = `
const fetchAsIs = (url, init) => fetch(url, init.cache === "no-store" ? { ...init, next: { internal: true } } : init);`;

/**
 * The parts of the requester that the driver never uses: it sends once, as plain JSON, and its signal is a function.
 */
const UNUSED_BY_DRIVER = [
  // The driver checks the URL and the token, and the function below sets the members.
  [/(?<=class \{\n {2}baseUrl;.*?) {2}constructor\(config\) \{.*?\n {2}\}\n/s, ""],
  [/ {2}mergeTelemetry\(telemetry\) \{.*?\n {2}\}\n/s, ""],
  [/__export\(error_exports, \{.*?\}\);/s, ""],
  [/ {2}hasCredentials;/, ""],
  [/if \(!this\.hasCredentials\)/, "if (false)"],
  // The driver makes the headers of each request, with the sync token.
  [/mergeHeaders\(this\.headers, req\.headers \?\? \{\}\)/, "this.headers"],
  [/if \(this\.readYourWrites\) \{\s+const newHeader[^}]*\}/, ""],
  [/req\.path \?\? \[\]/, "req.path"],
  [/const isEventStream = .*/, ""],
  [/const signal = .*/, ""],
  [/const isSignalFunction = .*/, ""],
  [/isSignalFunction \? signal\(\) : signal/, "req.signal()"],
  [/agent: this\.options\.agent,/, ""],
  [/backend: this\.options\.backend/, ""],
  // Without repeats, what `fetch` throws is thrown.
  [/let res = null;.*?(?=if \(!res\.ok\))/s, "const res = await fetch(requestUrl, requestOptions);"],
  // Of an error the driver reads the name and the words of the server.
  [/const truncatedBody = .*/, ""],
  [/`Unable to parse response body: \$\{truncatedBody\}`/, '""'],
  [/, command was: \$\{JSON\.stringify\(req\.body\)\}/, ""],
  // The function below sets these.
  [/ {2}baseUrl;\s+headers;\s+options;\s+readYourWrites;/, ""],
  [/ {2}retry;/, ""],
  // The sync token is kept before the body is read, and not again after it.
  [/if \(this\.readYourWrites\) \{[^}]*\}\s+(?=if \(this\.options\.responseEncoding)/, ""],
  // Streams and base64.
  [/if \(isEventStream && req && req\.onMessage && res\.body\)/, "if (false)"],
  [/(?<=return \{ result: 1 \};.*)if \(this\.options\.responseEncoding === "base64"\)/s, "if (false)"],
];

/** Writes the requester of @upstash/redis, without the commands, to dist/drivers/upstash/client.js. */
async function slimUpstash() {
  const { folder, version, notice } = installed("@upstash/redis");
  const [, chunk] = /from "(\.\/chunk-\w+\.mjs)"/.exec(readFileSync(join(folder, "cloudflare.mjs"), "utf8")) ?? [];
  if (!chunk) throw new Error(`Cannot find the requester in @upstash/redis ${version}`);
  await bundle({
    stdin: {
      contents: `
        import { HttpClient } from ${JSON.stringify(chunk)};
        export function redisClient(url, token, readYourWrites) {
          const headers = { "Content-Type": "application/json", authorization: "Bearer " + token };
          const members = { baseUrl: url, headers, options: { keepAlive: true }, readYourWrites };
          return { client: Object.assign(new HttpClient(), members) };
        }`,
      resolveDir: folder,
    },
    outfile: join(root, "dist/drivers/upstash/client.js"),
    define: { fetch: "fetchAsIs" },
    plugins: [edit(/\bchunk-\w+\.mjs$/, (text) => cut(text, UNUSED_BY_DRIVER))],
    banner: { js: `/*\nThe requester of @upstash/redis ${version}.\n\n${notice}*/${FETCH}` },
  });
}

/** The parts of superjson's reader that the codec never uses: it registers no symbols and no properties of errors. */
const UNUSED_BY_READER = [
  [/case 'symbol':\s+return .*;/, ""],
  [/superJson\.allowedErrorProps\.forEach\(prop => \{\s+e\[prop\] = v\[prop\];\s+\}\);/, ""],
  [/if \(typeof BigInt !== 'undefined'\)/, "if (true)"],
  [/ - check https:[^`]*/, ""],
  // Without these the next line throws, with other words.
  [/if \(!(?:ctor|transformer|transformation)\) \{\s+throw new Error\([^;]*\);\s+\}/g, ""],
  // A rule for -0, which reads as the one before it.
  [/simpleTransformation\(\(v\) => v === 0 && .*?Number\),/s, ""],
];

/** The three checks of a path as one. */
const CHECKS_OF_PATHS = [
  [
    /(?<=function validatePath\(path\) \{).*?(?=\n\})/s,
    `for (const key of path) {
      if (/^(__proto__|prototype|constructor)$/.test(key)) throw new Error(key + " is not allowed as a property");
    }`,
  ],
];

/** Writes the reader of superjson, without what writes, to dist/src/entry/superjson.js. */
async function slimSuperjson() {
  const { folder, version, notice } = installed("superjson");
  await bundle({
    stdin: {
      contents: `
        import { applyReferentialEqualityAnnotations, applyValueAnnotations } from "./plainer.js";
        export function readerWith(type, deserialize) {
          const classes = new Map();
          const reader = {
            classRegistry: { getValue: (identifier) => classes.get(identifier) },
            customTransformerRegistry: { findByName: (name) => name === type && { deserialize } },
            registerClass(type, identifier) {
              classes.set(identifier, type);
            },
            deserialize({ json, meta: { values, referentialEqualities, v = 0 } }) {
              if (values) json = applyValueAnnotations(json, values, v, reader);
              return referentialEqualities ? applyReferentialEqualityAnnotations(json, referentialEqualities, v) : json;
            },
          };
          return reader;
        }`,
      resolveDir: join(folder, "dist"),
    },
    outfile: join(root, "dist/src/entry/superjson.js"),
    plugins: [
      edit(/\baccessDeep\.js$/, (text) => cut(text, CHECKS_OF_PATHS)),
      edit(/\btransformer\.js$/, (text) => cutWriters(cut(text, UNUSED_BY_READER))),
    ],
    // None of these is read from outside.
    mangleProps: /^(untransform|annotation|customTransformerRegistry|findByName)$/,
    banner: { js: `/*\nThe reader of superjson ${version}.\n\n${notice}*/` },
  });
}

/**
 * Keeps of superjson's rules only what reads. A rule is `simpleTransformation(isApplicable, annotation, transform,
 * untransform)`, or the same of a composite one, whose annotation is for writing too.
 */
function cutWriters(text) {
  const calls = text.split(/\b(?=(?:simple|composite)Transformation\((?!isApplicable))/);
  const cut = calls.slice(1).map((call) => {
    const { args, end } = splitArguments(call);
    if (args.length !== 4) throw new Error("Cannot find the rules of superjson");
    const [, annotation, , untransform] = args;
    const rule = call.startsWith("simple")
      ? `{ annotation: ${annotation}, untransform: ${untransform} }`
      : `{ untransform: ${untransform} }`;
    return rule + call.slice(end + 1);
  });
  return calls[0] + cut.join("");
}

/** The arguments of the call that a text starts with, and where its bracket closes. No string in it holds brackets. */
function splitArguments(call) {
  const args = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < call.length; at++) {
    const open = "([{".includes(call[at]);
    if (open) depth++;
    if (open && depth === 1) start = at + 1;
    const close = ")]}".includes(call[at]);
    if (depth === 1 && (close || call[at] === ",")) {
      args.push(call.slice(start, at).trim());
      start = at + 1;
    }
    if (close) depth--;
    if (close && depth === 0) return { args: args, end: at };
  }
  return { args, end: call.length };
}

/** Replaces each pattern, which must be there, in a text. */
function cut(text, patterns) {
  return patterns.reduce((rest, [pattern, by]) => {
    if (!pattern.test(rest)) throw new Error(`Cannot find ${pattern} in a package: change what is cut from it`);
    return rest.replace(pattern, by);
  }, text);
}

/** An esbuild plugin that edits the files of a name. */
function edit(filter, change) {
  return {
    name: `edit ${filter}`,
    setup: ({ onLoad }) => onLoad({ filter }, ({ path }) => ({ contents: change(readFileSync(path, "utf8")) })),
  };
}

/** The folder, version and license of an installed package. */
function installed(name) {
  const folder = join(root, "node_modules", name);
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return { folder, version, notice: readFileSync(join(folder, "LICENSE"), "utf8") };
}

async function bundle(options) {
  // Imported late, because the set-up step imports this file before the packages are installed.
  const esbuild = await import("esbuild");
  const same = { allowOverwrite: true, bundle: true, minifySyntax: true, format: "esm", target: "es2022" };
  await esbuild.build({ ...same, logLevel: "error", ...options });
}
