import { describe, expect, test } from "@jest/globals";
import { render } from "../../src/mail/render.ts";
import { circumstances } from "../../src/mail/template.ts";
import { TEMPLATES } from "../../src/mail/templates/index.ts";

const CONTEXT = { appName: "Plinthos", appUrl: "https://app.example.org", token: "plp_the-token" };
const NAMES = Object.keys(TEMPLATES);
const WITH_TOKEN = ["password-reset", "phone-code", "verify-email"];

test("there is a text for everything that is notified", () => {
  expect(NAMES).toEqual(
    expect.arrayContaining([
      "verify-email",
      "email-changed",
      "address-taken",
      "password-reset",
      "password-changed",
      "new-sign-in",
      "account-locked",
      "suspicious-activity",
      "mfa-changed",
      "session-ended",
    ]),
  );
});

describe.each(NAMES)("%s", (name) => {
  const hostile = `<img src="https://evil.example/x">' & "\r\nBcc: everybody@example.org\u2028`;
  const variables = {
    username: hostile,
    display_name: hostile,
    ip_address: hostile,
    user_agent: hostile,
    occurred_at: hostile,
    locked_until: hostile,
  };
  const message = render(TEMPLATES[name]!(variables, CONTEXT));

  test("escapes what it is filled with, and has no line that is not its own", () => {
    expect(message.html).not.toMatch(/<img|onerror|evil\.example\/x">/);
    expect(message.html.replace(/<[^>]*>/g, "")).not.toMatch(/[<>]/);
    expect(message.subject).not.toMatch(/[\r\n\u2028]/);
    for (const text of [message.text, message.html]) expect(text).not.toMatch(/^Bcc:/m);
  });

  test("loads nothing, and leads nowhere but to the application", () => {
    expect(message.html).not.toMatch(/<(img|script|style|link|iframe|form)\b|url\(/i);
    for (const [, href] of message.html.matchAll(/href="([^"]*)"/g))
      expect(href).toMatch(/^https:\/\/app\.example\.org\/[a-z-]+(#token=plp_the-token)?$/);
  });

  test("says the same with and without variables, in text and HTML", () => {
    const plain = render(TEMPLATES[name]!({}, CONTEXT));
    expect(plain.text.trim()).not.toBe("");
    for (const text of [plain.text, plain.html]) {
      expect(text).not.toMatch(/undefined|null|NaN/);
      expect(text.includes(CONTEXT.token)).toBe(WITH_TOKEN.includes(name));
    }
    // In a query, the token would be in the log of every server on the way.
    expect(plain.text).not.toMatch(/\?[^\s]*plp_/);
  });
});

test("a link of another scheme than http(s) is shown and not linked", () => {
  const { html } = render({ subject: "x", parts: [{ label: "x", link: "javascript:alert(1)" }] });
  expect(html).not.toContain("href");
});

test.each([
  ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"],
  [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
    "Edge on Windows",
  ],
  [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
    "Safari on iPhone",
  ],
  ["Your account is closed, call +1 555 0100 or visit https://evil.example", "an unknown program"],
])("names the program %j by known words only", (userAgent, words) => {
  const said = circumstances({
    occurred_at: "2026-11-21T14:39:00Z",
    ip_address: "192.0.2.7",
    user_agent: userAgent,
  });
  expect(said).toBe(`on 2026-11-21 at 14:39 UTC, from 192.0.2.7 with ${words}`);
});
