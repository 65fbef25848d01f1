import { createRecoveryCodes } from "../../auth/recovery-code.ts";
import { type RequestContext, requireClaims } from "../../request/context.ts";
import type { SignInDependencies } from "../sign-in/dependencies.ts";

export interface RecoveryCodes {
  readonly recoveryCodes: readonly string[];
}

/** Replaces the recovery codes. The new codes are shown only once. */
export async function regenerateRecoveryCodes(
  { callPrivateFunction }: SignInDependencies,
  request: RequestContext,
): Promise<RecoveryCodes> {
  requireClaims(request);
  const { codes, hashes } = createRecoveryCodes();
  await callPrivateFunction(request, "select private.regenerate_recovery_codes($1)", [hashes]);
  return { recoveryCodes: codes };
}
