/** Keys that processes with another number of shards have written. */
import type { RawCommand } from "../../drivers/driver.ts";
import { EPOCH_KEY } from "../base/own_keys.ts";
import { SHARD_COUNTS } from "../entry/shards.ts";
import { type ManagedConnection, word } from "./connection.ts";
import { Layout } from "./layout.ts";

/** Returns a number of shards in words. */
export function sharded(count: number | undefined): string {
  return count === undefined ? "no shards" : `${count} shards`;
}

/** Returns the numbers of shards, other than that of a connection's layout, that have an epoch at its location. */
export function otherShards(connection: ManagedConnection): Promise<(number | undefined)[]> {
  const own = connection.layout.count;
  return withEpochs(
    connection,
    [undefined, ...SHARD_COUNTS].filter((count) => count !== own),
  );
}

/**
 * Refuses to read a location whose keys are all of another number of shards: their tags would be taken for parts of the
 * keys.
 *
 * @param connection The location.
 * @param action What was to be done, such as `"copy service product"`.
 * @throws {TypeError} With the numbers of shards.
 */
export async function refuseOtherShards(connection: ManagedConnection, action: string): Promise<void> {
  const { count } = connection.layout;
  const others = await otherShards(connection);
  if (others.length === 0 || (await withEpochs(connection, [count])).length > 0) return;
  const found = others.map(sharded).join(" and ");
  throw new TypeError(
    `Cannot ${action}: its client has ${sharded(count)}, but the store has keys of ${found}, expected one number ` +
      "(CACHE_SHARDS, or --from-shards of larder copy)",
  );
}

/** Returns which of the numbers of shards have an epoch. */
async function withEpochs(
  connection: ManagedConnection,
  counts: readonly (number | undefined)[],
): Promise<(number | undefined)[]> {
  const { driver, prefix } = connection.location;
  const keys = counts.map((count) => (Layout.of(count) as Layout).tags.map((tag) => prefix + tag + EPOCH_KEY));
  // Keys of one command must share a slot on a cluster; elsewhere they may go together.
  const commands = keys.map((some): RawCommand[] =>
    driver.capabilities.parts ? some.map((key) => ["EXISTS", key]) : [["EXISTS", ...some]],
  );
  const replies = await connection.send(commands.flat());
  return counts.filter((_, i) => {
    const those = replies.splice(0, (commands[i] as RawCommand[]).length);
    return those.some((reply) => Number(word(reply)) > 0);
  });
}
