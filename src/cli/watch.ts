/** Implements `larder stats --watch`, which keeps showing the monitor's numbers. */
import type { View } from "../dashboard/messages.ts";
import { Watcher } from "../dashboard/watcher.ts";
import { isTerminal, variable } from "../runtime/process.ts";
import { picture, type Shown, summary } from "./picture.ts";
import { Screen } from "./screen.ts";
import { searchServices } from "./search_services.ts";
import type { Shell } from "./shell.ts";
import { untilStopped } from "./stop.ts";

/**
 * Shows the caches until Ctrl-C: on a terminal a frame that is redrawn, in a pipe a line for each sample, with `--json`
 * a view on each line. If the store does not answer, the output says so, and continues when it does.
 *
 * @param shell The command's shell.
 * @param every The seconds between samples. @default 2; 30 over REST, where commands are billed
 * @throws {Stopped} After Ctrl-C.
 */
export async function watch(shell: Shell, every?: number): Promise<never> {
  const { output, json, signal } = shell;
  const opened = shell.reach();
  const screen = !json && isTerminal("stdout") && variable("TERM") !== "dumb" ? new Screen() : undefined;
  output.progress("connecting");
  const watcher = new Watcher(opened.client, {
    timeout: opened.timeout,
    ...(every !== undefined && { interval: `${Math.round(every * 1000)}ms` }),
  });
  let wake = (): void => {};
  watcher.subscribe(() => wake());
  // Keeps the process alive, because the monitor's timer does not.
  const alive = setInterval(() => {}, 2 ** 30);
  const searching = searchServices(opened.client, signal);
  try {
    let last: View | null = null;
    for (;;) {
      const { view, log } = watcher;
      if (view === null || view === last) {
        const news = new Promise<void>((resolve) => {
          wake = resolve;
        });
        await untilStopped(news, signal);
        continue;
      }
      last = view;
      if (json) await output.json(view);
      else {
        const shown: Shown = { view, name: opened.name, resolved: log.find(({ state }) => state === "resolved") };
        if (screen) output.text(screen.draw(picture(shown, output)));
        else await output.line(summary(shown));
      }
      await output.flush();
    }
  } finally {
    clearInterval(alive);
    await watcher.close();
    await searching;
  }
}
