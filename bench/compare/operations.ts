import { chatId, PASSWORD, randomChat, roomId, SQL_IDS } from "./seed.ts";
import * as SQL from "./servers/sql.ts";
import type { ServerName } from "./servers/start.ts";

/** A GraphQL operation: its document for each server that has it, its variables, and the SQL that pgbench runs for it. */
export interface Operation {
  readonly name: string;
  readonly documents: Partial<Record<ServerName, string>>;
  readonly variables: (user: number) => Record<string, unknown>;
  /** SQL whose $1 and $2 are these SQL expressions over pgbench's variable :u. */
  readonly sql?: { readonly text: string; readonly values: readonly string[] };
  /** A client's token, for operations that continue the one before. */
  readonly chained?: true;
  /** Whether the caller signs in with the operation and sends no token. */
  readonly isVisitor?: true;
  /** Answers differ in these values, which the comparison of answers skips. */
  readonly varies?: true;
}

const CHAT = SQL_IDS.chat(":u * 100 + :c");
const deepPage = (chats: string, messages: string, id: string) =>
  `{ ${chats}(first: 20, orderBy: [UPDATED_AT_DESC]) { nodes { ${id} title updatedAt ${messages}(first: 10, orderBy: [CREATED_AT_DESC]) {
    nodes { ${id} role content createdAt model { ${id} displayName } } } } } }`;

export const OPERATIONS: readonly Operation[] = [
  {
    name: "20 chats × 10 messages + model",
    documents: {
      plinth: deepPage("chats", "messages", "id"),
      stock: deepPage("chats: llmChats", "messages: llmMessagesByChatIdAndUserId", "id: rowId"),
      mercurius:
        "{ chats { nodes { id title updatedAt messages { nodes { id role content createdAt model { id displayName } } } } } }",
    },
    variables: () => ({}),
    sql: { text: SQL.DEEP_PAGE, values: [] },
  },
  {
    name: "one chat by id",
    documents: {
      plinth: "query ($id: UUID!) { chat(id: $id) { id title updatedAt } }",
      stock: "query ($id: UUID!) { chat: llmChat(rowId: $id) { id: rowId title updatedAt } }",
      mercurius: "query ($id: ID!) { chat(id: $id) { id title updatedAt } }",
    },
    variables: (user) => ({ id: chatId(user, randomChat()) }),
    sql: { text: SQL.ONE_ROW, values: [CHAT] },
  },
  {
    name: "create a message",
    documents: {
      plinth:
        'mutation ($chatId: UUID!, $content: String!) { createMessage(input: { message: { chatId: $chatId, role: "user", content: $content } }) { message { id chatId role content } } }',
      stock:
        'mutation ($chatId: UUID!, $content: String!) { createMessage: createLlmMessage(input: { llmMessage: { chatId: $chatId, role: "user", content: $content } }) { message: llmMessage { id: rowId chatId role content } } }',
      mercurius:
        "mutation ($chatId: ID!, $content: String!) { createMessage(chatId: $chatId, content: $content) { message { id chatId role content } } }",
    },
    variables: (user) => ({ chatId: chatId(user, randomChat()), content: "A question of the usual length." }),
    sql: { text: SQL.CREATE_MESSAGE, values: [CHAT, "'A question of the usual length.'"] },
    varies: true,
  },
  {
    name: "50 content items with access",
    documents: {
      plinth:
        "{ contentItems(first: 50, orderBy: [AVAILABLE_FROM_DESC]) { nodes { id title level access { hasAccess reason } } } }",
      stock:
        "{ contentItems: learningContentItems(first: 50, orderBy: [AVAILABLE_FROM_DESC]) { nodes { id: rowId title level access { hasAccess reason } } } }",
      mercurius: "{ contentItems { nodes { id title level access { hasAccess reason } } } }",
    },
    variables: () => ({}),
    sql: { text: SQL.CONTENT_PAGE, values: [] },
  },
  {
    name: "50 room messages, unread counts",
    documents: {
      plinth:
        "query ($id: UUID!) { chatRoom(id: $id) { id name unread { unreadCount mentionCount } messages(first: 50, orderBy: [SEQUENCE_DESC]) { nodes { id sequence content createdAt senderProfile { username } } } } }",
      stock:
        "query ($id: UUID!) { chatRoom: roomsChatRoom(rowId: $id) { id: rowId name unread { unreadCount mentionCount } messages(first: 50, orderBy: [SEQUENCE_DESC]) { nodes { id: rowId sequence content createdAt senderProfile { username } } } } }",
      mercurius:
        "query ($id: ID!) { chatRoom(id: $id) { id name unread { unreadCount mentionCount } messages { nodes { id sequence content createdAt senderProfile { username } } } } }",
    },
    variables: (user) => ({ id: roomId(user) }),
    sql: { text: SQL.ROOM_PAGE, values: [SQL_IDS.room(":u % 50")] },
  },
  {
    name: "sign-in",
    documents: {
      plinth:
        "mutation ($name: String!, $password: String!) { login(input: { identifier: $name, password: $password }) { accessToken refreshToken } }",
      mercurius:
        "mutation ($name: String!, $password: String!) { login(identifier: $name, password: $password) { accessToken refreshToken } }",
    },
    variables: (user) => ({ name: `bench${user}`, password: PASSWORD }),
    isVisitor: true,
    varies: true,
  },
  {
    name: "refresh",
    documents: {
      plinth:
        "mutation ($token: String!) { refresh(input: { refreshToken: $token }) { accessToken refreshToken } }",
      mercurius: "mutation ($token: String!) { refresh(token: $token) { accessToken refreshToken } }",
    },
    variables: () => ({}),
    chained: true,
    isVisitor: true,
    varies: true,
  },
];
