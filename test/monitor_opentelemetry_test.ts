import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { describe, it } from "node:test";
import { inspect } from "node:util";
import { type Context, type ContextManager, context, ROOT_CONTEXT, SpanKind, SpanStatusCode } from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { createCacheClient } from "../mod.ts";
import { openTelemetry } from "../src/monitor/open_telemetry.ts";
import { rawClient, startRedis } from "./helpers/redis_server.ts";

/** Carries the active context over awaits, as the SDKs for servers do. */
class Contexts implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>();
  active(): Context {
    return this.#storage.getStore() ?? ROOT_CONTEXT;
  }
  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    active: Context,
    run: F,
    self?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return this.#storage.run(active, () => run.call(self, ...args));
  }
  bind<T>(_: Context, target: T): T {
    return target;
  }
  enable(): this {
    return this;
  }
  disable(): this {
    return this;
  }
}

/** Returns providers that keep everything in memory. */
function inMemory() {
  const spans = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter: metrics, exportIntervalMillis: 3_600_000 });
  const meterProvider = new MeterProvider({ readers: [reader] });
  const read = async (name: string) => {
    metrics.reset();
    await meterProvider.forceFlush();
    const all = metrics.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    return all.find(({ descriptor }) => descriptor.name === name);
  };
  const close = async (): Promise<void> => {
    await tracerProvider.shutdown();
    await meterProvider.shutdown();
  };
  return { tracerProvider, meterProvider, read, close, spans: (): ReadableSpan[] => spans.getFinishedSpans() };
}

describe("openTelemetry", () => {
  it("openTelemetry records sends and loads by the conventions, without keys and values", async () => {
    const redis = await startRedis();
    const telemetry = inMemory();
    const client = createCacheClient({ env: {}, url: redis.url });
    const { tracerProvider, meterProvider } = telemetry;
    const server = { serverAddress: "cache.example", serverPort: 6379 };
    const running = openTelemetry(client, { tracerProvider, meterProvider, ...server });
    context.setGlobalContextManager(new Contexts());
    try {
      const { categories, cache } = client.service("product");
      const tracer = tracerProvider.getTracer("test");
      await tracer.startActiveSpan("request", async (parent) => {
        await categories.getOrSet("S3CRET-1", () => ({ id: 1, name: "S3CRET-2" }));
        parent.end();
      });
      await Promise.all([cache.get("a"), cache.set("b", "S3CRET-3")]);
      const raw = await rawClient(redis.port);
      await raw.command("SELECT", 1);
      await raw.command("LPUSH", "list", "S3CRET-4");
      raw.close();
      await cache.increment("list");
      const all = telemetry.spans();
      const parent = all.find(({ name }) => name === "request");
      const sends = all.filter(({ kind }) => kind === SpanKind.CLIENT);
      const [first] = sends;
      assert.match(first?.name ?? "", /^(MGET|EVALSHA|EVAL) 1$/);
      assert.equal(first?.parentSpanContext?.spanId, parent?.spanContext().spanId);
      assert.deepEqual(
        { ...first?.attributes, "db.operation.name": "-" },
        {
          "db.system.name": "redis",
          "db.operation.name": "-",
          "db.namespace": "1",
          "server.address": "cache.example",
          "server.port": 6379,
        },
      );
      const pipeline = sends.find(({ name }) => name.startsWith("PIPELINE"));
      // MGET; GET of the epoch and the script that stores.
      assert.equal(pipeline?.attributes["db.operation.batch.size"], 3);
      const failed = sends.find(({ status }) => status.code === SpanStatusCode.ERROR);
      assert.equal(failed?.attributes["error.type"], "WRONGTYPE");
      assert.equal(failed?.attributes["db.response.status_code"], "WRONGTYPE");
      const load = all.find(({ name }) => name === "load product.categories");
      assert.equal(load?.kind, SpanKind.INTERNAL);
      assert.equal(load?.parentSpanContext?.spanId, parent?.spanContext().spanId);
      assert.deepEqual(load?.attributes, { "larder.service": "product", "larder.collection": "categories" });

      const durations = await telemetry.read("db.client.operation.duration");
      assert.equal(durations?.descriptor.unit, "s");
      const points = (durations?.dataPoints ?? []) as { attributes: object; value: { count: number; sum: number } }[];
      assert.equal(
        points.reduce((sum, { value }) => sum + value.count, 0),
        sends.length,
      );
      assert.ok(points.every(({ attributes }) => !("db.operation.batch.size" in attributes)));
      const misses = await telemetry.read("larder.misses");
      const counted = misses?.dataPoints.find(({ attributes }) => attributes["larder.collection"] === "categories");
      assert.equal(counted?.value, 1);
      assert.equal((await telemetry.read("larder.load.duration"))?.dataPoints.length, 1);
      const told = all.map(({ name, attributes, events, status }) => ({ name, attributes, events, status }));
      assert.doesNotMatch(inspect([told, points], { depth: 20 }), /S3CRET/);
    } finally {
      context.disable();
      running.close();
      await client.close();
      await telemetry.close();
      await redis.stop();
    }
  });

  it("openTelemetry records failed loaders by the name of their error, until it is closed", async () => {
    const telemetry = inMemory();
    const client = createCacheClient({ env: {}, driver: "memory" });
    const { tracerProvider, meterProvider } = telemetry;
    const running = openTelemetry(client, { tracerProvider, meterProvider });
    const { products } = client.service("product");
    const loader = () => Promise.reject(new RangeError("S3CRET"));
    await assert.rejects(products.getOrSet(1, loader));
    const load = telemetry.spans().find(({ name }) => name === "load product.products");
    assert.equal(load?.status.code, SpanStatusCode.ERROR);
    assert.equal(load?.attributes["error.type"], "RangeError");
    const send = telemetry.spans().find(({ kind }) => kind === SpanKind.CLIENT);
    assert.equal(send?.attributes["db.system.name"], "larder.memory");
    running.close();
    const { length } = telemetry.spans();
    await products.get(1);
    assert.equal(telemetry.spans().length, length);
    assert.doesNotMatch(inspect(telemetry.spans(), { depth: 5 }), /S3CRET/);
    assert.throws(
      () => openTelemetry(client, { meters: 1 } as never),
      /Cannot set the options of openTelemetry: received "meters"/,
    );
    await client.close();
    await telemetry.close();
  });

  it("openTelemetry does nothing when no SDK is registered", async () => {
    const client = createCacheClient({ env: {}, driver: "memory" });
    const running = openTelemetry(client);
    await client.service("product").products.get(1);
    running.close();
    await client.close();
  });
});
