import type { ReadOne } from "./live-field.ts";

/**
 * The number of a room's last event, or null for who is no member, under the subscriber's claims. Public rooms are seen
 * by everybody, but only members are told what happens in them.
 */
export async function roomPosition(readOne: ReadOne, roomId: string): Promise<bigint | null> {
  const row = await readOne<{ position: string }>({
    name: "plinth_room_position",
    text: `select r.last_event_sequence::text as position
           from rooms.room_members m
           join rooms.chat_rooms r on r.id = m.room_id
           where m.room_id = $1 and m.user_id = (select plinth.current_user_id())`,
    values: [roomId],
  });
  return row ? BigInt(row.position) : null;
}
