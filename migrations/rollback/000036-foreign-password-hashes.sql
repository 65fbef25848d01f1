-- The passwords of accounts with a wrapped hash are lost, because no earlier server can check them: these accounts sign in again
-- after a password reset by email.
delete from private.password_history where hash_algorithm = 'wrapped';
delete from private.user_passwords where hash_algorithm = 'wrapped';

alter table private.password_history
  drop constraint password_history_hash_algorithm_check,
  add constraint password_history_hash_algorithm_check check (hash_algorithm in ('argon2id', 'bcrypt', 'bcrypt-sha256'));

alter table private.user_passwords
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
comment on column private.user_passwords.password_hash is
  'Password hash: PHC string (argon2id, bcrypt-sha256 in passlib''s second form) or modular crypt string (bcrypt).';
comment on column private.user_passwords.hash_algorithm is
  'Algorithm: argon2id (default), bcrypt-sha256 (PLINTH_PASSWORD_HASH=bcrypt) or bcrypt (imported; replaced at the next sign-in).';

--!restore identity/private/find_login.sql
