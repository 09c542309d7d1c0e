import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Driver } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { nodeRedis } from "../drivers/node_redis.ts";
import { type Bridge, type BridgeOptions, bridge } from "../src/bridge/bridge.ts";
import type { Listener } from "../src/runtime/listen.ts";
import { eventually } from "./helpers/eventually.ts";
import { startProxy } from "./helpers/proxy.ts";
import { type RedisServer, rawCommand, startRedis } from "./helpers/redis_server.ts";
import { serve } from "./helpers/serve.ts";

const TOKEN = "full-token";
const READS = "reading-token";

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

/** Returns the number of connections of the server that subscribe or monitor. */
async function listeners(): Promise<number> {
  const list = String(await rawCommand(redis.port, ["CLIENT", "LIST"]));
  return list.split("\n").filter((line) => /cmd=(p?subscribe|monitor)/.test(line)).length;
}

/** A stream as its client sees it. */
class Stream {
  readonly response: Response;
  text = "";
  ended: "no" | "closed" | "broken" = "no";
  readonly #client: AbortController;

  constructor(response: Response, client: AbortController) {
    this.response = response;
    this.#client = client;
    this.#read();
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    try {
      const reader = (this.response.body as ReadableStream<Uint8Array>).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        this.text += decoder.decode(part.value, { stream: true });
      }
      this.ended = "closed";
    } catch {
      this.ended = "broken";
    }
  }

  /** The client goes away. */
  leave(): void {
    this.#client.abort();
  }
}

/** Runs with a bridge behind a real server. */
async function using(
  options: Partial<BridgeOptions>,
  run: (
    open: (path: string, token?: string, method?: string) => Promise<Stream>,
    handler: Bridge,
    url: string,
  ) => Promise<void>,
): Promise<void> {
  const handler = bridge({ driver, token: TOKEN, readOnlyToken: READS, ...options });
  const listener: Listener = await serve(handler);
  const open = async (path: string, token = TOKEN, method = "POST"): Promise<Stream> => {
    const client = new AbortController();
    const headers = { authorization: `Bearer ${token}`, accept: "text/event-stream", "upstash-encoding": "base64" };
    const body = method === "POST" ? { body: "[]" } : {};
    const response = await fetch(`${listener.url}${path}`, { method, headers, signal: client.signal, ...body });
    return new Stream(response, client);
  };
  try {
    await run(open, handler, listener.url);
  } finally {
    await handler.close();
    await listener.close();
  }
  await eventually(async () => (await listeners()) === 0);
}

describe("bridge streams", () => {
  it("a subscription sends its first frame at once, then the messages, as plain text", async () => {
    await using({}, async (open, _, url) => {
      const stream = await open("/subscribe/news");
      assert.equal(stream.response.status, 200);
      assert.equal(stream.response.headers.get("content-type"), "text/event-stream");
      assert.ok(stream.response.headers.get("upstash-sync-token"));
      await eventually(() => stream.text === "data: subscribe,news,1\n\n");
      const published = await fetch(`${url}/publish/news/${encodeURIComponent("phở, 2 bowls")}`, {
        headers: { authorization: `Bearer ${TOKEN}` },
      });
      assert.deepEqual(await published.json(), { result: 1 });
      await rawCommand(redis.port, ["PUBLISH", "news", "two\nlines"]);
      await eventually(() => stream.text.endsWith("lines\n\n"));
      assert.equal(
        stream.text,
        "data: subscribe,news,1\n\ndata: message,news,phở, 2 bowls\n\ndata: message,news,two\ndata: lines\n\n",
      );
      stream.leave();
    });
  });

  it("a subscription to a pattern sends the pattern and the channel", async () => {
    await using({}, async (open) => {
      const stream = await open("/psubscribe/order:*", TOKEN, "GET");
      await eventually(() => stream.text === "data: psubscribe,order:*,1\n\n");
      await rawCommand(redis.port, ["PUBLISH", "order:7", "done"]);
      await eventually(() => stream.text.endsWith("data: pmessage,order:*,order:7,done\n\n"));
    });
  });

  it("channels with slashes are joined, encoded ones decoded, and queries refused", async () => {
    await using({}, async (open) => {
      for (const [path, channel] of [
        ["/subscribe/a/b", "a/b"],
        ["/subscribe/a%2Fb%20%3F", "a/b ?"],
        ["/SUBSCRIBE//x", "/x"],
        [`/subscribe/c?_token=${TOKEN}`, "c"],
      ] as const) {
        const stream = await open(path);
        await eventually(() => stream.text === `data: subscribe,${channel},1\n\n`);
      }
      for (const path of ["/subscribe/a?x=1", "/subscribe", "/subscribe/", "/subscribe/%ff", "/psubscribe"]) {
        const stream = await open(path);
        assert.equal(stream.response.status, 400, path);
        await eventually(() => stream.text.includes('{"error":"ERR '));
      }
    });
  });

  it("monitor sends the commands of the server, to the full token only", async () => {
    await using({}, async (open) => {
      const stream = await open("/monitor");
      await eventually(() => stream.text === 'data: "OK"\n\n');
      await rawCommand(redis.port, ["SET", "seen", 'a "b"\n']);
      await eventually(() => /data: \d+\.\d+ \[0 [^\]]+\] "SET" "seen" "a \\"b\\"\\n"\n\n/.test(stream.text));
      const refused = await open("/monitor", READS);
      assert.equal(refused.response.status, 400);
      await eventually(() => refused.text.includes("NOPERM"));
    });
  });

  it("a read-only token listens to channels by their names only, and not to notifications of keys", async () => {
    await using({}, async (open) => {
      const reading = await open("/subscribe/c", READS);
      await eventually(() => reading.text.startsWith("data: subscribe,c,1"));
      for (const path of [
        "/psubscribe/*",
        "/PSUBSCRIBE/__keyspace@0__:*",
        "/subscribe/__keyevent@0__:set",
        "/subscribe/%5F_keyspace@0__:k",
      ]) {
        const refused = await open(path, READS);
        assert.equal(refused.response.status, 400, path);
        await eventually(() => refused.text.includes("NOPERM"));
        const full = await open(path);
        await eventually(() => full.text.startsWith("data: "));
      }
    });
  });

  it("a stream's connection ends when its client leaves", async () => {
    await using({}, async (open) => {
      const streams = await Promise.all(Array.from({ length: 20 }, (_, index) => open(`/subscribe/c${index % 3}`)));
      await eventually(async () => (await listeners()) === 20);
      for (const stream of streams.slice(0, 15)) stream.leave();
      await eventually(async () => (await listeners()) === 5);
      await rawCommand(redis.port, ["PUBLISH", "c0", "still"]);
      await eventually(() => streams.slice(15).some(({ text }) => text.includes("message,c0,still")));
      for (const stream of streams) stream.leave();
      await eventually(async () => (await listeners()) === 0);
    });
  });

  it("a stream's connection ends when its client has left before it was opened", async () => {
    const proxy = await startProxy(redis.port);
    const behind = nodeRedis({ host: "127.0.0.1", port: proxy.port });
    try {
      await proxy.set({ delay: 50 });
      await using({ driver: behind }, async (_open, _handler, url) => {
        const client = new AbortController();
        const headers = { authorization: `Bearer ${TOKEN}` };
        const asked = fetch(`${url}/subscribe/a`, { method: "POST", headers, signal: client.signal });
        await eventually(() => proxy.accepted > 0);
        client.abort();
        await assert.rejects(asked);
        await eventually(async () => (await listeners()) === 1);
        await eventually(async () => (await listeners()) === 0);
        assert.equal(proxy.open, 0);
      });
    } finally {
      await behind.close();
      await proxy.stop();
    }
  });

  it("streams end, and are refused, when the bridge closes", async () => {
    await using({}, async (open, handler) => {
      const streams = await Promise.all(["/subscribe/a", "/psubscribe/*", "/monitor"].map((path) => open(path)));
      await eventually(() => streams.every(({ text }) => text !== ""));
      await handler.close();
      await eventually(() => streams.every(({ ended }) => ended === "closed"));
      assert.equal((await open("/subscribe/a")).response.status, 503);
    });
  });

  it("streams end with a comment when the connection to the store is lost", async () => {
    const proxy = await startProxy(redis.port);
    const behind = nodeRedis({ host: "127.0.0.1", port: proxy.port });
    try {
      await using({ driver: behind, timeout: 200 }, async (open) => {
        const stream = await open("/subscribe/a");
        await eventually(() => stream.text !== "");
        proxy.cut();
        await eventually(() => stream.ended === "closed");
        assert.match(stream.text, /\n\n: the connection to the store was lost\n\n$/);
        await proxy.set("blackhole");
        assert.equal((await open("/subscribe/a")).response.status, 503);
      });
    } finally {
      await behind.close();
      await proxy.stop();
    }
  });

  it("a silent stream is kept alive by comments", async () => {
    await using({ heartbeat: 10 }, async (open) => {
      const stream = await open("/subscribe/quiet");
      await eventually(() => /^data: subscribe,quiet,1\n\n(: alive\n\n){2}/.test(stream.text));
    });
  });

  it("a silent stream outlives the ten seconds after which Bun ends one, when Bun serves the handler as it is", {
    timeout: 60_000,
  }, async (context) => {
    const { Bun } = globalThis as { Bun?: { serve(options: object): { url: URL; stop(force: boolean): unknown } } };
    if (!Bun) return context.skip("it takes Bun");
    const handler = bridge({ driver, token: TOKEN });
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: handler });
    try {
      const headers = { authorization: `Bearer ${TOKEN}` };
      const client = new AbortController();
      const url = new URL("/subscribe/quiet", server.url);
      const stream = new Stream(await fetch(url, { method: "POST", headers, signal: client.signal }), client);
      // Three of the default heartbeat's: 15 s.
      await eventually(() => stream.ended !== "no" || stream.text.split(": alive").length > 3, 60_000);
      assert.equal(await rawCommand(redis.port, ["PUBLISH", "quiet", "still here"]), 1);
      await eventually(() => stream.text.includes("data: message,quiet,still here"));
      stream.leave();
    } finally {
      await handler.close();
      await server.stop(true);
    }
  });

  it("bridge limits the number of streams, and accepts another when one ends", async () => {
    await using({ maxStreams: 2 }, async (open) => {
      const first = await open("/subscribe/a");
      await open("/subscribe/a");
      const third = await open("/subscribe/a");
      assert.equal(third.response.status, 429);
      await eventually(() => third.text === '{"error":"ERR max number of streams reached"}');
      first.leave();
      await eventually(async () => (await open("/subscribe/a")).response.status === 200);
    });
  });

  it("a stream ends when its client does not read, before it fills the memory", async () => {
    await using({}, async (open, _handler, url) => {
      const body = "x".repeat(1_000_000);
      // Without a network in between, nothing reads on.
      const handler = bridge({ driver, token: TOKEN });
      const response = await handler(
        new Request(`${url}/subscribe/flood`, { method: "POST", headers: { authorization: `Bearer ${TOKEN}` } }),
      );
      const other = await open("/subscribe/flood");
      await eventually(async () => (await listeners()) === 2);
      for (let index = 0; index < 12; index++) await rawCommand(redis.port, ["PUBLISH", "flood", body]);
      await eventually(async () => (await listeners()) === 1);
      await eventually(() => other.text.length > 12_000_000);
      await assert.rejects(response.text());
      await handler.close();
    });
  });

  it("a subscription is an error when the store refuses it", async () => {
    const guarded = await startRedis({ args: ["--user", "larder", "on", ">secret", "~*", "+@all", "resetchannels"] });
    const limited = nodeRedis({ port: guarded.port, username: "larder", password: "secret" });
    try {
      await using({ driver: limited }, async (open) => {
        const stream = await open("/subscribe/a");
        assert.equal(stream.response.status, 400);
        await eventually(() => stream.text.includes("NOPERM"));
      });
    } finally {
      await limited.close();
      await guarded.stop();
    }
  });

  it("a stream is refused when the driver cannot open connections", async () => {
    await using({ driver: memory() }, async (open) => {
      for (const path of ["/subscribe/a", "/psubscribe/a", "/monitor"]) {
        const stream = await open(path);
        assert.equal(stream.response.status, 400);
        await eventually(() =>
          /^\{"error":"ERR .* is not served over this store: it needs a Redis over TCP/.test(stream.text),
        );
      }
    });
  });

  it("a HEAD opens no stream", async () => {
    await using({}, async (open) => {
      assert.equal((await open("/subscribe/a", TOKEN, "HEAD")).response.status, 405);
    });
  });
});
