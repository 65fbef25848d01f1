import { describe, expect, test } from "@jest/globals";
import { checkProviders } from "../../src/cli/doctor/providers.ts";
import { loadConfig } from "../../src/config/config.ts";
import { parseProviders } from "../../src/oauth/provider-settings.ts";

const GOOD = {
  name: "example",
  issuer: "https://accounts.example.org",
  clientId: "client",
  clientSecret: "canary secret",
  redirectUris: ["https://app.example.org/callback"],
};
const parse = (...entries: unknown[]) => parseProviders(JSON.stringify(entries));

test("accepts none, one and several providers, with safe defaults", () => {
  expect(parseProviders("[]")).toEqual([]);
  expect(parse(GOOD)).toEqual([
    {
      ...GOOD,
      label: "example",
      issuer: new URL(GOOD.issuer),
      scopes: ["openid", "email", "profile"],
      trustsEmail: false,
      mayRegister: true,
    },
  ]);
  const other = {
    ...GOOD,
    name: "other",
    redirectUris: ["org.example.app:/callback", "http://localhost:3000/cb"],
  };
  expect(parse(GOOD, other).map(({ name }) => name)).toEqual(["example", "other"]);
  const { clientSecret: _, ...publicClient } = GOOD;
  expect(parse(publicClient)[0]!.clientSecret).toBeUndefined();
  expect(parse({ ...GOOD, issuer: "http://127.0.0.1:3000" })[0]!.issuer.port).toBe("3000");
});

describe("rejects without repeating a value", () => {
  const cases: [string, unknown][] = [
    ["text in place of an object", "canary"],
    ["an unknown member", { ...GOOD, trustEmail: true }],
    ["no name", { ...GOOD, name: undefined }],
    ["an invalid name", { ...GOOD, name: "Canary Name" }],
    ["an invalid label", { ...GOOD, label: 7 }],
    ["no issuer", { ...GOOD, issuer: undefined }],
    ["plain http", { ...GOOD, issuer: "http://canary.example.org" }],
    ["an address that only resembles a loopback address", { ...GOOD, issuer: "http://127.0.0.1.canary.org" }],
    ["another scheme", { ...GOOD, issuer: "file:///canary" }],
    ["a password in the issuer", { ...GOOD, issuer: "https://u:canary@example.org" }],
    ["a query in the issuer", { ...GOOD, issuer: "https://example.org/?canary" }],
    ["no client id", { ...GOOD, clientId: "" }],
    ["an invalid client secret", { ...GOOD, clientSecret: ["canary"] }],
    ["no redirect URI", { ...GOOD, redirectUris: [] }],
    ["a redirect URI that is not a list", { ...GOOD, redirectUris: "https://app.example.org/canary" }],
    ["plain http to another machine", { ...GOOD, redirectUris: ["http://canary.example.org/"] }],
    ["a script", { ...GOOD, redirectUris: ["javascript:canary"] }],
    ["a common scheme", { ...GOOD, redirectUris: ["canary:/callback"] }],
    ["a query", { ...GOOD, redirectUris: ["https://app.example.org/?canary"] }],
    ["a fragment", { ...GOOD, redirectUris: ["https://app.example.org/#canary"] }],
    [
      "an address that is not in its normal form",
      { ...GOOD, redirectUris: ["https://APP.example.org/a/../canary"] },
    ],
    ["scopes without openid", { ...GOOD, scopes: ["email"] }],
    ["invalid scopes", { ...GOOD, scopes: ["openid", "can ary"] }],
    ["trust as text", { ...GOOD, trustsEmail: "false" }],
    ["registration as text", { ...GOOD, mayRegister: "canary" }],
  ];
  test.each(cases)("%s", (_what, entry) => {
    const error = (() => {
      try {
        return parse(entry);
      } catch (caught) {
        return caught as Error;
      }
    })();
    expect(error).toMatchObject({ code: "INVALID_SETTING", cause: undefined });
    expect((error as Error).message).toMatch(/^PLINTH_OAUTH_PROVIDERS: /);
    expect((error as Error).message).not.toMatch(/canary/i);
  });

  test("text that is not JSON or not a list", () => {
    for (const text of ['[{"clientSecret": "canary"', "{}", "null", "canary"]) {
      expect(() => parseProviders(text)).toThrow(expect.objectContaining({ code: "INVALID_SETTING" }));
      expect(() => parseProviders(text)).not.toThrow(/canary/);
    }
  });

  test("two providers of one name or with one redirect URI (mix-up)", () => {
    const code = expect.objectContaining({ code: "INVALID_SETTING" });
    expect(() => parse(GOOD, { ...GOOD, redirectUris: ["https://app.example.org/2"] })).toThrow(code);
    expect(() => parse(GOOD, { ...GOOD, name: "other" })).toThrow(code);
  });
});

test("reports faults in plinth doctor, without the values", () => {
  const finding = (...entries: unknown[]) =>
    checkProviders(loadConfig({ PLINTH_OAUTH_PROVIDERS: JSON.stringify(entries) }));
  expect(finding()).toMatchObject({ status: "ok" });
  expect(finding(GOOD)).toMatchObject({ status: "ok" });
  expect(finding({ ...GOOD, issuer: "http://localhost" })).toMatchObject({ status: "warn" });
  const broken = finding({ ...GOOD, issuer: "http://canary.example.org" });
  expect(broken).toMatchObject({ status: "fail" });
  expect(JSON.stringify(broken)).not.toContain("canary");
});

test("accepts a file instead, and rejects both at once or a missing file", () => {
  expect(loadConfig({}).auth.oauthProviders).toBe("[]");
  const file = new URL("../../package.json", import.meta.url).pathname;
  expect(loadConfig({ PLINTH_OAUTH_PROVIDERS_FILE: file }).auth.oauthProviders).toContain('"name": "plinth"');
  const refused = expect.objectContaining({ code: "INVALID_SETTING" });
  expect(() => loadConfig({ PLINTH_OAUTH_PROVIDERS: "[]", PLINTH_OAUTH_PROVIDERS_FILE: file })).toThrow(
    refused,
  );
  expect(() => loadConfig({ PLINTH_OAUTH_PROVIDERS_FILE: "/nowhere/at/all" })).toThrow(refused);
});
