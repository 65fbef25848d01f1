import { RBAC_MODEL } from "../access-probes/casbin-model.ts";
import type { Probe } from "../access-probes/probe.ts";

// Probes of single parts of policies, which few rows of the seed tell apart.

const DENIED = "42501";

/** Tables of which users see only rows of their own, besides those that other tests of the table name. */
const OWN_ROWS = [
  "access.user_model_access",
  "billing.daily_usage",
  "billing.payments",
  "billing.provider_customers",
  "billing.subscription_changes",
  "billing.token_grants",
  "billing.token_holds",
  "billing.usage_events",
  "billing.usage_tracking",
  "billing.user_subscriptions",
  "identity.account_deletions",
  "identity.api_tokens",
  "identity.consents",
  "identity.data_exports",
  "identity.mfa_factors",
  "identity.oauth_profiles",
  "identity.user_sessions",
  "learning.content_consumption",
  "learning.content_progress",
  "learning.content_ratings",
  "learning.skill_evidence",
  "learning.training",
  "learning.user_content_permissions",
  "learning.user_skills",
  "llm.conversation_memories",
  "llm.memories",
  "llm.message_attachments",
  "llm.message_deltas",
  "llm.message_feedback",
  "llm.messages",
  "llm.user_prompts",
  "plinth.external_ids",
  "rooms.user_blocks",
  "security.audit_trail",
  "security.login_attempts",
];

const hasRole = (user: string, role: string) =>
  `insert into access.user_roles (user_id, role_id) select u.id, r.id from identity.users u, access.roles r
   where u.username = '${user}' and r.role_name = '${role}'`;
const ADA_IS_SPARE = hasRole("ada", "spare");
const ROLES_MANAGER_IS_ADMIN = hasRole("manage_roles", "admin");
/** A role and a permission of the same id; users with manage_roles hold the permission. */
const NEW_ROLE = `insert into access.roles (id, role_name) values (:new, 'new');
  insert into access.permissions (id, permission_name) values (:new, 'new');
  insert into access.role_permissions (role_id, permission_id) select id, :new from access.roles where role_name = 'manage_roles'`;
const PUBLIC_MESSAGE_ELSEWHERE =
  "insert into rooms.room_messages (room_id, sender_id, content, is_private) values (:closed, :bob, 'x', false)";
const ADA_JOINED_LATE = "update rooms.room_members set visible_after = 1000 where user_id = :ada";
const DRAFT_OF_SHOWN = "insert into learning.content_versions (item_id, version) values (:shown, 2)";
const BODY_OF_DRAFT = `${DRAFT_OF_SHOWN}; insert into learning.content_bodies (item_id, version, body) values (:shown, 2, 'x')`;
const ADA_WROTE_SHOWN = "update learning.content_items set author_id = :ada where id = :shown";

const SHARED_WITH_OTHERS =
  "insert into llm.prompts (user_id, name, content, visibility) values (:bob, 'to others', 'x', 'shared')";
const NO_MUTES = "delete from rooms.general_chat_mutes";
const changeOf = (message: string) =>
  `insert into rooms.room_changes (room_id, sequence, kind, message_id) values (:own, 999, 'message_edited', ${message})`;

/** An event of Ada's account by another user or from another place. */
const event = (actor: string, address: string) =>
  `insert into security.security_audit_log (user_id, actor_id, event_type, ip_address) values (:ada, ${actor}, 'new', ${address})`;
const change = (user: string, actor: string, address: string) =>
  `insert into security.audit_trail (user_id, actor_id, table_name, operation, row_key, transaction_number, source, ip_address)
   values (${user}, ${actor}, 'new', 'INSERT', '{}', 1, 'probe', ${address})`;

const OF_PARTS: Readonly<Record<string, readonly Probe[]>> = {
  "access.permissions": [
    ["ada", "delete from access.permissions where permission_name = 'spare'", 0, ADA_IS_SPARE],
  ],
  "access.plan_model_access": [
    ["grant_model_access", "update access.plan_model_access set model_id = :hidden", 1],
    ["grant_model_access", "delete from access.plan_model_access", 1],
  ],
  "access.role_model_access": [
    [
      "ada",
      "select from access.role_model_access where role_id = (select id from access.roles where role_name = 'user')",
      1,
    ],
    ["manage_users", "select from access.role_model_access", 0],
    ["grant_model_access", "update access.role_model_access set model_id = :hidden", 2],
    ["grant_model_access", "delete from access.role_model_access", 2],
  ],
  "access.role_permissions": [
    ["ada", "delete from access.role_permissions", 0, ADA_IS_SPARE],
    [
      "ada",
      "insert into access.role_permissions (role_id, permission_id) values (:new, (select id from access.permissions where permission_name = 'spare'))",
      DENIED,
      `${ADA_IS_SPARE}; ${NEW_ROLE}`,
    ],
    [
      "manage_roles",
      "insert into access.role_permissions (role_id, permission_id) values (:new, :new)",
      1,
      NEW_ROLE,
    ],
  ],
  "access.casbin_models": [
    [
      "manage_access_rules",
      `insert into access.casbin_models (name, definition) values ('x', '${RBAC_MODEL}')`,
      1,
    ],
    [
      "manage_access_rules",
      "delete from access.casbin_models where name = 'unused'",
      1,
      `insert into access.casbin_models (name, definition) values ('unused', '${RBAC_MODEL}')`,
    ],
  ],
  "access.casbin_rules": [
    ["manage_access_rules", "update access.casbin_rules set v2 = 'write'", 1],
    ["manage_access_rules", "delete from access.casbin_rules", 1],
  ],
  "access.roles": [
    ["manage_roles", "delete from access.roles where role_name = 'admin'", 0, ROLES_MANAGER_IS_ADMIN],
    ["manage_roles", "delete from access.roles where role_name = 'user'", 0],
    ["ada", "update access.roles set rank = 1 where role_name = 'spare'", 0, ADA_IS_SPARE],
    ["ada", "delete from access.roles where role_name = 'spare'", 0, ADA_IS_SPARE],
  ],
  "access.user_model_access": [
    [
      "grant_model_access",
      "insert into access.user_model_access (user_id, model_id) values (:ada, :hidden)",
      1,
    ],
    ["grant_model_access", "update access.user_model_access set model_id = :hidden where user_id = :bob", 1],
    ["grant_model_access", "delete from access.user_model_access", 2],
    ["ada", "update access.user_model_access set model_id = :hidden", 0],
    ["ada", "delete from access.user_model_access", 0],
  ],
  "access.user_roles": [
    [
      "manage_roles",
      "insert into access.user_roles (user_id, role_id) values (:ada, (select id from access.roles where role_name = 'manage_roles'))",
      1,
    ],
    ["manage_roles", "update access.user_roles set granted_at = now() where user_id = :bob", 1],
    [
      "ada",
      "insert into access.user_roles (user_id, role_id) values (:bob, (select id from access.roles where role_name = 'spare'))",
      DENIED,
      ADA_IS_SPARE,
    ],
    [
      "manage_roles",
      "insert into access.user_roles (user_id, role_id) values (:bob, :new)",
      DENIED,
      `${NEW_ROLE}; insert into access.role_permissions (role_id, permission_id) values (:new, :new);
       update access.user_roles set expires_at = 'tomorrow' where role_id = (select id from access.roles where role_name = 'manage_roles')`,
    ],
    ["ada", "update access.user_roles set granted_at = now()", 0],
    ["ada", "delete from access.user_roles", 0],
    ["manage_users", "delete from access.user_roles", 0],
  ],
  "billing.model_prices": [
    ["ada as anonymous", "select from billing.model_prices", 2],
    ["manage_models", "update billing.model_prices set input_price_per_million_tokens = 2", 3],
    ["manage_models", "delete from billing.model_prices", 3],
    ["ada", "update billing.model_prices set input_price_per_million_tokens = 2", 0],
    ["ada", "delete from billing.model_prices", 0],
  ],
  "billing.plan_prices": [
    ["manage_plans", "update billing.plan_prices set provider_price_id = 'y'", 1],
    ["manage_plans", "delete from billing.plan_prices", 1],
  ],
  "billing.usage_limits": [
    ["manage_users", "update billing.usage_limits set max_tokens = 2", 4],
    ["manage_users", "delete from billing.usage_limits", 4],
    ["ada", "update billing.usage_limits set max_tokens = 2", 0],
    ["ada", "delete from billing.usage_limits", 0],
    ["userless", "select from billing.usage_limits", 0],
  ],
  "identity.consent_purposes": [
    [
      "manage_consents",
      "insert into identity.consent_purposes (name, version, title, text_url) values ('x', 1, 'x', 'https://x')",
      1,
    ],
    ["ada", "update identity.consent_purposes set title = 'x'", 0],
    ["ada", "delete from identity.consent_purposes", 0],
  ],
  "identity.user_preferences": [
    [
      "ada",
      "insert into identity.user_preferences (user_id, preference_type, preference_key, preference_value) values (:ada, 't', 'l', '1')",
      1,
    ],
    ["ada", "delete from identity.user_preferences", 1],
  ],
  "learning.content_bodies": [
    ["edit_content as anonymous", "select from learning.content_bodies", 2],
    ["visitor", "select from learning.content_bodies", 1, BODY_OF_DRAFT],
    ["ada", "select from learning.content_bodies", 3, BODY_OF_DRAFT],
    ["ada as anonymous", "select from learning.content_bodies", 1, `${ADA_WROTE_SHOWN}; ${BODY_OF_DRAFT}`],
  ],
  "learning.content_items": [
    ["edit_content", "delete from learning.content_items where id = :hidden", 1],
    [
      "visitor",
      "select from learning.content_items",
      1,
      "update learning.content_items set publish_from = '-infinity', publish_until = now() where id = :shown",
    ],
    [
      "visitor",
      "select from learning.content_items",
      2,
      "update learning.content_items set publish_until = 'infinity'",
    ],
  ],
  "learning.content_prerequisites": [
    [
      "visitor",
      "select from learning.content_prerequisites",
      1,
      "insert into learning.content_prerequisites (item_id, required_item_id) values (:granted, :hidden)",
    ],
  ],
  "learning.content_ratings": [
    ["edit_content", "insert into learning.content_ratings (item_id, rating) values (:shown, 1)", 1],
    [
      "edit_content",
      "insert into learning.content_ratings (item_id, user_id, rating) values (:granted, :bob, 1)",
      DENIED,
    ],
    ["edit_content", "update learning.content_ratings set rating = 1", 0],
    ["ada", "delete from learning.content_ratings where user_id = :ada", 1],
  ],
  "learning.content_skills": [
    ["visitor", "select from learning.content_skills where item_id = :shown", 1],
    ["edit_content", "update learning.content_skills set gain = 1", 2],
  ],
  "learning.content_versions": [
    ["visitor", "select from learning.content_versions", 2, DRAFT_OF_SHOWN],
    ["bob", "select from learning.content_versions", 2, DRAFT_OF_SHOWN],
    ["ada", "select from learning.content_versions", 3, DRAFT_OF_SHOWN],
    ["ada as anonymous", "select from learning.content_versions", 2, `${ADA_WROTE_SHOWN}; ${DRAFT_OF_SHOWN}`],
    [
      "visitor",
      "select from learning.content_versions",
      2,
      "update learning.content_versions set published_at = now() where item_id = :hidden",
    ],
  ],
  "learning.skills": [["manage_skills", "update learning.skills set is_active = true", 3]],
  "learning.user_content_permissions": [
    ["manage_content_access", "update learning.user_content_permissions set permission = 'allow'", 2],
    ["ada", "update learning.user_content_permissions set permission = 'allow'", 0],
    ["ada", "delete from learning.user_content_permissions", 0],
  ],
  "llm.chats": [
    ["ada", "insert into llm.chats default values", 1],
    ["ada", "delete from llm.chats", 1],
  ],
  "llm.messages": [
    [
      "ada",
      "insert into llm.messages (chat_id, user_id, role, model_id) values (:ada, :ada, 'assistant', :granted)",
      1,
    ],
  ],
  "llm.model_providers": [
    ["ada as anonymous", "select from llm.model_providers", 2],
    ["visitor", "select from llm.model_providers", 0, "update llm.model_providers set is_active = false"],
    ["manage_models", "update llm.model_providers set name = name || 'x'", 3],
    [
      "manage_models",
      "delete from llm.model_providers where name = 'x'",
      1,
      "insert into llm.model_providers (name) values ('x')",
    ],
  ],
  "llm.models": [
    ["ada as anonymous", "select from llm.models", 2],
    ["manage_models", "update llm.models set display_name = 'x'", 3],
    ["manage_models", "delete from llm.models where id = :hidden", 1],
  ],
  "llm.prompt_shares": [
    ["bob", "select from llm.prompt_shares", 2],
    ["bob", "update llm.prompt_shares set prompt_id = prompt_id", 2],
    ["bob", "delete from llm.prompt_shares", 2],
  ],
  "llm.prompts": [
    ["ada", "update llm.prompts set content = 'y'", 1],
    ["edit_content", "update llm.prompts set content = 'y'", 1],
    ["edit_content", "insert into llm.prompts (user_id, name, content) values (:bob, 'x', 'x')", DENIED],
    ["ada", "select from llm.prompts", 4, SHARED_WITH_OTHERS],
    ["visitor", "select from llm.prompts", 2, SHARED_WITH_OTHERS],
  ],
  "rooms.chat_rooms": [
    ["ada", "insert into rooms.chat_rooms (id, name) values (:own, 'x')", DENIED],
    ["ada", "insert into rooms.chat_rooms (id, name) values (:new, 'x')", DENIED],
  ],
  "rooms.general_chat_messages": [["userless", "select from rooms.general_chat_messages", 0]],
  "rooms.general_chat_mutes": [
    ["moderate_general_chat", "update rooms.general_chat_mutes set reason = 'x'", 2],
    ["moderate_general_chat", "select from rooms.general_chat_mutes where user_id in (:ada, :bob)", 2],
    ["moderate_general_chat", "insert into rooms.general_chat_mutes (user_id) values (:bob)", 1, NO_MUTES],
    ["ada", "insert into rooms.general_chat_mutes (user_id) values (:bob)", DENIED, NO_MUTES],
    [
      "moderate_general_chat",
      "insert into rooms.general_chat_mutes (user_id) values ((select id from identity.users where username = 'moderate_general_chat'))",
      DENIED,
      NO_MUTES,
    ],
  ],
  "rooms.presence": [
    [
      "ada",
      "select from rooms.presence",
      1,
      "update rooms.presence set expires_at = '-infinity' where user_id = :bob",
    ],
    ["edit_content", "select from rooms.presence", 1],
  ],
  "rooms.room_answers": [
    [
      "ada",
      "select from rooms.room_answers",
      0,
      "update rooms.chat_rooms set audience_version = audience_version + 1 where id = :own",
    ],
  ],
  "rooms.room_bans": [
    ["ada", "insert into rooms.room_bans (room_id, user_id) values (:own, :new)", "23503"],
    ["ada", "insert into rooms.room_bans (room_id, user_id) values (:closed, :new)", DENIED],
    ["ada", "update rooms.room_bans set reason = 'x'", 1],
  ],
  "rooms.room_changes": [
    ["ada", "select from rooms.room_changes where room_id = :own", 3],
    ["ada", "select from rooms.room_changes where room_id <> :own", 0],
    ["ada", "select from rooms.room_changes", 3, changeOf(":hidden")],
    ["ada", "select from rooms.room_changes", 4, changeOf(":said")],
    ["ada", "select from rooms.room_changes", 0, ADA_JOINED_LATE],
  ],
  "rooms.room_invites": [
    ["ada", "select from rooms.room_invites where room_id = :own", 1],
    ["ada", "select from rooms.room_invites where room_id = :asked", 1],
    ["bob", "select from rooms.room_invites", 3],
  ],
  "rooms.room_members": [["ada", "select from rooms.room_members where room_id = :own", 3]],
  "rooms.room_message_mentions": [
    ["ada", "select from rooms.room_message_mentions where message_id = :said", 1],
  ],
  "rooms.room_message_reactions": [
    ["ada", "select from rooms.room_message_reactions where message_id = :said", 1],
  ],
  // A recipient who is not a member any more, and thus cannot see the message.
  "rooms.room_message_recipients": [["manage_users", "select from rooms.room_message_recipients", 3]],
  "rooms.room_message_revisions": [
    ["ada", "select from rooms.room_message_revisions where author_id = :ada", 1],
    ["ada", "select from rooms.room_message_revisions where message_id = :said", 1],
    [
      "bob",
      "select from rooms.room_message_revisions where message_id = :said",
      1,
      "insert into rooms.room_message_revisions (message_id, revision, author_id, change, content) values (:said, 2, :ada, 'edited', 'x')",
    ],
  ],
  "rooms.room_messages": [
    ["ada", "select from rooms.room_messages where id in (:said, :whispered)", 2],
    ["manage_users", "select from rooms.room_messages where id = :whispered", 1],
    ["ada", "select from rooms.room_messages", 2, PUBLIC_MESSAGE_ELSEWHERE],
    ["ada", "select from rooms.room_messages", 0, ADA_JOINED_LATE],
    [
      "ada",
      "select from rooms.room_messages",
      1,
      "insert into rooms.user_blocks (user_id, blocked_id) values (:ada, :bob)",
    ],
  ],
  "security.audit_trail": [
    ["ada", "select from security.audit_trail where table_name = 'probe' and actor_id = :ada", 1],
    ["ada", "select from security.audit_trail where table_name = 'new'", 0, change(":bob", ":ada", "null")],
    ["ada", "select from security.audit_trail where table_name = 'new'", 1, change(":ada", ":bob", "null")],
    [
      "ada",
      "select from security.audit_trail where table_name = 'new'",
      1,
      change(":ada", ":ada", "'192.0.2.1'"),
    ],
  ],
  "security.security_audit_log": [
    [
      "ada",
      "select from security.security_audit_log where event_type = 'new'",
      1,
      event("null", "'192.0.2.1'"),
    ],
    [
      "ada",
      "select from security.security_audit_log where event_type = 'new'",
      1,
      event(":ada", "'192.0.2.1'"),
    ],
    ["ada", "select from security.security_audit_log where event_type = 'new'", 1, event(":bob", "null")],
  ],
};

/** The probes of a table's parts. */
export function probesOfParts(table: string): readonly Probe[] {
  const own: Probe[] = OWN_ROWS.includes(table)
    ? [["ada", `select from ${table} where user_id <> :ada`, 0]]
    : [];
  return [...(OF_PARTS[table] ?? []), ...own];
}

/** The tables that have such probes. */
export const TABLES_WITH_PARTS: readonly string[] = [...OWN_ROWS, ...Object.keys(OF_PARTS)];
