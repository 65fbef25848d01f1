import { PlinthError } from "../support/errors.ts";
import { isCommonPassword } from "./common-passwords.ts";

/** In Unicode code points: NIST SP 800-63B-4 §3.1.1.2 for a password that is the only factor. */
const MIN_PASSWORD_LENGTH = 15;
/** The same section, for accounts that require a second factor. */
const MIN_PASSWORD_LENGTH_BESIDE_SECOND_FACTOR = 8;
/** In UTF-8 bytes of the normalized password. Long enough for any passphrase, short enough to hash safely. */
const MAX_PASSWORD_BYTES = 1024;

/** Shorter names occur in unrelated words too often to be forbidden. */
const MIN_FORBIDDEN_NAME_LENGTH = 4;

/**
 * Normalization Form C, as RFC 8265 §4.2 (OpaqueString) requires for passwords: "é" is the same password whether the
 * keyboard sends one code point or a letter and an accent.
 */
export function normalizePassword(password: string): string {
  return password.normalize("NFC");
}

/**
 * Whether to reject a password unread, at sign-in as well as when it is chosen. Normalizing can shrink a text to a third of
 * its bytes, hence the margin above the limit for chosen passwords.
 */
export function isPasswordTooLongToRead(password: string): boolean {
  return Buffer.byteLength(password) > 4 * MAX_PASSWORD_BYTES;
}

/** The account's own words, which its password may not contain; words shorter than four characters are ignored. */
export interface PasswordOwner {
  readonly username: string;
  readonly email: string | null;
  readonly displayName?: string | null;
  /** The service's name, as users know it. */
  readonly serviceName?: string;
}

export interface PasswordPolicy {
  /** Whether the account requires a second factor; then 8 characters suffice. */
  readonly secondFactor?: boolean;
}

/**
 * Checks a newly chosen password, following NIST SP 800-63B-4 §3.1.1.2 and OWASP ASVS 5 §6.2: length, common passwords and
 * the account's own words; no composition rules (digits, capitals, symbols).
 * @returns `sufficesAlone`: whether it is long enough for an account without a second factor
 * @throws PlinthError BAD_USER_INPUT with `field` "password".
 */
export function checkNewPassword(
  password: string,
  owner: PasswordOwner,
  { secondFactor = false }: PasswordPolicy = {},
): { sufficesAlone: boolean } {
  if (isPasswordTooLongToRead(password)) throw tooLong();
  // Lone surrogates have no UTF-8 form: all would hash as U+FFFD and be interchangeable.
  if (!password.isWellFormed()) throw refused("The password contains a character that is not valid Unicode.");
  // Much software, crypt(3) among it, stops reading at NUL.
  if (password.includes("\0")) throw refused("The password may not contain the NUL character.");

  const normalized = normalizePassword(password);
  if (Buffer.byteLength(normalized) > MAX_PASSWORD_BYTES) throw tooLong();
  const length = codePoints(normalized);
  const minimum = secondFactor ? MIN_PASSWORD_LENGTH_BESIDE_SECOND_FACTOR : MIN_PASSWORD_LENGTH;
  if (length < minimum)
    throw refused(`The password must be at least ${minimum} characters long.`, {
      hint: "Use a few unrelated words: they are long and easy to remember.",
    });

  const searched = fold(password);
  if (ownWords(owner).some((word) => searched.includes(word)))
    throw refused(
      "The password may not contain your username, your name, parts of your email address or the name of this service.",
    );
  if (isCommonPassword(searched))
    throw refused("The password is a common one, or too similar to one.", {
      hint: "Use a few unrelated words: they are long and easy to remember.",
    });
  return { sufficesAlone: length >= MIN_PASSWORD_LENGTH };
}

/** Returns whole names and their parts; for the address's domain, all labels except the last ("com"). */
function ownWords({ username, email, displayName, serviceName }: PasswordOwner): string[] {
  const at = email?.lastIndexOf("@") ?? -1;
  const local = email && at >= 0 ? email.slice(0, at) : (email ?? "");
  const domain = email && at >= 0 ? email.slice(at + 1) : "";
  const names = [username, local, displayName ?? "", serviceName ?? ""].map(fold);
  const parts = names.flatMap((name) => name.split(/[^\p{L}\p{M}\p{N}]+/u));
  const labels = fold(domain).split(".").slice(0, -1);
  return [...names, ...parts, ...labels].filter((word) => codePoints(word) >= MIN_FORBIDDEN_NAME_LENGTH);
}

/** For comparison only: the compatibility form unifies full-width and other look-alike letters. */
function fold(text: string): string {
  return text.normalize("NFKC").toLowerCase();
}

function codePoints(text: string): number {
  return [...text].length;
}

function tooLong(): PlinthError {
  return refused(`The password may be at most ${MAX_PASSWORD_BYTES} bytes long.`);
}

function refused(message: string, options: { hint?: string } = {}): PlinthError {
  return new PlinthError("BAD_USER_INPUT", message, { ...options, field: "password" });
}
