import type { ViewSpecification } from "./specification.ts";

const MODEL = "join llm.models m on m.id = d.model_id join llm.model_providers p on p.id = m.provider_id";

/** Tokens, models, subscriptions and content. */
export const USAGE: Readonly<Record<string, ViewSpecification>> = {
  daily_model_usage: {
    grain: ["day", "model_id"],
    bruteForce: `
      select (d.created_at at time zone 'UTC')::date as day, d.model_id, p.name as provider_name, m.name as model_name, count(*) as messages,
        count(distinct d.user_id) as users, sum(coalesce(d.tokens_used, 0)) as tokens_used
      from llm.messages d ${MODEL} group by 1, 2, 3, 4`,
  },
  daily_token_usage: {
    grain: ["day", "model_id"],
    nullable: ["model_id", "provider_name", "model_name"],
    bruteForce: `
      select d.day, d.model_id, min(p.name) as provider_name, min(m.name) as model_name, sum(d.requests) as requests,
        count(distinct d.user_id) as users, sum(d.input_tokens) as input_tokens, sum(d.cached_input_tokens) as cached_input_tokens,
        sum(d.output_tokens) as output_tokens, sum(d.reasoning_tokens) as reasoning_tokens,
        sum(d.input_tokens + d.output_tokens) as total_tokens, sum(d.overdraft_tokens) as overdraft_tokens,
        sum(d.self_reported_tokens) as self_reported_tokens
      from billing.daily_usage d left ${MODEL.replaceAll(" join", " left join")} group by d.day, d.model_id`,
  },
  daily_usage_cost: {
    grain: ["day", "model_id", "currency"],
    nullable: ["model_id", "provider_name", "model_name"],
    bruteForce: `
      select d.day, d.model_id, d.currency, min(p.name) as provider_name, min(m.name) as model_name,
        sum(d.input_tokens + d.output_tokens) as total_tokens, sum(d.unpriced_tokens) as unpriced_tokens, sum(d.cost) as cost
      from billing.daily_usage d left ${MODEL.replaceAll(" join", " left join")} group by d.day, d.model_id, d.currency`,
  },
  model_catalogue: {
    grain: ["model_id", "currency"],
    nullable: [
      "currency",
      "input_price_per_million_tokens",
      "output_price_per_million_tokens",
      "cached_input_price_per_million_tokens",
      "price_effective_from",
      "reasoning_price_per_million_tokens",
    ],
    bruteForce: `
      select m.id as model_id, p.name as provider_name, m.name as model_name, m.display_name,
        (m.is_active and p.is_active) as is_active, m.is_public, c.currency,
        c.input_price_per_million_tokens, c.output_price_per_million_tokens, c.cached_input_price_per_million_tokens,
        c.effective_from as price_effective_from, c.reasoning_price_per_million_tokens
      from llm.models m join llm.model_providers p on p.id = m.provider_id
      left join (
        select * from billing.model_prices
        where coalesce(effective_from, '-infinity') <= now() and coalesce(effective_to, 'infinity') > now()
      ) c on c.model_id = m.id`,
  },
  content_popularity: {
    grain: ["item_id"],
    nullable: ["rating_average"],
    values: {
      content_type: ["course", "lesson", "article", "video", "exercise", "quiz", "project"],
    },
    bruteForce: `
      with used as (
        select coalesce(o.owner, c.item_id) as item_id, c.user_id, c.active, c.last_activity_at as at, 1 as weight
        from learning.content_consumption c
        join learning.content_items i on i.id = c.item_id
        cross join unnest(array[c.item_id, i.course_id]) o (owner) where o.owner is not null
        union all
        select o.owner, p.user_id, null, p.completed_at, 3
        from learning.content_progress p
        join learning.content_items i on i.id = p.item_id and i.content_type <> 'course'
        cross join unnest(array[p.item_id, i.course_id]) o (owner) where o.owner is not null and p.completed_at is not null
      )
      select i.id as item_id, i.content_type, i.category_id, i.language,
        count(distinct u.user_id) as users, count(*) filter (where u.weight = 1) as sessions, count(*) filter (where u.weight = 3) as completions,
        sum((u.weight = 1)::integer * 60) - sum((select coalesce(sum(upper(r) - lower(r)), 0) from unnest(u.active) r))
          + (select count(*) from generate_series(800000000, 800000200) second cross join identity.users a
             where exists (select from used o where o.item_id = i.id and o.user_id = a.id and o.active @> second)) as active_seconds,
        (select count(*) from learning.content_ratings r where r.item_id = i.id) as rating_count,
        (select round(avg(r.rating), 2) from learning.content_ratings r where r.item_id = i.id) as rating_average
      from used u join learning.content_items i on i.id = u.item_id
      group by i.id`,
    notCompared: { popularity_score: "A sum of floating point numbers, which depends on the order of rows." },
  },
  subscription_metrics: {
    grain: ["month", "currency"],
    nullable: ["churn_rate", "trial_conversion_rate"],
    bruteForce: `
      with months as (
        select date_trunc('month', now() at time zone 'UTC') - make_interval(months => i) as start from generate_series(0, 5) i
      ),
      bounds as (
        select start, start at time zone 'UTC' as first, least((start + interval '1 month') at time zone 'UTC', now()) as last from months
        where start >= (select date_trunc('month', min(effective_at) at time zone 'UTC') from billing.subscription_changes)
      ),
      plans as (
        select id, currency, price_cents, case billing_cycle when 'yearly' then price_cents / 12.0 when 'monthly' then price_cents else 0 end as mrr
        from billing.subscription_plans
      ),
      moments as (
        select b.start, m.moment, s.id as subscription_id, s.user_id, p.currency, p.price_cents > 0 as is_paid, p.mrr,
          (select c.to_status from billing.subscription_changes c where c.subscription_id = s.id and c.effective_at < m.at
           order by c.effective_at desc, c.id desc limit 1) as status
        from bounds b
        cross join lateral (values ('first', b.first), ('last', b.last)) m (moment, at)
        cross join billing.user_subscriptions s
        join plans p on p.id = s.plan_id
        where exists (select from billing.subscription_changes c where c.subscription_id = s.id)
      ),
      currencies as (select distinct p.currency from billing.subscription_changes c join plans p on p.id = c.to_plan_id),
      trials as (
        select b.start, p.currency, count(*) as started, count(*) filter (where exists (
          select from billing.subscription_changes o join plans q on q.id = o.to_plan_id
          where o.user_id = c.user_id and o.effective_at >= c.effective_at and o.to_status = 'active' and q.price_cents > 0)) as converted
        from bounds b join billing.subscription_changes c on c.event = 'trial_started' and c.effective_at >= b.first and c.effective_at < b.last
        join plans p on p.id = c.to_plan_id group by 1, 2
      ),
      counted as (
        select b.start, c.currency,
          (select round(coalesce(sum(m.mrr), 0)) from moments m where m.start = b.start and m.currency = c.currency and m.moment = 'last' and m.status in ('active', 'past_due')) as mrr,
          (select count(*) from moments m where m.start = b.start and m.currency = c.currency and m.moment = 'last' and m.status = 'active') as active,
          (select count(*) from moments m where m.start = b.start and m.currency = c.currency and m.moment = 'last' and m.status in ('active', 'past_due') and m.is_paid) as paying,
          (select count(*) from moments m where m.start = b.start and m.currency = c.currency and m.moment = 'last' and m.status = 'trialing') as trialing,
          (select count(*) from moments m where m.start = b.start and m.currency = c.currency and m.moment = 'last' and m.status = 'past_due') as past_due,
          (select count(*) from moments m where m.start = b.start and m.currency = c.currency and m.moment = 'first' and m.status in ('active', 'past_due') and m.is_paid) as at_start,
          (select count(*) from moments m join moments e using (start, subscription_id)
           where m.start = b.start and m.currency = c.currency and m.moment = 'first' and m.status in ('active', 'past_due') and m.is_paid
             and e.moment = 'last' and e.status in ('canceled', 'expired')) as churned,
          coalesce((select t.started from trials t where t.start = b.start and t.currency = c.currency), 0) as trials,
          coalesce((select t.converted from trials t where t.start = b.start and t.currency = c.currency), 0) as converted
        from bounds b cross join currencies c
      )
      select start::date as month, currency, mrr::bigint as mrr_cents, active as active_subscriptions, paying as paying_subscriptions,
        trialing as trialing_subscriptions, past_due as past_due_subscriptions, at_start as paying_at_start, churned as churned_subscriptions,
        round(churned::numeric / nullif(at_start, 0), 4) as churn_rate, trials as trials_started, converted as trials_converted,
        round(converted::numeric / nullif(trials, 0), 4) as trial_conversion_rate,
        round(mrr / case currency when 'JPY' then 1 when 'KWD' then 1000 else 100 end, 3) as mrr
      from counted`,
  },
};
