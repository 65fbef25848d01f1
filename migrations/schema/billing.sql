-- Schema billing as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema billing;
comment on schema billing is 'Prices of models over time.';
grant usage on schema billing to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Tables ----------------------------------------------------------------------------------------------

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
  constraint model_prices_pkey primary key (id),
  constraint model_prices_cached_input_price_is_not_negative check (cached_input_price_per_million_tokens >= 0::numeric and cached_input_price_per_million_tokens <> 'NaN'::numeric),
  constraint model_prices_currency_check check (currency ~ '^[A-Z]{3}$'::text),
  constraint model_prices_effective_from_before_effective_to check (effective_from < effective_to),
  constraint model_prices_input_price_is_not_negative check (input_price_per_million_tokens >= 0::numeric and input_price_per_million_tokens <> 'NaN'::numeric),
  constraint model_prices_output_price_is_not_negative check (output_price_per_million_tokens >= 0::numeric and output_price_per_million_tokens <> 'NaN'::numeric),
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
  insert (model_id, currency, input_price_per_million_tokens, output_price_per_million_tokens, cached_input_price_per_million_tokens, effective_from, effective_to),
  update (currency, input_price_per_million_tokens, output_price_per_million_tokens, cached_input_price_per_million_tokens, effective_from, effective_to),
  delete
  on billing.model_prices to :PLINTH_USER;
grant select on billing.model_prices to :PLINTH_ANONYMOUS;

-- Views -----------------------------------------------------------------------------------------------

-- Prices that hold now: one row per model and currency.
create view billing.current_model_prices with (security_invoker=true) as
 select model_id,
    currency,
    input_price_per_million_tokens,
    output_price_per_million_tokens,
    cached_input_price_per_million_tokens,
    effective_from,
    effective_to
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

grant select on billing.current_model_prices to :PLINTH_ANONYMOUS, :PLINTH_USER;
