import { createHash, randomBytes } from "node:crypto";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";

export type SystemName = "users" | "rovertchat" | "socializer" | "cedrina";

type Rows = Iterable<Readonly<Record<string, SQLInputValue>>>;

/** Writes a product's database as a SQLite file, with as many accounts as named and what they did. */
export function generate(system: SystemName, users: number, path: string): void {
  const database = new DatabaseSync(path);
  database.exec("pragma journal_mode = off; pragma synchronous = off");
  for (const [table, rows] of Object.entries(SYSTEMS[system](users))) fill(database, table, rows);
  database.close();
}

function fill(database: DatabaseSync, table: string, rows: Rows): void {
  let insert: ReturnType<DatabaseSync["prepare"]> | undefined;
  database.exec("begin");
  for (const row of rows) {
    if (insert === undefined) {
      const columns = Object.keys(row);
      database.exec(
        `create table "${table}" (${columns.map((name) => `"${name}"`).join(", ")}, primary key ("${columns[0]}"))`,
      );
      insert = database.prepare(`insert into "${table}" values (${columns.map(() => "?").join(", ")})`);
    }
    insert.run(...Object.values(row));
  }
  database.exec("commit");
}

const SYSTEMS: Readonly<Record<SystemName, (users: number) => Record<string, Rows>>> = {
  users: (users) => ({
    users: list(users, (n) => ({
      ...account(n),
      password_hash: passwordHash(n),
      display_name: `User ${n}`,
      roles: "user",
    })),
  }),

  rovertchat: (users) => ({
    users: list(users, (n) => ({
      ...account(n),
      id: uuid("u", n),
      password_hash: passwordHash(n),
      role: "user",
      last_login: time(n + 1),
      is_active: 1,
      token_version: 1,
    })),
    modelproviders: list(1, (n) => ({
      id: uuid("p", n),
      name: "Bench",
      api_url: "https://models.example",
      auth_type: "api_key",
      created_at: time(n),
    })),
    models: list(5, (n) => ({
      id: uuid("m", n),
      provider_id: uuid("p", 0),
      name: `model-${n}`,
      config: "{}",
      created_at: time(n),
    })),
    usersettings: list(users, (n) => ({
      user_id: uuid("u", n),
      default_model_id: uuid("m", n % 5),
      display_name: `User ${n}`,
      preferences: '{"theme":"dark"}',
    })),
    usermodelaccess: list(users, (n) => ({
      id: uuid("a", n),
      user_id: uuid("u", n),
      model_id: uuid("m", n % 5),
      granted_at: time(n),
      is_active: 1,
    })),
    chats: list(users * 2, (n) => ({
      id: uuid("c", n),
      user_id: uuid("u", n >> 1),
      title: `Chat ${n}`,
      created_at: time(n),
      updated_at: time(n + 9),
      is_archived: 0,
    })),
    // Ten messages a user, five a chat.
    messages: list(users * 10, (n) => ({
      id: uuid("n", n),
      chat_id: uuid("c", Math.floor(n / 5)),
      role: n % 2 ? "assistant" : "user",
      content: text(n, n % 2 ? 600 : 80),
      model_id: n % 2 ? uuid("m", n % 5) : null,
      created_at: time(n),
      tokens_used: n % 2 ? 150 : 20,
      extended_metadata: null,
    })),
  }),

  socializer: (users) => ({
    users: list(users, (n) => ({
      id: n + 1,
      username: `user${n}`,
      hashed_password: passwordHash(n),
      hashed_email: sha(`user${n}@bench.example`),
      hashed_name: sha(`User ${n}`),
      created_at: time(n),
      updated_at: time(n),
    })),
    token_blacklist: [
      { id: 1, jti: uuid("t", 1), user_id: 1, expires_at: "2020-01-01 00:00:00", created_at: time(1) },
    ],
    error_logs: [{ id: 1, user_id: 1, error_type: "E", created_at: "2020-01-01 00:00:00" }],
    skills: list(20, (n) => ({ id: n + 1, skill_name: `skill_${n}` })),
    training: list(users, (n) => ({
      user_id: n + 1,
      skill_id: (n % 20) + 1,
      status: "active",
      progress: 0.5,
      started_at: time(n),
      completed_at: null,
    })),
    user_skills: list(users, (n) => ({ user_id: n + 1, skill_id: (n % 20) + 1, level: n % 10 })),
    user_preferences: list(users, (n) => ({
      id: n + 1,
      user_id: n + 1,
      preference_type: "tone",
      preference_key: "length",
      preference_value: '"short"',
      confidence: 0.5,
      created_at: time(n),
    })),
    chat_rooms: list(Math.ceil(users / 5), (n) => ({
      id: n + 1,
      creator_id: n * 5 + 1,
      name: `Room ${n}`,
      room_type: "group",
      ai_enabled: n % 2,
      is_public: 0,
      created_at: time(n),
    })),
    // Five members and fifty messages a room.
    room_members: list(users, (n) => ({
      id: n + 1,
      room_id: Math.floor(n / 5) + 1,
      user_id: n + 1,
      role: n % 5 ? "member" : "creator",
      joined_at: time(n),
      last_read_at: time(users),
    })),
    room_messages: list(users * 10, (n) => ({
      id: n + 1,
      room_id: (n % Math.ceil(users / 5)) + 1,
      sender_id: (n % Math.ceil(users / 5)) * 5 + 1,
      sender_type: "user",
      message_type: "text",
      content: text(n, 120),
      created_at: time(n),
      edited_at: null,
      is_deleted: 0,
    })),
    general_chat_messages: list(users, (n) => ({
      id: n + 1,
      sender_id: n + 1,
      content: text(n, 100),
      created_at: time(n),
    })),
    room_invites: list(Math.ceil(users / 5), (n) => ({
      id: n + 1,
      room_id: n + 1,
      inviter_id: n * 5 + 1,
      invitee_id: ((n * 5 + 7) % users) + 1,
      status: "pending",
      created_at: time(n),
    })),
  }),

  cedrina: (users) => ({
    users: list(users, (n) => ({
      ...account(n),
      hashed_password: passwordHash(n),
      is_active: 1,
      is_verified: 1,
      role: "USER",
      tier: "FREE",
      updated_at: time(n),
      failed_login_attempts: 0,
      password_changed_at: time(n),
      email_verified_at: time(n),
      profile_data: '{"city":"London"}',
      preferences: '{"theme":"dark"}',
    })),
    oauth_profiles: list(Math.ceil(users / 4), (n) => ({
      id: n + 1,
      user_id: n * 4 + 1,
      provider: "google",
      provider_user_id: `g${n}`,
      access_token: `token-${n}`,
      refresh_token: `refresh-${n}`,
      user_info: `{"email":"user${n}@gmail.example"}`,
      created_at: time(n),
      updated_at: time(n),
    })),
    sessions: list(users, (n) => ({
      id: n + 1,
      user_id: n + 1,
      is_active: 1,
      created_at: time(n),
      expires_at: "2099-01-01 00:00:00",
      last_activity_at: time(n),
      client_ip: "203.0.113.9",
      user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    })),
    casbin_rules: list(10, (n) => ({
      id: n + 1,
      ptype: "p",
      v0: `role${n}`,
      v1: `/object/${n}`,
      v2: "read",
      created_at: time(n),
      is_active: 1,
    })),
    audit_logs: list(users * 10, (n) => ({
      id: n + 1,
      user_id: Math.floor(n / 10) + 1,
      event_type: "LOGIN_SUCCESS",
      event_data: '{"method":"password"}',
      client_ip: "203.0.113.9",
      user_agent: "Firefox",
      correlation_id: `c${n}`,
      created_at: time(n),
      severity: "INFO",
      source: "api",
      metadata: "{}",
    })),
    rate_limit_records: [
      {
        id: 1,
        key_hash: sha("k"),
        algorithm: "FIXED_WINDOW",
        window_start: "2020-01-01 00:00:00",
        window_end: "2020-01-01 00:01:00",
        request_count: 1,
        limit_value: 5,
      },
    ],
  }),
};

function* list<T>(count: number, row: (n: number) => T): Generator<T> {
  for (let n = 0; n < count; n++) yield row(n);
}

const account = (n: number) => ({
  id: n + 1,
  username: `user${n}`,
  email: `user${n}@bench.example`,
  created_at: time(n),
});

/** Hashes of an installation that has moved from bcrypt to Argon2id; their bytes are random. */
function passwordHash(n: number): string {
  if (n % 3 > 0) return `$2b$10$${bytes(40, "base64url").replace(/[-_]/g, ".").slice(0, 53)}`;
  return `$argon2id$v=19$m=19456,t=2,p=1$${bytes(16, "base64").replace(/=+$/, "")}$${bytes(32, "base64").replace(/=+$/, "")}`;
}

const bytes = (count: number, encoding: BufferEncoding): string => randomBytes(count).toString(encoding);
const sha = (value: string): string => createHash("sha256").update(value).digest("hex");
const uuid = (kind: string, n: number): string =>
  sha(`${kind}${n}`).replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, "$1-$2-4$3-8$4-$5");
/** Minutes from 2024 on. */
const time = (n: number): string =>
  new Date(Date.UTC(2024, 0, 1) + (n % 1_000_000) * 60_000).toISOString().slice(0, 19).replace("T", " ");

const WORDS =
  "the model answers each question of a user with words that it has seen before and some that nobody wrote".split(
    " ",
  );
function text(n: number, length: number): string {
  let result = `${n}`;
  for (let at = n; result.length < length; at = (at * 31 + 7) % 1_000_003)
    result += ` ${WORDS[at % WORDS.length]}`;
  return result;
}
