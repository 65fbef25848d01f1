import type pg from "pg";

export interface Column {
  readonly name: string;
  /** Its type, of a domain the type below it. */
  readonly type: string;
  /** Whether rows would conflict if they had the same value here, and it refers to no other row. */
  readonly isKey: boolean;
  /** Table and column that it refers to, if it is part of a unique key. */
  readonly keyOf: { readonly table: string; readonly column: string } | null;
  /** Whether it holds the id of a user, directly or through the key of another table. */
  readonly isUser: boolean;
  /** Likewise of a room. */
  readonly isRoom: boolean;
}

export interface Relation {
  /** `schema.name`, as SQL. */
  readonly name: string;
  readonly kind: "table" | "partition" | "view" | "materialized view";
  /** Columns that a statement can name in INSERT and UPDATE, and their order. */
  readonly columns: readonly Column[];
  /** Columns that only the database writes. */
  readonly generated: readonly string[];
  readonly key: readonly string[];
  readonly references: readonly Reference[];
}

/** A foreign key to a row of another table. */
interface Reference {
  readonly table: string;
  /** `parent.a = t.b and …` */
  readonly join: string;
}

/** The tables, partitions and views of these schemas. */
export async function readRelations(
  client: pg.ClientBase,
  schemas: readonly string[],
): Promise<readonly Relation[]> {
  const { rows } = await client.query<Relation>(RELATIONS, [schemas]);
  return rows;
}

const RELATIONS = `
with recursive
  link as (
    select k.conrelid, k.confrelid, own.attnum, other.attnum as foreign_attnum
    from pg_constraint k
    cross join unnest(k.conkey, k.confkey) as pair (own, other)
    cross join lateral (select pair.own as attnum) own
    cross join lateral (select pair.other as attnum) other
    where k.contype = 'f'
  ),
  holder as (
    select 'identity.users'::regclass::oid as root, 'identity.users'::regclass::oid as relid, attnum
    from pg_attribute where attrelid = 'identity.users'::regclass and attname = 'id'
    union
    select 'rooms.chat_rooms'::regclass::oid, 'rooms.chat_rooms'::regclass::oid, attnum
    from pg_attribute where attrelid = 'rooms.chat_rooms'::regclass and attname = 'id'
    union
    select h.root, l.conrelid, l.attnum
    from holder h join link l on l.confrelid = h.relid and l.foreign_attnum = h.attnum
  ),
  -- Logs outlive their users and rooms, so their columns refer to nothing; they have the same names.
  holder_name as (
    select distinct h.root, a.attname
    from holder h join pg_attribute a on a.attrelid = h.relid and a.attnum = h.attnum where a.attname <> 'id'
  ),
  unique_column as (
    select i.indrelid, k.attnum
    from pg_index i cross join unnest(i.indkey) k (attnum)
    where i.indisunique
  )
select c.oid::regclass::text as name,
  case when c.relispartition then 'partition' when c.relkind in ('r', 'p') then 'table'
    when c.relkind = 'v' then 'view' else 'materialized view' end as kind,
  coalesce((
    select jsonb_agg(jsonb_build_object(
      'name', quote_ident(a.attname),
      'type', format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null),
      'isKey', exists (select from unique_column u where u.indrelid = c.oid and u.attnum = a.attnum)
        and not exists (select from link l where l.conrelid = c.oid and l.attnum = a.attnum),
      'keyOf', (
        select jsonb_build_object('table', l.confrelid::regclass::text, 'column', quote_ident(f.attname))
        from link l join pg_attribute f on f.attrelid = l.confrelid and f.attnum = l.foreign_attnum
        where l.conrelid = c.oid and l.attnum = a.attnum
          and exists (select from unique_column u where u.indrelid = c.oid and u.attnum = a.attnum)
        order by l.confrelid::regclass::text limit 1
      ),
      'isUser', exists (select from holder h where h.root = 'identity.users'::regclass and h.relid = c.oid and h.attnum = a.attnum)
        or a.atttypid = 'uuid'::regtype
          and (exists (select from holder_name h where h.root = 'identity.users'::regclass and h.attname = a.attname)
            or coalesce(col_description(c.oid, a.attnum), '') ~ '(?n)^@userId\\M'),
      'isRoom', exists (select from holder h where h.root = 'rooms.chat_rooms'::regclass and h.relid = c.oid and h.attnum = a.attnum)
        or a.atttypid = 'uuid'::regtype
          and exists (select from holder_name h where h.root = 'rooms.chat_rooms'::regclass and h.attname = a.attname)
    ) order by a.attnum)
    from pg_attribute a join pg_type t on t.oid = a.atttypid
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity <> 'a'
  ), '[]') as columns,
  array(
    select quote_ident(a.attname) from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and (a.attgenerated <> '' or a.attidentity = 'a')
    order by a.attnum
  ) as generated,
  array(
    select quote_ident(a.attname) from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
    where i.indrelid = c.oid and i.indisprimary order by a.attnum
  ) as key,
  coalesce((
    select jsonb_agg(jsonb_build_object('table', k.confrelid::regclass::text, 'join', (
      select string_agg(format('p.%I = t.%I', f.attname, a.attname), ' and ' order by a.attnum)
      from unnest(k.conkey, k.confkey) pair (own, other)
      join pg_attribute a on a.attrelid = k.conrelid and a.attnum = pair.own
      join pg_attribute f on f.attrelid = k.confrelid and f.attnum = pair.other
    )) order by k.conname)
    from pg_constraint k
    where k.conrelid = c.oid and k.contype = 'f' and k.confrelid <> k.conrelid and k.conparentid = 0
  ), '[]') as references
from pg_class c
where c.relnamespace = any ($1::text[]::regnamespace[]) and c.relkind in ('r', 'p', 'v', 'm')
order by c.oid::regclass::text collate "C"`;
