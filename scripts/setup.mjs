// Sets up a fresh clone: node_modules as the lockfile says, Bun's binary, and a redis-server and a Chromium for the
// tests. Imports nothing that has to be installed.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { bin, root } from "./tools.mjs";

function sh(command, args) {
  return spawnSync(command, args, { cwd: root, stdio: "inherit", shell: process.platform === "win32" }).status === 0;
}

function answers(command) {
  const shell = process.platform === "win32";
  return spawnSync(command, ["--version"], { stdio: "ignore", shell }).status === 0;
}

function stop(message) {
  console.error(message);
  process.exit(1);
}

/** Returns whether node_modules holds all packages that the lockfile pins for this platform. */
function installed() {
  const record = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(record)) return false;
  const have = JSON.parse(readFileSync(record, "utf8")).packages;
  const want = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  return Object.entries(want).every(
    ([path, { version, optional }]) => path === "" || (have[path] ? have[path].version === version : optional),
  );
}

/** Installs the devDependencies if they are missing or differ from the lockfile. */
export function setupPackages() {
  if (!installed() && !sh("npm", ["ci", "--no-audit", "--no-fund"])) {
    stop("npm ci failed: the registry must be reachable; package-lock.json lists the packages");
  }
  // Bun's package has no working command until its install script has run, and npm may refuse install scripts.
  if (!answers(bin("bun")) && !(sh(process.execPath, ["node_modules/bun/install.js"]) && answers(bin("bun")))) {
    stop("Bun does not start: run `npm rebuild bun`");
  }
}

/** Installs a Debian package if that needs no confirmation. */
function apt(name) {
  if (process.getuid?.() !== 0 || !answers("apt-get")) return false;
  console.log(`${name} is missing: installing it with apt-get`);
  process.env.DEBIAN_FRONTEND = "noninteractive";
  const install = () => sh("apt-get", ["install", "-y", "-qq", "--no-install-recommends", name]);
  return install() || (sh("apt-get", ["update", "-qq"]) && install());
}

/** Finds redis-server, or installs it if that needs no confirmation. */
export function setupRedis() {
  const server = process.env.REDIS_SERVER || "redis-server";
  if (answers(server)) return;
  if (process.env.REDIS_SERVER) stop(`REDIS_SERVER is ${JSON.stringify(server)}, which does not start`);
  if (apt("redis-server") && answers(server)) return;
  const how =
    { darwin: "brew install redis" }[process.platform] ?? "sudo apt install redis-server (or: sudo dnf install redis)";
  stop(`The tests need a redis-server on the PATH or in REDIS_SERVER: ${how}`);
}

/** Finds Chromium, or installs it if that needs no confirmation. */
export function setupChromium() {
  const given = process.env.CHROMIUM;
  if (given && !answers(given)) stop(`CHROMIUM is ${JSON.stringify(given)}, which does not start`);
  if (given || ["chromium", "chromium-browser", "google-chrome"].some(answers)) return;
  if (apt("chromium") && answers("chromium")) return;
  const how =
    { darwin: "brew install chromium" }[process.platform] ??
    "sudo apt install chromium (or: sudo dnf install chromium)";
  stop(`The tests of the dashboard need chromium on the PATH or in CHROMIUM: ${how}`);
}

if (process.argv[1] === import.meta.filename) {
  setupPackages();
  setupRedis();
  setupChromium();
}
