--! Previous: sha1:19d881f87f1e189ec353877a9076ef060375951d
--! Hash: sha1:73f2f33756dc1b232518477161d78b17b3d58ade
--! Message: learning counts once

-- What was learned counts once: completion whatever brings it about, each second of the clock, and no number that is rounded into its range.

-- Completion by time. One row per moment at which the availability of an item changes and that has not been dealt with.
create table private.completion_checks (
  item_id uuid not null references learning.content_items on delete cascade,
  due_at timestamptz not null,
  primary key (item_id, due_at)
);

alter table private.completion_checks enable row level security;

-- What is due, in its order.
create index completion_checks_due_at_idx on private.completion_checks (due_at);

comment on table private.completion_checks is
  'One row per item and moment at which it may complete a course or a training: when its availability begins or ends.';
comment on column private.completion_checks.item_id is 'The item.';
comment on column private.completion_checks.due_at is 'The moment; the row is deleted once it was dealt with.';

-- Time spent, as seconds of the clock.
alter table learning.content_progress add column active int4multirange not null default '{}';
alter table learning.content_consumption add column active int4multirange not null default '{}';
comment on column learning.content_progress.active is
  E'@behavior -*\nThe seconds of the clock spent with it, counted from the year 2000 (UTC), as far as they are known.';
comment on column learning.content_progress.active_seconds is
  'Time spent with the item in seconds, all versions and repetitions; a second in two tabs counts once.';
comment on column learning.content_consumption.active is
  E'@behavior -*\nThe seconds of the clock spent in it, counted from the year 2000 (UTC), as far as they are known.';
comment on column learning.content_consumption.active_seconds is
  'Time spent in seconds, without pauses; a second in two tabs counts once.';
comment on column learning.progress_summary.active_seconds is
  'Time spent with them in seconds; a second spent with two of them counts once.';

-- Nobody spent more time in a session than it lasted: what counts twice in the rows there are goes, also from the item's sum.
-- Where a session is active throughout, its seconds are known.
with too_much as (
  select
    c.user_id, c.item_id, c.created_at,
    ceil(extract(epoch from c.last_activity_at - c.started_at))::integer as lasted,
    c.active_seconds
  from learning.content_consumption c
),
cut as (
  update learning.content_consumption c
  set
    active_seconds = least(c.active_seconds, t.lasted),
    active = int4multirange(int4range(
      (floor(extract(epoch from c.last_activity_at)) - 946684800)::integer - t.lasted,
      (floor(extract(epoch from c.last_activity_at)) - 946684800)::integer
    ))
  from too_much t
  where t.user_id = c.user_id and t.item_id = c.item_id and t.created_at = c.created_at and t.active_seconds >= t.lasted
  returning c.user_id, c.item_id, c.active, t.active_seconds - t.lasted as excess
)
update learning.content_progress p
set
  active_seconds = greatest(p.active_seconds - u.excess, 0),
  active = u.active
from (
  select c.user_id, c.item_id, sum(c.excess)::bigint as excess, range_agg(c.active) as active from cut c group by c.user_id, c.item_id
) u
where u.user_id = p.user_id and u.item_id = p.item_id;

--! Included private/functions/completing.sql
-- The lock between completions and changes of the content to complete. Without it, a learner completes the last but one part
-- while an editor deletes the last, and each finds the course incomplete. Learners share the lock, so they do not wait for each
-- other.
create or replace function private.lock_completions(exclusively boolean)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  if exclusively then
    perform pg_advisory_xact_lock(hashtextextended('learning.completions', 0));
  else
    perform pg_advisory_xact_lock_shared(hashtextextended('learning.completions', 0));
  end if;
end
$$;

comment on function private.lock_completions(boolean) is
  'Prevents content changes (exclusive) and completions (shared) from missing each other until the transaction ends.';

-- Nine tenths count as complete, because few viewers watch the credits.
create or replace function private.is_played(seconds integer, duration_seconds integer)
  returns boolean
  language sql
  immutable
as $$
  select seconds >= 0.9 * duration_seconds
$$;

comment on function private.is_played(integer, integer) is
  'Returns whether this many different seconds of an item complete it; null when its duration is unknown.';
--! EndIncluded private/functions/completing.sql
--! Included learning/views/my_item_progress.sql
-- The caller's progress in all countable items: available now and not a course, because a course is its parts. Courses and
-- categories are sums of these rows only, so that they always agree.
create or replace view learning.my_item_progress
  with (security_invoker = true)
as
select
  i.id as item_id,
  i.course_id,
  i.category_id,
  p.completed_at is not null as is_completed,
  coalesce(p.progress, 0) as progress,
  coalesce(p.active_seconds, 0) as active_seconds,
  p.last_activity_at,
  p.active
from learning.content_items i
left join learning.content_progress p
  on p.item_id = i.id
  and p.user_id = (select plinth.current_user_id())
where i.content_type <> 'course'
  and i.available_from <= now()
  and (i.available_until is null or i.available_until > now());

comment on view learning.my_item_progress is
  E'@behavior -*\nGrain: one row per available item that is not a course: the caller''s progress in it.';
comment on column learning.my_item_progress.item_id is 'The item.';
comment on column learning.my_item_progress.course_id is 'Course that contains the item, or null.';
comment on column learning.my_item_progress.category_id is 'Category of the item.';
comment on column learning.my_item_progress.is_completed is 'Whether the item was completed, in any version.';
comment on column learning.my_item_progress.progress is 'Progress, 0.0 to 1.0; 1 is completed.';
comment on column learning.my_item_progress.active_seconds is 'Time spent with the item, in seconds.';
comment on column learning.my_item_progress.last_activity_at is 'Time the item was last played; null if never.';
comment on column learning.my_item_progress.active is 'Time ranges of the active seconds; see learning.time_spent.';
revoke all on learning.my_item_progress from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.my_item_progress to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/views/my_item_progress.sql
--! Included learning/functions/progress.sql
-- Progress of the caller as a field of items, courses and categories: sums of learning.my_item_progress.

create or replace function learning.sum_progress(
  item_count bigint,
  completed_count bigint,
  progress_sum numeric,
  active_seconds numeric,
  last_activity_at timestamptz
)
  returns learning.progress_summary
  language sql
  immutable
as $$
  select row(
    item_count::integer,
    completed_count::integer,
    coalesce(trunc(progress_sum / nullif(item_count, 0), 4), 0),
    coalesce(active_seconds, 0)::bigint,
    last_activity_at
  )::learning.progress_summary
$$;

comment on function learning.sum_progress(bigint, bigint, numeric, numeric, timestamptz) is
  E'@behavior -*\nCombines sums over items into a summary; progress is their average.';
grant execute on function learning.sum_progress(bigint, bigint, numeric, numeric, timestamptz) to :PLINTH_ANONYMOUS, :PLINTH_USER;

-- Time spent with several items is not a plain sum: a user with two of them open at once spent that time once. Seconds recorded
-- before their times were stored count as they are.
create or replace function learning.time_spent(active_seconds numeric, stretches int4multirange[])
  returns bigint
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select (
    coalesce(active_seconds, 0)
    - coalesce((select sum(upper(r) - lower(r)) from unnest(stretches) s (active) cross join unnest(s.active) r), 0)
    + coalesce((
      select sum(upper(r) - lower(r))
      from (select range_agg(s.active) as active from unnest(stretches) s (active)) u
      cross join unnest(u.active) r
    ), 0)
  )::bigint
$$;

comment on function learning.time_spent(numeric, int4multirange[]) is
  E'@behavior -*\nReturns the seconds of several rows together, each second of the clock counted once: their sum and their known time ranges.';
grant execute on function learning.time_spent(numeric, int4multirange[]) to :PLINTH_ANONYMOUS, :PLINTH_USER, :PLINTH_ANALYST;

create or replace function learning.content_items_progress(item learning.content_items)
  returns learning.progress_summary
  language sql
  stable
  set search_path = pg_catalog
as $$
  select learning.sum_progress(
    count(*), count(*) filter (where m.is_completed), sum(m.progress),
    learning.time_spent(sum(m.active_seconds), array_agg(m.active)), max(m.last_activity_at)
  )
  from (
    -- A course is not among these rows, and only a course has parts.
    select own.* from learning.my_item_progress own where own.item_id = item.id
    union all
    select part.* from learning.my_item_progress part where part.course_id = item.id
  ) m
$$;

comment on function learning.content_items_progress(learning.content_items) is
  E'@fieldName progress\nProgress of the signed-in user in the item; for a course, in its parts.';
grant execute on function learning.content_items_progress(learning.content_items) to :PLINTH_ANONYMOUS, :PLINTH_USER;

create or replace function learning.content_categories_progress(category learning.content_categories)
  returns learning.progress_summary
  language sql
  stable
  set search_path = pg_catalog
as $$
  select learning.sum_progress(
    count(*), count(*) filter (where m.is_completed), sum(m.progress),
    learning.time_spent(sum(m.active_seconds), array_agg(m.active)), max(m.last_activity_at)
  )
  from learning.content_categories c
  join learning.my_item_progress m on m.category_id = c.id
  where c.id = category.id or c.path like category.path || '/%'
$$;

comment on function learning.content_categories_progress(learning.content_categories) is
  E'@fieldName progress\nProgress of the signed-in user in all items of the category and its subcategories.';
grant execute on function learning.content_categories_progress(learning.content_categories) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/progress.sql
--! Included learning/functions/course_learners.sql
-- The report of a course: its learners and their progress. For trainers and the course's author.
create or replace function learning.course_learners(course_id uuid)
  returns table (
    user_id uuid,
    item_count integer,
    completed_count integer,
    progress numeric,
    active_seconds bigint,
    last_activity_at timestamptz,
    completed_version integer,
    completed_at timestamptz
  )
  language plpgsql
  stable
  security definer
  rows 100
  set search_path = pg_catalog
as $$
#variable_conflict use_column
begin
  if not exists (
    select
    from learning.content_items c
    where c.id = course_learners.course_id
      and c.content_type = 'course'
      and (c.author_id = plinth.current_user_id() or access.has_permission('manage_skills'))
  ) then
    raise exception 'Course not found, or you may not see its report.' using errcode = 'PL404';
  end if;
  return query
    with parts as (
      select i.id
      from learning.content_items i
      where i.course_id = course_learners.course_id
        and i.available_from <= now()
        and (i.available_until is null or i.available_until > now())
    ),
    total as (
      select count(*) as item_count from parts
    ),
    done as (
      select
        p.user_id, count(p.completed_at) as completed_count, sum(p.progress) as progress,
        learning.time_spent(sum(p.active_seconds), array_agg(p.active)) as active_seconds, max(p.last_activity_at) as last_activity_at
      from learning.content_progress p
      join parts on parts.id = p.item_id
      group by p.user_id
    )
    select
      d.user_id, t.item_count::integer, d.completed_count::integer, trunc(d.progress / t.item_count, 4),
      d.active_seconds, d.last_activity_at, c.completed_version, c.completed_at
    from done d
    cross join total t
    left join learning.content_progress c on c.user_id = d.user_id and c.item_id = course_learners.course_id
    order by 4 desc, d.user_id;
end
$$;

comment on function learning.course_learners(uuid) is
  'Returns the learners of a course and their progress in its parts, furthest first. For its author and for users with manage_skills; PL404 for other callers.';
grant execute on function learning.course_learners(uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/course_learners.sql
--! Included analytics/views/user_activity_summary.sql
-- Sign-in and learning activity of accounts, without names and addresses.
create or replace view analytics.user_activity_summary
  with (security_barrier = true)
as
select
  u.id as user_id,
  coalesce(c.sessions, 0) as sessions,
  coalesce(c.active_seconds, 0) as active_seconds,
  coalesce(c.active_days, 0) as active_days,
  coalesce(p.items_started, 0) as items_started,
  coalesce(p.items_completed, 0) as items_completed,
  round(p.items_completed::numeric / p.items_started, 4) as completion_rate,
  coalesce(r.ratings, 0) as ratings,
  coalesce(l.sign_ins, 0) as sign_ins,
  coalesce(l.failed_sign_ins, 0) as failed_sign_ins,
  coalesce(l.sign_in_days, 0) as sign_in_days,
  u.last_login_at,
  p.last_activity_at,
  u.created_at
from identity.users u
left join (
  select
    s.user_id,
    count(*) as sessions,
    learning.time_spent(sum(s.active_seconds), array_agg(s.active)) as active_seconds,
    count(distinct (s.started_at at time zone 'UTC')::date) as active_days
  from learning.content_consumption s
  group by s.user_id
) c on c.user_id = u.id
left join (
  -- Courses are counted by their parts.
  select
    t.user_id,
    count(*) as items_started,
    count(t.completed_at) as items_completed,
    max(t.last_activity_at) as last_activity_at
  from learning.content_progress t
  join learning.content_items i on i.id = t.item_id and i.content_type <> 'course'
  group by t.user_id
) p on p.user_id = u.id
left join (
  select cr.user_id, count(*) as ratings from learning.content_ratings cr group by cr.user_id
) r on r.user_id = u.id
left join (
  select
    a.user_id,
    count(*) filter (where a.status = 'success') as sign_ins,
    count(*) filter (where a.status in ('failed', 'locked')) as failed_sign_ins,
    count(distinct (a.created_at at time zone 'UTC')::date) filter (where a.status = 'success') as sign_in_days
  from security.login_attempts a
  where a.created_at > now() - interval '30 days'
  group by a.user_id
) l on l.user_id = u.id;

comment on view analytics.user_activity_summary is 'Grain: one row per account. Content consumed and completed, and sign-ins.';
comment on column analytics.user_activity_summary.user_id is 'The account.';
comment on column analytics.user_activity_summary.sessions is 'Number of sessions with content.';
comment on column analytics.user_activity_summary.active_seconds is 'Time spent with content, in seconds; time with two items open at once counts once.';
comment on column analytics.user_activity_summary.active_days is 'Number of days (UTC) on which a session began.';
comment on column analytics.user_activity_summary.items_started is 'Number of items started; courses are counted by their parts.';
comment on column analytics.user_activity_summary.items_completed is 'Number of those items that were completed.';
comment on column analytics.user_activity_summary.completion_rate is 'Ratio items_completed / items_started, 0 to 1; null when no item was started.';
comment on column analytics.user_activity_summary.ratings is 'Number of ratings given.';
comment on column analytics.user_activity_summary.sign_ins is 'Number of successful sign-ins in the last 30 days.';
comment on column analytics.user_activity_summary.failed_sign_ins is 'Number of rejected sign-ins in the last 30 days.';
comment on column analytics.user_activity_summary.sign_in_days is 'Number of days (UTC) of the last 30 with a successful sign-in.';
comment on column analytics.user_activity_summary.last_login_at is 'Time of the last successful sign-in.';
comment on column analytics.user_activity_summary.last_activity_at is 'Time of the last activity with content.';
comment on column analytics.user_activity_summary.created_at is 'Time the account was created.';
grant select on analytics.user_activity_summary to :PLINTH_ANALYST;
--! EndIncluded analytics/views/user_activity_summary.sql
--! Included analytics/views/content_popularity.sql
-- The content that people used in the last half year, with recent use weighted more. Grain: one row per item.
drop materialized view if exists analytics.content_popularity;
create materialized view analytics.content_popularity as
with signals as (
  select
    c.item_id, c.user_id, 1 as sessions, 0 as completions, c.active_seconds, c.active,
    power(0.5, extract(epoch from now() - c.last_activity_at) / (14 * 86400)) as score
  from learning.content_consumption c
  where c.created_at > now() - interval '180 days' and c.last_activity_at > now() - interval '180 days'
  union all
  select
    p.item_id, p.user_id, 0, 1, 0, null,
    3 * power(0.5, extract(epoch from now() - p.completed_at) / (14 * 86400))
  from learning.content_progress p
  -- A course is completed by its last part, which is counted for it below.
  join learning.content_items i on i.id = p.item_id and i.content_type <> 'course'
  where p.completed_at > now() - interval '180 days'
),
placed as (
  select s.item_id, s.user_id, s.sessions, s.completions, s.active_seconds, s.active, s.score from signals s
  union all
  select i.course_id, s.user_id, s.sessions, s.completions, s.active_seconds, s.active, s.score
  from signals s
  join learning.content_items i on i.id = s.item_id
  where i.course_id is not null
),
-- A user with two parts of a course open at once spent that time once.
used as (
  select
    p.item_id, p.user_id, sum(p.sessions) as sessions, sum(p.completions) as completions,
    learning.time_spent(sum(p.active_seconds), array_agg(p.active)) as active_seconds, sum(p.score) as score
  from placed p
  group by p.item_id, p.user_id
)
select
  p.item_id,
  i.content_type,
  i.category_id,
  i.language,
  count(*) as users,
  sum(p.sessions)::bigint as sessions,
  sum(p.completions)::bigint as completions,
  sum(p.active_seconds)::bigint as active_seconds,
  i.rating_count,
  i.rating_average,
  round(sum(p.score)::numeric, 4) as popularity_score,
  now() as refreshed_at
from used p
join learning.content_items i on i.id = p.item_id
group by p.item_id, i.id;

-- Required for refreshing concurrently.
create unique index content_popularity_item_id_idx on analytics.content_popularity (item_id);
-- Most popular first.
create index content_popularity_popularity_score_idx on analytics.content_popularity (popularity_score desc);

comment on materialized view analytics.content_popularity is
  'Grain: one row per item with sessions or completions in the last 180 days. Refreshed by a job.';
comment on column analytics.content_popularity.item_id is 'The item; a course has the sums of its parts.';
comment on column analytics.content_popularity.content_type is 'Type of the item, such as course, lesson or article.';
comment on column analytics.content_popularity.category_id is 'Category of the item.';
comment on column analytics.content_popularity.language is 'Language tag of the item.';
comment on column analytics.content_popularity.users is 'Number of users.';
comment on column analytics.content_popularity.sessions is 'Number of sessions.';
comment on column analytics.content_popularity.completions is 'Number of completions.';
comment on column analytics.content_popularity.active_seconds is 'Time that users spent in the sessions, in seconds; each second of a user counted once.';
comment on column analytics.content_popularity.rating_count is 'Number of users who rated the item, at any time.';
comment on column analytics.content_popularity.rating_average is 'Average rating, 1.00 to 5.00; null without ratings.';
comment on column analytics.content_popularity.popularity_score is 'Sum over sessions (1) and completions (3), each halved every 14 days.';
comment on column analytics.content_popularity.refreshed_at is 'Time of the last refresh.';
grant select on analytics.content_popularity to :PLINTH_ANALYST;
--! EndIncluded analytics/views/content_popularity.sql

-- A value outside its range is refused before it is rounded; see plinth.keep_scale. Views say the type of their columns, so they
-- are made again.
drop view learning.learning_analytics;
drop view billing.current_model_prices;
drop view billing.monthly_usage;
drop view analytics.model_catalogue;
drop view analytics.daily_usage_cost;
drop trigger _500_sum_skill_evidence on learning.skill_evidence;
drop trigger _500_note_skill_level on learning.user_skills;

alter table learning.content_skills
  alter column gain type numeric,
  alter column gain set default 0.25,
  add constraint content_skills_gain_has_two_decimals check (gain = round(gain, 2));
alter table learning.skill_evidence
  alter column delta type numeric,
  add constraint skill_evidence_delta_has_two_decimals check (delta = round(delta, 2));
alter table learning.skills
  alter column training_gain type numeric,
  add constraint skills_training_gain_has_two_decimals check (training_gain = round(training_gain, 2));
alter table learning.training
  alter column progress type numeric,
  add constraint training_progress_has_four_decimals check (progress = round(progress, 4));
alter table learning.user_skills
  alter column level type numeric,
  add constraint user_skills_level_has_two_decimals check (level = round(level, 2));
alter table billing.model_prices
  alter column input_price_per_million_tokens type numeric,
  alter column output_price_per_million_tokens type numeric,
  alter column cached_input_price_per_million_tokens type numeric,
  alter column reasoning_price_per_million_tokens type numeric,
  add constraint model_prices_input_price_keeps_six_decimals check (
    input_price_per_million_tokens < 1e12 and input_price_per_million_tokens = round(input_price_per_million_tokens, 6)
  ),
  add constraint model_prices_output_price_keeps_six_decimals check (
    output_price_per_million_tokens < 1e12 and output_price_per_million_tokens = round(output_price_per_million_tokens, 6)
  ),
  add constraint model_prices_cached_price_keeps_six_decimals check (
    cached_input_price_per_million_tokens < 1e12
      and cached_input_price_per_million_tokens = round(cached_input_price_per_million_tokens, 6)
  ),
  add constraint model_prices_reasoning_price_keeps_six_decimals check (
    reasoning_price_per_million_tokens < 1e12
      and reasoning_price_per_million_tokens = round(reasoning_price_per_million_tokens, 6)
  );
alter table billing.daily_usage
  alter column cost type numeric,
  add constraint daily_usage_cost_has_26_digits_and_12_decimals check (cost < 1e26 and cost = round(cost, 12));
alter table security.rate_limit_records
  alter column tokens_used type numeric,
  add constraint rate_limit_records_tokens_used_are_whole check (tokens_used < 1e38 and tokens_used = round(tokens_used));

comment on constraint content_skills_gain_has_two_decimals on learning.content_skills is 'Two decimals at most.';
comment on constraint skill_evidence_delta_has_two_decimals on learning.skill_evidence is 'Two decimals at most.';
comment on constraint skills_training_gain_has_two_decimals on learning.skills is 'Two decimals at most.';
comment on constraint training_progress_has_four_decimals on learning.training is 'Four decimals at most.';
comment on constraint user_skills_level_has_two_decimals on learning.user_skills is 'Two decimals at most.';
comment on constraint model_prices_input_price_keeps_six_decimals on billing.model_prices is 'Less than 1,000,000,000,000, with six decimals at most.';
comment on constraint model_prices_output_price_keeps_six_decimals on billing.model_prices is 'Less than 1,000,000,000,000, with six decimals at most.';
comment on constraint model_prices_cached_price_keeps_six_decimals on billing.model_prices is 'Less than 1,000,000,000,000, with six decimals at most.';
comment on constraint model_prices_reasoning_price_keeps_six_decimals on billing.model_prices is 'Less than 1,000,000,000,000, with six decimals at most.';

--! Included plinth/triggers/keep_scale.sql
-- A column of type numeric(p, s) rounds a value before any CHECK sees it: 1.00004 passes for 1, -0.0000001 for 0. So columns
-- with a range are plain numeric, and their CHECKs test the range and the number of decimals of the written value. This trigger
-- adds the missing decimals to a valid value, as numeric(p, s) would show it: 0.5 is read as 0.50.
create or replace function plinth.keep_scale()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_scale constant integer := tg_argv[0];
  v_row constant jsonb := to_jsonb(new);
  v_shown jsonb;
begin
  select jsonb_object_agg(c.name, round((v_row ->> c.name)::numeric, v_scale)) into v_shown
  from unnest(tg_argv[1:]) as c (name)
  where scale((v_row ->> c.name)::numeric) <> v_scale
    and (v_row ->> c.name)::numeric = round((v_row ->> c.name)::numeric, v_scale);
  if v_shown is not null then
    new := jsonb_populate_record(new, v_shown);
  end if;
  return new;
end
$$;

comment on function plinth.keep_scale() is
  'Trigger: gives exact values a fixed number of decimals (its first argument) in the columns named by the others; a value with more decimals stays for the CHECK to reject.';
--! EndIncluded plinth/triggers/keep_scale.sql
--! Included learning/triggers/keep_scale.sql
-- See plinth.keep_scale. After the triggers that set these columns.
create or replace trigger _910_keep_scale
  before insert or update of gain on learning.content_skills
  for each row
  execute function plinth.keep_scale('2', 'gain');

create or replace trigger _910_keep_scale
  before insert or update of delta on learning.skill_evidence
  for each row
  execute function plinth.keep_scale('2', 'delta');

create or replace trigger _910_keep_scale
  before insert or update of training_gain on learning.skills
  for each row
  execute function plinth.keep_scale('2', 'training_gain');

create or replace trigger _910_keep_scale
  before insert or update on learning.training
  for each row
  execute function plinth.keep_scale('4', 'progress');

create or replace trigger _910_keep_scale
  before insert or update of level on learning.user_skills
  for each row
  execute function plinth.keep_scale('2', 'level');
--! EndIncluded learning/triggers/keep_scale.sql
--! Included billing/triggers/keep_scale.sql
-- See plinth.keep_scale.
create or replace trigger _910_keep_scale
  before insert or update on billing.model_prices
  for each row
  execute function plinth.keep_scale(
    '6',
    'input_price_per_million_tokens',
    'output_price_per_million_tokens',
    'cached_input_price_per_million_tokens',
    'reasoning_price_per_million_tokens'
  );

-- Not for updates, one of which happens with each use: the added value has all its decimals.
create or replace trigger _910_keep_scale
  before insert on billing.daily_usage
  for each row
  execute function plinth.keep_scale('12', 'cost');
--! EndIncluded billing/triggers/keep_scale.sql
--! Included learning/triggers/user_skills.sql
-- The level of a skill is the sum of its evidence, for every writer: inserting, changing or deleting evidence changes the
-- level, and a level written directly (only the owner role may) adds evidence.

-- The row of the level is the lock, so that two concurrent pieces of evidence are both counted: the sum is read by the next
-- statement, which sees the other transaction's commit.
create or replace function learning.sum_skill_evidence()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_row learning.skill_evidence := case when tg_op = 'DELETE' then old else new end;
  v_level numeric;
begin
  perform from learning.user_skills us
  where us.user_id = v_row.user_id and us.skill_id = v_row.skill_id
  for no key update;
  select coalesce(sum(e.delta), 0) into v_level
  from learning.skill_evidence e
  where e.user_id = v_row.user_id and e.skill_id = v_row.skill_id;
  update learning.user_skills us
  set level = v_level
  where us.user_id = v_row.user_id and us.skill_id = v_row.skill_id and us.level <> v_level;
  return null;
end
$$;

comment on function learning.sum_skill_evidence() is 'Trigger: sets a level to the sum of its evidence.';

create or replace trigger _500_sum_skill_evidence
  after insert or update of delta or delete on learning.skill_evidence
  for each row
  execute function learning.sum_skill_evidence();

create or replace function learning.note_skill_level()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_unexplained numeric;
begin
  select new.level - coalesce(sum(e.delta), 0) into v_unexplained
  from learning.skill_evidence e
  where e.user_id = new.user_id and e.skill_id = new.skill_id;
  if v_unexplained <> 0 then
    insert into learning.skill_evidence (user_id, skill_id, kind, delta)
    values (
      new.user_id, new.skill_id, case tg_op when 'INSERT' then 'initial' else 'adjustment' end, v_unexplained
    );
  end if;
  return null;
end
$$;

comment on function learning.note_skill_level() is 'Trigger: adds evidence for a level that was written directly.';

create or replace trigger _500_note_skill_level
  after insert or update of level on learning.user_skills
  for each row
  execute function learning.note_skill_level();

-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on learning.user_skills
  for each row
  execute function plinth.touch_updated_at();

create or replace trigger _900_touch_updated_at
  before update on learning.skills
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded learning/triggers/user_skills.sql
--! Included learning/views/learning_analytics.sql
-- Summary of a user's learning by skill. Invoker rights: users see their own, users with manage_skills see all.
create or replace view learning.learning_analytics
  with (security_invoker = true)
as
with taught as (
  select
    p.user_id,
    cs.skill_id,
    count(*) as items_started,
    count(p.completed_at) as items_completed,
    learning.time_spent(sum(p.active_seconds), array_agg(p.active)) as active_seconds,
    max(p.last_activity_at) as last_activity_at
  from learning.content_skills cs
  join learning.content_progress p on p.item_id = cs.item_id
  group by p.user_id, cs.skill_id
),
evidence as (
  select
    e.user_id,
    e.skill_id,
    count(*) as evidence_count,
    sum(e.delta) filter (where e.created_at > now() - interval '30 days') as level_gained_30_days,
    max(e.created_at) as last_evidence_at
  from learning.skill_evidence e
  group by e.user_id, e.skill_id
)
select
  user_id,
  skill_id,
  coalesce(us.level, 0) as level,
  coalesce(e.level_gained_30_days, 0) as level_gained_30_days,
  coalesce(e.evidence_count, 0)::integer as evidence_count,
  t.status as training_status,
  t.progress as training_progress,
  coalesce(c.items_started, 0)::integer as items_started,
  coalesce(c.items_completed, 0)::integer as items_completed,
  coalesce(c.active_seconds, 0) as active_seconds,
  greatest(c.last_activity_at, e.last_evidence_at, t.updated_at) as last_activity_at
from learning.user_skills us
full join learning.training t using (user_id, skill_id)
full join taught c using (user_id, skill_id)
left join evidence e using (user_id, skill_id);

comment on view learning.learning_analytics is
  E'@primaryKey user_id,skill_id\n@foreignKey (user_id) references identity.users (id)|@behavior -*\n@foreignKey (skill_id) references learning.skills (id)|@foreignFieldName analytics\n@name learning_analytics\nGrain: one row per user and skill that the user has, trains or has content for.';
comment on column learning.learning_analytics.user_id is 'The user.';
comment on column learning.learning_analytics.skill_id is 'The skill.';
comment on column learning.learning_analytics.level is 'Proficiency, 0 to 10.';
comment on column learning.learning_analytics.level_gained_30_days is 'Change of the level in the last 30 days.';
comment on column learning.learning_analytics.evidence_count is 'Number of pieces of evidence.';
comment on column learning.learning_analytics.training_status is 'Status of the training: pending, active or completed; null without one.';
comment on column learning.learning_analytics.training_progress is 'Progress, 0.0 to 1.0; null without a training.';
comment on column learning.learning_analytics.items_started is 'Number of started items that teach the skill.';
comment on column learning.learning_analytics.items_completed is 'Number of those items that were completed.';
comment on column learning.learning_analytics.active_seconds is 'Time spent with them, in seconds. An item that teaches two skills counts for both.';
comment on column learning.learning_analytics.last_activity_at is 'Time of the last change of any of these.';
revoke all on learning.learning_analytics from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.learning_analytics to :PLINTH_USER;
--! EndIncluded learning/views/learning_analytics.sql
--! Included billing/views/current_model_prices.sql
-- Today's prices. Grain: one row per model and currency that has a price now. Invoker rights: callers see the prices of the
-- models they may use.
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
  E'@primaryKey model_id,currency\n@foreignKey (model_id) references llm.models (id)\nCurrent prices. Grain: one row per model and currency.';
comment on column billing.current_model_prices.model_id is 'The model.';
comment on column billing.current_model_prices.currency is 'ISO 4217 code of the prices.';
comment on column billing.current_model_prices.input_price_per_million_tokens is 'Price of 1,000,000 tokens sent to the model.';
comment on column billing.current_model_prices.output_price_per_million_tokens is 'Price of 1,000,000 tokens generated by the model.';
comment on column billing.current_model_prices.cached_input_price_per_million_tokens is 'Price of 1,000,000 cached tokens sent to the model, or null.';
comment on column billing.current_model_prices.effective_from is 'Time from which the price applies; null means always.';
comment on column billing.current_model_prices.effective_to is 'Time until which the price applies; null means until further notice.';
comment on column billing.current_model_prices.reasoning_price_per_million_tokens is 'Price of 1,000,000 reasoning tokens, or null.';
revoke all on billing.current_model_prices from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.current_model_prices to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded billing/views/current_model_prices.sql
--! Included billing/views/monthly_usage.sql
-- Cost of a user's months. Grain: one row per user, month (UTC) and currency. Invoker rights: users see their own.
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
  E'@primaryKey user_id,month,currency\nUsage and cost by month. Grain: one row per user, month (UTC) and currency.';
comment on column billing.monthly_usage.user_id is 'The account.';
comment on column billing.monthly_usage.month is 'First day of the month, UTC.';
comment on column billing.monthly_usage.currency is 'ISO 4217 code of cost.';
comment on column billing.monthly_usage.requests is 'Number of uses of models.';
comment on column billing.monthly_usage.total_tokens is 'Number of tokens sent and generated.';
comment on column billing.monthly_usage.unpriced_tokens is 'Number of tokens whose cost is unknown and not included in cost.';
comment on column billing.monthly_usage.cost is 'Exact cost of the priced tokens in units of currency.';
revoke all on billing.monthly_usage from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on billing.monthly_usage to :PLINTH_USER;
--! EndIncluded billing/views/monthly_usage.sql
--! Included analytics/views/model_catalogue.sql
-- All models, usable or not, with today's price.
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

comment on view analytics.model_catalogue is 'Grain: one row per model and currency with a price today; models without a price have one row.';
comment on column analytics.model_catalogue.model_id is 'The model.';
comment on column analytics.model_catalogue.provider_name is 'Provider of the model.';
comment on column analytics.model_catalogue.model_name is 'The provider''s name for the model.';
comment on column analytics.model_catalogue.display_name is 'Display name of the model.';
comment on column analytics.model_catalogue.is_active is 'Whether model and provider are active.';
comment on column analytics.model_catalogue.is_public is 'Whether every signed-in user may use it.';
comment on column analytics.model_catalogue.currency is 'ISO 4217 code of the prices; null without a price.';
comment on column analytics.model_catalogue.input_price_per_million_tokens is 'Price of 1,000,000 tokens sent to the model.';
comment on column analytics.model_catalogue.output_price_per_million_tokens is 'Price of 1,000,000 tokens generated by the model.';
comment on column analytics.model_catalogue.cached_input_price_per_million_tokens is 'Price of 1,000,000 cached tokens sent to the model.';
comment on column analytics.model_catalogue.price_effective_from is 'Time from which the price applies; null means always.';
comment on column analytics.model_catalogue.reasoning_price_per_million_tokens is
  'Price of 1,000,000 reasoning tokens; null when they cost as much as output tokens.';
grant select on analytics.model_catalogue to :PLINTH_ANALYST;
--! EndIncluded analytics/views/model_catalogue.sql
--! Included analytics/views/daily_usage_cost.sql
-- Cost of the tokens, at the prices of the time of use.
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
comment on column analytics.daily_usage_cost.day is 'Day of the usage in UTC.';
comment on column analytics.daily_usage_cost.model_id is 'The model; null if none was named.';
comment on column analytics.daily_usage_cost.currency is 'ISO 4217 code of cost.';
comment on column analytics.daily_usage_cost.provider_name is 'Provider of the model.';
comment on column analytics.daily_usage_cost.model_name is 'The provider''s name for the model.';
comment on column analytics.daily_usage_cost.total_tokens is 'Number of tokens sent and generated.';
comment on column analytics.daily_usage_cost.unpriced_tokens is 'Number of tokens whose cost is unknown and not included in cost.';
comment on column analytics.daily_usage_cost.cost is 'Exact cost of the priced tokens in units of currency, not rounded.';
grant select on analytics.daily_usage_cost to :PLINTH_ANALYST;
--! EndIncluded analytics/views/daily_usage_cost.sql
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
  -- Kept as written: a price that the table would reject must not be rounded to one that it accepts.
  select
    (h ->> 'input')::numeric,
    (h ->> 'output')::numeric,
    (h ->> 'inputCached')::numeric,
    (h ->> 'reasoning')::numeric,
    (h ->> 'from')::date,
    (h ->> 'to')::date
  from jsonb_array_elements(coalesce(price_history, '[]')) h
$$;

comment on function private.wanted_prices(jsonb) is 'Returns the price history of a model to import; USD per million tokens.';
--! EndIncluded private/functions/wanted_prices.sql

--! Included private/functions/credit_completions.sql
-- Effects of completed items: completed courses, advanced trainings, and evidence of skills. All in one place and one order
-- (courses, then skills, each by id), so that two devices that complete items at once cannot deadlock.

-- Progress of a user's active training in a skill that items teach: the share of these items that are completed, in a later run
-- only since it began. It never decreases: a new item does not reduce it.
create or replace function private.advance_training(user_id uuid, skill_id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_training learning.training;
  v_share numeric;
begin
  select t.* into v_training
  from learning.training t
  where t.user_id = advance_training.user_id and t.skill_id = advance_training.skill_id and t.status = 'active'
  for no key update;
  if not found then
    return;
  end if;
  select trunc(count(p.completed_version)::numeric / nullif(count(*), 0), 4) into v_share
  from learning.content_skills cs
  join learning.content_items i on i.id = cs.item_id
  left join learning.content_progress p
    on p.item_id = i.id
    and p.user_id = v_training.user_id
    and (v_training.run = 1 or p.completed_at >= v_training.started_at)
  where cs.skill_id = v_training.skill_id
    and i.available_from <= now()
    and (i.available_until is null or i.available_until > now());
  if v_share > v_training.progress then
    update learning.training t
    set progress = v_share
    where t.user_id = v_training.user_id and t.skill_id = v_training.skill_id;
  end if;
end
$$;

comment on function private.advance_training(uuid, uuid) is
  'Sets the progress of a user''s active training to the share of the skill''s items that the user completed, if that is higher.';

-- The effects of one user's completed items: trainings and evidence of skills.
create or replace function private.credit_skills(user_id uuid, item_ids uuid[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_credit record;
begin
  for v_credit in
    select cs.item_id, cs.skill_id, cs.gain, p.completed_version
    from learning.content_skills cs
    join learning.content_progress p on p.item_id = cs.item_id and p.user_id = credit_skills.user_id
    where cs.item_id = any (credit_skills.item_ids) and p.completed_version is not null
    order by cs.skill_id, cs.item_id
  loop
    perform private.advance_training(credit_skills.user_id, v_credit.skill_id);
    if v_credit.gain > 0 then
      perform private.add_skill_evidence(
        credit_skills.user_id, v_credit.skill_id, 'content', v_credit.gain,
        'item:' || v_credit.item_id, 'version ' || v_credit.completed_version
      );
    end if;
  end loop;
  update learning.content_progress p
  set credited_version = p.completed_version
  where p.user_id = credit_skills.user_id
    and p.item_id = any (credit_skills.item_ids)
    and p.credited_version is distinct from p.completed_version;
end
$$;

comment on function private.credit_skills(uuid, uuid[]) is
  'Advances trainings and adds evidence of skills for items a user completed; repeating it changes nothing.';

create or replace function private.credit_completions(user_id uuid, item_ids uuid[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_completed uuid[] := item_ids;
  v_course record;
begin
  perform private.lock_completions(false);
  for v_course in
    select distinct c.id, c.current_version
    from learning.content_items i
    join learning.content_items c on c.id = i.course_id
    where i.id = any (item_ids) and c.current_version is not null
    order by c.id
  loop
    insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
    values (credit_completions.user_id, v_course.id, v_course.current_version, now(), now())
    on conflict do nothing;
    -- If two devices complete the last two parts, the second waits here and then sees the first one's completion.
    perform from learning.content_progress p
    where p.user_id = credit_completions.user_id and p.item_id = v_course.id
    for no key update;
    if private.has_completed_parts(credit_completions.user_id, v_course.id) then
      update learning.content_progress p
      set version = v_course.current_version, completed_version = v_course.current_version, completed_at = now(),
        last_activity_at = now()
      where p.user_id = credit_completions.user_id
        and p.item_id = v_course.id
        and p.completed_version is distinct from v_course.current_version;
      if found then
        v_completed := v_completed || v_course.id;
      end if;
    end if;
  end loop;

  perform private.credit_skills(credit_completions.user_id, v_completed);
end
$$;

comment on function private.credit_completions(uuid, uuid[]) is
  'Completes courses, advances trainings and adds evidence for items a user completed; repeating it changes nothing.';

-- Items that the user completed before count for a new training.
create or replace function learning.count_completed_items()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.advance_training(new.user_id, new.skill_id);
  return null;
end
$$;

comment on function learning.count_completed_items() is 'Trigger: starts a training at the progress of the items its user has completed.';

create or replace trigger _600_count_completed_items
  after insert or update of status on learning.training
  for each row
  when (new.status = 'active')
  execute function learning.count_completed_items();
--! EndIncluded private/functions/credit_completions.sql
--! Included private/functions/record_completions.sql
-- Completions that the learner did not cause: content is deleted, withdrawn, moved or corrected, or its availability ends. They
-- are recorded at once, so that unlocked content stays unlocked when a part is added later.

-- Records, as of one moment, the learners who had completed a course or were further in a training than it says.
create or replace function private.record_completions(
  course_ids uuid[],
  skill_ids uuid[],
  at timestamptz default clock_timestamp()
)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_courses jsonb;
  v_trainings jsonb;
  v_row record;
begin
  perform private.lock_completions(true);

  with parts as (
    select i.course_id, i.id
    from learning.content_items i
    where i.course_id = any (record_completions.course_ids)
      and i.available_from <= record_completions.at
      and (i.available_until is null or i.available_until > record_completions.at)
  ),
  courses as (
    select p.course_id, c.current_version, count(*) as part_count
    from parts p
    join learning.content_items c on c.id = p.course_id
    where c.current_version is not null
    group by p.course_id, c.current_version
  ),
  learners as (
    select
      p.user_id, c.course_id, c.current_version, min(p.started_at) as started_at, max(p.last_activity_at) as last_activity_at
    from courses c
    join parts on parts.course_id = c.course_id
    join learning.content_progress p on p.item_id = parts.id and p.completed_at <= record_completions.at
    group by p.user_id, c.course_id, c.current_version, c.part_count
    having count(*) = c.part_count
  )
  select jsonb_agg(l) into v_courses
  from learners l
  where not exists (
    select
    from learning.content_progress done
    where done.user_id = l.user_id and done.item_id = l.course_id and done.completed_at is not null
  );

  with taught as (
    select cs.skill_id, cs.item_id, count(*) over (partition by cs.skill_id) as item_count
    from learning.content_skills cs
    join learning.content_items i on i.id = cs.item_id
    where cs.skill_id = any (record_completions.skill_ids)
      and i.available_from <= record_completions.at
      and (i.available_until is null or i.available_until > record_completions.at)
  ),
  shares as (
    select t.user_id, t.skill_id, t.progress, trunc(count(*)::numeric / c.item_count, 4) as share
    from taught c
    join learning.training t on t.skill_id = c.skill_id and t.status = 'active'
    join learning.content_progress p
      on p.item_id = c.item_id
      and p.user_id = t.user_id
      and p.completed_at <= record_completions.at
      and (t.run = 1 or p.completed_at >= t.started_at)
    group by t.user_id, t.skill_id, t.progress, c.item_count
  )
  select jsonb_agg(s) into v_trainings from shares s where s.share > s.progress;

  if v_courses is null and v_trainings is null then
    return;
  end if;
  -- The accounts before their rows, as everywhere.
  perform private.lock_accounts(array(
    select (r ->> 'user_id')::uuid from jsonb_array_elements(coalesce(v_courses, '[]') || coalesce(v_trainings, '[]')) r
  ));

  for v_row in
    select r.*
    from jsonb_to_recordset(coalesce(v_courses, '[]')) as r (
      user_id uuid, course_id uuid, current_version integer, started_at timestamptz, last_activity_at timestamptz
    )
    -- If the account was deleted in the meantime, so was its progress.
    join identity.users u on u.id = r.user_id
    order by r.user_id, r.course_id
  loop
    insert into learning.content_progress as p (
      user_id, item_id, version, completed_version, completed_at, started_at, last_activity_at
    )
    values (
      v_row.user_id, v_row.course_id, v_row.current_version, v_row.current_version, record_completions.at,
      v_row.started_at, v_row.last_activity_at
    )
    on conflict (user_id, item_id) do update
    set version = excluded.version, completed_version = excluded.completed_version, completed_at = excluded.completed_at
    where p.completed_at is null;
    if found then
      perform private.credit_skills(v_row.user_id, array[v_row.course_id]);
    end if;
  end loop;

  for v_row in
    select r.*
    from jsonb_to_recordset(coalesce(v_trainings, '[]')) as r (user_id uuid, skill_id uuid, share numeric)
    order by r.user_id, r.skill_id
  loop
    update learning.training t
    set progress = v_row.share
    where t.user_id = v_row.user_id and t.skill_id = v_row.skill_id and t.status = 'active' and t.progress < v_row.share;
  end loop;
end
$$;

comment on function private.record_completions(uuid[], uuid[], timestamptz) is
  'Records the learners who had completed one of the courses, and their progress in the trainings of the skills, with the content available at a moment. Repeating it changes nothing.';

-- A shortened duration may complete items that were played far enough. Learners whose heartbeat is being recorded are skipped and
-- left to the job: the heartbeat's transaction may be waiting for this one.
create or replace function private.complete_played_items(item_ids uuid[])
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_played jsonb;
  v_row record;
begin
  perform private.lock_completions(true);
  select jsonb_agg(jsonb_build_object('user_id', p.user_id, 'item_id', p.item_id)) into v_played
  from learning.content_progress p
  join learning.content_items i on i.id = p.item_id
  where i.id = any (complete_played_items.item_ids)
    and p.version > coalesce(p.completed_version, 0)
    and private.is_played(private.covered_seconds(p.covered, i.duration_seconds), i.duration_seconds);
  if v_played is null then
    return;
  end if;
  perform private.lock_accounts(array(select (r ->> 'user_id')::uuid from jsonb_array_elements(v_played) r));
  for v_row in
    select r.* from jsonb_to_recordset(v_played) as r (user_id uuid, item_id uuid) order by r.user_id, r.item_id
  loop
    perform
    from learning.content_progress p
    where p.user_id = v_row.user_id and p.item_id = v_row.item_id
    for no key update skip locked;
    if found then
      update learning.content_progress p
      set
        completed_version = p.version,
        completed_at = clock_timestamp(),
        duration_seconds = i.duration_seconds,
        covered_seconds = private.covered_seconds(p.covered, i.duration_seconds)
      from learning.content_items i
      where p.user_id = v_row.user_id
        and p.item_id = v_row.item_id
        and i.id = p.item_id
        and p.version > coalesce(p.completed_version, 0)
        and private.is_played(private.covered_seconds(p.covered, i.duration_seconds), i.duration_seconds);
      if found then
        perform private.credit_completions(v_row.user_id, array[v_row.item_id]);
      end if;
    elsif exists (select from identity.users u where u.id = v_row.user_id) then
      insert into private.completion_checks (item_id, due_at)
      values (v_row.item_id, clock_timestamp())
      on conflict do nothing;
    end if;
  end loop;
end
$$;

comment on function private.complete_played_items(uuid[]) is
  'Completes the items for the learners who have played enough of them by their present duration. Repeating it changes nothing.';

-- Changes that fall due by time, in order and as of then: if one part ended before another began, the course was completed, even
-- if no job ran in between.
create or replace function private.record_due_completions(batch_size integer default 1000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_due_at timestamptz;
  v_items uuid[];
  v_handled integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  if not exists (select from private.completion_checks c where c.due_at <= clock_timestamp()) then
    return 0;
  end if;
  perform private.lock_completions(true);
  for v_due_at in
    select c.due_at
    from private.completion_checks c
    where c.due_at <= clock_timestamp()
    group by c.due_at
    order by c.due_at
    limit batch_size
  loop
    with gone as (
      delete from private.completion_checks c where c.due_at = v_due_at returning c.item_id
    )
    select array_agg(g.item_id) into v_items from gone g;
    perform private.complete_played_items(v_items);
    perform private.record_completions(
      array(select distinct i.course_id from learning.content_items i where i.id = any (v_items) and i.course_id is not null),
      array(select distinct cs.skill_id from learning.content_skills cs where cs.item_id = any (v_items)),
      v_due_at
    );
    v_handled := v_handled + 1;
  end loop;
  return v_handled;
end
$$;

comment on function private.record_due_completions(integer) is
  'Records completions caused by the start or end of an item''s availability, at up to batch_size moments; returns the number handled.';
grant execute on function private.record_due_completions(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/record_completions.sql
--! Included learning/functions/training.sql
-- A learner's actions on a training: each call sets the desired state, so repeating it changes nothing.

-- The account before its rows, as everywhere.
create or replace function private.lock_own_account()
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform from identity.users u where u.id = plinth.current_user_id() for key share;
  if not found then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  return plinth.current_user_id();
end
$$;

comment on function private.lock_own_account() is
  'Returns the signed-in user''s id and keeps the account from being deleted before the transaction ends; PL401 if no user is signed in.';

create or replace function learning.start_training(skill_id uuid)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_result learning.training;
begin
  if not exists (select from learning.skills s where s.id = start_training.skill_id and s.is_active) then
    raise exception 'Skill not found.'
      using errcode = 'PL404', schema = 'learning', table = 'training', column = 'skill_id';
  end if;
  -- It begins with the items already completed; see private.record_completions.
  perform private.lock_completions(false);
  insert into learning.user_skills (user_id, skill_id) values (v_user_id, start_training.skill_id) on conflict do nothing;
  insert into learning.training as t (user_id, skill_id, status)
  values (v_user_id, start_training.skill_id, 'active')
  on conflict (user_id, skill_id) do update set status = 'active' where t.status = 'pending'
  returning * into v_result;
  if not found then
    select t.* into v_result
    from learning.training t
    where t.user_id = v_user_id and t.skill_id = start_training.skill_id;
  end if;
  if v_result.status = 'completed' then
    raise exception 'This training is already completed.'
      using errcode = 'PL409', hint = 'Restart the training instead.', schema = 'learning', table = 'training', column = 'status';
  end if;
  return v_result;
end
$$;

comment on function learning.start_training(uuid) is
  'Starts the signed-in user''s training in a skill, or resumes it after a pause; an active one is unchanged. PL404 for an unknown skill, PL409 for a completed training.';
grant execute on function learning.start_training(uuid) to :PLINTH_USER;

create or replace function learning.pause_training(skill_id uuid)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_result learning.training;
begin
  update learning.training t
  set status = 'pending'
  where t.user_id = v_user_id and t.skill_id = pause_training.skill_id
  returning * into v_result;
  if not found then
    raise exception 'Training not found.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function learning.pause_training(uuid) is
  'Pauses the signed-in user''s training; its progress is kept. PL404 when there is none, PL409 when it is completed.';
grant execute on function learning.pause_training(uuid) to :PLINTH_USER;

create or replace function learning.restart_training(skill_id uuid)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_result learning.training;
begin
  perform private.lock_completions(false);
  update learning.training t
  set status = 'active'
  where t.user_id = v_user_id and t.skill_id = restart_training.skill_id
  returning * into v_result;
  if not found then
    raise exception 'Training not found.' using errcode = 'PL404';
  end if;
  return v_result;
end
$$;

comment on function learning.restart_training(uuid) is
  'Restarts the signed-in user''s completed training, as its next run from 0; one that is not completed continues. PL404 when there is none.';
grant execute on function learning.restart_training(uuid) to :PLINTH_USER;

-- Progress is recorded by others than the learner: by completed items, or by a trainer.
create or replace function learning.record_training_progress(user_id uuid, skill_id uuid, progress numeric)
  returns learning.training
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_result learning.training;
begin
  if plinth.current_user_id() is null then
    raise exception 'You must be signed in.' using errcode = 'PL401';
  end if;
  if not access.has_permission('manage_skills') then
    raise exception 'You need the permission manage_skills.' using errcode = 'PL403';
  end if;
  if record_training_progress.progress is null or record_training_progress.progress not between 0 and 1 then
    raise exception 'progress must be from 0 to 1.'
      using errcode = 'PL422', schema = 'learning', table = 'training', column = 'progress';
  end if;
  perform from identity.users u where u.id = record_training_progress.user_id for key share;
  select t.* into v_result
  from learning.training t
  where t.user_id = record_training_progress.user_id and t.skill_id = record_training_progress.skill_id
  for no key update;
  if not found then
    raise exception 'Training not found.' using errcode = 'PL404';
  end if;
  -- A late or repeated report never reduces progress.
  if trunc(record_training_progress.progress, 4) <= v_result.progress then
    return v_result;
  end if;
  update learning.training t
  set progress = trunc(record_training_progress.progress, 4)
  where t.user_id = v_result.user_id and t.skill_id = v_result.skill_id
  returning * into v_result;
  return v_result;
end
$$;

comment on function learning.record_training_progress(uuid, uuid, numeric) is
  'Records the progress of a user''s active training, from 0 to 1; 1 completes it. A value below the current progress changes nothing. Needs manage_skills. PL404 when there is no such training, PL409 when it is not active.';
grant execute on function learning.record_training_progress(uuid, uuid, numeric) to :PLINTH_USER;
--! EndIncluded learning/functions/training.sql
--! Included learning/triggers/content_items.sql
-- An item stores its effective window and level, including those of its course, so that a policy reads one row. The course is
-- locked against concurrent change, and its own changes reach its lessons by the trigger below.
create or replace function learning.settle_content_item()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_course learning.content_items;
begin
  new.tags := array(
    select distinct lower(btrim(t.tag)) from unnest(new.tags) as t (tag) where btrim(t.tag) <> '' order by 1
  );
  if exists (select from unnest(new.tags) as t (tag) where length(t.tag) > 60 or t.tag ~ '[[:cntrl:],]') then
    raise exception 'A tag must have at most 60 characters and no comma.'
      using errcode = 'PL422', schema = 'learning', table = 'content_items', column = 'tags';
  end if;

  new.effective_access_level := coalesce(new.required_access_level, 0);
  new.available_from := case when new.deleted_at is null and new.current_version is not null then new.publish_from end;
  new.available_until := new.publish_until;
  if new.course_id is not null then
    select * into v_course from learning.content_items c where c.id = new.course_id for share;
    if v_course.content_type <> 'course' then
      raise exception 'Only a course can have parts.'
        using errcode = 'PL422', schema = 'learning', table = 'content_items', column = 'course_id';
    end if;
    new.effective_access_level := coalesce(new.required_access_level, v_course.effective_access_level, 0);
    -- greatest() would ignore the null of a course that does not exist.
    new.available_from := case when v_course.available_from is not null and new.available_from is not null
      then greatest(new.available_from, v_course.available_from) end;
    new.available_until := least(new.available_until, v_course.available_until);
  elsif tg_op = 'UPDATE' and new.content_type <> 'course' and old.content_type = 'course'
    and exists (select from learning.content_items i where i.course_id = new.id)
  then
    raise exception 'A course with parts must stay a course.'
      using errcode = 'PL409', schema = 'learning', table = 'content_items', column = 'content_type';
  end if;
  return new;
end
$$;

comment on function learning.settle_content_item() is
  'Trigger: normalizes the tags, and computes level and window from those of the item and its course.';

create or replace trigger _200_settle_content_item
  before insert or update of
    course_id, content_type, tags, required_access_level, current_version, publish_from, publish_until, deleted_at,
    effective_access_level, available_from, available_until
  on learning.content_items
  for each row
  execute function learning.settle_content_item();

create or replace function learning.settle_lessons()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  -- For learning.record_changed_content, which runs at the end of the whole statement.
  perform set_config('plinth.settles_lessons', 'on', true);
  update learning.content_items i set available_from = i.available_from where i.course_id = new.id;
  perform set_config('plinth.settles_lessons', 'off', true);
  return null;
end
$$;

comment on function learning.settle_lessons() is 'Trigger: copies a course''s new window or level to its lessons.';

create or replace trigger _500_settle_lessons
  after update on learning.content_items
  for each row
  when (
    new.content_type = 'course'
    and (old.available_from, old.available_until, old.effective_access_level)
      is distinct from (new.available_from, new.available_until, new.effective_access_level)
  )
  execute function learning.settle_lessons();
--! EndIncluded learning/triggers/content_items.sql
--! Included learning/triggers/content_completions.sql
-- Any change to the parts of a course or to the items of a training records the users who have thereby completed it, and no
-- later change undoes that: deleting, withdrawing, moving, correcting a duration, and adding or removing what teaches a skill.

-- Completions by time are recorded before the content changes: later they would be computed from other content.
create or replace function learning.record_content_before()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
begin
  while private.record_due_completions(1000) = 1000 loop
  end loop;
  return null;
end
$$;

comment on function learning.record_content_before() is 'Trigger: records completions by time before content changes.';

create or replace function learning.record_changed_content()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_items uuid[];
  v_courses uuid[];
  v_durations uuid[];
  v_can_complete boolean;
begin
  if tg_op = 'UPDATE' then
    select
      array_agg(n.id),
      array_remove(array_agg(distinct o.course_id) || array_agg(distinct n.course_id), null),
      array_agg(n.id) filter (where o.duration_seconds is distinct from n.duration_seconds and n.duration_seconds is not null),
      -- Content that only grows completes nothing, unless a user had completed it before.
      bool_or(
        o.course_id is distinct from n.course_id
        or o.available_from is not null and (
          n.available_from is null
          or n.available_from > o.available_from
          or coalesce(n.available_until, 'infinity') < coalesce(o.available_until, 'infinity')
        )
        or exists (select from learning.content_progress p where p.item_id = n.id and p.completed_at is not null)
      )
    into v_items, v_courses, v_durations, v_can_complete
    from old_items o
    join new_items n on n.id = o.id
    where (o.course_id, o.available_from, o.available_until, o.duration_seconds)
      is distinct from (n.course_id, n.available_from, n.available_until, n.duration_seconds);
    if v_items is null then
      return null;
    end if;
    delete from private.completion_checks c where c.item_id = any (v_items);
    insert into private.completion_checks (item_id, due_at)
    select i.id, t.due_at
    from learning.content_items i
    cross join lateral (values (i.available_from), (i.available_until)) as t (due_at)
    where i.id = any (v_items) and i.available_from is not null and t.due_at > now() and isfinite(t.due_at)
    on conflict do nothing;
    if current_setting('plinth.settles_lessons', true) = 'on' then
      return null;
    end if;
    -- The parts that followed a course have had their own statement.
    v_items := v_items || array(select i.id from learning.content_items i where i.course_id = any (v_items));
    v_courses := v_courses || v_items;
  else
    select array_agg(o.id), array_remove(array_agg(distinct o.course_id), null), true
    into v_items, v_courses, v_can_complete
    from old_items o;
  end if;
  if v_durations is not null then
    perform private.complete_played_items(v_durations);
  end if;
  if v_can_complete then
    perform private.record_completions(
      v_courses,
      array(select distinct cs.skill_id from learning.content_skills cs where cs.item_id = any (v_items))
    );
  end if;
  return null;
end
$$;

comment on function learning.record_changed_content() is
  'Trigger: records which courses and trainings a change of content completed, and the next time that availability changes.';

create or replace function learning.record_changed_skills()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_skills uuid[];
begin
  if tg_op = 'INSERT' then
    v_skills := array(select distinct n.skill_id from new_skills n);
  elsif tg_op = 'DELETE' then
    v_skills := array(select distinct o.skill_id from old_skills o);
  else
    v_skills := array(select n.skill_id from new_skills n union select o.skill_id from old_skills o);
  end if;
  if v_skills <> '{}' then
    perform private.record_completions('{}', v_skills);
  end if;
  return null;
end
$$;

comment on function learning.record_changed_skills() is
  'Trigger: records which trainings a change of a skill''s items completed.';

create or replace trigger _050_record_content_before
  before insert or update or delete on learning.content_items
  for each statement
  execute function learning.record_content_before();

create or replace trigger _800_record_updated_content
  after update on learning.content_items
  referencing old table as old_items new table as new_items
  for each statement
  execute function learning.record_changed_content();

create or replace trigger _800_record_deleted_content
  after delete on learning.content_items
  referencing old table as old_items
  for each statement
  execute function learning.record_changed_content();

create or replace trigger _050_record_content_before
  before insert or update or delete on learning.content_skills
  for each statement
  execute function learning.record_content_before();

create or replace trigger _800_record_added_skills
  after insert on learning.content_skills
  referencing new table as new_skills
  for each statement
  execute function learning.record_changed_skills();

create or replace trigger _800_record_updated_skills
  after update on learning.content_skills
  referencing old table as old_skills new table as new_skills
  for each statement
  execute function learning.record_changed_skills();

create or replace trigger _800_record_deleted_skills
  after delete on learning.content_skills
  referencing old table as old_skills
  for each statement
  execute function learning.record_changed_skills();
--! EndIncluded learning/triggers/content_completions.sql

-- What is complete already, and what becomes so by time.
insert into private.completion_checks (item_id, due_at)
select i.id, t.due_at
from learning.content_items i
cross join lateral (values (i.available_from), (i.available_until)) as t (due_at)
where i.available_from is not null and t.due_at > now() and isfinite(t.due_at)
on conflict do nothing;
select private.complete_played_items(array(select i.id from learning.content_items i where i.duration_seconds is not null));
select private.record_completions(
  array(select c.id from learning.content_items c where c.content_type = 'course'),
  array(select s.id from learning.skills s)
);
