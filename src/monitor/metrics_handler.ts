/** A fetch handler for metrics, health and readiness. */
import { checkNames, invalidType } from "../base/check.ts";
import { bearerOf, checkToken, sameToken, urlOf } from "../base/token.ts";
import type { WebRequest, WebResponse } from "../base/web_types.ts";
import { AT_EDGE } from "../runtime/edge.ts";
import type { Monitor } from "./monitor.ts";
import { prometheus } from "./prometheus.ts";

/** Options of {@linkcode metricsHandler}. */
export interface MetricsHandlerOptions {
  /** The token for `/metrics`, sent as `Authorization: Bearer <token>`. @default none: every request may read */
  readonly token?: string;
}

/** The time that an answer to `/ready` is reused, in milliseconds, so that frequent probes do not load the store. */
const READY_MS = 1000;
const OPENMETRICS = "application/openmetrics-text";

/**
 * Makes a handler of `/metrics` (Prometheus's text format, or OpenMetrics for clients that accept it), `/health` (200
 * while the process answers) and `/ready` (200 while the store answers, otherwise 503).
 *
 * @param monitor The monitor. At the edge, where timers do not run, `/metrics` takes a sample.
 * @param options The token.
 * @returns A fetch handler. It answers every request and never throws.
 * @throws {TypeError} For a token that is empty or not made of visible ASCII characters.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { metricsHandler, monitor } from "@foodfast/larder/monitor";
 *
 * await using client = createCacheClient({ driver: "memory" });
 * await using watch = monitor(client);
 * const handler = metricsHandler(watch, { token: "secret" });
 * console.log((await handler(new Request("http://localhost/ready"))).status); // 200
 * console.log((await handler(new Request("http://localhost/metrics"))).status); // 401
 * ```
 */
export function metricsHandler(
  monitor: Monitor,
  options: MetricsHandlerOptions = {},
): (request: WebRequest) => Promise<WebResponse> {
  checkNames(options, ["token"], "metricsHandler");
  if (typeof monitor?.ready !== "function") throw invalidType("serve metrics", monitor, "what monitor(client) returns");
  const { token } = options;
  if (token !== undefined) checkToken(token);
  let asked = Number.NEGATIVE_INFINITY;
  let ready: Promise<boolean> | undefined;
  const isReady = (): Promise<boolean> => {
    if (AT_EDGE) return monitor.ready();
    const now = performance.now();
    if (!ready || now - asked >= READY_MS) {
      asked = now;
      ready = monitor.ready();
    }
    return ready;
  };
  const metrics = async (request: Request): Promise<Response> => {
    if (token !== undefined && !sameToken(bearerOf(request), token)) {
      return text(401, "unauthorized\n", { "www-authenticate": "Bearer" });
    }
    // A timer that is a little late must not lead to a second question to the store.
    if (monitor.now - monitor.sampled >= monitor.interval * 1.5) await monitor.sample();
    const open = (request.headers.get("accept") ?? "").includes(OPENMETRICS);
    const type = open ? `${OPENMETRICS}; version=1.0.0; charset=utf-8` : "text/plain; version=0.0.4; charset=utf-8";
    return text(200, prometheus(monitor, open ? "openmetrics" : "text"), { "content-type": type });
  };
  const answer = async (request: Request): Promise<Response> => {
    const { pathname } = urlOf(request);
    if (!/^\/(metrics|health|ready)$/.test(pathname)) return text(404, "not found\n");
    if (!/^(GET|HEAD)$/.test(request.method)) return text(405, "method not allowed\n", { allow: "GET, HEAD" });
    if (pathname === "/metrics") return metrics(request);
    if (pathname === "/health") return text(200, "ok\n");
    return (await isReady()) ? text(200, "ready\n") : text(503, "the store does not answer\n");
  };
  return async (request) => {
    try {
      const response = await answer(request);
      return request.method === "HEAD" ? new Response(null, response) : response;
    } catch {
      return text(500, "the monitor failed\n");
    }
  };
}

function text(status: number, body: string, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(body, {
    status,
    headers: { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store", ...headers },
  });
}
