import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Redis } from "upstash-latest";
import { type Command, type Driver, type Reply, StoreError } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type BridgeOptions, bridge } from "../src/bridge/bridge.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { type RedisServer, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const TOKEN = "full-token";
const READS = "reading-token";

interface Call {
  method?: string;
  /** Sent as it is when it is a string, otherwise as JSON. */
  body?: unknown;
  token?: string | null;
  headers?: Record<string, string>;
}

/** Asks a handler without a network: what is tested is the bridge. */
async function ask(handler: (request: Request) => Promise<Response>, path: string, call: Call = {}) {
  const { method = "POST", body, token = TOKEN, headers = {} } = call;
  const response = await handler(
    new Request(`http://bridge${path}`, {
      method,
      headers: { ...(token === null ? {} : { authorization: `Bearer ${token}` }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    }),
  );
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: text === "" ? undefined : JSON.parse(text) };
}

/** A bridge over a memory store, and what it answers to a call. */
function open(options: Partial<BridgeOptions> = {}) {
  const handler = bridge({ driver: memory(), token: TOKEN, readOnlyToken: READS, ...options });
  return (path: string, call?: Call) => ask(handler, path, call);
}

/** A driver that keeps what it was sent, and answers each command with `reply`. */
function recorder(reply: (command: Command) => Reply) {
  const sent: { database: number; commands: readonly Command[] }[] = [];
  const driver: Driver = {
    name: "recorder",
    capabilities: { numbered: true, scripts: false, ordered: true, transactions: "atomic" },
    async send(database, commands) {
      sent.push({ database, commands });
      return commands.map(reply);
    },
    async close() {},
  };
  return { driver, sent };
}

/** Makes an error as another copy of the package would: in a bundle, or of another version. */
function copied(kind: StoreError["kind"], message: string): StoreError {
  return Object.assign(new Error(message), { name: "StoreError" as const, kind, code: "", repeat: "none" as const });
}

describe("bridge commands", () => {
  it("bridge answers the errors of a driver of another copy of the package", async () => {
    const wrong = copied("command", "WRONGTYPE wrong kind");
    const { driver } = recorder(([name]) => (name === "GET" ? wrong : "OK"));
    const call = open({ driver });
    const error = { error: "WRONGTYPE wrong kind" };
    const one = await call("/", { body: ["GET", "k"] });
    assert.deepEqual([one.status, one.json], [400, error]);
    const many = await call("/pipeline", {
      body: [
        ["SET", "k", "v"],
        ["GET", "k"],
      ],
    });
    assert.deepEqual([many.status, many.json], [200, [{ result: "OK" }, error]]);
    const away = open({
      driver: { ...driver, send: () => Promise.reject(copied("timeout", "too late")) },
    });
    assert.deepEqual((await away("/", { body: ["GET", "k"] })).status, 504);
  });

  it("bridge answers one command when it is posted to the root", async () => {
    const call = open();
    assert.deepEqual((await call("/", { body: ["SET", "a", "1"] })).json, { result: "OK" });
    assert.deepEqual((await call("/", { body: ["incr", "a"] })).json, { result: 2 });
    assert.deepEqual((await call("/", { body: ["MGET", "a", "b"] })).json, { result: ["2", null] });
    const missing = await call("/", { body: ["GET", "b"] });
    assert.equal(missing.text, '{"result":null}');
    assert.equal(missing.status, 200);
    assert.equal(missing.headers.get("content-type"), "application/json");
    assert.deepEqual((await call("/", { body: ["HGETALL", "b"] })).json, { result: [] });
  });

  it("bridge answers 400 with the store's own line when a single command fails", async () => {
    const call = open();
    await call("/", { body: ["SET", "a", "text"] });
    const { status, json } = await call("/", { body: ["HGET", "a", "f"] });
    assert.equal(status, 400);
    assert.deepEqual(json, { error: "WRONGTYPE Operation against a key holding the wrong kind of value" });
  });

  it("bridge runs commands in the database of its options", async () => {
    const { driver, sent } = recorder(() => "OK");
    await open({ driver, database: 5 })("/", { body: ["SET", "a", "1"] });
    assert.deepEqual(sent, [{ database: 5, commands: [["SET", "a", "1"]] }]);
  });

  it("bridge keeps the digits of numbers when arguments are numbers", async () => {
    const { driver, sent } = recorder(() => "OK");
    const numbers = "9007199254740993,1700000000000,-18446744073709551616,1.10,1e3,-0,0.1,2E-7,0";
    const texts = ["12", 'a"3\\', "\\", "[4,5]", "6\n7", "\u{1f35c}8", "true"];
    await open({ driver })("/", { body: `["SET", ${numbers} , ${texts.map((text) => JSON.stringify(text))}]` });
    assert.deepEqual(sent[0]?.commands, [["SET", ...numbers.split(","), ...texts]]);
    await open({ driver })("/pipeline", { body: '[["SET","a","1"],["SET","b",12345678901234567890]]' });
    assert.deepEqual(sent[1]?.commands, [
      ["SET", "a", "1"],
      ["SET", "b", "12345678901234567890"],
    ]);
  });

  it("bridge sends booleans as text when arguments are booleans", async () => {
    const { driver, sent } = recorder(() => "OK");
    await open({ driver })("/", { body: ["SET", true, false] });
    assert.deepEqual(sent[0]?.commands, [["SET", "true", "false"]]);
  });

  it("bridge refuses a command when an argument is null, a list or an object", async () => {
    const { driver, sent } = recorder(() => "OK");
    const call = open({ driver });
    for (const argument of [null, [], ["x"], {}, { a: 1 }]) {
      const { status, json } = await call("/", { body: ["SET", "k", argument] });
      assert.equal(status, 400);
      assert.match(json.error, /^ERR an argument is not/);
    }
    assert.equal(sent.length, 0);
  });

  it("bridge answers 400 with one error when a body is malformed", async () => {
    const { driver, sent } = recorder(() => "OK");
    const call = open({ driver });
    const bodies = ["", "nonsense", "{}", "null", "[]", '"GET"', '["GET"', "[[]]", "[null]", '["GET","a"] x', "[01]"];
    for (const path of ["/", "/pipeline", "/multi-exec"]) {
      for (const body of [...bodies, path === "/" ? '[["GET","a"]]' : '["GET","a"]', path === "/" ? "[true]" : "[1]"]) {
        const { status, json } = await call(path, { body });
        assert.equal(status, 400, `${path} ${body}`);
        assert.deepEqual(Object.keys(json), ["error"], `${path} ${body}`);
        assert.match(json.error, /^ERR /);
      }
    }
    assert.equal(sent.length, 0);
  });

  it("bridge answers 400 when a body is not UTF-8", async () => {
    const handler = bridge({ driver: memory(), token: TOKEN });
    const init = { method: "POST", headers: { authorization: `Bearer ${TOKEN}` } };
    for (const [path, message] of [
      ["/", /ERR the request's body is not valid UTF-8/],
      ["/pipeline", /ERR the request's body is not valid UTF-8/],
      ["/set/k", /ERR an argument is not valid UTF-8, and this store takes only text/],
    ] as const) {
      const response = await handler(new Request(`http://b${path}`, { ...init, body: new Uint8Array([0x61, 0xff]) }));
      assert.equal(response.status, 400);
      assert.match(await response.text(), message);
    }
  });

  it("bridge refuses a body when it is larger than maxBytes, declared or streamed", async () => {
    const body = JSON.stringify(["SET", "k", "x".repeat(100)]);
    const call = open({ maxBytes: body.length });
    assert.equal((await call("/", { body })).status, 200);
    const expected = { error: "ERR max request size exceeded" };
    const declared = await call("/", { body, headers: { "content-length": `${body.length + 1}` } });
    // Where a Request drops that header, the body is within the limit.
    if (declared.status !== 200) assert.deepEqual(declared.json, expected);
    const streamed = await call("/", { body: `${body} ` });
    assert.equal(streamed.status, 400);
    assert.deepEqual(streamed.json, expected);
  });
});

describe("bridge authentication", () => {
  it("bridge answers 401 when the token is missing or wrong, on every path", async () => {
    const { driver, sent } = recorder(() => "OK");
    const call = open({ driver });
    for (const path of ["/", "/pipeline", "/multi-exec", "/get/a", "/subscribe/c", "/get/a?_token=wrong", "/nosuch"]) {
      for (const token of [null, "wrong", "", TOKEN.slice(0, -1), `${TOKEN}x`, TOKEN.toUpperCase(), `${TOKEN}, x`]) {
        const { status, json, headers } = await call(path, { body: [["GET", "a"]], token });
        assert.equal(status, 401, `${path} ${token}`);
        assert.deepEqual(json, { error: "WRONGPASS invalid or missing auth token" });
        assert.ok(headers.get("upstash-sync-token"));
      }
    }
    assert.equal(sent.length, 0);
  });

  it("bridge takes the token from the query when the header is missing", async () => {
    const { driver, sent } = recorder(() => "OK");
    const call = open({ driver });
    assert.equal((await call(`/set/a/b?_token=${TOKEN}&EX=5`, { token: null })).status, 200);
    assert.deepEqual(sent[0]?.commands, [["set", "a", "b", "EX", "5"]]);
    assert.equal((await call(`/get/a?_token=${TOKEN}`, { token: "wrong" })).status, 401);
  });

  it("bridge lets a read-only token read and nothing else", async () => {
    const call = open();
    await call("/", { body: ["SET", "a", "1"] });
    assert.deepEqual((await call("/get/a", { token: READS })).json, { result: "1" });
    for (const command of [
      ["SET", "a", "2"],
      ["del", "a"],
      ["SCAN", "0"],
      ["KEYS", "*"],
      ["EVAL", "return 1", "0"],
    ]) {
      const { status, json } = await call("/", { body: command, token: READS });
      assert.equal(status, 400);
      assert.match(json.error, /^NOPERM /);
    }
    const items = [
      ["GET", "a"],
      ["INCR", "a"],
      ["GET", "a"],
    ];
    const { status, json } = await call("/pipeline", { body: items, token: READS });
    assert.equal(status, 200);
    assert.deepEqual(json[0], { result: "1" });
    assert.match(json[1].error, /^NOPERM /);
    assert.deepEqual(json[2], { result: "1" });
    assert.equal((await call("/multi-exec", { body: items, token: READS })).status, 400);
    assert.deepEqual((await call("/get/a")).json, { result: "1" });
  });

  it("bridge throws when a token is missing, malformed or given twice, and does not repeat it", () => {
    for (const token of [undefined, "", "two words", "line\n", "ü"]) {
      assert.throws(() => bridge({ driver: memory(), token: token as string }), {
        name: "TypeError",
        message: `Cannot set token: received a value of type ${typeof token}, expected visible ASCII characters`,
      });
    }
    assert.throws(
      () => bridge({ driver: memory(), token: "a", readOnlyToken: "" }),
      /Cannot set readOnlyToken: received a value of type string/,
    );
    assert.throws(() => bridge({ driver: memory(), token: "a", readOnlyToken: "a" }), /two different tokens/);
  });
});

describe("bridge options", () => {
  it("bridge takes the database that its driver's address names, unless an option names another", async () => {
    for (const [options, expected] of [
      [{}, 3],
      [{ database: 5 }, 5],
    ] as const) {
      const { driver, sent } = recorder(() => "PONG");
      await ask(bridge({ driver: { ...driver, database: 3 }, token: TOKEN, ...options }), "/", { body: ["GET", "k"] });
      assert.deepEqual(
        sent.map(({ database }) => database),
        [expected],
      );
    }
  });

  it("bridge throws and names the option when it is unknown or has a wrong form", () => {
    const { driver } = recorder(() => "OK");
    const rest = { ...driver, capabilities: { ...driver.capabilities, numbered: false } };
    const cases: [object, RegExp][] = [
      [{ timout: 5 }, /options of bridge: received "timout".*\btimeout\b/],
      [{ maxBodySize: 5 }, /options of bridge: received "maxBodySize"/],
      [{ driver: undefined }, /^Cannot set driver of bridge: received undefined, expected a driver/],
      [{ driver: "memory" }, /^Cannot set driver of bridge: received a value of type string/],
      [{ driver: rest, database: 3 }, /database of bridge: received 3, expected a whole number from 0 to 0/],
    ];
    const wrong: Record<string, unknown[]> = {
      database: [-1, 16, 1.5, "1", Number.NaN, null],
      maxBytes: [0, -1, Number.NaN, "1mb", Infinity],
      maxCommands: [0, 1.5, Number.NaN],
      maxTransactions: [0, -1, Number.NaN, "8"],
      maxStreams: [-1, Number.NaN, "many"],
    };
    for (const name of ["timeout", "heartbeat"]) {
      for (const value of [Number.NaN, 0, -1, 2 ** 31, "soon", {}]) {
        assert.throws(() => bridge({ driver, token: "t", [name]: value }), new RegExp(`Cannot set ${name}: received `));
      }
    }
    for (const [name, values] of Object.entries(wrong)) {
      for (const value of values)
        cases.push([{ [name]: value }, new RegExp(`Cannot set ${name} of bridge: received `)]);
    }
    for (const [options, message] of cases) {
      assert.throws(
        () => bridge({ driver, token: "t", ...options }),
        (error: Error) => /^(Type|Range)Error$/.test(error.name) && message.test(error.message),
        JSON.stringify(options),
      );
    }
    for (const given of [undefined, null, "token"]) {
      assert.throws(() => bridge(given as never), /Cannot set the options of bridge: .*, expected \{ driver, token,/);
    }
    bridge({ driver, token: "t", database: 15, maxBytes: 1, maxCommands: 1, maxTransactions: 1, maxStreams: 0 });
    bridge({ driver: rest, token: "t", database: 0 });
  });
});

describe("bridge paths", () => {
  it("bridge decodes each segment once when the command is a path", async () => {
    const { driver, sent } = recorder(() => "OK");
    const call = open({ driver });
    const paths: [string, string[]][] = [
      ["/set/foo/bar", ["set", "foo", "bar"]],
      ["/set/a%2Fb/%2525", ["set", "a/b", "%25"]],
      ["/set/%F0%9F%8D%9C/a+b", ["set", "\u{1f35c}", "a+b"]],
      ["/set/foo/", ["set", "foo", ""]],
      ["/set//bar", ["set", "", "bar"]],
      ["/set/foo/bar?EX=100&NX", ["set", "foo", "bar", "EX", "100", "NX"]],
      ["/set/foo/bar?EX=100&_token=x&NX&", ["set", "foo", "bar", "EX", "100", "NX"]],
      ["/eval/x/0?a=b=c&d+e=%26", ["eval", "x", "0", "a", "b=c", "d e", "&"]],
    ];
    for (const [path, command] of paths) {
      for (const method of ["GET", "POST", "PUT", "HEAD"]) {
        assert.equal((await call(path, { method })).status, 200);
        assert.deepEqual(sent.pop()?.commands, [command], `${method} ${path}`);
      }
    }
  });

  it("bridge appends the body before the query when a path has a body", async () => {
    const { driver, sent } = recorder(() => "OK");
    const value = '\ufeff["not", json] / ? & %2F \u{1f35c}\n';
    assert.equal((await open({ driver })("/set/foo?EX=100", { body: value })).status, 200);
    assert.deepEqual(sent[0]?.commands, [["set", "foo", value, "EX", "100"]]);
  });

  it("bridge answers 400 when percent-encoding is malformed or no command is named", async () => {
    const call = open();
    for (const path of ["/get/%zz", "/get/%ff", "/get/a?%zz", "//get/a"]) {
      assert.equal((await call(path, { method: "GET" })).status, 400, path);
    }
  });
});

describe("bridge pipelines", () => {
  it("bridge answers each command in its place when some fail", async () => {
    const { status, json } = await open()("/pipeline", {
      body: [
        ["SET", "a", "text"],
        ["INCR", "a"],
        ["SUBSCRIBE", "c"],
        ["NOSUCH", "x"],
        ["SET", "b", null],
        ["GET", "a"],
      ],
    });
    assert.equal(status, 200);
    assert.equal(json.length, 6);
    assert.deepEqual(json[0], { result: "OK" });
    assert.deepEqual(json[1], { error: "ERR value is not an integer or out of range" });
    assert.match(json[2].error, /^ERR command "SUBSCRIBE" is not served/);
    assert.equal(json[3].error, "ERR unknown command 'NOSUCH': the store behind this server does not have it");
    assert.match(json[4].error, /^ERR an argument is not/);
    assert.deepEqual(json[5], { result: "text" });
  });

  it("bridge sends a pipeline once when it holds many commands", async () => {
    const { driver, sent } = recorder(() => 1);
    const body = Array.from({ length: 1000 }, (_, index) => ["INCR", `k${index}`]);
    const { json } = await open({ driver })("/pipeline", { body });
    assert.equal(json.length, 1000);
    assert.deepEqual(sent, [{ database: 0, commands: body }]);
  });

  it("bridge runs a transaction without a gap when each send of the store is atomic", async () => {
    const call = open();
    const { status, json } = await call("/multi-exec", {
      body: [
        ["SET", "a", "text"],
        ["INCR", "a"],
        ["SET", "b", "2"],
        ["GET", "b"],
      ],
    });
    assert.equal(status, 200);
    assert.deepEqual(json, [
      { result: "OK" },
      { error: "ERR value is not an integer or out of range" },
      { result: "OK" },
      { result: "2" },
    ]);
  });

  it("bridge discards a transaction whole when the memory store cannot run a command of it", async () => {
    const call = open();
    await call("/", { body: ["MSET", "a", "before", "counter", "5"] });
    const wrongs = [
      ["NOSUCH", "x"],
      ["GET"],
      ["SET", "a"],
      ["SADD", "set", "x"],
      ["EVAL", "return 1", "0"],
      ["SCRIPT", "LOAD", "return 1"],
      ["SCRIPT"],
    ];
    for (const wrong of wrongs) {
      for (const body of [
        [["SET", "a", "after"], ["INCR", "counter"], wrong],
        [wrong, ["SET", "a", "after"], ["DEL", "counter"]],
      ]) {
        const { status, json } = await call("/multi-exec", { body });
        assert.equal(status, 400, `${wrong}`);
        assert.deepEqual(Object.keys(json), ["error"]);
        assert.match(json.error, /^ERR (unknown command|wrong number of arguments|the memory store has no Lua)/);
      }
    }
    assert.deepEqual((await call("/mget/a/counter")).json, { result: ["before", "5"] });
    const { status, json } = await call("/multi-exec", {
      body: [
        ["INCR", "a"],
        ["EVALSHA", "0", "0"],
        ["INCR", "counter"],
      ],
    });
    assert.equal(status, 200);
    assert.match(json[0].error, /^ERR value is not an integer/);
    assert.match(json[1].error, /^NOSCRIPT/);
    assert.deepEqual(json[2], { result: 6 });
  });

  it("bridge discards a transaction when a command is not served", async () => {
    const call = open();
    for (const wrong of [["SUBSCRIBE", "c"], ["SET", "b", null], ["EXEC"], ["MULTI"]]) {
      const { status, json } = await call("/multi-exec", { body: [["SET", "a", "1"], wrong] });
      assert.equal(status, 400);
      assert.match(json.error, /^ERR /);
    }
    assert.deepEqual((await call("/get/a")).json, { result: null });
  });

  it("bridge refuses transactions when the store has none", async () => {
    const { driver, sent } = recorder(() => "OK");
    const { transactions: _, ...capabilities } = driver.capabilities;
    const { status, json } = await open({ driver: { ...driver, capabilities } })("/multi-exec", { body: [["PING"]] });
    assert.equal(status, 400);
    assert.match(json.error, /^ERR transactions are not served/);
    assert.equal(sent.length, 0);
  });
});

describe("bridge encoding", () => {
  const base64 = { "upstash-encoding": "base64" };

  it("bridge encodes every string at any depth when the request asks for base64, and leaves the OK reply", async () => {
    const nested = ["0", ["user", null, 7, ["phở", new StoreError("command", "ERR inside")]], ""];
    const replies: Record<string, Reply> = {
      nested,
      ok: "OK",
      oks: ["OK"],
      user: "user",
    };
    const { driver } = recorder(([name]) => replies[name] ?? new StoreError("command", "ERR none"));
    const call = open({ driver });
    assert.deepEqual((await call("/nested", { headers: base64 })).json, {
      result: ["MA==", ["dXNlcg==", null, 7, ["cGjhu58=", "RVJSIGluc2lkZQ=="]], ""],
    });
    assert.deepEqual((await call("/ok", { headers: base64 })).json, { result: "OK" });
    assert.deepEqual((await call("/oks", { headers: base64 })).json, { result: ["T0s="] });
    assert.deepEqual((await call("/user", { headers: base64 })).json, { result: "dXNlcg==" });
    assert.deepEqual((await call("/other", { headers: base64 })).json, { error: "ERR none" });
    assert.deepEqual((await call("/nested")).json, { result: ["0", ["user", null, 7, ["phở", "ERR inside"]], ""] });
    const { json } = await call("/pipeline", { body: [["ok"], ["user"], ["other"]], headers: base64 });
    assert.deepEqual(json, [{ result: "OK" }, { result: "dXNlcg==" }, { error: "ERR none" }]);
  });

  it("bridge encodes large text when the request asks for base64", async () => {
    const text = "phở \u{1f35c} ".repeat(50_000);
    const { driver } = recorder(() => text);
    const { json } = await open({ driver })("/get/a", { headers: base64 });
    const bytes = Uint8Array.from(atob(json.result), (letter) => letter.charCodeAt(0));
    assert.equal(new TextDecoder().decode(bytes), text);
  });

  it("bridge gives a new sync token with every reply, whatever token comes in", async () => {
    const call = open();
    const seen = new Set<string | null>();
    for (const [path, token] of [
      ["/get/a", undefined],
      ["/get/a", ""],
      ["/pipeline", "unknown"],
      ["/nosuch", "x,y"],
    ] as const) {
      const headers: Record<string, string> = token === undefined ? {} : { "upstash-sync-token": token };
      seen.add((await call(path, { body: [["GET", "a"]], headers })).headers.get("upstash-sync-token"));
    }
    assert.equal(seen.size, 4);
    assert.ok(!seen.has(null) && !seen.has(""));
  });

  it("bridge answers 400 when a response format is unknown, or does not fit the request", async () => {
    const call = open();
    for (const format of ["resp3", "xml", ""]) {
      assert.equal((await call("/get/a", { headers: { "upstash-response-format": format } })).status, 400);
    }
    const resp2 = { "upstash-response-format": "resp2" };
    assert.equal((await call("/get/a", { headers: { ...resp2, ...base64 } })).status, 400);
    assert.equal((await call("/multi-exec", { body: [["GET", "a"]], headers: resp2 })).status, 400);
    assert.equal((await call("/get/a", { headers: { "upstash-response-format": "json" } })).status, 200);
  });
});

describe("bridge refusals", () => {
  it("bridge answers 405 when the method is not one of the four", async () => {
    const call = open();
    for (const method of ["DELETE", "PATCH", "OPTIONS"]) {
      const { status, json, headers } = await call("/get/a", { method });
      assert.equal(status, 405);
      assert.equal(headers.get("allow"), "HEAD, GET, POST, PUT");
      assert.equal(typeof json.error, "string");
    }
  });

  it("bridge answers a preflight without a token when a browser asks", async () => {
    const wanted = "authorization,content-type,upstash-encoding,upstash-telemetry-sdk";
    const { status, headers, text } = await open()("/pipeline", {
      method: "OPTIONS",
      token: null,
      headers: { "access-control-request-method": "POST", "access-control-request-headers": wanted },
    });
    assert.equal(status, 204);
    assert.equal(text, "");
    assert.equal(headers.get("access-control-allow-origin"), "*");
    assert.match(headers.get("access-control-allow-methods") ?? "", /\bPOST\b/);
    assert.equal(headers.get("access-control-allow-headers"), wanted);
    const reply = await open()("/get/a");
    assert.equal(reply.headers.get("access-control-allow-origin"), "*");
    assert.equal(reply.headers.get("access-control-expose-headers"), "upstash-sync-token");
  });

  it("bridge never forwards a command when it holds or changes a connection", async () => {
    const { driver, sent } = recorder(() => "OK");
    const call = open({ driver });
    const names =
      "SUBSCRIBE psubscribe Ssubscribe UNSUBSCRIBE MONITOR MULTI EXEC DISCARD WATCH UNWATCH SELECT AUTH HELLO CLIENT " +
      "RESET QUIT BLPOP brpop BRPOPLPUSH BLMOVE BLMPOP BZPOPMIN BZPOPMAX BZMPOP WAIT SHUTDOWN CONFIG ACL DEBUG " +
      "SWAPDB MOVE";
    const commands = [
      ...names.split(" ").map((name) => [name, "a", "0"]),
      ["XREAD", "COUNT", "1", "block", "0", "STREAMS", "s", "$"],
      ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"],
      ["COPY", "a", "b", "DB", "3"],
      ["SCRIPT", "debug", "YES"],
    ];
    for (const command of commands) {
      const single = await call("/", { body: command });
      assert.equal(single.status, 400, command.join(" "));
      assert.match(single.json.error, /^ERR command .* is not served over REST$/);
      const path = await call(`/${command.join("/")}`, { method: "GET" });
      assert.equal(path.status, 400);
      assert.equal((await call("/pipeline", { body: [command] })).status, 200);
    }
    assert.equal(sent.length, 0);
    for (const [command, said] of [
      [["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"], 'command "XREADGROUP" with BLOCK'],
      [["xread", "block", "0", "STREAMS", "s", "$"], 'command "xread" with BLOCK'],
      [["COPY", "a", "b", "DB", "3"], 'command "COPY" with DB'],
      [["SCRIPT", "DEBUG", "YES"], 'command "SCRIPT" with DEBUG'],
      [["BLPOP", "a", "0"], 'command "BLPOP"'],
    ] as const) {
      assert.equal((await call("/", { body: command })).json.error, `ERR ${said} is not served over REST`);
    }
    assert.equal(sent.length, 0);
    const served = [
      ["XREAD", "COUNT", "1", "STREAMS", "block", "0"],
      ["XREADGROUP", "GROUP", "block", "block", "STREAMS", "s", ">"],
      ["COPY", "db", "db", "REPLACE"],
      ["SCRIPT", "LOAD", "return 1"],
    ];
    assert.equal((await call("/pipeline", { body: served })).status, 200);
    assert.deepEqual(sent[0]?.commands, served);
  });

  it("bridge answers with a status and JSON when the store fails", async () => {
    const cases: [unknown, number, RegExp][] = [
      [new StoreError("connection", "no connection"), 503, /^no connection$/],
      [new StoreError("closed", "was closed"), 503, /^was closed$/],
      [new StoreError("timeout", "no answer"), 504, /^no answer$/],
      [new StoreError("limit", "too many"), 429, /^too many$/],
      [new StoreError("protocol", "garbled"), 502, /^garbled$/],
      [new StoreError("command", "ERR DB index is out of range"), 400, /^ERR DB index is out of range$/],
      [new Error("secret detail"), 500, /^The bridge failed$/],
    ];
    for (const [error, expected, message] of cases) {
      const { driver } = recorder(() => "OK");
      const send = () => Promise.reject(error);
      for (const [path, body] of [
        ["/get/a", ""],
        ["/pipeline", [["GET", "a"]]],
        ["/multi-exec", [["GET", "a"]]],
      ] as const) {
        const { status, json } = await open({ driver: { ...driver, send } })(path, { body });
        assert.equal(status, expected);
        assert.match(json.error, message);
      }
    }
  });
});

describe("bridge over redis-server", () => {
  let redis: RedisServer;
  let driver: Driver;
  before(async () => {
    redis = await startRedis();
    driver = nodeRedis({ url: redis.url });
  });
  after(async () => {
    await driver.close();
    await redis.stop();
  });

  it("bridge discards a transaction whole when a command cannot be queued", async () => {
    const call = open({ driver });
    for (const wrong of [["NOSUCH", "x"], ["GET"]]) {
      const { status, json } = await call("/multi-exec", { body: [["SET", "discarded", "1"], wrong] });
      assert.equal(status, 400);
      assert.deepEqual(Object.keys(json), ["error"]);
      assert.match(json.error, /^ERR (unknown command|wrong number of arguments)/);
    }
    assert.deepEqual((await call("/get/discarded")).json, { result: null });
  });

  it("bridge runs the rest of a transaction when a command fails at run time", async () => {
    const { status, json } = await open({ driver })("/multi-exec", {
      body: [
        ["SET", "rt", "text"],
        ["INCR", "rt"],
        ["GET", "rt"],
      ],
    });
    assert.equal(status, 200);
    assert.deepEqual(json, [
      { result: "OK" },
      { error: "ERR value is not an integer or out of range" },
      { result: "text" },
    ]);
  });

  it("bridge keeps transactions apart when 40 run at once among other commands", async () => {
    const call = open({ driver });
    const results = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        const reading = call("/get/counter");
        const transaction = await call("/multi-exec", {
          body: [
            ["INCR", "counter"],
            ["SET", `t${index}`, `${index}`],
            ["GET", `t${index}`],
            ["INCR", "counter"],
          ],
        });
        await reading;
        return transaction.json as { result: unknown }[];
      }),
    );
    for (const [index, [first, set, get, second]] of results.entries()) {
      assert.equal(set?.result, "OK");
      assert.equal(get?.result, `${index}`);
      assert.equal(second?.result, (first?.result as number) + 1);
    }
    assert.deepEqual((await call("/get/counter")).json, { result: "80" });
  });
});

describe("the published SDK with its defaults", () => {
  for (const store of ["memory", "node-redis"] as const) {
    describe(`over ${store}`, () => {
      let stop: (() => Promise<void>)[] = [];
      let redis: Redis;
      let requests = 0;

      before(async () => {
        let driver: Driver;
        if (store === "memory") driver = memory();
        else {
          const server = await startRedis();
          driver = nodeRedis({ url: server.url });
          stop.push(() => server.stop());
        }
        const handler = bridge({ driver, token: TOKEN, readOnlyToken: READS });
        const listener: Listener = await serve((request) => {
          requests++;
          return handler(request);
        });
        stop = [() => listener.close(), () => driver.close(), ...stop];
        redis = new Redis({ url: listener.url, token: TOKEN, retry: { retries: 0 } });
      });
      after(async () => {
        for (const step of stop) await step();
      });

      it("Redis reads back strings, numbers and objects when they are set", async () => {
        const values: [string, unknown][] = [
          ["text", "phở bò \u{1f35c}"],
          ["base64-like", "user"],
          ["ok", "OK"],
          ["number", 42],
          ["object", { a: [1, null, "x"] }],
          ["false", false],
        ];
        for (const [key, value] of values) {
          assert.equal(await redis.set(key, value), "OK");
          assert.deepEqual(await redis.get(key), value);
        }
        assert.deepEqual(
          await redis.mget(...values.map(([key]) => key)),
          values.map(([, value]) => value),
        );
        assert.equal(await redis.get("missing"), null);
        assert.equal(await redis.mset({ m1: "one", m2: "two" }), "OK");
        assert.equal(await redis.set("m1", "three", { nx: true }), null);
        assert.equal(await redis.getdel("m1"), "one");
        assert.equal(await redis.exists("m1", "m2"), 1);
        assert.equal(await redis.strlen("m2"), 3);
        assert.equal(await redis.type("m2"), "string");
      });

      it("Redis counts when keys are incremented", async () => {
        assert.equal(await redis.incr("n"), 1);
        assert.equal(await redis.incrby("n", 1_700_000_000_000), 1_700_000_000_001);
        assert.equal(await redis.decr("n"), 1_700_000_000_000);
        await redis.set("w", "word");
        await assert.rejects(redis.incr("w"), /ERR value is not an integer or out of range/);
      });

      it("Redis keeps time when keys expire", async () => {
        await redis.set("e", "1", { ex: 100 });
        assert.equal(await redis.ttl("e"), 100);
        const left = await redis.pttl("e");
        assert.ok(left > 99_000 && left <= 100_000, `${left}`);
        assert.equal(await redis.persist("e"), 1);
        assert.equal(await redis.ttl("e"), -1);
        assert.equal(await redis.expire("e", 50), 1);
        assert.equal(await redis.pexpire("e", 60_000), 1);
        assert.equal(await redis.ttl("e"), 60);
        assert.equal(await redis.ttl("missing"), -2);
        assert.equal(await redis.del("e", "missing"), 1);
      });

      it("Redis scans and clears when keys are listed", async () => {
        await redis.flushdb();
        for (let index = 0; index < 25; index++) await redis.set(`s:${index}`, index);
        await redis.set("other", 1);
        const found = new Set<string>();
        let cursor = "0";
        do {
          const [next, keys] = await redis.scan(cursor, { match: "s:*", count: 7 });
          for (const key of keys) found.add(key);
          cursor = next;
        } while (cursor !== "0");
        assert.equal(found.size, 25);
        assert.deepEqual(await redis.keys("oth*"), ["other"]);
        assert.equal(await redis.dbsize(), 26);
        assert.equal(await redis.unlink(...found), 25);
        assert.equal(await redis.flushdb(), "OK");
        assert.equal(await redis.dbsize(), 0);
      });

      it("Redis reads hashes when fields are set", async () => {
        assert.equal(await redis.hset("h", { a: "1", b: "user", c: false }), 3);
        assert.deepEqual(await redis.hgetall("h"), { a: 1, b: "user", c: false });
        assert.equal(await redis.hgetall("missing"), null);
        assert.equal(await redis.hget("h", "b"), "user");
        assert.deepEqual(await redis.hmget("h", "a", "x"), { a: 1, x: null });
        assert.equal(await redis.hincrby("h", "a", 4), 5);
        assert.equal(await redis.hexists("h", "a"), 1);
        assert.equal(await redis.hdel("h", "a", "x"), 1);
        assert.equal(await redis.hlen("h"), 2);
      });

      it("Redis answers ping, echo and time when asked", async () => {
        assert.equal(await redis.ping(), "PONG");
        assert.equal(await redis.echo("user"), "user");
        const [seconds] = await redis.time();
        assert.ok(Math.abs(Number(seconds) - Date.now() / 1000) < 60);
      });

      it("Redis sends one request when calls of one tick are reads", async () => {
        await redis.mset({ p1: "1", p2: "2" });
        const before = requests;
        const values = await Promise.all([redis.get("p1"), redis.get("p2"), redis.get("p3")]);
        assert.deepEqual(values, [1, 2, null]);
        assert.equal(requests, before + 1);
      });

      it("Redis runs pipelines and transactions when commands are chained", async () => {
        const pipeline = redis.pipeline().set("q", "OK").get("q").incr("q").mget("q", "missing");
        const results = await pipeline.exec({ keepErrors: true });
        assert.deepEqual([results[0].result, results[1].result, results[3].result], ["OK", "OK", ["OK", null]]);
        assert.match(results[2].error ?? "", /not an integer/);
        assert.deepEqual(await redis.multi().set("x", 1).incr("x").get("x").exec(), ["OK", 2, 2]);
        await assert.rejects(redis.pipeline().set("q", "a").incr("q").exec(), /Command 2 .*not an integer/);
      });

      it("Redis throws the store's line when a command fails", async () => {
        await redis.hset("hash", { a: 1 });
        await assert.rejects(redis.get("hash"), /WRONGTYPE Operation against a key/);
        await assert.rejects(redis.exec(["NOSUCH"]), /ERR unknown command/);
        await assert.rejects(redis.evalsha("f".repeat(40), [], []), /NOSCRIPT/);
      });

      if (store === "node-redis") {
        it("Redis loads a script when the store does not know it", async () => {
          const script = redis.createScript<string[]>("return {ARGV[1], KEYS[1], {'OK', 3}}");
          assert.deepEqual(await script.exec(["k"], ["user"]), ["user", "k", ["OK", 3]]);
          assert.deepEqual(await script.exec(["k"], ["x"]), ["x", "k", ["OK", 3]]);
        });
      }
    });
  }
});
