import {
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { PlinthError } from "../support/errors.ts";
import { decodeKey, looksRandom } from "./key-text.ts";

/** HS256: verifiers can also sign. ES256: others verify with the public part, see src/auth/jwks.ts. */
type SigningAlgorithm = "HS256" | "ES256";

/** A key that signs or verifies access tokens with one algorithm; a KeyObject does not print its bytes in a log. */
export interface SigningKey {
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  /** Signs: the secret, or the private key. */
  readonly secret: KeyObject;
  /** Verifies: the secret, or the public key. */
  readonly verifier: KeyObject;
}

/** HS256 needs at least the 256 bits of its digest (RFC 7518 §3.2). */
const MIN_KEY_BYTES = 32;
const KID = /^[A-Za-z0-9._-]{1,64}$/;
const ASYMMETRIC = "es256";
/** P-256, the only curve of ES256 (RFC 7518 §3.4). */
const CURVE = "prime256v1";

const HINT =
  `Create one with: node -p "'key1:' + crypto.randomBytes(32).toString('base64url')" ` +
  `(or put a name and a colon before what openssl rand -base64 32 prints); plinth keys generate makes all kinds.`;

/**
 * Reads `kid:base64url[,kid:base64url…]`; plain base64, which openssl prints, is accepted too. An asymmetric key is
 * `kid:es256:` and its PKCS #8 in base64url: one line like the others, so that one list, variable or file holds both kinds
 * and a rotation may change the kind. The first key signs, all verify: to rotate, add a new key at the front and drop the old
 * one when its last token has expired. (EdDSA is missing, because jsonwebtoken does not support it.)
 * @returns at least one key, in the given order.
 * @throws PlinthError INVALID_SETTING naming the entry by its position only, since a `kid` may be a misplaced key.
 */
export function parseSigningKeys(text: string): SigningKey[] {
  const keys: SigningKey[] = [];
  for (const [index, entry] of text.split(",").entries()) {
    const key = parseEntry(entry.trim(), index + 1);
    if (keys.some(({ kid }) => kid === key.kid)) throw invalid(index + 1, "repeats the name of another key");
    if (keys.some(({ verifier }) => verifier.equals(key.verifier)))
      throw invalid(index + 1, "repeats the bytes of another key, so that nothing would be rotated");
    keys.push(key);
  }
  return keys;
}

/** Creates a `kid:base64url` entry with 256 random bits for parseSigningKeys. */
export function generateSigningKey(): string {
  return `${newKid()}:${randomBytes(MIN_KEY_BYTES).toString("base64url")}`;
}

/** Creates a `kid:es256:base64url` entry for parseSigningKeys. */
export function generateAsymmetricSigningKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: CURVE });
  const bytes = privateKey.export({ format: "der", type: "pkcs8" });
  return `${newKid()}:${ASYMMETRIC}:${bytes.toString("base64url")}`;
}

function newKid(): string {
  return `k${randomBytes(4).toString("hex")}`;
}

function parseEntry(entry: string, position: number): SigningKey {
  const [kid = "", ...rest] = entry.split(":");
  const encoded = rest.at(-1) ?? "";
  const isAsymmetric = rest.length === 2 && rest[0] === ASYMMETRIC;
  if (!KID.test(kid) || !encoded || !(isAsymmetric || rest.length === 1))
    throw invalid(position, "is not of the form name:key or name:es256:key");

  const bytes = decodeKey(encoded);
  if (!bytes) throw invalid(position, "is not valid base64url");
  if (isAsymmetric) return { kid, algorithm: "ES256", ...readPrivateKey(bytes, position) };
  if (bytes.length < MIN_KEY_BYTES)
    throw invalid(position, `has ${bytes.length * 8} bits, but needs at least ${MIN_KEY_BYTES * 8}`);
  if (!looksRandom(bytes, encoded)) throw invalid(position, "is not random");
  const secret = createSecretKey(bytes);
  return { kid, algorithm: "HS256", secret, verifier: secret };
}

function readPrivateKey(der: Buffer, position: number): Pick<SigningKey, "secret" | "verifier"> {
  let secret: KeyObject;
  try {
    secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } catch {
    // Without the cause: OpenSSL's errors may describe the input.
    throw invalid(position, "is not a private key in PKCS #8");
  }
  if (secret.asymmetricKeyType !== "ec" || secret.asymmetricKeyDetails?.namedCurve !== CURVE)
    throw invalid(position, "is not on the curve P-256");
  return { secret, verifier: createPublicKey(secret) };
}

function invalid(position: number, fault: string): PlinthError {
  return new PlinthError("INVALID_SETTING", `PLINTH_JWT_KEYS: key number ${position} ${fault}.`, {
    hint: HINT,
  });
}
