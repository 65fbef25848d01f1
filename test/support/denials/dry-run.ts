import type { TestDatabase } from "../database.ts";
import { withClient } from "../database.ts";

/** SQLSTATE of a transaction that would have committed a change. */
export const WOULD_CHANGE = "DRY00";

/**
 * From now on, no transaction of this database commits a change of a row: its commit fails with {@link WOULD_CHANGE}. A mutation
 * that is allowed so differs from one that succeeds and does nothing, and thousands of mutations start from the same rows.
 * @param except tables that also a denied request may write, as `schema.table`
 */
export async function makeDry(db: TestDatabase, except: readonly string[]): Promise<void> {
  await withClient(db.url("owner"), async (owner) => {
    await owner.query(`
      create function private.refuse_to_commit() returns trigger language plpgsql as $$
      begin
        raise exception '% of %', lower(tg_op), tg_relid::regclass using errcode = '${WOULD_CHANGE}';
      end $$`);
    const { rows } = await owner.query<{ create: string }>(
      `select format(
         'create constraint trigger dry_run after insert or update or delete on %s
          deferrable initially deferred for each row execute function private.refuse_to_commit()',
         c.oid::regclass
       ) as create
       from pg_class c
       join pg_namespace n on n.oid = c.relnamespace
       where c.relkind = 'r'
         and n.nspname !~ '^(pg_|plinth_jobs|plinth_migrate|information_schema)'
         and n.nspname || '.' || c.relname <> all ($1)`,
      [except],
    );
    for (const { create } of rows) await owner.query(create);
  });
}
