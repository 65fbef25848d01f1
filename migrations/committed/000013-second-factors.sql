--! Previous: sha1:59fc04a9d7ed02b1a29f2390e9a5f25a47bb1627
--! Hash: sha1:3e74bc43aff3a4ae9d4dcf8601fd374cb13a636d
--! Message: second factors

-- Second factors: authenticator apps (TOTP), passkeys and recovery codes, and the sign-in that waits for one.

-- What an account can show besides its password. The secrets are in `private`, one table a kind; this is what their owner sees.
create table identity.mfa_factors (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  kind text not null,
  name text not null,
  created_at timestamptz not null default now(),
  -- A factor counts once its owner has shown that it works; until then it protects nothing and locks nobody out.
  confirmed_at timestamptz,
  last_used_at timestamptz,
  constraint mfa_factors_kind_check check (kind in ('totp', 'passkey')),
  constraint mfa_factors_name_check check (length(name) between 1 and 100 and name !~ '[[:cntrl:]]'),
  constraint mfa_factors_used_once_confirmed check (last_used_at is null or confirmed_at is not null)
);

alter table identity.mfa_factors enable row level security;

-- Each sign-in asks for an account's factors; also serves the foreign key.
create index mfa_factors_user_id_idx on identity.mfa_factors (user_id);
-- The clean-up job asks for enrolments that were begun and left.
create index mfa_factors_unconfirmed_idx on identity.mfa_factors (created_at) where confirmed_at is null;

comment on table identity.mfa_factors is
  E'@behavior -insert -delete\nOne row per second factor of an account: an authenticator app or a passkey.';
comment on column identity.mfa_factors.id is 'UUIDv7.';
comment on column identity.mfa_factors.user_id is 'Whose factor.';
comment on column identity.mfa_factors.kind is 'totp (authenticator app) or passkey.';
comment on column identity.mfa_factors.name is 'Name its owner gave it, 1 to 100 characters.';
comment on column identity.mfa_factors.created_at is 'When enrolling began.';
comment on column identity.mfa_factors.confirmed_at is 'When it was first shown to work; null means that it does not count yet.';
comment on column identity.mfa_factors.last_used_at is 'When it was last accepted at a sign-in or to confirm a change.';

-- The secret that an authenticator app shares with us, sealed under a master key that the database does not have.
create table private.totp_secrets (
  factor_id uuid primary key references identity.mfa_factors on delete cascade,
  sealed_secret text not null,
  -- RFC 6238, section 5.2: a code is accepted once.
  last_used_step bigint,
  constraint totp_secrets_sealed_secret_is_sealed check (sealed_secret ~ '^v[1-9][0-9]*\.[A-Za-z0-9_-]+$'),
  constraint totp_secrets_last_used_step_is_not_negative check (last_used_step >= 0)
);

alter table private.totp_secrets enable row level security;

comment on table private.totp_secrets is 'One row per authenticator app: its sealed secret. Readable by no API role.';
comment on column private.totp_secrets.factor_id is 'The factor.';
comment on column private.totp_secrets.sealed_secret is 'The shared secret with its owner''s id, sealed for the purpose "totp secret".';
comment on column private.totp_secrets.last_used_step is
  'Number of the 30-second step whose code was last accepted; codes of it and of earlier ones are refused.';

-- The public half of a passkey (WebAuthn Level 3, section 4, "credential record").
create table private.passkeys (
  factor_id uuid primary key references identity.mfa_factors on delete cascade,
  credential_id bytea not null,
  public_key bytea not null,
  sign_count bigint not null default 0,
  transports text[] not null default '{}',
  backup_eligible boolean not null,
  backed_up boolean not null,
  aaguid uuid,
  constraint passkeys_credential_id_key unique (credential_id),
  constraint passkeys_credential_id_check check (octet_length(credential_id) between 1 and 1023),
  constraint passkeys_public_key_check check (octet_length(public_key) between 1 and 4096),
  constraint passkeys_sign_count_check check (sign_count between 0 and 4294967295),
  constraint passkeys_transports_check check (cardinality(transports) <= 10 and array_position(transports, null) is null),
  constraint passkeys_backed_up_only_if_eligible check (backup_eligible or not backed_up)
);

alter table private.passkeys enable row level security;

comment on table private.passkeys is 'One row per passkey: its public key and what its authenticator said. Readable by no API role.';
comment on column private.passkeys.factor_id is 'The factor.';
comment on column private.passkeys.credential_id is 'The authenticator''s own name of the key; no two accounts share one.';
comment on column private.passkeys.public_key is 'Public key as COSE_Key (RFC 9052).';
comment on column private.passkeys.sign_count is 'Highest signature counter seen; 0 for authenticators that do not count.';
comment on column private.passkeys.transports is 'How the authenticator can be reached, such as usb or internal; a hint for browsers.';
comment on column private.passkeys.backup_eligible is 'Whether the key may be copied between devices; never changes.';
comment on column private.passkeys.backed_up is 'Whether it was copied when last used.';
comment on column private.passkeys.aaguid is 'Model of the authenticator; null where it does not say.';

-- What gets an account in when its devices are gone. 120 random bits each, so that a plain hash is enough: OWASP ASVS 5, 6.5.2,
-- asks for a slow salted one below 112 bits.
create table private.recovery_codes (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  code_hash bytea not null,
  created_at timestamptz not null default now(),
  used_at timestamptz,
  constraint recovery_codes_user_id_code_hash_key unique (user_id, code_hash),
  constraint recovery_codes_code_hash_is_sha256 check (octet_length(code_hash) = 32)
);

alter table private.recovery_codes enable row level security;

-- Serves the foreign key, and "how many are left".
create index recovery_codes_user_id_idx on private.recovery_codes (user_id);

comment on table private.recovery_codes is 'One row per recovery code of an account''s current set; each works once. Readable by no API role.';
comment on column private.recovery_codes.id is 'UUIDv7.';
comment on column private.recovery_codes.user_id is 'Whose code.';
comment on column private.recovery_codes.code_hash is 'SHA-256 of the code; the code itself is nowhere.';
comment on column private.recovery_codes.created_at is 'When the set was made.';
comment on column private.recovery_codes.used_at is 'When it was used; null while it works.';

-- A sign-in that stands between the password and the session. Its token opens nothing but the way on.
create table private.sign_in_challenges (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  token_hash bytea not null,
  -- What was shown is worth nothing once the password changed or everything was signed out.
  token_version integer not null,
  methods text[] not null,
  device_name text,
  failed_attempts integer not null default 0,
  created_at timestamptz not null default now(),
  -- Tries do not extend it.
  expires_at timestamptz not null default now() + interval '10 minutes',
  used_at timestamptz,
  constraint sign_in_challenges_token_hash_key unique (token_hash),
  constraint sign_in_challenges_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint sign_in_challenges_methods_check check (cardinality(methods) between 1 and 10 and array_position(methods, null) is null),
  constraint sign_in_challenges_device_name_check
    check (length(device_name) between 1 and 100 and device_name !~ '[[:cntrl:]]'),
  constraint sign_in_challenges_failed_attempts_is_not_negative check (failed_attempts >= 0)
);

alter table private.sign_in_challenges enable row level security;

-- Serves the foreign key.
create index sign_in_challenges_user_id_idx on private.sign_in_challenges (user_id);
-- The clean-up job.
create index sign_in_challenges_expires_at_idx on private.sign_in_challenges (expires_at);

comment on table private.sign_in_challenges is 'One row per sign-in that waits for a second factor. Readable by no API role.';
comment on column private.sign_in_challenges.id is 'UUIDv7.';
comment on column private.sign_in_challenges.user_id is 'Who is signing in.';
comment on column private.sign_in_challenges.token_hash is 'SHA-256 of the token the client goes on with.';
comment on column private.sign_in_challenges.token_version is 'The account''s token_version when the first factor was shown; another one ends the challenge.';
comment on column private.sign_in_challenges.methods is 'What was shown so far, as amr values of RFC 8176.';
comment on column private.sign_in_challenges.device_name is 'Name of the session to be, if one was given.';
comment on column private.sign_in_challenges.failed_attempts is 'Wrong answers to this challenge; the tenth ends it.';
comment on column private.sign_in_challenges.created_at is 'When the first factor was shown.';
comment on column private.sign_in_challenges.expires_at is 'From then on it is refused.';
comment on column private.sign_in_challenges.used_at is 'When it became a session; null until then.';

-- What a passkey is to sign next. Taken out of the table by the first answer, right or wrong.
create table private.passkey_challenges (
  challenge bytea primary key,
  purpose text not null,
  user_id uuid references identity.users on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '5 minutes',
  constraint passkey_challenges_challenge_is_32_bytes check (octet_length(challenge) = 32),
  constraint passkey_challenges_purpose_check check (purpose in ('register', 'sign_in', 'second_factor', 'reauthenticate')),
  -- Who signs in with nothing but a passkey is not known before the answer.
  constraint passkey_challenges_bound_to_an_account check ((user_id is null) = (purpose = 'sign_in'))
);

alter table private.passkey_challenges enable row level security;

-- Serves the foreign key.
create index passkey_challenges_user_id_idx on private.passkey_challenges (user_id);
-- The clean-up job.
create index passkey_challenges_expires_at_idx on private.passkey_challenges (expires_at);

comment on table private.passkey_challenges is 'One row per passkey ceremony under way. Readable by no API role.';
comment on column private.passkey_challenges.challenge is '32 random bytes for the authenticator to sign.';
comment on column private.passkey_challenges.purpose is 'What the answer is good for: register, sign_in, second_factor or reauthenticate.';
comment on column private.passkey_challenges.user_id is 'Whose answer; null for a sign-in with nothing but a passkey.';
comment on column private.passkey_challenges.created_at is 'When the ceremony began.';
comment on column private.passkey_challenges.expires_at is 'From then on no answer is taken.';

-- Wrong codes are counted for the account, not for a session or a challenge, or a new one would be ten new guesses.
create table private.mfa_attempts (
  user_id uuid primary key references identity.users on delete cascade,
  failed_attempts integer not null,
  last_failed_at timestamptz not null default now(),
  locked_until timestamptz,
  constraint mfa_attempts_failed_attempts_is_positive check (failed_attempts > 0)
);

alter table private.mfa_attempts enable row level security;

comment on table private.mfa_attempts is 'One row per account that typed a wrong code since a second factor was last accepted.';
comment on column private.mfa_attempts.user_id is 'The account.';
comment on column private.mfa_attempts.failed_attempts is 'Wrong codes in a row, over all sessions and challenges.';
comment on column private.mfa_attempts.last_failed_at is 'Time of the last wrong code.';
comment on column private.mfa_attempts.locked_until is 'No code is accepted before this time; null or past when not locked.';

-- A sign-in whose first factor was right is neither a success nor a failure.
alter table security.login_attempts
  drop constraint login_attempts_status_check,
  add constraint login_attempts_status_check check (status in ('success', 'failed', 'locked', 'challenged'));
comment on column security.login_attempts.status is
  'success, failed, locked (refused unread because the account was locked) or challenged (right so far; a second factor is asked for).';
comment on column security.login_attempts.failure_reason is
  'unknown_account, wrong_password, account_locked, account_disabled, network_not_allowed, challenge_expired, wrong_code, code_reused, second_factor_locked, wrong_passkey or passkey_cloned; null on success.';

-- A role can ask for more than a password: without a second factor its holder signs in, but the role gives nothing.
alter table access.roles add column requires_mfa boolean not null default false;
comment on column access.roles.requires_mfa is
  'Whether its permissions count only in sessions that showed a second factor.';

--! Included access/policies/roles.sql
-- Every signed-in user may know which roles there are; manage_roles changes them.
revoke all on access.roles from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (role_name, description, rank, requires_mfa),
  update (role_name, description, rank, requires_mfa),
  delete
  on access.roles to :PLINTH_USER;

drop policy if exists select_all on access.roles;
create policy select_all on access.roles
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on access.roles is 'Signed-in users read all roles.';

drop policy if exists insert_manager on access.roles;
create policy insert_manager on access.roles
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_roles')));
comment on policy insert_manager on access.roles is 'The permission manage_roles adds roles.';

drop policy if exists update_manager on access.roles;
create policy update_manager on access.roles
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_roles')))
  with check ((select access.has_permission('manage_roles')));
comment on policy update_manager on access.roles is 'The permission manage_roles changes roles.';

drop policy if exists delete_manager on access.roles;
create policy delete_manager on access.roles
  for delete to :PLINTH_USER
  -- Registration gives the one and nobody could give the other back.
  using ((select access.has_permission('manage_roles')) and role_name not in ('admin', 'user'));
comment on policy delete_manager on access.roles is
  'The permission manage_roles removes roles, but not admin and user, on which the product stands.';
--! EndIncluded access/policies/roles.sql
--! Included access/functions/has_permission.sql
-- Policies of every domain ask this question, so it is made first; plpgsql looks its tables up when it runs, by which
-- time they exist. Definer rights: who asks may not read other people's roles.
create or replace function access.has_permission(permission text)
  returns boolean
  language plpgsql
  stable
  security definer
  parallel safe
  set search_path = pg_catalog
as $$
begin
  return exists (
    select
    from access.user_roles ur
    join identity.users u on u.id = ur.user_id and u.is_active
    join access.roles r on r.id = ur.role_id
    join access.role_permissions rp on rp.role_id = ur.role_id
    join access.permissions p on p.id = rp.permission_id
    where ur.user_id = plinth.current_user_id()
      and (ur.expires_at is null or ur.expires_at > now())
      and p.permission_name = permission
      -- Where the role asks for it, the session must have shown a second factor.
      and (
        not r.requires_mfa
        or exists (
          select
          from identity.user_sessions s
          where s.id = plinth.current_session_id()
            and s.user_id = ur.user_id
            and 'mfa' = any (s.authentication_methods)
        )
      )
  );
end
$$;

comment on function access.has_permission(text) is
  'Whether the signed-in user, whose account is active, holds the permission through a role that has not expired and, where the role requires it, in a session that showed a second factor.';
grant execute on function access.has_permission(text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded access/functions/has_permission.sql
--! Included identity/policies/mfa_factors.sql
-- Users see and name their own second factors. No insert and no delete: enrolling and removing ask for more than a row, see
-- private.confirm_totp, private.finish_passkey_registration and identity.remove_mfa_factor.
revoke all on identity.mfa_factors from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (name) on identity.mfa_factors to :PLINTH_USER;

drop policy if exists select_own on identity.mfa_factors;
create policy select_own on identity.mfa_factors
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on identity.mfa_factors is 'Users read their own second factors.';

drop policy if exists update_own on identity.mfa_factors;
create policy update_own on identity.mfa_factors
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on identity.mfa_factors is 'Users name their own second factors.';
--! EndIncluded identity/policies/mfa_factors.sql
--! Included security/functions/track_login_attempt.sql
-- Records an attempt to sign in and keeps the account's counters: a failure counts and may lock, a success clears. An
-- attempt refused because the account is locked does not lengthen the lock, or anybody could lock anybody for good.
create or replace function security.track_login_attempt(
  user_id uuid,
  email text,
  ip_address inet,
  user_agent text,
  status text,
  failure_reason text
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
  v_locked_until timestamptz;
begin
  insert into security.login_attempts (user_id, email, ip_address, user_agent, status, failure_reason, correlation_id)
  values (
    track_login_attempt.user_id,
    left(lower(track_login_attempt.email), 320),
    track_login_attempt.ip_address,
    left(track_login_attempt.user_agent, 1000),
    track_login_attempt.status,
    track_login_attempt.failure_reason,
    plinth.correlation_id()
  )
  returning id into v_id;

  if track_login_attempt.status = 'success' then
    update identity.users u
    set failed_login_attempts = 0, locked_until = null, last_login_at = now()
    where u.id = track_login_attempt.user_id;
  elsif track_login_attempt.status = 'failed'
    -- Second factors are counted on their own, in private.mfa_attempts.
    and coalesce(track_login_attempt.failure_reason, '') not in (
      'account_disabled', 'network_not_allowed', 'challenge_expired', 'wrong_code', 'code_reused', 'wrong_passkey',
      'passkey_cloned'
    )
  then
    update identity.users u
    set
      failed_login_attempts = u.failed_login_attempts + 1,
      locked_until = nullif(now() + private.lockout_duration(u.failed_login_attempts + 1), now())
    where u.id = track_login_attempt.user_id
    returning u.locked_until into v_locked_until;
    if v_locked_until is not null then
      perform private.record_security_event(
        'account_locked', track_login_attempt.user_id, jsonb_build_object('locked_until', v_locked_until), 'warning'
      );
    end if;
  end if;
  return v_id;
end
$$;

comment on function security.track_login_attempt(uuid, text, inet, text, text, text) is
  'Records an attempt to sign in, counts failures and locks or clears the account; returns the attempt''s id.';
--! EndIncluded security/functions/track_login_attempt.sql
--! Included private/functions/require_recent_authentication.sql
-- Step-up: what could hand an account to somebody else asks that its owner showed who they are a moment ago, so that a token
-- left on a table is not enough (OWASP ASVS 5, 7.5.1). Called by functions that run with the owner's rights.
create or replace function private.require_recent_authentication()
  returns void
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
declare
  v_authenticated_at timestamptz;
begin
  select s.authenticated_at into v_authenticated_at
  from identity.user_sessions s
  join identity.users u on u.id = s.user_id and u.account_status = 'active'
  where s.id = plinth.current_session_id()
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null
    and s.expires_at > now();
  if v_authenticated_at is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  if v_authenticated_at < now() - interval '10 minutes' then
    raise exception 'This needs a sign-in of the last 10 minutes.'
      using errcode = 'PL403', hint = 'Confirm it is you with reauthenticate.';
  end if;
end
$$;

comment on function private.require_recent_authentication() is
  'PL403 with the hint "Confirm it is you with reauthenticate." unless the session that asks showed who it is within 10 minutes.';
grant execute on function private.require_recent_authentication() to :PLINTH_SERVICE;
--! EndIncluded private/functions/require_recent_authentication.sql
--! Included private/functions/second_factors.sql
-- What an account may show as its second factor, as the API names it. Recovery codes are there for those who have a factor.
create or replace function private.second_factors(user_id uuid)
  returns text[]
  language sql
  stable
  set search_path = pg_catalog
as $$
  with kinds as (
    select distinct f.kind
    from identity.mfa_factors f
    where f.user_id = second_factors.user_id
      and f.confirmed_at is not null
  )
  select coalesce(array_agg(method order by position), '{}')
  from (
    select case k.kind when 'passkey' then 1 else 2 end as position, k.kind as method
    from kinds k
    union all
    select 3, 'recovery_code'
    where exists (select from kinds)
      and exists (
        select from private.recovery_codes c where c.user_id = second_factors.user_id and c.used_at is null
      )
  ) methods
$$;

comment on function private.second_factors(uuid) is
  'What the account may show besides its password: passkey, totp, recovery_code; empty when it has no confirmed factor.';
--! EndIncluded private/functions/second_factors.sql
--! Included private/functions/mfa_lockout_duration.sql
-- Ten wrong codes are a clock that runs wrong. From the tenth on each locks twice as long as the last, from one minute up to
-- one day: a code is short, so guessing must be slower than for passwords (NIST SP 800-63B-4, 3.2.2; OWASP ASVS 5, 6.3.1).
create or replace function private.mfa_lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable
  parallel safe
as $$
  select case
    when failed_attempts < 10 then interval '0'
    else least(interval '1 day', interval '1 minute' * power(2, least(failed_attempts - 10, 12)))
  end
$$;

comment on function private.mfa_lockout_duration(integer) is
  'How long codes are refused after this many wrong ones in a row: 0, then 1 minute doubling up to 1 day.';
--! EndIncluded private/functions/mfa_lockout_duration.sql
--! Included private/functions/count_wrong_code.sql
-- Counts a wrong code for its account and locks when there were too many. The caller holds the account's row, so that parallel
-- guesses are counted one by one.
create or replace function private.count_wrong_code(user_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_failed integer;
  v_locked_until timestamptz;
begin
  insert into private.mfa_attempts as a (user_id, failed_attempts)
  values (count_wrong_code.user_id, 1)
  on conflict on constraint mfa_attempts_pkey
    do update set failed_attempts = a.failed_attempts + 1, last_failed_at = now()
  returning a.failed_attempts into v_failed;

  update private.mfa_attempts a
  set locked_until = nullif(now() + private.mfa_lockout_duration(v_failed), now())
  where a.user_id = count_wrong_code.user_id
  returning a.locked_until into v_locked_until;
  if v_locked_until is not null then
    perform private.record_security_event(
      'mfa_locked', count_wrong_code.user_id,
      jsonb_build_object('failed_attempts', v_failed, 'locked_until', v_locked_until), 'warning'
    );
  end if;
end
$$;

comment on function private.count_wrong_code(uuid) is
  'Counts a wrong code over all sessions and challenges of the account and locks its codes for a while from the tenth on.';
--! EndIncluded private/functions/count_wrong_code.sql
--! Included private/functions/accept_second_factor.sql
-- Decides whether a second factor is good, and uses it up. What was shown was checked outside, where the secrets can be
-- opened; whether it still counts is decided here, under the account's row, which the caller holds. `proof` is
--   {"method": "totp", "factor_id": …, "step": number of the matching 30-second step or null}
--   {"method": "recovery_code", "code_hash": SHA-256 in hex}
--   {"method": "passkey", "factor_id": …, "verified": boolean, "sign_count": …, "backed_up": …}
-- The lock is for what can be guessed: a passkey goes through it, or whoever has the password could shut the owner out.
create or replace function private.accept_second_factor(
  user_id uuid,
  proof jsonb,
  out refusal text,
  out methods text[]
)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_method text := accept_second_factor.proof ->> 'method';
  v_factor_id uuid := (accept_second_factor.proof ->> 'factor_id')::uuid;
  v_attempts private.mfa_attempts;
  v_totp private.totp_secrets;
  v_passkey private.passkeys;
  v_step bigint := (accept_second_factor.proof ->> 'step')::bigint;
  v_count bigint := (accept_second_factor.proof ->> 'sign_count')::bigint;
begin
  select a.* into v_attempts from private.mfa_attempts a where a.user_id = accept_second_factor.user_id;

  if v_method = 'totp' then
    select t.* into v_totp
    from private.totp_secrets t
    join identity.mfa_factors f on f.id = t.factor_id
    where t.factor_id = v_factor_id
      and f.user_id = accept_second_factor.user_id
      and f.confirmed_at is not null;
    refusal := case
      -- NIST SP 800-63B-4, 3.2.2: after 100 wrong codes in a row codes are over; a recovery code or a passkey begins anew.
      when v_attempts.locked_until > now() or v_attempts.failed_attempts >= 100 then 'second_factor_locked'
      when v_step is null or v_totp.factor_id is null then 'wrong_code'
      -- Right, but shown before: no guess, and not counted as one.
      when v_step <= v_totp.last_used_step then 'code_reused'
    end;
    if refusal is null then
      update private.totp_secrets t set last_used_step = v_step where t.factor_id = v_factor_id;
    end if;
    methods := array['otp'];

  elsif v_method = 'recovery_code' then
    if v_attempts.locked_until > now() then
      refusal := 'second_factor_locked';
    else
      update private.recovery_codes c
      set used_at = now()
      where c.user_id = accept_second_factor.user_id
        and c.code_hash = decode(accept_second_factor.proof ->> 'code_hash', 'hex')
        and c.used_at is null
        -- Codes stand in for a factor; without one there is nothing to recover.
        and exists (
          select from identity.mfa_factors f where f.user_id = accept_second_factor.user_id and f.confirmed_at is not null
        );
      if not found then
        refusal := 'wrong_code';
      else
        perform private.record_security_event(
          'recovery_code_used', accept_second_factor.user_id,
          jsonb_build_object(
            'left',
            (
              select count(*)
              from private.recovery_codes c
              where c.user_id = accept_second_factor.user_id and c.used_at is null
            )
          ),
          'warning'
        );
      end if;
    end if;
    methods := array['otp'];

  elsif v_method = 'passkey' then
    select p.* into v_passkey
    from private.passkeys p
    join identity.mfa_factors f on f.id = p.factor_id
    where p.factor_id = v_factor_id
      and f.user_id = accept_second_factor.user_id
      and f.confirmed_at is not null;
    refusal := case
      when v_passkey.factor_id is null or not coalesce((accept_second_factor.proof ->> 'verified')::boolean, false)
      then 'wrong_passkey'
      -- WebAuthn Level 3, 6.1.1: a counter that does not grow means that two devices hold the key.
      when (v_count > 0 or v_passkey.sign_count > 0) and v_count <= v_passkey.sign_count then 'passkey_cloned'
    end;
    if refusal = 'passkey_cloned' then
      perform private.record_security_event(
        'passkey_cloned', accept_second_factor.user_id,
        jsonb_build_object('factor_id', v_factor_id, 'sign_count', v_count, 'expected_above', v_passkey.sign_count), 'warning'
      );
    elsif refusal is null then
      update private.passkeys p
      set
        sign_count = v_count,
        backed_up = p.backup_eligible and coalesce((accept_second_factor.proof ->> 'backed_up')::boolean, false)
      where p.factor_id = v_factor_id;
    end if;
    methods := array[case when v_passkey.backup_eligible then 'swk' else 'hwk' end];

  else
    raise exception 'There is no second factor of that kind.' using errcode = 'PL422';
  end if;

  if refusal is null then
    update identity.mfa_factors f set last_used_at = now() where f.id = v_factor_id;
    delete from private.mfa_attempts a where a.user_id = accept_second_factor.user_id;
    return;
  end if;
  methods := null;
  if refusal = 'wrong_code' then
    perform private.count_wrong_code(accept_second_factor.user_id);
  end if;
  perform private.record_security_event(
    'mfa_failed', accept_second_factor.user_id, jsonb_build_object('method', v_method, 'reason', refusal), 'warning'
  );
end
$$;

comment on function private.accept_second_factor(uuid, jsonb) is
  'Uses up a second factor: null refusal and the amr values shown, or the reason why not. Counts and audits; the caller holds the account.';
--! EndIncluded private/functions/accept_second_factor.sql
--! Included private/functions/store_recovery_codes.sql
-- A set of recovery codes in place of the last one. The caller holds the account's row.
create or replace function private.store_recovery_codes(user_id uuid, code_hashes bytea[])
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  delete from private.recovery_codes c where c.user_id = store_recovery_codes.user_id;
  insert into private.recovery_codes (user_id, code_hash)
  select store_recovery_codes.user_id, h
  from unnest(store_recovery_codes.code_hashes) h;
  perform private.record_security_event(
    'recovery_codes_made', store_recovery_codes.user_id,
    jsonb_build_object('codes', cardinality(store_recovery_codes.code_hashes))
  );
end
$$;

comment on function private.store_recovery_codes(uuid, bytea[]) is 'Replaces the account''s recovery codes; those of before are dead.';

create or replace function private.regenerate_recovery_codes(code_hashes bytea[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid := plinth.current_user_id();
begin
  perform from identity.users u where u.id = v_user_id for no key update;
  perform private.require_recent_authentication();
  if not exists (select from identity.mfa_factors f where f.user_id = v_user_id and f.confirmed_at is not null) then
    raise exception 'Recovery codes stand in for a second factor, and you have none.'
      using errcode = 'PL409', hint = 'Enrol one with startTotp or startPasskeyRegistration.';
  end if;
  perform private.store_recovery_codes(v_user_id, regenerate_recovery_codes.code_hashes);
end
$$;

comment on function private.regenerate_recovery_codes(bytea[]) is
  'New recovery codes for the user who asks. Needs a recent sign-in (PL403) and a confirmed factor (PL409).';
grant execute on function private.regenerate_recovery_codes(bytea[]) to :PLINTH_SERVICE;
--! EndIncluded private/functions/store_recovery_codes.sql
--! Included private/functions/complete_sign_in.sql
-- The end of every way to sign in by one factor, whatever was shown: password, another provider's word. An account with a
-- second factor gets a challenge and no session; only private.finish_sign_in turns it into one. The caller holds the account's
-- row and has found nothing that forbids it (lock, status, network).
create or replace function private.complete_sign_in(
  user_id uuid,
  methods text[],
  refresh_token_hash bytea,
  device_name text,
  challenge_hash bytea
)
  returns table (
    session_id uuid,
    token_version integer,
    refresh_expires_at timestamptz,
    challenge_expires_at timestamptz,
    challenge_methods text[]
  )
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  challenge_methods := private.second_factors(complete_sign_in.user_id);
  if cardinality(challenge_methods) > 0 then
    if complete_sign_in.challenge_hash is null then
      raise exception 'An account with a second factor cannot be signed in here.' using errcode = 'PL403';
    end if;
    insert into private.sign_in_challenges as c (user_id, token_hash, token_version, methods, device_name)
    select u.id, complete_sign_in.challenge_hash, u.token_version, complete_sign_in.methods, complete_sign_in.device_name
    from identity.users u
    where u.id = complete_sign_in.user_id
    returning c.expires_at into challenge_expires_at;
    perform private.record_security_event(
      'sign_in_challenged', complete_sign_in.user_id, jsonb_build_object('methods', to_jsonb(complete_sign_in.methods))
    );
    return next;
    return;
  end if;
  challenge_methods := null;

  select o.session_id, o.token_version, o.refresh_expires_at
  into session_id, token_version, refresh_expires_at
  from private.open_session(
    complete_sign_in.user_id, complete_sign_in.methods, complete_sign_in.refresh_token_hash, complete_sign_in.device_name
  ) o;
  return next;
end
$$;

comment on function private.complete_sign_in(uuid, text[], bytea, text, bytea) is
  'Opens a session, or a challenge when the account has a second factor; the one way there for all that shows one factor.';
--! EndIncluded private/functions/complete_sign_in.sql
--! Included private/functions/finish_login.sql
-- Decides a sign-in whose password was checked outside. Always commits something: a refused attempt is counted and audited.
-- The account's row is locked first, so that parallel guesses are counted one by one and the lock holds for all of them.
-- Whoever needs several locks takes them in one order, account, session, token, so that nobody waits in a circle.
create or replace function private.finish_login(
  user_id uuid,
  identifier text,
  password_matches boolean,
  checked_token_version integer,
  refresh_token_hash bytea,
  device_name text default null,
  new_password_hash text default null,
  new_hash_algorithm text default null,
  challenge_hash bytea default null
)
  returns table (
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

  if v_refusal is null then
    if finish_login.new_password_hash is not null then
      update private.user_passwords p
      set
        password_hash = finish_login.new_password_hash,
        hash_algorithm = finish_login.new_hash_algorithm,
        updated_at = now()
      where p.user_id = v_user.id;
    end if;

    select c.session_id, c.token_version, c.refresh_expires_at, c.challenge_expires_at, c.challenge_methods
    into session_id, token_version, refresh_expires_at, challenge_expires_at, challenge_methods
    from private.complete_sign_in(
      v_user.id, array['pwd'], finish_login.refresh_token_hash, finish_login.device_name, finish_login.challenge_hash
    ) c;
  end if;

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
    case
      when v_refusal = 'account_locked' then 'locked'
      when v_refusal is not null then 'failed'
      -- Half way is no success: it must not clear the count of failures, or knowing the password would hide guesses.
      when session_id is null then 'challenged'
      else 'success'
    end,
    v_refusal
  );

  if v_refusal is not null then
    perform private.record_security_event(
      'login_failed', v_user.id, jsonb_build_object('reason', v_refusal),
      case when v_refusal in ('wrong_password', 'unknown_account') then 'info' else 'warning' end
    );
    return;
  end if;
  return next;
end
$$;

comment on function private.finish_login(uuid, text, boolean, integer, bytea, text, text, text, bytea) is
  'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits either way.';
grant execute on function private.finish_login(uuid, text, boolean, integer, bytea, text, text, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/finish_login.sql
--! Included private/functions/finish_sign_in.sql
-- What the service needs to go on with a half-finished sign-in: whose it is. Whether it is still good is decided in
-- private.finish_sign_in, under the account's row.
create or replace function private.find_sign_in_challenge(token_hash bytea)
  returns uuid
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select c.user_id
  from private.sign_in_challenges c
  where c.token_hash = find_sign_in_challenge.token_hash
    and c.used_at is null
    and c.expires_at > now()
$$;

comment on function private.find_sign_in_challenge(bytea) is 'Whose half-finished sign-in this is; null when there is none or it is over.';
grant execute on function private.find_sign_in_challenge(bytea) to :PLINTH_SERVICE;

-- The second half of a sign-in: turns a challenge and a second factor into a session. `proof` is that of
-- private.accept_second_factor. Always commits something: a refused try is counted and audited. The account's row comes first,
-- as everywhere, so that tries on several challenges are counted one by one.
create or replace function private.finish_sign_in(
  token_hash bytea,
  proof jsonb,
  refresh_token_hash bytea,
  device_name text default null
)
  returns table (user_id uuid, session_id uuid, token_version integer, refresh_expires_at timestamptz)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_challenge private.sign_in_challenges;
  v_user identity.users;
  v_refusal text;
  v_methods text[];
begin
  select c.* into v_challenge from private.sign_in_challenges c where c.token_hash = finish_sign_in.token_hash;
  if v_challenge.id is null then
    return;
  end if;
  select u.* into v_user from identity.users u where u.id = v_challenge.user_id for no key update;
  select c.* into v_challenge from private.sign_in_challenges c where c.id = v_challenge.id for update;

  v_refusal := case
    when v_user.id is null
      or v_challenge.id is null
      or v_challenge.used_at is not null
      or v_challenge.expires_at <= now()
      or v_challenge.failed_attempts >= 10
      -- The password was changed, everything was signed out or the account was disabled since.
      or v_challenge.token_version <> v_user.token_version
    then 'challenge_expired'
    when v_user.account_status <> 'active' then 'account_disabled'
    when v_user.locked_until > now() then 'account_locked'
    when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
  end;
  if v_refusal is null then
    select a.refusal, a.methods into v_refusal, v_methods from private.accept_second_factor(v_user.id, finish_sign_in.proof) a;
    update private.sign_in_challenges c
    set
      used_at = case when v_refusal is null then now() end,
      failed_attempts = c.failed_attempts + case when v_refusal is null then 0 else 1 end
    where c.id = v_challenge.id;
  end if;

  perform security.track_login_attempt(
    v_user.id,
    v_user.username,
    plinth.client_ip(),
    plinth.user_agent(),
    case
      when v_refusal in ('account_locked', 'second_factor_locked') then 'locked'
      when v_refusal is not null then 'failed'
      else 'success'
    end,
    v_refusal
  );
  if v_refusal is not null then
    perform private.record_security_event('login_failed', v_user.id, jsonb_build_object('reason', v_refusal), 'warning');
    return;
  end if;

  user_id := v_user.id;
  select o.session_id, o.token_version, o.refresh_expires_at
  into session_id, token_version, refresh_expires_at
  from private.open_session(
    v_user.id, v_challenge.methods || v_methods || array['mfa'],
    finish_sign_in.refresh_token_hash, coalesce(finish_sign_in.device_name, v_challenge.device_name)
  ) o;
  return next;
end
$$;

comment on function private.finish_sign_in(bytea, jsonb, bytea, text) is
  'Opens a session for a challenge and a second factor; no row when refused. Counts and audits either way.';
grant execute on function private.finish_sign_in(bytea, jsonb, bytea, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/finish_sign_in.sql
--! Included private/functions/totp.sql
-- Authenticator apps. Secrets go in and out sealed: the service opens them, computes which step a code is of and hands the step
-- to the functions that decide.

create or replace function private.find_totp_secrets(user_id uuid)
  returns table (factor_id uuid, sealed_secret text)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select t.factor_id, t.sealed_secret
  from private.totp_secrets t
  join identity.mfa_factors f on f.id = t.factor_id
  where f.user_id = find_totp_secrets.user_id
    and f.confirmed_at is not null
  order by t.factor_id
$$;

comment on function private.find_totp_secrets(uuid) is 'Sealed secrets of the account''s confirmed authenticator apps.';
grant execute on function private.find_totp_secrets(uuid) to :PLINTH_SERVICE;

-- Begins an enrolment. An earlier one that was not confirmed is forgotten, so that one is under way at most. Every app is one
-- more code that a guess may hit, so there are few.
create or replace function private.start_totp(name text, sealed_secret text)
  returns table (factor_id uuid, username text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id uuid := plinth.current_user_id();
begin
  select u.username into username from identity.users u where u.id = v_user_id for no key update;
  perform private.require_recent_authentication();
  delete from identity.mfa_factors f where f.user_id = v_user_id and f.kind = 'totp' and f.confirmed_at is null;
  if (select count(*) from identity.mfa_factors f where f.user_id = v_user_id and f.kind = 'totp') >= 3 then
    raise exception 'An account can have at most 3 authenticator apps.' using errcode = 'PL409', hint = 'Remove one first.';
  end if;
  insert into identity.mfa_factors (user_id, kind, name)
  values (v_user_id, 'totp', start_totp.name)
  returning id into factor_id;
  insert into private.totp_secrets (factor_id, sealed_secret) values (factor_id, start_totp.sealed_secret);
  return next;
end
$$;

comment on function private.start_totp(text, text) is
  'Adds an unconfirmed authenticator app for the user who asks. Needs a recent sign-in (PL403); PL409 when there are too many.';
grant execute on function private.start_totp(text, text) to :PLINTH_SERVICE;

create or replace function private.find_unconfirmed_totp(factor_id uuid)
  returns text
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select t.sealed_secret
  from private.totp_secrets t
  join identity.mfa_factors f on f.id = t.factor_id
  where t.factor_id = find_unconfirmed_totp.factor_id
    and f.user_id = plinth.current_user_id()
    and f.confirmed_at is null
$$;

comment on function private.find_unconfirmed_totp(uuid) is
  'Sealed secret of an authenticator app that the user who asks has not confirmed; null when there is none.';
grant execute on function private.find_unconfirmed_totp(uuid) to :PLINTH_SERVICE;

-- Ends an enrolment with a code that the app showed. `step` is null for a wrong one: that is no guess, who asks has the secret.
-- The first factor of an account comes with recovery codes; later ones leave those there are.
create or replace function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[])
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id uuid := plinth.current_user_id();
  v_is_first boolean;
begin
  perform from identity.users u where u.id = v_user_id for no key update;
  perform private.require_recent_authentication();
  if confirm_totp.step is null then
    raise exception 'The code is not the one of this moment.'
      using errcode = 'PL422', column = 'code', hint = 'Check the clock of the device.';
  end if;
  v_is_first := cardinality(private.second_factors(v_user_id)) = 0;
  update identity.mfa_factors f
  set confirmed_at = now()
  where f.id = confirm_totp.factor_id
    and f.user_id = v_user_id
    and f.kind = 'totp'
    and f.confirmed_at is null;
  if not found then
    raise exception 'There is no such enrolment under way.' using errcode = 'PL404';
  end if;
  -- The code is used up: it must not sign anybody in.
  update private.totp_secrets t set last_used_step = confirm_totp.step where t.factor_id = confirm_totp.factor_id;
  perform private.factor_was_added(v_user_id, confirm_totp.factor_id, 'totp', array['otp', 'mfa']);
  if v_is_first then
    perform private.store_recovery_codes(v_user_id, confirm_totp.code_hashes);
  end if;
  return v_is_first;
end
$$;

comment on function private.confirm_totp(uuid, bigint, bytea[]) is
  'Makes an authenticator app count; whether the recovery codes were stored. PL403, PL404, or PL422 for a wrong code.';
grant execute on function private.confirm_totp(uuid, bigint, bytea[]) to :PLINTH_SERVICE;

-- What every new factor does: it is audited, and the session that showed it counts as signed in with it.
create or replace function private.factor_was_added(user_id uuid, factor_id uuid, kind text, methods text[])
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  perform private.record_security_event(
    'factor_added', factor_was_added.user_id,
    jsonb_build_object('factor_id', factor_was_added.factor_id, 'kind', factor_was_added.kind)
  );
  perform private.add_session_methods(factor_was_added.methods);
end
$$;

comment on function private.factor_was_added(uuid, uuid, text, text[]) is 'Audits a new factor and credits it to the session that asks.';

create or replace function private.add_session_methods(methods text[])
  returns timestamptz
  language sql
  volatile
  set search_path = pg_catalog
as $$
  update identity.user_sessions s
  set
    authenticated_at = now(),
    authentication_methods = (
      select array_agg(distinct m order by m) from unnest(s.authentication_methods || add_session_methods.methods) m
    )
  where s.id = plinth.current_session_id()
    and s.user_id = plinth.current_user_id()
    and s.ended_at is null
  returning s.authenticated_at
$$;

comment on function private.add_session_methods(text[]) is
  'Notes that the session that asks has just shown these (amr values); returns when.';
--! EndIncluded private/functions/totp.sql
--! Included private/functions/passkeys.sql
-- Passkeys (WebAuthn Level 3). The service checks signatures; what was asked for, of whom and for what is kept here.

-- A user's passkeys, for browsers to choose among: [{"id": hex, "transports": […]}].
create or replace function private.list_passkeys(user_id uuid)
  returns jsonb
  language sql
  stable
  set search_path = pg_catalog
as $$
  select coalesce(
    jsonb_agg(
      jsonb_build_object('id', encode(p.credential_id, 'hex'), 'transports', to_jsonb(p.transports)) order by p.factor_id
    ),
    '[]'
  )
  from private.passkeys p
  join identity.mfa_factors f on f.id = p.factor_id
  where f.user_id = list_passkeys.user_id
$$;

comment on function private.list_passkeys(uuid) is 'Credential ids (hex) and transports of an account''s passkeys, as JSON.';

-- One ceremony of a kind an account at a time: a new one forgets the last. The caller holds the account's row, which others
-- who delete the account lock first as well.
create or replace function private.start_passkey_ceremony(challenge bytea, purpose text, user_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  delete from private.passkey_challenges c
  where c.user_id = start_passkey_ceremony.user_id
    and c.purpose = start_passkey_ceremony.purpose;
  insert into private.passkey_challenges (challenge, purpose, user_id)
  values (start_passkey_ceremony.challenge, start_passkey_ceremony.purpose, start_passkey_ceremony.user_id);
end
$$;

comment on function private.start_passkey_ceremony(bytea, text, uuid) is 'Remembers what a passkey is to sign, for what and for whom.';

create or replace function private.start_passkey_registration(challenge bytea)
  returns table (user_id uuid, username text, passkeys jsonb)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  select u.id, u.username into user_id, username
  from identity.users u
  where u.id = plinth.current_user_id()
  for no key update;
  perform private.require_recent_authentication();
  if (select count(*) from identity.mfa_factors f where f.user_id = plinth.current_user_id() and f.kind = 'passkey') >= 20 then
    raise exception 'An account can have at most 20 passkeys.' using errcode = 'PL409', hint = 'Remove one first.';
  end if;
  perform private.start_passkey_ceremony(start_passkey_registration.challenge, 'register', user_id);
  passkeys := private.list_passkeys(user_id);
  return next;
end
$$;

comment on function private.start_passkey_registration(bytea) is
  'Begins to add a passkey for the user who asks. Needs a recent sign-in (PL403); PL409 when there are too many.';
grant execute on function private.start_passkey_registration(bytea) to :PLINTH_SERVICE;

-- Without a challenge's token: a sign-in by nothing but a passkey, of somebody yet unknown.
create or replace function private.start_passkey_sign_in(challenge bytea, token_hash bytea default null)
  returns jsonb
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid;
begin
  if start_passkey_sign_in.token_hash is null then
    perform private.start_passkey_ceremony(start_passkey_sign_in.challenge, 'sign_in', null);
    return '[]';
  end if;
  v_user_id := private.find_sign_in_challenge(start_passkey_sign_in.token_hash);
  perform from identity.users u where u.id = v_user_id for no key update;
  if not found then
    return null;
  end if;
  perform private.start_passkey_ceremony(start_passkey_sign_in.challenge, 'second_factor', v_user_id);
  return private.list_passkeys(v_user_id);
end
$$;

comment on function private.start_passkey_sign_in(bytea, bytea) is
  'Begins a sign-in with a passkey, alone or as second factor; the passkeys to choose among, null when the challenge is not live.';
grant execute on function private.start_passkey_sign_in(bytea, bytea) to :PLINTH_SERVICE;

create or replace function private.start_passkey_reauthentication(challenge bytea)
  returns jsonb
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid := plinth.current_user_id();
begin
  perform from identity.users u where u.id = v_user_id for no key update;
  if not found then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  perform private.start_passkey_ceremony(start_passkey_reauthentication.challenge, 'reauthenticate', v_user_id);
  return private.list_passkeys(v_user_id);
end
$$;

comment on function private.start_passkey_reauthentication(bytea) is
  'Begins to confirm with a passkey that it is the user who asks; the passkeys to choose among.';
grant execute on function private.start_passkey_reauthentication(bytea) to :PLINTH_SERVICE;

-- Takes a challenge out before the answer is looked at: it is good for one answer, right or wrong, and one taker in a race.
create or replace function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  delete from private.passkey_challenges c
  where c.challenge = take_passkey_challenge.challenge
    and c.purpose = take_passkey_challenge.purpose
    and c.user_id is not distinct from take_passkey_challenge.user_id
    and c.expires_at > now();
  return found;
end
$$;

comment on function private.take_passkey_challenge(bytea, text, uuid) is
  'Whether this was asked, for this purpose and of this account, and not answered yet; it is answered now.';
grant execute on function private.take_passkey_challenge(bytea, text, uuid) to :PLINTH_SERVICE;

create or replace function private.find_passkey(credential_id bytea)
  returns table (user_id uuid, factor_id uuid, public_key bytea, backup_eligible boolean)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select f.user_id, p.factor_id, p.public_key, p.backup_eligible
  from private.passkeys p
  join identity.mfa_factors f on f.id = p.factor_id
  where p.credential_id = find_passkey.credential_id
$$;

comment on function private.find_passkey(bytea) is 'Whose passkey this is, and its public key.';
grant execute on function private.find_passkey(bytea) to :PLINTH_SERVICE;

-- Adds a passkey whose registration was checked outside. That the sign-in was recent was asked when it began, five minutes ago
-- at most.
create or replace function private.finish_passkey_registration(
  name text,
  credential_id bytea,
  public_key bytea,
  sign_count bigint,
  transports text[],
  backup_eligible boolean,
  backed_up boolean,
  aaguid uuid,
  code_hashes bytea[]
)
  returns table (factor_id uuid, codes_were_stored boolean)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id uuid := plinth.current_user_id();
begin
  perform from identity.users u where u.id = v_user_id and u.account_status = 'active' for no key update;
  if not found then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  -- WebAuthn Level 3, 7.1: a credential belongs to one account. The same answer whoever has it.
  if exists (select from private.passkeys p where p.credential_id = finish_passkey_registration.credential_id) then
    raise exception 'This passkey cannot be added.' using errcode = 'PL409', column = 'response';
  end if;
  codes_were_stored := cardinality(private.second_factors(v_user_id)) = 0;
  insert into identity.mfa_factors (user_id, kind, name, confirmed_at)
  values (v_user_id, 'passkey', finish_passkey_registration.name, now())
  returning id into factor_id;
  insert into private.passkeys
    (factor_id, credential_id, public_key, sign_count, transports, backup_eligible, backed_up, aaguid)
  values (
    factor_id,
    finish_passkey_registration.credential_id,
    finish_passkey_registration.public_key,
    finish_passkey_registration.sign_count,
    finish_passkey_registration.transports,
    finish_passkey_registration.backup_eligible,
    finish_passkey_registration.backed_up,
    finish_passkey_registration.aaguid
  );
  perform private.factor_was_added(
    v_user_id, factor_id, 'passkey',
    array[case when finish_passkey_registration.backup_eligible then 'swk' else 'hwk' end, 'mfa']
  );
  if codes_were_stored then
    perform private.store_recovery_codes(v_user_id, finish_passkey_registration.code_hashes);
  end if;
  return next;
end
$$;

comment on function private.finish_passkey_registration(text, bytea, bytea, bigint, text[], boolean, boolean, uuid, bytea[]) is
  'Adds a passkey to the user who asks; PL409 when it is somebody''s already.';
grant execute on function
  private.finish_passkey_registration(text, bytea, bytea, bigint, text[], boolean, boolean, uuid, bytea[]) to :PLINTH_SERVICE;
--! EndIncluded private/functions/passkeys.sql
--! Included private/functions/finish_passkey_sign_in.sql
-- A sign-in with nothing but a passkey that verified its user (PIN, fingerprint): possession and knowledge or body in one, so
-- that no challenge follows (NIST SP 800-63B-4, 3.1.7). `user_id` and `proof` are those of the credential that was shown, null for one
-- that nobody has.
create or replace function private.finish_passkey_sign_in(
  user_id uuid,
  proof jsonb,
  refresh_token_hash bytea,
  device_name text default null
)
  returns table (session_id uuid, token_version integer, refresh_expires_at timestamptz)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user identity.users;
  v_refusal text;
  v_methods text[];
begin
  select u.* into v_user from identity.users u where u.id = finish_passkey_sign_in.user_id for no key update;
  v_refusal := case
    when v_user.id is null then 'unknown_account'
    when v_user.account_status <> 'active' then 'account_disabled'
    when v_user.locked_until > now() then 'account_locked'
    when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
    when finish_passkey_sign_in.proof ->> 'method' is distinct from 'passkey' then 'wrong_passkey'
  end;
  if v_refusal is null then
    select a.refusal, a.methods into v_refusal, v_methods
    from private.accept_second_factor(v_user.id, finish_passkey_sign_in.proof) a;
  end if;

  perform security.track_login_attempt(
    v_user.id,
    v_user.username,
    plinth.client_ip(),
    plinth.user_agent(),
    case
      when v_refusal = 'account_locked' then 'locked'
      when v_refusal is not null then 'failed'
      else 'success'
    end,
    v_refusal
  );
  if v_refusal is not null then
    perform private.record_security_event('login_failed', v_user.id, jsonb_build_object('reason', v_refusal), 'warning');
    return;
  end if;

  return query
    select o.session_id, o.token_version, o.refresh_expires_at
    from private.open_session(
      v_user.id, v_methods || array['mfa'],
      finish_passkey_sign_in.refresh_token_hash, finish_passkey_sign_in.device_name
    ) o;
end
$$;

comment on function private.finish_passkey_sign_in(uuid, jsonb, bytea, text) is
  'Opens a session for a passkey that verified its user; no row when refused. Counts and audits either way.';
grant execute on function private.finish_passkey_sign_in(uuid, jsonb, bytea, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/finish_passkey_sign_in.sql
--! Included private/functions/reauthenticate.sql
-- Shows again, within a session, that it is its owner who asks: opens the ten minutes of private.require_recent_authentication.
-- `proof` is {"method": "password", "matches": boolean, "token_version": …} or one of private.accept_second_factor. An account with a
-- second factor shows that one: the password alone would make removing a factor as easy as if there were none. Wrong tries count
-- as at sign-in, or a stolen access token could guess here.
create or replace function private.reauthenticate(proof jsonb)
  returns timestamptz
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user identity.users;
  v_session identity.user_sessions;
  v_has_factor boolean;
  v_is_password boolean := reauthenticate.proof ->> 'method' = 'password';
  v_refusal text;
  v_methods text[];
begin
  select u.* into v_user from identity.users u where u.id = plinth.current_user_id() for no key update;
  select s.* into v_session
  from identity.user_sessions s
  where s.id = plinth.current_session_id() and s.user_id = v_user.id and s.ended_at is null and s.expires_at > now()
  for update;
  if v_session.id is null or v_user.account_status <> 'active' then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  v_has_factor := cardinality(private.second_factors(v_user.id)) > 0;
  -- Said before the password is looked at, so that it tells nothing of it.
  if v_is_password and v_has_factor then
    raise exception 'Your account has a second factor: show that.'
      using errcode = 'PL422', column = 'password', hint = 'Give a code, a recovery code or a passkey.';
  end if;

  if v_is_password then
    v_refusal := case
      when v_user.locked_until > now() then 'account_locked'
      when not coalesce((reauthenticate.proof ->> 'matches')::boolean, false) then 'wrong_password'
      -- Changed between the check and now.
      when v_user.token_version is distinct from (reauthenticate.proof ->> 'token_version')::integer then 'wrong_password'
    end;
    v_methods := array['pwd'];
    if v_refusal = 'wrong_password' then
      perform security.track_login_attempt(
        v_user.id, v_user.username, plinth.client_ip(), plinth.user_agent(), 'failed', 'wrong_password'
      );
    end if;
  else
    select a.refusal, a.methods || array['mfa'] into v_refusal, v_methods
    from private.accept_second_factor(v_user.id, reauthenticate.proof) a;
  end if;

  if v_refusal is not null then
    perform private.record_security_event(
      'reauthentication_failed', v_user.id,
      jsonb_build_object('session_id', v_session.id, 'method', reauthenticate.proof ->> 'method', 'reason', v_refusal), 'warning'
    );
    return null;
  end if;
  perform private.record_security_event(
    'reauthenticated', v_user.id,
    jsonb_build_object('session_id', v_session.id, 'method', reauthenticate.proof ->> 'method')
  );
  return private.add_session_methods(v_methods);
end
$$;

comment on function private.reauthenticate(jsonb) is
  'Makes the session that asks freshly authenticated; when, or null if refused. PL422 for a password where there is a second factor.';
grant execute on function private.reauthenticate(jsonb) to :PLINTH_SERVICE;
--! EndIncluded private/functions/reauthenticate.sql
--! Included private/functions/factor_may_go.sql
-- Whether the account can still be signed in to without this factor: with a password, or with another passkey.
create or replace function private.factor_may_go(user_id uuid, factor_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select exists (select from private.user_passwords p where p.user_id = factor_may_go.user_id)
    or not exists (select from private.passkeys p where p.factor_id = factor_may_go.factor_id)
    or exists (
      select
      from identity.mfa_factors f
      where f.user_id = factor_may_go.user_id
        and f.kind = 'passkey'
        and f.id <> factor_may_go.factor_id
    )
$$;

comment on function private.factor_may_go(uuid, uuid) is 'Whether removing this factor leaves a way to sign in.';
--! EndIncluded private/functions/factor_may_go.sql
--! Included identity/functions/mfa_factors.sql
-- Removing a second factor is what a thief of a session would do first, so it asks for a recent sign-in.
create or replace function identity.remove_mfa_factor(factor_id uuid)
  returns identity.mfa_factors
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid := plinth.current_user_id();
  v_factor identity.mfa_factors;
begin
  perform from identity.users u where u.id = v_user_id for no key update;
  perform private.require_recent_authentication();
  select f.* into v_factor
  from identity.mfa_factors f
  where f.id = remove_mfa_factor.factor_id and f.user_id = v_user_id;
  if v_factor.id is null then
    raise exception 'You have no such second factor.' using errcode = 'PL404';
  end if;
  if v_factor.confirmed_at is not null and not private.factor_may_go(v_user_id, v_factor.id) then
    raise exception 'Without it you could not sign in any more.'
      using errcode = 'PL409', hint = 'Set a password or add another passkey first.';
  end if;
  delete from identity.mfa_factors f where f.id = v_factor.id;
  if cardinality(private.second_factors(v_user_id)) = 0 then
    delete from private.recovery_codes c where c.user_id = v_user_id;
    delete from private.mfa_attempts a where a.user_id = v_user_id;
  end if;
  perform private.record_security_event(
    'factor_removed', v_user_id,
    jsonb_build_object('factor_id', v_factor.id, 'kind', v_factor.kind, 'was_confirmed', v_factor.confirmed_at is not null),
    'warning'
  );
  return v_factor;
end
$$;

comment on function identity.remove_mfa_factor(uuid) is
  'Removes one of the user''s own second factors. Needs a recent sign-in (PL403 otherwise); PL404 for an unknown one, PL409 when no way to sign in would be left.';
grant execute on function identity.remove_mfa_factor(uuid) to :PLINTH_USER;

-- The codes themselves are nobody's to read; how many are left is the owner's.
create or replace function identity.recovery_codes_left()
  returns integer
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select count(*)::integer
  from private.recovery_codes c
  where c.user_id = plinth.current_user_id()
    and c.used_at is null
$$;

comment on function identity.recovery_codes_left() is 'How many of the user''s recovery codes still work.';
grant execute on function identity.recovery_codes_left() to :PLINTH_USER;
--! EndIncluded identity/functions/mfa_factors.sql
--! Included private/functions/delete_expired_tokens.sql
-- One batch of the token clean-up: refresh tokens past their time, revocations nobody can need, sign-ins and passkey ceremonies
-- that nobody went on with, and factors whose enrolment was begun and left. Small batches keep locks and the write-ahead log
-- short; the job repeats until a batch is not full.
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
  return v_deleted;
end
$$;

comment on function private.delete_expired_tokens(integer) is
  'Deletes up to batch_size expired refresh tokens, revocations, challenges and unconfirmed factors; returns how many.';
grant execute on function private.delete_expired_tokens(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_expired_tokens.sql
