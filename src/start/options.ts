import type { Logger } from "pino";
import type { Application } from "../application/application.ts";
import type { Config } from "../config/config.ts";
import type { MailHooks } from "../mail/open-mailer.ts";
import type { Metrics } from "../observability/metrics.ts";
import type { OnProgress } from "../support/progress.ts";

export interface PlinthOptions extends MailHooks {
  readonly config: Config;
  readonly application?: Application | undefined;
  /** Fills an empty database with demo data. By default, true for the embedded database and false for an external one. */
  readonly demo?: boolean;
  /** Called with progress messages of long steps. */
  readonly log?: (line: string) => void;
  /** Called with the steps of the start, and how far each is. */
  readonly onProgress?: OnProgress;
  readonly logger?: Logger;
  /** Ends a wait for a database that does not accept connections yet. */
  readonly signal?: AbortSignal;
  /** False to open no port: the application's own server passes requests on, see docs/mount.md. */
  readonly listen?: boolean;
  /** Path below which the application mounts the API, such as `/api`. Used only without a port. */
  readonly prefix?: string;
}

/** What the caller of the library supplies to a part, which also runs in a process of its own. */
export type PartHooks = MailHooks &
  Pick<PlinthOptions, "application" | "signal"> & {
    /** Those of the process; by default, the part has its own. */
    readonly metrics?: Metrics;
  };
