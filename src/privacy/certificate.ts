import { createHash, createPublicKey } from "node:crypto";
import jwt from "jsonwebtoken";
import type { PublicJwk } from "../auth/jwks.ts";
import type { SigningKey } from "../auth/signing-keys.ts";
import { PlinthError } from "../support/errors.ts";
import { isObject } from "../support/is-object.ts";

/** The content of a certificate, as the database states it. */
export interface Statement {
  readonly certificate: string;
  /** SHA-256 of the salt and the account's id. */
  readonly subject: string;
  readonly salt: string;
  readonly erasedAt: string;
  readonly requestedBy: string;
  /** Such as the number of a ticket; names nobody. */
  readonly reference: string | null;
  readonly tables: readonly {
    readonly table: string;
    readonly deleted: number;
    readonly cleared: number;
    readonly classes: readonly string[];
  }[];
  readonly classes: Readonly<Record<string, { readonly deleted: number; readonly cleared: number }>>;
  /** Purposes of the account's keys, without which sealed texts in backups cannot be read. */
  readonly keysShredded: readonly string[];
}

export interface Certificate {
  readonly statement: Statement;
  /** SHA-256 of the statement's text in the database. */
  readonly statementSha256: string;
  /** Null if there are no archives. */
  readonly archivedRows: number | null;
  /** Backups cannot be rewritten. Null if Plinth does not make them. */
  readonly backups: { readonly kept: number; readonly expireBy: string | null } | null;
}

/** Prevents an access token from passing as a certificate, and the reverse. */
const TYPE = "erasure-certificate+jwt";

/** Returns a JWS (RFC 7515) that anyone who has the public key can verify. */
export function signCertificate(certificate: Certificate, key: SigningKey): string {
  return jwt.sign({ ...certificate }, key.secret, {
    algorithm: "ES256",
    header: { alg: "ES256", typ: TYPE, kid: key.kid },
  });
}

/** Returns the name of the key that a certificate claims to be signed with. @throws PlinthError CERTIFICATE_INVALID */
function keyNameOf(signed: string): string {
  const header = jwt.decode(signed, { complete: true })?.header;
  if (header?.typ !== TYPE || !header.kid) throw invalid("It is not a certificate of an erasure.");
  return header.kid;
}

/** @throws PlinthError CERTIFICATE_INVALID, CERTIFICATE_KEY_UNKNOWN */
export function verifyCertificate(signed: string, keys: readonly PublicJwk[]): Certificate {
  const kid = keyNameOf(signed);
  const key = keys.find((each) => each.kid === kid);
  if (!key)
    throw new PlinthError("CERTIFICATE_KEY_UNKNOWN", `The certificate is signed with the key ${kid}.`, {
      hint: "Pass the key set that has this key with --jwks or --key.",
    });
  try {
    const verifier = createPublicKey({ key: { ...key }, format: "jwk" });
    const payload = jwt.verify(signed, verifier, { algorithms: ["ES256"] });
    if (isObject(payload) && isObject(payload.statement)) return payload as unknown as Certificate;
  } catch (cause) {
    throw invalid("Its signature does not match its content.", cause);
  }
  throw invalid("It has no statement.");
}

/** Whether the certificate is about the account with this id, which only its owner still knows. */
export function isAbout({ statement }: Certificate, accountId: string): boolean {
  const hash = createHash("sha256").update(statement.salt + accountId.toLowerCase());
  return hash.digest("hex") === statement.subject;
}

function invalid(reason: string, cause?: unknown): PlinthError {
  return new PlinthError("CERTIFICATE_INVALID", `The certificate is not valid. ${reason}`, {
    hint: "Ask for the file again; do not edit it.",
    cause,
  });
}
