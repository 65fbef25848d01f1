import type { BcryptHash, ForeignScheme, SchemeKind } from "../scheme.ts";
import { ARGON2S } from "./argon2.ts";
import { BCRYPTS } from "./bcrypt.ts";
import { DIGESTS } from "./digests.ts";
import { PBKDF2 } from "./pbkdf2.ts";
import { SCRYPT } from "./scrypt.ts";

/** A shorter digest is too easy to match by chance; no framework creates a longer one. */
const MIN_DIGEST_LENGTH = 16;
const MAX_DIGEST_LENGTH = 128;
const MAX_SALT_LENGTH = 256;

const SCHEMES: Readonly<Record<string, SchemeKind>> = {
  ...DIGESTS,
  ...PBKDF2,
  ...SCRYPT,
  ...ARGON2S,
  ...BCRYPTS,
};

export const SCHEME_NAMES: readonly string[] = Object.keys(SCHEMES);

/** Returns the names of a scheme's cost parameters, undefined for an unknown scheme. */
export function costNames(name: string): readonly string[] | undefined {
  return Object.hasOwn(SCHEMES, name) ? SCHEMES[name]!.costs : undefined;
}

/** Whether a digest of the scheme can be computed, and at a cost that a server can afford at each sign-in. */
export function judge(scheme: ForeignScheme): "usable" | "malformed" | "unaffordable" {
  const costs = costNames(scheme.name);
  const isValid =
    costs?.every((name) => Number.isSafeInteger(scheme.cost[name]) && scheme.cost[name]! > 0) &&
    scheme.length >= MIN_DIGEST_LENGTH &&
    scheme.length <= MAX_DIGEST_LENGTH &&
    scheme.salt.length <= MAX_SALT_LENGTH &&
    SCHEMES[scheme.name]!.isValid(scheme);
  if (!isValid) return "malformed";
  return SCHEMES[scheme.name]!.isAffordable(scheme) ? "usable" : "unaffordable";
}

/** Computes the digest; call `judge` first. */
export function foreignDigest(password: string, scheme: ForeignScheme, bcrypt: BcryptHash): Promise<Buffer> {
  return SCHEMES[scheme.name]!.digest(password, scheme, bcrypt);
}
