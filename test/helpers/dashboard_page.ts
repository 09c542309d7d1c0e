/** The elements of the page of `larder dashboard` that tests use. */
import assert from "node:assert/strict";
import type { Locator, Page } from "playwright-core";

/** The state of the store and of the connection to the server. */
export const status = (page: Page): Locator => page.locator("#status");
/** Returns the number of a tile. */
export const tile = (page: Page, name: string): Locator => page.locator(`[data-tile="${name}"] .value`);
/** Returns a chart. */
export const chart = (page: Page, name: string): Locator => page.locator(`[data-chart="${name}"]`);
/** Returns the rows of the list, and the row of a key. */
export const rows = (page: Page): Locator => page.locator("#results tbody tr");
export const keyButton = (page: Page, key: string): Locator =>
  rows(page).getByRole("button", { name: key, exact: true });
/** Returns the status of the search. */
export const found = (page: Page): Locator => page.locator(".keys p[role=status]").first();
/** Returns the open key, its value, and one of its facts. */
export const details = (page: Page): Locator => page.locator("#details");
export const value = (page: Page): Locator => page.locator("#details pre");
export const fact = (page: Page, name: string): Locator =>
  page
    .locator("#details .facts > div")
    .filter({ has: page.locator("dt", { hasText: name }) })
    .locator("dd");
/** Returns the message about the last action. */
export const message = (page: Page): Locator => page.locator("#message");
/** Returns the confirmation of a deletion. */
export const dialog = (page: Page): Locator => page.locator("#confirm");

/** Returns the text of an element. */
export async function text(element: Locator): Promise<string> {
  return (await element.first().textContent()) ?? "";
}

/** Waits until the text of an element matches, and returns it. */
export async function says(element: Locator, pattern: RegExp): Promise<string> {
  await element.filter({ hasText: pattern }).first().waitFor();
  return await text(element);
}

/** Types a search, waits for its end, and returns its status. */
export async function search(page: Page, match: string): Promise<string> {
  await page.locator("#search").fill(match);
  await page.waitForFunction(
    (wanted) => new URLSearchParams(location.hash.split("?")[1]).get("match") === wanted,
    match || null,
  );
  await page.waitForFunction(() => (document.querySelector(".progress") as HTMLElement).hidden);
  return await text(found(page));
}

/** Counts the pixels of a chart that have about the colour of a line, given by its index in the legend. */
export function painted(page: Page, name: string, entry: number): Promise<number> {
  return chart(page, name).evaluate((element, at) => {
    const swatch = element.querySelectorAll(".legend .swatch")[at];
    const plot = element.querySelector("canvas");
    const pixels = plot?.getContext("2d")?.getImageData(0, 0, plot.width, plot.height).data;
    if (!swatch || !pixels) return 0;
    const [red = 0, green = 0, blue = 0] = (getComputedStyle(swatch).borderTopColor.match(/[\d.]+/g) ?? []).map(Number);
    let count = 0;
    for (let i = 0; i < pixels.length; i += 4) {
      const [r = 0, g = 0, b = 0, a = 0] = pixels.subarray(i, i + 4);
      if (a > 200 && Math.abs(r - red) + Math.abs(g - green) + Math.abs(b - blue) < 40) count++;
    }
    return count;
  }, entry);
}

/** Returns the colour of a chart's first line, by its legend. */
export function lineColour(page: Page, name: string): Promise<string> {
  const swatch = chart(page, name).locator(".legend .swatch").first();
  return swatch.evaluate((element) => getComputedStyle(element).borderTopColor);
}

/** Returns whether the page has a dark background. */
export async function isDark(page: Page): Promise<boolean> {
  const colour = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  return (colour.match(/\d+/g) ?? []).slice(0, 3).every((part) => Number(part) < 80);
}

/** Fails if the page is wider than the screen. */
export async function assertFits(page: Page, what: string): Promise<void> {
  const widths = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  assert.equal(widths[0], widths[1], what);
}

/** Returns the id or text of the focused element. */
export function focused(page: Page): Promise<string> {
  return page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent || "");
}

/** Fails if data of the store became an element, a script, a link or a handler. */
export async function assertInert(page: Page): Promise<void> {
  const bad = await page.evaluate(() =>
    [...document.querySelectorAll("*")]
      .filter(
        (element) =>
          /^(img|iframe|object|embed|base|form|math|style|audio|video)$/i.test(element.tagName) ||
          [...element.attributes].some(
            ({ name, value }) =>
              /^(on|srcdoc)/i.test(name) || (/(href|src|action)$/i.test(name) && /^\W*javascript/i.test(value)),
          ),
      )
      .map(({ outerHTML }) => outerHTML.slice(0, 200)),
  );
  assert.deepEqual(bad, []);
  assert.deepEqual(await page.evaluate(() => [document.scripts.length, "hit" in window]), [1, false]);
}
