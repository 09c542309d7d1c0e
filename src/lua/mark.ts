/** The script that marks one tag, which bundles without shards leave out. */
import type { Script } from "../../drivers/driver.ts";
import { MARK_MS } from "./entries.ts";

/**
 * Marks a tag as `invalidate` does, after the epoch was moved on by a call of its own: where the slot of a
 * shard is being moved, only commands of one key find it.
 *
 * - KEYS: the mark
 * - ARGV: the epoch
 * - Returns 1; 0 if a later mark stands there
 */
export const mark: Script = {
  name: "mark",
  sha1: "f91dffa43f3e8b4be3d7cd589f0bdbce343e17a2",
  lua: `local mark, seq = KEYS[1], ARGV[1]
if (tonumber(redis.call('GET', mark)) or 0) >= tonumber(seq) then return 0 end
local left = redis.call('PTTL', mark)
if left == -1 then
  redis.call('SET', mark, seq)
else
  redis.call('SET', mark, seq, 'PX', math.max(left, ${MARK_MS}))
end
return 1`,
};
