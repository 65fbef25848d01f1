import type pg from "pg";

/** A message and its author; the AI has no account. */
interface DemoRoomMessage {
  readonly by: "ada" | "grace" | "ai";
  readonly content: string;
}

const TRIP: readonly DemoRoomMessage[] = [
  { by: "ada", content: "Saturday it is. @grace, do you bring the map?" },
  { by: "grace", content: "Yes, and coffee. Which boat do we take?" },
  { by: "ai", content: "The early one at 8:10: it is the emptiest, and the tide is right for the landing." },
  { by: "ada", content: "Then 7:45 at the pier." },
];

/** Writes a room of both demo accounts with an AI, and their direct room, through the functions that users call. */
export async function writeRooms(
  client: pg.ClientBase,
  ids: Readonly<Record<"ada" | "grace", string>>,
): Promise<void> {
  const as = (userId: string) => client.query("select set_config('jwt.claims.user_id', $1, true)", [userId]);
  await as(ids.ada);
  const { rows } = await client.query<{ id: string }>(
    "select id from rooms.create_room('Boat trip', description => 'Saturday, the island', is_public => true, ai_enabled => true)",
  );
  const room = rows[0]!.id;
  await as(ids.grace);
  await client.query("select rooms.join_room($1)", [room]);
  for (const { by, content } of TRIP)
    if (by === "ai") await client.query("select private.post_ai_message($1, $2)", [room, content]);
    else {
      await as(ids[by]);
      await client.query("select rooms.post_room_message($1, $2)", [room, content]);
    }
  await as(ids.grace);
  await client.query(
    "select rooms.post_room_message((rooms.create_direct_room($1)).id, 'Shall I bring the dog?')",
    [ids.ada],
  );
  await as("");
}
