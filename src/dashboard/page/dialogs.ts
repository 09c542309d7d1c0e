/// <reference lib="dom" />
/** The dialogs: the confirmation of a deletion, and the keyboard shortcuts. */
import { fill, h } from "./dom.ts";
import { marked, short } from "./text.ts";

/** The confirmation of a deletion. */
export class Confirm {
  /** The element for the page. */
  readonly element: HTMLDialogElement;
  readonly #text = h("p", {});
  readonly #no = h(
    "button",
    { id: "confirm-no", type: "button", autofocus: true, click: () => this.element.close() },
    "Cancel",
  );
  #answer: ((yes: boolean) => void) | undefined;

  constructor() {
    const yes = h(
      "button",
      { id: "confirm-yes", type: "button", class: "danger", click: () => this.element.close("yes") },
      "Delete",
    );
    this.element = h(
      "dialog",
      { id: "confirm", "aria-labelledby": "confirm-title", close: () => this.#closed() },
      h("h2", { id: "confirm-title" }, "Delete this key?"),
      this.#text,
      h("div", { class: "buttons" }, this.#no, yes),
    );
  }

  /**
   * Asks for a confirmation.
   *
   * @param key The key.
   * @param owner Its service or database, such as `"the service product"`.
   * @returns Whether to delete it.
   */
  ask(key: string, owner: string): Promise<boolean> {
    this.#answer?.(false);
    fill(
      this.#text,
      h("span", { class: "code target" }, ...marked(key.length > 400 ? short(key) : key)),
      h("span", {}, `will be deleted from ${owner}. This cannot be undone.`),
    );
    this.element.returnValue = "";
    this.element.showModal();
    this.#no.focus();
    return new Promise((resolve) => {
      this.#answer = resolve;
    });
  }

  #closed(): void {
    this.#answer?.(this.element.returnValue === "yes");
    this.#answer = undefined;
  }
}

/** Makes the dialog of keyboard shortcuts. */
export function keyboardHelp(): HTMLDialogElement {
  const dialog: HTMLDialogElement = h(
    "dialog",
    { id: "help", "aria-labelledby": "help-title" },
    h("h2", { id: "help-title" }, "Keyboard shortcuts"),
    h(
      "dl",
      {},
      ...KEYS.map(([keys, what]) =>
        h("div", {}, h("dt", {}, ...keys.map((key) => h("kbd", {}, key))), h("dd", {}, what)),
      ),
    ),
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", autofocus: true, click: () => dialog.close() }, "Close"),
    ),
  );
  return dialog;
}

const KEYS = [
  [["/"], "search for keys"],
  [["↑", "↓"], "move through the keys (also j and k)"],
  [["Enter"], "open the key"],
  [["Esc"], "close the key or a dialog"],
  [["←", "→"], "move through the samples of a chart"],
  [["?"], "show this list"],
] as const;
