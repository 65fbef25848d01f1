import type pg from "pg";
import { SCHEMAS } from "../database/schemas.ts";

/** A statement that would do a table or an index good. */
export interface Task {
  readonly kind: "vacuum" | "analyze" | "reindex" | "drop";
  /** Schema and name, quoted for SQL. */
  readonly target: string;
  readonly reason: string;
}

/** Autovacuum acts at a fifth of dead rows and a tenth of changed ones. Twice that means that it does not keep up. */
const DEAD_ROWS = 0.4;
const CHANGED_ROWS = 0.2;
const MIN_ROWS = 1_000;
/** An index that is as large as three fresh ones. Half empty is normal. */
const BLOAT_FACTOR = 3;
const MIN_WASTED_BYTES = 1024 * 1024;

/** Finds what needs vacuum, analyze or reindex. The bloat of indexes is estimated only for tables that the role may read. */
export async function findTasks(client: pg.Client, schemas: readonly string[] = SCHEMAS): Promise<Task[]> {
  const found: Task[] = [];
  for (const [kind, sql] of QUERIES) {
    const { rows } = await client.query<{ target: string; reason: string }>(sql, [schemas]);
    found.push(...rows.map((row) => ({ kind, ...row })));
  }
  return found;
}

/** A default partition whose rows have moved keeps its size, which looks like rows, until it is vacuumed. */
const EMPTY_DEFAULT = `s.n_live_tup = 0 and s.n_dead_tup > 0 and exists (
    select from pg_class c where c.oid = s.relid and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
  )`;

const VACUUM = `
  select format('%I.%I', s.schemaname, s.relname) as target, s.n_dead_tup || ' dead rows of ' || s.n_live_tup || ' live ones' as reason
  from pg_stat_user_tables s
  where s.schemaname = any ($1) and (s.n_dead_tup > ${MIN_ROWS} + ${DEAD_ROWS} * s.n_live_tup or ${EMPTY_DEFAULT})
  order by s.n_dead_tup desc`;

const ANALYZE = `
  select format('%I.%I', s.schemaname, s.relname) as target, s.n_mod_since_analyze || ' rows changed since the last analyze' as reason
  from pg_stat_user_tables s
  where s.schemaname = any ($1)
    and s.n_mod_since_analyze > ${MIN_ROWS} + ${CHANGED_ROWS} * s.n_live_tup
    and s.n_dead_tup <= ${MIN_ROWS} + ${DEAD_ROWS} * s.n_live_tup
  order by s.n_mod_since_analyze desc`;

/** Autovacuum analyzes partitions, never the partitioned table, whose statistics the planner uses for queries over many months. */
const ANALYZE_PARTITIONED = `
  select format('%I.%I', n.nspname, c.relname) as target, 'autovacuum does not analyze partitioned tables' as reason
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  cross join lateral (
    select sum(greatest(p.reltuples, 0)) as rows
    from pg_inherits i
    join pg_class p on p.oid = i.inhrelid
    where i.inhparent = c.oid
  ) parts
  where n.nspname = any ($1)
    and c.relkind = 'p'
    and abs(parts.rows - greatest(c.reltuples, 0)) > ${MIN_ROWS} + ${CHANGED_ROWS} * greatest(c.reltuples, 0)
  order by 1`;

/** Only REINDEX CONCURRENTLY gives its indexes these names. They remain if it was interrupted. */
const LEFTOVER = "'_cc(new|old)[0-9]*$'";

const DROP = `
  select format('%I.%I', n.nspname, c.relname) as target, 'left over from an interrupted reindex' as reason
  from pg_index i
  join pg_class c on c.oid = i.indexrelid and c.relkind = 'i'
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any ($1) and not i.indisvalid and c.relname ~ ${LEFTOVER}
  order by 1`;

const REINDEX_INVALID = `
  select format('%I.%I', n.nspname, c.relname) as target, 'invalid: no query uses it' as reason
  from pg_index i
  join pg_class c on c.oid = i.indexrelid and c.relkind = 'i'
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any ($1) and not i.indisvalid and c.relname !~ ${LEFTOVER}
  order by 1`;

/**
 * Compares a B-tree with the size of a fresh one: an entry has 8 bytes of header and 4 of pointer, the average width of its columns
 * rounded up to 8, and a page is nine tenths full. Fresh indexes with many equal values are smaller, so the estimate finds too few
 * rather than too many.
 */
const REINDEX_BLOATED = `
  select
    target,
    pg_size_pretty(bytes) || ', about ' || pg_size_pretty(fresh_bytes) || ' if it were fresh' as reason
  from (
    select
      format('%I.%I', n.nspname, c.relname) as target,
      pg_relation_size(c.oid) as bytes,
      (8192 * (2 + ceil(greatest(c.reltuples, 0) * (12 + 8 * ceil(widths.total / 8.0)) / (8152 * 0.9))))::bigint as fresh_bytes
    from pg_index i
    join pg_class c on c.oid = i.indexrelid and c.relkind = 'i'
    join pg_am a on a.oid = c.relam and a.amname = 'btree'
    join pg_class t on t.oid = i.indrelid and t.reltuples >= 0
    join pg_namespace n on n.oid = c.relnamespace
    cross join lateral (
      select sum(s.avg_width) as total, count(s.avg_width) as known
      from unnest(i.indkey::smallint[]) k (number)
      left join pg_attribute b on b.attrelid = t.oid and b.attnum = k.number
      left join pg_stats s on s.schemaname = n.nspname and s.tablename = t.relname and s.attname = b.attname and not s.inherited
    ) widths
    where n.nspname = any ($1) and i.indisvalid and i.indexprs is null and widths.known = i.indnatts
  ) sizes
  where bytes > ${BLOAT_FACTOR} * fresh_bytes and bytes - fresh_bytes > ${MIN_WASTED_BYTES}
  order by bytes - fresh_bytes desc`;

/** In this order: a vacuum counts the rows that the size of a fresh index depends on, and leftovers slow it down. */
const QUERIES: readonly (readonly [Task["kind"], string])[] = [
  ["drop", DROP],
  ["vacuum", VACUUM],
  ["analyze", ANALYZE],
  ["analyze", ANALYZE_PARTITIONED],
  ["reindex", REINDEX_INVALID],
  ["reindex", REINDEX_BLOATED],
];
