import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { startFakeModel } from "../../src/answerer/fake-model.ts";
import { turnCallsOf } from "../../src/limits/turn-calls.ts";
import { addModel } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { answerChat } from "../support/own-writer/answer-chat.ts";
import { openSocket } from "../support/socket.ts";

/** A server whose clients may send few requests in ten minutes, which no test outlasts, and one that sets everything up. */
let db: TestDatabase;
let open: Api;
let api: Api;
let ada: SignedIn;
let modelId: string;
let names = 0;
const asOwner = rowsAs("owner", () => db);

beforeAll(async () => {
  db = await createTestDatabase();
  open = await startApi(db);
  modelId = await addModel(db, { isPublic: true });
  api = await startApi(db, {
    PLINTH_RATE_LIMIT_REQUESTS: "30",
    PLINTH_RATE_LIMIT_WINDOW_SECONDS: "600",
    PLINTH_TRUSTED_PROXIES: "127.0.0.1",
  });
});
beforeEach(async () => {
  ada = await signUp(open, `ada${++names}`);
});
afterAll(async () => {
  await api.close();
  await open.close();
  await db.drop();
});

const START = `mutation ($chat: UUID!, $model: UUID!) {
  startTurn(input: { chatId: $chat, modelId: $model, maxTokens: "2000" }) { message { id } }
}`;
const APPEND = `mutation ($id: UUID!, $sequence: Int!, $content: String!) {
  appendDelta(input: { messageId: $id, sequence: $sequence, content: $content }) { lastSequence }
}`;
const END: Record<string, string> = {
  finishTurn: "mutation ($id: UUID!) { finishTurn(input: { messageId: $id }) { message { state } } }",
  breakOffTurn: "mutation ($id: UUID!) { breakOffTurn(input: { messageId: $id }) { message { state } } }",
  cancelTurn: "mutation ($id: UUID!) { cancelTurn(input: { messageId: $id }) { message { state } } }",
};

async function makeChat(question = "Why?"): Promise<string> {
  const { token } = ada;
  const { data } = await open.ask("mutation { createChat(input: { chat: {} }) { chat { id } } }", { token });
  const chatId: string = data.createChat.chat.id;
  await open.ask(
    "mutation ($chat: UUID!, $content: String!) { sendChatMessage(input: { chatId: $chat, content: $content }) { message { id } } }",
    { token, variables: { chat: chatId, content: question } },
  );
  return chatId;
}

async function startTurn(): Promise<string> {
  const answer = await open.ask(START, {
    token: ada.token,
    variables: { chat: await makeChat(), model: modelId },
  });
  if (answer.errors) throw new Error(answer.text);
  return answer.data.startTurn.message.id;
}

/** Sends from an address that only this test uses. */
const ask: Api["ask"] = (query, options) =>
  api.ask(query, { ...options, headers: { "x-forwarded-for": `192.0.2.${names}` } });

/** Uses up the limit of the address. */
async function exhaust(): Promise<void> {
  for (let i = 0; i < 40; i += 1) {
    const { status } = await ask("{ __typename }", { token: ada.token });
    if (status === 429) return;
  }
  throw new Error("The limit does not limit.");
}

test("completes an application's answer of 1,500 pieces although the address has little left, and bills the model's count", async () => {
  const pieces = Array.from({ length: 1_500 }, (_, i) => `word${i} `).join("");
  const model = await startFakeModel({ wordMs: 0, answer: () => pieces });
  try {
    const chatId = await makeChat();
    const { messageId, done } = await answerChat({
      plinthUrl: api.url,
      authorization: `Bearer ${ada.token}`,
      chatId,
      modelId,
      model: { url: model.url, name: "echo" },
      serviceUrl: db.url("service"),
    });
    await done;
    await until(async () => {
      const [row] = await asOwner<{ state: string; content: string }>(
        "select state, content from llm.messages where id = $1",
        [messageId],
      );
      expect(row?.content).toBe(pieces);
      return row?.state === "complete";
    });
    const [billed] = await asOwner(
      "select sum(input_tokens)::integer as input, sum(output_tokens)::integer as output from billing.usage_events where user_id = $1",
      [ada.userId],
    );
    // The question's one word, and one word per piece.
    expect(billed).toEqual({ input: 1, output: 1_500 });
  } finally {
    await model.close();
  }
});

describe("a streamed answer", () => {
  test("of 1,500 pieces, sent one by one, is complete and leaves the address its requests", async () => {
    const id = await startTurn();
    for (let sequence = 1; sequence <= 1_500; sequence += 1) {
      const { data, text } = await ask(APPEND, {
        token: ada.token,
        variables: { id, sequence, content: "piece " },
      });
      if (data?.appendDelta?.lastSequence !== sequence) throw new Error(text);
    }
    const { data } = await ask(END.finishTurn!, { token: ada.token, variables: { id } });
    expect(data.finishTurn.message.state).toBe("complete");
    expect((await ask("{ __typename }")).status).toBe(200);
  });

  test.each(Object.keys(END))("can be ended by %s when the address has used up its limit", async (field) => {
    const id = await startTurn();
    await exhaust();
    const answer = await ask(END[field]!, { token: ada.token, variables: { id } });
    expect([answer.status, Object.keys(answer.data ?? {})]).toEqual([200, [field]]);
    expect(answer.headers.get("retry-after")).toBeNull();
    expect((await ask("{ __typename }", { token: ada.token })).status).toBe(429);
  });

  test("is charged to its account, which learns when to retry and can still end the answer", async () => {
    const id = await startTurn();
    const content = "x".repeat(900_000);
    let refused: Awaited<ReturnType<Api["ask"]>> | undefined;
    // An answer has 1,000,000 bytes, an account some 21 million in ten minutes: bytes beyond the answer's limit are charged too.
    for (let sequence = 1; sequence <= 40 && !refused; sequence += 1) {
      const answer = await ask(APPEND, { token: ada.token, variables: { id, sequence, content } });
      if (answer.status === 429) refused = answer;
    }
    expect(codeOf(refused!)).toBe("RATE_LIMITED");
    expect(Number(refused!.headers.get("retry-after"))).toBeGreaterThan(0);
    const ended = await ask(END.breakOffTurn!, { token: ada.token, variables: { id } });
    expect(ended.data.breakOffTurn.message.state).toBe("broken_off");
    // Another account at the same address has its own limit.
    const eve = await signUp(open, `eve${names}`);
    const hers = await ask(APPEND, { token: eve.token, variables: { id, sequence: 1, content: "x" } });
    expect(codeOf(hers)).toBe("NOT_FOUND");
  });

  test("continues over a socket when the address has used up its limit", async () => {
    const id = await startTurn();
    const socket = await openSocket(api, ada.token);
    await until(async () => {
      const { errors } = await socket.ask("{ __typename }");
      return errors?.[0]?.extensions?.code === "RATE_LIMITED";
    });
    expect(
      await socket.ask(`mutation { cancelTurn(input: { messageId: "${id}" }) { message { state } } }`),
    ).toMatchObject({ data: { cancelTurn: { message: { state: "cancelled" } } } });
    await socket.dispose();
  });
});

describe("the limit of an address is not bypassed", () => {
  test.each([
    ["a query", "{ currentUser { id } }"],
    [
      "another mutation with it",
      'mutation { cancelTurn(input: { messageId: "ID" }) { message { id } } logout(input: {}) { result } }',
    ],
    [
      "a query in its payload",
      'mutation { cancelTurn(input: { messageId: "ID" }) { query { currentUser { id } } } }',
    ],
    [
      "other tables in its payload",
      'mutation { cancelTurn(input: { messageId: "ID" }) { message { chat { activePath { nodes { id } } } } } }',
    ],
    [
      "a fragment",
      'mutation { ...F } fragment F on Mutation { cancelTurn(input: { messageId: "ID" }) { message { id } } }',
    ],
    [
      "a second operation",
      'mutation A { cancelTurn(input: { messageId: "ID" }) { message { id } } } query B { currentUser { id } }',
    ],
  ])("by %s", async (_what, query) => {
    const id = await startTurn();
    await exhaust();
    const answer = await ask(query.replace("ID", id), { token: ada.token });
    expect([answer.status, codeOf(answer)]).toEqual([429, "RATE_LIMITED"]);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
  });

  test("by an invalid or missing token", async () => {
    const id = await startTurn();
    await exhaust();
    for (const token of ["nonsense", `${ada.token}x`, undefined])
      expect((await ask(END.cancelTurn!, { token, variables: { id } })).status).toBe(429);
  });

  test("by ending an answer endlessly", async () => {
    const id = await startTurn();
    const calls = turnCallsOf(END.cancelTurn, undefined, 0);
    expect(calls).toEqual({ appends: 0, ends: 1, bytes: 0 });
    const many = `mutation { ${Array.from({ length: 10 }, (_, i) => `c${i}: cancelTurn(input: { messageId: "${id}" }) { message { id } }`).join(" ")} }`;
    const statuses = new Set<number>();
    for (let i = 0; i < 110; i += 1) statuses.add((await ask(many, { token: ada.token })).status);
    expect([...statuses]).toEqual([200, 429]);
  });
});
