/** Starts `larder dashboard` as a user does, and gives it something to show. */
import { createCacheClient } from "../../mod.ts";
import { startLarder } from "./larder.ts";
import type { Ended } from "./run.ts";

/** A dashboard under way. */
export interface Dashboard {
  /** What it printed: its URL with the token. */
  readonly url: string;
  /** `http://127.0.0.1:{port}` */
  readonly origin: string;
  readonly token: string;
  /** Ends it by Ctrl-C. */
  stop(): Promise<Ended>;
}

/**
 * Starts a dashboard that samples each second.
 *
 * @param store The store's URL.
 * @param more Further arguments; `--port` among them wins over a free one.
 */
export async function startDashboard(store: string, ...more: readonly string[]): Promise<Dashboard> {
  const command = startLarder(["dashboard", "--interval", "1", "--port", "0", "--url", store, ...more]);
  const [, url = "", origin = "", token = ""] = await command.said(/^((http:\/\/[^/\s]+)\/\?token=(\S+))$/m);
  return {
    url,
    origin,
    token,
    stop() {
      command.signal("SIGINT");
      return command.ended;
    },
  };
}

/**
 * Uses the product service as a process of an application does that counts together with others; its counts are in the store when this ends.
 *
 * @param store The store's URL.
 * @param hits How many reads find a value.
 * @param misses How many find none.
 */
export async function use(store: string, hits: number, misses: number): Promise<void> {
  await using client = createCacheClient({ env: {}, url: store, fleetStats: true, timeout: 10_000 });
  const { products } = client.service("product");
  await products.set("pho", { id: "pho", name: "Phở bò", price: 65_000 });
  for (let i = 0; i < hits; i++) await products.get("pho");
  for (let i = 0; i < misses; i++) await products.get(`none-${i}`);
}
