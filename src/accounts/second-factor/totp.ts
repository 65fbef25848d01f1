import { createRecoveryCodes } from "../../auth/recovery-code.ts";
import { createTotpSecret, findTotpStep, totpSecretText, totpUri } from "../../auth/totp.ts";
import { type RequestContext, requireClaims } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import type { SignInDependencies } from "../sign-in/dependencies.ts";
import { checkFactorName, readCode } from "./input.ts";
import { sealTotpSecret, unsealTotpSecret } from "./totp-secret.ts";

export interface StartTotpInput {
  readonly name?: string | null;
}

/** A pending enrolment. The secret is shown only once. */
export interface TotpEnrolment {
  readonly factorId: string;
  readonly secret: string;
  readonly uri: string;
}

export interface ConfirmTotpInput {
  readonly factorId: string;
  readonly code: string;
}

/** An active factor. */
export interface AddedFactor {
  readonly factorId: string;
  /** With an account's first factor only; shown only once. */
  readonly recoveryCodes: readonly string[] | null;
}

/** Starts enrolling an authenticator app; sign-ins do not change until it is confirmed. */
export async function startTotp(
  { callPrivateFunction, sealer, relyingParty }: SignInDependencies,
  { name }: StartTotpInput,
  request: RequestContext,
): Promise<TotpEnrolment> {
  const { userId } = requireClaims(request);
  const label = name ?? "Authenticator app";
  checkFactorName(label);
  const secret = createTotpSecret();
  const [started] = await callPrivateFunction<{ factor_id: string; username: string }>(
    request,
    "select factor_id, username from private.start_totp($1, $2)",
    [label, sealTotpSecret(sealer, userId, secret)],
  );
  const { factor_id: factorId, username } = started!;
  const uri = totpUri(secret, { issuer: relyingParty.name, account: username });
  return { factorId, secret: totpSecretText(secret), uri };
}

/** Completes the enrolment with a code from the app. */
export async function confirmTotp(
  { callPrivateFunction, sealer }: SignInDependencies,
  { factorId, code: typed }: ConfirmTotpInput,
  request: RequestContext,
): Promise<AddedFactor> {
  const { userId } = requireClaims(request);
  const code = readCode(typed);
  const [found] = await callPrivateFunction<{ sealed_secret: string | null }>(
    request,
    "select private.find_unconfirmed_totp($1) as sealed_secret",
    [factorId],
  );
  if (!found?.sealed_secret)
    throw new PlinthError("NOT_FOUND", "No pending enrolment found. Start it again.");
  const step = findTotpStep(unsealTotpSecret(sealer, userId, found.sealed_secret), code, Date.now());
  const { codes, hashes } = createRecoveryCodes();
  const [confirmed] = await callPrivateFunction<{ codes_were_stored: boolean }>(
    request,
    "select private.confirm_totp($1, $2, $3) as codes_were_stored",
    [factorId, step, hashes],
  );
  return { factorId, recoveryCodes: confirmed!.codes_were_stored ? codes : null };
}
