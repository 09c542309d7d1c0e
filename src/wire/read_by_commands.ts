import type { Command, Reply } from "../../drivers/driver.ts";
import type { Reader, ReadScript } from "./slot.ts";

/**
 * Reads a key as a {@linkcode ReadScript} would, for users that may not run scripts. If the entry is older than the
 * last invalidation, the marks of its tags are read in a second round trip. An entry that is invalidated in between is
 * a miss.
 *
 * @param reader The key and its keyspace.
 * @param readScript The script whose work is done.
 * @param send Sends a command.
 * @returns The text of the entry, the epoch and the answer of PTTL.
 */
export async function readByCommands(
  { physical, space }: Reader,
  { what }: ReadScript,
  send: (...command: Command) => Promise<Reply>,
): Promise<[text: Reply, epoch: Reply, left: Reply]> {
  const [found, left] = await Promise.all([send("MGET", physical, space.epochKey), send("PTTL", physical)]);
  const [stored = null, epoch = null] = found as Reply[];
  // A key that holds no text exists nevertheless: PTTL knows it.
  const text = stored ?? (what > 1 && left !== -2 ? "0" : null);
  const [, born, tags] = /^{"born":(\d+),"tags":\[([^\]]+)/.exec(`${text}`) ?? [];
  const [seq, , untouched] = `${epoch}`.split(" ");
  if (tags && !untouched && Number(born) < Number(seq)) {
    const keys = tags.split(",").map((tag) => space.marksPrefix + tag.slice(1, -1));
    const marks = (await send("MGET", ...keys)) as Reply[];
    // A tag without a mark invalidates.
    if (marks.some((mark) => !mark || Number(mark) > Number(born))) return [null, epoch, left];
  }
  return [text, epoch, left];
}
