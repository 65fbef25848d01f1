import type pg from "pg";
import type { Forecast } from "./forecast.ts";
import { type LiveRelation, readLiveRelations } from "./live.ts";
import type { ScratchCopy } from "./scratch-copy.ts";

export interface PlanStep {
  /** File of a migration, the newest and oldest file of a rollback, or "job queue". */
  readonly name: string;
  readonly of: "plinth" | "application" | "jobs";
  /** Whether all statements run in one transaction, at whose end all locks are released. */
  readonly isTransaction: boolean;
  /** Whether `plinth rollback` can take it back. */
  readonly isReversible: boolean;
  /** Undefined if nothing could be forecast; the plan's notes give the reason. */
  readonly forecast: Forecast | undefined;
}

export interface Plan {
  readonly steps: readonly PlanStep[];
  readonly notes: readonly string[];
}

/** A scratch server, or the reason why there is none. */
export type ScratchServer = { readonly rootUrl: string } | { readonly missing: string };

/** Opens a scratch server for a plan that needs one. */
export type WithScratchServer = <T>(use: (server: ScratchServer) => Promise<T>) => Promise<T>;

/** Settings of the connection that reads the live database: it neither waits nor works for long. */
export async function readLive(client: pg.ClientBase): Promise<Map<string, LiveRelation>> {
  await client.query("set lock_timeout = '1s'; set statement_timeout = '10s'");
  return readLiveRelations(client);
}

export async function versionNote(live: pg.ClientBase, copy: ScratchCopy): Promise<string[]> {
  const [here, there] = await Promise.all([live, copy.client].map(majorVersion));
  if (here === there) return [];
  return [
    `The forecast was made on PostgreSQL ${there}, but the database runs ${here}, whose locks may differ. ` +
      `Set TEST_DATABASE_URL to a server of version ${here} for an exact one.`,
  ];
}

async function majorVersion(client: pg.ClientBase): Promise<number> {
  const { rows } = await client.query<{ major: number }>(
    "select current_setting('server_version_num')::integer / 10000 as major",
  );
  return rows[0]!.major;
}
