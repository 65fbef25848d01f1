drop view analytics.consent_counts;
drop function
  identity.users_missing_consents(identity.users),
  identity.has_consent(text),
  identity.withdraw_consent(text),
  identity.give_consent(text, integer),
  identity.current_consent_purposes(),
  private.last_consent(uuid, text);
drop table identity.consents, identity.consent_purposes;
drop function identity.guard_published_purpose();
-- With it go the roles' shares in it.
delete from access.permissions where permission_name = 'manage_consents';

drop function identity.set_allowed_networks(cidr[], boolean), identity.end_other_sessions();
drop trigger _100_check on identity.user_security_settings;
drop trigger _500_audit on identity.user_security_settings;
drop function identity.check_security_settings(), identity.audit_security_settings();
comment on column identity.user_security_settings.allowed_networks is
  'Sign-in and refresh only from these networks (CIDR); null means from anywhere.';

drop function
  private.touch_sessions(uuid[], timestamptz[], inet[]),
  private.touch_api_tokens(uuid[], timestamptz[], inet[]);
drop trigger _100_describe on identity.user_sessions;
drop trigger _100_note_address on identity.user_sessions;
drop function identity.describe_session(), private.describe_user_agent(text);
alter table identity.user_sessions drop constraint user_sessions_device_info_is_small;
--!restore identity/policies/user_sessions.sql
comment on column identity.user_sessions.last_activity_at is 'Last sign-in or refresh.';
comment on column identity.user_sessions.ip_address is 'Address at the last sign-in or refresh.';
comment on column identity.user_sessions.device_info is 'What the application knows of the device (JSON object).';
comment on column identity.user_sessions.security_context is 'How the session was signed in (JSON object).';

drop trigger _510_revoke_api_tokens on identity.users;
drop function
  private.delete_old_api_tokens(integer),
  private.is_api_token_live(uuid, uuid, integer),
  private.find_api_token(bytea),
  private.create_api_token(uuid, uuid, text, text[], timestamptz, text, bytea),
  identity.revoke_api_token(uuid);
drop table private.api_token_hashes, identity.api_tokens;
drop function private.revoke_api_token(), private.revoke_api_tokens_of_user();

--!restore identity/functions/logout.sql
--!restore private/functions/issue_refresh_token.sql
--!restore private/functions/rotate_refresh_token.sql
drop function private.session_idle_limit(uuid), private.refuse_api_token(), plinth.current_api_token_id();
