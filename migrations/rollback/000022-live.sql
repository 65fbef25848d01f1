drop function
  private.rooms_to_answer(uuid, integer),
  private.delete_expired_presence(integer),
  rooms.set_presence(text),
  rooms.set_typing(uuid, boolean);
drop table rooms.presence, rooms.typing;
--!restore rooms/views/room_events.sql
