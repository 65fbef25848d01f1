import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { OWN_ROWS } from "../../plugins/own-rows.ts";
import { seedActors } from "../support/access-seed.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase, withClient } from "../support/database.ts";
import { type GeneratedField, readSurface } from "../support/generated-fields.ts";
import { openSchema, type SchemaInProcess, type Statement } from "../support/schema-in-process.ts";

// Tables with an own-rows policy and a permission policy: a list reads the rows of the caller only, however many other users
// there are. The policies decide what is visible; test/graphql/generated-queries.test.ts compares that.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

interface Policy {
  readonly table: string;
  readonly condition: string;
}

/** `( SELECT has_permission('…'))`, alone or joined by OR: does not depend on the row. */
const PERMISSION = /\( SELECT (?:access\.)?has_permission\('(\w+)'::text\) AS has_permission\)/g;
/** Other parts of a permission policy: who holds the permission sees at most as much. */
const OWNER = /\(?(\w+) = \( SELECT (?:plinth\.)?current_user_id\(\) AS current_user_id\)\)?/;

test("knows each table whose policies are those of its owner and of permissions", async () => {
  const policies = await inRolledBackTransaction(db, (tx) =>
    tx.rows<Policy>(
      `select schemaname || '.' || tablename as table, qual as condition from pg_policies
       where permissive = 'PERMISSIVE' and cmd in ('SELECT', 'ALL') and schemaname <> 'pgboss'`,
    ),
  );
  const found: Record<string, { column: string; permissions: string[] }> = {};
  for (const [table, ofTable] of Map.groupBy(policies, (policy) => policy.table)) {
    const parts = ofTable.flatMap(({ condition }) =>
      condition.startsWith("((") && condition.includes(") OR ( SELECT") ? condition.split(" OR ") : [condition],
    );
    const permissions = parts.flatMap((part) => [...part.matchAll(PERMISSION)].map(([, name]) => name!));
    const owners = parts.filter((part) => !part.match(PERMISSION)).map((part) => OWNER.exec(part)?.[1]);
    // Rows without an owner are visible by another rule.
    const isOwned = owners.length > 0 && owners.every((owner) => owner === owners[0] && owner !== undefined);
    if (isOwned && permissions.length > 0 && !parts.some((part) => / IS NULL\) OR /.test(part) && !/ip_address/.test(part)))
      found[table] = { column: owners[0]!, permissions: [...new Set(permissions)].sort() };
  }
  expect(found).toEqual(OWN_ROWS);
});
