import axe, { type AxeResults } from "axe-core";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { CHROMIUM } from "./chromium.ts";

/** A window of each width and theme in which a page is checked: a laptop and a phone, light and dark. */
export const WINDOWS = [
  { name: "wide and light", width: 1280, height: 800, colorScheme: "light" },
  { name: "wide and dark", width: 1280, height: 800, colorScheme: "dark" },
  { name: "narrow and light", width: 390, height: 844, colorScheme: "light" },
  { name: "narrow and dark", width: 390, height: 844, colorScheme: "dark" },
] as const;

export type Window = (typeof WINDOWS)[number];

/** Time after which a page will not change any more; it is no bound on its speed. */
const HOPELESS_MS = 120_000;

/** Starts the machine's own Chromium; nothing is downloaded. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
}

/**
 * Opens an empty page with a profile of its own, without animations. `faults` collects errors of the page: exceptions, messages on
 * its console, among them violations of the content policy, and requests to other origins than those of `urls`.
 */
export async function openWindow(
  browser: Browser,
  { width, height, colorScheme }: Window,
  ...urls: readonly string[]
): Promise<{ page: Page; context: BrowserContext; faults: string[] }> {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme,
    reducedMotion: "reduce",
  });
  context.setDefaultTimeout(HOPELESS_MS);
  const page = await context.newPage();
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(`exception: ${error.message}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) faults.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    const isOwn = urls.some((url) => request.url().startsWith(url)) || /^(data|blob):/.test(request.url());
    if (!isOwn) faults.push(`request: ${request.url()}`);
  });
  return { page, context, faults };
}

/**
 * Returns what axe finds in the page as it is now, one line for each element. Every rule applies, best practices included. The script
 * is loaded once a page: axe's own adapter loads it for each check, also into a second page, which costs ten times the check.
 */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  if (await page.evaluate("typeof axe === 'undefined'")) await page.evaluate(axe.source);
  const violations = await page.evaluate<AxeResults["violations"]>(
    "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations)",
  );
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(
      ({ target, failureSummary }) =>
        `${id}: ${help} at ${target.join(" ")}: ${(failureSummary ?? "").replace(/\s+/g, " ")}`,
    ),
  );
}

/** Returns the width, in pixels, by which the page is wider than its window; a reader should only scroll down. */
export function overflow(page: Page): Promise<number> {
  return page.evaluate(`new Promise((resolve) => {
    const { documentElement } = document;
    const measure = () => resolve(documentElement.scrollWidth - documentElement.clientWidth);
    // Plots follow a new size of the window in the frame after it.
    requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(measure)));
  })`);
}
