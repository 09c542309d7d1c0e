/**
 * The client package of the REST wire, of which only the requester is used. `npm run build` replaces this file by a
 * function that makes the requester without the commands of the package, which saves 13 kB in a Worker.
 */
import { Redis } from "@upstash/redis/cloudflare";

/** Makes a client that sends each request once, and adds nothing to it. */
export function redisClient(url: string, token: string, readYourWrites: boolean): Redis {
  return new Redis({
    url,
    token,
    readYourWrites,
    retry: { retries: 0 },
    responseEncoding: false,
    automaticDeserialization: false,
    enableAutoPipelining: false,
    enableTelemetry: false,
  });
}
