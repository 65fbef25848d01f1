--! Previous: sha1:da937f1bd5b9d33ab158c4484d6ec63668590c36
--! Hash: sha1:3a2eb7afb77a7f495d39f665036c49d576aded33
--! Message: passwords and mail

-- Passwords for life: chosen well, not used again, changed, lost and found; addresses that somebody proved to hold; and the
-- mail that all of this needs, written in the transaction that causes it.

-- Passwords chosen under the rule of 15 characters suffice alone; shorter ones are allowed only beside a second factor.
alter table private.user_passwords
  add column suffices_alone boolean not null default true,
  drop constraint user_passwords_hash_algorithm_check,
  drop constraint user_passwords_password_hash_check,
  add constraint user_passwords_hash_algorithm_check check (hash_algorithm in ('argon2id', 'bcrypt', 'bcrypt-sha256')),
  add constraint user_passwords_password_hash_check check (
    case hash_algorithm
      when 'argon2id' then password_hash ~ '^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'
      when 'bcrypt' then password_hash ~ '^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$'
      when 'bcrypt-sha256' then password_hash ~ '^\$bcrypt-sha256\$v=2,t=2b,r=\d\d?\$[./A-Za-z0-9]{22}\$[./A-Za-z0-9]{31}$'
    end
  );

comment on column private.user_passwords.suffices_alone is
  'Whether it was chosen under the rule for a password without a second factor (15 characters); if not, the last factor stays.';
comment on column private.user_passwords.password_hash is
  'PHC string (argon2id, bcrypt-sha256 in passlib''s second form) or modular crypt string (bcrypt).';
comment on column private.user_passwords.hash_algorithm is
  'argon2id (default), bcrypt-sha256 (PLINTH_PASSWORD_HASH=bcrypt) or bcrypt (brought along; replaced at the next sign-in).';

-- "Does anybody still have a slow one?" is asked at each sign-in.
drop index private.user_passwords_bcrypt_idx;
create index user_passwords_bcrypt_idx on private.user_passwords (user_id) where hash_algorithm <> 'argon2id';

-- Earlier passwords, so that they are not chosen again (PLINTH_PASSWORD_HISTORY says how many count).
create table private.password_history (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  password_hash text not null,
  hash_algorithm text not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint password_history_hash_algorithm_check check (hash_algorithm in ('argon2id', 'bcrypt', 'bcrypt-sha256'))
);

alter table private.password_history enable row level security;

-- An account's, newest first; also serves the foreign key.
create index password_history_user_id_created_at_idx on private.password_history (user_id, created_at desc);

comment on table private.password_history is 'One row per earlier password of an account that may not be chosen again. Readable by no API role.';
comment on column private.password_history.id is 'UUIDv7.';
comment on column private.password_history.user_id is 'Whose password it was.';
comment on column private.password_history.password_hash is 'As in private.user_passwords.';
comment on column private.password_history.hash_algorithm is 'As in private.user_passwords.';
comment on column private.password_history.created_at is 'When it was replaced.';

-- A forgotten password is set anew by who reads the account's mail. Each token works once.
create table private.password_reset_tokens (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  token_hash bytea not null,
  used_at timestamptz,
  -- Derived, for the documented queries that ask for a boolean.
  is_used boolean not null generated always as (used_at is not null) stored,
  expires_at timestamptz not null default now() + interval '30 minutes',
  client_ip inet,
  user_agent text,
  security_context jsonb not null default '{}',
  created_at timestamptz not null default now(),
  constraint password_reset_tokens_token_hash_key unique (token_hash),
  constraint password_reset_tokens_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  constraint password_reset_tokens_security_context_is_an_object check (jsonb_typeof(security_context) = 'object')
);

alter table private.password_reset_tokens enable row level security;

-- An account's live tokens; also serves the foreign key.
create index password_reset_tokens_user_id_expires_at_idx on private.password_reset_tokens (user_id, expires_at);
-- The clean-up job.
create index password_reset_tokens_expires_at_idx on private.password_reset_tokens (expires_at);

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

-- An address or number counts only once its holder has shown that they receive what is sent there. Until then it is here.
create table private.user_verifications (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  kind text not null,
  new_value text not null,
  hashed_email bytea,
  token_hash bytea,
  code_hash text,
  attempts integer not null default 0,
  client_ip inet,
  user_agent text,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at timestamptz,
  constraint user_verifications_token_hash_key unique (token_hash),
  constraint user_verifications_kind_check check (kind in ('email', 'phone')),
  constraint user_verifications_token_hash_is_sha256 check (octet_length(token_hash) = 32),
  -- A link carries a token nobody guesses, so a plain hash does; a code has few digits, so its hash is slow and salted.
  constraint user_verifications_secret_suits_kind
    check ((kind = 'email') = (token_hash is not null) and (kind = 'phone') = (code_hash is not null)),
  constraint user_verifications_attempts_check check (attempts between 0 and 5)
);

alter table private.user_verifications enable row level security;

-- An account's, newest first; also serves the foreign key.
create index user_verifications_user_id_created_at_idx on private.user_verifications (user_id, created_at desc);
-- How often a number was written to today, whoever asked.
create index user_verifications_new_value_idx on private.user_verifications (new_value, created_at) where kind = 'phone';
-- The clean-up job.
create index user_verifications_expires_at_idx on private.user_verifications (expires_at);

comment on table private.user_verifications is 'One row per address or number somebody was asked to prove; kept 30 days.';
comment on column private.user_verifications.id is 'UUIDv7.';
comment on column private.user_verifications.user_id is 'Whose address or number it is to be.';
comment on column private.user_verifications.kind is 'email or phone.';
comment on column private.user_verifications.new_value is 'The address (lower case) or number (E.164) to be proven.';
comment on column private.user_verifications.hashed_email is
  'HMAC-SHA256 of a new e-mail address, for identity.users.hashed_email; null where none was given.';
comment on column private.user_verifications.token_hash is 'For an address: SHA-256 of the token in the link.';
comment on column private.user_verifications.code_hash is 'For a number: argon2id hash of the code (PHC string).';
comment on column private.user_verifications.attempts is 'Codes tried, 5 at most, right or wrong.';
comment on column private.user_verifications.client_ip is 'Address that asked for it.';
comment on column private.user_verifications.user_agent is 'User-Agent header that asked for it.';
comment on column private.user_verifications.created_at is 'When it was asked for.';
comment on column private.user_verifications.expires_at is 'From then on it is refused: a day for links, ten minutes for codes, or when another took its place.';
comment on column private.user_verifications.used_at is 'When it was proven; null if never.';

-- A number is stored only when proven, so that nobody holds one that is not theirs.
alter table identity.users
  add column phone_number text,
  add column phone_verified_at timestamptz,
  add constraint users_phone_number_key unique (phone_number),
  add constraint users_phone_number_check check (phone_number ~ '^\+[1-9][0-9]{6,14}$'),
  add constraint users_phone_number_is_verified check ((phone_number is null) = (phone_verified_at is null));

comment on column identity.users.phone_number is 'Unique number in E.164 form (+ and digits), proven by a code; null where none was.';
comment on column identity.users.phone_verified_at is 'When the owner proved to receive codes at the number.';

-- Mail is a row first: it commits with what it tells of, and leaves only afterwards, as often as it takes. Sent at least once:
-- who is killed between sending and saying so sends again, under the same Message-ID.
create table private.mail_outbox (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid references identity.users on delete cascade,
  channel text not null default 'email',
  to_address text not null,
  template text not null,
  variables jsonb not null default '{}',
  status text not null default 'pending',
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  -- A link that no longer works is not worth sending.
  expires_at timestamptz,
  last_error text,
  created_at timestamptz not null default now(),
  sent_at timestamptz,
  constraint mail_outbox_channel_check check (channel in ('email', 'sms')),
  constraint mail_outbox_to_address_check
    check (to_address ~ '^[^[:space:][:cntrl:]]+$' and length(to_address) between 3 and 254),
  constraint mail_outbox_template_check check (template ~ '^[a-z]+(-[a-z]+)*$' and length(template) <= 100),
  constraint mail_outbox_variables_is_an_object check (jsonb_typeof(variables) = 'object'),
  constraint mail_outbox_status_check check (status in ('pending', 'sent', 'failed')),
  constraint mail_outbox_attempts_is_not_negative check (attempts >= 0),
  constraint mail_outbox_sent_with_time check ((status = 'sent') = (sent_at is not null))
);

alter table private.mail_outbox enable row level security;

-- What is due. Small: rows leave it when sent.
create index mail_outbox_due_idx on private.mail_outbox (next_attempt_at) where status = 'pending';
-- The clean-up job.
create index mail_outbox_done_idx on private.mail_outbox (created_at) where status <> 'pending';
-- Serves the foreign key.
create index mail_outbox_user_id_idx on private.mail_outbox (user_id);

comment on table private.mail_outbox is 'One row per message to be sent or sent lately; kept 7 days when sent, 30 when it failed.';
comment on column private.mail_outbox.id is 'UUIDv7; also in the Message-ID, so that a repeat can be told.';
comment on column private.mail_outbox.user_id is 'The account it is about; its messages go with it.';
comment on column private.mail_outbox.channel is 'email or sms.';
comment on column private.mail_outbox.to_address is 'One address or number.';
comment on column private.mail_outbox.template is 'Name of the text, such as password-reset; see src/mail/templates.';
comment on column private.mail_outbox.variables is
  'What the template is filled with (JSON object). A secret is there only sealed, as sealed_token, and goes when the message is done.';
comment on column private.mail_outbox.status is 'pending, sent, or failed (refused for good, too old, or tried ten times).';
comment on column private.mail_outbox.attempts is 'How often somebody has taken it to send.';
comment on column private.mail_outbox.next_attempt_at is 'Not taken before; while somebody sends it, the end of their lease.';
comment on column private.mail_outbox.expires_at is 'Not worth sending from then on; null means never.';
comment on column private.mail_outbox.last_error is 'What the last attempt failed with.';
comment on column private.mail_outbox.created_at is 'When it was queued.';
comment on column private.mail_outbox.sent_at is 'When the mail server took it.';

drop function private.change_password(uuid, uuid, boolean, integer, text, text, bytea);

--! Included private/functions/queue_mail.sql
-- Mail in the caller's transaction: it leaves only if the transaction commits. A secret goes in sealed, as sealed_token.
create or replace function private.queue_mail(
  user_id uuid,
  to_address text,
  template text,
  variables jsonb,
  channel text default 'email',
  expires_at timestamptz default null
)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  insert into private.mail_outbox (user_id, to_address, template, variables, channel, expires_at)
  values (
    queue_mail.user_id, queue_mail.to_address, queue_mail.template, coalesce(queue_mail.variables, '{}'),
    queue_mail.channel, queue_mail.expires_at
  )
$$;

comment on function private.queue_mail(uuid, text, text, jsonb, text, timestamptz) is
  'Queues one message in the caller''s transaction; the worker sends it within seconds.';
--! EndIncluded private/functions/queue_mail.sql
--! Included private/functions/mail_variables.sql
-- What every mail about an account may say: whom it greets, and when and from where the request came.
create or replace function private.mail_variables(user_id uuid)
  returns jsonb
  language sql
  stable
  set search_path = pg_catalog
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

comment on function private.mail_variables(uuid) is 'Names of the account and context of the request, for the texts of mails.';
--! EndIncluded private/functions/mail_variables.sql
--! Included private/functions/notify_user.sql
-- Tells the owner what happened to their account, with when and from where. An account without an address is not told.
create or replace function private.notify_user(user_id uuid, template text, variables jsonb default '{}')
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  select private.queue_mail(u.id, u.email, notify_user.template, private.mail_variables(u.id) || coalesce(notify_user.variables, '{}'))
  from identity.users u
  where u.id = notify_user.user_id
    and u.email is not null
    and u.account_status <> 'deleted'
$$;

comment on function private.notify_user(uuid, text, jsonb) is
  'Queues a notification to the account''s address; without an address nothing.';
--! EndIncluded private/functions/notify_user.sql
--! Included private/functions/take_mails.sql
-- Leases what is due to one worker. A worker that dies loses nothing: the lease ends and another one takes the message.
create or replace function private.take_mails(batch_size integer, lease interval default '2 minutes')
  returns table (
    id uuid,
    channel text,
    to_address text,
    template text,
    variables jsonb,
    created_at timestamptz
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.take_mails(integer, interval) is
  'Leases up to batch_size due messages to the caller, who sends them and calls private.finish_mail for each.';
grant execute on function private.take_mails(integer, interval) to :PLINTH_WORKER;
--! EndIncluded private/functions/take_mails.sql
--! Included private/functions/finish_mail.sql
-- What became of a message that was taken. Sent is final even if the lease had run out: it has been sent. A failure waits
-- 30 seconds, doubling up to an hour; after ten attempts, some four hours, or when refused for good, it is given up.
create or replace function private.finish_mail(mail_id uuid, error text, is_permanent boolean default false)
  returns text
  language sql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.finish_mail(uuid, text, boolean) is
  'Marks a taken message sent (error null), to be tried again, or failed; returns which.';
grant execute on function private.finish_mail(uuid, text, boolean) to :PLINTH_WORKER;
--! EndIncluded private/functions/finish_mail.sql
--! Included private/functions/notify_new_sign_in.sql
-- Somebody signs in with a program from a network (IPv4 /24, IPv6 /64) that this account has not been used with for 90 days.
-- Called before the session is made. Not for the session that registration opens: that one is expected.
create or replace function private.notify_new_sign_in(user_id uuid)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
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

comment on function private.notify_new_sign_in(uuid) is
  'Queues a notification when the account is signed in to with a new program or from a new network.';
--! EndIncluded private/functions/notify_new_sign_in.sql
--! Included private/functions/open_session.sql
-- A session with its first refresh token. `methods` says how it was signed in, as amr values of RFC 8176.
create or replace function private.open_session(
  user_id uuid,
  methods text[],
  refresh_token_hash bytea,
  device_name text
)
  returns table (session_id uuid, token_version integer, refresh_expires_at timestamptz)
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.open_session(uuid, text[], bytea, text) is
  'Makes a session and its first refresh token; returns both and the token version to sign with.';
--! EndIncluded private/functions/open_session.sql
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
      -- Once a lock: attempts while it lasts do not come here.
      perform private.notify_user(
        track_login_attempt.user_id, 'account-locked', jsonb_build_object('locked_until', v_locked_until)
      );
    end if;
  end if;
  return v_id;
end
$$;

comment on function security.track_login_attempt(uuid, text, inet, text, text, text) is
  'Records an attempt to sign in, counts failures and locks or clears the account; returns the attempt''s id.';
--! EndIncluded security/functions/track_login_attempt.sql
--! Included private/functions/find_login.sql
-- What the service needs to check a password. It tells nothing of locks or status: those are decided, counted and
-- audited in private.finish_login, after the same work was done for everybody. The token_version goes back there: if it has
-- grown since, the password that was checked may not be the password any more.
-- Always one row, so that the last column is known for unknown accounts too: as long as anybody still has a bcrypt hash, which
-- takes longer to check, the service answers every refusal equally late. An address is looked up by its keyed hash too, which
-- is all there is of it in privacy mode; then the address itself is not even sent here.
create or replace function private.find_login(identifier text, hashed_email bytea default null)
  returns table (
    user_id uuid,
    password_hash text,
    hash_algorithm text,
    token_version integer,
    bcrypt_is_in_use boolean
  )
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select
    account.id,
    account.password_hash,
    account.hash_algorithm,
    account.token_version,
    exists (select from private.user_passwords b where b.hash_algorithm <> 'argon2id')
  from (values (true)) as always (one)
  left join lateral (
    select u.id, u.token_version, p.password_hash, p.hash_algorithm
    from identity.users u
    join private.user_passwords p on p.user_id = u.id
    -- A username has no @ and an address has one, so at most one account answers to what was typed.
    where u.username = lower(trim(find_login.identifier))
      or u.email = lower(trim(find_login.identifier))
      or u.hashed_email = find_login.hashed_email
    -- An address without a hash yet and another account with the hash of it: the clear one is older.
    order by u.email = lower(trim(find_login.identifier)) desc nulls last
    limit 1
  ) account on true
$$;

comment on function private.find_login(text, bytea) is
  'Password hash of the account with this username, e-mail address or hash of one; one row of nulls when there is none.';
grant execute on function private.find_login(text, bytea) to :PLINTH_SERVICE;

create or replace function private.find_password(user_id uuid)
  returns table (password_hash text, hash_algorithm text, token_version integer)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select p.password_hash, p.hash_algorithm, u.token_version
  from private.user_passwords p
  join identity.users u on u.id = p.user_id
  where p.user_id = find_password.user_id
$$;

comment on function private.find_password(uuid) is 'Password hash of an account, to check the current password before a change.';
grant execute on function private.find_password(uuid) to :PLINTH_SERVICE;
--! EndIncluded private/functions/find_login.sql
--! Included private/functions/find_account.sql
-- The one place that says which account a typed name or address means. A username has no @ and an address has one.
create or replace function private.find_account(identifier text)
  returns uuid
  language sql
  stable
  set search_path = pg_catalog
as $$
  select u.id
  from identity.users u
  where u.username = lower(trim(find_account.identifier)) or u.email = lower(trim(find_account.identifier))
$$;

comment on function private.find_account(text) is 'Id of the account with this username or e-mail address, or null.';
--! EndIncluded private/functions/find_account.sql
--! Included private/functions/find_password_owner.sql
-- What a new password is judged by: words that it may not contain, and whether something else stands beside it.
create or replace function private.find_password_owner(user_id uuid)
  returns table (username text, email text, display_name text, second_factor boolean)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select u.username, u.email, s.display_name, cardinality(private.second_factors(u.id)) > 0
  from identity.users u
  left join identity.user_settings s on s.user_id = u.id
  where u.id = find_password_owner.user_id
$$;

comment on function private.find_password_owner(uuid) is
  'Names of the account, which its password may not contain, and whether a second factor is enforced.';
grant execute on function private.find_password_owner(uuid) to :PLINTH_SERVICE;
--! EndIncluded private/functions/find_password_owner.sql
--! Included private/functions/find_password_history.sql
-- The hashes that a new password is compared with, outside: the current one first, then earlier ones.
create or replace function private.find_password_history(user_id uuid, history_length integer)
  returns table (password_hash text)
  language sql
  stable
  security definer
  set search_path = pg_catalog
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

comment on function private.find_password_history(uuid, integer) is
  'Hashes of an account''s last passwords, the current one included, newest first.';
grant execute on function private.find_password_history(uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded private/functions/find_password_history.sql
--! Included private/functions/replace_password_hash.sql
-- The same password under today's algorithm, after a sign-in has shown it. Only if it still is the password: it may have been
-- changed since it was checked, and the old one must not come back.
create or replace function private.replace_password_hash(
  user_id uuid,
  old_password_hash text,
  new_password_hash text,
  new_hash_algorithm text
)
  returns boolean
  language sql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.replace_password_hash(uuid, text, text, text) is
  'Replaces a hash by another one of the same password; false if the password was changed meanwhile.';
grant execute on function private.replace_password_hash(uuid, text, text, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/replace_password_hash.sql
--! Included private/functions/set_password.sql
-- Every new password goes through here: the old one joins the history, and what was begun under it (links to set a password,
-- to change the address) ends. The caller holds the account's row.
create or replace function private.set_password(
  user_id uuid,
  password_hash text,
  hash_algorithm text,
  suffices_alone boolean,
  history_length integer
)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.set_password(uuid, text, text, boolean, integer) is
  'Stores a password, keeps the last history_length - 1 before it, and ends links that were sent under the old one.';
--! EndIncluded private/functions/set_password.sql
--! Included private/functions/confirm_password.sql
-- A signed-in user shows the current password again, checked outside. Locks the account and the session. A wrong one counts
-- like a wrong password at sign-in, or a stolen access token could guess it here; all refusals look alike to the caller.
create or replace function private.confirm_password(
  user_id uuid,
  session_id uuid,
  password_matches boolean,
  checked_token_version integer,
  checked_password_hash text,
  failure_event text
)
  returns boolean
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.confirm_password(uuid, uuid, boolean, integer, text, text) is
  'Whether a live session''s owner has shown the current password; counts and audits when not.';
--! EndIncluded private/functions/confirm_password.sql
--! Included private/functions/change_password.sql
-- Sets a new password after the current one was checked outside. Other sessions end, and with them every access token made
-- before; the session that asks goes on with a new refresh token. With end_other_sessions false they go on, tokens and all:
-- the token_version is not raised, because raising it would cut them off in mid-flight.
create or replace function private.change_password(
  user_id uuid,
  session_id uuid,
  password_matches boolean,
  checked_token_version integer,
  new_password_hash text,
  new_hash_algorithm text,
  refresh_token_hash bytea,
  suffices_alone boolean default true,
  end_other_sessions boolean default true,
  checked_password_hash text default null,
  is_known boolean default false,
  history_length integer default 5
)
  returns table (token_version integer, refresh_expires_at timestamptz, is_refused_as_known boolean)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.change_password(
  uuid, uuid, boolean, integer, text, text, bytea, boolean, boolean, text, boolean, integer
) is
  'Sets a new password and ends the other sessions unless told not to; no row when refused. Counts and audits either way.';
grant execute on function private.change_password(
  uuid, uuid, boolean, integer, text, text, bytea, boolean, boolean, text, boolean, integer
) to :PLINTH_SERVICE;
--! EndIncluded private/functions/change_password.sql
--! Included private/functions/request_password_reset.sql
-- Somebody says they forgot a password. Returns nothing, whatever the case: only the account's mail tells. Three live links at
-- most, so that nobody can fill a mailbox; a fourth request does not end the first three, so that nobody can spoil them.
create or replace function private.request_password_reset(identifier text, token_hash bytea, sealed_token text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.request_password_reset(text, bytea, text) is
  'Queues a link to set a new password, if there is such an account with an address; tells the caller nothing.';
grant execute on function private.request_password_reset(text, bytea, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/request_password_reset.sql
--! Included private/functions/find_password_reset.sql
-- Whose password a token may set, to judge the new one before the token is used up.
create or replace function private.find_password_reset(token_hash bytea)
  returns table (user_id uuid, username text, email text, display_name text, second_factor boolean)
  language sql
  stable
  security definer
  set search_path = pg_catalog
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

comment on function private.find_password_reset(bytea) is 'The account a live reset token belongs to; no row for any other token.';
grant execute on function private.find_password_reset(bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/find_password_reset.sql
--! Included private/functions/reset_password.sql
-- Sets a password with a token from the account's mail; one winner, whoever races. Opens no session and shows no second factor:
-- signing in comes after. Everything that was signed in ends. The lock is lifted: it guards the old password against guessing,
-- which is gone, and left in place it would let anybody keep the owner out with wrong guesses (OWASP Forgot Password Cheat
-- Sheet; NIST SP 800-63B-4 section 4.2 counts recovery as showing who one is).
create or replace function private.reset_password(
  token_hash bytea,
  new_password_hash text,
  new_hash_algorithm text,
  suffices_alone boolean,
  history_length integer
)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.reset_password(bytea, text, text, boolean, integer) is
  'Sets a password with a single-use token and ends all sessions; false for a token that is not valid.';
grant execute on function private.reset_password(bytea, text, text, boolean, integer) to :PLINTH_SERVICE;
--! EndIncluded private/functions/reset_password.sql
--! Included private/functions/has_asked_too_often.sql
-- Five links or codes a day: more would be a nuisance to whoever receives them, and each code is another five guesses.
create or replace function private.has_asked_too_often(user_id uuid, kind text)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select count(*) >= 5
  from private.user_verifications v
  where v.user_id = has_asked_too_often.user_id
    and v.kind = has_asked_too_often.kind
    and v.created_at > now() - interval '1 day'
$$;

comment on function private.has_asked_too_often(uuid, text) is
  'Whether the account was sent five links or codes of this kind within a day.';
--! EndIncluded private/functions/has_asked_too_often.sql
--! Included private/functions/send_email_verification.sql
-- A link that proves an address to be the account's, to that address.
create or replace function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
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

comment on function private.send_email_verification(uuid, text, bytea, text) is
  'Stores a verification of an address and queues its link; without a token to send only the former.';
--! EndIncluded private/functions/send_email_verification.sql
--! Included private/functions/request_email_verification.sql
-- Sends a link to the account's own address that was not proven yet. Five a day: more would be a nuisance to whoever reads there.
create or replace function private.request_email_verification(user_id uuid, token_hash bytea, sealed_token text)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.request_email_verification(uuid, bytea, text) is
  'Queues a link that proves the account''s address; returns sent, no_address, already_verified or too_many.';
grant execute on function private.request_email_verification(uuid, bytea, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/request_email_verification.sql
--! Included private/functions/request_email_change.sql
-- Asks for another address, which counts only once a link sent there was opened. An address that somebody else has gets mail
-- too, of another kind, and the asker the same answer: who has an account here is nobody's business.
create or replace function private.request_email_change(
  user_id uuid,
  session_id uuid,
  password_matches boolean,
  checked_token_version integer,
  checked_password_hash text,
  new_email text,
  token_hash bytea,
  sealed_token text,
  hashed_email bytea default null
)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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
  update private.user_verifications v
  set hashed_email = request_email_change.hashed_email
  where v.token_hash = request_email_change.token_hash;
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

comment on function private.request_email_change(uuid, uuid, boolean, integer, text, text, bytea, text, bytea) is
  'Queues a link to a new address; returns accepted (also for a taken one), refused, unchanged or too_many.';
grant execute on function private.request_email_change(uuid, uuid, boolean, integer, text, text, bytea, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/request_email_change.sql
--! Included private/functions/verify_email.sql
-- A link was opened: the address it was sent to is the account's, and its only one. The old one is told. Links sent to the old
-- address no longer set passwords.
create or replace function private.verify_email(token_hash bytea)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
  v_address text;
  v_hash bytea;
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
  returning v.new_value, v.hashed_email into v_address, v_hash;
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
    update identity.users u set email = v_address, hashed_email = v_hash, email_verified_at = now() where u.id = v_user.id;
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

comment on function private.verify_email(bytea) is
  'Makes the address a link was sent to the account''s verified one; false for a token that is not valid.';
grant execute on function private.verify_email(bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/verify_email.sql
--! Included private/functions/request_phone_verification.sql
-- Sends a code to a number. Five a day, for the account and for the number, whoever asks: each costs money and is another five
-- guesses. A new code ends the one before.
create or replace function private.request_phone_verification(
  user_id uuid,
  phone_number text,
  code_hash text,
  sealed_code text
)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.request_phone_verification(uuid, text, text, text) is
  'Queues a code to a number; returns sent, too_many or refused.';
grant execute on function private.request_phone_verification(uuid, text, text, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/request_phone_verification.sql
--! Included private/functions/verify_phone.sql
-- One try at the code, counted before it is checked outside: guesses in parallel, from any session, are five in all.
create or replace function private.take_phone_attempt(user_id uuid)
  returns table (verification_id uuid, code_hash text)
  language sql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.take_phone_attempt(uuid) is
  'Counts a try at the account''s live code and returns its hash; no row when there is none or its five tries are spent.';
grant execute on function private.take_phone_attempt(uuid) to :PLINTH_SERVICE;

-- The number becomes the account's if the code was right and is still the live one.
create or replace function private.finish_phone_verification(user_id uuid, verification_id uuid, code_matches boolean)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.finish_phone_verification(uuid, uuid, boolean) is
  'Makes a number the account''s after its code was checked; returns verified, refused or taken.';
grant execute on function private.finish_phone_verification(uuid, uuid, boolean) to :PLINTH_SERVICE;
--! EndIncluded private/functions/verify_phone.sql
--! Included private/functions/delete_expired_verifications.sql
-- One batch of the clean-up: links and codes that ended 30 days ago. Until then they answer "who asked for this?".
create or replace function private.delete_expired_verifications(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.delete_expired_verifications(integer) is
  'Deletes up to batch_size reset tokens and verifications that ended 30 days ago; returns how many.';
grant execute on function private.delete_expired_verifications(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_expired_verifications.sql
--! Included private/functions/delete_old_mails.sql
-- One batch of the clean-up: addresses and names of messages that were sent a week ago or failed a month ago.
create or replace function private.delete_old_mails(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function private.delete_old_mails(integer) is
  'Deletes up to batch_size messages that were sent 7 days ago or failed 30 days ago; returns how many.';
grant execute on function private.delete_old_mails(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_old_mails.sql
--! Included security/triggers/audit_trail.sql
-- What the audit trail watches, and what of it is not kept. A new table or column is decided here; a test walks all columns
-- of these tables and refuses one whose name sounds like a secret. Arguments: see private.record_data_change.

-- In privacy mode no clear address is kept anywhere, so the trail keeps none either. The JSON columns are the product's and may
-- hold anything. Counters change with each sign-in, which has logs of its own.
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.users
  for each row
  execute function private.record_data_change(
    'id', 'id',
    'failed_login_attempts,locked_until,last_login_at,updated_at,is_active,is_verified',
    'email,hashed_email,phone_number,profile_data,metadata'
  );

create or replace trigger _700_forget_data_changes
  before delete on identity.users
  for each row
  execute function private.forget_data_changes();

-- An endpoint's address may carry a key.
create or replace trigger _700_record_data_change
  after insert or update or delete on identity.user_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', 'preferences,llm_endpoint');

create or replace trigger _700_record_data_change
  after insert or update or delete on identity.user_security_settings
  for each row
  execute function private.record_data_change('user_id', 'user_id', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.roles
  for each row
  execute function private.record_data_change('id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.permissions
  for each row
  execute function private.record_data_change('id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.role_permissions
  for each row
  execute function private.record_data_change('role_id,permission_id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.user_roles
  for each row
  execute function private.record_data_change('user_id,role_id', 'user_id', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on access.user_model_access
  for each row
  execute function private.record_data_change('id', 'user_id', '', '');

-- An address may carry a key, and a model's configuration may too.
create or replace trigger _700_record_data_change
  after insert or update or delete on llm.model_providers
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'api_url');

create or replace trigger _700_record_data_change
  after insert or update or delete on llm.models
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'config');

create or replace trigger _700_record_data_change
  after insert or update or delete on billing.model_prices
  for each row
  execute function private.record_data_change('id', '', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on security.rate_limit_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on security.suspicious_activity_rules
  for each row
  execute function private.record_data_change('rule_name', '', 'updated_at', '');
--! EndIncluded security/triggers/audit_trail.sql
