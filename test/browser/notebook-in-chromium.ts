// Opens the notebook of examples/notebook in a real Chromium, with demo data.
import { serveNotebook } from "../../examples/notebook/serve.ts";
import { becomesTrue, check, type InChromium, openTab } from "./chromium.ts";
import { openPagesServer } from "./pages-server.ts";

export async function useNotebook({ browser, parts }: InChromium): Promise<void> {
  const { db, start } = await openPagesServer(parts);
  const plinth = await start({ settings: { http: { port: 0 } }, demo: true });
  parts.defer(() => plinth.close());
  const site = await serveNotebook({
    analystUrl: db.url("analyst"),
    notebook: new URL("../../examples/notebook/product.md", import.meta.url),
    port: 0,
  });
  parts.defer(() => site.close());

  const context = await browser.newContext();
  parts.defer(() => context.close());
  const page = await openTab(context);
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
}
