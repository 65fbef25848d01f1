import { createRefreshToken } from "../../auth/refresh-token.ts";
import type { RequestContext } from "../../request/context.ts";
import type { Credentials, OpenedSession } from "../sign-in/credentials.ts";
import type { SignInDependencies } from "../sign-in/dependencies.ts";
import { checkDeviceName } from "../sign-in/input.ts";
import { invalidSecondFactor, readChallengeToken } from "./input.ts";
import { proveSecondFactor, type SecondFactorInput } from "./proof.ts";

export interface CompleteSignInInput extends SecondFactorInput {
  readonly challengeToken: string;
  readonly deviceName?: string | null;
}

/** The second half of a sign-in. The token only proves that the first half succeeded. */
export async function completeSignIn(
  dependencies: SignInDependencies,
  { challengeToken, deviceName = null, ...shown }: CompleteSignInInput,
  request: RequestContext,
): Promise<Credentials> {
  checkDeviceName(deviceName);
  const tokenHash = readChallengeToken(challengeToken);
  const [found] = await dependencies.callPrivateFunction<{ user_id: string | null }>(
    request,
    "select private.find_sign_in_challenge($1) as user_id",
    [tokenHash],
  );
  if (!found?.user_id) throw invalidSecondFactor();
  const proof = await proveSecondFactor(dependencies, request, found.user_id, "second_factor", shown);
  const refresh = createRefreshToken();
  const [session] = await dependencies.callPrivateFunction<OpenedSession>(
    request,
    `select user_id, session_id, token_version, refresh_expires_at
     from private.finish_sign_in($1, $2, $3, $4)`,
    [tokenHash, JSON.stringify(proof), refresh.hash, deviceName],
  );
  if (!session) throw invalidSecondFactor();
  return dependencies.make.credentials(session, refresh.token);
}
