import pg from "pg";

/** Of about five seconds each. */
const ATTEMPTS = 12;

/** Drops a database, if it exists, with the sessions in it. */
export async function dropDatabase(client: pg.ClientBase, name: string): Promise<void> {
  await onceUnused(() => client.query(`drop database if exists ${pg.escapeIdentifier(name)} with (force)`));
}

/**
 * Creates or drops a database. PostgreSQL first waits for the end of other sessions, of autovacuum as well, but for five seconds only,
 * which are not enough on a busy machine.
 * @throws pg.DatabaseError 55006 if they do not end within a minute
 */
export async function onceUnused(run: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await run();
      return;
    } catch (error) {
      if ((error as { code?: unknown }).code !== "55006" || attempt === ATTEMPTS) throw error;
    }
  }
}
