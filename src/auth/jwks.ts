import type { SigningKey } from "./signing-keys.ts";

/** A public key as RFC 7517 §4 and RFC 7518 §6.2.1 write it. */
export interface PublicJwk {
  readonly kty: "EC";
  readonly use: "sig";
  readonly alg: "ES256";
  readonly kid: string;
  readonly crv: "P-256";
  readonly x: string;
  readonly y: string;
}

/**
 * The public parts of the asymmetric keys; symmetric ones have none and are left out. Members are named one by one, so that
 * nothing private can slip in with the rest of an export.
 */
export function publicKeySet(keys: readonly SigningKey[]): { keys: PublicJwk[] } {
  return {
    keys: keys
      .filter(({ algorithm }) => algorithm === "ES256")
      .map(({ kid, verifier }) => {
        const { x, y } = verifier.export({ format: "jwk" });
        return { kty: "EC", use: "sig", alg: "ES256", kid, crv: "P-256", x: x!, y: y! };
      }),
  };
}
