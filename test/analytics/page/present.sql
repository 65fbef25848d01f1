-- The rows that views compare with the real time: sessions, locks, and the use of the last weeks. They come after the totals, so that
-- none is summed, and their ages are the same whenever the page is written. The history is too old for those views.
insert into identity.user_sessions (user_id, created_at, last_activity_at, expires_at, ended_at, end_reason)
select p.id, now() - interval '2 days', now() - s.idle, now() + interval '9 days', s.ended_at, s.end_reason
from people p
cross join lateral (
  select case when p.n % 3 = 0 then interval '1 minute' else interval '9 hours' end as idle,
    case when p.n % 4 = 0 then now() end as ended_at, case when p.n % 8 = 0 then 'expired' when p.n % 4 = 0 then 'logout' end as end_reason
) s
where p.n % 2 = 0 or p.n % 3 = 0;
insert into identity.mfa_factors (user_id, kind, name, confirmed_at)
select p.id, 'totp', 'x', now() from people p where p.n in (1, 6, 9, 12, 18);
update identity.users set locked_until = '2100-01-01', failed_login_attempts = 5 where username = 'person7';
update identity.users set account_status = 'disabled' where username = 'person11';
insert into learning.content_consumption
  (user_id, item_id, version, started_at, last_activity_at, active_seconds, heartbeat_count, covered, active, created_at)
select p.id, i.id, 1, a.at, a.at, 120 * right(i.slug, 1)::integer, 2, '{}', '{}', a.at
from people p
join learning.content_items i on i.content_type <> 'course' and p.n % right(i.slug, 1)::integer = 0
cross join lateral (select now() - p.n * interval '1 day' as at) a;
insert into learning.content_progress (user_id, item_id, version, started_at, last_activity_at, completed_version, completed_at)
select p.id, i.id, 1, a.at, a.at + interval '1 hour', 1, a.at + interval '1 hour'
from people p
join learning.content_items i on i.content_type <> 'course' and p.n % right(i.slug, 1)::integer = 1
cross join lateral (select now() - p.n * interval '1 day' as at) a
on conflict do nothing;
insert into rooms.room_messages (room_id, sender_id, content, created_at)
select m.room_id, m.user_id, 'x', now() - interval '3 days'
from rooms.room_members m
join people p on p.id = m.user_id
where p.n % 4 = 0;
update rooms.room_members m
set last_read_sequence = greatest(r.last_sequence - p.n % 7, 0)
from rooms.chat_rooms r, people p
where r.id = m.room_id and p.id = m.user_id;
delete from identity.users where username in ('person10', 'person16');
