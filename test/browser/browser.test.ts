import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, test } from "@jest/globals";
import type { Browser } from "playwright-core";
import { CHROMIUM, type InChromium } from "./chromium.ts";
import { useClient } from "./client-in-chromium.ts";
import { useNotebook } from "./notebook-in-chromium.ts";
import { usePasskeys } from "./passkey-in-chromium.ts";
import { launchChromium } from "./playwright.ts";
import { useSchemaPage } from "./schema-page-in-chromium.ts";
import { useWebChat } from "./web-chat-in-chromium.ts";

// Pages in one real Chromium, which not every machine has. Each has contexts of its own there, as people have profiles.

const PAGES: Readonly<Record<string, (chromium: InChromium) => Promise<void>>> = {
  "plinth/client": useClient,
  "examples/notebook": useNotebook,
  passkeys: usePasskeys,
  "the page of the schema": useSchemaPage,
  "examples/web-chat": useWebChat,
};

(existsSync(CHROMIUM) ? describe : describe.skip)("in Chromium", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(() => browser.close());

  test.each(Object.entries(PAGES))(
    "%s",
    async (_page, use) => {
      await using parts = new AsyncDisposableStack();
      await use({ browser, parts });
    },
    600_000,
  );
});
