--! Previous: sha1:c68ddc71b8fa412e15de5ca17bbff5d48fbde17f
--! Hash: sha1:67d9398f326439a37677f1fde934731863a81f6b
--! Message: learning progress

-- What people consume, how far they are, and what follows from it.

-- What teaches what. An item that is completed is evidence of the skill, and a step of its training.
create table learning.content_skills (
  item_id uuid not null references learning.content_items on delete cascade,
  skill_id uuid not null references learning.skills on delete cascade,
  gain numeric(4, 2) not null default 0.25,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (item_id, skill_id),
  constraint content_skills_gain_is_from_0_to_10 check (gain between 0 and 10)
);

alter table learning.content_skills enable row level security;

-- Serves the foreign key, and "what teaches this?".
create index content_skills_skill_id_idx on learning.content_skills (skill_id);

comment on table learning.content_skills is 'One row per item and skill that it teaches.';
comment on constraint content_skills_item_id_fkey on learning.content_skills is
  E'@fieldName item\n@foreignFieldName contentSkills';
comment on column learning.content_skills.item_id is 'The item; may be a course.';
comment on column learning.content_skills.skill_id is 'The skill.';
comment on column learning.content_skills.gain is 'By how much completing the item raises the level, once; 0 to 10.';
comment on column learning.content_skills.created_at is 'When it was said.';
comment on column learning.content_skills.updated_at is 'When the row last changed.';

-- One row per user and item: the state of all sessions together. Its row lock is what heartbeats of one item wait for.
create table learning.content_progress (
  user_id uuid not null references identity.users on delete cascade,
  item_id uuid not null references learning.content_items on delete cascade,
  version integer not null,
  covered int4multirange not null default '{}',
  covered_seconds integer not null default 0,
  duration_seconds integer,
  position_seconds integer not null default 0,
  position_at timestamptz,
  active_seconds bigint not null default 0,
  completed_version integer,
  completed_at timestamptz,
  -- Derived, so that it cannot disagree: 1 means completed and nothing else does.
  progress numeric(5, 4) not null generated always as (
    case
      when completed_version is not null then 1
      when duration_seconds > 0 then least(trunc(covered_seconds::numeric / duration_seconds, 4), 0.9999)
      else 0
    end
  ) stored,
  credited_version integer,
  session_created_at timestamptz,
  access_checked_at timestamptz,
  started_at timestamptz not null,
  last_activity_at timestamptz not null,
  primary key (user_id, item_id),
  -- What was completed stays what it was: published versions neither change nor go.
  constraint content_progress_item_id_completed_version_fkey
    foreign key (item_id, completed_version) references learning.content_versions (item_id, version) on delete cascade,
  constraint content_progress_completed_has_version_and_time check ((completed_version is null) = (completed_at is null)),
  constraint content_progress_version_is_positive check (version > 0),
  constraint content_progress_covered_seconds_is_not_negative check (covered_seconds >= 0),
  constraint content_progress_position_seconds_is_not_negative check (position_seconds >= 0),
  constraint content_progress_active_seconds_is_not_negative check (active_seconds >= 0)
)
  -- Updated with each heartbeat, in columns without an index: with room on the page no index is touched.
  with (fillfactor = 70);

alter table learning.content_progress enable row level security;

-- Who has completed an item, and in which version; also serves the foreign keys.
create index content_progress_item_id_completed_version_idx on learning.content_progress (item_id, completed_version);

comment on table learning.content_progress is 'One row per user and item they have begun: how far they are, and where to go on.';
comment on constraint content_progress_item_id_completed_version_fkey on learning.content_progress is E'@behavior -*';
comment on constraint content_progress_item_id_fkey on learning.content_progress is
  E'@fieldName item\n@foreignFieldName contentProgresses';
comment on column learning.content_progress.user_id is 'Whose progress.';
comment on column learning.content_progress.item_id is 'In what. A course has a row when a part of it was completed.';
comment on column learning.content_progress.version is 'The newest version they have played; what is covered and the position are of it.';
comment on column learning.content_progress.covered is E'@behavior -*\nWhich seconds of that version were played.';
comment on column learning.content_progress.covered_seconds is 'How many seconds of that version were played, each counted once.';
comment on column learning.content_progress.duration_seconds is 'The item''s duration at the last heartbeat; null when unknown.';
comment on column learning.content_progress.position_seconds is 'Where to go on.';
comment on column learning.content_progress.position_at is 'When they were there.';
comment on column learning.content_progress.active_seconds is 'Time spent with the item, all versions and repetitions.';
comment on column learning.content_progress.completed_version is 'The newest version they have completed; null while none.';
comment on column learning.content_progress.completed_at is 'When they completed that version.';
comment on column learning.content_progress.progress is '0.0 to 1.0; 1 when completed, in whichever version. For a course ask its field `progress`.';
comment on column learning.content_progress.credited_version is E'@behavior -*\nThe completed version whose consequences (course, training, evidence) are drawn.';
comment on column learning.content_progress.session_created_at is E'@behavior -*\nKey of the session with the latest activity: where the next heartbeat most likely belongs.';
comment on column learning.content_progress.access_checked_at is E'@behavior -*\nWhen access to the item was last decided for a heartbeat; null asks again.';
comment on column learning.content_progress.started_at is 'When they first played it.';
comment on column learning.content_progress.last_activity_at is 'When they last did.';

-- One row per session: heartbeats at most half an hour apart. By the month in which the session was made here, whenever it
-- took place, so that what comes late needs no old partition.
create table learning.content_consumption (
  user_id uuid not null references identity.users on delete cascade,
  item_id uuid not null references learning.content_items on delete cascade,
  version integer not null,
  started_at timestamptz not null,
  last_activity_at timestamptz not null,
  active_seconds integer not null,
  heartbeat_count integer not null,
  covered int4multirange not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (user_id, item_id, created_at),
  constraint content_consumption_ends_after_its_start check (last_activity_at >= started_at),
  constraint content_consumption_active_seconds_is_not_negative check (active_seconds >= 0),
  constraint content_consumption_heartbeat_count_is_positive check (heartbeat_count > 0)
) partition by range (created_at);

alter table learning.content_consumption enable row level security;

-- An item's sessions by time; also serves the foreign key.
create index content_consumption_item_id_created_at_idx on learning.content_consumption (item_id, created_at);

comment on table learning.content_consumption is 'One row per session of a user with an item; partitioned by month of created_at.';
comment on constraint content_consumption_item_id_fkey on learning.content_consumption is
  E'@fieldName item\n@foreignFieldName contentConsumptions';
comment on column learning.content_consumption.user_id is 'Who.';
comment on column learning.content_consumption.item_id is 'What.';
comment on column learning.content_consumption.version is 'Which version of it.';
comment on column learning.content_consumption.started_at is 'When the session began, by the client''s clock.';
comment on column learning.content_consumption.last_activity_at is 'When it was last heard of, by the client''s clock.';
comment on column learning.content_consumption.active_seconds is 'Time spent, without pauses.';
comment on column learning.content_consumption.heartbeat_count is 'From how many heartbeats it was merged.';
comment on column learning.content_consumption.covered is E'@behavior -*\nWhich seconds of the item were played.';
comment on column learning.content_consumption.created_at is 'When its first heartbeat arrived; the partition key.';

-- What a repeated heartbeat is known by, for as long as it can be repeated.
create table private.recorded_heartbeats (
  user_id uuid not null references identity.users on delete cascade,
  event_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (user_id, event_id)
);

alter table private.recorded_heartbeats enable row level security;

-- What the clean-up looks for.
create index recorded_heartbeats_created_at_idx on private.recorded_heartbeats (created_at);

comment on table private.recorded_heartbeats is 'One row per heartbeat of the last weeks, so that each counts once.';
comment on column private.recorded_heartbeats.user_id is 'Whose.';
comment on column private.recorded_heartbeats.event_id is 'The client''s id of it.';
comment on column private.recorded_heartbeats.created_at is 'When it was recorded.';

create type learning.progress_summary as (
  item_count integer,
  completed_count integer,
  progress numeric(5, 4),
  active_seconds bigint,
  last_activity_at timestamptz
);

comment on type learning.progress_summary is 'How far somebody is with a number of items that are available now.';
comment on column learning.progress_summary.item_count is 'How many items count: a course is its parts.';
comment on column learning.progress_summary.completed_count is 'How many of them are completed.';
comment on column learning.progress_summary.progress is 'Average of their progress, 0.0 to 1.0; 0 when there are none.';
comment on column learning.progress_summary.active_seconds is 'Time spent with them.';
comment on column learning.progress_summary.last_activity_at is 'Last time with one of them; null for never.';

create type learning.heartbeat_result as (
  event_id uuid,
  item_id uuid,
  outcome text,
  reason text
);

comment on type learning.heartbeat_result is 'What became of a heartbeat.';
comment on column learning.heartbeat_result.event_id is 'The client''s id of it.';
comment on column learning.heartbeat_result.item_id is 'The item it named.';
comment on column learning.heartbeat_result.outcome is 'recorded, repeated or refused. All but an unreachable server is final: forget it.';
comment on column learning.heartbeat_result.reason is 'Why it was refused: a reason of access, no_such_version, or the value at fault (event_id, from_seconds, to_seconds, active_seconds, occurred_at).';

-- What people take to at the moment. A session counts 1 and a completion 3 on their day, half of it two weeks later; after half
-- a year they are forgotten. What a course's parts score, the course scores, too.
create materialized view analytics.content_popularity as
with signals as (
  select
    c.item_id, c.user_id, 1 as sessions, 0 as completions, c.active_seconds,
    power(0.5, extract(epoch from now() - c.last_activity_at) / (14 * 86400)) as score
  from learning.content_consumption c
  where c.created_at > now() - interval '180 days' and c.last_activity_at > now() - interval '180 days'
  union all
  select
    p.item_id, p.user_id, 0, 1, 0,
    3 * power(0.5, extract(epoch from now() - p.completed_at) / (14 * 86400))
  from learning.content_progress p
  where p.completed_at > now() - interval '180 days'
),
placed as (
  select s.item_id, s.user_id, s.sessions, s.completions, s.active_seconds, s.score from signals s
  union all
  select i.course_id, s.user_id, s.sessions, s.completions, s.active_seconds, s.score
  from signals s
  join learning.content_items i on i.id = s.item_id
  where i.course_id is not null
)
select
  p.item_id,
  i.content_type,
  i.category_id,
  i.language,
  count(distinct p.user_id) as users,
  sum(p.sessions) as sessions,
  sum(p.completions) as completions,
  sum(p.active_seconds) as active_seconds,
  i.rating_count,
  i.rating_average,
  round(sum(p.score)::numeric, 4) as popularity_score,
  now() as refreshed_at
from placed p
join learning.content_items i on i.id = p.item_id
group by p.item_id, i.id;

-- Refreshing concurrently needs it.
create unique index content_popularity_item_id_idx on analytics.content_popularity (item_id);
-- The most popular first.
create index content_popularity_popularity_score_idx on analytics.content_popularity (popularity_score desc);

comment on materialized view analytics.content_popularity is
  'Grain: one row per item with sessions or completions in the last 180 days. Refreshed by a job.';
comment on column analytics.content_popularity.item_id is 'The item; a course has the sums of its parts.';
comment on column analytics.content_popularity.content_type is 'course, lesson, article and so on.';
comment on column analytics.content_popularity.category_id is 'Where it is filed.';
comment on column analytics.content_popularity.language is 'Its language tag.';
comment on column analytics.content_popularity.users is 'How many users.';
comment on column analytics.content_popularity.sessions is 'How many sessions.';
comment on column analytics.content_popularity.completions is 'How many completions.';
comment on column analytics.content_popularity.active_seconds is 'Time spent in the sessions.';
comment on column analytics.content_popularity.rating_count is 'How many users rated it, ever.';
comment on column analytics.content_popularity.rating_average is 'Average rating, 1.00 to 5.00; null without ratings.';
comment on column analytics.content_popularity.popularity_score is 'Sum over sessions (1) and completions (3), halved every 14 days since.';
comment on column analytics.content_popularity.refreshed_at is 'As of when.';
grant select on analytics.content_popularity to :PLINTH_ANALYST;

--! Included learning/triggers/content_progress.sql
-- See plinth.touch_updated_at.
create or replace trigger _900_touch_updated_at
  before update on learning.content_skills
  for each row
  execute function plinth.touch_updated_at();
--! EndIncluded learning/triggers/content_progress.sql
--! Included private/functions/has_completed_parts.sql
-- Whether all parts of a course that are available now are completed, each in whichever version. A course without parts is not.
create or replace function private.has_completed_parts(user_id uuid, course_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select coalesce(bool_and(p.completed_version is not null), false)
  from learning.content_items i
  left join learning.content_progress p on p.item_id = i.id and p.user_id = has_completed_parts.user_id
  where i.course_id = has_completed_parts.course_id
    and i.available_from <= now()
    and (i.available_until is null or i.available_until > now())
$$;

comment on function private.has_completed_parts(uuid, uuid) is
  'Whether the user has completed every part of the course that is available now; false for a course without parts.';
--! EndIncluded private/functions/has_completed_parts.sql
--! Included learning/functions/has_completed.sql
-- The one place that asks whether something was completed. Whatever the version: a new version of an item does not close
-- what its completion has opened, and neither does a part that a completed course is given later. A course whose parts are all
-- completed is so, too: its last missing part may have been withdrawn.
create or replace function learning.has_completed(user_id uuid, item_id uuid)
  returns boolean
  language plpgsql
  stable
  security definer
  set search_path = pg_catalog
as $$
begin
  return learning.may_ask_about(user_id)
    and (
      exists (
        select
        from learning.content_progress p
        where p.user_id = has_completed.user_id
          and p.item_id = has_completed.item_id
          and p.completed_at is not null
      )
      or private.has_completed_parts(has_completed.user_id, has_completed.item_id)
    );
end
$$;

comment on function learning.has_completed(uuid, uuid) is
  E'@behavior -*\nWhether the user has completed the item in any version, or all parts of the course; false for who may not know.';
grant execute on function learning.has_completed(uuid, uuid) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/has_completed.sql
--! Included private/functions/credit_completions.sql
-- What follows from completing items: courses whose last part it was, trainings that go on, and evidence of skills. In one
-- place and one order (courses, then skills, each by id), so that two devices that complete something at once cannot wait for
-- each other in a circle.

-- Progress of a user's active training in a skill that items teach: the share of these items that are completed, in a later run
-- only since it began. Never backwards: a new item takes nothing away from anybody.
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
  'Sets the progress of a user''s active training to the share of the skill''s items that they completed, if that is more.';

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
  v_credit record;
begin
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
    -- Of two devices with the last two parts, the second waits here and then sees what the first has done.
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

  for v_credit in
    select cs.item_id, cs.skill_id, cs.gain, p.completed_version
    from learning.content_skills cs
    join learning.content_progress p on p.item_id = cs.item_id and p.user_id = credit_completions.user_id
    where cs.item_id = any (v_completed) and p.completed_version is not null
    order by cs.skill_id, cs.item_id
  loop
    perform private.advance_training(credit_completions.user_id, v_credit.skill_id);
    if v_credit.gain > 0 then
      perform private.add_skill_evidence(
        credit_completions.user_id, v_credit.skill_id, 'content', v_credit.gain,
        'item:' || v_credit.item_id, 'version ' || v_credit.completed_version
      );
    end if;
  end loop;
  update learning.content_progress p
  set credited_version = p.completed_version
  where p.user_id = credit_completions.user_id
    and p.item_id = any (v_completed)
    and p.credited_version is distinct from p.completed_version;
end
$$;

comment on function private.credit_completions(uuid, uuid[]) is
  'Completes courses, advances trainings and adds evidence for items a user completed; repeating it changes nothing.';

-- What somebody has completed already counts for a training they begin.
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

comment on function learning.count_completed_items() is 'Trigger: a training begins where completed items have brought its user.';

create or replace trigger _600_count_completed_items
  after insert or update of status on learning.training
  for each row
  when (new.status = 'active')
  execute function learning.count_completed_items();
--! EndIncluded private/functions/credit_completions.sql
--! Included private/functions/apply_heartbeat.sql
-- Heartbeats become sessions and progress here, in an order that does not matter: whatever comes late, twice or mixed up, the
-- sums, the covered stretches and the sessions are the same. Callers have checked the values and the access.

-- What is wrong with the values of a heartbeat: the name of the parameter, or null. Four times is the fastest a player plays.
-- Without settings of its own, so that it becomes part of the expression that asks.
create or replace function private.heartbeat_problem(
  event_id uuid,
  from_seconds integer,
  to_seconds integer,
  active_seconds integer,
  occurred_at timestamptz
)
  returns text
  language sql
  stable
as $$
  select case
    when event_id is null then 'event_id'
    when from_seconds is null or from_seconds not between 0 and 604800 then 'from_seconds'
    when to_seconds is null or to_seconds not between from_seconds and 604800 then 'to_seconds'
    when active_seconds is null or active_seconds not between 0 and 600 or to_seconds - from_seconds > 4 * active_seconds
      then 'active_seconds'
    when occurred_at is null or occurred_at not between now() - interval '30 days' and now() + interval '5 minutes'
      then 'occurred_at'
  end
$$;

comment on function private.heartbeat_problem(uuid, integer, integer, integer, timestamptz) is
  'Name of the first parameter of a heartbeat that cannot be, or null.';

-- Seconds of a set of stretches, up to the end of the item.
create or replace function private.covered_seconds(covered int4multirange, duration_seconds integer)
  returns integer
  language sql
  immutable
as $$
  select coalesce(sum(upper(r) - lower(r)), 0)::integer
  from unnest(covered * int4multirange(int4range(0, duration_seconds))) r
$$;

comment on function private.covered_seconds(int4multirange, integer) is
  'How many seconds of an item the stretches cover; all of them when its duration is unknown.';

-- Finds or makes the session that a heartbeat belongs to: heartbeats at most half an hour apart are one. A late one may join
-- two that were apart, so the row with the earliest key takes the others in. Returns that row's key.
-- Nothing older than 40 days is looked for: a heartbeat is at most 30 days late, so its session is in the newest partitions.
create or replace function private.place_session(
  user_id uuid,
  item_id uuid,
  version integer,
  covered int4multirange,
  active_seconds integer,
  began_at timestamptz,
  occurred_at timestamptz
)
  returns timestamptz
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_gap constant interval := '30 minutes';
  v_keys timestamptz[];
  v_key timestamptz;
  v_others record;
begin
  v_keys := array(
    select c.created_at
    from learning.content_consumption c
    where c.user_id = place_session.user_id
      and c.item_id = place_session.item_id
      and c.version = place_session.version
      and c.created_at >= now() - interval '40 days'
      and c.started_at <= place_session.occurred_at + v_gap
      and c.last_activity_at >= place_session.began_at - v_gap
    order by c.created_at
  );
  if v_keys = '{}' then
    insert into learning.content_consumption (
      user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered, created_at
    )
    values (
      place_session.user_id, place_session.item_id, place_session.version, place_session.began_at,
      place_session.occurred_at, place_session.active_seconds, 1, place_session.covered, clock_timestamp()
    )
    returning created_at into v_key;
    return v_key;
  end if;

  with taken_in as (
    delete from learning.content_consumption c
    where c.user_id = place_session.user_id
      and c.item_id = place_session.item_id
      and c.created_at = any (v_keys[2:])
    returning c.*
  )
  select
    min(t.started_at) as started_at, max(t.last_activity_at) as last_activity_at,
    coalesce(sum(t.active_seconds), 0) as active_seconds, coalesce(sum(t.heartbeat_count), 0) as heartbeat_count,
    coalesce(range_agg(t.covered), '{}') as covered
  into v_others
  from taken_in t;
  update learning.content_consumption c
  set started_at = least(c.started_at, v_others.started_at, place_session.began_at),
    last_activity_at = greatest(c.last_activity_at, v_others.last_activity_at, place_session.occurred_at),
    active_seconds = c.active_seconds + v_others.active_seconds + place_session.active_seconds,
    heartbeat_count = c.heartbeat_count + v_others.heartbeat_count + 1,
    covered = c.covered + v_others.covered + place_session.covered
  where c.user_id = place_session.user_id and c.item_id = place_session.item_id and c.created_at = v_keys[1];
  return v_keys[1];
end
$$;

comment on function private.place_session(uuid, uuid, integer, int4multirange, integer, timestamptz, timestamptz) is
  'Adds a heartbeat to the session it belongs to, joining sessions or making one; returns the created_at of that session.';

-- One heartbeat. The heartbeat's mark comes first, because its foreign key locks the account, which comes before what belongs to
-- it everywhere; then the row of the progress, which is the lock of its user and item; then its sessions.
create or replace function private.apply_heartbeat(
  user_id uuid,
  item_id uuid,
  event_id uuid,
  version integer,
  duration_seconds integer,
  from_seconds integer,
  to_seconds integer,
  active_seconds integer,
  occurred_at timestamptz,
  access_checked_at timestamptz
)
  returns learning.content_progress
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  -- Watching nine tenths is having seen it: hardly anybody sits through the credits.
  v_completing_share constant numeric := 0.9;
  v_gap constant interval := '30 minutes';
  v_occurred_at constant timestamptz := least(apply_heartbeat.occurred_at, now());
  v_began_at constant timestamptz := v_occurred_at - make_interval(secs => apply_heartbeat.active_seconds);
  v_covered constant int4multirange := int4multirange(int4range(apply_heartbeat.from_seconds, apply_heartbeat.to_seconds));
  v_session timestamptz;
  v_seconds integer;
  p learning.content_progress;
begin
  insert into private.recorded_heartbeats (user_id, event_id)
  values (apply_heartbeat.user_id, apply_heartbeat.event_id)
  on conflict do nothing;
  if not found then
    select t.* into p
    from learning.content_progress t
    where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id;
    return p;
  end if;

  loop
    -- A newer version is another text: its covered stretches and its place begin anew. What was seen of the one before is in
    -- its sessions, and what was completed stays completed. An older version adds nothing but time.
    update learning.content_progress t
    set version = greatest(t.version, apply_heartbeat.version),
      covered = case
        when apply_heartbeat.version = t.version then t.covered + v_covered
        when apply_heartbeat.version > t.version then v_covered
        else t.covered
      end,
      covered_seconds = case
        when apply_heartbeat.version = t.version
          then private.covered_seconds(t.covered + v_covered, apply_heartbeat.duration_seconds)
        when apply_heartbeat.version > t.version
          then private.covered_seconds(v_covered, apply_heartbeat.duration_seconds)
        else t.covered_seconds
      end,
      duration_seconds = apply_heartbeat.duration_seconds,
      position_seconds = case
        when (apply_heartbeat.version, v_occurred_at, apply_heartbeat.to_seconds)
          > (t.version, coalesce(t.position_at, '-infinity'), t.position_seconds)
          then apply_heartbeat.to_seconds
        else t.position_seconds
      end,
      position_at = case
        when (apply_heartbeat.version, v_occurred_at) > (t.version, coalesce(t.position_at, '-infinity')) then v_occurred_at
        else t.position_at
      end,
      active_seconds = t.active_seconds + apply_heartbeat.active_seconds,
      started_at = least(t.started_at, v_began_at),
      last_activity_at = greatest(t.last_activity_at, v_occurred_at),
      access_checked_at = apply_heartbeat.access_checked_at
    where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
    returning t.* into p;
    exit when found;
    insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
    values (apply_heartbeat.user_id, apply_heartbeat.item_id, apply_heartbeat.version, v_began_at, v_occurred_at)
    on conflict do nothing;
  end loop;

  -- Nearly every heartbeat goes on with the last session.
  update learning.content_consumption c
  set last_activity_at = greatest(c.last_activity_at, v_occurred_at),
    active_seconds = c.active_seconds + apply_heartbeat.active_seconds,
    heartbeat_count = c.heartbeat_count + 1,
    covered = c.covered + v_covered
  where c.user_id = apply_heartbeat.user_id
    and c.item_id = apply_heartbeat.item_id
    and c.created_at = p.session_created_at
    and c.version = apply_heartbeat.version
    and c.started_at <= v_began_at
    and c.last_activity_at >= v_began_at - v_gap;
  if not found then
    v_session := private.place_session(
      apply_heartbeat.user_id, apply_heartbeat.item_id, apply_heartbeat.version, v_covered,
      apply_heartbeat.active_seconds, v_began_at, v_occurred_at
    );
    -- The session with the latest activity is where the next heartbeat is looked for; so is one that took it in.
    if p.session_created_at is null or v_occurred_at >= p.last_activity_at or v_session < p.session_created_at and not exists (
      select
      from learning.content_consumption c
      where c.user_id = p.user_id and c.item_id = p.item_id and c.created_at = p.session_created_at
    ) then
      update learning.content_progress t
      set session_created_at = v_session
      where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
      returning t.* into p;
    end if;
  end if;

  if apply_heartbeat.version > coalesce(p.completed_version, 0) then
    v_seconds := p.covered_seconds;
    if apply_heartbeat.version < p.version then
      -- Late news of a version that the user has left behind.
      select private.covered_seconds(range_agg(c.covered), apply_heartbeat.duration_seconds) into v_seconds
      from learning.content_consumption c
      where c.user_id = apply_heartbeat.user_id
        and c.item_id = apply_heartbeat.item_id
        and c.version = apply_heartbeat.version;
    end if;
    if v_seconds >= v_completing_share * apply_heartbeat.duration_seconds then
      update learning.content_progress t
      set completed_version = apply_heartbeat.version, completed_at = v_occurred_at
      where t.user_id = apply_heartbeat.user_id and t.item_id = apply_heartbeat.item_id
      returning t.* into p;
    end if;
  end if;
  return p;
end
$$;

comment on function private.apply_heartbeat(uuid, uuid, uuid, integer, integer, integer, integer, integer, timestamptz, timestamptz) is
  'Merges a heartbeat into sessions and progress, once for each event_id of a user; returns the progress after it.';
--! EndIncluded private/functions/apply_heartbeat.sql
--! Included learning/functions/record_heartbeat.sql
-- A player says what it has played since it last said so. The answer is the progress, with where to go on.

-- The item and the version that somebody plays, if they may: only who may read a text can be reading it. The decision about a
-- user and item is asked for once a minute of playing and not with each heartbeat: asking costs more than recording. What
-- would change it at once is seen: a withdrawn item here, a changed permission by the trigger below.
create or replace function private.open_for_recording(
  item_id uuid,
  version integer,
  out reason text,
  out playable_version integer,
  out duration_seconds integer,
  out content_type text,
  out access_checked_at timestamptz
)
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_current_version integer;
  v_is_available boolean;
  v_has_access boolean;
begin
  select
    i.current_version, i.duration_seconds, i.content_type,
    i.available_from <= now() and (i.available_until is null or i.available_until > now()),
    p.access_checked_at
  into v_current_version, duration_seconds, content_type, v_is_available, access_checked_at
  from learning.content_items i
  left join learning.content_progress p on p.item_id = i.id and p.user_id = plinth.current_user_id()
  where i.id = open_for_recording.item_id;
  if v_current_version is null then
    reason := 'not_available';
    return;
  end if;
  if v_is_available is not true or access_checked_at is null
    or access_checked_at not between now() - interval '1 minute' and now()
  then
    select a.has_access, a.reason into v_has_access, reason
    from learning.my_content_access a
    where a.content_id = open_for_recording.item_id;
    if v_has_access is not true then
      reason := coalesce(reason, 'not_available');
      return;
    end if;
    reason := null;
    access_checked_at := now();
  end if;
  playable_version := coalesce(version, v_current_version);
  if playable_version <> v_current_version and not exists (
    select
    from learning.content_versions v
    where v.item_id = open_for_recording.item_id and v.version = open_for_recording.version and v.published_at is not null
  ) then
    reason := 'no_such_version';
  end if;
end
$$;

comment on function private.open_for_recording(uuid, integer) is
  'The version of an item that is being played, its duration and type, and when access was last decided; reason says why the caller may not play it, or is null.';

create or replace function learning.forget_checked_access()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_permission learning.user_content_permissions := case when tg_op = 'DELETE' then old else new end;
begin
  update learning.content_progress p
  set access_checked_at = null
  from learning.content_items i
  where p.user_id = v_permission.user_id
    and p.item_id = i.id
    and p.access_checked_at is not null
    -- A permission on a course is one on its parts.
    and (i.id = v_permission.item_id or i.course_id = v_permission.item_id);
  return null;
end
$$;

comment on function learning.forget_checked_access() is 'Trigger: a permission that changes counts for the very next heartbeat.';

create or replace trigger _500_forget_checked_access
  after insert or update or delete on learning.user_content_permissions
  for each row
  execute function learning.forget_checked_access();

create or replace function private.refuse_recording(reason text)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if reason = 'no_such_version' then
    raise exception 'There is no such version.'
      using errcode = 'PL404', schema = 'learning', table = 'content_progress', column = 'version';
  elsif reason = 'not_available' then
    raise exception 'There is no such content.'
      using errcode = 'PL404', schema = 'learning', table = 'content_progress', column = 'item_id';
  elsif reason is not null then
    raise exception 'You have no access to this content.' using errcode = 'PL403', hint = reason;
  end if;
end
$$;

comment on function private.refuse_recording(text) is
  'Raises why something may not be recorded (PL403, or PL404 for what cannot be seen); nothing when reason is null.';

create or replace function learning.record_heartbeat(
  item_id uuid,
  event_id uuid,
  from_seconds integer,
  to_seconds integer,
  active_seconds integer default null,
  occurred_at timestamptz default null,
  version integer default null
)
  returns learning.content_progress
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  -- A plan for these values would leave out partitions and seem cheaper; making it costs more than all the rest.
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_active_seconds constant integer := coalesce(active_seconds, to_seconds - from_seconds);
  v_occurred_at constant timestamptz := coalesce(occurred_at, now());
  v_problem constant text := private.heartbeat_problem(event_id, from_seconds, to_seconds, v_active_seconds, v_occurred_at);
  v_open record;
  v_progress learning.content_progress;
begin
  if v_user_id is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  if v_problem is not null then
    raise exception 'This heartbeat cannot be: %.', v_problem
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = v_problem,
        hint = 'from_seconds <= to_seconds, at most 4 times active_seconds, which are at most 600; at most 30 days ago.';
  end if;
  v_open := private.open_for_recording(item_id, version);
  if v_open.reason is not null then
    perform private.refuse_recording(v_open.reason);
  end if;
  v_progress := private.apply_heartbeat(
    v_user_id, item_id, event_id, v_open.playable_version, v_open.duration_seconds,
    from_seconds, to_seconds, v_active_seconds, v_occurred_at, v_open.access_checked_at
  );
  if v_progress.completed_version is distinct from v_progress.credited_version then
    perform private.credit_completions(v_user_id, array[item_id]);
    v_progress.credited_version := v_progress.completed_version;
  end if;
  return v_progress;
end
$$;

comment on function learning.record_heartbeat(uuid, uuid, integer, integer, integer, timestamptz, integer) is
  E'@resultFieldName progress\nRecords that the signed-in user played an item from one second of it to another, in active_seconds (as many if left out) that ended at occurred_at (now), in its current or the given version. Once for each event_id, in any order, up to 30 days late. PL401, PL403 with the reason as hint, PL404, PL422.';
grant execute on function learning.record_heartbeat(uuid, uuid, integer, integer, integer, timestamptz, integer) to :PLINTH_USER;

-- What a device has collected without a connection. One heartbeat that is refused does not hold up the others, or a queue
-- with it in front would never be emptied. Rows are locked in one order before anything is written, so that two devices cannot
-- wait for each other in a circle.
create or replace function learning.record_heartbeats(heartbeats jsonb)
  returns setof learning.heartbeat_result
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  -- A plan for these values would leave out partitions and seem cheaper; making it costs more than all the rest.
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_user_id uuid;
  v_events jsonb := '[]';
  v_heartbeat record;
  v_open record;
  v_progress learning.content_progress;
  v_completed uuid[] := '{}';
  v_result learning.heartbeat_result;
begin
  v_user_id := private.lock_own_account();
  if jsonb_typeof(heartbeats) is distinct from 'array' or jsonb_array_length(heartbeats) > 500 then
    raise exception 'heartbeats is a list of at most 500 objects.'
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = 'heartbeats';
  end if;
  if jsonb_path_exists(heartbeats, '$[*] ? (@.type() != "object")') then
    raise exception 'Each of heartbeats is an object.'
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = 'heartbeats';
  end if;
  perform p.item_id
  from learning.content_progress p
  where p.user_id = v_user_id
    and p.item_id in (select (h ->> 'itemId')::uuid from jsonb_array_elements(heartbeats) h)
  order by p.item_id
  for no key update;

  for v_heartbeat in
    select
      h."eventId" as event_id, h."itemId" as item_id, h."fromSeconds" as from_seconds, h."toSeconds" as to_seconds,
      coalesce(h."activeSeconds", h."toSeconds" - h."fromSeconds") as active_seconds,
      coalesce(h."occurredAt", now()) as occurred_at, h.version
    from jsonb_to_recordset(heartbeats) as h (
      "eventId" uuid, "itemId" uuid, "fromSeconds" integer, "toSeconds" integer, "activeSeconds" integer,
      "occurredAt" timestamptz, version integer
    )
    order by h."itemId", h."occurredAt", h."eventId"
  loop
    v_result.event_id := v_heartbeat.event_id;
    v_result.item_id := v_heartbeat.item_id;
    v_result.outcome := 'refused';
    v_result.reason := private.heartbeat_problem(
      v_heartbeat.event_id, v_heartbeat.from_seconds, v_heartbeat.to_seconds, v_heartbeat.active_seconds, v_heartbeat.occurred_at
    );
    if v_result.reason is null then
      v_open := private.open_for_recording(v_heartbeat.item_id, v_heartbeat.version);
      v_result.reason := v_open.reason;
    end if;
    if v_result.reason is null then
      v_result.outcome := case
        when exists (
          select
          from private.recorded_heartbeats r
          where r.user_id = v_user_id and r.event_id = v_heartbeat.event_id
        ) then 'repeated'
        else 'recorded'
      end;
      v_progress := private.apply_heartbeat(
        v_user_id, v_heartbeat.item_id, v_heartbeat.event_id, v_open.playable_version, v_open.duration_seconds,
        v_heartbeat.from_seconds, v_heartbeat.to_seconds, v_heartbeat.active_seconds, v_heartbeat.occurred_at,
        v_open.access_checked_at
      );
      if v_progress.completed_version is distinct from v_progress.credited_version then
        v_completed := v_completed || v_heartbeat.item_id;
      end if;
    end if;
    return next v_result;
  end loop;
  if v_completed <> '{}' then
    perform private.credit_completions(v_user_id, v_completed);
  end if;
end
$$;

comment on function learning.record_heartbeats(jsonb) is
  E'@resultFieldName results\nRecords up to 500 heartbeats, a list of {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version} as record_heartbeat takes them, such as those collected without a connection. Answers for each whether it was recorded, repeated or refused, and why. PL401, PL422.';
grant execute on function learning.record_heartbeats(jsonb) to :PLINTH_USER;
--! EndIncluded learning/functions/record_heartbeat.sql
--! Included learning/functions/complete_item.sql
-- What is not played, such as an article or an exercise, its reader calls done. A video is done when it was played, a course
-- when its parts are.
create or replace function learning.complete_item(item_id uuid, version integer default null)
  returns learning.content_progress
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := private.lock_own_account();
  v_open record;
  v_progress learning.content_progress;
begin
  select * into v_open from private.open_for_recording(item_id, version);
  perform private.refuse_recording(v_open.reason);
  if v_open.content_type = 'course' then
    raise exception 'A course is completed by its parts.' using errcode = 'PL409';
  end if;
  if v_open.content_type = 'video' and v_open.duration_seconds is not null then
    raise exception 'A video is completed by playing it.' using errcode = 'PL409', hint = 'See record_heartbeat.';
  end if;
  insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at)
  values (v_user_id, item_id, v_open.playable_version, now(), now())
  on conflict do nothing;
  perform from learning.content_progress p where p.user_id = v_user_id and p.item_id = complete_item.item_id for no key update;
  update learning.content_progress p
  set version = greatest(p.version, v_open.playable_version),
    -- What was seen is of another version.
    covered = case when p.version < v_open.playable_version then '{}' else p.covered end,
    covered_seconds = case when p.version < v_open.playable_version then 0 else p.covered_seconds end,
    position_seconds = case when p.version < v_open.playable_version then 0 else p.position_seconds end,
    completed_version = v_open.playable_version,
    completed_at = now(),
    last_activity_at = greatest(p.last_activity_at, now())
  where p.user_id = v_user_id
    and p.item_id = complete_item.item_id
    and coalesce(p.completed_version, 0) < v_open.playable_version;
  if found then
    perform private.credit_completions(v_user_id, array[item_id]);
  end if;
  select p.* into v_progress
  from learning.content_progress p
  where p.user_id = v_user_id and p.item_id = complete_item.item_id;
  return v_progress;
end
$$;

comment on function learning.complete_item(uuid, integer) is
  E'@resultFieldName progress\nSays that the signed-in user has completed an item, in its current or the given version; repeating it changes nothing. PL409 for a course (its parts complete it) and for a video whose duration is known (playing it does). PL401, PL403 with the reason as hint, PL404.';
grant execute on function learning.complete_item(uuid, integer) to :PLINTH_USER;
--! EndIncluded learning/functions/complete_item.sql
--! Included learning/views/my_item_progress.sql
-- The caller's progress in everything that counts: what is available now and is no course, for a course is its parts. Courses
-- and categories are sums of these rows and of nothing else, so that they cannot disagree.
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
  p.last_activity_at
from learning.content_items i
left join learning.content_progress p
  on p.item_id = i.id
  and p.user_id = (select plinth.current_user_id())
where i.content_type <> 'course'
  and i.available_from <= now()
  and (i.available_until is null or i.available_until > now());

comment on view learning.my_item_progress is
  E'@behavior -*\nGrain: one row per available item that is no course: the progress of who asks.';
comment on column learning.my_item_progress.item_id is 'The item.';
comment on column learning.my_item_progress.course_id is 'The course it is a part of, or null.';
comment on column learning.my_item_progress.category_id is 'Where it is filed.';
comment on column learning.my_item_progress.is_completed is 'Whether it was completed, in whichever version.';
comment on column learning.my_item_progress.progress is '0.0 to 1.0; 1 is completed.';
comment on column learning.my_item_progress.active_seconds is 'Time spent with it.';
comment on column learning.my_item_progress.last_activity_at is 'When it was last played; null for never.';
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
  E'@behavior -*\nPuts sums over items into a summary: progress is their average.';
grant execute on function learning.sum_progress(bigint, bigint, numeric, numeric, timestamptz) to :PLINTH_ANONYMOUS, :PLINTH_USER;

create or replace function learning.content_items_progress(item learning.content_items)
  returns learning.progress_summary
  language sql
  stable
  set search_path = pg_catalog
as $$
  select learning.sum_progress(
    count(*), count(*) filter (where m.is_completed), sum(m.progress), sum(m.active_seconds), max(m.last_activity_at)
  )
  from (
    -- A course is none of these rows itself, and nothing else has parts.
    select own.* from learning.my_item_progress own where own.item_id = item.id
    union all
    select part.* from learning.my_item_progress part where part.course_id = item.id
  ) m
$$;

comment on function learning.content_items_progress(learning.content_items) is
  E'@fieldName progress\nHow far the signed-in user is with the item; for a course, with its parts.';
grant execute on function learning.content_items_progress(learning.content_items) to :PLINTH_ANONYMOUS, :PLINTH_USER;

create or replace function learning.content_categories_progress(category learning.content_categories)
  returns learning.progress_summary
  language sql
  stable
  set search_path = pg_catalog
as $$
  select learning.sum_progress(
    count(*), count(*) filter (where m.is_completed), sum(m.progress), sum(m.active_seconds), max(m.last_activity_at)
  )
  from learning.content_categories c
  join learning.my_item_progress m on m.category_id = c.id
  where c.id = category.id or c.path like category.path || '/%'
$$;

comment on function learning.content_categories_progress(learning.content_categories) is
  E'@fieldName progress\nHow far the signed-in user is with everything in the category and below it.';
grant execute on function learning.content_categories_progress(learning.content_categories) to :PLINTH_ANONYMOUS, :PLINTH_USER;
--! EndIncluded learning/functions/progress.sql
--! Included learning/functions/course_learners.sql
-- The report of a course: who has begun it and how far they are. For trainers and for its author.
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
    raise exception 'There is no such course, or it is not yours to report.' using errcode = 'PL404';
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
        sum(p.active_seconds)::bigint as active_seconds, max(p.last_activity_at) as last_activity_at
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
  'The learners of a course and how far they are with its parts, furthest first. For its author and who has manage_skills; PL404 for others.';
grant execute on function learning.course_learners(uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/course_learners.sql
--! Included learning/views/learning_analytics.sql
-- What is known of a user's learning, skill by skill. Invoker rights: users see themselves, manage_skills everybody.
create or replace view learning.learning_analytics
  with (security_invoker = true)
as
with taught as (
  select
    p.user_id,
    cs.skill_id,
    count(*) as items_started,
    count(p.completed_at) as items_completed,
    sum(p.active_seconds)::bigint as active_seconds,
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
  E'@primaryKey user_id,skill_id\n@foreignKey (user_id) references identity.users (id)|@behavior -*\n@foreignKey (skill_id) references learning.skills (id)|@foreignFieldName analytics\n@name learning_analytics\nGrain: one row per user and skill that they have, train or have content of.';
comment on column learning.learning_analytics.user_id is 'The user.';
comment on column learning.learning_analytics.skill_id is 'The skill.';
comment on column learning.learning_analytics.level is 'Proficiency, 0 to 10.';
comment on column learning.learning_analytics.level_gained_30_days is 'By how much the level moved in the last 30 days.';
comment on column learning.learning_analytics.evidence_count is 'How many things have moved it.';
comment on column learning.learning_analytics.training_status is 'pending, active or completed; null without a training.';
comment on column learning.learning_analytics.training_progress is '0.0 to 1.0; null without a training.';
comment on column learning.learning_analytics.items_started is 'Items that teach the skill and were begun.';
comment on column learning.learning_analytics.items_completed is 'Those of them that were completed.';
comment on column learning.learning_analytics.active_seconds is 'Time spent with them. An item that teaches two skills counts for both.';
comment on column learning.learning_analytics.last_activity_at is 'When any of this last moved.';
revoke all on learning.learning_analytics from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.learning_analytics to :PLINTH_USER;
--! EndIncluded learning/views/learning_analytics.sql
--! Included analytics/views/user_activity_summary.sql
-- What accounts do: signing in and learning. Without names and addresses.
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
    sum(s.active_seconds)::bigint as active_seconds,
    count(distinct (s.started_at at time zone 'UTC')::date) as active_days
  from learning.content_consumption s
  group by s.user_id
) c on c.user_id = u.id
left join (
  -- Courses are their parts.
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
    count(*) filter (where a.status <> 'success') as failed_sign_ins,
    count(distinct (a.created_at at time zone 'UTC')::date) filter (where a.status = 'success') as sign_in_days
  from security.login_attempts a
  where a.created_at > now() - interval '30 days'
  group by a.user_id
) l on l.user_id = u.id;

comment on view analytics.user_activity_summary is 'Grain: one row per account. What it consumed and completed, and how it signed in.';
comment on column analytics.user_activity_summary.user_id is 'The account.';
comment on column analytics.user_activity_summary.sessions is 'Sessions with content.';
comment on column analytics.user_activity_summary.active_seconds is 'Time spent with content.';
comment on column analytics.user_activity_summary.active_days is 'Days (UTC) on which a session began.';
comment on column analytics.user_activity_summary.items_started is 'Items begun; courses are counted by their parts.';
comment on column analytics.user_activity_summary.items_completed is 'Those of them that were completed.';
comment on column analytics.user_activity_summary.completion_rate is 'items_completed / items_started, 0 to 1; null when nothing was begun.';
comment on column analytics.user_activity_summary.ratings is 'Ratings given.';
comment on column analytics.user_activity_summary.sign_ins is 'Successful sign-ins of the last 30 days.';
comment on column analytics.user_activity_summary.failed_sign_ins is 'Refused sign-ins of the last 30 days.';
comment on column analytics.user_activity_summary.sign_in_days is 'Days (UTC) of the last 30 with a successful sign-in.';
comment on column analytics.user_activity_summary.last_login_at is 'Last successful sign-in.';
comment on column analytics.user_activity_summary.last_activity_at is 'Last time with content.';
comment on column analytics.user_activity_summary.created_at is 'When the account was made.';
grant select on analytics.user_activity_summary to :PLINTH_ANALYST;
--! EndIncluded analytics/views/user_activity_summary.sql
--! Included learning/functions/recommend_items.sql
-- What to learn next, and why. A few hundred candidates are found by index (begun, next in a begun course, teaching a skill that
-- the user trains or has, popular, new), then the rule of access is asked for these only, and what remains is scored. Every
-- number of the score is a column.
create or replace function learning.recommend_items(max_count integer default 10)
  returns table (
    item_id uuid,
    slug text,
    title text,
    reason text,
    score numeric,
    level_fit numeric,
    popularity numeric,
    trains_skill boolean,
    is_begun boolean,
    is_next_in_course boolean,
    item_level integer,
    user_level numeric,
    skill_names text[],
    prerequisites_completed integer
  )
  language plpgsql
  stable
  security definer
  rows 10
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_general_level numeric;
  v_candidates uuid[];
begin
  if v_user_id is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  if max_count is null or max_count not between 1 and 100 then
    raise exception 'max_count must be from 1 to 100.' using errcode = 'PL422', column = 'max_count';
  end if;
  -- Where an item says nothing of skills, it is compared with how far the user is in general.
  select coalesce(avg(us.level), 0) into v_general_level from learning.user_skills us where us.user_id = v_user_id;

  v_candidates := array(
    (
      select p.item_id
      from learning.content_progress p
      where p.user_id = v_user_id and p.completed_at is null
      order by p.last_activity_at desc
      limit 100
    )
    union
    -- The first part of each begun course that is not completed.
    select part.id
    from (
      select distinct i.course_id
      from learning.content_progress p
      join learning.content_items i on i.id = p.item_id
      where p.user_id = v_user_id and i.course_id is not null
    ) begun
    cross join lateral (
      select i.id
      from learning.content_items i
      where i.course_id = begun.course_id
        and i.available_from <= now()
        and not exists (
          select
          from learning.content_progress p
          where p.user_id = v_user_id and p.item_id = i.id and p.completed_at is not null
        )
      order by i.position, i.id
      limit 1
    ) part
    union
    (
      select cs.item_id
      from learning.user_skills us
      join learning.content_skills cs on cs.skill_id = us.skill_id
      join learning.content_items i on i.id = cs.item_id
      left join learning.training t on t.user_id = us.user_id and t.skill_id = us.skill_id
      where us.user_id = v_user_id
        and i.available_from <= now()
        and not exists (
          select
          from learning.content_progress p
          where p.user_id = v_user_id and p.item_id = i.id and p.completed_at is not null
        )
      order by t.status = 'active' desc nulls last, abs(i.level - us.level), i.id
      limit 200
    )
    union
    (select cp.item_id from analytics.content_popularity cp order by cp.popularity_score desc limit 200)
    union
    (select i.id from learning.content_items i where i.available_from <= now() order by i.available_from desc, i.id limit 100)
  );

  return query
    with candidates as (
      select
        i.id, i.slug, i.title, i.level, i.course_id, i.position,
        p.user_id is not null as is_begun,
        coalesce(cp.popularity_score, 0) as popularity_score,
        s.skill_names,
        coalesce(s.trains_skill, false) as trains_skill,
        coalesce(s.user_level, v_general_level) as user_level
      from learning.my_content_access a
      join learning.content_items i on i.id = a.content_id
      left join learning.content_progress p on p.user_id = v_user_id and p.item_id = i.id
      left join analytics.content_popularity cp on cp.item_id = i.id
      left join lateral (
        select
          array_agg(sk.skill_name order by sk.skill_name) as skill_names,
          bool_or(t.status = 'active') as trains_skill,
          max(coalesce(us.level, 0)) as user_level
        from learning.content_skills cs
        join learning.skills sk on sk.id = cs.skill_id and sk.is_active
        left join learning.user_skills us on us.user_id = v_user_id and us.skill_id = cs.skill_id
        left join learning.training t on t.user_id = v_user_id and t.skill_id = cs.skill_id
        where cs.item_id = i.id
      ) s on true
      where a.content_id = any (v_candidates)
        and a.has_access
        -- An editor has access to everything, also to what is not there for learners.
        and i.available_from <= now()
        and (i.available_until is null or i.available_until > now())
        and i.content_type <> 'course'
        and p.completed_at is null
        -- Whatever lets somebody in, nobody is sent to what they are not ready for.
        and not exists (
          select
          from learning.content_prerequisites pr
          join learning.content_items required on required.id = pr.required_item_id
          where pr.item_id in (i.id, i.course_id)
            and required.available_from <= now()
            and (required.available_until is null or required.available_until > now())
            and not learning.has_completed(v_user_id, required.id)
        )
        -- Of a course, only the next part.
        and (i.course_id is null or p.user_id is not null or not exists (
          select
          from learning.content_items earlier
          left join learning.content_progress done on done.user_id = v_user_id and done.item_id = earlier.id
          where earlier.course_id = i.course_id
            and (earlier.position, earlier.id) < (i.position, i.id)
            and earlier.available_from <= now()
            and (earlier.available_until is null or earlier.available_until > now())
            and done.completed_at is null
        ))
    ),
    measured as (
      select
        c.*,
        round(1 - abs(c.level - c.user_level) / 10, 4) as level_fit,
        round(c.popularity_score / nullif(max(c.popularity_score) over (), 0), 4) as popularity,
        c.course_id is not null and exists (
          select
          from learning.content_items sibling
          join learning.content_progress p on p.item_id = sibling.id and p.user_id = v_user_id
          where sibling.course_id = c.course_id
        ) as is_next_in_course,
        (
          select count(*)::integer from learning.content_prerequisites pr where pr.item_id in (c.id, c.course_id)
        ) as prerequisites_completed
      from candidates c
    )
    select
      m.id, m.slug, m.title,
      case
        when m.is_begun then 'begun'
        when m.is_next_in_course then 'next_in_course'
        when m.trains_skill then 'trains_skill'
        when m.popularity >= 0.5 then 'popular'
        when m.level_fit >= 0.8 then 'fits_level'
        else 'available'
      end,
      0.4 * m.level_fit + 0.2 * coalesce(m.popularity, 0) + 0.2 * m.trains_skill::integer
        + 0.1 * m.is_begun::integer + 0.1 * m.is_next_in_course::integer,
      m.level_fit, coalesce(m.popularity, 0), m.trains_skill, m.is_begun, m.is_next_in_course,
      m.level::integer, m.user_level, coalesce(m.skill_names, '{}'), m.prerequisites_completed
    from measured m
    order by 5 desc, m.id
    limit max_count;
end
$$;

comment on function learning.recommend_items(integer) is
  E'What the signed-in user may learn next, best first: available, accessible, not completed, with all prerequisites completed, of a course only the next part.\nscore = 0.4 × level_fit + 0.2 × popularity + 0.2 × trains_skill + 0.1 × is_begun + 0.1 × is_next_in_course.\nlevel_fit is 1 - |item_level - user_level| / 10, popularity the share of the most popular candidate''s score. reason is the first that holds: begun, next_in_course, trains_skill, popular (0.5 and more), fits_level (0.8 and more), available.';
grant execute on function learning.recommend_items(integer) to :PLINTH_USER;
--! EndIncluded learning/functions/recommend_items.sql
--! Included private/functions/refresh_content_popularity.sql
-- Concurrently: readers see the old numbers until the new ones are there. A materialized view is refreshed by its owner.
create or replace function private.refresh_content_popularity()
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  refresh materialized view concurrently analytics.content_popularity;
  return (select count(*) from analytics.content_popularity);
end
$$;

comment on function private.refresh_content_popularity() is 'Brings analytics.content_popularity up to date; returns how many rows it has.';
grant execute on function private.refresh_content_popularity() to :PLINTH_WORKER;
--! EndIncluded private/functions/refresh_content_popularity.sql
--! Included private/functions/delete_old_heartbeats.sql
-- One batch of the clean-up of what repeated heartbeats are known by. They are taken up to 30 days late, so after 35 no
-- repetition can come any more.
create or replace function private.delete_old_heartbeats(batch_size integer default 10000)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_deleted integer;
begin
  if batch_size is null or batch_size not between 1 and 100000 then
    raise exception 'batch_size must be from 1 to 100000.' using errcode = 'PL422';
  end if;
  with old as (
    select r.user_id, r.event_id
    from private.recorded_heartbeats r
    where r.created_at < now() - interval '35 days'
    order by r.created_at
    limit batch_size
    for update skip locked
  )
  delete from private.recorded_heartbeats r using old o where r.user_id = o.user_id and r.event_id = o.event_id;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;

comment on function private.delete_old_heartbeats(integer) is
  'Deletes up to batch_size marks of heartbeats older than 35 days; returns how many.';
grant execute on function private.delete_old_heartbeats(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_old_heartbeats.sql
--! Included learning/policies/content_skills.sql
-- What teaches what is public as far as the item and the skill are; edit_content writes it.
revoke all on learning.content_skills from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_skills to :PLINTH_ANONYMOUS;
grant select, insert (item_id, skill_id, gain), update (gain), delete on learning.content_skills to :PLINTH_USER;

drop policy if exists select_visible on learning.content_skills;
create policy select_visible on learning.content_skills
  for select to :PLINTH_ANONYMOUS, :PLINTH_USER
  using (exists (select from learning.content_items i where i.id = item_id));
comment on policy select_visible on learning.content_skills is 'Who sees an item sees what it teaches.';

drop policy if exists all_editor on learning.content_skills;
create policy all_editor on learning.content_skills
  for all to :PLINTH_USER
  using ((select access.has_permission('edit_content')))
  with check ((select access.has_permission('edit_content')));
comment on policy all_editor on learning.content_skills is 'The permission edit_content says what teaches what.';
--! EndIncluded learning/policies/content_skills.sql
--! Included learning/policies/content_progress.sql
-- Read by the learner, and by trainers for their reports. Written by functions only.
revoke all on learning.content_progress from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_progress to :PLINTH_USER;

drop policy if exists select_own on learning.content_progress;
create policy select_own on learning.content_progress
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.content_progress is 'Users read their own progress.';

drop policy if exists select_manager on learning.content_progress;
create policy select_manager on learning.content_progress
  for select to :PLINTH_USER
  using ((select access.has_permission('manage_skills')));
comment on policy select_manager on learning.content_progress is 'The permission manage_skills reads everybody''s progress.';
--! EndIncluded learning/policies/content_progress.sql
--! Included learning/policies/content_consumption.sql
-- When somebody watched what is theirs alone, trainers and administrators included. Written by functions only.
revoke all on learning.content_consumption from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on learning.content_consumption to :PLINTH_USER;

drop policy if exists select_own on learning.content_consumption;
create policy select_own on learning.content_consumption
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on learning.content_consumption is 'Users read their own sessions.';
--! EndIncluded learning/policies/content_consumption.sql

select from private.ensure_partitions(3);
