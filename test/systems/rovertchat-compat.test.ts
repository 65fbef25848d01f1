import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type pg from "pg";
import { roleName } from "../../src/config/roles.ts";
import { SOME_HASH } from "../support/accounts.ts";
import { type Api, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { enableSystems } from "../support/compat.ts";
import { type CompatCaller, callerOf } from "../support/compat-callers.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import * as sql from "./fixtures/rovertchat/statements.ts";

// rovertChat's document on compat_rovertchat: its tables and flows, for each of the three callers.

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let bob: SignedIn;
let admin: SignedIn;
let provider: string;
let model: string;
let chat: string;
let ids: sql.Ids;
const WHEN = "2025-01-02 03:04:05.678";

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  [ada, bob, admin] = [await signUp(api, "ada"), await signUp(api, "bob"), await signUp(api, "root")];
  await enableSystems(db, ["rovertchat"]);
  await committed("application", async (run) => {
    await run(sql.CHANGE_ROLE, "admin", admin.userId);
    provider = randomUUID();
    await run(sql.ADD_PROVIDER, provider, "Ollama", "http://localhost:11434", "none", admin.userId, WHEN);
    model = randomUUID();
    await run(sql.ADD_MODEL, model, provider, "llama3", "Llama 3", null, '{"temperature": 0.2}', WHEN);
    await run(sql.GRANT_MODEL, randomUUID(), ada.userId, model, admin.userId, WHEN);
    chat = randomUUID();
    await run(sql.START_CHAT, chat, ada.userId, "First", WHEN);
    const words = [null, null, null, null] as const;
    await run(
      sql.ADD_MESSAGE,
      randomUUID(),
      chat,
      "user",
      "Hello?",
      ...words,
      "2025-01-02 03:05:00",
      null,
      null,
    );
    await run(sql.START_CHAT, randomUUID(), bob.userId, "Bob's secret", WHEN);
    await run(sql.CHANGE_PREFERENCES, '{"theme": "dark"}', ada.userId);
  });
  ids = { user: ada.userId, username: "ada", email: "ada@example.org", chat, model };
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

type Run = (sql: string, ...values: unknown[]) => Promise<pg.QueryResultRow[]>;
const runOn =
  (client: pg.Client): Run =>
  async (text, ...values) =>
    (await client.query(text, values)).rows;
/** Runs in a rolled-back transaction as a caller, with the schema alone in the search path. */
const as = <T>(caller: CompatCaller, use: (run: Run) => Promise<T>) =>
  callerOf(db, "compat_rovertchat", caller, (client) => use(runOn(client)));
/** Likewise, and commits. */
const committed = async (caller: "application" | { user: string }, use: (run: Run) => Promise<unknown>) =>
  withClient(db.url(caller === "application" ? "application" : "authenticator"), async (client) => {
    await client.query("begin");
    await client.query("set local search_path to compat_rovertchat");
    if (caller !== "application") {
      await client.query(`set local role ${roleName(db.rolePrefix, "user")}`);
      await client.query("select set_config('jwt.claims.user_id', $1, true)", [caller.user]);
    }
    await use(runOn(client));
    await client.query("commit");
  });
const asOwner = rowsAs("owner", () => db);

/** Columns that are null for analysts, wherever a statement returns them. */
const PERSONAL = [
  "username",
  "email",
  "title",
  "content",
  "thinking",
  "tool_calls",
  "images",
  "extended_metadata",
  "avatar_url",
  "preferences",
  "theme",
  "api_url",
  "config",
];

describe("reading", () => {
  /** The answers of each statement, in both spellings. */
  const answersOf = (caller: CompatCaller) =>
    as(caller, async (run) => {
      const answers: Record<string, pg.QueryResultRow[]> = {};
      for (const [name, text, valuesOf] of sql.READINGS) {
        answers[name] = await run(text, ...valuesOf(ids));
        expect(await run(sql.unquoted(text), ...valuesOf(ids))).toEqual(answers[name]);
      }
      return answers;
    });
  const mapped = (
    answers: Record<string, pg.QueryResultRow[]>,
    change: (rows: pg.QueryResultRow[], name: string) => pg.QueryResultRow[],
  ) => Object.fromEntries(Object.entries(answers).map(([name, rows]) => [name, change(rows, name)]));

  test("each statement answers the application, and the same to a user and for a user, of their own rows", async () => {
    const all = await answersOf("application");
    for (const rows of Object.values(all)) expect(rows.length).toBeGreaterThan(0);
    const own = mapped(all, (rows) => rows.filter(({ user_id: id = ada.userId }) => id === ada.userId));
    expect(own).not.toEqual(all);
    expect(await answersOf({ user: ada.userId })).toEqual(own);
    expect(await answersOf({ application: ada.userId })).toEqual(own);
  });

  test("each statement answers an analyst, without names, addresses and texts", async () => {
    const hidden = (row: pg.QueryResultRow, name: string) =>
      Object.fromEntries(
        Object.entries(row).map(([key, value]) => [
          key,
          PERSONAL.includes(key) || (key === "display_name" && name === "settings") ? null : value,
        ]),
      );
    const all = mapped(await answersOf("application"), (rows, name) =>
      // An account cannot be looked up by a name that is hidden.
      name.startsWith("login lookup") ? [] : rows.map((row) => hidden(row, name)),
    );
    expect(await answersOf("analyst")).toEqual(all);
  });

  test("has the document's columns under their names and types, in each spelling", async () => {
    const columns = await asOwner(
      `select c.relname as table, string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum) as columns
       from pg_class c join pg_attribute a on a.attrelid = c.oid
       where c.relnamespace = 'compat_rovertchat'::regnamespace and c.relkind = 'v' and a.attnum > 0 group by 1`,
    );
    const TIME = "timestamp without time zone";
    const TEXT = "character varying";
    const USERS = `id uuid, username ${TEXT}, email ${TEXT}, password_hash ${TEXT}, role compat_rovertchat.userrole, created_at ${TIME}, last_login ${TIME}, is_active boolean, token_version integer`;
    const PROVIDERS = `id uuid, name ${TEXT}, api_url ${TEXT}, auth_type ${TEXT}, created_by uuid, created_at ${TIME}, is_active boolean`;
    const MODELS = `id uuid, provider_id uuid, name ${TEXT}, display_name ${TEXT}, description text, config json, created_at ${TIME}, updated_at ${TIME}, is_active boolean`;
    const CHATS = `id uuid, user_id uuid, title ${TEXT}, created_at ${TIME}, updated_at ${TIME}, is_archived boolean`;
    const MESSAGES = `id uuid, chat_id uuid, role ${TEXT}, content text, thinking text, tool_calls json, images json, model_id uuid, created_at ${TIME}, tokens_used integer, extended_metadata json`;
    const SETTINGS = `user_id uuid, default_model_id uuid, display_name ${TEXT}, avatar_url ${TEXT}, preferences json`;
    const ACCESS = `id uuid, user_id uuid, model_id uuid, granted_by uuid, granted_at ${TIME}, is_active boolean`;
    expect(Object.fromEntries(columns.map(({ table, columns: list }) => [table, list]))).toEqual({
      Users: USERS,
      users: USERS,
      ModelProviders: PROVIDERS,
      modelproviders: PROVIDERS,
      model_providers: PROVIDERS,
      Models: MODELS,
      models: MODELS,
      Chats: CHATS,
      chats: CHATS,
      Messages: MESSAGES,
      messages: MESSAGES,
      UserSettings: SETTINGS,
      usersettings: SETTINGS,
      user_settings: SETTINGS,
      UserModelAccess: ACCESS,
      usermodelaccess: ACCESS,
      user_model_access: ACCESS,
    });
  });

  test("a sign-in finds its account by an index, and a history its messages", async () => {
    await as("application", async (run) => {
      await run("set local enable_seqscan to off");
      const plan = async (text: string, ...values: unknown[]) =>
        JSON.stringify(await run(`explain ${text}`, ...values));
      expect(await plan(sql.USER_BY_NAME, "ada")).toMatch(/users_username_key/);
      expect(await plan(sql.USER_BY_EMAIL, "ada@example.org")).toMatch(/users_email_key/);
      expect(await plan(sql.HISTORY, chat, ada.userId)).toMatch(/messages_chat_id_parent_id_idx/);
    });
  });
});

describe("an account", () => {
  test("is registered with its id, role and time, and a hash in a known format is its password", async () => {
    const [user, guest, second] = [randomUUID(), randomUUID(), randomUUID()];
    await committed("application", async (run) => {
      await run(sql.REGISTER, user, "Eve", "Eve@Example.com", SOME_HASH, "user", WHEN);
      await run(sql.REGISTER, guest, "guest1", null, null, "guest", WHEN);
      await run(sql.REGISTER, second, "second", "second@example.com", "hashed_pw", "admin", WHEN);
      await run(sql.RECORD_LOGIN, "2025-02-03 04:05:06", user);
    });
    expect(
      await asOwner(
        `select u.id, u.username, u.email, identity.users_role(u) as role, u.created_at, u.last_login_at, p.password_hash
         from identity.users u left join private.user_passwords p on p.user_id = u.id where u.id = any ($1) order by u.username`,
        [[user, guest, second]],
      ),
    ).toEqual([
      {
        id: user,
        username: "eve",
        email: "eve@example.com",
        role: "user",
        created_at: new Date("2025-01-02T03:04:05.678Z"),
        last_login_at: new Date("2025-02-03T04:05:06Z"),
        password_hash: SOME_HASH,
      },
      expect.objectContaining({ id: guest, role: "guest", email: null, password_hash: null }),
      // A text that is no hash gives an account without a usable password.
      expect.objectContaining({ id: second, role: "admin", password_hash: null }),
    ]);
    await committed("application", async (run) => {
      await run(sql.CHANGE_ROLE, "user", second);
      await run(sql.DELETE_USER, guest);
    });
    expect(
      await asOwner("select identity.users_role(u) as role from identity.users u where id = any ($1)", [
        [guest, second],
      ]),
    ).toEqual([{ role: "user" }]);
  });

  test("loses all its tokens when token_version is raised, by the application, its user or an administrator", async () => {
    const isAccepted = async ({ token }: SignedIn) =>
      (await api.ask("{ currentUser { id } }", { token })).status === 200;
    const [carl, dora, emil, fay] = [
      await signUp(api, "carl"),
      await signUp(api, "dora"),
      await signUp(api, "emil"),
      await signUp(api, "fay"),
    ];
    for (const person of [carl, dora, emil, fay]) expect(await isAccepted(person)).toBe(true);
    await committed("application", (run) => run(sql.BUMP_TOKEN_VERSION, carl.userId));
    await committed({ user: dora.userId }, async (run) =>
      expect(await run(sql.BUMP_TOKEN_VERSION, dora.userId)).toEqual([{ token_version: 2 }]),
    );
    await committed("application", (run) => run(sql.DEACTIVATE, emil.userId));
    await committed({ user: admin.userId }, async (run) =>
      expect(await run(sql.BUMP_TOKEN_VERSION, fay.userId)).toEqual([{ token_version: 2 }]),
    );
    for (const person of [carl, dora, emil, fay]) await until(async () => !(await isAccepted(person)));
    for (const person of [ada, admin]) expect(await isAccepted(person)).toBe(true);
    expect(
      await asOwner(
        `select username, token_version, is_active, (select count(*)::integer from identity.user_sessions s where s.user_id = u.id and s.ended_at is null) as sessions
         from identity.users u where username in ('carl', 'dora', 'emil', 'fay') order by 1`,
      ),
    ).toEqual([
      { username: "carl", token_version: 2, is_active: true, sessions: 1 },
      { username: "dora", token_version: 2, is_active: true, sessions: 0 },
      { username: "emil", token_version: 2, is_active: false, sessions: 0 },
      { username: "fay", token_version: 2, is_active: true, sessions: 0 },
    ]);
  });

  test("gets a new password and loses its tokens in one statement", async () => {
    const frida = await signUp(api, "frida");
    await committed("application", (run) => run(sql.CHANGE_PASSWORD, SOME_HASH, frida.userId));
    expect(
      await asOwner(
        "select u.token_version, p.password_hash from identity.users u join private.user_passwords p on p.user_id = u.id where u.id = $1",
        [frida.userId],
      ),
    ).toEqual([{ token_version: 2, password_hash: SOME_HASH }]);
  });
});

test("providers and models are added, configured and deactivated, and each change is recorded", async () => {
  await as("application", async (run) => {
    expect(await run("SELECT created_by, created_at FROM modelproviders WHERE id = $1", provider)).toEqual([
      { created_by: admin.userId, created_at: new Date(WHEN) },
    ]);
    await run(sql.CONFIGURE_MODEL, '{"temperature": 1}', WHEN, model);
    await run("UPDATE models SET is_active = false WHERE id = $1", model);
    expect(await run("SELECT config, is_active FROM llm.models WHERE id = $1", model)).toEqual([
      { config: { temperature: 1 }, is_active: false },
    ]);
    await run("UPDATE model_providers SET auth_type = 'bearer' WHERE id = $1", provider);
    await run("DELETE FROM models WHERE id = $1", model);
    await run("DELETE FROM modelproviders WHERE id = $1", provider);
    expect(await run(sql.PROVIDERS)).toEqual([]);
  });
  // An administrator manages models through the application too, and is named as the one who did.
  await as({ application: admin.userId }, async (run) => {
    const id = randomUUID();
    await run(sql.ADD_PROVIDER, id, "OpenAI", null, "api_key", bob.userId, WHEN);
    expect(await run("SELECT created_by FROM modelproviders WHERE id = $1", id)).toEqual([
      { created_by: admin.userId },
    ]);
  });
  await as({ application: ada.userId }, (run) =>
    expect(run(sql.ADD_PROVIDER, randomUUID(), "Mine", null, "none", ada.userId, WHEN)).rejects.toMatchObject(
      {
        code: "42501",
      },
    ),
  );
});

test("a grant of a model lets its user use it, and a suspended one does not", async () => {
  const allowed = async (run: Run) => (await run(sql.MAY_USE_MODEL, bob.userId, model))[0];
  await as("application", async (run) => {
    expect(await allowed(run)).toEqual({ allowed: false });
    await run(sql.GRANT_MODEL, randomUUID(), bob.userId, model, admin.userId, WHEN);
    expect(await allowed(run)).toEqual({ allowed: true });
    await run(sql.SUSPEND_GRANT, bob.userId, model);
    expect(await allowed(run)).toEqual({ allowed: false });
  });
  // As the administrator; the database names the account that granted.
  await as({ user: admin.userId }, async (run) => {
    const [grant] = await run(sql.GRANT_MODEL_BY_ADMIN, bob.userId, model, admin.userId);
    expect(
      await run("SELECT granted_by, is_active FROM access.user_model_access WHERE id = $1", grant!.id),
    ).toEqual([{ granted_by: admin.userId, is_active: true }]);
  });
  // A user cannot grant models, and an administrator not in another's name.
  for (const [caller, grantedBy, code] of [
    [ada.userId, ada.userId, "42501"],
    [admin.userId, ada.userId, "PL403"],
  ] as const)
    await as({ user: caller }, (run) =>
      expect(run(sql.GRANT_MODEL_BY_ADMIN, bob.userId, model, grantedBy)).rejects.toMatchObject({ code }),
    );
});

test("the application writes a conversation, which the API shows as its user's own", async () => {
  const [id, question, answer] = [randomUUID(), randomUUID(), randomUUID()];
  await committed("application", async (run) => {
    await run(sql.START_CHAT, id, ada.userId, "Second", "2025-03-01 10:00:00");
    const none = [null, null] as const;
    await run(
      sql.ADD_MESSAGE,
      question,
      id,
      "user",
      "See?",
      ...none,
      '["aGk="]',
      null,
      "2025-03-01 10:00:01",
      null,
      null,
    );
    await run(
      sql.ADD_MESSAGE,
      ...[
        answer,
        id,
        "assistant",
        "",
        "hm",
        '[{"name": "f"}]',
        null,
        model,
        "2025-03-01 10:00:02",
        null,
        '{"a": 1}',
      ],
    );
    await run(sql.COMPLETE_MESSAGE, "Yes.", 42, answer);
    await run(sql.TOUCH_CHAT, "2025-03-01 10:00:09", id);
  });
  const { data } = await api.ask(
    `query ($id: UUID!) { chat(id: $id) { title updatedAt activePath { nodes { id role content thinking toolCalls images tokensUsed createdAt model { name } } } } }`,
    { token: ada.token, variables: { id } },
  );
  expect(data.chat).toMatchObject({
    title: "Second",
    updatedAt: "2025-03-01T10:00:09.000000+00:00",
    activePath: {
      nodes: [
        { id: question, role: "user", content: "See?", images: ["aGk="] },
        {
          id: answer,
          role: "assistant",
          content: "Yes.",
          thinking: "hm",
          tokensUsed: 42,
          model: { name: "llama3" },
        },
      ],
    },
  });
  // Counted as usage, as the document's token tracking asks.
  expect(
    await asOwner("select total_tokens::integer as tokens from billing.usage_events where message_id = $1", [
      answer,
    ]),
  ).toEqual([{ tokens: 42 }]);
  expect(
    (await as({ user: ada.userId }, (run) => run(sql.HISTORY, id, ada.userId))).map((row) => row.content),
  ).toEqual(["See?", "Yes."]);
  expect((await as("application", (run) => run(sql.CHAT_LIST, ada.userId))).map((row) => row.title)).toEqual([
    "Second",
    "First",
  ]);
});

test("a user starts, renames, archives and deletes chats, writes messages and saves settings", async () => {
  for (const caller of [{ user: ada.userId }, { application: ada.userId }] as const)
    await as(caller, async (run) => {
      const [made] = await run(sql.START_OWN_CHAT, ada.userId, "Mine");
      await run(sql.ADD_OWN_MESSAGE, made!.id, "A word");
      await run(sql.RENAME_CHAT, "Renamed", WHEN, made!.id);
      expect((await run(sql.CHAT_LIST, ada.userId))[0]).toMatchObject({ id: made!.id, title: "Renamed" });
      await run(sql.ARCHIVE_CHAT, made!.id);
      // Archived, not deleted; the last activity is now, whatever the statement says.
      expect(
        await run(
          "SELECT is_archived, updated_at > '2025-06-01' AS is_new FROM llm.chats WHERE id = $1",
          made!.id,
        ),
      ).toEqual([{ is_archived: true, is_new: true }]);
      expect((await run(sql.CHAT_LIST, ada.userId)).map(({ id }) => id)).not.toContain(made!.id);
      await run(sql.DELETE_CHAT, made!.id);
      expect(await run("SELECT FROM llm.messages WHERE chat_id = $1", made!.id)).toEqual([]);
      await run(
        sql.SAVE_SETTINGS,
        ada.userId,
        model,
        "Ada L.",
        "https://a.example/a.png",
        '{"theme": "light"}',
      );
      expect(
        await run(
          "SELECT default_model_id, display_name, avatar_url, preferences FROM identity.user_settings",
        ),
      ).toEqual([
        {
          default_model_id: model,
          display_name: "Ada L.",
          avatar_url: "https://a.example/a.png",
          preferences: { theme: "light" },
        },
      ]);
    });
});

describe("rejected statements", () => {
  test("a user reads and writes no row of another, whichever statement names it", async () => {
    for (const caller of [{ user: bob.userId }, { application: bob.userId }] as const) {
      await as(caller, async (run) => {
        expect(await run(sql.HISTORY, chat, ada.userId)).toEqual([]);
        expect(await run(sql.CHAT_LIST, ada.userId)).toEqual([]);
        expect(await run(sql.SETTINGS, ada.userId)).toEqual([]);
        expect(await run(sql.USER_BY_NAME, "ada")).toEqual([]);
        for (const [text, ...values] of [
          [sql.ARCHIVE_CHAT, chat],
          [sql.DELETE_CHAT, chat],
          [sql.CHANGE_PREFERENCES, "{}", ada.userId],
          [sql.BUMP_TOKEN_VERSION, ada.userId],
        ] as const)
          expect(
            await run(
              `WITH changed AS (${text}${/RETURNING/.test(text) ? "" : " RETURNING 1"}) SELECT * FROM changed`,
              ...values,
            ),
          ).toEqual([]);
      });
      for (const [text, ...values] of [
        [sql.START_OWN_CHAT, ada.userId, "forged"],
        [sql.ADD_OWN_MESSAGE, chat, "forged"],
        [sql.SAVE_SETTINGS, ada.userId, null, "forged", null, null],
      ] as const)
        await as(caller, (run) =>
          expect(run(text, ...values)).rejects.toMatchObject({
            code: expect.stringMatching(/^(42501|PL403|23503|23502)$/),
          }),
        );
    }
    expect(await asOwner("select title, is_archived from llm.chats where id = $1", [chat])).toEqual([
      { title: "First", is_archived: false },
    ]);
  });

  test("a user sets no id, time, role, password or last login", async () => {
    for (const [text, ...values] of [
      [sql.START_CHAT, randomUUID(), ada.userId, "x", WHEN],
      [sql.CHANGE_ROLE, "admin", ada.userId],
      [sql.CHANGE_PASSWORD, SOME_HASH, ada.userId],
      [sql.RECORD_LOGIN, WHEN, ada.userId],
      [sql.DELETE_USER, ada.userId],
      [sql.COMPLETE_MESSAGE, "x", 1, randomUUID()],
    ] as const)
      await as({ user: ada.userId }, (run) =>
        expect(run(text, ...values)).rejects.toMatchObject({
          code: expect.stringMatching(/^(42501|PL403)$/),
        }),
      );
    // The application neither, while it acts for the user.
    for (const [text, ...values] of [
      [sql.CHANGE_ROLE, "admin", ada.userId],
      [sql.REGISTER, randomUUID(), "mallory", null, null, "admin", WHEN],
    ] as const)
      await as({ application: ada.userId }, (run) =>
        expect(run(text, ...values)).rejects.toMatchObject({
          code: expect.stringMatching(/^(42501|PL403|PL404)$/),
        }),
      );
    expect(await as({ user: ada.userId }, (run) => run("SELECT role FROM users"))).toEqual([
      { role: "user" },
    ]);
  });

  test("a message names only a model that its user may use, while a user acts", async () => {
    for (const caller of [{ user: bob.userId }, { application: bob.userId }] as const)
      await as(caller, async (run) => {
        const [made] = await run(sql.START_OWN_CHAT, bob.userId, "Mine");
        await expect(
          run(
            "INSERT INTO messages (chat_id, role, content, model_id) VALUES ($1, 'assistant', 'x', $2)",
            made!.id,
            model,
          ),
        ).rejects.toMatchObject({ code: "42501" });
      });
  });

  test("a lower token version changes nothing, and the last administrator stays", async () => {
    await as("application", async (run) => {
      await run("UPDATE users SET token_version = 0 WHERE id = $1", ada.userId);
      expect(await run("SELECT token_version FROM users WHERE id = $1", ada.userId)).toEqual([
        { token_version: 1 },
      ]);
      await expect(run(sql.CHANGE_ROLE, "user", admin.userId)).rejects.toMatchObject({ code: "PL409" });
    });
  });

  test("no caller reads a password hash, and analysts write nothing", async () => {
    for (const caller of ["application", "analyst", { user: ada.userId }] as const)
      expect(await as(caller, (run) => run('SELECT DISTINCT password_hash FROM "Users"'))).toEqual([
        { password_hash: null },
      ]);
    await as("analyst", (run) =>
      expect(run(sql.ARCHIVE_CHAT, chat)).rejects.toMatchObject({ code: "42501" }),
    );
  });
});
