import { type NormalEmail, normalizeEmail } from "../../auth/email-hash.ts";
import { isPasswordTooLongToRead } from "../../auth/password-policy.ts";
import { PlinthError } from "../../support/errors.ts";

/** The longest address that RFC 5321 allows, with room for surrounding characters. */
export const MAX_IDENTIFIER_LENGTH = 320;
const MAX_DEVICE_NAME_LENGTH = 100;

/**
 * Rejects text that PostgreSQL could not store.
 * @throws PlinthError BAD_USER_INPUT naming the field
 */
export function checkText(field: string, text: string | null, maxLength: number): void {
  if (text === null) return;
  if (text.length > maxLength) throw badInput(field, `may be at most ${maxLength} characters long`);
  if (text.includes("\0") || !text.isWellFormed())
    throw badInput(field, "contains a character that is not allowed");
}

/**
 * Checked here in addition to the table's constraint: an error after the password was found right would roll back the count
 * and the audit of the attempt, and reveal that it was right.
 */
export function checkDeviceName(name: string | null): void {
  checkText("deviceName", name, MAX_DEVICE_NAME_LENGTH);
  if (name !== null && (name === "" || /\p{Cc}/u.test(name)))
    throw badInput("deviceName", "may not be empty or contain control characters");
}

export function checkTypedPassword(field: string, password: string): void {
  if (isPasswordTooLongToRead(password)) throw badInput(field, "is too long");
}

/**
 * Same rule as the table's constraint. Checked here too: an error after the current password was found right would roll
 * back the count and reveal that it was right.
 * @returns the normal form
 */
export function checkEmail(field: string, address: string): NormalEmail {
  checkText(field, address, MAX_IDENTIFIER_LENGTH);
  const normal = normalizeEmail(address);
  if (normal === undefined) throw badInput(field, "is not an email address");
  return normal;
}

/** ITU-T E.164 with the plus sign, such as +4915112345678; blanks, dots and hyphens are removed. */
export function checkPhoneNumber(field: string, number: string): string {
  checkText(field, number, 40);
  const plain = number.replace(/[ .()\u00a0-]/g, "");
  if (!/^\+[1-9][0-9]{6,14}$/.test(plain))
    throw badInput(field, "must be a number with its country code, such as +4915112345678");
  return plain;
}

export function badInput(field: string, problem: string): PlinthError {
  return new PlinthError("BAD_USER_INPUT", `\`${field}\` ${problem}.`, { field });
}

/** The same error for unknown, wrong, locked and disabled. */
export function invalidCredentials(): PlinthError {
  return new PlinthError(
    "INVALID_CREDENTIALS",
    "The name or password is wrong, or sign-in is not possible now.",
  );
}

/** In privacy mode no address is stored, so none can be verified. */
export function noAddresses(): PlinthError {
  return new PlinthError("UNAVAILABLE", "This server stores no email addresses, so it cannot send email.");
}
