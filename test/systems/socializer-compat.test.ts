import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type pg from "pg";
import { registerUser, SOME_HASH } from "../support/accounts.ts";
import { type Api, startApi } from "../support/api.ts";
import { enableSystems } from "../support/compat.ts";
import { type CompatCaller, callerOf } from "../support/compat-callers.ts";
import {
  createTestDatabase,
  expectSqlState,
  rowsAs,
  type TestDatabase,
  withClient,
} from "../support/database.ts";
import {
  ACTIVE_INVITES,
  NEW_USER_WITH_TRAINING,
  PRIVATE_CHAT_ROOM,
  ROOM_MESSAGES,
  steps,
  TRAINING_PROGRESS,
} from "./socializer-document.ts";

// Socializer's document on compat_socializer: every flow and query as written, for each of the three callers.

const PASSWORD = "correct horse battery staple";
/** Of that password, with argon2id. */
const HASH =
  "$argon2id$v=19$m=1024,t=1,p=1$OGlGKT4C/KdqsZoavknnwg$Rgt/ADz9fq7C6HTy2YtCaI5+63UT7YabpxAVcnOlqLE";

/** New databases: one in which the application runs the document, and one in which users do. */
let db: TestDatabase;
let users: TestDatabase;
let alice: string;
let bob: string;
let eve: string;
let api: Api;
const notices: (string | undefined)[] = [];

beforeAll(async () => {
  [db, users] = await Promise.all([createTestDatabase(), createTestDatabase()]);
  alice = await registerUser(users, "alice");
  bob = await registerUser(users, "bob");
  eve = await registerUser(users, "eve");
  await enableSystems(db, ["socializer"]);
  await enableSystems(users, ["socializer"]);
  await withClient(db.url("application"), async (client) => {
    client.on("notice", ({ message }) => notices.push(message));
    await client.query("set search_path to compat_socializer");
    for (const statement of steps(NEW_USER_WITH_TRAINING)) await client.query(statement);
    await client.query(
      "INSERT INTO users (username, hashed_password, hashed_email, llm_endpoint) VALUES ('Bob B.', $1, 'other', 'https://models.example.com')",
      [HASH],
    );
    for (const statement of steps(PRIVATE_CHAT_ROOM)) await client.query(statement);
  });
  api = await startApi(db);
});
afterAll(async () => {
  await api.close();
  await Promise.all([db.drop(), users.drop()]);
});

type Query = (sql: string, ...values: unknown[]) => Promise<pg.QueryResultRow[]>;
const on = (database: () => TestDatabase) => {
  return <T>(caller: CompatCaller, use: (query: Query) => Promise<T>) =>
    callerOf(database(), "compat_socializer", caller, (client) =>
      use(async (sql, ...values) => (await client.query(sql, values)).rows),
    );
};
const as = on(() => db);
const asUsers = on(() => users);
const asOwner = rowsAs("owner", () => db);

test("runs both flows of the document as the application, and stores them in Plinth's tables [S6, S7, S10, S12]", async () => {
  expect(notices).toEqual([
    expect.stringContaining("encryption_key"),
    expect.stringContaining("unknown format"),
    // The hash of this test is a cheap one.
    expect.stringContaining("cost of the password hash is low"),
  ]);
  expect(
    await asOwner(
      `select u.username, t.status, t.progress::float8 as progress, s.skill_name,
         exists (select from private.user_passwords p where p.user_id = u.id) as has_password
       from identity.users u
       left join learning.training t on t.user_id = u.id
       left join learning.skills s on s.id = t.skill_id
       order by u.id`,
    ),
  ).toEqual([
    { username: "alice", status: "active", progress: 0, skill_name: "empathy", has_password: false },
    { username: "bob-b", status: null, progress: null, skill_name: null, has_password: true },
  ]);
  expect(await asOwner("select level::float8 as level from learning.user_skills")).toEqual([
    { level: 0 },
    { level: 0 },
  ]);
  expect(
    await asOwner(
      `select r.name, r.room_type, m.role, u.username, i.status
       from rooms.chat_rooms r
       join rooms.room_members m on m.room_id = r.id
       left join identity.users u on u.id = m.user_id
       left join rooms.room_invites i on i.room_id = r.id and i.invitee_id = m.user_id
       order by m.role`,
    ),
  ).toEqual([
    { name: "Private room", room_type: "private", role: "ai", username: null, status: null },
    { name: "Private room", room_type: "private", role: "creator", username: "alice", status: null },
    // Invited after becoming a member.
    { name: "Private room", room_type: "private", role: "member", username: "bob-b", status: "accepted" },
  ]);
});

test("shows the flows in the API, where the stored hash signs in", async () => {
  const { data } = await api.ask(
    `mutation { login(input: { identifier: "bob-b", password: "${PASSWORD}" }) { accessToken } }`,
  );
  const answer = await api.ask(
    `{ rooms { nodes { name isAiEnabled members(orderBy: [ROLE_ASC]) { nodes { role profile { username displayName } } } } } }`,
    { token: data.login.accessToken },
  );
  expect(answer.errors).toBeUndefined();
  expect(answer.data.rooms.nodes).toEqual([
    {
      name: "Private room",
      isAiEnabled: true,
      members: {
        nodes: [
          { role: "ai", profile: null },
          { role: "creator", profile: { username: "alice", displayName: null } },
          { role: "member", profile: { username: "bob-b", displayName: "Bob B." } },
        ],
      },
    },
  ]);
});

test("runs each query of the document as the application, and as an analyst without names and texts [S11]", async () => {
  await as("application", async (query) => {
    await query("INSERT INTO room_messages (room_id, sender_id, content) VALUES (1, 2, 'Hello')");
    await query(
      "INSERT INTO room_messages (room_id, sender_id, sender_type, content) VALUES (1, NULL, 'ai', 'Hello Bob')",
    );
    await query("UPDATE training SET progress = 0.25 WHERE user_id = 1 AND skill_id = 1");
    expect(await query(TRAINING_PROGRESS)).toEqual([
      { username: "alice", skill_name: "empathy", progress: 0.25, status: "active", current_level: 0 },
    ]);
    expect(await query(ROOM_MESSAGES)).toEqual([
      { id: "2", content: "Hello Bob", created_at: expect.any(Date), sender_type: "ai", sender_name: null },
      { id: "1", content: "Hello", created_at: expect.any(Date), sender_type: "user", sender_name: "bob-b" },
    ]);
    await query("INSERT INTO chat_rooms (creator_id, name) VALUES (2, 'Plans')");
    await query("INSERT INTO room_invites (room_id, inviter_id, invitee_id) VALUES (2, 2, 1)");
    expect(await query(ACTIVE_INVITES)).toEqual([
      { id: "2", room_name: "Plans", inviter_name: "bob-b", created_at: expect.any(Date) },
    ]);
  });
  await as("analyst", async (query) => {
    expect(await query(TRAINING_PROGRESS)).toEqual([
      { username: null, skill_name: "empathy", progress: 0, status: "active", current_level: 0 },
    ]);
    expect(await query(ROOM_MESSAGES)).toEqual([]);
    expect(await query(ACTIVE_INVITES)).toEqual([]);
    const [row] = await query("SELECT * FROM users WHERE id = 2");
    expect(row).toMatchObject({ username: null, hashed_email: null, hashed_name: null, llm_endpoint: null });
  });
});

test("runs the document's flows as a user, within the rules of the API", async () => {
  await asUsers({ user: alice }, async (query) => {
    for (const statement of steps(NEW_USER_WITH_TRAINING).slice(0, 2)) {
      await query("savepoint denied");
      // Accounts and the catalogue are not the user's.
      await expectSqlState(query(statement), "42501");
      await query("rollback to savepoint denied");
    }
  });
  await withClient(users.url("application"), async (client) => {
    await client.query("set search_path to compat_socializer");
    await client.query(steps(NEW_USER_WITH_TRAINING)[1]!);
  });
  await asUsers({ user: alice }, async (query) => {
    for (const statement of steps(NEW_USER_WITH_TRAINING).slice(2)) await query(statement);
    for (const statement of steps(PRIVATE_CHAT_ROOM)) await query(statement);
    await query("INSERT INTO room_messages (room_id, sender_id, content) VALUES (1, 1, 'Welcome')");
    expect(await query(TRAINING_PROGRESS)).toEqual([
      { username: "alice", skill_name: "empathy", progress: 0, status: "active", current_level: 0 },
    ]);
    expect(await query(ROOM_MESSAGES)).toMatchObject([{ content: "Welcome", sender_name: "alice" }]);
    expect(await query(ACTIVE_INVITES)).toEqual([]);
    // A user cannot make another one a member: bob is invited, and the document's invite finds that invite.
    expect(await query("SELECT role FROM room_members ORDER BY role")).toEqual([
      { role: "ai" },
      { role: "creator" },
    ]);
    expect(await query("SELECT invitee_id, status FROM room_invites")).toEqual([
      { invitee_id: "2", status: "pending" },
    ]);

    // The invited user, then a stranger, in the same transaction.
    await query("select set_config('jwt.claims.user_id', $1, true)", bob);
    expect(await query(ACTIVE_INVITES.replace("invitee_id = 1", "invitee_id = 2"))).toEqual([
      { id: "1", room_name: "Private room", inviter_name: "alice", created_at: expect.any(Date) },
    ]);
    expect(await query(TRAINING_PROGRESS)).toEqual([]);
    expect(await query(ROOM_MESSAGES)).toEqual([]);
    await query("UPDATE room_invites SET status = 'accepted' WHERE id = 1");
    // Of others, a user sees what profiles show.
    const [other] = await query("SELECT * FROM users WHERE id = 1");
    const shown = Object.keys(other!).filter((column) => other![column] !== null);
    expect(shown).toEqual(["id", "username", "created_at"]);
    expect(await query(ROOM_MESSAGES)).toMatchObject([{ content: "Welcome", sender_name: "alice" }]);
    // A member who does not moderate the room changes nothing of it.
    expect(await query("UPDATE chat_rooms SET name = 'Mine' WHERE id = 1 RETURNING id")).toEqual([]);
    expect(await query("UPDATE skills SET skill_name = 'mine' WHERE id = 1 RETURNING id")).toEqual([]);
    expect(await query("DELETE FROM chat_rooms WHERE id = 1 RETURNING id")).toEqual([]);
    for (const [sql, code] of [
      ["DELETE FROM room_members WHERE room_id = 1 AND user_id IS NULL", "PL403"],
      ["DELETE FROM room_members WHERE room_id = 1 AND user_id = 1", "PL403"],
      ["UPDATE room_members SET role = 'creator' WHERE room_id = 1 AND user_id = 2", "PL403"],
      ["UPDATE room_messages SET content = 'Changed' WHERE id = 1", "PL403"],
      ["DELETE FROM room_messages WHERE id = 1", "PL403"],
      ["INSERT INTO room_messages (room_id, sender_type, content) VALUES (1, 'ai', 'I am the AI')", "42501"],
      [
        "INSERT INTO room_messages (room_id, sender_type, message_type, content) VALUES (1, 'system', 'system', 'x')",
        "42501",
      ],
      ["INSERT INTO user_skills (user_id, skill_id, level) VALUES (2, 1, 10)", "42501"],
      ["INSERT INTO users (username, hashed_password) VALUES ('mallory', 'x')", "42501"],
      ["DELETE FROM users", "42501"],
    ] as const) {
      await query("savepoint denied");
      await expectSqlState(query(sql), code);
      await query("rollback to savepoint denied");
    }
    await query("select set_config('jwt.claims.user_id', $1, true)", eve);
    for (const table of [
      "users",
      "user_skills",
      "training",
      "chat_rooms",
      "room_members",
      "room_messages",
      "room_invites",
    ])
      expect([
        table,
        await query(`SELECT * FROM ${table} WHERE ${table === "users" ? "id <> 3" : "true"}`),
      ]).toEqual([table, []]);
  });
});

test.each<[string, string]>([
  [
    "starts another user's training",
    "INSERT INTO training (user_id, skill_id, status) VALUES (2, 1, 'active')",
  ],
  ["adds a skill to another user", "INSERT INTO user_skills (user_id, skill_id, level) VALUES (2, 1, 0)"],
  ["creates a room of another user", "INSERT INTO chat_rooms (creator_id, name) VALUES (2, 'Theirs')"],
  [
    "invites in another user's name",
    "INSERT INTO room_invites (room_id, inviter_id, invitee_id) VALUES (1, 2, 1)",
  ],
  [
    "writes in another user's name",
    "INSERT INTO general_chat_messages (sender_id, content) VALUES (2, 'I am Bob')",
  ],
  [
    "stores another user's preference",
    "INSERT INTO user_preferences (user_id, preference_type, preference_key, preference_value) VALUES (2, 'style', 'tone', '1')",
  ],
])("rejects writes under claims that name another user: %s", async (_, sql) => {
  const [first] = await rowsAs(
    "owner",
    () => db,
  )<{ id: string }>("select id from identity.users order by id limit 1");
  for (const caller of [{ user: first!.id }, { application: first!.id }])
    await as(caller, (query) => expectSqlState(query(sql), "PL403"));
});

test("accepts the other writes of the application's tables, and their effects follow Plinth's rules", async () => {
  await asOwner("update rooms.general_chat_settings set slow_mode_seconds = 3600");
  await as("application", async (query) => {
    const one = async (sql: string, ...values: unknown[]) => (await query(sql, ...values))[0];
    const fails = async (sql: string, code: string) => {
      await query("savepoint failing");
      await expectSqlState(query(sql), code);
      await query("rollback to savepoint failing");
    };
    // users
    await query(
      "UPDATE users SET hashed_password = $1, hashed_name = 'n', llm_model = 'm', hashed_email = 'new' WHERE id = 1",
      SOME_HASH,
    );
    expect(await one("SELECT * FROM users WHERE id = 1")).toMatchObject({
      hashed_password: null,
      encryption_key: null,
      hashed_name: "n",
      hashed_email: "new",
      llm_model: "m",
    });
    await fails(
      "INSERT INTO users (username, hashed_password, hashed_email) VALUES ('dora', 'x', 'other')",
      "23505",
    );
    await fails("INSERT INTO users (username, hashed_password) VALUES ('alice', 'x')", "23505");
    await fails("UPDATE users SET conversation_memory = 'gAAAAA' WHERE id = 1", "PL422");
    // skills and training
    await query("UPDATE user_skills SET level = 3 WHERE user_id = 1 AND skill_id = 2");
    expect(await one("SELECT level FROM user_skills WHERE skill_id = 2")).toEqual({ level: 3 });
    await fails("INSERT INTO user_skills (user_id, skill_id) VALUES (1, 1)", "23505");
    await fails("UPDATE user_skills SET level = 11 WHERE user_id = 1 AND skill_id = 2", "23514");
    expect(
      await one("UPDATE training SET progress = 1.0 WHERE user_id = 1 AND skill_id = 1 RETURNING status"),
    ).toEqual({ status: "completed" });
    expect(
      await one("INSERT INTO training (user_id, skill_id) VALUES (2, 2) RETURNING status, progress"),
    ).toEqual({ status: "pending", progress: 0 });
    await query("DELETE FROM training WHERE user_id = 2");
    await query("DELETE FROM user_skills WHERE user_id = 1 AND skill_id = 2");
    await query("UPDATE skills SET skill_name = 'listening' WHERE id = 2");
    await query("DELETE FROM skills WHERE id = 2");
    expect(await query("SELECT skill_name FROM skills")).toEqual([{ skill_name: "empathy" }]);
    // preferences
    expect(
      await one(
        "INSERT INTO user_preferences (user_id, preference_type, preference_key, preference_value, confidence) VALUES (1, 'style', 'tone', '\"warm\"', 0.5) RETURNING id",
      ),
    ).toEqual({ id: expect.stringMatching(/^\d$/) });
    await query("UPDATE user_preferences SET confidence = 0.75");
    expect(await one("SELECT preference_value, confidence FROM user_preferences")).toEqual({
      preference_value: "warm",
      confidence: 0.75,
    });
    await query("DELETE FROM user_preferences");
    // tokens and errors
    expect(
      await one(
        "INSERT INTO token_blacklist (jti, user_id, expires_at) VALUES ('not a uuid', 1, now() + interval '1 hour') RETURNING jti, user_id",
      ),
    ).toEqual({ jti: "not a uuid", user_id: "1" });
    await one("INSERT INTO token_blacklist (jti, user_id) VALUES ('not a uuid', 1) RETURNING id");
    expect(await one("SELECT user_id FROM token_blacklist WHERE jti = 'not a uuid'")).toEqual({
      user_id: "1",
    });
    expect(
      await one(
        `INSERT INTO error_logs (user_id, error_type, error_message, context) VALUES (1, 'ValueError', 'bad', '{"path": "/"}') RETURNING id`,
      ),
    ).toEqual({ id: "1" });
    expect(await one("SELECT error_type, error_message, context, user_id FROM error_logs")).toEqual({
      error_type: "ValueError",
      error_message: "bad",
      context: { path: "/" },
      user_id: "1",
    });
    // rooms
    await fails(
      "INSERT INTO chat_rooms (creator_id, name, password) VALUES (1, 'Open?', 'hashed_room_pw')",
      "PL422",
    );
    await fails("INSERT INTO chat_rooms (creator_id, room_type) VALUES (1, 'direct')", "PL422");
    const room = (await one(
      "INSERT INTO chat_rooms (creator_id, name, is_public, password) VALUES (1, 'Kitchen', true, $1) RETURNING id, password",
      HASH,
    ))!;
    expect(room.password).toBeNull();
    await query(
      "INSERT INTO room_members (room_id, user_id, role) VALUES ($1, 2, 'member'), ($1, NULL, 'ai')",
      room.id,
    );
    await fails(`INSERT INTO room_members (room_id, user_id) VALUES (${room.id}, 2)`, "23505");
    await query("UPDATE room_members SET role = 'moderator' WHERE room_id = $1 AND user_id = 2", room.id);
    expect(await query("SELECT role FROM room_members WHERE room_id = $1 ORDER BY role", room.id)).toEqual([
      { role: "ai" },
      { role: "creator" },
      { role: "moderator" },
    ]);
    expect(await one("SELECT ai_enabled, is_public FROM chat_rooms WHERE id = $1", room.id)).toEqual({
      ai_enabled: true,
      is_public: true,
    });
    // messages
    const message = (await one(
      `INSERT INTO room_messages (room_id, sender_id, content, metadata) VALUES ($1, 2, 'Hello', '{"a": 1}') RETURNING *`,
      room.id,
    ))!;
    expect(message).toMatchObject({
      sender_id: "2",
      message_type: "text",
      metadata: { a: 1 },
      is_deleted: false,
    });
    await query("UPDATE room_members SET last_read_at = now() WHERE room_id = $1 AND user_id = 1", room.id);
    expect(
      await one("SELECT last_read_at FROM room_members WHERE room_id = $1 AND user_id = 1", room.id),
    ).toEqual({
      last_read_at: expect.any(Date),
    });
    await query("UPDATE room_messages SET content = 'Hi' WHERE id = $1", message.id);
    expect(await one("SELECT content, edited_at FROM room_messages WHERE id = $1", message.id)).toEqual({
      content: "Hi",
      edited_at: expect.any(Date),
    });
    await query("UPDATE room_messages SET is_deleted = true WHERE id = $1", message.id);
    expect(await one("SELECT content, is_deleted FROM room_messages WHERE id = $1", message.id)).toEqual({
      content: "",
      is_deleted: true,
    });
    await query(
      "INSERT INTO room_messages (room_id, sender_type, message_type, content) VALUES ($1, 'system', 'system', 'Bob joined')",
      room.id,
    );
    await fails(
      `INSERT INTO room_messages (room_id, sender_id, content) VALUES (${room.id}, 1, '')`,
      "PL422",
    );
    // the general chat, in which the next message comes too soon however long the machine takes for it
    await query("INSERT INTO general_chat_messages (sender_id, content) VALUES (2, 'First')");
    await fails("INSERT INTO general_chat_messages (sender_id, content) VALUES (2, 'Too fast')", "PL429");
    expect(await query("SELECT sender_id, content FROM general_chat_messages")).toEqual([
      { sender_id: "2", content: "First" },
    ]);
    await query("DELETE FROM general_chat_messages");
    expect(await query("SELECT id FROM general_chat_messages")).toEqual([]);
    // invites
    await query("INSERT INTO users (username, hashed_password) VALUES ('dora', 'x')");
    const dora = (await one("SELECT id FROM users WHERE username = 'dora'"))!.id;
    await query(
      "INSERT INTO room_invites (room_id, inviter_id, invitee_id) VALUES ($1, 1, $2)",
      room.id,
      dora,
    );
    expect(
      await one("UPDATE room_invites SET status = 'accepted' WHERE invitee_id = $1 RETURNING status", dora),
    ).toEqual({ status: "accepted" });
    await query("DELETE FROM room_members WHERE room_id = $1 AND user_id = $2", room.id, dora);
    await query("DELETE FROM room_members WHERE room_id = $1 AND user_id IS NULL", room.id);
    await query("DELETE FROM chat_rooms WHERE id = $1", room.id);
    expect(await query("SELECT id FROM room_members WHERE room_id = $1", room.id)).toEqual([]);
    // An account is erased with what is its own.
    await query("DELETE FROM users WHERE id = 1");
    expect(await query("SELECT user_id FROM training")).toEqual([]);
    expect(await query("SELECT creator_id FROM chat_rooms")).toEqual([{ creator_id: null }]);
  });
});
