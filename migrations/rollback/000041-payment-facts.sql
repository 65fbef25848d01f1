--!restore billing/triggers/subscriptions.sql
--!restore private/functions/merge_provider_subscription.sql
--!restore private/functions/grant_quota.sql
--!restore private/functions/transition_subscription.sql
--!restore private/functions/change_subscription_plan.sql
--!restore private/functions/apply_provider_subscription.sql
--!restore private/functions/apply_payment_event.sql
drop function
  private.reopen_plan_grants(uuid),
  private.top_up_quota(uuid, timestamptz),
  private.plans_of_period(billing.user_subscriptions),
  private.close_unlimited_grants(uuid, uuid, timestamptz),
  private.quota_of_walk(bigint[], bigint[], bigint),
  private.conclude_provider_subscription(text, text),
  private.merge_payment_reversal(uuid, text, timestamptz, jsonb),
  private.payment_period(text, jsonb),
  private.merge_provider_invoice(text, text, jsonb),
  private.plan_period(text, jsonb);
delete from private.subscription_transitions t where t.is_providers;
alter table private.subscription_transitions drop column is_providers;
update private.provider_subscriptions m
set
  status = coalesce(m.standing, m.status),
  cancel_at_period_end = m.cancel_at_period_end or m.cancel_at is not null;
drop table private.payment_reversals, private.provider_invoices;
alter table private.provider_subscriptions
  drop constraint provider_subscriptions_price_history_is_an_object,
  drop column items,
  drop column price_history,
  drop column cancel_at,
  drop column standing,
  drop column paid_plan_id;
comment on table private.provider_subscriptions is 'One row per subscription at a payment provider: the sum of its events.';
comment on column private.provider_subscriptions.status is 'State by the latest event: incomplete, trialing, active, past_due, paused or canceled.';
comment on column private.provider_subscriptions.was_live is 'Whether any event saw it trialing, active, past_due or paused.';
comment on column private.provider_subscriptions.provider_price_id is 'The provider''s price by the latest event.';
comment on column private.provider_subscriptions.plan_id is 'The plan, where the event itself names one of ours.';
comment on column private.provider_subscriptions.period_start is 'Start of the latest period that an event names.';
comment on column private.provider_subscriptions.period_end is 'End of the latest period that an event names.';
comment on column private.provider_subscriptions.paid_period_end is 'Until when it is paid.';
comment on column private.provider_subscriptions.revoked_period_end is 'Until when payments were given back in full or are disputed.';
