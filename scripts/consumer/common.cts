// CommonJS: an import that is asked for takes the place of `require`.
export async function use(): Promise<unknown> {
  const { createCacheClient } = await import("@foodfast/larder");
  const client = createCacheClient({ driver: "memory" });
  return await client.cache().get("dish");
}
