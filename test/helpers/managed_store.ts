/**
 * A real redis-server behind a proxy that refuses what a provider's store refuses in scripts.
 *
 * Some stores check the keys of scripts. They do so in two ways, which the proxy does to each script that passes:
 *
 * - `"declared"`: while a script runs, each key that it touches must be among its declared ones, as in Dragonfly. The
 *   script gets a head in which `redis.call` and `redis.pcall` check the keys of each command before they run it.
 * - `"literal"`: the text of a script must say `KEYS[...]` wherever a command takes a key, as in proxies of Alibaba
 *   Cloud. Another script never runs.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { connect, createServer, type Socket } from "node:net";

/** A proxy that a test started, and must stop. */
export interface ManagedStore {
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** The error of Dragonfly. */
const UNDECLARED = "script tried accessing undeclared key";
/** The error of the proxies of Alibaba Cloud. */
const NOT_LITERAL =
  "ERR bad lua script for redis cluster, all the keys that the script uses should be passed using the KEYS array";

/** Checks the keys of commands: of most the first argument is the only key. */
const HEAD = `local declared = {}
for _, key in ipairs(KEYS) do declared[key] = true end
local whole = redis
local many = {MGET = 1, DEL = 1, UNLINK = 1, EXISTS = 1, TIME = 0}
local function undeclared(name, ...)
  local args = {...}
  local last = many[name:upper()] == 1 and #args or many[name:upper()] or 1
  for i = 1, last do if not declared[tostring(args[i])] then return true end end
end
local redis = setmetatable({
  call = function(...)
    if undeclared(...) then error('${UNDECLARED}') end
    return whole.call(...)
  end,
  pcall = function(...)
    if undeclared(...) then return {err = 'ERR ${UNDECLARED}'} end
    return whole.pcall(...)
  end,
}, {__index = whole})
`;

/** Starts the proxy in front of a server on 127.0.0.1. */
export async function startManagedStore(targetPort: number, check: "declared" | "literal"): Promise<ManagedStore> {
  const sockets = new Set<Socket>();
  /** The sources of scripts that ran, by the hash that callers know. */
  const sources = new Map<string, string>();
  const rewrite = (command: Buffer[]): Buffer[] => {
    const name = String(command[0]).toUpperCase();
    const [, script = Buffer.alloc(0), ...rest] = command;
    if (/^EVAL(_RO)?$/.test(name)) {
      const source = String(script);
      if (check === "literal" && !isLiteral(source))
        return [Buffer.from("EVAL"), Buffer.from(REFUSE), Buffer.from("0")];
      sources.set(createHash("sha1").update(source).digest("hex"), source);
      return check === "literal" ? command : [Buffer.from(name), Buffer.from(HEAD + source), ...rest];
    }
    const source = sources.get(String(script));
    // The server does not know the hash either, and says so.
    if (check === "literal" || !/^EVALSHA(_RO)?$/.test(name) || source === undefined) return command;
    return [Buffer.from(name.replace("SHA", "")), Buffer.from(HEAD + source), ...rest];
  };
  const server = createServer((client) => {
    const target = connect(targetPort, "127.0.0.1");
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      const end = (): void => {
        sockets.delete(socket);
        client.destroy();
        target.destroy();
      };
      socket.on("error", end);
      socket.on("close", end);
    }
    const read = commandReader();
    client.on("data", (chunk: Buffer) => {
      for (const command of read(chunk)) target.write(encode(rewrite(command)));
    });
    target.on("data", (chunk: Buffer) => void client.write(chunk));
  });
  await new Promise<void>((done, fail) => server.once("error", fail).listen(0, "127.0.0.1", done));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    async stop() {
      const closed = new Promise((done) => server.close(done));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** A script that answers with the error. */
const REFUSE = `return redis.error_reply('${NOT_LITERAL}')`;

/** Returns whether each command of a script says literally which of KEYS it takes. */
function isLiteral(source: string): boolean {
  return [...source.matchAll(/redis\.p?call\(\s*'(\w+)'\s*(?:,\s*([\w[\]]+))?/g)].every(
    ([, name, key = ""]) => name === "TIME" || key.startsWith("KEYS["),
  );
}

/** Returns a function that answers the commands that a chunk of a stream completes. */
function commandReader(): (chunk: Buffer) => Buffer[][] {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const commands: Buffer[][] = [];
    for (;;) {
      const found = readCommand(rest);
      if (!found) return commands;
      commands.push(found.command);
      rest = rest.subarray(found.end);
    }
  };
}

function readCommand(bytes: Buffer): { command: Buffer[]; end: number } | undefined {
  let at = bytes.indexOf("\r\n") + 2;
  if (at < 2) return undefined;
  const command: Buffer[] = [];
  for (let left = Number(bytes.toString("latin1", 1, at - 2)); left > 0; left--) {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return undefined;
    const size = Number(bytes.toString("latin1", at + 1, end));
    if (bytes.length < end + 2 + size + 2) return undefined;
    command.push(bytes.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
  }
  return { command, end: at };
}

function encode(command: readonly Buffer[]): Buffer {
  const line = (text: string): Buffer => Buffer.from(text, "latin1");
  const parts = command.flatMap((arg) => [line(`$${arg.length}\r\n`), arg, line("\r\n")]);
  return Buffer.concat([line(`*${command.length}\r\n`), ...parts]);
}
