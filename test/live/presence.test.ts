import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import type { Client } from "graphql-ws";
import { roleName } from "../../src/config/roles.ts";
import { deleteExpiredPresence } from "../../src/jobs/delete-expired-presence.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, expectSqlState, type TestDatabase, withClient } from "../support/database.ts";
import { connect, type Heard, listen, makeRoom, post } from "./support.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let bob: SignedIn;
let eve: SignedIn;
const clients: Client[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
  bob = await signUp(api, "bob");
  eve = await signUp(api, "eve");
  // The API's announcements last for seconds, and must not end before a test lets them; see expire.
  await withClient(db.url("owner"), async (owner) => {
    await owner.query(`create function rooms.last_longer() returns trigger language plpgsql as $$
      begin new.expires_at := clock_timestamp() + interval '1 hour'; return new; end $$`);
    for (const table of ["typing", "presence"])
      await owner.query(
        `create trigger last_longer before insert or update on rooms.${table} for each row
         when (session_user = '${roleName(db.rolePrefix, "authenticator")}' and isfinite(new.expires_at))
         execute function rooms.last_longer()`,
      );
  });
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.dispose();
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

async function hear(user: SignedIn, query: string, variables?: Record<string, unknown>): Promise<Heard> {
  const client = connect(api, user);
  clients.push(client);
  const heard = listen(client, query, variables);
  await until(() => heard.answers.length > 0 || heard.ended !== undefined);
  return heard;
}

const setTyping = ({ token }: SignedIn, room: string, isTyping = true) =>
  api.ask(
    "mutation ($room: UUID!, $is: Boolean) { setTyping(input: { roomId: $room, isTyping: $is }) { expiresAt } }",
    {
      token,
      variables: { room, is: isTyping },
    },
  );
const setPresence = ({ token }: SignedIn, status: string | null) =>
  api.ask("mutation ($status: PresenceStatus) { setPresence(input: { status: $status }) { expiresAt } }", {
    token,
    variables: { status },
  });
/** Lets rows expire shortly, as if the time had passed. */
const expire = (table: string, ms = 300) =>
  withClient(db.url("owner"), (owner) =>
    owner.query(`update rooms.${table} set expires_at = clock_timestamp() + interval '${ms} milliseconds'`),
  );

const TYPING =
  "subscription ($room: UUID!) { typing(roomId: $room) { members { userId profile { username } } } }";
const names = ({ answers }: Heard) =>
  answers.map(({ members }) =>
    members.map((member: { profile: { username: string } }) => member.profile.username),
  );

describe("typing", () => {
  test("is sent to the other members once, and again when it ends", async () => {
    const room = await makeRoom(api, [ada, bob]);
    const [adas, bobs] = [await hear(ada, TYPING, { room }), await hear(bob, TYPING, { room })];
    await setTyping(ada, room);
    await until(() => bobs.answers.length === 2);
    await setTyping(ada, room);
    await setTyping(ada, room, false);
    await until(() => bobs.answers.length === 3);
    expect(names(bobs)).toEqual([[], ["ada"], []]);
    expect(names(adas)).toEqual([[]]);
  });

  test("expires without a further call", async () => {
    const room = await makeRoom(api, [ada, bob]);
    // A busy machine may need longer to subscribe.
    let bobs: Heard;
    for (let ms = 300; ; ms *= 4) {
      await setTyping(ada, room);
      await expire("typing", ms);
      bobs = await hear(bob, TYPING, { room });
      if (names(bobs)[0]!.length > 0) break;
    }
    await until(() => bobs.answers.length === 2);
    expect(names(bobs)).toEqual([["ada"], []]);
  });

  test("is available to members only", async () => {
    const room = await makeRoom(api, [ada]);
    expect(codeOf(await setTyping(eve, room))).toBe("NOT_FOUND");
    expect((await hear(eve, TYPING, { room })).ended).toBe("NOT_FOUND");
    const { errors } = await api.ask(
      "mutation ($room: UUID!) { setTyping(input: { roomId: $room }) { expiresAt } }",
      { variables: { room } },
    );
    expect(errors?.[0]?.extensions.code).toBe("UNAUTHENTICATED");
  });

  test("ends with the membership", async () => {
    const room = await makeRoom(api, [ada, bob]);
    const adas = await hear(ada, TYPING, { room });
    await setTyping(bob, room);
    await until(() => adas.answers.length === 2);
    await api.ask("mutation ($room: UUID!) { leaveRoom(input: { roomId: $room }) { clientMutationId } }", {
      token: bob.token,
      variables: { room },
    });
    const { rows } = await withClient(db.url("owner"), (owner) =>
      owner.query("select from rooms.typing where room_id = $1", [room]),
    );
    expect(rows).toEqual([]);
  });
});

describe("presence", () => {
  const PRESENCE = `subscription ($room: UUID!) {
    presence(roomId: $room) { members { status profile { username } } }
  }`;
  const seen = ({ answers }: Heard) =>
    answers
      .at(-1)
      .members.map(
        (one: { status: string; profile: { username: string } }) => `${one.profile.username} ${one.status}`,
      );

  test("is sent to every room of the user when it changes and when it expires", async () => {
    const rooms = [await makeRoom(api, [ada, bob]), await makeRoom(api, [ada, bob])];
    const heard = [];
    for (const room of rooms) heard.push(await hear(bob, PRESENCE, { room }));
    await setPresence(ada, "online");
    for (const one of heard) await until(() => one.answers.length === 2);
    await setPresence(ada, "online");
    await setPresence(ada, "away");
    for (const one of heard) await until(() => one.answers.length === 3);
    expect(heard.map(seen)).toEqual([["ada away"], ["ada away"]]);
    // A busy machine may need longer to subscribe.
    let late: Heard;
    for (let ms = 300; ; ms *= 4) {
      await expire("presence", ms);
      late = await hear(bob, PRESENCE, { room: rooms[0] });
      if (seen(late).length > 0) break;
    }
    expect(seen(late)).toEqual(["ada away"]);
    await until(() => seen(late).length === 0);
  });

  test("of users in other rooms is not sent", async () => {
    const [theirs, mine] = [await makeRoom(api, [ada]), await makeRoom(api, [bob])];
    await setPresence(ada, "online");
    expect((await hear(bob, PRESENCE, { room: theirs })).ended).toBe("NOT_FOUND");
    expect(seen(await hear(bob, PRESENCE, { room: mine }))).toEqual([]);
    await setPresence(ada, "offline");
    expect(seen(await hear(ada, PRESENCE, { room: theirs }))).toEqual([]);
  });

  test("rejects unknown statuses", async () => {
    for (const status of ["busy", "", "ONLINE", null])
      expect(codeOf(await setPresence(ada, status))).toBe("BAD_USER_INPUT");
    await expectSqlState(
      withClient(db.url("owner"), (owner) => owner.query("select rooms.set_presence('online')")),
      "PL401",
    );
  });

  test("is deleted by its job after it expires, and not before", async () => {
    const room = await makeRoom(api, [ada, bob]);
    await withClient(db.url("owner"), async (owner) => {
      await owner.query("delete from rooms.presence");
      await owner.query("delete from rooms.typing");
      await owner.query(
        "insert into rooms.presence values ($1, 'online', now() - interval '1 minute'), ($2, 'online', now() + interval '1 hour')",
        [ada.userId, bob.userId],
      );
      await owner.query(
        "insert into rooms.typing values ($1, $2, now() - interval '1 minute'), ($1, $3, now() + interval '1 hour')",
        [room, ada.userId, bob.userId],
      );
      await withClient(db.url("worker"), (worker) =>
        deleteExpiredPresence({
          query: async (text: string, values?: unknown[]) => (await worker.query(text, values)).rows,
          signal: new AbortController().signal,
        } as never),
      );
      for (const table of ["presence", "typing"]) {
        const { rows } = await owner.query(`select user_id from rooms.${table}`);
        expect(rows).toEqual([{ user_id: bob.userId }]);
      }
    });
  });
});

describe("unreadCounts", () => {
  const UNREAD = "subscription { unreadCounts { isWhole counts { roomId unreadCount mentionCount } } }";

  test("cover all rooms at first, then the changed rooms, and include newly joined rooms", async () => {
    const mallory = await signUp(api, "mallory");
    const rooms = [await makeRoom(api, [ada, mallory]), await makeRoom(api, [ada, mallory])];
    const heard = await hear(mallory, UNREAD);
    expect(heard.answers[0].isWhole).toBe(true);
    expect(heard.answers[0].counts).toHaveLength(2);
    await post(api, ada, rooms[0]!, "hello @mallory");
    await until(() => heard.answers.length === 2);
    expect(heard.answers[1]).toEqual({
      isWhole: false,
      counts: [{ roomId: rooms[0], unreadCount: "1", mentionCount: "1" }],
    });
    const joined = await makeRoom(api, [ada, mallory]);
    await until(() => heard.answers.some(({ counts }) => counts.length === 3));
    await post(api, ada, joined, "and here");
    await until(() =>
      heard.answers.some(({ counts }) =>
        counts.some(
          ({ roomId, unreadCount }: { roomId: string; unreadCount: string }) =>
            roomId === joined && unreadCount === "1",
        ),
      ),
    );
    const marked = await api.ask(
      "mutation ($room: UUID!) { markRoomRead(input: { roomId: $room }) { clientMutationId } }",
      { token: mallory.token, variables: { room: rooms[0] } },
    );
    expect(marked.errors).toBeUndefined();
    await until(() => {
      const last = heard.answers.at(-1);
      return (
        last.isWhole &&
        last.counts.find(({ roomId }: { roomId: string }) => roomId === rooms[0]).unreadCount === "0"
      );
    });
  });
});
