import type pg from "pg";
import type { MasterKeys } from "../auth/master-keys.ts";
import { createSealer, type Sealer, sealedVersion } from "../auth/sealing.ts";
import { assertKeepsSession } from "../connection/transaction-mode.ts";
import { PlinthError } from "../support/errors.ts";
import type { OnProgress } from "../support/progress.ts";
import { countSealed, SEALED_COLUMNS, type SealedColumn, versionOf } from "./sealed-columns.ts";

export interface RotationOptions {
  /** Connected as the owner; must not be used by others meanwhile. */
  readonly client: pg.ClientBase;
  readonly masterKeys: MasterKeys;
  /** Stops between two batches. */
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  readonly columns?: readonly SealedColumn[];
  readonly batchSize?: number;
}

export interface Rotation {
  /** The version with which everything except `damaged` is sealed now. */
  readonly version: number;
  /** Number of secrets that this call resealed. */
  readonly rotated: number;
  /** Rows that no key opens, as `table id`. They are unchanged. */
  readonly damaged: readonly string[];
  /** False if the rotation was stopped; call it again to continue. */
  readonly isComplete: boolean;
}

const BATCH_SIZE = 200;
/** An advisory lock that nothing else uses. */
const LOCK = "hashtextextended('plinth keys rotate', 0)";

interface SealedRow {
  readonly id: string;
  readonly sealed: string;
  readonly owner: string | null;
}

/**
 * Reseals everything that is sealed with an older master key, with the newest one. Each batch is one statement, so stopping at any
 * time loses nothing, and a later call continues. Readers never wait and never fail if they have both keys: a row contains the
 * old or the new text. A row that changes meanwhile is skipped and read again later.
 * @throws PlinthError MASTER_KEY_MISSING before any change, if a version in use is not among the keys;
 *   ROTATION_RUNNING
 */
export async function rotateSealed(options: RotationOptions): Promise<Rotation> {
  const { client, masterKeys, columns = SEALED_COLUMNS } = options;
  await assertKeepsSession(client);
  const { rows } = await client.query<{ locked: boolean }>(`select pg_try_advisory_lock(${LOCK}) as locked`);
  if (!rows[0]!.locked)
    throw new PlinthError("ROTATION_RUNNING", "Another plinth keys rotate is running on this database.", {
      hint: "Wait until it finishes, then check plinth keys status.",
    });
  try {
    const counts = await countSealed(client, columns);
    // Each version in use must be available, or the rotation would stop halfway.
    for (const { version } of counts) if (version !== null) masterKeys.get(version);
    const total = counts
      .filter(({ version }) => version !== masterKeys.current)
      .reduce((sum, { count }) => sum + count, 0);
    const rotation = await rotateAll(options, columns, total);
    await record(client, rotation);
    return rotation;
  } finally {
    await client.query(`select pg_advisory_unlock(${LOCK})`).catch(() => {});
  }
}

/** Records the rotation in the audit log, which shows later when the old key became unnecessary. */
async function record(client: pg.ClientBase, rotation: Rotation): Promise<void> {
  const { version, rotated, damaged, isComplete } = rotation;
  if (rotated === 0) return;
  const data = { version, rotated, damaged: damaged.length, isComplete };
  await client.query("select private.record_security_event('master_key_rotated', null, $1)", [data]);
}

async function rotateAll(
  { client, masterKeys, signal, onProgress, batchSize = BATCH_SIZE }: RotationOptions,
  columns: readonly SealedColumn[],
  total: number,
): Promise<Rotation> {
  const sealer = createSealer(masterKeys);
  const version = masterKeys.current;
  const damaged: string[] = [];
  let rotated = 0;
  for (const column of columns) {
    const steps = await prepare(client, column, version);
    /** Whether rows changed meanwhile; a server that has only the old key may have written them. */
    let missed: boolean;
    do {
      missed = false;
      let after: string | null = null;
      for (;;) {
        if (signal?.aborted) return { version, rotated, damaged, isComplete: false };
        const rows: SealedRow[] = await steps.read(after, batchSize);
        if (rows.length === 0) break;
        after = rows.at(-1)!.id;
        const resealed = rows.flatMap((row) => {
          const text = reseal(sealer, column, row);
          if (text !== undefined) return [{ ...row, text }];
          if (!damaged.includes(`${column.table} ${row.id}`)) damaged.push(`${column.table} ${row.id}`);
          return [];
        });
        const written = await steps.write(resealed);
        rotated += written;
        if (written < resealed.length) missed = true;
        onProgress?.({ step: "Resealing", done: rotated, total, unit: "secrets" });
      }
    } while (missed);
  }
  return { version, rotated, damaged, isComplete: true };
}

/** Returns undefined for a row that its key does not open. */
function reseal(sealer: Sealer, { purpose, owner }: SealedColumn, row: SealedRow): string | undefined {
  if (sealedVersion(row.sealed) === undefined) return undefined;
  const bound = owner === undefined ? undefined : (row.owner ?? "");
  try {
    return sealer.seal(purpose, sealer.unseal(purpose, row.sealed, bound), bound);
  } catch (error) {
    if (error instanceof PlinthError && error.code === "UNSEALABLE") return undefined;
    throw error;
  }
}

async function prepare(client: pg.ClientBase, { table, id, column, owner }: SealedColumn, version: number) {
  const { rows } = await client.query<{ type: string }>(
    `select format_type(atttypid, atttypmod) as type from pg_attribute where attrelid = $1::regclass and attname = $2`,
    [table, id],
  );
  const { type } = rows[0]!;
  return {
    /** Reads the next rows in the order of their ids. */
    async read(after: string | null, limit: number): Promise<SealedRow[]> {
      const result = await client.query<SealedRow>(
        `select ${id}::text as id, ${column} as sealed, ${owner ?? "null"}::text as owner
         from ${table}
         where ${column} is not null and ${versionOf(column)} is distinct from $1
           and ($2::${type} is null or ${id} > $2::${type})
         order by ${table}.${id}
         limit $3`,
        [version, after, limit],
      );
      return result.rows;
    },
    /** Compare-and-set; returns the number of rows that were unchanged since they were read. */
    async write(changes: readonly (SealedRow & { readonly text: string })[]): Promise<number> {
      const result = await client.query(
        `update ${table} t
         set ${column} = n.text
         from unnest($1::${type}[], $2::text[], $3::text[]) as n (id, sealed, text)
         where t.${id} = n.id and t.${column} = n.sealed`,
        [changes.map((row) => row.id), changes.map((row) => row.sealed), changes.map((row) => row.text)],
      );
      return result.rowCount ?? 0;
    },
  };
}
