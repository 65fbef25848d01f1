drop view
  analytics.daily_usage_cost, analytics.daily_token_usage, billing.monthly_usage, billing.token_hold_allocations;
drop trigger _700_record_usage on llm.messages;
drop trigger _700_record_changed_usage on llm.messages;
drop function llm.record_messages_usage();
drop function
  billing.token_balance(),
  billing.has_tokens(bigint),
  billing.reserve_tokens(uuid, bigint, text),
  private.record_message_usage(llm.messages, timestamptz),
  private.token_balance_at(uuid, timestamptz),
  private.available_grants(uuid, timestamptz),
  private.retire_token_grants(integer, timestamptz),
  private.reset_usage_tracking(integer, timestamptz),
  private.expire_token_holds(integer, timestamptz),
  private.close_plan_grant(uuid, uuid, timestamptz, bigint, timestamptz, text, timestamptz),
  private.grant_tokens(uuid, bigint, text, uuid, integer, timestamptz, timestamptz, text, timestamptz),
  private.correct_usage(uuid, bigint, bigint, text, bigint, bigint, timestamptz),
  private.record_usage(uuid, uuid, bigint, bigint, text, bigint, bigint, timestamptz, uuid, timestamptz),
  private.release_hold(uuid, timestamptz),
  private.settle_hold(uuid, bigint, bigint, bigint, bigint, timestamptz, uuid, timestamptz),
  private.reserve_tokens(uuid, uuid, bigint, text, interval, timestamptz),
  private.limits_passed(uuid, uuid, bigint, boolean, timestamptz),
  private.claim_message(billing.usage_events, timestamptz),
  private.used_key(uuid, text, text, jsonb),
  private.check_token_counts(bigint, bigint, bigint, bigint),
  private.apply_correction(uuid, bigint, bigint, bigint, bigint, text, timestamptz),
  private.post_usage_event(billing.usage_events),
  private.take_tokens(uuid, bigint, boolean, timestamptz),
  private.try_lock_usage(uuid),
  private.lock_usage(uuid, timestamptz),
  private.expire_user_holds(uuid, timestamptz, timestamptz),
  private.current_plan_code(uuid);
drop trigger _500_forget_entitlement on billing.user_subscriptions;
drop function billing.forget_entitlement();
drop table
  billing.usage_limits, billing.daily_usage, private.usage_keys, billing.usage_events, billing.token_holds,
  billing.token_grants, billing.usage_tracking;
drop function billing.forget_usage_account();
drop type billing.token_balance, billing.grant_balance;

drop view analytics.model_catalogue, billing.current_model_prices;
drop function private.wanted_prices(jsonb);
alter table billing.model_prices drop column reasoning_price_per_million_tokens;
--!restore private/functions/wanted_prices.sql
--!restore private/functions/import_models.sql
--!restore billing/policies/model_prices.sql
--!restore billing/views/current_model_prices.sql
--!restore analytics/views/model_catalogue.sql
--!restore llm/triggers/chats_activity.sql
