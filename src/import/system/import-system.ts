import type pg from "pg";
import type { EmailHasher } from "../../auth/email-hasher.ts";
import { PlinthError } from "../../support/errors.ts";
import type { OnProgress } from "../../support/progress.ts";
import { createShapes } from "./catalogue.ts";
import { type BatchOptions, isCall, type Outcome, writeBatch } from "./import-batch.ts";
import { holdingImportLock } from "./import-lock.ts";
import type { AnyStep, Context, Pending, Row, SystemMapping } from "./mapping.ts";
import { checkSource, countRows, readRows, type SourceRow, tableOf } from "./read-rows.ts";
import { createRemarks, type ImportReport, type Remark, type Remarks, type TableResult } from "./report.ts";
import { isAboutRow, reasonOf } from "./row-error.ts";
import type { OnBadLine } from "./sources/folder.ts";
import type { Source } from "./sources/source.ts";
import { withSpellings } from "./sources/spellings.ts";
import { reportUnused } from "./unused.ts";
import { verifyBatch } from "./verify-batch.ts";

/** Large enough that round trips do not matter, small enough for smooth progress and a quick cancellation. */
const BATCH_SIZE = 500;

export interface SystemImportOptions {
  /** Connected as the owner, and not in a transaction. */
  readonly client: pg.ClientBase;
  readonly source: Source;
  readonly mapping: SystemMapping;
  /** Receives the function to call for each line of a file that is no row. Files are read when the import begins. */
  readonly listenToBadLines?: (listen: OnBadLine) => void;
  /** Does everything, the verification too, and rolls it back. */
  readonly dryRun?: boolean;
  readonly emailHasher?: EmailHasher | undefined;
  readonly privacyMode?: boolean;
  readonly salt?: Context["salt"];
  /** Receives each remark, however many there are. */
  readonly onRemark?: (remark: Remark) => void;
  /** Stops between two batches; finished ones stay. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress | undefined;
}

interface Run extends SystemImportOptions {
  readonly dryRun: boolean;
  readonly remarks: Remarks;
  readonly optionsOf: (step: AnyStep) => BatchOptions;
}

/**
 * Moves a system in: writes each row of the source that is not here yet, in transactions of 500 rows with their external ids, then
 * reads all rows back and compares them. A run that was stopped at any point is continued by the next one.
 * @throws PlinthError IMPORT_RUNNING, SOURCE_DOES_NOT_FIT, IMPORT_CANCELLED
 */
export async function importSystem(options: SystemImportOptions): Promise<ImportReport> {
  const { client, mapping, dryRun = false, onRemark = () => {} } = options;
  const source = withSpellings(options.source, mapping.spellings);
  const started = performance.now();
  const remarks = createRemarks(onRemark);
  options.listenToBadLines?.((relation, line, reason) =>
    remarks.add({ relation, row: `line ${line}`, reason }),
  );
  const steps = await checkSource(source, mapping.steps);
  const shapeOf = createShapes(client);
  const context: Context = {
    client,
    system: mapping.system,
    emailHasher: options.emailHasher,
    privacyMode: options.privacyMode ?? false,
    salt: options.salt ?? {},
  };
  const run: Run = {
    ...options,
    source,
    dryRun,
    remarks,
    optionsOf: (step) => ({ step, context, shapeOf }),
  };
  return holdingImportLock(client, async () => {
    const since = await lastImport(client, mapping.system);
    if (dryRun) await client.query("begin");
    try {
      // The key of hashes is created at its first use: in a batch that is rolled back, it would be lost.
      await options.emailHasher?.hashText("");
      const counts = new Map<AnyStep, Counts>();
      for (const step of steps) counts.set(step, await importStep(run, step));
      const tables: TableResult[] = [];
      for (const step of steps) tables.push(await verifyStep(run, step, counts.get(step)!, since));
      await reportUnused(source, mapping, run.remarks);
      const report: ImportReport = {
        system: mapping.system,
        dryRun,
        isVerified: tables.every(({ mismatches }) => mismatches === 0),
        tables,
        reasons: run.remarks.reasons(),
        remarks: run.remarks.first,
        mismatches: run.remarks.mismatches,
        milliseconds: Math.round(performance.now() - started),
      };
      if (!dryRun) await recordImport(client, report);
      return report;
    } finally {
      // A lost connection is rolled back automatically.
      if (dryRun) await client.query("rollback").catch(() => {});
    }
  });
}

const TOOK_NUMBER =
  "a row that was created here had this number: it gets another when its compatibility schema is enabled again";

interface Counts {
  rows: number;
  imported: number;
  present: number;
  omitted: number;
}

async function importStep(run: Run, step: AnyStep): Promise<Counts> {
  const { source, onProgress, mapping, remarks } = run;
  const total = await countRows(source, tableOf(step));
  const counts: Counts = { rows: 0, imported: 0, present: 0, omitted: 0 };
  for await (const batch of readRows(source, step, BATCH_SIZE)) {
    stopIfAsked(run);
    counts.rows += batch.length;
    const known = await knownIds(run.client, mapping.system, step.relation, batch);
    const pending: Pending<Row>[] = [];
    for (const { key, row, problem } of batch) {
      if (problem !== undefined) omit(key, problem);
      else if (known.has(key)) counts.present += 1;
      else pending.push({ key, row, rowId: undefined });
    }
    for (const outcome of await writeInTransaction(run, step, pending)) {
      if (outcome.outcome === "omitted") omit(outcome.key, outcome.reason, outcome.detail);
      else counts[outcome.outcome === "found" ? "present" : "imported"] += 1;
      if (outcome.outcome !== "omitted" && outcome.tookNumber)
        remarks.add({ relation: step.relation, row: outcome.key, reason: TOOK_NUMBER });
    }
    onProgress?.({ step: `Importing ${step.relation}`, done: counts.rows, total, unit: "rows" });
  }
  return counts;

  function omit(row: string, reason: string, detail?: string): void {
    counts.omitted += 1;
    remarks.add({ relation: step.relation, row, reason, ...(detail === undefined ? {} : { detail }) });
  }
}

/** Writes a batch. If the database rejects it, its halves are tried, so that one bad row costs few statements and only itself. */
async function writeInTransaction(
  run: Run,
  step: AnyStep,
  rows: readonly Pending<Row>[],
): Promise<Outcome[]> {
  if (rows.length === 0) return [];
  const { client, dryRun } = run;
  // A dry run is one transaction, because later rows refer to earlier ones.
  await client.query(dryRun ? "savepoint batch" : "begin");
  try {
    const outcomes = await writeBatch(rows, run.optionsOf(step));
    await client.query(dryRun ? "release savepoint batch" : "commit");
    return outcomes;
  } catch (error) {
    await client.query(dryRun ? "rollback to savepoint batch" : "rollback").catch(() => {});
    if (!isAboutRow(error)) throw error;
    if (rows.length === 1) return [{ key: rows[0]!.key, outcome: "omitted", reason: reasonOf(error) }];
  }
  const middle = Math.ceil(rows.length / 2);
  return [
    ...(await writeInTransaction(run, step, rows.slice(0, middle))),
    ...(await writeInTransaction(run, step, rows.slice(middle))),
  ];
}

async function verifyStep(
  run: Run,
  step: AnyStep,
  counts: Counts,
  since: string | null,
): Promise<TableResult> {
  const { client, source, mapping, onProgress, remarks } = run;
  let [expected, stored] = [0n, 0n];
  let [done, arrived, changedSince, mismatches] = [0, 0, 0, 0];
  for await (const batch of readRows(source, step, BATCH_SIZE)) {
    stopIfAsked(run);
    const known = await knownIds(client, mapping.system, step.relation, batch, since);
    const imported: Pending<Row>[] = [];
    for (const { key, row, losses, problem } of batch) {
      const id = known.get(key);
      if (!id || problem !== undefined) continue;
      imported.push({ key, row, rowId: id.rowId });
      if (!id.isOfEarlierImport) arrived += 1;
      for (const loss of losses) remarks.add({ relation: step.relation, row: key, ...loss });
    }
    const verification = await verifyBatch(imported, run.optionsOf(step));
    expected += verification.expected;
    stored += verification.stored;
    for (const { key, losses, difference } of verification.rows) {
      for (const loss of losses) remarks.add({ relation: step.relation, row: key, ...loss });
      if (difference === undefined) continue;
      // The product goes on: rows of an import that was complete may change.
      if (known.get(key)!.isOfEarlierImport) changedSince += 1;
      else {
        mismatches += 1;
        remarks.addMismatch({ relation: step.relation, row: key, reason: difference });
      }
    }
    done += batch.length;
    onProgress?.({ step: `Verifying ${step.relation}`, done, total: counts.rows, unit: "rows" });
  }
  return {
    relation: step.relation,
    targets: step.targets.flatMap((target) => (isCall(target) ? [] : [target.table])),
    ...counts,
    arrived,
    expectedChecksum: checksum(expected),
    storedChecksum: checksum(stored),
    changedSince,
    mismatches,
  };
}

const checksum = (sum: bigint): string => BigInt.asUintN(64, sum).toString(16).padStart(16, "0");

interface KnownId {
  readonly rowId: string;
  /** Whether an import that was complete brought the row. */
  readonly isOfEarlierImport: boolean;
}

async function knownIds(
  client: pg.ClientBase,
  system: string,
  relation: string,
  rows: readonly SourceRow[],
  since: string | null = null,
): Promise<Map<string, KnownId>> {
  const { rows: found } = await client.query<{ external_id: string; row_id: string; is_earlier: boolean }>(
    `select e.external_id, e.row_id, coalesce(e.created_at <= $4::timestamptz, false) as is_earlier
     from plinth.external_ids e
     where e.system = $1 and e.relation = $2 and e.external_id = any ($3) and not e.is_numbered_here`,
    // The key of a row with a problem may be no text that the database accepts.
    [system, relation, rows.filter(({ problem }) => problem === undefined).map(({ key }) => key), since],
  );
  return new Map(
    found.map((row) => [row.external_id, { rowId: row.row_id, isOfEarlierImport: row.is_earlier }]),
  );
}

/** Time of the last complete import of the system. */
async function lastImport(client: pg.ClientBase, system: string): Promise<string | null> {
  const { rows } = await client.query<{ at: string | null }>(
    `select max(l.created_at)::text as at from security.security_audit_log l
     where l.event_type = 'system_imported' and l.event_data ->> 'system' = $1 and (l.event_data ->> 'is_verified')::boolean`,
    [system],
  );
  return rows[0]!.at;
}

/** Records the whole import in a single event. Each row has its own in the audit trail, as from any other writer. */
async function recordImport(client: pg.ClientBase, report: ImportReport): Promise<void> {
  const arrived = report.tables.filter((table) => table.arrived > 0);
  if (arrived.length === 0) return;
  await client.query("select private.record_security_event('system_imported', null, $1, 'warning')", [
    {
      system: report.system,
      is_verified: report.isVerified,
      rows: Object.fromEntries(arrived.map((table) => [table.relation, table.arrived])),
    },
  ]);
}

function stopIfAsked({ signal, dryRun }: Run): void {
  if (!signal?.aborted) return;
  throw new PlinthError(
    "IMPORT_CANCELLED",
    dryRun
      ? "Canceled; nothing was imported."
      : "Canceled. The rows imported so far are kept; run the command again to continue.",
    { exitCode: 130 },
  );
}
