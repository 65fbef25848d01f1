--! Previous: sha1:b042830ec4ac4dbe73d975080fd35e03fa75d90e
--! Hash: sha1:9c8d2a7f269dae03a8ff1ed2aa64cc15245cac0e
--! Message: one form of an address

-- One form of an address, whoever writes or types it.
--! Included plinth/functions/normalize_email.sql
-- A label of a domain in ASCII (RFC 3492, RFC 5890). PostgreSQL has no function for it, and an address stored in two spellings
-- would be two accounts.
create or replace function plinth.ascii_label(label text)
  returns text
  language plpgsql
  immutable
  strict
  parallel safe
  set search_path = pg_catalog
as $$
declare
  c_digits constant text := 'abcdefghijklmnopqrstuvwxyz0123456789';
  v_points constant integer[] := array(select ascii(c) from string_to_table(ascii_label.label, null) as c);
  v_length constant integer := cardinality(v_points);
  v_ascii constant text := regexp_replace(ascii_label.label, '[^\u0001-\u007f]', '', 'g');
  v_result text := v_ascii || case when v_ascii = '' then '' else '-' end;
  v_done integer := length(v_ascii);
  v_next bigint := 128;
  v_delta bigint := 0;
  v_bias integer := 72;
  v_smallest integer;
  v_point integer;
  v_rest bigint;
  v_step integer;
  v_limit integer;
begin
  if v_done = v_length then
    return ascii_label.label;
  end if;
  while v_done < v_length loop
    v_smallest := (select min(p) from unnest(v_points) p where p >= v_next);
    v_delta := v_delta + (v_smallest - v_next) * (v_done + 1);
    v_next := v_smallest;
    foreach v_point in array v_points loop
      if v_point < v_next then
        v_delta := v_delta + 1;
      elsif v_point = v_next then
        v_rest := v_delta;
        v_step := 36;
        loop
          v_limit := least(greatest(v_step - v_bias, 1), 26);
          exit when v_rest < v_limit;
          v_result := v_result || substr(c_digits, (v_limit + (v_rest - v_limit) % (36 - v_limit))::integer + 1, 1);
          v_rest := (v_rest - v_limit) / (36 - v_limit);
          v_step := v_step + 36;
        end loop;
        v_result := v_result || substr(c_digits, v_rest::integer + 1, 1);
        v_delta := case when v_done = length(v_ascii) then v_delta / 700 else v_delta / 2 end;
        v_delta := v_delta + v_delta / (v_done + 1);
        v_step := 0;
        while v_delta > 455 loop
          v_delta := v_delta / 35;
          v_step := v_step + 36;
        end loop;
        v_bias := v_step + (36 * v_delta / (v_delta + 38))::integer;
        v_delta := 0;
        v_done := v_done + 1;
      end if;
    end loop;
    v_delta := v_delta + 1;
    v_next := v_next + 1;
  end loop;
  return 'xn--' || v_result;
end
$$;

comment on function plinth.ascii_label(text) is
  E'@behavior -*\nReturns a label of a domain in its ASCII form: xn-- and Punycode when it has other characters, otherwise the label itself.';
grant execute on function plinth.ascii_label(text) to :PLINTH_USER, :PLINTH_SERVICE;

-- The single form in which an address is stored, compared and counted. Two spellings of one mailbox have the same form, and two
-- mailboxes never do, because an address recovers an account. Only ASCII letters change case, with their accents: other
-- characters that a locale would fold (İ to i, the Kelvin sign to k) are another mailbox. Nothing here depends on the
-- database's locale or on the version of PostgreSQL. Privacy mode hashes addresses outside the database, where this function is
-- not available; src/auth/email-hash.ts has the same rule, and test/identity/email-form.test.ts compares the two.
create or replace function plinth.normalize_email(address text)
  returns text
  language plpgsql
  immutable
  strict
  parallel safe
  set search_path = pg_catalog
as $$
declare
  -- Unicode's White_Space.
  c_white_space constant text :=
    E'\t\n\u000b\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000';
  v_address text := btrim(normalize_email.address, c_white_space);
  v_domain text;
begin
  -- 254 is the limit of RFC 5321; the rest is room for composition.
  if length(v_address) > 1000 then
    return null;
  end if;
  if v_address ~ '[^\u0001-\u007f]' then
    -- Three characters would compose to an ASCII one, and so to another person's address.
    if v_address ~ '[\u037e\u1fef\u212a]' then
      return null;
    end if;
    v_address := normalize(v_address, nfd);
  end if;
  v_address := normalize(lower(v_address collate "C"), nfc);
  -- One address, without characters that mail software reads as a list, a name or the end of a header, and without invisible
  -- ones: white space, control, format and private characters (general category C), and default ignorable ones.
  if v_address !~ '^[^@]+@[^@]+$'
    or v_address ~ '[,;<>"()]'
    or v_address ~ ('['
      || '\u0001-\u0020\u007f-\u00a0\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160\u1680\u17b4-\u17b5'
      || '\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ue000-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0'
      || '\ufff0-\ufffb\ufffe-\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a'
      || '\U0001fffe-\U0001ffff\U0002fffe-\U0002ffff\U0003fffe-\U0010ffff]')
  then
    return null;
  end if;

  v_domain := split_part(v_address, '@', 2);
  if v_domain ~ '(^|\.)(\.|$)' then
    return null;
  end if;
  if v_domain ~ '[^\u0001-\u007f]' then
    -- A domain in its own letters must be in the form that is displayed (a U-label); a form that must be mapped first is
    -- rejected. In Cherokee the capitals are displayed.
    if v_domain <> normalize(v_domain, nfkc)
      or regexp_replace(v_domain, '[\u13a0-\u13f5]', '', 'g') <> lower(regexp_replace(v_domain, '[\u13a0-\u13f5]', '', 'g'))
      or v_domain ~ '\u3002'
    then
      return null;
    end if;
    v_domain := (
      select string_agg(plinth.ascii_label(l.label), '.' order by l.place)
      from string_to_table(v_domain, '.') with ordinality as l (label, place)
    );
  end if;
  v_address := split_part(v_address, '@', 1) || '@' || v_domain;
  return case when length(v_address) <= 254 then v_address end;
end
$$;

comment on function plinth.normalize_email(text) is
  E'@behavior -*\nReturns the form in which an e-mail address is stored and compared; null for a text that is not an address.';
grant execute on function plinth.normalize_email(text) to :PLINTH_USER, :PLINTH_SERVICE;
--! EndIncluded plinth/functions/normalize_email.sql
--! Included plinth/functions/normalize_username.sql
-- A username is ASCII (constraint users_username_check), so only ASCII letters change case: İvan is not ivan.
create or replace function plinth.normalize_username(username text)
  returns text
  language sql
  immutable
  strict
  parallel safe
  set search_path = pg_catalog
as $$
  select lower(btrim(normalize_username.username, E' \t\n\r\f') collate "C")
$$;

comment on function plinth.normalize_username(text) is
  E'@behavior -*\nReturns the form in which a username is stored and compared: lower case, without surrounding white space.';
grant execute on function plinth.normalize_username(text) to :PLINTH_USER, :PLINTH_SERVICE;
--! EndIncluded plinth/functions/normalize_username.sql
grant usage on schema plinth, security to :PLINTH_SERVICE;

alter table identity.users
  add column has_irregular_address boolean not null default false,
  drop constraint users_email_check;
comment on column identity.users.has_irregular_address is
  E'@behavior -*\nWhether the address is from before addresses had one form, and has none: it is not valid, or another account has its form.';

-- Accounts keep the address they have. Where several have one address in different spellings, the one that is in its normal form,
-- then one that was verified, then the oldest gets the form; the others keep their spelling and are marked.
do $$
declare
  v_user record;
begin
  for v_user in
    select u.id, plinth.normalize_email(u.email) as form
    from identity.users u
    where u.email is distinct from plinth.normalize_email(u.email)
    order by u.email_verified_at is null, u.created_at, u.id
  loop
    update identity.users u
    set email = v_user.form
    where u.id = v_user.id
      and v_user.form is not null
      and not exists (select from identity.users o where o.email = v_user.form);
    if not found then
      update identity.users u set has_irregular_address = true where u.id = v_user.id;
    end if;
  end loop;
end
$$;

alter table identity.users
  add constraint users_email_check check (
    email is null or has_irregular_address or (email = plinth.normalize_email(email)) is true
  );

-- A link says what it does. Those that are open do not say it yet: one for the account's address proves it, and any other ends,
-- because it may be a link of the registration to a mistyped address.
alter table private.user_verifications
  add column purpose text not null default 'prove',
  add constraint user_verifications_purpose_check check (purpose in ('prove', 'change'));
comment on column private.user_verifications.purpose is
  'prove: that the address the account has is its owner''s; change: that the account moves to this address or number.';
update private.user_verifications v
set expires_at = now()
from identity.users u
where u.id = v.user_id
  and v.kind = 'email'
  and v.new_value is distinct from u.email
  and v.expires_at > now()
  and v.used_at is null;
update private.user_verifications v
set purpose = 'change'
from identity.users u
where u.id = v.user_id and (v.kind = 'phone' or v.new_value is distinct from u.email);

--! Included identity/triggers/users.sql
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

-- Whether the account now has another mailbox. A new hash with the same clear address is the same mailbox, and so is a hash
-- that stays when privacy mode removes the clear address.
create or replace function identity.is_another_address(old_user identity.users, new_user identity.users)
  returns boolean
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select case
    when (new_user).email is not null then (new_user).email is distinct from (old_user).email
    when (new_user).hashed_email is null then (old_user).email is not null or (old_user).hashed_email is not null
    else (new_user).hashed_email is distinct from (old_user).hashed_email
  end
$$;

comment on function identity.is_another_address(identity.users, identity.users) is
  E'@behavior -*\nReturns whether an account''s address, clear or hashed, differs between two versions of its row.';

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
--! EndIncluded identity/triggers/users.sql
--! Included private/functions/send_email_verification.sql
-- Sends a link to an address. For the account's own address it verifies it; for any other it moves the account there. That is
-- decided now, because the account's address may differ when the link is opened.
create or replace function private.send_email_verification(user_id uuid, address text, token_hash bytea, sealed_token text)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_expires_at constant timestamptz := now() + interval '1 day';
begin
  insert into private.user_verifications (user_id, kind, purpose, new_value, token_hash, expires_at, client_ip, user_agent)
  values (
    send_email_verification.user_id,
    'email',
    case
      when exists (
        select
        from identity.users u
        where u.id = send_email_verification.user_id and u.email = send_email_verification.address
      )
      then 'prove'
      else 'change'
    end,
    send_email_verification.address,
    send_email_verification.token_hash,
    v_expires_at,
    plinth.client_ip(),
    left(plinth.user_agent(), 1000)
  );
  -- No names: the recipient may be a stranger, and the display name can be any text.
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
  'Stores a verification of an address and queues its link; without a token it only stores.';
--! EndIncluded private/functions/send_email_verification.sql
--! Included private/functions/request_email_change.sql
-- Requests another address, which takes effect only after a link sent there was opened. An address of another account gets a
-- different mail, but the caller gets the same response, so that accounts cannot be probed.
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
  v_address constant text := plinth.normalize_email(request_email_change.new_email);
  v_holder_id uuid;
begin
  -- Before the password counts: a later error would undo the count.
  if v_address is null then
    raise exception 'This is not a valid email address.' using errcode = 'PL422', column = 'new_email';
  end if;
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

  -- The last request counts.
  update private.user_verifications v
  set expires_at = now()
  where v.user_id = v_user.id and v.kind = 'email' and v.purpose = 'change'
    and v.expires_at > now() and v.used_at is null;
  v_holder_id := (select u.id from identity.users u where u.email = v_address and u.id <> v_user.id);
  -- A taken address also gets a row, with an unusable token: the work is the same, and it counts.
  perform private.send_email_verification(
    v_user.id, v_address, request_email_change.token_hash,
    case when v_holder_id is null then request_email_change.sealed_token end
  );
  update private.user_verifications v
  set hashed_email = request_email_change.hashed_email
  where v.token_hash = request_email_change.token_hash;
  if v_holder_id is not null then
    -- Reveals nothing about the caller.
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
--! Included private/functions/request_phone_verification.sql
-- Sends a code to a number. Five a day, for the account and for the number, from any account: each costs money and allows five
-- more guesses. A new code ends the previous one.
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
  -- Two accounts may request one number at the same time.
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
  insert into private.user_verifications (user_id, kind, purpose, new_value, code_hash, expires_at, client_ip, user_agent)
  values (
    v_user_id, 'phone', 'change', request_phone_verification.phone_number, request_phone_verification.code_hash, v_expires_at,
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
--! Included private/functions/verify_email.sql
-- Handles an opened link. The link states its effect: verify the account's address, or move the account to the address it was
-- sent to; a verification link never moves an account. The old address is notified of a move. The change of the row ends the
-- other open links (identity.end_open_links).
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
  -- Read only now, with the account locked: after waiting for the winner, the token is used, or expired by the clock of a
  -- transaction that began after this one.
  update private.user_verifications v
  set used_at = now()
  where v.token_hash = verify_email.token_hash
    and v.kind = 'email'
    and v.used_at is null
    and v.expires_at > clock_timestamp()
    and v_user.account_status = 'active'
    and (v.purpose = 'change' or v.new_value = v_user.email)
  returning v.new_value, v.hashed_email into v_address, v_hash;
  if v_address is null then
    perform private.record_security_event(
      'email_verification_failed', v_user.id, jsonb_build_object('reason', 'token_not_valid')
    );
    return false;
  end if;

  if v_address is not distinct from v_user.email then
    update identity.users u set email_verified_at = clock_timestamp() where u.id = v_user.id;
    perform private.record_security_event('email_verified', v_user.id);
    return true;
  end if;

  begin
    -- The time differs from any earlier one: an unchanged time would be dropped with the old address.
    update identity.users u
    set email = v_address, hashed_email = v_hash, email_verified_at = clock_timestamp()
    where u.id = v_user.id;
  exception
    when unique_violation then
      -- Another account verified it first.
      perform private.record_security_event(
        'email_verification_failed', v_user.id, jsonb_build_object('reason', 'address_taken')
      );
      return false;
  end;
  if v_user.email is not null then
    perform private.queue_mail(v_user.id, v_user.email, 'email-changed', private.mail_variables(v_user.id));
  end if;
  perform private.record_security_event('email_changed', v_user.id, '{}', 'warning');
  return true;
end
$$;

comment on function private.verify_email(bytea) is
  'Verifies the account''s address, or moves it to the address the link was sent to; returns false for an invalid token.';
grant execute on function private.verify_email(bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/verify_email.sql
--! Included private/functions/set_password.sql
-- Stores every new password: the old one joins the history, and links sent under it (to set a password, to change the address)
-- end. The caller holds the account's row lock.
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
  -- The new password counts as one of them.
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
  where v.user_id = set_password.user_id
    and v.kind = 'email'
    and v.purpose = 'change'
    and v.expires_at > now()
    and v.used_at is null;
end
$$;

comment on function private.set_password(uuid, text, text, boolean, integer) is
  'Stores a password, keeps the last history_length - 1 before it, and ends links that were sent under the old one.';
--! EndIncluded private/functions/set_password.sql
--! Included private/functions/find_account.sql
-- The only place that maps a typed name or address to an account. A username has no @ and an address has one.
create or replace function private.find_account(identifier text)
  returns uuid
  language sql
  stable
  set search_path = pg_catalog
as $$
  select u.id
  from identity.users u
  where u.username = plinth.normalize_username(find_account.identifier)
    or u.email = plinth.normalize_email(find_account.identifier)
    or (u.has_irregular_address and u.email = plinth.normalize_username(find_account.identifier))
  -- An irregular address is found as it is written; the account of that name or normalized address comes first.
  order by u.has_irregular_address and u.username is distinct from plinth.normalize_username(find_account.identifier)
  limit 1
$$;

comment on function private.find_account(text) is 'Returns the id of the account with this username or email address, or null.';
--! EndIncluded private/functions/find_account.sql
--! Included private/functions/find_login.sql
-- The data that the service needs to check a password. It does not report locks or status: private.finish_login decides, counts
-- and audits those after the same work for every caller. The token_version is passed back there: if it has grown, the checked
-- password may have been changed. Always returns one row, so that the last column is also known for unknown accounts: while any
-- account still has a bcrypt hash, which takes longer to check, the service delays every refusal equally. An address is also
-- looked up by its keyed hash, the only form of it in privacy mode; in that mode the address itself is not even sent here.
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
    -- If a hash belongs to one account and the clear address to another without a hash, the clear address is older.
    where u.id = coalesce(
      private.find_account(find_login.identifier),
      (select h.id from identity.users h where h.hashed_email = find_login.hashed_email)
    )
  ) account on true
$$;

comment on function private.find_login(text, bytea) is
  'Returns the password hash of the account with this username, email address or email hash; one row of nulls without one.';
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

comment on function private.find_password(uuid) is 'Returns the password hash of an account, to check the current password before a change.';
grant execute on function private.find_password(uuid) to :PLINTH_SERVICE;
--! EndIncluded private/functions/find_login.sql
--! Included private/functions/request_password_reset.sql
-- A request for a forgotten password. Returns nothing in any case; only the account's mail reveals the result. At most three live
-- links, so that a mailbox cannot be flooded; a fourth request does not end the first three, so that it cannot invalidate them.
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
        -- Its hash shows repeats without revealing it: it may be a password typed into the wrong field.
        'identifier_hash', case when v_user.id is null then
          left(encode(sha256(convert_to(
            coalesce(
              plinth.normalize_email(request_password_reset.identifier),
              plinth.normalize_username(request_password_reset.identifier)
            ),
            'UTF8'
          )), 'hex'), 16) end
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
  'Queues a link to set a new password, if there is such an account with an address; returns nothing.';
grant execute on function private.request_password_reset(text, bytea, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/request_password_reset.sql
--! Included private/functions/finish_login.sql
-- Decides a sign-in whose password the service has checked. Always commits: a refused attempt is counted and audited. Locks the
-- account's row first, so that parallel guesses are counted one by one and the lock applies to all of them. Code that needs
-- several locks takes them in the order account, session, token, which rules out deadlocks.
create or replace function private.finish_login(
  user_id uuid,
  identifier text,
  password_matches boolean,
  checked_token_version integer,
  refresh_token_hash bytea,
  device_name text default null,
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
    -- The password was changed between the check and now.
    when v_user.token_version is distinct from finish_login.checked_token_version then 'wrong_password'
    when v_user.account_status <> 'active' then 'account_disabled'
    when not private.network_is_allowed(v_user.id) then 'network_not_allowed'
  end;

  if v_refusal is null then
    select c.session_id, c.token_version, c.refresh_expires_at, c.challenge_expires_at, c.challenge_methods
    into session_id, token_version, refresh_expires_at, challenge_expires_at, challenge_methods
    from private.complete_sign_in(
      v_user.id, array['pwd'], finish_login.refresh_token_hash, finish_login.device_name, finish_login.challenge_hash
    ) c;
  end if;

  perform security.track_login_attempt(
    v_user.id,
    -- An unknown name may be a password typed into the wrong field: its hash shows repeats without revealing it.
    case
      when v_user.id is null and finish_login.identifier !~ '@'
      then 'sha256:' || left(encode(sha256(convert_to(plinth.normalize_username(finish_login.identifier), 'UTF8')), 'hex'), 16)
      else finish_login.identifier
    end,
    plinth.client_ip(),
    plinth.user_agent(),
    case
      when v_refusal = 'account_locked' then 'locked'
      when v_refusal is not null then 'failed'
      -- A challenge is no success: it must not clear the count of failures, or knowing the password would hide guesses.
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

comment on function private.finish_login(uuid, text, boolean, integer, bytea, text, bytea) is
  'Opens a session, or a challenge, if the password matched and nothing forbids it; no row when refused. Counts and audits in both cases.';
grant execute on function private.finish_login(uuid, text, boolean, integer, bytea, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/finish_login.sql

-- Every account has settings.
insert into identity.user_settings (user_id) select u.id from identity.users u on conflict do nothing;
insert into identity.user_security_settings (user_id) select u.id from identity.users u on conflict do nothing;
--! Included identity/triggers/account_settings.sql
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

-- A script, or a data-only restore, that inserts an account and then its settings finds a row with defaults. Its row replaces
-- that one; settings that have been changed are not replaced.
create or replace function identity.replace_default_settings()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if tg_table_name = 'user_settings' then
    delete from identity.user_settings s
    where s.user_id = new.user_id
      and jsonb_strip_nulls(to_jsonb(s) - array['user_id', 'created_at', 'updated_at']) = '{"preferences": {}}';
  else
    delete from identity.user_security_settings s
    where s.user_id = new.user_id
      and jsonb_strip_nulls(to_jsonb(s) - array['user_id', 'created_at', 'updated_at']) = '{}';
  end if;
  return new;
end
$$;

comment on function identity.replace_default_settings() is
  'Trigger: inserted settings replace the account''s default ones.';

create or replace trigger _100_replace_defaults
  before insert on identity.user_settings
  for each row
  execute function identity.replace_default_settings();

create or replace trigger _100_replace_defaults
  before insert on identity.user_security_settings
  for each row
  execute function identity.replace_default_settings();
--! EndIncluded identity/triggers/account_settings.sql
--! Included private/functions/register_user.sql
-- Creates an account with all its rows, or nothing.
create or replace function private.register_user(
  username text,
  email text,
  display_name text,
  password_hash text,
  hash_algorithm text,
  -- Without it the account is found only by its clear address.
  hashed_email bytea default null
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
  insert into identity.users (username, email, hashed_email, password_changed_at)
  values (register_user.username, register_user.email, register_user.hashed_email, now())
  returning id into v_user_id;

  update identity.user_settings s
  set display_name = nullif(trim(register_user.display_name), '')
  where s.user_id = v_user_id;
  insert into private.user_passwords (user_id, password_hash, hash_algorithm)
  values (v_user_id, register_user.password_hash, register_user.hash_algorithm);
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';

  perform private.record_security_event('user_registered', v_user_id);
  return v_user_id;
end
$$;

comment on function private.register_user(text, text, text, text, text, bytea) is
  'Creates an account with settings, password and the role user; returns its id. 23505 names the taken field.';
grant execute on function private.register_user(text, text, text, text, text, bytea) to :PLINTH_SERVICE;
--! EndIncluded private/functions/register_user.sql
--! Included private/functions/register_by_provider.sql
-- A username for the account, derived from the person's name at the provider.
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
        trim(both '._-' from regexp_replace(lower(split_part(coalesce(username_from.suggestion, ''), '@', 1) collate "C"), '[^a-z0-9_.-]+', '-', 'g')),
        80
      )
    ) as cleaned
  ) c
$$;

comment on function private.username_from(text) is 'Returns a well-formed username made of a name or address; it may be taken.';

-- An account without a password for a user of a provider: private.user_passwords has no row, so no password matches.
-- `verified_email` is an address that a trusted provider verified, or null; nothing else is allowed here. Its keyed hash
-- accompanies it, and replaces it in privacy mode.
-- Another account's address is never taken, and that account is never opened:
-- - If the address is verified there, no account is created (null), since it would be the person's second one. The caller may
--   say so, because the user has just proved to own the address.
-- - If it is not verified there, that account may have been registered to lie in wait for the owner (pre-hijacking). The new
--   account is created without the address, so that its owner is neither led into the prepared account nor kept out.
create or replace function private.register_by_provider(
  suggested_username text,
  verified_email text,
  verified_email_hash bytea,
  display_name text
)
  returns uuid
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_name text := private.username_from(suggested_username);
  -- The provider's address is trusted as it stands. An address that would need normalizing is treated as missing.
  v_email text := (
    select e.address
    from plinth.normalize_email(verified_email) as e (address)
    where e.address = lower(btrim(verified_email) collate "C")
  );
  v_hash bytea := case when verified_email is null or v_email is not null then verified_email_hash end;
  v_is_verified boolean;
  v_user_id uuid;
begin
  -- A conflict is a name or an address that was taken, perhaps just now: check again.
  for v_attempt in 1..20 loop
    -- One query: between two, an account with the verified address could appear.
    select bool_or(u.email_verified_at is not null) into v_is_verified
    from identity.users u
    where u.email = v_email or u.hashed_email = v_hash;
    if v_is_verified then
      return null;
    elsif v_is_verified is not null then
      v_email := null;
      v_hash := null;
    end if;
    insert into identity.users (username, email, hashed_email, email_verified_at)
    values (
      case v_attempt when 1 then v_name else v_name || '-' || left(replace(gen_random_uuid()::text, '-', ''), 8) end,
      v_email,
      v_hash,
      case when v_email is not null or v_hash is not null then now() end
    )
    on conflict do nothing
    returning id into v_user_id;
    exit when v_user_id is not null;
  end loop;
  if v_user_id is null then
    raise exception 'No free name was found; try again.' using errcode = 'PL409';
  end if;

  update identity.user_settings s
  set display_name = nullif(trim(left(regexp_replace(register_by_provider.display_name, '[[:cntrl:]]', '', 'g'), 100)), '')
  where s.user_id = v_user_id;
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';
  perform private.record_security_event('user_registered', v_user_id, jsonb_build_object('by', 'provider'));
  return v_user_id;
end
$$;

comment on function private.register_by_provider(text, text, bytea, text) is
  'Creates an account without a password and with a free name; returns its id, or null if another account has verified the address.';
--! EndIncluded private/functions/register_by_provider.sql

--! Included learning/views/user_content_access.sql
-- The content that each user may read; a disabled or deleted account may read none. Users see their own access; users who
-- manage access, and the owner in psql without claims, see all. Always filter by user or by items: all users times all items is
-- a large table.
create or replace view learning.user_content_access
  with (security_invoker = true)
as
select
  u.id as user_id,
  i.id as content_id,
  learning.gives_access(r.reason) as has_access,
  r.reason,
  i.effective_access_level as required_access_level
from identity.users u
cross join lateral (
  select learning.user_plan_level(u.id) as plan_level, learning.is_content_editor(u.id) as is_editor
  offset 0
) l
cross join learning.content_items i
-- A user has few permissions. A permission on the item takes precedence over one on its course.
left join learning.user_content_permissions own
  on own.user_id = u.id
  and own.item_id = i.id
  and (own.expires_at is null or own.expires_at > now())
left join learning.user_content_permissions course
  on course.user_id = u.id
  and course.item_id = i.course_id
  and (course.expires_at is null or course.expires_at > now())
-- `offset 0`: computed once per item, and not once per column that shows it.
cross join lateral (
  select case when not u.is_active then 'account_inactive' else learning.access_reason(
    l.is_editor,
    i.author_id = u.id,
    i.available_from <= now() and (i.available_until is null or i.available_until > now()),
    coalesce(own.permission, course.permission),
    i.is_preview,
    true,
    i.effective_access_level,
    l.plan_level,
    coalesce(own.waives_prerequisites, course.waives_prerequisites),
    exists (
      select
      from learning.content_prerequisites p
      where p.item_id in (i.id, i.course_id)
        and not learning.is_prerequisite_met(u.id, p.required_item_id)
    )
  ) end as reason
  offset 0
) r
where u.id = (select plinth.current_user_id())
  or (select plinth.current_user_id()) is null
  or (select access.has_permission('manage_content_access'));

comment on view learning.user_content_access is
  E'@behavior -*\nGrain: one row per user and item that the caller can see: whether the user may read its text, and why.';
comment on column learning.user_content_access.user_id is 'The user.';
comment on column learning.user_content_access.content_id is 'The item.';
comment on column learning.user_content_access.has_access is 'Whether the user may read the item''s text.';
comment on column learning.user_content_access.reason is
  'Reason. With access: editor, author, preview, permission or plan. Without: account_inactive, not_available, denied, sign_in_required, plan_required or prerequisites_missing.';
comment on column learning.user_content_access.required_access_level is 'Access level that a plan needs.';
revoke all on learning.user_content_access from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.user_content_access to :PLINTH_USER;
--! EndIncluded learning/views/user_content_access.sql
--! Included security/functions/track_login_attempt.sql
-- Records a sign-in attempt and updates the account's counters: a failure is counted and may lock the account, a success clears
-- the counters. An attempt rejected because the account is locked does not extend the lock; otherwise anyone could keep an
-- account locked forever. Every attempt is recorded: for an unknown or deleted account without the account; values that are too
-- long are truncated.
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
  v_user_id uuid;
  v_locked_until timestamptz;
begin
  -- Takes the lock the foreign key would take: deleting the account concurrently must not fail the record.
  select u.id into v_user_id from identity.users u where u.id = track_login_attempt.user_id for key share;
  insert into security.login_attempts (user_id, email, ip_address, user_agent, status, failure_reason, correlation_id)
  values (
    v_user_id,
    coalesce(
      plinth.normalize_email(track_login_attempt.email), plinth.normalize_username(left(track_login_attempt.email, 320))
    ),
    track_login_attempt.ip_address,
    left(track_login_attempt.user_agent, 1000),
    track_login_attempt.status,
    case when track_login_attempt.status <> 'success' then left(track_login_attempt.failure_reason, 1000) end,
    plinth.correlation_id()
  )
  returning id into v_id;

  if track_login_attempt.status = 'success' then
    update identity.users u
    set failed_login_attempts = 0, locked_until = null, last_login_at = now()
    where u.id = v_user_id;
  elsif track_login_attempt.status = 'failed'
    -- Second factors are counted separately, in private.mfa_attempts.
    and coalesce(track_login_attempt.failure_reason, '') not in (
      'account_disabled', 'network_not_allowed', 'challenge_expired', 'wrong_code', 'code_reused', 'wrong_passkey',
      'passkey_cloned'
    )
  then
    update identity.users u
    set
      failed_login_attempts = u.failed_login_attempts + 1,
      locked_until = nullif(now() + private.lockout_duration(u.failed_login_attempts + 1), now())
    where u.id = v_user_id
    returning u.locked_until into v_locked_until;
    if v_locked_until is not null then
      perform private.record_security_event(
        'account_locked', v_user_id, jsonb_build_object('locked_until', v_locked_until), 'warning'
      );
      -- Once per lock: attempts during the lock do not reach this point.
      perform private.notify_user(
        v_user_id, 'account-locked', jsonb_build_object('locked_until', v_locked_until)
      );
    end if;
  end if;
  return v_id;
end
$$;

comment on function security.track_login_attempt(uuid, text, inet, text, text, text) is
  'Records a sign-in attempt, counts failures and locks or clears the account; returns the attempt''s id.';
grant execute on function security.track_login_attempt(uuid, text, inet, text, text, text) to :PLINTH_SERVICE;

-- An address as a header or a proxy may write it: with a port, in brackets, with a zone, first in a list.
create or replace function security.read_client_address(address text)
  returns inet
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  v_first constant text := btrim(split_part(read_client_address.address, ',', 1));
begin
  return coalesce(
    substring(v_first from '^\[([0-9A-Fa-f:.]+)(?:%[^]]*)?\](?::[0-9]+)?$'),
    substring(v_first from '^([0-9.]+):[0-9]+$'),
    substring(v_first from '^([0-9A-Fa-f:.]+)%.*$'),
    v_first
  )::inet;
exception
  when invalid_text_representation then
    return null;
end
$$;

comment on function security.read_client_address(text) is
  E'@behavior -*\nReturns a client''s address as text, without a port, brackets or a zone; null if the text is not an address.';

-- The same for a caller that has the address as text. The address is recorded if it is valid; the attempt is recorded in any
-- case.
create or replace function security.track_login_attempt(
  user_id uuid,
  email text,
  ip_address text,
  user_agent text,
  status text,
  failure_reason text
)
  returns uuid
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select security.track_login_attempt(
    track_login_attempt.user_id,
    track_login_attempt.email,
    security.read_client_address(track_login_attempt.ip_address),
    track_login_attempt.user_agent,
    track_login_attempt.status,
    track_login_attempt.failure_reason
  )
$$;

comment on function security.track_login_attempt(uuid, text, text, text, text, text) is
  'Records a sign-in attempt from an address given as text; see track_login_attempt(uuid, text, inet, text, text, text).';
grant execute on function security.track_login_attempt(uuid, text, text, text, text, text) to :PLINTH_SERVICE;
--! EndIncluded security/functions/track_login_attempt.sql
