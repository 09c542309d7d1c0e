/** The checks of a cluster: its nodes' views of each other, their settings, and where the keys lie. */
import type { RawCommand, RawReply } from "../../../drivers/driver.ts";
import { hashSlot } from "../../base/crc16.ts";
import { formatBytes, formatNumber } from "../../base/format.ts";
import { isStoreError } from "../../base/store_error.ts";
import { word } from "../connection.ts";
import { databasesOf, type Info, type NodeInfo } from "../nodes.ts";
import { serverName } from "../server.ts";
import { type Finding, unknown, warning } from "./finding.ts";

/** The number of slots of every cluster. */
const SLOTS = 16_384;
/** The keys of a master from which its share is judged, and the share, in even ones, from which it is too large. */
const KEYS = 1000;
const UNEVEN = 1.5;
/** The keys of a slot in means of all that have keys, from which it is big. */
const BIG = 10;
/** The settings that every node should have alike. */
const ALIKE = ["maxmemory", "maxmemory-policy", "cluster-node-timeout", "cluster-require-full-coverage"] as const;
/** The default of `cluster-node-timeout`, with which a dead master is away for 18 s. */
const SLOW_FAILOVER_MS = 15_000;

/** A line of CLUSTER NODES. */
interface Line {
  readonly id: string;
  readonly address: string;
  readonly flags: readonly string[];
  readonly master: string;
  readonly slots: readonly string[];
}

/** The answers of a node about itself and the cluster. */
export interface ClusterNode extends NodeInfo {
  /** The fields of CLUSTER INFO; none if it is refused. */
  readonly state: Info;
  /** The lines of CLUSTER NODES; none if it is refused. */
  readonly lines: readonly Line[];
  /** The hosts that CLUSTER SLOTS announces. */
  readonly hosts: readonly string[];
  /** Settings by name; those that may not be read are missing. */
  readonly settings: ReadonlyMap<string, string>;
}

/** The settings that are read. */
const SETTINGS = [...ALIKE, "min-replicas-to-write", "tls-cluster", "tls-port"];

/** Asks every node that answers about the cluster. */
export async function askCluster(nodes: readonly NodeInfo[]): Promise<ClusterNode[]> {
  return await Promise.all(
    nodes.map(async (node): Promise<ClusterNode> => {
      const questions: RawCommand[] = [
        ["CLUSTER", "INFO"],
        ["CLUSTER", "NODES"],
        ["CLUSTER", "SLOTS"],
        ...SETTINGS.map((name): RawCommand => ["CONFIG", "GET", name]),
      ];
      let replies: RawReply[] = [];
      if (node.error === null) {
        try {
          replies = await node.connection.send(questions);
        } catch (error) {
          if (!isStoreError(error)) throw error;
        }
      }
      const [info, lines, slots, ...settings] = replies;
      return {
        ...node,
        state: fieldsOf(textOf(info), ":"),
        lines: textOf(lines).split("\n").filter(Boolean).map(lineOf),
        hosts: hostsOf(slots),
        settings: new Map(
          settings.flatMap((reply) =>
            Array.isArray(reply) && reply.length > 1 ? [[word(reply[0]), word(reply[1])]] : [],
          ),
        ),
      };
    }),
  );
}

const textOf = (reply: RawReply | undefined): string => (reply instanceof Error ? "" : word(reply));

function fieldsOf(text: string, sign: string): Info {
  const lines = text.split(/\r?\n/).filter((line) => line.includes(sign));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(sign)), line.slice(line.indexOf(sign) + 1)]));
}

function lineOf(line: string): Line {
  const [id = "", address = "", flags = "", master = "", , , , , ...slots] = line.split(" ");
  return { id, address: address.split(/[@,]/, 1)[0] ?? "", flags: flags.split(","), master, slots };
}

function hostsOf(reply: RawReply | undefined): string[] {
  if (!Array.isArray(reply)) return [];
  return (reply as RawReply[][]).flatMap(([, , ...nodes]) =>
    nodes.map((node) => (Array.isArray(node) && node[0] !== null ? word(node[0]) : "")),
  );
}

/** Returns a few names, and how many more there are. */
function some(names: readonly string[]): string {
  const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
  return `${names.slice(0, 3).join(", ")}${more}`;
}

const isFailed = ({ flags }: Line): boolean => flags.some((flag) => /^fail\??$/.test(flag));
const isMaster = ({ flags }: Line): boolean => flags.includes("master");
const ownSlots = ({ slots }: Line): string[] => slots.filter((range) => !range.startsWith("["));

/** Judges the state of a cluster: all slots served, no node failed, and all nodes of one opinion. */
function stateOf(nodes: readonly ClusterNode[]): Finding {
  const check = "cluster";
  const told = nodes.filter(({ state }) => state.size > 0);
  if (told.length === 0) return unknown(check, "no node may be asked for CLUSTER INFO");
  const problems: string[] = [];
  for (const { node, state } of told) {
    const assigned = Number(state.get("cluster_slots_assigned"));
    if (state.get("cluster_state") !== "ok") problems.push(`${node} says cluster_state:${state.get("cluster_state")}`);
    if (assigned !== SLOTS) problems.push(`${node} knows masters for ${assigned} of ${SLOTS} slots only`);
  }
  // The nodes may name a failed one differently at first, so each is named once.
  const lines = told.flatMap(({ lines }) => lines);
  for (const address of new Set(lines.filter(isFailed).map(({ address }) => address))) {
    problems.push(`${address} does not answer the others`);
  }
  const differs = (view: (node: ClusterNode) => string): boolean => new Set(told.map(view)).size > 1;
  if (differs(({ state }) => state.get("cluster_current_epoch") ?? "")) problems.push("they disagree on the epoch");
  const owners = ({ lines }: ClusterNode): string =>
    lines
      .filter((line) => isMaster(line) && ownSlots(line).length > 0)
      .map((line) => `${line.id} ${ownSlots(line).join(" ")}`)
      .sort()
      .join("\n");
  if (differs(owners)) problems.push("they disagree on which master has which slots");
  if (problems.length === 0) {
    return { check, level: "ok", evidence: `${told.length} masters serve all ${SLOTS} slots, and agree` };
  }
  const advice = "bring failed nodes back, or repair the cluster: valkey-cli or redis-cli --cluster check";
  return { check, level: "error", evidence: some(problems), advice };
}

/** Judges the replicas of each master: their number, their link, and how many a write waits for. */
export function* replicaChecks(nodes: readonly ClusterNode[]): Generator<Finding, void, void> {
  const told = nodes.filter(({ info }) => info.has("role"));
  if (told.length === 0) return yield unknown("replicas", "no node reports its replicas");
  const alone: string[] = [];
  const refusing: string[] = [];
  const behind: string[] = [];
  let unsafe = false;
  for (const { node, info, settings } of told) {
    const replicas = [...info].filter(([name]) => /^slave\d+$/.test(name)).map(([, value]) => value);
    const online = replicas.filter((replica) => /state=online/.test(replica));
    const least = Number(settings.get("min-replicas-to-write") ?? 0);
    unsafe ||= settings.has("min-replicas-to-write") && least === 0 && online.length > 0;
    if (least > online.length) refusing.push(`${node} has ${online.length} and needs ${least}`);
    else if (online.length === 0) alone.push(node);
    for (const replica of replicas) {
      const of = new Map(replica.split(",").map((pair) => pair.split("=", 2) as [string, string]));
      const lag = Number(of.get("lag"));
      if (of.get("state") !== "online") behind.push(`${of.get("ip")}:${of.get("port")} is ${of.get("state")}`);
      else if (lag > 10) behind.push(`${of.get("ip")}:${of.get("port")} is ${lag} s behind`);
    }
  }
  if (refusing.length > 0) {
    const evidence = `masters with fewer replicas than min-replicas-to-write refuse writes: ${some(refusing)}`;
    yield { check: "replicas", level: "error", evidence, advice: "add replicas, or lower min-replicas-to-write" };
  } else if (alone.length > 0) {
    const evidence = `masters without a replica: ${some(alone)}`;
    yield warning("replicas", evidence, "add a replica for each: when such a master dies, its keys are away");
  } else yield { check: "replicas", level: "ok", evidence: "each master has a replica" };
  if (behind.length > 0) {
    const evidence = `replicas that do not keep up: ${some(behind)}`;
    yield warning("replica lag", evidence, "look for full links, slow disks and client-output-buffer-limit replica");
  } else if (unsafe) {
    const evidence = "min-replicas-to-write is 0, so a master that is cut off takes writes that are lost later";
    yield { check: "replica lag", level: "info", evidence, advice: "set it to 1 if such writes must be refused" };
  } else yield { check: "replica lag", level: "ok", evidence: "no replica is behind" };
}

/** Judges the settings by which a cluster fails over. */
function* failoverOf(nodes: readonly ClusterNode[]): Generator<Finding, void, void> {
  const of = (name: string): string[] => nodes.flatMap(({ settings }) => settings.get(name) ?? []);
  const coverage = of("cluster-require-full-coverage");
  if (coverage.length === 0) yield unknown("coverage", "the nodes do not report cluster-require-full-coverage");
  else if (coverage.includes("yes")) {
    const evidence = "cluster-require-full-coverage is yes: while one master is away, all of them refuse commands";
    yield warning("coverage", evidence, "run CONFIG SET cluster-require-full-coverage no on each node");
  } else yield { check: "coverage", level: "ok", evidence: "when a master is away, the others go on" };
  const timeouts = of("cluster-node-timeout").map(Number);
  if (timeouts.length === 0) return yield unknown("failover", "the nodes do not report cluster-node-timeout");
  const longest = Math.max(...timeouts);
  const evidence = `cluster-node-timeout is ${longest} ms: the keys of a dead master are away a little longer`;
  yield longest >= SLOW_FAILOVER_MS
    ? { check: "failover", level: "info", evidence, advice: "2000 to 5000 suit a cache" }
    : { check: "failover", level: "ok", evidence };
}

/** Returns the slots that a node serves. */
function slotsOf({ lines }: ClusterNode): Set<number> {
  const own = lines.find(({ flags }) => flags.includes("myself"));
  const slots = new Set<number>();
  for (const range of own ? ownSlots(own) : []) {
    const [first = 0, last = first] = range.split("-").map(Number);
    for (let slot = first; slot <= last; slot++) slots.add(slot);
  }
  return slots;
}

/** Compares the masters' shares of the keys, of the memory and of the library's own slots. */
function balance(nodes: readonly ClusterNode[], shards: readonly number[]): Finding {
  const check = "balance";
  const told = nodes.filter(({ info }) => info.size > 0);
  if (told.length < 2) return unknown(check, "there are no two masters that report their keys");
  const keys = told.map(({ info }) => Object.values(databasesOf(info)).reduce((sum, number) => sum + number, 0));
  const measures: (readonly [string, readonly number[], number, (value: number) => string])[] = [
    ["keys", keys, KEYS, formatNumber],
    ["memory", told.map(({ info }) => Number(info.get("used_memory") ?? 0)), 2 ** 24, formatBytes],
    ["shards", told.map((node) => shards.filter((slot) => slotsOf(node).has(slot)).length), 1, formatNumber],
  ];
  const uneven: string[] = [];
  for (const [what, values, least, format] of measures) {
    const even = values.reduce((a, b) => a + b, 0) / values.length;
    const most = Math.max(...values);
    // A shard more than the even share cannot be avoided.
    if (even < least || most <= even * UNEVEN || (what === "shards" && most - even < 2)) continue;
    const { node } = told[values.indexOf(most)] as ClusterNode;
    uneven.push(
      `${node} has ${format(most)} of ${what === "memory" ? "memory" : what}, evenly it were ${format(even)}`,
    );
  }
  if (uneven.length > 0) return warning(check, uneven.join("; "), "move slots: --cluster rebalance");
  return { check, level: "ok", evidence: `the masters have ${keys.map(formatNumber).join(", ")} keys` };
}

/** Looks for slots with many more keys than others. */
async function bigSlots(nodes: readonly ClusterNode[], shards: readonly number[]): Promise<Finding> {
  const check = "big slots";
  const counts = new Map<number, number>();
  for (const { connection, ...node } of nodes.filter(({ error }) => error === null)) {
    const stats = await connection.send([["CLUSTER", "SLOT-STATS", "SLOTSRANGE", 0, SLOTS - 1]]);
    if (Array.isArray(stats[0])) {
      for (const [slot, fields] of stats[0] as [number, RawReply[]][]) {
        const at = fields.map(word).indexOf("key-count");
        if (at >= 0) counts.set(slot, Number(fields[at + 1]));
      }
      continue;
    }
    const own = slotsOf({ connection, ...node });
    const asked = shards.filter((slot) => own.has(slot));
    const replies = await connection.send(asked.map((slot) => ["CLUSTER", "COUNTKEYSINSLOT", slot]));
    asked.forEach((slot, i) => {
      if (typeof replies[i] === "number") counts.set(slot, replies[i]);
    });
  }
  const filled = [...counts].filter(([, keys]) => keys > 0).sort((a, b) => b[1] - a[1]);
  if (filled.length === 0) return unknown(check, "no node says how many keys its slots have");
  const mean = filled.reduce((sum, [, keys]) => sum + keys, 0) / filled.length;
  const big = filled.filter(([, keys]) => keys >= KEYS && keys >= mean * BIG);
  const [[slot, most]] = filled as [[number, number]];
  if (big.length === 0)
    return { check, level: "ok", evidence: `the fullest slot, ${slot}, has ${formatNumber(most)} keys` };
  const names = some(big.map(([slot, keys]) => `${slot} (${formatNumber(keys)} keys)`));
  const advice = "find the hash tag that many keys share: a slot cannot be split over two masters";
  return warning(check, `slots with ${BIG} times the mean of ${formatNumber(Math.round(mean))} keys: ${names}`, advice);
}

/** Looks for moves of slots that were broken off, or are running. */
function openSlots(nodes: readonly ClusterNode[]): Finding {
  const check = "open slots";
  if (nodes.every(({ lines }) => lines.length === 0)) return unknown(check, "no node may be asked for CLUSTER NODES");
  const open = nodes.flatMap(({ node, lines }) =>
    lines.flatMap(({ slots }) => slots.filter((range) => range.startsWith("[")).map((range) => `${range} on ${node}`)),
  );
  if (open.length === 0) return { check, level: "ok", evidence: "no slot is being moved" };
  // Ids of nodes are long, and their beginnings tell them apart.
  const evidence = `slots that are being moved: ${some(open).replace(/([0-9a-f]{8})[0-9a-f]{32}/g, "$1")}`;
  return { check, level: "error", evidence, advice: "end the move, or repair what was broken off: --cluster fix" };
}

/** Compares the versions and settings of the nodes. */
function differences(nodes: readonly ClusterNode[]): Finding {
  const check = "nodes";
  const told = nodes.filter(({ info }) => info.size > 0);
  const readings: (readonly [string, (node: ClusterNode) => string | undefined])[] = [
    ["version", ({ info }) => `${serverName(info).server} ${serverName(info).version}`],
    ...ALIKE.map((name) => [name, ({ settings }: ClusterNode) => settings.get(name)] as const),
  ];
  const different: string[] = [];
  for (const [name, read] of readings) {
    const values = told.flatMap((node) => {
      const value = read(node);
      return value === undefined ? [] : [`${value} on ${node.node}`];
    });
    if (new Set(values.map((value) => value.slice(0, value.lastIndexOf(" on ")))).size > 1) {
      different.push(`${name} is ${values.join(", ")}`);
    }
  }
  if (different.length > 0)
    return warning(check, different.join("; "), "give all nodes one version and one configuration");
  return { check, level: "ok", evidence: "all nodes have one version and the same settings" };
}

/** Judges the addresses that nodes announce to clients. */
function addresses(nodes: readonly ClusterNode[]): Finding {
  const check = "addresses";
  const lost = nodes.filter(({ error }) => error !== null);
  if (lost.length > 0) {
    const names = lost.map(({ node, error }) => `${node} (${error})`);
    const evidence = `masters that cannot be reached from here: ${some(names)}`;
    const advice =
      "start them, or let them announce addresses that applications can reach (cluster-announce-ip, " +
      "cluster-announce-hostname, or cluster.mapAddress in the application)";
    return { check, level: "error", evidence, advice };
  }
  if (nodes.some(({ hosts }) => hosts.some((host) => host === "" || host === "?"))) {
    const evidence = "a node announces no host, so that clients must guess it";
    return { check, level: "error", evidence, advice: "set cluster-announce-ip or cluster-announce-hostname" };
  }
  return { check, level: "ok", evidence: `all ${nodes.length} masters can be reached` };
}

/** Looks for servers that report plain ports to TLS clients. */
function tls(nodes: readonly ClusterNode[]): Finding | undefined {
  const wrong = nodes.filter(
    ({ info, settings }) =>
      /^7\.0\./.test(info.get("redis_version") ?? "") &&
      Number(settings.get("tls-port") ?? 0) > 0 &&
      settings.get("tls-cluster") === "no",
  );
  if (wrong.length === 0) return undefined;
  const names = wrong.map(({ node }) => node);
  const evidence = `with tls-cluster no, Redis 7.0 reports plain ports to TLS clients: ${some(names)}`;
  return warning("tls", evidence, "set tls-cluster yes, or update the servers");
}

/**
 * Checks a cluster.
 *
 * @param nodes The answers of its masters.
 * @param tags The hash tags of the library's keys; one empty text if they have none.
 * @returns A finding for each check.
 */
export async function* clusterChecks(
  nodes: readonly NodeInfo[],
  tags: readonly string[],
): AsyncGenerator<Finding, void, void> {
  const asked = await askCluster(nodes);
  const shards = tags[0] === "" ? [] : tags.map(hashSlot);
  yield addresses(asked);
  yield stateOf(asked);
  yield openSlots(asked);
  yield* replicaChecks(asked);
  yield* failoverOf(asked);
  yield differences(asked);
  const plain = tls(asked);
  if (plain) yield plain;
  yield balance(asked, shards);
  yield await bigSlots(asked, shards);
}

/** Joins the findings of several nodes: the worst level, and who is there. */
export function worstOf(found: readonly (readonly [node: string, finding: Finding])[]): Finding {
  const levels = ["ok", "info", "warning", "error"] as const;
  const level = levels[Math.max(...found.map(([, { level }]) => levels.indexOf(level)))] as Finding["level"];
  const worst = found.filter(([, finding]) => finding.level === level);
  const [[, first]] = worst as [readonly [string, Finding]];
  const evidences = new Set(worst.map(([, { evidence }]) => evidence));
  if (evidences.size === 1 && worst.length === found.length) return first;
  return {
    ...first,
    evidence: some(worst.map(([node, { evidence }]) => `${node}: ${evidence}`)).replaceAll("), ", "); "),
  };
}
