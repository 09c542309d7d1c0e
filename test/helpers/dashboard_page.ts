/** What tests look for on the page of `larder dashboard`. */
import assert from "node:assert/strict";
import type { Locator, Page } from "playwright-core";

/** In a few words: how the store is, and whether the server is there. */
export const status = (page: Page): Locator => page.locator("#status");
/** The number of a tile. */
export const tile = (page: Page, name: string): Locator => page.locator(`[data-tile="${name}"] .value`);
/** A chart. */
export const chart = (page: Page, name: string): Locator => page.locator(`[data-chart="${name}"]`);
/** The keys of the list, and the one of this name. */
export const rows = (page: Page): Locator => page.locator("#results tbody tr");
export const keyButton = (page: Page, key: string): Locator =>
  rows(page).getByRole("button", { name: key, exact: true });
/** What a search says of itself. */
export const found = (page: Page): Locator => page.locator(".keys p[role=status]").first();
/** The open key, its value, and what is told of it under a name. */
export const details = (page: Page): Locator => page.locator("#details");
export const value = (page: Page): Locator => page.locator("#details pre");
export const fact = (page: Page, name: string): Locator =>
  page
    .locator("#details .facts > div")
    .filter({ has: page.locator("dt", { hasText: name }) })
    .locator("dd");
/** What was done. */
export const message = (page: Page): Locator => page.locator("#message");
/** The question before a deletion. */
export const dialog = (page: Page): Locator => page.locator("#confirm");

/** An element's text. */
export async function text(element: Locator): Promise<string> {
  return (await element.first().textContent()) ?? "";
}

/** Waits until the element's text matches; answers it. */
export async function says(element: Locator, pattern: RegExp): Promise<string> {
  await element.filter({ hasText: pattern }).first().waitFor();
  return await text(element);
}

/** Types a search, and waits for its end; answers what it says. */
export async function search(page: Page, match: string): Promise<string> {
  await page.locator("#search").fill(match);
  await page.waitForFunction(
    (wanted) => new URLSearchParams(location.hash.split("?")[1]).get("match") === wanted,
    match || null,
  );
  await page.waitForFunction(() => (document.querySelector(".progress") as HTMLElement).hidden);
  return await text(found(page));
}

/** How many pixels of a chart have about the colour of the line that is the legend's entry of this number. */
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

/** The colour of a chart's first line, by its legend. */
export function lineColour(page: Page, name: string): Promise<string> {
  const swatch = chart(page, name).locator(".legend .swatch").first();
  return swatch.evaluate((element) => getComputedStyle(element).borderTopColor);
}

/** Whether the page has a dark background. */
export async function isDark(page: Page): Promise<boolean> {
  const colour = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  return (colour.match(/\d+/g) ?? []).slice(0, 3).every((part) => Number(part) < 80);
}

/** Fails when the page is wider than the screen. */
export async function assertFits(page: Page, what: string): Promise<void> {
  const widths = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.documentElement.clientWidth,
  ]);
  assert.equal(widths[0], widths[1], what);
}

/** What has the keyboard's focus: its id, or its text. */
export function focused(page: Page): Promise<string> {
  return page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent || "");
}

/** Fails where something that came from the store became an element, an attribute that runs or leads somewhere, or ran. */
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
