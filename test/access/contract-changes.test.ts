import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { openSqlContract } from "../../src/access-contract/attempt-all.ts";
import { contractOf, differences, rolesOf, writeContract } from "../../src/access-contract/contract.ts";
import { roleName } from "../../src/config/roles.ts";
import { SCHEMAS } from "../../src/database/schemas.ts";
import { readActors, seedContract } from "../support/contract/actors.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// Each change of access changes the contract, and its difference says whose access to what.

let db: TestDatabase;
let client: pg.Client;
beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), seedContract);
  client = new pg.Client({ connectionString: db.adminUrl });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await db.drop();
});

/** The differences that a statement of the owner makes. */
async function changesBy(
  sql: string,
  only: { readonly relations?: readonly string[]; readonly functions?: readonly string[] },
): Promise<readonly string[]> {
  const read = async () => {
    const actors = await readActors(client);
    const roles = rolesOf(actors);
    const contract = await openSqlContract(client, { ...db, actors, schemas: SCHEMAS });
    return writeContract(contractOf(await contract.attempt(only)), roles);
  };
  await client.query("begin");
  try {
    const before = await read();
    await client.query(sql);
    return differences(before, await read());
  } finally {
    await client.query("rollback");
  }
}

const role = (name: "anonymous" | "user" | "analyst") => pg.escapeIdentifier(roleName(db.rolePrefix, name));

test("is the same when nothing has changed", async () => {
  expect(
    await changesBy("select", { relations: ["llm.chats"], functions: ["access.has_permission(text)"] }),
  ).toEqual([]);
});

describe("shows", () => {
  test("a grant on a table of secrets", async () => {
    const changes = await changesBy(
      `grant usage on schema private to ${role("anonymous")}; grant select on private.user_passwords to ${role("anonymous")}`,
      { relations: ["private.user_passwords"] },
    );
    expect(changes).toContainEqual("anonymous: select columns table private.user_passwords: absent → all");
  });

  test("a grant of one column", async () => {
    expect(
      await changesBy(`grant update (account_status) on identity.users to ${role("user")}`, {
        relations: ["identity.users"],
      }),
    ).toContainEqual(
      expect.stringMatching(
        /^user: update columns table identity\.users: username, profile_data → .*account_status/,
      ),
    );
  });

  test("a policy that lets everyone read", async () => {
    const changes = await changesBy("alter policy all_own on llm.chats using (true)", {
      relations: ["llm.chats"],
    });
    expect(changes).toContainEqual("user: select table llm.chats: own → all");
  });

  test("a policy that lets everyone change rows", async () => {
    const changes = await changesBy(
      "alter policy update_own on identity.user_settings using (true) with check (true)",
      { relations: ["identity.user_settings"] },
    );
    expect(changes).toContainEqual(expect.stringMatching(/^user, other user.*: update .*: own → all$/));
  });

  test("a policy that lets users insert rows of others", async () => {
    const changes = await changesBy("alter policy all_own on llm.prompts with check (true)", {
      relations: ["llm.prompts"],
    });
    expect(changes).toContainEqual("user: insert table llm.prompts: own; 42501 → all");
  });

  test("row security that is off", async () => {
    const changes = await changesBy("alter table llm.chats disable row level security", {
      relations: ["llm.chats"],
    });
    expect(changes).toContainEqual("user: delete table llm.chats: own → all");
  });

  test("the right to truncate a table, which no policy restricts", async () => {
    expect(
      await changesBy(`grant truncate on llm.chats to ${role("user")}`, { relations: ["llm.chats"] }),
    ).toEqual(["user: truncate table llm.chats: absent → allowed"]);
  });

  test("a view for another role", async () => {
    const changes = await changesBy(
      `grant select on analytics.daily_sign_ins to ${role("analyst")}, ${role("user")};
      grant usage on schema analytics to ${role("user")}`,
      { relations: ["analytics.daily_sign_ins"] },
    );
    expect(changes).toContainEqual("user: select columns view analytics.daily_sign_ins: absent → all");
  });

  test("a new table, also without rows", async () => {
    const changes = await changesBy(
      `create table llm.notes (id uuid primary key); grant select on llm.notes to ${role("user")}`,
      { relations: ["llm.notes"] },
    );
    expect(changes).toContainEqual(
      expect.stringMatching(/^user, other user, .*: select table llm\.notes: absent → empty$/),
    );
  });

  test("a function that everyone may call", async () => {
    const changes = await changesBy(
      "grant usage on schema private to public; grant execute on function private.find_login(text, bytea) to public",
      {
        functions: ["private.find_login(text,bytea)"],
      },
    );
    expect(changes).toContainEqual(
      expect.stringMatching(
        /^anonymous, user.*: call function private\.find_login\(text,bytea\): - → called$/,
      ),
    );
  });

  // In any language of the server: each fails with 42501, and only the message differs.
  test("a function that fails for lack of a right, and one that is out of reach", async () => {
    const inside = await changesBy(
      `create or replace function access.has_permission(permission text) returns boolean language plpgsql
       as $$ begin raise insufficient_privilege using message = 'permission denied for function has_permission'; end $$`,
      { functions: ["access.has_permission(text)"] },
    );
    expect(inside).toContainEqual(
      expect.stringMatching(
        /^anonymous, user.*: call function access\.has_permission\(text\): called → 42501$/,
      ),
    );
    const withoutGrant = await changesBy(
      `revoke execute on function access.has_permission(text) from public, ${role("anonymous")}`,
      { functions: ["access.has_permission(text)"] },
    );
    expect(withoutGrant).toContainEqual(
      expect.stringMatching(/^anonymous: call function access\.has_permission\(text\): called → -$/),
    );
    const withoutSchema = await changesBy(`revoke usage on schema access from ${role("anonymous")}`, {
      functions: ["access.has_permission(text)"],
    });
    expect(withoutSchema).toEqual(withoutGrant);
  });

  test("a function that answers instead of failing", async () => {
    const changes = await changesBy(
      `create or replace function access.has_permission(permission text) returns boolean language sql stable
       security definer set search_path = pg_catalog as 'select true'`,
      { relations: ["security.error_logs"] },
    );
    expect(changes.join("\n")).toMatch(/other user.*: select table security\.error_logs: none → all/);
  });
});
