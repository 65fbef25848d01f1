drop view identity.profiles;
drop function identity.viewer();
drop function identity.users_role(identity.users);
drop function identity.user_sessions_is_current(identity.user_sessions);
drop table
  identity.user_sessions, identity.user_security_settings, identity.user_preferences, identity.user_settings,
  identity.users;
drop function identity.normalize_user(), identity.guard_token_version(), identity.check_default_model();
