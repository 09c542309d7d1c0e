import { getCacheClient } from "@foodfast/larder";

export const dynamic = "force-dynamic";

/** Shows the state of the store, and the counts of this process's client. */
export default async function Page() {
  const client = getCacheClient();
  const { ok, driver, databases } = await client.health();
  const { hits, misses } = client.stats();
  return <pre>{JSON.stringify({ ok, driver, databases, hits, misses })}</pre>;
}
