import type { Command, Reply, StoreError } from "../../drivers/driver.ts";
import { EPOCH_KEY, MARKS } from "../base/own_keys.ts";
import { isForbidden } from "../base/store_error.ts";
import { readByCommands } from "./read_by_commands.ts";
import { CommandSlot, type Slot } from "./slot.ts";

/** The times that a command is sent again: the entry may have other tags by then. */
const TRIES = 3;
/** The start of an entry with tags. */
const TAGGED = /^\{"born":\d+,"tags":\[([^\]]+)/;

/** The method of a batch that sends commands. */
interface Sender {
  send(command: Command, keys: readonly string[], timeout: number, idempotent: boolean): Promise<Reply>;
}

/**
 * Serves stores where scripts may use no other keys than those that they declare. The marks of an entry are known when
 * its tags are. So when a script is refused, its keys are read by MGET, and it is sent again with the marks of what
 * stands there. Scripts look at the marks before they change anything, so a refused one has changed nothing.
 */
export interface DeclaredMarks {
  /** Returns true if a command shall be sent again, with marks among its keys. */
  wants(slot: Slot, error: StoreError): boolean;
  /** Adds the marks to the keys of the slots that want them. Never rejects; returns nothing if none does. */
  declare(slots: readonly Slot[]): Promise<unknown> | undefined;
  /** Reads a key as {@linkcode readByCommands} does, and starts its TTL again where that is wanted. */
  readonly read: typeof readByCommands;
}

/**
 * Makes the part of a batch that declares marks.
 *
 * @param batch Returns the batch.
 */
export function declaredMarks(batch: () => Sender): DeclaredMarks {
  /** The slots that were refused: how often, and the keys that they declare besides the marks. */
  const refused = new WeakMap<Slot, { times: number; readonly also: readonly string[] }>();
  /** True if this user may not run scripts, so that no TTL starts again. */
  let forbidden = false;
  return {
    wants(slot, error) {
      if (!(slot instanceof CommandSlot) || !ranUndeclared(error)) return false;
      const known = refused.get(slot) ?? { times: 0, also: slot.also ?? [] };
      refused.set(slot, known);
      // What was sent with it for its key waits for it, as after NOSCRIPT.
      slot.reloaded = true;
      return known.times++ < TRIES;
    },
    declare(slots) {
      const all = slots.map(async (slot) => {
        const also = refused.get(slot)?.also;
        const keys = also && [...slot.keys, ...also];
        const epochKey = keys?.find((key) => key.endsWith(EPOCH_KEY));
        if (!also || !keys || !epochKey) return;
        // No keys are named to the batch, because the slot holds them.
        const texts = await batch()
          .send(["MGET", ...keys], [], slot.timeout, true)
          .catch(() => []);
        const prefix = epochKey.slice(0, -EPOCH_KEY.length) + MARKS;
        (slot as CommandSlot).also = [...also, ...(texts as readonly Reply[]).flatMap((text) => marksOf(text, prefix))];
      });
      return slots.some((slot) => refused.has(slot)) ? Promise.all(all) : undefined;
    },
    async read(reader, readScript, send) {
      const { script, slide, what } = readScript;
      if (slide === 0 || forbidden) return readByCommands(reader, readScript, send);
      const { physical, space } = reader;
      const [text = null] = (await send("MGET", physical)) as readonly Reply[];
      const keys = [space.epochKey, physical, ...marksOf(text, space.marksPrefix)];
      const run = (name: string, source: string): Promise<Reply> =>
        send(name, source, keys.length, ...keys, space.marksPrefix, slide, what, 2);
      try {
        const reply = await run("EVALSHA", script.sha1).catch((error) => {
          if (error.code !== "NOSCRIPT" && !/evalsha/i.test(error.message)) throw error;
          return run("EVAL", script.lua);
        });
        const [epoch = null, found = null, left = null] = reply as readonly Reply[];
        return [found, epoch, left];
      } catch (error) {
        if (!isForbidden(error as StoreError)) throw error;
        // If other tags stand there by now, its TTL starts again with the next read.
        forbidden = !ranUndeclared(error as StoreError);
        return readByCommands(reader, readScript, send);
      }
    },
  };
}

/** Returns whether a script ran until it used a key that it does not declare: it may run with its keys declared. */
function ranUndeclared({ message }: StoreError): boolean {
  return /undeclared key/.test(message);
}

/** Returns the keys of the marks of a stored text's tags. */
function marksOf(text: Reply, prefix: string): string[] {
  const [, tags] = TAGGED.exec(String(text)) ?? [];
  return tags?.split(",").map((tag) => prefix + tag.slice(1, -1)) ?? [];
}
