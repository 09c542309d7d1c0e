// How much memory do backup and restore of a million keys of 1 KB take? Is everything the same afterwards, also after
// kill -9?
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream, readFileSync } from "node:fs";
import { mkdtemp, open, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createCacheClient } from "../mod.ts";
import { backup, finish, restore } from "../src/manager/mod.ts";
import { type RawClient, rawClient, startRedis } from "../test/helpers/redis_server.ts";
import { heading, verdict } from "./helpers/compare.ts";

const KEYS = Number(process.env.BENCH_KEYS ?? 1_000_000);
const BAR = 200;

const [, , role, url = "", path = ""] = process.argv;
if (role === "backup" || role === "restore") await work();
else await report();

/** The child: does one thing, and says how long it took and how much memory it had at the most, in MiB. */
async function work(): Promise<void> {
  await using client = createCacheClient({ env: {}, url });
  const start = performance.now();
  if (role === "backup") {
    const file = await open(path, "w", 0o600);
    const write = async (chunk: Uint8Array): Promise<void> => void (await file.write(chunk));
    const { keys } = await finish(backup(client, { database: 0, write }));
    await file.close();
    if (keys !== KEYS) throw new Error(`${keys} keys were backed up`);
  } else {
    for await (const { phase, keys } of restore(client, {
      database: 1,
      read: () => createReadStream(path, { highWaterMark: 2 ** 18 }),
    })) {
      if (phase === "write" && keys >= KEYS / 2) console.log("half");
    }
  }
  console.log(JSON.stringify({ ms: performance.now() - start, peak: peak() }));
}

function peak(): number {
  const [, kib = ""] = /VmHWM:\s*(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return Number(kib) / 1024;
}

async function report(): Promise<void> {
  heading(
    `backup, then restore of ${KEYS} keys of 1 KB over TCP`,
    "Each in a process of its own, with its largest resident memory (VmHWM). Every key, value and expiry is compared " +
      "by a digest of both databases.",
  );
  const redis = await startRedis();
  const folder = await mkdtemp(join(tmpdir(), "larder-bench-"));
  const file = join(folder, "backup.jsonl");
  const raw = await rawClient(redis.port);
  await fill(raw);
  const was = await digest(raw, 0);
  const saved = await child("backup", redis.url, file);
  const size = ((await stat(file)).size / 2 ** 20).toFixed(0);
  tell("backup", saved, `, file ${size} MiB`);
  const brought = await child("restore", redis.url, file);
  tell("restore", brought, "");
  const is = await digest(raw, 1);
  verdict(
    "manager: everything the same",
    "the same digest",
    `${is === was ? "the same" : "different"} (${was.slice(0, 20)})`,
    is === was,
  );
  await raw.pipeline([["SELECT", 1], ["FLUSHDB"]]);
  await child("restore", redis.url, file, true);
  const between = Number((await raw.pipeline([["SELECT", 1], ["DBSIZE"]]))[1]);
  await child("restore", redis.url, file);
  const again = await digest(raw, 1);
  verdict(
    "manager: kill -9 at half, and again",
    "the same digest",
    `${again === was ? "the same" : "different"} (${between} keys in between)`,
    again === was,
  );
  raw.close();
  await redis.stop();
  await rm(folder, { recursive: true });
}

function tell(what: string, { ms, peak }: { ms: number; peak: number }, more: string): void {
  verdict(
    `manager: memory of ${what}`,
    `${BAR} MiB`,
    `${peak.toFixed(0)} MiB (${(ms / 1000).toFixed(1)} s${more})`,
    peak < BAR,
  );
}

async function child(role: string, url: string, file: string, kill = false): Promise<{ ms: number; peak: number }> {
  const how = process.versions.deno ? ["run", "-A", "--no-check"] : [];
  const started = spawn(process.execPath, [...how, import.meta.filename, role, url, file], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  started.stdout.on("data", (chunk: unknown) => {
    output += chunk;
    if (kill && output.includes("half")) process.kill(started.pid as number, "SIGKILL");
  });
  const [code] = await once(started, "close");
  if (kill) return { ms: 0, peak: 0 };
  if (code !== 0) throw new Error(`${role} ended with ${code}`);
  return JSON.parse(output.trimEnd().split("\n").at(-1) as string);
}

async function fill(raw: RawClient): Promise<void> {
  const now = Date.now();
  for (let from = 0; from < KEYS; from += 1000) {
    await raw.pipeline(
      Array.from({ length: Math.min(1000, KEYS - from) }, (_, i) => {
        const n = from + i;
        const text = `{"json":${JSON.stringify({ id: n, name: "Pho", text: `${n}`.padEnd(960, "phở bò ") })}}`;
        return n % 3 === 0
          ? ["SET", `product:${n}`, text]
          : ["SET", `product:${n}`, text, "PXAT", now + 36_000_000 + n];
      }),
    );
  }
}

/** One text for all keys, values and expiries of a database, whatever their order: the sum of their digests. */
async function digest(raw: RawClient, database: number): Promise<string> {
  await raw.command("SELECT", database);
  let sum = 0n;
  let count = 0;
  let cursor = "0";
  do {
    const [next, keys] = (await raw.command("SCAN", cursor, "COUNT", 1000)) as [string, string[]];
    const replies = await raw.pipeline(
      keys.flatMap(
        (key) =>
          [
            ["GET", key],
            ["PEXPIRETIME", key],
          ] as const,
      ),
    );
    keys.forEach((key, i) => {
      const hash = createHash("sha256")
        .update(`${key} ${replies[2 * i]} ${replies[2 * i + 1]}`)
        .digest("hex");
      sum += BigInt(`0x${hash.slice(0, 24)}`);
      count++;
    });
    cursor = next;
  } while (cursor !== "0");
  await raw.command("SELECT", 0);
  return `${count}:${sum.toString(16)}`;
}
