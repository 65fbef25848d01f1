import { createApiToken as makeToken } from "../../auth/api-token.ts";
import { type RequestContext, requireClaims } from "../../request/context.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { badInput, checkText } from "./input.ts";

const MAX_NAME_LENGTH = 100;
const MAX_SCOPES = 10;

export interface CreateApiTokenInput {
  readonly name: string;
  readonly scopes: readonly string[];
  /** ISO 8601; 90 days from now by default, at most 366 days. */
  readonly expiresAt?: string | null;
}

export interface CreatedApiToken {
  readonly id: string;
  /** Returned once; only its hash is stored. */
  readonly token: string;
}

/** Creates an API token for a user who has signed in recently. */
export async function createApiToken(
  { callPrivateFunction }: Pick<SignInDependencies, "callPrivateFunction">,
  { name, scopes, expiresAt = null }: CreateApiTokenInput,
  request: RequestContext,
): Promise<CreatedApiToken> {
  const claims = requireClaims(request);
  checkText("name", name, MAX_NAME_LENGTH);
  if (scopes.length > MAX_SCOPES) throw badInput("scopes", "contains too many scopes");
  for (const scope of scopes) checkText("scopes", scope, MAX_NAME_LENGTH);
  checkText("expiresAt", expiresAt, MAX_NAME_LENGTH);
  const { token, prefix, hash } = makeToken();
  const [created] = await callPrivateFunction<{ id: string }>(
    request,
    "select private.create_api_token($1, $2, $3, $4::text[], $5::timestamptz, $6, $7) as id",
    [claims.userId, claims.sessionId, name, scopes, expiresAt, prefix, hash],
  );
  return { id: created!.id, token };
}
