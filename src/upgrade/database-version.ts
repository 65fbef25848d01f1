import type pg from "pg";
import { readFrozenMigrations, releaseOfNumber } from "../database/frozen-migrations.ts";
import { LATEST_MIGRATION, RECORDED_VERSION } from "../database/latest-migration.ts";
import { hasMemoryVectors } from "../database/memory-vectors.ts";
import { MIGRATIONS_FOLDER } from "../support/paths.ts";

export interface DatabaseVersion {
  /** The version that migrated it last; undefined if it is older than all releases, or new. */
  readonly version: string | undefined;
  /** Whether it has run any migration. */
  readonly isMigrated: boolean;
  /** Its schemas compat_…, which migrations leave as they are. */
  readonly compatibilitySchemas: readonly string[];
  readonly hasVectors: boolean;
}

/** Reads the version that migrated a database last: as recorded or, after a rollback, the release of its latest migration. */
export async function readDatabaseVersion(client: pg.ClientBase): Promise<DatabaseVersion> {
  const { rows } = await client.query<{ latest: number | null; version: string | null; compat: string[] }>(`
    select ${LATEST_MIGRATION} as latest, ${RECORDED_VERSION} as version,
      array(
        select nspname::text from pg_namespace where starts_with(nspname, 'compat_') order by nspname
      ) as compat`);
  const { latest, version, compat } = rows[0]!;
  const released =
    latest === null ? undefined : releaseOfNumber(await readFrozenMigrations(MIGRATIONS_FOLDER), latest);
  return {
    version: version ?? released,
    isMigrated: latest !== null,
    compatibilitySchemas: compat,
    hasVectors: await hasMemoryVectors(client),
  };
}
