import assert from "node:assert/strict";
import { it } from "node:test";
import { collection, defineService } from "../mod.ts";
import { AND_SHARDS, gate, onWires } from "./helpers/engine.ts";

const shop = defineService({
  name: "shop",
  database: 9,
  collections: {
    plain: collection<string>({ key: "plain:{id}" }),
    tagged: collection<string>({ key: "tagged:{id}", tags: ["menu"] }),
    locked: collection<string>({ key: "locked:{id}", lock: true }),
    near: collection<string>({ key: "near:{id}", near: true }),
  },
});
const NAMES = ["plain", "tagged", "locked", "near"] as const;

onWires(
  "a load",
  (onWire) => {
    for (const name of NAMES) {
      it(
        `is not stored when the store lost its data since it began, in a collection that is ${name}`,
        onWire(async ({ make, raw }) => {
          const [one, two] = [make().service(shop), make().service(shop)];
          await one[name].set("other", "x");
          assert.equal(await one.invalidateAll(), true);
          const [begun, value] = [gate(), gate<string>()];
          const loading = one[name].getOrSet("1", () => {
            begun.open();
            return value.promise;
          });
          await begun.promise;
          assert.equal(await two.invalidateAll(), true);
          // A restart without persistence, a failover to an empty replica, an eviction.
          await raw(9, "UNLINK", "#larder:clock");
          value.open("loaded before");
          assert.equal(await loading, "loaded before");
          assert.equal(await two[name].get("1", { near: false }), undefined);
          assert.equal(await one[name].getOrSet("1", () => "loaded after"), "loaded after");
          assert.equal(await two[name].get("1", { near: false }), "loaded after");
          assert.equal(await two[name].set("1", "set"), true);
          assert.equal(await one[name].get("1", { near: false }), "set");
        }),
      );
    }

    for (const name of NAMES) {
      for (const seen of ["its epoch", "its epoch, and that it is gone"]) {
        it(
          `is not stored when the first invalidation was lost since it began, and its client saw ${seen}, if ${name}`,
          onWire(async ({ make, raw }) => {
            const [one, two] = [make().service(shop), make().service(shop)];
            const [begun, value] = [gate(), gate<string>()];
            const loading = one[name].getOrSet("1", () => {
              begun.open();
              return value.promise;
            });
            await begun.promise;
            assert.equal(await two.invalidateAll(), true);
            await one[name].get("1", { near: false });
            await raw(9, "UNLINK", "#larder:clock");
            if (seen !== "its epoch") await one[name].get("1", { near: false });
            value.open("loaded before");
            assert.equal(await loading, "loaded before");
            assert.equal(await two[name].get("1", { near: false }), undefined);
            assert.equal(await one[name].getOrSet("1", () => "loaded after"), "loaded after");
            assert.equal(await two[name].get("1", { near: false }), "loaded after");
          }),
        );
      }
    }

    it(
      "is stored when nothing was ever invalidated and the store lost its data since",
      onWire(async ({ make, raw }) => {
        const { plain } = make().service(shop);
        const value = gate<string>();
        const begun = gate();
        const loading = plain.getOrSet("1", () => {
          begun.open();
          return value.promise;
        });
        await begun.promise;
        await raw(9, "UNLINK", "#larder:clock");
        value.open("v");
        await loading;
        assert.equal(await plain.get("1"), "v");
      }),
    );
  },
  AND_SHARDS,
);
