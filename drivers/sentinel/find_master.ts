/**
 * Finds the master that sentinels name.
 *
 * All sentinels are asked at once. Each server that they name is asked for its own role, and of those that call
 * themselves master, that of the latest failover wins. A sentinel that was cut off may still name the master before,
 * which may be alive. So an earlier failover than the last known one counts only if most of the sentinels speak of it.
 */
import { type NodeAddress, nodeName } from "../../src/base/hosts.ts";
import { inTime } from "../../src/base/in_time.ts";
import { remember } from "../../src/base/remember.ts";
import { isForbidden } from "../../src/base/store_error.ts";
import { unref } from "../../src/base/timers.ts";
import { StoreError } from "../driver.ts";
import { ignore } from "../node_redis/errors.ts";
import type { NodeDriver } from "../node_redis/node_driver.ts";
import { reason } from "../node_redis/resp_connection.ts";
import type { SentinelNode } from "./sentinel_node.ts";

/** The milliseconds that other sentinels have after the first answer, and once a master is found. */
const AFTER_FIRST = 500;
const AFTER_FOUND = 50;

/** A server that is the master, or was it. */
export interface NamedServer {
  /** Its address as this process reaches it. */
  readonly name: string;
  readonly driver: NodeDriver;
}

/** The knowledge of the master. */
export interface KnownMaster {
  readonly last: NamedServer | undefined;
  /** The number of the latest failover. */
  readonly epoch: number;
}

/** The parts of a search. */
export interface Search {
  /** The name of the master. */
  readonly name: string;
  readonly sentinels: readonly SentinelNode[];
  /** The most milliseconds to wait for a server to say its role. */
  readonly patience: number;
  /** Returns the address at which this process reaches a server. */
  reach(address: NodeAddress): NodeAddress;
  /** Makes the driver of a server. */
  open(address: NodeAddress): NodeDriver;
}

/** A master that was found, and the number of the failover that made it one. */
export interface FoundMaster {
  readonly node: NamedServer;
  readonly epoch: number;
}

/**
 * Finds the master.
 *
 * @param search The sentinels, and the way to the servers.
 * @param known What is known: if that is still the master, it is returned with the driver that it has.
 * @param signal Ends the search with its reason.
 * @throws {StoreError} If it is not found, with all reasons.
 */
export async function findMaster(search: Search, known: KnownMaster, signal: AbortSignal): Promise<FoundMaster> {
  const { sentinels, reach } = search;
  const { last } = known;
  const opened: NamedServer[] = [];
  const found: FoundMaster[] = [];
  const checks = new Map<string, Promise<NamedServer>>();
  const asks = sentinels.map(() => new AbortController());
  const stopAsking = (why: unknown) => {
    for (const ask of asks) ask.abort(why);
  };
  let earlier = 0;
  let late: ReturnType<typeof setTimeout> | undefined;
  let chosen: NamedServer | undefined;
  const check = (address: NodeAddress): Promise<NamedServer> =>
    remember(checks, nodeName(address), async () => {
      const name = nodeName(address);
      const node = last?.name === name ? last : { name, driver: search.open(address) };
      if (node !== last) opened.push(node);
      await checkRole(node, search.patience);
      return node;
    });
  const lines = sentinels.map(async (sentinel, index) => {
    const { address, epoch } = await sentinel.ask(asks[index] as AbortController);
    if (epoch < known.epoch) earlier++;
    late ??= after(AFTER_FIRST, () => {
      stopAsking(new StoreError("timeout", `no answer of some sentinels ${AFTER_FIRST} ms after the first one`));
    });
    const node = await check(reach(address));
    found.push({ node, epoch });
    if (epoch < known.epoch) throw new StoreError("connection", `${sentinel.endpoint} names an earlier master`);
  });
  const stopped = new Promise<never>((_, reject) => {
    const stop = () => {
      stopAsking(signal.reason);
      reject(signal.reason);
    };
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop);
  });
  stopped.catch(ignore);
  try {
    const failures = await Promise.race([
      stopped,
      Promise.any(lines).then(
        (): Error[] => [],
        ({ errors }: AggregateError) => errors as Error[],
      ),
    ]);
    if (failures.length === 0) {
      const settled = Promise.allSettled(lines);
      await Promise.race([stopped, settled, new Promise<void>((done) => after(AFTER_FOUND, done))]);
    }
    const most = earlier > sentinels.length / 2;
    const best = found.filter(({ epoch }) => most || epoch >= known.epoch).sort((a, b) => b.epoch - a.epoch)[0];
    if (best) {
      chosen = best.node;
      return best;
    }
    // If none of the sentinels can be reached, a failover is unlikely, which needs them.
    if (late === undefined && last) {
      const failure = await Promise.race([stopped, checkRole(last, search.patience)]).catch((error: Error) => error);
      if (!failure) return { node: last, epoch: known.epoch };
      failures.push(failure);
    }
    throw notFound(search.name, failures);
  } finally {
    clearTimeout(late);
    const why = new StoreError("closed", "Another server is the master");
    stopAsking(why);
    for (const node of opened) if (node !== chosen) node.driver.drop(why);
  }
}

/** Throws unless a server says that it is a master, or refuses to say its role to this user. */
async function checkRole({ name, driver }: NamedServer, patience: number): Promise<void> {
  const late = () => new StoreError("timeout", `Redis at ${name} did not say its role within ${patience} ms`);
  const [role] = await inTime(driver.send(0, [["ROLE"]], { timeout: patience }), patience, late, true);
  if (role instanceof StoreError) {
    if (isForbidden(role)) return;
    throw new StoreError(role.kind, `Redis at ${name} did not say its role: ${role.message}`, { code: role.code });
  }
  const [word] = (Array.isArray(role) ? role : []) as string[];
  if (word !== "master")
    throw new StoreError("connection", `Redis at ${name} says that it is not a master but ${word}`);
}

function notFound(name: string, failures: readonly Error[]): StoreError {
  const auth = failures.every((error) => error instanceof StoreError && error.kind === "auth");
  const reasons = [...new Set(failures.map(reason))].join("; ");
  const text = `Cannot find the master ${name} by its sentinels: ${reasons}`;
  return new StoreError(auth ? "auth" : "connection", text, { cause: failures[0] });
}

function after(delay: number, run: () => void): ReturnType<typeof setTimeout> {
  const timer = setTimeout(run, delay);
  unref(timer);
  return timer;
}
