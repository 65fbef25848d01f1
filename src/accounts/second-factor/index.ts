import type { RequestContext } from "../../request/context.ts";
import type { Credentials } from "../sign-in/credentials.ts";
import type { SignInTools } from "../sign-in/tools.ts";
import { type CompleteSignInInput, completeSignIn } from "./complete-sign-in.ts";
import {
  type FinishPasskeyRegistrationInput,
  type FinishPasskeySignInInput,
  finishPasskeyRegistration,
  finishPasskeySignIn,
  type PasskeyOptions,
  type StartPasskeyRegistrationInput,
  type StartPasskeySignInInput,
  startPasskeyReauthentication,
  startPasskeyRegistration,
  startPasskeySignIn,
} from "./passkeys.ts";
import { type ReauthenticateInput, type Reauthentication, reauthenticate } from "./reauthenticate.ts";
import { type RecoveryCodes, regenerateRecoveryCodes } from "./recovery-codes.ts";
import {
  type AddedFactor,
  type ConfirmTotpInput,
  confirmTotp,
  type StartTotpInput,
  startTotp,
  type TotpEnrolment,
} from "./totp.ts";

/**
 * Second factors: enrolling them, and what asks for them. All reject with PlinthError: BAD_USER_INPUT with `field`,
 * INVALID_CREDENTIALS, UNAUTHENTICATED; or with the database's error, FORBIDDEN with a hint where a recent sign-in is
 * needed.
 */
export interface SecondFactors {
  startTotp(input: StartTotpInput, request: RequestContext): Promise<TotpEnrolment>;
  confirmTotp(input: ConfirmTotpInput, request: RequestContext): Promise<AddedFactor>;
  startPasskeyRegistration(
    input: StartPasskeyRegistrationInput,
    request: RequestContext,
  ): Promise<PasskeyOptions>;
  finishPasskeyRegistration(
    input: FinishPasskeyRegistrationInput,
    request: RequestContext,
  ): Promise<AddedFactor>;
  startPasskeySignIn(input: StartPasskeySignInInput, request: RequestContext): Promise<PasskeyOptions>;
  finishPasskeySignIn(input: FinishPasskeySignInInput, request: RequestContext): Promise<Credentials>;
  completeSignIn(input: CompleteSignInInput, request: RequestContext): Promise<Credentials>;
  startPasskeyReauthentication(request: RequestContext): Promise<PasskeyOptions>;
  reauthenticate(input: ReauthenticateInput, request: RequestContext): Promise<Reauthentication>;
  regenerateRecoveryCodes(request: RequestContext): Promise<RecoveryCodes>;
}

export function createSecondFactors(tools: SignInTools): SecondFactors {
  return {
    startTotp: (input, request) => startTotp(tools, input, request),
    confirmTotp: (input, request) => confirmTotp(tools, input, request),
    startPasskeyRegistration: (input, request) => startPasskeyRegistration(tools, input, request),
    finishPasskeyRegistration: (input, request) => finishPasskeyRegistration(tools, input, request),
    startPasskeySignIn: (input, request) => startPasskeySignIn(tools, input, request),
    finishPasskeySignIn: (input, request) => finishPasskeySignIn(tools, input, request),
    completeSignIn: (input, request) => completeSignIn(tools, input, request),
    startPasskeyReauthentication: (request) => startPasskeyReauthentication(tools, request),
    reauthenticate: (input, request) => reauthenticate(tools, input, request),
    regenerateRecoveryCodes: (request) => regenerateRecoveryCodes(tools, request),
  };
}
