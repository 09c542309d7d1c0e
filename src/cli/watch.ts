/** `larder stats --watch`: the monitor's numbers, again and again. */
import type { View } from "../dashboard/messages.ts";
import { Watcher } from "../dashboard/watcher.ts";
import { Wire } from "../manager/wire.ts";
import { isTerminal, variable } from "../system.ts";
import { picture, type Shown, summary } from "./picture.ts";
import { Screen } from "./screen.ts";
import type { Shell } from "./shell.ts";
import { untilStopped } from "./stop.ts";
import type { OpenedStore } from "./store.ts";

/** How long a question of a sample may take in milliseconds, whatever a step may take: the next sample is near. */
const TIMEOUT_MS = 2000;

/**
 * Shows how the caches do until Ctrl-C: on a terminal in place, in a pipe a line a sample, in JSON a view a line. A store that is away is told, and
 * comes back by itself.
 *
 * @param shell The command's shell.
 * @param every How often, in seconds. @default 2, over REST, where commands are billed, 30
 * @throws {Stopped} After Ctrl-C.
 */
export async function watch(shell: Shell, every?: number): Promise<never> {
  const { output, json, signal } = shell;
  const opened = shell.reach();
  const timeout = Math.min(opened.timeout, TIMEOUT_MS);
  const screen = !json && isTerminal("stdout") && variable("TERM") !== "dumb" ? new Screen() : undefined;
  output.progress("connecting");
  const watcher = new Watcher(opened.client, {
    timeout,
    ...(every !== undefined && { interval: `${Math.round(every * 1000)}ms` }),
  });
  let tell = (): void => {};
  watcher.subscribe(() => tell());
  // A monitor's timer alone lets the process end.
  const alive = setInterval(() => {}, 2 ** 30);
  try {
    let last: View | null = null;
    for (;;) {
      const { view, log } = watcher;
      if (view === null || view === last) {
        const news = new Promise<void>((resolve) => {
          tell = resolve;
        });
        await untilStopped(news, signal);
        continue;
      }
      last = view;
      if (json) await output.json(view);
      else {
        const reason = view.store?.up === false ? await untilStopped(reasonOf(opened, timeout), signal) : undefined;
        const resolved = log.find(({ state }) => state === "resolved");
        const shown: Shown = { view, name: opened.name, reason, resolved };
        if (screen) output.text(screen.draw(picture(shown, output)));
        else await output.line(summary(shown));
      }
      await output.flush();
    }
  } finally {
    clearInterval(alive);
    await watcher.close();
  }
}

/** Why the store does not answer; `undefined` where it does by now. */
async function reasonOf({ client }: OpenedStore, timeout: number): Promise<string | undefined> {
  try {
    await new Wire(await client.place({ database: 0 }), undefined, undefined, timeout).must([["PING"]]);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
