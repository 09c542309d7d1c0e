// Relative links of the Markdown files: each leads to a file that exists, in the repository and in the tarball.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { files, root } from "./tools.mjs";

/** The Markdown files whose links are checked, as paths from the repository's root. */
export function markdownFiles() {
  return [
    "README.md",
    "CONTRIBUTING.md",
    "bench/README.md",
    ...files("docs", /\.md$/),
    ...files("examples", /\.md$/),
  ].filter((path) => !path.includes("node_modules/"));
}

/** Returns the anchors of a Markdown text, as GitHub makes them of its headings. */
function anchorsOf(text) {
  const seen = new Map();
  const anchors = new Set();
  for (const [, heading] of withoutCode(text).matchAll(/^#{1,6} +(.+)$/gm)) {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[`*]/g, "");
    const slug = plain
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-");
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}

/** Removes fenced blocks, in which brackets and `#` mean something else. */
function withoutCode(text) {
  return text.replace(/^```[\s\S]*?^```/gm, "");
}

/** Returns the targets of a Markdown text's links: `[text](target)`. */
function linksOf(text) {
  return [...withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target);
}

/**
 * Finds links that lead nowhere.
 *
 * @param pages The Markdown files by path.
 * @param exists Returns whether a file or folder is there.
 * @returns The problems, one a line.
 */
export function deadLinks(pages, exists) {
  const problems = [];
  for (const [path, text] of pages) {
    for (const link of linksOf(text)) {
      if (/^[a-z][a-z+.-]*:/i.test(link)) continue;
      const [file, anchor] = link.split("#");
      const target = file === "" ? path : posix.normalize(posix.join(dirname(path), file)).replace(/\/$/, "");
      if (!exists(target)) problems.push(`${path} links to ${link}, which does not exist`);
      else if (anchor !== undefined && pages.has(target) && !anchorsOf(pages.get(target)).has(anchor)) {
        problems.push(`${path} links to ${link}, but ${target} has no such heading`);
      }
    }
  }
  return problems;
}

/**
 * Checks the links in the repository and in the tarball.
 *
 * @param packed The paths in the tarball, without the leading `package/`.
 * @returns The problems, one a line.
 */
export function checkLinks(packed) {
  const pages = new Map(markdownFiles().map((path) => [path, readFileSync(join(root, path), "utf8")]));
  const inside = new Set(packed);
  const folders = new Set(packed.flatMap((path) => path.split("/").map((_, i, parts) => parts.slice(0, i).join("/"))));
  const shipped = new Map([...pages].filter(([path]) => inside.has(path)));
  return [
    ...deadLinks(pages, (path) => existsSync(join(root, path))),
    ...deadLinks(shipped, (path) => inside.has(path) || folders.has(path)).map((line) => `in the tarball: ${line}`),
  ];
}
