import type { ReadOne } from "./live-field.ts";

/**
 * Returns the number of a room's last event under the subscriber's claims, or null for non-members. Every user sees public
 * rooms, but only members receive their events.
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
