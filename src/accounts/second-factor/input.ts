import { hashSecret, isSecretToken } from "../../auth/secret-token.ts";
import { PlinthError } from "../../support/errors.ts";
import { badInput, checkText } from "../sign-in/input.ts";

const MAX_NAME_LENGTH = 100;

/** @throws PlinthError BAD_USER_INPUT naming the field */
export function checkFactorName(name: string): void {
  checkText("name", name, MAX_NAME_LENGTH);
  if (name.trim() === "" || /\p{Cc}/u.test(name))
    throw badInput("name", "may not be empty or contain control characters");
}

/**
 * Returns the six digits of a code, with or without blanks between them. Only ASCII digits count.
 * @throws PlinthError BAD_USER_INPUT for a malformed code, which is not counted as a guess
 */
export function readCode(typed: string): string {
  const code = typed.length > 20 ? "" : typed.replaceAll(" ", "");
  if (!/^[0-9]{6}$/.test(code)) throw badInput("code", "must be six digits");
  return code;
}

/** @throws PlinthError INVALID_CREDENTIALS for a malformed token, as for an unknown one */
export function readChallengeToken(token: string): Buffer {
  if (!isSecretToken("plc_", token)) throw invalidSecondFactor();
  return hashSecret(token);
}

/** The same error for wrong, used and locked factors, and for an expired challenge. */
export function invalidSecondFactor(): PlinthError {
  return new PlinthError(
    "INVALID_CREDENTIALS",
    "The second factor is wrong or already used, or sign-in is not possible now.",
    { hint: "If the problem persists, start the sign-in again." },
  );
}
