import { randomBytes } from "node:crypto";
import { chmodSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { generateMasterKey } from "../auth/master-keys.ts";
import { generateSigningKey } from "../auth/signing-keys.ts";
import { ALL_LOGIN_ROLES, type AnyLoginRole } from "../config/roles.ts";
import { PlinthError } from "../support/errors.ts";
import { makeFolder, unlessMissing, writeWhole } from "../support/files.ts";
import { isObject } from "../support/is-object.ts";

/** Secrets that Plinth generates at the first start and stores in `secrets.json` in the data folder (mode 600). */
export interface Secrets {
  /** Port of the embedded server; undefined until its first start. */
  readonly databasePort: number | undefined;
  /** Passwords of the embedded server's roles. */
  readonly passwords: Readonly<Record<AnyLoginRole | "superuser", string>>;
  /** `kid:base64url[,kid:base64url…]`, used when PLINTH_JWT_KEYS is not set. */
  readonly jwtKeys: string;
  /** `version:base64url[,version:base64url…]`, used when PLINTH_MASTER_KEYS is not set. */
  readonly masterKeys: string;
  /** Passwords of the demo accounts by username. */
  readonly demo: Readonly<Record<string, string>>;
}

export function secretsPath(dataDirectory: string): string {
  return join(dataDirectory, "secrets.json");
}

/**
 * Reads the secrets, and generates them at the first call. Safe against crashes and concurrent callers: all get the same
 * secrets.
 * @throws PlinthError SECRETS_DAMAGED; a file system error if the folder cannot be written.
 */
export function loadSecrets(dataDirectory: string): Secrets {
  const found = readSecrets(dataDirectory);
  if (found) return found;
  makeFolder(dataDirectory);
  writeWhole(secretsPath(dataDirectory), format(complete({})), { onlyIfMissing: true });
  return readSecrets(dataDirectory)!;
}

/**
 * Returns the secrets, or undefined if there are none yet. Generates and stores missing members, so that a newer version can
 * read an older file.
 * @throws PlinthError SECRETS_DAMAGED
 */
export function readSecrets(dataDirectory: string): Secrets | undefined {
  const path = secretsPath(dataDirectory);
  const content = unlessMissing(() => readFileSync(path, "utf8"));
  if (content === undefined) return undefined;
  if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600);
  const stored = parse(content, path);
  const secrets = complete(stored);
  if (isMissingSomething(stored, secrets)) writeWhole(path, format(secrets));
  return secrets;
}

/** Replaces some members, atomically and durably. Writes nothing if they do not change. */
export function updateSecrets(dataDirectory: string, change: Partial<Secrets>): Secrets {
  const current = loadSecrets(dataDirectory);
  const secrets = { ...current, ...change };
  if (!isDeepStrictEqual(current, secrets)) writeWhole(secretsPath(dataDirectory), format(secrets));
  return secrets;
}

type Stored = Partial<{
  databasePort: number;
  passwords: Partial<Record<AnyLoginRole | "superuser", string>>;
  jwtKeys: string;
  masterKeys: string;
  demo: Record<string, string>;
}>;

function complete(stored: Stored): Secrets {
  const passwords = { ...stored.passwords };
  for (const role of [...ALL_LOGIN_ROLES, "superuser"] as const) passwords[role] ??= newPassword();
  return {
    databasePort: stored.databasePort,
    passwords: passwords as Secrets["passwords"],
    jwtKeys: stored.jwtKeys ?? generateSigningKey(),
    masterKeys: stored.masterKeys ?? generateMasterKey(1),
    demo: stored.demo ?? {},
  };
}

function isMissingSomething(stored: Stored, secrets: Secrets): boolean {
  return (
    stored.jwtKeys === undefined ||
    stored.masterKeys === undefined ||
    stored.demo === undefined ||
    Object.keys(stored.passwords ?? {}).length < Object.keys(secrets.passwords).length
  );
}

/** 192 random bits in characters that need no escaping in a URL, a shell or SQL. */
function newPassword(): string {
  return randomBytes(24).toString("base64url");
}

function format(secrets: Secrets): string {
  return `${JSON.stringify(secrets, null, 2)}\n`;
}

/** Error messages never contain the content. */
function parse(content: string, path: string): Stored {
  let stored: unknown;
  try {
    stored = JSON.parse(content);
  } catch {
    stored = undefined;
  }
  if (isStored(stored)) return stored;
  throw new PlinthError("SECRETS_DAMAGED", `The secrets in ${path} cannot be read.`, {
    hint: "Restore the file from a backup of the data folder. Without it, the signing and master keys are lost.",
  });
}

function isStored(value: unknown): value is Stored {
  if (!isObject(value)) return false;
  const { databasePort, passwords, jwtKeys, masterKeys, demo } = value;
  return (
    (databasePort === undefined || Number.isInteger(databasePort)) &&
    (passwords === undefined || isRecordOfText(passwords)) &&
    [jwtKeys, masterKeys].every((keys) => keys === undefined || (typeof keys === "string" && keys !== "")) &&
    (demo === undefined || isRecordOfText(demo))
  );
}

function isRecordOfText(value: unknown): boolean {
  return isObject(value) && Object.values(value).every((item) => typeof item === "string" && item !== "");
}
