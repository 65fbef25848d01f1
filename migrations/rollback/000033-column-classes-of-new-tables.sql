delete from security.column_classes c
where c.schema_name = 'private'
  and c.table_name in (
    'account_days', 'account_usage_days', 'audit_blocks', 'audit_commitments', 'days_to_roll_up', 'revenue_days', 'roll_up_state',
    'rolled_up_accounts', 'sign_in_days'
  )
  or c.schema_name = 'security'
  and c.table_name in ('audit_trail', 'security_audit_log')
  and c.column_name in (
    'acting_role', 'actor_kind', 'api_token_id', 'content_salt', 'fixed_salt', 'has_ignored_claims', 'job_name', 'migration', 'session_id'
  );
