drop trigger _100_lock_account on llm.prompts;
drop trigger _100_lock_account on rooms.chat_rooms;
drop trigger _100_lock_audience on rooms.chat_rooms;
drop trigger _100_keep_name on access.roles;
--!restore private/functions/room_events.sql
--!restore private/functions/add_to_room.sql
--!restore private/functions/remove_from_room.sql
--!restore private/functions/room_passwords.sql
--!restore rooms/functions/rooms_of_users.sql
--!restore rooms/functions/search_room_messages.sql
--!restore rooms/functions/set_typing.sql
--!restore rooms/policies/general_chat.sql
--!restore private/functions/bill_turn.sql
--!restore private/functions/break_off_expired_turns.sql
drop index rooms.room_messages_content_idx;
create index room_messages_content_idx on rooms.room_messages using gin (to_tsvector('simple', content)) where not is_deleted;
--!restore rooms/triggers/chat_rooms.sql
--!restore llm/triggers/prompt_versions.sql
--!restore learning/functions/publishing.sql
--!restore learning/functions/record_heartbeat.sql
--!restore private/functions/pause_subscription.sql
--!restore billing/functions/revise_plan.sql
drop function billing.grant_subscription(uuid, uuid, text);
--!restore billing/functions/manage_subscriptions.sql
--!restore private/functions/mail_variables.sql
--!restore security/policies/security_audit_log.sql
--!restore analytics/views/user_activity_summary.sql
drop function
  access.keep_role_name(),
  private.lock_acting_account(),
  private.lock_audience_of_room(),
  private.lock_user_counters(uuid[]),
  private.sees_room(uuid, uuid),
  private.heartbeat_fields(jsonb);
drop index rooms.room_messages_ai_answers_idx;
delete from private.usage_keys where operation = 'grant_subscription';
alter table private.usage_keys
  drop constraint usage_keys_operation_check,
  add constraint usage_keys_operation_check check (operation in ('record', 'correct', 'close_grant', 'message'));
comment on column private.usage_keys.operation is 'record, correct, close_grant, or message (the key is the message''s id).';
comment on column learning.heartbeat_result.event_id is 'The client''s id of it.';
comment on column learning.heartbeat_result.reason is 'Why it was refused: a reason of access, no_such_version, or the value at fault (event_id, from_seconds, to_seconds, active_seconds, occurred_at).';
drop materialized view analytics.content_popularity;
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
