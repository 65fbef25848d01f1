import type pg from "pg";
import { HISTORY_SCHEMAS } from "./history.ts";
import { JOB_SCHEMA, SCHEMAS } from "./schemas.ts";

/** A place in an application's tables that blocks deletions of accounts, outlives them, or is missing in exports. */
export interface UserDataGap {
  readonly kind:
    | "blocks"
    /** A column user_id that no foreign key and no tag declares: its rows outlive the account. */
    | "undeclared"
    /** Refers to rows of users, but no rule says to whom its rows belong. */
    | "not exported"
    /** Names users, but another role owns it, so that exports leave it out. */
    | "of another owner";
  /** `shop.invoices`. */
  readonly table: string;
  /** The reason, without the table. */
  readonly reason: string;
}

/** Returns the gaps of all tables beside Plinth's. Any role may ask, but only the owner learns which tables exports leave out. */
export async function findUserDataGaps(client: pg.ClientBase): Promise<readonly UserDataGap[]> {
  const { rows: known } = await client.query<{ isMigrated: boolean; mayCall: boolean }>(
    `select
       exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'identity' and c.relname = 'users') as "isMigrated",
       coalesce((
         select has_function_privilege(p.oid, 'execute') and has_schema_privilege(n.oid, 'usage')
         from pg_proc p join pg_namespace n on n.oid = p.pronamespace
         where n.nspname = 'private' and p.proname = 'data_export_sources'
       ), false) as "mayCall"`,
  );
  if (!known[0]!.isMigrated) return [];
  const queries = [
    BLOCKERS,
    TAGS,
    UNDECLARED,
    OTHER_OWNERS,
    FORCED,
    ...(known[0]!.mayCall ? [NOT_EXPORTED] : []),
  ];
  const gaps: UserDataGap[] = [];
  for (const query of queries) gaps.push(...(await client.query<UserDataGap>(query, [OTHER_SCHEMAS])).rows);
  return gaps;
}

/** Schemas without tables of an application. */
export const OTHER_SCHEMAS = [...SCHEMAS, ...HISTORY_SCHEMAS, "information_schema", JOB_SCHEMA];

/** By name, because to_regclass() requires privileges on the schema. */
export const USERS = `(
  select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'identity' and c.relname = 'users'
)`;
export const OWN_TABLES = `
  own as (
    select c.oid, format('%s.%s', n.nspname, c.relname) as name, c.relowner
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p')
      and not c.relispartition
      and n.nspname <> all ($1)
      and n.nspname !~ '^pg_'
      and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
  )`;

/**
 * The deletion of an account deletes rows in every table that refers to it by cascade, over any number of tables. Each foreign key
 * of an application to such a table must delete or clear its own rows too. A key without an action to a table other than
 * identity.users may pass if the row that has it is deleted in the same statement.
 */
const BLOCKERS = `
  with recursive ${OWN_TABLES},
  deleted (oid) as (
    select ${USERS}
    union
    select k.conrelid from pg_constraint k join deleted d on d.oid = k.confrelid where k.contype = 'f' and k.confdeltype = 'c'
  )
  select
    'blocks' as kind,
    o.name as table,
    format(
      case when k.confdeltype = 'n' then '%s has "on delete set null", but its column is not null'
        else '%s refers to %s without "on delete cascade" or "on delete set null"' end,
      k.conname, format('%s.%s', n.nspname, c.relname)
    ) as reason
  from own o
  join pg_constraint k on k.conrelid = o.oid and k.contype = 'f' and k.conparentid = 0
  join pg_class c on c.oid = k.confrelid
  join pg_namespace n on n.oid = c.relnamespace
  where k.confrelid in (select d.oid from deleted d)
    and case k.confdeltype
      when 'c' then false
      when 'n' then exists (
        select from pg_attribute a
        where a.attrelid = k.conrelid and a.attnotnull and a.attnum = any (coalesce(nullif(k.confdelsetcols, '{}'), k.conkey))
      )
      when 'a' then k.confrelid = ${USERS} or o.oid not in (select d.oid from deleted d)
      else true
    end
  order by o.name collate "C", k.conname collate "C"`;

export const HAS_TAG = (tag: string, comment: string) => `coalesce(${comment}, '') ~ '(?n)^@${tag}\\M'`;

/** The tag is read when an account is deleted. */
const TAGS = `
  with ${OWN_TABLES}
  select
    case when p.problem like '%uuid' then 'undeclared' else 'blocks' end as kind,
    o.name as table,
    format(p.problem, a.attname) as reason
  from own o
  join pg_attribute a on a.attrelid = o.oid and a.attnum > 0
  cross join lateral (
    select case
      when not ${HAS_TAG("userId", "col_description(o.oid, a.attnum)")} then null
      when a.atttypid <> 'uuid'::regtype then '%s has the tag @userId, but is not a uuid'
      when col_description(o.oid, a.attnum) !~ '(?n)^@userId[ \\t]+(delete|clear|keep)\\M'
        then '%s has the tag @userId without delete, clear or keep'
      when a.attnotnull and col_description(o.oid, a.attnum) ~ '(?n)^@userId[ \\t]+clear\\M'
        then '%s has the tag @userId clear, but is not null'
    end
  ) p (problem)
  where p.problem is not null
  order by 1, o.name collate "C", a.attnum`;

/** The export runs with the rights of the owner, to whom only forced policies apply. */
const FORCED = `
  with ${OWN_TABLES}
  select 'not exported' as kind, o.name as table, 'has forced row security, so that exports fail' as reason
  from own o
  join pg_class c on c.oid = o.oid and c.relforcerowsecurity
  where o.relowner = (select c.relowner from pg_class c where c.oid = ${USERS})
    and exists (
      select from pg_attribute a
      where a.attrelid = o.oid and a.atttypid = 'uuid'::regtype
        and (a.attname = 'user_id' or exists (
          select from pg_constraint k
          where k.conrelid = o.oid and k.contype = 'f' and k.confrelid = ${USERS} and a.attnum = any (k.conkey)
        ))
    )
    and not ${HAS_TAG("dataExport", "obj_description(o.oid, 'pg_class')")}
  order by 2`;

const UNDECLARED = `
  with ${OWN_TABLES}
  select
    'undeclared' as kind,
    o.name as table,
    format('%s has no foreign key and no tag @userId', a.attname) as reason
  from own o
  join pg_attribute a on a.attrelid = o.oid and a.attname = 'user_id' and a.atttypid = 'uuid'::regtype
  where o.relowner = (select c.relowner from pg_class c where c.oid = ${USERS})
    and not ${HAS_TAG("userId", "col_description(o.oid, a.attnum)")}
    and not exists (select from pg_constraint k where k.conrelid = o.oid and k.contype = 'f' and a.attnum = any (k.conkey))
  order by 2`;

const OTHER_OWNERS = `
  with ${OWN_TABLES}
  select
    'of another owner' as kind,
    o.name as table,
    format('its owner is %s', pg_get_userbyid(o.relowner)) as reason
  from own o
  where o.relowner <> (select c.relowner from pg_class c where c.oid = ${USERS})
    and exists (select from pg_constraint k where k.conrelid = o.oid and k.contype = 'f' and k.confrelid = ${USERS})
    and not ${HAS_TAG("dataExport", "obj_description(o.oid, 'pg_class')")}
  order by 2`;

const NOT_EXPORTED = `
  with ${OWN_TABLES},
  exported as (select s.table_oid from private.data_export_sources() s)
  select
    'not exported' as kind,
    o.name as table,
    format(
      'refers to %s, but no rule says whose its rows are',
      string_agg(distinct format('%s.%s', n.nspname, c.relname), ' and ')
    ) as reason
  from own o
  join pg_constraint k on k.conrelid = o.oid and k.contype = 'f' and k.confrelid <> o.oid
  join pg_class c on c.oid = k.confrelid
  join pg_namespace n on n.oid = c.relnamespace
  where k.confrelid in (select e.table_oid from exported e)
    and o.oid not in (select e.table_oid from exported e)
    and o.relowner = (select u.relowner from pg_class u where u.oid = ${USERS})
    and not ${HAS_TAG("dataExport", "obj_description(o.oid, 'pg_class')")}
  group by o.name
  order by 2`;
