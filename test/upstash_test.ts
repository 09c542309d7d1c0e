import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Redis as CloudflareRedis } from "@upstash/redis/cloudflare";
import { Redis } from "upstash-latest";
import { type Driver, type Reply, StoreError } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { type UpstashClient, type UpstashOptions, upstash } from "../drivers/upstash.ts";
import { bridge } from "../src/bridge/bridge.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { type FaultProxy, startProxy } from "./helpers/proxy.ts";
import { freePort } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const TOKEN = "very-secret-token";
const VALUE = "very-secret-value";

/** Returns the error of a send. It must be a StoreError, and nothing of it that a logger prints may show secrets. */
async function failure(sending: Promise<Reply[]>): Promise<StoreError> {
  try {
    await sending;
  } catch (error) {
    assert.ok(error instanceof StoreError, String(error));
    checkSecrets(error);
    return error;
  }
  return assert.fail("the send did not fail");
}

function checkSecrets(error: StoreError): void {
  const all = [error.message, error.stack, JSON.stringify(error), JSON.stringify(error.cause), String(error.cause)];
  assert.doesNotMatch(all.join("\n"), /very-secret|hunter2/);
}

/** A server that answers every request with what `respond` makes, and the requests that it got. */
async function faulty(respond: (request: Request) => Response | Promise<Response>) {
  const bodies: string[] = [];
  const headers: Headers[] = [];
  const paths: string[] = [];
  const server = await serve(async (request) => {
    paths.push(`${request.method} ${new URL(request.url).pathname}`);
    headers.push(request.headers);
    bodies.push(await request.clone().text());
    return respond(request);
  });
  return { ...server, bodies, headers, paths };
}

/** Sends one SET of a secret to a server that answers with `respond`; answers the error and the number of requests. */
async function refusal(respond: () => Response): Promise<{ error: StoreError; requests: number }> {
  const server = await faulty(respond);
  const driver = upstash({ url: server.url, token: TOKEN });
  try {
    const error = await failure(driver.send(0, [["SET", "key", VALUE]], { timeout: 10_000 }));
    return { error, requests: server.bodies.length };
  } finally {
    await driver.close();
    await server.close();
  }
}

function html(status: number): Response {
  const text = `<!doctype html><title>${status}</title><p>${VALUE} at https://user:hunter2@proxy/`;
  return new Response(text, { status, headers: { "content-type": "text/html" } });
}

describe("upstash over the bridge", () => {
  let store: Driver;
  let server: Listener;
  let driver: Driver;
  let requests: { path: string; headers: Headers }[] = [];

  before(async () => {
    store = memory();
    const handler = bridge({ driver: store, token: TOKEN });
    server = await serve((request) => {
      requests.push({ path: `${request.method} ${new URL(request.url).pathname}`, headers: request.headers });
      return handler(request);
    });
    driver = upstash({ url: server.url, token: TOKEN });
  });
  after(async () => {
    await driver.close();
    await server.close();
    await store.close();
  });

  it("upstash says what it can do", () => {
    assert.equal(driver.name, "upstash");
    const { maxBytes, ...capabilities } = driver.capabilities;
    assert.deepEqual(capabilities, { numbered: false, scripts: true, ordered: false, billed: true, maxCommands: 1000 });
    assert.ok(maxBytes && maxBytes > 9_000_000 && maxBytes <= 10_000_000);
    assert.equal(upstash({ url: server.url, token: TOKEN, maxBytes: 1_000_000 }).capabilities.maxBytes, 1_000_000);
  });

  it("send posts one request to /pipeline when it holds one command or many", async () => {
    requests = [];
    assert.deepEqual(await driver.send(0, [["SET", "a", 1]]), ["OK"]);
    const commands = Array.from({ length: 1000 }, () => ["INCR", "a"] as const);
    assert.equal((await driver.send(0, commands)).at(-1), 1001);
    assert.deepEqual(
      requests.map(({ path }) => path),
      ["POST /pipeline", "POST /pipeline"],
    );
  });

  it("send shows the token of the reply before it, so that a request sees every write that was answered", async () => {
    let replies = 0;
    const server = await faulty(() => {
      const headers = { "upstash-sync-token": `sync-${++replies}` };
      return Response.json([{ result: "PONG" }], { headers });
    });
    const ready = new Redis({ url: server.url, token: TOKEN });
    const drivers = [upstash({ url: server.url, token: TOKEN }), upstash({ client: ready })];
    try {
      for (const driver of drivers) for (let i = 0; i < 3; i++) await driver.send(0, [["PING"]]);
      const shown = server.headers.map((headers) => headers.get("upstash-sync-token"));
      assert.deepEqual(shown, ["", "sync-1", "sync-2", "", "sync-4", "sync-5"]);
      const careless = upstash({ url: server.url, token: TOKEN, readYourWrites: false });
      await careless.send(0, [["PING"]]);
      assert.equal(server.headers.at(-1)?.get("upstash-sync-token"), null);
    } finally {
      for (const driver of drivers) await driver.close();
      await server.close();
    }
  });

  it("send gives text back as it was when it looks like JSON, numbers or base64", async () => {
    const texts = ["123", "1.0", "9007199254740993", "true", "null", '{"a":1}', "[1]", '"q"', "user", "T0s=", "OK", ""];
    texts.push("phở \u{1f35c}", "a\nb\r\n\u0000", "\\ \" ' / %2F", "\ufeffbom", "x".repeat(300_000));
    for (const text of texts) {
      assert.deepEqual(
        await driver.send(0, [
          ["SET", text, text],
          ["GET", text],
          ["MGET", text, "none"],
        ]),
        ["OK", text, [text, null]],
      );
    }
    assert.deepEqual(await store.send(0, [["GET", "123"]]), ["123"]);
  });

  it("send sends numbers as text", async () => {
    const replies = await driver.send(0, [
      ["SET", "n", 1_700_000_000_000],
      ["GET", "n"],
      ["SET", "f", 0.5],
      ["GET", "f"],
    ]);
    assert.deepEqual(replies, ["OK", "1700000000000", "OK", "0.5"]);
  });

  it("send answers a command's own error in its place when others succeed", async () => {
    const [set, wrong, get, unknown] = await driver.send(0, [
      ["SET", "t", "text"],
      ["INCR", "t"],
      ["GET", "t"],
      ["NOSUCH", VALUE],
    ]);
    assert.equal(set, "OK");
    assert.ok(wrong instanceof StoreError && wrong.kind === "command" && wrong.code === "ERR");
    assert.equal(wrong.message, "ERR value is not an integer or out of range");
    assert.equal(get, "text");
    assert.ok(unknown instanceof StoreError);
    checkSecrets(unknown);
  });

  it("send echoes the last sync token and sends no telemetry", async () => {
    requests = [];
    const own = upstash({ url: `${server.url}/`, token: TOKEN });
    const tokens: (string | null)[] = [];
    for (let index = 0; index < 3; index++) {
      await own.send(0, [["PING"]]);
      tokens.push(requests[index]?.headers.get("upstash-sync-token") ?? null);
    }
    assert.equal(tokens[0], "");
    assert.ok(tokens[1] && tokens[2] && tokens[1] !== tokens[2]);
    for (const { headers } of requests) {
      assert.equal(headers.get("upstash-encoding"), null);
      for (const name of headers.keys()) assert.doesNotMatch(name, /telemetry/i);
    }
  });

  it("send fails with auth when the token is wrong", async () => {
    const wrong = upstash({ url: server.url, token: "very-secret-wrong" });
    const error = await failure(wrong.send(0, [["SET", "k", VALUE]]));
    assert.deepEqual([error.kind, error.code, error.repeat], ["auth", "WRONGPASS", "none"]);
    assert.match(error.message, /WRONGPASS invalid or missing auth token/);
  });

  it("send throws when the database is not 0", async () => {
    await assert.rejects(driver.send(3, [["PING"]]), {
      name: "RangeError",
      message: "Cannot send to a database of Upstash: received 3, expected 0",
    });
  });

  it("close aborts what is in flight, and later sends fail", async () => {
    let arrived = () => {};
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const hanging = await serve(() => {
      arrived();
      return new Promise<Response>(() => {});
    });
    const own = upstash({ url: hanging.url, token: TOKEN });
    const sending = failure(own.send(0, [["PING"]]));
    await arrival;
    await own.close();
    await own.close();
    assert.equal((await sending).kind, "closed");
    assert.equal((await failure(own.send(0, [["PING"]]))).kind, "closed");
    await hanging.close();
  });
});

describe("upstash when a request is refused", () => {
  const json = (status: number, error: unknown) => () => Response.json({ error }, { status });
  const cases: [string, () => Response, Partial<StoreError>, RegExp][] = [
    [
      "401",
      json(401, "WRONGPASS invalid or missing auth token"),
      { kind: "auth", code: "WRONGPASS", repeat: "none" },
      /WRONGPASS/,
    ],
    [
      "401 that repeats the token",
      json(401, `WRONGPASS no user has the token ${TOKEN}`),
      { kind: "auth", repeat: "none" },
      /no user has the token \*\*\*$/,
    ],
    ["401 of a proxy", json(401, "Unauthorized"), { kind: "auth", repeat: "none" }, /Unauthorized/],
    ["NOPERM", json(400, "NOPERM this user has no permissions"), { kind: "auth", repeat: "none" }, /NOPERM/],
    ["429", json(429, "Too Many Requests"), { kind: "limit", repeat: "all" }, /Too Many Requests/],
    ["a rate limit", json(429, "ERR rate limit exceeded"), { kind: "limit", repeat: "all" }, /rate limit/],
    [
      "a used-up quota",
      json(400, "ERR max daily request limit exceeded. Limit: 10000, Usage: 10000."),
      { kind: "limit", repeat: "none" },
      /max daily request limit/,
    ],
    [
      "a request too large",
      json(400, "ERR max request size exceeded"),
      { kind: "limit", repeat: "none" },
      /request size/,
    ],
    ["500 with JSON", json(500, "internal error"), { kind: "connection", repeat: "idempotent" }, /internal error/],
    [
      "500 with JSON of another form",
      json(500, undefined),
      { kind: "connection", repeat: "idempotent" },
      /Upstash failed/,
    ],
    [
      "500 with null",
      () => Response.json(null, { status: 500 }),
      { kind: "connection", repeat: "idempotent" },
      /failed/,
    ],
    [
      "503 while loading",
      json(503, "LOADING Redis is loading"),
      { kind: "command", code: "LOADING", repeat: "all" },
      /LOADING/,
    ],
    ["500 with HTML", () => html(500), { kind: "protocol", repeat: "idempotent" }, /not JSON/],
    ["200 with HTML", () => html(200), { kind: "protocol", repeat: "idempotent" }, /not JSON/],
    [
      "truncated JSON",
      () => new Response(`[{"result":"${VALUE}`),
      { kind: "protocol", repeat: "idempotent" },
      /not JSON/,
    ],
    ["an empty answer", () => new Response(""), { kind: "protocol", repeat: "idempotent" }, /not JSON/],
    ["no list", () => Response.json({ result: VALUE }), { kind: "protocol", repeat: "idempotent" }, /not a list/],
    ["a lone null", () => Response.json(null), { kind: "protocol" }, /not a list/],
    [
      "a lone error",
      () => Response.json({ error: "ERR syntax error" }),
      { kind: "command", code: "ERR" },
      /^ERR syntax/,
    ],
    ["no replies", () => Response.json([]), { kind: "protocol", repeat: "idempotent" }, /0 replies to 1 command/],
    [
      "a reply too many",
      () => Response.json([{ result: VALUE }, { result: VALUE }]),
      { kind: "protocol", repeat: "idempotent" },
      /2 replies to 1 command/,
    ],
    ["an empty item", () => Response.json([{}]), { kind: "protocol" }, /no known type/],
    ["a null item", () => Response.json([null]), { kind: "protocol" }, /no known type/],
    [
      "a reply that is an object",
      () => Response.json([{ result: { a: VALUE } }]),
      { kind: "protocol" },
      /no known type/,
    ],
    ["a nested boolean", () => Response.json([{ result: [VALUE, [true]] }]), { kind: "protocol" }, /no known type/],
    [
      "an error that repeats the request",
      json(500, `failed at https://user:hunter2@host/x?_token=${TOKEN}, command was: [["SET","key","${VALUE}"]]`),
      { kind: "connection" },
      /failed at <url>$/,
    ],
    [
      "an error with arguments",
      json(400, `ERR unknown command 'SETT', with args beginning with: 'key' '${VALUE}' `),
      { kind: "command", code: "ERR" },
      /^ERR unknown command 'SETT'$/,
    ],
  ];
  for (const [name, respond, expected, message] of cases) {
    it(`send fails with ${expected.kind} and asks once when the answer is ${name}`, async () => {
      const { error, requests } = await refusal(respond);
      assert.equal(requests, 1);
      assert.match(error.message, message);
      for (const [field, value] of Object.entries(expected))
        assert.equal(error[field as keyof StoreError], value, field);
    });
  }
});

describe("upstash when the network fails", () => {
  let store: Driver;
  let server: Listener;
  let proxy: FaultProxy;
  let arrived = 0;

  before(async () => {
    store = memory();
    const handler = bridge({ driver: store, token: TOKEN });
    server = await serve((request) => {
      arrived++;
      return handler(request);
    });
    proxy = await startProxy(server.port);
  });
  after(async () => {
    await proxy.stop();
    await server.close();
    await store.close();
  });

  const clients: [string, (url: string) => UpstashOptions][] = [
    ["a URL", (url) => ({ url, token: TOKEN })],
    ["a ready client with its defaults", (url) => ({ client: new Redis({ url, token: TOKEN }) })],
    [
      "a ready client with middleware",
      (url) => {
        const client = new Redis({ url, token: TOKEN, enableAutoPipelining: false });
        client.use((request, next) => next(request));
        return { client };
      },
    ],
  ];
  for (const [name, options] of clients) {
    it(`send moves a counter once when the connection drops after execution, over ${name}`, async () => {
      const driver = upstash(options(`http://127.0.0.1:${proxy.port}`));
      for (const kept of [false, true]) {
        await store.send(0, [["DEL", "counter"]]);
        await proxy.set("pass");
        // A connection that is kept alive may be what a runtime's fetch repeats a request on.
        if (kept) await driver.send(0, [["PING"]]);
        await proxy.set("drop");
        arrived = 0;
        const error = await failure(driver.send(0, [["INCR", "counter"]], { timeout: 10_000 }));
        assert.deepEqual([error.kind, error.repeat], ["connection", "idempotent"]);
        assert.equal(arrived, 1);
        assert.deepEqual(await store.send(0, [["GET", "counter"]]), ["1"]);
      }
      await driver.close();
    });
  }

  it("send fails within its deadline when the server never answers", async () => {
    await proxy.set("blackhole");
    const driver = upstash({ url: `http://127.0.0.1:${proxy.port}`, token: TOKEN });
    const started = performance.now();
    const error = await failure(driver.send(0, [["SET", "k", VALUE]], { timeout: 100 }));
    const took = performance.now() - started;
    assert.deepEqual([error.kind, error.repeat], ["timeout", "idempotent"]);
    assert.match(error.message, /within 100 ms/);
    assert.ok(took >= 90 && took < 4000, `${took} ms`);
  });

  it("send fails within its deadline when the answer stops half-way", async () => {
    const half = new TextEncoder().encode('[{"result":');
    const stalling = await serve(
      () => new Response(new ReadableStream({ start: (controller) => controller.enqueue(half) })),
    );
    const driver = upstash({ url: stalling.url, token: TOKEN });
    const error = await failure(driver.send(0, [["GET", "k"]], { timeout: 100 }));
    assert.equal(error.kind, "timeout");
    await stalling.close();
  });

  it("send fails with connection when the answer is cut", async () => {
    await proxy.set({ resetAfter: 40 });
    const driver = upstash({ url: `http://127.0.0.1:${proxy.port}`, token: TOKEN });
    const error = await failure(driver.send(0, [["GET", "k"]], { timeout: 10_000 }));
    assert.deepEqual([error.kind, error.repeat], ["connection", "idempotent"]);
  });

  it("send fails at once and not to be repeated when the port is refused", async () => {
    const port = await freePort();
    for (const host of ["127.0.0.1", "localhost"]) {
      const driver = upstash({ url: `http://${host}:${port}`, token: TOKEN });
      const started = performance.now();
      const error = await failure(driver.send(0, [["SET", "k", VALUE]], { timeout: 10_000 }));
      assert.deepEqual([error.kind, error.repeat], ["connection", "none"]);
      assert.match(error.message, /refused/);
      assert.ok(performance.now() - started < 4000);
    }
  });
});

describe("upstash with a ready client", () => {
  it("send gives text back as it was, and leaves the client as it was", async () => {
    const store = memory();
    const server = await serve(bridge({ driver: store, token: TOKEN }));
    const client = new Redis({ url: server.url, token: TOKEN, retry: { retries: 0 } });
    const driver = upstash({ client });
    assert.deepEqual(
      await driver.send(0, [
        ["SET", "j", '{"a":1}'],
        ["GET", "j"],
        ["MGET", "j", "none"],
      ]),
      ["OK", '{"a":1}', ['{"a":1}', null]],
    );
    assert.deepEqual(await client.get("j"), { a: 1 });
    await driver.close();
    assert.equal(await client.set("user", "user"), "OK");
    assert.equal(await client.get("user"), "user");
    await server.close();
  });

  it("send and the client share the sync token, so that each reads the other's writes", async () => {
    let count = 0;
    const server = await faulty(() => {
      count++;
      return Response.json([{ result: "T0s=" }], { headers: { "upstash-sync-token": `token-${count}` } });
    });
    const client = new Redis({ url: server.url, token: TOKEN });
    const driver = upstash({ client });
    await client.get("a");
    await driver.send(0, [["GET", "a"]]);
    await client.get("a");
    const tokens = server.headers.map((headers) => headers.get("upstash-sync-token"));
    assert.deepEqual(tokens, ["", "token-1", "token-2"]);
    assert.deepEqual(server.paths, ["POST /pipeline", "POST /pipeline", "POST /pipeline"]);
    await server.close();
  });

  it("upstash takes any object when its client sends requests", async () => {
    const asked: unknown[] = [];
    const client = {
      pipeline: () => ({}),
      client: {
        request: async ({ path, body }: { path: string[]; body: unknown }) => {
          asked.push([path, body]);
          return [{ result: "v" }];
        },
      },
    };
    assert.deepEqual(await upstash({ client }).send(0, [["INCRBY", "k", 5]]), ["v"]);
    assert.deepEqual(asked, [[["pipeline"], [["INCRBY", "k", "5"]]]]);
    const wrong = {
      message: "Cannot set client of upstash: received a value of type object, expected a Redis of @upstash/redis",
    };
    for (const client of [{}, { pipeline: () => ({}) }, { client: {} }]) {
      assert.throws(() => upstash({ client: client as UpstashClient }), wrong);
    }
  });
});

describe("upstash before a cache", () => {
  const url = "https://name.example.test";
  const pong = () => Response.json([{ result: "PONG" }]);

  /** Replaces `fetch` by a function for a while. Returns the cache modes with which it was called. */
  async function modes(drivers: readonly Driver[], respond: (init: RequestInit) => Response = pong) {
    const real = globalThis.fetch;
    const seen: (string | undefined)[] = [];
    globalThis.fetch = (async (_url: string, init: RequestInit) => {
      seen.push(init.cache);
      return respond(init);
    }) as typeof fetch;
    try {
      for (const driver of drivers) await driver.send(0, [["PING"]]);
    } finally {
      globalThis.fetch = real;
    }
    return seen;
  }

  it("send is answered by the store when fetch caches all that it may, as in frameworks", async () => {
    const kept = new Map<unknown, string>();
    let sent = 0;
    const respond = ({ cache, body }: RequestInit): Response => {
      const answer = kept.get(body) ?? JSON.stringify([{ result: `answer ${++sent}` }]);
      if (cache !== "no-store") kept.set(body, answer);
      return new Response(answer);
    };
    await modes(
      [1, 2, 3].map(() => upstash({ url, token: TOKEN })),
      respond,
    );
    assert.equal(sent, 3);
    const kind = upstash({ client: new CloudflareRedis({ url, token: TOKEN }) });
    await modes([kind, kind], respond);
    assert.equal(sent, 5);
  });

  it("send uses the cache mode of the application when that is another one, or none", async () => {
    const given = ["default", "no-store", "reload", "no-cache", "force-cache", false] as const;
    const said = ["default", "no-store", "reload", "no-cache", "force-cache", undefined];
    assert.deepEqual(await modes(given.map((cache) => upstash({ url, token: TOKEN, cache }))), said);
    const client = new Redis({ url, token: TOKEN });
    assert.deepEqual(await modes(given.map((cache) => upstash({ client, cache }))), said);
  });

  it("send uses the cache mode of a ready client when the application chose none", async () => {
    const clients = [
      new Redis({ url, token: TOKEN }),
      new Redis({ url, token: TOKEN, cache: "default" }),
      new CloudflareRedis({ url, token: TOKEN }),
    ];
    const drivers = clients.map((client) => upstash({ client }));
    assert.deepEqual(await modes(drivers), ["no-store", "default", "no-store"]);
  });

  it("send leaves the field out when the runtime refuses it, without asking for each request", async () => {
    const real = globalThis.Request;
    let asked = 0;
    class Refusing extends real {
      constructor(input: string, init?: RequestInit) {
        asked++;
        if (init && "cache" in init)
          throw new Error("The 'cache' field on 'RequestInitializerDict' is not implemented.");
        super(input, init);
      }
    }
    globalThis.Request = Refusing as typeof Request;
    try {
      const driver = upstash({ url, token: TOKEN });
      const ready = upstash({ client: new Redis({ url, token: TOKEN }) });
      assert.deepEqual(await modes([driver, driver, ready, ready]), [undefined, undefined, undefined, undefined]);
      assert.ok(asked <= 2, `${asked}`);
      assert.throws(() => upstash({ url, token: TOKEN, cache: "reload" }), {
        name: "TypeError",
        message: /^Cannot set cache of upstash: received "reload", expected false, or what this runtime knows of /,
      });
    } finally {
      globalThis.Request = real;
    }
  });

  it("upstash throws when cache is not a mode", () => {
    for (const cache of ["nostore", true, null, "only-if-cached", {}]) {
      assert.throws(() => upstash({ url, token: TOKEN, cache } as unknown as UpstashOptions), {
        name: "TypeError",
        message:
          /^Cannot set cache of upstash: received .*, expected .* of default, no-store, reload, no-cache, force-cache$/,
      });
    }
  });
});

describe("upstash options", () => {
  it("upstash throws when the URL is of no accepted form, and does not repeat it", () => {
    const urls = [
      undefined,
      "",
      "name.upstash.io",
      "redis://h",
      "https://",
      "https://user:hunter2@h",
      "https://very-secret@h",
    ];
    urls.push(
      " https://h",
      "https://h\n",
      "https://h?_token=very-secret",
      "https://h#very-secret",
      "very-secret",
      "//h",
    );
    for (const url of urls) {
      assert.throws(
        () => upstash({ url: url as string, token: TOKEN }),
        (error: Error) => {
          assert.equal(error.name, "TypeError", url);
          assert.match(error.message, /expected an http or https URL without credentials/);
          assert.doesNotMatch(error.message, /very-secret|hunter2/);
          return true;
        },
      );
    }
  });

  it("upstash keeps the path of the URL", async () => {
    for (const suffix of ["", "/", "//"]) {
      const server = await faulty(() => Response.json([{ result: 1 }]));
      await upstash({ url: `${server.url}/a/b${suffix}`, token: TOKEN }).send(0, [["PING"]]);
      assert.deepEqual(server.paths, ["POST /a/b/pipeline"]);
      await server.close();
    }
  });

  it("upstash throws when the token is of no accepted form, and does not repeat it", () => {
    for (const token of [undefined, "", " very-secret", "very secret", "very-secret\n", "very-secret-ü"]) {
      assert.throws(
        () => upstash({ url: "https://name.upstash.io", token: token as string }),
        (error: Error) => {
          assert.equal(error.name, "TypeError");
          assert.match(error.message, /expected the REST token, without spaces or line breaks/);
          assert.doesNotMatch(error.message, /very/);
          return true;
        },
      );
    }
  });

  it("upstash throws when maxBytes is not a positive whole number", () => {
    for (const maxBytes of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "1" as unknown as number]) {
      assert.throws(
        () => upstash({ url: "https://h.io", token: TOKEN, maxBytes }),
        /expected a whole number of 1 or more/,
      );
    }
  });
});
