import type pg from "pg";
import { assertKeepsSession } from "../connection/transaction-mode.ts";
import { withConnection } from "../database/connection.ts";
import { ignoreProgress, type OnProgress } from "../support/progress.ts";
import type { Task } from "./find-tasks.ts";

export interface TaskResult extends Task {
  /** Null if the statement succeeded. */
  readonly error: string | null;
}

export interface TaskOptions {
  /** For a second connection, which cancels a statement. */
  readonly ownerUrl: string;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
  readonly onProgress?: OnProgress;
}

/** The statement of a task. None of them blocks readers or writers. */
export function sqlOf({ kind, target }: Task): string {
  switch (kind) {
    case "vacuum":
      return `vacuum (analyze) ${target}`;
    case "analyze":
      return `analyze ${target}`;
    case "reindex":
      return `reindex index concurrently ${target}`;
    case "drop":
      return `drop index concurrently ${target}`;
  }
}

/**
 * Runs the tasks one by one. A failed task does not stop the others: a reindex that waits too long for old transactions, or is
 * canceled, leaves an index that the next run drops.
 * @param client a connection as the owner
 */
export async function runTasks(
  client: pg.Client,
  tasks: readonly Task[],
  { ownerUrl, signal, log, onProgress = ignoreProgress }: TaskOptions,
): Promise<TaskResult[]> {
  await assertKeepsSession(client);
  await client.query("set lock_timeout = '30s'");
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  const cancel = (): void => {
    withConnection({ connectionString: ownerUrl }, (other) =>
      other.query("select pg_cancel_backend($1)", [rows[0]!.pid]),
    ).catch(() => {});
  };
  signal.addEventListener("abort", cancel);
  const results: TaskResult[] = [];
  try {
    for (const [index, task] of tasks.entries()) {
      if (signal.aborted) break;
      onProgress({ step: "Maintaining", done: index, total: tasks.length, unit: "statements" });
      log(`${index + 1} of ${tasks.length}: ${sqlOf(task)} (${task.reason})`);
      const error = await client.query(sqlOf(task)).then(
        () => null,
        (cause: Error) => cause.message,
      );
      if (error !== null) log(`  failed: ${error}`);
      results.push({ ...task, error });
    }
  } finally {
    signal.removeEventListener("abort", cancel);
  }
  return results;
}
