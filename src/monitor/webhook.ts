/** Sends alerts to a URL. */
import { check, checkNames, checkWhole, FUNCTION, invalidType } from "../base/check.ts";
import { formatDuration } from "../base/format.ts";
import { parseTimeout, type Timeout } from "../base/ttl.ts";
import { AT_EDGE } from "../runtime/edge.ts";
import { type Logger, warn } from "../telemetry/logger.ts";
import type { Alert } from "./rules.ts";

/** Options of the webhook, which receives a POST for each alert that fires or is resolved. */
export interface WebhookOptions {
  /** The URL, http or https. It appears in no message, because such URLs are often secrets. */
  readonly url: string;
  /** More headers, such as `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * Returns the body, sent as JSON: to add the name of the process, or in the form of a chat, such as
   * `(alert) => ({ text: alert.message })`.
   * @default `{ alert }`
   */
  readonly body?: (alert: Alert) => unknown;
  /** The deadline of one try: milliseconds, or `"5s"`. @default 5000 */
  readonly timeout?: Timeout;
  /** The number of retries if the receiver is away or answers 429 or 5xx, 0-10. @default 2 */
  readonly retries?: number;
}

/** The maximum number of alerts that wait to be sent. Further ones are dropped, and reported to the logger. */
const WAITING = 100;
/** The pause before the first retry, in milliseconds; it doubles with each. */
const PAUSE_MS = 250;

/** Sends alerts, one after the other. */
export class Webhook {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #body: (alert: Alert) => unknown;
  readonly #timeout: number;
  readonly #retries: number;
  readonly #logger: Logger | false | undefined;
  #waiting = 0;
  #last: Promise<void> = Promise.resolve();

  /**
   * Creates a webhook.
   *
   * @param given The URL, or the options.
   * @param logger Receives alerts that could not be sent. @default the console; `false` is silence
   * @throws {TypeError} For bad options.
   */
  constructor(given: string | WebhookOptions, logger: Logger | false | undefined) {
    const options = typeof given === "string" ? { url: given } : given;
    checkNames(options, ["url", "headers", "body", "timeout", "retries"], "a webhook", "a URL or ");
    const { url, headers = {}, body = (alert: Alert) => ({ alert }), timeout = 5000, retries = 2 } = options;
    check(body, "body of a webhook", FUNCTION);
    if (typeof url !== "string" || !/^https?:$/.test(protocol(url))) {
      throw invalidType("set url of a webhook", url, "an http or https URL");
    }
    checkWhole(retries, "retries of a webhook", 0, 10);
    this.#url = url;
    this.#headers = headers;
    this.#body = body;
    this.#timeout = parseTimeout(timeout, "timeout of a webhook");
    this.#retries = retries;
    this.#logger = logger;
  }

  /**
   * Sends an alert after the earlier ones; at the edge, without waiting for them. Resolves when it was sent or given
   * up; never rejects.
   */
  send(alert: Alert): Promise<void> {
    if (AT_EDGE) return this.#post(alert);
    if (this.#waiting >= WAITING) {
      this.#fail(alert, "too many alerts wait to be sent");
      return Promise.resolve();
    }
    this.#waiting++;
    this.#last = this.#last.then(async () => {
      await this.#post(alert);
      this.#waiting--;
    });
    return this.#last;
  }

  /** Resolves when all alerts so far were sent or given up. Never rejects. */
  done(): Promise<void> {
    return this.#last;
  }

  async #post(alert: Alert): Promise<void> {
    let reason = "";
    let body: string;
    try {
      body = JSON.stringify(this.#body(alert) ?? null);
    } catch {
      return this.#fail(alert, "its body failed");
    }
    for (let attempt = 0; attempt <= this.#retries; attempt++) {
      if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * 2 ** (attempt - 1)));
      try {
        const response = await fetch(this.#url, {
          method: "POST",
          headers: { "content-type": "application/json", ...this.#headers },
          body,
          redirect: "error",
          signal: AbortSignal.timeout(this.#timeout),
        });
        await response.body?.cancel();
        if (response.ok) return;
        reason = `it answered ${response.status}`;
        if (response.status !== 429 && response.status < 500) break;
      } catch (error) {
        // The error's own message may hold the URL.
        const late = error instanceof Error && error.name === "TimeoutError";
        reason = late ? `it did not answer within ${formatDuration(this.#timeout)}` : "it cannot be reached";
      }
    }
    this.#fail(alert, reason);
  }

  #fail({ rule, state, message }: Alert, reason: string): void {
    warn(this.#logger, { rule, state, message, reason }, "alert not delivered to the webhook");
  }
}

function protocol(url: string): string {
  try {
    return new URL(url).protocol;
  } catch {
    return "";
  }
}
