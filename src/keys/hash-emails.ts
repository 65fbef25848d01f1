import type pg from "pg";
import { normalizeEmail } from "../auth/email-hash.ts";
import type { EmailHasher } from "../auth/email-hasher.ts";
import type { OnProgress } from "../support/progress.ts";

export interface HashedEmails {
  readonly hashed: number;
  readonly forgotten: number;
  /** Ids of accounts whose address is invalid or belongs to another account too. They keep only their clear address. */
  readonly taken: readonly string[];
}

const BATCH_SIZE = 200;

/**
 * Hashes the addresses of accounts that have no hash: accounts created before hashes existed, or changed by SQL. With
 * `forgetAddresses`, clear addresses that have a hash are then deleted, as for accounts created in privacy mode.
 * @param client connected as the owner
 */
export async function hashEmails(
  client: pg.ClientBase,
  emailHasher: EmailHasher,
  options: { readonly forgetAddresses: boolean; readonly onProgress?: OnProgress },
): Promise<HashedEmails> {
  let hashed = 0;
  let after = "00000000-0000-0000-0000-000000000000";
  const taken: string[] = [];
  for (;;) {
    const { rows } = await client.query<{ id: string; email: string }>(
      `select id, email from identity.users
       where email is not null and hashed_email is null and id > $1 order by id limit $2`,
      [after, BATCH_SIZE],
    );
    if (rows.length === 0) break;
    after = rows.at(-1)!.id;
    options.onProgress?.({ step: "Hashing addresses", done: hashed, unit: "addresses" });
    for (const { id, email } of rows) {
      const address = normalizeEmail(email);
      // An irregular address: its normal form may belong to another account.
      if (address !== email) {
        taken.push(id);
        continue;
      }
      // Only if the address is still the one that was hashed.
      const { rowCount } = await client.query(
        `update identity.users u set hashed_email = $3
         where u.id = $1 and u.email = $2 and u.hashed_email is null
           and not exists (select from identity.users o where o.hashed_email = $3)`,
        [id, email, await emailHasher.hash(address)],
      );
      if (rowCount) hashed++;
      else taken.push(id);
    }
  }
  if (!options.forgetAddresses) return { hashed, forgotten: 0, taken };
  const { rowCount } = await client.query(
    "update identity.users set email = null where email is not null and hashed_email is not null",
  );
  return { hashed, forgotten: rowCount ?? 0, taken };
}
