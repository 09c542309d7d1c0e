import type { Capabilities, Command, Reply, StoreError } from "../../drivers/driver.ts";
import { isForbidden } from "../base/store_error.ts";
import type { ReadBy, Reader, ReadScript, ReadSpace } from "./slot.ts";

/** The bytes that are read of an entry. The facts before the value take fewer, unless its tags are many. */
const HEAD_BYTES = 160;

/** The facts of an entry, up to its value. */
const HEAD = /^(\{(?:"born":(\d+),(?:"tags":\[([^\]]+)\])?)?.*?)"(?:json|sealed|packed)":/s;

/** The reads that go by the script at once after one whose plain commands were in vain. */
const TURNS = 20;

/** The methods of a batch that the reading of heads needs. */
interface Sender {
  readonly capabilities: Partial<Capabilities>;
  readonly rights: { readonly readBy: ReadBy };
  read(reader: Reader): void;
  send(command: Command, keys: readonly string[], timeout: number, idempotent: boolean): Promise<Reply>;
}

/**
 * Reads the head of an entry by plain commands, or returns false if the script shall read it.
 *
 * @param batch The batch to send them with.
 * @param reader The key and its keyspace, and who waits.
 * @param readScript The script.
 * @param timeout The milliseconds until the reader is rejected.
 * @param byScript Reads by the script, in the milliseconds that are left.
 */
export type ReadHeads = (
  batch: Sender,
  reader: Reader,
  readScript: ReadScript,
  timeout: number,
  byScript: (left: number) => void,
) => boolean;

/**
 * Makes the function that reads heads by plain commands, which cost the store less than the script. They are not one
 * step, but all of them run after the read began, so it does not matter on which side of a change each of them is. What
 * only the script can answer, it is asked: whether an entry holds whose tags may have been invalidated, and what stands
 * in a text with a longer head. If the user may not run one of the commands, the script is asked from then on.
 */
export function headReader(): ReadHeads {
  let forbidden = false;
  /** The next reads that go by the script, for each way to read. */
  const turns = new WeakMap<ReadScript, number>();
  return (batch, reader, readScript, timeout, byScript) => {
    const { what } = readScript;
    if (forbidden || what < 2 || !plainIsCheaper(batch)) return false;
    const turn = turns.get(readScript) ?? 0;
    if (turn > 0) {
      turns.set(readScript, turn - 1);
      return false;
    }
    const { physical, space } = reader;
    const start = performance.now();
    const again = (): void => byScript(Math.max(1, timeout - (performance.now() - start)));
    const send = (...command: Command): Promise<Reply> => batch.send(command, [physical], timeout, true);
    const epoch = new Promise<Reply>((resolve, reject) => {
      batch.read({ physical: space.epochKey, space, timeout, resolve, reject });
    });
    Promise.all([
      send("GETRANGE", physical, 0, HEAD_BYTES - 1).catch(otherType),
      epoch,
      what % 2 === 1 ? send("PTTL", physical) : null,
    ]).then(
      ([text, epoch, left]) => {
        const head = headOf(String(text), epoch, space.marks);
        // If a key has expired since its text was read, -2 must not look like a TTL.
        if (left === -2) reader.resolve(null, epoch, left);
        else if (head === undefined) {
          turns.set(readScript, TURNS);
          again();
        } else reader.resolve(head, epoch, left);
      },
      (error) => {
        if (isForbidden(error)) forbidden = true;
        if (forbidden) again();
        else reader.reject(error);
      },
    );
    return true;
  };
}

/** Returns true if plain commands cost the store less than a script: it is a server at the end of a connection. */
export function plainIsCheaper({ rights, capabilities }: Pick<Sender, "rights" | "capabilities">): boolean {
  const { ordered, transactions } = capabilities;
  return rights.readBy !== "MGET" && ordered === true && transactions !== "atomic";
}

/** Returns the head of a text as the script would; `null` for none, `undefined` if only the script can tell. */
function headOf(text: string, epoch: Reply, marks: ReadSpace["marks"]): string | null | undefined {
  if (text === "") return null;
  const [, head, born, tags] = HEAD.exec(text) ?? [];
  if (tags && !(Number(born) >= Number.parseInt(String(epoch), 10))) {
    const names = tags.split(",").map((tag) => tag.slice(1, -1));
    if (!marks?.covers(names, Number(born), epoch as string | null)) return undefined;
  }
  if (head) return `${head}"json":null}`;
  // The text is whole if it is shorter. Its characters are its bytes only if all are ASCII.
  return text.length < HEAD_BYTES && !/[^\0-\x7f]/.test(text) ? text : undefined;
}

/** Returns what the script answers for a value of another type. */
function otherType(error: StoreError): Reply {
  if (error.code === "WRONGTYPE") return "0";
  throw error;
}
