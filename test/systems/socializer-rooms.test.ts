import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { makeUsers } from "../rooms/support.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

// Socializer's document on rooms, row by row; its queries and flows as written, except that ids are UUIDs.

let db: TestDatabase;
let ada: string;
let bob: string;
beforeAll(async () => {
  db = await createTestDatabase();
  [ada, bob] = (await makeUsers(db, ["ada", "bob"])) as [string, string];
});
afterAll(async () => {
  await db.drop();
});

const MESSAGES_WITH_SENDER = `
  SELECT
    rm.id,
    rm.content,
    rm.created_at,
    rm.sender_type,
    u.username as sender_name
  FROM room_messages rm
  LEFT JOIN users u ON rm.sender_id = u.id
  WHERE rm.room_id = $1
    AND rm.is_deleted = false
  ORDER BY rm.created_at DESC
  LIMIT 50;`;

const ACTIVE_INVITES = `
  SELECT
    ri.id,
    cr.name as room_name,
    u.username as inviter_name,
    ri.created_at
  FROM room_invites ri
  JOIN chat_rooms cr ON ri.room_id = cr.id
  JOIN users u ON ri.inviter_id = u.id
  WHERE ri.invitee_id = $1
    AND ri.status = 'pending';`;

test("returns a private room with creator, member and AI, an invite, the last 50 messages and the open invites [S6, S7, S8, S10, S11, S12]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    const [room] = await tx.rows<{ id: string }>(
      "INSERT INTO chat_rooms (creator_id, room_type, ai_enabled) VALUES ($1, 'private', true) RETURNING id",
      [ada],
    );
    await tx.rows(
      "INSERT INTO room_members (room_id, user_id, role) VALUES ($1, $2, 'creator'), ($1, $3, 'member'), ($1, NULL, 'ai')",
      [room!.id, ada, bob],
    );
    await tx.rows("INSERT INTO room_invites (room_id, inviter_id, invitee_id) VALUES ($1, $2, $3)", [
      room!.id,
      ada,
      bob,
    ]);
    await tx.rows("UPDATE chat_rooms SET name = 'Plans' WHERE id = $1", [room!.id]);
    expect(await tx.rows(ACTIVE_INVITES, [bob])).toEqual([
      expect.objectContaining({ room_name: "Plans", inviter_name: "ada" }),
    ]);

    await tx.rows(
      "INSERT INTO room_messages (room_id, sender_id, content) SELECT $1, $2, 'message ' || i FROM generate_series(1, 60) i",
      [room!.id, ada],
    );
    await tx.rows(
      "INSERT INTO room_messages (room_id, sender_id, sender_type, content) VALUES ($1, NULL, 'ai', 'Hello')",
      [room!.id],
    );
    await tx.rows(
      "UPDATE room_messages SET is_deleted = true, content = '', deleted_at = now() WHERE content = 'message 59'",
    );
    const last = await tx.rows(MESSAGES_WITH_SENDER, [room!.id]);
    expect(last).toHaveLength(50);
    expect(last.slice(0, 3)).toEqual([
      expect.objectContaining({ content: "Hello", sender_type: "ai", sender_name: null }),
      expect.objectContaining({ content: "message 60", sender_type: "user", sender_name: "ada" }),
      expect.objectContaining({ content: "message 58" }),
    ]);
    // Rows inserted directly are counted like those from functions.
    await tx.asUser(bob);
    expect(await tx.rows("select unread_count::integer as n from rooms.unread_counts")).toEqual([{ n: 60 }]);
  });
});

test("allows one membership and one invite per room and person, and one AI [S7, S10]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    const [room] = await tx.rows<{ id: string }>(
      "INSERT INTO chat_rooms (creator_id, room_type) VALUES ($1, 'group') RETURNING id",
      [ada],
    );
    const join = "INSERT INTO room_members (room_id, user_id, role) VALUES ($1, $2, $3)";
    await tx.rows(join, [room!.id, ada, "creator"]);
    await tx.rows(join, [room!.id, null, "ai"]);
    await expect(tx.attempt(join, [room!.id, ada, "member"])).rejects.toMatchObject({ code: "23505" });
    await expect(tx.attempt(join, [room!.id, null, "ai"])).rejects.toMatchObject({ code: "23505" });
    const invite = "INSERT INTO room_invites (room_id, inviter_id, invitee_id) VALUES ($1, $2, $3)";
    await tx.rows(invite, [room!.id, ada, bob]);
    await expect(tx.attempt(invite, [room!.id, ada, bob])).rejects.toMatchObject({ code: "23505" });
    await expect(tx.attempt("UPDATE room_invites SET status = 'lost'")).rejects.toMatchObject({
      code: "23514",
    });
    await expect(tx.attempt("UPDATE chat_rooms SET room_type = 'odd'")).rejects.toMatchObject({
      code: "23514",
    });
  });
});

test("deletes a user's memberships, invites, texts and names but keeps numbers and counts right [S14]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asOwner();
    const [room] = await tx.rows<{ id: string }>(
      "INSERT INTO chat_rooms (creator_id, room_type) VALUES ($1, 'group') RETURNING id",
      [ada],
    );
    await tx.rows(
      "INSERT INTO room_members (room_id, user_id, role) VALUES ($1, $2, 'creator'), ($1, $3, 'member')",
      [room!.id, ada, bob],
    );
    await tx.rows(
      "INSERT INTO room_messages (room_id, sender_id, content) VALUES ($1, $2, 'canary'), ($1, $3, 'mine'), ($1, $2, 'canary')",
      [room!.id, ada, bob],
    );
    await tx.rows("INSERT INTO general_chat_messages (sender_id, content) VALUES ($1, 'canary')", [ada]);
    await tx.rows("DELETE FROM users WHERE id = $1", [ada]);
    expect(
      await tx.rows(
        "SELECT content, is_deleted, sender_id FROM room_messages WHERE room_id = $1 ORDER BY sequence",
        [room!.id],
      ),
    ).toEqual([
      { content: "", is_deleted: true, sender_id: null },
      { content: "mine", is_deleted: false, sender_id: bob },
      { content: "", is_deleted: true, sender_id: null },
    ]);
    expect(await tx.rows("SELECT role, user_id FROM room_members WHERE room_id = $1", [room!.id])).toEqual([
      { role: "creator", user_id: bob },
    ]);
    expect(await tx.rows("SELECT FROM general_chat_messages WHERE content = 'canary'")).toEqual([]);
    await tx.asUser(bob);
    expect(await tx.rows("select unread_count::integer as n from rooms.unread_counts")).toEqual([{ n: 0 }]);
  });
});

test("shows general_chat_messages with the sender's name to signed-in users [S9]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await tx.asUser(ada);
    await tx.rows("select from rooms.post_general_chat_message('hello all')");
    await tx.asUser(bob);
    expect(
      await tx.rows(
        "select m.content, p.username from rooms.general_chat_messages m join identity.profiles p on p.id = m.sender_id",
      ),
    ).toEqual([{ content: "hello all", username: "ada" }]);
    await tx.asUser(null);
    expect(await tx.rows("select from rooms.general_chat_messages")).toEqual([]);
  });
});
