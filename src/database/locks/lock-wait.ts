import pg from "pg";
import { type LockMode, lockMode } from "./lock-modes.ts";

/** A session or a prepared transaction that a lock waits for. */
export interface Holder {
  /** Null for a prepared transaction, which belongs to no session. */
  readonly pid: number | null;
  readonly preparedAs: string | null;
  /** Null for a prepared transaction and for a background process. */
  readonly role: string | null;
  readonly application: string | null;
  /** Null if the reader may not see it: only a member of the role or of pg_read_all_stats may. */
  readonly state: string | null;
  /** Start of its transaction, in ISO 8601. */
  readonly since: string | null;
  /** Its lock on the same table, if the wait is for a table. It may itself still wait for that lock, ahead in the queue. */
  readonly mode: LockMode | null;
  readonly isWaiting: boolean;
}

export interface LockWait {
  /** The table, such as `identity.users`; null if the wait is for another transaction's end. */
  readonly relation: string | null;
  /** Null if the wait is for a row of the table or for a transaction. */
  readonly mode: LockMode | null;
  readonly holders: readonly Holder[];
}

/** Text of a timestamp in ISO 8601, to the second. */
export const isoTime = (expression: string): string =>
  `to_char(${expression} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`;

/** A prepared transaction's locks have no process; its lock on its own number tells which it is. */
export const isPreparedBy = (lock: string, prepared: string): string => `exists (
  select from pg_catalog.pg_locks own
  where own.pid is null and own.locktype = 'transactionid' and own.virtualtransaction = ${lock}.virtualtransaction
    and own.transactionid = ${prepared}.transaction
)`;

// A row lock waits for the transaction that holds it; the table then appears in the waiting session's lock on the tuple.
const QUERY = `
  with waiting as (
    select l.* from pg_catalog.pg_locks l where l.pid = $1 and not l.granted limit 1
  )
  select
    (
      select n.nspname || '.' || c.relname
      from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.oid = coalesce(
        w.relation,
        (select t.relation from pg_catalog.pg_locks t where t.pid = $1 and t.locktype = 'tuple' limit 1)
      )
    ) as relation,
    case when w.locktype = 'relation' then w.mode end as mode,
    nullif(b.pid, 0) as pid,
    p.gid as "preparedAs",
    a.usename as role,
    coalesce(nullif(a.application_name, ''), a.backend_type) as application,
    a.state,
    ${isoTime("coalesce(a.xact_start, p.prepared)")} as since,
    case when w.locktype = 'relation' then h.mode end as held,
    coalesce(not h.granted, false) as "isWaiting"
  from waiting w
    cross join unnest(pg_catalog.pg_blocking_pids($1)) as b (pid)
    left join pg_catalog.pg_stat_activity a on a.pid = b.pid
    left join pg_catalog.pg_locks h
      on h.pid is not distinct from nullif(b.pid, 0)
      and h.locktype = w.locktype
      and (h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid, h.classid, h.objid, h.objsubid)
        is not distinct from
        (w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid, w.classid, w.objid, w.objsubid)
    left join pg_catalog.pg_prepared_xacts p on b.pid = 0 and ${isPreparedBy("h", "p")}
  order by "isWaiting", since nulls last, b.pid`;

/** Returns the lock that a session waits for now, and the sessions it waits for; undefined if it does not wait. */
export async function readLockWait(client: pg.ClientBase, pid: number): Promise<LockWait | undefined> {
  const { rows } = await client.query<
    Omit<Holder, "mode"> & { relation: string | null; mode: string | null; held: string | null }
  >(QUERY, [pid]);
  const [first] = rows;
  if (!first) return undefined;
  return {
    relation: first.relation,
    mode: first.mode === null ? null : lockMode(first.mode),
    holders: rows.map(({ relation, mode, held, ...holder }) => ({
      ...holder,
      mode: held === null ? null : lockMode(held),
    })),
  };
}

/** `process 4711 (role plinth_analyst, application psql, idle in transaction since …, holds ACCESS SHARE)` */
export function describeHolder(holder: Holder): string {
  const { pid, preparedAs, role, application, state, since, mode, isWaiting } = holder;
  const facts = [
    role && `role ${role}`,
    application && `application ${application}`,
    pid !== null && `${state ?? "state not visible to this role"}${since ? ` since ${since}` : ""}`,
    pid === null && since && `prepared at ${since}`,
    mode && `${isWaiting ? "waits for" : "holds"} ${mode}`,
  ].filter(Boolean);
  const name = pid === null ? `the prepared transaction ${quoted(preparedAs!)}` : `process ${pid}`;
  return `${name} (${facts.join(", ")})`;
}

/** `it needs ACCESS EXCLUSIVE on identity.users, which is locked by …` */
export function describeWait({ relation, mode, holders }: LockWait): string {
  const names = holders.map(describeHolder).join(" and ");
  if (relation === null) return `it waits for the transaction of ${names}`;
  return `it needs ${mode ? `${mode} on` : "a row of"} ${relation}, which is locked by ${names}`;
}

/**
 * Any role may choose the name of its prepared transaction, which an administrator pastes into psql: no quote may end the literal, and
 * no control character may reach the terminal.
 */
function quoted(name: string): string {
  const literal = pg.escapeLiteral(name).trim();
  if (!/\p{C}/u.test(literal)) return literal;
  const escaped = (character: string) => `\\U${character.codePointAt(0)!.toString(16).padStart(8, "0")}`;
  return `${literal.startsWith("E") ? "" : "E"}${literal.replaceAll(/\p{C}/gu, escaped)}`;
}

/** Statements that end the holders, for an administrator. */
export function endHolders(holders: readonly Holder[]): string {
  return holders
    .filter(({ isWaiting }) => !isWaiting)
    .map(({ pid, preparedAs }) =>
      pid === null ? `rollback prepared ${quoted(preparedAs!)};` : `select pg_terminate_backend(${pid});`,
    )
    .join(" ");
}
