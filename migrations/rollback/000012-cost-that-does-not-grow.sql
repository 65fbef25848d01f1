--!restore analytics/views/daily_sign_ins.sql
--!restore analytics/views/failed_logins_by_network.sql
--!restore analytics/views/security_events_hourly.sql
--!restore rooms/policies/chat_rooms.sql
--!restore rooms/policies/room_members.sql
--!restore rooms/policies/room_invites.sql

drop index
  security.login_attempts_created_at_idx,
  security.security_audit_log_created_at_idx;
