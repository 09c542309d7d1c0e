/** Invalidations that parts of a store did not confirm, over an embedded store that stands for one of two masters. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Command, type Driver, type Reply, StoreError } from "../drivers/driver.ts";
import { memory } from "../drivers/memory.ts";
import { type CacheClient, type CacheEvent, createCacheClient } from "../mod.ts";
import { eventually } from "./helpers/eventually.ts";

/** A store of one part, which can be away, and whose replies can be held back. */
class OnePart implements Driver {
  readonly name = "part";
  readonly capabilities = { numbered: false, scripts: true, ordered: true, parts: true };
  readonly sends: (readonly Command[])[] = [];
  away = false;
  /** Holds back the reply of a send that was executed. */
  hold: ((commands: readonly Command[]) => Promise<void> | undefined) | undefined;
  readonly #store = memory();

  partOf = (): string => "a";
  parts = (): string[] => ["a"];

  async send(database: number, commands: readonly Command[]): Promise<Reply[]> {
    const held = this.hold?.(commands);
    if (this.away && !held) throw new StoreError("connection", "The part is away");
    this.sends.push(commands);
    const replies = await this.#store.send(database, commands);
    await held;
    return replies;
  }

  close = (): Promise<void> => this.#store.close();
}

const invalidates = (commands: readonly Command[]): boolean =>
  commands.some(([name, , , key]) => name === "EVAL" && String(key).endsWith("#larder:clock"));

async function using(run: (client: CacheClient, driver: OnePart, events: CacheEvent[]) => Promise<void>) {
  const driver = new OnePart();
  const cluster = { shards: 1 };
  const client = createCacheClient({ driver, cluster, timeout: 200, breaker: false, logger: false, env: {} });
  const events: CacheEvent[] = [];
  client.subscribe((event) => events.push(event));
  try {
    await run(client, driver, events);
  } finally {
    await client.close();
    await driver.close();
  }
}

const count = (events: readonly CacheEvent[], type: CacheEvent["type"]): number =>
  events.filter((event) => event.type === type).length;

describe("an invalidation that is kept", () => {
  it("is sent again when the same tag was kept again after it was sent, and before that was confirmed", () =>
    using(async (client, driver, events) => {
      const cache = client.cache<string>();
      await cache.set("a", "old", { tags: ["menu"] });
      let release = (): void => {};
      let held = 0;
      driver.away = true;
      driver.hold = (commands) => {
        if (count(events, "invalidate-kept") === 0 || held > 0 || !invalidates(commands)) return undefined;
        held++;
        return new Promise((done) => {
          release = done;
        });
      };
      assert.equal(await cache.invalidateTags("menu"), false);
      await eventually(() => held === 1);
      assert.equal(await cache.invalidateTags("menu"), false);
      assert.equal(count(events, "invalidate-kept"), 2);
      const before = driver.sends.length;
      release();
      driver.away = false;
      await eventually(() => count(events, "invalidate-sent") === 1);
      assert.ok(driver.sends.slice(before).some(invalidates), "the second one was sent too");
    }));

  it("is kept once for all clients of requests", () =>
    using(async (client, driver, events) => {
      driver.away = true;
      await client.cache().get("a");
      const requests = Array.from({ length: 5 }, () => client.forRequest({ waitUntil() {} }).cache());
      assert.deepEqual(
        await Promise.all(requests.map((cache, i) => cache.invalidateTags(`tag-${i}`))),
        requests.map(() => false),
      );
      driver.away = false;
      driver.sends.length = 0;
      await client.cache().get("a");
      assert.equal(driver.sends.flat().filter((command) => invalidates([command])).length, 1);
      await eventually(() => count(events, "invalidate-sent") === 1);
    }));
});
