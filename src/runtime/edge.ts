/**
 * True in Cloudflare Workers and the Vercel Edge runtime, which are known by a global. There, sockets, timers and
 * promises end with the request that made them, so requests cannot share any.
 */
export const AT_EDGE: boolean = "WebSocketPair" in globalThis || "EdgeRuntime" in globalThis;
