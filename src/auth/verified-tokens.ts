import { hash } from "node:crypto";

const MAX_TOKENS = 10_000;

/**
 * Claims of tokens whose signature was verified, by the token's hash, so that a dump of the memory holds no usable token.
 * The caller checks expiry and revocation at each use; an id in the claims may be revoked at any time.
 */
export class VerifiedTokens<TClaims> {
  readonly #claims = new Map<string, TClaims>();

  /** Returns the claims of a token, verified by `verify` at its first use. Failures are not remembered. */
  get(token: string, verify: (token: string) => TClaims): TClaims {
    const key = hash("sha256", token, "base64");
    const known = this.#claims.get(key);
    if (known) return known;
    const claims = verify(token);
    if (this.#claims.size >= MAX_TOKENS) this.#claims.delete(this.#claims.keys().next().value!);
    this.#claims.set(key, claims);
    return claims;
  }
}
