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
  /** Rules. */
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
       (count(*) filter (where c.old_values is null and c.rule_id is not null))::int as added,
       (count(*) filter (where c.old_values is not null and c.new_values is not null and c.rule_id is not null))::int as changed,
       (count(*) filter (where c.new_values is null and c.rule_id is not null))::int as removed
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
 * @returns the number of the new version
 * @throws PlinthError NOT_FOUND for an unknown version
 */
export async function restoreVersion(client: pg.ClientBase, version: number): Promise<number> {
  const { rows } = await client
    .query<{ version: number }>("select version::int as version from access.restore_casbin_version($1)", [
      version,
    ])
    .catch((error: pg.DatabaseError) => {
      if (error.code !== "PL404") throw error;
      throw new PlinthError("NOT_FOUND", `Unknown version: ${version}.`, {
        hint: "plinth access history lists the versions.",
        cause: error,
      });
    });
  return rows[0]!.version;
}
