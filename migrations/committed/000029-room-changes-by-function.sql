--! Previous: sha1:2510d454fb2d64fb22bd4fc15810817c76465fd1
--! Hash: sha1:997acbaef2f68986ba3656b669498f247b8e60b3
--! Message: room changes by function

-- Reading the log of a room, once for every subscriber.
--! Included rooms/policies/room_changes.sql
-- As the messages of the room: from where the member may see it, and nothing about a message that is not theirs to see. By a function:
-- with the policy of room_messages in it, starting to read the newest event took half as long again, for every subscriber of a room.
revoke all on rooms.room_changes from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.room_changes to :PLINTH_USER;

drop policy if exists select_member on rooms.room_changes;
create policy select_member on rooms.room_changes
  for select to :PLINTH_USER
  using (
    exists (
      select
      from rooms.room_members m
      where m.room_id = room_changes.room_id
        and m.user_id = (select plinth.current_user_id())
        and m.visible_after < room_changes.sequence
    )
    and (message_id is null or rooms.can_see_message(message_id))
  );
comment on policy select_member on rooms.room_changes is 'Members read the events of their rooms that concern what they see.';
--! EndIncluded rooms/policies/room_changes.sql
