import type { Command } from "commander";
import { dashboard } from "../dashboard/dashboard.ts";
import { addExamples, addStoreFlags, seconds } from "./flags.ts";
import type { Run } from "./run.ts";
import { searchServices } from "./search_services.ts";
import { addServerFlags, randomToken, type ServerFlags, serveUntilStopped, startServer } from "./server.ts";
import type { CommonFlags } from "./shell.ts";

interface Flags extends CommonFlags, ServerFlags {
  readonly pageToken?: string;
  readonly write?: boolean;
  readonly interval?: number;
}

/** Adds `larder dashboard`. */
export function addDashboard(program: Command, run: Run): void {
  const command = program
    .command("dashboard")
    .summary("serve a web page of hit rates, latency, memory, alerts and keys")
    .description(
      "Serves a page on this machine that shows the caches over time, alerts, slow commands and the keys, " +
        "and prints the URL to open. Ctrl-C ends it, with exit code 0.",
    )
    .option("--write", "allow the page to delete keys; otherwise it only reads")
    .option(
      "--interval <time>",
      "the time between samples: seconds, or a time such as 1m (default: 2, over REST 30)",
      seconds,
    )
    .option("--page-token <token>", "the token in the URL (default: random)");
  addStoreFlags(addServerFlags(command, 8378));
  addExamples(command, "dashboard", "dashboard --write --url redis://localhost:6379");
  command.action((flags: Flags) =>
    run(flags, async (shell) => {
      const { output, json, signal } = shell;
      const { host, port, write = false, interval, pageToken: token = randomToken() } = flags;
      const store = shell.reach();
      const { client, prefix } = store;
      const name = prefix === "" ? store.name : `${store.name}, prefix ${prefix}`;
      const handler = dashboard(client, {
        token,
        write,
        name,
        ...(interval !== undefined && { interval }),
        ...(flags.timeout !== undefined && { timeout: flags.timeout }),
      });
      const server = await startServer(handler, host, port).catch(async (error) => {
        await handler.close();
        throw error;
      });
      output.hide();
      const url = `${server.url}/?token=${encodeURIComponent(token)}`;
      if (json) await output.json({ url });
      else await output.line(url);
      output.note(`Watching ${name}${write ? "" : ", read-only: --write allows deleting keys"}; Ctrl-C ends it`);
      // The page is served even if the store is away, because outages are a reason to open it.
      const away = (error: unknown): void =>
        output.note(`warning: ${(error as Error).message}; the dashboard tries again`);
      shell.connect(store).catch((error) => {
        if (!signal.aborted) away(error);
      });
      const searching = searchServices(client, signal);
      await serveUntilStopped(shell, server, host);
      await searching;
      return 0;
    }),
  );
}
