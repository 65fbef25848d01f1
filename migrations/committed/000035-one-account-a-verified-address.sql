--! Previous: sha1:0f28f65929d03328bc44c636d13ed88164d1ff55
--! Hash: sha1:0ef3a62dc99d918041005bf62247a6db14d1f78c
--! Message: one account a verified address

-- A person who came from a provider twice in the same instant got a second account, without the address.
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
-- `verified_email` is an address that a trusted provider verified, or null; nothing else may be put here. Its keyed hash stands
-- beside it, and in its place in privacy mode.
-- Another account's address is never taken, and that account is never opened:
-- - Somebody verified it there: no account is made (null), since it would be the person's second one. The caller may say so,
--   because who comes this way has just proved to own the address.
-- - Nobody verified it there: whoever registered may have done so to lie in wait for the owner (pre-hijacking). The new account
--   is made without the address, so that its owner is neither led into the prepared account nor kept out.
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
  v_email text := lower(trim(verified_email));
  v_hash bytea := verified_email_hash;
  v_is_verified boolean;
  v_user_id uuid;
begin
  -- A conflict is a name or an address taken, perhaps just now: look again.
  for v_attempt in 1..20 loop
    -- One question: between two, an account with the verified address could come up.
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

  insert into identity.user_settings (user_id, display_name)
  values (v_user_id, nullif(trim(left(regexp_replace(display_name, '[[:cntrl:]]', '', 'g'), 100)), ''));
  insert into identity.user_security_settings (user_id) values (v_user_id);
  insert into access.user_roles (user_id, role_id)
  select v_user_id, r.id from access.roles r where r.role_name = 'user';
  perform private.record_security_event('user_registered', v_user_id, jsonb_build_object('by', 'provider'));
  return v_user_id;
end
$$;

comment on function private.register_by_provider(text, text, bytea, text) is
  'Makes an account without a password and with a free name; returns its id, or null if somebody else verified the address here.';
--! EndIncluded private/functions/register_by_provider.sql
