import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { addModel } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

// Chats and prompts as an application developer uses them: over HTTP, with the schema generated from the functions.

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let bob: SignedIn;
let model: string;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
  bob = await signUp(api, "bob");
  model = await addModel(db, { isPublic: true });
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

async function ask(query: string, variables: Record<string, unknown> = {}, who = ada) {
  const answer = await api.ask(query, { variables, token: who.token });
  if (answer.errors) throw new Error(answer.text);
  return answer.data;
}
const refuse = async (query: string, variables: Record<string, unknown> = {}, who: SignedIn | null = bob) =>
  codeOf(await api.ask(query, { variables, token: who?.token }));

const CREATE = 'mutation { createChat(input: { chat: { title: "Columns" } }) { chat { id } } }';
const SEND = `mutation ($input: SendChatMessageInput!) {
  sendChatMessage(input: $input) { message { id content attachments { nodes { name mimeType position } } } }
}`;
const START = `mutation ($input: StartTurnInput!) {
  startTurn(input: $input) { message { id state parentId parent { content } model { displayName } } }
}`;
const APPEND = "mutation ($input: AppendDeltaInput!) { appendDelta(input: $input) { lastSequence } }";
const APPEND_ALL = "mutation ($input: AppendDeltasInput!) { appendDeltas(input: $input) { lastSequence } }";
const FINISH = `mutation ($input: FinishTurnInput!) {
  finishTurn(input: $input) { message { state finishReason content thinking lastSequence tokensUsed } }
}`;

test("asks a question, streams its answer, edits it away, rates it, finds it and deletes it [R4, R5]", async () => {
  const chatId = (await ask(CREATE)).createChat.chat.id;
  const attachments = [
    { url: "https://x.example/c.png", mimeType: "image/png", sizeBytes: 3, name: "c.png" },
  ];
  const question = (await ask(SEND, { input: { chatId, content: "What holds a statue?", attachments } }))
    .sendChatMessage.message;
  expect(question.attachments.nodes).toEqual([{ name: "c.png", mimeType: "image/png", position: 1 }]);

  const start = { input: { chatId, modelId: model, idempotencyKey: "answer 1" } };
  const turn = (await ask(START, start)).startTurn.message;
  expect(turn).toMatchObject({
    state: "streaming",
    parent: { content: "What holds a statue?" },
    model: { displayName: "Model" },
  });
  expect((await ask(START, start)).startTurn.message.id).toBe(turn.id);
  expect(await refuse(START, { input: { chatId, modelId: model } }, ada)).toBe("CONFLICT");
  const delta = (sequence: number, content: string) => ({ input: { messageId: turn.id, sequence, content } });
  for (const [index, content] of ["A pli", "A pli", "nth."].entries())
    await ask(APPEND, delta(Math.max(1, index), content));
  expect(await refuse(APPEND, delta(4, "x"), ada)).toBe("CONFLICT");
  expect(await refuse(APPEND, delta(3, "x"))).toBe("NOT_FOUND");
  // All pieces at once, of which both are there already.
  const again = { input: { messageId: turn.id, firstSequence: 1, contents: ["A pli", "nth."] } };
  expect((await ask(APPEND_ALL, again)).appendDeltas).toEqual({ lastSequence: 2 });
  expect(await refuse(APPEND_ALL, again)).toBe("NOT_FOUND");
  expect(
    await ask(
      `query ($id: UUID!) {
        messageDeltasAfter(messageId: $id, after: 1) { sequence content }
        message(id: $id) { state currentContent }
      }`,
      { id: turn.id },
    ),
  ).toEqual({
    messageDeltasAfter: [{ sequence: 2, content: "nth." }],
    message: { state: "streaming", currentContent: "A plinth." },
  });
  expect((await ask(FINISH, { input: { messageId: turn.id, lastSequence: 2 } })).finishTurn.message).toEqual({
    state: "complete",
    finishReason: "stop",
    content: "A plinth.",
    thinking: null,
    lastSequence: 2,
    tokensUsed: 3,
  });

  await ask(
    `mutation ($id: UUID!) { rateMessage(input: { messageId: $id, rating: up }) { feedback { rating } } }`,
    { id: turn.id },
  );
  const edited = (
    await ask(
      `mutation ($id: UUID!) {
        editChatMessage(input: { messageId: $id, content: "What carries a column?" }) { message { id } }
      }`,
      { id: question.id },
    )
  ).editChatMessage.message;
  const read = `query ($id: UUID!) {
    chat(id: $id) {
      title
      activePath(first: 50) { nodes { content attachments { nodes { name } } alternatives(first: 9) { nodes { id } } feedback { rating } } }
      exportMarkdown
      exportJson
    }
  }`;
  const { chat } = await ask(read, { id: chatId });
  expect(chat.title).toBe("Columns");
  expect(chat.activePath.nodes).toEqual([
    {
      content: "What carries a column?",
      attachments: { nodes: [{ name: "c.png" }] },
      alternatives: { nodes: [{ id: question.id }, { id: edited.id }] },
      feedback: null,
    },
  ]);
  expect(chat.exportMarkdown).toContain("What carries a column?");
  expect(chat.exportJson.messages).toHaveLength(3);
  await ask(`mutation ($id: UUID!) { selectBranch(input: { messageId: $id }) { chat { id } } }`, {
    id: question.id,
  });
  expect((await ask(read, { id: chatId })).chat.activePath.nodes).toMatchObject([
    { content: "What holds a statue?" },
    { content: "A plinth.", feedback: { rating: "up" } },
  ]);

  const search = `{ searchChatMessages(query: "plinths", first: 5) { nodes { chatId messageId headline } } }`;
  expect(await ask(search)).toEqual({
    searchChatMessages: { nodes: [{ chatId, messageId: turn.id, headline: "A <mark>plinth</mark>" }] },
  });
  expect(await ask(search, {}, bob)).toEqual({ searchChatMessages: { nodes: [] } });
  expect(await ask(read, { id: chatId }, bob)).toEqual({ chat: null });
  await ask(
    `mutation ($id: UUID!) { updateChat(input: { id: $id, patch: { isArchived: true } }) { chat { isArchived } } }`,
    { id: chatId },
  );
  expect(await ask(search)).toEqual({ searchChatMessages: { nodes: [] } });
});

test("lets the reader cancel an answer and the writer break it off", async () => {
  const chatId = (await ask(CREATE)).createChat.chat.id;
  await ask(SEND, { input: { chatId, content: "Go on" } });
  const start = async () =>
    (await ask(START, { input: { chatId, modelId: model, maxTokens: "100" } })).startTurn.message.id;
  const end = "message { state finishReason errorCode errorMessage content }";
  const first = await start();
  await ask(APPEND, { input: { messageId: first, sequence: 1, thinking: "hm", content: "Once" } });
  expect(
    (await ask(`mutation ($id: UUID!) { cancelTurn(input: { messageId: $id }) { ${end} } }`, { id: first }))
      .cancelTurn.message,
  ).toMatchObject({ state: "cancelled", content: "Once" });
  const second = await start();
  const breakOff = `mutation ($id: UUID!) {
    breakOffTurn(input: { messageId: $id, errorCode: "overloaded", errorMessage: "Later." }) { ${end} }
  }`;
  expect(await refuse(breakOff, { id: second })).toBe("NOT_FOUND");
  expect((await ask(breakOff, { id: second })).breakOffTurn.message).toEqual({
    state: "broken_off",
    finishReason: "error",
    errorCode: "overloaded",
    errorMessage: "Later.",
    content: "",
  });
  expect(await refuse(START, { input: { chatId, modelId: model, maxTokens: "900000000" } }, ada)).toBe(
    "QUOTA_EXCEEDED",
  );
});

test("rejects every write of a visitor", async () => {
  const chatId = (await ask(CREATE)).createChat.chat.id;
  for (const query of [
    [SEND, { input: { chatId, content: "x" } }],
    [START, { input: { chatId, modelId: model } }],
    [APPEND, { input: { messageId: chatId, sequence: 1, content: "x" } }],
  ] as const)
    expect(["UNAUTHENTICATED", "FORBIDDEN"]).toContain(await refuse(query[0], query[1], null));
});

test("writes, declares, labels, shares, renders and counts a prompt [H8]", async () => {
  const variables = [{ name: "topic", type: "text" }];
  const { createPrompt } = await ask(
    `mutation ($input: CreatePromptInput!) { createPrompt(input: $input) { prompt { id currentVersion } } }`,
    { input: { prompt: { name: "Poet", content: "A poem on {{topic}}.", variables, visibility: "shared" } } },
  );
  const id = createPrompt.prompt.id;
  expect(createPrompt.prompt.currentVersion).toBe(1);
  await ask(
    `mutation ($id: UUID!) { labelPrompt(input: { promptId: $id, label: "production", version: 1 }) { promptLabel { version } } }`,
    { id },
  );
  await ask(
    `mutation ($id: UUID!) { updatePrompt(input: { id: $id, patch: { content: "An ode to {{topic}}." } }) { prompt { currentVersion } } }`,
    { id },
  );
  const render = `query ($id: UUID!, $values: JSON) {
    now: renderPrompt(promptId: $id, promptValues: $values)
    live: renderPrompt(promptId: $id, promptValues: $values, label: "production")
  }`;
  const values = { topic: "stone" };
  expect(await ask(render, { id, values })).toEqual({ now: "An ode to stone.", live: "A poem on stone." });
  const one = "query ($id: UUID!, $values: JSON) { renderPrompt(promptId: $id, promptValues: $values) }";
  expect(await refuse(one, { id, values: { topic: 1 } }, ada)).toBe("BAD_USER_INPUT");
  expect(await refuse(one, { id, values })).toBe("NOT_FOUND");
  await ask(
    `mutation ($input: CreatePromptShareInput!) { createPromptShare(input: $input) { promptShare { userId } } }`,
    { input: { promptShare: { promptId: id, userId: bob.userId } } },
  );
  expect(await ask(one, { id, values }, bob)).toEqual({ renderPrompt: "An ode to stone." });
  const use = `mutation ($id: UUID!, $key: String) {
    usePrompt(input: { promptId: $id, idempotencyKey: $key }) { result { usageCount } }
  }`;
  for (const key of ["a", "a", "b"]) await ask(use, { id, key }, bob);
  await ask(use, { id });
  expect(
    await ask(
      `query ($id: UUID!) {
        prompt(id: $id) { usageCount versions(first: 9) { nodes { version content labels(first: 9) { nodes { label } } } } shares(first: 9) { nodes { userId } } }
      }`,
      { id },
    ),
  ).toEqual({
    prompt: {
      usageCount: "3",
      versions: {
        nodes: [
          { version: 1, content: "A poem on {{topic}}.", labels: { nodes: [{ label: "production" }] } },
          { version: 2, content: "An ode to {{topic}}.", labels: { nodes: [] } },
        ],
      },
      shares: { nodes: [{ userId: bob.userId }] },
    },
  });
});
