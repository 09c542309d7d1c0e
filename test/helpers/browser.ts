/** Drives Chromium through pages as a person does, and keeps what goes wrong in them. For Node. */
import assert from "node:assert/strict";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

/** Headless, as root, on a machine that reaches no other. */
const FLAGS = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
];

/** The longest time to wait for a state of a page, in milliseconds. */
const PATIENCE = 30_000;

/** Pages of one profile that is new and empty. */
export interface Tab {
  /** The first page. */
  readonly page: Page;
  /** Opens another page of the same profile. */
  another(): Promise<Page>;
  /** Problems of its pages: errors on their consoles, failed requests, requests to other hosts, dialogs of scripts. */
  readonly problems: readonly string[];
  /** Expects problems that match, before they come. */
  allow(pattern: RegExp): void;
}

/** Options of {@linkcode inTab}. */
export interface TabOptions extends Pick<BrowserContextOptions, "viewport" | "colorScheme" | "hasTouch"> {
  /** The server, such as `"http://127.0.0.1:8378"`: a request to any other is a problem. */
  readonly origin: string;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Where Chromium is: what `CHROMIUM` says, or the first on the PATH. */
function binary(): string {
  const names = process.env.CHROMIUM ? [process.env.CHROMIUM] : ["chromium", "chromium-browser", "google-chrome"];
  const folders = (process.env.PATH ?? "").split(delimiter);
  const paths = names.flatMap((name) => (name.includes("/") ? [name] : folders.map((folder) => join(folder, name))));
  const found = paths.find(isProgram);
  if (found === undefined) throw new Error(`cannot find ${names.join(", ")}: run \`node scripts/setup.mjs\``);
  return found;
}

/** Starts Chromium, headless, with a profile of its own that is deleted when it is closed. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: binary(), args: FLAGS, timeout: 60_000 });
}

/**
 * Runs a test's part in a new profile.
 *
 * @param browser The browser.
 * @param options The server, and what the page is shown on.
 * @param body What is done.
 * @throws {AssertionError} If the page had an unexpected problem; besides the errors of `body`.
 */
export async function inTab(browser: Browser, options: TabOptions, body: (tab: Tab) => Promise<void>): Promise<void> {
  const { origin, ...shown } = options;
  const context = await browser.newContext({ ...shown, serviceWorkers: "block" });
  context.setDefaultTimeout(PATIENCE);
  const problems: string[] = [];
  const allowed: RegExp[] = [];
  const tell = (problem: string): void => {
    if (!allowed.some((pattern) => pattern.test(problem))) problems.push(problem);
  };
  context.on("console", (message) => {
    if (message.type() === "error") tell(`console: ${message.text()} (${message.location().url})`);
  });
  context.on("weberror", (error) => tell(`uncaught: ${error.error().stack}`));
  context.on("dialog", (dialog) => {
    tell(`dialog: ${dialog.type()} ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  context.on("request", (request) => {
    if (!request.url().startsWith(`${origin}/`) && !request.url().startsWith("data:"))
      tell(`request: ${request.url()}`);
  });
  context.on("requestfailed", (request) => {
    // A page ends its own requests when it is left, and when a newer one makes them idle.
    const { errorText = "" } = request.failure() ?? {};
    if (errorText !== "net::ERR_ABORTED") tell(`failed: ${request.method()} ${request.url()} ${errorText}`);
  });
  try {
    const page = await context.newPage();
    await body({ page, another: () => context.newPage(), problems, allow: (pattern) => void allowed.push(pattern) });
  } catch (error) {
    if (problems.length === 0 || !(error instanceof Error)) throw error;
    throw new Error(`${error.message}\nin the page: ${problems.join("\n")}`, { cause: error });
  } finally {
    await context.close();
  }
  assert.deepEqual(problems, []);
}
