import type pg from "pg";
import { DatabaseClient } from "../connection/client.ts";
import { sqlFailure } from "../database/graphile-migrate.ts";
import { startObservation } from "./notes.ts";
import type { Observation } from "./observation.ts";
import { readLocked, readStates } from "./relations.ts";
import type { Statement } from "./statements.ts";

/** Runs statements one by one in the open transaction of a scratch database, and notes what each of them locks and does. */
export async function observe(client: pg.ClientBase, statements: readonly Statement[]): Promise<Observation> {
  const seen = await startObservation(client, statements);
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  for (const [index, statement] of statements.entries()) {
    const result = await run(client, statement);
    // More than one result: a statement that a rule or a splitting error made several.
    const command = Array.isArray(result) ? "" : result.command;
    seen.add(index, command, await readLocked(client, rows[0]!.pid, seen.oids));
  }
  return seen.finish();
}

/**
 * Likewise for statements that cannot run in a transaction, whose locks end with them. A bystander, which has written to every table
 * and keeps its snapshot, makes each of them wait, and its locks are read meanwhile.
 */
export async function observeOutsideTransaction(
  client: pg.Client,
  bystanderUrl: string,
  statements: readonly Statement[],
): Promise<Observation> {
  const seen = await startObservation(client, statements);
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  const pid = rows[0]!.pid;
  const bystander = new DatabaseClient({ connectionString: bystanderUrl });
  const watcher = new DatabaseClient({ connectionString: bystanderUrl });
  await bystander.connect();
  await watcher.connect();
  try {
    for (const [index, statement] of statements.entries()) {
      await bystander.query("begin isolation level repeatable read");
      await bystander.query(`lock table ${seen.tables.join(", ")} in row exclusive mode`);
      let isDone = false;
      const running = run(client, statement).finally(() => {
        isDone = true;
      });
      running.catch(() => {});
      while (!isDone && !(await isWaiting(watcher, pid))) {}
      const states = await readLocked(watcher, pid, seen.oids);
      await bystander.query("rollback");
      const { command } = await running;
      // The rest shows only afterwards.
      const after = await readStates(client, seen.oids);
      const modes = new Map(states.map((state) => [state.oid, state.modes]));
      seen.add(
        index,
        command,
        after
          .filter(({ oid }) => modes.has(oid))
          .map((state) => ({ ...state, modes: modes.get(state.oid)! })),
      );
    }
  } finally {
    await bystander.end();
    await watcher.end();
  }
  return seen.finish();
}

function run(client: pg.ClientBase, { file, line, sql }: Statement): Promise<pg.QueryResult> {
  return client.query(sql).catch((error) => {
    throw sqlFailure("MIGRATION_FAILED", error, { file, sql, linesAbove: line - 1 });
  });
}

async function isWaiting(client: pg.ClientBase, pid: number): Promise<boolean> {
  const { rowCount } = await client.query("select from pg_catalog.pg_locks where pid = $1 and not granted", [
    pid,
  ]);
  return rowCount! > 0;
}
