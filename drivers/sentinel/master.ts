import { type NodeAddress, nodeName } from "../../src/base/hosts.ts";
import { unref } from "../../src/base/timers.ts";
import type { StoreError, Tracker, Tracking } from "../driver.ts";
import { closedError, ignore } from "../node_redis/errors.ts";
import { leftError } from "../node_redis/resp_connection.ts";
import { type FoundMaster, findMaster, type NamedServer, type Search } from "./find_master.ts";
import { SentinelNode, type SharedSettings } from "./sentinel_node.ts";

/** The shortest and the longest pause in milliseconds between two searches, of which the first one failed. */
const SHORTEST_PAUSE = 200;
const LONGEST_PAUSE = 1000;
/** The interval in milliseconds at which the sentinels are asked while none of them is heard. */
const UNHEARD = 2000;
/** The milliseconds for which the master may load its data, and after which earlier loading no longer counts. */
const LOADING = 1000;
const FORGETTING = 10_000;

/** The settings of a {@linkcode Master}. */
export interface MasterSettings
  extends Pick<Search, "reach" | "open">,
    Pick<SharedSettings, "name" | "username" | "password" | "tls" | "patience"> {
  readonly sentinels: readonly NodeAddress[];
}

/** A tracking of the caller, and that of the present master, which serves it. */
interface Track {
  readonly database: number;
  readonly prefix: string;
  readonly tracker: Tracker;
  inner: Tracking | undefined;
}

/**
 * The present master: finds it, and leaves it when another one takes its place.
 *
 * A master that was frozen and wakes up remains a master for ten seconds, until the sentinels demote it, and answers
 * with what it had. So all connections to it are ended as soon as a sentinel announces another one, before that one is
 * asked for anything. All sentinels are heard, because one may be cut off. A sentinel that can be heard again is asked,
 * and as long as none is heard, all are asked every two seconds.
 */
export class Master {
  /** The master, while nothing speaks against it. */
  node: NamedServer | undefined;
  /** The address of the master that was announced or found last; before that, the master's name. */
  name: string;
  readonly #search: Search;
  readonly #tracks = new Set<Track>();
  /** The last known master, also while something speaks against it. */
  #last: NamedServer | undefined;
  /** The number of the latest failover that is known. */
  #epoch = 0;
  /** The number of announcements: a search that began before the last one is repeated. */
  #announced = 0;
  #attempt: Promise<NamedServer> | undefined;
  #abort = new AbortController();
  /** The look that is to begin when a master is known. */
  #soon: Promise<void> | undefined;
  #failure: StoreError | undefined;
  #failures = 0;
  #pause: ReturnType<typeof setTimeout> | undefined;
  #watch: ReturnType<typeof setInterval> | undefined;
  /** The first and the last moment at which the master said that it loads. */
  #loading = 0;
  #loads = Number.NEGATIVE_INFINITY;
  #closed: StoreError | undefined;

  constructor(settings: MasterSettings) {
    this.name = settings.name;
    const shared: SharedSettings = {
      ...settings,
      onSwitch: (to) => this.#announce(to),
      onHeard: () => this.#lookSoon(),
    };
    this.#search = { ...settings, sentinels: settings.sentinels.map((address) => new SentinelNode(address, shared)) };
  }

  /** Returns the master, as soon as it is found. @throws {StoreError} If it is not. */
  find(): Promise<NamedServer> {
    if (this.node) return Promise.resolve(this.node);
    if (this.#closed) return Promise.reject(this.#closed);
    if (this.#attempt) return this.#attempt;
    if (this.#pause && this.#failure) return Promise.reject(this.#failure);
    return this.#seek();
  }

  /** Notes that a node cannot be reached, or says that it is not the master: the sentinels are asked again. */
  doubt(node: NamedServer): void {
    if (node !== this.node || this.#closed) return;
    this.node = undefined;
    this.find().catch(ignore);
  }

  /** Notes that a node refused a command because of its state. */
  denied(node: NamedServer, code: string): void {
    const now = performance.now();
    if (code === "LOADING") {
      if (now - this.#loads > FORGETTING) this.#loading = now;
      this.#loads = now;
      if (now - this.#loading < LOADING) return;
      this.#loading = now;
    }
    this.doubt(node);
  }

  /** Tracks keys at the present master, whichever that is. */
  track(database: number, prefix: string, tracker: Tracker): Tracking {
    const track: Track = { database, prefix, tracker, inner: undefined };
    if (!this.#closed) {
      this.#tracks.add(track);
      if (this.#last) follow(track, this.#last);
      else this.find().catch(ignore);
    }
    return {
      close: async () => {
        this.#tracks.delete(track);
        await track.inner?.close();
      },
    };
  }

  /** Ends everything: at once if something speaks against the master, otherwise after the pending replies. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = closedError();
    const { node } = this;
    this.node = undefined;
    clearTimeout(this.#pause);
    clearInterval(this.#watch);
    this.#abort.abort(this.#closed);
    for (const sentinel of this.#search.sentinels) sentinel.close();
    if (node) await node.driver.close();
    else this.#last?.driver.drop(this.#closed);
    this.#tracks.clear();
  }

  /** Handles a sentinel's announcement. */
  #announce(to: NodeAddress): void {
    if (this.#closed) return;
    const name = nodeName(this.#reached(to));
    // Each sentinel announces it, and it may have been found before that.
    if (name === this.#last?.name || name === this.name) return;
    const left = leftError(this.name);
    this.#leave(left);
    this.name = name;
    this.#announced++;
    this.#epoch++;
    this.#abort.abort(left);
    clearTimeout(this.#pause);
    this.#pause = undefined;
    this.find().catch(ignore);
  }

  /** Returns the address at which a server is reached; its own if the application cannot map that. */
  #reached(address: NodeAddress): NodeAddress {
    try {
      return this.#search.reach(address);
    } catch {
      // The search that follows gives the reason to those who wait.
      return address;
    }
  }

  #leave(why: StoreError): void {
    const last = this.#last;
    this.node = this.#last = undefined;
    last?.driver.drop(why);
  }

  /** Uses a node as the master from now on. */
  #take({ node, epoch }: FoundMaster): void {
    if (node !== this.#last) {
      this.#leave(leftError(this.name));
      this.#last = node;
      for (const track of this.#tracks) follow(track, node);
    }
    this.name = node.name;
    this.#epoch = epoch;
    this.node = node;
  }

  /** Asks the sentinels while the master is used, because it may have been replaced unheard. */
  async #look(): Promise<void> {
    const { node } = this;
    if (!node) return;
    try {
      const found = await this.#findOnce();
      if (this.node === node) this.#take(found);
      else if (found.node !== this.#last) found.node.driver.drop(leftError(found.node.name));
    } catch {
      // The master is used until it fails.
    }
  }

  /** Looks once after several sentinels are heard again: what they announced before was not heard. */
  #lookSoon(): void {
    this.#soon ??= this.find()
      .then(() => {
        this.#soon = undefined;
        return this.#look();
      })
      .catch(() => {
        this.#soon = undefined;
      });
  }

  /** Starts a search, which all callers share. */
  #seek(): Promise<NamedServer> {
    for (const sentinel of this.#search.sentinels) sentinel.listen();
    this.#watch ??= setInterval(() => {
      if (!this.#search.sentinels.some(({ heard }) => heard)) this.#look();
    }, UNHEARD);
    unref(this.#watch);
    clearTimeout(this.#pause);
    this.#pause = undefined;
    const attempt = this.#findAnnounced();
    this.#attempt = attempt;
    // Registered first, so that those that wait for the attempt send before later callers.
    attempt.then(
      () => {
        this.#attempt = undefined;
        this.#failures = 0;
      },
      (error) => {
        this.#attempt = undefined;
        this.#failure = error;
        if (this.#closed) return;
        const pause = Math.min(SHORTEST_PAUSE * 1.5 ** this.#failures++, LONGEST_PAUSE);
        this.#pause = setTimeout(() => void this.#seek().catch(ignore), pause);
        unref(this.#pause);
      },
    );
    return attempt;
  }

  /** Searches until no other master was announced since it began. */
  async #findAnnounced(): Promise<NamedServer> {
    for (;;) {
      const announced = this.#announced;
      try {
        const found = await this.#findOnce();
        if (this.#closed || announced !== this.#announced) found.node.driver.drop(leftError(found.node.name));
        else {
          this.#take(found);
          return found.node;
        }
      } catch (error) {
        if (announced === this.#announced) throw error;
      }
      if (this.#closed) throw this.#closed;
    }
  }

  #findOnce(): Promise<FoundMaster> {
    this.#abort = new AbortController();
    return findMaster(this.#search, { last: this.#last, epoch: this.#epoch }, this.#abort.signal);
  }
}

function follow(track: Track, { driver }: NamedServer): void {
  track.inner = driver.track?.(track.database, track.prefix, track.tracker);
}
