-- The totals that are kept here go: activity that was deleted, and days whose log was archived, cannot be summed again.
drop view
  analytics.roll_ups,
  analytics.account_activity,
  analytics.daily_active_accounts,
  analytics.retention_cohorts,
  analytics.sign_up_funnel,
  analytics.feature_use_by_plan,
  analytics.daily_usage_by_plan,
  analytics.daily_revenue,
  analytics.revenue_and_cost,
  analytics.item_completion,
  analytics.room_activity;
--!restore analytics/views/daily_sign_ins.sql
--!restore analytics/views/daily_model_usage.sql
--!restore analytics/views/daily_registrations.sql
--!restore analytics/views/subscription_metrics.sql
--!restore llm/private/import_messages.sql
drop trigger _500_request_roll_up_of_moved on billing.payments;
drop trigger _500_request_roll_up_of_deleted on billing.payments;
drop function
  analytics.major_units(numeric, text),
  private.request_roll_up_of_payment(),
  private.roll_up_day(),
  private.roll_up_sign_ins(date, timestamptz, timestamptz),
  private.roll_up_revenue(date),
  private.roll_up_usage(date, timestamptz),
  private.roll_up_activity(date, timestamptz, timestamptz),
  private.find_days_to_roll_up(),
  private.plan_code_at(uuid, timestamptz),
  private.uuid_v7_at(timestamptz);
drop index
  rooms.room_messages_created_at_idx,
  learning.content_consumption_created_at_started_at_idx,
  billing.daily_usage_day_idx,
  billing.payments_paid_at_idx,
  billing.payments_updated_at_idx;
drop table
  private.revenue_days,
  private.account_usage_days,
  private.sign_in_days,
  private.account_days,
  private.rolled_up_accounts,
  private.days_to_roll_up,
  private.roll_up_state;
