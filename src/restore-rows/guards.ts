import type pg from "pg";
import { HISTORY_SCHEMAS } from "../database/history.ts";
import { PlinthError } from "../support/errors.ts";
import type { Stage } from "./staging.ts";

/** Held by the live session, so that the copy turns out to be the same database, and one restore runs at a time. */
const RESTORE_LOCK = "4727445306447290";

/** @throws PlinthError RESTORE_RUNNING, RESTORE_FROM_ITSELF */
export async function requireTwoDatabases(copy: pg.Client, live: pg.Client): Promise<void> {
  const take = async (client: pg.Client): Promise<boolean> => {
    const { rows } = await client.query("select pg_try_advisory_xact_lock($1) as taken", [RESTORE_LOCK]);
    return rows[0].taken;
  };
  if (!(await take(live)))
    throw new PlinthError("RESTORE_RUNNING", "Another restore of rows is running in this database.", {
      hint: "Wait for its end.",
    });
  if (!(await take(copy)))
    throw new PlinthError("RESTORE_FROM_ITSELF", "--from is the live database, not a copy of its past.", {
      hint: "Restore a backup to another server or database and give its URL.",
    });
}

/** @throws PlinthError COPY_NOT_MIGRATED unless both have run the same migrations */
export async function requireSameMigrations(copy: pg.Client, live: pg.Client): Promise<void> {
  for (const schema of HISTORY_SCHEMAS) {
    const [ofCopy, ofLive] = [await migrationsOf(copy, schema), await migrationsOf(live, schema)];
    if (ofCopy.join() === ofLive.join()) continue;
    const difference =
      ofCopy.length < ofLive.length ? "has not run all migrations of" : "has other migrations than";
    throw new PlinthError("COPY_NOT_MIGRATED", `The copy ${difference} the live database.`, {
      hint: "Run `plinth migrate` on the copy with PLINTH_OWNER_URL set to its URL. A copy that only reads must be promoted first.",
    });
  }
}

async function migrationsOf(client: pg.Client, schema: string): Promise<string[]> {
  const table = `${schema}.migrations`;
  const { rows } = await client.query("select to_regclass($1) is not null as found", [table]);
  if (!rows[0].found) return [];
  const { rows: migrations } = await client.query<{ hash: string }>(
    `select hash from ${table} order by filename`,
  );
  return migrations.map(({ hash }) => hash);
}

/**
 * An account that was erased on request must not return by accident. The certificate of an erasure tells who requested it; without
 * one, an erasure is assumed, because the account may have been deleted before there were certificates.
 * @throws PlinthError USER_WAS_ERASED
 */
export async function requireNotErased(
  copy: pg.Client,
  live: pg.Client,
  users: Stage | undefined,
): Promise<void> {
  if (!users) return;
  const { rows } = await live.query<{ id: string; username: string; requester: string | null }>(
    `select s.id, s.username, (
       select c.requested_by from security.erasure_certificates c
       where c.subject = encode(sha256(convert_to(c.salt || s.id, 'UTF8')), 'hex')
       order by c.created_at desc limit 1
     ) as requester
     from ${users.name} s where s."plinth:state" = 'missing' order by s.username`,
  );
  const { rows: requests } = await copy.query<{ id: string }>(
    "select user_id as id from identity.account_deletions where user_id = any ($1)",
    [rows.map(({ id }) => id)],
  );
  const requested = new Set(requests.map(({ id }) => id));
  for (const { id, username, requester } of rows) {
    const reason = requested.has(id)
      ? "had asked for deletion when the copy was made"
      : requester === "self" || requester === "command"
        ? "was erased on request"
        : requester === null
          ? "is missing without a certificate, so it may have been erased on request"
          : undefined;
    if (reason)
      throw new PlinthError("USER_WAS_ERASED", `The account ${username} (${id}) ${reason}.`, {
        hint: 'Add --erased-user-really "REASON" if the account must return. The audit log keeps the reason.',
      });
  }
}
