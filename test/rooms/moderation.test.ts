import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { grantRole } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

// Direct rooms, roles, reading positions and deleted messages over HTTP.

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let bob: SignedIn;
let eve: SignedIn;
let moderator: SignedIn;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  [ada, bob, eve, moderator] = [
    await signUp(api, "ada"),
    await signUp(api, "bob"),
    await signUp(api, "eve"),
    await signUp(api, "moderator"),
  ];
  await grantRole(db, moderator.userId, "moderator");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

type Input = Record<string, unknown>;
const send = (person: SignedIn, call: string, input: Input) => {
  const [name, selection = ""] = call.split(/ (.*)/);
  const type = `${name![0]!.toUpperCase()}${name!.slice(1)}Input!`;
  return api.ask(`mutation ($input: ${type}) { ${name}(input: $input) { result ${selection} } }`, {
    token: person.token,
    variables: { input },
  });
};
/** Calls a mutation as in `call`: its name and the selection of its result. */
async function run(person: SignedIn, call: string, input: Input) {
  const answer = await send(person, call, input);
  expect(answer.errors).toBeUndefined();
  return answer.data[call.split(" ")[0]!].result;
}
const refusal = async (person: SignedIn, call: string, input: Input) =>
  codeOf(await send(person, call, input));
async function ask(person: SignedIn, query: string, variables: Input = {}) {
  const answer = await api.ask(query, { token: person.token, variables });
  expect(answer.errors).toBeUndefined();
  return answer.data;
}
const post = async (person: SignedIn, roomId: string, content: string): Promise<string> =>
  (await run(person, "postRoomMessage { id }", { roomId, content })).id;
/** A public room of ada in which bob is. */
async function roomOfTwo(): Promise<string> {
  const { id } = await run(ada, "createRoom { id }", { name: "Orchard", isPublic: true });
  await run(bob, "joinRoom { id }", { roomId: id });
  return id;
}

test("createDirectRoom returns the same room to both users, and none to a blocked user", async () => {
  const { id } = await run(ada, "createDirectRoom { id }", { userId: bob.userId });
  expect(await run(bob, "createDirectRoom { id roomType }", { userId: ada.userId })).toEqual({
    id,
    roomType: "direct",
  });
  await run(bob, "blockUser", { userId: eve.userId });
  expect(await refusal(eve, "createDirectRoom { id }", { userId: bob.userId })).toBe("NOT_FOUND");
  expect(await run(bob, "unblockUser", { userId: eve.userId })).toBe(true);
  expect(await run(bob, "unblockUser", { userId: eve.userId })).toBe(false);
  expect(await run(eve, "createDirectRoom { roomType }", { userId: bob.userId })).toEqual({
    roomType: "direct",
  });
});

test("setRoomMemberRole lets the creator name a moderator, and no other member", async () => {
  const roomId = await roomOfTwo();
  const promotion = { roomId, userId: bob.userId, role: "moderator" };
  expect(await refusal(bob, "setRoomMemberRole { role }", promotion)).toBe("FORBIDDEN");
  expect(await refusal(eve, "setRoomMemberRole { role }", promotion)).toBe("NOT_FOUND");
  expect(await run(ada, "setRoomMemberRole { role }", promotion)).toEqual({ role: "moderator" });
});

test("restoreRoomMessage restores the text of a deleted message for its author only", async () => {
  const roomId = await roomOfTwo();
  const messageId = await post(bob, roomId, "Pears");
  await run(bob, "deleteRoomMessage { id }", { messageId });
  const text = () =>
    ask(ada, "query ($id: UUID!) { roomMessage(id: $id) { content isDeleted } }", { id: messageId });
  expect((await text()).roomMessage).toEqual({ content: "", isDeleted: true });
  expect(await refusal(eve, "restoreRoomMessage { id }", { messageId })).toBe("NOT_FOUND");
  await run(bob, "restoreRoomMessage { id }", { messageId });
  expect((await text()).roomMessage).toEqual({ content: "Pears", isDeleted: false });
});

test("markRoomUnread moves the reading position to before a message", async () => {
  const roomId = await roomOfTwo();
  await post(ada, roomId, "one");
  const messageId = await post(ada, roomId, "two");
  await run(bob, "markRoomRead { unreadCount }", { roomId, messageId });
  expect(await run(bob, "markRoomUnread { unreadCount }", { roomId, messageId })).toEqual({
    unreadCount: "1",
  });
  expect(await refusal(eve, "markRoomUnread { unreadCount }", { roomId, messageId })).toBe("NOT_FOUND");
});

test("revokeRoomInvite revokes an open invite for the inviter and rejects the invitee", async () => {
  const { id: roomId } = await run(ada, "createRoom { id }", { name: "Plans" });
  const { id: inviteId } = await run(ada, "inviteToRoom { id }", { roomId, inviteeId: eve.userId });
  expect(await refusal(eve, "revokeRoomInvite", { inviteId })).toBe("NOT_FOUND");
  await run(ada, "revokeRoomInvite", { inviteId });
  expect(await refusal(eve, "respondToRoomInvite { status }", { inviteId, accept: true })).toBe("NOT_FOUND");
});

test("recentRoomMessages returns the newest first, roomContext the oldest first", async () => {
  const roomId = await roomOfTwo();
  for (const content of ["one", "two", "three"]) await post(ada, roomId, content);
  const query = `query ($id: UUID!) {
    recentRoomMessages(roomId: $id, maxCount: 2) { nodes { content } }
    roomContext(roomId: $id, maxCount: 2) { nodes { content senderName } }
  }`;
  expect(await ask(bob, query, { id: roomId })).toEqual({
    recentRoomMessages: { nodes: [{ content: "three" }, { content: "two" }] },
    roomContext: {
      nodes: [
        { content: "two", senderName: "ada" },
        { content: "three", senderName: "ada" },
      ],
    },
  });
  expect(
    codeOf(
      await api.ask("query ($id: UUID!) { roomContext(roomId: $id) { totalCount } }", {
        token: eve.token,
        variables: { id: roomId },
      }),
    ),
  ).toBe("NOT_FOUND");
});

test("a message of the general chat is edited by its author, and deleted by its author or a moderator", async () => {
  const { id: messageId } = await run(ada, "postGeneralChatMessage { id }", { content: "Good morning" });
  const edit = { messageId, content: "Good evening" };
  expect(await refusal(bob, "editGeneralChatMessage { content }", edit)).toBe("FORBIDDEN");
  expect(await run(ada, "editGeneralChatMessage { content }", edit)).toEqual({ content: "Good evening" });
  expect(await refusal(bob, "deleteGeneralChatMessage { id }", { messageId })).toBe("FORBIDDEN");
  expect(await run(moderator, "deleteGeneralChatMessage { content }", { messageId })).toEqual({
    content: "",
  });
  expect(await refusal(ada, "editGeneralChatMessage { content }", edit)).toBe("CONFLICT");
});
