import type pg from "pg";
import type { Application } from "../../application/application.ts";
import type { Config } from "../../config/config.ts";
import type { LoginRole } from "../../config/roles.ts";
import type { Database } from "../../database/database.ts";
import { SCHEMAS } from "../../database/schemas.ts";

/** `skipped`: the check could not run; the message gives the reason. Only `fail` makes doctor's exit code 1. */
export type Status = "ok" | "warn" | "fail" | "skipped";

/** The result of one check. */
export interface Finding {
  /** Stable name, for scripts. */
  readonly check: string;
  readonly status: Status;
  /** One sentence, without secrets. */
  readonly message: string;
  /** The action to take; set on each `warn` and `fail`. */
  readonly hint?: string;
  /** Details for people and scripts, one a line. */
  readonly details?: readonly string[];
}

export interface DoctorContext {
  readonly config: Config;
  readonly database: Database;
  /** Of plinth.config; without it, only Plinth's own objects are examined. */
  readonly application?: Application;
  /** Connected as `role`. Each role may read the catalogue, but not Plinth's own tables. */
  readonly client: pg.Client;
  readonly role: LoginRole;
  /** The time at which overdue jobs are computed; by default, the present. */
  readonly now?: Date;
  /** Reads the space of a folder's disk; by default, from the operating system. */
  readonly freeSpace?: (folder: string) => Promise<{ readonly free: number; readonly size: number }>;
}

/** Plinth's schemas and the application's. */
export function examinedSchemas({ application }: Pick<DoctorContext, "application">): string[] {
  return [...SCHEMAS, ...(application?.schemas ?? [])];
}

/** Checks one subject. If it throws, doctor reports a `fail` with the error's message. */
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
