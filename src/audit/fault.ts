/** A row or block that is not as it was committed to. */
export interface AuditFault {
  readonly kind: /** A row differs from its commitment. */
    | "altered"
    /** A commitment has no row. */
    | "missing"
    /** A row has no commitment, although the chain had begun. */
    | "inserted"
    /** A row was committed to at another time than it claims. */
    | "backdated"
    /** A row was cleared, but its account exists, or no account was deleted at that time. */
    | "cleared"
    /** Commitments of a closed block were altered, deleted or added. */
    | "commitments"
    /** A block is missing. */
    | "block_missing"
    /** A block differs from its hash, from the block after it or from an anchor. */
    | "block_rewritten";
  /** Log and id of the row; null for a block. */
  readonly log: string | null;
  readonly id: string | null;
  /** Number of the block; null for a row. */
  readonly block: number | null;
  /** created_at of the row, or the time when the block before was closed, in UTC. */
  readonly at: string;
}
