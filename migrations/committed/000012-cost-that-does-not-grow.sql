--! Previous: sha1:3908bb4fdcf298d91e3c63c1ffc7ee68c1f14c03
--! Hash: sha1:e6428d3cbe235ff1eec70b8154fce0d597d0fd8e
--! Message: cost that does not grow

-- Views of days and hours find the ends of their series, and each day its rows.
create index login_attempts_created_at_idx on security.login_attempts (created_at);
create index security_audit_log_created_at_idx on security.security_audit_log (created_at);

--! Included analytics/views/daily_sign_ins.sql
-- Sign-in attempts by day and result. Each day reads its range of created_at, so that a query for some days reads only their
-- months: PostgreSQL cannot derive the month from a day that is computed from each row.
create or replace view analytics.daily_sign_ins
  with (security_barrier = true)
as
select d.day::date as day, a.status, a.attempts, a.users, a.ip_addresses
from generate_series(
  (select date_trunc('day', min(f.created_at) at time zone 'UTC') from security.login_attempts f),
  (select max(l.created_at) at time zone 'UTC' from security.login_attempts l),
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
) a;

comment on view analytics.daily_sign_ins is 'Grain: one row per day (UTC) and status of sign-in attempts.';
comment on column analytics.daily_sign_ins.day is 'Day in UTC.';
comment on column analytics.daily_sign_ins.status is 'Result of the attempts: success, failed or locked.';
comment on column analytics.daily_sign_ins.attempts is 'Number of attempts.';
comment on column analytics.daily_sign_ins.users is 'Number of existing accounts that were tried.';
comment on column analytics.daily_sign_ins.ip_addresses is 'Number of client addresses.';
grant select on analytics.daily_sign_ins to :PLINTH_ANALYST;
--! EndIncluded analytics/views/daily_sign_ins.sql
--! Included analytics/views/failed_logins_by_network.sql
-- Networks from which rejected sign-ins come. A whole address is personal data, so the last 8 bits (IPv4) or 80 bits (IPv6) are
-- cut off; auditors find it in security.login_attempts. Each day reads its range, as in
-- analytics.daily_sign_ins.
create or replace view analytics.failed_logins_by_network
  with (security_barrier = true)
as
select d.day::date as day, a.network, a.failed_attempts, a.users, a.unknown_account_attempts, a.last_attempt_at
from generate_series(
  (select date_trunc('day', min(f.created_at) at time zone 'UTC') from security.login_attempts f),
  (select max(l.created_at) at time zone 'UTC' from security.login_attempts l),
  interval '1 day'
) d (day)
cross join lateral (
  select
    network(set_masklen(l.ip_address, case family(l.ip_address) when 4 then 24 else 48 end))::cidr as network,
    count(*) as failed_attempts,
    count(distinct l.user_id) as users,
    count(*) filter (where l.user_id is null) as unknown_account_attempts,
    max(l.created_at) as last_attempt_at
  from security.login_attempts l
  where l.created_at >= d.day at time zone 'UTC'
    and l.created_at < (d.day + interval '1 day') at time zone 'UTC'
    and l.status in ('failed', 'locked')
    and l.ip_address is not null
  group by 1
) a;

comment on view analytics.failed_logins_by_network is 'Grain: one row per day (UTC) and network with rejected sign-ins.';
comment on column analytics.failed_logins_by_network.day is 'Day in UTC.';
comment on column analytics.failed_logins_by_network.network is 'Client network: /24 of IPv4, /48 of IPv6 addresses.';
comment on column analytics.failed_logins_by_network.failed_attempts is 'Number of rejected attempts, locked accounts included.';
comment on column analytics.failed_logins_by_network.users is 'Number of existing accounts that were tried.';
comment on column analytics.failed_logins_by_network.unknown_account_attempts is 'Number of attempts that named an account that does not exist.';
comment on column analytics.failed_logins_by_network.last_attempt_at is 'Time of the last rejected attempt.';
grant select on analytics.failed_logins_by_network to :PLINTH_ANALYST;
--! EndIncluded analytics/views/failed_logins_by_network.sql
--! Included analytics/views/security_events_hourly.sql
-- Number of security events by hour, for a chart or an alarm. Each hour reads its range, as in
-- analytics.daily_sign_ins.
create or replace view analytics.security_events_hourly
  with (security_barrier = true)
as
select h.hour, a.event_type, a.severity, a.events, a.users
from generate_series(
  (select date_trunc('hour', min(f.created_at), 'UTC') from security.security_audit_log f),
  (select max(l.created_at) from security.security_audit_log l),
  interval '1 hour'
) h (hour)
cross join lateral (
  select l.event_type, l.severity, count(*) as events, count(distinct l.user_id) as users
  from security.security_audit_log l
  where l.created_at >= h.hour and l.created_at < h.hour + interval '1 hour'
  group by l.event_type, l.severity
) a;

comment on view analytics.security_events_hourly is 'Grain: one row per hour, type and severity of security events.';
comment on column analytics.security_events_hourly.hour is 'Start of the hour.';
comment on column analytics.security_events_hourly.event_type is 'Type of the event, such as login_failed.';
comment on column analytics.security_events_hourly.severity is 'Severity: debug, info, warning, error or critical.';
comment on column analytics.security_events_hourly.events is 'Number of events.';
comment on column analytics.security_events_hourly.users is 'Number of existing accounts concerned.';
grant select on analytics.security_events_hourly to :PLINTH_ANALYST;
--! EndIncluded analytics/views/security_events_hourly.sql

--! Included rooms/policies/chat_rooms.sql
-- Members, invited users and, for public rooms, all signed-in users see a room; its moderators change it, its creator deletes
-- it. No insert: rooms.create_room and rooms.create_direct_room. No update of the counters, the password or the type.
revoke all on rooms.chat_rooms from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  update (name, description, is_public, ai_enabled, history_is_shared),
  delete
  on rooms.chat_rooms to :PLINTH_USER;

-- As arrays, each part can use an index; a set would be compared with every room.
drop policy if exists select_visible on rooms.chat_rooms;
create policy select_visible on rooms.chat_rooms
  for select to :PLINTH_USER
  using (
    id = any (array(select rooms.my_room_ids()))
    or is_public
    or id = any (array(select rooms.invited_room_ids()))
  );
comment on policy select_visible on rooms.chat_rooms is 'Users see their rooms, public ones, and those they are invited to.';

drop policy if exists update_moderator on rooms.chat_rooms;
create policy update_moderator on rooms.chat_rooms
  for update to :PLINTH_USER
  using (id in (select rooms.moderated_room_ids()))
  with check (id in (select rooms.moderated_room_ids()));
comment on policy update_moderator on rooms.chat_rooms is 'Moderators change the name and settings of their rooms.';

drop policy if exists delete_creator on rooms.chat_rooms;
create policy delete_creator on rooms.chat_rooms
  for delete to :PLINTH_USER
  using (id in (select rooms.own_room_ids()));
comment on policy delete_creator on rooms.chat_rooms is 'Creators delete their rooms with all contents.';
--! EndIncluded rooms/policies/chat_rooms.sql
--! Included rooms/policies/room_members.sql
-- Members see each other, with roles and read marks. Functions change membership, roles and marks; members change what concerns
-- only their own list.
revoke all on rooms.room_members from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (is_muted, is_archived) on rooms.room_members to :PLINTH_USER;

-- The user is evaluated first, and enough to read a message: one row of an index. The rooms are an array, so that a list uses
-- the indexes of both.
drop policy if exists select_own on rooms.room_members;
create policy select_own on rooms.room_members
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()) or room_id = any (array(select rooms.my_room_ids())));
comment on policy select_own on rooms.room_members is 'Users see their memberships and those of the others in their rooms.';

drop policy if exists update_own on rooms.room_members;
create policy update_own on rooms.room_members
  for update to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()))
  with check (user_id = (select plinth.current_user_id()));
comment on policy update_own on rooms.room_members is 'Users mute and archive their own rooms.';
--! EndIncluded rooms/policies/room_members.sql
--! Included rooms/policies/room_invites.sql
-- An invite is visible to its inviter, its invitee and the room's moderators; functions change it.
revoke all on rooms.room_invites from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_invites to :PLINTH_USER;

drop policy if exists select_own on rooms.room_invites;
create policy select_own on rooms.room_invites
  for select to :PLINTH_USER
  using (invitee_id = (select plinth.current_user_id()) or inviter_id = (select plinth.current_user_id()));
comment on policy select_own on rooms.room_invites is 'Users see the invites they received and sent.';

drop policy if exists select_moderator on rooms.room_invites;
create policy select_moderator on rooms.room_invites
  for select to :PLINTH_USER
  using (room_id = any (array(select rooms.moderated_room_ids())));
comment on policy select_moderator on rooms.room_invites is 'Moderators see the invites to their rooms.';
--! EndIncluded rooms/policies/room_invites.sql
