/**
 * The client package of the REST wire. Its requester is all that is used, and the package gives it only with the commands on top: `npm run build`
 * puts the same class without them in the place of this file, 10 kB less of a Worker.
 */
export { Redis } from "@upstash/redis/cloudflare";
