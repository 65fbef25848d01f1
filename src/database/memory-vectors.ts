import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { compilePlaceholders } from "graphile-migrate/dist/migration.js";
import pg from "pg";
import { PlinthError } from "../support/errors.ts";
import { OPTIONAL_MIGRATIONS_FOLDER } from "../support/paths.ts";
import { retryWhenBlocked } from "./locks/retry-when-blocked.ts";
import { type MigrationOptions, type MigrationSession, withMigrationLock } from "./migration-session.ts";

// An optional migration: its objects need pgvector, which a server may lack. It is not in the history, so that all databases have
// the same one.

/** The schema of Plinth's extensions. */
const EXTENSION_SCHEMA = "plinth";

/**
 * Creates the tables and functions of recall by meaning, and queues the vectors of all memories. May run again, also to bring them
 * up to date.
 * @throws PlinthError MIGRATIONS_PENDING, VECTORS_UNAVAILABLE
 */
export async function enableMemoryVectors(options: MigrationOptions): Promise<void> {
  await inTransaction(options, async ({ client, settings }) => {
    await requireMemories(client);
    await requireExtension(client);
    await client.query(compilePlaceholders(settings, await readSql("memory-vectors.sql")));
  });
}

/**
 * Drops all that `enableMemoryVectors` created, with the vectors, except the extension.
 * @returns whether vectors were enabled
 */
export async function disableMemoryVectors(options: MigrationOptions): Promise<boolean> {
  return inTransaction(options, async ({ client }) => {
    const wereEnabled = await hasMemoryVectors(client);
    if (wereEnabled) await client.query(await readSql("memory-vectors.rollback.sql"));
    return wereEnabled;
  });
}

export function hasMemoryVectors(client: pg.ClientBase): Promise<boolean> {
  return exists(client, "select where to_regclass('private.memory_embeddings') is not null");
}

async function requireMemories(client: pg.ClientBase): Promise<void> {
  if (await exists(client, "select where to_regclass('llm.memories') is not null")) return;
  throw new PlinthError("MIGRATIONS_PENDING", "The database has no table of memories.", {
    hint: "Run plinth migrate first.",
  });
}

async function requireExtension(client: pg.ClientBase): Promise<void> {
  if (!(await exists(client, "select from pg_available_extensions where name = 'vector'")))
    throw new PlinthError("VECTORS_UNAVAILABLE", "The server does not have pgvector.", {
      hint: "Install it (https://github.com/pgvector/pgvector), or recall memories by words only.",
    });
  const create = `create extension if not exists vector with schema ${EXTENSION_SCHEMA}`;
  await client.query(create).catch((error: unknown) => {
    if (!(error instanceof pg.DatabaseError) || error.code !== "42501") throw error;
    throw new PlinthError("VECTORS_UNAVAILABLE", "The owner may not create the extension vector.", {
      hint: `Let a superuser run: ${create};`,
      cause: error,
    });
  });
  const { rows } = await client.query<{ schema: string }>(
    "select extnamespace::regnamespace::text as schema from pg_extension where extname = 'vector'",
  );
  const { schema } = rows[0]!;
  if (schema !== EXTENSION_SCHEMA)
    throw new PlinthError("VECTORS_UNAVAILABLE", `pgvector is in the schema ${schema} of this database.`, {
      hint: `Plinth expects it in ${EXTENSION_SCHEMA}: alter extension vector set schema ${EXTENSION_SCHEMA};`,
    });
}

async function exists(client: pg.ClientBase, query: string): Promise<boolean> {
  return ((await client.query(query)).rowCount ?? 0) > 0;
}

function readSql(name: string): Promise<string> {
  return readFile(join(OPTIONAL_MIGRATIONS_FOLDER, name), "utf8");
}

function inTransaction<T>(
  options: MigrationOptions,
  use: (session: MigrationSession) => Promise<T>,
): Promise<T> {
  return withMigrationLock(options, (session) =>
    retryWhenBlocked(session, "The change of memory vectors", async () => {
      await session.client.query("begin");
      try {
        const result = await use(session);
        await session.client.query("commit");
        return result;
      } catch (error) {
        await session.client.query("rollback");
        throw error;
      }
    }),
  );
}
