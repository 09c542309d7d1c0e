/// <reference lib="dom" />
/** Light, dark, or as the system has it. */
import { fill, h, icon } from "./dom.ts";

const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];
const ICON = { system: "system", light: "sun", dark: "moon" } as const;
const KEY = "larder-theme";

/** Takes over what was chosen last time; called before anything is painted. */
export function restoreTheme(): void {
  apply(chosen());
}

/**
 * The button that goes to the next theme.
 *
 * @param changed Called when the colours are others, by the button or by the system.
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

/** Storage may be forbidden: then the choice lasts as long as the page. */
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
