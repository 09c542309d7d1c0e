// Writes src/dashboard/assets.ts, the dashboard's page as it is served, from src/dashboard/page/ and uPlot.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./tools.mjs";

/** The file that is written. */
export const ASSETS_FILE = "src/dashboard/assets.ts";

const page = join(root, "src/dashboard/page");
const uplot = join(root, "node_modules/uplot");

/** Returns the text of the file. */
export async function dashboardAssets() {
  // Imported late, because a check may have to install the packages first.
  const { build } = await import("esbuild");
  const { version } = JSON.parse(readFileSync(join(uplot, "package.json"), "utf8"));
  const notice = `/*\nWith uPlot ${version}.\n\n${readFileSync(join(uplot, "LICENSE"), "utf8").trim()}\n*/`;
  const { outputFiles } = await build({
    entryPoints: [
      { in: join(page, "main.ts"), out: "app" },
      { in: join(page, "app.css"), out: "app" },
    ],
    // The bundle must not hold the paths of the files.
    absWorkingDir: root,
    outdir: "dist",
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    // light-dark() stays for the browser.
    supported: { "color-functions": true },
    banner: { js: notice, css: notice },
    logLevel: "error",
  });
  const text = (extension) => outputFiles.find(({ path }) => path.endsWith(extension)).text;
  const html = readFileSync(join(page, "index.html"), "utf8").replace(/>\s+</g, "><");
  const assets = {
    "index.html": { type: "text/html; charset=utf-8", body: html },
    "app.js": { type: "text/javascript; charset=utf-8", body: text(".js") },
    "app.css": { type: "text/css; charset=utf-8", body: text(".css") },
  };
  const entries = Object.entries(assets).map(
    ([name, { type, body }]) =>
      `  ${JSON.stringify(name)}: {\n    type: ${JSON.stringify(type)},\n    body: ${JSON.stringify(body)},\n  },\n`,
  );
  return `// Written by scripts/dashboard.mjs.

/** The files of the dashboard's page by name, each with its media type. */
export const ASSETS: Readonly<Record<string, { readonly type: string; readonly body: string }>> = {
${entries.join("")}};
`;
}

if (process.argv[1] === import.meta.filename) writeFileSync(join(root, ASSETS_FILE), await dashboardAssets());
