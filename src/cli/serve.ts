import type { Command } from "commander";
import { bridge } from "../bridge/bridge.ts";
import { UsageError } from "./errors.ts";
import { addExamples, addOutputFlags, wholeNumber } from "./flags.ts";
import type { Run } from "./run.ts";
import { addServerFlags, randomToken, type ServerFlags, serveUntilStopped, startServer } from "./server.ts";
import type { CommonFlags } from "./shell.ts";

interface Flags extends CommonFlags, ServerFlags {
  readonly database?: number;
  readonly url: string;
  readonly token?: string;
  /** `true` without a token. */
  readonly readOnlyToken?: string | true;
}

/** Adds `larder serve`. */
export function addServe(program: Command, run: Run): void {
  const command = program
    .command("serve")
    .summary("serve Upstash's REST API over memory or Redis")
    .description(
      "Serves the REST API of @upstash/redis over an embedded store or any Redis, and prints the two variables " +
        "to set. Ctrl-C ends it, with exit code 0.",
    )
    .option("--token <token>", "the token that may do everything (default: random)")
    .option("--read-only-token [token]", "a token that may only read (default: none; random without a value)")
    .option(
      "--url <url>",
      "the store: memory:, redis://, rediss://, unix:, redis+cluster:// or redis+sentinel://",
      "memory:",
    )
    .option("-d, --database <number>", "its database, 0-15 (default: from the URL, or 0)", wholeNumber(0, 15));
  addOutputFlags(addServerFlags(command, 8079));
  addExamples(command, "serve", "serve --port 8080 --token local --url redis://localhost:6379");
  command.action((flags: Flags) =>
    run(flags, async (shell) => {
      const { output, json } = shell;
      const { host, port, token = randomToken() } = flags;
      const readOnlyToken = flags.readOnlyToken === true ? randomToken() : flags.readOnlyToken;
      const { client, name, database: urls } = await shell.open({ url: flags.url });
      const { database = urls } = flags;
      const { driver, numbered } = await client.locate({ database });
      const { numbered: has } = driver.capabilities;
      // Clusters have numbered databases if the configuration says so.
      if (database !== 0 && !(has === "optional" ? numbered : has)) {
        throw new UsageError(`Cannot serve database ${database} of ${name}: it has no numbered databases, expected 0`);
      }
      const handler = bridge({
        driver,
        token,
        database,
        ...(readOnlyToken !== undefined && { readOnlyToken }),
      });
      const server = await startServer(handler, host, port);
      output.hide();
      if (json) {
        await output.json({ url: server.url, token, ...(readOnlyToken !== undefined && { readOnlyToken }) });
      } else {
        await output.line(`UPSTASH_REDIS_REST_URL=${server.url}`);
        await output.line(`UPSTASH_REDIS_REST_TOKEN=${token}`);
        if (flags.readOnlyToken === true) output.note(`The read-only token: ${readOnlyToken}`);
      }
      await output.flush();
      output.note(`Serving ${name}; Ctrl-C ends it`);
      if (client.driver === "memory")
        output.note(
          "The embedded store has strings and hashes, but no Lua; --url redis://... serves every command of Redis",
        );
      await serveUntilStopped(shell, server, host);
      return 0;
    }),
  );
}
