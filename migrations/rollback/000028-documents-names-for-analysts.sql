--!restore analytics/views/account_security.sql
drop view
  analytics.room_invites,
  analytics.room_messages,
  analytics.chat_rooms,
  analytics.training,
  analytics.user_skills,
  analytics.skills,
  analytics.user_content_access,
  analytics.content_items,
  analytics.users,
  analytics.active_user_subscriptions,
  analytics.subscription_plans,
  analytics.user_subscriptions,
  analytics.user_security_status,
  analytics.user_security_settings,
  analytics.audit_logs,
  analytics.security_audit_log,
  analytics.login_attempts,
  analytics.sessions,
  analytics.user_sessions;
revoke execute on function learning.gives_access(text) from :PLINTH_ANALYST;
revoke execute on function
  learning.access_reason(boolean, boolean, boolean, text, boolean, boolean, integer, integer, boolean, boolean)
  from :PLINTH_ANALYST;
