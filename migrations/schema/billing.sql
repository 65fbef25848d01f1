-- Schema billing as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema billing;
comment on schema billing is 'Plans, subscriptions, payments, token grants, usage and model prices.';
grant usage on schema billing to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Types and sequences ---------------------------------------------------------------------------------

-- Remaining tokens of one grant in force. available is null if the grant is unlimited.
create type billing.grant_balance as (
  grant_id uuid,
  source text,
  available bigint,
  held bigint,
  expires_at timestamp with time zone
);

comment on type billing.grant_balance is 'Remaining tokens of one grant in force. available is null if the grant is unlimited.';

-- Token balance of the signed-in user. available is null while an unlimited grant is in force. exhausted_at is when the tokens run out at the average rate of the last seven whole days; null if they do not.
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

comment on type billing.token_balance is 'Token balance of the signed-in user. available is null while an unlimited grant is in force. exhausted_at is when the tokens run out at the average rate of the last seven whole days; null if they do not.';

-- Origin of a token grant.
create domain billing.token_grant_source as text
  constraint token_grant_source_check check (value = any (array['plan'::text, 'purchase'::text, 'manual'::text, 'promotion'::text, 'rollover'::text]));

comment on domain billing.token_grant_source is 'Origin of a token grant.';
comment on constraint token_grant_source_check on domain billing.token_grant_source is E'plan: The quota of a plan.\npurchase: Bought.\nmanual: Granted by hand.\npromotion: A promotion.\nrollover: Carried over from an earlier period.';

-- State of a token hold.
create domain billing.token_hold_state as text
  constraint token_hold_state_check check (value = any (array['open'::text, 'settled'::text, 'released'::text, 'expired'::text]));

comment on domain billing.token_hold_state is 'State of a token hold.';
comment on constraint token_hold_state_check on domain billing.token_hold_state is E'open: The tokens are reserved; past its expiry, it counts as expired.\nsettled: The actual usage was recorded.\nreleased: The reservation was released without usage.\nexpired: The reservation ended by itself.';

-- Kind of a usage event.
create domain billing.usage_event_kind as text
  constraint usage_event_kind_check check (value = any (array['usage'::text, 'correction'::text]));

comment on domain billing.usage_event_kind is 'Kind of a usage event.';
comment on constraint usage_event_kind_check on domain billing.usage_event_kind is E'usage: Tokens that were used.\ncorrection: The difference to a recorded usage.';

-- Source of a usage event.
create domain billing.usage_event_source as text
  constraint usage_event_source_check check (value = any (array['hold'::text, 'service'::text, 'message'::text, 'self_reported'::text]));

comment on domain billing.usage_event_source is 'Source of a usage event.';
comment on constraint usage_event_source_check on domain billing.usage_event_source is E'hold: A settled hold.\nservice: Recorded by a service without a hold.\nmessage: Usage of a message, recorded by a service.\nself_reported: Usage of a message, reported by the user.';

-- Tables ----------------------------------------------------------------------------------------------

-- One row per user, model and day (UTC) with usage: always the sum of its usage_events. Late events and corrections count on the day of the usage.
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

comment on table billing.daily_usage is 'One row per user, model and day (UTC) with usage: always the sum of its usage_events. Late events and corrections count on the day of the usage.';
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

create policy select_own on billing.daily_usage
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.daily_usage is 'Users read their own daily usage.';

grant select on billing.daily_usage to :PLINTH_USER;

-- One row per model, currency and period of validity.
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

comment on table billing.model_prices is 'One row per model, currency and period of validity.';
comment on column billing.model_prices.id is 'Id (UUIDv7).';
comment on column billing.model_prices.model_id is 'The model.';
comment on column billing.model_prices.currency is 'Currency of the prices (ISO 4217 code).';
comment on column billing.model_prices.input_price_per_million_tokens is 'Price of 1,000,000 input tokens, in units of currency.';
comment on column billing.model_prices.output_price_per_million_tokens is 'Price of 1,000,000 output tokens, in units of currency.';
comment on column billing.model_prices.cached_input_price_per_million_tokens is 'Price of 1,000,000 cached input tokens, in units of currency; null if there is no such price.';
comment on column billing.model_prices.effective_from is 'Time from which the price applies (inclusive); null if it applies at any time before effective_to.';
comment on column billing.model_prices.effective_to is 'Time from which the price no longer applies; null if it applies until further notice.';
comment on column billing.model_prices.created_at is 'Time when the row was created.';
comment on column billing.model_prices.updated_at is 'Time of the last change.';
comment on column billing.model_prices.reasoning_price_per_million_tokens is 'Price of 1,000,000 reasoning tokens, in units of currency; null if they cost the same as output tokens.';
comment on constraint model_prices_cached_price_keeps_six_decimals on billing.model_prices is 'The price must be below 1,000,000,000,000 and have at most six decimals.';
comment on constraint model_prices_input_price_keeps_six_decimals on billing.model_prices is 'The price must be below 1,000,000,000,000 and have at most six decimals.';
comment on constraint model_prices_output_price_keeps_six_decimals on billing.model_prices is 'The price must be below 1,000,000,000,000 and have at most six decimals.';
comment on constraint model_prices_reasoning_price_keeps_six_decimals on billing.model_prices is 'The price must be below 1,000,000,000,000 and have at most six decimals.';

create policy all_manager on billing.model_prices
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_models'::text)))
  with check ((select access.has_permission('manage_models'::text)));
comment on policy all_manager on billing.model_prices is 'Users with manage_models read and write all prices.';
create policy select_usable on billing.model_prices
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using ((model_id in (select access.usable_model_ids())));
comment on policy select_usable on billing.model_prices is 'Users who may use a model read its prices.';

grant
  select,
  insert (model_id, currency, input_price_per_million_tokens, output_price_per_million_tokens, cached_input_price_per_million_tokens, effective_from, effective_to, reasoning_price_per_million_tokens),
  update (currency, input_price_per_million_tokens, output_price_per_million_tokens, cached_input_price_per_million_tokens, effective_from, effective_to, reasoning_price_per_million_tokens),
  delete
  on billing.model_prices to :PLINTH_USER;
grant select on billing.model_prices to :PLINTH_ANONYMOUS;

-- One row per invoice or purchase at a payment provider. Contains no payment method details.
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

comment on table billing.payments is 'One row per invoice or purchase at a payment provider. Contains no payment method details.';
comment on column billing.payments.id is 'Id (UUIDv7).';
comment on column billing.payments.user_id is 'The user who paid; null if the account was deleted.';
comment on column billing.payments.subscription_id is 'The subscription paid for; null if unknown or deleted.';
comment on column billing.payments.plan_id is 'The plan paid for; null if unknown.';
comment on column billing.payments.provider is 'Name of the payment provider, such as stripe.';
comment on column billing.payments.provider_payment_id is 'Id of the invoice or purchase at the provider.';
comment on column billing.payments.provider_reference is 'Id of the transaction at the provider; refunds and disputes refer to it.';
comment on column billing.payments.provider_subscription_id is 'Id of the subscription at the provider; null if the payment is not for a subscription.';
comment on column billing.payments.amount_cents is 'Amount due, in the currency''s smallest unit.';
comment on column billing.payments.refunded_cents is 'Refunded part of the amount, in the currency''s smallest unit.';
comment on column billing.payments.currency is 'Currency of the amounts (ISO 4217 code).';
comment on column billing.payments.period_start is 'Start of the period paid for (inclusive); null if the payment is not for a period.';
comment on column billing.payments.period_end is 'End of the period paid for (exclusive); null if it does not end.';
comment on column billing.payments.paid_at is 'Time of payment; null if not paid yet.';
comment on column billing.payments.failed_at is 'Time of the last failed attempt; null if none failed.';
comment on column billing.payments.disputed_at is 'Time when the payer disputed the payment; null if not disputed.';
comment on column billing.payments.failure_code is 'The provider''s reason code for the failed attempt.';
comment on column billing.payments.status is 'State derived from the other columns: pending, succeeded, failed, refunded, partially_refunded or disputed.';
comment on column billing.payments.created_at is 'Time when the row was created.';
comment on column billing.payments.updated_at is 'Time of the last change.';
comment on constraint payments_status_check on billing.payments is E'Status of a payment.\npending: Not yet decided by the provider.\nsucceeded: Paid.\nfailed: Rejected by the provider.\nrefunded: Returned in full.\npartially_refunded: Returned in part.\ndisputed: Contested by the payer at their bank.';

create policy select_manager on billing.payments
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions'::text)));
comment on policy select_manager on billing.payments is 'Users with manage_subscriptions read all payments.';
create policy select_own on billing.payments
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.payments is 'Users read their own payments.';

grant select on billing.payments to :PLINTH_USER;

-- One row per price at a payment provider; a plan may have several.
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

comment on table billing.plan_prices is E'@behavior -query:resource:list -query:resource:connection -query:resource:single\nOne row per price at a payment provider; a plan may have several.';
comment on column billing.plan_prices.plan_id is 'The plan sold at this price.';
comment on column billing.plan_prices.provider is 'Name of the payment provider, such as stripe.';
comment on column billing.plan_prices.provider_price_id is 'Id of the price at the provider, such as price_….';
comment on column billing.plan_prices.created_at is 'Time when the row was created.';

create policy all_manager on billing.plan_prices
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_plans'::text)))
  with check ((select access.has_permission('manage_plans'::text)));
comment on policy all_manager on billing.plan_prices is 'Users with manage_plans read and write all prices at providers.';

grant select, insert (plan_id, provider, provider_price_id), delete on billing.plan_prices to :PLINTH_USER;

-- One row per customer at a payment provider; a user may be several customers.
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

comment on table billing.provider_customers is 'One row per customer at a payment provider; a user may be several customers.';
comment on column billing.provider_customers.provider is 'Name of the payment provider, such as stripe.';
comment on column billing.provider_customers.provider_customer_id is 'Id of the customer at the provider, such as cus_….';
comment on column billing.provider_customers.user_id is 'The user.';
comment on column billing.provider_customers.created_at is 'Time when the customer was linked to the user.';

create policy select_manager on billing.provider_customers
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions'::text)));
comment on policy select_manager on billing.provider_customers is 'Users with manage_subscriptions read all customer records at payment providers.';
create policy select_own on billing.provider_customers
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.provider_customers is 'Users read their own customer records at payment providers.';

grant select on billing.provider_customers to :PLINTH_USER;

-- One row per change of a subscription's state, plan or period. Rows never change.
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

comment on table billing.subscription_changes is 'One row per change of a subscription''s state, plan or period. Rows never change.';
comment on column billing.subscription_changes.id is 'Id (UUIDv7); sorts changes of the same time.';
comment on column billing.subscription_changes.subscription_id is 'The subscription.';
comment on column billing.subscription_changes.user_id is 'The owner of the subscription.';
comment on column billing.subscription_changes.event is 'Kind of change, such as started, upgraded, renewed, paused or canceled.';
comment on column billing.subscription_changes.from_status is 'State before the change; null for the first.';
comment on column billing.subscription_changes.to_status is 'State after the change.';
comment on column billing.subscription_changes.from_plan_id is 'Plan before the change; null for the first.';
comment on column billing.subscription_changes.to_plan_id is 'Plan after the change.';
comment on column billing.subscription_changes.credit_cents is 'Proration credit for the unused part of the old plan, in the currency''s smallest unit; zero or negative.';
comment on column billing.subscription_changes.charge_cents is 'Price of the new plan for the rest of the period, or of a whole period, in the currency''s smallest unit.';
comment on column billing.subscription_changes.amount_cents is 'Sum of credit_cents and charge_cents; negative if money is returned.';
comment on column billing.subscription_changes.currency is 'Currency of the amounts (ISO 4217 code).';
comment on column billing.subscription_changes.period_seconds is 'Proration: length of the period, in seconds.';
comment on column billing.subscription_changes.unused_seconds is 'Proration: unused part of the period, in seconds.';
comment on column billing.subscription_changes.tokens_granted is 'Tokens added because of a plan change.';
comment on column billing.subscription_changes.effective_at is 'Time when the change took effect; earlier than created_at if a job or event was late.';
comment on column billing.subscription_changes.created_at is 'Time when the change was recorded.';

create policy select_manager on billing.subscription_changes
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions'::text)));
comment on policy select_manager on billing.subscription_changes is 'Users with manage_subscriptions read the history of all subscriptions.';
create policy select_own on billing.subscription_changes
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.subscription_changes is 'Users read the history of their own subscriptions.';

grant select on billing.subscription_changes to :PLINTH_USER;

-- One row per version of an offer: a plan code, a billing cycle and a currency. The terms of a version never change.
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

comment on table billing.subscription_plans is 'One row per version of an offer: a plan code, a billing cycle and a currency. The terms of a version never change.';
comment on column billing.subscription_plans.id is 'Id (UUIDv7).';
comment on column billing.subscription_plans.code is 'Code of the plan in rules, and tier of its users, such as free or premium.';
comment on column billing.subscription_plans.plan_name is 'Name of the plan shown to people.';
comment on column billing.subscription_plans.version is 'Version number of the offer, from 1; set by the database.';
comment on column billing.subscription_plans.billing_cycle is 'Billing cycle: monthly, yearly or lifetime (paid once, never ends).';
comment on column billing.subscription_plans.price_cents is 'Price of one period, in the currency''s smallest unit.';
comment on column billing.subscription_plans.currency is 'Currency of the price (ISO 4217 code).';
comment on column billing.subscription_plans.trial_days is 'Length of the free trial in days, once per user; 0 for no trial.';
comment on column billing.subscription_plans.token_quota is 'Tokens granted per billing period (per month for lifetime plans); null for unlimited.';
comment on column billing.subscription_plans.rollover_limit is 'Maximum number of unused tokens carried into the next period.';
comment on column billing.subscription_plans.features is 'Features of the plan, for the application (JSON object).';
comment on column billing.subscription_plans.access_level is 'Access level of the plan; it includes content up to this level.';
comment on column billing.subscription_plans.is_active is 'Whether new subscriptions may choose the plan.';
comment on column billing.subscription_plans.superseded_at is 'Time when a newer version replaced it; null for the newest version.';
comment on column billing.subscription_plans.created_at is 'Time when the version was created.';
comment on column billing.subscription_plans.updated_at is 'Time of the last change.';
comment on constraint subscription_plans_billing_cycle_check on billing.subscription_plans is E'@name billing_cycle\nInterval at which a plan is paid.\nmonthly: Paid each month.\nyearly: Paid each year.\nlifetime: Paid once; never ends.';

create policy insert_manager on billing.subscription_plans
  for insert to :PLINTH_USER
  with check ((select access.has_permission('manage_plans'::text)));
comment on policy insert_manager on billing.subscription_plans is 'Users with manage_plans add plans and versions.';
create policy select_all on billing.subscription_plans
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (true);
comment on policy select_all on billing.subscription_plans is 'Everyone reads all plans.';
create policy update_manager on billing.subscription_plans
  for update to :PLINTH_USER
  using ((select access.has_permission('manage_plans'::text)))
  with check ((select access.has_permission('manage_plans'::text)));
comment on policy update_manager on billing.subscription_plans is 'Users with manage_plans rename plans and withdraw them from sale.';

grant
  select,
  insert (code, plan_name, billing_cycle, price_cents, currency, trial_days, token_quota, rollover_limit, features, access_level, is_active),
  update (plan_name, is_active)
  on billing.subscription_plans to :PLINTH_USER;
grant select on billing.subscription_plans to :PLINTH_ANONYMOUS;

-- One row per grant of tokens: amount = consumed + held + remaining. Deleted only with the account.
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

comment on table billing.token_grants is 'One row per grant of tokens: amount = consumed + held + remaining. Deleted only with the account.';
comment on column billing.token_grants.id is 'Id (UUIDv7).';
comment on column billing.token_grants.user_id is 'The user who may use the tokens.';
comment on column billing.token_grants.amount is 'Tokens granted; null for unlimited while the grant is in force.';
comment on column billing.token_grants.consumed is 'Tokens charged to the grant.';
comment on column billing.token_grants.held is 'Tokens reserved by open holds.';
comment on column billing.token_grants.priority is 'Priority of the grant: lower values are used first, then the earliest expires_at, then the oldest grant.';
comment on column billing.token_grants.starts_at is 'Time from which the grant can be used.';
comment on column billing.token_grants.expires_at is 'Time from which no new tokens can be taken; null if the grant does not expire. Earlier holds keep their tokens.';
comment on column billing.token_grants.source is 'Origin of the grant: plan, purchase, manual, promotion or rollover.';
comment on column billing.token_grants.source_id is 'Id of the subscription or payment behind the grant; null if there is none.';
comment on column billing.token_grants.idempotency_key is 'Idempotency key of the call that created the grant; unique per user.';
comment on column billing.token_grants.closed_at is 'Time when the plan''s period was closed and the remaining tokens carried over; null if not closed.';
comment on column billing.token_grants.retired_at is 'Time when the job found that the grant can no longer be used; null while the job still checks it.';
comment on column billing.token_grants.created_at is 'Time when the grant was created.';

create policy select_own on billing.token_grants
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.token_grants is 'Users read their own grants.';

grant select on billing.token_grants to :PLINTH_USER;

-- One row per hold: tokens reserved for a model call in progress. Ended holds are kept as the memory of their idempotency keys.
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

comment on table billing.token_holds is E'@foreignKey (user_id) references identity.users (id)\n@foreignKey (model_id) references llm.models (id)\nOne row per hold: tokens reserved for a model call in progress. Ended holds are kept as the memory of their idempotency keys.';
comment on column billing.token_holds.id is 'Id (UUIDv7).';
comment on column billing.token_holds.user_id is 'The user whose tokens are reserved; not a foreign key, see billing.forget_usage_account.';
comment on column billing.token_holds.model_id is 'The model; not a foreign key, because every call would lock the model''s row. daily_usage has the foreign key.';
comment on column billing.token_holds.max_tokens is 'Number of tokens reserved.';
comment on column billing.token_holds.grant_ids is 'Grants that the tokens were taken from, in order; see billing.token_hold_allocations.';
comment on column billing.token_holds.grant_tokens is 'Number of tokens taken from each grant.';
comment on column billing.token_holds.state is 'State: open, settled, released or expired. An open hold past expires_at counts as expired.';
comment on column billing.token_holds.idempotency_key is 'Idempotency key of the reserve call; unique per user.';
comment on column billing.token_holds.expires_at is 'Time when the tokens are returned automatically.';
comment on column billing.token_holds.settled_at is 'Time when the usage was recorded; null if it was not.';
comment on column billing.token_holds.usage_event_id is 'The recorded usage; null if there is none.';
comment on column billing.token_holds.created_at is 'Time when the hold was created.';

create policy select_own on billing.token_holds
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.token_holds is 'Users read their own holds.';

grant select on billing.token_holds to :PLINTH_USER;

-- One row per use of a model, or correction of one. Append-only; partitioned by month of created_at. Its sums are authoritative; corrections are stored as differences.
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

comment on table billing.usage_events is E'@foreignKey (user_id) references identity.users (id)\n@foreignKey (model_id) references llm.models (id)\nOne row per use of a model, or correction of one. Append-only; partitioned by month of created_at. Its sums are authoritative; corrections are stored as differences.';
comment on column billing.usage_events.id is 'Id (UUIDv7).';
comment on column billing.usage_events.user_id is 'The user; null if the account was deleted. Not a foreign key, see billing.forget_usage_account.';
comment on column billing.usage_events.model_id is 'The model; null if unknown. Not a foreign key: the row of daily_usage has one, which preserves the model.';
comment on column billing.usage_events.chat_id is 'The chat, which may have been deleted since.';
comment on column billing.usage_events.message_id is 'The message, which may have been deleted since. Not a foreign key: deleting a chat would search every partition for each message.';
comment on column billing.usage_events.hold_id is 'The hold that the usage settled; null if there was none.';
comment on column billing.usage_events.kind is 'Kind: usage, or correction (the difference to the recorded usage).';
comment on column billing.usage_events.source is 'Source: hold (settled), service (recorded without a hold), message (tokens_used set by a service) or self_reported (tokens_used set by the user).';
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
comment on column billing.usage_events.grant_tokens is 'Number of tokens charged to each grant; negative if a correction returns tokens.';
comment on column billing.usage_events.is_priced is 'Whether a price was known; if false, the cost is unknown, not zero.';
comment on column billing.usage_events.price_id is 'The row of model_prices that was applied; it may have been deleted since, because imports replace rows.';
comment on column billing.usage_events.currency is 'Currency of prices and cost (ISO 4217 code).';
comment on column billing.usage_events.input_price_per_million_tokens is 'Price of 1,000,000 input tokens at the time of use, in units of currency.';
comment on column billing.usage_events.output_price_per_million_tokens is 'Price of 1,000,000 output tokens at the time of use, in units of currency.';
comment on column billing.usage_events.cached_input_price_per_million_tokens is 'Price of 1,000,000 cached input tokens at the time of use, in units of currency.';
comment on column billing.usage_events.reasoning_price_per_million_tokens is 'Price of 1,000,000 reasoning tokens at the time of use, in units of currency.';
comment on column billing.usage_events.cost is 'Exact cost in units of currency, never rounded; null without a price.';
comment on column billing.usage_events.occurred_at is 'Time of the model use; determines price, day and period.';
comment on column billing.usage_events.created_at is 'Time when the event was recorded; the partition key.';

create policy select_own on billing.usage_events
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.usage_events is 'Users read their own usage.';

grant select on billing.usage_events to :PLINTH_USER;

-- One row per limit on each user's usage in a day or month (UTC). A limit without a user applies to every user separately. All matching limits apply.
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

comment on table billing.usage_limits is 'One row per limit on each user''s usage in a day or month (UTC). A limit without a user applies to every user separately. All matching limits apply.';
comment on column billing.usage_limits.id is 'Id (UUIDv7).';
comment on column billing.usage_limits.user_id is 'The user it applies to; null for every user.';
comment on column billing.usage_limits.model_id is 'The model whose tokens it counts; null for the tokens of all models together.';
comment on column billing.usage_limits.plan_code is 'Code of the plan it applies to, such as free; null for every plan.';
comment on column billing.usage_limits.period is 'Period of the limit: day or month (UTC).';
comment on column billing.usage_limits.max_tokens is 'Maximum number of tokens a user may use in the period; 0 forbids usage.';
comment on column billing.usage_limits.is_hard is 'Whether the limit is hard. A hard limit makes reserve reject calls above it; a soft limit is only reported in tokenBalance.';
comment on column billing.usage_limits.created_at is 'Time when the limit was created.';
comment on column billing.usage_limits.updated_at is 'Time of the last change.';
comment on constraint usage_limits_period_check on billing.usage_limits is E'Period of a usage limit, in UTC.\nday: A calendar day.\nmonth: A calendar month.';

create policy all_manager on billing.usage_limits
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_users'::text)))
  with check ((select access.has_permission('manage_users'::text)));
comment on policy all_manager on billing.usage_limits is 'Users with manage_users read and write all limits.';
create policy select_own on billing.usage_limits
  for select to :PLINTH_USER
  using (plinth.current_user_id() is not null and (user_id is null or user_id = (select plinth.current_user_id())) and (model_id is null or (model_id in (select access.usable_model_ids()))));
comment on policy select_own on billing.usage_limits is 'Users read the limits set for them or for everyone, on models they may use.';

grant
  select,
  insert (user_id, model_id, plan_code, period, max_tokens, is_hard),
  update (max_tokens, is_hard),
  delete
  on billing.usage_limits to :PLINTH_USER;

-- One row per user who ever had tokens: totals of usage, always the sum of the user's usage_events.
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

comment on table billing.usage_tracking is 'One row per user who ever had tokens: totals of usage, always the sum of the user''s usage_events.';
comment on column billing.usage_tracking.user_id is 'The account.';
comment on column billing.usage_tracking.token_count is 'Tokens used since last_reset, by time of use. Without usage since, it may hold an earlier month''s count until the job resets it.';
comment on column billing.usage_tracking.lifetime_tokens is 'Tokens used over the lifetime of the account.';
comment on column billing.usage_tracking.last_reset is 'Start of the period counted in token_count: the first moment of a month (UTC).';
comment on column billing.usage_tracking.next_hold_expires_at is 'Time before which no open hold expires; null if there are no open holds to check.';
comment on column billing.usage_tracking.entitled_until is 'Time until which the user has received all grants of the plan; see private.ensure_current_grants.';

create policy select_own on billing.usage_tracking
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.usage_tracking is 'Users read their own totals.';

grant select on billing.usage_tracking to :PLINTH_USER;

-- One row per subscription of a user, current or past. At most one per user is current.
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

comment on table billing.user_subscriptions is 'One row per subscription of a user, current or past. At most one per user is current.';
comment on column billing.user_subscriptions.id is 'Id (UUIDv7).';
comment on column billing.user_subscriptions.user_id is 'The subscriber.';
comment on column billing.user_subscriptions.plan_id is 'The plan version of the subscription.';
comment on column billing.user_subscriptions.status is 'State: trialing, active, past_due or paused (current), or canceled or expired (ended).';
comment on column billing.user_subscriptions.started_at is 'Time when the subscription started.';
comment on column billing.user_subscriptions.anchor_at is 'Time that sets the day and time of month (UTC) at which periods start; shorter months use their last day.';
comment on column billing.user_subscriptions.current_period_start is 'Start of the current period (inclusive).';
comment on column billing.user_subscriptions.current_period_end is 'End of the current period (exclusive); null for lifetime plans.';
comment on column billing.user_subscriptions.cancel_at_period_end is 'Whether the subscription ends with the current period instead of renewing.';
comment on column billing.user_subscriptions.pending_plan_id is 'The plan that applies from the next period; null if the plan does not change.';
comment on column billing.user_subscriptions.renewal_date is 'Day (UTC) of the next renewal; null if it does not renew.';
comment on column billing.user_subscriptions.trial_end is 'End of the trial; null if there was none.';
comment on column billing.user_subscriptions.past_due_since is 'Time since which a payment is overdue; null unless past_due.';
comment on column billing.user_subscriptions.paused_at is 'Time since which the subscription is paused; null unless paused.';
comment on column billing.user_subscriptions.ended_at is 'Time when it was canceled or expired; null while it is current.';
comment on column billing.user_subscriptions.quota_period_start is 'Start of the token quota''s period (inclusive).';
comment on column billing.user_subscriptions.quota_period_end is 'End of the token quota''s period (exclusive); a month for lifetime plans, otherwise the billing period.';
comment on column billing.user_subscriptions.quota_granted_from is 'Start of the latest period whose quota was granted; null before the first.';
comment on column billing.user_subscriptions.provider is 'Name of the payment provider that bills it; null if none does.';
comment on column billing.user_subscriptions.provider_subscription_id is 'Id of the subscription at the provider.';
comment on column billing.user_subscriptions.due_at is 'Time when the job next checks it: the end of the period (a day later if a provider bills it), or a week after a payment became overdue.';
comment on column billing.user_subscriptions.created_at is 'Time when the row was created.';
comment on column billing.user_subscriptions.updated_at is 'Time of the last change.';
comment on constraint user_subscriptions_status_check on billing.user_subscriptions is E'@name subscription_status\nStatus of a subscription.\ntrialing: In its free trial.\nactive: Paid and usable.\npast_due: Usable in its grace period although a payment failed.\npaused: Not usable until it is resumed.\ncanceled: Ended by a cancellation.\nexpired: Ended without a cancellation: unpaid, or revoked.';

create policy select_manager on billing.user_subscriptions
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_subscriptions'::text)));
comment on policy select_manager on billing.user_subscriptions is 'Users with manage_subscriptions read all subscriptions.';
create policy select_own on billing.user_subscriptions
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.user_subscriptions is 'Users read their own subscriptions.';

grant select on billing.user_subscriptions to :PLINTH_USER;

-- Views -----------------------------------------------------------------------------------------------

-- Grain: one row per user whose subscription gives access now: trialing, active, or past_due within the grace period.
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

comment on view billing.active_user_subscriptions is E'@primaryKey subscription_id\n@foreignKey (plan_id) references billing.subscription_plans (id)\n@foreignKey (user_id) references identity.users (id)\nGrain: one row per user whose subscription gives access now: trialing, active, or past_due within the grace period.';
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

grant select on billing.active_user_subscriptions to :PLINTH_USER;

-- Current prices. Grain: one row per model and currency.
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

comment on view billing.current_model_prices is E'@primaryKey model_id,currency\n@foreignKey (model_id) references llm.models (id)\nCurrent prices. Grain: one row per model and currency.';
comment on column billing.current_model_prices.model_id is 'The model.';
comment on column billing.current_model_prices.currency is 'ISO 4217 code of the prices.';
comment on column billing.current_model_prices.input_price_per_million_tokens is 'Price of 1,000,000 tokens sent to the model.';
comment on column billing.current_model_prices.output_price_per_million_tokens is 'Price of 1,000,000 tokens generated by the model.';
comment on column billing.current_model_prices.cached_input_price_per_million_tokens is 'Price of 1,000,000 cached tokens sent to the model, or null.';
comment on column billing.current_model_prices.effective_from is 'Time from which the price applies; null means always.';
comment on column billing.current_model_prices.effective_to is 'Time until which the price applies; null means until further notice.';
comment on column billing.current_model_prices.reasoning_price_per_million_tokens is 'Price of 1,000,000 reasoning tokens, or null.';

grant select on billing.current_model_prices to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Usage and cost by month. Grain: one row per user, month (UTC) and currency.
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

comment on view billing.monthly_usage is E'@primaryKey user_id,month,currency\nUsage and cost by month. Grain: one row per user, month (UTC) and currency.';
comment on column billing.monthly_usage.user_id is 'The account.';
comment on column billing.monthly_usage.month is 'First day of the month, UTC.';
comment on column billing.monthly_usage.currency is 'ISO 4217 code of cost.';
comment on column billing.monthly_usage.requests is 'Number of uses of models.';
comment on column billing.monthly_usage.total_tokens is 'Number of tokens sent and generated.';
comment on column billing.monthly_usage.unpriced_tokens is 'Number of tokens whose cost is unknown and not included in cost.';
comment on column billing.monthly_usage.cost is 'Exact cost of the priced tokens in units of currency.';

grant select on billing.monthly_usage to :PLINTH_USER;

-- Tokens that each open hold reserves, by grant. Grain: one row per open hold and grant.
create view billing.token_hold_allocations with (security_invoker=true) as
 select h.id as hold_id,
    a.grant_id,
    h.user_id,
    a.tokens,
    h.expires_at
   from billing.token_holds h
     cross join lateral unnest(h.grant_ids, h.grant_tokens) a(grant_id, tokens)
  where h.state = 'open'::text;

comment on view billing.token_hold_allocations is E'@primaryKey hold_id,grant_id\n@behavior -query:resource:list -query:resource:connection -query:resource:single\n@foreignKey (hold_id) references billing.token_holds (id)\n@foreignKey (grant_id) references billing.token_grants (id)\nTokens that each open hold reserves, by grant. Grain: one row per open hold and grant.';
comment on column billing.token_hold_allocations.hold_id is 'The hold.';
comment on column billing.token_hold_allocations.grant_id is 'The grant.';
comment on column billing.token_hold_allocations.user_id is 'The user.';
comment on column billing.token_hold_allocations.tokens is 'Number of the grant''s tokens that the hold reserves.';
comment on column billing.token_hold_allocations.expires_at is 'Time the hold expires.';

grant select on billing.token_hold_allocations to :PLINTH_USER;

-- Functions -------------------------------------------------------------------------------------------

-- Cancels the signed-in user's subscription at the end of its period (at once when past_due or paused). PL404 without a subscription, PL409 when it is already canceled or a provider bills it.
create or replace function billing.cancel_subscription()
  returns billing.user_subscriptions
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/cancel_subscription.sql

comment on function billing.cancel_subscription() is 'Cancels the signed-in user''s subscription at the end of its period (at once when past_due or paused). PL404 without a subscription, PL409 when it is already canceled or a provider bills it.';
revoke execute on function billing.cancel_subscription() from public;
grant execute on function billing.cancel_subscription() to :PLINTH_USER;

-- Changes the signed-in user's plan at the end of the period; naming the current plan revokes a planned change. PL402 for an upgrade, which begins with its payment.
create or replace function billing.change_plan(plan_id uuid)
  returns billing.user_subscriptions
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/change_plan.sql

comment on function billing.change_plan(plan_id uuid) is 'Changes the signed-in user''s plan at the end of the period; naming the current plan revokes a planned change. PL402 for an upgrade, which begins with its payment.';
revoke execute on function billing.change_plan(plan_id uuid) from public;
grant execute on function billing.change_plan(plan_id uuid) to :PLINTH_USER;

-- Trigger: rejects transitions that private.subscription_transitions does not list (PL409).
create or replace function billing.check_subscription_status()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/triggers/user_subscriptions.sql

comment on function billing.check_subscription_status() is 'Trigger: rejects transitions that private.subscription_transitions does not list (PL409).';
revoke execute on function billing.check_subscription_status() from public;

-- Returns the user's subscription that is trialing, active, past_due or paused, the caller's own by default; null if there is none.
create or replace function billing.current_subscription(user_id uuid default plinth.current_user_id())
  returns billing.user_subscriptions
  language sql
  stable; -- fixtures/billing/functions/current_subscription.sql

comment on function billing.current_subscription(user_id uuid) is 'Returns the user''s subscription that is trialing, active, past_due or paused, the caller''s own by default; null if there is none.';
revoke execute on function billing.current_subscription(user_id uuid) from public;
grant execute on function billing.current_subscription(user_id uuid) to :PLINTH_USER;

-- Ends a subscription at once. Needs manage_subscriptions (PL403). PL404, PL409.
create or replace function billing.end_subscription(user_id uuid)
  returns billing.user_subscriptions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/end_subscription.sql

comment on function billing.end_subscription(user_id uuid) is 'Ends a subscription at once. Needs manage_subscriptions (PL403). PL404, PL409.';
revoke execute on function billing.end_subscription(user_id uuid) from public;
grant execute on function billing.end_subscription(user_id uuid) to :PLINTH_USER;

-- Trigger: a change of a subscription may add or end tokens, so the ledger reads the entitlement again.
create or replace function billing.forget_entitlement()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/triggers/user_subscriptions.sql

comment on function billing.forget_entitlement() is 'Trigger: a change of a subscription may add or end tokens, so the ledger reads the entitlement again.';
revoke execute on function billing.forget_entitlement() from public;

-- Trigger: deletes the holds of a deleted account and keeps its usage without the user.
create or replace function billing.forget_usage_account()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/triggers/usage_tracking.sql

comment on function billing.forget_usage_account() is 'Trigger: deletes the holds of a deleted account and keeps its usage without the user.';
revoke execute on function billing.forget_usage_account() from public;

-- Grants a user a period of a plan: starts it, adds a period, or changes to it at once with proration. The same idempotency key again grants nothing more and returns the current subscription. Needs manage_subscriptions (PL403). PL404, PL409, PL422.
create or replace function billing.grant_subscription(user_id uuid, plan_id uuid, idempotency_key text default null::text)
  returns billing.user_subscriptions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/grant_subscription.sql

comment on function billing.grant_subscription(user_id uuid, plan_id uuid, idempotency_key text) is 'Grants a user a period of a plan: starts it, adds a period, or changes to it at once with proration. The same idempotency key again grants nothing more and returns the current subscription. Needs manage_subscriptions (PL403). PL404, PL409, PL422.';
revoke execute on function billing.grant_subscription(user_id uuid, plan_id uuid, idempotency_key text) from public;
grant execute on function billing.grant_subscription(user_id uuid, plan_id uuid, idempotency_key text) to :PLINTH_USER;

-- Returns whether the signed-in user's grants have this many tokens left now. It reserves nothing; reserve_tokens does.
create or replace function billing.has_tokens(amount bigint default 1)
  returns boolean
  language sql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/has_tokens.sql

comment on function billing.has_tokens(amount bigint) is 'Returns whether the signed-in user''s grants have this many tokens left now. It reserves nothing; reserve_tokens does.';
revoke execute on function billing.has_tokens(amount bigint) from public;
grant execute on function billing.has_tokens(amount bigint) to :PLINTH_USER;

-- Trigger: rejects changes to the terms of a plan's version (PL409).
create or replace function billing.keep_plan_terms()
  returns trigger
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/triggers/subscription_plans.sql

comment on function billing.keep_plan_terms() is 'Trigger: rejects changes to the terms of a plan''s version (PL409).';
revoke execute on function billing.keep_plan_terms() from public;

-- Trigger: numbers a new version of an offer and supersedes the previous one.
create or replace function billing.number_plan_version()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/triggers/subscription_plans.sql

comment on function billing.number_plan_version() is 'Trigger: numbers a new version of an offer and supersedes the previous one.';
revoke execute on function billing.number_plan_version() from public;

-- Stops a paid period's clock until its user resumes. Needs manage_subscriptions (PL403). PL404, PL409.
create or replace function billing.pause_subscription(user_id uuid)
  returns billing.user_subscriptions
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/pause_subscription.sql

comment on function billing.pause_subscription(user_id uuid) is 'Stops a paid period''s clock until its user resumes. Needs manage_subscriptions (PL403). PL404, PL409.';
revoke execute on function billing.pause_subscription(user_id uuid) from public;
grant execute on function billing.pause_subscription(user_id uuid) to :PLINTH_USER;

-- Trigger: records a change of plans or their prices in the audit log.
create or replace function billing.record_plan_change()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/record_plan_change.sql

comment on function billing.record_plan_change() is 'Trigger: records a change of plans or their prices in the audit log.';
revoke execute on function billing.record_plan_change() from public;

-- Reserves tokens of the signed-in user for five minutes; the same key again returns the same hold. QUOTA_EXCEEDED when the tokens left do not cover it, CONFLICT for a key that was used with other arguments, NOT_FOUND for a model that the user may not use.
create or replace function billing.reserve_tokens(model_id uuid, max_tokens bigint, idempotency_key text)
  returns billing.token_holds
  language plpgsql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/reserve_tokens.sql

comment on function billing.reserve_tokens(model_id uuid, max_tokens bigint, idempotency_key text) is 'Reserves tokens of the signed-in user for five minutes; the same key again returns the same hold. QUOTA_EXCEEDED when the tokens left do not cover it, CONFLICT for a key that was used with other arguments, NOT_FOUND for a model that the user may not use.';
revoke execute on function billing.reserve_tokens(model_id uuid, max_tokens bigint, idempotency_key text) from public;
grant execute on function billing.reserve_tokens(model_id uuid, max_tokens bigint, idempotency_key text) to :PLINTH_USER;

-- Revokes a cancellation before the period ends, or resumes a paused subscription. PL404 without a subscription, PL409 when there is nothing to resume.
create or replace function billing.resume_subscription()
  returns billing.user_subscriptions
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/resume_subscription.sql

comment on function billing.resume_subscription() is 'Revokes a cancellation before the period ends, or resumes a paused subscription. PL404 without a subscription, PL409 when there is nothing to resume.';
revoke execute on function billing.resume_subscription() from public;
grant execute on function billing.resume_subscription() to :PLINTH_USER;

-- Creates a new version of a plan with some terms changed, given by column name. Needs manage_plans. PL404, PL409, PL422.
create or replace function billing.revise_plan(plan_id uuid, changes jsonb)
  returns billing.subscription_plans
  language plpgsql
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/revise_plan.sql

comment on function billing.revise_plan(plan_id uuid, changes jsonb) is 'Creates a new version of a plan with some terms changed, given by column name. Needs manage_plans. PL404, PL409, PL422.';
revoke execute on function billing.revise_plan(plan_id uuid, changes jsonb) from public;
grant execute on function billing.revise_plan(plan_id uuid, changes jsonb) to :PLINTH_USER;

-- Subscribes the signed-in user to a free plan, or starts a plan's trial, once per user. PL402 for a plan that must be paid, PL409 if the user already has a subscription.
create or replace function billing.subscribe(plan_id uuid)
  returns billing.user_subscriptions
  language sql
  security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/subscribe.sql

comment on function billing.subscribe(plan_id uuid) is 'Subscribes the signed-in user to a free plan, or starts a plan''s trial, once per user. PL402 for a plan that must be paid, PL409 if the user already has a subscription.';
revoke execute on function billing.subscribe(plan_id uuid) from public;
grant execute on function billing.subscribe(plan_id uuid) to :PLINTH_USER;

-- Returns the signed-in user's tokens: left, held, used this month, by grant, and when they run out at the current rate. Null for a visitor.
create or replace function billing.token_balance()
  returns billing.token_balance
  language plpgsql
  stable security definer
  set search_path to 'pg_catalog'; -- fixtures/billing/functions/token_balance.sql

comment on function billing.token_balance() is 'Returns the signed-in user''s tokens: left, held, used this month, by grant, and when they run out at the current rate. Null for a visitor.';
revoke execute on function billing.token_balance() from public;
grant execute on function billing.token_balance() to :PLINTH_USER;
