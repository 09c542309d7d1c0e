// Where the application has types of the web platform, ours are those.
import { createCacheClient, type LoadContext } from "@foodfast/larder";
import { bridge } from "@foodfast/larder/bridge";
import { memory } from "@foodfast/larder/drivers/memory";

/** The signal of a load: the runtime's own `AbortSignal`, if its types are there. */
type Signal = LoadContext["signal"];

export async function use(given: AbortSignal): Promise<readonly unknown[]> {
  const client = createCacheClient({ driver: "memory" });
  const response: Response = await bridge({ driver: memory(), token: "secret" })(new Request("http://localhost/"));
  const fetched: Response = await client
    .cache()
    .withLock("job", ({ signal }) => fetch("http://localhost/", { signal }));
  const signal: Signal = given;
  const same: AbortSignal = signal;
  return [response, fetched, same];
}
