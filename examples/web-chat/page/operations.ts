import { graphql, type ResultOf } from "plinth/client/graphql";

// Everything that the page asks the server. The compiler reads the results' types from these texts.

/** The rows of a connection; empty while it is being loaded. */
export function nodesOf<T>(connection: { nodes: readonly (T | null)[] } | null | undefined): readonly T[] {
  return connection?.nodes.filter((node) => node !== null) ?? [];
}

export const ACCOUNT = graphql(`query {
  currentUser { username role tier mfaFactors(first: 20) { nodes { id kind name } } }
  currentSubscription { status renewsOn plan { displayName } }
  tokenBalance { available held usedThisPeriod isUnlimited periodEndsAt }
}`);
export type Account = ResultOf<typeof ACCOUNT>;

export const MODELS = graphql(`query {
  models(first: 50) { nodes { id displayName provider { apiUrl } } }
}`);

export const CHATS = graphql(`query { chats(first: 30, orderBy: [UPDATED_AT_DESC]) { nodes { id title } } }`);
export const CHAT = graphql(`query ($id: UUID!) {
  chat(id: $id) {
    activePath(first: 50) { nodes { id role content thinking state errorCode tokensUsed } }
  }
}`);

export const MY_ROOMS = graphql(`query { myRooms(first: 30) { nodes { id name } } }`);
export const PUBLIC_ROOMS = graphql(`query {
  rooms(first: 30, filter: { isPublic: { equalTo: true } }) { nodes { id name myMembership { id } } }
}`);
export const CREATE_ROOM = graphql(`mutation ($name: String!, $key: UUID!) {
  createRoom(input: { name: $name, isPublic: true, isHistoryShared: true, idempotencyKey: $key }) { result { id } }
}`);
export const JOIN_ROOM = graphql(`mutation ($room: UUID!) {
  joinRoom(input: { roomId: $room }) { result { roomId } }
}`);
export const SET_ROOM_MODEL = graphql(`mutation ($room: UUID!, $model: UUID, $isAiEnabled: Boolean!) {
  updateRoom(input: { id: $room, patch: { modelId: $model, isAiEnabled: $isAiEnabled } }) { room { id } }
}`);
export const UNREAD_COUNTS = graphql(`subscription {
  unreadCounts { isWhole counts { roomId unreadCount } }
}`);

const ROOM_MESSAGE = graphql(`fragment RoomMessageParts on RoomMessage {
  id sequence content isDeleted senderType senderProfile { id username }
}`);
export type RoomMessage = ResultOf<typeof ROOM_MESSAGE>;

export const ROOM = graphql(
  `query ($room: UUID!) {
    room(id: $room) { name modelId lastEventSequence myMembership { role } }
    recentRoomMessages(roomId: $room, first: 50) { nodes { ...RoomMessageParts } }
  }`,
  [ROOM_MESSAGE],
);
export const ROOM_EVENTS = graphql(
  `subscription ($room: UUID!, $after: BigInt) {
    roomEvents(roomId: $room, after: $after) { sequence events { kind message { ...RoomMessageParts } } }
  }`,
  [ROOM_MESSAGE],
);
export const ROOM_ANSWER = graphql(`subscription ($room: UUID!, $after: BigInt) {
  roomAnswer(roomId: $room, after: $after) { sequence contents isNew state errorCode }
}`);
export const TYPING = graphql(`subscription ($room: UUID!) {
  typing(roomId: $room) { members { profile { id username } } }
}`);
export const SET_TYPING = graphql(
  `mutation ($room: UUID!, $isTyping: Boolean!) {
  setTyping(input: { roomId: $room, isTyping: $isTyping }) { expiresAt }
}`,
);
export const POST = graphql(`mutation ($room: UUID!, $content: String!, $key: UUID!) {
  postRoomMessage(input: { roomId: $room, content: $content, idempotencyKey: $key }) { result { id } }
}`);
export const MARK_READ = graphql(`mutation ($room: UUID!) {
  markRoomRead(input: { roomId: $room }) { result { unreadCount } }
}`);

export const MEMORIES = graphql(`query { memories(first: 50) { nodes { id text } } }`);
export const REMEMBER = graphql(
  `mutation ($text: String!) { createMemory(input: { text: $text }) { memory { id } } }`,
);
export const FORGET = graphql(`mutation ($id: UUID!) { deleteMemory(input: { id: $id }) { id } }`);
export const RECALL = graphql(`query ($question: String!) {
  recallMemories(query: $question, first: 5) { memory { text } }
}`);
export const SET_SYSTEM_PROMPT = graphql(`mutation ($chatId: UUID!, $content: String!, $title: String!) {
  createMessage(input: { message: { chatId: $chatId, role: system, content: $content } }) { message { id } }
  updateChat(input: { id: $chatId, patch: { title: $title } }) { chat { id } }
}`);
