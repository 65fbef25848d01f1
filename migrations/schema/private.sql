-- Schema private as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema private;
comment on schema private is 'Secrets and the functions of the API''s service and the job worker. No API role may enter.';
grant usage on schema private to :PLINTH_SERVICE, :PLINTH_WORKER;

-- Tables ----------------------------------------------------------------------------------------------

-- One row per message to be sent or sent lately; kept 7 days when sent, 30 when it failed.
create table private.mail_outbox (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid,
  channel text not null default 'email'::text,
  to_address text not null,
  template text not null,
  variables jsonb not null default '{}'::jsonb,
  status text not null default 'pending'::text,
  attempts integer not null default 0,
  next_attempt_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone,
  last_error text,
  created_at timestamp with time zone not null default now(),
  sent_at timestamp with time zone,
  constraint mail_outbox_pkey primary key (id),
  constraint mail_outbox_attempts_is_not_negative check (attempts >= 0),
  constraint mail_outbox_channel_check check (channel = any (array['email'::text, 'sms'::text])),
  constraint mail_outbox_sent_with_time check ((status = 'sent'::text) = (sent_at is not null)),
  constraint mail_outbox_status_check check (status = any (array['pending'::text, 'sent'::text, 'failed'::text])),
  constraint mail_outbox_template_check check (template ~ '^[a-z]+(-[a-z]+)*$'::text and length(template) <= 100),
  constraint mail_outbox_to_address_check check (to_address ~ '^[^[:space:][:cntrl:]]+$'::text and length(to_address) >= 3 and length(to_address) <= 254),
  constraint mail_outbox_variables_is_an_object check (jsonb_typeof(variables) = 'object'::text),
  constraint mail_outbox_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.mail_outbox enable row level security;

create index mail_outbox_done_idx on private.mail_outbox using btree (created_at) where (status <> 'pending'::text);
create index mail_outbox_due_idx on private.mail_outbox using btree (next_attempt_at) where (status = 'pending'::text);
create index mail_outbox_user_id_idx on private.mail_outbox using btree (user_id);

comment on table private.mail_outbox is 'One row per message to be sent or sent lately; kept 7 days when sent, 30 when it failed.';
comment on column private.mail_outbox.id is 'UUIDv7; also in the Message-ID, so that a repeat can be told.';
comment on column private.mail_outbox.user_id is 'The account it is about; its messages go with it.';
comment on column private.mail_outbox.channel is 'email or sms.';
comment on column private.mail_outbox.to_address is 'One address or number.';
comment on column private.mail_outbox.template is 'Name of the text, such as password-reset; see src/mail/templates.';
comment on column private.mail_outbox.variables is 'What the template is filled with (JSON object). A secret is there only sealed, as sealed_token, and goes when the message is done.';
comment on column private.mail_outbox.status is 'pending, sent, or failed (refused for good, too old, or tried ten times).';
comment on column private.mail_outbox.attempts is 'How often somebody has taken it to send.';
comment on column private.mail_outbox.next_attempt_at is 'Not taken before; while somebody sends it, the end of their lease.';
comment on column private.mail_outbox.expires_at is 'Not worth sending from then on; null means never.';
comment on column private.mail_outbox.last_error is 'What the last attempt failed with.';
comment on column private.mail_outbox.created_at is 'When it was queued.';
comment on column private.mail_outbox.sent_at is 'When the mail server took it.';

-- One row per earlier password of an account that may not be chosen again. Readable by no API role.
create table private.password_history (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  password_hash text not null,
  hash_algorithm text not null,
  created_at timestamp with time zone not null default clock_timestamp(),
  constraint password_history_pkey primary key (id),
  constraint password_history_hash_algorithm_check check (hash_algorithm = any (array['argon2id'::text, 'bcrypt'::text, 'bcrypt-sha256'::text])),
  constraint password_history_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.password_history enable row level security;

create index password_history_user_id_created_at_idx on private.password_history using btree (user_id, created_at desc);

comment on table private.password_history is 'One row per earlier password of an account that may not be chosen again. Readable by no API role.';
comment on column private.password_history.id is 'UUIDv7.';
comment on column private.password_history.user_id is 'Whose password it was.';
comment on column private.password_history.password_hash is 'As in private.user_passwords.';
comment on column private.password_history.hash_algorithm is 'As in private.user_passwords.';
comment on column private.password_history.created_at is 'When it was replaced.';

-- One row per password reset somebody asked for and mail was sent for; kept 30 days.
create table private.password_reset_tokens (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  token_hash bytea not null,
  used_at timestamp with time zone,
  is_used boolean not null generated always as (used_at is not null) stored,
  expires_at timestamp with time zone not null default now() + '00:30:00'::interval,
  client_ip inet,
  user_agent text,
  security_context jsonb not null default '{}'::jsonb,
  created_at timestamp with time zone not null default now(),
  constraint password_reset_tokens_pkey primary key (id),
  constraint password_reset_tokens_token_hash_key unique (token_hash),
  constraint password_reset_tokens_security_context_is_an_object check (jsonb_typeof(security_context) = 'object'::text),
  constraint password_reset_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint password_reset_tokens_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.password_reset_tokens enable row level security;

create index password_reset_tokens_expires_at_idx on private.password_reset_tokens using btree (expires_at);
create index password_reset_tokens_user_id_expires_at_idx on private.password_reset_tokens using btree (user_id, expires_at);

comment on table private.password_reset_tokens is 'One row per password reset somebody asked for and mail was sent for; kept 30 days.';
comment on column private.password_reset_tokens.id is 'UUIDv7.';
comment on column private.password_reset_tokens.user_id is 'Whose password may be set.';
comment on column private.password_reset_tokens.token_hash is 'SHA-256 of the token; the token itself is only in the mail.';
comment on column private.password_reset_tokens.used_at is 'When the password was set with it; null if never.';
comment on column private.password_reset_tokens.is_used is 'Whether the password was set with it.';
comment on column private.password_reset_tokens.expires_at is 'From then on it is refused: 30 minutes, or the moment another one was used.';
comment on column private.password_reset_tokens.client_ip is 'Address that asked for it.';
comment on column private.password_reset_tokens.user_agent is 'User-Agent header that asked for it.';
comment on column private.password_reset_tokens.security_context is 'More about the request (JSON object).';
comment on column private.password_reset_tokens.created_at is 'When it was asked for.';

-- One row per refresh token; a session's tokens are one family, a chain of which the last is live.
create table private.refresh_tokens (
  id uuid not null default plinth.uuid_v7(),
  session_id uuid not null,
  user_id uuid not null,
  parent_id uuid,
  token_hash bytea not null,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  used_at timestamp with time zone,
  successor_sealed bytea,
  constraint refresh_tokens_pkey primary key (id),
  constraint refresh_tokens_parent_id_key unique (parent_id),
  constraint refresh_tokens_token_hash_key unique (token_hash),
  constraint refresh_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint refresh_tokens_used_with_successor check ((used_at is null) = (successor_sealed is null)),
  constraint refresh_tokens_session_id_user_id_fkey foreign key (session_id, user_id) references identity.user_sessions(id, user_id) on delete cascade
);

alter table private.refresh_tokens enable row level security;

create index refresh_tokens_expires_at_idx on private.refresh_tokens using btree (expires_at);
create unique index refresh_tokens_one_live_per_session_key on private.refresh_tokens using btree (session_id) where (used_at is null);
create index refresh_tokens_session_id_user_id_idx on private.refresh_tokens using btree (session_id, user_id);

comment on table private.refresh_tokens is 'One row per refresh token; a session''s tokens are one family, a chain of which the last is live.';
comment on column private.refresh_tokens.id is 'UUIDv7.';
comment on column private.refresh_tokens.session_id is 'The session; all its tokens are one family.';
comment on column private.refresh_tokens.user_id is 'The session''s owner.';
comment on column private.refresh_tokens.parent_id is 'The token it replaced, which may have been cleaned up since; null for the first.';
comment on column private.refresh_tokens.token_hash is 'SHA-256 of the token; the token itself is nowhere.';
comment on column private.refresh_tokens.created_at is 'When it was issued.';
comment on column private.refresh_tokens.expires_at is 'From then on it is refused.';
comment on column private.refresh_tokens.used_at is 'When it was exchanged for its successor; null while live.';
comment on column private.refresh_tokens.successor_sealed is 'The successor, encrypted under a key derived from this token.';

-- Revoked access tokens: one row per revoked token, session or account, until none of its tokens can be valid.
create table private.token_blacklist (
  id uuid not null default plinth.uuid_v7(),
  kind text not null,
  subject_id uuid not null,
  token_version integer,
  reason text not null,
  created_at timestamp with time zone not null default clock_timestamp(),
  expires_at timestamp with time zone not null default now() + '1 day 00:05:00'::interval,
  constraint token_blacklist_pkey primary key (id),
  constraint token_blacklist_kind_check check (kind = any (array['token'::text, 'session'::text, 'user'::text])),
  constraint token_blacklist_token_version_only_for_users check (token_version is null or kind = 'user'::text)
);

alter table private.token_blacklist enable row level security;

create index token_blacklist_expires_at_idx on private.token_blacklist using btree (expires_at);
create index token_blacklist_subject_id_idx on private.token_blacklist using btree (subject_id);

create trigger _900_notify
  after insert on private.token_blacklist
  for each statement
  execute function private.notify_revocation();

comment on table private.token_blacklist is 'Revoked access tokens: one row per revoked token, session or account, until none of its tokens can be valid.';
comment on column private.token_blacklist.id is 'UUIDv7.';
comment on column private.token_blacklist.kind is 'What is revoked: one token, a session''s tokens, or a user''s.';
comment on column private.token_blacklist.subject_id is 'jti, session id or user id.';
comment on column private.token_blacklist.token_version is 'For a user: tokens of a lower version are revoked; null means all.';
comment on column private.token_blacklist.reason is 'Why, such as logout.';
comment on column private.token_blacklist.created_at is 'When it was revoked.';
comment on column private.token_blacklist.expires_at is 'From then on the row is useless and is deleted.';

-- One row per account with a password. Readable by no API role.
create table private.user_passwords (
  user_id uuid not null,
  password_hash text not null,
  hash_algorithm text not null default 'argon2id'::text,
  updated_at timestamp with time zone not null default now(),
  suffices_alone boolean not null default true,
  constraint user_passwords_pkey primary key (user_id),
  constraint user_passwords_hash_algorithm_check check (hash_algorithm = any (array['argon2id'::text, 'bcrypt'::text, 'bcrypt-sha256'::text])),
  constraint user_passwords_password_hash_check check (
case hash_algorithm
    when 'argon2id'::text then password_hash ~ '^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'::text
    when 'bcrypt'::text then password_hash ~ '^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$'::text
    when 'bcrypt-sha256'::text then password_hash ~ '^\$bcrypt-sha256\$v=2,t=2b,r=\d\d?\$[./A-Za-z0-9]{22}\$[./A-Za-z0-9]{31}$'::text
    else null::boolean
end),
  constraint user_passwords_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.user_passwords enable row level security;

create index user_passwords_bcrypt_idx on private.user_passwords using btree (user_id) where (hash_algorithm <> 'argon2id'::text);

comment on table private.user_passwords is 'One row per account with a password. Readable by no API role.';
comment on column private.user_passwords.user_id is 'Whose password.';
comment on column private.user_passwords.password_hash is 'PHC string (argon2id, bcrypt-sha256 in passlib''s second form) or modular crypt string (bcrypt).';
comment on column private.user_passwords.hash_algorithm is 'argon2id (default), bcrypt-sha256 (PLINTH_PASSWORD_HASH=bcrypt) or bcrypt (brought along; replaced at the next sign-in).';
comment on column private.user_passwords.updated_at is 'When the hash was last set.';
comment on column private.user_passwords.suffices_alone is 'Whether it was chosen under the rule for a password without a second factor (15 characters); if not, the last factor stays.';

-- One row per address or number somebody was asked to prove; kept 30 days.
create table private.user_verifications (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  kind text not null,
  new_value text not null,
  token_hash bytea,
  code_hash text,
  attempts integer not null default 0,
  client_ip inet,
  user_agent text,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null,
  used_at timestamp with time zone,
  constraint user_verifications_pkey primary key (id),
  constraint user_verifications_token_hash_key unique (token_hash),
  constraint user_verifications_attempts_check check (attempts >= 0 and attempts <= 5),
  constraint user_verifications_kind_check check (kind = any (array['email'::text, 'phone'::text])),
  constraint user_verifications_secret_suits_kind check ((kind = 'email'::text) = (token_hash is not null) and (kind = 'phone'::text) = (code_hash is not null)),
  constraint user_verifications_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint user_verifications_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.user_verifications enable row level security;

create index user_verifications_expires_at_idx on private.user_verifications using btree (expires_at);
create index user_verifications_new_value_idx on private.user_verifications using btree (new_value, created_at) where (kind = 'phone'::text);
create index user_verifications_user_id_created_at_idx on private.user_verifications using btree (user_id, created_at desc);

comment on table private.user_verifications is 'One row per address or number somebody was asked to prove; kept 30 days.';
comment on column private.user_verifications.id is 'UUIDv7.';
comment on column private.user_verifications.user_id is 'Whose address or number it is to be.';
comment on column private.user_verifications.kind is 'email or phone.';
comment on column private.user_verifications.new_value is 'The address (lower case) or number (E.164) to be proven.';
comment on column private.user_verifications.token_hash is 'For an address: SHA-256 of the token in the link.';
comment on column private.user_verifications.code_hash is 'For a number: argon2id hash of the code (PHC string).';
comment on column private.user_verifications.attempts is 'Codes tried, 5 at most, right or wrong.';
comment on column private.user_verifications.client_ip is 'Address that asked for it.';
comment on column private.user_verifications.user_agent is 'User-Agent header that asked for it.';
comment on column private.user_verifications.created_at is 'When it was asked for.';
comment on column private.user_verifications.expires_at is 'From then on it is refused: a day for links, ten minutes for codes, or when another took its place.';
comment on column private.user_verifications.used_at is 'When it was proven; null if never.';

-- Functions -------------------------------------------------------------------------------------------

-- Sets a new password and ends the other sessions unless told not to; no row when refused. Counts and audits either way.
create or replace function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean default true, end_other_sessions boolean default true, checked_password_hash text default null::text, is_known boolean default false, history_length integer default 5)
  returns table(token_version integer, refresh_expires_at timestamp with time zone, is_refused_as_known boolean)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  if not private.confirm_password(
    change_password.user_id, change_password.session_id, change_password.password_matches,
    change_password.checked_token_version, change_password.checked_password_hash, 'password_change_failed'
  ) then
    return;
  end if;
  -- Told only to who knows the current password, or it would be a way to guess it without being counted.
  is_refused_as_known := change_password.is_known;
  if is_refused_as_known then
    perform private.record_security_event(
      'password_change_failed', change_password.user_id, jsonb_build_object('reason', 'used_before')
    );
    return next;
    return;
  end if;

  perform private.set_password(
    change_password.user_id, change_password.new_password_hash, change_password.new_hash_algorithm,
    change_password.suffices_alone, change_password.history_length
  );
  update identity.users u
  set
    password_changed_at = now(),
    token_version = u.token_version + change_password.end_other_sessions::integer,
    failed_login_attempts = 0
  where u.id = change_password.user_id
  returning u.token_version into token_version;

  if change_password.end_other_sessions then
    perform private.end_sessions(change_password.user_id, 'password_changed', change_password.session_id);
  end if;
  -- The old family of this session ends as well; its tokens are forgotten, so they are simply unknown.
  delete from private.refresh_tokens t where t.session_id = change_password.session_id;
  refresh_expires_at := private.issue_refresh_token(change_password.session_id, change_password.refresh_token_hash);
  perform private.record_security_event(
    'password_changed', change_password.user_id,
    jsonb_build_object('ended_other_sessions', change_password.end_other_sessions)
  );
  perform private.notify_user(change_password.user_id, 'password-changed');
  return next;
end
$$;

comment on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean, end_other_sessions boolean, checked_password_hash text, is_known boolean, history_length integer) is 'Sets a new password and ends the other sessions unless told not to; no row when refused. Counts and audits either way.';
revoke execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean, end_other_sessions boolean, checked_password_hash text, is_known boolean, history_length integer) from public;
grant execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea, suffices_alone boolean, end_other_sessions boolean, checked_password_hash text, is_known boolean, history_length integer) to :PLINTH_SERVICE;

-- Opens a session for an account that has shown enough; the one way there for all kinds of sign-in.
create or replace function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  select o.session_id, o.token_version, o.refresh_expires_at
  into session_id, token_version, refresh_expires_at
  from private.open_session(
    complete_sign_in.user_id, complete_sign_in.methods, complete_sign_in.refresh_token_hash, complete_sign_in.device_name
  ) o;
  return next;
end
$$;

comment on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) is 'Opens a session for an account that has shown enough; the one way there for all kinds of sign-in.';
revoke execute on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) from public;

-- Whether a live session's owner has shown the current password; counts and audits when not.
create or replace function private.confirm_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, failure_event text)
  returns boolean
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_session_id uuid;
  v_refusal text;
begin
  select u.* into v_user from identity.users u where u.id = confirm_password.user_id for no key update;
  select s.id into v_session_id
  from identity.user_sessions s
  where s.id = confirm_password.session_id and s.user_id = v_user.id and s.ended_at is null and s.expires_at > now()
  for update;

  v_refusal := case
    when v_session_id is null or v_user.account_status <> 'active' then 'session_ended'
    when v_user.locked_until > now() then 'account_locked'
    when not coalesce(confirm_password.password_matches, false) then 'wrong_password'
    -- Changed between the check and now.
    when v_user.token_version is distinct from confirm_password.checked_token_version then 'wrong_password'
    when confirm_password.checked_password_hash is not null and not exists (
      select
      from private.user_passwords p
      where p.user_id = v_user.id and p.password_hash = confirm_password.checked_password_hash
    ) then 'wrong_password'
  end;
  if v_refusal is null then
    return true;
  end if;
  if v_refusal = 'wrong_password' then
    perform security.track_login_attempt(
      v_user.id, v_user.username, plinth.client_ip(), plinth.user_agent(), 'failed', 'wrong_password'
    );
  end if;
  perform private.record_security_event(
    confirm_password.failure_event, confirm_password.user_id, jsonb_build_object('reason', v_refusal), 'warning'
  );
  return false;
end
$$;

comment on function private.confirm_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, failure_event text) is 'Whether a live session''s owner has shown the current password; counts and audits when not.';
revoke execute on function private.confirm_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, failure_event text) from public;

-- Deletes up to batch_size expired refresh tokens and revocations; returns how many.
create or replace function private.delete_expired_tokens(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_refresh integer;
  v_blacklist integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with expired as (
    select t.id
    from private.refresh_tokens t
    where t.expires_at <= now()
    order by t.expires_at
    limit batch_size
    for update skip locked
  )
  delete from private.refresh_tokens t using expired e where t.id = e.id;
  get diagnostics v_refresh = row_count;

  with expired as (
    select b.id
    from private.token_blacklist b
    where b.expires_at <= now()
    order by b.expires_at
    limit batch_size - v_refresh
    for update skip locked
  )
  delete from private.token_blacklist b using expired e where b.id = e.id;
  get diagnostics v_blacklist = row_count;
  return v_refresh + v_blacklist;
end
$$;

comment on function private.delete_expired_tokens(batch_size integer) is 'Deletes up to batch_size expired refresh tokens and revocations; returns how many.';
revoke execute on function private.delete_expired_tokens(batch_size integer) from public;
grant execute on function private.delete_expired_tokens(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size reset tokens and verifications that ended 30 days ago; returns how many.
create or replace function private.delete_expired_verifications(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_resets integer;
  v_verifications integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with old as (
    select t.id
    from private.password_reset_tokens t
    where t.expires_at <= now() - interval '30 days'
    order by t.expires_at
    limit batch_size
    for update skip locked
  )
  delete from private.password_reset_tokens t using old o where t.id = o.id;
  get diagnostics v_resets = row_count;

  with old as (
    select v.id
    from private.user_verifications v
    where v.expires_at <= now() - interval '30 days'
    order by v.expires_at
    limit batch_size - v_resets
    for update skip locked
  )
  delete from private.user_verifications v using old o where v.id = o.id;
  get diagnostics v_verifications = row_count;
  return v_resets + v_verifications;
end
$$;

comment on function private.delete_expired_verifications(batch_size integer) is 'Deletes up to batch_size reset tokens and verifications that ended 30 days ago; returns how many.';
revoke execute on function private.delete_expired_verifications(batch_size integer) from public;
grant execute on function private.delete_expired_verifications(batch_size integer) to :PLINTH_WORKER;

-- Deletes up to batch_size messages that were sent 7 days ago or failed 30 days ago; returns how many.
create or replace function private.delete_old_mails(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_mails integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with old as (
    select m.id
    from private.mail_outbox m
    where m.status <> 'pending'
      and m.created_at <= now() - case m.status when 'sent' then interval '7 days' else interval '30 days' end
    order by m.created_at
    limit batch_size
    for update skip locked
  )
  delete from private.mail_outbox m using old o where m.id = o.id;
  get diagnostics v_mails = row_count;
  return v_mails;
end
$$;

comment on function private.delete_old_mails(batch_size integer) is 'Deletes up to batch_size messages that were sent 7 days ago or failed 30 days ago; returns how many.';
revoke execute on function private.delete_old_mails(batch_size integer) from public;
grant execute on function private.delete_old_mails(batch_size integer) to :PLINTH_WORKER;

-- Ends up to batch_size expired sessions and deletes those ended 90 days ago; returns how many.
create or replace function private.end_expired_sessions(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_ended integer;
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;

  with expired as (
    select s.id
    from identity.user_sessions s
    left join identity.user_security_settings ss on ss.user_id = s.user_id
    where s.ended_at is null
      and (
        s.expires_at <= now()
        or s.last_activity_at
          <= now() - coalesce(make_interval(mins => ss.session_timeout_minutes), interval '30 days')
      )
    limit batch_size
    for update of s skip locked
  )
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'expired'
  from expired e
  where s.id = e.id;
  get diagnostics v_ended = row_count;

  with old as (
    select s.id
    from identity.user_sessions s
    where s.ended_at < now() - interval '90 days'
    limit batch_size - v_ended
    for update skip locked
  )
  delete from identity.user_sessions s using old o where s.id = o.id;
  get diagnostics v_deleted = row_count;
  return v_ended + v_deleted;
end
$$;

comment on function private.end_expired_sessions(batch_size integer) is 'Ends up to batch_size expired sessions and deletes those ended 90 days ago; returns how many.';
revoke execute on function private.end_expired_sessions(batch_size integer) from public;
grant execute on function private.end_expired_sessions(batch_size integer) to :PLINTH_WORKER;

-- Ends a user's live sessions but one; returns how many.
create or replace function private.end_sessions(user_id uuid, reason text, except_session_id uuid default null::uuid)
  returns integer
  language sql
  set search_path to 'pg_catalog'
as $$
  with ended as (
    update identity.user_sessions s
    set ended_at = now(), end_reason = end_sessions.reason
    where s.user_id = end_sessions.user_id
      and s.ended_at is null
      and s.id is distinct from end_sessions.except_session_id
    returning s.id
  )
  select count(*)::integer from ended
$$;

comment on function private.end_sessions(user_id uuid, reason text, except_session_id uuid) is 'Ends a user''s live sessions but one; returns how many.';
revoke execute on function private.end_sessions(user_id uuid, reason text, except_session_id uuid) from public;

-- Makes the missing monthly partitions of all logs, from this month to months_ahead later; returns the names made.
create or replace function private.ensure_partitions(months_ahead integer default 3)
  returns table(partition_name text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
as $$
declare
  v_table record;
  v_month timestamptz;
  v_next timestamptz;
  v_name text;
  v_default text;
begin
  if months_ahead is null or months_ahead not between 0 and 120 then
    raise exception 'months_ahead must be from 0 to 120.' using errcode = 'PL422';
  end if;
  for v_table in
    select c.oid, n.nspname, c.relname
    from pg_partitioned_table p
    join pg_class c on c.oid = p.partrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum = p.partattrs[0]
    where p.partstrat = 'r'
      and p.partnatts = 1
      and a.attname = 'created_at'
      and n.nspname in ('identity', 'access', 'billing', 'llm', 'rooms', 'learning', 'security', 'private')
    order by n.nspname, c.relname
  loop
    v_default := v_table.relname || '_default';
    if to_regclass(format('%I.%I', v_table.nspname, v_default)) is null then
      perform private.lock_for_new_partition(v_table.oid);
    end if;
    if to_regclass(format('%I.%I', v_table.nspname, v_default)) is null then
      execute format('create table %1$I.%2$I partition of %1$I.%3$I default', v_table.nspname, v_default, v_table.relname);
      execute format('alter table %I.%I enable row level security', v_table.nspname, v_default);
      execute format(
        'comment on table %I.%I is %L', v_table.nspname, v_default,
        format('Rows of %s whose month has no partition yet.', v_table.relname)
      );
      partition_name := format('%I.%I', v_table.nspname, v_default);
      return next;
    end if;

    for v_month in
      select generate_series(
        date_trunc('month', now()), date_trunc('month', now()) + make_interval(months => months_ahead), interval '1 month'
      )
    loop
      v_next := v_month + interval '1 month';
      v_name := v_table.relname || to_char(v_month, '_YYYY_MM');
      continue when to_regclass(format('%I.%I', v_table.nspname, v_name)) is not null;
      perform private.lock_for_new_partition(v_table.oid);
      -- Another maker may have been first.
      continue when to_regclass(format('%I.%I', v_table.nspname, v_name)) is not null;
      execute format(
        'create table %1$I.%2$I (like %1$I.%3$I including defaults including constraints)',
        v_table.nspname, v_name, v_table.relname
      );
      -- Reached through the parent, the parent's policies decide; reached directly there are none, so no rows.
      execute format('alter table %I.%I enable row level security', v_table.nspname, v_name);
      execute format(
        'comment on table %I.%I is %L', v_table.nspname, v_name,
        format('Rows of %s made in %s.', v_table.relname, to_char(v_month, 'YYYY-MM'))
      );
      execute format(
        'with moved as (delete from %1$I.%2$I where created_at >= $1 and created_at < $2 returning *)
         insert into %1$I.%3$I select * from moved',
        v_table.nspname, v_default, v_name
      ) using v_month, v_next;
      execute format(
        'alter table %1$I.%2$I attach partition %1$I.%3$I for values from (%4$L) to (%5$L)',
        v_table.nspname, v_table.relname, v_name, v_month, v_next
      );
      partition_name := format('%I.%I', v_table.nspname, v_name);
      return next;
    end loop;
  end loop;
end
$$;

comment on function private.ensure_partitions(months_ahead integer) is 'Makes the missing monthly partitions of all logs, from this month to months_ahead later; returns the names made.';
revoke execute on function private.ensure_partitions(months_ahead integer) from public;
grant execute on function private.ensure_partitions(months_ahead integer) to :PLINTH_WORKER;

-- Id of the account with this username or e-mail address, or null.
create or replace function private.find_account(identifier text)
  returns uuid
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select u.id
  from identity.users u
  where u.username = lower(trim(find_account.identifier)) or u.email = lower(trim(find_account.identifier))
$$;

comment on function private.find_account(identifier text) is 'Id of the account with this username or e-mail address, or null.';
revoke execute on function private.find_account(identifier text) from public;

-- Password hash of the account with this username or e-mail address; one row of nulls when there is none.
create or replace function private.find_login(identifier text)
  returns table(user_id uuid, password_hash text, hash_algorithm text, token_version integer, bcrypt_is_in_use boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select
    account.id,
    account.password_hash,
    account.hash_algorithm,
    account.token_version,
    exists (select from private.user_passwords b where b.hash_algorithm <> 'argon2id')
  from (values (true)) as always (one)
  left join (
    select u.id, u.username, u.email, u.token_version, p.password_hash, p.hash_algorithm
    from identity.users u
    join private.user_passwords p on p.user_id = u.id
  ) account
    -- A username has no @ and an address has one, so at most one account answers.
    on account.username = lower(trim(find_login.identifier))
    or account.email = lower(trim(find_login.identifier))
$$;

comment on function private.find_login(identifier text) is 'Password hash of the account with this username or e-mail address; one row of nulls when there is none.';
revoke execute on function private.find_login(identifier text) from public;
grant execute on function private.find_login(identifier text) to :PLINTH_SERVICE;

-- Password hash of an account, to check the current password before a change.
create or replace function private.find_password(user_id uuid)
  returns table(password_hash text, hash_algorithm text, token_version integer)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select p.password_hash, p.hash_algorithm, u.token_version
  from private.user_passwords p
  join identity.users u on u.id = p.user_id
  where p.user_id = find_password.user_id
$$;

comment on function private.find_password(user_id uuid) is 'Password hash of an account, to check the current password before a change.';
revoke execute on function private.find_password(user_id uuid) from public;
grant execute on function private.find_password(user_id uuid) to :PLINTH_SERVICE;

-- Hashes of an account's last passwords, the current one included, newest first.
create or replace function private.find_password_history(user_id uuid, history_length integer)
  returns table(password_hash text)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select known.password_hash
  from (
    select p.password_hash, 'infinity'::timestamptz as created_at
    from private.user_passwords p
    where p.user_id = find_password_history.user_id
    union all
    select h.password_hash, h.created_at
    from private.password_history h
    where h.user_id = find_password_history.user_id
  ) known
  order by known.created_at desc
  limit greatest(find_password_history.history_length, 0)
$$;

comment on function private.find_password_history(user_id uuid, history_length integer) is 'Hashes of an account''s last passwords, the current one included, newest first.';
revoke execute on function private.find_password_history(user_id uuid, history_length integer) from public;
grant execute on function private.find_password_history(user_id uuid, history_length integer) to :PLINTH_SERVICE;

-- Names of the account, which its password may not contain, and whether a second factor is enforced.
create or replace function private.find_password_owner(user_id uuid)
  returns table(username text, email text, display_name text, second_factor boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  -- No account has a second factor that is enforced, so every password must suffice alone.
  select u.username, u.email, s.display_name, false
  from identity.users u
  left join identity.user_settings s on s.user_id = u.id
  where u.id = find_password_owner.user_id
$$;

comment on function private.find_password_owner(user_id uuid) is 'Names of the account, which its password may not contain, and whether a second factor is enforced.';
revoke execute on function private.find_password_owner(user_id uuid) from public;
grant execute on function private.find_password_owner(user_id uuid) to :PLINTH_SERVICE;

-- The account a live reset token belongs to; no row for any other token.
create or replace function private.find_password_reset(token_hash bytea)
  returns table(user_id uuid, username text, email text, display_name text, second_factor boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select t.user_id, o.username, o.email, o.display_name, o.second_factor
  from private.password_reset_tokens t
  join identity.users u on u.id = t.user_id
  cross join lateral private.find_password_owner(t.user_id) o
  where t.token_hash = find_password_reset.token_hash
    and t.used_at is null
    and t.expires_at > now()
    and u.account_status = 'active'
$$;

comment on function private.find_password_reset(token_hash bytea) is 'The account a live reset token belongs to; no row for any other token.';
revoke execute on function private.find_password_reset(token_hash bytea) from public;
grant execute on function private.find_password_reset(token_hash bytea) to :PLINTH_SERVICE;

-- Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits either way.
create or replace function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text default null::text, new_password_hash text default null::text, new_hash_algorithm text default null::text, challenge_hash bytea default null::bytea)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user identity.users;
  v_refusal text;
begin
  select u.* into v_user from identity.users u where u.id = finish_login.user_id for no key update;

  v_refusal := case
    when v_user.id is null then 'unknown_account'
    when v_user.locked_until > now() then 'account_locked'
    when not coalesce(finish_login.password_matches, false) then 'wrong_password'
    -- Changed between the check and now.
    when v_user.token_version is distinct from finish_login.checked_token_version then 'wrong_password'
    when v_user.account_status <> 'active' then 'account_disabled'
    when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
  end;

  perform security.track_login_attempt(
    v_user.id,
    -- A name of nobody may be a password typed into the wrong field: it is kept so that repeats can be told, not read.
    case
      when v_user.id is null and finish_login.identifier !~ '@'
      then 'sha256:' || left(encode(sha256(convert_to(lower(finish_login.identifier), 'UTF8')), 'hex'), 16)
      else finish_login.identifier
    end,
    plinth.client_ip(),
    plinth.user_agent(),
    case v_refusal when 'account_locked' then 'locked' else case when v_refusal is null then 'success' else 'failed' end end,
    v_refusal
  );

  if v_refusal is not null then
    perform private.record_security_event(
      'login_failed', v_user.id, jsonb_build_object('reason', v_refusal),
      case when v_refusal in ('wrong_password', 'unknown_account') then 'info' else 'warning' end
    );
    return;
  end if;

  if finish_login.new_password_hash is not null then
    update private.user_passwords p
    set
      password_hash = finish_login.new_password_hash,
      hash_algorithm = finish_login.new_hash_algorithm,
      updated_at = now()
    where p.user_id = v_user.id;
  end if;

  return query
    select c.session_id, c.token_version, c.refresh_expires_at, c.challenge_expires_at, c.challenge_methods
    from private.complete_sign_in(
      v_user.id, array['pwd'], finish_login.refresh_token_hash, finish_login.device_name, finish_login.challenge_hash
    ) c;
end
$$;

comment on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) is 'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits either way.';
revoke execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) from public;
grant execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) to :PLINTH_SERVICE;

-- Marks a taken message sent (error null), to be tried again, or failed; returns which.
create or replace function private.finish_mail(mail_id uuid, error text, is_permanent boolean default false)
  returns text
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  update private.mail_outbox m
  set
    status = done.status,
    sent_at = case done.status when 'sent' then clock_timestamp() end,
    next_attempt_at = clock_timestamp() + least(interval '1 hour', interval '30 seconds' * power(2, least(m.attempts, 10) - 1)),
    last_error = left(finish_mail.error, 500),
    variables = case done.status when 'pending' then m.variables else m.variables - 'sealed_token' end
  from (
    select o.id,
      case
        when finish_mail.error is null then 'sent'
        when finish_mail.is_permanent or o.attempts >= 10 then 'failed'
        else 'pending'
      end as status
    from private.mail_outbox o
    where o.id = finish_mail.mail_id
    for update
  ) done
  where m.id = done.id and m.status = 'pending'
  returning m.status
$$;

comment on function private.finish_mail(mail_id uuid, error text, is_permanent boolean) is 'Marks a taken message sent (error null), to be tried again, or failed; returns which.';
revoke execute on function private.finish_mail(mail_id uuid, error text, is_permanent boolean) from public;
grant execute on function private.finish_mail(mail_id uuid, error text, is_permanent boolean) to :PLINTH_WORKER;

-- Makes a number the account's after its code was checked; returns verified, refused or taken.
create or replace function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_number text;
begin
  select u.* into v_user from identity.users u where u.id = finish_phone_verification.user_id for no key update;
  update private.user_verifications v
  set used_at = now()
  where v.id = finish_phone_verification.verification_id
    and v.user_id = v_user.id
    and v.kind = 'phone'
    and v.used_at is null
    and v.expires_at > now()
    and v_user.account_status = 'active'
    and coalesce(finish_phone_verification.code_matches, false)
  returning v.new_value into v_number;
  if v_number is null then
    perform private.record_security_event(
      'phone_verification_failed', v_user.id, jsonb_build_object('reason', 'code_not_valid')
    );
    return 'refused';
  end if;

  begin
    update identity.users u set phone_number = v_number, phone_verified_at = now() where u.id = v_user.id;
  exception
    when unique_violation then
      -- Told to somebody who has just shown that they hold the number.
      perform private.record_security_event(
        'phone_verification_failed', v_user.id, jsonb_build_object('reason', 'number_taken')
      );
      return 'taken';
  end;
  perform private.record_security_event('phone_verified', v_user.id);
  if v_user.phone_number is distinct from v_number then
    perform private.notify_user(v_user.id, 'phone-changed');
  end if;
  return 'verified';
end
$$;

comment on function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean) is 'Makes a number the account''s after its code was checked; returns verified, refused or taken.';
revoke execute on function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean) from public;
grant execute on function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean) to :PLINTH_SERVICE;

-- Whether the account was sent five links or codes of this kind within a day.
create or replace function private.has_asked_too_often(user_id uuid, kind text)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select count(*) >= 5
  from private.user_verifications v
  where v.user_id = has_asked_too_often.user_id
    and v.kind = has_asked_too_often.kind
    and v.created_at > now() - interval '1 day'
$$;

comment on function private.has_asked_too_often(user_id uuid, kind text) is 'Whether the account was sent five links or codes of this kind within a day.';
revoke execute on function private.has_asked_too_often(user_id uuid, kind text) from public;

-- Imports an array of models with prices; one answer a model: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_models(models jsonb, make_public boolean default false)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_model jsonb;
  v_provider_id uuid;
  v_model_id uuid;
  v_inserted boolean;
  v_changed boolean;
  v_count integer;
begin
  for v_model, ordinal in
    select m.value, m.ordinality::integer from jsonb_array_elements(import_models.models) with ordinality m
  loop
    message := null;
    begin
      -- Without this a file that forgot its prices would remove them.
      if jsonb_typeof(v_model -> 'priceHistory') is distinct from 'array' then
        raise exception 'priceHistory must be an array.' using errcode = 'PL422';
      end if;
      insert into llm.model_providers as p (name) values (trim(v_model ->> 'vendor'))
      on conflict on constraint model_providers_name_key do nothing;
      select p.id into strict v_provider_id from llm.model_providers p where p.name = trim(v_model ->> 'vendor');

      insert into llm.models as m (provider_id, name, display_name, is_public)
      values (v_provider_id, trim(v_model ->> 'id'), trim(v_model ->> 'name'), import_models.make_public)
      on conflict on constraint models_provider_id_name_key do update
      set display_name = excluded.display_name, is_public = m.is_public or excluded.is_public
      where (m.display_name, m.is_public) is distinct from (excluded.display_name, m.is_public or excluded.is_public)
      returning m.id, m.xmax = 0 into v_model_id, v_inserted;
      v_changed := found;
      if not found then
        v_inserted := false;
        select m.id into strict v_model_id
        from llm.models m
        where m.provider_id = v_provider_id and m.name = trim(v_model ->> 'id');
      end if;

      -- What is as wanted stays, the rest makes room before the new periods come in.
      delete from billing.model_prices p
      where p.model_id = v_model_id
        and p.currency = 'USD'
        and not exists (
          select
          from private.wanted_prices(v_model -> 'priceHistory') w
          where (w.input_price, w.output_price, w.cached_input_price, w.effective_from, w.effective_to) is not distinct from (
            p.input_price_per_million_tokens, p.output_price_per_million_tokens,
            p.cached_input_price_per_million_tokens, p.effective_from, p.effective_to
          )
        );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      insert into billing.model_prices (
        model_id, input_price_per_million_tokens, output_price_per_million_tokens,
        cached_input_price_per_million_tokens, effective_from, effective_to
      )
      select v_model_id, w.input_price, w.output_price, w.cached_input_price, w.effective_from, w.effective_to
      from private.wanted_prices(v_model -> 'priceHistory') w
      where not exists (
        select
        from billing.model_prices p
        where p.model_id = v_model_id
          and p.currency = 'USD'
          and (w.effective_from, w.effective_to) is not distinct from (p.effective_from, p.effective_to)
      );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      outcome := case when v_inserted then 'inserted' when v_changed then 'updated' else 'unchanged' end;
    exception
      when data_exception or integrity_constraint_violation or no_data_found or sqlstate 'PL422' then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_models(models jsonb, make_public boolean) is 'Imports an array of models with prices; one answer a model: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_models(models jsonb, make_public boolean) from public;

-- Imports an array of library prompts; one answer a row: inserted, updated, unchanged or rejected with the reason.
create or replace function private.import_prompts(prompts jsonb)
  returns table(ordinal integer, outcome text, message text)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_prompt jsonb;
  v_inserted boolean;
begin
  for v_prompt, ordinal in
    select p.value, p.ordinality::integer from jsonb_array_elements(import_prompts.prompts) with ordinality p
  loop
    message := null;
    begin
      insert into llm.prompts as p (user_id, name, content, prompt_type, is_for_developers, contributors)
      values (
        null,
        btrim(v_prompt ->> 'name', E' \t\r\n'),
        v_prompt ->> 'content',
        lower(coalesce(v_prompt ->> 'type', 'text')),
        coalesce((v_prompt ->> 'forDevelopers')::boolean, false),
        array(select jsonb_array_elements_text(coalesce(v_prompt -> 'contributors', '[]')))
      )
      on conflict on constraint prompts_user_id_name_key do update
      set
        content = excluded.content,
        prompt_type = excluded.prompt_type,
        is_for_developers = excluded.is_for_developers,
        contributors = excluded.contributors
      where (p.content, p.prompt_type, p.is_for_developers, p.contributors)
        is distinct from (excluded.content, excluded.prompt_type, excluded.is_for_developers, excluded.contributors)
      -- xmax is 0 in a row that this statement made, and not in one that it changed.
      returning p.xmax = 0 into v_inserted;
      outcome := case when not found then 'unchanged' when v_inserted then 'inserted' else 'updated' end;
    exception
      when data_exception or integrity_constraint_violation then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_prompts(prompts jsonb) is 'Imports an array of library prompts; one answer a row: inserted, updated, unchanged or rejected with the reason.';
revoke execute on function private.import_prompts(prompts jsonb) from public;

-- Whether an access token with these claims is still to be believed.
create or replace function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select exists (
    select
    from identity.users u
    join identity.user_sessions s on s.user_id = u.id
    where u.id = is_token_live.user_id
      and u.account_status = 'active'
      and u.token_version = is_token_live.token_version
      and s.id = is_token_live.session_id
      and s.ended_at is null
      and s.expires_at > now()
      and not exists (
        select from private.token_blacklist b where b.kind = 'token' and b.subject_id = is_token_live.token_id
      )
  )
$$;

comment on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) is 'Whether an access token with these claims is still to be believed.';
revoke execute on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) from public;
grant execute on function private.is_token_live(user_id uuid, session_id uuid, token_id uuid, token_version integer) to :PLINTH_SERVICE;

-- Adds a refresh token to a session; returns when it expires.
create or replace function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid default null::uuid)
  returns timestamp with time zone
  language sql
  set search_path to 'pg_catalog'
as $$
  insert into private.refresh_tokens (session_id, user_id, parent_id, token_hash, expires_at)
  select
    s.id,
    s.user_id,
    issue_refresh_token.parent_id,
    issue_refresh_token.token_hash,
    least(s.expires_at, now() + coalesce(make_interval(mins => ss.session_timeout_minutes), interval '30 days'))
  from identity.user_sessions s
  left join identity.user_security_settings ss on ss.user_id = s.user_id
  where s.id = issue_refresh_token.session_id
  returning expires_at
$$;

comment on function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid) is 'Adds a refresh token to a session; returns when it expires.';
revoke execute on function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid) from public;

-- Revocations not older than max_age, which is the longest life of an access token.
create or replace function private.list_revocations(max_age interval default '1 day 00:05:00'::interval)
  returns table(kind text, subject_id uuid, token_version integer, expires_at timestamp with time zone)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select b.kind, b.subject_id, b.token_version, b.expires_at
  from private.token_blacklist b
  where b.expires_at > now()
    and b.created_at > now() - list_revocations.max_age
$$;

comment on function private.list_revocations(max_age interval) is 'Revocations not older than max_age, which is the longest life of an access token.';
revoke execute on function private.list_revocations(max_age interval) from public;
grant execute on function private.list_revocations(max_age interval) to :PLINTH_SERVICE;

-- Locks a partitioned table, the tables it refers to and its default partition; tries for some seconds, then 55P03.
create or replace function private.lock_for_new_partition(partitioned_table regclass)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
  set lock_timeout to '200ms'
as $$
declare
  v_tables text := (
    select string_agg(format('only %s', t.name), ', ' order by t.position, t.name)
    from (
      select 1 as position, partitioned_table::text as name
      union
      select 2, k.confrelid::regclass::text
      from pg_constraint k
      where k.conrelid = partitioned_table and k.contype = 'f'
    ) t
  );
  v_default regclass := (
    select i.inhrelid
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = partitioned_table
      and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT'
  );
  v_tries integer := 0;
begin
  loop
    begin
      execute format('lock table %s in share row exclusive mode', v_tables);
      if v_default is not null then
        execute format('lock table only %s in access exclusive mode', v_default);
      end if;
      return;
    exception
      when lock_not_available or deadlock_detected then
        v_tries := v_tries + 1;
        if v_tries >= 50 then
          raise;
        end if;
        perform pg_sleep(0.05 + random() / 10);
    end;
  end loop;
end
$$;

comment on function private.lock_for_new_partition(partitioned_table regclass) is 'Locks a partitioned table, the tables it refers to and its default partition; tries for some seconds, then 55P03.';
revoke execute on function private.lock_for_new_partition(partitioned_table regclass) from public;

-- How long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.
create or replace function private.lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable parallel safe
as $$
  select case
    when failed_attempts < 5 then interval '0'
    else least(interval '1 hour', interval '1 minute' * power(2, least(failed_attempts - 5, 10)))
  end
$$;

comment on function private.lockout_duration(failed_attempts integer) is 'How long an account stays locked after this many wrong passwords in a row: 0, then 1 minute doubling up to 1 hour.';
revoke execute on function private.lockout_duration(failed_attempts integer) from public;

-- Names of the account and context of the request, for the texts of mails.
create or replace function private.mail_variables(user_id uuid)
  returns jsonb
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'username', u.username,
    'display_name', s.display_name,
    'locale', left(s.preferences ->> 'locale', 35),
    'occurred_at', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'ip_address', host(plinth.client_ip()),
    'user_agent', left(plinth.user_agent(), 300)
  ))
  from identity.users u
  left join identity.user_settings s on s.user_id = u.id
  where u.id = mail_variables.user_id
$$;

comment on function private.mail_variables(user_id uuid) is 'Names of the account and context of the request, for the texts of mails.';
revoke execute on function private.mail_variables(user_id uuid) from public;

-- Whether the request comes from a network the user allows.
create or replace function private.network_is_allowed(user_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
as $$
  select not exists (
    select
    from identity.user_security_settings s
    where s.user_id = network_is_allowed.user_id
      and s.allowed_networks is not null
      and not coalesce(plinth.client_ip() <<= any (s.allowed_networks), false)
  )
$$;

comment on function private.network_is_allowed(user_id uuid) is 'Whether the request comes from a network the user allows.';
revoke execute on function private.network_is_allowed(user_id uuid) from public;

-- Queues a notification when the account is signed in to with a new program or from a new network.
create or replace function private.notify_new_sign_in(user_id uuid)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  select private.notify_user(u.id, 'new-sign-in')
  from identity.users u
  where u.id = notify_new_sign_in.user_id
    and u.created_at < now()
    and not exists (
      select
      from identity.user_sessions s
      where s.user_id = u.id
        and s.created_at > now() - interval '90 days'
        and s.user_agent is not distinct from left(plinth.user_agent(), 1000)
        and (
          s.ip_address is not distinct from plinth.client_ip()
          or plinth.client_ip() <<= network(
            set_masklen(s.ip_address, case family(s.ip_address) when 4 then 24 else 64 end)
          )
        )
    )
$$;

comment on function private.notify_new_sign_in(user_id uuid) is 'Queues a notification when the account is signed in to with a new program or from a new network.';
revoke execute on function private.notify_new_sign_in(user_id uuid) from public;

-- Trigger: tells every server of a revocation through NOTIFY plinth_revocation.
create or replace function private.notify_revocation()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  perform pg_notify('plinth_revocation', '');
  return null;
end
$$;

comment on function private.notify_revocation() is 'Trigger: tells every server of a revocation through NOTIFY plinth_revocation.';
revoke execute on function private.notify_revocation() from public;

-- Queues a notification to the account's address; without an address nothing.
create or replace function private.notify_user(user_id uuid, template text, variables jsonb default '{}'::jsonb)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  select private.queue_mail(u.id, u.email, notify_user.template, private.mail_variables(u.id) || coalesce(notify_user.variables, '{}'))
  from identity.users u
  where u.id = notify_user.user_id
    and u.email is not null
    and u.account_status <> 'deleted'
$$;

comment on function private.notify_user(user_id uuid, template text, variables jsonb) is 'Queues a notification to the account''s address; without an address nothing.';
revoke execute on function private.notify_user(user_id uuid, template text, variables jsonb) from public;

-- Makes a session and its first refresh token; returns both and the token version to sign with.
create or replace function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
  perform private.notify_new_sign_in(open_session.user_id);
  insert into identity.user_sessions (user_id, device_name, authentication_methods, ip_address, user_agent)
  values (
    open_session.user_id, open_session.device_name, open_session.methods, plinth.client_ip(), left(plinth.user_agent(), 1000)
  )
  returning id into session_id;
  select u.token_version into token_version from identity.users u where u.id = open_session.user_id;
  refresh_expires_at := private.issue_refresh_token(session_id, open_session.refresh_token_hash);
  perform private.record_security_event(
    'login_succeeded', open_session.user_id,
    jsonb_build_object('session_id', session_id, 'methods', to_jsonb(open_session.methods))
  );
  return next;
end
$$;

comment on function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text) is 'Makes a session and its first refresh token; returns both and the token version to sign with.';
revoke execute on function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text) from public;

-- Queues one message in the caller's transaction; the worker sends it within seconds.
create or replace function private.queue_mail(user_id uuid, to_address text, template text, variables jsonb, channel text default 'email'::text, expires_at timestamp with time zone default null::timestamp with time zone)
  returns void
  language sql
  set search_path to 'pg_catalog'
as $$
  insert into private.mail_outbox (user_id, to_address, template, variables, channel, expires_at)
  values (
    queue_mail.user_id, queue_mail.to_address, queue_mail.template, coalesce(queue_mail.variables, '{}'),
    queue_mail.channel, queue_mail.expires_at
  )
$$;

comment on function private.queue_mail(user_id uuid, to_address text, template text, variables jsonb, channel text, expires_at timestamp with time zone) is 'Queues one message in the caller''s transaction; the worker sends it within seconds.';
revoke execute on function private.queue_mail(user_id uuid, to_address text, template text, variables jsonb, channel text, expires_at timestamp with time zone) from public;

-- Adds a row to security.security_audit_log with the request's context.
create or replace function private.record_security_event(event_type text, user_id uuid, event_data jsonb default '{}'::jsonb, severity text default 'info'::text)
  returns void
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  insert into security.security_audit_log
    (user_id, actor_id, event_type, event_data, severity, source, ip_address, user_agent, correlation_id)
  values (
    -- The account may be gone (a token of a deleted user), the event still counts. Locked as the foreign key would, so that
    -- it cannot go between the look and the insert.
    (select u.id from identity.users u where u.id = record_security_event.user_id for key share),
    (select u.id from identity.users u where u.id = plinth.current_user_id() for key share),
    record_security_event.event_type,
    coalesce(record_security_event.event_data, '{}'),
    record_security_event.severity,
    session_user,
    plinth.client_ip(),
    left(plinth.user_agent(), 1000),
    plinth.correlation_id()
  )
$$;

comment on function private.record_security_event(event_type text, user_id uuid, event_data jsonb, severity text) is 'Adds a row to security.security_audit_log with the request''s context.';
revoke execute on function private.record_security_event(event_type text, user_id uuid, event_data jsonb, severity text) from public;

-- Makes an account with settings, password and the role user; returns its id. 23505 names the taken field.
create or replace function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text)
  returns uuid
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user_id uuid;
begin
  insert into identity.users (username, email, password_changed_at)
  values (register_user.username, register_user.email, now())
  returning id into v_user_id;

  insert into identity.user_settings (user_id, display_name) values (v_user_id, nullif(trim(register_user.display_name), ''));
  insert into identity.user_security_settings (user_id) values (v_user_id);
  insert into private.user_passwords (user_id, password_hash, hash_algorithm)
  values (v_user_id, register_user.password_hash, register_user.hash_algorithm);
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';

  perform private.record_security_event('user_registered', v_user_id);
  return v_user_id;
end
$$;

comment on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text) is 'Makes an account with settings, password and the role user; returns its id. 23505 names the taken field.';
revoke execute on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text) from public;
grant execute on function private.register_user(username text, email text, display_name text, password_hash text, hash_algorithm text) to :PLINTH_SERVICE;

-- Replaces a hash by another one of the same password; false if the password was changed meanwhile.
create or replace function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text)
  returns boolean
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  with replaced as (
    update private.user_passwords p
    set
      password_hash = replace_password_hash.new_password_hash,
      hash_algorithm = replace_password_hash.new_hash_algorithm,
      updated_at = now()
    where p.user_id = replace_password_hash.user_id and p.password_hash = replace_password_hash.old_password_hash
    returning true
  )
  select exists (select from replaced)
$$;

comment on function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text) is 'Replaces a hash by another one of the same password; false if the password was changed meanwhile.';
revoke execute on function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text) from public;
grant execute on function private.replace_password_hash(user_id uuid, old_password_hash text, new_password_hash text, new_hash_algorithm text) to :PLINTH_SERVICE;

-- Queues a link to a new address; returns accepted (also for a taken one), refused, unchanged or too_many.
create or replace function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_address constant text := lower(trim(request_email_change.new_email));
  v_holder_id uuid;
begin
  if not private.confirm_password(
    request_email_change.user_id, request_email_change.session_id, request_email_change.password_matches,
    request_email_change.checked_token_version, request_email_change.checked_password_hash, 'email_change_failed'
  ) then
    return 'refused';
  end if;
  select u.* into v_user from identity.users u where u.id = request_email_change.user_id;
  if v_address = v_user.email and v_user.email_verified_at is not null then
    return 'unchanged';
  elsif private.has_asked_too_often(v_user.id, 'email') then
    return 'too_many';
  end if;

  -- The last one asked for counts.
  update private.user_verifications v
  set expires_at = now()
  where v.user_id = v_user.id and v.kind = 'email' and v.new_value is distinct from v_user.email
    and v.expires_at > now() and v.used_at is null;
  v_holder_id := (select u.id from identity.users u where u.email = v_address and u.id <> v_user.id);
  -- For a taken address the row is made as well, with a token that goes nowhere: the work is the same, and it counts.
  perform private.send_email_verification(
    v_user.id, v_address, request_email_change.token_hash,
    case when v_holder_id is null then request_email_change.sealed_token end
  );
  if v_holder_id is not null then
    -- Says nothing of who asked.
    perform private.queue_mail(
      v_holder_id, v_address, 'address-taken', private.mail_variables(v_holder_id) - 'ip_address' - 'user_agent'
    );
  end if;
  perform private.record_security_event(
    'email_change_requested', v_user.id, jsonb_build_object('is_taken', v_holder_id is not null)
  );
  return 'accepted';
end
$$;

comment on function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text) is 'Queues a link to a new address; returns accepted (also for a taken one), refused, unchanged or too_many.';
revoke execute on function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text) from public;
grant execute on function private.request_email_change(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, checked_password_hash text, new_email text, token_hash bytea, sealed_token text) to :PLINTH_SERVICE;

-- Queues a link that proves the account's address; returns sent, no_address, already_verified or too_many.
create or replace function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
begin
  select u.* into v_user
  from identity.users u
  where u.id = request_email_verification.user_id and u.account_status = 'active'
  for no key update;
  if v_user.email is null then
    return 'no_address';
  elsif v_user.email_verified_at is not null then
    return 'already_verified';
  elsif private.has_asked_too_often(v_user.id, 'email') then
    return 'too_many';
  end if;
  perform private.send_email_verification(
    v_user.id, v_user.email, request_email_verification.token_hash, request_email_verification.sealed_token
  );
  perform private.record_security_event('email_verification_requested', v_user.id);
  return 'sent';
end
$$;

comment on function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text) is 'Queues a link that proves the account''s address; returns sent, no_address, already_verified or too_many.';
revoke execute on function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text) from public;
grant execute on function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text) to :PLINTH_SERVICE;

-- Queues a link to set a new password, if there is such an account with an address; tells the caller nothing.
create or replace function private.request_password_reset(identifier text, token_hash bytea, sealed_token text)
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_expires_at constant timestamptz := now() + interval '30 minutes';
  v_reason text;
begin
  select u.* into v_user
  from identity.users u
  where u.id = private.find_account(request_password_reset.identifier)
  for no key update;

  v_reason := case
    when v_user.id is null then 'unknown_account'
    when v_user.account_status <> 'active' then 'account_disabled'
    when v_user.email is null then 'no_address'
    when (
      select count(*) >= 3
      from private.password_reset_tokens t
      where t.user_id = v_user.id and t.expires_at > now() and t.used_at is null
    ) then 'too_many'
  end;
  if v_reason is not null then
    perform private.record_security_event(
      'password_reset_not_sent', v_user.id,
      jsonb_build_object(
        'reason', v_reason,
        -- Kept so that repeats can be told, not read: it may be a password typed into the wrong field.
        'identifier_hash', case when v_user.id is null then
          left(encode(sha256(convert_to(lower(trim(request_password_reset.identifier)), 'UTF8')), 'hex'), 16) end
      )
    );
    return;
  end if;

  insert into private.password_reset_tokens (user_id, token_hash, expires_at, client_ip, user_agent)
  values (
    v_user.id, request_password_reset.token_hash, v_expires_at, plinth.client_ip(), left(plinth.user_agent(), 1000)
  );
  perform private.queue_mail(
    v_user.id, v_user.email, 'password-reset',
    private.mail_variables(v_user.id) || jsonb_build_object('sealed_token', request_password_reset.sealed_token),
    'email', v_expires_at
  );
  perform private.record_security_event('password_reset_requested', v_user.id);
end
$$;

comment on function private.request_password_reset(identifier text, token_hash bytea, sealed_token text) is 'Queues a link to set a new password, if there is such an account with an address; tells the caller nothing.';
revoke execute on function private.request_password_reset(identifier text, token_hash bytea, sealed_token text) from public;
grant execute on function private.request_password_reset(identifier text, token_hash bytea, sealed_token text) to :PLINTH_SERVICE;

-- Queues a code to a number; returns sent, too_many or refused.
create or replace function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text)
  returns text
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user_id uuid;
  v_expires_at constant timestamptz := now() + interval '10 minutes';
begin
  select u.id into v_user_id
  from identity.users u
  where u.id = request_phone_verification.user_id and u.account_status = 'active'
  for no key update;
  -- Two accounts may ask for one number at once.
  perform pg_advisory_xact_lock(hashtextextended('phone ' || request_phone_verification.phone_number, 0));
  if v_user_id is null then
    return 'refused';
  elsif private.has_asked_too_often(v_user_id, 'phone') or (
    select count(*) >= 5
    from private.user_verifications v
    where v.kind = 'phone'
      and v.new_value = request_phone_verification.phone_number
      and v.created_at > now() - interval '1 day'
  ) then
    return 'too_many';
  end if;

  update private.user_verifications v
  set expires_at = now()
  where v.user_id = v_user_id and v.kind = 'phone' and v.expires_at > now() and v.used_at is null;
  insert into private.user_verifications (user_id, kind, new_value, code_hash, expires_at, client_ip, user_agent)
  values (
    v_user_id, 'phone', request_phone_verification.phone_number, request_phone_verification.code_hash, v_expires_at,
    plinth.client_ip(), left(plinth.user_agent(), 1000)
  );
  perform private.queue_mail(
    v_user_id, request_phone_verification.phone_number, 'phone-code',
    jsonb_build_object('sealed_token', request_phone_verification.sealed_code), 'sms', v_expires_at
  );
  perform private.record_security_event('phone_verification_requested', v_user_id);
  return 'sent';
end
$$;

comment on function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text) is 'Queues a code to a number; returns sent, too_many or refused.';
revoke execute on function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text) from public;
grant execute on function private.request_phone_verification(user_id uuid, phone_number text, code_hash text, sealed_code text) to :PLINTH_SERVICE;

-- Sets a password with a single-use token and ends all sessions; false for a token that is not valid.
create or replace function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_ended integer;
begin
  select u.* into v_user
  from identity.users u
  where u.id = (select t.user_id from private.password_reset_tokens t where t.token_hash = reset_password.token_hash)
  for no key update;
  -- Looked at only now, with the account locked: who waited for a winner finds the token used.
  update private.password_reset_tokens t
  set used_at = now()
  where t.token_hash = reset_password.token_hash
    and t.used_at is null
    and t.expires_at > now()
    and v_user.account_status = 'active';
  if not found then
    perform private.record_security_event(
      'password_reset_failed', v_user.id, jsonb_build_object('reason', 'token_not_valid'), 'warning'
    );
    return false;
  end if;

  perform private.set_password(
    v_user.id, reset_password.new_password_hash, reset_password.new_hash_algorithm, reset_password.suffices_alone,
    reset_password.history_length
  );
  update identity.users u
  set
    password_changed_at = now(), token_version = u.token_version + 1, failed_login_attempts = 0, locked_until = null
  where u.id = v_user.id;
  v_ended := private.end_sessions(v_user.id, 'password_changed');
  delete from private.refresh_tokens t where t.user_id = v_user.id;
  perform private.record_security_event(
    'password_reset', v_user.id,
    jsonb_build_object('ended_sessions', v_ended, 'lifted_lock', coalesce(v_user.locked_until > now(), false)), 'warning'
  );
  perform private.notify_user(v_user.id, 'password-changed', jsonb_build_object('by_reset', true));
  return true;
end
$$;

comment on function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer) is 'Sets a password with a single-use token and ends all sessions; false for a token that is not valid.';
revoke execute on function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer) from public;
grant execute on function private.reset_password(token_hash bytea, new_password_hash text, new_hash_algorithm text, suffices_alone boolean, history_length integer) to :PLINTH_SERVICE;

-- Trigger: revokes the access tokens of a session that ended or was deleted.
create or replace function private.revoke_session_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  insert into private.token_blacklist (kind, subject_id, reason)
  select 'session', old.id, case when tg_op = 'DELETE' then 'session_deleted' else new.end_reason end;
  -- The family dies with its session: a refresh token is live only while its session is.
  return null;
end
$$;

comment on function private.revoke_session_tokens() is 'Trigger: revokes the access tokens of a session that ended or was deleted.';
revoke execute on function private.revoke_session_tokens() from public;

-- Trigger: revokes a user's access tokens when token_version grows or the account is disabled or deleted.
create or replace function private.revoke_user_tokens()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  if tg_op = 'DELETE' then
    insert into private.token_blacklist (kind, subject_id, reason)
    values ('user', old.id, 'account_deleted');
    perform private.record_security_event('account_deleted', null, jsonb_build_object('user_id', old.id), 'warning');
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

comment on function private.revoke_user_tokens() is 'Trigger: revokes a user''s access tokens when token_version grows or the account is disabled or deleted.';
revoke execute on function private.revoke_user_tokens() from public;

-- Exchanges a refresh token for its successor: rotated, replayed (same successor again) or refused.
create or replace function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea)
  returns table(outcome text, user_id uuid, session_id uuid, token_version integer, sealed bytea, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_token private.refresh_tokens;
  v_successor private.refresh_tokens;
  v_session identity.user_sessions;
  v_user identity.users;
  v_idle_limit interval;
begin
  outcome := 'refused';

  select t.* into v_token from private.refresh_tokens t where t.token_hash = rotate_refresh_token.presented_hash;
  if v_token.id is null then
    return next;
    return;
  end if;

  -- Account before session, the one order of locks (see private.finish_login).
  perform from identity.users u where u.id = v_token.user_id for key share;
  -- The session's row is the family's lock: parallel refreshes, logout and reuse wait for each other here.
  select s.* into v_session from identity.user_sessions s where s.id = v_token.session_id for update;
  select t.* into v_token from private.refresh_tokens t where t.id = v_token.id;
  select u.* into v_user from identity.users u where u.id = v_session.user_id;

  if v_token.id is null or v_session.ended_at is not null or v_user.account_status <> 'active' then
    return next;
    return;
  end if;
  select coalesce(make_interval(mins => ss.session_timeout_minutes), interval '30 days') into v_idle_limit
  from identity.users u
  left join identity.user_security_settings ss on ss.user_id = u.id
  where u.id = v_user.id;
  -- A used token is judged by its use below: a replay must not end the session because the token is old by now.
  if v_session.expires_at <= now()
    or (
      v_token.used_at is null
      and (v_token.expires_at <= now() or v_session.last_activity_at <= now() - v_idle_limit)
    )
  then
    update identity.user_sessions s set ended_at = now(), end_reason = 'expired' where s.id = v_session.id;
    return next;
    return;
  end if;

  if v_token.used_at is not null then
    select t.* into v_successor from private.refresh_tokens t where t.parent_id = v_token.id;
    if v_successor.id is null or v_successor.used_at is not null or v_token.used_at < now() - interval '1 minute' then
      update identity.user_sessions s set ended_at = now(), end_reason = 'token_reuse' where s.id = v_session.id;
      perform private.record_security_event(
        'refresh_token_reused', v_user.id, jsonb_build_object('session_id', v_session.id), 'critical'
      );
      return next;
      return;
    end if;
  end if;

  if not private.network_is_allowed(v_user.id) then
    perform private.record_security_event(
      'refresh_refused', v_user.id,
      jsonb_build_object('session_id', v_session.id, 'reason', 'network_not_allowed'), 'warning'
    );
    return next;
    return;
  end if;

  user_id := v_user.id;
  session_id := v_session.id;
  token_version := v_user.token_version;

  if v_token.used_at is not null then
    outcome := 'replayed';
    sealed := v_token.successor_sealed;
    refresh_expires_at := v_successor.expires_at;
    return next;
    return;
  end if;

  update private.refresh_tokens t
  set used_at = now(), successor_sealed = rotate_refresh_token.successor_sealed
  where t.id = v_token.id;
  refresh_expires_at :=
    private.issue_refresh_token(v_session.id, rotate_refresh_token.successor_hash, v_token.id);
  update identity.user_sessions s
  set
    last_activity_at = now(),
    ip_address = coalesce(plinth.client_ip(), s.ip_address),
    user_agent = coalesce(left(plinth.user_agent(), 1000), s.user_agent)
  where s.id = v_session.id;
  outcome := 'rotated';
  return next;
end
$$;

comment on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) is 'Exchanges a refresh token for its successor: rotated, replayed (same successor again) or refused.';
revoke execute on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) from public;
grant execute on function private.rotate_refresh_token(presented_hash bytea, successor_hash bytea, successor_sealed bytea) to :PLINTH_SERVICE;

-- Stores a verification of an address and queues its link; without a token to send only the former.
create or replace function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
declare
  v_expires_at constant timestamptz := now() + interval '1 day';
begin
  insert into private.user_verifications (user_id, kind, new_value, token_hash, expires_at, client_ip, user_agent)
  values (
    send_email_verification.user_id, 'email', send_email_verification.address, send_email_verification.token_hash, v_expires_at,
    plinth.client_ip(), left(plinth.user_agent(), 1000)
  );
  -- No names: who reads there may be a stranger, and the display name is whatever somebody typed.
  if send_email_verification.sealed_token is not null then
    perform private.queue_mail(
      send_email_verification.user_id, send_email_verification.address, 'verify-email',
      (private.mail_variables(send_email_verification.user_id) - 'display_name' - 'user_agent')
        || jsonb_build_object('sealed_token', send_email_verification.sealed_token),
      'email', v_expires_at
    );
  end if;
end
$$;

comment on function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text) is 'Stores a verification of an address and queues its link; without a token to send only the former.';
revoke execute on function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text) from public;

-- Stores a password, keeps the last history_length - 1 before it, and ends links that were sent under the old one.
create or replace function private.set_password(user_id uuid, password_hash text, hash_algorithm text, suffices_alone boolean, history_length integer)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  insert into private.password_history (user_id, password_hash, hash_algorithm)
  select p.user_id, p.password_hash, p.hash_algorithm
  from private.user_passwords p
  where p.user_id = set_password.user_id;
  -- The new one counts as one of them.
  delete from private.password_history h
  where h.user_id = set_password.user_id
    and h.id not in (
      select k.id
      from private.password_history k
      where k.user_id = set_password.user_id
      order by k.created_at desc
      limit greatest(set_password.history_length - 1, 0)
    );

  insert into private.user_passwords as p (user_id, password_hash, hash_algorithm, suffices_alone)
  values (set_password.user_id, set_password.password_hash, set_password.hash_algorithm, set_password.suffices_alone)
  on conflict on constraint user_passwords_pkey do update
    set
      password_hash = excluded.password_hash,
      hash_algorithm = excluded.hash_algorithm,
      suffices_alone = excluded.suffices_alone,
      updated_at = now();

  update private.password_reset_tokens t
  set expires_at = now()
  where t.user_id = set_password.user_id and t.expires_at > now() and t.used_at is null;
  update private.user_verifications v
  set expires_at = now()
  from identity.users u
  where u.id = set_password.user_id
    and v.user_id = u.id
    and v.kind = 'email'
    and v.new_value is distinct from u.email
    and v.expires_at > now()
    and v.used_at is null;
end
$$;

comment on function private.set_password(user_id uuid, password_hash text, hash_algorithm text, suffices_alone boolean, history_length integer) is 'Stores a password, keeps the last history_length - 1 before it, and ends links that were sent under the old one.';
revoke execute on function private.set_password(user_id uuid, password_hash text, hash_algorithm text, suffices_alone boolean, history_length integer) from public;

-- Leases up to batch_size due messages to the caller, who sends them and calls private.finish_mail for each.
create or replace function private.take_mails(batch_size integer, lease interval default '00:02:00'::interval)
  returns table(id uuid, channel text, to_address text, template text, variables jsonb, created_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  if batch_size is null or batch_size not between 1 and 1000 then
    raise exception 'batch_size must be from 1 to 1000.' using errcode = 'PL422';
  end if;

  update private.mail_outbox m
  set status = 'failed', last_error = coalesce(m.last_error || ' ', '') || '(too old to be sent)', variables = m.variables - 'sealed_token'
  where m.id in (
    select o.id
    from private.mail_outbox o
    where o.status = 'pending' and o.next_attempt_at <= now() and o.expires_at <= now()
    limit batch_size
    for update skip locked
  );

  return query
    with due as (
      select o.id
      from private.mail_outbox o
      where o.status = 'pending' and o.next_attempt_at <= now() and (o.expires_at is null or o.expires_at > now())
      order by o.next_attempt_at
      limit batch_size
      for update skip locked
    )
    update private.mail_outbox m
    set attempts = m.attempts + 1, next_attempt_at = clock_timestamp() + take_mails.lease
    from due
    where m.id = due.id
    returning m.id, m.channel, m.to_address, m.template, m.variables, m.created_at;
end
$$;

comment on function private.take_mails(batch_size integer, lease interval) is 'Leases up to batch_size due messages to the caller, who sends them and calls private.finish_mail for each.';
revoke execute on function private.take_mails(batch_size integer, lease interval) from public;
grant execute on function private.take_mails(batch_size integer, lease interval) to :PLINTH_WORKER;

-- Counts a try at the account's live code and returns its hash; no row when there is none or its five tries are spent.
create or replace function private.take_phone_attempt(user_id uuid)
  returns table(verification_id uuid, code_hash text)
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  update private.user_verifications v
  set attempts = v.attempts + 1
  where v.user_id = take_phone_attempt.user_id
    and v.kind = 'phone'
    and v.used_at is null
    and v.expires_at > now()
    and v.attempts < 5
  returning v.id, v.code_hash
$$;

comment on function private.take_phone_attempt(user_id uuid) is 'Counts a try at the account''s live code and returns its hash; no row when there is none or its five tries are spent.';
revoke execute on function private.take_phone_attempt(user_id uuid) from public;
grant execute on function private.take_phone_attempt(user_id uuid) to :PLINTH_SERVICE;

-- Makes the address a link was sent to the account's verified one; false for a token that is not valid.
create or replace function private.verify_email(token_hash bytea)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
declare
  v_user identity.users;
  v_address text;
begin
  select u.* into v_user
  from identity.users u
  where u.id = (select v.user_id from private.user_verifications v where v.token_hash = verify_email.token_hash)
  for no key update;
  -- Looked at only now, with the account locked: who waited for a winner finds the token used.
  update private.user_verifications v
  set used_at = now()
  where v.token_hash = verify_email.token_hash
    and v.kind = 'email'
    and v.used_at is null
    and v.expires_at > now()
    and v_user.account_status = 'active'
  returning v.new_value into v_address;
  if v_address is null then
    perform private.record_security_event(
      'email_verification_failed', v_user.id, jsonb_build_object('reason', 'token_not_valid')
    );
    return false;
  end if;

  if v_address is not distinct from v_user.email then
    update identity.users u set email_verified_at = now() where u.id = v_user.id;
    perform private.record_security_event('email_verified', v_user.id);
    return true;
  end if;

  begin
    update identity.users u set email = v_address, email_verified_at = now() where u.id = v_user.id;
  exception
    when unique_violation then
      -- Somebody else proved it first.
      perform private.record_security_event(
        'email_verification_failed', v_user.id, jsonb_build_object('reason', 'address_taken')
      );
      return false;
  end;
  update private.password_reset_tokens t
  set expires_at = now()
  where t.user_id = v_user.id and t.expires_at > now() and t.used_at is null;
  if v_user.email is not null then
    perform private.queue_mail(v_user.id, v_user.email, 'email-changed', private.mail_variables(v_user.id));
  end if;
  perform private.record_security_event('email_changed', v_user.id, '{}', 'warning');
  return true;
end
$$;

comment on function private.verify_email(token_hash bytea) is 'Makes the address a link was sent to the account''s verified one; false for a token that is not valid.';
revoke execute on function private.verify_email(token_hash bytea) from public;
grant execute on function private.verify_email(token_hash bytea) to :PLINTH_SERVICE;

-- Reads the price history of a model to import; USD per million tokens.
create or replace function private.wanted_prices(price_history jsonb)
  returns table(input_price numeric, output_price numeric, cached_input_price numeric, effective_from timestamp with time zone, effective_to timestamp with time zone)
  language sql
  stable
  set search_path to 'pg_catalog'
  set "TimeZone" to 'UTC'
as $$
  select
    (h ->> 'input')::numeric(18, 6),
    (h ->> 'output')::numeric(18, 6),
    (h ->> 'inputCached')::numeric(18, 6),
    (h ->> 'from')::date,
    (h ->> 'to')::date
  from jsonb_array_elements(coalesce(price_history, '[]')) h
$$;

comment on function private.wanted_prices(price_history jsonb) is 'Reads the price history of a model to import; USD per million tokens.';
revoke execute on function private.wanted_prices(price_history jsonb) from public;
