// The promises of the row policies, as statements that anyone can run: actor, action, outcome. The start of an access
// contract; test/schema/policy-mutation.test.ts proves that no policy can be broken without a failing probe.
// Column grants are lifted while probes run, so that only the policies decide.

/**
 * visitor; userless, for a token without a user; ada, who owns one of everything; or a user with one permission, named
 * after it. "ada as anonymous" has the claims of a user and the role of a visitor.
 */
type Actor = "visitor" | "ada" | string;
/** Rows seen or changed, or the SQLSTATE of the error. */
export type Outcome = number | string;
/** `given` changes rows first, as the administrator. */
export type Probe = readonly [actor: Actor, sql: string, expected: Outcome, given?: string];

/** Stand for ids in the SQL below. */
export const IDS: Readonly<Record<string, string>> = {
  ada: "00000000-0000-7000-8000-00000000000a",
  bob: "00000000-0000-7000-8000-00000000000b",
  new: "00000000-0000-7000-8000-00000000000f",
  shown: "00000000-0000-7000-8000-000000000010",
  granted: "00000000-0000-7000-8000-000000000011",
  hidden: "00000000-0000-7000-8000-000000000012",
  own: "00000000-0000-7000-8000-000000000020",
  lobby: "00000000-0000-7000-8000-000000000021",
  asked: "00000000-0000-7000-8000-000000000022",
  closed: "00000000-0000-7000-8000-000000000023",
  said: "00000000-0000-7000-8000-000000000024",
  whispered: "00000000-0000-7000-8000-000000000025",
  chief: "00000000-0000-7000-8000-000000000027",
  elsewhere: "00000000-0000-7000-8000-000000000026",
};

/** Replaces the names with ids. */
export const withIds = (sql: string): string =>
  sql.replace(/(?<!:):([a-z]+)\b/g, (_, name: string) => `'${IDS[name]}'`);

/** A model of Casbin: roles with permissions. */
export const RBAC_MODEL = `[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
`;

/** Ada and Bob own one row of each table; one model is public, one granted to both, one to neither. */
export const SEED = `
  insert into identity.users (id, username) values (:ada, 'ada'), (:bob, 'bob');
  insert into identity.users (username) select permission_name from access.permissions;
  insert into access.roles (role_name) select permission_name from access.permissions union select 'spare';
  insert into access.role_permissions (role_id, permission_id)
    select r.id, p.id from access.roles r join access.permissions p on p.permission_name = r.role_name;
  insert into access.user_roles (user_id, role_id)
    select u.id, r.id from identity.users u join access.roles r on r.role_name = u.username
    union all select u.id, r.id from identity.users u, access.roles r
      where u.username in ('ada', 'bob', 'manage_roles') and r.role_name = 'user';
  insert into access.permissions (permission_name) values ('spare');
  insert into access.role_permissions (role_id, permission_id)
    select r.id, p.id from access.roles r, access.permissions p where r.role_name = 'spare' and permission_name = 'spare';
  insert into access.role_permissions (role_id, permission_id)
    select r.id, p.id from access.roles r, access.permissions p where r.role_name = 'manage_roles' and permission_name = 'spare';
  insert into access.casbin_models (definition) values ('${RBAC_MODEL}');
  insert into access.casbin_rules (ptype, v0, v1, v2) values ('p', 'reader', 'report', 'read');
  insert into identity.user_settings (user_id) values (:ada), (:bob);
  insert into identity.user_security_settings (user_id) values (:ada), (:bob);
  insert into identity.user_preferences (user_id, preference_type, preference_key, preference_value)
    values (:ada, 't', 'k', '1'), (:bob, 't', 'k', '1');
  insert into plinth.external_ids (system, relation, external_id, row_id, user_id)
    values ('probe', 'users', '1', :ada, :ada), ('probe', 'users', '2', :bob, :bob);
  insert into identity.user_sessions (user_id) values (:ada), (:bob);
  insert into identity.api_tokens (user_id, name, token_prefix, scopes, expires_at)
    select id, 't', 'pla_xxxxxxxx', '{read}', now() + interval '1 day' from identity.users where username in ('ada', 'bob');
  insert into identity.consent_purposes (name, version, title, text_url, published_at)
    values ('terms', 1, 'Terms', 'https://example.com/1', now()), ('terms', 2, 'Terms', 'https://example.com/2', null);
  insert into identity.consents (user_id, purpose, version, granted_at)
    values (:ada, 'terms', 1, now()), (:bob, 'terms', 1, now());
  insert into identity.account_deletions (user_id, due_at, next_attempt_at)
    values (:ada, now() + interval '1 day', now() + interval '1 day'), (:bob, now() + interval '1 day', now() + interval '1 day');
  insert into identity.data_exports (user_id) values (:ada), (:bob);
  insert into identity.mfa_factors (user_id, kind, name) values (:ada, 'totp', 'x'), (:bob, 'totp', 'x');
  insert into identity.oauth_profiles (user_id, provider, provider_user_id) values (:ada, 'p', 'ada'), (:bob, 'p', 'bob');
  insert into security.login_attempts (user_id, status) values (:ada, 'success'), (:bob, 'success');
  insert into security.security_audit_log (user_id, event_type) values (:ada, 'probe'), (:bob, 'probe');
  insert into security.security_audit_log (user_id, actor_id, event_type, ip_address)
    values (:ada, :bob, 'probe_of_another', '192.0.2.2');
  insert into security.audit_trail (user_id, actor_id, table_name, operation, row_key, transaction_number, source, ip_address) values
    (:ada, :ada, 'probe', 'INSERT', '{}', 1, 'probe', '192.0.2.1'), (:ada, :bob, 'probe', 'INSERT', '{}', 1, 'probe', '192.0.2.2');
  insert into security.error_logs (id, user_id, message, error_code, source)
    values (:ada, :ada, 'probe', 'probe', 'probe'), (:bob, :bob, 'probe', 'probe', 'probe');
  insert into security.personal_data_reads (read_id, user_id, actor_id, origin, source, relations, subject_count)
    values (:own, :ada, :bob, 'api', 'probe', '{identity.users}', 1), (:own, :bob, :ada, 'api', 'probe', '{identity.users}', 1);
  insert into security.archives (log, month, state) values ('security.login_attempts', '2020-01-01', 'dropped');
  insert into security.legal_holds (user_id, reason, released_at) values (:bob, 'probe', now());
  insert into security.erasure_certificates (id, subject, salt, requested_by, statement, statement_sha256)
    values (:shown, 'probe', 'probe', 'self', '{}', repeat('0', 64));
  insert into llm.model_providers (id, name) values (:shown, 'shown'), (:granted, 'granted'), (:hidden, 'hidden');
  insert into llm.models (id, provider_id, name, display_name, is_public)
    select id, id, name, name, name = 'shown' from llm.model_providers;
  insert into billing.model_prices (model_id, input_price_per_million_tokens, output_price_per_million_tokens)
    select id, 1, 1 from llm.models;
  insert into billing.plan_prices (plan_id, provider, provider_price_id)
    select id, 'probe', 'price' from billing.subscription_plans where code = 'premium';
  insert into billing.provider_customers (provider, provider_customer_id, user_id)
    values ('probe', 'ada', :ada), ('probe', 'bob', :bob);
  insert into billing.user_subscriptions
    (id, user_id, plan_id, status, started_at, anchor_at, current_period_start, quota_period_start, quota_period_end)
    select u.id, u.id, p.id, 'active', now(), now(), now(), now(), now() + interval '1 month'
    from identity.users u, billing.subscription_plans p where u.username in ('ada', 'bob') and p.code = 'premium';
  insert into billing.subscription_changes (subscription_id, user_id, event, to_status, to_plan_id, currency, effective_at)
    select id, user_id, 'started', 'active', plan_id, 'USD', now() from billing.user_subscriptions;
  insert into billing.payments (user_id, provider, provider_payment_id, amount_cents, currency)
    values (:ada, 'probe', 'ada', 1, 'USD'), (:bob, 'probe', 'bob', 1, 'USD');
  insert into access.user_model_access (user_id, model_id) values (:ada, :granted), (:bob, :granted);
  insert into access.role_model_access (role_id, model_id)
    select id, :granted from access.roles where role_name in ('user', 'spare');
  insert into access.plan_model_access (plan_code, model_id) values ('premium', :granted);
  insert into llm.prompts (user_id, name, content) values (null, 'library', 'x'), (:ada, 'own', 'x'), (:bob, 'own', 'x');
  insert into llm.user_prompts (user_id, prompt_id)
    select u.id, p.id from identity.users u, llm.prompts p where u.username in ('ada', 'bob') and p.name = 'library';
  insert into llm.chats (id, user_id) values (:ada, :ada), (:bob, :bob);
  insert into llm.prompts (id, user_id, name, content, visibility) values
    (:granted, :bob, 'lent', 'x', 'shared'), (:shown, :bob, 'shown', 'x', 'public'), (:hidden, :bob, 'not lent', 'x', 'private');
  insert into llm.prompt_shares (prompt_id, owner_id, user_id) values (:granted, :bob, :ada), (:hidden, :bob, :ada);
  insert into llm.prompt_labels (prompt_id, label, version) select id, 'production', 1 from llm.prompts;
  insert into llm.messages (id, chat_id, user_id, role) values (:ada, :ada, :ada, 'assistant'), (:bob, :bob, :bob, 'assistant');
  insert into llm.message_feedback (message_id, user_id, chat_id, rating) values (:ada, :ada, :ada, 'up'), (:bob, :bob, :bob, 'up');
  insert into llm.message_attachments (message_id, user_id, chat_id, position, url, mime_type, size_bytes, name)
    select id, id, id, 1, 'https://example.com/a.png', 'image/png', 1, 'a.png' from llm.messages;
  insert into private.turns (message_id, user_id, chat_id, writer, lease, lease_expires_at, max_tokens, input_tokens)
    select id, id, id, 'client', '1 minute', now(), 1, 0 from llm.messages;
  insert into llm.message_deltas (message_id, user_id, sequence, content) select id, id, 1, 'x' from llm.messages;
  insert into private.user_keys (id, user_id, wrapped_key)
    select id, id, 'v1.' || repeat('A', 40) from identity.users where id in (:ada, :bob);
  insert into llm.conversation_memories (user_id, key_id, memory) values (:ada, :ada, 'gAAAAA=='), (:bob, :bob, 'gAAAAA==');
  insert into llm.memories (id, user_id, key_id, content, word_hashes)
    select id, user_id, id, 'gAAAAA==', array[repeat('A', 16)] from private.user_keys;
  insert into learning.content_categories (id, slug, name) values (:shown, 'shown', 'x'), (:hidden, 'hidden', 'x');
  insert into learning.content_items (id, category_id, slug, content_type, title, author_id, required_access_level, is_preview) values
    (:shown, :shown, 'shown', 'lesson', 'x', null, 0, true), (:granted, :shown, 'granted', 'lesson', 'x', null, 1, false),
    (:hidden, :shown, 'hidden', 'lesson', 'x', :ada, 0, false);
  insert into learning.content_versions (item_id, version) select id, 1 from learning.content_items;
  insert into learning.content_bodies (item_id, version, body) select id, 1, 'x' from learning.content_items;
  update learning.content_versions set published_at = now() where item_id <> :hidden;
  update learning.content_items set current_version = 1, publish_from = now() where id <> :hidden;
  insert into learning.content_prerequisites (item_id, required_item_id) values (:granted, :shown), (:hidden, :shown);
  insert into learning.content_ratings (item_id, user_id, rating) values (:shown, :ada, 5), (:shown, :bob, 4);
  insert into learning.user_content_permissions (user_id, item_id, permission, waives_prerequisites)
    values (:ada, :granted, 'allow', true), (:bob, :granted, 'deny', false);
  select private.grant_tokens(u, 100, 'manual', null, 1, null, null, 'g') from unnest(array[:ada, :bob]::uuid[]) u;
  select private.settle_hold((private.reserve_tokens(u, :shown, 10, 'h')).id, 1, 1) from unnest(array[:ada, :bob]::uuid[]) u;
  insert into billing.usage_limits (user_id, model_id, period, max_tokens)
    values (:ada, null, 'day', 1), (:bob, null, 'day', 1), (null, :shown, 'day', 1), (null, :hidden, 'day', 1);
  insert into rooms.chat_rooms (id, name, is_public)
    values (:own, 'o', false), (:lobby, 'l', true), (:asked, 'a', false), (:closed, 'c', false);
  insert into rooms.room_members (room_id, user_id, role)
    values (:own, :ada, 'creator'), (:own, :bob, 'member'), (:lobby, :bob, 'creator'), (:asked, :bob, 'creator'),
      (:closed, :bob, 'creator'), (:own, (select id from identity.users where username = 'manage_users'), 'member');
  insert into rooms.room_messages (id, room_id, sender_id, content, is_private)
    values (:said, :own, :bob, 'x', false), (:whispered, :own, :ada, 'x', true), (:elsewhere, :closed, :bob, 'x', true),
      (:hidden, :own, :bob, 'x', true);
  insert into rooms.room_message_recipients (message_id, user_id)
    select m.id, u.id from rooms.room_messages m, identity.users u where m.is_private and u.username = 'manage_users';
  insert into rooms.room_message_mentions (message_id, user_id) values (:said, :ada), (:elsewhere, :bob);
  insert into rooms.room_message_reactions (message_id, user_id, emoji) values (:said, :ada, '+'), (:elsewhere, :bob, '+');
  insert into rooms.room_message_revisions (message_id, revision, author_id, change, content)
    values (:said, 1, :bob, 'edited', 'x'), (:elsewhere, 1, :ada, 'edited', 'x'), (:elsewhere, 2, :bob, 'edited', 'x');
  insert into rooms.room_invites (room_id, inviter_id, invitee_id)
    values (:asked, :bob, :ada), (:own, :bob, (select id from identity.users where username = 'manage_users')),
      (:closed, :bob, (select id from identity.users where username = 'manage_users'));
  insert into rooms.room_bans (room_id, user_id)
    select r.id, u.id from rooms.chat_rooms r, identity.users u where r.name in ('o', 'c') and u.username = 'delete_user';
  insert into rooms.user_blocks (user_id, blocked_id)
    select a.id, b.id from identity.users a, identity.users b where a.username in ('ada', 'bob') and b.username = 'manage_users';
  insert into rooms.general_chat_messages (id, sender_id, content)
    select id, id, 'x' from identity.users where username in ('ada', 'bob', 'manage_users');
  insert into rooms.general_chat_revisions (message_id, revision, author_id, change, content)
    values (:ada, 1, :ada, 'edited', 'x'), (:bob, 1, :bob, 'edited', 'x');
  insert into rooms.general_chat_mutes (user_id) values (:ada), (:bob);
  insert into rooms.general_chat_mutes (user_id) select id from identity.users where username = 'moderate_general_chat';
  insert into rooms.typing (room_id, user_id, expires_at)
    select room_id, user_id, case when user_id = :ada then '-infinity' else 'infinity' end::timestamptz from rooms.room_members;
  insert into rooms.presence (user_id, status, expires_at)
    select id, 'online', 'infinity' from identity.users;
  insert into rooms.room_answers (room_id, reply_to_id, audience_version, first_sequence, last_sequence)
    select id, :said, audience_version, 1, 1 from rooms.chat_rooms where id in (:own, :lobby);
  insert into identity.users (id, username) values (:chief, 'chief');
  insert into access.user_roles (user_id, role_id) select :chief, id from access.roles where role_name = 'manage_users';
  insert into learning.skills (id, skill_name, is_active) values (:shown, 'shown', true), (:granted, 'granted', true), (:hidden, 'hidden', false);
  insert into learning.user_skills (user_id, skill_id, level) values (:ada, :shown, 1), (:bob, :shown, 1);
  insert into learning.training (user_id, skill_id) values (:ada, :shown), (:bob, :shown);
  insert into learning.content_skills (item_id, skill_id) values (:shown, :shown), (:hidden, :shown);
  insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
    values (:ada, :shown, 1, now(), now()), (:bob, :shown, 1, now(), now());
  insert into learning.content_consumption (user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered)
    values (:ada, :shown, 1, now(), now(), 1, 1, '{}'), (:bob, :shown, 1, now(), now(), 1, 1, '{}');
`;

const DENIED = "42501";

/** Ada reads and changes her row of two, and can neither reach Bob's nor make hers his. */
const own = (table: string, set: string): Probe[] => [
  ["ada", `select from ${table}`, 1],
  ["ada", `update ${table} set ${set}`, 1],
  ["ada", `update ${table} set user_id = :new`, DENIED],
];

/** Everyone reads; only the permission inserts, updates and deletes. */
const managed = (table: string, where: string, insert: string, update?: string): Probe[] => [
  ["ada", `select from ${table} where ${where}`, 1],
  ["ada", `insert into ${table} ${insert}`, DENIED],
  ["manage_roles", `insert into ${table} ${insert}`, 1],
  ["ada", `delete from ${table} where ${where}`, 0],
  ["manage_roles", `delete from ${table} where ${where}`, 1],
  ...(update
    ? ([
        ["ada", `update ${table} set ${update} where ${where}`, 0],
        ["manage_roles", `update ${table} set ${update} where ${where}`, 1],
      ] as const)
    : []),
];

/** Visitors see public rows, users also granted ones; the permission sees and writes all. */
const catalogue = (table: string, insert: string): Probe[] => [
  ["visitor", `select from ${table}`, 1],
  ["ada", `select from ${table}`, 2],
  ["manage_models", `select from ${table}`, 3],
  ["ada", `insert into ${table} ${insert}`, DENIED],
  ["manage_models", `insert into ${table} ${insert}`, 1],
];

/** Users read their own rows, auditors all. */
const log = (table: string, where: string): Probe[] => [
  ["ada", `select from ${table} where ${where}`, 1],
  ["view_audit_log", `select from ${table} where ${where}`, 2],
];

/** Auditors read, the permission to manage security also changes, other users see nothing. */
const rules = (table: string, where: string): Probe[] => [
  ["ada", `select from ${table} where ${where}`, 0],
  ["view_audit_log", `select from ${table} where ${where}`, 1],
  ["manage_security", `select from ${table} where ${where}`, 1],
  ["view_audit_log", `update ${table} set is_enabled = false where ${where}`, 0],
  ["manage_security", `update ${table} set is_enabled = false where ${where}`, 1],
];

/** Users read their own row of two; the permission to manage subscriptions reads both. */
const billed = (table: string): Probe[] => [
  ["ada", `select from ${table}`, 1],
  ["manage_subscriptions", `select from ${table}`, 2],
];

const NEW_PLAN = "insert into billing.subscription_plans (code, plan_name, price_cents) values ('x', 'x', 1)";
const NEW_PRICE =
  "insert into billing.plan_prices (plan_id, provider, provider_price_id) select id, 'x', 'x' from billing.subscription_plans where code = 'free'";

/** Users read their own rows, trainers all. */
const practised = (table: string): Probe[] => [
  ["ada", `select from ${table}`, 1],
  ["manage_skills", `select from ${table}`, 2],
];

const ROLE = (name: string) => `select :ada, id from access.roles where role_name = '${name}'`;
const ROLE_MODEL = "select id, :hidden from access.roles where role_name = 'user'";

const ids =
  "(select id from access.roles where role_name = 'user'), (select id from access.permissions where permission_name = 'spare')";

export const PROBES: Readonly<Record<string, readonly Probe[]>> = {
  "identity.users": [
    ["ada", "select from identity.users", 1],
    ["manage_users", "select from identity.users where username in ('ada', 'bob')", 2],
    ["delete_user", "select from identity.users where username in ('ada', 'bob')", 2],
    ["ada", "update identity.users set profile_data = '{}'", 1],
    ["ada", "update identity.users set id = :new", DENIED],
    ["ada", "delete from identity.users where username = 'ada'", 0],
    ["delete_user", "delete from identity.users where username = 'bob'", 1],
    ["delete_user", "delete from identity.users where username = 'manage_users'", 0],
  ],
  "identity.user_settings": own("identity.user_settings", "display_name = 'x'"),
  "identity.user_security_settings": own("identity.user_security_settings", "session_timeout_minutes = 5"),
  "identity.user_preferences": own("identity.user_preferences", "confidence = 0"),
  "plinth.external_ids": [["ada", "select from plinth.external_ids", 1]],
  "identity.mfa_factors": own("identity.mfa_factors", "name = 'y'"),
  "identity.user_sessions": own("identity.user_sessions", "device_name = 'x'"),
  "identity.api_tokens": [
    ["ada", "select from identity.api_tokens", 1],
    ["manage_users", "select from identity.api_tokens", 2],
  ],
  "identity.consent_purposes": [
    ["visitor", "select from identity.consent_purposes", 1],
    ["ada", "select from identity.consent_purposes", 1],
    ["manage_consents", "select from identity.consent_purposes", 2],
    [
      "ada",
      "insert into identity.consent_purposes (name, version, title, text_url) values ('x', 1, 'x', 'https://x')",
      DENIED,
    ],
    ["manage_consents", "update identity.consent_purposes set title = 'x' where version = 2", 1],
    ["manage_consents", "delete from identity.consent_purposes where version = 2", 1],
  ],
  "identity.consents": [["ada", "select from identity.consents", 1]],
  "identity.oauth_profiles": [["ada", "select from identity.oauth_profiles", 1]],
  "access.roles": [
    ...managed("access.roles", "role_name = 'spare'", "(role_name) values ('x')", "rank = 1"),
    ["manage_roles", "update access.roles set rank = 1 where role_name = 'manage_users'", 0],
    ["manage_roles", "delete from access.roles where role_name = 'manage_users'", 0],
  ],
  "access.permissions": [
    ...managed(
      "access.permissions",
      "permission_name = 'spare'",
      "(permission_name) values ('x')",
      "description = 'x'",
    ),
    ["manage_roles", "delete from access.permissions where permission_name = 'manage_users'", 0],
  ],
  "access.role_permissions": [
    ...managed(
      "access.role_permissions",
      "role_id = (select id from access.roles where role_name = 'spare')",
      `values (${ids})`,
    ),
    [
      "manage_roles",
      `insert into access.role_permissions values (${ids.replace("spare", "manage_users")})`,
      DENIED,
    ],
    [
      "manage_roles",
      "delete from access.role_permissions where role_id = (select id from access.roles where role_name = 'manage_users')",
      0,
    ],
  ],
  "access.user_roles": [
    ["ada", "select from access.user_roles", 1],
    ["manage_users", "select from access.user_roles where user_id in (:ada, :bob)", 2],
    ["manage_roles", "select from access.user_roles where user_id in (:ada, :bob)", 2],
    [
      "ada",
      "insert into access.user_roles (user_id, role_id) select :ada, id from access.roles where role_name = 'spare'",
      DENIED,
    ],
    [
      "manage_users",
      "insert into access.user_roles (user_id, role_id) select :ada, id from access.roles where role_name = 'spare'",
      DENIED,
    ],
    ["manage_roles", "delete from access.user_roles where user_id = :bob", 1],
    ["manage_roles", "delete from access.user_roles where user_id = :chief", 0],
    ["manage_roles", `insert into access.user_roles (user_id, role_id) ${ROLE("spare")}`, 1],
    ["manage_roles", `insert into access.user_roles (user_id, role_id) ${ROLE("manage_users")}`, DENIED],
    ["manage_roles", "update access.user_roles set reason = 'x' where user_id = :bob", 1],
    ["manage_roles", "update access.user_roles set reason = 'x' where user_id = :chief", 0],
    [
      "manage_roles",
      "update access.user_roles set role_id = (select id from access.roles where role_name = 'manage_users') where user_id = :bob",
      DENIED,
    ],
  ],
  "access.user_model_access": [
    ["ada", "select from access.user_model_access", 1],
    ["grant_model_access", "select from access.user_model_access", 2],
    ["ada", "insert into access.user_model_access (user_id, model_id) values (:ada, :hidden)", DENIED],
  ],
  "access.role_model_access": [
    ["ada", "select from access.role_model_access", 1],
    ["grant_model_access", "select from access.role_model_access", 2],
    ["ada", `insert into access.role_model_access (role_id, model_id) ${ROLE_MODEL}`, DENIED],
    ["grant_model_access", `insert into access.role_model_access (role_id, model_id) ${ROLE_MODEL}`, 1],
  ],
  "access.plan_model_access": [
    ["ada", "select from access.plan_model_access", 0],
    ["grant_model_access", "select from access.plan_model_access", 1],
    ["ada", "insert into access.plan_model_access (plan_code, model_id) values ('free', :hidden)", DENIED],
    [
      "grant_model_access",
      "insert into access.plan_model_access (plan_code, model_id) values ('free', :hidden)",
      1,
    ],
  ],
  "access.casbin_models": [
    ["ada", "select from access.casbin_models", 0],
    ["manage_access_rules", "select from access.casbin_models", 1],
    ["ada", `insert into access.casbin_models (name, definition) values ('x', '${RBAC_MODEL}')`, DENIED],
    ["manage_access_rules", "update access.casbin_models set description = 'x'", 1],
  ],
  "access.casbin_rules": [
    ["ada", "select from access.casbin_rules", 0],
    ["manage_access_rules", "select from access.casbin_rules", 1],
    ["ada", "insert into access.casbin_rules (ptype, v0, v1, v2) values ('p', 'x', 'x', 'x')", DENIED],
    ["manage_access_rules", "insert into access.casbin_rules (ptype, v0, v1) values ('g', 'x', 'reader')", 1],
  ],
  "access.casbin_versions": [
    ["ada", "select from access.casbin_versions", 0],
    ["manage_access_rules", "select from access.casbin_versions", 2],
    ["view_audit_log", "select from access.casbin_versions", 2],
  ],
  "access.casbin_changes": [
    ["ada", "select from access.casbin_changes", 0],
    ["manage_access_rules", "select from access.casbin_changes", 2],
    ["view_audit_log", "select from access.casbin_changes", 2],
  ],
  "llm.model_providers": catalogue("llm.model_providers", "(name) values ('x')"),
  "llm.models": catalogue("llm.models", "(provider_id, name, display_name) values (:shown, 'x', 'x')"),
  "billing.model_prices": catalogue(
    "billing.model_prices",
    "(model_id, currency, input_price_per_million_tokens, output_price_per_million_tokens) values (:shown, 'EUR', 1, 1)",
  ),
  "billing.subscription_plans": [
    ["visitor", "select from billing.subscription_plans", 2],
    ["ada", "select from billing.subscription_plans", 2],
    ["ada", NEW_PLAN, DENIED],
    ["manage_plans", NEW_PLAN, 1],
    ["ada", "update billing.subscription_plans set plan_name = 'x'", 0],
    ["manage_plans", "update billing.subscription_plans set plan_name = 'x'", 2],
  ],
  "billing.plan_prices": [
    ["ada", "select from billing.plan_prices", 0],
    ["manage_plans", "select from billing.plan_prices", 1],
    ["ada", NEW_PRICE, DENIED],
    ["manage_plans", NEW_PRICE, 1],
  ],
  "billing.provider_customers": billed("billing.provider_customers"),
  "billing.user_subscriptions": billed("billing.user_subscriptions"),
  "billing.subscription_changes": billed("billing.subscription_changes"),
  "billing.payments": billed("billing.payments"),
  "billing.usage_tracking": [["ada", "select from billing.usage_tracking", 1]],
  "billing.token_grants": [["ada", "select from billing.token_grants", 2]], // of hers and of the free plan
  "billing.token_holds": [["ada", "select from billing.token_holds", 1]],
  "billing.usage_events": [["ada", "select from billing.usage_events", 1]],
  "billing.daily_usage": [["ada", "select from billing.daily_usage", 1]],
  "billing.usage_limits": [
    ["ada", "select from billing.usage_limits", 2],
    ["manage_users", "select from billing.usage_limits", 4],
    [
      "ada",
      "insert into billing.usage_limits (user_id, period, max_tokens) values (:ada, 'month', 1)",
      DENIED,
    ],
    [
      "manage_users",
      "insert into billing.usage_limits (user_id, period, max_tokens) values (:ada, 'month', 1)",
      1,
    ],
  ],
  "llm.prompts": [
    ["visitor", "select from llm.prompts", 2],
    // The library, her own, public and shared ones; not one that was shared once and is private now.
    ["ada", "select from llm.prompts", 4],
    ["ada", "update llm.prompts set content = 'y' where user_id = :bob", 0],
    ["ada", "delete from llm.prompts where user_id = :bob", 0],
    ["ada", "insert into llm.prompts (user_id, name, content) values (:ada, 'x', 'x')", 1],
    ["ada", "insert into llm.prompts (user_id, name, content) values (:bob, 'x', 'x')", DENIED],
    ["ada", "insert into llm.prompts (user_id, name, content) values (null, 'x', 'x')", DENIED],
    ["edit_content", "insert into llm.prompts (user_id, name, content) values (null, 'x', 'x')", 1],
    ["ada", "delete from llm.prompts", 1],
    ["edit_content", "delete from llm.prompts", 1],
  ],
  "llm.user_prompts": [["ada", "select from llm.user_prompts", 1]],
  "llm.chats": own("llm.chats", "title = 'x'"),
  "llm.messages": [
    ["ada", "select from llm.messages", 1],
    ["ada", "insert into llm.messages (chat_id, user_id, role) values (:ada, :ada, 'user')", 1],
    ["ada", "insert into llm.messages (chat_id, user_id, role) values (:bob, :bob, 'user')", DENIED],
    [
      "ada",
      "insert into llm.messages (chat_id, user_id, role, model_id) values (:ada, :ada, 'assistant', :hidden)",
      DENIED,
    ],
    ["ada", "update llm.messages set content = 'x'", 0],
    ["ada", "delete from llm.messages", 0],
  ],
  "llm.message_deltas": [["ada", "select from llm.message_deltas", 1]],
  "llm.message_attachments": [["ada", "select from llm.message_attachments", 1]],
  "llm.message_feedback": [["ada", "select from llm.message_feedback", 1]],
  "llm.prompt_versions": [
    ["visitor", "select from llm.prompt_versions", 2],
    ["ada", "select from llm.prompt_versions", 4],
  ],
  "llm.prompt_labels": [
    ["visitor", "select from llm.prompt_labels", 2],
    ["ada", "select from llm.prompt_labels", 4],
  ],
  "llm.prompt_shares": [
    ["ada", "select from llm.prompt_shares", 2],
    ["edit_content", "select from llm.prompt_shares", 0],
    [
      "ada",
      "insert into llm.prompt_shares (prompt_id, owner_id, user_id) select id, user_id, :bob from llm.prompts where user_id = :ada",
      1,
    ],
    [
      "ada",
      "insert into llm.prompt_shares (prompt_id, owner_id, user_id) values (:shown, :bob, :ada)",
      DENIED,
    ],
    ["ada", "update llm.prompt_shares set user_id = user_id", 0],
    ["ada", "delete from llm.prompt_shares where user_id = :ada", 2],
    ["edit_content", "delete from llm.prompt_shares", 0],
  ],
  "llm.conversation_memories": [["ada", "select from llm.conversation_memories", 1]],
  "llm.memories": [["ada", "select from llm.memories", 1]],
  "rooms.chat_rooms": [
    ["ada", "select from rooms.chat_rooms", 3],
    ["ada", "update rooms.chat_rooms set name = 'x'", 1],
    // Public, so that it is visible and visibility is not the reason for the rejection.
    ["ada", "update rooms.chat_rooms set id = :new, is_public = true where id = :own", DENIED],
    ["ada", "delete from rooms.chat_rooms", 1],
  ],
  "rooms.room_members": [
    ["ada", "select from rooms.room_members", 3],
    ["ada", "update rooms.room_members set is_muted = true", 1],
    ["ada", "update rooms.room_members set user_id = :new", DENIED],
  ],
  // A message by Bob and a private one by Ada; not Bob's private one, and nothing from the other room.
  "rooms.room_messages": [["ada", "select from rooms.room_messages", 2]],
  "rooms.room_message_recipients": [["ada", "select from rooms.room_message_recipients", 1]],
  "rooms.room_message_mentions": [["ada", "select from rooms.room_message_mentions", 1]],
  "rooms.room_message_reactions": [["ada", "select from rooms.room_message_reactions", 1]],
  "rooms.room_message_revisions": [["ada", "select from rooms.room_message_revisions", 2]],
  "rooms.room_changes": [["ada", "select from rooms.room_changes", 3]],
  "rooms.room_answers": [["ada", "select from rooms.room_answers", 1]],
  "rooms.room_invites": [["ada", "select from rooms.room_invites", 2]],
  "rooms.room_bans": [
    ["ada", "select from rooms.room_bans", 1],
    ["ada", "delete from rooms.room_bans", 1],
    ["ada", "update rooms.room_bans set room_id = :closed", DENIED],
  ],
  // Not her own, which has expired, nor that of a user she has blocked, nor those in other rooms.
  "rooms.typing": [["ada", "select from rooms.typing", 1]],
  // Her own and Bob's.
  "rooms.presence": [["ada", "select from rooms.presence", 2]],
  "rooms.user_blocks": [["ada", "select from rooms.user_blocks", 1]],
  "rooms.user_event_counters": [["ada", "select from rooms.user_event_counters", 1]],
  "rooms.general_chat_messages": [["ada", "select from rooms.general_chat_messages", 2]],
  "rooms.general_chat_revisions": [
    ["ada", "select from rooms.general_chat_revisions", 1],
    ["moderate_general_chat", "select from rooms.general_chat_revisions", 2],
  ],
  "identity.data_rights_settings": [
    ["ada", "select from identity.data_rights_settings", 1],
    ["ada", "update identity.data_rights_settings set deletion_grace_period = '0'", 0],
    ["manage_security", "update identity.data_rights_settings set deletion_grace_period = '0'", 1],
  ],
  "identity.account_deletions": [
    ["ada", "select from identity.account_deletions", 1],
    ["manage_users", "select from identity.account_deletions", 0],
    ["delete_user", "select from identity.account_deletions", 0],
  ],
  "identity.data_exports": [
    ["ada", "select from identity.data_exports", 1],
    ["manage_users", "select from identity.data_exports", 0],
  ],
  "rooms.general_chat_settings": [
    ["ada", "select from rooms.general_chat_settings", 1],
    ["ada", "update rooms.general_chat_settings set slow_mode_seconds = 9", 0],
    ["moderate_general_chat", "update rooms.general_chat_settings set slow_mode_seconds = 9", 1],
  ],
  "rooms.general_chat_mutes": [
    ["ada", "select from rooms.general_chat_mutes", 1],
    ["moderate_general_chat", "delete from rooms.general_chat_mutes", 2],
    ["moderate_general_chat", "insert into rooms.general_chat_mutes (user_id) values (:chief)", DENIED],
    ["ada", "update rooms.general_chat_mutes set reason = 'x'", 0],
  ],
  "learning.content_categories": [
    ["visitor", "select from learning.content_categories", 2],
    ["ada", "insert into learning.content_categories (slug, name) values ('x', 'x')", DENIED],
    ["edit_content", "insert into learning.content_categories (slug, name) values ('x', 'x')", 1],
    ["ada", "update learning.content_categories set name = 'y'", 0],
    ["edit_content", "update learning.content_categories set name = 'y'", 2],
    ["ada", "delete from learning.content_categories where slug = 'hidden'", 0],
    ["edit_content", "delete from learning.content_categories where slug = 'hidden'", 1],
  ],
  "learning.content_items": [
    ["visitor", "select from learning.content_items", 2],
    ["bob", "select from learning.content_items", 2],
    ["ada", "select from learning.content_items", 3],
    ["edit_content", "select from learning.content_items", 3],
    [
      "ada",
      "insert into learning.content_items (category_id, slug, content_type, title) values (:shown, 'x', 'lesson', 'x')",
      DENIED,
    ],
    [
      "edit_content",
      "insert into learning.content_items (category_id, slug, content_type, title) values (:shown, 'x', 'lesson', 'x')",
      1,
    ],
    ["ada", "update learning.content_items set title = 'y'", 0],
    ["edit_content", "update learning.content_items set title = 'y'", 3],
  ],
  "learning.content_versions": [
    ["visitor", "select from learning.content_versions", 2],
    ["bob", "select from learning.content_versions", 2],
    ["ada", "select from learning.content_versions", 3],
    ["edit_content", "select from learning.content_versions", 3],
  ],
  "learning.content_bodies": [
    ["visitor", "select from learning.content_bodies", 1],
    ["bob", "select from learning.content_bodies", 1],
    ["ada", "select from learning.content_bodies", 3],
    ["edit_content", "select from learning.content_bodies", 3],
  ],
  "learning.content_prerequisites": [
    ["visitor", "select from learning.content_prerequisites", 1],
    ["ada", "select from learning.content_prerequisites", 2],
    [
      "ada",
      "insert into learning.content_prerequisites (item_id, required_item_id) values (:hidden, :granted)",
      DENIED,
    ],
    [
      "edit_content",
      "insert into learning.content_prerequisites (item_id, required_item_id) values (:hidden, :granted)",
      1,
    ],
    ["ada", "delete from learning.content_prerequisites", 0],
    ["edit_content", "delete from learning.content_prerequisites", 2],
  ],
  "learning.content_ratings": [
    ...own("learning.content_ratings", "rating = 3"),
    ["edit_content", "select from learning.content_ratings", 2],
    ["ada", "insert into learning.content_ratings (item_id, user_id, rating) values (:granted, :ada, 1)", 1],
    [
      "ada",
      "insert into learning.content_ratings (item_id, user_id, rating) values (:granted, :bob, 1)",
      DENIED,
    ],
    [
      "bob",
      "insert into learning.content_ratings (item_id, user_id, rating) values (:granted, :bob, 1)",
      DENIED,
    ],
    ["ada", "delete from learning.content_ratings", 1],
    ["edit_content", "delete from learning.content_ratings", 2],
  ],
  "learning.user_content_permissions": [
    ["visitor", "select from learning.user_content_permissions", 0],
    ["ada", "select from learning.user_content_permissions", 1],
    ["manage_content_access", "select from learning.user_content_permissions", 2],
    [
      "ada",
      "insert into learning.user_content_permissions (user_id, item_id, permission) values (:ada, :shown, 'allow')",
      DENIED,
    ],
    [
      "manage_content_access",
      "insert into learning.user_content_permissions (user_id, item_id, permission) values (:ada, :shown, 'allow')",
      1,
    ],
    ["manage_content_access", "delete from learning.user_content_permissions", 2],
  ],
  "learning.skills": [
    ["visitor", "select from learning.skills", 2],
    ["ada", "select from learning.skills", 2],
    ["manage_skills", "select from learning.skills", 3],
    ["ada", "insert into learning.skills (skill_name) values ('x')", DENIED],
    ["manage_skills", "insert into learning.skills (skill_name) values ('x')", 1],
    ["manage_skills", "delete from learning.skills where id = :hidden", 1],
  ],
  "learning.user_skills": [
    ...practised("learning.user_skills"),
    ["ada", "insert into learning.user_skills (user_id, skill_id) values (:ada, :granted)", 1],
    ["ada", "insert into learning.user_skills (user_id, skill_id) values (:bob, :granted)", DENIED],
    ["ada", "insert into learning.user_skills (user_id, skill_id) values (:ada, :hidden)", DENIED],
    ["ada", "update learning.user_skills set level = 10", 0],
    ["ada", "delete from learning.user_skills", 0],
  ],
  "learning.skill_evidence": practised("learning.skill_evidence"),
  "learning.training": practised("learning.training"),
  "learning.content_skills": [
    ["visitor", "select from learning.content_skills", 1],
    ["bob", "select from learning.content_skills", 1],
    ["edit_content", "select from learning.content_skills", 2],
    ["ada", "insert into learning.content_skills (item_id, skill_id) values (:shown, :granted)", DENIED],
    ["edit_content", "insert into learning.content_skills (item_id, skill_id) values (:shown, :granted)", 1],
    ["ada", "delete from learning.content_skills", 0],
    ["edit_content", "delete from learning.content_skills", 2],
  ],
  "learning.content_progress": practised("learning.content_progress"),
  "learning.content_consumption": [
    ["ada", "select from learning.content_consumption", 1],
    ["manage_skills", "select from learning.content_consumption", 0],
  ],
  "security.login_attempts": log("security.login_attempts", "true"),
  "security.security_audit_log": [
    ...log("security.security_audit_log", "event_type = 'probe'"),
    ["ada", "select from security.security_audit_log where event_type = 'probe_of_another'", 0],
  ],
  "security.audit_trail": log("security.audit_trail", "table_name = 'probe'"),
  "security.error_logs": [
    ["ada", "select from security.error_logs", 0],
    ["view_audit_log", "select from security.error_logs", 2],
  ],
  "security.personal_data_reads": [
    ["ada", "select from security.personal_data_reads", 0],
    ["view_audit_log", "select from security.personal_data_reads", 2],
  ],
  "security.retention_policies": [
    ["ada", "select from security.retention_policies", 0],
    ["view_audit_log", "select from security.retention_policies where log = 'server_log'", 1],
    ["manage_security", "select from security.retention_policies where log = 'server_log'", 1],
    [
      "view_audit_log",
      "update security.retention_policies set kept_for = '90 days' where log = 'server_log'",
      0,
    ],
    [
      "manage_security",
      "update security.retention_policies set kept_for = '90 days' where log = 'server_log'",
      1,
    ],
  ],
  "security.column_classes": [
    ["ada", "select from security.column_classes", 0],
    [
      "view_audit_log",
      "select from security.column_classes where table_name = 'archives' and column_name = 'log'",
      1,
    ],
    [
      "manage_security",
      "select from security.column_classes where table_name = 'archives' and column_name = 'log'",
      1,
    ],
  ],
  "security.legal_holds": [
    ["ada", "select from security.legal_holds", 0],
    ["bob", "select from security.legal_holds", 0],
    ["view_audit_log", "select from security.legal_holds", 0],
    ["manage_security", "select from security.legal_holds", 1],
  ],
  "security.erasure_certificates": [
    ["ada", "select from security.erasure_certificates", 0],
    ["view_audit_log", "select from security.erasure_certificates", 1],
    ["manage_security", "select from security.erasure_certificates", 1],
  ],
  "security.archives": [
    ["ada", "select from security.archives", 0],
    ["view_audit_log", "select from security.archives", 1],
    ["manage_security", "select from security.archives", 1],
  ],
  "security.rate_limit_rules": rules("security.rate_limit_rules", "rule_name = 'login_per_address'"),
  "security.suspicious_activity_rules": rules(
    "security.suspicious_activity_rules",
    "rule_name = 'token_reuse'",
  ),
};
