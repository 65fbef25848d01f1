import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { disableCompat } from "../../src/database/compat/compat.ts";
import type { ScratchDatabase } from "../../src/database/scratch-database.ts";
import { importSystem, type SystemImportOptions } from "../../src/import/system/import-system.ts";
import { rovertChat } from "../../src/import/system/rovertchat/index.ts";
import { openSource } from "../../src/import/system/sources/open.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { cli, databaseEnv } from "../cli/run-cli.ts";
import { makeFolder } from "../import/files.ts";
import { type Api, MASTER_KEYS, signIn, startApi } from "../support/api.ts";
import { compatOptions, enableSystems } from "../support/compat.ts";
import { callerOf } from "../support/compat-callers.ts";
import {
  createEmptyTestDatabase,
  createTestDatabase,
  rowsAs,
  type TestDatabase,
  testSetup,
  withClient,
} from "../support/database.ts";
import { tokenTo } from "../support/mail.ts";
import { unseenChanges } from "../support/unseen-changes.ts";
import * as sql from "./fixtures/rovertchat/statements.ts";

// A database of rovertChat moves in, and the statements of its application run on the result. The tests build on each other.

const FIXTURES = join(PACKAGE_ROOT, "test", "systems", "fixtures", "rovertchat");
const PASSWORD = "correct horse battery 1";
const ADMIN = "a0000000-0000-4000-8000-000000000001";
const ADA = "a0000000-0000-4000-8000-000000000002";
const MING = "a0000000-0000-4000-8000-000000000003";
const LLAMA = "c0000000-0000-4000-8000-000000000001";
const CHAT = "d0000000-0000-4000-8000-000000000001";

let db: TestDatabase;
let old: ScratchDatabase;
let api: Api;
beforeAll(async () => {
  [db, old] = await Promise.all([createTestDatabase(), createEmptyTestDatabase()]);
  for (const file of ["schema.sql", "data.sql"]) await inOld(await readFile(join(FIXTURES, file), "utf8"));
  api = await startApi(db);
});
afterAll(async () => {
  await api.close();
  await Promise.all([db.drop(), old.drop()]);
});

const asOwner = rowsAs("owner", () => db);
/** As an administrator, because the roles of a scratch database have Plinth's search path. */
const oldUrl = () => Object.assign(new URL(testSetup().adminUrl), { pathname: old.name }).href;
const inOld = (text: string) => withClient(oldUrl(), (client) => client.query(text));

async function moveIn(options: Partial<SystemImportOptions> = {}, from = oldUrl()) {
  const source = await openSource(from, () => {});
  try {
    return await withClient(db.url("owner"), (client) =>
      importSystem({ client, source, mapping: rovertChat, ...options }),
    );
  } finally {
    await source.close();
  }
}

/** Rows of the tables that the import fills. */
const countsOf = async () =>
  (
    await asOwner(
      `select (select count(*)::integer from identity.users) as users, (select count(*)::integer from llm.chats) as chats,
         (select count(*)::integer from llm.messages) as messages, (select count(*)::integer from plinth.external_ids) as ids`,
    )
  )[0];
const NOTHING = { users: 0, chats: 0, messages: 0, ids: 0 };
/** The tables of the source: rows, imported, present, omitted. */
const tablesOf = ({ tables }: Awaited<ReturnType<typeof moveIn>>) =>
  Object.fromEntries(
    tables.map(({ relation, rows, imported, present, omitted }) => [
      relation,
      [rows, imported, present, omitted],
    ]),
  );
const FIRST_RUN = {
  users: [9, 9, 0, 0],
  modelproviders: [3, 3, 0, 0],
  models: [4, 3, 0, 1],
  usersettings: [3, 3, 0, 0],
  usermodelaccess: [4, 3, 0, 1],
  chats: [5, 4, 0, 1],
  messages: [11, 9, 0, 2],
};

test("a dry run of the command reports what a run would do, and changes nothing", async () => {
  const { code, stdout } = await cli(["import", "system", "rovertchat", "--dry-run", "--json"], {
    env: { ...databaseEnv(db), PLINTH_MASTER_KEYS: MASTER_KEYS, PLINTH_IMPORT_URL: oldUrl() },
  });
  const report = JSON.parse(stdout);
  expect(tablesOf(report)).toEqual(FIRST_RUN);
  expect(report).toMatchObject({ isVerified: true, mismatches: [] });
  expect(code).toBe(0);
  expect(await countsOf()).toEqual(NOTHING);
});

describe("the import", () => {
  test("moves every table, verifies it, and names what could not come along", async () => {
    const report = await moveIn();
    expect(tablesOf(report)).toEqual(FIRST_RUN);
    expect(report).toMatchObject({ isVerified: true, mismatches: [] });
    for (const { expectedChecksum, storedChecksum } of report.tables)
      expect(storedChecksum).toBe(expectedChecksum);
    expect(
      report.remarks
        .map(
          ({ relation, row, column, reason }) => `${relation} ${row.slice(-2)} ${column ?? "row"}: ${reason}`,
        )
        .sort(),
    ).toEqual([
      "chats 05 row: belongs to no user",
      "messages 05 model_id: belongs to answers: it is kept in extended_metadata",
      "messages 05 thinking: belongs to answers: it is kept in extended_metadata",
      "messages 05 tool_calls: belongs to answers: it is kept in extended_metadata",
      "messages 0a row: has an unknown role",
      "messages 0b row: belongs to no user's chat",
      "modelproviders 03 api_url: must be an http or https address",
      "modelproviders 03 auth_type: is unknown, so the provider has api_key",
      "modelproviders 03 name: is taken or has spaces around it",
      "models 03 config: must be a JSON object",
      "models 04 row: has no provider",
      "usermodelaccess 01 row: access.user_model_access already has such a row (user_model_access_user_id_model_id_key)",
      "users 01 username: is not allowed or taken: the user signs in with another name",
      "users 02 username: is not allowed or taken: the user signs in with another name",
      "users 03 avatar_url: must be an http or https address",
      "users 03 preferences: must be a JSON object",
      "users 03 username: is not allowed or taken: the user signs in with another name",
      "users 05 email: is the email address of another account",
      "users 05 password_hash: has a format that sign-in cannot verify",
      "users 05 username: is not allowed or taken: the user signs in with another name",
      "users 06 password_hash: is missing",
      "users 08 email: is not a valid email address",
      "users 08 role: does not exist here: create it, and grant it",
      "users 0a password_hash: has a format that sign-in cannot verify",
    ]);
  });

  test("keeps ids, times, roles, states, settings and token versions of people", async () => {
    expect(
      await asOwner(
        `select right(u.id::text, 2) as id, u.username, s.display_name, u.email, identity.users_role(u) as role, u.is_active,
           u.token_version, to_char(u.created_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') as created,
           to_char(u.last_login_at at time zone 'UTC', 'YYYY-MM-DD') as seen, s.default_model_id
         from identity.users u join identity.user_settings s on s.user_id = u.id order by u.id`,
      ),
    ).toEqual(
      (
        [
          [
            "01",
            "admin",
            "Admin",
            "admin@rovert.example",
            "admin",
            true,
            3,
            "2023-01-05 08:00:00.000000",
            "2025-10-01",
            null,
          ],
          [
            "02",
            "ada-lovelace",
            "Ada, Countess of Lovelace",
            "ada@rovert.example",
            "user",
            true,
            1,
            "2023-02-10 10:15:30.123456",
            "2025-10-02",
            LLAMA,
          ],
          [
            "03",
            `user-${MING}`,
            "小明",
            "ming@rovert.example",
            "user",
            true,
            2,
            "2023-03-01 00:00:00.000000",
            null,
            null,
          ],
          [
            "04",
            "grace",
            null,
            "grace@rovert.example",
            "user",
            true,
            1,
            "2023-04-01 12:00:00.000000",
            "2024-01-01",
            null,
          ],
          ["05", "grace-2", "GRACE", null, "user", true, 1, "2023-04-02 12:00:00.000000", null, null],
          ["06", "visitor", null, null, "guest", true, 1, "2023-05-01 12:00:00.000000", null, null],
          [
            "07",
            "leaver",
            null,
            "leaver@rovert.example",
            "user",
            false,
            1,
            "2023-06-01 12:00:00.000000",
            "2023-06-02",
            null,
          ],
          ["08", "tester", null, null, "user", true, 1, "2023-07-01 12:00:00.000000", null, null],
          [
            "0a",
            "lost",
            null,
            "lost@rovert.example",
            "user",
            true,
            1,
            "2023-08-01 12:00:00.000000",
            null,
            null,
          ],
        ] as const
      ).map(
        ([
          id,
          username,
          display_name,
          email,
          role,
          is_active,
          token_version,
          created,
          seen,
          default_model_id,
        ]) => ({
          id,
          username,
          display_name,
          email,
          role,
          is_active,
          token_version,
          created,
          seen,
          default_model_id,
        }),
      ),
    );
  });

  test("keeps the last activity of chats and the order of their messages", async () => {
    expect(
      await asOwner("select title, updated_at from llm.chats where user_id = $1 order by updated_at desc", [
        ADA,
      ]),
    ).toEqual([
      { title: "Analytical engine", updated_at: new Date("2025-10-02T18:44:00.5Z") },
      { title: "Untitled", updated_at: new Date("2024-03-02T09:00:00Z") },
      { title: "Notes on notes", updated_at: new Date("2024-02-11T09:05:00Z") },
    ]);
    const ada = await signIn(api, "ada-lovelace", PASSWORD);
    const { data } = await api.ask(
      `query ($id: UUID!) { chat(id: $id) { activePath { nodes { role content thinking toolCalls images tokensUsed createdAt model { name } } } } }`,
      { token: ada.token, variables: { id: CHAT } },
    );
    expect(data.chat.activePath.nodes).toMatchObject([
      { role: "system", content: "Be precise." },
      { role: "user", content: "What is in this picture?", images: ["iVBORw0KGgo="], tokensUsed: 12 },
      {
        role: "assistant",
        content: "",
        thinking: "I need a tool.",
        toolCalls: [{ id: "call_1", type: "function", function: { name: "see", arguments: "{}" } }],
        tokensUsed: 40,
        model: { name: "llama3" },
      },
      { role: "tool", content: "an engine" },
      {
        role: "assistant",
        content: "An analytical engine.",
        tokensUsed: 25,
        createdAt: "2025-10-02T18:44:00.500000+00:00",
      },
    ]);
  });

  test("charges no account for the tokens of its history", async () => {
    expect(await asOwner("select sum(tokens_used)::integer as tokens from llm.messages")).toEqual([
      { tokens: 93 },
    ]);
    expect(await asOwner("select from billing.usage_events")).toEqual([]);
  });

  test("lets analytics count the days of the messages again", async () => {
    expect(await asOwner("select day::text from private.days_to_roll_up order by day")).toEqual(
      ["2023-02-11", "2023-03-02", "2024-02-11", "2025-10-02"].map((day) => ({ day })),
    );
  });

  test("lets people sign in with their old password, hashed by bcrypt, argon2, scrypt or PBKDF2, and reset another", async () => {
    for (const name of ["admin", "ada@rovert.example", "ming@rovert.example", "grace"])
      expect(await signIn(api, name, PASSWORD)).toMatchObject({ token: expect.any(String) });
    // No usable hash, and a disabled account.
    for (const name of ["lost", "leaver"])
      await expect(signIn(api, name, PASSWORD)).rejects.toThrow(/INVALID_CREDENTIALS/);

    await api.ask('mutation { requestPasswordReset(input: { identifier: "lost" }) { ok } }');
    const token = await tokenTo(db, "lost@rovert.example", "password-reset");
    const newPassword = "a whole new sentence";
    await api.ask("mutation ($input: ResetPasswordInput!) { resetPassword(input: $input) { ok } }", {
      variables: { input: { token, newPassword } },
    });
    expect(await signIn(api, "lost", newPassword)).toMatchObject({
      userId: "a0000000-0000-4000-8000-00000000000a",
    });
  });

  test("keeps providers, models and grants", async () => {
    expect(
      await asOwner(
        "select name, api_url, auth_type, created_by, is_active from llm.model_providers order by created_at",
      ),
    ).toEqual([
      {
        name: "Ollama",
        api_url: "http://localhost:11434",
        auth_type: "none",
        created_by: ADMIN,
        is_active: true,
      },
      {
        name: "OpenAI",
        api_url: "https://api.openai.com/v1",
        auth_type: "api_key",
        created_by: ADMIN,
        is_active: true,
      },
      { name: "OpenAI (2)", api_url: null, auth_type: "api_key", created_by: null, is_active: false },
    ]);
    expect(
      await asOwner("select name, display_name, config, updated_at from llm.models where id = $1", [LLAMA]),
    ).toEqual([
      {
        name: "llama3",
        display_name: "Llama 3",
        config: { temperature: 0.2, num_ctx: 8192 },
        updated_at: new Date("2024-05-01T00:00:00Z"),
      },
    ]);
    // Of two grants of one model, the newer counts.
    expect(
      await asOwner(
        `select right(id::text, 2) as id, granted_by, granted_at, is_active from access.user_model_access where user_id = $1 order by 1`,
        [ADA],
      ),
    ).toEqual([
      { id: "02", granted_by: ADMIN, granted_at: new Date("2023-02-10T11:01:00Z"), is_active: false },
      { id: "04", granted_by: null, granted_at: new Date("2024-02-10T11:00:00Z"), is_active: true },
    ]);
  });
});

test("the verification finds a change of each column, and each missing row, of an import", async () => {
  const opened = await openSource(oldUrl(), () => {});
  const seen = await unseenChanges(db, opened, rovertChat);
  await opened.close();
  expect(seen).toEqual({ unseen: [], untested: [] });
});

test("a second run changes nothing", async () => {
  const dump = () =>
    asOwner(
      `select to_jsonb(c) as chat, to_jsonb(m) as message from llm.chats c join llm.messages m on m.chat_id = c.id order by m.id`,
    );
  const [counts, before] = [await countsOf(), await dump()];
  const report = await moveIn();
  expect(report).toMatchObject({ isVerified: true, mismatches: [] });
  for (const { imported } of report.tables) expect(imported).toBe(0);
  expect(await countsOf()).toEqual(counts);
  expect(await dump()).toEqual(before);
});

test("the statements of the application run on the result, with the document's own ids", async () => {
  await enableSystems(db, ["rovertchat"]);
  const ids = { user: ADA, username: "ada-lovelace", email: "ada@rovert.example", chat: CHAT, model: LLAMA };
  const answers = await callerOf(db, "compat_rovertchat", "application", async (client) => {
    const rows: Record<string, unknown[]> = {};
    for (const [name, text, valuesOf] of sql.READINGS)
      rows[name] = (await client.query(text, [...valuesOf(ids)])).rows;
    return rows;
  });
  // The import goes on below, which a compatibility schema would not allow.
  await disableCompat(["rovertchat"], compatOptions(db));
  for (const rows of Object.values(answers)) expect(rows.length).toBeGreaterThan(0);
  // The answers of the old database, apart from rows and columns that the report names.
  const before = async (text: string, values: readonly unknown[]) =>
    withClient(oldUrl(), async (client) => (await client.query(text, [...values])).rows);
  expect(answers["history of a chat"]).toEqual(
    (await before(sql.HISTORY, [CHAT, ADA])).map((row) => ({
      ...row,
      extended_metadata: row.extended_metadata ?? {},
    })),
  );
  expect(answers["chats by last activity"]).toEqual(
    (await before(sql.CHAT_LIST, [ADA])).map((row) => ({ ...row, title: row.title ?? "Untitled" })),
  );
  expect(answers["models of a user"]).toEqual(
    (await before(sql.MODELS, [ADA])).filter(
      (row, index, rows) => rows.findIndex(({ id }) => id === row.id) === index,
    ),
  );
  expect(answers.settings).toEqual(await before(sql.SETTINGS, [ADA]));
  expect(answers["permission to use a model"]).toEqual([{ allowed: true }]);
});

test("a later run brings new rows, also in a chat that went on here, and overwrites nothing", async () => {
  await asOwner(
    `with here as (
       insert into llm.messages (chat_id, user_id, role, content, created_at) values ($1, $2, 'user', 'Here', '2026-01-01')
     )
     update llm.chats set title = 'Renamed here' where id = $1`,
    [CHAT, ADA],
  );
  await inOld(`
    insert into "Users" (id, username, email) values ('a0000000-0000-4000-8000-000000000009', 'newcomer', 'new@rovert.example');
    insert into "Messages" (id, chat_id, role, content, created_at)
      values ('e0000000-0000-4000-8000-0000000000ff', '${CHAT}', 'user', 'There', '2026-01-02 00:00:00');
    update "Chats" set title = 'Renamed there' where id = '${CHAT}'`);
  const report = await moveIn();
  expect(report).toMatchObject({ isVerified: true, mismatches: [] });
  expect(tablesOf(report)).toMatchObject({ users: [10, 1, 9, 0], messages: [12, 1, 9, 2] });
  expect(report.tables.find(({ relation }) => relation === "chats")).toMatchObject({ changedSince: 1 });
  expect(
    await asOwner(
      "select c.title, p.content from llm.chats c, llm.chats_active_path(c, 3) p where c.id = $1 order by p.depth",
      [CHAT],
    ),
  ).toEqual([
    { title: "Renamed here", content: "An analytical engine." },
    { title: "Renamed here", content: "Here" },
    { title: "Renamed here", content: "There" },
  ]);
});

test("reads the same rows from files", async () => {
  const folder = await makeFolder();
  try {
    for (const table of [
      "Users",
      "ModelProviders",
      "Models",
      "Chats",
      "Messages",
      "UserSettings",
      "UserModelAccess",
    ]) {
      const { rows } = await inOld(`select row_to_json(t)::text as line from "${table}" t`);
      await folder.write(`${table}.ndjson`, rows.map(({ line }) => line).join("\n"));
    }
    const report = await moveIn({ dryRun: true }, folder.path);
    expect(report).toMatchObject({ isVerified: true });
    for (const { rows, imported } of report.tables) expect([rows > 0, imported]).toEqual([true, 0]);
  } finally {
    await folder.remove();
  }
});

test("reads the tables in lower case and with underscores, too", async () => {
  await inOld(`
    alter table "Users" rename to users; alter table "ModelProviders" rename to model_providers; alter table "Models" rename to models;
    alter table "Chats" rename to chats; alter table "Messages" rename to messages;
    alter table "UserSettings" rename to usersettings; alter table "UserModelAccess" rename to user_model_access`);
  const report = await moveIn({ dryRun: true });
  expect(report).toMatchObject({ isVerified: true });
  for (const { imported } of report.tables) expect(imported).toBe(0);
});
