import { randomUUID } from "node:crypto";
import { asService, asUser, type PgbenchScript } from "./pgbench-script.ts";
import { chatId, MODEL_ID, PASSWORD, randomChat, roomId, SQL_IDS } from "./seed.ts";
import type { Dialect } from "./servers/names.ts";
import * as SQL from "./servers/sql.ts";

/** An operation in the words of each server, and the scripts that pgbench runs for it. */
export interface Operation {
  readonly name: string;
  readonly documents: Partial<Record<Dialect, string>>;
  readonly variables: (user: number) => Record<string, unknown>;
  /** By their names in the report. */
  readonly scripts?: Readonly<Record<string, PgbenchScript>>;
  /** SQL by which the application's server settles the hold that the answer names; part of the operation. */
  readonly settle?: Partial<Record<Dialect, string>>;
  /** Whether each request continues the one before, with its refresh token. */
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

const RESERVE =
  'mutation ($model: UUID!, $key: String!) { reserveTokens(input: { modelId: $model, maxTokens: "1000", idempotencyKey: $key }) { result { id } } }';
const SETTLE = "select id from private.settle_hold($1, 300, 200)";

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
    scripts: { pgbench: asUser(SQL.DEEP_PAGE) },
  },
  {
    name: "one chat by id",
    documents: {
      plinth: "query ($id: UUID!) { chat(id: $id) { id title updatedAt } }",
      stock: "query ($id: UUID!) { chat: llmChat(rowId: $id) { id: rowId title updatedAt } }",
      mercurius: "query ($id: ID!) { chat(id: $id) { id title updatedAt } }",
    },
    variables: (user) => ({ id: chatId(user, randomChat()) }),
    scripts: { pgbench: asUser(SQL.ONE_ROW, [CHAT]) },
  },
  {
    name: "create a message",
    documents: {
      plinth:
        "mutation ($chatId: UUID!, $content: String!) { createMessage(input: { message: { chatId: $chatId, role: user, content: $content } }) { message { id chatId role content } } }",
      stock:
        'mutation ($chatId: UUID!, $content: String!) { createMessage: createLlmMessage(input: { llmMessage: { chatId: $chatId, role: "user", content: $content } }) { message: llmMessage { id: rowId chatId role content } } }',
      mercurius:
        "mutation ($chatId: ID!, $content: String!) { createMessage(chatId: $chatId, content: $content) { message { id chatId role content } } }",
    },
    variables: (user) => ({ chatId: chatId(user, randomChat()), content: "A question of the usual length." }),
    scripts: { pgbench: asUser(SQL.CREATE_MESSAGE, [CHAT, "'A question of the usual length.'"]) },
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
    scripts: { pgbench: asUser(SQL.CONTENT_PAGE) },
  },
  {
    name: "50 room messages, unread counts",
    documents: {
      plinth:
        "query ($id: UUID!) { chatRoom: room(id: $id) { id name unread { unreadCount mentionCount } messages(first: 50, orderBy: [SEQUENCE_DESC]) { nodes { id sequence content createdAt senderProfile { username } } } } }",
      stock:
        "query ($id: UUID!) { chatRoom: roomsChatRoom(rowId: $id) { id: rowId name unread { unreadCount mentionCount } messages(first: 50, orderBy: [SEQUENCE_DESC]) { nodes { id: rowId sequence content createdAt senderProfile { username } } } } }",
      mercurius:
        "query ($id: ID!) { chatRoom(id: $id) { id name unread { unreadCount mentionCount } messages { nodes { id sequence content createdAt senderProfile { username } } } } }",
    },
    variables: (user) => ({ id: roomId(user) }),
    scripts: { pgbench: asUser(SQL.ROOM_PAGE, [SQL_IDS.room(":u % 50")]) },
  },
  {
    // The user reserves; only the application's server may settle, with SQL. By hand, the ledger is the bare one.
    name: "reserve + settle",
    documents: {
      plinth: RESERVE,
      stock: RESERVE.replace("reserveTokens", "reserveTokens: billingReserveTokens").replace(
        "id }",
        "id: rowId }",
      ),
      mercurius: "mutation ($key: String!) { reserveTokens(key: $key) { result { id } } }",
    },
    variables: () => ({ model: MODEL_ID, key: randomUUID() }),
    settle: { plinth: SETTLE, stock: SETTLE, mercurius: "select bench.settle($1, 500)" },
    scripts: {
      pgbench: asService(
        `select id as got from private.reserve_tokens(${SQL_IDS.user(":u")}, '${MODEL_ID}', 1000, gen_random_uuid()::text)`,
        "select id from private.settle_hold(:got, 300, 200)",
      ),
      "bare ledger": asService(
        `select bench.hold(${SQL_IDS.user(":u")}, gen_random_uuid()::text) as got`,
        "select bench.settle(:got, 500)",
      ),
    },
    varies: true,
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
