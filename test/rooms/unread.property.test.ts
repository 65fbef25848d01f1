import { afterAll, beforeAll, expect, test } from "@jest/globals";
import type pg from "pg";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { makeRandom } from "../support/random.ts";
import { connectPerson, makeUsers, type Person } from "./support.ts";

// Reason 4 of the design: unread and mention counts equal a count of the messages at every moment of a storm of posting,
// deleting, restoring, editing, joining, leaving, blocking and marking on parallel connections.

let db: TestDatabase;
const asOwner = rowsAs("owner", () => db);
let people: Person[];
beforeAll(async () => {
  db = await createTestDatabase();
  const ids = await makeUsers(db, ["u0", "u1", "u2", "u3", "u4", "u5"]);
  people = await Promise.all(ids.map((id) => connectPerson(db, id)));
});
afterAll(async () => {
  await Promise.all(people.map((person) => person.close()));
  await db.drop();
});

/** Counts every message that the policies show the caller, in the same snapshot as the stored count. */
const COMPARE = `
  select c.room_id, c.unread_count::integer as unread, c.mention_count::integer as mentions,
    (
      select count(*)::integer from rooms.room_messages m
      where m.room_id = c.room_id and m.sequence > c.last_read_sequence and not m.is_deleted
        and m.sender_id is distinct from plinth.current_user_id()
    ) as counted_unread,
    (
      select count(*)::integer from rooms.room_messages m
      join rooms.room_message_mentions n on n.message_id = m.id and n.user_id = plinth.current_user_id()
      where m.room_id = c.room_id and m.sequence > c.last_read_sequence and not m.is_deleted
    ) as counted_mentions
  from rooms.unread_counts c`;

async function expectExact(person: Person): Promise<number> {
  const rows = await person.rows<Record<string, number>>(COMPARE);
  for (const { unread, mentions, counted_unread, counted_mentions } of rows)
    expect({ unread, mentions }).toEqual({ unread: counted_unread, mentions: counted_mentions });
  return rows.length;
}

/** Actions that must have succeeded in the storm. */
const WANTED = [
  ...["post", "mention", "private", "delete", "restore", "edit", "unread", "join", "leave"],
  ...["block", "check"],
];
const EXPECTED = ["PL403", "PL404", "PL409", "PL422"];

async function storm(
  roomIds: readonly string[],
  steps: number,
  seed: number,
): Promise<Record<string, number>> {
  const done: Record<string, number> = {};
  await Promise.all(
    people.map(async (person, index) => {
      // Each run makes the same choices, though not at the same times.
      const pick = makeRandom(seed * 100 + index);
      const oneOf = <T>(values: readonly T[]): T => values[pick(values.length)]!;
      for (let step = 0; step < steps; step++) {
        const room = oneOf(roomIds);
        const other = oneOf(people.filter(({ id }) => id !== person.id));
        const message = async () =>
          person.value<string | undefined>(
            "select id from rooms.room_messages where room_id = $1 and sequence > $2 order by sequence desc offset $3 limit 1",
            [room, pick(2) * 250, pick(12)],
          );
        const actions: Record<string, () => Promise<unknown>> = {
          post: () => person.call("post_room_message", { room_id: room, content: "hello" }),
          mention: () => person.call("post_room_message", { room_id: room, content: `hello @u${pick(6)}!` }),
          private: () =>
            person.call("post_room_message", {
              room_id: room,
              content: `psst @u${pick(6)}`,
              recipients: [other.id],
            }),
          delete: async () => person.call("delete_room_message", { message_id: await message() }),
          restore: async () => person.call("restore_room_message", { message_id: await message() }),
          edit: async () =>
            person.call("edit_room_message", {
              message_id: await message(),
              content: `better @u${pick(6)} ${step}`,
            }),
          read: async () =>
            person.call("mark_room_read", { room_id: room, message_id: pick(2) ? await message() : null }),
          unread: async () => person.call("mark_room_unread", { room_id: room, message_id: await message() }),
          leave: () => person.call("leave_room", { room_id: room }),
          join: () => person.call("join_room", { room_id: room }),
          block: () => person.call("block_user", { user_id: other.id }),
          unblock: () => person.call("unblock_user", { user_id: other.id }),
          remove: () => person.call("remove_room_member", { room_id: room, user_id: other.id }),
          check: () => expectExact(person),
        };
        const weights = {
          post: 10,
          mention: 4,
          private: 3,
          delete: 4,
          restore: 3,
          edit: 3,
          read: 3,
          unread: 3,
          leave: 1,
        };
        const deck = [
          ...Object.entries(weights).flatMap(([name, weight]) => Array<string>(weight).fill(name)),
          ...["join", "join", "join", "block", "unblock", "remove", "check", "check", "check"],
        ];
        const name = oneOf(deck);
        try {
          await actions[name]!();
          done[name] = (done[name] ?? 0) + 1;
        } catch (error) {
          const { code } = error as pg.DatabaseError;
          if (!EXPECTED.includes(String(code))) throw error;
        }
      }
    }),
  );
  return done;
}

test("keeps unread and mention counts exact at every moment and afterwards [S7]", async () => {
  const [first] = people;
  const rooms = [];
  for (const shared of [true, false])
    rooms.push(
      await first!.call<{ id: string }>("create_room", {
        name: "storm",
        is_public: true,
        history_is_shared: shared,
      }),
    );
  const ids = rooms.map(({ id }) => id);
  for (const person of people) for (const id of ids) await person.call("join_room", { room_id: id });
  const done: Record<string, number> = {};
  const missing = () => WANTED.filter((name) => !done[name]);
  // An edit needs a message of its author among the newest, so a round may have none.
  for (let round = 1; round <= 3 || (missing().length > 0 && round <= 30); round++) {
    for (const [name, count] of Object.entries(await storm(ids, 70, round)))
      done[name] = (done[name] ?? 0) + count;
    for (const person of people) await expectExact(person);
    // From the very beginning too, over the blocks of the tallies.
    for (const person of people)
      for (const id of ids) {
        const oldest = await person.value<string | undefined>(
          "select id from rooms.room_messages where room_id = $1 order by sequence limit 1",
          [id],
        );
        if (oldest) await person.call("mark_room_unread", { room_id: id, message_id: oldest });
        await expectExact(person);
      }
  }
  expect(missing()).toEqual([]);
  // Numbers without gaps, and times that grow with them.
  expect(
    await asOwner(`select r.id
       from rooms.chat_rooms r
       where r.last_sequence <> (select count(*) from rooms.room_messages m where m.room_id = r.id)
         or r.last_event_sequence <> (select count(*) from rooms.room_events e where e.room_id = r.id)
         or r.last_event_sequence <> (select coalesce(max(sequence), 0) from rooms.room_events e where e.room_id = r.id)`),
  ).toEqual([]);
  expect(
    await asOwner(`select from (
         select created_at < lag(created_at) over w or event_sequence <= lag(event_sequence) over w as is_wrong
         from rooms.room_messages window w as (partition by room_id order by sequence)
       ) pairs where is_wrong`),
  ).toEqual([]);
});

test("keeps counts exact over thousands of messages with gaps of all sizes at every watermark [S7]", async () => {
  const [reader, writer] = people as [Person, Person];
  const room = await writer.call<{ id: string }>("create_room", { name: "long", is_public: true });
  await reader.call("join_room", { room_id: room.id });
  await asOwner(
    `insert into rooms.room_messages (room_id, sender_id, content)
     select $1, case when i % 7 = 0 then $2::uuid else $3::uuid end, 'x' from generate_series(1, 1400) i`,
    [room.id, reader.id, writer.id],
  );
  await asOwner(
    `update rooms.room_messages set is_deleted = true, content = '', deleted_at = now()
     where room_id = $1 and (sequence % 5 = 0 or sequence between 250 and 530 or sequence = 1024)`,
    [room.id],
  );
  const marks = [
    0, 1, 2, 254, 255, 256, 257, 511, 512, 513, 700, 767, 768, 1023, 1024, 1279, 1280, 1399, 1400,
  ];
  for (const mark of marks) {
    await asOwner(
      "update rooms.room_members set last_read_sequence = $3 where room_id = $1 and user_id = $2",
      [room.id, reader.id, mark],
    );
    await expectExact(reader);
  }
});
