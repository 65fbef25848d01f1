import {
  createRefreshToken,
  hashRefreshToken,
  sealSuccessor,
  unsealSuccessor,
} from "../../auth/refresh-token.ts";
import type { RequestContext } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import type { Credentials, OpenedSession } from "./credentials.ts";
import type { SignInDependencies } from "./dependencies.ts";

interface Rotation extends OpenedSession {
  readonly outcome: "rotated" | "replayed" | "refused";
  readonly sealed: Buffer | null;
}

/** Exchanges a refresh token for its successor. */
export async function refresh(
  { callPrivateFunction, make }: SignInDependencies,
  refreshToken: string,
  request: RequestContext,
): Promise<Credentials> {
  const successor = createRefreshToken();
  const [rotation] = await callPrivateFunction<Rotation>(
    request,
    `select outcome, user_id, session_id, token_version, sealed, refresh_expires_at
     from private.rotate_refresh_token($1, $2, $3)`,
    [hashRefreshToken(refreshToken), successor.hash, sealSuccessor(refreshToken, successor.token)],
  );
  if (rotation?.outcome === "rotated") return make.credentials(rotation, successor.token);
  if (rotation?.outcome === "replayed" && rotation.sealed)
    return make.credentials(rotation, unsealSuccessor(refreshToken, rotation.sealed));
  throw new PlinthError("UNAUTHENTICATED", "The refresh token is not valid.", { hint: "Sign in again." });
}
