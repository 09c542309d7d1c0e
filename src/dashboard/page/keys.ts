/// <reference lib="dom" />
/** The key browser: search, list, details. */
import type { Deleted, KeyRow } from "../messages.ts";
import { ask, reason } from "./api.ts";
import { Details, ownerName } from "./details.ts";
import type { Confirm } from "./dialogs.ts";
import { attribute, fill, h, icon, say, style } from "./dom.ts";
import { formatCount, grouped } from "./format.ts";
import type { Live } from "./live.ts";
import { Results } from "./results.ts";
import { go, type KeyOf, type Owner, type Route } from "./route.ts";
import { type FoundKey, idOf, Search } from "./search.ts";
import { ownerOf } from "./services.ts";
import { line, short } from "./text.ts";

/** The pause after the last keystroke before a search begins, in milliseconds. */
const PAUSE = 220;

/** The key browser. */
export class Keys {
  /** The element for the page. */
  readonly element: HTMLElement;
  readonly #live: Live;
  readonly #confirm: Confirm;
  readonly #tell: (message: string) => void;
  readonly #picker = h("select", { "aria-label": "Service", change: () => this.#pick() });
  readonly #input: HTMLInputElement;
  readonly #status = h("p", { class: "status", role: "status" });
  readonly #progress = h("div", { class: "progress", hidden: true }, h("span", {}));
  readonly #more = h("button", { id: "more", type: "button", click: () => this.#goOn() }, "More");
  readonly #stop = h(
    "button",
    { id: "stop", type: "button", class: "quiet", hidden: true, click: () => this.#halt() },
    "Stop",
  );
  readonly #results: Results;
  readonly #details: Details;
  #route: Route = { view: "overview", match: "" };
  #search: Search | undefined;
  #searched = "";
  #shown = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #options = "";
  #seen: number | undefined;

  /**
   * Creates the key browser.
   *
   * @param live The data from the server.
   * @param confirm The confirmation of a deletion.
   * @param tell Shows a message.
   */
  constructor(live: Live, confirm: Confirm, tell: (message: string) => void) {
    this.#live = live;
    this.#confirm = confirm;
    this.#tell = tell;
    this.#results = new Results((row) => this.#open(row));
    this.#details = new Details({ close: () => this.close(), remove: (key) => void this.#remove(key), tell });
    this.#input = h("input", {
      id: "search",
      type: "search",
      placeholder: "Search keys: part of a key, or a pattern such as cart:*",
      "aria-label": "Search keys by part of a key, or by a pattern with * ? [ ]",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
      maxlength: 2000,
      input: () => this.#typed(),
      keydown: (event: KeyboardEvent) => this.#inputKey(event),
    });
    const again = h("button", {
      type: "button",
      class: "quiet again",
      "aria-label": "Search again",
      title: "Search again",
      click: () => this.#again(),
    });
    again.append(icon("refresh"));
    this.element = h(
      "div",
      { class: "keys" },
      h("h1", { class: "unseen" }, "Keys"),
      h(
        "div",
        { class: "toolbar", role: "search" },
        this.#picker,
        h("div", { class: "field" }, icon("search"), this.#input, h("kbd", { "aria-hidden": "true" }, "/")),
      ),
      h("div", { class: "found" }, this.#status, this.#stop, again),
      this.#progress,
      h(
        "div",
        { class: "split" },
        h("div", { class: "list", tabindex: -1 }, this.#results.element, h("div", { class: "end" }, this.#more)),
        this.#details.element,
      ),
    );
  }

  /** Shows a route. */
  show(route: Route): void {
    this.#route = route;
    if (route.view !== "keys") {
      this.#halt();
      return;
    }
    this.update();
    const from = this.#route.owner;
    if (!from) return;
    // The text that is being typed is kept.
    if (route.match !== this.#shown) this.#input.value = route.match;
    this.#shown = route.match;
    const wanted = JSON.stringify([from, route.match]);
    if (wanted !== this.#searched) this.#begin(from, route.match, wanted);
    else if (this.#search && this.#search.rows.length === 0) this.#goOn();
    this.#openAt(from, route.open);
  }

  /** Shows new data: the services, and the open key. */
  update(): void {
    const { hello, view } = this.#live;
    const billed = hello?.driver === "upstash";
    this.#details.allow({ remove: hello?.writable === true, refresh: billed });
    if (this.#route.view !== "keys") return;
    this.#pickable();
    if (!this.#route.owner && !view) say(this.#status, "Waiting for the first sample");
    if (!this.#route.owner && view) {
      const first = view.services.find(({ keys }) => keys) ?? view.services[0];
      if (first) go({ ...this.#route, owner: ownerOf(first) }, true);
      return;
    }
    if (view && this.#seen !== view.at) {
      this.#seen = view.at;
      if (this.#route.open && !document.hidden) this.#details.renew();
    }
  }

  /** Updates the countdowns; called every second. */
  tick(): void {
    if (this.#route.view !== "keys") return;
    this.#results.tick();
    this.#details.tick();
  }

  /** Moves the focus to the search. */
  focusSearch(): void {
    this.#input.focus();
    this.#input.select();
  }

  /** Moves the focus to the list. */
  focusList(by: number): void {
    this.#results.focus(by);
  }

  /** Closes the open key. Returns whether one was open. */
  close(): boolean {
    if (!this.#route.open) return false;
    const { open: _, ...list } = this.#route;
    const held = this.#details.element.contains(document.activeElement);
    go(list, true);
    if (held || document.activeElement === document.body) this.#results.focus();
    return true;
  }

  #pickable(): void {
    const { view } = this.#live;
    const from = this.#route.owner;
    const choices = (view?.services ?? []).map((one) => ({
      value: JSON.stringify(ownerOf(one)),
      label: `${line(one.service)}${one.keys === null ? "" : ` (${grouped(one.keys)})`}`,
    }));
    const current = from && JSON.stringify(from);
    if (from && current && !choices.some(({ value }) => value === current)) {
      choices.push({ value: current, label: ownerName(from) });
    }
    const options = JSON.stringify(choices);
    if (options !== this.#options && document.activeElement !== this.#picker) {
      this.#options = options;
      fill(this.#picker, ...choices.map(({ value, label }) => h("option", { value }, label)));
    }
    if (current) this.#picker.value = current;
  }

  #pick(): void {
    go({ view: "keys", match: this.#input.value, owner: JSON.parse(this.#picker.value) as Owner });
  }

  #typed(): void {
    clearTimeout(this.#timer);
    // If requests are billed, only Enter starts a search.
    if (this.#live.hello?.driver !== "upstash") this.#timer = setTimeout(() => this.#look(), PAUSE);
  }

  #look(): void {
    clearTimeout(this.#timer);
    const { view, owner, match, open } = this.#route;
    if (!owner || view !== "keys") return;
    const wanted = this.#input.value;
    go({ view, owner, match: wanted, ...(wanted === match && open && { open }) }, true);
  }

  /** Searches for the text in the field, even if it did not change. */
  #again(): void {
    this.#searched = "";
    this.#look();
    if (this.#searched === "") this.show(this.#route);
  }

  #inputKey(event: KeyboardEvent): void {
    if (event.isComposing) return;
    if (event.key === "Enter") this.#again();
    else if (event.key === "ArrowDown") this.#results.focus();
    else return;
    event.preventDefault();
  }

  #begin(from: Owner, match: string, wanted: string): void {
    this.#search?.stop();
    this.#searched = wanted;
    const search: Search = new Search(from, match, () => search === this.#search && this.#changed(search));
    this.#search = search;
    this.#results.element.parentElement?.scrollTo({ top: 0 });
    this.#goOn();
  }

  #goOn(): void {
    void this.#search?.more();
  }

  #halt(): void {
    clearTimeout(this.#timer);
    this.#search?.stop();
    if (this.#search) this.#changed(this.#search);
  }

  #changed(search: Search): void {
    const { rows, scanned, running, done, full, error } = search;
    // The last results stay until there are others.
    if (rows.length > 0 || !running) this.#results.show(rows);
    this.#results.select(this.#route.open && idOf(this.#route.open));
    const total = this.#total();
    const found = formatCount(rows.length, "key");
    // The server counts whole steps, but the last one is not full. The total comes from the last sample.
    const most = Math.max(total ?? scanned, rows.length);
    const progress = `${grouped(done ? most : Math.min(scanned, most))} scanned`;
    let text = done ? (this.#route.match ? `${found} · all ${progress}` : found) : `${found} so far · ${progress}`;
    if (error !== undefined) text = `Cannot search: ${error}`;
    else if (running) text = `${rows.length > 0 ? `${found}, searching` : "Searching"}… ${progress}`;
    else if (done && rows.length === 0) text = this.#route.match ? `No key matches · all ${progress}` : "No keys";
    else if (full && !done) text = `Showing the first ${grouped(rows.length)} keys; refine the search to see others`;
    say(this.#status, text);
    this.#status.classList.toggle("bad", error !== undefined);
    attribute(this.#status, "aria-busy", running ? "true" : null);
    this.#stop.hidden = !running || scanned === 0;
    this.#more.hidden = running || done || full;
    say(this.#more, error === undefined ? "More" : "Try again");
    this.#results.element.classList.toggle("none", rows.length === 0 && !running);
    this.#results.element.classList.toggle("stale", rows.length === 0 && running);
    this.#progress.hidden = !running;
    const bar = this.#progress.firstElementChild as HTMLElement;
    style(bar, "width", total ? `${Math.min(100, (scanned / total) * 100)}%` : "0%");
  }

  /** Returns the approximate number of keys to scan. */
  #total(): number | null {
    const wanted = JSON.stringify(this.#route.owner);
    return this.#live.view?.services.find((one) => JSON.stringify(ownerOf(one)) === wanted)?.keys ?? null;
  }

  #open(row: FoundKey): void {
    if (row.unreadable) {
      this.#tell("Cannot open this key: it is not UTF-8, and the driver carries only text");
      return;
    }
    const { owner, match } = this.#route;
    if (!owner) return;
    const open = keyOf(row);
    // One step back closes the key, no matter how many were opened.
    go({ view: "keys", owner, match, open }, this.#route.open !== undefined);
    if (getComputedStyle(this.#details.element).position === "fixed") this.#details.focus();
  }

  #opened: string | undefined;

  #openAt(from: Owner, open: KeyOf | undefined): void {
    const wanted = open && JSON.stringify([from, open]);
    if (wanted === this.#opened) return;
    this.#opened = wanted;
    this.#results.select(open && idOf(open));
    if (!open) {
      this.#details.close();
      return;
    }
    const name = this.#search?.rows.find(({ id }) => id === idOf(open))?.key;
    this.#details.open(from, open, name ?? ("key" in open ? open.key : textOf(open.key64)));
  }

  async #remove(name: string): Promise<void> {
    const { owner, open } = this.#route;
    if (!owner || !open) return;
    const shown = ownerName(owner);
    const label = short(name);
    if (!(await this.#confirm.ask(name, `the ${"service" in owner ? "service " : ""}${shown}`))) return;
    try {
      const { deleted } = await ask<Deleted>("key", { ...owner, ...open }, { method: "DELETE" });
      this.#forget(owner, open);
      this.#tell(deleted ? `Deleted ${label} of ${shown}` : `${label} of ${shown} was already gone`);
    } catch (error) {
      this.#tell(`Cannot delete ${label}: ${reason(error)}`);
    }
  }

  #forget(owner: Owner, open: KeyOf): void {
    const id = idOf(open);
    this.#results.leave(id);
    this.#search?.remove(id);
    if (this.#search) this.#changed(this.#search);
    const here = this.#route;
    if (JSON.stringify([here.owner, here.open]) !== JSON.stringify([owner, open])) return;
    this.close();
    if (!this.#results.focus()) this.focusSearch();
  }
}

function keyOf({ key, key64 }: KeyRow): KeyOf {
  return key64 === undefined ? { key } : { key64 };
}

function textOf(key64: string): string {
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(key64), (sign) => sign.charCodeAt(0)));
  } catch {
    return key64;
  }
}
