/// <reference lib="dom" />
/** The theme: light, dark, or that of the system. */
import { fill, h, icon } from "./dom.ts";

const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];
const ICON = { system: "system", light: "sun", dark: "moon" } as const;
const KEY = "larder-theme";

/** Restores the theme that was chosen last time. Called before anything is painted. */
export function restoreTheme(): void {
  apply(chosen());
}

/**
 * Makes the button that switches to the next theme.
 *
 * @param changed Called when the colours changed, by the button or by the system.
 */
export function themeButton(changed: () => void): HTMLElement {
  const button = h("button", {
    id: "theme",
    class: "quiet",
    type: "button",
    click: () => {
      const next = THEMES[(THEMES.indexOf(chosen()) + 1) % THEMES.length] as Theme;
      keep(next);
      apply(next);
      show(next);
      changed();
    },
  });
  const show = (theme: Theme) => {
    fill(button, icon(ICON[theme]));
    button.setAttribute("aria-label", `Theme: ${theme}`);
    button.title = `Theme: ${theme}`;
  };
  show(chosen());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  return button;
}

function apply(theme: Theme): void {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** The choice while the page is open, because the browser may forbid storage. */
let current: Theme | undefined;

function chosen(): Theme {
  try {
    current ??= THEMES.find((theme) => theme === localStorage.getItem(KEY));
  } catch {}
  return current ?? "system";
}

function keep(theme: Theme): void {
  current = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {}
}
