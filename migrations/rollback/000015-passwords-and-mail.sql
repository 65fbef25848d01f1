--!restore security/triggers/audit_trail.sql
drop function
  private.change_password(uuid, uuid, boolean, integer, text, text, bytea, boolean, boolean, text, boolean, integer),
  private.confirm_password(uuid, uuid, boolean, integer, text, text),
  private.set_password(uuid, text, text, boolean, integer),
  private.replace_password_hash(uuid, text, text, text),
  private.find_password_history(uuid, integer),
  private.find_password_reset(bytea),
  private.find_password_owner(uuid),
  private.find_account(text),
  private.request_password_reset(text, bytea, text),
  private.reset_password(bytea, text, text, boolean, integer),
  private.request_email_verification(uuid, bytea, text),
  private.send_email_verification(uuid, text, bytea, text),
  private.request_email_change(uuid, uuid, boolean, integer, text, text, bytea, text, bytea),
  private.verify_email(bytea),
  private.has_asked_too_often(uuid, text),
  private.request_phone_verification(uuid, text, text, text),
  private.take_phone_attempt(uuid),
  private.finish_phone_verification(uuid, uuid, boolean),
  private.delete_expired_verifications(integer),
  private.delete_old_mails(integer);
--!restore private/functions/change_password.sql
--!restore private/functions/find_login.sql
--!restore private/functions/open_session.sql
--!restore security/functions/track_login_attempt.sql
drop function
  private.notify_new_sign_in(uuid),
  private.notify_user(uuid, text, jsonb),
  private.mail_variables(uuid),
  private.queue_mail(uuid, text, text, jsonb, text, timestamptz),
  private.take_mails(integer, interval),
  private.finish_mail(uuid, text, boolean);
drop table
  private.mail_outbox, private.user_verifications, private.password_reset_tokens, private.password_history;
alter table identity.users drop column phone_number, drop column phone_verified_at;

-- A hash that the older form cannot name: its owner sets a new password.
delete from private.user_passwords where hash_algorithm = 'bcrypt-sha256';
drop index private.user_passwords_bcrypt_idx;
alter table private.user_passwords
  drop column suffices_alone,
  drop constraint user_passwords_hash_algorithm_check,
  drop constraint user_passwords_password_hash_check,
  add constraint user_passwords_hash_algorithm_check check (hash_algorithm in ('argon2id', 'bcrypt')),
  add constraint user_passwords_password_hash_check check (
    case hash_algorithm
      when 'argon2id' then password_hash ~ '^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$'
      when 'bcrypt' then password_hash ~ '^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$'
    end
  );
create index user_passwords_bcrypt_idx on private.user_passwords (user_id) where hash_algorithm = 'bcrypt';
comment on column private.user_passwords.password_hash is 'PHC string (argon2id) or modular crypt string (bcrypt).';
comment on column private.user_passwords.hash_algorithm is
  'argon2id (default) or bcrypt (brought along; replaced at the next sign-in).';
