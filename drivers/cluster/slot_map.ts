/** Reads what one node says about the cluster. */

import { type NodeAddress, nodeName } from "../../src/base/hosts.ts";
import { type Command, type RawReply, type Reply, StoreError } from "../driver.ts";
import { withoutCluster } from "../node_redis/errors.ts";
import type { Translate } from "../node_redis/several_servers.ts";

/** The masters as one node knows them. */
export interface SlotMap {
  /** The number of changes of the cluster that the node knows of; 0 if it does not say. */
  readonly epoch: number;
  /** The slots of each master, as ranges. */
  readonly ranges: readonly { readonly first: number; readonly last: number; readonly master: string }[];
  /** The addresses of the masters by their names. */
  readonly masters: ReadonlyMap<string, NodeAddress>;
}

/** The question, in one write. Redis 6 has no CLUSTER SHARDS. */
export const QUESTION: readonly Command[] = [
  ["CLUSTER", "SLOTS"],
  ["CLUSTER", "INFO"],
];

/**
 * Reads the answer of a node.
 *
 * @param asked The address of the node that was asked, which is that of nodes without a host.
 * @throws {StoreError} The error of the node, with advice if it is in no cluster, or if it knows no slots.
 */
export function readSlotMap([slots, info]: readonly Reply[], asked: NodeAddress, translate: Translate): SlotMap {
  if (slots instanceof StoreError) throw withoutCluster(slots, nodeName(asked));
  const masters = new Map<string, NodeAddress>();
  const ranges = (Array.isArray(slots) ? slots : []).map((range) => {
    const [first, last, node] = range as [number, number, Reply];
    const address = translate(readAddress(node, asked));
    const master = nodeName(address);
    masters.set(master, address);
    return { first: Number(first), last: Number(last), master };
  });
  if (ranges.length === 0) {
    throw new StoreError("connection", `Redis at ${nodeName(asked)} knows of no slots: it has not joined a cluster`);
  }
  const [, epoch = 0] = /cluster_current_epoch:(\d+)/.exec(info instanceof StoreError ? "" : String(info)) ?? [];
  return { epoch: Number(epoch), ranges, masters };
}

/** Reads host, port, id and further names of a node. */
function readAddress(node: Reply, asked: NodeAddress): NodeAddress {
  const [host, port, , more] = (Array.isArray(node) ? node : []) as [Reply, Reply, Reply, Reply];
  if (known(host)) return { host, port: Number(port) };
  // A node that should have a name, but has none, still says its IP address.
  const names = Array.isArray(more) ? more : [];
  const ip = names[names.indexOf("ip") + 1];
  return { host: names.includes("ip") && known(ip) ? ip : asked.host, port: Number(port) };
}

function known(host: unknown): host is string {
  return typeof host === "string" && host !== "" && host !== "?";
}

/** A refusal that names the node to ask instead. */
export interface Redirection {
  readonly slot: number;
  readonly address: NodeAddress;
}

/** Reads a MOVED or ASK. Its address may lack the host, which is then that of the node that answered. */
export function readRedirection(reply: RawReply, asked: NodeAddress, translate: Translate): Redirection | undefined {
  if (!(reply instanceof StoreError)) return undefined;
  // The colon of the port is the last one: IPv6 stands there without brackets.
  const [, slot, host = "", port] = /^(?:MOVED|ASK) (\d+) (\S*):(\d+)/.exec(reply.message) ?? [];
  if (slot === undefined) return undefined;
  return { slot: Number(slot), address: translate({ host: known(host) ? host : asked.host, port: Number(port) }) };
}
