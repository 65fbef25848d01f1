drop function
  identity.remove_mfa_factor(uuid),
  identity.recovery_codes_left(),
  private.require_recent_authentication(),
  private.second_factors(uuid),
  private.mfa_lockout_duration(integer),
  private.count_wrong_code(uuid),
  private.accept_second_factor(uuid, jsonb),
  private.store_recovery_codes(uuid, bytea[]),
  private.regenerate_recovery_codes(bytea[]),
  private.find_sign_in_challenge(bytea),
  private.finish_sign_in(bytea, jsonb, bytea, text),
  private.find_totp_secrets(uuid),
  private.start_totp(text, text),
  private.find_unconfirmed_totp(uuid),
  private.confirm_totp(uuid, bigint, bytea[]),
  private.factor_was_added(uuid, uuid, text, text[]),
  private.add_session_methods(text[]),
  private.list_passkeys(uuid),
  private.start_passkey_ceremony(bytea, text, uuid),
  private.start_passkey_registration(bytea),
  private.start_passkey_sign_in(bytea, bytea),
  private.start_passkey_reauthentication(bytea),
  private.take_passkey_challenge(bytea, text, uuid),
  private.find_passkey(bytea),
  private.finish_passkey_registration(text, bytea, bytea, bigint, text[], boolean, boolean, uuid, bytea[]),
  private.finish_passkey_sign_in(uuid, jsonb, bytea, text),
  private.reauthenticate(jsonb),
  private.factor_may_go(uuid, uuid);
drop table
  private.totp_secrets,
  private.passkeys,
  private.recovery_codes,
  private.sign_in_challenges,
  private.passkey_challenges,
  private.mfa_attempts,
  identity.mfa_factors;
--!restore private/functions/complete_sign_in.sql
--!restore private/functions/finish_login.sql
--!restore security/functions/track_login_attempt.sql
--!restore private/functions/delete_expired_tokens.sql
--!restore access/functions/has_permission.sql
--!restore access/policies/roles.sql
alter table access.roles drop column requires_mfa;

-- Half-finished sign-ins of before were recorded like this.
update security.login_attempts set status = 'success' where status = 'challenged';
alter table security.login_attempts
  drop constraint login_attempts_status_check,
  add constraint login_attempts_status_check check (status in ('success', 'failed', 'locked'));
comment on column security.login_attempts.status is 'success, failed, or locked (refused unread because the account was locked).';
comment on column security.login_attempts.failure_reason is
  'unknown_account, wrong_password, account_locked, account_disabled or network_not_allowed; null on success.';
