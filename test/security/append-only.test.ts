import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { LOGIN_ROLES, roleName } from "../../src/config/roles.ts";
import { grantRole, registerUser } from "../support/accounts.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

// An account cannot change the record of its own actions: logs are append-only for every role but the owner, and only functions
// append to them.

let db: TestDatabase;
let admin: string;
beforeAll(async () => {
  db = await createTestDatabase();
  admin = await registerUser(db, "admin");
  await grantRole(db, admin, "admin");
});
afterAll(async () => {
  await db.drop();
});

const LOGS = {
  "security.login_attempts": "(status) values ('success')",
  "security.security_audit_log": "(event_type) values ('forged')",
  "security.audit_trail":
    "(table_name, operation, row_key, transaction_number, source) values ('t', 'INSERT', '{}', 1, 'forged')",
  "security.error_logs": "(id, message, error_code, source) values (gen_random_uuid(), 'm', 'c', 'forged')",
  "security.personal_data_reads":
    "(read_id, origin, source, relations, subject_count) values (gen_random_uuid(), 'api', 'forged', '{identity.users}', 1)",
  "security.rate_limit_records":
    "(key_hash, algorithm, window_start, window_end, request_count, limit_value) values (sha256(''), 'fixed_window', now(), now() + '1 s', 1, 1)",
};

describe.each(Object.entries(LOGS))("%s [C6, A5]", (table, row) => {
  test("accepts the row from the owner, so that the rejections below come from missing rights", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.rows(`insert into ${table} ${row}`);
    });
  });

  const roles = ["anonymous", "user", ...LOGIN_ROLES.filter((role) => role !== "owner")] as const;
  test.each(roles)(
    "rejects writing, changing, deleting and truncating by %s, even by an administrator",
    async (role) => {
      await inRolledBackTransaction(db, async (tx) => {
        const partition = await tx.rows<{ name: string }>(
          "select inhrelid::regclass::text as name from pg_inherits where inhparent = $1::regclass limit 1",
          [table],
        );
        const targets = [
          table,
          ...partition.map(({ name }) => (name.includes(".") ? name : `security.${name}`)),
        ];
        if (role === "user") await tx.asUser(admin);
        else if (role === "anonymous") await tx.asAnonymous();
        else if (role === "service") await tx.asService();
        else if (role === "worker") await tx.asWorker();
        else if (role === "analyst") await tx.asAnalyst();
        else
          await tx.client.query(
            `set local ${db.adminIsSuperuser ? "session authorization" : "role"} "${roleName(db.rolePrefix, role)}"`,
          );
        for (const target of targets)
          for (const statement of [
            `insert into ${target} ${row}`,
            `update ${target} set created_at = now()`,
            `delete from ${target}`,
            `truncate ${target}`,
          ])
            await expect(tx.attempt(statement)).rejects.toMatchObject({ code: "42501" });
      });
    },
  );
});
