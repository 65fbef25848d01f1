--!restore billing/private/token_balance_at.sql
comment on column billing.usage_tracking.last_reset is
  'Start of the period counted in token_count: the first moment of a month (UTC).';
