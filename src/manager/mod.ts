/**
 * The operations of a cache's operator, as functions on a client: clear, list, back up, restore, copy, warm, inspect
 * and diagnose. They print nothing. Long operations are async iterables that yield their progress, the totals last;
 * {@linkcode finish} runs them to their end.
 *
 * @example
 * ```ts
 * import { createCacheClient } from "@foodfast/larder";
 * import { backup, finish } from "@foodfast/larder/manager";
 *
 * await using client = createCacheClient({ driver: "memory" });
 * const file: Uint8Array[] = [];
 * const { keys } = await finish(backup(client, { service: "product", write: (chunk) => void file.push(chunk) }));
 * console.log(`${keys} keys`);
 * ```
 *
 * @module
 */

export type { Signal } from "../base/web_types.ts";
export { type BackupOptions, type BackupProgress, backup } from "./backup.ts";
export { type ClearOptions, type ClearProgress, clear } from "./clear.ts";
export { type CopyOptions, type CopyProgress, copy } from "./copy.ts";
export { type DiagnoseOptions, diagnose, type Finding } from "./diagnose.ts";
export { BackupError, ConflictError } from "./errors.ts";
export { type EntryHead, type GetOptions, get, type KeyDetails } from "./get.ts";
export {
  type InspectedClient,
  type Inspection,
  type InspectOptions,
  inspect,
  type ServiceKeys,
} from "./inspect.ts";
export { type KeyEntry, type ListOptions, list } from "./list.ts";
export type { NodeNumbers, ServerNumbers } from "./nodes.ts";
export { type OnConflict, type RestoreOptions, type RestoreProgress, restore } from "./restore.ts";
export type { ServerName } from "./server.ts";
export { type Bulk, finish, type ManagedClient, type Problem, type StepOptions, type Target } from "./target.ts";
export { type WarmItem, type WarmOptions, type WarmProgress, type WarmReject, warm } from "./warm.ts";
