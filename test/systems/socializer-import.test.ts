import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { isAllowedEndpoint } from "../../src/answerer/endpoint-rules.ts";
import type { ImportReport, Remark } from "../../src/import/system/report.ts";
import { socializer } from "../../src/import/system/socializer/index.ts";
import { openSource } from "../../src/import/system/sources/open.ts";
import { databaseEnv } from "../cli/run-cli.ts";
import { runHere } from "../cli/run-here.ts";
import { type Api, codeOf, MASTER_KEYS, PASSWORD, startApi } from "../support/api.ts";
import { enableSystems } from "../support/compat.ts";
import { type CompatCaller, callerOf } from "../support/compat-callers.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { unseenChanges } from "../support/unseen-changes.ts";
import { sqliteFixture } from "./fixtures/sqlite.ts";
import {
  ACTIVE_INVITES,
  NEW_USER_WITH_TRAINING,
  PRIVATE_CHAT_ROOM,
  ROOM_MESSAGES,
  steps,
  TRAINING_PROGRESS,
} from "./socializer-document.ts";

// A Socializer database moves in, and its queries go on. The tests build on each other: dry run, import, second import, later
// import, the compatibility schema on the result.

let db: TestDatabase;
let owner: pg.Client;
let api: Api;
let source: ReturnType<typeof sqliteFixture>;
let report: ImportReport;

beforeAll(async () => {
  db = await createTestDatabase();
  owner = new pg.Client({ connectionString: db.url("owner") });
  await owner.connect();
  api = await startApi(db);
  source = sqliteFixture("socializer");
});
afterAll(async () => {
  source.remove();
  await owner.end();
  await api.close();
  await db.drop();
});

const query = async (text: string, values: readonly unknown[] = []) =>
  (await owner.query(text, [...values])).rows;

async function run(...flags: string[]): Promise<ImportReport> {
  const outcome = await runHere(
    ["import", "system", "socializer", "--from", source.path, "--json", ...flags],
    {
      env: { ...databaseEnv(db), PLINTH_MASTER_KEYS: MASTER_KEYS },
    },
  );
  expect({ code: outcome.code, stderr: outcome.stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(outcome.stdout) as ImportReport;
}

/** All rows of the tables that an import writes to, as text. */
const contents = async () => {
  const tables = [
    "plinth.external_ids",
    "identity.users",
    "identity.user_settings",
    "private.user_passwords",
    "private.user_keys",
    "llm.conversation_memories",
    "private.token_blacklist",
    "security.error_logs",
    "learning.skills",
    "learning.user_skills",
    "learning.training",
    "identity.user_preferences",
    "rooms.chat_rooms",
    "rooms.room_members",
    "rooms.room_messages",
    "rooms.room_message_revisions",
    "rooms.general_chat_messages",
    "rooms.room_invites",
    "private.room_passwords",
    "private.direct_rooms",
  ];
  const found: Record<string, unknown> = {};
  for (const table of tables)
    found[table] = await query(`select md5(t::text) as row from ${table} t order by 1`);
  return found;
};

const login = (identifier: string) =>
  api.ask(
    `mutation { login(input: { identifier: ${JSON.stringify(identifier)}, password: "${PASSWORD}" }) { accessToken user { username } } }`,
  );
const lineOf = ({ relation, row, column, reason }: Remark) =>
  `${relation} ${row}${column === undefined ? "" : ` ${column}`}: ${reason}`;
/** Runs a query of the API as an imported user. */
async function asking(name: string, document: string) {
  const { data } = await login(name);
  const answer = await api.ask(document, { token: data.login.accessToken });
  expect(answer.errors).toBeUndefined();
  return answer.data;
}

test("changes nothing in a dry run, which reports what an import would do", async () => {
  const before = await contents();
  const dry = await run("--dry-run", "--email-hash", "sha256");
  expect(dry.mismatches).toEqual([]);
  expect(dry).toMatchObject({ dryRun: true, isVerified: true });
  expect(await contents()).toEqual(before);
});

test("rejects an unknown hash function of addresses, and one for a product that stores addresses", async () => {
  const rejected = async (system: string, algorithm: string) => {
    const args = ["import", "system", system, "--from", source.path, "--email-hash", algorithm];
    const { code, stderr } = await runHere(args, {
      env: { ...databaseEnv(db), PLINTH_MASTER_KEYS: MASTER_KEYS },
    });
    expect(code).not.toBe(0);
    return stderr;
  };
  const [unknown, needless] = await Promise.all([
    rejected("socializer", "crc32"),
    rejected("headphone-mode", "sha256"),
  ]);
  expect(unknown).toContain("Use sha256, sha512, sha1, md5.");
  expect(needless).toContain("Headphone Mode has no hashed addresses.");
});

test("imports and verifies each of the twelve tables, and reports what did not come along", async () => {
  report = await run("--email-hash", "sha256");
  expect(report.mismatches).toEqual([]);
  expect(report.isVerified).toBe(true);
  expect(report.tables.map((t) => `${t.relation}: ${t.imported} of ${t.rows}, ${t.omitted} omitted`)).toEqual(
    [
      "users: 5 of 5, 0 omitted",
      "users_memory: 3 of 5, 2 omitted",
      "token_blacklist: 2 of 3, 1 omitted",
      "error_logs: 2 of 3, 1 omitted",
      "skills: 3 of 4, 1 omitted",
      "training: 5 of 5, 0 omitted",
      "user_skills: 4 of 4, 0 omitted",
      "user_preferences: 3 of 5, 2 omitted",
      "chat_rooms: 6 of 6, 0 omitted",
      // The AI of room 2 came with its room.
      "room_members: 10 of 12, 1 omitted",
      "chat_rooms_settled: 6 of 6, 0 omitted",
      "room_messages: 8 of 9, 1 omitted",
      "room_members_read: 11 of 12, 1 omitted",
      "general_chat_messages: 3 of 3, 0 omitted",
      "room_invites: 4 of 5, 1 omitted",
    ],
  );
  expect(report.remarks.map(lineOf).sort()).toEqual([
    "chat_rooms 4 is_public: only a group without a password of an unknown format is public",
    "chat_rooms 4 password: has a format that cannot be verified, so only invited users may join",
    "chat_rooms_settled 5 room_type: was changed to private: a direct room has two members, and each pair of users has one such room",
    "error_logs 2 context: must be a JSON object",
    "error_logs 3: is older than the retention of error logs",
    "room_invites 5: users cannot invite themselves",
    "room_members 12 role: is unknown, so the user is a member",
    "room_members 5: another row of the source became the same row here",
    "room_members_read 5: its row of room_members was not imported",
    "room_messages 9: has no text",
    "skills 3 skill_name: was changed to a key; the display name keeps it",
    "skills 4: another row of the source became the same row here",
    "token_blacklist 2 jti: is not a UUID and was replaced by one derived from it",
    "token_blacklist 3: has expired",
    "training 3:1 status: is unknown, so the training is pending",
    "training 3:2 progress: was set to 1, because the training is completed",
    "user_preferences 3: its preference_value is missing or not JSON",
    "user_preferences 4: its preference_value is missing or not JSON",
    "user_preferences 5 confidence: was limited to 0 to 1",
    "user_skills 2:3 level: was limited to 0 to 10",
    "users 1 username: is not allowed or taken: the user signs in with another name",
    "users 2 llm_endpoint: is not an address that this server may connect to",
    "users 3 username: is not allowed or taken: the user signs in with another name",
    "users 4 hashed_email: is not a hash in hexadecimal",
    "users 4 llm_endpoint: is not an address that this server may connect to",
    "users 4 username: is not allowed or taken: the user signs in with another name",
    "users 5 password_hash: has a format that sign-in cannot verify",
    "users_memory 3 conversation_memory: cannot be decrypted with the user's key",
    "users_memory 4: its encryption_key is not a Fernet key",
    "users_memory 5: has no memory",
  ]);
});

test("changes nothing when it runs again", async () => {
  const before = await contents();
  const again = await run();
  expect(
    again.tables.map(({ imported, mismatches, changedSince }) => [imported, mismatches, changedSince]),
  ).toEqual(report.tables.map(() => [0, 0, 0]));
  expect(await contents()).toEqual(before);
});

test("the verification finds a change of each column, and each missing row, of an import", async () => {
  const opened = await openSource(source.path, () => {});
  const mapping = await socializer.forRun!({
    client: owner,
    dryRun: true,
    masterKeys: MASTER_KEYS,
    isAllowedEndpoint: (address) => isAllowedEndpoint(address, []),
    emailHash: undefined,
    emailSalt: "",
  });
  const seen = await unseenChanges(db, opened, mapping, { hasHasher: true });
  await opened.close();
  expect(seen).toEqual({ unseen: [], untested: [] });
});

test("keeps names, times, models and keys of accounts, and no password or address in clear", async () => {
  const accounts = await query(
    `select u.username, s.display_name, u.created_at::text as at, u.metadata, s.llm_provider as provider, s.llm_endpoint as endpoint,
       p.hash_algorithm as hash, u.email, u.hashed_email
     from identity.users u
     join identity.user_settings s on s.user_id = u.id
     left join private.user_passwords p on p.user_id = u.id
     order by u.created_at`,
  );
  const account = (username: string, values: object) => ({
    username,
    display_name: null,
    metadata: {},
    provider: null,
    endpoint: null,
    email: null,
    hashed_email: null,
    ...values,
  });
  expect(accounts).toEqual([
    account("zoe-muller", {
      display_name: "Zoë Müller",
      at: "2024-03-01 09:00:00+00",
      metadata: { hashed_name: "d6e575a6b527db9e45a51c573d75afe99aaad340cb9bebddadc5772538def82c" },
      provider: "openai",
      endpoint: "https://api.openai.com/v1",
      hash: "wrapped",
    }),
    // His model is on the server's own machine.
    account("bob", { at: "2024-03-02 09:00:00.123456+00", provider: "ollama", hash: "wrapped" }),
    account("user-3", {
      display_name: "李雷",
      at: "2024-04-01 09:00:00+00",
      hash: "wrapped",
    }),
    account("bob-2", { display_name: "BOB", at: "2024-04-02 09:00:00+00", hash: "wrapped" }),
    account("carol", { at: "2024-05-01 09:00:00+00", hash: null }),
  ]);
  const [{ text }] = await query(
    "select string_agg(t::text, ' ') as text from (select e::text from plinth.external_ids e union all select k::text from private.user_keys k union all select m::text from llm.conversation_memories m) t",
  );
  expect(text).not.toContain("3e693cf7e5b67880bff33b2d2626dadb7bf1d4bc737192e47cf8baa89acf2250");
  expect(text).not.toContain("lIDXkauvzBim0mYEHqpLo-8uA0WTEHjZB2ESRijvUcg=");
});

test("signs imported users in by their name and by an address of which only a hash came along", async () => {
  for (const [identifier, username] of [
    ["Zoe-Muller", "zoe-muller"],
    ["Bob@Example.com", "bob"],
    ["user-3", "user-3"],
    ["bob-2", "bob-2"],
  ] as const)
    expect([identifier, (await login(identifier)).data.login?.user]).toEqual([identifier, { username }]);
  // Its hash has no known format.
  expect(codeOf(await login("carol"))).toBe("INVALID_CREDENTIALS");
  // A new password for the address of which only a hash came along.
  await api.ask('mutation { requestPasswordReset(input: { identifier: "li@example.cn" }) { ok } }');
  expect(await query("select to_address from private.mail_outbox where template = 'password-reset'")).toEqual(
    [{ to_address: "li@example.cn" }],
  );
});

test("opens the memories in the API with their users' own keys", async () => {
  const document = "{ conversationMemory { memory } }";
  expect(await asking("zoe-muller", document)).toEqual({
    conversationMemory: { memory: { facts: ["Practises small talk before meetings."], mood: "curious" } },
  });
  expect(await asking("bob", document)).toEqual({
    conversationMemory: { memory: "User prefers short answers. Нет эмодзи." },
  });
});

test("shows rooms, messages in order with their times, unread counts and invites in the API", async () => {
  const data = await asking(
    "zoe-muller",
    `{ rooms(orderBy: [ID_ASC]) { nodes { name roomType isPublic hasPassword isAiEnabled lastActivityAt
         members(orderBy: [ROLE_ASC]) { nodes { role } } unread { unreadCount } } }
       roomMessages(orderBy: [ID_ASC]) { nodes { sequence senderType messageType content createdAt senderProfile { username } } }
       roomInvites(filter: { status: { equalTo: pending } }) { nodes { room { name } inviterProfile { username } createdAt } } }`,
  );
  const at = (time: string) => time.replace(".000000+00:00", "Z");
  expect(
    // biome-ignore lint/suspicious/noExplicitAny: The nodes are those of the query above.
    data.rooms.nodes.map((room: any) => [
      room.name,
      room.roomType,
      [room.isPublic && "public", room.hasPassword && "password", room.isAiEnabled && "AI"]
        .filter(Boolean)
        .join(),
      at(room.lastActivityAt),
      room.members.nodes.map(({ role }: { role: string }) => role).join(),
      room.unread?.unreadCount,
    ]),
  ).toEqual([
    ["Private room", "private", "", "2025-06-01T10:00:00Z", "creator", "0"],
    ["Kaffee & Kuchen ☕", "group", "public,password,AI", "2025-06-02T09:03:00Z", "ai,creator,member", "3"],
    ["", "direct", "", "2025-06-03T09:00:00Z", "member,member", "0"],
    // Only an invite.
    ["Both", "private", "", "2025-06-04T08:00:00Z", "", undefined],
    ["Three", "private", "", "2025-06-05T08:00:00Z", "creator,member,member", "0"],
  ]);
  expect(
    // biome-ignore lint/suspicious/noExplicitAny: The nodes are those of the query above.
    data.roomMessages.nodes.map((message: any) => [
      message.sequence,
      message.senderProfile?.username ?? message.senderType,
      message.messageType,
      message.content,
      at(message.createdAt),
    ]),
  ).toEqual([
    ["1", "zoe-muller", "text", "Note to myself", "2025-06-01T09:00:00Z"],
    ["2", "zoe-muller", "text", "Second note", "2025-06-01T10:00:00Z"],
    ["1", "system", "system", "Zoë Müller joined the room", "2025-06-02T08:10:00Z"],
    ["2", "zoe-muller", "text", "Hello everyone", "2025-06-02T09:00:00Z"],
    ["3", "ai", "text", "Hello! How can I help?", "2025-06-02T09:01:00Z"],
    // Deleted: its author and the moderators still read the text.
    ["4", "bob", "text", "", "2025-06-02T09:02:00Z"],
    ["5", "user", "text", "From an account that is gone", "2025-06-02T09:03:00Z"],
    ["1", "zoe-muller", "invite", "Join us at Kaffee & Kuchen", "2025-06-03T09:00:00Z"],
  ]);
  expect(data.roomInvites.nodes.map((invite: { room: object }) => invite.room)).toEqual([{ name: "Both" }]);
  expect(
    JSON.stringify(await asking("bob", "{ roomMessages { nodes { revisions { nodes { content } } } } }")),
  ).toContain("Sent to the wrong room");
});

test("lets a user join with the room's own password, and nobody where its hash is unknown", async () => {
  const { data } = await login("bob-2");
  const token = data.login.accessToken;
  const [room] = await query("select id from rooms.chat_rooms where has_password");
  const join = (password: string) =>
    api.ask(
      `mutation { joinRoomWithPassword(input: { roomId: "${room.id}", password: "${password}" }) { roomMember { role } } }`,
      { token },
    );
  expect(codeOf(await join("another password"))).toBe("INVALID_CREDENTIALS");
  expect((await join("room password of socializer")).errors).toBeUndefined();
  expect(
    await query("select name, is_public, has_password from rooms.chat_rooms where name = 'Both'"),
  ).toEqual([{ name: "Both", is_public: false, has_password: false }]);
});

test("keeps levels, trainings, preferences, tokens and errors", async () => {
  const learned = await query(
    `select concat_ws(' ', u.username, s.skill_name, coalesce(us.level::text, '-'), t.status, t.progress,
       t.started_at::date, t.completed_at::date) as line
     from learning.user_skills us
     full join learning.training t using (user_id, skill_id)
     join identity.users u on u.id = user_id
     join learning.skills s on s.id = skill_id
     order by u.created_at, s.skill_name`,
  );
  expect(learned.map(({ line }) => line)).toEqual([
    "zoe-muller public_speaking 7.00 active 0.3500 2025-09-01",
    "bob negotiation 10.00 completed 1.0000 2025-01-01 2025-02-01",
    "bob public_speaking 10.00",
    "bob small_talk - pending 0.0000",
    "user-3 negotiation - pending 0.1000",
    "user-3 small_talk 3.00 completed 1.0000 2025-03-01 2025-03-09",
  ]);
  expect(
    await query(
      "select preference_value as value, confidence from identity.user_preferences order by created_at",
    ),
  ).toEqual([
    { value: "friendly", confidence: 0.9 },
    { value: { likes: ["Bouldern", "サッカー"], weight: 0.25 }, confidence: 0.5 },
    { value: "short", confidence: 1 },
  ]);
  expect(
    await query(
      `select e.external_id, u.username, b.subject_id = '0b7e9a58-1d5f-4a6e-9a51-2f3c8a1c7d10' as is_jti
       from private.token_blacklist b
       join plinth.external_ids e on e.row_id = b.id
       join identity.users u on u.id = e.user_id
       order by e.number`,
    ),
  ).toEqual([
    { external_id: "1", username: "zoe-muller", is_jti: true },
    { external_id: "2", username: "bob", is_jti: false },
  ]);
  expect(
    await query(
      `select l.error_code, l.message, l.context, u.username from security.error_logs l
       left join identity.users u on u.id = l.user_id where l.source = 'socializer' order by l.created_at`,
    ),
  ).toEqual([
    {
      error_code: "ValueError",
      message: "The model did not answer.",
      context: { path: "/chat", status: 502 },
      username: "zoe-muller",
    },
    { error_code: "KeyError", message: "", context: {}, username: null },
  ]);
});

test("brings rows that were added to the source since, and names those that changed on either side", async () => {
  source.exec(`
    INSERT INTO users (id, username, hashed_password) VALUES (6, 'Dora', 'x');
    INSERT INTO room_members (id, room_id, user_id) VALUES (113, 2, 6);
    INSERT INTO room_messages (id, room_id, sender_id, content, created_at) VALUES (10, 2, 6, 'Hello', '2026-01-01 10:00:00');
    UPDATE user_preferences SET confidence = 0.95 WHERE id = 1;
  `);
  const later = await run();
  expect(later.mismatches).toEqual([]);
  expect(later.isVerified).toBe(true);
  expect(
    Object.fromEntries(later.tables.filter((t) => t.imported > 0).map((t) => [t.relation, t.imported])),
  ).toEqual({
    users: 1,
    room_members: 1,
    room_messages: 1,
    room_members_read: 1,
  });
  expect(later.tables.find((t) => t.relation === "user_preferences")!.changedSince).toBe(1);
  expect(
    await query(
      "select m.sequence::integer, u.username from rooms.room_messages m join identity.users u on u.id = m.sender_id where m.content = 'Hello'",
    ),
  ).toEqual([{ sequence: 6, username: "dora" }]);
});

test("runs the document's flows and queries on the result, with the document's own ids", async () => {
  await enableSystems(db, ["socializer"]);
  const [{ id: zoe }] = await query("select id from identity.users where username = 'zoe-muller'");
  const as = <T>(
    caller: CompatCaller,
    use: (run: (sql: string) => Promise<pg.QueryResultRow[]>) => Promise<T>,
  ) =>
    callerOf(db, "compat_socializer", caller, (client) => use(async (sql) => (await client.query(sql)).rows));
  const messages = [
    {
      id: "2",
      content: "Second note",
      created_at: expect.any(Date),
      sender_type: "user",
      sender_name: "zoe-muller",
    },
    {
      id: "1",
      content: "Note to myself",
      created_at: expect.any(Date),
      sender_type: "user",
      sender_name: "zoe-muller",
    },
  ];
  const invites = [{ id: "3", room_name: "Both", inviter_name: "user-3", created_at: expect.any(Date) }];
  const trained = {
    username: "zoe-muller",
    skill_name: "public_speaking",
    progress: 0.35,
    status: "active",
    current_level: 7,
  };
  await as("application", async (run) => {
    for (const statement of [...steps(NEW_USER_WITH_TRAINING), ...steps(PRIVATE_CHAT_ROOM)])
      await run(statement);
    expect(await run(TRAINING_PROGRESS)).toEqual(
      expect.arrayContaining([
        trained,
        {
          username: "zoe-muller",
          skill_name: "negotiation",
          progress: 0,
          status: "active",
          current_level: 0,
        },
      ]),
    );
    expect(await run(ROOM_MESSAGES)).toEqual(messages);
    expect(await run(ACTIVE_INVITES)).toEqual(invites);
    // The next numbers after those of the source.
    expect(await run("SELECT id FROM users WHERE username = 'alice'")).toEqual([{ id: "7" }]);
    expect(
      await run("SELECT id FROM skills WHERE skill_name IN ('empathy', 'active_listening') ORDER BY id"),
    ).toEqual([{ id: "4" }, { id: "5" }]);
    expect(await run("SELECT user_id, role FROM room_members WHERE room_id = 1 ORDER BY role")).toEqual([
      { user_id: null, role: "ai" },
      { user_id: "1", role: "creator" },
      { user_id: "2", role: "member" },
    ]);
  });
  await as({ user: zoe }, async (run) => {
    expect(await run(TRAINING_PROGRESS)).toEqual([trained]);
    expect(await run(ROOM_MESSAGES)).toEqual(messages);
    expect(await run(ACTIVE_INVITES)).toEqual(invites);
  });
  await as("analyst", async (run) => {
    expect(await run(TRAINING_PROGRESS)).toEqual([{ ...trained, username: null }]);
    expect(await run(ROOM_MESSAGES)).toEqual(
      messages.map((message) => ({ ...message, content: null, sender_name: null })),
    );
    expect(await run(ACTIVE_INVITES)).toEqual(
      invites.map((invite) => ({ ...invite, room_name: null, inviter_name: null })),
    );
  });
});
