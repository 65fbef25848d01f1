import { createHmac, randomBytes } from "node:crypto";
import { type ParsedHashOptions, parseOptions } from "@node-rs/argon2";
import { encodeBase64 } from "bcryptjs";
import { PlinthError } from "../support/errors.ts";
import { judge } from "./foreign/schemes/index.ts";
import { parseWrapped, WRAPPED_PREFIX } from "./foreign/wrapped-hash.ts";

/**
 * The current password hash: argon2id with 19 MiB, two passes and one lane, the OWASP Password Storage Cheat
 * Sheet's first choice for servers. The numbers stand for the library's `const enum`s, which exist only as types.
 */
export const ARGON2 = {
  algorithm: 2, // Argon2id
  version: 1, // 0x13
  memoryCost: 19_456, // KiB
  timeCost: 2,
  parallelism: 1,
  outputLen: 32, // bytes
} as const;
const SALT_BYTES = 16;

/** Maximum cost of one verification, about ten seconds. A more expensive stored hash would stall all sign-ins. */
const MAX_ARGON2_MEMORY_KIB = 2 * 1024 * 1024;
const MAX_ARGON2_WORK_KIB = 8 * 1024 * 1024;
const MAX_BCRYPT_COST = 16;

const ARGON2_PREFIX = /^\$argon2(id|i|d)\$/;
/**
 * passlib's bcrypt_sha256 in its second version: bcrypt of base64(HMAC-SHA-256(key: the salt's text, the password)).
 * Plain bcrypt reads 72 bytes and stops at NUL; this reads everything.
 */
const BCRYPT_SHA256_PREFIX = "$bcrypt-sha256$";
const BCRYPT_SHA256 =
  /^\$bcrypt-sha256\$v=2,t=2b,r=([4-9]|[12]\d|3[01])\$([./A-Za-z0-9]{22})\$([./A-Za-z0-9]{31})$/;
/** The OWASP Password Storage Cheat Sheet requires at least 10; 12 takes about 0.3 s. */
const BCRYPT_COST = 12;

const BCRYPT_PREFIX = /^\$2[aby]\$/;
const BCRYPT = /^\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}$/;

/** The algorithms of new hashes. */
export type HashAlgorithm = "argon2id" | "bcrypt-sha256";
/** The values of private.user_passwords.hash_algorithm; those of imported hashes too. */
export type StoredAlgorithm = HashAlgorithm | "bcrypt" | "wrapped";
export type HashFormat = "argon2" | "bcrypt" | "bcrypt-sha256" | "wrapped" | "malformed";

/** A parsed `$bcrypt-sha256$` hash: `plain` is bcrypt's own hash of the pre-hashed password. */
export interface BcryptSha256 {
  readonly cost: number;
  /** 22 characters of bcrypt's base64. */
  readonly salt: string;
  readonly plain: string;
}

/**
 * Returns the library that verifies this hash; "malformed" for an unparsable hash of a known algorithm.
 * @throws PlinthError UNSUPPORTED_PASSWORD_HASH for an unknown algorithm or an excessive cost.
 */
export function hashFormat(hash: string): HashFormat {
  if (hash.startsWith(BCRYPT_SHA256_PREFIX)) {
    const parts = parseBcryptSha256(hash);
    if (!parts) return "malformed";
    if (parts.cost > MAX_BCRYPT_COST) throw unsupported("a bcrypt cost above this server's limit");
    return "bcrypt-sha256";
  }
  if (BCRYPT_PREFIX.test(hash)) {
    const cost = BCRYPT.exec(hash)?.[1];
    if (cost === undefined) return "malformed";
    if (Number(cost) > MAX_BCRYPT_COST) throw unsupported("a bcrypt cost above this server's limit");
    return "bcrypt";
  }
  if (hash.startsWith(WRAPPED_PREFIX)) {
    const wrapped = parseWrapped(hash);
    if (!wrapped) return "malformed";
    const verdict = judge(wrapped.scheme);
    if (verdict === "unaffordable") throw unsupported("a foreign cost above this server's limit");
    return verdict === "usable" && hashFormat(wrapped.outer) === "argon2" ? "wrapped" : "malformed";
  }
  if (ARGON2_PREFIX.test(hash)) {
    const parameters = argon2Parameters(hash);
    if (!parameters) return "malformed";
    const { memoryCost, timeCost } = parameters;
    if (memoryCost > MAX_ARGON2_MEMORY_KIB || memoryCost * timeCost > MAX_ARGON2_WORK_KIB)
      throw unsupported("an argon2 cost above this server's limit");
    return "argon2";
  }
  throw unsupported(
    "an algorithm other than argon2 (PHC string), bcrypt ($2a$, $2b$, $2y$), $bcrypt-sha256$ and $plinth-wrapped$",
  );
}

/** Whether to replace the hash at the next successful sign-in, because it is weaker than the current algorithm. */
export function needsRehash(hash: string, algorithm: HashAlgorithm = "argon2id"): boolean {
  if (algorithm === "bcrypt-sha256") return (parseBcryptSha256(hash)?.cost ?? 0) < BCRYPT_COST;
  const parameters = ARGON2_PREFIX.test(hash) ? argon2Parameters(hash) : undefined;
  return (
    !parameters ||
    parameters.algorithm !== ARGON2.algorithm ||
    parameters.version !== ARGON2.version ||
    parameters.memoryCost < ARGON2.memoryCost ||
    parameters.timeCost < ARGON2.timeCost ||
    parameters.outputLen < ARGON2.outputLen ||
    parameters.saltLen < SALT_BYTES
  );
}

/** Returns undefined for any other format. */
export function parseBcryptSha256(hash: string): BcryptSha256 | undefined {
  const [, cost, salt, digest] = BCRYPT_SHA256.exec(hash) ?? [];
  if (!cost || !salt || !digest) return undefined;
  return { cost: Number(cost), salt, plain: `${bcryptSetting(Number(cost), salt)}${digest}` };
}

/** Returns bcrypt's setting for a hash of the current cost: `$2b$12$` and a random salt. */
export function newBcryptSetting(): { setting: string; salt: string } {
  const salt = encodeBase64(randomBytes(SALT_BYTES), SALT_BYTES);
  return { setting: bcryptSetting(BCRYPT_COST, salt), salt };
}

/** Returns the stored form of a bcrypt hash created with `newBcryptSetting()`. */
export function formatBcryptSha256(plain: string): string {
  const { cost, salt, digest } = /^\$2b\$(?<cost>\d\d)\$(?<salt>.{22})(?<digest>.{31})$/.exec(plain)!.groups!;
  return `${BCRYPT_SHA256_PREFIX}v=2,t=2b,r=${Number(cost)}$${salt}$${digest}`;
}

/** Returns bcrypt's input for a password: 44 characters, whatever its length. */
export function preHash(password: string, salt: string): string {
  return createHmac("sha256", salt).update(password).digest("base64");
}

function bcryptSetting(cost: number, salt: string): string {
  return `$2b$${String(cost).padStart(2, "0")}$${salt}`;
}

/**
 * Returns a hash of the current cost that no known password matches: salt and digest are random. It needs no computing,
 * so that even the first sign-in to an unknown account takes as long as one to a known account.
 */
export function unmatchableHash(algorithm: HashAlgorithm = "argon2id"): string {
  if (algorithm === "bcrypt-sha256") {
    const digest = encodeBase64(randomBytes(23), 23);
    return formatBcryptSha256(`${newBcryptSetting().setting}${digest}`);
  }
  const { memoryCost, timeCost, parallelism, outputLen } = ARGON2;
  const [salt, digest] = [SALT_BYTES, outputLen].map((size) =>
    randomBytes(size).toString("base64").replaceAll("=", ""),
  );
  return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${salt}$${digest}`;
}

function argon2Parameters(hash: string): ParsedHashOptions | undefined {
  try {
    return parseOptions(hash);
  } catch {
    return undefined;
  }
}

/** Whether an error means that a stored hash cannot be checked here, whatever the password. */
export function isUnsupportedHash(error: unknown): boolean {
  return error instanceof PlinthError && error.code === "UNSUPPORTED_PASSWORD_HASH";
}

function unsupported(what: string): PlinthError {
  return new PlinthError("UNSUPPORTED_PASSWORD_HASH", `A stored password hash has ${what}.`, {
    hint: "Set a new password for that account.",
  });
}
