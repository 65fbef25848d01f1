--! Previous: sha1:5cc131f1a2404470b590e00d09720cd687f688a0
--! Hash: sha1:1905b58edcd12d37e6e061f53e467096e3b764c5
--! Message: lean policy of room messages

-- Reading a message, once for every subscriber of its room.
--! Included rooms/policies/room_messages.sql
-- Read by members from where they joined, private ones by those concerned, nothing by people one has blocked. Written by functions
-- only: rooms.post_room_message and the like. Blocks are a question for each row and no list: PostgreSQL takes a list it does not know
-- for one that leaves next to nothing of a room with few senders, and would then sort the whole room for its last messages. (With
-- "offset 0" it cannot make a list of the question itself.) To whom a private message went is asked by a function, which knows the
-- whole rule: each part of a policy costs when a statement starts, and every subscriber of a room starts one for every message.
revoke all on rooms.room_messages from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_messages to :PLINTH_USER;

drop policy if exists select_member on rooms.room_messages;
create policy select_member on rooms.room_messages
  for select to :PLINTH_USER
  using (
    exists (
      select
      from rooms.room_members m
      where m.room_id = room_messages.room_id
        and m.user_id = (select plinth.current_user_id())
        and m.visible_after < room_messages.event_sequence
    )
    and (
      not is_private
      or sender_id = (select plinth.current_user_id())
      or rooms.can_see_message(id)
    )
    and not exists (
      select
      from rooms.user_blocks b
      where b.user_id = (select plinth.current_user_id()) and b.blocked_id = room_messages.sender_id
      offset 0
    )
  );
comment on policy select_member on rooms.room_messages is
  'Members read what was posted since they may see it, but for private messages of others and people they have blocked.';
--! EndIncluded rooms/policies/room_messages.sql
