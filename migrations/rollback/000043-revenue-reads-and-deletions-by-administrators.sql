--!restore analytics/private/roll_up_revenue.sql
--!restore analytics/views/daily_revenue.sql
--!restore analytics/views/revenue_and_cost.sql
--!restore security/functions/revenue_counts.sql
--!restore security/private/begin_erasure.sql
--!restore identity/policies/users.sql

drop function access.model_access_of(uuid);
--!restore access/functions/model_access_of.sql

alter type security.revenue_count drop attribute net;
alter type security.revenue_count drop attribute disputed;
alter type security.revenue_count drop attribute disputed_cents;
drop function private.disputed_cents(bigint, bigint, timestamptz);
