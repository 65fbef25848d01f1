import type { ViewSpecification } from "./specification.ts";

/** The plan of a user at the end of a day, by its own definition: the state that the last change of each subscription left. */
const planAt = (user: string, day: string) => `coalesce((
  select p.code from billing.user_subscriptions s
  join billing.subscription_changes c on c.id = (
    select x.id from billing.subscription_changes x where x.subscription_id = s.id and x.effective_at < (${day} + 1)::timestamp at time zone 'UTC'
    order by x.effective_at desc, x.id desc limit 1)
  join billing.subscription_plans p on p.id = c.to_plan_id
  where s.user_id = ${user} and c.to_status in ('trialing', 'active', 'past_due')), 'free')`;

const DAY = (column: string) => `(${column} at time zone 'UTC')::date`;

/** A row for each use, from the tables of each. */
const USES = `
  select user_id, ${DAY("created_at")} as day, 'sign_in' as feature, 1 as uses from security.login_attempts where status = 'success' and user_id is not null
  union all select user_id, ${DAY("created_at")}, 'chat_message', 1 from llm.messages where role = 'user'
  union all select sender_id, ${DAY("created_at")}, 'room_message', 1 from rooms.room_messages where sender_id is not null
  union all select sender_id, ${DAY("created_at")}, 'room_message', 1 from rooms.general_chat_messages where sender_id is not null
  union all select user_id, ${DAY("started_at")}, 'content_session', 1 from learning.content_consumption
  union all select user_id, day, 'token_use', requests from billing.daily_usage where user_id is not null and requests > 0`;

const FEATURES = ["sign_in", "chat_message", "room_message", "content_session", "token_use"];
const TODAY = DAY("now()");
const factor = (currency: string) => `case ${currency} when 'JPY' then 1 when 'KWD' then 1000 else 100 end`;

/** The first days of all cohorts of some units, and the accounts in each. */
const cohorts = (...units: string[]) => `
  select u.unit, date_trunc(u.unit, a.created_at at time zone 'UTC')::date as start, a.*
  from identity.users a cross join unnest(array['${units.join("', '")}']) u (unit)`;

const PAYMENTS = `
  select ${DAY("p.paid_at")} as day, s.code as plan_code, p.currency, p.amount_cents, p.refunded_cents,
    case when p.disputed_at is null then 0 else p.amount_cents - p.refunded_cents end as disputed_cents
  from billing.payments p left join billing.subscription_plans s on s.id = p.plan_id where p.paid_at is not null`;

const USAGE_BY_PLAN = `
  select u.day, case when u.user_id is not null then ${planAt("u.user_id", "u.day")} end as plan_code, u.*
  from billing.daily_usage u`.replace(
  ", u.*",
  ", u.user_id, u.model_id, u.currency, u.requests, u.input_tokens, u.output_tokens, u.total_tokens, u.unpriced_tokens, u.cost",
);

/** Questions of a product's analyst. */
export const PRODUCT: Readonly<Record<string, ViewSpecification>> = {
  roll_ups: {
    grain: ["name"],
    bruteForce: `
      select x.name, x.rows, 0 as pending_days from (
        select 'accounts' as name, (select count(*) from identity.users) as rows
        union all select 'account_activity', (select count(distinct (user_id, day)) from (${USES}) u)
        union all select 'daily_revenue', (select count(distinct (day, plan_code, currency)) from (${PAYMENTS}) p)
        union all select 'daily_sign_ins', (select count(distinct (${DAY("created_at")}, status)) from security.login_attempts)
        union all select 'daily_usage_by_plan', (select count(distinct (day, user_id, model_id)) from billing.daily_usage)
      ) x`,
    notCompared: { watermark: "Another test compares it with the time of the run." },
  },
  account_activity: {
    grain: ["day", "account_key"],
    bruteForce: `
      select u.day, u.user_id, ${planAt("u.user_id", "u.day")} as plan_code,
        ${FEATURES.map((feature) => `sum((feature = '${feature}')::integer * uses) as ${feature}s`).join(", ")}
      from (${USES}) u group by u.day, u.user_id`,
    notCompared: { account_key: "Random." },
  },
  daily_active_accounts: {
    grain: ["day"],
    nullable: ["stickiness"],
    bruteForce: `
      with uses as materialized (${USES}),
      counted as (
        select d.day::date,
          (select count(distinct user_id) from uses where day = d.day::date) as daily_accounts,
          (select count(distinct user_id) from uses where d.day::date - day between 0 and 6) as weekly_accounts,
          (select count(distinct user_id) from uses where d.day::date - day between 0 and 29) as monthly_accounts
        from generate_series((select min(day) from uses), ${TODAY}, interval '1 day') d (day)
      )
      select *, round(daily_accounts::numeric / nullif(monthly_accounts, 0), 4) as stickiness from counted`,
  },
  retention_cohorts: {
    grain: ["cohort_unit", "cohort_start", "period"],
    values: { cohort_unit: ["week", "month"] },
    bruteForce: `
      with uses as materialized (select distinct user_id, day from (${USES}) u),
      members as materialized (${cohorts("week", "month")}),
      sizes as (select unit, start, count(*) as accounts from members group by 1, 2),
      periods as (
        select s.*, i as period, (s.start + i * case s.unit when 'week' then interval '7 days' else interval '1 month' end)::date as first
        from sizes s cross join generate_series(0, 20) i
      )
      select unit as cohort_unit, start as cohort_start, period, accounts, a.active as active_accounts,
        round(a.active::numeric / accounts, 4) as retention_rate
      from periods p
      cross join lateral (
        select count(*) as active from members m where m.unit = p.unit and m.start = p.start and exists (
          select from uses u where u.user_id = m.id and date_trunc(p.unit, u.day::timestamp)::date = p.first)
      ) a
      where first <= ${TODAY}`,
  },
  sign_up_funnel: {
    grain: ["cohort_unit", "cohort_start"],
    nullable: [
      "median_seconds_to_verified",
      "median_seconds_to_first_message",
      "median_seconds_to_first_payment",
    ],
    values: { cohort_unit: ["day", "week", "month"] },
    bruteForce: `
      with times as (
        select c.unit, c.start,
          c.email_verified_at - c.created_at as verified,
          (select min(m.created_at) from llm.messages m where m.user_id = c.id and m.role = 'user') - c.created_at as message,
          (select min(p.paid_at) from billing.payments p where p.user_id = c.id and p.amount_cents > 0) - c.created_at as payment
        from (${cohorts("day", "week", "month")}) c
      ),
      seconds as (
        select unit, start, ${["verified", "message", "payment"]
          .map((step) => `round(greatest(extract(epoch from ${step}), 0)) filter_${step}`)
          .map((sql) => sql.replace(/ filter_(\w+)/, " as $1"))
          .join(", ")},
          ${["verified", "message", "payment"].map((step) => `${step} is not null as has_${step}`).join(", ")}
        from times
      )
      select unit as cohort_unit, start as cohort_start, count(*) as signed_up,
        ${[
          ["verified", "verified", "verified"],
          ["message", "sent_message", "first_message"],
          ["payment", "paid", "first_payment"],
        ]
          .map(
            ([step, counted, median]) => `count(*) filter (where has_${step}) as ${counted},
              round((percentile_cont(0.5) within group (order by ${step}::float8) filter (where has_${step}))::float8)::bigint as median_seconds_to_${median}`,
          )
          .join(", ")}
      from seconds group by 1, 2`,
  },
  feature_use_by_plan: {
    grain: ["month", "plan_code", "feature"],
    values: { feature: FEATURES },
    bruteForce: `
      with uses as materialized (
        select date_trunc('month', u.day)::date as month, ${planAt("u.user_id", "u.day")} as plan_code, u.user_id, u.feature, u.uses from (${USES}) u
      ),
      plans as (select month, plan_code, count(distinct user_id) as active_accounts from uses group by 1, 2)
      select p.month, p.plan_code, f.feature, p.active_accounts, x.accounts, x.uses,
        round(x.accounts::numeric / p.active_accounts, 4) as share_of_accounts
      from plans p cross join unnest(array['${FEATURES.join("', '")}']) f (feature)
      cross join lateral (
        select count(distinct user_id) as accounts, coalesce(sum(u.uses), 0) as uses
        from uses u where u.month = p.month and u.plan_code = p.plan_code and u.feature = f.feature
      ) x`,
  },
  daily_usage_by_plan: {
    grain: ["day", "plan_code", "model_id", "currency"],
    nullable: ["plan_code", "model_id", "provider_name", "model_name"],
    bruteForce: `
      select u.day, u.plan_code, u.model_id, min(p.name) as provider_name, min(m.name) as model_name, u.currency,
        count(distinct u.user_id) as accounts, sum(u.requests) as requests, sum(u.input_tokens) as input_tokens,
        sum(u.output_tokens) as output_tokens, sum(u.total_tokens) as total_tokens, sum(u.unpriced_tokens) as unpriced_tokens, sum(u.cost) as cost
      from (${USAGE_BY_PLAN}) u left join llm.models m on m.id = u.model_id left join llm.model_providers p on p.id = m.provider_id
      group by u.day, u.plan_code, u.model_id, u.currency`,
  },
  daily_revenue: {
    grain: ["day", "plan_code", "currency"],
    nullable: ["plan_code"],
    bruteForce: `
      select x.*, gross_cents::numeric / ${factor("currency")} as gross, refunded_cents::numeric / ${factor("currency")} as refunded,
        disputed_cents::numeric / ${factor("currency")} as disputed,
        (gross_cents - refunded_cents - disputed_cents)::numeric / ${factor("currency")} as net
      from (
        select day, plan_code, currency, count(*) as payments, sum(amount_cents) as gross_cents, sum(refunded_cents) as refunded_cents,
          sum(disputed_cents) as disputed_cents
        from (${PAYMENTS}) p group by 1, 2, 3
      ) x`,
  },
  revenue_and_cost: {
    grain: ["month", "plan_code", "currency"],
    nullable: ["plan_code"],
    bruteForce: `
      with revenue as (
        select date_trunc('month', day)::date as month, plan_code, currency, count(*) as payments, sum(amount_cents::numeric / ${factor("currency")}) as gross,
          sum(refunded_cents::numeric / ${factor("currency")}) as refunded, sum(disputed_cents::numeric / ${factor("currency")}) as disputed
        from (${PAYMENTS}) p group by 1, 2, 3
      ),
      costs as (
        select date_trunc('month', day)::date as month, plan_code, currency, sum(total_tokens) as total_tokens,
          sum(unpriced_tokens) as unpriced_tokens, sum(cost) as cost
        from (${USAGE_BY_PLAN}) u group by 1, 2, 3
      ),
      keys as (select month, plan_code, currency from revenue union select month, plan_code, currency from costs),
      filled as (
        select k.*, coalesce(r.payments, 0) as payments, coalesce(r.gross, 0) as gross, coalesce(r.refunded, 0) as refunded,
          coalesce(r.disputed, 0) as disputed, coalesce(r.gross - r.refunded - r.disputed, 0) as net,
          coalesce(c.total_tokens, 0) as total_tokens, coalesce(c.unpriced_tokens, 0) as unpriced_tokens, coalesce(c.cost, 0) as cost
        from keys k
        left join revenue r on r.month = k.month and r.currency = k.currency and r.plan_code is not distinct from k.plan_code
        left join costs c on c.month = k.month and c.currency = k.currency and c.plan_code is not distinct from k.plan_code
      )
      select *, net - cost as margin from filled`,
  },
  item_completion: {
    grain: ["item_id"],
    nullable: ["course_id", "completion_rate", "median_seconds_to_complete", "last_activity_at"],
    values: { content_type: ["course", "lesson", "article", "video", "exercise", "quiz", "project"] },
    bruteForce: `
      select i.id as item_id, i.course_id, i.content_type, i.language, i.current_version is not null and i.deleted_at is null as is_published,
        count(p.user_id) as started_users, count(p.completed_at) as completed_users,
        case when count(p.user_id) > 0 then round(count(p.completed_at)::numeric / count(p.user_id), 4) end as completion_rate,
        round(percentile_cont(0.5) within group (order by extract(epoch from p.completed_at - p.started_at)::float8))::bigint
          as median_seconds_to_complete,
        max(p.last_activity_at) as last_activity_at
      from learning.content_items i left join learning.content_progress p on p.item_id = i.id
      group by i.id`,
  },
  room_activity: {
    grain: ["room_id"],
    values: { room_type: ["direct", "group", "private"] },
    bruteForce: `
      with unread as (
        select m.room_id, m.user_id, count(t.id) as messages
        from rooms.room_members m
        left join rooms.room_messages t on t.room_id = m.room_id and t.sequence > m.last_read_sequence
        where m.user_id is not null group by 1, 2
      )
      select r.id as room_id, r.room_type, r.is_public, r.ai_enabled, count(u.user_id) as members,
        (select count(*) from rooms.room_messages t where t.room_id = r.id) as messages,
        (select count(*) from rooms.room_messages t where t.room_id = r.id and not t.is_deleted and now() - t.created_at < interval '30 days') as messages_30_days,
        (select count(distinct t.sender_id) from rooms.room_messages t where t.room_id = r.id and t.deleted_at is null and now() - t.created_at < interval '30 days') as senders_30_days,
        coalesce(sum(u.messages), 0) as unread_messages, count(*) filter (where u.messages > 0) as members_behind,
        r.last_activity_at, r.created_at
      from rooms.chat_rooms r left join unread u on u.room_id = r.id
      group by r.id`,
  },
};
