--! Previous: sha1:8b05bab65f44eb99aa43d9095061c360220d9c62
--! Hash: sha1:2510d454fb2d64fb22bd4fc15810817c76465fd1
--! Message: audit of plans and limits

-- Plans, their prices at providers and limits on usage are in the audit trail, too.
--! Included billing/triggers/audit_trail.sql
-- What is sold for how much, and who may use how much, is worth knowing later. See security/triggers/audit_trail.sql; what
-- becomes of a subscription stands in subscription_changes. The features of a plan are the product's and may hold anything.
create or replace trigger _700_record_data_change
  after insert or update or delete on billing.subscription_plans
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'features');

create or replace trigger _700_record_data_change
  after insert or update or delete on billing.plan_prices
  for each row
  execute function private.record_data_change('provider,provider_price_id', '', '', '');

create or replace trigger _700_record_data_change
  after insert or update or delete on billing.usage_limits
  for each row
  execute function private.record_data_change('id', 'user_id', 'updated_at', '');
--! EndIncluded billing/triggers/audit_trail.sql
