--!restore identity/policies/users.sql
drop function identity.unlock_account(uuid), identity.end_user_sessions(uuid);
--!restore identity/functions/set_account_status.sql
drop function private.require_administration(uuid), access.may_administer(uuid);
-- A reason that only this migration knows becomes the nearest one there was.
update identity.user_sessions set end_reason = 'logout_everywhere' where end_reason = 'ended_by_administrator';
alter table identity.user_sessions
  drop constraint user_sessions_end_reason_check,
  add constraint user_sessions_end_reason_check
    check (end_reason in ('logout', 'logout_everywhere', 'ended_by_user', 'password_changed', 'token_reuse', 'account_disabled', 'expired'));
comment on column identity.user_sessions.end_reason is
  'logout, logout_everywhere, ended_by_user, password_changed, token_reuse, account_disabled or expired.';
