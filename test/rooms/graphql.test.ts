import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

// Rooms over HTTP, as a client of Socializer uses them.

let db: TestDatabase;
const asOwner = rowsAs("owner", () => db);
let api: Api;
let ada: SignedIn;
let bob: SignedIn;
let eve: SignedIn;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  [ada, bob, eve] = [await signUp(api, "ada"), await signUp(api, "bob"), await signUp(api, "eve")];
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

/** Runs a query as a user; fails on errors. */
async function ask(person: SignedIn, query: string, variables: Record<string, unknown> = {}) {
  const answer = await api.ask(query, { token: person.token, variables });
  expect(answer.errors).toBeUndefined();
  return answer.data;
}
const refusal = async (person: SignedIn | null, query: string, variables: Record<string, unknown> = {}) =>
  codeOf(await api.ask(query, { token: person?.token, variables }));

const CREATE =
  "mutation ($input: CreateRoomInput!) { createRoom(input: $input) { result { id lastSequence } } }";
const POST = `mutation ($room: UUID!, $content: String!, $key: UUID) {
  postRoomMessage(input: { roomId: $room, content: $content, idempotencyKey: $key }) { result { id sequence } }
}`;
const createRoom = async (input: Record<string, unknown>): Promise<string> =>
  (await ask(ada, CREATE, { input })).createRoom.result.id;

test("creates a room, invites a user, and reads, marks and counts its messages [S6, S7, S8, S10]", async () => {
  const room = await createRoom({ name: "Plans", isAiEnabled: true });
  const invite = await ask(
    ada,
    'mutation ($room: UUID!, $bob: UUID!) { inviteToRoom(input: { roomId: $room, inviteeId: $bob, message: "Come" }) { result { id } } }',
    { room, bob: bob.userId },
  );
  const open = await ask(
    bob,
    "{ roomInvites(filter: { status: { equalTo: pending } }) { nodes { message room { name } inviterProfile { username } } } }",
  );
  expect(open.roomInvites.nodes).toEqual([
    { message: "Come", room: { name: "Plans" }, inviterProfile: { username: "ada" } },
  ]);
  await ask(
    bob,
    "mutation ($id: UUID!) { respondToRoomInvite(input: { inviteId: $id, accept: true }) { result { status } } }",
    { id: invite.inviteToRoom.result.id },
  );
  const key = "6f1d4a53-6e3b-4e5a-9d2a-6a1f2c3b4d5e";
  const first = await ask(ada, POST, { room, content: "Hello @bob", key });
  expect(await ask(ada, POST, { room, content: "Hello @bob", key })).toEqual(first);
  await ask(ada, POST, { room, content: "And more" });

  const list = await ask(
    bob,
    `{ myRooms(first: 5) { nodes {
      name unread { unreadCount mentionCount } myMembership { role }
      lastMessage { content senderProfile { username } }
      members { nodes { role profile { username } } }
      messages(orderBy: [EVENT_SEQUENCE_DESC], first: 50) { nodes { content senderType senderProfile { username } } }
    } } }`,
  );
  expect(list.myRooms.nodes).toEqual([
    {
      name: "Plans",
      unread: { unreadCount: "2", mentionCount: "1" },
      myMembership: { role: "member" },
      lastMessage: { content: "And more", senderProfile: { username: "ada" } },
      members: {
        nodes: expect.arrayContaining([
          { role: "creator", profile: { username: "ada" } },
          { role: "ai", profile: null },
          { role: "member", profile: { username: "bob" } },
        ]),
      },
      messages: {
        nodes: [
          { content: "And more", senderType: "user", senderProfile: { username: "ada" } },
          { content: "Hello @bob", senderType: "user", senderProfile: { username: "ada" } },
        ],
      },
    },
  ]);
  const id = first.postRoomMessage.result.id;
  const marked = await ask(
    bob,
    "mutation ($room: UUID!, $id: UUID!) { markRoomRead(input: { roomId: $room, messageId: $id }) { result { unreadCount mentionCount } } }",
    { room, id },
  );
  expect(marked.markRoomRead.result).toEqual({ unreadCount: "1", mentionCount: "0" });
  await ask(
    bob,
    'mutation ($id: UUID!) { react(input: { messageId: $id, emoji: "👍" }) { result { id } } }',
    { id },
  );
  await ask(
    ada,
    'mutation ($id: UUID!) { editRoomMessage(input: { messageId: $id, content: "Hello all" }) { result { content editedAt } } }',
    { id },
  );
  const message = await ask(
    ada,
    `query ($id: UUID!) { roomMessage(id: $id) {
      content reactions { nodes { emoji profile { username } } } readBy { nodes { profile { username } } }
      mentions { nodes { userId } } revisions { nodes { change content } }
    } }`,
    { id },
  );
  expect(message.roomMessage).toEqual({
    content: "Hello all",
    reactions: { nodes: [{ emoji: "👍", profile: { username: "bob" } }] },
    readBy: { nodes: [{ profile: { username: "bob" } }] },
    mentions: { nodes: [] },
    revisions: { nodes: [{ change: "edited", content: "Hello @bob" }] },
  });
  const search = await ask(bob, '{ searchRoomMessages(query: "hello all") { nodes { content } } }');
  expect(search.searchRoomMessages.nodes).toEqual([{ content: "Hello all" }]);

  // Eve receives nothing, and no difference between this room and a missing one.
  const seen = await ask(
    eve,
    "query ($room: UUID!, $id: UUID!) { room(id: $room) { name } roomMessage(id: $id) { content } roomMessages { nodes { content } } roomMembers { nodes { id } } }",
    { room, id },
  );
  expect(seen).toEqual({
    room: null,
    roomMessage: null,
    roomMessages: { nodes: [] },
    roomMembers: { nodes: [] },
  });
  for (const target of [room, ada.userId])
    expect(await refusal(eve, POST, { room: target, content: "x" })).toBe("NOT_FOUND");
  expect(await refusal(null, POST, { room, content: "x" })).toBe("UNAUTHENTICATED");
  expect(
    await refusal(
      bob,
      "mutation ($id: UUID!) { deleteRoomMessage(input: { messageId: $id }) { result { id } } }",
      { id },
    ),
  ).toBe("FORBIDDEN");
  expect(await refusal(ada, POST, { room, content: "" })).toBe("BAD_USER_INPUT");
});

const SET =
  "mutation ($input: SetRoomPasswordInput!) { setRoomPassword(input: $input) { room { hasPassword } } }";
const ENTER =
  "mutation ($input: JoinRoomWithPasswordInput!) { joinRoomWithPassword(input: $input) { roomMember { role room { name } } } }";

test("admits callers with a room's password, whose hash is like an account's and never readable [S6]", async () => {
  const room = await createRoom({ name: "Vault", isPublic: true });
  const password = "canary-of-the-vault";
  expect(await refusal(bob, SET, { input: { roomId: room, password } })).toBe("NOT_FOUND");
  expect(await refusal(ada, SET, { input: { roomId: room, password: "abc" } })).toBe("BAD_USER_INPUT");
  expect((await ask(ada, SET, { input: { roomId: room, password } })).setRoomPassword.room).toEqual({
    hasPassword: true,
  });
  const join = "mutation ($room: UUID!) { joinRoom(input: { roomId: $room }) { result { id } } }";
  expect(await refusal(bob, join, { room })).toBe("FORBIDDEN");
  expect(await refusal(bob, ENTER, { input: { roomId: room, password: "wrong" } })).toBe(
    "INVALID_CREDENTIALS",
  );
  expect(await refusal(bob, ENTER, { input: { roomId: ada.userId, password } })).toBe("INVALID_CREDENTIALS");
  expect(await refusal(null, ENTER, { input: { roomId: room, password } })).toBe("UNAUTHENTICATED");
  const entered = await ask(bob, ENTER, { input: { roomId: room, password } });
  expect(entered.joinRoomWithPassword.roomMember).toEqual({ role: "member", room: { name: "Vault" } });
  const [{ hash } = { hash: "" }] = await asOwner<{ hash: string }>(
    "select password_hash as hash from private.room_passwords where room_id = $1",
    [room],
  );
  expect(hash).toMatch(/^\$argon2id\$/);
  expect(JSON.stringify(api.logLines)).not.toContain(password);
  await ask(ada, SET, { input: { roomId: room, password: null } });
  await ask(eve, join, { room });
});

test("limits guesses of a room's password per account and counts wrong ones [S6]", async () => {
  const mallory = await signUp(api, "mallory");
  const room = await createRoom({ name: "Guess me", isPublic: true });
  // In the quarter of an hour that the rule has, a guess could count for less before the next one is made.
  await asOwner(
    "update security.rate_limit_rules set window_length = '366 days' where rule_name = 'room_password_per_account'",
  );
  await ask(ada, SET, { input: { roomId: room, password: "not easy" } });
  const codes: string[] = [];
  for (let i = 0; i < 11; i++)
    codes.push(await refusal(mallory, ENTER, { input: { roomId: room, password: `guess ${i}` } }));
  expect(codes.slice(0, 10)).toEqual(Array(10).fill("INVALID_CREDENTIALS"));
  expect(codes[10]).toBe("RATE_LIMITED");
  expect(await refusal(mallory, ENTER, { input: { roomId: room, password: "not easy" } })).toBe(
    "RATE_LIMITED",
  );
});

test("enforces slow mode in the general chat and reports the waiting time [S9]", async () => {
  const say = 'mutation { postGeneralChatMessage(input: { content: "hello" }) { result { content } } }';
  // Two seconds, as by default, can pass before the second message arrives.
  await asOwner("update rooms.general_chat_settings set slow_mode_seconds = 86400");
  await ask(ada, say);
  const answer = await api.ask(say, { token: ada.token });
  expect(codeOf(answer)).toBe("RATE_LIMITED");
  expect(answer.errors?.[0]?.extensions.hint).toMatch(/^Try again in 8[56]\d\d\d seconds\.$/);
  const read = await ask(
    bob,
    "{ generalChatMessages(last: 10) { nodes { content senderProfile { username } } } }",
  );
  expect(read.generalChatMessages.nodes).toEqual([{ content: "hello", senderProfile: { username: "ada" } }]);
});
