import { completeSignIn } from "./complete-sign-in.ts";
import {
  finishPasskeyRegistration,
  finishPasskeySignIn,
  startPasskeyReauthentication,
  startPasskeyRegistration,
  startPasskeySignIn,
} from "./passkeys.ts";
import { reauthenticate } from "./reauthenticate.ts";
import { regenerateRecoveryCodes } from "./recovery-codes.ts";
import { confirmTotp, startTotp } from "./totp.ts";

/**
 * Second factors: enrolment and the operations that require them. All reject with PlinthError: BAD_USER_INPUT with `field`,
 * INVALID_CREDENTIALS, UNAUTHENTICATED; or with the database's error, FORBIDDEN with a hint where a recent sign-in is
 * required.
 */
export const SECOND_FACTOR_OPERATIONS = {
  startTotp,
  confirmTotp,
  startPasskeyRegistration,
  finishPasskeyRegistration,
  startPasskeySignIn,
  finishPasskeySignIn,
  completeSignIn,
  startPasskeyReauthentication,
  reauthenticate,
  regenerateRecoveryCodes,
};
