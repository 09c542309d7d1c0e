/// <reference lib="dom" />
/** What the browser runs: the theme before anything is painted, the rest when the document is there. */
import { start } from "./app.ts";
import { restoreTheme } from "./theme.ts";

if (typeof document !== "undefined") {
  restoreTheme();
  document.addEventListener("DOMContentLoaded", start);
}
