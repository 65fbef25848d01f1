import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { roleName } from "../../src/config/roles.ts";
import { IDS } from "../support/access-probes/ids.ts";
import { seedActors } from "../support/access-seed.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { databaseEnv } from "./run-cli.ts";
import { runHere } from "./run-here.ts";

let db: TestDatabase;
let env: Record<string, string>;
beforeAll(async () => {
  db = await createTestDatabase();
  env = databaseEnv(db);
  await seedActors(db);
});
afterAll(() => db.drop());

const explain = (...args: string[]) => runHere(["explain-access", ...args], { env });

test("prints the verdict, what decides with each part, and what would have to change; exit code 1", async () => {
  const user = roleName(db.rolePrefix, "user");
  expect(
    await explain(
      "--user",
      "ada",
      "--op",
      "delete",
      "--table",
      "access.user_roles",
      "--id",
      `user_id=${IDS.bob},role_id=${IDS.bob}`,
    ),
  ).toEqual({
    code: 1,
    stdout: expect.stringMatching(/^NO SUCH ROW: delete on access\.user_roles as ada/),
    stderr: "",
  });
  expect(
    await explain("--user", IDS.ada!, "--op", "select", "--table", "llm.chats", "--id", IDS.bob!),
  ).toEqual({
    code: 1,
    stdout: `DENIED: select on llm.chats as ${IDS.ada} (${user})
The row does not pass the policies for select: the statement succeeds and finds no row.

Grants
  held    usage on schema llm, granted to ${user}
  held    select (id) on llm.chats, granted to ${user}

Policies (any permissive one must pass, and every restrictive one)
  llm.chats: existing row, policies for select
    all_own (for all): Users read and write their own chats.
      false user_id = plinth.current_user_id()

To allow it
  - The policy all_own on llm.chats passes if the row's user_id is the id of the user.
`,
    stderr: "",
  });
});

test("exits with 0 for what is allowed, also a new row and a function", async () => {
  const insert = await explain(
    "--user",
    "ada",
    "--op",
    "insert",
    "--table",
    "llm.chats",
    "--values",
    '{"title": "x"}',
    "--returning",
    "--json",
  );
  expect([insert.code, JSON.parse(insert.stdout).verdict]).toEqual([0, "allowed"]);
  const call = await explain("--role", "user", "--function", "access.grant_role");
  expect([call.code, call.stdout.split("\n")[0]]).toEqual([
    0,
    `ALLOWED: execute on access.grant_role(uuid,text,timestamp with time zone,text) as user (${roleName(db.rolePrefix, "user")})`,
  ]);
});

test.each([
  [["--op", "select", "--table", "llm.chats"], 2, "Name the actor with --user or with --role."],
  [["--user", "ada", "--role", "user", "--op", "select", "--table", "llm.chats"], 2, "Name the actor"],
  [["--user", "ada"], 2, "Name the object with --table or with --function."],
  [["--user", "ada", "--table", "llm.chats"], 2, "Add --op select, insert, update or delete."],
  [["--user", "ada", "--op", "select", "--function", "access.grant_role"], 2, "A function has no --op"],
  [
    ["--user", "ada", "--op", "insert", "--table", "llm.chats", "--values", "[1]"],
    2,
    "It must be a JSON object",
  ],
  [
    ["--user", "nobody-of-this-name", "--op", "select", "--table", "llm.chats"],
    1,
    "No account is named nobody-of-this-name.",
  ],
  [
    ["--user", "ada", "--op", "select", "--table", "llm.nope"],
    1,
    "Table not found: llm.nope.\nhint: Write schema.table.",
  ],
  [
    ["--user", "ada", "--op", "select", "--table", "llm.chats", "--id", "nope=1"],
    1,
    "llm.chats has no column nope.",
  ],
])("reports how to correct %j", async (args, code, message) => {
  const outcome = await explain(...args);
  expect({ code: outcome.code, stdout: outcome.stdout }).toEqual({ code, stdout: "" });
  expect(outcome.stderr).toContain(message);
});
