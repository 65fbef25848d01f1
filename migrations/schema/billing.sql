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
  cost numeric(38,12) not null default 0,
  currency text not null default 'USD'::text,
  constraint daily_usage_pkey primary key (id),
  constraint daily_usage_user_id_day_model_id_key unique (user_id, day, model_id),
  constraint daily_usage_totals_are_not_negative check (least(total_tokens::numeric, overdraft_tokens::numeric, cost) >= 0::numeric),
  constraint daily_usage_model_id_fkey foreign key (model_id) references llm.models(id) on delete restrict,
  constraint daily_usage_user_id_fkey foreign key (user_id) references billing.usage_tracking(user_id) on delete set null
) with (fillfactor=50);

alter table billing.daily_usage enable row level security;

create index daily_usage_model_id_day_idx on billing.daily_usage using btree (model_id, day);
create unique index daily_usage_user_id_day_idx on billing.daily_usage using btree (user_id, day) where (model_id is null);

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
  input_price_per_million_tokens numeric(18,6) not null,
  output_price_per_million_tokens numeric(18,6) not null,
  cached_input_price_per_million_tokens numeric(18,6),
  effective_from timestamp with time zone,
  effective_to timestamp with time zone,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  reasoning_price_per_million_tokens numeric(18,6),
  constraint model_prices_pkey primary key (id),
  constraint model_prices_cached_input_price_is_not_negative check (cached_input_price_per_million_tokens >= 0::numeric and cached_input_price_per_million_tokens <> 'NaN'::numeric),
  constraint model_prices_currency_check check (currency ~ '^[A-Z]{3}$'::text),
  constraint model_prices_effective_from_before_effective_to check (effective_from < effective_to),
  constraint model_prices_input_price_is_not_negative check (input_price_per_million_tokens >= 0::numeric and input_price_per_million_tokens <> 'NaN'::numeric),
  constraint model_prices_output_price_is_not_negative check (output_price_per_million_tokens >= 0::numeric and output_price_per_million_tokens <> 'NaN'::numeric),
  constraint model_prices_reasoning_price_is_not_negative check (reasoning_price_per_million_tokens >= 0::numeric and reasoning_price_per_million_tokens <> 'NaN'::numeric),
  constraint model_prices_periods_do_not_overlap exclude using gist (model_id with =, currency with =, tstzrange(effective_from, effective_to) with &&),
  constraint model_prices_model_id_fkey foreign key (model_id) references llm.models(id) on delete cascade
);

alter table billing.model_prices enable row level security;

create index model_prices_model_id_effective_from_idx on billing.model_prices using btree (model_id, effective_from);

create trigger _900_touch_updated_at
  before update on billing.model_prices
  for each row
  execute function plinth.touch_updated_at();

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
  constraint token_grants_source_check check (source = any (array['plan'::text, 'purchase'::text, 'manual'::text, 'promotion'::text, 'rollover'::text])),
  constraint token_grants_user_id_fkey foreign key (user_id) references billing.usage_tracking(user_id) on delete cascade
) with (fillfactor=50);

alter table billing.token_grants enable row level security;

create index token_grants_expires_at_idx on billing.token_grants using btree (expires_at) where (retired_at is null);
create index token_grants_source_id_idx on billing.token_grants using btree (source_id) where (source_id is not null);
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
  constraint token_holds_user_id_idempotency_key_key unique (user_id, idempotency_key),
  constraint token_holds_state_check check ((state = any (array['open'::text, 'settled'::text, 'released'::text, 'expired'::text])) and (state = 'settled'::text) = (usage_event_id is not null))
) with (fillfactor=70);

alter table billing.token_holds enable row level security;

create index token_holds_open_idx on billing.token_holds using btree (user_id, expires_at) where (state = 'open'::text);

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
  constraint usage_events_pkey primary key (id, created_at),
  constraint usage_events_counts_add_up check (total_tokens = (input_tokens + output_tokens) and total_tokens = (charged_tokens + overdraft_tokens) and (kind = 'correction'::text or cached_input_tokens >= 0 and cached_input_tokens <= input_tokens and reasoning_tokens >= 0 and reasoning_tokens <= output_tokens and overdraft_tokens >= 0)),
  constraint usage_events_kind_check check ((kind = any (array['usage'::text, 'correction'::text])) and (kind = 'correction'::text) = (corrects_event_id is not null)),
  constraint usage_events_priced_has_a_cost check (is_priced = (cost is not null))
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
  plan_name text,
  period text not null,
  max_tokens bigint not null,
  is_hard boolean not null default true,
  created_at timestamp with time zone not null default now(),
  updated_at timestamp with time zone not null default now(),
  constraint usage_limits_pkey primary key (id),
  constraint usage_limits_one_per_scope unique nulls not distinct (user_id, model_id, plan_name, period, is_hard),
  constraint usage_limits_either_a_user_or_a_plan check (user_id is null or plan_name is null),
  constraint usage_limits_max_tokens_is_not_negative check (max_tokens >= 0),
  constraint usage_limits_period_check check (period = any (array['day'::text, 'month'::text])),
  constraint usage_limits_model_id_fkey foreign key (model_id) references llm.models(id) on delete cascade,
  constraint usage_limits_user_id_fkey foreign key (user_id) references identity.users(id) on delete cascade
);

alter table billing.usage_limits enable row level security;

create index usage_limits_model_id_idx on billing.usage_limits using btree (model_id);

create trigger _900_touch_updated_at
  before update on billing.usage_limits
  for each row
  execute function plinth.touch_updated_at();

comment on table billing.usage_limits is 'One row per limit on what each user may use in a day or month (UTC). Whom and what it names narrows it: a limit that names nobody holds for everybody, each by themselves. All that apply hold.';
comment on column billing.usage_limits.id is 'UUIDv7.';
comment on column billing.usage_limits.user_id is 'Only this user; null for every user.';
comment on column billing.usage_limits.model_id is 'Only tokens of this model; null for tokens of all models together.';
comment on column billing.usage_limits.plan_name is 'Only users of this plan; null for every plan.';
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
  insert (user_id, model_id, plan_name, period, max_tokens, is_hard),
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

create policy select_own on billing.usage_tracking
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.usage_tracking is 'Users read their own totals.';

grant select on billing.usage_tracking to :PLINTH_USER;

-- Views -----------------------------------------------------------------------------------------------

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

-- Trigger: holds go with their account, usage stays without a name.
create or replace function billing.forget_usage_account()
  returns trigger
  language plpgsql
  security definer
  set search_path to 'pg_catalog'
as $$
begin
  delete from billing.token_holds h where h.user_id = old.user_id;
  update billing.usage_events e set user_id = null where e.user_id = old.user_id;
  return null;
end
$$;

comment on function billing.forget_usage_account() is 'Trigger: holds go with their account, usage stays without a name.';
revoke execute on function billing.forget_usage_account() from public;

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
