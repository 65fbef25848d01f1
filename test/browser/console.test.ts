import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { Secret, TOTP } from "otpauth";
import type { Browser, Page } from "playwright-core";
import { createClient, memoryStorage } from "../../client/index.ts";
import { JOB_SCHEMA } from "../../src/database/schemas.ts";
import { writeHistory } from "../../src/demo/history.ts";
import { documentHash } from "../../src/documents/document-hash.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { addModel, grantRole } from "../support/accounts.ts";
import { type Api, codeOf, PASSWORD, signIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { CHROMIUM } from "./chromium.ts";
import { accessibilityFaults, launchChromium, openWindow, overflow, WINDOWS } from "./playwright.ts";

// The console of operators in a real Chromium: an administrator with a second factor, and a user without the permission.

let db: TestDatabase;
let api: Api;
let browser: Browser;
let page: Page;
let faults: string[];
let secret: string;
/** Documents that the page has sent. */
const documents = new Set<string>();
const owner = rowsAs("owner", () => db);

const describeInChromium = existsSync(CHROMIUM) ? describe : describe.skip;
const code = () => TOTP.generate({ secret: Secret.fromBase32(secret) });
/** Cells as numbers, without currency and separators. */
const numbersIn = (texts: readonly string[]) => texts.map((text) => Number(text.replace(/[^\d.]/g, "")));
const panel = (title: string) => page.getByRole("region", { name: title, exact: true });
const tableOf = (title: string) => panel(title).getByRole("region", { name: `${title}, as a table` });

/** The rows of a panel's table, oldest first: cells as they are shown. */
async function rowsOf(title: string): Promise<string[][]> {
  const rows = await tableOf(title).getByRole("row").all();
  const cells = await Promise.all(rows.map((row) => row.locator("th, td").allTextContents()));
  return cells.slice(1).reverse();
}

/** Runs steps that compare numbers of days with the page's; again, with a new page, if a day or month begins meanwhile. */
async function withinADay(run: () => Promise<void>): Promise<void> {
  const today = async () =>
    (await owner<{ day: string }>("select (now() at time zone 'UTC')::date::text as day"))[0]!.day;
  for (;;) {
    const day = await today();
    await owner("select private.ensure_partitions()");
    await page.reload();
    await panel("Sign-ins").getByRole("img").waitFor();
    try {
      return await run();
    } catch (error) {
      if ((await today()) === day) throw error;
    }
  }
}

async function fillIn(target: Page, identifier: string): Promise<void> {
  await target.goto(`${api.url}/console`);
  await target.getByLabel("Username or email address").fill(identifier);
  await target.getByLabel("Password").fill(PASSWORD);
  await target.getByRole("button", { name: "Sign in" }).click();
}

describeInChromium("the console", () => {
  beforeAll(async () => {
    db = await createTestDatabase();
    api = await startApi(db, { PLINTH_CONSOLE: "true" });
    await addModel(db, { isPublic: true });
    await addModel(db, { isPublic: true });
    await owner(
      `insert into billing.model_prices (model_id, input_price_per_million_tokens, output_price_per_million_tokens)
       select id, 3, 15 from llm.models`,
    );
    await withClient(db.url("owner"), async (client) => {
      await client.query("begin");
      await writeHistory(client);
      await client.query("commit");
    });
    await owner(
      `insert into ${JOB_SCHEMA}.job (name, state, created_on, started_on, completed_on) values
         ('deliver-mail', 'completed', now(), now(), now()), ('ensure-partitions', 'created', now(), null, null),
         ('ensure-partitions', 'retry', now(), null, null)`,
    );
    const { userId } = await signUp(api, "grace");
    await grantRole(db, userId, "admin");
    await signUp(api, "eve");
    await signUp(api, "ada");
    const grace = createClient({ url: api.url, storage: memoryStorage() });
    await grace.auth.signIn({ identifier: "grace", password: PASSWORD });
    const factor = await grace.auth.startTotp();
    ({ secret } = factor);
    await grace.auth.confirmTotp({ factorId: factor.factorId, code: code() });
    grace.close();
    await owner("update private.totp_secrets set last_used_step = null");

    browser = await launchChromium();
    ({ page, faults } = await openWindow(browser, WINDOWS[0], api.url));
    await page.clock.install();
    page.on("request", (request) => {
      const body = request.postData();
      if (body) documents.add(documentHash(JSON.parse(body).query));
    });
  });
  afterAll(async () => {
    await browser?.close();
    await api?.close();
    await db?.drop();
  });

  test("signs in with a password and a second factor, and keeps no access token", async () => {
    await fillIn(page, "grace");
    await page.getByLabel(/authenticator app/).fill(code());
    await page.getByRole("button", { name: "Continue" }).click();
    await panel("Sign-ins").getByRole("img").waitFor();
    const stored = await page.evaluate<{ local: object; session: string }>(
      "({ local: { ...localStorage }, session: Object.values({ ...sessionStorage }).join() })",
    );
    expect(stored.local).toEqual({});
    expect(stored.session).toContain("refreshToken");
    expect(stored.session).not.toContain("eyJ");
  });

  test("shows what the rows say: plots first, and the numbers behind each as a table", () =>
    withinADay(comparePanelsWithRows));

  async function comparePanelsWithRows(): Promise<void> {
    const days = `generate_series(date_trunc('day', now(), 'UTC') - interval '696 hours', now(), '24 hours') d`;
    for (const toggle of await page.getByRole("button", { name: "as table" }).all()) await toggle.click();
    const shown = async (title: string) => (await rowsOf(title)).map((cells) => numbersIn(cells.slice(1)));
    const counted = async (sql: string) =>
      (await owner<{ n: string[] }>(`select ${sql} as n from ${days} order by d`)).map(({ n }) =>
        n.map(Number),
      );
    const attempts = (status: string) =>
      `(select count(*) from security.login_attempts where created_at >= d and created_at < d + interval '24 hours' and status = '${status}')`;
    expect(await shown("Sign-ins")).toEqual(
      await counted(`array[${["success", "failed", "locked"].map(attempts).join()}]`),
    );
    expect(await shown("Active people")).toEqual(
      await counted(
        `array[(select count(distinct user_id) from security.login_attempts
            where created_at >= d and created_at < d + interval '24 hours' and status = 'success'),
          (select count(*) from identity.users where created_at >= d and created_at < d + interval '24 hours')]`,
      ),
    );
    const total = async (title: string) => (await panel(title).locator(".figure b").textContent())!;
    const [sums] = await owner<Record<string, string>>(
      `select
         (select sum(total_tokens) from billing.daily_usage where day > (now() at time zone 'UTC')::date - 30) as tokens,
         (select sum(cost) from billing.daily_usage where day > (now() at time zone 'UTC')::date - 30) as cost,
         (select sum(amount_cents - refunded_cents) / 100.0 from billing.payments
          where paid_at >= date_trunc('day', now(), 'UTC') - interval '696 hours') as revenue,
         (select count(*) from security.error_logs
          where created_at >= date_trunc('day', now(), 'UTC') - interval '696 hours') as errors`,
    );
    const money = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
    const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
    expect(await total("Tokens by model")).toBe(compact.format(Number(sums!.tokens)));
    expect(await total("Cost by model (USD)")).toBe(money.format(Number(sums!.cost)));
    expect(await total("Revenue (USD)")).toBe(money.format(Number(sums!.revenue)));
    expect(await total("Errors by code")).toBe(String(sums!.errors));
    const sumOf = async (title: string) => (await shown(title)).flat().reduce((all, value) => all + value, 0);
    expect(await sumOf("Tokens by model")).toBe(Number(sums!.tokens));
    expect(await sumOf("Errors by code")).toBe(Number(sums!.errors));

    const jobs = await rowsOf("Jobs");
    expect(jobs.find(([name]) => name === "ensure-partitions")!.slice(1, 4)).toEqual(["2", "0", "0"]);
    expect(jobs.find(([name]) => name === "deliver-mail")!.slice(1, 4)).toEqual(["0", "0", "0"]);
    const logs = await rowsOf("Partitions ahead");
    expect(logs.map(([, months]) => months)).toEqual(logs.map(() => "3"));
    const [limit] = await owner<{ max_connections: string }>("show max_connections");
    expect((await rowsOf("Database and replication")).flat()).toContainEqual(
      expect.stringMatching(new RegExp(`^\\d+ of ${limit!.max_connections}$`)),
    );
    await expect(page.getByRole("status").textContent()).resolves.toBe("Healthy");

    for (const toggle of await page.getByRole("button", { name: "as table" }).all()) await toggle.click();
    expect(await panel("Sign-ins").getByRole("img").getAttribute("aria-label")).toMatch(
      /^Sign-ins\. succeeded: \d+ in total, at most \d+ \(.+\); failed: .+\.$/,
    );
  }

  test("names each fault and what to do", async () => {
    await owner(
      `insert into ${JOB_SCHEMA}.job (name, state, created_on, start_after) values ('deliver-mail', 'created', now(), now() - interval '1 hour')`,
    );
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByText(/^A job of deliver-mail has been due for 6\d minutes\.$/).waitFor();
    await page.getByText("Keep plinth work (or plinth start) running, and read its log.").waitFor();
    expect(await page.getByRole("status").textContent()).toBe("1 thing needs attention");
    await owner(`delete from ${JOB_SCHEMA}.job where start_after < now() - interval '50 minutes'`);
  });

  test("does not call a system healthy while its state cannot be read", async () => {
    await page.route("**/graphql", (route) =>
      route.fulfill({ json: { errors: [{ message: "An error.", extensions: { code: "INTERNAL" } }] } }),
    );
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByText("Not up to date").waitFor();
    expect(await page.getByText("Healthy").count()).toBe(0);
    await page.unroute("**/graphql");
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByText("Healthy").waitFor();
  });

  test("another period has its own numbers, and the numbers are read again every 30 seconds unless the tab is hidden", async () => {
    const asked: unknown[] = [];
    page.on("request", (request) => {
      const body = request.postData();
      if (body?.includes("ConsoleSystem")) asked.push(JSON.parse(body).variables.days);
    });
    const pageTime = () => page.evaluate<number>("Date.now()");
    const startedAt = await pageTime();
    const answered = () =>
      page.waitForResponse((response) => {
        const body = response.request().postData();
        return Boolean(body?.includes("ConsoleSystem")) && JSON.parse(body!).variables.days === 7;
      });
    const week = answered();
    await page.getByText("7 days").click();
    await week;
    // A busy machine may have let 30 seconds pass before the click.
    asked.length = 0;
    const [attempts] = await owner<{ n: string }>(
      `select count(*) as n from security.login_attempts
       where created_at >= date_trunc('day', now(), 'UTC') - interval '6 days' and status <> 'challenged'`,
    );
    await panel("Sign-ins").getByText(`of ${attempts!.n} attempts rejected`).waitFor();
    const next = answered();
    await page.clock.runFor(30_000);
    await next;
    const hide = (isHidden: boolean) =>
      page.evaluate(`
        Object.defineProperty(document, "hidden", { configurable: true, get: () => ${isHidden} });
        document.dispatchEvent(new Event("visibilitychange"));
      `);
    await hide(true);
    // Each 30 seconds cause a request; a busy machine may let some pass itself.
    const shownTimes = asked.length;
    expect(shownTimes).toBeLessThanOrEqual(1 + Math.floor(((await pageTime()) - startedAt) / 29_000));
    await page.clock.runFor(120_000);
    expect(asked).toEqual(Array(shownTimes).fill(7));
    const shown = answered();
    await hide(false);
    await shown;
    expect(asked.slice(shownTimes)[0]).toBe(7);
  });

  test("finds an account, unlocks it and ends its sessions; every look and action is recorded", async () => {
    const ada = await signIn(api, "ada");
    await owner(
      "update identity.users set failed_login_attempts = 5, locked_until = now() + interval '1 hour' where username = 'ada'",
    );
    const device = `<img src="x" onerror="alert(1)">${"W".repeat(60)}`;
    await owner("update identity.user_sessions set device_name = $1 where user_id = $2", [
      device,
      (await owner("select id from identity.users where username = 'ada'"))[0]!.id,
    ]);
    await page.getByRole("link", { name: "Accounts" }).click();
    const search = page.getByLabel("Username, email address or id of an account");
    await search.fill("nobody@example.com");
    await page.getByRole("button", { name: "Find" }).click();
    await page.getByText("There is no account with this name, address or id.").waitFor();
    await search.fill("ada@example.org");
    await page.getByRole("button", { name: "Find" }).click();
    await page.getByRole("heading", { name: "ada" }).waitFor();
    await page.getByText("locked", { exact: true }).waitFor();
    const sessions = page.getByRole("region", { name: "Sessions of ada, as a table" });
    expect(await sessions.getByRole("row").count()).toBe(3);
    expect(await sessions.getByRole("rowheader").first().textContent()).toBe(device);
    expect(await sessions.getByRole("row").nth(1).getByRole("cell").nth(1).textContent()).toBe("password");
    expect(await sessions.evaluate((part) => part.scrollWidth - part.clientWidth)).toBe(0);

    await page.getByRole("button", { name: "Unlock" }).click();
    await page.getByText("ada can sign in again.").waitFor();
    expect(await page.getByRole("button", { name: "Unlock" }).isDisabled()).toBe(true);
    await page.getByRole("button", { name: "End all sessions" }).click();
    expect(await accessibilityFaults(page)).toEqual([]);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("button", { name: "End all sessions" }).click();
    await page.getByRole("button", { name: "End sessions" }).click();
    await page.getByText("Ended 2 sessions of ada.").waitFor();
    await page.getByText("The account has no live session.").waitFor();

    const refreshed = await api.ask(
      "mutation ($input: RefreshInput!) { refresh(input: $input) { accessToken } }",
      {
        variables: { input: { refreshToken: ada.refreshToken } },
      },
    );
    expect(codeOf(refreshed)).toBe("UNAUTHENTICATED");
    const recorded = await owner(
      `select l.event_type, s.username as about
       from security.security_audit_log l
       join identity.users a on a.id = l.actor_id and a.username = 'grace'
       left join identity.users s on s.id = l.user_id
       where l.event_type in ('account_inspected', 'account_unlocked', 'sessions_ended_by_administrator')
       order by l.created_at, l.id`,
    );
    expect(recorded).toEqual([
      { event_type: "account_inspected", about: null },
      { event_type: "account_inspected", about: "ada" },
      { event_type: "account_unlocked", about: "ada" },
      { event_type: "account_inspected", about: "ada" },
      { event_type: "sessions_ended_by_administrator", about: "ada" },
      { event_type: "account_inspected", about: "ada" },
    ]);
  });

  test("is accessible in each theme and width, and only scrolls down", async () => {
    // The account that was found above.
    await page.setViewportSize(WINDOWS[3]);
    expect([await accessibilityFaults(page), await overflow(page)]).toEqual([[], 0]);
    await page.getByRole("link", { name: "System" }).click();
    await panel("Sign-ins").getByRole("img").waitFor();
    for (const { name, width, height, colorScheme } of WINDOWS) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      expect([name, await accessibilityFaults(page), await overflow(page)]).toEqual([name, [], 0]);
    }
    // A window of 1280 pixels at a zoom of 400 %: WCAG 1.4.10.
    await page.setViewportSize({ width: 320, height: 640 });
    expect(await overflow(page)).toBe(0);
    for (const toggle of await page.getByRole("button", { name: "as table" }).all()) await toggle.click();
    expect([await accessibilityFaults(page), await overflow(page)]).toEqual([[], 0]);
  });

  test("shows amounts of a currency whose cents a browser hides, without payments in dispute", async () => {
    await owner(
      `insert into billing.payments (provider, provider_payment_id, amount_cents, currency, paid_at, disputed_at)
       values ('manual', 'forint', 250000, 'HUF', now(), null), ('manual', 'disputed', 90000, 'HUF', now(), now()),
         ('manual', 'yen', 700, 'JPY', now(), null)`,
    );
    await page.getByRole("button", { name: "Refresh" }).click();
    for (const [currency, amount] of [
      ["HUF", 2_500],
      ["JPY", 700],
    ] as const) {
      const figure = panel(`Revenue (${currency})`).locator(".figure b");
      expect(numbersIn([(await figure.textContent())!])).toEqual([amount]);
    }
  });

  test("a duplicated tab asks to sign in, because a refresh token that two tabs use ends the session", async () => {
    const [copy] = await Promise.all([
      page.context().waitForEvent("page"),
      page.evaluate("void open(location.href)"),
    ]);
    await copy.getByLabel("Password").waitFor();
    expect(await copy.evaluate("Object.keys(sessionStorage)")).toEqual([]);
    await copy.close();
    await page.reload();
    await panel("Sign-ins").getByRole("img").waitFor();
  });

  test("a permission that is taken away ends the reading of numbers", async () => {
    const permission = "(select id from access.permissions where permission_name = 'read_operations')";
    await page.getByRole("link", { name: "System" }).click();
    await panel("Jobs").waitFor();
    const [taken] = await owner(
      `delete from access.role_permissions where permission_id = ${permission} returning role_id, permission_id`,
    );
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByRole("button", { name: "Find" }).waitFor();
    expect(await page.getByRole("link", { name: "System" }).count()).toBe(0);
    expect(await panel("Jobs").count()).toBe(0);
    await owner("insert into access.role_permissions (role_id, permission_id) values ($1, $2)", [
      taken!.role_id,
      taken!.permission_id,
    ]);
  });

  test("signing out ends the session", async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are signed out.").waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await page.evaluate("sessionStorage.length")).toBe(0);
    // This server's address has no host name, which passkeys need.
    await page.getByRole("button", { name: "Use a passkey" }).click();
    await page.getByText("Passkeys do not work at this address. Sign in another way.").waitFor();
    const open =
      "select from identity.user_sessions where device_name = 'Plinth console' and ended_at is null";
    await until(async () => (await owner(open)).length === 0);
  });

  test("a user without the permission sees why, and the console asks for no numbers", async () => {
    const asked: string[] = [];
    page.on("request", (request) => {
      asked.push(request.postData() ?? "");
    });
    await fillIn(page, "eve");
    await page.getByRole("heading", { name: "You may not use this console" }).waitFor();
    await page.getByText("read_operations").waitFor();
    expect(asked.filter((body) => /ConsoleSystem|ConsoleAccount/.test(body))).toEqual([]);
    expect(await accessibilityFaults(page)).toEqual([]);
  });

  test("sends only documents of its manifest, which PLINTH_DOCUMENTS=added needs", async () => {
    const manifest = JSON.parse(
      await readFile(join(PACKAGE_ROOT, "src/console/assets/documents.json"), "utf8"),
    );
    expect(documents.size).toBeGreaterThan(6);
    expect([...documents].filter((hash) => !(hash in manifest))).toEqual([]);
  });

  test("calls no other server and prints no error", () => {
    expect(faults).toEqual([]);
  });
});
