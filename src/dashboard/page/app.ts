/// <reference lib="dom" />
/** The page: its views, and the parts around them. */
import { Confirm, keyboardHelp } from "./dialogs.ts";
import { h, say } from "./dom.ts";
import { header } from "./header.ts";
import { Keys } from "./keys.ts";
import { Live } from "./live.ts";
import { Overview } from "./overview.ts";
import { go, parseRoute } from "./route.ts";
import { themeButton } from "./theme.ts";

/** The time that a message stays, in milliseconds. */
const MESSAGE = 8000;

/** Builds the page, and keeps it up to date. */
export function start(): void {
  // The cookie has replaced the token.
  if (location.search) history.replaceState(null, "", `${location.pathname}${location.hash}`);
  const live = new Live();
  const confirm = new Confirm();
  const help = keyboardHelp();
  const message = h("p", { id: "message", role: "status", "aria-live": "polite" });
  let hiding: ReturnType<typeof setTimeout> | undefined;
  const tell = (text: string) => {
    clearTimeout(hiding);
    message.textContent = text;
    hiding = setTimeout(() => say(message, ""), MESSAGE);
  };
  const overview = new Overview(live);
  const keys = new Keys(live, confirm, tell);
  const top = header({
    theme: themeButton(() => overview.redraw()),
    showAlerts: () => {
      go({ view: "overview", match: "" });
      overview.showAlerts();
    },
    showHelp: () => help.showModal(),
  });
  document.body.append(top.element, h("main", {}, overview.element, keys.element), message, confirm.element, help);

  const view = () => parseRoute(location.hash).view;
  const show = () => {
    const route = parseRoute(location.hash);
    overview.element.hidden = route.view !== "overview";
    keys.element.hidden = route.view !== "keys";
    document.documentElement.dataset.view = route.view;
    top.show(route);
    keys.show(route);
    update();
  };
  const update = () => {
    top.update(live);
    if (view() === "overview") overview.update();
    else keys.update();
  };
  addEventListener("hashchange", show);
  document.addEventListener("keydown", (event) => shortcut(event, keys, help));
  document.addEventListener("visibilitychange", () => live.open());
  setInterval(() => {
    top.update(live);
    if (view() === "overview") overview.tick();
    else keys.tick();
  }, 1000);
  show();
  live.subscribe(update);
  live.open();
}

/** Handles the keyboard shortcuts of the whole page. */
function shortcut(event: KeyboardEvent, keys: Keys, help: HTMLDialogElement): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
  if (document.querySelector("dialog[open]")) return;
  const inKeys = !keys.element.hidden;
  if (event.key === "Escape") {
    if (inKeys && keys.close()) event.preventDefault();
    return;
  }
  if (event.target instanceof Element && event.target.closest("input, select, textarea")) return;
  if (event.key === "/") {
    if (!inKeys) go({ view: "keys", match: "" });
    keys.focusSearch();
  } else if (event.key === "?") help.showModal();
  else if (inKeys && event.target === document.body && /^(ArrowDown|ArrowUp|j|k)$/.test(event.key)) keys.focusList(0);
  else return;
  event.preventDefault();
}
