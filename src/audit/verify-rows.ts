import type pg from "pg";
import type { AuditFault } from "./fault.ts";

/** The tables that this check reads, with the columns that it needs. */
export const AUDIT_LOGS = ["security.security_audit_log", "security.audit_trail"] as const;
export type AuditLog = (typeof AUDIT_LOGS)[number];

/** A span of time of a log: from `from` until before `until`, or without an end. */
export interface Span {
  readonly log: AuditLog;
  readonly from: string;
  readonly until: string | null;
}

/** The other tables that hold rows of a span. */
export interface Elsewhere {
  readonly tables: readonly string[];
  /** Whether the log and the tables hold all rows that have not been erased. */
  readonly isComplete: boolean;
}

export interface VerifiedRows {
  readonly rows: number;
  /** Rows with an erasure. */
  readonly erased: number;
  /** Rows that say an earlier time, because an import wrote them. */
  readonly imported: number;
  /** Commitments whose rows left the database for a place that was not read. */
  readonly unread: number;
  /** The earliest faults of the span, up to 20. */
  readonly faults: readonly AuditFault[];
  readonly faultCount: number;
}

/** Rows of archived months, loaded for the comparison. */
export const LOADED_ROWS = "pg_temp.loaded_audit_rows";

/** A row that was committed to this long after a block had been closed claims a time of its own; no transaction lasts as long. */
const LONGEST_TRANSACTION = "1 day";

/**
 * Compares the rows of a span with their commitments.
 * @param client inside a transaction, as the owner, with the time zone UTC
 * @param since the start of the chain: earlier rows have a commitment only if an import wrote them
 */
export async function verifyRows(
  client: pg.ClientBase,
  { log, from, until }: Span,
  { tables, isComplete }: Elsewhere,
  since: string | null,
): Promise<VerifiedRows> {
  // Without an end, the parameter is used all the same. A condition with `or` would read the partitions of all later months.
  const end = (column: string) => (until === null ? "$3::timestamptz is null" : `${column} < $3`);
  const within = (column: string) => `${column} >= $2 and ${end(column)}`;
  const actual = [
    ...[log, ...tables].map(
      (table) =>
        `select t.id, t.created_at, to_jsonb(t) as content from ${table} t where ${within("t.created_at")}`,
    ),
    `select l.id, l.created_at, l.content from ${LOADED_ROWS} l where ${within("l.created_at")}`,
  ].join(" union all ");
  const { rows } = await client.query<{
    rows: string;
    erased: string;
    imported: string;
    unread: string;
    counted: string;
    faults: AuditFault[] | null;
  }>(
    `with actual as (${actual}),
     erasures as (
       select
         e.row_id, (array_agg(e.content_hash order by e.version desc))[1] as content_hash, count(e.account_id) > 0 as is_unfounded,
         -- The deletion of an account writes its certificate in the same transaction, so at the same time.
         count(*) > count(f.created_at) as is_uncertified
       from private.audit_commitments e
       left join (select distinct created_at from security.erasure_certificates) f on f.created_at = e.created_at
       where e.log = $1 and e.version > 0 and ${within("e.row_created_at")}
       group by e.row_id
     ),
     -- The event of an import shows that its commitment is there, wherever its row is by now.
     imports as materialized (
       select i.row_id, i.created_at
       from (
         select distinct d.created_at
         from private.audit_commitments d
         where d.log = $1 and d.version = 0 and d.created_at <> d.row_created_at and ${within("d.row_created_at")}
       ) d
       join private.audit_commitments i on i.row_id = private.audit_import_id(d.created_at)
       where i.log = 'security.security_audit_log' and i.version = 0
         and i.created_at = d.created_at and i.row_created_at = d.created_at
     ),
     committed as (
       select
         c.row_id, c.row_created_at, c.fixed_hash, coalesce(e.content_hash, c.content_hash) as content_hash,
         e.row_id is not null as is_erased, e.is_unfounded, e.is_uncertified,
         i.row_id is not null as is_imported,
         c.created_at <> c.row_created_at and i.row_id is null or p.closed_at - c.created_at > '${LONGEST_TRANSACTION}' as is_backdated
       from private.audit_commitments c
       left join erasures e on e.row_id = c.row_id
       left join imports i on i.created_at = c.created_at and c.created_at > c.row_created_at
       left join private.audit_blocks p on p.number = c.block_number - 1
       where c.log = $1 and c.version = 0 and ${within("c.row_created_at")}
     ),
     compared as materialized (
       select
         coalesce(a.id, c.row_id) as id, coalesce(a.created_at, c.row_created_at) as created_at, a.id is not null as is_found,
         c.row_id is not null or a.created_at >= coalesce($5::timestamptz, '-infinity') as is_covered,
         c.is_erased, c.is_imported,
         case
           when c.row_id is null then case when a.created_at >= coalesce($5::timestamptz, '-infinity') then 'inserted' end
           when a.id is null then case when $4 then 'missing' else 'unread' end
           when a.created_at <> c.row_created_at
             or private.audit_row_hash($1, a.content, false) is distinct from c.fixed_hash
             or private.audit_row_hash($1, a.content, true) is distinct from c.content_hash then 'altered'
           when c.is_backdated then 'backdated'
           when c.is_unfounded then 'cleared'
           -- An archive is cleared later, and with it the failed sign-ins by a name that only the archive knew.
           when c.is_uncertified
             and not exists (
               select
               from security.archives r
               where (r.log = $1 and r.month = date_trunc('month', c.row_created_at)::date)
                 or (r.log = 'security.login_attempts' and a.content ->> 'event_type' = 'login_failed')
             ) then 'cleared'
         end as fault
       from actual a
       full join committed c on c.row_id = a.id
     )
     select
       (select count(*) from compared d where d.is_found and d.is_covered) as rows,
       (select count(*) from compared d where d.is_erased) as erased,
       (select count(*) from compared d where d.is_imported) as imported,
       (select count(*) from compared d where d.fault = 'unread') as unread,
       (select count(*) from compared d where d.fault <> 'unread') as counted,
       (
         select jsonb_agg(
           jsonb_build_object('kind', f.fault, 'log', $1, 'id', f.id, 'block', null, 'at', f.created_at::text)
           order by f.created_at, f.id
         )
         from (
           select * from compared d where d.fault <> 'unread' order by d.created_at, d.id limit 20
         ) f
       ) as faults`,
    [log, from, until, isComplete, since],
  );
  const [found] = rows;
  return {
    rows: Number(found!.rows),
    erased: Number(found!.erased),
    imported: Number(found!.imported),
    unread: Number(found!.unread),
    faults: found!.faults ?? [],
    faultCount: Number(found!.counted),
  };
}
