import { hashSecret, isSecretToken } from "../../auth/secret-token.ts";
import { PlinthError } from "../../support/errors.ts";
import { badInput, checkText } from "../sign-in/input.ts";

const MAX_NAME_LENGTH = 100;

/** @throws PlinthError BAD_USER_INPUT naming the field */
export function checkFactorName(name: string): void {
  checkText("name", name, MAX_NAME_LENGTH);
  if (name.trim() === "" || /\p{Cc}/u.test(name))
    throw badInput("name", "may not be empty or hold control characters");
}

/**
 * The six digits of a code, with or without blanks between them. Other alphabets' digits are not digits.
 * @throws PlinthError BAD_USER_INPUT for what cannot be a code: no guess, so it is not counted
 */
export function readCode(typed: string): string {
  const code = typed.length > 20 ? "" : typed.replaceAll(" ", "");
  if (!/^[0-9]{6}$/.test(code)) throw badInput("code", "must be six digits");
  return code;
}

/** @throws PlinthError INVALID_CREDENTIALS for what cannot be a challenge's token, as for one that is not known */
export function readChallengeToken(token: string): Buffer {
  if (!isSecretToken("plc_", token)) throw invalidSecondFactor();
  return hashSecret(token);
}

/** One answer for wrong, used and locked, and for a challenge that is over. */
export function invalidSecondFactor(): PlinthError {
  return new PlinthError(
    "INVALID_CREDENTIALS",
    "That is not right, was used already, or signing in is not possible now.",
    { hint: "If it goes on, sign in from the beginning." },
  );
}
