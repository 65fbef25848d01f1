import { createRecoveryCodes } from "../../auth/recovery-code.ts";
import { type RequestContext, requireClaims } from "../../request/context.ts";
import type { SignInTools } from "../sign-in/tools.ts";

export interface RecoveryCodes {
  readonly recoveryCodes: readonly string[];
}

/** New codes, shown this once, in place of those of before. */
export async function regenerateRecoveryCodes(
  { callService }: SignInTools,
  request: RequestContext,
): Promise<RecoveryCodes> {
  requireClaims(request);
  const { codes, hashes } = createRecoveryCodes();
  await callService(request, "select private.regenerate_recovery_codes($1)", [hashes]);
  return { recoveryCodes: codes };
}
