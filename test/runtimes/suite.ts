/** The contract as a bundle inside an edge runtime runs it: one case a call, told by its place in the list. */
import assert from "node:assert/strict";

/** Where the clients of a run store: the options that choose the wire. */
export type Wire =
  | { readonly driver: "memory" }
  | { readonly driver: "upstash"; readonly url: string; readonly token: string };

interface Case {
  readonly name: string;
  run(t: { readonly wire: Wire }): Promise<void>;
}

const contract: readonly Case[] = [
  {
    name: "deepEqual tells values apart when they are equal as JSON",
    async run() {
      const make = () => ({ at: new Date(5), map: new Map([[1, new Set(["a"])]]), missing: undefined, zero: -0 });
      const value = make();
      assert.deepEqual(make(), value);
      assert.notDeepEqual({ ...value, zero: 0 }, value);
      assert.notDeepEqual({ at: value.at, map: value.map, zero: -0 }, value);
      assert.throws(() => assert.equal(1, 2), /1 is not 2/);
      await assert.rejects(Promise.reject(new TypeError("x")), TypeError);
      await assert.rejects(assert.rejects(Promise.resolve()), { message: "nothing was rejected" });
    },
  },
  {
    name: "fetch reaches the bridge when the wire is REST",
    async run({ wire }) {
      if (wire.driver === "memory") return;
      const headers = { authorization: `Bearer ${wire.token}` };
      const response = await fetch(wire.url, { method: "POST", headers, body: '["PING"]' });
      assert.equal(response.status, 200);
      assert.equal(((await response.json()) as { result: unknown }).result, "PONG");
    },
  },
];

/** The names of the cases, in their order. */
export const names: readonly string[] = contract.map((item) => item.name);

/**
 * Runs one case.
 *
 * @param index The case's place in {@linkcode names}.
 * @param wire Where its clients store.
 * @returns What went wrong, with the stack; `undefined` when nothing did.
 */
export async function run(index: number, wire: Wire): Promise<string | undefined> {
  try {
    const item = contract[index];
    if (item === undefined) throw new RangeError(`Cannot run case ${index}: there are ${contract.length}`);
    await item.run({ wire });
    return undefined;
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}\n${error.stack}` : String(error);
  }
}
