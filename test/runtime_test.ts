import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import fc from "fast-check";
import { CacheConfigError } from "../src/base/errors.ts";
import { parseConfig } from "../src/config/parse_config.ts";
import { CONFIG_VARIABLES } from "../src/config/variables.ts";
import { parseDotenv } from "../src/runtime/dotenv.ts";
import { readEnvironment, readVariables } from "../src/runtime/environment.ts";

const names = CONFIG_VARIABLES;

describe("parseDotenv", () => {
  const cases: [string, string, Record<string, string>][] = [
    ["nothing", "", {}],
    ["lines and blanks", "A=1\n\n  B = 2  \n\t\nC=3", { A: "1", B: "2", C: "3" }],
    ["CRLF", "A=1\r\n# no\r\nB=2\r\n", { A: "1", B: "2" }],
    ["a byte order mark", "\uFEFFA=1", { A: "1" }],
    ["export", "export A=1\n  export\tB='2'", { A: "1", B: "2" }],
    ["comments", "# A=0\nA=1 # one\nB='2' # two\nC=\"3\"#three\n  # D=4", { A: "1", B: "2", C: "3" }],
    ["# inside a value", "A=redis://:p#ss@h\nB='#2'\nC=# c", { A: "redis://:p#ss@h", B: "#2", C: "# c" }],
    ["an empty value", "A=\nB=''\nC= # none\nD=\"\"", { A: "", B: "", C: "", D: "" }],
    ["escapes in double quotes", 'A="a\\n\\t\\"b\\" \\\\ \\x"', { A: 'a\n\t"b" \\ x' }],
    ["no escapes in other quotes", "A='a\\n$B'\nB=`it's \"b\"`\nC=a\\nb", { A: "a\\n$B", B: 'it\'s "b"', C: "a\\nb" }],
    ["values over several lines", "A=\"a\n# b\"\nB='c\n\nd'", { A: "a\n# b", B: "c\n\nd" }],
    ["= and quotes inside", "A=b=c'd\"", { A: "b=c'd\"" }],
    ["a name twice", "A=1\nA=2", { A: "2" }],
    ["spaces inside", "A=a b  c", { A: "a b  c" }],
    ["names of a prototype", "__proto__=1\nconstructor=2", JSON.parse('{"__proto__":"1","constructor":"2"}')],
  ];
  for (const [name, text, expected] of cases) {
    it(`parseDotenv answers the values when the text has ${name}`, () => {
      assert.deepEqual([...parseDotenv(text, "f")], Object.entries(expected));
    });
  }

  for (const [text, line] of [
    ["CACHE_DRIVER memory", 1],
    ["A=1\n\nsecret\nB=2", 3],
    ["A='1\nsecret", 1],
    ['A=1\r\nB="secret\\"', 2],
    ["1A=secret", 1],
    ["=secret", 1],
    ["A='secret' rest", 1],
  ] as const) {
    it(`parseDotenv names line ${line} and not its text when given ${JSON.stringify(text)}`, () => {
      assert.throws(
        () => parseDotenv(text, ".env.cache"),
        (error: unknown) => {
          assert(error instanceof CacheConfigError);
          assert.deepEqual(error.problems, [
            `.env.cache line ${line} cannot be read, expected NAME=value with closed quotes`,
          ]);
          return true;
        },
      );
    });
  }

  it("parseDotenv answers what was written when any value stands in double quotes", () => {
    const name = fc.stringMatching(/^[A-Za-z_]\w{0,9}$/);
    const value = fc.string({ unit: "binary" }).map((text) => text.replaceAll("\r", ""));
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value)), (entries) => {
        const text = entries.map(([key, item]) => `${key}="${item.replace(/[\\"]/g, "\\$&")}"`).join("\n");
        assert.deepEqual(parseDotenv(text, "f"), new Map(entries));
      }),
    );
  });

  it("parseDotenv answers values or throws a CacheConfigError when given any text", () => {
    const text = fc.oneof(
      fc.string(),
      fc.array(fc.constantFrom("A", "=", "'", '"', "`", "#", " ", "\n", "\\", "export ")).map((x) => x.join("")),
    );
    fc.assert(
      fc.property(text, (any) => {
        try {
          parseDotenv(any, "f");
        } catch (error) {
          assert(error instanceof CacheConfigError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe("readEnvironment", () => {
  const saved = { ...process.env };
  let directory = "";
  const write = (file: string, text: string) => writeFileSync(join(directory, file), text);

  before(() => {
    directory = mkdtempSync(join(tmpdir(), "larder-"));
  });
  beforeEach(() => {
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory);
    for (const name of Object.keys(process.env)) if (/^(CACHE|REDIS|UPSTASH|KV)_/.test(name)) delete process.env[name];
  });
  after(() => {
    rmSync(directory, { recursive: true, force: true });
    for (const name of ["CACHE_PREFIX", "CACHE_TTL_MINE", "REDIS_URL", "OTHER_SECRET", "MY_TTL"]) {
      if (saved[name] === undefined) delete process.env[name];
      else process.env[name] = saved[name];
    }
  });

  it("readVariables answers the library's variables and those named, no others, when the environment has more", () => {
    process.env.CACHE_PREFIX = "shop";
    process.env.CACHE_TTL_MINE = "5m";
    process.env.REDIS_URL = "redis://h";
    process.env.OTHER_SECRET = "x";
    process.env.MY_TTL = "1h";
    const variables = { CACHE_PREFIX: "shop", CACHE_TTL_MINE: "5m", REDIS_URL: "redis://h" };
    assert.deepEqual(readVariables(names), variables);
    assert.deepEqual(readVariables([...names, "MY_TTL"]), { ...variables, MY_TTL: "1h" });
    delete process.env.OTHER_SECRET;
    delete process.env.MY_TTL;
  });

  it("readEnvironment answers the environment when there are no files", () => {
    process.env.CACHE_PREFIX = "shop";
    assert.deepEqual(readEnvironment({ names, directory, service: "product" }), { CACHE_PREFIX: "shop" });
    assert.deepEqual(readEnvironment({ names, directory: join(directory, "none") }), { CACHE_PREFIX: "shop" });
  });

  it("readEnvironment prefers the environment, then the service's file, when several have a value", () => {
    write(".env.cache", "CACHE_PREFIX=file\nCACHE_RETRIES=1\nCACHE_TIMEOUT_MS=100\n");
    write(".env.cache.product", "CACHE_RETRIES=3\nCACHE_TIMEOUT_MS=200\nCACHE_TTL_PRODUCTS=2h\n");
    write(".env.cache.order", "CACHE_RETRIES=9\n");
    process.env.CACHE_TIMEOUT_MS = "300";
    const general = { CACHE_PREFIX: "file", CACHE_RETRIES: "1", CACHE_TIMEOUT_MS: "300" };
    assert.deepEqual(readEnvironment({ names, directory }), general);
    assert.deepEqual(readEnvironment({ names, directory, service: "user" }), general);
    const product = readEnvironment({ names, directory, service: "product" });
    assert.deepEqual(product, { ...general, CACHE_RETRIES: "3", CACHE_TTL_PRODUCTS: "2h" });
    const config = parseConfig(product);
    assert.equal(config.retries, 3);
    assert.equal(config.timeout, 300);
    assert.equal(config.ttls.get("CACHE_TTL_PRODUCTS"), 7_200_000);
  });

  it("readEnvironment lists the names in files, not their values, when inFiles is given", () => {
    write(".env.cache", "CACHE_PREFIX=a\nCACHE_WHAT=b\n");
    write(".env.cache.product", "CACHE_RETRIES=1\n");
    const inFiles = new Set<string>();
    readEnvironment({ names, directory, service: "product", inFiles });
    assert.deepEqual([...inFiles].sort(), ["CACHE_PREFIX", "CACHE_RETRIES", "CACHE_WHAT"]);
  });

  it("readEnvironment unsets what a file says when the variable is empty in the environment", () => {
    write(".env.cache", "REDIS_URL=redis://h");
    assert.equal(parseConfig(readEnvironment({ names, directory })).driver, "node-redis");
    process.env.REDIS_URL = "";
    assert.equal(parseConfig(readEnvironment({ names, directory })).driver, "memory");
  });

  it("readEnvironment throws a CacheConfigError with the file's name when a line is not an assignment", () => {
    write(".env.cache.product", "CACHE_PREFIX=a\nhunter2\n");
    assert.throws(
      () => readEnvironment({ names, directory, service: "product" }),
      (error: unknown) => {
        assert(error instanceof CacheConfigError);
        assert.match(error.message, /\.env\.cache\.product line 2 /);
        assert(!error.message.includes("hunter2"));
        return true;
      },
    );
  });

  it("readEnvironment throws a CacheConfigError when a file exists and cannot be read", () => {
    mkdirSync(join(directory, ".env.cache"));
    assert.throws(
      () => readEnvironment({ names, directory }),
      (error: unknown) => {
        assert(error instanceof CacheConfigError);
        assert.match(error.message, /\.env\.cache cannot be read \(EISDIR\)/);
        return true;
      },
    );
  });

  /** Reads with a `Deno` that permits some variables and some files, and throws for the others. */
  function readOnDeno(permitted: { variables: string[]; files: string[]; partial?: boolean }): Record<string, string> {
    const variables = { CACHE_PREFIX: "shop", REDIS_DB: "4" };
    const must = (granted: boolean) => assert(granted, "asked for what is not permitted");
    const fake = {
      permissions: {
        querySync: ({ name, variable, path }: { name: string; variable?: string; path?: string }) => {
          if (name === "read") return { state: permitted.files.includes(String(path)) ? "granted" : "prompt" };
          const all = permitted.variables.includes("*") && (!variable || !permitted.partial || variable !== "REDIS_DB");
          if (!variable) return { state: all ? "granted" : "prompt", partial: permitted.partial ?? false };
          return { state: all || permitted.variables.includes(variable) ? "granted" : "denied" };
        },
      },
      env: {
        get(name: keyof typeof variables) {
          must(permitted.variables.includes("*") || permitted.variables.includes(name));
          return variables[name];
        },
        toObject() {
          must(permitted.variables.includes("*") && !permitted.partial);
          return variables;
        },
      },
      readTextFileSync(path: string) {
        must(permitted.files.includes(path));
        return "CACHE_PREFIX=file\nCACHE_RETRIES=1";
      },
    };
    const real = Object.getOwnPropertyDescriptor(globalThis, "Deno");
    Object.defineProperty(globalThis, "Deno", { value: fake, configurable: true, writable: true });
    try {
      return readEnvironment({ names });
    } finally {
      if (real) Object.defineProperty(globalThis, "Deno", real);
      else Reflect.deleteProperty(globalThis, "Deno");
    }
  }

  it("readEnvironment reads what Deno permits and asks for nothing else when permissions are partial", () => {
    assert.deepEqual(readOnDeno({ variables: [], files: [] }), {});
    assert.deepEqual(readOnDeno({ variables: ["REDIS_DB"], files: [] }), { REDIS_DB: "4" });
    assert.deepEqual(readOnDeno({ variables: ["*"], files: [] }), { CACHE_PREFIX: "shop", REDIS_DB: "4" });
    assert.deepEqual(readOnDeno({ variables: ["*"], files: [], partial: true }), { CACHE_PREFIX: "shop" });
    const files = [".env.cache"];
    assert.deepEqual(readOnDeno({ variables: ["CACHE_PREFIX"], files }), { CACHE_PREFIX: "shop", CACHE_RETRIES: "1" });
  });
});
