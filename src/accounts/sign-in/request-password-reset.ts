import { createSecretToken } from "../../auth/secret-token.ts";
import type { RequestContext } from "../../request/context.ts";
import { endOfPeriod } from "../../support/answer-time.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { lookUp } from "./email.ts";
import { adoptIfImported } from "./imported-email.ts";
import { checkText, MAX_IDENTIFIER_LENGTH } from "./input.ts";

export interface RequestPasswordResetInput {
  /** Username or email address. */
  readonly identifier: string;
}

/**
 * Time of the response, longer than the work usually takes, so that timing does not reveal whether an account exists
 * (OWASP ASVS 5, 6.3.8). A slower response takes a multiple of it.
 */
const ANSWER_AFTER_MS = 300;

/** Sends a link to set a new password if the account exists, without revealing whether it does. */
export async function requestPasswordReset(
  dependencies: SignInDependencies,
  { identifier }: RequestPasswordResetInput,
  request: RequestContext,
): Promise<void> {
  const { callPrivateFunction, attemptLimits, sealer } = dependencies;
  checkText("identifier", identifier, MAX_IDENTIFIER_LENGTH);
  await attemptLimits.perAddress("password_reset_per_address", request);
  const startedAt = performance.now();
  // In privacy mode nothing is sent: the account has no stored address to send email to.
  const { identifier: known, address } = await lookUp(dependencies, identifier);
  if (address !== null) await adoptIfImported(dependencies, address, request);
  const { token, hash } = createSecretToken("plp_");
  await callPrivateFunction(request, "select private.request_password_reset($1, $2, $3)", [
    known,
    hash,
    sealer.seal("mail token", token),
  ]);
  await endOfPeriod(startedAt, ANSWER_AFTER_MS);
}
