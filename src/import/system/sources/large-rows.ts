import type { RawRow } from "./source.ts";

/** Images make rows of megabytes: 500 of them would be more than a statement can carry. */
const MAX_BATCH_BYTES = 8_000_000;

/** Cuts rows into batches of up to `batchSize` rows that are no larger than a statement can carry; a larger row is a batch alone. */
export function createBatches(batchSize: number) {
  let batch: RawRow[] = [];
  let bytes = 0;
  return {
    /** Returns the batch that the row completes. */
    add(row: RawRow): RawRow[] | undefined {
      batch.push(row);
      bytes += sizeOf(row);
      return batch.length >= batchSize || bytes >= MAX_BATCH_BYTES ? this.rest() : undefined;
    },

    rest(): RawRow[] {
      const rest = batch;
      batch = [];
      bytes = 0;
      return rest;
    },
  };
}

/** Returns how many rows to fetch after some: twice as many, but no more than are likely to fit into a batch. */
export function nextFetch(rows: readonly RawRow[], batchSize: number): number {
  const average = rows.reduce((sum, row) => sum + sizeOf(row), 1) / Math.max(rows.length, 1);
  return Math.max(1, Math.min(batchSize, rows.length * 2, Math.floor(MAX_BATCH_BYTES / average)));
}

function sizeOf(row: RawRow): number {
  let size = 0;
  for (const value of Object.values(row))
    size += typeof value === "string" || value instanceof Uint8Array ? value.length : 8;
  return size;
}
