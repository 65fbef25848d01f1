import type pg from "pg";
import { roleName } from "../../src/config/roles.ts";
import { withClient } from "./client.ts";
import type { TestDatabase } from "./test-database.ts";

/** A caller of a compatibility schema: a login, or the application or the API's role with the claims of a user. */
export type CompatCaller = "application" | "analyst" | { application: string } | { user: string };

/** Runs in a rolled-back transaction as a caller, with the schema alone in the search path. */
export async function callerOf<T>(
  db: TestDatabase,
  schema: string,
  caller: CompatCaller,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const login = typeof caller === "string" ? caller : "user" in caller ? "authenticator" : "application";
  return withClient(db.url(login), async (client) => {
    await client.query("begin");
    await client.query("select set_config('search_path', $1, true)", [schema]);
    if (typeof caller !== "string") {
      if ("user" in caller) await client.query(`set local role ${roleName(db.rolePrefix, "user")}`);
      await client.query("select set_config('jwt.claims.user_id', $1, true)", [
        "user" in caller ? caller.user : caller.application,
      ]);
    }
    try {
      return await use(client);
    } finally {
      await client.query("rollback");
    }
  });
}
