import type pg from "pg";

/** A line of the record of processing activities (GDPR article 30): the columns of one class in one table. */
export interface ProcessingActivity {
  readonly class: string;
  readonly table: string;
  readonly columns: readonly string[];
  readonly purpose: string;
  readonly kept: string;
  readonly protection: string;
  /** Database roles that may read at least one of the columns. */
  readonly recipients: readonly string[];
}

/** @param client a connection as the owner */
export async function readProcessingRecord(client: pg.Client): Promise<ProcessingActivity[]> {
  const { rows } = await client.query<ProcessingActivity>(QUERY);
  return rows;
}

/** A row lives as long as its account if foreign keys or the tag @userId delete it with the account. */
const QUERY = `
  with recursive lives (oid) as (
    select 'identity.users'::regclass::oid
    union
    select k.conrelid from pg_constraint k join lives l on l.oid = k.confrelid where k.contype = 'f' and k.confdeltype = 'c'
  ),
  classified as (
    select d.class, c.oid, d.schema_name, d.table_name, a.attname, a.attnum, a.atttypid
    from security.personal_data d
    join pg_namespace n on n.nspname = d.schema_name
    join pg_class c on c.relnamespace = n.oid and c.relname = d.table_name
    join pg_attribute a on a.attrelid = c.oid and a.attname = d.column_name
    where d.class <> 'none'
  )
  select
    c.class,
    c.schema_name || '.' || c.table_name as table,
    array_agg(c.attname::text order by c.attnum) as columns,
    coalesce(
      (
        select string_agg(l.line, ' ' order by l.n)
        from string_to_table(obj_description(c.oid, 'pg_class'), E'\\n') with ordinality l (line, n)
        where l.line !~ '^@'
      ),
      ''
    ) as purpose,
    coalesce(
      (
        select format('%s, then %s', p.kept_for, case p.action when 'drop' then 'deleted' when 'archive' then 'archived' else 'kept' end)
        from security.retention_policies p
        where p.log = c.schema_name || '.' || c.table_name
      ),
      case
        when c.oid in (select l.oid from lives l)
          or exists (
            select from pg_attribute u
            where u.attrelid = c.oid and private.smart_tag(col_description(c.oid, u.attnum), 'userId') ~ '^delete'
          ) then 'life of the account'
        else 'until it is deleted; without the person after an erasure'
      end
    ) as kept,
    concat_ws(
      ', ',
      'row-level security' || case when exists (select from pg_class r where r.oid = c.oid and r.relrowsecurity) then '' else ' missing' end,
      case when c.schema_name = 'private' then 'closed schema' end,
      'encrypted: ' || string_agg(c.attname, ' ' order by c.attnum) filter (where c.attname ~ '(^|_)(sealed|wrapped)(_|$)'),
      'hashed: ' || string_agg(c.attname, ' ' order by c.attnum) filter (where c.attname ~ '(^|_)(hash|hashes|hashed)(_|$)')
    ) as protection,
    array(
      select r.rolname::text
      from pg_roles r
      where not r.rolsuper
        and r.rolname !~ '^pg_'
        and r.oid <> (select t.relowner from pg_class t where t.oid = c.oid)
        and has_any_column_privilege(r.oid, c.oid, 'select')
        and exists (
          select from unnest(array_agg(c.attnum)) n (number)
          where has_column_privilege(r.oid, c.oid, n.number, 'select')
        )
      order by 1
    ) as recipients
  from classified c
  group by c.class, c.oid, c.schema_name, c.table_name
  order by array_position(array['contact', 'content', 'credential', 'financial', 'pseudonym'], c.class), 2`;

/** RFC 4180. A cell that a spreadsheet would calculate begins with an apostrophe. */
export function toCsv(record: readonly ProcessingActivity[]): string {
  const cell = (value: string | readonly string[]): string => {
    const text = typeof value === "string" ? value : value.join(" ");
    return `"${text.replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;
  };
  const lines = record.map((activity) =>
    [
      activity.class,
      activity.table,
      activity.columns,
      activity.purpose,
      activity.kept,
      activity.protection,
      activity.recipients,
    ]
      .map(cell)
      .join(","),
  );
  return ["class,table,columns,purpose,kept,protection,recipients", ...lines]
    .map((line) => `${line}\r\n`)
    .join("");
}
