import { PlinthError } from "../errors.ts";

/** In Unicode code points: NIST SP 800-63B-4 §3.1.1.2 for a password that is the only factor. */
export const MIN_PASSWORD_LENGTH = 15;
/** In UTF-8 bytes of the normalised password. Long enough for any passphrase, short enough to hash without fear. */
export const MAX_PASSWORD_BYTES = 1024;

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

/**
 * Checks a password somebody chooses, following NIST SP 800-63B-4 §3.1.1.2: length and what an attacker tries first,
 * no rules of composition (digits, capitals, signs).
 * @throws PlinthError BAD_USER_INPUT with `field` "password".
 */
export function checkNewPassword(password: string, owner: { username: string; email: string }): void {
  if (isPasswordTooLongToRead(password)) throw tooLong();
  // A lone surrogate has no UTF-8 form: all of them would hash as U+FFFD and stand for each other.
  if (!password.isWellFormed()) throw refused("The password holds a character that is not valid Unicode.");
  // Much software, crypt(3) among it, stops reading at NUL.
  if (password.includes("\0")) throw refused("The password may not hold the NUL character.");

  const normalized = normalizePassword(password);
  if (Buffer.byteLength(normalized) > MAX_PASSWORD_BYTES) throw tooLong();
  if (codePoints(normalized) < MIN_PASSWORD_LENGTH)
    throw refused(`The password must be at least ${MIN_PASSWORD_LENGTH} characters long.`, {
      hint: "A few unrelated words make a password that is long and easy to remember.",
    });

  const searched = fold(password);
  if (names(owner).some((name) => searched.includes(name)))
    throw refused("The password may not contain your user name or the first part of your e-mail address.");
}

function names({ username, email }: { username: string; email: string }): string[] {
  const at = email.lastIndexOf("@");
  return [username, at < 0 ? email : email.slice(0, at)]
    .map(fold)
    .filter((name) => codePoints(name) >= MIN_FORBIDDEN_NAME_LENGTH);
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
