--! Previous: sha1:52876651a84c708d96925bcab5fc59ab6330ecf4
--! Hash: sha1:f3b609e3c3b99ac000843a250c71d4ff3bafd9e9
--! Message: billing

-- Plans, subscriptions and payments, prices of models, and the ledger of tokens.

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

create table billing.model_prices (
  id uuid primary key default plinth.uuid_v7(),
  model_id uuid not null references llm.models on delete cascade,
  currency text not null default 'USD',
  input_price_per_million_tokens numeric not null,
  output_price_per_million_tokens numeric not null,
  cached_input_price_per_million_tokens numeric,
  effective_from timestamptz,
  effective_to timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  reasoning_price_per_million_tokens numeric,
  constraint model_prices_currency_check check (currency ~ '^[A-Z]{3}$'),
  constraint model_prices_input_price_is_not_negative
    check (input_price_per_million_tokens >= 0 and input_price_per_million_tokens <> 'NaN'),
  constraint model_prices_output_price_is_not_negative
    check (output_price_per_million_tokens >= 0 and output_price_per_million_tokens <> 'NaN'),
  constraint model_prices_cached_input_price_is_not_negative
    check (cached_input_price_per_million_tokens >= 0 and cached_input_price_per_million_tokens <> 'NaN'),
  constraint model_prices_effective_from_before_effective_to check (effective_from < effective_to),
  -- At any time, a model has at most one price per currency.
  constraint model_prices_periods_do_not_overlap exclude using gist (
    model_id with =,
    currency with =,
    tstzrange(effective_from, effective_to) with &&
  ),
  constraint model_prices_reasoning_price_is_not_negative
    check (reasoning_price_per_million_tokens >= 0 and reasoning_price_per_million_tokens <> 'NaN'),
  constraint model_prices_input_price_keeps_six_decimals check (
    input_price_per_million_tokens < 1e12 and input_price_per_million_tokens = round(input_price_per_million_tokens, 6)
  ),
  constraint model_prices_output_price_keeps_six_decimals check (
    output_price_per_million_tokens < 1e12 and output_price_per_million_tokens = round(output_price_per_million_tokens, 6)
  ),
  constraint model_prices_cached_price_keeps_six_decimals check (
    cached_input_price_per_million_tokens < 1e12
      and cached_input_price_per_million_tokens = round(cached_input_price_per_million_tokens, 6)
  ),
  constraint model_prices_reasoning_price_keeps_six_decimals check (
    reasoning_price_per_million_tokens < 1e12
      and reasoning_price_per_million_tokens = round(reasoning_price_per_million_tokens, 6)
  )
);

alter table billing.model_prices enable row level security;

-- Serves the foreign key.
create index model_prices_model_id_effective_from_idx on billing.model_prices (model_id, effective_from);

comment on table billing.model_prices is 'One row per model, currency and period of validity.';
comment on column billing.model_prices.id is 'Id (UUIDv7).';
comment on column billing.model_prices.model_id is 'The model.';
comment on column billing.model_prices.currency is 'Currency of the prices (ISO 4217 code).';
comment on column billing.model_prices.input_price_per_million_tokens is 'Price of 1,000,000 input tokens, in units of currency.';
comment on column billing.model_prices.output_price_per_million_tokens is
  'Price of 1,000,000 output tokens, in units of currency.';
comment on column billing.model_prices.cached_input_price_per_million_tokens is
  'Price of 1,000,000 cached input tokens, in units of currency; null if there is no such price.';
comment on column billing.model_prices.effective_from is
  'Time from which the price applies (inclusive); null if it applies at any time before effective_to.';
comment on column billing.model_prices.effective_to is
  'Time from which the price no longer applies; null if it applies until further notice.';
comment on column billing.model_prices.created_at is 'Time when the row was created.';
comment on column billing.model_prices.updated_at is 'Time of the last change.';
comment on column billing.model_prices.reasoning_price_per_million_tokens is
  'Price of 1,000,000 reasoning tokens, in units of currency; null if they cost the same as output tokens.';
comment on constraint model_prices_input_price_keeps_six_decimals on billing.model_prices is
  'The price must be below 1,000,000,000,000 and have at most six decimals.';
comment on constraint model_prices_output_price_keeps_six_decimals on billing.model_prices is
  'The price must be below 1,000,000,000,000 and have at most six decimals.';
comment on constraint model_prices_cached_price_keeps_six_decimals on billing.model_prices is
  'The price must be below 1,000,000,000,000 and have at most six decimals.';
comment on constraint model_prices_reasoning_price_keeps_six_decimals on billing.model_prices is
  'The price must be below 1,000,000,000,000 and have at most six decimals.';

-- A row is one version of one offer (code, cycle, currency). Its terms never change, because subscriptions depend on them: a
-- change creates a new row.
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
  -- Ten million units: a price multiplied by seconds stays far below the limit of bigint.
  constraint subscription_plans_price_cents_check check (price_cents between 0 and 1000000000),
  constraint subscription_plans_currency_check check (currency ~ '^[A-Z]{3}$'),
  constraint subscription_plans_trial_days_check check (trial_days between 0 and 365),
  constraint subscription_plans_token_quota_check check (token_quota between 0 and 1000000000000000),
  constraint subscription_plans_rollover_limit_is_not_negative check (rollover_limit >= 0),
  constraint subscription_plans_features_is_an_object check (jsonb_typeof(features) = 'object'),
  constraint subscription_plans_access_level_check check (access_level between 0 and 1000000),
  constraint subscription_plans_free_means_free
    check (code <> 'free' or (price_cents = 0 and billing_cycle = 'monthly' and trial_days = 0))
);

alter table billing.subscription_plans enable row level security;

-- Each offer has one newest version: of two concurrent changes, one fails.
create unique index subscription_plans_newest_version_idx
  on billing.subscription_plans (code, billing_cycle, currency) where superseded_at is null;

comment on table billing.subscription_plans is
  'One row per version of an offer: a plan code, a billing cycle and a currency. The terms of a version never change.';
comment on column billing.subscription_plans.id is 'Id (UUIDv7).';
comment on column billing.subscription_plans.code is 'Code of the plan in rules, and tier of its users, such as free or premium.';
comment on column billing.subscription_plans.plan_name is 'Name of the plan shown to people.';
comment on column billing.subscription_plans.version is 'Version number of the offer, from 1; set by the database.';
comment on column billing.subscription_plans.billing_cycle is
  'Billing cycle: monthly, yearly or lifetime (paid once, never ends).';
comment on column billing.subscription_plans.price_cents is 'Price of one period, in the currency''s smallest unit.';
comment on column billing.subscription_plans.currency is 'Currency of the price (ISO 4217 code).';
comment on column billing.subscription_plans.trial_days is 'Length of the free trial in days, once per user; 0 for no trial.';
comment on column billing.subscription_plans.token_quota is
  'Tokens granted per billing period (per month for lifetime plans); null for unlimited.';
comment on column billing.subscription_plans.rollover_limit is 'Maximum number of unused tokens carried into the next period.';
comment on column billing.subscription_plans.features is 'Features of the plan, for the application (JSON object).';
comment on column billing.subscription_plans.access_level is 'Access level of the plan; it includes content up to this level.';
comment on column billing.subscription_plans.is_active is 'Whether new subscriptions may choose the plan.';
comment on column billing.subscription_plans.superseded_at is
  'Time when a newer version replaced it; null for the newest version.';
comment on column billing.subscription_plans.created_at is 'Time when the version was created.';
comment on column billing.subscription_plans.updated_at is 'Time of the last change.';

-- The payment provider's price for each version of a plan.
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

-- Serves the foreign key, and the lookup of a plan's price.
create index plan_prices_plan_id_provider_idx on billing.plan_prices (plan_id, provider);

comment on table billing.plan_prices is
  E'@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  'One row per price at a payment provider; a plan may have several.';
comment on column billing.plan_prices.plan_id is 'The plan sold at this price.';
comment on column billing.plan_prices.provider is 'Name of the payment provider, such as stripe.';
comment on column billing.plan_prices.provider_price_id is 'Id of the price at the provider, such as price_….';
comment on column billing.plan_prices.created_at is 'Time when the row was created.';

-- A user's customer account at a payment provider.
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

-- Serves the foreign key, and the lookup of a user's customer account.
create index provider_customers_user_id_idx on billing.provider_customers (user_id);

comment on table billing.provider_customers is 'One row per customer at a payment provider; a user may be several customers.';
comment on column billing.provider_customers.provider is 'Name of the payment provider, such as stripe.';
comment on column billing.provider_customers.provider_customer_id is 'Id of the customer at the provider, such as cus_….';
comment on column billing.provider_customers.user_id is 'The user.';
comment on column billing.provider_customers.created_at is 'Time when the customer was linked to the user.';

-- A subscription is current while it is trialing, active, past_due or paused.
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
  -- In UTC, where a day has 24 hours, so that it can be generated. Providers report a renewal within a day.
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

-- One current subscription per user, also under concurrency.
create unique index user_subscriptions_one_current_idx
  on billing.user_subscriptions (user_id) where status in ('trialing', 'active', 'past_due', 'paused');
-- One trial per user; a payment provider's trials follow the provider's rules.
create unique index user_subscriptions_one_trial_idx
  on billing.user_subscriptions (user_id) where trial_end is not null and provider is null;
-- Serves the foreign key, and the check for an active subscription.
create index user_subscriptions_user_id_status_idx on billing.user_subscriptions (user_id, status);
-- Serve the foreign keys.
create index user_subscriptions_plan_id_idx on billing.user_subscriptions (plan_id);
create index user_subscriptions_pending_plan_id_idx on billing.user_subscriptions (pending_plan_id);
-- Serves the job: due subscriptions.
create index user_subscriptions_due_at_idx on billing.user_subscriptions (due_at) where due_at is not null;

comment on table billing.user_subscriptions is
  'One row per subscription of a user, current or past. At most one per user is current.';
comment on column billing.user_subscriptions.id is 'Id (UUIDv7).';
comment on column billing.user_subscriptions.user_id is 'The subscriber.';
comment on column billing.user_subscriptions.plan_id is 'The plan version of the subscription.';
comment on column billing.user_subscriptions.status is
  'State: trialing, active, past_due or paused (current), or canceled or expired (ended).';
comment on column billing.user_subscriptions.started_at is 'Time when the subscription started.';
comment on column billing.user_subscriptions.anchor_at is
  'Time that sets the day and time of month (UTC) at which periods start; shorter months use their last day.';
comment on column billing.user_subscriptions.current_period_start is 'Start of the current period (inclusive).';
comment on column billing.user_subscriptions.current_period_end is
  'End of the current period (exclusive); null for lifetime plans.';
comment on column billing.user_subscriptions.cancel_at_period_end is
  'Whether the subscription ends with the current period instead of renewing.';
comment on column billing.user_subscriptions.pending_plan_id is
  'The plan that applies from the next period; null if the plan does not change.';
comment on column billing.user_subscriptions.renewal_date is 'Day (UTC) of the next renewal; null if it does not renew.';
comment on column billing.user_subscriptions.trial_end is 'End of the trial; null if there was none.';
comment on column billing.user_subscriptions.past_due_since is 'Time since which a payment is overdue; null unless past_due.';
comment on column billing.user_subscriptions.paused_at is 'Time since which the subscription is paused; null unless paused.';
comment on column billing.user_subscriptions.ended_at is 'Time when it was canceled or expired; null while it is current.';
comment on column billing.user_subscriptions.quota_period_start is 'Start of the token quota''s period (inclusive).';
comment on column billing.user_subscriptions.quota_period_end is
  'End of the token quota''s period (exclusive); a month for lifetime plans, otherwise the billing period.';
comment on column billing.user_subscriptions.quota_granted_from is
  'Start of the latest period whose quota was granted; null before the first.';
comment on column billing.user_subscriptions.provider is 'Name of the payment provider that bills it; null if none does.';
comment on column billing.user_subscriptions.provider_subscription_id is 'Id of the subscription at the provider.';
comment on column billing.user_subscriptions.due_at is
  'Time when the job next checks it: the end of the period (a day later if a provider bills it), or a week after a '
  'payment became overdue.';
comment on column billing.user_subscriptions.created_at is 'Time when the row was created.';
comment on column billing.user_subscriptions.updated_at is 'Time of the last change.';

-- The state machine as data: the events allowed in each state, and the next state. A trigger rejects every other transition.
create table private.subscription_transitions (
  from_status text not null,
  event text not null,
  to_status text not null,
  -- A provider can end and revive the subscriptions that it bills; no other event leaves canceled.
  is_providers boolean not null default false,
  primary key (from_status, event)
);

alter table private.subscription_transitions enable row level security;

comment on table private.subscription_transitions is 'One row per state of a subscription and event that is allowed in it.';
comment on column private.subscription_transitions.from_status is 'State before the event.';
comment on column private.subscription_transitions.event is 'Name of the event.';
comment on column private.subscription_transitions.to_status is 'State after the event.';
comment on column private.subscription_transitions.is_providers is
  'Whether the transition is allowed only for subscriptions billed by a payment provider.';

-- Every change of a subscription's state, plan and period, with its cost.
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

-- A subscription's history in order; also serves the foreign key and the metrics.
create index subscription_changes_subscription_id_effective_at_idx
  on billing.subscription_changes (subscription_id, effective_at, id);
-- Serve the foreign keys.
create index subscription_changes_user_id_idx on billing.subscription_changes (user_id);
create index subscription_changes_from_plan_id_idx on billing.subscription_changes (from_plan_id);
create index subscription_changes_to_plan_id_idx on billing.subscription_changes (to_plan_id);

comment on table billing.subscription_changes is
  'One row per change of a subscription''s state, plan or period. Rows never change.';
comment on column billing.subscription_changes.id is 'Id (UUIDv7); sorts changes of the same time.';
comment on column billing.subscription_changes.subscription_id is 'The subscription.';
comment on column billing.subscription_changes.user_id is 'The owner of the subscription.';
comment on column billing.subscription_changes.event is 'Kind of change, such as started, upgraded, renewed, paused or canceled.';
comment on column billing.subscription_changes.from_status is 'State before the change; null for the first.';
comment on column billing.subscription_changes.to_status is 'State after the change.';
comment on column billing.subscription_changes.from_plan_id is 'Plan before the change; null for the first.';
comment on column billing.subscription_changes.to_plan_id is 'Plan after the change.';
comment on column billing.subscription_changes.credit_cents is
  'Proration credit for the unused part of the old plan, in the currency''s smallest unit; zero or negative.';
comment on column billing.subscription_changes.charge_cents is
  'Price of the new plan for the rest of the period, or of a whole period, in the currency''s smallest unit.';
comment on column billing.subscription_changes.amount_cents is
  'Sum of credit_cents and charge_cents; negative if money is returned.';
comment on column billing.subscription_changes.currency is 'Currency of the amounts (ISO 4217 code).';
comment on column billing.subscription_changes.period_seconds is 'Proration: length of the period, in seconds.';
comment on column billing.subscription_changes.unused_seconds is 'Proration: unused part of the period, in seconds.';
comment on column billing.subscription_changes.tokens_granted is 'Tokens added because of a plan change.';
comment on column billing.subscription_changes.effective_at is
  'Time when the change took effect; earlier than created_at if a job or event was late.';
comment on column billing.subscription_changes.created_at is 'Time when the change was recorded.';

-- Payments, without the means of payment. The state is generated from recorded facts, so it cannot go back.
create table billing.payments (
  id uuid primary key default plinth.uuid_v7(),
  -- Payments must be kept longer than accounts.
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

comment on table billing.payments is 'One row per invoice or purchase at a payment provider. Contains no payment method details.';
comment on column billing.payments.id is 'Id (UUIDv7).';
comment on column billing.payments.user_id is 'The user who paid; null if the account was deleted.';
comment on column billing.payments.subscription_id is 'The subscription paid for; null if unknown or deleted.';
comment on column billing.payments.plan_id is 'The plan paid for; null if unknown.';
comment on column billing.payments.provider is 'Name of the payment provider, such as stripe.';
comment on column billing.payments.provider_payment_id is 'Id of the invoice or purchase at the provider.';
comment on column billing.payments.provider_reference is
  'Id of the transaction at the provider; refunds and disputes refer to it.';
comment on column billing.payments.provider_subscription_id is
  'Id of the subscription at the provider; null if the payment is not for a subscription.';
comment on column billing.payments.amount_cents is 'Amount due, in the currency''s smallest unit.';
comment on column billing.payments.refunded_cents is 'Refunded part of the amount, in the currency''s smallest unit.';
comment on column billing.payments.currency is 'Currency of the amounts (ISO 4217 code).';
comment on column billing.payments.period_start is
  'Start of the period paid for (inclusive); null if the payment is not for a period.';
comment on column billing.payments.period_end is 'End of the period paid for (exclusive); null if it does not end.';
comment on column billing.payments.paid_at is 'Time of payment; null if not paid yet.';
comment on column billing.payments.failed_at is 'Time of the last failed attempt; null if none failed.';
comment on column billing.payments.disputed_at is 'Time when the payer disputed the payment; null if not disputed.';
comment on column billing.payments.failure_code is 'The provider''s reason code for the failed attempt.';
comment on column billing.payments.status is
  'State derived from the other columns: pending, succeeded, failed, refunded, partially_refunded or disputed.';
comment on column billing.payments.created_at is 'Time when the row was created.';
comment on column billing.payments.updated_at is 'Time of the last change.';

-- The inbox of payment providers: events are stored first and then processed, so that none is lost.
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
  constraint payment_events_payload_is_a_small_object
    check (jsonb_typeof(payload) = 'object' and pg_column_size(payload) < 10000),
  constraint payment_events_processed_has_an_outcome check (processed_at is null or outcome is not null)
);

alter table private.payment_events enable row level security;

-- Unprocessed events, next attempt first.
create index payment_events_next_attempt_at_idx on private.payment_events (next_attempt_at) where processed_at is null;
-- Events that wait for a customer's other events.
create index payment_events_customer_idx
  on private.payment_events (provider, provider_customer_id) where processed_at is null;

comment on table private.payment_events is 'One row per event that a payment provider sent, including events of unknown kinds.';
comment on column private.payment_events.id is 'Id (UUIDv7).';
comment on column private.payment_events.provider is 'Name of the payment provider, such as stripe.';
comment on column private.payment_events.provider_event_id is
  'Id of the event at the provider; the same event sent again is the same row.';
comment on column private.payment_events.event_type is 'Type of the event, in the provider''s terms.';
comment on column private.payment_events.provider_customer_id is
  'Id of the customer at the provider; null if the event names none.';
comment on column private.payment_events.occurred_at is
  'Time of the event, by the provider''s clock; later events take precedence.';
comment on column private.payment_events.payload is 'Required fields of the event, and no others (JSON object).';
comment on column private.payment_events.received_at is 'Time when the event first arrived.';
comment on column private.payment_events.processed_at is
  'Time when the event was processed; null while it is pending or waiting.';
comment on column private.payment_events.outcome is 'Outcome: applied, ignored, or the reason it waits.';
comment on column private.payment_events.attempts is 'Number of attempts that failed.';
comment on column private.payment_events.next_attempt_at is 'Time of the next attempt.';

-- The provider's events about a subscription, merged so that their order of arrival does not matter: each column has the value of
-- the latest event that contains it, or the largest value.
create table private.provider_subscriptions (
  provider text not null,
  provider_subscription_id text not null,
  provider_customer_id text,
  -- The account may not be known yet, and may be deleted before the provider stops sending.
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
  items jsonb,
  price_history jsonb not null default '{}',
  cancel_at timestamptz,
  standing text,
  paid_plan_id uuid references billing.subscription_plans on delete restrict,
  primary key (provider, provider_subscription_id),
  constraint provider_subscriptions_price_history_is_an_object check (jsonb_typeof(price_history) = 'object')
);

alter table private.provider_subscriptions enable row level security;

-- Serve the foreign keys.
create index provider_subscriptions_user_id_idx on private.provider_subscriptions (user_id);
create index provider_subscriptions_plan_id_idx on private.provider_subscriptions (plan_id);
-- Serves the foreign key.
create index provider_subscriptions_paid_plan_id_idx on private.provider_subscriptions (paid_plan_id);

comment on table private.provider_subscriptions is
  'One row per subscription at a payment provider: the state reported by its own events, and the state derived from '
  'them and its invoices.';
comment on column private.provider_subscriptions.provider is 'Name of the payment provider, such as stripe.';
comment on column private.provider_subscriptions.provider_subscription_id is 'Id of the subscription at the provider.';
comment on column private.provider_subscriptions.provider_customer_id is 'Id of the customer at the provider.';
comment on column private.provider_subscriptions.user_id is 'The user; null if not known yet.';
comment on column private.provider_subscriptions.status is
  'State in the latest event about the subscription itself: incomplete, trialing, active, past_due, paused or canceled.';
comment on column private.provider_subscriptions.status_order is 'Rank of the event that reported the state; canceled is final.';
comment on column private.provider_subscriptions.was_live is
  'Whether the subscription ever was trialing, active, past_due or paused.';
comment on column private.provider_subscriptions.provider_price_id is
  'Derived: id at the provider of the plan item''s price; null if unknown.';
comment on column private.provider_subscriptions.plan_id is 'Derived: the plan; null while none of its prices is known.';
comment on column private.provider_subscriptions.cancel_at_period_end is
  'Whether it ends with the current period, in the latest event about the subscription itself.';
comment on column private.provider_subscriptions.trial_end is
  'End of the trial, in the latest event about the subscription itself.';
comment on column private.provider_subscriptions.object_order is 'Rank of the latest event about the subscription itself.';
comment on column private.provider_subscriptions.started_at is 'Earliest start reported by an event.';
comment on column private.provider_subscriptions.ended_at is 'Time when the subscription ended; null while it has not.';
comment on column private.provider_subscriptions.period_start is 'Derived: start of the current period (inclusive).';
comment on column private.provider_subscriptions.period_end is
  'Derived: end of the current period (exclusive); null for lifetime.';
comment on column private.provider_subscriptions.paid_period_end is
  'Derived: time until which the current period is paid; infinity for lifetime, null if unpaid or the money was returned.';
comment on column private.provider_subscriptions.revoked_period_end is
  'Derived: end of the current period if its money was returned, infinity for lifetime; null otherwise.';
comment on column private.provider_subscriptions.updated_at is 'Time of the last change.';
comment on column private.provider_subscriptions.items is
  'Items in the latest event about the subscription itself (JSON array of price, start, end in seconds).';
comment on column private.provider_subscriptions.price_history is
  'Prices of the items in each of the latest 50 events about the subscription itself (JSON object by rank of the event).';
comment on column private.provider_subscriptions.cancel_at is
  'Time when the provider will end the subscription, in the latest event about the subscription itself; null if it will not.';
comment on column private.provider_subscriptions.standing is
  'Derived: state, including the reports of its invoices since the latest event about the subscription itself.';
comment on column private.provider_subscriptions.paid_plan_id is
  'Derived: the plan whose price was paid for the current period; null if none was.';

-- Months for which users received the free plan's quota, so that the job continues where it stopped.
create table private.free_quotas (
  user_id uuid primary key references identity.users on delete cascade,
  granted_month date not null,
  constraint free_quotas_granted_month_check check (extract(day from granted_month) = 1)
);

alter table private.free_quotas enable row level security;

comment on table private.free_quotas is 'One row per user who ever received the free plan''s monthly tokens.';
comment on column private.free_quotas.user_id is 'The user.';
comment on column private.free_quotas.granted_month is 'First day of the latest month (UTC) whose tokens were granted.';

-- A user's token account: the one row that every movement of tokens locks. Each settlement updates it, so pages keep free space
-- for heap-only updates, and no index contains a column that changes with them.
create table billing.usage_tracking (
  user_id uuid primary key references identity.users on delete cascade,
  token_count bigint not null default 0,
  lifetime_tokens bigint not null default 0,
  last_reset timestamptz not null,
  next_hold_expires_at timestamptz,
  entitled_until timestamptz not null default '-infinity',
  constraint usage_tracking_token_count_is_not_negative check (token_count >= 0)
) with (fillfactor = 50);

alter table billing.usage_tracking enable row level security;

-- Accounts that the monthly reset has not reached yet.
create index usage_tracking_last_reset_idx on billing.usage_tracking (last_reset);
-- Accounts with holds that are due.
create index usage_tracking_next_hold_expires_at_idx on billing.usage_tracking (next_hold_expires_at)
  where next_hold_expires_at is not null;

comment on table billing.usage_tracking is
  'One row per user who ever had tokens: totals of usage, always the sum of the user''s usage_events.';
comment on column billing.usage_tracking.user_id is 'The account.';
comment on column billing.usage_tracking.token_count is
  'Tokens used since last_reset, by time of use. Without usage since, it may hold an earlier month''s count until the '
  'job resets it.';
comment on column billing.usage_tracking.lifetime_tokens is 'Tokens used over the lifetime of the account.';
comment on column billing.usage_tracking.last_reset is
  'Start of the period counted in token_count: the first moment of a month (UTC).';
comment on column billing.usage_tracking.next_hold_expires_at is
  'Time before which no open hold expires; null if there are no open holds to check.';
comment on column billing.usage_tracking.entitled_until is
  'Time until which the user has received all grants of the plan; see private.ensure_current_grants.';

create table billing.token_grants (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null references billing.usage_tracking on delete cascade,
  amount bigint,
  consumed bigint not null default 0,
  held bigint not null default 0,
  priority integer not null default 100,
  starts_at timestamptz not null,
  expires_at timestamptz,
  source text not null,
  source_id uuid,
  idempotency_key text not null,
  closed_at timestamptz,
  retired_at timestamptz,
  created_at timestamptz not null default now(),
  -- Also serves the foreign key.
  constraint token_grants_user_id_idempotency_key_key unique (user_id, idempotency_key),
  -- The central invariant of the ledger.
  constraint token_grants_never_give_more_than_they_have check (consumed >= 0 and held >= 0 and consumed + held <= amount)
) with (fillfactor = 50);

alter table billing.token_grants enable row level security;

-- The grants that a reservation reads; used-up grants of past years cost nothing.
create index token_grants_user_id_live_idx on billing.token_grants (user_id) where retired_at is null;
-- Serves the job: grants to retire.
create index token_grants_expires_at_idx on billing.token_grants (expires_at) where retired_at is null;

comment on table billing.token_grants is
  'One row per grant of tokens: amount = consumed + held + remaining. Deleted only with the account.';
comment on column billing.token_grants.id is 'Id (UUIDv7).';
comment on column billing.token_grants.user_id is 'The user who may use the tokens.';
comment on column billing.token_grants.amount is 'Tokens granted; null for unlimited while the grant is in force.';
comment on column billing.token_grants.consumed is 'Tokens charged to the grant.';
comment on column billing.token_grants.held is 'Tokens reserved by open holds.';
comment on column billing.token_grants.priority is
  'Priority of the grant: lower values are used first, then the earliest expires_at, then the oldest grant.';
comment on column billing.token_grants.starts_at is 'Time from which the grant can be used.';
comment on column billing.token_grants.expires_at is
  'Time from which no new tokens can be taken; null if the grant does not expire. Earlier holds keep their tokens.';
comment on column billing.token_grants.source is 'Origin of the grant: plan, purchase, manual, promotion or rollover.';
comment on column billing.token_grants.source_id is 'Id of the subscription or payment behind the grant; null if there is none.';
comment on column billing.token_grants.idempotency_key is 'Idempotency key of the call that created the grant; unique per user.';
comment on column billing.token_grants.closed_at is
  'Time when the plan''s period was closed and the remaining tokens carried over; null if not closed.';
comment on column billing.token_grants.retired_at is
  'Time when the job found that the grant can no longer be used; null while the job still checks it.';
comment on column billing.token_grants.created_at is 'Time when the grant was created.';

create table billing.token_holds (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid not null,
  model_id uuid not null,
  max_tokens bigint not null,
  grant_ids uuid[] not null,
  grant_tokens bigint[] not null,
  state text not null default 'open',
  idempotency_key text not null,
  expires_at timestamptz not null,
  settled_at timestamptz,
  usage_event_id uuid,
  created_at timestamptz not null default now(),
  constraint token_holds_user_id_idempotency_key_key unique (user_id, idempotency_key)
) with (fillfactor = 70);

alter table billing.token_holds enable row level security;

-- A user's holds that may be open; see usage_tracking.next_hold_expires_at. Without state, so that a settlement changes no index
-- (heap-only).
create index token_holds_user_id_expires_at_idx on billing.token_holds (user_id, expires_at);

comment on table billing.token_holds is
  E'@foreignKey (user_id) references identity.users (id)\n'
  '@foreignKey (model_id) references llm.models (id)\n'
  'One row per hold: tokens reserved for a model call in progress. Ended holds are kept as the memory of their '
  'idempotency keys.';
comment on column billing.token_holds.id is 'Id (UUIDv7).';
comment on column billing.token_holds.user_id is
  'The user whose tokens are reserved; not a foreign key, see billing.forget_usage_account.';
comment on column billing.token_holds.model_id is
  'The model; not a foreign key, because every call would lock the model''s row. daily_usage has the foreign key.';
comment on column billing.token_holds.max_tokens is 'Number of tokens reserved.';
comment on column billing.token_holds.grant_ids is
  'Grants that the tokens were taken from, in order; see billing.token_hold_allocations.';
comment on column billing.token_holds.grant_tokens is 'Number of tokens taken from each grant.';
comment on column billing.token_holds.state is
  'State: open, settled, released or expired. An open hold past expires_at counts as expired.';
comment on column billing.token_holds.idempotency_key is 'Idempotency key of the reserve call; unique per user.';
comment on column billing.token_holds.expires_at is 'Time when the tokens are returned automatically.';
comment on column billing.token_holds.settled_at is 'Time when the usage was recorded; null if it was not.';
comment on column billing.token_holds.usage_event_id is 'The recorded usage; null if there is none.';
comment on column billing.token_holds.created_at is 'Time when the hold was created.';

create table billing.usage_events (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid,
  model_id uuid,
  chat_id uuid,
  message_id uuid,
  hold_id uuid,
  kind text not null default 'usage',
  source text not null,
  corrects_event_id uuid,
  idempotency_key text,
  input_tokens bigint not null,
  output_tokens bigint not null,
  cached_input_tokens bigint not null default 0,
  reasoning_tokens bigint not null default 0,
  total_tokens bigint not null,
  charged_tokens bigint not null,
  overdraft_tokens bigint not null,
  grant_ids uuid[] not null default '{}',
  grant_tokens bigint[] not null default '{}',
  is_priced boolean not null,
  price_id uuid,
  currency text not null default 'USD',
  input_price_per_million_tokens numeric(18, 6),
  output_price_per_million_tokens numeric(18, 6),
  cached_input_price_per_million_tokens numeric(18, 6),
  reasoning_price_per_million_tokens numeric(18, 6),
  cost numeric(38, 12),
  occurred_at timestamptz not null,
  created_at timestamptz not null default now(),
  primary key (id, created_at)
) partition by range (created_at);

alter table billing.usage_events enable row level security;

-- A user's events by time.
create index usage_events_user_id_occurred_at_idx on billing.usage_events (user_id, occurred_at);
-- The corrections of an event.
create index usage_events_corrects_event_id_idx on billing.usage_events (corrects_event_id) where corrects_event_id is not null;

comment on table billing.usage_events is
  E'@foreignKey (user_id) references identity.users (id)\n'
  '@foreignKey (model_id) references llm.models (id)\n'
  'One row per use of a model, or correction of one. Append-only; partitioned by month of created_at. Its sums are '
  'authoritative; corrections are stored as differences.';
comment on column billing.usage_events.id is 'Id (UUIDv7).';
comment on column billing.usage_events.user_id is
  'The user; null if the account was deleted. Not a foreign key, see billing.forget_usage_account.';
comment on column billing.usage_events.model_id is
  'The model; null if unknown. Not a foreign key: the row of daily_usage has one, which preserves the model.';
comment on column billing.usage_events.chat_id is 'The chat, which may have been deleted since.';
comment on column billing.usage_events.message_id is
  'The message, which may have been deleted since. Not a foreign key: deleting a chat would search every partition for '
  'each message.';
comment on column billing.usage_events.hold_id is 'The hold that the usage settled; null if there was none.';
comment on column billing.usage_events.kind is 'Kind: usage, or correction (the difference to the recorded usage).';
comment on column billing.usage_events.source is
  'Source: hold (settled), service (recorded without a hold), message (tokens_used set by a service) or self_reported '
  '(tokens_used set by the user).';
comment on column billing.usage_events.corrects_event_id is 'The usage that the correction restates; null for usage.';
comment on column billing.usage_events.idempotency_key is 'Idempotency key of the call that recorded it; null if a trigger did.';
comment on column billing.usage_events.input_tokens is 'Tokens sent to the model, including cached tokens.';
comment on column billing.usage_events.output_tokens is 'Tokens generated by the model, including reasoning tokens.';
comment on column billing.usage_events.cached_input_tokens is 'Input tokens that the provider had cached.';
comment on column billing.usage_events.reasoning_tokens is 'Output tokens used for reasoning.';
comment on column billing.usage_events.total_tokens is 'Input tokens plus output tokens.';
comment on column billing.usage_events.charged_tokens is 'Tokens charged to grants.';
comment on column billing.usage_events.overdraft_tokens is 'Tokens not covered by any grant; they are never charged later.';
comment on column billing.usage_events.grant_ids is 'Grants that were charged, in order.';
comment on column billing.usage_events.grant_tokens is
  'Number of tokens charged to each grant; negative if a correction returns tokens.';
comment on column billing.usage_events.is_priced is 'Whether a price was known; if false, the cost is unknown, not zero.';
comment on column billing.usage_events.price_id is
  'The row of model_prices that was applied; it may have been deleted since, because imports replace rows.';
comment on column billing.usage_events.currency is 'Currency of prices and cost (ISO 4217 code).';
comment on column billing.usage_events.input_price_per_million_tokens is
  'Price of 1,000,000 input tokens at the time of use, in units of currency.';
comment on column billing.usage_events.output_price_per_million_tokens is
  'Price of 1,000,000 output tokens at the time of use, in units of currency.';
comment on column billing.usage_events.cached_input_price_per_million_tokens is
  'Price of 1,000,000 cached input tokens at the time of use, in units of currency.';
comment on column billing.usage_events.reasoning_price_per_million_tokens is
  'Price of 1,000,000 reasoning tokens at the time of use, in units of currency.';
comment on column billing.usage_events.cost is 'Exact cost in units of currency, never rounded; null without a price.';
comment on column billing.usage_events.occurred_at is 'Time of the model use; determines price, day and period.';
comment on column billing.usage_events.created_at is 'Time when the event was recorded; the partition key.';

-- A key stays unique in a user's ledger forever; an index of a partition covers only one month.
create table private.usage_keys (
  user_id uuid not null references billing.usage_tracking on delete cascade,
  operation text not null,
  idempotency_key text not null,
  arguments jsonb not null,
  event_id uuid,
  amount bigint,
  primary key (user_id, operation, idempotency_key),
  constraint usage_keys_idempotency_key_check check (length(idempotency_key) between 1 and 255),
  constraint usage_keys_operation_check check (
    operation in ('record', 'correct', 'close_grant', 'message', 'grant_subscription')
  )
);

alter table private.usage_keys enable row level security;

comment on table private.usage_keys is
  'One row per idempotency key of a call that created no hold and no grant, and per message whose tokens were counted.';
comment on column private.usage_keys.user_id is 'The user whose tokens were counted.';
comment on column private.usage_keys.operation is
  'Operation: record, correct, close_grant, grant_subscription, or message (the key is the message''s id).';
comment on column private.usage_keys.idempotency_key is 'Idempotency key of the caller.';
comment on column private.usage_keys.arguments is 'Arguments of the call, to detect a different call with the same key.';
comment on column private.usage_keys.event_id is 'The usage event that the call created; null if it created none.';
comment on column private.usage_keys.amount is 'Result of close_grant: number of tokens carried over.';

create table billing.daily_usage (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid references billing.usage_tracking on delete set null,
  model_id uuid references llm.models on delete restrict,
  day date not null,
  requests bigint not null default 0,
  input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  cached_input_tokens bigint not null default 0,
  reasoning_tokens bigint not null default 0,
  total_tokens bigint not null default 0,
  overdraft_tokens bigint not null default 0,
  unpriced_tokens bigint not null default 0,
  self_reported_tokens bigint not null default 0,
  cost numeric not null default 0,
  currency text not null default 'USD',
  -- Rows of deleted accounts have no user and are not merged. Also serves the foreign key.
  constraint daily_usage_user_id_day_model_id_key unique (user_id, day, model_id),
  constraint daily_usage_totals_are_not_negative check (least(total_tokens, overdraft_tokens, cost) >= 0),
  constraint daily_usage_cost_has_26_digits_and_12_decimals check (cost < 1e26 and cost = round(cost, 12))
) with (fillfactor = 50);

alter table billing.daily_usage enable row level security;

-- Usage without a model.
create unique index daily_usage_user_id_day_idx on billing.daily_usage (user_id, day) where model_id is null;
-- Use of a model over time; also serves the foreign key.
create index daily_usage_model_id_day_idx on billing.daily_usage (model_id, day);

comment on table billing.daily_usage is
  'One row per user, model and day (UTC) with usage: always the sum of its usage_events. Late events and corrections '
  'count on the day of the usage.';
comment on column billing.daily_usage.id is 'Id (UUIDv7).';
comment on column billing.daily_usage.user_id is 'The user; null if the account was deleted.';
comment on column billing.daily_usage.model_id is 'The model, which can no longer be deleted; null if the usage names no model.';
comment on column billing.daily_usage.day is 'Day of the usage (UTC).';
comment on column billing.daily_usage.requests is 'Number of uses, without corrections.';
comment on column billing.daily_usage.input_tokens is 'Tokens sent to the model, including cached tokens.';
comment on column billing.daily_usage.output_tokens is 'Tokens generated by the model, including reasoning tokens.';
comment on column billing.daily_usage.cached_input_tokens is 'Input tokens that the provider had cached.';
comment on column billing.daily_usage.reasoning_tokens is 'Output tokens used for reasoning.';
comment on column billing.daily_usage.total_tokens is 'Input tokens plus output tokens.';
comment on column billing.daily_usage.overdraft_tokens is 'Tokens not covered by any grant.';
comment on column billing.daily_usage.unpriced_tokens is 'Tokens without a known price; not included in cost.';
comment on column billing.daily_usage.self_reported_tokens is 'Tokens reported only by the user.';
comment on column billing.daily_usage.cost is 'Exact cost of the priced tokens, in units of currency.';
comment on column billing.daily_usage.currency is 'Currency of the cost (ISO 4217 code).';

create table billing.usage_limits (
  id uuid primary key default plinth.uuid_v7(),
  user_id uuid references identity.users on delete cascade,
  model_id uuid references llm.models on delete cascade,
  plan_code text,
  period text not null,
  max_tokens bigint not null,
  is_hard boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint usage_limits_one_per_scope unique nulls not distinct (user_id, model_id, plan_code, period, is_hard),
  constraint usage_limits_period_check check (period in ('day', 'month')),
  constraint usage_limits_max_tokens_is_not_negative check (max_tokens >= 0),
  constraint usage_limits_either_a_user_or_a_plan check (user_id is null or plan_code is null)
);

alter table billing.usage_limits enable row level security;

-- Serves the foreign key.
create index usage_limits_model_id_idx on billing.usage_limits (model_id);

comment on table billing.usage_limits is
  'One row per limit on each user''s usage in a day or month (UTC). A limit without a user applies to every user '
  'separately. All matching limits apply.';
comment on column billing.usage_limits.id is 'Id (UUIDv7).';
comment on column billing.usage_limits.user_id is 'The user it applies to; null for every user.';
comment on column billing.usage_limits.model_id is
  'The model whose tokens it counts; null for the tokens of all models together.';
comment on column billing.usage_limits.plan_code is 'Code of the plan it applies to, such as free; null for every plan.';
comment on column billing.usage_limits.period is 'Period of the limit: day or month (UTC).';
comment on column billing.usage_limits.max_tokens is 'Maximum number of tokens a user may use in the period; 0 forbids usage.';
comment on column billing.usage_limits.is_hard is
  'Whether the limit is hard. A hard limit makes reserve reject calls above it; a soft limit is only reported in tokenBalance.';
comment on column billing.usage_limits.created_at is 'Time when the limit was created.';
comment on column billing.usage_limits.updated_at is 'Time of the last change.';

create table private.provider_cancellations (
  provider text not null,
  provider_subscription_id text not null,
  requested_at timestamptz not null default now(),
  attempts integer not null default 0,
  next_attempt_at timestamptz not null default now(),
  last_error text,
  primary key (provider, provider_subscription_id)
);

alter table private.provider_cancellations enable row level security;

create index provider_cancellations_next_attempt_at_idx on private.provider_cancellations (next_attempt_at);

comment on table private.provider_cancellations is
  'One row per subscription that must be canceled at its payment provider because its account was deleted; deleted '
  'when that is done.';
comment on column private.provider_cancellations.provider is 'Name of the payment provider, such as stripe.';
comment on column private.provider_cancellations.provider_subscription_id is 'Id of the subscription at the provider.';
comment on column private.provider_cancellations.requested_at is 'Time when the account was deleted.';
comment on column private.provider_cancellations.attempts is 'Number of cancellation requests sent to the provider.';
comment on column private.provider_cancellations.next_attempt_at is 'Earliest time of the next attempt.';
comment on column private.provider_cancellations.last_error is 'Kind of the last failure; null if none failed.';

-- An invoice of a subscription: the regular periods that it bills, and its outcome.
create table private.provider_invoices (
  provider text not null,
  provider_payment_id text not null,
  provider_subscription_id text not null,
  lines jsonb not null default '[]',
  renews boolean not null default false,
  amount_cents bigint not null default 0,
  paid_order text,
  failed_order text,
  primary key (provider, provider_payment_id),
  constraint provider_invoices_subscription_fkey
    foreign key (provider, provider_subscription_id) references private.provider_subscriptions on delete cascade,
  constraint provider_invoices_lines_is_an_array check (jsonb_typeof(lines) = 'array'),
  constraint provider_invoices_amount_cents_is_not_negative check (amount_cents >= 0)
);

alter table private.provider_invoices enable row level security;

-- Serves the foreign key and the conclusion of a subscription.
create index provider_invoices_subscription_idx on private.provider_invoices (provider, provider_subscription_id);

comment on table private.provider_invoices is
  'One row per invoice or purchase of a subscription at a payment provider, including those with nothing to pay.';
comment on column private.provider_invoices.provider is 'Name of the payment provider, such as stripe.';
comment on column private.provider_invoices.provider_payment_id is 'Id of the invoice or purchase at the provider.';
comment on column private.provider_invoices.provider_subscription_id is 'Id of the subscription at the provider.';
comment on column private.provider_invoices.lines is
  'Invoice lines for a whole period (JSON array of price or plan, start, end in seconds); without prorations and single items.';
comment on column private.provider_invoices.renews is
  'Whether the invoice bills the next period; if so, the subscription is unpaid when the invoice fails.';
comment on column private.provider_invoices.amount_cents is 'Amount paid, or due while unpaid, in the currency''s smallest unit.';
comment on column private.provider_invoices.paid_order is 'Rank of the event that reported the payment; null if none did.';
comment on column private.provider_invoices.failed_order is
  'Rank of the latest event that reported a failed attempt; null if none did.';

-- Refunds and disputes, pending or final; each can itself be reversed.
create table private.payment_reversals (
  payment_id uuid not null references billing.payments on delete cascade,
  kind text not null,
  reversal_key text not null,
  amount_cents bigint not null default 0,
  is_in_force boolean not null,
  occurred_at timestamptz not null,
  latest_order text not null,
  primary key (payment_id, kind, reversal_key),
  constraint payment_reversals_kind_check check (kind in ('refunded', 'refund_failed', 'disputed')),
  constraint payment_reversals_amount_cents_is_not_negative check (amount_cents >= 0)
);

alter table private.payment_reversals enable row level security;

comment on table private.payment_reversals is
  'One row per charge with refunds, failed refund, or dispute of a payment, according to its latest event.';
comment on column private.payment_reversals.payment_id is 'The payment.';
comment on column private.payment_reversals.kind is
  'Kind: refunded (total refunds of a charge), refund_failed (one refund that did not arrive) or disputed.';
comment on column private.payment_reversals.reversal_key is
  'Id of the charge, refund or dispute at the provider; earlier for reversals recorded before ids were stored.';
comment on column private.payment_reversals.amount_cents is
  'Amount in the currency''s smallest unit; 0 for disputes, which concern the whole payment.';
comment on column private.payment_reversals.is_in_force is
  'Whether the reversal counts; false for an inquiry, and for a dispute that was won or prevented.';
comment on column private.payment_reversals.occurred_at is 'Time of the earliest event about the reversal.';
comment on column private.payment_reversals.latest_order is 'Rank of the latest event about the reversal.';

-- The result of tokenBalance.
create type billing.grant_balance as (
  grant_id uuid,
  source text,
  available bigint,
  held bigint,
  expires_at timestamptz
);

comment on type billing.grant_balance is 'Remaining tokens of one grant in force. available is null if the grant is unlimited.';
comment on column billing.grant_balance.grant_id is 'The grant.';
comment on column billing.grant_balance.source is 'Origin of the grant, such as plan or rollover.';
comment on column billing.grant_balance.available is 'Tokens available from it; null if unlimited.';
comment on column billing.grant_balance.held is 'Tokens of it reserved for calls in progress.';
comment on column billing.grant_balance.expires_at is 'Time at which it expires; null for never.';

create type billing.token_balance as (
  is_unlimited boolean,
  available bigint,
  held bigint,
  used_this_period bigint,
  period_started_at timestamptz,
  period_ends_at timestamptz,
  lifetime_tokens bigint,
  tokens_per_day numeric,
  exhausted_at timestamptz,
  soft_limits_reached integer,
  grants billing.grant_balance[]
);

comment on type billing.token_balance is
  'Token balance of the signed-in user. available is null while an unlimited grant is in force. exhausted_at is when '
  'the tokens run out at the average rate of the last seven whole days; null if they do not.';
comment on column billing.token_balance.is_unlimited is 'Whether an unlimited grant is active.';
comment on column billing.token_balance.available is 'Tokens that can be reserved now; null if unlimited.';
comment on column billing.token_balance.held is 'Tokens reserved for calls in progress.';
comment on column billing.token_balance.used_this_period is 'Tokens used this month (UTC).';
comment on column billing.token_balance.period_started_at is 'Start of the current month.';
comment on column billing.token_balance.period_ends_at is 'End of the current month.';
comment on column billing.token_balance.lifetime_tokens is 'Tokens used in total.';
comment on column billing.token_balance.tokens_per_day is 'Average over the last seven full days.';
comment on column billing.token_balance.exhausted_at is
  'Time at which the tokens run out at that rate; null without use, without a limit, or if more than a century away.';
comment on column billing.token_balance.soft_limits_reached is 'Number of soft limits that are reached.';
comment on column billing.token_balance.grants is 'Balance of each active grant, in the order of use.';

-- Foreign keys of earlier tables that reference these.
alter table private.turns
  add constraint turns_hold_id_fkey foreign key (hold_id) references billing.token_holds on delete set null;

insert into billing.subscription_plans (code, plan_name, price_cents, trial_days, token_quota, rollover_limit, access_level)
values
  ('free', 'Free', 0, 0, 50000, 0, 0),
  ('premium', 'Premium', 2000, 14, 2000000, 1000000, 10);

-- The payment provider that bills a subscription decides its state: any current state may follow any other.
insert into private.subscription_transitions (from_status, event, to_status, is_providers) values
  ('trialing', 'payment_succeeded', 'active', false),
  ('active', 'payment_succeeded', 'active', false),
  ('past_due', 'payment_succeeded', 'active', false),
  ('expired', 'payment_succeeded', 'active', false),
  ('expired', 'canceled', 'canceled', false),
  ('trialing', 'payment_failed', 'past_due', false),
  ('active', 'payment_failed', 'past_due', false),
  ('past_due', 'payment_failed', 'past_due', false),
  ('trialing', 'trial_ended', 'expired', false),
  ('trialing', 'renewed', 'active', false),
  ('active', 'renewed', 'active', false),
  ('past_due', 'grace_ended', 'expired', false),
  ('active', 'paused', 'paused', false),
  ('paused', 'resumed', 'active', false),
  ('trialing', 'canceled', 'canceled', false),
  ('active', 'canceled', 'canceled', false),
  ('past_due', 'canceled', 'canceled', false),
  ('paused', 'canceled', 'canceled', false),
  ('trialing', 'revoked', 'expired', false),
  ('active', 'revoked', 'expired', false),
  ('past_due', 'revoked', 'expired', false),
  ('paused', 'revoked', 'expired', false),
  ('trialing', 'provider_trialing', 'trialing', false),
  ('trialing', 'provider_active', 'active', false),
  ('trialing', 'provider_past_due', 'past_due', false),
  ('trialing', 'provider_paused', 'paused', false),
  ('active', 'provider_trialing', 'trialing', false),
  ('active', 'provider_active', 'active', false),
  ('active', 'provider_past_due', 'past_due', false),
  ('active', 'provider_paused', 'paused', false),
  ('past_due', 'provider_trialing', 'trialing', false),
  ('past_due', 'provider_active', 'active', false),
  ('past_due', 'provider_past_due', 'past_due', false),
  ('past_due', 'provider_paused', 'paused', false),
  ('paused', 'provider_trialing', 'trialing', false),
  ('paused', 'provider_active', 'active', false),
  ('paused', 'provider_past_due', 'past_due', false),
  ('paused', 'provider_paused', 'paused', false),
  ('canceled', 'provider_trialing', 'trialing', true),
  ('canceled', 'provider_active', 'active', true),
  ('canceled', 'provider_past_due', 'past_due', true),
  ('canceled', 'provider_paused', 'paused', true),
  ('expired', 'provider_trialing', 'trialing', true),
  ('expired', 'provider_active', 'active', true),
  ('expired', 'provider_past_due', 'past_due', true),
  ('expired', 'provider_paused', 'paused', true);

--! Included billing/functions/cancel_subscription.sql
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
  'Cancels the signed-in user''s subscription at the end of its period (at once when past_due or paused). PL404 without a subscription, PL409 when it is already canceled or a provider bills it.';
grant execute on function billing.cancel_subscription() to :PLINTH_USER;
--! EndIncluded billing/functions/cancel_subscription.sql
--! Included billing/functions/change_plan.sql
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
  'Changes the signed-in user''s plan at the end of the period; naming the current plan revokes a planned change. PL402 for an upgrade, which begins with its payment.';
grant execute on function billing.change_plan(uuid) to :PLINTH_USER;
--! EndIncluded billing/functions/change_plan.sql
--! Included billing/functions/current_subscription.sql
-- Invoker rights: a caller who may read the subscription gets it, any other caller gets null.
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
  'Returns the user''s subscription that is trialing, active, past_due or paused, the caller''s own by default; null if there is none.';
grant execute on function billing.current_subscription(uuid) to :PLINTH_USER;
--! EndIncluded billing/functions/current_subscription.sql
--! Included billing/functions/end_subscription.sql
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
--! EndIncluded billing/functions/end_subscription.sql
--! Included billing/functions/grant_subscription.sql
-- A period is worth money: retrying a call whose response was lost must not grant another period.
create or replace function billing.grant_subscription(user_id uuid, plan_id uuid, idempotency_key text default null)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_arguments constant jsonb := jsonb_build_array(grant_subscription.plan_id);
  v_current billing.user_subscriptions;
  v_locked timestamptz;
  v_key private.usage_keys;
begin
  perform private.require_subscription_manager();
  if grant_subscription.idempotency_key is not null then
    v_current := private.lock_subscriber(grant_subscription.user_id, now());
    v_locked := private.lock_usage(grant_subscription.user_id, now());
    v_key := private.used_key(
      grant_subscription.user_id, 'grant_subscription', grant_subscription.idempotency_key, v_arguments
    );
    if v_key.operation is not null then
      return v_current;
    end if;
    insert into private.usage_keys (user_id, operation, idempotency_key, arguments)
    values (grant_subscription.user_id, 'grant_subscription', grant_subscription.idempotency_key, v_arguments);
  end if;
  return private.grant_subscription_at(grant_subscription.user_id, grant_subscription.plan_id, now());
end
$$;

comment on function billing.grant_subscription(uuid, uuid, text) is
  'Grants a user a period of a plan: starts it, adds a period, or changes to it at once with proration. The same idempotency key again grants nothing more and returns the current subscription. Needs manage_subscriptions (PL403). PL404, PL409, PL422.';
grant execute on function billing.grant_subscription(uuid, uuid, text) to :PLINTH_USER;
--! EndIncluded billing/functions/grant_subscription.sql
--! Included billing/functions/has_tokens.sql
-- For policies: `with check ((select billing.has_tokens(100)))`.
create or replace function billing.has_tokens(amount bigint default 1)
  returns boolean
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select coalesce(bool_or(g.available is null) or sum(g.available) >= has_tokens.amount, false)
  from private.available_grants(plinth.current_user_id(), now()) g
$$;

comment on function billing.has_tokens(bigint) is
  'Returns whether the signed-in user''s grants have this many tokens left now. It reserves nothing; reserve_tokens does.';
grant execute on function billing.has_tokens(bigint) to :PLINTH_USER;
--! EndIncluded billing/functions/has_tokens.sql
--! Included billing/functions/models_price.sql
-- The price of a model at a time, now by default. In schema llm because it is a field of llm.models.
create or replace function llm.models_price(m llm.models, at timestamptz default now(), currency text default 'USD')
  returns billing.model_prices
  language sql
  stable
as $$
  select p
  from billing.model_prices p
  where p.model_id = m.id
    and p.currency = models_price.currency
    and tstzrange(p.effective_from, p.effective_to) @> models_price.at
$$;

comment on function llm.models_price(llm.models, timestamptz, text) is
  'Returns the model''s price at a time, now by default; null when no price is known.';
grant execute on function llm.models_price(llm.models, timestamptz, text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded billing/functions/models_price.sql
--! Included billing/functions/pause_subscription.sql
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
--! EndIncluded billing/functions/pause_subscription.sql
--! Included billing/functions/record_plan_change.sql
-- Plans and prices concern money: every change is an event, from any writer and by any path.
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

comment on function billing.record_plan_change() is 'Trigger: records a change of plans or their prices in the audit log.';
--! EndIncluded billing/functions/record_plan_change.sql
--! Included billing/functions/reserve_tokens.sql
-- A client may reserve its own tokens for its application server to settle: it can only reserve from its own balance, for
-- minutes. It may neither settle nor release, because it could then report less usage.
create or replace function billing.reserve_tokens(model_id uuid, max_tokens bigint, idempotency_key text)
  returns billing.token_holds
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.require_user_id();
  -- The same answer for a model that the user may not use and for one that does not exist.
  if access.can_use_model(reserve_tokens.model_id) is not true then
    raise exception 'Model not found.' using errcode = 'PL404', column = 'model_id';
  end if;
  return private.reserve_tokens(
    plinth.current_user_id(), reserve_tokens.model_id, reserve_tokens.max_tokens, reserve_tokens.idempotency_key
  );
end
$$;

comment on function billing.reserve_tokens(uuid, bigint, text) is
  'Reserves tokens of the signed-in user for five minutes; the same key again returns the same hold. QUOTA_EXCEEDED when the tokens left do not cover it, CONFLICT for a key that was used with other arguments.';
grant execute on function billing.reserve_tokens(uuid, bigint, text) to :PLINTH_USER;
--! EndIncluded billing/functions/reserve_tokens.sql
--! Included billing/functions/resume_subscription.sql
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
  'Revokes a cancellation before the period ends, or resumes a paused subscription. PL404 without a subscription, PL409 when there is nothing to resume.';
grant execute on function billing.resume_subscription() to :PLINTH_USER;
--! EndIncluded billing/functions/resume_subscription.sql
--! Included billing/functions/revise_plan.sql
-- A change of terms creates a new version; existing subscribers keep the earlier one. Invoker rights: the policies of
-- billing.subscription_plans decide which callers may.
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
    raise exception 'changes may contain plan_name, price_cents, trial_days, token_quota, rollover_limit, features, access_level and is_active.'
      using errcode = 'PL422', column = 'changes';
  end if;
  select p.* into v_plan from billing.subscription_plans p where p.id = revise_plan.plan_id;
  if v_plan.id is null then
    raise exception 'Plan not found.' using errcode = 'PL404', column = 'plan_id';
  end if;
  -- Callers who may change the plan lock it, so that one of two concurrent versions is rejected: based on the same terms, the
  -- second would undo the changes of the first. Other callers are rejected by the insert.
  perform from billing.subscription_plans p where p.id = v_plan.id for no key update;
  select p.* into v_plan from billing.subscription_plans p where p.id = v_plan.id;
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
  'Creates a new version of a plan with some terms changed, given by column name. Needs manage_plans. PL404, PL409, PL422.';
grant execute on function billing.revise_plan(uuid, jsonb) to :PLINTH_USER;
--! EndIncluded billing/functions/revise_plan.sql
--! Included billing/functions/subscribe.sql
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
  'Subscribes the signed-in user to a free plan, or starts a plan''s trial, once per user. PL402 for a plan that must be paid, PL409 if the user already has a subscription.';
grant execute on function billing.subscribe(uuid) to :PLINTH_USER;
--! EndIncluded billing/functions/subscribe.sql
--! Included billing/functions/token_balance.sql
-- A single call for the balance that a client shows: "you have 12,000 left, until Tuesday".
create or replace function billing.token_balance()
  returns billing.token_balance
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
begin
  if plinth.current_user_id() is null then
    return null;
  end if;
  return private.token_balance_at(plinth.current_user_id(), now());
end
$$;

comment on function billing.token_balance() is
  'Returns the signed-in user''s tokens: left, held, used this month, by grant, and when they run out at the current rate. Null for a visitor.';
grant execute on function billing.token_balance() to :PLINTH_USER;
--! EndIncluded billing/functions/token_balance.sql
--! Included billing/functions/users_tier.sql
-- A user's tier is derived from the subscription and never stored twice. In schema identity because it is a field of
-- identity.users. Invoker rights: a caller who may not read the account's subscriptions gets free. An overdue payment costs the
-- tier only when the subscription expires; a pause costs it at once.
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
  'Returns the code of the account''s current plan (trialing, active or past_due), or free.';
grant execute on function identity.users_tier(identity.users) to :PLINTH_USER;
--! EndIncluded billing/functions/users_tier.sql
--! Included billing/private/advance_subscription.sql
-- Advances one subscription to a moment, step by step, as if every step had been taken on time. After days of downtime the
-- history, the carried-over tokens and the result are the same. The caller holds the account's row lock.
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
      -- A lifetime plan: only its tokens have periods.
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
  'Renews, expires and cancels one subscription up to a moment; returns the number of steps.';
--! EndIncluded billing/private/advance_subscription.sql
--! Included billing/private/advance_subscriptions.sql
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
  'Advances up to batch_size subscriptions that are due; returns their number.';
grant execute on function private.advance_subscriptions(integer) to :PLINTH_WORKER;
--! EndIncluded billing/private/advance_subscriptions.sql
--! Included billing/private/advance_subscriptions_at.sql
-- A batch of the job. An account or ledger that is locked is left to the lock's holder or to the next run: two workers never
-- take the same step, and a worker that holds several accounts never waits. A subscription that fails is reported and does not
-- stop the others.
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
  perform private.check_batch_size(batch_size);
  for v_row in
    select s.id, s.user_id
    from billing.user_subscriptions s
    where s.due_at <= advance_subscriptions_at.at
    order by s.due_at
    limit batch_size
  loop
    continue when not private.try_lock_account(v_row.user_id) or not private.try_lock_usage(v_row.user_id);
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
  'Advances up to batch_size subscriptions that are due at a moment; returns their number.';
--! EndIncluded billing/private/advance_subscriptions_at.sql
--! Included billing/private/apply_correction.sql
-- Corrects a usage by adding the difference, on the day it occurred and at the price pinned then. Additional usage is charged
-- now, like new usage. A reduction pays off the overdraft first, then refunds the grants in reverse order; tokens refunded to a
-- grant that has ended are lost. The caller holds the user's lock.
create or replace function private.apply_correction(
  event_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  cached_input_tokens bigint,
  reasoning_tokens bigint,
  idempotency_key text,
  at timestamptz
)
  returns billing.usage_events
  language plpgsql
  volatile
as $$
#variable_conflict use_column
declare
  v_event billing.usage_events;
  v_before record;
  v_taken record;
  v_difference bigint;
  v_back bigint;
begin
  select e.* into strict v_event from billing.usage_events e where e.id = apply_correction.event_id;
  select
    sum(e.input_tokens)::bigint as input_tokens,
    sum(e.output_tokens)::bigint as output_tokens,
    sum(e.cached_input_tokens)::bigint as cached_input_tokens,
    sum(e.reasoning_tokens)::bigint as reasoning_tokens,
    sum(e.overdraft_tokens)::bigint as overdraft_tokens
  into v_before
  from billing.usage_events e
  where e.id = v_event.id or e.corrects_event_id = v_event.id;

  v_event.input_tokens := apply_correction.input_tokens - v_before.input_tokens;
  v_event.output_tokens := apply_correction.output_tokens - v_before.output_tokens;
  v_event.cached_input_tokens := apply_correction.cached_input_tokens - v_before.cached_input_tokens;
  v_event.reasoning_tokens := apply_correction.reasoning_tokens - v_before.reasoning_tokens;
  v_difference := v_event.input_tokens + v_event.output_tokens;

  if v_difference > 0 then
    v_taken := private.take_tokens(v_event.user_id, v_difference, false, apply_correction.at);
    v_event.grant_ids := v_taken.grant_ids;
    v_event.grant_tokens := v_taken.grant_tokens;
    v_event.overdraft_tokens := v_taken.missing;
  else
    v_event.overdraft_tokens := - least(- v_difference, v_before.overdraft_tokens);
    v_back := v_event.overdraft_tokens - v_difference;
    v_event.grant_ids := '{}';
    v_event.grant_tokens := '{}';
    for v_taken in
      select a.grant_id, sum(a.tokens)::bigint as tokens
      from (
        select a.grant_id, a.tokens, row_number() over (order by e.created_at, e.id, a.position) as position
        from billing.usage_events e
        cross join unnest(e.grant_ids, e.grant_tokens) with ordinality as a (grant_id, tokens, position)
        where e.id = v_event.id or e.corrects_event_id = v_event.id
      ) a
      group by a.grant_id
      having sum(a.tokens) > 0
      order by max(a.position) filter (where a.tokens > 0) desc
    loop
      exit when v_back <= 0;
      v_taken.tokens := least(v_taken.tokens, v_back);
      update billing.token_grants g
      set
        consumed = g.consumed - v_taken.tokens,
        retired_at = case when g.expires_at <= apply_correction.at then g.retired_at end
      where g.id = v_taken.grant_id;
      v_event.grant_ids := v_event.grant_ids || v_taken.grant_id;
      v_event.grant_tokens := v_event.grant_tokens || - v_taken.tokens;
      v_back := v_back - v_taken.tokens;
    end loop;
  end if;

  v_event.corrects_event_id := v_event.id;
  v_event.id := plinth.uuid_v7();
  v_event.kind := 'correction';
  v_event.hold_id := null;
  v_event.idempotency_key := apply_correction.idempotency_key;
  v_event.created_at := apply_correction.at;
  return private.post_usage_event(v_event);
end
$$;

comment on function private.apply_correction(uuid, bigint, bigint, bigint, bigint, text, timestamptz) is
  'Adds the event that corrects a usage to these counts; returns the event. The caller has locked the user''s ledger.';
--! EndIncluded billing/private/apply_correction.sql
--! Included billing/private/apply_payment_event.sql
-- Applies one event of the inbox. Each fact is stored with the rank of the latest event about it, so an older event that arrives
-- later reverts nothing. Returns applied, ignored, kept_current or what it waits for.
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
  -- Seconds of the provider's clock, then the later stage in a subscription's life, then any fixed order.
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
  -- Account first: the global lock order.
  perform from identity.users u where u.id = v_user_id for no key update;

  if v_kind in ('invoice', 'purchase') then
    insert into billing.payments as p (
      user_id, plan_id, provider, provider_payment_id, provider_reference, provider_subscription_id, amount_cents, currency,
      period_start, period_end, paid_at, failed_at, failure_code
    )
    select
      v_user_id, f.plan_id, event.provider, v_news ->> 'payment', v_news ->> 'reference', v_news ->> 'subscription',
      (v_news ->> 'amount')::bigint, upper(v_news ->> 'currency'), f.period_start, f.period_end,
      case when (v_news ->> 'paid')::boolean then event.occurred_at end,
      case when not (v_news ->> 'paid')::boolean then event.occurred_at end,
      v_news ->> 'failure_code'
    from private.payment_period(event.provider, v_news) f
    -- Nothing was charged (a trial, a full discount), so there is no payment.
    where (v_news ->> 'amount')::bigint > 0
    on conflict on constraint payments_provider_payment_key do update
    set
      user_id = coalesce(p.user_id, excluded.user_id),
      plan_id = coalesce(p.plan_id, excluded.plan_id),
      period_start = coalesce(p.period_start, excluded.period_start),
      period_end = coalesce(p.period_end, excluded.period_end),
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
  elsif v_kind in ('refund', 'refund_failed', 'dispute') then
    select p.* into v_payment
    from billing.payments p
    where p.provider = event.provider
      and (p.provider_payment_id in (v_news ->> 'payment', v_news ->> 'reference') or p.provider_reference = v_news ->> 'reference')
    order by p.provider_payment_id = v_news ->> 'payment' desc nulls last, p.id
    limit 1;
    if v_payment.id is null then
      return 'waiting_for_payment';
    end if;
    v_payment := private.merge_payment_reversal(v_payment.id, v_order, event.occurred_at, v_news);
    if exists (
      select
      from private.provider_subscriptions m
      where m.provider = event.provider and m.provider_subscription_id = v_payment.provider_subscription_id
    ) then
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
  if v_kind in ('invoice', 'purchase') or (v_news ->> 'for_life')::boolean then
    perform private.merge_provider_invoice(event.provider, v_order, v_news);
  end if;
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
  'Applies an event of a payment provider; returns applied, ignored, kept_current or waiting_for_….';
--! EndIncluded billing/private/apply_payment_event.sql
--! Included billing/private/apply_provider_subscription.sql
-- Makes the user's subscription match its provider. The result depends on the known facts only, not on the last event, so the
-- function can be called at any time. Returns applied, or what it waits for.
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
  v_cancels boolean;
  v_by_clock boolean;
  v_revives boolean := true;
  v_other text;
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
  -- Account first: the global lock order.
  perform from identity.users u where u.id = v_user_id for no key update;
  update private.provider_subscriptions m
  set user_id = v_user_id
  where m.provider = apply_provider_subscription.provider
    and m.provider_subscription_id = apply_provider_subscription.provider_subscription_id;
  v_known := private.conclude_provider_subscription(
    apply_provider_subscription.provider, apply_provider_subscription.provider_subscription_id
  );
  -- Payments that arrived before their user was known.
  update billing.payments p
  set user_id = v_user_id
  where p.provider = v_known.provider
    and p.provider_subscription_id = v_known.provider_subscription_id
    and p.user_id is null;
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = v_known.plan_id;
  if v_plan.id is null then
    return 'waiting_for_price';
  end if;
  if v_known.period_start is null then
    return 'waiting_for_period';
  end if;
  if not v_known.was_live then
    -- Never paid: an abandoned checkout.
    return 'applied';
  end if;
  v_status := v_known.standing;
  v_cancels := v_known.cancel_at_period_end or coalesce(v_known.cancel_at <= v_known.period_end, false);
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

  -- Our own clock ends a subscription when the provider is silent. The provider revives it only if it knows of time after that
  -- end. A subscription that ended because of a refund is revived when the money is back.
  if v_subscription.status in ('canceled', 'expired') then
    v_revives := coalesce(v_known.period_end, 'infinity') > v_subscription.ended_at;
    if v_subscription.status = 'expired' then
      select c.event = 'grace_ended' into v_by_clock
      from billing.subscription_changes c
      where c.subscription_id = v_subscription.id and c.to_status = 'expired' and c.from_status is distinct from 'expired'
      order by c.id desc
      limit 1;
      v_revives := not coalesce(v_by_clock, false) or (v_revives and v_status <> 'past_due');
    end if;
  end if;

  if v_status in ('trialing', 'active', 'past_due', 'paused') and v_revives then
    select s.* into v_current
    from billing.user_subscriptions s
    where s.user_id = v_user_id
      and s.status in ('trialing', 'active', 'past_due', 'paused')
      and s.id is distinct from v_subscription.id;
    if v_current.id is not null then
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
      v_cancels,
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
      cancel_at_period_end = v_cancels,
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
      when v_status = 'canceled' then 'canceled'
      when v_status = 'expired' then case when v_subscription.status <> 'canceled' then 'revoked' end
      when not v_revives then null
      when v_subscription.status = 'expired' and v_by_clock and v_status = 'active' then 'payment_succeeded'
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
      if v_subscription.ended_at is not null
        and v_status in ('trialing', 'active', 'past_due', 'paused')
        and v_subscription.quota_granted_from = v_subscription.quota_period_start
      then
        perform private.reopen_plan_grants(v_subscription.id);
      end if;
    end if;
  end if;
  update billing.payments p
  set subscription_id = v_subscription.id
  where p.provider = v_known.provider
    and p.provider_subscription_id = v_known.provider_subscription_id
    and p.subscription_id is null;
  perform private.grant_quota(v_subscription.id);
  perform private.top_up_quota(v_subscription.id, apply_provider_subscription.at);

  -- Another subscription that was set aside for this one takes its place.
  if v_status in ('canceled', 'expired') then
    for v_other in
      select m.provider_subscription_id
      from private.provider_subscriptions m
      where m.user_id = v_user_id
        and m.provider = v_known.provider
        and m.provider_subscription_id <> v_known.provider_subscription_id
        and m.standing in ('trialing', 'active', 'past_due', 'paused')
        and m.revoked_period_end is null
      order by m.started_at, m.provider_subscription_id
    loop
      perform private.apply_provider_subscription(v_known.provider, v_other, apply_provider_subscription.at);
    end loop;
  end if;
  return 'applied';
end
$$;

comment on function private.apply_provider_subscription(text, text, timestamptz) is
  'Makes a user''s subscription match its provider''s events; returns applied, kept_current or waiting_for_….';
--! EndIncluded billing/private/apply_provider_subscription.sql
--! Included billing/private/available_grants.sql
-- A user's grants at a moment, without waiting for locks. Due holds count as expired. The free plan's tokens of the month, which
-- the first use or a job records (private.ensure_current_grants), count as granted.
create or replace function private.available_grants(user_id uuid, at timestamptz)
  returns setof billing.grant_balance
  language sql
  stable
as $$
  select b.grant_id, b.source, b.available, b.held, b.expires_at
  from (
    select
      g.id as grant_id,
      g.source,
      g.amount - g.consumed - g.held + due.tokens as available,
      g.held - due.tokens as held,
      g.expires_at,
      g.priority,
      g.created_at
    from billing.token_grants g
    cross join lateral (
      select coalesce(sum(a.tokens), 0)::bigint as tokens
      from billing.usage_tracking t
      join billing.token_holds h
        on h.user_id = t.user_id
        and h.state = 'open'
        and h.expires_at between t.next_hold_expires_at and available_grants.at
      cross join unnest(h.grant_ids, h.grant_tokens) as a (grant_id, tokens)
      where t.user_id = available_grants.user_id and a.grant_id = g.id
    ) due
    where g.user_id = available_grants.user_id
      and g.retired_at is null
      and g.starts_at <= available_grants.at
      and (g.expires_at is null or g.expires_at > available_grants.at)
    union all
    select null, 'plan', p.token_quota, 0, m.ends_at, 100, available_grants.at
    from private.free_plan() p
    cross join (
      select
        date_trunc('month', available_grants.at at time zone 'UTC') as starts,
        (date_trunc('month', available_grants.at at time zone 'UTC') + interval '1 month') at time zone 'UTC' as ends_at
    ) m
    where p.id is not null
      and p.token_quota is distinct from 0
      and exists (select from identity.users u where u.id = available_grants.user_id)
      and not exists (
        select
        from private.free_quotas q
        where q.user_id = available_grants.user_id and q.granted_month >= m.starts::date
      )
      and private.current_plan_code(available_grants.user_id) = 'free'
  ) b
  order by b.priority, b.expires_at, b.created_at, b.grant_id
$$;

comment on function private.available_grants(uuid, timestamptz) is
  'Returns the user''s grants in force with the rest of each, in the order of use; a row without an id holds what the free plan has not yet granted this month.';
--! EndIncluded billing/private/available_grants.sql
--! Included billing/private/change_subscription_plan.sql
-- Changes the plan in the middle of a period, with proration and tokens. In the same cycle the period stays. Another cycle, or
-- the first paid plan, starts a new period that is charged in full. During a trial nothing is owed and the trial's end stays.
-- Tokens: the difference of the two quotas for the rest of the period, rounded down; granted tokens stay. Switching back and
-- forth neither gains nor loses tokens (private.quota_of_walk).
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
    raise exception 'Subscription or plan not found.' using errcode = 'PL404', column = 'plan_id';
  end if;
  if v_before.status not in ('trialing', 'active') then
    raise exception 'A subscription with status % cannot change its plan.', v_before.status using errcode = 'PL409';
  end if;
  if v_old.id = v_new.id then
    raise exception 'The subscription is already on that plan.' using errcode = 'PL409', column = 'plan_id';
  end if;
  if v_old.billing_cycle = 'lifetime' then
    raise exception 'A lifetime plan cannot be changed.' using errcode = 'PL409', column = 'plan_id';
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
    update billing.user_subscriptions s
    set plan_id = v_new.id, pending_plan_id = null
    where s.id = v_before.id;
    v_tokens := private.top_up_quota(v_before.id, change_subscription_plan.at);
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
--! EndIncluded billing/private/change_subscription_plan.sql
--! Included billing/private/check_token_counts.sql
-- Counts come from providers' responses; impossible counts must not reach the ledger.
create or replace function private.check_token_counts(
  input_tokens bigint,
  output_tokens bigint,
  cached_input_tokens bigint,
  reasoning_tokens bigint
)
  returns boolean
  language plpgsql
  immutable
as $$
declare
  v_column text := case
    when input_tokens between 0 and 1000000000000 is not true then 'input_tokens'
    when output_tokens between 0 and 1000000000000 is not true then 'output_tokens'
    when cached_input_tokens between 0 and input_tokens is not true then 'cached_input_tokens'
    when reasoning_tokens between 0 and output_tokens is not true then 'reasoning_tokens'
  end;
begin
  if v_column is not null then
    raise exception 'Invalid token count.'
      using errcode = 'PL422', column = v_column,
        hint = 'Cached tokens are part of the input, reasoning tokens of the output.';
  end if;
  return true;
end
$$;

comment on function private.check_token_counts(bigint, bigint, bigint, bigint) is
  'Raises PL422 unless 0 <= cached <= input and 0 <= reasoning <= output, each up to 10^12; otherwise returns true.';
--! EndIncluded billing/private/check_token_counts.sql
--! Included billing/private/claim_message.sql
-- Each message is counted once. The usage settled by a service is authoritative: the usage that the message itself reported is
-- reversed, and later changes of its tokens_used have no effect.
create or replace function private.claim_message(event billing.usage_events, at timestamptz)
  returns void
  language plpgsql
  volatile
as $$
declare
  v_reported uuid;
begin
  select k.event_id into v_reported
  from private.usage_keys k
  join billing.usage_events e on e.id = k.event_id and e.source in ('message', 'self_reported')
  where k.user_id = event.user_id and k.operation = 'message' and k.idempotency_key = event.message_id::text;
  if found then
    perform private.apply_correction(v_reported, 0, 0, 0, 0, null, claim_message.at);
  end if;
  insert into private.usage_keys as k (user_id, operation, idempotency_key, arguments, event_id)
  values (event.user_id, 'message', event.message_id::text, '{}', event.id)
  on conflict on constraint usage_keys_pkey do update
  set event_id = excluded.event_id
  where k.event_id = v_reported;
end
$$;

comment on function private.claim_message(billing.usage_events, timestamptz) is
  'Makes an event the one that counts its message. The caller has locked the user''s ledger.';
--! EndIncluded billing/private/claim_message.sql
--! Included billing/private/close_plan_grant.sql
-- Ends a plan's grants with their period (an upgrade adds a second grant) and carries over the tokens that were neither used nor
-- held, up to a limit. Held tokens stay with the hold: its usage is charged to the old grant, and tokens it releases are lost.
create or replace function private.close_plan_grant(
  user_id uuid,
  source_id uuid,
  closed_at timestamptz,
  rollover_limit bigint,
  rollover_expires_at timestamptz,
  idempotency_key text,
  at timestamptz default now()
)
  returns bigint
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    close_plan_grant.source_id, extract(epoch from close_plan_grant.closed_at), close_plan_grant.rollover_limit,
    extract(epoch from close_plan_grant.rollover_expires_at)
  );
  v_key private.usage_keys;
  v_carried bigint;
  v_priority integer;
  v_last text;
begin
  if close_plan_grant.closed_at is null then
    raise exception 'A closing time is required.' using errcode = 'PL422', column = 'closed_at';
  end if;
  if close_plan_grant.rollover_limit >= 0 is not true then
    raise exception 'The rollover limit must not be negative.' using errcode = 'PL422', column = 'rollover_limit';
  end if;
  v_locked := private.lock_usage(close_plan_grant.user_id, close_plan_grant.at);
  v_key := private.used_key(close_plan_grant.user_id, 'close_grant', close_plan_grant.idempotency_key, v_arguments);
  if v_key.amount is not null then
    return v_key.amount;
  end if;
  -- The period's grants have usually ended when a late job closes them. The next period may have begun at that moment; its grant
  -- is chosen only if there is none before it.
  with period as (
    select g.id, g.starts_at < close_plan_grant.closed_at as began_before
    from billing.token_grants g
    where g.user_id = close_plan_grant.user_id
      and g.source = 'plan'
      and g.source_id = close_plan_grant.source_id
      and g.closed_at is null
      and g.starts_at <= close_plan_grant.closed_at
      and (g.expires_at is null or g.expires_at >= close_plan_grant.closed_at)
  ),
  closed as (
    update billing.token_grants g
    set expires_at = close_plan_grant.closed_at, closed_at = close_plan_grant.at
    from period p
    where g.id = p.id and (p.began_before or not exists (select from period o where o.began_before))
    returning g.id, g.priority, g.amount - g.consumed - g.held as rest
  )
  -- An unlimited grant has no rest to carry over.
  select least(coalesce(sum(c.rest), 0), close_plan_grant.rollover_limit, 1000000000000000), min(c.priority), max(c.id::text)
  into v_carried, v_priority, v_last
  from closed c;
  if v_carried > 0 then
    perform private.grant_tokens(
      close_plan_grant.user_id, v_carried, 'rollover', close_plan_grant.source_id, v_priority,
      close_plan_grant.closed_at, close_plan_grant.rollover_expires_at, 'rollover of ' || v_last, close_plan_grant.at
    );
  end if;
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, amount)
  values (close_plan_grant.user_id, 'close_grant', close_plan_grant.idempotency_key, v_arguments, v_carried);
  return v_carried;
end
$$;

comment on function private.close_plan_grant(uuid, uuid, timestamptz, bigint, timestamptz, text, timestamptz) is
  'Ends the plan grants of a source and carries over up to rollover_limit unused, unheld tokens; returns their number. The same key again returns the same number.';
grant execute on function private.close_plan_grant(uuid, uuid, timestamptz, bigint, timestamptz, text, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded billing/private/close_plan_grant.sql
--! Included billing/private/close_unlimited_grants.sql
-- Unlimited tokens end with their plan. Limited grants stay, so that a returning user loses nothing.
create or replace function private.close_unlimited_grants(user_id uuid, source_id uuid, closed_at timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_locked timestamptz;
  v_last uuid;
begin
  v_locked := private.lock_usage(close_unlimited_grants.user_id, now());
  with closed as (
    update billing.token_grants g
    set expires_at = greatest(close_unlimited_grants.closed_at, g.starts_at), closed_at = now()
    where g.user_id = close_unlimited_grants.user_id
      and g.source = 'plan'
      and g.source_id = close_unlimited_grants.source_id
      and g.amount is null
      and g.closed_at is null
    returning g.id
  )
  select max(c.id::text)::uuid into v_last from closed c;
  if v_last is not null then
    insert into private.usage_keys (user_id, operation, idempotency_key, arguments, amount)
    values (
      close_unlimited_grants.user_id, 'close_grant', format('unlimited-end:%s', v_last),
      jsonb_build_array(
        close_unlimited_grants.source_id, extract(epoch from close_unlimited_grants.closed_at), 0,
        extract(epoch from close_unlimited_grants.closed_at)
      ),
      0
    );
  end if;
end
$$;

comment on function private.close_unlimited_grants(uuid, uuid, timestamptz) is
  'Ends the unlimited plan grants of a source; limited ones stay.';
--! EndIncluded billing/private/close_unlimited_grants.sql
--! Included billing/private/conclude_provider_subscription.sql
-- Recomputes the state of a subscription from all known facts and nothing else: earlier conclusions and the order of arrival do
-- not count. The subscription object is authoritative; its invoices tell what came after. Only an invoice with a line for a whole
-- period of a plan counts: prorations, single items and add-ons neither pay nor owe a period.
create or replace function private.conclude_provider_subscription(provider text, provider_subscription_id text)
  returns private.provider_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_known private.provider_subscriptions;
  v_item record;
  v_newest record;
  v_sums record;
begin
  select m.* into strict v_known
  from private.provider_subscriptions m
  where m.provider = conclude_provider_subscription.provider
    and m.provider_subscription_id = conclude_provider_subscription.provider_subscription_id;
  select b.* into v_item from private.plan_period(v_known.provider, coalesce(v_known.items, '[]')) b;

  -- An invoice newer than the latest state of the subscription knows of the next period. A failed invoice counts only if it
  -- renews: an unpaid upgrade is no upgrade.
  select b.plan_id, b.provider_price_id, b.period_start, b.period_end, i.paid_order is not null as is_paid into v_newest
  from private.provider_invoices i
  cross join lateral private.plan_period(i.provider, i.lines) b
  where i.provider = v_known.provider
    and i.provider_subscription_id = v_known.provider_subscription_id
    and (i.paid_order is not null or i.renews)
    and (
      v_item.plan_id is null
      or v_item.period_start is null
      or (
        greatest(i.paid_order collate "C", i.failed_order collate "C") > coalesce(v_known.object_order, '') collate "C"
        and coalesce(b.period_end, 'infinity') > coalesce(v_item.period_end, 'infinity')
      )
    )
  order by coalesce(b.period_end, 'infinity') desc, b.period_start desc, i.paid_order nulls last, i.provider_payment_id
  limit 1;
  v_known.plan_id := case
    when v_newest.is_paid then v_newest.plan_id
    else coalesce(v_item.plan_id, v_newest.plan_id)
  end;
  v_known.provider_price_id := case
    when v_newest.is_paid then v_newest.provider_price_id
    else coalesce(v_item.provider_price_id, v_newest.provider_price_id)
  end;
  v_known.period_start := coalesce(v_newest.period_start, v_item.period_start);
  v_known.period_end := case when v_newest.period_start is not null then v_newest.period_end else v_item.period_end end;

  -- The invoices for the current period.
  select
    bool_or(i.paid_order is not null and not r.is_given_back) as is_paid,
    bool_or(r.is_given_back) as is_given_back,
    max(coalesce(i.period_end, 'infinity')) filter (where i.paid_order is not null and not r.is_given_back) as paid_until,
    (array_agg(i.plan_id order by i.period_start desc, i.paid_order collate "C", i.provider_payment_id)
      filter (where i.paid_order is not null))[1] as paid_plan_id,
    min(i.paid_order collate "C") filter (where i.paid_order is not null and i.amount_cents > 0) as paid_order,
    max(i.failed_order collate "C") filter (where i.paid_order is null and i.renews) as failed_order,
    min(i.period_start) as first_start
  into v_sums
  from (
    select v.*, b.plan_id, b.period_start, b.period_end
    from private.provider_invoices v
    cross join lateral private.plan_period(v.provider, v.lines) b
    where v.provider = v_known.provider and v.provider_subscription_id = v_known.provider_subscription_id
  ) i
  cross join lateral (
    select exists (
      select
      from billing.payments p
      where p.provider = i.provider
        and p.provider_payment_id = i.provider_payment_id
        and p.status in ('refunded', 'disputed')
    ) as is_given_back
  ) r
  where i.period_start < coalesce(v_known.period_end, 'infinity')
    and coalesce(i.period_end, 'infinity') >= coalesce(v_known.period_end, 'infinity');

  v_known.standing := case
    when v_known.status in ('canceled', 'paused') then v_known.status
    when coalesce(v_known.status in ('incomplete', 'trialing', 'past_due'), true)
      and v_sums.paid_order > coalesce(v_known.status_order, '') collate "C"
    then 'active'
    when coalesce(v_known.status in ('trialing', 'active'), true)
      and v_sums.paid_order is null
      and v_sums.failed_order > coalesce(v_known.status_order, '') collate "C"
    then 'past_due'
    else v_known.status
  end;
  update private.provider_subscriptions m
  set
    plan_id = v_known.plan_id,
    provider_price_id = v_known.provider_price_id,
    period_start = v_known.period_start,
    period_end = v_known.period_end,
    standing = v_known.standing,
    was_live = m.was_live or coalesce(v_known.standing in ('trialing', 'active', 'past_due', 'paused'), false),
    paid_period_end = v_sums.paid_until,
    paid_plan_id = v_sums.paid_plan_id,
    -- A refund of the current period makes it unpaid, unless another invoice paid for it.
    revoked_period_end = case
      when v_sums.is_given_back and not v_sums.is_paid then coalesce(v_known.period_end, 'infinity')
    end
  where m.provider = v_known.provider and m.provider_subscription_id = v_known.provider_subscription_id
  returning m.* into strict v_known;
  -- Only events give the final value; until one arrives, the earliest period is the best guess.
  v_known.started_at := coalesce(v_known.started_at, least(v_sums.first_start, v_known.period_start));
  return v_known;
end
$$;

comment on function private.conclude_provider_subscription(text, text) is
  'Computes a subscription''s state, plan, period and payment from all events of its provider, and stores them.';
--! EndIncluded billing/private/conclude_provider_subscription.sql
--! Included billing/private/correct_usage.sql
-- Corrects recorded usage to the given counts. History stays; the difference is added.
create or replace function private.correct_usage(
  event_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  idempotency_key text,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  at timestamptz default now()
)
  returns billing.usage_events
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    correct_usage.event_id, correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens
  );
  v_event billing.usage_events;
  v_key private.usage_keys;
begin
  v_valid := private.check_token_counts(
    correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens
  );
  select e.* into v_event from billing.usage_events e where e.id = correct_usage.event_id;
  if v_event.user_id is null then
    raise exception 'Usage not found, or its account was deleted.' using errcode = 'PL404', column = 'event_id';
  end if;
  if v_event.kind <> 'usage' then
    raise exception 'Correct the usage, not its correction.' using errcode = 'PL422', column = 'event_id';
  end if;
  v_locked := private.lock_usage(v_event.user_id, correct_usage.at);
  v_key := private.used_key(v_event.user_id, 'correct', correct_usage.idempotency_key, v_arguments);
  if v_key.event_id is not null then
    select e.* into strict v_event from billing.usage_events e where e.id = v_key.event_id;
    return v_event;
  end if;
  v_event := private.apply_correction(
    correct_usage.event_id, correct_usage.input_tokens, correct_usage.output_tokens, correct_usage.cached_input_tokens,
    correct_usage.reasoning_tokens, correct_usage.idempotency_key, correct_usage.at
  );
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (v_event.user_id, 'correct', v_event.idempotency_key, v_arguments, v_event.id);
  return v_event;
end
$$;

comment on function private.correct_usage(uuid, bigint, bigint, text, bigint, bigint, timestamptz) is
  'Corrects a recorded usage to these counts by an event of the difference; the same key again returns the same event. PL404 for unknown usage, PL409 for a key used for another request.';
grant execute on function private.correct_usage(uuid, bigint, bigint, text, bigint, bigint, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded billing/private/correct_usage.sql
--! Included billing/private/current_plan_code.sql
-- The plan whose limits apply to a user: the same as identity.users_tier, for any caller.
create or replace function private.current_plan_code(user_id uuid)
  returns text
  language sql
  stable
as $$
  select coalesce(
    (
      select p.code
      from billing.user_subscriptions s
      join billing.subscription_plans p on p.id = s.plan_id
      where s.user_id = current_plan_code.user_id
        and s.status in ('trialing', 'active', 'past_due')
    ),
    'free'
  )
$$;

comment on function private.current_plan_code(uuid) is
  'Returns the code of the user''s plan (trialing, active or past_due), or free.';
--! EndIncluded billing/private/current_plan_code.sql
--! Included billing/private/ensure_current_grants.sql
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
  'Grants the tokens of the user''s plan, or the free plan, for the current period, unless they were granted.';
--! EndIncluded billing/private/ensure_current_grants.sql
--! Included billing/private/ensure_grants_at.sql
-- Grants a user's current entitlement in the ledger before tokens are spent, even if no job ran. usage_tracking.entitled_until
-- holds the time until which nothing is due; a change of the subscription clears it. The ledger checks it in the row that it
-- locks anyway, and calls this function only after that time.
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
  -- A caller that holds a lock ranked after the account's must not wait for the account.
  if may_wait then
    perform from identity.users u where u.id = ensure_grants_at.user_id for no key update;
    if not found then
      return;
    end if;
  elsif not private.try_lock_account(ensure_grants_at.user_id) then
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
    -- A quota that is pending is checked again each time.
    and v_has_free is not false
    and v_subscription.is_granted is not false;
end
$$;

comment on function private.ensure_grants_at(uuid, timestamptz, boolean) is
  'Grants the tokens of the periods that contain a moment, once. Without may_wait it does nothing while the account is locked.';
--! EndIncluded billing/private/ensure_grants_at.sql
--! Included billing/private/expire_token_holds.sql
-- Expires holds of callers that never returned. Reserve does not depend on it; it corrects the balances of idle users.
create or replace function private.expire_token_holds(batch_size integer default 1000, at timestamptz default now())
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_row record;
  v_users integer := 0;
begin
  perform private.check_batch_size(batch_size);
  for v_row in
    select t.user_id, t.next_hold_expires_at
    from billing.usage_tracking t
    where t.next_hold_expires_at <= expire_token_holds.at
    limit batch_size
    for update skip locked
  loop
    perform private.expire_user_holds(v_row.user_id, v_row.next_hold_expires_at, expire_token_holds.at);
    v_users := v_users + 1;
  end loop;
  return v_users;
end
$$;

comment on function private.expire_token_holds(integer, timestamptz) is
  'Expires the due holds of up to batch_size users; returns the number of users. Users whose ledger is locked are skipped.';
grant execute on function private.expire_token_holds(integer, timestamptz) to :PLINTH_WORKER;
--! EndIncluded billing/private/expire_token_holds.sql
--! Included billing/private/expire_user_holds.sql
-- Releases the tokens of a user's overdue holds. The caller holds the user's lock.
create or replace function private.expire_user_holds(user_id uuid, since timestamptz, at timestamptz)
  returns timestamptz
  language plpgsql
  volatile
as $$
declare
  v_next timestamptz;
begin
  with due as (
    update billing.token_holds h
    set state = 'expired'
    where h.user_id = expire_user_holds.user_id
      and h.state = 'open'
      and h.expires_at between expire_user_holds.since and expire_user_holds.at
    returning h.id, h.grant_ids, h.grant_tokens
  ), given_back as (
    select a.grant_id, sum(a.tokens)::bigint as tokens
    from due d
    cross join unnest(d.grant_ids, d.grant_tokens) as a (grant_id, tokens)
    group by a.grant_id
  )
  update billing.token_grants g set held = g.held - b.tokens from given_back b where g.id = b.grant_id;

  select min(h.expires_at) into v_next
  from billing.token_holds h
  where h.user_id = expire_user_holds.user_id and h.state = 'open' and h.expires_at > expire_user_holds.at;
  update billing.usage_tracking t set next_hold_expires_at = v_next where t.user_id = expire_user_holds.user_id;
  return v_next;
end
$$;

comment on function private.expire_user_holds(uuid, timestamptz, timestamptz) is
  'Expires the holds of a user that ended from one moment (next_hold_expires_at) to another; returns the next end of a hold. The caller has locked the user''s row of usage_tracking.';
--! EndIncluded billing/private/expire_user_holds.sql
--! Included billing/private/find_customer.sql
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

comment on function private.find_customer(text) is 'Returns the signed-in user''s customer id at a payment provider, or null.';
grant execute on function private.find_customer(text) to :PLINTH_SERVICE;
--! EndIncluded billing/private/find_customer.sql
--! Included billing/private/finish_provider_cancellation.sql
-- A failure is retried after a minute, doubling up to a day, without end: the customer is still being charged.
create or replace function private.finish_provider_cancellation(provider text, provider_subscription_id text, error text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  if error is null then
    delete from private.provider_cancellations c
    where c.provider = finish_provider_cancellation.provider
      and c.provider_subscription_id = finish_provider_cancellation.provider_subscription_id;
  else
    update private.provider_cancellations c
    set
      last_error = left(error, 200),
      next_attempt_at = clock_timestamp() + least(interval '1 day', interval '1 minute' * power(2, least(c.attempts, 12) - 1))
    where c.provider = finish_provider_cancellation.provider
      and c.provider_subscription_id = finish_provider_cancellation.provider_subscription_id;
  end if;
end
$$;

comment on function private.finish_provider_cancellation(text, text, text) is
  'Deletes the row of a canceled subscription (error null), or schedules the next attempt.';
grant execute on function private.finish_provider_cancellation(text, text, text) to :PLINTH_WORKER;
--! EndIncluded billing/private/finish_provider_cancellation.sql
--! Included billing/private/follow_provider_plan.sql
-- The provider has changed the plan and charged for it; the history holds the amount it should have charged.
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
  update billing.user_subscriptions s
  set plan_id = plan.id, pending_plan_id = null
  where s.id = subscription.id
  returning s.* into v_after;
  if v_same_period then
    v_tokens := private.top_up_quota(subscription.id, follow_provider_plan.at);
  end if;
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
) is 'Moves a subscription to the plan that its provider bills, with its proration in the history.';
--! EndIncluded billing/private/follow_provider_plan.sql
--! Included billing/private/free_plan.sql
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

comment on function private.free_plan() is 'Returns the free plan on offer, the one in USD first; null without one.';
--! EndIncluded billing/private/free_plan.sql
--! Included billing/private/grant_free_quota.sql
-- The free plan's tokens: once per calendar month (UTC) and user, subscribed to it or to no plan.
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
--! EndIncluded billing/private/grant_free_quota.sql
--! Included billing/private/grant_free_quotas.sql
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
--! EndIncluded billing/private/grant_free_quotas.sql
--! Included billing/private/grant_free_quotas_at.sql
-- Grants the monthly tokens of users who signed in recently, so that a balance is right before tokens are spent. Other users get
-- them at the first use (private.ensure_current_grants): idle accounts cost nothing.
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
  perform private.check_batch_size(batch_size);
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
    -- A worker that holds several accounts never waits.
    continue when not private.try_lock_usage(v_user_id);
    if private.grant_free_quota(v_user_id, grant_free_quotas_at.at) then
      v_handled := v_handled + 1;
    end if;
  end loop;
  return v_handled;
end
$$;

comment on function private.grant_free_quotas_at(integer, timestamptz) is
  'Grants up to batch_size users the free plan''s tokens of the month around a moment; returns their number.';
--! EndIncluded billing/private/grant_free_quotas_at.sql
--! Included billing/private/grant_quota.sql
-- The quota of a subscription's current period. For a plan billed by a provider, the payment of the period triggers the grant,
-- not the provider's report that the next period has begun. A key for each period makes each grant happen once.
create or replace function private.grant_quota(subscription_id uuid)
  returns boolean
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_subscription billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_first billing.subscription_plans;
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
    -- An upgrade in the middle of a period may be known before its first payment: the period began with the plan paid for.
    select p.* into v_first
    from private.plans_of_period(v_subscription) w
    join billing.subscription_plans p on p.id = w.plan_id
    where v_subscription.provider is not null
    order by w.began_at
    limit 1;
    if v_first.id is null then
      v_first := v_plan;
    end if;
    if v_first.token_quota is distinct from 0 then
      perform private.grant_tokens(
        v_subscription.user_id, v_first.token_quota, 'plan', v_subscription.id, 100, v_subscription.quota_period_start,
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
  'Grants the tokens of a subscription''s quota period once, carrying over what the plan allows; returns whether it did.';
--! EndIncluded billing/private/grant_quota.sql
--! Included billing/private/grant_subscription_at.sql
-- A payment received in some other way: the first one starts a subscription, later ones renew it, another plan is an immediate
-- change.
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

comment on function private.grant_subscription_at(uuid, uuid, timestamptz) is 'Runs billing.grant_subscription as of a time.';
--! EndIncluded billing/private/grant_subscription_at.sql
--! Included billing/private/grant_tokens.sql
-- Grants a user tokens, once for each key.
create or replace function private.grant_tokens(
  user_id uuid,
  amount bigint,
  source text,
  source_id uuid,
  priority integer,
  starts_at timestamptz,
  expires_at timestamptz,
  idempotency_key text,
  at timestamptz default now()
)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_locked timestamptz;
  v_grant billing.token_grants;
begin
  -- The sum of some thousand grants fits into a bigint.
  if grant_tokens.amount not between 1 and 1000000000000000 then
    raise exception 'A grant must have 1 to 10^15 tokens.' using errcode = 'PL422', column = 'amount';
  end if;
  -- Rules about columns that never change are checked here and not by a CHECK, which would slow down each settlement.
  if grant_tokens.source in ('plan', 'purchase', 'manual', 'promotion', 'rollover') is not true then
    raise exception 'The source of tokens must be plan, purchase, manual, promotion or rollover.'
      using errcode = 'PL422', column = 'source';
  end if;
  if length(grant_tokens.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key must have 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  if coalesce(grant_tokens.starts_at, grant_tokens.at) > grant_tokens.expires_at then
    raise exception 'A grant must end after it starts.' using errcode = 'PL422', column = 'expires_at';
  end if;
  v_locked := private.lock_usage(grant_tokens.user_id, grant_tokens.at);
  select g.* into v_grant
  from billing.token_grants g
  where g.user_id = grant_tokens.user_id and g.idempotency_key = grant_tokens.idempotency_key;
  if found then
    -- Its end may have been brought forward since. Without a start, it began at its creation.
    if (v_grant.amount, v_grant.source, v_grant.source_id, v_grant.priority)
      is distinct from (grant_tokens.amount, grant_tokens.source, grant_tokens.source_id, coalesce(grant_tokens.priority, 100))
      or v_grant.starts_at <> grant_tokens.starts_at
      or (v_grant.closed_at is null and v_grant.expires_at is distinct from grant_tokens.expires_at)
    then
      raise exception 'The idempotency key was already used with other arguments.'
        using errcode = 'PL409', column = 'idempotency_key';
    end if;
    return v_grant.id;
  end if;
  insert into billing.token_grants (
    user_id, amount, source, source_id, priority, starts_at, expires_at, idempotency_key, created_at
  )
  values (
    grant_tokens.user_id, grant_tokens.amount, grant_tokens.source, grant_tokens.source_id,
    coalesce(grant_tokens.priority, 100), coalesce(grant_tokens.starts_at, grant_tokens.at), grant_tokens.expires_at,
    grant_tokens.idempotency_key, grant_tokens.at
  )
  returning * into v_grant;
  return v_grant.id;
end
$$;

comment on function private.grant_tokens(uuid, bigint, text, uuid, integer, timestamptz, timestamptz, text, timestamptz) is
  'Grants a user tokens (null: unlimited while in force) and returns the grant''s id; the same key again returns the same id. PL404 for an unknown account, PL409 for a key used for another request.';
grant execute
  on function private.grant_tokens(uuid, bigint, text, uuid, integer, timestamptz, timestamptz, text, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded billing/private/grant_tokens.sql
--! Included billing/private/is_upgrade.sql
-- Upgrades take effect at once and all other changes at the end of the period. An upgrade is more access; at the same access, a
-- longer commitment; at the same cycle, a higher price.
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
  'Returns whether a change from one plan to the other takes effect at once.';
--! EndIncluded billing/private/is_upgrade.sql
--! Included billing/private/limits_passed.sql
-- The number of limits of a user that so many more tokens would exceed. Sums days, at most 31 for each model and month, never
-- events. Held tokens count as used.
create or replace function private.limits_passed(
  user_id uuid,
  model_id uuid,
  tokens bigint,
  is_hard boolean,
  at timestamptz
)
  returns integer
  language sql
  stable
as $$
  select count(*)::integer
  from billing.usage_limits l
  where (l.user_id is null or l.user_id = limits_passed.user_id)
    -- Without a model all limits are checked.
    and (limits_passed.model_id is null or l.model_id is null or l.model_id = limits_passed.model_id)
    and l.is_hard = limits_passed.is_hard
    and (l.plan_code is null or l.plan_code = private.current_plan_code(limits_passed.user_id))
    and limits_passed.tokens + (
      select coalesce(sum(d.total_tokens), 0)
      from billing.daily_usage d
      where d.user_id = limits_passed.user_id
        and d.day >= date_trunc(l.period, limits_passed.at at time zone 'UTC')::date
        and d.day < (date_trunc(l.period, limits_passed.at at time zone 'UTC') + ('1 ' || l.period)::interval)::date
        and (l.model_id is null or d.model_id = l.model_id)
    ) + (
      select coalesce(sum(h.max_tokens), 0)
      from billing.token_holds h
      where h.user_id = limits_passed.user_id
        and h.state = 'open'
        and h.expires_at > limits_passed.at
        and (l.model_id is null or h.model_id = l.model_id)
    ) > l.max_tokens
$$;

comment on function private.limits_passed(uuid, uuid, bigint, boolean, timestamptz) is
  'Returns how many hard or soft limits of a user (on a model, or all) this many more tokens would exceed.';
--! EndIncluded billing/private/limits_passed.sql
--! Included billing/private/lock_subscriber.sql
-- Actions of users on their own subscription: nothing here costs money, since paid plans begin with a payment. Definer rights:
-- users may not write subscriptions. Each function locks the account first (the one lock order) and brings the subscription up
-- to date, so that no call acts on an outdated state.

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
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  perform from identity.users u where u.id = lock_subscriber.user_id and u.is_active for no key update;
  if not found then
    raise exception 'Account not found.' using errcode = 'PL404', column = 'user_id';
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
  'Locks an account and returns its current subscription, brought up to date as of a time, or null. PL401, PL404.';
--! EndIncluded billing/private/lock_subscriber.sql
--! Included billing/private/lock_usage.sql
-- The lock that serializes a user's ledger: the user's row of usage_tracking, created at the first use. The function also brings
-- the row up to date: it expires due holds and starts the new month.
create or replace function private.lock_usage(user_id uuid, at timestamptz)
  returns timestamptz
  language plpgsql
  volatile
as $$
declare
  v_row billing.usage_tracking;
begin
  select t.* into v_row from billing.usage_tracking t where t.user_id = lock_usage.user_id for no key update;
  if not found then
    begin
      insert into billing.usage_tracking (user_id, last_reset)
      values (lock_usage.user_id, date_trunc('month', lock_usage.at, 'UTC'))
      on conflict on constraint usage_tracking_pkey do nothing;
    exception
      when foreign_key_violation or not_null_violation then
        raise exception 'Account not found.' using errcode = 'PL404', column = 'user_id';
    end;
    select t.* into strict v_row from billing.usage_tracking t where t.user_id = lock_usage.user_id for no key update;
  end if;
  if v_row.next_hold_expires_at <= lock_usage.at then
    v_row.next_hold_expires_at := private.expire_user_holds(
      lock_usage.user_id, v_row.next_hold_expires_at, lock_usage.at
    );
  end if;
  if v_row.last_reset < date_trunc('month', lock_usage.at, 'UTC') then
    update billing.usage_tracking t
    set token_count = 0, last_reset = date_trunc('month', lock_usage.at, 'UTC')
    where t.user_id = lock_usage.user_id;
  end if;
  return v_row.next_hold_expires_at;
end
$$;

comment on function private.lock_usage(uuid, timestamptz) is
  'Locks a user''s ledger until the end of the transaction, with due holds expired and the month started; returns a time before which no open hold ends, null without one. PL404 for an unknown account.';
--! EndIncluded billing/private/lock_usage.sql
--! Included billing/private/merge_payment_reversal.sql
-- The data of one event about returned money. A refund may fail, and a dispute may be an inquiry or be won. Each is therefore
-- stored by its own id with its latest state, and the payment shows the sum of those in force.
create or replace function private.merge_payment_reversal(payment_id uuid, event_order text, occurred_at timestamptz, news jsonb)
  returns billing.payments
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_kind text := case news ->> 'kind' when 'refund' then 'refunded' when 'dispute' then 'disputed' else news ->> 'kind' end;
  v_payment billing.payments;
begin
  insert into private.payment_reversals as r (payment_id, kind, reversal_key, amount_cents, is_in_force, occurred_at, latest_order)
  values (
    merge_payment_reversal.payment_id, v_kind,
    coalesce(news ->> 'reversal', news ->> 'reference', news ->> 'payment'),
    coalesce((news ->> 'refunded')::bigint, 0),
    -- Events stored by an older version omit it.
    coalesce((news ->> 'in_force')::boolean, true),
    merge_payment_reversal.occurred_at, event_order
  )
  on conflict on constraint payment_reversals_pkey do update
  set
    amount_cents = case when excluded.latest_order collate "C" >= r.latest_order collate "C" then excluded.amount_cents else r.amount_cents end,
    is_in_force = case when excluded.latest_order collate "C" >= r.latest_order collate "C" then excluded.is_in_force else r.is_in_force end,
    occurred_at = least(r.occurred_at, excluded.occurred_at),
    latest_order = greatest(r.latest_order collate "C", excluded.latest_order collate "C");
  -- The event repeats data stored before ids were kept.
  delete from private.payment_reversals r
  where r.payment_id = merge_payment_reversal.payment_id
    and r.kind = v_kind
    and r.reversal_key = 'earlier';

  update billing.payments p
  set
    refunded_cents = least(greatest(s.refunded, 0), p.amount_cents),
    disputed_at = s.disputed_at
  from (
    select
      coalesce(sum(r.amount_cents) filter (where r.kind = 'refunded'), 0)
      -- A later state of the charge excludes the refunds that failed before it.
      - coalesce(
        sum(r.amount_cents) filter (
          where r.kind = 'refund_failed' and r.is_in_force and r.latest_order collate "C" > coalesce(c.latest_order, '') collate "C"
        ),
        0
      ) as refunded,
      min(r.occurred_at) filter (where r.kind = 'disputed' and r.is_in_force) as disputed_at
    from private.payment_reversals r
    cross join (
      select max(o.latest_order collate "C") as latest_order
      from private.payment_reversals o
      where o.payment_id = merge_payment_reversal.payment_id and o.kind = 'refunded'
    ) c
    where r.payment_id = merge_payment_reversal.payment_id
  ) s
  where p.id = merge_payment_reversal.payment_id
  returning p.* into strict v_payment;
  return v_payment;
end
$$;

comment on function private.merge_payment_reversal(uuid, text, timestamptz, jsonb) is
  'Merges one event''s data of a refund or dispute and returns the payment with their sum; the order of calls makes no difference.';
--! EndIncluded billing/private/merge_payment_reversal.sql
--! Included billing/private/merge_provider_invoice.sql
-- The data of one event about an invoice or purchase. Only lines for a whole period are stored: a proration, a single item or a
-- credit is money, but not a paid or owed period.
create or replace function private.merge_provider_invoice(provider text, event_order text, news jsonb)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  insert into private.provider_invoices as i (
    provider, provider_payment_id, provider_subscription_id, lines, renews, amount_cents, paid_order, failed_order
  )
  select
    merge_provider_invoice.provider, coalesce(news ->> 'payment', news ->> 'subscription'), news ->> 'subscription',
    case
      when news ? 'lines' then jsonb_path_query_array(news -> 'lines', '$[*] ? (@.regular == true)')
      -- A purchase, or an event stored by an older version.
      when news ->> 'plan_id' is not null or news ->> 'period_end' is not null or (news ->> 'for_life')::boolean then
        jsonb_build_array(
          jsonb_strip_nulls(
            jsonb_build_object(
              'plan', news -> 'plan_id', 'price', news -> 'price', 'start', news -> 'period_start', 'end', news -> 'period_end'
            )
          )
        )
      else '[]'
    end,
    coalesce((news ->> 'renews')::boolean, news ->> 'status' = 'past_due', false),
    coalesce((news ->> 'amount')::bigint, 0),
    case when (news ->> 'paid')::boolean then event_order end,
    case when not (news ->> 'paid')::boolean then event_order end
  on conflict on constraint provider_invoices_pkey do update
  set
    lines = case when excluded.lines = '[]' then i.lines else excluded.lines end,
    renews = i.renews or excluded.renews,
    amount_cents = case
      when i.paid_order is not null and excluded.paid_order is null then i.amount_cents
      else excluded.amount_cents
    end,
    paid_order = least(i.paid_order collate "C", excluded.paid_order collate "C"),
    failed_order = greatest(i.failed_order collate "C", excluded.failed_order collate "C")
$$;

comment on function private.merge_provider_invoice(text, text, jsonb) is
  'Merges one event''s data of an invoice or purchase into private.provider_invoices; the order of calls makes no difference.';
--! EndIncluded billing/private/merge_provider_invoice.sql
--! Included billing/private/merge_provider_subscription.sql
-- Merges the data of one event about a provider's subscription itself into the known data. Merging is commutative and idempotent,
-- so events may arrive late, twice and in any order. event_order ranks the event; the status canceled ranks above all, because no
-- provider revives a canceled subscription. private.merge_provider_invoice stores invoices.
create or replace function private.merge_provider_subscription(provider text, provider_subscription_id text, event_order text, news jsonb)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_status text := case when news ->> 'kind' <> 'invoice' then news ->> 'status' end;
  v_order text collate "C" := case when v_status = 'canceled' then 'z' else '' end || event_order;
  v_object_order text collate "C" := case when news ->> 'kind' = 'subscription' then event_order end;
  -- Events stored by an older version name one item only.
  v_items jsonb := coalesce(
    news -> 'items',
    jsonb_build_array(
      jsonb_strip_nulls(
        jsonb_build_object('price', news -> 'price', 'start', news -> 'period_start', 'end', news -> 'period_end')
      )
    )
  );
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
    started_at = least(m.started_at, to_timestamp((news ->> 'started_at')::double precision)),
    ended_at = least(m.ended_at, to_timestamp((news ->> 'ended_at')::double precision))
  where m.provider = merge_provider_subscription.provider
    and m.provider_subscription_id = merge_provider_subscription.provider_subscription_id;

  if v_object_order is null then
    return;
  end if;
  update private.provider_subscriptions m
  set
    price_history = (
      select coalesce(jsonb_object_agg(h.key, h.value), '{}')
      from (
        select e.key, e.value
        from jsonb_each(
          m.price_history
          || jsonb_build_object(v_object_order, jsonb_path_query_array(v_items, '$[*].price'))
        ) e
        order by e.key collate "C" desc
        limit 50
      ) h
    )
  where m.provider = merge_provider_subscription.provider
    and m.provider_subscription_id = merge_provider_subscription.provider_subscription_id;

  update private.provider_subscriptions m
  set
    items = v_items,
    cancel_at_period_end = coalesce((news ->> 'cancel_at_period_end')::boolean, false),
    cancel_at = to_timestamp((news ->> 'cancel_at')::double precision),
    trial_end = to_timestamp((news ->> 'trial_end')::double precision),
    object_order = v_object_order
  where m.provider = merge_provider_subscription.provider
    and m.provider_subscription_id = merge_provider_subscription.provider_subscription_id
    and v_object_order >= coalesce(m.object_order, '') collate "C";
end
$$;

comment on function private.merge_provider_subscription(text, text, text, jsonb) is
  'Merges one event''s data of a subscription itself into private.provider_subscriptions; the order of calls makes no difference.';
--! EndIncluded billing/private/merge_provider_subscription.sql
--! Included billing/private/offered_plan.sql
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
    raise exception 'This plan is not available.' using errcode = 'PL404', column = 'plan_id';
  end if;
  return v_plan;
end
$$;

comment on function private.offered_plan(uuid) is 'Returns a plan that new subscriptions may choose; PL404 for any other.';
--! EndIncluded billing/private/offered_plan.sql
--! Included billing/private/pause_subscription.sql
-- A pause stops the clock: the rest of the period is available when the subscription resumes, and unused plan tokens stay without
-- an end, since the user paid for both. Not for subscriptions billed by a provider, whose clock cannot be stopped from here.
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
  'Pauses an active subscription; PL409 when it is not active, free, lifetime, or billed by a provider.';
--! EndIncluded billing/private/pause_subscription.sql
--! Included billing/private/payment_period.sql
-- The plan of an invoice or purchase, and its period if it is for a whole one. A proration has a plan but no period.
create or replace function private.payment_period(provider text, news jsonb)
  returns table (plan_id uuid, period_start timestamptz, period_end timestamptz)
  language sql
  stable
  set search_path = pg_catalog
as $$
  select
    coalesce(
      (select sp.id from billing.subscription_plans sp where sp.id = (news ->> 'plan_id')::uuid),
      b.plan_id,
      case when news ? 'lines' then (select a.plan_id from private.plan_period(payment_period.provider, news -> 'lines') a) end
    ),
    case when news ? 'lines' then b.period_start else to_timestamp((news ->> 'period_start')::double precision) end,
    case when news ? 'lines' then b.period_end else to_timestamp((news ->> 'period_end')::double precision) end
  from (values (true)) one (row)
  left join lateral private.plan_period(
    payment_period.provider,
    case
      when news ? 'lines' then jsonb_path_query_array(news -> 'lines', '$[*] ? (@.regular == true)')
      else jsonb_build_array(jsonb_build_object('price', news -> 'price'))
    end
  ) b on true
$$;

comment on function private.payment_period(text, jsonb) is
  'Returns the plan of an event''s payment and its period; null without one.';
--! EndIncluded billing/private/payment_period.sql
--! Included billing/private/plan_period.sql
-- Chooses the plan's entry among several items or lines: one whose price sells a plan (or that names one); of several the highest
-- plan's, then the latest. Position means nothing: an add-on may come before it and a single item after.
create or replace function private.plan_period(provider text, lines jsonb)
  returns table (plan_id uuid, provider_price_id text, period_start timestamptz, period_end timestamptz)
  language sql
  stable
  set search_path = pg_catalog
as $$
  select
    p.id,
    l.line ->> 'price',
    to_timestamp((l.line ->> 'start')::double precision),
    to_timestamp((l.line ->> 'end')::double precision)
  from jsonb_array_elements(lines) l (line)
  join billing.subscription_plans p
    on p.id = coalesce(
      (l.line ->> 'plan')::uuid,
      (
        select pp.plan_id
        from billing.plan_prices pp
        where pp.provider = plan_period.provider and pp.provider_price_id = l.line ->> 'price'
      )
    )
  order by p.access_level desc, p.price_cents desc, (l.line ->> 'end')::double precision desc nulls first, p.id
  limit 1
$$;

comment on function private.plan_period(text, jsonb) is
  'Returns the plan, its price and its period among items or lines of a provider; no row when no price there sells a plan.';
--! EndIncluded billing/private/plan_period.sql
--! Included billing/private/plans_of_period.sql
-- The plans of a subscription's quota period in order, with their start times. For provider billing the source is the provider's
-- events, in any order of arrival: first the plan whose price was paid. Otherwise it is the history here.
create or replace function private.plans_of_period(subscription billing.user_subscriptions)
  returns table (plan_id uuid, began_at timestamptz)
  language sql
  stable
  set search_path = pg_catalog
as $$
  with told as (
    select
      to_timestamp(split_part(h.key, '.', 1)::double precision) as began_at,
      h.key collate "C" as rank,
      b.plan_id,
      m.paid_plan_id
    from private.provider_subscriptions m
    cross join lateral jsonb_each(m.price_history) h
    cross join lateral private.plan_period(
      m.provider,
      (select coalesce(jsonb_agg(jsonb_build_object('price', p.price)), '[]') from jsonb_array_elements(h.value) p (price))
    ) b
    where m.provider = subscription.provider and m.provider_subscription_id = subscription.provider_subscription_id
  ),
  steps as (
    -- The plan that was paid, or that the period began with.
    (
      select coalesce(t.paid_plan_id, t.plan_id) as plan_id, '-infinity'::timestamptz as began_at, '' collate "C" as rank
      from told t
      order by t.began_at <= subscription.quota_period_start desc,
        case when t.began_at <= subscription.quota_period_start then t.rank end desc, t.rank
      limit 1
    )
    union all
    select t.plan_id, t.began_at, t.rank
    from told t
    where t.began_at > subscription.quota_period_start and t.began_at < subscription.quota_period_end
    union all
    select c.to_plan_id, c.effective_at, c.id::text
    from billing.subscription_changes c
    where subscription.provider is null
      and c.subscription_id = subscription.id
      and c.from_plan_id <> c.to_plan_id
      and c.effective_at >= subscription.quota_period_start
      and c.effective_at < subscription.quota_period_end
  )
  select s.plan_id, greatest(s.began_at, subscription.quota_period_start) from steps s order by s.rank
$$;

comment on function private.plans_of_period(billing.user_subscriptions) is
  'Returns the plans of a subscription''s quota period in order, with their start times.';
--! EndIncluded billing/private/plans_of_period.sql
--! Included billing/private/post_usage_event.sql
-- The only way into usage_events, and so the only place where the totals grow: each event is also added to usage_tracking and
-- daily_usage. Usage is priced here, at the price in force when it occurred; a correction uses the prices pinned to the corrected
-- event. The caller holds the user's lock.
create or replace function private.post_usage_event(event billing.usage_events)
  returns billing.usage_events
  language plpgsql
  volatile
as $$
declare
  v_day date := (event.occurred_at at time zone 'UTC')::date;
  v_price record;
begin
  event.currency := 'USD';
  event.total_tokens := event.input_tokens + event.output_tokens;
  event.charged_tokens := event.total_tokens - event.overdraft_tokens;
  if event.kind = 'usage' then
    -- Same as llm.models_price, with the index that is cheap to read.
    select
      p.id,
      p.input_price_per_million_tokens as input,
      p.output_price_per_million_tokens as output,
      coalesce(p.cached_input_price_per_million_tokens, p.input_price_per_million_tokens) as cached_input,
      coalesce(p.reasoning_price_per_million_tokens, p.output_price_per_million_tokens) as reasoning
    into v_price
    from billing.model_prices p
    where p.model_id = event.model_id
      and p.currency = event.currency
      and (p.effective_from is null or p.effective_from <= event.occurred_at)
      and (p.effective_to is null or p.effective_to > event.occurred_at);
    event.is_priced := found;
    event.price_id := v_price.id;
    event.input_price_per_million_tokens := v_price.input;
    event.output_price_per_million_tokens := v_price.output;
    event.cached_input_price_per_million_tokens := v_price.cached_input;
    event.reasoning_price_per_million_tokens := v_price.reasoning;
  end if;
  -- Multiplied, not divided: a product of numerics is exact.
  event.cost := 0.000001 * (
    (event.input_tokens - event.cached_input_tokens) * event.input_price_per_million_tokens
    + event.cached_input_tokens * event.cached_input_price_per_million_tokens
    + (event.output_tokens - event.reasoning_tokens) * event.output_price_per_million_tokens
    + event.reasoning_tokens * event.reasoning_price_per_million_tokens
  );

  insert into billing.usage_events values (event.*);
  update billing.usage_tracking t
  set
    token_count = t.token_count + case when event.occurred_at >= t.last_reset then event.total_tokens else 0 end,
    lifetime_tokens = t.lifetime_tokens + event.total_tokens
  where t.user_id = event.user_id;
  update billing.daily_usage d
  set
    requests = d.requests + (event.kind = 'usage')::integer,
    input_tokens = d.input_tokens + event.input_tokens,
    output_tokens = d.output_tokens + event.output_tokens,
    cached_input_tokens = d.cached_input_tokens + event.cached_input_tokens,
    reasoning_tokens = d.reasoning_tokens + event.reasoning_tokens,
    total_tokens = d.total_tokens + event.total_tokens,
    overdraft_tokens = d.overdraft_tokens + event.overdraft_tokens,
    unpriced_tokens = d.unpriced_tokens + case when event.is_priced then 0 else event.total_tokens end,
    self_reported_tokens = d.self_reported_tokens
      + case when event.source = 'self_reported' then event.total_tokens else 0 end,
    cost = d.cost + coalesce(event.cost, 0)
  where d.user_id = event.user_id
    and d.day = v_day
    and (d.model_id = event.model_id or (d.model_id is null and event.model_id is null));
  if not found then
    -- First of the day. No other transaction can be creating it, because it would need the user's lock.
    insert into billing.daily_usage (
      user_id, model_id, day, requests, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, total_tokens,
      overdraft_tokens, unpriced_tokens, self_reported_tokens, cost
    )
    values (
      event.user_id, event.model_id, v_day, (event.kind = 'usage')::integer, event.input_tokens, event.output_tokens,
      event.cached_input_tokens, event.reasoning_tokens, event.total_tokens, event.overdraft_tokens,
      case when event.is_priced then 0 else event.total_tokens end,
      case when event.source = 'self_reported' then event.total_tokens else 0 end,
      coalesce(event.cost, 0)
    );
  end if;
  return event;
end
$$;

comment on function private.post_usage_event(billing.usage_events) is
  'Prices an event, adds it and updates the totals; returns it as stored. The caller has locked the user''s ledger.';
--! EndIncluded billing/private/post_usage_event.sql
--! Included billing/private/prepare_checkout.sql
-- The data that a payment provider needs to sell a plan to the signed-in user, or the reason why it may not. A paying user
-- changes the plan where it is billed; a second checkout would charge twice.
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
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  select p.* into v_plan
  from billing.subscription_plans p
  where p.id = prepare_checkout.plan_id and p.is_active and p.superseded_at is null;
  if v_plan.id is null then
    raise exception 'This plan is not available.' using errcode = 'PL404', column = 'plan_id';
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
    raise exception 'You already have a paid subscription.'
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
  'Returns the data that a provider needs to sell a plan to the signed-in user. PL401, PL404, PL409 when the plan is not sold or the user already pays.';
grant execute on function private.prepare_checkout(uuid, text) to :PLINTH_SERVICE;
--! EndIncluded billing/private/prepare_checkout.sql
--! Included billing/private/process_payment_event.sql
-- Processes one event of the inbox. A second caller waits for the first and finds it done. Events that arrived too early and can
-- be applied now are processed with it.
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
  'Processes one event of the inbox, once, and then the events of the same customer that waited for it; returns its outcome.';
grant execute on function private.process_payment_event(uuid) to :PLINTH_SERVICE;
--! EndIncluded billing/private/process_payment_event.sql
--! Included billing/private/process_payment_events.sql
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
  perform private.check_batch_size(batch_size);
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
  'Processes up to batch_size events that a server left behind or that wait; returns the number of attempts.';
grant execute on function private.process_payment_events(integer) to :PLINTH_WORKER;
--! EndIncluded billing/private/process_payment_events.sql
--! Included billing/private/proration.sql
-- The cost of a plan change at a moment, to the cent: the unused part of the old price is credited, the same part of the new
-- price is charged. The part is the remaining whole seconds divided by the whole seconds of the period. Each line is rounded to
-- the nearest cent, half a cent away from zero, so no line depends on the other or on which digit is even. The amount owed is
-- exactly the sum of both lines.
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
  'Returns credit (zero or negative) and charge in cents for a plan change at a moment of a period; both zero without a period.';
--! EndIncluded billing/private/proration.sql
--! Included billing/private/quota_of_walk.sql
-- The tokens of a period in which the plan changed: the first quota, then a share for the rest of the period at each change.
--
--   quotas  1000, 4000       at 100 %, 50 %         2500: half of the difference more
--   quotas  1000, 4000, 1000, 4000                  the same as without switching back and forth
--   quotas  1000, 4000, 1000, 9000                  the same as from 1000 to 9000, or the tokens of 4000 if more
--
-- Upgrades build a staircase. A downgrade removes the steps above it, so that a later upgrade counts from there and tokens of
-- removed steps are not granted twice. The result is never less than one direct change from the first plan would grant, and never
-- less than was granted before. Null is unlimited and counts as nothing itself.
create or replace function private.quota_of_walk(quotas bigint[], unused_seconds bigint[], period_seconds bigint)
  returns bigint
  language plpgsql
  immutable
  set search_path = pg_catalog
as $$
declare
  -- More than any plan grants.
  c_unlimited constant bigint := 2000000000000000;
  v_first bigint := coalesce(quotas[1], 0);
  v_steps bigint[] := array[v_first];
  v_lefts bigint[] := array[period_seconds];
  v_quota bigint;
  v_left bigint;
  v_gone_left bigint;
  v_sum bigint;
  v_most bigint := v_first;
begin
  for i in 2..cardinality(quotas) loop
    v_quota := coalesce(quotas[i], c_unlimited);
    v_left := least(greatest(unused_seconds[i], 0), v_lefts[cardinality(v_lefts)]);
    v_gone_left := null;
    while v_steps[cardinality(v_steps)] > v_quota loop
      v_gone_left := v_lefts[cardinality(v_lefts)];
      v_steps := trim_array(v_steps, 1);
      v_lefts := trim_array(v_lefts, 1);
      exit when cardinality(v_steps) = 0;
    end loop;
    if cardinality(v_steps) = 0 or v_steps[cardinality(v_steps)] < v_quota then
      -- A downgrade to between two steps counts as if the higher step had led there.
      v_steps := v_steps || v_quota;
      v_lefts := v_lefts || coalesce(v_gone_left, v_left);
    end if;
    continue when quotas[i] is null;
    v_sum := v_steps[1];
    for k in 2..cardinality(v_steps) loop
      v_sum := v_sum + div(v_steps[k]::numeric * v_lefts[k], period_seconds)
        - div(v_steps[k - 1]::numeric * v_lefts[k], period_seconds);
    end loop;
    v_most := greatest(
      v_most, v_sum,
      v_first + div(v_quota::numeric * v_left, period_seconds) - div(v_first::numeric * v_left, period_seconds)
    );
  end loop;
  return v_most;
end
$$;

comment on function private.quota_of_walk(bigint[], bigint[], bigint) is
  'Returns the tokens due for a period whose plan changed: quotas in order, and the seconds left of the period at the start of each. Switching back and forth neither gains nor loses tokens.';
--! EndIncluded billing/private/quota_of_walk.sql
--! Included billing/private/receive_payment_event.sql
-- Stores an event in the inbox, whatever it is. The caller has checked that the provider sent it, and passes only the required
-- fields.
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
  'Stores an event of a payment provider; returns its id, the same for an event stored before.';
grant execute on function private.receive_payment_event(text, text, text, text, timestamptz, jsonb) to :PLINTH_SERVICE;
--! EndIncluded billing/private/receive_payment_event.sql
--! Included billing/private/record_subscription_change.sql
-- The only writer of a subscription's history. It also writes to the audit log.
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
--! EndIncluded billing/private/record_subscription_change.sql
--! Included billing/private/record_usage.sql
-- Usage without a hold, once for each key. It has already happened, so it is recorded regardless of grants and limits: charged as
-- far as the grants cover it, the rest as overdraft. Callers that need a rejection reserve tokens first.
create or replace function private.record_usage(
  user_id uuid,
  model_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  idempotency_key text,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  occurred_at timestamptz default null,
  message_id uuid default null,
  at timestamptz default now()
)
  returns billing.usage_events
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_arguments jsonb := jsonb_build_array(
    record_usage.model_id, record_usage.input_tokens, record_usage.output_tokens, record_usage.cached_input_tokens,
    record_usage.reasoning_tokens, extract(epoch from record_usage.occurred_at), record_usage.message_id
  );
  v_key private.usage_keys;
  v_event billing.usage_events;
  v_taken record;
begin
  v_valid := private.check_token_counts(
    record_usage.input_tokens, record_usage.output_tokens, record_usage.cached_input_tokens, record_usage.reasoning_tokens
  );
  perform private.ensure_current_grants(record_usage.user_id)
  where not exists (
    select from billing.usage_tracking t where t.user_id = record_usage.user_id and t.entitled_until > now()
  );
  v_locked := private.lock_usage(record_usage.user_id, record_usage.at);
  v_key := private.used_key(record_usage.user_id, 'record', record_usage.idempotency_key, v_arguments);
  if v_key.event_id is not null then
    select e.* into strict v_event from billing.usage_events e where e.id = v_key.event_id;
    return v_event;
  end if;
  if record_usage.model_id is not null and not exists (select from llm.models m where m.id = record_usage.model_id) then
    raise exception 'Model not found.' using errcode = 'PL404', column = 'model_id';
  end if;
  if record_usage.message_id is not null then
    select m.chat_id into v_event.chat_id
    from llm.messages m
    where m.id = record_usage.message_id and m.user_id = record_usage.user_id;
    if not found then
      raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
    end if;
  end if;

  v_taken := private.take_tokens(
    record_usage.user_id, record_usage.input_tokens + record_usage.output_tokens, false, record_usage.at
  );
  v_event.id := plinth.uuid_v7();
  v_event.user_id := record_usage.user_id;
  v_event.model_id := record_usage.model_id;
  v_event.message_id := record_usage.message_id;
  v_event.kind := 'usage';
  v_event.source := 'service';
  v_event.idempotency_key := record_usage.idempotency_key;
  v_event.input_tokens := record_usage.input_tokens;
  v_event.output_tokens := record_usage.output_tokens;
  v_event.cached_input_tokens := record_usage.cached_input_tokens;
  v_event.reasoning_tokens := record_usage.reasoning_tokens;
  v_event.grant_ids := v_taken.grant_ids;
  v_event.grant_tokens := v_taken.grant_tokens;
  v_event.overdraft_tokens := v_taken.missing;
  v_event.occurred_at := least(record_usage.occurred_at, record_usage.at);
  v_event.created_at := record_usage.at;
  v_event := private.post_usage_event(v_event);
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (v_event.user_id, 'record', v_event.idempotency_key, v_arguments, v_event.id);
  if v_event.message_id is not null then
    perform private.claim_message(v_event, record_usage.at);
  end if;
  return v_event;
end
$$;

comment on function private.record_usage(uuid, uuid, bigint, bigint, text, bigint, bigint, timestamptz, uuid, timestamptz) is
  'Records and charges usage without a hold; the same key again returns the same event. PL409 for a key used for another request, PL404 for an unknown user, model or message.';
grant execute
  on function private.record_usage(uuid, uuid, bigint, bigint, text, bigint, bigint, timestamptz, uuid, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded billing/private/record_usage.sql
--! Included billing/private/release_hold.sql
-- The call was not made, or used nothing. Only services release holds: a client that released one during the call would get it
-- free.
create or replace function private.release_hold(hold_id uuid, at timestamptz default now())
  returns billing.token_holds
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_locked timestamptz;
  v_hold billing.token_holds;
begin
  select h.user_id into v_hold.user_id from billing.token_holds h where h.id = release_hold.hold_id;
  if not found then
    raise exception 'Hold not found.' using errcode = 'PL404', column = 'hold_id';
  end if;
  v_locked := private.lock_usage(v_hold.user_id, release_hold.at);
  select h.* into strict v_hold from billing.token_holds h where h.id = release_hold.hold_id;
  if v_hold.state = 'settled' then
    raise exception 'The hold was already settled.' using errcode = 'PL409', column = 'hold_id';
  end if;
  if v_hold.state = 'open' then
    update billing.token_grants g
    set held = g.held - a.tokens
    from unnest(v_hold.grant_ids, v_hold.grant_tokens) as a (grant_id, tokens)
    where g.id = a.grant_id;
    update billing.token_holds h set state = 'released' where h.id = v_hold.id returning h.* into v_hold;
  end if;
  return v_hold;
end
$$;

comment on function private.release_hold(uuid, timestamptz) is
  'Releases all tokens of a hold; a released or expired hold stays unchanged. PL404 for an unknown hold, PL409 when it was settled.';
grant execute on function private.release_hold(uuid, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded billing/private/release_hold.sql
--! Included billing/private/renew_subscription.sql
-- The next period: free plans renew automatically, paid plans on payment. A late payment pays for the period that was owed; after
-- the subscription expired it starts a new one.
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
  -- A period whose first day is off the anchor (after a plan change) begins where the last one ended.
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
--! EndIncluded billing/private/renew_subscription.sql
--! Included billing/private/reopen_plan_grants.sql
-- A subscription revived in the period in which it ended gets the rest of its tokens back.
create or replace function private.reopen_plan_grants(subscription_id uuid)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_subscription billing.user_subscriptions;
  v_period text;
  v_locked timestamptz;
begin
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = reopen_plan_grants.subscription_id;
  v_period := format('%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start));
  v_locked := private.lock_usage(v_subscription.user_id, now());
  update billing.token_grants g
  set expires_at = v_subscription.quota_period_end, closed_at = null, retired_at = null
  where g.user_id = v_subscription.user_id
    and g.closed_at is not null
    and g.amount is not null
    and (g.idempotency_key = 'plan:' || v_period or starts_with(g.idempotency_key, 'upgrade:' || v_period))
    and g.starts_at <= v_subscription.quota_period_end;
end
$$;

comment on function private.reopen_plan_grants(uuid) is
  'Reopens the grants of a subscription''s current period that ended with the subscription.';
--! EndIncluded billing/private/reopen_plan_grants.sql
--! Included billing/private/require_own_billing.sql
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
  -- A change made only here would leave the provider charging.
  if subscription.provider is not null then
    raise exception 'The subscription is billed by %.', subscription.provider
      using errcode = 'PL409', hint = 'Change it at the provider: createBillingPortal.';
  end if;
end
$$;

comment on function private.require_own_billing(billing.user_subscriptions) is
  'Raises PL404 without a subscription, PL409 when a payment provider bills it.';
--! EndIncluded billing/private/require_own_billing.sql
--! Included billing/private/require_same_currency.sql
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
  'Raises PL422 when both plans cost something in different currencies.';
--! EndIncluded billing/private/require_same_currency.sql
--! Included billing/private/require_subscription_manager.sql
-- Actions of support for other users: holders of manage_subscriptions are responsible for the money. Never for a subscription
-- that a provider bills.

create or replace function private.require_subscription_manager()
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if not access.has_permission('manage_subscriptions') then
    raise exception 'You need the permission manage_subscriptions.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.require_subscription_manager() is 'Raises PL403 unless the signed-in user has manage_subscriptions.';
--! EndIncluded billing/private/require_subscription_manager.sql
--! Included billing/private/reserve_tokens.sql
-- Reserves tokens for a call to a model, all or none, before the call is made: a caller with a hold can pay for it. One round
-- trip, O(grants in force), never O(events).
create or replace function private.reserve_tokens(
  user_id uuid,
  model_id uuid,
  max_tokens bigint,
  idempotency_key text,
  ttl interval default '5 minutes',
  at timestamptz default now()
)
  returns billing.token_holds
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_ledger record;
  v_is_locked boolean;
  v_next timestamptz;
  v_grant record;
  v_check record;
  v_hold billing.token_holds;
  v_taken record;
begin
  if reserve_tokens.max_tokens between 1 and 1000000000000 is not true then
    raise exception 'The number of tokens to hold must be from 1 to 10^12.' using errcode = 'PL422', column = 'max_tokens';
  end if;
  if length(reserve_tokens.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key must have 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  if reserve_tokens.ttl between interval '1 second' and interval '24 hours' is not true then
    raise exception 'A hold must last from 1 second to 24 hours.' using errcode = 'PL422', column = 'ttl';
  end if;
  -- Nearly always the ledger is up to date, the first grant has enough and the key is new; then four small statements suffice.
  -- Nothing is locked where the account is needed first, because the holder of the ledger's lock must not wait for the account.
  -- The check therefore reads the row version from before the lock wait; re-reading it here would run the query while holding the
  -- lock.
  select
    t.next_hold_expires_at,
    (t.last_reset < date_trunc('month', reserve_tokens.at, 'UTC') or t.next_hold_expires_at <= reserve_tokens.at) is true as is_due,
    exists (select from llm.models m where m.id = reserve_tokens.model_id) as has_model,
    exists (select from billing.usage_limits l where l.is_hard) as has_limits
  into v_ledger
  from billing.usage_tracking t
  where t.user_id = reserve_tokens.user_id
    and (select e.entitled_until > now() from billing.usage_tracking e where e.user_id = reserve_tokens.user_id)
  for no key update of t;
  v_is_locked := found;
  if v_is_locked and not v_ledger.is_due and v_ledger.has_model and not v_ledger.has_limits then
    select
      f.id,
      f.amount is null or f.amount - f.consumed - f.held >= reserve_tokens.max_tokens as has_enough,
      exists (
        select
        from billing.token_holds h
        where h.user_id = reserve_tokens.user_id and h.idempotency_key = reserve_tokens.idempotency_key
      ) as is_repeated
    into v_grant
    from billing.token_grants f
    where f.user_id = reserve_tokens.user_id
      and f.retired_at is null
      and f.starts_at <= reserve_tokens.at
      and (f.expires_at is null or f.expires_at > reserve_tokens.at)
    order by f.priority, f.expires_at, f.created_at, f.id
    limit 1;
    if v_grant.has_enough and not v_grant.is_repeated then
      update billing.token_grants g set held = g.held + reserve_tokens.max_tokens where g.id = v_grant.id;
      insert into billing.token_holds (
        user_id, model_id, max_tokens, grant_ids, grant_tokens, idempotency_key, expires_at, created_at
      )
      values (
        reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, array[v_grant.id],
        array[reserve_tokens.max_tokens], reserve_tokens.idempotency_key, reserve_tokens.at + reserve_tokens.ttl,
        reserve_tokens.at
      )
      returning * into v_hold;
      -- Rare: the next hold to end is usually an earlier one.
      if v_ledger.next_hold_expires_at <= v_hold.expires_at is not true then
        update billing.usage_tracking t set next_hold_expires_at = v_hold.expires_at where t.user_id = v_hold.user_id;
      end if;
      return v_hold;
    end if;
  end if;

  perform private.ensure_grants_at(reserve_tokens.user_id, now(), not v_is_locked)
  where not exists (
    select from billing.usage_tracking t where t.user_id = reserve_tokens.user_id and t.entitled_until > now()
  );
  v_next := private.lock_usage(reserve_tokens.user_id, reserve_tokens.at);

  select h.* into v_hold
  from billing.token_holds h
  where h.user_id = reserve_tokens.user_id and h.idempotency_key = reserve_tokens.idempotency_key;
  if found then
    if v_hold.model_id is distinct from reserve_tokens.model_id
      or v_hold.max_tokens <> reserve_tokens.max_tokens
      or v_hold.expires_at - v_hold.created_at <> reserve_tokens.ttl
    then
      raise exception 'The idempotency key was already used with other arguments.'
        using errcode = 'PL409', column = 'idempotency_key';
    end if;
    return v_hold;
  end if;

  select
    exists (select from llm.models m where m.id = reserve_tokens.model_id) as has_model,
    exists (select from billing.usage_limits l where l.is_hard) as has_limits
  into v_check;
  if not v_check.has_model then
    raise exception 'Model not found.' using errcode = 'PL404', column = 'model_id';
  end if;
  if v_check.has_limits and private.limits_passed(
    reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, true, reserve_tokens.at
  ) > 0 then
    raise exception 'A usage limit does not allow that many tokens.'
      using errcode = 'PL402', hint = 'The limit resets with the next day or month (UTC).';
  end if;
  v_taken := private.take_tokens(reserve_tokens.user_id, reserve_tokens.max_tokens, true, reserve_tokens.at);
  if v_taken.missing > 0 then
    raise exception 'Not enough tokens are left.'
      using errcode = 'PL402', hint = format('%s are missing.', v_taken.missing);
  end if;

  insert into billing.token_holds (
    user_id, model_id, max_tokens, grant_ids, grant_tokens, idempotency_key, expires_at, created_at
  )
  values (
    reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, v_taken.grant_ids, v_taken.grant_tokens,
    reserve_tokens.idempotency_key, reserve_tokens.at + reserve_tokens.ttl, reserve_tokens.at
  )
  returning * into v_hold;
  if v_next <= v_hold.expires_at is not true then
    update billing.usage_tracking t set next_hold_expires_at = v_hold.expires_at where t.user_id = v_hold.user_id;
  end if;
  return v_hold;
end
$$;

comment on function private.reserve_tokens(uuid, uuid, bigint, text, interval, timestamptz) is
  'Reserves tokens for a call; the same key again returns the same hold. PL402 when grants or hard limits do not cover it, PL409 for a key used for another request, PL404 for an unknown user or model.';
grant execute on function private.reserve_tokens(uuid, uuid, bigint, text, interval, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded billing/private/reserve_tokens.sql
--! Included billing/private/reset_usage_tracking.sql
-- Starts the new month for idle users. It sets the count's target state instead of adding elapsed time: running it twice, or
-- after days, has the same result.
create or replace function private.reset_usage_tracking(batch_size integer default 1000, at timestamptz default now())
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_month timestamptz := date_trunc('month', reset_usage_tracking.at, 'UTC');
  v_count integer;
begin
  perform private.check_batch_size(batch_size);
  with due as (
    select t.user_id
    from billing.usage_tracking t
    where t.last_reset < v_month
    limit batch_size
    for update skip locked
  )
  update billing.usage_tracking t
  set token_count = 0, last_reset = v_month
  from due d
  where t.user_id = d.user_id;
  get diagnostics v_count = row_count;
  return v_count;
end
$$;

comment on function private.reset_usage_tracking(integer, timestamptz) is
  'Starts the month in up to batch_size rows of usage_tracking that are in an earlier one; returns their number.';
grant execute on function private.reset_usage_tracking(integer, timestamptz) to :PLINTH_WORKER;
--! EndIncluded billing/private/reset_usage_tracking.sql
--! Included billing/private/retire_token_grants.sql
-- Removes ended grants from those that reserve scans, once no hold keeps tokens of them.
create or replace function private.retire_token_grants(batch_size integer default 1000, at timestamptz default now())
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user_id uuid;
  v_users integer := 0;
begin
  perform private.check_batch_size(batch_size);
  for v_user_id in
    select t.user_id
    from billing.usage_tracking t
    where t.user_id in (
      select g.user_id
      from billing.token_grants g
      where g.retired_at is null and g.held = 0 and g.expires_at <= retire_token_grants.at
    )
    limit batch_size
    for update skip locked
  loop
    update billing.token_grants g
    set retired_at = retire_token_grants.at
    where g.user_id = v_user_id and g.retired_at is null and g.held = 0 and g.expires_at <= retire_token_grants.at;
    v_users := v_users + 1;
  end loop;
  return v_users;
end
$$;

comment on function private.retire_token_grants(integer, timestamptz) is
  'Retires the ended grants of up to batch_size users; returns the number of users.';
grant execute on function private.retire_token_grants(integer, timestamptz) to :PLINTH_WORKER;
--! EndIncluded billing/private/retire_token_grants.sql
--! Included billing/private/schedule_plan_at.sql
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
    raise exception 'A subscription with status % cannot change its plan.', v_before.status using errcode = 'PL409';
  end if;
  if v_before.current_period_end is null then
    raise exception 'A lifetime plan cannot be changed.' using errcode = 'PL409';
  end if;
  -- The current plan: this revokes the planned change.
  if schedule_plan_at.plan_id <> v_before.plan_id then
    v_new := private.offered_plan(schedule_plan_at.plan_id);
    select p.* into strict v_old from billing.subscription_plans p where p.id = v_before.plan_id;
    perform private.require_same_currency(v_old, v_new);
    if private.is_upgrade(v_old, v_new) and v_new.price_cents > 0 then
      raise exception 'This plan begins with its payment.'
        using errcode = 'PL402', column = 'plan_id', hint = 'Pay with createCheckout.';
    end if;
    v_wanted := v_new.id;
  end if;
  if v_before.pending_plan_id is not distinct from v_wanted then
    raise exception 'This change is already planned.' using errcode = 'PL409', column = 'plan_id';
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

comment on function private.schedule_plan_at(uuid, uuid, timestamptz) is 'Runs billing.change_plan for a user as of a time.';
--! EndIncluded billing/private/schedule_plan_at.sql
--! Included billing/private/set_cancellation_at.sql
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
    -- No paid time is left, or its clock is stopped.
    return private.transition_subscription(v_before.id, 'canceled', set_cancellation_at.at);
  end if;
  if not cancel and v_before.status = 'paused' then
    return private.unpause_subscription(v_before.id, set_cancellation_at.at);
  end if;
  if v_before.current_period_end is null then
    raise exception 'A lifetime plan does not renew.' using errcode = 'PL409';
  end if;
  if v_before.cancel_at_period_end = cancel then
    raise exception 'The subscription already %.', case when cancel then 'ends with its period' else 'renews' end
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
  'Runs billing.cancel_subscription or billing.resume_subscription for a user as of a time.';
--! EndIncluded billing/private/set_cancellation_at.sql
--! Included billing/private/settle_hold.sql
-- Records and charges the actual usage of a call: first to the hold, whose rest is released; then to the grants currently
-- available; the uncovered rest is recorded as overdraft. Usage has already happened, so it is never rejected, and a grant is
-- never charged more than it has. A hold that expired meanwhile keeps nothing, so the whole usage is charged as of now. Only
-- services settle holds: a client could report less.
create or replace function private.settle_hold(
  hold_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  occurred_at timestamptz default null,
  message_id uuid default null,
  at timestamptz default now()
)
  returns billing.usage_events
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_valid boolean;
  v_locked timestamptz;
  v_hold record;
  v_ended record;
  v_event billing.usage_events;
  v_taken record;
  v_was_open boolean;
  v_left bigint;
  v_take bigint;
begin
  v_valid := private.check_token_counts(
    settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens, settle_hold.reasoning_tokens
  );
  -- Before the lock, only the columns of the hold that never change can be trusted.
  select
    h.id, h.user_id, h.model_id, h.max_tokens, h.grant_ids, h.grant_tokens, h.idempotency_key,
    t.last_reset < date_trunc('month', settle_hold.at, 'UTC') or t.next_hold_expires_at <= settle_hold.at as is_due
  into v_hold
  from billing.token_holds h
  join billing.usage_tracking t on t.user_id = h.user_id
  where h.id = settle_hold.hold_id
  for no key update of t;
  if not found then
    raise exception 'Hold not found.' using errcode = 'PL404', column = 'hold_id';
  end if;
  if v_hold.is_due then
    v_locked := private.lock_usage(v_hold.user_id, settle_hold.at);
  end if;
  v_event.id := plinth.uuid_v7();
  v_left := settle_hold.input_tokens + settle_hold.output_tokens;
  update billing.token_holds h
  set state = 'settled', settled_at = settle_hold.at, usage_event_id = v_event.id
  where h.id = settle_hold.hold_id and h.state = 'open';
  v_was_open := found;

  if not v_was_open then
    select h.state, h.usage_event_id, h.settled_at into strict v_ended
    from billing.token_holds h
    where h.id = settle_hold.hold_id;
    if v_ended.state = 'released' then
      raise exception 'The hold was released.' using errcode = 'PL409', column = 'hold_id';
    end if;
    if v_ended.state = 'settled' then
      select e.* into strict v_event
      from billing.usage_events e
      where e.id = v_ended.usage_event_id and e.created_at = v_ended.settled_at;
      if (
        v_event.input_tokens, v_event.output_tokens, v_event.cached_input_tokens, v_event.reasoning_tokens,
        v_event.message_id
      ) is distinct from (
        settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens,
        settle_hold.reasoning_tokens, settle_hold.message_id
      )
        or v_event.occurred_at <> least(settle_hold.occurred_at, v_event.created_at)
      then
        raise exception 'The hold was already settled with other token counts.'
          using errcode = 'PL409', column = 'hold_id', hint = 'Correct the recorded usage instead.';
      end if;
      return v_event;
    end if;
  end if;

  if settle_hold.message_id is not null then
    select m.chat_id into v_event.chat_id
    from llm.messages m
    where m.id = settle_hold.message_id and m.user_id = v_hold.user_id;
    if not found then
      raise exception 'Message not found.' using errcode = 'PL404', column = 'message_id';
    end if;
  end if;

  v_event.grant_ids := '{}';
  v_event.grant_tokens := '{}';
  if v_was_open and cardinality(v_hold.grant_ids) = 1 and v_left <= v_hold.max_tokens then
    -- Usually the hold keeps enough of one grant.
    update billing.token_grants g
    set held = g.held - v_hold.max_tokens, consumed = g.consumed + v_left
    where g.id = v_hold.grant_ids[1];
    if v_left > 0 then
      v_event.grant_ids := v_hold.grant_ids;
      v_event.grant_tokens := array[v_left];
      v_left := 0;
    end if;
  elsif v_was_open then
    for i in 1 .. cardinality(v_hold.grant_ids) loop
      v_take := least(v_left, v_hold.grant_tokens[i]);
      update billing.token_grants g
      set held = g.held - v_hold.grant_tokens[i], consumed = g.consumed + v_take
      where g.id = v_hold.grant_ids[i];
      if v_take > 0 then
        v_event.grant_ids := v_event.grant_ids || v_hold.grant_ids[i];
        v_event.grant_tokens := v_event.grant_tokens || v_take;
        v_left := v_left - v_take;
      end if;
    end loop;
  end if;
  if v_left > 0 then
    perform private.ensure_grants_at(v_hold.user_id, now(), false)
    where not exists (
      select from billing.usage_tracking t where t.user_id = v_hold.user_id and t.entitled_until > now()
    );
    v_taken := private.take_tokens(v_hold.user_id, v_left, false, settle_hold.at);
    v_event.grant_ids := v_event.grant_ids || v_taken.grant_ids;
    v_event.grant_tokens := v_event.grant_tokens || v_taken.grant_tokens;
    v_left := v_taken.missing;
  end if;

  v_event.user_id := v_hold.user_id;
  v_event.model_id := v_hold.model_id;
  v_event.message_id := settle_hold.message_id;
  v_event.hold_id := v_hold.id;
  v_event.kind := 'usage';
  v_event.source := 'hold';
  v_event.idempotency_key := v_hold.idempotency_key;
  v_event.input_tokens := settle_hold.input_tokens;
  v_event.output_tokens := settle_hold.output_tokens;
  v_event.cached_input_tokens := settle_hold.cached_input_tokens;
  v_event.reasoning_tokens := settle_hold.reasoning_tokens;
  v_event.overdraft_tokens := v_left;
  -- A clock that runs ahead must not add to tomorrow's totals.
  v_event.occurred_at := least(settle_hold.occurred_at, settle_hold.at);
  v_event.created_at := settle_hold.at;
  v_event := private.post_usage_event(v_event);

  if not v_was_open then
    update billing.token_holds h
    set state = 'settled', settled_at = v_event.created_at, usage_event_id = v_event.id
    where h.id = v_hold.id;
  end if;
  if v_event.message_id is not null then
    perform private.claim_message(v_event, settle_hold.at);
  end if;
  return v_event;
end
$$;

comment on function private.settle_hold(uuid, bigint, bigint, bigint, bigint, timestamptz, uuid, timestamptz) is
  'Records and charges the usage of a call; the same call again returns the same event. PL404 for an unknown hold or message, PL409 for a hold that was released or settled with other token counts.';
grant execute on function private.settle_hold(uuid, bigint, bigint, bigint, bigint, timestamptz, uuid, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded billing/private/settle_hold.sql
--! Included billing/private/settle_payment_event.sql
-- A single attempt. An event that fails or waits is retried: after one minute, two, four, up to a day, for a month.
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
    -- A conflict between two transactions is not the event's fault; the whole attempt is retried.
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
  'Tries to apply an event and stores the outcome: done, or the time of the next attempt.';
--! EndIncluded billing/private/settle_payment_event.sql
--! Included billing/private/start_subscription.sql
-- A new current subscription. The caller decides whether the user may have it; the index rejects a second one.
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
    -- Days of 24 hours in UTC. The paid period begins when the trial ends.
    v_anchor := (start_subscription.at at time zone 'UTC' + make_interval(days => v_plan.trial_days)) at time zone 'UTC';
    select start_subscription.at as period_start, v_anchor as period_end into v_period;
  else
    if v_plan.code = 'free' then
      -- Its tokens follow the calendar month, with or without a subscription.
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
--! EndIncluded billing/private/start_subscription.sql
--! Included billing/private/subscribe_at.sql
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
    raise exception 'You already have a subscription. Change its plan instead.' using errcode = 'PL409';
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
    raise exception 'This plan begins with its payment.'
      using errcode = 'PL402', column = 'plan_id', hint = 'Pay with createCheckout.';
  end if;
  if v_current.id is not null then
    perform private.transition_subscription(v_current.id, 'canceled', subscribe_at.at, 'replaced');
  end if;
  return private.start_subscription(subscribe_at.user_id, v_plan.id, v_plan.price_cents > 0, subscribe_at.at);
end
$$;

comment on function private.subscribe_at(uuid, uuid, timestamptz) is 'Runs billing.subscribe for a user as of a time.';
--! EndIncluded billing/private/subscribe_at.sql
--! Included billing/private/subscription_period.sql
-- The period of a subscription that contains a moment. Every bound is counted from the anchor and not from the previous bound:
-- after 31 January come 28 February, 31 March, 30 April. In UTC, so that no daylight-saving change moves a bound.
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
  'Returns the first moment of the period around a moment, and of the next; null for lifetime. Counted in months from the anchor, in UTC.';
--! EndIncluded billing/private/subscription_period.sql
--! Included billing/private/take_provider_cancellations.sql
-- Leases due rows to one worker. If the worker dies, the lease expires and another worker cancels again, which is harmless: a
-- canceled subscription stays canceled.
create or replace function private.take_provider_cancellations(
  provider text,
  batch_size integer,
  lease interval default '2 minutes'
)
  returns table (provider_subscription_id text)
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  perform private.check_batch_size(batch_size, 1000);
  return query
    with due as (
      select o.provider_subscription_id
      from private.provider_cancellations o
      where o.provider = take_provider_cancellations.provider and o.next_attempt_at <= now()
      order by o.next_attempt_at
      limit batch_size
      for update skip locked
    )
    update private.provider_cancellations c
    set attempts = c.attempts + 1, next_attempt_at = clock_timestamp() + lease
    from due
    where c.provider = take_provider_cancellations.provider and c.provider_subscription_id = due.provider_subscription_id
    returning c.provider_subscription_id;
end
$$;

comment on function private.take_provider_cancellations(text, integer, interval) is
  'Leases up to batch_size subscriptions to the caller, which cancels them at the provider and calls private.finish_provider_cancellation for each.';
grant execute on function private.take_provider_cancellations(text, integer, interval) to :PLINTH_WORKER;
--! EndIncluded billing/private/take_provider_cancellations.sql
--! Included billing/private/take_tokens.sql
-- The only place that defines the order of consumption: priority, then the grant that ends first, then the oldest. Takes as much
-- as the grants in force have, for a hold or permanently, and returns the missing number. The caller holds the user's lock.
create or replace function private.take_tokens(
  user_id uuid,
  tokens bigint,
  for_hold boolean,
  at timestamptz,
  out grant_ids uuid[],
  out grant_tokens bigint[],
  out missing bigint
)
  language plpgsql
  volatile
as $$
declare
  v_grant record;
  v_take bigint;
begin
  missing := 0;
  -- Usually the first grant has enough.
  update billing.token_grants g
  set
    held = g.held + case when for_hold then take_tokens.tokens else 0 end,
    consumed = g.consumed + case when for_hold then 0 else take_tokens.tokens end
  where g.id = (
      select f.id
      from billing.token_grants f
      where f.user_id = take_tokens.user_id
        and f.retired_at is null
        and f.starts_at <= take_tokens.at
        and (f.expires_at is null or f.expires_at > take_tokens.at)
      order by f.priority, f.expires_at, f.created_at, f.id
      limit 1
    )
    and take_tokens.tokens > 0
    and (g.amount is null or g.amount - g.consumed - g.held >= take_tokens.tokens)
  returning array[g.id], array[take_tokens.tokens] into grant_ids, grant_tokens;
  if found then
    return;
  end if;

  grant_ids := '{}';
  grant_tokens := '{}';
  missing := take_tokens.tokens;
  for v_grant in
    select g.id, g.amount - g.consumed - g.held as free, g.consumed >= g.amount as is_used_up
    from billing.token_grants g
    where g.user_id = take_tokens.user_id
      and g.retired_at is null
      and g.starts_at <= take_tokens.at
      and (g.expires_at is null or g.expires_at > take_tokens.at)
    order by g.priority, g.expires_at, g.created_at, g.id
  loop
    exit when missing <= 0;
    if v_grant.is_used_up then
      -- Seen one last time, then retired.
      update billing.token_grants g set retired_at = take_tokens.at where g.id = v_grant.id;
    end if;
    -- An unlimited grant always has enough.
    v_take := least(missing, coalesce(v_grant.free, missing));
    continue when v_take <= 0;
    if for_hold then
      update billing.token_grants g set held = g.held + v_take where g.id = v_grant.id;
    else
      update billing.token_grants g set consumed = g.consumed + v_take where g.id = v_grant.id;
    end if;
    grant_ids := grant_ids || v_grant.id;
    grant_tokens := grant_tokens || v_take;
    missing := missing - v_take;
  end loop;
end
$$;

comment on function private.take_tokens(uuid, bigint, boolean, timestamptz) is
  'Takes tokens from the user''s grants in force, in order; returns the grants, the tokens taken from each, and the missing number.';
--! EndIncluded billing/private/take_tokens.sql
--! Included billing/private/token_balance_at.sql
-- All token figures of a user in one call; reads rows of grants, open holds and some days, never events.
create or replace function private.token_balance_at(user_id uuid, at timestamptz default now())
  returns billing.token_balance
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
declare
  v_month timestamptz := date_trunc('month', token_balance_at.at, 'UTC');
  v_today date := (token_balance_at.at at time zone 'UTC')::date;
  v_balance billing.token_balance;
begin
  select
    coalesce(bool_or(g.available is null), false),
    case when bool_or(g.available is null) then null else coalesce(sum(g.available), 0) end,
    coalesce(array_agg(g order by g.ordinality), '{}')
  into v_balance.is_unlimited, v_balance.available, v_balance.grants
  from (
    select (b.grant_id, b.source, b.available, b.held, b.expires_at)::billing.grant_balance as g, b.available, b.ordinality
    from private.available_grants(token_balance_at.user_id, token_balance_at.at)
      with ordinality as b (grant_id, source, available, held, expires_at, ordinality)
  ) g;
  select coalesce(sum(h.max_tokens), 0)
  into v_balance.held
  from billing.token_holds h
  where h.user_id = token_balance_at.user_id and h.state = 'open' and h.expires_at > token_balance_at.at;
  select case when t.last_reset = v_month then t.token_count else 0 end, t.lifetime_tokens
  into v_balance.used_this_period, v_balance.lifetime_tokens
  from billing.usage_tracking t
  where t.user_id = token_balance_at.user_id;
  v_balance.used_this_period := coalesce(v_balance.used_this_period, 0);
  v_balance.lifetime_tokens := coalesce(v_balance.lifetime_tokens, 0);
  v_balance.period_started_at := v_month;
  v_balance.period_ends_at := (v_month at time zone 'UTC' + interval '1 month') at time zone 'UTC';
  select round(coalesce(sum(d.total_tokens), 0) / 7.0, 3)
  into v_balance.tokens_per_day
  from billing.daily_usage d
  where d.user_id = token_balance_at.user_id and d.day between v_today - 7 and v_today - 1;
  -- Beyond a century a forecast is meaningless.
  if v_balance.available < 36525 * v_balance.tokens_per_day then
    v_balance.exhausted_at := token_balance_at.at
      + make_interval(secs => (86400 * v_balance.available / v_balance.tokens_per_day)::double precision);
  end if;
  v_balance.soft_limits_reached :=
    private.limits_passed(token_balance_at.user_id, null, 1, false, token_balance_at.at);
  return v_balance;
end
$$;

comment on function private.token_balance_at(uuid, timestamptz) is
  'Returns a user''s tokens at a moment: left, held, used this month, by grant, and the time when they run out at the rate of the last seven whole days.';
grant execute on function private.token_balance_at(uuid, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded billing/private/token_balance_at.sql
--! Included billing/private/top_up_quota.sql
-- Adjusts the tokens of a period to the amount due for its plans so far (private.quota_of_walk). A late event may show that less
-- was due; then the unused excess is removed.
create or replace function private.top_up_quota(subscription_id uuid, at timestamptz)
  returns bigint
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_subscription billing.user_subscriptions;
  v_plan billing.subscription_plans;
  v_period text;
  v_first bigint;
  v_quotas bigint[];
  v_lefts bigint[];
  v_from timestamptz;
  v_whole bigint;
  v_missing bigint;
  v_number integer;
  v_locked timestamptz;
  v_grant record;
begin
  select s.* into strict v_subscription from billing.user_subscriptions s where s.id = top_up_quota.subscription_id;
  select p.* into strict v_plan from billing.subscription_plans p where p.id = v_subscription.plan_id;
  if v_subscription.status not in ('trialing', 'active')
    or v_subscription.quota_granted_from is distinct from v_subscription.quota_period_start
  then
    return 0;
  end if;
  v_whole := floor(extract(epoch from v_subscription.quota_period_end)) - floor(extract(epoch from v_subscription.quota_period_start));
  if v_plan.token_quota is not null then
    perform private.close_unlimited_grants(v_subscription.user_id, v_subscription.id, top_up_quota.at);
  end if;
  if v_plan.code = 'free' or v_whole <= 0 then
    return 0;
  end if;

  v_period := format('%s:%s', v_subscription.id, extract(epoch from v_subscription.quota_period_start));
  select count(*) into v_number
  from billing.token_grants g
  where g.user_id = v_subscription.user_id and starts_with(g.idempotency_key, 'upgrade:' || v_period);

  if v_plan.token_quota is null then
    if top_up_quota.at < v_subscription.quota_period_end
      and not exists (
        select
        from billing.token_grants g
        where g.user_id = v_subscription.user_id
          and g.source = 'plan'
          and g.source_id = v_subscription.id
          and g.amount is null
          and g.closed_at is null
          and g.expires_at >= v_subscription.quota_period_end
      )
    then
      perform private.grant_tokens(
        v_subscription.user_id, null, 'plan', v_subscription.id, 100,
        greatest(top_up_quota.at, v_subscription.quota_period_start), v_subscription.quota_period_end,
        format('upgrade:%s:%s', v_period, v_number)
      );
    end if;
    return 0;
  end if;

  select
    array_agg(p.token_quota order by w.number),
    array_agg(
      floor(extract(epoch from v_subscription.quota_period_end))::bigint - floor(extract(epoch from w.began_at))::bigint
      order by w.number
    ),
    max(w.began_at)
  into v_quotas, v_lefts, v_from
  from private.plans_of_period(v_subscription) with ordinality w (plan_id, began_at, number)
  join billing.subscription_plans p on p.id = w.plan_id;
  if v_subscription.provider is null then
    -- The tokens granted at the start of the period, and the current plan.
    select g.amount into v_first
    from billing.token_grants g
    where g.user_id = v_subscription.user_id and g.idempotency_key = 'plan:' || v_period;
    v_quotas := v_first || coalesce(v_quotas, '{}') || v_plan.token_quota;
    v_lefts := v_whole || coalesce(v_lefts, '{}')
      || (floor(extract(epoch from v_subscription.quota_period_end)) - floor(extract(epoch from top_up_quota.at)))::bigint;
    v_from := greatest(top_up_quota.at, v_subscription.quota_period_start);
  end if;
  if v_quotas is null then
    return 0;
  end if;

  v_locked := private.lock_usage(v_subscription.user_id, now());
  v_missing := private.quota_of_walk(v_quotas, v_lefts, v_whole) - coalesce(
    (
      select sum(g.amount)
      from billing.token_grants g
      where g.user_id = v_subscription.user_id
        and (g.idempotency_key = 'plan:' || v_period or starts_with(g.idempotency_key, 'upgrade:' || v_period))
    ),
    0
  );
  if v_missing > 0 then
    v_from := coalesce(v_from, top_up_quota.at);
    if v_from < v_subscription.quota_period_end then
      perform private.grant_tokens(
        v_subscription.user_id, v_missing, 'plan', v_subscription.id, 100, v_from, v_subscription.quota_period_end,
        format('upgrade:%s:%s', v_period, v_number)
      );
      return v_missing;
    end if;
  elsif v_missing < 0 and v_subscription.provider is not null then
    for v_grant in
      select g.id, least(g.amount - g.consumed - g.held, -v_missing) as unused
      from billing.token_grants g
      where g.user_id = v_subscription.user_id
        and (g.idempotency_key = 'plan:' || v_period or starts_with(g.idempotency_key, 'upgrade:' || v_period))
        and g.amount > g.consumed + g.held
      order by g.starts_at desc, g.id desc
    loop
      update billing.token_grants g
      set amount = g.amount - least(v_grant.unused, -v_missing)
      where g.id = v_grant.id;
      v_missing := v_missing + least(v_grant.unused, -v_missing);
      exit when v_missing = 0;
    end loop;
  end if;
  return 0;
end
$$;

comment on function private.top_up_quota(uuid, timestamptz) is
  'Grants the tokens due for the plans of a subscription''s current period beyond those already granted; returns their number.';
--! EndIncluded billing/private/top_up_quota.sql
--! Included billing/private/transition_subscription.sql
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
  v_last timestamptz;
  v_change billing.subscription_changes;
begin
  select s.* into v_before
  from billing.user_subscriptions s
  where s.id = transition_subscription.subscription_id
  for update;
  if v_before.id is null then
    raise exception 'Subscription not found.' using errcode = 'PL404';
  end if;
  v_status := (
    select t.to_status
    from private.subscription_transitions t
    where t.from_status = v_before.status
      and t.event = transition_subscription.event
      and (v_before.provider is not null or not t.is_providers)
  );
  if v_status is null then
    raise exception 'A subscription with status % does not allow this (%).', v_before.status, transition_subscription.event
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
  v_change := private.record_subscription_change(
    coalesce(recorded_as, transition_subscription.event), v_before, v_after, transition_subscription.at
  );
  -- Plan tokens end with the plan; tokens of the free plan belong to every user.
  if v_after.ended_at is not null and v_before.ended_at is null and v_after.quota_granted_from is not null
    and not exists (select from billing.subscription_plans p where p.id = v_after.plan_id and p.code = 'free')
  then
    -- An end dated by the provider before the grant of the period's tokens still removes them, and those of an upgrade.
    v_end := greatest(transition_subscription.at, v_after.quota_period_start);
    v_last := (
      select max(g.starts_at)
      from billing.token_grants g
      where g.user_id = v_after.user_id and g.source = 'plan' and g.source_id = v_after.id and g.closed_at is null
    );
    if v_last >= v_end then
      v_end := v_last + interval '1 microsecond';
    end if;
    -- A revived subscription may end again at the same moment: the key belongs to the change.
    perform private.close_plan_grant(v_after.user_id, v_after.id, v_end, 0, v_end, format('end:%s', v_change.id));
  end if;
  return v_after;
end
$$;

comment on function private.transition_subscription(uuid, text, timestamptz, text) is
  'Moves a subscription by an event of private.subscription_transitions; PL409 when its state does not allow it.';
--! EndIncluded billing/private/transition_subscription.sql
--! Included billing/private/try_lock_usage.sql
-- For jobs that hold several accounts. try_lock_account explains why the wait is limited and not only skipped.
create or replace function private.try_lock_usage(user_id uuid)
  returns boolean
  language plpgsql
  volatile
  set search_path = pg_catalog
  set lock_timeout = '1ms'
as $$
begin
  perform from billing.usage_tracking t where t.user_id = try_lock_usage.user_id for no key update skip locked;
  return found or not exists (select from billing.usage_tracking t where t.user_id = try_lock_usage.user_id);
exception
  when lock_not_available then
    return false;
end
$$;

comment on function private.try_lock_usage(uuid) is
  'Locks a user''s ledger unless it is locked; then returns false. A missing ledger counts as unlocked.';
--! EndIncluded billing/private/try_lock_usage.sql
--! Included billing/private/unpause_subscription.sql
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
  -- In UTC, so that no daylight-saving change makes a day longer or shorter.
  v_end := (
    unpause_subscription.at at time zone 'UTC'
    + (v_paused.current_period_end at time zone 'UTC' - v_paused.paused_at at time zone 'UTC')
  ) at time zone 'UTC';
  update billing.user_subscriptions s
  set anchor_at = v_end, current_period_end = v_end, quota_period_end = v_end
  where s.id = v_paused.id
  returning s.* into v_subscription;
  -- An unlimited grant had nothing to carry over.
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
  'Resumes a paused subscription: the period is extended by the length of the pause. PL409 when it is not paused.';
--! EndIncluded billing/private/unpause_subscription.sql
--! Included billing/private/used_key.sql
-- The earlier result under a key. The caller holds the user's lock, so no other call is using it now.
create or replace function private.used_key(user_id uuid, operation text, idempotency_key text, arguments jsonb)
  returns private.usage_keys
  language plpgsql
  stable
as $$
declare
  v_key private.usage_keys;
begin
  if length(used_key.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key must have 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  select k.* into v_key
  from private.usage_keys k
  where k.user_id = used_key.user_id
    and k.operation = used_key.operation
    and k.idempotency_key = used_key.idempotency_key;
  if found and v_key.arguments <> used_key.arguments then
    raise exception 'The idempotency key was already used with other arguments.' using errcode = 'PL409', column = 'idempotency_key';
  end if;
  return v_key;
end
$$;

comment on function private.used_key(uuid, text, text, jsonb) is
  'Returns the earlier use of the key, or nulls. PL409 when it was used with other arguments, PL422 without a key.';
--! EndIncluded billing/private/used_key.sql
--! Included billing/triggers/keep_scale.sql
-- See plinth.keep_scale.
create or replace trigger _910_keep_scale
  before insert or update on billing.model_prices
  for each row
  execute function plinth.keep_scale(
    '6',
    'input_price_per_million_tokens',
    'output_price_per_million_tokens',
    'cached_input_price_per_million_tokens',
    'reasoning_price_per_million_tokens'
  );

-- Not for updates, one of which happens with each use: the added value has all its decimals.
create or replace trigger _910_keep_scale
  before insert on billing.daily_usage
  for each row
  execute function plinth.keep_scale('12', 'cost');
--! EndIncluded billing/triggers/keep_scale.sql
--! Included billing/triggers/plan_prices.sql
create or replace trigger _500_record_change
  after insert or update or delete on billing.plan_prices
  for each row
  execute function billing.record_plan_change();
--! EndIncluded billing/triggers/plan_prices.sql
--! Included billing/triggers/provider_subscriptions.sql
-- Runs when an account's provider subscriptions are deleted with it. A row deleted by hand while its account stays cancels
-- nothing, and neither does a lifetime purchase, which has nothing to cancel.
create or replace function private.request_provider_cancellation()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  if old.status in ('incomplete', 'trialing', 'active', 'past_due', 'paused')
    and old.paid_period_end is distinct from 'infinity'
    and not exists (select from identity.users u where u.id = old.user_id)
  then
    insert into private.provider_cancellations (provider, provider_subscription_id)
    values (old.provider, old.provider_subscription_id)
    on conflict on constraint provider_cancellations_pkey do nothing;
  end if;
  return null;
end
$$;

comment on function private.request_provider_cancellation() is
  'Trigger: requests the cancellation of a deleted account''s subscriptions at the payment provider.';

create or replace trigger _500_request_provider_cancellation
  after delete on private.provider_subscriptions
  for each row
  when (old.user_id is not null)
  execute function private.request_provider_cancellation();
--! EndIncluded billing/triggers/provider_subscriptions.sql
--! Included billing/triggers/record_data_change.sql
-- Prices and usage limits are worth auditing. See identity/triggers/record_data_change.sql; the history of a subscription is in
-- subscription_changes. The features of a plan belong to the product and may contain anything.
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

create or replace trigger _700_record_data_change
  after insert or update or delete on billing.model_prices
  for each row
  execute function private.record_data_change('id', '', 'updated_at', '');
--! EndIncluded billing/triggers/record_data_change.sql
--! Included billing/triggers/subscription_plans.sql
-- Subscribers agreed to a plan's terms: an offer changes by a new version, which supersedes the earlier one.
create or replace function billing.number_plan_version()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  -- Admits a single version at a time; uses a separate lock because the first version has no row to lock.
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

comment on function billing.number_plan_version() is 'Trigger: numbers a new version of an offer and supersedes the previous one.';

create or replace trigger _100_number_version
  before insert on billing.subscription_plans
  for each row
  execute function billing.number_plan_version();

create or replace function billing.keep_plan_terms()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  -- Every other column is a term.
  v_free constant text[] := array['plan_name', 'is_active', 'superseded_at', 'updated_at'];
begin
  if to_jsonb(old) - v_free is distinct from to_jsonb(new) - v_free then
    raise exception 'The terms of a plan cannot be changed. Create a new version with revisePlan.' using errcode = 'PL409';
  end if;
  return new;
end
$$;

comment on function billing.keep_plan_terms() is 'Trigger: rejects changes to the terms of a plan''s version (PL409).';

create or replace trigger _100_keep_terms
  before update on billing.subscription_plans
  for each row
  execute function billing.keep_plan_terms();

create or replace trigger _500_record_change
  after insert or update or delete on billing.subscription_plans
  for each row
  execute function billing.record_plan_change();
--! EndIncluded billing/triggers/subscription_plans.sql
--! Included billing/triggers/touch_updated_at.sql
create or replace trigger _900_touch_updated_at
  before update on billing.subscription_plans
  for each row
  execute function plinth.touch_updated_at();

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

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on billing.model_prices
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on billing.usage_limits
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded billing/triggers/touch_updated_at.sql
--! Included billing/triggers/usage_tracking.sql
-- Does the work of a foreign key when an account is deleted, without its cost: a lookup of the account for each hold and event,
-- and every call creates one. Holds and events are created only under the lock of the account's row (private.lock_usage), so
-- there is nothing to look up. Holds are deleted; events and their sums stay, without the user. A key is the client's own text.
create or replace function billing.forget_usage_account()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  delete from billing.token_holds h where h.user_id = old.user_id;
  update billing.usage_events e set user_id = null, idempotency_key = null where e.user_id = old.user_id;
  return null;
end
$$;

comment on function billing.forget_usage_account() is 'Trigger: deletes the holds of a deleted account and keeps its usage without the user.';

create or replace trigger _500_forget_usage_account
  after delete on billing.usage_tracking
  for each row
  execute function billing.forget_usage_account();
--! EndIncluded billing/triggers/usage_tracking.sql
--! Included billing/triggers/user_subscriptions.sql
-- The entitlement of a subscription is read again after each change of it (private.ensure_grants_at).
create or replace function billing.forget_entitlement()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  update billing.usage_tracking t
  set entitled_until = '-infinity'
  where t.user_id = new.user_id and t.entitled_until > '-infinity';
  return null;
end
$$;

comment on function billing.forget_entitlement() is
  'Trigger: a change of a subscription may add or end tokens, so the ledger reads the entitlement again.';

create or replace trigger _500_forget_entitlement
  after insert or update of status, plan_id, quota_period_start, quota_period_end, quota_granted_from, past_due_since
  on billing.user_subscriptions
  for each row
  execute function billing.forget_entitlement();

-- No transition outside the state machine, not even from psql.
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
    where t.from_status = old.status
      and t.to_status = new.status
      and (new.provider is not null or not t.is_providers)
  ) then
    raise exception 'A subscription with status % cannot become %.', old.status, new.status using errcode = 'PL409';
  end if;
  return new;
end
$$;

comment on function billing.check_subscription_status() is
  'Trigger: rejects transitions that private.subscription_transitions does not list (PL409).';

create or replace trigger _100_check_status
  before update of status on billing.user_subscriptions
  for each row
  when (old.status <> new.status)
  execute function billing.check_subscription_status();
--! EndIncluded billing/triggers/user_subscriptions.sql
--! Included billing/policies/daily_usage.sql
-- Users see their own days; the ledger's functions write them.
revoke all on billing.daily_usage from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.daily_usage to :PLINTH_USER;

drop policy if exists select_own on billing.daily_usage;
create policy select_own on billing.daily_usage
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.daily_usage is 'Users read their own daily usage.';
--! EndIncluded billing/policies/daily_usage.sql
--! Included billing/policies/model_prices.sql
-- Users who see a model see its prices; users with manage_models write them.
revoke all on billing.model_prices from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.model_prices to :PLINTH_ANONYMOUS;
grant
  select,
  insert (
    model_id, currency, input_price_per_million_tokens, output_price_per_million_tokens,
    cached_input_price_per_million_tokens, reasoning_price_per_million_tokens, effective_from, effective_to
  ),
  update (
    currency, input_price_per_million_tokens, output_price_per_million_tokens,
    cached_input_price_per_million_tokens, reasoning_price_per_million_tokens, effective_from, effective_to
  ),
  delete
  on billing.model_prices to :PLINTH_USER;

drop policy if exists select_usable on billing.model_prices;
create policy select_usable on billing.model_prices
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (model_id in (select access.usable_model_ids()));
comment on policy select_usable on billing.model_prices is 'Users who may use a model read its prices.';

drop policy if exists all_manager on billing.model_prices;
create policy all_manager on billing.model_prices
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_models')))
  with check ((select access.has_permission('manage_models')));
comment on policy all_manager on billing.model_prices is 'Users with manage_models read and write all prices.';
--! EndIncluded billing/policies/model_prices.sql
--! Included billing/policies/payments.sql
-- Users see their own payments. Written only by the provider's events.
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
comment on policy select_manager on billing.payments is 'Users with manage_subscriptions read all payments.';
--! EndIncluded billing/policies/payments.sql
--! Included billing/policies/plan_prices.sql
-- Prices of plans at providers concern only the users who manage plans.
revoke all on billing.plan_prices from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, insert (plan_id, provider, provider_price_id), delete on billing.plan_prices to :PLINTH_USER;

drop policy if exists all_manager on billing.plan_prices;
create policy all_manager on billing.plan_prices
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_plans')))
  with check ((select access.has_permission('manage_plans')));
comment on policy all_manager on billing.plan_prices is 'Users with manage_plans read and write all prices at providers.';
--! EndIncluded billing/policies/plan_prices.sql
--! Included billing/policies/provider_customers.sql
-- Users see their customer accounts at payment providers. Written only by the provider's events.
revoke all on billing.provider_customers from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.provider_customers to :PLINTH_USER;

drop policy if exists select_own on billing.provider_customers;
create policy select_own on billing.provider_customers
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.provider_customers is 'Users read their own customer records at payment providers.';

drop policy if exists select_manager on billing.provider_customers;
create policy select_manager on billing.provider_customers
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions')));
comment on policy select_manager on billing.provider_customers is 'Users with manage_subscriptions read all customer records at payment providers.';
--! EndIncluded billing/policies/provider_customers.sql
--! Included billing/policies/subscription_changes.sql
-- Users see the history of their own subscriptions. History is never rewritten.
revoke all on billing.subscription_changes from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.subscription_changes to :PLINTH_USER;

drop policy if exists select_own on billing.subscription_changes;
create policy select_own on billing.subscription_changes
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.subscription_changes is 'Users read the history of their own subscriptions.';

drop policy if exists select_manager on billing.subscription_changes;
create policy select_manager on billing.subscription_changes
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions')));
comment on policy select_manager on billing.subscription_changes is 'Users with manage_subscriptions read the history of all subscriptions.';
--! EndIncluded billing/policies/subscription_changes.sql
--! Included billing/policies/subscription_plans.sql
-- Everyone may read current and past plans; users with manage_plans write them. No delete: subscriptions refer to plans.
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
comment on policy select_all on billing.subscription_plans is 'Everyone reads all plans.';

drop policy if exists insert_manager on billing.subscription_plans;
create policy insert_manager on billing.subscription_plans
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_plans')));
comment on policy insert_manager on billing.subscription_plans is 'Users with manage_plans add plans and versions.';

drop policy if exists update_manager on billing.subscription_plans;
create policy update_manager on billing.subscription_plans
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_plans')))
  with check ((select access.has_permission('manage_plans')));
comment on policy update_manager on billing.subscription_plans is 'Users with manage_plans rename plans and withdraw them from sale.';
--! EndIncluded billing/policies/subscription_plans.sql
--! Included billing/policies/token_grants.sql
-- Users see their own grants; only services grant.
revoke all on billing.token_grants from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.token_grants to :PLINTH_USER;

drop policy if exists select_own on billing.token_grants;
create policy select_own on billing.token_grants
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.token_grants is 'Users read their own grants.';
--! EndIncluded billing/policies/token_grants.sql
--! Included billing/policies/token_holds.sql
-- Users see their own holds; only the ledger's functions write.
revoke all on billing.token_holds from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.token_holds to :PLINTH_USER;

drop policy if exists select_own on billing.token_holds;
create policy select_own on billing.token_holds
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.token_holds is 'Users read their own holds.';
--! EndIncluded billing/policies/token_holds.sql
--! Included billing/policies/usage_events.sql
-- Users see their own usage. Only the ledger's functions add, change or delete events.
revoke all on billing.usage_events from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.usage_events to :PLINTH_USER;

drop policy if exists select_own on billing.usage_events;
create policy select_own on billing.usage_events
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.usage_events is 'Users read their own usage.';
--! EndIncluded billing/policies/usage_events.sql
--! Included billing/policies/usage_limits.sql
-- Users see the limits that may apply to them; users with manage_users set them.
revoke all on billing.usage_limits from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (user_id, model_id, plan_code, period, max_tokens, is_hard),
  update (max_tokens, is_hard),
  delete
  on billing.usage_limits to :PLINTH_USER;

drop policy if exists select_own on billing.usage_limits;
create policy select_own on billing.usage_limits
  for select to :PLINTH_USER
  using (
    plinth.current_user_id() is not null
    and (user_id is null or user_id = (select plinth.current_user_id()))
    and (model_id is null or model_id in (select access.usable_model_ids()))
  );
comment on policy select_own on billing.usage_limits is
  'Users read the limits set for them or for everyone, on models they may use.';

drop policy if exists all_manager on billing.usage_limits;
create policy all_manager on billing.usage_limits
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_users')))
  with check ((select access.has_permission('manage_users')));
comment on policy all_manager on billing.usage_limits is 'Users with manage_users read and write all limits.';
--! EndIncluded billing/policies/usage_limits.sql
--! Included billing/policies/usage_tracking.sql
-- Users see their own totals; the ledger's functions write them.
revoke all on billing.usage_tracking from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.usage_tracking to :PLINTH_USER;

drop policy if exists select_own on billing.usage_tracking;
create policy select_own on billing.usage_tracking
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.usage_tracking is 'Users read their own totals.';
--! EndIncluded billing/policies/usage_tracking.sql
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
comment on policy select_manager on billing.user_subscriptions is 'Users with manage_subscriptions read all subscriptions.';
--! EndIncluded billing/policies/user_subscriptions.sql
--! Included billing/views/active_user_subscriptions.sql
-- Subscriptions that give access now, with the entitlements of their plan. Invoker rights: callers see the subscriptions they
-- may read.
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
  E'@primaryKey subscription_id\n'
  '@foreignKey (plan_id) references billing.subscription_plans (id)\n'
  '@foreignKey (user_id) references identity.users (id)\n'
  'Grain: one row per user whose subscription gives access now: trialing, active, or past_due within the grace period.';
comment on column billing.active_user_subscriptions.subscription_id is 'The subscription.';
comment on column billing.active_user_subscriptions.user_id is 'The user.';
comment on column billing.active_user_subscriptions.plan_id is 'The version of the plan.';
comment on column billing.active_user_subscriptions.plan_code is 'Code of the plan, such as premium; the user''s tier.';
comment on column billing.active_user_subscriptions.plan_name is 'Display name of the plan.';
comment on column billing.active_user_subscriptions.plan_version is 'Version number of the plan.';
comment on column billing.active_user_subscriptions.status is 'Status: trialing, active or past_due.';
comment on column billing.active_user_subscriptions.billing_cycle is 'Billing cycle: monthly, yearly or lifetime.';
comment on column billing.active_user_subscriptions.price_cents is 'Price of a period in the currency''s smallest unit.';
comment on column billing.active_user_subscriptions.currency is 'ISO 4217 code of the price.';
comment on column billing.active_user_subscriptions.token_quota is 'Tokens per period; null means unlimited.';
comment on column billing.active_user_subscriptions.features is 'Features of the plan (JSON object).';
comment on column billing.active_user_subscriptions.access_level is 'Highest access level of content that the plan includes.';
comment on column billing.active_user_subscriptions.started_at is 'Time the subscription began.';
comment on column billing.active_user_subscriptions.current_period_start is 'Start of the period.';
comment on column billing.active_user_subscriptions.current_period_end is 'End of the period, exclusive; null for lifetime.';
comment on column billing.active_user_subscriptions.trial_end is 'End of the trial; null without a trial.';
comment on column billing.active_user_subscriptions.cancel_at_period_end is 'Whether the subscription ends with the period.';
comment on column billing.active_user_subscriptions.renewal_date is 'Day (UTC) of the next renewal; null if the subscription does not renew.';
revoke all on billing.active_user_subscriptions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.active_user_subscriptions to :PLINTH_USER;
--! EndIncluded billing/views/active_user_subscriptions.sql
--! Included billing/views/current_model_prices.sql
-- Today's prices. Grain: one row per model and currency that has a price now. Invoker rights: callers see the prices of the
-- models they may use.
create or replace view billing.current_model_prices
  with (security_invoker = true)
as
select
  p.model_id,
  p.currency,
  p.input_price_per_million_tokens,
  p.output_price_per_million_tokens,
  p.cached_input_price_per_million_tokens,
  p.effective_from,
  p.effective_to,
  p.reasoning_price_per_million_tokens
from billing.model_prices p
where tstzrange(p.effective_from, p.effective_to) @> now();

comment on view billing.current_model_prices is
  E'@primaryKey model_id,currency\n'
  '@foreignKey (model_id) references llm.models (id)\n'
  'Current prices. Grain: one row per model and currency.';
comment on column billing.current_model_prices.model_id is 'The model.';
comment on column billing.current_model_prices.currency is 'ISO 4217 code of the prices.';
comment on column billing.current_model_prices.input_price_per_million_tokens is 'Price of 1,000,000 tokens sent to the model.';
comment on column billing.current_model_prices.output_price_per_million_tokens is 'Price of 1,000,000 tokens generated by the model.';
comment on column billing.current_model_prices.cached_input_price_per_million_tokens is 'Price of 1,000,000 cached tokens sent to the model, or null.';
comment on column billing.current_model_prices.effective_from is 'Time from which the price applies; null means always.';
comment on column billing.current_model_prices.effective_to is 'Time until which the price applies; null means until further notice.';
comment on column billing.current_model_prices.reasoning_price_per_million_tokens is 'Price of 1,000,000 reasoning tokens, or null.';
revoke all on billing.current_model_prices from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.current_model_prices to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded billing/views/current_model_prices.sql
--! Included billing/views/monthly_usage.sql
-- Cost of a user's months. Grain: one row per user, month (UTC) and currency. Invoker rights: users see their own.
create or replace view billing.monthly_usage
  with (security_invoker = true)
as
select
  d.user_id,
  date_trunc('month', d.day::timestamp)::date as month,
  d.currency,
  sum(d.requests)::bigint as requests,
  sum(d.total_tokens)::bigint as total_tokens,
  sum(d.unpriced_tokens)::bigint as unpriced_tokens,
  sum(d.cost) as cost
from billing.daily_usage d
where d.user_id is not null
group by 1, 2, 3;

comment on view billing.monthly_usage is
  E'@primaryKey user_id,month,currency\nUsage and cost by month. Grain: one row per user, month (UTC) and currency.';
comment on column billing.monthly_usage.user_id is 'The account.';
comment on column billing.monthly_usage.month is 'First day of the month, UTC.';
comment on column billing.monthly_usage.currency is 'ISO 4217 code of cost.';
comment on column billing.monthly_usage.requests is 'Number of uses of models.';
comment on column billing.monthly_usage.total_tokens is 'Number of tokens sent and generated.';
comment on column billing.monthly_usage.unpriced_tokens is 'Number of tokens whose cost is unknown and not included in cost.';
comment on column billing.monthly_usage.cost is 'Exact cost of the priced tokens in units of currency.';
revoke all on billing.monthly_usage from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.monthly_usage to :PLINTH_USER;
--! EndIncluded billing/views/monthly_usage.sql
--! Included billing/views/token_hold_allocations.sql
-- Tokens that each open hold reserves, by grant. Grain: one row per open hold and grant. Stored as arrays in the hold, whose
-- row is written anyway, and shown here as rows: the sum over a grant is its `held`.
create or replace view billing.token_hold_allocations
  with (security_invoker = true)
as
select h.id as hold_id, a.grant_id, h.user_id, a.tokens, h.expires_at
from billing.token_holds h
cross join unnest(h.grant_ids, h.grant_tokens) as a (grant_id, tokens)
where h.state = 'open';

comment on view billing.token_hold_allocations is
  E'@primaryKey hold_id,grant_id\n'
  '@behavior -query:resource:list -query:resource:connection -query:resource:single\n'
  '@foreignKey (hold_id) references billing.token_holds (id)\n'
  '@foreignKey (grant_id) references billing.token_grants (id)\n'
  'Tokens that each open hold reserves, by grant. Grain: one row per open hold and grant.';
comment on column billing.token_hold_allocations.hold_id is 'The hold.';
comment on column billing.token_hold_allocations.grant_id is 'The grant.';
comment on column billing.token_hold_allocations.user_id is 'The user.';
comment on column billing.token_hold_allocations.tokens is 'Number of the grant''s tokens that the hold reserves.';
comment on column billing.token_hold_allocations.expires_at is 'Time the hold expires.';
revoke all on billing.token_hold_allocations from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.token_hold_allocations to :PLINTH_USER;
--! EndIncluded billing/views/token_hold_allocations.sql

-- This month and the next three; the worker adds later months every day.
select from private.ensure_partitions(3);
