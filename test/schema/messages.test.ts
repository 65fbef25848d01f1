import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// Errors of SQL functions reach people who call them through GraphQL, where `record_heartbeat` is `recordHeartbeat`. A
// message therefore uses words; it may contain names that are the same everywhere, such as permissions and states.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

interface Routine {
  name: string;
  body: string;
  /** Whether the worker's jobs call the function in SQL. */
  is_job: boolean;
}

test("no message or hint for API callers contains an SQL name", async () => {
  const { routines, values } = await withClient(db.url("owner"), async (client) => ({
    // Makes PostgreSQL print every name with its schema.
    path: await client.query("set search_path = ''"),
    routines: (
      await client.query<Routine>(
        `select p.oid::regprocedure::text as name, coalesce(p.prosrc, '') as body,
           has_function_privilege($1, p.oid, 'execute') as is_job
         from pg_proc p
         join pg_namespace n on n.oid = p.pronamespace
         where n.nspname in ('plinth', 'identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'private')`,
        [`${db.rolePrefix}_worker`],
      )
    ).rows,
    /** Names of permissions, and states and kinds as listed in CHECK constraints. */
    values: new Set(
      (
        await client.query<{ value: string }>(
          `select permission_name as value from access.permissions
           union
           select (regexp_matches(pg_get_constraintdef(oid), '''([a-z]+(?:_[a-z]+)+)''', 'g'))[1]
           from pg_constraint where contype = 'c'`,
        )
      ).rows.map(({ value }) => value),
    ),
  }));
  expect(routines.length).toBeGreaterThan(200);
  const found = routines
    .filter(({ is_job }) => !is_job)
    .flatMap(({ name, body }) =>
      messagesIn(body).flatMap((text) =>
        (text.match(/[a-z]+(?:_[a-z0-9]+)+/g) ?? [])
          .filter((word) => !values.has(word))
          .map((word) => `${name}: ${word} in '${text}'`),
      ),
    );
  // The keys of `changes` are column names for every caller.
  const REVISE_PLAN = "billing.revise_plan(uuid,jsonb): ";
  expect(found.filter((line) => line.startsWith(REVISE_PLAN))).not.toEqual([]);
  expect(found.filter((line) => !line.startsWith(REVISE_PLAN))).toEqual([]);
  // PostgreSQL's own messages contain names and values; imports are for operators, who may read them.
  const repeating = routines.filter(
    ({ name, is_job, body }) =>
      !is_job && !/private\.import_/.test(name) && /raise exception[^;]*\bsqlerrm\b/.test(body),
  );
  expect(repeating.map(({ name }) => name)).toEqual([]);
});

/** The texts of `raise exception` and `hint =` in a body. */
function messagesIn(body: string): string[] {
  return [...body.matchAll(/(?:raise exception|hint =|message =)\s+'((?:[^']|'')*)'/g)].map(
    ([, text]) => text!,
  );
}
