import { type RequestContext, requireClaims } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import type { SignInDependencies } from "./dependencies.ts";
import {
  answerFlow,
  type FinishProviderInput,
  keptProfile,
  type LinkedProfile,
  refused,
  type StartedProviderFlow,
  type StartProviderInput,
  startFlow,
} from "./provider-flow.ts";

interface Finished {
  readonly outcome: "linked" | "refused" | "belongs_to_another" | "has_another";
  readonly profile_id: string;
}

/** Starts linking a provider to the signed-in account. For the requirements see private.check_provider_change. */
export async function startProviderLink(
  dependencies: SignInDependencies,
  { provider, redirectUri }: StartProviderInput,
  request: RequestContext,
): Promise<StartedProviderFlow> {
  requireClaims(request);
  return startFlow(dependencies, "link", { provider, redirectUri: redirectUri ?? null }, request);
}

/** Links the provider's account to the signed-in one; only in the session that started. */
export async function finishProviderLink(
  dependencies: SignInDependencies,
  input: FinishProviderInput,
  request: RequestContext,
): Promise<LinkedProfile> {
  requireClaims(request);
  const { id, answer, sealed } = await answerFlow(dependencies, "link", input, request);
  const profile = keptProfile(dependencies, answer.account);
  const [finished] = await dependencies.callPrivateFunction<Finished>(
    request,
    "select outcome, profile_id from private.finish_provider_link($1, $2, $3, $4, $5, $6, $7, $8)",
    [
      id,
      answer.account.subject,
      profile.email,
      profile.emailVerified,
      profile.userInfo,
      sealed.accessToken,
      sealed.refreshToken,
      answer.expiresAt ?? null,
    ],
  );
  switch (finished?.outcome) {
    case "linked":
      return { profileId: finished.profile_id };
    case "belongs_to_another":
      throw new PlinthError("CONFLICT", "The provider account is already linked to another account.");
    case "has_another":
      throw new PlinthError(
        "CONFLICT",
        "Your account is already linked to another account at this provider.",
        {
          hint: "Unlink that account first.",
        },
      );
    default:
      throw refused();
  }
}
