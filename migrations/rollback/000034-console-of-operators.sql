drop function
  identity.inspect_account(text),
  security.error_counts(integer),
  security.revenue_counts(integer),
  security.token_use_counts(integer),
  security.activity_counts(integer),
  security.sign_in_counts(integer),
  security.system_state(),
  private.system_findings(jsonb),
  private.operations_buckets(integer),
  private.require_operations(integer);

drop type
  identity.inspected_account,
  identity.inspected_session,
  security.error_count,
  security.revenue_count,
  security.token_use_count,
  security.activity_count,
  security.sign_in_count,
  security.system_state,
  security.log_state,
  security.queue_state,
  security.system_finding;

delete from access.permissions where permission_name = 'read_operations';
