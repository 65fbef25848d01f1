drop function
  private.finish_login(uuid, text, boolean, integer, bytea, text, text, text, bytea),
  private.complete_sign_in(uuid, text[], bytea, text, bytea),
  private.open_session(uuid, text[], bytea, text);
--!restore private/functions/finish_login.sql
alter table identity.user_sessions drop column authentication_methods, drop column authenticated_at;
