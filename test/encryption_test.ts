import assert from "node:assert/strict";
import { it } from "node:test";
import { inspect } from "node:util";
import {
  type CacheClient,
  type CacheEvent,
  type ClientOptions,
  collection,
  createCacheClient,
  defineService,
  type Logger,
} from "../mod.ts";
import { type Case, onWires } from "./helpers/engine.ts";
import { eventually } from "./helpers/eventually.ts";

interface Card {
  readonly token: string;
  readonly notes?: string;
}

const card = { key: "card:{id}" };
/** The same collection in clear, sealed, sealed and near, sealed and packed. */
const collections = {
  cards: collection<Card>({ ...card, tags: (value: Card) => [`tag-${value.token.length}`] }),
  near: collection<Card>({ key: "near:{id}", near: { ttl: "1h" } }),
  kept: collection<Card>({ key: "kept:{id}", ttl: "1m", staleFor: "1h", failSafeFor: "1h" }),
  packed: collection<Card>({ key: "packed:{id}", compressAbove: 200 }),
};
const VAULT = defineService({ name: "vault", database: 9, encrypted: true, collections });
const PLAIN = defineService({ name: "vault", database: 9, collections });

/** Keys: text to search for, and their base64. */
const SECRETS = { k1: "first-key-AAAAAAAAAAAAAAAAAAAAAA", k2: "other-key-BBBBBBBBBBBBBBBBBBBBBB" } as const;
const KEYS = { k1: btoa(SECRETS.k1), k2: btoa(SECRETS.k2) };
const SECRET = "tok_4242_s3cret";
const VALUE: Card = { token: SECRET, notes: "phở 🍜" };

type Named = Record<string, string>;

/** A client with these keys; what it reports, and what it logs. */
function open(t: Case, keys?: Named, more: ClientOptions = {}) {
  const events: CacheEvent[] = [];
  const logged: unknown[] = [];
  const log = (...all: unknown[]): void => void logged.push(all);
  const logger = { debug: log, info: log, warn: log, error: log } as unknown as Logger;
  const client = t.make({ logger, ...(keys && { encryption: { keys } }), ...more });
  client.subscribe((event) => events.push(event));
  const reasons = () => events.flatMap((event) => (event.type === "corrupt" ? [`${event.key} ${event.reason}`] : []));
  return { client, vault: client.service(keys || more.encryption ? VAULT : PLAIN), events, logged, reasons };
}

/** The text that is stored. */
async function raw(t: Case, key: string): Promise<string> {
  return String(await t.raw(9, "GET", key));
}

/** Fails where anything that a client shows holds a key or a value. */
function assertSilent({ client, events, logged }: { client: CacheClient; events: unknown; logged: unknown }): void {
  const shown = inspect([events, logged, client, client.stats()], { depth: 20, showHidden: true });
  const secrets = [SECRET, "phở", ...Object.values(SECRETS), ...Object.values(KEYS)];
  for (const secret of secrets) assert.ok(!shown.includes(secret.slice(0, 9)), `${secret} in ${shown}`);
}

/** Asserts that every way to read a card is a miss with this reason, and throws nothing. */
async function assertMisses(t: Case, keys: Named | undefined, reason = "sealed"): Promise<void> {
  const all = open(t, keys);
  const { cards } = all.vault;
  const strict = { onError: "throw" } as const;
  assert.equal(await cards.get("1", strict), undefined);
  assert.deepEqual(await cards.getMany(["1"], strict), new Map());
  assert.deepEqual(all.reasons(), Array(2).fill(`card:1 ${reason}`));
  assert.deepEqual([all.client.stats().corrupt, all.client.stats().errors, all.client.stats().misses], [2, 0, 2]);
  // It is loaded again, and not stored here, so that other clients still find the old entry.
  const load = { token: "loaded" };
  const answer = await cards.getOrSet("1", (context) => {
    assert.equal(context.old, undefined);
    context.store = false;
    return load;
  });
  assert.deepEqual(answer, load);
  assert.equal(await cards.update("1", (value) => assert.equal(value, undefined) as undefined), undefined);
  assertSilent(all);
}

onWires("encryption", (onWire) => {
  it(
    "stores no value, and gives it back to every verb and process",
    onWire(async (t) => {
      const all = open(t, KEYS);
      const { cards } = all.vault;
      await cards.set("1", VALUE);
      await cards.setMany([["2", VALUE]]);
      await cards.getOrSet("3", () => VALUE);
      await cards.getOrSetMany(["4"], () => new Map([["4", VALUE]]));
      await cards.update("5", () => VALUE);
      const other = open(t, KEYS).vault.cards;
      for (const id of ["1", "2", "3", "4", "5"]) {
        const text = await raw(t, `card:${id}`);
        assert.match(text, /^\{("born":\d+,)?("tags":\[[^\]]*\],)?("born":\d+,)?"sealed":"k1\.[A-Za-z0-9+/=]+"\}$/);
        for (const plain of [SECRET, "token", "notes", "phở", "json"]) assert.ok(!text.includes(plain), text);
        assert.deepEqual(await other.get(id), VALUE);
        assert.deepEqual(await other.getOrSet(id, () => assert.fail("it is there")), VALUE);
      }
      assert.equal((await other.getMany(["1", "2", "3", "4", "5"])).size, 5);
      const [first, second] = [await raw(t, "card:1"), await raw(t, "card:2")];
      assert.notEqual(first, second);
      assert.equal(await other.has("1"), true);
      assert.equal(typeof (await other.ttl("1")), "number");
      assert.equal(await all.vault.invalidateTags(`tag-${SECRET.length}`), true);
      assert.equal(await other.get("1"), undefined);
      assert.deepEqual(all.reasons(), []);
      assertSilent(all);
    }),
  );

  it(
    "keeps values of any kind, null among them, and the fact that a loader found nothing",
    onWire(async (t) => {
      const service = defineService({
        name: "vault",
        database: 9,
        encrypted: true,
        negativeTtl: "1h",
        collections: { any: collection<unknown>({ key: "any:{id}" }) },
      });
      const client = open(t, KEYS).client;
      const { any } = t.make({ encryption: { keys: KEYS } }).service(service);
      const values = [null, false, 0, "", 7, [undefined], new Map([["a", new Date(5)]]), 2n ** 70n, new Set([1])];
      for (const [i, value] of values.entries()) {
        await any.set(i, value);
        assert.deepEqual(await any.get(i), value);
        assert.match(await raw(t, `any:${i}`), /"sealed"/);
      }
      assert.equal(await any.getOrSet("none", () => undefined), undefined);
      assert.equal(await any.getOrSet("none", () => assert.fail("it is remembered")), undefined);
      assert.equal(await any.has("none"), false);
      assert.equal(client.stats().errors, 0);
    }),
  );

  it(
    "makes corrupt misses when the key is different, gone or missing altogether",
    onWire(async (t) => {
      await open(t, { k1: KEYS.k1 }).vault.cards.set("1", VALUE);
      const text = await raw(t, "card:1");
      await assertMisses(t, { k1: KEYS.k2 });
      await assertMisses(t, { k2: KEYS.k2 });
      await assertMisses(t, undefined);
      assert.equal(await raw(t, "card:1"), text);
      assert.deepEqual(await open(t, { k1: KEYS.k1 }).vault.cards.get("1"), VALUE);
    }),
  );

  it(
    "reads by a key that was rotated out, and writes by the new one",
    onWire(async (t) => {
      await open(t, { k1: KEYS.k1 }).vault.cards.set("1", VALUE);
      const both = open(t, { k2: KEYS.k2, k1: KEYS.k1 });
      assert.deepEqual(await both.vault.cards.get("1"), VALUE);
      assert.match(await raw(t, "card:1"), /"sealed":"k1\./);
      await both.vault.cards.update("1", (value) => value && { ...value, notes: "new" });
      assert.match(await raw(t, "card:1"), /"sealed":"k2\./);
      assert.equal((await open(t, { k2: KEYS.k2 }).vault.cards.get("1"))?.notes, "new");
      assert.deepEqual(both.reasons(), []);
      // An old process does not know the new key yet: for it, that is a miss.
      await assertMisses(t, { k1: KEYS.k1 });
      // `current` lets all learn the new key before any writes by it.
      const learning = open(t, undefined, { encryption: { keys: { k2: KEYS.k2, k1: KEYS.k1 }, current: "k1" } });
      await learning.vault.cards.set("1", VALUE);
      assert.match(await raw(t, "card:1"), /"sealed":"k1\./);
    }),
  );

  it(
    "makes misses of entries that were moved, changed or cut",
    onWire(async (t) => {
      const { cards, near } = open(t, KEYS).vault;
      await cards.set("2", VALUE);
      await near.set("1", VALUE);
      const moved = [await raw(t, "card:2"), await raw(t, "near:1")];
      const good = moved[0] as string;
      const changed = good.replace(
        /(.{8})"\}$/,
        (_, end: string) => `${end.replace(/./g, (c) => (c === "A" ? "B" : "A"))}"}`,
      );
      const others = [
        changed,
        good.replace("k1.", "k1~"),
        good.replace("k1.", "k2."),
        good.replace("k1.", "k9."),
        good.replace(/\.(.{20})[^"]*/, ".$1"),
        '{"sealed":""}',
        '{"sealed":"k1."}',
        '{"sealed":"k1.%%%"}',
        '{"sealed":7}',
        '{"sealed":null}',
        '{"sealed":{"json":{"token":"x"}}}',
      ];
      for (const text of [...moved, ...others]) {
        assert.equal(await t.raw(9, "SET", "card:1", text), "OK");
        await assertMisses(t, KEYS);
      }
      await t.raw(9, "SET", "card:1", good.replace("sealed", "packed"));
      await assertMisses(t, KEYS);
    }),
  );

  it(
    "makes misses of plain text that another program wrote",
    onWire(async (t) => {
      for (const text of [
        '{"json":{"token":"forged"}}',
        '{"json":null,"meta":{"values":["undefined"]}}',
        '{"json":5}',
      ]) {
        await t.raw(9, "SET", "card:1", text);
        await assertMisses(t, KEYS);
      }
      // A sealed text next to the plain one changes nothing.
      const all = open(t, KEYS);
      await all.vault.cards.set("1", VALUE);
      const both = (await raw(t, "card:1")).replace("{", '{"json":{"token":"forged"},');
      await t.raw(9, "SET", "card:1", both);
      assert.deepEqual(await all.vault.cards.get("1"), VALUE);
      for (const text of ["", "garbage", "[]", '"x"', "{}", '{"json":']) {
        await t.raw(9, "SET", "card:1", text);
        assert.equal(await all.vault.cards.get("1"), undefined, text);
      }
    }),
  );

  it(
    "makes misses of values from before it was turned on, and of sealed values once it is off",
    onWire(async (t) => {
      const before = t.make().service(PLAIN);
      await before.cards.set("1", VALUE);
      assert.ok((await raw(t, "card:1")).includes(SECRET));
      await assertMisses(t, KEYS);
      const { cards } = open(t, KEYS).vault;
      assert.deepEqual(await cards.getOrSet("1", () => VALUE), VALUE);
      assert.ok(!(await raw(t, "card:1")).includes(SECRET));
      assert.equal(await before.cards.get("1"), undefined);
      assert.equal(
        await t
          .make({ encryption: { keys: KEYS } })
          .service(PLAIN)
          .cards.get("1"),
        undefined,
      );
    }),
  );

  it(
    "leaves counters as they are, because the store adds to them",
    onWire(async (t) => {
      const all = open(t, KEYS);
      const { cache } = all.vault;
      assert.equal(await cache.increment("logins"), 1);
      assert.equal(await cache.increment("logins", { by: 4 }), 5);
      assert.equal(await cache.get("logins"), 5);
      assert.equal(await raw(t, "logins"), "5");
      await cache.set("sealed", 5);
      assert.equal(await cache.increment("sealed"), 0);
      assert.equal(await cache.get("sealed"), 5);
      assert.deepEqual(all.reasons(), []);
    }),
  );

  it(
    "keeps stale and fail-safe values, and decoded values in near caches",
    onWire(async (t) => {
      const all = open(t, KEYS);
      const { kept, near } = all.vault;
      await kept.set("1", VALUE);
      t.now += 60_000;
      assert.equal(await kept.get("1"), undefined);
      const down = () => Promise.reject(new Error("down"));
      assert.deepEqual(await kept.getOrSet("1", down), VALUE);
      assert.deepEqual(await kept.getOrSet("1", down, { staleFor: false }), VALUE);
      await assert.rejects(open(t, { k1: KEYS.k2 }).vault.kept.getOrSet("1", down), /down/);
      await near.set("1", VALUE);
      await eventually(async () => {
        assert.deepEqual(await near.get("1"), VALUE);
        return all.client.stats().nearHits > 0;
      });
      assert.ok(Object.isFrozen(await near.get("1")));
      const wrong = open(t, { k1: KEYS.k2 });
      for (let i = 0; i < 3; i++) assert.equal(await wrong.vault.near.get("1"), undefined);
      assert.equal(wrong.client.stats().nearHits, 0);
      assertSilent(all);
    }),
  );

  it(
    "leaves alone services that do not ask for it, and seals those of Food Fast that hold secrets",
    onWire(async (t) => {
      const { client } = open(t, KEYS);
      await client.service("payment").methods.set("u", [{ token: SECRET, last4: "4242" }]);
      await client.service("product").products.set(1, { id: 1, name: "Pho" });
      assert.ok(!String(await t.raw(6, "GET", "payment_methods:u")).includes(SECRET));
      assert.ok(String(await t.raw(1, "GET", "product:1")).includes("Pho"));
      assert.equal((await client.service("payment").methods.get("u"))?.[0]?.token, SECRET);
    }),
  );
});

onWires("compression", (onWire) => {
  const notes = "Phở bò tái nạm, extra basil. ".repeat(60);
  const big: Card = { token: SECRET, notes };
  const plain = JSON.stringify(big).length;

  it(
    "makes values above its size smaller, and leaves the others",
    onWire(async (t) => {
      const { packed, cards } = t.make().service(PLAIN);
      await packed.set("big", big);
      await packed.set("small", VALUE);
      await cards.set("big", big);
      const text = await raw(t, "packed:big");
      assert.match(text, /^\{"packed":"/);
      assert.ok(text.length < plain / 4, `${text.length} of ${plain}`);
      assert.ok((await raw(t, "packed:small")).includes(SECRET));
      assert.ok((await raw(t, "card:big")).includes(notes));
      const other = t.make().service(PLAIN);
      assert.deepEqual(await other.packed.get("big"), big);
      assert.deepEqual(await other.packed.getOrSet("small", () => assert.fail("it is there")), VALUE);
      // The entry says whether it is compressed, so clients without the option read it too.
      await t.raw(9, "SET", "card:moved", text);
      assert.deepEqual(await other.cards.get("moved"), big);
    }),
  );

  it(
    "comes before encryption, and both come back",
    onWire(async (t) => {
      const all = open(t, KEYS);
      const { packed, cards } = all.vault;
      await packed.set("big", big);
      await packed.set("small", VALUE);
      await cards.set("big", big);
      const text = await raw(t, "packed:big");
      assert.match(text, /^\{"sealed":"k1~/);
      assert.ok(text.length < plain / 4, `${text.length} of ${plain}`);
      assert.match(await raw(t, "packed:small"), /^\{"sealed":"k1\./);
      assert.ok((await raw(t, "card:big")).length > plain);
      for (const id of ["big", "small"]) {
        assert.deepEqual(await open(t, KEYS).vault.packed.get(id), id === "big" ? big : VALUE);
      }
      assert.equal(await open(t, { k1: KEYS.k2 }).vault.packed.get("big"), undefined);
      await t.raw(9, "SET", "packed:small", text);
      assert.equal(await packed.get("small"), undefined);
      assert.deepEqual(all.reasons(), ["packed:small sealed"]);
      assertSilent(all);
    }),
  );

  it(
    "makes misses of compressed text that cannot be inflated",
    onWire(async (t) => {
      const all = open(t);
      for (const text of ['{"packed":""}', '{"packed":"AAAA"}', '{"packed":"%"}', '{"packed":1}', '{"packed":null}']) {
        await t.raw(9, "SET", "packed:1", text);
        assert.equal(await all.vault.packed.get("1", { onError: "throw" }), undefined, text);
      }
      // Deno inflates what is cut short to nothing, without an error.
      assert.equal(all.reasons().length, 5);
      for (const reason of all.reasons()) assert.match(reason, /^packed:1 (sealed|payload)$/);
    }),
  );

  it(
    "comes from the client's option too, for caches without a service as well",
    onWire(async (t) => {
      const client = t.make({ compressAbove: 200 });
      const cache = client.cache<Card>({ database: 9 });
      await cache.set("big", big);
      assert.match(await raw(t, "big"), /^\{"packed":"/);
      assert.deepEqual(await cache.get("big"), big);
      await client.service(PLAIN).cards.set("big", big);
      assert.match(await raw(t, "card:big"), /"packed":"/);
    }),
  );
});

onWires("values in the order they are written", (onWire) => {
  it(
    "keep their order when some take time to seal",
    onWire(async (t) => {
      const client = createCacheClient({ ...t.options, encryption: { keys: KEYS } });
      const { packed } = client.service(VAULT);
      const large = { token: SECRET, notes: "x".repeat(300_000) };
      for (let round = 0; round < 5; round++) {
        const writes = [large, VALUE, large, { token: `last ${round}` }].map((value) => packed.set("1", value));
        assert.deepEqual(await Promise.all(writes), [true, true, true, true]);
        assert.deepEqual(await packed.get("1"), { token: `last ${round}` });
      }
      await client.close();
    }),
  );
});
