/// <reference lib="dom" />
/** The overview: the state of the caches and the store. */
import { alerts } from "./alerts.ts";
import { Charts } from "./charts.ts";
import { checkUp } from "./check_up.ts";
import { h, say } from "./dom.ts";
import type { Live } from "./live.ts";
import { nodes } from "./nodes.ts";
import { services } from "./services.ts";
import { slow } from "./slow.ts";
import { line } from "./text.ts";
import { tiles } from "./tiles.ts";

/** The overview. */
export class Overview {
  /** The element for the page. */
  readonly element: HTMLElement;
  readonly #live: Live;
  readonly #away = h("p", { id: "away", role: "alert", hidden: true });
  readonly #tiles = tiles();
  readonly #charts: Charts;
  readonly #nodes = nodes();
  readonly #services = services();
  readonly #alerts = alerts();
  readonly #slow = slow();

  /**
   * Creates the overview.
   *
   * @param live The data from the server.
   */
  constructor(live: Live) {
    this.#live = live;
    this.#charts = new Charts(live);
    this.element = h(
      "div",
      { class: "overview" },
      h("h1", { class: "unseen" }, "Overview"),
      this.#away,
      this.#tiles.element,
      this.#charts.element,
      this.#services.element,
      this.#nodes.element,
      h("div", { class: "grid" }, this.#alerts.element, this.#slow.element),
      checkUp(),
    );
  }

  /** Shows new data. */
  update(): void {
    const { view, connection } = this.#live;
    this.element.classList.toggle("stale", connection !== "open" || view?.store?.up === false);
    const reason = view?.store?.up === false ? line(view.store.error ?? "The store does not answer") : undefined;
    this.#away.hidden = reason === undefined;
    say(this.#away, reason ?? "");
    this.#tiles.update(view);
    this.#charts.update();
    this.#services.update(view);
    this.#nodes.update(view);
    this.#alerts.update(this.#live);
    this.#slow.update(view);
  }

  /** Draws the charts again, in the current colours. */
  redraw(): void {
    this.#charts.redraw();
  }

  /** Updates the countdowns; called every second. */
  tick(): void {
    this.#alerts.tick();
  }

  /** Scrolls to the alerts. */
  showAlerts(): void {
    this.#alerts.element.scrollIntoView({ block: "center" });
    this.#alerts.element.focus({ preventScroll: true });
  }
}
