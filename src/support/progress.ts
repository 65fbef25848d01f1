/** The state of long work. */
export interface Progress {
  /** Name of the work, such as "Applying migrations". A new step ends the one before. */
  readonly step: string;
  /** Number of units that are done. */
  readonly done?: number;
  /** Number of units in all; omitted if it is unknown. */
  readonly total?: number;
  /** Plural of what is counted, such as "rows"; "bytes" are shown as megabytes. */
  readonly unit?: string;
}

/** Called by long work as often as it likes; the caller decides what is shown. */
export type OnProgress = (progress: Progress) => void;

export const ignoreProgress: OnProgress = () => {};
