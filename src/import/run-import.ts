import { PlinthError } from "../support/errors.ts";
import type { ImportOptions, ImportSummary, Outcome, Remark } from "./import.ts";

/**
 * What one call takes, in bytes of JSON. PostgreSQL cannot hold a JSON value of 256 MiB, and memory should hold several.
 */
const MAX_BATCH_BYTES = 4_000_000;
/** A single row above it is refused; two times that is still below what PostgreSQL takes. */
const MAX_ROW_BYTES = 100_000_000;

/** A row that can be sent to the database. */
export interface Item {
  readonly file: string;
  readonly line?: number;
  readonly name: string;
  /** As the SQL function expects it; must survive JSON. */
  readonly payload: unknown;
}

export type Reading = { readonly item: Item } | { readonly rejection: Remark } | { readonly warning: Remark };

interface BatchResult {
  ordinal: string;
  outcome: Outcome;
  message: string | null;
}

/**
 * Sends what is read to a SQL function that takes a JSON array and answers with an outcome per element.
 * @throws PlinthError IMPORT_CANCELLED after `signal`; whatever reading or the database throws. The transaction that
 *   was open by then is rolled back.
 */
export async function runImport(
  options: ImportOptions,
  source: {
    readings: AsyncIterable<Reading>;
    /** Takes the batch as $1 and `values` after it. */
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
    // The count is exact, the list is for people: a file of the wrong kind would fill memory with remarks.
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
      else if (row) reject({ ...placeOf(row.item), message: message ?? "was rejected" });
    }
    options.onProgress?.(read);
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
    // A connection that is gone rolls back by itself, and the first error is the one to report.
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
    keepGoing ? "Cancelled; what was imported so far is kept." : "Cancelled; nothing was imported.",
    { exitCode: 130 },
  );
}
