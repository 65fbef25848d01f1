import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { render } from "../../src/mail/render.ts";
import { circumstances } from "../../src/mail/template.ts";
import { TEMPLATES } from "../../src/mail/templates/index.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

const CONTEXT = { appName: "Plinthos", appUrl: "https://app.example.org", token: "plp_the-token" };
const NAMES = Object.keys(TEMPLATES);
const FIXTURES = join(PACKAGE_ROOT, "migrations/fixtures");
const EVENTS = [
  "factor_added",
  "factor_removed",
  "mfa_locked",
  "recovery_code_used",
  "recovery_codes_replaced",
  "passkey_cloned",
  "sessions_ended_by_administrator",
];
const WITH_TOKEN = ["password-reset", "phone-code", "verify-email"];

test("the templates are exactly those that the database queues", () => {
  const queued = new Set<string>();
  for (const file of readdirSync(FIXTURES, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".sql")) continue;
    const sql = readFileSync(join(FIXTURES, file), "utf8");
    if (!/\b(queue_mail|notify_user|notification_of)\b/.test(sql)) continue;
    // In these functions, only template names contain hyphens.
    for (const [, name] of sql.matchAll(/'([a-z]+(?:-[a-z]+)+)'/g)) queued.add(name!);
  }
  expect([...queued].sort()).toEqual([...NAMES].sort());
});

test.each(NAMES)("%s starts its sentences with a capital letter", (name) => {
  const event = (value: string) => render(TEMPLATES[name]!({ event: value }, CONTEXT)).text;
  for (const text of ["", ...EVENTS].map(event))
    for (const paragraph of text.trim().split("\n\n"))
      if (!/^(https?:|plp_)/.test(paragraph)) expect(paragraph).toMatch(/^(\p{Lu}|Plinthos: )/u);
});

describe.each(NAMES)("%s", (name) => {
  const hostile = `<img src="https://evil.example/x">' & "\r\nBcc: everybody@example.org\u2028`;
  const variables = {
    username: hostile,
    display_name: hostile,
    ip_address: hostile,
    device: { browser: hostile, platform: hostile },
    occurred_at: hostile,
    locked_until: hostile,
  };
  const message = render(TEMPLATES[name]!(variables, CONTEXT));

  test("escapes its variables and lets none of them start a line", () => {
    expect(message.html).not.toMatch(/<img|onerror|evil\.example\/x">/);
    expect(message.html.replace(/<[^>]*>/g, "")).not.toMatch(/[<>]/);
    expect(message.subject).not.toMatch(/[\r\n\u2028]/);
    for (const text of [message.text, message.html]) expect(text).not.toMatch(/^Bcc:/m);
  });

  test("loads no remote resource and links to the application only", () => {
    expect(message.html).not.toMatch(/<(img|script|style|link|iframe|form)\b|url\(/i);
    for (const [, href] of message.html.matchAll(/href="([^"]*)"/g))
      expect(href).toMatch(/^https:\/\/app\.example\.org\/[a-z-]+(#token=plp_the-token)?$/);
  });

  test("renders without variables, in text and HTML", () => {
    const plain = render(TEMPLATES[name]!({}, CONTEXT));
    expect(plain.text.trim()).not.toBe("");
    for (const text of [plain.text, plain.html]) {
      expect(text).not.toMatch(/undefined|null|NaN/);
      expect(text.includes(CONTEXT.token)).toBe(WITH_TOKEN.includes(name));
    }
    // As a query parameter, the token would be logged by every server on the way.
    expect(plain.text).not.toMatch(/\?[^\s]*plp_/);
  });
});

test("shows a link that is not http(s) without linking it", () => {
  const { html } = render({ subject: "x", parts: [{ label: "x", link: "javascript:alert(1)" }] });
  expect(html).not.toContain("href");
});

test.each([
  [{ browser: "Firefox", platform: "Linux" }, " with Firefox on Linux"],
  [{ browser: "curl" }, " with curl"],
  [{ platform: "Windows" }, " with an unknown program on Windows"],
  [{}, " with an unknown program"],
  [undefined, ""],
])("says time, address and device %j", (device, words) => {
  const said = circumstances({ occurred_at: "2026-11-21T14:39:00Z", ip_address: "192.0.2.7", device });
  expect(said).toBe(`on 2026-11-21 at 14:39 UTC, from 192.0.2.7${words}`);
});
