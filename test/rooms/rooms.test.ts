import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { grantRole, SOME_HASH } from "../support/accounts.ts";
import {
  createTestDatabase,
  expectSqlState,
  rowsAs,
  type TestDatabase,
  withClient,
} from "../support/database.ts";
import { entriesRead } from "../support/rows-read.ts";
import { untilWaiting, whileLocked } from "../support/waiting.ts";
import { connectPerson, makeUsers, type Person } from "./support.ts";

// Access rights in rooms, as the API's user role on separate connections.

let db: TestDatabase;
const asOwner = rowsAs("owner", () => db);
let ada: Person;
let bob: Person;
let cyd: Person;
let serial = 0;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  serial++;
  const ids = await makeUsers(db, [`ada${serial}`, `bob${serial}`, `cyd${serial}`]);
  [ada, bob, cyd] = (await Promise.all(ids.map((id) => connectPerson(db, id)))) as [Person, Person, Person];
});
afterEach(() => Promise.all([ada, bob, cyd].map((person) => person.close())));

interface Row {
  readonly id: string;
  readonly content: string;
  readonly status: string;
  readonly role: string;
}

async function room(options: Record<string, unknown> = {}, members: readonly Person[] = []): Promise<string> {
  const { id } = await ada.call<Row>("create_room", { name: "room", is_public: true, ...options });
  for (const member of members) await member.call("join_room", { room_id: id });
  return id;
}
const post = (person: Person, roomId: string, content = "hello", more: Record<string, unknown> = {}) =>
  person.call<Row>("post_room_message", { room_id: roomId, content, ...more });
const texts = async (person: Person, roomId: string) =>
  (
    await person.rows<Row>("select content from rooms.room_messages where room_id = $1 order by sequence", [
      roomId,
    ])
  ).map(({ content }) => content);
const unread = (person: Person, roomId: string) =>
  person.value<number>("select unread_count::integer from rooms.unread_counts where room_id = $1", [roomId]);
const asService = rowsAs("service", () => db);

describe("a room [S6]", () => {
  test("is the only direct one of a pair, also for repeated and concurrent creation", async () => {
    const made = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        withPeer(i % 2 ? ada : bob, (person) =>
          person.call<Row>("create_direct_room", { user_id: i % 2 ? bob.id : ada.id }),
        ),
      ),
    );
    expect(new Set(made.map(({ id }) => id)).size).toBe(1);
    const { id } = made[0]!;
    expect(await ada.rows("select from rooms.room_members where room_id = $1", [id])).toHaveLength(2);
    await expectSqlState(ada.call("leave_room", { room_id: id }), "PL409");
    await expectSqlState(cyd.call("join_room", { room_id: id }), "PL404");
    await expectSqlState(ada.call("create_direct_room", { user_id: ada.id }), "PL422");
    await expectSqlState(ada.call("create_direct_room", { user_id: randomUUID() }), "PL404");
  });

  test("is created once per key", async () => {
    const key = randomUUID();
    const made = await Promise.all(
      Array.from({ length: 6 }, () =>
        withPeer(ada, (person) => person.call<Row>("create_room", { name: "once", idempotency_key: key })),
      ),
    );
    expect(new Set(made.map(({ id }) => id)).size).toBe(1);
  });

  test("has an AI as member only while it is enabled", async () => {
    const id = await room({ ai_enabled: true });
    const ai = () => ada.rows("select from rooms.room_members where room_id = $1 and role = 'ai'", [id]);
    expect(await ai()).toHaveLength(1);
    await ada.rows("update rooms.chat_rooms set ai_enabled = false where id = $1", [id]);
    expect(await ai()).toHaveLength(0);
    await expectSqlState(asService("select private.post_ai_message($1, 'hi')", [id]), "PL403");
    await ada.rows("update rooms.chat_rooms set ai_enabled = true where id = $1", [id]);
    expect(await ai()).toHaveLength(1);
  });

  test("charges an AI answer's usage to the asking user once", async () => {
    const id = await room({ ai_enabled: true }, [bob]);
    const asked = await bob.call<Row>("post_room_message", { room_id: id, content: "Why?" });
    const usage = () =>
      asOwner(
        `select user_id, input_tokens::integer as input, output_tokens::integer as output, cached_input_tokens::integer as cached
         from billing.usage_events
         where user_id = any ($1)
         order by created_at, id`,
        [[ada.id, bob.id]],
      );
    const before = (await usage()).length;
    const key = randomUUID();
    const post = (args: string) => asService(`select private.post_ai_message($1, 'Because.', ${args})`, [id]);
    const answer = `reply_to_id => '${asked.id}', idempotency_key => '${key}', input_tokens => 12, output_tokens => 4, cached_input_tokens => 3`;
    await post(answer);
    await post(answer);
    await post("input_tokens => 5, output_tokens => 1");
    await post(`input_tokens => 6, output_tokens => 1, billed_user_id => '${bob.id}'`);
    await post("metadata => '{}'");
    expect((await usage()).slice(before)).toEqual([
      { user_id: bob.id, input: 12, output: 4, cached: 3 },
      { user_id: ada.id, input: 5, output: 1, cached: 0 },
      { user_id: bob.id, input: 6, output: 1, cached: 0 },
    ]);
    // Rejected as a whole: no message without its usage.
    const messages = () => ada.rows("select from rooms.room_messages where room_id = $1", [id]);
    const posted = (await messages()).length;
    await expectSqlState(post("input_tokens => -1, output_tokens => 1"), "PL422");
    await expectSqlState(post(`output_tokens => 1, billed_user_id => '${randomUUID()}'`), "PL404");
    expect(await messages()).toHaveLength(posted);
  });

  test("rejects writes to its counters, type, creator, messages and members", async () => {
    const id = await room();
    for (const sql of [
      "update rooms.chat_rooms set last_sequence = 9 where id = $1",
      "update rooms.chat_rooms set room_type = 'private' where id = $1",
      "insert into rooms.room_messages (room_id, content) values ($1, 'x')",
      "insert into rooms.room_members (room_id) values ($1)",
      "update rooms.room_members set role = 'creator' where room_id = $1",
      "update rooms.room_members set last_read_sequence = 0 where room_id = $1",
      "delete from rooms.room_members where room_id = $1",
      "insert into rooms.room_changes (room_id, sequence, kind) values ($1, 1, 'room_changed')",
    ])
      await expectSqlState(ada.rows(sql, [id]), "42501");
  });
});

describe("membership [S7]", () => {
  test("is open in public rooms, and other rooms are hidden without an invite", async () => {
    const open = await room();
    const closed = await room({ is_public: false });
    await bob.call("join_room", { room_id: open });
    await bob.call("join_room", { room_id: open });
    expect(await bob.rows("select from rooms.room_members where room_id = $1", [open])).toHaveLength(2);
    await expectSqlState(bob.call("join_room", { room_id: closed }), "PL404");
    expect(await bob.rows("select from rooms.chat_rooms where id = $1", [closed])).toEqual([]);
    await post(ada, closed);
    expect(await texts(bob, closed)).toEqual([]);
    await expectSqlState(post(bob, closed), "PL404");
    await expectSqlState(post(bob, randomUUID()), "PL404");
    await expectSqlState(bob.call("mark_room_read", { room_id: closed }), "PL404");
  });

  test("passes the creator's role on when the creator leaves, and the last member deletes the room", async () => {
    const id = await room({}, [bob, cyd]);
    await ada.call("set_room_role", { room_id: id, user_id: cyd.id, role: "moderator" });
    await ada.call("leave_room", { room_id: id });
    expect(
      await cyd.value("select role from rooms.room_members where room_id = $1 and user_id = $2", [
        id,
        cyd.id,
      ]),
    ).toBe("creator");
    await cyd.call("leave_room", { room_id: id });
    await bob.call("leave_room", { room_id: id });
    expect(await asOwner("select from rooms.chat_rooms where id = $1", [id])).toEqual([]);
  });

  test("ends by moderators, and a ban blocks a return until it is lifted", async () => {
    const id = await room({}, [bob, cyd]);
    const remove = (by: Person, who: Person, ban = false) =>
      by.call("remove_room_member", { room_id: id, user_id: who.id, ban });
    await expectSqlState(remove(bob, cyd), "PL403");
    await ada.call("set_room_role", { room_id: id, user_id: bob.id, role: "moderator" });
    await expectSqlState(remove(bob, ada), "PL403");
    await remove(bob, cyd, true);
    expect(await texts(cyd, id)).toEqual([]);
    await expectSqlState(cyd.call("join_room", { room_id: id }), "PL403");
    await expectSqlState(bob.call("invite_to_room", { room_id: id, invitee_id: cyd.id }), "PL404");
    await bob.rows("delete from rooms.room_bans where room_id = $1 and user_id = $2", [id, cyd.id]);
    await cyd.call("join_room", { room_id: id });
    await expectSqlState(
      cyd.call("set_room_role", { room_id: id, user_id: cyd.id, role: "creator" }),
      "PL403",
    );
  });

  test("allows no message after a concurrent removal", async () => {
    const id = await room({}, [bob]);
    const outcomes = await Promise.allSettled([
      ...Array.from({ length: 8 }, () => withPeer(bob, (person) => post(person, id))),
      withPeer(ada, (person) => person.call("remove_room_member", { room_id: id, user_id: bob.id })),
      ...Array.from({ length: 8 }, () => withPeer(bob, (person) => post(person, id))),
    ]);
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "PL404" });
    expect(
      await asOwner(
        `select from rooms.room_messages m join rooms.room_changes c on c.room_id = m.room_id and c.kind = 'member_left'
         where m.room_id = $1 and m.event_sequence > c.sequence`,
        [id],
      ),
    ).toEqual([]);
  });

  /** Acts as a person and commits only once another connection waits for it. */
  const actingAs = (person: Person, sql: string, params: unknown[], setUp: () => Promise<unknown>) =>
    whileLocked(
      db,
      [
        ["select set_config('jwt.claims.user_id', $1, true)", [person.id]],
        [sql, params],
      ],
      setUp,
    );

  test("is denied when a join races a removal or a revoked invite", async () => {
    const [left, asked] = [
      await room({ is_public: false }),
      await room({ is_public: false, room_type: "private" }),
    ];
    const invite = (roomId: string, person: Person) =>
      ada.call<Row>("invite_to_room", { room_id: roomId, invitee_id: person.id });
    const { id: accepted } = await invite(left, bob);
    await bob.call("respond_to_invite", { invite_id: accepted, accept: true });
    const { id: open } = await invite(asked, cyd);
    for (const [roomId, person, sql, params] of [
      [left, bob, "select rooms.remove_room_member($1, $2)", [left, bob.id]],
      [asked, cyd, "select rooms.revoke_invite($1)", [open]],
    ] as const) {
      let joining: Promise<unknown> = Promise.resolve();
      await actingAs(ada, sql, [...params], async () => {
        joining = person.call("join_room", { room_id: roomId }).catch((error: unknown) => error);
        await untilWaiting(db);
      });
      expect(await joining).toMatchObject({ code: "PL404" });
      expect(await asOwner("select from rooms.room_members where room_id = $1", [roomId])).toHaveLength(1);
    }
  });

  // Each creates events for both, Ada in one order and Bob in the other.
  const inRoomsOf = async (both: boolean) => {
    const [own, theirs] = [
      await room(),
      (await bob.call<Row>("create_room", { name: "room", is_public: true })).id,
    ];
    if (both) await ada.call("join_room", { room_id: theirs });
    if (both) await bob.call("join_room", { room_id: own });
    return [own, theirs] as const;
  };
  const CROSSINGS: Record<string, () => Promise<readonly [sql: string, adas: unknown[], bobs: unknown[]]>> = {
    deleted: async () => {
      const [own, theirs] = await inRoomsOf(true);
      // As in a large room: members are deleted in the order in which they joined, not in that of an index.
      const inPlace =
        "select set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'off', true)";
      return [`with s as (${inPlace}) delete from rooms.chat_rooms using s where id = $1`, [own], [theirs]];
    },
    left: async () => {
      const [own, theirs] = await inRoomsOf(true);
      return ["select rooms.leave_room($1)", [own], [theirs]];
    },
    "handed on": async () => {
      const [own, theirs] = await inRoomsOf(true);
      return ["select rooms.set_room_role($1, $2, 'creator')", [own, bob.id], [theirs, ada.id]];
    },
    "joined by invite": async () => {
      const [own, theirs] = await inRoomsOf(false);
      const adas = await bob.call<Row>("invite_to_room", { room_id: theirs, invitee_id: ada.id });
      const bobs = await ada.call<Row>("invite_to_room", { room_id: own, invitee_id: bob.id });
      return ["select rooms.respond_to_invite($1, true)", [adas.id], [bobs.id]];
    },
  };
  test.each(Object.keys(CROSSINGS))(
    "lets rooms of the same people be %s at once without a deadlock",
    async (how) => {
      for (const [told, first] of [ada, bob].flatMap((one) =>
        [ada, bob].map((other) => [one, other] as const),
      )) {
        const [sql, adas, bobs] = await CROSSINGS[how]!();
        const change = (person: Person) => person.rows(sql, person === ada ? adas : bobs);
        let both: Promise<unknown> = Promise.resolve();
        await whileLocked(
          db,
          [["select from rooms.user_event_counters where user_id = $1 for update", [told.id]]],
          async () => {
            const one = change(first);
            await untilWaiting(db, 1);
            both = Promise.all([one, change(first === ada ? bob : ada)]);
            both.catch(() => {});
            await untilWaiting(db, 2);
          },
        );
        await both;
      }
    },
  );

  test("lets an account be deleted while it writes", async () => {
    const [id] = await makeUsers(db, [`dan${++serial}`]);
    const dan = await connectPerson(db, id!);
    const { id: roomId } = await dan.call<Row>("create_room", { name: "room", is_public: true });
    await ada.call("join_room", { room_id: roomId });
    const typing = (is: boolean) => dan.call("set_typing", { room_id: roomId, is_typing: is });
    await typing(true);
    await asOwner("update rooms.typing set expires_at = '-infinity'");
    let both: Promise<unknown> = Promise.resolve();
    await whileLocked(db, [["select from rooms.typing where user_id = $1 for update", [id]]], async () => {
      const one = typing(true);
      await untilWaiting(db, 1);
      both = Promise.allSettled([one, asOwner("delete from identity.users where id = $1", [id])]);
      await untilWaiting(db, 2);
    });
    expect(await both).toMatchObject([{ status: "fulfilled" }, { status: "fulfilled" }]);
    await dan.close();
  });

  test("lets an account be deleted while it renames its room or sets a password", async () => {
    for (const [change, role] of [
      ["update rooms.chat_rooms set name = 'renamed' where id = $1", "user"],
      [`select private.set_room_password($1, '${SOME_HASH}')`, "service"],
    ] as const) {
      const [id] = await makeUsers(db, [`dan${++serial}`]);
      const dan = await connectPerson(db, id!);
      const { id: roomId } = await dan.call<Row>("create_room", { name: "room", is_public: true });
      await ada.call("join_room", { room_id: roomId });
      let both: Promise<unknown> = Promise.resolve();
      await whileLocked(
        db,
        [["select from rooms.chat_rooms where id = $1 for update", [roomId]]],
        async () => {
          const changing =
            role === "user"
              ? dan.rows(change, [roomId])
              : withClient(db.url("service"), async (client) => {
                  await client.query("select set_config('jwt.claims.user_id', $1, false)", [id]);
                  return client.query(change, [roomId]);
                });
          await untilWaiting(db, 1);
          both = Promise.allSettled([changing, asOwner("delete from identity.users where id = $1", [id])]);
          await untilWaiting(db, 2);
        },
      );
      expect(await both).toMatchObject([{ status: "fulfilled" }, { status: "fulfilled" }]);
      await dan.close();
    }
  });

  test("lets an account be deleted without a deadlock while it and others write", async () => {
    const ids = [await room({}, [bob, cyd]), await room({}, [bob, cyd])];
    for (const id of ids) await post(bob, id);
    const outcomes = await Promise.allSettled([
      ...ids.flatMap((id) =>
        Array.from({ length: 6 }, (_, i) =>
          withPeer([ada, bob, cyd][i % 3]!, (person) => post(person, id, `hello @bob${serial}`)),
        ),
      ),
      asOwner("delete from identity.users where id = $1", [bob.id]),
    ]);
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "PL404" });
    expect(await asOwner("select from rooms.room_messages where sender_id = $1", [bob.id])).toEqual([]);
  });
});

describe("an invite [S10]", () => {
  test("is pending, then accepted or declined once", async () => {
    const id = await room({ is_public: false });
    const invite = await ada.call<Row>("invite_to_room", {
      room_id: id,
      invitee_id: bob.id,
      message: "Come in",
    });
    expect(await ada.call<Row>("invite_to_room", { room_id: id, invitee_id: bob.id })).toMatchObject({
      id: invite.id,
    });
    expect(await bob.rows("select name from rooms.chat_rooms where id = $1", [id])).toEqual([
      { name: "room" },
    ]);
    expect(await cyd.rows("select from rooms.room_invites")).toEqual([]);
    await expectSqlState(cyd.call("respond_to_invite", { invite_id: invite.id, accept: true }), "PL404");
    const answer = (accept: boolean) => bob.call<Row>("respond_to_invite", { invite_id: invite.id, accept });
    expect(await answer(false)).toMatchObject({ status: "declined" });
    expect(await answer(false)).toMatchObject({ status: "declined" });
    await expectSqlState(answer(true), "PL409");
    const again = await ada.call<Row>("invite_to_room", { room_id: id, invitee_id: bob.id });
    expect(again).toMatchObject({ id: invite.id, status: "pending" });
    expect(await answer(true)).toMatchObject({ status: "accepted" });
    expect(await answer(true)).toMatchObject({ status: "accepted" });
    await expectSqlState(ada.call("invite_to_room", { room_id: id, invitee_id: bob.id }), "PL409");
    expect(await post(bob, id)).toMatchObject({ content: "hello" });
  });

  test("to a private room comes from a moderator, and can be announced in a direct room and revoked", async () => {
    const id = await room({ is_public: false, room_type: "private" });
    const direct = (await ada.call<Row>("create_direct_room", { user_id: bob.id })).id;
    const invite = await ada.call<Row>("invite_to_room", {
      room_id: id,
      invitee_id: bob.id,
      message: "See you there",
      announce_in: direct,
    });
    expect(
      await bob.rows("select message_type, content from rooms.room_messages where room_id = $1", [direct]),
    ).toEqual([{ message_type: "invite", content: "See you there" }]);
    await expectSqlState(bob.call("revoke_invite", { invite_id: invite.id }), "PL404");
    await ada.call("revoke_invite", { invite_id: invite.id });
    await expectSqlState(bob.call("respond_to_invite", { invite_id: invite.id, accept: true }), "PL404");
    const second = await ada.call<Row>("invite_to_room", { room_id: id, invitee_id: bob.id });
    await bob.call("respond_to_invite", { invite_id: second.id, accept: true });
    await expectSqlState(bob.call("invite_to_room", { room_id: id, invitee_id: cyd.id }), "PL403");
  });
});

describe("a message [S8]", () => {
  test("is posted once per key on any number of connections", async () => {
    const id = await room();
    const key = randomUUID();
    const posted = await Promise.all(
      Array.from({ length: 8 }, () =>
        withPeer(ada, (person) => post(person, id, "once", { idempotency_key: key })),
      ),
    );
    expect(new Set(posted.map((message) => message.id)).size).toBe(1);
    expect(await texts(ada, id)).toEqual(["once"]);
  });

  test("is edited by its author and deleted by author and moderators, who can read earlier texts", async () => {
    const id = await room({}, [bob, cyd]);
    const message = await post(bob, id, "first");
    await expectSqlState(ada.call("edit_room_message", { message_id: message.id, content: "x" }), "PL403");
    await bob.call("edit_room_message", { message_id: message.id, content: "second" });
    await expectSqlState(cyd.call("delete_room_message", { message_id: message.id }), "PL403");
    await ada.call("delete_room_message", { message_id: message.id });
    await ada.call("delete_room_message", { message_id: message.id });
    expect(await texts(cyd, id)).toEqual([""]);
    const revisions =
      "select change, content from rooms.room_message_revisions where message_id = $1 order by revision";
    const history = [
      { change: "edited", content: "first" },
      { change: "deleted", content: "second" },
    ];
    expect(await ada.rows(revisions, [message.id])).toEqual(history);
    expect(await bob.rows(revisions, [message.id])).toEqual(history);
    expect(await cyd.rows(revisions, [message.id])).toEqual([]);
    await expectSqlState(bob.call("restore_room_message", { message_id: message.id }), "PL403");
    await ada.call("restore_room_message", { message_id: message.id });
    expect(await texts(cyd, id)).toEqual(["second"]);
  });

  test("reaches only its recipients when private: no text, event, count, reaction, reply or search for others", async () => {
    const id = await room({}, [bob, cyd]);
    const secret = await post(ada, id, "a secret", { recipients: [bob.id] });
    expect(await texts(bob, id)).toEqual(["a secret"]);
    expect(await texts(cyd, id)).toEqual([]);
    expect([await unread(bob, id), await unread(cyd, id)]).toEqual([1, 0]);
    await ada.call("edit_room_message", { message_id: secret.id, content: "another secret" });
    const events = (person: Person) =>
      person.rows("select from rooms.room_events_after($1, 0) where message_id = $2", [id, secret.id]);
    expect(await events(bob)).toHaveLength(2);
    expect(await events(cyd)).toHaveLength(0);
    await expectSqlState(cyd.call("react", { message_id: secret.id, emoji: "+" }), "PL404");
    await expectSqlState(post(cyd, id, "what?", { reply_to_id: secret.id, recipients: [bob.id] }), "PL404");
    await expectSqlState(post(bob, id, "oh", { reply_to_id: secret.id }), "PL404");
    await post(bob, id, "oh", { reply_to_id: secret.id, recipients: [ada.id] });
    const found = "select content from rooms.search_room_messages('secret')";
    expect(await bob.rows(found)).toHaveLength(1);
    expect(await cyd.rows(found)).toHaveLength(0);
    expect(await cyd.rows("select from rooms.room_message_recipients")).toEqual([]);
    await expectSqlState(post(ada, id, "x", { recipients: [randomUUID()] }), "PL422");
  });

  test("mentions other members by name or id", async () => {
    const id = await room({}, [bob]);
    const message = await post(
      ada,
      id,
      `@bob${serial}, @ada${serial} and @cyd${serial}: mail x@bob${serial}`,
    );
    expect(
      await bob.rows("select user_id from rooms.room_message_mentions where message_id = $1", [message.id]),
    ).toEqual([{ user_id: bob.id }]);
    const mentions = () =>
      bob.value("select mention_count::integer from rooms.unread_counts where room_id = $1", [id]);
    await post(ada, id, "by id", { mentions: [bob.id] });
    expect(await mentions()).toBe(2);
    await ada.call("edit_room_message", { message_id: message.id, content: "nobody" });
    expect(await mentions()).toBe(1);
    await expectSqlState(post(ada, id, "x", { mentions: [cyd.id] }), "PL422");
  });

  test("has reactions, added once and removable, and read receipts", async () => {
    const id = await room({}, [bob, cyd]);
    const message = await post(ada, id);
    for (const emoji of ["👍", "👍", "🎉"]) await bob.call("react", { message_id: message.id, emoji });
    await bob.call("react", { message_id: message.id, emoji: "🎉", remove: true });
    expect(await cyd.rows("select emoji, user_id from rooms.room_message_reactions")).toEqual([
      { emoji: "👍", user_id: bob.id },
    ]);
    const kinds = await cyd.rows<{ kind: string }>("select kind from rooms.room_events_after($1, 0)", [id]);
    expect(kinds.filter(({ kind }) => kind === "reactions_changed")).toHaveLength(3);
    await bob.call("mark_room_read", { room_id: id });
    expect(
      await ada.rows(
        "select r.user_id from rooms.room_messages m, rooms.room_messages_read_by(m) r where m.id = $1",
        [message.id],
      ),
    ).toEqual([{ user_id: bob.id }]);
  });

  test("is visible from before the join only with shared history, and the latest are paged", async () => {
    const shared = await room();
    const hidden = await room({ history_is_shared: false });
    for (const id of [shared, hidden]) for (const text of ["1", "2"]) await post(ada, id, text);
    for (const id of [shared, hidden]) await bob.call("join_room", { room_id: id });
    for (const id of [shared, hidden]) await post(ada, id, "3");
    expect(await texts(bob, shared)).toEqual(["1", "2", "3"]);
    expect(await texts(bob, hidden)).toEqual(["3"]);
    expect([await unread(bob, shared), await unread(bob, hidden)]).toEqual([1, 1]);
    const page = (id: string, before: string | null) =>
      bob.rows<Row>("select id, content from rooms.recent_room_messages($1, $2, 2)", [id, before]);
    const [newest, second] = await page(shared, null);
    expect([newest?.content, second?.content]).toEqual(["3", "2"]);
    expect((await page(shared, second!.id)).map(({ content }) => content)).toEqual(["1"]);
    expect((await page(hidden, null)).map(({ content }) => content)).toEqual(["3"]);
    const first = await ada.value("select id from rooms.room_messages where room_id = $1 and sequence = 1", [
      hidden,
    ]);
    await expectSqlState(bob.call("mark_room_unread", { room_id: hidden, message_id: first }), "PL404");
  });
});

/** The number of messages, and of entries in their indexes, that a statement of a person reads. */
const messagesReadBy = (person: Person, sql: string): Promise<number> =>
  withClient(db.url("authenticator"), (client) =>
    entriesRead(
      client,
      "rooms.room_messages",
      `set local role ${db.rolePrefix}_user; set local jwt.claims.user_id = '${person.id}'; ${sql}`,
    ),
  );
/** Does what an autovacuum could do meanwhile, so that none changes a plan: it merges an index's list of new entries, and counts all rows. */
async function settleTables(): Promise<void> {
  await asOwner("vacuum rooms.room_messages");
  await asOwner("analyze");
}
const LONG_ROOM =
  "insert into rooms.room_messages (room_id, sender_id, content) select $1, $2, 'hello ' || i from generate_series(1, 3000) i";

test("searches a common word only in the caller's own rooms", async () => {
  const own = await room({ name: "own" });
  await post(ada, own, "hello there");
  const { id: elsewhere } = await bob.call<Row>("create_room", { name: "elsewhere" });
  await asOwner(LONG_ROOM, [elsewhere, bob.id]);
  await settleTables();
  const search = "select content from rooms.search_room_messages('hello')";
  expect(await ada.rows(search)).toEqual([{ content: "hello there" }]);
  expect(await messagesReadBy(ada, search)).toBeLessThan(100);
  // Only the returned matches are checked for visibility.
  const most = await bob.rows<Row>(search);
  expect(most.map(({ content }) => content)).toEqual(
    Array.from({ length: 50 }, (_, i) => `hello ${3000 - i}`),
  );
  // Each match once in the index and once in the table, and then a few for each of those that are returned.
  expect(await messagesReadBy(bob, search)).toBeLessThan(2 * 3000 + 50 * 10);
});

test("finds a missing AI answer without reading the room", async () => {
  const id = await room({ ai_enabled: true });
  await asOwner(LONG_ROOM, [id, ada.id]);
  await settleTables();
  const asked = `select message_id from private.rooms_to_answer('${id}')`;
  const [last] = await ada.rows<Row>("select id from rooms.room_messages where content = 'hello 3000'");
  await withClient(db.url("service"), async (client) => {
    expect((await client.query(asked)).rows).toEqual([{ message_id: last!.id }]);
    expect(await entriesRead(client, "rooms.room_messages", asked)).toBeLessThan(10);
  });
  await asService("select private.post_ai_message($1, 'Hello.', $2)", [id, last!.id]);
  expect(await asService(asked, [])).toEqual([]);
});

test("reads the latest messages from the end of an index, also in a room with one main author [S11]", async () => {
  const id = await room({}, [bob]);
  await asOwner(
    "insert into rooms.room_messages (room_id, sender_id, content) select $1, $2, 'x' from generate_series(1, 3000)",
    [id, bob.id],
  );
  await settleTables();
  for (const order of ["created_at", "event_sequence"]) {
    const plan = await ada.rows<Record<string, string>>(
      `explain select * from rooms.room_messages where room_id = '${id}' and is_deleted = false order by ${order} desc limit 50`,
    );
    const text = plan.map((row) => row["QUERY PLAN"]).join("\n");
    expect(text).toMatch(/Index Scan Backward/);
    expect(text).not.toMatch(/Sort/);
  }
});

describe("blocking", () => {
  test("hides the blocked user's messages, ends direct messages and invites, and stays secret", async () => {
    const id = await room({}, [bob, cyd]);
    const direct = (await bob.call<Row>("create_direct_room", { user_id: ada.id })).id;
    await post(bob, id, "noise");
    expect(await unread(ada, id)).toBe(1);
    await ada.call("block_user", { user_id: bob.id });
    expect(await texts(ada, id)).toEqual([]);
    expect(await texts(cyd, id)).toEqual(["noise"]);
    expect(await unread(ada, id)).toBe(0);
    await expectSqlState(post(bob, direct), "PL403");
    await expectSqlState(post(ada, direct), "PL403");
    const other = (await bob.call<Row>("create_room", { name: "mine" })).id;
    await expectSqlState(bob.call("invite_to_room", { room_id: other, invitee_id: ada.id }), "PL404");
    expect(await bob.rows("select from rooms.user_blocks")).toEqual([]);
    await ada.call("unblock_user", { user_id: bob.id });
    expect(await texts(ada, id)).toEqual(["noise"]);
  });
});

describe("the AI's context", () => {
  const context = (roomId: string, audience: string | null = null) =>
    asService<{ content: string; audience_version: string }>(
      "select * from private.room_context($1, 50, $2)",
      [roomId, audience],
    );
  const contents = async (roomId: string, audience?: string) =>
    (await context(roomId, audience)).map(({ content }) => content);

  test("contains only messages visible to every member", async () => {
    const id = await room({ history_is_shared: false, ai_enabled: true });
    await post(ada, id, "before anybody came");
    await bob.call("join_room", { room_id: id });
    await post(ada, id, "before cyd came");
    await cyd.call("join_room", { room_id: id });
    await post(ada, id, "for all");
    await post(bob, id, "by bob");
    await post(ada, id, "psst", { recipients: [bob.id] });
    await ada.call("delete_room_message", { message_id: (await post(ada, id, "oops")).id });
    expect(await contents(id)).toEqual(["for all", "by bob"]);
    expect(await contents(id, bob.id)).toEqual(["before cyd came", "for all", "by bob", "psst"]);
    await cyd.call("block_user", { user_id: bob.id });
    expect(await contents(id)).toEqual(["for all"]);
    await cyd.call("leave_room", { room_id: id });
    expect(await contents(id)).toEqual(["before cyd came", "for all", "by bob"]);
    // Members request the context for all or for themselves.
    expect(await bob.rows("select from rooms.room_context($1)", [id])).toHaveLength(3);
    await expectSqlState(bob.rows("select from rooms.room_context($1, 50, $2)", [id, ada.id]), "PL403");
    await expectSqlState(cyd.rows("select from rooms.room_context($1)", [id]), "PL404");
  });

  test("obeys every policy: each member can read all of it", async () => {
    const id = await room({ ai_enabled: true }, [bob, cyd]);
    for (const person of [ada, bob, cyd]) {
      await post(person, id, `by ${person.id}`);
      await post(person, id, "in confidence", { recipients: [person === ada ? bob.id : ada.id] });
    }
    await bob.call("block_user", { user_id: cyd.id });
    const given = await contents(id);
    expect(given).toEqual([`by ${ada.id}`, `by ${bob.id}`]);
    for (const person of [ada, bob, cyd])
      expect(await texts(person, id)).toEqual(expect.arrayContaining(given));
  });

  test("rejects an answer from before a join unless it is private or has the current audience", async () => {
    const id = await room({ ai_enabled: true, history_is_shared: false }, [bob]);
    await post(ada, id, "our secret");
    const version = (await context(id))[0]!.audience_version;
    await cyd.call("join_room", { room_id: id });
    const answer = (args: string, params: unknown[]) =>
      asService<Row>(`select (m).content from (select private.post_ai_message($1, $2, ${args}) as m) a`, [
        id,
        "You said: our secret",
        ...params,
      ]);
    await expectSqlState(answer("audience_version => $3", [version]), "PL409");
    await answer("audience_version => $3, recipients => $4", [version, [bob.id]]);
    expect(await texts(cyd, id)).toEqual([]);
    expect((await texts(bob, id)).at(-1)).toBe("You said: our secret");
  });
});

describe("live events", () => {
  test("cover every change without gaps, announced with their number at commit", async () => {
    const id = await room({}, [bob]);
    const heard: string[] = [];
    await withClient(db.url("authenticator"), async (listener) => {
      listener.on("notification", ({ payload }) => heard.push(payload!));
      await listener.query("listen plinth_live");
      const message = await post(ada, id);
      await ada.call("edit_room_message", { message_id: message.id, content: "better" });
      await bob.call("react", { message_id: message.id, emoji: "+" });
      await ada.call("delete_room_message", { message_id: message.id });
      await ada.call("restore_room_message", { message_id: message.id });
      await ada.rows("update rooms.chat_rooms set name = 'renamed' where id = $1", [id]);
      await ada.call("set_room_role", { room_id: id, user_id: bob.id, role: "moderator" });
      await bob.call("mark_room_read", { room_id: id });
      await expectSqlState(post(ada, id, ""), "PL422");
      await bob.call("leave_room", { room_id: id });
      await listener.query("select 1");
    });
    const events = await ada.rows<{ sequence: string; kind: string }>(
      "select * from rooms.room_events_after($1, 2)",
      [id],
    );
    expect(events.map(({ sequence, kind }) => [Number(sequence), kind])).toEqual([
      [3, "message_posted"],
      [4, "message_edited"],
      [5, "reactions_changed"],
      [6, "message_deleted"],
      [7, "message_restored"],
      [8, "room_changed"],
      [9, "member_changed"],
      [10, "member_left"],
    ]);
    expect(heard.filter((payload) => payload.startsWith("room:"))).toEqual(
      events.map(({ sequence }) => `room:${id} ${sequence}`),
    );
    const counter = await bob.value("select sequence from rooms.user_event_counters");
    expect(heard.filter((payload) => payload.startsWith("user:")).at(-1)).toBe(`user:${bob.id} ${counter}`);
    expect(await bob.rows("select from rooms.room_events_after($1, 0)", [id])).toEqual([]);
  });
});

describe("the general chat [S9]", () => {
  test("slows everyone but its moderators, who can close it, delete and mute", async () => {
    const say = (person: Person, content = "hello") =>
      person.call<Row>("post_general_chat_message", { content });
    await grantRole(db, ada.id, "moderator");
    // Two seconds, as by default, can pass before the second message arrives.
    await asOwner("update rooms.general_chat_settings set slow_mode_seconds = 86400");
    const message = await say(bob);
    await expectSqlState(say(bob), "PL429");
    const races = await Promise.allSettled(
      Array.from({ length: 5 }, () => withPeer(cyd, (person) => say(person))),
    );
    expect(races.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    await say(ada);
    await say(ada);
    await expectSqlState(cyd.call("delete_general_chat_message", { message_id: message.id }), "PL403");
    await bob.call("edit_general_chat_message", { message_id: message.id, content: "hello!" });
    await ada.call("delete_general_chat_message", { message_id: message.id });
    const kept = "select content from rooms.general_chat_revisions where message_id = $1 order by revision";
    expect(await ada.rows(kept, [message.id])).toEqual([{ content: "hello" }, { content: "hello!" }]);
    expect(await cyd.rows(kept, [message.id])).toEqual([]);
    await ada.rows("insert into rooms.general_chat_mutes (user_id, reason) values ($1, 'noise')", [bob.id]);
    await expectSqlState(say(bob), "PL403");
    expect(await bob.rows("select reason from rooms.general_chat_mutes")).toEqual([{ reason: "noise" }]);
    // A muted moderator needs another one.
    await grantRole(db, cyd.id, "moderator");
    await cyd.rows("insert into rooms.general_chat_mutes (user_id) values ($1)", [ada.id]);
    const unmute = "delete from rooms.general_chat_mutes where user_id = $1 returning user_id";
    expect(await ada.rows(unmute, [ada.id])).toEqual([]);
    await expectSqlState(say(ada), "PL403");
    expect(await cyd.rows(unmute, [ada.id])).toEqual([{ user_id: ada.id }]);
    await asOwner("delete from access.user_roles where user_id = $1", [cyd.id]);
    await ada.rows("update rooms.general_chat_settings set is_open = false");
    await expectSqlState(say(cyd), "PL403");
    await say(ada);
    await ada.rows("update rooms.general_chat_settings set is_open = true");
  });
});

/** The same person on a connection of their own, for races. */
async function withPeer<T>(person: Person, use: (peer: Person) => Promise<T>): Promise<T> {
  const peer = await connectPerson(db, person.id);
  try {
    return await use(peer);
  } finally {
    await peer.close();
  }
}

test("keeps the times of rooms and messages that the owner imports and stamps the next message with now", async () => {
  await withClient(db.url("owner"), async (client) => {
    const [creator] = await makeUsers(db, ["mover"]);
    const { rows } = await client.query<{ id: string }>(
      "insert into rooms.chat_rooms (creator_id, name, room_type) values ($1, 'moved', 'group') returning id",
      [creator],
    );
    const room = rows[0]!.id;
    const post = (content: string, at: string | null) =>
      client.query(
        `insert into rooms.room_messages (room_id, sender_id, sender_type, content, created_at)
         values ($1, $2, 'user', $3, coalesce($4::timestamptz, now()))`,
        [room, creator, content, at],
      );
    const activity = async () =>
      (await client.query("select last_activity_at from rooms.chat_rooms where id = $1", [room])).rows[0]
        .last_activity_at as Date;
    await post("first", "2020-01-02T00:00:00Z");
    await post("second", "2020-03-04T00:00:00Z");
    await post("out of order", "2020-02-01T00:00:00Z");
    expect(await activity()).toEqual(new Date("2020-03-04T00:00:00Z"));
    const messages = await client.query(
      "select content, created_at from rooms.room_messages where room_id = $1 order by sequence",
      [room],
    );
    expect(
      messages.rows.map(({ content, created_at }) => [content, created_at.toISOString().slice(0, 10)]),
    ).toEqual([
      ["first", "2020-01-02"],
      ["second", "2020-03-04"],
      ["out of order", "2020-03-04"],
    ]);
    await post("now", null);
    expect((await activity()).getTime()).toBeGreaterThan(Date.now() - 3_600_000);
  });
});
