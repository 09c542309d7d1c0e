/** The table of options against the types, the documentation and the help of the command. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { COMMON } from "../src/config/common.ts";
import { parseConfig } from "../src/config/parse_config.ts";
import { CLIENT_DEFAULTS } from "../src/config/policy.ts";
import { GROUPS, SETTINGS, TTL_SETTINGS } from "../src/config/settings.ts";
import { CONFIG_VARIABLES } from "../src/config/variables.ts";
import { SERVICE_VARIABLES } from "../src/services/all.ts";

const names = Object.keys(SETTINGS) as (keyof typeof SETTINGS)[];
/** Names in the documentation that are no variables of a client: of test runs, and an example of a slip. */
const OTHERS = ["REDIS_SERVER", "CACHE_DRVER"];
const known = [...CONFIG_VARIABLES, ...SERVICE_VARIABLES, ...OTHERS];
const read = (file: string): string => readFileSync(file, "utf8");

/** The variables of ours that a text names; those that end in `*` or `_` name several. */
function variablesIn(text: string): string[] {
  const found = text.match(/\b(?:CACHE|REDIS|UPSTASH_REDIS_REST|KV_REST_API)_[A-Z_]*[A-Z](?![A-Z_*{$])/g) ?? [];
  return [...new Set(found)].filter((name) => !name.startsWith("CACHE_TTL_") || SERVICE_VARIABLES.includes(name));
}

describe("the table of options", () => {
  it("has every option that the types have, each with its variable", () => {
    const source = read("src/config/options.ts");
    const optionsOf = (type: string, group = "") => {
      const [, body = ""] = new RegExp(`export interface ${type} [^{]*\\{([\\s\\S]*?)\\n\\}`).exec(source) ?? [];
      const found = [...body.matchAll(/\/\*\*([\s\S]*?)\*\/\s+readonly (\w+)\?/g)];
      return found.map(([, comment = "", name = ""]) => ["", comment, group + name] as const);
    };
    const groups = Object.keys(GROUPS);
    const own = [
      ...optionsOf("ConfigOptions").filter(([, , name]) => !groups.includes(name)),
      ...optionsOf("ClusterSettings", "cluster."),
      ...optionsOf("SentinelSettings", "sentinel."),
    ].filter(([, , name]) => !name.endsWith(".mapAddress"));
    assert.deepEqual(
      [...own.map(([, , name]) => name), ...CLIENT_DEFAULTS.filter((name) => name !== "tags")].sort(),
      [...names].sort(),
    );
    for (const [, lines = "", name = ""] of own) {
      const comment = lines.replace(/\s*\n\s*\*\s*/g, " ");
      const { variable, fallback } = SETTINGS[name as keyof typeof SETTINGS];
      assert.ok(comment.includes(`Variable \`${variable}\``), `${name}: Variable \`${variable}\``);
      const said = /@default ([^\n*]*[^\s*])/.exec(comment)?.[1];
      if (fallback === undefined) continue;
      const shown = name === "pool" ? `{ size: ${fallback} }` : name === "ttl" ? '"1h"' : JSON.stringify(fallback);
      assert.equal(said, shown, name);
    }
  });

  it("says in the comment of the defaults which variables they have", () => {
    const [comment = ""] = /\/\*\*[^/]*\*\/\nexport interface ClientDefaults/.exec(read("src/config/policy.ts")) ?? [];
    const defaults = names.filter((name) => CLIENT_DEFAULTS.includes(name));
    assert.deepEqual(variablesIn(comment).sort(), defaults.map((name) => SETTINGS[name].variable).sort());
  });

  it("has the defaults that a configuration of nothing has", () => {
    const config: Record<string, unknown> = { ...parseConfig({}) };
    for (const [name, [, fallback]] of Object.entries(COMMON)) assert.deepEqual(config[name], fallback, name);
  });

  it("is the table of the documentation", () => {
    const rows = read("docs/configuration.md").match(/^\|.*\|$/gm) ?? [];
    const settings = [
      ...names.map((name) => ({ name: `\`${name}\``, ...SETTINGS[name] })),
      ...Object.values(TTL_SETTINGS).map((setting) => ({ name: "", ...setting })),
    ];
    for (const { name, variable, fallback } of settings) {
      const row = rows.find((each) => each.includes(`| \`${variable}\` |`)) ?? assert.fail(`no row of ${variable}`);
      const [, option, , , value = ""] = row.split("|").map((cell) => cell.trim());
      assert.equal(option, name, variable);
      if (typeof fallback === "number" && fallback < 1000)
        assert.match(value, new RegExp(`^${fallback}( ms)?$`), variable);
      if (typeof fallback === "boolean") assert.equal(value, `\`${fallback}\``, variable);
    }
  });

  it("has every variable that the documentation and the help of the command name", () => {
    const folders = ["src/cli", "docs"];
    const files = folders.flatMap((folder) => readdirSync(folder).map((file) => `${folder}/${file}`));
    for (const file of ["README.md", ...files.filter((each) => /\.(ts|md)$/.test(each))]) {
      assert.deepEqual(
        variablesIn(read(file)).filter((name) => !known.includes(name)),
        [],
        file,
      );
    }
  });
});
