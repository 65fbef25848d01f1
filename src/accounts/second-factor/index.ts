import type { RequestContext } from "../../request/context.ts";
import type { Credentials } from "../sign-in/credentials.ts";
import type { SignInDependencies } from "../sign-in/dependencies.ts";
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
 * Second factors: enrolment and the operations that require them. All reject with PlinthError: BAD_USER_INPUT with `field`,
 * INVALID_CREDENTIALS, UNAUTHENTICATED; or with the database's error, FORBIDDEN with a hint where a recent sign-in is
 * required.
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

export function createSecondFactors(dependencies: SignInDependencies): SecondFactors {
  return {
    startTotp: (input, request) => startTotp(dependencies, input, request),
    confirmTotp: (input, request) => confirmTotp(dependencies, input, request),
    startPasskeyRegistration: (input, request) => startPasskeyRegistration(dependencies, input, request),
    finishPasskeyRegistration: (input, request) => finishPasskeyRegistration(dependencies, input, request),
    startPasskeySignIn: (input, request) => startPasskeySignIn(dependencies, input, request),
    finishPasskeySignIn: (input, request) => finishPasskeySignIn(dependencies, input, request),
    completeSignIn: (input, request) => completeSignIn(dependencies, input, request),
    startPasskeyReauthentication: (request) => startPasskeyReauthentication(dependencies, request),
    reauthenticate: (input, request) => reauthenticate(dependencies, input, request),
    regenerateRecoveryCodes: (request) => regenerateRecoveryCodes(dependencies, request),
  };
}
