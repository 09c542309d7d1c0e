// `npm run servers [name...]`: runs what depends on the server (the contract, scripts, tracking, clusters, Sentinel,
// the manager) under Bun, once for each server that `REDIS_SERVER` names: one, or several with commas between them.
// Names pick the test files that contain one of them.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readResults, shorten } from "./results.mjs";
import { setupPackages, setupRedis } from "./setup.mjs";
import { bin, files, run } from "./tools.mjs";

const DEPENDS_ON_SERVER =
  /^test\/(?!config_|several_)(contract|confirm|differential|lost_epoch|oracle|scripts|tags|read_through|lock|rate_\w+|near_cache|tracking|node_redis|failover|full_store|read_only|rights|permissions|manager_\w+|bridge_tcp|(\w+_)?(cluster|sentinel|shards|parts|promise)(_\w+)?|managed_stores)_test\.ts$/;
/** Milliseconds that one server may take. */
const TIMEOUT = 1_200_000;

const names = process.argv.slice(2);
const tests = files("test", DEPENDS_ON_SERVER).filter((f) => names.length === 0 || names.some((n) => f.includes(n)));
const servers = (process.env.REDIS_SERVER ?? "").split(",").filter(Boolean);

setupPackages();
if (servers.length === 0) {
  setupRedis();
  servers.push("redis-server");
}
const folder = mkdtempSync(join(tmpdir(), "larder-servers-"));
let passed = 0;
let failed = 0;
for (const [index, server] of servers.entries()) {
  const version = spawnSync(server, ["--version"], { encoding: "utf8" }).stdout?.split(" sha=")[0]?.trim();
  if (!version) {
    failed++;
    console.log(`FAIL  ${server} does not start`);
    continue;
  }
  const report = join(folder, `${index}.xml`);
  const args = ["test", "--timeout=60000", "--reporter=junit", `--reporter-outfile=${report}`];
  const env = { REDIS_SERVER: server };
  const ended = await run(bin("bun"), [...args, ...tests.map((file) => `./${file}`)], { env, timeout: TIMEOUT });
  const results = readResults(report, ended);
  passed += results.passed;
  failed += results.failures.length;
  console.log(
    `${results.failures.length > 0 ? "FAIL " : "ok   "} ${version}: ` +
      `${results.passed} passed, ${results.failures.length} failed`,
  );
  for (const { name, file, text } of results.failures) {
    console.log(`      ${name} (${file})`);
    for (const line of shorten(text, 6)) console.log(`          ${line}`);
  }
}
rmSync(folder, { recursive: true });
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
