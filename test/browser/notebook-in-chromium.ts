// Opens the notebook of examples/notebook in a real Chromium, with demo data.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serveNotebook } from "../../examples/notebook/serve.ts";
import { createPlinth } from "../../src/index.ts";
import { becomesTrue, check, openDevTools, startChromium } from "./chromium.ts";

await using parts = new AsyncDisposableStack();
const folder = await mkdtemp(join(tmpdir(), "plinth-browser-"));
parts.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
const plinth = await createPlinth({
  settings: { dataDirectory: join(folder, "data"), logLevel: "silent", http: { port: 0 } },
});
parts.defer(() => plinth.close());
const site = await serveNotebook({
  analystUrl: plinth.database.url("analyst"),
  notebook: new URL("../../examples/notebook/product.md", import.meta.url),
  port: 0,
});
parts.defer(() => site.close());

const chromium = await startChromium(join(folder, "profile"));
parts.defer(() => chromium.stop());
const page = await openDevTools(chromium.pageUrl);
parts.defer(() => page.close());
await page.send("Page.enable");
await page.send("Page.navigate", { url: site.url });

/** Waits until a function of the page, given as text, returns true. */
const becomes = (script: string) => becomesTrue(() => page.run(script));
const typeAndRun = (sql: string) =>
  page.run(
    `(sql) => {
      const editor = document.querySelector("textarea");
      editor.value = sql;
      editor.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true }));
    }`,
    sql,
  );

check(
  "each cell shows its rows",
  await becomes(
    `() => document.querySelectorAll("textarea").length > 3 &&
      document.querySelectorAll(".result table").length === document.querySelectorAll("textarea").length`,
  ),
);
check(
  "a column is drawn as bars",
  await becomes(
    `() => [...document.querySelectorAll(".bar")].some((bar) => bar.style.getPropertyValue("--share") === "100%")`,
  ),
);
await typeAndRun("select 6 * 7 as answer");
check(
  "a changed cell runs with Ctrl+Enter",
  await becomes(`() => document.querySelector(".result td")?.innerText === "42"`),
);
await typeAndRun("select 1,\n  email from identity.users");
check(
  "a table is denied, in the cell",
  await becomes(`() => document.querySelector(".error")?.innerText.includes("permission denied")`),
);
await typeAndRun("select '<img src=x onerror=alert(1)>' as text");
check(
  "a value is text and never HTML",
  await becomes(`() => document.querySelector(".result td")?.innerText.startsWith("<img")`),
);
