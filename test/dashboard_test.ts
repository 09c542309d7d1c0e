import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type CacheClient, createCacheClient, defineService } from "../mod.ts";
import { type Dashboard, type DashboardOptions, dashboard } from "../src/dashboard/dashboard.ts";
import type { Hello, KeyPage, KeyView, SampleMessage, SlowCommands } from "../src/dashboard/messages.ts";
import type { Finding } from "../src/manager/mod.ts";
import { type ContractStore, memoryStore, redisStore, upstashStore } from "./helpers/contract_stores.ts";
import { eventually } from "./helpers/eventually.ts";
import { rawClient, startRedis } from "./helpers/redis_server.ts";

const TOKEN = "right-token";
const UNAUTHORIZED =
  "Cannot open this without its token: open the URL that larder dashboard printed, or add ?token= to this one";
const LIMIT = { timeout: 60_000 };
const ORIGIN = "http://127.0.0.1:8378";

type Init = { readonly method?: string; readonly headers?: Record<string, string>; readonly body?: string };

/** Sends a request as a program does. */
function ask(page: Dashboard, path: string, { headers = {}, ...init }: Init = {}): Promise<Response> {
  return page(new Request(`${ORIGIN}${path}`, { ...init, headers: { authorization: `Bearer ${TOKEN}`, ...headers } }));
}

async function read<T>(page: Dashboard, path: string, init?: Init): Promise<T> {
  const response = await ask(page, path, init);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text) as T;
}

async function refused(page: Dashboard, path: string, init?: Init): Promise<[status: number, error: string]> {
  const response = await ask(page, path, init);
  return [response.status, ((await response.json()) as { error: string }).error];
}

/** Yields the events of a stream. */
async function* events(page: Dashboard): AsyncGenerator<{ event: string; data: unknown }, void, void> {
  const response = await ask(page, "/api/events");
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    rest += decoder.decode(chunk, { stream: true });
    const parts = rest.split("\n\n");
    rest = parts.pop() as string;
    for (const part of parts) {
      const [, event = "", data = "null"] = /^event: (\w+)\ndata: (.*)$/.exec(part) ?? assert.fail(part);
      yield { event, data: JSON.parse(data) };
    }
  }
}

/** Keeps the process alive, as a server of the dashboard would. */
function stayAlive(): void {
  let timer: ReturnType<typeof setInterval>;
  before(() => {
    timer = setInterval(() => {}, 1000);
  });
  after(() => clearInterval(timer));
}

/** Returns the next sample that matches. The stream stays open. */
async function sampleOf(
  stream: ReturnType<typeof events>,
  wanted: (view: SampleMessage["view"]) => boolean,
): Promise<SampleMessage> {
  for (;;) {
    const { value, done } = await stream.next();
    if (done) return assert.fail("the stream ended");
    const sample = value.data as SampleMessage;
    if (value.event === "sample" && wanted(sample.view)) return sample;
  }
}

/** Runs with a client on a store, and a dashboard of it. */
async function using(
  store: ContractStore,
  options: Partial<DashboardOptions>,
  run: (page: Dashboard, client: CacheClient) => Promise<void>,
): Promise<void> {
  const client = createCacheClient({ env: {}, timeout: 5000, ...(await store.open()) });
  const page = dashboard(client, { token: TOKEN, interval: "1s", ...options });
  try {
    await run(page, client);
  } finally {
    await page.close();
    await client.close();
    await store.close?.();
  }
}

const ROUTES = [
  "/",
  "/app.js",
  "/app.css",
  "/api/events",
  "/api/keys?service=product",
  "/api/slow",
  "/api/doctor",
  "/x",
];

describe("dashboard without its token", () => {
  it("dashboard refuses every route, and reveals nothing", LIMIT, () =>
    using(memoryStore(), { write: true }, async (page, client) => {
      await client.service("product").products.set(1, { id: 1, name: "Pho" });
      const wrong: Record<string, string>[] = [
        {},
        { authorization: "" },
        { authorization: "Bearer" },
        { authorization: `Bearer ${TOKEN}x` },
        { authorization: `Bearer ${TOKEN.slice(0, -1)}` },
        { authorization: `Basic ${TOKEN}` },
        { cookie: `larder=${TOKEN}` },
        { cookie: `larder_00000000=${TOKEN}` },
      ];
      for (const headers of wrong) {
        for (const route of [...ROUTES, "/api/key?service=product&key=product:1"]) {
          for (const method of ["GET", "HEAD", "DELETE"]) {
            const response = await page(new Request(`${ORIGIN}${route}`, { headers, method }));
            assert.equal(response.status, 401, `${method} ${route} ${JSON.stringify(headers)}`);
            assert.equal(response.headers.get("set-cookie"), null);
            const text = await response.text();
            if (method !== "HEAD") assert.equal(text, JSON.stringify({ error: UNAUTHORIZED }));
          }
        }
      }
      for (const token of ["", "wrong", `${TOKEN}%00`]) {
        assert.equal((await page(new Request(`${ORIGIN}/?token=${token}`))).status, 401);
      }
      // A token counts only in the page's own URL.
      assert.equal((await page(new Request(`${ORIGIN}/api/slow?token=${TOKEN}`))).status, 401);
      assert.equal(await client.service("product").products.has(1), true);
    }),
  );

  it("dashboard moves the token from the URL to a cookie that other dashboards do not use", LIMIT, async () => {
    const token = 'a;b,c=d"e%f';
    await using(memoryStore(), { token }, async (page) => {
      const opened = await page(new Request(`${ORIGIN}/?token=${encodeURIComponent(token)}`));
      assert.equal(opened.status, 303);
      assert.equal(opened.headers.get("location"), "/");
      assert.equal(opened.headers.get("referrer-policy"), "no-referrer");
      const secure = await page(new Request(`https://shop.example/?token=${encodeURIComponent(token)}`));
      assert.match(secure.headers.get("set-cookie") ?? "", /; Secure$/);
      const [cookie = "", ...attributes] = (opened.headers.get("set-cookie") ?? "").split("; ");
      assert.deepEqual(attributes, ["Path=/", "HttpOnly", "SameSite=Lax"]);
      const headers = { cookie: `other=1; ${cookie}; more=2` };
      for (const route of ["/", "/app.js", "/api/slow"]) {
        assert.equal((await page(new Request(`${ORIGIN}${route}`, { headers }))).status, 200, route);
      }
      await using(memoryStore(), {}, async (other) => {
        assert.equal((await other(new Request(`${ORIGIN}/`, { headers }))).status, 401);
      });
    });
  });

  it("dashboard refuses requests of other origins that carry the cookie", LIMIT, () =>
    using(memoryStore(), { write: true }, async (page, client) => {
      const { products } = client.service("product");
      await products.set(1, { id: 1, name: "Pho" });
      const key = "/api/key?service=product&key=product:1";
      const foreign = [
        { "sec-fetch-site": "same-site" },
        { "sec-fetch-site": "cross-site" },
        { origin: "http://127.0.0.1:3000" },
        { origin: "null" },
        { "sec-fetch-site": "same-site", origin: ORIGIN },
      ];
      for (const headers of foreign) {
        for (const method of ["GET", "DELETE"]) {
          assert.equal((await refused(page, key, { method, headers }))[0], 403, `${method} ${JSON.stringify(headers)}`);
        }
      }
      assert.equal(await products.has(1), true);
      for (const headers of [
        { origin: ORIGIN, "sec-fetch-site": "same-origin" },
        { origin: ORIGIN },
        { origin: ORIGIN.replace("http:", "https:") },
      ]) {
        await products.set(1, { id: 1, name: "Pho" });
        assert.deepEqual(await read(page, key, { method: "DELETE", headers }), { deleted: true });
        assert.equal(await products.has(1), false);
      }
    }),
  );
});

describe("dashboard's page", () => {
  it("page loads only its own files, under a policy that runs no other script", LIMIT, () =>
    using(memoryStore(), {}, async (page) => {
      const index = await ask(page, "/");
      assert.match(index.headers.get("content-type") ?? "", /^text\/html/);
      const policy = index.headers.get("content-security-policy") ?? "";
      for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "trusted-types 'none'"]) {
        assert.ok(policy.includes(part), policy);
      }
      assert.doesNotMatch(policy, /unsafe|\*|http/);
      const html = (await index.text()).replace(/"data:[^"]*"/g, '"data:"');
      assert.doesNotMatch(html, /https?:|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/);
      const files = [...html.matchAll(/(?:src|href)="([^"#]+)"/g)].map(([, file]) => file as string);
      assert.ok(files.length >= 2, html);
      for (const file of files.filter((name) => !name.startsWith("data:"))) {
        const path = new URL(file, `${ORIGIN}/`).pathname;
        const found = await ask(page, path);
        assert.equal(found.status, 200, file);
        assert.equal(found.headers.get("x-content-type-options"), "nosniff");
        assert.ok((await found.text()).length > 100);
      }
      assert.deepEqual(await refused(page, "/nothing.js"), [404, "Cannot find this page"]);
      assert.deepEqual(await refused(page, "/constructor"), [404, "Cannot find this page"]);
      assert.deepEqual(await refused(page, "/", { method: "POST" }), [405, "Cannot answer this method: expected GET"]);
      assert.deepEqual(await refused(page, "/api/key", { method: "PUT" }), [
        405,
        "Cannot answer this method: expected GET, POST or DELETE",
      ]);
      for (const path of ["/", "/api/events"]) {
        const head = await ask(page, path, { method: "HEAD" });
        assert.deepEqual([head.status, await head.text()], [200, ""]);
      }
    }),
  );

  it("page is served below a path", LIMIT, () =>
    using(memoryStore(), { path: "/admin/cache/" }, async (page) => {
      assert.equal((await ask(page, "/admin/cache/")).status, 200);
      assert.equal((await ask(page, "/admin/cache/app.js")).status, 200);
      assert.equal((await ask(page, "/admin/cache/api/slow")).status, 200);
      assert.equal((await ask(page, "/")).status, 404);
      const short = await page(new Request(`${ORIGIN}/admin/cache?token=${TOKEN}`));
      assert.deepEqual([short.status, short.headers.get("location")], [308, `/admin/cache/?token=${TOKEN}`]);
      const person = await page(new Request(`${ORIGIN}/admin/cache/`, { headers: { accept: "text/html,*/*" } }));
      assert.deepEqual([person.status, await person.text()], [401, UNAUTHORIZED]);
      const opened = await page(new Request(`${ORIGIN}/admin/cache/?token=${TOKEN}`));
      assert.equal(opened.headers.get("location"), "/admin/cache/");
      assert.match(opened.headers.get("set-cookie") ?? "", /; Path=\/admin\/cache\/; /);
    }),
  );

  it("dashboard refuses bad options by their names, without revealing the token", () => {
    const client = createCacheClient({ env: {} });
    const bad = (options: object, message: RegExp): void => {
      assert.throws(
        () => dashboard(client, { token: "S3CRET", ...options } as DashboardOptions),
        (error: Error) => message.test(error.message) && !error.message.includes("S3CRET"),
      );
    };
    bad({ token: "" }, /Cannot set a token: .*, expected visible ASCII/);
    bad({ token: "S3CRET in words" }, /Cannot set a token/);
    bad({ write: "yes" }, /^Cannot set write of a dashboard: received a value of type string, expected true or false$/);
    bad(
      { path: "cache" },
      /^Cannot set path of a dashboard: received a value of type string, expected a path that begins and ends/,
    );
    bad({ interval: 0 }, /interval/);
    bad({ rules: [{}] }, /rule/);
    bad({ wright: true }, /Cannot set the options of a dashboard: received "wright"/);
    bad({ name: 5 }, /^Cannot set name of a dashboard: received 5, expected a string$/);
  });
});

for (const [name, start] of [
  ["memory", async () => memoryStore()],
  ["Redis over TCP", redisStore],
  ["Upstash over REST", () => upstashStore("redis")],
] as const) {
  describe(`dashboard's key browser on ${name}`, () => {
    it("search finds keys by a part, by a glob and by their name, once each, page by page", LIMIT, async () =>
      using(await start(), {}, async (page, client) => {
        const { products } = client.service("product");
        await products.setMany(Array.from({ length: 250 }, (_, i) => [i, { id: i, name: "Pho" }]));
        await products.set("we*ird", { id: "we*ird", name: "Pho" });
        await client.service("user").profiles.set("u7", { id: "u7", name: "An" });
        await products.set("tagged", { id: "tagged", name: "Pho" }, { tags: ["menu"] });
        const find = async (query: string): Promise<{ keys: string[]; pages: number }> => {
          const keys = new Set<string>();
          let pages = 0;
          for (let cursor: string | null = "0"; cursor !== null; pages++) {
            const found: KeyPage = await read(page, `/api/keys?${query}&cursor=${cursor}`);
            for (const { key, type, ttl, size } of found.keys) {
              keys.add(key);
              assert.equal(type, "string");
              assert.ok(ttl !== null && ttl > 3_000_000 && ttl <= 3_600_000);
              assert.ok(size !== null && size > 10);
            }
            ({ cursor } = found);
          }
          return { keys: [...keys].sort(), pages };
        };
        const all = await find("service=product&limit=10");
        assert.equal(all.keys.length, 252);
        assert.ok(all.pages > 3);
        assert.ok(all.keys.every((key) => key.startsWith("product:")));
        assert.deepEqual((await find("service=product&match=24")).keys, [
          "product:124",
          "product:224",
          "product:24",
          ...Array.from({ length: 10 }, (_, i) => `product:24${i}`),
        ]);
        assert.deepEqual((await find(`service=product&match=${encodeURIComponent("product:[12]")}`)).keys, [
          "product:1",
          "product:2",
        ]);
        assert.deepEqual((await find("service=product&match=Product:1")).keys, []);
        assert.deepEqual((await find("service=user&match=u7")).keys, ["user_profile:u7"]);
        assert.equal((await find("database=3")).keys.length, 1);
        // The key is found by its name before any scan.
        const first: KeyPage = await read(page, "/api/keys?service=product&match=product:77&limit=1");
        assert.equal(first.keys[0]?.key, "product:77");
        assert.deepEqual((await read<KeyPage>(page, "/api/keys?service=product&match=%23larder:clock")).keys, []);
      }),
    );

    it("key view shows values as text", LIMIT, async () =>
      using(await start(), {}, async (page, client) => {
        const at = new Date("2026-11-23T10:00:00Z");
        const cache = client.cache({ database: 9 });
        await cache.set("entry", { at, list: [1, null, "<b>"] }, { ttl: "5m", tags: ["menu"] });
        const show = (key: string): Promise<KeyView> =>
          read(page, `/api/key?database=9&key=${encodeURIComponent(key)}`);
        const entry = await show("entry");
        assert.equal(entry.kind, "json");
        assert.deepEqual(JSON.parse(entry.text), { at: at.toISOString(), list: [1, null, "<b>"] });
        assert.ok(entry.text.includes('\n  "at"'));
        assert.deepEqual(entry.entry?.tags?.length, 1);
        assert.ok(entry.ttl !== null && entry.ttl > 290_000 && entry.ttl <= 300_000);

        const place = await client.locate({ database: 9 });
        const put = (...command: [string, ...string[]]) =>
          place.driver.send(place.database, [[command[0], place.prefix + (command[1] as string), ...command.slice(2)]]);
        await put("SET", "raw", '{"a":[1,2]}');
        await put("SET", "exact", '{"a":12345678901234567890}');
        await put("SET", "text", "Phở <script>");
        await put("SET", "long", "x".repeat(250_000));
        await put("HSET", "hash", "field", "<i>");
        assert.deepEqual(
          [(await show("raw")).kind, (await show("raw")).text],
          ["json", '{\n  "a": [\n    1,\n    2\n  ]\n}'],
        );
        // A number would lose digits.
        assert.deepEqual(
          [(await show("exact")).kind, (await show("exact")).text],
          ["text", '{"a":12345678901234567890}'],
        );
        assert.deepEqual([(await show("text")).kind, (await show("text")).text], ["text", "Phở <script>"]);
        const long = await show("long");
        assert.deepEqual([long.text.length, long.characters], [200_000, 250_000]);
        assert.equal((await show("hash")).text, '[\n  ["field","<i>"]\n]');
        await put("SET", "huge", "Phở".repeat(600_000));
        const huge = await show("huge");
        assert.equal(huge.kind, "text");
        assert.match(huge.text, /^(Phở)+(P|Ph)?$/);
        assert.equal(huge.text.length, 200_000);
        assert.equal(await read(page, "/api/key?database=9&key=none"), null);
        // This is longer than a URL may be.
        const name = "phở<".repeat(8000);
        await put("SET", name, "found");
        const body = `${new URLSearchParams({ database: "9", key: name })}`;
        const found = await ask(page, "/api/key", { method: "POST", body });
        assert.equal(((await found.json()) as KeyView).text, "found");
        assert.equal((await refused(page, "/api/key", { method: "POST", body: "x".repeat(2 ** 20 + 1) }))[0], 413);
      }),
    );

    it("delete needs --write, and refuses the library's own keys", LIMIT, async () => {
      const store = await start();
      await using(store, { write: true }, async (page, client) => {
        const { products } = client.service("product");
        await products.set(1, { id: 1, name: "Pho" }, { tags: ["menu"] });
        await products.set(2, { id: 2, name: "Pho" });
        const key = "/api/key?service=product&key=product:1";
        const reader = dashboard(client, { token: TOKEN, interval: "1h" });
        assert.deepEqual(await refused(reader, key, { method: "DELETE" }), [
          403,
          "Cannot delete keys: the dashboard is read-only, expected --write or write: true",
        ]);
        await reader.close();
        assert.equal(await products.has(1), true);
        assert.deepEqual(await read(page, key, { method: "DELETE" }), { deleted: true });
        const body = "service=product&key=product%3A1";
        assert.deepEqual(await read(page, "/api/key", { method: "DELETE", body }), { deleted: false });
        assert.equal(await products.has(1), false);
        assert.equal(await products.has(2), true);
        const own = "/api/key?service=product&key=%23larder:clock";
        assert.equal((await refused(page, own, { method: "DELETE" }))[0], 400);
        // Services that share database 8 keep these keys below their names.
        const menu = client.service(defineService({ name: "menu", collections: { dishes: { key: "dish:{id}" } } }));
        await menu.dishes.set(1, "Pho");
        await menu.invalidateAll();
        const shared = "database=8&key=menu:%23larder:clock";
        assert.equal((await refused(page, `/api/key?${shared}`, { method: "DELETE" }))[0], 400);
        const { keys } = await read<KeyPage>(page, "/api/keys?database=8&match=menu:%23larder:clock");
        assert.deepEqual(keys, []);
        assert.equal(await menu.dishes.get(1), undefined);
      });
    });
  });
}

describe("dashboard's answers", () => {
  stayAlive();

  it("errors say what is expected", LIMIT, () =>
    using(memoryStore(), { write: true }, async (page) => {
      const bad = async (path: string, status: number, message: RegExp, method = "GET"): Promise<void> => {
        const [code, error] = await refused(page, path, { method });
        assert.equal(code, status, path);
        assert.match(error, message);
      };
      await bad(
        "/api/keys",
        400,
        /^Cannot choose keys: expected a service, such as service=product, or database=0 to 15$/,
      );
      await bad("/api/keys?service=product&database=1", 400, /expected a service, such as service=/);
      await bad("/api/keys?service=prodct", 400, /Cannot use a service: received "prodct", expected gateway/);
      await bad(
        "/api/keys?database=16",
        400,
        /^Cannot use a database: received 16, expected a whole number from 0 to 15$/,
      );
      await bad("/api/keys?database=1e1", 400, /expected a service, such as service=/);
      await bad("/api/keys?database=1&cursor=x", 400, /cursor/);
      await bad("/api/keys?database=1&limit=0", 400, /^Cannot list keys: expected a limit from 1 to 9999$/);
      await bad("/api/key?database=1", 400, /^Cannot choose a key: expected key, or key64 in base64$/);
      await bad("/api/key?database=1&key=", 400, /received "", expected text or bytes that are not empty/);
      await bad("/api/key?database=1&key=", 400, /^Cannot delete this key: expected one that is not empty/, "DELETE");
      await bad("/api/key?database=1&key64=%25", 400, /^Cannot choose a key: expected key, or key64 in base64$/);
      await bad("/api/everything", 404, /^Cannot find this page$/);
    }),
  );

  it("answers hold slow commands with the start of their arguments, and a check-up", LIMIT, async () => {
    const redis = await startRedis({ args: ["--slowlog-log-slower-than", "0"] });
    await using({ open: () => ({ url: redis.url }), close: () => redis.stop() }, {}, async (page) => {
      const raw = await rawClient(redis.port);
      await raw.command("SET", "<img src=x>", "v".repeat(300), "PX", 60_000, "NX");
      await raw.command("CONFIG", "SET", "slowlog-log-slower-than", 10_000_000);
      raw.close();
      const { queries } = await read<SlowCommands>(page, "/api/slow");
      const found = queries?.find(({ command }) => command.startsWith("SET")) ?? assert.fail();
      assert.match(found.command, /^SET <img src=x> v{80}\.\.\. PX \.\.\.$/);
      assert.ok(Math.abs(found.at - Date.now()) < 60_000 && found.took >= 0);
      const { findings } = await read<{ findings: Finding[] }>(page, "/api/doctor");
      assert.equal(findings[0]?.check, "connection");
      assert.equal(findings[0]?.level, "ok");
    });
    await using(memoryStore(), {}, async (page) => {
      assert.deepEqual(await read(page, "/api/slow"), { queries: null });
    });
  });

  it("answers read no more of a large value than is shown, on a named connection", LIMIT, async () => {
    const redis = await startRedis();
    await using({ open: () => ({ url: redis.url }), close: () => redis.stop() }, { interval: "1h" }, async (page) => {
      const raw = await rawClient(redis.port);
      await raw.command("SELECT", 9);
      await raw.command("SET", "large", `${"x".repeat(2 ** 21 - 1)}ễ${"x".repeat(3_000_000)}`);
      await raw.command("CONFIG", "RESETSTAT");
      const { kind, text, bytes, characters } = await read<KeyView>(page, "/api/key?database=9&key=large");
      assert.deepEqual([kind, text.length, bytes, characters], ["text", 200_000, 2 ** 21 + 3_000_002, undefined]);
      const info = `${await raw.command("INFO", "commandstats")}`;
      assert.match(info, /cmdstat_getrange:calls=1,/);
      assert.doesNotMatch(info, /cmdstat_get:/);
      assert.match(`${await raw.command("CLIENT", "LIST")}`, / name=larder-dashboard /);
      raw.close();
    });
  });

  it("answers carry keys and values that are not UTF-8 over TCP", LIMIT, async () => {
    const redis = await startRedis();
    await using(
      { open: () => ({ url: redis.url }), close: () => redis.stop() },
      { write: true },
      async (page, client) => {
        const { driver } = await client.locate({ database: 9 });
        const wire = (await driver.connect?.(9)) ?? assert.fail();
        const key = Uint8Array.of(0x61, 0xff, 0x00);
        await wire.send([["SET", key, Uint8Array.of(0xfe, 0x5c, 0x62)]]);
        await wire.close();
        const { keys } = await read<KeyPage>(page, "/api/keys?database=9");
        assert.deepEqual(
          keys.map(({ key64 }) => key64),
          ["Yf8A"],
        );
        const path = "/api/key?database=9&key64=Yf8A";
        const shown = await read<KeyView>(page, path);
        assert.deepEqual([shown.kind, shown.text], ["bytes", "\\xfe\\\\b"]);
        assert.deepEqual(await read(page, path, { method: "DELETE" }), { deleted: true });
        assert.equal(await read(page, path), null);
      },
    );
  });

  it("answers come again when the store comes back", LIMIT, async () => {
    let redis = await startRedis();
    const { port } = redis;
    const client = createCacheClient({ env: {}, url: redis.url, timeout: 1000 });
    const page = dashboard(client, { token: TOKEN, interval: "200ms", timeout: 1000 });
    try {
      await client.cache({ database: 9 }).set("a", 1);
      assert.equal((await read<KeyPage>(page, "/api/keys?database=9")).keys.length, 1);
      const stream = events(page);
      await sampleOf(stream, ({ store }) => store?.up === true);
      await redis.stop();
      assert.equal((await refused(page, "/api/keys?database=9"))[0], 503);
      const { point } = await sampleOf(stream, ({ store }) => store?.up === false);
      assert.deepEqual([point.latency, point.memory, point.operations], [null, null, null]);
      redis = await startRedis({ port });
      await sampleOf(stream, ({ store }) => store?.up === true);
      await stream.return();
      await eventually(async () => (await ask(page, "/api/keys?database=9")).status === 200);
    } finally {
      await page.close();
      await client.close();
      await redis.stop();
    }
  });
});

describe("dashboard's events", () => {
  stayAlive();

  it("events begin with the past, and continue with the counts of this process", LIMIT, () =>
    using(memoryStore(), { interval: "100ms", name: "memory:", write: true }, async (page, client) => {
      const { products } = client.service("product");
      await products.set(1, { id: 1, name: "Pho" });
      for (const id of [1, 1, 1, 2]) await products.get(id);
      const first = events(page);
      const hello = (await first.next()).value as { event: string; data: Hello };
      assert.equal(hello.event, "hello");
      const { name, driver, databases, writable, interval } = hello.data;
      assert.deepEqual(
        { name, driver, databases, writable, interval },
        { name: "memory:", driver: "memory", databases: "numbered", writable: true, interval: 100 },
      );
      const { view, point } = await sampleOf(first, ({ all, services }) => all.hits > 0 && !!services[1]?.memory);
      assert.equal(view.counted, "instance");
      assert.equal(view.all.hitRate, 0.75);
      assert.deepEqual(
        view.services.map(({ service }) => service),
        ["gateway", "product", "auth", "user", "order", "analytics", "payment", "notification"],
      );
      const product = view.services[1] ?? assert.fail();
      assert.deepEqual([product.keys, product.hits, product.misses, product.writes], [1, 3, 1, 1]);
      assert.ok((product.p95 ?? 0) > 0 && (view.all.p99 ?? 0) >= (view.all.p50 ?? 1));
      assert.deepEqual(point.services, { product: 0.75 });
      assert.equal(point.at, view.at);
      assert.equal(view.breaker, "closed");
      assert.equal(view.store?.up, true);
      // A stream that is opened later begins with the past.
      const later = (await events(page).next()).value as { data: Hello };
      assert.ok(later.data.history.length > 0);
      assert.equal(later.data.view?.counted, "instance");
    }),
  );

  it("events show the counts of all processes when there are some", LIMIT, async () => {
    const redis = await startRedis();
    const app = createCacheClient({ env: {}, url: redis.url, fleetStats: true });
    const client = createCacheClient({ env: {}, url: redis.url });
    const page = dashboard(client, { token: TOKEN, interval: "100ms" });
    try {
      const { profiles } = app.service("user");
      await profiles.set("u1", { id: "u1", name: "An" });
      const stream = events(page);
      await stream.next();
      for (let i = 0; i < 20; i++) await profiles.get(i < 15 ? "u1" : "u2");
      await app.close();
      const { view, point } = await sampleOf(stream, ({ all }) => all.hits >= 15);
      assert.equal(view.counted, "fleet");
      const user = view.services.find(({ service }) => service === "user") ?? assert.fail();
      assert.deepEqual([user.hits, user.misses, user.hitRate], [15, 5, 0.75]);
      assert.deepEqual(point.services, { user: 0.75 });
      const { p50, p95, p99 } = view.all;
      assert.ok(p50 !== null && p95 !== null && p99 !== null && 0 < p50 && p50 <= p95 && p95 <= p99);
      assert.equal(point.p95, p95);
      assert.ok((view.store?.operations ?? 0) >= 0 && (view.store?.memoryUsed ?? 0) > 1000);
    } finally {
      await page.close();
      await client.close();
      await redis.stop();
    }
  });

  it("events hold alerts once, also for a stream that is opened later", LIMIT, () =>
    using(
      memoryStore(),
      { interval: "50ms", rules: [{ name: "many", metric: "keys", above: 2, service: "product" }] },
      async (page, client) => {
        const stream = events(page);
        await client.service("product").products.setMany([1, 2, 3].map((id) => [id, { id, name: "Pho" }]));
        const told: unknown[] = [];
        for await (const { event, data } of stream) {
          if (event === "alert") told.push(data);
          if (event === "sample" && (data as SampleMessage).view.alerts.length > 0) break;
        }
        assert.equal(told.length, 1);
        const hello = (await events(page).next()).value as { data: Hello };
        assert.deepEqual(hello.data.log, told);
        assert.equal(hello.data.log[0]?.message, "keys of product: 3, above 2");
      },
    ),
  );

  it("events keep an idle stream open", LIMIT, async () => {
    const client = createCacheClient({ env: {} });
    const page = dashboard(client, { token: TOKEN, interval: "1h" });
    const { body } = await ask(page, "/api/events");
    const start = performance.now();
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
      if (/^: /m.test(new TextDecoder().decode(chunk))) break;
    }
    // Bun.serve ends an idle stream after 10 s.
    assert.ok(performance.now() - start < 9000);
    await page.close();
    await client.close();
  });

  it("events end when the dashboard is closed, and no stream is opened afterwards", LIMIT, async () => {
    const client = createCacheClient({ env: {} });
    const page = dashboard(client, { token: TOKEN });
    const stream = events(page);
    await stream.next();
    await page.close();
    await page.close();
    for await (const _ of stream);
    assert.deepEqual(await refused(page, "/api/events"), [503, "Cannot open a stream: the dashboard was closed"]);
    await client.close();
  });
});
