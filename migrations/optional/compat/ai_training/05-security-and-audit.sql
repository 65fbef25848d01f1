create view compat_ai_training.login_attempts as
select
  a.id,
  a.user_id,
  case when (select compat.reads_personal_data()) then a.email end as email,
  case when (select compat.reads_personal_data()) then a.ip_address end as ip_address,
  case when (select compat.reads_personal_data()) then a.user_agent end as user_agent,
  a.status,
  case when (select compat.reads_personal_data()) then a.failure_reason end as failure_reason,
  a.created_at
from security.login_attempts a;

comment on view compat_ai_training.login_attempts is 'Sign-in attempts. Grain: one row per attempt.';
comment on column compat_ai_training.login_attempts.id is 'Id.';
comment on column compat_ai_training.login_attempts.user_id is 'The account; null if there is none.';
comment on column compat_ai_training.login_attempts.email is 'Name or address as entered; null for analysts.';
comment on column compat_ai_training.login_attempts.ip_address is 'Address of the client; null for analysts.';
comment on column compat_ai_training.login_attempts.user_agent is 'Program of the client; null for analysts.';
comment on column compat_ai_training.login_attempts.status is 'Result: success, failed, locked or challenged.';
comment on column compat_ai_training.login_attempts.failure_reason is 'Reason for the failure; null for analysts.';
comment on column compat_ai_training.login_attempts.created_at is 'Time of the attempt.';

create view compat_ai_training.user_sessions as
select
  s.id,
  s.user_id,
  null::text as session_token,
  case when (select compat.reads_personal_data()) then s.ip_address end as ip_address,
  case when (select compat.reads_personal_data()) then s.user_agent end as user_agent,
  s.is_active,
  s.created_at,
  s.last_activity_at,
  s.expires_at
from identity.user_sessions s;

comment on view compat_ai_training.user_sessions is 'Signed-in devices. Grain: one row per session.';
comment on column compat_ai_training.user_sessions.id is 'Id.';
comment on column compat_ai_training.user_sessions.user_id is 'The account.';
comment on column compat_ai_training.user_sessions.session_token is
  'Always null: sessions are known by signed tokens, which are not stored.';
comment on column compat_ai_training.user_sessions.ip_address is 'Address of the client; null for analysts.';
comment on column compat_ai_training.user_sessions.user_agent is 'Program of the client; null for analysts.';
comment on column compat_ai_training.user_sessions.is_active is 'Whether the session has not been ended.';
comment on column compat_ai_training.user_sessions.created_at is 'Time of sign-in.';
comment on column compat_ai_training.user_sessions.last_activity_at is 'Time of the last activity.';
comment on column compat_ai_training.user_sessions.expires_at is 'Time when the session ends at the latest.';

create view compat_ai_training.api_tokens as
select
  t.id,
  t.user_id,
  case when (select compat.reads_personal_data()) then t.name end as name,
  null::text as token_hash,
  t.scopes,
  t.last_used_at,
  t.expires_at,
  t.revoked_at,
  t.created_at
from identity.api_tokens t;

comment on view compat_ai_training.api_tokens is 'API tokens. Grain: one row per token.';
comment on column compat_ai_training.api_tokens.id is 'Id.';
comment on column compat_ai_training.api_tokens.user_id is 'The account.';
comment on column compat_ai_training.api_tokens.name is 'Name; null for analysts.';
comment on column compat_ai_training.api_tokens.token_hash is 'Always null: hashes stay in the schema private.';
comment on column compat_ai_training.api_tokens.scopes is 'Scopes: read, or read and write.';
comment on column compat_ai_training.api_tokens.last_used_at is 'Time of the last use; null if never used.';
comment on column compat_ai_training.api_tokens.expires_at is 'Time when the token expires.';
comment on column compat_ai_training.api_tokens.revoked_at is 'Time when it was revoked; null if it was not.';
comment on column compat_ai_training.api_tokens.created_at is 'Time when the token was created.';

create view compat_ai_training.refresh_tokens as
select
  t.id, t.user_id, t.session_id, null::text as token_hash, t.expires_at, coalesce(t.used_at, s.ended_at) as revoked_at, t.created_at
from private.refresh_tokens t
left join identity.user_sessions s on s.id = t.session_id;

comment on view compat_ai_training.refresh_tokens is 'Refresh tokens. Grain: one row per token.';
comment on column compat_ai_training.refresh_tokens.id is 'Id.';
comment on column compat_ai_training.refresh_tokens.user_id is 'The account.';
comment on column compat_ai_training.refresh_tokens.session_id is 'The session.';
comment on column compat_ai_training.refresh_tokens.token_hash is 'Always null: hashes stay in the schema private.';
comment on column compat_ai_training.refresh_tokens.expires_at is 'Time when the token expires.';
comment on column compat_ai_training.refresh_tokens.revoked_at is
  'Time when it was exchanged or its session ended; null while it is valid.';
comment on column compat_ai_training.refresh_tokens.created_at is 'Time when the token was issued.';

create view compat_ai_training.security_audit_log as
select
  l.id,
  l.user_id,
  l.event_type,
  case when (select compat.reads_personal_data()) then l.event_data end as event_data,
  l.severity,
  case when (select compat.reads_personal_data()) then l.ip_address end as ip_address,
  case when (select compat.reads_personal_data()) then l.user_agent end as user_agent,
  l.created_at
from security.security_audit_log l;

comment on view compat_ai_training.security_audit_log is 'Security events. Grain: one row per event.';
comment on column compat_ai_training.security_audit_log.id is 'Id.';
comment on column compat_ai_training.security_audit_log.user_id is 'The account concerned; null if there is none.';
comment on column compat_ai_training.security_audit_log.event_type is 'Type of event, such as account_locked.';
comment on column compat_ai_training.security_audit_log.event_data is 'Details (JSON object); null for analysts.';
comment on column compat_ai_training.security_audit_log.severity is 'Severity: debug, info, warning, error or critical.';
comment on column compat_ai_training.security_audit_log.ip_address is 'Address of the client; null for analysts.';
comment on column compat_ai_training.security_audit_log.user_agent is 'Program of the client; null for analysts.';
comment on column compat_ai_training.security_audit_log.created_at is 'Time of the event.';

create view compat_ai_training.audit_trail as
select
  a.id,
  a.table_name,
  case when k.id ~ '^[0-9a-f-]{36}$' then k.id::uuid end as record_id,
  a.operation,
  case when (select compat.reads_personal_data()) then a.old_values end as old_values,
  case when (select compat.reads_personal_data()) then a.new_values end as new_values,
  a.actor_id as changed_by,
  a.created_at
from security.audit_trail a
cross join lateral (select coalesce(a.row_key ->> 'id', a.row_key ->> 'item_id', a.row_key ->> 'user_id') as id) k;

comment on view compat_ai_training.audit_trail is 'Changes of data. Grain: one row per changed row.';
comment on column compat_ai_training.audit_trail.id is 'Id.';
comment on column compat_ai_training.audit_trail.table_name is 'Schema and name of the table.';
comment on column compat_ai_training.audit_trail.record_id is 'Id of the row; for a row without one, of its item or account. Null for a row with another key.';
comment on column compat_ai_training.audit_trail.operation is 'Operation: INSERT, UPDATE or DELETE.';
comment on column compat_ai_training.audit_trail.old_values is 'Values before (JSON object); null for analysts.';
comment on column compat_ai_training.audit_trail.new_values is 'Values after (JSON object); null for analysts.';
comment on column compat_ai_training.audit_trail.changed_by is 'The account that made the change; null if none did.';
comment on column compat_ai_training.audit_trail.created_at is 'Time of the change.';
