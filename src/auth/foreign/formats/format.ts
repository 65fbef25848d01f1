import type { ForeignHash } from "../scheme.ts";

/** A text that names its own scheme, salt and costs. */
export interface ForeignFormat {
  /** The text's beginning and its origin, for errors and documentation. */
  readonly name: string;
  /** With named groups. */
  readonly pattern: RegExp;
  /** Returns undefined if a part cannot be decoded. */
  read(groups: Readonly<Record<string, string>>): ForeignHash | undefined;
}

/** Returns undefined if salt or digest could not be decoded. */
export function foreignHash(
  name: string,
  cost: Readonly<Record<string, number>>,
  salt: Buffer | undefined,
  digest: Buffer | undefined,
): ForeignHash | undefined {
  return salt && digest && { scheme: { name, cost, salt, length: digest.length }, digest };
}

/** The cost parameters of scrypt; N must be a power of two, otherwise `ln` is no integer and the hash is malformed. */
export function scryptCost(n: string, r: string, p: string): Record<string, number> {
  return { ln: Math.log2(Number(n)), r: Number(r), p: Number(p) };
}
