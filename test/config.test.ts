import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { loadConfig } from "../src/config/config.ts";

describe("an invalid setting is rejected by name at the start", () => {
  test.each([
    ["PLINTH_PORT", " "],
    ["PLINTH_PORT", "0x50"],
    ["PLINTH_PORT", "65536"],
    ["PLINTH_PASSWORD_HISTORY", "-1"],
    ["PLINTH_PASSWORD_HISTORY", "\t"],
    ["PLINTH_POOL_MAX", "many"],
    ["PLINTH_SHUTDOWN_DELAY_SECONDS", "301"],
    ["PLINTH_PRIVACY_MODE", "perhaps"],
    ["PLINTH_ROLE_PREFIX", "Plinth"],
    ["PLINTH_TRUSTED_PROXIES", "nonsense"],
    ["PLINTH_TRUSTED_PROXIES", "10.0.0.0/8,10.0.0.1/33"],
    ["PLINTH_TRUSTED_PROXIES", "proxy.example.com"],
    // Every client could choose its address: rate limits and audit rows could be forged.
    ["PLINTH_TRUSTED_PROXIES", "0.0.0.0/0"],
    ["PLINTH_TRUSTED_PROXIES", "::/0"],
    ["PLINTH_CORS_ORIGINS", "https://app.example.com/"],
    ["PLINTH_CORS_ORIGINS", "app.example.com"],
    ["PLINTH_CORS_ORIGINS", "https://app.example.com https://other.example.com"],
    ["PLINTH_APP_ORIGINS", "https://elsewhere.example.com"],
    ["PLINTH_APP_URL", "https://app.example.com/#start"],
    ["PLINTH_MAIL_FROM", "two@example.com, addresses@example.com"],
    ["PLINTH_PASSWORD_HASH", "md5"],
    ["PLINTH_DOCUMENTS", "all"],
    ["PLINTH_LOG_LEVEL", "loud"],
    ["PLINTH_OWNER_URL", "localhost:5432"],
  ])("rejects %s=%j", (name, value) => {
    expect(() => loadConfig({ [name]: value })).toThrow(
      expect.objectContaining({ code: "INVALID_SETTING", message: expect.stringContaining(name) }),
    );
  });

  test.each([
    ["PLINTH_OWNER_URL", "postgres//plinth_owner:s3cret@db.example.com"],
    ["PLINTH_SMTP_URL", "mail://user:s3cret@mail.example.com"],
  ])("rejects %s without repeating a value that may contain a password", (name, value) => {
    expect(() => loadConfig({ [name]: value })).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining("s3cret") }),
    );
  });
});

test("reads a URL with a password from a file, and rejects it without repeating the file's content", () => {
  const folder = mkdtempSync(join(tmpdir(), "plinth-config-"));
  try {
    const [good, bad] = ["good", "bad"].map((name) => join(folder, name)) as [string, string];
    writeFileSync(good, "postgres://plinth_owner:s3cret@db.example.com/plinth\n");
    writeFileSync(bad, "s3cret");
    expect(loadConfig({ PLINTH_OWNER_URL_FILE: good }).databaseUrls).toEqual({
      owner: "postgres://plinth_owner:s3cret@db.example.com/plinth",
    });
    for (const name of ["PLINTH_OWNER_URL", "PLINTH_SMTP_URL"]) {
      const rejects = (env: Record<string, string>) =>
        expect(() => loadConfig(env)).toThrow(
          expect.objectContaining({
            code: "INVALID_SETTING",
            message: expect.stringMatching(new RegExp(`^(?!.*s3cret).*${name}`)),
          }),
        );
      rejects({ [`${name}_FILE`]: bad });
      rejects({ [`${name}_FILE`]: join(folder, "missing") });
      rejects({ [`${name}_FILE`]: good, [name]: "postgres://db.example.com" });
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("accepts valid settings", () => {
  const { http } = loadConfig({
    PLINTH_TRUSTED_PROXIES: "loopback, 10.0.0.0/8, 192.0.2.1, 2001:db8::/32, 192.0.2.0/255.255.255.0",
    PLINTH_CORS_ORIGINS: "*, https://app.example.com, http://localhost:3000, capacitor://localhost, null",
    PLINTH_PORT: "0",
  });
  expect(http.trustedProxies).toHaveLength(5);
  expect(http.corsOrigins).toHaveLength(5);
  expect(http.port).toBe(0);
  expect(loadConfig({ PLINTH_PORT: "" }).http.port).toBe(5678);
});
