/**
 * The client package of the REST wire, of which only the requester is used. The package gives it with all commands:
 * `npm run build` replaces this file by a class that holds what the driver uses of the requester, 13 kB less of a
 * Worker.
 */
export { Redis } from "@upstash/redis/cloudflare";
