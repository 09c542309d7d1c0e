/**
 * The REST wire: Upstash, or any server that speaks its protocol, through `@upstash/redis`.
 *
 * Every send is one `POST /pipeline` through the client's own requester. What the client adds on top is off: it neither
 * deserializes nor retries nor batches, and it sends no telemetry. Its base64 encoding is off too: replies are text
 * either way (bytes that are not UTF-8 become U+FFFD on the server without it, in the client with it), and plain JSON is
 * smaller and faster to read.
 *
 * The requester's errors do not say the HTTP status, so a refused request is told apart by the server's own text.
 *
 * @module
 */

import { checkNames, checkWhole, invalid, invalidType } from "../src/base/check.ts";
import { LONGEST_TIMER } from "../src/base/ttl.ts";
import { type Command, type Driver, errorReply, type Reply, type SendOptions, StoreError } from "./driver.ts";
import { Redis } from "./upstash/client.ts";

/**
 * A ready client: a `Redis` of `@upstash/redis`, with any of its options.
 *
 * What is used of it is its requester, which `Redis` keeps in `client`, a member that its types hide:
 * `client.request({ path: ["pipeline"], body, signal })`, where `signal` is a function that returns the AbortSignal.
 * An object with such a `client` and any `pipeline` fits too. The driver works on an object derived from the requester,
 * with `retry.attempts` 0; the client itself stays as it is. Middleware of `Redis.use` is not run: it would retry.
 */
export interface UpstashClient {
  /** Not called; it tells a client from other objects. */
  pipeline(): object;
}

/** What a request says to caches on its way: the values of the field `cache` of `fetch`. */
export type UpstashCacheMode = "default" | "no-store" | "reload" | "no-cache" | "force-cache";

/** What every way to reach Upstash takes. */
export interface UpstashLimits {
  /** The most bytes in one request, as JSON. Plans differ; the default leaves headroom under 10 MB. @default 9_900_000 */
  readonly maxBytes?: number;
  /**
   * What `fetch` is told of caches on its way, such as a framework's. By default every command reaches the store, and
   * pages that Next.js keeps stay kept. With a ready client, `"no-store"` makes Next.js render a page that sends a
   * command for each request. Another mode, or `false` for none, leaves it to the framework: Next.js 13 and 14 then
   * keep answers of commands, and what is read may be old.
   *
   * @default what a ready client says, else `"no-store"`; nothing in Workers whose compatibility date is before the
   * field
   */
  readonly cache?: UpstashCacheMode | false;
}

/** Options of {@linkcode upstash}: where the database is, or a ready client. */
export type UpstashOptions =
  | (UpstashLimits & {
      /** The REST URL, such as `"https://name.upstash.io"`, without credentials; a path is kept. */
      readonly url: string;
      /** The REST token. */
      readonly token: string;
      /** Whether a request sees every write of this driver that was answered before it. @default true */
      readonly readYourWrites?: boolean;
      readonly client?: never;
    })
  | (UpstashLimits & {
      /** A ready client. */
      readonly client: UpstashClient;
      readonly url?: never;
      readonly token?: never;
      readonly readYourWrites?: never;
    });

/**
 * Opens the wire to Upstash. Nothing is sent until the first `send`.
 *
 * @param options The REST URL and the token, or a ready client.
 * @returns The driver.
 * @throws {TypeError} For an option that is unknown, beside a ready client, or not of the accepted form.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { upstash } from "@foodfast/larder/drivers/upstash";
 *
 * const driver = upstash({ url: "https://name.upstash.io", token: "..." }); // nothing is sent yet
 * const client = createCacheClient({ driver });
 * console.log(client.databases); // "prefixed"
 * ```
 */
export function upstash(options: UpstashOptions): Driver {
  return new UpstashDriver(options);
}

class UpstashDriver implements Driver {
  readonly name = "upstash";
  readonly capabilities: Driver["capabilities"];
  readonly #requester: Requester;
  readonly #inFlight = new Set<AbortController>();
  #closed = false;

  constructor(options: UpstashOptions) {
    checkNames(options, ["url", "token", "readYourWrites", "maxBytes", "cache", "client"], "upstash");
    const { maxBytes = 9_900_000, readYourWrites = true } = options;
    checkWhole(maxBytes, "maxBytes of upstash", 1);
    if (typeof readYourWrites !== "boolean") {
      throw invalidType("set readYourWrites of upstash", readYourWrites, "true or false");
    }
    this.capabilities = { numbered: false, scripts: true, ordered: false, maxCommands: 1000, maxBytes };
    const misplaced = options.client && ["url", "token", "readYourWrites"].find((name) => name in options);
    if (misplaced) throw invalid("use a ready client with upstash", misplaced, "client, maxBytes, cache");
    this.#requester = quiet(options.client ?? connect(options), options.cache);
  }

  async send(database: number, commands: readonly Command[], { timeout, waiting }: SendOptions = {}): Promise<Reply[]> {
    if (database !== 0) throw invalid("send to a database of Upstash", database, "0");
    if (this.#closed) throw closed();
    const abort = new AbortController();
    const ring = (): void => {
      // The answer may have come while this process was kept from running.
      if (waiting?.()) timer = setTimeout(ring, 20);
      else abort.abort(new StoreError("timeout", late(timeout as number), { repeat: "idempotent" }));
    };
    let timer = timeout === undefined ? undefined : setTimeout(ring, Math.min(timeout, LONGEST_TIMER));
    this.#inFlight.add(abort);
    try {
      const answer = await this.#requester.request({
        path: ["pipeline"],
        body: commands.map((command) => command.map(String)),
        // As a plain signal, an abort would come back as a reply.
        signal: () => abort.signal,
      });
      return toReplies(answer, commands.length);
    } catch (error) {
      throw abort.signal.aborted ? abort.signal.reason : this.#withoutToken(toStoreError(error));
    } finally {
      clearTimeout(timer);
      this.#inFlight.delete(abort);
    }
  }

  /** A server's words may repeat the request's headers. */
  #withoutToken(error: StoreError): StoreError {
    const [, token] = this.#requester.headers?.authorization?.split(" ") ?? [];
    if (token) error.message = error.message.replaceAll(token, "***");
    return error;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const abort of this.#inFlight) abort.abort(closed());
  }
}

/**
 * Deno's fetch repeats a request, executed or not, when a kept HTTP/1.1 connection breaks before the answer; a counter
 * would move twice. This header keeps none. HTTP/2, which Deno speaks over TLS, has no such repeat and ignores the header.
 */
const SENT_ONCE: Record<string, string> = /^Deno\b/.test(globalThis.navigator?.userAgent)
  ? { connection: "close" }
  : {};

/** What is used of the client's requester. */
interface Requester {
  request(request: { path: string[]; body: unknown; signal: () => AbortSignal }): Promise<unknown>;
  headers?: Record<string, string>;
  options?: { readonly cache?: UpstashCacheMode };
  retry?: object;
  readYourWrites?: boolean;
  upstashSyncToken?: string;
}

function connect(options: { url: string; token: string; readYourWrites?: boolean }): UpstashClient {
  const { token, readYourWrites = true } = options;
  const url = checkUrl(options.url);
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) {
    throw invalidType("set token of upstash", token, "the REST token, without spaces or line breaks");
  }
  return new Redis({
    url,
    token,
    readYourWrites,
    retry: { retries: 0 },
    responseEncoding: false,
    automaticDeserialization: false,
    enableAutoPipelining: false,
    enableTelemetry: false,
  });
}

/** The URL without trailing slashes. Its text is never in a message: it may be a secret in the wrong place. */
function checkUrl(text: unknown): string {
  if (typeof text === "string" && !/\s/.test(text) && URL.canParse(text)) {
    const { href } = new URL(text);
    // An @ in the path is that of credentials with a slash in them; of what it does not take, the client shows all.
    if (/^https?:\/\/[\w[][^@?#]*$/.test(href)) return href.replace(/\/+$/, "");
  }
  const accepted = 'an http or https URL without credentials or query, such as "https://name.upstash.io"';
  throw invalidType("set url of upstash", text, accepted);
}

const CACHE_MODES: readonly unknown[] = ["default", "no-store", "reload", "no-cache", "force-cache"];

/** What requests say of caches: what was chosen, else what the client says, as far as the runtime takes it. */
function cacheMode(
  chosen: UpstashCacheMode | false | undefined,
  own: UpstashCacheMode = "no-store",
): UpstashCacheMode | undefined {
  if (chosen === false) return undefined;
  const mode = chosen ?? own;
  try {
    // Workers of older compatibility dates would throw for each request.
    new Request("https://localhost", { cache: mode });
    if (chosen === undefined || CACHE_MODES.includes(chosen)) return mode;
  } catch {
    if (chosen === undefined) return undefined;
  }
  throw invalid("set cache of upstash", chosen, `false, or what this runtime knows of ${CACHE_MODES.join(", ")}`);
}

/** Derives a requester that sends once and returns plain JSON, and leaves the client's own as it was. */
function quiet(client: UpstashClient, cache: UpstashLimits["cache"]): Requester {
  const { client: base } = client as { client?: Requester };
  if (typeof base?.request !== "function") {
    throw invalidType("set client of upstash", client, "a Redis of @upstash/redis");
  }
  const own = Object.getPrototypeOf(base).request as Requester["request"] | undefined;
  const { "Upstash-Encoding": _, ...headers } = base.headers ?? {};
  return Object.create(base, {
    // Middleware replaces `request` on the object by a function that is bound to the retrying one.
    request: { value: own ?? base.request.bind(base) },
    retry: { value: { attempts: 0, backoff: () => 0 } },
    options: { value: { ...base.options, responseEncoding: false, cache: cacheMode(cache, base.options?.cache) } },
    // Made for each request: versions before 1.39 send the token of the reply before last.
    headers: {
      get: () => ({
        ...headers,
        ...SENT_ONCE,
        ...(base.readYourWrites && { "upstash-sync-token": base.upstashSyncToken }),
      }),
    },
    upstashSyncToken: {
      get: () => base.upstashSyncToken,
      set: (token: string) => {
        base.upstashSyncToken = token;
      },
    },
  });
}

function toReplies(answer: unknown, count: number): Reply[] {
  if (!Array.isArray(answer)) {
    const { error } = (answer ?? {}) as { error?: unknown };
    throw typeof error === "string" ? refused(error) : garbled("it is not a list of replies");
  }
  if (answer.length !== count) throw garbled(`it holds ${answer.length} replies to ${count} commands`);
  return answer.map((item) => {
    if (typeof item?.error === "string") return errorReply(redact(item.error));
    if (!isReply(item?.result)) throw garbled("a reply in it is of no known type");
    return item.result;
  });
}

function isReply(value: unknown): value is Reply {
  return (
    value === null ||
    typeof value === "string" ||
    typeof value === "number" ||
    (Array.isArray(value) && value.every(isReply))
  );
}

/** Maps what the requester throws. The error itself is not kept as the cause: it holds URLs, commands and bodies. */
function toStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  if (name === "UpstashJSONParseError") return garbled("it is not JSON");
  if (name === "UpstashError") return refused(String(message).split(", command was: ")[0] ?? "");
  const reasons = describe(error);
  if (/refused/i.test(reasons)) return new StoreError("connection", "Cannot reach Upstash: the connection was refused");
  const code = /\bE[A-Z]{3,}\b/.exec(reasons)?.[0];
  const failure = `The request to Upstash failed before its answer came${code ? ` (${code})` : ""}`;
  return new StoreError("connection", failure, { repeat: "idempotent" });
}

/** The codes and messages of an error and of what caused it, to be searched. */
function describe(error: unknown, depth = 0): string {
  if (typeof error !== "object" || error === null || depth > 4) return "";
  const { code, message, cause, errors } = error as Record<string, unknown>;
  const inner = [cause, ...(Array.isArray(errors) ? errors : [])].map((each) => describe(each, depth + 1));
  return [code, message, ...inner].join(" ");
}

/** The error for a request that was refused as a whole, from the server's text. */
function refused(text: string): StoreError {
  const message = redact(text);
  const answered = `Upstash refused the request: ${message}`;
  if (/^(WRONGPASS|NOAUTH|NOPERM)\b|unauthorized|forbidden/i.test(text)) {
    return new StoreError("auth", answered, { code: errorReply(text).code });
  }
  if (/rate.?limit|too many requests/i.test(text)) return new StoreError("limit", answered, { repeat: "all" });
  // A used-up quota lasts for hours.
  if (/max request size|max (\w+ )?requests? limit|quota/i.test(text))
    return new StoreError("limit", answered, { code: "ERR" });
  const reply = errorReply(message);
  return reply.code ? reply : new StoreError("connection", `Upstash failed: ${message}`, { repeat: "idempotent" });
}

/** A server's text without what it may repeat of the request: arguments and URLs. */
function redact(text: string): string {
  return text
    .replace(/, (command was|with args beginning with): .*/s, "")
    .replace(/\b[a-z][a-z0-9+.-]*:\/\/\S+/gi, "<url>")
    .slice(0, 300);
}

function garbled(why: string): StoreError {
  return new StoreError("protocol", `Cannot read the answer of Upstash: ${why}`, { repeat: "idempotent" });
}

function late(timeout: number): string {
  return `Upstash did not answer within ${timeout} ms`;
}

function closed(): StoreError {
  return new StoreError("closed", "Cannot send: the driver was closed");
}
