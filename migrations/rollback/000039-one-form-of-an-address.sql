drop function security.track_login_attempt(uuid, text, text, text, text, text);
drop function security.read_client_address(text);
revoke execute on function security.track_login_attempt(uuid, text, inet, text, text, text) from :PLINTH_SERVICE;
--!restore security/functions/track_login_attempt.sql
--!restore learning/views/user_content_access.sql

drop trigger _400_insert_settings on identity.users;
drop trigger _100_replace_defaults on identity.user_settings;
drop trigger _100_replace_defaults on identity.user_security_settings;
drop function identity.insert_settings(), identity.replace_default_settings();
--!restore private/functions/register_user.sql
--!restore private/functions/register_by_provider.sql

--!restore private/functions/finish_login.sql
--!restore private/functions/request_password_reset.sql
--!restore private/functions/find_login.sql
--!restore private/functions/find_account.sql
--!restore private/functions/set_password.sql
--!restore private/functions/verify_email.sql
--!restore private/functions/request_phone_verification.sql
--!restore private/functions/request_email_change.sql
--!restore private/functions/send_email_verification.sql

-- The version before would take an open link for a change of address, whatever it was sent for.
update private.user_verifications v
set expires_at = now()
from identity.users u
where u.id = v.user_id
  and v.kind = 'email'
  and v.new_value is distinct from u.email
  and v.expires_at > now()
  and v.used_at is null;
alter table private.user_verifications drop column purpose;

drop trigger _100_normalize on identity.users;
drop trigger _120_drop_stale_email_proof on identity.users;
drop trigger _600_end_open_links on identity.users;
drop function identity.drop_stale_email_proof(), identity.end_open_links();
drop function identity.is_another_address(identity.users, identity.users);
alter table identity.users drop constraint users_email_check, drop column has_irregular_address;
-- An address with capitals outside of ASCII was not allowed. Where it would be another account's, its spelling has to change
-- before the way back.
update identity.users u set email = lower(u.email) where u.email <> lower(u.email);
alter table identity.users
  add constraint users_email_check check (
    email ~ '^[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+$' and length(email) <= 254 and email = lower(email)
  );
--!restore identity/triggers/users.sql

drop function plinth.normalize_email(text), plinth.ascii_label(text), plinth.normalize_username(text);
revoke usage on schema plinth, security from :PLINTH_SERVICE;
