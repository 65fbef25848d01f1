import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { parseSigningKeys } from "../../src/auth/signing-keys.ts";
import { ALL_LOGIN_ROLES } from "../../src/config/roles.ts";
import { loadSecrets, readSecrets, secretsPath, updateSecrets } from "../../src/database/secrets.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "plinth-secrets-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("are created once, in a file that only its owner can read", () => {
  const secrets = loadSecrets(folder);
  expect(loadSecrets(folder)).toEqual(secrets);
  expect(statSync(secretsPath(folder)).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(["secrets.json"]);
});

test("contain a different long password for each login role, and a signing key", () => {
  const { passwords, jwtKeys } = loadSecrets(folder);
  expect(Object.keys(passwords).sort()).toEqual([...ALL_LOGIN_ROLES, "superuser"].sort());
  for (const password of Object.values(passwords)) expect(password).toMatch(/^[\w-]{32}$/);
  expect(new Set(Object.values(passwords)).size).toBe(7);
  expect(parseSigningKeys(jwtKeys)).toHaveLength(1);
});

test("are not created by reading", () => {
  expect(readSecrets(folder)).toBeUndefined();
  expect(readdirSync(folder)).toEqual([]);
});

test("can be changed in part", () => {
  const before = loadSecrets(folder);
  updateSecrets(folder, { databasePort: 20_001, demo: { ada: "pass" } });
  expect(readSecrets(folder)).toEqual({ ...before, databasePort: 20_001, demo: { ada: "pass" } });
});

test("of an older version get missing entries, once", () => {
  writeFileSync(secretsPath(folder), JSON.stringify({ passwords: { owner: "kept" } }));
  const secrets = readSecrets(folder)!;
  expect(secrets.passwords.owner).toBe("kept");
  expect(readSecrets(folder)).toEqual(secrets);
});

test("that others can read become private", () => {
  loadSecrets(folder);
  chmodSync(secretsPath(folder), 0o644);
  readSecrets(folder);
  expect(statSync(secretsPath(folder)).mode & 0o777).toBe(0o600);
});

test.each(["", "{", "[]", '{"passwords": {"owner": 1}}', '{"jwtKeys": ""}'])(
  "that are damaged (%j) are kept for a person to inspect",
  (content) => {
    writeFileSync(secretsPath(folder), content);
    expect(() => loadSecrets(folder)).toThrow(expect.objectContaining({ code: "SECRETS_DAMAGED" }));
    expect(readFileSync(secretsPath(folder), "utf8")).toBe(content);
  },
);
