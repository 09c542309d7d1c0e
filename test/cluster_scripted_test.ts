/** The cluster driver with nodes that follow a script, for answers that real ones cannot be made to give. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, it } from "node:test";
import { readSlotMap } from "../drivers/cluster/slot_map.ts";
import { type ClusterOptions, cluster } from "../drivers/cluster.ts";
import { type Driver, errorReply, type Reply, StoreError } from "../drivers/driver.ts";
import { hashSlot } from "../src/base/crc16.ts";
import { eventually } from "./helpers/eventually.ts";

const T = { timeout: 10_000 };
/** Answers a command by the text of a reply; by `""` as a node that has all slots. */
type Script = (command: readonly string[], node: Scripted) => string | Promise<string>;

/** A node that follows a script. */
interface Scripted {
  readonly port: number;
  /** The commands that it got, without those of a login and about the map. */
  readonly got: string[];
}

const started: { server: Server; sockets: Set<Socket> }[] = [];
afterEach(async () => {
  for (const { server, sockets } of started.splice(0)) {
    for (const socket of sockets) socket.destroy();
    await new Promise((done) => server.close(done));
  }
});

/** Starts a node. It knows itself as the master of all slots, unless the script answers CLUSTER. */
async function start(script: Script): Promise<Scripted> {
  const sockets = new Set<Socket>();
  const got: string[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    let text = "";
    let answered: Promise<unknown> = Promise.resolve();
    socket.on("data", (chunk) => {
      text += chunk;
      while (true) {
        const [command, length] = read(text);
        if (!command) return;
        text = text.slice(length);
        if (command[0] !== "PING" && command[0] !== "CLUSTER" && command[0] !== "ROLE") got.push(command.join(" "));
        const answer = script(command, node);
        answered = answered.then(async () => socket.write((await answer) || standard(command, node.port)));
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const node: Scripted = { port: (server.address() as { port: number }).port, got };
  started.push({ server, sockets });
  return node;
}

/** Reads a command of ASCII text. */
function read(text: string): [command: string[] | undefined, length: number] {
  const words: string[] = [];
  const count = Number(/^\*(\d+)\r\n/.exec(text)?.[1] ?? -1);
  let at = text.indexOf("\r\n") + 2;
  for (let index = 0; index < count; index++) {
    const [head = "", length] = /^\$(\d+)\r\n/.exec(text.slice(at)) ?? [];
    const end = at + head.length + Number(length);
    if (head === "" || text.length < end + 2) return [undefined, 0];
    words.push(text.slice(at + head.length, end));
    at = end + 2;
  }
  return count < 0 ? [undefined, 0] : [words, at];
}

function standard([name, what]: readonly string[], port: number): string {
  if (name === "PING") return "+PONG\r\n";
  if (name !== "CLUSTER") return "+OK\r\n";
  return what === "SLOTS" ? slots(port) : info(1);
}

function slots(port: number, host = "127.0.0.1"): string {
  return `*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$${host.length}\r\n${host}\r\n:${port}\r\n$4\r\nnode\r\n`;
}

function info(epoch: number): string {
  const text = `cluster_state:ok\r\ncluster_current_epoch:${epoch}\r\n`;
  return `$${text.length}\r\n${text}\r\n`;
}

async function using(node: Scripted, run: (driver: Driver) => Promise<void>, options: Partial<ClusterOptions> = {}) {
  const driver = cluster({ nodes: [`127.0.0.1:${node.port}`], ...options });
  try {
    await run(driver);
  } finally {
    await driver.close();
  }
}

/** The state in which a slot has moved, and its old owner has yet to refuse the second of two commands. */
interface Refusing {
  readonly driver: Driver;
  /** The new owner. */
  readonly other: Scripted;
  /** The replies of both commands. */
  readonly sends: Promise<Reply[]>[];
  refuse(): void;
}

async function whileRefusing(run: (state: Refusing) => Promise<void>) {
  const other = await start(() => "");
  const refusal = `-MOVED ${hashSlot("a")} 127.0.0.1:${other.port}\r\n`;
  let refuse = () => {};
  const late = new Promise<string>((done) => {
    refuse = () => done(refusal);
  });
  const first = await start(([name, , value]) => (name !== "SET" ? "" : value === "1" ? late : refusal));
  await using(first, async (driver) => {
    await driver.send(0, [["PING"]], T);
    const sends = [0, 1].map((index) => driver.send(0, [["SET", "a", index]], T));
    await eventually(() => other.got.includes("SET a 0"));
    await run({ driver, other, sends, refuse });
  });
}

describe("cluster with scripted nodes", () => {
  it("send follows MOVED without a host to the host that answered", async () => {
    const other = await start(() => "");
    const first = await start(([name]) => (name === "GET" ? `-MOVED ${hashSlot("a")} :${other.port}\r\n` : ""));
    await using(first, async (driver) => {
      assert.deepEqual(await driver.send(0, [["GET", "a"]], T), ["OK"]);
      assert.deepEqual([first.got, other.got], [["GET a"], ["GET a"]]);
    });
  });

  it("send answers TRYAGAIN, which may be repeated, when nodes send a command in a circle", async () => {
    const node = await start(([name], { port }) =>
      name === "INCR" ? `-MOVED ${hashSlot("a")} 127.0.0.1:${port}\r\n` : "",
    );
    await using(node, async (driver) => {
      const [reply] = await driver.send(0, [["INCR", "a"]], T);
      assert.ok(reply instanceof StoreError);
      assert.deepEqual([reply.code, reply.repeat, node.got.length], ["TRYAGAIN", "all", 6]);
    });
  });

  it("ASKING and its command are neighbours when many callers are sent on at once", async () => {
    const target = await start(() => "");
    const source = await start(([name]) =>
      name === "SET" ? `-ASK ${hashSlot("a")} 127.0.0.1:${target.port}\r\n` : "",
    );
    await using(source, async (driver) => {
      const sends = Array.from({ length: 100 }, (_, index) => driver.send(0, [["SET", "{a}", index]], T));
      assert.deepEqual(new Set((await Promise.all(sends)).flat()), new Set(["OK"]));
      const expected = Array.from({ length: 100 }, (_, index) => ["ASKING", `SET {a} ${index}`]).flat();
      assert.deepEqual(target.got, expected);
    });
  });

  it("send asks the owner again when the target of a moving slot refuses the command", async () => {
    let refusals = 0;
    const target = await start(([name], { port }) =>
      name === "GET" && refusals++ < 2 ? `-MOVED ${hashSlot("a")} 127.0.0.1:${port + 1}\r\n` : "",
    );
    const source = await start(([name]) =>
      name === "GET" ? `-ASK ${hashSlot("a")} 127.0.0.1:${target.port}\r\n` : "",
    );
    await using(source, async (driver) => {
      assert.deepEqual(await driver.send(0, [["GET", "a"]], T), ["OK"]);
      assert.equal(driver.partOf?.("a"), `127.0.0.1:${source.port}`);
      assert.deepEqual([source.got.length, target.got.length], [3, 6]);
    });
  });

  it("send leaves TRYAGAIN of a script to its caller, and executes nothing twice", async () => {
    const node = await start(([name]) => (name === "EVAL" ? "-TRYAGAIN Multiple keys\r\n" : ""));
    await using(node, async (driver) => {
      const [reply] = await driver.send(0, [["EVAL", "return 1", 2, "a", "b{a}"]], T);
      assert.equal((reply as StoreError).message, "TRYAGAIN Multiple keys");
      assert.equal(node.got.length, 1);
    });
  });

  it("commands for a slot wait while refusals of earlier ones may still come, and keep their order", async () => {
    await whileRefusing(async ({ driver, other, sends, refuse }) => {
      sends.push(driver.send(0, [["SET", "a", 2]], T));
      // By the time that this is answered, the last one would have come, too.
      await driver.send(0, [["ECHO", "x"]], { ...T, part: `127.0.0.1:${other.port}` });
      refuse();
      assert.deepEqual(await Promise.all(sends), [["OK"], ["OK"], ["OK"]]);
      const sets = other.got.filter((command) => command.startsWith("SET"));
      assert.deepEqual(sets, ["SET a 0", "SET a 1", "SET a 2"]);
    });
  });

  it("a command that waits for such refusals is not executed when its caller has given up", async () => {
    await whileRefusing(async ({ driver, other, sends, refuse }) => {
      let waits = true;
      const given = driver.send(0, [["SET", "a", 2]], { ...T, waiting: () => waits });
      waits = false;
      refuse();
      await assert.rejects(given, { kind: "timeout" });
      await Promise.all(sends);
      await driver.send(0, [["SET", "a", 3]], T);
      assert.deepEqual(other.got, ["SET a 0", "SET a 1", "SET a 3"]);
    });
  });

  it("the sends of a connection end with its own words when it is closed", async () => {
    const node = await start(([name]) => (name === "GET" ? new Promise(() => {}) : ""));
    await using(node, async (driver) => {
      const connection = await (driver.connect as NonNullable<Driver["connect"]>)(0, T);
      const sent = connection.send([["GET", "a"]], T);
      await eventually(() => node.got.includes("GET a"));
      await connection.close();
      await assert.rejects(sent, { kind: "closed", message: "The connection to the cluster is closed" });
    });
  });

  it("track after close opens nothing and calls nothing", async () => {
    const node = await start(() => "");
    await using(node, async (driver) => {
      await driver.send(0, [["GET", "a"]], T);
      await driver.close();
      node.got.length = 0;
      const tracking = driver.track?.(0, "", { invalidate() {}, up: assert.fail, down: assert.fail });
      await (await cluster({ nodes: [`127.0.0.1:${node.port}`] })).close();
      await tracking?.close();
      assert.deepEqual(node.got, []);
    });
  });

  it("the map is asked for again when the answer after MOVED is from before the move", async () => {
    let stale = 0;
    const ports: number[] = [];
    const script: Script = ([name, what], { port }) => {
      if (name === "GET" && port === ports[0]) return `-MOVED ${hashSlot("a")} 127.0.0.1:${ports[1]}\r\n`;
      if (name !== "CLUSTER" || what !== "SLOTS") return "";
      return slots(ports[stale > 0 && stale-- ? 0 : 1] as number);
    };
    const [first, other] = [await start(script), await start(script)];
    ports.push(first.port, other.port);
    stale = 1;
    await using(first, async (driver) => {
      await driver.send(0, [["PING"]], T);
      assert.deepEqual(driver.parts?.(), [`127.0.0.1:${first.port}`]);
      stale = 2;
      assert.deepEqual(await driver.send(0, [["GET", "a"]], T), ["OK"]);
      await eventually(() => stale === 0 && String(driver.parts?.()) === `127.0.0.1:${other.port}`);
      assert.equal(driver.partOf?.("a"), `127.0.0.1:${other.port}`);
    });
  });

  it("the map is kept when one answer is older, and given up when two in a row are", async () => {
    const other = await start(() => "");
    let epoch = 5;
    let owner = 0;
    let asked = 0;
    const node = await start(([name, what], { port }) => {
      if (name === "GET") return "-CLUSTERDOWN The cluster is down\r\n";
      if (name !== "CLUSTER") return "";
      if (what === "INFO") return info(epoch);
      asked++;
      return slots(owner || port);
    });
    await using(node, async (driver) => {
      await driver.send(0, [["SET", "a", 1]], T);
      const own = driver.partOf?.("a");
      [epoch, owner] = [4, other.port];
      const before = asked;
      await eventually(async () => {
        await driver.send(0, [["GET", "a"]], T);
        return asked > before;
      });
      assert.equal(driver.partOf?.("a"), own);
      await eventually(async () => {
        await driver.send(0, [["GET", "a"]], T);
        return driver.partOf?.("a") === `127.0.0.1:${other.port}`;
      });
      assert.ok(asked >= before + 2);
    });
  });

  it("send works when the store refuses CLUSTER INFO", async () => {
    const node = await start(([name, what]) =>
      name === "CLUSTER" && what === "INFO" ? "-ERR unknown subcommand\r\n" : "",
    );
    await using(node, async (driver) => assert.deepEqual(await driver.send(0, [["GET", "a"]], T), ["OK"]));
  });
});

describe("readSlotMap", () => {
  const asked = { host: "asked", port: 1 };
  const masterOf = (node: Reply): string | undefined =>
    readSlotMap([[[0, 16_383, node]], ""], asked, (address) => address).ranges[0]?.master;

  it("readSlotMap takes the asked host when the cluster gives none", () => {
    assert.equal(masterOf(["10.0.0.1", 7000, "id"]), "10.0.0.1:7000");
    assert.equal(masterOf([null, 7000, "id"]), "asked:7000");
    assert.equal(masterOf(["", 7000, "id", []]), "asked:7000");
    assert.equal(masterOf(["?", 7000, "id", ["ip", "10.0.0.2"]]), "10.0.0.2:7000");
    assert.equal(masterOf(["::1", 7000, "id"]), "[::1]:7000");
  });

  it("readSlotMap throws when there are no slots, or the node refuses", () => {
    assert.throws(() => readSlotMap([[], ""], asked, (address) => address), /knows of no slots/);
    assert.throws(() => readSlotMap([errorReply("ERR no"), ""], asked, (address) => address), /ERR no/);
  });
});
