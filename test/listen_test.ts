import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";
import { describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { createCacheClient } from "../mod.ts";
import { bridge } from "../src/bridge/bridge.ts";
import { dashboard } from "../src/dashboard/dashboard.ts";
import { metricsHandler, monitor } from "../src/monitor/mod.ts";
import { type FetchHandler, type Listener, listen } from "../src/runtime/listen.ts";

async function serving(handler: FetchHandler, use: (server: Listener) => Promise<void>): Promise<void> {
  const server = await listen(handler);
  try {
    await use(server);
  } finally {
    await server.close();
  }
}

/** Sends a request of HTTP/1.0, and returns the whole response. */
async function rawRequest(port: number, request: string): Promise<string> {
  const socket = connect(port, "127.0.0.1", () => socket.write(request));
  let text = "";
  for await (const chunk of socket) text += chunk;
  return text;
}

describe("listen", () => {
  it("listen passes method, path, headers and body when a request comes in", async () => {
    const handler: FetchHandler = async (request) => {
      const { pathname, search } = new URL(request.url);
      const seen = [request.method, pathname, search, request.headers.get("x-a"), (await request.text()).length];
      return Response.json(seen, { status: 201, headers: { "x-b": "back" } });
    };
    await serving(handler, async ({ url, port }) => {
      assert.equal(url, `http://127.0.0.1:${port}`);
      const body = "x".repeat(3_000_000);
      const response = await fetch(`${url}/a%2Fb/%F0?q=1`, { method: "POST", body, headers: { "x-a": "there" } });
      assert.equal(response.status, 201);
      assert.equal(response.headers.get("x-b"), "back");
      assert.deepEqual(await response.json(), ["POST", "/a%2Fb/%F0", "?q=1", "there", body.length]);
    });
  });

  it("listen serves bridge and dashboard when a request of HTTP/1.0 names no host", async () => {
    const client = createCacheClient({ driver: "memory" });
    const watch = monitor(client);
    const page = dashboard(client, { token: "t" });
    for (const [handler, path, status] of [
      [bridge({ driver: memory(), token: "t" }), "/ping?_token=t", 200],
      [bridge({ driver: memory(), token: "t" }), "/ping", 401],
      [metricsHandler(watch), "/health", 200],
      [page, "/", 401],
    ] as const) {
      await serving(handler, async ({ port }) => {
        assert.match(await rawRequest(port, `GET ${path} HTTP/1.0\r\n\r\n`), new RegExp(`^HTTP/1.[01] ${status} `));
      });
    }
    await page.close();
    await watch.close();
    await client.close();
  });

  it("listen streams a response before its end is known", async () => {
    let finish = () => {};
    const body = () =>
      new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(new TextEncoder().encode("first"));
          finish = () => controller.close();
        },
      });
    await serving(
      () => new Response(body()),
      async ({ url }) => {
        const response = await fetch(url);
        const reader = response.body?.getReader();
        const part = await reader?.read();
        assert.equal(new TextDecoder().decode(part?.value), "first");
        finish();
        assert.equal((await reader?.read())?.done, true);
      },
    );
  });

  it("listen aborts the request's signal when its client goes away", async () => {
    let arrived = () => {};
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    let left = () => {};
    const leaving = new Promise<void>((resolve) => {
      left = resolve;
    });
    const handler: FetchHandler = (request) => {
      request.signal.addEventListener("abort", () => left());
      arrived();
      return new Promise(() => {});
    };
    await serving(handler, async ({ url }) => {
      const client = new AbortController();
      const asked = fetch(url, { signal: client.signal });
      await arrival;
      client.abort();
      await assert.rejects(asked);
      await leaving;
    });
  });

  it("listen answers 500 without the error's text when the handler throws", async () => {
    const printed: unknown[] = [];
    const { error } = console;
    console.error = (...values) => void printed.push(...values);
    try {
      const handler: FetchHandler = () => {
        throw new Error("secret detail");
      };
      await serving(handler, async ({ url }) => {
        const response = await fetch(url);
        assert.equal(response.status, 500);
        assert.doesNotMatch(await response.text(), /secret/);
      });
    } finally {
      console.error = error;
    }
    assert.match(String(printed), /secret detail/);
  });

  it("close drops open connections when requests are in flight", async () => {
    let arrived = () => {};
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const server = await listen(() => {
      arrived();
      return new Promise(() => {});
    });
    const asked = fetch(server.url);
    asked.catch(() => {});
    await arrival;
    await server.close();
    await assert.rejects(asked);
    await assert.rejects(fetch(server.url));
  });

  it("listen delivers the refusal when a handler leaves the rest of a large body unread", async () => {
    await serving(bridge({ driver: memory(), token: "t", maxBytes: 100_000 }), async ({ url }) => {
      const body = "x".repeat(5_000_000);
      for (const [token, status] of [
        ["t", 400],
        ["wrong", 401],
      ] as const) {
        const response = await fetch(`${url}/set/k`, {
          method: "POST",
          body,
          headers: { authorization: `Bearer ${token}` },
        });
        assert.equal(response.status, status);
        assert.equal(typeof (await response.json()).error, "string");
      }
      const after = await fetch(`${url}/get/k`, { headers: { authorization: "Bearer t" } });
      assert.deepEqual(await after.json(), { result: null });
    });
  });

  it("listen passes segments . and .. of a path to the bridge, which are arguments", async (context) => {
    // Bun's URLs are without them.
    if (process.versions.bun) return context.skip("Bun removes them");
    await serving(bridge({ driver: memory(), token: "t" }), async ({ port }) => {
      const get = async (path: string) => (await rawRequest(port, `GET ${path} HTTP/1.0\r\n\r\n`)).split("\r\n\r\n")[1];
      assert.equal(await get("/set/k/%2e?_token=t"), '{"result":"OK"}');
      assert.equal(await get("/get/k?_token=t"), '{"result":"."}');
      assert.equal(await get("/hset/h/../%2E%2e?_token=t"), '{"result":1}');
      assert.equal(await get("/hget/h/..?_token=t#fragment"), '{"result":".."}');
      assert.equal(await get("http://other/get/./../k?_token=t"), (await get("/get/./../k?_token=t")) as string);
    });
  });

  it("listen delivers a refusal of the token before the body has come", async () => {
    await serving(bridge({ driver: memory(), token: "t" }), async ({ port }) => {
      const head = "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer wrong\r\nContent-Length: 20\r\n\r\n";
      const socket = connect(port, "127.0.0.1", () => socket.write(head));
      const [chunk] = await once(socket, "data");
      socket.destroy();
      assert.match(String(chunk), /^HTTP\/1.1 401 /);
    });
  });

  it("listen closes the connection when the body of a refused request does not end", async (context) => {
    if (process.versions.bun || process.versions.deno) return context.skip("the runtime's own server reads on");
    await serving(bridge({ driver: memory(), token: "t", maxBytes: 1000 }), async ({ port }) => {
      const head = "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\nTransfer-Encoding: chunked\r\n\r\n";
      const socket = connect(port, "127.0.0.1", () => socket.write(head));
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk;
      });
      // The other side may close it in the middle of a write.
      socket.on("error", () => {});
      const closed = new Promise((resolve) => socket.once("close", resolve));
      const writing = setInterval(() => socket.write(`1000\r\n${"x".repeat(4096)}\r\n`), 5);
      await closed;
      clearInterval(writing);
      assert.match(text, /^HTTP\/1.1 400 .*connection: close.*ERR max request size exceeded/is);
    });
  });

  it("listen gives other handlers a Request that fetch takes", async () => {
    await serving(
      async (request) => {
        const copy = new Request(request);
        const seen = [request instanceof Request, copy.method, new URL(copy.url).pathname, copy.headers.get("x-a")];
        return Response.json([...seen, await copy.text()]);
      },
      async ({ url }) => {
        const response = await fetch(`${url}/a`, { method: "PUT", body: "text", headers: { "x-a": "there" } });
        assert.deepEqual(await response.json(), [true, "PUT", "/a", "there", "text"]);
      },
    );
  });

  it("listen cancels the stream of a response when its client goes away", async () => {
    let cancelled = () => {};
    const cancelling = new Promise<void>((resolve) => {
      cancelled = resolve;
    });
    const body = () =>
      new ReadableStream<Uint8Array>({
        pull: (controller) => controller.enqueue(new Uint8Array(100_000)),
        cancel: () => cancelled(),
      });
    await serving(
      () => new Response(body()),
      async ({ port }) => {
        const socket = connect(port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        await once(socket, "data");
        socket.destroy();
        await cancelling;
      },
    );
  });
});
