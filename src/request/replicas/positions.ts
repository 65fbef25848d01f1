import { type ClientBase, DatabaseError, type Pool } from "pg";
import type { Preparation } from "../pg-internals/preparations.ts";

type Queryable = Pick<Pool, "query"> | Pick<ClientBase, "query">;

/** A place in the write-ahead log, in bytes since its beginning. */
export type Position = bigint;

/** The database of a server. All standbys of a primary have its system identifier, and its databases have the same numbers. */
interface Identity {
  readonly system: string;
  readonly database: string;
}

export interface ReplicaProgress {
  /** False for a standby that was promoted. */
  readonly isStandby: boolean;
  readonly replayed: Position;
}

/**
 * A commit is visible only when the log is flushed behind it; with synchronous_commit off, it is visible before. The end of the
 * inserted log would always do, but a standby receives it only when another transaction commits.
 */
const COMMITTED = `pg_wal_lsn_diff(
  case current_setting('synchronous_commit') when 'off' then pg_current_wal_insert_lsn() else pg_current_wal_flush_lsn() end,
  '0/0')::text`;
const REPLAYED = `pg_is_in_recovery() as is_standby, pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::text as replayed`;
const IDENTITY = `
  (select system_identifier::text from pg_control_system()) as system,
  (select oid::text from pg_database where datname = current_database()) as database`;

/**
 * Returns a position of the primary that every commit before this call is below.
 * @throws the connection's error; 55000 from a standby
 */
export async function committedPosition(primary: Queryable): Promise<Position> {
  const { rows } = await primary.query<{ position: string }>(`select ${COMMITTED} as position`);
  return BigInt(rows[0]!.position);
}

/**
 * A statement that fails unless the server is a standby that has replayed a position. It runs on the connection of a read, which a
 * load balancer may lead to another server than the checks, and which may have been promoted since.
 */
export function replayedGuard(position: Position): Preparation {
  const lsn = `${(position >> 32n).toString(16)}/${(position & 0xffffffffn).toString(16)}`;
  return { name: "plinth_replayed", text: GUARD, values: [lsn] };
}

/** No constant, because the planner would evaluate the failing branch of one. */
const GUARD = `select case when pg_is_in_recovery() and pg_last_wal_replay_lsn() >= $1::pg_lsn then 0
  else ('not replayed: ' || coalesce(pg_last_wal_replay_lsn()::text, ''))::integer end`;

/** PostgreSQL quotes the invalid value, in the marks of the server's language. */
const NOT_REPLAYED = /["«»„“”「]\s?not replayed: /;

/** Whether an error is that of the guard. */
export function isNotReplayed(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === "22P02" && NOT_REPLAYED.test(error.message);
}

export async function replicaProgress(replica: Queryable): Promise<ReplicaProgress> {
  return progressOf((await replica.query<ProgressRow>(`select ${REPLAYED}`)).rows[0]!);
}

interface ProgressRow {
  readonly is_standby: boolean;
  readonly replayed: string | null;
}

function progressOf({ is_standby, replayed }: ProgressRow): ReplicaProgress {
  return { isStandby: is_standby, replayed: BigInt(replayed ?? 0) };
}

export async function replicaIdentity(replica: Queryable): Promise<ReplicaProgress & Identity> {
  const { rows } = await replica.query<ProgressRow & Identity>(`select ${REPLAYED}, ${IDENTITY}`);
  const { system, database } = rows[0]!;
  return { ...progressOf(rows[0]!), system, database };
}

/** The primary's end of the log includes what is not committed: no standby of it can be ahead of that. */
export async function primaryIdentity(
  primary: Queryable,
): Promise<Identity & { readonly end: Position; readonly committed: Position }> {
  const { rows } = await primary.query<Identity & { position: string; end: string }>(
    `select ${COMMITTED} as position, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text as end, ${IDENTITY}`,
  );
  const { system, database, position, end } = rows[0]!;
  return { system, database, committed: BigInt(position), end: BigInt(end) };
}
