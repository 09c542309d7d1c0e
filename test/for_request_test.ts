import assert from "node:assert/strict";
import { it } from "node:test";
import { type CacheClient, type CacheEvent, collection, defineService } from "../mod.ts";
import { Background, gate, handlingAll, onWires } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";
import { collect } from "./helpers/garbage.ts";

const dishes = collection<number>({ key: "dish:{id}", ttl: "1m", staleFor: "1h" });
const SHOP = defineService({
  name: "shop",
  database: 9,
  collections: { dishes, near: collection<number>({ key: "near:{id}", near: { ttl: "1h" } }) },
});

/** A client for one request, and what it leaves for later. */
function request(client: CacheClient) {
  const later = new Background();
  const own = client.forRequest(later);
  return { client: own, later, shop: own.service(SHOP) };
}

onWires("forRequest", (onWire) => {
  it(
    "answers before the loaded value is written, and hands the write to the request's waitUntil",
    onWire(async (t) => {
      const client = t.make();
      const [one, other] = [request(client), request(client)];
      assert.equal(await one.shop.dishes.getOrSet("a", () => 1), 1);
      assert.ok(one.later.taken > 0);
      assert.equal(other.later.taken, 0);
      await one.later.done();
      assert.equal(await other.shop.dishes.get("a"), 1);
      assert.equal(await t.raw(9, "EXISTS", "dish:a"), 1);
    }),
  );

  it(
    "hands each background renewal to the waitUntil of the request that began it, and to no other",
    onWire(async (t) => {
      const client = t.make();
      await client.service(SHOP).dishes.set("a", 1);
      t.now += 60_000;
      const [one, other] = [request(client), request(client)];
      const source = gate<number>();
      assert.equal(await one.shop.dishes.getOrSet("a", () => source.promise), 1);
      const { taken } = one.later;
      assert.ok(taken > 0);
      let over = false;
      const done = one.later.done().then(() => {
        over = true;
      });
      assert.equal(await other.shop.dishes.getOrSet("a", () => assert.fail("one is in flight")), 1);
      assert.equal(other.later.taken, 0);
      assert.equal(over, false);
      source.open(2);
      await done;
      assert.equal(await other.shop.dishes.get("a"), 2);
    }),
  );

  it(
    "hands over what fails too, and leaves no rejection unhandled",
    onWire(async (t) => {
      const client = t.make();
      await client.service(SHOP).dishes.set("a", 1);
      t.now += 60_000;
      await handlingAll(async () => {
        const { shop, later } = request(client);
        const down = () => Promise.reject(new Error("down"));
        assert.equal(await shop.dishes.getOrSet("a", down), 1);
        await assert.rejects(shop.dishes.getOrSet("b", down), /down/);
        await later.done();
      });
    }),
  );

  it(
    "shares counts, events, near caches and the connection, and outlives its requests",
    onWire(async (t) => {
      const client = t.make();
      const events: CacheEvent[] = [];
      client.subscribe((event) => events.push(event));
      const first = request(client);
      await first.shop.near.set("a", 1);
      await eventually(async () => {
        assert.equal(await request(client).shop.near.get("a"), 1);
        return client.stats().nearHits > 0;
      });
      // What one request writes, no other answers from before.
      await request(client).shop.near.set("a", 2);
      assert.equal(await request(client).shop.near.get("a"), 2);
      assert.equal(await client.service(SHOP).near.get("a"), 2);
      assert.ok(events.some((event) => event.type === "hit" && event.near));
      assert.deepEqual(first.client.stats().services, client.stats().services);
      assert.equal(client.stats().writes, 2);
      assert.equal(first.client.driver, client.driver);
      // A request's client is what its base is: the same services, one each.
      assert.equal(first.client.service(SHOP), first.shop);
      assert.notEqual(request(client).shop, first.shop);
      assert.equal(await first.client.ping(), true);
    }),
  );

  it(
    "holds no memory of the requests that are over",
    onWire(async (t) => {
      const client = t.make({ fleetStats: true });
      const gone: WeakRef<object>[] = [];
      for (let i = 0; i < 20; i++) {
        const { client: own, shop, later } = request(client);
        await shop.dishes.getOrSet(i, () => i);
        await later.done();
        gone.push(new WeakRef(own), new WeakRef(shop));
      }
      await eventually(async () => {
        await collect();
        return gone.filter((ref) => ref.deref() !== undefined).length <= 4;
      });
      assert.equal(client.stats().loads, 20);
    }),
  );
});
