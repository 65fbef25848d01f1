import type { RequestHandler } from "express";
import type { FindApiToken } from "../../accounts/api-tokens/find-api-token.ts";
import type { Activity } from "../../accounts/last-activity.ts";
import type { Revocations } from "../../accounts/revocation/revocations.ts";
import type { AccessTokens } from "../../auth/access-token.ts";
import { type Claims, looksLikeApiToken } from "../../auth/api-token.ts";
import type { RequestContext } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import { HttpError } from "../http-error.ts";

export interface Authenticator {
  /**
   * Returns the claims of an Authorization header's bearer token (RFC 6750 §2.1), or null without a header.
   * @throws PlinthError UNAUTHENTICATED, RATE_LIMITED; UNAVAILABLE when a required database check fails
   */
  authenticate(header: string | undefined, request: RequestContext): Promise<Claims | null>;
  /**
   * Whether earlier claims are still valid, for connections that outlive a request.
   * @throws PlinthError UNAVAILABLE when a required database check fails
   */
  isStillValid(claims: Claims, request: RequestContext): Promise<boolean>;
}

export function createAuthenticator(options: {
  accessTokens: AccessTokens;
  findApiToken: FindApiToken;
  revocations: Revocations;
  activity: Activity;
}): Authenticator {
  const { accessTokens, findApiToken, revocations, activity } = options;

  async function isStillValid(claims: Claims, request: RequestContext): Promise<boolean> {
    if (await answered(revocations.isRevoked(claims, request))) return false;
    activity.note(claims, request.clientIp);
    return true;
  }

  return {
    isStillValid,
    async authenticate(header, request) {
      if (header === undefined) return null;
      const token = /^Bearer +([^\s]+) *$/i.exec(header)?.[1];
      if (!token)
        throw new PlinthError("UNAUTHENTICATED", "Send the access token as `Authorization: Bearer …`.");
      const claims = looksLikeApiToken(token)
        ? await answered(findApiToken(token, request))
        : accessTokens.verify(token);
      if (!(await isStillValid(claims, request)))
        throw new PlinthError("UNAUTHENTICATED", "The token is not valid.");
      return claims;
    },
  };
}

/** Maps database failures to UNAVAILABLE, so that they are not reported as an invalid token. */
async function answered<T>(question: Promise<T>): Promise<T> {
  try {
    return await question;
  } catch (cause) {
    if (cause instanceof PlinthError) throw cause;
    throw new PlinthError("UNAVAILABLE", "The token cannot be checked at the moment.", { cause });
  }
}

/**
 * Identifies the caller by the Authorization header only: a token in a URL ends up in logs, and a cookie is also sent by
 * other sites' pages. An invalid token is an error, not a visitor.
 * @throws HttpError UNAUTHENTICATED, RATE_LIMITED
 */
export async function withClaims(
  authenticator: Authenticator,
  context: RequestContext,
  header: string | undefined,
): Promise<RequestContext> {
  try {
    return { ...context, claims: await authenticator.authenticate(header, context) };
  } catch (error) {
    if (error instanceof PlinthError && error.code === "UNAUTHENTICATED")
      throw new HttpError(401, "UNAUTHENTICATED", error.message, {
        // RFC 6750 §3.
        "WWW-Authenticate": 'Bearer realm="plinth", error="invalid_token"',
      });
    if (error instanceof PlinthError && error.code === "RATE_LIMITED")
      throw new HttpError(429, "RATE_LIMITED", error.message, { "Retry-After": "60" });
    throw error;
  }
}

export function authenticateStep(authenticator: Authenticator): RequestHandler {
  return async (request, _response, next) => {
    request.context = await withClaims(authenticator, request.context, request.headers.authorization);
    next();
  };
}
