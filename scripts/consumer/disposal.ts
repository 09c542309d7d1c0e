// `await using`, in every compiler that has it.
import { createCacheClient } from "@foodfast/larder";

export async function use(): Promise<unknown> {
  await using client = createCacheClient({ driver: "memory" });
  return await client.cache().get("dish");
}
