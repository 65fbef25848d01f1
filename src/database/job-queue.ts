import type pg from "pg";
import { PgBoss } from "pg-boss";
import { JOB_SCHEMA } from "./schemas.ts";

/** The job queue on one connection, without a worker: it runs in the connection's transaction. */
export function queueOn(client: pg.ClientBase): PgBoss {
  return new PgBoss({
    schema: JOB_SCHEMA,
    db: { executeSql: (text, values) => client.query(text, values) },
    migrate: false,
    createSchema: false,
    supervise: false,
    schedule: false,
  });
}
