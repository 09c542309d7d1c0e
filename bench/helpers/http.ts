/** A plain HTTP client on one kept connection: what a server costs, without what `fetch` costs. */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect } from "node:net";

/** A connection to a server. */
export interface HttpClient {
  /** Posts a body, and answers the body of the reply, whatever its status. One at a time. */
  post(path: string, body: string): Promise<Buffer>;
  close(): void;
}

/** Opens a connection; each request carries the headers. */
export async function httpClient(url: string, headers: Readonly<Record<string, string>>): Promise<HttpClient> {
  const { hostname, port, host } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.setNoDelay(true);
  await once(socket, "connect");
  const fixed = Object.entries({ host, ...headers })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  const received: Buffer[] = [];
  let size = 0;
  /** The bytes of the whole reply; not known of a reply in chunks, and before its head has come. */
  let expected = 0;
  let answered: ((body: Buffer) => void) | undefined;
  let failed: ((error: Error) => void) | undefined;
  socket.on("error", (error) => failed?.(error));
  socket.on("close", () => failed?.(new Error("the connection was closed")));
  socket.on("data", (chunk: Buffer) => {
    received.push(chunk);
    size += chunk.length;
    expected ||= lengthOf(chunk);
    if (size < expected) return;
    const reply = received.length === 1 ? chunk : Buffer.concat(received, size);
    const body = readBody(reply);
    if (!body) return;
    received.length = 0;
    size = 0;
    expected = 0;
    answered?.(body);
  });
  return {
    post(path, body) {
      socket.write(`POST ${path} HTTP/1.1\r\n${fixed}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
      return new Promise((resolve, reject) => {
        answered = resolve;
        failed = reject;
      });
    },
    close: () => void socket.destroy(),
  };
}

/** The length of the reply that a chunk begins; 0 if it is not known. */
function lengthOf(chunk: Buffer): number {
  const start = chunk.indexOf("\r\n\r\n") + 4;
  const length = /content-length: (\d+)/i.exec(chunk.toString("latin1", 0, Math.max(start, 0)))?.[1];
  return start < 4 || length === undefined ? 0 : start + Number(length);
}

/** The body of a reply that is complete. */
function readBody(reply: Buffer): Buffer | undefined {
  const start = reply.indexOf("\r\n\r\n") + 4;
  if (start < 4) return undefined;
  const head = reply.toString("latin1", 0, start);
  const length = /content-length: (\d+)/i.exec(head)?.[1];
  if (length !== undefined) {
    const end = start + Number(length);
    return reply.length < end ? undefined : reply.subarray(start, end);
  }
  if (reply.toString("latin1", reply.length - 5) !== "0\r\n\r\n") return undefined;
  const parts: Buffer[] = [];
  for (let at = start; ; ) {
    const line = reply.indexOf("\r\n", at);
    const size = Number.parseInt(reply.toString("latin1", at, line), 16);
    if (size === 0) return Buffer.concat(parts);
    parts.push(reply.subarray(line + 2, line + 2 + size));
    at = line + 4 + size;
  }
}
