/** What requests carry: a token, and their URL. */
import { invalidType } from "./check.ts";

/** Throws for a token that no header can carry. The message does not tell it. */
export function checkToken(token: unknown): asserts token is string {
  if (typeof token === "string" && /^[\x21-\x7e]+$/.test(token)) return;
  throw invalidType("set a token", token, "visible ASCII characters");
}

/** The token of `Authorization: Bearer <token>`; empty without one. */
export function bearerOf(request: Request): string {
  return /^bearer +(.*)$/i.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
}

/** Compares in a time that does not tell how much is right. */
export function sameToken(given: string, token: string): boolean {
  let difference = given.length ^ token.length;
  for (let at = 0; at < token.length; at++) difference |= given.charCodeAt(at) ^ token.charCodeAt(at);
  return difference === 0;
}

/** A request's URL. Of HTTP/1.0 without a Host, as simple health probes send it, Bun tells the path alone. */
export function urlOf(request: Request): URL {
  return new URL(request.url, "http://localhost");
}
