import { createHash } from "node:crypto";
import { PlinthError } from "../support/errors.ts";
import type { NormalEmail } from "./email-hash.ts";
import type { EmailHasher } from "./email-hasher.ts";
import type { Sealer } from "./sealing.ts";

/** How another system hashed the addresses of its accounts; declared by the operator at the import. */
export interface ImportedEmailScheme {
  /** As in plinth.external_ids. */
  readonly system: string;
  readonly algorithm: ImportedEmailAlgorithm;
  /** Text before the lower-case address; empty for none. */
  readonly salt: string;
}

const ALGORITHMS = ["sha256", "sha512", "sha1", "md5"] as const;
export type ImportedEmailAlgorithm = (typeof ALGORITHMS)[number];

/** Row of private.lookup_keys. The scheme is sealed because its salt is a secret of the other system. */
const NAME = "imported email";
/** Relation of plinth.external_ids under which the hashes are kept. */
export const IMPORTED_EMAIL_RELATION = "users_hashed_email";

/** Finds the sealed scheme; null without one. Part of other statements, so that they need no round trip of their own. */
export const FIND_SCHEME = `private.find_lookup_key('${NAME}')`;

/** @throws PlinthError BAD_USER_INPUT */
export function parseEmailAlgorithm(text: string): ImportedEmailAlgorithm {
  const algorithm = ALGORITHMS.find((known) => known === text);
  if (algorithm === undefined)
    throw new PlinthError("BAD_USER_INPUT", `Addresses cannot be hashed with ${JSON.stringify(text)}.`, {
      hint: `Use ${ALGORITHMS.join(", ")}.`,
    });
  return algorithm;
}

export function openScheme(sealer: Sealer, sealed: string): ImportedEmailScheme {
  return JSON.parse(sealer.unseal("lookup key", sealed, NAME).toString()) as ImportedEmailScheme;
}

type LookupQuery = (text: string, values: readonly unknown[]) => Promise<readonly { key: string | null }[]>;

/** Returns the stored scheme, or undefined. */
export async function findScheme(
  sealer: Sealer,
  query: LookupQuery,
): Promise<ImportedEmailScheme | undefined> {
  const [found] = await query(`select ${FIND_SCHEME} as key`, []);
  return found?.key ? openScheme(sealer, found.key) : undefined;
}

/** Stores the scheme for all servers. The caller has checked that no other one is stored. */
export async function storeScheme(
  sealer: Sealer,
  query: LookupQuery,
  { system, algorithm, salt }: ImportedEmailScheme,
): Promise<void> {
  const sealed = sealer.seal("lookup key", JSON.stringify({ system, algorithm, salt }), NAME);
  await query("select private.store_lookup_key($1, $2) as key", [NAME, sealed]);
}

/** @throws PlinthError CONFLICT for another scheme than that of accounts that were imported earlier */
export function checkScheme(wanted: ImportedEmailScheme, stored: ImportedEmailScheme | undefined): void {
  if (stored === undefined) return;
  const { system, algorithm, salt } = stored;
  if (system === wanted.system && algorithm === wanted.algorithm && salt === wanted.salt) return;
  throw new PlinthError("CONFLICT", "Addresses were imported earlier with another hash function or salt.", {
    hint: `Use ${algorithm} and the same salt as for ${system}.`,
  });
}

/** Returns the other system's hash of an address, in lower-case hexadecimal. */
export function foreignEmailHash({ algorithm, salt }: ImportedEmailScheme, address: NormalEmail): string {
  return createHash(algorithm)
    .update(salt + address.toLowerCase())
    .digest("hex");
}

/**
 * Returns the form in which an imported hash is stored: keyed, because the addresses of a plain hash can be found by trying all
 * known addresses.
 */
export async function keyedEmailId(
  hasher: Pick<EmailHasher, "hashText">,
  foreignHash: string,
): Promise<string> {
  return (await hasher.hashText(`imported:${foreignHash}`)).toString("hex");
}
