import { readdirSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { MIGRATIONS_FOLDER } from "../support/paths.ts";
import { type HistorySchema, PLINTH_HISTORY } from "./history.ts";

/**
 * Writes the number of the latest migration into the comment on the schema with the record. Every role can read the comment, so the
 * API knows the version of the schema without a privilege on the record.
 * @param version of Plinth that migrated the database; none after a rollback, which leaves the schema of an earlier one
 */
export async function markLatestMigration(
  client: pg.ClientBase,
  place: HistorySchema,
  version?: string,
): Promise<void> {
  const { rows } = await client.query<{ number: string | null }>(
    `select substring(max(filename collate "C") from '^\\d+') as number from ${place}.migrations`,
  );
  const number = rows[0]!.number ?? "none";
  const comment = `Record of Plinth's migrations. Latest: ${number}${version ? `. Version: ${version}` : ""}`;
  await client.query(`comment on schema ${place} is ${pg.escapeLiteral(comment)}`);
}

/** The number in that comment; null if there is none. */
export const LATEST_MIGRATION = fromComment("Latest: (\\d+)", "integer");

/** The version in that comment; null if there is none. */
export const RECORDED_VERSION = fromComment("Version: (\\S+)", "text");

function fromComment(pattern: string, type: string): string {
  return `(
  select pg_catalog.substring(pg_catalog.obj_description(n.oid, 'pg_namespace'), '${pattern}')::${type}
  from pg_catalog.pg_namespace n
  where n.nspname = '${PLINTH_HISTORY}'
)`;
}

let ownLatest: number | undefined;

/** The number of the latest migration that this version has. */
export function latestOwnMigration(): number {
  ownLatest ??= Math.max(
    ...readdirSync(join(MIGRATIONS_FOLDER, "committed"))
      .filter((name) => name.endsWith(".sql"))
      .map((name) => Number.parseInt(name, 10)),
  );
  return ownLatest;
}
