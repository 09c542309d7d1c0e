import { type FetchHandler, type Listener, listen } from "../../src/runtime/listen.ts";

/** Serves a fetch-style handler on a free port of 127.0.0.1; the test that started it closes it. */
export function serve(handler: FetchHandler): Promise<Listener> {
  return listen(handler);
}
