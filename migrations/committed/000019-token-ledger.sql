--! Previous: sha1:b15b92e6288df0558593c75c0e599e812fa24af1
--! Hash: sha1:e4072bc525756aead52c27cae625221840a6a603
--! Message: token ledger

-- The token ledger: who may use how many tokens (grants), what is set aside for calls under way (holds), what was used and
-- what it cost (events), and the totals of it. Rules and worked examples: docs/billing.md.
--
-- Everything that moves a user's tokens first locks the user's row of billing.usage_tracking, so that calls for one user
-- follow each other and those for different users never meet. Lock order, after account and session:
-- subscription → chat → usage_tracking → token_holds → token_grants → daily_usage. The ledger's own tables refer to
-- usage_tracking and not to users, because its row is locked already: no call waits for a row twice, and deleting an
-- account (users → usage_tracking → the rest) takes locks in the same order.
--
-- The tables that every call writes carry few CHECKs and no foreign key: PostgreSQL reads each constraint anew in each
-- statement, which took half of a call's time. What cannot change after the insert is checked by the only functions that
-- insert; what must hold at every change is a CHECK.

-- Some providers charge thinking differently from writing.
alter table billing.model_prices
  add column reasoning_price_per_million_tokens numeric(18, 6),
  add constraint model_prices_reasoning_price_is_not_negative
    check (reasoning_price_per_million_tokens >= 0 and reasoning_price_per_million_tokens <> 'NaN');

comment on column billing.model_prices.reasoning_price_per_million_tokens is
  'Price of 1,000,000 tokens the model thinks; null when they cost what it writes.';

drop function private.wanted_prices(jsonb);
--! Included private/functions/wanted_prices.sql
-- The price periods of an imported model, as rows shaped like billing.model_prices.
create or replace function private.wanted_prices(price_history jsonb)
  returns table (
    input_price numeric,
    output_price numeric,
    cached_input_price numeric,
    reasoning_price numeric,
    effective_from timestamptz,
    effective_to timestamptz
  )
  language sql
  stable
  set search_path = pg_catalog
  -- A date is its midnight in UTC.
  set timezone = 'UTC'
as $$
  select
    (h ->> 'input')::numeric(18, 6),
    (h ->> 'output')::numeric(18, 6),
    (h ->> 'inputCached')::numeric(18, 6),
    (h ->> 'reasoning')::numeric(18, 6),
    (h ->> 'from')::date,
    (h ->> 'to')::date
  from jsonb_array_elements(coalesce(price_history, '[]')) h
$$;

comment on function private.wanted_prices(jsonb) is 'Reads the price history of a model to import; USD per million tokens.';
--! EndIncluded private/functions/wanted_prices.sql
--! Included private/functions/import_models.sql
-- Imports models with their price history, each or not at all:
-- {vendor, id, name, priceHistory: [{input, output, inputCached, reasoning, from, to}]}, prices in USD per million tokens, from and to
-- dates (midnight UTC) or null. The file is the whole truth of a model's USD prices: periods it no longer names are removed.
-- Repeating it changes nothing. A rejected model leaves no trace; whether the others stay is the caller's decision.
create or replace function private.import_models(models jsonb, make_public boolean default false)
  returns table (ordinal integer, outcome text, message text)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_model jsonb;
  v_provider_id uuid;
  v_model_id uuid;
  v_inserted boolean;
  v_changed boolean;
  v_count integer;
begin
  for v_model, ordinal in
    select m.value, m.ordinality::integer from jsonb_array_elements(import_models.models) with ordinality m
  loop
    message := null;
    begin
      -- Without this a file that forgot its prices would remove them.
      if jsonb_typeof(v_model -> 'priceHistory') is distinct from 'array' then
        raise exception 'priceHistory must be an array.' using errcode = 'PL422';
      end if;
      insert into llm.model_providers as p (name) values (trim(v_model ->> 'vendor'))
      on conflict on constraint model_providers_name_key do nothing;
      select p.id into strict v_provider_id from llm.model_providers p where p.name = trim(v_model ->> 'vendor');

      insert into llm.models as m (provider_id, name, display_name, is_public)
      values (v_provider_id, trim(v_model ->> 'id'), trim(v_model ->> 'name'), import_models.make_public)
      on conflict on constraint models_provider_id_name_key do update
      set display_name = excluded.display_name, is_public = m.is_public or excluded.is_public
      where (m.display_name, m.is_public) is distinct from (excluded.display_name, m.is_public or excluded.is_public)
      returning m.id, m.xmax = 0 into v_model_id, v_inserted;
      v_changed := found;
      if not found then
        v_inserted := false;
        select m.id into strict v_model_id
        from llm.models m
        where m.provider_id = v_provider_id and m.name = trim(v_model ->> 'id');
      end if;

      -- What is as wanted stays, the rest makes room before the new periods come in.
      delete from billing.model_prices p
      where p.model_id = v_model_id
        and p.currency = 'USD'
        and not exists (
          select
          from private.wanted_prices(v_model -> 'priceHistory') w
          where (
            w.input_price, w.output_price, w.cached_input_price, w.reasoning_price, w.effective_from, w.effective_to
          ) is not distinct from (
            p.input_price_per_million_tokens, p.output_price_per_million_tokens,
            p.cached_input_price_per_million_tokens, p.reasoning_price_per_million_tokens, p.effective_from, p.effective_to
          )
        );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      insert into billing.model_prices (
        model_id, input_price_per_million_tokens, output_price_per_million_tokens,
        cached_input_price_per_million_tokens, reasoning_price_per_million_tokens, effective_from, effective_to
      )
      select
        v_model_id, w.input_price, w.output_price, w.cached_input_price, w.reasoning_price, w.effective_from, w.effective_to
      from private.wanted_prices(v_model -> 'priceHistory') w
      where not exists (
        select
        from billing.model_prices p
        where p.model_id = v_model_id
          and p.currency = 'USD'
          and (w.effective_from, w.effective_to) is not distinct from (p.effective_from, p.effective_to)
      );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      outcome := case when v_inserted then 'inserted' when v_changed then 'updated' else 'unchanged' end;
    exception
      when data_exception or integrity_constraint_violation or no_data_found or sqlstate 'PL422' then
        outcome := 'rejected';
        message := sqlerrm;
    end;
    return next;
  end loop;
end
$$;

comment on function private.import_models(jsonb, boolean) is
  'Imports an array of models with prices; one answer a model: inserted, updated, unchanged or rejected with the reason.';
--! EndIncluded private/functions/import_models.sql
--! Included billing/policies/model_prices.sql
-- Who sees a model sees its prices; manage_models writes them.
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
comment on policy select_usable on billing.model_prices is 'Who may use a model reads its prices.';

drop policy if exists all_manager on billing.model_prices;
create policy all_manager on billing.model_prices
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_models')))
  with check ((select access.has_permission('manage_models')));
comment on policy all_manager on billing.model_prices is 'The permission manage_models reads and writes all prices.';
--! EndIncluded billing/policies/model_prices.sql
--! Included billing/views/current_model_prices.sql
-- Today's prices. Grain: one row per model and currency that has a price now. Invoker rights: who asks sees the prices of
-- the models they may use.
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
  E'@primaryKey model_id,currency\n@foreignKey (model_id) references llm.models (id)\nPrices that hold now: one row per model and currency.';
comment on column billing.current_model_prices.model_id is 'The model.';
comment on column billing.current_model_prices.currency is 'ISO 4217 code.';
comment on column billing.current_model_prices.input_price_per_million_tokens is 'Price of 1,000,000 tokens sent to the model.';
comment on column billing.current_model_prices.output_price_per_million_tokens is 'Price of 1,000,000 tokens the model writes.';
comment on column billing.current_model_prices.cached_input_price_per_million_tokens is 'Price of 1,000,000 cached tokens sent, or null.';
comment on column billing.current_model_prices.effective_from is 'Since when; null means always.';
comment on column billing.current_model_prices.effective_to is 'Until when; null means until further notice.';
comment on column billing.current_model_prices.reasoning_price_per_million_tokens is 'Price of 1,000,000 tokens the model thinks, or null.';
revoke all on billing.current_model_prices from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.current_model_prices to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded billing/views/current_model_prices.sql
--! Included analytics/views/model_catalogue.sql
-- All models, usable or not, with the price of today.
create or replace view analytics.model_catalogue
  with (security_barrier = true)
as
select
  m.id as model_id,
  p.name as provider_name,
  m.name as model_name,
  m.display_name,
  m.is_active and p.is_active as is_active,
  m.is_public,
  mp.currency,
  mp.input_price_per_million_tokens,
  mp.output_price_per_million_tokens,
  mp.cached_input_price_per_million_tokens,
  mp.effective_from as price_effective_from,
  mp.reasoning_price_per_million_tokens
from llm.models m
join llm.model_providers p on p.id = m.provider_id
left join billing.model_prices mp
  on mp.model_id = m.id
  and tstzrange(mp.effective_from, mp.effective_to) @> now();

comment on view analytics.model_catalogue is 'Grain: one row per model and currency of its price today; models without a price have one row.';
comment on column analytics.model_catalogue.model_id is 'The model.';
comment on column analytics.model_catalogue.provider_name is 'Its provider.';
comment on column analytics.model_catalogue.model_name is 'The provider''s name for it.';
comment on column analytics.model_catalogue.display_name is 'Name shown to people.';
comment on column analytics.model_catalogue.is_active is 'Whether model and provider are active.';
comment on column analytics.model_catalogue.is_public is 'Whether every signed-in user may use it.';
comment on column analytics.model_catalogue.currency is 'ISO 4217 code; null without a price.';
comment on column analytics.model_catalogue.input_price_per_million_tokens is 'Price of 1,000,000 tokens sent to the model.';
comment on column analytics.model_catalogue.output_price_per_million_tokens is 'Price of 1,000,000 tokens the model writes.';
comment on column analytics.model_catalogue.cached_input_price_per_million_tokens is 'Price of 1,000,000 cached tokens sent.';
comment on column analytics.model_catalogue.price_effective_from is 'Since when the price holds; null means always.';
comment on column analytics.model_catalogue.reasoning_price_per_million_tokens is
  'Price of 1,000,000 tokens the model thinks; null when they cost what it writes.';
grant select on analytics.model_catalogue to :PLINTH_ANALYST;
--! EndIncluded analytics/views/model_catalogue.sql

-- The account of a user: the one row that every movement of tokens locks. It is written by each settlement, so pages keep
-- room for heap-only updates and no index holds a column that changes with them.
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

-- Whom the monthly reset has not reached yet.
create index usage_tracking_last_reset_idx on billing.usage_tracking (last_reset);
-- Whose holds are due.
create index usage_tracking_next_hold_expires_at_idx on billing.usage_tracking (next_hold_expires_at)
  where next_hold_expires_at is not null;

comment on table billing.usage_tracking is
  'One row per user who ever had tokens: what was used, always the sum of the user''s usage_events.';
comment on column billing.usage_tracking.user_id is 'The account.';
comment on column billing.usage_tracking.token_count is
  'Tokens used since last_reset, by the time they were used. A user without use since may still carry the count of an earlier month until the job resets it.';
comment on column billing.usage_tracking.lifetime_tokens is 'Tokens ever used.';
comment on column billing.usage_tracking.last_reset is
  'Start of the period that token_count counts: the first moment of a month, UTC.';
comment on column billing.usage_tracking.next_hold_expires_at is
  'No open hold ends before this; null means there is none to look for.';
comment on column billing.usage_tracking.entitled_until is
  'Until when the user has been given all that the plan gives; see private.ensure_current_grants.';

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
  -- The promise of the ledger.
  constraint token_grants_never_give_more_than_they_have check (consumed >= 0 and held >= 0 and consumed + held <= amount)
) with (fillfactor = 50);

alter table billing.token_grants enable row level security;

-- What a reserve looks through, so that years of used-up grants cost nothing.
create index token_grants_user_id_live_idx on billing.token_grants (user_id) where retired_at is null;
-- What the job retires.
create index token_grants_expires_at_idx on billing.token_grants (expires_at) where retired_at is null;

comment on table billing.token_grants is
  'One row per right to use tokens: amount = consumed + held + what is left. Never deleted but with the account.';
comment on column billing.token_grants.id is 'UUIDv7.';
comment on column billing.token_grants.user_id is 'Whose tokens.';
comment on column billing.token_grants.amount is 'Tokens granted; null means without limit while it is in force.';
comment on column billing.token_grants.consumed is 'Tokens charged to it.';
comment on column billing.token_grants.held is 'Tokens set aside by open holds.';
comment on column billing.token_grants.priority is 'Lower goes first; then the one that ends first; then the oldest.';
comment on column billing.token_grants.starts_at is 'First moment it can be used.';
comment on column billing.token_grants.expires_at is
  'First moment nothing new can be taken from it; null means never. Holds made before keep what they hold.';
comment on column billing.token_grants.source is 'plan, purchase, manual, promotion or rollover.';
comment on column billing.token_grants.source_id is 'What gave it: a subscription, a payment; null when nothing did.';
comment on column billing.token_grants.idempotency_key is 'Of the call that made it; a user''s keys are unique.';
comment on column billing.token_grants.closed_at is 'When its plan''s period was closed and the rest carried over; null when not.';
comment on column billing.token_grants.retired_at is
  'When the job saw that nothing can be taken from it any more; null while it is looked at.';
comment on column billing.token_grants.created_at is 'When it was made.';

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

-- Those that may be open, by user: see usage_tracking.next_hold_expires_at. Without state, so that a settlement changes no
-- index (heap-only).
create index token_holds_user_id_expires_at_idx on billing.token_holds (user_id, expires_at);

comment on table billing.token_holds is
  E'@foreignKey (user_id) references identity.users (id)\n@foreignKey (model_id) references llm.models (id)\nOne row per reservation: tokens set aside for a call to a model that is under way. Kept when it ends: it is the memory of its idempotency key.';
comment on column billing.token_holds.id is 'UUIDv7.';
comment on column billing.token_holds.user_id is 'Whose tokens; see billing.forget_usage_account for why it is no foreign key.';
comment on column billing.token_holds.model_id is
  'The model; no foreign key, because its row would be locked by everybody''s every call. The row of daily_usage has one.';
comment on column billing.token_holds.max_tokens is 'Tokens set aside.';
comment on column billing.token_holds.grant_ids is 'The grants they were taken from, in order; see billing.token_hold_allocations.';
comment on column billing.token_holds.grant_tokens is 'How many from each.';
comment on column billing.token_holds.state is
  'open, settled, released or expired. An open hold past expires_at counts as expired, whatever is written here.';
comment on column billing.token_holds.idempotency_key is 'Of the reserve that made it; a user''s keys are unique.';
comment on column billing.token_holds.expires_at is 'When the tokens go back by themselves.';
comment on column billing.token_holds.settled_at is 'When the usage was recorded; null while or when it was not.';
comment on column billing.token_holds.usage_event_id is 'The usage; null while or when there is none.';
comment on column billing.token_holds.created_at is 'When it was made.';

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

-- One user's events by time.
create index usage_events_user_id_occurred_at_idx on billing.usage_events (user_id, occurred_at);
-- The corrections of an event.
create index usage_events_corrects_event_id_idx on billing.usage_events (corrects_event_id) where corrects_event_id is not null;

comment on table billing.usage_events is
  E'@foreignKey (user_id) references identity.users (id)\n@foreignKey (model_id) references llm.models (id)\nOne row per use of a model, or correction of one; append-only, partitioned by month of created_at. Sums over it are the truth, corrections counting as the differences they are.';
comment on column billing.usage_events.id is 'UUIDv7.';
comment on column billing.usage_events.user_id is
  'Who used it; null when the account was deleted. See billing.forget_usage_account for why it is no foreign key.';
comment on column billing.usage_events.model_id is
  'The model; null when nobody said. No foreign key: the row of daily_usage made with it has one, and keeps the model.';
comment on column billing.usage_events.chat_id is 'The chat, which may be gone: usage outlives it.';
comment on column billing.usage_events.message_id is
  'The message, which may be gone. No foreign key: deleting a chat would search every partition for each of its messages.';
comment on column billing.usage_events.hold_id is 'The hold it settled; null for others.';
comment on column billing.usage_events.kind is 'usage, or correction: the difference to what was recorded before.';
comment on column billing.usage_events.source is
  'hold (settled), service (recorded without a hold), message (tokens_used written by a service), self_reported (tokens_used written by the user).';
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

-- A key is unique in a user's ledger for good, a partition's index only within a month.
create table private.usage_keys (
  user_id uuid not null references billing.usage_tracking on delete cascade,
  operation text not null,
  idempotency_key text not null,
  arguments jsonb not null,
  event_id uuid,
  amount bigint,
  primary key (user_id, operation, idempotency_key),
  constraint usage_keys_operation_check check (operation in ('record', 'correct', 'close_grant', 'message')),
  constraint usage_keys_idempotency_key_check check (length(idempotency_key) between 1 and 255)
);

alter table private.usage_keys enable row level security;

comment on table private.usage_keys is
  'One row per idempotency key of a call that made no hold and no grant, and per message whose tokens were counted.';
comment on column private.usage_keys.user_id is 'Whose ledger.';
comment on column private.usage_keys.operation is 'record, correct, close_grant, or message (the key is the message''s id).';
comment on column private.usage_keys.idempotency_key is 'The caller''s key.';
comment on column private.usage_keys.arguments is 'What it was called with, so that another call with the same key is told apart.';
comment on column private.usage_keys.event_id is 'The event it made; null when it made none.';
comment on column private.usage_keys.amount is 'What close_grant answered: tokens carried over.';

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
  cost numeric(38, 12) not null default 0,
  currency text not null default 'USD',
  -- Rows of deleted accounts have no user and stay apart, each with its numbers. Also serves the foreign key.
  constraint daily_usage_user_id_day_model_id_key unique (user_id, day, model_id),
  constraint daily_usage_totals_are_not_negative check (least(total_tokens, overdraft_tokens, cost) >= 0)
) with (fillfactor = 50);

alter table billing.daily_usage enable row level security;

-- Usage of which nobody named the model.
create unique index daily_usage_user_id_day_idx on billing.daily_usage (user_id, day) where model_id is null;
-- Use of a model over time; also serves the foreign key.
create index daily_usage_model_id_day_idx on billing.daily_usage (model_id, day);

comment on table billing.daily_usage is
  'One row per user, model and day (UTC) of use: always the sum of its usage_events, late and corrected ones at the day they occurred.';
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
  'One row per limit on what each user may use in a day or month (UTC). Whom and what it names narrows it: a limit that names nobody holds for everybody, each by themselves. All that apply hold.';
comment on column billing.usage_limits.id is 'UUIDv7.';
comment on column billing.usage_limits.user_id is 'Only this user; null for every user.';
comment on column billing.usage_limits.model_id is 'Only tokens of this model; null for tokens of all models together.';
comment on column billing.usage_limits.plan_code is
  'Only users on plans of this code, such as free; null for every plan.';
comment on column billing.usage_limits.period is 'day or month, in UTC.';
comment on column billing.usage_limits.max_tokens is 'Tokens a user may use in the period; 0 forbids.';
comment on column billing.usage_limits.is_hard is
  'Hard: reserve refuses what would pass it. Soft: it is only told, in tokenBalance.';
comment on column billing.usage_limits.created_at is 'When it was made.';
comment on column billing.usage_limits.updated_at is 'When it last changed.';

-- What tokenBalance answers.
create type billing.grant_balance as (
  grant_id uuid,
  source text,
  available bigint,
  held bigint,
  expires_at timestamptz
);
comment on type billing.grant_balance is 'What is left of one grant in force; available is null when it has no limit.';

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
  'The signed-in user''s tokens now. available is null when a grant without limit is in force; exhausted_at is when they run out at the mean of the last seven whole days, null when they do not.';

--! Included private/functions/current_plan_code.sql
-- Which plan's limits hold for a user: as identity.users_tier says, whoever asks.
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
  'Code of the plan that the user is on (trialing, active or past_due), or free.';
--! EndIncluded private/functions/current_plan_code.sql
--! Included private/functions/expire_user_holds.sql
-- Gives back what overdue holds of a user keep. The caller holds the user's lock.
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
  'Expires the holds of a user that ended from one moment (next_hold_expires_at) to another; returns when the next one is. The caller has locked the user''s row of usage_tracking.';
--! EndIncluded private/functions/expire_user_holds.sql
--! Included private/functions/lock_usage.sql
-- The lock that makes a user's ledger serial: their row of usage_tracking, made when it is first needed. What time has done
-- since is settled on the way: due holds have expired and the count is that of the month.
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
        raise exception 'There is no such account.' using errcode = 'PL404', column = 'user_id';
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
  'Locks a user''s ledger until the end of the transaction, due holds expired and the month begun; returns a time before which no open hold ends, null without one. PL404 for no such account.';
--! EndIncluded private/functions/lock_usage.sql
--! Included private/functions/try_lock_usage.sql
-- For jobs that hold several accounts.
create or replace function private.try_lock_usage(user_id uuid)
  returns boolean
  language plpgsql
  volatile
as $$
begin
  perform from billing.usage_tracking t where t.user_id = try_lock_usage.user_id for no key update skip locked;
  return found or not exists (select from billing.usage_tracking t where t.user_id = try_lock_usage.user_id);
end
$$;

comment on function private.try_lock_usage(uuid) is
  'Locks a user''s ledger, unless somebody else holds it: false then. A ledger that is not there yet is nobody''s.';
--! EndIncluded private/functions/try_lock_usage.sql
--! Included private/functions/take_tokens.sql
-- The order of consumption, in one place: priority, then the grant that ends first, then the oldest. Takes as much as the
-- grants in force have, for a hold or for good, and says what is missing. The caller holds the user's lock.
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
  -- Mostly the first grant has enough.
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
      -- Seen once more and then never again.
      update billing.token_grants g set retired_at = take_tokens.at where g.id = v_grant.id;
    end if;
    -- Without an amount there is always enough.
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
  'Takes tokens from the user''s grants in force, in their order, and says from which, how many, and how many are missing.';
--! EndIncluded private/functions/take_tokens.sql
--! Included private/functions/post_usage_event.sql
-- The one way into usage_events, and so the one place where the totals grow: what is added to the events is added to
-- usage_tracking and daily_usage in the same statement, since each statement of its own costs as much again. Usage is priced
-- here, by what was in force when it occurred; a correction comes with the prices pinned to what it corrects. The caller
-- holds the user's lock.
create or replace function private.post_usage_event(event billing.usage_events)
  returns billing.usage_events
  language plpgsql
  volatile
as $$
declare
  v_day date := (event.occurred_at at time zone 'UTC')::date;
  v_price record;
  v_is_counted boolean;
begin
  event.currency := 'USD';
  event.total_tokens := event.input_tokens + event.output_tokens;
  event.charged_tokens := event.total_tokens - event.overdraft_tokens;
  if event.kind = 'usage' then
    -- As llm.models_price says, by the index that is cheap to read.
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
  -- Multiplied and not divided: a product of numerics is exact.
  event.cost := 0.000001 * (
    (event.input_tokens - event.cached_input_tokens) * event.input_price_per_million_tokens
    + event.cached_input_tokens * event.cached_input_price_per_million_tokens
    + (event.output_tokens - event.reasoning_tokens) * event.output_price_per_million_tokens
    + event.reasoning_tokens * event.reasoning_price_per_million_tokens
  );

  with added as (
    insert into billing.usage_events values (event.*)
  ),
  tracked as (
    update billing.usage_tracking t
    set
      token_count = t.token_count + case when event.occurred_at >= t.last_reset then event.total_tokens else 0 end,
      lifetime_tokens = t.lifetime_tokens + event.total_tokens
    where t.user_id = event.user_id
  ),
  counted as (
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
      and (d.model_id = event.model_id or (d.model_id is null and event.model_id is null))
    returning true as is_counted
  )
  select c.is_counted into v_is_counted from counted c;
  if v_is_counted is null then
    -- First of the day. Nobody else can be making it: they would need the user's lock.
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
  'Prices an event, adds it and keeps the totals; returns it as stored. The caller has locked the user''s ledger.';
--! EndIncluded private/functions/post_usage_event.sql
--! Included private/functions/apply_correction.sql
-- Restates a usage by adding the difference, at the day it occurred and for the price pinned then. More usage is charged as
-- new usage would be, now. Less pays off the overdraft first, then goes back to the grants it came from, the last one first;
-- what returns to a grant that has ended is of no more use. The caller holds the user's lock.
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
  'Adds the event that brings a usage to these counts; returns it. The caller has locked the user''s ledger.';
--! EndIncluded private/functions/apply_correction.sql
--! Included private/functions/check_token_counts.sql
-- Counts come from providers' answers; one that cannot be true must not reach the books.
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
    raise exception '% is not a possible number of tokens.', v_column
      using errcode = 'PL422', column = v_column,
        hint = 'Cached tokens are part of the input, reasoning tokens of the output.';
  end if;
  return true;
end
$$;

comment on function private.check_token_counts(bigint, bigint, bigint, bigint) is
  'PL422 unless 0 <= cached <= input and 0 <= reasoning <= output, each up to 10^12; true then.';
--! EndIncluded private/functions/check_token_counts.sql
--! Included private/functions/used_key.sql
-- What was answered to a key before. The caller holds the user's lock, so nobody is using it now.
create or replace function private.used_key(user_id uuid, operation text, idempotency_key text, arguments jsonb)
  returns private.usage_keys
  language plpgsql
  stable
as $$
declare
  v_key private.usage_keys;
begin
  if length(used_key.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key has 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  select k.* into v_key
  from private.usage_keys k
  where k.user_id = used_key.user_id
    and k.operation = used_key.operation
    and k.idempotency_key = used_key.idempotency_key;
  if found and v_key.arguments <> used_key.arguments then
    raise exception 'The idempotency key was used with other arguments.' using errcode = 'PL409', column = 'idempotency_key';
  end if;
  return v_key;
end
$$;

comment on function private.used_key(uuid, text, text, jsonb) is
  'The key as it was used, or nulls. PL409 when it was used with other arguments, PL422 for no key.';
--! EndIncluded private/functions/used_key.sql
--! Included private/functions/claim_message.sql
-- A message is counted once. When a service settles what a message used, that is the truth: what the message itself had
-- reported is taken back, and later changes of its tokens_used move nothing.
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
--! EndIncluded private/functions/claim_message.sql
--! Included private/functions/limits_passed.sql
-- How many of the limits that apply to a user would be passed by this many more tokens. Sums days, of which a month has 31
-- a model, never events. Tokens on hold count as used.
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
    -- Without a model all limits are asked about.
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
  'How many hard or soft limits of a user (on a model, or all) this many more tokens would pass.';
--! EndIncluded private/functions/limits_passed.sql
--! Included private/functions/reserve_tokens.sql
-- Sets tokens aside for a call to a model, all or none, before the call is made: who gets a hold can pay for it. One round
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
  v_check record;
  v_hold billing.token_holds;
  v_taken record;
begin
  if reserve_tokens.max_tokens between 1 and 1000000000000 is not true then
    raise exception 'max_tokens must be from 1 to 10^12.' using errcode = 'PL422', column = 'max_tokens';
  end if;
  if length(reserve_tokens.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key has 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  if reserve_tokens.ttl between interval '1 second' and interval '24 hours' is not true then
    raise exception 'A hold lives from 1 second to 24 hours.' using errcode = 'PL422', column = 'ttl';
  end if;
  -- Nearly always the ledger is up to date and the first grant has enough: then these two statements are all.
  -- Nothing is locked where the account has to be asked first; after the lock, its holder may have to go on without.
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
    with taken as (
      update billing.token_grants g
      set held = g.held + reserve_tokens.max_tokens
      where g.id = (
          select f.id
          from billing.token_grants f
          where f.user_id = reserve_tokens.user_id
            and f.retired_at is null
            and f.starts_at <= reserve_tokens.at
            and (f.expires_at is null or f.expires_at > reserve_tokens.at)
          order by f.priority, f.expires_at, f.created_at, f.id
          limit 1
        )
        and (g.amount is null or g.amount - g.consumed - g.held >= reserve_tokens.max_tokens)
        and not exists (
          select
          from billing.token_holds h
          where h.user_id = reserve_tokens.user_id and h.idempotency_key = reserve_tokens.idempotency_key
        )
      returning g.id
    )
    insert into billing.token_holds (
      user_id, model_id, max_tokens, grant_ids, grant_tokens, idempotency_key, expires_at, created_at
    )
    select
      reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, array[k.id],
      array[reserve_tokens.max_tokens], reserve_tokens.idempotency_key, reserve_tokens.at + reserve_tokens.ttl,
      reserve_tokens.at
    from taken k
    returning * into v_hold;
    if found then
      -- Seldom: the next hold to end is mostly an earlier one.
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
    if v_hold.model_id is distinct from reserve_tokens.model_id or v_hold.max_tokens <> reserve_tokens.max_tokens then
      raise exception 'The idempotency key was used with other arguments.'
        using errcode = 'PL409', column = 'idempotency_key';
    end if;
    return v_hold;
  end if;

  select
    exists (select from llm.models m where m.id = reserve_tokens.model_id) as has_model,
    exists (select from billing.usage_limits l where l.is_hard) as has_limits
  into v_check;
  if not v_check.has_model then
    raise exception 'There is no such model.' using errcode = 'PL404', column = 'model_id';
  end if;
  if v_check.has_limits and private.limits_passed(
    reserve_tokens.user_id, reserve_tokens.model_id, reserve_tokens.max_tokens, true, reserve_tokens.at
  ) > 0 then
    raise exception 'A limit on usage does not leave that many tokens.'
      using errcode = 'PL402', hint = 'The limit starts anew with the next day or month (UTC).';
  end if;
  v_taken := private.take_tokens(reserve_tokens.user_id, reserve_tokens.max_tokens, true, reserve_tokens.at);
  if v_taken.missing > 0 then
    raise exception 'There are not that many tokens left.'
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
  'Sets tokens aside for a call; the same key again gives the same hold. PL402 when grants or hard limits do not cover it, PL409 for a key used otherwise, PL404 for no such user or model.';
grant execute on function private.reserve_tokens(uuid, uuid, bigint, text, interval, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded private/functions/reserve_tokens.sql
--! Included private/functions/settle_hold.sql
-- Records what a call really used, and charges it: first what the hold keeps, the rest of which goes back; more than that
-- from whatever the grants have now; and what no grant covers is written down as overdraft. It never refuses usage, because
-- it has happened, and never charges a grant more than it has. A hold that expired meanwhile keeps nothing, so all of it is
-- charged as of now. Only services settle: a client could say that it used less.
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
  v_ledger record;
  v_locked timestamptz;
  v_hold billing.token_holds;
  v_settled record;
  v_event billing.usage_events;
  v_taken record;
  v_was_open boolean;
  v_left bigint;
  v_take bigint;
begin
  v_valid := private.check_token_counts(
    settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens, settle_hold.reasoning_tokens
  );
  -- Of the hold, only what never changes is true before the lock is there.
  select
    h.user_id,
    t.last_reset < date_trunc('month', settle_hold.at, 'UTC') or t.next_hold_expires_at <= settle_hold.at as is_due
  into v_ledger
  from billing.token_holds h
  join billing.usage_tracking t on t.user_id = h.user_id
  where h.id = settle_hold.hold_id
  for no key update of t;
  if not found then
    raise exception 'There is no such hold.' using errcode = 'PL404', column = 'hold_id';
  end if;
  if v_ledger.is_due then
    v_locked := private.lock_usage(v_ledger.user_id, settle_hold.at);
  end if;
  v_event.id := plinth.uuid_v7();
  v_left := settle_hold.input_tokens + settle_hold.output_tokens;
  -- Mostly the hold keeps enough of one grant; otherwise the grants follow below.
  with settled as (
    update billing.token_holds h
    set
      state = 'settled',
      settled_at = settle_hold.at,
      usage_event_id = v_event.id
    where h.id = settle_hold.hold_id and case h.state when 'open' then true else false end
    returning h.*
  ),
  charged as (
    update billing.token_grants g
    set held = g.held - s.max_tokens, consumed = g.consumed + v_left
    from settled s
    where g.id = s.grant_ids[1] and cardinality(s.grant_ids) = 1 and v_left <= s.max_tokens
    returning true as is_charged
  )
  select s.*, c.is_charged into v_settled from settled s left join charged c on true;
  v_was_open := found;
  if v_was_open then
    v_hold.id := v_settled.id;
    v_hold.user_id := v_settled.user_id;
    v_hold.model_id := v_settled.model_id;
    v_hold.state := v_settled.state;
    v_hold.idempotency_key := v_settled.idempotency_key;
    v_hold.grant_ids := v_settled.grant_ids;
    v_hold.grant_tokens := v_settled.grant_tokens;
  else
    select h.* into strict v_hold from billing.token_holds h where h.id = settle_hold.hold_id;
  end if;

  if not v_was_open and v_hold.state = 'settled' then
    select e.* into strict v_event
    from billing.usage_events e
    where e.id = v_hold.usage_event_id and e.created_at = v_hold.settled_at;
    if (v_event.input_tokens, v_event.output_tokens, v_event.cached_input_tokens, v_event.reasoning_tokens, v_event.message_id)
      is distinct from (
        settle_hold.input_tokens, settle_hold.output_tokens, settle_hold.cached_input_tokens,
        settle_hold.reasoning_tokens, settle_hold.message_id
      )
      or v_event.occurred_at <> least(settle_hold.occurred_at, v_event.created_at)
    then
      raise exception 'The hold was settled with other numbers.'
        using errcode = 'PL409', column = 'hold_id', hint = 'private.correct_usage corrects what was recorded.';
    end if;
    return v_event;
  end if;
  if v_hold.state = 'released' then
    raise exception 'The hold was released.' using errcode = 'PL409', column = 'hold_id';
  end if;

  if settle_hold.message_id is not null then
    select m.chat_id into v_event.chat_id
    from llm.messages m
    where m.id = settle_hold.message_id and m.user_id = v_hold.user_id;
    if not found then
      raise exception 'There is no such message.' using errcode = 'PL404', column = 'message_id';
    end if;
  end if;

  v_event.grant_ids := '{}';
  v_event.grant_tokens := '{}';
  if v_was_open and v_settled.is_charged then
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
  -- A clock that runs ahead must not open tomorrow's books.
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
  'Records and charges what a call used; the same again gives the same event. PL404 for no such hold or message, PL409 for a hold that was released or settled with other numbers.';
grant execute on function private.settle_hold(uuid, bigint, bigint, bigint, bigint, timestamptz, uuid, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded private/functions/settle_hold.sql
--! Included private/functions/release_hold.sql
-- The call was not made, or used nothing. Only services release: who lets go of the tokens while the call runs gets it free.
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
    raise exception 'There is no such hold.' using errcode = 'PL404', column = 'hold_id';
  end if;
  v_locked := private.lock_usage(v_hold.user_id, release_hold.at);
  select h.* into strict v_hold from billing.token_holds h where h.id = release_hold.hold_id;
  if v_hold.state = 'settled' then
    raise exception 'The hold was settled.' using errcode = 'PL409', column = 'hold_id';
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
  'Gives back all that a hold keeps; again, or when it had expired, nothing changes. PL404 for no such hold, PL409 when it was settled.';
grant execute on function private.release_hold(uuid, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded private/functions/release_hold.sql
--! Included private/functions/record_usage.sql
-- Usage that nobody reserved, once by its key. It has happened, so it is recorded whatever the grants and limits say:
-- charged as far as they cover it, the rest as overdraft. Who wants to be told no reserves first.
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
    raise exception 'There is no such model.' using errcode = 'PL404', column = 'model_id';
  end if;
  if record_usage.message_id is not null then
    select m.chat_id into v_event.chat_id
    from llm.messages m
    where m.id = record_usage.message_id and m.user_id = record_usage.user_id;
    if not found then
      raise exception 'There is no such message.' using errcode = 'PL404', column = 'message_id';
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
  'Records and charges usage without a hold; the same key again gives the same event. PL409 for a key used otherwise, PL404 for no such user, model or message.';
grant execute
  on function private.record_usage(uuid, uuid, bigint, bigint, text, bigint, bigint, timestamptz, uuid, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded private/functions/record_usage.sql
--! Included private/functions/correct_usage.sql
-- What was recorded turned out wrong: the counts as they should have been. History stays; the difference is added.
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
    raise exception 'There is no such usage, or its account was deleted.' using errcode = 'PL404', column = 'event_id';
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
  'Brings a recorded usage to these counts by an event of the difference; the same key again gives the same event. PL404 for no such usage, PL409 for a key used otherwise.';
grant execute on function private.correct_usage(uuid, bigint, bigint, text, bigint, bigint, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded private/functions/correct_usage.sql
--! Included private/functions/grant_tokens.sql
-- Gives a user tokens, once by its key.
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
  -- Sums of some thousand grants stay inside a bigint.
  if grant_tokens.amount not between 1 and 1000000000000000 then
    raise exception 'A grant has from 1 to 10^15 tokens.' using errcode = 'PL422', column = 'amount';
  end if;
  -- What no later statement changes is checked here and not by a CHECK, which each settlement would pay for.
  if grant_tokens.source in ('plan', 'purchase', 'manual', 'promotion', 'rollover') is not true then
    raise exception 'Tokens come from plan, purchase, manual, promotion or rollover.'
      using errcode = 'PL422', column = 'source';
  end if;
  if length(grant_tokens.idempotency_key) between 1 and 255 is not true then
    raise exception 'An idempotency key has 1 to 255 characters.' using errcode = 'PL422', column = 'idempotency_key';
  end if;
  if coalesce(grant_tokens.starts_at, grant_tokens.at) > grant_tokens.expires_at then
    raise exception 'A grant ends after it starts.' using errcode = 'PL422', column = 'expires_at';
  end if;
  v_locked := private.lock_usage(grant_tokens.user_id, grant_tokens.at);
  select g.* into v_grant
  from billing.token_grants g
  where g.user_id = grant_tokens.user_id and g.idempotency_key = grant_tokens.idempotency_key;
  if found then
    -- Its end may have been brought forward since, and without a start it began when it was made.
    if (v_grant.amount, v_grant.source, v_grant.source_id, v_grant.priority)
      is distinct from (grant_tokens.amount, grant_tokens.source, grant_tokens.source_id, coalesce(grant_tokens.priority, 100))
      or v_grant.starts_at <> grant_tokens.starts_at
      or (v_grant.closed_at is null and v_grant.expires_at is distinct from grant_tokens.expires_at)
    then
      raise exception 'The idempotency key was used with other arguments.'
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
  'Grants a user tokens (null: without limit while in force) and returns the grant''s id; the same key again gives the same. PL404 for no such account, PL409 for a key used otherwise.';
grant execute
  on function private.grant_tokens(uuid, bigint, text, uuid, integer, timestamptz, timestamptz, text, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded private/functions/grant_tokens.sql
--! Included private/functions/close_plan_grant.sql
-- Ends a plan's grants with their period (an upgrade adds one to the first) and carries over what was neither used nor is on
-- hold, up to a limit. What is on hold stays with the hold: it is charged to the old grant, and what the hold gives back has
-- ended with it.
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
    raise exception 'closed_at is missing.' using errcode = 'PL422', column = 'closed_at';
  end if;
  if close_plan_grant.rollover_limit >= 0 is not true then
    raise exception 'rollover_limit must not be negative.' using errcode = 'PL422', column = 'rollover_limit';
  end if;
  v_locked := private.lock_usage(close_plan_grant.user_id, close_plan_grant.at);
  v_key := private.used_key(close_plan_grant.user_id, 'close_grant', close_plan_grant.idempotency_key, v_arguments);
  if v_key.amount is not null then
    return v_key.amount;
  end if;
  -- The period's grants have often ended by themselves when a late job closes them; the next one may have begun at that
  -- moment, and is meant only where there is none before it.
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
  -- A grant without limit has no rest to carry.
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
  'Ends the plan grants of a source and carries up to rollover_limit unused, unheld tokens over; returns how many. The same key again gives the same number.';
grant execute on function private.close_plan_grant(uuid, uuid, timestamptz, bigint, timestamptz, text, timestamptz)
  to :PLINTH_SERVICE;
--! EndIncluded private/functions/close_plan_grant.sql
--! Included private/functions/expire_token_holds.sql
-- Holds of callers that never came back. Reserve does not wait for this; it is for balances of those who are away.
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
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
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
  'Expires the due holds of up to batch_size users; returns of how many. Who is at work this moment is passed over.';
grant execute on function private.expire_token_holds(integer, timestamptz) to :PLINTH_WORKER;
--! EndIncluded private/functions/expire_token_holds.sql
--! Included private/functions/reset_usage_tracking.sql
-- A new month for those who have not used anything in it yet. Says where the count should stand, not that time has passed:
-- running it twice, or after days, ends the same.
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
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
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
  'Starts the month in up to batch_size rows of usage_tracking that are in an earlier one; returns how many.';
grant execute on function private.reset_usage_tracking(integer, timestamptz) to :PLINTH_WORKER;
--! EndIncluded private/functions/reset_usage_tracking.sql
--! Included private/functions/retire_token_grants.sql
-- Grants that have ended drop out of what reserve looks through, once no hold keeps anything of them.
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
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
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
  'Retires the ended grants of up to batch_size users; returns of how many.';
grant execute on function private.retire_token_grants(integer, timestamptz) to :PLINTH_WORKER;
--! EndIncluded private/functions/retire_token_grants.sql
--! Included private/functions/available_grants.sql
-- What a user's grants have left at a moment, without waiting for anybody: holds that are due count as expired, and the free
-- plan's tokens of the month, which the first use or a job writes down (private.ensure_current_grants), are there.
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
  'The user''s grants in force with what is left of each, in the order in which they are used; without an id, what the free plan has not yet given this month.';
--! EndIncluded private/functions/available_grants.sql
--! Included private/functions/token_balance_at.sql
-- Everything about a user's tokens in one call; reads rows of grants, open holds and some days, never events.
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
  -- Beyond a century it is no forecast.
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
  'A user''s tokens at a moment: left, held, used this month, by grant, and when they run out at the pace of the last seven whole days.';
grant execute on function private.token_balance_at(uuid, timestamptz) to :PLINTH_SERVICE;
--! EndIncluded private/functions/token_balance_at.sql
--! Included billing/functions/token_balance.sql
-- One call for what a client shows: "you have 12,000 left, until Tuesday".
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
  'The signed-in user''s tokens: left, held, used this month, by grant, and when they run out at the present pace. Null for a visitor.';
grant execute on function billing.token_balance() to :PLINTH_USER;
--! EndIncluded billing/functions/token_balance.sql
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
  'Whether the signed-in user''s grants have this many tokens left now. It sets nothing aside: reserve does.';
grant execute on function billing.has_tokens(bigint) to :PLINTH_USER;
--! EndIncluded billing/functions/has_tokens.sql
--! Included billing/functions/reserve_tokens.sql
-- A client may set its own tokens aside, for its application server to settle: it can only take from itself, for minutes.
-- It may neither settle nor release: it would say that it used less.
create or replace function billing.reserve_tokens(model_id uuid, max_tokens bigint, idempotency_key text)
  returns billing.token_holds
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
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

comment on function billing.reserve_tokens(uuid, bigint, text) is
  'Sets tokens of the signed-in user aside for five minutes; the same key again gives the same hold. QUOTA_EXCEEDED when they do not cover it, CONFLICT for a key used otherwise.';
grant execute on function billing.reserve_tokens(uuid, bigint, text) to :PLINTH_USER;
--! EndIncluded billing/functions/reserve_tokens.sql
--! Included billing/triggers/forget_usage_account.sql
-- What a foreign key would do when an account goes, without what it would cost: a look at the account for each hold and
-- event, of which every call makes one. They can only be made under the lock of the account's row (private.lock_usage), so
-- there is nothing to look for. Holds go; events stay, of nobody, and their sums with them.
create or replace function billing.forget_usage_account()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  delete from billing.token_holds h where h.user_id = old.user_id;
  update billing.usage_events e set user_id = null where e.user_id = old.user_id;
  return null;
end
$$;

comment on function billing.forget_usage_account() is 'Trigger: holds go with their account, usage stays without a name.';

create or replace trigger _500_forget_usage_account
  after delete on billing.usage_tracking
  for each row
  execute function billing.forget_usage_account();
--! EndIncluded billing/triggers/forget_usage_account.sql
--! Included billing/triggers/forget_entitlement.sql
-- What a subscription gives is looked at anew after each change of it (private.ensure_grants_at).
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
  'Trigger: a change of a subscription may give or take tokens, so the ledger asks again.';

create or replace trigger _500_forget_entitlement
  after insert or update of status, plan_id, quota_period_start, quota_period_end, quota_granted_from, past_due_since
  on billing.user_subscriptions
  for each row
  execute function billing.forget_entitlement();
--! EndIncluded billing/triggers/forget_entitlement.sql
--! Included billing/triggers/updated_at.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on billing.model_prices
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on billing.usage_limits
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded billing/triggers/updated_at.sql
--! Included billing/policies/usage_tracking.sql
-- Users see their own count; the ledger's functions keep it.
revoke all on billing.usage_tracking from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.usage_tracking to :PLINTH_USER;

drop policy if exists select_own on billing.usage_tracking;
create policy select_own on billing.usage_tracking
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.usage_tracking is 'Users read their own totals.';
--! EndIncluded billing/policies/usage_tracking.sql
--! Included billing/policies/token_grants.sql
-- Users see what they were granted; only services grant.
revoke all on billing.token_grants from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.token_grants to :PLINTH_USER;

drop policy if exists select_own on billing.token_grants;
create policy select_own on billing.token_grants
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.token_grants is 'Users read their own grants.';
--! EndIncluded billing/policies/token_grants.sql
--! Included billing/policies/token_holds.sql
-- Users see what is set aside for them; only the ledger's functions write.
revoke all on billing.token_holds from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.token_holds to :PLINTH_USER;

drop policy if exists select_own on billing.token_holds;
create policy select_own on billing.token_holds
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.token_holds is 'Users read their own holds.';
--! EndIncluded billing/policies/token_holds.sql
--! Included billing/policies/usage_events.sql
-- Users see their own usage. Nobody adds, changes or removes any but by the ledger's functions.
revoke all on billing.usage_events from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.usage_events to :PLINTH_USER;

drop policy if exists select_own on billing.usage_events;
create policy select_own on billing.usage_events
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.usage_events is 'Users read their own usage.';
--! EndIncluded billing/policies/usage_events.sql
--! Included billing/policies/daily_usage.sql
-- Users see their own days; the ledger's functions keep them.
revoke all on billing.daily_usage from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.daily_usage to :PLINTH_USER;

drop policy if exists select_own on billing.daily_usage;
create policy select_own on billing.daily_usage
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on billing.daily_usage is 'Users read their own days.';
--! EndIncluded billing/policies/daily_usage.sql
--! Included billing/policies/usage_limits.sql
-- Users see the limits that may hold for them; manage_users sets them.
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
  'Users read limits that are theirs or everybody''s, on models they may use.';

drop policy if exists all_manager on billing.usage_limits;
create policy all_manager on billing.usage_limits
  for all to :PLINTH_USER
  using ((select access.has_permission('manage_users')))
  with check ((select access.has_permission('manage_users')));
comment on policy all_manager on billing.usage_limits is 'The permission manage_users reads and writes all limits.';
--! EndIncluded billing/policies/usage_limits.sql
--! Included billing/views/token_hold_allocations.sql
-- Which grants an open hold keeps how much of. Grain: one row per open hold and grant. Kept as arrays in the hold, whose row
-- is written anyway, and shown as rows here: the sum over a grant is its `held`.
create or replace view billing.token_hold_allocations
  with (security_invoker = true)
as
select h.id as hold_id, a.grant_id, h.user_id, a.tokens, h.expires_at
from billing.token_holds h
cross join unnest(h.grant_ids, h.grant_tokens) as a (grant_id, tokens)
where h.state = 'open';

comment on view billing.token_hold_allocations is
  E'@primaryKey hold_id,grant_id\n@foreignKey (hold_id) references billing.token_holds (id)\n@foreignKey (grant_id) references billing.token_grants (id)\nWhich grants an open hold keeps how much of: one row per open hold and grant.';
comment on column billing.token_hold_allocations.hold_id is 'The hold.';
comment on column billing.token_hold_allocations.grant_id is 'The grant.';
comment on column billing.token_hold_allocations.user_id is 'Whose.';
comment on column billing.token_hold_allocations.tokens is 'Tokens of the grant that the hold keeps.';
comment on column billing.token_hold_allocations.expires_at is 'When the hold ends by itself.';
revoke all on billing.token_hold_allocations from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.token_hold_allocations to :PLINTH_USER;
--! EndIncluded billing/views/token_hold_allocations.sql
--! Included billing/views/monthly_usage.sql
-- What a user's months cost. Grain: one row per user, month (UTC) and currency. Invoker rights: users see their own.
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
  E'@primaryKey user_id,month,currency\nUse and cost by month: one row per user, month (UTC) and currency.';
comment on column billing.monthly_usage.user_id is 'The account.';
comment on column billing.monthly_usage.month is 'First day of the month, UTC.';
comment on column billing.monthly_usage.currency is 'ISO 4217 code of cost.';
comment on column billing.monthly_usage.requests is 'Uses of models.';
comment on column billing.monthly_usage.total_tokens is 'Tokens sent and made.';
comment on column billing.monthly_usage.unpriced_tokens is 'Those whose cost is unknown, and not in cost.';
comment on column billing.monthly_usage.cost is 'Exact cost of the priced tokens in units of currency.';
revoke all on billing.monthly_usage from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.monthly_usage to :PLINTH_USER;
--! EndIncluded billing/views/monthly_usage.sql
--! Included private/functions/record_message_usage.sql
-- tokens_used of an assistant's message feeds the ledger exactly once: recorded when it appears, corrected when it changes,
-- left alone when a service has settled the message. It has no parts, so it counts and is priced as output.
create or replace function private.record_message_usage(message llm.messages, at timestamptz default now())
  returns void
  language plpgsql
  volatile
as $$
declare
  v_locked timestamptz;
  v_tokens bigint := coalesce(message.tokens_used, 0);
  v_counted billing.usage_events;
  v_event billing.usage_events;
  v_taken record;
begin
  -- The writer holds the message or its chat, which come after the account.
  perform private.ensure_grants_at(message.user_id, now(), false)
  where not exists (
    select from billing.usage_tracking t where t.user_id = message.user_id and t.entitled_until > now()
  );
  v_locked := private.lock_usage(message.user_id, record_message_usage.at);
  select e.* into v_counted
  from private.usage_keys k
  join billing.usage_events e on e.id = k.event_id
  where k.user_id = message.user_id and k.operation = 'message' and k.idempotency_key = message.id::text;
  if found then
    if v_counted.source in ('message', 'self_reported') then
      perform private.apply_correction(v_counted.id, 0, v_tokens, 0, 0, null, record_message_usage.at);
    end if;
    return;
  end if;
  if v_tokens = 0 then
    return;
  end if;
  v_taken := private.take_tokens(message.user_id, v_tokens, false, record_message_usage.at);
  v_event.id := plinth.uuid_v7();
  v_event.user_id := message.user_id;
  v_event.model_id := message.model_id;
  v_event.chat_id := message.chat_id;
  v_event.message_id := message.id;
  v_event.kind := 'usage';
  v_event.source := case when plinth.current_user_id() is null then 'message' else 'self_reported' end;
  v_event.input_tokens := 0;
  v_event.output_tokens := v_tokens;
  v_event.cached_input_tokens := 0;
  v_event.reasoning_tokens := 0;
  v_event.grant_ids := v_taken.grant_ids;
  v_event.grant_tokens := v_taken.grant_tokens;
  v_event.overdraft_tokens := v_taken.missing;
  v_event.occurred_at := least(message.created_at, record_message_usage.at);
  v_event.created_at := record_message_usage.at;
  v_event := private.post_usage_event(v_event);
  insert into private.usage_keys (user_id, operation, idempotency_key, arguments, event_id)
  values (message.user_id, 'message', message.id::text, '{}', v_event.id);
end
$$;

comment on function private.record_message_usage(llm.messages, timestamptz) is
  'Brings the ledger to what a message''s tokens_used says, unless a service has settled the message.';
--! EndIncluded private/functions/record_message_usage.sql
--! Included llm/triggers/messages_usage.sql
-- Messages feed the ledger. Once a statement and after the chats were touched, so that every writer locks chat before
-- ledger; users in the order of their ids, so that two bulk writers do not wait for each other in turn.
create or replace function llm.record_messages_usage()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_message llm.messages;
begin
  if tg_op = 'INSERT' then
    for v_message in
      select n.* from new_messages n where n.role = 'assistant' and n.tokens_used > 0 order by n.user_id, n.id
    loop
      perform private.record_message_usage(v_message);
    end loop;
  else
    for v_message in
      select n.*
      from new_messages n
      join old_messages o on o.id = n.id
      where n.role = 'assistant' and n.tokens_used is distinct from o.tokens_used
      order by n.user_id, n.id
    loop
      perform private.record_message_usage(v_message);
    end loop;
  end if;
  return null;
end
$$;

comment on function llm.record_messages_usage() is 'Trigger: tokens_used of an assistant''s message is usage of its owner.';

create or replace trigger _700_record_usage
  after insert on llm.messages
  referencing new table as new_messages
  for each statement
  execute function llm.record_messages_usage();

create or replace trigger _700_record_changed_usage
  after update on llm.messages
  referencing old table as old_messages new table as new_messages
  for each statement
  execute function llm.record_messages_usage();
--! EndIncluded llm/triggers/messages_usage.sql
--! Included llm/triggers/chats_activity.sql
-- A chat's updated_at is its last activity. Once a statement, not once a message: bulk inserts touch each chat once, users in
-- the order of their ids as in the ledger that follows (llm.record_messages_usage), so that two do not wait for each other.
create or replace function llm.touch_chats()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  update llm.chats c
  set updated_at = clock_timestamp()
  from (
    select l.id
    from llm.chats l
    where (l.id, l.user_id) in (select n.chat_id, n.user_id from new_messages n)
    order by l.user_id, l.id
    for no key update
  ) as touched
  where c.id = touched.id;
  return null;
end
$$;

comment on function llm.touch_chats() is 'Trigger: a new message is activity of its chat.';

create or replace trigger _500_touch_chats
  after insert on llm.messages
  referencing new table as new_messages
  for each statement
  execute function llm.touch_chats();
--! EndIncluded llm/triggers/chats_activity.sql
--! Included analytics/views/daily_token_usage.sql
-- Tokens by day and model, from the ledger; daily_model_usage counts messages.
create or replace view analytics.daily_token_usage
  with (security_barrier = true)
as
select
  d.day,
  d.model_id,
  p.name as provider_name,
  m.name as model_name,
  sum(d.requests)::bigint as requests,
  count(distinct d.user_id) as users,
  sum(d.input_tokens)::bigint as input_tokens,
  sum(d.cached_input_tokens)::bigint as cached_input_tokens,
  sum(d.output_tokens)::bigint as output_tokens,
  sum(d.reasoning_tokens)::bigint as reasoning_tokens,
  sum(d.total_tokens)::bigint as total_tokens,
  sum(d.overdraft_tokens)::bigint as overdraft_tokens,
  sum(d.self_reported_tokens)::bigint as self_reported_tokens
from billing.daily_usage d
left join llm.models m on m.id = d.model_id
left join llm.model_providers p on p.id = m.provider_id
group by 1, 2, 3, 4;

comment on view analytics.daily_token_usage is
  'Grain: one row per day (UTC) and model with usage; usage without a model has one row a day. Deleted accounts'' usage stays in.';
comment on column analytics.daily_token_usage.day is 'Day in UTC on which it occurred.';
comment on column analytics.daily_token_usage.model_id is 'The model; null when nobody said.';
comment on column analytics.daily_token_usage.provider_name is 'Its provider.';
comment on column analytics.daily_token_usage.model_name is 'The provider''s name for it.';
comment on column analytics.daily_token_usage.requests is 'Uses.';
comment on column analytics.daily_token_usage.users is 'Accounts that used it and still exist.';
comment on column analytics.daily_token_usage.input_tokens is 'Tokens sent, cached ones included.';
comment on column analytics.daily_token_usage.cached_input_tokens is 'Those of the input that were cached.';
comment on column analytics.daily_token_usage.output_tokens is 'Tokens made, reasoning included.';
comment on column analytics.daily_token_usage.reasoning_tokens is 'Those of the output that were thinking.';
comment on column analytics.daily_token_usage.total_tokens is 'Input and output together.';
comment on column analytics.daily_token_usage.overdraft_tokens is 'Those that no grant covered.';
comment on column analytics.daily_token_usage.self_reported_tokens is 'Those that only users speak for.';
grant select on analytics.daily_token_usage to :PLINTH_ANALYST;
--! EndIncluded analytics/views/daily_token_usage.sql
--! Included analytics/views/daily_usage_cost.sql
-- What the tokens cost, at the prices of when they were used.
create or replace view analytics.daily_usage_cost
  with (security_barrier = true)
as
select
  d.day,
  d.model_id,
  d.currency,
  p.name as provider_name,
  m.name as model_name,
  sum(d.total_tokens)::bigint as total_tokens,
  sum(d.unpriced_tokens)::bigint as unpriced_tokens,
  sum(d.cost) as cost
from billing.daily_usage d
left join llm.models m on m.id = d.model_id
left join llm.model_providers p on p.id = m.provider_id
group by 1, 2, 3, 4, 5;

comment on view analytics.daily_usage_cost is
  'Grain: one row per day (UTC), model and currency with usage; usage without a model has one row a day.';
comment on column analytics.daily_usage_cost.day is 'Day in UTC on which it occurred.';
comment on column analytics.daily_usage_cost.model_id is 'The model; null when nobody said.';
comment on column analytics.daily_usage_cost.currency is 'ISO 4217 code of cost.';
comment on column analytics.daily_usage_cost.provider_name is 'Its provider.';
comment on column analytics.daily_usage_cost.model_name is 'The provider''s name for it.';
comment on column analytics.daily_usage_cost.total_tokens is 'Tokens sent and made.';
comment on column analytics.daily_usage_cost.unpriced_tokens is 'Those whose cost is unknown, and not in cost.';
comment on column analytics.daily_usage_cost.cost is 'Exact cost of the priced tokens in units of currency, not rounded.';
grant select on analytics.daily_usage_cost to :PLINTH_ANALYST;
--! EndIncluded analytics/views/daily_usage_cost.sql

select from private.ensure_partitions(3);
