--! Previous: sha1:847801617525b8c92ae56ef63fa0f01d1e9ea0d8
--! Hash: sha1:cbab359bb64eb2e2c6eb5ae2f4ec1032ec33da79
--! Message: erasure and certificates

-- Privacy: a class for each column, erasure of an account everywhere, legal holds and certificates.

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

create table security.column_classes (
  schema_name text not null,
  table_name text not null,
  column_name text not null,
  class text not null,
  primary key (schema_name, table_name, column_name),
  constraint column_classes_class_check
    check (class in ('none', 'pseudonym', 'contact', 'content', 'credential', 'financial'))
);

alter table security.column_classes enable row level security;

comment on table security.column_classes is
  E'@behavior -*\n'
  'Personal-data class of each column of Plinth''s tables, for the record of processing activities.';
comment on column security.column_classes.schema_name is 'Schema of the table.';
comment on column security.column_classes.table_name is 'Name of the table; its partitions have the same classes.';
comment on column security.column_classes.column_name is 'Name of the column.';
comment on column security.column_classes.class is 'Class of its values.';
comment on constraint column_classes_class_check on security.column_classes is
  E'@name personal_data_class\n'
  'Kind of personal data in a column.\n'
  'none: Does not describe a person.\n'
  'pseudonym: Ids, times and states of an account, which name nobody without the account.\n'
  'contact: Names, addresses, devices and networks of a person.\n'
  'content: Texts and settings that a person wrote, or that were written about a person.\n'
  'credential: Secrets of a person, and hashes of secrets.\n'
  'financial: Amounts that a person paid or owes, and references of the payment provider.';

create table security.legal_holds (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  reason text not null,
  placed_by uuid references identity.users on delete set null,
  released_by uuid references identity.users on delete set null,
  released_at timestamptz,
  created_at timestamptz not null default now(),
  constraint legal_holds_reason_check check (length(reason) between 1 and 500),
  constraint legal_holds_release_is_later check (released_at >= created_at)
);

alter table security.legal_holds enable row level security;

-- An account has one hold at a time; the trigger of its deletion looks here.
create unique index legal_holds_open_idx on security.legal_holds (user_id) where released_at is null;
create index legal_holds_user_id_idx on security.legal_holds (user_id);
create index legal_holds_placed_by_idx on security.legal_holds (placed_by);
create index legal_holds_released_by_idx on security.legal_holds (released_by);

comment on table security.legal_holds is
  E'@behavior -*\n'
  '@dataExport omit: the account may be the subject of an investigation\n'
  'One row per legal hold: an account that cannot be erased until the hold is released.';
comment on column security.legal_holds.id is 'Id (UUIDv7).';
comment on column security.legal_holds.user_id is 'The account.';
comment on column security.legal_holds.reason is 'Reason, such as the number of a case, 1 to 500 characters.';
comment on column security.legal_holds.placed_by is 'User who placed the hold; null for a command, or a deleted user.';
comment on column security.legal_holds.released_by is 'User who released the hold; null for a command, or a deleted user.';
comment on column security.legal_holds.released_at is 'Time of the release; null while the hold is in force.';
comment on column security.legal_holds.created_at is 'Time when the hold was placed.';

create table security.erasure_certificates (
  id uuid primary key,
  subject text not null,
  salt text not null,
  requested_by text not null,
  statement json not null,
  statement_sha256 text not null,
  archived_rows bigint,
  signature text,
  signed_at timestamptz,
  created_at timestamptz not null default now(),
  constraint erasure_certificates_requested_by_check
    check (requested_by in ('self', 'administrator', 'command', 'database_role')),
  constraint erasure_certificates_statement_sha256_check check (statement_sha256 ~ '^[0-9a-f]{64}$'),
  constraint erasure_certificates_is_signed_at check ((signature is null) = (signed_at is null))
);

alter table security.erasure_certificates enable row level security;

create index erasure_certificates_unsigned_idx on security.erasure_certificates (id) where signature is null;

comment on table security.erasure_certificates is
  E'@behavior -*\n'
  'One row per erased account: the deleted and cleared rows by table, and the signature. It does not name the account.';
comment on column security.erasure_certificates.id is 'Id (UUIDv7).';
comment on column security.erasure_certificates.subject is 'SHA-256 of the salt and the id of the account, in hexadecimal digits.';
comment on column security.erasure_certificates.salt is 'Random salt of the subject.';
comment on column security.erasure_certificates.requested_by is 'Requester of the erasure.';
comment on column security.erasure_certificates.statement is 'Content of the certificate: counts by table and class, keys shredded.';
comment on column security.erasure_certificates.statement_sha256 is 'SHA-256 of the statement, in hexadecimal digits.';
comment on column security.erasure_certificates.archived_rows is
  'Number of rows erased from archives; null if there are no archives, or while the erasure is pending there.';
comment on column security.erasure_certificates.signature is 'Signed certificate (JWS, RFC 7515); null until it is signed.';
comment on column security.erasure_certificates.signed_at is 'Time of the signature.';
comment on column security.erasure_certificates.created_at is 'Time of the erasure.';
comment on constraint erasure_certificates_requested_by_check on security.erasure_certificates is
  E'@name erasure_requester\n'
  'Requester of an erasure.\n'
  'self: The owner of the account.\n'
  'administrator: Another user.\n'
  'command: An operator, with plinth privacy erase.\n'
  'database_role: A role of the database, with SQL.';

create table private.archive_erasures (
  user_id uuid primary key,
  certificate_id uuid not null references security.erasure_certificates on delete cascade,
  marks text[] not null,
  rows_erased bigint not null default 0,
  requested_at timestamptz not null default now()
);

alter table private.archive_erasures enable row level security;

create index archive_erasures_certificate_id_idx on private.archive_erasures (certificate_id);

comment on table private.archive_erasures is
  E'@dataExport omit: the account is deleted\n'
  'One row per deleted account whose rows are still in archives; deleted with the last of them.';
comment on column private.archive_erasures.user_id is E'@userId keep: deleted when the archives are clean\nThe account.';
comment on column private.archive_erasures.certificate_id is 'Certificate of the erasure.';
comment on column private.archive_erasures.marks is 'Hashes by which rows are found that do not name the account''s id.';
comment on column private.archive_erasures.rows_erased is 'Number of rows erased from archives so far.';
comment on column private.archive_erasures.requested_at is 'Time of the erasure.';

create table private.erasures_in_progress (
  user_id uuid primary key,
  requested_by text not null,
  purposes text[] not null,
  marks text[] not null,
  counts jsonb not null
);

alter table private.erasures_in_progress enable row level security;

comment on table private.erasures_in_progress is
  E'@dataExport omit: exists only during the statement that deletes the account\n'
  'One row per account that the statement of the current transaction deletes.';
comment on column private.erasures_in_progress.user_id is E'@userId keep: deleted by the same statement\nThe account.';
comment on column private.erasures_in_progress.requested_by is 'Requester of the erasure.';
comment on column private.erasures_in_progress.purposes is 'Purposes of the account''s keys.';
comment on column private.erasures_in_progress.marks is 'Marks for the archives, see private.archive_erasures.';
comment on column private.erasures_in_progress.counts is 'Numbers of deleted and updated rows by table, before or during the deletion.';

-- For operators: that only an administrator's account or one with a hold fails with PL409 would tell a person of the hold.
comment on column identity.account_deletions.last_failure is
  E'@behavior -*\n@dataExport omit: it would tell of a legal hold\n'
  'SQLSTATE of the last failed attempt, and the table and constraint that prevent the deletion, if any; null if none failed.';

insert into security.column_classes (schema_name, table_name, column_name, class)
select split_part(t.name, '.', 1), split_part(t.name, '.', 2), unnest(t.columns::text[]), t.class
from (values
  ('access.casbin_changes', 'none', '{id, model_name, rule_id, version}'),
  ('access.casbin_changes', 'pseudonym', '{new_values, old_values}'),
  ('access.casbin_models', 'none', '{compiled, created_at, definition, description, name, updated_at}'),
  ('access.casbin_models', 'contact', '{created_by, updated_by}'),
  ('access.casbin_rules', 'none', '{compiled, created_at, id, is_active, model_name, ptype, updated_at}'),
  ('access.casbin_rules', 'pseudonym', '{v0, v1, v2, v3, v4, v5}'),
  ('access.casbin_rules', 'contact', '{created_by, updated_by}'),
  ('access.casbin_versions', 'none', '{created_at, version}'),
  ('access.casbin_versions', 'contact', '{created_by}'),
  ('access.casbin_versions', 'content', '{reason}'),
  ('access.permissions', 'none', '{created_at, description, id, permission_name}'),
  ('access.plan_model_access', 'none', '{expires_at, granted_at, model_id, plan_code}'),
  ('access.plan_model_access', 'pseudonym', '{granted_by}'),
  ('access.plan_model_access', 'content', '{reason}'),
  ('access.role_model_access', 'none', '{expires_at, granted_at, model_id, role_id}'),
  ('access.role_model_access', 'pseudonym', '{granted_by}'),
  ('access.role_model_access', 'content', '{reason}'),
  ('access.role_permissions', 'none', '{permission_id, role_id}'),
  ('access.roles', 'none', '{created_at, description, id, rank, requires_mfa, role_name}'),
  ('access.user_model_access', 'pseudonym', '{expires_at, granted_at, granted_by, id, is_active, model_id, user_id}'),
  ('access.user_model_access', 'content', '{reason}'),
  ('access.user_roles', 'pseudonym', '{expires_at, granted_at, granted_by, role_id, user_id}'),
  ('access.user_roles', 'content', '{reason}'),
  ('billing.daily_usage', 'none', '{currency}'),
  ('billing.daily_usage', 'pseudonym', '{cached_input_tokens, day, id, input_tokens, model_id, output_tokens,
    overdraft_tokens, reasoning_tokens, requests, self_reported_tokens, total_tokens, unpriced_tokens, user_id}'),
  ('billing.daily_usage', 'financial', '{cost}'),
  ('billing.model_prices', 'none', '{cached_input_price_per_million_tokens, created_at, currency, effective_from,
    effective_to, id, input_price_per_million_tokens, model_id, output_price_per_million_tokens,
    reasoning_price_per_million_tokens, updated_at}'),
  ('billing.payments', 'none', '{currency, provider}'),
  ('billing.payments', 'pseudonym', '{created_at, disputed_at, failed_at, id, paid_at, period_end, period_start, plan_id,
    status, subscription_id, updated_at, user_id}'),
  ('billing.payments', 'financial', '{amount_cents, failure_code, provider_payment_id, provider_reference,
    provider_subscription_id, refunded_cents}'),
  ('billing.plan_prices', 'none', '{created_at, plan_id, provider, provider_price_id}'),
  ('billing.provider_customers', 'pseudonym', '{created_at, provider, user_id}'),
  ('billing.provider_customers', 'financial', '{provider_customer_id}'),
  ('billing.subscription_changes', 'none', '{currency}'),
  ('billing.subscription_changes', 'pseudonym', '{created_at, effective_at, event, from_plan_id, from_status, id,
    period_seconds, subscription_id, to_plan_id, to_status, tokens_granted, unused_seconds, user_id}'),
  ('billing.subscription_changes', 'financial', '{amount_cents, charge_cents, credit_cents}'),
  ('billing.subscription_plans', 'none', '{access_level, billing_cycle, code, created_at, currency, features, id, is_active,
    plan_name, price_cents, rollover_limit, superseded_at, token_quota, trial_days, updated_at, version}'),
  ('billing.token_grants', 'pseudonym', '{amount, closed_at, consumed, created_at, expires_at, held, id, idempotency_key,
    priority, retired_at, source, source_id, starts_at, user_id}'),
  ('billing.token_holds', 'pseudonym', '{created_at, expires_at, grant_ids, grant_tokens, id, idempotency_key, max_tokens,
    model_id, settled_at, state, usage_event_id, user_id}'),
  ('billing.usage_events', 'none', '{currency}'),
  ('billing.usage_events', 'pseudonym', '{cached_input_price_per_million_tokens, cached_input_tokens, charged_tokens,
    chat_id, corrects_event_id, created_at, grant_ids, grant_tokens, hold_id, id, idempotency_key,
    input_price_per_million_tokens, input_tokens, is_priced, kind, message_id, model_id, occurred_at,
    output_price_per_million_tokens, output_tokens, overdraft_tokens, price_id, reasoning_price_per_million_tokens,
    reasoning_tokens, source, total_tokens, user_id}'),
  ('billing.usage_events', 'financial', '{cost}'),
  ('billing.usage_limits', 'pseudonym', '{created_at, id, is_hard, max_tokens, model_id, period, plan_code, updated_at,
    user_id}'),
  ('billing.usage_tracking', 'pseudonym', '{entitled_until, last_reset, lifetime_tokens, next_hold_expires_at, token_count,
    user_id}'),
  ('billing.user_subscriptions', 'none', '{provider}'),
  ('billing.user_subscriptions', 'pseudonym', '{anchor_at, cancel_at_period_end, created_at, current_period_end,
    current_period_start, due_at, ended_at, id, past_due_since, paused_at, pending_plan_id, plan_id, quota_granted_from,
    quota_period_end, quota_period_start, renewal_date, started_at, status, trial_end, updated_at, user_id}'),
  ('billing.user_subscriptions', 'financial', '{provider_subscription_id}'),
  ('identity.account_deletions', 'pseudonym', '{attempts, due_at, last_failure, next_attempt_at, requested_at, user_id}'),
  ('identity.api_tokens', 'pseudonym', '{created_at, expires_at, id, last_used_at, revoked_at, scopes, user_id}'),
  ('identity.api_tokens', 'contact', '{last_used_ip}'),
  ('identity.api_tokens', 'content', '{name}'),
  ('identity.api_tokens', 'credential', '{token_prefix}'),
  ('identity.consent_purposes', 'none', '{created_at, name, published_at, required, text_url, title, version}'),
  ('identity.consents', 'pseudonym', '{decided_at, granted_at, id, purpose, user_id, version, withdrawn_at}'),
  ('identity.consents', 'contact', '{ip_address, user_agent}'),
  ('identity.data_exports', 'pseudonym', '{attempts, completed_at, expires_at, id, last_table, next_attempt_at,
    requested_at, size_bytes, status, tables, user_id}'),
  ('identity.data_rights_settings', 'none', '{deletion_grace_period, export_lifetime, id, updated_at}'),
  ('identity.mfa_factors', 'pseudonym', '{confirmed_at, created_at, id, kind, last_used_at, user_id}'),
  ('identity.mfa_factors', 'content', '{name}'),
  ('identity.oauth_profiles', 'pseudonym', '{created_at, email_verified, id, last_used_at, provider, token_expires_at,
    updated_at, user_id}'),
  ('identity.oauth_profiles', 'contact', '{email, provider_user_id, user_info}'),
  ('identity.user_preferences', 'pseudonym', '{confidence, created_at, id, preference_type, updated_at, user_id}'),
  ('identity.user_preferences', 'content', '{preference_key, preference_value}'),
  ('identity.user_security_settings', 'pseudonym', '{created_at, session_timeout_minutes, updated_at, user_id}'),
  ('identity.user_security_settings', 'contact', '{allowed_networks}'),
  ('identity.user_sessions', 'pseudonym', '{authenticated_at, authentication_methods, created_at, end_reason, ended_at,
    expires_at, id, is_active, last_activity_at, user_id}'),
  ('identity.user_sessions', 'contact', '{device_info, device_name, ip_address, security_context, user_agent}'),
  ('identity.user_settings', 'pseudonym', '{created_at, default_model_id, llm_model, llm_provider, updated_at, user_id}'),
  ('identity.user_settings', 'contact', '{avatar_url, display_name}'),
  ('identity.user_settings', 'content', '{llm_endpoint, preferences}'),
  ('identity.users', 'none', '{has_irregular_address}'),
  ('identity.users', 'pseudonym', '{account_status, created_at, email_verified_at, failed_login_attempts, id, is_active,
    is_verified, last_login_at, locked_until, password_changed_at, phone_verified_at, token_version, updated_at}'),
  ('identity.users', 'contact', '{email, hashed_email, metadata, phone_number, profile_data, username}'),
  ('learning.content_bodies', 'none', '{body, body_format, item_id, version}'),
  ('learning.content_categories', 'none', '{created_at, depth, description, id, name, parent_id, path, position, slug,
    updated_at}'),
  ('learning.content_consumption', 'pseudonym', '{active, active_seconds, covered, created_at, heartbeat_count, item_id,
    last_activity_at, started_at, user_id, version}'),
  ('learning.content_items', 'none', '{available_from, available_until, category_id, content_type, course_id, created_at,
    current_version, deleted_at, duration_seconds, effective_access_level, id, is_preview, language, level, position,
    publish_from, publish_until, rating_average, rating_count, rating_sum, required_access_level, search_document, slug,
    summary, tags, title, updated_at}'),
  ('learning.content_items', 'pseudonym', '{author_id}'),
  ('learning.content_prerequisites', 'none', '{created_at, item_id, required_item_id}'),
  ('learning.content_progress', 'pseudonym', '{access_checked_at, active, active_seconds, completed_at, completed_version,
    covered, covered_seconds, credited_version, duration_seconds, item_id, last_activity_at, position_at, position_seconds,
    progress, session_created_at, started_at, user_id, version}'),
  ('learning.content_ratings', 'pseudonym', '{created_at, item_id, rating, updated_at, user_id}'),
  ('learning.content_ratings', 'content', '{review}'),
  ('learning.content_skills', 'none', '{created_at, gain, item_id, skill_id, updated_at}'),
  ('learning.content_versions', 'none', '{change_note, created_at, item_id, published_at, updated_at, version}'),
  ('learning.content_versions', 'pseudonym', '{created_by}'),
  ('learning.skill_evidence', 'pseudonym', '{created_at, delta, id, kind, recorded_by, skill_id, source_key, user_id}'),
  ('learning.skill_evidence', 'content', '{note}'),
  ('learning.skills', 'none', '{created_at, description, display_name, id, is_active, skill_name, training_gain,
    updated_at}'),
  ('learning.training', 'pseudonym', '{completed_at, created_at, progress, run, skill_id, started_at, status, updated_at,
    user_id}'),
  ('learning.user_content_permissions', 'pseudonym', '{expires_at, granted_at, granted_by, item_id, permission, updated_at,
    user_id, waives_prerequisites}'),
  ('learning.user_content_permissions', 'content', '{reason}'),
  ('learning.user_skills', 'pseudonym', '{created_at, level, skill_id, updated_at, user_id}'),
  ('llm.chats', 'pseudonym', '{created_at, head_id, id, import_key, is_archived, updated_at, user_id}'),
  ('llm.chats', 'content', '{title}'),
  ('llm.conversation_memories', 'pseudonym', '{created_at, key_id, updated_at, user_id, version}'),
  ('llm.conversation_memories', 'content', '{memory}'),
  ('llm.memories', 'pseudonym', '{chat_id, confidence, created_at, expires_at, id, importance, key_id, kind,
    last_recalled_at, room_id, source, updated_at, user_id, version}'),
  ('llm.memories', 'content', '{content, word_hashes}'),
  ('llm.message_attachments', 'pseudonym', '{chat_id, created_at, id, message_id, mime_type, position, size_bytes, user_id}'),
  ('llm.message_attachments', 'content', '{name, url}'),
  ('llm.message_deltas', 'pseudonym', '{created_at, message_id, sequence, user_id}'),
  ('llm.message_deltas', 'content', '{content, thinking}'),
  ('llm.message_feedback', 'pseudonym', '{chat_id, created_at, message_id, rating, updated_at, user_id}'),
  ('llm.message_feedback', 'content', '{comment}'),
  ('llm.messages', 'pseudonym', '{chat_id, created_at, depth, error_code, finish_reason, id, idempotency_key, last_sequence,
    model_id, parent_id, role, state, tokens_used, user_id}'),
  ('llm.messages', 'content', '{content, error_message, extended_metadata, images, thinking, tool_calls}'),
  ('llm.model_providers', 'none', '{api_url, auth_type, created_at, id, is_active, name, updated_at}'),
  ('llm.model_providers', 'pseudonym', '{created_by}'),
  ('llm.models', 'none', '{config, created_at, description, display_name, id, is_active, is_public, name, provider_id,
    updated_at}'),
  ('llm.prompt_labels', 'none', '{created_at, label, prompt_id, updated_at, version}'),
  ('llm.prompt_shares', 'pseudonym', '{created_at, owner_id, prompt_id, user_id}'),
  ('llm.prompt_versions', 'pseudonym', '{created_at, created_by, prompt_id, version}'),
  ('llm.prompt_versions', 'content', '{content, variables}'),
  ('llm.prompts', 'pseudonym', '{created_at, current_version, id, is_for_developers, prompt_type, updated_at, user_id,
    visibility}'),
  ('llm.prompts', 'contact', '{contributors}'),
  ('llm.prompts', 'content', '{content, name, variables}'),
  ('llm.user_prompts', 'pseudonym', '{last_used_at, prompt_id, usage_count, user_id}'),
  ('private.api_token_hashes', 'pseudonym', '{token_id}'),
  ('private.api_token_hashes', 'credential', '{token_hash}'),
  ('private.archived_consumption', 'pseudonym', '{active_seconds, archive_id, days, sessions, user_id}'),
  ('private.completion_checks', 'none', '{due_at, item_id}'),
  ('private.content_locks', 'none', '{lock_name, taken}'),
  ('private.data_export_parts', 'pseudonym', '{export_id, part_number, user_id}'),
  ('private.data_export_parts', 'content', '{content}'),
  ('private.direct_rooms', 'pseudonym', '{first_user_id, room_id, second_user_id}'),
  ('private.free_quotas', 'pseudonym', '{granted_month, user_id}'),
  ('private.lookup_keys', 'none', '{created_at, name, updated_at}'),
  ('private.lookup_keys', 'credential', '{sealed_key}'),
  ('private.mail_outbox', 'pseudonym', '{attempts, channel, created_at, expires_at, id, next_attempt_at, sent_at, status,
    template, user_id}'),
  ('private.mail_outbox', 'contact', '{last_error, to_address, variables}'),
  ('private.mfa_attempts', 'pseudonym', '{failed_attempts, last_failed_at, locked_until, user_id}'),
  ('private.model_provider_keys', 'none', '{provider_id, updated_at}'),
  ('private.model_provider_keys', 'credential', '{sealed_key}'),
  ('private.oauth_states', 'pseudonym', '{created_at, expires_at, id, provider, purpose, redirect_uri, session_id, used_at,
    user_id}'),
  ('private.oauth_states', 'contact', '{device_name}'),
  ('private.oauth_states', 'credential', '{flow_hash, secrets_sealed, state_hash}'),
  ('private.oauth_tokens', 'pseudonym', '{profile_id, updated_at}'),
  ('private.oauth_tokens', 'credential', '{access_token_sealed, refresh_token_sealed}'),
  ('private.passkey_challenges', 'pseudonym', '{created_at, expires_at, purpose, user_id}'),
  ('private.passkey_challenges', 'credential', '{challenge}'),
  ('private.passkeys', 'pseudonym', '{aaguid, backed_up, backup_eligible, factor_id, transports}'),
  ('private.passkeys', 'credential', '{credential_id, public_key, sign_count}'),
  ('private.password_history', 'pseudonym', '{created_at, hash_algorithm, id, user_id}'),
  ('private.password_history', 'credential', '{password_hash}'),
  ('private.password_reset_tokens', 'pseudonym', '{created_at, expires_at, id, is_used, used_at, user_id}'),
  ('private.password_reset_tokens', 'contact', '{client_ip, security_context, user_agent}'),
  ('private.password_reset_tokens', 'credential', '{token_hash}'),
  ('private.payment_events', 'pseudonym', '{attempts, event_type, id, next_attempt_at, occurred_at, outcome, processed_at,
    provider, received_at}'),
  ('private.payment_events', 'financial', '{payload, provider_customer_id, provider_event_id}'),
  ('private.payment_reversals', 'pseudonym', '{is_in_force, kind, latest_order, occurred_at, payment_id}'),
  ('private.payment_reversals', 'financial', '{amount_cents, reversal_key}'),
  ('private.persisted_documents', 'none', '{added_at, document, hash}'),
  ('private.prompt_use_keys', 'pseudonym', '{created_at, idempotency_key, prompt_id, user_id}'),
  ('private.provider_cancellations', 'pseudonym', '{attempts, last_error, next_attempt_at, provider, requested_at}'),
  ('private.provider_cancellations', 'financial', '{provider_subscription_id}'),
  ('private.provider_invoices', 'pseudonym', '{failed_order, paid_order, provider, renews}'),
  ('private.provider_invoices', 'financial', '{amount_cents, lines, provider_payment_id, provider_subscription_id}'),
  ('private.provider_subscriptions', 'pseudonym', '{cancel_at, cancel_at_period_end, ended_at, object_order,
    paid_period_end, paid_plan_id, period_end, period_start, plan_id, provider, provider_price_id, revoked_period_end,
    standing, started_at, status, status_order, trial_end, updated_at, user_id, was_live}'),
  ('private.provider_subscriptions', 'financial', '{items, price_history, provider_customer_id, provider_subscription_id}'),
  ('private.recorded_heartbeats', 'pseudonym', '{created_at, digest, event_id, user_id}'),
  ('private.recovery_codes', 'pseudonym', '{created_at, id, used_at, user_id}'),
  ('private.recovery_codes', 'credential', '{code_hash}'),
  ('private.refresh_tokens', 'pseudonym', '{created_at, expires_at, id, parent_id, session_id, used_at, user_id}'),
  ('private.refresh_tokens', 'credential', '{successor_sealed, token_hash}'),
  ('private.request_digests', 'pseudonym', '{chat_message_id, chat_room_id, digest, general_chat_message_id, id,
    room_message_id, skill_evidence_id, user_id}'),
  ('private.room_passwords', 'none', '{room_id, updated_at}'),
  ('private.room_passwords', 'credential', '{password_hash}'),
  ('private.room_tallies', 'pseudonym', '{amount, bucket, id, kind, level, peer_id, room_id, user_id}'),
  ('private.room_turns', 'pseudonym', '{answer_id, claim_id, claims, hold_id, lease_expires_at, room_id, user_id}'),
  ('private.sign_in_challenges', 'pseudonym', '{created_at, expires_at, failed_attempts, id, methods, token_version,
    used_at, user_id}'),
  ('private.sign_in_challenges', 'contact', '{device_name}'),
  ('private.sign_in_challenges', 'credential', '{token_hash}'),
  ('private.subscription_transitions', 'none', '{event, from_status, is_providers, to_status}'),
  ('private.token_blacklist', 'pseudonym', '{created_at, expires_at, id, kind, reason, subject_id, token_version}'),
  ('private.totp_secrets', 'pseudonym', '{factor_id, last_used_step}'),
  ('private.totp_secrets', 'credential', '{sealed_secret}'),
  ('private.turns', 'none', '{lease, writer}'),
  ('private.turns', 'pseudonym', '{chat_id, claim_id, claims, created_at, ended_at, estimated_input_tokens, hold_id,
    input_tokens, is_usage_estimated, last_sequence, lease_expires_at, max_tokens, message_id, streamed_bytes, user_id,
    uses_own_model}'),
  ('private.turns', 'content', '{tools}'),
  ('private.usage_keys', 'none', '{operation}'),
  ('private.usage_keys', 'pseudonym', '{amount, event_id, idempotency_key, user_id}'),
  ('private.usage_keys', 'content', '{arguments}'),
  ('private.user_keys', 'none', '{master_key_version, purpose}'),
  ('private.user_keys', 'pseudonym', '{created_at, id, updated_at, user_id}'),
  ('private.user_keys', 'credential', '{wrapped_key}'),
  ('private.user_model_keys', 'pseudonym', '{updated_at, user_id}'),
  ('private.user_model_keys', 'credential', '{sealed_key}'),
  ('private.user_passwords', 'pseudonym', '{hash_algorithm, suffices_alone, updated_at, user_id}'),
  ('private.user_passwords', 'credential', '{password_hash}'),
  ('private.user_verifications', 'pseudonym', '{attempts, created_at, expires_at, id, kind, purpose, used_at, user_id}'),
  ('private.user_verifications', 'contact', '{client_ip, hashed_email, new_value, user_agent}'),
  ('private.user_verifications', 'credential', '{code_hash, token_hash}'),
  ('rooms.chat_rooms', 'none', '{ai_enabled, audience_version, created_at, has_password, history_is_shared, id,
    idempotency_key, is_public, last_event_sequence, last_sequence, model_id, room_type, updated_at}'),
  ('rooms.chat_rooms', 'pseudonym', '{creator_id, last_activity_at}'),
  ('rooms.chat_rooms', 'content', '{description, name}'),
  ('rooms.general_chat_messages', 'pseudonym', '{created_at, deleted_at, edited_at, id, idempotency_key, is_deleted,
    sender_id}'),
  ('rooms.general_chat_messages', 'content', '{content}'),
  ('rooms.general_chat_mutes', 'pseudonym', '{created_at, muted_by, muted_until, user_id}'),
  ('rooms.general_chat_mutes', 'content', '{reason}'),
  ('rooms.general_chat_revisions', 'pseudonym', '{actor_id, author_id, change, created_at, message_id, revision}'),
  ('rooms.general_chat_revisions', 'content', '{content}'),
  ('rooms.general_chat_settings', 'none', '{id, is_open, slow_mode_seconds, updated_at}'),
  ('rooms.presence', 'pseudonym', '{expires_at, status, user_id}'),
  ('rooms.room_answers', 'none', '{audience_version}'),
  ('rooms.room_answers', 'pseudonym', '{ended_at, error_code, first_sequence, last_sequence, message_id, reply_to_id,
    room_id, started_at, state}'),
  ('rooms.room_answers', 'content', '{pieces}'),
  ('rooms.room_bans', 'pseudonym', '{banned_by, created_at, room_id, user_id}'),
  ('rooms.room_bans', 'content', '{reason}'),
  ('rooms.room_changes', 'pseudonym', '{created_at, kind, message_id, room_id, sequence, user_id}'),
  ('rooms.room_invites', 'pseudonym', '{created_at, id, invitee_id, inviter_id, message_id, responded_at, room_id, status}'),
  ('rooms.room_invites', 'content', '{message}'),
  ('rooms.room_members', 'pseudonym', '{id, is_archived, is_muted, joined_at, last_read_at, last_read_sequence, role,
    room_id, user_id, visible_after}'),
  ('rooms.room_message_mentions', 'pseudonym', '{message_id, user_id}'),
  ('rooms.room_message_reactions', 'pseudonym', '{created_at, message_id, user_id}'),
  ('rooms.room_message_reactions', 'content', '{emoji}'),
  ('rooms.room_message_recipients', 'pseudonym', '{message_id, user_id}'),
  ('rooms.room_message_revisions', 'pseudonym', '{actor_id, author_id, change, created_at, message_id, revision}'),
  ('rooms.room_message_revisions', 'content', '{content}'),
  ('rooms.room_messages', 'pseudonym', '{created_at, deleted_at, edited_at, event_sequence, id, idempotency_key, is_deleted,
    is_private, message_type, reply_to_id, room_id, sender_id, sender_sequence, sender_type, sequence}'),
  ('rooms.room_messages', 'content', '{content, metadata}'),
  ('rooms.typing', 'pseudonym', '{expires_at, room_id, user_id}'),
  ('rooms.user_blocks', 'pseudonym', '{blocked_id, created_at, user_id}'),
  ('rooms.user_event_counters', 'pseudonym', '{sequence, user_id}'),
  ('security.archives', 'none', '{created_at, file_bytes, file_name, first_at, id, is_encrypted, last_at, log, migration,
    month, row_count, sha256, state, updated_at}'),
  ('security.audit_trail', 'none', '{changed_columns, operation, source, table_name, transaction_number}'),
  ('security.audit_trail', 'pseudonym', '{actor_id, created_at, id, row_key, user_id}'),
  ('security.audit_trail', 'contact', '{correlation_id, ip_address, new_values, old_values}'),
  ('private.archive_erasures', 'pseudonym', '{certificate_id, marks, requested_at, rows_erased, user_id}'),
  ('private.erasures_in_progress', 'pseudonym', '{counts, marks, purposes, requested_by, user_id}'),
  ('security.erasure_certificates', 'pseudonym', '{archived_rows, created_at, id, requested_by, salt, signature, signed_at,
    statement, statement_sha256, subject}'),
  ('security.legal_holds', 'pseudonym', '{created_at, id, placed_by, released_at, released_by, user_id}'),
  ('security.legal_holds', 'content', '{reason}'),
  ('security.column_classes', 'none', '{class, column_name, schema_name, table_name}'),
  ('security.error_logs', 'none', '{error_code, source, stack_fingerprint}'),
  ('security.error_logs', 'pseudonym', '{created_at, id, user_id}'),
  ('security.error_logs', 'contact', '{correlation_id}'),
  ('security.error_logs', 'content', '{context, message}'),
  ('security.login_attempts', 'pseudonym', '{created_at, failure_reason, id, status, user_id}'),
  ('security.login_attempts', 'contact', '{correlation_id, email, ip_address, user_agent}'),
  ('security.rate_limit_records', 'none', '{algorithm, created_at, id, limit_value, request_count, tokens_used, updated_at,
    window_end, window_start}'),
  ('security.rate_limit_records', 'pseudonym', '{key_hash, metadata}'),
  ('security.rate_limit_rules', 'none', '{algorithm, created_at, description, is_enabled, limit_value, rule_name,
    updated_at, window_length}'),
  ('security.retention_policies', 'none', '{action, created_at, description, kept_for, log, minimum_kept_for, updated_at}'),
  ('security.security_audit_log', 'none', '{event_type, severity, source}'),
  ('security.security_audit_log', 'pseudonym', '{actor_id, created_at, id, user_id}'),
  ('security.security_audit_log', 'contact', '{correlation_id, event_data, ip_address, metadata, user_agent}'),
  ('security.suspicious_activity_rules', 'none', '{created_at, description, is_enabled, rule_name, severity, threshold,
    updated_at, window_length}')
) t (name, class, columns);

--! Included security/policies/column_classes.sql
-- Auditors and users who manage security read the classes; only migrations write them.
revoke all on security.column_classes from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.column_classes to :PLINTH_USER;

drop policy if exists select_permitted on security.column_classes;
create policy select_permitted on security.column_classes
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security')) or (select access.has_permission('view_audit_log')));
comment on policy select_permitted on security.column_classes is
  'Users with manage_security or view_audit_log read the classes of columns.';
--! EndIncluded security/policies/column_classes.sql
--! Included security/views/personal_data.sql
-- Plinth's migrations classify columns in a table; an application's migrations in comments, as they do for exports and erasure:
-- `@personalData contact`.
create or replace view security.personal_data
with (security_invoker) as
select c.schema_name, c.table_name, c.column_name, c.class
from security.column_classes c
union all
select n.nspname, t.relname, a.attname, substring(d.description from '(?n)^@personalData[ \t]+([a-z]+)')
from pg_catalog.pg_description d
join pg_catalog.pg_class t on t.oid = d.objoid and d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
join pg_catalog.pg_namespace n on n.oid = t.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = d.objsubid and not a.attisdropped
where d.objsubid > 0
  and d.description ~ '(?n)^@personalData\M'
  and t.relkind in ('r', 'p')
  and not t.relispartition;

comment on view security.personal_data is
  E'@behavior -*\n'
  'Personal-data class of each classified column: of Plinth''s tables, and of an application''s tables by the tag @personalData.';
comment on column security.personal_data.schema_name is 'Schema of the table.';
comment on column security.personal_data.table_name is 'Name of the table; its partitions have the same classes.';
comment on column security.personal_data.column_name is 'Name of the column.';
comment on column security.personal_data.class is 'Class of its values; see security.column_classes.';

revoke all on security.personal_data from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.personal_data to :PLINTH_USER;
--! EndIncluded security/views/personal_data.sql
--! Included security/private/personal_data_class.sql
create or replace function private.personal_data_class(table_oid regclass, column_name name)
  returns text
  language sql
  stable
  set search_path = pg_catalog
as $$
  select d.class
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join security.personal_data d on d.schema_name = n.nspname and d.table_name = c.relname
  where c.oid = coalesce(pg_partition_root(table_oid), table_oid) and d.column_name = personal_data_class.column_name
$$;

comment on function private.personal_data_class(regclass, name) is
  'Returns the personal-data class of a column of a table or partition; null if it has none.';
--! EndIncluded security/private/personal_data_class.sql
--! Included security/policies/erasure_certificates.sql
-- Auditors and users who manage security read the certificates; only triggers and the worker's functions write them.
revoke all on security.erasure_certificates from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.erasure_certificates to :PLINTH_USER;

drop policy if exists select_permitted on security.erasure_certificates;
create policy select_permitted on security.erasure_certificates
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security')) or (select access.has_permission('view_audit_log')));
comment on policy select_permitted on security.erasure_certificates is
  'Users with manage_security or view_audit_log read the certificates of erasures.';
--! EndIncluded security/policies/erasure_certificates.sql
--! Included security/policies/legal_holds.sql
-- Users who manage security read the holds; only functions write them. The account that is held does not see its hold.
revoke all on security.legal_holds from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.legal_holds to :PLINTH_USER;

drop policy if exists select_manager on security.legal_holds;
create policy select_manager on security.legal_holds
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_security')));
comment on policy select_manager on security.legal_holds is 'Users with manage_security read the legal holds.';
--! EndIncluded security/policies/legal_holds.sql
--! Included security/private/without_id.sql
-- A key or a value in the audit trail may be the account itself. The nil UUID (RFC 9562) keeps the structure.
create or replace function private.without_id(value jsonb, account_id uuid)
  returns jsonb
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select case
    when account_id is null then value
    else replace(value::text, account_id::text, '00000000-0000-0000-0000-000000000000')::jsonb
  end
$$;

comment on function private.without_id(jsonb, uuid) is 'Returns JSON with the nil UUID in place of the id of an account.';
--! EndIncluded security/private/without_id.sql
--! Included rooms/triggers/users.sql
-- Deleting an account deletes the texts it wrote. The rows of its messages stay, empty and without a name, so that numbers,
-- replies and other users' unread counts stay correct. Runs before the delete and room by room in the order of their ids: rooms
-- are locked before messages everywhere.
create or replace function private.leave_rooms_of_user()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_room_id uuid;
begin
  for v_room_id in
    select m.room_id from rooms.room_members m where m.user_id = old.id
    union
    select m.room_id from rooms.room_messages m where m.sender_id = old.id
    union
    select r.id from rooms.chat_rooms r where r.creator_id = old.id
    order by 1
  loop
    perform from rooms.chat_rooms r where r.id = v_room_id for no key update;
    -- Before the foreign key does: another account of the same statement may change the room again, which checks the key.
    update rooms.chat_rooms r set creator_id = null where r.id = v_room_id and r.creator_id = old.id;
    update rooms.room_messages m
    set
      sender_id = null,
      content = '',
      metadata = '{}',
      is_deleted = true,
      deleted_at = coalesce(m.deleted_at, clock_timestamp()),
      idempotency_key = null
    where m.room_id = v_room_id and m.sender_id = old.id;
    perform private.remove_from_room(v_room_id, old.id);
  end loop;
  update rooms.general_chat_messages m
  set
    sender_id = null, content = '', is_deleted = true, deleted_at = coalesce(m.deleted_at, clock_timestamp()), idempotency_key = null
  where m.sender_id = old.id;
  return old;
end
$$;

comment on function private.leave_rooms_of_user() is
  'Trigger: empties the messages of an account that is being deleted and removes it from its rooms.';

create or replace trigger _300_leave_rooms
  before delete on identity.users
  for each row
  execute function private.leave_rooms_of_user();
--! EndIncluded rooms/triggers/users.sql
--! Included rooms/private/count_message.sql
-- Updates the counts when a posted message appears again (amount 1) or disappears (-1).
create or replace function private.count_message(message rooms.room_messages, amount integer)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  if not message.is_private then
    perform private.count_in_room(message.room_id, 'uncounted', null, null, message.sequence, -amount);
    if message.sender_id is not null then
      perform private.count_in_room(message.room_id, 'deleted', message.sender_id, null, message.sequence, -amount);
    end if;
  end if;
  -- The statement that deletes the sender may have deleted these people just before. Their tallies go with them; to change one would
  -- check its foreign key again.
  perform private.count_in_room(message.room_id, 'private', r.user_id, message.sender_id, message.sequence, amount)
  from rooms.room_message_recipients r
  join identity.users u on u.id = r.user_id
  where r.message_id = message.id;
  perform private.count_in_room(message.room_id, 'mention', m.user_id, message.sender_id, message.sequence, amount)
  from rooms.room_message_mentions m
  join identity.users u on u.id = m.user_id
  where m.message_id = message.id;
end
$$;

comment on function private.count_message(rooms.room_messages, integer) is
  'Corrects the unread and mention counts of a room for a message that is restored (1) or deleted (-1).';
--! EndIncluded rooms/private/count_message.sql
--! Included security/private/begin_attach.sql
-- Attaching brings the rows back into the log itself, so that its policies, indexes, exports and erasure apply to them. Only for
-- the owner: a role that may load rows could forge a log.
create or replace function private.begin_attach(archive_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_archive security.archives;
  v_source record;
begin
  select a.* into v_archive from security.archives a where a.id = archive_id for update;
  if not found then
    raise exception 'Archive not found.' using errcode = 'PL404';
  end if;
  if v_archive.state <> 'archived' then
    raise exception 'This archive is %, so it cannot be attached.', v_archive.state using errcode = 'PL409';
  end if;
  -- The log's triggers have run for these accounts; loaded rows that do not name the id would stay.
  if exists (select from private.archive_erasures) then
    raise exception 'Archives may still have rows of deleted accounts.'
      using errcode = 'PL409', hint = 'Run plinth privacy finish, then attach the archive.';
  end if;
  select s.* into strict v_source from private.log_source(v_archive.log) s;
  if v_source.is_partitioned then
    perform private.create_month_partition(v_source.target, v_archive.month);
  end if;
  -- The rows count again in the log.
  delete from private.archived_consumption c where c.archive_id = begin_attach.archive_id;
  update security.archives a set state = 'attached' where a.id = begin_attach.archive_id;
end
$$;

comment on function private.begin_attach(uuid) is
  'Prepares a log for the rows of an archive, in the transaction that loads them. PL404 for an unknown archive, PL409 for one that is not archived, or while deleted accounts are being erased from archives.';
--! EndIncluded security/private/begin_attach.sql
-- The rule of erasure, once for each log: the row as it is without an account that it belongs to or that acted in it. The event,
-- its time and its kind stay; person, address, program and data go. Rows in the database and rows in archives follow it. A log
-- without a function of its own follows its foreign keys and the classes of its columns, see private.erase_archived_lines.
create or replace function private.without_account(entry security.login_attempts, account_id uuid)
  returns security.login_attempts
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  entry.user_id := null;
  entry.email := null;
  entry.ip_address := null;
  entry.user_agent := null;
  entry.correlation_id := null;
  return entry;
end
$$;

-- Events about the account lose their data. The address and program of an event belong to the acting person. Those of another
-- person stay, so that deleting an account does not hide what an administrator did to it.
create or replace function private.without_account(entry security.security_audit_log, account_id uuid)
  returns security.security_audit_log
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  if coalesce(entry.actor_id, account_id) = account_id then
    entry.ip_address := null;
    entry.user_agent := null;
    entry.correlation_id := null;
    entry.api_token_id := null;
    entry.session_id := null;
  end if;
  if entry.user_id = account_id then
    entry.event_data := '{}';
    entry.metadata := '{}';
  end if;
  entry.event_data := private.without_id(entry.event_data, account_id);
  entry.user_id := nullif(entry.user_id, account_id);
  entry.actor_id := nullif(entry.actor_id, account_id);
  return entry;
end
$$;

create or replace function private.without_account(entry security.audit_trail, account_id uuid)
  returns security.audit_trail
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  if coalesce(entry.actor_id, account_id) = account_id then
    entry.ip_address := null;
    entry.correlation_id := null;
    entry.api_token_id := null;
    entry.session_id := null;
  end if;
  if entry.user_id = account_id then
    entry.old_values := null;
    entry.new_values := null;
  end if;
  entry.row_key := private.without_id(entry.row_key, account_id);
  entry.old_values := private.without_id(entry.old_values, account_id);
  entry.new_values := private.without_id(entry.new_values, account_id);
  entry.user_id := nullif(entry.user_id, account_id);
  entry.actor_id := nullif(entry.actor_id, account_id);
  return entry;
end
$$;

-- Code and fingerprint stay, so that errors can still be counted.
create or replace function private.without_account(entry security.error_logs, account_id uuid)
  returns security.error_logs
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  entry.user_id := null;
  entry.message := '';
  entry.context := '{}';
  entry.correlation_id := null;
  return entry;
end
$$;

-- Usage is bookkeeping: the amounts stay. A key is the client's own text.
create or replace function private.without_account(entry billing.usage_events, account_id uuid)
  returns billing.usage_events
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  entry.user_id := null;
  entry.idempotency_key := null;
  return entry;
end
$$;

comment on function private.without_account(security.login_attempts, uuid) is 'Returns a sign-in attempt without the person.';
comment on function private.without_account(security.security_audit_log, uuid) is 'Returns an event of the audit log without an erased account.';
comment on function private.without_account(security.audit_trail, uuid) is 'Returns a change of the audit trail without an erased account.';
comment on function private.without_account(security.error_logs, uuid) is 'Returns an error without an erased account.';
comment on function private.without_account(billing.usage_events, uuid) is 'Returns a use of a model without an erased account.';
--! Included security/private/without_account_by_class.sql
-- The strict rule for a log without one of its own: what its foreign keys to accounts do, and nothing of class contact or content.
create or replace function private.without_account_by_class(log regclass, entry jsonb, account_id uuid)
  returns jsonb
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if exists (
    select
    from pg_constraint k
    join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
    where k.conrelid = log
      and k.confrelid = 'identity.users'::regclass
      and k.confdeltype = 'c'
      and entry ->> a.attname = account_id::text
  ) then
    return null;
  end if;
  return (
    select jsonb_object_agg(
      e.key,
      case
        when e.value = to_jsonb(account_id) then 'null'
        when d.class in ('contact', 'content') then case jsonb_typeof(e.value) when 'object' then '{}' when 'array' then '[]' else 'null' end::jsonb
        else private.without_id(e.value, account_id)
      end
    )
    from jsonb_each(entry) e
    left join (
      select d.column_name, d.class
      from security.personal_data d
      join pg_class c on c.oid = log and c.relname = d.table_name
      join pg_namespace n on n.oid = c.relnamespace and n.nspname = d.schema_name
    ) d on d.column_name = e.key
  );
end
$$;

comment on function private.without_account_by_class(regclass, jsonb, uuid) is
  'Returns an archived row of any log without an account, by its foreign keys and the classes of its columns; null for a row that goes.';
--! EndIncluded security/private/without_account_by_class.sql
--! Included security/private/names_of_account.sql
-- In the spelling in which private.finish_login and security.track_login_attempt store names of unknown accounts; in privacy mode
-- as the server sends them. Former addresses count, unless another account has them now.
create or replace function private.names_of_account(account identity.users)
  returns text[]
  language sql
  stable
  set search_path = pg_catalog
as $$
  select array(
    select account.email where account.email is not null
    union
    select account.username
    union
    select 'hmac:' || left(encode(account.hashed_email, 'hex'), 16) where account.hashed_email is not null
    union
    select 'sha256:' || left(encode(sha256(convert_to(account.username, 'UTF8')), 'hex'), 16)
    union
    select v.new_value
    from private.user_verifications v
    where v.user_id = account.id
      and v.kind = 'email'
      and v.used_at is not null
      and not exists (select from identity.users u where u.email = v.new_value and u.id <> account.id)
  )
$$;

comment on function private.names_of_account(identity.users) is
  'Returns the names and addresses by which an account signs in or did, as the log of sign-ins spells them.';
--! EndIncluded security/private/names_of_account.sql
--! Included security/private/archive_marks.sql
-- Sign-ins by names from before they belonged to the account have no id. Archives have such rows too; hashes with the account's id
-- find them without keeping a name.
create or replace function private.archive_marks(account identity.users)
  returns text[]
  language sql
  stable
  set search_path = pg_catalog
  set timezone = 'UTC'
as $$
  select array(
    select encode(sha256(convert_to(account.id || m.mark, 'UTF8')), 'hex')
    from (
      select unnest(private.names_of_account(account))
      union
      -- The audit log's entry of such an attempt, see private.erase_login_attempts.
      select format('%s %s', to_json(a.created_at) #>> '{}', coalesce(to_json(a.ip_address) #>> '{}', 'null'))
      from security.login_attempts a
      where a.user_id is null and a.email = any (private.names_of_account(account))
    ) m (mark)
  )
$$;

comment on function private.archive_marks(identity.users) is
  'Returns hashes by which archived rows are found that belong to an account and do not name its id.';
--! EndIncluded security/private/archive_marks.sql
--! Included security/private/erase_failed_sign_ins.sql
-- The audit log's entry of an attempt on an unknown name: written in the same transaction, so with the same time. Row by row, in
-- time order, see private.erase_login_attempts. The worker clears nothing of an account that is not being erased.
create or replace function private.erase_failed_sign_ins(account_id uuid, times timestamptz[], addresses inet[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_attempt record;
begin
  if not exists (select from private.erasures_in_progress p where p.user_id = account_id)
    and not exists (select from private.archive_erasures e where e.user_id = account_id)
  then
    raise exception 'This account is not being erased.' using errcode = 'PL409';
  end if;
  for v_attempt in
    select a.created_at, a.ip_address
    from unnest(times, addresses) with ordinality a (created_at, ip_address, position)
    order by a.created_at, a.position
  loop
    update security.security_audit_log l
    set (ip_address, user_agent, correlation_id) = (
      select r.ip_address, r.user_agent, r.correlation_id from private.without_account(l, account_id) r
    )
    where l.event_type = 'login_failed'
      and l.created_at = v_attempt.created_at
      and l.user_id is null
      and l.actor_id is null
      and l.ip_address is not distinct from v_attempt.ip_address;
  end loop;
end
$$;

comment on function private.erase_failed_sign_ins(uuid, timestamptz[], inet[]) is
  'Clears address and program of the audit log''s entries about attempts on names of an account before they belonged to it. PL409 unless it is being erased.';
grant execute on function private.erase_failed_sign_ins(uuid, timestamptz[], inet[]) to :PLINTH_WORKER;
--! EndIncluded security/private/erase_failed_sign_ins.sql
--! Included security/private/erase_login_attempts.sql
-- Attempts by name from before the account had that name belong to the person, too.
--
-- Rows are locked in time order before they change: two accounts that acted on each other may be deleted at the same moment and
-- would otherwise deadlock. The references are cleared with the values, so that the foreign keys have nothing left to do.
create or replace function private.erase_login_attempts(account identity.users)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_names text[] := private.names_of_account(account);
begin
  perform
  from security.login_attempts a
  where a.user_id = account.id or a.user_id is null and a.email = any (v_names)
  order by a.created_at, a.id
  for update;

  perform private.erase_failed_sign_ins(account.id, array_agg(a.created_at), array_agg(a.ip_address))
  from (
    select l.created_at, l.ip_address
    from security.login_attempts l
    where l.user_id is null and l.email = any (v_names)
    order by l.created_at, l.id
  ) a;

  update security.login_attempts a
  set (user_id, email, ip_address, user_agent, correlation_id) = (
    select r.user_id, r.email, r.ip_address, r.user_agent, r.correlation_id from private.without_account(a, account.id) r
  )
  where a.user_id = account.id or a.user_id is null and a.email = any (v_names);
end
$$;

comment on function private.erase_login_attempts(identity.users) is
  'Clears name, address and program of an account''s sign-ins, and of attempts on its names before they belonged to an account.';
--! EndIncluded security/private/erase_login_attempts.sql
--! Included security/private/erase_security_events.sql
create or replace function private.erase_security_events(account_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform
  from security.security_audit_log l
  where l.user_id = account_id or l.actor_id = account_id
  order by l.created_at, l.id
  for update;

  update security.security_audit_log l
  set (user_id, actor_id, event_data, metadata, ip_address, user_agent, correlation_id, api_token_id, session_id) = (
    select r.user_id, r.actor_id, r.event_data, r.metadata, r.ip_address, r.user_agent, r.correlation_id, r.api_token_id, r.session_id
    from private.without_account(l, account_id) r
  )
  where l.user_id = account_id or l.actor_id = account_id;
end
$$;

comment on function private.erase_security_events(uuid) is
  'Clears an account''s data, address and program from the audit log; those of other people who acted on it stay.';
--! EndIncluded security/private/erase_security_events.sql
--! Included security/private/erase_errors.sql
create or replace function private.erase_errors(account_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform from security.error_logs e where e.user_id = account_id order by e.created_at, e.id for update;
  update security.error_logs e
  set (user_id, message, context, correlation_id) = (
    select r.user_id, r.message, r.context, r.correlation_id from private.without_account(e, account_id) r
  )
  where e.user_id = account_id;
end
$$;

comment on function private.erase_errors(uuid) is
  'Clears message and context of an account''s errors; code and fingerprint stay, so that they can still be counted.';
--! EndIncluded security/private/erase_errors.sql
--! Included security/private/erase_jobs.sql
-- A job for a person who is gone has nothing to do. The queue's tables belong to pg-boss; a queue without a table of its own keeps
-- its jobs in the common one, so the parent has them all.
--
-- An address counts only as a whole: ada@example.com is also a part of the addresses of canada@example.com and of
-- ada@example.com.org, whose jobs stay. A letter before it may be the end of an escape, such as that of a new line.
create or replace function private.erase_jobs(account identity.users)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_marks constant text[] := array_remove(array[account.id::text, account.email, account.phone_number], null);
  v_beginning constant text := '(^|[^[:alnum:].%+_-]|\\[bfnrt]|%[0-9a-f]{2})';
  v_end constant text := '(?![[:alnum:]-]|\.[[:alnum:]])';
begin
  if to_regclass('plinth_jobs.job') is null then
    return;
  end if;
  delete from plinth_jobs.job j
  where exists (
    select
    from unnest(v_marks) m (mark)
    where strpos(lower(j::text), lower(m.mark)) > 0
      and (
        m.mark = account.id::text
        or lower(j::text) ~ (
          case when m.mark = account.email then v_beginning else '' end
          || regexp_replace(lower(m.mark), '([^[:alnum:]])', '\\\1', 'g') || v_end
        )
      )
  );
end
$$;

comment on function private.erase_jobs(identity.users) is
  'Deletes the queue''s jobs whose payload, output or keys name an account by id, address or phone number.';
--! EndIncluded security/private/erase_jobs.sql
--! Included security/private/erase_rate_limits.sql
-- The keys are hashes, but the hash of a known address or name can be guessed. See private.consume_rate_limit_at for their text.
create or replace function private.erase_rate_limits(account identity.users)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  delete from security.rate_limit_records r
  where r.key_hash in (
    select sha256(convert_to(
      trunc(extract(epoch from l.window_length) * 1000000) || ':' || l.rule_name || ':' || k.key, 'UTF8'
    ))
    from security.rate_limit_rules l
    cross join unnest(private.names_of_account(account) || account.id::text || account.phone_number) k (key)
    where k.key is not null
  )
$$;

comment on function private.erase_rate_limits(identity.users) is
  'Deletes the counters of an account''s id, names and numbers.';
--! EndIncluded security/private/erase_rate_limits.sql
--! Included security/private/forget_data_changes.sql
-- Before the delete, because afterwards the rows have no user_id.
create or replace function private.forget_data_changes()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform
  from security.audit_trail t
  where t.user_id = old.id or t.actor_id = old.id
  order by t.created_at, t.id
  for update;

  update security.audit_trail t
  set (user_id, actor_id, old_values, new_values, ip_address, correlation_id, row_key, api_token_id, session_id) = (
    select r.user_id, r.actor_id, r.old_values, r.new_values, r.ip_address, r.correlation_id, r.row_key, r.api_token_id, r.session_id
    from private.without_account(t, old.id) r
  )
  where t.user_id = old.id or t.actor_id = old.id;
  return old;
end
$$;

comment on function private.forget_data_changes() is
  'Trigger: clears an account''s values and addresses from the audit trail when it is deleted.';
--! EndIncluded security/private/forget_data_changes.sql
--! Included security/private/record_security_event.sql
-- The only way into the audit log. Context (address, agent, correlation id, actor) comes from the request's settings.
create or replace function private.record_security_event(
  event_type text,
  user_id uuid,
  event_data jsonb default '{}',
  severity text default 'info'
)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  -- The account may be gone (a token of a deleted user), but the event still counts. Locked as the foreign key would, so that it
  -- cannot be deleted between the check and the insert. An account being deleted counts as gone: its deletion may wait for a row
  -- that the caller has changed, and both would deadlock.
  with subject as materialized (
    select u.id from identity.users u where u.id = record_security_event.user_id for key share skip locked
  ),
  chain as materialized (
    select a.* from private.audit_actor() a
  ),
  actor as materialized (
    select u.id from identity.users u where u.id = (select h.user_id from chain h) for key share skip locked
  ),
  context as (
    select
      (select s.id from subject s) as subject_id,
      (select a.id from actor a) as actor_id,
      -- Address and program of a deleted account are not kept.
      ((select h.user_id from chain h) is null or exists (select from actor))
        and (record_security_event.user_id is null or exists (select from subject) or exists (select from actor)) as is_kept
  )
  insert into security.security_audit_log
    (
      user_id, actor_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id,
      actor_kind, acting_role, api_token_id, session_id, job_name, migration, has_ignored_claims
    )
  select
    c.subject_id,
    c.actor_id,
    record_security_event.event_type,
    -- Neither is its id, as in the event about a role that ends with its account.
    private.without_id(
      coalesce(record_security_event.event_data, '{}'), case when c.subject_id is null then record_security_event.user_id end
    ),
    record_security_event.severity,
    session_user,
    -- Those that a database role sets outside the API are its own invention.
    case when c.is_kept and h.actor_kind not in ('migration', 'database_role') then plinth.client_ip() end,
    case when c.is_kept and h.actor_kind not in ('migration', 'database_role') then left(plinth.user_agent(), 1000) end,
    case when c.is_kept then plinth.correlation_id() end,
    h.actor_kind,
    h.acting_role,
    case when c.is_kept then h.api_token_id end,
    case when c.is_kept then h.session_id end,
    h.job_name,
    h.migration,
    h.has_ignored_claims
  from context c
  cross join chain h;
  select private.notify_user(record_security_event.user_id, n.template, jsonb_build_object('event', record_security_event.event_type))
  from private.notification_of(record_security_event.event_type, record_security_event.event_data) n (template)
  where n.template is not null
$$;

comment on function private.record_security_event(text, uuid, jsonb, text) is
  'Adds a row to security.security_audit_log with the request''s context, and notifies the owner if private.notification_of lists the event.';
--! EndIncluded security/private/record_security_event.sql
--! Included security/private/record_data_change.sql
-- Writes the audit trail: the actor (see private.audit_actor), the change, the old and new values. The same function serves all tables; the trigger's arguments are
--   1  the columns of the primary key
--   2  the column that names the account concerned, or ''
--   3  noise columns: a change of these alone is no change (counters of each sign-in, updated_at, generated columns)
--   4  confidential columns: a change is recorded, but not the old and new values
-- each a list with commas and no blanks.
--
-- A deleted account, or one being deleted, is not waited for: its deletion already waits for this row, and both would deadlock.
-- Then user_id stays null, and neither values nor the account's id are kept; see private.forget_data_changes. Likewise an account
-- that acts on itself during its deletion leaves no address.
create or replace function private.record_data_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_noise constant text[] := string_to_array(tg_argv[2], ',');
  v_masked constant text[] := string_to_array(tg_argv[3], ',');
  v_old jsonb := to_jsonb(old) - v_noise;
  v_new jsonb := to_jsonb(new) - v_noise;
  v_row jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
  v_changed text[];
  v_user_id uuid;
  v_actor record;
  v_actor_id uuid;
  -- Address and program of a deleted account are not kept; those that another database role sets are its own invention.
  v_is_kept boolean;
begin
  if v_old = v_new then
    return null;
  end if;
  if tg_op = 'UPDATE' then
    select array_agg(n.key order by n.key) into v_changed
    from jsonb_each(v_new) n
    where n.value is distinct from v_old -> n.key;
    select jsonb_object_agg(c.name, v_old -> c.name), jsonb_object_agg(c.name, v_new -> c.name) into v_old, v_new
    from unnest(v_changed) c (name);
  end if;

  if tg_argv[1] <> '' then
    select u.id into v_user_id
    from identity.users u
    where u.id = (v_row ->> tg_argv[1])::uuid
    for key share skip locked;
    if v_user_id is null then
      v_old := null;
      v_new := null;
      v_row := private.without_id(v_row, (v_row ->> tg_argv[1])::uuid);
    end if;
  end if;
  v_actor := private.audit_actor();
  select u.id into v_actor_id from identity.users u where u.id = v_actor.user_id for key share skip locked;
  v_is_kept := v_actor_id is not null or v_actor.user_id is null;

  insert into security.audit_trail (
    table_name, operation, row_key, user_id, actor_id, changed_columns, old_values, new_values,
    transaction_number, source, correlation_id, ip_address,
    actor_kind, acting_role, api_token_id, session_id, job_name, migration, has_ignored_claims
  )
  values (
    tg_table_schema || '.' || tg_table_name,
    tg_op,
    (select jsonb_object_agg(k.name, v_row -> k.name) from unnest(string_to_array(tg_argv[0], ',')) k (name)),
    v_user_id,
    v_actor_id,
    v_changed,
    v_old - v_masked,
    v_new - v_masked,
    pg_current_xact_id()::text::bigint,
    session_user,
    case when v_is_kept then plinth.correlation_id() end,
    case when v_is_kept and v_actor.actor_kind not in ('migration', 'database_role') then plinth.client_ip() end,
    v_actor.actor_kind,
    v_actor.acting_role,
    case when v_is_kept then v_actor.api_token_id end,
    case when v_is_kept then v_actor.session_id end,
    v_actor.job_name,
    v_actor.migration,
    v_actor.has_ignored_claims
  );
  return null;
end
$$;

comment on function private.record_data_change() is
  'Trigger: adds a row to security.audit_trail. Arguments: key columns, account column, noise columns, columns whose values are not kept.';
--! EndIncluded security/private/record_data_change.sql
--! Included security/triggers/legal_holds.sql
-- Not for the account, which would see the hold among its own changes.
create or replace trigger _700_record_data_change
  after insert or update or delete on security.legal_holds
  for each row
  execute function private.record_data_change('id', '', '', 'user_id,reason');
--! EndIncluded security/triggers/legal_holds.sql
--! Included security/private/row_changes.sql
-- PostgreSQL's own counters of the transaction, so whatever deletes or clears rows is counted: foreign keys, triggers, tables of
-- applications. They need track_counts, as autovacuum does.
create or replace function private.row_changes(since jsonb default '{}')
  returns jsonb
  language sql
  volatile
  set search_path = pg_catalog
as $$
  select coalesce(jsonb_object_agg(t.name, jsonb_build_array(t.deleted, t.updated)), '{}')
  from (
    select
      format('%s.%s', n.nspname, r.relname) as name,
      sum(pg_stat_get_xact_tuples_deleted(c.oid)) - coalesce((since -> format('%s.%s', n.nspname, r.relname) ->> 0)::bigint, 0) as deleted,
      sum(pg_stat_get_xact_tuples_updated(c.oid)) - coalesce((since -> format('%s.%s', n.nspname, r.relname) ->> 1)::bigint, 0) as updated
    from pg_class c
    join pg_class r on r.oid = coalesce(pg_partition_root(c.oid), c.oid)
    join pg_namespace n on n.oid = r.relnamespace
    where c.relkind = 'r' and n.nspname !~ '^pg_'
    group by n.nspname, r.relname
  ) t
  where t.deleted > 0 or t.updated > 0
$$;

comment on function private.row_changes(jsonb) is
  'Returns the numbers of rows that the transaction deleted and updated so far, by table, less those of an earlier call.';
--! EndIncluded security/private/row_changes.sql
--! Included security/private/begin_erasure.sql
-- The first step of every erasure, whichever statement deletes the account. PostgreSQL has locked the row, so no hold can be placed
-- meanwhile. The answer does not mention the hold: the person may be the subject of an investigation.
create or replace function private.begin_erasure()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_reference constant text := nullif(current_setting('plinth.erasure_reference', true), '');
  -- Not a claim that a database role has made up.
  v_actor_id constant uuid := (select a.user_id from private.audit_actor() a);
begin
  if exists (select from security.legal_holds h where h.user_id = old.id and h.released_at is null) then
    raise exception 'The deletion of this account is delayed.'
      using errcode = 'PL409', hint = 'It stays requested and is tried again.';
  end if;
  -- Part of the certificate, which is kept and must not name the person.
  if v_reference !~ '^[A-Za-z0-9][A-Za-z0-9._/#-]{0,39}$' then
    raise exception 'A reference has 1 to 40 letters, digits and . _ / # -' using errcode = 'PL422';
  end if;
  if exists (select from unnest(private.names_of_account(old)) n (name) where strpos(lower(v_reference), lower(n.name)) > 0) then
    raise exception 'A reference must not contain the name of the account.' using errcode = 'PL422';
  end if;
  insert into private.erasures_in_progress (user_id, requested_by, purposes, marks, counts)
  values (
    old.id,
    case
      when exists (select from identity.account_deletions d where d.user_id = old.id and d.due_at <= now()) then 'self'
      when v_actor_id = old.id then 'self'
      when v_actor_id is not null then 'administrator'
      when current_setting('plinth.erasure_requested_by', true) = 'command' then 'command'
      else 'database_role'
    end,
    array(select distinct k.purpose from private.user_keys k where k.user_id = old.id order by 1),
    private.archive_marks(old),
    private.row_changes()
  )
  on conflict (user_id) do update
  set requested_by = excluded.requested_by, purposes = excluded.purposes, marks = excluded.marks, counts = excluded.counts;
  return old;
end
$$;

comment on function private.begin_erasure() is
  'Trigger: rejects the deletion of an account with a legal hold (PL409) or an invalid reference (PL422), and notes what is known only before the deletion.';
--! EndIncluded security/private/begin_erasure.sql
--! Included security/private/measure_erasure.sql
-- The last step before the delete. Several accounts of one statement are prepared first and deleted afterwards, so each step
-- measures its own part.
create or replace function private.measure_erasure()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  update private.erasures_in_progress p set counts = private.row_changes(p.counts) where p.user_id = old.id;
  perform set_config('plinth.erasure_counts', private.row_changes()::text, true);
  return old;
end
$$;

comment on function private.measure_erasure() is 'Trigger: counts the rows that were cleared before an account is deleted.';
--! EndIncluded security/private/measure_erasure.sql
--! Included security/private/certify_erasure.sql
-- The certificate names the account by a salted hash: its owner, who knows the id, can prove that it was theirs. A signature
-- follows when the archives are clean, see private.unsigned_certificates.
create or replace function private.certify_erasure()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
  set timezone = 'UTC'
as $$
declare
  v_work private.erasures_in_progress;
  v_id constant uuid := plinth.uuid_v7();
  v_salt constant text := replace(gen_random_uuid()::text, '-', '');
  v_since constant jsonb := nullif(current_setting('plinth.erasure_counts', true), '')::jsonb;
  v_tables jsonb;
  v_statement json;
begin
  delete from private.erasures_in_progress p where p.user_id = old.id returning p.* into v_work;
  with counted as (
    select c.key as name, sum((c.value ->> 0)::bigint) as deleted, sum((c.value ->> 1)::bigint) as cleared
    from (
      select * from jsonb_each(v_work.counts)
      union all
      select * from jsonb_each(private.row_changes(v_since))
    ) c (key, value)
    -- The statement's other accounts are not of this certificate.
    where c.key not in ('private.erasures_in_progress', 'security.erasure_certificates', 'identity.users')
    group by c.key
    union all
    values ('identity.users', 1, 0)
  )
  select jsonb_agg(
    jsonb_build_object(
      'table', c.name,
      'deleted', c.deleted,
      'cleared', c.cleared,
      'classes', (
        select coalesce(jsonb_agg(distinct d.class), '[]')
        from security.personal_data d
        where format('%s.%s', d.schema_name, d.table_name) = c.name and d.class <> 'none'
      )
    ) order by c.name
  ) into v_tables
  from counted c;
  perform set_config('plinth.erasure_counts', private.row_changes()::text, true);

  v_statement := json_build_object(
    'version', 1,
    'certificate', v_id,
    'subject', encode(sha256(convert_to(v_salt || old.id, 'UTF8')), 'hex'),
    'salt', v_salt,
    'erasedAt', to_json(now()) #>> '{}',
    'requestedBy', v_work.requested_by,
    'reference', nullif(current_setting('plinth.erasure_reference', true), ''),
    'tables', v_tables,
    'classes', (
      select coalesce(jsonb_object_agg(k.class, k.counts), '{}')
      from (
        select
          k.class,
          jsonb_build_object('deleted', sum((t ->> 'deleted')::bigint), 'cleared', sum((t ->> 'cleared')::bigint)) as counts
        from jsonb_array_elements(v_tables) t
        cross join lateral jsonb_array_elements_text(t -> 'classes') k (class)
        group by k.class
      ) k
    ),
    'keysShredded', to_json(v_work.purposes)
  );
  insert into security.erasure_certificates (id, subject, salt, requested_by, statement, statement_sha256)
  values (
    v_id, v_statement ->> 'subject', v_salt, v_work.requested_by, v_statement,
    encode(sha256(convert_to(v_statement::text, 'UTF8')), 'hex')
  );
  if exists (select from security.archives a where a.state <> 'dropped') then
    insert into private.archive_erasures (user_id, certificate_id, marks) values (old.id, v_id, v_work.marks);
  end if;
  perform set_config('plinth.erasure_certificate', v_id::text, true);
  perform private.record_security_event('account_deleted', null, jsonb_build_object('certificate_id', v_id), 'warning');
  return null;
end
$$;

comment on function private.certify_erasure() is
  'Trigger: writes the unsigned certificate of a deleted account, and notes that its rows in archives are to be erased.';
--! EndIncluded security/private/certify_erasure.sql
--! Included security/triggers/users.sql
create or replace trigger _100_begin_erasure
  before delete on identity.users
  for each row
  execute function private.begin_erasure();

create or replace trigger _700_forget_data_changes
  before delete on identity.users
  for each row
  execute function private.forget_data_changes();

create or replace trigger _900_measure_erasure
  before delete on identity.users
  for each row
  execute function private.measure_erasure();

-- After the foreign keys' own triggers, whose names begin with R.
create or replace trigger _900_certify_erasure
  after delete on identity.users
  for each row
  execute function private.certify_erasure();
--! EndIncluded security/triggers/users.sql
--! Included identity/triggers/users.sql
-- Every account has its settings from the start, whichever writer inserts its row: users may change settings but not insert
-- them.
create or replace function identity.insert_settings()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into identity.user_settings (user_id) values (new.id) on conflict do nothing;
  insert into identity.user_security_settings (user_id) values (new.id) on conflict do nothing;
  return null;
end
$$;

comment on function identity.insert_settings() is 'Trigger: inserts the settings rows of a new account.';

create or replace trigger _400_insert_settings
  after insert on identity.users
  for each row
  execute function identity.insert_settings();

-- "Ada " and "ada" are one account, whichever writer stores the row. An address without a normal form stays as given: the
-- table's constraint rejects it by name. Only a migration marks an irregular address, and any other address clears the mark.
create or replace function identity.normalize_user()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  new.username := plinth.normalize_username(new.username);
  if tg_op = 'INSERT' or new.email is distinct from old.email then
    new.email := coalesce(plinth.normalize_email(new.email), new.email);
    new.has_irregular_address := false;
  else
    new.has_irregular_address := new.has_irregular_address and old.has_irregular_address;
  end if;
  return new;
end
$$;

comment on function identity.normalize_user() is 'Trigger: stores the username and the e-mail address in their normal form.';

create or replace trigger _100_normalize
  before insert or update of username, email, has_irregular_address on identity.users
  for each row
  execute function identity.normalize_user();

-- A proof is a proof of one address. A statement that sets a new address and its time of proof together keeps that time.
create or replace function identity.drop_stale_email_proof()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if identity.is_another_address(old, new) and new.email_verified_at is not distinct from old.email_verified_at then
    new.email_verified_at := null;
  end if;
  return new;
end
$$;

comment on function identity.drop_stale_email_proof() is 'Trigger: clears the proof of the old address when the address changes.';

create or replace trigger _120_drop_stale_email_proof
  before update on identity.users
  for each row
  when (old.email is distinct from new.email or old.hashed_email is distinct from new.hashed_email)
  execute function identity.drop_stale_email_proof();

-- Links and codes sent to or requested for an address or number are void once the account no longer has it: an old link would
-- move the account back. A trigger, so that it holds for every way an address changes. A first address or number ends only its
-- own kind: no other person could have had the rest.
create or replace function identity.end_open_links()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_is_another_address constant boolean := identity.is_another_address(old, new);
  v_is_another_number constant boolean := new.phone_number is distinct from old.phone_number;
  v_ends_all constant boolean :=
    v_is_another_address and (old.email is not null or old.hashed_email is not null)
    or v_is_another_number and old.phone_number is not null;
begin
  update private.user_verifications v
  set expires_at = now()
  where v.user_id = new.id
    and v.expires_at > now()
    and v.used_at is null
    and (
      v_ends_all
      or v.kind = 'email' and v_is_another_address
      or v.kind = 'phone' and v_is_another_number
    );
  if v_ends_all or v_is_another_address then
    update private.password_reset_tokens t
    set expires_at = now()
    where t.user_id = new.id and t.expires_at > now() and t.used_at is null;
  end if;
  return null;
end
$$;

comment on function identity.end_open_links() is
  'Trigger: revokes the account''s open links, codes and password resets when its address or phone number changes.';

create or replace trigger _600_end_open_links
  after update on identity.users
  for each row
  when (
    old.email is distinct from new.email
    or old.hashed_email is distinct from new.hashed_email
    or old.phone_number is distinct from new.phone_number
  )
  execute function identity.end_open_links();

-- The hash of another address would lead its owner into this account. An update of the address sets its hash with it; otherwise
-- the account is found only by the clear address until `plinth keys hash-emails`. Removing the clear address keeps the hash.
create or replace function identity.drop_stale_email_hash()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if new.hashed_email is not distinct from old.hashed_email then
    new.hashed_email := null;
  end if;
  return new;
end
$$;

comment on function identity.drop_stale_email_hash() is 'Trigger: clears the hash of the old address when the address changes.';

create or replace trigger _110_drop_stale_email_hash
  before update of email on identity.users
  for each row
  when (new.email is not null and new.email is distinct from old.email)
  execute function identity.drop_stale_email_hash();

-- A lower version would revive revoked tokens; an account that stops being active loses its tokens.
create or replace function identity.guard_token_version()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if new.account_status <> 'active' and old.account_status = 'active' then
    new.token_version := greatest(new.token_version, old.token_version + 1);
  end if;
  if new.token_version < old.token_version then
    raise exception 'A token version cannot decrease.'
      using errcode = 'PL422', schema = 'identity', table = 'users', column = 'token_version';
  end if;
  return new;
end
$$;

comment on function identity.guard_token_version() is
  'Trigger: rejects a lower token_version, and increments it when an account is disabled or deleted.';

create or replace trigger _200_guard_token_version
  before update of token_version, account_status on identity.users
  for each row
  execute function identity.guard_token_version();

-- An intruder may have created an API token. Events that revoke all access tokens (a changed password, logout everywhere, a
-- disabled account) therefore revoke the API tokens too.
create or replace function private.revoke_api_tokens_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_revoked integer;
begin
  update identity.api_tokens t set revoked_at = now() where t.user_id = new.id and t.revoked_at is null;
  get diagnostics v_revoked = row_count;
  if v_revoked > 0 then
    perform private.record_security_event('api_tokens_revoked', new.id, jsonb_build_object('tokens', v_revoked));
  end if;
  return null;
end
$$;

comment on function private.revoke_api_tokens_of_user() is 'Trigger: revokes a user''s API tokens when token_version grows.';

create or replace trigger _510_revoke_api_tokens
  after update on identity.users
  for each row
  when (new.token_version > old.token_version)
  execute function private.revoke_api_tokens_of_user();

-- Any deletion of an account clears the logs in the same transaction. Before the delete and with the account's row locked, so
-- that no new entries about it can appear in between.
create or replace function private.erase_traces_of_user()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.erase_login_attempts(old);
  perform private.erase_security_events(old.id);
  perform private.erase_errors(old.id);
  -- Mail that was queued to an address and not for an account.
  delete from private.mail_outbox m
  where m.user_id is null and m.to_address = any (private.names_of_account(old) || old.phone_number);
  perform private.erase_jobs(old);
  perform private.erase_rate_limits(old);
  perform private.erase_declared_rows(old.id);
  return old;
end
$$;

comment on function private.erase_traces_of_user() is
  'Trigger: clears the data about a deleted account from logs, queued mails and jobs, counters, and columns with the tag @userId.';

create or replace trigger _600_erase_traces
  before delete on identity.users
  for each row
  execute function private.erase_traces_of_user();

create or replace function private.revoke_user_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'DELETE' then
    insert into private.token_blacklist (kind, subject_id, reason)
    values ('user', old.id, 'account_deleted');
    return null;
  end if;
  insert into private.token_blacklist (kind, subject_id, token_version, reason)
  values ('user', new.id, new.token_version, 'token_version_raised');
  if new.account_status <> 'active' then
    update identity.user_sessions s
    set ended_at = now(), end_reason = 'account_disabled'
    where s.user_id = new.id and s.ended_at is null;
  end if;
  return null;
end
$$;

comment on function private.revoke_user_tokens() is
  'Trigger: revokes a user''s access tokens when token_version grows or the account is disabled or deleted.';

-- No "of token_version": the guard trigger raises it on its own when an account is disabled.
create or replace trigger _500_revoke_tokens
  after update on identity.users
  for each row
  when (new.token_version > old.token_version)
  execute function private.revoke_user_tokens();

create or replace trigger _500_revoke_tokens_of_deleted
  after delete on identity.users
  for each row
  execute function private.revoke_user_tokens();
--! EndIncluded identity/triggers/users.sql
--! Included identity/private/delete_due_account.sql
-- A single account in each transaction: a killed worker has deleted it completely or not at all, and the next worker finds it due. An
-- account that cannot be deleted (its owner became the last administrator) does not block the others; it is retried later. Locks
-- the account before the deletion, as identity.cancel_account_deletion does.
create or replace function private.delete_due_account()
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
  v_variables jsonb;
  v_schema text;
  v_table text;
  v_constraint text;
  v_column text;
  v_blocker text;
begin
  select u.* into v_user
  from identity.users u
  join identity.account_deletions d on d.user_id = u.id
  where d.due_at <= now() and d.next_attempt_at <= now()
  order by d.next_attempt_at, d.user_id
  limit 1
  for update of u skip locked;
  if v_user.id is null then
    return null;
  end if;
  -- Checked again with the account locked: the deletion may have been canceled in between.
  perform from identity.account_deletions d where d.user_id = v_user.id and d.due_at <= now() for update;
  if not found then
    return 'canceled';
  end if;

  v_variables := private.mail_variables(v_user.id) - 'ip_address' - 'device';
  begin
    delete from identity.users u where u.id = v_user.id;
    -- A deferred constraint would fail at the end of the transaction and block every other account.
    set constraints all immediate;
  exception
    -- A conflict between two transactions: the whole deletion is retried.
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      get stacked diagnostics
        v_schema = schema_name, v_table = table_name, v_constraint = constraint_name, v_column = column_name;
      -- An application's table whose foreign key or tag @userId neither deletes nor clears its rows.
      if sqlstate like '23%' or sqlstate = '22023' and v_table <> '' then
        v_blocker := format('%s.%s (%s)', v_schema, v_table, coalesce(nullif(v_constraint, ''), v_column));
      end if;
      update identity.account_deletions d
      set
        attempts = d.attempts + 1,
        next_attempt_at = now() + least(interval '1 day', interval '5 minutes' * power(2, least(d.attempts, 10))),
        last_failure = concat_ws(' ', sqlstate, v_blocker)
      where d.user_id = v_user.id;
      return coalesce('blocked by ' || v_blocker, 'postponed');
  end;
  -- Addressed to an address instead of the deleted account. The row is deleted when the mail has been sent.
  if v_user.email is not null then
    perform private.queue_mail(
      null, v_user.email, 'account-deleted',
      v_variables || jsonb_build_object('certificate', current_setting('plinth.erasure_certificate'), 'account', v_user.id),
      expires_at => now() + interval '2 days'
    );
  end if;
  return 'deleted';
end
$$;

comment on function private.delete_due_account() is
  'Deletes one account whose deletion is due; returns deleted, postponed, canceled, blocked by <schema>.<table> (<constraint>), or null when none is due.';
grant execute on function private.delete_due_account() to :PLINTH_WORKER;
--! EndIncluded identity/private/delete_due_account.sql
--! Included security/private/place_legal_hold.sql
-- A hold keeps an account from being erased, for a lawsuit or an investigation (GDPR article 17(3)(e)). Locks the account, as its
-- deletion does.
create or replace function private.place_legal_hold(user_id uuid, reason text)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_id uuid;
begin
  perform from identity.users u where u.id = place_legal_hold.user_id for key share;
  if not found then
    raise exception 'Account not found.' using errcode = 'PL404';
  end if;
  insert into security.legal_holds (user_id, reason, placed_by)
  values (place_legal_hold.user_id, place_legal_hold.reason, (select a.user_id from private.audit_actor() a))
  on conflict (user_id) where released_at is null do nothing
  returning id into v_id;
  if v_id is null then
    raise exception 'The account has a legal hold already.' using errcode = 'PL409';
  end if;
  return v_id;
end
$$;

comment on function private.place_legal_hold(uuid, text) is
  'Places a legal hold on an account, which cannot be deleted until it is released. PL404 for an unknown account, PL409 for a second hold.';
--! EndIncluded security/private/place_legal_hold.sql
--! Included security/private/release_legal_hold.sql
create or replace function private.release_legal_hold(user_id uuid)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_id uuid;
begin
  update security.legal_holds h
  set released_at = now(), released_by = (select a.user_id from private.audit_actor() a)
  where h.user_id = release_legal_hold.user_id and h.released_at is null
  returning h.id into v_id;
  if v_id is null then
    raise exception 'The account has no legal hold.' using errcode = 'PL404';
  end if;
  -- A deletion that waited is tried at the next run of the job.
  update identity.account_deletions d
  set next_attempt_at = greatest(d.due_at, now())
  where d.user_id = release_legal_hold.user_id;
  return v_id;
end
$$;

comment on function private.release_legal_hold(uuid) is
  'Releases the legal hold of an account; a deletion that waited goes on. PL404 if there is none.';
--! EndIncluded security/private/release_legal_hold.sql
--! Included security/private/erase_archived_lines.sql
-- Each line names its account at the same place of the other list. JSON spells each value as private.read_archive_rows does.
create or replace function private.erase_archived_lines(log text, lines text[], account_ids uuid[])
  returns setof text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  set timezone = 'UTC'
  set datestyle = 'ISO, YMD'
  set intervalstyle = 'iso_8601'
  set extra_float_digits = '1'
as $$
declare
  v_log regclass;
  v_has_rule boolean;
  v_is_committed constant boolean := log in ('security.security_audit_log', 'security.audit_trail');
  v_line json;
  v_old jsonb;
  v_new jsonb;
begin
  select s.target into strict v_log from private.log_source(log) s;
  v_has_rule := to_regprocedure(format('private.without_account(%s,uuid)', v_log)) is not null;
  for n in 1 .. cardinality(lines) loop
    v_line := lines[n]::json;
    if v_has_rule then
      execute format('select to_jsonb(r), to_jsonb(private.without_account(r, $2)) from json_populate_record(null::%s, $1) r', v_log)
      into v_old, v_new using v_line, account_ids[n];
      if v_is_committed then
        v_new := private.commit_archived_erasure(log, v_old, v_new, account_ids[n]);
      end if;
    else
      v_new := private.without_account_by_class(v_log, v_line::jsonb, account_ids[n]);
    end if;
    -- The file's columns, which may be those of an older migration, in their order. A value whose column is gone is not kept.
    return next case when v_new is not null then (
      select format('{%s}', string_agg(
        format('%s:%s', to_json(k.name), case when v_line -> k.name is null or v_new -> k.name = (v_line -> k.name)::jsonb then (v_line -> k.name)::text else coalesce((v_new -> k.name)::text, 'null') end),
        ',' order by k.position
      ))
      from json_object_keys(v_line) with ordinality k (name, position)
    ) end;
  end loop;
end
$$;

comment on function private.erase_archived_lines(text, text[], uuid[]) is
  'Returns archived rows of a log without the accounts that they belong to; null for a row that goes with its account.';
grant execute on function private.erase_archived_lines(text, text[], uuid[]) to :PLINTH_WORKER;
--! EndIncluded security/private/erase_archived_lines.sql
--! Included security/private/pending_archive_erasures.sql
create or replace function private.pending_archive_erasures()
  returns table (user_id uuid, certificate_id uuid, marks text[])
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select e.user_id, e.certificate_id, e.marks from private.archive_erasures e order by e.requested_at, e.user_id
$$;

comment on function private.pending_archive_erasures() is 'Returns the accounts whose rows are still to be erased from archives.';
grant execute on function private.pending_archive_erasures() to :PLINTH_WORKER;
--! EndIncluded security/private/pending_archive_erasures.sql
--! Included security/private/archives_with_files.sql
-- For the worker, which may not read the register itself.
create or replace function private.archives_with_files()
  returns table (archive_id uuid, log text, month date, file_name text, is_encrypted boolean, sha256 text)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select a.id, a.log, a.month, a.file_name, a.is_encrypted, a.sha256
  from security.archives a
  where a.state in ('archived', 'attached')
  order by a.log, a.month, a.id
$$;

comment on function private.archives_with_files() is 'Returns the archives that have a file.';
grant execute on function private.archives_with_files() to :PLINTH_WORKER;
--! EndIncluded security/private/archives_with_files.sql
--! Included security/private/replace_archive_file.sql
-- The new file is on disk and has been read back. The old one is deleted only after this has been committed.
create or replace function private.replace_archive_file(
  archive_id uuid,
  old_sha256 text,
  file_name text,
  file_bytes bigint,
  sha256 text,
  row_count bigint,
  is_encrypted boolean,
  user_ids uuid[],
  rows_erased bigint[]
)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  update security.archives a
  set
    file_name = replace_archive_file.file_name, file_bytes = replace_archive_file.file_bytes,
    sha256 = replace_archive_file.sha256, row_count = replace_archive_file.row_count,
    is_encrypted = replace_archive_file.is_encrypted
  where a.id = replace_archive_file.archive_id
    and a.sha256 = replace_archive_file.old_sha256
    and a.state in ('archived', 'attached');
  if not found then
    raise exception 'This archive has changed.' using errcode = 'PL409';
  end if;
  update private.archive_erasures e
  set rows_erased = e.rows_erased + r.rows_erased
  from unnest(replace_archive_file.user_ids, replace_archive_file.rows_erased) r (user_id, rows_erased)
  where e.user_id = r.user_id;
end
$$;

comment on function private.replace_archive_file(uuid, text, text, bigint, text, bigint, boolean, uuid[], bigint[]) is
  'Registers the rewritten file of an archive and the numbers of rows erased from it. PL409 if another file is registered than the one that was read.';
grant execute on function private.replace_archive_file(uuid, text, text, bigint, text, bigint, boolean, uuid[], bigint[]) to :PLINTH_WORKER;
--! EndIncluded security/private/replace_archive_file.sql
--! Included security/private/finish_archive_erasure.sql
create or replace function private.finish_archive_erasure(user_id uuid)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  with done as (
    delete from private.archive_erasures e where e.user_id = finish_archive_erasure.user_id returning e.certificate_id, e.rows_erased
  )
  update security.erasure_certificates c
  set archived_rows = done.rows_erased
  from done
  where c.id = done.certificate_id
$$;

comment on function private.finish_archive_erasure(uuid) is
  'Notes that no archive has rows of an erased account any more; its certificate can be signed.';
grant execute on function private.finish_archive_erasure(uuid) to :PLINTH_WORKER;
--! EndIncluded security/private/finish_archive_erasure.sql
--! Included security/private/unsigned_certificates.sql
create or replace function private.unsigned_certificates()
  returns table (id uuid, statement text, statement_sha256 text, archived_rows bigint, erased_at timestamptz)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select c.id, c.statement::text, c.statement_sha256, c.archived_rows, c.created_at
  from security.erasure_certificates c
  where c.signature is null
    and not exists (select from private.archive_erasures e where e.certificate_id = c.id)
  order by c.id
  limit 100
$$;

comment on function private.unsigned_certificates() is
  'Returns up to 100 certificates without a signature whose accounts are erased from archives, too.';
grant execute on function private.unsigned_certificates() to :PLINTH_WORKER;
--! EndIncluded security/private/unsigned_certificates.sql
--! Included security/private/sign_certificate.sql
create or replace function private.sign_certificate(id uuid, signature text)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  update security.erasure_certificates c
  set signature = sign_certificate.signature, signed_at = now()
  where c.id = sign_certificate.id and c.signature is null
$$;

comment on function private.sign_certificate(uuid, text) is 'Stores the signature of a certificate, once.';
grant execute on function private.sign_certificate(uuid, text) to :PLINTH_WORKER;
--! EndIncluded security/private/sign_certificate.sql
