/// <reference lib="dom" />
/** The table of the keys that were found. */
import { attribute, h, keyed, type Row, say } from "./dom.ts";
import { bytes, duration } from "./format.ts";
import type { FoundKey } from "./search.ts";
import { keyNodes, line, short } from "./text.ts";

/** The table of keys. Tab reaches one of its buttons; the arrow keys move to the others. */
export class Results {
  /** The element for the page. */
  readonly element: HTMLElement;
  readonly #body = h("tbody");
  readonly #show: (rows: readonly FoundKey[]) => void;
  readonly #open: (row: FoundKey) => void;
  #rows: readonly FoundKey[] = [];
  readonly #cells = new Map<
    string,
    { readonly button: HTMLElement; readonly ttl: HTMLElement; readonly row: HTMLElement }
  >();
  #current: string | undefined;

  /**
   * Creates the table.
   *
   * @param open Opens a key.
   */
  constructor(open: (row: FoundKey) => void) {
    this.#open = open;
    this.#show = keyed(
      this.#body,
      ({ id }) => id,
      (row) => this.#row(row),
    );
    this.element = h(
      "table",
      { id: "results", keydown: (event) => this.#key(event) },
      h("caption", { class: "unseen" }, "Keys found"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Key"),
          h("th", { scope: "col", class: "type" }, "Type"),
          h("th", { scope: "col", class: "number ttl" }, "TTL"),
          h("th", { scope: "col", class: "number size" }, "Size"),
        ),
      ),
      this.#body,
    );
  }

  /** Shows rows. */
  show(rows: readonly FoundKey[]): void {
    this.#rows = [...rows];
    this.#show(rows);
    const ids = new Set(rows.map(({ id }) => id));
    for (const id of this.#cells.keys()) if (!ids.has(id)) this.#cells.delete(id);
    if (!this.#current || !this.#cells.has(this.#current)) this.#reach(rows[0]?.id);
    this.tick();
  }

  /** Marks the open key. */
  select(id: string | undefined): void {
    for (const [of, { row, button }] of this.#cells) {
      row.classList.toggle("selected", of === id);
      attribute(button, "aria-current", of === id ? "true" : null);
    }
    if (id !== undefined && this.#cells.has(id)) this.#reach(id);
  }

  /** Moves the focus by some rows from the current one. Returns whether there is a row. */
  focus(by = 0): boolean {
    const from = this.#rows.findIndex(({ id }) => id === this.#current);
    const to = this.#rows[Math.min(this.#rows.length - 1, Math.max(0, from + by))];
    if (!to) return false;
    this.#reach(to.id);
    const { button, row } = this.#cells.get(to.id) ?? {};
    button?.focus({ preventScroll: true });
    row?.scrollIntoView({ block: "nearest" });
    return true;
  }

  /** Makes the next row current when a row is removed. */
  leave(id: string): void {
    const at = this.#rows.findIndex((row) => row.id === id);
    if (at >= 0) this.#reach((this.#rows[at + 1] ?? this.#rows[at - 1])?.id);
  }

  /** Updates the countdowns; called every second. */
  tick(): void {
    const now = performance.now();
    for (const { id, expires } of this.#rows) {
      const { ttl, row } = this.#cells.get(id) ?? {};
      if (!ttl || !row) continue;
      const gone = expires !== undefined && expires <= now;
      say(ttl, expires === undefined ? "no TTL" : gone ? "gone" : duration(expires - now));
      row.classList.toggle("gone", gone);
    }
  }

  #reach(id: string | undefined): void {
    const before = this.#current === undefined ? undefined : this.#cells.get(this.#current);
    attribute(before?.button ?? this.element, "tabindex", before ? -1 : null);
    this.#current = id;
    if (id !== undefined) attribute(this.#cells.get(id)?.button ?? this.element, "tabindex", 0);
  }

  #row(found: FoundKey): Row<FoundKey> {
    const { id, key, unreadable, key64 } = found;
    const button = h(
      "button",
      { type: "button", class: "key code", tabindex: -1, title: short(key), "aria-disabled": unreadable && "true" },
      ...keyNodes(key),
    );
    const type = h("td", { class: "type" });
    const size = h("td", { class: "number size" });
    const ttl = h("td", { class: "number ttl" });
    const row = h(
      "tr",
      { click: () => this.#open(found) },
      h("td", { class: "key" }, button, key64 !== undefined && h("span", { class: "badge" }, "bytes")),
      type,
      ttl,
      size,
    );
    this.#cells.set(id, { button, ttl, row });
    const update = (now: FoundKey) => {
      say(type, line(now.type));
      say(size, bytes(now.size));
    };
    return { element: row, update };
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const by = STEPS[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.focus(by);
  }
}

const STEPS: Readonly<Record<string, number>> = {
  ArrowDown: 1,
  ArrowUp: -1,
  j: 1,
  k: -1,
  PageDown: 10,
  PageUp: -10,
  Home: Number.NEGATIVE_INFINITY,
  End: Number.POSITIVE_INFINITY,
};
