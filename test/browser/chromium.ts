import { setTimeout as sleep } from "node:timers/promises";
import type { Browser, BrowserContext, CDPSession, Page } from "playwright-core";

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Tries, a tenth of a second apart, after which a page will not change any more. They are no bound on its speed. */
const PATIENT_TRIES = 1_800;

/** Waits until a condition holds, which may throw before; returns whether it does. */
export async function becomesTrue(
  condition: () => Promise<boolean>,
  tries = PATIENT_TRIES,
): Promise<boolean> {
  for (let tried = 0; tried < tries; tried++) {
    if (await condition().catch(() => false)) return true;
    await sleep(100);
  }
  return false;
}

/** One page, as its DevTools see it. */
export interface Tab {
  readonly page: Page;
  readonly send: CDPSession["send"];
  /** Calls a function, given as text, in the page; its result must be JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: what is asked for is what it gets.
  run(script: string, ...args: unknown[]): Promise<any>;
}

/** Opens an empty page. Pages of one context share cookies and storage, as those of one profile do. */
export async function openTab(context: BrowserContext): Promise<Tab> {
  const page = await context.newPage();
  const devTools = await context.newCDPSession(page);
  const send = devTools.send.bind(devTools);
  return {
    page,
    send,
    async run(script, ...args) {
      const { result, exceptionDetails } = await send("Runtime.evaluate", {
        expression: `(${script})(...${JSON.stringify(args)})`,
        ...{ awaitPromise: true, returnByValue: true, userGesture: true },
      });
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? "The page failed.");
      return result.value;
    },
  };
}

/** What the pages of a test need: a browser, and where they leave what must end with the test. */
export interface InChromium {
  readonly browser: Browser;
  readonly parts: AsyncDisposableStack;
}

/** Fails the test with the name of the check. */
export function check(what: string, holds: boolean): void {
  if (!holds) throw new Error(what);
}
