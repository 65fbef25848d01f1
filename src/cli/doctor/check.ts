import type pg from "pg";
import type { Config } from "../../config/config.ts";
import type { LoginRole } from "../../config/roles.ts";
import type { Database } from "../../database/database.ts";

/** `skipped`: it could not be looked at, and why is in the message. Only `fail` makes doctor's exit code 1. */
export type Status = "ok" | "warn" | "fail" | "skipped";

/** What one check found. */
export interface Finding {
  /** Stable name, for scripts. */
  readonly check: string;
  readonly status: Status;
  /** One sentence, without secrets. */
  readonly message: string;
  /** What to do; on every `warn` and `fail`. */
  readonly hint?: string;
  /** Particulars for people and scripts, one a line. */
  readonly details?: readonly string[];
}

export interface DoctorContext {
  readonly config: Config;
  readonly database: Database;
  /** Connected as `role`; the catalogue is open to every role, Plinth's own tables are not. */
  readonly client: pg.Client;
  readonly role: LoginRole;
}

/** Looks at one subject. An error it throws becomes a `fail` with the error's message. */
export type CheckGroup = (context: DoctorContext) => Promise<Finding[]>;

export function ok(check: string, message: string): Finding {
  return { check, status: "ok", message };
}

export function warn(check: string, message: string, hint: string, details?: readonly string[]): Finding {
  return { check, status: "warn", message, hint, ...(details ? { details } : {}) };
}

export function fail(check: string, message: string, hint: string, details?: readonly string[]): Finding {
  return { check, status: "fail", message, hint, ...(details ? { details } : {}) };
}

export function skipped(check: string, message: string): Finding {
  return { check, status: "skipped", message };
}
