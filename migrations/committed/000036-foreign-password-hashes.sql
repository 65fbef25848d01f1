--! Previous: sha1:b881886a316cb7ae837344aba01bf31db678bee9
--! Hash: sha1:582bf7f0eeeeb34a24509ae0b6b8e28c6b2aa265
--! Message: foreign password hashes

-- Hashes of other systems that are too weak to be stored as they are: hashed once more with argon2id, see
-- src/auth/foreign-password-hash.ts.
alter table private.user_passwords
  drop constraint user_passwords_hash_algorithm_check,
  drop constraint user_passwords_password_hash_check,
  add constraint user_passwords_hash_algorithm_check
    check (hash_algorithm in ('argon2id', 'bcrypt', 'bcrypt-sha256', 'wrapped')),
  add constraint user_passwords_password_hash_check check (
    case hash_algorithm
      when 'argon2id' then password_hash ~ '^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'
      when 'bcrypt' then password_hash ~ '^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$'
      when 'bcrypt-sha256' then password_hash ~ '^\$bcrypt-sha256\$v=2,t=2b,r=\d\d?\$[./A-Za-z0-9]{22}\$[./A-Za-z0-9]{31}$'
      when 'wrapped' then
        password_hash ~ '^\$plinth-wrapped\$v=1\$f=[a-z0-9-]+,l=\d+(,[a-z]+=[A-Za-z0-9+/]+)*\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'
    end
  );
comment on column private.user_passwords.password_hash is
  'Password hash: PHC string (argon2id, bcrypt-sha256 in passlib''s second form), modular crypt string (bcrypt), or the argon2id hash of another system''s digest with that system''s salt and parameters ($plinth-wrapped$…).';
comment on column private.user_passwords.hash_algorithm is
  'Algorithm: argon2id (default), bcrypt-sha256 (PLINTH_PASSWORD_HASH=bcrypt), bcrypt or wrapped (imported; replaced at the next sign-in).';

alter table private.password_history
  drop constraint password_history_hash_algorithm_check,
  add constraint password_history_hash_algorithm_check
    check (hash_algorithm in ('argon2id', 'bcrypt', 'bcrypt-sha256', 'wrapped'));

--! Included identity/private/find_login.sql
-- The data that the service needs to check a password. It does not report locks or status: private.finish_login decides, counts
-- and audits those after the same work for every caller. The token_version is passed back there: if it has grown, the checked
-- password may have been changed. Always returns one row, so that the last column is also known for unknown accounts: while any
-- account still has a bcrypt or wrapped hash, which takes longer to check, the service delays every refusal equally. An address
-- is also looked up by its keyed hash, the only form of it in privacy mode; in that mode the address itself is not even sent here.
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
  set plan_cache_mode = force_generic_plan
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
    -- In a subquery of its own, so that it is computed once and not for each of the two tables.
    where u.id = (
      select coalesce(
        private.find_account(find_login.identifier),
        (select h.id from identity.users h where h.hashed_email = find_login.hashed_email)
      )
    )
  ) account on true
$$;

comment on function private.find_login(text, bytea) is
  'Returns the password hash of the account with this username, email address or email hash; one row of nulls without one.';
grant execute on function private.find_login(text, bytea) to :PLINTH_SERVICE;
--! EndIncluded identity/private/find_login.sql
