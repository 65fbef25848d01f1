import { randomUUID } from "node:crypto";
import type pg from "pg";
import { withConnection } from "../database/connection.ts";
import { PlinthError } from "../support/errors.ts";
import type { OnProgress } from "../support/progress.ts";
import { findAccounts, readTokenVersions, revokeAccess } from "./accounts.ts";
import { disableTriggers, writeRows } from "./apply.ts";
import { readCatalogue } from "./catalogue.ts";
import { classifyRows, type LeftOut } from "./classify.ts";
import { requireNotErased, requireSameMigrations, requireTwoDatabases } from "./guards.ts";
import { findRoot, type Scope } from "./root.ts";
import { type Stage, stageRows } from "./staging.ts";
import { countTotals } from "./totals.ts";

export interface RestoreRowsOptions {
  /** The live database, as its owner. */
  readonly ownerUrl: string;
  /** The copy of the past; never appears in a message. */
  readonly copyUrl: string;
  readonly rolePrefix: string;
  readonly scope: Scope;
  /** Only find out what would happen. */
  readonly plan: boolean;
  /** Whether rows that differ get their old values. */
  readonly overwrite: boolean;
  /** The reason for restoring an account that was erased on request. */
  readonly erasedReason?: string | undefined;
  readonly lockTimeoutMs: number;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

export interface TableResult {
  readonly table: string;
  /** Missing rows that are inserted. */
  readonly missing: number;
  /** Rows whose cleared columns are set again. */
  readonly cleared: number;
  /** Rows that have other values now. */
  readonly changed: number;
  readonly same: number;
  readonly leftOut: number;
}

export interface RestoreRowsResult {
  readonly tables: readonly TableResult[];
  readonly leftOut: readonly LeftOut[];
  /** Accounts whose sessions and tokens are revoked. */
  readonly accounts: readonly string[];
  /** Correlation id of the entries in the audit log and the audit trail; null if nothing changed. */
  readonly correlationId: string | null;
}

/** Brings rows of a past copy of the database back into the live one, in one transaction. */
export async function restoreRows(options: RestoreRowsOptions): Promise<RestoreRowsResult> {
  const name = "plinth restore rows";
  return withConnection({ connectionString: options.copyUrl, application_name: name }, (copy) =>
    withConnection({ connectionString: options.ownerUrl, application_name: name }, async (live) => {
      // Ctrl-C cancels a statement by closing the connections; the server rolls back.
      const stop = () => void Promise.allSettled([copy.end(), live.end()]);
      options.signal.addEventListener("abort", stop, { once: true });
      try {
        for (const client of [copy, live]) await prepare(client);
        await copy.query("begin isolation level repeatable read read only");
        await live.query("begin");
        const result = await run(copy, live, options);
        await live.query(options.plan ? "rollback" : "commit");
        return result;
      } catch (error) {
        options.signal.throwIfAborted();
        throw explainLock(error, options.lockTimeoutMs);
      } finally {
        options.signal.removeEventListener("abort", stop);
      }
    }),
  );
}

/** Values pass as text between the two servers. */
const SESSION = {
  search_path: "pg_catalog",
  timezone: "UTC",
  datestyle: "ISO, MDY",
  intervalstyle: "postgres",
  bytea_output: "hex",
  extra_float_digits: "1",
  // A role that policies restrict must fail instead of reading a part.
  row_security: "off",
  client_connection_check_interval: "1s",
};

async function prepare(client: pg.Client): Promise<void> {
  for (const [setting, value] of Object.entries(SESSION))
    await client.query("select set_config($1, $2, false)", [setting, value]).catch((error) => {
      // Servers on some systems cannot watch a connection.
      if (setting !== "client_connection_check_interval") throw error;
    });
}

async function run(
  copy: pg.Client,
  live: pg.Client,
  options: RestoreRowsOptions,
): Promise<RestoreRowsResult> {
  const { scope, plan, overwrite, erasedReason } = options;
  await requireTwoDatabases(copy, live);
  await requireSameMigrations(copy, live);
  const catalogue = await readCatalogue(live);
  const root = await findRoot(copy, catalogue, scope);
  const stages = await stageRows(copy, live, catalogue, root, options);
  const correlationId = `restore-rows-${randomUUID()}`;
  await live.query(
    "select set_config('lock_timeout', $1, true), set_config('plinth.correlation_id', $2, true)",
    [`${options.lockTimeoutMs}ms`, correlationId],
  );
  const enableTriggers = plan ? undefined : await disableTriggers(live, [...stages.keys()]);
  options.onProgress({ step: "Comparing rows" });
  const leftOut = await classifyRows(live, catalogue, stages, overwrite);
  if (erasedReason === undefined) await requireNotErased(copy, live, stages.get("identity.users"));
  const tables = await countStates(live, stages);
  const accounts = await findAccounts(live, stages, overwrite);
  const written = tables.reduce(
    (sum, row) => sum + row.missing + row.cleared + (overwrite ? row.changed : 0),
    0,
  );
  if (!enableTriggers || written === 0) {
    await enableTriggers?.();
    return { tables, leftOut, accounts, correlationId: null };
  }
  options.onProgress({ step: `Writing ${written} rows` });
  const versions = await readTokenVersions(live, accounts);
  await writeRows(live, stages, overwrite);
  await enableTriggers();
  await countTotals(live, stages);
  await revokeAccess(live, accounts, versions);
  await recordRestore(live, scope, root.table === "identity.users" ? root.values[0] : undefined, {
    reason: erasedReason ?? null,
    overwrite,
    tables: Object.fromEntries(
      tables.flatMap((row) => {
        const count = row.missing + row.cleared + (overwrite ? row.changed : 0);
        return count > 0 ? [[row.table, count]] : [];
      }),
    ),
  });
  return { tables, leftOut, accounts, correlationId };
}

async function countStates(
  live: pg.Client,
  stages: ReadonlyMap<string, Stage>,
): Promise<readonly TableResult[]> {
  const results: TableResult[] = [];
  for (const { table, name } of stages.values()) {
    const { rows } = await live.query<{ state: string; rows: number }>(
      `select "plinth:state" as state, count(*)::integer as rows from ${name} group by 1`,
    );
    const of = (state: string): number => rows.find((row) => row.state === state)?.rows ?? 0;
    const result = {
      table: table.name,
      missing: of("missing"),
      cleared: of("cleared"),
      changed: of("changed"),
      same: of("same"),
      leftOut: of("left out"),
    };
    if (rows.some(({ state }) => state !== "ignored")) results.push(result);
  }
  return results.sort((one, other) => (one.table < other.table ? -1 : 1));
}

async function recordRestore(
  live: pg.Client,
  scope: Scope,
  account: string | undefined,
  details: Record<string, unknown>,
): Promise<void> {
  await live.query("select private.record_security_event('rows_restored', $1::uuid, $2::jsonb, 'warning')", [
    account ?? null,
    JSON.stringify({ scope, ...details }),
  ]);
}

function explainLock(error: unknown, lockTimeoutMs: number): unknown {
  if ((error as pg.DatabaseError).code !== "55P03") return error;
  return new PlinthError(
    "RESTORE_BLOCKED",
    `Another session held a lock for more than ${lockTimeoutMs} ms. Nothing was restored.`,
    { hint: "Run the command again. PLINTH_MIGRATION_LOCK_TIMEOUT_MS sets how long it waits.", cause: error },
  );
}
