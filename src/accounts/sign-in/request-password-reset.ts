import { setTimeout as sleep } from "node:timers/promises";
import { createSecretToken } from "../../auth/secret-token.ts";
import type { RequestContext } from "../../request/context.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { lookUp } from "./email.ts";
import { checkText, MAX_IDENTIFIER_LENGTH } from "./input.ts";

export interface RequestPasswordResetInput {
  /** Username or e-mail address. */
  readonly identifier: string;
}

/**
 * When the answer is given: later than the work takes in any case, so that its length does not tell an account from
 * none (OWASP ASVS 5, 6.3.8).
 */
const ANSWER_AFTER_MS = 300;

/** Sends a link to set a new password, if there is such an account; says nothing of that. */
export async function requestPasswordReset(
  dependencies: SignInDependencies,
  { identifier }: RequestPasswordResetInput,
  request: RequestContext,
): Promise<void> {
  const { callPrivateFunction, attemptLimits, sealer } = dependencies;
  checkText("identifier", identifier, MAX_IDENTIFIER_LENGTH);
  await attemptLimits.perAddress("password_reset_per_address", request);
  const startedAt = performance.now();
  // In privacy mode the address stays here: the account has none that mail could go to.
  const { identifier: known } = await lookUp(dependencies, identifier);
  const { token, hash } = createSecretToken("plp_");
  await callPrivateFunction(request, "select private.request_password_reset($1, $2, $3)", [
    known,
    hash,
    sealer.seal("mail token", token),
  ]);
  await sleep(Math.max(0, startedAt + ANSWER_AFTER_MS - performance.now()));
}
