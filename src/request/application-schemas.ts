import type { Pool } from "pg";
import { PlinthError } from "../support/errors.ts";

/**
 * Checks that the application's schemas exist and that users may use them: PostGraphile would leave them out without a word.
 * @throws PlinthError SCHEMA_MISSING, SCHEMA_CLOSED
 */
export async function assertSchemasUsable(
  pool: Pool,
  schemas: readonly string[],
  userRole: string,
): Promise<void> {
  if (schemas.length === 0) return;
  const { rows } = await pool.query<{ name: string; found: boolean; usable: boolean }>(
    `select s.name, n.oid is not null as found, has_schema_privilege($2, n.oid, 'usage') as usable
     from unnest($1::text[]) s (name)
     left join pg_catalog.pg_namespace n on n.nspname = s.name`,
    [schemas, userRole],
  );
  const missing = rows.find(({ found }) => !found);
  if (missing)
    throw new PlinthError("SCHEMA_MISSING", `The application's schema ${missing.name} does not exist.`, {
      hint: "Create it in a migration and run plinth migrate, or remove it from plinth.config.",
    });
  const closed = rows.find(({ usable }) => !usable);
  if (closed)
    throw new PlinthError("SCHEMA_CLOSED", `Users may not use the application's schema ${closed.name}.`, {
      hint: `Grant it in a migration: grant usage on schema ${closed.name} to :PLINTH_ANONYMOUS, :PLINTH_USER;`,
    });
}
