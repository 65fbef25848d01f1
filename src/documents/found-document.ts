/** A document in a file, not validated yet. */
export interface FoundDocument {
  /** Its file, and its operation if the file may have several. */
  readonly source: string;
  readonly text: string;
}

/** A file, or a document in it, that cannot be used. */
export interface Fault {
  readonly source: string;
  readonly message: string;
}

export interface Findings {
  readonly documents: readonly FoundDocument[];
  readonly faults: readonly Fault[];
}
