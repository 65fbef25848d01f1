import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { compilePlaceholders } from "graphile-migrate/dist/migration.js";
import type pg from "pg";
import { compatPlaceholders } from "../../config/roles.ts";
import { PlinthError } from "../../support/errors.ts";
import { retryWhenBlocked } from "../locks/retry-when-blocked.ts";
import { type MigrationSession, withMigrationLock } from "../migration-session.ts";
import { readChange, type SystemChange, type SystemState } from "./change.ts";
import { ensureCompatRoles } from "./compat-roles.ts";
import type { CompatOptions } from "./options.ts";
import { COMPAT_FOLDER, compatSchema, compatSystems, MECHANISM } from "./systems.ts";

// A compatibility schema is derived from the tables, so it is dropped and created anew as a whole. The numbers of its rows are in
// plinth.external_ids, which stays.

/**
 * Creates the compatibility schemas of the systems, or brings them up to date.
 * @throws PlinthError MIGRATIONS_PENDING, ROLES_MISSING
 */
export async function enableCompat(
  systems: readonly string[],
  options: CompatOptions,
): Promise<SystemChange[]> {
  return changed(options, async (session) => {
    await requireTables(session.client);
    await ensureCompatRoles(session.client, options);
    return async () => {
      const run = await runner(session, options.rolePrefix);
      await run(MECHANISM);
      const changes: SystemChange[] = [];
      for (const [done, system] of systems.entries()) {
        session.onProgress({ step: `Creating ${compatSchema(system)}`, done, total: systems.length });
        changes.push(
          await readChange(session.client, system, async () => {
            await session.client.query("call compat.withdraw($1)", [system]);
            await run(system);
          }),
        );
      }
      await session.client.query("call compat.publish()");
      return changes;
    };
  });
}

/** Drops the compatibility schemas, and with the last one all that they share. Returns the systems that were enabled. */
export async function disableCompat(systems: readonly string[], options: CompatOptions): Promise<string[]> {
  return changed(options, async ({ client }) => async () => {
    const enabled = (await listCompat(client)).filter(({ isEnabled }) => isEnabled);
    const dropped = enabled.filter(({ system }) => systems.includes(system)).map(({ system }) => system);
    for (const system of dropped) await client.query("call compat.withdraw($1)", [system]);
    if (dropped.length > 0) {
      await client.query("call compat.publish()");
      if (dropped.length === enabled.length) await client.query("drop schema compat cascade");
    }
    return dropped;
  });
}

/** Returns each system with the number of its views, if it is enabled. */
export async function listCompat(client: pg.ClientBase): Promise<SystemState[]> {
  const { rows } = await client.query<{ schema: string; views: number }>(
    `select n.nspname as schema, count(c.oid)::integer as views
     from pg_namespace n
     left join pg_class c on c.relnamespace = n.oid and c.relkind = 'v'
     where n.nspname = any ($1)
     group by n.nspname`,
    [compatSystems().map(compatSchema)],
  );
  return compatSystems().map((system) => {
    const found = rows.find(({ schema }) => schema === compatSchema(system));
    return {
      system,
      schema: compatSchema(system),
      isEnabled: found !== undefined,
      views: found?.views ?? 0,
    };
  });
}

async function requireTables(client: pg.ClientBase): Promise<void> {
  const { rows } = await client.query<{ found: boolean }>(
    "select to_regclass('plinth.external_ids') is not null as found",
  );
  if (rows[0]!.found) return;
  throw new PlinthError("MIGRATIONS_PENDING", "The database has no table of external ids.", {
    hint: "Run plinth migrate first.",
  });
}

/** Runs the SQL files of a folder in the order of their names, with the names of the roles. */
async function runner({ client, settings }: MigrationSession, rolePrefix: string) {
  const placeholders = { ...settings.placeholders, ...compatPlaceholders(rolePrefix) };
  return async (name: string) => {
    const folder = join(COMPAT_FOLDER, name);
    const files = (await readdir(folder)).filter((file) => file.endsWith(".sql")).sort();
    for (const file of files) {
      const sql = await readFile(join(folder, file), "utf8");
      await client.query(compilePlaceholders({ ...settings, placeholders }, sql));
    }
  };
}

/** Prepares, then runs the returned attempt in a transaction, again after a wait for locks. */
function changed<T>(
  options: CompatOptions,
  prepare: (session: MigrationSession) => Promise<() => Promise<T>>,
): Promise<T> {
  return withMigrationLock(options, async (session) => {
    const attempt = await prepare(session);
    return retryWhenBlocked(session, "The change of compatibility schemas", async () => {
      await session.client.query("begin");
      try {
        const result = await attempt();
        await session.client.query(options.isPlan ? "rollback" : "commit");
        return result;
      } catch (error) {
        await session.client.query("rollback");
        throw error;
      }
    });
  });
}
