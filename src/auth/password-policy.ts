import { PlinthError } from "../support/errors.ts";
import { isCommonPassword } from "./common-passwords.ts";

/** In Unicode code points: NIST SP 800-63B-4 §3.1.1.2 for a password that is the only factor. */
const MIN_PASSWORD_LENGTH = 15;
/** The same section, where the account cannot be signed in to without a second factor. */
const MIN_PASSWORD_LENGTH_BESIDE_SECOND_FACTOR = 8;
/** In UTF-8 bytes of the normalised password. Long enough for any passphrase, short enough to hash without fear. */
const MAX_PASSWORD_BYTES = 1024;

/** A name shorter than this turns up inside unrelated words too often to be worth forbidding. */
const MIN_FORBIDDEN_NAME_LENGTH = 4;

/**
 * Normalisation Form C, as RFC 8265 §4.2 (OpaqueString) asks for passwords: "é" typed as one code point or as a
 * letter and an accent, which depends on the keyboard, is the same password.
 */
export function normalizePassword(password: string): string {
  return password.normalize("NFC");
}

/**
 * Whether to refuse a password unread, when it is typed at sign-in as well as when it is chosen. Normalising can
 * shrink a text to a third of its bytes, hence the room above the limit for chosen passwords.
 */
export function isPasswordTooLongToRead(password: string): boolean {
  return Buffer.byteLength(password) > 4 * MAX_PASSWORD_BYTES;
}

/** The account's own words, which its password may not contain; what is shorter than four characters does not count. */
export interface PasswordOwner {
  readonly username: string;
  readonly email: string | null;
  readonly displayName?: string | null;
  /** The service's name, as people know it. */
  readonly serviceName?: string;
}

export interface PasswordPolicy {
  /** Whether nobody can sign in to the account without a second factor; then 8 characters do. */
  readonly secondFactor?: boolean;
}

/**
 * Checks a password somebody chooses, following NIST SP 800-63B-4 §3.1.1.2 and OWASP ASVS 5 §6.2: length, what an
 * attacker tries first and the account's own words; no rules of composition (digits, capitals, signs).
 * @returns `sufficesAlone`: whether it is long enough for an account without a second factor
 * @throws PlinthError BAD_USER_INPUT with `field` "password".
 */
export function checkNewPassword(
  password: string,
  owner: PasswordOwner,
  { secondFactor = false }: PasswordPolicy = {},
): { sufficesAlone: boolean } {
  if (isPasswordTooLongToRead(password)) throw tooLong();
  // A lone surrogate has no UTF-8 form: all of them would hash as U+FFFD and stand for each other.
  if (!password.isWellFormed()) throw refused("The password holds a character that is not valid Unicode.");
  // Much software, crypt(3) among it, stops reading at NUL.
  if (password.includes("\0")) throw refused("The password may not hold the NUL character.");

  const normalized = normalizePassword(password);
  if (Buffer.byteLength(normalized) > MAX_PASSWORD_BYTES) throw tooLong();
  const length = codePoints(normalized);
  const minimum = secondFactor ? MIN_PASSWORD_LENGTH_BESIDE_SECOND_FACTOR : MIN_PASSWORD_LENGTH;
  if (length < minimum)
    throw refused(`The password must be at least ${minimum} characters long.`, {
      hint: "A few unrelated words make a password that is long and easy to remember.",
    });

  const searched = fold(password);
  if (ownWords(owner).some((word) => searched.includes(word)))
    throw refused(
      "The password may not contain your user name, your name, parts of your e-mail address or the name of this service.",
    );
  if (isCommonPassword(searched))
    throw refused("The password is one that many people use, or easily made from one.", {
      hint: "A few unrelated words make a password that is long and easy to remember.",
    });
  return { sufficesAlone: length >= MIN_PASSWORD_LENGTH };
}

/** Whole names and what they are put together from; of the address's domain all but the last label ("com"). */
function ownWords({ username, email, displayName, serviceName }: PasswordOwner): string[] {
  const at = email?.lastIndexOf("@") ?? -1;
  const local = email && at >= 0 ? email.slice(0, at) : (email ?? "");
  const domain = email && at >= 0 ? email.slice(at + 1) : "";
  const names = [username, local, displayName ?? "", serviceName ?? ""].map(fold);
  const parts = names.flatMap((name) => name.split(/[^\p{L}\p{M}\p{N}]+/u));
  const labels = fold(domain).split(".").slice(0, -1);
  return [...names, ...parts, ...labels].filter((word) => codePoints(word) >= MIN_FORBIDDEN_NAME_LENGTH);
}

/** For comparing only: the compatibility form makes full-width and other look-alike letters plain. */
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
