import type pg from "pg";
import { type NormalEmail, normalizeEmail } from "../../../auth/email-hash.ts";
import { type StoredEmail, storedEmail } from "../../../auth/stored-email.ts";
import { PlinthError } from "../../../support/errors.ts";
import type { Context } from "../mapping.ts";

/** An address in its stored form, or the reason that the account has none. */
export type ChosenEmail = { readonly stored: StoredEmail } | { readonly problem: string };

/** Chooses the stored form of each account's address: valid, and not another account's. The first account of a batch keeps a shared one. */
export async function chooseEmails(
  context: Context,
  accounts: readonly { readonly key: string; readonly email: string; readonly rowId: string | undefined }[],
): Promise<Map<string, ChosenEmail>> {
  const result = new Map<string, ChosenEmail>();
  const valid: { key: string; rowId: string | undefined; stored: StoredEmail }[] = [];
  for (const { key, email, rowId } of accounts) {
    const address = normalizeEmail(email);
    if (address === undefined) result.set(key, { problem: "is not a valid email address" });
    else valid.push({ key, rowId, stored: await storedForm(context, address) });
  }
  const owners = await ownersOf(
    context.client,
    valid.map(({ stored }) => stored),
  );
  const inBatch = new Set<string>();
  for (const { key, rowId, stored } of valid) {
    const names = namesOf(stored);
    const isTaken = names.some((name) => inBatch.has(name) || (owners.get(name) ?? rowId) !== rowId);
    if (isTaken) result.set(key, { problem: "is the email address of another account" });
    else {
      for (const name of names) inBatch.add(name);
      result.set(key, { stored });
    }
  }
  return result;
}

async function storedForm({ emailHasher, privacyMode }: Context, address: NormalEmail): Promise<StoredEmail> {
  if (emailHasher) return storedEmail({ emailHasher, privacyMode }, address);
  if (privacyMode)
    throw new PlinthError("MASTER_KEYS_MISSING", "Privacy mode needs PLINTH_MASTER_KEYS to hash addresses.");
  return { email: address, hash: null };
}

const namesOf = ({ email, hash }: StoredEmail): string[] =>
  [email, hash?.toString("hex")].filter((name) => name !== null && name !== undefined);

async function ownersOf(client: pg.ClientBase, stored: readonly StoredEmail[]): Promise<Map<string, string>> {
  const owners = new Map<string, string>();
  if (stored.length === 0) return owners;
  const { rows } = await client.query<{ id: string; email: string | null; hash: string | null }>(
    `select u.id, u.email, encode(u.hashed_email, 'hex') as hash from identity.users u
     where u.email = any ($1) or u.hashed_email = any ($2)`,
    [stored.map(({ email }) => email).filter(Boolean), stored.map(({ hash }) => hash).filter(Boolean)],
  );
  for (const { id, email, hash } of rows)
    for (const name of [email, hash]) if (name !== null) owners.set(name, id);
  return owners;
}
