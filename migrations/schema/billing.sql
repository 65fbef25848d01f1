-- Schema billing as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema billing;
comment on schema billing is 'Prices of models over time.';
grant usage on schema billing to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Types and sequences ---------------------------------------------------------------------------------

-- What is left of one grant in force; available is null when it has no limit.
create type billing.grant_balance as (
  grant_id uuid,
  source text,
  available bigint,
  held bigint,
  expires_at timestamp with time zone
);

comment on type billing.grant_balance is 'What is left of one grant in force; available is null when it has no limit.';

-- The signed-in user's tokens now. available is null when a grant without limit is in force; exhausted_at is when they run out at the mean of the last seven whole days, null when they do not.
create type billing.token_balance as (
  is_unlimited boolean,
  available bigint,
  held bigint,
  used_this_period bigint,
  period_started_at timestamp with time zone,
  period_ends_at timestamp with time zone,
  lifetime_tokens bigint,
  tokens_per_day numeric,
  exhausted_at timestamp with time zone,
  soft_limits_reached integer,
  grants billing.grant_balance[]
);

comment on type billing.token_balance is 'The signed-in user''s tokens now. available is null when a grant without limit is in force; exhausted_at is when they run out at the mean of the last seven whole days, null when they do not.';

-- Tables ----------------------------------------------------------------------------------------------

-- One row per user, model and day (UTC) of use: always the sum of its usage_events, late and corrected ones at the day they occurred.
create table billing.daily_usage (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid,
  model_id uuid,
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
  currency text not null default 'USD'::text,
  constraint daily_usage_pkey primary key (id),
  constraint daily_usage_user_id_day_model_id_key unique (user_id, day, model_id),
  constraint daily_usage_cost_has_26_digits_and_12_decimals check (cost < '100000000000000000000000000'::numeric and cost = round(cost, 12)),
  constraint daily_usage_totals_are_not_negative check (least(total_tokens::numeric, overdraft_tokens::numeric, cost) >= 0::numeric),
  constraint daily_usage_model_id_fkey foreign key (model_id) references llm.models(id) on delete restrict,
  constraint daily_usage_user_id_fkey foreign key (user_id) references billing.usage_tracking(user_id) on delete set null
) with (fillfactor=50);

alter table billing.daily_usage enable row level security;

create index daily_usage_model_id_day_idx on billing.daily_usage using btree (model_id, day);
create unique index daily_usage_user_id_day_idx on billing.daily_usage using btree (user_id, day) where (model_id is null);

create trigger _910_keep_scale
  before insert on billing.daily_usage
  for each row
  execute function plinth.keep_scale('12', 'cost');

comment on table billing.daily_usage is 'One row per user, model and day (UTC) of use: always the sum of its usage_events, late and corrected ones at the day they occurred.';
comment on column billing.daily_usage.id is 'UUIDv7.';
comment on column billing.daily_usage.user_id is 'Who used it; null when the account was deleted.';
comment on column billing.daily_usage.model_id is 'The model, which cannot be deleted any more; null when nobody said.';
comment on column billing.daily_usage.day is 'Day in UTC.';
comment on column billing.daily_usage.requests is 'Uses, corrections not counted.';
comment on column billing.daily_usage.input_tokens is 'Tokens sent, cached ones included.';
comment on column billing.daily_usage.output_tokens is 'Tokens made, reasoning included.';
comment on column billing.daily_usage.cached_input_tokens is 'Those of the input that were cached.';
comment on column billing.daily_usage.reasoning_tokens is 'Those of the output that were thinking.';
comment on column billing.daily_usage.total_tokens is 'Input and output together.';
comment on column billing.daily_usage.overdraft_tokens is 'Those that no grant covered.';
comment on column billing.daily_usage.unpriced_tokens is 'Those whose cost is unknown, and not in cost.';
comment on column billing.daily_usage.self_reported_tokens is 'Those only the user speaks for.';
comment on column billing.daily_usage.cost is 'Exact cost of the priced tokens in units of currency.';
comment on column billing.daily_usage.currency is 'ISO 4217 code.';

create policy select_own on billing.daily_usage
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.daily_usage is 'Users read their own days.';

grant select on billing.daily_usage to :PLINTH_USER;

-- One row per model, currency and period of time.
create table billing.model_prices (
  id uuid not null default plinth.uuid_v7(),
  model_id uuid not null,
  currency text not null default 'USD'::text,
  input_price_per_million_tokens numeric not null,
  output_price_per_million_tokens numeric not null,
  cached_input_price_per_million_tokens numeric,
  effective_from timestamp with time zone,
  effective_to timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  reasoning_price_per_million_tokens numeric,
  constraint model_prices_pkey primary key (id),
  constraint model_prices_cached_input_price_is_not_negative check (cached_input_price_per_million_tokens >= 0::numeric and cached_input_price_per_million_tokens <> 'NaN'::numeric),
  constraint model_prices_cached_price_keeps_six_decimals check (cached_input_price_per_million_tokens < '1000000000000'::numeric and cached_input_price_per_million_tokens = round(cached_input_price_per_million_tokens, 6)),
  constraint model_prices_currency_check check (currency ~ '^[A-Z]{3}$'::text),
  constraint model_prices_effective_from_before_effective_to check (effective_from < effective_to),
  constraint model_prices_input_price_is_not_negative check (input_price_per_million_tokens >= 0::numeric and input_price_per_million_tokens <> 'NaN'::numeric),
  constraint model_prices_input_price_keeps_six_decimals check (input_price_per_million_tokens < '1000000000000'::numeric and input_price_per_million_tokens = round(input_price_per_million_tokens, 6)),
  constraint model_prices_output_price_is_not_negative check (output_price_per_million_tokens >= 0::numeric and output_price_per_million_tokens <> 'NaN'::numeric),
  constraint model_prices_output_price_keeps_six_decimals check (output_price_per_million_tokens < '1000000000000'::numeric and output_price_per_million_tokens = round(output_price_per_million_tokens, 6)),
  constraint model_prices_reasoning_price_is_not_negative check (reasoning_price_per_million_tokens >= 0::numeric and reasoning_price_per_million_tokens <> 'NaN'::numeric),
  constraint model_prices_reasoning_price_keeps_six_decimals check (reasoning_price_per_million_tokens < '1000000000000'::numeric and reasoning_price_per_million_tokens = round(reasoning_price_per_million_tokens, 6)),
  constraint model_prices_periods_do_not_overlap exclude using gist (model_id with =, currency with =, tstzrange(effective_from, effective_to) with &&),
  constraint model_prices_model_id_fkey foreign key (model_id) references llm.models(id) on delete cascade
);

alter table billing.model_prices enable row level security;

create index model_prices_model_id_effective_from_idx on billing.model_prices using btree (model_id, effective_from);

create trigger _700_record_data_change
  after insert or delete or update on billing.model_prices
  for each row
  execute function private.record_data_change('id', '', 'updated_at', '');
create trigger _900_touch_updated_at
  before update on billing.model_prices
  for each row
  execute function plinth.touch_updated_at();
create trigger _910_keep_scale
  before insert or update on billing.model_prices
  for each row
  execute function plinth.keep_scale('6', 'input_price_per_million_tokens', 'output_price_per_million_tokens', 'cached_input_price_per_million_tokens', 'reasoning_price_per_million_tokens');

comment on table billing.model_prices is 'One row per model, currency and period of time.';
comment on column billing.model_prices.id is 'UUIDv7.';
comment on column billing.model_prices.model_id is 'The model.';
comment on column billing.model_prices.currency is 'ISO 4217 code of the currency of the prices.';
comment on column billing.model_prices.input_price_per_million_tokens is 'Price of 1,000,000 tokens sent to the model.';
comment on column billing.model_prices.output_price_per_million_tokens is 'Price of 1,000,000 tokens the model writes.';
comment on column billing.model_prices.cached_input_price_per_million_tokens is 'Price of 1,000,000 tokens sent that the provider had cached; null when there is no such price.';
comment on column billing.model_prices.effective_from is 'First moment the price holds; null means always before effective_to.';
comment on column billing.model_prices.effective_to is 'First moment it no longer holds; null means until further notice.';
comment on column billing.model_prices.created_at is 'When the row was added.';
comment on column billing.model_prices.updated_at is 'When the row last changed.';
comment on column billing.model_prices.reasoning_price_per_million_tokens is 'Price of 1,000,000 tokens the model thinks; null when they cost what it writes.';
comment on constraint model_prices_cached_price_keeps_six_decimals on billing.model_prices is 'Less than 1,000,000,000,000, with six decimals at most.';
comment on constraint model_prices_input_price_keeps_six_decimals on billing.model_prices is 'Less than 1,000,000,000,000, with six decimals at most.';
comment on constraint model_prices_output_price_keeps_six_decimals on billing.model_prices is 'Less than 1,000,000,000,000, with six decimals at most.';
comment on constraint model_prices_reasoning_price_keeps_six_decimals on billing.model_prices is 'Less than 1,000,000,000,000, with six decimals at most.';

create policy all_manager on billing.model_prices
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_models'::text)))
  with check ((select access.has_permission('manage_models'::text)));
comment on policy all_manager on billing.model_prices is 'The permission manage_models reads and writes all prices.';
create policy select_usable on billing.model_prices
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using ((model_id in (select access.usable_model_ids())));
comment on policy select_usable on billing.model_prices is 'Who may use a model reads its prices.';

grant
  select,
  insert (model_id, currency, input_price_per_million_tokens, output_price_per_million_tokens, cached_input_price_per_million_tokens, effective_from, effective_to, reasoning_price_per_million_tokens),
  update (currency, input_price_per_million_tokens, output_price_per_million_tokens, cached_input_price_per_million_tokens, effective_from, effective_to, reasoning_price_per_million_tokens),
  delete
  on billing.model_prices to :PLINTH_USER;
grant select on billing.model_prices to :PLINTH_ANONYMOUS;

-- One row per invoice or purchase at a payment provider. Holds nothing of the means of payment.
create table billing.payments (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid,
  subscription_id uuid,
  plan_id uuid,
  provider text not null,
  provider_payment_id text not null,
  provider_reference text,
  provider_subscription_id text,
  amount_cents bigint not null,
  refunded_cents bigint not null default 0,
  currency text not null,
  period_start timestamp with time zone,
  period_end timestamp with time zone,
  paid_at timestamp with time zone,
  failed_at timestamp with time zone,
  disputed_at timestamp with time zone,
  failure_code text,
  status text not null generated always as (
case
    when disputed_at is not null then 'disputed'::text
    when refunded_cents > 0 and refunded_cents >= amount_cents then 'refunded'::text
    when refunded_cents > 0 then 'partially_refunded'::text
    when paid_at is not null then 'succeeded'::text
    when failed_at is not null then 'failed'::text
    else 'pending'::text
end) stored,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint payments_pkey primary key (id),
  constraint payments_provider_payment_key unique (provider, provider_payment_id),
  constraint payments_amount_cents_is_not_negative check (amount_cents >= 0),
  constraint payments_currency_check check (currency ~ '^[A-Z]{3}$'::text),
  constraint payments_failure_code_check check (failure_code ~ '^[a-z][a-z0-9_]{0,99}$'::text),
  constraint payments_refunded_cents_is_part_of_the_amount check (refunded_cents >= 0 and refunded_cents <= amount_cents),
  constraint payments_status_check check (status = any (array['pending'::text, 'succeeded'::text, 'failed'::text, 'refunded'::text, 'partially_refunded'::text, 'disputed'::text])),
  constraint payments_plan_id_fkey foreign key (plan_id) references billing.subscription_plans(id) on delete restrict,
  constraint payments_subscription_id_fkey foreign key (subscription_id) references billing.user_subscriptions(id) on delete set null,
  constraint payments_user_id_fkey foreign key (user_id) references identity.users(id) on delete set null
);

alter table billing.payments enable row level security;

create index payments_plan_id_idx on billing.payments using btree (plan_id);
create index payments_provider_reference_idx on billing.payments using btree (provider, provider_reference);
create index payments_provider_subscription_idx on billing.payments using btree (provider, provider_subscription_id);
create index payments_subscription_id_idx on billing.payments using btree (subscription_id);
create index payments_user_id_created_at_idx on billing.payments using btree (user_id, created_at);

create trigger _900_touch_updated_at
  before update on billing.payments
  for each row
  execute function plinth.touch_updated_at('status');

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

create policy select_manager on billing.payments
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions'::text)));
comment on policy select_manager on billing.payments is 'The permission manage_subscriptions reads all payments.';
create policy select_own on billing.payments
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.payments is 'Users read their own payments.';

grant select on billing.payments to :PLINTH_USER;

-- One row per price at a payment provider; several may sell one plan.
create table billing.plan_prices (
  plan_id uuid not null,
  provider text not null,
  provider_price_id text not null,
  created_at timestamp with time zone not null default now(),
  constraint plan_prices_pkey primary key (provider, provider_price_id),
  constraint plan_prices_provider_check check (provider ~ '^[a-z][a-z0-9_]{0,49}$'::text),
  constraint plan_prices_provider_price_id_check check (length(provider_price_id) >= 1 and length(provider_price_id) <= 255),
  constraint plan_prices_plan_id_fkey foreign key (plan_id) references billing.subscription_plans(id) on delete cascade
);

alter table billing.plan_prices enable row level security;

create index plan_prices_plan_id_provider_idx on billing.plan_prices using btree (plan_id, provider);

create trigger _500_record_change
  after insert or delete or update on billing.plan_prices
  for each row
  execute function billing.record_plan_change();
create trigger _700_record_data_change
  after insert or delete or update on billing.plan_prices
  for each row
  execute function private.record_data_change('provider,provider_price_id', '', '', '');

comment on table billing.plan_prices is 'One row per price at a payment provider; several may sell one plan.';
comment on column billing.plan_prices.plan_id is 'The plan sold.';
comment on column billing.plan_prices.provider is 'The payment provider, such as stripe.';
comment on column billing.plan_prices.provider_price_id is 'The provider''s id, such as price_….';
comment on column billing.plan_prices.created_at is 'When the row was added.';

create policy all_manager on billing.plan_prices
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_plans'::text)))
  with check ((select access.has_permission('manage_plans'::text)));
comment on policy all_manager on billing.plan_prices is 'The permission manage_plans reads and writes all prices at providers.';

grant select, insert (plan_id, provider, provider_price_id), delete on billing.plan_prices to :PLINTH_USER;

-- One row per customer at a payment provider; a user may be several.
create table billing.provider_customers (
  provider text not null,
  provider_customer_id text not null,
  user_id uuid not null,
  created_at timestamp with time zone not null default now(),
  constraint provider_customers_pkey primary key (provider, provider_customer_id),
  constraint provider_customers_provider_check check (provider ~ '^[a-z][a-z0-9_]{0,49}$'::text),
  constraint provider_customers_provider_customer_id_check check (length(provider_customer_id) >= 1 and length(provider_customer_id) <= 255),
  constraint provider_customers_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table billing.provider_customers enable row level security;

create index provider_customers_user_id_idx on billing.provider_customers using btree (user_id);

comment on table billing.provider_customers is 'One row per customer at a payment provider; a user may be several.';
comment on column billing.provider_customers.provider is 'The payment provider, such as stripe.';
comment on column billing.provider_customers.provider_customer_id is 'The provider''s id, such as cus_….';
comment on column billing.provider_customers.user_id is 'The user.';
comment on column billing.provider_customers.created_at is 'When the tie was made.';

create policy select_manager on billing.provider_customers
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions'::text)));
comment on policy select_manager on billing.provider_customers is 'The permission manage_subscriptions reads all ties to payment providers.';
create policy select_own on billing.provider_customers
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.provider_customers is 'Users read their own ties to payment providers.';

grant select on billing.provider_customers to :PLINTH_USER;

-- One row per change of a subscription's state, plan or period; never changed afterwards.
create table billing.subscription_changes (
  id uuid not null default plinth.uuid_v7(),
  subscription_id uuid not null,
  user_id uuid not null,
  event text not null,
  from_status text,
  to_status text not null,
  from_plan_id uuid,
  to_plan_id uuid not null,
  credit_cents bigint not null default 0,
  charge_cents bigint not null default 0,
  amount_cents bigint not null generated always as (credit_cents + charge_cents) stored,
  currency text not null,
  period_seconds bigint,
  unused_seconds bigint,
  tokens_granted bigint not null default 0,
  effective_at timestamp with time zone not null,
  created_at timestamp with time zone not null default now(),
  constraint subscription_changes_pkey primary key (id),
  constraint subscription_changes_charge_is_not_negative check (charge_cents >= 0),
  constraint subscription_changes_credit_is_not_positive check (credit_cents <= 0),
  constraint subscription_changes_event_check check (event ~ '^[a-z][a-z_]{0,49}$'::text),
  constraint subscription_changes_tokens_granted_is_not_negative check (tokens_granted >= 0),
  constraint subscription_changes_unused_is_part_of_the_period check (unused_seconds >= 0 and unused_seconds <= period_seconds),
  constraint subscription_changes_from_plan_id_fkey foreign key (from_plan_id) references billing.subscription_plans(id) on delete restrict,
  constraint subscription_changes_subscription_id_fkey foreign key (subscription_id) references billing.user_subscriptions(id) on delete cascade,
  constraint subscription_changes_to_plan_id_fkey foreign key (to_plan_id) references billing.subscription_plans(id) on delete restrict,
  constraint subscription_changes_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table billing.subscription_changes enable row level security;

create index subscription_changes_from_plan_id_idx on billing.subscription_changes using btree (from_plan_id);
create index subscription_changes_subscription_id_effective_at_idx on billing.subscription_changes using btree (subscription_id, effective_at, id);
create index subscription_changes_to_plan_id_idx on billing.subscription_changes using btree (to_plan_id);
create index subscription_changes_user_id_idx on billing.subscription_changes using btree (user_id);

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

create policy select_manager on billing.subscription_changes
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions'::text)));
comment on policy select_manager on billing.subscription_changes is 'The permission manage_subscriptions reads all subscriptions'' history.';
create policy select_own on billing.subscription_changes
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.subscription_changes is 'Users read their own subscriptions'' history.';

grant select on billing.subscription_changes to :PLINTH_USER;

-- One row per version of an offer: a plan code, a billing cycle and a currency. Terms of a version never change.
create table billing.subscription_plans (
  id uuid not null default plinth.uuid_v7(),
  code text not null,
  plan_name text not null,
  version integer not null default 1,
  billing_cycle text not null default 'monthly'::text,
  price_cents bigint not null,
  currency text not null default 'USD'::text,
  trial_days integer not null default 0,
  token_quota bigint,
  rollover_limit bigint not null default 0,
  features jsonb not null default '{}'::jsonb,
  access_level integer not null default 0,
  is_active boolean not null default true,
  superseded_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint subscription_plans_pkey primary key (id),
  constraint subscription_plans_offer_version_key unique (code, billing_cycle, currency, version),
  constraint subscription_plans_access_level_check check (access_level >= 0 and access_level <= 1000000),
  constraint subscription_plans_billing_cycle_check check (billing_cycle = any (array['monthly'::text, 'yearly'::text, 'lifetime'::text])),
  constraint subscription_plans_code_check check (code ~ '^[a-z][a-z0-9_]{0,49}$'::text),
  constraint subscription_plans_currency_check check (currency ~ '^[A-Z]{3}$'::text),
  constraint subscription_plans_features_is_an_object check (jsonb_typeof(features) = 'object'::text),
  constraint subscription_plans_free_means_free check (code <> 'free'::text or price_cents = 0 and billing_cycle = 'monthly'::text and trial_days = 0),
  constraint subscription_plans_plan_name_check check (length(plan_name) >= 1 and length(plan_name) <= 100 and plan_name !~ '[[:cntrl:]]'::text),
  constraint subscription_plans_price_cents_check check (price_cents >= 0 and price_cents <= 1000000000),
  constraint subscription_plans_rollover_limit_is_not_negative check (rollover_limit >= 0),
  constraint subscription_plans_token_quota_check check (token_quota >= 0 and token_quota <= '1000000000000000'::bigint),
  constraint subscription_plans_trial_days_check check (trial_days >= 0 and trial_days <= 365),
  constraint subscription_plans_version_is_positive check (version > 0)
);

alter table billing.subscription_plans enable row level security;

create unique index subscription_plans_newest_version_idx on billing.subscription_plans using btree (code, billing_cycle, currency) where (superseded_at is null);

create trigger _100_keep_terms
  before update on billing.subscription_plans
  for each row
  execute function billing.keep_plan_terms();
create trigger _100_number_version
  before insert on billing.subscription_plans
  for each row
  execute function billing.number_plan_version();
create trigger _500_record_change
  after insert or delete or update on billing.subscription_plans
  for each row
  execute function billing.record_plan_change();
create trigger _700_record_data_change
  after insert or delete or update on billing.subscription_plans
  for each row
  execute function private.record_data_change('id', '', 'updated_at', 'features');
create trigger _900_touch_updated_at
  before update on billing.subscription_plans
  for each row
  execute function plinth.touch_updated_at();

comment on table billing.subscription_plans is 'One row per version of an offer: a plan code, a billing cycle and a currency. Terms of a version never change.';
comment on column billing.subscription_plans.id is 'UUIDv7.';
comment on column billing.subscription_plans.code is 'What the plan is called in rules and as the tier of its users, such as free or premium.';
comment on column billing.subscription_plans.plan_name is 'Name shown to people.';
comment on column billing.subscription_plans.version is 'Counts the versions of the offer from 1; set by the database.';
comment on column billing.subscription_plans.billing_cycle is 'monthly, yearly or lifetime (paid once, never ends).';
comment on column billing.subscription_plans.price_cents is 'Price of one period in the currency''s smallest unit.';
comment on column billing.subscription_plans.currency is 'ISO 4217 code.';
comment on column billing.subscription_plans.trial_days is 'Days to try it for nothing, once per user; 0 means no trial.';
comment on column billing.subscription_plans.token_quota is 'Tokens granted per billing period (lifetime: per month); null means unlimited.';
comment on column billing.subscription_plans.rollover_limit is 'How many unused tokens are carried into the next period at most.';
comment on column billing.subscription_plans.features is 'What the plan includes, for the application (JSON object).';
comment on column billing.subscription_plans.access_level is 'Content of this level and below is included.';
comment on column billing.subscription_plans.is_active is 'Whether new subscriptions may choose it.';
comment on column billing.subscription_plans.superseded_at is 'When a newer version took its place; null for the newest.';
comment on column billing.subscription_plans.created_at is 'When the version was made.';
comment on column billing.subscription_plans.updated_at is 'When the row last changed.';

create policy insert_manager on billing.subscription_plans
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_plans'::text)));
comment on policy insert_manager on billing.subscription_plans is 'The permission manage_plans adds plans and versions.';
create policy select_all on billing.subscription_plans
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (true);
comment on policy select_all on billing.subscription_plans is 'Everybody reads all plans.';
create policy update_manager on billing.subscription_plans
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_plans'::text)))
  with check ((select access.has_permission('manage_plans'::text)));
comment on policy update_manager on billing.subscription_plans is 'The permission manage_plans renames plans and takes them off the offer.';

grant
  select,
  insert (code, plan_name, billing_cycle, price_cents, currency, trial_days, token_quota, rollover_limit, features, access_level, is_active),
  update (plan_name, is_active)
  on billing.subscription_plans to :PLINTH_USER;
grant select on billing.subscription_plans to :PLINTH_ANONYMOUS;

-- One row per right to use tokens: amount = consumed + held + what is left. Never deleted but with the account.
create table billing.token_grants (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  amount bigint,
  consumed bigint not null default 0,
  held bigint not null default 0,
  priority integer not null default 100,
  starts_at timestamp with time zone not null,
  expires_at timestamp with time zone,
  source text not null,
  source_id uuid,
  idempotency_key text not null,
  closed_at timestamp with time zone,
  retired_at timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  constraint token_grants_pkey primary key (id),
  constraint token_grants_user_id_idempotency_key_key unique (user_id, idempotency_key),
  constraint token_grants_never_give_more_than_they_have check (consumed >= 0 and held >= 0 and (consumed + held) <= amount),
  constraint token_grants_user_id_fkey foreign key (user_id) references billing.usage_tracking(user_id) on delete cascade
) with (fillfactor=50);

alter table billing.token_grants enable row level security;

create index token_grants_expires_at_idx on billing.token_grants using btree (expires_at) where (retired_at is null);
create index token_grants_user_id_live_idx on billing.token_grants using btree (user_id) where (retired_at is null);

comment on table billing.token_grants is 'One row per right to use tokens: amount = consumed + held + what is left. Never deleted but with the account.';
comment on column billing.token_grants.id is 'UUIDv7.';
comment on column billing.token_grants.user_id is 'Whose tokens.';
comment on column billing.token_grants.amount is 'Tokens granted; null means without limit while it is in force.';
comment on column billing.token_grants.consumed is 'Tokens charged to it.';
comment on column billing.token_grants.held is 'Tokens set aside by open holds.';
comment on column billing.token_grants.priority is 'Lower goes first; then the one that ends first; then the oldest.';
comment on column billing.token_grants.starts_at is 'First moment it can be used.';
comment on column billing.token_grants.expires_at is 'First moment nothing new can be taken from it; null means never. Holds made before keep what they hold.';
comment on column billing.token_grants.source is 'plan, purchase, manual, promotion or rollover.';
comment on column billing.token_grants.source_id is 'What gave it: a subscription, a payment; null when nothing did.';
comment on column billing.token_grants.idempotency_key is 'Of the call that made it; a user''s keys are unique.';
comment on column billing.token_grants.closed_at is 'When its plan''s period was closed and the rest carried over; null when not.';
comment on column billing.token_grants.retired_at is 'When the job saw that nothing can be taken from it any more; null while it is looked at.';
comment on column billing.token_grants.created_at is 'When it was made.';

create policy select_own on billing.token_grants
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.token_grants is 'Users read their own grants.';

grant select on billing.token_grants to :PLINTH_USER;

-- One row per reservation: tokens set aside for a call to a model that is under way. Kept when it ends: it is the memory of its idempotency key.
create table billing.token_holds (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  model_id uuid not null,
  max_tokens bigint not null,
  grant_ids uuid[] not null,
  grant_tokens bigint[] not null,
  state text not null default 'open'::text,
  idempotency_key text not null,
  expires_at timestamp with time zone not null,
  settled_at timestamp with time zone,
  usage_event_id uuid,
  created_at timestamp with time zone not null default now(),
  constraint token_holds_pkey primary key (id),
  constraint token_holds_user_id_idempotency_key_key unique (user_id, idempotency_key)
) with (fillfactor=70);

alter table billing.token_holds enable row level security;

create index token_holds_user_id_expires_at_idx on billing.token_holds using btree (user_id, expires_at);

comment on table billing.token_holds is E'@foreignKey (user_id) references identity.users (id)\n@foreignKey (model_id) references llm.models (id)\nOne row per reservation: tokens set aside for a call to a model that is under way. Kept when it ends: it is the memory of its idempotency key.';
comment on column billing.token_holds.id is 'UUIDv7.';
comment on column billing.token_holds.user_id is 'Whose tokens; see billing.forget_usage_account for why it is no foreign key.';
comment on column billing.token_holds.model_id is 'The model; no foreign key, because its row would be locked by everybody''s every call. The row of daily_usage has one.';
comment on column billing.token_holds.max_tokens is 'Tokens set aside.';
comment on column billing.token_holds.grant_ids is 'The grants they were taken from, in order; see billing.token_hold_allocations.';
comment on column billing.token_holds.grant_tokens is 'How many from each.';
comment on column billing.token_holds.state is 'open, settled, released or expired. An open hold past expires_at counts as expired, whatever is written here.';
comment on column billing.token_holds.idempotency_key is 'Of the reserve that made it; a user''s keys are unique.';
comment on column billing.token_holds.expires_at is 'When the tokens go back by themselves.';
comment on column billing.token_holds.settled_at is 'When the usage was recorded; null while or when it was not.';
comment on column billing.token_holds.usage_event_id is 'The usage; null while or when there is none.';
comment on column billing.token_holds.created_at is 'When it was made.';

create policy select_own on billing.token_holds
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.token_holds is 'Users read their own holds.';

grant select on billing.token_holds to :PLINTH_USER;

-- One row per use of a model, or correction of one; append-only, partitioned by month of created_at. Sums over it are the truth, corrections counting as the differences they are.
create table billing.usage_events (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid,
  model_id uuid,
  chat_id uuid,
  message_id uuid,
  hold_id uuid,
  kind text not null default 'usage'::text,
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
  grant_ids uuid[] not null default '{}'::uuid[],
  grant_tokens bigint[] not null default '{}'::bigint[],
  is_priced boolean not null,
  price_id uuid,
  currency text not null default 'USD'::text,
  input_price_per_million_tokens numeric(18,6),
  output_price_per_million_tokens numeric(18,6),
  cached_input_price_per_million_tokens numeric(18,6),
  reasoning_price_per_million_tokens numeric(18,6),
  cost numeric(38,12),
  occurred_at timestamp with time zone not null,
  created_at timestamp with time zone not null default now(),
  constraint usage_events_pkey primary key (id, created_at)
) partition by range (created_at);

alter table billing.usage_events enable row level security;

create index usage_events_corrects_event_id_idx on billing.usage_events using btree (corrects_event_id) where (corrects_event_id is not null);
create index usage_events_user_id_occurred_at_idx on billing.usage_events using btree (user_id, occurred_at);

comment on table billing.usage_events is E'@foreignKey (user_id) references identity.users (id)\n@foreignKey (model_id) references llm.models (id)\nOne row per use of a model, or correction of one; append-only, partitioned by month of created_at. Sums over it are the truth, corrections counting as the differences they are.';
comment on column billing.usage_events.id is 'UUIDv7.';
comment on column billing.usage_events.user_id is 'Who used it; null when the account was deleted. See billing.forget_usage_account for why it is no foreign key.';
comment on column billing.usage_events.model_id is 'The model; null when nobody said. No foreign key: the row of daily_usage made with it has one, and keeps the model.';
comment on column billing.usage_events.chat_id is 'The chat, which may be gone: usage outlives it.';
comment on column billing.usage_events.message_id is 'The message, which may be gone. No foreign key: deleting a chat would search every partition for each of its messages.';
comment on column billing.usage_events.hold_id is 'The hold it settled; null for others.';
comment on column billing.usage_events.kind is 'usage, or correction: the difference to what was recorded before.';
comment on column billing.usage_events.source is 'hold (settled), service (recorded without a hold), message (tokens_used written by a service), self_reported (tokens_used written by the user).';
comment on column billing.usage_events.corrects_event_id is 'The usage that a correction restates; null for usage.';
comment on column billing.usage_events.idempotency_key is 'Of the call that made it; null when a trigger did.';
comment on column billing.usage_events.input_tokens is 'Tokens sent to the model, cached ones included.';
comment on column billing.usage_events.output_tokens is 'Tokens the model made, reasoning included.';
comment on column billing.usage_events.cached_input_tokens is 'Those of the input that the provider had cached.';
comment on column billing.usage_events.reasoning_tokens is 'Those of the output that were thinking.';
comment on column billing.usage_events.total_tokens is 'Input and output together.';
comment on column billing.usage_events.charged_tokens is 'Those taken from grants.';
comment on column billing.usage_events.overdraft_tokens is 'Those that no grant covered; nobody is charged for them later.';
comment on column billing.usage_events.grant_ids is 'The grants that were charged, in order.';
comment on column billing.usage_events.grant_tokens is 'How many tokens each; negative in a correction that gives back.';
comment on column billing.usage_events.is_priced is 'Whether a price was known; otherwise the cost is unknown, not zero.';
comment on column billing.usage_events.price_id is 'The row of model_prices it was priced by, which may be gone: imports replace rows.';
comment on column billing.usage_events.currency is 'ISO 4217 code of prices and cost.';
comment on column billing.usage_events.input_price_per_million_tokens is 'Pinned: price of 1,000,000 input tokens.';
comment on column billing.usage_events.output_price_per_million_tokens is 'Pinned: price of 1,000,000 output tokens.';
comment on column billing.usage_events.cached_input_price_per_million_tokens is 'Pinned: price of 1,000,000 cached input tokens.';
comment on column billing.usage_events.reasoning_price_per_million_tokens is 'Pinned: price of 1,000,000 reasoning tokens.';
comment on column billing.usage_events.cost is 'Exact cost in units of currency, never rounded; null without a price.';
comment on column billing.usage_events.occurred_at is 'When the model was used; decides price, day and period.';
comment on column billing.usage_events.created_at is 'When it was recorded; the partition key.';

create policy select_own on billing.usage_events
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.usage_events is 'Users read their own usage.';

grant select on billing.usage_events to :PLINTH_USER;

-- One row per limit on what each user may use in a day or month (UTC). Whom and what it names narrows it: a limit that names nobody holds for everybody, each by themselves. All that apply hold.
create table billing.usage_limits (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid,
  model_id uuid,
  plan_code text,
  period text not null,
  max_tokens bigint not null,
  is_hard boolean not null default true,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint usage_limits_pkey primary key (id),
  constraint usage_limits_one_per_scope unique nulls not distinct (user_id, model_id, plan_code, period, is_hard),
  constraint usage_limits_either_a_user_or_a_plan check (user_id is null or plan_code is null),
  constraint usage_limits_max_tokens_is_not_negative check (max_tokens >= 0),
  constraint usage_limits_period_check check (period = any (array['day'::text, 'month'::text])),
  constraint usage_limits_model_id_fkey foreign key (model_id) references llm.models(id) on delete cascade,
  constraint usage_limits_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table billing.usage_limits enable row level security;

create index usage_limits_model_id_idx on billing.usage_limits using btree (model_id);

create trigger _700_record_data_change
  after insert or delete or update on billing.usage_limits
  for each row
  execute function private.record_data_change('id', 'user_id', 'updated_at', '');
create trigger _900_touch_updated_at
  before update on billing.usage_limits
  for each row
  execute function plinth.touch_updated_at();

comment on table billing.usage_limits is 'One row per limit on what each user may use in a day or month (UTC). Whom and what it names narrows it: a limit that names nobody holds for everybody, each by themselves. All that apply hold.';
comment on column billing.usage_limits.id is 'UUIDv7.';
comment on column billing.usage_limits.user_id is 'Only this user; null for every user.';
comment on column billing.usage_limits.model_id is 'Only tokens of this model; null for tokens of all models together.';
comment on column billing.usage_limits.plan_code is 'Only users on plans of this code, such as free; null for every plan.';
comment on column billing.usage_limits.period is 'day or month, in UTC.';
comment on column billing.usage_limits.max_tokens is 'Tokens a user may use in the period; 0 forbids.';
comment on column billing.usage_limits.is_hard is 'Hard: reserve refuses what would pass it. Soft: it is only told, in tokenBalance.';
comment on column billing.usage_limits.created_at is 'When it was made.';
comment on column billing.usage_limits.updated_at is 'When it last changed.';

create policy all_manager on billing.usage_limits
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_users'::text)))
  with check ((select access.has_permission('manage_users'::text)));
comment on policy all_manager on billing.usage_limits is 'The permission manage_users reads and writes all limits.';
create policy select_own on billing.usage_limits
  for select to :PLINTH_USER
  using (plinth.current_user_id() is not null and (user_id is null or user_id = (select plinth.current_user_id())) and (model_id is null or (model_id in (select access.usable_model_ids()))));
comment on policy select_own on billing.usage_limits is 'Users read limits that are theirs or everybody''s, on models they may use.';

grant
  select,
  insert (user_id, model_id, plan_code, period, max_tokens, is_hard),
  update (max_tokens, is_hard),
  delete
  on billing.usage_limits to :PLINTH_USER;

-- One row per user who ever had tokens: what was used, always the sum of the user's usage_events.
create table billing.usage_tracking (
  user_id uuid not null,
  token_count bigint not null default 0,
  lifetime_tokens bigint not null default 0,
  last_reset timestamp with time zone not null,
  next_hold_expires_at timestamp with time zone,
  entitled_until timestamp with time zone not null default '-infinity'::timestamp with time zone,
  constraint usage_tracking_pkey primary key (user_id),
  constraint usage_tracking_token_count_is_not_negative check (token_count >= 0),
  constraint usage_tracking_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
) with (fillfactor=50);

alter table billing.usage_tracking enable row level security;

create index usage_tracking_last_reset_idx on billing.usage_tracking using btree (last_reset);
create index usage_tracking_next_hold_expires_at_idx on billing.usage_tracking using btree (next_hold_expires_at) where (next_hold_expires_at is not null);

create trigger _500_forget_usage_account
  after delete on billing.usage_tracking
  for each row
  execute function billing.forget_usage_account();

comment on table billing.usage_tracking is 'One row per user who ever had tokens: what was used, always the sum of the user''s usage_events.';
comment on column billing.usage_tracking.user_id is 'The account.';
comment on column billing.usage_tracking.token_count is 'Tokens used since last_reset, by the time they were used. A user without use since may still carry the count of an earlier month until the job resets it.';
comment on column billing.usage_tracking.lifetime_tokens is 'Tokens ever used.';
comment on column billing.usage_tracking.last_reset is 'Start of the period that token_count counts: the first moment of a month, UTC.';
comment on column billing.usage_tracking.next_hold_expires_at is 'No open hold ends before this; null means there is none to look for.';
comment on column billing.usage_tracking.entitled_until is 'Until when the user has been given all that the plan gives; see private.ensure_current_grants.';

create policy select_own on billing.usage_tracking
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.usage_tracking is 'Users read their own totals.';

grant select on billing.usage_tracking to :PLINTH_USER;

-- One row per subscription of a user, current and past; one is current at most.
create table billing.user_subscriptions (
  id uuid not null default plinth.uuid_v7(),
  user_id uuid not null,
  plan_id uuid not null,
  status text not null,
  started_at timestamp with time zone not null,
  anchor_at timestamp with time zone not null,
  current_period_start timestamp with time zone not null,
  current_period_end timestamp with time zone,
  cancel_at_period_end boolean not null default false,
  pending_plan_id uuid,
  renewal_date date generated always as (
case
    when (status = any (array['trialing'::text, 'active'::text])) and not cancel_at_period_end then (current_period_end at time zone 'UTC'::text)::date
    else null::date
end) stored,
  trial_end timestamp with time zone,
  past_due_since timestamp with time zone,
  paused_at timestamp with time zone,
  ended_at timestamp with time zone,
  quota_period_start timestamp with time zone not null,
  quota_period_end timestamp with time zone not null,
  quota_granted_from timestamp with time zone,
  provider text,
  provider_subscription_id text,
  due_at timestamp with time zone generated always as (
case
    when status = 'past_due'::text then (((past_due_since at time zone 'UTC'::text) + '7 days'::interval) at time zone 'UTC'::text)
    when (status = any (array['trialing'::text, 'active'::text])) and provider is not null and current_period_end is not null then (((quota_period_end at time zone 'UTC'::text) + '1 day'::interval) at time zone 'UTC'::text)
    when status = any (array['trialing'::text, 'active'::text]) then quota_period_end
    else null::timestamp with time zone
end) stored,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint user_subscriptions_pkey primary key (id),
  constraint user_subscriptions_provider_subscription_key unique (provider, provider_subscription_id),
  constraint user_subscriptions_ended_has_an_end check ((status = any (array['canceled'::text, 'expired'::text])) = (ended_at is not null)),
  constraint user_subscriptions_past_due_has_a_beginning check ((status = 'past_due'::text) = (past_due_since is not null)),
  constraint user_subscriptions_paused_has_a_beginning check ((status = 'paused'::text) = (paused_at is not null)),
  constraint user_subscriptions_period_starts_before_it_ends check (current_period_start < current_period_end),
  constraint user_subscriptions_provider_check check (provider ~ '^[a-z][a-z0-9_]{0,49}$'::text),
  constraint user_subscriptions_provider_names_the_subscription check ((provider is null) = (provider_subscription_id is null)),
  constraint user_subscriptions_quota_period_starts_before_it_ends check (quota_period_start < quota_period_end),
  constraint user_subscriptions_status_check check (status = any (array['trialing'::text, 'active'::text, 'past_due'::text, 'paused'::text, 'canceled'::text, 'expired'::text])),
  constraint user_subscriptions_trialing_has_an_end check (status <> 'trialing'::text or trial_end is not null),
  constraint user_subscriptions_pending_plan_id_fkey foreign key (pending_plan_id) references billing.subscription_plans(id) on delete restrict,
  constraint user_subscriptions_plan_id_fkey foreign key (plan_id) references billing.subscription_plans(id) on delete restrict,
  constraint user_subscriptions_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table billing.user_subscriptions enable row level security;

create index user_subscriptions_due_at_idx on billing.user_subscriptions using btree (due_at) where (due_at is not null);
create unique index user_subscriptions_one_current_idx on billing.user_subscriptions using btree (user_id) where (status = any (array['trialing'::text, 'active'::text, 'past_due'::text, 'paused'::text]));
create unique index user_subscriptions_one_trial_idx on billing.user_subscriptions using btree (user_id) where ((trial_end is not null) and (provider is null));
create index user_subscriptions_pending_plan_id_idx on billing.user_subscriptions using btree (pending_plan_id);
create index user_subscriptions_plan_id_idx on billing.user_subscriptions using btree (plan_id);
create index user_subscriptions_user_id_status_idx on billing.user_subscriptions using btree (user_id, status);

create trigger _100_check_status
  before update of status on billing.user_subscriptions
  for each row
  when (old.status <> new.status)
  execute function billing.check_subscription_status();
create trigger _500_forget_entitlement
  after insert or update of status, plan_id, quota_period_start, quota_period_end, quota_granted_from, past_due_since on billing.user_subscriptions
  for each row
  execute function billing.forget_entitlement();
create trigger _900_touch_updated_at
  before update on billing.user_subscriptions
  for each row
  execute function plinth.touch_updated_at('renewal_date', 'due_at');

comment on table billing.user_subscriptions is 'One row per subscription of a user, current and past; one is current at most.';
comment on column billing.user_subscriptions.id is 'UUIDv7.';
comment on column billing.user_subscriptions.user_id is 'Who subscribed.';
comment on column billing.user_subscriptions.plan_id is 'The version of the plan it stands on.';
comment on column billing.user_subscriptions.status is 'trialing, active, past_due or paused (current), canceled or expired (ended).';
comment on column billing.user_subscriptions.started_at is 'When it began.';
comment on column billing.user_subscriptions.anchor_at is 'Periods begin at this day and time of the month (UTC), or on the last day of shorter months.';
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
comment on column billing.user_subscriptions.due_at is 'When the job looks at it next: the period''s end (a day later where a provider bills), or a week after a payment was owed.';
comment on column billing.user_subscriptions.created_at is 'When the row was added.';
comment on column billing.user_subscriptions.updated_at is 'When the row last changed.';

create policy select_manager on billing.user_subscriptions
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions'::text)));
comment on policy select_manager on billing.user_subscriptions is 'The permission manage_subscriptions reads all subscriptions.';
create policy select_own on billing.user_subscriptions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.user_subscriptions is 'Users read their own subscriptions.';

grant select on billing.user_subscriptions to :PLINTH_USER;

-- Views -----------------------------------------------------------------------------------------------

-- Grain: one row per user whose subscription gives access now: trialing, active, or past_due within the days of grace.
create view billing.active_user_subscriptions with (security_invoker=true) as
 select s.id as subscription_id,
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
  where s.status = any (array['trialing'::text, 'active'::text, 'past_due'::text]);

comment on view billing.active_user_subscriptions is E'@primaryKey subscription_id\n@foreignKey (plan_id) references billing.subscription_plans (id)\n@foreignKey (user_id) references identity.users (id)\nGrain: one row per user whose subscription gives access now: trialing, active, or past_due within the days of grace.';
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

grant select on billing.active_user_subscriptions to :PLINTH_USER;

-- Prices that hold now: one row per model and currency.
create view billing.current_model_prices with (security_invoker=true) as
 select model_id,
    currency,
    input_price_per_million_tokens,
    output_price_per_million_tokens,
    cached_input_price_per_million_tokens,
    effective_from,
    effective_to,
    reasoning_price_per_million_tokens
   from billing.model_prices p
  where tstzrange(effective_from, effective_to) @> now();

comment on view billing.current_model_prices is E'@primaryKey model_id,currency\n@foreignKey (model_id) references llm.models (id)\nPrices that hold now: one row per model and currency.';
comment on column billing.current_model_prices.model_id is 'The model.';
comment on column billing.current_model_prices.currency is 'ISO 4217 code.';
comment on column billing.current_model_prices.input_price_per_million_tokens is 'Price of 1,000,000 tokens sent to the model.';
comment on column billing.current_model_prices.output_price_per_million_tokens is 'Price of 1,000,000 tokens the model writes.';
comment on column billing.current_model_prices.cached_input_price_per_million_tokens is 'Price of 1,000,000 cached tokens sent, or null.';
comment on column billing.current_model_prices.effective_from is 'Since when; null means always.';
comment on column billing.current_model_prices.effective_to is 'Until when; null means until further notice.';
comment on column billing.current_model_prices.reasoning_price_per_million_tokens is 'Price of 1,000,000 tokens the model thinks, or null.';

grant select on billing.current_model_prices to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Use and cost by month: one row per user, month (UTC) and currency.
create view billing.monthly_usage with (security_invoker=true) as
 select user_id,
    date_trunc('month'::text, day::timestamp without time zone)::date as month,
    currency,
    sum(requests)::bigint as requests,
    sum(total_tokens)::bigint as total_tokens,
    sum(unpriced_tokens)::bigint as unpriced_tokens,
    sum(cost) as cost
   from billing.daily_usage d
  where user_id is not null
  group by user_id, (date_trunc('month'::text, day::timestamp without time zone)::date), currency;

comment on view billing.monthly_usage is E'@primaryKey user_id,month,currency\nUse and cost by month: one row per user, month (UTC) and currency.';
comment on column billing.monthly_usage.user_id is 'The account.';
comment on column billing.monthly_usage.month is 'First day of the month, UTC.';
comment on column billing.monthly_usage.currency is 'ISO 4217 code of cost.';
comment on column billing.monthly_usage.requests is 'Uses of models.';
comment on column billing.monthly_usage.total_tokens is 'Tokens sent and made.';
comment on column billing.monthly_usage.unpriced_tokens is 'Those whose cost is unknown, and not in cost.';
comment on column billing.monthly_usage.cost is 'Exact cost of the priced tokens in units of currency.';

grant select on billing.monthly_usage to :PLINTH_USER;

-- Which grants an open hold keeps how much of: one row per open hold and grant.
create view billing.token_hold_allocations with (security_invoker=true) as
 select h.id as hold_id,
    a.grant_id,
    h.user_id,
    a.tokens,
    h.expires_at
   from billing.token_holds h
     cross join lateral unnest(h.grant_ids, h.grant_tokens) a(grant_id, tokens)
  where h.state = 'open'::text;

comment on view billing.token_hold_allocations is E'@primaryKey hold_id,grant_id\n@foreignKey (hold_id) references billing.token_holds (id)\n@foreignKey (grant_id) references billing.token_grants (id)\nWhich grants an open hold keeps how much of: one row per open hold and grant.';
comment on column billing.token_hold_allocations.hold_id is 'The hold.';
comment on column billing.token_hold_allocations.grant_id is 'The grant.';
comment on column billing.token_hold_allocations.user_id is 'Whose.';
comment on column billing.token_hold_allocations.tokens is 'Tokens of the grant that the hold keeps.';
comment on column billing.token_hold_allocations.expires_at is 'When the hold ends by itself.';

grant select on billing.token_hold_allocations to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Ends one's subscription with its period (at once when past_due or paused). PL404 without one, PL409 when that is settled or a provider bills it.
create or replace function billing.cancel_subscription()
  returns billing.user_subscriptions
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.set_cancellation_at(plinth.current_user_id(), true, now())
$$;

comment on function billing.cancel_subscription() is 'Ends one''s subscription with its period (at once when past_due or paused). PL404 without one, PL409 when that is settled or a provider bills it.';
revoke execute on function billing.cancel_subscription() from public;
grant execute on function billing.cancel_subscription() to :PLINTH_USER;

-- Changes to another plan when the period ends; the plan one is on takes that back. PL402 for an upgrade, which begins with its payment.
create or replace function billing.change_plan(plan_id uuid)
  returns billing.user_subscriptions
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.schedule_plan_at(plinth.current_user_id(), change_plan.plan_id, now())
$$;

comment on function billing.change_plan(plan_id uuid) is 'Changes to another plan when the period ends; the plan one is on takes that back. PL402 for an upgrade, which begins with its payment.';
revoke execute on function billing.change_plan(plan_id uuid) from public;
grant execute on function billing.change_plan(plan_id uuid) to :PLINTH_USER;

-- Trigger: refuses steps that private.subscription_transitions does not list (PL409).
create or replace function billing.check_subscription_status()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  if not exists (
    select
    from private.subscription_transitions t
    where t.from_status = old.status
      and t.to_status = new.status
      and (new.provider is not null or not t.is_providers)
  ) then
    raise exception 'A subscription that is % cannot become %.', old.status, new.status using errcode = 'PL409';
  end if;
  return new;
end
$$;

comment on function billing.check_subscription_status() is 'Trigger: refuses steps that private.subscription_transitions does not list (PL409).';
revoke execute on function billing.check_subscription_status() from public;

-- The subscription that is trialing, active, past_due or paused, one's own by default; null when there is none.
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

comment on function billing.current_subscription(user_id uuid) is 'The subscription that is trialing, active, past_due or paused, one''s own by default; null when there is none.';
revoke execute on function billing.current_subscription(user_id uuid) from public;
grant execute on function billing.current_subscription(user_id uuid) to :PLINTH_USER;

-- Ends a subscription at once. Needs manage_subscriptions (PL403). PL404, PL409.
create or replace function billing.end_subscription(user_id uuid)
  returns billing.user_subscriptions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function billing.end_subscription(user_id uuid) is 'Ends a subscription at once. Needs manage_subscriptions (PL403). PL404, PL409.';
revoke execute on function billing.end_subscription(user_id uuid) from public;
grant execute on function billing.end_subscription(user_id uuid) to :PLINTH_USER;

-- Trigger: a change of a subscription may give or take tokens, so the ledger asks again.
create or replace function billing.forget_entitlement()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  update billing.usage_tracking t
  set entitled_until = '-infinity'
  where t.user_id = new.user_id and t.entitled_until > '-infinity';
  return null;
end
$$;

comment on function billing.forget_entitlement() is 'Trigger: a change of a subscription may give or take tokens, so the ledger asks again.';
revoke execute on function billing.forget_entitlement() from public;

-- Trigger: holds go with their account, usage stays without a name.
create or replace function billing.forget_usage_account()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  delete from billing.token_holds h where h.user_id = old.user_id;
  update billing.usage_events e set user_id = null, idempotency_key = null where e.user_id = old.user_id;
  return null;
end
$$;

comment on function billing.forget_usage_account() is 'Trigger: holds go with their account, usage stays without a name.';
revoke execute on function billing.forget_usage_account() from public;

-- Gives a user a period of a plan: starts it, adds a period, or changes to it at once with proration. The same idempotency key again gives nothing more and returns the subscription as it is now. Needs manage_subscriptions (PL403). PL404, PL409, PL422.
create or replace function billing.grant_subscription(user_id uuid, plan_id uuid, idempotency_key text default null::text)
  returns billing.user_subscriptions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function billing.grant_subscription(user_id uuid, plan_id uuid, idempotency_key text) is 'Gives a user a period of a plan: starts it, adds a period, or changes to it at once with proration. The same idempotency key again gives nothing more and returns the subscription as it is now. Needs manage_subscriptions (PL403). PL404, PL409, PL422.';
revoke execute on function billing.grant_subscription(user_id uuid, plan_id uuid, idempotency_key text) from public;
grant execute on function billing.grant_subscription(user_id uuid, plan_id uuid, idempotency_key text) to :PLINTH_USER;

-- Whether the signed-in user's grants have this many tokens left now. It sets nothing aside: reserve does.
create or replace function billing.has_tokens(amount bigint default 1)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'
as $$
  select coalesce(bool_or(g.available is null) or sum(g.available) >= has_tokens.amount, false)
  from private.available_grants(plinth.current_user_id(), now()) g
$$;

comment on function billing.has_tokens(amount bigint) is 'Whether the signed-in user''s grants have this many tokens left now. It sets nothing aside: reserve does.';
revoke execute on function billing.has_tokens(amount bigint) from public;
grant execute on function billing.has_tokens(amount bigint) to :PLINTH_USER;

-- Trigger: refuses changes to the terms of a plan's version (PL409).
create or replace function billing.keep_plan_terms()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'
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
revoke execute on function billing.keep_plan_terms() from public;

-- Trigger: numbers a new version of an offer and supersedes the one before.
create or replace function billing.number_plan_version()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function billing.number_plan_version() from public;

-- Stops a paid period's clock until its user resumes. Needs manage_subscriptions (PL403). PL404, PL409.
create or replace function billing.pause_subscription(user_id uuid)
  returns billing.user_subscriptions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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

comment on function billing.pause_subscription(user_id uuid) is 'Stops a paid period''s clock until its user resumes. Needs manage_subscriptions (PL403). PL404, PL409.';
revoke execute on function billing.pause_subscription(user_id uuid) from public;
grant execute on function billing.pause_subscription(user_id uuid) to :PLINTH_USER;

-- Trigger: notes a change of plans or their prices in the audit log.
create or replace function billing.record_plan_change()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
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
revoke execute on function billing.record_plan_change() from public;

-- Sets tokens of the signed-in user aside for five minutes; the same key again gives the same hold. QUOTA_EXCEEDED when they do not cover it, CONFLICT for a key used otherwise.
create or replace function billing.reserve_tokens(model_id uuid, max_tokens bigint, idempotency_key text)
  returns billing.token_holds
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  if plinth.current_user_id() is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  -- The same answer for a model the user may not use and one that does not exist.
  if access.can_use_model(reserve_tokens.model_id) is not true then
    raise exception 'There is no such model.' using errcode = 'PL404', column = 'model_id';
  end if;
  return private.reserve_tokens(
    plinth.current_user_id(), reserve_tokens.model_id, reserve_tokens.max_tokens, reserve_tokens.idempotency_key
  );
end
$$;

comment on function billing.reserve_tokens(model_id uuid, max_tokens bigint, idempotency_key text) is 'Sets tokens of the signed-in user aside for five minutes; the same key again gives the same hold. QUOTA_EXCEEDED when they do not cover it, CONFLICT for a key used otherwise.';
revoke execute on function billing.reserve_tokens(model_id uuid, max_tokens bigint, idempotency_key text) from public;
grant execute on function billing.reserve_tokens(model_id uuid, max_tokens bigint, idempotency_key text) to :PLINTH_USER;

-- Takes a cancellation back before the period ends, or goes on after a pause. PL404 without a subscription, PL409 when there is nothing to resume.
create or replace function billing.resume_subscription()
  returns billing.user_subscriptions
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.set_cancellation_at(plinth.current_user_id(), false, now())
$$;

comment on function billing.resume_subscription() is 'Takes a cancellation back before the period ends, or goes on after a pause. PL404 without a subscription, PL409 when there is nothing to resume.';
revoke execute on function billing.resume_subscription() from public;
grant execute on function billing.resume_subscription() to :PLINTH_USER;

-- Makes a new version of a plan with some terms changed, given by column name. Needs manage_plans. PL404, PL409, PL422.
create or replace function billing.revise_plan(plan_id uuid, changes jsonb)
  returns billing.subscription_plans
  language plpgsql
  set search_path to 'pg_catalog'
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
  -- Who may change it locks it, so that of two new versions one is refused: made of the same terms, the second would take back
  -- what the first changed. Who may not is refused by the insert.
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

comment on function billing.revise_plan(plan_id uuid, changes jsonb) is 'Makes a new version of a plan with some terms changed, given by column name. Needs manage_plans. PL404, PL409, PL422.';
revoke execute on function billing.revise_plan(plan_id uuid, changes jsonb) from public;
grant execute on function billing.revise_plan(plan_id uuid, changes jsonb) to :PLINTH_USER;

-- Subscribes to a plan that costs nothing, or starts a plan's trial, once per user. PL402 for a plan that must be paid, PL409 with a subscription.
create or replace function billing.subscribe(plan_id uuid)
  returns billing.user_subscriptions
  language sql
  security definer
  set search_path to 'pg_catalog'
as $$
  select private.subscribe_at(plinth.current_user_id(), subscribe.plan_id, now())
$$;

comment on function billing.subscribe(plan_id uuid) is 'Subscribes to a plan that costs nothing, or starts a plan''s trial, once per user. PL402 for a plan that must be paid, PL409 with a subscription.';
revoke execute on function billing.subscribe(plan_id uuid) from public;
grant execute on function billing.subscribe(plan_id uuid) to :PLINTH_USER;

-- The signed-in user's tokens: left, held, used this month, by grant, and when they run out at the present pace. Null for a visitor.
create or replace function billing.token_balance()
  returns billing.token_balance
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'
as $$
begin
  if plinth.current_user_id() is null then
    return null;
  end if;
  return private.token_balance_at(plinth.current_user_id(), now());
end
$$;

comment on function billing.token_balance() is 'The signed-in user''s tokens: left, held, used this month, by grant, and when they run out at the present pace. Null for a visitor.';
revoke execute on function billing.token_balance() from public;
grant execute on function billing.token_balance() to :PLINTH_USER;
