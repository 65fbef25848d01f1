--! Previous: sha1:3a2eb7afb77a7f495d39f665036c49d576aded33
--! Hash: sha1:bdbf623d3243eb52024b67fde9591137f1f7fd0c
--! Message: other providers

-- Signing in with other providers: OpenID Connect accounts that belong to an account here, the secrets they gave us, and
-- the sign-ins that are on their way.

-- An account at another provider. The provider's subject is the only thing that identifies it: addresses change hands.
create table identity.oauth_profiles (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  provider text not null,
  provider_user_id text not null,
  email text,
  email_verified boolean not null default false,
  user_info jsonb not null default '{}',
  token_expires_at timestamptz,
  last_used_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint oauth_profiles_provider_provider_user_id_key unique (provider, provider_user_id),
  constraint oauth_profiles_user_id_provider_key unique (user_id, provider),
  constraint oauth_profiles_provider_check check (provider ~ '^[a-z][a-z0-9_-]{0,49}$'),
  constraint oauth_profiles_provider_user_id_check check (length(provider_user_id) between 1 and 255),
  constraint oauth_profiles_email_check check (length(email) between 3 and 254),
  constraint oauth_profiles_verified_email_is_there check (email is not null or not email_verified),
  constraint oauth_profiles_user_info_is_a_small_object
    check (jsonb_typeof(user_info) = 'object' and octet_length(user_info::text) <= 16384)
);

alter table identity.oauth_profiles enable row level security;

comment on table identity.oauth_profiles is
  'One row per account at another provider that may sign in here: at most one a user and provider.';
comment on column identity.oauth_profiles.id is 'UUIDv7.';
comment on column identity.oauth_profiles.user_id is 'The account it signs in to.';
comment on column identity.oauth_profiles.provider is 'Name of the provider in the settings (PLINTH_OAUTH_PROVIDERS).';
comment on column identity.oauth_profiles.provider_user_id is 'Who it is at the provider: the sub claim, unique there and never given to somebody else.';
comment on column identity.oauth_profiles.email is 'Address the provider told last, lower case. Not the account''s address, and no proof of anything.';
comment on column identity.oauth_profiles.email_verified is 'Whether the provider says that it verified the address.';
comment on column identity.oauth_profiles.user_info is
  'What else the provider told last (JSON object of texts, 16 kB at most): name, given_name, family_name, preferred_username, picture, locale.';
comment on column identity.oauth_profiles.token_expires_at is 'When the provider''s access token expires; null if it did not say.';
comment on column identity.oauth_profiles.last_used_at is 'Last sign-in with it; null if it was linked and not used since.';
comment on column identity.oauth_profiles.created_at is 'When it was linked.';
comment on column identity.oauth_profiles.updated_at is 'When the row last changed.';

-- What the provider gave us to act for the user there. Sealed outside the database (AES-256-GCM under a master key), so
-- that a dump opens nobody's account at the provider. Policies: none, on purpose.
create table private.oauth_tokens (
  profile_id uuid primary key references identity.oauth_profiles on delete cascade,
  access_token_sealed text not null,
  refresh_token_sealed text,
  updated_at timestamptz not null default now(),
  constraint oauth_tokens_are_sealed check (
    access_token_sealed ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'
    and refresh_token_sealed ~ '^v[1-9][0-9]{0,5}[.][A-Za-z0-9_-]{38,}$'
  ),
  constraint oauth_tokens_are_small check (
    length(access_token_sealed) <= 32768 and length(refresh_token_sealed) <= 32768
  )
);

alter table private.oauth_tokens enable row level security;

comment on table private.oauth_tokens is 'One row per account at another provider: its tokens of the last sign-in, sealed.';
comment on column private.oauth_tokens.profile_id is 'Whose tokens.';
comment on column private.oauth_tokens.access_token_sealed is 'Access token, sealed for the purpose "oauth token".';
comment on column private.oauth_tokens.refresh_token_sealed is 'Refresh token, sealed likewise; null if the provider gave none.';
comment on column private.oauth_tokens.updated_at is 'When the provider gave them.';

-- A sign-in between "off to the provider" and "back again". Only hashes of what the client and the provider hold are kept.
create table private.oauth_states (
  id uuid primary key default plinth.uuid_v7(),
  flow_hash bytea not null,
  state_hash bytea not null,
  provider text not null,
  purpose text not null,
  user_id uuid,
  session_id uuid,
  redirect_uri text not null,
  secrets_sealed text not null,
  device_name text,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '10 minutes',
  used_at timestamptz,
  constraint oauth_states_session_id_user_id_fkey
    foreign key (session_id, user_id) references identity.user_sessions (id, user_id) on delete cascade,
  constraint oauth_states_flow_hash_key unique (flow_hash),
  constraint oauth_states_state_hash_key unique (state_hash),
  constraint oauth_states_hashes_are_sha256 check (octet_length(flow_hash) = 32 and octet_length(state_hash) = 32),
  constraint oauth_states_provider_check check (provider ~ '^[a-z][a-z0-9_-]{0,49}$'),
  constraint oauth_states_purpose_check check (purpose in ('sign_in', 'link')),
  -- Linking is for who is signed in, and signing in is for nobody in particular.
  constraint oauth_states_link_has_a_session
    check ((purpose = 'link') = (session_id is not null) and (session_id is null) = (user_id is null)),
  constraint oauth_states_redirect_uri_check check (length(redirect_uri) between 1 and 2048),
  constraint oauth_states_device_name_check check (length(device_name) between 1 and 100 and device_name !~ '[[:cntrl:]]')
);

alter table private.oauth_states enable row level security;

-- Serves the foreign key.
create index oauth_states_session_id_user_id_idx on private.oauth_states (session_id, user_id);
-- The clean-up job.
create index oauth_states_expires_at_idx on private.oauth_states (expires_at);

comment on table private.oauth_states is 'One row per sign-in or link under way at another provider; works once, for ten minutes.';
comment on column private.oauth_states.id is 'UUIDv7.';
comment on column private.oauth_states.flow_hash is 'SHA-256 of the flow token, which only the client that began holds.';
comment on column private.oauth_states.state_hash is 'SHA-256 of the state that the provider gives back.';
comment on column private.oauth_states.provider is 'Name of the provider in the settings.';
comment on column private.oauth_states.purpose is 'sign_in, or link: add the provider to the account that is signed in.';
comment on column private.oauth_states.user_id is 'Who links; null for a sign-in.';
comment on column private.oauth_states.session_id is 'The session that links, and the only one that may finish; null for a sign-in.';
comment on column private.oauth_states.redirect_uri is 'Where the provider sends the browser back to.';
comment on column private.oauth_states.secrets_sealed is 'PKCE code verifier and nonce (JSON), sealed for the purpose "oauth flow".';
comment on column private.oauth_states.device_name is 'Name for the session to be made.';
comment on column private.oauth_states.created_at is 'When the client asked to begin.';
comment on column private.oauth_states.expires_at is 'From then on it is refused.';
comment on column private.oauth_states.used_at is 'When somebody came back with it; it does not work again.';

--! Included identity/triggers/oauth_profiles.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on identity.oauth_profiles
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded identity/triggers/oauth_profiles.sql
--! Included identity/policies/oauth_profiles.sql
-- Users see which providers they can sign in with. No insert and no update: a row is the provider's word, taken by
-- private.finish_provider_sign_in and private.finish_provider_link. No delete: identity.unlink_provider looks first whether
-- another way in is left.
revoke all on identity.oauth_profiles from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on identity.oauth_profiles to :PLINTH_USER;

drop policy if exists select_own on identity.oauth_profiles;
create policy select_own on identity.oauth_profiles
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.oauth_profiles is 'Users read their own accounts at other providers.';
--! EndIncluded identity/policies/oauth_profiles.sql
--! Included private/functions/check_provider_change.sql
-- What must hold before an account's ways in may change, for linking and unlinking alike: the one place for it. The account's
-- row is locked first (account, session, token).
create or replace function private.check_provider_change()
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform from identity.users u where u.id = plinth.current_user_id() and u.account_status = 'active' for no key update;
  if not found then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  perform
  from identity.user_sessions s
  where s.id = plinth.current_session_id()
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null
    and s.expires_at > now()
  for key share;
  if not found then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
end
$$;

comment on function private.check_provider_change() is
  'Lets the signed-in account go on to change its providers, its row locked; PL401 without a live session.';
--! EndIncluded private/functions/check_provider_change.sql
--! Included private/functions/has_another_way_in.sql
-- Nobody may lock themselves out: an account keeps a password or a provider. A second factor is no way in by itself.
create or replace function private.has_another_way_in(user_id uuid, except_profile_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select exists (select from private.user_passwords p where p.user_id = has_another_way_in.user_id)
    or exists (
      select
      from identity.oauth_profiles o
      where o.user_id = has_another_way_in.user_id and o.id is distinct from has_another_way_in.except_profile_id
    )
$$;

comment on function private.has_another_way_in(uuid, uuid) is
  'Whether an account could still be signed in to without this profile (null: as it is). The caller holds the account''s row.';
--! EndIncluded private/functions/has_another_way_in.sql
--! Included private/functions/start_provider_flow.sql
-- Remembers that somebody left for a provider. Who links is taken from the request's own claims, never from an argument.
create or replace function private.start_provider_flow(
  provider text,
  purpose text,
  flow_hash bytea,
  state_hash bytea,
  redirect_uri text,
  secrets_sealed text,
  device_name text default null
)
  returns timestamptz
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_links boolean := start_provider_flow.purpose = 'link';
  v_expires_at timestamptz;
begin
  if v_links then
    perform private.check_provider_change();
  end if;
  insert into private.oauth_states
    (provider, purpose, user_id, session_id, flow_hash, state_hash, redirect_uri, secrets_sealed, device_name)
  values (
    start_provider_flow.provider,
    start_provider_flow.purpose,
    case when v_links then plinth.current_user_id() end,
    case when v_links then plinth.current_session_id() end,
    start_provider_flow.flow_hash,
    start_provider_flow.state_hash,
    start_provider_flow.redirect_uri,
    start_provider_flow.secrets_sealed,
    start_provider_flow.device_name
  )
  returning expires_at into v_expires_at;
  return v_expires_at;
end
$$;

comment on function private.start_provider_flow(text, text, bytea, bytea, text, text, text) is
  'Begins a sign-in or link at another provider; returns until when it can be finished. PL401 for a link without a session.';
grant execute on function private.start_provider_flow(text, text, bytea, bytea, text, text, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/start_provider_flow.sql
--! Included private/functions/take_provider_flow.sql
-- Somebody came back from a provider. One statement marks the row as used, so that of several who come with the same answer
-- one wins, before the provider is asked for anything. Both secrets must belong together: the flow token says that it is the
-- client that began (no sign-in can be forced on somebody else's browser), the state that it is the answer to its question.
-- An answer that does not fit uses nothing up, or anybody could spoil a sign-in by sending a browser there.
create or replace function private.take_provider_flow(purpose text, flow_hash bytea, state_hash bytea)
  returns table (flow_id uuid, provider text, redirect_uri text, secrets_sealed text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  -- Account before token, as everywhere; deleting the account would otherwise meet us half way.
  perform from identity.users u where u.id = plinth.current_user_id() for key share;

  return query
    update private.oauth_states s
    set used_at = now()
    where s.flow_hash = take_provider_flow.flow_hash
      and s.state_hash = take_provider_flow.state_hash
      and s.purpose = take_provider_flow.purpose
      and s.used_at is null
      and s.expires_at > now()
      -- A link belongs to the session that began it.
      and (
        s.session_id is null
        or s.session_id = plinth.current_session_id() and s.user_id = plinth.current_user_id()
      )
    returning s.id, s.provider, s.redirect_uri, s.secrets_sealed;

  if not found then
    perform private.record_security_event(
      'provider_sign_in_failed', plinth.current_user_id(),
      jsonb_build_object('purpose', take_provider_flow.purpose, 'reason', 'unknown_used_or_expired_flow'),
      'warning'
    );
  end if;
end
$$;

comment on function private.take_provider_flow(text, bytea, bytea) is
  'Uses up a flow and returns what is needed to finish it; no row if it is unknown, used, expired or another session''s.';
grant execute on function private.take_provider_flow(text, bytea, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/take_provider_flow.sql
--! Included private/functions/fail_provider_flow.sql
-- The provider said no, or said something that does not hold. Counts as an attempt of nobody: which account it was for is not
-- known before the answer is believed.
create or replace function private.fail_provider_flow(flow_id uuid, reason text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_flow private.oauth_states;
begin
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  delete from private.oauth_states s
  where s.id = fail_provider_flow.flow_id and s.used_at is not null
  returning s.* into v_flow;
  if v_flow.id is null then
    return;
  end if;
  if v_flow.purpose = 'sign_in' then
    perform security.track_login_attempt(
      null, null, plinth.client_ip(), plinth.user_agent(), 'failed', 'provider_refused'
    );
  end if;
  perform private.record_security_event(
    'provider_sign_in_failed', v_flow.user_id,
    jsonb_build_object(
      'provider', v_flow.provider, 'purpose', v_flow.purpose, 'reason', left(fail_provider_flow.reason, 100)
    ),
    'warning'
  );
end
$$;

comment on function private.fail_provider_flow(uuid, text) is 'Ends a flow whose answer was not accepted; audited with the reason.';
grant execute on function private.fail_provider_flow(uuid, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/fail_provider_flow.sql
--! Included private/functions/save_provider_profile.sql
-- What the provider told this time replaces what it told before, tokens included. The caller holds the account's row and the
-- lock of this subject (private.lock_provider_subject).
create or replace function private.save_provider_profile(
  user_id uuid,
  provider text,
  provider_user_id text,
  email text,
  email_verified boolean,
  user_info jsonb,
  access_token_sealed text,
  refresh_token_sealed text,
  token_expires_at timestamptz,
  last_used_at timestamptz
)
  returns uuid
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_id uuid;
begin
  insert into identity.oauth_profiles as o
    (user_id, provider, provider_user_id, email, email_verified, user_info, token_expires_at, last_used_at)
  values (
    save_provider_profile.user_id,
    save_provider_profile.provider,
    save_provider_profile.provider_user_id,
    save_provider_profile.email,
    save_provider_profile.email is not null and coalesce(save_provider_profile.email_verified, false),
    coalesce(save_provider_profile.user_info, '{}'),
    save_provider_profile.token_expires_at,
    save_provider_profile.last_used_at
  )
  on conflict (provider, provider_user_id) do update
  set
    email = excluded.email,
    email_verified = excluded.email_verified,
    user_info = excluded.user_info,
    token_expires_at = excluded.token_expires_at,
    last_used_at = coalesce(excluded.last_used_at, o.last_used_at)
  -- A net under the callers' checks: a profile never changes hands.
  where o.user_id = excluded.user_id
  returning o.id into strict v_id;

  insert into private.oauth_tokens as t (profile_id, access_token_sealed, refresh_token_sealed)
  values (v_id, save_provider_profile.access_token_sealed, save_provider_profile.refresh_token_sealed)
  on conflict (profile_id) do update
  set
    access_token_sealed = excluded.access_token_sealed,
    refresh_token_sealed = excluded.refresh_token_sealed,
    updated_at = now();
  return v_id;
end
$$;

comment on function private.save_provider_profile(uuid, text, text, text, boolean, jsonb, text, text, timestamptz, timestamptz) is
  'Makes or refreshes a user''s account at a provider with its sealed tokens; returns the profile''s id.';

-- Two answers about one person at a provider are taken one after the other, also while there is no row yet to lock: two first
-- sign-ins at once make one account. Taken before any row is locked.
create or replace function private.lock_provider_subject(provider text, provider_user_id text)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  select pg_advisory_xact_lock(
    hashtextextended(jsonb_build_array('oauth', lock_provider_subject.provider, lock_provider_subject.provider_user_id)::text, 0)
  )
$$;

comment on function private.lock_provider_subject(text, text) is
  'Holds the lock of one person at one provider until the transaction ends.';
--! EndIncluded private/functions/save_provider_profile.sql
--! Included private/functions/register_by_provider.sql
-- A name that the account may have, from whatever the provider calls the person.
create or replace function private.username_from(suggestion text)
  returns text
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select case when length(cleaned) >= 2 then cleaned else 'user' end
  from (
    select trim(
      both '._-' from left(
        trim(both '._-' from regexp_replace(lower(split_part(coalesce(username_from.suggestion, ''), '@', 1)), '[^a-z0-9_.-]+', '-', 'g')),
        80
      )
    ) as cleaned
  ) c
$$;

comment on function private.username_from(text) is 'A well-formed username made of a name or address; not necessarily a free one.';

-- An account for somebody a provider sent, without a password: private.user_passwords has no row, so that no password fits.
-- `verified_email` is an address that a trusted provider verified, or null; nothing else may be put here.
-- Another account's address is never taken, and that account is never opened:
-- - Somebody verified it there: no account is made (null), since it would be the person's second one. The caller may say so,
--   because who comes this way has just proved to own the address.
-- - Nobody verified it there: whoever registered may have done so to lie in wait for the owner (pre-hijacking). The new account
--   is made without the address, so that its owner is neither led into the prepared account nor kept out.
create or replace function private.register_by_provider(suggested_username text, verified_email text, display_name text)
  returns uuid
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_name text := private.username_from(suggested_username);
  v_email text := lower(trim(verified_email));
  v_user_id uuid;
begin
  -- A conflict is a name or an address taken, perhaps just now: look again.
  for v_attempt in 1..20 loop
    if exists (select from identity.users u where u.email = v_email and u.email_verified_at is not null) then
      return null;
    end if;
    if exists (select from identity.users u where u.email = v_email) then
      v_email := null;
    end if;
    insert into identity.users (username, email, email_verified_at)
    values (
      case v_attempt when 1 then v_name else v_name || '-' || left(replace(gen_random_uuid()::text, '-', ''), 8) end,
      v_email,
      case when v_email is not null then now() end
    )
    on conflict do nothing
    returning id into v_user_id;
    exit when v_user_id is not null;
  end loop;
  if v_user_id is null then
    raise exception 'No free name was found; try again.' using errcode = 'PL409';
  end if;

  insert into identity.user_settings (user_id, display_name)
  values (v_user_id, nullif(trim(left(regexp_replace(display_name, '[[:cntrl:]]', '', 'g'), 100)), ''));
  insert into identity.user_security_settings (user_id) values (v_user_id);
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';
  perform private.record_security_event('user_registered', v_user_id, jsonb_build_object('by', 'provider'));
  return v_user_id;
end
$$;

comment on function private.register_by_provider(text, text, text) is
  'Makes an account without a password and with a free name; returns its id, or null if somebody else verified the address here.';
--! EndIncluded private/functions/register_by_provider.sql
--! Included private/functions/finish_provider_sign_in.sql
-- Decides a sign-in for which a provider vouched; the answer was checked outside (signature, issuer, audience, nonce, PKCE).
-- Only (provider, subject) says whose account it is: an address never does, verified or not. Always commits something: a
-- refusal is counted and audited. Locks: subject, account, session, token.
create or replace function private.finish_provider_sign_in(
  flow_id uuid,
  provider_user_id text,
  email text,
  email_verified boolean,
  user_info jsonb,
  access_token_sealed text,
  refresh_token_sealed text,
  token_expires_at timestamptz,
  trusts_email boolean,
  may_register boolean,
  refresh_token_hash bytea,
  challenge_hash bytea
)
  returns table (
    outcome text,
    user_id uuid,
    session_id uuid,
    token_version integer,
    refresh_expires_at timestamptz,
    challenge_expires_at timestamptz,
    challenge_methods text[]
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_flow private.oauth_states;
  v_user_id uuid;
  v_user identity.users;
  v_is_new boolean := false;
  v_refusal text;
begin
  -- What private.take_provider_flow took; it ends here, so that one answer opens one session.
  delete from private.oauth_states s
  where s.id = finish_provider_sign_in.flow_id and s.purpose = 'sign_in' and s.used_at is not null
  returning s.* into v_flow;
  if v_flow.id is null then
    outcome := 'refused';
    return next;
    return;
  end if;

  perform private.lock_provider_subject(v_flow.provider, finish_provider_sign_in.provider_user_id);
  select o.user_id into v_user_id
  from identity.oauth_profiles o
  where o.provider = v_flow.provider and o.provider_user_id = finish_provider_sign_in.provider_user_id;

  if v_user_id is not null then
    select u.* into v_user from identity.users u where u.id = v_user_id for no key update;
    -- Unlinked, or deleted, while we waited for the account.
    perform
    from identity.oauth_profiles o
    where o.provider = v_flow.provider
      and o.provider_user_id = finish_provider_sign_in.provider_user_id
      and o.user_id = v_user.id;
    if not found then
      v_user := null;
      v_refusal := 'unlinked';
    end if;
  elsif not finish_provider_sign_in.may_register then
    v_refusal := 'not_registered';
  else
    v_user_id := private.register_by_provider(
      coalesce(
        finish_provider_sign_in.user_info ->> 'preferred_username',
        finish_provider_sign_in.email,
        finish_provider_sign_in.user_info ->> 'name'
      ),
      case
        when finish_provider_sign_in.trusts_email and finish_provider_sign_in.email_verified
        then finish_provider_sign_in.email
      end,
      finish_provider_sign_in.user_info ->> 'name'
    );
    v_is_new := v_user_id is not null;
    select u.* into v_user from identity.users u where u.id = v_user_id for no key update;
    if v_user.id is null then
      v_refusal := 'address_taken';
    end if;
  end if;

  v_refusal := coalesce(
    v_refusal,
    case
      when v_user.locked_until > now() then 'account_locked'
      when v_user.account_status <> 'active' then 'account_disabled'
      when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
    end
  );

  perform security.track_login_attempt(
    v_user.id,
    v_user.username,
    plinth.client_ip(),
    plinth.user_agent(),
    case v_refusal when 'account_locked' then 'locked' else case when v_refusal is null then 'success' else 'failed' end end,
    v_refusal
  );

  if v_refusal is not null then
    perform private.record_security_event(
      'provider_sign_in_failed', v_user.id,
      jsonb_build_object('provider', v_flow.provider, 'purpose', 'sign_in', 'reason', v_refusal), 'warning'
    );
    outcome := case when v_refusal in ('not_registered', 'address_taken') then v_refusal else 'refused' end;
    return next;
    return;
  end if;

  perform private.save_provider_profile(
    v_user.id,
    v_flow.provider,
    finish_provider_sign_in.provider_user_id,
    finish_provider_sign_in.email,
    finish_provider_sign_in.email_verified,
    finish_provider_sign_in.user_info,
    finish_provider_sign_in.access_token_sealed,
    finish_provider_sign_in.refresh_token_sealed,
    finish_provider_sign_in.token_expires_at,
    now()
  );
  if v_is_new then
    perform private.record_security_event(
      'provider_linked', v_user.id, jsonb_build_object('provider', v_flow.provider, 'by', 'registration')
    );
  end if;
  perform private.record_security_event(
    'provider_sign_in', v_user.id, jsonb_build_object('provider', v_flow.provider)
  );

  return query
    select
      'accepted', v_user.id, c.session_id, c.token_version, c.refresh_expires_at, c.challenge_expires_at, c.challenge_methods
    from private.complete_sign_in(
      v_user.id,
      array['fed'],
      finish_provider_sign_in.refresh_token_hash,
      v_flow.device_name,
      finish_provider_sign_in.challenge_hash
    ) c;
end
$$;

comment on function private.finish_provider_sign_in(uuid, text, text, boolean, jsonb, text, text, timestamptz, boolean, boolean, bytea, bytea) is
  'Opens a session, or a challenge, for whom a provider vouched; outcome accepted, refused, not_registered or address_taken. Counts and audits.';
grant execute on function private.finish_provider_sign_in(uuid, text, text, boolean, jsonb, text, text, timestamptz, boolean, boolean, bytea, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/finish_provider_sign_in.sql
--! Included private/functions/finish_provider_link.sql
-- Adds an account at a provider to the account that is signed in. Who it is linked to is the flow's: the session that began
-- and finishes it. A profile never changes hands, and who has it now is not told. Locks: subject, account, session, token.
create or replace function private.finish_provider_link(
  flow_id uuid,
  provider_user_id text,
  email text,
  email_verified boolean,
  user_info jsonb,
  access_token_sealed text,
  refresh_token_sealed text,
  token_expires_at timestamptz
)
  returns table (outcome text, profile_id uuid)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_flow private.oauth_states;
  v_owner_id uuid;
begin
  select s.* into v_flow from private.oauth_states s where s.id = finish_provider_link.flow_id;
  perform private.lock_provider_subject(v_flow.provider, finish_provider_link.provider_user_id);
  perform from identity.users u where u.id = v_flow.user_id and u.account_status = 'active' for no key update;
  if found then
    perform
    from identity.user_sessions s
    where s.id = v_flow.session_id and s.ended_at is null and s.expires_at > now()
    for key share;
  end if;
  if found then
    delete from private.oauth_states s
    where s.id = v_flow.id
      and s.purpose = 'link'
      and s.used_at is not null
      and s.user_id = plinth.current_user_id()
      and s.session_id = plinth.current_session_id();
  end if;
  if not found then
    outcome := 'refused';
    return next;
    return;
  end if;

  select o.user_id into v_owner_id
  from identity.oauth_profiles o
  where o.provider = v_flow.provider and o.provider_user_id = finish_provider_link.provider_user_id;
  outcome := case
    when v_owner_id <> v_flow.user_id then 'belongs_to_another'
    when v_owner_id is null and exists (
      select from identity.oauth_profiles o where o.user_id = v_flow.user_id and o.provider = v_flow.provider
    ) then 'has_another'
    else 'linked'
  end;

  if outcome = 'linked' then
    profile_id := private.save_provider_profile(
      v_flow.user_id,
      v_flow.provider,
      finish_provider_link.provider_user_id,
      finish_provider_link.email,
      finish_provider_link.email_verified,
      finish_provider_link.user_info,
      finish_provider_link.access_token_sealed,
      finish_provider_link.refresh_token_sealed,
      finish_provider_link.token_expires_at,
      null
    );
    perform private.record_security_event(
      'provider_linked', v_flow.user_id, jsonb_build_object('provider', v_flow.provider, 'by', 'link')
    );
  else
    perform private.record_security_event(
      'provider_link_failed', v_flow.user_id,
      jsonb_build_object('provider', v_flow.provider, 'reason', outcome), 'warning'
    );
  end if;
  return next;
end
$$;

comment on function private.finish_provider_link(uuid, text, text, boolean, jsonb, text, text, timestamptz) is
  'Links an account at a provider to the session''s account; outcome linked, refused, belongs_to_another or has_another. Audited.';
grant execute on function private.finish_provider_link(uuid, text, text, boolean, jsonb, text, text, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded private/functions/finish_provider_link.sql
--! Included identity/functions/unlink_provider.sql
-- Takes a provider away from the account that asks, with the tokens it gave us. The account's row is locked, so that of two
-- requests that each leave the other's way in, one is refused.
create or replace function identity.unlink_provider(provider text)
  returns identity.oauth_profiles
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_profile identity.oauth_profiles;
begin
  perform private.check_provider_change();
  select o.* into v_profile
  from identity.oauth_profiles o
  where o.user_id = plinth.current_user_id() and o.provider = unlink_provider.provider;
  if v_profile.id is null then
    raise exception 'Your account has no such provider.' using errcode = 'PL404', column = 'provider';
  end if;
  if not private.has_another_way_in(v_profile.user_id, v_profile.id) then
    raise exception 'This provider is the only way into your account.'
      using errcode = 'PL409', column = 'provider', hint = 'Set a password or link another provider first.';
  end if;
  delete from identity.oauth_profiles o where o.id = v_profile.id;
  perform private.record_security_event(
    'provider_unlinked', v_profile.user_id, jsonb_build_object('provider', v_profile.provider)
  );
  return v_profile;
end
$$;

comment on function identity.unlink_provider(text) is
  'Ends signing in with a provider and forgets its tokens. CONFLICT for the only way in; NOT_FOUND if it is not linked.';
grant execute on function identity.unlink_provider(text) to :PLINTH_USER;
--! EndIncluded identity/functions/unlink_provider.sql
--! Included private/functions/delete_expired_tokens.sql
-- One batch of the token clean-up: refresh tokens past their time, revocations nobody can need, sign-ins, passkey ceremonies and
-- trips to other providers that nobody went on with, and factors whose enrolment was begun and left. Small batches keep locks
-- and the write-ahead log short; the job repeats until a batch is not full.
create or replace function private.delete_expired_tokens(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_rows integer;
  v_deleted integer := 0;
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
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;

  with expired as (
    select b.id
    from private.token_blacklist b
    where b.expires_at <= now()
    order by b.expires_at
    limit batch_size - v_deleted
    for update skip locked
  )
  delete from private.token_blacklist b using expired e where b.id = e.id;
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;

  with expired as (
    select c.id
    from private.sign_in_challenges c
    where c.expires_at <= now()
    order by c.expires_at
    limit batch_size - v_deleted
    for update skip locked
  )
  delete from private.sign_in_challenges c using expired e where c.id = e.id;
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;

  with expired as (
    select c.challenge
    from private.passkey_challenges c
    where c.expires_at <= now()
    order by c.expires_at
    limit batch_size - v_deleted
    for update skip locked
  )
  delete from private.passkey_challenges c using expired e where c.challenge = e.challenge;
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;

  with expired as (
    select f.id
    from identity.mfa_factors f
    where f.confirmed_at is null
      and f.created_at <= now() - interval '1 day'
    order by f.created_at
    limit batch_size - v_deleted
    for update skip locked
  )
  delete from identity.mfa_factors f using expired e where f.id = e.id;
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;

  with expired as (
    select s.id
    from private.oauth_states s
    where s.expires_at <= now()
    order by s.expires_at
    limit batch_size - v_deleted
    for update skip locked
  )
  delete from private.oauth_states s using expired e where s.id = e.id;
  get diagnostics v_rows = row_count;
  v_deleted := v_deleted + v_rows;
  return v_deleted;
end
$$;

comment on function private.delete_expired_tokens(integer) is
  'Deletes up to batch_size expired refresh tokens, revocations, challenges, trips to providers and unconfirmed factors; returns how many.';
grant execute on function private.delete_expired_tokens(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_expired_tokens.sql
