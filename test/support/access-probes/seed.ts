import { RBAC_MODEL } from "./casbin-model.ts";

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
