import type { AccessTokenClaims } from "../auth/access-token.ts";
import { type Role, roleName } from "../database/roles.ts";
import { contextSettings, type RequestContext } from "./request-context.ts";

/** The transaction-local settings of an API request: who asks, as which role, with which rights and limits. */
export function requestSettings(
  request: Omit<RequestContext, "claims"> & {
    claims: Pick<AccessTokenClaims, "userId" | "sessionId"> | null;
  },
  options: { rolePrefix: string; statementTimeoutMs: number; readOnly: boolean },
): Record<string, string | undefined> {
  const { claims } = request;
  const role: Role = claims ? "user" : "anonymous";
  return {
    role: roleName(options.rolePrefix, role),
    "jwt.claims.user_id": claims?.userId,
    "jwt.claims.session_id": claims?.sessionId,
    ...contextSettings(request),
    statement_timeout: String(options.statementTimeoutMs),
    transaction_read_only: options.readOnly ? "on" : undefined,
  };
}
