import type pg from "pg";

/** Whether a worker is connected, on any machine: a session of its role that is none of a command's. */
export async function isWorkerConnected(client: pg.ClientBase, workerRole: string): Promise<boolean> {
  const { rows } = await client.query<{ connected: boolean }>(
    `select exists (
       select
       from pg_catalog.pg_stat_activity
       where usename = $1
         and datname = current_database()
         and pid <> pg_backend_pid()
         and application_name not in ('plinth', 'plinth doctor')
     ) as connected`,
    [workerRole],
  );
  return rows[0]!.connected;
}
