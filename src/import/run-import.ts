import { PlinthError } from "../support/errors.ts";
import type { ImportOptions, ImportSummary, Outcome, Remark } from "./import.ts";

/**
 * Maximum bytes of JSON a call. PostgreSQL cannot store a JSON value of 256 MiB, and several must fit in memory.
 */
const MAX_BATCH_BYTES = 4_000_000;
/** A larger row is rejected. Twice this size is still below PostgreSQL's limit. */
const MAX_ROW_BYTES = 100_000_000;

/** A row that can be sent to the database. */
export interface Item {
  readonly file: string;
  readonly line?: number;
  readonly name: string;
  /** In the form that the SQL function expects; must be JSON-serializable. */
  readonly payload: unknown;
}

export type Reading = { readonly item: Item } | { readonly rejection: Remark } | { readonly warning: Remark };

interface BatchResult {
  ordinal: string;
  outcome: Outcome;
  message: string | null;
}

/**
 * Sends the rows to a SQL function that takes a JSON array and returns an outcome for each element.
 * @throws PlinthError IMPORT_CANCELLED after `signal`; errors of the reader and of the database. An open transaction is rolled
 *   back.
 */
export async function runImport(
  options: ImportOptions,
  source: {
    readings: AsyncIterable<Reading>;
    /** Receives the batch as $1 and then `values`. */
    sql: string;
    values?: readonly unknown[];
    batchSize: number;
  },
): Promise<ImportSummary> {
  const { client, keepGoing = false, signal } = options;
  const started = performance.now();
  const counts: Record<Outcome, number> = { inserted: 0, updated: 0, unchanged: 0, rejected: 0 };
  const rejections: Remark[] = [];
  const warnings: Remark[] = [];
  let warned = 0;
  let batch: { readonly item: Item; readonly json: string }[] = [];
  let batchBytes = 0;
  let read = 0;

  const reject = (remark: Remark): void => {
    counts.rejected += 1;
    // The count is exact, but the list is limited: a file of the wrong kind would fill memory with remarks.
    if (rejections.length < MAX_REMARKS) rejections.push(remark);
  };
  const send = async (): Promise<void> => {
    if (signal?.aborted) throw cancelled(keepGoing);
    if (batch.length === 0) return;
    const sent = batch;
    batch = [];
    batchBytes = 0;
    if (keepGoing) await client.query("begin");
    const { rows } = await client.query<BatchResult>(source.sql, [
      `[${sent.map(({ json }) => json).join(",")}]`,
      ...(source.values ?? []),
    ]);
    if (keepGoing) await client.query("commit");
    for (const { ordinal, outcome, message } of rows) {
      const row = sent[Number(ordinal) - 1];
      if (outcome !== "rejected") counts[outcome] += 1;
      else if (row) reject({ ...placeOf(row.item), message: message ?? "rejected" });
    }
    options.onProgress?.({ step: "Importing", done: read, unit: "rows" });
  };
  const add = async (item: Item): Promise<void> => {
    const json = JSON.stringify(item.payload);
    const bytes = Buffer.byteLength(json);
    if (bytes > MAX_ROW_BYTES) {
      reject({ ...placeOf(item), message: `is larger than ${MAX_ROW_BYTES / 1_000_000} MB` });
      return;
    }
    if (batchBytes + bytes > MAX_BATCH_BYTES) await send();
    batch.push({ item, json });
    batchBytes += bytes;
    if (batch.length >= source.batchSize) await send();
  };

  if (!keepGoing) await client.query("begin");
  try {
    for await (const reading of source.readings) {
      if ("item" in reading) {
        read += 1;
        await add(reading.item);
      } else if ("rejection" in reading) {
        reject(reading.rejection);
        read += 1;
      } else {
        warned += 1;
        if (warnings.length < MAX_REMARKS) warnings.push(reading.warning);
      }
    }
    await send();
    const kept = keepGoing || counts.rejected === 0;
    if (!keepGoing) await client.query(kept ? "commit" : "rollback");
    return {
      ...counts,
      rejections,
      warned,
      warnings,
      kept,
      milliseconds: Math.round(performance.now() - started),
    };
  } catch (error) {
    // A lost connection is rolled back automatically. The first error is the one to report.
    await client.query("rollback").catch(() => {});
    throw error;
  }
}

const MAX_REMARKS = 1_000;

function placeOf({ file, line, name }: Item): Omit<Remark, "message"> {
  return line === undefined ? { file, name } : { file, line, name };
}

function cancelled(keepGoing: boolean): PlinthError {
  return new PlinthError(
    "IMPORT_CANCELLED",
    keepGoing ? "Canceled; the rows imported so far are kept." : "Canceled; nothing was imported.",
    { exitCode: 130 },
  );
}
