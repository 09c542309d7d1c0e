/// <reference lib="dom" />
/** Elements made from data. Text always stays text, because nothing here parses HTML. */

/** The child of an element. Strings become text nodes; `null`, `undefined` and `false` are left out. */
export type Child = Node | string | number | null | undefined | false;

/**
 * Attributes by name. `true` is an empty attribute; `false`, `null` and `undefined` remove it. A function listens to
 * the event of that name.
 */
export type Props = Readonly<
  Record<string, string | number | boolean | null | undefined | ((event: never) => void | Promise<void>)>
>;

/**
 * Makes an element.
 *
 * @param tag The name.
 * @param props The attributes and listeners.
 * @param children The children.
 */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name, value as EventListener);
    else attribute(element, name, value);
  }
  element.append(...nodes(children));
  return element;
}

/** Sets or removes an attribute, if that changes it. */
export function attribute(element: Element, name: string, value: string | number | boolean | null | undefined): void {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value))
    element.setAttribute(name, value === true ? "" : String(value));
}

/** Replaces the children of an element. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(...nodes(children));
}

/** Sets the text of an element, if that changes it, so that a selection stays. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets a style without an attribute, which the page's policy forbids. */
export function style(element: HTMLElement, name: string, value: string): void {
  if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value);
}

/** Makes a line drawing of 16 by 16, in the colour of the text around it. */
export function icon(name: Icon): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  const attributes = { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A row of a list that is kept from one update to the next. */
export interface Row<Item> {
  /** The element. */
  readonly element: HTMLElement;
  /** Shows the current state of the item. */
  update(item: Item): void;
}

/**
 * Makes a list whose rows are kept by their keys, so that focus and selection survive an update.
 *
 * @param parent The parent of the rows, without other children.
 * @param keyOf Returns the key of an item.
 * @param make Makes the row of an item; it is updated at once.
 * @returns A function that shows items.
 */
export function keyed<Item>(
  parent: Element,
  keyOf: (item: Item) => string,
  make: (item: Item) => Row<Item>,
): (items: readonly Item[]) => void {
  let rows = new Map<string, Row<Item>>();
  return (items) => {
    const next = new Map<string, Row<Item>>();
    for (const item of items) {
      const key = keyOf(item);
      if (next.has(key)) continue;
      const row = rows.get(key) ?? make(item);
      row.update(item);
      next.set(key, row);
    }
    for (const [key, { element }] of rows) if (!next.has(key)) element.remove();
    let at = parent.firstElementChild;
    for (const { element } of next.values()) {
      if (element === at) at = at.nextElementSibling;
      else parent.insertBefore(element, at);
    }
    rows = next;
  };
}

function nodes(children: readonly Child[]): (Node | string)[] {
  return children
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (typeof child === "number" ? String(child) : child));
}

const SVG = "http://www.w3.org/2000/svg";

type Icon = "shelf" | "search" | "sun" | "moon" | "system" | "copy" | "trash" | "back" | "close" | "refresh";

const ICONS: Readonly<Record<Icon, string>> = {
  shelf: "M2 2.5v11M14 2.5v11M2 6h12M2 11.5h12M4.5 6V3.5h3V6M10 11.5V8.5h2v3M4.5 11.5v-2h3v2",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM10.5 10.5 14 14",
  sun:
    "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z" +
    "M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3.1 3.1l1 1M11.9 11.9l1 1M3.1 12.9l1-1M11.9 4.1l1-1",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z",
  system: "M2 3h12v8H2ZM5.5 14h5M8 11v3",
  copy: "M5.5 5.5h8v8h-8ZM3.5 10.5h-1v-8h8v1",
  trash: "M2.5 4.5h11M6 4.5v-2h4v2M4 4.5l.7 9h6.6l.7-9M6.8 7v4M9.2 7v4",
  back: "M9.5 3 4.5 8l5 5",
  close: "M4 4l8 8M12 4l-8 8",
  refresh: "M13.5 8A5.5 5.5 0 1 1 11.8 4M12 1.5V4.2H9.3",
};
