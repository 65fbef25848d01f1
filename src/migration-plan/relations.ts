import pg from "pg";
import type { Relation } from "./observation.ts";

const RELATIONS = `
  select
    c.oid::bigint::double precision as oid,
    n.nspname || '.' || c.relname as name,
    c.relkind as kind,
    pn.nspname || '.' || p.relname as parent,
    tn.nspname || '.' || t.relname as "table"
  from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_inherits h on h.inhrelid = c.oid
    left join pg_catalog.pg_class p on p.oid = h.inhparent
    left join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
    left join pg_catalog.pg_index i on i.indexrelid = c.oid
    left join pg_catalog.pg_class t on t.oid = i.indrelid
    left join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
  where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`;

/** What a statement can change of a relation, apart from its rows. */
export interface RelationState {
  readonly oid: number;
  readonly modes: readonly string[];
  /** Null if it was dropped. */
  readonly file: number | null;
  readonly scans: number;
  readonly indexScans: number;
  readonly columns: readonly string[];
  readonly indexes: readonly number[];
}

/** The file of a relation, which a rewrite replaces, its scans in this transaction, its columns and its indexes. */
const stateOf = (oid: string) => `
    (select f.relfilenode::bigint::double precision from pg_catalog.pg_class f where f.oid = ${oid}) as file,
    pg_catalog.pg_stat_get_xact_numscans(${oid})::double precision as scans,
    (
      select coalesce(sum(pg_catalog.pg_stat_get_xact_numscans(i.indexrelid)), 0)::double precision
      from pg_catalog.pg_index i where i.indrelid = ${oid}
    ) as "indexScans",
    array(
      select a.attname::text from pg_catalog.pg_attribute a
      where a.attrelid = ${oid} and a.attnum > 0 and not a.attisdropped
    ) as columns,
    array(
      select i.indexrelid::bigint::double precision from pg_catalog.pg_index i where i.indrelid = ${oid}
    ) as indexes`;

/** The first relation that is not of the system. */
const FIRST_NORMAL_OID = 16_384;

/** The locks of a session, and the state of each locked relation. A statement can change only what it has locked. */
const LOCKED = `
  select
    l.relation::bigint::double precision as oid,
    array_agg(distinct l.mode::text) as modes,
    ${stateOf("l.relation")}
  from pg_catalog.pg_locks l
  where l.pid = $1 and l.locktype = 'relation' and l.relation >= ${FIRST_NORMAL_OID}
    and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
  group by l.relation`;

/** The state of all relations, for the time before a step, when the relations that it will lock are not known. */
const ALL = `
  select
    c.oid::bigint::double precision as oid,
    array[]::text[] as modes,
    ${stateOf("c.oid")}
  from pg_catalog.pg_class c
  where c.oid = any ($1::bigint[]::oid[])`;

export async function readRelations(client: pg.ClientBase): Promise<Relation[]> {
  return (await client.query<Relation>(RELATIONS)).rows;
}

export async function readLocked(
  client: pg.ClientBase,
  pid: number,
  oids: ReadonlySet<number>,
): Promise<RelationState[]> {
  // It runs after each statement of a migration, so the thousand numbers are compared here and not sent each time.
  const { rows } = await client.query<RelationState>(LOCKED, [pid]);
  return rows.filter(({ oid }) => oids.has(oid));
}

export async function readStates(client: pg.ClientBase, oids: ReadonlySet<number>): Promise<RelationState[]> {
  return (await client.query<RelationState>(ALL, [[...oids]])).rows;
}

/** `schema.name` with both parts quoted. */
export function quoted(name: string): string {
  const [schema = "", ...rest] = name.split(".");
  return `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(rest.join("."))}`;
}
