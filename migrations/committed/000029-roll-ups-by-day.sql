--! Previous: sha1:9b3718cb419b552b6ca59cb5ead253dfd3bede9f
--! Hash: sha1:847801617525b8c92ae56ef63fa0f01d1e9ea0d8
--! Message: roll-ups by day

-- Roll-ups by day for analysts. Days that are over are summed once, and again only when a late row belongs to them, so that a
-- question about a day reads that day, and its totals outlive messages, archived logs and deleted accounts.

-- Function bodies are checked on first use, so a function may precede the objects that it uses.
set local check_function_bodies = off;

-- The only row. Its lock serialises the roll-ups.
create table private.roll_up_state (
  is_only_row boolean primary key default true,
  watermark timestamptz,
  refreshed_at timestamptz,
  constraint roll_up_state_is_one_row check (is_only_row)
);
alter table private.roll_up_state enable row level security;
comment on table private.roll_up_state is 'State of the roll-ups of analytics, in a single row.';
comment on column private.roll_up_state.is_only_row is 'Always true: there is one row.';
comment on column private.roll_up_state.watermark is
  'Time up to which new rows were looked for; null before the first run. Their days are summed or in days_to_roll_up.';
comment on column private.roll_up_state.refreshed_at is 'Time when a day was last summed; null before the first run.';
insert into private.roll_up_state default values;

-- Without a unique day, so that no writer waits for another or for the job.
create table private.days_to_roll_up (
  id bigint generated always as identity primary key,
  day date not null,
  constraint days_to_roll_up_day_is_plausible check (day >= '2000-01-01' and day < 'infinity')
);
alter table private.days_to_roll_up enable row level security;
create index days_to_roll_up_day_idx on private.days_to_roll_up (day);
comment on table private.days_to_roll_up is 'One row per request to sum a day, the first time or again; a day may have several.';
comment on column private.days_to_roll_up.id is 'Number of the row.';
comment on column private.days_to_roll_up.day is 'Day in UTC.';

-- Durations instead of times: after the account is deleted, an exact time could still tell which account it was.
create table private.rolled_up_accounts (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references identity.users on delete set null,
  signed_up_on date not null,
  seconds_to_verified bigint,
  seconds_to_first_message bigint,
  seconds_to_first_payment bigint,
  constraint rolled_up_accounts_user_id_key unique (user_id)
);
alter table private.rolled_up_accounts enable row level security;
comment on table private.rolled_up_accounts is
  'One row per account that existed when a roll-up ran, deleted ones included: a random key for counting accounts without naming them.';
comment on column private.rolled_up_accounts.id is 'Random key, which nothing else refers to.';
comment on column private.rolled_up_accounts.user_id is 'The account; null after its deletion.';
comment on column private.rolled_up_accounts.signed_up_on is 'Day (UTC) on which the account was created.';
comment on column private.rolled_up_accounts.seconds_to_verified is
  'Seconds from sign-up to the verification of an e-mail address; null if none was verified.';
comment on column private.rolled_up_accounts.seconds_to_first_message is
  'Seconds from sign-up to the first message to a model; null if there was none.';
comment on column private.rolled_up_accounts.seconds_to_first_payment is
  'Seconds from sign-up to the first payment above zero; null if there was none.';
-- Cohorts read a range of sign-up days.
create index rolled_up_accounts_signed_up_on_idx on private.rolled_up_accounts (signed_up_on);

create table private.account_days (
  day date not null,
  account_id uuid not null references private.rolled_up_accounts on delete cascade,
  plan_code text not null,
  sign_ins bigint not null default 0,
  chat_messages bigint not null default 0,
  room_messages bigint not null default 0,
  content_sessions bigint not null default 0,
  token_uses bigint not null default 0,
  primary key (day, account_id),
  constraint account_days_counts_are_not_negative
    check (least(sign_ins, chat_messages, room_messages, content_sessions, token_uses) >= 0)
);
alter table private.account_days enable row level security;
-- The days of a cohort's accounts; also serves the foreign key.
create index account_days_account_id_day_idx on private.account_days (account_id, day);
comment on table private.account_days is
  'One row per day (UTC) and account with activity. Counts never fall: activity stays counted when it is deleted or archived later.';
comment on column private.account_days.day is 'Day in UTC.';
comment on column private.account_days.account_id is 'Random key of the account.';
comment on column private.account_days.plan_code is 'Code of the plan at the end of the day; free without a subscription.';
comment on column private.account_days.sign_ins is 'Number of successful sign-ins.';
comment on column private.account_days.chat_messages is 'Number of messages to models.';
comment on column private.account_days.room_messages is 'Number of messages posted in rooms and in the general chat.';
comment on column private.account_days.content_sessions is 'Number of sessions with content that began.';
comment on column private.account_days.token_uses is 'Number of uses of tokens.';

create table private.sign_in_days (
  day date not null,
  status text not null,
  attempts bigint not null,
  users bigint not null,
  ip_addresses bigint not null,
  primary key (day, status)
);
alter table private.sign_in_days enable row level security;
comment on table private.sign_in_days is 'One row per day (UTC) and status of sign-in attempts.';
comment on column private.sign_in_days.day is 'Day in UTC.';
comment on column private.sign_in_days.status is 'Result of the attempts.';
comment on column private.sign_in_days.attempts is 'Number of attempts.';
comment on column private.sign_in_days.users is 'Number of accounts that were tried.';
comment on column private.sign_in_days.ip_addresses is 'Number of client addresses.';

create table private.account_usage_days (
  id bigint generated always as identity primary key,
  day date not null,
  account_id uuid references private.rolled_up_accounts on delete cascade,
  plan_code text,
  model_id uuid references llm.models on delete restrict,
  requests bigint not null,
  input_tokens bigint not null,
  output_tokens bigint not null,
  total_tokens bigint not null,
  unpriced_tokens bigint not null,
  cost numeric not null,
  currency text not null,
  constraint account_usage_days_day_account_id_model_id_key unique nulls not distinct (day, account_id, model_id)
);
alter table private.account_usage_days enable row level security;
-- Both serve a foreign key.
create index account_usage_days_account_id_idx on private.account_usage_days (account_id);
create index account_usage_days_model_id_idx on private.account_usage_days (model_id);
comment on table private.account_usage_days is
  'One row per day (UTC), account and model with usage, with the plan of the account. The sum of a day and model is that of billing.daily_usage.';
comment on column private.account_usage_days.id is 'Number of the row.';
comment on column private.account_usage_days.day is 'Day of the usage in UTC.';
comment on column private.account_usage_days.account_id is
  'Random key of the account; null for usage of accounts that were deleted before it was summed.';
comment on column private.account_usage_days.plan_code is
  'Code of the plan at the end of the day; free without a subscription; null without an account.';
comment on column private.account_usage_days.model_id is 'The model; null if none was named.';
comment on column private.account_usage_days.requests is 'Number of uses, without corrections.';
comment on column private.account_usage_days.input_tokens is 'Number of tokens sent, cached ones included.';
comment on column private.account_usage_days.output_tokens is 'Number of tokens generated, reasoning included.';
comment on column private.account_usage_days.total_tokens is 'Sum of input and output tokens.';
comment on column private.account_usage_days.unpriced_tokens is 'Number of tokens whose cost is unknown and not included in cost.';
comment on column private.account_usage_days.cost is 'Exact cost of the priced tokens, in units of currency.';
comment on column private.account_usage_days.currency is 'Currency of the cost (ISO 4217 code).';

create table private.revenue_days (
  id bigint generated always as identity primary key,
  day date not null,
  plan_code text,
  currency text not null,
  payments bigint not null,
  gross_cents bigint not null,
  refunded_cents bigint not null,
  disputed_cents bigint not null,
  constraint revenue_days_day_plan_code_currency_key unique nulls not distinct (day, plan_code, currency)
);
alter table private.revenue_days enable row level security;
comment on table private.revenue_days is 'One row per day (UTC) of payment, plan and currency.';
comment on column private.revenue_days.id is 'Number of the row.';
comment on column private.revenue_days.day is 'Day of the payments in UTC.';
comment on column private.revenue_days.plan_code is 'Code of the plan that was paid; null for payments without a plan.';
comment on column private.revenue_days.currency is 'ISO 4217 code of the amounts.';
comment on column private.revenue_days.payments is 'Number of payments received.';
comment on column private.revenue_days.gross_cents is 'Sum of the payments in the currency''s smallest unit.';
comment on column private.revenue_days.refunded_cents is 'Part of these payments that was refunded since, in the smallest unit.';
comment on column private.revenue_days.disputed_cents is 'Part of these payments that is in dispute, in the smallest unit.';

-- A day of each source, and what was written since the watermark, without reading the whole table: rows of logs are in order of time
-- on disk. Expressions, because the API offers orders and filters by indexed columns.
create index room_messages_created_at_idx on rooms.room_messages using brin ((created_at at time zone 'UTC'));
create index content_consumption_created_at_started_at_idx
  on learning.content_consumption using brin ((created_at at time zone 'UTC'), (started_at at time zone 'UTC'));
create index daily_usage_day_idx on billing.daily_usage (day);
create index payments_paid_at_idx on billing.payments ((paid_at at time zone 'UTC')) where paid_at is not null;
create index payments_updated_at_idx on billing.payments ((updated_at at time zone 'UTC'));

--! Included plinth/private/uuid_v7_at.sql
create or replace function private.uuid_v7_at(at timestamptz)
  returns uuid
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select encode(
    substring(int8send((extract(epoch from at) * 1000)::bigint) from 3) || decode('70008000000000000000', 'hex'), 'hex'
  )::uuid
$$;

comment on function private.uuid_v7_at(timestamptz) is 'Returns the least UUIDv7 of a time, so that a range of ids is a range of times.';
--! EndIncluded plinth/private/uuid_v7_at.sql
--! Included analytics/private/plan_code_at.sql
-- From the history, so that the plan of a past day does not change.
create or replace function private.plan_code_at(user_id uuid, at timestamptz)
  returns text
  language sql
  stable
  set search_path = pg_catalog
as $$
  select coalesce(
    (
      select s.code
      from (
        select distinct on (c.subscription_id) p.code, c.to_status, c.effective_at
        from billing.subscription_changes c
        join billing.subscription_plans p on p.id = c.to_plan_id
        where c.user_id = plan_code_at.user_id and c.effective_at < plan_code_at.at
        order by c.subscription_id, c.effective_at desc, c.id desc
      ) s
      where s.to_status in ('trialing', 'active', 'past_due')
      order by s.effective_at desc
      limit 1
    ),
    'free'
  )
$$;

comment on function private.plan_code_at(uuid, timestamptz) is
  'Returns the code of the plan that a user had just before a time (trialing, active or past_due), or free.';
--! EndIncluded analytics/private/plan_code_at.sql
--! Included analytics/private/find_days_to_roll_up.sql
-- Every run sums today and yesterday. An earlier day is summed again when a row of it was written since the last run: usage reported
-- late, a heartbeat of a device that was offline, a refund. Imports of messages add their days themselves, and payments the day that
-- they leave. The hour before the watermark is read again, because a transaction may have written its rows before and committed after
-- it. Times before 2000 or after now are mistakes of clocks and files; they must not make a year of days, and an account with such a
-- time counts as new today. A watermark after now is that of a clock which was ahead.
create or replace function private.find_days_to_roll_up()
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  set timezone = 'UTC'
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_watermark timestamptz;
  v_since timestamptz;
begin
  select case when s.watermark > v_now then v_now else s.watermark end
  into strict v_watermark
  from private.roll_up_state s
  for update;
  v_since := v_watermark - interval '1 hour';

  -- Waits for an account that is being deleted, and then leaves it out.
  insert into private.rolled_up_accounts (user_id, signed_up_on)
  select
    u.id,
    case when u.created_at >= '2000-01-01' and u.created_at < v_now::date + 1 then u.created_at::date else v_now::date end
  from identity.users u
  where not exists (select from private.rolled_up_accounts a where a.user_id = u.id)
  for key share of u;
  update private.rolled_up_accounts a
  set seconds_to_verified = greatest(extract(epoch from u.email_verified_at - u.created_at), 0)
  from identity.users u
  where u.id = a.user_id and a.seconds_to_verified is null
    and isfinite(u.email_verified_at) and isfinite(u.created_at);

  if v_watermark is null then
    insert into private.days_to_roll_up (day)
    select d.day
    from (
      select l.created_at::date as day from security.login_attempts l
      union
      select m.created_at::date from llm.messages m
      union
      select m.created_at::date from rooms.room_messages m
      union
      select m.created_at::date from rooms.general_chat_messages m
      union
      select c.started_at::date from learning.content_consumption c
      union
      select u.day from billing.daily_usage u
      union
      select p.paid_at::date from billing.payments p
    ) d
    where d.day between '2000-01-01' and v_now::date;
  else
    insert into private.days_to_roll_up (day)
    select d.day
    from (
      select g.day::date
      from generate_series(v_watermark::date - 1, v_now::date, interval '1 day') g (day)
      union
      select e.occurred_at::date from billing.usage_events e where e.id >= private.uuid_v7_at(v_since)
      union
      select c.started_at::date
      from learning.content_consumption c
      -- The first condition chooses the partitions, the second their pages.
      where c.created_at >= v_since and c.created_at at time zone 'UTC' >= v_since at time zone 'UTC'
      union
      select p.paid_at::date
      from billing.payments p
      where p.updated_at at time zone 'UTC' >= v_since at time zone 'UTC' and p.paid_at is not null
    ) d (day)
    where d.day between '2000-01-01' and v_now::date and not exists (select from private.days_to_roll_up o where o.day = d.day);
  end if;
  update private.roll_up_state s set watermark = v_now;
  return (select count(distinct d.day) from private.days_to_roll_up d);
end
$$;

comment on function private.find_days_to_roll_up() is
  'Finds the days whose rows are new since the watermark, and new accounts; returns the number of days that wait to be summed.';
grant execute on function private.find_days_to_roll_up() to :PLINTH_WORKER;
--! EndIncluded analytics/private/find_days_to_roll_up.sql
--! Included analytics/private/roll_up_activity.sql
create or replace function private.roll_up_activity(day date, day_start timestamptz, day_end timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  insert into private.account_days as k (
    day, account_id, plan_code, sign_ins, chat_messages, room_messages, content_sessions, token_uses
  )
  select
    roll_up_activity.day, a.id, private.plan_code_at(a.user_id, day_end),
    coalesce(sum(x.uses) filter (where x.kind = 'sign_in'), 0),
    coalesce(sum(x.uses) filter (where x.kind = 'chat_message'), 0),
    coalesce(sum(x.uses) filter (where x.kind = 'room_message'), 0),
    coalesce(sum(x.uses) filter (where x.kind = 'content_session'), 0),
    coalesce(sum(x.uses) filter (where x.kind = 'token_use'), 0)
  from (
    select 'sign_in' as kind, l.user_id, count(*) as uses
    from security.login_attempts l
    where l.status = 'success' and l.created_at >= day_start and l.created_at < day_end
    group by l.user_id
    union all
    select 'chat_message', m.user_id, count(*)
    from llm.messages m
    where m.role = 'user' and m.created_at >= day_start and m.created_at < day_end
    group by m.user_id
    union all
    select 'room_message', m.sender_id, count(*)
    from rooms.room_messages m
    where m.sender_type = 'user'
      and m.message_type = 'text'
      and m.created_at at time zone 'UTC' >= roll_up_activity.day
      and m.created_at at time zone 'UTC' < roll_up_activity.day + 1
    group by m.sender_id
    union all
    select 'room_message', m.sender_id, count(*)
    from rooms.general_chat_messages m
    where m.created_at >= day_start and m.created_at < day_end
    group by m.sender_id
    union all
    select 'content_session', c.user_id, count(*)
    from learning.content_consumption c
    where c.started_at at time zone 'UTC' >= roll_up_activity.day
      and c.started_at at time zone 'UTC' < roll_up_activity.day + 1
    group by c.user_id
    union all
    select 'token_use', u.user_id, sum(u.requests)
    from billing.daily_usage u
    where u.day = roll_up_activity.day and u.requests > 0
    group by u.user_id
  ) x
  join private.rolled_up_accounts a on a.user_id = x.user_id
  group by a.id
  on conflict on constraint account_days_pkey do update
  set
    plan_code = excluded.plan_code,
    sign_ins = greatest(k.sign_ins, excluded.sign_ins),
    chat_messages = greatest(k.chat_messages, excluded.chat_messages),
    room_messages = greatest(k.room_messages, excluded.room_messages),
    content_sessions = greatest(k.content_sessions, excluded.content_sessions),
    token_uses = greatest(k.token_uses, excluded.token_uses);

  update private.rolled_up_accounts a
  set seconds_to_first_message = f.seconds
  from (
    select m.user_id, greatest(extract(epoch from min(m.created_at) - u.created_at), 0)::bigint as seconds
    from llm.messages m
    join identity.users u on u.id = m.user_id
    where m.role = 'user' and m.created_at >= day_start and m.created_at < day_end and isfinite(u.created_at)
    group by m.user_id, u.created_at
  ) f
  where a.user_id = f.user_id and f.seconds < coalesce(a.seconds_to_first_message, f.seconds + 1);
end
$$;

comment on function private.roll_up_activity(date, timestamptz, timestamptz) is
  'Sums a day''s activity by account into private.account_days, and notes each account''s first message.';
--! EndIncluded analytics/private/roll_up_activity.sql
--! Included analytics/private/roll_up_usage.sql
-- An account's own rows stay as they are after its deletion: its plan is gone by then. Usage of accounts that were deleted before it
-- was summed is the rest of billing.daily_usage, so that the sum of a day is right in any case.
create or replace function private.roll_up_usage(day date, day_end timestamptz)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  insert into private.account_usage_days as k (
    day, account_id, plan_code, model_id, requests, input_tokens, output_tokens, total_tokens, unpriced_tokens, cost, currency
  )
  select
    u.day, a.id, private.plan_code_at(a.user_id, day_end), u.model_id,
    u.requests, u.input_tokens, u.output_tokens, u.total_tokens, u.unpriced_tokens, u.cost, u.currency
  from billing.daily_usage u
  join private.rolled_up_accounts a on a.user_id = u.user_id
  where u.day = roll_up_usage.day
  union all
  select
    d.day, null, null, d.model_id,
    d.requests - coalesce(r.requests, 0), d.input_tokens - coalesce(r.input_tokens, 0),
    d.output_tokens - coalesce(r.output_tokens, 0), d.total_tokens - coalesce(r.total_tokens, 0),
    d.unpriced_tokens - coalesce(r.unpriced_tokens, 0), d.cost - coalesce(r.cost, 0), d.currency
  from (
    select
      u.day, u.model_id, u.currency, sum(u.requests) as requests, sum(u.input_tokens) as input_tokens,
      sum(u.output_tokens) as output_tokens, sum(u.total_tokens) as total_tokens, sum(u.unpriced_tokens) as unpriced_tokens,
      sum(u.cost) as cost
    from billing.daily_usage u
    where u.day = roll_up_usage.day and u.user_id is null
    group by u.day, u.model_id, u.currency
  ) d
  left join (
    select
      o.model_id, sum(o.requests) as requests, sum(o.input_tokens) as input_tokens, sum(o.output_tokens) as output_tokens,
      sum(o.total_tokens) as total_tokens, sum(o.unpriced_tokens) as unpriced_tokens, sum(o.cost) as cost
    from private.account_usage_days o
    join private.rolled_up_accounts a on a.id = o.account_id and a.user_id is null
    where o.day = roll_up_usage.day
    group by o.model_id
  ) r on r.model_id is not distinct from d.model_id
  where (d.requests, d.total_tokens) is distinct from (r.requests, r.total_tokens)
  on conflict on constraint account_usage_days_day_account_id_model_id_key do update
  set
    plan_code = excluded.plan_code,
    requests = excluded.requests,
    input_tokens = excluded.input_tokens,
    output_tokens = excluded.output_tokens,
    total_tokens = excluded.total_tokens,
    unpriced_tokens = excluded.unpriced_tokens,
    cost = excluded.cost,
    currency = excluded.currency;
end
$$;

comment on function private.roll_up_usage(date, timestamptz) is
  'Copies a day of billing.daily_usage into private.account_usage_days, with the plan that each account had.';
--! EndIncluded analytics/private/roll_up_usage.sql
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
    coalesce(sum(p.amount_cents - p.refunded_cents) filter (where p.disputed_at is not null), 0)
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
--! Included analytics/private/roll_up_sign_ins.sql
-- Numbers never fall: attempts of deleted accounts stay counted, and those of archived months.
create or replace function private.roll_up_sign_ins(day date, day_start timestamptz, day_end timestamptz)
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  insert into private.sign_in_days as k (day, status, attempts, users, ip_addresses)
  select roll_up_sign_ins.day, l.status, count(*), count(distinct l.user_id), count(distinct l.ip_address)
  from security.login_attempts l
  where l.created_at >= day_start and l.created_at < day_end
  group by l.status
  on conflict on constraint sign_in_days_pkey do update
  set
    attempts = greatest(k.attempts, excluded.attempts),
    users = greatest(k.users, excluded.users),
    ip_addresses = greatest(k.ip_addresses, excluded.ip_addresses)
$$;

comment on function private.roll_up_sign_ins(date, timestamptz, timestamptz) is
  'Sums a day''s sign-in attempts by status into private.sign_in_days.';
--! EndIncluded analytics/private/roll_up_sign_ins.sql
--! Included analytics/private/roll_up_day.sql
-- A transaction per day: a killed worker has summed a day completely or not at all, and the next worker finds the rest waiting. The
-- newest day is first, so that a first run over years shows today's numbers soon.
create or replace function private.roll_up_day()
  returns date
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  set timezone = 'UTC'
as $$
declare
  v_day date;
begin
  perform from private.roll_up_state s for update;
  v_day := (select max(d.day) from private.days_to_roll_up d);
  if v_day is null then
    return null;
  end if;
  -- Before the rows are read: a row that is committed in the meantime has a request of its own, which stays.
  delete from private.days_to_roll_up d where d.day = v_day;
  perform private.roll_up_activity(v_day, v_day::timestamptz, (v_day + 1)::timestamptz);
  perform private.roll_up_usage(v_day, (v_day + 1)::timestamptz);
  perform private.roll_up_revenue(v_day);
  perform private.roll_up_sign_ins(v_day, v_day::timestamptz, (v_day + 1)::timestamptz);
  update private.roll_up_state s set refreshed_at = clock_timestamp();
  return v_day;
end
$$;

comment on function private.roll_up_day() is
  'Sums the newest day that waits for it, and returns it; null if no day waits. A repeated call changes nothing.';
grant execute on function private.roll_up_day() to :PLINTH_WORKER;
--! EndIncluded analytics/private/roll_up_day.sql
--! Included billing/triggers/payments.sql
-- The first of a payment's events may arrive last and date the payment to an earlier day. The day that it leaves has no row that tells
-- of it any more, and would keep the revenue a second time.
create or replace function private.request_roll_up_of_payment()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into private.days_to_roll_up (day)
  select (old.paid_at at time zone 'UTC')::date
  where old.paid_at >= '2000-01-01Z' and old.paid_at < 'infinity';
  return null;
end
$$;

comment on function private.request_roll_up_of_payment() is 'Trigger: requests that the day is summed again that a payment leaves.';

create or replace trigger _500_request_roll_up_of_moved
  after update of paid_at on billing.payments
  for each row
  when (old.paid_at is not null and old.paid_at is distinct from new.paid_at)
  execute function private.request_roll_up_of_payment();

create or replace trigger _500_request_roll_up_of_deleted
  after delete on billing.payments
  for each row
  when (old.paid_at is not null)
  execute function private.request_roll_up_of_payment();
--! EndIncluded billing/triggers/payments.sql
--! Included llm/private/import_messages.sql
create or replace function private.import_messages(user_id uuid, chat_id uuid, messages jsonb)
  returns integer
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_message jsonb;
  v_id uuid;
  v_parent_id uuid;
  v_depth integer;
  v_model_id uuid;
  v_chat_created_at timestamptz := (select c.created_at from llm.chats c where c.id = import_messages.chat_id);
  v_added integer := 0;
begin
  for v_message in select m.value from jsonb_array_elements(import_messages.messages) m loop
    if private.imported_message_id(
      import_messages.user_id, import_messages.chat_id, v_message ->> 'key', (v_message ->> 'id')::uuid
    ) is not null then
      continue;
    end if;
    v_parent_id := null;
    v_depth := 0;
    if v_message ->> 'parent' is not null then
      select m.id, m.depth into strict v_parent_id, v_depth
      from llm.messages m
      where m.user_id = import_messages.user_id
        and m.chat_id = import_messages.chat_id
        and m.id = private.imported_message_id(
          import_messages.user_id, import_messages.chat_id, v_message ->> 'parent', (v_message ->> 'parentId')::uuid
        );
    end if;
    v_model_id := (
      select m.id
      from llm.models m
      join llm.model_providers p on p.id = m.provider_id
      where v_message ->> 'role' = 'assistant' and p.name || '/' || m.name = v_message ->> 'model'
    );
    v_id := coalesce(
      (
        select (v_message ->> 'id')::uuid
        where not exists (select from llm.messages o where o.id = (v_message ->> 'id')::uuid)
      ),
      plinth.uuid_v7()
    );
    insert into llm.messages (
      id, chat_id, user_id, parent_id, depth, role, content, thinking, images, tool_calls, model_id, state, finish_reason,
      error_code, error_message, extended_metadata, created_at, idempotency_key
    )
    values (
      v_id, import_messages.chat_id, import_messages.user_id, v_parent_id, v_depth + 1, v_message ->> 'role',
      v_message ->> 'content', v_message ->> 'thinking', nullif(v_message -> 'images', 'null'),
      nullif(v_message -> 'toolCalls', 'null'), v_model_id, coalesce(v_message ->> 'state', 'complete'),
      v_message ->> 'finishReason', v_message ->> 'errorCode', v_message ->> 'errorMessage',
      coalesce(v_message -> 'metadata', '{}')
        || case
          when v_model_id is null and v_message ->> 'model' is not null then jsonb_build_object('model', v_message -> 'model')
          else '{}'
        end,
      coalesce((v_message ->> 'createdAt')::timestamptz, v_chat_created_at), v_message ->> 'key'
    );
    if jsonb_array_length(coalesce(v_message -> 'attachments', '[]')) > 0 then
      insert into llm.message_attachments (user_id, chat_id, message_id, position, url, mime_type, size_bytes, name)
      select
        import_messages.user_id, import_messages.chat_id, v_id, a.ordinality, a.value ->> 'url', a.value ->> 'mimeType',
        (a.value ->> 'sizeBytes')::bigint, a.value ->> 'name'
      from jsonb_array_elements(v_message -> 'attachments') with ordinality a;
    end if;
    if jsonb_typeof(v_message -> 'feedback') = 'object' then
      insert into llm.message_feedback (user_id, chat_id, message_id, rating, comment)
      values (
        import_messages.user_id, import_messages.chat_id, v_id, v_message -> 'feedback' ->> 'rating',
        coalesce(v_message -> 'feedback' ->> 'comment', '')
      );
    end if;
    v_added := v_added + 1;
  end loop;
  -- Imported messages are of earlier days, which analytics counts again.
  if v_added > 0 then
    insert into private.days_to_roll_up (day)
    select distinct (coalesce((m.value ->> 'createdAt')::timestamptz, v_chat_created_at) at time zone 'UTC')::date
    from jsonb_array_elements(import_messages.messages) m
    where coalesce((m.value ->> 'createdAt')::timestamptz, v_chat_created_at) between '2000-01-01' and now();
  end if;
  return v_added;
end
$$;

comment on function private.import_messages(uuid, uuid, jsonb) is
  'Adds the messages that an imported chat lacks, with their attachments and ratings; returns their number.';
--! EndIncluded llm/private/import_messages.sql

--! Included analytics/functions/major_units.sql
-- ISO 4217, list one: currencies have two decimals except those named here.
create or replace function analytics.major_units(amount numeric, currency text)
  returns numeric
  language sql
  immutable
  strict
  parallel safe
  set search_path = pg_catalog
as $$
  select case
    when currency in (
      'BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF'
    ) then amount
    when currency in ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') then amount * 0.001
    when currency in ('CLF', 'UYW') then amount * 0.0001
    else amount * 0.01
  end
$$;

comment on function analytics.major_units(numeric, text) is
  'Returns an amount of a currency''s smallest unit (ISO 4217) in units of the currency: 1999 USD is 19.99, 1999 JPY is 1999.';
grant execute on function analytics.major_units(numeric, text) to :PLINTH_ANALYST;
--! EndIncluded analytics/functions/major_units.sql
--! Included analytics/views/roll_ups.sql
-- How current the kept totals are. The materialized views have a column refreshed_at of their own.
create or replace view analytics.roll_ups
  with (security_barrier = true)
as
select t.name, s.watermark, s.refreshed_at, t.rows, p.pending_days
from private.roll_up_state s
cross join lateral (
  values
    ('accounts', (select count(*) from private.rolled_up_accounts)),
    ('account_activity', (select count(*) from private.account_days)),
    ('daily_revenue', (select count(*) from private.revenue_days)),
    ('daily_sign_ins', (select count(*) from private.sign_in_days)),
    ('daily_usage_by_plan', (select count(*) from private.account_usage_days))
) t (name, rows)
cross join (select count(distinct d.day) as pending_days from private.days_to_roll_up d) p;

comment on view analytics.roll_ups is 'Grain: one row per kept total. The job roll-up-days keeps them.';
comment on column analytics.roll_ups.name is
  'Name of the total: that of the view which shows it; accounts are behind the cohorts and the funnel.';
comment on column analytics.roll_ups.watermark is 'Time up to which new rows were looked for; null before the first run.';
comment on column analytics.roll_ups.refreshed_at is
  'Time when the job roll-up-days last summed a day; null before the first run.';
comment on column analytics.roll_ups.rows is 'Number of rows kept.';
comment on column analytics.roll_ups.pending_days is
  'Number of days that wait to be summed; they fall to 0 during the first run.';
grant select on analytics.roll_ups to :PLINTH_ANALYST;
--! EndIncluded analytics/views/roll_ups.sql
--! Included analytics/views/account_activity.sql
-- The roll-up itself. The other views of activity count it.
create or replace view analytics.account_activity
  with (security_barrier = true)
as
select
  k.day,
  k.account_id as account_key,
  a.user_id,
  k.plan_code,
  k.sign_ins,
  k.chat_messages,
  k.room_messages,
  k.content_sessions,
  k.token_uses,
  (select s.refreshed_at from private.roll_up_state s) as refreshed_at
from private.account_days k
join private.rolled_up_accounts a on a.id = k.account_id;

comment on view analytics.account_activity is
  'Grain: one row per day (UTC) and account with activity, deleted accounts included. Counts stay when activity is deleted later.';
comment on column analytics.account_activity.day is 'Day in UTC.';
comment on column analytics.account_activity.account_key is 'Random key of the account, the same on all days.';
comment on column analytics.account_activity.user_id is 'The account; null after its deletion.';
comment on column analytics.account_activity.plan_code is
  'Code of the account''s plan at the end of the day; free without a subscription.';
comment on column analytics.account_activity.sign_ins is 'Number of successful sign-ins.';
comment on column analytics.account_activity.chat_messages is 'Number of messages to models.';
comment on column analytics.account_activity.room_messages is 'Number of messages posted in rooms and in the general chat.';
comment on column analytics.account_activity.content_sessions is 'Number of sessions with content that began.';
comment on column analytics.account_activity.token_uses is 'Number of uses of tokens.';
comment on column analytics.account_activity.refreshed_at is 'Time when the job roll-up-days last summed a day.';
grant select on analytics.account_activity to :PLINTH_ANALYST;
--! EndIncluded analytics/views/account_activity.sql
--! Included analytics/views/daily_active_accounts.sql
-- Each day reads the 30 days that end with it.
create or replace view analytics.daily_active_accounts
  with (security_barrier = true)
as
select
  d.day::date as day,
  a.daily_accounts,
  a.weekly_accounts,
  a.monthly_accounts,
  round(a.daily_accounts::numeric / nullif(a.monthly_accounts, 0), 4) as stickiness,
  (select s.refreshed_at from private.roll_up_state s) as refreshed_at
from generate_series(
  (select min(f.day) from private.account_days f)::timestamp,
  (select s.watermark at time zone 'UTC' from private.roll_up_state s),
  interval '1 day'
) d (day)
cross join lateral (
  select
    count(distinct k.account_id) filter (where k.day = d.day::date) as daily_accounts,
    count(distinct k.account_id) filter (where k.day > d.day::date - 7) as weekly_accounts,
    count(distinct k.account_id) as monthly_accounts
  from private.account_days k
  where k.day > d.day::date - 30 and k.day <= d.day::date
) a;

comment on view analytics.daily_active_accounts is
  'Grain: one row per day (UTC) since the first activity. Active means a sign-in, a message, a session with content or a use of tokens.';
comment on column analytics.daily_active_accounts.day is 'Day in UTC.';
comment on column analytics.daily_active_accounts.daily_accounts is
  'Number of accounts active on the day (DAU), accounts deleted since included.';
comment on column analytics.daily_active_accounts.weekly_accounts is
  'Number of accounts active in the 7 days that end with the day (WAU).';
comment on column analytics.daily_active_accounts.monthly_accounts is
  'Number of accounts active in the 30 days that end with the day (MAU).';
comment on column analytics.daily_active_accounts.stickiness is
  'Ratio daily_accounts / monthly_accounts, 0 to 1; null when no account was active in the 30 days.';
comment on column analytics.daily_active_accounts.refreshed_at is 'Time when the job roll-up-days last summed a day.';
grant select on analytics.daily_active_accounts to :PLINTH_ANALYST;
--! EndIncluded analytics/views/daily_active_accounts.sql
--! Included analytics/views/retention_cohorts.sql
-- Each cohort reads its own accounts and their days.
create or replace view analytics.retention_cohorts
  with (security_barrier = true)
as
select
  u.cohort_unit,
  c.cohort_start::date as cohort_start,
  (p.number - 1)::integer as period,
  n.accounts,
  coalesce(x.active_accounts, 0) as active_accounts,
  round(coalesce(x.active_accounts, 0)::numeric / n.accounts, 4) as retention_rate,
  (select s.refreshed_at from private.roll_up_state s) as refreshed_at
from (values ('week', interval '7 days'), ('month', interval '1 month')) u (cohort_unit, length)
cross join lateral generate_series(
  (select date_trunc(u.cohort_unit, min(f.signed_up_on)::timestamp) from private.rolled_up_accounts f),
  (select s.watermark at time zone 'UTC' from private.roll_up_state s),
  u.length
) c (cohort_start)
cross join lateral (
  select count(*) as accounts
  from private.rolled_up_accounts a
  where a.signed_up_on >= c.cohort_start::date and a.signed_up_on < (c.cohort_start + u.length)::date
  having count(*) > 0
) n
cross join lateral generate_series(
  c.cohort_start, (select s.watermark at time zone 'UTC' from private.roll_up_state s), u.length
) with ordinality p (period_start, number)
left join lateral (
  select date_trunc(u.cohort_unit, k.day::timestamp) as period_start, count(distinct k.account_id) as active_accounts
  from private.rolled_up_accounts a
  join private.account_days k on k.account_id = a.id
  where a.signed_up_on >= c.cohort_start::date and a.signed_up_on < (c.cohort_start + u.length)::date
  group by 1
) x on x.period_start = p.period_start;

comment on view analytics.retention_cohorts is
  'Grain: one row per unit, sign-up week or month (UTC) and period since. The last period has not ended.';
comment on column analytics.retention_cohorts.cohort_unit is 'Length of cohorts and periods: week (from Monday) or month.';
comment on column analytics.retention_cohorts.cohort_start is
  'First day of the week or month in which the accounts were created.';
comment on column analytics.retention_cohorts.period is 'Number of weeks or months after the cohort''s own, which is 0.';
comment on column analytics.retention_cohorts.accounts is 'Number of accounts in the cohort, accounts deleted since included.';
comment on column analytics.retention_cohorts.active_accounts is 'Number of those accounts with activity in the period.';
comment on column analytics.retention_cohorts.retention_rate is 'Ratio active_accounts / accounts, 0 to 1.';
comment on column analytics.retention_cohorts.refreshed_at is 'Time when the job roll-up-days last summed a day.';
grant select on analytics.retention_cohorts to :PLINTH_ANALYST;
--! EndIncluded analytics/views/retention_cohorts.sql
--! Included analytics/views/sign_up_funnel.sql
create or replace view analytics.sign_up_funnel
  with (security_barrier = true)
as
select
  u.cohort_unit,
  c.cohort_start::date as cohort_start,
  n.signed_up,
  n.verified,
  n.sent_message,
  n.paid,
  n.median_seconds_to_verified,
  n.median_seconds_to_first_message,
  n.median_seconds_to_first_payment,
  (select s.refreshed_at from private.roll_up_state s) as refreshed_at
from (values ('day', interval '1 day'), ('week', interval '7 days'), ('month', interval '1 month')) u (cohort_unit, length)
cross join lateral generate_series(
  (select date_trunc(u.cohort_unit, min(f.signed_up_on)::timestamp) from private.rolled_up_accounts f),
  (select max(l.signed_up_on)::timestamp from private.rolled_up_accounts l),
  u.length
) c (cohort_start)
cross join lateral (
  select
    count(*) as signed_up,
    count(a.seconds_to_verified) as verified,
    count(a.seconds_to_first_message) as sent_message,
    count(a.seconds_to_first_payment) as paid,
    round(percentile_cont(0.5) within group (order by a.seconds_to_verified))::bigint as median_seconds_to_verified,
    round(percentile_cont(0.5) within group (order by a.seconds_to_first_message))::bigint as median_seconds_to_first_message,
    round(percentile_cont(0.5) within group (order by a.seconds_to_first_payment))::bigint as median_seconds_to_first_payment
  from private.rolled_up_accounts a
  where a.signed_up_on >= c.cohort_start::date and a.signed_up_on < (c.cohort_start + u.length)::date
  having count(*) > 0
) n;

comment on view analytics.sign_up_funnel is
  'Grain: one row per unit and day, week or month (UTC) with a sign-up. Steps count alone: an account may pay without a message.';
comment on column analytics.sign_up_funnel.cohort_unit is 'Length of the cohort: day, week (from Monday) or month.';
comment on column analytics.sign_up_funnel.cohort_start is 'First day on which the accounts were created.';
comment on column analytics.sign_up_funnel.signed_up is 'Number of accounts created, accounts deleted since included.';
comment on column analytics.sign_up_funnel.verified is 'Number of those accounts that have verified an e-mail address so far.';
comment on column analytics.sign_up_funnel.sent_message is 'Number of those accounts that have sent a message to a model so far.';
comment on column analytics.sign_up_funnel.paid is 'Number of those accounts that have made a payment above zero so far.';
comment on column analytics.sign_up_funnel.median_seconds_to_verified is
  'Median time from sign-up to verification, in seconds; null if there was none.';
comment on column analytics.sign_up_funnel.median_seconds_to_first_message is
  'Median time from sign-up to the first message to a model, in seconds; null if there was none.';
comment on column analytics.sign_up_funnel.median_seconds_to_first_payment is
  'Median time from sign-up to the first payment, in seconds; null if there was none.';
comment on column analytics.sign_up_funnel.refreshed_at is 'Time when the job roll-up-days last summed a day.';
grant select on analytics.sign_up_funnel to :PLINTH_ANALYST;
--! EndIncluded analytics/views/sign_up_funnel.sql
--! Included analytics/views/feature_use_by_plan.sql
create or replace view analytics.feature_use_by_plan
  with (security_barrier = true)
as
select
  m.month::date as month,
  x.plan_code,
  x.feature,
  x.active_accounts,
  x.accounts,
  x.uses,
  round(x.accounts::numeric / x.active_accounts, 4) as share_of_accounts,
  (select s.refreshed_at from private.roll_up_state s) as refreshed_at
from generate_series(
  (select date_trunc('month', min(f.day)::timestamp) from private.account_days f),
  (select max(l.day)::timestamp from private.account_days l),
  interval '1 month'
) m (month)
cross join lateral (
  select
    k.plan_code,
    f.feature,
    count(distinct k.account_id) as active_accounts,
    count(distinct k.account_id) filter (where f.uses > 0) as accounts,
    sum(f.uses)::bigint as uses
  from private.account_days k
  cross join lateral (
    values
      ('sign_in', k.sign_ins),
      ('chat_message', k.chat_messages),
      ('room_message', k.room_messages),
      ('content_session', k.content_sessions),
      ('token_use', k.token_uses)
  ) f (feature, uses)
  where k.day >= m.month::date and k.day < (m.month + interval '1 month')::date
  group by k.plan_code, f.feature
) x;

comment on view analytics.feature_use_by_plan is 'Grain: one row per month (UTC), plan with an active account and feature.';
comment on column analytics.feature_use_by_plan.month is 'First day of the month.';
comment on column analytics.feature_use_by_plan.plan_code is
  'Code of the account''s plan at the end of the day; free without a subscription. An account with two plans in a month counts for both.';
comment on column analytics.feature_use_by_plan.feature is
  'Feature: sign_in, chat_message (to a model), room_message, content_session or token_use.';
comment on column analytics.feature_use_by_plan.active_accounts is
  'Number of accounts of the plan with any activity in the month.';
comment on column analytics.feature_use_by_plan.accounts is 'Number of those accounts that used the feature.';
comment on column analytics.feature_use_by_plan.uses is 'Number of uses.';
comment on column analytics.feature_use_by_plan.share_of_accounts is 'Ratio accounts / active_accounts, 0 to 1.';
comment on column analytics.feature_use_by_plan.refreshed_at is 'Time when the job roll-up-days last summed a day.';
grant select on analytics.feature_use_by_plan to :PLINTH_ANALYST;
--! EndIncluded analytics/views/feature_use_by_plan.sql
--! Included analytics/views/daily_usage_by_plan.sql
-- Tokens and cost by plan; daily_token_usage and daily_usage_cost are current, but know no plan.
create or replace view analytics.daily_usage_by_plan
  with (security_barrier = true)
as
select
  k.day,
  k.plan_code,
  k.model_id,
  p.name as provider_name,
  m.name as model_name,
  k.currency,
  count(distinct k.account_id) as accounts,
  sum(k.requests)::bigint as requests,
  sum(k.input_tokens)::bigint as input_tokens,
  sum(k.output_tokens)::bigint as output_tokens,
  sum(k.total_tokens)::bigint as total_tokens,
  sum(k.unpriced_tokens)::bigint as unpriced_tokens,
  sum(k.cost) as cost,
  (select s.refreshed_at from private.roll_up_state s) as refreshed_at
from private.account_usage_days k
left join llm.models m on m.id = k.model_id
left join llm.model_providers p on p.id = m.provider_id
group by k.day, k.plan_code, k.model_id, p.name, m.name, k.currency;

comment on view analytics.daily_usage_by_plan is
  'Grain: one row per day (UTC), plan, model and currency with usage; usage without a model has rows of its own.';
comment on column analytics.daily_usage_by_plan.day is 'Day of the usage in UTC.';
comment on column analytics.daily_usage_by_plan.plan_code is
  'Code of the account''s plan at the end of the day; free without a subscription. Null for accounts that were deleted within minutes of the usage.';
comment on column analytics.daily_usage_by_plan.model_id is 'The model; null if none was named.';
comment on column analytics.daily_usage_by_plan.provider_name is 'Provider of the model.';
comment on column analytics.daily_usage_by_plan.model_name is 'The provider''s name for the model.';
comment on column analytics.daily_usage_by_plan.currency is 'ISO 4217 code of cost.';
comment on column analytics.daily_usage_by_plan.accounts is 'Number of accounts with usage, accounts deleted since included.';
comment on column analytics.daily_usage_by_plan.requests is 'Number of uses.';
comment on column analytics.daily_usage_by_plan.input_tokens is 'Number of tokens sent, cached ones included.';
comment on column analytics.daily_usage_by_plan.output_tokens is 'Number of tokens generated, reasoning included.';
comment on column analytics.daily_usage_by_plan.total_tokens is 'Sum of input and output tokens.';
comment on column analytics.daily_usage_by_plan.unpriced_tokens is
  'Number of tokens whose cost is unknown and not included in cost.';
comment on column analytics.daily_usage_by_plan.cost is 'Exact cost of the priced tokens in units of currency, not rounded.';
comment on column analytics.daily_usage_by_plan.refreshed_at is 'Time when the job roll-up-days last summed a day.';
grant select on analytics.daily_usage_by_plan to :PLINTH_ANALYST;
--! EndIncluded analytics/views/daily_usage_by_plan.sql
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
  'Grain: one row per day (UTC) of payment, plan and currency. A refund counts on the day of its payment, so past days change.';
comment on column analytics.daily_revenue.day is 'Day of the payments in UTC.';
comment on column analytics.daily_revenue.plan_code is 'Code of the plan that was paid; null for payments without a plan.';
comment on column analytics.daily_revenue.currency is 'ISO 4217 code of the amounts.';
comment on column analytics.daily_revenue.payments is 'Number of payments received.';
comment on column analytics.daily_revenue.gross_cents is
  'Sum of the payments in the currency''s smallest unit, which is the yen for JPY.';
comment on column analytics.daily_revenue.refunded_cents is 'Part of gross_cents that was refunded since, in the smallest unit.';
comment on column analytics.daily_revenue.disputed_cents is
  'Part of gross_cents that is in dispute and not refunded, in the smallest unit.';
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
  'Grain: one row per month (UTC), plan and currency with a payment or usage. Currencies are not converted.';
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
--! Included analytics/views/item_completion.sql
create or replace view analytics.item_completion
  with (security_barrier = true)
as
select
  i.id as item_id,
  i.course_id,
  i.content_type,
  i.language,
  i.current_version is not null and i.deleted_at is null as is_published,
  p.started_users,
  p.completed_users,
  round(p.completed_users::numeric / nullif(p.started_users, 0), 4) as completion_rate,
  p.median_seconds_to_complete,
  p.last_activity_at
from learning.content_items i
cross join lateral (
  select
    count(*) as started_users,
    count(c.completed_at) as completed_users,
    round(
      percentile_cont(0.5) within group (order by extract(epoch from c.completed_at - c.started_at)::float8)
        filter (where c.completed_at is not null)
    )::bigint as median_seconds_to_complete,
    max(c.last_activity_at) as last_activity_at
  from learning.content_progress c
  where c.item_id = i.id
) p;

comment on view analytics.item_completion is 'Grain: one row per item. Started against completed, by existing accounts.';
comment on column analytics.item_completion.item_id is 'The item.';
comment on column analytics.item_completion.course_id is 'The course that the item is part of; null if it is part of none.';
comment on column analytics.item_completion.content_type is 'Type of the item, such as course, lesson or article.';
comment on column analytics.item_completion.language is 'Language tag of the item.';
comment on column analytics.item_completion.is_published is 'Whether the item has a published version and is not deleted.';
comment on column analytics.item_completion.started_users is 'Number of users who have started the item.';
comment on column analytics.item_completion.completed_users is 'Number of those users who have completed it.';
comment on column analytics.item_completion.completion_rate is
  'Ratio completed_users / started_users, 0 to 1; null when no user has started it.';
comment on column analytics.item_completion.median_seconds_to_complete is
  'Median time from start to completion, in seconds, breaks included; null without a completion.';
comment on column analytics.item_completion.last_activity_at is 'Time of the last activity of any user; null without one.';
grant select on analytics.item_completion to :PLINTH_ANALYST;
--! EndIncluded analytics/views/item_completion.sql
--! Included analytics/views/room_activity.sql
-- Messages are numbered, so that the totals of a room read none of them.
create or replace view analytics.room_activity
  with (security_barrier = true)
as
select
  r.id as room_id,
  r.room_type,
  r.is_public,
  r.ai_enabled,
  m.members,
  r.last_sequence as messages,
  d.messages_30_days,
  d.senders_30_days,
  m.unread_messages,
  m.members_behind,
  r.last_activity_at,
  r.created_at
from rooms.chat_rooms r
cross join lateral (
  select
    count(*) as members,
    coalesce(sum(greatest(r.last_sequence - b.last_read_sequence, 0)), 0)::bigint as unread_messages,
    count(*) filter (where b.last_read_sequence < r.last_sequence) as members_behind
  from rooms.room_members b
  where b.room_id = r.id and b.user_id is not null
) m
cross join lateral (
  select count(*) as messages_30_days, count(distinct c.sender_id) as senders_30_days
  from rooms.room_messages c
  where c.room_id = r.id and not c.is_deleted and c.created_at > now() - interval '30 days'
) d;

comment on view analytics.room_activity is 'Grain: one row per room.';
comment on column analytics.room_activity.room_id is 'The room.';
comment on column analytics.room_activity.room_type is 'Type of the room: direct, group or private.';
comment on column analytics.room_activity.is_public is 'Whether every user may join the room.';
comment on column analytics.room_activity.ai_enabled is 'Whether a model is a member of the room.';
comment on column analytics.room_activity.members is 'Number of members with an account.';
comment on column analytics.room_activity.messages is 'Number of messages ever posted, deleted ones included.';
comment on column analytics.room_activity.messages_30_days is 'Number of messages of the last 30 days that are not deleted.';
comment on column analytics.room_activity.senders_30_days is 'Number of existing accounts that posted them.';
comment on column analytics.room_activity.unread_messages is
  'Unread load: messages after the read mark, summed over the members; own and deleted messages after the mark count too.';
comment on column analytics.room_activity.members_behind is 'Number of members with a message after their read mark.';
comment on column analytics.room_activity.last_activity_at is 'Time of the last event in the room.';
comment on column analytics.room_activity.created_at is 'Time when the room was created.';
grant select on analytics.room_activity to :PLINTH_ANALYST;
--! EndIncluded analytics/views/room_activity.sql

--! Included analytics/views/daily_sign_ins.sql
-- Sign-in attempts by day and result: days that are over from the roll-up, today, yesterday and days that are not summed yet from the
-- log. Each of these reads its range of created_at, because PostgreSQL cannot derive the month from a day that is computed from
-- each row.
create or replace view analytics.daily_sign_ins
  with (security_barrier = true)
as
select k.day, k.status, k.attempts, k.users, k.ip_addresses
from private.sign_in_days k
where k.day < (select (s.watermark at time zone 'UTC')::date - 1 from private.roll_up_state s)
union all
select d.day::date, a.status, a.attempts, a.users, a.ip_addresses
from private.roll_up_state s
cross join lateral generate_series(
  case
    when s.watermark is null
      then (select date_trunc('day', min(f.created_at) at time zone 'UTC') from security.login_attempts f)
    else least((s.watermark at time zone 'UTC')::date - 1, (select min(p.day) from private.days_to_roll_up p))::timestamp
  end,
  -- A clock that went wrong can leave rows after now.
  coalesce((select max(l.created_at) from security.login_attempts l where l.created_at >= now()), now()) at time zone 'UTC',
  interval '1 day'
) d (day)
cross join lateral (
  select
    l.status,
    count(*) as attempts,
    count(distinct l.user_id) as users,
    count(distinct l.ip_address) as ip_addresses
  from security.login_attempts l
  where l.created_at >= d.day at time zone 'UTC'
    and l.created_at < (d.day + interval '1 day') at time zone 'UTC'
  group by l.status
) a
where s.watermark is null
  or d.day >= (s.watermark at time zone 'UTC')::date - 1
  -- With LIMIT, the index answers for the day; without, PostgreSQL would read all days first.
  or (select true from private.sign_in_days k where k.day = d.day::date limit 1) is null;

comment on view analytics.daily_sign_ins is 'Grain: one row per day (UTC) and status of sign-in attempts.';
comment on column analytics.daily_sign_ins.day is 'Day in UTC.';
comment on column analytics.daily_sign_ins.status is 'Result of the attempts: success, failed, locked or challenged (a second factor was asked for).';
comment on column analytics.daily_sign_ins.attempts is 'Number of attempts.';
comment on column analytics.daily_sign_ins.users is 'Number of accounts that were tried; for today and yesterday, of those that still exist.';
comment on column analytics.daily_sign_ins.ip_addresses is 'Number of client addresses.';
grant select on analytics.daily_sign_ins to :PLINTH_ANALYST;
--! EndIncluded analytics/views/daily_sign_ins.sql
--! Included analytics/views/daily_model_usage.sql
-- Messages, users and tokens by day and model. Each day reads its range, as in analytics.daily_sign_ins. Imported
-- times of another age do not make the series endless.
create or replace view analytics.daily_model_usage
  with (security_barrier = true)
as
select d.day::date as day, a.model_id, p.name as provider_name, mo.name as model_name, a.messages, a.users, a.tokens_used
from generate_series(
  (select date_trunc('day', min(f.created_at) at time zone 'UTC') from llm.messages f where f.created_at >= '2000-01-01'),
  (select max(l.created_at) at time zone 'UTC' from llm.messages l where l.created_at < now() + interval '1 day'),
  interval '1 day'
) d (day)
cross join lateral (
  select
    m.model_id,
    count(*) as messages,
    count(distinct m.user_id) as users,
    coalesce(sum(m.tokens_used), 0) as tokens_used
  from llm.messages m
  where m.model_id is not null
    and m.created_at >= d.day at time zone 'UTC'
    and m.created_at < (d.day + interval '1 day') at time zone 'UTC'
  group by m.model_id
) a
join llm.models mo on mo.id = a.model_id
join llm.model_providers p on p.id = mo.provider_id;

comment on view analytics.daily_model_usage is 'Grain: one row per day (UTC) and model with an answer.';
comment on column analytics.daily_model_usage.day is 'Day in UTC.';
comment on column analytics.daily_model_usage.model_id is 'The model.';
comment on column analytics.daily_model_usage.provider_name is 'Provider of the model.';
comment on column analytics.daily_model_usage.model_name is 'The provider''s name for the model.';
comment on column analytics.daily_model_usage.messages is 'Number of answers of the model.';
comment on column analytics.daily_model_usage.users is 'Number of users who received them.';
comment on column analytics.daily_model_usage.tokens_used is 'Number of tokens recorded for them; messages without a count add nothing.';
grant select on analytics.daily_model_usage to :PLINTH_ANALYST;
--! EndIncluded analytics/views/daily_model_usage.sql
--! Included analytics/views/daily_registrations.sql
-- Registrations by day. Each day reads its range, as in analytics.daily_sign_ins. Imported
-- times of another age do not make the series endless.
create or replace view analytics.daily_registrations
  with (security_barrier = true)
as
select d.day::date as day, a.registered_users, a.verified_users, a.active_users
from generate_series(
  (select date_trunc('day', min(f.created_at) at time zone 'UTC') from identity.users f where f.created_at >= '2000-01-01'),
  (select max(l.created_at) at time zone 'UTC' from identity.users l where l.created_at < now() + interval '1 day'),
  interval '1 day'
) d (day)
cross join lateral (
  select
    count(*) as registered_users,
    count(*) filter (where u.is_verified) as verified_users,
    count(*) filter (where u.is_active) as active_users
  from identity.users u
  where u.created_at >= d.day at time zone 'UTC' and u.created_at < (d.day + interval '1 day') at time zone 'UTC'
  having count(*) > 0
) a;

comment on view analytics.daily_registrations is 'Grain: one row per day (UTC) with a registration.';
comment on column analytics.daily_registrations.day is 'Day in UTC.';
comment on column analytics.daily_registrations.registered_users is 'Number of accounts created that day that still exist.';
comment on column analytics.daily_registrations.verified_users is 'Number of those accounts whose address is verified today.';
comment on column analytics.daily_registrations.active_users is 'Number of those accounts that are active today.';
grant select on analytics.daily_registrations to :PLINTH_ANALYST;
--! EndIncluded analytics/views/daily_registrations.sql
--! Included analytics/views/subscription_metrics.sql
-- Business figures by month. Read from the history, so that figures of past months do not change.
drop materialized view if exists analytics.subscription_metrics;
create materialized view analytics.subscription_metrics as
with months as (
  select
    m.month::date as month,
    m.month at time zone 'UTC' as month_start,
    least((m.month + interval '1 month') at time zone 'UTC', now()) as month_end
  from generate_series(
    (select date_trunc('month', min(c.effective_at) at time zone 'UTC') from billing.subscription_changes c),
    date_trunc('month', now() at time zone 'UTC'),
    interval '1 month'
  ) m (month)
),
-- The end of each change's state. Changes of the same moment are ordered as recorded.
states as (
  select
    c.subscription_id,
    c.user_id,
    c.event,
    c.to_status as status,
    p.currency,
    p.price_cents > 0 as is_paid,
    case p.billing_cycle when 'monthly' then p.price_cents when 'yearly' then p.price_cents / 12.0 else 0 end as mrr_cents,
    c.effective_at,
    coalesce(
      lead(c.effective_at) over (partition by c.subscription_id order by c.effective_at, c.id), 'infinity'
    ) as until
  from billing.subscription_changes c
  join billing.subscription_plans p on p.id = c.to_plan_id
),
at_end as (
  select
    m.month,
    s.currency,
    count(*) filter (where s.status in ('active', 'past_due') and s.is_paid) as paying_subscriptions,
    count(*) filter (where s.status = 'active') as active_subscriptions,
    count(*) filter (where s.status = 'trialing') as trialing_subscriptions,
    count(*) filter (where s.status = 'past_due') as past_due_subscriptions,
    round(coalesce(sum(s.mrr_cents) filter (where s.status in ('active', 'past_due')), 0))::bigint as mrr_cents
  from months m
  join states s on s.effective_at < m.month_end and s.until >= m.month_end
  group by m.month, s.currency
),
churn as (
  select
    m.month,
    s.currency,
    count(*) as paying_at_start,
    count(*) filter (
      where exists (
        select
        from states e
        where e.subscription_id = s.subscription_id
          and e.effective_at < m.month_end
          and e.until >= m.month_end
          and e.status in ('canceled', 'expired')
      )
    ) as churned_subscriptions
  from months m
  join states s
    on s.effective_at < m.month_start
    and s.until >= m.month_start
    and s.status in ('active', 'past_due')
    and s.is_paid
  group by m.month, s.currency
),
trials as (
  select
    m.month,
    s.currency,
    count(*) as trials_started,
    count(*) filter (
      where exists (
        select
        from states e
        where e.user_id = s.user_id
          and e.effective_at >= s.effective_at
          and e.status = 'active'
          and e.is_paid
      )
    ) as trials_converted
  from months m
  join states s
    on s.event = 'trial_started'
    and s.effective_at >= m.month_start
    and s.effective_at < m.month_end
  group by m.month, s.currency
),
currencies as (
  select distinct s.currency from states s
)
select
  m.month,
  c.currency,
  coalesce(a.mrr_cents, 0) as mrr_cents,
  coalesce(a.active_subscriptions, 0) as active_subscriptions,
  coalesce(a.paying_subscriptions, 0) as paying_subscriptions,
  coalesce(a.trialing_subscriptions, 0) as trialing_subscriptions,
  coalesce(a.past_due_subscriptions, 0) as past_due_subscriptions,
  coalesce(h.paying_at_start, 0) as paying_at_start,
  coalesce(h.churned_subscriptions, 0) as churned_subscriptions,
  round(h.churned_subscriptions::numeric / nullif(h.paying_at_start, 0), 4) as churn_rate,
  coalesce(t.trials_started, 0) as trials_started,
  coalesce(t.trials_converted, 0) as trials_converted,
  round(t.trials_converted::numeric / nullif(t.trials_started, 0), 4) as trial_conversion_rate,
  analytics.major_units(coalesce(a.mrr_cents, 0), c.currency) as mrr,
  now() as refreshed_at
from months m
cross join currencies c
left join at_end a on a.month = m.month and a.currency = c.currency
left join churn h on h.month = m.month and h.currency = c.currency
left join trials t on t.month = m.month and t.currency = c.currency;

-- Required for refreshing concurrently.
create unique index subscription_metrics_month_currency_idx on analytics.subscription_metrics (month, currency);

comment on materialized view analytics.subscription_metrics is
  'Grain: one row per month (UTC) since the first subscription and currency; the current month is as of the last refresh (hourly).';
comment on column analytics.subscription_metrics.month is 'First day of the month.';
comment on column analytics.subscription_metrics.currency is 'ISO 4217 code of the plans'' currency.';
comment on column analytics.subscription_metrics.mrr_cents is
  'Monthly recurring revenue at the end of the month in the currency''s smallest unit: active and past_due subscriptions; yearly prices count a twelfth, lifetime prices nothing; rounded once.';
comment on column analytics.subscription_metrics.active_subscriptions is 'Number of active subscriptions at the end of the month, free plans included.';
comment on column analytics.subscription_metrics.paying_subscriptions is 'Number of active or past_due subscriptions at the end of the month on a plan with a price.';
comment on column analytics.subscription_metrics.trialing_subscriptions is 'Number of trialing subscriptions at the end of the month.';
comment on column analytics.subscription_metrics.past_due_subscriptions is 'Number of past_due subscriptions at the end of the month.';
comment on column analytics.subscription_metrics.paying_at_start is 'Number of paying subscriptions at the start of the month.';
comment on column analytics.subscription_metrics.churned_subscriptions is 'Number of those that were canceled or expired at the end of the month.';
comment on column analytics.subscription_metrics.churn_rate is 'Ratio of churned_subscriptions to paying_at_start, 0 to 1; null when there were no paying subscriptions.';
comment on column analytics.subscription_metrics.trials_started is 'Number of trials that began in the month.';
comment on column analytics.subscription_metrics.trials_converted is 'Number of those trials whose user has since had a paid active subscription.';
comment on column analytics.subscription_metrics.trial_conversion_rate is 'Ratio of trials_converted to trials_started, 0 to 1; null when no trial began.';
comment on column analytics.subscription_metrics.mrr is 'The amount of mrr_cents in units of currency.';
comment on column analytics.subscription_metrics.refreshed_at is 'Time of the last refresh.';
grant select on analytics.subscription_metrics to :PLINTH_ANALYST;
--! EndIncluded analytics/views/subscription_metrics.sql
