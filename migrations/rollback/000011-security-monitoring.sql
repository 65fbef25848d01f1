drop view
  identity.user_security_status, analytics.account_security, analytics.security_events_hourly,
  analytics.failed_logins_by_network, analytics.sessions_by_state;

drop trigger _500_record_network_change on identity.user_sessions;
drop trigger _700_forget_data_changes on identity.users;
drop trigger _700_record_data_change on identity.users;
drop trigger _700_record_data_change on identity.user_settings;
drop trigger _700_record_data_change on identity.user_security_settings;
drop trigger _700_record_data_change on access.roles;
drop trigger _700_record_data_change on access.permissions;
drop trigger _700_record_data_change on access.role_permissions;
drop trigger _700_record_data_change on access.user_roles;
drop trigger _700_record_data_change on access.user_model_access;
drop trigger _700_record_data_change on llm.model_providers;
drop trigger _700_record_data_change on llm.models;
drop trigger _700_record_data_change on billing.model_prices;

drop function
  private.record_session_network_change(),
  private.detect_suspicious_activity(timestamptz),
  private.report_suspicious_activity(text, uuid, jsonb, text),
  private.suspicious_subjects(timestamptz),
  private.network_of(inet),
  private.client_network_of(inet),
  private.record_error(uuid, uuid, text, text, text, jsonb, text, timestamptz),
  private.delete_old_error_logs(integer),
  private.delete_expired_rate_limits(integer),
  private.lease_requests(text, integer, interval, integer),
  private.enforce_rate_limit(text, text),
  private.consume_rate_limit_rule(text, text),
  security.consume_rate_limit(text, text, integer, interval, integer);

drop table
  security.rate_limit_rules, security.rate_limit_records, security.suspicious_activity_rules,
  security.audit_trail, security.error_logs;
drop function
  private.consume_rate_limit_at(text, text, integer, interval, integer, timestamptz, jsonb),
  private.record_data_change(),
  private.forget_data_changes();

delete from access.permissions where permission_name = 'manage_security';

--!restore private/functions/record_security_event.sql
