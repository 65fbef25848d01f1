import { fromBase64, fromHex } from "./encodings.ts";
import { foreignHash } from "./formats/format.ts";
import type { ForeignHash } from "./scheme.ts";
import { DIGEST_NAMES, type SaltOrder } from "./schemes/digests.ts";
import { costNames } from "./schemes/index.ts";

export type SaltEncoding = "text" | "hex" | "base64";

/** A digest whose scheme and salt are in other columns. */
export interface SeparateHash {
  /** Hexadecimal or base64. */
  readonly hash: string;
  readonly salt: string;
  readonly algorithm: string;
  readonly order: SaltOrder | undefined;
  readonly saltEncoding: SaltEncoding | undefined;
}

/** The costs of each library's default: argon2-cffi's, which are RFC 9106's second recommendation, and Node's. */
const DEFAULTS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  argon2d: { v: 19, m: 65_536, t: 3, p: 4 },
  argon2i: { v: 19, m: 65_536, t: 3, p: 4 },
  argon2id: { v: 19, m: 65_536, t: 3, p: 4 },
  scrypt: { ln: 14, r: 8, p: 1 },
};
const ALIASES: ReadonlyMap<string, string> = new Map([
  ["argon2", "argon2id"],
  ["pbkdf2", "pbkdf2-sha256"],
  ["sha-1", "sha1"],
  ["sha-256", "sha256"],
  ["sha-512", "sha512"],
]);

/** Returns undefined if the algorithm is unknown or a part is missing or cannot be decoded. */
export function readSeparate({
  hash,
  salt,
  algorithm,
  order,
  saltEncoding,
}: SeparateHash): ForeignHash | undefined {
  const [, typed = "", parameters = ""] = /^([^:]*)(?::(.*))?$/.exec(algorithm.trim().toLowerCase()) ?? [];
  const spelled = typed.replaceAll("_", "-");
  const name = ALIASES.get(spelled) ?? spelled;
  const isDigest = (DIGEST_NAMES as readonly string[]).includes(name);
  // Guessed wrongly, the order would lock every user out.
  if (isDigest && salt !== "" && !order) return undefined;
  const scheme = isDigest ? `${name}-${order ?? "salt-password"}` : name;
  if (scheme.startsWith("bcrypt") || !costNames(scheme)) return undefined;
  const hex = fromHex(hash);
  // The salt of argon2 is always bytes, which a system writes as it writes the digest.
  const usual = scheme.startsWith("argon2") ? (hex ? "hex" : "base64") : "text";
  const cost = { ...DEFAULTS[scheme], ...readCosts(parameters) };
  return foreignHash(scheme, cost, decode(salt, saltEncoding ?? usual), hex ?? fromBase64(hash));
}

function decode(salt: string, encoding: SaltEncoding): Buffer | undefined {
  if (encoding === "text" || salt === "") return Buffer.from(salt);
  return encoding === "hex" ? fromHex(salt) : fromBase64(salt);
}

/** `m=65536,t=3,p=4`; anything else gives a cost that is no number, so that the hash is malformed. */
function readCosts(text: string): Record<string, number> {
  if (text === "") return {};
  return Object.fromEntries(
    text.split(",").map((pair) => {
      const [name, value] = pair.split("=");
      return [name!.trim(), Number(value)];
    }),
  );
}
