create view compat_ai_training.subscription_plans as
select
  p.id, p.plan_name as name, p.code, p.billing_cycle, compat_ai_training.major_units(p.price_cents, p.currency) as price, p.currency,
  p.trial_days, p.access_level, p.features, p.is_active, p.created_at, p.updated_at
from billing.subscription_plans p;

comment on view compat_ai_training.subscription_plans is 'Plans. Grain: one row per version of an offer.';
comment on column compat_ai_training.subscription_plans.id is 'Id.';
comment on column compat_ai_training.subscription_plans.name is 'Name of the plan.';
comment on column compat_ai_training.subscription_plans.code is 'Code of the plan, such as premium.';
comment on column compat_ai_training.subscription_plans.billing_cycle is 'Billing cycle: monthly, yearly or lifetime.';
comment on column compat_ai_training.subscription_plans.price is 'Price of one period in units of the currency.';
comment on column compat_ai_training.subscription_plans.currency is 'Currency (ISO 4217 code).';
comment on column compat_ai_training.subscription_plans.trial_days is 'Length of the trial in days; 0 for none.';
comment on column compat_ai_training.subscription_plans.access_level is 'Highest access level of content that the plan includes.';
comment on column compat_ai_training.subscription_plans.features is 'Features of the plan (JSON object).';
comment on column compat_ai_training.subscription_plans.is_active is 'Whether new subscriptions may choose the plan.';
comment on column compat_ai_training.subscription_plans.created_at is 'Time when the version was created.';
comment on column compat_ai_training.subscription_plans.updated_at is 'Time of the last change.';

create view compat_ai_training.user_subscriptions as
select
  s.id,
  s.user_id,
  s.plan_id,
  s.status,
  s.started_at,
  s.current_period_start,
  s.current_period_end,
  s.trial_end,
  s.cancel_at_period_end,
  s.ended_at as cancelled_at,
  s.provider,
  case when (select compat.reads_personal_data()) then s.provider_subscription_id end as provider_subscription_id,
  s.created_at,
  s.updated_at
from billing.user_subscriptions s;

comment on view compat_ai_training.user_subscriptions is 'Subscriptions, current and past. Grain: one row per subscription.';
comment on column compat_ai_training.user_subscriptions.id is 'Id.';
comment on column compat_ai_training.user_subscriptions.user_id is 'The subscriber.';
comment on column compat_ai_training.user_subscriptions.plan_id is 'The plan.';
comment on column compat_ai_training.user_subscriptions.status is
  'State: trialing, active, past_due, paused, canceled or expired.';
comment on column compat_ai_training.user_subscriptions.started_at is 'Time when the subscription started.';
comment on column compat_ai_training.user_subscriptions.current_period_start is 'Start of the period.';
comment on column compat_ai_training.user_subscriptions.current_period_end is
  'End of the period, exclusive; null for lifetime plans.';
comment on column compat_ai_training.user_subscriptions.trial_end is 'End of the trial; null without one.';
comment on column compat_ai_training.user_subscriptions.cancel_at_period_end is 'Whether it ends with the period.';
comment on column compat_ai_training.user_subscriptions.cancelled_at is
  'Time when it was canceled or expired; null while it is current.';
comment on column compat_ai_training.user_subscriptions.provider is 'Payment provider; null if none bills it.';
comment on column compat_ai_training.user_subscriptions.provider_subscription_id is 'Id at the provider; null for analysts.';
comment on column compat_ai_training.user_subscriptions.created_at is 'Time when the row was created.';
comment on column compat_ai_training.user_subscriptions.updated_at is 'Time of the last change.';

create view compat_ai_training.payments as
select
  p.id,
  p.user_id,
  p.subscription_id,
  compat_ai_training.major_units(p.amount_cents, p.currency) as amount,
  p.currency,
  p.status,
  compat_ai_training.major_units(p.refunded_cents, p.currency) as refunded_amount,
  p.provider,
  case when (select compat.reads_personal_data()) then p.provider_payment_id end as provider_payment_id,
  case when (select compat.reads_personal_data()) then p.failure_code end as failure_reason,
  p.paid_at,
  p.created_at,
  p.updated_at
from billing.payments p;

comment on view compat_ai_training.payments is 'Payments. Grain: one row per invoice or purchase.';
comment on column compat_ai_training.payments.id is 'Id.';
comment on column compat_ai_training.payments.user_id is 'The payer; null if the account was deleted.';
comment on column compat_ai_training.payments.subscription_id is 'The subscription paid for; null if unknown.';
comment on column compat_ai_training.payments.amount is 'Amount in units of the currency.';
comment on column compat_ai_training.payments.currency is 'Currency (ISO 4217 code).';
comment on column compat_ai_training.payments.status is
  'State: pending, succeeded, failed, refunded, partially_refunded or disputed.';
comment on column compat_ai_training.payments.refunded_amount is 'Refunded part of the amount.';
comment on column compat_ai_training.payments.provider is 'Payment provider.';
comment on column compat_ai_training.payments.provider_payment_id is 'Id at the provider; null for analysts.';
comment on column compat_ai_training.payments.failure_reason is 'The provider''s reason for a failure; null for analysts.';
comment on column compat_ai_training.payments.paid_at is 'Time of payment; null if not paid.';
comment on column compat_ai_training.payments.created_at is 'Time when the row was created.';
comment on column compat_ai_training.payments.updated_at is 'Time of the last change.';

create view compat_ai_training.subscription_changes as
select
  c.id, c.subscription_id, c.user_id, c.event as change_type, c.from_plan_id, c.to_plan_id,
  compat_ai_training.major_units(c.amount_cents, c.currency) as prorated_amount, c.effective_at, c.created_at
from billing.subscription_changes c;

comment on view compat_ai_training.subscription_changes is 'History of subscriptions. Grain: one row per change.';
comment on column compat_ai_training.subscription_changes.id is 'Id.';
comment on column compat_ai_training.subscription_changes.subscription_id is 'The subscription.';
comment on column compat_ai_training.subscription_changes.user_id is 'The subscriber.';
comment on column compat_ai_training.subscription_changes.change_type is 'Kind of change, such as started, upgraded or canceled.';
comment on column compat_ai_training.subscription_changes.from_plan_id is 'Plan before; null for the first change.';
comment on column compat_ai_training.subscription_changes.to_plan_id is 'Plan after.';
comment on column compat_ai_training.subscription_changes.prorated_amount is 'Charge less credit, in units of the currency.';
comment on column compat_ai_training.subscription_changes.effective_at is 'Time when the change took effect.';
comment on column compat_ai_training.subscription_changes.created_at is 'Time when it was recorded.';
