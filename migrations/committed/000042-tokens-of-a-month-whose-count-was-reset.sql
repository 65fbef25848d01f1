--! Previous: sha1:f60cc312ae58b6cfa4c414a00aa91fe7f1ff9cbb
--! Hash: sha1:4c3374307a79a48b0c09483e74b26426c7af4e40
--! Message: tokens of a month whose count was reset

-- A compatibility schema sets token_count to 0 within a month; the tokens used this month still are those of the whole month.
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
  select
    case
      when t.last_reset = v_month then t.token_count
      -- Set to 0 within the month, by the application of a compatibility schema: the month has its tokens nevertheless.
      when t.last_reset > v_month then (
        select sum(d.total_tokens)
        from billing.daily_usage d
        where d.user_id = t.user_id and d.day between (v_month at time zone 'UTC')::date and v_today
      )
    end,
    t.lifetime_tokens
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
comment on column billing.usage_tracking.last_reset is
  'Start of the period counted in token_count: the first moment of a month (UTC), or the time when the application of a '
  'compatibility schema set it to 0.';
