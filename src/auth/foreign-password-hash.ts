import { PlinthError } from "../support/errors.ts";
import { toBase64 } from "./foreign/encodings.ts";
import { FORMATS, readFormat } from "./foreign/formats/index.ts";
import type { ForeignHash } from "./foreign/scheme.ts";
import type { SaltOrder } from "./foreign/schemes/digests.ts";
import { judge } from "./foreign/schemes/index.ts";
import { readSeparate, type SaltEncoding } from "./foreign/separate-salt.ts";
import { wrap } from "./foreign/wrapped-hash.ts";
import { ARGON2, formatBcryptSha256, type StoredAlgorithm } from "./password-hash-format.ts";

/** A password hash as another system stored it. */
export interface ForeignPasswordHash {
  /** The other system's text. */
  readonly hash: string;
  /** The salt, if it is in a column of its own. */
  readonly salt?: string | null;
  /**
   * The algorithm of a hash that does not name it: argon2id, argon2i, argon2d, scrypt, pbkdf2-sha1, pbkdf2-sha256,
   * pbkdf2-sha512, md5, sha1, sha256 or sha512; costs follow a colon, as in `pbkdf2-sha256:i=100000`,
   * `argon2id:m=65536,t=3,p=4` or `scrypt:ln=14,r=8,p=1`.
   */
  readonly algorithm?: string | null;
  /** How the salt enters md5, sha1, sha256 and sha512; also as a part of the algorithm, such as `sha256-password-salt`. */
  readonly order?: SaltOrder | null;
  /** How the salt was written as text: for argon2, as the hash is; for any other algorithm, the text itself is the salt. */
  readonly saltEncoding?: SaltEncoding | null;
}

/** The columns of private.user_passwords. */
export interface ImportedPasswordHash {
  readonly passwordHash: string;
  readonly hashAlgorithm: StoredAlgorithm;
}

/** The least work of OWASP's equivalent choices for argon2id, in KiB, and the least memory among them. */
const MIN_ARGON2_WORK = 7168 * 5;
const MIN_ARGON2_MEMORY = 7168;
/** OWASP's minimum. */
const MIN_BCRYPT_COST = 10;

/**
 * Returns the stored form of another system's password hash. The next sign-in with the right password replaces it by a hash of
 * the current algorithm.
 *
 * Argon2id and bcrypt of at least the cost that the OWASP Password Storage Cheat Sheet asks for are stored as they are. Every
 * other digest is hashed once more with argon2id and stored as `$plinth-wrapped$…`, with the foreign scheme, its costs and its
 * salt beside it, because a leaked md5 or a PBKDF2 of few iterations would be found within hours.
 *
 * Each call for such a digest takes about 50 ms of a processor and draws a new salt, so that two calls return different texts.
 *
 * Sources: the PHC string format (github.com/P-H-C/phc-string-format), RFC 7914 (scrypt), RFC 8018 (PBKDF2), RFC 9106 (Argon2);
 * docs.djangoproject.com/en/stable/topics/auth/passwords, werkzeug.palletsprojects.com/en/stable/utils#module-werkzeug.security,
 * passlib.readthedocs.io/en/stable/lib/passlib.hash.html, ASP.NET Core's PasswordHasher.cs.
 * @example
 * await importedPasswordHash({ hash: "pbkdf2_sha256$260000$seasalt$…" });
 * await importedPasswordHash({ hash: row.password_hash, salt: row.salt, algorithm: "sha256", order: "salt-password" });
 * @throws PlinthError UNSUPPORTED_PASSWORD_HASH, without the hash: with the known formats for an unknown or malformed text, and for a
 * cost that would stall sign-ins.
 */
export async function importedPasswordHash(input: ForeignPasswordHash): Promise<ImportedPasswordHash> {
  const found = readFormat(input.hash.trim()) ?? readInput(input);
  const verdict = found ? judge(found.scheme) : "malformed";
  if (!found || verdict === "malformed") throw unknown();
  if (verdict === "unaffordable")
    throw new PlinthError(
      "UNSUPPORTED_PASSWORD_HASH",
      `The cost of this ${found.scheme.name} hash is above the limit.`,
      { hint: "Import the account without a password; its user sets a new one by email." },
    );
  return asIs(found) ?? { passwordHash: await wrap(found, ARGON2), hashAlgorithm: "wrapped" };
}

/** Whether importedPasswordHash() has a stored form for a hash. */
export function isKnownPasswordHash(input: ForeignPasswordHash): boolean {
  const found = readFormat(input.hash.trim()) ?? readInput(input);
  const verdict = found && judge(found.scheme);
  return verdict !== undefined && verdict !== "malformed" && verdict !== "unaffordable";
}

/** Returns the stored form of a hash that is strong enough to be stored as it is; undefined for any other text. */
export function unwrappedPasswordHash(input: ForeignPasswordHash): ImportedPasswordHash | undefined {
  const found = readFormat(input.hash.trim()) ?? readInput(input);
  return found && asIs(found);
}

function readInput({
  hash,
  salt,
  algorithm,
  order,
  saltEncoding,
}: ForeignPasswordHash): ForeignHash | undefined {
  if (!algorithm) return undefined;
  return readSeparate({
    hash: hash.trim(),
    salt: salt ?? "",
    algorithm,
    order: order ?? undefined,
    saltEncoding: saltEncoding ?? undefined,
  });
}

/** The hash in the form that private.user_passwords has for its algorithm, if it is strong enough. */
function asIs({ scheme, digest }: ForeignHash): ImportedPasswordHash | undefined {
  const { name, cost, salt } = scheme;
  if (
    name === "argon2id" &&
    cost.v === 19 &&
    cost.m! >= MIN_ARGON2_MEMORY &&
    cost.m! * cost.t! >= MIN_ARGON2_WORK
  )
    return {
      passwordHash: `$argon2id$v=19$m=${cost.m},t=${cost.t},p=${cost.p}$${toBase64(salt)}$${toBase64(digest)}`,
      hashAlgorithm: "argon2id",
    };
  if ((name === "bcrypt" || name === "bcrypt-sha256") && cost.ln! >= MIN_BCRYPT_COST) {
    const plain = `$2b$${cost.ln}$${salt.toString("latin1")}${digest.toString("latin1")}`;
    return name === "bcrypt"
      ? { passwordHash: plain, hashAlgorithm: "bcrypt" }
      : { passwordHash: formatBcryptSha256(plain), hashAlgorithm: "bcrypt-sha256" };
  }
  return undefined;
}

function unknown(): PlinthError {
  return new PlinthError("UNSUPPORTED_PASSWORD_HASH", "This password hash has no known format.", {
    hint:
      `Known: ${FORMATS.map(({ name }) => name).join("; ")}; a hexadecimal or base64 digest with its algorithm and salt, ` +
      "and for a salted md5, sha1, sha256 or sha512 with the order of salt and password.",
  });
}
