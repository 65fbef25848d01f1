import type pg from "pg";
import { conflicts, type LockMode, lockMode } from "../database/locks/lock-modes.ts";
import { type Holder, isoTime, isPreparedBy } from "../database/locks/lock-wait.ts";
import { quoted } from "./relations.ts";

// Reads of the live database: the catalogues, and counts of small tables. They take ACCESS SHARE, wait a second at most, and run
// outside a transaction, so that they hold nothing.

export interface LiveRelation {
  /** With its schema, as `schema.name`. */
  readonly name: string;
  readonly kind:
    | "table"
    | "partitioned table"
    | "view"
    | "materialized view"
    | "index"
    | "sequence"
    | "other";
  /** The partitioned table or index that it belongs to. */
  readonly parent: string | null;
  /** The table of an index. */
  readonly table: string | null;
  /** Estimate of the last ANALYZE or of the statistics collector; null for a relation without rows of its own. */
  readonly rows: number | null;
  /** With indexes and TOAST; null if a lock keeps it from being measured. */
  readonly bytes: number | null;
}

const KINDS: Readonly<Record<string, LiveRelation["kind"]>> = {
  r: "table",
  p: "partitioned table",
  v: "view",
  m: "materialized view",
  i: "index",
  I: "index",
  S: "sequence",
};

const relationsSql = (bytes: string) => `
  select
    n.nspname || '.' || c.relname as name,
    c.relkind as kind,
    pn.nspname || '.' || p.relname as parent,
    (
      select tn.nspname || '.' || t.relname
      from pg_catalog.pg_index i
        join pg_catalog.pg_class t on t.oid = i.indrelid
        join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace
      where i.indexrelid = c.oid
    ) as "table",
    case
      when c.relkind in ('r', 'm') and c.reltuples >= 0 then c.reltuples::double precision
      when c.relkind in ('r', 'm') then coalesce(s.n_live_tup, 0)::double precision
    end as rows,
    ${bytes} as bytes
  from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_inherits h on h.inhrelid = c.oid
    left join pg_catalog.pg_class p on p.oid = h.inhparent
    left join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
    left join pg_catalog.pg_stat_all_tables s on s.relid = c.oid
  where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`;

/** Returns all relations by name. */
export async function readLiveRelations(client: pg.ClientBase): Promise<Map<string, LiveRelation>> {
  const read = (bytes: string) =>
    client.query<Omit<LiveRelation, "kind"> & { kind: string }>(relationsSql(bytes));
  const measured =
    "case when c.relkind in ('r', 'm', 'i') then pg_catalog.pg_total_relation_size(c.oid)::double precision end";
  const { rows } = await read(measured).catch((error: { code?: string }) => {
    // A table is locked by ACCESS EXCLUSIVE now.
    if (error.code !== "55P03") throw error;
    return read("null::double precision");
  });
  return new Map(rows.map((row) => [row.name, { ...row, kind: KINDS[row.kind] ?? "other" }]));
}

/** A session that holds a lock now which a step's lock excludes. */
export interface Blocker extends Holder {
  readonly relation: string;
  readonly needs: LockMode;
}

const HOLDERS = `
  select
    n.nspname || '.' || c.relname as relation,
    l.pid,
    p.gid as "preparedAs",
    a.usename as role,
    coalesce(nullif(a.application_name, ''), a.backend_type) as application,
    a.state,
    ${isoTime("coalesce(a.xact_start, p.prepared)")} as since,
    l.mode,
    not l.granted as "isWaiting"
  from pg_catalog.pg_locks l
    join pg_catalog.pg_class c on c.oid = l.relation
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_stat_activity a on a.pid = l.pid
    left join pg_catalog.pg_prepared_xacts p on l.pid is null and ${isPreparedBy("l", "p")}
  where l.locktype = 'relation'
    and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
    and l.pid is distinct from pg_backend_pid()
    and n.nspname || '.' || c.relname = any ($1)
  order by since nulls last, l.pid, relation`;

/** Returns the sessions that hold or await locks which these locks exclude. */
export async function readBlockers(
  client: pg.ClientBase,
  needed: readonly { name: string; mode: LockMode }[],
): Promise<Blocker[]> {
  const { rows } = await client.query<Omit<Blocker, "mode" | "needs"> & { mode: string }>(HOLDERS, [
    [...new Set(needed.map(({ name }) => name))],
  ]);
  return rows.flatMap((row) => {
    const mode = lockMode(row.mode);
    const needs = needed
      .filter((lock) => lock.name === row.relation && conflicts(lock.mode, mode))
      .map((lock) => lock.mode)
      .at(-1);
    return needs ? [{ ...row, mode, needs }] : [];
  });
}

/** Larger tables are not read. */
const COUNTED_BYTES = 64 * 1024 * 1024;

/** Rows of a table, or values of a column that are not null; an estimate if the table is large or locked. */
export async function countRows(
  client: pg.ClientBase,
  relation: LiveRelation,
  column: string | null,
): Promise<{ rows: number | null; isExact: boolean }> {
  if (relation.kind === "partitioned table" || (relation.bytes ?? Infinity) <= COUNTED_BYTES) {
    const what = column === null ? "*" : `"${column.replaceAll('"', '""')}"`;
    const counted = await client
      .query<{ rows: number }>(
        `select count(${what})::double precision as rows from ${quoted(relation.name)}`,
      )
      .catch((error: { code?: string }) => {
        // A lock, or the statement timeout.
        if (error.code !== "55P03" && error.code !== "57014") throw error;
        return undefined;
      });
    if (counted) return { rows: counted.rows[0]!.rows, isExact: true };
  }
  return { rows: relation.rows, isExact: false };
}
