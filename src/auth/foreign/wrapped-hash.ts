import { hash as argon2Hash } from "@node-rs/argon2";
import { fromBase64, toBase64 } from "./encodings.ts";
import type { ForeignHash, ForeignScheme } from "./scheme.ts";
import { costNames } from "./schemes/index.ts";

export const WRAPPED_PREFIX = "$plinth-wrapped$";
const ARGON2ID_PREFIX = "$argon2id$v=19$";

const WRAPPED =
  /^\$plinth-wrapped\$v=1\$(?<inner>[^$]+)\$(?<outer>m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+)$/;

/** A stored hash of a foreign digest. */
export interface WrappedHash {
  readonly scheme: ForeignScheme;
  /** The argon2id hash of the foreign digest, as a PHC string. */
  readonly outer: string;
}

/**
 * Hashes a foreign digest with argon2id, so that the stored text is no weaker than a hash of Plinth's own, however fast the
 * foreign scheme is:
 *
 *     $plinth-wrapped$v=1$f=pbkdf2-sha256,l=32,s=c2Vhc2FsdA,i=260000$m=19456,t=2,p=1$<salt>$<hash>
 *
 * `f` is the foreign scheme, `l` the length of its digest in bytes, `s` its salt (left out when empty); then follow the
 * scheme's costs. The rest is the argon2id hash of the digest, written in base64. All base64 is without padding, as in PHC
 * strings.
 */
export async function wrap(
  { scheme, digest }: ForeignHash,
  argon2: NonNullable<Parameters<typeof argon2Hash>[1]>,
): Promise<string> {
  const outer = await argon2Hash(outerInput(digest), argon2);
  const parameters = [
    ["f", scheme.name],
    ["l", scheme.length],
    ...(scheme.salt.length > 0 ? [["s", toBase64(scheme.salt)]] : []),
    ...costNames(scheme.name)!.map((name) => [name, scheme.cost[name]]),
  ];
  const inner = parameters.map(([name, value]) => `${name}=${value}`).join(",");
  return `${WRAPPED_PREFIX}v=1$${inner}$${outer.slice(ARGON2ID_PREFIX.length)}`;
}

/** Returns argon2's input for a digest: text, because the library verifies no other bytes. */
export const outerInput = toBase64;

/** Returns undefined for any other text. Judge the scheme before computing its digest. */
export function parseWrapped(text: string): WrappedHash | undefined {
  const { inner, outer } = WRAPPED.exec(text)?.groups ?? {};
  if (!inner || !outer) return undefined;
  const parameters = new Map(inner.split(",").map((pair) => splitAtEquals(pair)));
  const name = parameters.get("f") ?? "";
  const costs = costNames(name);
  const salt = parameters.has("s") ? fromBase64(parameters.get("s")!) : Buffer.alloc(0);
  if (!costs || !salt) return undefined;
  const scheme = {
    name,
    salt,
    length: Number(parameters.get("l")),
    cost: Object.fromEntries(costs.map((cost) => [cost, Number(parameters.get(cost))])),
  };
  return { scheme, outer: `${ARGON2ID_PREFIX}${outer}` };
}

/** base64 may contain further equals signs. */
function splitAtEquals(pair: string): [string, string] {
  const at = pair.indexOf("=");
  return [pair.slice(0, at), pair.slice(at + 1)];
}
