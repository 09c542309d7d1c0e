/** What the connections of a driver know together: whether the server is the one to ask. */

import { SHORTEST_PAUSE } from "./target.ts";

/** The longest that connections stay with a server that is not the primary, while it is written to. */
const LONGEST_STAY = 1000;
/** For how long a server may load before it is left. */
const LOADING = 1000;
/** After how long what a server said before is of no matter. */
const FORGETTING = 10_000;

/**
 * What to do about a server that answers, but not as the primary: after a failover its connections stay, while the name
 * leads elsewhere. All connections that sends share are replaced by one that asks the name anew. Where it still leads
 * to such a server, as for whoever reads from a replica on purpose, connections stay for a pause, which grows to a
 * second.
 */
export class Primary {
  /** Whether a server was left, and no other one has said since that it is the primary. */
  doubted = false;
  readonly #leave: () => void;
  /** When all were left. */
  #left = Number.NEGATIVE_INFINITY;
  #pause = SHORTEST_PAUSE;
  /** Since when, and when last, a server said that it loads. */
  #loading = 0;
  #loads = Number.NEGATIVE_INFINITY;

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  /** Takes note of a denial on a connection whose opening began then. Answers whether that one is to be left. */
  denied(code: string, opened: number = Number.POSITIVE_INFINITY): boolean {
    const now = performance.now();
    if (code === "LOADING") {
      if (now - this.#loads > FORGETTING) this.#loading = now;
      this.#loads = now;
      if (now - this.#loading < LOADING) return false;
    }
    // The others were left meanwhile.
    if (opened < this.#left) return true;
    const since = now - this.#left;
    if (this.doubted && since < this.#pause) return false;
    this.#pause = !this.doubted || since > FORGETTING ? SHORTEST_PAUSE : Math.min(this.#pause * 2, LONGEST_STAY);
    this.#left = now;
    this.doubted = true;
    this.#leave();
    return true;
  }

  /** Takes note of what a new connection was answered to ROLE, which it is only asked in doubt. */
  see(reply: unknown): void {
    const role = Array.isArray(reply) ? reply[0] : undefined;
    const word = role instanceof Uint8Array ? new TextDecoder().decode(role) : role;
    if (word === "master") this.doubted = false;
  }
}
