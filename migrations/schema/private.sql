-- Schema private as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema private;
comment on schema private is 'Secrets and the functions of the API''s service and the job worker. No API role may enter.';
grant usage on schema private to :PLINTH_SERVICE, :PLINTH_WORKER;

-- Tables ----------------------------------------------------------------------------------------------

-- One row per account that typed a wrong code since a second factor was last accepted.
create table private.mfa_attempts (
  user_id uuid not null,
  failed_attempts integer not null,
  last_failed_at timestamp with time zone not null default now(),
  locked_until timestamp with time zone,
  constraint mfa_attempts_pkey primary key (user_id),
  constraint mfa_attempts_failed_attempts_is_positive check (failed_attempts > 0),
  constraint mfa_attempts_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.mfa_attempts enable row level security;

comment on table private.mfa_attempts is 'One row per account that typed a wrong code since a second factor was last accepted.';
comment on column private.mfa_attempts.user_id is 'The account.';
comment on column private.mfa_attempts.failed_attempts is 'Wrong codes in a row, over all sessions and challenges.';
comment on column private.mfa_attempts.last_failed_at is 'Time of the last wrong code.';
comment on column private.mfa_attempts.locked_until is 'No code is accepted before this time; null or past when not locked.';

-- One row per passkey ceremony under way. Readable by no API role.
create table private.passkey_challenges (
  challenge bytea not null,
  purpose text not null,
  user_id uuid,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null default now() + '00:05:00'::interval,
  constraint passkey_challenges_pkey primary key (challenge),
  constraint passkey_challenges_bound_to_an_account check ((user_id is null) = (purpose = 'sign_in'::text)),
  constraint passkey_challenges_challenge_is_32_bytes check (octet_length(challenge) = 32),
  constraint passkey_challenges_purpose_check check (purpose = any (array['register'::text, 'sign_in'::text, 'second_factor'::text, 'reauthenticate'::text])),
  constraint passkey_challenges_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.passkey_challenges enable row level security;

create index passkey_challenges_expires_at_idx on private.passkey_challenges using btree (expires_at);
create index passkey_challenges_user_id_idx on private.passkey_challenges using btree (user_id);

comment on table private.passkey_challenges is 'One row per passkey ceremony under way. Readable by no API role.';
comment on column private.passkey_challenges.challenge is '32 random bytes for the authenticator to sign.';
comment on column private.passkey_challenges.purpose is 'What the answer is good for: register, sign_in, second_factor or reauthenticate.';
comment on column private.passkey_challenges.user_id is 'Whose answer; null for a sign-in with nothing but a passkey.';
comment on column private.passkey_challenges.created_at is 'When the ceremony began.';
comment on column private.passkey_challenges.expires_at is 'From then on no answer is taken.';

-- One row per passkey: its public key and what its authenticator said. Readable by no API role.
create table private.passkeys (
  factor_id uuid not null,
  credential_id bytea not null,
  public_key bytea not null,
  sign_count bigint not null default 0,
  transports text[] not null default '{}'::text[],
  backup_eligible boolean not null,
  backed_up boolean not null,
  aaguid uuid,
  constraint passkeys_pkey primary key (factor_id),
  constraint passkeys_credential_id_key unique (credential_id),
  constraint passkeys_backed_up_only_if_eligible check (backup_eligible or not backed_up),
  constraint passkeys_credential_id_check check (octet_length(credential_id) >= 1 and octet_length(credential_id) <= 1023),
  constraint passkeys_public_key_check check (octet_length(public_key) >= 1 and octet_length(public_key) <= 4096),
  constraint passkeys_sign_count_check check (sign_count >= 0 and sign_count <= '4294967295'::bigint),
  constraint passkeys_transports_check check (cardinality(transports) <= 10 and array_position(transports, null::text) is null),
  constraint passkeys_factor_id_fkey foreign key (factor_id) references identity.mfa_factors(id) on delete cascade
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

-- One row per recovery code of an account's current set; each works once. Readable by no API role.
create table private.recovery_codes (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  code_hash bytea not null,
  created_at timestamp with time zone not null default now(),
  used_at timestamp with time zone,
  constraint recovery_codes_pkey primary key (id),
  constraint recovery_codes_user_id_code_hash_key unique (user_id, code_hash),
  constraint recovery_codes_code_hash_is_sha256 check (octet_length(code_hash) = 32),
  constraint recovery_codes_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.recovery_codes enable row level security;

create index recovery_codes_user_id_idx on private.recovery_codes using btree (user_id);

comment on table private.recovery_codes is 'One row per recovery code of an account''s current set; each works once. Readable by no API role.';
comment on column private.recovery_codes.id is 'UUIDv7.';
comment on column private.recovery_codes.user_id is 'Whose code.';
comment on column private.recovery_codes.code_hash is 'SHA-256 of the code; the code itself is nowhere.';
comment on column private.recovery_codes.created_at is 'When the set was made.';
comment on column private.recovery_codes.used_at is 'When it was used; null while it works.';

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

-- One row per sign-in that waits for a second factor. Readable by no API role.
create table private.sign_in_challenges (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  token_hash bytea not null,
  token_version integer not null,
  methods text[] not null,
  device_name text,
  failed_attempts integer not null default 0,
  created_at timestamp with time zone not null default now(),
  expires_at timestamp with time zone not null default now() + '00:10:00'::interval,
  used_at timestamp with time zone,
  constraint sign_in_challenges_pkey primary key (id),
  constraint sign_in_challenges_token_hash_key unique (token_hash),
  constraint sign_in_challenges_device_name_check check (length(device_name) >= 1 and length(device_name) <= 100 and device_name !~ '[[:cntrl:]]'::text),
  constraint sign_in_challenges_failed_attempts_is_not_negative check (failed_attempts >= 0),
  constraint sign_in_challenges_methods_check check (cardinality(methods) >= 1 and cardinality(methods) <= 10 and array_position(methods, null::text) is null),
  constraint sign_in_challenges_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint sign_in_challenges_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.sign_in_challenges enable row level security;

create index sign_in_challenges_expires_at_idx on private.sign_in_challenges using btree (expires_at);
create index sign_in_challenges_user_id_idx on private.sign_in_challenges using btree (user_id);

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

-- One row per authenticator app: its sealed secret. Readable by no API role.
create table private.totp_secrets (
  factor_id uuid not null,
  sealed_secret text not null,
  last_used_step bigint,
  constraint totp_secrets_pkey primary key (factor_id),
  constraint totp_secrets_last_used_step_is_not_negative check (last_used_step >= 0),
  constraint totp_secrets_sealed_secret_is_sealed check (sealed_secret ~ '^v[1-9][0-9]*\.[A-Za-z0-9_-]+$'::text),
  constraint totp_secrets_factor_id_fkey foreign key (factor_id) references identity.mfa_factors(id) on delete cascade
);

alter table private.totp_secrets enable row level security;

comment on table private.totp_secrets is 'One row per authenticator app: its sealed secret. Readable by no API role.';
comment on column private.totp_secrets.factor_id is 'The factor.';
comment on column private.totp_secrets.sealed_secret is 'The shared secret with its owner''s id, sealed for the purpose "totp secret".';
comment on column private.totp_secrets.last_used_step is 'Number of the 30-second step whose code was last accepted; codes of it and of earlier ones are refused.';

-- One row per account with a password. Readable by no API role.
create table private.user_passwords (
  user_id uuid not null,
  password_hash text not null,
  hash_algorithm text not null default 'argon2id'::text,
  updated_at timestamp with time zone not null default now(),
  constraint user_passwords_pkey primary key (user_id),
  constraint user_passwords_hash_algorithm_check check (hash_algorithm = any (array['argon2id'::text, 'bcrypt'::text])),
  constraint user_passwords_password_hash_check check (
case hash_algorithm
    when 'argon2id'::text then password_hash ~ '^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'::text
    when 'bcrypt'::text then password_hash ~ '^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$'::text
    else null::boolean
end),
  constraint user_passwords_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table private.user_passwords enable row level security;

create index user_passwords_bcrypt_idx on private.user_passwords using btree (user_id) where (hash_algorithm = 'bcrypt'::text);

comment on table private.user_passwords is 'One row per account with a password. Readable by no API role.';
comment on column private.user_passwords.user_id is 'Whose password.';
comment on column private.user_passwords.password_hash is 'PHC string (argon2id) or modular crypt string (bcrypt).';
comment on column private.user_passwords.hash_algorithm is 'argon2id (default) or bcrypt (brought along; replaced at the next sign-in).';
comment on column private.user_passwords.updated_at is 'When the hash was last set.';

-- Functions -------------------------------------------------------------------------------------------

-- Uses up a second factor: null refusal and the amr values shown, or the reason why not. Counts and audits; the caller holds the account.
create or replace function private.accept_second_factor(user_id uuid, proof jsonb, out refusal text, out methods text[])
  returns record
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function private.accept_second_factor(user_id uuid, proof jsonb, out refusal text, out methods text[]) is 'Uses up a second factor: null refusal and the amr values shown, or the reason why not. Counts and audits; the caller holds the account.';
revoke execute on function private.accept_second_factor(user_id uuid, proof jsonb, out refusal text, out methods text[]) from public;

-- Notes that the session that asks has just shown these (amr values); returns when.
create or replace function private.add_session_methods(methods text[])
  returns timestamp with time zone
  language sql
  set search_path to 'pg_catalog'
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

comment on function private.add_session_methods(methods text[]) is 'Notes that the session that asks has just shown these (amr values); returns when.';
revoke execute on function private.add_session_methods(methods text[]) from public;

-- Sets a new password, ends the other sessions and all access tokens; no row when refused. Counts and audits either way.
create or replace function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea)
  returns table(token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
declare
  v_user identity.users;
  v_session identity.user_sessions;
  v_refusal text;
begin
  select u.* into v_user from identity.users u where u.id = change_password.user_id for no key update;
  select s.* into v_session
  from identity.user_sessions s
  where s.id = change_password.session_id and s.user_id = v_user.id and s.ended_at is null and s.expires_at > now()
  for update;

  v_refusal := case
    when v_session.id is null or v_user.account_status <> 'active' then 'session_ended'
    when v_user.locked_until > now() then 'account_locked'
    when not coalesce(change_password.password_matches, false) then 'wrong_password'
    -- Changed between the check and now.
    when v_user.token_version is distinct from change_password.checked_token_version then 'wrong_password'
  end;
  if v_refusal is not null then
    if v_refusal = 'wrong_password' then
      perform security.track_login_attempt(
        v_user.id, v_user.username, plinth.client_ip(), plinth.user_agent(), 'failed', 'wrong_password'
      );
    end if;
    perform private.record_security_event(
      'password_change_failed', change_password.user_id, jsonb_build_object('reason', v_refusal), 'warning'
    );
    return;
  end if;

  update private.user_passwords p
  set
    password_hash = change_password.new_password_hash,
    hash_algorithm = change_password.new_hash_algorithm,
    updated_at = now()
  where p.user_id = v_user.id;

  update identity.users u
  set password_changed_at = now(), token_version = u.token_version + 1, failed_login_attempts = 0
  where u.id = v_user.id
  returning u.token_version into token_version;

  perform private.end_sessions(v_user.id, 'password_changed', v_session.id);
  -- The old family of this session ends as well; its tokens are forgotten, so they are simply unknown.
  delete from private.refresh_tokens t where t.session_id = v_session.id;
  refresh_expires_at := private.issue_refresh_token(v_session.id, change_password.refresh_token_hash);
  perform private.record_security_event('password_changed', v_user.id);
  return next;
end
$$;

comment on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea) is 'Sets a new password, ends the other sessions and all access tokens; no row when refused. Counts and audits either way.';
revoke execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea) from public;
grant execute on function private.change_password(user_id uuid, session_id uuid, password_matches boolean, checked_token_version integer, new_password_hash text, new_hash_algorithm text, refresh_token_hash bytea) to :PLINTH_SERVICE;

-- Opens a session, or a challenge when the account has a second factor; the one way there for all that shows one factor.
create or replace function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone, challenge_expires_at timestamp with time zone, challenge_methods text[])
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) is 'Opens a session, or a challenge when the account has a second factor; the one way there for all that shows one factor.';
revoke execute on function private.complete_sign_in(user_id uuid, methods text[], refresh_token_hash bytea, device_name text, challenge_hash bytea) from public;

-- Makes an authenticator app count; whether the recovery codes were stored. PL403, PL404, or PL422 for a wrong code.
create or replace function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[])
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[]) is 'Makes an authenticator app count; whether the recovery codes were stored. PL403, PL404, or PL422 for a wrong code.';
revoke execute on function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[]) from public;
grant execute on function private.confirm_totp(factor_id uuid, step bigint, code_hashes bytea[]) to :PLINTH_SERVICE;

-- Counts a wrong code over all sessions and challenges of the account and locks its codes for a while from the tenth on.
create or replace function private.count_wrong_code(user_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function private.count_wrong_code(user_id uuid) is 'Counts a wrong code over all sessions and challenges of the account and locks its codes for a while from the tenth on.';
revoke execute on function private.count_wrong_code(user_id uuid) from public;

-- Deletes up to batch_size expired refresh tokens, revocations, challenges and unconfirmed factors; returns how many.
create or replace function private.delete_expired_tokens(batch_size integer default 1000)
  returns integer
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.delete_expired_tokens(batch_size integer) is 'Deletes up to batch_size expired refresh tokens, revocations, challenges and unconfirmed factors; returns how many.';
revoke execute on function private.delete_expired_tokens(batch_size integer) from public;
grant execute on function private.delete_expired_tokens(batch_size integer) to :PLINTH_WORKER;

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

-- Whether removing this factor leaves a way to sign in.
create or replace function private.factor_may_go(user_id uuid, factor_id uuid)
  returns boolean
  language sql
  stable
  set search_path to 'pg_catalog'
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

comment on function private.factor_may_go(user_id uuid, factor_id uuid) is 'Whether removing this factor leaves a way to sign in.';
revoke execute on function private.factor_may_go(user_id uuid, factor_id uuid) from public;

-- Audits a new factor and credits it to the session that asks.
create or replace function private.factor_was_added(user_id uuid, factor_id uuid, kind text, methods text[])
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
as $$
begin
  perform private.record_security_event(
    'factor_added', factor_was_added.user_id,
    jsonb_build_object('factor_id', factor_was_added.factor_id, 'kind', factor_was_added.kind)
  );
  perform private.add_session_methods(factor_was_added.methods);
end
$$;

comment on function private.factor_was_added(user_id uuid, factor_id uuid, kind text, methods text[]) is 'Audits a new factor and credits it to the session that asks.';
revoke execute on function private.factor_was_added(user_id uuid, factor_id uuid, kind text, methods text[]) from public;

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
    exists (select from private.user_passwords b where b.hash_algorithm = 'bcrypt')
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

-- Whose passkey this is, and its public key.
create or replace function private.find_passkey(credential_id bytea)
  returns table(user_id uuid, factor_id uuid, public_key bytea, backup_eligible boolean)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select f.user_id, p.factor_id, p.public_key, p.backup_eligible
  from private.passkeys p
  join identity.mfa_factors f on f.id = p.factor_id
  where p.credential_id = find_passkey.credential_id
$$;

comment on function private.find_passkey(credential_id bytea) is 'Whose passkey this is, and its public key.';
revoke execute on function private.find_passkey(credential_id bytea) from public;
grant execute on function private.find_passkey(credential_id bytea) to :PLINTH_SERVICE;

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

-- Whose half-finished sign-in this is; null when there is none or it is over.
create or replace function private.find_sign_in_challenge(token_hash bytea)
  returns uuid
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select c.user_id
  from private.sign_in_challenges c
  where c.token_hash = find_sign_in_challenge.token_hash
    and c.used_at is null
    and c.expires_at > now()
$$;

comment on function private.find_sign_in_challenge(token_hash bytea) is 'Whose half-finished sign-in this is; null when there is none or it is over.';
revoke execute on function private.find_sign_in_challenge(token_hash bytea) from public;
grant execute on function private.find_sign_in_challenge(token_hash bytea) to :PLINTH_SERVICE;

-- Sealed secrets of the account's confirmed authenticator apps.
create or replace function private.find_totp_secrets(user_id uuid)
  returns table(factor_id uuid, sealed_secret text)
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select t.factor_id, t.sealed_secret
  from private.totp_secrets t
  join identity.mfa_factors f on f.id = t.factor_id
  where f.user_id = find_totp_secrets.user_id
    and f.confirmed_at is not null
  order by t.factor_id
$$;

comment on function private.find_totp_secrets(user_id uuid) is 'Sealed secrets of the account''s confirmed authenticator apps.';
revoke execute on function private.find_totp_secrets(user_id uuid) from public;
grant execute on function private.find_totp_secrets(user_id uuid) to :PLINTH_SERVICE;

-- Sealed secret of an authenticator app that the user who asks has not confirmed; null when there is none.
create or replace function private.find_unconfirmed_totp(factor_id uuid)
  returns text
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select t.sealed_secret
  from private.totp_secrets t
  join identity.mfa_factors f on f.id = t.factor_id
  where t.factor_id = find_unconfirmed_totp.factor_id
    and f.user_id = plinth.current_user_id()
    and f.confirmed_at is null
$$;

comment on function private.find_unconfirmed_totp(factor_id uuid) is 'Sealed secret of an authenticator app that the user who asks has not confirmed; null when there is none.';
revoke execute on function private.find_unconfirmed_totp(factor_id uuid) from public;
grant execute on function private.find_unconfirmed_totp(factor_id uuid) to :PLINTH_SERVICE;

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

comment on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) is 'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits either way.';
revoke execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) from public;
grant execute on function private.finish_login(user_id uuid, identifier text, password_matches boolean, checked_token_version integer, refresh_token_hash bytea, device_name text, new_password_hash text, new_hash_algorithm text, challenge_hash bytea) to :PLINTH_SERVICE;

-- Adds a passkey to the user who asks; PL409 when it is somebody's already.
create or replace function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[])
  returns table(factor_id uuid, codes_were_stored boolean)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[]) is 'Adds a passkey to the user who asks; PL409 when it is somebody''s already.';
revoke execute on function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[]) from public;
grant execute on function private.finish_passkey_registration(name text, credential_id bytea, public_key bytea, sign_count bigint, transports text[], backup_eligible boolean, backed_up boolean, aaguid uuid, code_hashes bytea[]) to :PLINTH_SERVICE;

-- Opens a session for a passkey that verified its user; no row when refused. Counts and audits either way.
create or replace function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text default null::text)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text) is 'Opens a session for a passkey that verified its user; no row when refused. Counts and audits either way.';
revoke execute on function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text) from public;
grant execute on function private.finish_passkey_sign_in(user_id uuid, proof jsonb, refresh_token_hash bytea, device_name text) to :PLINTH_SERVICE;

-- Opens a session for a challenge and a second factor; no row when refused. Counts and audits either way.
create or replace function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text default null::text)
  returns table(user_id uuid, session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text) is 'Opens a session for a challenge and a second factor; no row when refused. Counts and audits either way.';
revoke execute on function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text) from public;
grant execute on function private.finish_sign_in(token_hash bytea, proof jsonb, refresh_token_hash bytea, device_name text) to :PLINTH_SERVICE;

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

-- Credential ids (hex) and transports of an account's passkeys, as JSON.
create or replace function private.list_passkeys(user_id uuid)
  returns jsonb
  language sql
  stable
  set search_path to 'pg_catalog'
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

comment on function private.list_passkeys(user_id uuid) is 'Credential ids (hex) and transports of an account''s passkeys, as JSON.';
revoke execute on function private.list_passkeys(user_id uuid) from public;

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

-- How long codes are refused after this many wrong ones in a row: 0, then 1 minute doubling up to 1 day.
create or replace function private.mfa_lockout_duration(failed_attempts integer)
  returns interval
  language sql
  immutable parallel safe
as $$
  select case
    when failed_attempts < 10 then interval '0'
    else least(interval '1 day', interval '1 minute' * power(2, least(failed_attempts - 10, 12)))
  end
$$;

comment on function private.mfa_lockout_duration(failed_attempts integer) is 'How long codes are refused after this many wrong ones in a row: 0, then 1 minute doubling up to 1 day.';
revoke execute on function private.mfa_lockout_duration(failed_attempts integer) from public;

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

-- Makes a session and its first refresh token; returns both and the token version to sign with.
create or replace function private.open_session(user_id uuid, methods text[], refresh_token_hash bytea, device_name text)
  returns table(session_id uuid, token_version integer, refresh_expires_at timestamp with time zone)
  language plpgsql
  set search_path to 'pg_catalog'
as $$
#variable_conflict use_column
begin
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

-- Makes the session that asks freshly authenticated; when, or null if refused. PL422 for a password where there is a second factor.
create or replace function private.reauthenticate(proof jsonb)
  returns timestamp with time zone
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.reauthenticate(proof jsonb) is 'Makes the session that asks freshly authenticated; when, or null if refused. PL422 for a password where there is a second factor.';
revoke execute on function private.reauthenticate(proof jsonb) from public;
grant execute on function private.reauthenticate(proof jsonb) to :PLINTH_SERVICE;

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

-- New recovery codes for the user who asks. Needs a recent sign-in (PL403) and a confirmed factor (PL409).
create or replace function private.regenerate_recovery_codes(code_hashes bytea[])
  returns void
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.regenerate_recovery_codes(code_hashes bytea[]) is 'New recovery codes for the user who asks. Needs a recent sign-in (PL403) and a confirmed factor (PL409).';
revoke execute on function private.regenerate_recovery_codes(code_hashes bytea[]) from public;
grant execute on function private.regenerate_recovery_codes(code_hashes bytea[]) to :PLINTH_SERVICE;

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

-- PL403 with the hint "Confirm it is you with reauthenticate." unless the session that asks showed who it is within 10 minutes.
create or replace function private.require_recent_authentication()
  returns void
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
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

comment on function private.require_recent_authentication() is 'PL403 with the hint "Confirm it is you with reauthenticate." unless the session that asks showed who it is within 10 minutes.';
revoke execute on function private.require_recent_authentication() from public;
grant execute on function private.require_recent_authentication() to :PLINTH_SERVICE;

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

-- What the account may show besides its password: passkey, totp, recovery_code; empty when it has no confirmed factor.
create or replace function private.second_factors(user_id uuid)
  returns text[]
  language sql
  stable
  set search_path to 'pg_catalog'
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

comment on function private.second_factors(user_id uuid) is 'What the account may show besides its password: passkey, totp, recovery_code; empty when it has no confirmed factor.';
revoke execute on function private.second_factors(user_id uuid) from public;

-- Remembers what a passkey is to sign, for what and for whom.
create or replace function private.start_passkey_ceremony(challenge bytea, purpose text, user_id uuid)
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function private.start_passkey_ceremony(challenge bytea, purpose text, user_id uuid) is 'Remembers what a passkey is to sign, for what and for whom.';
revoke execute on function private.start_passkey_ceremony(challenge bytea, purpose text, user_id uuid) from public;

-- Begins to confirm with a passkey that it is the user who asks; the passkeys to choose among.
create or replace function private.start_passkey_reauthentication(challenge bytea)
  returns jsonb
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.start_passkey_reauthentication(challenge bytea) is 'Begins to confirm with a passkey that it is the user who asks; the passkeys to choose among.';
revoke execute on function private.start_passkey_reauthentication(challenge bytea) from public;
grant execute on function private.start_passkey_reauthentication(challenge bytea) to :PLINTH_SERVICE;

-- Begins to add a passkey for the user who asks. Needs a recent sign-in (PL403); PL409 when there are too many.
create or replace function private.start_passkey_registration(challenge bytea)
  returns table(user_id uuid, username text, passkeys jsonb)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.start_passkey_registration(challenge bytea) is 'Begins to add a passkey for the user who asks. Needs a recent sign-in (PL403); PL409 when there are too many.';
revoke execute on function private.start_passkey_registration(challenge bytea) from public;
grant execute on function private.start_passkey_registration(challenge bytea) to :PLINTH_SERVICE;

-- Begins a sign-in with a passkey, alone or as second factor; the passkeys to choose among, null when the challenge is not live.
create or replace function private.start_passkey_sign_in(challenge bytea, token_hash bytea default null::bytea)
  returns jsonb
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.start_passkey_sign_in(challenge bytea, token_hash bytea) is 'Begins a sign-in with a passkey, alone or as second factor; the passkeys to choose among, null when the challenge is not live.';
revoke execute on function private.start_passkey_sign_in(challenge bytea, token_hash bytea) from public;
grant execute on function private.start_passkey_sign_in(challenge bytea, token_hash bytea) to :PLINTH_SERVICE;

-- Adds an unconfirmed authenticator app for the user who asks. Needs a recent sign-in (PL403); PL409 when there are too many.
create or replace function private.start_totp(name text, sealed_secret text)
  returns table(factor_id uuid, username text)
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.start_totp(name text, sealed_secret text) is 'Adds an unconfirmed authenticator app for the user who asks. Needs a recent sign-in (PL403); PL409 when there are too many.';
revoke execute on function private.start_totp(name text, sealed_secret text) from public;
grant execute on function private.start_totp(name text, sealed_secret text) to :PLINTH_SERVICE;

-- Replaces the account's recovery codes; those of before are dead.
create or replace function private.store_recovery_codes(user_id uuid, code_hashes bytea[])
  returns void
  language plpgsql
  set search_path to 'pg_catalog'
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

comment on function private.store_recovery_codes(user_id uuid, code_hashes bytea[]) is 'Replaces the account''s recovery codes; those of before are dead.';
revoke execute on function private.store_recovery_codes(user_id uuid, code_hashes bytea[]) from public;

-- Whether this was asked, for this purpose and of this account, and not answered yet; it is answered now.
create or replace function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid)
  returns boolean
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid) is 'Whether this was asked, for this purpose and of this account, and not answered yet; it is answered now.';
revoke execute on function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid) from public;
grant execute on function private.take_passkey_challenge(challenge bytea, purpose text, user_id uuid) to :PLINTH_SERVICE;

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
