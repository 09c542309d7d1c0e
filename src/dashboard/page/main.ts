/// <reference lib="dom" />
/** The entry of the page: sets the theme before anything is painted, and starts when the document is ready. */
import { start } from "./app.ts";
import { restoreTheme } from "./theme.ts";

if (typeof document !== "undefined") {
  restoreTheme();
  document.addEventListener("DOMContentLoaded", start);
}
