--! Previous: sha1:56d56fa358ece182754d4929e8cfc692098538a3
--! Hash: sha1:fd9f924a7be5cc52ae02cfd9246d3863818236eb
--! Message: billing

-- What tokens cost, over time. Plans, payments and the ledger come with later migrations.

create table billing.model_prices (
  id uuid primary key default plinth.uuid_v7(),
  model_id uuid not null references llm.models on delete cascade,
  currency text not null default 'USD',
  input_price_per_million_tokens numeric(18, 6) not null,
  output_price_per_million_tokens numeric(18, 6) not null,
  cached_input_price_per_million_tokens numeric(18, 6),
  effective_from timestamptz,
  effective_to timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint model_prices_currency_check check (currency ~ '^[A-Z]{3}$'),
  constraint model_prices_input_price_is_not_negative check (input_price_per_million_tokens >= 0 and input_price_per_million_tokens <> 'NaN'),
  constraint model_prices_output_price_is_not_negative check (output_price_per_million_tokens >= 0 and output_price_per_million_tokens <> 'NaN'),
  constraint model_prices_cached_input_price_is_not_negative check (cached_input_price_per_million_tokens >= 0 and cached_input_price_per_million_tokens <> 'NaN'),
  constraint model_prices_effective_from_before_effective_to check (effective_from < effective_to),
  -- At any time a model has at most one price in a currency.
  constraint model_prices_periods_do_not_overlap exclude using gist (
    model_id with =,
    currency with =,
    tstzrange(effective_from, effective_to) with &&
  )
);

alter table billing.model_prices enable row level security;

-- Serves the foreign key.
create index model_prices_model_id_effective_from_idx on billing.model_prices (model_id, effective_from);

comment on table billing.model_prices is 'One row per model, currency and period of time.';
comment on column billing.model_prices.id is 'UUIDv7.';
comment on column billing.model_prices.model_id is 'The model.';
comment on column billing.model_prices.currency is 'ISO 4217 code of the currency of the prices.';
comment on column billing.model_prices.input_price_per_million_tokens is 'Price of 1,000,000 tokens sent to the model.';
comment on column billing.model_prices.output_price_per_million_tokens is 'Price of 1,000,000 tokens the model writes.';
comment on column billing.model_prices.cached_input_price_per_million_tokens is
  'Price of 1,000,000 tokens sent that the provider had cached; null when there is no such price.';
comment on column billing.model_prices.effective_from is 'First moment the price holds; null means always before effective_to.';
comment on column billing.model_prices.effective_to is 'First moment it no longer holds; null means until further notice.';
comment on column billing.model_prices.created_at is 'When the row was added.';
comment on column billing.model_prices.updated_at is 'When the row last changed.';

--! Included billing/triggers/updated_at.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on billing.model_prices
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded billing/triggers/updated_at.sql
--! Included billing/functions/price_at.sql
-- The price of a model at a moment, today's by default. In schema llm because it is a field of llm.models.
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
  'The model''s price at a moment, now by default, or null when none is known.';
grant execute on function llm.models_price(llm.models, timestamptz, text) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded billing/functions/price_at.sql
--! Included billing/policies/model_prices.sql
-- Who sees a model sees its prices; manage_models writes them.
revoke all on billing.model_prices from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.model_prices to :PLINTH_ANONYMOUS;
grant
  select,
  insert (
    model_id, currency, input_price_per_million_tokens, output_price_per_million_tokens,
    cached_input_price_per_million_tokens, effective_from, effective_to
  ),
  update (
    currency, input_price_per_million_tokens, output_price_per_million_tokens,
    cached_input_price_per_million_tokens, effective_from, effective_to
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
  p.effective_to
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
revoke all on billing.current_model_prices from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.current_model_prices to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded billing/views/current_model_prices.sql
--! Included private/functions/wanted_prices.sql
-- The price periods of an imported model, as rows shaped like billing.model_prices.
create or replace function private.wanted_prices(price_history jsonb)
  returns table (
    input_price numeric,
    output_price numeric,
    cached_input_price numeric,
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
    (h ->> 'from')::date,
    (h ->> 'to')::date
  from jsonb_array_elements(coalesce(price_history, '[]')) h
$$;

comment on function private.wanted_prices(jsonb) is 'Reads the price history of a model to import; USD per million tokens.';
--! EndIncluded private/functions/wanted_prices.sql
--! Included private/functions/import_models.sql
-- Imports models with their price history, each or not at all:
-- {vendor, id, name, priceHistory: [{input, output, inputCached, from, to}]}, prices in USD per million tokens, from and to
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
          where (w.input_price, w.output_price, w.cached_input_price, w.effective_from, w.effective_to) is not distinct from (
            p.input_price_per_million_tokens, p.output_price_per_million_tokens,
            p.cached_input_price_per_million_tokens, p.effective_from, p.effective_to
          )
        );
      get diagnostics v_count = row_count;
      v_changed := v_changed or v_count > 0;

      insert into billing.model_prices (
        model_id, input_price_per_million_tokens, output_price_per_million_tokens,
        cached_input_price_per_million_tokens, effective_from, effective_to
      )
      select v_model_id, w.input_price, w.output_price, w.cached_input_price, w.effective_from, w.effective_to
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
