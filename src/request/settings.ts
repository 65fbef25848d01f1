import type { AccessTokenClaims } from "../auth/access-token.ts";
import type { Claims } from "../auth/api-token.ts";
import { type Role, roleName } from "../config/roles.ts";
import { contextSettings, mayWrite, type RequestContext } from "./context.ts";

/** The transaction-local settings of an API request: caller, role, privileges and limits. */
export function requestSettings(
  request: Omit<RequestContext, "claims"> & {
    claims: Claims | Pick<AccessTokenClaims, "userId" | "sessionId"> | null;
  },
  options: { rolePrefix: string; statementTimeoutMs: number; readOnly: boolean },
): Record<string, string | undefined> {
  const { claims } = request;
  const role: Role = claims ? "user" : "anonymous";
  return {
    role: roleName(options.rolePrefix, role),
    ...claimSettings(claims),
    ...contextSettings(request),
    statement_timeout: String(options.statementTimeoutMs),
    transaction_read_only: options.readOnly || !mayWrite(claims) ? "on" : undefined,
  };
}

/** The caller, as read by plinth.current_user_id(), current_session_id() and current_api_token_id(). */
export function claimSettings(
  claims: Claims | Pick<AccessTokenClaims, "userId" | "sessionId"> | null,
): Record<string, string | undefined> {
  return {
    "jwt.claims.user_id": claims?.userId,
    "jwt.claims.session_id": claims?.sessionId ?? undefined,
    "jwt.claims.api_token_id": claims && "scopes" in claims ? claims.tokenId : undefined,
  };
}
