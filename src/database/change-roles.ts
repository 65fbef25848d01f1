import pg from "pg";

/** Errors of two sessions in different databases of one server that change the same role. */
const COLLISIONS = ["XX000", "23505", "42710", "40P01"];

/**
 * Runs SQL that changes roles, outside of a transaction of the caller. Retries if another database of the same server changed the same
 * roles at that moment: roles belong to the server, and the locks of a database do not exclude the others.
 * @throws pg.DatabaseError
 */
export async function changeRoles(client: pg.ClientBase, sql: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await client.query(sql);
      return;
    } catch (error) {
      await client.query("rollback").catch(() => {});
      const code = error instanceof pg.DatabaseError ? error.code : undefined;
      if (!code || !COLLISIONS.includes(code) || attempt === 10) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20 * attempt * Math.random()));
    }
  }
}
