import { challengeOf, credentialIdOf, verifyPasskeyAssertion } from "../../auth/passkey.ts";
import { hashRecoveryCode } from "../../auth/recovery-code.ts";
import { createTotpSecret, findTotpStep } from "../../auth/totp.ts";
import type { RequestContext } from "../../request/context.ts";
import type { SignInDependencies } from "../sign-in/dependencies.ts";
import { badInput } from "../sign-in/input.ts";
import { invalidSecondFactor, readCode } from "./input.ts";
import { unsealTotpSecret } from "./totp-secret.ts";

/** The input of private.accept_second_factor: the given factor, checked as far as possible without a lock. */
export type Proof =
  | { readonly method: "totp"; readonly factor_id: string | null; readonly step: number | null }
  | { readonly method: "recovery_code"; readonly code_hash: string }
  | {
      readonly method: "passkey";
      readonly factor_id: string;
      readonly verified: boolean;
      readonly sign_count: number | null;
      readonly backed_up: boolean | null;
    };

/** Exactly one of these. */
export interface SecondFactorInput {
  readonly code?: string | null;
  readonly recoveryCode?: string | null;
  /** `PublicKeyCredential.toJSON()` */
  readonly passkeyResponse?: unknown;
}

/** The purpose of a passkey challenge, see private.passkey_challenges. */
export type PasskeyPurpose = "sign_in" | "second_factor" | "reauthenticate";

export function countGiven(values: readonly unknown[]): number {
  return values.filter((value) => value !== null && value !== undefined).length;
}

/**
 * Checks the given second factor.
 * @throws PlinthError BAD_USER_INPUT for none, several or a malformed one; INVALID_CREDENTIALS for a passkey without a
 *   challenge or of another account
 */
export async function proveSecondFactor(
  dependencies: SignInDependencies,
  request: RequestContext,
  userId: string,
  purpose: Exclude<PasskeyPurpose, "sign_in">,
  { code, recoveryCode, passkeyResponse }: SecondFactorInput,
): Promise<Proof> {
  if (countGiven([code, recoveryCode, passkeyResponse]) !== 1)
    throw badInput("code", "or `recoveryCode` or `passkeyResponse` must be given, and only one of them");
  if (code != null) return proveTotp(dependencies, request, userId, readCode(code));
  if (recoveryCode != null) return proveRecoveryCode(recoveryCode);
  const field = "passkeyResponse";
  const shown = await provePasskey(dependencies, request, {
    field,
    response: passkeyResponse,
    purpose,
    userId,
  });
  if (shown?.userId !== userId) throw invalidSecondFactor();
  return shown.proof;
}

async function proveTotp(
  { callPrivateFunction, sealer }: SignInDependencies,
  request: RequestContext,
  userId: string,
  code: string,
): Promise<Proof> {
  const rows = await callPrivateFunction<{ factor_id: string; sealed_secret: string }>(
    request,
    "select factor_id, sealed_secret from private.find_totp_secrets($1)",
    [userId],
  );
  // The work is the same for an account without an authenticator app.
  if (rows.length === 0) findTotpStep(createTotpSecret(), code, Date.now());
  let proof: Proof = { method: "totp", factor_id: null, step: null };
  for (const { factor_id, sealed_secret } of rows) {
    const step = findTotpStep(unsealTotpSecret(sealer, userId, sealed_secret), code, Date.now());
    if (step !== null) proof = { method: "totp", factor_id, step };
  }
  return proof;
}

function proveRecoveryCode(typed: string): Proof {
  const hash = typed.length > 100 ? undefined : hashRecoveryCode(typed);
  if (!hash) throw badInput("recoveryCode", "must be six groups of four letters and digits");
  return { method: "recovery_code", code_hash: hash.toString("hex") };
}

/**
 * Consumes the challenge that the response answers, then checks the response.
 * @returns the passkey's owner and the proof; undefined for an unknown challenge or passkey
 */
export async function provePasskey(
  { callPrivateFunction, relyingParty }: SignInDependencies,
  request: RequestContext,
  given: {
    /** Its name in the input. */
    readonly field: string;
    readonly response: unknown;
    readonly purpose: PasskeyPurpose;
    readonly userId: string | null;
  },
): Promise<{ readonly userId: string; readonly proof: Proof } | undefined> {
  const { field, response, purpose, userId } = given;
  const challenge = challengeOf(response);
  const credentialId = credentialIdOf(response);
  if (!challenge || !credentialId) throw badInput(field, "is not a valid authenticator response");
  const [taken] = await callPrivateFunction<{ is_ours: boolean }>(
    request,
    "select private.take_passkey_challenge($1, $2, $3) as is_ours",
    [challenge, purpose, userId],
  );
  if (!taken?.is_ours) return undefined;
  const [passkey] = await callPrivateFunction<{
    user_id: string;
    factor_id: string;
    public_key: Buffer;
    backup_eligible: boolean;
  }>(request, "select user_id, factor_id, public_key, backup_eligible from private.find_passkey($1)", [
    credentialId,
  ]);
  if (!passkey) return undefined;
  const verified = await verifyPasskeyAssertion(relyingParty, response, {
    challenge,
    credentialId,
    publicKey: passkey.public_key,
    isBackupEligible: passkey.backup_eligible,
    userId: passkey.user_id,
    // Alone, a passkey must verify its user; after a password, possession is enough.
    requireUserVerification: purpose === "sign_in",
    requireUserHandle: purpose === "sign_in",
  });
  return {
    userId: passkey.user_id,
    proof: {
      method: "passkey",
      factor_id: passkey.factor_id,
      verified: verified !== undefined,
      sign_count: verified?.signCount ?? null,
      backed_up: verified?.isBackedUp ?? null,
    },
  };
}
