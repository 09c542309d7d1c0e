import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { crc16, hashSlot } from "../src/base/crc16.ts";
import { type RedisServer, rawClient, startRedis } from "./helpers/redis_server.ts";

describe("crc16", () => {
  it("crc16 gives the check value and those of keys", () => {
    assert.equal(crc16("123456789"), 0x31c3);
    assert.equal(crc16(""), 0);
    assert.equal(crc16("product:123"), 29_587);
    assert.equal(hashSlot("Phở"), 11_907);
  });
});

describe("hashSlot", () => {
  let folder: string;
  let node: RedisServer;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "larder-cluster-"));
    node = await startRedis({ args: ["--cluster-enabled", "yes", "--dir", folder] });
  });
  after(async () => {
    await node?.stop();
    await rm(folder, { recursive: true });
  });

  it("hashSlot gives what a server gives when the key is any text, with braces or without", async () => {
    const piece = fc.oneof(fc.constantFrom("{", "}", "{}", "{a}", "é", "本", "😀"), fc.string({ unit: "grapheme" }));
    const keys = fc.sample(
      fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join("")),
      500,
    );
    const client = await rawClient(node.port);
    const slots = await client.pipeline(keys.map((key) => ["CLUSTER", "KEYSLOT", key] as const));
    client.close();
    assert.deepEqual(keys.map(hashSlot), slots);
  });
});
