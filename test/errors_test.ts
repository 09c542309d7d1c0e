import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CacheError, isCacheError, StoreError } from "../mod.ts";
import { isForbidden, isRefusal, showsLife } from "../src/base/store_error.ts";
import { BackupError } from "../src/manager/errors.ts";
import { CardNumberError } from "../src/services/payment.ts";

describe("isCacheError", () => {
  it("isCacheError returns true for every error of this library, including those of the store", () => {
    for (const error of [new CacheError("no"), new StoreError("timeout", "late"), new CardNumberError("no")]) {
      assert.equal(isCacheError(error), true, error.name);
      assert.ok(error instanceof CacheError);
    }
    assert.equal(isCacheError(new BackupError(1, "damaged")), true);
  });

  it("isCacheError returns true for an error of another copy of the package", () => {
    class Copied extends Error {
      get [Symbol.for("@foodfast/larder error")](): boolean {
        return true;
      }
    }
    assert.equal(isCacheError(new Copied()), true);
  });

  it("isCacheError returns false for other values, even with the name of our errors", () => {
    const named = Object.assign(new Error("no"), { name: "CacheError" });
    for (const value of [named, new TypeError("no"), { name: "CacheError" }, null, undefined]) {
      assert.equal(isCacheError(value), false);
    }
  });
});

describe("StoreError", () => {
  it("StoreError has no own symbol that would be printed or compared", () => {
    assert.deepEqual(
      Reflect.ownKeys(new StoreError("timeout", "late")).filter((key) => typeof key === "symbol"),
      [],
    );
  });

  it("isForbidden, isRefusal and showsLife distinguish kinds of StoreError", () => {
    const cases = [
      [new StoreError("auth", "NOPERM no right", { code: "NOPERM" }), [true, true, true]],
      [new StoreError("command", "ERR unknown command 'GETEX'", { code: "ERR" }), [true, true, true]],
      [new StoreError("command", "WRONGTYPE wrong", { code: "WRONGTYPE" }), [false, true, true]],
      [new StoreError("command", "LOADING data", { code: "LOADING", repeat: "all" }), [false, true, false]],
      [new StoreError("auth", "WRONGPASS", { code: "WRONGPASS" }), [false, true, false]],
      [new StoreError("connection", "lost"), [false, false, false]],
    ] as const;
    for (const [error, expected] of cases) {
      assert.deepEqual([isForbidden(error), isRefusal(error), showsLife(error)], expected, error.message);
    }
  });
});
