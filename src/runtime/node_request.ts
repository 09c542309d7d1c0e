import type { PlainRequest } from "./handler.ts";

type Incoming = import("node:http").IncomingMessage;
type Outgoing = import("node:http").ServerResponse;

/** The characters of a Host header. */
const HOST = /^[\w.:[\]-]*$/;

/**
 * A request of `node:http`. What costs time is made on first use: the signal, the stream of the body, and a `Request`
 * for handlers that need one.
 */
export class NodeRequest implements PlainRequest {
  readonly #incoming: Incoming;
  readonly #outgoing: Outgoing;
  #headers: PlainRequest["headers"] | undefined;
  #signal: AbortSignal | undefined;
  #body: ReadableStream<Uint8Array> | undefined;

  /** Makes a request. */
  constructor(incoming: Incoming, outgoing: Outgoing) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  /** The method. */
  get method(): string {
    return this.#incoming.method ?? "GET";
  }

  /** The URL, with its path as it was received. */
  get url(): string {
    const { url = "/", headers } = this.#incoming;
    return url.startsWith("/") ? `http://${headers.host || "localhost"}${url}` : url;
  }

  /** `false` if its Host header cannot be that of a URL. */
  get valid(): boolean {
    return HOST.test(this.#incoming.headers.host ?? "");
  }

  /** The headers, by names in lower case. */
  get headers(): PlainRequest["headers"] {
    const { headers } = this.#incoming;
    this.#headers ??= {
      get: (name) => headers[name]?.toString() ?? null,
      has: (name) => headers[name] !== undefined,
    };
    return this.#headers;
  }

  /** The body as a stream; `null` without one. */
  get body(): ReadableStream<Uint8Array> | null {
    if (!this.#hasBody) return null;
    this.#body ??= toStream(this.#incoming);
    return this.#body;
  }

  /** The signal, which aborts when the client goes away. */
  get signal(): AbortSignal {
    if (this.#signal) return this.#signal;
    const outgoing = this.#outgoing;
    const gone = new AbortController();
    const leave = () => outgoing.writableFinished || gone.abort();
    if (outgoing.closed) leave();
    else outgoing.once("close", leave);
    this.#signal = gone.signal;
    return gone.signal;
  }

  /** Reads the body. @throws {Error} If it breaks off. */
  async arrayBuffer(): Promise<ArrayBuffer> {
    return this.#hasBody ? readWhole(this.#incoming) : new ArrayBuffer(0);
  }

  /** Reads the body as UTF-8. @throws {Error} If it breaks off. */
  async text(): Promise<string> {
    return new TextDecoder().decode(await this.arrayBuffer());
  }

  /** `true` while the end of a long body has not come. */
  get unread(): boolean {
    const { complete, headers } = this.#incoming;
    return !complete && (this.#length > WHOLE || "transfer-encoding" in headers);
  }

  /**
   * Drops what comes of the body, for a while. If the connection were closed at once, the client could lose the
   * response.
   */
  async drop(): Promise<void> {
    const incoming = this.#incoming.resume();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LINGER);
      incoming.once("close", () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Makes a `Request`. Returns `undefined` if fetch has no such request, or if its body breaks off. */
  async toRequest(): Promise<Request | undefined> {
    const { method, url, signal } = this;
    const headers = new Headers();
    for (const [name, value] of Object.entries(this.#incoming.headers)) {
      for (const each of Array.isArray(value) ? value : [value ?? ""]) headers.append(name, each);
    }
    const init: RequestInit & { duplex: "half" } = { method, headers, signal, duplex: "half" };
    try {
      // A short body costs less to copy than to stream.
      const body = this.#length <= WHOLE ? await this.arrayBuffer() : this.body;
      return new Request(url, this.#hasBody ? { ...init, body } : init);
    } catch {
      return undefined;
    }
  }

  get #length(): number {
    return Number(this.#incoming.headers["content-length"] ?? Number.NaN);
  }

  get #hasBody(): boolean {
    const { method } = this.#incoming;
    return method !== "GET" && method !== "HEAD" && (this.#length > 0 || "transfer-encoding" in this.#incoming.headers);
  }
}

/** The longest body that is read whole for a `Request`, in bytes. */
const WHOLE = 2 ** 16;

/** The milliseconds for which the rest of a refused body is read. */
const LINGER = 1000;

async function readWhole(incoming: Incoming): Promise<ArrayBuffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  await new Promise<void>((resolve, reject) => {
    incoming.on("data", (chunk: Uint8Array) => {
      chunks.push(chunk);
      size += chunk.length;
    });
    incoming.once("end", resolve).once("error", reject);
    // The client may have left before.
    if (incoming.destroyed) reject(incoming.errored ?? new Error("The body is incomplete"));
  });
  const whole = new Uint8Array(size);
  for (const chunk of chunks.reverse()) {
    size -= chunk.length;
    whole.set(chunk, size);
  }
  return whole.buffer;
}

/** Streams the body of a request as the handler reads it. If the handler cancels, the rest is read and dropped. */
function toStream(incoming: Incoming): ReadableStream<Uint8Array> {
  // Destroying the request would destroy its socket, and the answer with it.
  const chunks = incoming.iterator({ destroyOnReturn: false }) as AsyncIterator<Uint8Array>;
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(new Uint8Array(value));
      },
      async cancel() {
        await chunks.return?.();
        incoming.resume();
      },
    },
    { highWaterMark: 0 },
  );
}
