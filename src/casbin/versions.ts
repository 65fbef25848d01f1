import type pg from "pg";
import { PlinthError } from "../support/errors.ts";

/** A change of rules or models. */
export interface CasbinVersion {
  readonly version: number;
  readonly at: Date;
  /** Id of the account, or the database role. */
  readonly by: string;
  readonly reason: string;
  readonly models: readonly string[];
  readonly added: number;
  readonly changed: number;
  readonly removed: number;
}

// Each function needs a client connected as the owner.

/** @returns the latest versions, newest first */
export async function readVersions(client: pg.ClientBase, limit: number): Promise<CasbinVersion[]> {
  const { rows } = await client.query<CasbinVersion>(
    `select
       v.version::int as version,
       v.created_at as at,
       v.created_by as by,
       v.reason,
       coalesce(array_agg(distinct c.model_name) filter (where c.id is not null), '{}') as models,
       (count(*) filter (where c.old_values is null and c.new_values is not null))::int as added,
       (count(*) filter (where c.old_values is not null and c.new_values is not null))::int as changed,
       (count(*) filter (where c.new_values is null and c.old_values is not null))::int as removed
     from (select * from access.casbin_versions order by version desc limit $1) v
     left join access.casbin_changes c on c.version = v.version
     group by v.version, v.created_at, v.created_by, v.reason
     order by v.version desc`,
    [limit],
  );
  return rows;
}

/**
 * Brings models and rules back to the state that they had after a version.
 * @returns the new version, or null if nothing differed
 * @throws PlinthError NOT_FOUND for an unknown version
 */
export async function restoreVersion(client: pg.ClientBase, version: number): Promise<number | null> {
  const { rows } = await client
    .query<{ version: number | null }>("select access.restore_casbin_version($1)::int as version", [version])
    .catch((error: pg.DatabaseError) => {
      if (error.code === "PL404") throw new PlinthError("NOT_FOUND", error.message, { cause: error });
      throw error;
    });
  return rows[0]!.version;
}
