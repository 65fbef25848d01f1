--! Previous: sha1:27d3b47092c8ca2b290f9d51e6857524b57fe0e7
--! Hash: sha1:b15b92e6288df0558593c75c0e599e812fa24af1
--! Message: plans and subscriptions

-- Plans, subscriptions and payments. Money is integer cents with a currency; every period is in UTC and keeps its day.

-- What is offered. A row is one version of one offer (code, cycle, currency); its terms never change, because subscriptions
-- stand on them: a change is a new row.
create table billing.subscription_plans (
  id uuid primary key default plinth.uuid_v7(),
  code text not null,
  plan_name text not null,
  version integer not null default 1,
  billing_cycle text not null default 'monthly',
  price_cents bigint not null,
  currency text not null default 'USD',
  trial_days integer not null default 0,
  token_quota bigint,
  rollover_limit bigint not null default 0,
  features jsonb not null default '{}',
  access_level integer not null default 0,
  is_active boolean not null default true,
  superseded_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint subscription_plans_offer_version_key unique (code, billing_cycle, currency, version),
  constraint subscription_plans_code_check check (code ~ '^[a-z][a-z0-9_]{0,49}$'),
  constraint subscription_plans_plan_name_check check (length(plan_name) between 1 and 100 and plan_name !~ '[[:cntrl:]]'),
  constraint subscription_plans_version_is_positive check (version > 0),
  constraint subscription_plans_billing_cycle_check check (billing_cycle in ('monthly', 'yearly', 'lifetime')),
  -- Ten million units: products with their seconds stay far inside a bigint.
  constraint subscription_plans_price_cents_check check (price_cents between 0 and 1000000000),
  constraint subscription_plans_currency_check check (currency ~ '^[A-Z]{3}$'),
  constraint subscription_plans_trial_days_check check (trial_days between 0 and 365),
  constraint subscription_plans_token_quota_check check (token_quota between 0 and 1000000000000000),
  constraint subscription_plans_rollover_limit_is_not_negative check (rollover_limit >= 0),
  constraint subscription_plans_features_is_an_object check (jsonb_typeof(features) = 'object'),
  constraint subscription_plans_access_level_check check (access_level between 0 and 1000000),
  constraint subscription_plans_free_means_free check (code <> 'free' or (price_cents = 0 and billing_cycle = 'monthly' and trial_days = 0))
);

alter table billing.subscription_plans enable row level security;

-- The version on offer is one: two changes at once cannot both be the newest.
create unique index subscription_plans_newest_version_idx
  on billing.subscription_plans (code, billing_cycle, currency) where superseded_at is null;

comment on table billing.subscription_plans is
  'One row per version of an offer: a plan code, a billing cycle and a currency. Terms of a version never change.';
comment on column billing.subscription_plans.id is 'UUIDv7.';
comment on column billing.subscription_plans.code is 'What the plan is called in rules and as the tier of its users, such as free or premium.';
comment on column billing.subscription_plans.plan_name is 'Name shown to people.';
comment on column billing.subscription_plans.version is 'Counts the versions of the offer from 1; set by the database.';
comment on column billing.subscription_plans.billing_cycle is 'monthly, yearly or lifetime (paid once, never ends).';
comment on column billing.subscription_plans.price_cents is 'Price of one period in the currency''s smallest unit.';
comment on column billing.subscription_plans.currency is 'ISO 4217 code.';
comment on column billing.subscription_plans.trial_days is 'Days to try it for nothing, once per user; 0 means no trial.';
comment on column billing.subscription_plans.token_quota is
  'Tokens granted per billing period (lifetime: per month); null means unlimited.';
comment on column billing.subscription_plans.rollover_limit is 'How many unused tokens are carried into the next period at most.';
comment on column billing.subscription_plans.features is 'What the plan includes, for the application (JSON object).';
comment on column billing.subscription_plans.access_level is 'Content of this level and below is included.';
comment on column billing.subscription_plans.is_active is 'Whether new subscriptions may choose it.';
comment on column billing.subscription_plans.superseded_at is 'When a newer version took its place; null for the newest.';
comment on column billing.subscription_plans.created_at is 'When the version was made.';
comment on column billing.subscription_plans.updated_at is 'When the row last changed.';

-- Which price at a payment provider sells which version.
create table billing.plan_prices (
  plan_id uuid not null references billing.subscription_plans on delete cascade,
  provider text not null,
  provider_price_id text not null,
  created_at timestamptz not null default now(),
  primary key (provider, provider_price_id),
  constraint plan_prices_provider_check check (provider ~ '^[a-z][a-z0-9_]{0,49}$'),
  constraint plan_prices_provider_price_id_check check (length(provider_price_id) between 1 and 255)
);

alter table billing.plan_prices enable row level security;

-- Serves the foreign key and the way from a plan to its price.
create index plan_prices_plan_id_provider_idx on billing.plan_prices (plan_id, provider);

comment on table billing.plan_prices is 'One row per price at a payment provider; several may sell one plan.';
comment on column billing.plan_prices.plan_id is 'The plan sold.';
comment on column billing.plan_prices.provider is 'The payment provider, such as stripe.';
comment on column billing.plan_prices.provider_price_id is 'The provider''s id, such as price_….';
comment on column billing.plan_prices.created_at is 'When the row was added.';

-- Who the user is at a payment provider.
create table billing.provider_customers (
  provider text not null,
  provider_customer_id text not null,
  user_id uuid not null references identity.users on delete cascade,
  created_at timestamptz not null default now(),
  primary key (provider, provider_customer_id),
  constraint provider_customers_provider_check check (provider ~ '^[a-z][a-z0-9_]{0,49}$'),
  constraint provider_customers_provider_customer_id_check check (length(provider_customer_id) between 1 and 255)
);

alter table billing.provider_customers enable row level security;

-- Serves the foreign key and the way from a user to the customer.
create index provider_customers_user_id_idx on billing.provider_customers (user_id);

comment on table billing.provider_customers is 'One row per customer at a payment provider; a user may be several.';
comment on column billing.provider_customers.provider is 'The payment provider, such as stripe.';
comment on column billing.provider_customers.provider_customer_id is 'The provider''s id, such as cus_….';
comment on column billing.provider_customers.user_id is 'The user.';
comment on column billing.provider_customers.created_at is 'When the tie was made.';

-- A user's subscriptions, past ones too. One is current: trialing, active, past_due or paused.
create table billing.user_subscriptions (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references identity.users on delete cascade,
  plan_id uuid not null references billing.subscription_plans on delete restrict,
  status text not null,
  started_at timestamptz not null,
  anchor_at timestamptz not null,
  current_period_start timestamptz not null,
  current_period_end timestamptz,
  cancel_at_period_end boolean not null default false,
  pending_plan_id uuid references billing.subscription_plans on delete restrict,
  renewal_date date generated always as (
    case
      when status in ('trialing', 'active') and not cancel_at_period_end
        then (current_period_end at time zone 'UTC')::date
    end
  ) stored,
  trial_end timestamptz,
  past_due_since timestamptz,
  paused_at timestamptz,
  ended_at timestamptz,
  quota_period_start timestamptz not null,
  quota_period_end timestamptz not null,
  quota_granted_from timestamptz,
  provider text,
  provider_subscription_id text,
  -- In UTC, where a day has 24 hours, so that it can be stored. Providers tell of a renewal within a day.
  due_at timestamptz generated always as (
    case
      when status = 'past_due' then (past_due_since at time zone 'UTC' + interval '7 days') at time zone 'UTC'
      when status in ('trialing', 'active') and provider is not null and current_period_end is not null
        then (quota_period_end at time zone 'UTC' + interval '1 day') at time zone 'UTC'
      when status in ('trialing', 'active') then quota_period_end
    end
  ) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint user_subscriptions_provider_subscription_key unique (provider, provider_subscription_id),
  constraint user_subscriptions_status_check
    check (status in ('trialing', 'active', 'past_due', 'paused', 'canceled', 'expired')),
  constraint user_subscriptions_period_starts_before_it_ends check (current_period_start < current_period_end),
  constraint user_subscriptions_quota_period_starts_before_it_ends check (quota_period_start < quota_period_end),
  constraint user_subscriptions_trialing_has_an_end check (status <> 'trialing' or trial_end is not null),
  constraint user_subscriptions_past_due_has_a_beginning check ((status = 'past_due') = (past_due_since is not null)),
  constraint user_subscriptions_paused_has_a_beginning check ((status = 'paused') = (paused_at is not null)),
  constraint user_subscriptions_ended_has_an_end check ((status in ('canceled', 'expired')) = (ended_at is not null)),
  constraint user_subscriptions_provider_names_the_subscription check ((provider is null) = (provider_subscription_id is null)),
  constraint user_subscriptions_provider_check check (provider ~ '^[a-z][a-z0-9_]{0,49}$')
);

alter table billing.user_subscriptions enable row level security;

-- One current subscription per user, however many clients ask at once.
create unique index user_subscriptions_one_current_idx
  on billing.user_subscriptions (user_id) where status in ('trialing', 'active', 'past_due', 'paused');
-- One trial per user; those that a payment provider gives are its business.
create unique index user_subscriptions_one_trial_idx
  on billing.user_subscriptions (user_id) where trial_end is not null and provider is null;
-- Serves the foreign key and "is it active".
create index user_subscriptions_user_id_status_idx on billing.user_subscriptions (user_id, status);
-- Serve the foreign keys.
create index user_subscriptions_plan_id_idx on billing.user_subscriptions (plan_id);
create index user_subscriptions_pending_plan_id_idx on billing.user_subscriptions (pending_plan_id);
-- What the job has to do next.
create index user_subscriptions_due_at_idx on billing.user_subscriptions (due_at) where due_at is not null;

comment on table billing.user_subscriptions is 'One row per subscription of a user, current and past; one is current at most.';
comment on column billing.user_subscriptions.id is 'UUIDv7.';
comment on column billing.user_subscriptions.user_id is 'Who subscribed.';
comment on column billing.user_subscriptions.plan_id is 'The version of the plan it stands on.';
comment on column billing.user_subscriptions.status is 'trialing, active, past_due or paused (current), canceled or expired (ended).';
comment on column billing.user_subscriptions.started_at is 'When it began.';
comment on column billing.user_subscriptions.anchor_at is
  'Periods begin at this day and time of the month (UTC), or on the last day of shorter months.';
comment on column billing.user_subscriptions.current_period_start is 'First moment of the current period.';
comment on column billing.user_subscriptions.current_period_end is 'First moment after the current period; null for lifetime.';
comment on column billing.user_subscriptions.cancel_at_period_end is 'Whether it ends with the current period instead of renewing.';
comment on column billing.user_subscriptions.pending_plan_id is 'The plan that takes over at the end of the period; null for no change.';
comment on column billing.user_subscriptions.renewal_date is 'Day (UTC) of the next renewal; null when it does not renew.';
comment on column billing.user_subscriptions.trial_end is 'End of the trial; null when there was none.';
comment on column billing.user_subscriptions.past_due_since is 'Since when a payment is owed; null unless past_due.';
comment on column billing.user_subscriptions.paused_at is 'Since when it is paused; null unless paused.';
comment on column billing.user_subscriptions.ended_at is 'When it was canceled or expired; null while it is current.';
comment on column billing.user_subscriptions.quota_period_start is 'First moment of the period that the token quota is for.';
comment on column billing.user_subscriptions.quota_period_end is 'First moment after it; for lifetime plans a month, else as the billing period.';
comment on column billing.user_subscriptions.quota_granted_from is 'Start of the latest period whose quota was granted; null before the first.';
comment on column billing.user_subscriptions.provider is 'Payment provider that bills it; null when none does.';
comment on column billing.user_subscriptions.provider_subscription_id is 'The provider''s id of the subscription.';
comment on column billing.user_subscriptions.due_at is
  'When the job looks at it next: the period''s end (a day later where a provider bills), or a week after a payment was owed.';
comment on column billing.user_subscriptions.created_at is 'When the row was added.';
comment on column billing.user_subscriptions.updated_at is 'When the row last changed.';

-- The state machine, as data: what may happen in which state and where it leads. A trigger refuses every other step.
create table private.subscription_transitions (
  from_status text not null,
  event text not null,
  to_status text not null,
  primary key (from_status, event)
);

alter table private.subscription_transitions enable row level security;

comment on table private.subscription_transitions is 'One row per state of a subscription and event that is allowed in it.';
comment on column private.subscription_transitions.from_status is 'The state before.';
comment on column private.subscription_transitions.event is 'What happens.';
comment on column private.subscription_transitions.to_status is 'The state after.';

insert into private.subscription_transitions (from_status, event, to_status) values
  ('trialing', 'payment_succeeded', 'active'),
  ('active', 'payment_succeeded', 'active'),
  ('past_due', 'payment_succeeded', 'active'),
  ('expired', 'payment_succeeded', 'active'),
  -- A provider ends what had run out here already.
  ('expired', 'canceled', 'canceled'),
  ('trialing', 'payment_failed', 'past_due'),
  ('active', 'payment_failed', 'past_due'),
  ('past_due', 'payment_failed', 'past_due'),
  ('trialing', 'trial_ended', 'expired'),
  ('trialing', 'renewed', 'active'),
  ('active', 'renewed', 'active'),
  ('past_due', 'grace_ended', 'expired'),
  ('active', 'paused', 'paused'),
  ('paused', 'resumed', 'active'),
  ('trialing', 'canceled', 'canceled'),
  ('active', 'canceled', 'canceled'),
  ('past_due', 'canceled', 'canceled'),
  ('paused', 'canceled', 'canceled'),
  ('trialing', 'revoked', 'expired'),
  ('active', 'revoked', 'expired'),
  ('past_due', 'revoked', 'expired'),
  ('paused', 'revoked', 'expired');
-- A payment provider that bills a subscription is its clock: any current state may follow any other.
insert into private.subscription_transitions (from_status, event, to_status)
select f.status, 'provider_' || t.status, t.status
from unnest(array['trialing', 'active', 'past_due', 'paused']) f (status)
cross join unnest(array['trialing', 'active', 'past_due', 'paused']) t (status);

-- What happened to subscriptions: every change of state, plan and period, with what it cost.
create table billing.subscription_changes (
  id uuid primary key default plinth.uuid_v7(),
  subscription_id uuid not null references billing.user_subscriptions on delete cascade,
  user_id uuid not null references identity.users on delete cascade,
  event text not null,
  from_status text,
  to_status text not null,
  from_plan_id uuid references billing.subscription_plans on delete restrict,
  to_plan_id uuid not null references billing.subscription_plans on delete restrict,
  credit_cents bigint not null default 0,
  charge_cents bigint not null default 0,
  amount_cents bigint not null generated always as (credit_cents + charge_cents) stored,
  currency text not null,
  period_seconds bigint,
  unused_seconds bigint,
  tokens_granted bigint not null default 0,
  effective_at timestamptz not null,
  created_at timestamptz not null default now(),
  constraint subscription_changes_event_check check (event ~ '^[a-z][a-z_]{0,49}$'),
  constraint subscription_changes_credit_is_not_positive check (credit_cents <= 0),
  constraint subscription_changes_charge_is_not_negative check (charge_cents >= 0),
  constraint subscription_changes_unused_is_part_of_the_period check (unused_seconds between 0 and period_seconds),
  constraint subscription_changes_tokens_granted_is_not_negative check (tokens_granted >= 0)
);

alter table billing.subscription_changes enable row level security;

-- A subscription's history in order; serves the foreign key and the metrics.
create index subscription_changes_subscription_id_effective_at_idx
  on billing.subscription_changes (subscription_id, effective_at, id);
-- Serve the foreign keys.
create index subscription_changes_user_id_idx on billing.subscription_changes (user_id);
create index subscription_changes_from_plan_id_idx on billing.subscription_changes (from_plan_id);
create index subscription_changes_to_plan_id_idx on billing.subscription_changes (to_plan_id);

comment on table billing.subscription_changes is 'One row per change of a subscription''s state, plan or period; never changed afterwards.';
comment on column billing.subscription_changes.id is 'UUIDv7; sorts changes of the same moment.';
comment on column billing.subscription_changes.subscription_id is 'The subscription.';
comment on column billing.subscription_changes.user_id is 'Whose it is.';
comment on column billing.subscription_changes.event is 'What happened, such as started, upgraded, renewed, paused or canceled.';
comment on column billing.subscription_changes.from_status is 'State before; null for the first.';
comment on column billing.subscription_changes.to_status is 'State after.';
comment on column billing.subscription_changes.from_plan_id is 'Plan before; null for the first.';
comment on column billing.subscription_changes.to_plan_id is 'Plan after.';
comment on column billing.subscription_changes.credit_cents is 'Proration: the unused part of the old plan''s price, zero or negative.';
comment on column billing.subscription_changes.charge_cents is 'Proration: what the new plan costs for the rest of the period, or a period''s price.';
comment on column billing.subscription_changes.amount_cents is 'Credit and charge together: what is owed (or, below zero, given back).';
comment on column billing.subscription_changes.currency is 'ISO 4217 code of the amounts.';
comment on column billing.subscription_changes.period_seconds is 'Proration: length of the period in seconds.';
comment on column billing.subscription_changes.unused_seconds is 'Proration: seconds of it that were left.';
comment on column billing.subscription_changes.tokens_granted is 'Tokens added because of a change of plan.';
comment on column billing.subscription_changes.effective_at is 'When it took effect, which a late job or event looks back to.';
comment on column billing.subscription_changes.created_at is 'When it was recorded.';

-- What was paid. Nothing of the means of payment is kept. The state follows from what happened and so cannot go back.
create table billing.payments (
  id uuid primary key default plinth.uuid_v7(),
  -- Books are kept longer than accounts.
  user_id uuid references identity.users on delete set null,
  subscription_id uuid references billing.user_subscriptions on delete set null,
  plan_id uuid references billing.subscription_plans on delete restrict,
  provider text not null,
  provider_payment_id text not null,
  provider_reference text,
  provider_subscription_id text,
  amount_cents bigint not null,
  refunded_cents bigint not null default 0,
  currency text not null,
  period_start timestamptz,
  period_end timestamptz,
  paid_at timestamptz,
  failed_at timestamptz,
  disputed_at timestamptz,
  failure_code text,
  status text not null generated always as (
    case
      when disputed_at is not null then 'disputed'
      when refunded_cents > 0 and refunded_cents >= amount_cents then 'refunded'
      when refunded_cents > 0 then 'partially_refunded'
      when paid_at is not null then 'succeeded'
      when failed_at is not null then 'failed'
      else 'pending'
    end
  ) stored,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint payments_provider_payment_key unique (provider, provider_payment_id),
  constraint payments_status_check
    check (status in ('pending', 'succeeded', 'failed', 'refunded', 'partially_refunded', 'disputed')),
  constraint payments_amount_cents_is_not_negative check (amount_cents >= 0),
  constraint payments_refunded_cents_is_part_of_the_amount check (refunded_cents between 0 and amount_cents),
  constraint payments_currency_check check (currency ~ '^[A-Z]{3}$'),
  constraint payments_failure_code_check check (failure_code ~ '^[a-z][a-z0-9_]{0,99}$')
);

alter table billing.payments enable row level security;

-- Serve the foreign keys; the first also lists a user's payments.
create index payments_user_id_created_at_idx on billing.payments (user_id, created_at);
create index payments_subscription_id_idx on billing.payments (subscription_id);
create index payments_plan_id_idx on billing.payments (plan_id);
-- A refund names the transaction, not the invoice.
create index payments_provider_reference_idx on billing.payments (provider, provider_reference);
create index payments_provider_subscription_idx on billing.payments (provider, provider_subscription_id);

comment on table billing.payments is 'One row per invoice or purchase at a payment provider. Holds nothing of the means of payment.';
comment on column billing.payments.id is 'UUIDv7.';
comment on column billing.payments.user_id is 'Who paid; null once the account is deleted.';
comment on column billing.payments.subscription_id is 'The subscription paid for; null when unknown or deleted.';
comment on column billing.payments.plan_id is 'The plan paid for; null when unknown.';
comment on column billing.payments.provider is 'The payment provider, such as stripe.';
comment on column billing.payments.provider_payment_id is 'The provider''s id of the invoice or purchase.';
comment on column billing.payments.provider_reference is 'The provider''s id of the transaction, by which refunds and disputes name it.';
comment on column billing.payments.provider_subscription_id is 'The provider''s id of the subscription paid for; null for none.';
comment on column billing.payments.amount_cents is 'What was asked for, in the currency''s smallest unit.';
comment on column billing.payments.refunded_cents is 'How much of it was given back.';
comment on column billing.payments.currency is 'ISO 4217 code.';
comment on column billing.payments.period_start is 'First moment of the period paid for; null when it is for none.';
comment on column billing.payments.period_end is 'First moment after it; null when it does not end.';
comment on column billing.payments.paid_at is 'When it was paid; null if not yet.';
comment on column billing.payments.failed_at is 'When an attempt last failed; null if none did.';
comment on column billing.payments.disputed_at is 'When the payer disputed it; null if not.';
comment on column billing.payments.failure_code is 'The provider''s word for why an attempt failed.';
comment on column billing.payments.status is 'pending, succeeded, failed, refunded, partially_refunded or disputed; follows from the columns above.';
comment on column billing.payments.created_at is 'When the row was added.';
comment on column billing.payments.updated_at is 'When the row last changed.';

-- The inbox of payment providers: first kept, then worked on, so that nothing is lost in between.
create table private.payment_events (
  id uuid primary key default plinth.uuid_v7(),
  provider text not null,
  provider_event_id text not null,
  event_type text not null,
  provider_customer_id text,
  occurred_at timestamptz not null,
  payload jsonb not null default '{}',
  received_at timestamptz not null default now(),
  processed_at timestamptz,
  outcome text,
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  constraint payment_events_provider_event_key unique (provider, provider_event_id),
  constraint payment_events_provider_check check (provider ~ '^[a-z][a-z0-9_]{0,49}$'),
  constraint payment_events_provider_event_id_check check (length(provider_event_id) between 1 and 255),
  constraint payment_events_event_type_check check (length(event_type) between 1 and 255),
  constraint payment_events_payload_is_a_small_object check (jsonb_typeof(payload) = 'object' and pg_column_size(payload) < 10000),
  constraint payment_events_processed_has_an_outcome check (processed_at is null or outcome is not null)
);

alter table private.payment_events enable row level security;

-- What is still to do, soonest first.
create index payment_events_next_attempt_at_idx on private.payment_events (next_attempt_at) where processed_at is null;
-- What waits for a customer's other events.
create index payment_events_customer_idx
  on private.payment_events (provider, provider_customer_id) where processed_at is null;

comment on table private.payment_events is 'One row per event that a payment provider sent, unknown kinds too.';
comment on column private.payment_events.id is 'UUIDv7.';
comment on column private.payment_events.provider is 'The payment provider, such as stripe.';
comment on column private.payment_events.provider_event_id is 'The provider''s id: the same event sent again is the same row.';
comment on column private.payment_events.event_type is 'The provider''s name for what happened.';
comment on column private.payment_events.provider_customer_id is 'The provider''s id of the customer concerned; null when it names none.';
comment on column private.payment_events.occurred_at is 'When it happened, by the provider''s clock; later ones win.';
comment on column private.payment_events.payload is 'The listed fields that are needed, and no others (JSON object).';
comment on column private.payment_events.received_at is 'When it arrived first.';
comment on column private.payment_events.processed_at is 'When it was dealt with; null while it is to be done or waits.';
comment on column private.payment_events.outcome is 'applied, ignored, or why it waits.';
comment on column private.payment_events.attempts is 'How often it was tried in vain.';
comment on column private.payment_events.next_attempt_at is 'When it is tried next.';

-- What the provider's events say of one of its subscriptions, merged so that their order of arrival makes no difference:
-- each column takes the word of the latest event that speaks of it, or the largest value.
create table private.provider_subscriptions (
  provider text not null,
  provider_subscription_id text not null,
  provider_customer_id text,
  -- The account may be unknown yet, and may go before the provider stops sending.
  user_id uuid references identity.users on delete cascade,
  status text,
  status_order text,
  was_live boolean not null default false,
  provider_price_id text,
  plan_id uuid references billing.subscription_plans on delete restrict,
  cancel_at_period_end boolean not null default false,
  trial_end timestamptz,
  object_order text,
  started_at timestamptz,
  ended_at timestamptz,
  period_start timestamptz,
  period_end timestamptz,
  paid_period_end timestamptz,
  revoked_period_end timestamptz,
  updated_at timestamptz not null default now(),
  primary key (provider, provider_subscription_id)
);

alter table private.provider_subscriptions enable row level security;

-- Serve the foreign keys.
create index provider_subscriptions_user_id_idx on private.provider_subscriptions (user_id);
create index provider_subscriptions_plan_id_idx on private.provider_subscriptions (plan_id);

comment on table private.provider_subscriptions is 'One row per subscription at a payment provider: the sum of its events.';
comment on column private.provider_subscriptions.provider is 'The payment provider, such as stripe.';
comment on column private.provider_subscriptions.provider_subscription_id is 'The provider''s id.';
comment on column private.provider_subscriptions.provider_customer_id is 'The provider''s id of the customer.';
comment on column private.provider_subscriptions.user_id is 'The user, once known.';
comment on column private.provider_subscriptions.status is 'State by the latest event: incomplete, trialing, active, past_due, paused or canceled.';
comment on column private.provider_subscriptions.status_order is 'Rank of the event that said so; a canceled one is last for good.';
comment on column private.provider_subscriptions.was_live is 'Whether any event saw it trialing, active, past_due or paused.';
comment on column private.provider_subscriptions.provider_price_id is 'The provider''s price by the latest event.';
comment on column private.provider_subscriptions.plan_id is 'The plan, where the event itself names one of ours.';
comment on column private.provider_subscriptions.cancel_at_period_end is 'By the latest event about the subscription itself.';
comment on column private.provider_subscriptions.trial_end is 'End of the trial, by the latest event about the subscription itself.';
comment on column private.provider_subscriptions.object_order is 'Rank of the latest event about the subscription itself.';
comment on column private.provider_subscriptions.started_at is 'The earliest beginning that an event names.';
comment on column private.provider_subscriptions.ended_at is 'When it ended; null while it has not.';
comment on column private.provider_subscriptions.period_start is 'Start of the latest period that an event names.';
comment on column private.provider_subscriptions.period_end is 'End of the latest period that an event names.';
comment on column private.provider_subscriptions.paid_period_end is 'Until when it is paid.';
comment on column private.provider_subscriptions.revoked_period_end is 'Until when payments were given back in full or are disputed.';
comment on column private.provider_subscriptions.updated_at is 'When the row last changed.';

-- Who got the free plan's quota of which month: the job goes on where it stopped.
create table private.free_quotas (
  user_id uuid primary key references identity.users on delete cascade,
  granted_month date not null,
  constraint free_quotas_granted_month_check check (extract(day from granted_month) = 1)
);

alter table private.free_quotas enable row level security;

comment on table private.free_quotas is 'One row per user who ever got the free plan''s monthly tokens.';
comment on column private.free_quotas.user_id is 'The user.';
comment on column private.free_quotas.granted_month is 'First day of the latest month (UTC) whose tokens were granted.';

insert into access.permissions (permission_name, description) values
  ('manage_plans', 'Make and change subscription plans and their prices.'),
  ('manage_subscriptions', 'See all subscriptions and payments; give, pause and end subscriptions.');

insert into access.role_permissions (role_id, permission_id)
select r.id, p.id
from access.roles r
cross join access.permissions p
where r.role_name = 'admin'
  and p.permission_name in ('manage_plans', 'manage_subscriptions');

--! Included billing/triggers/subscriptions.sql
-- A plan's terms are what its subscribers agreed to: an offer changes by a new version, which takes the old one's place.
create or replace function billing.number_plan_version()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  -- One version at a time; a lock of its own, because the first version has no row to lock.
  perform pg_advisory_xact_lock(hashtextextended(concat_ws(' ', 'plinth plan', new.code, new.billing_cycle, new.currency), 0));
  new.version := 1 + coalesce(
    (
      select max(p.version)
      from billing.subscription_plans p
      where p.code = new.code and p.billing_cycle = new.billing_cycle and p.currency = new.currency
    ),
    0
  );
  update billing.subscription_plans p
  set superseded_at = now()
  where p.code = new.code
    and p.billing_cycle = new.billing_cycle
    and p.currency = new.currency
    and p.superseded_at is null;
  new.superseded_at := null;
  return new;
end
$$;

comment on function billing.number_plan_version() is 'Trigger: numbers a new version of an offer and supersedes the one before.';

create or replace trigger _100_number_version
  before insert on billing.subscription_plans
  for each row
  execute function billing.number_plan_version();

create or replace function billing.keep_plan_terms()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  if (
    old.code, old.version, old.billing_cycle, old.price_cents, old.currency, old.trial_days, old.token_quota,
    old.rollover_limit, old.features, old.access_level
  ) is distinct from (
    new.code, new.version, new.billing_cycle, new.price_cents, new.currency, new.trial_days, new.token_quota,
    new.rollover_limit, new.features, new.access_level
  ) then
    raise exception 'The terms of a plan do not change; make a new version with revisePlan.' using errcode = 'PL409';
  end if;
  return new;
end
$$;

comment on function billing.keep_plan_terms() is 'Trigger: refuses changes to the terms of a plan''s version (PL409).';

create or replace trigger _100_keep_terms
  before update on billing.subscription_plans
  for each row
  execute function billing.keep_plan_terms();

create or replace trigger _900_touch_updated_at
  before update on billing.subscription_plans
  for each row
  execute function plinth.touch_updated_at();

-- What is sold for how much is a matter of money: every change of it is an event, whoever makes it and however.
create or replace function billing.record_plan_change()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_row jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
begin
  perform private.record_security_event(
    case tg_table_name when 'plan_prices' then 'plan_price_changed' else 'plan_changed' end,
    null,
    jsonb_build_object('operation', lower(tg_op))
      || (v_row - array['features', 'plan_name', 'created_at', 'updated_at', 'superseded_at'])
  );
  return null;
end
$$;

comment on function billing.record_plan_change() is 'Trigger: notes a change of plans or their prices in the audit log.';

create or replace trigger _500_record_change
  after insert or update or delete on billing.subscription_plans
  for each row
  execute function billing.record_plan_change();

create or replace trigger _500_record_change
  after insert or update or delete on billing.plan_prices
  for each row
  execute function billing.record_plan_change();

-- No step outside the state machine, not even by psql.
create or replace function billing.check_subscription_status()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if not exists (
    select
    from private.subscription_transitions t
    where t.from_status = old.status and t.to_status = new.status
  ) then
    raise exception 'A subscription that is % cannot become %.', old.status, new.status using errcode = 'PL409';
  end if;
  return new;
end
$$;

comment on function billing.check_subscription_status() is
  'Trigger: refuses steps that private.subscription_transitions does not list (PL409).';

create or replace trigger _100_check_status
  before update of status on billing.user_subscriptions
  for each row
  when (old.status <> new.status)
  execute function billing.check_subscription_status();

-- Generated columns are not computed yet when it runs.
create or replace trigger _900_touch_updated_at
  before update on billing.user_subscriptions
  for each row
  execute function plinth.touch_updated_at('renewal_date', 'due_at');

create or replace trigger _900_touch_updated_at
  before update on billing.payments
  for each row
  execute function plinth.touch_updated_at('status');

create or replace trigger _900_touch_updated_at
  before update on private.provider_subscriptions
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded billing/triggers/subscriptions.sql
insert into billing.subscription_plans (code, plan_name, price_cents, trial_days, token_quota, rollover_limit, access_level)
values
  ('free', 'Free', 0, 0, 50000, 0, 0),
  ('premium', 'Premium', 2000, 14, 2000000, 1000000, 10);

--! Included private/functions/subscription_period.sql
-- The period of a subscription that a moment falls into. Every bound is counted from the anchor and not from the bound
-- before: what began on 31 January goes on at 28 February, 31 March, 30 April. In UTC, so that no zone's clock change
-- moves a bound.
create or replace function private.subscription_period(billing_cycle text, anchor_at timestamptz, at timestamptz)
  returns table (period_start timestamptz, period_end timestamptz)
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  v_anchor timestamp := anchor_at at time zone 'UTC';
  v_at timestamp := subscription_period.at at time zone 'UTC';
  v_months integer := case billing_cycle when 'monthly' then 1 when 'yearly' then 12 end;
  v_number integer;
begin
  if v_months is null then
    return query select anchor_at, null::timestamptz;
    return;
  end if;
  v_number := floor(
    (
      (extract(year from v_at) - extract(year from v_anchor)) * 12
      + extract(month from v_at) - extract(month from v_anchor)
    ) / v_months
  );
  if v_anchor + make_interval(months => v_number * v_months) > v_at then
    v_number := v_number - 1;
  end if;
  return query
  select
    (v_anchor + make_interval(months => v_number * v_months)) at time zone 'UTC',
    (v_anchor + make_interval(months => (v_number + 1) * v_months)) at time zone 'UTC';
end
$$;

comment on function private.subscription_period(text, timestamptz, timestamptz) is
  'First moment of the period around a moment, and of the next; null for lifetime. Counted in months from the anchor, in UTC.';
--! EndIncluded private/functions/subscription_period.sql
--! Included private/functions/proration.sql
-- What a change of plan at a moment costs, to the cent: the unused part of the old price is credited, the same part of the
-- new price is charged. Parts are whole seconds left over whole seconds of the period; each line is rounded to the nearest
-- cent, half a cent up (away from zero on both lines, so no line depends on the other or on which digit is even). What is
-- owed is the sum of the two lines, exactly.
create or replace function private.proration(
  old_price_cents bigint,
  new_price_cents bigint,
  period_start timestamptz,
  period_end timestamptz,
  at timestamptz
)
  returns table (period_seconds bigint, unused_seconds bigint, credit_cents bigint, charge_cents bigint)
  language sql
  immutable
  set search_path = pg_catalog
as $$
  with parts as (
    select
      greatest(floor(extract(epoch from period_end)) - floor(extract(epoch from period_start)), 0) as whole,
      floor(extract(epoch from period_end)) - floor(extract(epoch from proration.at)) as remaining
  ),
  clamped as (
    select p.whole, least(greatest(p.remaining, 0), p.whole) as unused from parts p
  )
  select
    coalesce(c.whole, 0)::bigint,
    coalesce(c.unused, 0)::bigint,
    case when c.whole > 0 then -div(old_price_cents * c.unused * 2 + c.whole, c.whole * 2) else 0 end::bigint,
    case when c.whole > 0 then div(new_price_cents * c.unused * 2 + c.whole, c.whole * 2) else 0 end::bigint
  from clamped c
$$;

comment on function private.proration(bigint, bigint, timestamptz, timestamptz, timestamptz) is
  'Credit (zero or negative) and charge in cents for changing plans at a moment of a period; both zero without a period.';
--! EndIncluded private/functions/proration.sql
--! Included private/functions/record_subscription_change.sql
-- The one writer of a subscription's history; the audit log gets the same.
create or replace function private.record_subscription_change(
  event text,
  before billing.user_subscriptions,
  after billing.user_subscriptions,
  effective_at timestamptz,
  details jsonb default '{}'
)
  returns billing.subscription_changes
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_change billing.subscription_changes;
begin
  insert into billing.subscription_changes (
    subscription_id, user_id, event, from_status, to_status, from_plan_id, to_plan_id, credit_cents, charge_cents, currency,
    period_seconds, unused_seconds, tokens_granted, effective_at
  )
  select
    after.id, after.user_id, record_subscription_change.event, before.status, after.status, before.plan_id, after.plan_id,
    coalesce((details ->> 'credit_cents')::bigint, 0), coalesce((details ->> 'charge_cents')::bigint, 0), p.currency,
    (details ->> 'period_seconds')::bigint, (details ->> 'unused_seconds')::bigint,
    coalesce((details ->> 'tokens_granted')::bigint, 0), record_subscription_change.effective_at
  from billing.subscription_plans p
  where p.id = after.plan_id
  returning * into strict v_change;
  perform private.record_security_event(
    'subscription_changed',
    after.user_id,
    jsonb_build_object(
      'subscription_id', after.id, 'change_id', v_change.id, 'event', v_change.event,
      'from_status', v_change.from_status, 'to_status', v_change.to_status
    )
  );
  return v_change;
end
$$;

comment on function private.record_subscription_change(
  text, billing.user_subscriptions, billing.user_subscriptions, timestamptz, jsonb
) is 'Adds a row to billing.subscription_changes and to the audit log.';
--! EndIncluded private/functions/record_subscription_change.sql
--! Included private/functions/grant_quota.sql
-- Tokens of plans go to the ledger by its two functions and nowhere else; a key per period makes each grant happen once.

create or replace function private.free_plan()
  returns billing.subscription_plans
  language sql
  stable
  set search_path = pg_catalog
as $$
  select p
  from billing.subscription_plans p
  where p.code = 'free' and p.superseded_at is null and p.is_active
  order by p.currency = 'USD' desc, p.currency
  limit 1
$$;

comment on function private.free_plan() is 'The free plan on offer, that in USD first; null without one.';

-- The free plan's tokens: once per calendar month (UTC) and user, subscribed to it or to nothing.
create or replace function private.grant_free_quota(user_id uuid, at timestamptz)
  returns boolean
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_month timestamptz := date_trunc('month', grant_free_quota.at at time zone 'UTC') at time zone 'UTC';
  v_next timestamptz := (date_trunc('month', grant_free_quota.at at time zone 'UTC') + interval '1 month') at time zone 'UTC';
  v_plan billing.subscription_plans := private.free_plan();
begin
  if v_plan.id is null then
    return false;
  end if;
  insert into private.free_quotas as q (user_id, granted_month)
  values (grant_free_quota.user_id, (v_month at time zone 'UTC')::date)
  on conflict on constraint free_quotas_pkey do update
  set granted_month = excluded.granted_month
  where q.granted_month < excluded.granted_month;
  if not found then
    return false;
  end if;
  if v_plan.rollover_limit > 0 then
    perform private.close_plan_grant(
      grant_free_quota.user_id, v_plan.id, v_month, v_plan.rollover_limit, v_next,
      format('free-close:%s:%s', grant_free_quota.user_id, to_char(v_month at time zone 'UTC', 'YYYY-MM'))
    );
  end if;
  if v_plan.token_quota is distinct from 0 then
    perform private.grant_tokens(
      grant_free_quota.user_id, v_plan.token_quota, 'plan', v_plan.id, 100, v_month, v_next,
      format('free:%s:%s', grant_free_quota.user_id, to_char(v_month at time zone 'UTC', 'YYYY-MM'))
    );
  end if;
  return true;
end
$$;

comment on function private.grant_free_quota(uuid, timestamptz) is
  'Grants the free plan''s tokens of the month unless the user has them; returns whether it did.';

-- The quota of a subscription's current period. What a provider bills is granted when that period is paid, not when the
-- provider says that the next one has begun.
create or replace function private.grant_quota(subscription_id uuid)
  returns boolean
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_subscription billing.user_subscriptions;
  v_plan billing.subscription_plans;
begin
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = grant_quota.subscription_id;
  select p.* into strict v_plan from billing.subscription_plans p where p.id = v_subscription.plan_id;
  if v_subscription.status not in ('trialing', 'active')
    or v_subscription.quota_granted_from >= v_subscription.quota_period_start
  then
    return false;
  end if;
  if v_plan.code = 'free' then
    perform private.grant_free_quota(v_subscription.user_id, v_subscription.quota_period_start);
  else
    if v_subscription.provider is not null
      and v_subscription.status = 'active'
      and v_plan.price_cents > 0
      and not exists (
        select
        from private.provider_subscriptions m
        where m.provider = v_subscription.provider
          and m.provider_subscription_id = v_subscription.provider_subscription_id
          and m.paid_period_end >= coalesce(v_subscription.current_period_end, 'infinity')
      )
    then
      return false;
    end if;
    if v_subscription.quota_granted_from is not null then
      perform private.close_plan_grant(
        v_subscription.user_id, v_subscription.id, v_subscription.quota_period_start, v_plan.rollover_limit,
        v_subscription.quota_period_end,
        format('close:%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start))
      );
    end if;
    if v_plan.token_quota is distinct from 0 then
      perform private.grant_tokens(
        v_subscription.user_id, v_plan.token_quota, 'plan', v_subscription.id, 100, v_subscription.quota_period_start,
        v_subscription.quota_period_end,
        format('plan:%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start))
      );
    end if;
  end if;
  update billing.user_subscriptions s
  set quota_granted_from = s.quota_period_start
  where s.id = v_subscription.id;
  return true;
end
$$;

comment on function private.grant_quota(uuid) is
  'Grants the tokens of a subscription''s quota period once, carrying over what the plan lets; returns whether it did.';
--! EndIncluded private/functions/grant_quota.sql
--! Included private/functions/transition_subscription.sql
-- One step of the state machine. The caller holds the account's row lock.
create or replace function private.transition_subscription(
  subscription_id uuid,
  event text,
  at timestamptz,
  recorded_as text default null
)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_before billing.user_subscriptions;
  v_after billing.user_subscriptions;
  v_status text;
  v_end timestamptz;
begin
  select s.* into v_before
  from billing.user_subscriptions s
  where s.id = transition_subscription.subscription_id
  for update;
  if v_before.id is null then
    raise exception 'There is no such subscription.' using errcode = 'PL404';
  end if;
  v_status := (
    select t.to_status
    from private.subscription_transitions t
    where t.from_status = v_before.status and t.event = transition_subscription.event
  );
  if v_status is null then
    raise exception 'A subscription that is % does not allow this (%).', v_before.status, transition_subscription.event
      using errcode = 'PL409';
  end if;
  update billing.user_subscriptions s
  set
    status = v_status,
    past_due_since = case when v_status = 'past_due' then coalesce(s.past_due_since, transition_subscription.at) end,
    paused_at = case when v_status = 'paused' then coalesce(s.paused_at, transition_subscription.at) end,
    ended_at = case
      when v_status in ('canceled', 'expired') then coalesce(s.ended_at, transition_subscription.at)
    end,
    pending_plan_id = case when v_status not in ('canceled', 'expired') then s.pending_plan_id end
  where s.id = v_before.id
  returning s.* into v_after;
  -- Plan tokens end with the plan; those of the free plan are everybody's.
  if v_after.ended_at is not null and v_before.ended_at is null and v_after.quota_granted_from is not null
    and not exists (select from billing.subscription_plans p where p.id = v_after.plan_id and p.code = 'free')
  then
    -- An end that the provider dates before the period's tokens were given takes them all the same.
    v_end := greatest(transition_subscription.at, v_after.quota_period_start);
    perform private.close_plan_grant(
      v_after.user_id, v_after.id, v_end, 0, v_end, format('end:%s:%s', v_after.id, extract(epoch from v_end))
    );
  end if;
  perform private.record_subscription_change(
    coalesce(recorded_as, transition_subscription.event), v_before, v_after, transition_subscription.at
  );
  return v_after;
end
$$;

comment on function private.transition_subscription(uuid, text, timestamptz, text) is
  'Moves a subscription by an event of private.subscription_transitions; PL409 when its state does not allow it.';
--! EndIncluded private/functions/transition_subscription.sql
--! Included private/functions/start_subscription.sql
-- A new current subscription. Whether the user may have it is the caller's business; that there is none yet, the index's.
create or replace function private.start_subscription(user_id uuid, plan_id uuid, trial boolean, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_plan billing.subscription_plans;
  v_subscription billing.user_subscriptions;
  v_anchor timestamptz := start_subscription.at;
  v_period record;
  v_quota record;
begin
  select p.* into strict v_plan from billing.subscription_plans p where p.id = start_subscription.plan_id;
  if trial then
    -- Days of 24 hours in UTC. What is paid for begins when the trial ends.
    v_anchor := (start_subscription.at at time zone 'UTC' + make_interval(days => v_plan.trial_days)) at time zone 'UTC';
    select start_subscription.at as period_start, v_anchor as period_end into v_period;
  else
    if v_plan.code = 'free' then
      -- Its tokens come by calendar month, with or without a subscription.
      v_anchor := date_trunc('month', start_subscription.at at time zone 'UTC') at time zone 'UTC';
    end if;
    select * into v_period from private.subscription_period(v_plan.billing_cycle, v_anchor, start_subscription.at);
  end if;
  if v_period.period_end is null then
    select * into v_quota from private.subscription_period('monthly', v_anchor, start_subscription.at);
  else
    v_quota := v_period;
  end if;
  insert into billing.user_subscriptions (
    user_id, plan_id, status, started_at, anchor_at, current_period_start, current_period_end, trial_end,
    quota_period_start, quota_period_end
  ) values (
    start_subscription.user_id, v_plan.id, case when trial then 'trialing' else 'active' end, start_subscription.at,
    v_anchor, v_period.period_start, v_period.period_end, case when trial then v_anchor end,
    v_quota.period_start, v_quota.period_end
  )
  returning * into v_subscription;
  perform private.record_subscription_change(
    case when trial then 'trial_started' else 'started' end, null, v_subscription, start_subscription.at,
    jsonb_build_object('charge_cents', case when trial then 0 else v_plan.price_cents end)
  );
  perform private.grant_quota(v_subscription.id);
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = v_subscription.id;
  return v_subscription;
end
$$;

comment on function private.start_subscription(uuid, uuid, boolean, timestamptz) is
  'Starts a subscription, on trial or active, and grants its first tokens; 23505 when the user has a current one.';
--! EndIncluded private/functions/start_subscription.sql
--! Included private/functions/change_subscription_plan.sql
-- Upgrades take effect at once and everything else at the end of the period. More access is an upgrade; with the same
-- access, a longer commitment is; with the same cycle, a higher price is.
create or replace function private.is_upgrade(old_plan billing.subscription_plans, new_plan billing.subscription_plans)
  returns boolean
  language sql
  immutable
  set search_path = pg_catalog
as $$
  select
    (new_plan.access_level, array_position(array['monthly', 'yearly', 'lifetime'], new_plan.billing_cycle), new_plan.price_cents)
    > (old_plan.access_level, array_position(array['monthly', 'yearly', 'lifetime'], old_plan.billing_cycle), old_plan.price_cents)
$$;

comment on function private.is_upgrade(billing.subscription_plans, billing.subscription_plans) is
  'Whether a change from one plan to the other takes effect at once.';

create or replace function private.require_same_currency(old_plan billing.subscription_plans, new_plan billing.subscription_plans)
  returns void
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
begin
  if old_plan.currency <> new_plan.currency and old_plan.price_cents > 0 and new_plan.price_cents > 0 then
    raise exception 'A subscription paid in % cannot change to a plan in %.', old_plan.currency, new_plan.currency
      using errcode = 'PL422', column = 'plan_id';
  end if;
end
$$;

comment on function private.require_same_currency(billing.subscription_plans, billing.subscription_plans) is
  'PL422 when both plans cost something in different currencies.';

-- A change of plan in the middle of a period, with its proration and its tokens. Same cycle: the period stays. Another
-- cycle, or the first plan that costs something: a new period begins, charged in full. In a trial nothing is owed and the
-- trial's end stays. Tokens: the difference of the two quotas for the part of the period that is left, rounded down; what
-- was granted stays. Each plan adds its difference once per period, so changing to and fro gains nothing.
create or replace function private.change_subscription_plan(subscription_id uuid, plan_id uuid, at timestamptz)
  returns billing.subscription_changes
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_before billing.user_subscriptions;
  v_after billing.user_subscriptions;
  v_old billing.subscription_plans;
  v_new billing.subscription_plans;
  v_proration record;
  v_charge bigint;
  v_restarts boolean;
  v_period record;
  v_quota record;
  v_tokens bigint := 0;
begin
  select s.* into v_before
  from billing.user_subscriptions s
  where s.id = change_subscription_plan.subscription_id
  for update;
  select p.* into v_old from billing.subscription_plans p where p.id = v_before.plan_id;
  select p.* into v_new from billing.subscription_plans p where p.id = change_subscription_plan.plan_id;
  if v_before.id is null or v_new.id is null then
    raise exception 'There is no such subscription or plan.' using errcode = 'PL404', column = 'plan_id';
  end if;
  if v_before.status not in ('trialing', 'active') then
    raise exception 'A subscription that is % cannot change its plan.', v_before.status using errcode = 'PL409';
  end if;
  if v_old.id = v_new.id then
    raise exception 'The subscription is on that plan already.' using errcode = 'PL409', column = 'plan_id';
  end if;
  if v_old.billing_cycle = 'lifetime' then
    raise exception 'A lifetime plan is paid for good and does not change.' using errcode = 'PL409', column = 'plan_id';
  end if;
  perform private.require_same_currency(v_old, v_new);

  v_restarts := v_before.status = 'active'
    and (v_old.billing_cycle <> v_new.billing_cycle or (v_old.price_cents = 0 and v_new.price_cents > 0));
  select * into v_proration
  from private.proration(
    v_old.price_cents, v_new.price_cents, v_before.current_period_start, v_before.current_period_end,
    change_subscription_plan.at
  );
  v_charge := case when v_restarts then v_new.price_cents else v_proration.charge_cents end;
  if v_before.status = 'trialing' then
    v_proration.credit_cents := 0;
    v_charge := 0;
  end if;

  if v_restarts then
    select * into v_period
    from private.subscription_period(v_new.billing_cycle, change_subscription_plan.at, change_subscription_plan.at);
    v_quota := v_period;
    if v_period.period_end is null then
      select * into v_quota
      from private.subscription_period('monthly', change_subscription_plan.at, change_subscription_plan.at);
    end if;
    update billing.user_subscriptions s
    set
      plan_id = v_new.id,
      pending_plan_id = null,
      anchor_at = change_subscription_plan.at,
      current_period_start = v_period.period_start,
      current_period_end = v_period.period_end,
      quota_period_start = v_quota.period_start,
      quota_period_end = v_quota.period_end,
      quota_granted_from = case when v_old.code <> 'free' then s.quota_granted_from end
    where s.id = v_before.id;
    perform private.grant_quota(v_before.id);
  else
    if v_before.quota_granted_from = v_before.quota_period_start and v_proration.period_seconds > 0 then
      v_tokens := private.grant_quota_difference(
        v_before, v_old, v_new, v_proration.unused_seconds, v_proration.period_seconds, change_subscription_plan.at
      );
    end if;
    update billing.user_subscriptions s
    set plan_id = v_new.id, pending_plan_id = null
    where s.id = v_before.id;
  end if;
  select s.* into strict v_after from billing.user_subscriptions s where s.id = v_before.id;
  return private.record_subscription_change(
    case when private.is_upgrade(v_old, v_new) then 'upgraded' else 'downgraded' end,
    v_before, v_after, change_subscription_plan.at,
    jsonb_build_object(
      'credit_cents', v_proration.credit_cents, 'charge_cents', v_charge, 'period_seconds', v_proration.period_seconds,
      'unused_seconds', v_proration.unused_seconds, 'tokens_granted', v_tokens
    )
  );
end
$$;

comment on function private.change_subscription_plan(uuid, uuid, timestamptz) is
  'Changes the plan of a trialing or active subscription at once; returns the change with its proration. PL409, PL422.';

create or replace function private.grant_quota_difference(
  subscription billing.user_subscriptions,
  old_plan billing.subscription_plans,
  new_plan billing.subscription_plans,
  unused_seconds bigint,
  period_seconds bigint,
  at timestamptz
)
  returns bigint
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_key text := format('%s:%s:%s', subscription.id, extract(epoch from subscription.quota_period_start), new_plan.id);
  v_tokens bigint;
begin
  if old_plan.token_quota is null and new_plan.token_quota is null then
    return 0;
  end if;
  v_tokens := div(new_plan.token_quota::numeric * unused_seconds, period_seconds)
    - coalesce(div(old_plan.token_quota::numeric * unused_seconds, period_seconds), 0);
  if old_plan.token_quota is null then
    -- Unlimited ends here, or there would be no limit left to speak of.
    perform private.close_plan_grant(
      subscription.user_id, subscription.id, grant_quota_difference.at, 0, grant_quota_difference.at,
      format('unlimited-end:%s:%s', v_key, extract(epoch from grant_quota_difference.at))
    );
  end if;
  if v_tokens <= 0 or unused_seconds = 0 then
    return 0;
  end if;
  if old_plan.token_quota is null or new_plan.token_quota is null then
    -- Each time: unlimited adds to nothing, and what comes after it is all there is.
    v_key := format('%s:%s', v_key, extract(epoch from grant_quota_difference.at));
  elsif exists (
    select
    from billing.token_grants g
    where g.user_id = subscription.user_id and g.idempotency_key = 'upgrade:' || v_key
  ) then
    return 0;
  end if;
  perform private.grant_tokens(
    subscription.user_id, v_tokens, 'plan', subscription.id, 100, grant_quota_difference.at, subscription.quota_period_end,
    'upgrade:' || v_key
  );
  return coalesce(v_tokens, 0);
end
$$;

comment on function private.grant_quota_difference(
  billing.user_subscriptions, billing.subscription_plans, billing.subscription_plans, bigint, bigint, timestamptz
) is 'Grants what a new plan''s quota has over the old one''s for the rest of the period; returns how many tokens.';
--! EndIncluded private/functions/change_subscription_plan.sql
--! Included private/functions/renew_subscription.sql
-- The next period: free plans by themselves, paid ones when a payment says so. A payment that comes late pays for the
-- period that was owed; after the subscription ran out it begins anew.
create or replace function private.renew_subscription(subscription_id uuid, event text, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_before billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_anchor timestamptz;
  v_period record;
begin
  select s.* into strict v_before
  from billing.user_subscriptions s
  where s.id = renew_subscription.subscription_id
  for update;
  select p.* into strict v_plan from billing.subscription_plans p where p.id = v_before.plan_id;
  if v_before.current_period_end is null then
    return private.transition_subscription(v_before.id, renew_subscription.event, renew_subscription.at);
  end if;
  v_anchor := case when v_before.status = 'expired' then renew_subscription.at else v_before.anchor_at end;
  select * into v_period
  from private.subscription_period(
    v_plan.billing_cycle, v_anchor, case when v_before.status = 'expired' then v_anchor else v_before.current_period_end end
  );
  -- A period whose first day fell off the anchor (after a change of plan) begins where the last one ended.
  if v_before.status <> 'expired' then
    v_period.period_start := v_before.current_period_end;
  end if;
  perform private.transition_subscription(
    v_before.id, renew_subscription.event, v_period.period_start,
    case when renew_subscription.event = 'payment_succeeded' then 'renewed' end
  );
  update billing.user_subscriptions s
  set
    anchor_at = v_anchor,
    current_period_start = v_period.period_start,
    current_period_end = v_period.period_end,
    quota_period_start = v_period.period_start,
    quota_period_end = coalesce(v_period.period_end, (v_period.period_start at time zone 'UTC' + interval '1 month') at time zone 'UTC')
  where s.id = v_before.id;
  perform private.grant_quota(v_before.id);
  select s.* into strict v_before from billing.user_subscriptions s where s.id = v_before.id;
  return v_before;
end
$$;

comment on function private.renew_subscription(uuid, text, timestamptz) is
  'Moves a subscription into its next period by the event renewed or payment_succeeded and grants its tokens.';
--! EndIncluded private/functions/renew_subscription.sql
--! Included private/functions/pause_subscription.sql
-- A pause stops the clock: what was left of the period is left when it goes on, and unused tokens of the plan stay without
-- an end, since the user paid for both. Not for what a provider bills: its clock cannot be stopped from here.
create or replace function private.pause_subscription(subscription_id uuid, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_subscription billing.user_subscriptions;
begin
  select s.* into strict v_subscription
  from billing.user_subscriptions s
  where s.id = pause_subscription.subscription_id
  for update;
  if v_subscription.provider is not null
    or v_subscription.current_period_end is null
    or exists (select from billing.subscription_plans p where p.id = v_subscription.plan_id and p.price_cents = 0)
  then
    raise exception 'Only a paid period that no provider bills can be paused.' using errcode = 'PL409';
  end if;
  v_subscription := private.transition_subscription(v_subscription.id, 'paused', pause_subscription.at);
  if v_subscription.quota_granted_from = v_subscription.quota_period_start then
    perform private.close_plan_grant(
      v_subscription.user_id, v_subscription.id, pause_subscription.at, 9223372036854775807, null,
      format('pause:%s:%s', v_subscription.id, extract(epoch from pause_subscription.at))
    );
  end if;
  return v_subscription;
end
$$;

comment on function private.pause_subscription(uuid, timestamptz) is
  'Pauses an active subscription; PL409 when it is not active, free, for life, or billed by a provider.';

create or replace function private.unpause_subscription(subscription_id uuid, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_paused billing.user_subscriptions;
  v_subscription billing.user_subscriptions;
  v_end timestamptz;
begin
  select s.* into strict v_paused
  from billing.user_subscriptions s
  where s.id = unpause_subscription.subscription_id
  for update;
  v_subscription := private.transition_subscription(v_paused.id, 'resumed', unpause_subscription.at);
  v_end := unpause_subscription.at + (v_paused.current_period_end - v_paused.paused_at);
  update billing.user_subscriptions s
  set anchor_at = v_end, current_period_end = v_end, quota_period_end = v_end
  where s.id = v_paused.id
  returning s.* into v_subscription;
  -- Without a limit there was nothing to carry.
  if exists (select from billing.subscription_plans p where p.id = v_subscription.plan_id and p.token_quota is null) then
    perform private.grant_tokens(
      v_subscription.user_id, null, 'plan', v_subscription.id, 100, unpause_subscription.at, v_end,
      format('resume:%s:%s', v_subscription.id, extract(epoch from unpause_subscription.at))
    );
  end if;
  return v_subscription;
end
$$;

comment on function private.unpause_subscription(uuid, timestamptz) is
  'Goes on with a paused subscription: the period ends as much later as the pause was long. PL409 when it is not paused.';
--! EndIncluded private/functions/pause_subscription.sql
--! Included private/functions/advance_subscription.sql
-- Brings one subscription up to a moment, step by step, as if every step had been taken in time: after days of downtime
-- the history, the tokens carried over and the end are the same. The caller holds the account's row lock.
create or replace function private.advance_subscription(subscription_id uuid, at timestamptz)
  returns integer
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_subscription billing.user_subscriptions;
  v_before billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_end timestamptz;
  v_quota record;
  v_steps integer := 0;
begin
  loop
    select s.* into v_subscription
    from billing.user_subscriptions s
    where s.id = advance_subscription.subscription_id
    for update;
    if v_subscription.due_at is null or v_subscription.due_at > advance_subscription.at then
      -- A grant that failed or waited for the payment.
      if v_subscription.status in ('trialing', 'active') then
        perform private.grant_quota(v_subscription.id);
      end if;
      return v_steps;
    end if;
    v_steps := v_steps + 1;
    v_end := v_subscription.current_period_end;

    if v_subscription.status = 'past_due' then
      perform private.transition_subscription(v_subscription.id, 'grace_ended', v_subscription.due_at);
      continue;
    end if;
    if v_end is null then
      -- For life: only the tokens have periods.
      select * into v_quota
      from private.subscription_period('monthly', v_subscription.anchor_at, v_subscription.quota_period_end);
      update billing.user_subscriptions s
      set quota_period_start = v_quota.period_start, quota_period_end = v_quota.period_end
      where s.id = v_subscription.id;
      perform private.grant_quota(v_subscription.id);
      continue;
    end if;
    if v_subscription.cancel_at_period_end then
      perform private.transition_subscription(v_subscription.id, 'canceled', v_end);
      continue;
    end if;
    if v_subscription.pending_plan_id is not null then
      v_before := v_subscription;
      update billing.user_subscriptions s
      set
        plan_id = s.pending_plan_id,
        pending_plan_id = null,
        anchor_at = case when o.billing_cycle = n.billing_cycle then s.anchor_at else v_end end
      from billing.subscription_plans o, billing.subscription_plans n
      where s.id = v_before.id and o.id = s.plan_id and n.id = s.pending_plan_id
      returning s.* into v_subscription;
      perform private.record_subscription_change('downgraded', v_before, v_subscription, v_end);
    end if;
    select p.* into strict v_plan from billing.subscription_plans p where p.id = v_subscription.plan_id;
    if v_plan.price_cents = 0 then
      perform private.renew_subscription(v_subscription.id, 'renewed', v_end);
    elsif v_subscription.status = 'trialing' and v_subscription.provider is null then
      perform private.transition_subscription(v_subscription.id, 'trial_ended', v_end);
    else
      perform private.transition_subscription(v_subscription.id, 'payment_failed', v_end, 'payment_due');
    end if;
  end loop;
end
$$;

comment on function private.advance_subscription(uuid, timestamptz) is
  'Renews, expires and cancels one subscription as time went by, up to a moment; returns the number of steps.';
--! EndIncluded private/functions/advance_subscription.sql
--! Included private/functions/advance_subscriptions.sql
-- One batch of the job. An account or ledger that somebody else holds is left to them or to the next run: two workers never
-- do the same step, and who holds several accounts waits for nobody. One that fails is reported and does not stop the others.
create or replace function private.advance_subscriptions_at(batch_size integer, at timestamptz)
  returns integer
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_row record;
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_row in
    select s.id, s.user_id
    from billing.user_subscriptions s
    where s.due_at <= advance_subscriptions_at.at
    order by s.due_at
    limit batch_size
  loop
    perform from identity.users u where u.id = v_row.user_id for no key update skip locked;
    continue when not found or not private.try_lock_usage(v_row.user_id);
    begin
      if private.advance_subscription(v_row.id, advance_subscriptions_at.at) > 0 then
        v_handled := v_handled + 1;
      end if;
    exception
      when others then
        raise warning 'subscription % could not be advanced: %', v_row.id, sqlstate;
    end;
  end loop;
  return v_handled;
end
$$;

comment on function private.advance_subscriptions_at(integer, timestamptz) is
  'Brings up to batch_size subscriptions that are due up to a moment; returns how many.';

create or replace function private.advance_subscriptions(batch_size integer default 100)
  returns integer
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.advance_subscriptions_at(batch_size, now())
$$;

comment on function private.advance_subscriptions(integer) is
  'Brings up to batch_size subscriptions that are due up to date; returns how many.';
grant execute on function private.advance_subscriptions(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/advance_subscriptions.sql
--! Included private/functions/ensure_current_grants.sql
-- What a user is entitled to right now stands in the ledger before tokens are spent, whether or not a job came by. Until when
-- nothing is to be done is written down in usage_tracking.entitled_until, which a change of the subscription takes back: the
-- ledger looks at it in the row that it locks anyway, and comes here only when it is over.
create or replace function private.ensure_grants_at(user_id uuid, at timestamptz, may_wait boolean default true)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_month timestamp := date_trunc('month', ensure_grants_at.at at time zone 'UTC');
  v_subscription record;
  v_has_free boolean;
begin
  -- Who holds a lock that comes after the account's must not wait for the account.
  if may_wait then
    perform from identity.users u where u.id = ensure_grants_at.user_id for no key update;
  else
    perform from identity.users u where u.id = ensure_grants_at.user_id for no key update skip locked;
  end if;
  if not found then
    return;
  end if;
  perform private.advance_subscription(s.id, ensure_grants_at.at)
  from billing.user_subscriptions s
  where s.user_id = ensure_grants_at.user_id and s.status in ('trialing', 'active', 'past_due');

  select
    s.due_at,
    s.status not in ('trialing', 'active') or s.quota_granted_from = s.quota_period_start as is_granted,
    p.code = 'free' or s.status = 'paused' as is_free
  into v_subscription
  from billing.user_subscriptions s
  join billing.subscription_plans p on p.id = s.plan_id
  where s.user_id = ensure_grants_at.user_id
    and s.status in ('trialing', 'active', 'past_due', 'paused');
  if not found or v_subscription.is_free then
    perform private.grant_free_quota(ensure_grants_at.user_id, ensure_grants_at.at);
    v_has_free := exists (
      select
      from private.free_quotas q
      where q.user_id = ensure_grants_at.user_id and q.granted_month >= v_month::date
    );
  end if;
  update billing.usage_tracking t
  set entitled_until = least(
    v_subscription.due_at,
    case when v_has_free then (v_month + interval '1 month') at time zone 'UTC' else 'infinity' end
  )
  where t.user_id = ensure_grants_at.user_id
    -- A quota that waits for something is asked for again each time.
    and v_has_free is not false
    and v_subscription.is_granted is not false;
end
$$;

comment on function private.ensure_grants_at(uuid, timestamptz, boolean) is
  'Grants the tokens of the periods that a moment falls into, once. Without may_wait it does nothing while somebody else holds the account.';

create or replace function private.ensure_current_grants(user_id uuid)
  returns void
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.ensure_grants_at(ensure_current_grants.user_id, now())
$$;

comment on function private.ensure_current_grants(uuid) is
  'Grants the tokens that the user''s plan, or the free plan, gives for the current period, unless they were granted.';
--! EndIncluded private/functions/ensure_current_grants.sql
--! Included private/functions/grant_free_quotas.sql
-- Monthly tokens of those who signed in lately, so that a balance is right before anything is spent. Everybody else gets
-- them at the first use (private.ensure_current_grants): accounts nobody uses cost nothing.
create or replace function private.grant_free_quotas_at(batch_size integer, at timestamptz)
  returns integer
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_month date := date_trunc('month', grant_free_quotas_at.at at time zone 'UTC')::date;
  v_user_id uuid;
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_user_id in
    select u.id
    from identity.users u
    left join private.free_quotas q on q.user_id = u.id
    where u.is_active
      and u.last_login_at > grant_free_quotas_at.at - interval '60 days'
      and (q.granted_month is null or q.granted_month < v_month)
      and not exists (
        select
        from billing.user_subscriptions s
        join billing.subscription_plans p on p.id = s.plan_id
        where s.user_id = u.id and s.status in ('trialing', 'active', 'past_due') and p.code <> 'free'
      )
    order by u.id
    limit batch_size
    for no key update of u skip locked
  loop
    exit when not exists (select from billing.subscription_plans p where p.code = 'free' and p.superseded_at is null and p.is_active);
    -- Who holds several accounts waits for nobody.
    continue when not private.try_lock_usage(v_user_id);
    if private.grant_free_quota(v_user_id, grant_free_quotas_at.at) then
      v_handled := v_handled + 1;
    end if;
  end loop;
  return v_handled;
end
$$;

comment on function private.grant_free_quotas_at(integer, timestamptz) is
  'Grants up to batch_size users the free plan''s tokens of the month around a moment; returns how many.';

create or replace function private.grant_free_quotas(batch_size integer default 500)
  returns integer
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.grant_free_quotas_at(batch_size, now())
$$;

comment on function private.grant_free_quotas(integer) is
  'Grants up to batch_size users without a plan, who signed in within 60 days, the free plan''s tokens of this month.';
grant execute on function private.grant_free_quotas(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/grant_free_quotas.sql
--! Included private/functions/merge_provider_subscription.sql
-- Adds what one event says of a provider's subscription to what is known of it. Merging commutes and repeats without
-- effect, so events may come late, twice and in any order. event_order ranks the event; a status that is canceled ranks
-- above all, because no provider revives a canceled subscription.
create or replace function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_status text := news ->> 'status';
  v_order text collate "C" := case when news ->> 'status' = 'canceled' then 'z' else '' end || event_order;
  v_object_order text collate "C" := case when news ->> 'kind' = 'subscription' then event_order end;
  v_period_end timestamptz := to_timestamp((news ->> 'period_end')::double precision);
  -- For life: paid for, and without an end.
  v_is_for_life boolean := coalesce((news ->> 'for_life')::boolean, false);
begin
  insert into private.provider_subscriptions (provider, provider_subscription_id)
  values (merge_provider_subscription.provider, merge_provider_subscription.provider_subscription_id)
  on conflict on constraint provider_subscriptions_pkey do nothing;

  update private.provider_subscriptions m
  set
    provider_customer_id = coalesce(m.provider_customer_id, news ->> 'customer'),
    status = case when v_status is not null and v_order > coalesce(m.status_order, '') collate "C" then v_status else m.status end,
    status_order = case when v_status is not null then greatest(v_order, m.status_order collate "C") else m.status_order end,
    was_live = m.was_live or coalesce(v_status in ('trialing', 'active', 'past_due', 'paused'), false),
    provider_price_id = case
      when v_object_order > coalesce(m.object_order, '') collate "C" then coalesce(news ->> 'price', m.provider_price_id)
      else coalesce(m.provider_price_id, news ->> 'price')
    end,
    plan_id = coalesce(m.plan_id, (news ->> 'plan_id')::uuid),
    cancel_at_period_end = case
      when v_object_order > coalesce(m.object_order, '') collate "C"
        then coalesce((news ->> 'cancel_at_period_end')::boolean, false)
      else m.cancel_at_period_end
    end,
    trial_end = case
      when v_object_order > coalesce(m.object_order, '') collate "C"
        then to_timestamp((news ->> 'trial_end')::double precision)
      else m.trial_end
    end,
    object_order = greatest(v_object_order, m.object_order collate "C"),
    started_at = least(
      m.started_at,
      to_timestamp(coalesce(news ->> 'started_at', news ->> 'period_start')::double precision)
    ),
    ended_at = coalesce(m.ended_at, to_timestamp((news ->> 'ended_at')::double precision)),
    period_start = case
      when m.period_end is null or v_period_end > m.period_end
        then coalesce(to_timestamp((news ->> 'period_start')::double precision), m.period_start)
      else m.period_start
    end,
    period_end = greatest(m.period_end, v_period_end),
    paid_period_end = case
      when coalesce((news ->> 'paid')::boolean, false)
        then greatest(m.paid_period_end, case when v_is_for_life then 'infinity' else v_period_end end)
      else m.paid_period_end
    end
  where m.provider = merge_provider_subscription.provider
    and m.provider_subscription_id = merge_provider_subscription.provider_subscription_id;
end
$$;

comment on function private.merge_provider_subscription(text, text, text, jsonb) is
  'Merges one event''s news into private.provider_subscriptions; the order of calls makes no difference.';
--! EndIncluded private/functions/merge_provider_subscription.sql
--! Included private/functions/apply_provider_subscription.sql
-- Makes the user's subscription what its provider says. Only what is known counts, not which event came last, so it can be
-- called at any time. Answers applied, or what it waits for.
create or replace function private.apply_provider_subscription(provider text, provider_subscription_id text, at timestamptz)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_known private.provider_subscriptions;
  v_user_id uuid;
  v_plan billing.subscription_plans;
  v_status text;
  v_subscription billing.user_subscriptions;
  v_before billing.user_subscriptions;
  v_current billing.user_subscriptions;
  v_quota record;
  v_event text;
begin
  v_user_id := (
    select coalesce(m.user_id, c.user_id)
    from private.provider_subscriptions m
    left join billing.provider_customers c
      on c.provider = m.provider and c.provider_customer_id = m.provider_customer_id
    where m.provider = apply_provider_subscription.provider
      and m.provider_subscription_id = apply_provider_subscription.provider_subscription_id
  );
  if v_user_id is null then
    return 'waiting_for_customer';
  end if;
  -- Account first: the one order of locks.
  perform from identity.users u where u.id = v_user_id for no key update;
  update private.provider_subscriptions m
  set user_id = v_user_id
  where m.provider = apply_provider_subscription.provider
    and m.provider_subscription_id = apply_provider_subscription.provider_subscription_id
  returning m.* into strict v_known;
  -- Payments that came in a moment before anybody knew whose they were.
  update billing.payments p
  set user_id = v_user_id
  where p.provider = v_known.provider
    and p.provider_subscription_id = v_known.provider_subscription_id
    and p.user_id is null;
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = coalesce(
    v_known.plan_id,
    (
      select pp.plan_id
      from billing.plan_prices pp
      where pp.provider = v_known.provider and pp.provider_price_id = v_known.provider_price_id
    )
  );
  if v_plan.id is null then
    return 'waiting_for_price';
  end if;
  if v_known.period_start is null then
    return 'waiting_for_period';
  end if;
  if not v_known.was_live then
    -- Never paid: a checkout that somebody gave up.
    return 'applied';
  end if;
  v_status := v_known.status;
  if v_status in ('trialing', 'active', 'past_due', 'paused')
    and v_known.revoked_period_end >= coalesce(v_known.period_end, 'infinity')
  then
    v_status := 'expired';
  end if;
  if v_status not in ('trialing', 'active', 'past_due', 'paused', 'canceled', 'expired') then
    return 'applied';
  end if;
  if v_known.period_end is null then
    select * into v_quota
    from private.subscription_period('monthly', v_known.period_start, greatest(apply_provider_subscription.at, v_known.period_start));
  else
    select v_known.period_start as period_start, v_known.period_end as period_end into v_quota;
  end if;

  select s.* into v_subscription
  from billing.user_subscriptions s
  where s.provider = v_known.provider and s.provider_subscription_id = v_known.provider_subscription_id
  for update;

  if v_status in ('trialing', 'active', 'past_due', 'paused') then
    select s.* into v_current
    from billing.user_subscriptions s
    where s.user_id = v_user_id
      and s.status in ('trialing', 'active', 'past_due', 'paused')
      and s.id is distinct from v_subscription.id;
    if v_current.id is not null and v_subscription.status is distinct from 'canceled' then
      if v_current.provider is null
        and (
          v_current.status in ('trialing', 'past_due')
          or exists (select from billing.subscription_plans p where p.id = v_current.plan_id and p.price_cents = 0)
        )
      then
        perform private.transition_subscription(v_current.id, 'canceled', apply_provider_subscription.at, 'replaced');
      else
        perform private.record_security_event(
          'second_subscription', v_user_id,
          jsonb_build_object('provider', v_known.provider, 'subscription_id', v_current.id), 'warning'
        );
        return 'kept_current';
      end if;
    end if;
  end if;

  if v_subscription.id is null then
    insert into billing.user_subscriptions (
      user_id, plan_id, status, started_at, anchor_at, current_period_start, current_period_end, cancel_at_period_end,
      trial_end, past_due_since, paused_at, ended_at, quota_period_start, quota_period_end, provider, provider_subscription_id
    ) values (
      v_user_id, v_plan.id, v_status, v_known.started_at, v_known.period_start, v_known.period_start, v_known.period_end,
      v_known.cancel_at_period_end,
      case when v_status = 'trialing' then coalesce(v_known.trial_end, v_known.period_end) else v_known.trial_end end,
      case when v_status = 'past_due' then apply_provider_subscription.at end,
      case when v_status = 'paused' then apply_provider_subscription.at end,
      case when v_status in ('canceled', 'expired') then coalesce(v_known.ended_at, apply_provider_subscription.at) end,
      v_quota.period_start, v_quota.period_end, v_known.provider, v_known.provider_subscription_id
    )
    returning * into v_subscription;
    perform private.record_subscription_change(
      case when v_status = 'trialing' then 'trial_started' else 'started' end, null, v_subscription, v_known.started_at,
      jsonb_build_object('charge_cents', case when v_status = 'trialing' then 0 else v_plan.price_cents end)
    );
  else
    if v_subscription.plan_id <> v_plan.id then
      perform private.follow_provider_plan(v_subscription, v_plan, v_known, apply_provider_subscription.at);
    end if;
    v_before := v_subscription;
    update billing.user_subscriptions s
    set
      started_at = least(s.started_at, v_known.started_at),
      anchor_at = v_known.period_start,
      current_period_start = v_known.period_start,
      current_period_end = v_known.period_end,
      quota_period_start = case when v_known.period_end is null then s.quota_period_start else v_known.period_start end,
      quota_period_end = coalesce(v_known.period_end, s.quota_period_end),
      cancel_at_period_end = v_known.cancel_at_period_end,
      trial_end = case when s.status = 'trialing' or v_status = 'trialing' then coalesce(v_known.trial_end, v_known.period_end) else v_known.trial_end end,
      ended_at = case when s.status = 'canceled' then coalesce(v_known.ended_at, s.ended_at) else s.ended_at end
    where s.id = v_subscription.id
    returning s.* into v_subscription;
    if v_before.current_period_start < v_subscription.current_period_start
      and v_status = v_before.status
    then
      perform private.record_subscription_change('renewed', v_before, v_subscription, v_subscription.current_period_start);
    end if;
    v_event := case
      when v_status = v_subscription.status then null
      when v_subscription.status = 'canceled' then null
      when v_status = 'canceled' then 'canceled'
      when v_status = 'expired' then 'revoked'
      -- What ran out here is revived by a payment only.
      when v_subscription.status = 'expired' and v_status = 'active' then 'payment_succeeded'
      when v_subscription.status = 'expired' then null
      else 'provider_' || v_status
    end;
    if v_event is not null then
      perform private.transition_subscription(
        v_subscription.id, v_event,
        case when v_status = 'canceled' then coalesce(v_known.ended_at, apply_provider_subscription.at) else apply_provider_subscription.at end
      );
      update billing.user_subscriptions s
      set ended_at = v_known.ended_at
      where s.id = v_subscription.id and s.status = 'canceled' and v_known.ended_at is not null;
    end if;
  end if;
  update billing.payments p
  set subscription_id = v_subscription.id
  where p.provider = v_known.provider
    and p.provider_subscription_id = v_known.provider_subscription_id
    and p.subscription_id is null;
  perform private.grant_quota(v_subscription.id);
  return 'applied';
end
$$;

comment on function private.apply_provider_subscription(text, text, timestamptz) is
  'Makes a user''s subscription what its provider''s events say; returns applied, kept_current or waiting_for_….';

-- The provider has changed the plan and has charged for it; what it should have charged stands in the history.
create or replace function private.follow_provider_plan(
  subscription billing.user_subscriptions,
  plan billing.subscription_plans,
  known private.provider_subscriptions,
  at timestamptz
)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_old billing.subscription_plans;
  v_after billing.user_subscriptions;
  v_proration record;
  v_same_period boolean := known.period_end is not distinct from subscription.current_period_end;
  v_tokens bigint := 0;
begin
  select p.* into strict v_old from billing.subscription_plans p where p.id = subscription.plan_id;
  select * into v_proration
  from private.proration(
    v_old.price_cents, plan.price_cents, subscription.current_period_start, subscription.current_period_end,
    follow_provider_plan.at
  );
  if v_same_period
    and subscription.quota_granted_from = subscription.quota_period_start
    and v_proration.period_seconds > 0
    and subscription.status in ('trialing', 'active')
  then
    v_tokens := private.grant_quota_difference(
      subscription, v_old, plan, v_proration.unused_seconds, v_proration.period_seconds, follow_provider_plan.at
    );
  end if;
  update billing.user_subscriptions s
  set plan_id = plan.id, pending_plan_id = null
  where s.id = subscription.id
  returning s.* into v_after;
  perform private.record_subscription_change(
    case when private.is_upgrade(v_old, plan) then 'upgraded' else 'downgraded' end,
    subscription, v_after, follow_provider_plan.at,
    jsonb_build_object(
      'credit_cents', case when subscription.status = 'trialing' or v_old.currency <> plan.currency then 0 else v_proration.credit_cents end,
      'charge_cents', case
        when subscription.status = 'trialing' then 0
        when v_same_period then v_proration.charge_cents
        else plan.price_cents
      end,
      'period_seconds', v_proration.period_seconds, 'unused_seconds', v_proration.unused_seconds,
      'tokens_granted', v_tokens
    )
  );
end
$$;

comment on function private.follow_provider_plan(
  billing.user_subscriptions, billing.subscription_plans, private.provider_subscriptions, timestamptz
) is 'Puts a subscription on the plan that its provider bills, with its proration in the history.';
--! EndIncluded private/functions/apply_provider_subscription.sql
--! Included private/functions/apply_payment_event.sql
-- What one event of the inbox means. Payments are merged like subscriptions: times and sums only grow, so an older event
-- that comes later takes nothing back. Answers applied, ignored, kept_current or what it waits for.
create or replace function private.apply_payment_event(event private.payment_events)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_news jsonb := event.payload;
  v_kind text := v_news ->> 'kind';
  v_user_id uuid;
  v_payment billing.payments;
  -- Seconds of the provider's clock, then what is further on in a subscription's life, then anything that is fixed.
  v_order text := concat_ws(
    '.',
    lpad(floor(extract(epoch from event.occurred_at))::bigint::text, 12, '0'),
    coalesce(v_news ->> 'rank', '5'),
    event.provider_event_id
  );
begin
  if v_kind is null then
    return 'ignored';
  end if;
  -- Ours, because only our own checkout writes it into the provider's objects.
  v_user_id := (select u.id from identity.users u where u.id = (v_news ->> 'user_id')::uuid);
  if v_user_id is not null and event.provider_customer_id is not null then
    insert into billing.provider_customers (provider, provider_customer_id, user_id)
    values (event.provider, event.provider_customer_id, v_user_id)
    on conflict on constraint provider_customers_pkey do nothing;
  end if;
  v_user_id := coalesce(
    (
      select c.user_id
      from billing.provider_customers c
      where c.provider = event.provider and c.provider_customer_id = event.provider_customer_id
    ),
    v_user_id
  );
  -- Account first: the one order of locks.
  perform from identity.users u where u.id = v_user_id for no key update;

  if v_kind in ('invoice', 'purchase') then
    insert into billing.payments as p (
      user_id, plan_id, provider, provider_payment_id, provider_reference, provider_subscription_id, amount_cents, currency,
      period_start, period_end, paid_at, failed_at, failure_code
    )
    select
      v_user_id,
      coalesce(
        (select sp.id from billing.subscription_plans sp where sp.id = (v_news ->> 'plan_id')::uuid),
        (
          select pp.plan_id
          from billing.plan_prices pp
          where pp.provider = event.provider and pp.provider_price_id = v_news ->> 'price'
        )
      ),
      event.provider, v_news ->> 'payment', v_news ->> 'reference', v_news ->> 'subscription',
      (v_news ->> 'amount')::bigint, upper(v_news ->> 'currency'),
      to_timestamp((v_news ->> 'period_start')::double precision), to_timestamp((v_news ->> 'period_end')::double precision),
      case when (v_news ->> 'paid')::boolean then event.occurred_at end,
      case when not (v_news ->> 'paid')::boolean then event.occurred_at end,
      v_news ->> 'failure_code'
    -- Nothing was asked for (a trial, a full discount): that is no payment.
    where (v_news ->> 'amount')::bigint > 0
    on conflict on constraint payments_provider_payment_key do update
    set
      user_id = coalesce(p.user_id, excluded.user_id),
      plan_id = coalesce(p.plan_id, excluded.plan_id),
      provider_reference = coalesce(p.provider_reference, excluded.provider_reference),
      amount_cents = case when p.paid_at is null then excluded.amount_cents else p.amount_cents end,
      paid_at = least(p.paid_at, excluded.paid_at),
      failed_at = greatest(p.failed_at, excluded.failed_at),
      failure_code = case
        when excluded.failed_at >= coalesce(p.failed_at, '-infinity') then coalesce(excluded.failure_code, p.failure_code)
        else p.failure_code
      end;
  elsif v_kind = 'transaction' then
    update billing.payments p
    set provider_reference = coalesce(p.provider_reference, v_news ->> 'reference')
    where p.provider = event.provider and p.provider_payment_id = v_news ->> 'payment';
    return case when found then 'applied' else 'waiting_for_payment' end;
  elsif v_kind in ('refund', 'dispute') then
    update billing.payments p
    set
      refunded_cents = greatest(p.refunded_cents, least(coalesce((v_news ->> 'refunded')::bigint, 0), p.amount_cents)),
      disputed_at = case when v_kind = 'dispute' then least(p.disputed_at, event.occurred_at) else p.disputed_at end
    where p.provider = event.provider
      and (p.provider_payment_id in (v_news ->> 'payment', v_news ->> 'reference') or p.provider_reference = v_news ->> 'reference')
    returning p.* into v_payment;
    if v_payment.id is null then
      return 'waiting_for_payment';
    end if;
    -- Who has the money back for the current period has no longer paid for it.
    if v_payment.status in ('refunded', 'disputed') and v_payment.provider_subscription_id is not null then
      update private.provider_subscriptions m
      set revoked_period_end = greatest(m.revoked_period_end, coalesce(v_payment.period_end, 'infinity'))
      where m.provider = event.provider and m.provider_subscription_id = v_payment.provider_subscription_id;
      return private.apply_provider_subscription(event.provider, v_payment.provider_subscription_id, event.occurred_at);
    end if;
    return 'applied';
  end if;

  if v_news ->> 'subscription' is null then
    return 'applied';
  end if;
  perform private.merge_provider_subscription(
    event.provider, v_news ->> 'subscription', v_order,
    v_news || jsonb_build_object('customer', event.provider_customer_id)
  );
  if v_user_id is not null then
    update private.provider_subscriptions m
    set user_id = v_user_id
    where m.provider = event.provider
      and m.provider_subscription_id = v_news ->> 'subscription'
      and m.user_id is null;
  end if;
  return private.apply_provider_subscription(event.provider, v_news ->> 'subscription', event.occurred_at);
end
$$;

comment on function private.apply_payment_event(private.payment_events) is
  'Does what an event of a payment provider means; returns applied, ignored, kept_current or waiting_for_….';
--! EndIncluded private/functions/apply_payment_event.sql
--! Included private/functions/process_payment_events.sql
-- Works on one event of the inbox. Whoever comes second waits for the first and finds it done; what it made possible
-- (events that came too early) is done with it.
create or replace function private.process_payment_event(event_id uuid)
  returns text
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_event private.payment_events;
  v_waiting private.payment_events;
  v_outcome text;
  v_progress boolean;
begin
  select e.* into v_event from private.payment_events e where e.id = process_payment_event.event_id for update;
  if v_event.id is null or v_event.processed_at is not null then
    return v_event.outcome;
  end if;
  v_outcome := private.settle_payment_event(v_event);
  if v_outcome not in ('applied', 'ignored') then
    return v_outcome;
  end if;
  loop
    v_progress := false;
    for v_waiting in
      select e.*
      from private.payment_events e
      where e.processed_at is null
        and e.provider = v_event.provider
        and e.attempts > 0
        and (e.provider_customer_id = v_event.provider_customer_id or e.provider_customer_id is null)
      order by e.occurred_at, e.provider_event_id
      limit 50
      for update skip locked
    loop
      v_progress := private.settle_payment_event(v_waiting) in ('applied', 'ignored') or v_progress;
    end loop;
    exit when not v_progress;
  end loop;
  return v_outcome;
end
$$;

comment on function private.process_payment_event(uuid) is
  'Processes one event of the inbox, once, and then those of the same customer that waited for it; returns its outcome.';
grant execute on function private.process_payment_event(uuid) to :PLINTH_SERVICE;

-- One attempt. What fails or waits is tried again: after a minute, two, four, up to a day, for a month.
create or replace function private.settle_payment_event(event private.payment_events)
  returns text
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_outcome text;
begin
  begin
    v_outcome := private.apply_payment_event(event);
  exception
    -- Two transactions in each other's way: not the event's fault, and the whole is tried again.
    when deadlock_detected or serialization_failure or query_canceled then
      raise;
    when others then
      v_outcome := 'failed_' || lower(sqlstate);
  end;
  update private.payment_events e
  set
    outcome = v_outcome,
    processed_at = case
      when v_outcome in ('applied', 'ignored', 'kept_current') or e.received_at < now() - interval '30 days' then now()
    end,
    attempts = e.attempts + 1,
    next_attempt_at = now() + least(interval '1 minute' * power(2, least(e.attempts, 12)), interval '1 day')
  where e.id = event.id;
  return v_outcome;
end
$$;

comment on function private.settle_payment_event(private.payment_events) is
  'Tries an event and notes the outcome: done, or when it is tried next.';

create or replace function private.process_payment_events(batch_size integer default 50)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_event private.payment_events;
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  for v_event in
    select e.*
    from private.payment_events e
    where e.processed_at is null and e.next_attempt_at <= now()
    order by e.occurred_at, e.provider_event_id
    limit batch_size
    for update skip locked
  loop
    perform private.process_payment_event(v_event.id);
    v_handled := v_handled + 1;
  end loop;
  return v_handled;
end
$$;

comment on function private.process_payment_events(integer) is
  'Processes up to batch_size events that a server left behind or that wait; returns how many were tried.';
grant execute on function private.process_payment_events(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/process_payment_events.sql
--! Included private/functions/receive_payment_event.sql
-- Puts an event into the inbox, whatever it is. The caller has checked that the provider sent it, and sends only the fields
-- that are needed.
create or replace function private.receive_payment_event(
  provider text,
  provider_event_id text,
  event_type text,
  provider_customer_id text,
  occurred_at timestamptz,
  payload jsonb
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
begin
  insert into private.payment_events (provider, provider_event_id, event_type, provider_customer_id, occurred_at, payload)
  values (
    receive_payment_event.provider, receive_payment_event.provider_event_id, receive_payment_event.event_type,
    receive_payment_event.provider_customer_id, receive_payment_event.occurred_at, receive_payment_event.payload
  )
  on conflict on constraint payment_events_provider_event_key do nothing
  returning id into v_id;
  if v_id is null then
    select e.id into strict v_id
    from private.payment_events e
    where e.provider = receive_payment_event.provider and e.provider_event_id = receive_payment_event.provider_event_id;
  end if;
  return v_id;
end
$$;

comment on function private.receive_payment_event(text, text, text, text, timestamptz, jsonb) is
  'Keeps an event of a payment provider; returns its id, the same when it was there already.';
grant execute on function private.receive_payment_event(text, text, text, text, timestamptz, jsonb) to :PLINTH_SERVICE;
--! EndIncluded private/functions/receive_payment_event.sql
--! Included private/functions/prepare_checkout.sql
-- What a payment provider must know to sell a plan to the signed-in user, or why it may not: who pays already changes the
-- plan where it is billed, or would pay twice.
create or replace function private.prepare_checkout(plan_id uuid, provider text)
  returns table (
    user_id uuid,
    email text,
    provider_customer_id text,
    provider_price_id text,
    billing_cycle text,
    trial_days integer
  )
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user identity.users;
  v_plan billing.subscription_plans;
  v_price_id text;
begin
  select u.* into v_user from identity.users u where u.id = plinth.current_user_id() and u.is_active;
  if v_user.id is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = prepare_checkout.plan_id and p.is_active and p.superseded_at is null;
  if v_plan.id is null then
    raise exception 'There is no such plan on offer.' using errcode = 'PL404', column = 'plan_id';
  end if;
  v_price_id := (
    select pp.provider_price_id
    from billing.plan_prices pp
    where pp.plan_id = v_plan.id and pp.provider = prepare_checkout.provider
    order by pp.created_at desc, pp.provider_price_id
    limit 1
  );
  if v_plan.price_cents = 0 or v_price_id is null then
    raise exception 'The plan is not sold there.' using errcode = 'PL409', column = 'plan_id';
  end if;
  if exists (
    select
    from billing.user_subscriptions s
    join billing.subscription_plans p on p.id = s.plan_id
    where s.user_id = v_user.id
      and s.status in ('trialing', 'active', 'past_due', 'paused')
      and p.price_cents > 0
      and (s.provider is not null or s.status in ('active', 'paused'))
  ) then
    raise exception 'You have a paid subscription.'
      using errcode = 'PL409', hint = 'Change it where it is billed: createBillingPortal.';
  end if;
  return query
  select
    v_user.id,
    v_user.email,
    (
      select c.provider_customer_id
      from billing.provider_customers c
      where c.user_id = v_user.id and c.provider = prepare_checkout.provider
      order by c.created_at desc, c.provider_customer_id
      limit 1
    ),
    v_price_id,
    v_plan.billing_cycle,
    case
      when v_plan.billing_cycle = 'lifetime'
        or exists (
          select
          from billing.user_subscriptions s
          where s.user_id = v_user.id and s.trial_end is not null
        )
      then 0
      else v_plan.trial_days
    end;
end
$$;

comment on function private.prepare_checkout(uuid, text) is
  'What a provider must know to sell a plan to the signed-in user. PL401, PL404, PL409 when it is not sold or they pay already.';
grant execute on function private.prepare_checkout(uuid, text) to :PLINTH_SERVICE;

create or replace function private.find_customer(provider text)
  returns text
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select c.provider_customer_id
  from billing.provider_customers c
  where c.user_id = plinth.current_user_id() and c.provider = find_customer.provider
  order by c.created_at desc, c.provider_customer_id
  limit 1
$$;

comment on function private.find_customer(text) is 'Who the signed-in user is at a payment provider, or null.';
grant execute on function private.find_customer(text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/prepare_checkout.sql
--! Included billing/policies/subscription_plans.sql
-- Everybody may know what is offered and what was; manage_plans writes it. No delete: subscriptions stand on plans.
revoke all on billing.subscription_plans from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.subscription_plans to :PLINTH_ANONYMOUS;
grant
  select,
  insert (
    code, plan_name, billing_cycle, price_cents, currency, trial_days, token_quota, rollover_limit, features, access_level,
    is_active
  ),
  update (plan_name, is_active)
  on billing.subscription_plans to :PLINTH_USER;

drop policy if exists select_all on billing.subscription_plans;
create policy select_all on billing.subscription_plans
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (true);
comment on policy select_all on billing.subscription_plans is 'Everybody reads all plans.';

drop policy if exists insert_manager on billing.subscription_plans;
create policy insert_manager on billing.subscription_plans
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_plans')));
comment on policy insert_manager on billing.subscription_plans is 'The permission manage_plans adds plans and versions.';

drop policy if exists update_manager on billing.subscription_plans;
create policy update_manager on billing.subscription_plans
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_plans')))
  with check ((select access.has_permission('manage_plans')));
comment on policy update_manager on billing.subscription_plans is 'The permission manage_plans renames plans and takes them off the offer.';
--! EndIncluded billing/policies/subscription_plans.sql
--! Included billing/policies/plan_prices.sql
-- How plans are sold elsewhere is a matter of who manages them.
revoke all on billing.plan_prices from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, insert (plan_id, provider, provider_price_id), delete on billing.plan_prices to :PLINTH_USER;

drop policy if exists all_manager on billing.plan_prices;
create policy all_manager on billing.plan_prices
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_plans')))
  with check ((select access.has_permission('manage_plans')));
comment on policy all_manager on billing.plan_prices is 'The permission manage_plans reads and writes all prices at providers.';
--! EndIncluded billing/policies/plan_prices.sql
--! Included billing/policies/provider_customers.sql
-- Users see who they are at a payment provider. Written by the provider's events only.
revoke all on billing.provider_customers from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.provider_customers to :PLINTH_USER;

drop policy if exists select_own on billing.provider_customers;
create policy select_own on billing.provider_customers
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.provider_customers is 'Users read their own ties to payment providers.';

drop policy if exists select_manager on billing.provider_customers;
create policy select_manager on billing.provider_customers
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions')));
comment on policy select_manager on billing.provider_customers is 'The permission manage_subscriptions reads all ties to payment providers.';
--! EndIncluded billing/policies/provider_customers.sql
--! Included billing/policies/user_subscriptions.sql
-- Users see their own subscriptions. No writes: every change is a function of the state machine.
revoke all on billing.user_subscriptions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.user_subscriptions to :PLINTH_USER;

drop policy if exists select_own on billing.user_subscriptions;
create policy select_own on billing.user_subscriptions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.user_subscriptions is 'Users read their own subscriptions.';

drop policy if exists select_manager on billing.user_subscriptions;
create policy select_manager on billing.user_subscriptions
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions')));
comment on policy select_manager on billing.user_subscriptions is 'The permission manage_subscriptions reads all subscriptions.';
--! EndIncluded billing/policies/user_subscriptions.sql
--! Included billing/policies/subscription_changes.sql
-- Users see what happened to their own subscriptions. Nobody rewrites history.
revoke all on billing.subscription_changes from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.subscription_changes to :PLINTH_USER;

drop policy if exists select_own on billing.subscription_changes;
create policy select_own on billing.subscription_changes
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.subscription_changes is 'Users read their own subscriptions'' history.';

drop policy if exists select_manager on billing.subscription_changes;
create policy select_manager on billing.subscription_changes
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions')));
comment on policy select_manager on billing.subscription_changes is 'The permission manage_subscriptions reads all subscriptions'' history.';
--! EndIncluded billing/policies/subscription_changes.sql
--! Included billing/policies/payments.sql
-- Users see what they paid. Written by the provider's events only.
revoke all on billing.payments from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.payments to :PLINTH_USER;

drop policy if exists select_own on billing.payments;
create policy select_own on billing.payments
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.payments is 'Users read their own payments.';

drop policy if exists select_manager on billing.payments;
create policy select_manager on billing.payments
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions')));
comment on policy select_manager on billing.payments is 'The permission manage_subscriptions reads all payments.';
--! EndIncluded billing/policies/payments.sql
--! Included billing/functions/current_subscription.sql
-- Invoker rights: who may read the subscription gets it, everybody else null.
create or replace function billing.current_subscription(user_id uuid default plinth.current_user_id())
  returns billing.user_subscriptions
  language sql
  stable
as $$
  select s
  from billing.user_subscriptions s
  where s.user_id = current_subscription.user_id
    and s.status in ('trialing', 'active', 'past_due', 'paused')
$$;

comment on function billing.current_subscription(uuid) is
  'The subscription that is trialing, active, past_due or paused, one''s own by default; null when there is none.';
grant execute on function billing.current_subscription(uuid) to :PLINTH_USER;
--! EndIncluded billing/functions/current_subscription.sql
--! Included billing/functions/subscribe.sql
-- What users may do with their own subscription: nothing here costs money, since paid plans begin with a payment. Definer
-- rights: subscriptions are not theirs to write. Each locks the account first (the one order of locks) and brings the
-- subscription up to date, so that nobody acts on a state that is over.

create or replace function private.lock_subscriber(user_id uuid, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_subscription billing.user_subscriptions;
begin
  if lock_subscriber.user_id is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  perform from identity.users u where u.id = lock_subscriber.user_id and u.is_active for no key update;
  if not found then
    raise exception 'There is no such account.' using errcode = 'PL404', column = 'user_id';
  end if;
  perform private.advance_subscription(s.id, lock_subscriber.at)
  from billing.user_subscriptions s
  where s.user_id = lock_subscriber.user_id
    and s.due_at <= lock_subscriber.at;
  select s.* into v_subscription
  from billing.user_subscriptions s
  where s.user_id = lock_subscriber.user_id
    and s.status in ('trialing', 'active', 'past_due', 'paused');
  return v_subscription;
end
$$;

comment on function private.lock_subscriber(uuid, timestamptz) is
  'Locks an account and returns its current subscription, brought up to a moment, or null. PL401, PL404.';

create or replace function private.offered_plan(plan_id uuid)
  returns billing.subscription_plans
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
declare
  v_plan billing.subscription_plans;
begin
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = offered_plan.plan_id and p.is_active and p.superseded_at is null;
  if v_plan.id is null then
    raise exception 'There is no such plan on offer.' using errcode = 'PL404', column = 'plan_id';
  end if;
  return v_plan;
end
$$;

comment on function private.offered_plan(uuid) is 'The plan, if new subscriptions may choose it; PL404.';

create or replace function private.subscribe_at(user_id uuid, plan_id uuid, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_current billing.user_subscriptions := private.lock_subscriber(subscribe_at.user_id, subscribe_at.at);
  v_plan billing.subscription_plans := private.offered_plan(subscribe_at.plan_id);
  v_on_free_plan boolean := exists (
    select from billing.subscription_plans p where p.id = v_current.plan_id and p.price_cents = 0
  );
begin
  if v_current.id is not null and not (v_on_free_plan and v_plan.price_cents > 0) then
    raise exception 'You have a subscription; change its plan instead.' using errcode = 'PL409';
  end if;
  if v_plan.price_cents > 0
    and (
      v_plan.trial_days = 0
      or exists (
        select
        from billing.user_subscriptions s
        where s.user_id = subscribe_at.user_id and s.trial_end is not null
      )
    )
  then
    raise exception 'The plan begins with its payment.'
      using errcode = 'PL402', column = 'plan_id', hint = 'Pay for it: createCheckout.';
  end if;
  if v_current.id is not null then
    perform private.transition_subscription(v_current.id, 'canceled', subscribe_at.at, 'replaced');
  end if;
  return private.start_subscription(subscribe_at.user_id, v_plan.id, v_plan.price_cents > 0, subscribe_at.at);
end
$$;

comment on function private.subscribe_at(uuid, uuid, timestamptz) is 'billing.subscribe for a user at a moment.';

create or replace function billing.subscribe(plan_id uuid)
  returns billing.user_subscriptions
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.subscribe_at(plinth.current_user_id(), subscribe.plan_id, now())
$$;

comment on function billing.subscribe(uuid) is
  'Subscribes to a plan that costs nothing, or starts a plan''s trial, once per user. PL402 for a plan that must be paid, PL409 with a subscription.';
grant execute on function billing.subscribe(uuid) to :PLINTH_USER;

create or replace function private.require_own_billing(subscription billing.user_subscriptions)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if subscription.id is null then
    raise exception 'You have no subscription.' using errcode = 'PL404';
  end if;
  -- Changed only here, the provider would go on charging.
  if subscription.provider is not null then
    raise exception 'The subscription is billed by %.', subscription.provider
      using errcode = 'PL409', hint = 'Change it where it is billed: createBillingPortal.';
  end if;
end
$$;

comment on function private.require_own_billing(billing.user_subscriptions) is
  'PL404 without a subscription, PL409 when a payment provider bills it.';

create or replace function private.set_cancellation_at(user_id uuid, cancel boolean, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_before billing.user_subscriptions := private.lock_subscriber(set_cancellation_at.user_id, set_cancellation_at.at);
  v_after billing.user_subscriptions;
begin
  perform private.require_own_billing(v_before);
  if cancel and v_before.status in ('past_due', 'paused') then
    -- There is no paid time left to wait for, or it stands still.
    return private.transition_subscription(v_before.id, 'canceled', set_cancellation_at.at);
  end if;
  if not cancel and v_before.status = 'paused' then
    return private.unpause_subscription(v_before.id, set_cancellation_at.at);
  end if;
  if v_before.current_period_end is null then
    raise exception 'A lifetime plan does not renew.' using errcode = 'PL409';
  end if;
  if v_before.cancel_at_period_end = cancel then
    raise exception 'The subscription % already.', case when cancel then 'ends with its period' else 'renews' end
      using errcode = 'PL409';
  end if;
  update billing.user_subscriptions s
  set cancel_at_period_end = cancel
  where s.id = v_before.id
  returning s.* into v_after;
  perform private.record_subscription_change(
    case when cancel then 'cancellation_scheduled' else 'cancellation_withdrawn' end,
    v_before, v_after, set_cancellation_at.at
  );
  return v_after;
end
$$;

comment on function private.set_cancellation_at(uuid, boolean, timestamptz) is
  'billing.cancel_subscription and billing.resume_subscription for a user at a moment.';

create or replace function billing.cancel_subscription()
  returns billing.user_subscriptions
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.set_cancellation_at(plinth.current_user_id(), true, now())
$$;

comment on function billing.cancel_subscription() is
  'Ends one''s subscription with its period (at once when past_due or paused). PL404 without one, PL409 when that is settled or a provider bills it.';
grant execute on function billing.cancel_subscription() to :PLINTH_USER;

create or replace function billing.resume_subscription()
  returns billing.user_subscriptions
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.set_cancellation_at(plinth.current_user_id(), false, now())
$$;

comment on function billing.resume_subscription() is
  'Takes a cancellation back before the period ends, or goes on after a pause. PL404 without a subscription, PL409 when there is nothing to resume.';
grant execute on function billing.resume_subscription() to :PLINTH_USER;

create or replace function private.schedule_plan_at(user_id uuid, plan_id uuid, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_before billing.user_subscriptions := private.lock_subscriber(schedule_plan_at.user_id, schedule_plan_at.at);
  v_after billing.user_subscriptions;
  v_old billing.subscription_plans;
  v_new billing.subscription_plans;
  v_wanted uuid;
begin
  perform private.require_own_billing(v_before);
  if v_before.status not in ('trialing', 'active') then
    raise exception 'A subscription that is % cannot change its plan.', v_before.status using errcode = 'PL409';
  end if;
  if v_before.current_period_end is null then
    raise exception 'A lifetime plan is paid for good and does not change.' using errcode = 'PL409';
  end if;
  -- The plan one is on: the change that was planned is taken back.
  if schedule_plan_at.plan_id <> v_before.plan_id then
    v_new := private.offered_plan(schedule_plan_at.plan_id);
    select p.* into strict v_old from billing.subscription_plans p where p.id = v_before.plan_id;
    perform private.require_same_currency(v_old, v_new);
    if private.is_upgrade(v_old, v_new) and v_new.price_cents > 0 then
      raise exception 'The plan begins with its payment.'
        using errcode = 'PL402', column = 'plan_id', hint = 'Pay for it: createCheckout.';
    end if;
    v_wanted := v_new.id;
  end if;
  if v_before.pending_plan_id is not distinct from v_wanted then
    raise exception 'That is planned already.' using errcode = 'PL409', column = 'plan_id';
  end if;
  update billing.user_subscriptions s
  set pending_plan_id = v_wanted
  where s.id = v_before.id
  returning s.* into v_after;
  perform private.record_subscription_change(
    case when v_wanted is null then 'change_withdrawn' else 'change_scheduled' end, v_before, v_after, schedule_plan_at.at
  );
  return v_after;
end
$$;

comment on function private.schedule_plan_at(uuid, uuid, timestamptz) is 'billing.change_plan for a user at a moment.';

create or replace function billing.change_plan(plan_id uuid)
  returns billing.user_subscriptions
  language sql
  volatile
  security definer
  set search_path = pg_catalog
as $$
  select private.schedule_plan_at(plinth.current_user_id(), change_plan.plan_id, now())
$$;

comment on function billing.change_plan(uuid) is
  'Changes to another plan when the period ends; the plan one is on takes that back. PL402 for an upgrade, which begins with its payment.';
grant execute on function billing.change_plan(uuid) to :PLINTH_USER;
--! EndIncluded billing/functions/subscribe.sql
--! Included billing/functions/manage_subscriptions.sql
-- What support does for others: whoever holds manage_subscriptions answers for the money. Never for what a provider bills.

create or replace function private.require_subscription_manager()
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if not access.has_permission('manage_subscriptions') then
    raise exception 'This needs the permission manage_subscriptions.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.require_subscription_manager() is 'PL403 unless the signed-in user has manage_subscriptions.';

-- A payment that came in some other way: a first one starts, the next ones renew, another plan is a change at once.
create or replace function private.grant_subscription_at(user_id uuid, plan_id uuid, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_current billing.user_subscriptions := private.lock_subscriber(grant_subscription_at.user_id, grant_subscription_at.at);
begin
  if v_current.id is null then
    perform private.offered_plan(grant_subscription_at.plan_id);
    return private.start_subscription(grant_subscription_at.user_id, grant_subscription_at.plan_id, false, grant_subscription_at.at);
  end if;
  perform private.require_own_billing(v_current);
  if v_current.plan_id = grant_subscription_at.plan_id then
    return private.renew_subscription(v_current.id, 'payment_succeeded', grant_subscription_at.at);
  end if;
  perform private.offered_plan(grant_subscription_at.plan_id);
  perform private.change_subscription_plan(v_current.id, grant_subscription_at.plan_id, grant_subscription_at.at);
  select s.* into strict v_current from billing.user_subscriptions s where s.id = v_current.id;
  return v_current;
end
$$;

comment on function private.grant_subscription_at(uuid, uuid, timestamptz) is 'billing.grant_subscription at a moment.';

create or replace function billing.grant_subscription(user_id uuid, plan_id uuid)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.require_subscription_manager();
  return private.grant_subscription_at(grant_subscription.user_id, grant_subscription.plan_id, now());
end
$$;

comment on function billing.grant_subscription(uuid, uuid) is
  'Gives a user a period of a plan: starts it, adds a period, or changes to it at once with proration. Needs manage_subscriptions (PL403). PL404, PL409, PL422.';
grant execute on function billing.grant_subscription(uuid, uuid) to :PLINTH_USER;

create or replace function billing.pause_subscription(user_id uuid)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_current billing.user_subscriptions;
begin
  perform private.require_subscription_manager();
  v_current := private.lock_subscriber(pause_subscription.user_id, now());
  perform private.require_own_billing(v_current);
  return private.pause_subscription(v_current.id, now());
end
$$;

comment on function billing.pause_subscription(uuid) is
  'Stops a paid period''s clock until its user resumes. Needs manage_subscriptions (PL403). PL404, PL409.';
grant execute on function billing.pause_subscription(uuid) to :PLINTH_USER;

create or replace function billing.end_subscription(user_id uuid)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_current billing.user_subscriptions;
begin
  perform private.require_subscription_manager();
  v_current := private.lock_subscriber(end_subscription.user_id, now());
  perform private.require_own_billing(v_current);
  return private.transition_subscription(v_current.id, 'canceled', now());
end
$$;

comment on function billing.end_subscription(uuid) is
  'Ends a subscription at once. Needs manage_subscriptions (PL403). PL404, PL409.';
grant execute on function billing.end_subscription(uuid) to :PLINTH_USER;
--! EndIncluded billing/functions/manage_subscriptions.sql
--! Included billing/functions/revise_plan.sql
-- A change of terms is a new version: the one before stays as it is for who is on it. Invoker rights: the policies of
-- billing.subscription_plans decide who may.
create or replace function billing.revise_plan(plan_id uuid, changes jsonb)
  returns billing.subscription_plans
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_plan billing.subscription_plans;
  v_result billing.subscription_plans;
begin
  if jsonb_typeof(changes) is distinct from 'object'
    or changes - array['plan_name', 'price_cents', 'trial_days', 'token_quota', 'rollover_limit', 'features', 'access_level', 'is_active'] <> '{}'
  then
    raise exception 'changes may name plan_name, price_cents, trial_days, token_quota, rollover_limit, features, access_level and is_active.'
      using errcode = 'PL422', column = 'changes';
  end if;
  select p.* into v_plan from billing.subscription_plans p where p.id = revise_plan.plan_id;
  if v_plan.id is null then
    raise exception 'There is no such plan.' using errcode = 'PL404', column = 'plan_id';
  end if;
  if v_plan.superseded_at is not null then
    raise exception 'The plan has a newer version.' using errcode = 'PL409', column = 'plan_id';
  end if;
  v_plan := jsonb_populate_record(v_plan, changes);
  insert into billing.subscription_plans (
    code, plan_name, billing_cycle, price_cents, currency, trial_days, token_quota, rollover_limit, features, access_level,
    is_active
  ) values (
    v_plan.code, v_plan.plan_name, v_plan.billing_cycle, v_plan.price_cents, v_plan.currency, v_plan.trial_days,
    v_plan.token_quota, v_plan.rollover_limit, v_plan.features, v_plan.access_level, v_plan.is_active
  )
  returning * into v_result;
  return v_result;
end
$$;

comment on function billing.revise_plan(uuid, jsonb) is
  'Makes a new version of a plan with some terms changed, given by column name. Needs manage_plans. PL404, PL409, PL422.';
grant execute on function billing.revise_plan(uuid, jsonb) to :PLINTH_USER;
--! EndIncluded billing/functions/revise_plan.sql
--! Included billing/functions/users_tier.sql
-- A user's tier is derived from the subscription and never stored twice. In schema identity because it is a field of
-- identity.users. Invoker rights: who may not read the account's subscriptions is told free. A payment that is owed costs
-- the tier only when the subscription expires; a pause costs it at once.
create or replace function identity.users_tier(u identity.users)
  returns text
  language plpgsql
  stable
  parallel safe
  set search_path = pg_catalog
as $$
begin
  return coalesce(
    (
      select p.code
      from billing.user_subscriptions s
      join billing.subscription_plans p on p.id = s.plan_id
      where s.user_id = u.id
        and s.status in ('trialing', 'active', 'past_due')
    ),
    'free'
  );
end
$$;

comment on function identity.users_tier(identity.users) is
  'The code of the plan that the account is on (trialing, active or past_due), or free.';
grant execute on function identity.users_tier(identity.users) to :PLINTH_USER;
--! EndIncluded billing/functions/users_tier.sql
--! Included billing/views/active_user_subscriptions.sql
-- Subscriptions that give access now, with what their plan gives. Invoker rights: who asks sees those they may see.
create or replace view billing.active_user_subscriptions
  with (security_invoker = true)
as
select
  s.id as subscription_id,
  s.user_id,
  s.plan_id,
  p.code as plan_code,
  p.plan_name,
  p.version as plan_version,
  s.status,
  p.billing_cycle,
  p.price_cents,
  p.currency,
  p.token_quota,
  p.features,
  p.access_level,
  s.started_at,
  s.current_period_start,
  s.current_period_end,
  s.trial_end,
  s.cancel_at_period_end,
  s.renewal_date
from billing.user_subscriptions s
join billing.subscription_plans p on p.id = s.plan_id
where s.status in ('trialing', 'active', 'past_due');

comment on view billing.active_user_subscriptions is
  E'@primaryKey subscription_id\n@foreignKey (plan_id) references billing.subscription_plans (id)\n@foreignKey (user_id) references identity.users (id)\nGrain: one row per user whose subscription gives access now: trialing, active, or past_due within the days of grace.';
comment on column billing.active_user_subscriptions.subscription_id is 'The subscription.';
comment on column billing.active_user_subscriptions.user_id is 'Whose it is.';
comment on column billing.active_user_subscriptions.plan_id is 'The version of the plan.';
comment on column billing.active_user_subscriptions.plan_code is 'The plan, such as premium; the user''s tier.';
comment on column billing.active_user_subscriptions.plan_name is 'Its name for people.';
comment on column billing.active_user_subscriptions.plan_version is 'Its version.';
comment on column billing.active_user_subscriptions.status is 'trialing, active or past_due.';
comment on column billing.active_user_subscriptions.billing_cycle is 'monthly, yearly or lifetime.';
comment on column billing.active_user_subscriptions.price_cents is 'Price of a period in the currency''s smallest unit.';
comment on column billing.active_user_subscriptions.currency is 'ISO 4217 code.';
comment on column billing.active_user_subscriptions.token_quota is 'Tokens per period; null means unlimited.';
comment on column billing.active_user_subscriptions.features is 'What the plan includes (JSON object).';
comment on column billing.active_user_subscriptions.access_level is 'Content of this level and below is included.';
comment on column billing.active_user_subscriptions.started_at is 'When the subscription began.';
comment on column billing.active_user_subscriptions.current_period_start is 'First moment of the period.';
comment on column billing.active_user_subscriptions.current_period_end is 'First moment after it; null for lifetime.';
comment on column billing.active_user_subscriptions.trial_end is 'End of the trial; null when there was none.';
comment on column billing.active_user_subscriptions.cancel_at_period_end is 'Whether it ends with the period.';
comment on column billing.active_user_subscriptions.renewal_date is 'Day (UTC) of the next renewal; null when it does not renew.';
revoke all on billing.active_user_subscriptions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.active_user_subscriptions to :PLINTH_USER;
--! EndIncluded billing/views/active_user_subscriptions.sql
--! Included analytics/views/subscription_metrics.sql
-- How the business does, by month. Read from the history, so that a month that is over stays as it was.
drop materialized view if exists analytics.subscription_metrics;
create materialized view analytics.subscription_metrics as
with months as (
  select
    m.month::date as month,
    m.month at time zone 'UTC' as month_start,
    least((m.month + interval '1 month') at time zone 'UTC', now()) as month_end
  from generate_series(
    (select date_trunc('month', min(c.effective_at) at time zone 'UTC') from billing.subscription_changes c),
    date_trunc('month', now() at time zone 'UTC'),
    interval '1 month'
  ) m (month)
),
-- Of each change, until when its state held. Recorded order decides between changes of one moment.
states as (
  select
    c.subscription_id,
    c.user_id,
    c.event,
    c.to_status as status,
    p.currency,
    p.price_cents > 0 as is_paid,
    case p.billing_cycle when 'monthly' then p.price_cents when 'yearly' then p.price_cents / 12.0 else 0 end as mrr_cents,
    c.effective_at,
    coalesce(
      lead(c.effective_at) over (partition by c.subscription_id order by c.effective_at, c.id), 'infinity'
    ) as until
  from billing.subscription_changes c
  join billing.subscription_plans p on p.id = c.to_plan_id
),
at_end as (
  select
    m.month,
    s.currency,
    count(*) filter (where s.status in ('active', 'past_due') and s.is_paid) as paying_subscriptions,
    count(*) filter (where s.status = 'active') as active_subscriptions,
    count(*) filter (where s.status = 'trialing') as trialing_subscriptions,
    count(*) filter (where s.status = 'past_due') as past_due_subscriptions,
    round(coalesce(sum(s.mrr_cents) filter (where s.status in ('active', 'past_due')), 0))::bigint as mrr_cents
  from months m
  join states s on s.effective_at < m.month_end and s.until >= m.month_end
  group by m.month, s.currency
),
churn as (
  select
    m.month,
    s.currency,
    count(*) as paying_at_start,
    count(*) filter (
      where exists (
        select
        from states e
        where e.subscription_id = s.subscription_id
          and e.effective_at < m.month_end
          and e.until >= m.month_end
          and e.status in ('canceled', 'expired')
      )
    ) as churned_subscriptions
  from months m
  join states s
    on s.effective_at < m.month_start
    and s.until >= m.month_start
    and s.status in ('active', 'past_due')
    and s.is_paid
  group by m.month, s.currency
),
trials as (
  select
    m.month,
    s.currency,
    count(*) as trials_started,
    count(*) filter (
      where exists (
        select
        from states e
        where e.user_id = s.user_id
          and e.effective_at >= s.effective_at
          and e.status = 'active'
          and e.is_paid
      )
    ) as trials_converted
  from months m
  join states s
    on s.event = 'trial_started'
    and s.effective_at >= m.month_start
    and s.effective_at < m.month_end
  group by m.month, s.currency
),
currencies as (
  select distinct s.currency from states s
)
select
  m.month,
  c.currency,
  coalesce(a.mrr_cents, 0) as mrr_cents,
  coalesce(a.active_subscriptions, 0) as active_subscriptions,
  coalesce(a.paying_subscriptions, 0) as paying_subscriptions,
  coalesce(a.trialing_subscriptions, 0) as trialing_subscriptions,
  coalesce(a.past_due_subscriptions, 0) as past_due_subscriptions,
  coalesce(h.paying_at_start, 0) as paying_at_start,
  coalesce(h.churned_subscriptions, 0) as churned_subscriptions,
  round(h.churned_subscriptions::numeric / nullif(h.paying_at_start, 0), 4) as churn_rate,
  coalesce(t.trials_started, 0) as trials_started,
  coalesce(t.trials_converted, 0) as trials_converted,
  round(t.trials_converted::numeric / nullif(t.trials_started, 0), 4) as trial_conversion_rate
from months m
cross join currencies c
left join at_end a on a.month = m.month and a.currency = c.currency
left join churn h on h.month = m.month and h.currency = c.currency
left join trials t on t.month = m.month and t.currency = c.currency;

-- Refreshing concurrently needs it.
create unique index subscription_metrics_month_currency_idx on analytics.subscription_metrics (month, currency);

comment on materialized view analytics.subscription_metrics is
  'Grain: one row per month (UTC) since the first subscription and currency; this month''s is as of the last refresh (hourly).';
comment on column analytics.subscription_metrics.month is 'First day of the month.';
comment on column analytics.subscription_metrics.currency is 'ISO 4217 code of the plans counted.';
comment on column analytics.subscription_metrics.mrr_cents is
  'Monthly recurring revenue at the month''s end in the currency''s smallest unit: active and past_due, a twelfth of yearly prices, nothing of lifetime ones; rounded once.';
comment on column analytics.subscription_metrics.active_subscriptions is 'Active at the month''s end, free plans too.';
comment on column analytics.subscription_metrics.paying_subscriptions is 'Active or past_due at the month''s end on a plan that costs something.';
comment on column analytics.subscription_metrics.trialing_subscriptions is 'Trialing at the month''s end.';
comment on column analytics.subscription_metrics.past_due_subscriptions is 'Past_due at the month''s end.';
comment on column analytics.subscription_metrics.paying_at_start is 'Paying subscriptions at the month''s start.';
comment on column analytics.subscription_metrics.churned_subscriptions is 'Those of them that were canceled or expired at its end.';
comment on column analytics.subscription_metrics.churn_rate is 'Churned per paying at start, 0 to 1; null when none paid.';
comment on column analytics.subscription_metrics.trials_started is 'Trials that began in the month.';
comment on column analytics.subscription_metrics.trials_converted is 'Those of them whose user had a paid active subscription since.';
comment on column analytics.subscription_metrics.trial_conversion_rate is 'Converted per started, 0 to 1; null when none began.';
grant select on analytics.subscription_metrics to :PLINTH_ANALYST;
--! EndIncluded analytics/views/subscription_metrics.sql
--! Included private/functions/refresh_subscription_metrics.sql
-- Concurrently, so that nobody who reads the metrics waits.
create or replace function private.refresh_subscription_metrics()
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  refresh materialized view concurrently analytics.subscription_metrics;
  return 0;
end
$$;

comment on function private.refresh_subscription_metrics() is 'Recomputes analytics.subscription_metrics without blocking its readers.';
grant execute on function private.refresh_subscription_metrics() to :PLINTH_WORKER;
--! EndIncluded private/functions/refresh_subscription_metrics.sql
