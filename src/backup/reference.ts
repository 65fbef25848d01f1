import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { withConnection } from "../database/connection.ts";
import { listTables, READING, readContents } from "./contents.ts";
import type { Reference } from "./records.ts";
import type { Lsn } from "./wal-names.ts";

/*
 * `backup verify` compares the restored tables with their contents at a restore point. Both are exact only if the snapshot in
 * which they are read contains the same transactions as the WAL before the point. A transaction is in the WAL a moment before it is
 * in snapshots, so a snapshot and a position are not the same by themselves. They are if no transaction that writes is running
 * between: first such a quiet moment is looked for, which disturbs nothing. If there is none, a SHARE lock on all tables makes
 * writers wait for a moment: a transaction's locks are released after it has become visible, so the holder of this one sees all.
 */

const QUIET_ATTEMPTS = 50;
const QUIET_PAUSE_MS = 20;
const LOCK_ATTEMPTS = 3;
/**
 * Longest time that writers wait for all locks together. Less than their deadlock_timeout of a second, so that this connection and
 * not a writer is cancelled in a deadlock.
 */
const LOCK_TIMEOUT_MS = 900;
/** After this time, autovacuum gives way. */
const DEADLOCK_TIMEOUT_MS = 300;
/** A table is locked or was dropped meanwhile (lock_not_available, query_canceled, undefined_table, deadlock_detected). */
const TRY_AGAIN = ["55P03", "57014", "42P01", "40P01"];

/** The moment at which a restore point and the snapshot of `reader` agree. */
interface Moment {
  readonly point: string;
  readonly lsn: Lsn;
  readonly tables: readonly string[];
}

interface Connections {
  /** In the transaction whose snapshot is compared. */
  readonly reader: pg.Client;
  readonly other: pg.Client;
}

/**
 * @param url a superuser's connection to the database
 * @param name beginning of the restore point's name
 * @returns undefined if writers never paused, or a table was changed meanwhile
 */
export async function takeReference(
  url: string,
  name: string,
  signal: AbortSignal,
  onProgress: (done: number, total: number) => void,
): Promise<Reference | undefined> {
  const connection = { connectionString: url, application_name: "plinth backup" };
  return withConnection(connection, (reader) =>
    withConnection(connection, async (other) => {
      await reader.query(`${READING}; set lock_timeout = ${LOCK_TIMEOUT_MS}`);
      const connections = { reader, other };
      const moment =
        (await findQuietMoment(connections, name, signal)) ?? (await makeWritersWait(connections, name));
      if (!moment) return undefined;
      const { point, lsn, tables } = moment;
      return { point, lsn, tables: await readContents(reader, tables, signal, onProgress) };
    }),
  );
}

async function findQuietMoment(
  connections: Connections,
  name: string,
  signal: AbortSignal,
): Promise<Moment | undefined> {
  const { reader } = connections;
  for (let attempt = 1; attempt <= QUIET_ATTEMPTS; attempt++) {
    const moment = await tryMoment(connections, `${name}-${attempt}`).catch(unlessBusy);
    if (moment) return moment;
    await reader.query("rollback");
    await sleep(QUIET_PAUSE_MS);
    signal.throwIfAborted();
  }
  return undefined;
}

async function tryMoment(connections: Connections, point: string): Promise<Moment | undefined> {
  const { reader, other } = connections;
  const snapshot = await takeSnapshot(connections);
  if (!snapshot.isQuiet) return undefined;
  const tables = await listTables(reader);
  await lockTables(reader, tables, "access share");
  const lsn = await createPoint(other, point);
  // In this order: a transaction that the first does not find any more is in the snapshot.
  if ((await isWriting(other)) || (await snapshotOf(other)) !== snapshot.text) return undefined;
  return { point, lsn, tables };
}

async function makeWritersWait(connections: Connections, name: string): Promise<Moment | undefined> {
  const { reader, other } = connections;
  const tables = await listTables(other);
  for (let attempt = 1; attempt <= LOCK_ATTEMPTS; attempt++) {
    try {
      await other.query("begin");
      await other.query(
        `set local statement_timeout = ${LOCK_TIMEOUT_MS}; set local deadlock_timeout = ${DEADLOCK_TIMEOUT_MS}`,
      );
      await lockTables(other, tables, "share");
      const point = `${name}-locked-${attempt}`;
      const lsn = await createPoint(other, point);
      await takeSnapshot(connections);
      await lockTables(reader, tables, "access share");
      return { point, lsn, tables };
    } catch (error) {
      await reader.query("rollback");
      unlessBusy(error);
    } finally {
      await other.query("rollback");
    }
  }
  return undefined;
}

function unlessBusy(error: unknown): undefined {
  if (!TRY_AGAIN.includes((error as pg.DatabaseError).code ?? "")) throw error;
  return undefined;
}

async function takeSnapshot({ reader }: Connections): Promise<{ text: string; isQuiet: boolean }> {
  await reader.query("begin isolation level repeatable read");
  const text = await snapshotOf(reader);
  // `xmin:xmax:` without a list: each transaction before xmax has ended.
  const [xmin, xmax, running] = text.split(":");
  return { text, isQuiet: xmin === xmax && running === "" };
}

/** With "access share", a table cannot be truncated before its contents are read; it would be empty in any snapshot. */
async function lockTables(
  client: pg.Client,
  tables: readonly string[],
  mode: "share" | "access share",
): Promise<void> {
  if (tables.length > 0) await client.query(`lock table only ${tables.join(", only ")} in ${mode} mode`);
}

async function createPoint(client: pg.Client, name: string): Promise<Lsn> {
  const { rows } = await client.query<{ lsn: Lsn }>("select pg_create_restore_point($1) as lsn", [name]);
  return rows[0]!.lsn;
}

async function snapshotOf(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ text: string }>("select pg_current_snapshot()::text as text");
  return rows[0]!.text;
}

async function isWriting(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ is: boolean }>(
    `select
       exists (select from pg_stat_activity where backend_xid is not null)
       or exists (select from pg_prepared_xacts) as "is"`,
  );
  return rows[0]!.is;
}
