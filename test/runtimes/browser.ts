/** Uses the page of `larder dashboard` in Chromium, over real servers. For Node: `npm test browser`. */
import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";
import type { Browser, Locator, Page } from "playwright-core";
import { createCacheClient } from "../../mod.ts";
import { inTab, startBrowser, type Tab, type TabOptions } from "../helpers/browser.ts";
import { type Dashboard, startDashboard, use } from "../helpers/dashboard.ts";
import {
  assertFits,
  assertInert,
  chart,
  details,
  dialog,
  fact,
  focused,
  found,
  isDark,
  keyButton,
  lineColour,
  message,
  painted,
  rows,
  says,
  search,
  status,
  text,
  tile,
  value,
} from "../helpers/dashboard_page.ts";
import { eventually } from "../helpers/eventually.ts";
import { startLarder } from "../helpers/larder.ts";
import { type ClusterNode, startCluster } from "../helpers/redis_cluster.ts";
import { freePort, type RawClient, type RedisServer, rawClient, startRedis } from "../helpers/redis_server.ts";
import { installed, listening, type Running, start } from "../helpers/run.ts";
import { serve } from "../helpers/serve.ts";

const LIMIT = { timeout: 180_000 };
/** The database of the product service, and one without a service. */
const PRODUCT = 1;
const UNNAMED = 12;
const DISHES = 1000;
const TOKEN = "a-token-of-the-test";
const HOST_NAME = "cache-0001-001.cache-name.a1b2c3.apse1.cache.example.com:6379";
const PHONE = { width: 360, height: 740 };

/** Texts that would run or load something if they became HTML or a link. */
const HOSTILE = [
  '<img src=x onerror="window.hit=1">',
  "<script>window.hit=1</script>",
  '"><svg onload="window.hit=1">',
  "javascript:window.hit=1",
  "</td></tr></table><iframe srcdoc='<script>parent.hit=1</script>'>",
  "' onmouseover='window.hit=1' autofocus onfocus='window.hit=1",
  "{{constructor.constructor('window.hit=1')()}}",
];

let browser: Browser;
before(async () => {
  browser = await startBrowser();
});
after(() => browser.close());

/** Runs a part of a test with the page of a dashboard open. */
function visit(
  { url, origin }: Pick<Dashboard, "url" | "origin">,
  hash: string,
  body: (page: Page, tab: Tab) => Promise<void>,
  options: Omit<TabOptions, "origin"> = {},
): Promise<void> {
  return inTab(browser, { ...options, origin }, async (tab) => {
    await tab.page.goto(url);
    if (hash !== "") await tab.page.goto(`${origin}/${hash}`);
    await says(status(tab.page), /^Live$/);
    await body(tab.page, tab);
  });
}

describe("the page of larder dashboard", { concurrency: true }, () => {
  describe("with a store that answers", { concurrency: false }, () => {
    let redis: RedisServer;
    let raw: RawClient;
    /** A dashboard that may delete keys, and a read-only one. */
    let page: Dashboard;
    let reader: Dashboard;

    before(async () => {
      redis = await startRedis({ args: ["--maxmemory", "512mb", "--slowlog-log-slower-than", "20000"] });
      raw = await rawClient(redis.port);
      await raw.command("SELECT", PRODUCT);
      const dish = (id: number) => JSON.stringify({ id, name: `Dish ${id}`, price: 1000 * id });
      await raw.pipeline(Array.from({ length: DISHES }, (_, id) => ["SET", `dish:${id}`, dish(id), "EX", 3600]));
      [page, reader] = await Promise.all([startDashboard(redis.url, "--write"), startDashboard(redis.url)]);
    });
    after(async () => {
      raw.close();
      const ended = await Promise.all([page.stop(), reader.stop()]);
      await redis.stop();
      for (const { code, stdout, stderr } of ended) {
        assert.equal(code, 0, stderr);
        assert.match(stdout, /^http:\/\/127\.0\.0\.1:\d+\/\?token=\S+\n$/);
        assert.doesNotMatch(stderr, /error/i);
      }
    });
    const exists = async (key: string): Promise<boolean> => (await raw.command("EXISTS", key)) === 1;

    it("page opens by the printed URL, and keeps the token out of the address bar", LIMIT, async () => {
      await inTab(browser, { origin: page.origin }, async ({ page: tab }) => {
        const response = await tab.goto(page.url);
        assert.equal(response?.status(), 200);
        await says(status(tab), /^Live$/);
        assert.equal(tab.url(), `${page.origin}/`);
        assert.ok(!(await tab.content()).includes(page.token));
        const [cookie] = await tab.context().cookies();
        assert.equal(cookie?.httpOnly, true);
        assert.notEqual(cookie?.sameSite, "None");
        assert.equal((await tab.reload())?.status(), 200);
        await says(status(tab), /^Live$/);
        await assertInert(tab);
      });
    });

    it("dashboard prints its URL as JSON with --json", LIMIT, async () => {
      const command = startLarder(["dashboard", "--json", "--port", "0", "--url", redis.url]);
      const [line] = await command.said(/^\{.*\}$/m);
      const { url } = JSON.parse(line) as { url: string };
      assert.equal((await fetch(url, { redirect: "manual" })).status, 303);
      command.signal("SIGINT");
      assert.equal((await command.ended).code, 0);
    });

    it("page shows changes in tiles and charts as they happen", LIMIT, async () => {
      await visit(page, "", async (tab) => {
        await tab.getByRole("button", { name: "5 min", exact: true }).click();
        await use(redis.url, 90, 10);
        await says(tile(tab, "hit-rate"), /^90\.0 %$/);
        await use(redis.url, 0, 100);
        await says(tile(tab, "hit-rate"), /^45\.0 %$/);
        await says(tab.locator("#services tr", { hasText: "product" }), /45\.0 %/);
        assert.match(await text(tile(tab, "latency")), /^[\d.]+ (ms|s)$/);
        assert.match(await text(tile(tab, "memory")), /^[\d.]+ MiB$/);
        assert.equal(await text(tile(tab, "breaker")), "closed");

        const keys = Number((await text(tile(tab, "keys"))).replace(",", ""));
        assert.ok(keys >= DISHES);
        await raw.pipeline(Array.from({ length: 50 }, (_, id) => ["SET", `more:${id}`, "x"]));
        await says(tile(tab, "keys"), new RegExp(`^${(keys + 50).toLocaleString("en")}$`));
        await raw.pipeline(Array.from({ length: 50 }, (_, id) => ["DEL", `more:${id}`]));

        // Many commands in one second, then few.
        const operations = async () => Number((await text(tile(tab, "operations"))).replace(/,| \/s/g, ""));
        await raw.pipeline(Array.from({ length: 20_000 }, () => ["PING"]));
        await eventually(async () => (await operations()) > 2000);
        await eventually(async () => (await operations()) < 1000);

        for (const name of ["latency", "operations", "memory"]) {
          await eventually(async () => (await painted(tab, name, 0)) > 10);
        }
        await eventually(async () => (await painted(tab, "hit-rate", 1)) > 10);
        assert.match(await text(chart(tab, "hit-rate").locator(".legend")), /all[\s\S]*product/);
        // The values under the cursor are shown.
        await chart(tab, "operations").locator(".u-over").hover();
        await says(chart(tab, "operations").locator(".time"), /^\d\d:\d\d:\d\d$/);
      });
    });

    it("search finds keys by text and by pattern, and continues on request", LIMIT, async () => {
      await visit(page, "#keys?service=product", async (tab) => {
        assert.match(await search(tab, "sh:29"), /^11 keys/);
        assert.equal(await rows(tab).count(), 11);
        for (const text of await rows(tab).allTextContents()) assert.match(text, /^dish:29/);
        assert.match(await search(tab, "dish:1?"), /^10 keys/);
        assert.match(await search(tab, "no such key"), /^No key matches/);
        assert.equal(await rows(tab).count(), 0);
        await search(tab, "dish");
        const first = await rows(tab).count();
        assert.ok(first >= 100 && first < DISHES, `${first}`);
        await tab.locator("#more").click();
        await eventually(
          async () => (await rows(tab).count()) >= first + 100 || !(await tab.locator("#more").isVisible()),
        );
        // A link and a reload show the same.
        await tab.goto(`${page.origin}/#keys?service=product&match=dish%3A7&key=dish%3A7`);
        await tab.reload();
        await says(value(tab), /"name": "Dish 7"/);
        assert.equal(await tab.locator("#search").inputValue(), "dish:7");
      });
    });

    it("page shows the current value of a key and its time to live", LIMIT, async () => {
      const menu = { name: "Phở bò", price: 65_000, tags: ["soup", null, true], origin: { city: "Hà Nội" } };
      await raw.command("SET", "live", JSON.stringify(menu), "EX", 100);
      await visit(page, "#keys?service=product&match=live", async (tab) => {
        await keyButton(tab, "live").click();
        assert.equal(await says(value(tab), /Phở/), JSON.stringify(menu, null, 2));
        assert.equal(await text(fact(tab, "Type")), "string");
        const seconds = async (element: Locator): Promise<number> => {
          const [, minutes = 0, rest = 0] = /^(?:(\d+)m ?)?(?:(\d+)s)?$/.exec(await text(element)) ?? [];
          return Number(minutes) * 60 + Number(rest);
        };
        for (const element of [fact(tab, "TTL"), rows(tab).locator("td.ttl")]) {
          const before = await seconds(element);
          assert.ok(before > 0 && before <= 100, `${before}`);
          await eventually(async () => (await seconds(element)) < before);
        }
        await raw.command("SET", "live", '{"name":"Bún chả"}');
        await says(value(tab), /Bún chả/);
        assert.doesNotMatch(await text(value(tab)), /Phở/);
        await says(details(tab), /Changed at \d\d:/);
        await says(fact(tab, "TTL"), /^no TTL$/);
        await raw.command("SET", "live", "[1,2]", "PX", 4000);
        await says(fact(tab, "TTL"), /^[0-3]s$/);
        await says(details(tab), /Gone/);
        assert.equal(await tab.locator("#delete").isEnabled(), false);
      });
      await using client = createCacheClient({ env: {}, url: redis.url });
      const soup = { id: "soup", name: "Cao lầu", price: 65_000 };
      await client.service("product").products.set("soup", soup, { ttl: "1h", staleFor: "1h" });
      await visit(page, "#keys?service=product&match=soup", async (tab) => {
        await keyButton(tab, "product:soup").click();
        assert.equal(await says(value(tab), /Cao/), JSON.stringify(soup, null, 2));
        await says(fact(tab, "Written"), /ago|now/);
        await says(fact(tab, "Fresh"), /^for (1h|59m)/);
        await says(fact(tab, "TTL"), /^(2h|1h 59m)/);
      });
    });

    it("page deletes a key after a confirmation", LIMIT, async () => {
      await raw.command("SET", "doomed", "1");
      await visit(page, "#keys?service=product&match=doomed", async (tab) => {
        await keyButton(tab, "doomed").click();
        const asked = async (): Promise<void> => {
          await tab.locator("#delete").click();
          await says(dialog(tab), /doomed[\s\S]*product/);
          assert.equal(await focused(tab), "confirm-no");
        };
        await asked();
        await tab.locator("#confirm-no").click();
        await dialog(tab).waitFor({ state: "hidden" });
        await asked();
        await tab.keyboard.press("Escape");
        await dialog(tab).waitFor({ state: "hidden" });
        assert.equal(await details(tab).isVisible(), true);
        // Enter cancels.
        await asked();
        await tab.keyboard.press("Enter");
        await dialog(tab).waitFor({ state: "hidden" });
        assert.equal(await exists("doomed"), true);
        await asked();
        await tab.locator("#confirm-yes").click();
        await says(message(tab), /^Deleted doomed of product$/);
        assert.equal(await exists("doomed"), false);
        assert.equal(await rows(tab).count(), 0);
        assert.equal(await details(tab).isVisible(), false);
      });
    });

    it("page is read-only without --write", LIMIT, async () => {
      await visit(reader, "#keys?service=product&match=dish%3A1", async (tab, { allow }) => {
        await keyButton(tab, "dish:1").click();
        await says(value(tab), /Dish 1/);
        await says(tab.locator("#read-only"), /read-only/);
        assert.equal(await tab.locator("#delete").isVisible(), false);
        allow(/status of 403/);
        const refused = await tab.evaluate(async () => {
          const response = await fetch("./api/key?service=product&key=dish%3A1", { method: "DELETE" });
          return [response.status, await response.text()] as const;
        });
        assert.equal(refused[0], 403);
        assert.match(refused[1], /--write/);
        assert.equal(await exists("dish:1"), true);
      });
    });

    it("dashboard refuses requests without its token", LIMIT, async () => {
      const api = ["events", "keys?service=product", "key?service=product&key=dish%3A1", "slow", "doctor"];
      const paths = ["", "index.html", "app.js", "app.css", "nothing", ...api.map((name) => `api/${name}`)];
      const name = await cookieOf(page);
      const credentials: Record<string, string>[] = [
        {},
        { authorization: "Bearer wrong" },
        { authorization: `Basic ${btoa(`:${page.token}`)}` },
        { cookie: `${name}=wrong` },
        { cookie: `${name}=` },
        { cookie: `other=${page.token}` },
      ];
      for (const path of paths) {
        for (const headers of credentials) {
          for (const method of ["GET", "HEAD", "POST", "DELETE", "OPTIONS"]) {
            const response = await fetch(`${page.origin}/${path}`, { method, headers, redirect: "manual" });
            assert.equal(response.status, 401, `${method} /${path} ${JSON.stringify(headers)}`);
            assert.equal(response.headers.get("set-cookie"), null);
            assert.ok((await response.text()).length < 150);
          }
        }
      }
      // A wrong token in the URL is refused, with or without the right cookie.
      for (const headers of [{}, { cookie: `${name}=${page.token}` }] as Record<string, string>[]) {
        for (const query of ["?token=", "?token=wrong", `?token=${page.token}x`, `?token=wrong&token=${page.token}`]) {
          assert.equal((await fetch(`${page.origin}/${query}`, { headers, redirect: "manual" })).status, 401, query);
        }
      }
      await inTab(browser, { origin: page.origin }, async ({ page: tab, allow }) => {
        allow(/status of 401/);
        for (const query of ["", "?token=wrong"]) {
          const response = await tab.goto(`${page.origin}/${query}`);
          assert.equal(response?.status(), 401);
          assert.match(await text(tab.locator("body")), /open the URL that larder dashboard printed/);
          assert.doesNotMatch(await tab.content(), /dish|app\.js/);
        }
      });
    });

    it("dashboard refuses pages of other servers, even if the browser is signed in", LIMIT, async () => {
      const other = await serve(
        () => new Response("<!doctype html><title>other</title>", { headers: { "content-type": "text/html" } }),
      );
      try {
        await visit(page, "", async (tab, { allow }) => {
          allow(/./);
          await tab.goto(other.url);
          const answers = await tab.evaluate(async (origin) => {
            const key = `${origin}/api/key?service=product&key=dish%3A2`;
            const tries = [
              fetch(key, { method: "DELETE", credentials: "include" }),
              fetch(key, { method: "DELETE", credentials: "include", mode: "no-cors" }),
              fetch(key, { credentials: "include" }),
              fetch(key, { credentials: "include", mode: "no-cors" }),
            ];
            const seen = await Promise.all(tries.map((one) => one.then((response) => response.text()).catch(() => "")));
            const frame = document.createElement("iframe");
            frame.src = `${origin}/`;
            const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
            document.body.append(frame);
            await loaded;
            // A frame of the dashboard must be refused, so its title must not be readable.
            return [...seen, String(frame.contentDocument?.title ?? "")];
          }, page.origin);
          assert.deepEqual(answers, ["", "", "", "", ""]);
        });
        assert.equal(await exists("dish:2"), true);
      } finally {
        await other.close();
      }
    });

    it("page shows hostile keys and values as text", LIMIT, async () => {
      await raw.command("SELECT", UNNAMED);
      const long = `long-${"<b>x</b>".repeat(10)}${"y".repeat(9900)}`;
      const hidden = {
        "bidi \u202egpj.exe": "bidi \\u202egpj.exe",
        "line\nbreak\r\ttab": "line\\nbreak\\r\\ttab",
        "nul\0byte\u200b": "nul\\u0000byte\\u200b",
      };
      const plain = [...HOSTILE, ...Object.keys(hidden), long];
      await raw.pipeline(plain.map((key) => ["SET", key, JSON.stringify({ [key]: key })]));
      await raw.pipeline([
        ["HSET", "hash", ...HOSTILE.flatMap((text) => [text, text])],
        ["SADD", "set", ...HOSTILE],
        ["RPUSH", "list", ...HOSTILE, "\u202eabc\0"],
        ["ZADD", "zset", ...HOSTILE.flatMap((text, score) => [score, text])],
        ["XADD", "stream", "*", ...HOSTILE.flatMap((text) => [text, text])],
        ["SET", "text", HOSTILE.join("\n")],
        ["EVAL", "return redis.call('SET', 'bytes\\255\\254<img src=x>', '\\255<img src=x onerror=\"hit=1\">\\0')", 0],
      ]);
      const all = plain.length + 7;
      // This is slow, so the slow log holds it.
      const busy = "local x = 0; for i = 1, 2e7 do x = x + 1 end";
      await raw.command("EVAL", busy, 0, HOSTILE[0] as string);
      await raw.command("SELECT", PRODUCT);
      await using client = createCacheClient({ env: {}, url: redis.url });
      await client.service("product").products.set("tagged", { id: "tagged", name: "x" }, { tags: HOSTILE });

      await visit(
        page,
        `#keys?database=${UNNAMED}`,
        async (tab, { allow }) => {
          await eventually(async () => (await rows(tab).count()) === all);
          await assertInert(tab);
          await assertFits(tab, "keys");
          const shown = (await rows(tab).locator("button.key").allTextContents()).map((text) =>
            text.replaceAll("\u200b", ""),
          );
          for (const key of HOSTILE) assert.ok(shown.includes(key), `${key} in ${shown.join("\n")}`);
          for (const key of Object.values(hidden)) assert.ok(shown.includes(key), `${key} in ${shown.join("\n")}`);
          const heights = await rows(tab).evaluateAll((list) => list.map((row) => row.getBoundingClientRect().height));
          assert.ok(Math.max(...heights) < 2 * Math.min(...heights), `${heights}`);

          for (let at = 0; at < all; at++) {
            const button = rows(tab).nth(at).locator("button.key");
            await button.click();
            await tab.waitForFunction(() => document.querySelector("#details pre")?.textContent !== "");
            await assertInert(tab);
            await assertFits(tab, "keys");
            assert.doesNotMatch(await text(value(tab)), /[\0\u202e\u200b]/);
          }
          for (const type of ["hash", "set", "list", "zset", "stream", "text"]) {
            await keyButton(tab, type).click();
            for (const text of HOSTILE.slice(0, 3)) {
              const expected = type === "text" ? text : JSON.stringify(text).slice(1, -1);
              await value(tab).filter({ hasText: expected }).waitFor();
            }
          }
          // A key of bytes is requested in base64, and is deleted like others.
          await rows(tab)
            .filter({ hasText: "bytes" })
            .filter({ hasText: "<img src=x>" })
            .locator("button.key")
            .last()
            .click();
          await says(tab.locator("#details h2"), /^bytes/);
          await tab.locator("#delete").click();
          await says(dialog(tab), /<img src=x>/);
          await assertInert(tab);
          await tab.locator("#confirm-yes").click();
          await says(message(tab), /^Deleted bytes/);
          await assertInert(tab);
          await eventually(async () => (await rows(tab).count()) === all - 1);

          await tab.goto(`${page.origin}/#keys?service=product&match=product%3Atagged&key=product%3Atagged`);
          const tags = await says(fact(tab, "Tags"), /img/);
          assert.match(tags, /svg/);
          await assertInert(tab);
          await search(tab, HOSTILE[0] as string);
          await assertInert(tab);
          await tab.goto(`${page.origin}/#overview`);
          await says(tab.locator("#slow"), /EVAL/);
          await tab
            .locator("#slow td", { hasText: HOSTILE[0] as string })
            .first()
            .waitFor();
          await assertInert(tab);
          // The check-up names a key without a TTL.
          await tab.locator("#doctor").getByRole("button").click();
          await says(tab.locator("#doctor li"), /no TTL, such as/);
          await assertInert(tab);
          // The parameters of a link are not trusted either.
          allow(/status of 400/);
          const query = new URLSearchParams({
            service: HOSTILE[0] as string,
            match: HOSTILE[1] as string,
            key: HOSTILE[2] as string,
          });
          await tab.goto(`${page.origin}/#keys?${query}`);
          await says(found(tab), /Cannot search/);
          await assertInert(tab);
        },
        { viewport: { width: 1280, height: 800 } },
      );
      await visit(
        page,
        `#keys?database=${UNNAMED}`,
        async (tab) => {
          await eventually(async () => (await rows(tab).count()) === all - 1);
          await assertFits(tab, "a phone");
        },
        { viewport: PHONE },
      );
    });

    it("page can be used by the keyboard alone", LIMIT, async () => {
      await raw.command("SET", "typed:1", '"one"');
      await raw.command("SET", "typed:2", '"two"');
      await visit(page, "", async (tab) => {
        const { keyboard } = tab;
        await keyboard.press("/");
        await eventually(async () => (await focused(tab)) === "search");
        await keyboard.type("typed:");
        // The first service with keys is chosen automatically.
        assert.match(await text(tab.locator("select option:checked")), /^product/);
        await eventually(async () => (await rows(tab).count()) === 2);
        await tab.locator("#search").focus();
        await keyboard.press("ArrowDown");
        const first = await focused(tab);
        await keyboard.press("ArrowDown");
        const second = await focused(tab);
        assert.deepEqual([first, second].sort(), ["typed:1", "typed:2"]);
        await keyboard.press("k");
        assert.equal(await focused(tab), first);
        await keyboard.press("j");
        await keyboard.press("Enter");
        await says(tab.locator("#details h2"), new RegExp(second));
        await keyboard.press("Escape");
        await details(tab).waitFor({ state: "hidden" });
        assert.equal(await focused(tab), second);
        await keyboard.press("Enter");
        await details(tab).waitFor();
        for (let i = 0; i < 20 && (await focused(tab)) !== "delete"; i++) await keyboard.press("Tab");
        assert.equal(await focused(tab), "delete");
        await keyboard.press("Enter");
        await dialog(tab).waitFor();
        assert.equal(await focused(tab), "confirm-no");
        await keyboard.press("Tab");
        assert.equal(await focused(tab), "confirm-yes");
        await keyboard.press("Enter");
        await says(message(tab), new RegExp(`^Deleted ${second}`));
        assert.equal(await exists(second), false);
        // The next row has the focus.
        assert.equal(await focused(tab), first);
        await keyboard.press("?");
        await tab.locator("#help").waitFor();
        await keyboard.press("Escape");
        await tab.locator("#help").waitFor({ state: "hidden" });
      });
      await visit(page, "#overview", async (tab) => {
        const seen: string[] = [];
        for (let i = 0; i < 60; i++) {
          await tab.keyboard.press("Tab");
          const { name, visible, outlined } = await tab.evaluate(() => {
            const element = document.activeElement as HTMLElement;
            const { width, height } = element.getBoundingClientRect();
            const { outlineStyle, boxShadow } = getComputedStyle(element);
            const name =
              element.id ||
              element.getAttribute("aria-label") ||
              (element === document.body ? "BODY" : element.textContent) ||
              element.tagName;
            return {
              name,
              visible: width > 0 && height > 0,
              outlined: outlineStyle !== "none" || boxShadow !== "none",
            };
          });
          if (name === "BODY") break;
          assert.ok(visible && outlined, `${name} shows that it has the focus`);
          seen.push(name.split(/[\n:]/)[0] as string);
        }
        const order = ["Overview", "Keys", "theme", "5 min", "product", "Run check-up"];
        const places = order.map((name) => seen.indexOf(name));
        assert.ok(!places.includes(-1), `${order} in ${seen}`);
        assert.deepEqual(
          places,
          [...places].sort((a, b) => a - b),
          seen.join(", "),
        );
      });
    });

    it("page is light or dark as the system or the theme button says", LIMIT, async () => {
      await visit(
        page,
        "",
        async (tab) => {
          assert.equal(await isDark(tab), false);
          await eventually(async () => (await painted(tab, "memory", 0)) > 10);
          const light = await lineColour(tab, "memory");
          await tab.emulateMedia({ colorScheme: "dark" });
          assert.equal(await isDark(tab), true);
          assert.notEqual(await lineColour(tab, "memory"), light);
          await eventually(async () => (await painted(tab, "memory", 0)) > 10);
          await tab.locator("#theme").click();
          assert.equal(await isDark(tab), false);
          assert.equal(await lineColour(tab, "memory"), light);
          await eventually(async () => (await painted(tab, "memory", 0)) > 10);
          await tab.reload();
          await says(status(tab), /^Live$/);
          assert.equal(await isDark(tab), false);
          await tab.locator("#theme").click();
          assert.equal(await isDark(tab), true);
        },
        { colorScheme: "light" },
      );
    });

    it("page fits a phone", LIMIT, async () => {
      await visit(
        page,
        "",
        async (tab) => {
          await chart(tab, "memory").locator("canvas").waitFor();
          await assertFits(tab, "overview");
          await tab.goto(`${page.origin}/#keys?service=product&match=dish`);
          await rows(tab).first().waitFor();
          await assertFits(tab, "keys");
          await rows(tab).first().locator("button.key").tap();
          await says(value(tab), /Dish/);
          await assertFits(tab, "details");
          await tab.getByRole("button", { name: "Back to the list" }).tap();
          await details(tab).waitFor({ state: "hidden" });
          const small = await tab.evaluate(() =>
            [...document.querySelectorAll("button, a, select, input")]
              .map((element) => [element.getBoundingClientRect(), element] as const)
              .filter(([{ width, height }]) => width > 0 && height > 0 && (height < 40 || width < 24))
              .map(([{ width, height }, element]) => `${element.outerHTML.slice(0, 80)} ${width}x${height}`),
          );
          assert.deepEqual(small, []);
        },
        { viewport: PHONE, hasTouch: true },
      );
    });

    it("page shows the same in two tabs", LIMIT, async () => {
      await raw.command("SET", "shared", '"value"');
      await visit(page, "#keys?service=product&match=shared&key=shared", async (one, { another }) => {
        const two = await another();
        await two.goto(`${page.origin}/#keys?service=product&match=shared&key=shared`);
        await says(status(two), /^Live$/);
        await Promise.all([says(value(one), /value/), says(value(two), /value/)]);
        await one.locator("#delete").click();
        await one.locator("#confirm-yes").click();
        await says(message(one), /^Deleted shared/);
        await says(details(two), /Gone/);
      });
    });

    it("page keeps no connection in a hidden tab, so that any number of tabs can be open", LIMIT, async () => {
      await visit(page, "", async (seen, { another }) => {
        const hidden: Page[] = [];
        for (let i = 0; i < 7; i++) {
          const tab = await another();
          await tab.addInitScript('Object.defineProperty(document, "hidden", { configurable: true, value: true })');
          await tab.goto(`${page.origin}/`);
          await says(status(tab), /^Connecting$/);
          hidden.push(tab);
        }
        const last = await another();
        await last.goto(`${page.origin}/#keys?service=product`);
        await says(status(last), /^Live$/);
        await says(last.locator("#results"), /dish:/);
        await says(status(seen), /^Live$/);
        const [shown = assert.fail()] = hidden;
        await shown.evaluate(
          'Object.defineProperty(document, "hidden", { value: false });' +
            'document.dispatchEvent(new Event("visibilitychange"))',
        );
        await says(status(shown), /^Live$/);
      });
    });

    it("page says when its server is away, and continues when it comes back", LIMIT, async () => {
      const port = await freePort();
      const fixed = ["--port", `${port}`, "--page-token"];
      let own = await startDashboard(redis.url, ...fixed, TOKEN);
      assert.equal(own.origin, `http://127.0.0.1:${port}`);
      try {
        await visit(own, "", async (tab, { allow }) => {
          allow(/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/);
          // Requests while the server ends fail because the store is closed; the last server has another token.
          allow(/status of (401|503)/);
          await own.stop();
          await says(status(tab), /lost, retrying/);
          own = await startDashboard(redis.url, ...fixed, TOKEN);
          await says(status(tab), /^Live$/);
          await own.stop();
          await says(status(tab), /lost, retrying/);
          own = await startDashboard(redis.url, ...fixed, `${TOKEN}-new`);
          await says(status(tab), /open the URL that larder dashboard printed/);
        });
      } finally {
        assert.equal((await own.stop()).code, 0);
      }
    });

    for (const [runtime, command] of [
      ["Bun", ["bun", "src/cli/main.ts"]],
      [
        "Deno",
        [
          "deno",
          "run",
          "--quiet",
          "--no-check",
          "--no-prompt",
          "--allow-net",
          "--allow-env",
          "--allow-read",
          "src/cli/main.ts",
        ],
      ],
    ] as const) {
      it(`page is served by ${runtime}`, LIMIT, async () => {
        const [name, ...args] = command;
        const port = await freePort();
        const origin = `http://127.0.0.1:${port}`;
        const flags = ["--interval", "1", "--port", `${port}`, "--page-token", TOKEN, "--write", "--url", redis.url];
        const server: Running = start(installed(name), [...args, "dashboard", ...flags]);
        try {
          await listening(port, server);
          await raw.command("SET", "doomed", "1");
          await visit({ url: `${origin}/?token=${TOKEN}`, origin }, "", async (tab) => {
            await eventually(async () => (await painted(tab, "memory", 0)) > 0);
            await tab.goto(`${origin}/#keys?service=product&match=doomed&key=doomed`);
            await says(value(tab), /1/);
            await tab.locator("#delete").click();
            await tab.locator("#confirm-yes").click();
            await says(message(tab), /^Deleted doomed/);
          });
        } finally {
          await server.stop();
        }
      });
    }
  });

  describe("with a store that goes away", () => {
    it("page says so, and shows the alert until it is resolved", LIMIT, async () => {
      let redis = await startRedis();
      const own = await startDashboard(redis.url);
      try {
        await visit(own, "", async (tab, { allow }) => {
          allow(/status of 503/);
          const { port } = redis;
          await redis.stop();
          await says(status(tab), /The store does not answer/);
          await says(tab.locator("#alerts .firing"), /connection failures/);
          await says(tab.locator("#firing"), /^1 alert$/);
          await tab.goto(`${own.origin}/#keys?service=product`);
          await says(found(tab), /Cannot search/);
          redis = await startRedis({ port });
          await says(status(tab), /^Live$/);
          await tab.locator("#more").click();
          await says(found(tab), /No keys/);
          await tab.goto(`${own.origin}/#overview`);
          // The window of the rule is a minute.
          await tab.locator("#alerts .firing li").waitFor({ state: "detached", timeout: 120_000 });
          await says(tab.locator("#alerts .log"), /resolved[\s\S]*connection failures/);
        });
      } finally {
        assert.equal((await own.stop()).code, 0);
        await redis.stop();
      }
    });
  });
});

/** Returns the name of the cookie that holds the token. */
async function cookieOf({ url }: Dashboard): Promise<string> {
  const response = await fetch(url, { redirect: "manual" });
  return /^[^=]+/.exec(response.headers.get("set-cookie") ?? "")?.[0] ?? "";
}

describe("the page over 1,000,000 keys", () => {
  it("page opens in a second, finds a key, and accepts letters during the search", LIMIT, async (t: TestContext) => {
    const redis = await startRedis({ args: ["--enable-debug-command", "yes"] });
    const raw = await rawClient(redis.port);
    await raw.pipeline([
      ["SELECT", PRODUCT],
      ["DEBUG", "POPULATE", 1_000_000, "product", 20],
    ]);
    raw.close();
    const own = await startDashboard(redis.url, "--write");
    const told = (what: string, numbers: readonly number[]) =>
      t.diagnostic(`${what}: ${numbers.map(Math.round).join(", ")} ms`);
    try {
      const paints: number[] = [];
      const lists: number[] = [];
      for (let load = 0; load < 3; load++) {
        await visit(own, "", async (tab) => {
          await says(tile(tab, "keys"), /^1,000,000$/);
          // The browser reports the first paint a little later.
          const entry = () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
          paints.push(Number(await (await tab.waitForFunction(entry)).jsonValue()));
          const took = await tab.evaluate(async () => {
            const start = performance.now();
            location.hash = "#keys?service=product";
            while (document.querySelectorAll("#results tbody tr").length < 100) {
              await new Promise(requestAnimationFrame);
            }
            return performance.now() - start;
          });
          lists.push(took);
        });
      }
      told("first contentful paint", paints);
      told("first 100 keys", lists);
      assert.ok(Math.min(...paints) > 0 && Math.min(...paints) < 1000, `${paints}`);
      assert.ok(Math.min(...lists) < 2000, `${lists}`);

      await visit(own, "#keys?service=product", async (tab) => {
        await rows(tab).nth(99).waitFor();
        // The time from a keystroke to the frame that shows it, while searches run.
        await tab.evaluate(() => {
          const waits: number[] = [];
          Object.assign(window, { waits });
          document.querySelector("#search")?.addEventListener("input", ({ timeStamp }) => {
            requestAnimationFrame(() => setTimeout(() => waits.push(performance.now() - timeStamp)));
          });
        });
        const start = performance.now();
        await tab.locator("#search").pressSequentially("t:77777", { delay: 150 });
        await says(found(tab), /^11 keys · /);
        const searched = performance.now() - start;
        assert.equal(await rows(tab).count(), 11);
        assert.match(await search(tab, "product:777777"), /^1 key/);
        await says(rows(tab), /product:777777/);
        const waits = await tab.evaluate(() => (window as unknown as { waits: number[] }).waits);
        told("typed letters shown after", waits);
        told("a search of all keys, from the first of 7 letters on", [searched]);
        waits.sort((a, b) => a - b);
        assert.ok((waits[Math.floor(waits.length / 2)] as number) < 100, `${waits}`);
        assert.ok((waits.at(-1) as number) < 1000, `${waits}`);
        // The number of rows is limited.
        await search(tab, "");
        for (let i = 0; i < 9; i++) {
          const before = await rows(tab).count();
          await tab.locator("#more").click();
          await eventually(async () => (await rows(tab).count()) > before);
        }
        await eventually(async () => !(await tab.locator("#more").isVisible()));
        await says(found(tab), /refine the search/);
        assert.ok((await rows(tab).count()) < 1200);
      });
    } finally {
      assert.equal((await own.stop()).code, 0);
      await redis.stop();
    }
  });
});

describe("the page over a cluster", () => {
  it("page shows the nodes of a cluster, one that is away, and the node of a slow command", LIMIT, async () => {
    const servers = await startCluster({ masters: 3, args: ["--slowlog-log-slower-than", "20000"] });
    const own = await startDashboard(`redis+cluster://${servers.addresses.join()}`, "--timeout", "1s");
    try {
      const [first, second, third] = servers.nodes as [ClusterNode, ClusterNode, ClusterNode];
      await first.say("CONFIG", "SET", "maxmemory", "1mb");
      await second.say("EVAL", "local n = 0 for i = 1, 1e7 do n = n + i end return n", 0);
      const row = (tab: Page, { address }: ClusterNode) => tab.locator("#nodes tbody tr", { hasText: address });
      for (const shown of [
        { colorScheme: "light", viewport: { width: 1280, height: 900 } },
        { colorScheme: "dark", viewport: { width: 1280, height: 900 } },
        { colorScheme: "dark", viewport: PHONE, hasTouch: true },
      ] as const) {
        await visit(
          own,
          "",
          async (tab) => {
            await says(tab.locator("#nodes header"), /3 masters answer/);
            assert.equal(await tab.locator("#nodes tbody tr").count(), 3);
            await says(row(tab, first).locator("td.bad"), /^\d+ %$/);
            await says(row(tab, third).locator("td").last(), /^[\d.]+ (ms|s)$/);
            await says(tab.locator("#slow .on"), new RegExp(`^on ${second.address}$`));
            assert.equal(await isDark(tab), shown.colorScheme === "dark");
            await assertFits(tab, "nodes");
            assert.deepEqual(await cutOff(tab), []);
            await assertInert(tab);
            await row(tab, third)
              .locator("th")
              .evaluate((head, name) => head.append(name), HOST_NAME);
            assert.deepEqual(await cutOff(tab), []);
          },
          shown,
        );
      }
      await visit(own, "", async (tab) => {
        third.pause();
        await says(tab.locator("#nodes header"), /1 of 3 masters are away/);
        await says(row(tab, third).locator("td.bad"), /^away$/);
        third.resume();
        await says(tab.locator("#nodes header"), /3 masters answer/);
      });
    } finally {
      assert.equal((await own.stop()).code, 0);
      await servers.stop();
    }
  });
});

/** Returns the texts of the tables of nodes and slow commands that are wider than their cells. */
function cutOff(page: Page): Promise<string[]> {
  return page.evaluate(() =>
    [...document.querySelectorAll("#nodes :is(th, td), #slow td")]
      .filter((cell) => cell.scrollWidth > cell.clientWidth + 1 || cell.getBoundingClientRect().right > innerWidth)
      .map(({ textContent }) => textContent ?? ""),
  );
}
