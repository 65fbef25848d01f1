// Opens the page of the schema, docs/schema/index.html, in a real Chromium: from a file and below a path of a proxy, light and dark,
// narrow and wide, with the keyboard, and checked by axe.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { pathToFileURL } from "node:url";
import type { Locator, Page } from "playwright-core";
import { pageDataOf, SCHEMA_PAGE } from "../support/schema-page.ts";
import { check, type InChromium } from "./chromium.ts";
import { accessibilityFaults, openWindow, overflow, WINDOWS, type Window } from "./playwright.ts";

const fileUrl = pathToFileURL(SCHEMA_PAGE).href;

export async function useSchemaPage({ browser, parts }: InChromium): Promise<void> {
  const [wideLight, wideDark, narrowLight, narrowDark] = WINDOWS;

  /** Uses the page in a window of its own; each fault that the browser reports fails a check. */
  async function inWindow(window: Window, url: string, use: (page: Page) => Promise<void>): Promise<void> {
    const { page, context, faults } = await openWindow(browser, window, url);
    await page.goto(url);
    await use(page);
    checkNone(`${window.name}: no errors, requests or violations of the policy`, faults);
    await context.close();
  }

  function checkNone(what: string, faults: readonly string[]): void {
    check(faults.length === 0 ? what : `${what}: ${faults.join("; ")}`, faults.length === 0);
  }

  /** Follows an address as a link does. */
  const visit = (page: Page, id: string) => page.evaluate(`location.hash = ${JSON.stringify(id)}`);
  const heading = (page: Page) => page.locator("h1").innerText();
  const address = async (page: Page) => decodeURIComponent(new URL(page.url()).hash);
  const focused = (page: Page) => page.evaluate("document.activeElement.innerText") as Promise<string>;
  async function isInView(element: Locator): Promise<boolean> {
    const box = await element.boundingBox();
    return box !== null && box.y >= 0 && box.y + box.height <= wideLight.height;
  }
  const accessible = async (page: Page, what: string) =>
    checkNone(`axe finds nothing: ${what}`, await accessibilityFaults(page));

  await inWindow(wideLight, fileUrl, async (page) => {
    check(
      "the first page names the schemas",
      (await page.locator(".cards li").count()) === pageDataOf().schemas.length,
    );
    await accessible(page, "the first page");

    await page.keyboard.press("/");
    await page.keyboard.type("audit_logs");
    check(
      "a search counts its results for a screen reader",
      /^\d+ results?$/.test(await page.getByRole("status").innerText()),
    );
    const options = page.getByRole("option");
    check(
      "the name in another system is found first",
      /security_audit_log[\s\S]*audit_logs in Cedrina/.test(await options.first().innerText()),
    );
    await page.keyboard.press("ArrowDown");
    const active = await page.getByRole("combobox").getAttribute("aria-activedescendant");
    check("an arrow chooses the next result", active === (await options.nth(1).getAttribute("id")));
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("Enter");
    check(
      "Enter opens it",
      (await heading(page)) === "security_audit_log" &&
        (await address(page)) === "#security.security_audit_log",
    );
    check("its heading has the focus", (await focused(page)) === "security_audit_log");
    check("the title names it", (await page.title()) === "security.security_audit_log · Plinth schema");

    for (const [text, wanted] of [
      ["sessions", "identity.user_sessions"],
      ["usage_tracking", "billing.usage_tracking"],
      ["casbin_rule", "access.casbin_rules"],
      ["UserModelAccess", "access.user_model_access"],
      ["users.encryption_key", "private.user_keys.wrapped_key"],
      ["count_unread", "rooms.count_unread()"],
      ["time of the last activity", "llm.chats.updated_at"],
    ] as const) {
      await page.getByRole("combobox").fill(text);
      const found = (await options.locator(".result-name").allInnerTexts()).slice(0, 5);
      check(
        `${text} finds ${wanted}${found.includes(wanted) ? "" : `, not ${found}`}`,
        found.includes(wanted),
      );
    }
    await page.getByRole("combobox").fill("qqqq");
    check("a search without results says so", (await page.getByRole("status").innerText()) === "No results");
    await page.keyboard.press("Escape");

    await visit(page, "rooms.chat_rooms.room_type");
    check("the address of a column opens its table", (await heading(page)) === "chat_rooms");
    const marked = page.locator(".is-target");
    check(
      "and marks the column, in view",
      (await marked.innerText()).includes("room_type") && (await isInView(marked)),
    );
    const main = await page.locator("main").innerText();
    for (const part of [
      "direct (two users, one room per pair)",
      "chat_rooms in Socializer",
      "Moderators change the name and settings of their rooms.",
      "check (last_sequence >= 0",
      "using btree (creator_id)",
      "execute function private.number_room_change()",
    ])
      check(`a table shows ${part}`, main.includes(part));
    await page.locator("svg.neighbors a", { hasText: "identity.users" }).click();
    check("a box of the picture is a link", (await heading(page)) === "users");
    await page.goBack();
    check("Back returns", (await heading(page)) === "chat_rooms");
    await visit(page, "identity.viewer()");
    check("a function has an address", (await marked.innerText()).includes("Returns the signed-in account"));
    await visit(page, "chat_rooms");
    check(
      "an unknown address suggests",
      (await page.locator("main .flow a").allInnerTexts()).includes("rooms.chat_rooms"),
    );
    await visit(page, "analytics.daily_sign_ins");
    check(
      "a view shows its query",
      (await page.locator("main pre").last().innerText()).startsWith("select "),
    );
    if (process.env.SCREENSHOT) {
      await visit(page, "rooms.chat_rooms");
      await page
        .locator("section", { hasText: "Relations" })
        .last()
        .evaluate((element) => element.scrollIntoView());
      await page.screenshot({ path: process.env.SCREENSHOT });
    }
  });

  await inWindow(wideDark, fileUrl, async (page) => {
    await visit(page, "learning");
    check("a schema draws its tables, with links", (await page.locator(".picture a").count()) > 10);
    await accessible(page, "a schema, dark");
    await page.emulateMedia({ media: "print" });
    check(
      "print leaves out the navigation",
      (await page.locator("nav, .bar").filter({ visible: true }).count()) === 0,
    );
  });

  await inWindow(narrowLight, fileUrl, async (page) => {
    for (const id of [
      "",
      "rooms",
      "rooms.chat_rooms",
      "identity.users",
      "analytics.daily_sign_ins",
      "private",
    ]) {
      await visit(page, id);
      check(`${id || "the first page"} fits into a narrow window`, (await overflow(page)) === 0);
    }
    await visit(page, "access.roles");
    await page.getByRole("button", { name: "Contents" }).click();
    await page.getByRole("navigation").getByRole("link", { name: "permissions", exact: true }).click();
    check(
      "the contents open and close",
      (await heading(page)) === "permissions" && !(await page.getByRole("navigation").isVisible()),
    );
    await page.getByRole("combobox").fill("email");
    await accessible(page, "a narrow window with results");
  });

  // As a server below a path of a proxy, with the policy that a server adds to the page's own.
  const html = await readFile(SCHEMA_PAGE, "utf8");
  const [, policy] = /Content-Security-Policy" content="([^"]+)"/.exec(html)!;
  const server = createServer((request, response) => {
    const isPage = request.url === "/app/schema";
    response.writeHead(isPage ? 200 : 404, {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": `${policy};frame-ancestors 'none'`,
    });
    response.end(isPage ? html : "");
  }).listen(0, "127.0.0.1");
  parts.defer(() => void server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const served = `http://127.0.0.1:${(server.address() as AddressInfo).port}/app/schema`;

  await inWindow(narrowDark, served, async (page) => {
    await visit(page, "identity.users");
    await page.locator("summary", { hasText: /\d+ of \d+/ }).click();
    check(
      "partial grants name their columns",
      /\busername\b/.test(await page.locator(".grants details").innerText()),
    );
    await accessible(page, "a table, narrow and dark");
  });
}
