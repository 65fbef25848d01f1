drop table security.login_attempts, security.security_audit_log;
drop function
  security.track_login_attempt(uuid, text, inet, text, text, text),
  private.lockout_duration(integer),
  private.record_security_event(text, uuid, jsonb, text),
  private.ensure_partitions(integer),
  private.lock_for_new_partition(regclass);
