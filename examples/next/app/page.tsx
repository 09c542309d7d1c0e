import { getCacheClient } from "@foodfast/larder";

export const dynamic = "force-dynamic";

/** How the store is, and what this process's client did. */
export default async function Page() {
  const client = getCacheClient();
  const { ok, driver, databases } = await client.health();
  const { hits, misses } = client.stats();
  return <pre>{JSON.stringify({ ok, driver, databases, hits, misses })}</pre>;
}
