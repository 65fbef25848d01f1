drop materialized view analytics.subscription_metrics;
drop view billing.active_user_subscriptions;
drop function
  identity.users_tier(identity.users),
  billing.revise_plan(uuid, jsonb),
  billing.end_subscription(uuid),
  billing.pause_subscription(uuid),
  billing.grant_subscription(uuid, uuid),
  billing.change_plan(uuid),
  billing.resume_subscription(),
  billing.cancel_subscription(),
  billing.subscribe(uuid),
  billing.current_subscription(uuid),
  private.grant_subscription_at(uuid, uuid, timestamptz),
  private.require_subscription_manager(),
  private.schedule_plan_at(uuid, uuid, timestamptz),
  private.set_cancellation_at(uuid, boolean, timestamptz),
  private.require_own_billing(billing.user_subscriptions),
  private.subscribe_at(uuid, uuid, timestamptz),
  private.offered_plan(uuid),
  private.lock_subscriber(uuid, timestamptz),
  private.refresh_subscription_metrics(),
  private.find_customer(text),
  private.prepare_checkout(uuid, text),
  private.receive_payment_event(text, text, text, text, timestamptz, jsonb),
  private.process_payment_events(integer),
  private.process_payment_event(uuid),
  private.settle_payment_event(private.payment_events),
  private.apply_payment_event(private.payment_events),
  private.follow_provider_plan(
    billing.user_subscriptions, billing.subscription_plans, private.provider_subscriptions, timestamptz
  ),
  private.apply_provider_subscription(text, text, timestamptz),
  private.merge_provider_subscription(text, text, text, jsonb),
  private.grant_free_quotas(integer),
  private.grant_free_quotas_at(integer, timestamptz),
  private.ensure_current_grants(uuid),
  private.ensure_grants_at(uuid, timestamptz, boolean),
  private.advance_subscriptions(integer),
  private.advance_subscriptions_at(integer, timestamptz),
  private.advance_subscription(uuid, timestamptz),
  private.unpause_subscription(uuid, timestamptz),
  private.pause_subscription(uuid, timestamptz),
  private.renew_subscription(uuid, text, timestamptz),
  private.grant_quota_difference(
    billing.user_subscriptions, billing.subscription_plans, billing.subscription_plans, bigint, bigint, timestamptz
  ),
  private.change_subscription_plan(uuid, uuid, timestamptz),
  private.require_same_currency(billing.subscription_plans, billing.subscription_plans),
  private.is_upgrade(billing.subscription_plans, billing.subscription_plans),
  private.start_subscription(uuid, uuid, boolean, timestamptz),
  private.transition_subscription(uuid, text, timestamptz, text),
  private.grant_quota(uuid),
  private.grant_free_quota(uuid, timestamptz),
  private.free_plan(),
  private.record_subscription_change(
    text, billing.user_subscriptions, billing.user_subscriptions, timestamptz, jsonb
  ),
  private.proration(bigint, bigint, timestamptz, timestamptz, timestamptz),
  private.subscription_period(text, timestamptz, timestamptz);
drop table
  private.free_quotas,
  private.provider_subscriptions,
  private.payment_events,
  billing.payments,
  billing.subscription_changes,
  private.subscription_transitions,
  billing.user_subscriptions,
  billing.provider_customers,
  billing.plan_prices,
  billing.subscription_plans;
drop function
  billing.check_subscription_status(),
  billing.keep_plan_terms(),
  billing.number_plan_version(),
  billing.record_plan_change();
delete from access.permissions where permission_name in ('manage_plans', 'manage_subscriptions');
