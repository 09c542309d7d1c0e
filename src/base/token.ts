/** The tokens and URLs of requests. */
import { invalidType } from "./check.ts";

/**
 * Checks that a header can carry a token. The message does not show the token.
 *
 * @param token The token.
 * @param name The name of its option, for the message.
 * @throws {TypeError} If it is empty, or has other characters than visible ASCII.
 */
export function checkToken(token: unknown, name = "a token"): asserts token is string {
  if (typeof token === "string" && /^[\x21-\x7e]+$/.test(token)) return;
  throw invalidType(`set ${name}`, token, "visible ASCII characters");
}

/** Returns the token of `Authorization: Bearer <token>`; empty without one. */
export function bearerOf(request: { readonly headers: Pick<Headers, "get"> }): string {
  return /^bearer +(.*)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
}

/** Compares two tokens in a time that does not reveal how many characters are equal. */
export function sameToken(given: string, token: string): boolean {
  let difference = given.length ^ token.length;
  for (let at = 0; at < token.length; at++) difference |= given.charCodeAt(at) ^ token.charCodeAt(at);
  return difference === 0;
}

/** Returns the URL of a request. Without a Host header, as simple health probes send it, Bun has only the path. */
export function urlOf(request: { readonly url: string }): URL {
  return new URL(request.url, "http://localhost");
}
