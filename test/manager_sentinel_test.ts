/** The check-up of a server that Sentinels watch. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { sentinel } from "../drivers/sentinel.ts";
import { type CacheClient, createCacheClient } from "../mod.ts";
import { diagnose, type Finding } from "../src/manager/mod.ts";
import { type SentinelServers, startSentinels } from "./helpers/redis_sentinel.ts";

let servers: SentinelServers;

async function findings(client: CacheClient): Promise<Partial<Record<Finding["check"], Finding>>> {
  const found: Partial<Record<Finding["check"], Finding>> = {};
  for await (const finding of diagnose(client)) found[finding.check] = finding;
  return found;
}

describe("diagnose on a server that Sentinels watch", () => {
  before(async () => {
    servers = await startSentinels({ downAfter: 60_000 });
  });
  after(() => servers?.stop());

  it("counts the Sentinels and looks at the replicas when the driver asks Sentinels", async () => {
    const driver = sentinel({ sentinels: servers.addresses, name: servers.name });
    await using client = createCacheClient({ env: {}, driver, timeout: 5000 });
    const found = await findings(client);
    assert.deepEqual(found.sentinels, { check: "sentinels", level: "ok", evidence: "3 Sentinels watch this primary" });
    assert.equal(found.replicas?.level, "ok", found.replicas?.evidence);
    assert.match(found["replica lag"]?.evidence ?? "", /^min-replicas-to-write is 0/);
    assert.equal(found["near caches"]?.level, "ok", found["near caches"]?.evidence);
    await driver.close();
  });

  it("warns when a plain driver does not ask the Sentinels", async () => {
    await using client = createCacheClient({ env: {}, url: `redis://${(await servers.master()).address}` });
    const { sentinels } = await findings(client);
    assert.equal(sentinels?.level, "warning");
    assert.match(
      `${sentinels?.evidence} ${sentinels?.advice}`,
      /^3 Sentinels watch .* does not ask .*redis\+sentinel:/,
    );
  });
});
