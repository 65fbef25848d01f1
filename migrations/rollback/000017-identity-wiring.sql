drop view identity.user_security_status, analytics.account_security;
--!restore identity/views/user_security_status.sql
--!restore analytics/views/account_security.sql

drop function
  private.finish_provider_sign_in(uuid, text, text, boolean, jsonb, text, text, timestamptz, boolean, text, bytea, bytea, bytea),
  private.register_by_provider(text, text, bytea, text),
  private.finish_login(uuid, text, boolean, integer, bytea, text, bytea);
--!restore private/functions/register_by_provider.sql
--!restore private/functions/finish_provider_sign_in.sql
--!restore private/functions/finish_login.sql

--!restore private/functions/verify_phone.sql
--!restore private/functions/verify_email.sql
--!restore private/functions/reset_password.sql
--!restore private/functions/create_api_token.sql
--!restore identity/functions/unlink_provider.sql
--!restore private/functions/check_provider_change.sql
--!restore private/functions/factor_may_go.sql
--!restore identity/functions/mfa_factors.sql
drop function private.has_another_way_in(uuid, uuid);
--!restore private/functions/has_another_way_in.sql

--!restore private/functions/store_recovery_codes.sql
--!restore private/functions/record_security_event.sql
--!restore private/functions/notify_user.sql
drop function private.notification_of(text, jsonb);
