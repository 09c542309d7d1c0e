/// <reference lib="dom" />
/** The head of the page: the store, its state, and the navigation. */
import type { Hello } from "../messages.ts";
import { attribute, h, icon, say } from "./dom.ts";
import type { Live } from "./live.ts";
import { hashOf, type Route } from "./route.ts";
import { line } from "./text.ts";

/** Data is late after this many intervals and milliseconds without any. */
const LATE = 3;
const GRACE = 5000;

/** Actions of the head. */
export interface HeaderActions {
  /** The theme button. */
  readonly theme: HTMLElement;
  /** Scrolls to the alerts. */
  showAlerts(): void;
  /** Shows the keyboard shortcuts. */
  showHelp(): void;
}

/**
 * Makes the head.
 *
 * @returns The element, a function that shows new data, and one that shows the current view.
 */
export function header(actions: HeaderActions): {
  readonly element: HTMLElement;
  update(live: Live): void;
  show(route: Route): void;
} {
  const name = h("span", { class: "name" });
  const driver = h("span", { class: "driver" });
  const status = h("p", { id: "status", role: "status" }, h("span", { class: "dot" }), h("span", {}));
  const readOnly = h(
    "span",
    { id: "read-only", class: "badge", hidden: true, title: "Start the dashboard with --write to delete keys" },
    "read-only",
  );
  const breaker = h("span", { id: "breaker", class: "badge", hidden: true });
  const firing = h("button", { id: "firing", type: "button", class: "badge", hidden: true, click: actions.showAlerts });
  const links = (["overview", "keys"] as const).map((view) =>
    h("a", { href: hashOf({ view, match: "" }), "data-view": view }, view === "keys" ? "Keys" : "Overview"),
  );
  const help = h(
    "button",
    {
      id: "help-button",
      type: "button",
      class: "quiet",
      "aria-label": "Keyboard shortcuts",
      title: "Keyboard shortcuts",
      click: actions.showHelp,
    },
    "?",
  );
  return {
    element: h(
      "header",
      { class: "top" },
      h("div", { class: "brand" }, icon("shelf"), h("strong", {}, "larder"), name, driver),
      h("nav", { "aria-label": "Views" }, ...links),
      h("div", { class: "badges" }, firing, breaker, readOnly),
      status,
      h("div", { class: "tools" }, help, actions.theme),
    ),
    update(live) {
      const { hello, view } = live;
      say(name, hello ? line(hello.name) : "");
      name.title = hello ? line(hello.name) : "";
      say(driver, hello ? describeStore(hello) : "");
      readOnly.hidden = hello?.writable !== false;
      const state = view?.breaker ?? "closed";
      breaker.hidden = state === "closed";
      breaker.dataset.tone = state === "open" ? "bad" : "warning";
      say(breaker, `breaker ${state}`);
      const alerts = view?.alerts ?? [];
      firing.hidden = alerts.length === 0;
      firing.dataset.tone = alerts.some(({ severity }) => severity === "critical") ? "bad" : "warning";
      say(firing, `${alerts.length} ${alerts.length === 1 ? "alert" : "alerts"}`);
      const [tone, text] = stateOf(live);
      status.dataset.tone = tone;
      say(status.lastElementChild as Element, text);
      const count = alerts.length > 0 ? `(${alerts.length}) ` : "";
      document.title = `${count}larder${hello ? ` · ${line(hello.name)}` : ""}`;
    },
    show({ open: _, ...route }) {
      for (const link of links) {
        const here = link.dataset.view === route.view;
        attribute(link, "aria-current", here ? "page" : null);
        // The link leads back to the last search.
        if (here) attribute(link, "href", hashOf(route));
      }
    },
  };
}

function describeStore({ name, driver, databases }: Hello): string {
  const kept = databases === "numbered" ? "numbered databases" : "prefixed databases";
  return driver === name ? kept : `${line(driver)} · ${kept}`;
}

function stateOf({ connection, hello, view, heard }: Live): [tone: string, text: string] {
  if (connection === "refused") return ["bad", "Signed out: open the URL that larder dashboard printed"];
  if (connection === "lost") return ["bad", "Connection to the dashboard lost, retrying"];
  if (connection === "connecting") return ["wait", "Connecting"];
  if (view?.store?.up === false) return ["bad", "The store does not answer"];
  if (!view) return ["wait", "Waiting for the first sample"];
  const silent = Date.now() - heard;
  if (silent > LATE * intervalOf(hello) + GRACE) return ["wait", "No samples from the dashboard"];
  return ["good", "Live"];
}

function intervalOf(hello: Hello | undefined): number {
  return hello?.interval ?? 10_000;
}
