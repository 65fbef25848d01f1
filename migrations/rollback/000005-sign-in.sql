drop trigger _500_revoke_tokens on identity.user_sessions;
drop trigger _500_revoke_tokens_of_deleted on identity.user_sessions;
drop trigger _500_revoke_tokens on identity.users;
drop trigger _500_revoke_tokens_of_deleted on identity.users;
drop table private.refresh_tokens, private.user_passwords, private.token_blacklist;
drop function
  identity.logout(),
  identity.logout_everywhere(),
  identity.end_session(uuid),
  private.revoke_session_tokens(),
  private.revoke_user_tokens(),
  private.notify_revocation(),
  private.end_sessions(uuid, text, uuid),
  private.register_user(text, text, text, text, text),
  private.find_login(text),
  private.find_password(uuid),
  private.issue_refresh_token(uuid, bytea, uuid),
  private.network_is_allowed(uuid),
  private.finish_login(uuid, text, boolean, integer, bytea, text, text, text),
  private.rotate_refresh_token(bytea, bytea, bytea),
  private.change_password(uuid, uuid, boolean, integer, text, text, bytea),
  private.list_revocations(interval),
  private.is_token_live(uuid, uuid, uuid, integer),
  private.delete_expired_tokens(integer),
  private.end_expired_sessions(integer);
