import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type pg from "pg";
import { CLAIM_MESSAGES } from "../../src/import/system/rovertchat/claim-messages.ts";
import { NUMBER_MESSAGES } from "../../src/import/system/socializer/number-messages.ts";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

// Statements of an import that do for a batch of rows what a trigger does for a single one.

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

const newUser = async (client: pg.ClientBase, username: string): Promise<string> =>
  (await client.query("insert into identity.users (username) values ($1) returning id", [username])).rows[0]
    .id;

test("numbers the messages of a room as its trigger numbers single ones, with one update of the room a batch", () =>
  inRolledBackTransaction(db, async ({ client }) => {
    const users = [await newUser(client, "first"), await newUser(client, "second"), null];
    const newRoom = async (): Promise<string> =>
      (
        await client.query(
          "insert into rooms.chat_rooms (creator_id, name, room_type, last_activity_at) values ($1, 'Room', 'group', '2025-01-01') returning id",
          [users[0]],
        )
      ).rows[0].id;
    const [single, batched] = [await newRoom(), await newRoom()];
    const updates = async (): Promise<number> =>
      Number(
        (await client.query("select pg_stat_get_xact_tuples_updated('rooms.chat_rooms'::regclass) as count"))
          .rows[0].count,
      );
    const insert = (room: string, message: object) =>
      client.query(
        `insert into rooms.room_messages (room_id, sender_id, sender_type, content, created_at, sequence, event_sequence, sender_sequence)
         select $1, p.sender_id, case when p.sender_id is null then 'ai' else 'user' end, 'Hello', p.created_at,
           coalesce(p.sequence, 0), coalesce(p.event_sequence, 0), coalesce(p.sender_sequence, 0)
         from jsonb_populate_record(null::rooms.room_messages, $2) p`,
        [room, message],
      );
    // The times of the first batch go back, and the first one precedes the room; the second begins before the end of the first.
    for (const batch of [
      [
        [0, "2024-05-01 10:00"],
        [0, "2024-05-01 10:00:05"],
        [2, "2024-05-01 10:00:03"],
        [1, "2024-05-02"],
      ],
      [
        [0, "2024-04-01"],
        [1, "2024-06-01"],
        [0, "2024-06-02"],
      ],
    ] as const) {
      const messages = batch.map(([user, time]) => ({ sender_id: users[user], created_at: `${time}Z` }));
      for (const message of messages) await insert(single, message);
      const before = await updates();
      const items = messages.map((message, n) => ({ n, values: { room_id: batched, ...message } }));
      const { rows } = await client.query(NUMBER_MESSAGES.sql, [JSON.stringify(items)]);
      expect((await updates()) - before).toBe(1);
      for (const { n, added } of rows) await insert(batched, { ...messages[n], ...added });
      expect((await updates()) - before).toBe(1);
    }
    const stateOf = async (room: string) => [
      (
        await client.query(
          "select sequence, event_sequence, sender_sequence, sender_id, created_at from rooms.room_messages where room_id = $1 order by sequence",
          [room],
        )
      ).rows,
      (
        await client.query(
          "select last_sequence, last_event_sequence, last_activity_at from rooms.chat_rooms where id = $1",
          [room],
        )
      ).rows,
    ];
    const [messages, [room]] = (await stateOf(single)) as [unknown[], { last_sequence: string }[]];
    expect([messages.length, room!.last_sequence]).toEqual([7, "7"]);
    expect(await stateOf(batched)).toEqual(await stateOf(single));
  }));

test("gives no numbers to a message of a room that does not exist", () =>
  inRolledBackTransaction(db, async ({ client }) => {
    const room_id = "00000000-0000-7000-8000-000000000000";
    const items = [{ n: 0, values: { room_id, sender_id: null, created_at: "2024-05-01Z" } }];
    expect((await client.query(NUMBER_MESSAGES.sql, [JSON.stringify(items)])).rows).toEqual([
      { n: 0, added: null },
    ]);
  }));

test("marks answers as counted, also one whose id a deleted answer had", () =>
  inRolledBackTransaction(db, async ({ client }) => {
    const user = await newUser(client, "reader");
    const { rows: chats } = await client.query(
      "insert into llm.chats (user_id, title) values ($1, 'Chat') returning id",
      [user],
    );
    const chat = chats[0].id;
    const insert = async (id: string, tokens: number) =>
      client.query(
        "insert into llm.messages (id, chat_id, user_id, role, content, tokens_used) values ($1, $2, $3, 'assistant', 'Yes', $4)",
        [id, chat, user, tokens],
      );
    const used = async (): Promise<string> =>
      (await client.query("select token_count from billing.usage_tracking where user_id = $1", [user]))
        .rows[0]?.token_count;
    const [again, fresh] = ["00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000b"];
    await insert(again, 50);
    expect(await used()).toBe("50");
    await client.query("delete from llm.messages where id = $1", [again]);

    const items = [again, fresh].map((message_id, n) => ({
      n,
      values: { chat_id: chat, user_id: user, message_id },
    }));
    const { rows } = await client.query(CLAIM_MESSAGES.sql, [JSON.stringify(items)]);
    expect(rows.map(({ n }) => n).sort()).toEqual([0, 1]);
    await insert(again, 50);
    await insert(fresh, 60);
    expect(await used()).toBe("0");
  }));
