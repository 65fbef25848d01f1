/** A row or column that did not come along, or that differs after the import. */
export interface Remark {
  /** Table of the source. */
  readonly relation: string;
  /** External id of the row; for a file, `line` and its number. Empty if the remark is about the whole table. */
  readonly row: string;
  readonly column?: string;
  readonly reason: string;
  /** The value that replaces the column's, or the name that does not exist here. */
  readonly detail?: string;
}

/** Result for one table of the source. */
export interface TableResult {
  readonly relation: string;
  /** Tables here, in the order in which they are written. */
  readonly targets: readonly string[];
  readonly rows: number;
  /** Rows that this run brought. */
  readonly imported: number;
  /** Rows that an earlier run brought, or that were here before the import. */
  readonly present: number;
  readonly omitted: number;
  /** Rows that arrived since the last complete import, by this run or by one that ended early. */
  readonly arrived: number;
  /** Sum of the rows' hashes, modulo 2^64: as the source has them, and as they were read back. */
  readonly expectedChecksum: string;
  readonly storedChecksum: string;
  /** Rows of earlier, complete imports that were changed or deleted here since. */
  readonly changedSince: number;
  readonly mismatches: number;
}

/** How often a reason occurred. */
export interface ReasonCount {
  readonly relation: string;
  readonly column?: string;
  readonly reason: string;
  readonly count: number;
}

export interface ImportReport {
  readonly system: string;
  readonly dryRun: boolean;
  /** True if each imported row equals its source. */
  readonly isVerified: boolean;
  readonly tables: readonly TableResult[];
  readonly reasons: readonly ReasonCount[];
  /** The first 1,000 remarks; a report file has all. */
  readonly remarks: readonly Remark[];
  /** The first 1,000 rows that differ from their source. */
  readonly mismatches: readonly Remark[];
  readonly milliseconds: number;
}

const LISTED = 1_000;

/** Collects remarks: all into `write`, the first ones and the number of each reason in memory. */
export function createRemarks(write: (remark: Remark) => void) {
  const first: Remark[] = [];
  const mismatches: Remark[] = [];
  const counts = new Map<string, { -readonly [Key in keyof ReasonCount]: ReasonCount[Key] }>();
  return {
    first,
    mismatches,
    reasons: (): ReasonCount[] => [...counts.values()],

    add(remark: Remark): void {
      write(remark);
      if (first.length < LISTED) first.push(remark);
      const { relation, column, reason } = remark;
      const name = JSON.stringify([relation, column, reason]);
      const known = counts.get(name);
      if (known) known.count += 1;
      else if (counts.size < LISTED)
        counts.set(name, { relation, ...(column === undefined ? {} : { column }), reason, count: 1 });
    },

    addMismatch(remark: Remark): void {
      write(remark);
      if (mismatches.length < LISTED) mismatches.push(remark);
    },
  };
}

export type Remarks = ReturnType<typeof createRemarks>;
