import { readFileSync } from "node:fs";
import { join } from "node:path";
import type pg from "pg";
import type { PublicJwk } from "../auth/jwks.ts";
import { PlinthError } from "../support/errors.ts";
import { namesIn } from "../support/files.ts";
import { isObject } from "../support/is-object.ts";
import { type Certificate, verifyCertificate } from "./certificate.ts";

/** Beside the backups, so that a restore knows which accounts were erased after its point. */
export const certificatesFolder = (backups: string): string => join(backups, "erasures");

/** Returns the number of certificates of erasures after a time, without verifying them. */
export function certificatesSince(directory: string, since: Date): number {
  return (namesIn(directory) ?? []).filter((name) => {
    if (!name.endsWith(".jws")) return false;
    const [, payload = ""] = readFileSync(join(directory, name), "utf8").split(".");
    try {
      const certificate: Certificate = JSON.parse(Buffer.from(payload, "base64url").toString());
      return new Date(certificate.statement.erasedAt) > since;
    } catch {
      // Not worth the failure of a restore; readCertificates names the file.
      return false;
    }
  }).length;
}

/**
 * Returns the certificates in a folder; an unsigned or altered one would erase an account that nobody asked to erase.
 * @throws PlinthError NOT_FOUND, CERTIFICATE_INVALID, CERTIFICATE_KEY_UNKNOWN
 */
export function readCertificates(directory: string, keys: readonly PublicJwk[]): Certificate[] {
  const names = namesIn(directory);
  if (!names)
    throw new PlinthError("NOT_FOUND", `${directory} does not exist.`, {
      hint: "Pass the folder of the certificates, such as erasures in PLINTH_BACKUPS.",
    });
  return names
    .filter((name) => name.endsWith(".jws"))
    .sort()
    .map((name) => {
      const path = join(directory, name);
      try {
        return verifyCertificate(readFileSync(path, "utf8").trim(), keys);
      } catch (error) {
        if (!(error instanceof PlinthError)) throw error;
        throw new PlinthError(error.code, `${path}: ${error.message}`, { hint: error.hint, cause: error });
      }
    });
}

/** Reads a JSON Web Key Set. @throws PlinthError BAD_USER_INPUT */
export function readKeySet(text: string): readonly PublicJwk[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  if (isObject(parsed) && Array.isArray(parsed.keys)) return parsed.keys as PublicJwk[];
  throw new PlinthError("BAD_USER_INPUT", "This is not a JSON Web Key Set.", {
    hint: "The API publishes its key set at /.well-known/jwks.json.",
  });
}

/** @throws PlinthError NOT_FOUND, CERTIFICATE_PENDING */
export async function readSigned(
  client: pg.Client,
  id: string,
): Promise<{ signed: string; statementSha256: string }> {
  const { rows } = await client.query<{ signature: string | null; hash: string }>(
    `select signature, encode(sha256(convert_to(statement::text, 'UTF8')), 'hex') as hash
     from security.erasure_certificates where id::text = lower($1)`,
    [id],
  );
  if (!rows[0])
    throw new PlinthError("NOT_FOUND", `No certificate has the id ${id}.`, {
      hint: "The ids are in security.erasure_certificates.",
    });
  if (rows[0].signature === null)
    throw new PlinthError("CERTIFICATE_PENDING", "The certificate is not signed yet.", {
      hint: "plinth privacy finish erases the account from archives and signs it.",
    });
  return { signed: rows[0].signature, statementSha256: rows[0].hash };
}
