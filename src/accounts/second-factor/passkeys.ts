import { randomBytes } from "node:crypto";
import {
  challengeOf,
  type PasskeyHint,
  passkeyCreationOptions,
  passkeyRequestOptions,
  verifyPasskeyRegistration,
} from "../../auth/passkey.ts";
import { createRecoveryCodes } from "../../auth/recovery-code.ts";
import { createRefreshToken } from "../../auth/refresh-token.ts";
import { type RequestContext, requireClaims } from "../../request/context.ts";
import type { Credentials, OpenedSession } from "../sign-in/credentials.ts";
import type { SignInDependencies } from "../sign-in/dependencies.ts";
import { badInput, checkDeviceName } from "../sign-in/input.ts";
import { checkFactorName, invalidSecondFactor, readChallengeToken } from "./input.ts";
import { provePasskey } from "./proof.ts";
import type { AddedFactor } from "./totp.ts";

/** Options for the browser, as JSON. */
export interface PasskeyOptions {
  readonly options: object;
}

export interface StartPasskeyRegistrationInput {
  readonly passwordless?: boolean | null;
}

export interface FinishPasskeyRegistrationInput {
  /** `PublicKeyCredential.toJSON()` */
  readonly response: unknown;
  readonly name?: string | null;
}

export interface StartPasskeySignInInput {
  readonly challengeToken?: string | null;
}

export interface FinishPasskeySignInInput {
  readonly response: unknown;
  readonly deviceName?: string | null;
}

/** 256 bits; WebAuthn Level 3 §13.4.3 requires at least 128. */
const createChallenge = () => randomBytes(32);

/** Starts registering a passkey; returns the options for the browser. */
export async function startPasskeyRegistration(
  { callPrivateFunction, relyingParty }: SignInDependencies,
  { passwordless }: StartPasskeyRegistrationInput,
  request: RequestContext,
): Promise<PasskeyOptions> {
  requireClaims(request);
  const challenge = createChallenge();
  const [started] = await callPrivateFunction<{ user_id: string; username: string; passkeys: PasskeyHint[] }>(
    request,
    "select user_id, username, passkeys from private.start_passkey_registration($1)",
    [challenge],
  );
  const { user_id: userId, username, passkeys: exclude } = started!;
  const options = await passkeyCreationOptions(relyingParty, {
    ...{ challenge, userId, username, exclude },
    passwordless: passwordless ?? false,
  });
  return { options };
}

/** Verifies the browser's response and adds the passkey to the account. */
export async function finishPasskeyRegistration(
  { callPrivateFunction, relyingParty }: SignInDependencies,
  { response, name }: FinishPasskeyRegistrationInput,
  request: RequestContext,
): Promise<AddedFactor> {
  const { userId } = requireClaims(request);
  const label = name ?? "Passkey";
  checkFactorName(label);
  const challenge = challengeOf(response);
  const [taken] = challenge
    ? await callPrivateFunction<{ is_ours: boolean }>(
        request,
        "select private.take_passkey_challenge($1, 'register', $2) as is_ours",
        [challenge, userId],
      )
    : [];
  const passkey =
    challenge && taken?.is_ours
      ? await verifyPasskeyRegistration(relyingParty, response, challenge)
      : undefined;
  if (!passkey) throw badInput("response", "does not match the registration request");
  const { codes, hashes } = createRecoveryCodes();
  const [added] = await callPrivateFunction<{ factor_id: string; codes_were_stored: boolean }>(
    request,
    `select factor_id, codes_were_stored
     from private.finish_passkey_registration($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [
      label,
      passkey.credentialId,
      passkey.publicKey,
      passkey.signCount,
      passkey.transports,
      passkey.isBackupEligible,
      passkey.isBackedUp,
      passkey.aaguid,
      hashes,
    ],
  );
  return { factorId: added!.factor_id, recoveryCodes: added!.codes_were_stored ? codes : null };
}

/** Without a challenge's token: for a sign-in with only a passkey, which must verify its user. */
export async function startPasskeySignIn(
  { callPrivateFunction, relyingParty }: SignInDependencies,
  { challengeToken }: StartPasskeySignInInput,
  request: RequestContext,
): Promise<PasskeyOptions> {
  const challenge = createChallenge();
  const [started] = await callPrivateFunction<{ passkeys: PasskeyHint[] | null }>(
    request,
    "select private.start_passkey_sign_in($1, $2) as passkeys",
    [challenge, challengeToken == null ? null : readChallengeToken(challengeToken)],
  );
  if (!started?.passkeys) throw invalidSecondFactor();
  const userVerification = challengeToken == null ? "required" : "preferred";
  return {
    options: await passkeyRequestOptions(relyingParty, {
      ...{ challenge, userVerification },
      allow: started.passkeys,
    }),
  };
}

/** Starts confirming the owner of a session with a passkey; `reauthenticate` takes the response. */
export async function startPasskeyReauthentication(
  { callPrivateFunction, relyingParty }: SignInDependencies,
  request: RequestContext,
): Promise<PasskeyOptions> {
  requireClaims(request);
  const challenge = createChallenge();
  const [started] = await callPrivateFunction<{ passkeys: PasskeyHint[] }>(
    request,
    "select private.start_passkey_reauthentication($1) as passkeys",
    [challenge],
  );
  const options = await passkeyRequestOptions(relyingParty, {
    ...{ challenge, allow: started!.passkeys },
    userVerification: "preferred",
  });
  return { options };
}

/** Signs in with only a passkey. The same error for unknown, wrong, cloned, locked and disabled. */
export async function finishPasskeySignIn(
  dependencies: SignInDependencies,
  { response, deviceName = null }: FinishPasskeySignInInput,
  request: RequestContext,
): Promise<Credentials> {
  checkDeviceName(deviceName);
  const shown = await provePasskey(dependencies, request, {
    ...{ field: "response", response, purpose: "sign_in", userId: null },
  });
  const refresh = createRefreshToken();
  const [session] = await dependencies.callPrivateFunction<OpenedSession>(
    request,
    `select $1::uuid as user_id, session_id, token_version, refresh_expires_at
     from private.finish_passkey_sign_in($1, $2, $3, $4)`,
    [shown?.userId ?? null, shown ? JSON.stringify(shown.proof) : null, refresh.hash, deviceName],
  );
  if (!session) throw invalidSecondFactor();
  return dependencies.make.credentials(session, refresh.token);
}
