import pg from "pg";
import { literal } from "./create-roles-sql.ts";

/**
 * Limits of the analyst, whose questions share the server with the API: a question that runs away, or a transaction that a notebook
 * left open, which keeps VACUUM from removing dead rows.
 */
export const ANALYST_LIMITS = {
  statement_timeout: "5min",
  idle_in_transaction_session_timeout: "10min",
} as const;

/** Sets the limits, unless the role has its own. */
export function analystLimitsSql(analyst: string): string {
  const rows = Object.entries(ANALYST_LIMITS).map(([name, value]) => `(${literal(name)}, ${literal(value)})`);
  return `-- Limits of the analyst's statements and transactions. A value that the role already has stays, also 0 (no limit).
do $limits$
declare
  v_limit record;
begin
  for v_limit in select * from (values ${rows.join(", ")}) as limits (name, value)
  loop
    if not exists (
      select
      from pg_db_role_setting s
      cross join unnest(s.setconfig) c (setting)
      where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
        and s.setrole = to_regrole(${literal(pg.escapeIdentifier(analyst))})
        and starts_with(c.setting, v_limit.name || '=')
    ) then
      begin
        execute format(
          'alter role %I in database %I set %I = %L', ${literal(analyst)}, current_database(), v_limit.name, v_limit.value
        );
      exception when insufficient_privilege then
        raise warning 'the % of ${analyst.replaceAll("%", "%%").replaceAll("'", "''")} could not be set', v_limit.name;
      end;
    end if;
  end loop;
end
$limits$;`;
}

/** Resets the analyst's limits that an install has set; an administrator's own stay. */
export async function resetAnalystLimits(
  client: pg.ClientBase,
  { analyst, database, notes }: { analyst: string; database: string; notes: string[] },
): Promise<void> {
  const { rows } = await client.query<{ setting: string }>(
    `select c.setting
     from pg_db_role_setting s
     cross join unnest(s.setconfig) c (setting)
     where s.setrole = to_regrole(quote_ident($1))
       and s.setdatabase = (select oid from pg_database where datname = current_database())`,
    [analyst],
  );
  for (const [name, value] of Object.entries(ANALYST_LIMITS)) {
    if (!rows.some(({ setting }) => setting === `${name}=${value}`)) continue;
    const reset = `alter role ${pg.escapeIdentifier(analyst)} in database ${database} reset ${name}`;
    await client.query("savepoint limits");
    try {
      await client.query(reset);
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || error.code !== "42501") throw error;
      await client.query("rollback to savepoint limits");
      notes.push(`An administrator can reset it: ${reset};`);
    }
  }
}
