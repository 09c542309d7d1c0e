/**
 * The REST driver: Upstash, or any server with its protocol, through `@upstash/redis`.
 *
 * Every send is one `POST /pipeline` through the requester of the client. Everything that the client adds is off:
 * deserialization, retries, batches and telemetry. Its base64 encoding is off too, because plain JSON is smaller and
 * faster to read. Replies are text either way: bytes that are not UTF-8 become U+FFFD on the server instead of in the
 * client.
 *
 * The errors of the requester do not contain the HTTP status, so refused requests are recognised by the server's text.
 *
 * @module
 */

import { check, checkNames, checkWhole, FLAG, invalid, invalidType } from "../src/base/check.ts";
import { LONGEST_TIMER } from "../src/base/ttl.ts";
import { type Command, type Driver, errorReply, type Reply, type SendOptions, StoreError } from "./driver.ts";
import { redisClient } from "./upstash/client.ts";

/**
 * A ready client: a `Redis` of `@upstash/redis`, with any of its options.
 *
 * The driver uses only its requester, which `Redis` keeps in `client`, a member that its types hide:
 * `client.request({ path: ["pipeline"], body, signal })`, with a function that returns the AbortSignal as `signal`. Any
 * object with such a `client` and a `pipeline` fits. The driver works on an object derived from the requester, with
 * `retry.attempts` 0, and leaves the client unchanged. It does not run the middleware of `Redis.use`, which would
 * retry.
 */
export interface UpstashClient {
  /** Never called. It distinguishes a client from other objects. */
  pipeline(): object;
}

/** The cache modes of a request: the values of the field `cache` of `fetch`. */
export type UpstashCacheMode = "default" | "no-store" | "reload" | "no-cache" | "force-cache";

/** The options that may accompany an address as well as a ready client. */
export interface UpstashLimits {
  /** The most bytes in one request, as JSON. The default is below 10 MB, the limit of most plans. @default 9_900_000 */
  readonly maxBytes?: number;
  /**
   * The cache mode of requests, for caches between the application and the store, such as a framework's. By default
   * every command reaches the store, and pages that Next.js caches stay cached. With a ready client, `"no-store"` makes
   * Next.js render pages that send a command again for each request. Another mode, or `false` for none, leaves it to
   * the framework: Next.js 13 and 14 then cache replies, so reads may be old.
   *
   * @default the mode of a ready client, otherwise `"no-store"`; none in Workers with a compatibility date before the
   * field existed
   */
  readonly cache?: UpstashCacheMode | false;
}

/** Options of {@linkcode upstash}: the address of the database, or a ready client. */
export type UpstashOptions =
  | (UpstashLimits & {
      /** The REST URL, such as `"https://name.upstash.io"`, without credentials; a path is kept. */
      readonly url: string;
      /** The REST token. */
      readonly token: string;
      /** True if a request sees every earlier write of this driver that was answered. @default true */
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
 * Makes a driver for Upstash. Nothing is sent before the first `send`.
 *
 * @param options The REST URL and the token, or a ready client.
 * @returns The driver.
 * @throws {TypeError} For an option that is unknown, not accepted next to a ready client, or of another form.
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
    check(readYourWrites, "readYourWrites of upstash", FLAG);
    this.capabilities = { numbered: false, scripts: true, ordered: false, billed: true, maxCommands: 1000, maxBytes };
    const misplaced = options.client && ["url", "token", "readYourWrites"].find((name) => name in options);
    if (misplaced) throw invalid("use a ready client with upstash", misplaced, "client, maxBytes, cache");
    this.#requester = quiet(options.client ?? connect(options), options.cache);
  }

  async send(database: number, commands: readonly Command[], { timeout, waiting }: SendOptions = {}): Promise<Reply[]> {
    if (database !== 0) throw invalid("send to a database of Upstash", database, "0");
    if (this.#closed) throw closed();
    const abort = new AbortController();
    const ring = (): void => {
      // The reply may have arrived while this process could not run.
      if (waiting?.()) timer = setTimeout(ring, 20);
      else abort.abort(new StoreError("timeout", late(timeout as number), { repeat: "idempotent" }));
    };
    let timer = timeout === undefined ? undefined : setTimeout(ring, Math.min(timeout, LONGEST_TIMER));
    this.#inFlight.add(abort);
    try {
      const answer = await this.#requester.request({
        path: ["pipeline"],
        body: commands.map((command) => command.map(String)),
        // With a plain signal, the requester would return an abort as a reply.
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

  /** Removes the token from the message, because the server may repeat the headers of the request. */
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
 * Headers against repeated requests. If a kept HTTP/1.1 connection breaks before the reply, the fetch of Deno repeats
 * the request, so a counter could move twice. With this header no connection is kept. HTTP/2, which Deno uses over TLS,
 * does not repeat requests and ignores the header.
 */
const SENT_ONCE: Record<string, string> = /^Deno\b/.test(globalThis.navigator?.userAgent)
  ? { connection: "close" }
  : {};

/** The members of the client's requester that the driver uses. */
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
  return redisClient(url, token, readYourWrites);
}

/** Returns the URL without trailing slashes. No message shows its text: it may be a secret in the wrong place. */
function checkUrl(text: unknown): string {
  if (typeof text === "string" && !/\s/.test(text) && URL.canParse(text)) {
    const { href } = new URL(text);
    // An @ in the path belongs to credentials with a slash. The client would show them in its error.
    if (/^https?:\/\/[\w[][^@?#]*$/.test(href)) return href.replace(/\/+$/, "");
  }
  const accepted = 'an http or https URL without credentials or query, such as "https://name.upstash.io"';
  throw invalidType("set url of upstash", text, accepted);
}

const CACHE_MODES: readonly unknown[] = ["default", "no-store", "reload", "no-cache", "force-cache"];

/** Returns the cache mode of requests: the chosen one, otherwise the client's, if the runtime supports it. */
function cacheMode(
  chosen: UpstashCacheMode | false | undefined,
  own: UpstashCacheMode = "no-store",
): UpstashCacheMode | undefined {
  if (chosen === false) return undefined;
  const mode = chosen ?? own;
  try {
    // Workers with an older compatibility date would throw for each request.
    new Request("https://localhost", { cache: mode });
    if (chosen === undefined || CACHE_MODES.includes(chosen)) return mode;
  } catch {
    if (chosen === undefined) return undefined;
  }
  throw invalid("set cache of upstash", chosen, `false, or what this runtime knows of ${CACHE_MODES.join(", ")}`);
}

/** Derives a requester that sends once and returns plain JSON. The client's own requester stays unchanged. */
function quiet(client: UpstashClient, cache: UpstashLimits["cache"]): Requester {
  const { client: base } = client as { client?: Requester };
  if (typeof base?.request !== "function") {
    throw invalidType("set client of upstash", client, "a Redis of @upstash/redis");
  }
  const own = Object.getPrototypeOf(base).request as Requester["request"] | undefined;
  const { "Upstash-Encoding": _, ...headers } = base.headers ?? {};
  return Object.create(base, {
    // Middleware replaces `request` on the object by a function that is bound to the one that retries.
    request: { value: own ?? base.request.bind(base) },
    retry: { value: { attempts: 0, backoff: () => 0 } },
    options: { value: { ...base.options, responseEncoding: false, cache: cacheMode(cache, base.options?.cache) } },
    // Built for each request, because versions before 1.39 send the token of the reply before the last one.
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

/** Converts an error of the requester. It does not become the cause, because it contains URLs, commands and bodies. */
function toStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  if (name === "UpstashJSONParseError") return garbled("it is not JSON");
  if (name === "UpstashError") return refused(String(message).split(", command was: ")[0] ?? "");
  const reasons = reasonsOf(error);
  if (/refused/i.test(reasons)) return new StoreError("connection", "Cannot reach Upstash: the connection was refused");
  const code = /\bE[A-Z]{3,}\b/.exec(reasons)?.[0];
  const failure = `The request to Upstash failed before its answer came${code ? ` (${code})` : ""}`;
  return new StoreError("connection", failure, { repeat: "idempotent" });
}

/** Returns the codes and messages of an error and of its causes, to search in them. */
function reasonsOf(error: unknown, depth = 0): string {
  if (typeof error !== "object" || error === null || depth > 4) return "";
  const { code, message, cause, errors } = error as Record<string, unknown>;
  const inner = [cause, ...(Array.isArray(errors) ? errors : [])].map((each) => reasonsOf(each, depth + 1));
  return [code, message, ...inner].join(" ");
}

/** Makes the error of a request that was refused as a whole, from the text of the server. */
function refused(text: string): StoreError {
  const message = redact(text);
  const answered = `Upstash refused the request: ${message}`;
  if (/^(WRONGPASS|NOAUTH|NOPERM)\b|unauthorized|forbidden/i.test(text)) {
    return new StoreError("auth", answered, { code: errorReply(text).code });
  }
  if (/rate.?limit|too many requests/i.test(text)) return new StoreError("limit", answered, { repeat: "all" });
  // An exhausted quota lasts for hours.
  if (/max request size|max (\w+ )?requests? limit|quota/i.test(text))
    return new StoreError("limit", answered, { code: "ERR" });
  const reply = errorReply(message);
  return reply.code ? reply : new StoreError("connection", `Upstash failed: ${message}`, { repeat: "idempotent" });
}

/** Removes arguments and URLs from a server's text, which may repeat the request. */
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
