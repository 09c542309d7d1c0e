// Refreshes package-lock.json. A registry mirror may lack the binaries of other platforms. npm then leaves them out,
// and `npm ci` refuses the file everywhere. The packages that name them pin exact versions, so they are added here.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

execFileSync("npm", ["install", "--package-lock-only", "--omit-lockfile-registry-resolved"], { stdio: "inherit" });
const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
for (const { dev, optionalDependencies } of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies ?? {})) {
    if (lock.packages[`node_modules/${name}`] !== undefined) continue;
    const os = /darwin|linux|android|freebsd|win/.exec(name)?.[0].replace(/^win$/, "win32");
    const cpu = /arm64|aarch64/.test(name) ? "arm64" : "x64";
    const libc = /musl|glibc/.exec(name)?.[0];
    if (os === undefined || /[^\d.]/.test(version))
      throw new Error(`Cannot lock ${name}@${version}: no platform known`);
    const libcs = libc === undefined ? {} : { libc: [libc] };
    lock.packages[`node_modules/${name}`] = { version, cpu: [cpu], dev, ...libcs, optional: true, os: [os] };
  }
}
const { "": root, ...rest } = lock.packages;
lock.packages = { "": root, ...Object.fromEntries(Object.entries(rest).sort(([a], [b]) => (a < b ? -1 : 1))) };
writeFileSync("package-lock.json", `${JSON.stringify(lock, null, 2)}\n`);
