--! Previous: sha1:66c36c5e1181e13e658f6655263374d4f37e4240
--! Hash: sha1:59fc04a9d7ed02b1a29f2390e9a5f25a47bb1627
--! Message: api tokens

-- API tokens for programs, sessions that know how they are used, and consents.

-- A program's key to an account. The secret itself is nowhere; its hash is in private.api_token_hashes.
create table identity.api_tokens (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  name text not null,
  token_prefix text not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  last_used_at timestamptz,
  last_used_ip inet,
  revoked_at timestamptz,
  constraint api_tokens_name_check check (length(name) between 1 and 100 and name !~ '[[:cntrl:]]' and trim(name) <> ''),
  constraint api_tokens_token_prefix_check check (token_prefix ~ '^pla_[A-Za-z0-9_-]{8}$'),
  constraint api_tokens_scopes_are_read_or_both check (scopes in (array['read'], array['read', 'write'])),
  constraint api_tokens_expire_within_366_days
    check (expires_at > created_at and expires_at <= created_at + interval '366 days')
);

alter table identity.api_tokens enable row level security;

-- A user's tokens, newest first; also serves the foreign key and the count of live ones.
create index api_tokens_user_id_created_at_idx on identity.api_tokens (user_id, created_at desc);
-- The clean-up job asks for tokens dead for long.
create index api_tokens_expires_at_idx on identity.api_tokens (expires_at);
create index api_tokens_revoked_at_idx on identity.api_tokens (revoked_at) where revoked_at is not null;

comment on table identity.api_tokens is 'One row per API token; kept 90 days after it was revoked or expired.';
comment on column identity.api_tokens.id is 'UUIDv7.';
comment on column identity.api_tokens.user_id is 'As whom the token acts.';
comment on column identity.api_tokens.name is 'What the user calls it, 1 to 100 characters.';
comment on column identity.api_tokens.token_prefix is 'How the token begins, to know it again: pla_ and 8 of its 43 random characters.';
comment on column identity.api_tokens.scopes is 'read, or read and write; without write its transactions are read-only.';
comment on column identity.api_tokens.created_at is 'When it was made.';
comment on column identity.api_tokens.expires_at is 'From then on it is refused; at most 366 days after it was made.';
comment on column identity.api_tokens.last_used_at is 'Last use, to the minute; null if never.';
comment on column identity.api_tokens.last_used_ip is 'Address of the last use.';
comment on column identity.api_tokens.revoked_at is 'When it was revoked; null while it was not.';

create table private.api_token_hashes (
  token_id uuid primary key references identity.api_tokens on delete cascade,
  token_hash bytea not null,
  constraint api_token_hashes_token_hash_key unique (token_hash),
  constraint api_token_hashes_token_hash_is_sha256 check (octet_length(token_hash) = 32)
);

alter table private.api_token_hashes enable row level security;

comment on table private.api_token_hashes is 'One row per API token: what it is recognised by. Readable by no API role.';
comment on column private.api_token_hashes.token_id is 'The token.';
comment on column private.api_token_hashes.token_hash is 'SHA-256 of the token; 256 random bits need no salt.';

-- What people may be asked to consent to, and in which words.
create table identity.consent_purposes (
  name text not null,
  version integer not null,
  title text not null,
  text_url text not null,
  required boolean not null default false,
  published_at timestamptz,
  created_at timestamptz not null default now(),
  constraint consent_purposes_pkey primary key (name, version),
  constraint consent_purposes_name_check check (name ~ '^[a-z][a-z0-9_]{0,99}$'),
  constraint consent_purposes_version_check check (version between 1 and 1000000),
  constraint consent_purposes_title_check check (length(title) between 1 and 200 and title !~ '[[:cntrl:]]'),
  constraint consent_purposes_text_url_check check (text_url ~ '^https?://[^[:space:]]+$' and length(text_url) <= 2048)
);

alter table identity.consent_purposes enable row level security;

comment on table identity.consent_purposes is 'One row per purpose and version of its text; a published one never changes.';
comment on column identity.consent_purposes.name is 'The purpose, such as newsletter; lower case letters, digits and underscores.';
comment on column identity.consent_purposes.version is 'Counts up with the text; the highest published one is current.';
comment on column identity.consent_purposes.title is 'What the user is asked, in a line.';
comment on column identity.consent_purposes.text_url is 'http(s) address of the whole text.';
comment on column identity.consent_purposes.required is 'Whether the product cannot be used without; for the application to act on.';
comment on column identity.consent_purposes.published_at is 'From then on it counts and cannot be changed; null for a draft.';
comment on column identity.consent_purposes.created_at is 'When the row was made.';

-- Who agreed to what and when, and who took it back (GDPR Art. 7: consent must be demonstrable and withdrawable). A decision is
-- a row of its own and is never changed; the last one counts.
create table identity.consents (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  purpose text not null,
  version integer not null,
  granted_at timestamptz,
  withdrawn_at timestamptz,
  decided_at timestamptz not null generated always as (coalesce(granted_at, withdrawn_at)) stored,
  ip_address inet,
  user_agent text,
  constraint consents_purpose_version_fkey
    foreign key (purpose, version) references identity.consent_purposes (name, version) on delete restrict,
  constraint consents_grant_or_withdraw check (num_nonnulls(granted_at, withdrawn_at) = 1),
  constraint consents_user_agent_check check (length(user_agent) <= 1000)
);

alter table identity.consents enable row level security;

-- "The last word of this user on this purpose", which can be only one; also serves the foreign key to the user.
create unique index consents_user_id_purpose_decided_at_key on identity.consents (user_id, purpose, decided_at);
create index consents_purpose_version_idx on identity.consents (purpose, version);

comment on table identity.consents is 'One row per decision of a user on a purpose; append-only, the last one counts.';
comment on column identity.consents.id is 'UUIDv7.';
comment on column identity.consents.user_id is 'Who decided.';
comment on column identity.consents.purpose is 'On which purpose.';
comment on column identity.consents.version is 'In which version of its text.';
comment on column identity.consents.granted_at is 'When the user agreed; null for a withdrawal.';
comment on column identity.consents.withdrawn_at is 'When the user took the consent back; null for a consent.';
comment on column identity.consents.decided_at is 'When the decision was made, whichever it is.';
comment on column identity.consents.ip_address is 'From where.';
comment on column identity.consents.user_agent is 'User-Agent header of the request.';
comment on constraint consents_purpose_version_fkey on identity.consents is
  E'@fieldName consentPurpose\n@foreignFieldName consents\nThe text that was decided on.';

insert into access.permissions (permission_name, description) values
  ('manage_consents', 'Write and publish what users are asked to consent to.');
insert into access.role_permissions (role_id, permission_id)
select r.id, p.id
from access.roles r
cross join access.permissions p
where r.role_name = 'admin' and p.permission_name = 'manage_consents';

alter table identity.user_sessions
  add constraint user_sessions_device_info_is_small check (octet_length(device_info::text) <= 2048);

comment on column identity.user_sessions.last_activity_at is 'Last sign-in, refresh or request, to the minute.';
comment on column identity.user_sessions.ip_address is 'Address at the last sign-in, refresh or noted request.';
comment on column identity.user_sessions.device_info is
  'platform and browser as the User-Agent header names them, and what the application adds (JSON object of up to 2 kB).';
comment on column identity.user_sessions.security_context is
  'sign_in_address, and addresses: the last five with the time since which (JSON object).';
comment on column identity.user_security_settings.allowed_networks is
  'Sign-in, refresh and API tokens only from these networks (CIDR); null means from anywhere.';

--! Included plinth/functions/current_api_token_id.sql
-- Whether a program asks, and not a person: what only a person may do looks here.
create or replace function plinth.current_api_token_id()
  returns uuid
  language sql
  stable
  parallel safe
as $$
  select nullif(current_setting('jwt.claims.api_token_id', true), '')::uuid
$$;

comment on function plinth.current_api_token_id() is
  E'@behavior -*\nThe id of the API token that is used, or null when a session or nobody asks.';
grant execute on function plinth.current_api_token_id()
  to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded plinth/functions/current_api_token_id.sql
--! Included private/functions/refuse_api_token.sql
-- Sign-in, sessions, tokens, consents and sign-in rules are a person's own business: a stolen API token must not be able to
-- make itself at home there.
create or replace function private.refuse_api_token()
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if plinth.current_api_token_id() is not null then
    raise exception 'An API token cannot do this.' using errcode = 'PL403', hint = 'Sign in.';
  end if;
end
$$;

comment on function private.refuse_api_token() is 'PL403 when the request was made with an API token.';
--! EndIncluded private/functions/refuse_api_token.sql
--! Included identity/policies/api_tokens.sql
-- Users see their own tokens, who manages users sees all. They are made and revoked by functions: no other grant.
revoke all on identity.api_tokens from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.api_tokens to :PLINTH_USER;

drop policy if exists select_own on identity.api_tokens;
create policy select_own on identity.api_tokens
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.api_tokens is 'Users read what is known of their own API tokens.';

drop policy if exists select_managed on identity.api_tokens;
create policy select_managed on identity.api_tokens
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_users')));
comment on policy select_managed on identity.api_tokens is 'Who manages users finds the token to revoke.';
--! EndIncluded identity/policies/api_tokens.sql
--! Included private/functions/create_api_token.sql
-- The secret is made and hashed outside; here is decided whether there may be one more token. The account's row is the lock,
-- so that parallel requests are counted one after the other.
create or replace function private.create_api_token(
  user_id uuid,
  session_id uuid,
  name text,
  scopes text[],
  expires_at timestamptz,
  token_prefix text,
  token_hash bytea
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_authenticated_at timestamptz;
  v_expires_at timestamptz := coalesce(create_api_token.expires_at, now() + interval '90 days');
  v_id uuid;
begin
  perform private.refuse_api_token();
  perform from identity.users u where u.id = create_api_token.user_id and u.account_status = 'active' for no key update;
  if found then
    select s.authenticated_at into v_authenticated_at
    from identity.user_sessions s
    where s.id = create_api_token.session_id
      and s.user_id = create_api_token.user_id
      and s.ended_at is null
      and s.expires_at > now();
  end if;
  if v_authenticated_at is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  -- A token outlives the session: whoever finds an open browser must not take one away.
  if v_authenticated_at < now() - interval '10 minutes' then
    raise exception 'This needs a recent sign-in.' using errcode = 'PL403', hint = 'Confirm it is you';
  end if;

  if create_api_token.scopes is null
    or cardinality(create_api_token.scopes) = 0
    or array_position(create_api_token.scopes, null) is not null
    or not create_api_token.scopes <@ array['read', 'write']
  then
    raise exception 'Scopes are read and write.'
      using errcode = 'PL422', schema = 'identity', table = 'api_tokens', column = 'scopes';
  end if;
  if not (v_expires_at > now() and v_expires_at <= now() + interval '366 days') then
    raise exception 'A token expires within 366 days.'
      using errcode = 'PL422', schema = 'identity', table = 'api_tokens', column = 'expires_at';
  end if;
  if (
    select count(*) >= 50
    from identity.api_tokens t
    where t.user_id = create_api_token.user_id and t.revoked_at is null and t.expires_at > now()
  ) then
    raise exception 'There may be 50 live tokens.'
      using errcode = 'PL402', hint = 'Revoke one that is not needed.';
  end if;

  insert into identity.api_tokens (user_id, name, token_prefix, scopes, expires_at)
  values (
    create_api_token.user_id,
    create_api_token.name,
    create_api_token.token_prefix,
    case when 'write' = any (create_api_token.scopes) then array['read', 'write'] else array['read'] end,
    v_expires_at
  )
  returning id into v_id;
  insert into private.api_token_hashes (token_id, token_hash) values (v_id, create_api_token.token_hash);
  perform private.record_security_event(
    'api_token_created', create_api_token.user_id,
    jsonb_build_object('token_id', v_id, 'scopes', to_jsonb(create_api_token.scopes), 'expires_at', v_expires_at)
  );
  return v_id;
end
$$;

comment on function private.create_api_token(uuid, uuid, text, text[], timestamptz, text, bytea) is
  'Adds an API token to the account of a session that was signed in recently; returns its id. PL401, PL402 (50 live ones), PL403, PL422.';
grant execute on function private.create_api_token(uuid, uuid, text, text[], timestamptz, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/create_api_token.sql
--! Included private/functions/find_api_token.sql
-- What a server keeps in memory of a live token for a minute, and what it asks while it cannot hear of revocations.
create or replace function private.find_api_token(token_hash bytea)
  returns table (
    token_id uuid,
    user_id uuid,
    token_version integer,
    scopes text[],
    expires_at timestamptz,
    allowed_networks text[]
  )
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select t.id, t.user_id, u.token_version, t.scopes, t.expires_at, ss.allowed_networks::text[]
  from private.api_token_hashes h
  join identity.api_tokens t on t.id = h.token_id
  join identity.users u on u.id = t.user_id
  left join identity.user_security_settings ss on ss.user_id = t.user_id
  where h.token_hash = find_api_token.token_hash
    and t.revoked_at is null
    and t.expires_at > now()
    and u.account_status = 'active'
$$;

comment on function private.find_api_token(bytea) is
  'The live API token with this hash, whose it is, what it may and from where; no row when there is none.';
grant execute on function private.find_api_token(bytea) to :PLINTH_SERVICE;

create or replace function private.is_api_token_live(user_id uuid, token_id uuid, token_version integer)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select exists (
    select
    from identity.api_tokens t
    join identity.users u on u.id = t.user_id
    where t.id = is_api_token_live.token_id
      and t.user_id = is_api_token_live.user_id
      and t.revoked_at is null
      and t.expires_at > now()
      and u.account_status = 'active'
      and u.token_version = is_api_token_live.token_version
  )
$$;

comment on function private.is_api_token_live(uuid, uuid, integer) is
  'Whether an API token that was found before is still to be believed.';
grant execute on function private.is_api_token_live(uuid, uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded private/functions/find_api_token.sql
--! Included identity/functions/revoke_api_token.sql
-- Definer rights: tokens are nobody's to update but through here. The servers learn of it by the trigger on the table.
create or replace function identity.revoke_api_token(id uuid)
  returns identity.api_tokens
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_owner uuid;
  v_token identity.api_tokens;
begin
  perform private.refuse_api_token();
  select t.user_id into v_owner
  from identity.api_tokens t
  where t.id = revoke_api_token.id
    and (t.user_id = plinth.current_user_id() or access.has_permission('manage_users'));
  -- Account before token, the one order of locks (see private.finish_login).
  perform from identity.users u where u.id = v_owner for key share;
  update identity.api_tokens t
  set revoked_at = now()
  where t.id = revoke_api_token.id and t.user_id = v_owner and t.revoked_at is null
  returning t.* into v_token;
  if v_token.id is null then
    raise exception 'There is no such live token.' using errcode = 'PL404';
  end if;
  perform private.record_security_event('api_token_revoked', v_owner, jsonb_build_object('token_id', v_token.id));
  return v_token;
end
$$;

comment on function identity.revoke_api_token(uuid) is
  'Revokes an API token at once and everywhere: one''s own, or with manage_users anybody''s. PL404 when there is no such live token.';
grant execute on function identity.revoke_api_token(uuid) to :PLINTH_USER;
--! EndIncluded identity/functions/revoke_api_token.sql
--! Included private/triggers/api_token_revocation.sql
-- A revoked API token goes the way of a revoked access token: a row of private.token_blacklist, which servers hear of at once.
-- The row lives a day, longer than any server remembers a token without asking.
create or replace function private.revoke_api_token()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into private.token_blacklist (kind, subject_id, reason)
  values ('token', old.id, case when tg_op = 'DELETE' then 'api_token_deleted' else 'api_token_revoked' end);
  return null;
end
$$;

comment on function private.revoke_api_token() is 'Trigger: tells the servers of an API token that was revoked or deleted.';

create or replace trigger _500_revoke
  after update of revoked_at on identity.api_tokens
  for each row
  when (old.revoked_at is null and new.revoked_at is not null)
  execute function private.revoke_api_token();

create or replace trigger _500_revoke_deleted
  after delete on identity.api_tokens
  for each row
  when (old.revoked_at is null and old.expires_at > now())
  execute function private.revoke_api_token();

-- Whoever got into an account may have made themselves a token: what ends all access tokens (a changed password, logout
-- everywhere, a disabled account) ends the API tokens too.
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
--! EndIncluded private/triggers/api_token_revocation.sql
--! Included private/functions/delete_old_api_tokens.sql
-- One batch of the clean-up: tokens dead for 90 days, as long as ended sessions are kept (the audit log keeps the events).
create or replace function private.delete_old_api_tokens(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  with old as (
    select t.id
    from identity.api_tokens t
    where t.revoked_at < now() - interval '90 days' or t.expires_at < now() - interval '90 days'
    limit batch_size
    for update skip locked
  )
  delete from identity.api_tokens t using old o where t.id = o.id;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;

comment on function private.delete_old_api_tokens(integer) is
  'Deletes up to batch_size API tokens that were revoked or expired 90 days ago; returns how many.';
grant execute on function private.delete_old_api_tokens(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_old_api_tokens.sql
--! Included private/functions/session_idle_limit.sql
-- Read at each use and never stored with a session or token, so that a lower limit holds at once.
create or replace function private.session_idle_limit(user_id uuid)
  returns interval
  language sql
  stable
  set search_path = pg_catalog
as $$
  select coalesce(
    (
      select make_interval(mins => ss.session_timeout_minutes)
      from identity.user_security_settings ss
      where ss.user_id = session_idle_limit.user_id
    ),
    interval '30 days'
  )
$$;

comment on function private.session_idle_limit(uuid) is
  'How long a user''s sessions may stay unused: session_timeout_minutes, or 30 days.';
--! EndIncluded private/functions/session_idle_limit.sql
--! Included private/functions/issue_refresh_token.sql
-- A refresh token lives as long as its session: how long that may stay unused is the session's own rule, because using an
-- access token counts as use too. The client is told when it had better refresh, should it do nothing else until then.
create or replace function private.issue_refresh_token(session_id uuid, token_hash bytea, parent_id uuid default null)
  returns timestamptz
  language sql
  volatile
  set search_path = pg_catalog
as $$
  insert into private.refresh_tokens (session_id, user_id, parent_id, token_hash, expires_at)
  select s.id, s.user_id, issue_refresh_token.parent_id, issue_refresh_token.token_hash, s.expires_at
  from identity.user_sessions s
  where s.id = issue_refresh_token.session_id
  returning least(expires_at, now() + private.session_idle_limit(user_id))
$$;

comment on function private.issue_refresh_token(uuid, bytea, uuid) is
  'Adds a refresh token to a session; returns when it expires if the session is not used before.';
--! EndIncluded private/functions/issue_refresh_token.sql
--! Included private/functions/rotate_refresh_token.sql
-- Exchanges a refresh token for its successor (RFC 9700, section 4.14.2).
--   rotated   the token was live; the successor's hash is stored
--   replayed  the token is the immediate parent of the live one and was used less than a minute ago: a lost response, so the
--             caller gets the same successor again
--   refused   anything else. A used token that is older than that is stolen, by whoever came first or second: the session
--             ends. It is an answer and not an exception, or the end of the session would be rolled back with it.
create or replace function private.rotate_refresh_token(
  presented_hash bytea,
  successor_hash bytea,
  successor_sealed bytea
)
  returns table (
    outcome text,
    user_id uuid,
    session_id uuid,
    token_version integer,
    sealed bytea,
    refresh_expires_at timestamptz
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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
  v_idle_limit := private.session_idle_limit(v_user.id);
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
    refresh_expires_at := least(v_successor.expires_at, now() + v_idle_limit);
    return next;
    return;
  end if;

  update private.refresh_tokens t
  set
    used_at = now(),
    successor_sealed = rotate_refresh_token.successor_sealed,
    -- Kept that long only to know it again when it is used a second time.
    expires_at = least(t.expires_at, now() + interval '30 days')
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

comment on function private.rotate_refresh_token(bytea, bytea, bytea) is
  'Exchanges a refresh token for its successor: rotated, replayed (same successor again) or refused.';
grant execute on function private.rotate_refresh_token(bytea, bytea, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/rotate_refresh_token.sql
--! Included private/functions/describe_user_agent.sql
-- Enough of a User-Agent header to know one's own devices in a list; nothing is decided by it. The order matters: browsers
-- carry the names of those they imitate.
create or replace function private.describe_user_agent(user_agent text)
  returns jsonb
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select jsonb_strip_nulls(
    jsonb_build_object(
      'platform',
      case
        when user_agent ~ 'Windows' then 'Windows'
        when user_agent ~ 'iPhone|iPad|iPod' then 'iOS'
        when user_agent ~ 'Android' then 'Android'
        when user_agent ~ 'CrOS' then 'ChromeOS'
        when user_agent ~ 'Macintosh|Mac OS X' then 'macOS'
        when user_agent ~ 'Linux' then 'Linux'
      end,
      'browser',
      case
        when user_agent ~ '\mEdg(e|A|iOS)?/' then 'Edge'
        when user_agent ~ '\mOPR/' then 'Opera'
        when user_agent ~ '\mSamsungBrowser/' then 'Samsung Internet'
        when user_agent ~ '\m(Firefox|FxiOS)/' then 'Firefox'
        when user_agent ~ '\m(Chrome|CriOS|Chromium)/' then 'Chrome'
        when user_agent ~ '\mSafari/' then 'Safari'
        -- Programs name themselves first: curl/8.5.0
        else substring(user_agent from '^[A-Za-z][A-Za-z0-9._-]{0,39}')
      end
    )
  )
$$;

comment on function private.describe_user_agent(text) is
  'Platform and browser that a User-Agent header names, as a JSON object; what is not known is left out.';
--! EndIncluded private/functions/describe_user_agent.sql
--! Included identity/triggers/user_sessions.sql
-- What is known of a session's device and of where it has been, kept by whoever writes its row: sign-in, refresh or use.
create or replace function identity.describe_session()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_known jsonb := coalesce(new.security_context -> 'addresses', '[]');
begin
  if tg_op = 'INSERT' then
    if new.device_info = '{}' then
      new.device_info := private.describe_user_agent(new.user_agent);
    end if;
    if new.ip_address is not null then
      new.security_context := new.security_context || jsonb_build_object(
        'sign_in_address', host(new.ip_address),
        'addresses', jsonb_build_array(jsonb_build_object('address', host(new.ip_address), 'since', now()))
      );
    end if;
    return new;
  end if;

  new.security_context := new.security_context || jsonb_build_object(
    'addresses',
    (
      select jsonb_agg(latest.entry order by latest.place)
      from (
        select jsonb_build_object('address', host(new.ip_address), 'since', now()) as entry, 0 as place
        union all
        (
          select k.entry, k.place
          from jsonb_array_elements(v_known) with ordinality as k (entry, place)
          where k.entry ->> 'address' is distinct from host(new.ip_address)
          order by k.place
          limit 4
        )
      ) latest
    )
  );
  return new;
end
$$;

comment on function identity.describe_session() is
  'Trigger: fills device_info from the User-Agent header, and keeps the last five addresses in security_context.';

create or replace trigger _100_describe
  before insert on identity.user_sessions
  for each row
  execute function identity.describe_session();

create or replace trigger _100_note_address
  before update of ip_address on identity.user_sessions
  for each row
  when (new.ip_address is not null and new.ip_address is distinct from old.ip_address)
  execute function identity.describe_session();
--! EndIncluded identity/triggers/user_sessions.sql
--! Included identity/policies/user_sessions.sql
-- Users see and describe their own sessions. They are made by sign-in and ended by functions, which also end the tokens.
revoke all on identity.user_sessions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (device_name, device_info) on identity.user_sessions to :PLINTH_USER;

drop policy if exists select_own on identity.user_sessions;
create policy select_own on identity.user_sessions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.user_sessions is 'Users read their own sessions.';

drop policy if exists update_own on identity.user_sessions;
create policy update_own on identity.user_sessions
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on identity.user_sessions is 'Users name and describe their own sessions.';
--! EndIncluded identity/policies/user_sessions.sql
--! Included private/functions/touch_activity.sql
-- What the servers saw being used, told in batches every few seconds. Rows that somebody else works on are skipped and not
-- waited for: the next batch comes soon, and a request must never wait for this.
create or replace function private.touch_sessions(session_ids uuid[], seen_at timestamptz[], ip_addresses inet[])
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_users uuid[];
  v_touched integer;
begin
  -- Account before session, the one order of locks (see private.finish_login): a new address is audited, which locks it.
  select array_agg(locked.id) into v_users
  from (
    select u.id
    from identity.users u
    where u.id in (select s.user_id from identity.user_sessions s where s.id = any (touch_sessions.session_ids))
    order by u.id
    for key share skip locked
  ) locked;

  with seen as (
    select distinct on (s.id) s.id, least(s.at, now()) as at, s.ip
    from unnest(touch_sessions.session_ids, touch_sessions.seen_at, touch_sessions.ip_addresses) as s (id, at, ip)
    where s.at is not null
    order by s.id, s.at desc
  ),
  locked as (
    select s.id, seen.at, seen.ip
    from identity.user_sessions s
    join seen on seen.id = s.id
    where s.user_id = any (v_users)
      and s.ended_at is null
      and s.expires_at > now()
      -- Once a minute is enough, however many servers tell.
      and s.last_activity_at <= seen.at - interval '1 minute'
      -- A session past its limit is over, also where an access token still works for some minutes.
      and s.last_activity_at > seen.at - private.session_idle_limit(s.user_id)
    order by s.id
    for no key update of s skip locked
  )
  update identity.user_sessions s
  set last_activity_at = l.at, ip_address = coalesce(l.ip, s.ip_address)
  from locked l
  where s.id = l.id;
  get diagnostics v_touched = row_count;
  return v_touched;
end
$$;

comment on function private.touch_sessions(uuid[], timestamptz[], inet[]) is
  'Notes when and from where sessions were used, once a minute at most; returns how many rows changed.';
grant execute on function private.touch_sessions(uuid[], timestamptz[], inet[]) to :PLINTH_SERVICE;

create or replace function private.touch_api_tokens(token_ids uuid[], seen_at timestamptz[], ip_addresses inet[])
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_touched integer;
begin
  with seen as (
    select distinct on (s.id) s.id, least(s.at, now()) as at, s.ip
    from unnest(touch_api_tokens.token_ids, touch_api_tokens.seen_at, touch_api_tokens.ip_addresses) as s (id, at, ip)
    where s.at is not null
    order by s.id, s.at desc
  ),
  locked as (
    select t.id, seen.at, seen.ip
    from identity.api_tokens t
    join seen on seen.id = t.id
    where t.last_used_at is null or t.last_used_at <= seen.at - interval '1 minute'
    order by t.id
    for no key update of t skip locked
  )
  update identity.api_tokens t
  set last_used_at = l.at, last_used_ip = coalesce(l.ip, t.last_used_ip)
  from locked l
  where t.id = l.id;
  get diagnostics v_touched = row_count;
  return v_touched;
end
$$;

comment on function private.touch_api_tokens(uuid[], timestamptz[], inet[]) is
  'Notes when and from where API tokens were used, once a minute at most; returns how many rows changed.';
grant execute on function private.touch_api_tokens(uuid[], timestamptz[], inet[]) to :PLINTH_SERVICE;
--! EndIncluded private/functions/touch_activity.sql
--! Included identity/functions/logout.sql
-- Signing out, three ways. Definer rights: sessions are not the user's to update but through here. Repeating a call is
-- harmless and says so by its answer.

create or replace function identity.logout()
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.refuse_api_token();
  -- Account before session, the one order of locks (see private.finish_login).
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'logout'
  where s.id = plinth.current_session_id()
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null;
  if found then
    perform private.record_security_event('logout', plinth.current_user_id());
  end if;
  return found;
end
$$;

comment on function identity.logout() is 'Ends the session that asks, its access and refresh tokens at once; false when it had ended.';
grant execute on function identity.logout() to :PLINTH_USER;

create or replace function identity.logout_everywhere()
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_ended integer;
begin
  perform private.refuse_api_token();
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  update identity.users u set token_version = u.token_version + 1 where u.id = plinth.current_user_id();
  v_ended := private.end_sessions(plinth.current_user_id(), 'logout_everywhere');
  perform private.record_security_event('logout_everywhere', plinth.current_user_id(), jsonb_build_object('sessions', v_ended));
  return v_ended;
end
$$;

comment on function identity.logout_everywhere() is 'Ends all sessions of the user who asks, this one included; returns how many.';
grant execute on function identity.logout_everywhere() to :PLINTH_USER;

create or replace function identity.end_session(session_id uuid)
  returns identity.user_sessions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_session identity.user_sessions;
begin
  perform private.refuse_api_token();
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  update identity.user_sessions s
  set ended_at = now(), end_reason = 'ended_by_user'
  where s.id = end_session.session_id
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null
  returning s.* into v_session;
  if v_session.id is null then
    raise exception 'You have no such live session.' using errcode = 'PL404';
  end if;
  perform private.record_security_event('session_ended', v_session.user_id, jsonb_build_object('session_id', v_session.id));
  return v_session;
end
$$;

comment on function identity.end_session(uuid) is 'Ends one of the user''s own sessions; PL404 when there is no such live session.';
grant execute on function identity.end_session(uuid) to :PLINTH_USER;
--! EndIncluded identity/functions/logout.sql
--! Included identity/functions/end_other_sessions.sql
-- "That was not me": all devices but this one. Definer rights: see identity.logout.
create or replace function identity.end_other_sessions()
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_ended integer;
begin
  perform private.refuse_api_token();
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  -- Without a session of one's own "the others" are all: that is logout_everywhere.
  if plinth.current_session_id() is null then
    raise exception 'This needs a session.' using errcode = 'PL403';
  end if;
  -- Account before session, the one order of locks. It also keeps a sign-in from slipping in between.
  perform from identity.users u where u.id = plinth.current_user_id() for no key update;
  v_ended := private.end_sessions(plinth.current_user_id(), 'ended_by_user', plinth.current_session_id());
  perform private.record_security_event(
    'other_sessions_ended', plinth.current_user_id(), jsonb_build_object('sessions', v_ended)
  );
  return v_ended;
end
$$;

comment on function identity.end_other_sessions() is
  'Ends all sessions of the user who asks but the one that asks, their tokens at once; returns how many.';
grant execute on function identity.end_other_sessions() to :PLINTH_USER;
--! EndIncluded identity/functions/end_other_sessions.sql
--! Included identity/triggers/user_security_settings.sql
-- Rules for one's own sign-ins. A list of networks without the address that asks would lock its owner out at the next
-- refresh, so it must be meant (identity.set_allowed_networks with force). The owner role, without a user, may do anything.
create or replace function identity.check_security_settings()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.refuse_api_token();
  if plinth.current_user_id() is not null
    and new.allowed_networks is distinct from old.allowed_networks
    and current_setting('plinth.allow_lockout', true) is distinct from 'on'
    and not coalesce(plinth.client_ip() <<= any (new.allowed_networks), new.allowed_networks is null)
  then
    raise exception 'The networks do not contain the address you ask from: you would lock yourself out.'
      using
        errcode = 'PL422',
        hint = 'Add your network, or use setAllowedNetworks with force.',
        schema = 'identity',
        table = 'user_security_settings',
        column = 'allowed_networks';
  end if;
  return new;
end
$$;

comment on function identity.check_security_settings() is
  'Trigger: only a person changes sign-in rules, and does not lock themselves out by mistake. PL403, PL422.';

create or replace trigger _100_check
  before update on identity.user_security_settings
  for each row
  execute function identity.check_security_settings();

create or replace function identity.audit_security_settings()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.record_security_event(
    'security_settings_changed', new.user_id,
    (
      select jsonb_object_agg(n.key, jsonb_build_object('old', o.value, 'new', n.value))
      from jsonb_each(to_jsonb(new)) n
      join jsonb_each(to_jsonb(old)) o on o.key = n.key
      where n.value is distinct from o.value and n.key <> 'updated_at'
    )
  );
  return null;
end
$$;

comment on function identity.audit_security_settings() is
  'Trigger: writes security_settings_changed with old and new values to the audit log.';

create or replace trigger _500_audit
  after update on identity.user_security_settings
  for each row
  when (old.* is distinct from new.*)
  execute function identity.audit_security_settings();
--! EndIncluded identity/triggers/user_security_settings.sql
--! Included identity/functions/set_allowed_networks.sql
-- Invoker rights: it is the user's own update, with a word of insistence that an update cannot carry.
create or replace function identity.set_allowed_networks(networks cidr[], force boolean default false)
  returns identity.user_security_settings
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_settings identity.user_security_settings;
begin
  perform set_config('plinth.allow_lockout', case when set_allowed_networks.force then 'on' else 'off' end, true);
  update identity.user_security_settings s
  set allowed_networks = set_allowed_networks.networks
  where s.user_id = plinth.current_user_id()
  returning s.* into v_settings;
  perform set_config('plinth.allow_lockout', 'off', true);
  if v_settings.user_id is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  return v_settings;
end
$$;

comment on function identity.set_allowed_networks(cidr[], boolean) is
  'Sets the networks one may sign in, refresh and use API tokens from; null for any. PL422 when the address that asks is not in them, unless forced.';
grant execute on function identity.set_allowed_networks(cidr[], boolean) to :PLINTH_USER;
--! EndIncluded identity/functions/set_allowed_networks.sql
--! Included identity/policies/consent_purposes.sql
-- What may be consented to is public, before registration too; drafts are for who writes them.
revoke all on identity.consent_purposes from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.consent_purposes to :PLINTH_ANONYMOUS;
grant
  select,
  insert (name, version, title, text_url, required, published_at),
  update (title, text_url, required, published_at),
  delete
  on identity.consent_purposes to :PLINTH_USER;

drop policy if exists select_published on identity.consent_purposes;
create policy select_published on identity.consent_purposes
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (published_at <= now());
comment on policy select_published on identity.consent_purposes is 'Everybody reads what is published.';

drop policy if exists all_manager on identity.consent_purposes;
create policy all_manager on identity.consent_purposes
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_consents')))
  with check ((select access.has_permission('manage_consents')));
comment on policy all_manager on identity.consent_purposes is 'The permission manage_consents writes purposes and reads drafts.';
--! EndIncluded identity/policies/consent_purposes.sql
--! Included identity/policies/consents.sql
-- Users see their own decisions. Nobody writes but identity.give_consent and identity.withdraw_consent; nobody changes one.
revoke all on identity.consents from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.consents to :PLINTH_USER;

drop policy if exists select_own on identity.consents;
create policy select_own on identity.consents
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.consents is 'Users read their own decisions.';
--! EndIncluded identity/policies/consents.sql
--! Included identity/triggers/consent_purposes.sql
-- What people have agreed to must stay what they agreed to: a published version is changed by publishing the next.
create or replace function identity.guard_published_purpose()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  raise exception 'A published version cannot be changed.'
    using errcode = 'PL409', hint = 'Publish a new version.', schema = 'identity', table = 'consent_purposes';
end
$$;

comment on function identity.guard_published_purpose() is 'Trigger: a published version of a purpose stays as it is. PL409.';

create or replace trigger _100_guard_published
  before update or delete on identity.consent_purposes
  for each row
  when (old.published_at <= now())
  execute function identity.guard_published_purpose();
--! EndIncluded identity/triggers/consent_purposes.sql
--! Included private/functions/last_consent.sql
-- A person's last word on a purpose is the one that counts.
create or replace function private.last_consent(user_id uuid, purpose text)
  returns identity.consents
  language sql
  stable
  set search_path = pg_catalog
as $$
  select c
  from identity.consents c
  where c.user_id = last_consent.user_id and c.purpose = last_consent.purpose
  order by c.decided_at desc
  limit 1
$$;

comment on function private.last_consent(uuid, text) is 'A user''s last decision on a purpose; null when there is none.';
--! EndIncluded private/functions/last_consent.sql
--! Included identity/functions/consents.sql
-- Consent is to a purpose in one version of its text. The versions that count, one a purpose:
create or replace function identity.current_consent_purposes()
  returns setof identity.consent_purposes
  language sql
  stable
  rows 10
  set search_path = pg_catalog
as $$
  select distinct on (p.name) p.*
  from identity.consent_purposes p
  where p.published_at <= now()
  order by p.name, p.version desc
$$;

comment on function identity.current_consent_purposes() is 'The newest published version of each purpose.';
grant execute on function identity.current_consent_purposes() to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Definer rights: decisions are written nowhere else. The account's row is the lock, so that decisions of one user stand in
-- one order; repeating a consent that holds adds nothing.
create or replace function identity.give_consent(purpose text, version integer)
  returns identity.consents
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_current integer;
  v_last identity.consents;
  v_new identity.consents;
begin
  perform private.refuse_api_token();
  perform from identity.users u where u.id = plinth.current_user_id() for no key update;
  if not found then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  select p.version into v_current from identity.current_consent_purposes() p where p.name = give_consent.purpose;
  if v_current is null or give_consent.version is null or give_consent.version not between 1 and v_current then
    raise exception 'There is no such purpose in this version.' using errcode = 'PL404';
  end if;
  if give_consent.version < v_current then
    raise exception 'This version is no longer the current one.'
      using errcode = 'PL409', hint = 'Show the current version.', schema = 'identity', table = 'consents', column = 'version';
  end if;

  v_last := private.last_consent(plinth.current_user_id(), give_consent.purpose);
  if v_last.granted_at is not null and v_last.version = v_current then
    return v_last;
  end if;
  insert into identity.consents (user_id, purpose, version, granted_at, ip_address, user_agent)
  values (
    plinth.current_user_id(), give_consent.purpose, v_current,
    greatest(clock_timestamp(), v_last.decided_at + interval '1 microsecond'),
    plinth.client_ip(), left(plinth.user_agent(), 1000)
  )
  returning * into v_new;
  perform private.record_security_event(
    'consent_given', v_new.user_id, jsonb_build_object('purpose', v_new.purpose, 'version', v_new.version)
  );
  return v_new;
end
$$;

comment on function identity.give_consent(text, integer) is
  'Consents to a purpose in its current version. PL404 for an unknown one, PL409 when there is a newer version.';
grant execute on function identity.give_consent(text, integer) to :PLINTH_USER;

create or replace function identity.withdraw_consent(purpose text)
  returns identity.consents
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_last identity.consents;
  v_new identity.consents;
begin
  perform private.refuse_api_token();
  perform from identity.users u where u.id = plinth.current_user_id() for no key update;
  if not found then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  v_last := private.last_consent(plinth.current_user_id(), withdraw_consent.purpose);
  if v_last.granted_at is null then
    raise exception 'There is no such consent.' using errcode = 'PL404';
  end if;
  insert into identity.consents (user_id, purpose, version, withdrawn_at, ip_address, user_agent)
  values (
    v_last.user_id, v_last.purpose, v_last.version,
    greatest(clock_timestamp(), v_last.decided_at + interval '1 microsecond'),
    plinth.client_ip(), left(plinth.user_agent(), 1000)
  )
  returning * into v_new;
  perform private.record_security_event(
    'consent_withdrawn', v_new.user_id, jsonb_build_object('purpose', v_new.purpose, 'version', v_new.version)
  );
  return v_new;
end
$$;

comment on function identity.withdraw_consent(text) is 'Takes a consent back, whatever its version. PL404 when there is none.';
grant execute on function identity.withdraw_consent(text) to :PLINTH_USER;

-- Invoker rights: the policy on identity.consents shows one's own decisions only.
create or replace function identity.has_consent(purpose text)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select coalesce(
    (
      select c.granted_at is not null
        and c.version = (select p.version from identity.current_consent_purposes() p where p.name = has_consent.purpose)
      from identity.consents c
      where c.user_id = plinth.current_user_id() and c.purpose = has_consent.purpose
      order by c.decided_at desc
      limit 1
    ),
    false
  )
$$;

comment on function identity.has_consent(text) is
  'Whether the signed-in user''s last word on a purpose is a consent to its current version.';
grant execute on function identity.has_consent(text) to :PLINTH_USER;

create or replace function identity.users_missing_consents(u identity.users)
  returns setof identity.consent_purposes
  language sql
  stable
  rows 10
  set search_path = pg_catalog
as $$
  select p.*
  from identity.current_consent_purposes() p
  -- Of others one sees no decisions, which must not look as if there were none.
  where u.id = plinth.current_user_id() and not identity.has_consent(p.name)
  order by p.name
$$;

comment on function identity.users_missing_consents(identity.users) is
  'Purposes to whose current version the user has not consented; empty for anybody but oneself.';
grant execute on function identity.users_missing_consents(identity.users) to :PLINTH_USER;
--! EndIncluded identity/functions/consents.sql
--! Included analytics/views/consent_counts.sql
-- How many agree to what, without saying who.
create or replace view analytics.consent_counts
  with (security_barrier = true)
as
with last_decisions as (
  select distinct on (c.user_id, c.purpose) c.purpose, c.version, c.granted_at
  from identity.consents c
  order by c.user_id, c.purpose, c.decided_at desc
)
select
  p.name as purpose,
  p.version,
  p.required,
  count(d.granted_at) as consented_users,
  count(d.purpose) - count(d.granted_at) as withdrawn_users,
  p.published_at
from identity.consent_purposes p
left join last_decisions d on d.purpose = p.name and d.version = p.version
where p.published_at <= now()
group by p.name, p.version;

comment on view analytics.consent_counts is 'Grain: one row per purpose and published version.';
comment on column analytics.consent_counts.purpose is 'Name of the purpose.';
comment on column analytics.consent_counts.version is 'Version of its text.';
comment on column analytics.consent_counts.required is 'Whether the product cannot be used without.';
comment on column analytics.consent_counts.consented_users is 'Users whose last word on the purpose is a consent to this version.';
comment on column analytics.consent_counts.withdrawn_users is 'Users whose last word on the purpose took a consent to this version back.';
comment on column analytics.consent_counts.published_at is 'Since when the version counts.';
grant select on analytics.consent_counts to :PLINTH_ANALYST;
--! EndIncluded analytics/views/consent_counts.sql
