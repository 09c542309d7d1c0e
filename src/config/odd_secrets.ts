/** Finds oddities of passwords and tokens that were copied from somewhere, for `larder doctor`. */
import type { Config } from "./options.ts";

/**
 * Describes characters around a password or a token that are probably a mistake. No part of the secret is shown.
 *
 * @param secret The password or the token.
 * @returns A predicate such as `"stands in quotes"`; `undefined` for nothing odd.
 */
export function oddSecret(secret: string): string | undefined {
  if (/^(["'`]).*\1$/s.test(secret)) return "stands in quotes";
  if (/[\r\n]$/.test(secret)) return "ends in a line break";
  return /^\s|\s$/.test(secret) ? "begins or ends in white space" : undefined;
}

/**
 * Describes the odd secrets of a configuration. The client sends them unchanged, and a store that refuses them says
 * only that they are wrong.
 *
 * @param config The configuration.
 * @returns A sentence for each, without the secret.
 */
export function oddSecrets(config: Config): string[] {
  const secrets: Record<string, string | undefined> = {};
  if (config.driver === "upstash") secrets.token = config.upstash.token;
  else if (config.driver !== "memory") {
    secrets["user name"] = config.redis.username;
    secrets.password = config.redis.password;
  }
  if (config.driver === "sentinel") {
    secrets["user name of the sentinels"] = config.sentinel.username;
    secrets["password of the sentinels"] = config.sentinel.password;
  }
  return Object.entries(secrets).flatMap(([name, secret]) => {
    const odd = secret && oddSecret(secret);
    return odd ? `the ${name} ${odd}` : [];
  });
}
