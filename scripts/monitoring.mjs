// Writes monitoring/: Grafana's dashboard and Prometheus' alerting rules, from the definitions in src/monitor/.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { build } from "./build.mjs";
import { bin, root, run } from "./tools.mjs";

const { code, output } = await build();
if (code !== 0) process.stdout.write(output);
const { alertingRules, grafanaDashboard } = await import("../dist/src/monitor/mod.js");
writeFileSync(join(root, "monitoring/grafana.json"), `${JSON.stringify(grafanaDashboard(), null, 2)}\n`);
await run(bin("biome"), ["format", "--write", "monitoring/grafana.json"]);
writeFileSync(join(root, "monitoring/prometheus_rules.yaml"), stringify(alertingRules(), { lineWidth: 0 }));
