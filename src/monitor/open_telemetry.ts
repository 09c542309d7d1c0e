/**
 * OpenTelemetry for a client: metrics and spans by the semantic conventions for database clients. It uses
 * `@opentelemetry/api`, which the application installs; the rest of the library does not load it.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { openTelemetry } from "@foodfast/larder/monitor/opentelemetry";
 *
 * await using client = createCacheClient({ driver: "memory" });
 * const telemetry = openTelemetry(client);
 * await client.service("product").products.get(1); // a span "MGET 1", and a time in db.client.operation.duration
 * telemetry.close();
 * ```
 *
 * @module
 */
import {
  type Attributes,
  type Meter,
  metrics,
  type ObservableResult,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import type { Command, Reply, StoreError } from "../../drivers/driver.ts";
import { checkNames } from "../base/check.ts";
import { toStoreError } from "../base/foreign_error.ts";
import { type CacheEvent, type CacheListener, type Sending, targetName } from "../telemetry/events.ts";
import { COUNTS, type LiveCounters } from "../telemetry/stats.ts";
import { HELP, snake } from "./series.ts";

/** The part of a `MeterProvider` of `@opentelemetry/api` that is used. */
export interface Meters {
  /** Returns a meter. */
  getMeter(name: string): object;
}

/** The part of a `TracerProvider` of `@opentelemetry/api` that is used. */
export interface Tracers {
  /** Returns a tracer. */
  getTracer(name: string): object;
}

/** The methods of a client that are used. */
export interface TracedClient {
  /** Returns the counters by service. */
  counters(): readonly (readonly [service: string, counters: readonly LiveCounters[]])[];
  /** Listens to events. */
  subscribe(listener: CacheListener, options: { readonly quiet: boolean }): () => void;
  /** Listens to sends. */
  onSend(listener: (sending: Sending) => void): () => void;
}

/** Options of {@linkcode openTelemetry}. */
export interface OpenTelemetryOptions {
  /** The provider of meters. @default the global one */
  readonly meterProvider?: Meters;
  /** The provider of tracers. @default the global one */
  readonly tracerProvider?: Tracers;
  /** The store's host, for `server.address`, because clients do not reveal it. @default absent */
  readonly serverAddress?: string;
  /** The store's port, for `server.port`. @default absent */
  readonly serverPort?: number;
}

/** The running telemetry of a client. */
export interface RunningTelemetry {
  /** Stops the telemetry. The providers stay open. */
  close(): void;
}

const NAME = "@foodfast/larder";
/** The bounds of histograms by the conventions, in seconds. */
const BOUNDARIES = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];

/**
 * Records a client's sends and loads as spans, and its counters and times as metrics. A send is a span of kind client;
 * its parent is the span that was active when the first of its commands was issued. A load is a span of kind internal.
 * Attributes hold commands, databases, services and collections, but no keys and no values.
 *
 * @param client The client.
 * @param options The providers, and the address of the store.
 * @returns The running telemetry, to be closed.
 * @throws {TypeError} For an unknown option.
 */
export function openTelemetry(client: TracedClient, options: OpenTelemetryOptions = {}): RunningTelemetry {
  checkNames(options, ["meterProvider", "tracerProvider", "serverAddress", "serverPort"], "openTelemetry");
  const { meterProvider = metrics.getMeterProvider(), tracerProvider = trace.getTracerProvider() } = options;
  const { serverAddress, serverPort } = options;
  const meter = meterProvider.getMeter(NAME) as Meter;
  const tracer = tracerProvider.getTracer(NAME) as Tracer;
  const server: Attributes = {
    ...(serverAddress !== undefined && { "server.address": serverAddress }),
    ...(serverPort !== undefined && { "server.port": serverPort }),
  };
  const duration = meter.createHistogram("db.client.operation.duration", {
    description: "Duration of database client operations",
    unit: "s",
    advice: { explicitBucketBoundaries: BOUNDARIES },
  });
  const loads = meter.createHistogram("larder.load.duration", {
    description: "Duration of loaders",
    unit: "s",
    advice: { explicitBucketBoundaries: BOUNDARIES },
  });

  const send = ({ driver, database, commands, replies }: Sending): void => {
    const operation = operationOf(commands);
    const attributes: Attributes = {
      "db.system.name": driver === "memory" ? "larder.memory" : "redis",
      "db.operation.name": operation,
      "db.namespace": `${database}`,
      ...server,
    };
    const size: Attributes = commands.length > 1 ? { "db.operation.batch.size": commands.length } : {};
    const start = performance.now();
    const span = tracer.startSpan(`${operation} ${database}`, {
      kind: SpanKind.CLIENT,
      attributes: { ...attributes, ...size },
    });
    const end = (error: StoreError | undefined): void => {
      const failure = error && failureOf(error);
      if (failure) {
        span.setAttributes(failure);
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      span.end();
      duration.record((performance.now() - start) / 1000, { ...attributes, ...failure });
    };
    replies.then(
      (all) => end(all.find(isFailure)),
      (error) => end(toStoreError(error)),
    );
  };
  const hear = (event: CacheEvent): void => {
    if (event.type !== "load-end" && event.type !== "load-error") return;
    const { service, collection } = event;
    const attributes: Attributes = { "larder.service": service, "larder.collection": collection };
    const failure = event.type === "load-error" ? { "error.type": nameOf(event.error) } : undefined;
    const name = `load ${targetName({ service, collection })}`;
    const startTime = Date.now() - event.duration;
    const span = tracer.startSpan(name, { startTime, attributes: { ...attributes, ...failure } });
    if (failure) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end(startTime + event.duration);
    loads.record(event.duration / 1000, { ...attributes, ...failure });
  };

  const observed = COUNTS.map((name) => {
    const counter = meter.createObservableCounter(`larder.${snake(name)}`, { description: HELP[name], unit: "1" });
    const observe = (result: ObservableResult): void => {
      for (const [service, counters] of client.counters()) {
        for (const [collection, value] of totals(counters, name)) {
          result.observe(value, { "larder.service": service, "larder.collection": collection });
        }
      }
    };
    counter.addCallback(observe);
    return { counter, observe };
  });
  const leave = [client.onSend(send), client.subscribe(hear, { quiet: true })];
  return {
    close() {
      for (const end of leave) end();
      for (const { counter, observe } of observed) counter.removeCallback(observe);
    },
  };
}

/** Returns the sums by collection, because caches of several databases may have the same name. */
function totals(counters: readonly LiveCounters[], name: (typeof COUNTS)[number]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const one of counters) sums.set(one.collection, (sums.get(one.collection) ?? 0) + one[name]);
  return sums;
}

/** Returns the name of a command, or for several `PIPELINE`, followed by the name if they have the same. */
function operationOf(commands: readonly Command[]): string {
  const [first, ...rest] = commands.map(([name]) => name.toUpperCase());
  if (first === undefined || rest.length === 0) return first ?? "";
  return rest.every((name) => name === first) ? `PIPELINE ${first}` : "PIPELINE";
}

/** Returns whether a reply is a failure. NOSCRIPT is not, because the script is then sent with its source. */
function isFailure(reply: Reply): reply is StoreError {
  return reply instanceof Error && reply.code !== "NOSCRIPT";
}

/** Returns the kind of a failure, without the error's text. */
function failureOf({ kind, code }: StoreError): Attributes {
  return { "error.type": code || kind, ...(code && { "db.response.status_code": code }) };
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : "_OTHER";
}
