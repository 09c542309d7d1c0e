/** Matches a URL: scheme, user and password, servers with the path, and the rest. */
const FORM =
  /^([a-z][\w+.-]*:\/\/)([^?#]*@)?((?:(?:\[[\da-f:.]*\]|[\w.-]*)(?::\d{0,5})?(?:,|(?=[/?#]|$)))+(?:\/[\w./-]*)?)([?#][^@]*)?$/i;

/**
 * Removes the secrets from a URL: user, password, query and fragment. If the text does not have the form of a URL, at
 * most its scheme remains.
 *
 * @param url The URL, malformed or not.
 * @returns The URL with `***` instead of its secrets.
 *
 * @example
 * ```ts
 * import { redactUrl } from "@foodfast/larder";
 *
 * redactUrl("redis://app:secret@cache.internal:6379/0"); // "redis://***@cache.internal:6379/0"
 * ```
 */
export function redactUrl(url: string): string {
  const [match, scheme = "", user, servers = "", tail] = FORM.exec(url) ?? [];
  if (match === undefined) return `${/^[a-z][\w+.-]*:\/\//i.exec(url) ?? ""}***`;
  return scheme + (user ? "***@" : "") + servers + (tail ? "?***" : "");
}
