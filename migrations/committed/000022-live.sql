--! Previous: sha1:bf1008a04fcb06c582af2ed613db3ccd3e11ff5b
--! Hash: sha1:424c7b4dc54a471338ce755b4533486d11dc50d0
--! Message: live

-- Who is there and who is writing: worth nothing after a minute, so not written to the log of the database. After a crash both
-- tables are empty, and clients say it again.
create unlogged table rooms.typing (
  room_id uuid not null,
  user_id uuid not null references identity.users on delete cascade,
  expires_at timestamptz not null,
  primary key (room_id, user_id),
  constraint typing_room_id_user_id_fkey
    foreign key (room_id, user_id) references rooms.room_members (room_id, user_id) on delete cascade
) with (fillfactor = 50);
alter table rooms.typing enable row level security;
-- Serves the foreign key to users; the primary key serves the other.
create index typing_user_id_idx on rooms.typing (user_id);

comment on table rooms.typing is E'@behavior -query:resource:list -query:resource:connection -query:resource:single -manyRelation:resource:list -manyRelation:resource:connection -singularRelation:resource:single
@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior +singularRelation:resource:single -manyRelation:resource:list -manyRelation:resource:connection
One row per member who is writing in a room. Unlogged.';
comment on column rooms.typing.room_id is 'The room.';
comment on column rooms.typing.user_id is 'Who writes.';
comment on column rooms.typing.expires_at is 'Until when it holds.';

comment on constraint typing_room_id_user_id_fkey on rooms.typing is E'@fieldName member';

create unlogged table rooms.presence (
  user_id uuid primary key references identity.users on delete cascade,
  status text not null,
  expires_at timestamptz not null,
  constraint presence_status_check check (status in ('online', 'away', 'offline'))
) with (fillfactor = 50);
alter table rooms.presence enable row level security;

comment on table rooms.presence is E'@behavior -query:resource:list -query:resource:connection -query:resource:single -manyRelation:resource:list -manyRelation:resource:connection -singularRelation:resource:single
@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior +singularRelation:resource:single -manyRelation:resource:list -manyRelation:resource:connection
One row per user who says to be there. Unlogged.';
comment on column rooms.presence.user_id is 'Who.';
comment on column rooms.presence.status is 'online or away; offline while a row is not read by anybody.';
comment on column rooms.presence.expires_at is 'Until when it holds.';

--! Included rooms/policies/typing.sql
-- Members see who else writes in their rooms, as long as it lasts and unless they have blocked them. Written by rooms.set_typing.
revoke all on rooms.typing from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.typing to :PLINTH_USER;

-- The time of the statement: several readers may share a transaction.
drop policy if exists select_member on rooms.typing;
create policy select_member on rooms.typing
  for select to :PLINTH_USER
  using (
    expires_at > statement_timestamp()
    and room_id in (select rooms.my_room_ids())
    and not user_id = any ((
      select array(select b.blocked_id from rooms.user_blocks b where b.user_id = (select plinth.current_user_id()))
    )::uuid[])
  );
comment on policy select_member on rooms.typing is
  'Members see who is writing in their rooms at the moment, but for people they have blocked.';
--! EndIncluded rooms/policies/typing.sql
--! Included rooms/policies/presence.sql
-- Who shares a room with somebody sees that they are there, as long as it lasts and unless they have blocked them. Written by
-- rooms.set_presence.
revoke all on rooms.presence from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.presence to :PLINTH_USER;

-- The time of the statement: several readers may share a transaction.
drop policy if exists select_fellow_member on rooms.presence;
create policy select_fellow_member on rooms.presence
  for select to :PLINTH_USER
  using (
    expires_at > statement_timestamp()
    and (
      user_id = (select plinth.current_user_id())
      or exists (
        select
        from rooms.room_members m
        where m.user_id = presence.user_id and m.room_id in (select rooms.my_room_ids())
      )
    )
    and not user_id = any ((
      select array(select b.blocked_id from rooms.user_blocks b where b.user_id = (select plinth.current_user_id()))
    )::uuid[])
  );
comment on policy select_fellow_member on rooms.presence is
  'Users see who of the people in their rooms is there at the moment, but for people they have blocked.';
--! EndIncluded rooms/policies/presence.sql
--! Included rooms/functions/set_typing.sql
-- Said every few seconds by whoever writes. Only the first time and the end are news: what is renewed changes nothing for those who
-- look on, and who stops saying so is gone by itself.
create or replace function rooms.set_typing(room_id uuid, is_typing boolean default true)
  returns timestamptz
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_expires_at timestamptz;
  v_is_news boolean;
begin
  perform private.current_room_role(set_typing.room_id);
  delete from rooms.typing t
  where t.room_id = set_typing.room_id
    and (t.expires_at <= clock_timestamp() or (not set_typing.is_typing and t.user_id = v_user));
  v_is_news := found and not set_typing.is_typing;
  if set_typing.is_typing then
    v_expires_at := clock_timestamp() + interval '6 seconds';
    insert into rooms.typing as t (room_id, user_id, expires_at)
    values (set_typing.room_id, v_user, v_expires_at)
    on conflict on constraint typing_pkey do update set expires_at = excluded.expires_at
    returning t.xmax = 0 into v_is_news;
  end if;
  if v_is_news then
    perform plinth.announce('typing:' || set_typing.room_id, 0);
  end if;
  return v_expires_at;
end
$$;

comment on function rooms.set_typing(uuid, boolean) is
  E'@resultFieldName expiresAt\nTells the other members of a room that the signed-in user is writing, for six seconds: say it again every few seconds, or false when done. Returns until when it holds. NOT_FOUND for who is no member.';
grant execute on function rooms.set_typing(uuid, boolean) to :PLINTH_USER;
--! EndIncluded rooms/functions/set_typing.sql
--! Included rooms/functions/set_presence.sql
-- A heartbeat, once for all of the user's rooms. Only a change of status is announced, to every room; who stops is gone by itself.
create or replace function rooms.set_presence(status text default 'online')
  returns timestamptz
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_expires_at timestamptz;
  v_before text;
begin
  if v_user is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  if set_presence.status is null or set_presence.status not in ('online', 'away', 'offline') then
    raise exception 'The status is online, away or offline.' using errcode = 'PL422', column = 'status';
  end if;
  perform from identity.users u where u.id = v_user for key share;
  if not found then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  -- Two devices at once: the second waits here for the first, and sees what it wrote.
  insert into rooms.presence (user_id, status, expires_at)
  values (v_user, 'offline', '-infinity')
  on conflict on constraint presence_pkey do nothing;
  select case when p.expires_at > clock_timestamp() then p.status else 'offline' end into v_before
  from rooms.presence p
  where p.user_id = v_user
  for no key update;
  v_expires_at := case when set_presence.status <> 'offline' then clock_timestamp() + interval '60 seconds' end;
  update rooms.presence p
  set status = set_presence.status, expires_at = coalesce(v_expires_at, '-infinity')
  where p.user_id = v_user;
  if set_presence.status is distinct from v_before then
    perform plinth.announce('presence:' || m.room_id, 0)
    from rooms.room_members m
    where m.user_id = v_user;
  end if;
  return v_expires_at;
end
$$;

comment on function rooms.set_presence(text) is
  E'@resultFieldName expiresAt\nTells the members of the signed-in user''s rooms that the user is there (online or away) for a minute: say it again every half, or offline when leaving. Returns until when it holds. Who never says it is never seen.';
grant execute on function rooms.set_presence(text) to :PLINTH_USER;
--! EndIncluded rooms/functions/set_presence.sql
--! Included private/functions/delete_expired_presence.sql
create or replace function private.delete_expired_presence(max_count integer)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_count integer;
  v_more integer;
begin
  delete from rooms.presence p
  using (
    select e.user_id from rooms.presence e where e.expires_at < clock_timestamp() limit max_count for update skip locked
  ) old
  where p.user_id = old.user_id;
  get diagnostics v_count = row_count;
  delete from rooms.typing t
  using (
    select e.room_id, e.user_id from rooms.typing e where e.expires_at < clock_timestamp() limit max_count for update skip locked
  ) old
  where t.room_id = old.room_id and t.user_id = old.user_id;
  get diagnostics v_more = row_count;
  return greatest(v_count, v_more);
end
$$;

comment on function private.delete_expired_presence(integer) is
  'Deletes who is not there or writing any more, up to max_count of each; returns how many of the more numerous.';
grant execute on function private.delete_expired_presence(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/delete_expired_presence.sql

--! Included rooms/views/room_events.sql
-- The log of a room as a subscriber reads it: each message is the event of its posting. Grain: one row per event.
create or replace view rooms.room_events
  with (security_invoker = true)
as
select m.room_id, m.event_sequence as sequence, 'message_posted' as kind, m.id as message_id, m.sender_id as user_id, m.created_at
from rooms.room_messages m
union all
select c.room_id, c.sequence, c.kind, c.message_id, c.user_id, c.created_at
from rooms.room_changes c;

comment on view rooms.room_events is
  E'@primaryKey room_id,sequence\n@behavior -query:resource:list -query:resource:connection -query:resource:single\n@foreignKey (message_id) references rooms.room_messages (id)|@fieldName message|@behavior -manyRelation:resource:list -manyRelation:resource:connection\n@foreignKey (user_id) references identity.profiles (id)|@fieldName profile|@behavior -manyRelation:resource:list -manyRelation:resource:connection\nOne row per event of a room that the reader may see. Numbers have no gaps in the room; a reader''s may, where something is not theirs to see.';
comment on column rooms.room_events.room_id is E'@notNull\nThe room.';
comment on column rooms.room_events.sequence is E'@notNull\nThe event''s number in the room.';
comment on column rooms.room_events.kind is
  E'@notNull\nmessage_posted, message_edited, message_deleted, message_restored, reactions_changed, member_joined, member_left, member_changed or room_changed.';
comment on column rooms.room_events.message_id is 'The message concerned, or null.';
comment on column rooms.room_events.user_id is 'Sender, member concerned, or who did it; null for the AI and deleted accounts.';
comment on column rooms.room_events.created_at is E'@notNull\nWhen.';
revoke all on rooms.room_events from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_events to :PLINTH_USER;

-- Two ranges of two indexes, merged: the limit is in each, or PostgreSQL would read all that is there.
create or replace function rooms.room_events_after(room_id uuid, after bigint, max_count integer default 100)
  returns setof rooms.room_events
  language sql
  stable
  set search_path = pg_catalog
as $$
  select e.*
  from rooms.room_events e
  where e.room_id = room_events_after.room_id and e.sequence > room_events_after.after
  order by e.sequence
  limit least(greatest(room_events_after.max_count, 0), 1000)
$$;

comment on function rooms.room_events_after(uuid, bigint, integer) is
  E'@behavior -*\nThe next events of a room after a number that the caller may see, in order; at most 1000.';
grant execute on function rooms.room_events_after(uuid, bigint, integer) to :PLINTH_USER;
--! EndIncluded rooms/views/room_events.sql

--! Included private/functions/rooms_to_answer.sql
-- For the worker of an AI member: what it has not answered yet is read from the rooms and kept nowhere else, so a worker that was
-- killed finds it again. An answer names the last message it took into account as the one it replies to; whatever members posted
-- after that, for all to see, is unanswered.
create or replace function private.rooms_to_answer(room_id uuid default null, max_count integer default 100)
  returns table (room_id uuid, message_id uuid)
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select ai.room_id, asked.id
  from rooms.room_members ai
  cross join lateral (
    select m.id, m.sequence
    from rooms.room_messages m
    where m.room_id = ai.room_id and m.sender_type = 'user' and not m.is_private and not m.is_deleted
    order by m.event_sequence desc
    limit 1
  ) asked
  left join lateral (
    select coalesce(t.sequence, m.sequence) as sequence
    from rooms.room_messages m
    left join rooms.room_messages t on t.id = m.reply_to_id
    where m.room_id = ai.room_id and m.sender_type = 'ai'
    order by m.event_sequence desc
    limit 1
  ) answered on true
  where ai.user_id is null
    and ai.role = 'ai'
    and (rooms_to_answer.room_id is null or ai.room_id = rooms_to_answer.room_id)
    and asked.sequence > coalesce(answered.sequence, 0)
  order by asked.id
  limit least(greatest(max_count, 0), 1000)
$$;

comment on function private.rooms_to_answer(uuid, integer) is
  'Rooms with an AI member in which somebody wrote after its last answer, and the last such message; longest waiting first.';
grant execute on function private.rooms_to_answer(uuid, integer) to :PLINTH_SERVICE;
--! EndIncluded private/functions/rooms_to_answer.sql
