--! Previous: sha1:582bf7f0eeeeb34a24509ae0b6b8e28c6b2aa265
--! Hash: sha1:467af3986c2da8c438beb74c4dbdae3cf9542413
--! Message: imported email hashes

-- An account that another system kept with a hash of its address is found by the typed address: private.lookup_keys has the hash
-- function and its salt, sealed, and plinth.external_ids the hashes, keyed.
alter table private.lookup_keys drop constraint lookup_keys_name_check;
alter table private.lookup_keys add constraint lookup_keys_name_check check (name in ('email', 'imported email'));
comment on column private.lookup_keys.name is
  'Kind of value: email (identity.users.hashed_email) or imported email (hashes of another system in plinth.external_ids).';
comment on column private.lookup_keys.sealed_key is
  'HMAC key or, for imported email, hash function and salt, encrypted with a master key: v<version>.<base64url>.';

--! Included identity/private/adopt_imported_email.sql
-- An account that another system kept with a hash of its address, which the service has just made of a typed address. Of two
-- accounts with the address, the one that has it already keeps it.
create or replace function private.adopt_imported_email(
  system text,
  email_ids text[],
  hashed_email bytea,
  email text default null
)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid;
begin
  select e.user_id into v_user_id
  from plinth.external_ids e
  where e.system = adopt_imported_email.system
    and e.relation = 'users_hashed_email'
    and e.external_id = any (adopt_imported_email.email_ids);
  if v_user_id is null
    or exists (
      select from identity.users u
      where u.hashed_email = adopt_imported_email.hashed_email or u.email = adopt_imported_email.email
    )
  then
    return;
  end if;
  update identity.users u
  set hashed_email = adopt_imported_email.hashed_email, email = coalesce(u.email, adopt_imported_email.email)
  where u.id = v_user_id and u.hashed_email is null;
  delete from plinth.external_ids e
  where e.system = adopt_imported_email.system and e.relation = 'users_hashed_email' and e.row_id = v_user_id;
end
$$;

comment on function private.adopt_imported_email(text, text[], bytea, text) is
  'Gives an imported account the keyed hash (and the address) that replaces another system''s hash of the address; does nothing without such an account.';
grant execute on function private.adopt_imported_email(text, text[], bytea, text) to :PLINTH_SERVICE;
--! EndIncluded identity/private/adopt_imported_email.sql
