-- Schema analytics as the migrations leave it. Generated (plinth schema dump): read it, do not edit it.

create schema analytics;
comment on schema analytics is 'Documented views without personal data, for people who read numbers.';
grant usage on schema analytics to :PLINTH_ANALYST;

-- Views -----------------------------------------------------------------------------------------------

-- Grain: one row per day (UTC) and model with an answer.
create view analytics.daily_model_usage with (security_barrier=true) as
 select (m.created_at at time zone 'UTC'::text)::date as day,
    m.model_id,
    p.name as provider_name,
    mo.name as model_name,
    count(*) as messages,
    count(distinct m.user_id) as users,
    coalesce(sum(m.tokens_used), 0::bigint) as tokens_used
   from llm.messages m
     join llm.models mo on mo.id = m.model_id
     join llm.model_providers p on p.id = mo.provider_id
  group by ((m.created_at at time zone 'UTC'::text)::date), m.model_id, p.name, mo.name;

comment on view analytics.daily_model_usage is 'Grain: one row per day (UTC) and model with an answer.';
comment on column analytics.daily_model_usage.day is 'Day in UTC.';
comment on column analytics.daily_model_usage.model_id is 'The model.';
comment on column analytics.daily_model_usage.provider_name is 'Its provider.';
comment on column analytics.daily_model_usage.model_name is 'The provider''s name for it.';
comment on column analytics.daily_model_usage.messages is 'Answers of the model.';
comment on column analytics.daily_model_usage.users is 'Users who got them.';
comment on column analytics.daily_model_usage.tokens_used is 'Tokens counted for them; messages without a count add nothing.';

grant select on analytics.daily_model_usage to :PLINTH_ANALYST;

-- Grain: one row per day (UTC) with a registration.
create view analytics.daily_registrations with (security_barrier=true) as
 select (created_at at time zone 'UTC'::text)::date as day,
    count(*) as registered_users,
    count(*) filter (where is_verified) as verified_users,
    count(*) filter (where is_active) as active_users
   from identity.users u
  group by ((created_at at time zone 'UTC'::text)::date);

comment on view analytics.daily_registrations is 'Grain: one row per day (UTC) with a registration.';
comment on column analytics.daily_registrations.day is 'Day in UTC.';
comment on column analytics.daily_registrations.registered_users is 'Accounts made that day that still exist.';
comment on column analytics.daily_registrations.verified_users is 'Those of them whose address is verified today.';
comment on column analytics.daily_registrations.active_users is 'Those of them that are active today.';

grant select on analytics.daily_registrations to :PLINTH_ANALYST;

-- Grain: one row per day (UTC) and status of sign-in attempts.
create view analytics.daily_sign_ins with (security_barrier=true) as
 select (created_at at time zone 'UTC'::text)::date as day,
    status,
    count(*) as attempts,
    count(distinct user_id) as users,
    count(distinct ip_address) as ip_addresses
   from security.login_attempts a
  group by ((created_at at time zone 'UTC'::text)::date), status;

comment on view analytics.daily_sign_ins is 'Grain: one row per day (UTC) and status of sign-in attempts.';
comment on column analytics.daily_sign_ins.day is 'Day in UTC.';
comment on column analytics.daily_sign_ins.status is 'success, failed or locked.';
comment on column analytics.daily_sign_ins.attempts is 'How many attempts.';
comment on column analytics.daily_sign_ins.users is 'How many existing accounts were tried.';
comment on column analytics.daily_sign_ins.ip_addresses is 'From how many addresses.';

grant select on analytics.daily_sign_ins to :PLINTH_ANALYST;

-- Grain: one row per day (UTC) and model with usage; usage without a model has one row a day. Deleted accounts' usage stays in.
create view analytics.daily_token_usage with (security_barrier=true) as
 select d.day,
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
  group by d.day, d.model_id, p.name, m.name;

comment on view analytics.daily_token_usage is 'Grain: one row per day (UTC) and model with usage; usage without a model has one row a day. Deleted accounts'' usage stays in.';
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

-- Grain: one row per day (UTC), model and currency with usage; usage without a model has one row a day.
create view analytics.daily_usage_cost with (security_barrier=true) as
 select d.day,
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
  group by d.day, d.model_id, d.currency, p.name, m.name;

comment on view analytics.daily_usage_cost is 'Grain: one row per day (UTC), model and currency with usage; usage without a model has one row a day.';
comment on column analytics.daily_usage_cost.day is 'Day in UTC on which it occurred.';
comment on column analytics.daily_usage_cost.model_id is 'The model; null when nobody said.';
comment on column analytics.daily_usage_cost.currency is 'ISO 4217 code of cost.';
comment on column analytics.daily_usage_cost.provider_name is 'Its provider.';
comment on column analytics.daily_usage_cost.model_name is 'The provider''s name for it.';
comment on column analytics.daily_usage_cost.total_tokens is 'Tokens sent and made.';
comment on column analytics.daily_usage_cost.unpriced_tokens is 'Those whose cost is unknown, and not in cost.';
comment on column analytics.daily_usage_cost.cost is 'Exact cost of the priced tokens in units of currency, not rounded.';

grant select on analytics.daily_usage_cost to :PLINTH_ANALYST;

-- Grain: one row per model and currency of its price today; models without a price have one row.
create view analytics.model_catalogue with (security_barrier=true) as
 select m.id as model_id,
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
     left join billing.model_prices mp on mp.model_id = m.id and tstzrange(mp.effective_from, mp.effective_to) @> now();

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
comment on column analytics.model_catalogue.reasoning_price_per_million_tokens is 'Price of 1,000,000 tokens the model thinks; null when they cost what it writes.';

grant select on analytics.model_catalogue to :PLINTH_ANALYST;
