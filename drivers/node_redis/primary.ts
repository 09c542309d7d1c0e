import { SHORTEST_PAUSE } from "./redis_address.ts";

/** The longest pause in milliseconds between two attempts to leave a server that is not the primary. */
const LONGEST_STAY = 1000;
/** The milliseconds for which a server may load its data before it is left. */
const LOADING = 1000;
/** The milliseconds after which earlier denials no longer count. */
const FORGETTING = 10_000;

/**
 * Decides for all connections of a driver whether to leave a server that answers, but not as the primary. After a
 * failover, connections to the old primary stay open while its name leads elsewhere. So all shared connections are
 * replaced by one that resolves the name again. If the name still leads to such a server, for example because the
 * application reads from a replica on purpose, the next attempt follows after a pause, which grows to a second.
 */
export class Primary {
  /** True after a server was left, until another one says that it is the primary. */
  doubted = false;
  readonly #leave: () => void;
  /** The moment at which all connections were left. */
  #left = Number.NEGATIVE_INFINITY;
  #pause = SHORTEST_PAUSE;
  /** The first and the last moment at which a server said that it loads. */
  #loading = 0;
  #loads = Number.NEGATIVE_INFINITY;

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  /** Records a denial on a connection that was opened at a moment. Returns whether to leave this connection. */
  denied(code: string, opened: number = Number.POSITIVE_INFINITY): boolean {
    const now = performance.now();
    if (code === "LOADING") {
      if (now - this.#loads > FORGETTING) this.#loading = now;
      this.#loads = now;
      if (now - this.#loading < LOADING) return false;
    }
    // All connections of that time were already left.
    if (opened < this.#left) return true;
    const since = now - this.#left;
    if (this.doubted && since < this.#pause) return false;
    this.#pause = !this.doubted || since > FORGETTING ? SHORTEST_PAUSE : Math.min(this.#pause * 2, LONGEST_STAY);
    this.#left = now;
    this.doubted = true;
    this.#leave();
    return true;
  }

  /** Records the reply to ROLE. A new connection asks for it only in doubt. */
  see(reply: unknown): void {
    const role = Array.isArray(reply) ? reply[0] : undefined;
    const word = role instanceof Uint8Array ? new TextDecoder().decode(role) : role;
    if (word === "master") this.doubted = false;
  }
}
