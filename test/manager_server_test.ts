/** Servers are called by their own names: of what INFO says, recorded from each. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { memory } from "../drivers/memory.ts";
import { createCacheClient, type Driver } from "../mod.ts";
import { diagnose, inspect } from "../src/manager/mod.ts";
import { serverMode, serverName } from "../src/manager/server.ts";
import { StoreWatch } from "../src/monitor/store_watch.ts";

/** The relevant lines of INFO, and the name and version of the server. */
const RECORDED: Readonly<Record<string, readonly [info: string, name: string | null, mode: string | undefined]>> = {
  "Redis 7": [
    "# Server\nredis_version:7.0.15\nredis_git_sha1:00000000\nredis_mode:standalone\nos:Linux x86_64\n" +
      "executable:/usr/bin/redis-server\n# Cluster\ncluster_enabled:0",
    "Redis 7.0.15",
    "standalone",
  ],
  "Redis 8": [
    "# Server\nredis_version:8.0.6\nredis_mode:cluster\n# Cluster\ncluster_enabled:1",
    "Redis 8.0.6",
    "cluster",
  ],
  "a sentinel": ["# Server\nredis_version:7.0.15\nredis_mode:sentinel", "Redis 7.0.15", "sentinel"],
  "Valkey 8": [
    "# Server\nredis_version:7.2.4\nserver_name:valkey\nvalkey_version:8.1.1\nredis_mode:standalone\ncluster_enabled:0",
    "Valkey 8.1.1",
    "standalone",
  ],
  "Valkey 9": [
    "# Server\nredis_version:7.2.4\nserver_name:valkey\nvalkey_version:9.1.2\nvalkey_release_stage:ga\nserver_mode:standalone\ncluster_enabled:0",
    "Valkey 9.1.2",
    "standalone",
  ],
  "Redict 7": [
    "# Server\nredis_version:7.2.4\nredict_version:7.3.6\nredict_mode:standalone\n# Cluster\ncluster_enabled:0",
    "Redict 7.3.6",
    "standalone",
  ],
  KeyDB: [
    "# Server\nredis_version:6.3.4\nredis_mode:standalone\nexecutable:/usr/local/bin/keydb-server\n" +
      "# CPU\nserver_threads:2\n# KeyDB\nmvcc_depth:0",
    "KeyDB 6.3.4",
    "standalone",
  ],
  Dragonfly: [
    "# Server\nredis_version:7.4.0\ndragonfly_version:df-v1.40.1\nredis_mode:standalone\n# Cluster\ncluster_enabled:0",
    "Dragonfly 1.40.1",
    "standalone",
  ],
  Garnet: [
    "# Server\ngarnet_version:1.0.65\nos:Unix\nredis_version:7.4.3\ncluster_enabled:0",
    "Garnet 1.0.65",
    undefined,
  ],
  Kvrocks: [
    "# Server\nversion:2.17.0\nkvrocks_version:2.17.0\nredis_version:7.0.0\nredis_mode:standalone",
    "Kvrocks 2.17.0",
    "standalone",
  ],
  Upstash: [
    "# Server\nupstash_version:1.13.3\nredis_version:6.2.6\nredis_mode:standalone",
    "Upstash 1.13.3",
    "standalone",
  ],
  "a server that does not report it": ["# Server\nuptime_in_seconds:5", null, undefined],
};

/** The embedded store, which says of itself what another server does. */
function telling(info: string): Driver {
  const inner = memory();
  return {
    ...inner,
    capabilities: inner.capabilities,
    close: () => inner.close(),
    send: async (database, commands, options) => {
      const replies = await inner.send(database, commands, options);
      return replies.map((reply, i) => (commands[i]?.[0] === "INFO" ? info.replaceAll("\n", "\r\n") : reply));
    },
  };
}

describe("a server's name", () => {
  for (const [title, [text, name, mode]] of Object.entries(RECORDED)) {
    it(`is ${name} for ${title} in every output`, async () => {
      const info = new Map(
        text.split("\n").flatMap((line) => {
          const [, key, value] = /^(\w+):(.*)$/.exec(line) ?? [];
          return key === undefined ? [] : [[key, value as string] as const];
        }),
      );
      const shown = ({ server, version }: { server: string | null; version: string | null }): string | null =>
        server === null && version === null ? null : `${server} ${version}`;
      assert.equal(shown(serverName(info)), name);
      assert.equal(serverMode(info), mode);
      await using client = createCacheClient({ env: {}, driver: telling(text), databases: "prefixed" });
      assert.equal(shown(await inspect(client)), name);
      assert.equal(shown(await new StoreWatch(client, 5000).sample(0, [])), name);
      for await (const { check, evidence } of diagnose(client)) {
        if (check === "version" && name !== null) assert.equal(evidence, name);
      }
    });
  }
});

it("diagnose stops at a Sentinel, and says what to do", async () => {
  const driver = telling("# Server\nredis_version:7.0.15\nredis_mode:sentinel");
  const { send } = driver;
  const sentinel: Driver = {
    ...driver,
    send: async (database, commands, options) => {
      const replies = await send(database, commands, options);
      return replies.map((reply, i) => (commands[i]?.[0] === "ROLE" ? ["sentinel", ["shop", "sessions"]] : reply));
    },
  };
  await using client = createCacheClient({ env: {}, driver: sentinel });
  const found = [];
  for await (const { check, level, evidence, advice } of diagnose(client)) found.push([check, level, evidence, advice]);
  const advice =
    "use redis+sentinel://host:26379/mymaster with the name of the master (it watches shop, sessions), " +
    "or REDIS_SENTINELS";
  assert.deepEqual(found.at(-1), ["replication", "error", "this is a Sentinel, not a store", advice]);
});
