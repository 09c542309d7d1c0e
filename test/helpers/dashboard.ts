/** Starts `larder dashboard` as a user does, and uses caches for it to show. */
import { createCacheClient } from "../../mod.ts";
import { startLarder } from "./larder.ts";
import type { Ended } from "./run.ts";

/** A running dashboard. */
export interface Dashboard {
  /** The printed URL, with the token. */
  readonly url: string;
  /** `http://127.0.0.1:{port}` */
  readonly origin: string;
  readonly token: string;
  /** Stops it by Ctrl-C. */
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
 * Uses the product service like a process of an application with `fleetStats`. Its counts are in the store when this
 * ends.
 *
 * @param store The store's URL.
 * @param hits The number of reads that find a value.
 * @param misses The number of reads that find no value.
 */
export async function use(store: string, hits: number, misses: number): Promise<void> {
  await using client = createCacheClient({ env: {}, url: store, fleetStats: true, timeout: 10_000 });
  const { products } = client.service("product");
  await products.set("pho", { id: "pho", name: "Phở bò", price: 65_000 });
  for (let i = 0; i < hits; i++) await products.get("pho");
  for (let i = 0; i < misses; i++) await products.get(`none-${i}`);
}
