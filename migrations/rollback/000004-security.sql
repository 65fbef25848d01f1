drop trigger _700_forget_data_changes on identity.users;

drop function
  private.client_network_of(inet),
  private.consume_rate_limit_at(text, text, integer, interval, integer, timestamptz, jsonb),
  private.consume_rate_limit_rule(text, text),
  private.delete_expired_rate_limits(integer),
  private.delete_old_error_logs(integer),
  private.detect_suspicious_activity(timestamptz),
  private.enforce_rate_limit(text, text),
  private.erase_errors(uuid),
  private.erase_login_attempts(identity.users),
  private.erase_security_events(uuid),
  private.forget_data_changes(),
  private.lease_requests(text, integer, interval, integer),
  private.lockout_duration(integer),
  private.network_of(inet),
  private.notification_of(text, jsonb),
  private.record_error(uuid, uuid, text, text, text, jsonb, text, timestamptz),
  private.record_security_event(text, uuid, jsonb, text),
  private.report_suspicious_activity(text, uuid, jsonb, text),
  private.suspicious_subjects(timestamptz),
  security.consume_rate_limit(text, text, integer, interval, integer),
  security.read_client_address(text),
  security.track_login_attempt(uuid, text, inet, text, text, text),
  security.track_login_attempt(uuid, text, text, text, text, text);

drop table
  security.error_logs,
  security.audit_trail,
  security.suspicious_activity_rules,
  security.rate_limit_records,
  security.rate_limit_rules,
  security.security_audit_log,
  security.login_attempts;
