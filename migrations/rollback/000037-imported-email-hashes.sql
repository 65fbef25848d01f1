-- Accounts that were imported with a hashed address, and whose user has not signed in with it since, are found by name only.
drop function private.adopt_imported_email(text, text[], bytea, text);
delete from private.lookup_keys where name = 'imported email';
delete from plinth.external_ids where relation = 'users_hashed_email';
alter table private.lookup_keys drop constraint lookup_keys_name_check;
alter table private.lookup_keys add constraint lookup_keys_name_check check (name = 'email');
comment on column private.lookup_keys.name is 'Kind of value: email (identity.users.hashed_email).';
comment on column private.lookup_keys.sealed_key is 'HMAC key, encrypted with a master key: v<version>.<base64url>.';
