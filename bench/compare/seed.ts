import type pg from "pg";
import { createPasswordHasher } from "../../src/auth/password-hash.ts";
import { bareLedger } from "../bare-ledger.ts";

/** Sizes of the seeded data. Ids are computable, so that no client has to ask for them. */
export const USERS = 1_000;
const CHATS_PER_USER = 30;
const MESSAGES_PER_CHAT = 20;
const ITEMS = 5_000;
const ROOMS = 50;
const MEMBERS_PER_ROOM = 20;
const MESSAGES_PER_ROOM = 2_000;
export const PASSWORD = "a sentence that nobody guesses";

const id = (kind: number, number: string) =>
  `('00000000-0000-7000-8${String(kind).padStart(3, "0")}-' || lpad((${number})::text, 12, '0'))::uuid`;
const idText = (kind: number, number: number) =>
  `00000000-0000-7000-8${String(kind).padStart(3, "0")}-${String(number).padStart(12, "0")}`;

export const userId = (user: number) => idText(1, user);
export const sessionId = (user: number) => idText(2, user);
/** @param chat 0 to 29 */
export const chatId = (user: number, chat: number) => idText(3, user * 100 + chat);
/** A room of the user. */
export const roomId = (user: number) => idText(4, user % ROOMS);
/** A model that all users may use; its tokens are priced. */
export const MODEL_ID = idText(9, 1);
export const randomUser = () => 1 + Math.floor(Math.random() * USERS);
export const randomChat = () => Math.floor(Math.random() * CHATS_PER_USER);
/** The same ids as SQL expressions over an integer. */
export const SQL_IDS = {
  user: (n: string) => id(1, n),
  chat: (n: string) => id(3, n),
  room: (n: string) => id(4, n),
};

const TABLES = [
  "identity.users",
  "llm.chats",
  "llm.messages",
  "learning.content_items",
  "learning.content_versions",
  "learning.user_content_permissions",
  "rooms.chat_rooms",
  "rooms.room_members",
  "rooms.room_messages",
];

/**
 * Fills an empty database: 1,000 users with passwords and sessions, 30,000 chats, 600,000 messages, 5,000 content items, 50 rooms
 * with 100,000 messages, a token grant for each user and the bare ledger. Triggers are off, except those of new accounts.
 */
export async function seed(owner: pg.Client): Promise<void> {
  const hasher = createPasswordHasher({ concurrency: 1 });
  const { hash } = await hasher.hash(PASSWORD);
  await hasher.close();
  await owner.query("set statement_timeout = 0; set synchronous_commit = off");
  await owner.query("begin");
  await owner.query(
    `insert into identity.users (id, username, email, email_verified_at)
     select ${id(1, "u")}, 'bench' || u, 'bench' || u || '@example.com', now() from generate_series(1, ${USERS}) u`,
  );
  await owner.query(
    "insert into private.user_passwords (user_id, password_hash) select id, $1 from identity.users",
    [hash],
  );
  for (const table of TABLES) await owner.query(`alter table ${table} disable trigger user`);
  await owner.query(`
    insert into identity.user_sessions (id, user_id, expires_at)
      select ${id(2, "u")}, ${id(1, "u")}, now() + interval '300 days' from generate_series(1, ${USERS}) u;

    insert into llm.model_providers (id, name) values (${id(9, "1")}, 'bench');
    insert into llm.models (id, provider_id, name, display_name, is_public)
      select ${id(9, "m")}, ${id(9, "1")}, 'model-' || m, 'Model ' || m, true from generate_series(1, 5) m;
    insert into llm.chats (id, user_id, title, created_at, updated_at)
      select ${id(3, "u * 100 + c")}, ${id(1, "u")}, 'Chat ' || c || ' of user ' || u, now() - interval '60 days',
        now() - (c * interval '1 day' + u * interval '1 second')
      from generate_series(1, ${USERS}) u, generate_series(0, ${CHATS_PER_USER - 1}) c;
    insert into llm.messages (id, user_id, chat_id, parent_id, depth, role, content, model_id, created_at)
      select ${id(5, "(u * 100 + c) * 100 + m")}, ${id(1, "u")}, ${id(3, "u * 100 + c")},
        case when m > 1 then ${id(5, "(u * 100 + c) * 100 + m - 1")} end, m, case m % 2 when 1 then 'user' else 'assistant' end,
        repeat('words of message ' || m || ' in chat ' || c || '. ', 8), case m % 2 when 0 then ${id(9, "1 + u % 5")} end,
        now() - (c * interval '1 day' + u * interval '1 second' + (${MESSAGES_PER_CHAT} - m) * interval '1 minute')
      from generate_series(1, ${USERS}) u, generate_series(0, ${CHATS_PER_USER - 1}) c, generate_series(1, ${MESSAGES_PER_CHAT}) m;
    insert into billing.model_prices (model_id, input_price_per_million_tokens, output_price_per_million_tokens)
      select id, 1, 2 from llm.models;
    update llm.chats c set head_id = m.id from llm.messages m
      where m.chat_id = c.id and m.user_id = c.user_id and m.depth = ${MESSAGES_PER_CHAT};

    insert into learning.content_categories (slug, name) select 'c' || i, 'C' || i from generate_series(1, 20) i;
    alter table learning.content_items drop constraint content_items_current_version_fkey;
    insert into learning.content_items (category_id, slug, content_type, title, summary, level, duration_seconds, tags,
        required_access_level, effective_access_level, current_version, publish_from, available_from)
      select (select array_agg(id order by id) from learning.content_categories)[1 + i % 20], 'i' || i, 'lesson', 'Lesson ' || i,
        'Summary of lesson ' || i || '.', i % 10, 60 + i % 3000, array['t' || i % 100], i % 4, i % 4, 1,
        now() - i * interval '1 minute', now() - i * interval '1 minute'
      from generate_series(1, ${ITEMS}) i;
    insert into learning.content_versions (item_id, version, published_at) select id, 1, now() from learning.content_items;
    alter table learning.content_items add constraint content_items_current_version_fkey
      foreign key (id, current_version) references learning.content_versions (item_id, version) on delete restrict;
    insert into learning.user_content_permissions (user_id, item_id, permission)
      select ${id(1, "u")}, i.id, case i.level when 1 then 'deny' else 'allow' end
      from generate_series(1, ${USERS}) u, (select id, level from learning.content_items order by available_from desc limit 10) i;
    insert into billing.subscription_plans (code, plan_name, price_cents, access_level) values ('bench', 'Bench', 100, 2);
    select private.start_subscription(u.id, p.id, false, now())
      from identity.users u, billing.subscription_plans p where p.code = 'bench' and u.id < ${id(1, "500")};
    select private.grant_tokens(id, 1000000000000, 'manual', null, 1, null, null, 'bench') from identity.users;
    create schema bench;
    ${bareLedger("select id from identity.users")}
    grant usage on schema bench to plinth_service;
    grant execute on all functions in schema bench to plinth_service;
    grant execute on function plinth.uuid_v7() to plinth_service;
    grant select, insert, update on all tables in schema bench to plinth_service;

    insert into rooms.chat_rooms (id, creator_id, name, last_sequence, last_event_sequence)
      select ${id(4, "r")}, ${id(1, `case r when 0 then ${ROOMS} else r end`)}, 'Room ' || r, ${MESSAGES_PER_ROOM}, ${MESSAGES_PER_ROOM}
      from generate_series(0, ${ROOMS - 1}) r;
    insert into rooms.room_members (room_id, user_id, role, last_read_sequence)
      select ${id(4, `u % ${ROOMS}`)}, ${id(1, "u")}, case when u <= ${ROOMS} then 'creator' else 'member' end, ${MESSAGES_PER_ROOM} - u % 40
      from generate_series(1, ${USERS}) u;
    insert into rooms.room_messages (room_id, sender_id, content, sequence, event_sequence, sender_sequence, created_at)
      select ${id(4, "r")}, ${id(1, `case r when 0 then ${ROOMS} else r end + ${ROOMS} * (m % ${MEMBERS_PER_ROOM})`)},
        'Message ' || m || ' of the usual length, such as people write to each other.', m, m, 1 + m / ${MEMBERS_PER_ROOM},
        now() - (${MESSAGES_PER_ROOM} - m) * interval '1 minute'
      from generate_series(0, ${ROOMS - 1}) r, generate_series(1, ${MESSAGES_PER_ROOM}) m`);
  for (const table of TABLES) await owner.query(`alter table ${table} enable trigger user`);
  await owner.query("commit");
  await owner.query("vacuum analyze");
}
