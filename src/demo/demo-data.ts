import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type pg from "pg";
import { type EmailStorageOptions, emailToStore } from "../auth/email-storage.ts";
import { createPasswordHasher } from "../auth/password-hash.ts";
import { loadSecrets, updateSecrets } from "../database/secrets.ts";
import { importContent } from "../import/content/import-content.ts";
import { importModels } from "../import/models/import-models.ts";
import { importPrompts } from "../import/prompts/import-prompts.ts";
import { PACKAGE_ROOT } from "../support/paths.ts";
import { writeChatExtras } from "./chat-extras.ts";
import { DEMO_CHATS, type DemoChat } from "./chats.ts";
import { writeHistory } from "./history.ts";
import { writeLearning } from "./learning.ts";
import { writeRooms } from "./rooms.ts";

const DEMO_FOLDER = join(PACKAGE_ROOT, "src", "demo");

/** Accounts that can sign in to the demo. */
const DEMO_ACCOUNTS = [
  { username: "ada", email: "ada@example.com", displayName: "Ada", role: "user" },
  { username: "grace", email: "grace@example.com", displayName: "Grace", role: "admin" },
] as const;

/** An account that the demo creates, with its password. */
export interface DemoAccount {
  readonly username: string;
  readonly password: string;
  readonly role: string;
}

/**
 * Fills a database that has no accounts yet: models, prompts, a curriculum, two accounts and their chats, and three months of other people's use. The passwords are
 * generated once and stored in secrets.json. An interrupted start leaves no accounts, so the next one starts over.
 * @param client connected as the owner
 * @returns whether it added data
 */
export async function loadDemoData(
  client: pg.ClientBase,
  dataDirectory: string,
  emails: EmailStorageOptions = { masterKeys: undefined, privacyMode: false },
): Promise<boolean> {
  const { rows } = await client.query<{ found: boolean }>(
    "select exists (select from identity.users) as found",
  );
  if (rows[0]!.found) return false;
  await importModels(join(DEMO_FOLDER, "models"), { client, makePublic: true });
  await importPrompts(join(DEMO_FOLDER, "prompts.csv"), { client });
  await importContent(join(DEMO_FOLDER, "curriculum.ndjson"), { client });
  const passwords = demoPasswords(dataDirectory);
  await client.query("begin");
  try {
    const ids = await registerAccounts(client, passwords, emails);
    for (const chat of DEMO_CHATS) await writeChat(client, ids[chat.owner]!, chat);
    await writeRooms(client, { ada: ids.ada!, grace: ids.grace! });
    await writeChatExtras(client, ids.grace!);
    await writeLearning(client, ids.ada!);
    await writeHistory(client);
    // Jobs refresh these later, but a demo user looks at them now.
    await client.query("select private.refresh_content_popularity(), private.refresh_subscription_metrics()");
    await client.query("select private.find_days_to_roll_up()");
    while ((await client.query("select private.roll_up_day() as day")).rows[0].day !== null);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
  return true;
}

/**
 * Returns the demo accounts that still exist, so that a later start can print how to sign in. The passwords are those that the
 * accounts were created with.
 * @param client connected as the owner
 */
export async function findDemoAccounts(
  client: pg.ClientBase,
  dataDirectory: string,
): Promise<readonly DemoAccount[]> {
  const { demo } = loadSecrets(dataDirectory);
  const { rows } = await client.query<{ username: string }>(
    "select username from identity.users where username = any ($1) and is_active",
    [Object.keys(demo)],
  );
  const existing = new Set(rows.map((row) => row.username));
  return DEMO_ACCOUNTS.filter(({ username }) => existing.has(username)).map(({ username, role }) => ({
    username,
    role,
    password: demo[username]!,
  }));
}

/** Stores the passwords before they are used, so that no account has an unknown password. */
function demoPasswords(dataDirectory: string): Readonly<Record<string, string>> {
  const { demo } = loadSecrets(dataDirectory);
  const missing = DEMO_ACCOUNTS.filter(({ username }) => !demo[username]);
  if (missing.length === 0) return demo;
  const made = missing.map(({ username }) => [username, randomBytes(15).toString("base64url")]);
  return updateSecrets(dataDirectory, { demo: { ...demo, ...Object.fromEntries(made) } }).demo;
}

async function registerAccounts(
  client: pg.ClientBase,
  passwords: Readonly<Record<string, string>>,
  emails: EmailStorageOptions,
): Promise<Record<string, string>> {
  const hasher = createPasswordHasher({ concurrency: 1 });
  const ids: Record<string, string> = {};
  try {
    for (const { username, email, displayName, role } of DEMO_ACCOUNTS) {
      const { hash, algorithm } = await hasher.hash(passwords[username]!);
      const stored = await emailToStore(client, emails, email);
      const { rows } = await client.query<{ id: string }>(
        "select private.register_user($1, $2, $3, $4, $5, $6) as id",
        [username, stored.email, displayName, hash, algorithm, stored.hash],
      );
      ids[username] = rows[0]!.id;
      if (role !== "user") await client.query("select access.grant_role($1, $2)", [rows[0]!.id, role]);
    }
  } finally {
    await hasher.close();
  }
  return ids;
}

async function writeChat(client: pg.ClientBase, userId: string, chat: DemoChat): Promise<void> {
  const { rows } = await client.query<{ id: string }>(
    "insert into llm.chats (user_id, title) values ($1, $2) returning id",
    [userId, chat.title],
  );
  for (const message of chat.messages)
    await client.query(
      `insert into llm.messages (chat_id, user_id, role, content, thinking, tool_calls, images, model_id, tokens_used)
       select $1, $2, $3, $4, $5, $6, $7, (
         select m.id
         from llm.models m
         join llm.model_providers p on p.id = m.provider_id
         where p.name || '/' || m.name = $8
       ), $9`,
      [
        rows[0]!.id,
        userId,
        message.role,
        message.content,
        message.thinking ?? null,
        message.toolCalls ? JSON.stringify(message.toolCalls) : null,
        message.images ? JSON.stringify(message.images) : null,
        message.model ?? null,
        message.tokensUsed ?? null,
      ],
    );
}
