import { withClient, type TestDatabase } from "./database.ts";
export async function makeDoubles(db: TestDatabase) {
  await withClient(db.url("owner"), async (c) => {
    await c.query(`
create schema rooms;
grant usage on schema rooms to plinth_user, plinth_anonymous;
create table rooms.rooms (id uuid primary key default gen_random_uuid(), name text, last_sequence bigint not null default 0);
create table rooms.members (room_id uuid references rooms.rooms, user_id uuid references identity.users, primary key (room_id, user_id));
create index on rooms.members (user_id);
create table rooms.room_messages (id uuid primary key default gen_random_uuid(), room_id uuid not null references rooms.rooms, user_id uuid references identity.users, content text);
create index on rooms.room_messages (room_id); create index on rooms.room_messages (user_id);
create table rooms.room_events (room_id uuid references rooms.rooms, sequence bigint, kind text not null, message_id uuid references rooms.room_messages, user_id uuid references identity.users, created_at timestamptz not null default now(), primary key (room_id, sequence));
create index on rooms.room_events (message_id); create index on rooms.room_events (user_id);
alter table rooms.rooms enable row level security;
alter table rooms.members enable row level security;
alter table rooms.room_messages enable row level security;
alter table rooms.room_events enable row level security;
create policy a on rooms.members to plinth_user using (user_id = (select plinth.current_user_id()));
create policy a on rooms.rooms to plinth_user using (exists (select from rooms.members m where m.room_id = id and m.user_id = (select plinth.current_user_id())));
create policy a on rooms.room_messages to plinth_user using (exists (select from rooms.members m where m.room_id = room_messages.room_id and m.user_id = (select plinth.current_user_id())));
create policy a on rooms.room_events to plinth_user using (exists (select from rooms.members m where m.room_id = room_events.room_id and m.user_id = (select plinth.current_user_id())));
grant select on rooms.rooms, rooms.members, rooms.room_messages, rooms.room_events to plinth_user;
create function rooms.double_post(p_room uuid, p_user uuid, p_content text) returns bigint language plpgsql as $$
declare s bigint; m uuid;
begin
  update rooms.rooms set last_sequence = last_sequence + 1 where id = p_room returning last_sequence into s;
  insert into rooms.room_messages (room_id, user_id, content) values (p_room, p_user, p_content) returning id into m;
  insert into rooms.room_events (room_id, sequence, kind, message_id, user_id) values (p_room, s, 'message_posted', m, p_user);
  perform pg_notify('plinth_live', 'room:' || p_room || ' ' || s);
  return s;
end $$;
create function rooms.room_position(p_room_id uuid) returns bigint language sql stable as 'select last_sequence from rooms.rooms where id = p_room_id';
grant execute on function rooms.room_position to plinth_user;
`);
  });
}
