import type { RequestHandler } from "express";
import { publicKeySet } from "../../auth/jwks.ts";
import type { SigningKey } from "../../auth/signing-keys.ts";

/** The usual path in RFC 8414 and OpenID Connect deployments. */
export const JWKS_PATH = "/.well-known/jwks.json";
/** A new key is published this long before it signs, see docs/keys.md. */
const JWKS_MAX_AGE_SECONDS = 300;

/** Serves the public keys of access tokens, for other services that receive them. */
export function jwksStep(keys: readonly SigningKey[]): RequestHandler {
  const body = JSON.stringify(publicKeySet(keys));
  return (_request, response) => {
    response
      .set("Cache-Control", `public, max-age=${JWKS_MAX_AGE_SECONDS}`)
      // RFC 7517 §8.5.1
      .type("application/jwk-set+json")
      .send(body);
  };
}
