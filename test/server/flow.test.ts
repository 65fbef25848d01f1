import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { type Api, codeOf, PASSWORD, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

/** R9 of the systems: the path of a person over HTTP, from registration to paging. */

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let eve: SignedIn;

/** Names that nobody else may see in any answer. */
const SECRETS = [
  "Ada's secret chat",
  "the secret question",
  "a secret thought",
  "secret_tool",
  "secret-image",
];
const MESSAGES = 1_000;

beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), (client) =>
    client.query(
      `with providers as (
         insert into llm.model_providers (name) values ('Example AI') returning id
       ), models as (
         insert into llm.models (provider_id, name, display_name, is_public)
         select p.id, m.name, m.display_name, m.is_public
         from providers p
         cross join (values ('open-1', 'Open One', true), ('closed-1', 'Closed One', false))
           as m (name, display_name, is_public)
         returning id, name
       )
       insert into billing.model_prices
         (model_id, input_price_per_million_tokens, output_price_per_million_tokens, effective_from, effective_to)
       select m.id, p.input, p.output, p.effective_from, p.effective_to
       from models m
       cross join (values
         (3.0, 15.0, null, timestamptz '2024-01-01'),
         (2.5, 10.0, timestamptz '2024-01-01', null)
       ) as p (input, output, effective_from, effective_to)`,
    ),
  );
  api = await startApi(db);
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

test("register signs in and shows the new account [R9]", async () => {
  const answer = await api.ask(
    `mutation {
      register(input: { username: "Ada", email: "Ada@Example.org", displayName: "Ada L.", password: "${PASSWORD}", deviceName: "laptop" }) {
        accessToken accessTokenExpiresAt refreshToken refreshTokenExpiresAt
        user { id username email role settings { displayName } sessions { nodes { deviceName isCurrent } } }
        query { currentUser { username } }
      }
    }`,
  );
  const { accessToken, refreshToken, user, ...rest } = answer.data.register;
  ada = { userId: user.id, token: accessToken, refreshToken };
  expect(user).toMatchObject({
    username: "ada",
    email: "ada@example.org",
    role: "user",
    settings: { displayName: "Ada L." },
    sessions: { nodes: [{ deviceName: "laptop", isCurrent: true }] },
  });
  expect(rest.query).toEqual({ currentUser: { username: "ada" } });
  expect(new Date(rest.accessTokenExpiresAt).getTime()).toBeGreaterThan(Date.now());
  expect(new Date(rest.refreshTokenExpiresAt).getTime()).toBeGreaterThan(
    new Date(rest.accessTokenExpiresAt).getTime(),
  );
  expect(answer.headers.get("cache-control")).toBe("no-store");
  eve = await signUp(api, "eve");
});

test("login returns the current user by the token alone [R9]", async () => {
  const answer = await api.ask(
    `mutation { login(input: { identifier: "ADA@example.org", password: "${PASSWORD}" }) { accessToken user { username } } }`,
  );
  expect(answer.data.login.user).toEqual({ username: "ada" });
  const { data } = await api.ask("{ currentUser { id username } }", { token: answer.data.login.accessToken });
  expect(data.currentUser).toEqual({ id: ada.userId, username: "ada" });
});

const CATALOGUE = `{
  models(orderBy: NAME_ASC) {
    nodes { name displayName provider { name } price { inputPricePerMillionTokens outputPricePerMillionTokens currency }
      currentModelPrices { nodes { inputPricePerMillionTokens } } }
  }
}`;
const OPEN_MODEL = {
  name: "open-1",
  displayName: "Open One",
  provider: { name: "Example AI" },
  price: {
    inputPricePerMillionTokens: "2.500000",
    outputPricePerMillionTokens: "10.000000",
    currency: "USD",
  },
  currentModelPrices: { nodes: [{ inputPricePerMillionTokens: "2.500000" }] },
};

test("the catalogue shows public models with today's price, to users and visitors alike", async () => {
  expect((await api.ask(CATALOGUE, { token: ada.token })).data.models.nodes).toEqual([OPEN_MODEL]);
  expect((await api.ask(CATALOGUE)).data.models.nodes).toEqual([OPEN_MODEL]);
});

describe("a chat", () => {
  let chat: { id: string; nodeId: string };
  let message: { id: string; nodeId: string };

  test("is created and accepts messages with thinking, tool calls, images and tokens", async () => {
    const created = await api.ask(
      `mutation { createChat(input: { chat: { title: "Ada's secret chat" } }) { chat { id nodeId userId isArchived } } }`,
      { token: ada.token },
    );
    chat = created.data.createChat.chat;
    expect(created.data.createChat.chat).toMatchObject({ userId: ada.userId, isArchived: false });

    const { data: models } = await api.ask("{ models { nodes { id } } }", { token: ada.token });
    const input = {
      chatId: chat.id,
      role: "assistant",
      content: "the secret question",
      thinking: "a secret thought",
      toolCalls: [{ name: "secret_tool", arguments: { depth: 2 } }],
      images: ["data:image/png;base64,secret-image"],
      modelId: models.models.nodes[0].id,
      tokensUsed: 4321,
      extendedMetadata: { latencyMs: 12.5 },
    };
    const answer = await api.ask(
      `mutation ($message: MessageInput!) {
        createMessage(input: { message: $message }) {
          message { id nodeId role content thinking toolCalls images modelId tokensUsed extendedMetadata chatId
            chat { title } model { name } }
        }
      }`,
      { token: ada.token, variables: { message: input } },
    );
    message = answer.data.createMessage.message;
    expect(message).toMatchObject({
      ...input,
      chat: { title: "Ada's secret chat" },
      model: { name: "open-1" },
    });
  });

  test(`of ${MESSAGES} messages is paged completely, in order, without a gap or a repeat`, async () => {
    for (let sent = 1; sent < MESSAGES; sent += 9) {
      const count = Math.min(9, MESSAGES - sent);
      const fields = Array.from(
        { length: count },
        (_, i) =>
          `m${i}: createMessage(input: { message: { chatId: $chat, role: user, content: "message ${sent + i}" } }) { clientMutationId }`,
      );
      const answer = await api.ask(`mutation ($chat: UUID!) { ${fields.join("\n")} }`, {
        token: ada.token,
        variables: { chat: chat.id },
      });
      expect(answer.errors).toBeUndefined();
    }

    const contents: string[] = [];
    let after: string | null = null;
    let pages = 0;
    do {
      const { data } = await api.ask(
        `query ($chat: UUID!, $after: Cursor) {
          chat(id: $chat) { messages(first: 100, after: $after) { totalCount nodes { content } pageInfo { hasNextPage endCursor } } }
        }`,
        { token: ada.token, variables: { chat: chat.id, after } },
      );
      const { totalCount, nodes, pageInfo } = data.chat.messages;
      expect(totalCount).toBe(MESSAGES);
      contents.push(...nodes.map(({ content }: { content: string }) => content));
      after = pageInfo.hasNextPage ? pageInfo.endCursor : null;
      pages++;
    } while (after !== null);
    expect(pages).toBe(10);
    expect(contents).toEqual([
      "the secret question",
      ...Array.from({ length: MESSAGES - 1 }, (_, i) => `message ${i + 1}`),
    ]);
  });

  test("is read backwards from its end", async () => {
    const { data } = await api.ask(
      `query ($chat: UUID!) { chat(id: $chat) { messages(last: 3) { nodes { content } pageInfo { hasPreviousPage } } } }`,
      { token: ada.token, variables: { chat: chat.id } },
    );
    expect(data.chat.messages).toEqual({
      nodes: [{ content: "message 997" }, { content: "message 998" }, { content: "message 999" }],
      pageInfo: { hasPreviousPage: true },
    });
  });

  describe.each([
    ["another user", () => eve.token as string | undefined],
    ["a visitor", () => undefined],
  ])("requested by %s", (_who, token) => {
    /** Every access path: by id, node id, list, filter, relation, count. */
    const readings = () => [
      `{ chat(id: "${chat.id}") { title } }`,
      `{ node(nodeId: "${chat.nodeId}") { ... on Chat { title } } }`,
      "{ chats { totalCount nodes { title messages(first: 10) { nodes { content thinking } } } } }",
      `{ chats(filter: { id: { equalTo: "${chat.id}" } }) { totalCount } }`,
      `{ chats(filter: { userId: { equalTo: "${ada.userId}" } }) { totalCount nodes { title } } }`,
      `{ message(id: "${message.id}") { content } }`,
      `{ node(nodeId: "${message.nodeId}") { ... on Message { content images toolCalls } } }`,
      `{ messages(filter: { chatId: { equalTo: "${chat.id}" } }) { totalCount nodes { content } } }`,
      "{ messages(last: 5) { totalCount edges { cursor node { content chat { title } } } } }",
      "{ models { nodes { messages(first: 10) { totalCount nodes { content } } } } }",
      `{ user(id: "${ada.userId}") { email chats { totalCount nodes { title } } sessions { totalCount } } }`,
      `{ userByUsername(username: "ada") { id email } }`,
      `{ userSessions(filter: { userId: { equalTo: "${ada.userId}" } }) { totalCount nodes { ipAddress } } }`,
    ];

    test("appears in no answer or error", async () => {
      for (const reading of readings()) {
        const { text, data } = await api.ask(reading, { token: token() });
        for (const secret of [...SECRETS, "ada@example.org", '"username":"ada"'])
          expect({ reading, text }).not.toEqual({ reading, text: expect.stringContaining(secret) });
        // Not even their number.
        const counts = [...text.matchAll(/"totalCount":(\d+)/g)].map(([, count]) => Number(count));
        expect({ reading, counts: counts.filter((count) => count > 1) }).toEqual({ reading, counts: [] });
        // The query itself was valid.
        expect({ reading, text, ran: data !== undefined }).toEqual({ reading, text, ran: true });
      }
    });

    test("cannot be changed and looks like a missing one", async () => {
      const nowhere = "01900000-0000-7000-8000-000000000000";
      const changes = [
        (id: string) =>
          `mutation { updateChat(input: { id: "${id}", patch: { title: "mine" } }) { chat { id } } }`,
        (id: string) => `mutation { deleteChat(input: { id: "${id}" }) { chat { id } } }`,
        (id: string) =>
          `mutation { createMessage(input: { message: { chatId: "${id}", role: user, content: "x" } }) { message { id } } }`,
      ];
      for (const change of changes) {
        const real = await api.ask(change(chat.id), { token: token() });
        const imaginary = await api.ask(change(nowhere), { token: token() });
        expect(real.text).toBe(imaginary.text);
        expect(codeOf(real)).toMatch(token() ? /^(NOT_FOUND|BAD_USER_INPUT)$/ : /^UNAUTHENTICATED$/);
      }
    });
  });

  test("existed all along", async () => {
    const { data } = await api.ask(`{ chat(id: "${chat.id}") { title messages { totalCount } } }`, {
      token: ada.token,
    });
    expect(data.chat).toEqual({ title: "Ada's secret chat", messages: { totalCount: MESSAGES } });
  });
});

test("logout ends the session at once", async () => {
  expect((await api.ask("mutation { logout(input: {}) { result } }", { token: eve.token })).data).toEqual({
    logout: { result: true },
  });
  const ask = () => api.ask("{ currentUser { id } }", { token: eve.token });
  // The server learns of it by a notification.
  await until(async () => (await ask()).status !== 200);
  const answer = await ask();
  expect([answer.status, codeOf(answer)]).toEqual([401, "UNAUTHENTICATED"]);
});
