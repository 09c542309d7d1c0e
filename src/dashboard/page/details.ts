/// <reference lib="dom" />
/** The pane of the open key: its metadata and its value. */
import type { KeyView } from "../messages.ts";
import { ask, reason } from "./api.ts";
import { type Child, fill, h, icon, say } from "./dom.ts";
import { ago, bytes, clock, duration, formatCount, grouped } from "./format.ts";
import { jsonNodes } from "./json.ts";
import type { KeyOf, Owner } from "./route.ts";
import { line, marked, markedValue } from "./text.ts";

/** Actions of the pane. */
export interface DetailsActions {
  /** Closes the pane. */
  close(): void;
  /** Deletes the key after a confirmation. */
  remove(key: string): void;
  /** Shows a message. */
  tell(message: string): void;
}

/** The maximum number of bytes of a value that is refreshed with each sample. */
const RENEWED = 100_000;

/** The pane. */
export class Details {
  /** The element for the page. */
  readonly element: HTMLElement;
  readonly #actions: DetailsActions;
  readonly #title = h("h2", { class: "code", tabindex: -1 });
  readonly #owner = h("p", { class: "owner" });
  readonly #note = h("p", { class: "note" });
  readonly #facts = h("dl", { class: "facts" });
  readonly #value = h("pre", { class: "code", tabindex: 0, "aria-label": "Value" });
  readonly #cut = h("p", { class: "note" });
  readonly #delete: HTMLButtonElement;
  readonly #refresh: HTMLButtonElement;
  readonly #copyValue: HTMLButtonElement;
  #query: Record<string, string> | undefined;
  #name = "";
  #view: KeyView | undefined;
  #expires: number | undefined;
  #billed = false;
  #abort = new AbortController();
  #ticks: (() => void)[] = [];

  /**
   * Creates the pane.
   *
   * @param actions The actions.
   */
  constructor(actions: DetailsActions) {
    this.#actions = actions;
    const button = (label: string, name: Parameters<typeof icon>[0], click: () => void, more = {}) =>
      h("button", { type: "button", click, ...more }, icon(name), label && h("span", {}, label));
    this.#delete = button("Delete", "trash", () => actions.remove(this.#name), { id: "delete", class: "danger" });
    this.#refresh = button("Refresh", "refresh", () => void this.refresh(), {
      title: "Not refreshed automatically, because the value is large or requests are billed",
    });
    this.#copyValue = button(
      "Copy value",
      "copy",
      () =>
        void this.#copy(
          (this.#view?.characters ?? this.#view?.bytes) === undefined ? "the value" : "the visible part of the value",
          this.#view?.text ?? "",
        ),
    );
    const back = button("Back", "back", () => actions.close(), {
      class: "back quiet",
      "aria-label": "Back to the list",
    });
    const close = button("", "close", () => actions.close(), { class: "close quiet", "aria-label": "Close the key" });
    this.element = h(
      "aside",
      { id: "details", "aria-label": "The open key", hidden: true },
      h("header", {}, back, h("div", {}, this.#title, this.#owner), close),
      h(
        "div",
        { class: "buttons" },
        button("Copy key", "copy", () => void this.#copyKey()),
        this.#copyValue,
        this.#refresh,
        this.#delete,
      ),
      this.#note,
      this.#facts,
      this.#value,
      this.#cut,
    );
  }

  /** Sets what is allowed: to delete keys, and to refresh by hand only, because requests are billed. */
  allow(may: { readonly remove: boolean; readonly refresh: boolean }): void {
    this.#delete.hidden = !may.remove;
    this.#billed = may.refresh;
    this.#offerRefresh();
  }

  /**
   * Opens a key.
   *
   * @param owner The service or database.
   * @param key The key.
   * @param name The key as text.
   */
  open(owner: Owner, key: KeyOf, name: string): void {
    this.#abort.abort();
    this.#query = { ...owner, ...key };
    this.#name = name;
    this.#view = undefined;
    fill(this.#title, ...marked(name));
    say(this.#owner, ownerName(owner));
    this.#empty("Reading…");
    this.element.hidden = false;
    this.element.scrollTop = 0;
    void this.refresh();
  }

  /** Closes the pane. */
  close(): void {
    this.#abort.abort();
    this.#query = this.#view = undefined;
    this.element.hidden = true;
  }

  /** Moves the focus to the pane. */
  focus(): void {
    this.#title.focus();
  }

  /** Refreshes the key with each sample, unless requests are billed or the value is large. */
  renew(): void {
    if (this.#refresh.hidden) void this.refresh();
  }

  /** Refreshes the key. */
  async refresh(): Promise<void> {
    if (!this.#query) return;
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const view = await ask<KeyView | null>("key", this.#query, { method: "POST", signal });
      if (signal.aborted) return;
      if (view) this.#show(view);
      else this.gone();
    } catch (error) {
      if (signal.aborted) return;
      if (this.#view) this.#say(`Cannot refresh the key: ${reason(error)}`, "bad");
      else this.#empty(`Cannot read the key: ${reason(error)}`);
    }
  }

  /** Shows that the key does not exist any more. */
  gone(): void {
    this.#view = undefined;
    this.#expires = undefined;
    this.#ticks = [];
    this.element.classList.add("gone");
    this.#delete.disabled = true;
    this.#say("Gone: the key expired or was deleted", "bad");
  }

  /** Updates the countdowns; called every second. */
  tick(): void {
    for (const update of this.#ticks) update();
    if (this.#expires === undefined || performance.now() < this.#expires) return;
    this.#expires = undefined;
    // The key still exists if the store's clock is behind.
    if (this.#billed) this.gone();
    else void this.refresh();
  }

  #offerRefresh(): void {
    const { size, text } = this.#view ?? { size: 0, text: "" };
    this.#refresh.hidden = !this.#billed && Math.max(size ?? 0, text.length) <= RENEWED;
  }

  #show(view: KeyView): void {
    const before = this.#view;
    const back = this.element.classList.contains("gone");
    this.#view = view;
    this.#offerRefresh();
    this.element.classList.remove("gone");
    this.#delete.disabled = false;
    this.#copyValue.disabled = view.kind === "none";
    this.#expires = view.ttl === null ? undefined : performance.now() + view.ttl;
    this.#ticks = [];
    fill(this.#facts, ...this.#known(view));
    const same = before?.text === view.text && before.kind === view.kind;
    if (!same) {
      this.#value.hidden = view.kind === "none";
      fill(this.#value, ...(view.kind === "json" ? jsonNodes(view.text) : markedValue(view.text)));
      say(this.#cut, cutOf(view));
    }
    if (!before && !back) this.#say(view.kind === "none" ? hiddenOf(view) : "");
    else if (!same) {
      this.#say(`${back ? "Written again" : "Changed"} at ${clock(Date.now())}`);
      this.#value.classList.remove("changed");
      // Reading this starts the animation again.
      void this.#value.offsetWidth;
      this.#value.classList.add("changed");
    } else if (this.#note.dataset.tone === "bad") this.#say("");
  }

  #known({ type, ttl, size, length, entry, unreadable }: KeyView): HTMLElement[] {
    const facts: HTMLElement[] = [];
    const fact = (name: string, ...value: Child[]) =>
      facts.push(h("div", {}, h("dt", {}, name), h("dd", {}, ...value)));
    const long = (name: string, ...value: Child[]) =>
      facts.push(h("div", { class: "long" }, h("dt", {}, name), h("dd", {}, ...value)));
    const ticking = (name: string, read: () => string) => {
      const text = h("span", {}, read());
      this.#ticks.push(() => say(text, read()));
      fact(name, text);
    };
    const expires = this.#expires;
    if (expires === undefined || ttl === null) fact("TTL", "no TTL");
    else ticking("TTL", () => duration(expires - performance.now()));
    fact("Type", line(type));
    if (size !== null) fact("Size", bytes(size));
    if (length !== undefined) fact("Elements", `${grouped(length)}, the first 1,000 shown`);
    if (unreadable) fact("Encoding", "may hold bytes that this driver cannot carry");
    if (!entry) return facts;
    const { at, ttl: fresh, tags, version, sealed, packed, none } = entry;
    if (at !== undefined) {
      ticking("Written", () => `${clock(at)} (${ago(at)})`);
      if (fresh !== undefined) {
        ticking("Fresh", () =>
          Date.now() < at + fresh
            ? `for ${duration(at + fresh - Date.now())} more`
            : `stale since ${clock(at + fresh)}`,
        );
      }
    }
    if (version !== undefined) fact("Version", String(version));
    if (tags?.length) long("Tags", ...tags.map((tag) => h("span", { class: "badge code" }, ...marked(tag))));
    if (none) fact("Value", "none, a cached miss");
    if (sealed !== undefined) fact("Encrypted", "with the key ", h("span", { class: "code" }, ...marked(sealed)));
    if (packed) fact("Compressed", "yes");
    return facts;
  }

  #empty(note: string): void {
    this.#ticks = [];
    this.#expires = undefined;
    this.element.classList.remove("gone");
    this.#delete.disabled = false;
    this.#copyValue.disabled = true;
    fill(this.#facts);
    fill(this.#value);
    this.#value.hidden = true;
    this.#value.classList.remove("changed");
    say(this.#cut, "");
    this.#say(note);
  }

  #say(note: string, tone = ""): void {
    say(this.#note, note);
    this.#note.dataset.tone = tone;
  }

  #copyKey(): Promise<void> {
    const { key64 } = this.#query ?? {};
    return key64 === undefined ? this.#copy("the key", this.#name) : this.#copy("the key in base64", key64);
  }

  async #copy(what: string, text: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      this.#actions.tell(`Copied ${what}`);
    } catch {
      this.#actions.tell(`Cannot copy ${what}: the browser does not allow it`);
    }
  }
}

/** Returns the service or database as text. */
export function ownerName(owner: Owner): string {
  return "service" in owner ? line(owner.service) : `database ${line(owner.database)}`;
}

function cutOf({ text, characters, bytes: stored }: KeyView): string {
  const all = stored === undefined ? characters && formatCount(characters, "character") : bytes(stored);
  return all ? `The first ${grouped(text.length)} characters of ${all} are shown` : "";
}

function hiddenOf({ entry, type }: KeyView): string {
  if (entry?.sealed !== undefined) return "The value is encrypted, so only the application can read it";
  if (entry?.none) return "The entry is a cached miss, so it has no value";
  return `Values of the type ${line(type)} are not shown`;
}
