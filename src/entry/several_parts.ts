import { globMatch } from "../../drivers/glob.ts";
import { invalid } from "../base/check.ts";
import { checkPattern, decodeText, encodeId, hashId, idGlob, type KeyShape } from "./keyspace.ts";

/**
 * Returns the shape of keys of several placeholders. Encoded parts have no colon, so colons separate them.
 *
 * @param pattern Such as `"order:{tenant}:{id}"`.
 * @param hashed Whether each part is hashed.
 * @returns The shape; `undefined` for a pattern of one placeholder, or of another form.
 */
export function severalParts(pattern: string, hashed = false): KeyShape | undefined {
  const [, prefix = "", braces = ""] = /^([\w.-]+:)\{(\w+(?:\}:\{\w+)+)\}$/.exec(pattern) ?? [];
  const names = braces.split("}:{");
  if (new Set(names).size < Math.max(names.length, 2)) return undefined;
  return {
    named: (id) => (Array.isArray(id) ? Object.fromEntries(names.map((name, i) => [name, id[i]])) : (id as object)),
    encode(id) {
      const list = Array.isArray(id);
      if (typeof id !== "object" || id === null || Object.keys(id).length !== names.length) {
        throw invalid("use an id", id, `{ ${names.join(", ")} } or [${names.join(", ")}]`, TypeError);
      }
      const parts = names.map((name, i) => (id as Record<string, unknown>)[list ? i : name]);
      return prefix + parts.map((part) => (hashed ? hashId(part) : encodeId(part))).join(":");
    },
    decode(key) {
      const parts = key.slice(prefix.length).split(":");
      return Object.fromEntries(names.map((name, i) => [name, decodeText(parts[i] ?? "")]));
    },
    match(pattern) {
      if (checkPattern(pattern) === "*") return { glob: `${prefix}*` };
      // A colon after a backslash, or in a class, is part of an id.
      const parts: string[] = pattern.match(/(?:\\.|\[\^?(?:\\.|[^\]\\]-.|[^\]])*\]|[^:])+/gsu) ?? [];
      if (parts.length !== names.length || parts.join(":") !== pattern) {
        throw invalid("match keys", pattern, `"*", or a glob for each of ${names.join(":")}`);
      }
      const glob = prefix + parts.map(idGlob).join(":");
      return { glob, test: (id) => parts.every((part, i) => globMatch(part, (id as never)[names[i] as string])) };
    },
  };
}
