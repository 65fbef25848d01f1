--! Previous: sha1:4c3374307a79a48b0c09483e74b26426c7af4e40
--! Hash: sha1:d65caf009279866193de0e42635e27361d7eca85
--! Message: revenue, reads and deletions by administrators

-- Enter migration here
alter type security.revenue_count add attribute disputed_cents bigint;
alter type security.revenue_count add attribute disputed numeric;
alter type security.revenue_count add attribute net numeric;
comment on column security.revenue_count.disputed_cents is
  'Amount of these payments that is in dispute and not refunded, in the smallest unit of the currency; a lost dispute (chargeback) stays, a won one does not.';
comment on column security.revenue_count.disputed is
  'Amount of these payments that is in dispute and not refunded, in units of the currency.';
comment on column security.revenue_count.net is
  'Amount paid without refunds and disputes, in units of the currency.';

--! Included billing/private/disputed_cents.sql
-- The one definition of revenue, for analysts and for the console: what was paid, without what was refunded and without what is in
-- dispute. A refund, a dispute and a chargeback (a lost dispute, which stays in force) count on the day of their payment; a dispute
-- that was won counts no more. A refunded part is not disputed as well.
create or replace function private.disputed_cents(amount_cents bigint, refunded_cents bigint, disputed_at timestamptz)
  returns bigint
  language sql
  immutable
  parallel safe
as $$
  select case when disputed_cents.disputed_at is null then 0 else disputed_cents.amount_cents - disputed_cents.refunded_cents end
$$;

comment on function private.disputed_cents(bigint, bigint, timestamptz) is
  'Returns the part of a payment that is in dispute and not refunded. Net revenue is the amount without it and without refunds.';
--! EndIncluded billing/private/disputed_cents.sql
--! Included analytics/private/roll_up_revenue.sql
-- Payments outlive their account, so the day is summed from scratch: a refund or a dispute changes it years later.
create or replace function private.roll_up_revenue(day date)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  delete from private.revenue_days d where d.day = roll_up_revenue.day;
  insert into private.revenue_days (day, plan_code, currency, payments, gross_cents, refunded_cents, disputed_cents)
  select
    roll_up_revenue.day, s.code, p.currency, count(*), sum(p.amount_cents), sum(p.refunded_cents),
    sum(private.disputed_cents(p.amount_cents, p.refunded_cents, p.disputed_at))
  from billing.payments p
  left join billing.subscription_plans s on s.id = p.plan_id
  where p.paid_at at time zone 'UTC' >= roll_up_revenue.day
    and p.paid_at at time zone 'UTC' < roll_up_revenue.day + 1
  group by s.code, p.currency;

  update private.rolled_up_accounts a
  set seconds_to_first_payment = f.seconds
  from (
    select p.user_id, greatest(extract(epoch from min(p.paid_at) - u.created_at), 0)::bigint as seconds
    from billing.payments p
    join identity.users u on u.id = p.user_id
    where p.amount_cents > 0
      and isfinite(u.created_at)
      and p.paid_at at time zone 'UTC' >= roll_up_revenue.day
      and p.paid_at at time zone 'UTC' < roll_up_revenue.day + 1
    group by p.user_id, u.created_at
  ) f
  where a.user_id = f.user_id and f.seconds < coalesce(a.seconds_to_first_payment, f.seconds + 1);
end
$$;

comment on function private.roll_up_revenue(date) is
  'Sums a day''s payments by plan and currency into private.revenue_days, and notes each account''s first payment.';
--! EndIncluded analytics/private/roll_up_revenue.sql
--! Included analytics/views/daily_revenue.sql
create or replace view analytics.daily_revenue
  with (security_barrier = true)
as
select
  k.day,
  k.plan_code,
  k.currency,
  k.payments,
  k.gross_cents,
  k.refunded_cents,
  k.disputed_cents,
  analytics.major_units(k.gross_cents, k.currency) as gross,
  analytics.major_units(k.refunded_cents, k.currency) as refunded,
  analytics.major_units(k.disputed_cents, k.currency) as disputed,
  analytics.major_units(k.gross_cents - k.refunded_cents - k.disputed_cents, k.currency) as net,
  (select s.refreshed_at from private.roll_up_state s) as refreshed_at
from private.revenue_days k;

comment on view analytics.daily_revenue is
  'Grain: one row per day (UTC) of payment, plan and currency. Net revenue is gross without refunds and without what is in dispute, a chargeback included; each counts on the day of its payment, so past days change.';
comment on column analytics.daily_revenue.day is 'Day of the payments in UTC.';
comment on column analytics.daily_revenue.plan_code is 'Code of the plan that was paid; null for payments without a plan.';
comment on column analytics.daily_revenue.currency is 'ISO 4217 code of the amounts.';
comment on column analytics.daily_revenue.payments is 'Number of payments received.';
comment on column analytics.daily_revenue.gross_cents is
  'Sum of the payments in the currency''s smallest unit, which is the yen for JPY.';
comment on column analytics.daily_revenue.refunded_cents is 'Part of gross_cents that was refunded since, in the smallest unit.';
comment on column analytics.daily_revenue.disputed_cents is
  'Part of gross_cents that is in dispute and not refunded, in the smallest unit; a lost dispute (chargeback) stays, a won one does not.';
comment on column analytics.daily_revenue.gross is 'Sum of the payments in units of currency.';
comment on column analytics.daily_revenue.refunded is 'Part of gross that was refunded since, in units of currency.';
comment on column analytics.daily_revenue.disputed is 'Part of gross that is in dispute, in units of currency.';
comment on column analytics.daily_revenue.net is 'Gross without refunded and disputed, in units of currency.';
comment on column analytics.daily_revenue.refreshed_at is 'Time when the job roll-up-days last summed a day.';
grant select on analytics.daily_revenue to :PLINTH_ANALYST;
--! EndIncluded analytics/views/daily_revenue.sql
--! Included analytics/views/revenue_and_cost.sql
-- Each month reads its own days. Revenue has no model: daily_usage_by_plan has the cost of each model.
create or replace view analytics.revenue_and_cost
  with (security_barrier = true)
as
select
  m.month::date as month,
  x.plan_code,
  x.currency,
  x.payments,
  x.gross,
  x.refunded,
  x.disputed,
  x.net,
  x.total_tokens,
  x.unpriced_tokens,
  x.cost,
  x.net - x.cost as margin,
  (select s.refreshed_at from private.roll_up_state s) as refreshed_at
from generate_series(
  date_trunc(
    'month',
    least((select min(f.day) from private.revenue_days f), (select min(f.day) from private.account_usage_days f))::timestamp
  ),
  greatest((select max(l.day) from private.revenue_days l), (select max(l.day) from private.account_usage_days l))::timestamp,
  interval '1 month'
) m (month)
cross join lateral (
  select
    d.plan_code,
    d.currency,
    sum(d.payments)::bigint as payments,
    analytics.major_units(sum(d.gross_cents), d.currency) as gross,
    analytics.major_units(sum(d.refunded_cents), d.currency) as refunded,
    analytics.major_units(sum(d.disputed_cents), d.currency) as disputed,
    analytics.major_units(sum(d.gross_cents - d.refunded_cents - d.disputed_cents), d.currency) as net,
    sum(d.total_tokens)::bigint as total_tokens,
    sum(d.unpriced_tokens)::bigint as unpriced_tokens,
    sum(d.cost) as cost
  from (
    select
      r.day, r.plan_code, r.currency, r.payments, r.gross_cents, r.refunded_cents, r.disputed_cents,
      0 as total_tokens, 0 as unpriced_tokens, 0 as cost
    from private.revenue_days r
    union all
    select k.day, k.plan_code, k.currency, 0, 0, 0, 0, k.total_tokens, k.unpriced_tokens, k.cost
    from private.account_usage_days k
  ) d
  where d.day >= m.month::date and d.day < (m.month + interval '1 month')::date
  group by d.plan_code, d.currency
) x;

comment on view analytics.revenue_and_cost is
  'Grain: one row per month (UTC), plan and currency with a payment or usage. Currencies are not converted. Net revenue is that of daily_revenue.';
comment on column analytics.revenue_and_cost.month is 'First day of the month.';
comment on column analytics.revenue_and_cost.plan_code is
  'Code of the plan: that was paid, or that the account had on the day of the usage; null if it is unknown.';
comment on column analytics.revenue_and_cost.currency is 'ISO 4217 code of the amounts.';
comment on column analytics.revenue_and_cost.payments is 'Number of payments received in the month.';
comment on column analytics.revenue_and_cost.gross is 'Sum of the payments in units of currency.';
comment on column analytics.revenue_and_cost.refunded is 'Part of gross that was refunded since, in units of currency.';
comment on column analytics.revenue_and_cost.disputed is 'Part of gross that is in dispute, in units of currency.';
comment on column analytics.revenue_and_cost.net is 'Gross without refunded and disputed, in units of currency.';
comment on column analytics.revenue_and_cost.total_tokens is 'Number of tokens used by accounts of the plan.';
comment on column analytics.revenue_and_cost.unpriced_tokens is
  'Number of those tokens whose cost is unknown and not included in cost.';
comment on column analytics.revenue_and_cost.cost is 'Exact cost of the priced tokens in units of currency, not rounded.';
comment on column analytics.revenue_and_cost.margin is
  'Difference net - cost in units of currency. Cost in another currency is in a row of its own.';
comment on column analytics.revenue_and_cost.refreshed_at is 'Time when the job roll-up-days last summed a day.';
grant select on analytics.revenue_and_cost to :PLINTH_ANALYST;
--! EndIncluded analytics/views/revenue_and_cost.sql
--! Included security/functions/revenue_counts.sql
-- Refunds and disputes belong to the day of their payment, so that a day's revenue is what is left of it, as in
-- analytics.daily_revenue.
create or replace function security.revenue_counts(days integer default 30)
  returns setof security.revenue_count
  language plpgsql
  stable
  security definer
  rows 90
  set search_path = pg_catalog
as $$
begin
  perform private.require_operations(revenue_counts.days);
  return query
    select b.starts_at, p.currency, count(*), sum(p.amount_cents)::bigint, sum(p.refunded_cents)::bigint,
      analytics.major_units(sum(p.amount_cents), p.currency), analytics.major_units(sum(p.refunded_cents), p.currency),
      sum(d.cents)::bigint,
      analytics.major_units(sum(d.cents), p.currency),
      analytics.major_units(sum(p.amount_cents - p.refunded_cents - d.cents), p.currency)
    from private.operations_buckets(revenue_counts.days) b
    -- As the index on the time of payment is defined; a comparison of paid_at itself would read all payments for each bucket.
    join billing.payments p
      on p.paid_at is not null
      and p.paid_at at time zone 'UTC' >= b.starts_at at time zone 'UTC'
      and p.paid_at at time zone 'UTC' < b.ends_at at time zone 'UTC'
    cross join lateral private.disputed_cents(p.amount_cents, p.refunded_cents, p.disputed_at) d (cents)
    group by b.starts_at, p.currency
    order by b.starts_at, p.currency;
end
$$;

comment on function security.revenue_counts(integer) is
  E'@behavior -queryField:resource:connection +queryField:resource:list -filterProc\n'
  '@listSuffix omit\n'
  'Returns payments, what of them was refunded or is in dispute, and net revenue by currency for each day (UTC) with a payment, or each of the last 24 hours for one day; oldest first. Needs read_operations (PL403).';
grant execute on function security.revenue_counts(integer) to :PLINTH_USER;
--! EndIncluded security/functions/revenue_counts.sql
-- Its rows get a column.
drop function access.model_access_of(uuid);
--! Included access/functions/model_access_of.sql
-- The reasons why a user may use models. Another user's reasons are for those who grant access, and each row names the user, so that
-- the read is recorded.
create or replace function access.model_access_of(user_id uuid default plinth.current_user_id())
  returns table (model_id uuid, source text, role_id uuid, plan_code text, expires_at timestamptz, account_id uuid)
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  if model_access_of.user_id is distinct from plinth.current_user_id() and not access.has_permission('grant_model_access') then
    raise exception 'This needs the permission grant_model_access.' using errcode = 'PL403';
  end if;
  return query
  select a.model_id, a.source, a.role_id, a.plan_code, a.expires_at, model_access_of.user_id
  from private.model_access(model_access_of.user_id) a
  order by a.model_id, a.source, a.role_id;
end
$$;

comment on function access.model_access_of(uuid) is
  'Returns the models that a user may use, the caller by default, once for each source: public, user, role or plan. Needs grant_model_access for another user (PL403).';
grant execute on function access.model_access_of(uuid) to :PLINTH_USER;
--! EndIncluded access/functions/model_access_of.sql
--! Included security/private/begin_erasure.sql
-- The first step of every erasure, whichever statement deletes the account. PostgreSQL has locked the row, so no hold can be placed
-- meanwhile. The answer does not mention the hold: the person may be the subject of an investigation.
create or replace function private.begin_erasure()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_reference constant text := nullif(current_setting('plinth.erasure_reference', true), '');
  -- Not a claim that a database role has made up.
  v_actor_id constant uuid := (select a.user_id from private.audit_actor() a);
begin
  -- As in identity.delete_my_account: an API token or a stolen session must not delete accounts.
  if v_actor_id is not null then
    perform private.refuse_api_token();
    perform private.require_recent_authentication();
  end if;
  if exists (select from security.legal_holds h where h.user_id = old.id and h.released_at is null) then
    raise exception 'The deletion of this account is delayed.'
      using errcode = 'PL409', hint = 'It stays requested and is tried again.';
  end if;
  -- Part of the certificate, which is kept and must not name the person.
  if v_reference !~ '^[A-Za-z0-9][A-Za-z0-9._/#-]{0,39}$' then
    raise exception 'A reference has 1 to 40 letters, digits and . _ / # -' using errcode = 'PL422';
  end if;
  if exists (select from unnest(private.names_of_account(old)) n (name) where strpos(lower(v_reference), lower(n.name)) > 0) then
    raise exception 'A reference must not contain the name of the account.' using errcode = 'PL422';
  end if;
  insert into private.erasures_in_progress (user_id, requested_by, purposes, marks, counts)
  values (
    old.id,
    case
      when exists (select from identity.account_deletions d where d.user_id = old.id and d.due_at <= now()) then 'self'
      when v_actor_id = old.id then 'self'
      when v_actor_id is not null then 'administrator'
      when current_setting('plinth.erasure_requested_by', true) = 'command' then 'command'
      else 'database_role'
    end,
    array(select distinct k.purpose from private.user_keys k where k.user_id = old.id order by 1),
    private.archive_marks(old),
    private.row_changes()
  )
  on conflict (user_id) do update
  set requested_by = excluded.requested_by, purposes = excluded.purposes, marks = excluded.marks, counts = excluded.counts;
  return old;
end
$$;

comment on function private.begin_erasure() is
  'Trigger: rejects the deletion of an account by an API token or without a recent sign-in (PL403), with a legal hold (PL409) or with an invalid reference (PL422), and notes what is known only before the deletion.';
--! EndIncluded security/private/begin_erasure.sql
--! Included identity/policies/users.sql
-- An account is visible to its owner and to administrators. Other users see identity.profiles.
revoke all on identity.users from :PLINTH_ANONYMOUS, :PLINTH_USER;
-- No insert: private.register_user creates accounts. No e-mail, status or counters either: functions change those.
grant select, update (username, profile_data), delete on identity.users to :PLINTH_USER;
-- currentUser is null for a visitor instead of an error: the column is readable, no row is.
grant select on identity.users to :PLINTH_ANONYMOUS;

drop policy if exists select_own on identity.users;
create policy select_own on identity.users
  for select to :PLINTH_USER
  using (id = (select plinth.current_user_id()));
comment on policy select_own on identity.users is 'Users read their own account.';

drop policy if exists select_managed on identity.users;
create policy select_managed on identity.users
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_users')) or (select access.has_permission('delete_user')));
comment on policy select_managed on identity.users is 'Users who may manage or delete users read all accounts.';

drop policy if exists update_own on identity.users;
create policy update_own on identity.users
  for update to :PLINTH_USER
  using (id = (select plinth.current_user_id()))
  with check (id = (select plinth.current_user_id()));
comment on policy update_own on identity.users is 'Users change their own name and profile.';

drop policy if exists delete_permitted on identity.users;
create policy delete_permitted on identity.users
  for delete to :PLINTH_USER
  using ((select access.has_permission('delete_user')) and access.may_administer(id));
comment on policy delete_permitted on identity.users is
  'Users with delete_user delete an account and all it owns, unless the account has permissions they lack. A trigger asks for a recent sign-in.';
--! EndIncluded identity/policies/users.sql
