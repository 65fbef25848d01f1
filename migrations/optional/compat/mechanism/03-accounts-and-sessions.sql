-- The constraint of private.user_passwords decides which hashes are valid.
create or replace function compat.password_algorithm(password_hash text)
  returns text
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select case
    when password_hash ~ '^\$argon2id\$' then 'argon2id'
    when password_hash ~ '^\$2[aby]\$' then 'bcrypt'
    when password_hash ~ '^\$bcrypt-sha256\$' then 'bcrypt-sha256'
    when password_hash ~ '^\$plinth-wrapped\$' then 'wrapped'
  end
$$;

comment on function compat.password_algorithm(text) is 'Returns the algorithm of a password hash that Plinth can verify, or null.';

-- The limits of importedPasswordHash in src/auth/foreign-password-hash.ts, which also wraps a weak hash: the database cannot.
create or replace function compat.password_cost(password_hash text)
  returns text
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select case
    when a.memory < 8 * a.lanes or least(a.passes, a.lanes) < 1 or b.cost not between 4 and 31 then 'unknown'
    when a.memory > 262144 or a.memory * a.passes > 1048576 or a.lanes > 64 or b.cost > 13 then 'too high'
    when a.memory < 7168 or a.memory * a.passes < 35840 or b.cost < 10 then 'low'
    when num_nonnulls(a.memory, b.cost) = 0 and not starts_with(password_hash, '$plinth-wrapped$') then 'unknown'
    else 'fit'
  end
  from (
    select
      regexp_match(password_hash, '^\$argon2id\$v=19\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,9})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,171}$'),
      regexp_match(password_hash, '^\$(?:2[aby]\$|bcrypt-sha256\$v=2,t=2b,r=)(\d\d?)\$')
  ) found (argon2, bcrypt)
  cross join lateral (select argon2[1]::numeric, argon2[2]::numeric, argon2[3]::numeric) a (memory, passes, lanes)
  cross join lateral (select bcrypt[1]::numeric) b (cost)
$$;

comment on function compat.password_cost(text) is
  'Returns whether the cost of a password hash is fit, low (stored, with a NOTICE), too high for sign-in, or unknown.';

create or replace function compat.set_password(user_id uuid, password_hash text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_cost text := compat.password_cost(set_password.password_hash);
begin
  perform compat.check_user(set_password.user_id);
  if set_password.password_hash is null then
    return;
  end if;
  if v_cost in ('fit', 'low') then
    begin
      perform private.set_password(
        set_password.user_id, set_password.password_hash, compat.password_algorithm(set_password.password_hash), true, 5
      );
      update identity.users u set password_changed_at = now() where u.id = set_password.user_id;
    exception when check_violation then
      v_cost := 'unknown';
    end;
  end if;
  if v_cost = 'unknown' then
    raise notice 'The password hash has an unknown format and was not stored: let the user set a password with requestPasswordReset.';
  elsif v_cost = 'too high' then
    raise notice 'The cost of the password hash is too high and it was not stored: let the user set a password with requestPasswordReset.';
  elsif v_cost = 'low' then
    raise notice 'The cost of the password hash is low until the user''s next sign-in: hash new passwords with argon2id (m=19456, t=2, p=1) or bcrypt (cost 12).';
  end if;
end
$$;

comment on function compat.set_password(uuid, text) is
  'Stores a password hash as the password of an account. A NOTICE for a low cost, and for a hash that is not stored because its format is unknown or its cost too high.';

create or replace function compat.create_account(
  username text,
  email text,
  password_hash text default null,
  created_at timestamptz default null
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid;
begin
  perform compat.check_user(null);
  insert into identity.users (username, email, created_at)
  values (create_account.username, create_account.email, coalesce(create_account.created_at, now()))
  returning id into v_user_id;
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';
  perform compat.set_password(v_user_id, create_account.password_hash);
  perform private.record_security_event('user_registered', v_user_id);
  return v_user_id;
end
$$;

comment on function compat.create_account(text, text, text, timestamptz) is
  'Creates an account with the role user; returns its id. PL403 for an application that acts for a user, 23505 names the taken field.';

create or replace function compat.set_email(user_id uuid, email text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform compat.check_user(set_email.user_id);
  update identity.users u set email = set_email.email where u.id = set_email.user_id;
end
$$;

comment on function compat.set_email(uuid, text) is
  'Changes the address of an account, which is then not verified. PL403 if the claims name another user, 23505 for a taken address.';

-- The token of another system becomes the first refresh token of a session: only its SHA-256 is stored.
create or replace function compat.open_session(user_id uuid, session_token text, expires_at timestamptz, created_at timestamptz default null)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_session_id uuid;
begin
  perform compat.check_user(open_session.user_id);
  insert into identity.user_sessions (user_id, created_at, expires_at, last_activity_at, authenticated_at)
  select
    open_session.user_id, c.created_at, coalesce(open_session.expires_at, c.created_at + interval '90 days'), c.created_at, c.created_at
  from (select coalesce(open_session.created_at, now())) c (created_at)
  returning id into v_session_id;
  if open_session.session_token is not null then
    perform private.issue_refresh_token(v_session_id, sha256(convert_to(open_session.session_token, 'UTF8')));
  end if;
  return v_session_id;
end
$$;

comment on function compat.open_session(uuid, text, timestamptz, timestamptz) is
  'Creates a session with a token, of which only the hash is stored; returns its id. PL403 if the claims name another user.';

create or replace function compat.find_session(session_token text)
  returns uuid
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select s.id
  from private.refresh_tokens t
  join identity.user_sessions s on s.id = t.session_id
  where t.token_hash = sha256(convert_to(find_session.session_token, 'UTF8'))
    and t.used_at is null
    and s.ended_at is null
    and s.expires_at > now()
$$;

comment on function compat.find_session(text) is 'Returns the live session of a token, or null.';

create or replace function compat.end_session(session_id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform compat.check_user(s.user_id) from identity.user_sessions s where s.id = end_session.session_id;
  update identity.user_sessions s
  set ended_at = now(), end_reason = case when s.expires_at <= now() then 'expired' else 'logout' end
  where s.id = end_session.session_id and s.ended_at is null;
end
$$;

comment on function compat.end_session(uuid) is 'Ends a session and its tokens. PL403 if the claims name another user.';

grant execute
  on function
    compat.set_password(uuid, text),
    compat.create_account(text, text, text, timestamptz),
    compat.set_email(uuid, text),
    compat.open_session(uuid, text, timestamptz, timestamptz),
    compat.find_session(text),
    compat.end_session(uuid)
  to :PLINTH_APPLICATION;
