// `npm start`: the quickstart, on a clone with nothing installed.
import { spawn } from "node:child_process";
import { setupPackages } from "./setup.mjs";
import { bin, root } from "./tools.mjs";

setupPackages();
const args = ["examples/quickstart.ts", ...process.argv.slice(2)];
const child = spawn(bin("bun"), args, { cwd: root, stdio: "inherit", shell: process.platform === "win32" });
process.on("SIGINT", () => child.kill("SIGINT"));
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
