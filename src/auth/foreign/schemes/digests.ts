import { createHash, createHmac } from "node:crypto";
import type { SchemeKind } from "../scheme.ts";

const LENGTHS = { md5: 16, sha1: 20, sha256: 32, sha512: 64 } as const;

export type DigestName = keyof typeof LENGTHS;
export const DIGEST_NAMES = Object.keys(LENGTHS) as readonly DigestName[];

/** How a salt enters a plain digest: before the password, after it, or as the key of an HMAC. */
export const ORDERS = ["salt-password", "password-salt", "hmac"] as const;
export type SaltOrder = (typeof ORDERS)[number];

/** `sha256-salt-password` and the like: one computation of a fast hash. An unsalted digest has an empty salt. */
export const DIGESTS: Readonly<Record<string, SchemeKind>> = Object.fromEntries(
  DIGEST_NAMES.flatMap((name) => ORDERS.map((order) => [`${name}-${order}`, digestKind(name, order)])),
);

function digestKind(name: DigestName, order: SaltOrder): SchemeKind {
  return {
    costs: [],
    isValid: ({ length }) => length === LENGTHS[name],
    isAffordable: () => true,
    async digest(password, { salt }) {
      if (order === "hmac") return createHmac(name, salt).update(password).digest();
      const typed = Buffer.from(password);
      const parts = order === "salt-password" ? [salt, typed] : [typed, salt];
      return createHash(name).update(Buffer.concat(parts)).digest();
    },
  };
}
