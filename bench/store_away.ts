// Does `get` answer a miss in time when Redis is away, and does a process that did just that end by itself?
import { createServer, type Socket } from "node:net";
import process from "node:process";
import { createCacheClient } from "../mod.ts";
import { freePort } from "../test/helpers/redis_server.ts";
import { runChild } from "./helpers/child.ts";
import { heading, verdict, version } from "./helpers/compare.ts";

const DEADLINE = 500;
const LATE = 50;
/** Milliseconds that may pass between the last answer and the end of the process. */
const LINGER = 1000;
const PROCESSES = 3;

const [, , url] = process.argv;
if (url) await ask(url);
else await report();

/** The child: three gets one after the other, and nothing that closes the client. */
async function ask(url: string): Promise<void> {
  const client = createCacheClient({ env: {}, url, timeout: DEADLINE });
  const { products } = client.service("product");
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    const value = await products.get(i);
    if (value !== undefined) throw new Error("a store that is away gave a value");
    console.log(performance.now() - start);
  }
}

async function report(): Promise<void> {
  heading(
    `get over TCP (${version("redis")}) with a deadline of ${DEADLINE} ms and no Redis`,
    `Three gets a process, ${PROCESSES} processes. The first line gives the slowest get, the second the longest wait ` +
      "from the last reply to the end of the process.",
  );
  const sockets = new Set<Socket>();
  const hole = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.resume();
  });
  await new Promise<void>((done) => hole.listen(0, "127.0.0.1", done));
  const address = hole.address();
  const holePort = typeof address === "object" && address ? address.port : 0;
  for (const [name, port] of [
    ["refused", await freePort()],
    ["black-holed", holePort],
  ] as const) {
    const took: number[] = [];
    const lingered: number[] = [];
    for (let i = 0; i < PROCESSES; i++) {
      const child = await runChild(import.meta.filename, [`redis://127.0.0.1:${port}`]);
      if (child.lines.length !== 3) throw new Error(`the process ended with ${child.code} before its three answers`);
      took.push(...child.lines.map(Number));
      lingered.push((child.ended ?? Number.POSITIVE_INFINITY) - child.printed);
    }
    const slowest = Math.max(...took);
    const each = took.map((ms) => ms.toFixed(0)).join(" ");
    verdict(
      `${name}: time to the miss`,
      `${DEADLINE + LATE} ms`,
      `${slowest.toFixed(0)} ms (${each})`,
      slowest <= DEADLINE + LATE,
    );
    const longest = Math.max(...lingered);
    const ends = longest === Number.POSITIVE_INFINITY ? "was killed" : `${longest.toFixed(0)} ms`;
    verdict(`${name}: the process ends by itself`, `${LINGER} ms`, ends, longest <= LINGER);
  }
  for (const socket of sockets) socket.destroy();
  hole.close();
}
