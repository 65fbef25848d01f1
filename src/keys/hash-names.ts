import type pg from "pg";
import type { EmailHasher } from "../auth/email-hasher.ts";
import { hashName, isHashedName } from "../auth/hashed-name.ts";
import type { OnProgress } from "../support/progress.ts";

export interface HashedNames {
  readonly hashed: number;
  /** Ids of accounts whose name another account has registered since, as a hash. They keep their clear name. */
  readonly taken: readonly string[];
}

/**
 * Replaces the clear names of all accounts with keyed hashes, as for accounts registered in privacy mode: all or none. The audit
 * trail would keep the clear names as old values, so that an event takes the place of the change.
 * @param client connected as the owner
 */
export async function hashNames(
  client: pg.ClientBase,
  hasher: EmailHasher,
  onProgress?: OnProgress,
): Promise<HashedNames> {
  const taken: string[] = [];
  let hashed = 0;
  await client.query("begin");
  try {
    await client.query("alter table identity.users disable trigger _700_record_data_change");
    const { rows } = await client.query<{ id: string; username: string }>(
      "select id, username from identity.users order by id",
    );
    for (const [index, { id, username }] of rows.entries()) {
      onProgress?.({ step: "Hashing names", done: index, total: rows.length, unit: "names" });
      if (isHashedName(username)) continue;
      const { rowCount } = await client.query(
        `update identity.users u set username = $2
         where u.id = $1 and not exists (select from identity.users o where o.username = $2)`,
        [id, await hashName(hasher, username)],
      );
      if (!rowCount) {
        taken.push(id);
        continue;
      }
      hashed += 1;
      await client.query("select private.record_security_event('username_hashed', $1)", [id]);
    }
    await client.query("alter table identity.users enable trigger _700_record_data_change");
    await client.query("commit");
    return { hashed, taken };
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
}
