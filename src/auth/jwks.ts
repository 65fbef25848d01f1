import type { SigningKey } from "./signing-keys.ts";

/** A public key in the form of RFC 7517 §4 and RFC 7518 §6.2.1. */
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
 * Returns the public parts of the asymmetric keys; symmetric keys have none and are skipped. Members are copied one by one,
 * so that an export cannot add private ones.
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
