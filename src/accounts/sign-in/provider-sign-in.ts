import { storedEmail } from "../../auth/stored-email.ts";
import type { RequestContext } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import { type CompletedSignIn, createSignInTokens, type SignInResult } from "./credentials.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { checkDeviceName } from "./input.ts";
import {
  answerFlow,
  type FinishProviderInput,
  keptProfile,
  refused,
  type StartedProviderFlow,
  type StartProviderInput,
  startFlow,
} from "./provider-flow.ts";

/** A row of private.finish_provider_sign_in. */
type Finished =
  | (CompletedSignIn & { readonly outcome: "accepted" })
  | { readonly outcome: "refused" | "not_registered" | "address_taken" };

/** Starts a sign-in at another provider. */
export async function startProviderSignIn(
  dependencies: SignInDependencies,
  input: StartProviderInput,
  request: RequestContext,
): Promise<StartedProviderFlow> {
  checkDeviceName(input.deviceName ?? null);
  return startFlow(dependencies, "sign_in", input, request);
}

/** Signs in the user that the provider confirmed; returns a challenge when the account has a second factor. */
export async function finishProviderSignIn(
  dependencies: SignInDependencies,
  input: FinishProviderInput,
  request: RequestContext,
): Promise<SignInResult> {
  const { id, provider, answer, sealed } = await answerFlow(dependencies, "sign_in", input, request);
  const { account } = answer;
  const profile = keptProfile(dependencies, account);
  const isProven = provider.settings.trustsEmail && account.emailVerified;
  const verified = await storedEmail(dependencies, isProven ? (account.email ?? null) : null);
  const tokens = createSignInTokens();
  const [finished] = await dependencies.callPrivateFunction<Finished>(
    request,
    "select * from private.finish_provider_sign_in($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
    [
      id,
      account.subject,
      profile.email,
      profile.emailVerified,
      profile.userInfo,
      sealed.accessToken,
      sealed.refreshToken,
      answer.expiresAt ?? null,
      provider.settings.mayRegister,
      verified.email,
      verified.hash,
      tokens.refresh.hash,
      tokens.challenge.hash,
    ],
  );
  switch (finished?.outcome) {
    case "accepted":
      return dependencies.make.result(finished, tokens);
    case "not_registered":
      throw new PlinthError("FORBIDDEN", "No account is linked to this provider account.", {
        hint: "Sign in to your account and link the provider to it.",
      });
    // Reported only after a trusted provider confirmed the caller's address; its owner could learn as much from an email.
    // Other errors reveal nothing about other accounts.
    case "address_taken":
      throw new PlinthError("CONFLICT", "An account with your verified address exists.", {
        hint: "Sign in to that account and link the provider to it.",
      });
    default:
      throw refused();
  }
}
