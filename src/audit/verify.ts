import type pg from "pg";
import type { OnProgress } from "../support/progress.ts";
import type { Anchor } from "./anchor.ts";
import type { AuditFault } from "./fault.ts";
import { type ArchiveFolder, createLoadedRows, loadArchives, type VerifiedArchive } from "./load-archives.ts";
import { verifyBlocks } from "./verify-blocks.ts";
import { AUDIT_LOGS, type Span, verifyRows } from "./verify-rows.ts";

export interface AuditVerification {
  /** Start of the chain: of earlier rows, only imported ones have a commitment. */
  readonly since: string | null;
  readonly blocks: number;
  /** Number of entries in the blocks: commitments to rows and to erasures. */
  readonly entries: number;
  readonly rows: number;
  readonly erased: number;
  /** Rows that another system's log brought along, with their times. */
  readonly imported: number;
  /** Rows of archives that were not read. */
  readonly unread: number;
  readonly archives: readonly VerifiedArchive[];
  /** Entries that no block contains yet, and the time of the first. */
  readonly pending: { readonly entries: number; readonly since: string | null };
  readonly faultCount: number;
  /** The earliest faults, the first in front. */
  readonly faults: readonly AuditFault[];
}

export interface VerifySettings {
  readonly anchors: readonly Anchor[];
  readonly folder: ArchiveFolder;
  /** Rows of this time only, any text that PostgreSQL reads as a time; blocks are always verified. */
  readonly from?: string | undefined;
  readonly until?: string | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

const SHOWN_FAULTS = 20;

/**
 * Compares the audit logs with their commitments, those with the blocks, and the blocks with the anchors, all as of one moment.
 * Changes nothing.
 * @param client connected as the owner, who sees all rows
 */
export async function verifyAudit(client: pg.Client, settings: VerifySettings): Promise<AuditVerification> {
  await client.query("begin isolation level repeatable read");
  try {
    await client.query("set local timezone = 'UTC'");
    await createLoadedRows(client);
    return await verifyInTransaction(client, settings);
  } finally {
    await client.query("rollback").catch(() => {});
  }
}

async function verifyInTransaction(client: pg.Client, settings: VerifySettings): Promise<AuditVerification> {
  const { folder, signal, onProgress } = settings;
  const { faults, ...blocks } = await verifyBlocks(client, settings);
  const total = { rows: 0, erased: 0, imported: 0, unread: 0, faultCount: faults.length };
  const all: AuditFault[] = [...faults];
  const archives: VerifiedArchive[] = [];
  const since = await startOf(client);
  const spans = await spansOf(client, since, settings);
  for (const [index, { month, ...span }] of spans.entries()) {
    signal.throwIfAborted();
    onProgress({
      step: "Verifying the logs",
      done: index,
      total: spans.length,
      unit: "months",
    });
    const elsewhere = await loadArchives(client, { log: span.log, month, folder, signal });
    archives.push(...elsewhere.archives);
    const found = await verifyRows(client, span, elsewhere, since);
    total.rows += found.rows;
    total.erased += found.erased;
    total.imported += found.imported;
    total.unread += found.unread;
    total.faultCount += found.faultCount;
    all.push(...found.faults);
  }
  return {
    since,
    ...blocks,
    ...total,
    archives,
    pending: await pendingOf(client),
    faults: all.sort(earliestFirst).slice(0, SHOWN_FAULTS),
  };
}

/** Rows in front: they say more than their block does. */
function earliestFirst(a: AuditFault, b: AuditFault): number {
  if ((a.block === null) !== (b.block === null)) return a.block === null ? -1 : 1;
  if (a.block !== null && b.block !== null) return a.block - b.block;
  return a.at === b.at ? 0 : a.at < b.at ? -1 : 1;
}

async function startOf(client: pg.Client): Promise<string | null> {
  // Bounded, because an altered first block could claim any time.
  const { rows } = await client.query<{ since: string | null }>(
    `select greatest(closed_at, timestamptz '2020-01-01')::text as since
     from private.audit_blocks
     order by number
     limit 1`,
  );
  return rows[0]?.since ?? null;
}

/**
 * Each month of each log since the start of the chain, and each earlier month that an import has written to. The last span has no
 * end, for rows of times to come.
 */
async function spansOf(
  client: pg.Client,
  since: string | null,
  { from, until }: VerifySettings,
): Promise<(Span & { month: string })[]> {
  const { rows } = await client.query<Omit<Span, "log"> & { month: string }>(
    `select
       to_char(m.month, 'YYYY-MM') as month,
       greatest(m.month, $2::timestamptz)::text as from,
       case when m.month = b.last_month then b.until else least(m.month + interval '1 month', b.until) end::text as until
     from (
       select $3::timestamptz as until, date_trunc('month', least(now(), $3::timestamptz)) as last_month
     ) b
     cross join lateral (
       select *
       from generate_series(date_trunc('month', coalesce($1::timestamptz, now())), b.last_month, interval '1 month') s (month)
       union
       select date_trunc('month', c.row_created_at)
       from private.audit_commitments c
       where c.row_created_at < $1 and isfinite(c.row_created_at)
     ) m
     where m.month <= b.last_month and ($2 is null or m.month + interval '1 month' > $2)
     order by 1`,
    [since, from ?? null, until ?? null],
  );
  return AUDIT_LOGS.flatMap((log) => rows.map((span) => ({ log, ...span })));
}

async function pendingOf(client: pg.Client): Promise<AuditVerification["pending"]> {
  const { rows } = await client.query<{ entries: number; since: string | null }>(
    `select count(*)::integer as entries, min(created_at)::text as since
     from private.audit_commitments
     where block_number is null`,
  );
  return rows[0]!;
}
