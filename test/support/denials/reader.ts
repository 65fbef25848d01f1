import pg from "pg";
import { roleName } from "../../../src/config/roles.ts";
import type { Actor } from "../access-seed.ts";
import type { TestDatabase } from "../database.ts";

/** Reads rows in SQL, on connections that stay open. */
export interface Reader {
  /** As the owner of the tables, whom no policy restricts. */
  all<Row extends object>(sql: string, params?: readonly unknown[]): Promise<Row[]>;
  /** As an actor; without rows if its role may not read them at all. */
  as<Row extends object>(actor: string, sql: string): Promise<Row[]>;
  close(): Promise<void>;
}

export async function openReader(db: TestDatabase, actors: ReadonlyMap<string, Actor>): Promise<Reader> {
  const connectAs = async (role: "owner" | "authenticator") => {
    const client = new pg.Client({ connectionString: db.url(role), application_name: "plinth tests" });
    await client.connect();
    return client;
  };
  const [owner, authenticator] = await Promise.all([connectAs("owner"), connectAs("authenticator")]);
  const settings = "select set_config('role', $1, true), set_config('jwt.claims.user_id', $2, true)";
  return {
    async all<Row extends object>(sql: string, params: readonly unknown[] = []) {
      return (await owner.query<Row & pg.QueryResultRow>(sql, [...params])).rows;
    },
    async as<Row extends object>(actor: string, sql: string) {
      const { userId } = actors.get(actor)!;
      await authenticator.query("begin");
      try {
        await authenticator.query(settings, [
          roleName(db.rolePrefix, userId ? "user" : "anonymous"),
          userId ?? "",
        ]);
        return (await authenticator.query<Row & pg.QueryResultRow>(sql)).rows;
      } catch (error) {
        if ((error as { code?: string }).code === "42501") return [];
        throw error;
      } finally {
        await authenticator.query("rollback");
      }
    },
    async close() {
      await Promise.all([owner.end(), authenticator.end()]);
    },
  };
}
