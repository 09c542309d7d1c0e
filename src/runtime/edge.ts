/**
 * True in the runtimes of Cloudflare Workers and Vercel Edge, which are told apart by a global of their own. There,
 * sockets, timers and promises end with the request that made them, so requests cannot share any.
 */
export const AT_EDGE: boolean = "WebSocketPair" in globalThis || "EdgeRuntime" in globalThis;
